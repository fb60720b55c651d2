//! Which of a backend's candidates: first those that compute the same as the processor, then the fastest of them. Knows neither a card
//! nor a clock.

use std::time::Duration;

use crate::fault::DeviceFault;

use super::choice::Measured;

/// One way to set a backend up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate<S> {
    /// Its name, the same in every version: it is what is stored.
    pub(crate) name: String,
    /// What it stands for.
    pub(crate) setup: S,
}

/// How long both halves may go on. A test or a measurement that has begun is brought to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) test: Duration,
    pub(crate) measure: Duration,
}

/// Candidates that may be used, and how many may not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sound<T> {
    /// What testing gave of each, the likeliest first.
    pub(crate) passed: Vec<T>,
    pub(crate) failed: u32,
}

/// Tests candidates in their order, as many as the time allows, but goes on until one has passed. If none does, the first one's fault.
/// A card that hangs ends it: another order would hang too.
pub(crate) fn test<S, T>(
    candidates: Vec<Candidate<S>>,
    limit: Duration,
    elapsed: &mut dyn FnMut() -> Duration,
    test: &mut dyn FnMut(u32, Candidate<S>) -> Result<T, DeviceFault>,
) -> Result<Sound<T>, DeviceFault> {
    let mut passed = Vec::new();
    let mut failed = 0;
    let mut first = None;
    for (number, candidate) in (1..).zip(candidates) {
        if !passed.is_empty() && elapsed() >= limit {
            break;
        }
        match test(number, candidate) {
            Ok(sound) => passed.push(sound),
            Err(fault @ DeviceFault::Hung { .. }) => return Err(fault),
            Err(fault) => {
                failed += 1;
                first.get_or_insert(fault);
            }
        }
    }
    match first {
        Some(fault) if passed.is_empty() => Err(fault),
        _ => Ok(Sound { passed, failed }),
    }
}

/// The fastest one, what it was measured with, and how many were measured and how many failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fastest {
    /// Its place among those that passed the test.
    pub(crate) index: usize,
    pub(crate) measured: Measured,
    pub(crate) tried: u32,
    pub(crate) failed: u32,
}

/// Measures candidates in their order, as many as the time allows, at least one. Of equals the first. If none can be measured, the
/// first one's fault; a card that is lost or hangs ends it.
pub(crate) fn fastest(
    count: usize,
    limit: Duration,
    elapsed: &mut dyn FnMut() -> Duration,
    measure: &mut dyn FnMut(usize) -> Result<Measured, DeviceFault>,
) -> Result<Fastest, DeviceFault> {
    let mut best: Option<(usize, Measured)> = None;
    let (mut tried, mut failed) = (0, 0);
    let mut first = None;
    for index in 0..count {
        if best.is_some() && elapsed() >= limit {
            break;
        }
        match measure(index) {
            Ok(measured) => {
                tried += 1;
                if best.is_none_or(|(_, best)| measured.cost() < best.cost()) {
                    best = Some((index, measured));
                }
            }
            Err(fault @ (DeviceFault::Hung { .. } | DeviceFault::Lost { .. })) => return Err(fault),
            Err(fault) => {
                failed += 1;
                first.get_or_insert(fault);
            }
        }
    }
    match (best, first) {
        (Some((index, measured)), _) => Ok(Fastest { index, measured, tried, failed }),
        (None, Some(fault)) => Err(fault),
        (None, None) => Err(DeviceFault::Refused { reason: "there is no way to run kernels on it".to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn named(names: &[&str]) -> Vec<Candidate<()>> {
        names.iter().map(|name| Candidate { name: (*name).to_owned(), setup: () }).collect()
    }

    fn wrong(what: &str) -> DeviceFault {
        DeviceFault::Wrong { what: what.to_owned() }
    }

    /// Runs the tests, each of which takes a second.
    fn tested(
        names: &[&str],
        seconds: u64,
        fault: impl Fn(&str) -> Option<DeviceFault>,
    ) -> Result<Sound<String>, DeviceFault> {
        let clock = Cell::new(0);
        test(
            named(names),
            Duration::from_secs(seconds),
            &mut || Duration::from_secs(clock.get()),
            &mut |_, candidate| {
                clock.set(clock.get() + 1);
                fault(&candidate.name).map_or(Ok(candidate.name), Err)
            },
        )
    }

    #[test]
    fn candidates_that_compute_something_else_are_left_out() {
        let sound = tested(&["a", "b", "c"], 60, |name| (name != "b").then(|| wrong(name))).unwrap();
        assert_eq!(sound, Sound { passed: vec!["b".to_owned()], failed: 2 });
        assert_eq!(tested(&["a", "b"], 60, |name| Some(wrong(name))), Err(wrong("a")));
    }

    #[test]
    fn testing_ends_in_time_but_not_before_one_has_passed() {
        assert_eq!(tested(&["a", "b", "c"], 2, |_| None).unwrap().passed, ["a", "b"]);
        let sound = tested(&["a", "b", "c", "d"], 1, |name| (name < "c").then(|| wrong(name))).unwrap();
        assert_eq!(sound, Sound { passed: vec!["c".to_owned()], failed: 2 });
    }

    #[test]
    fn a_card_that_hangs_is_not_tried_again() {
        let hung = DeviceFault::Hung { seconds: 30 };
        assert_eq!(tested(&["a", "b"], 60, |name| (name == "b").then(|| hung.clone())), Err(hung.clone()));
    }

    /// Measures these, each in a second; `None` fails.
    fn measured(steps: &[Option<u64>], seconds: u64) -> Result<(usize, u32, u32), DeviceFault> {
        let clock = Cell::new(0);
        let found = fastest(
            steps.len(),
            Duration::from_secs(seconds),
            &mut || Duration::from_secs(clock.get()),
            &mut |index| {
                clock.set(clock.get() + 1);
                let step_micros = steps[index].ok_or_else(|| wrong("it"))?;
                Ok(Measured { step_micros, chunk_tokens: 16, chunk_micros: 16 })
            },
        )?;
        assert_eq!(Some(found.measured.step_micros), steps[found.index]);
        Ok((found.index, found.tried, found.failed))
    }

    #[test]
    fn the_fastest_wins_and_of_equals_the_first() {
        assert_eq!(measured(&[Some(9), Some(5), Some(5), Some(7)], 60), Ok((1, 4, 0)));
        assert_eq!(measured(&[None, Some(5), None], 60), Ok((1, 1, 2)));
        assert_eq!(measured(&[Some(9), Some(8), Some(1)], 2), Ok((1, 2, 0)));
        assert_eq!(measured(&[None, None, Some(3)], 1), Ok((2, 1, 2)));
        assert_eq!(measured(&[None], 60), Err(wrong("it")));
        assert!(measured(&[], 60).is_err());
    }

    #[test]
    fn a_card_lost_while_it_is_measured_is_told() {
        let lost = DeviceFault::Lost { reason: "unplugged".to_owned() };
        let found = fastest(2, Duration::from_secs(9), &mut || Duration::ZERO, &mut |_| Err(lost.clone()));
        assert_eq!(found, Err(lost));
    }
}
