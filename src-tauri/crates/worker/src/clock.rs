//! Time in the box: the app's clock whenever it says what that shows, our own in between.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::Now;

/// Time since any fixed start; never goes back.
pub type Ticks = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The machine's.
pub fn machine_ticks() -> Ticks {
    let started = Instant::now();
    Arc::new(move || started.elapsed())
}

/// Unix time advanced by a monotonic clock, so that no system clock has to be reached from the box. The monotonic clock stands
/// still while the machine sleeps; that is why the app's is set anew with every lane.
#[derive(Clone)]
pub struct Clock {
    ticks: Ticks,
    unix_at_start_ms: i64,
}

impl Clock {
    /// A clock that reads `unix_ms` now.
    pub fn new(ticks: Ticks, unix_ms: i64) -> Self {
        let mut clock = Self { ticks, unix_at_start_ms: 0 };
        clock.set(unix_ms);
        clock
    }

    /// The app's clock reads `unix_ms` now. What [`Self::mono`] counts goes on as before.
    pub fn set(&mut self, unix_ms: i64) {
        let elapsed = i64::try_from(self.mono().as_millis()).unwrap_or(i64::MAX);
        self.unix_at_start_ms = unix_ms.saturating_sub(elapsed);
    }

    /// Time since the start of its ticks.
    pub fn mono(&self) -> Duration {
        (self.ticks)()
    }

    /// Unix time in milliseconds.
    pub fn unix_ms(&self) -> i64 {
        let elapsed = i64::try_from(self.mono().as_millis()).unwrap_or(i64::MAX);
        self.unix_at_start_ms.saturating_add(elapsed)
    }

    /// Unix time in whole seconds, 0 before 1970.
    pub fn unix_seconds(&self) -> u64 {
        u64::try_from(self.unix_ms() / 1000).unwrap_or(0)
    }

    /// Both, as the protocol wants them.
    pub fn now(&self) -> Now {
        let mono = self.mono();
        Now { mono, unix: self.unix_at_start_ms as f64 / 1000.0 + mono.as_secs_f64() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_goes_on_from_there_and_never_back_in_its_own_time() {
        let mut clock = Clock::new(machine_ticks(), 1_000_000);
        let before = clock.mono();
        // The machine slept for a day.
        clock.set(87_400_000);
        assert!((87_400..87_460).contains(&clock.unix_seconds()), "{}", clock.unix_seconds());
        assert!(clock.mono() >= before);
        clock.set(5_000);
        assert!(clock.unix_seconds() < 60);
    }
}
