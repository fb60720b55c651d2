//! A model read from a GGUF file: parameters, vocabulary, template and weights, each checked against the others.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use crate::gguf::{self, File, Limits, Tensor, TensorType, Value};
use crate::template::{ChatTemplate, TemplateError};
use crate::tokenizer::{Tokenizer, TokenizerError};

/// Why a file is not a model that can run here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The file is not acceptable GGUF.
    #[error(transparent)]
    File(#[from] gguf::Error),
    /// The vocabulary cannot be used.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The chat template cannot be used.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Another architecture.
    #[error("architecture {name:?} is not supported, only llama is")]
    Architecture {
        /// `general.architecture`.
        name: String,
    },
    /// A parameter that the architecture needs is not there or is of the wrong type.
    #[error("the model lacks {key}")]
    MissingParameter {
        /// The key.
        key: String,
    },
    /// A parameter out of range, or one that contradicts another.
    #[error("{key} is {value}, which is not supported")]
    Parameter {
        /// The key.
        key: String,
        /// What the file says.
        value: String,
    },
    /// A weight tensor is not in the file.
    #[error("the model lacks the tensor {name}")]
    MissingTensor {
        /// Its name.
        name: String,
    },
    /// A tensor that the supported architecture does not use: computing without it would give wrong answers.
    #[error("the model has a tensor {name:?}, whose use is not supported")]
    UnexpectedTensor {
        /// Its name.
        name: String,
    },
    /// A tensor's shape or type does not fit the parameters.
    #[error("the tensor {name} is {found}, expected {expected}")]
    TensorShape {
        /// Its name.
        name: String,
        /// What the file has.
        found: String,
        /// What the parameters ask for.
        expected: String,
    },
}

/// The numbers that describe the architecture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameters {
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
    /// Values of the feed-forward layer.
    pub feed_forward: usize,
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
    /// Tokens the model was trained to attend to.
    pub context: usize,
    /// Values of each head that are rotated by position.
    pub rope_size: usize,
    /// Base of the rotation's frequencies.
    pub rope_base: f32,
    /// Added to the mean square before its root is taken.
    pub norm_epsilon: f32,
}

/// A model: its parameters, vocabulary, template and weights.
pub struct Model {
    sha256: [u8; 32],
    name: Option<String>,
    quantisation: TensorType,
    parameters: Parameters,
    tokenizer: Arc<Tokenizer>,
    template: Option<Arc<ChatTemplate>>,
    tensors: BTreeMap<String, Tensor>,
}

impl Model {
    /// Reads a GGUF file from front to back, hashing every byte of it. The reader need not be seekable.
    pub fn read(reader: &mut dyn Read, limits: Limits) -> Result<Self, ModelError> {
        let file = File::read(reader, &limits)?;
        match file.get("general.architecture").and_then(Value::text) {
            Some("llama") => {}
            name => return Err(ModelError::Architecture { name: name.unwrap_or_default().to_owned() }),
        }
        let tokenizer = Tokenizer::from_file(&file)?;
        let parameters = parameters(&file, tokenizer.vocabulary_size() as usize)?;
        let template = match file.get("tokenizer.chat_template").and_then(Value::text) {
            Some(source) => Some(Arc::new(ChatTemplate::new(source, tokenizer.bos_text(), tokenizer.eos_text())?)),
            None => None,
        };
        let name = file.get("general.name").and_then(Value::text).map(str::to_owned);
        let sha256 = file.sha256;
        let tensors: BTreeMap<String, Tensor> =
            file.tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
        check_tensors(&tensors, &parameters)?;
        Ok(Self {
            sha256,
            name,
            quantisation: most_common_type(&tensors),
            parameters,
            tokenizer: Arc::new(tokenizer),
            template,
            tensors,
        })
    }

    /// SHA-256 of the whole file.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// The file's `general.name`.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The file's `general.architecture`.
    pub fn architecture(&self) -> &'static str {
        "llama"
    }

    /// Tokens that the model was trained to attend to.
    pub fn context_length(&self) -> u32 {
        self.parameters.context as u32
    }

    /// The tensor type that holds most of the weights, not counting the embedding, in GGUF's words, as in `Q4_1`.
    pub fn quantisation(&self) -> &'static str {
        self.quantisation.name()
    }

    /// The numbers that describe the architecture.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> Arc<Tokenizer> {
        Arc::clone(&self.tokenizer)
    }

    /// The model's own chat template, if the file has one.
    pub fn chat_template(&self) -> Option<Arc<ChatTemplate>> {
        self.template.clone()
    }

    /// The weights.
    #[cfg(feature = "wgpu")]
    pub(crate) fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.tensors.values()
    }

    /// Hands the weights over, for a backend to arrange them as it likes. Every tensor that the architecture has is there and
    /// has the right shape; `output.weight` is missing where the embedding serves as output too.
    pub(crate) fn into_tensors(self) -> BTreeMap<String, Tensor> {
        self.tensors
    }
}

const MAX_LAYERS: u64 = 1024;
const MAX_HEADS: u64 = 1024;
const MAX_WIDTH: u64 = 1 << 17;
const MAX_CONTEXT: u64 = 1 << 24;

