//! The backend for NVIDIA's cards, through CUDA's driver.
//!
//! The same plan, layouts and words of a step as on every other card ([`crate::device`]), with kernels in CUDA C ([`launch`] names
//! them, `kernels/` holds them). They are compiled to PTX by a developer's command, `cargo xtask kernels`, and committed with the hash of
//! their text; the driver is loaded at run time ([`nvidia`]), so the program is the same with and without it.
//!
//! It was never run on a card of NVIDIA's. What stands in for one: every kernel is also compiled as C++ and run on the processor
//! against the same oracle as on other cards (tests), it is compiled to machine code of three generations of cards, and the first start on a
//! card begins with [`check::self_test`] and every other with [`check::short_test`], without which nothing is served.

mod check;
mod driver;
mod launch;
mod nvidia;
#[cfg(test)]
mod tests;
mod tune;

#[cfg(test)]
use std::sync::Arc;
use std::time::Duration;

use zeroize::{Zeroize, Zeroizing};

use crate::adapter::{self, Adapter, NoAdapter, Wish};
use crate::backend::{Backend, Batch, Found, Mask, Masked, PAGE_TOKENS, Pages, Penalty, Row, Wanted, Work};
use crate::device::Memory;
use crate::device::budget;
#[cfg(test)]
use crate::device::matrix::Form;
use crate::device::pages::{PageTable, first_bytes, page_bytes, pages_in, runs};
use crate::device::plan::{Builder, LayerCache, Scratch, scratch_bytes};
use crate::device::share::Shares;
use crate::device::step::{Part, Size, Source};
use crate::device::weights::{self, Weights};
use crate::fault::DeviceFault;
use crate::model::{Model, Parameters};
use crate::scheduler::{Options, StartError, cache_tokens};
use crate::tune::{Outcome, Session};

use self::driver::{Buffer, Card, DEADLINE};
use self::launch::{BATCH, Graph, MAX_HEAD_SIZE};
use self::tune::Trial;

pub use self::check::SelfTestFault;

/// NVIDIA's cards of this machine, or why none can be asked.
pub(crate) fn list() -> Result<Vec<Adapter>, String> {
    nvidia::list()
}

/// Whether kernels can compute a model of this shape.
pub(crate) fn check(parameters: &Parameters) -> Result<(), StartError> {
    let size = parameters.head_size;
    if !size.is_multiple_of(2) || size > MAX_HEAD_SIZE {
        return Err(StartError::Unsupported { what: format!("its heads have {size} values") });
    }
    Ok(())
}

/// Opens a card, the one of that name or number or the best, and has it prove itself. With a session only as far as it did not do so
/// before, and in every way in which kernels may be cut for it.
pub(crate) fn open(
    adapter: Option<&str>,
    model: &Model,
    session: Option<&mut Session<'_>>,
) -> Result<Opened, StartError> {
    connect(adapter)?.proved(model, session)
}

/// Opens a card.
fn connect(adapter: Option<&str>) -> Result<Opened, StartError> {
    let cards = list().map_err(|reason| NoAdapter::NoCuda { reason })?;
    let chosen = adapter::choose(&cards, &Wish { adapter: adapter.map(str::to_owned), software: false })?;
    Ok(Opened { card: Card::new(nvidia::Nvidia::open(chosen.index)?), trial: None })
}

/// An open card.
pub(crate) struct Opened {
    card: Card,
    /// What was found out about it so far, or before; `None`: nobody asked.
    trial: Option<Trial>,
}

impl Opened {
    fn proved(mut self, model: &Model, session: Option<&mut Session<'_>>) -> Result<Self, StartError> {
        match session {
            None => {
                let tested = check::self_test(&self.card, check::LONGEST);
                tested.map_err(|fault| StartError::Differs { fault })?;
            }
            Some(session) => {
                let trial = Trial::new(&self.card, model.sha256(), session, &tune::LIMITS)?;
                self.card = self.card.cut(trial.shape());
                self.trial = Some(trial);
            }
        }
        Ok(self)
    }

    /// Whether there is room for a model on it, before any of it is brought there. Where the driver does not say, it is tried.
    pub(crate) fn admit(&self, model: &Model, options: &Options) -> Result<(), StartError> {
        Ok(admit(&self.card, model, options)?)
    }

