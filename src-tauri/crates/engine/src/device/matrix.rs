//! Weight matrices on a device.
//!
//! Every row is a number of blocks of 32 values, the last one filled up with zeros. Quants lie in one buffer and scales in another:
//! blocks of the file are not whole words long for the most part, and a kernel reads whole words ([`Packing`]). What is larger than
//! a kernel may see of one buffer is cut by rows.

use crate::fault::DeviceFault;
use crate::gguf::{TensorType, blocks};

use super::Memory;
use super::narrow::{self, Packed};

/// How rows lie on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// 4 bits a value, scale and offset as 16-bit floats: Q4_1.
    Nibbles,
    /// 8 bits a value, a scale as a 16-bit float: Q8_0.
    Bytes,
    /// BF16 as it is; 4, 5 or 6 bits a value and all else as [`narrow`] says, of blocks other than Q4_1 and Q8_0.
    Narrow(TensorType),
}

/// The form of activations that rows of a matrix are multiplied with: as on the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    /// 32-bit floats.
    F32,
    /// 32-bit floats that were rounded to 16 bits.
    F16,
    /// Blocks of 32 signed bytes; of each block the scale, and the scale times the sum of the bytes.
    Q8,
}

impl Form {
    pub(crate) fn of(packing: Packing) -> Self {
        match packing {
            Packing::F32 | Packing::Narrow(TensorType::BF16) => Self::F32,
            Packing::F16 => Self::F16,
            Packing::Nibbles | Packing::Bytes | Packing::Narrow(_) => Self::Q8,
        }
    }

    /// Its name in the kernels.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Q8 => "Q8",
        }
    }

    /// Its name in kernels that make activations of it, beside a matrix of another.
    pub(crate) fn made(self) -> &'static str {
        match self {
            Self::F32 => "OUT_F32",
            Self::F16 => "OUT_F16",
            Self::Q8 => "OUT_Q8",
        }
    }

    /// Bytes of a block of 32 values without its scales.
    pub(crate) fn block_bytes(self) -> u64 {
        match self {
            Self::F32 | Self::F16 => 128,
            Self::Q8 => 32,
        }
    }
}

impl Packing {
    /// How rows of a type lie.
    pub(crate) fn of(kind: TensorType) -> Self {
        match kind {
            TensorType::F32 => Self::F32,
            TensorType::F16 => Self::F16,
            TensorType::Q4_1 => Self::Nibbles,
            TensorType::Q8_0 => Self::Bytes,
            TensorType::BF16
            | TensorType::Q4_0
            | TensorType::Q5_0
            | TensorType::Q5_1
            | TensorType::Q4_K
            | TensorType::Q5_K
            | TensorType::Q6_K => Self::Narrow(kind),
        }
    }

    /// Its number among the types, for kernels of several.
    pub(crate) fn number(self) -> u32 {
        (0..).zip(TensorType::ALL).find(|&(_, kind)| Self::of(kind) == self).map_or(0, |(number, _)| number)
    }

    /// The one of this number.
    pub(crate) fn numbered(number: u32) -> Option<Self> {
        TensorType::ALL.get(number as usize).copied().map(Self::of)
    }

    /// Its name in the kernels.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Nibbles => "NIBBLES",
            Self::Bytes => "BYTES",
            Self::Narrow(kind) => kind.name(),
        }
    }

    /// Bytes of a block of 32 values without its scales.
    fn quant_bytes(self) -> usize {
        match self {
            Self::F32 => 128,
            Self::F16 | Self::Narrow(TensorType::BF16) => 64,
            Self::Nibbles | Self::Narrow(_) => 16,
            Self::Bytes => 32,
        }
    }

    /// Bytes of the scales of so many blocks, and of whatever else lies with them.
    fn side_bytes(self, blocks: usize) -> usize {
        match self {
            Self::F32 | Self::F16 => 0,
            Self::Nibbles => blocks * 4,
            Self::Bytes => blocks * 2,
            Self::Narrow(kind) => narrow::side_bytes(kind, blocks),
        }
    }
}

/// Some rows of a matrix.
pub(crate) struct Piece<B> {
    /// The number of its first row.
    pub(crate) first: u32,
    /// How many they are.
    pub(crate) rows: u32,
    pub(crate) quants: B,
    /// For the types that have any.
    pub(crate) scales: Option<B>,
}

/// A matrix, or several with rows of the same form on top of each other.
pub(crate) struct Matrix<B> {
    pub(crate) packing: Packing,
    pub(crate) columns: u32,
    pub(crate) blocks: u32,
    pub(crate) pieces: Vec<Piece<B>>,
}

/// Rows that stay together in a matrix: pairs, as they are rotated.
pub(crate) const PAIRS: usize = 2;

/// A matrix as the file has it.
pub(crate) struct Source<'a> {
    pub(crate) rows: usize,
    pub(crate) bytes: &'a [u8],
}

