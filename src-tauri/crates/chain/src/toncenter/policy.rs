//! Decides how often, when and whom to ask, and what several answers together mean. Time comes in; nothing is sent here.

use std::time::Duration;

use crate::account::AccountState;
use crate::error::ChainError;

/// Clocks of endpoints that are further apart than this, in seconds, want another opinion.
const CLOCKS_APART: u32 = 120;

/// How hard to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For one answer, from the first byte out to the last byte in.
    pub answer: Duration,
    /// How often all endpoints are gone through.
    pub rounds: u32,
    /// Pause before the second round; doubled for each further one.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
    /// Longest that an endpoint's wish for a pause is waited for; if it wants more, the question fails.
    pub longest_wish: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(10),
            rounds: 3,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(8),
            longest_wish: Duration::from_secs(10),
        }
    }
}

impl Patience {
    /// The pause before a round (0 is the first), spread by chance: `jitter` from 0 to 1000 makes it half to whole.
    pub fn pause(&self, round: u32, jitter: u16) -> Duration {
        if round == 0 {
            return Duration::ZERO;
        }
        let doubled = self.first_pause.saturating_mul(1_u32.checked_shl(round - 1).unwrap_or(u32::MAX));
        let whole = doubled.min(self.longest_pause);
        whole / 2 + whole / 2 * u32::from(jitter.min(1000)) / 1000
    }
}

/// Why one endpoint gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It was not reached: it has heard nothing.
    NotReached(String),
    /// It was asked, and said nothing, or nothing whole.
    NoAnswer(String),
    /// It wants fewer questions.
    Busy(Option<Duration>),
    /// It knows the question and says no.
    Refused(String),
    /// It does not take the question itself, or not from us.
    Denied(String),
    /// Its answer is none.
    Nonsense(String),
    /// It shows less than was seen before.
    Behind {
        /// Logical time it shows.
        shown: u64,
        /// Logical time that was seen.
        seen: u64,
    },
}

/// How an endpoint did of late.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    in_a_row: u32,
    /// Others are asked first until then.
    avoided_until: Duration,
    /// It does not want to be asked until then.
    wish_until: Duration,
}

impl Health {
    /// It answered.
    pub fn answered(&mut self) {
        self.in_a_row = 0;
        self.avoided_until = Duration::ZERO;
    }

    /// It did not, at this time of the caller's clock.
    pub fn failed(&mut self, failure: &Failure, now: Duration) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        match failure {
            Failure::Busy(wish) => {
                self.wish_until = now.saturating_add(wish.unwrap_or(Duration::from_secs(1)));
            }
            Failure::NotReached(_) | Failure::NoAnswer(_) | Failure::Nonsense(_) | Failure::Behind { .. } => {
                if self.in_a_row >= 3 {
                    self.avoided_until = now.saturating_add(Duration::from_secs(30));
                }
            }
            Failure::Refused(_) | Failure::Denied(_) => {}
        }
    }

    /// Whether others should be asked first.
    pub fn avoided(&self, now: Duration) -> bool {
        now < self.avoided_until
    }

    /// How long it wants to be left alone.
    pub fn wish(&self, now: Duration) -> Duration {
        self.wish_until.saturating_sub(now)
    }
}

/// What a question that nobody answered comes to. The worst that was heard is told last: an endpoint that says no has at least listened.
pub fn verdict_of_question(failures: &[Failure]) -> ChainError {
    let rank = |failure: &Failure| match failure {
        Failure::Refused(_) => 6,
        Failure::Behind { .. } => 5,
        Failure::Nonsense(_) => 4,
        Failure::Busy(_) => 3,
        Failure::Denied(_) => 2,
        Failure::NoAnswer(_) | Failure::NotReached(_) => 1,
    };
    match failures.iter().max_by_key(|failure| rank(failure)) {
        None => ChainError::Unreachable("there is no endpoint".to_owned()),
        Some(Failure::Refused(why)) => ChainError::Refused(why.clone()),
        Some(Failure::Behind { shown, seen }) => ChainError::Behind { shown: *shown, seen: *seen },
        Some(Failure::Nonsense(why)) => ChainError::Nonsense(why.clone()),
        Some(Failure::Busy(retry_after)) => ChainError::Busy { retry_after: *retry_after },
        Some(Failure::Denied(why) | Failure::NoAnswer(why) | Failure::NotReached(why)) => {
            ChainError::Unreachable(why.clone())
        }
    }
}

/// What a message that nobody accepted comes to. Whoever was asked and gave no answer may have it, and a refusal by another may mean
/// just that it is in already.
pub fn verdict_of_message(failures: &[Failure]) -> ChainError {
    let silent = failures.iter().find_map(|failure| match failure {
        Failure::NoAnswer(why) | Failure::Nonsense(why) => Some(why),
        _ => None,
    });
    match silent {
        Some(why) => ChainError::Uncertain(why.clone()),
        None => verdict_of_question(failures),
    }
}

