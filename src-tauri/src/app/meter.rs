//! Speed over the last minutes, from running totals.

use std::collections::VecDeque;
use std::time::Duration;

use node::snapshot::Snapshot;

/// What Home shows.
pub(crate) const LONG: Duration = Duration::from_mins(10);
/// What a card shows.
pub(crate) const SHORT: Duration = Duration::from_mins(1);

struct Point {
    at: Duration,
    tokens: i64,
    busy: Duration,
}

/// Points of the last ten minutes.
#[derive(Default)]
pub(crate) struct Meter {
    points: VecDeque<Point>,
}

impl Meter {
    /// Takes what a provider shows at this moment.
    pub(crate) fn add(&mut self, at: Duration, snapshot: &Snapshot) {
        self.push(at, snapshot.totals.completion_tokens, snapshot.busy);
    }

    fn push(&mut self, at: Duration, tokens: i64, busy: Duration) {
        while self.points.front().is_some_and(|point| at.saturating_sub(point.at) > LONG) {
            self.points.pop_front();
        }
        self.points.push_back(Point { at, tokens, busy });
    }

    /// Tokens of answers for each second in which at least one job ran, over the last so many minutes. `None`: none was finished in it.
    pub(crate) fn tokens_per_second(&self, now: Duration, over: Duration) -> Option<f64> {
        let last = self.points.back()?;
        let first = self.points.iter().find(|point| now.saturating_sub(point.at) <= over)?;
        let tokens = last.tokens.saturating_sub(first.tokens);
        let seconds = last.busy.saturating_sub(first.busy).as_secs_f64();
        (tokens > 0 && seconds > 0.0).then(|| tokens as f64 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_busy_seconds_of_the_last_minutes_count() {
        let seconds = Duration::from_secs;
        let mut meter = Meter::default();
        assert_eq!(meter.tokens_per_second(seconds(0), SHORT), None);
        meter.push(seconds(0), 0, seconds(0));
        meter.push(seconds(30), 300, seconds(10));
        assert_eq!(meter.tokens_per_second(seconds(30), SHORT), Some(30.0));
        meter.push(seconds(300), 300, seconds(10));
        assert_eq!(meter.tokens_per_second(seconds(300), SHORT), None);
        assert_eq!(meter.tokens_per_second(seconds(300), LONG), Some(30.0));
        meter.push(seconds(900), 300, seconds(10));
        assert_eq!(meter.tokens_per_second(seconds(900), LONG), None);
        assert!(meter.points.len() < 3);
    }
}
