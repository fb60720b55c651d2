//! How much of what a kernel is given a step has use for, for [`crate::backend::Work::bytes_bound`].
//!
//! Weights are read whole, as often as a kernel is given them. Of some buffers a step needs entries only: of the cache those of the
//! positions that its tokens attend to, of what is computed on the way those of its tokens, of the embedding and of the angles a row
//! for each token, of experts those that are asked.

use crate::backend::PAGE_TOKENS;
use crate::model::Parameters;

use super::plan::{LayerCache, MOST_SLICES, Name, Op, Scratch};
use super::step::Size;
use super::weights::Weights;

/// A handle of a buffer, as far as its share is concerned.
pub(crate) trait Extent: Clone {
    /// Bytes of the buffer.
    fn extent(&self) -> u64;

    /// Whether both are handles of one buffer.
    fn is(&self, other: &Self) -> bool;
}

/// What a buffer has entries for.
#[derive(Clone, Copy)]
enum Entries {
    Tokens,
    Results,
    /// Positions that are attended to, of each token so many at most.
    Positions(u64),
    Slots,
    /// Bytes that a step tells.
    Told,
}

/// The part of a buffer that a step has use for.
#[derive(Clone, Copy)]
pub(crate) struct Share {
    bytes: u64,
    /// Of so many entries as many as the step has; `None`: all of it.
    entries: Option<(Entries, u64)>,
}

impl Share {
    /// Bytes of it in a step of this size, where a token asks so many experts.
    pub(crate) fn bytes(&self, size: Size, used: u32) -> u64 {
        let Some((entries, among)) = self.entries else { return self.bytes };
        let tokens = u64::from(size.tokens);
        let count = match entries {
            Entries::Tokens => tokens,
            Entries::Results => u64::from(size.results),
            Entries::Positions(window) => size.positions.min(tokens.saturating_mul(window)),
            Entries::Slots => tokens * u64::from(used),
            Entries::Told => size.told,
        };
        (u128::from(self.bytes) * u128::from(count.min(among)) / u128::from(among.max(1))) as u64
    }
}

/// What buffers have entries for, and how many.
pub(crate) struct Shares<B> {
    /// The last entry of a buffer counts.
    known: Vec<(B, (Entries, u64))>,
    vocabulary: u64,
    experts: u64,
}

impl<B> Default for Shares<B> {
    /// All buffers whole, but for weights of which a token needs rows.
    fn default() -> Self {
        Self { known: Vec::new(), vocabulary: 0, experts: 0 }
    }
}

impl<B: Extent> Shares<B> {
    /// Of all buffers of a model, for so many tokens together and so many of them with results; `slice` are the positions of a slice of
    /// attention, where there are slices.
    pub(crate) fn new(
        p: &Parameters,
        scratch: &Scratch<B>,
        weights: &Weights<B>,
        caches: &[LayerCache<B>],
        slice: Option<u32>,
        [batch, results]: [u32; 2],
    ) -> Self {
        let [batch, results] = [batch, results].map(u64::from);
        let mut known: Vec<(B, (Entries, u64))> =
            scratch.all().into_iter().map(|buffer| (buffer.clone(), (Entries::Tokens, batch))).collect();
        known.push((scratch.step.clone(), (Entries::Told, scratch.step.extent())));
        for buffer in [&scratch.logits, &scratch.found, &scratch.sums, &scratch.results] {
            known.push((buffer.clone(), (Entries::Results, results)));
        }
        if let Some(slice) = slice {
            let positions = results * u64::from(MOST_SLICES) * u64::from(slice);
            known.push((scratch.partials.clone(), (Entries::Positions(u64::MAX), positions)));
        }
        for turns in [Some(&weights.turns), weights.turns_in_window.as_ref()].into_iter().flatten() {
            known.push((turns.clone(), (Entries::Tokens, turns.extent() / (p.rope_size as u64 * 4).max(1))));
        }
        let position = (p.kv_heads * p.head_size * 2) as u64;
        for buffer in caches.iter().flat_map(|cache| [&cache.keys, &cache.values]) {
            let pages = buffer.extent() / (position * PAGE_TOKENS as u64).max(1);
            known.push((buffer.clone(), (Entries::Positions(u64::MAX), pages * PAGE_TOKENS as u64)));
        }
        let experts = p.experts.map_or(1, |experts| experts.count as u64);
        Self { known, vocabulary: p.vocabulary as u64, experts }
    }

    /// Of one buffer of an operation.
    pub(crate) fn of(&self, op: &Op<B>, binding: u32, buffer: &B) -> Share {
        let of_weights = || match (op.kernel, binding) {
            (Name::Embed, 2 | 3) => Some((Entries::Tokens, self.vocabulary)),
            (Name::Product, 2 | 3) if op.values.contains_key("EXPERTS") => Some((Entries::Slots, self.experts)),
            _ => None,
        };
        let known = self.known.iter().rfind(|(known, _)| known.is(buffer));
        let entries = known.map_or_else(of_weights, |&(_, (entries, among))| {
            Some(match (op.kernel, entries) {
                (Name::Attention, Entries::Positions(_)) => (Entries::Positions(u64::from(op.numbers[1])), among),
                (Name::Merge, Entries::Positions(_)) => (entries, among),
                // Whoever else is given the cache writes one entry for each token.
                (_, Entries::Positions(_)) => (Entries::Tokens, among),
                _ => (entries, among),
            })
        });
        Share { bytes: buffer.extent(), entries }
    }
}