/// Questions that may be asked now: so many at once, one more after each pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    size: u32,
    refill: Duration,
    /// When the bucket will be full again.
    full_at: Duration,
}

impl Bucket {
    /// A full bucket at a time of the caller's clock.
    pub fn new(size: u32, refill: Duration, now: Duration) -> Self {
        Self { size: size.max(1), refill, full_at: now }
    }

    /// Takes a question out. The time to wait before it may be asked.
    pub fn take(&mut self, now: Duration) -> Duration {
        let full_at = self.full_at.max(now);
        self.full_at = full_at.saturating_add(self.refill);
        full_at.saturating_sub(now).saturating_sub(self.refill.saturating_mul(self.size - 1))
    }
}

/// What endpoints agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// The account, at the newest time that as many have reached as must agree: one alone does not set the clock.
    pub account: AccountState,
    /// Whether those who agree about the account are far apart about the time, so that whoever is left should be asked too.
    pub clocks_differ: bool,
}

/// The state that at least so many endpoints show, if there is one; of several, the newest.
pub fn agreed(answers: &[AccountState], needed: usize) -> Result<Agreement, ChainError> {
    let needed = needed.max(1);
    let votes = |one: &AccountState| answers.iter().filter(|other| one.agrees_with(other)).count();
    let best = answers.iter().filter(|one| votes(one) >= needed).max_by_key(|one| one.last_lt());
    let most = answers.iter().map(votes).max().unwrap_or(0);
    let best = best.ok_or(ChainError::Disagreement { agreeing: most, needed })?;
    let mut times: Vec<u32> = answers.iter().filter(|one| best.agrees_with(one)).map(|one| one.seen_at).collect();
    times.sort_unstable_by(|a, b| b.cmp(a));
    let newest = times.first().copied().unwrap_or(best.seen_at);
    let seen_at = times.get(needed - 1).copied().unwrap_or(best.seen_at);
    let clocks_differ = newest.saturating_sub(seen_at) > CLOCKS_APART;
    Ok(Agreement { account: AccountState { seen_at, ..best.clone() }, clocks_differ })
}

/// What was seen of an account's history: it cannot become shorter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Newest {
    /// Logical time that as many showed as must agree.
    agreed: u64,
    /// The newest that anybody showed.
    alone: u64,
}

impl Newest {
    /// One endpoint shows this logical time.
    pub fn told(&mut self, shown: u64) -> Result<(), Failure> {
        let seen = self.alone.max(self.agreed);
        if shown < seen {
            return Err(Failure::Behind { shown, seen });
        }
        self.alone = shown;
        Ok(())
    }

