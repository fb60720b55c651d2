//! Scores and weighted sums of attention with AVX2 and AVX-512; the same bits as the portable ones.

#![allow(clippy::cast_ptr_alignment, reason = "loads of 16-bit floats need none")]

use crate::backend::PAGE_TOKENS;
use crate::cpu::attention::{Values, finish_scores};
use crate::cpu::math::{LANES, Level};

/// As the portable scores, at a level above that one, which does nothing here.
pub(in crate::cpu) fn scores(level: Level, keys: &[u16], queries: &[f32], wide: &mut [f32], out: &mut [f32]) {
    match level {
        Level::Portable => {}
        // SAFETY: whoever has such a level has shown that the machine has its instructions, of which AVX2's are a part.
        Level::Avx2(_) | Level::AvxVnni(_) => unsafe { avx2::scores(keys, queries, wide, out) },
        // SAFETY: likewise.
        Level::Avx512(_) => unsafe { avx512::scores(keys, queries, wide, out) },
    }
}

/// As the portable sums of values, at a level above that one, which does nothing here.
/// `space` has room for at least [`SPACE`] numbers.
pub(in crate::cpu) fn sum(level: Level, values: &Values<'_>, space: &mut [f32], out: &mut [f32]) {
    match level {
        Level::Portable => {}
        // SAFETY: as above.
        Level::Avx2(_) | Level::AvxVnni(_) => unsafe { avx2::sum(values, space, out) },
        // SAFETY: as above.
        Level::Avx512(_) => unsafe { avx512::sum(values, space, out) },
    }
}

/// Lanes that are folded in registers before anything is kept.
const FOLDED: usize = 4;
/// Numbers that [`sum`] keeps between: of four queries, two registers for each lane that is left.
pub(in crate::cpu) const SPACE: usize = LANES / FOLDED * 4 * 2 * 16;

