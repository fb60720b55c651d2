//! Which tensors a model has, under which names and in which shapes, and how they are handed to a backend.

use std::collections::BTreeMap;

use crate::gguf::{Tensor, TensorType};

use super::{Architecture, ModelError, Parameters};

/// A tensor of one layer, by its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    AttentionNorm,
    Query,
    Key,
    Value,
    QueryOffset,
    KeyOffset,
    ValueOffset,
    QueryNorm,
    KeyNorm,
    AttentionOutput,
    /// Norms what attention gives, before it is added to the state.
    AttentionNormBehind,
    FeedForwardNorm,
    Gate,
    Up,
    Down,
    /// Says which experts a token asks.
    Router,
    /// The gates of all experts, one after another; so are the two below.
    Gates,
    Ups,
    Downs,
    FeedForwardNormBehind,
}

impl Part {
    fn suffix(self) -> &'static str {
        match self {
            Self::AttentionNorm => "attn_norm.weight",
            Self::Query => "attn_q.weight",
            Self::Key => "attn_k.weight",
            Self::Value => "attn_v.weight",
            Self::QueryOffset => "attn_q.bias",
            Self::KeyOffset => "attn_k.bias",
            Self::ValueOffset => "attn_v.bias",
            Self::QueryNorm => "attn_q_norm.weight",
            Self::KeyNorm => "attn_k_norm.weight",
            Self::AttentionOutput => "attn_output.weight",
            Self::AttentionNormBehind => "post_attention_norm.weight",
            Self::FeedForwardNorm => "ffn_norm.weight",
            Self::Gate => "ffn_gate.weight",
            Self::Up => "ffn_up.weight",
            Self::Down => "ffn_down.weight",
            Self::Router => "ffn_gate_inp.weight",
            Self::Gates => "ffn_gate_exps.weight",
            Self::Ups => "ffn_up_exps.weight",
            Self::Downs => "ffn_down_exps.weight",
            Self::FeedForwardNormBehind => "post_ffw_norm.weight",
        }
    }

    /// The tensor's name in a layer.
    pub(crate) fn of(self, layer: usize) -> String {
        format!("blk.{layer}.{}", self.suffix())
    }

    /// Whether its rows, or values, belong to heads that are rotated by position.
    fn is_rotated(self) -> bool {
        matches!(self, Self::Query | Self::Key | Self::QueryOffset | Self::KeyOffset | Self::QueryNorm | Self::KeyNorm)
    }
}

/// Parts of every layer with their shapes, the fastest dimension first.
pub(crate) fn layer_parts(p: &Parameters) -> Vec<(Part, Vec<usize>)> {
    let (query, kv) = (p.heads * p.head_size, p.kv_heads * p.head_size);
    let mut parts = vec![
        (Part::AttentionNorm, vec![p.width]),
        (Part::Query, vec![p.width, query]),
        (Part::Key, vec![p.width, kv]),
        (Part::Value, vec![p.width, kv]),
        (Part::AttentionOutput, vec![query, p.width]),
        (Part::FeedForwardNorm, vec![p.width]),
    ];
    if p.architecture.has_offsets() {
        let offsets = [(Part::QueryOffset, query), (Part::KeyOffset, kv), (Part::ValueOffset, kv)];
        parts.extend(offsets.map(|(part, count)| (part, vec![count])));
    }
    if p.architecture.norms_heads() {
        parts.extend([Part::QueryNorm, Part::KeyNorm].map(|part| (part, vec![p.head_size])));
    }
    if p.architecture.norms_behind() {
        parts.extend([Part::AttentionNormBehind, Part::FeedForwardNormBehind].map(|part| (part, vec![p.width])));
    }
    match p.experts {
        None => parts.extend([
            (Part::Gate, vec![p.width, p.feed_forward]),
            (Part::Up, vec![p.width, p.feed_forward]),
            (Part::Down, vec![p.feed_forward, p.width]),
        ]),
        Some(experts) => parts.extend([
            (Part::Router, vec![p.width, experts.count]),
            (Part::Gates, vec![p.width, p.feed_forward, experts.count]),
            (Part::Ups, vec![p.width, p.feed_forward, experts.count]),
            (Part::Downs, vec![p.feed_forward, p.width, experts.count]),
        ]),
    }
    parts
}

