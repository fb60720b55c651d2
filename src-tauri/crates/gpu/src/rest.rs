//! When not to ask. A laptop's card falls asleep when nobody has used it for some seconds, and asking it how it does is a use:
//! a monitor that asks every second keeps it awake for ever. So a card that may sleep and has idled for a while is left alone,
//! and asked again after a longer while.

use std::time::{Duration, Instant};

/// So long a card must idle before it is left alone; longer than a start of our own worker takes.
const IDLE: Duration = Duration::from_secs(10);
/// So long it is left alone. Drivers put an unused card to sleep within 5 to 10 seconds.
const LEFT: Duration = Duration::from_secs(30);
/// Below this load, in percent, a card idles.
const BUSY: f32 = 1.0;

/// What is known of a card's idleness.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rest {
    idle_since: Option<Instant>,
    left_until: Option<Instant>,
}

/// What a reading says about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signs {
    /// The system would put it to sleep.
    pub(crate) may_sleep: bool,
    /// A card with a screen never sleeps.
    pub(crate) drives_screen: bool,
    /// 0 to 100.
    pub(crate) load: Option<f32>,
    /// Our own worker has it.
    pub(crate) is_ours: bool,
}

impl Rest {
    /// Whether the card is left alone now.
    pub(crate) fn is_left_alone(self, now: Instant) -> bool {
        self.left_until.is_some_and(|until| now < until)
    }

    /// Takes note of a reading.
    pub(crate) fn learn(&mut self, signs: Signs, now: Instant) {
        let idles = signs.may_sleep
            && !signs.drives_screen
            && !signs.is_ours
            && signs.load.is_none_or(|percent| percent < BUSY);
        if !idles {
            *self = Self::default();
            return;
        }
        let since = *self.idle_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= IDLE {
            self.left_until = Some(now + LEFT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLING: Signs = Signs { may_sleep: true, drives_screen: false, load: Some(0.0), is_ours: false };

    /// Asks once a second; how many of the seconds the card was left alone.
    fn left_alone(signs: impl Fn(u64) -> Signs, seconds: u64) -> u64 {
        let start = Instant::now();
        let mut rest = Rest::default();
        let mut left = 0;
        for second in 0..seconds {
            let now = start + Duration::from_secs(second);
            if rest.is_left_alone(now) {
                left += 1;
            } else {
                rest.learn(signs(second), now);
            }
        }
        left
    }

    #[test]
    fn an_idle_card_is_asked_once_in_half_a_minute() {
        // Ten seconds of proof, then one question in thirty.
        assert_eq!(left_alone(|_| IDLING, 100), 100 - 10 - 3);
        assert_eq!(left_alone(|_| Signs { load: None, ..IDLING }, 100), 87);
    }

    #[test]
    fn a_card_in_use_is_always_asked() {
        for signs in [
            Signs { may_sleep: false, ..IDLING },
            Signs { drives_screen: true, ..IDLING },
            Signs { is_ours: true, ..IDLING },
            Signs { load: Some(3.0), ..IDLING },
        ] {
            assert_eq!(left_alone(|_| signs, 100), 0, "{signs:?}");
        }
        // Every game pauses: a busy second begins the proof anew.
        assert_eq!(
            left_alone(|second| Signs { load: Some(if second % 9 == 0 { 50.0 } else { 0.0 }), ..IDLING }, 100),
            0
        );
    }
}
