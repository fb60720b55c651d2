//! Dot products of quantised rows with quantised activations.
//!
//! Within a block everything is whole numbers and exact: eight sums of four products each. Between blocks the eight sums are scaled
//! and added in 32-bit floats, fused, in the order of the blocks; in the end the eight are folded. A machine without AVX2
//! computes the same bits, only slower.

use super::math::{Level, fold};
use super::matrix::{Activations, Quantised};
#[cfg(target_arch = "x86_64")]
use super::x86;

/// Fills place `at` of every output, four activations at a time as long as there are four.
pub(super) fn each(
    out: &mut [&mut [f32]],
    activations: &Activations,
    at: usize,
    one: impl Fn(Quantised<'_>) -> f32,
    four: impl Fn([Quantised<'_>; 4]) -> [f32; 4],
) {
    let (fours, rest) = out.as_chunks_mut::<4>();
    let whole = fours.len() * 4;
    for (index, out) in fours.iter_mut().enumerate() {
        let results = four(std::array::from_fn(|n| activations.quantised(index * 4 + n)));
        for (out, result) in out.iter_mut().zip(results) {
            out[at] = result;
        }
    }
    for (n, out) in rest.iter_mut().enumerate() {
        out[at] = one(activations.quantised(whole + n));
    }
}

/// A row of Q4_1 blocks with one activation.
pub(super) fn q4_1(level: Level, quants: &[[u8; 16]], scales: &[f32], offsets: &[f32], with: Quantised<'_>) -> f32 {
    match level {
        Level::Portable => q4_1_portable(quants, scales, offsets, with),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => x86::q4_1(quants, scales, offsets, [with])[0],
    }
}

/// A row of Q4_1 blocks with four activations.
pub(super) fn q4_1_by_four(
    level: Level,
    quants: &[[u8; 16]],
    scales: &[f32],
    offsets: &[f32],
    with: [Quantised<'_>; 4],
) -> [f32; 4] {
    match level {
        Level::Portable => with.map(|with| q4_1_portable(quants, scales, offsets, with)),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => x86::q4_1(quants, scales, offsets, with),
    }
}

/// A row of Q8_0 blocks with one activation.
pub(super) fn q8_0(level: Level, quants: &[[i8; 32]], scales: &[f32], with: Quantised<'_>) -> f32 {
    match level {
        Level::Portable => q8_0_portable(quants, scales, with),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => x86::q8_0(quants, scales, [with])[0],
    }
}

/// A row of Q8_0 blocks with four activations.
pub(super) fn q8_0_by_four(level: Level, quants: &[[i8; 32]], scales: &[f32], with: [Quantised<'_>; 4]) -> [f32; 4] {
    match level {
        Level::Portable => with.map(|with| q8_0_portable(quants, scales, with)),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => x86::q8_0(quants, scales, with),
    }
}

fn q4_1_portable(quants: &[[u8; 16]], scales: &[f32], offsets: &[f32], with: Quantised<'_>) -> f32 {
    let mut lanes = [0.0_f32; 8];
    let mut offset = 0.0_f32;
    for (block, quants) in quants.iter().enumerate() {
        let activation = &with.quants[block];
        let weight: [i32; 32] =
            std::array::from_fn(|at| i32::from(if at < 16 { quants[at] & 15 } else { quants[at - 16] >> 4 }));
        add_block(&mut lanes, scales[block] * with.scales[block], &weight, activation);
        offset = offsets[block].mul_add(with.sums[block], offset);
    }
    fold(lanes) + offset
}

fn q8_0_portable(quants: &[[i8; 32]], scales: &[f32], with: Quantised<'_>) -> f32 {
    let mut lanes = [0.0_f32; 8];
    for (block, quants) in quants.iter().enumerate() {
        let weight = quants.map(i32::from);
        add_block(&mut lanes, scales[block] * with.scales[block], &weight, &with.quants[block]);
    }
    fold(lanes)
}

fn add_block(lanes: &mut [f32; 8], scale: f32, weight: &[i32; 32], activation: &[i8; 32]) {
    for (lane, sum) in lanes.iter_mut().enumerate() {
        let four = lane * 4..lane * 4 + 4;
        let whole: i32 = four.map(|at| weight[at] * i32::from(activation[at])).sum();
        *sum = (whole as f32).mul_add(scale, *sum);
    }
}
