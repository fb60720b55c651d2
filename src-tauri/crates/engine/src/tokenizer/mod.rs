//! Text to token ids and back, for the two kinds of vocabularies that the supported families of models have: byte-level BPE over
//! words ([`bpe`], [`words`]) and SentencePiece ([`sentencepiece`]). Special tokens are found first, the same way in both.

mod bpe;
mod detokenizer;
mod sentencepiece;
mod specials;
mod vocabulary;
mod words;

use std::collections::{BTreeSet, HashMap};

use crate::gguf::{Array, File, Value};
use bpe::Merges;
pub use detokenizer::Detokenizer;
use sentencepiece::{Pieces, SPACE};
use specials::{Fragment, Specials};
use vocabulary::{Kind, Vocabulary};
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
    #[error("tokenizer {kind:?} is not supported, only gpt2 (byte-level BPE) and llama (SentencePiece) are")]
    UnsupportedKind {
        /// `tokenizer.ggml.model`.
        kind: String,
    },
    /// Another way of cutting text into words.
    #[error("pre-tokenizer {name:?} is not supported, only {} are", words::NAMES)]
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
    /// The list of scores is not as long as the list of tokens.
    #[error("the vocabulary has {tokens} tokens but {scores} scores")]
    ScoreCount {
        /// Tokens.
        tokens: usize,
        /// Scores.
        scores: usize,
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
    /// A token so long that looking for it would take its time.
    #[error("token {token} has {bytes} bytes, more than supported")]
    TooLong {
        /// Its id.
        token: u32,
        /// Bytes of its text.
        bytes: usize,
    },
    /// A special token's id is not in the vocabulary.
    #[error("{key} is not in the vocabulary")]
    OutOfRange {
        /// The key.
        key: &'static str,
    },
}

/// A piece of SentencePiece has a few dozen bytes; every merge of a text costs as much time as the longest may have.
const MAX_PIECE_BYTES: usize = 1024;

/// Text to token ids and back.
pub struct Tokenizer {
    pieces: Vec<Box<[u8]>>,
    specials: Specials,
    method: Method,
    bos: Option<u32>,
    eos: Option<u32>,
    ends: BTreeSet<u32>,
    bos_text: Option<String>,
    eos_text: Option<String>,
}

enum Method {
    ByteLevel {
        words: Words,
        merges: Box<Merges>,
    },
    SentencePiece {
        pieces: Box<Pieces>,
        /// Whether text at the beginning and behind special tokens is read as if a space stood before it.
        space_before: bool,
    },
}

impl Tokenizer {
    /// Builds the tokenizer that a file describes. It need have no weights.
    pub fn from_file(file: &File) -> Result<Self, TokenizerError> {
        match file.get("tokenizer.ggml.model").and_then(Value::text) {
            Some("gpt2") => Self::byte_level(file),
            Some("llama") => Self::sentence_piece(file),
            Some(kind) => Err(TokenizerError::UnsupportedKind { kind: kind.to_owned() }),
            None => Err(TokenizerError::Missing { key: "tokenizer.ggml.model" }),
        }
    }

    fn byte_level(file: &File) -> Result<Self, TokenizerError> {
        let name = file.get("tokenizer.ggml.pre").and_then(Value::text).unwrap_or_default();
        let words =
            Words::named(name).ok_or_else(|| TokenizerError::UnsupportedPreTokenizer { name: name.to_owned() })?;
        let merges = vocabulary::list(file, "tokenizer.ggml.merges")?;
        let vocabulary = Vocabulary::new(file, None, None)?;
        let bytes = bpe::ByteText::new();
        let ids: HashMap<&str, u32> = vocabulary.tokens().map(|(text, id, _)| (text, id)).collect();
        let mut merges = Merges::new(&ids, merges, &bytes)?;
        if words.takes_whole {
            // A customer's word never becomes a control token.
            let ordinary = vocabulary.tokens().filter(|(.., kind)| !matches!(kind, Kind::Control | Kind::Unknown));
            merges.take_whole(ordinary.map(|(text, id, _)| (text, id)), &bytes);
        }
        let begins = words.begins;
        Self::new(
            file,
            &vocabulary,
            begins,
            |text| bytes.decode(text),
            Method::ByteLevel { words, merges: merges.into() },
        )
    }

    fn sentence_piece(file: &File) -> Result<Self, TokenizerError> {
        let vocabulary = Vocabulary::new(file, Some(1), Some(2))?;
        let scores: &[f32] = match file.get("tokenizer.ggml.scores") {
            Some(Value::Array(Array::F32(scores))) => scores,
            _ => return Err(TokenizerError::Missing { key: "tokenizer.ggml.scores" }),
        };
        if scores.len() != vocabulary.texts.len() {
            return Err(TokenizerError::ScoreCount { tokens: vocabulary.texts.len(), scores: scores.len() });
        }
        if let Some((text, token, _)) = vocabulary.tokens().find(|(text, ..)| text.len() > MAX_PIECE_BYTES) {
            return Err(TokenizerError::TooLong { token, bytes: text.len() });
        }
        // What the file calls a control token does not come out of a text's letters.
        let mergeable = vocabulary.tokens().zip(&vocabulary.declared).zip(scores);
        let mergeable = mergeable.filter(|((_, kind), _)| !matches!(kind, Kind::Control | Kind::Unknown));
        let pieces = Pieces::new(mergeable.map(|(((text, id, _), _), &score)| (text, id, score)), vocabulary.unknown);
        let space_before = flag(file, "tokenizer.ggml.add_space_prefix").unwrap_or(true);
        let method = Method::SentencePiece { pieces: pieces.into(), space_before };
        Self::new(file, &vocabulary, true, |text| text.replace(SPACE, " ").into_bytes().into(), method)
    }

