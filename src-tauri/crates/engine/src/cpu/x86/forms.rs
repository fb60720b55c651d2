//! Activations as blocks of bytes with AVX2 and AVX-512; the same bits as the portable ones.

#![allow(clippy::cast_ptr_alignment, reason = "these loads and stores need none")]

use std::arch::x86_64::{
    __m256i, _CMP_ORD_Q, _mm_add_epi32, _mm_cvtsi128_si32, _mm_cvtss_f32, _mm_max_ps, _mm_max_ss, _mm_movehl_ps,
    _mm_shuffle_epi32, _mm_shuffle_ps, _mm256_and_ps, _mm256_andnot_ps, _mm256_castps256_ps128, _mm256_castsi256_si128,
    _mm256_cmp_ps, _mm256_cvtps_epi32, _mm256_extractf128_ps, _mm256_extracti128_si256, _mm256_loadu_ps,
    _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_max_ps, _mm256_mul_ps, _mm256_packs_epi16, _mm256_packs_epi32,
    _mm256_permutevar8x32_epi32, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_ps, _mm256_setr_epi32,
    _mm256_setzero_si256, _mm256_slli_epi32, _mm256_storeu_si256, _mm256_sub_epi32,
};

use crate::cpu::math::{Blocks, Has};

/// As [`crate::cpu::math::quantise`], at any level above the portable one.
pub(in crate::cpu) fn quantise(_: Has, values: &[[f32; 32]], into: &mut Blocks<'_>) {
    // SAFETY: all these levels have AVX2, and whoever calls has shown that the machine has the instructions of one of them.
    unsafe { avx2(values, into) };
}

#[target_feature(enable = "avx2,fma,f16c")]
fn avx2(values: &[[f32; 32]], into: &mut Blocks<'_>) {
    let sign = _mm256_set1_ps(-0.0);
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for (block, values) in values.iter().enumerate() {
        // SAFETY: there are four times eight floats.
        let parts = [0, 8, 16, 24].map(|at| unsafe { _mm256_loadu_ps(values.as_ptr().add(at)) });
        // What is not a number counts as nothing, as in the portable form: `max` gives its second operand then.
        let mut largest = _mm256_set1_ps(0.0);
        for part in parts {
            largest = _mm256_max_ps(_mm256_andnot_ps(sign, part), largest);
        }
        let four = _mm_max_ps(_mm256_castps256_ps128(largest), _mm256_extractf128_ps::<1>(largest));
        let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
        let largest = _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)));
        let inverse = _mm256_set1_ps(if largest == 0.0 { 0.0 } else { 127.0 / largest });
        let [a, b, c, d] = parts.map(|part| {
            let scaled = _mm256_mul_ps(part, inverse);
            _mm256_cvtps_epi32(_mm256_and_ps(scaled, _mm256_cmp_ps::<_CMP_ORD_Q>(scaled, scaled)))
        });
        // Packing goes by halves of registers; the order is put right in the end.
        let packed = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
        let quants = _mm256_permutevar8x32_epi32(packed, order);
        let pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), quants);
        let fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
        let scaled = _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_slli_epi32::<7>(fours));
        // SAFETY: both are 32 bytes.
        unsafe {
            _mm256_storeu_si256(into.quants[block].as_mut_ptr().cast::<__m256i>(), quants);
            _mm256_storeu_si256(into.fours[block].as_mut_ptr().cast::<__m256i>(), scaled);
        }
        let sum = _mm_add_epi32(_mm256_castsi256_si128(fours), _mm256_extracti128_si256::<1>(fours));
        let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b00_00_11_10>(sum));
        let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<1>(sum));
        into.finish(block, largest, _mm_cvtsi128_si32(sum));
    }
}
