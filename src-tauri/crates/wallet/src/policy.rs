//! The rules that guard a wallet: time and amounts in, decisions out. All times are Unix seconds.

use serde::{Deserialize, Serialize};
use ton::{Address, Nanoton};

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;
/// How long another payout address waits, in seconds.
pub const PAYOUT_CHANGE_WAITS: u64 = DAY;
/// How long a dismissed reminder stays away, in seconds.
const REMINDER_RESTS: u64 = 3 * DAY;

/// When an unlocked wallet is locked by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AutoLock {
    after: u64,
    used_at: u64,
}

impl AutoLock {
    /// Locks this many seconds after the last use; the first use is now.
    pub const fn new(after: u64, now: u64) -> Self {
        Self { after, used_at: now }
    }

    /// The wallet is used.
    pub const fn used(&mut self, now: u64) {
        self.used_at = now;
    }

    /// Whether it is to be locked. A clock that was set back can't keep it open.
    pub const fn is_due(&self, now: u64) -> bool {
        match now.checked_sub(self.used_at) {
            Some(unused) => unused >= self.after,
            None => true,
        }
    }
}

/// What the limit says of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitDecision {
    /// It may be signed.
    Within {
        /// What may still be sent after it.
        left: Nanoton,
    },
    /// It may not.
    Above {
        /// What may be sent now.
        left: Nanoton,
    },
}

/// How much may leave within any 24 hours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DailyLimit {
    limit: Nanoton,
    sent: Vec<(u64, Nanoton)>,
}

impl DailyLimit {
    /// Nothing was sent yet.
    pub const fn new(limit: Nanoton) -> Self {
        Self { limit, sent: Vec::new() }
    }

    /// Whether an amount may be sent now. It does not count it: [`DailyLimit::record`] does, before the transfer is signed.
    pub fn decide(&self, amount: Nanoton, now: u64) -> LimitDecision {
        let sent = self.sent.iter().filter(|(at, _)| counts(*at, now));
        let sent = sent.fold(0_u64, |sum, (_, amount)| sum.saturating_add(amount.0));
        let left = self.limit.0.saturating_sub(sent);
        match left.checked_sub(amount.0) {
            Some(left) => LimitDecision::Within { left: Nanoton(left) },
            None => LimitDecision::Above { left: Nanoton(left) },
        }
    }

    /// Counts an amount, and forgets those that are older than 24 hours.
    pub fn record(&mut self, amount: Nanoton, now: u64) {
        self.sent.retain(|(at, _)| counts(*at, now));
        self.sent.push((now, amount));
    }
}

/// What was sent in the future, by a clock that was set back since, counts too.
const fn counts(at: u64, now: u64) -> bool {
    now.saturating_sub(at) < DAY
}

/// A payout address that is to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayoutChange {
    /// The new one.
    pub to: Address,
    /// From when on.
    pub from: u64,
}

/// Where payouts go: an address alone, no key needed. Another one waits 24 hours and is told, so that whoever sits at the PC for
/// a minute can't lead the money away unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayoutAddress {
    current: Address,
    change: Option<PayoutChange>,
}

impl PayoutAddress {
    /// The first one counts at once: there was no other that money could be led away from.
    pub const fn new(address: Address) -> Self {
        Self { current: address, change: None }
    }

    /// Where payouts go now.
    pub fn at(&self, now: u64) -> Address {
        match self.change {
            Some(change) if now >= change.from => change.to,
            _ => self.current,
        }
    }

    /// The change that is still waiting.
    pub fn waiting(&self, now: u64) -> Option<PayoutChange> {
        self.change.filter(|change| now < change.from)
    }

    /// Asks for another address; what is given back is to be told to the owner. The present one takes back what was waiting, a third
    /// one begins to wait anew, and the one that waits goes on waiting: no longer than a day by a clock that was set back since.
    pub fn change(&mut self, to: Address, now: u64) -> Option<PayoutChange> {
        self.settle(now);
        let a_day = now.saturating_add(PAYOUT_CHANGE_WAITS);
        let from = match self.change {
            Some(waiting) if waiting.to == to => waiting.from.min(a_day),
            _ => a_day,
        };
        self.change = (to != self.current).then_some(PayoutChange { to, from });
        self.change
    }

    /// Makes a change whose time has come the present address, so that a clock that is set back later does not undo it. Gives the
    /// address that no longer counts.
    pub fn settle(&mut self, now: u64) -> Option<Address> {
        let before = self.current;
        self.current = self.at(now);
        if self.current == before {
            return None;
        }
        self.change = None;
        Some(before)
    }

    /// What stands in a file: the present address and the change that has not been settled.
    pub(crate) const fn parts(&self) -> (Address, Option<PayoutChange>) {
        (self.current, self.change)
    }

    /// From what stood in a file.
    pub(crate) const fn from_parts(current: Address, change: Option<PayoutChange>) -> Self {
        Self { current, change }
    }
}

/// Whether the owner is to be asked to write the words down: only when there is something to lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reminder {
    /// The owner passed the [`crate::Quiz`].
    pub written_down: bool,
    /// What the wallet holds and is owed, unless that is unknown.
    pub at_stake: Option<Nanoton>,
    /// When the reminder was dismissed last.
    pub dismissed_at: Option<u64>,
}