fn parameters(file: &File, vocabulary: usize) -> Result<Parameters, ModelError> {
    let optional = |key: &str, most: u64| -> Result<Option<usize>, ModelError> {
        let key = format!("llama.{key}");
        match file.get(&key).map(|value| (value, value.unsigned())) {
            None => Ok(None),
            Some((_, Some(number))) if (1..=most).contains(&number) => Ok(Some(number as usize)),
            Some((_, Some(number))) => Err(ModelError::Parameter { key, value: number.to_string() }),
            Some((_, None)) => Err(ModelError::MissingParameter { key }),
        }
    };
    let number = |key: &str, most: u64| {
        optional(key, most)?.ok_or_else(|| ModelError::MissingParameter { key: format!("llama.{key}") })
    };
    let wrong = |key: &str, value: String| Err(ModelError::Parameter { key: format!("llama.{key}"), value });

    let width = number("embedding_length", MAX_WIDTH)?;
    let heads = number("attention.head_count", MAX_HEADS)?;
    let kv_heads = optional("attention.head_count_kv", MAX_HEADS)?.unwrap_or(heads);
    if !heads.is_multiple_of(kv_heads) {
        return wrong("attention.head_count_kv", kv_heads.to_string());
    }
    let head_size = match optional("attention.key_length", MAX_WIDTH)? {
        Some(size) => size,
        None if width.is_multiple_of(heads) => width / heads,
        None => return wrong("attention.head_count", heads.to_string()),
    };
    if let Some(size) = optional("attention.value_length", MAX_WIDTH)?.filter(|&size| size != head_size) {
        return wrong("attention.value_length", size.to_string());
    }
    let rope_size = optional("rope.dimension_count", MAX_WIDTH)?.unwrap_or(head_size);
    if rope_size > head_size || !rope_size.is_multiple_of(2) {
        return wrong("rope.dimension_count", rope_size.to_string());
    }
    if let Some(size) = optional("vocab_size", u64::MAX)?.filter(|&size| size != vocabulary) {
        return wrong("vocab_size", size.to_string());
    }
    if let Some(experts) = file.get("llama.expert_count").and_then(Value::unsigned).filter(|&count| count > 0) {
        return wrong("expert_count", experts.to_string());
    }
    if let Some(scaling) = file.get("llama.rope.scaling.type").and_then(Value::text).filter(|&kind| kind != "none") {
        return wrong("rope.scaling.type", scaling.to_owned());
    }
    let float = |key: &str| file.get(&format!("llama.{key}")).map(|value| value.float().unwrap_or(f32::NAN));
    let rope_base = float("rope.freq_base").unwrap_or(10_000.0);
    if !(rope_base.is_finite() && rope_base > 0.0) {
        return wrong("rope.freq_base", rope_base.to_string());
    }
    let norm_epsilon = float("attention.layer_norm_rms_epsilon")
        .ok_or_else(|| ModelError::MissingParameter { key: "llama.attention.layer_norm_rms_epsilon".to_owned() })?;
    if !(norm_epsilon.is_finite() && norm_epsilon > 0.0) {
        return wrong("attention.layer_norm_rms_epsilon", norm_epsilon.to_string());
    }
    Ok(Parameters {
        layers: number("block_count", MAX_LAYERS)?,
        width,
        heads,
        kv_heads,
        head_size,
        feed_forward: number("feed_forward_length", MAX_WIDTH * 8)?,
        vocabulary,
        context: number("context_length", MAX_CONTEXT)?,
        rope_size,
        rope_base,
        norm_epsilon,
    })
}

/// Names and shapes (fastest dimension first) of a layer's tensors.
pub(crate) fn layer_tensors(layer: usize, p: &Parameters) -> [(String, Vec<usize>); 9] {
    let (query, kv) = (p.heads * p.head_size, p.kv_heads * p.head_size);
    let name = |part: &str| format!("blk.{layer}.{part}.weight");
    [
        (name("attn_norm"), vec![p.width]),
        (name("attn_q"), vec![p.width, query]),
        (name("attn_k"), vec![p.width, kv]),
        (name("attn_v"), vec![p.width, kv]),
        (name("attn_output"), vec![query, p.width]),
        (name("ffn_norm"), vec![p.width]),
        (name("ffn_gate"), vec![p.width, p.feed_forward]),
        (name("ffn_up"), vec![p.width, p.feed_forward]),
        (name("ffn_down"), vec![p.feed_forward, p.width]),
    ]
}

fn check_tensors(tensors: &BTreeMap<String, Tensor>, p: &Parameters) -> Result<(), ModelError> {
    let mut expected = BTreeMap::from([
        ("token_embd.weight".to_owned(), vec![p.width, p.vocabulary]),
        ("output_norm.weight".to_owned(), vec![p.width]),
    ]);
    if tensors.contains_key("output.weight") {
        expected.insert("output.weight".to_owned(), vec![p.width, p.vocabulary]);
    }
    // A file that claims a thousand layers and has none is refused at the first, before a list of all is made.
    for layer in 0..p.layers {
        for (name, shape) in layer_tensors(layer, p) {
            if !tensors.contains_key(&name) {
                return Err(ModelError::MissingTensor { name });
            }
            expected.insert(name, shape);
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

fn most_common_type(tensors: &BTreeMap<String, Tensor>) -> TensorType {
    let bytes = |kind| {
        let layers = tensors.values().filter(|tensor| tensor.kind == kind && tensor.name.starts_with("blk."));
        layers.map(|tensor| tensor.bytes.len()).sum::<usize>()
    };
    TensorType::ALL.into_iter().max_by_key(|&kind| bytes(kind)).unwrap_or(TensorType::F32)
}
