//! Trying a card out at the first start: which shapes there are for it, and how a step is measured.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::adapter::{Adapter, AdapterKind, Wish};
use crate::backend::Backend as _;
use crate::fault::DeviceFault;
use crate::model::Model;
use crate::scheduler::{Options, StartError};
use crate::tune::search::{self, Candidate, Limits};
use crate::tune::{self, Choice, Key, Measured, Outcome, Progress, Reason, Session, measure};

use super::gpu::{self, Gpu};
use super::kernels::Kernels;
use super::selftest::Likeness;
use super::shape::Shape;
use super::{Tuning, Wgpu};

/// Everything that decides what a card is told, so that a choice does not outlive it.
const SOURCES: [&str; 41] = [
    include_str!("attention.wgsl"),
    include_str!("block.wgsl"),
    include_str!("choose.wgsl"),
    include_str!("cooperative.wgsl"),
    include_str!("embed.wgsl"),
    include_str!("form.wgsl"),
    include_str!("head.wgsl"),
    include_str!("heads.wgsl"),
    include_str!("mask.wgsl"),
    include_str!("merge.wgsl"),
    include_str!("mixed.wgsl"),
    include_str!("numbers.wgsl"),
    include_str!("penalise.wgsl"),
    include_str!("prepare.wgsl"),
    include_str!("product.wgsl"),
    include_str!("quants.wgsl"),
    include_str!("score.wgsl"),
    include_str!("select.wgsl"),
    include_str!("cache.rs"),
    include_str!("cooperative.rs"),
    include_str!("gpu.rs"),
    include_str!("graph.rs"),
    include_str!("kernels.rs"),
    include_str!("memory.rs"),
    include_str!("memory/vulkan.rs"),
    include_str!("memory/windows.rs"),
    include_str!("mod.rs"),
    include_str!("selftest.rs"),
    include_str!("shape.rs"),
    include_str!("template.rs"),
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

/// What brings that to a driver, with its versions: another one may word or order it otherwise.
const LIBRARIES: [(&str, &str); 4] =
    [("naga", "30.0.2"), ("wgpu", "30.0.2"), ("wgpu-core", "30.0.2"), ("wgpu-hal", "30.0.2")];

/// What a choice for this card and model depends on.
fn key(about: &Adapter, model: [u8; 32]) -> Key {
    let mut kernels = Sha256::new();
    for part in SOURCES.into_iter().chain(LIBRARIES.into_iter().flat_map(|(name, version)| [name, version])) {
        kernels.update((part.len() as u64).to_le_bytes());
        kernels.update(part.as_bytes());
    }
    Key {
        adapter: tune::text(&about.name),
        vendor: about.vendor,
        device: about.device.unwrap_or_default(),
        api: about.api.to_owned(),
        driver: tune::text(&about.driver),
        kernels: kernels.finalize().into(),
        model,
    }
}

/// A card's name for a shape: what distinguishes it from the others of the card.
fn name(shape: &Shape) -> String {
    let Shape { workgroup, lanes, rows, subgroups, integer_dot, cooperative, .. } = shape;
    let subgroups = if *subgroups { "-subgroups" } else { "" };
    let floats = if *integer_dot { "" } else { "-floats" };
    let cooperative = cooperative.map_or_else(String::new, |side| format!("-cooperative{side}"));
    format!("w{workgroup}-l{lanes}-r{rows}{subgroups}{floats}{cooperative}")
}

/// Shapes to try on a card, the one that suits its kind best first. Follows from what the driver says of it alone.
pub(super) fn candidates(about: &Adapter) -> Vec<Candidate<Shape>> {
    let usual = Shape::of(about);
    let mut shapes = vec![usual.clone()];
    // Never by what the driver says alone: some have these matrices without anything that multiplies them fast.
    shapes.extend(about.cooperative.map(|side| Shape { cooperative: Some(side), ..usual.clone() }));
    if about.kind == AdapterKind::Software {
        // Where 16-bit floats are missing, compilers take minutes for others.
        if about.half_floats {
            shapes.push(Shape { rows: 4, tokens: vec![1, 4], ..usual.clone() });
            shapes.push(Shape { integer_dot: !usual.integer_dot, ..usual });
        }
    } else {
        // More threads for a row: longer pieces of memory, fewer rows at once. Fewer: the other way round.
        shapes.push(Shape { lanes: 32, ..usual.clone() });
        shapes.push(Shape { lanes: 8, ..usual.clone() });
        shapes.push(Shape { rows: 2, ..usual.clone() });
        shapes.push(Shape { workgroup: 128, ..usual.clone() });
        if about.subgroup.is_some() {
            let whole = Shape::of_card(true);
            shapes.extend(about.cooperative.map(|side| Shape { cooperative: Some(side), ..whole.clone() }));
            shapes.push(Shape { workgroup: 32, lanes: 32, ..whole.clone() });
            shapes.push(Shape { workgroup: 128, lanes: 128, rows: 2, ..whole.clone() });
            shapes.push(whole);
        }
        shapes.push(Shape { integer_dot: false, ..usual });
    }
    shapes.into_iter().map(|setup| Candidate { name: name(&setup), setup }).collect()
}

/// Software computes on the processor that everything else needs, and gains little.
fn limits(kind: AdapterKind) -> Limits {
    let seconds = |test, measure| Limits { test: Duration::from_secs(test), measure: Duration::from_secs(measure) };
    if kind == AdapterKind::Software { seconds(2, 1) } else { seconds(6, 3) }
}

/// The kernels of a shape, none of them compiled; `None`: of the one that suits the card's kind.
fn kernels(gpu: &Arc<Gpu>, shape: Option<Shape>, tuning: &Tuning) -> Kernels {
    let mut kernels = Kernels::new(Arc::clone(gpu), shape.unwrap_or_else(|| Shape::of(&gpu.about)));
    kernels.preamble = tuning.preamble;
    kernels
}

/// The same kernels on a card that was opened anew meanwhile.
fn on(gpu: &Arc<Gpu>, kernels: Kernels) -> Kernels {
    if Arc::ptr_eq(gpu, &kernels.gpu) {
        return kernels;
    }
    let mut anew = Kernels::new(Arc::clone(gpu), kernels.shape);
    anew.preamble = kernels.preamble;
    anew
}

/// Brings a model to a card as was chosen for both before, or tries out how. Whatever was stored, the card shows at every start that it
/// computes what the processor does: a driver may have been right yesterday.
pub(super) fn start(
    model: Model,
    options: &Options,
    wish: &Wish,
    tuning: &Tuning,
    session: &mut Session<'_>,
) -> Result<(Wgpu, Outcome), StartError> {
    let (adapter, about) = super::pick(model.parameters(), wish)?;
    let key = key(&about, model.sha256());
    let mut candidates = candidates(&about);
    let names: Vec<&str> = candidates.iter().map(|candidate| candidate.name.as_str()).collect();
    let of = candidates.len() as u32;
    let (known, reason) = match tune::stored(session.stored, &key, &names) {
        Ok(choice) => {
            let reason = (!choice.is_finished()).then(|| Reason::Unfinished { seen: choice.seen(), of });
            (Some(choice), reason)
        }
        Err(reason) => (None, Some(reason)),
    };
    let chosen =
        known.as_ref().map_or(0, |choice| names.iter().position(|name| *name == choice.candidate).unwrap_or(0));
    // Whoever has no room for the model need not be tried out, and opening a card takes memory too.
    let shape = candidates.get(chosen).map(|candidate| candidate.setup.clone());
    super::admit(gpu::room(&adapter, &about), &model, options, shape.as_ref(), tuning)?;
    let mut trial = Trial {
        gpu: Gpu::open_for(options.context, &adapter, about.clone(), tuning.deadline)?,
        likeness: Likeness::of(&model),
        limits: tuning.limits.unwrap_or_else(|| limits(about.kind)),
        adapter,
        about,
        options,
        tuning,
    };
    let Some(choice) = known else {
        let sound = trial.test(candidates, 1, of, session)?;
        let (card, found) = trial.measure(model, sound, None, session)?;
        return Ok((card, Outcome { choice: found.choice(key, of), reason }));
    };
    let shape = shape.unwrap_or_else(|| Shape::of(&trial.about));
    let before = trial.likeness.test(kernels(&trial.gpu, Some(shape), tuning), tuning)?;
    if reason.is_none() {
        let mut card = Wgpu::load(before, model, options, tuning)?;
        card.warm_up()?;
        return Ok((card, Outcome { choice, reason: None }));
    }
    let left = candidates.split_off((choice.seen() as usize).min(candidates.len()));
    let count = left.len() as u32;
    let sound = match trial.test(left, choice.seen() + 1, of, session) {
        Err(DeviceFault::Hung { seconds }) => return Err(DeviceFault::Hung { seconds }.into()),
        // None of the others can be used.
        Err(_) => Tested { passed: Vec::new(), failed: (0..count).collect() },
        Ok(sound) => sound,
    };
    let (card, found) = trial.measure(model, sound, Some((choice.candidate.clone(), before)), session)?;
    let found = Found { tried: choice.tried + found.tried, failed: choice.failed + found.failed, ..found };
    Ok((card, Outcome { choice: found.choice(key, of), reason }))
}

/// A card that is being tried out.
struct Trial<'a> {
    gpu: Arc<Gpu>,
    adapter: wgpu::Adapter,
    about: Adapter,
    likeness: Likeness,
    limits: Limits,
    options: &'a Options,
    tuning: &'a Tuning,
}

