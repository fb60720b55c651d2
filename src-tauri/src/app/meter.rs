//! Speed over the last minutes, from running totals.

use std::collections::VecDeque;
use std::time::Duration;

use node::snapshot::Snapshot;

/// What Home shows.
pub(crate) const LONG: Duration = Duration::from_mins(10);
/// What a card shows.
pub(crate) const SHORT: Duration = Duration::from_mins(1);

/// No two points are closer than this, however often something is shown; only the newest is always there.
const GRAIN: Duration = Duration::from_secs(1);

#[derive(Clone, Copy)]
struct Point {
    at: Duration,
    tokens: i64,
    busy: Duration,
}

/// Points of the last ten minutes, over the ends of sessions: a pause does not make forgotten how fast it was before.
#[derive(Default)]
pub(crate) struct Meter {
    points: VecDeque<Point>,
    /// What the sessions before this one came to; each begins at zero.
    before: (i64, Duration),
}

impl Meter {
    /// Takes what a provider shows at this moment.
    pub(crate) fn add(&mut self, at: Duration, snapshot: &Snapshot) {
        self.push(at, snapshot.totals.completion_tokens, snapshot.busy);
    }

    /// Another session begins, whose totals start at zero.
    pub(crate) fn begin(&mut self) {
        if let Some(last) = self.points.back() {
            self.before = (last.tokens, last.busy);
        }
    }

    fn push(&mut self, at: Duration, tokens: i64, busy: Duration) {
        while self.points.front().is_some_and(|point| at.saturating_sub(point.at) > LONG) {
            self.points.pop_front();
        }
        if let [.., kept, _] = self.points.make_contiguous()
            && at.saturating_sub(kept.at) < GRAIN
        {
            self.points.pop_back();
        }
        let (tokens, busy) = (self.before.0.saturating_add(tokens), self.before.1.saturating_add(busy));
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

    #[test]
    fn a_pause_does_not_make_forgotten_how_fast_it_was() {
        let seconds = Duration::from_secs;
        let mut meter = Meter::default();
        meter.push(seconds(0), 0, seconds(0));
        meter.push(seconds(30), 300, seconds(10));
        meter.begin();
        meter.push(seconds(90), 0, seconds(0));
        assert_eq!(meter.tokens_per_second(seconds(90), LONG), Some(30.0));
        meter.push(seconds(100), 100, seconds(10));
        assert_eq!(meter.tokens_per_second(seconds(100), LONG), Some(20.0), "both sessions count");
    }

    #[test]
    fn the_newest_is_there_at_once_and_many_in_a_second_take_no_more_room() {
        let mut meter = Meter::default();
        for step in 0..100_000_u64 {
            let tokens = i64::try_from(step).unwrap();
            meter.push(Duration::from_millis(step), tokens, Duration::from_millis(step));
            let speed = meter.tokens_per_second(Duration::from_millis(step), LONG);
            assert_eq!(speed.map(f64::round), (step > 0).then_some(1000.0), "step {step}");
        }
        assert!(meter.points.len() < 110, "{} points", meter.points.len());
    }
}
