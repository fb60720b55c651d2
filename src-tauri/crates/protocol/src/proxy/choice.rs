//! Which worker gets a job.

use std::time::Duration;

/// Older queries count less: after this long, a third of what they did.
const MEMORY: f64 = 600.0;

/// A decaying average of how long queries take on one connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    seconds: f64,
    count: f64,
    at: Duration,
}

impl Pace {
    pub(super) fn record(&mut self, took: Duration, now: Duration) {
        let fade = (-now.saturating_sub(self.at).as_secs_f64() / MEMORY).exp();
        self.seconds = self.seconds * fade + took.as_secs_f64();
        self.count = self.count * fade + 1.0;
        self.at = now;
    }

    /// Seconds a query takes; 0 without history. Sum and count fade alike, so their ratio does not fade.
    pub(super) fn average(&self) -> f64 {
        if self.count > 0.0 { self.seconds / self.count } else { 0.0 }
    }
}

/// A connection that might take a job.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) conn: u64,
    pub(super) enabled: bool,
    pub(super) coefficient: i32,
    pub(super) running: u32,
    pub(super) limit: u32,
    pub(super) average: f64,
}

/// The best one, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Take(u64),
    /// Nobody serves the model now.
    Nobody,
    /// Some serve it, but none can take a job.
    NotReady,
    /// Those who could are too dear; the cheapest costs this.
    TooDear(i32),
}

/// Picks the candidate with the least work ahead of it. Candidates come oldest first, and the oldest wins a tie.
pub(super) fn choose(candidates: impl Iterator<Item = Candidate>, max_coefficient: i32) -> Choice {
    let mut best: Option<(f64, u64)> = None;
    let mut cheapest: Option<i32> = None;
    let mut anybody = false;
    for candidate in candidates {
        anybody = true;
        if !candidate.enabled || candidate.running >= candidate.limit {
            continue;
        }
        if candidate.coefficient > max_coefficient {
            cheapest = Some(cheapest.map_or(candidate.coefficient, |so_far| so_far.min(candidate.coefficient)));
            continue;
        }
        let load = f64::from(candidate.running) * candidate.average;
        if best.is_none_or(|(least, _)| load < least) {
            best = Some((load, candidate.conn));
        }
    }
    match (best, cheapest) {
        (Some((_, conn)), _) => Choice::Take(conn),
        (None, Some(coefficient)) => Choice::TooDear(coefficient),
        (None, None) if anybody => Choice::NotReady,
        (None, None) => Choice::Nobody,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(conn: u64) -> Candidate {
        Candidate { conn, enabled: true, coefficient: 1000, running: 0, limit: 2, average: 0.0 }
    }

    #[test]
    fn the_oldest_connection_wins_a_tie() {
        let idle = [candidate(3), candidate(5)];
        assert_eq!(choose(idle.into_iter(), 1000), Choice::Take(3));
        let history = [
            Candidate { running: 1, average: 0.0, ..candidate(3) },
            Candidate { running: 0, average: 9.0, ..candidate(5) },
        ];
        assert_eq!(choose(history.into_iter(), 1000), Choice::Take(3));
    }

    #[test]
    fn the_least_work_ahead_wins_otherwise() {
        let busy = [
            Candidate { running: 1, average: 4.0, ..candidate(3) },
            Candidate { running: 1, average: 3.0, ..candidate(5) },
        ];
        assert_eq!(choose(busy.into_iter(), 1000), Choice::Take(5));
    }

    #[test]
    fn each_reason_for_nobody_is_told_apart() {
        assert_eq!(choose(std::iter::empty(), 1000), Choice::Nobody);
        let off = Candidate { enabled: false, ..candidate(1) };
        let full = Candidate { running: 2, ..candidate(2) };
        assert_eq!(choose([off, full].into_iter(), 1000), Choice::NotReady);
        let dear = Candidate { coefficient: 1500, ..candidate(3) };
        assert_eq!(choose([off, full, dear].into_iter(), 1000), Choice::TooDear(1500));
    }

    #[test]
    fn an_old_pace_counts_less_than_a_new_one() {
        let mut pace = Pace::default();
        assert!(pace.average().abs() < f64::EPSILON);
        pace.record(Duration::from_secs(10), Duration::ZERO);
        pace.record(Duration::from_secs(2), Duration::from_hours(1));
        assert!(pace.average() < 2.1);
    }
}
