//! The numbers that describe a model, out of the pairs of its file (the keys: ggml's `gguf-py/gguf/constants.py`).

use crate::gguf::{File, Value};

use super::ModelError;

/// The families of models that can be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Llama and whatever is laid out like it.
    Llama,
    /// Llama with offsets added to queries, keys and values.
    Qwen2,
    /// Heads of a size of their own, whose queries and keys are normed.
    Qwen3,
    /// The same with a mixture of experts for a feed-forward layer.
    Qwen3Moe,
    /// Norms behind each part too, windows of attention, a gate of its own.
    Gemma3,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Llama, Self::Qwen2, Self::Qwen3, Self::Qwen3Moe, Self::Gemma3];

    /// Its name in `general.architecture`, and before its own keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Qwen3Moe => "qwen3moe",
            Self::Gemma3 => "gemma3",
        }
    }

    /// Whether offsets are added to queries, keys and values.
    pub(crate) fn has_offsets(self) -> bool {
        self == Self::Qwen2
    }

    /// Whether each head's queries and keys are normed.
    pub(crate) fn norms_heads(self) -> bool {
        matches!(self, Self::Qwen3 | Self::Qwen3Moe | Self::Gemma3)
    }

    /// Whether what attention and feed-forward layers give is normed before it is added.
    pub(crate) fn norms_behind(self) -> bool {
        self == Self::Gemma3
    }

    /// Whether a head's value is rotated with the one half a head behind it, and not with its neighbour.
    pub(super) fn rotates_halves(self) -> bool {
        self != Self::Llama
    }
}

/// What the gate of a feed-forward layer goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x / (1 + e^-x)`.
    Silu,
    /// `x * Φ(x)`, in its usual form with a hyperbolic tangent.
    Gelu,
}

/// Layers that attend to the last tokens only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// How many tokens, the newest included.
    pub tokens: usize,
    /// Every so manyth layer attends to all.
    pub every: usize,
    /// Base of the rotation's frequencies in the layers with a window.
    pub rope_base: f32,
}

/// A feed-forward layer of many experts, few of which each token asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Experts {
    /// How many there are.
    pub count: usize,
    /// How many a token asks.
    pub used: usize,
    /// Values of one expert's inner layer.
    pub feed_forward: usize,
}

/// The numbers that describe the architecture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameters {
    /// The family.
    pub architecture: Architecture,
    /// Transformer layers.
    pub layers: usize,
    /// Values of one token's state.
    pub width: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; each serves `heads / kv_heads` query heads.
    pub kv_heads: usize,
    /// Values of one head.
    pub head_size: usize,
    /// Values of the feed-forward layer; of one expert, where there are several.
    pub feed_forward: usize,
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
    /// Tokens the model was trained to attend to.
    pub context: usize,
    /// Values of each head that are rotated by position.
    pub rope_size: usize,
    /// Base of the rotation's frequencies.
    pub rope_base: f32,
    /// What positions are divided by before they become angles.
    pub rope_divisor: f32,
    /// Added to the mean square before its root is taken.
    pub norm_epsilon: f32,
    /// What embeddings are multiplied with.
    pub embedding_scale: f32,
    /// What products of queries and keys are multiplied with.
    pub attention_scale: f32,
    /// What the gate goes through.
    pub activation: Activation,
    /// Which layers have a window, if any.
    pub window: Option<Window>,
    /// Experts, if the feed-forward layers have any.
    pub experts: Option<Experts>,
    /// Logits come nowhere near more than this: `cap * tanh(x / cap)`.
    pub logit_cap: Option<f32>,
    /// The same for products of queries and keys.
    pub attention_cap: Option<f32>,
}

impl Parameters {
    /// How many tokens a layer attends to, the newest included; `None`: all.
    pub(crate) fn window_of(&self, layer: usize) -> Option<usize> {
        let window = self.window?;
        (!(layer + 1).is_multiple_of(window.every)).then_some(window.tokens)
    }
}

const MAX_LAYERS: u64 = 1024;
const MAX_HEADS: u64 = 1024;
const MAX_WIDTH: u64 = 1 << 17;
const MAX_CONTEXT: u64 = 1 << 24;
const MAX_EXPERTS: u64 = 1024;

/// Layers of Gemma 3 from one that attends to all tokens to the next, and the base of its other layers' rotation, for files that do
/// not say.
const GEMMA3_EVERY: usize = 6;
const GEMMA3_WINDOW_BASE: f32 = 10_000.0;
/// Layers of the model of 27 billion.
const GEMMA3_LARGEST: usize = 62;

/// A file's pairs that begin with the name of its architecture.
struct Pairs<'a> {
    file: &'a File,
    architecture: Architecture,
}

impl Pairs<'_> {
    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture.name())
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.file.get(&self.key(key))
    }

    fn optional(&self, key: &str, most: u64) -> Result<Option<usize>, ModelError> {
        match self.value(key).map(Value::unsigned) {
            None => Ok(None),
            Some(Some(number)) if (1..=most).contains(&number) => Ok(Some(number as usize)),
            Some(Some(number)) => self.wrong(key, number.to_string()),
            Some(None) => Err(ModelError::MissingParameter { key: self.key(key) }),
        }
    }

    fn number(&self, key: &str, most: u64) -> Result<usize, ModelError> {
        self.optional(key, most)?.ok_or_else(|| ModelError::MissingParameter { key: self.key(key) })
    }

    /// A float above zero.
    fn float(&self, key: &str) -> Result<Option<f32>, ModelError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let number = value.float().unwrap_or(f32::NAN);
        if number.is_finite() && number > 0.0 { Ok(Some(number)) } else { self.wrong(key, number.to_string()) }
    }

    /// The same, for keys in which 0 means none.
    fn cap(&self, key: &str) -> Result<Option<f32>, ModelError> {
        match self.value(key).and_then(Value::float) {
            Some(0.0) => Ok(None),
            _ => self.float(key),
        }
    }

    fn wrong<T>(&self, key: &str, value: String) -> Result<T, ModelError> {
        Err(ModelError::Parameter { key: self.key(key), value })
    }
}

