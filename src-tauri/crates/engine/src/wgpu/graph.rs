//! Everything that one step starts, in order, with its buffers bound: made once, so that a step only has to say how often.

use std::sync::Arc;

use crate::backend::Work;
use crate::fault::DeviceFault;
use crate::model::{Activation, Parameters};

use super::gpu::Gpu;
use super::kernels::{Form, Kernel, Kernels, Name};
use super::matrix::{Matrix, Packing};
use super::template::Values;
use super::weights::{FeedForward, Layer, Weights};

/// Logits that one workgroup looks through.
pub(super) const SLICE: u32 = 4096;
/// Words of a step's beginning, before its rows.
pub(super) const STEP_HEAD: usize = 8;
/// Words of results of one row: the sum's logarithm, then id and logit of each candidate.
pub(super) const RESULT_WORDS: usize = 1 + 2 * crate::sampling::MAX_CANDIDATES;

/// What is computed on the way, wiped when nothing runs.
pub(super) struct Scratch {
    pub(super) step: wgpu::Buffer,
    pub(super) states: wgpu::Buffer,
    pub(super) words: wgpu::Buffer,
    pub(super) parts: wgpu::Buffer,
    pub(super) queries: wgpu::Buffer,
    pub(super) attended: wgpu::Buffer,
    pub(super) hidden: wgpu::Buffer,
    /// What a part of a layer gave, where it is normed before it is added; what experts answered.
    pub(super) made: wgpu::Buffer,
    /// Scores of all experts.
    pub(super) scores: wgpu::Buffer,
    /// Which experts each token asks.
    pub(super) routes: wgpu::Buffer,
    pub(super) logits: wgpu::Buffer,
    pub(super) found: wgpu::Buffer,
    pub(super) sums: wgpu::Buffer,
    pub(super) results: wgpu::Buffer,
}

impl Scratch {
    /// Room for so many tokens together, and so many of them with results.
    pub(super) fn new(
        gpu: &Gpu,
        weights: &Weights,
        p: &Parameters,
        batch: u32,
        results: u32,
    ) -> Result<Self, DeviceFault> {
        let form = if weights.forms().any(|form| form != Form::Q8) { Form::F32 } else { Form::Q8 };
        Self::with_form(gpu, form, p, batch, results)
    }

    /// The same, for activations no larger than in this form.
    pub(super) fn with_form(
        gpu: &Gpu,
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
        let made = if p.experts.is_some() || p.architecture.norms_behind() { p.width as u64 * used } else { 0 };
        let heads = batch * (p.heads * p.head_size) as u64 * 4;
        let slices = u64::from((p.vocabulary as u32).div_ceil(SLICE));
        let what = "what is computed on the way";
        Ok(Self {
            // With room for a mask of every row that wants something.
            step: gpu.storage(what, 64 * 1024 + results * (4 + p.vocabulary.div_ceil(32) as u64 * 4))?,
            states: gpu.storage(what, batch * p.width as u64 * 4)?,
            words: gpu.storage(what, blocks * form.block_bytes())?,
            parts: gpu.storage(what, blocks * 8)?,
            queries: gpu.storage(what, heads)?,
            attended: gpu.storage(what, heads)?,
            hidden: gpu.storage(what, batch * in_heads.max(used * p.feed_forward as u64 * 2) * 4)?,
            made: gpu.storage(what, batch * made * 4)?,
            scores: gpu.storage(what, batch * experts * 4)?,
            routes: gpu.storage(what, batch * used * 8)?,
            logits: gpu.storage(what, results * p.vocabulary as u64 * 4)?,
            found: gpu.storage(what, results * slices * 64 * 8)?,
            sums: gpu.storage(what, results * slices * 8)?,
            results: gpu.storage(what, results * (1 + RESULT_WORDS as u64) * 4)?,
        })
    }

    /// Bytes that [`Scratch::new`] would take, roughly, for a check beforehand.
    pub(super) fn bytes(p: &Parameters, batch: u32, results: u32) -> u64 {
        let (batch, results) = (u64::from(batch), u64::from(results));
        let used = p.experts.map_or(1, |experts| experts.used);
        let values = 2 * p.width * used + 3 * p.heads * p.head_size + 4 * p.feed_forward * used;
        batch * values as u64 * 4 + results * p.vocabulary as u64 * 5
    }

    pub(super) fn all(&self) -> [&wgpu::Buffer; 14] {
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
        ]
    }
}

