//! Trying a card out at the first start: ways in which kernels may be cut for it, and how a step is measured.

use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::backend::Backend as _;
use crate::fault::DeviceFault;
use crate::scheduler::{Options, StartError};
use crate::tune::search::{self, Candidate, Limits, Sound};
use crate::tune::{self, Choice, Key, Measured, Outcome, Progress, Reason, Session, measure};

use super::check::{self, SelfTestFault};
use super::driver::Card;
use super::launch::{BATCH, Shape};
use super::{Cuda, nvidia};

/// Everything that decides what a card is told, so that a choice does not outlive it.
const SOURCES: [&str; 17] = [
    nvidia::PTX,
    include_str!("check.rs"),
    include_str!("driver.rs"),
    include_str!("launch.rs"),
    include_str!("mod.rs"),
    include_str!("nvidia.rs"),
    include_str!("tune.rs"),
    include_str!("../device/budget.rs"),
    include_str!("../device/matrix.rs"),
    include_str!("../device/mod.rs"),
    include_str!("../device/narrow.rs"),
    include_str!("../device/pages.rs"),
    include_str!("../device/plan.rs"),
    include_str!("../device/share.rs"),
    include_str!("../device/step.rs"),
    include_str!("../device/weights.rs"),
    include_str!("../tune/measure.rs"),
];

/// A card is asked for little: it is one that people wait for.
pub(super) const LIMITS: Limits = Limits { test: Duration::from_secs(6), measure: Duration::from_secs(3) };

/// What a choice for this card and model depends on. That a card passed its test is said of this one, so its own number is part of it.
pub(super) fn key(card: &Card, model: [u8; 32]) -> Key {
    let mut kernels = Sha256::new();
    for part in SOURCES {
        kernels.update((part.len() as u64).to_le_bytes());
        kernels.update(part.as_bytes());
    }
    let about = card.about();
    let mut api = about.api.to_owned();
    for byte in card.uuid().into_iter().flatten() {
        api.extend([byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or_default()));
    }
    Key {
        adapter: tune::text(&about.name),
        vendor: about.vendor,
        device: about.device.unwrap_or_default(),
        api,
        driver: tune::text(&about.driver),
        kernels: kernels.finalize().into(),
        model,
    }
}

/// Ways to try, the usual one first. More threads of a block share what the caches of a multiprocessor hold, fewer leave more blocks
/// to be spread; and not every card that knows the instructions of tensor cores has any (GTX 16).
pub(super) fn candidates() -> Vec<Candidate<Shape>> {
    let mut all = Vec::new();
    for tensor_cores in [true, false] {
        for threads in [128, 64, 256] {
            let name = format!("t{threads}{}", if tensor_cores { "" } else { "-plain" });
            all.push(Candidate { name, setup: Shape { threads, tensor_cores } });
        }
    }
    all
}

/// What is known of a card before a model is brought to it.
pub(super) struct Trial {
    key: Key,
    found: Found,
}

enum Found {
    /// At an earlier start.
    Before(Choice, Shape),
    /// Which ways compute what the processor does; which is the fastest is still to be measured.
    Sound(Sound<Candidate<Shape>>, Reason),
}

impl Trial {
    /// Has the card prove itself: in short if it did so before in the very same circumstances, else wholly, and then in every way in
    /// which kernels may be cut.
    pub(super) fn new(
        card: &Card,
        model: [u8; 32],
        session: &mut Session<'_>,
        limits: &Limits,
    ) -> Result<Self, StartError> {
        let differs = |fault| StartError::Differs { fault };
        let key = key(card, model);
        let mut candidates = candidates();
        let names: Vec<&str> = candidates.iter().map(|candidate| candidate.name.as_str()).collect();
        let reason = match tune::stored(session.stored, &key, &names) {
            Ok(choice) => {
                candidates.retain(|candidate| candidate.name == choice.candidate);
                let shape = candidates.pop().map_or_else(Shape::default, |candidate| candidate.setup);
                check::short_test(&card.clone().cut(shape), check::LONGEST).map_err(differs)?;
                return Ok(Self { key, found: Found::Before(choice, shape) });
            }
            Err(reason) => reason,
        };
        let of = candidates.len() as u32;
        let started = Instant::now();
        (session.progress)(Progress::Testing { number: 1, of });
        check::self_test(card, check::LONGEST).map_err(differs)?;
        let sound = search::test(candidates, limits.test, &mut || started.elapsed(), &mut |number, candidate| {
            if number > 1 {
                (session.progress)(Progress::Testing { number, of });
                let tested = check::short_test(&card.clone().cut(candidate.setup), check::LONGEST);
                tested.map_err(|fault| match fault {
                    SelfTestFault::Device(fault) => fault,
                    fault => DeviceFault::Wrong { what: fault.to_string() },
                })?;
            }
            Ok(candidate)
        })?;
        Ok(Self { key, found: Found::Sound(sound, reason) })
    }

    /// The way to begin with.
    pub(super) fn shape(&self) -> Shape {
        match &self.found {
            Found::Before(_, shape) => *shape,
            Found::Sound(sound, _) => sound.passed.first().map_or_else(Shape::default, |candidate| candidate.setup),
        }
    }

    /// Measures with the model that lies on the card, and leaves it in the fastest way.
    pub(super) fn finish(
        self,
        cuda: &mut Cuda,
        options: &Options,
        session: &mut Session<'_>,
        limits: &Limits,
    ) -> Result<Outcome, DeviceFault> {
        let (sound, reason) = match self.found {
            Found::Before(choice, _) => return Ok(Outcome { choice, reason: None }),
            Found::Sound(sound, reason) => (sound, reason),
        };
        let mut passed = sound.passed;
        let of = passed.len() as u32;
        let started = Instant::now();
        let fastest = search::fastest(passed.len(), limits.measure, &mut || started.elapsed(), &mut |index| {
            (session.progress)(Progress::Measuring { number: index as u32 + 1, of });
            if let Some(candidate) = passed.get(index) {
                cuda.card = cuda.card.clone().cut(candidate.setup);
            }
            cuda.measure(options)
        })?;
        let Candidate { name: candidate, setup } = passed.swap_remove(fastest.index);
        cuda.card = cuda.card.clone().cut(setup);
        let (measured, tried, failed) = (fastest.measured, fastest.tried, sound.failed + fastest.failed);
        let of = candidates().len() as u32;
        let choice = Choice { key: self.key, candidate, measured, tried, failed, of };
        Ok(Outcome { choice, reason: Some(reason) })
    }
}

impl Cuda {
    /// Measures a step of one sequence and a chunk of a prompt by the card's own clock, each the best of a few.
    fn measure(&mut self, options: &Options) -> Result<Measured, DeviceFault> {
        self.warm_up()?;
        let most = (BATCH as usize).min(options.context.saturating_sub(1) as usize).max(1);
        measure::measure(self, most, |cuda, batch| {
            let (card, deadline) = (cuda.card.clone(), cuda.deadline);
            card.timed(deadline, || cuda.forward(batch))
        })
    }
}
