//! What a file says of its tokens, before the kind of tokenizer makes something of them. Keys and numbers are those of the GGUF
//! format (`docs/gguf.md` in the ggml repository); which texts make a token special, whatever the file calls it, is as in llama.cpp.

use std::collections::BTreeSet;

use super::TokenizerError;
use super::specials::{Special, Specials};
use crate::gguf::{Array, File, Value};

const MAX_TOKENS: usize = 1 << 21;
const MAX_SPECIAL: usize = 1 << 16;
const MAX_SPECIAL_BYTES: usize = 256;

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Byte,
    /// Unused, or of a number without a meaning: stands for no text.
    Unused,
}

impl Kind {
    /// From ggml's number.
    fn new(number: i32) -> Self {
        match number {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            6 => Self::Byte,
            _ => Self::Unused,
        }
    }
}

/// Texts of tokens that end an answer in the families of models that have them; what the file itself names as such is added.
const ENDS: [&str; 20] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];

/// Tokens for filling in the middle of a text: keys under which a file names one, the texts by which it is known otherwise, and
/// whether an answer ends with it.
struct Middle {
    keys: &'static [&'static str],
    texts: &'static [&'static str],
    ends: bool,
}

const MIDDLES: [Middle; 6] = [
    Middle {
        keys: &["tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id"],
        texts: &[
            "<|fim_prefix|>",
            "<fim-prefix>",
            "<fim_prefix>",
            "<｜fim▁begin｜>",
            "<PRE>",
            "▁<PRE>",
            "<|code_prefix|>",
            "<|prefix|>",
        ],
        ends: false,
    },
    Middle {
        keys: &["tokenizer.ggml.fim_suf_token_id", "tokenizer.ggml.suffix_token_id"],
        texts: &[
            "<|fim_suffix|>",
            "<fim-suffix>",
            "<fim_suffix>",
            "<｜fim▁hole｜>",
            "<SUF>",
            "▁<SUF>",
            "<|code_suffix|>",
            "<|suffix|>",
        ],
        ends: false,
    },
    Middle {
        keys: &["tokenizer.ggml.fim_mid_token_id", "tokenizer.ggml.middle_token_id"],
        texts: &[
            "<|fim_middle|>",
            "<fim-middle>",
            "<fim_middle>",
            "<｜fim▁end｜>",
            "<MID>",
            "▁<MID>",
            "<|code_middle|>",
            "<|middle|>",
        ],
        ends: false,
    },
    Middle {
        keys: &["tokenizer.ggml.fim_pad_token_id"],
        texts: &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"],
        ends: true,
    },
    Middle {
        keys: &["tokenizer.ggml.fim_rep_token_id"],
        texts: &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"],
        ends: true,
    },
    Middle { keys: &["tokenizer.ggml.fim_sep_token_id"], texts: &["<|file_sep|>"], ends: true },
];

/// Tokens and what is known of them.
pub(super) struct Vocabulary<'a> {
    pub(super) texts: &'a [String],
    /// What the file calls them.
    pub(super) declared: Vec<Kind>,
    /// The same, but what is known to be a control token by its text is one.
    pub(super) kinds: Vec<Kind>,
    pub(super) bos: Option<u32>,
    pub(super) eos: Option<u32>,
    pub(super) unknown: Option<u32>,
    /// Tokens that end an answer.
    pub(super) ends: BTreeSet<u32>,
}

impl<'a> Vocabulary<'a> {
    /// Reads and checks it. `bos` and `eos` are for a file that names none.
    pub(super) fn new(file: &'a File, bos: Option<u32>, eos: Option<u32>) -> Result<Self, TokenizerError> {
        let texts = list(file, "tokenizer.ggml.tokens")?;
        if texts.is_empty() || texts.len() > MAX_TOKENS {
            return Err(TokenizerError::Size { count: texts.len() });
        }
        let types: &[i32] = match file.get("tokenizer.ggml.token_type") {
            Some(Value::Array(Array::I32(types))) => types,
            _ => return Err(TokenizerError::Missing { key: "tokenizer.ggml.token_type" }),
        };
        if types.len() != texts.len() {
            return Err(TokenizerError::TypeCount { tokens: texts.len(), types: types.len() });
        }
        let token = |key: &'static str| match file.get(key).map(Value::unsigned) {
            None => Ok(None),
            Some(Some(id)) if id < texts.len() as u64 => Ok(Some(id as u32)),
            Some(_) => Err(TokenizerError::OutOfRange { key }),
        };
        let within = |id: Option<u32>| id.filter(|&id| (id as usize) < texts.len());
        let bos = token("tokenizer.ggml.bos_token_id")?.or(within(bos));
        let eos = token("tokenizer.ggml.eos_token_id")?.or(within(eos));
        let unknown = token("tokenizer.ggml.unknown_token_id")?;
        let eot = token("tokenizer.ggml.eot_token_id")?;
        let eom = token("tokenizer.ggml.eom_token_id")?;

        let declared: Vec<Kind> = types.iter().map(|&number| Kind::new(number)).collect();
        let mut kinds = declared.clone();
        let mut ends: BTreeSet<u32> = [eos, eot, eom].into_iter().flatten().collect();
        for ((text, kind), id) in texts.iter().zip(&mut kinds).zip(0..) {
            if ENDS.contains(&text.as_str()) {
                *kind = Kind::Control;
                ends.insert(id);
            }
        }
        for middle in &MIDDLES {
            let mut named = None;
            for key in middle.keys {
                named = token(key)?.or(named);
            }
            let known = || texts.iter().position(|text| middle.texts.contains(&text.as_str())).map(|at| at as u32);
            if named.is_none()
                && let Some(id) = known()
            {
                kinds[id as usize] = Kind::Control;
                named = Some(id);
            }
            ends.extend(named.filter(|_| middle.ends));
        }
        Ok(Self { texts, declared, kinds, bos, eos, unknown, ends })
    }

    /// Texts, ids and kinds.
    pub(super) fn tokens(&self) -> impl Iterator<Item = (&'a str, u32, Kind)> {
        self.texts.iter().zip(0..).zip(&self.kinds).map(|((text, id), &kind)| (text.as_str(), id, kind))
    }

    /// The text of a token.
    pub(super) fn text(&self, id: u32) -> &'a str {
        &self.texts[id as usize]
    }

    /// The tokens that are looked for in a text before anything else.
    pub(super) fn specials(&self) -> Result<Specials, TokenizerError> {
        let mut specials = Vec::new();
        for (text, token, kind) in self.tokens() {
            let always = kind == Kind::UserDefined;
            if text.is_empty() || !(always || matches!(kind, Kind::Control | Kind::Unknown)) {
                continue;
            }
            if text.len() > MAX_SPECIAL_BYTES {
                return Err(TokenizerError::TooLong { token, bytes: text.len() });
            }
            specials.push(Special { text: text.to_owned(), token, always });
        }
        if specials.len() > MAX_SPECIAL {
            return Err(TokenizerError::TooManySpecial { count: specials.len() });
        }
        Ok(Specials::new(specials))
    }
}

/// A list of texts that must be there.
pub(super) fn list<'a>(file: &'a File, key: &'static str) -> Result<&'a [String], TokenizerError> {
    file.get(key).and_then(Value::texts).ok_or(TokenizerError::Missing { key })
}
