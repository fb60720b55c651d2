//! The plain CPU backend: the oracle that other backends are compared with, and what runs where there is no graphics card.

mod math;
mod matrix;
mod pool;
mod product;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::collections::BTreeMap;

use half::f16;
use zeroize::{Zeroize, Zeroizing};

use crate::backend::{Backend, Batch, Found, PAGE_TOKENS, Pages, Row, Wanted};
use crate::fault::DeviceFault;
use crate::gguf::Tensor;
use crate::model::{Model, Parameters, layer_tensors};
use crate::sampling::{self, Candidates};
#[cfg(feature = "wgpu")]
pub(crate) use math::turns;
use math::{LANES, Level};
use matrix::Activations;
#[cfg(all(test, feature = "wgpu"))]
pub(crate) use matrix::Matrix;
#[cfg(not(all(test, feature = "wgpu")))]
use matrix::Matrix;
use pool::Pool;

struct Layer {
    attention_norm: Vec<f32>,
    query: Matrix,
    key: Matrix,
    value: Matrix,
    attention_output: Matrix,
    feed_forward_norm: Vec<f32>,
    gate: Matrix,
    up: Matrix,
    down: Matrix,
}

/// The model's weights and attention cache in main memory.
pub(crate) struct Cpu {
    parameters: Parameters,
    level: Level,
    pool: Pool,
    embedding: Matrix,
    layers: Vec<Layer>,
    output_norm: Vec<f32>,
    /// `None` where the embedding serves as output too.
    output: Option<Matrix>,
    cache: Cache,
}

impl Cpu {
    /// Arranges a model's weights. The attention cache has room for so many tokens, rounded up to pages.
    pub(crate) fn new(model: Model, threads: usize, cache_tokens: usize) -> Self {
        Self::at_level(Level::detect(), model, threads, cache_tokens)
    }

    fn at_level(level: Level, model: Model, threads: usize, cache_tokens: usize) -> Self {
        let parameters = *model.parameters();
        let mut tensors = model.into_tensors();
        let embedding = matrix(&mut tensors, "token_embd.weight");
        let output_norm = vector(&mut tensors, "output_norm.weight");
        let output = tensors.contains_key("output.weight").then(|| matrix(&mut tensors, "output.weight"));
        let layers = (0..parameters.layers)
            .map(|layer| {
                let names = layer_tensors(layer, &parameters).map(|(name, _)| name);
                let [attention_norm, query, key, value, attention_output, feed_forward_norm, gate, up, down] = names;
                Layer {
                    attention_norm: vector(&mut tensors, &attention_norm),
                    query: matrix(&mut tensors, &query),
                    key: matrix(&mut tensors, &key),
                    value: matrix(&mut tensors, &value),
                    attention_output: matrix(&mut tensors, &attention_output),
                    feed_forward_norm: vector(&mut tensors, &feed_forward_norm),
                    gate: matrix(&mut tensors, &gate),
                    up: matrix(&mut tensors, &up),
                    down: matrix(&mut tensors, &down),
                }
            })
            .collect();
        Self {
            parameters,
            level,
            pool: Pool::new(threads),
            embedding,
            layers,
            output_norm,
            output,
            cache: Cache::new(&parameters, cache_tokens.div_ceil(PAGE_TOKENS)),
        }
    }

    /// Products of several matrices with the same activations, the rows of each split between the threads. Outputs are one
    /// token's values after another's.
    fn multiply(&self, matrices: &[&Matrix], values: &[f32], tokens: usize) -> Vec<Vec<f32>> {
        let mut outputs: Vec<Vec<f32>> = matrices.iter().map(|matrix| vec![0.0; matrix.rows * tokens]).collect();
        let mut prepared: Vec<(matrix::Form, Activations)> = Vec::new();
        for matrix in matrices {
            if !prepared.iter().any(|(form, _)| *form == matrix.form()) {
                let activations = Activations::new(self.level, matrix.form(), matrix.columns, values);
                prepared.push((matrix.form(), activations));
            }
        }
        let mut here = Vec::new();
        let mut there = Vec::new();
        for (matrix, output) in matrices.iter().zip(&mut outputs) {
            let Some((_, activations)) = prepared.iter().find(|(form, _)| *form == matrix.form()) else { continue };
            let middle = matrix.rows / 2;
            let (lower, upper): (Vec<_>, Vec<_>) =
                output.chunks_mut(matrix.rows).map(|output| output.split_at_mut(middle)).unzip();
            here.push((*matrix, 0, activations, lower));
            there.push((*matrix, middle, activations, upper));
        }
        let level = self.level;
        let run = move |parts: Vec<(&Matrix, usize, &Activations, Vec<&mut [f32]>)>| {
            for (matrix, first, activations, mut out) in parts {
                matrix.multiply(level, first, activations, &mut out);
            }
        };
        self.pool.join(|| run(here), || run(there));
        outputs
    }