    fn new(
        file: &File,
        vocabulary: &Vocabulary<'_>,
        begins: bool,
        decode: impl Fn(&str) -> Box<[u8]>,
        method: Method,
    ) -> Result<Self, TokenizerError> {
        let pieces = vocabulary.tokens().map(|(text, _, kind)| match kind {
            Kind::Normal => decode(text),
            Kind::UserDefined => text.as_bytes().into(),
            Kind::Byte => byte(text).into_iter().collect(),
            Kind::Unknown | Kind::Control | Kind::Unused => Box::default(),
        });
        let spelt = |id: Option<u32>| id.map(|id| vocabulary.text(id).to_owned());
        let begins = flag(file, "tokenizer.ggml.add_bos_token").unwrap_or(begins);
        let ends = flag(file, "tokenizer.ggml.add_eos_token").unwrap_or(false);
        Ok(Self {
            pieces: pieces.collect(),
            specials: vocabulary.specials()?,
            method,
            bos: vocabulary.bos.filter(|_| begins),
            eos: vocabulary.eos.filter(|_| ends),
            ends: vocabulary.ends.clone(),
            bos_text: spelt(vocabulary.bos),
            eos_text: spelt(vocabulary.eos),
        })
    }

    /// Token ids of a text, without anything added. With `parse_special`, the text of a control token (as `<|im_start|>`)
    /// becomes that token; without it, it is ordinary text. Text of customers that is not a rendered template must not be
    /// parsed for specials.
    pub fn encode(&self, text: &str, parse_special: bool) -> Vec<u32> {
        let mut tokens = Vec::new();
        let mut behind_special = true;
        for fragment in self.specials.cut(text, parse_special) {
            match (&self.method, &fragment) {
                (_, Fragment::Token(token)) => tokens.push(*token),
                (Method::ByteLevel { words, merges }, Fragment::Text(text)) => {
                    words.each(text, |word| merges.encode(word, &mut tokens));
                }
                (Method::SentencePiece { pieces, space_before }, Fragment::Text(text)) => {
                    pieces.encode(text, *space_before && behind_special, &mut tokens);
                }
            }
            behind_special = matches!(fragment, Fragment::Token(_));
        }
        tokens
    }

    /// As [`Tokenizer::encode`], preceded by the beginning-of-sequence token if the file asks for it and the text does not
    /// begin with it already, and followed by the end-of-sequence token under the same conditions.
    pub fn encode_prompt(&self, text: &str, parse_special: bool) -> Vec<u32> {
        let mut tokens = self.encode(text, parse_special);
        if let Some(bos) = self.bos.filter(|bos| tokens.first() != Some(bos)) {
            tokens.insert(0, bos);
        }
        if let Some(eos) = self.eos.filter(|eos| tokens.last() != Some(eos)) {
            tokens.push(eos);
        }
        tokens
    }

    /// The bytes of one token as it stands within a text; empty for control tokens and ids out of range. Not necessarily valid
    /// UTF-8.
    pub fn piece(&self, token: u32) -> &[u8] {
        self.pieces.get(token as usize).map_or(&[], |piece| piece)
    }

    /// The bytes of a text's tokens, one after another, from its beginning: the space that [`Tokenizer::encode`] puts before a text
    /// is not a part of it.
    pub fn decode(&self, tokens: &[u32]) -> Vec<u8> {
        let mut bytes: Vec<u8> = tokens.iter().flat_map(|&token| self.piece(token)).copied().collect();
        if matches!(self.method, Method::SentencePiece { space_before: true, .. }) && bytes.first() == Some(&b' ') {
            bytes.remove(0);
        }
        bytes
    }

    /// Whether generation ends with this token.
    pub fn is_end_of_generation(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }

    /// The token that a text of this kind is, if the vocabulary has it as one that is recognised as a whole.
    pub(crate) fn token_of(&self, text: &str) -> Option<u32> {
        match self.specials.cut(text, true).as_slice() {
            [Fragment::Token(token)] => Some(*token),
            _ => None,
        }
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

fn flag(file: &File, key: &str) -> Option<bool> {
    file.get(key).and_then(Value::bool)
}

/// The byte that a token such as `<0x0A>` stands for.
fn byte(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>').filter(|digits| digits.len() == 2)?;
    u8::from_str_radix(digits, 16).ok()
}
