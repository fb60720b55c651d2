//! Everything that one step starts, in order, with its buffers: made once, so that a step only has to say how often.

use std::collections::BTreeMap;

use crate::fault::DeviceFault;
use crate::model::{Activation, Parameters};

use super::matrix::{Form, Matrix, Packing};
use super::step::{self, Size};
use super::weights::{FeedForward, Layer, Weights};
use super::{Abilities, GATES, Memory};

/// Which kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    Embed,
    Prepare,
    Product,
    Heads,
    Attention,
    Merge,
    Route,
    Combine,
    Score,
    Penalise,
    Mask,
    Select,
}

/// Which form of a kernel: names that are not 0 are conditions that hold, the others are sizes.
pub(crate) type Values = BTreeMap<&'static str, u32>;

/// Logits that one workgroup looks through.
pub(crate) const SLICE: u32 = 4096;

/// What is computed on the way, wiped when nothing runs.
pub(crate) struct Scratch<B> {
    pub(crate) step: B,
    pub(crate) states: B,
    pub(crate) words: B,
    pub(crate) parts: B,
    pub(crate) queries: B,
    pub(crate) attended: B,
    pub(crate) hidden: B,
    /// What a part of a layer gave, where it is normed before it is added; what experts answered.
    pub(crate) made: B,
    /// Scores of all experts.
    pub(crate) scores: B,
    /// Which experts each token asks.
    pub(crate) routes: B,
    pub(crate) logits: B,
    pub(crate) found: B,
    pub(crate) sums: B,
    pub(crate) results: B,
    /// What gates let through, in the form of the next matrix, and its scales.
    pub(crate) through: B,
    pub(crate) through_parts: B,
    /// What slices of attention gave.
    pub(crate) partials: B,
    pub(crate) abilities: Abilities,
}

/// Slices that attention has at most.
pub(crate) const MOST_SLICES: u32 = 64;
/// Experts whose scores one workgroup computes.
const SCORES: u32 = 4;
/// Heads of queries, or of several tokens' queries, that one workgroup computes attention for, about.
const QUERIES: usize = 8;

impl<B: Clone> Scratch<B> {
    /// Room for so many tokens together, and so many of them with results.
    pub(crate) fn new(
        memory: &impl Memory<Buffer = B>,
        weights: &Weights<B>,
        p: &Parameters,
        batch: u32,
        results: u32,
    ) -> Result<Self, DeviceFault> {
        let form = if weights.forms().any(|form| form != Form::Q8) { Form::F32 } else { Form::Q8 };
        Self::with_form(memory, form, p, batch, results)
    }

    /// The same, for activations no larger than in this form.
    pub(crate) fn with_form(
        memory: &impl Memory<Buffer = B>,
        form: Form,
        p: &Parameters,
        batch: u32,
        results: u32,
    ) -> Result<Self, DeviceFault> {
        let (batch, results) = (u64::from(batch), u64::from(results));
        let (experts, used) = p.experts.map_or((0, 1), |experts| (experts.count as u64, experts.used as u64));
        let widest = p.width.max(p.heads * p.head_size).div_ceil(32) as u64;
        let blocks = batch * widest.max(used * p.feed_forward.div_ceil(32) as u64);
        let in_heads = ((p.heads + 2 * p.kv_heads) * p.head_size) as u64;
        let abilities = memory.abilities();
        // Where experts' products choose and add up by themselves, nobody leaves that for another.
        let apart = p.experts.is_some() && !abilities.routed;
        let made = if apart || p.architecture.norms_behind() { p.width as u64 * used } else { 0 };
        let heads = batch * (p.heads * p.head_size) as u64 * 4;
        let slices = u64::from((p.vocabulary as u32).div_ceil(SLICE));
        let what = "what is computed on the way";
        let through = if abilities.gated { batch * used * p.feed_forward.div_ceil(32) as u64 } else { 0 };
        let in_slices = abilities.slice.map_or(0, |_| u64::from(MOST_SLICES) * p.heads as u64);
        Ok(Self {
            // With room for a mask of every row that wants something.
            step: memory.allocate(what, 64 * 1024 + results * (4 + p.vocabulary.div_ceil(32) as u64 * 4))?,
            states: memory.allocate(what, batch * p.width as u64 * 4)?,
            words: memory.allocate(what, blocks * form.block_bytes())?,
            parts: memory.allocate(what, blocks * 8)?,
            queries: memory.allocate(what, heads)?,
            attended: memory.allocate(what, heads)?,
            hidden: memory.allocate(what, batch * in_heads.max(used * p.feed_forward as u64 * 2) * 4)?,
            made: memory.allocate(what, batch * made * 4)?,
            scores: memory.allocate(what, batch * experts * 4)?,
            routes: memory.allocate(what, if apart { batch * used * 8 } else { 0 })?,
            logits: memory.allocate(what, results * p.vocabulary as u64 * 4)?,
            found: memory.allocate(what, results * slices * 64 * 8)?,
            sums: memory.allocate(what, results * slices * 8)?,
            results: memory.allocate(what, results * (1 + step::RESULT_WORDS as u64) * 4)?,
            through: memory.allocate(what, through * form.block_bytes())?,
            through_parts: memory.allocate(what, through * 8)?,
            partials: memory.allocate(what, results * in_slices * (p.head_size as u64 / 2 + 1) * 8)?,
            abilities,
        })
    }

