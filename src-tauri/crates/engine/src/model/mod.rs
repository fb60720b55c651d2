//! A model read from a GGUF file: parameters, vocabulary, template and weights, each checked against the others.

mod parameters;
mod rope;
mod tensors;

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use crate::cpu;
use crate::gguf::{self, File, Limits, Tensor, TensorType, Value};
use crate::scheduler::StartError;
use crate::template::{ChatTemplate, TemplateError};
use crate::tokenizer::{Tokenizer, TokenizerError};

pub use parameters::{Activation, Architecture, Experts, Parameters, Window};
pub(crate) use rope::{Rope, Ropes};
pub(crate) use tensors::Part;

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
    #[error("architecture {name:?} is not supported, only llama, qwen2, qwen3, qwen3moe and gemma3 are")]
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

/// A model: its parameters, vocabulary, template and weights.
pub struct Model {
    sha256: [u8; 32],
    name: Option<String>,
    quantisation: TensorType,
    parameters: Parameters,
    ropes: Ropes,
    tokenizer: Arc<Tokenizer>,
    template: Option<Arc<ChatTemplate>>,
    tensors: BTreeMap<String, Tensor>,
    memory: Option<u64>,
}

impl Model {
    /// Reads a GGUF file from front to back, hashing every byte of it. The reader need not be seekable.
    pub fn read(reader: &mut dyn Read, limits: Limits) -> Result<Self, ModelError> {
        let file = File::read(reader, &limits)?;
        let name = file.get("general.architecture").and_then(Value::text).unwrap_or_default();
        let Some(architecture) = Architecture::ALL.into_iter().find(|known| known.name() == name) else {
            return Err(ModelError::Architecture { name: name.to_owned() });
        };
        let tokenizer = Tokenizer::from_file(&file)?;
        let parameters = parameters::read(&file, architecture, tokenizer.vocabulary_size() as usize)?;
        let template = match file.get("tokenizer.chat_template").and_then(Value::text) {
            Some(source) => Some(Arc::new(ChatTemplate::new(source, tokenizer.bos_text(), tokenizer.eos_text())?)),
            None => None,
        };
        let name = file.get("general.name").and_then(Value::text).map(str::to_owned);
        let sha256 = file.sha256;
        let mut tensors: BTreeMap<String, Tensor> =
            file.tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
        tensors::check(&tensors, &parameters)?;
        tensors::pair_up(&mut tensors, &parameters);
        let factors = tensors.remove(tensors::ROPE_FACTORS).map(|tensor| tensor.bytes).unwrap_or_default();
        let factors: Vec<f32> = factors.as_chunks().0.iter().map(|&factor| f32::from_le_bytes(factor)).collect();
        if let Some(factor) = factors.iter().find(|factor| !(factor.is_finite() && **factor > 0.0)) {
            return Err(ModelError::Parameter { key: tensors::ROPE_FACTORS.to_owned(), value: factor.to_string() });
        }
        Ok(Self {
            sha256,
            name,
            quantisation: tensors::most_common_type(&tensors),
            ropes: Ropes::new(&parameters, factors),
            parameters,
            tokenizer: Arc::new(tokenizer),
            template,
            tensors,
            memory: limits.memory,
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
        self.parameters.architecture.name()
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

    /// Bytes of the file's weights that are read for one token: all but an embedding that is not the output too, and of experts those
    /// that are asked.
    pub fn bytes_for_a_token(&self) -> u64 {
        let (embedding, output) = ("token_embd.weight", "output.weight");
        let aside = self.tensors.contains_key(output).then_some(embedding);
        let share =
            self.parameters.experts.map_or((1, 1), |experts| (experts.used as u64, experts.count.max(1) as u64));
        let read = self.tensors.values().filter(|tensor| Some(tensor.name.as_str()) != aside).map(|tensor| {
            let bytes = tensor.bytes.len() as u64;
            if tensor.name.contains("_exps.") { bytes / share.1 * share.0 } else { bytes }
        });
        read.sum()
    }

    /// What it was read with as [`Limits::memory`].
    pub(crate) fn memory(&self) -> Option<u64> {
        self.memory
    }

    /// Whether there is room in main memory for the weights as the processor arranges them and for an attention cache of so many tokens.
    /// Where nobody knows how much there is, there is.
    pub fn admit_on_processor(&self, tokens: usize) -> Result<(), StartError> {
        let wanted = cpu::weight_bytes(self).saturating_add(cpu::cache_bytes(&self.parameters, tokens));
        match self.memory.filter(|&room| wanted > room) {
            Some(room) => Err(StartError::NoRoom { wanted, room }),
            None => Ok(()),
        }
    }

    /// The weights.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.tensors.values()
    }

    /// How it rotates.
    pub(crate) fn ropes(&self) -> &Ropes {
        &self.ropes
    }

    /// The same model with all weights as 32-bit floats of the same values.
    #[cfg(test)]
    pub(crate) fn widened(mut self) -> Self {
        for tensor in self.tensors.values_mut() {
            let mut values: Vec<f32> = Vec::new();
            crate::gguf::blocks::each(tensor.kind, &tensor.bytes, |block| {
                let value = |(at, &quant): (usize, &i8)| f32::from(quant).mul_add(block.scales[at / 16], block.offset);
                values.extend(block.quants.iter().enumerate().map(value));
            });
            if tensor.kind == TensorType::BF16 {
                values.extend(tensor.bytes.as_chunks::<2>().0.iter().map(|&[a, b]| f32::from_le_bytes([0, 0, a, b])));
            }
            if !values.is_empty() {
                tensor.bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                tensor.kind = TensorType::F32;
            }
        }
        self
    }

    /// Hands the weights over, for a backend to arrange them as it likes. Every tensor that the architecture has is there and
    /// has the right shape, and heads are in the order in which neighbours are rotated;
    /// `output.weight` is missing where the embedding serves as output too.
    pub(crate) fn into_tensors(self) -> BTreeMap<String, Tensor> {
        self.tensors
    }
}
