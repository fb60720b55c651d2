//! Products of quantised rows with AVX2, and with the byte products of AVX-512; the same bits as the portable ones.

#![expect(
    unsafe_code,
    reason = "vector loads take pointers, and functions compiled for wider instructions are called after asking for them"
)]

use std::arch::x86_64::{
    __m256, __m256i, _mm_and_si128, _mm_loadu_si128, _mm_set1_epi8, _mm_set1_ps, _mm_srli_epi16, _mm256_abs_epi8,
    _mm256_cvtepi32_ps, _mm256_dpbusd_epi32, _mm256_fmadd_ps, _mm256_loadu_si256, _mm256_madd_epi16,
    _mm256_maddubs_epi16, _mm256_mul_ps, _mm256_set_m128, _mm256_set_m128i, _mm256_set1_epi16, _mm256_set1_ps,
    _mm256_setzero_ps, _mm256_setzero_si256, _mm256_sign_epi8, _mm256_storeu_ps,
};
use std::marker::PhantomData;

use super::math::{Level, fold};
use super::matrix::Quantised;
use super::product::{Halves, Nibbles, Signed, Unsigned};

/// A row of 4-bit blocks with `N` activations, at a level that the machine has.
pub(super) fn nibbles<const N: usize>(level: Level, row: Nibbles<'_>, with: [Quantised<'_>; N]) -> [f32; N] {
    // SAFETY: a level is only ever had where the machine has its instructions.
    unsafe { if level == Level::Avx512 { avx512::nibbles(row, with) } else { avx2::nibbles(row, with) } }
}

/// As [`nibbles`], for quants from 0 to 31.
pub(super) fn unsigned<const N: usize>(level: Level, row: Unsigned<'_>, with: [Quantised<'_>; N]) -> [f32; N] {
    // SAFETY: a level is only ever had where the machine has its instructions.
    unsafe { if level == Level::Avx512 { avx512::unsigned(row, with) } else { avx2::unsigned(row, with) } }
}

/// As [`nibbles`], for signed quants.
pub(super) fn signed<const N: usize>(level: Level, row: Signed<'_>, with: [Quantised<'_>; N]) -> [f32; N] {
    // SAFETY: a level is only ever had where the machine has its instructions.
    unsafe { if level == Level::Avx512 { avx512::signed(row, with) } else { avx2::signed(row, with) } }
}

/// As [`nibbles`], for signed quants with a scale for each half.
pub(super) fn halves<const N: usize>(level: Level, row: Halves<'_>, with: [Quantised<'_>; N]) -> [f32; N] {
    // SAFETY: a level is only ever had where the machine has its instructions.
    unsafe { if level == Level::Avx512 { avx512::halves(row, with) } else { avx2::halves(row, with) } }
}

