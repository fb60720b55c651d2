//! What the owner wants of the app in the course of time: work, pause for a while, finish and pause. Pure: facts and time in, orders out.
//!
//! The wish is not the fact: [`Owner::stage`] moves only when whoever acts has said that it is so. A provider that works is a
//! [`crate::run::Node`] of its own; it is started for work and stopped for a pause, so that a pause leaves nothing behind.

use std::time::Duration;

/// How long a signature for the last finished answers may take before "finish and pause" pauses without it. Genuine proxies are
/// asked every 10 to 20 s.
const SIGNATURE_PATIENCE: Duration = Duration::from_secs(25);

/// The owner's wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Work.
    Work,
    /// The card is wanted back now.
    Pause {
        /// When to go on by itself, Unix time in milliseconds; `None`: when the owner says so.
        until_unix_ms: Option<i64>,
    },
    /// Take no more questions, finish those that run, wait until they are signed for, then pause.
    FinishAndPause,
}

/// What is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing runs.
    Resting,
    /// A provider is being started.
    Starting,
    /// It runs.
    Running,
    /// It runs and takes no more questions.
    Finishing,
    /// It is being stopped.
    Stopping,
    /// It runs, but can't work before the owner has helped.
    Stuck,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Start a provider; answer with [`Owner::started`] or [`Owner::not_started`].
    Start,
    /// Let it take no more questions.
    Drain,
    /// Let it take questions again.
    Resume,
    /// Stop it; answer with [`Owner::stopped`].
    Stop,
}

/// What a running provider says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Questions that run.
    pub active: u32,
    /// Whether signed payments cover every answer that is written down.
    pub covered: bool,
    /// Whether it can't work before the owner has helped.
    pub stuck: bool,
}

/// The moment something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Since any fixed start; never goes back.
    pub mono: Duration,
    /// Unix time in milliseconds.
    pub unix_ms: i64,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Owner {
    wish: Wish,
    stage: Stage,
    /// Since when nothing has run while finishing.
    quiet_since: Option<Duration>,
    /// Why the last start failed.
    trouble: Option<String>,
}

impl Owner {
    /// An app in which nothing runs.
    pub fn new(wish: Wish) -> Self {
        Self { wish, stage: Stage::Resting, quiet_since: None, trouble: None }
    }

    /// What is wanted.
    pub fn wish(&self) -> Wish {
        self.wish
    }

    /// What is so.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Why the last start failed; forgotten with the next wish to work.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// The owner wants something.
    pub fn wants(&mut self, wish: Wish, now: Moment) -> Option<Order> {
        self.wish = wish;
        if wish == Wish::Work {
            self.trouble = None;
            if self.stage == Stage::Stuck {
                // Whoever asks again has helped, or hopes so: begin anew.
                self.stage = Stage::Stopping;
                return Some(Order::Stop);
            }
        }
        self.decide(now)
    }

    /// Time has passed; at the latest at [`Self::next_wake_unix_ms`] if that is given.
    pub fn tick(&mut self, now: Moment) -> Option<Order> {
        self.decide(now)
    }

    /// The provider runs.
    pub fn started(&mut self, now: Moment) -> Option<Order> {
        if self.stage == Stage::Starting {
            self.stage = Stage::Running;
        }
        self.decide(now)
    }

    /// It does not start. It is not tried again before the owner wants it.
    pub fn not_started(&mut self, why: String) {
        self.stage = Stage::Resting;
        self.trouble = Some(why);
        self.wish = Wish::Pause { until_unix_ms: None };
    }

    /// It says how it stands.
    pub fn progress(&mut self, progress: Progress, now: Moment) -> Option<Order> {
        match self.stage {
            Stage::Running | Stage::Finishing if progress.stuck => {
                self.stage = Stage::Stuck;
            }
            Stage::Finishing if progress.active > 0 => self.quiet_since = None,
            Stage::Finishing => {
                let since = *self.quiet_since.get_or_insert(now.mono);
                if progress.covered || now.mono.saturating_sub(since) >= SIGNATURE_PATIENCE {
                    self.wish = Wish::Pause { until_unix_ms: None };
                }
            }
            _ => {}
        }
        self.decide(now)
    }

