//! One step: what it tells a device, and what is read back.

use zeroize::Zeroizing;

use crate::backend::{Batch, Found, Masked, Pages, Penalty, Row, Wanted};
use crate::sampling::{Candidates, MAX_CANDIDATES};

/// Words of a step's beginning, before its rows.
pub(crate) const STEP_HEAD: usize = 8;
/// Words of results of one row: the sum's logarithm, then id and logit of each candidate.
pub(crate) const RESULT_WORDS: usize = 1 + 2 * MAX_CANDIDATES;

/// Bytes of the results of so many rows: an id for each, then what else was found of each.
#[cfg(feature = "wgpu")]
pub(crate) fn result_bytes(rows: u32) -> u64 {
    u64::from(rows) * (1 + RESULT_WORDS as u64) * 4
}

/// How much there is in one step.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) tokens: u32,
    pub(crate) results: u32,
    /// Whether anything is to be found among the results' logits.
    pub(crate) find: bool,
    pub(crate) penalties: u32,
    pub(crate) masks: u32,
    /// Whether all of it is of prompts.
    pub(crate) prompt: bool,
    /// Whether no sequence has more than one token.
    pub(crate) alone: bool,
    /// Tokens that the last token of any sequence attends to, itself included, where there is no window.
    pub(crate) longest: u32,
    /// The same of all tokens together.
    pub(crate) positions: u64,
    /// Bytes of what the step tells the kernels, where they are counted.
    pub(crate) told: u64,
}

/// A buffer that results are read from.
#[derive(Clone, Copy)]
pub(crate) enum Source {
    Results,
    Logits,
}

/// From where, from which byte, to which byte, how many.
pub(crate) type Copy = (Source, u64, u64, u64);

/// Rows that are computed together.
pub(crate) struct Part<'a> {
    pub(crate) rows: &'a [Row],
    pub(crate) sequences: &'a [&'a Pages],
    /// Those of these rows, with the numbers of the batch's rows.
    pub(crate) penalties: Zeroizing<Vec<Penalty>>,
    /// Likewise.
    pub(crate) masks: Vec<Masked<'a>>,
    /// Rows that want something.
    pub(crate) wanting: Vec<usize>,
}

impl<'a> Part<'a> {
    /// Cuts a batch into parts of so many rows at most, of which so many have results. `apart`: no part has rows of prompts and others.
    pub(crate) fn cut(batch: &Batch<'a>, most: usize, results: usize, apart: bool) -> Vec<Self> {
        let mut parts = Vec::new();
        let mut first = 0;
        while first < batch.rows.len() {
            let mut wanting = Vec::new();
            let mut last = first;
            while last < batch.rows.len() && last - first < most.max(1) {
                if apart && batch.rows[last].prompt != batch.rows[first].prompt {
                    break;
                }
                if batch.rows[last].wanted != Wanted::Nothing {
                    if wanting.len() == results.max(1) {
                        break;
                    }
                    wanting.push(last - first);
                }
                last += 1;
            }
            let inside = batch.penalties.iter().filter(|penalty| (first..last).contains(&penalty.row));
            // Room for all: a list that grows would leave copies behind.
            let mut penalties = Zeroizing::new(Vec::with_capacity(inside.clone().count()));
            penalties.extend(inside.map(|&penalty| Penalty { row: penalty.row - first, ..penalty }));
            let inside = batch.masks.iter().filter(|masked| (first..last).contains(&masked.row));
            let masks = inside.map(|&masked| Masked { row: masked.row - first, ..masked }).collect();
            parts.push(Self { rows: &batch.rows[first..last], sequences: batch.sequences, penalties, masks, wanting });
            first = last;
        }
        parts
    }

    /// How many of its rows want all logits.
    #[cfg(feature = "wgpu")]
    pub(crate) fn wanting_logits(&self) -> usize {
        self.wanting.iter().filter(|&&row| self.rows[row].wanted == Wanted::Logits).count()
    }

    pub(crate) fn size(&self) -> Size {
        let finds = |&row: &usize| self.rows[row].wanted != Wanted::Logits;
        Size {
            tokens: self.rows.len() as u32,
            results: self.wanting.len() as u32,
            find: self.wanting.iter().any(finds) || !self.penalties.is_empty() || !self.masks.is_empty(),
            penalties: self.penalties.len() as u32,
            masks: self.masks.len() as u32,
            prompt: self.rows.iter().all(|row| row.prompt),
            alone: self
                .rows
                .iter()
                .enumerate()
                .all(|(at, row)| self.rows[..at].iter().all(|other| other.sequence != row.sequence)),
            longest: self.rows.iter().map(|row| row.position + 1).max().unwrap_or_default(),
            positions: self.rows.iter().map(|row| u64::from(row.position) + 1).sum(),
            told: 0,
        }
    }