/// Divides the angles of a head's pairs, in Llama 3.1 and later.
pub(super) const ROPE_FACTORS: &str = "rope_freqs.weight";

pub(super) fn check(tensors: &BTreeMap<String, Tensor>, p: &Parameters) -> Result<(), ModelError> {
    let mut expected = BTreeMap::from([
        ("token_embd.weight".to_owned(), vec![p.width, p.vocabulary]),
        ("output_norm.weight".to_owned(), vec![p.width]),
    ]);
    if tensors.contains_key("output.weight") {
        expected.insert("output.weight".to_owned(), vec![p.width, p.vocabulary]);
    }
    if p.architecture == Architecture::Llama && tensors.contains_key(ROPE_FACTORS) {
        expected.insert(ROPE_FACTORS.to_owned(), vec![p.rope_size / 2]);
    }
    // A file that claims a thousand layers and has none is refused at the first, before a list of all is made.
    let parts = layer_parts(p);
    for layer in 0..p.layers {
        for (part, shape) in &parts {
            let name = part.of(layer);
            if !tensors.contains_key(&name) {
                return Err(ModelError::MissingTensor { name });
            }
            expected.insert(name, shape.clone());
        }
    }
    for (name, tensor) in tensors {
        let Some(shape) = expected.remove(name) else {
            return Err(ModelError::UnexpectedTensor { name: name.clone() });
        };
        let right = tensor.shape.iter().map(|&size| size as usize).eq(shape.iter().copied())
            && (shape.len() > 1 || tensor.kind == TensorType::F32);
        if !right {
            let kind = if shape.len() > 1 { "any" } else { "F32" };
            return Err(ModelError::TensorShape {
                name: name.clone(),
                found: format!("{} {:?}", tensor.kind.name(), tensor.shape),
                expected: format!("{kind} {shape:?}"),
            });
        }
    }
    match expected.into_keys().next() {
        Some(name) => Err(ModelError::MissingTensor { name }),
        None => Ok(()),
    }
}

/// Brings heads into the order in which neighbours are rotated, for architectures that rotate halves of a head: value `i` of the first
/// half, then value `i` of the second, and so on. Products of queries and keys do not depend on the order, and backends need not know
/// of two.
pub(super) fn pair_up(tensors: &mut BTreeMap<String, Tensor>, p: &Parameters) {
    if !p.architecture.rotates_halves() {
        return;
    }
    let order: Vec<usize> = paired(p.head_size, p.rope_size);
    for layer in 0..p.layers {
        for (part, shape) in layer_parts(p).into_iter().filter(|(part, _)| part.is_rotated()) {
            let Some(tensor) = tensors.get_mut(&part.of(layer)) else { continue };
            let rows = shape.last().copied().unwrap_or_default();
            let row = tensor.bytes.len() / rows.max(1);
            let mut bytes = Vec::with_capacity(tensor.bytes.len());
            for head in tensor.bytes.chunks_exact(row * p.head_size) {
                for &from in &order {
                    bytes.extend_from_slice(&head[from * row..][..row]);
                }
            }
            tensor.bytes = bytes;
        }
    }
}

/// From where each place of a head is filled.
fn paired(head_size: usize, rope_size: usize) -> Vec<usize> {
    let half = rope_size / 2;
    (0..half).flat_map(|at| [at, half + at]).chain(rope_size..head_size).collect()
}

/// The tensor type that holds most of the layers' bytes.
pub(super) fn most_common_type(tensors: &BTreeMap<String, Tensor>) -> TensorType {
    let bytes = |kind| {
        let layers = tensors.values().filter(|tensor| tensor.kind == kind && tensor.name.starts_with("blk."));
        layers.map(|tensor| tensor.bytes.len()).sum::<usize>()
    };
    TensorType::ALL.into_iter().max_by_key(|&kind| bytes(kind)).unwrap_or(TensorType::F32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_paired_and_what_is_not_rotated_stays() {
        assert_eq!(paired(8, 8), [0, 4, 1, 5, 2, 6, 3, 7]);
        assert_eq!(paired(6, 4), [0, 2, 1, 3, 4, 5]);
        assert_eq!(paired(2, 0), [0, 1]);
    }
}
