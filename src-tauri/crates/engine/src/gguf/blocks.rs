//! What the bits of quantised blocks mean (ggml's `ggml-common.h` and the functions `dequantize_row_*` of `ggml-quants.c`).
//!
//! Every type comes down to the same: 32 whole numbers, a scale for each half of them, an offset. Only Q6_K has scales that differ
//! between the halves. `d` and `m` are 16-bit floats, least significant byte first.

use half::f16;

use super::TensorType;

/// 32 values: each is `scale * quant + offset`, with the scale of its half.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    /// Between 0 and 15, or 31, for types with an offset; signed for those without.
    pub(crate) quants: [i8; 32],
    /// Of the first and of the last 16 values.
    pub(crate) scales: [f32; 2],
    /// 0 for the types without.
    pub(crate) offset: f32,
}

/// Calls back with every 32 values of whole blocks, in order. Types without blocks have none.
pub(crate) fn each(kind: TensorType, bytes: &[u8], mut block: impl FnMut(Block)) {
    match kind {
        TensorType::F32 | TensorType::F16 | TensorType::BF16 => {}
        TensorType::Q4_0 => bytes.as_chunks::<18>().0.iter().for_each(|bytes| block(q4_0(bytes))),
        TensorType::Q4_1 => bytes.as_chunks::<20>().0.iter().for_each(|bytes| block(q4_1(bytes))),
        TensorType::Q5_0 => bytes.as_chunks::<22>().0.iter().for_each(|bytes| block(q5_0(bytes))),
        TensorType::Q5_1 => bytes.as_chunks::<24>().0.iter().for_each(|bytes| block(q5_1(bytes))),
        TensorType::Q8_0 => bytes.as_chunks::<34>().0.iter().for_each(|bytes| block(q8_0(bytes))),
        TensorType::Q4_K => bytes.as_chunks::<144>().0.iter().for_each(|bytes| q4_k(bytes, &mut block)),
        TensorType::Q5_K => bytes.as_chunks::<176>().0.iter().for_each(|bytes| q5_k(bytes, &mut block)),
        TensorType::Q6_K => bytes.as_chunks::<210>().0.iter().for_each(|bytes| q6_k(bytes, &mut block)),
    }
}

fn half(low: u8, high: u8) -> f32 {
    f16::from_le_bytes([low, high]).to_f32()
}

/// The 4 bits of value `at` of 32 in 16 bytes: low halves are the first 16 values.
fn nibble(bytes: &[u8], at: usize) -> u8 {
    if at < 16 { bytes[at] & 15 } else { bytes[at - 16] >> 4 }
}

/// `d`, 16 bytes of quants; a value is `d * (q - 8)`.
fn q4_0(bytes: &[u8; 18]) -> Block {
    let scale = half(bytes[0], bytes[1]);
    Block {
        quants: std::array::from_fn(|at| nibble(&bytes[2..], at).cast_signed()),
        scales: [scale; 2],
        // Exact: a power of two times a 16-bit float.
        offset: -8.0 * scale,
    }
}

/// `d`, `m`, 16 bytes of quants; a value is `d * q + m`.
fn q4_1(bytes: &[u8; 20]) -> Block {
    Block {
        quants: std::array::from_fn(|at| nibble(&bytes[4..], at).cast_signed()),
        scales: [half(bytes[0], bytes[1]); 2],
        offset: half(bytes[2], bytes[3]),
    }
}

/// Fifth bits of 32 values: bit `n` of four bytes is that of value `n`.
fn fifth(bytes: &[u8], at: usize) -> u8 {
    (bytes[at / 8] >> (at % 8) & 1) << 4
}

/// `d`, 4 bytes of fifth bits, 16 bytes of quants; a value is `d * (q - 16)`.
fn q5_0(bytes: &[u8; 22]) -> Block {
    let quant = |at| (nibble(&bytes[6..], at) | fifth(&bytes[2..6], at)).cast_signed() - 16;
    Block { quants: std::array::from_fn(quant), scales: [half(bytes[0], bytes[1]); 2], offset: 0.0 }
}

