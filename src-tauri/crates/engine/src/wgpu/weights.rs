//! A model's weights on a card.

use std::collections::BTreeMap;

use crate::fault::DeviceFault;
use crate::gguf::{Tensor, TensorType};
use crate::model::{Model, Parameters, Part, Rope};

use super::gpu::Gpu;
use super::kernels::Form;
use super::matrix::{Matrix, PAIRS, Source};

pub(super) struct Layer {
    pub(super) attention_norm: wgpu::Buffer,
    /// On top of each other where they are of one type, otherwise apart; each with the number of its first row.
    pub(super) query_key_value: Vec<(u32, Matrix)>,
    /// Added to queries, keys and values, one after another.
    pub(super) offsets: Option<wgpu::Buffer>,
    /// Norms of queries and of keys, one after another.
    pub(super) head_norms: Option<wgpu::Buffer>,
    pub(super) attention_output: Matrix,
    pub(super) attention_norm_behind: Option<wgpu::Buffer>,
    pub(super) feed_forward_norm: wgpu::Buffer,
    pub(super) feed_forward: FeedForward,
    pub(super) feed_forward_norm_behind: Option<wgpu::Buffer>,
}

pub(super) enum FeedForward {
    /// Gate and up are on top of each other where they are of one type, as above.
    Dense { gate_up: Vec<(u32, Matrix)>, down: Matrix },
    /// Of each the matrices of all experts on top of each other.
    Experts { router: Matrix, gates: Matrix, ups: Matrix, downs: Matrix },
}

pub(super) struct Weights {
    pub(super) embedding: Matrix,
    pub(super) layers: Vec<Layer>,
    pub(super) output_norm: wgpu::Buffer,
    /// `None` where the embedding serves as output too.
    pub(super) output: Option<Matrix>,
    /// Cosine and sine of every position and pair.
    pub(super) turns: wgpu::Buffer,
    /// The same in layers with a window, if there are any.
    pub(super) turns_in_window: Option<wgpu::Buffer>,
}

impl Weights {
    /// Bytes that a model's weights will have on a card.
    pub(super) fn bytes(model: &Model) -> u64 {
        let of = |tensor: &Tensor| {
            let size = |at: usize| tensor.shape.get(at).map_or(1, |&size| size as usize);
            Matrix::bytes(tensor.kind, size(0), size(1) * size(2))
        };
        model.tensors().map(of).sum()
    }

    /// Brings a model's weights to a card; no buffer has more than `limit` bytes. Each tensor leaves main memory as soon as it is
    /// there.
    pub(super) fn upload(gpu: &Gpu, model: Model, context: usize, limit: u64) -> Result<Self, DeviceFault> {
        let p = *model.parameters();
        let ropes = model.ropes().clone();
        let mut loader = Loader { gpu, tensors: model.into_tensors(), limit };
        let layers = (0..p.layers).map(|layer| loader.layer(layer, &p)).collect::<Result<_, _>>()?;
        let output = loader.tensors.contains_key("output.weight");
        Ok(Self {
            layers,
            embedding: loader.matrix("token_embd.weight")?,
            output_norm: loader.vector("output_norm.weight")?,
            output: if output { Some(loader.matrix("output.weight")?) } else { None },
            turns: turn_table(gpu, &ropes.all, context)?,
            turns_in_window: ropes.window.map(|rope| turn_table(gpu, &rope, context)).transpose()?,
        })
    }

    /// Forms of activations that its matrices are multiplied with.
    pub(super) fn forms(&self) -> impl Iterator<Item = Form> {
        let of_layer = |layer: &'_ Layer| {
            let mut all: Vec<&Matrix> = layer.query_key_value.iter().map(|(_, matrix)| matrix).collect();
            all.push(&layer.attention_output);
            match &layer.feed_forward {
                FeedForward::Dense { gate_up, down } => {
                    all.extend(gate_up.iter().map(|(_, matrix)| matrix).chain([down]));
                }
                FeedForward::Experts { router, gates, ups, downs } => all.extend([router, gates, ups, downs]),
            }
            all.into_iter().map(|matrix| matrix.packing).collect::<Vec<_>>()
        };
        let output = self.output.as_ref().unwrap_or(&self.embedding).packing;
        self.layers.iter().flat_map(of_layer).chain([output]).map(Form::of)
    }
}

