//! Products of quantised rows with AVX2; the same bits as the portable ones.

#![expect(
    unsafe_code,
    reason = "vector loads take pointers, and functions compiled for AVX2 are called after asking for it"
)]

use std::arch::x86_64::{
    __m256, __m256i, _mm_and_si128, _mm_loadu_si128, _mm_set1_epi8, _mm_srli_epi16, _mm256_abs_epi8,
    _mm256_cvtepi32_ps, _mm256_fmadd_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_set_m128i,
    _mm256_set1_epi16, _mm256_set1_ps, _mm256_setzero_ps, _mm256_sign_epi8, _mm256_storeu_ps,
};

use super::math::fold;
use super::matrix::Quantised;

/// A row of Q4_1 blocks with `N` activations. May be called only where the machine has AVX2 and FMA, which is what
/// [`super::math::Level::Avx2`] says.
pub(super) fn q4_1<const N: usize>(
    quants: &[[u8; 16]],
    scales: &[f32],
    offsets: &[f32],
    with: [Quantised<'_>; N],
) -> [f32; N] {
    // SAFETY: the caller has asked for these instructions.
    unsafe { q4_1_wide(quants, scales, offsets, with) }
}

/// As [`q4_1`], for Q8_0.
pub(super) fn q8_0<const N: usize>(quants: &[[i8; 32]], scales: &[f32], with: [Quantised<'_>; N]) -> [f32; N] {
    // SAFETY: the caller has asked for these instructions.
    unsafe { q8_0_wide(quants, scales, with) }
}

#[target_feature(enable = "avx2,fma")]
fn q4_1_wide<const N: usize>(
    quants: &[[u8; 16]],
    scales: &[f32],
    offsets: &[f32],
    with: [Quantised<'_>; N],
) -> [f32; N] {
    let blocks = quants.len();
    let (scales, offsets) = (&scales[..blocks], &offsets[..blocks]);
    let with = with.map(|with| cut(with, blocks));
    let mut lanes = [_mm256_setzero_ps(); N];
    let mut sums = [0.0_f32; N];
    let low = _mm_set1_epi8(15);
    for block in 0..blocks {
        // SAFETY: the pointer is to the 16 bytes of the block.
        let packed = unsafe { _mm_loadu_si128(quants[block].as_ptr().cast()) };
        let weight = _mm256_set_m128i(_mm_and_si128(_mm_srli_epi16::<4>(packed), low), _mm_and_si128(packed, low));
        for n in 0..N {
            let products = sum_fours(weight, load(&with[n].quants[block]));
            let scale = _mm256_set1_ps(scales[block] * with[n].scales[block]);
            lanes[n] = _mm256_fmadd_ps(products, scale, lanes[n]);
            sums[n] = offsets[block].mul_add(with[n].sums[block], sums[n]);
        }
    }
    std::array::from_fn(|n| fold_register(lanes[n]) + sums[n])
}

#[target_feature(enable = "avx2,fma")]
fn q8_0_wide<const N: usize>(quants: &[[i8; 32]], scales: &[f32], with: [Quantised<'_>; N]) -> [f32; N] {
    let blocks = quants.len();
    let scales = &scales[..blocks];
    let with = with.map(|with| cut(with, blocks));
    let mut lanes = [_mm256_setzero_ps(); N];
    for block in 0..blocks {
        let weight = load(&quants[block]);
        // One factor must be unsigned: the weight gives its sign to the activation. Activations are never -128, so that cannot
        // overflow, and neither can the sum of two products.
        let magnitude = _mm256_abs_epi8(weight);
        for n in 0..N {
            let activation = _mm256_sign_epi8(load(&with[n].quants[block]), weight);
            let scale = _mm256_set1_ps(scales[block] * with[n].scales[block]);
            lanes[n] = _mm256_fmadd_ps(sum_fours(magnitude, activation), scale, lanes[n]);
        }
    }
    lanes.map(|lanes| fold_register(lanes))
}

/// Equal lengths, so that the compiler sees that no index is out of bounds.
#[inline]
fn cut(with: Quantised<'_>, blocks: usize) -> Quantised<'_> {
    Quantised { quants: &with.quants[..blocks], scales: &with.scales[..blocks], sums: &with.sums[..blocks] }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn load(block: &[i8; 32]) -> __m256i {
    // SAFETY: the pointer is to 32 bytes.
    unsafe { _mm256_loadu_si256(block.as_ptr().cast()) }
}

/// Eight sums of four products each.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn sum_fours(unsigned: __m256i, signed: __m256i) -> __m256 {
    let pairs = _mm256_maddubs_epi16(unsigned, signed);
    _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn fold_register(register: __m256) -> f32 {
    let mut lanes = [0.0; 8];
    // SAFETY: the pointer is to eight floats.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), register) };
    fold(lanes)
}
