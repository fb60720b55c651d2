//! Time for the core, which has none.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::core::Now;

/// A clock that started with the node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { start: Instant::now() }
    }

    pub(super) fn mono(self) -> Duration {
        self.start.elapsed()
    }

    pub(super) fn now(self) -> Now {
        Now { mono: self.mono(), unix_ms: unix_ms() }
    }

    /// Forever when there is nothing to wait for.
    pub(super) async fn sleep_until(self, deadline: Option<Duration>) {
        match deadline.and_then(|deadline| self.start.checked_add(deadline)) {
            Some(moment) => tokio::time::sleep_until(moment.into()).await,
            None => std::future::pending().await,
        }
    }
}

/// Unix time in milliseconds; 0 when the machine's clock stands before 1970.
pub(super) fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
