//! Attention of one layer in one batch.

use zeroize::Zeroize;

use super::cache::{Cache, List};
use super::math::{self, LANES, Level, fold};
use super::room::room;
#[cfg(target_arch = "x86_64")]
use super::x86;
use crate::backend::{Batch, PAGE_TOKENS, Row};
use crate::model::Parameters;

pub(super) struct Attention<'a> {
    pub(super) parameters: &'a Parameters,
    pub(super) level: Level,
    pub(super) cache: &'a Cache,
    pub(super) layer: usize,
    pub(super) batch: &'a Batch<'a>,
}

/// Queries of one row that share keys and values, and the places for their results.
pub(super) struct Heads<'a> {
    pub(super) row: &'a Row,
    /// Number of the keys and values.
    pub(super) kv_head: usize,
    pub(super) queries: &'a mut [f32],
    pub(super) out: &'a mut [f32],
}

/// Scratch memory of a thread.
#[derive(Default)]
pub(super) struct Space {
    /// Keys of a page in 32 bits.
    keys: Vec<f32>,
    /// Scores of one page, of each query.
    page: Vec<f32>,
    /// Scores of all positions, of each query.
    scores: Vec<Vec<f32>>,
    lanes: Vec<f32>,
}

impl Drop for Space {
    fn drop(&mut self) {
        for list in [&mut self.keys, &mut self.page, &mut self.lanes] {
            list.zeroize();
        }
        self.scores.zeroize();
    }
}

impl Attention<'_> {
    /// All heads of these rows: `queries` and `out` have those of one row after another's.
    pub(super) fn split<'b>(&self, rows: &'b [Row], queries: &'b mut [f32], out: &'b mut [f32]) -> Vec<Heads<'b>> {
        let Parameters { heads, kv_heads, head_size, .. } = *self.parameters;
        let shared = heads / kv_heads * head_size;
        let pairs = queries.chunks_exact_mut(shared).zip(out.chunks_exact_mut(shared)).enumerate();
        let heads = |(index, (queries, out)): (usize, _)| {
            let (queries, out): (&mut [f32], &mut [f32]) = (queries, out);
            Heads { row: &rows[index / kv_heads], kv_head: index % kv_heads, queries, out }
        };
        pairs.map(heads).collect()
    }

    /// Heads of one row. Keys and values are read once for all of them.
    pub(super) fn attend(&self, space: &mut Space, heads: &mut Heads<'_>) {
        let Parameters { head_size, attention_scale, attention_cap, .. } = *self.parameters;
        let Space { keys, page, scores, lanes } = space;
        let pages = self.batch.sequences[heads.row.sequence];
        let count = heads.row.position as usize + 1;
        math::round_in_place(self.level, heads.queries);
        let first = self.parameters.window_of(self.layer).map_or(0, |window| count.saturating_sub(window));
        let queries = heads.queries.len() / head_size;
        scores.resize_with(queries, Vec::new);
        for scores in scores.iter_mut() {
            // Of anything, so that it need not grow, which would leave the smaller one behind.
            room(scores, (count - first).next_multiple_of(16));
            scores.clear();
        }
        room(page, queries * PAGE_TOKENS);
        room(keys, PAGE_TOKENS * head_size);
        for (index, seen) in pages_of(first, count) {
            let stored = self.cache.page(pages, index, self.layer, List::Key, heads.kv_head);
            scores_of(self.level, stored, heads.queries, keys, page);
            for (scores, page) in scores.iter_mut().zip(page.chunks_exact(PAGE_TOKENS)) {
                scores.extend_from_slice(&page[seen.clone()]);
            }
        }
        for scores in scores.iter_mut() {
            let mut scale = attention_scale;
            if let Some(cap) = attention_cap {
                for score in scores.iter_mut() {
                    *score = math::capped(*score * scale, cap);
                }
                scale = 1.0;
            }
            scores.resize((count - first).next_multiple_of(16), f32::NEG_INFINITY);
            math::softmax(self.level, scores, scale);
        }
        // Sums run in lanes by position, as if values were stored position after position. Lanes without any are zero.
        let all = pages_of(first, count)
            .map(|(index, _)| self.cache.page(pages, index, self.layer, List::Value, heads.kv_head));
        Values { pages: all.collect(), head_size, positions: first..count, weights: scores }
            .sum(self.level, lanes, heads.out);
    }
}

