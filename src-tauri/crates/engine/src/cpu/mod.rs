//! The plain CPU backend: the oracle that other backends are compared with, and what runs where there is no graphics card.

mod cache;
mod loader;
mod math;
mod matrix;
mod pool;
mod product;
#[cfg(target_arch = "x86_64")]
mod x86;

use zeroize::{Zeroize, Zeroizing};

use crate::backend::{Backend, Batch, Found, PAGE_TOKENS, Pages, Row, Wanted};
use crate::fault::DeviceFault;
use crate::model::{Activation, Model, Parameters, Rope, Ropes};
use crate::sampling::{self, Candidates};
use cache::{Cache, List};
use loader::Loader;
use math::{LANES, Level};
use matrix::Activations;
#[cfg(feature = "wgpu")]
pub(crate) use matrix::Matrix;
#[cfg(not(feature = "wgpu"))]
use matrix::Matrix;
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
    Dense(Gated),
    Experts { router: Matrix, experts: Vec<Gated> },
}

/// `down(activation(gate(x)) * up(x))`.
struct Gated {
    gate: Matrix,
    up: Matrix,
    down: Matrix,
}

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

    /// Adds what a part of a layer gave to the states, after its norm if it has one.
    fn add(&self, states: &mut [f32], made: Vec<f32>, norm: Option<&[f32]>) {
        let made = match norm {
            Some(norm) => self.normed(&made, norm),
            None => made,
        };
        for (state, more) in states.iter_mut().zip(&made) {
            *state += more;
        }
    }

    /// Writes keys and values of all rows of one layer to the cache; gives the queries.
    fn keys_and_values(&mut self, index: usize, batch: &Batch<'_>, states: &[f32], turns: &Turns) -> Vec<f32> {
        let tokens = batch.rows.len();
        let head_size = self.parameters.head_size;
        let layer = &self.layers[index];
        let normed = self.normed(states, &layer.attention_norm);
        let mut made = self.multiply(&[&layer.query, &layer.key, &layer.value], &normed, tokens);
        for (list, offsets) in made.iter_mut().zip(layer.offsets.iter().flatten()) {
            for values in list.chunks_exact_mut(offsets.len()) {
                values.iter_mut().zip(offsets).for_each(|(value, offset)| *value += offset);
            }
        }
        for (list, norm) in made.iter_mut().zip(layer.head_norms.iter().flatten()) {
            *list = self.normed(list, norm);
        }
        for list in made.iter_mut().take(2) {
            let row = list.len() / tokens.max(1);
            for (values, turn) in list.chunks_exact_mut(row.max(1)).zip(turns.of(&self.parameters, index)) {
                values.chunks_exact_mut(head_size).for_each(|head| math::rotate(head, turn));
            }
        }
        let mut made = made.into_iter();
        let queries = made.next().unwrap_or_default();
        let keys = made.next().unwrap_or_default();
        self.cache.write(index, batch, &keys, &made.next().unwrap_or_default());
        queries
    }

    fn gated(&self, gated: &Gated, values: &[f32], tokens: usize) -> Vec<f32> {
        let mut made = self.multiply(&[&gated.gate, &gated.up], values, tokens).into_iter();
        let mut gate = made.next().unwrap_or_default();
        let up = made.next().unwrap_or_default();
        match self.parameters.activation {
            Activation::Silu => math::swiglu(self.level, &mut gate, &up),
            Activation::Gelu => math::geglu(self.level, &mut gate, &up),
        }
        self.multiply(&[&gated.down], &gate, tokens).pop().unwrap_or_default()
    }

    /// Asks for each token the experts that its router holds most likely, and adds their answers up by these likelihoods, which are
    /// made to add up to one.
    fn ask_experts(&self, router: &Matrix, experts: &[Gated], values: &[f32], tokens: usize) -> Vec<f32> {
        let width = self.parameters.width;
        let used = self.parameters.experts.map_or(0, |experts| experts.used);
        let routed = self.multiply(&[router], values, tokens).pop().unwrap_or_default();
        let mut asked: Vec<Vec<(usize, f32)>> = vec![Vec::new(); experts.len()];
        for (token, scores) in routed.chunks_exact(experts.len().max(1)).enumerate() {
            for (expert, weight) in experts_of(scores, used) {
                asked[expert].push((token, weight));
            }
        }
        let mut out = vec![0.0; tokens * width];
        for (expert, asked) in experts.iter().zip(&asked).filter(|(_, asked)| !asked.is_empty()) {
            let gathered: Vec<f32> =
                asked.iter().flat_map(|&(token, _)| values[token * width..][..width].iter().copied()).collect();
            let answers = self.gated(expert, &gathered, asked.len());
            for (&(token, weight), answer) in asked.iter().zip(answers.chunks_exact(width)) {
                for (out, value) in out[token * width..][..width].iter_mut().zip(answer) {
                    *out = value.mul_add(weight, *out);
                }
            }
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

/// The likeliest experts, the lower number first of equals, with weights that add up to one.
fn experts_of(scores: &[f32], used: usize) -> Vec<(usize, f32)> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
    order.truncate(used);
    let highest = order.first().map_or(0.0, |&first| scores[first]);
    let weights: Vec<f32> = order.iter().map(|&expert| (scores[expert] - highest).exp()).collect();
    let sum: f32 = weights.iter().sum();
    order.into_iter().zip(weights).map(|(expert, weight)| (expert, weight / sum)).collect()
}

/// Cosines and sines of a batch's rows, for both kinds of layers.
struct Turns {
    all: Vec<Vec<(f32, f32)>>,
    window: Vec<Vec<(f32, f32)>>,
}

impl Turns {
    fn new(ropes: &Ropes, batch: &Batch<'_>) -> Self {
        let of = |rope: &Rope| {
            let turn = |row: &Row| {
                let mut turn = Vec::new();
                rope.turns(row.position, &mut turn);
                turn
            };
            batch.rows.iter().map(turn).collect()
        };
        Self { all: of(&ropes.all), window: ropes.window.as_ref().map(of).unwrap_or_default() }
    }

    fn of(&self, p: &Parameters, layer: usize) -> &[Vec<(f32, f32)>] {
        if p.window_of(layer).is_some() { &self.window } else { &self.all }
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
        let Parameters { heads, kv_heads, head_size, attention_scale, attention_cap, .. } = *self.parameters;
        let pages = self.batch.sequences[row.sequence];
        let head = head / (heads / kv_heads);
        let count = row.position as usize + 1;
        for value in query.iter_mut() {
            *value = math::round_f16(*value);
        }
        scores.clear();
        let first = self.parameters.window_of(self.layer).map_or(0, |window| count.saturating_sub(window));
        for position in first..count {
            let key = self.cache.entry(pages, position, self.layer, List::Key, head);
            scores.push(math::dot_f16(self.level, key, query));
        }
        let mut scale = attention_scale;
        if let Some(cap) = attention_cap {
            for score in scores.iter_mut() {
                *score = math::capped(*score * scale, cap);
            }
            scale = 1.0;
        }
        let seen = count - first;
        scores.resize(seen.next_multiple_of(16), f32::NEG_INFINITY);
        math::softmax(self.level, scores, scale);
        // Sums run in lanes by position, as if values were stored position after position. Unused lanes are zero.
        lanes.fill(0.0);
        for (position, &weight) in (first..).zip(&scores[..seen]) {
            let value = self.cache.entry(pages, position, self.layer, List::Value, head);
            let lane = position % LANES * head_size;
            math::add_scaled(self.level, &mut lanes[lane..lane + head_size], weight, value);
        }
        // With a window, positions may begin at any lane.
        math::fold_lanes(self.level, lanes, head_size, if first == 0 { count } else { LANES });
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
        let Parameters { width, embedding_scale, logit_cap, .. } = self.parameters;
        let tokens = batch.rows.len();
        let mut states = vec![0.0; tokens * width];
        for (row, state) in batch.rows.iter().zip(states.chunks_exact_mut(width)) {
            self.embedding.row(row.token as usize, state);
        }
        for value in &mut states {
            *value *= embedding_scale;
        }
        let turns = Turns::new(&self.ropes, batch);
        for index in 0..self.layers.len() {
            let mut queries = self.keys_and_values(index, batch, &states, &turns);
            let attended = self.attend(index, batch, &mut queries);
            let layer = &self.layers[index];
            for made in self.multiply(&[&layer.attention_output], &attended, tokens) {
                self.add(&mut states, made, layer.attention_norm_behind.as_deref());
            }
            let normed = self.normed(&states, &layer.feed_forward_norm);
            let made = match &layer.feed_forward {
                FeedForward::Dense(gated) => self.gated(gated, &normed, tokens),
                FeedForward::Experts { router, experts } => self.ask_experts(router, experts, &normed, tokens),
            };
            self.add(&mut states, made, layer.feed_forward_norm_behind.as_deref());
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
        if let Some(cap) = logit_cap {
            for logit in logits.iter_mut() {
                *logit = math::capped(*logit, cap);
            }
        }
        let rows = batch.rows.iter().enumerate().filter(|(_, row)| row.wanted != Wanted::Nothing);
        Ok(rows
            .zip(logits.chunks_exact_mut(self.parameters.vocabulary))
            .map(|((index, row), logits)| {
                for penalty in batch.penalties.iter().filter(|penalty| penalty.row == index) {
                    if let Some(logit) = logits.get_mut(penalty.token as usize) {
                        *logit -= penalty.amount;
                    }
                }
                if let Some(masked) = batch.masks.iter().find(|masked| masked.row == index) {
                    let others = (0..).zip(logits.iter_mut()).filter(|(token, _)| !masked.mask.admits(*token));
                    others.for_each(|(_, logit)| *logit = f32::NEG_INFINITY);
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

#[cfg(test)]
mod real;
#[cfg(test)]
mod tests;
