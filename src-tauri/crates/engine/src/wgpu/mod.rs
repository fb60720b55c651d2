//! The backend for graphics cards, through wgpu: Vulkan, and DX12 on Windows.
//!
//! The whole forward pass runs on the card, as one list of kernels that is made once ([`crate::device::plan`], [`graph`]); a step uploads token ids,
//! positions and page numbers and reads back a token id, or 64 candidates, for each sequence. Weights keep the types they have in
//! the file ([`crate::device::matrix`]), and the attention cache is in 16-bit floats, packed in pairs, so that no card needs arithmetic in them.
//!
//! Activations take the same forms as on the CPU (signed bytes for blocks of quants), products of bytes are whole numbers and thus
//! exact, and sums run in an order that depends on nothing but the shape ([`shape`]) and, in attention, on a token's position: kernels
//! for prompts and for single tokens add in the same order. So a sequence's result is the same in every batch, and close to the CPU's.
//!
//! Where a card reads prompts with cooperative matrices, their tokens are always computed with these, and those of answers never: what
//! a token gives depends on which of the two it is, and still on nothing else (`docs/adr/0011`).

mod cache;
mod cooperative;
mod gpu;
mod graph;
mod kernels;
mod memory;
mod selftest;
mod shape;
mod template;
#[cfg(test)]
mod tests;
mod tune;

use std::sync::Arc;
use std::time::Duration;

use crate::adapter::{self, Adapter, NoAdapter, Wish};
use crate::backend::{Backend, Batch, Found, Mask, Masked, PAGE_TOKENS, Pages, Penalty, Row, Wanted, Work};
use crate::device::plan::Builder;
use crate::device::share::Shares;
use crate::device::step::{Part, Size, Source, result_bytes};
use crate::device::{budget, pages, plan, weights};
use crate::fault::DeviceFault;
use crate::model::{Model, Parameters};
use crate::scheduler::{Options, StartError, cache_tokens};
use crate::tune::{Outcome, Session};

use self::cache::Cache;
use self::gpu::Gpu;
use self::graph::{Graph, Scratch, Weights};
use self::kernels::Kernels;
use self::shape::Shape;

/// The cards of this machine.
pub(crate) fn list() -> Vec<Adapter> {
    gpu::enumerate().into_iter().map(|(_, about)| about).collect()
}

/// Heads are shared between the threads of a workgroup, in its own small memory.
const MAX_HEAD_SIZE: usize = 256;

/// Whether kernels can compute a model of this shape.
pub(crate) fn check(parameters: &Parameters) -> Result<(), StartError> {
    let size = parameters.head_size;
    if !size.is_multiple_of(2) || size > MAX_HEAD_SIZE {
        return Err(StartError::Unsupported { what: format!("its heads have {size} values") });
    }
    Ok(())
}

/// Brings a model to a card: the one of that name or number, or the best.
pub(crate) fn start(model: Model, options: &Options, adapter: Option<&str>) -> Result<Box<dyn Backend>, StartError> {
    let wish = Wish { adapter: adapter.map(str::to_owned), software: true };
    let mut card = Wgpu::new(model, options, &wish, &Tuning::default())?;
    card.warm_up()?;
    Ok(Box::new(card))
}

/// The same, with kernels cut as was found best for this card, now or at an earlier start.
pub(crate) fn start_tuned(
    model: Model,
    options: &Options,
    adapter: Option<&str>,
    session: &mut Session<'_>,
) -> Result<(Box<dyn Backend>, Outcome), StartError> {
    let wish = Wish { adapter: adapter.map(str::to_owned), software: true };
    let (card, outcome) = tune::start(model, options, &wish, &Tuning::default(), session)?;
    Ok((Box::new(card), outcome))
}

/// The card that is wished for.
fn pick(parameters: &Parameters, wish: &Wish) -> Result<(wgpu::Adapter, Adapter), StartError> {
    check(parameters)?;
    let mut found = gpu::enumerate();
    let listed: Vec<Adapter> = found.iter().map(|(_, about)| about.clone()).collect();
    let chosen = adapter::choose(&listed, wish)?;
    if chosen.index >= found.len() {
        return Err(NoAdapter::None.into());
    }
    Ok(found.swap_remove(chosen.index))
}