    pub(crate) fn all(&self) -> [&B; 17] {
        [
            &self.step,
            &self.states,
            &self.words,
            &self.parts,
            &self.queries,
            &self.attended,
            &self.hidden,
            &self.made,
            &self.scores,
            &self.routes,
            &self.logits,
            &self.found,
            &self.sums,
            &self.results,
            &self.through,
            &self.through_parts,
            &self.partials,
        ]
    }
}

/// Bytes that [`Scratch::new`] would take, roughly, for a check beforehand.
pub(crate) fn scratch_bytes(p: &Parameters, batch: u32, results: u32) -> u64 {
    let (batch, results) = (u64::from(batch), u64::from(results));
    let used = p.experts.map_or(1, |experts| experts.used);
    let values = 2 * p.width * used + 3 * p.heads * p.head_size + 4 * p.feed_forward * used;
    batch * values as u64 * 4 + results * p.vocabulary as u64 * 5
}

/// Keys and values of one layer.
pub(crate) struct LayerCache<B> {
    pub(crate) keys: B,
    pub(crate) values: B,
}

/// Which of a step's numbers a kernel runs over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// All tokens.
    Tokens,
    /// Tokens behind which something is wanted.
    Results,
    /// Every expert that a token asks, token by token.
    Slots,
    /// Penalties.
    Penalties,
    /// Masks.
    Masks,
}

/// In which steps a kernel is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    /// If some sequence has several tokens.
    Together,
    /// If every sequence has one token at most, and none attends to more than one slice.
    Short,
    /// The same, if any attends to more.
    Long,
}

impl When {
    /// Whether this holds of a step of this size, where slices have so many positions and there is room for what slices of so many
    /// tokens gave.
    pub(crate) fn holds(self, size: Size, slice: u32, room: u32) -> bool {
        let alone = size.alone && size.tokens <= room;
        match self {
            Self::Always => true,
            Self::Together => !alone,
            Self::Short => alone && size.longest <= slice,
            Self::Long => alone && size.longest > slice,
        }
    }
}

/// How much of a kernel is started.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grid {
    /// So many workgroups for each.
    Each(u32),
    /// So many threads for each, in workgroups of as many as the device likes.
    Threads(u32),
    /// One thread for each.
    One,
    /// Tiles of so many rows of a matrix, for several tokens at a time. The sixth number of the operation is the device's: how many
    /// workgroups lie side by side.
    Rows(u32),
    /// The same of so many blocks of [`GATES`] columns that gates and ups give.
    Gates(u32),
    /// So many workgroups for each and for each slice of its positions, of which there may be so many.
    Slices(u32, u32),
}

/// A kernel and what it is given.
pub(crate) struct Op<B> {
    pub(crate) kernel: Name,
    /// What the model demands of it. How it is cut is added by the device.
    pub(crate) values: Values,
    pub(crate) numbers: [u32; 8],
    /// By the numbers that the kernels' texts give them, from 1.
    pub(crate) buffers: Vec<(u32, B)>,
    pub(crate) grid: Grid,
    pub(crate) over: Over,
    pub(crate) when: When,
}

/// A step.
pub(crate) struct Plan<B> {
    pub(crate) ops: Vec<Op<B>>,
    /// Those that find something among logits come last, from this one on.
    pub(crate) finding: usize,
    /// Experts that a token asks.
    pub(crate) used: u32,
    /// Tokens of different sequences that there is room for what slices gave of.
    pub(crate) alone: u32,
    /// Positions of a slice.
    pub(crate) slice: u32,
}

impl Size {
    /// How many there are of what a kernel runs over, where a token asks so many experts.
    pub(crate) fn count(&self, over: Over, used: u32) -> u32 {
        match over {
            Over::Tokens => self.tokens,
            Over::Results => self.results,
            Over::Slots => self.tokens * used,
            Over::Penalties => self.penalties,
            Over::Masks => self.masks,
        }
    }
}

/// Puts a plan together.
pub(crate) struct Builder<'a, B> {
    parameters: &'a Parameters,
    scratch: &'a Scratch<B>,
    results: u32,
    planned: Vec<Op<B>>,
    /// The weights of the norm of what lies in [`Scratch::made`] and is still to be added to the states.
    behind: Option<B>,
}

/// What becomes of a product.
pub(crate) enum Then<'a, B> {
    /// It is stored, behind so many rows of others.
    Store(&'a B, u32, u32),
    /// It is added to the states.
    Add,
    /// Queries are stored and keys and values go to the cache, all turned by their positions.
    Cache(&'a LayerCache<B>, &'a B, u32),
}

/// What is done to queries, keys and values behind their product.
pub(crate) struct Raw<'a, B> {
    /// Added to all of them.
    pub(crate) offsets: Option<&'a B>,
    /// Norms of queries and of keys.
    pub(crate) norms: Option<&'a B>,
    /// Cosine and sine of every position and pair.
    pub(crate) turns: &'a B,
}

