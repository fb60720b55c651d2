//! Energy out of readings of power: each reading counts until the next one. What no reading covers is not measured.

use std::time::Duration;

use node::earnings::statement::Energy;

/// Two readings that are further apart than this have something between them that nobody saw.
const LONGEST: Duration = Duration::from_secs(10);
/// What was measured is written down this often.
const WRITE: Duration = Duration::from_mins(1);
/// And in the quarter of an hour in which it was drawn.
const QUARTER_MS: i64 = 900_000;
/// No card draws more, in watts.
const MOST: f64 = 5_000.0;

/// What was measured and is to be written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Drawn {
    /// A time in its quarter of an hour, Unix milliseconds.
    pub(crate) unix_ms: i64,
    /// How much, and for how long.
    pub(crate) energy: Energy,
}

/// Adds up what the card draws that the worker runs on.
#[derive(Default)]
pub(crate) struct Power {
    last: Option<(Duration, f64)>,
    gathered: Gathered,
}

#[derive(Default)]
struct Gathered {
    unix_ms: i64,
    joules: f64,
    time: Duration,
}

impl Power {
    /// A reading, in watts; `None`: the card's driver says nothing, or nothing of ours runs on a card. Gives what is due to be written.
    pub(crate) fn add(&mut self, at: Duration, unix_ms: i64, watts: Option<f64>) -> Option<Drawn> {
        let watts = watts.filter(|watts| (0.0..=MOST).contains(watts));
        let before = std::mem::replace(&mut self.last, watts.map(|watts| (at, watts)));
        let due = (self.gathered.unix_ms.div_euclid(QUARTER_MS) != unix_ms.div_euclid(QUARTER_MS)
            || self.gathered.time >= WRITE)
            .then(|| self.take())
            .flatten();
        if let Some((since, drawn)) = before {
            let time = at.saturating_sub(since);
            if time <= LONGEST {
                self.gathered.unix_ms = unix_ms;
                self.gathered.joules += drawn * time.as_secs_f64();
                self.gathered.time += time;
            }
        }
        due
    }

    /// The session ends: what is left to be written.
    pub(crate) fn end(&mut self) -> Option<Drawn> {
        self.last = None;
        self.take()
    }

    fn take(&mut self) -> Option<Drawn> {
        let gathered = std::mem::take(&mut self.gathered);
        let measured_ms = u64::try_from(gathered.time.as_millis()).unwrap_or(u64::MAX);
        let energy = Energy { millijoules: (gathered.joules * 1_000.0).round() as u64, measured_ms };
        (measured_ms > 0).then_some(Drawn { unix_ms: gathered.unix_ms, energy })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_795_780_800_000;

    fn run(power: &mut Power, readings: impl IntoIterator<Item = (u64, Option<f64>)>) -> Vec<Drawn> {
        let add = |(second, watts)| power.add(Duration::from_secs(second), NOON + second as i64 * 1_000, watts);
        readings.into_iter().filter_map(add).collect()
    }

    fn sum(drawn: &[Drawn]) -> Energy {
        drawn.iter().fold(Energy::default(), |sum, one| sum.plus(one.energy))
    }

    #[test]
    fn readings_of_an_hour_come_to_what_was_drawn_and_are_written_by_the_minute() {
        let mut power = Power::default();
        let mut drawn = run(&mut power, (0..=3_600).map(|second| (second, Some(150.0))));
        drawn.extend(power.end());
        assert_eq!(sum(&drawn), Energy { millijoules: 540_000_000, measured_ms: 3_600_000 });
        assert!((60..=66).contains(&drawn.len()), "{}", drawn.len());
        // Nothing is written into a quarter in which it was not drawn, but for the second between the two.
        let first = drawn.iter().filter(|one| one.unix_ms < NOON + QUARTER_MS).map(|one| one.energy.measured_ms);
        assert!((898_000..=900_000).contains(&first.sum::<u64>()));
        assert_eq!(power.end(), None);
    }

    #[test]
    fn what_nobody_saw_is_not_measured_and_no_nothing() {
        let mut power = Power::default();
        assert_eq!(run(&mut power, (0..1_000).map(|second| (second, None))), []);
        assert_eq!(power.end(), None);
        // A gap of half an hour, as of a sleeping machine, and readings that are none.
        let readings = [(0, Some(100.0)), (1, Some(100.0)), (1_801, Some(100.0)), (1_802, None), (1_803, Some(100.0))];
        let mut drawn = run(&mut power, readings);
        let nonsense = [(1_804, Some(f64::NAN)), (1_805, Some(-3.0)), (1_806, Some(1e9)), (1_807, Some(0.0))];
        drawn.extend(run(&mut power, nonsense));
        drawn.extend(run(&mut power, [(1_808, Some(50.0))]));
        drawn.extend(power.end());
        // Two seconds of 100 watts, one more until the first nonsense, and one of nothing, which was measured.
        assert_eq!(sum(&drawn), Energy { millijoules: 300_000, measured_ms: 4_000 });
    }
}
