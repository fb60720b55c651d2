//! One batch through all layers.
//!
//! Work is shared between threads in two ways in turn: by tokens where values of one token depend on each other (norms, forms,
//! rotations), by groups of rows where weights are read.

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::activations::{Activations, Form};
use super::attention::{Attention, Space};
use super::math::{self, Level};
use super::matrix::{Made, Matrix};
use super::pool::Pool;
use super::room::room;
use super::{Cpu, FeedForward, Gated};
use crate::backend::{Batch, Row, Wanted};
use crate::model::{Activation, Parameters, Rope, Ropes};

/// What is computed between layers. Kept from batch to batch.
#[derive(Default, Zeroize, ZeroizeOnDrop)]
pub(super) struct Scratch {
    /// Of each token, `width` values.
    states: Vec<f32>,
    /// What goes into a part of a layer.
    input: Activations,
    /// What comes out of the middle of a part.
    middle: Activations,
    /// Queries, keys and values; gates and ups; answers.
    made: [Made; 3],
    /// The same of each token.
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    attended: Vec<f32>,
    /// What experts answered, of each token.
    answers: Vec<f32>,
}

impl Scratch {
    /// Logits behind the n-th row that wants something.
    pub(super) fn logits(&self, index: usize, out: &mut [f32]) {
        self.made[0].token(index, out);
    }
}

impl Cpu {
    /// Computes a batch up to the logits of its rows that want something.
    pub(super) fn pass(&mut self, batch: &Batch<'_>, s: &mut Scratch) {
        let Parameters { width, embedding_scale, norm_epsilon, .. } = self.parameters;
        let tokens = batch.rows.len();
        room(&mut s.states, tokens * width);
        for (row, state) in batch.rows.iter().zip(s.states.chunks_exact_mut(width)) {
            self.embedding.row(row.token as usize, state);
            for value in state {
                *value *= embedding_scale;
            }
        }
        let turns = Turns::new(&self.ropes, batch);
        for index in 0..self.layers.len() {
            self.keys_and_values(index, batch, s, &turns);
            let layer = &self.layers[index];
            self.attend(index, batch, s);
            let (level, attended) = (self.level, &s.attended);
            let row = attended.len() / tokens.max(1);
            let mut places = s.middle.places(&[layer.attention_output.form()], row, tokens);
            self.pool.each(
                &mut places,
                || (),
                |(), place| {
                    place.floats.copy_from_slice(&attended[place.token * row..][..row]);
                    place.bring_into_form(level);
                },
            );
            drop(places);
            let [made, ..] = &mut s.made;
            multiply(&self.pool, level, &mut [(&layer.attention_output, made)], &s.middle);
            let made = &*made;
            self.add(&mut s.states, layer.attention_norm_behind.as_deref(), |token, out| made.token(token, out));
            let forms = layer.feed_forward.forms();
            self.norm(&s.states, &layer.feed_forward_norm, &forms, &mut s.input);
            match &layer.feed_forward {
                FeedForward::Dense(gated) => {
                    self.gated(gated, &s.input, &mut s.middle, &mut s.made);
                    let [.., answers] = &s.made;
                    self.add(&mut s.states, layer.feed_forward_norm_behind.as_deref(), |token, out| {
                        answers.token(token, out);
                    });
                }
                FeedForward::Experts { router, experts } => {
                    self.ask_experts(router, experts, s);
                    let answers = &s.answers;
                    let answer =
                        |token: usize, out: &mut [f32]| out.copy_from_slice(&answers[token * width..][..width]);
                    self.add(&mut s.states, layer.feed_forward_norm_behind.as_deref(), answer);
                }
            }
        }
        let wanted: Vec<usize> = (0..tokens).filter(|&row| batch.rows[row].wanted != Wanted::Nothing).collect();
        let output = self.output.as_ref().unwrap_or(&self.embedding);
        let (level, states, weight) = (self.level, &s.states, &self.output_norm);
        let mut places = s.input.places(&[output.form()], width, wanted.len());
        self.pool.each(
            &mut places,
            || (),
            |(), place| {
                let state = &states[wanted[place.token] * width..][..width];
                math::rms_norm(level, state, weight, norm_epsilon, place.floats);
                place.bring_into_form(level);
            },
        );
        drop(places);
        let [logits, ..] = &mut s.made;
        multiply(&self.pool, level, &mut [(output, logits)], &s.input);
    }

    /// Norms the states into a part's input.
    fn norm(&self, states: &[f32], weight: &[f32], forms: &[Form], into: &mut Activations) {
        let (width, level, epsilon) = (self.parameters.width, self.level, self.parameters.norm_epsilon);
        let mut places = into.places(forms, width, states.len() / width);
        self.pool.each(
            &mut places,
            || (),
            |(), place| {
                let state = &states[place.token * width..][..width];
                math::rms_norm(level, state, weight, epsilon, place.floats);
                place.bring_into_form(level);
            },
        );
    }