    /// What the kernels read: a head, four words for each row (its token, position, where its pages are listed, and how many rows
    /// before it belong to the same run of neighbours in a sequence), two for each result, three for each penalty, of each mask the result
    /// and its bits, then pages.
    pub(crate) fn words(&self) -> Vec<u32> {
        let results_at = STEP_HEAD + 4 * self.rows.len();
        let penalties_at = results_at + 2 * self.wanting.len();
        let masks_at = penalties_at + 3 * self.penalties.len();
        let mask_words = self.masks.first().map_or(0, |masked| 1 + masked.mask.words().len());
        let mut tables_at = masks_at + mask_words * self.masks.len();
        let mut tables = vec![0; self.sequences.len()];
        for row in self.rows {
            if tables[row.sequence] == 0 {
                tables[row.sequence] = tables_at;
                tables_at += self.sequences[row.sequence].0.len();
            }
        }
        let mut words = vec![0; tables_at];
        let (rows, results) = (self.rows.len(), self.wanting.len());
        let head = [rows, results, self.penalties.len(), results_at, penalties_at, masks_at];
        for (word, value) in words.iter_mut().zip(head) {
            *word = value as u32;
        }
        let (mut before, mut run) = (None, 0);
        for (row, words) in self.rows.iter().zip(words[STEP_HEAD..].chunks_exact_mut(4)) {
            let follows = before == Some((row.sequence, row.position.wrapping_sub(1)));
            run = if follows { run + 1 } else { 0 };
            before = Some((row.sequence, row.position));
            words.copy_from_slice(&[row.token, row.position, tables[row.sequence] as u32, run]);
        }
        for (&row, words) in self.wanting.iter().zip(words[results_at..].chunks_exact_mut(2)) {
            let count = match self.rows[row].wanted {
                Wanted::Nothing | Wanted::Logits => 0,
                Wanted::Likeliest => 1,
                Wanted::Candidates => MAX_CANDIDATES as u32,
            };
            words.copy_from_slice(&[row as u32, count]);
        }
        for (penalty, words) in self.penalties.iter().zip(words[penalties_at..].chunks_exact_mut(3)) {
            words.copy_from_slice(&[self.result_of(penalty.row), penalty.token, penalty.amount.to_bits()]);
        }
        for (masked, words) in self.masks.iter().zip(words[masks_at..].chunks_exact_mut(mask_words.max(1))) {
            words[0] = self.result_of(masked.row);
            words[1..].copy_from_slice(masked.mask.words());
        }
        for (pages, &at) in self.sequences.iter().zip(&tables).filter(|(_, at)| **at != 0) {
            words[at..at + pages.0.len()].copy_from_slice(&pages.0);
        }
        words
    }

    /// What to copy where, of results with room for so many rows: ids, candidates of the rows that want them, logits of those that want these.
    pub(crate) fn readback(&self, results: u32, vocabulary: usize) -> Vec<Copy> {
        let mut copies = Vec::new();
        let ids = self.wanting.len() as u64 * 4;
        if self.wanting.is_empty() {
            return copies;
        }
        copies.push((Source::Results, 0, 0, ids));
        let mut to = ids;
        let (results, vocabulary) = (u64::from(results), vocabulary as u64 * 4);
        for (index, &row) in self.wanting.iter().enumerate() {
            let (source, offset, bytes) = match self.rows[row].wanted {
                Wanted::Nothing | Wanted::Likeliest => continue,
                Wanted::Candidates => {
                    let bytes = RESULT_WORDS as u64 * 4;
                    (Source::Results, results * 4 + index as u64 * bytes, bytes)
                }
                Wanted::Logits => (Source::Logits, index as u64 * vocabulary, vocabulary),
            };
            copies.push((source, offset, to, bytes));
            to += bytes;
        }
        copies
    }

    /// The same as bytes; no copy of them is left behind.
    pub(crate) fn bytes(&self) -> Zeroizing<Vec<u8>> {
        let words = Zeroizing::new(self.words());
        let mut bytes = Zeroizing::new(Vec::with_capacity(words.len() * 4));
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        bytes
    }

    /// The number among the results of a row that wants something.
    fn result_of(&self, row: usize) -> u32 {
        self.wanting.iter().position(|&wanting| wanting == row).unwrap_or_default() as u32
    }

    /// Takes results out of what was read back.
    pub(crate) fn take(&self, view: &[u8], copies: &[Copy], found: &mut Vec<Found>) {
        let word = |at: usize| -> u32 {
            let bytes = view.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u32::from_le_bytes)
        };
        let mut copies = copies.iter().skip(1);
        for (index, &row) in self.wanting.iter().enumerate() {
            found.push(match self.rows[row].wanted {
                Wanted::Nothing | Wanted::Likeliest => Found::Likeliest(word(index * 4)),
                Wanted::Candidates => {
                    let at = copies.next().map_or(0, |&(_, _, to, _)| to as usize);
                    let pair = |n: usize| (word(at + 4 + n * 8), f32::from_bits(word(at + 8 + n * 8)));
                    let mut likeliest: Vec<(u32, f32)> = Vec::with_capacity(MAX_CANDIDATES);
                    likeliest.extend((0..MAX_CANDIDATES).map(pair).take_while(|&(id, _)| id != u32::MAX));
                    Found::Candidates(Candidates { likeliest, log_sum_exp: f32::from_bits(word(at)) })
                }
                Wanted::Logits => {
                    let (at, bytes) = copies.next().map_or((0, 0), |&(_, _, to, bytes)| (to as usize, bytes as usize));
                    let values = view.get(at..at + bytes).unwrap_or_default().as_chunks::<4>().0;
                    Found::Logits(values.iter().map(|&value| f32::from_le_bytes(value)).collect())
                }
            });
        }
    }
}