impl Reminder {
    /// Whether it is time. Once dismissed it rests for three days.
    pub fn is_due(&self, now: u64) -> bool {
        let rested = self.dismissed_at.is_none_or(|at| now.saturating_sub(at) >= REMINDER_RESTS);
        !self.written_down && rested && self.at_stake.is_some_and(|amount| amount.0 > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000;

    fn address(byte: u8) -> Address {
        Address { workchain: 0, hash: [byte; 32] }
    }

    #[test]
    fn a_wallet_that_is_not_used_is_locked_and_a_clock_set_back_does_not_keep_it_open() {
        let mut lock = AutoLock::new(300, NOW);
        assert!(!lock.is_due(NOW + 299));
        assert!(lock.is_due(NOW + 300));
        lock.used(NOW + 299);
        assert!(!lock.is_due(NOW + 598));
        assert!(lock.is_due(NOW));
    }

    #[test]
    fn the_limit_counts_what_left_within_a_day() {
        let mut limit = DailyLimit::new(Nanoton(10));
        assert_eq!(limit.decide(Nanoton(10), NOW), LimitDecision::Within { left: Nanoton(0) });
        limit.record(Nanoton(6), NOW);
        assert_eq!(limit.decide(Nanoton(5), NOW + DAY - 1), LimitDecision::Above { left: Nanoton(4) });
        assert_eq!(limit.decide(Nanoton(4), NOW - 1_000_000), LimitDecision::Within { left: Nanoton(0) });
        assert_eq!(limit.decide(Nanoton(5), NOW + DAY), LimitDecision::Within { left: Nanoton(5) });
        limit.record(Nanoton(u64::MAX), NOW + 1);
        assert_eq!(limit.decide(Nanoton(1), NOW + 2), LimitDecision::Above { left: Nanoton(0) });
    }

    proptest! {
        #[test]
        fn no_day_ever_sees_more_than_the_limit(transfers: Vec<(u16, u8)>) {
            let mut limit = DailyLimit::new(Nanoton(300));
            let (mut now, mut signed) = (NOW, Vec::new());
            for (later, amount) in transfers {
                now += u64::from(later);
                let amount = Nanoton(u64::from(amount));
                if let LimitDecision::Within { .. } = limit.decide(amount, now) {
                    limit.record(amount, now);
                    signed.push((now, amount.0));
                }
                let day: u64 = signed.iter().filter(|(at, _)| now - at < DAY).map(|(_, amount)| amount).sum();
                prop_assert!(day <= 300);
            }
        }
    }

    #[test]
    fn another_payout_address_waits_a_day_and_can_be_taken_back() {
        let mut payout = PayoutAddress::new(address(1));
        let change = payout.change(address(2), NOW).unwrap();
        assert_eq!(change, PayoutChange { to: address(2), from: NOW + DAY });
        assert_eq!((payout.at(NOW + DAY - 1), payout.waiting(NOW + DAY - 1)), (address(1), Some(change)));
        assert_eq!((payout.at(NOW + DAY), payout.waiting(NOW + DAY)), (address(2), None));
        // A third one begins to wait anew, and the present one takes it back.
        let mut third = payout;
        third.change(address(3), NOW + DAY - 1).unwrap();
        assert_eq!(third.at(NOW + DAY), address(1));
        assert_eq!(third.change(address(1), NOW + DAY), None);
        assert_eq!(third.at(NOW + 9 * DAY), address(1));
        // Whoever asks for it again, as after a clock was set back, neither waits longer than a day nor shorter.
        let mut again = payout;
        assert_eq!(again.change(address(2), NOW + 5), Some(change));
        let earlier = again.change(address(2), NOW - 9 * DAY).unwrap();
        assert_eq!(earlier.from, NOW - 8 * DAY);
        // What is settled stays, whatever the clock says later.
        let mut settled = payout;
        assert_eq!(settled.settle(NOW + DAY - 1), None);
        assert_eq!(settled.settle(NOW + DAY), Some(address(1)));
        assert_eq!((settled.at(NOW - 9 * DAY), settled.waiting(NOW), settled.settle(NOW)), (address(2), None, None));
        // What came to count stays what the next change starts from.
        payout.change(address(3), NOW + DAY).unwrap();
        assert_eq!(payout.at(NOW + DAY), address(2));
    }

    #[test]
    fn the_owner_is_reminded_only_when_there_is_something_to_lose() {
        let reminder = Reminder { written_down: false, at_stake: Some(Nanoton(1)), dismissed_at: None };
        assert!(reminder.is_due(NOW));
        assert!(!Reminder { at_stake: None, ..reminder }.is_due(NOW));
        assert!(!Reminder { at_stake: Some(Nanoton(0)), ..reminder }.is_due(NOW));
        assert!(!Reminder { written_down: true, ..reminder }.is_due(NOW));
        let dismissed = Reminder { dismissed_at: Some(NOW), ..reminder };
        assert!(!dismissed.is_due(NOW + 3 * DAY - 1));
        assert!(dismissed.is_due(NOW + 3 * DAY));
    }
}