/// Keys and values of one layer.
pub(super) struct LayerCache {
    pub(super) keys: wgpu::Buffer,
    pub(super) values: wgpu::Buffer,
}

/// Which of a step's numbers a kernel runs over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
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

enum Grid {
    /// So many workgroups for each.
    Each(u32),
    /// A workgroup for so many of them.
    Shared(u32),
    /// So many tiles, each of them for several tokens.
    Tiles(u32),
}

struct Op {
    /// By the number of tokens that each is made for; a single one for kernels without tiles.
    kernels: Vec<(u32, Arc<Kernel>)>,
    group: wgpu::BindGroup,
    grid: Grid,
    over: Over,
    bytes: u64,
}

/// How much there is in one step.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) tokens: u32,
    pub(super) results: u32,
    /// Whether anything is to be found among the results' logits.
    pub(super) find: bool,
    pub(super) penalties: u32,
    pub(super) masks: u32,
}

/// A step.
pub(super) struct Graph {
    ops: Vec<Op>,
    /// Those that find something among logits come last.
    finding: usize,
    across: u32,
    /// Experts that a token asks.
    used: u32,
}

impl Graph {
    /// Starts all kernels in one pass.
    pub(super) fn encode(&self, encoder: &mut wgpu::CommandEncoder, size: Size) -> Work {
        let mut work = Work::default();
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        let ops = if size.find { &self.ops[..] } else { &self.ops[..self.finding.min(self.ops.len())] };
        for op in ops {
            let count = match op.over {
                Over::Tokens => size.tokens,
                Over::Results => size.results,
                Over::Slots => size.tokens * self.used,
                Over::Penalties => size.penalties,
                Over::Masks => size.masks,
            };
            if count == 0 {
                continue;
            }
            // The smallest tile that takes all, or the largest there is.
            let best = op.kernels.iter().find(|(tokens, _)| *tokens >= count).or(op.kernels.last());
            let Some((tokens, kernel)) = best else { continue };
            pass.set_pipeline(&kernel.pipeline);
            pass.set_bind_group(0, &op.group, &[]);
            match op.grid {
                Grid::Shared(each) => pass.dispatch_workgroups(count.div_ceil(each), 1, 1),
                Grid::Each(groups) => pass.dispatch_workgroups(groups, count, 1),
                Grid::Tiles(tiles) => {
                    let across = tiles.min(self.across);
                    pass.dispatch_workgroups(across, count.div_ceil(*tokens), tiles.div_ceil(across));
                }
            }
            work.dispatches += 1;
            work.bytes_bound += op.bytes;
        }
        work
    }
}

/// An operation whose place among the uniforms is not known yet.
struct Planned {
    kernels: Vec<(u32, Arc<Kernel>)>,
    uniforms: [u32; 8],
    buffers: Vec<(u32, wgpu::Buffer)>,
    grid: Grid,
    over: Over,
}

/// Puts a graph together.
pub(super) struct Builder<'a> {
    gpu: &'a Gpu,
    kernels: &'a mut Kernels,
    parameters: &'a Parameters,
    scratch: &'a Scratch,
    results: u32,
    planned: Vec<Planned>,
    /// The weights of the norm of what lies in [`Scratch::made`] and is still to be added to the states.
    behind: Option<wgpu::Buffer>,
}

/// What becomes of a product.
pub(super) enum Then<'a> {
    /// It is stored, behind so many rows of others.
    Store(&'a wgpu::Buffer, u32, u32),
    /// It is added to the states.
    Add,
    /// Queries are stored and keys and values go to the cache, all turned by their positions.
    Cache(&'a LayerCache, &'a wgpu::Buffer, u32),
}

