//! Products of quantised rows with AVX2, AVX-VNNI and AVX-512; the same bits as the portable ones.

#![allow(
    clippy::cast_ptr_alignment,
    reason = "lines and scales are aligned as registers are, and quants of activations are read as if they were not"
)]
#![expect(
    unsafe_code,
    reason = "vector loads take pointers, and functions compiled for wider instructions are called after asking for them"
)]

use std::marker::PhantomData;

pub(super) mod attention;
pub(super) mod forms;

use super::activations::{Activations, Quantised};
use super::math::Level;
use super::packed::{GROUP, Layout, Packed, Scales};

/// As [`super::product::group`], at a level above the portable one, which does nothing here.
pub(super) fn group(level: Level, matrix: &Packed, group: usize, activations: &Activations, out: &mut [[f32; GROUP]]) {
    let rows = Rows::new(matrix, group);
    match level {
        Level::Portable => {}
        // SAFETY: whoever has such a level has shown that the machine has its instructions.
        Level::Avx2(_) => unsafe { avx2::tokens(rows, matrix, activations, out) },
        // SAFETY: likewise.
        Level::AvxVnni(_) => unsafe { vnni256::tokens(rows, matrix, activations, out) },
        // SAFETY: likewise.
        Level::Avx512(_) => unsafe { avx512::tokens(rows, matrix, activations, out) },
    }
}

const NIBBLES: u8 = 0;
const UNSIGNED: u8 = 1;
const SIGNED: u8 = 2;
const HALVES: u8 = 3;

/// A group's lists without their lengths.
#[derive(Clone, Copy)]
struct Rows<'a> {
    quants: *const u8,
    /// Of 16 or of 32 bits.
    scales: *const u8,
    offsets: *const u8,
    blocks: usize,
    lists: PhantomData<&'a Packed>,
}

impl<'a> Rows<'a> {
    fn new(matrix: &'a Packed, group: usize) -> Self {
        let blocks = matrix.blocks;
        let places = group * blocks..(group + 1) * blocks;
        let lines = if matrix.layout == Layout::Nibbles { 4 } else { 8 };
        let halves = if matrix.layout == Layout::Halves { 2 } else { 1 };
        // Slices are taken so that what is read is there.
        let quants = matrix.quants[places.start * lines..places.end * lines].as_ptr().cast();
        let list = |list: &Scales, each: usize| match list {
            Scales::Half(list) => list[places.start * each..places.end * each].as_ptr().cast(),
            Scales::Single(list) => list[places.start * each..places.end * each].as_ptr().cast(),
        };
        let halves_too = |list: &Scales| matches!(list, Scales::Half(_));
        assert!(!matrix.layout.has_offsets() || halves_too(&matrix.offsets) == halves_too(&matrix.scales));
        let offsets = if matrix.layout.has_offsets() { list(&matrix.offsets, 1) } else { std::ptr::null() };
        Self { quants, scales: list(&matrix.scales, halves), offsets, blocks, lists: PhantomData }
    }
}

/// An activation without the lengths of its lists: checking each at each block costs as much as computing.
#[derive(Clone, Copy)]
struct Pointers<'a> {
    quants: *const i32,
    fours: *const i32,
    scales: *const f32,
    sums: *const f32,
    lists: PhantomData<Quantised<'a>>,
}

impl<'a> Pointers<'a> {
    #[inline]
    fn new(with: Quantised<'a>, blocks: usize) -> Self {
        assert!(with.quants.len() >= blocks && with.fours.len() >= blocks);
        assert!(with.scales.len() >= blocks && with.sums.len() >= blocks);
        Self {
            quants: with.quants.as_ptr().cast(),
            fours: with.fours.as_ptr().cast(),
            scales: with.scales.as_ptr(),
            sums: with.sums.as_ptr(),
            lists: PhantomData,
        }
    }
}

