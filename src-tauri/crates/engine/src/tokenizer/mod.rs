//! Byte-level BPE, as GPT-2 introduced it: text is cut into words, each byte of a word is a symbol, and neighbouring symbols are
//! merged in the order in which the vocabulary learnt its merges.

mod bpe;
mod detokenizer;
mod words;

use std::collections::{BTreeSet, HashMap};

use crate::gguf::{Array, File, Value};
use bpe::Merges;
pub use detokenizer::Detokenizer;
use words::Words;

/// Why a vocabulary cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// A key that a vocabulary needs is not there or is of the wrong type.
    #[error("the model's vocabulary lacks {key}")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// Another kind of tokenizer.
    #[error("tokenizer {kind:?} is not supported, only gpt2 (byte-level BPE) is")]
    UnsupportedKind {
        /// `tokenizer.ggml.model`.
        kind: String,
    },
    /// Another way of cutting text into words.
    #[error("pre-tokenizer {name:?} is not supported, only smollm is")]
    UnsupportedPreTokenizer {
        /// `tokenizer.ggml.pre`.
        name: String,
    },
    /// No tokens, or more than a vocabulary can sensibly have.
    #[error("a vocabulary of {count} tokens is not supported")]
    Size {
        /// Tokens in the file.
        count: usize,
    },
    /// The list of token types is not as long as the list of tokens.
    #[error("the vocabulary has {tokens} tokens but {types} token types")]
    TypeCount {
        /// Tokens.
        tokens: usize,
        /// Types.
        types: usize,
    },
    /// A merge that is not two symbols with a space between.
    #[error("merge number {index} is malformed")]
    Merge {
        /// Its place in the list.
        index: usize,
    },
    /// Too many tokens that must be looked for in every text.
    #[error("{count} special tokens are more than supported")]
    TooManySpecial {
        /// How many.
        count: usize,
    },
    /// A special token's id is not in the vocabulary.
    #[error("{key} is not in the vocabulary")]
    OutOfRange {
        /// The key.
        key: &'static str,
    },
}

const MAX_TOKENS: usize = 1 << 21;
const MAX_SPECIAL: usize = 4096;

/// ggml's numbers of token types.
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;

