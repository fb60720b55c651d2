//! A model's weights on a device.

use std::collections::BTreeMap;

use crate::fault::DeviceFault;
use crate::gguf::{Tensor, TensorType};
use crate::model::{Model, Parameters, Part, Rope};

use super::matrix::{self, Form, Matrix, PAIRS, Source};
use super::{GATES, Memory};

/// Matrices on top of each other where they are of one type, otherwise apart; each with the number of its first row.
pub(crate) type Stack<B> = Vec<(u32, Matrix<B>)>;

pub(crate) struct Layer<B> {
    pub(crate) attention_norm: B,
    pub(crate) query_key_value: Stack<B>,
    /// Added to queries, keys and values, one after another.
    pub(crate) offsets: Option<B>,
    /// Norms of queries and of keys, one after another.
    pub(crate) head_norms: Option<B>,
    pub(crate) attention_output: Matrix<B>,
    pub(crate) attention_norm_behind: Option<B>,
    pub(crate) feed_forward_norm: B,
    pub(crate) feed_forward: FeedForward<B>,
    pub(crate) feed_forward_norm_behind: Option<B>,
}

pub(crate) enum FeedForward<B> {
    /// Gate and up are on top of each other where they are of one type, as above.
    Dense { gate_up: Stack<B>, down: Matrix<B> },
    /// Gate and up by turns, for a kernel that computes both.
    Gated { gate_up: Matrix<B>, down: Matrix<B> },
    /// Of each the matrices of all experts on top of each other.
    Experts { router: Matrix<B>, gates: Matrix<B>, ups: Matrix<B>, downs: Matrix<B> },
    /// The same, of each expert gate and up by turns.
    GatedExperts { router: Matrix<B>, gate_up: Matrix<B>, downs: Matrix<B> },
}

pub(crate) struct Weights<B> {
    pub(crate) embedding: Matrix<B>,
    pub(crate) layers: Vec<Layer<B>>,
    pub(crate) output_norm: B,
    /// `None` where the embedding serves as output too.
    pub(crate) output: Option<Matrix<B>>,
    /// Cosine and sine of every position and pair.
    pub(crate) turns: B,
    /// The same in layers with a window, if there are any.
    pub(crate) turns_in_window: Option<B>,
}

/// Bytes that a model's weights will have on a device.
pub(crate) fn bytes(model: &Model) -> u64 {
    let of = |tensor: &Tensor| {
        let size = |at: usize| tensor.shape.get(at).map_or(1, |&size| size as usize);
        matrix::bytes(tensor.kind, size(0), size(1) * size(2))
    };
    model.tensors().map(of).sum()
}

impl<B: Clone> Weights<B> {
    /// Brings a model's weights to a device; no buffer has more than `limit` bytes. Each tensor leaves main memory as soon as it is
    /// there.
    pub(crate) fn upload(
        memory: &impl Memory<Buffer = B>,
        model: Model,
        context: usize,
        limit: u64,
    ) -> Result<Self, DeviceFault> {
        let p = *model.parameters();
        let ropes = model.ropes().clone();
        let mut loader = Loader { memory, tensors: model.into_tensors(), limit };
        let layers = (0..p.layers).map(|layer| loader.layer(layer, &p)).collect::<Result<_, _>>()?;
        let output = loader.tensors.contains_key("output.weight");
        Ok(Self {
            layers,
            embedding: loader.matrix("token_embd.weight")?,
            output_norm: loader.vector("output_norm.weight")?,
            output: if output { Some(loader.matrix("output.weight")?) } else { None },
            turns: turn_table(memory, &ropes.all, context)?,
            turns_in_window: ropes.window.map(|rope| turn_table(memory, &rope, context)).transpose()?,
        })
    }

