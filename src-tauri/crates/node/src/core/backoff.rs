//! Pauses that double.

use std::time::Duration;

/// How long to wait before the next try.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// Begins with `first`, never waits longer than `most`.
    pub fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first }
    }

    /// The pause now; the next is twice as long.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next.min(self.most);
        self.next = pause.saturating_mul(2).min(self.most);
        pause
    }

    /// It went well: begin anew.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew() {
        let seconds = Duration::from_secs;
        let mut backoff = Backoff::new(seconds(1), seconds(5));
        let pauses: Vec<Duration> = (0..5).map(|_| backoff.pause()).collect();
        assert_eq!(pauses, [seconds(1), seconds(2), seconds(4), seconds(5), seconds(5)]);
        backoff.reset();
        assert_eq!(backoff.pause(), seconds(1));
    }
}
