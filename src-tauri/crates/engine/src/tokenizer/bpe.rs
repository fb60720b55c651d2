//! Byte-level BPE, as GPT-2 introduced it: each byte of a word is a symbol, and neighbouring symbols are merged in the order in
//! which the vocabulary learnt its merges.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::TokenizerError;

/// The way in which vocabularies spell bytes: printable bytes as themselves, the others as characters from U+0100 on.
pub(super) struct ByteText {
    characters: [char; 256],
    bytes: HashMap<char, u8>,
}

impl ByteText {
    pub(super) fn new() -> Self {
        let mut characters = ['\0'; 256];
        let mut others = '\u{100}'..;
        for byte in 0..=255_u8 {
            characters[usize::from(byte)] = match byte {
                33..=126 | 161..=172 | 174..=255 => char::from(byte),
                _ => others.next().unwrap_or('\0'),
            };
        }
        let bytes = characters.iter().zip(0..=255).map(|(&character, byte)| (character, byte)).collect();
        Self { characters, bytes }
    }

    /// The bytes that a token spells. A character that spells no byte stands for itself.
    pub(super) fn decode(&self, token: &str) -> Box<[u8]> {
        let mut decoded = Vec::with_capacity(token.len());
        for character in token.chars() {
            match self.bytes.get(&character) {
                Some(&byte) => decoded.push(byte),
                None => decoded.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        decoded.into()
    }

    /// The bytes of a token that spells nothing but bytes, as a word does.
    fn word(&self, token: &str) -> Option<Box<[u8]>> {
        token.chars().map(|character| self.bytes.get(&character).copied()).collect()
    }
}

/// What the vocabulary knows about symbols. A symbol is a token id, or, from `tokens` on, a text that is no token by itself but
/// occurs in a merge or is a single byte.
pub(super) struct Merges {
    tokens: u32,
    single: [u32; 256],
    /// For symbols that are no tokens: the single-byte symbols they consist of.
    spelt: Vec<Box<[u8]>>,
    /// Two symbols to the merge's rank (the lower, the earlier) and result.
    pairs: HashMap<(u32, u32), (u32, u32)>,
    /// Words that are tokens as a whole, where the vocabulary wants such words taken without looking at merges.
    whole: HashMap<Box<[u8]>, u32>,
}

impl Merges {
    pub(super) fn new(ids: &HashMap<&str, u32>, merges: &[String], bytes: &ByteText) -> Result<Self, TokenizerError> {
        // Duplicates among the tokens leave holes, so the count comes from the largest id.
        let tokens = ids.values().max().map_or(0, |&largest| largest + 1);
        let mut spelt = Vec::new();
        let mut others: HashMap<String, u32> = HashMap::new();
        let mut symbol = |text: &str| match ids.get(text) {
            Some(&id) => id,
            None => *others.entry(text.to_owned()).or_insert_with(|| {
                spelt.push(bytes.decode(text));
                tokens + spelt.len() as u32 - 1
            }),
        };
        let mut single = [0; 256];
        for (slot, character) in single.iter_mut().zip(bytes.characters) {
            *slot = symbol(character.encode_utf8(&mut [0; 4]));
        }
        let mut pairs = HashMap::with_capacity(merges.len());
        for (index, merge) in merges.iter().enumerate() {
            // The space that separates is not the first character, which may itself be one in odd vocabularies.
            let first = merge.chars().next().map_or(0, char::len_utf8);
            let at = merge[first..].find(' ').map(|at| at + first);
            let Some((left, right)) =
                at.map(|at| (&merge[..at], &merge[at + 1..])).filter(|(_, right)| !right.is_empty())
            else {
                return Err(TokenizerError::Merge { index });
            };
            let merged = symbol(&[left, right].concat());
            pairs.entry((symbol(left), symbol(right))).or_insert((index as u32, merged));
        }
        Ok(Self { tokens, single, spelt, pairs, whole: HashMap::new() })
    }

    /// From now on a word that is one of these tokens becomes it, even if its merges come to something else.
    pub(super) fn take_whole<'a>(&mut self, tokens: impl Iterator<Item = (&'a str, u32)>, bytes: &ByteText) {
        self.whole.extend(tokens.filter_map(|(token, id)| Some((bytes.word(token)?, id))));
    }

    /// Appends the tokens of one word. Time grows with `n log n`, so that a word of a megabyte is no attack.
    pub(super) fn encode(&self, word: &[u8], out: &mut Vec<u32>) {
        if let Some(&token) = self.whole.get(word) {
            out.push(token);
            return;
        }
        let mut symbols: Vec<Symbol> = word
            .iter()
            .enumerate()
            .map(|(at, &byte)| Symbol {
                id: self.single[usize::from(byte)],
                previous: at.wrapping_sub(1),
                next: at + 1,
                alive: true,
            })
            .collect();
        let mut candidates = BinaryHeap::new();
        for left in 0..symbols.len() {
            self.propose(&symbols, left, &mut candidates);
        }
        while let Some(Reverse((_, left, pair, merged))) = candidates.pop() {
            let right = symbols[left].next;
            let current = symbols[left].alive
                && symbols.get(right).is_some_and(|neighbour| (symbols[left].id, neighbour.id) == pair);
            if !current {
                continue;
            }
            let after = symbols[right].next;
            symbols[right].alive = false;
            symbols[left].id = merged;
            symbols[left].next = after;
            if let Some(neighbour) = symbols.get_mut(after) {
                neighbour.previous = left;
            }
            self.propose(&symbols, left, &mut candidates);
            let before = symbols[left].previous;
            if before < symbols.len() {
                self.propose(&symbols, before, &mut candidates);
            }
        }
        for symbol in symbols.iter().filter(|symbol| symbol.alive) {
            self.emit(symbol.id, out);
        }
    }

    fn propose(&self, symbols: &[Symbol], left: usize, candidates: &mut BinaryHeap<Candidate>) {
        let Some(right) = symbols.get(symbols[left].next) else { return };
        let pair = (symbols[left].id, right.id);
        if let Some(&(rank, merged)) = self.pairs.get(&pair) {
            candidates.push(Reverse((rank, left, pair, merged)));
        }
    }

    /// A symbol that is no token falls apart into its bytes; bytes that are no tokens either are dropped, as llama.cpp does.
    fn emit(&self, id: u32, out: &mut Vec<u32>) {
        if id < self.tokens {
            out.push(id);
        } else if let Some(bytes) = self.spelt.get((id - self.tokens) as usize) {
            let tokens = bytes.iter().map(|&byte| self.single[usize::from(byte)]);
            out.extend(tokens.filter(|&token| token < self.tokens));
        }
    }
}

/// Rank, place of the left symbol, the pair that was seen there, what it becomes. The lowest rank goes first, then the leftmost.
type Candidate = Reverse<(u32, usize, (u32, u32), u32)>;

struct Symbol {
    id: u32,
    previous: usize,
    next: usize,
    alive: bool,
}