/// What is done to activations before they take the form of a matrix.
pub(crate) enum First<'a, B> {
    Norm(&'a B),
    Gate,
    Nothing,
}

impl<B> Clone for First<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

// A reference whatever the handles of buffers are, which a derived one would not be.
impl<B> Copy for First<'_, B> {}

impl<'a, B: Clone> Builder<'a, B> {
    pub(crate) fn new(parameters: &'a Parameters, scratch: &'a Scratch<B>, results: u32) -> Self {
        Self { parameters, scratch, results, planned: Vec::new(), behind: None }
    }

    /// The whole forward pass.
    pub(crate) fn model(mut self, weights: &Weights<B>, caches: &[LayerCache<B>]) -> Plan<B> {
        let p = self.parameters;
        self.embed(&weights.embedding);
        for (index, (layer, cache)) in weights.layers.iter().zip(caches).enumerate() {
            self.attend(index, layer, cache, weights);
            self.feed_forward(layer);
        }
        let output = weights.output.as_ref().unwrap_or(&weights.embedding);
        let states = &self.scratch.states;
        self.prepare(First::Norm(&weights.output_norm), states, p.width, &[output.packing], Over::Results);
        let logits = &self.scratch.logits;
        self.product(output, &Then::Store(logits, 0, p.vocabulary as u32), Over::Results);
        let finding = self.planned.len();
        self.find();
        self.finish(finding)
    }

    /// A layer's attention, up to what is added to the states.
    fn attend(&mut self, index: usize, layer: &Layer<B>, cache: &LayerCache<B>, weights: &Weights<B>) {
        let p = self.parameters;
        let scratch = self.scratch;
        let over = Over::Tokens;
        let window = p.window_of(index);
        let turns = match (&weights.turns_in_window, window) {
            (Some(turns), Some(_)) => turns,
            _ => &weights.turns,
        };
        let by_heads = layer.offsets.is_some() || layer.head_norms.is_some();
        let in_heads = ((p.heads + 2 * p.kv_heads) * p.head_size) as u32;
        for group in by_form(&layer.query_key_value) {
            let packings: Vec<Packing> = group.iter().map(|(_, matrix)| matrix.packing).collect();
            self.prepare(First::Norm(&layer.attention_norm), &scratch.states, p.width, &packings, over);
            self.products(&group, |first| {
                if by_heads { Then::Store(&scratch.hidden, first, in_heads) } else { Then::Cache(cache, turns, first) }
            });
        }
        let raw = Raw { offsets: layer.offsets.as_ref(), norms: layer.head_norms.as_ref(), turns };
        if by_heads {
            // Where attention is for one token of a sequence, it does this itself.
            let when = if self.brings_heads() { When::Together } else { When::Always };
            self.heads(&raw, cache, when);
        }
        let form = Form::of(layer.attention_output.packing);
        let fused = p.head_size.is_multiple_of(32);
        self.attention(cache, window, fused.then_some(form), by_heads.then_some(&raw));
        if !fused {
            let heads = p.heads * p.head_size;
            self.prepare(First::Nothing, &scratch.attended, heads, &[layer.attention_output.packing], over);
        }
        self.add(&layer.attention_output, layer.attention_norm_behind.as_ref());
    }

    fn feed_forward(&mut self, layer: &Layer<B>) {
        let p = self.parameters;
        let scratch = self.scratch;
        let norm = First::Norm(&layer.feed_forward_norm);
        let stride = 2 * p.feed_forward as u32;
        match &layer.feed_forward {
            FeedForward::Dense { gate_up, down } => {
                for group in by_form(gate_up) {
                    let packings: Vec<Packing> = group.iter().map(|(_, matrix)| matrix.packing).collect();
                    self.prepare(norm, &scratch.states, p.width, &packings, Over::Tokens);
                    self.products(&group, |first| Then::Store(&scratch.hidden, first, stride));
                }
                self.prepare(First::Gate, &scratch.hidden, p.feed_forward, &[down.packing], Over::Tokens);
                self.add(down, layer.feed_forward_norm_behind.as_ref());
            }
            FeedForward::Gated { gate_up, down } => {
                self.prepare(norm, &scratch.states, p.width, &[gate_up.packing], Over::Tokens);
                self.gate(gate_up, Form::of(down.packing), None);
                self.add_from(
                    [&scratch.through, &scratch.through_parts],
                    down,
                    layer.feed_forward_norm_behind.as_ref(),
                );
            }
            FeedForward::GatedExperts { router, gate_up, downs } => {
                let Some(experts) = p.experts else { return };
                self.choose(norm, router, Form::of(gate_up.packing));
                self.gate(gate_up, Form::of(downs.packing), Some(experts.used as u32));
                self.answer([&scratch.through, &scratch.through_parts], downs);
            }
            FeedForward::Experts { router, gates, ups, downs } => {
                let Some(experts) = p.experts else { return };
                let mut prepared = Form::of(gates.packing);
                self.choose(norm, router, prepared);
                for (matrix, behind) in [(gates, 0), (ups, p.feed_forward as u32)] {
                    if Form::of(matrix.packing) != prepared {
                        self.prepare(norm, &scratch.states, p.width, &[matrix.packing], Over::Tokens);
                        prepared = Form::of(matrix.packing);
                    }
                    let then = Then::Store(&scratch.hidden, behind, stride);
                    self.ask([&scratch.words, &scratch.parts], matrix, p.feed_forward, experts.used as u32, &then);
                }
                self.prepare(First::Gate, &scratch.hidden, p.feed_forward, &[downs.packing], Over::Slots);
                self.answer([&scratch.words, &scratch.parts], downs);
            }
        }
    }

