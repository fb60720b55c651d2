//! Dot products of quantised rows with quantised activations.
//!
//! Within a block everything is whole numbers and exact: eight sums of four products each. Between blocks the eight sums are scaled
//! and added in 32-bit floats, fused, in the order of the blocks; in the end the eight are folded. A machine without AVX2
//! computes the same bits, only slower.

use super::math::{Level, fold};
use super::matrix::{Activations, Quantised, Sums};
#[cfg(target_arch = "x86_64")]
use super::x86;

/// One row's blocks, in one of the forms that weights have.
pub(super) trait Row: Copy {
    /// Eight sums of four products of a block's quants with an activation's, the scale of each half, and the offset.
    fn block(self, block: usize, with: &[i8; 32]) -> ([i32; 8], [f32; 2], f32);

    /// How many blocks there are.
    fn blocks(self) -> usize;

    /// The whole row with `N` activations, with the instructions of a level above the portable one.
    #[cfg(target_arch = "x86_64")]
    fn wide<const N: usize>(self, level: Level, with: [Quantised<'_>; N]) -> [f32; N];
}

/// Blocks of 4-bit quants with scales and offsets.
#[derive(Clone, Copy)]
pub(super) struct Nibbles<'a> {
    pub(super) quants: &'a [[u8; 16]],
    pub(super) scales: &'a [f32],
    pub(super) offsets: &'a [f32],
}

/// Blocks of quants from 0 to 31 with scales and offsets.
#[derive(Clone, Copy)]
pub(super) struct Unsigned<'a> {
    pub(super) quants: &'a [[i8; 32]],
    pub(super) scales: &'a [f32],
    pub(super) offsets: &'a [f32],
}

/// Blocks of signed quants with scales.
#[derive(Clone, Copy)]
pub(super) struct Signed<'a> {
    pub(super) quants: &'a [[i8; 32]],
    pub(super) scales: &'a [f32],
}

/// Blocks of signed quants with a scale for each half.
#[derive(Clone, Copy)]
pub(super) struct Halves<'a> {
    pub(super) quants: &'a [[i8; 32]],
    pub(super) scales: &'a [[f32; 2]],
}

/// Fills place `at` of every output with a row's products, four activations at a time as long as there are four.
pub(super) fn each(
    level: Level,
    out: &mut [&mut [f32]],
    activations: &Activations,
    sums: Sums,
    at: usize,
    row: impl Row,
) {
    let (fours, rest) = out.as_chunks_mut::<4>();
    let whole = fours.len() * 4;
    for (index, out) in fours.iter_mut().enumerate() {
        let results = several::<4>(level, row, std::array::from_fn(|n| activations.quantised(index * 4 + n, sums)));
        for (out, result) in out.iter_mut().zip(results) {
            out[at] = result;
        }
    }
    for (n, out) in rest.iter_mut().enumerate() {
        [out[at]] = several(level, row, [activations.quantised(whole + n, sums)]);
    }
}

fn several<const N: usize>(level: Level, row: impl Row, with: [Quantised<'_>; N]) -> [f32; N] {
    match level {
        Level::Portable => with.map(|with| portable(row, with)),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 | Level::Avx512 => row.wide(level, with),
    }
}

fn portable(row: impl Row, with: Quantised<'_>) -> f32 {
    let mut lanes = [0.0_f32; 8];
    let mut offset = 0.0_f32;
    for block in 0..row.blocks() {
        let (sums, scales, more) = row.block(block, &with.quants[block]);
        for (lane, (sum, whole)) in lanes.iter_mut().zip(sums).enumerate() {
            *sum = (whole as f32).mul_add(scales[lane / 4] * with.scales[block], *sum);
        }
        offset = more.mul_add(with.sums[block], offset);
    }
    fold(lanes) + offset
}

fn sums(weight: impl Fn(usize) -> i32, with: &[i8; 32]) -> [i32; 8] {
    std::array::from_fn(|lane| (lane * 4..lane * 4 + 4).map(|at| weight(at) * i32::from(with[at])).sum())
}

impl Row for Nibbles<'_> {
    fn block(self, block: usize, with: &[i8; 32]) -> ([i32; 8], [f32; 2], f32) {
        let quants = &self.quants[block];
        let weight = |at: usize| i32::from(if at < 16 { quants[at] & 15 } else { quants[at - 16] >> 4 });
        (sums(weight, with), [self.scales[block]; 2], self.offsets[block])
    }

    fn blocks(self) -> usize {
        self.quants.len()
    }

    #[cfg(target_arch = "x86_64")]
    fn wide<const N: usize>(self, level: Level, with: [Quantised<'_>; N]) -> [f32; N] {
        x86::nibbles(level, self, with)
    }
}

impl Row for Unsigned<'_> {
    fn block(self, block: usize, with: &[i8; 32]) -> ([i32; 8], [f32; 2], f32) {
        let quants = &self.quants[block];
        (sums(|at| i32::from(quants[at]), with), [self.scales[block]; 2], self.offsets[block])
    }

    fn blocks(self) -> usize {
        self.quants.len()
    }

    #[cfg(target_arch = "x86_64")]
    fn wide<const N: usize>(self, level: Level, with: [Quantised<'_>; N]) -> [f32; N] {
        x86::unsigned(level, self, with)
    }
}

impl Row for Signed<'_> {
    fn block(self, block: usize, with: &[i8; 32]) -> ([i32; 8], [f32; 2], f32) {
        let quants = &self.quants[block];
        (sums(|at| i32::from(quants[at]), with), [self.scales[block]; 2], 0.0)
    }

    fn blocks(self) -> usize {
        self.quants.len()
    }

    #[cfg(target_arch = "x86_64")]
    fn wide<const N: usize>(self, level: Level, with: [Quantised<'_>; N]) -> [f32; N] {
        x86::signed(level, self, with)
    }
}

impl Row for Halves<'_> {
    fn block(self, block: usize, with: &[i8; 32]) -> ([i32; 8], [f32; 2], f32) {
        let quants = &self.quants[block];
        (sums(|at| i32::from(quants[at]), with), self.scales[block], 0.0)
    }

    fn blocks(self) -> usize {
        self.quants.len()
    }

    #[cfg(target_arch = "x86_64")]
    fn wide<const N: usize>(self, level: Level, with: [Quantised<'_>; N]) -> [f32; N] {
        x86::halves(level, self, with)
    }
}