/// Candidates by their places among those that were to be tested.
struct Tested {
    passed: Vec<(u32, String, Kernels)>,
    failed: Vec<u32>,
}

/// What came of measuring: the best, and how many of the first candidates were measured or failed.
struct Found {
    candidate: String,
    measured: Measured,
    tried: u32,
    failed: u32,
}

impl Found {
    fn choice(self, key: Key, of: u32) -> Choice {
        let Self { candidate, measured, tried, failed } = self;
        Choice { key, candidate, measured, tried, failed, of }
    }
}

impl Trial<'_> {
    /// Opens the card anew if what was tried last was too much for its driver.
    fn reopen(&mut self) -> Result<(), DeviceFault> {
        if self.gpu.is_lost() {
            let (options, deadline) = (self.options, self.tuning.deadline);
            self.gpu = Gpu::open_for(options.context, &self.adapter, self.about.clone(), deadline)?;
        }
        Ok(())
    }

    /// Compares candidates with the processor; the first of them is this one of so many.
    fn test(
        &mut self,
        candidates: Vec<Candidate<Shape>>,
        first: u32,
        of: u32,
        session: &mut Session<'_>,
    ) -> Result<Tested, DeviceFault> {
        let started = Instant::now();
        let mut failed = Vec::new();
        let sound = search::test(candidates, self.limits.test, &mut || started.elapsed(), &mut |number, candidate| {
            (session.progress)(Progress::Testing { number: first + number - 1, of });
            self.reopen()?;
            let kernels = kernels(&self.gpu, Some(candidate.setup), self.tuning);
            match self.likeness.test(kernels, self.tuning) {
                Ok(kernels) => Ok((number - 1, candidate.name, kernels)),
                Err(fault) => {
                    failed.push(number - 1);
                    Err(fault)
                }
            }
        })?;
        Ok(Tested { passed: sound.passed, failed })
    }

    /// Brings the model to the card and measures it there with what passed, and first with the best of an earlier start. Leaves it with
    /// the fastest.
    fn measure(
        mut self,
        model: Model,
        tested: Tested,
        before: Option<(String, Kernels)>,
        session: &mut Session<'_>,
    ) -> Result<(Wgpu, Found), DeviceFault> {
        // Compiled kernels of a card that was lost meanwhile are of no use.
        self.reopen()?;
        let of = (tested.passed.len() + usize::from(before.is_some())) as u32;
        let mut names = Vec::new();
        let mut places = Vec::new();
        let mut ready = Vec::new();
        let known = before.is_some();
        let passed = tested.passed.into_iter().map(|(place, name, kernels)| (Some(place), name, kernels));
        for (place, name, kernels) in before.map(|(name, kernels)| (None, name, kernels)).into_iter().chain(passed) {
            places.extend(place);
            names.push(name);
            ready.push(Some(on(&self.gpu, kernels)));
        }
        let none = || DeviceFault::Refused { reason: "there is no way to run kernels on it".to_owned() };
        let first = ready.first_mut().and_then(Option::take).ok_or_else(none)?;
        let options = self.options;
        let mut card = Wgpu::load(first, model, options, self.tuning)?;
        let mut current = 0;
        let mut time = |index: usize| {
            (session.progress)(Progress::Measuring { number: index as u32 + 1, of });
            if let Some(kernels) = ready.get_mut(index).and_then(Option::take) {
                let others = card.reshape(kernels, options)?;
                if let Some(place) = ready.get_mut(current) {
                    *place = Some(others);
                }
                current = index;
            }
            card.measure(options)
        };
        // That of an earlier start is measured again, because it was another hour, and takes no time from the others.
        let mut best = if known { Some((0, time(0)?)) } else { None };
        let started = Instant::now();
        let mut measured = Vec::new();
        let mut failed = tested.failed;
        let fastest = search::fastest(places.len(), self.limits.measure, &mut || started.elapsed(), &mut |index| {
            let found = time(index + usize::from(known));
            if found.is_ok() { &mut measured } else { &mut failed }.extend(places.get(index));
            found
        });
        match fastest {
            Ok(found) if best.is_none_or(|(_, best): (_, Measured)| found.measured.cost() < best.cost()) => {
                best = Some((found.index + usize::from(known), found.measured));
            }
            Err(fault) if best.is_none() || matches!(fault, DeviceFault::Hung { .. } | DeviceFault::Lost { .. }) => {
                return Err(fault);
            }
            Ok(_) | Err(_) => {}
        }
        let (index, micros) = best.ok_or_else(none)?;
        if let Some(kernels) = ready.get_mut(index).and_then(Option::take) {
            drop(card.reshape(kernels, options)?);
        }
        card.warm_up()?;
        // The next start goes on with the first for which there was no time, and with what failed behind it.
        let most = (measured.len() + failed.len()) as u32;
        let seen = (0..most).take_while(|place| measured.contains(place) || failed.contains(place)).count() as u32;
        let before = |places: &[u32]| places.iter().filter(|&&place| place < seen).count() as u32;
        let (tried, failed) = (before(&measured), before(&failed));
        Ok((card, Found { candidate: names.swap_remove(index), measured: micros, tried, failed }))
    }
}

impl Wgpu {
    /// Measures a step of one sequence and a chunk of a prompt, each the best of a few.
    fn measure(&mut self, options: &Options) -> Result<Measured, DeviceFault> {
        self.warm_up()?;
        let most = (self.kernels.shape.batch as usize).min(options.context.saturating_sub(1) as usize).max(1);
        measure::measure(self, most, |card, batch| {
            let started = Instant::now();
            card.forward(batch).map(|_| started.elapsed())
        })
    }
}

#[cfg(test)]
mod tests;
