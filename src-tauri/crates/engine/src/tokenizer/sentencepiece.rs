//! SentencePiece's BPE, as GGUF files with `tokenizer.ggml.model` = `llama` carry it: each character is a symbol, and of all
//! neighbours that together are a token those with the best score are merged first. What is no token in the end becomes bytes.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use zeroize::Zeroizing;

/// What a space is in the vocabulary's texts.
pub(super) const SPACE: &str = "\u{2581}";

/// Tokens by text, with the order in which they are made.
pub(super) struct Pieces {
    tokens: HashMap<Box<str>, Piece>,
    /// No neighbours that are longer together are a token.
    longest: usize,
    /// Tokens for bytes; the unknown token, if there is one, for those that have none.
    bytes: [Option<u32>; 256],
}

struct Piece {
    id: u32,
    /// The higher, the earlier.
    order: u32,
}

impl Pieces {
    /// From the texts, ids and scores of tokens that may come out of a text. Of two with the same text the later one counts.
    pub(super) fn new<'a>(tokens: impl Iterator<Item = (&'a str, u32, f32)>, unknown: Option<u32>) -> Self {
        let tokens: HashMap<Box<str>, Piece> =
            tokens.map(|(text, id, score)| (text.into(), Piece { id, order: order(score) })).collect();
        let longest = tokens.keys().map(|text| text.len()).max().unwrap_or(0);
        let mut bytes = [unknown; 256];
        for (byte, slot) in (0..=255_u8).zip(&mut bytes) {
            let itself = char::from(byte);
            let piece = tokens
                .get(format!("<0x{byte:02X}>").as_str())
                .or_else(|| tokens.get(itself.encode_utf8(&mut [0; 4])).filter(|_| itself.is_ascii()));
            *slot = piece.map_or(*slot, |piece| Some(piece.id));
        }
        Self { tokens, longest, bytes }
    }

    /// Appends the tokens of a text. Time grows with `n log n`, so that a text of a megabyte is no attack.
    pub(super) fn encode(&self, text: &str, space_before: bool, out: &mut Vec<u32>) {
        let mut escaped = Zeroizing::new(String::with_capacity(text.len() + text.len() / 2));
        if space_before {
            escaped.push_str(SPACE);
        }
        for (number, part) in text.split(' ').enumerate() {
            escaped.push_str(if number > 0 { SPACE } else { "" });
            escaped.push_str(part);
        }
        let text = escaped.as_str();
        let mut symbols: Vec<Symbol> = text
            .char_indices()
            .enumerate()
            .map(|(number, (start, character))| Symbol {
                start,
                length: character.len_utf8(),
                previous: number.wrapping_sub(1),
                next: number + 1,
            })
            .collect();
        let mut candidates = BinaryHeap::new();
        for left in 0..symbols.len() {
            self.propose(text, &symbols, left, &mut candidates);
        }
        while let Some((_, Reverse(left), length)) = candidates.pop() {
            let right = symbols[left].next;
            // One that was merged since is longer, or gone with length 0.
            let current = symbols[left].length > 0
                && symbols.get(right).is_some_and(|neighbour| symbols[left].length + neighbour.length == length);
            if !current {
                continue;
            }
            let after = symbols[right].next;
            symbols[left].length = length;
            symbols[left].next = after;
            symbols[right].length = 0;
            if let Some(neighbour) = symbols.get_mut(after) {
                neighbour.previous = left;
            }
            self.propose(text, &symbols, left, &mut candidates);
            let before = symbols[left].previous;
            if before < symbols.len() {
                self.propose(text, &symbols, before, &mut candidates);
            }
        }
        for symbol in symbols.iter().filter(|symbol| symbol.length > 0) {
            let piece = &text[symbol.start..symbol.start + symbol.length];
            match self.tokens.get(piece) {
                Some(piece) => out.push(piece.id),
                None => out.extend(piece.bytes().filter_map(|byte| self.bytes[usize::from(byte)])),
            }
        }
    }

    fn propose(&self, text: &str, symbols: &[Symbol], left: usize, candidates: &mut BinaryHeap<Candidate>) {
        let Some(right) = symbols.get(symbols[left].next) else { return };
        let length = symbols[left].length + right.length;
        if length > self.longest {
            return;
        }
        let start = symbols[left].start;
        if let Some(piece) = self.tokens.get(&text[start..start + length]) {
            candidates.push((piece.order, Reverse(left), length));
        }
    }
}

/// Order of the token that two neighbours would become, place of the left one, bytes of both. The highest order goes first, then the
/// leftmost.
type Candidate = (u32, Reverse<usize>, usize);

struct Symbol {
    start: usize,
    length: usize,
    previous: usize,
    next: usize,
}

/// Numbers in the order of the scores, whatever a file gives as such.
fn order(score: f32) -> u32 {
    // Makes the two zeros one.
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(tokens: &[(&str, f32)]) -> Pieces {
        Pieces::new(tokens.iter().zip(0..).map(|(&(text, score), id)| (text, id, score)), Some(99))
    }

    fn encode(pieces: &Pieces, text: &str, space_before: bool) -> Vec<u32> {
        let mut tokens = Vec::new();
        pieces.encode(text, space_before, &mut tokens);
        tokens
    }

    #[test]
    fn the_best_score_goes_first_and_of_equal_ones_the_leftmost() {
        let vocabulary = pieces(&[("a", -9.0), ("b", -9.0), ("ab", -2.0), ("ba", -1.0), ("aa", -3.0), ("aba", -4.0)]);
        assert_eq!(encode(&vocabulary, "abab", false), [5, 1]);
        assert_eq!(encode(&vocabulary, "aaa", false), [4, 0]);
        assert_eq!(encode(&vocabulary, "aab", false), [0, 2]);
        // A token that no two neighbours come to is not found.
        assert_eq!(encode(&pieces(&[("abc", 0.0)]), "abc", false), [99, 99, 99]);
    }

    #[test]
    fn spaces_are_tokens_and_what_is_no_token_becomes_bytes() {
        let vocabulary = pieces(&[("\u{2581}", 0.0), ("x", 0.0), ("\u{2581}x", 0.0), ("<0xC3>", 0.0), ("<0x0A>", 0.0)]);
        assert_eq!(encode(&vocabulary, "x x  x", true), [2, 2, 0, 2]);
        assert_eq!(encode(&vocabulary, "x", false), [1]);
        // A text that has the vocabulary's own space in it means a space.
        assert_eq!(encode(&vocabulary, "\u{2581}x", false), [2]);
        assert_eq!(encode(&vocabulary, "é\n", false), [3, 99, 4]);
        assert_eq!(encode(&vocabulary, "", true), [0]);
        assert!(encode(&vocabulary, "", false).is_empty());
    }

    #[test]
    fn scores_keep_their_order_whatever_they_are() {
        let scores = [f32::NEG_INFINITY, -1e9, -1.0, -f32::MIN_POSITIVE, 0.0, 1e-9, 3.0, f32::INFINITY, f32::NAN];
        assert!(scores.windows(2).all(|pair| order(pair[0]) < order(pair[1])));
        assert_eq!(order(-0.0), order(0.0));
    }
}
