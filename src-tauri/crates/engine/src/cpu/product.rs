//! Products of a group of quantised rows with quantised activations.
//!
//! Within a block everything is whole numbers and exact: eight sums of four products each. Between blocks the eight sums are scaled
//! and added in 32-bit floats, fused, in the order of the blocks; in the end the eight are folded. A machine without wide
//! registers computes the same bits, only slower.
//!
//! Matrix units of servers' processors (AMX) add up whole blocks, or give the eight sums more slowly than registers do: see
//! `docs/benchmarks.md`.

use super::activations::{Activations, Quantised};
use super::math::{Level, fold};
use super::packed::{GROUP, Packed};
#[cfg(target_arch = "x86_64")]
use super::x86;

/// Products of a group's rows with every activation, into `out`: sixteen for each token.
pub(super) fn group(level: Level, matrix: &Packed, group: usize, activations: &Activations, out: &mut [[f32; GROUP]]) {
    match level {
        Level::Portable => {
            for (token, out) in out.iter_mut().enumerate() {
                let with = activations.quantised(token, matrix.sums);
                *out = std::array::from_fn(|lane| portable(matrix, group, lane, with));
            }
        }
        #[cfg(target_arch = "x86_64")]
        Level::Avx2(_) | Level::AvxVnni(_) | Level::Avx512(_) => x86::group(level, matrix, group, activations, out),
    }
}

fn portable(matrix: &Packed, group: usize, lane: usize, with: Quantised<'_>) -> f32 {
    let mut lanes = [0.0_f32; 8];
    let mut offset = 0.0_f32;
    for block in 0..matrix.blocks {
        let place = group * matrix.blocks + block;
        let (quants, scales) = (matrix.quants(place, lane), matrix.scales(place, lane));
        let with_quants = &with.quants[block];
        for (lane, sum) in lanes.iter_mut().enumerate() {
            let whole: i32 = (lane * 4..lane * 4 + 4).map(|at| quants[at] * i32::from(with_quants[at])).sum();
            *sum = (whole as f32).mul_add(scales[lane / 4] * with.scales[block], *sum);
        }
        offset = matrix.offset(place, lane).mul_add(with.sums[block], offset);
    }
    fold(lanes) + offset
}