pub(super) fn read(file: &File, architecture: Architecture, vocabulary: usize) -> Result<Parameters, ModelError> {
    let pairs = Pairs { file, architecture };
    let width = pairs.number("embedding_length", MAX_WIDTH)?;
    let heads = pairs.number("attention.head_count", MAX_HEADS)?;
    let kv_heads = pairs.optional("attention.head_count_kv", MAX_HEADS)?.unwrap_or(heads);
    if !heads.is_multiple_of(kv_heads) {
        return pairs.wrong("attention.head_count_kv", kv_heads.to_string());
    }
    let head_size = match pairs.optional("attention.key_length", MAX_WIDTH)? {
        Some(size) => size,
        None if width.is_multiple_of(heads) => width / heads,
        None => return pairs.wrong("attention.head_count", heads.to_string()),
    };
    if let Some(size) = pairs.optional("attention.value_length", MAX_WIDTH)?.filter(|&size| size != head_size) {
        return pairs.wrong("attention.value_length", size.to_string());
    }
    let rope_size = pairs.optional("rope.dimension_count", MAX_WIDTH)?.unwrap_or(head_size);
    if rope_size > head_size || !rope_size.is_multiple_of(2) {
        return pairs.wrong("rope.dimension_count", rope_size.to_string());
    }
    if let Some(size) = pairs.optional("vocab_size", u64::MAX)?.filter(|&size| size != vocabulary) {
        return pairs.wrong("vocab_size", size.to_string());
    }
    let rope_divisor = match pairs.value("rope.scaling.type").and_then(Value::text) {
        None | Some("none") => 1.0,
        Some("linear") => pairs.float("rope.scaling.factor")?.unwrap_or(1.0),
        Some(scaling) => return pairs.wrong("rope.scaling.type", scaling.to_owned()),
    };
    let feed_forward = match architecture {
        Architecture::Qwen3Moe => pairs.number("expert_feed_forward_length", MAX_WIDTH * 8)?,
        _ => pairs.number("feed_forward_length", MAX_WIDTH * 8)?,
    };
    let layers = pairs.number("block_count", MAX_LAYERS)?;
    let gemma = architecture == Architecture::Gemma3;
    Ok(Parameters {
        architecture,
        layers,
        width,
        heads,
        kv_heads,
        head_size,
        feed_forward,
        vocabulary,
        context: pairs.number("context_length", MAX_CONTEXT)?,
        rope_size,
        rope_base: pairs.float("rope.freq_base")?.unwrap_or(10_000.0),
        rope_divisor,
        norm_epsilon: pairs
            .float("attention.layer_norm_rms_epsilon")?
            .ok_or_else(|| ModelError::MissingParameter { key: pairs.key("attention.layer_norm_rms_epsilon") })?,
        embedding_scale: if gemma { (width as f32).sqrt() } else { 1.0 },
        attention_scale: pairs.float("attention.scale")?.unwrap_or_else(|| {
            // The largest Gemma 3 is scaled by what its width would make of a head, and its files do not say so.
            let size = if gemma && layers == GEMMA3_LARGEST { width / heads } else { head_size };
            1.0 / (size as f32).sqrt()
        }),
        activation: if gemma { Activation::Gelu } else { Activation::Silu },
        window: if gemma { window(&pairs)? } else { None },
        experts: experts(&pairs, feed_forward)?,
        logit_cap: if gemma { pairs.cap("final_logit_softcapping")? } else { None },
        attention_cap: if gemma { pairs.cap("attn_logit_softcapping")? } else { None },
    })
}

fn window(pairs: &Pairs<'_>) -> Result<Option<Window>, ModelError> {
    let Some(tokens) = pairs.optional("attention.sliding_window", MAX_CONTEXT)? else { return Ok(None) };
    let every = pairs.optional("attention.sliding_window_pattern", MAX_LAYERS)?.unwrap_or(GEMMA3_EVERY);
    let rope_base = pairs.float("rope.freq_base_swa")?.unwrap_or(GEMMA3_WINDOW_BASE);
    Ok(Some(Window { tokens, every, rope_base }))
}

fn experts(pairs: &Pairs<'_>, feed_forward: usize) -> Result<Option<Experts>, ModelError> {
    if pairs.architecture != Architecture::Qwen3Moe {
        return match pairs.value("expert_count").and_then(Value::unsigned) {
            None | Some(0) => Ok(None),
            Some(count) => pairs.wrong("expert_count", count.to_string()),
        };
    }
    let count = pairs.number("expert_count", MAX_EXPERTS)?;
    let used = pairs.number("expert_used_count", MAX_EXPERTS)?;
    if used > count {
        return pairs.wrong("expert_used_count", used.to_string());
    }
    Ok(Some(Experts { count, used, feed_forward }))
}