/// Whether there is room for a model on a card, before any of it is brought there. Where the driver does not say, it is tried.
fn admit(
    room: Option<u64>,
    model: &Model,
    options: &Options,
    shape: Option<&Shape>,
    tuning: &Tuning,
) -> Result<(), DeviceFault> {
    let parameters = model.parameters();
    let batch = shape.map_or(1, |shape| shape.batch);
    let needed = weights::bytes(model)
        + plan::scratch_bytes(parameters, batch, results(options, batch))
        + pages::first_bytes(parameters, cache_tokens(options) / PAGE_TOKENS);
    budget::admit(needed, [room, tuning.memory_bytes].into_iter().flatten().min())
}

/// Tokens with results that one step has at most.
fn results(options: &Options, batch: u32) -> u32 {
    (options.max_sequences as u32).clamp(4, batch)
}

/// What tests set otherwise.
#[derive(Clone)]
struct Tuning {
    /// The most bytes of one buffer of weights; `None`: what the card allows.
    binding_bytes: Option<u64>,
    /// The most bytes of everything; `None`: what the driver gives.
    memory_bytes: Option<u64>,
    /// How kernels are cut; `None`: as suits the card.
    shape: Option<Shape>,
    /// After this long without an answer the card counts as hung. Windows resets a card after two seconds by itself; software shares
    /// the processor with everything else.
    deadline: Duration,
    /// Text before every kernel.
    preamble: &'static str,
    /// How long trying out may take; `None`: as suits the card's kind.
    limits: Option<crate::tune::search::Limits>,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            binding_bytes: None,
            memory_bytes: None,
            shape: None,
            deadline: Duration::from_secs(30),
            preamble: "",
            limits: None,
        }
    }
}

/// A model on a card.
struct Wgpu {
    // Before the card itself, so that they are dropped first.
    graph: Graph,
    cache: Cache,
    scratch: Scratch,
    weights: Weights,
    kernels: Kernels,
    readback: wgpu::Buffer,
    gpu: Arc<Gpu>,
    parameters: Parameters,
    /// Tokens with results that one step has at most.
    results: u32,
    work: Work,
    fault: Option<DeviceFault>,
}

impl Wgpu {
    fn new(model: Model, options: &Options, wish: &Wish, tuning: &Tuning) -> Result<Self, StartError> {
        let (adapter, about) = pick(model.parameters(), wish)?;
        let shape = tuning.shape.clone().unwrap_or_else(|| Shape::of(&about));
        // Opening it takes memory too.
        admit(gpu::room(&adapter, &about), &model, options, Some(&shape), tuning)?;
        let gpu = Gpu::open_for(options.context, &adapter, about, tuning.deadline)?;
        let mut kernels = Kernels::new(gpu, shape);
        kernels.preamble = tuning.preamble;
        Ok(Self::load(kernels, model, options, tuning)?)
    }

    /// Brings a model to the card that these kernels are for.
    fn load(mut kernels: Kernels, model: Model, options: &Options, tuning: &Tuning) -> Result<Self, DeviceFault> {
        let gpu = Arc::clone(&kernels.gpu);
        admit(gpu.room(), &model, options, Some(&kernels.shape), tuning)?;
        let parameters = *model.parameters();
        let batch = kernels.shape.batch;
        let results = results(options, batch);
        let limit = tuning.binding_bytes.unwrap_or(u64::MAX);
        let weights = Weights::upload(&gpu, model, options.context as usize, limit)?;
        let scratch = Scratch::new(&gpu, &weights, &parameters, batch, results)?;
        let cache = Cache::new(&gpu, &parameters, cache_tokens(options) / PAGE_TOKENS)?;
        let plan = Builder::new(&parameters, &scratch, results).model(&weights, &cache.layers);
        let shares = Shares::new(&parameters, &scratch, &weights, &cache.layers, Some(gpu.slice), [batch, results]);
        let graph = Graph::bind(&gpu, &mut kernels, plan, &shares)?;
        let readback = readback(&gpu, results)?;
        Ok(Self {
            graph,
            cache,
            scratch,
            weights,
            kernels,
            readback,
            gpu,
            parameters,
            results,
            work: Work::default(),
            fault: None,
        })
    }

