//! The tokens of a model as a tree of bytes.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use super::MAX_TOKEN_BYTES;
use super::text::{self, PLACES, Place, Step};
use crate::backend::Mask;
use crate::tokenizer::Tokenizer;

/// One byte of the tree. A node's children, and theirs, follow it directly.
pub(super) struct Branch {
    /// The byte that leads here.
    pub(super) byte: u8,
    /// Bytes from the root.
    pub(super) depth: u16,
    /// Where the next begins that is no child of this one.
    pub(super) end: u32,
    /// Where its own tokens begin in the list of all, and how many they are.
    first: u32,
    count: u32,
}

/// A model's tokens, made ready for masks. Made once for a model; what tokens are inside of texts is found out when first asked.
pub struct Vocabulary {
    tokenizer: Arc<Tokenizer>,
    branches: Vec<Branch>,
    /// In the order of the branches.
    tokens: Vec<u32>,
    /// For texts with escapes, and for those without.
    inside: [[OnceLock<Inside>; PLACES]; 2],
}

/// What each token is from one place inside of a text on.
pub(super) struct Inside {
    /// Those that stay inside.
    pub(super) stay: Mask,
    /// Characters that begin in each of these.
    pub(super) characters: Vec<u16>,
    /// Those that close the text.
    pub(super) leave: Vec<Leave>,
}

/// Tokens that close a text and then have the same rest.
pub(super) struct Leave {
    pub(super) rest: Vec<u8>,
    /// With the characters that begin before the closing quote.
    pub(super) tokens: Vec<(u32, u16)>,
}

impl Vocabulary {
    /// The tokens of a tokenizer.
    pub fn new(tokenizer: Arc<Tokenizer>) -> Self {
        let mut tokens: Vec<u32> = (0..tokenizer.vocabulary_size())
            .filter(|&token| {
                let bytes = tokenizer.piece(token).len();
                bytes > 0 && bytes <= MAX_TOKEN_BYTES && !tokenizer.is_end_of_generation(token)
            })
            .collect();
        tokens.sort_by(|&a, &b| tokenizer.piece(a).cmp(tokenizer.piece(b)).then(a.cmp(&b)));
        let mut branches: Vec<Branch> = Vec::new();
        // Branches from the root to the token before.
        let mut open: Vec<usize> = Vec::new();
        let mut before: &[u8] = &[];
        for (at, &token) in tokens.iter().enumerate() {
            let piece = tokenizer.piece(token);
            let shared = piece.iter().zip(before).take_while(|(a, b)| a == b).count();
            let here = branches.len() as u32;
            for closed in open.drain(shared..) {
                branches[closed].end = here;
            }
            for (depth, &byte) in piece.iter().enumerate().skip(shared) {
                open.push(branches.len());
                branches.push(Branch { byte, depth: depth as u16 + 1, end: 0, first: at as u32, count: 0 });
            }
            // Of equal tokens the first made the branch.
            if let Some(&last) = open.last() {
                branches[last].count += 1;
            }
            before = piece;
        }
        let here = branches.len() as u32;
        for closed in open {
            branches[closed].end = here;
        }
        let inside = [(); 2].map(|()| [(); PLACES].map(|()| OnceLock::new()));
        Self { tokenizer, branches, tokens, inside }
    }

    pub(super) fn branches(&self) -> &[Branch] {
        &self.branches
    }

    /// Tokens that end at a branch.
    pub(super) fn tokens_at(&self, branch: usize) -> &[u32] {
        self.branches
            .get(branch)
            .and_then(|own| self.tokens.get(own.first as usize..(own.first + own.count) as usize))
            .unwrap_or_default()
    }

    pub(super) fn piece(&self, token: u32) -> &[u8] {
        self.tokenizer.piece(token)
    }

    pub(super) fn size(&self) -> usize {
        self.tokenizer.vocabulary_size() as usize
    }

    pub(super) fn ends(&self) -> impl Iterator<Item = u32> {
        self.tokenizer.ends()
    }

    /// What tokens are from a place inside of a text on.
    pub(super) fn inside(&self, place: Place, plain: bool) -> &Inside {
        let list = &self.inside[usize::from(plain)];
        list[place.number() as usize % PLACES].get_or_init(|| self.walk(place, plain))
    }

    fn walk(&self, from: Place, plain: bool) -> Inside {
        let mut stay = Mask::nothing(self.size());
        let mut characters = vec![0_u16; self.size()];
        let mut leave: BTreeMap<Vec<u8>, Vec<(u32, u16)>> = BTreeMap::new();
        // Place and characters behind each byte of the way here.
        let mut way = vec![(from, 0_u16)];
        let mut at = 0;
        while let Some(branch) = self.branches.get(at) {
            way.truncate(usize::from(branch.depth));
            let (place, count) = way.last().copied().unwrap_or((from, 0));
            match text::step(place, branch.byte, plain) {
                Step::To(next) => {
                    let count = count + u16::from(place == Place::Between);
                    way.push((next, count));
                    for &token in self.tokens_at(at) {
                        stay.admit(token);
                        if let Some(characters) = characters.get_mut(token as usize) {
                            *characters = count;
                        }
                    }
                    at += 1;
                }
                Step::Close => {
                    for below in at..branch.end as usize {
                        for &token in self.tokens_at(below) {
                            let rest = self.piece(token)[usize::from(branch.depth)..].to_vec();
                            leave.entry(rest).or_default().push((token, count));
                        }
                    }
                    at = branch.end as usize;
                }
                Step::No => at = branch.end as usize,
            }
        }
        let leave = leave.into_iter().map(|(rest, tokens)| Leave { rest, tokens }).collect();
        Inside { stay, characters, leave }
    }
}