/// Declares the products for the registers of a module, which has named their intrinsics: [`GROUP`] rows are `PARTS` registers, and
/// `MANY` activations are computed at a time as long as there are so many. Up to `FEW` of them keep all eight sums in registers; more do
/// one half after the other, as a sum that is kept in memory costs more than to read the weights again.
macro_rules! products {
    ($features:literal) => {
        #[target_feature(enable = $features)]
        pub(super) fn tokens(rows: Rows<'_>, matrix: &Packed, activations: &Activations, out: &mut [[f32; GROUP]]) {
            let half = matches!(matrix.scales, Scales::Half(_));
            let run = match (matrix.layout, half) {
                (Layout::Nibbles, true) => kind::<NIBBLES, true>,
                (Layout::Nibbles, false) => kind::<NIBBLES, false>,
                (Layout::Unsigned, true) => kind::<UNSIGNED, true>,
                (Layout::Unsigned, false) => kind::<UNSIGNED, false>,
                (Layout::Signed, true) => kind::<SIGNED, true>,
                (Layout::Signed, false) => kind::<SIGNED, false>,
                (Layout::Halves, true) => kind::<HALVES, true>,
                (Layout::Halves, false) => kind::<HALVES, false>,
            };
            run(rows, matrix, activations, out);
        }

        #[target_feature(enable = $features)]
        fn kind<const KIND: u8, const HALF: bool>(
            rows: Rows<'_>,
            matrix: &Packed,
            activations: &Activations,
            out: &mut [[f32; GROUP]],
        ) {
            let with = |token: usize| Pointers::new(activations.quantised(token, matrix.sums), rows.blocks);
            let (many, rest) = out.as_chunks_mut::<MANY>();
            let mut token = 0;
            for out in many {
                tiles::<MANY, KIND, HALF>(rows, std::array::from_fn(|n| with(token + n)), out);
                token += MANY;
            }
            let (threes, rest) = rest.as_chunks_mut::<3>();
            for out in threes {
                tiles::<3, KIND, HALF>(rows, std::array::from_fn(|n| with(token + n)), out);
                token += 3;
            }
            let (pairs, single) = rest.as_chunks_mut::<2>();
            for out in pairs {
                tiles::<2, KIND, HALF>(rows, std::array::from_fn(|n| with(token + n)), out);
                token += 2;
            }
            for out in single {
                tiles::<1, KIND, HALF>(rows, [with(token)], std::array::from_mut(out));
                token += 1;
            }
        }

        /// All registers of a group.
        #[target_feature(enable = $features)]
        fn tiles<const N: usize, const KIND: u8, const HALF: bool>(
            rows: Rows<'_>,
            with: [Pointers<'_>; N],
            out: &mut [[f32; GROUP]; N],
        ) {
            for part in 0..PARTS {
                tile::<N, KIND, HALF>(rows, part, with, out);
            }
        }

        /// One register of scales or offsets.
        ///
        /// # Safety
        /// The list must have so many, and be of the kind that `HALF` says.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn scale<const HALF: bool>(list: *const u8, index: usize, part: usize) -> Float {
            let at = index * GROUP + part * WIDE;
            // SAFETY: the caller's promise.
            unsafe {
                if HALF {
                    widen(load_halves(list.add(at * 2).cast::<HalfRegister>()))
                } else {
                    load_floats(list.add(at * 4).cast())
                }
            }
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn tile<const N: usize, const KIND: u8, const HALF: bool>(
            rows: Rows<'_>,
            part: usize,
            with: [Pointers<'_>; N],
            out: &mut [[f32; GROUP]; N],
        ) {
            let (mut halves, mut more) = ([[[zero(); 4]; 2]; N], [zero(); N]);
            if N <= FEW {
                sums::<N, KIND, HALF, 0, 2>(rows, part, with, &mut halves);
            } else {
                let (mut lower, mut upper) = ([[[zero(); 4]]; N], [[[zero(); 4]]; N]);
                sums::<N, KIND, HALF, 0, 1>(rows, part, with, &mut lower);
                sums::<N, KIND, HALF, 1, 1>(rows, part, with, &mut upper);
                halves = std::array::from_fn(|n| [lower[n][0], upper[n][0]]);
            }
            if KIND == NIBBLES || KIND == UNSIGNED {
                offsets::<N, HALF>(rows, part, with, &mut more);
            }
            for n in 0..N {
                let [[a, b, c, d], [e, f, g, h]] = halves[n];
                let folded = add(add(add(a, e), add(c, g)), add(add(b, f), add(d, h)));
                let sum = if KIND == NIBBLES || KIND == UNSIGNED { add(folded, more[n]) } else { folded };
                // SAFETY: there are so many floats from `part * WIDE` on.
                unsafe { store(out[n].as_mut_ptr().add(part * WIDE), sum) };
            }
        }

        /// The eight sums, or four of them: of each block those of so many halves, from one on.
        #[inline(never)]
        #[target_feature(enable = $features)]
        fn sums<const N: usize, const KIND: u8, const HALF: bool, const FIRST: usize, const COUNT: usize>(
            rows: Rows<'_>,
            part: usize,
            with: [Pointers<'_>; N],
            into: &mut [[[Float; 4]; COUNT]; N],
        ) {
            let mut lanes = [[[zero(); 4]; COUNT]; N];
            let low = set1_8(15);
            for block in 0..rows.blocks {
                // SAFETY: `block` is below the length of all lists, as `Rows::new` and `Pointers::new` have made sure.
                unsafe {
                    let mut scales = [[zero(); COUNT]; N];
                    for half in 0..COUNT {
                        let scale = match (KIND, FIRST + half) {
                            (HALVES, side) => scale::<HALF>(rows.scales, block * 2 + side, part),
                            // Upper nibbles may be left where they are in their bytes, and be so many times as much.
                            (NIBBLES, 1) => multiply(scale::<HALF>(rows.scales, block, part), set1(1.0 / UPPER)),
                            _ => scale::<HALF>(rows.scales, block, part),
                        };
                        for n in 0..N {
                            scales[n][half] = multiply(scale, set1(*with[n].scales.add(block)));
                        }
                    }
                    for line in 0..4 {
                        for half in 0..COUNT {
                            let side = FIRST + half;
                            let first = if KIND == NIBBLES { block * 4 } else { block * 8 + side * 4 };
                            let weight = load(rows.quants.add((first + line) * 64 + part * WIDE * 4).cast());
                            let weight = match (KIND, side) {
                                (NIBBLES, 0) => and(weight, low),
                                (NIBBLES, _) => upper(weight),
                                _ => weight,
                            };
                            let at = block * 8 + side * 4 + line;
                            for n in 0..N {
                                let four = set1_32(with[n].quants.add(at).read_unaligned());
                                let whole = if KIND == NIBBLES || KIND == UNSIGNED {
                                    sum_unsigned(zero_whole(), weight, four)
                                } else {
                                    sum_signed(with[n].fours.add(at), weight, four)
                                };
                                lanes[n][half][line] = fused(convert(whole), scales[n][half], lanes[n][half][line]);
                            }
                        }
                    }
                }
            }
            *into = lanes;
        }

        /// The sums of offsets.
        #[inline(never)]
        #[target_feature(enable = $features)]
        fn offsets<const N: usize, const HALF: bool>(
            rows: Rows<'_>,
            part: usize,
            with: [Pointers<'_>; N],
            into: &mut [Float; N],
        ) {
            let mut sums = [zero(); N];
            for block in 0..rows.blocks {
                // SAFETY: as above; rows have offsets where this is called.
                unsafe {
                    let offset = scale::<HALF>(rows.offsets, block, part);
                    for n in 0..N {
                        sums[n] = fused(offset, set1(*with[n].sums.add(block)), sums[n]);
                    }
                }
            }
            *into = sums;
        }
    };
}

/// AVX-512 with VNNI.
mod avx512 {
    use std::arch::x86_64::{
        __m256i as HalfRegister, __m512 as Float, __m512i as Whole, _mm256_load_si256 as load_halves,
        _mm512_add_ps as add, _mm512_and_si512 as and, _mm512_cvtepi32_ps as convert, _mm512_cvtph_ps as widen,
        _mm512_dpbusd_epi32, _mm512_fmadd_ps as fused, _mm512_load_si512 as load, _mm512_loadu_ps as load_floats,
        _mm512_mul_ps as multiply, _mm512_set1_epi8 as set1_8, _mm512_set1_epi32 as set1_32, _mm512_set1_ps as set1,
        _mm512_setzero_ps as zero, _mm512_setzero_si512 as zero_whole, _mm512_storeu_ps as store,
    };

    use super::{Activations, GROUP, HALVES, Layout, NIBBLES, Packed, Pointers, Rows, SIGNED, Scales, UNSIGNED};

    const PARTS: usize = 1;
    const MANY: usize = 4;
    /// As many have room for all of their sums in registers at once; more have for half of them.
    const FEW: usize = 2;
    /// Floats in a register.
    const WIDE: usize = GROUP / PARTS;

    /// How many times as much upper nibbles are.
    const UPPER: f32 = 16.0;

    /// Of each byte the upper nibble, in its place.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn upper(packed: Whole) -> Whole {
        and(packed, set1_8(-16))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn sum_unsigned(sums: Whole, weight: Whole, four: Whole) -> Whole {
        _mm512_dpbusd_epi32(sums, weight, four)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    /// # Safety
    /// There must be a number.
    unsafe fn sum_signed(fours: *const i32, weight: Whole, four: Whole) -> Whole {
        // SAFETY: the caller's promise.
        _mm512_dpbusd_epi32(set1_32(unsafe { *fours }), weight, four)
    }

    products!("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni");
}

/// AVX-VNNI.
mod vnni256 {
    use std::arch::x86_64::{
        __m128i as HalfRegister, __m256 as Float, __m256i as Whole, _mm_loadu_si128 as load_halves,
        _mm256_add_ps as add, _mm256_and_si256 as and, _mm256_cvtepi32_ps as convert, _mm256_cvtph_ps as widen,
        _mm256_dpbusd_avx_epi32, _mm256_fmadd_ps as fused, _mm256_load_si256 as load, _mm256_loadu_ps as load_floats,
        _mm256_mul_ps as multiply, _mm256_set1_epi8 as set1_8, _mm256_set1_epi32 as set1_32, _mm256_set1_ps as set1,
        _mm256_setzero_ps as zero, _mm256_setzero_si256 as zero_whole, _mm256_storeu_ps as store,
    };

    use super::{Activations, GROUP, HALVES, Layout, NIBBLES, Packed, Pointers, Rows, SIGNED, Scales, UNSIGNED};

    const PARTS: usize = 2;
    const MANY: usize = 2;
    /// As many have room for all of their sums in registers at once; more have for half of them.
    const FEW: usize = 1;
    /// Floats in a register.
    const WIDE: usize = GROUP / PARTS;

    /// How many times as much upper nibbles are.
    const UPPER: f32 = 16.0;

    /// Of each byte the upper nibble, in its place.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    fn upper(packed: Whole) -> Whole {
        and(packed, set1_8(-16))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    fn sum_unsigned(sums: Whole, weight: Whole, four: Whole) -> Whole {
        _mm256_dpbusd_avx_epi32(sums, weight, four)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    /// # Safety
    /// There must be a number.
    unsafe fn sum_signed(fours: *const i32, weight: Whole, four: Whole) -> Whole {
        // SAFETY: the caller's promise.
        _mm256_dpbusd_avx_epi32(set1_32(unsafe { *fours }), weight, four)
    }

    products!("avx2,fma,f16c,avxvnni");
}

/// AVX2.
mod avx2 {
    use std::arch::x86_64::{
        __m128i as HalfRegister, __m256 as Float, __m256i as Whole, _mm_loadu_si128 as load_halves, _mm256_abs_epi8,
        _mm256_add_ps as add, _mm256_and_si256 as and, _mm256_cvtepi32_ps as convert, _mm256_cvtph_ps as widen,
        _mm256_fmadd_ps as fused, _mm256_load_si256 as load, _mm256_loadu_ps as load_floats, _mm256_madd_epi16,
        _mm256_maddubs_epi16, _mm256_mul_ps as multiply, _mm256_set1_epi8 as set1_8, _mm256_set1_epi16,
        _mm256_set1_epi32 as set1_32, _mm256_set1_ps as set1, _mm256_setzero_ps as zero,
        _mm256_setzero_si256 as zero_whole, _mm256_sign_epi8, _mm256_srli_epi16, _mm256_storeu_ps as store,
        _mm256_xor_si256,
    };

    use super::{Activations, GROUP, HALVES, Layout, NIBBLES, Packed, Pointers, Rows, SIGNED, Scales, UNSIGNED};

    const PARTS: usize = 2;
    const MANY: usize = 2;
    /// As many have room for all of their sums in registers at once; more have for half of them.
    const FEW: usize = 1;
    /// Floats in a register.
    const WIDE: usize = GROUP / PARTS;

    /// How many times as much upper nibbles are.
    const UPPER: f32 = 1.0;

    /// Of each byte the upper nibble. In its place two products with it would overflow 16 bits.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn upper(packed: Whole) -> Whole {
        and(_mm256_srli_epi16::<4>(packed), set1_8(15))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn sum_unsigned(_: Whole, weight: Whole, four: Whole) -> Whole {
        // Two products of at most 31 and 127 each stay far below what 16 bits hold.
        _mm256_madd_epi16(_mm256_maddubs_epi16(weight, four), _mm256_set1_epi16(1))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn sum_signed(_: *const i32, weight: Whole, four: Whole) -> Whole {
        // Bytes with 128 added would overflow 16 bits. So one factor is the weight's magnitude, and the weight gives its sign to the
        // activation; activations are never -128, so that cannot overflow, and neither can the sum of two products.
        let weight = _mm256_xor_si256(weight, set1_8(-128));
        let products = _mm256_maddubs_epi16(_mm256_abs_epi8(weight), _mm256_sign_epi8(four, weight));
        _mm256_madd_epi16(products, _mm256_set1_epi16(1))
    }

    products!("avx2,fma,f16c");
}
