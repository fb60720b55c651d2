//! How kernels are cut for a card.

use crate::adapter::{Adapter, AdapterKind};

/// The sizes that kernels are written out for. What is computed does not depend on them but for the order of sums, and that order
/// only on `lanes` and `subgroups`.
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
                batch: 64,
            };
        }
        // Of one size only: kernels for one token and for eight must add in the same order.
        Self::of_card(adapter.subgroup.is_some_and(|(least, most)| least == most && least >= 16))
    }

    /// What suits a card that is no software.
    pub(super) fn of_card(subgroups: bool) -> Self {
        Self {
            // All threads read one row side by side, so that memory is read in long pieces.
            workgroup: 64,
            lanes: 64,
            rows: 4,
            tokens: vec![1, 4, 8],
            threads: 64,
            subgroups,
            integer_dot: true,
            batch: 256,
        }
    }
}