struct Loader<'a> {
    gpu: &'a Gpu,
    tensors: BTreeMap<String, Tensor>,
    limit: u64,
}

impl Loader<'_> {
    fn layer(&mut self, layer: usize, p: &Parameters) -> Result<Layer, DeviceFault> {
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
                None => FeedForward::Dense {
                    gate_up: self.stack(&[Part::Gate, Part::Up].map(name))?,
                    down: self.matrix(&name(Part::Down))?,
                },
                Some(_) => FeedForward::Experts {
                    router: self.matrix(&name(Part::Router))?,
                    gates: self.experts(&name(Part::Gates))?,
                    ups: self.experts(&name(Part::Ups))?,
                    downs: self.experts(&name(Part::Downs))?,
                },
            },
            feed_forward_norm_behind: behind.then(|| self.vector(&name(Part::FeedForwardNormBehind))).transpose()?,
        })
    }

    /// All experts' rows on top of each other, in pieces of whole experts.
    fn experts(&mut self, name: &str) -> Result<Matrix, DeviceFault> {
        let tensor = self.tensors.remove(name);
        let size = |at: usize| tensor.as_ref().and_then(|tensor| tensor.shape.get(at)).map_or(1, |&size| size as usize);
        let (kind, bytes) = tensor.as_ref().map_or((TensorType::F32, &[][..]), |tensor| (tensor.kind, &tensor.bytes));
        let source = Source { rows: size(1) * size(2), bytes };
        Matrix::upload(self.gpu, kind, size(0), &[source], size(1), self.limit)
    }

    fn matrix(&mut self, name: &str) -> Result<Matrix, DeviceFault> {
        let mut stack = self.stack(&[name.to_owned()])?;
        // One tensor makes one matrix.
        Ok(stack.swap_remove(0).1)
    }

    fn stack(&mut self, names: &[String]) -> Result<Vec<(u32, Matrix)>, DeviceFault> {
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
            made.push((first, Matrix::upload(self.gpu, kind(group.first()), columns, &sources, PAIRS, self.limit)?));
            first += group.iter().map(|tensor| rows(tensor) as u32).sum::<u32>();
        }
        Ok(made)
    }

    fn vector(&mut self, name: &str) -> Result<wgpu::Buffer, DeviceFault> {
        self.vectors(&[name.to_owned()])
    }

    /// Vectors one after another.
    fn vectors(&mut self, names: &[String]) -> Result<wgpu::Buffer, DeviceFault> {
        let bytes: Vec<u8> =
            names.iter().filter_map(|name| self.tensors.remove(name)).flat_map(|tensor| tensor.bytes).collect();
        let buffer = self.gpu.storage("weights", bytes.len() as u64)?;
        self.gpu.queue.write_buffer(&buffer, 0, &bytes);
        Ok(buffer)
    }
}

/// Computed here once, by the same function as on the CPU: drivers' own sines differ in the last bits, and grow wrong with the
/// angle.
pub(super) fn turn_table(gpu: &Gpu, rope: &Rope, context: usize) -> Result<wgpu::Buffer, DeviceFault> {
    let mut bytes = Vec::new();
    let mut of_position = Vec::new();
    for position in 0..context as u32 {
        rope.turns(position, &mut of_position);
        for (cosine, sine) in &of_position {
            bytes.extend(cosine.to_le_bytes());
            bytes.extend(sine.to_le_bytes());
        }
    }
    let buffer = gpu.storage("angles of positions", bytes.len() as u64)?;
    gpu.queue.write_buffer(&buffer, 0, &bytes);
    gpu.check()?;
    Ok(buffer)
}