    /// Brings a model to it, and finds out what is still to be found out.
    pub(crate) fn start(
        self,
        model: Model,
        options: &Options,
        session: Option<&mut Session<'_>>,
    ) -> Result<(Box<dyn Backend>, Option<Outcome>), StartError> {
        let mut cuda = Cuda::new(self.card, model, options, u64::MAX)?;
        cuda.warm_up()?;
        let outcome = match (self.trial, session) {
            (Some(trial), Some(session)) => Some(trial.finish(&mut cuda, options, session, &tune::LIMITS)?),
            _ => None,
        };
        Ok((Box::new(cuda), outcome))
    }
}

/// A model on a card.
struct Cuda {
    graph: Graph,
    cache: Cache,
    scratch: Scratch<Buffer>,
    weights: Weights<Buffer>,
    card: Card,
    parameters: Parameters,
    /// Tokens with results that one step has at most.
    results: u32,
    work: Work,
    deadline: Duration,
    fault: Option<DeviceFault>,
}

/// Keys and values of all layers, in pages.
struct Cache {
    layers: Vec<LayerCache<Buffer>>,
    table: PageTable,
}

fn layers(card: &Card, p: &Parameters, pages: usize) -> Result<Vec<LayerCache<Buffer>>, DeviceFault> {
    let bytes = pages as u64 * page_bytes(p);
    let what = "the attention cache";
    let one = |_| Ok(LayerCache { keys: card.allocate(what, bytes)?, values: card.allocate(what, bytes)? });
    (0..p.layers).map(one).collect()
}

/// Tokens with results that one step has at most.
fn results(options: &Options) -> u32 {
    (options.max_sequences as u32).clamp(4, BATCH)
}

/// Whether there is room for a model, beside what the desktop is left.
fn admit(card: &Card, model: &Model, options: &Options) -> Result<(), DeviceFault> {
    let parameters = model.parameters();
    let needed = weights::bytes(model)
        + scratch_bytes(parameters, BATCH, results(options))
        + first_bytes(parameters, cache_tokens(options) / PAGE_TOKENS);
    budget::admit(needed, card.room())
}

impl Cuda {
    /// A model on a card, no buffer of its weights larger than so many bytes.
    fn new(card: Card, model: Model, options: &Options, limit: u64) -> Result<Self, StartError> {
        check(model.parameters())?;
        let parameters = *model.parameters();
        admit(&card, &model, options)?;
        let results = results(options);
        let most = cache_tokens(options) / PAGE_TOKENS;
        let weights = Weights::upload(&card, model, options.context as usize, limit)?;
        let scratch = Scratch::new(&card, &weights, &parameters, BATCH, results)?;
        // Kernels number words of a cache with 32 bits.
        let table = PageTable::new(most.min((u64::from(u32::MAX) / page_bytes(&parameters)) as usize));
        let cache = Cache { layers: layers(&card, &parameters, table.len())?, table };
        let plan = Builder::new(&parameters, &scratch, results).model(&weights, &cache.layers);
        let shares = Shares::new(&parameters, &scratch, &weights, &cache.layers, None, [BATCH, results]);
        card.settle()?;
        Ok(Self {
            graph: Graph::new(plan, &shares)?,
            cache,
            scratch,
            weights,
            card,
            parameters,
            results,
            work: Work::default(),
            deadline: DEADLINE,
            fault: None,
        })
    }

    fn bind(&mut self) -> Result<(), DeviceFault> {
        let Self { parameters, scratch, weights, cache, results, .. } = self;
        let plan = Builder::new(parameters, scratch, *results).model(weights, &cache.layers);
        let shares = Shares::new(parameters, scratch, weights, &cache.layers, None, [BATCH, *results]);
        self.graph = Graph::new(plan, &shares)?;
        Ok(())
    }

    /// Computes rows that fit into one step.
    fn step(&mut self, part: &Part<'_>, found: &mut Vec<Found>) -> Result<(), DeviceFault> {
        let bytes = part.bytes();
        if bytes.len() as u64 > self.scratch.step.bytes() {
            // The smaller one is overwritten when nothing holds it any more.
            self.scratch.step = self.card.allocate("numbers of a step", bytes.len() as u64 * 2)?;
            self.bind()?;
        }
        self.card.write(&self.scratch.step, 0, &bytes)?;
        let size = Size { told: bytes.len() as u64, ..part.size() };
        let work = self.graph.start(&self.card, size)?;
        self.work.dispatches += work.dispatches;
        self.work.bytes_bound += work.bytes_bound;
        let copies = part.readback(self.results, self.parameters.vocabulary);
        let used = copies.iter().map(|&(_, _, to, bytes)| to + bytes).max().unwrap_or_default();
        let mut view = Zeroizing::new(vec![0; usize::try_from(used).unwrap_or_default()]);
        self.card.wait(self.deadline)?;
        for &(source, from, to, bytes) in &copies {
            let buffer = match source {
                Source::Results => &self.scratch.results,
                Source::Logits => &self.scratch.logits,
            };
            let Some(into) = view.get_mut(to as usize..(to + bytes) as usize) else { continue };
            self.card.read(buffer, from, into, self.deadline)?;
        }
        part.take(&view, &copies, found);
        view.zeroize();
        Ok(())
    }

