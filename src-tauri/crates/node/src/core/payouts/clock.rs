//! What is believed of the chain's clock: it runs as fast as this machine's, and never back.
//!
//! A message is given up by that clock alone, so a time far ahead that is believed too soon has the owner pay twice. And a time far ahead
//! that is believed for good makes everything after it look old. Which of this machine's clocks says what has passed does not matter:
//! one stands still while the machine sleeps, the other may be set.

use super::{MARGIN_SECONDS, MISSES, Now};

/// What to make of a look's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Time {
    /// It can be.
    Good,
    /// A little older than what was seen before: an endpoint that is some blocks behind.
    Old,
    /// It cannot be, or what was seen before could not.
    Doubtful,
}

/// The chain's clock.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Clock {
    /// The chain's time, and this machine's, at the first look that was believed.
    since: Option<(u32, Now)>,
    /// The chain's time of the last one, Unix seconds.
    newest: u32,
    /// Looks in a row that were not.
    doubted: u32,
    /// Whether a second look was as it should be after the first.
    is_sure: bool,
}

impl Clock {
    /// A look shows this time. Many in a row that cannot be are believed in the end: then the first one was wrong.
    pub(super) fn shows(&mut self, unix: u32, now: Now) -> Time {
        let Some((first, then)) = self.since else {
            (self.since, self.newest) = (Some((unix, now)), unix);
            return Time::Good;
        };
        let by_the_wall = u64::try_from(now.unix_ms.saturating_sub(then.unix_ms)).unwrap_or(0) / 1000;
        let passed = now.mono.saturating_sub(then.mono).as_secs().max(by_the_wall);
        let latest = u64::from(first).saturating_add(passed).saturating_add(u64::from(MARGIN_SECONDS));
        if (u64::from(self.newest)..=latest).contains(&u64::from(unix)) {
            *self = Self { newest: unix, doubted: 0, is_sure: true, ..*self };
            return Time::Good;
        }
        self.doubted = self.doubted.saturating_add(1);
        if self.doubted >= MISSES {
            *self = Self { since: Some((unix, now)), newest: unix, doubted: 0, is_sure: false };
            return Time::Good;
        }
        let is_old = unix < self.newest && self.newest - unix <= MARGIN_SECONDS;
        if is_old { Time::Old } else { Time::Doubtful }
    }

    /// Whether more than one look said so: enough to give a message up.
    pub(super) fn is_sure(&self) -> bool {
        self.is_sure
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const FUTURE: u32 = 4_000_000_000;

    fn at(mono: u64, unix: i64) -> Now {
        Now { mono: Duration::from_secs(mono), unix_ms: unix * 1000 }
    }

    #[test]
    fn a_time_far_ahead_is_believed_only_if_it_stays() {
        let mut clock = Clock::default();
        assert_eq!((clock.shows(1000, at(0, 0)), clock.is_sure()), (Time::Good, false));
        assert_eq!((clock.shows(1010, at(10, 10)), clock.is_sure()), (Time::Good, true));
        assert_eq!(clock.shows(FUTURE, at(20, 20)), Time::Doubtful);
        assert_eq!(clock.shows(1030, at(30, 30)), Time::Good, "the honest are still heard");
        for look in 1..MISSES {
            assert_eq!(clock.shows(FUTURE, at(40, 40)), Time::Doubtful, "{look}");
        }
        assert_eq!((clock.shows(FUTURE, at(40, 40)), clock.is_sure()), (Time::Good, false), "it is the chain's");
    }

    #[test]
    fn a_first_time_that_was_a_lie_is_given_up() {
        let mut clock = Clock::default();
        assert_eq!(clock.shows(FUTURE, at(0, 0)), Time::Good);
        for _ in 1..MISSES {
            assert_eq!((clock.shows(1000, at(0, 0)), clock.is_sure()), (Time::Doubtful, false));
        }
        assert_eq!(clock.shows(1000, at(0, 0)), Time::Good);
        assert_eq!((clock.shows(1001, at(1, 1)), clock.is_sure()), (Time::Good, true));
    }

    #[test]
    fn small_steps_do_not_add_up() {
        let mut clock = Clock::default();
        for step in 0..3 {
            assert_eq!(clock.shows(1000 + step * MARGIN_SECONDS / 2, at(0, 0)), Time::Good);
        }
        assert_eq!(clock.shows(1001 + MARGIN_SECONDS, at(0, 0)), Time::Doubtful);
    }

    #[test]
    fn a_machine_that_slept_or_whose_clock_was_set_back_believes_the_chain() {
        let mut clock = Clock::default();
        clock.shows(1000, at(0, 50_000));
        assert_eq!(clock.shows(31_000, at(5, 80_000)), Time::Good, "it slept");
        assert_eq!(clock.shows(31_100, at(31_005, 10)), Time::Good, "its clock was set back");
    }

    #[test]
    fn an_endpoint_some_blocks_behind_is_old_and_one_far_behind_is_doubted() {
        let mut clock = Clock::default();
        clock.shows(1000, at(0, 0));
        assert_eq!(clock.shows(999, at(0, 0)), Time::Old);
        assert_eq!(clock.shows(1000 - MARGIN_SECONDS, at(0, 0)), Time::Old);
        assert_eq!(clock.shows(999 - MARGIN_SECONDS, at(0, 0)), Time::Doubtful);
    }
}