    /// As many show it as must agree. What one alone said before is waited for, and given up at `last`: that one was ahead, or lied.
    pub fn agreed(&mut self, shown: u64, last: bool) -> Result<(), Failure> {
        let seen = if last { self.agreed } else { self.alone.max(self.agreed) };
        if shown < seen {
            return Err(Failure::Behind { shown, seen });
        }
        *self = Self { agreed: shown, alone: shown };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TransactionId;
    use ton::{Address, Nanoton};

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_bucket_lets_so_many_through_at_once_and_then_one_after_another() {
        let mut bucket = Bucket::new(2, MS(1000), MS(50));
        assert_eq!(bucket.take(MS(50)), MS(0));
        assert_eq!(bucket.take(MS(50)), MS(0));
        assert_eq!(bucket.take(MS(50)), MS(1000));
        assert_eq!(bucket.take(MS(1050)), MS(1000), "the one that waits has taken its turn");
        let mut rested = bucket;
        assert_eq!(rested.take(MS(100_000)), MS(0));
        assert_eq!(rested.take(MS(100_000)), MS(0));
        assert_eq!(rested.take(MS(100_000)), MS(1000), "it never holds more than its size");
    }

    #[test]
    fn an_endpoint_that_fails_is_asked_last_and_one_that_wants_a_pause_gets_it() {
        let mut health = Health::default();
        for _ in 0..3 {
            assert!(!health.avoided(MS(10)));
            health.failed(&Failure::NoAnswer(String::new()), MS(10));
        }
        assert!(health.avoided(MS(29_000)) && !health.avoided(MS(31_000)));
        assert_eq!(health.wish(MS(10)), MS(0), "nobody asked for a pause");
        health.failed(&Failure::Busy(Some(MS(500))), MS(10));
        assert_eq!(health.wish(MS(110)), MS(400));
        health.answered();
        assert!(!health.avoided(MS(10)));
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_are_spread() {
        let patience = Patience::default();
        let whole: Vec<_> = (0..8).map(|round| patience.pause(round, 1000).as_millis()).collect();
        assert_eq!(whole, [0, 500, 1000, 2000, 4000, 8000, 8000, 8000]);
        assert_eq!(patience.pause(2, 0), MS(500));
        assert_eq!(patience.pause(2, u16::MAX), MS(1000));
        assert_eq!(patience.pause(u32::MAX, 1000), MS(8000));
    }

    #[test]
    fn a_message_is_refused_only_if_nobody_can_have_it() {
        let no = || Failure::Refused("exitcode=133".to_owned());
        let silent = || Failure::NoAnswer("timed out".to_owned());
        let away = || Failure::NotReached("connection refused".to_owned());
        assert!(matches!(verdict_of_message(&[no(), away()]), ChainError::Refused(_)));
        assert!(matches!(verdict_of_message(&[silent(), no()]), ChainError::Uncertain(_)), "it may be in already");
        assert!(matches!(verdict_of_message(&[away(), away()]), ChainError::Unreachable(_)));
        assert!(matches!(verdict_of_message(&[Failure::Nonsense(String::new())]), ChainError::Uncertain(_)));
        let busy = Failure::Busy(Some(MS(3)));
        assert_eq!(verdict_of_question(&[away(), busy]), ChainError::Busy { retry_after: Some(MS(3)) });
        assert!(matches!(verdict_of_question(&[]), ChainError::Unreachable(_)));
    }

    #[test]
    fn two_must_say_the_same_and_one_liar_is_outvoted() {
        let state = |balance: u64, lt: u64, seen_at: u32| AccountState {
            balance: Nanoton(balance),
            last: Some(TransactionId { lt, hash: [lt as u8; 32] }),
            ..AccountState::absent(Address { workchain: 0, hash: [1; 32] }, seen_at)
        };
        let honest = [state(5, 7, 100), state(5, 7, 101)];
        let found = agreed(&honest, 2).unwrap();
        assert_eq!(
            (found.account.balance, found.clocks_differ),
            (Nanoton(5), false),
            "when they looked does not matter"
        );
        let lie = [state(5, 7, 100), state(50, 7, 100)];
        assert_eq!(agreed(&lie, 2), Err(ChainError::Disagreement { agreeing: 1, needed: 2 }));
        let outvoted = [state(50, 7, 100), state(5, 7, 100), state(5, 7, 100)];
        assert_eq!(agreed(&outvoted, 2).unwrap().account.balance, Nanoton(5));
        let behind = [state(4, 6, 99), state(5, 7, 100)];
        assert!(agreed(&behind, 2).is_err());
        assert_eq!(agreed(&[], 2), Err(ChainError::Disagreement { agreeing: 0, needed: 2 }));
        assert!(agreed(&[], 0).is_err(), "nobody's word is no agreement");
    }

    #[test]
    fn one_endpoint_alone_never_sets_the_chains_clock() {
        let last = Some(TransactionId { lt: 7, hash: [7; 32] });
        let at =
            |seen_at| AccountState { last, ..AccountState::absent(Address { workchain: 0, hash: [1; 32] }, seen_at) };
        let time = |times: &[u32], needed| {
            let answers: Vec<AccountState> = times.iter().map(|time| at(*time)).collect();
            let found = agreed(&answers, needed).unwrap();
            (found.account.seen_at, found.clocks_differ)
        };
        assert_eq!(time(&[100, 101], 2), (100, false));
        for liar_first in [[4_000_000_000, 100], [100, 4_000_000_000]] {
            assert_eq!(time(&liar_first, 2), (100, true), "nobody else has reached that time");
        }
        // A third one decides, about the future as about the past.
        assert_eq!(time(&[4_000_000_000, 1000, 1001], 2).0, 1001);
        assert_eq!(time(&[0, 1000, 1001], 2), (1000, false));
        assert_eq!(time(&[0, 1000], 2), (0, true));
        assert_eq!(time(&[100], 1), (100, false));
    }

    #[test]
    fn what_one_said_of_an_account_gives_way_to_what_as_many_say_as_must_agree() {
        let mut newest = Newest::default();
        assert_eq!(newest.told(5), Ok(()));
        assert_eq!(newest.told(4), Err(Failure::Behind { shown: 4, seen: 5 }));
        // A lie about the future is waited for, and then no more.
        assert_eq!(newest.told(u64::MAX), Ok(()));
        assert!(newest.told(6).is_err() && newest.agreed(6, false).is_err());
        assert_eq!(newest.agreed(6, true), Ok(()));
        assert_eq!(newest.told(6), Ok(()), "the honest are heard again");
        // What as many said as must agree stands.
        assert_eq!(newest.agreed(5, true), Err(Failure::Behind { shown: 5, seen: 6 }));
        assert_eq!(newest.agreed(7, false), Ok(()));
    }
}