/// Bytes of one buffer at most, even where a device allows more: allocations stay of a size that fits into fragmented memory.
const MOST: u64 = 1 << 30;
/// Bytes handed to the driver at a time.
const CHUNK: usize = 16 << 20;

impl<B: Clone> Matrix<B> {
    /// Rows of all pieces.
    pub(crate) fn rows(&self) -> u32 {
        self.pieces.iter().map(|piece| piece.rows).sum()
    }

    /// Brings rows to a device; no buffer has more than `limit` bytes. Pieces have whole multiples of `together` rows.
    pub(crate) fn upload(
        memory: &impl Memory<Buffer = B>,
        kind: TensorType,
        columns: usize,
        sources: &[Source<'_>],
        together: usize,
        limit: u64,
    ) -> Result<Self, DeviceFault> {
        let packing = Packing::of(kind);
        let blocks = columns.div_ceil(32);
        let row_bytes = (blocks * packing.quant_bytes()) as u64;
        let limit = limit.min(MOST).min(memory.most_bytes());
        let most = limit / row_bytes / together as u64 * together as u64;
        if most == 0 {
            return Err(DeviceFault::OutOfMemory {
                what: "rows of a matrix that belong together",
                wanted: Some(together as u64 * row_bytes),
                limit: Some(limit),
            });
        }
        let rows: usize = sources.iter().map(|source| source.rows).sum();
        let in_file = columns / kind.block_values() * kind.block_bytes();
        let mut all = sources.iter().flat_map(|source| source.bytes.chunks_exact(in_file));
        let mut pieces = Vec::new();
        let mut first = 0;
        while first < rows {
            let count = (rows - first).min(usize::try_from(most).unwrap_or(usize::MAX));
            let quants = memory.allocate("weights", row_bytes * count as u64)?;
            let mut packed = Packed::default();
            let mut written = 0;
            for (number, row) in all.by_ref().take(count).enumerate() {
                repack(packing, kind, row, &mut packed);
                let chunk = &mut packed.quants;
                chunk.resize(chunk.len().next_multiple_of(blocks * packing.quant_bytes()), 0);
                if chunk.len() >= CHUNK || number + 1 == count {
                    memory.write(&quants, written, chunk)?;
                    written += chunk.len() as u64;
                    chunk.clear();
                    // What is handed over is kept twice until it has arrived.
                    memory.settle()?;
                }
            }
            let scales = packed.into_sides(packing);
            let scales = if scales.is_empty() {
                None
            } else {
                let buffer = memory.allocate("scales of weights", scales.len() as u64)?;
                memory.write(&buffer, 0, &scales)?;
                Some(buffer)
            };
            pieces.push(Piece { first: first as u32, rows: count as u32, quants, scales });
            first += count;
        }
        Ok(Self { packing, columns: columns as u32, blocks: blocks as u32, pieces })
    }
}

/// Bytes that a matrix has on a device.
pub(crate) fn bytes(kind: TensorType, columns: usize, rows: usize) -> u64 {
    let packing = Packing::of(kind);
    let blocks = columns.div_ceil(32) * rows;
    (blocks * packing.quant_bytes() + packing.side_bytes(blocks)) as u64
}

/// Appends a row.
fn repack(packing: Packing, kind: TensorType, row: &[u8], packed: &mut Packed) {
    let half = |value: f32| half::f16::from_f32(value).to_le_bytes();
    let Packed { quants, sides, .. } = packed;
    match (packing, kind) {
        (Packing::F32 | Packing::F16 | Packing::Narrow(TensorType::BF16), _) => quants.extend_from_slice(row),
        (Packing::Nibbles, _) => blocks::each(kind, row, |block| {
            // Both come from 16-bit floats.
            sides.extend(half(block.scales[0]));
            sides.extend(half(block.offset));
            let quant = |at: usize| block.quants[at].cast_unsigned();
            quants.extend((0..16).map(|at| quant(at) | (quant(at + 16) << 4)));
        }),
        (Packing::Bytes, _) => blocks::each(kind, row, |block| {
            sides.extend(half(block.scales[0]));
            quants.extend(block.quants.map(i8::cast_unsigned));
        }),
        (Packing::Narrow(kind), _) => packed.push(kind, row),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_type_takes_more_than_a_tenth_more_than_in_the_file() {
        for kind in TensorType::ALL {
            for (columns, rows) in [(256, 7), (4096, 33)] {
                let in_file = columns / kind.block_values() * kind.block_bytes() * rows;
                let bytes = bytes(kind, columns, rows);
                assert!(bytes * 10 <= in_file as u64 * 11, "{kind:?}: {bytes} for {in_file}");
                // What is said beforehand is what is packed, whole words.
                let mut packed = Packed::default();
                for _ in 0..rows {
                    let row = vec![0; in_file / rows];
                    repack(Packing::of(kind), kind, &row, &mut packed);
                }
                let quants = packed.quants.len();
                let sides = packed.into_sides(Packing::of(kind)).len();
                assert_eq!((quants + sides) as u64, bytes.next_multiple_of(4), "{kind:?}");
            }
        }
    }
}