    /// Gets memory for so many pages more, at least; `false` if that is more than there may be.
    fn grow(&mut self, count: usize) -> Result<bool, DeviceFault> {
        let room = pages_in(self.card.room(), &self.parameters);
        let Some(size) = self.cache.table.size_for(count, room) else { return Ok(false) };
        let grown = layers(&self.card, &self.parameters, size)?;
        let bytes = self.cache.table.len() as u64 * page_bytes(&self.parameters);
        for (old, new) in self.cache.layers.iter().zip(&grown) {
            self.card.copy(&old.keys, &new.keys, bytes)?;
            self.card.copy(&old.values, &new.values, bytes)?;
        }
        self.card.wait(self.deadline)?;
        // The old ones are overwritten when the graph holds them no more.
        self.cache.layers = grown;
        self.cache.table.grown_to(size);
        self.bind()?;
        Ok(true)
    }

    /// Overwrites pages, and all that was computed on the way.
    fn wipe(&self, pages: &Pages) -> Result<(), DeviceFault> {
        let page = page_bytes(&self.parameters);
        for (first, count) in runs(pages) {
            for layer in &self.cache.layers {
                self.card.clear(&layer.keys, first * page, count * page)?;
                self.card.clear(&layer.values, first * page, count * page)?;
            }
        }
        for buffer in self.scratch.all() {
            self.card.clear(buffer, 0, buffer.bytes())?;
        }
        self.card.wait(self.deadline)
    }

    /// Runs every kernel of the model once, so that no customer waits for what a driver does at a first time.
    fn warm_up(&mut self) -> Result<(), DeviceFault> {
        let everything = Mask::everything(self.parameters.vocabulary);
        for count in [1, 4, 8, 32] {
            let Some(pages) = self.reserve(count as usize) else { continue };
            let rows: Vec<Row> = (0..count)
                .map(|position| {
                    let wanted = if position == 0 { Wanted::Candidates } else { Wanted::Nothing };
                    Row { token: 0, position, sequence: 0, prompt: false, wanted }
                })
                .collect();
            let penalties = [Penalty { row: 0, token: 0, amount: 0.0 }];
            let masks = [Masked { row: 0, mask: &everything }];
            let done = self.forward(&Batch { rows: &rows, sequences: &[&pages], penalties: &penalties, masks: &masks });
            self.release(pages);
            done?;
        }
        self.fault.clone().map_or(Ok(()), Err)
    }
}

impl Backend for Cuda {
    fn name(&self) -> &'static str {
        "cuda"
    }

    fn adapter(&self) -> Option<String> {
        Some(self.card.about().describe())
    }

    fn prompt_chunk(&self) -> usize {
        BATCH as usize
    }

    fn reserve(&mut self, tokens: usize) -> Option<Pages> {
        if self.fault.is_some() {
            return None;
        }
        let count = tokens.div_ceil(PAGE_TOKENS);
        if let Some(pages) = self.cache.table.take(count) {
            return Some(pages);
        }
        // More memory, or none: a card that is full now may have room when a game has ended.
        match self.grow(count) {
            Ok(true) => self.cache.table.take(count),
            Ok(false) | Err(DeviceFault::OutOfMemory { .. }) => None,
            Err(fault) => {
                self.fault = Some(fault);
                None
            }
        }
    }

    fn release(&mut self, pages: Pages) {
        let wiped = self.wipe(&pages);
        self.cache.table.give_back(pages);
        if self.fault.is_none() {
            self.fault = wiped.err();
        }
    }

    fn forward(&mut self, batch: &Batch<'_>) -> Result<Vec<Found>, DeviceFault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        self.work = Work::default();
        let mut found = batch.room_for_found();
        for part in Part::cut(batch, BATCH as usize, self.results as usize, false) {
            if let Err(fault) = self.step(&part, &mut found) {
                self.fault = Some(fault.clone());
                return Err(fault);
            }
        }
        Ok(std::mem::take(&mut found))
    }

    fn work(&self) -> Option<Work> {
        Some(self.work)
    }
}
