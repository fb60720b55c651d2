//! Several sequences, one backend.

use std::sync::Arc;

use crate::model::Model;
use crate::sampling::Sampling;
use crate::tokenizer::Tokenizer;

/// How an engine is set up.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Threads that compute: 1 or 2 (more are treated as 2).
    pub threads: usize,
    /// Most tokens of one sequence, prompt and answer together; never more than the model's own context length.
    pub context: u32,
    /// Most sequences at a time. Memory is set aside for `context * max_sequences` tokens.
    pub max_sequences: usize,
}

/// Why an engine could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The memory for attention keys and values is not to be had.
    #[error("{bytes} bytes for the attention cache are not to be had")]
    OutOfMemory {
        /// Bytes asked for.
        bytes: u64,
    },
    /// `context` or `max_sequences` is 0.
    #[error("context and max_sequences must be at least 1")]
    NothingToDo,
}

/// One request for an answer. Not printable, on purpose.
#[derive(Clone)]
pub struct Request {
    /// Token ids of the prompt, at least one.
    pub prompt: Vec<u32>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Texts that end the answer; they are not part of it.
    pub stop: Vec<String>,
    /// Most tokens of the answer.
    pub max_tokens: u32,
}

/// Why a request was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Prompt and answer together exceed the context.
    #[error("prompt of {prompt} and answer of {max_tokens} tokens exceed the context of {context}")]
    TooLong {
        /// Tokens of the prompt.
        prompt: u64,
        /// Tokens asked for.
        max_tokens: u64,
        /// Tokens that fit.
        context: u64,
    },
    /// All sequences or all memory are in use; room comes with the next sequence that ends.
    #[error("all sequences or all memory are in use")]
    Full,
    /// The prompt has no tokens.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// The prompt has a token id outside of the vocabulary.
    #[error("the prompt has a token outside of the vocabulary")]
    UnknownToken,
}

/// Names a sequence of one engine; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceId(u64);

/// Why a sequence ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model ended its answer or a stop text appeared.
    Stop,
    /// `max_tokens` were generated.
    Length,
}

/// Tokens that were computed for a sequence so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenCounts {
    /// Tokens of the prompt. All of them, also while only some chunks are through.
    pub prompt: u64,
    /// Tokens generated, the one that ended the answer included.
    pub completion: u64,
}

/// What one step did for one sequence. Not printable, on purpose.
pub struct Output {
    /// Whose.
    pub sequence: SequenceId,
    /// Text that is certain by now: whole characters, no part of a stop text. May be empty.
    pub text: Vec<u8>,
    /// The token that was generated; `None` for a chunk of the prompt.
    pub token: Option<u32>,
    /// Set with the last output of a sequence; its memory is free by then.
    pub finished: Option<Finish>,
    /// Counts up to here.
    pub usage: TokenCounts,
}

/// A model that answers several requests at a time.
pub struct Engine {
    tokenizer: Arc<Tokenizer>,
    options: Options,
    next: u64,
}

impl Engine {
    /// Prepares the weights for the CPU backend and sets memory aside.
    pub fn new(model: Model, options: Options) -> Result<Self, StartError> {
        if options.context == 0 || options.max_sequences == 0 {
            return Err(StartError::NothingToDo);
        }
        Ok(Self { tokenizer: model.tokenizer(), options, next: 0 })
    }

    /// The backend's name, as `cpu`.
    pub fn backend(&self) -> &'static str {
        "cpu"
    }

    /// The graphics adapter in use; `None` on the CPU.
    pub fn adapter(&self) -> Option<String> {
        None
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// Most tokens of one sequence, prompt and answer together.
    pub fn context(&self) -> u32 {
        self.options.context
    }

    /// Sequences that are running.
    pub fn running(&self) -> usize {
        0
    }

    /// Admits a request or says why not.
    pub fn add(&mut self, request: Request) -> Result<SequenceId, Refused> {
        if request.prompt.is_empty() {
            return Err(Refused::EmptyPrompt);
        }
        self.next += 1;
        Err(Refused::Full)
    }

    /// Advances every sequence by at most one generated token or one chunk of its prompt. Returns nothing if none is running.
    pub fn step(&mut self) -> Vec<Output> {
        Vec::new()
    }

    /// Ends a sequence now and frees its memory. The counts are what was computed; zero for a sequence that has ended already.
    pub fn cancel(&mut self, sequence: SequenceId) -> TokenCounts {
        let _ = sequence;
        TokenCounts::default()
    }
}
