//! What computes: the one door between the scheduler and a device.

use zeroize::{Zeroize, Zeroizing};

use crate::fault::DeviceFault;
use crate::sampling::Candidates;

/// Tokens of one page of the attention cache.
pub const PAGE_TOKENS: usize = 32;

/// Pages of the attention cache of one sequence: its tokens `n * PAGE_TOKENS ..` are in the n-th. Given out by [`Backend::reserve`]
/// and owned until [`Backend::release`], though not by that sequence alone: pages at its beginning may be others' as well, which
/// only read them. Who needs which is the scheduler's business; a device gets each page back once.
pub struct Pages(pub(crate) Vec<u32>);

/// What is wanted behind a row. A device hands out no more than this: bringing all logits of a vocabulary to the processor for
/// every token would cost more than choosing one of them where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing: a token in the middle of a prompt.
    Nothing,
    /// The likeliest token.
    Likeliest,
    /// The likeliest tokens, as many as sampling looks at.
    Candidates,
    /// The logits of the whole vocabulary. For tests that compare backends.
    Logits,
}

/// One token to be computed.
#[derive(Clone, Copy)]
pub struct Row {
    /// Its id.
    pub token: u32,
    /// Its place in its sequence, from 0.
    pub position: u32,
    /// Which of the batch's sequences it belongs to.
    pub sequence: usize,
    /// Whether it is part of a prompt, its last token too, and not of an answer. A device may compute the two in different ways, each of
    /// which depends neither on the batch nor on chunks.
    pub prompt: bool,
    /// What is wanted behind it.
    pub wanted: Wanted,
}

/// What is taken off one logit before anything is chosen. Not printable: it says what was generated.
#[derive(Clone, Copy)]
pub struct Penalty {
    /// Number of the row in the batch.
    pub row: usize,
    /// Whose logit.
    pub token: u32,
    /// How much.
    pub amount: f32,
}

impl Zeroize for Penalty {
    fn zeroize(&mut self) {
        self.row.zeroize();
        self.token.zeroize();
        self.amount.zeroize();
    }
}

/// Tokens that may be chosen: a bit for each of the vocabulary. Not printable, and overwritten at its end: it is what an answer may be
/// made of.
#[derive(Clone, PartialEq, Eq)]
pub struct Mask {
    words: Vec<u32>,
}

impl Mask {
    /// None of so many tokens.
    pub fn nothing(vocabulary: usize) -> Self {
        Self { words: vec![0; vocabulary.div_ceil(32)] }
    }

    /// All of so many tokens.
    pub fn everything(vocabulary: usize) -> Self {
        let mut mask = Self::nothing(vocabulary);
        (0..vocabulary as u32).for_each(|token| mask.admit(token));
        mask
    }

    /// Admits a token, if it is in the vocabulary.
    pub fn admit(&mut self, token: u32) {
        if let Some(word) = self.words.get_mut(token as usize / 32) {
            *word |= 1 << (token % 32);
        }
    }

    /// Whether a token may be chosen.
    pub fn admits(&self, token: u32) -> bool {
        self.words.get(token as usize / 32).is_some_and(|word| word >> (token % 32) & 1 == 1)
    }

    /// Admits what another mask admits.
    pub fn add(&mut self, other: &Self) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word |= other;
        }
    }

    /// Whether nothing may be chosen.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// The bits, those of the lowest tokens first.
    pub fn words(&self) -> &[u32] {
        &self.words
    }
}

impl Zeroize for Mask {
    fn zeroize(&mut self) {
        self.words.zeroize();
    }
}

impl Drop for Mask {
    fn drop(&mut self) {
        self.zeroize();
    }
}

/// A row behind which only some tokens may be chosen.
#[derive(Clone, Copy)]
pub struct Masked<'a> {
    /// Number of the row in the batch.
    pub row: usize,
    /// Which.
    pub mask: &'a Mask,
}

/// Tokens to be computed together.
pub struct Batch<'a> {
    /// The tokens. Those of one sequence are in order and follow what was computed for it before.
    pub rows: &'a [Row],
    /// The pages of each sequence, with room for all positions that occur.
    pub sequences: &'a [&'a Pages],
    /// Penalties on rows that want something, in the order of the rows; no token twice for one row.
    pub penalties: &'a [Penalty],
    /// Masks of rows that want something, in the order of the rows, at most one for each; where there is none, every token may be
    /// chosen. To whoever looks, the logits of the others are negative infinity.
    pub masks: &'a [Masked<'a>],
}

/// What was wanted behind one row. Lists of it are to be overwritten at their end.
pub enum Found {
    /// The likeliest token; of equals the lowest id.
    Likeliest(u32),
    /// The likeliest tokens.
    Candidates(Candidates),
    /// All logits.
    Logits(Vec<f32>),
}

impl Zeroize for Found {
    fn zeroize(&mut self) {
        match self {
            Self::Likeliest(token) => token.zeroize(),
            Self::Candidates(candidates) => candidates.zeroize(),
            Self::Logits(logits) => logits.zeroize(),
        }
    }
}

impl Batch<'_> {
    /// An empty list with room for what its rows want: one that grows would leave copies behind.
    pub(crate) fn room_for_found(&self) -> Zeroizing<Vec<Found>> {
        let count = self.rows.iter().filter(|row| row.wanted != Wanted::Nothing).count();
        Zeroizing::new(Vec::with_capacity(count))
    }
}

/// A device that runs the model's forward pass and keeps the attention cache.
///
/// The result for a sequence does not depend on what else is in a batch, nor on how its prompt is cut into batches: not by a
/// single bit, on one device. Where [`Backend::reads_otherwise`], it depends on which of its tokens are a prompt's.
///
/// A device that has failed once stays failed: every later call fails too or does nothing.
pub trait Backend: Send {
    /// Its name, as `cpu`.
    fn name(&self) -> &'static str;

    /// The adapter it runs on, if it is not the CPU.
    fn adapter(&self) -> Option<String>;

    /// The most tokens of prompts that a batch should ever have. How many it has, the time decides that batches take.
    fn prompt_chunk(&self) -> usize;

    /// Sets cache pages aside for a sequence of so many tokens; `None` if they are not to be had now.
    fn reserve(&mut self, tokens: usize) -> Option<Pages>;

    /// Takes pages back and wipes what was in them.
    fn release(&mut self, pages: Pages);

    /// Whether tokens of prompts are computed in another way than those of answers, so that the same text leaves other bits in the cache
    /// when it was read than when it was said.
    fn reads_otherwise(&self) -> bool {
        false
    }

    /// Computes a batch and returns what its rows want, in order, without those that want nothing.
    fn forward(&mut self, batch: &Batch<'_>) -> Result<Vec<Found>, DeviceFault>;

    /// What the last batch cost a graphics card; `None` on the CPU.
    fn work(&self) -> Option<Work> {
        None
    }
}

/// What one batch was for a graphics card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Kernels started.
    pub dispatches: u64,
    /// Bytes of the buffers that the kernels were given, each counted as often as it was bound: weights whole; of what has entries
    /// for tokens, positions or experts (scratch memory, the attention cache, the embedding) those that the batch had use for.
    pub bytes_bound: u64,
}
