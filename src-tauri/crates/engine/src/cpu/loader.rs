//! A model's tensors, arranged for the processor.

use std::collections::BTreeMap;

use crate::gguf::{Tensor, TensorType};
use crate::model::{Parameters, Part};

use super::matrix::Matrix;
use super::{FeedForward, Gated, Layer};

/// Tensors that are still to be arranged. The model has checked that all are there; an empty matrix is never multiplied.
pub(super) struct Loader(pub(super) BTreeMap<String, Tensor>);

impl Loader {
    pub(super) fn layer(&mut self, layer: usize, p: &Parameters) -> Layer {
        let offsets = p.architecture.has_offsets();
        let norms_heads = p.architecture.norms_heads();
        let behind = p.architecture.norms_behind();
        Layer {
            attention_norm: self.vector(&Part::AttentionNorm.of(layer)),
            query: self.matrix(&Part::Query.of(layer)),
            key: self.matrix(&Part::Key.of(layer)),
            value: self.matrix(&Part::Value.of(layer)),
            offsets: offsets.then(|| {
                [Part::QueryOffset, Part::KeyOffset, Part::ValueOffset].map(|part| self.vector(&part.of(layer)))
            }),
            head_norms: norms_heads.then(|| [Part::QueryNorm, Part::KeyNorm].map(|part| self.vector(&part.of(layer)))),
            attention_output: self.matrix(&Part::AttentionOutput.of(layer)),
            attention_norm_behind: behind.then(|| self.vector(&Part::AttentionNormBehind.of(layer))),
            feed_forward_norm: self.vector(&Part::FeedForwardNorm.of(layer)),
            feed_forward: if p.experts.is_some() {
                FeedForward::Experts { router: self.matrix(&Part::Router.of(layer)), experts: self.experts(layer) }
            } else {
                FeedForward::Dense(Box::new(Gated {
                    gate: self.matrix(&Part::Gate.of(layer)),
                    up: self.matrix(&Part::Up.of(layer)),
                    down: self.matrix(&Part::Down.of(layer)),
                }))
            },
            feed_forward_norm_behind: behind.then(|| self.vector(&Part::FeedForwardNormBehind.of(layer))),
        }
    }

    fn experts(&mut self, layer: usize) -> Vec<Gated> {
        let [gates, ups, downs] = [Part::Gates, Part::Ups, Part::Downs].map(|part| self.matrices(&part.of(layer)));
        let parts = gates.into_iter().zip(ups).zip(downs);
        parts.map(|((gate, up), down)| Gated { gate, up, down }).collect()
    }

    pub(super) fn matrix(&mut self, name: &str) -> Matrix {
        self.matrices(name).pop().unwrap_or_else(|| Matrix::new(TensorType::F32, 0, 0, &[]))
    }

    /// A tensor of two dimensions is one matrix, one of three as many as the third says.
    fn matrices(&mut self, name: &str) -> Vec<Matrix> {
        let Some(tensor) = self.0.remove(name) else { return Vec::new() };
        let size = |at: usize| tensor.shape.get(at).map_or(1, |&size| size as usize);
        let of_one = tensor.bytes.len() / size(2);
        tensor.bytes.chunks_exact(of_one).map(|bytes| Matrix::new(tensor.kind, size(1), size(0), bytes)).collect()
    }

    pub(super) fn vector(&mut self, name: &str) -> Vec<f32> {
        let bytes = self.0.remove(name).map(|tensor| tensor.bytes).unwrap_or_default();
        bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect()
    }
}