    /// What decides which experts each token asks, and states in the form of their matrices.
    fn choose(&mut self, norm: First<'_, B>, router: &Matrix<B>, form: Form) {
        let p = self.parameters;
        let scratch = self.scratch;
        let (Some(experts), First::Norm(weights)) = (p.experts, norm) else { return };
        let (count, of_router) = (experts.count as u32, Form::of(router.packing));
        let routed = scratch.abilities.routed;
        match &router.pieces[..] {
            [whole] if routed && of_router != Form::Q8 && self.behind.is_none() => {
                let groups = count.div_ceil(SCORES);
                let [width, blocks, epsilon] = [p.width as u32, router.blocks, p.norm_epsilon.to_bits()];
                self.planned.push(Op {
                    kernel: Name::Score,
                    values: Values::from([(router.packing.name(), 1), (form.made(), 1)]),
                    numbers: [width, blocks, count, epsilon, groups, 0, 0, 0],
                    buffers: vec![
                        (1, scratch.states.clone()),
                        (2, whole.quants.clone()),
                        (3, weights.clone()),
                        (4, scratch.words.clone()),
                        (5, scratch.parts.clone()),
                        (6, scratch.scores.clone()),
                    ],
                    grid: Grid::Each(groups),
                    over: Over::Tokens,
                    when: When::Always,
                });
            }
            _ => {
                self.prepare(norm, &scratch.states, p.width, &[router.packing], Over::Tokens);
                self.product(router, &Then::Store(&scratch.scores, 0, count), Over::Tokens);
                if !routed {
                    self.route(count, experts.used as u32);
                }
                if of_router != form {
                    self.prepare_in(norm, &scratch.states, p.width, form, Over::Tokens);
                }
            }
        }
    }

    /// Adds experts' answers to the states.
    fn answer(&mut self, given: [&B; 2], downs: &Matrix<B>) {
        let p = self.parameters;
        if self.scratch.abilities.routed {
            return self.ask(given, downs, p.width, 1, &Then::Add);
        }
        self.ask(given, downs, p.width, 1, &Then::Store(&self.scratch.made, 0, p.width as u32));
        self.combine(p.experts.map_or(1, |experts| experts.used) as u32);
    }