/// Texts of control tokens that end an answer in the families of models that have them; `eos`, `eot` and `eom` of the file are
/// added to these.
const ENDS: [&str; 8] =
    ["<|endoftext|>", "<|im_end|>", "<|end|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "</s>"];

struct Special {
    text: String,
    token: u32,
    /// Recognised even where special tokens are not to be parsed.
    always: bool,
}

/// Text to token ids and back.
pub struct Tokenizer {
    pieces: Vec<Box<[u8]>>,
    merges: Merges,
    words: Words,
    specials: Vec<Special>,
    bos: Option<u32>,
    add_bos: bool,
    ends: BTreeSet<u32>,
    bos_text: Option<String>,
    eos_text: Option<String>,
}

impl Tokenizer {
    /// Builds the tokenizer that a file describes.
    pub(crate) fn from_file(file: &File) -> Result<Self, TokenizerError> {
        let text = |key| file.get(key).and_then(Value::text);
        match text("tokenizer.ggml.model") {
            Some("gpt2") => {}
            Some(kind) => return Err(TokenizerError::UnsupportedKind { kind: kind.to_owned() }),
            None => return Err(TokenizerError::Missing { key: "tokenizer.ggml.model" }),
        }
        match text("tokenizer.ggml.pre") {
            Some("smollm") => {}
            name => {
                let name = name.unwrap_or_default().to_owned();
                return Err(TokenizerError::UnsupportedPreTokenizer { name });
            }
        }
        let list = |key: &'static str| file.get(key).and_then(Value::texts).ok_or(TokenizerError::Missing { key });
        let tokens = list("tokenizer.ggml.tokens")?;
        let merges = list("tokenizer.ggml.merges")?;
        if tokens.is_empty() || tokens.len() > MAX_TOKENS {
            return Err(TokenizerError::Size { count: tokens.len() });
        }
        let types: &[i32] = match file.get("tokenizer.ggml.token_type") {
            Some(Value::Array(Array::I32(types))) => types,
            _ => return Err(TokenizerError::Missing { key: "tokenizer.ggml.token_type" }),
        };
        if types.len() != tokens.len() {
            return Err(TokenizerError::TypeCount { tokens: tokens.len(), types: types.len() });
        }
        let token = |key: &'static str| match file.get(key).map(Value::unsigned) {
            None => Ok(None),
            Some(Some(id)) if id < tokens.len() as u64 => Ok(Some(id as u32)),
            Some(_) => Err(TokenizerError::OutOfRange { key }),
        };
        let bos = token("tokenizer.ggml.bos_token_id")?;
        let eos = token("tokenizer.ggml.eos_token_id")?;
        let eot = token("tokenizer.ggml.eot_token_id")?;
        let eom = token("tokenizer.ggml.eom_token_id")?;

        let bytes = bpe::ByteText::new();
        let mut ids = HashMap::with_capacity(tokens.len());
        let mut pieces = Vec::with_capacity(tokens.len());
        let mut specials = Vec::new();
        let mut ends: BTreeSet<u32> = [eos, eot, eom].into_iter().flatten().collect();
        for ((token, &kind), id) in tokens.iter().zip(types).zip(0_u32..) {
            ids.insert(token.as_str(), id);
            let special = kind == CONTROL || kind == USER_DEFINED;
            if special && !token.is_empty() {
                specials.push(Special { text: token.clone(), token: id, always: kind == USER_DEFINED });
            }
            if kind == CONTROL && ENDS.contains(&token.as_str()) {
                ends.insert(id);
            }
            pieces.push(match kind {
                CONTROL => Box::default(),
                USER_DEFINED => token.as_bytes().into(),
                _ => bytes.decode(token),
            });
        }
        if specials.len() > MAX_SPECIAL {
            return Err(TokenizerError::TooManySpecial { count: specials.len() });
        }
        // The longest first, so that no token hides one that it is a part of.
        specials.sort_by_key(|special| std::cmp::Reverse(special.text.len()));
        let spelt = |id: Option<u32>| id.map(|id| tokens[id as usize].clone());
        Ok(Self {
            merges: Merges::new(&ids, merges, &bytes)?,
            words: Words::new(),
            specials,
            bos,
            add_bos: file.get("tokenizer.ggml.add_bos_token").and_then(Value::bool).unwrap_or(false),
            ends,
            bos_text: spelt(bos),
            eos_text: spelt(eos),
            pieces,
        })
    }

    /// Token ids of a text, without anything added. With `parse_special`, the text of a control token (as `<|im_start|>`)
    /// becomes that token; without it, it is ordinary text. Text of customers that is not a rendered template must not be
    /// parsed for specials.
    pub fn encode(&self, text: &str, parse_special: bool) -> Vec<u32> {
        let mut fragments = vec![Fragment::Text(text)];
        for special in &self.specials {
            if special.always || parse_special {
                fragments = fragments.into_iter().flat_map(|fragment| fragment.cut(special)).collect();
            }
        }
        let mut tokens = Vec::new();
        for fragment in fragments {
            match fragment {
                Fragment::Token(token) => tokens.push(token),
                Fragment::Text(text) => self.words.each(text, |word| self.merges.encode(word, &mut tokens)),
            }
        }
        tokens
    }

    /// As [`Tokenizer::encode`], preceded by the beginning-of-sequence token if the file asks for it and the text does not
    /// begin with it already.
    pub fn encode_prompt(&self, text: &str, parse_special: bool) -> Vec<u32> {
        let mut tokens = self.encode(text, parse_special);
        if let Some(bos) = self.bos.filter(|bos| self.add_bos && tokens.first() != Some(bos)) {
            tokens.insert(0, bos);
        }
        tokens
    }

    /// The bytes of one token; empty for control tokens and ids out of range. Not necessarily valid UTF-8.
    pub fn piece(&self, token: u32) -> &[u8] {
        self.pieces.get(token as usize).map_or(&[], |piece| piece)
    }

    /// The bytes of several tokens, one after another.
    pub fn decode(&self, tokens: &[u32]) -> Vec<u8> {
        tokens.iter().flat_map(|&token| self.piece(token)).copied().collect()
    }

    /// Whether generation ends with this token.
    pub fn is_end_of_generation(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }

    /// The tokens that generation ends with.
    pub(crate) fn ends(&self) -> impl Iterator<Item = u32> {
        self.ends.iter().copied()
    }

    /// Number of tokens.
    pub fn vocabulary_size(&self) -> u32 {
        self.pieces.len() as u32
    }

    /// The text of the beginning-of-sequence token, which some templates want as `bos_token`.
    pub fn bos_text(&self) -> Option<&str> {
        self.bos_text.as_deref()
    }

    /// The text of the end-of-sequence token, which some templates want as `eos_token`.
    pub fn eos_text(&self) -> Option<&str> {
        self.eos_text.as_deref()
    }
}

enum Fragment<'a> {
    Text(&'a str),
    Token(u32),
}

impl Fragment<'_> {
    fn cut(self, special: &Special) -> Vec<Self> {
        let Self::Text(mut text) = self else { return vec![self] };
        let mut parts = Vec::new();
        while let Some(at) = text.find(&special.text) {
            if at > 0 {
                parts.push(Self::Text(&text[..at]));
            }
            parts.push(Self::Token(special.token));
            text = &text[at + special.text.len()..];
        }
        if !text.is_empty() {
            parts.push(Self::Text(text));
        }
        parts
    }
}