/// `d`, `m`, 4 bytes of fifth bits, 16 bytes of quants; a value is `d * q + m`.
fn q5_1(bytes: &[u8; 24]) -> Block {
    let quant = |at| (nibble(&bytes[8..], at) | fifth(&bytes[4..8], at)).cast_signed();
    Block {
        quants: std::array::from_fn(quant),
        scales: [half(bytes[0], bytes[1]); 2],
        offset: half(bytes[2], bytes[3]),
    }
}

/// `d`, 32 signed bytes; a value is `d * q`.
fn q8_0(bytes: &[u8; 34]) -> Block {
    Block {
        quants: std::array::from_fn(|at| bytes[2 + at].cast_signed()),
        scales: [half(bytes[0], bytes[1]); 2],
        offset: 0.0,
    }
}

/// Scale and offset number `at` of eight, 6 bits each, in 12 bytes: the first four of each lie in the low bits of the first eight
/// bytes, of the last four the low bits in the last four bytes and the high bits in the high bits of the first eight.
pub(crate) fn six_bits(bytes: &[u8; 12], at: usize) -> (u8, u8) {
    if at < 4 {
        (bytes[at] & 63, bytes[at + 4] & 63)
    } else {
        ((bytes[at + 4] & 15) | (bytes[at - 4] >> 6 << 4), (bytes[at + 4] >> 4) | (bytes[at] >> 6 << 4))
    }
}

/// The same as floats, from the twelve bytes behind the first four of a block.
fn scale_and_offset(bytes: &[u8], at: usize) -> (f32, f32) {
    let twelve = bytes[4..].first_chunk().unwrap_or(&[0; 12]);
    let (scale, offset) = six_bits(twelve, at);
    (f32::from(scale), f32::from(offset))
}

/// `d`, `m`, scales and offsets of eight times 32 values, then quants: every 32 bytes are 64 values, the low halves first. A value
/// is `d * scale * q - m * offset`.
fn q4_k(bytes: &[u8; 144], block: &mut impl FnMut(Block)) {
    let (d, m) = (half(bytes[0], bytes[1]), half(bytes[2], bytes[3]));
    for at in 0..8 {
        let (scale, offset) = scale_and_offset(bytes, at);
        let quants = &bytes[16 + at / 2 * 32..][..32];
        let quant = |n: usize| (quants[n] >> (at % 2 * 4) & 15).cast_signed();
        block(Block { quants: std::array::from_fn(quant), scales: [d * scale; 2], offset: -(m * offset) });
    }
}

/// As [`q4_k`], with 32 bytes of fifth bits before the quants: bit `n` of byte `i` is that of value `i` of the n-th 32.
fn q5_k(bytes: &[u8; 176], block: &mut impl FnMut(Block)) {
    let (d, m) = (half(bytes[0], bytes[1]), half(bytes[2], bytes[3]));
    for at in 0..8 {
        let (scale, offset) = scale_and_offset(bytes, at);
        let quants = &bytes[48 + at / 2 * 32..][..32];
        let quant = |n: usize| {
            let low = quants[n] >> (at % 2 * 4) & 15;
            (low | (bytes[16 + n] >> at & 1) << 4).cast_signed()
        };
        block(Block { quants: std::array::from_fn(quant), scales: [d * scale; 2], offset: -(m * offset) });
    }
}

/// 128 bytes of low 4 bits, 64 of high 2 bits, 16 signed scales, `d`. Of each 128 values, those of the low bits' low halves come first
/// (64 bytes), then those of the high halves; the high bits of values `i`, `32 + i`, `64 + i` and `96 + i` share a byte. A value is
/// `d * scale * (q - 32)`.
fn q6_k(bytes: &[u8; 210], block: &mut impl FnMut(Block)) {
    let d = half(bytes[208], bytes[209]);
    for at in 0..8 {
        let (upper, part) = (at / 4, at % 4);
        let low = &bytes[upper * 64 + part % 2 * 32..][..32];
        let high = &bytes[128 + upper * 32..][..32];
        let quant = |n: usize| {
            let value = (low[n] >> (part / 2 * 4) & 15) | (high[n] >> (part * 2) & 3) << 4;
            value.cast_signed() - 32
        };
        let scale = |half: usize| d * f32::from(bytes[192 + at * 2 + half].cast_signed());
        block(Block { quants: std::array::from_fn(quant), scales: [scale(0), scale(1)], offset: 0.0 });
    }
}
