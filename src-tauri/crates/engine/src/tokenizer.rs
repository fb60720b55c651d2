//! Byte-level BPE.

/// Why a vocabulary cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The vocabulary has no tokens.
    #[error("the vocabulary is empty")]
    Empty,
}

/// Text to token ids and back.
pub struct Tokenizer {
    pieces: Vec<Vec<u8>>,
}

impl Tokenizer {
    /// Token ids of a text, without anything added. With `parse_special`, the text of a control token (as `<|im_start|>`)
    /// becomes that token; without it, it is ordinary text. Text of customers that is not a rendered template must not be
    /// parsed for specials.
    pub fn encode(&self, text: &str, parse_special: bool) -> Vec<u32> {
        let _ = (text, parse_special);
        Vec::new()
    }

    /// As [`Tokenizer::encode`], preceded by the beginning-of-sequence token if the file asks for it and the text does not
    /// begin with it already.
    pub fn encode_prompt(&self, text: &str, parse_special: bool) -> Vec<u32> {
        self.encode(text, parse_special)
    }

    /// The bytes of one token; empty for control tokens and ids out of range. Not necessarily valid UTF-8.
    pub fn piece(&self, token: u32) -> &[u8] {
        self.pieces.get(token as usize).map_or(&[], Vec::as_slice)
    }

    /// The bytes of several tokens, one after another.
    pub fn decode(&self, tokens: &[u32]) -> Vec<u8> {
        tokens.iter().flat_map(|&token| self.piece(token)).copied().collect()
    }

    /// Whether generation ends with this token.
    pub fn is_end_of_generation(&self, token: u32) -> bool {
        let _ = token;
        false
    }

    /// Number of tokens.
    pub fn vocabulary_size(&self) -> u32 {
        self.pieces.len() as u32
    }

    /// The text of the beginning-of-sequence token, which some templates want as `bos_token`.
    pub fn bos_text(&self) -> Option<&str> {
        None
    }
}

/// Joins the pieces of tokens into text and never gives out half a character.
#[derive(Default)]
pub struct Detokenizer {
    pending: Vec<u8>,
}

impl Detokenizer {
    /// Adds a token's bytes and returns what is whole by now. Bytes that cannot be UTF-8 become U+FFFD.
    pub fn push(&mut self, piece: &[u8]) -> String {
        self.pending.extend_from_slice(piece);
        String::new()
    }

    /// What remains at the end; an unfinished character becomes U+FFFD.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned()
    }
}
