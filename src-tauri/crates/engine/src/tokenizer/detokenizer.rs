//! Pieces of tokens to whole characters.

use zeroize::Zeroize;

/// Joins the pieces of tokens into text and never gives out half a character. Not printable, on purpose.
#[derive(Default)]
pub struct Detokenizer {
    /// The beginning of a character: at most three bytes.
    pending: Vec<u8>,
}

impl Detokenizer {
    /// Adds a token's bytes and returns what is whole by now. Bytes that cannot be UTF-8 become U+FFFD.
    pub fn push(&mut self, piece: &[u8]) -> String {
        self.pending.extend_from_slice(piece);
        let mut text = String::new();
        let mut rest = self.pending.as_slice();
        let unfinished = loop {
            match std::str::from_utf8(rest) {
                Ok(whole) => {
                    text.push_str(whole);
                    break 0;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    let Some(wrong) = error.error_len() else { break after.len() };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &after[wrong..];
                }
            }
        };
        let whole = self.pending.len() - unfinished;
        self.pending.drain(..whole);
        text
    }

    /// What remains at the end; an unfinished character becomes U+FFFD.
    pub fn finish(&mut self) -> String {
        let text = if self.pending.is_empty() { "" } else { "\u{fffd}" };
        self.pending.zeroize();
        text.to_owned()
    }
}

impl Drop for Detokenizer {
    fn drop(&mut self) {
        self.pending.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_comes_out_when_its_last_byte_is_there() {
        let mut detokenizer = Detokenizer::default();
        let fox = "a🦊é".as_bytes();
        let parts: Vec<String> = fox.iter().map(|byte| detokenizer.push(&[*byte])).collect();
        assert_eq!(parts, ["a", "", "", "", "🦊", "", "é"]);
        assert_eq!(detokenizer.finish(), "");
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_and_an_unfinished_character_ends_as_one_replacement() {
        let mut detokenizer = Detokenizer::default();
        assert_eq!(detokenizer.push(&[b'a', 0xff, b'b', 0xe2, 0x82]), "a\u{fffd}b");
        assert_eq!(detokenizer.push(b"c"), "\u{fffd}c");
        assert_eq!(detokenizer.push(&[0xf0, 0x9f]), "");
        assert_eq!(detokenizer.finish(), "\u{fffd}");
        assert_eq!(detokenizer.finish(), "");
    }
}