/// Declares both for the registers of a module, which has named their intrinsics.
macro_rules! attention {
    ($features:literal) => {
        #[target_feature(enable = $features)]
        pub(super) fn scores(keys: &[u16], queries: &[f32], wide: &mut [f32], out: &mut [f32]) {
            let head_size = keys.len() / PAGE_TOKENS;
            assert!(wide.len() == keys.len() && keys.len() % WIDE == 0 && head_size * PAGE_TOKENS == keys.len());
            for at in (0..keys.len()).step_by(WIDE) {
                // SAFETY: both lists are as long, a multiple of what is read.
                unsafe {
                    store(wide.as_mut_ptr().add(at), widen(load_halves(keys.as_ptr().add(at).cast::<HalfRegister>())))
                };
            }
            for (query, out) in queries.chunks_exact(head_size).zip(out.chunks_exact_mut(PAGE_TOKENS)) {
                match head_size / LANES {
                    1 => page::<1>(wide, query, out, 1),
                    2 => page::<2>(wide, query, out, 2),
                    blocks => page::<0>(wide, query, out, blocks),
                }
                finish_scores(wide, query, out);
            }
        }

        /// Scores of one query: sums over `BLOCKS` times [`LANES`] values, or over `blocks` if that is 0.
        #[target_feature(enable = $features)]
        fn page<const BLOCKS: usize>(wide: &[f32], query: &[f32], out: &mut [f32], blocks: usize) {
            let blocks = if BLOCKS == 0 { blocks } else { BLOCKS };
            assert!(
                query.len() >= blocks * LANES && wide.len() >= query.len() * PAGE_TOKENS && out.len() == PAGE_TOKENS
            );
            for from in (0..PAGE_TOKENS).step_by(WIDE) {
                let lane = |lane: usize| {
                    let mut sum = zero();
                    for block in 0..blocks {
                        let at = block * LANES + lane;
                        // SAFETY: the query has `blocks * LANES` values, as asserted, and `wide` a page of each; `from` and a
                        // register are below a page.
                        let (keys, query) = unsafe {
                            (load(wide.as_ptr().add(at * PAGE_TOKENS + from)), set1(*query.get_unchecked(at)))
                        };
                        sum = if block == 0 { multiply(keys, query) } else { fused(keys, query, sum) };
                    }
                    sum
                };
                // Lanes are folded in halves.
                let of_16 = |at: usize| plus(plus(lane(at), lane(at + 32)), plus(lane(at + 16), lane(at + 48)));
                let of_8 = |at: usize| plus(of_16(at), of_16(at + 8));
                let of_4 = |at: usize| plus(of_8(at), of_8(at + 4));
                let of_2 = |at: usize| plus(of_4(at), of_4(at + 2));
                // SAFETY: `from` and a register are below a page.
                unsafe { store(out.as_mut_ptr().add(from), plus(of_2(0), of_2(1))) };
            }
        }

        #[target_feature(enable = $features)]
        pub(super) fn sum(values: &Values<'_>, space: &mut [f32], out: &mut [f32]) {
            let size = values.head_size;
            assert!(out.len() == values.weights.len() * size && space.len() >= SPACE);
            for (weights, out) in values.weights.chunks(4).zip(out.chunks_mut(4 * size)) {
                match weights {
                    [a] => queries([a], values, space, out),
                    [a, b] => queries([a, b], values, space, out),
                    [a, b, c] => queries([a, b, c], values, space, out),
                    [a, b, c, d] => queries([a, b, c, d], values, space, out),
                    _ => {}
                }
            }
        }

        /// Sums of some queries.
        #[target_feature(enable = $features)]
        fn queries<const N: usize>(weights: [&Vec<f32>; N], values: &Values<'_>, space: &mut [f32], out: &mut [f32]) {
            let Values { head_size, ref positions, .. } = *values;
            let whole = head_size / WIDE * WIDE;
            let mut at = 0;
            while at + COLUMNS * WIDE <= whole {
                columns::<N, COLUMNS>(weights, values, at, space, out);
                at += COLUMNS * WIDE;
            }
            while at < whole {
                columns::<N, 1>(weights, values, at, space, out);
                at += WIDE;
            }
            for at in whole..head_size {
                for (query, weights) in weights.iter().enumerate() {
                    let lanes = &mut space[..LANES];
                    for (lane, sum) in lanes.iter_mut().enumerate() {
                        *sum = 0.0;
                        for position in (values.first_of(lane)..positions.end).step_by(LANES) {
                            let value =
                                values.of(position).get(at).map_or(0.0, |&bits| half::f16::from_bits(bits).to_f32());
                            *sum = value.mul_add(weights[position - positions.start], *sum);
                        }
                    }
                    fold(lanes, LANES, 1, values.used());
                    out[query * head_size + at] = lanes[0];
                }
            }
        }

        /// Adds so many lists of `size` values up in halves, where there is anything in the upper half.
        #[inline]
        #[target_feature(enable = $features)]
        fn fold(lanes: &mut [f32], count: usize, size: usize, used: usize) {
            let mut half = count / 2;
            while half > 0 {
                if half < used {
                    let (lower, upper) = lanes.split_at_mut(half * size);
                    for (sum, value) in lower.iter_mut().zip(upper.iter()) {
                        *sum += value;
                    }
                }
                half /= 2;
            }
        }

        /// Sums of some registers, from the column `at` on.
        #[target_feature(enable = $features)]
        fn columns<const N: usize, const C: usize>(
            weights: [&Vec<f32>; N],
            values: &Values<'_>,
            at: usize,
            space: &mut [f32],
            out: &mut [f32],
        ) {
            let (head_size, used, left) = (values.head_size, values.used(), LANES / FOLDED);
            let size = N * C * WIDE;
            let space = &mut space[..left * size];
            // A lane whose upper half is empty is not added to, as a zero would change the sign of another.
            for (first, kept) in space.chunks_exact_mut(size).enumerate() {
                let mut sums = lane::<N, C>(weights, values, at, first);
                if 2 * left < used {
                    sums = both(sums, lane::<N, C>(weights, values, at, first + 2 * left));
                }
                if left < used {
                    let mut more = lane::<N, C>(weights, values, at, first + left);
                    if 2 * left < used {
                        more = both(more, lane::<N, C>(weights, values, at, first + 3 * left));
                    }
                    sums = both(sums, more);
                }
                for (kept, sum) in kept.chunks_exact_mut(WIDE).zip(sums.as_flattened()) {
                    // SAFETY: it is as long as a register.
                    unsafe { store(kept.as_mut_ptr(), *sum) };
                }
            }
            fold(space, left, size, used);
            for (query, sums) in space[..size].chunks_exact(C * WIDE).enumerate() {
                out[query * head_size + at..][..C * WIDE].copy_from_slice(sums);
            }
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn both<const N: usize, const C: usize>(a: [[Float; C]; N], b: [[Float; C]; N]) -> [[Float; C]; N] {
            let mut sums = a;
            for n in 0..N {
                for column in 0..C {
                    sums[n][column] = plus(a[n][column], b[n][column]);
                }
            }
            sums
        }

        /// Some registers of one lane.
        #[inline]
        #[target_feature(enable = $features)]
        fn lane<const N: usize, const C: usize>(
            weights: [&Vec<f32>; N],
            values: &Values<'_>,
            at: usize,
            lane: usize,
        ) -> [[Float; C]; N] {
            let Values { head_size, ref positions, .. } = *values;
            let begin = values.first_of(lane);
            assert!(at + C * WIDE <= head_size && positions.start <= begin);
            assert!(weights.iter().all(|weights| weights.len() >= positions.len()));
            let mut sums = [[zero(); C]; N];
            for position in (begin..positions.end).step_by(LANES) {
                let value = values.of(position);
                if value.len() != head_size {
                    continue;
                }
                for column in 0..C {
                    // SAFETY: the value has `head_size` numbers, and there is a weight for each position, as asserted.
                    unsafe {
                        let value = widen(load_halves(value.as_ptr().add(at + column * WIDE).cast::<HalfRegister>()));
                        for (sums, weights) in sums.iter_mut().zip(weights) {
                            let weight = set1(*weights.get_unchecked(position - positions.start));
                            sums[column] = fused(value, weight, sums[column]);
                        }
                    }
                }
            }
            sums
        }
    };
}

/// AVX-512.
mod avx512 {
    use std::arch::x86_64::{
        __m256i as HalfRegister, __m512 as Float, _mm256_loadu_si256 as load_halves, _mm512_add_ps as plus,
        _mm512_cvtph_ps as widen, _mm512_fmadd_ps as fused, _mm512_loadu_ps as load, _mm512_mul_ps as multiply,
        _mm512_set1_ps as set1, _mm512_setzero_ps as zero, _mm512_storeu_ps as store,
    };

    use super::{FOLDED, LANES, PAGE_TOKENS, SPACE, Values, finish_scores};

    /// Floats in a register.
    const WIDE: usize = 16;
    /// Registers of values side by side.
    const COLUMNS: usize = 2;

    attention!("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl");
}

/// AVX2 and 16-bit floats.
mod avx2 {
    use std::arch::x86_64::{
        __m128i as HalfRegister, __m256 as Float, _mm_loadu_si128 as load_halves, _mm256_add_ps as plus,
        _mm256_cvtph_ps as widen, _mm256_fmadd_ps as fused, _mm256_loadu_ps as load, _mm256_mul_ps as multiply,
        _mm256_set1_ps as set1, _mm256_setzero_ps as zero, _mm256_storeu_ps as store,
    };

    use super::{FOLDED, LANES, PAGE_TOKENS, SPACE, Values, finish_scores};

    /// Floats in a register.
    const WIDE: usize = 8;
    /// Registers of values side by side.
    const COLUMNS: usize = 1;

    attention!("avx2,fma,f16c");
}