    fn normed(&self, states: &[f32], weight: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; states.len()];
        for (state, out) in states.chunks_exact(weight.len()).zip(out.chunks_exact_mut(weight.len())) {
            math::rms_norm(self.level, state, weight, self.parameters.norm_epsilon, out);
        }
        out
    }

    /// Attention of all rows in one layer; the keys and values of these rows are in the cache already.
    fn attend(&self, layer: usize, batch: &Batch<'_>, queries: &mut [f32]) -> Vec<f32> {
        let attention = Attention { parameters: &self.parameters, level: self.level, cache: &self.cache, layer, batch };
        let head_size = self.parameters.head_size;
        let mut out = vec![0.0; queries.len()];
        let heads = queries.chunks_exact_mut(head_size).zip(out.chunks_exact_mut(head_size)).enumerate();
        // Neighbouring rows attend to about as much, so every other head makes even halves.
        let (here, there): (Vec<_>, Vec<_>) = heads.partition(|(index, _)| index % 2 == 0);
        self.pool.join(|| attention.heads(here), || attention.heads(there));
        out
    }
}

/// A head's number in the batch, its query and the place for its result.
type HeadWork<'a> = (usize, (&'a mut [f32], &'a mut [f32]));

/// Attention of one layer in one batch.
struct Attention<'a> {
    parameters: &'a Parameters,
    level: Level,
    cache: &'a Cache,
    layer: usize,
    batch: &'a Batch<'a>,
}

