//! Time in the box: the app's clock once, then our own.

use std::time::{Duration, Instant};

use protocol::Now;

/// Unix time advanced by a monotonic clock, so that no system clock has to be believed or reached.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
    unix_at_start_ms: i64,
}

impl Clock {
    /// A clock that reads `unix_ms` now.
    pub fn starting_at(unix_ms: i64) -> Self {
        Self { started: Instant::now(), unix_at_start_ms: unix_ms }
    }

    /// Time since the start.
    pub fn mono(&self) -> Duration {
        self.started.elapsed()
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
