//! Scores and weighted sums of attention with AVX2 and AVX-512; the same bits as the portable ones.

#![allow(clippy::cast_ptr_alignment, reason = "loads of 16-bit floats need none")]

use crate::backend::PAGE_TOKENS;
use crate::cpu::attention::{Values, finish_scores};
use crate::cpu::math::{LANES, Level};

/// As [`crate::cpu::attention::scores`], at a level that the machine has.
pub(in crate::cpu) fn scores(level: Level, keys: &[u16], queries: &[f32], wide: &mut [f32], out: &mut [f32]) {
    // SAFETY: a level is only ever had where the machine has its instructions.
    unsafe {
        if level == Level::Avx512 {
            avx512::scores(keys, queries, wide, out);
        } else {
            avx2::scores(keys, queries, wide, out);
        }
    }
}

/// As [`Values::add`], at a level that the machine has.
pub(in crate::cpu) fn add(level: Level, values: &Values<'_>, lanes: &mut [f32]) {
    // SAFETY: as above.
    unsafe { if level == Level::Avx512 { avx512::add(values, lanes) } else { avx2::add(values, lanes) } }
}

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
        pub(super) fn add(values: &Values<'_>, lanes: &mut [f32]) {
            let Values { page, head_size, first, seen, skipped, weights } = *values;
            let of_query = LANES * head_size;
            assert!(lanes.len() == weights.len() * of_query && (first % PAGE_TOKENS + seen) * head_size <= page.len());
            assert!(weights.iter().all(|weights| weights.len() >= skipped + seen));
            let whole = head_size / WIDE * WIDE;
            // By columns, so that the lanes of all queries stay near.
            for at in (0..whole).step_by(WIDE) {
                for index in 0..seen {
                    let (from, to) = ((first + index) % PAGE_TOKENS * head_size, (first + index) % LANES * head_size);
                    // SAFETY: the page has all these positions.
                    let value = unsafe { widen(load_halves(page.as_ptr().add(from + at).cast::<HalfRegister>())) };
                    for (query, weights) in weights.iter().enumerate() {
                        // SAFETY: there are lanes for each query, and a weight for each position, as asserted.
                        unsafe {
                            let lane = lanes.as_mut_ptr().add(query * of_query + to + at);
                            let share = set1(*weights.get_unchecked(skipped + index));
                            store(lane, fused(value, share, load(lane)));
                        }
                    }
                }
            }
            for index in 0..seen {
                let (from, to) = ((first + index) % PAGE_TOKENS * head_size, (first + index) % LANES * head_size);
                for at in whole..head_size {
                    let value = half::f16::from_bits(page[from + at]).to_f32();
                    for (query, weights) in weights.iter().enumerate() {
                        let lane = &mut lanes[query * of_query + to + at];
                        *lane = value.mul_add(weights[skipped + index], *lane);
                    }
                }
            }
        }
    };
}

/// AVX-512.
mod avx512 {
    use std::arch::x86_64::{
        __m256i as HalfRegister, _mm256_loadu_si256 as load_halves, _mm512_add_ps as plus, _mm512_cvtph_ps as widen,
        _mm512_fmadd_ps as fused, _mm512_loadu_ps as load, _mm512_mul_ps as multiply, _mm512_set1_ps as set1,
        _mm512_setzero_ps as zero, _mm512_storeu_ps as store,
    };

    use super::{LANES, PAGE_TOKENS, Values, finish_scores};

    /// Floats in a register.
    const WIDE: usize = 16;

    attention!("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl");
}

/// AVX2 and 16-bit floats.
mod avx2 {
    use std::arch::x86_64::{
        __m128i as HalfRegister, _mm_loadu_si128 as load_halves, _mm256_add_ps as plus, _mm256_cvtph_ps as widen,
        _mm256_fmadd_ps as fused, _mm256_loadu_ps as load, _mm256_mul_ps as multiply, _mm256_set1_ps as set1,
        _mm256_setzero_ps as zero, _mm256_storeu_ps as store,
    };

    use super::{LANES, PAGE_TOKENS, Values, finish_scores};

    /// Floats in a register.
    const WIDE: usize = 8;

    attention!("avx2,fma,f16c");
}
