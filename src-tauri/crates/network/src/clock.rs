//! Time and chance for the pure machines, which have neither.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use protocol::{Now, Randomness};

/// A clock that started with the value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(self) -> Now {
        Now { mono: self.start.elapsed(), unix: unix_seconds() }
    }

    /// The moment on tokio's clock that `mono` stands for.
    pub(crate) fn at(self, mono: Duration) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.start + mono)
    }
}

/// Unix time in seconds; 0 when the machine's clock stands before 1970.
pub(crate) fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The operating system's randomness.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OsRandom;

/// Fills an array with the operating system's randomness.
///
/// # Panics
/// When the system has none: then no key, nonce or id may be made at all.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(clippy::expect_used, reason = "without randomness no id, salt or key may be made")]
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

impl Randomness for OsRandom {
    fn long(&mut self) -> i64 {
        i64::from_le_bytes(random_bytes())
    }

    fn int256(&mut self) -> [u8; 32] {
        random_bytes()
    }
}