    /// Goes on with other kernels, and gives back those it had. Before the first prompt, as nothing is wiped.
    fn reshape(&mut self, mut kernels: Kernels, options: &Options) -> Result<Kernels, DeviceFault> {
        let Self { gpu, parameters, weights, cache, .. } = self;
        let batch = kernels.shape.batch;
        let results = results(options, batch);
        let scratch = Scratch::new(gpu, weights, parameters, batch, results)?;
        let plan = Builder::new(parameters, &scratch, results).model(weights, &cache.layers);
        let shares = Shares::new(parameters, &scratch, weights, &cache.layers, Some(gpu.slice), [batch, results]);
        let graph = Graph::bind(gpu, &mut kernels, plan, &shares)?;
        self.readback = readback(gpu, results)?;
        self.graph = graph;
        self.scratch = scratch;
        self.results = results;
        Ok(std::mem::replace(&mut self.kernels, kernels))
    }

    fn bind(&mut self) -> Result<(), DeviceFault> {
        let Self { gpu, kernels, parameters, scratch, weights, cache, results, .. } = self;
        let plan = Builder::new(parameters, scratch, *results).model(weights, &cache.layers);
        let sizes = [kernels.shape.batch, *results];
        let shares = Shares::new(parameters, scratch, weights, &cache.layers, Some(gpu.slice), sizes);
        self.graph = Graph::bind(gpu, kernels, plan, &shares)?;
        Ok(())
    }

    /// Computes rows that fit into one step.
    fn step(&mut self, part: &Part<'_>, found: &mut Vec<Found>) -> Result<(), DeviceFault> {
        let bytes = part.bytes();
        if bytes.len() as u64 > self.scratch.step.size() {
            let larger = self.gpu.storage("numbers of a step", bytes.len() as u64 * 2)?;
            let smaller = std::mem::replace(&mut self.scratch.step, larger);
            self.wipe(&smaller);
            self.bind()?;
        }
        self.gpu.queue.write_buffer(&self.scratch.step, 0, &bytes);
        let mut encoder = self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let size = Size { told: bytes.len() as u64, ..part.size() };
        let work = self.graph.encode(&mut encoder, size);
        self.work.dispatches += work.dispatches;
        self.work.bytes_bound += work.bytes_bound;
        let read = part.readback(self.results, self.parameters.vocabulary);
        for &(buffer, offset, to, bytes) in &read {
            let source = match buffer {
                Source::Results => &self.scratch.results,
                Source::Logits => &self.scratch.logits,
            };
            encoder.copy_buffer_to_buffer(source, offset, &self.readback, to, bytes);
        }
        let submission = self.gpu.submit(encoder);
        let used = read.iter().map(|&(_, _, to, bytes)| to + bytes).max().unwrap_or_default();
        if used > 0 {
            self.readback.map_async(wgpu::MapMode::Read, 0..used, |_| {});
        }
        self.gpu.wait(submission)?;
        if used > 0 {
            let refused = |error: &dyn std::fmt::Display| DeviceFault::Refused { reason: error.to_string() };
            let view = self.readback.get_mapped_range(0..used).map_err(|error| refused(&error))?;
            part.take(&view, &read, found);
            drop(view);
            self.readback.unmap();
        }
        self.gpu.check()
    }
}

/// Where results of one step come back.
fn readback(gpu: &Gpu, results: u32) -> Result<wgpu::Buffer, DeviceFault> {
    gpu.buffer("results", result_bytes(results), wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST)
}

