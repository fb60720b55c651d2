//! How kernels are cut for a card.

use crate::adapter::{Adapter, AdapterKind};
use crate::device::GATES;

/// Tokens from which on a tile's activations go through memory that a workgroup shares.
pub(super) const STAGED: u32 = 16;

/// Rows of a matrix that a workgroup computes with cooperative matrices.
pub(super) const COOPERATIVE_ROWS: u32 = 64;

/// The sizes that kernels are written out for. What is computed does not depend on them but for the order of sums, and that order
/// only on `lanes`, `threads` and `subgroups`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    /// Threads of a workgroup of the matrix kernels.
    pub(super) workgroup: u32,
    /// Threads that share one tile of a matrix: 1, or up to the whole workgroup.
    pub(super) lanes: u32,
    /// Rows of a tile, an even number.
    pub(super) rows: u32,
    /// Tokens of a tile, from few to many: for one sequence that answers, for several, for prompts.
    pub(super) tokens: Vec<u32>,
    /// Threads of a workgroup of the other kernels.
    pub(super) threads: u32,
    /// Whether sums go over subgroups. Only where one tile has the whole workgroup.
    pub(super) subgroups: bool,
    /// Whether bytes are multiplied four at a time, as whole numbers.
    pub(super) integer_dot: bool,
    /// Side of the cooperative matrices that prompts are read with, if they are: what comes of them differs from what comes of an
    /// answer's tokens as 16-bit floats do.
    pub(super) cooperative: Option<u32>,
    /// Tokens computed together at most.
    pub(super) batch: u32,
}

impl Shape {
    /// What suits a card. Measured for software; judged for the others, from what they read at once.
    pub(super) fn of(adapter: &Adapter) -> Self {
        if adapter.kind == AdapterKind::Software {
            return Self {
                // Threads are lanes of the processor's registers: each reads its own rows from front to back.
                workgroup: 32,
                lanes: 1,
                rows: 2,
                // Where 16-bit floats are missing it is SwiftShader, whose compiler takes minutes for large tiles.
                tokens: if adapter.half_floats { vec![1, 4, 8] } else { vec![1, 2] },
                threads: 32,
                subgroups: false,
                integer_dot: adapter.half_floats,
                cooperative: None,
                batch: 64,
            };
        }
        Self::of_card(false)
    }

    /// What suits a card that is no software: for prompts too, or with the whole workgroup at one row and sums over subgroups, for the
    /// fewest tokens. Sums run over as many threads as any subgroup has, so it is no matter whether these are all of one size.
    pub(super) fn of_card(subgroups: bool) -> Self {
        Self {
            // So many threads read one row side by side, so that memory is read in long pieces.
            workgroup: 64,
            lanes: if subgroups { 64 } else { 16 },
            rows: 4,
            tokens: if subgroups { vec![1, 4, 8] } else { vec![1, 4, STAGED] },
            threads: 64,
            subgroups,
            integer_dot: true,
            cooperative: None,
            batch: 256,
        }
    }

    /// Columns of what gates let through that one workgroup computes, which has so many rows at a time: whole blocks.
    pub(super) fn gates(rows: u32) -> u32 {
        (rows / 2).next_multiple_of(GATES as u32)
    }

    /// Tokens of a prompt that a workgroup computes together with cooperative matrices: two of these side by side.
    pub(super) fn cooperative_tokens(&self) -> Option<u32> {
        self.cooperative.map(|side| 2 * side)
    }

    /// Whether activations of so many tokens go through memory that a workgroup shares.
    pub(super) fn stages(&self, tokens: u32) -> bool {
        tokens >= STAGED && (2..=16).contains(&self.lanes)
    }

    /// Threads of a workgroup then: many tiles share what was brought.
    pub(super) fn staged_workgroup(&self) -> u32 {
        self.workgroup.max(128)
    }
}