    /// Forms of activations that its matrices are multiplied with.
    pub(crate) fn forms(&self) -> impl Iterator<Item = Form> {
        let of_layer = |layer: &'_ Layer<B>| {
            let mut all: Vec<&Matrix<B>> = layer.query_key_value.iter().map(|(_, matrix)| matrix).collect();
            all.push(&layer.attention_output);
            match &layer.feed_forward {
                FeedForward::Dense { gate_up, down } => {
                    all.extend(gate_up.iter().map(|(_, matrix)| matrix).chain([down]));
                }
                FeedForward::Gated { gate_up, down } => all.extend([gate_up, down]),
                FeedForward::Experts { router, gates, ups, downs } => all.extend([router, gates, ups, downs]),
                FeedForward::GatedExperts { router, gate_up, downs } => all.extend([router, gate_up, downs]),
            }
            all.into_iter().map(|matrix| matrix.packing).collect::<Vec<_>>()
        };
        let output = self.output.as_ref().unwrap_or(&self.embedding).packing;
        self.layers.iter().flat_map(of_layer).chain([output]).map(Form::of)
    }
}

struct Loader<'a, M> {
    memory: &'a M,
    tensors: BTreeMap<String, Tensor>,
    limit: u64,
}

impl<M: Memory> Loader<'_, M> {
    fn layer(&mut self, layer: usize, p: &Parameters) -> Result<Layer<M::Buffer>, DeviceFault> {
        let name = |part: Part| part.of(layer);
        let offsets = [Part::QueryOffset, Part::KeyOffset, Part::ValueOffset].map(name);
        let head_norms = [Part::QueryNorm, Part::KeyNorm].map(name);
        let behind = p.architecture.norms_behind();
        Ok(Layer {
            attention_norm: self.vector(&name(Part::AttentionNorm))?,
            query_key_value: self.stack(&[Part::Query, Part::Key, Part::Value].map(name))?,
            offsets: p.architecture.has_offsets().then(|| self.vectors(&offsets)).transpose()?,
            head_norms: p.architecture.norms_heads().then(|| self.vectors(&head_norms)).transpose()?,
            attention_output: self.matrix(&name(Part::AttentionOutput))?,
            attention_norm_behind: behind.then(|| self.vector(&name(Part::AttentionNormBehind))).transpose()?,
            feed_forward_norm: self.vector(&name(Part::FeedForwardNorm))?,
            feed_forward: match p.experts {
                None => match self.gated(&[Part::Gate, Part::Up].map(name), p.feed_forward)? {
                    Some(gate_up) => FeedForward::Gated { gate_up, down: self.matrix(&name(Part::Down))? },
                    None => FeedForward::Dense {
                        gate_up: self.stack(&[Part::Gate, Part::Up].map(name))?,
                        down: self.matrix(&name(Part::Down))?,
                    },
                },
                Some(_) => self.experts_of(&name, p)?,
            },
            feed_forward_norm_behind: behind.then(|| self.vector(&name(Part::FeedForwardNormBehind))).transpose()?,
        })
    }

    fn experts_of(
        &mut self,
        name: &impl Fn(Part) -> String,
        p: &Parameters,
    ) -> Result<FeedForward<M::Buffer>, DeviceFault> {
        Ok(match self.gated(&[Part::Gates, Part::Ups].map(name), p.feed_forward)? {
            Some(gate_up) => FeedForward::GatedExperts {
                router: self.matrix(&name(Part::Router))?,
                gate_up,
                downs: self.experts(&name(Part::Downs))?,
            },
            None => FeedForward::Experts {
                router: self.matrix(&name(Part::Router))?,
                gates: self.experts(&name(Part::Gates))?,
                ups: self.experts(&name(Part::Ups))?,
                downs: self.experts(&name(Part::Downs))?,
            },
        })
    }

    /// Gates and ups by turns, of `rows` rows each or as many for each expert, which stay together; `None`, and they stay where they
    /// are, if the device has no use for that or they do not go together.
    fn gated(&mut self, names: &[String; 2], rows: usize) -> Result<Option<Matrix<M::Buffer>>, DeviceFault> {
        let [Some(gate), Some(up)] = names.each_ref().map(|name| self.tensors.get(name)) else { return Ok(None) };
        if !self.memory.abilities().gated || gate.kind != up.kind || !rows.is_multiple_of(GATES) {
            return Ok(None);
        }
        let (kind, experts) = (gate.kind, gate.shape.get(2).map_or(1, |&experts| experts as usize));
        let columns = gate.shape.first().map_or(1, |&columns| columns as usize);
        let turn = GATES * (columns / kind.block_values() * kind.block_bytes());
        let both = gate.bytes.chunks_exact(turn).zip(up.bytes.chunks_exact(turn));
        let sources: Vec<Source<'_>> =
            both.flat_map(|(gate, up)| [gate, up]).map(|bytes| Source { rows: GATES, bytes }).collect();
        let together = if experts > 1 { 2 * rows } else { 2 * GATES };
        let matrix = Matrix::upload(self.memory, kind, columns, &sources, together, self.limit)?;
        for name in names {
            self.tensors.remove(name);
        }
        Ok(Some(matrix))
    }

    /// All experts' rows on top of each other, in pieces of whole experts.
    fn experts(&mut self, name: &str) -> Result<Matrix<M::Buffer>, DeviceFault> {
        let tensor = self.tensors.remove(name);
        let size = |at: usize| tensor.as_ref().and_then(|tensor| tensor.shape.get(at)).map_or(1, |&size| size as usize);
        let (kind, bytes) = tensor.as_ref().map_or((TensorType::F32, &[][..]), |tensor| (tensor.kind, &tensor.bytes));
        let source = Source { rows: size(1) * size(2), bytes };
        Matrix::upload(self.memory, kind, size(0), &[source], size(1), self.limit)
    }

    fn matrix(&mut self, name: &str) -> Result<Matrix<M::Buffer>, DeviceFault> {
        let mut stack = self.stack(&[name.to_owned()])?;
        // One tensor makes one matrix.
        Ok(stack.swap_remove(0).1)
    }

    fn stack(&mut self, names: &[String]) -> Result<Stack<M::Buffer>, DeviceFault> {
        // The model has checked that they are there.
        let tensors: Vec<Tensor> = names.iter().filter_map(|name| self.tensors.remove(name)).collect();
        let rows = |tensor: &Tensor| tensor.shape.get(1).map_or(1, |&rows| rows as usize);
        let kind = |tensor: Option<&Tensor>| tensor.map_or(TensorType::F32, |tensor| tensor.kind);
        let mut made = Vec::new();
        let mut first = 0;
        for group in tensors.chunk_by(|a, b| a.kind == b.kind) {
            let columns = group.first().and_then(|tensor| tensor.shape.first()).map_or(1, |&columns| columns as usize);
            let sources: Vec<Source<'_>> =
                group.iter().map(|tensor| Source { rows: rows(tensor), bytes: &tensor.bytes }).collect();
            made.push((first, Matrix::upload(self.memory, kind(group.first()), columns, &sources, PAIRS, self.limit)?));
            first += group.iter().map(|tensor| rows(tensor) as u32).sum::<u32>();
        }
        Ok(made)
    }

    fn vector(&mut self, name: &str) -> Result<M::Buffer, DeviceFault> {
        self.vectors(&[name.to_owned()])
    }

    /// Vectors one after another.
    fn vectors(&mut self, names: &[String]) -> Result<M::Buffer, DeviceFault> {
        let bytes: Vec<u8> =
            names.iter().filter_map(|name| self.tensors.remove(name)).flat_map(|tensor| tensor.bytes).collect();
        let buffer = self.memory.allocate("weights", bytes.len() as u64)?;
        self.memory.write(&buffer, 0, &bytes)?;
        Ok(buffer)
    }
}

/// Computed here once, by the same function as on the CPU: drivers' own sines differ in the last bits, and grow wrong with the
/// angle.
pub(crate) fn turn_table<M: Memory>(memory: &M, rope: &Rope, context: usize) -> Result<M::Buffer, DeviceFault> {
    let mut bytes = Vec::new();
    let mut of_position = Vec::new();
    for position in 0..context as u32 {
        rope.turns(position, &mut of_position);
        for (cosine, sine) in &of_position {
            bytes.extend(cosine.to_le_bytes());
            bytes.extend(sine.to_le_bytes());
        }
    }
    let buffer = memory.allocate("angles of positions", bytes.len() as u64)?;
    memory.write(&buffer, 0, &bytes)?;
    Ok(buffer)
}
