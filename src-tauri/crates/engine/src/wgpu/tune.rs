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
use crate::tune::{self, Choice, Key, Measured, Outcome, Progress, Session, measure};

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

/// Brings a model to a card as was chosen for both before, or tries out how.
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
    let reason = match tune::stored(session.stored, &key, &names) {
        Ok(choice) => {
            candidates.retain(|candidate| candidate.name == choice.candidate);
            let shape = candidates.pop().map(|candidate| candidate.setup);
            super::admit(gpu::room(&adapter, &about), &model, options, shape.as_ref(), tuning)?;
            let gpu = Gpu::open_for(options.context, &adapter, about, tuning.deadline)?;
            let kernels = kernels(&gpu, shape, tuning);
            let mut card = Wgpu::load(kernels, model, options, tuning)?;
            card.warm_up()?;
            return Ok((card, Outcome { choice, reason: None }));
        }
        Err(reason) => reason,
    };
    let limits = limits(about.kind);
    let count = candidates.len() as u32;
    // Whoever has no room for the model need not be tried out, and opening a card takes memory too.
    let shape = candidates.first().map(|candidate| &candidate.setup);
    super::admit(gpu::room(&adapter, &about), &model, options, shape, tuning)?;
    let mut gpu = Gpu::open_for(options.context, &adapter, about.clone(), tuning.deadline)?;
    let likeness = Likeness::of(&model);
    let started = Instant::now();
    let sound = search::test(candidates, limits.test, &mut || started.elapsed(), &mut |number, candidate| {
        (session.progress)(Progress::Testing { number, of: count });
        if gpu.is_lost() {
            // The one before it was too much for the driver.
            gpu = Gpu::open_for(options.context, &adapter, about.clone(), tuning.deadline)?;
        }
        let kernels = kernels(&gpu, Some(candidate.setup), tuning);
        Ok((candidate.name, likeness.test(kernels, tuning)?))
    })?;
    let of = sound.passed.len() as u32;
    // Compiled kernels of a card that was lost meanwhile are of no use.
    if gpu.is_lost() {
        gpu = Gpu::open_for(options.context, &adapter, about, tuning.deadline)?;
    }
    let mut names = Vec::new();
    let mut ready = Vec::new();
    for (name, kernels) in sound.passed {
        names.push(name);
        ready.push(Some(on(&gpu, kernels)));
    }
    let none = || DeviceFault::Refused { reason: "there is no way to run kernels on it".to_owned() };
    let first = ready.first_mut().and_then(Option::take).ok_or_else(none)?;
    let mut card = Wgpu::load(first, model, options, tuning)?;
    let mut current = 0;
    let started = Instant::now();
    let fastest = search::fastest(ready.len(), limits.measure, &mut || started.elapsed(), &mut |index| {
        (session.progress)(Progress::Measuring { number: index as u32 + 1, of });
        if let Some(kernels) = ready[index].take() {
            ready[current] = Some(card.reshape(kernels, options)?);
            current = index;
        }
        card.measure(options)
    })?;
    if let Some(kernels) = ready.get_mut(fastest.index).and_then(Option::take) {
        drop(card.reshape(kernels, options)?);
    }
    card.warm_up()?;
    let candidate = names.swap_remove(fastest.index);
    let failed = sound.failed + fastest.failed;
    let choice = Choice { key, candidate, measured: fastest.measured, tried: fastest.tried, failed };
    Ok((card, Outcome { choice, reason: Some(reason) }))
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