    /// Adds what a part of a layer gave to the states, after its norm if it has one.
    fn add(&self, states: &mut [f32], norm: Option<&[f32]>, made: impl Fn(usize, &mut [f32]) + Sync) {
        let (width, level, epsilon) = (self.parameters.width, self.level, self.parameters.norm_epsilon);
        let mut items: Vec<(usize, &mut [f32])> = states.chunks_exact_mut(width).enumerate().collect();
        let list = |size| Zeroizing::new(vec![0.0; size]);
        let own = || (list(width), list(if norm.is_some() { width } else { 0 }));
        self.pool.each(&mut items, own, |(more, normed), (token, state)| {
            made(*token, more);
            let more = match norm {
                Some(norm) => {
                    math::rms_norm(level, more, norm, epsilon, normed);
                    normed
                }
                None => more,
            };
            state.iter_mut().zip(more.iter()).for_each(|(state, more)| *state += more);
        });
    }

    /// Writes keys and values of all rows of one layer to the cache; gives the queries.
    fn keys_and_values(&mut self, index: usize, batch: &Batch<'_>, s: &mut Scratch, turns: &Turns) {
        let Parameters { heads, kv_heads, head_size, norm_epsilon, .. } = self.parameters;
        let (level, tokens) = (self.level, batch.rows.len());
        let layer = &self.layers[index];
        let matrices = [&layer.query, &layer.key, &layer.value];
        self.norm(&s.states, &layer.attention_norm, &matrices.map(Matrix::form), &mut s.input);
        let [queries, keys, values] = &mut s.made;
        let mut jobs = [(matrices[0], queries), (matrices[1], keys), (matrices[2], values)];
        multiply(&self.pool, level, &mut jobs, &s.input);
        let (of_queries, of_keys) = (heads * head_size, kv_heads * head_size);
        room(&mut s.queries, of_queries * tokens);
        room(&mut s.keys, of_keys * tokens);
        room(&mut s.values, of_keys * tokens);
        let (made, turns) = (&s.made, turns.of(&self.parameters, index));
        let (queries, keys) = (s.queries.chunks_exact_mut(of_queries), s.keys.chunks_exact_mut(of_keys));
        let mut items: Vec<(usize, [&mut [f32]; 3])> = queries
            .zip(keys)
            .zip(s.values.chunks_exact_mut(of_keys))
            .map(|((queries, keys), values)| [queries, keys, values])
            .enumerate()
            .collect();
        let own = || Zeroizing::new(vec![0.0; head_size]);
        self.pool.each(&mut items, own, |normed, (token, lists)| {
            for (part, list) in lists.iter_mut().enumerate() {
                made[part].token(*token, list);
                if let Some(offsets) = &layer.offsets {
                    list.iter_mut().zip(&offsets[part]).for_each(|(value, offset)| *value += offset);
                }
            }
            for (part, list) in lists.iter_mut().enumerate().take(2) {
                for head in list.chunks_exact_mut(head_size) {
                    if let Some(norms) = &layer.head_norms {
                        math::rms_norm(level, head, &norms[part], norm_epsilon, normed);
                        head.copy_from_slice(normed);
                    }
                    math::rotate(level, head, &turns[*token]);
                }
            }
        });
        self.cache.write(index, batch, &s.keys, &s.values);
    }

    /// Attention of all rows in one layer; the keys and values of these rows are in the cache already.
    fn attend(&self, layer: usize, batch: &Batch<'_>, s: &mut Scratch) {
        let attention = Attention { parameters: &self.parameters, level: self.level, cache: &self.cache, layer, batch };
        room(&mut s.attended, s.queries.len());
        let mut items = attention.split(batch.rows, &mut s.queries, &mut s.attended);
        self.pool.each(&mut items, Space::default, |space, heads| attention.attend(space, heads));
    }