impl Attention<'_> {
    /// Some heads of some rows.
    fn heads(&self, items: Vec<HeadWork<'_>>) {
        let mut scores = Vec::new();
        let mut lanes = vec![0.0; LANES * self.parameters.head_size];
        for (index, (query, out)) in items {
            let row = &self.batch.rows[index / self.parameters.heads];
            self.head(index % self.parameters.heads, row, query, &mut scores, &mut lanes);
            out.copy_from_slice(&lanes[..out.len()]);
        }
        scores.zeroize();
    }

    /// One head; `scores` and `lanes` are scratch memory, and the result is the first of the lanes.
    fn head(&self, head: usize, row: &Row, query: &mut [f32], scores: &mut Vec<f32>, lanes: &mut [f32]) {
        let Parameters { heads, kv_heads, head_size, .. } = *self.parameters;
        let pages = self.batch.sequences[row.sequence];
        let head = head / (heads / kv_heads);
        let count = row.position as usize + 1;
        for value in query.iter_mut() {
            *value = math::round_f16(*value);
        }
        scores.clear();
        for position in 0..count {
            let key = self.cache.entry(pages, position, self.layer, Part::Key, head);
            scores.push(math::dot_f16(self.level, key, query));
        }
        scores.resize(count.next_multiple_of(16), f32::NEG_INFINITY);
        math::softmax(self.level, scores, 1.0 / (head_size as f32).sqrt());
        // Sums run in lanes by position, as if values were stored position after position. Unused lanes are zero.
        lanes.fill(0.0);
        for (position, &weight) in scores[..count].iter().enumerate() {
            let value = self.cache.entry(pages, position, self.layer, Part::Value, head);
            let lane = position % LANES * head_size;
            math::add_scaled(self.level, &mut lanes[lane..lane + head_size], weight, value);
        }
        math::fold_lanes(self.level, lanes, head_size, count);
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
    }

    /// A tenth of a second for a small model on one slow core.
    fn prompt_chunk(&self) -> usize {
        16
    }

    fn forward(&mut self, batch: &Batch<'_>) -> Result<Vec<Found>, DeviceFault> {
        let Parameters { width, head_size, rope_size, rope_base, .. } = self.parameters;
        let tokens = batch.rows.len();
        let mut states = vec![0.0; tokens * width];
        let mut turns = Vec::with_capacity(tokens);
        for (row, state) in batch.rows.iter().zip(states.chunks_exact_mut(width)) {
            self.embedding.row(row.token as usize, state);
            let mut turn = Vec::with_capacity(rope_size / 2);
            math::turns(row.position, rope_size, rope_base, &mut turn);
            turns.push(turn);
        }
        for index in 0..self.layers.len() {
            let layer = &self.layers[index];
            let normed = self.normed(&states, &layer.attention_norm);
            let mut made = self.multiply(&[&layer.query, &layer.key, &layer.value], &normed, tokens).into_iter();
            let mut queries = made.next().unwrap_or_default();
            let mut keys = made.next().unwrap_or_default();
            let values = made.next().unwrap_or_default();
            for list in [&mut queries, &mut keys] {
                let row = list.len() / tokens;
                for (values, turn) in list.chunks_exact_mut(row).zip(&turns) {
                    values.chunks_exact_mut(head_size).for_each(|head| math::rotate(head, turn));
                }
            }
            self.cache.write(index, batch, &keys, &values);
            let attended = self.attend(index, batch, &mut queries);
            let layer = &self.layers[index];
            for made in self.multiply(&[&layer.attention_output], &attended, tokens) {
                add(&mut states, &made);
            }
            let normed = self.normed(&states, &layer.feed_forward_norm);
            let mut made = self.multiply(&[&layer.gate, &layer.up], &normed, tokens).into_iter();
            let mut gate = made.next().unwrap_or_default();
            math::swiglu(self.level, &mut gate, &made.next().unwrap_or_default());
            for made in self.multiply(&[&layer.down], &gate, tokens) {
                add(&mut states, &made);
            }
        }
        let wanted: Vec<f32> = batch
            .rows
            .iter()
            .zip(states.chunks_exact(width))
            .filter(|(row, _)| row.wanted != Wanted::Nothing)
            .flat_map(|(_, state)| state.iter().copied())
            .collect();
        let normed = self.normed(&wanted, &self.output_norm);
        let output = self.output.as_ref().unwrap_or(&self.embedding);
        let mut made = self.multiply(&[output], &normed, wanted.len() / width);
        let mut logits = Zeroizing::new(made.pop().unwrap_or_default());
        let rows = batch.rows.iter().enumerate().filter(|(_, row)| row.wanted != Wanted::Nothing);
        Ok(rows
            .zip(logits.chunks_exact_mut(self.parameters.vocabulary))
            .map(|((index, row), logits)| {
                for penalty in batch.penalties.iter().filter(|penalty| penalty.row == index) {
                    if let Some(logit) = logits.get_mut(penalty.token as usize) {
                        *logit -= penalty.amount;
                    }
                }
                find(row.wanted, logits)
            })
            .collect())
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

fn add(states: &mut [f32], more: &[f32]) {
    for (state, more) in states.iter_mut().zip(more) {
        *state += more;
    }
}

fn matrix(tensors: &mut BTreeMap<String, Tensor>, name: &str) -> Matrix {
    // The model has checked that it is there; an empty matrix is never multiplied.
    tensors.remove(name).map_or_else(
        || Matrix::new(crate::gguf::TensorType::F32, 0, 0, &[]),
        |tensor| {
            let size = |at: usize| tensor.shape.get(at).map_or(1, |&size| size as usize);
            Matrix::new(tensor.kind, size(1), size(0), &tensor.bytes)
        },
    )
}

fn vector(tensors: &mut BTreeMap<String, Tensor>, name: &str) -> Vec<f32> {
    let bytes = tensors.remove(name).map(|tensor| tensor.bytes).unwrap_or_default();
    bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect()
}

#[derive(Clone, Copy)]
enum Part {
    Key,
    Value,
}

/// Keys and values of all sequences, as 16-bit floats, in pages. A page holds, for each layer, keys and then values; of these for
/// each head the tokens one after another.
struct Cache {
    pages: Vec<Option<Box<[u16]>>>,
    layers: usize,
    kv_heads: usize,
    head_size: usize,
}

impl Cache {
    fn new(parameters: &Parameters, pages: usize) -> Self {
        let Parameters { layers, kv_heads, head_size, .. } = *parameters;
        Self { pages: std::iter::repeat_with(|| None).take(pages).collect(), layers, kv_heads, head_size }
    }

    fn reserve(&mut self, count: usize) -> Option<Pages> {
        let free = self.pages.iter_mut().enumerate().filter(|(_, page)| page.is_none());
        let mut taken = Vec::with_capacity(count);
        let size = self.layers * 2 * self.kv_heads * self.head_size * PAGE_TOKENS;
        for (index, page) in free.take(count) {
            let mut memory = Vec::new();
            if memory.try_reserve_exact(size).is_err() {
                break;
            }
            memory.resize(size, 0);
            *page = Some(memory.into_boxed_slice());
            taken.push(index as u32);
        }
        let whole = taken.len() == count;
        let pages = Pages(taken);
        if whole {
            return Some(pages);
        }
        self.release(pages);
        None
    }

    fn release(&mut self, pages: Pages) {
        for index in pages.0 {
            if let Some(mut page) = self.pages.get_mut(index as usize).and_then(Option::take) {
                page.zeroize();
            }
        }
    }

    fn offset(&self, position: usize, layer: usize, part: Part, head: usize) -> usize {
        let list = (layer * 2 + part as usize) * self.kv_heads + head;
        (list * PAGE_TOKENS + position % PAGE_TOKENS) * self.head_size
    }

    fn entry(&self, pages: &Pages, position: usize, layer: usize, part: Part, head: usize) -> &[u16] {
        let page = pages.0.get(position / PAGE_TOKENS).and_then(|&page| self.pages[page as usize].as_deref());
        page.map_or(&[], |page| &page[self.offset(position, layer, part, head)..][..self.head_size])
    }

    fn write(&mut self, layer: usize, batch: &Batch<'_>, keys: &[f32], values: &[f32]) {
        let row_size = self.kv_heads * self.head_size;
        for (part, list) in [(Part::Key, keys), (Part::Value, values)] {
            for (row, entries) in batch.rows.iter().zip(list.chunks_exact(row_size)) {
                let position = row.position as usize;
                let Some(&page) = batch.sequences[row.sequence].0.get(position / PAGE_TOKENS) else { continue };
                for (head, entry) in entries.chunks_exact(self.head_size).enumerate() {
                    let offset = self.offset(position, layer, part, head);
                    let Some(page) = &mut self.pages[page as usize] else { continue };
                    for (bits, &value) in page[offset..].iter_mut().zip(entry) {
                        *bits = f16::from_f32(value).to_bits();
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