impl Backend for Wgpu {
    fn name(&self) -> &'static str {
        "wgpu"
    }

    fn adapter(&self) -> Option<String> {
        Some(self.gpu.about.describe())
    }

    fn prompt_chunk(&self) -> usize {
        self.kernels.shape.batch as usize
    }

    fn reserve(&mut self, tokens: usize) -> Option<Pages> {
        if self.fault.is_some() {
            return None;
        }
        let count = tokens.div_ceil(PAGE_TOKENS);
        if let Some(pages) = self.cache.take(count) {
            return Some(pages);
        }
        // More memory, or none: a card that is full now may have room when a game has ended.
        let grown = self
            .cache
            .grow(&self.gpu, &self.parameters, count)
            .and_then(|grown| if grown { self.bind().map(|()| true) } else { Ok(false) });
        match grown {
            Ok(true) => self.cache.take(count),
            Ok(false) => None,
            Err(DeviceFault::OutOfMemory { .. }) if !self.gpu.is_lost() => None,
            Err(fault) => {
                self.fault = Some(fault);
                None
            }
        }
    }

    fn release(&mut self, pages: Pages) {
        let mut encoder = self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        self.cache.wipe(&mut encoder, &pages);
        for buffer in self.scratch.all().into_iter().chain([&self.readback]) {
            encoder.clear_buffer(buffer, 0, None);
        }
        self.cache.give_back(pages);
        let submission = self.gpu.submit(encoder);
        // The next step would find out as well; but then the wiping must have happened.
        if self.fault.is_none() {
            self.fault = self.gpu.wait(submission).err();
        }
    }

    fn forward(&mut self, batch: &Batch<'_>) -> Result<Vec<Found>, DeviceFault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        self.work = Work::default();
        let mut found = batch.room_for_found();
        for part in Part::cut(batch, self.kernels.shape.batch as usize, self.results as usize, self.reads_otherwise()) {
            let done = self.room_for_logits(part.wanting_logits()).and_then(|()| self.step(&part, &mut found));
            if let Err(fault) = done {
                self.fault = Some(fault.clone());
                return Err(fault);
            }
        }
        Ok(std::mem::take(&mut found))
    }

    fn reads_otherwise(&self) -> bool {
        self.kernels.shape.cooperative.is_some()
    }

    fn work(&self) -> Option<Work> {
        Some(self.work)
    }
}

/// How long the first steps may take, in which drivers compile for good what they have only taken note of before.
const WARM_UP: Duration = Duration::from_mins(3);

impl Wgpu {
    /// Runs every kernel once, so that no customer waits for a compiler and none is taken for a hung card.
    fn warm_up(&mut self) -> Result<(), DeviceFault> {
        self.gpu.set_deadline(WARM_UP);
        let everything = Mask::everything(self.parameters.vocabulary);
        // A token whose attention has two slices, if a sequence may be as long.
        let context = self.weights.turns.size() / (self.parameters.rope_size as u64 * 4).max(1);
        let long = Some((self.gpu.slice, 1)).filter(|&(slice, _)| context > u64::from(slice));
        let sizes = self.kernels.shape.tokens.clone().into_iter().map(|count| (0, count)).chain(long);
        let answers = sizes.map(|(first, count)| (first, count, false));
        let prompts = self.kernels.shape.cooperative.map(|_| (0, 2, true));
        for (first, count, prompt) in answers.chain(prompts) {
            let Some(pages) = self.reserve((first + count) as usize) else { continue };
            let rows: Vec<Row> = (first..first + count)
                .map(|position| {
                    let wanted = if position == first { Wanted::Candidates } else { Wanted::Nothing };
                    Row { token: 0, position, sequence: 0, prompt, wanted }
                })
                .collect();
            let penalties = [Penalty { row: 0, token: 0, amount: 0.0 }];
            let masks = [Masked { row: 0, mask: &everything }];
            let batch = Batch { rows: &rows, sequences: &[&pages], penalties: &penalties, masks: &masks };
            let done = self.forward(&batch);
            self.release(pages);
            done?;
        }
        self.gpu.set_deadline(Tuning::default().deadline);
        self.fault.clone().map_or(Ok(()), Err)
    }

    /// Tokens of a prompt are in it, and it is about to be given back to the driver.
    fn wipe(&self, buffer: &wgpu::Buffer) {
        let mut encoder = self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.clear_buffer(buffer, 0, None);
        self.gpu.submit(encoder);
    }

    /// Only tests want logits, so there is no room for them beforehand.
    fn room_for_logits(&mut self, rows: usize) -> Result<(), DeviceFault> {
        let row = self.parameters.vocabulary as u64 * 4;
        let bytes = result_bytes(self.results) + rows as u64 * row;
        if rows > 0 && self.readback.size() < bytes {
            let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
            self.readback = self.gpu.buffer("logits", bytes, usage)?;
        }
        Ok(())
    }
}
