//! Rows of blocks in no more memory than in the file, but for some per cent, and in whole words.
//!
//! Of every block of 32 values the low four bits lie in one buffer, 16 bytes: those of value `n` in the low half of byte `n`, those of
//! value `n + 16` in the high half. All else lies in a second buffer:
//!
//! | type | words | of |
//! |---|---|---|
//! | Q4_0 | scale of the one, scale of the other (16-bit floats) | two blocks |
//! | Q5_0 | fifth bits of the one, of the other, both scales | two blocks |
//! | Q5_1 | fifth bits; scale, offset | one block |
//! | Q4_K | `d`, `m`; four words of a scale and an offset for each block, a byte each | eight blocks |
//! | Q5_K | as Q4_K; fifth bits of each block | eight blocks |
//! | Q6_K | `d`; four words of two signed scales for each block; two words of fifth and sixth bits of each block | eight blocks |
//!
//! Higher bits lie so that a shift and a mask bring those of four values to their bytes: the fifth bit of value `4 i + j` is bit
//! `8 j + i`; the fifth and sixth of value `4 i + j` of a half are bits `8 j + 2 i` and the next of that half's word.

use crate::gguf::{TensorType, blocks};

use super::matrix::Packing;

/// What becomes of the rows of one buffer.
#[derive(Default)]
pub(super) struct Packed {
    /// Low bits; for whoever reads on to take away.
    pub(super) quants: Vec<u8>,
    pub(super) sides: Vec<u8>,
    /// Of Q5_0, until both blocks of a pair are known.
    fifths: Vec<u8>,
}

impl Packed {
    /// Appends a row of one of these types.
    pub(super) fn push(&mut self, kind: TensorType, row: &[u8]) {
        if kind.block_values() == 32 {
            blocks::each(kind, row, |block| self.block(kind, &block));
            return;
        }
        for bytes in row.chunks_exact(kind.block_bytes()) {
            self.header(kind, bytes);
            blocks::each(kind, bytes, |block| self.block(kind, &block));
        }
    }

    /// What several blocks have in common.
    fn header(&mut self, kind: TensorType, bytes: &[u8]) {
        match (kind, bytes.first_chunk::<16>(), bytes.last_chunk::<18>()) {
            (TensorType::Q6_K, _, Some(last)) => {
                self.sides.extend([last[16], last[17], 0, 0]);
                self.sides.extend(&last[..16]);
            }
            (_, Some([d0, d1, m0, m1, six_bits @ ..]), _) => {
                self.sides.extend([*d0, *d1, *m0, *m1]);
                self.sides.extend((0..8).map(|at| blocks::six_bits(six_bits, at)).flat_map(<[u8; 2]>::from));
            }
            // The model has checked that blocks are whole.
            _ => {}
        }
    }

    fn block(&mut self, kind: TensorType, block: &blocks::Block) {
        let half = |value: f32| half::f16::from_f32(value).to_le_bytes();
        // As the file has them, with nothing taken off: of Q4_0 they come so.
        let centre = centre(kind).filter(|_| kind != TensorType::Q4_0).unwrap_or_default();
        let quant = |at: usize| block.quants[at].wrapping_add_unsigned(centre).cast_unsigned();
        self.quants.extend((0..16).map(|at| (quant(at) & 15) | (quant(at + 16) << 4)));
        let fifths = || {
            let bit = |at: usize| u32::from(quant(at) >> 4 & 1) << (8 * (at % 4) + at / 4);
            (0..32).map(bit).sum::<u32>().to_le_bytes()
        };
        match kind {
            TensorType::Q4_0 => self.sides.extend(half(block.scales[0])),
            TensorType::Q5_0 => {
                self.fifths.extend(fifths());
                self.sides.extend(half(block.scales[0]));
            }
            TensorType::Q5_1 => {
                self.sides.extend(fifths());
                self.sides.extend([block.scales[0], block.offset].map(half).as_flattened());
            }
            TensorType::Q5_K => self.fifths.extend(fifths()),
            TensorType::Q6_K => {
                for first in [0, 16] {
                    let bits = |at: usize| u32::from(quant(first + at) >> 4) << (8 * (at % 4) + 2 * (at / 4));
                    self.fifths.extend((0..16).map(bits).sum::<u32>().to_le_bytes());
                }
            }
            _ => {}
        }
    }

    /// The second buffer, when all rows are in: whole words.
    pub(super) fn into_sides(self, packing: Packing) -> Vec<u8> {
        let Self { mut sides, mut fifths, .. } = self;
        let kind = if let Packing::Narrow(kind) = packing { Some(kind) } else { None };
        // Of how many blocks bits and the rest lie together, and how many bytes these are.
        let (bits, rest) = match kind {
            Some(TensorType::Q5_0) => (8, 4),
            Some(TensorType::Q5_K) => (32, 20),
            Some(TensorType::Q6_K) => (64, 20),
            _ => {
                sides.resize(sides.len().next_multiple_of(4), 0);
                return sides;
            }
        };
        fifths.resize(fifths.len().next_multiple_of(bits), 0);
        sides.resize(sides.len().next_multiple_of(rest), 0);
        let both = fifths.chunks_exact(bits).zip(sides.chunks_exact(rest));
        match kind {
            Some(TensorType::Q5_0) => both.flat_map(|(bits, rest)| [bits, rest].concat()).collect(),
            _ => both.flat_map(|(bits, rest)| [rest, bits].concat()).collect(),
        }
    }
}

/// What is taken off the bits of a value, of types whose values are signed.
pub(crate) fn centre(kind: TensorType) -> Option<u8> {
    match kind {
        TensorType::Q4_0 => Some(8),
        TensorType::Q5_0 => Some(16),
        TensorType::Q6_K => Some(32),
        _ => None,
    }
}

/// Bytes of the second buffer for so many blocks.
pub(super) fn side_bytes(kind: TensorType, blocks: usize) -> usize {
    match kind {
        TensorType::Q4_0 => blocks.div_ceil(2) * 4,
        TensorType::Q5_0 => blocks.div_ceil(2) * 12,
        TensorType::Q5_1 => blocks * 8,
        TensorType::Q4_K => blocks.div_ceil(8) * 20,
        TensorType::Q5_K => blocks.div_ceil(8) * 52,
        TensorType::Q6_K => blocks.div_ceil(8) * 84,
        _ => 0,
    }
}