/// Declares the products for some instructions; `$sum` makes eight sums of four products each.
macro_rules! products {
    ($module:ident, $features:literal, $sum:item) => {
        mod $module {
            use super::*;

            #[inline]
            #[target_feature(enable = $features)]
            $sum

            #[target_feature(enable = $features)]
            pub(super) fn nibbles<const N: usize>(row: Nibbles<'_>, with: [Quantised<'_>; N]) -> [f32; N] {
                let Nibbles { quants, scales, offsets } = row;
                let blocks = quants.len();
                assert!(scales.len() == blocks && offsets.len() == blocks);
                let with = with.map(|with| Pointers::new(with, blocks));
                let mut lanes = [_mm256_setzero_ps(); N];
                let mut sums = [0.0_f32; N];
                let low = _mm_set1_epi8(15);
                for block in 0..blocks {
                    // SAFETY: `block` is below the length of all lists, which is asserted above and in `Pointers::new`; a block of quants has
                    // 16 bytes.
                    let (packed, scale, offset) = unsafe {
                        let packed = _mm_loadu_si128(quants.as_ptr().add(block).cast());
                        (packed, *scales.get_unchecked(block), *offsets.get_unchecked(block))
                    };
                    let weight = _mm256_set_m128i(_mm_and_si128(_mm_srli_epi16::<4>(packed), low), _mm_and_si128(packed, low));
                    for n in 0..N {
                        // SAFETY: as above.
                        let (quants, scale_with, sum_with) = unsafe { with[n].block(block) };
                        let products = sum_fours(weight, load(quants));
                        lanes[n] = _mm256_fmadd_ps(products, _mm256_set1_ps(scale * scale_with), lanes[n]);
                        sums[n] = offset.mul_add(sum_with, sums[n]);
                    }
                }
                let mut results = [0.0; N];
                for n in 0..N {
                    results[n] = fold_register(lanes[n]) + sums[n];
                }
                results
            }

            #[target_feature(enable = $features)]
            pub(super) fn unsigned<const N: usize>(row: Unsigned<'_>, with: [Quantised<'_>; N]) -> [f32; N] {
                let Unsigned { quants, scales, offsets } = row;
                let blocks = quants.len();
                assert!(scales.len() == blocks && offsets.len() == blocks);
                let with = with.map(|with| Pointers::new(with, blocks));
                let mut lanes = [_mm256_setzero_ps(); N];
                let mut sums = [0.0_f32; N];
                for (block, (quants, &offset)) in quants.iter().zip(offsets).enumerate() {
                    let weight = load(quants);
                    for n in 0..N {
                        // SAFETY: `block` is below the length of all lists, as asserted above and in `Pointers::new`.
                        let (scale, found) = unsafe { (*scales.get_unchecked(block), with[n].block(block)) };
                        let (quants, scale_with, sum_with) = found;
                        // Two products of at most 31 and 127 each stay far below what 16 bits hold.
                        let products = sum_fours(weight, load(quants));
                        lanes[n] = _mm256_fmadd_ps(products, _mm256_set1_ps(scale * scale_with), lanes[n]);
                        sums[n] = offset.mul_add(sum_with, sums[n]);
                    }
                }
                let mut results = [0.0; N];
                for n in 0..N {
                    results[n] = fold_register(lanes[n]) + sums[n];
                }
                results
            }

            #[target_feature(enable = $features)]
            pub(super) fn signed<const N: usize>(row: Signed<'_>, with: [Quantised<'_>; N]) -> [f32; N] {
                let Signed { quants, scales } = row;
                let blocks = quants.len();
                assert!(scales.len() == blocks);
                let with = with.map(|with| Pointers::new(with, blocks));
                let mut lanes = [_mm256_setzero_ps(); N];
                for (block, quants) in quants.iter().enumerate() {
                    let weight = load(quants);
                    // One factor must be unsigned: the weight gives its sign to the activation. Activations are never -128, so that cannot
                    // overflow, and neither can the sum of two products.
                    let magnitude = _mm256_abs_epi8(weight);
                    for n in 0..N {
                        // SAFETY: `block` is below the length of all lists, as asserted above and in `Pointers::new`.
                        let (scale, (quants, scale_with, _)) = unsafe { (*scales.get_unchecked(block), with[n].block(block)) };
                        let activation = _mm256_sign_epi8(load(quants), weight);
                        let scale = _mm256_set1_ps(scale * scale_with);
                        lanes[n] = _mm256_fmadd_ps(sum_fours(magnitude, activation), scale, lanes[n]);
                    }
                }
                let mut results = [0.0; N];
                for n in 0..N {
                    results[n] = fold_register(lanes[n]);
                }
                results
            }

            #[target_feature(enable = $features)]
            pub(super) fn halves<const N: usize>(row: Halves<'_>, with: [Quantised<'_>; N]) -> [f32; N] {
                let Halves { quants, scales } = row;
                let blocks = quants.len();
                assert!(scales.len() == blocks);
                let with = with.map(|with| Pointers::new(with, blocks));
                let mut lanes = [_mm256_setzero_ps(); N];
                for (block, (quants, scales)) in quants.iter().zip(scales).enumerate() {
                    let weight = load(quants);
                    let magnitude = _mm256_abs_epi8(weight);
                    // The lower four sums are those of the first half.
                    let scales = _mm256_set_m128(_mm_set1_ps(scales[1]), _mm_set1_ps(scales[0]));
                    for n in 0..N {
                        // SAFETY: `block` is below the length of the activation's lists, as asserted in `Pointers::new`.
                        let (quants, scale_with, _) = unsafe { with[n].block(block) };
                        let activation = _mm256_sign_epi8(load(quants), weight);
                        let scale = _mm256_mul_ps(scales, _mm256_set1_ps(scale_with));
                        lanes[n] = _mm256_fmadd_ps(sum_fours(magnitude, activation), scale, lanes[n]);
                    }
                }
                let mut results = [0.0; N];
                for n in 0..N {
                    results[n] = fold_register(lanes[n]);
                }
                results
            }
        }
    };
}

products!(
    avx2,
    "avx2,fma",
    fn sum_fours(unsigned: __m256i, signed: __m256i) -> __m256 {
        let pairs = _mm256_maddubs_epi16(unsigned, signed);
        _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    }
);

products!(
    avx512,
    "avx2,fma,avx512f,avx512vl,avx512vnni",
    fn sum_fours(unsigned: __m256i, signed: __m256i) -> __m256 {
        _mm256_cvtepi32_ps(_mm256_dpbusd_epi32(_mm256_setzero_si256(), unsigned, signed))
    }
);

/// An activation without the lengths of its lists: with four of them, checking each at each block costs as much as computing.
#[derive(Clone, Copy)]
struct Pointers<'a> {
    quants: *const [i8; 32],
    scales: *const f32,
    sums: *const f32,
    lists: PhantomData<Quantised<'a>>,
}

impl<'a> Pointers<'a> {
    #[inline]
    fn new(with: Quantised<'a>, blocks: usize) -> Self {
        assert!(with.quants.len() >= blocks && with.scales.len() >= blocks && with.sums.len() >= blocks);
        Self {
            quants: with.quants.as_ptr(),
            scales: with.scales.as_ptr(),
            sums: with.sums.as_ptr(),
            lists: PhantomData,
        }
    }

    /// A block's quants, scale and sum.
    ///
    /// # Safety
    /// `block` must be below the number given to [`Pointers::new`].
    #[inline]
    unsafe fn block(self, block: usize) -> (&'a [i8; 32], f32, f32) {
        // SAFETY: the lists are at least that long and live as long as the result.
        unsafe { (&*self.quants.add(block), *self.scales.add(block), *self.sums.add(block)) }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn load(block: &[i8; 32]) -> __m256i {
    // SAFETY: the pointer is to 32 bytes.
    unsafe { _mm256_loadu_si256(block.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn fold_register(register: __m256) -> f32 {
    let mut lanes = [0.0; 8];
    // SAFETY: the pointer is to eight floats.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), register) };
    fold(lanes)
}