/// The pages that have these positions, and which of a page's positions they are.
fn pages_of(first: usize, count: usize) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> {
    (first / PAGE_TOKENS..count.div_ceil(PAGE_TOKENS)).map(move |index| {
        let start = index * PAGE_TOKENS;
        (index, first.max(start) - start..count.min(start + PAGE_TOKENS) - start)
    })
}

/// Scores of all positions of a page, of each query. Keys are stored value after value, of each the positions; `wide` has room for
/// them in 32 bits, and `out` for a page of each query.
fn scores_of(level: Level, keys: &[u16], queries: &[f32], wide: &mut [f32], out: &mut [f32]) {
    if keys.len() != wide.len() {
        // There is no such page.
        out.fill(f32::NEG_INFINITY);
        return;
    }
    match level {
        Level::Portable => {
            wide.iter_mut().zip(keys).for_each(|(wide, &bits)| *wide = math::widen_f16(bits));
            let head_size = keys.len() / PAGE_TOKENS;
            for (query, out) in queries.chunks_exact(head_size).zip(out.chunks_exact_mut(PAGE_TOKENS)) {
                for (position, out) in out.iter_mut().enumerate() {
                    let mut lanes = [0.0_f32; LANES];
                    for (at, &query) in query.iter().enumerate().take(head_size / LANES * LANES) {
                        let key = wide[at * PAGE_TOKENS + position];
                        lanes[at % LANES] = key.mul_add(query, lanes[at % LANES]);
                    }
                    *out = fold(lanes);
                }
                finish_scores(wide, query, out);
            }
        }
        #[cfg(target_arch = "x86_64")]
        Level::Avx2(_) | Level::AvxVnni(_) | Level::Avx512(_) => {
            x86::attention::scores(level, keys, queries, wide, out);
        }
    }
}

/// Adds products of the values behind the last whole [`LANES`], in 64 bits.
#[inline]
pub(super) fn finish_scores(wide: &[f32], query: &[f32], out: &mut [f32]) {
    let whole = query.len() / LANES * LANES;
    if whole == query.len() {
        return;
    }
    for (position, out) in out.iter_mut().enumerate() {
        let products = (whole..query.len()).map(|at| f64::from(wide[at * PAGE_TOKENS + position] * query[at]));
        *out = products.fold(f64::from(*out), |sum, product| sum + product) as f32;
    }
}

/// Values of positions, to be added up by their weights.
pub(super) struct Values<'a> {
    /// The pages that have the positions; of each, position after position. An empty one adds nothing.
    pub(super) pages: Vec<&'a [u16]>,
    pub(super) head_size: usize,
    pub(super) positions: std::ops::Range<usize>,
    /// Of each query, of each position.
    pub(super) weights: &'a [Vec<f32>],
}

impl Values<'_> {
    /// Adds the values of each lane up, times their weights, and the lanes in halves, for each query.
    fn sum(&self, level: Level, lanes: &mut Vec<f32>, out: &mut [f32]) {
        match level {
            Level::Portable => {
                room(lanes, LANES * self.head_size);
                for (weights, out) in self.weights.iter().zip(out.chunks_exact_mut(self.head_size)) {
                    lanes.fill(0.0);
                    for (position, &weight) in self.positions.clone().zip(weights) {
                        let values = self.of(position);
                        let lane = &mut lanes[position % LANES * self.head_size..][..self.head_size];
                        for (sum, &value) in lane.iter_mut().zip(values) {
                            *sum = math::widen_f16(value).mul_add(weight, *sum);
                        }
                    }
                    math::fold_lanes(level, lanes, self.head_size, self.used());
                    out.copy_from_slice(&lanes[..self.head_size]);
                }
            }
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(_) | Level::AvxVnni(_) | Level::Avx512(_) => {
                room(lanes, x86::attention::SPACE);
                x86::attention::sum(level, self, lanes, out);
            }
        }
    }

    /// How many lanes may have anything. With a window, positions may begin at any lane.
    pub(super) fn used(&self) -> usize {
        if self.positions.start == 0 { self.positions.end } else { LANES }
    }

    /// The first position of a lane.
    pub(super) fn first_of(&self, lane: usize) -> usize {
        self.positions.start + (lane + LANES - self.positions.start % LANES) % LANES
    }

    /// The values of a position; none if there is no such page.
    pub(super) fn of(&self, position: usize) -> &[u16] {
        let page = self.pages.get(position / PAGE_TOKENS - self.positions.start / PAGE_TOKENS);
        let from = position % PAGE_TOKENS * self.head_size;
        page.and_then(|page| page.get(from..from + self.head_size)).unwrap_or_default()
    }
}