    /// It is gone, and the card is free.
    pub fn stopped(&mut self, now: Moment) -> Option<Order> {
        self.stage = Stage::Resting;
        self.decide(now)
    }

    /// When it goes on by itself.
    pub fn next_wake_unix_ms(&self) -> Option<i64> {
        match self.wish {
            Wish::Pause { until_unix_ms } => until_unix_ms,
            Wish::Work | Wish::FinishAndPause => None,
        }
    }

    fn decide(&mut self, now: Moment) -> Option<Order> {
        if self.next_wake_unix_ms().is_some_and(|until| now.unix_ms >= until) {
            self.wish = Wish::Work;
        }
        match (self.wish, self.stage) {
            (Wish::Work, Stage::Resting) => {
                self.stage = Stage::Starting;
                Some(Order::Start)
            }
            (Wish::Work, Stage::Finishing) => {
                self.stage = Stage::Running;
                Some(Order::Resume)
            }
            (Wish::FinishAndPause, Stage::Running) => {
                self.stage = Stage::Finishing;
                self.quiet_since = None;
                Some(Order::Drain)
            }
            (Wish::FinishAndPause, Stage::Resting) => {
                self.wish = Wish::Pause { until_unix_ms: None };
                None
            }
            (Wish::Pause { .. }, Stage::Running | Stage::Finishing | Stage::Stuck)
            | (Wish::FinishAndPause, Stage::Stuck) => {
                self.stage = Stage::Stopping;
                Some(Order::Stop)
            }
            // What is being started or stopped is heard of first; what works or finishes goes on.
            (Wish::Work, Stage::Starting | Stage::Running | Stage::Stopping | Stage::Stuck)
            | (Wish::Pause { .. }, Stage::Starting | Stage::Stopping | Stage::Resting)
            | (Wish::FinishAndPause, Stage::Starting | Stage::Stopping | Stage::Finishing) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FOREVER: Wish = Wish::Pause { until_unix_ms: None };
    const BUSY: Progress = Progress { active: 2, covered: false, stuck: false };
    const QUIET: Progress = Progress { active: 0, covered: false, stuck: false };

    fn at(seconds: u64) -> Moment {
        Moment { mono: Duration::from_secs(seconds), unix_ms: seconds as i64 * 1_000 }
    }

    fn running() -> Owner {
        let mut owner = Owner::new(FOREVER);
        assert_eq!(owner.wants(Wish::Work, at(0)), Some(Order::Start));
        assert_eq!(owner.started(at(1)), None);
        assert_eq!(owner.stage(), Stage::Running);
        owner
    }

    #[test]
    fn a_pause_is_a_fact_only_once_the_provider_is_gone() {
        let mut owner = running();
        assert_eq!(owner.wants(FOREVER, at(2)), Some(Order::Stop));
        assert_eq!(owner.stage(), Stage::Stopping);
        assert_eq!(owner.tick(at(3)), None);
        assert_eq!(owner.stopped(at(4)), None);
        assert_eq!(owner.stage(), Stage::Resting);
    }

    #[test]
    fn a_pause_for_a_while_ends_by_itself() {
        let mut owner = running();
        assert_eq!(owner.wants(Wish::Pause { until_unix_ms: Some(900_000) }, at(2)), Some(Order::Stop));
        assert_eq!(owner.stopped(at(3)), None);
        assert_eq!(owner.next_wake_unix_ms(), Some(900_000));
        assert_eq!(owner.tick(at(899)), None);
        assert_eq!(owner.tick(at(900)), Some(Order::Start));
        assert_eq!(owner.wish(), Wish::Work);
    }

    #[test]
    fn whoever_changes_their_mind_while_it_stops_or_starts_is_obeyed_afterwards() {
        let mut owner = running();
        assert_eq!(owner.wants(FOREVER, at(2)), Some(Order::Stop));
        assert_eq!(owner.wants(Wish::Work, at(3)), None);
        assert_eq!(owner.stopped(at(4)), Some(Order::Start));
        assert_eq!(owner.wants(FOREVER, at(5)), None);
        assert_eq!(owner.started(at(6)), Some(Order::Stop));
    }

    #[test]
    fn finishing_waits_for_answers_and_for_their_signature() {
        let mut owner = running();
        assert_eq!(owner.wants(Wish::FinishAndPause, at(2)), Some(Order::Drain));
        assert_eq!(owner.progress(BUSY, at(60)), None);
        assert_eq!(owner.progress(QUIET, at(61)), None);
        assert_eq!(owner.progress(Progress { covered: true, ..QUIET }, at(62)), Some(Order::Stop));
        assert_eq!(owner.wish(), FOREVER);
    }

    #[test]
    fn finishing_does_not_wait_for_ever_for_a_signature() {
        let mut owner = running();
        owner.wants(Wish::FinishAndPause, at(2));
        assert_eq!(owner.progress(QUIET, at(10)), None);
        assert_eq!(owner.progress(QUIET, at(34)), None);
        assert_eq!(owner.progress(QUIET, at(35)), Some(Order::Stop));
    }

    #[test]
    fn work_wanted_while_finishing_goes_on() {
        let mut owner = running();
        owner.wants(Wish::FinishAndPause, at(2));
        assert_eq!(owner.wants(Wish::Work, at(3)), Some(Order::Resume));
        assert_eq!(owner.stage(), Stage::Running);
    }

    #[test]
    fn what_does_not_start_is_not_tried_again_and_says_why() {
        let mut owner = Owner::new(Wish::Work);
        assert_eq!(owner.tick(at(0)), Some(Order::Start));
        owner.not_started("no model".to_owned());
        assert_eq!(owner.tick(at(100)), None);
        assert_eq!(owner.trouble(), Some("no model"));
        assert_eq!(owner.wants(Wish::Work, at(101)), Some(Order::Start));
        assert_eq!(owner.trouble(), None);
    }

    #[test]
    fn what_is_stuck_begins_anew_when_the_owner_asks_again() {
        let mut owner = running();
        assert_eq!(owner.progress(Progress { stuck: true, ..QUIET }, at(2)), None);
        assert_eq!(owner.stage(), Stage::Stuck);
        assert_eq!(owner.wants(Wish::Work, at(3)), Some(Order::Stop));
        assert_eq!(owner.stopped(at(4)), Some(Order::Start));
    }

    proptest! {
        /// Whatever happens in whatever order, starts and stops alternate, and a wish to pause ends with nothing running.
        #[test]
        fn starts_and_stops_alternate(script in proptest::collection::vec((0_u8..8, 0_u64..40), 0..200)) {
            let mut owner = Owner::new(FOREVER);
            let (mut seconds, mut runs, mut pending) = (0, false, None);
            for (what, later) in script {
                seconds += later;
                let now = at(seconds);
                let order = match what {
                    0 => owner.wants(Wish::Work, now),
                    1 => owner.wants(FOREVER, now),
                    2 => owner.wants(Wish::FinishAndPause, now),
                    3 => owner.wants(Wish::Pause { until_unix_ms: Some(now.unix_ms + 20_000) }, now),
                    4 => match pending.take() {
                        Some(Order::Start) => { runs = true; owner.started(now) }
                        Some(Order::Stop) => { runs = false; owner.stopped(now) }
                        _ => owner.tick(now),
                    },
                    5 if runs => owner.progress(BUSY, now),
                    6 if runs => owner.progress(QUIET, now),
                    7 if runs => owner.progress(Progress { stuck: later == 39, ..QUIET }, now),
                    _ => owner.tick(now),
                };
                if let Some(order @ (Order::Start | Order::Stop)) = order {
                    prop_assert!(pending.is_none(), "{order:?} while {pending:?} is under way");
                    prop_assert_eq!(runs, order == Order::Stop);
                    pending = Some(order);
                }
            }
        }
    }
}