/// What is done to activations before they take the form of a matrix.
#[derive(Clone, Copy)]
pub(super) enum First<'a> {
    Norm(&'a wgpu::Buffer),
    Gate,
    Nothing,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        gpu: &'a Gpu,
        kernels: &'a mut Kernels,
        parameters: &'a Parameters,
        scratch: &'a Scratch,
        results: u32,
    ) -> Self {
        Self { gpu, kernels, parameters, scratch, results, planned: Vec::new(), behind: None }
    }

    /// The whole forward pass.
    pub(super) fn model(mut self, weights: &Weights, caches: &[LayerCache]) -> Result<Graph, DeviceFault> {
        let p = self.parameters;
        self.embed(&weights.embedding)?;
        for (index, (layer, cache)) in weights.layers.iter().zip(caches).enumerate() {
            self.attend(index, layer, cache, weights)?;
            self.feed_forward(layer)?;
        }
        let output = weights.output.as_ref().unwrap_or(&weights.embedding);
        let states = &self.scratch.states;
        self.prepare(First::Norm(&weights.output_norm), states, p.width, &[output.packing], Over::Results)?;
        let logits = &self.scratch.logits;
        self.product(output, &Then::Store(logits, 0, p.vocabulary as u32), Over::Results)?;
        let finding = self.planned.len();
        self.find()?;
        self.finish(finding)
    }

    /// A layer's attention, up to what is added to the states.
    fn attend(
        &mut self,
        index: usize,
        layer: &Layer,
        cache: &LayerCache,
        weights: &Weights,
    ) -> Result<(), DeviceFault> {
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
            self.prepare(First::Norm(&layer.attention_norm), &scratch.states, p.width, &packings, over)?;
            for (first, matrix) in group {
                let then = if by_heads {
                    Then::Store(&scratch.hidden, first, in_heads)
                } else {
                    Then::Cache(cache, turns, first)
                };
                self.product(matrix, &then, over)?;
            }
        }
        if by_heads {
            self.heads(layer.offsets.as_ref(), layer.head_norms.as_ref(), turns, cache)?;
        }
        let form = Form::of(layer.attention_output.packing);
        let fused = p.head_size.is_multiple_of(32);
        self.attention(cache, window, fused.then_some(form))?;
        if !fused {
            let heads = p.heads * p.head_size;
            self.prepare(First::Nothing, &scratch.attended, heads, &[layer.attention_output.packing], over)?;
        }
        self.add(&layer.attention_output, layer.attention_norm_behind.as_ref())
    }

    fn feed_forward(&mut self, layer: &Layer) -> Result<(), DeviceFault> {
        let p = self.parameters;
        let scratch = self.scratch;
        let norm = First::Norm(&layer.feed_forward_norm);
        let stride = 2 * p.feed_forward as u32;
        match &layer.feed_forward {
            FeedForward::Dense { gate_up, down } => {
                for group in by_form(gate_up) {
                    let packings: Vec<Packing> = group.iter().map(|(_, matrix)| matrix.packing).collect();
                    self.prepare(norm, &scratch.states, p.width, &packings, Over::Tokens)?;
                    for (first, matrix) in group {
                        self.product(matrix, &Then::Store(&scratch.hidden, first, stride), Over::Tokens)?;
                    }
                }
                self.prepare(First::Gate, &scratch.hidden, p.feed_forward, &[down.packing], Over::Tokens)?;
                self.add(down, layer.feed_forward_norm_behind.as_ref())
            }
            FeedForward::Experts { router, gates, ups, downs } => {
                let Some(experts) = p.experts else { return Ok(()) };
                self.prepare(norm, &scratch.states, p.width, &[router.packing], Over::Tokens)?;
                let count = experts.count as u32;
                self.product(router, &Then::Store(&scratch.scores, 0, count), Over::Tokens)?;
                self.route(count, experts.used as u32)?;
                let mut prepared = Form::of(router.packing);
                for (matrix, behind) in [(gates, 0), (ups, p.feed_forward as u32)] {
                    if Form::of(matrix.packing) != prepared {
                        self.prepare(norm, &scratch.states, p.width, &[matrix.packing], Over::Tokens)?;
                        prepared = Form::of(matrix.packing);
                    }
                    let then = Then::Store(&scratch.hidden, behind, stride);
                    self.ask(matrix, p.feed_forward, experts.used as u32, &then)?;
                }
                self.prepare(First::Gate, &scratch.hidden, p.feed_forward, &[downs.packing], Over::Slots)?;
                self.ask(downs, p.width, 1, &Then::Store(&scratch.made, 0, p.width as u32))?;
                self.combine(experts.used as u32)
            }
        }
    }

    /// A product that is added to the states: at once, or, where it is normed first, by whoever reads the states next.
    fn add(&mut self, matrix: &Matrix, behind: Option<&wgpu::Buffer>) -> Result<(), DeviceFault> {
        let Some(behind) = behind else { return self.product(matrix, &Then::Add, Over::Tokens) };
        let stride = self.parameters.width as u32;
        self.product(matrix, &Then::Store(&self.scratch.made, 0, stride), Over::Tokens)?;
        self.behind = Some(behind.clone());
        Ok(())
    }

    pub(super) fn embed(&mut self, matrix: &Matrix) -> Result<(), DeviceFault> {
        let mut values = self.kernels.plain();
        values.insert(matrix.packing.name(), 1);
        values.insert("SCALED", u32::from(Form::of(matrix.packing) == Form::Q8));
        let kernel = self.kernels.get(Name::Embed, values)?;
        let scale = self.parameters.embedding_scale.to_bits();
        for piece in &matrix.pieces {
            let mut buffers =
                vec![(1, self.scratch.step.clone()), (2, piece.quants.clone()), (4, self.scratch.states.clone())];
            buffers.extend(piece.scales.clone().map(|scales| (3, scales)));
            self.planned.push(Planned {
                kernels: vec![(1, Arc::clone(&kernel))],
                uniforms: [piece.rows, piece.first, matrix.blocks, matrix.columns, scale, 0, 0, 0],
                buffers,
                grid: Grid::Each(1),
                over: Over::Tokens,
            });
        }
        Ok(())
    }

    pub(super) fn prepare(
        &mut self,
        first: First<'_>,
        source: &wgpu::Buffer,
        columns: usize,
        kinds: &[Packing],
        over: Over,
    ) -> Result<(), DeviceFault> {
        let Some(form) = kinds.first().copied().map(Form::of) else { return Ok(()) };
        let mut values = self.kernels.plain();
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
        let kernel = self.kernels.get(Name::Prepare, values)?;
        let chosen = u32::from(over == Over::Results);
        let epsilon = self.parameters.norm_epsilon.to_bits();
        self.planned.push(Planned {
            kernels: vec![(1, kernel)],
            uniforms: [columns as u32, columns.div_ceil(32) as u32, chosen, epsilon, 0, 0, 0, 0],
            buffers,
            grid: Grid::Each(1),
            over,
        });
        Ok(())
    }

    pub(super) fn product(&mut self, matrix: &Matrix, then: &Then<'_>, over: Over) -> Result<(), DeviceFault> {
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
        let sizes = self.kernels.shape.tokens.clone();
        let kernels = self.kernels.products(matrix.packing, &sizes, &more)?;
        let shape = &self.kernels.shape;
        let (in_tile, tiles) = (shape.rows, shape.workgroup / shape.lanes);
        for piece in &matrix.pieces {
            let groups = piece.rows.div_ceil(in_tile * tiles);
            let count = u32::from(over == Over::Results);
            let across = groups.min(self.across());
            let mut buffers = vec![
                (1, self.scratch.step.clone()),
                (2, piece.quants.clone()),
                (4, self.scratch.words.clone()),
                (5, self.scratch.parts.clone()),
                (6, out.clone()),
            ];
            buffers.extend(piece.scales.clone().map(|scales| (3, scales)));
            if let Some((cache, turns)) = cache {
                buffers.extend([(7, cache.keys.clone()), (8, cache.values.clone()), (9, turns.clone())]);
            }
            self.planned.push(Planned {
                kernels: kernels.clone(),
                uniforms: [piece.rows, behind + piece.first, matrix.blocks, stride, count, across, queries, keys],
                buffers,
                grid: Grid::Tiles(groups),
                over,
            });
        }
        Ok(())
    }

    /// Products of a matrix of experts with what the experts of each slot are asked: `rows` of each, activations in the form that was
    /// prepared last, each shared by so many slots.
    fn ask(&mut self, matrix: &Matrix, rows: usize, shared_by: u32, then: &Then<'_>) -> Result<(), DeviceFault> {
        let Then::Store(out, behind, stride) = *then else { return Ok(()) };
        let used = self.parameters.experts.map_or(1, |experts| experts.used) as u32;
        let more = Values::from([("STORE", 1), ("EXPERTS", 1), ("USED", used), ("SHARED_BY", shared_by)]);
        let kernels = self.kernels.products(matrix.packing, &[1], &more)?;
        let shape = &self.kernels.shape;
        let groups = (rows as u32).div_ceil(shape.rows * (shape.workgroup / shape.lanes));
        let across = groups.min(self.across());
        let rows = rows as u32;
        for piece in &matrix.pieces {
            let mut buffers = vec![
                (1, self.scratch.step.clone()),
                (2, piece.quants.clone()),
                (4, self.scratch.words.clone()),
                (5, self.scratch.parts.clone()),
                (6, out.clone()),
                (7, self.scratch.routes.clone()),
            ];
            buffers.extend(piece.scales.clone().map(|scales| (3, scales)));
            self.planned.push(Planned {
                kernels: kernels.clone(),
                uniforms: [rows, behind, matrix.blocks, stride, 0, across, piece.first / rows, piece.rows / rows],
                buffers,
                grid: Grid::Tiles(groups),
                over: Over::Slots,
            });
        }
        Ok(())
    }

    /// Decides which experts each token asks, by their scores.
    fn route(&mut self, count: u32, used: u32) -> Result<(), DeviceFault> {
        let kernel = self.kernels.get(Name::Route, self.kernels.plain())?;
        let scratch = self.scratch;
        self.planned.push(Planned {
            kernels: vec![(1, kernel)],
            uniforms: [count, used, 0, 0, 0, 0, 0, 0],
            buffers: vec![(1, scratch.step.clone()), (2, scratch.scores.clone()), (3, scratch.routes.clone())],
            grid: Grid::Shared(self.kernels.shape.threads),
            over: Over::Tokens,
        });
        Ok(())
    }

    /// Adds what experts answered to the states.
    fn combine(&mut self, used: u32) -> Result<(), DeviceFault> {
        let kernel = self.kernels.get(Name::Combine, self.kernels.plain())?;
        let scratch = self.scratch;
        let columns = self.parameters.width as u32;
        self.planned.push(Planned {
            kernels: vec![(1, kernel)],
            uniforms: [columns, used, 0, 0, 0, 0, 0, 0],
            buffers: vec![(1, scratch.routes.clone()), (2, scratch.made.clone()), (3, scratch.states.clone())],
            grid: Grid::Each(columns.div_ceil(self.kernels.shape.threads)),
            over: Over::Tokens,
        });
        Ok(())
    }

    /// Adds offsets to queries, keys and values, norms and turns them, and brings them to their places.
    fn heads(
        &mut self,
        offsets: Option<&wgpu::Buffer>,
        norms: Option<&wgpu::Buffer>,
        turns: &wgpu::Buffer,
        cache: &LayerCache,
    ) -> Result<(), DeviceFault> {
        let p = self.parameters;
        let mut values = self.kernels.plain();
        values.extend([
            ("HEAD", p.head_size as u32),
            ("HEADS", p.heads as u32),
            ("KV_HEADS", p.kv_heads as u32),
            ("TURNED", (p.rope_size / 2) as u32),
            ("OFFSET", u32::from(offsets.is_some())),
            ("NORM", u32::from(norms.is_some())),
        ]);
        let kernel = self.kernels.get(Name::Heads, values)?;
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
        self.planned.push(Planned {
            kernels: vec![(1, kernel)],
            uniforms: [p.norm_epsilon.to_bits(), all * p.head_size as u32, 0, 0, 0, 0, 0, 0],
            buffers,
            grid: Grid::Each(all),
            over: Over::Tokens,
        });
        Ok(())
    }

    /// Attention over the last so many tokens; `None`: over all. What is found takes a form at once, which only heads of whole blocks
    /// can, or is left as it is.
    pub(super) fn attention(
        &mut self,
        cache: &LayerCache,
        window: Option<usize>,
        form: Option<Form>,
    ) -> Result<(), DeviceFault> {
        let p = self.parameters;
        let threads = self.kernels.shape.threads;
        let half = (p.head_size / 2) as u32;
        let mut values = Values::from([
            ("WORKGROUP", threads),
            ("HEAD", p.head_size as u32),
            ("HALF", half),
            ("HEADS", p.heads as u32),
            ("KV_HEADS", p.kv_heads as u32),
            ("SHARE", half.div_ceil(threads)),
            ("FOURS", u32::from(p.head_size.is_multiple_of(8))),
            ("CAP", u32::from(p.attention_cap.is_some())),
        ]);
        if let Some(form) = form {
            values.extend([("FUSED", 1), (form.name(), 1)]);
        }
        let kernel = self.kernels.get(Name::Attention, values)?;
        let scale = p.attention_scale;
        let window = window.and_then(|window| u32::try_from(window).ok()).unwrap_or(u32::MAX);
        let cap = p.attention_cap.unwrap_or(1.0).to_bits();
        self.planned.push(Planned {
            kernels: vec![(1, kernel)],
            uniforms: [scale.to_bits(), window, cap, 0, 0, 0, 0, 0],
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
        });
        Ok(())
    }

    pub(super) fn find(&mut self) -> Result<(), DeviceFault> {
        let vocabulary = self.parameters.vocabulary as u32;
        let scratch = self.scratch;
        let threads = self.kernels.shape.threads;
        let penalise = self.kernels.get(Name::Penalise, self.kernels.plain())?;
        self.planned.push(Planned {
            kernels: vec![(1, penalise)],
            uniforms: [vocabulary, 0, 0, 0, 0, 0, 0, 0],
            buffers: vec![(1, scratch.step.clone()), (2, scratch.logits.clone())],
            grid: Grid::Shared(threads),
            over: Over::Penalties,
        });
        let mask = self.kernels.get(Name::Mask, self.kernels.plain())?;
        self.planned.push(Planned {
            kernels: vec![(1, mask)],
            uniforms: [vocabulary, 1 + vocabulary.div_ceil(32), 0, 0, 0, 0, 0, 0],
            buffers: vec![(1, scratch.step.clone()), (2, scratch.logits.clone())],
            grid: Grid::Each(vocabulary.div_ceil(threads)),
            over: Over::Masks,
        });
        let slices = vocabulary.div_ceil(SLICE);
        let uniforms = [vocabulary, SLICE, slices, self.results, 0, 0, 0, 0];
        let mut values = self.kernels.plain();
        let second = self.kernels.get(Name::Select, values.clone())?;
        values.insert("FIRST", 1);
        let first = self.kernels.get(Name::Select, values)?;
        let (step, found, sums) = (&scratch.step, &scratch.found, &scratch.sums);
        for (kernel, grid, buffers) in
            [(first, slices, [step, &scratch.logits, found, sums]), (second, 1, [step, found, sums, &scratch.results])]
        {
            self.planned.push(Planned {
                kernels: vec![(1, kernel)],
                uniforms,
                buffers: (1..).zip(buffers.map(wgpu::Buffer::clone)).collect(),
                grid: Grid::Each(grid),
                over: Over::Results,
            });
        }
        Ok(())
    }

    fn across(&self) -> u32 {
        self.gpu.limits.max_compute_workgroups_per_dimension
    }

    /// Binds everything.
    pub(super) fn finish(self, finding: usize) -> Result<Graph, DeviceFault> {
        const UNIFORM: usize = 32;
        let apart = (self.gpu.limits.min_uniform_buffer_offset_alignment as usize).max(UNIFORM);
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let uniforms = self.gpu.buffer("numbers of kernels", (self.planned.len() * apart) as u64, usage)?;
        let mut bytes = Vec::with_capacity(self.planned.len() * apart);
        let mut ops = Vec::with_capacity(self.planned.len());
        let across = self.across();
        for (index, planned) in self.planned.into_iter().enumerate() {
            bytes.extend(planned.uniforms.iter().flat_map(|word| word.to_le_bytes()));
            bytes.resize((index + 1) * apart, 0);
            let Some((_, kernel)) = planned.kernels.first() else { continue };
            let uniform = wgpu::BufferBinding {
                buffer: &uniforms,
                offset: (index * apart) as u64,
                size: std::num::NonZeroU64::new(UNIFORM as u64),
            };
            let mut entries =
                vec![wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(uniform) }];
            let wanted = planned.buffers.iter().filter(|(binding, _)| kernel.bindings.contains(binding));
            let mut bound = UNIFORM as u64;
            for (binding, buffer) in wanted {
                entries.push(wgpu::BindGroupEntry { binding: *binding, resource: buffer.as_entire_binding() });
                bound += buffer.size();
            }
            let group = self.gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout: &kernel.layout,
                entries: &entries,
            });
            ops.push(Op { kernels: planned.kernels, group, grid: planned.grid, over: planned.over, bytes: bound });
        }
        self.gpu.queue.write_buffer(&uniforms, 0, &bytes);
        self.gpu.check()?;
        let used = self.parameters.experts.map_or(1, |experts| experts.used as u32);
        Ok(Graph { ops, finding, across, used })
    }
}

/// Matrices that take activations of the same form, with the number of the first row of each.
fn by_form(matrices: &[(u32, Matrix)]) -> Vec<Vec<(u32, &Matrix)>> {
    let mut groups: Vec<Vec<(u32, &Matrix)>> = Vec::new();
    for (first, matrix) in matrices {
        let same = |group: &&mut Vec<(u32, &Matrix)>| {
            group.first().is_some_and(|(_, other)| Form::of(other.packing) == Form::of(matrix.packing))
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push((*first, matrix)),
            None => groups.push(vec![(*first, matrix)]),
        }
    }
    groups
}
