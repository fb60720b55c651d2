//! The plain CPU backend: the oracle that other backends are compared with, and what runs where there is no graphics card.

mod activations;
mod attention;
mod cache;
mod loader;
mod math;
mod matrix;
mod packed;
mod pass;
mod pool;
mod product;
mod room;
#[cfg(target_arch = "x86_64")]
mod x86;

use zeroize::{Zeroize, Zeroizing};

use crate::backend::{Backend, Batch, Found, PAGE_TOKENS, Pages, Wanted};
use crate::fault::DeviceFault;
use crate::gguf::Tensor;
use crate::model::{Model, Parameters, Ropes};
use crate::sampling::{self, Candidates};
use cache::Cache;
use loader::Loader;
use math::Level;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
pub(crate) use matrix::Matrix;
#[cfg(not(any(feature = "cuda", feature = "wgpu")))]
use matrix::Matrix;
use pass::Scratch;
use pool::Pool;

struct Layer {
    attention_norm: Vec<f32>,
    query: Matrix,
    key: Matrix,
    value: Matrix,
    /// Added to queries, keys and values, in the architectures that have them.
    offsets: Option<[Vec<f32>; 3]>,
    /// Norms of each head's queries and keys, likewise.
    head_norms: Option<[Vec<f32>; 2]>,
    attention_output: Matrix,
    attention_norm_behind: Option<Vec<f32>>,
    feed_forward_norm: Vec<f32>,
    feed_forward: FeedForward,
    feed_forward_norm_behind: Option<Vec<f32>>,
}

enum FeedForward {
    Dense(Box<Gated>),
    Experts { router: Matrix, experts: Vec<Gated> },
}

/// `down(activation(gate(x)) * up(x))`.
struct Gated {
    gate: Matrix,
    up: Matrix,
    down: Matrix,
}

/// Tokens of prompts read at once at most: more would need memory and save nothing.
const MOST_READ: usize = 256;

/// The model's weights and attention cache in main memory.
pub(crate) struct Cpu {
    parameters: Parameters,
    ropes: Ropes,
    level: Level,
    pool: Pool,
    embedding: Matrix,
    layers: Vec<Layer>,
    output_norm: Vec<f32>,
    /// `None` where the embedding serves as output too.
    output: Option<Matrix>,
    cache: Cache,
    scratch: Scratch,
}

/// Bytes that a model's weights take when they are arranged.
pub(crate) fn weight_bytes(model: &Model) -> u64 {
    let of = |tensor: &Tensor| {
        let size = |at: usize| tensor.shape.get(at).copied().unwrap_or(1);
        let blocks = packed::bytes(tensor.kind, size(1), size(0)).map(|bytes| bytes.saturating_mul(size(2)));
        blocks.unwrap_or(tensor.bytes.len() as u64)
    };
    model.tensors().map(of).fold(0, u64::saturating_add)
}

/// Bytes that the attention cache of so many tokens takes, in whole pages.
pub(crate) fn cache_bytes(parameters: &Parameters, tokens: usize) -> u64 {
    (Cache::page_size(parameters) as u64 * 2).saturating_mul(tokens.div_ceil(PAGE_TOKENS) as u64)
}

/// Tokens, in whole pages, that main memory has room for beside the weights; `None` where nobody knows.
pub(crate) fn tokens_in_room(model: &Model) -> Option<usize> {
    let rest = model.memory()?.saturating_sub(weight_bytes(model));
    let pages = rest / cache_bytes(model.parameters(), PAGE_TOKENS).max(1);
    Some(usize::try_from(pages).unwrap_or(usize::MAX).saturating_mul(PAGE_TOKENS))
}

impl Cpu {
    /// Arranges a model's weights. The attention cache has room for so many tokens, rounded up to pages.
    pub(crate) fn new(model: Model, threads: usize, cache_tokens: usize) -> Self {
        Self::at_level(Level::detect(), model, threads, cache_tokens)
    }

    fn at_level(level: Level, model: Model, threads: usize, cache_tokens: usize) -> Self {
        let parameters = *model.parameters();
        let ropes = model.ropes().clone();
        let mut loader = Loader(model.into_tensors());
        let embedding = loader.matrix("token_embd.weight");
        let output_norm = loader.vector("output_norm.weight");
        let output = loader.0.contains_key("output.weight").then(|| loader.matrix("output.weight"));
        let layers = (0..parameters.layers).map(|layer| loader.layer(layer, &parameters)).collect();
        Self {
            parameters,
            ropes,
            level,
            pool: Pool::new(threads),
            embedding,
            layers,
            output_norm,
            output,
            cache: Cache::new(&parameters, cache_tokens.div_ceil(PAGE_TOKENS)),
            scratch: Scratch::default(),
        }
    }
}

impl Backend for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn adapter(&self) -> Option<String> {
        None
    }

    fn reserve(&mut self, tokens: usize) -> Option<Pages> {
        self.cache.reserve(tokens.div_ceil(PAGE_TOKENS))
    }

    fn release(&mut self, pages: Pages) {
        self.cache.release(pages);
        // What was computed with them is nobody else's to find, and more than the last batch is not in there.
        self.scratch.zeroize();
    }

    fn prompt_chunk(&self) -> usize {
        MOST_READ
    }

    fn forward(&mut self, batch: &Batch<'_>) -> Result<Vec<Found>, DeviceFault> {
        let mut scratch = std::mem::take(&mut self.scratch);
        self.pass(batch, &mut scratch);
        let mut found = batch.room_for_found();
        let (vocabulary, cap) = (self.parameters.vocabulary, self.parameters.logit_cap);
        let wanting = batch.rows.iter().enumerate().filter(|(_, row)| row.wanted != Wanted::Nothing);
        let wanting: Vec<(usize, Wanted)> = wanting.map(|(index, row)| (index, row.wanted)).collect();
        found.resize_with(wanting.len(), || Found::Likeliest(0));
        let mut items: Vec<_> = wanting.into_iter().zip(found.iter_mut()).enumerate().collect();
        let own = || Zeroizing::new(vec![0.0; vocabulary]);
        self.pool.each(&mut items, own, |logits, &mut (nth, ((index, wanted), ref mut found))| {
            scratch.logits(nth, logits);
            if let Some(cap) = cap {
                for logit in logits.iter_mut() {
                    *logit = math::capped(*logit, cap);
                }
            }
            for penalty in batch.penalties.iter().filter(|penalty| penalty.row == index) {
                if let Some(logit) = logits.get_mut(penalty.token as usize) {
                    *logit -= penalty.amount;
                }
            }
            if let Some(masked) = batch.masks.iter().find(|masked| masked.row == index) {
                let others = (0..).zip(logits.iter_mut()).filter(|(token, _)| !masked.mask.admits(*token));
                others.for_each(|(_, logit)| *logit = f32::NEG_INFINITY);
            }
            **found = find(wanted, logits);
        });
        self.scratch = scratch;
        Ok(std::mem::take(&mut found))
    }
}

fn find(wanted: Wanted, logits: &[f32]) -> Found {
    let all = logits.iter().copied();
    match wanted {
        Wanted::Nothing | Wanted::Likeliest => Found::Likeliest(sampling::likeliest(all)),
        Wanted::Candidates => Found::Candidates(Candidates::of(all)),
        Wanted::Logits => Found::Logits(logits.to_vec()),
    }
}

#[cfg(test)]
mod real;
#[cfg(test)]
mod tests;