    /// Products of matrices on top of each other, which take the same form, with all tokens: in one kernel, if there is one for several
    /// types and none of them is in pieces.
    fn products<'t>(&mut self, group: &[(u32, &Matrix<B>)], then: impl Fn(u32) -> Then<'t, B>)
    where
        B: 't,
    {
        let together =
            |(_, matrix): &(u32, &Matrix<B>)| matrix.pieces.len() == 1 && Form::of(matrix.packing) == Form::Q8;
        let on_top = group.windows(2).all(|pair| matches!(pair, [(a, of), (b, _)] if a + of.rows() == *b));
        let (true, true, [(first, matrix), others @ ..]) = (
            self.scratch.abilities.mixed && on_top && (2..=3).contains(&group.len()),
            group.iter().all(together),
            group,
        ) else {
            for (first, matrix) in group {
                self.product(matrix, &then(*first), Over::Tokens);
            }
            return;
        };
        self.product(matrix, &then(*first), Over::Tokens);
        let Some(op) = self.planned.last_mut() else { return };
        op.values.remove(matrix.packing.name());
        op.values.extend([("MIXED", 1), ("FIRST_KIND", matrix.packing.number())]);
        let names = [("SECOND_KIND", "SECOND_ROW", 10), ("THIRD_KIND", "THIRD_ROW", 12)];
        for ((kind, row, at), (behind, matrix)) in names.into_iter().zip(others) {
            op.values.extend([(kind, matrix.packing.number()), (row, behind - first)]);
            op.numbers[0] += matrix.rows();
            for piece in &matrix.pieces {
                op.buffers.push((at, piece.quants.clone()));
                op.buffers.extend(piece.scales.clone().map(|scales| (at + 1, scales)));
            }
        }
        op.grid = Grid::Rows(op.numbers[0]);
    }

    /// A product that is added to the states: at once, or, where it is normed first, by whoever reads the states next.
    fn add(&mut self, matrix: &Matrix<B>, behind: Option<&B>) {
        self.add_from([&self.scratch.words, &self.scratch.parts], matrix, behind);
    }

    /// The same of activations that lie elsewhere.
    fn add_from(&mut self, given: [&B; 2], matrix: &Matrix<B>, behind: Option<&B>) {
        let Some(behind) = behind else { return self.product_of(given, matrix, &Then::Add, Over::Tokens) };
        let stride = self.parameters.width as u32;
        self.product_of(given, matrix, &Then::Store(&self.scratch.made, 0, stride), Over::Tokens);
        self.behind = Some(behind.clone());
    }

    /// What gates let through of ups, both of one matrix by turns, in the form of the next matrix: of all tokens, or of the experts of
    /// each token's slots, if it asks so many.
    pub(crate) fn gate(&mut self, matrix: &Matrix<B>, form: Form, used: Option<u32>) {
        let p = self.parameters;
        let scratch = self.scratch;
        let gelu = u32::from(p.activation == Activation::Gelu);
        let mut values = Values::from([("GATED", 1), ("GELU", gelu), (form.made(), 1)]);
        values.extend(of_matrix(matrix));
        if let Some(used) = used {
            values.extend([("EXPERTS", 1), ("USED", used), ("SHARED_BY", used), ("COUNT", self.experts())]);
        }
        let stride = (p.feed_forward / GATES) as u32;
        let each = 2 * p.feed_forward as u32;
        for piece in &matrix.pieces {
            let mut buffers = vec![
                (1, scratch.step.clone()),
                (2, piece.quants.clone()),
                (4, scratch.words.clone()),
                (5, scratch.parts.clone()),
                (6, scratch.through.clone()),
                (7, self.chosen_by()),
                (8, scratch.through_parts.clone()),
            ];
            buffers.extend(piece.scales.clone().map(|scales| (3, scales)));
            let (rows, first, experts) = match used {
                Some(_) => (each, 0, [piece.first / each, piece.rows / each]),
                None => (piece.rows, piece.first, [0; 2]),
            };
            self.planned.push(Op {
                kernel: Name::Product,
                values: values.clone(),
                numbers: [rows, first, matrix.blocks, stride, 0, 0, experts[0], experts[1]],
                buffers,
                grid: Grid::Gates(rows / (2 * GATES) as u32),
                over: if used.is_some() { Over::Slots } else { Over::Tokens },
                when: When::Always,
            });
        }
    }

    pub(crate) fn embed(&mut self, matrix: &Matrix<B>) {
        let values = Values::from(of_matrix(matrix));
        let scale = self.parameters.embedding_scale.to_bits();
        for piece in &matrix.pieces {
            let mut buffers =
                vec![(1, self.scratch.step.clone()), (2, piece.quants.clone()), (4, self.scratch.states.clone())];
            buffers.extend(piece.scales.clone().map(|scales| (3, scales)));
            self.planned.push(Op {
                kernel: Name::Embed,
                values: values.clone(),
                numbers: [piece.rows, piece.first, matrix.blocks, matrix.columns, scale, 0, 0, 0],
                buffers,
                grid: Grid::Each(1),
                over: Over::Tokens,
                when: When::Always,
            });
        }
    }

    pub(crate) fn prepare(&mut self, first: First<'_, B>, source: &B, columns: usize, kinds: &[Packing], over: Over) {
        let Some(form) = kinds.first().copied().map(Form::of) else { return };
        self.prepare_in(first, source, columns, form, over);
    }

    /// The same by the name of the form.
    fn prepare_in(&mut self, first: First<'_, B>, source: &B, columns: usize, form: Form, over: Over) {
        let mut values = Values::new();
        values.insert(form.name(), 1);
        let mut buffers = vec![
            (1, self.scratch.step.clone()),
            (2, source.clone()),
            (4, self.scratch.words.clone()),
            (5, self.scratch.parts.clone()),
        ];
        match first {
            First::Norm(weight) => {
                values.insert("NORM", 1);
                buffers.push((3, weight.clone()));
                if let Some(behind) = self.behind.take() {
                    values.insert("BEHIND", 1);
                    buffers.extend([(6, self.scratch.made.clone()), (7, behind)]);
                }
            }
            First::Gate => {
                values.insert("GATE", 1);
                values.insert("GELU", u32::from(self.parameters.activation == Activation::Gelu));
            }
            First::Nothing => {
                values.insert("PLAIN", 1);
            }
        }
        let chosen = u32::from(over == Over::Results);
        let epsilon = self.parameters.norm_epsilon.to_bits();
        self.planned.push(Op {
            kernel: Name::Prepare,
            values,
            numbers: [columns as u32, columns.div_ceil(32) as u32, chosen, epsilon, 0, 0, 0, 0],
            buffers,
            grid: Grid::Each(1),
            over,
            when: When::Always,
        });
    }

    pub(crate) fn product(&mut self, matrix: &Matrix<B>, then: &Then<'_, B>, over: Over) {
        self.product_of([&self.scratch.words, &self.scratch.parts], matrix, then, over);
    }

    fn product_of(&mut self, given: [&B; 2], matrix: &Matrix<B>, then: &Then<'_, B>, over: Over) {
        let p = self.parameters;
        let (queries, keys) = ((p.heads * p.head_size) as u32, (p.kv_heads * p.head_size) as u32);
        let (more, stride, behind, out, cache) = match *then {
            Then::Store(out, behind, stride) => (Values::from([("STORE", 1)]), stride, behind, out, None),
            Then::Add => (Values::from([("ADD", 1)]), p.width as u32, 0, &self.scratch.states, None),
            Then::Cache(cache, turns, behind) => {
                let values = Values::from([
                    ("CACHE", 1),
                    ("HEAD", p.head_size as u32),
                    ("KV_HEADS", p.kv_heads as u32),
                    ("TURNED", (p.rope_size / 2) as u32),
                ]);
                (values, queries, behind, &self.scratch.queries, Some((cache, turns)))
            }
        };
        let cap = if over == Over::Results { p.logit_cap } else { None };
        let (mut more, mut queries) = (more, queries);
        if let Some(cap) = cap {
            more.insert("CAP", 1);
            queries = cap.to_bits();
        }
        more.extend(of_matrix(matrix));
        let count = u32::from(over == Over::Results);
        for piece in &matrix.pieces {
            let mut buffers = vec![
                (1, self.scratch.step.clone()),
                (2, piece.quants.clone()),
                (4, given[0].clone()),
                (5, given[1].clone()),
                (6, out.clone()),
            ];
            buffers.extend(piece.scales.clone().map(|scales| (3, scales)));
            if let Some((cache, turns)) = cache {
                buffers.extend([(7, cache.keys.clone()), (8, cache.values.clone()), (9, turns.clone())]);
            }
            self.planned.push(Op {
                kernel: Name::Product,
                values: more.clone(),
                numbers: [piece.rows, behind + piece.first, matrix.blocks, stride, count, 0, queries, keys],
                buffers,
                grid: Grid::Rows(piece.rows),
                over,
                when: When::Always,
            });
        }
    }

    /// Products of a matrix of experts with what the experts of each slot are asked: `rows` of each, activations as given, each
    /// shared by so many slots. Added to the states they are added up for each token before, by the experts' weights.
    fn ask(&mut self, given: [&B; 2], matrix: &Matrix<B>, rows: usize, shared_by: u32, then: &Then<'_, B>) {
        let (out, behind, stride, over, becomes) = match *then {
            Then::Store(out, behind, stride) => (out, behind, stride, Over::Slots, &["STORE"][..]),
            Then::Add => {
                (&self.scratch.states, 0, self.parameters.width as u32, Over::Tokens, &["ADD", "COMBINED"][..])
            }
            Then::Cache(..) => return,
        };
        let used = self.parameters.experts.map_or(1, |experts| experts.used) as u32;
        let count = self.experts();
        let mut values = Values::from([("EXPERTS", 1), ("USED", used), ("SHARED_BY", shared_by), ("COUNT", count)]);
        values.extend(becomes.iter().map(|&name| (name, 1)));
        values.extend(of_matrix(matrix));
        let rows = rows as u32;
        for piece in &matrix.pieces {
            let mut buffers = vec![
                (1, self.scratch.step.clone()),
                (2, piece.quants.clone()),
                (4, given[0].clone()),
                (5, given[1].clone()),
                (6, out.clone()),
                (7, self.chosen_by()),
            ];
            buffers.extend(piece.scales.clone().map(|scales| (3, scales)));
            self.planned.push(Op {
                kernel: Name::Product,
                values: values.clone(),
                numbers: [rows, behind, matrix.blocks, stride, 0, 0, piece.first / rows, piece.rows / rows],
                buffers,
                grid: Grid::Rows(rows),
                over,
                when: When::Always,
            });
        }
    }

    /// How many experts there are.
    fn experts(&self) -> u32 {
        self.parameters.experts.map_or(0, |experts| experts.count as u32)
    }

    /// What experts' products read of which experts are asked: their scores, or what was decided by them.
    fn chosen_by(&self) -> B {
        if self.scratch.abilities.routed { self.scratch.scores.clone() } else { self.scratch.routes.clone() }
    }

    /// Decides which experts each token asks, by their scores.
    fn route(&mut self, count: u32, used: u32) {
        let scratch = self.scratch;
        self.planned.push(Op {
            kernel: Name::Route,
            values: Values::new(),
            numbers: [count, used, 0, 0, 0, 0, 0, 0],
            buffers: vec![(1, scratch.step.clone()), (2, scratch.scores.clone()), (3, scratch.routes.clone())],
            grid: Grid::One,
            over: Over::Tokens,
            when: When::Always,
        });
    }

    /// Adds what experts answered to the states.
    fn combine(&mut self, used: u32) {
        let scratch = self.scratch;
        let columns = self.parameters.width as u32;
        self.planned.push(Op {
            kernel: Name::Combine,
            values: Values::new(),
            numbers: [columns, used, 0, 0, 0, 0, 0, 0],
            buffers: vec![(1, scratch.routes.clone()), (2, scratch.made.clone()), (3, scratch.states.clone())],
            grid: Grid::Threads(columns),
            over: Over::Tokens,
            when: When::Always,
        });
    }

    /// Adds offsets to queries, keys and values, norms and turns them, and brings them to their places.
    pub(crate) fn heads(&mut self, raw: &Raw<'_, B>, cache: &LayerCache<B>, when: When) {
        let Raw { offsets, norms, turns } = *raw;
        let p = self.parameters;
        let values = Values::from([
            ("HEAD", p.head_size as u32),
            ("HEADS", p.heads as u32),
            ("KV_HEADS", p.kv_heads as u32),
            ("TURNED", (p.rope_size / 2) as u32),
            ("OFFSET", u32::from(offsets.is_some())),
            ("NORM", u32::from(norms.is_some())),
        ]);
        let all = (p.heads + 2 * p.kv_heads) as u32;
        let mut buffers = vec![
            (1, self.scratch.step.clone()),
            (2, self.scratch.hidden.clone()),
            (5, turns.clone()),
            (6, self.scratch.queries.clone()),
            (7, cache.keys.clone()),
            (8, cache.values.clone()),
        ];
        buffers.extend(offsets.cloned().map(|offsets| (3, offsets)));
        buffers.extend(norms.cloned().map(|norms| (4, norms)));
        self.planned.push(Op {
            kernel: Name::Heads,
            values,
            numbers: [p.norm_epsilon.to_bits(), all * p.head_size as u32, 0, 0, 0, 0, 0, 0],
            buffers,
            grid: Grid::Each(all),
            over: Over::Tokens,
            when,
        });
    }

    /// Attention over the last so many tokens; `None`: over all. What is found takes a form at once, which only heads of whole blocks
    /// can, or is left as it is.
    pub(crate) fn attention(
        &mut self,
        cache: &LayerCache<B>,
        window: Option<usize>,
        form: Option<Form>,
        raw: Option<&Raw<'_, B>>,
    ) {
        if let Some(slice) = self.scratch.abilities.slice {
            return self.attention_in_slices(slice, cache, window, form, raw);
        }
        let p = self.parameters;
        let mut values = Values::from([
            ("HEAD", p.head_size as u32),
            ("HEADS", p.heads as u32),
            ("KV_HEADS", p.kv_heads as u32),
            ("CAP", u32::from(p.attention_cap.is_some())),
        ]);
        if let Some(form) = form {
            values.extend([("FUSED", 1), (form.name(), 1)]);
        }
        let scale = p.attention_scale;
        let window = window.and_then(|window| u32::try_from(window).ok()).unwrap_or(u32::MAX);
        let cap = p.attention_cap.unwrap_or(1.0).to_bits();
        self.planned.push(Op {
            kernel: Name::Attention,
            values,
            numbers: [scale.to_bits(), window, cap, 0, 0, 0, 0, 0],
            buffers: vec![
                (1, self.scratch.step.clone()),
                (2, self.scratch.queries.clone()),
                (3, cache.keys.clone()),
                (4, cache.values.clone()),
                (5, self.scratch.attended.clone()),
                (6, self.scratch.words.clone()),
                (7, self.scratch.parts.clone()),
            ],
            grid: Grid::Each(p.heads as u32),
            over: Over::Tokens,
            when: When::Always,
        });
    }

    /// Whether attention for one token of a sequence can bring its queries, key and value to their places: it must do so for all heads
    /// that share a key.
    fn brings_heads(&self) -> bool {
        let p = self.parameters;
        self.scratch.abilities.slice.is_some() && p.heads / p.kv_heads <= QUERIES
    }

    /// The same slice by slice, for heads that share keys and values, in up to [`MOST_SLICES`] slices. `raw`: what is to be done to
    /// queries, keys and values that the products left in [`Scratch::hidden`].
    fn attention_in_slices(
        &mut self,
        slice: u32,
        cache: &LayerCache<B>,
        window: Option<usize>,
        form: Option<Form>,
        raw: Option<&Raw<'_, B>>,
    ) {
        let p = self.parameters;
        let scratch = self.scratch;
        let sharing = p.heads / p.kv_heads;
        let group = (1..=sharing.min(QUERIES)).rev().find(|group| sharing.is_multiple_of(*group)).unwrap_or(1);
        let plain = Values::from([
            ("HEAD", p.head_size as u32),
            ("HEADS", p.heads as u32),
            ("KV_HEADS", p.kv_heads as u32),
            ("GROUP", group as u32),
            ("CAP", u32::from(p.attention_cap.is_some())),
        ]);
        let mut formed = plain.clone();
        if let Some(form) = form {
            formed.extend([("FUSED", 1), (form.name(), 1)]);
        }
        let window = window.and_then(|window| u32::try_from(window).ok()).unwrap_or(u32::MAX);
        let stride = ((p.heads + 2 * p.kv_heads) * p.head_size) as u32;
        let [scale, cap, epsilon] =
            [p.attention_scale, p.attention_cap.unwrap_or(1.0), p.norm_epsilon].map(f32::to_bits);
        let numbers = [scale, window, cap, MOST_SLICES, epsilon, stride, slice, 0];
        let found = [(5, scratch.attended.clone()), (6, scratch.words.clone()), (7, scratch.parts.clone())];
        let blocks = (p.heads / group) as u32;
        for when in [When::Together, When::Short, When::Long] {
            // What slices give takes its form when they are merged.
            let mut values = if when == When::Long { plain.clone() } else { formed.clone() };
            let mut buffers = vec![(1, scratch.step.clone()), (3, cache.keys.clone()), (4, cache.values.clone())];
            match raw.filter(|_| when != When::Together && self.brings_heads()) {
                None => buffers.push((2, scratch.queries.clone())),
                Some(raw) => {
                    values.extend([
                        ("RAW", 1),
                        ("TURNED", (p.rope_size / 2) as u32),
                        ("OFFSET", u32::from(raw.offsets.is_some())),
                        ("NORM", u32::from(raw.norms.is_some())),
                    ]);
                    buffers.extend([(2, scratch.hidden.clone()), (8, raw.turns.clone())]);
                    buffers.extend(raw.offsets.cloned().map(|offsets| (9, offsets)));
                    buffers.extend(raw.norms.cloned().map(|norms| (10, norms)));
                }
            }
            let rows = if when == When::Together { (QUERIES / group).max(1) as u32 } else { 1 };
            values.extend([("ROWS", rows), ("TILED", u32::from(rows > 1)), ("SPLIT", u32::from(when == When::Long))]);
            let grid = if when == When::Long {
                buffers.push((5, scratch.partials.clone()));
                // A window ends within a slice and begins within another.
                let most = (window.saturating_sub(1) / slice).saturating_add(2).min(MOST_SLICES);
                Grid::Slices(blocks, most)
            } else {
                buffers.extend(found.clone());
                Grid::Each(blocks)
            };
            self.planned.push(Op { kernel: Name::Attention, values, numbers, buffers, grid, over: Over::Tokens, when });
        }
        let mut buffers = vec![(1, scratch.step.clone()), (2, scratch.partials.clone())];
        buffers.extend(found);
        self.planned.push(Op {
            kernel: Name::Merge,
            values: formed,
            numbers,
            buffers,
            grid: Grid::Each(p.heads as u32),
            over: Over::Tokens,
            when: When::Long,
        });
    }

    pub(crate) fn find(&mut self) {
        let vocabulary = self.parameters.vocabulary as u32;
        let scratch = self.scratch;
        self.planned.push(Op {
            kernel: Name::Penalise,
            values: Values::new(),
            numbers: [vocabulary, 0, 0, 0, 0, 0, 0, 0],
            buffers: vec![(1, scratch.step.clone()), (2, scratch.logits.clone())],
            grid: Grid::One,
            over: Over::Penalties,
            when: When::Always,
        });
        self.planned.push(Op {
            kernel: Name::Mask,
            values: Values::new(),
            numbers: [vocabulary, 1 + vocabulary.div_ceil(32), 0, 0, 0, 0, 0, 0],
            buffers: vec![(1, scratch.step.clone()), (2, scratch.logits.clone())],
            grid: Grid::Threads(vocabulary),
            over: Over::Masks,
            when: When::Always,
        });
        let slices = vocabulary.div_ceil(SLICE);
        let (step, found, sums) = (&scratch.step, &scratch.found, &scratch.sums);
        for (first, grid, buffers) in
            [(1, slices, [step, &scratch.logits, found, sums]), (0, 1, [step, found, sums, &scratch.results])]
        {
            self.planned.push(Op {
                kernel: Name::Select,
                values: Values::from([("FIRST", first)]),
                numbers: [vocabulary, SLICE, slices, self.results, 0, 0, 0, 0],
                buffers: (1..).zip(buffers.map(B::clone)).collect(),
                grid: Grid::Each(grid),
                over: Over::Results,
                when: When::Always,
            });
        }
    }

    /// The plan; what finds something among logits begins with the operation of this number.
    pub(crate) fn finish(self, finding: usize) -> Plan<B> {
        let finding = finding.min(self.planned.len());
        let used = self.parameters.experts.map_or(1, |experts| experts.used as u32);
        let slice = self.scratch.abilities.slice.unwrap_or(u32::MAX);
        Plan { ops: self.planned, finding, used, alone: self.results, slice }
    }
}

/// What a matrix demands of its kernels.
fn of_matrix<B>(matrix: &Matrix<B>) -> [(&'static str, u32); 2] {
    [(matrix.packing.name(), 1), ("SCALED", u32::from(Form::of(matrix.packing) == Form::Q8))]
}

/// Matrices that take activations of the same form, with the number of the first row of each.
fn by_form<B>(matrices: &[(u32, Matrix<B>)]) -> Vec<Vec<(u32, &Matrix<B>)>> {
    let mut groups: Vec<Vec<(u32, &Matrix<B>)>> = Vec::new();
    for (first, matrix) in matrices {
        let same = |group: &&mut Vec<(u32, &Matrix<B>)>| {
            group.first().is_some_and(|(_, other)| Form::of(other.packing) == Form::of(matrix.packing))
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push((*first, matrix)),
            None => groups.push(vec![(*first, matrix)]),
        }
    }
    groups
}