    /// `down(activation(gate(x)) * up(x))`; the answers are the last of what is made.
    fn gated(&self, gated: &Gated, input: &Activations, middle: &mut Activations, made: &mut [Made; 3]) {
        let (level, tokens) = (self.level, input.tokens());
        let [gates, ups, answers] = made;
        let groups = gated.gate.groups();
        gates.shape(groups, tokens);
        ups.shape(groups, tokens);
        let size = share(&self.pool, groups, tokens);
        let (gate, up) = (gates.values.chunks_mut(size * tokens), ups.values.chunks_mut(size * tokens));
        let mut items: Vec<_> = gate.zip(up).enumerate().collect();
        let activation = self.parameters.activation;
        self.pool.each(
            &mut items,
            || (),
            |(), (index, (gates, ups))| {
                let groups = gates.chunks_exact_mut(tokens).zip(ups.chunks_exact_mut(tokens));
                for (group, (gates, ups)) in (*index * size..).zip(groups) {
                    gated.gate.multiply(level, group, input, gates);
                    gated.up.multiply(level, group, input, ups);
                    match activation {
                        Activation::Silu => math::swiglu(level, gates.as_flattened_mut(), ups.as_flattened()),
                        Activation::Gelu => math::geglu(level, gates.as_flattened_mut(), ups.as_flattened()),
                    }
                }
            },
        );
        let gates = &*gates;
        let mut places = middle.places(&[gated.down.form()], gated.down.columns, tokens);
        self.pool.each(
            &mut places,
            || (),
            |(), place| {
                gates.token(place.token, place.floats);
                place.bring_into_form(level);
            },
        );
        drop(places);
        multiply(&self.pool, level, &mut [(&gated.down, answers)], middle);
    }

    /// Asks for each token the experts that its router holds most likely, and adds their answers up by these likelihoods, which are
    /// made to add up to one.
    fn ask_experts(&self, router: &Matrix, experts: &[Gated], s: &mut Scratch) {
        let (width, tokens) = (self.parameters.width, s.input.tokens());
        let used = self.parameters.experts.map_or(0, |experts| experts.used);
        let [scores, ..] = &mut s.made;
        multiply(&self.pool, self.level, &mut [(router, scores)], &s.input);
        let mut asked: Vec<Vec<(usize, f32)>> = vec![Vec::new(); experts.len()];
        let mut of_token = Zeroizing::new(vec![0.0; experts.len()]);
        for token in 0..tokens {
            scores.token(token, &mut of_token);
            for (expert, weight) in experts_of(&of_token, used) {
                asked[expert].push((token, weight));
            }
        }
        room(&mut s.answers, tokens * width);
        s.answers.fill(0.0);
        let mut gathered = Activations::default();
        let mut answer = Zeroizing::new(vec![0.0; width]);
        for (expert, asked) in experts.iter().zip(&asked).filter(|(_, asked)| !asked.is_empty()) {
            let (level, input) = (self.level, &s.input);
            let mut places = gathered.places(&expert.forms(), width, asked.len());
            self.pool.each(
                &mut places,
                || (),
                |(), place| {
                    place.floats.copy_from_slice(input.floats(asked[place.token].0));
                    place.bring_into_form(level);
                },
            );
            drop(places);
            self.gated(expert, &gathered, &mut s.middle, &mut s.made);
            let [.., answers] = &s.made;
            for (index, &(token, weight)) in asked.iter().enumerate() {
                answers.token(index, &mut answer);
                math::add_weighted(level, &mut s.answers[token * width..][..width], weight, &answer);
            }
        }
        gathered.zeroize();
    }
}

impl Gated {
    fn forms(&self) -> [Form; 2] {
        [self.gate.form(), self.up.form()]
    }
}

impl FeedForward {
    /// Forms that its input is wanted in.
    fn forms(&self) -> Vec<Form> {
        match self {
            Self::Dense(gated) => gated.forms().to_vec(),
            Self::Experts { router, .. } => vec![router.form()],
        }
    }
}

/// Groups of rows that a thread takes at a time: fewer where several tokens make more of each, so that no thread waits long for the
/// last ones of another.
fn share(pool: &Pool, groups: usize, tokens: usize) -> usize {
    let of_each = if tokens < 16 { 4 } else { 16 };
    groups.div_ceil(if pool.threads() == 1 { 1 } else { pool.threads() * of_each }).max(1)
}

/// Products of several matrices with the same activations.
fn multiply(pool: &Pool, level: Level, jobs: &mut [(&Matrix, &mut Made)], with: &Activations) {
    let tokens = with.tokens();
    if tokens == 0 {
        return;
    }
    let groups: usize = jobs.iter().map(|(matrix, _)| matrix.groups()).sum();
    let size = share(pool, groups, tokens);
    let mut items = Vec::with_capacity(groups / size + jobs.len());
    for (matrix, made) in jobs.iter_mut() {
        made.shape(matrix.groups(), tokens);
        let parts = made.values.chunks_mut(size * tokens).enumerate();
        items.extend(parts.map(|(index, out)| (*matrix, index * size, out)));
    }
    pool.each(
        &mut items,
        || (),
        |(), (matrix, first, out)| {
            for (group, out) in (*first..).zip(out.chunks_exact_mut(tokens)) {
                matrix.multiply(level, group, with, out);
            }
        },
    );
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
