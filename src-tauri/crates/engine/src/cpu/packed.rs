//! Quantised matrices as the processor reads them: sixteen rows side by side.
//!
//! A block of 32 values of a row is eight sums of four products each. The eighth parts of sixteen rows lie next to each other, as much
//! as one register of AVX-512 holds, so each lane of a register is a row of its own and no sum ever has to be folded within one.

use half::f16;

use crate::gguf::{TensorType, blocks};

/// Rows that lie side by side.
pub(super) const GROUP: usize = 16;

/// One value for each row of a group.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct Sixteen<T>(pub(super) [T; GROUP]);

/// Four values of a byte for each row of a group.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [u8; 64]);

/// How quants lie in [`Line`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Two in a byte, four lines for a block: the lower halves of the bytes are the first 16 values. With offsets.
    Nibbles,
    /// From 0 to 31, eight lines for a block. With offsets.
    Unsigned,
    /// Signed, 128 added, eight lines for a block.
    Signed,
    /// The same with a scale for each half of a block.
    Halves,
}

/// Scales or offsets: in 16 bits where the file has them so.
pub(super) enum Scales {
    Half(Vec<Sixteen<u16>>),
    Single(Vec<Sixteen<f32>>),
}

impl Scales {
    fn of(values: Vec<Sixteen<f32>>, half: bool) -> Self {
        if !half {
            return Self::Single(values);
        }
        Self::Half(
            values
                .into_iter()
                .map(|Sixteen(values)| Sixteen(values.map(|value| f16::from_f32(value).to_bits())))
                .collect(),
        )
    }

    pub(super) fn get(&self, index: usize, row: usize) -> f32 {
        match self {
            Self::Half(list) => f16::from_bits(list[index].0[row]).to_f32(),
            Self::Single(list) => list[index].0[row],
        }
    }
}

/// Which sums of an activation's blocks offsets are multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sums {
    /// In 16 bits, as ggml's Q8_1 has them.
    Rounded,
    /// As they are, as in ggml's Q8_K.
    Exact,
}

/// How the blocks of a type lie; `None` for types without blocks.
fn arrangement(kind: TensorType) -> Option<(Layout, Sums)> {
    match kind {
        TensorType::F32 | TensorType::F16 | TensorType::BF16 => None,
        TensorType::Q4_1 => Some((Layout::Nibbles, Sums::Rounded)),
        TensorType::Q4_0 | TensorType::Q4_K => Some((Layout::Nibbles, Sums::Exact)),
        TensorType::Q5_1 => Some((Layout::Unsigned, Sums::Rounded)),
        TensorType::Q5_K => Some((Layout::Unsigned, Sums::Exact)),
        TensorType::Q5_0 | TensorType::Q8_0 => Some((Layout::Signed, Sums::Exact)),
        TensorType::Q6_K => Some((Layout::Halves, Sums::Exact)),
    }
}

/// Bytes that a matrix of blocks takes at most; `None` for types without blocks, whose numbers take what they take in the file.
pub(super) fn bytes(kind: TensorType, rows: u64, columns: u64) -> Option<u64> {
    let (layout, _) = arrangement(kind)?;
    // Blocks of 256 have scales and offsets that are products and need 32 bits.
    let width = if kind.block_values() == 32 { 2 } else { 4 };
    let scales = if layout == Layout::Halves { 2 } else { 1 } + u64::from(layout.has_offsets());
    let of_block = layout.lines() as u64 * 64 + scales * GROUP as u64 * width;
    Some((columns / 32).saturating_mul(rows.div_ceil(GROUP as u64)).saturating_mul(of_block))
}

/// A matrix of blocks.
pub(super) struct Packed {
    pub(super) layout: Layout,
    /// Blocks of a row.
    pub(super) blocks: usize,
    /// Of each group of rows, of each block: its lines.
    pub(super) quants: Vec<Line>,
    /// Of each group of rows, of each block; two for a block of [`Layout::Halves`].
    pub(super) scales: Scales,
    /// Likewise; empty where there are none. In 16 bits if and only if scales are.
    pub(super) offsets: Scales,
    pub(super) sums: Sums,
}

impl Packed {
    /// Arranges a tensor's bytes, which must be as long as the type and the sizes say; `None` for types without blocks.
    pub(super) fn new(kind: TensorType, rows: usize, columns: usize, bytes: &[u8]) -> Option<Self> {
        let (layout, sums) = arrangement(kind)?;
        let (blocks, groups) = (columns / 32, rows.div_ceil(GROUP));
        let places = groups * blocks;
        let (lines, halves) = (layout.lines(), if layout == Layout::Halves { 2 } else { 1 });
        let mut quants = vec![Line([0; 64]); places * lines];
        let mut scales = vec![Sixteen([0.0; GROUP]); places * halves];
        let mut offsets = vec![Sixteen([0.0; GROUP]); if layout.has_offsets() { places } else { 0 }];
        let (mut index, mut half) = (0, true);
        blocks::each(kind, bytes, |block| {
            let (row, column) = (index / blocks, index % blocks);
            let (place, lane) = (row / GROUP * blocks + column, row % GROUP);
            index += 1;
            for (part, four) in block.quants.as_chunks::<4>().0.iter().enumerate() {
                let line = &mut quants[place * lines + part % lines].0[lane * 4..][..4];
                for (byte, quant) in line.iter_mut().zip(four) {
                    *byte |= match layout {
                        Layout::Nibbles => quant.cast_unsigned() << (part / 4 * 4),
                        Layout::Unsigned => quant.cast_unsigned(),
                        Layout::Signed | Layout::Halves => quant.cast_unsigned() ^ 0x80,
                    };
                }
            }
            let mut keep = |list: &mut [Sixteen<f32>], at: usize, value: f32| {
                half &= f16::from_f32(value).to_f32().to_bits() == value.to_bits();
                list[at].0[lane] = value;
            };
            for (at, &scale) in block.scales.iter().enumerate().take(halves) {
                keep(&mut scales, place * halves + at, scale);
            }
            if layout.has_offsets() {
                keep(&mut offsets, place, block.offset);
            }
        });
        let (scales, offsets) = (Scales::of(scales, half), Scales::of(offsets, half));
        Some(Self { layout, blocks, quants, scales, offsets, sums })
    }

    /// Bytes that it takes.
    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        let of = |scales: &Scales| match scales {
            Scales::Half(list) => size_of_val(list.as_slice()),
            Scales::Single(list) => size_of_val(list.as_slice()),
        };
        size_of_val(self.quants.as_slice()) + of(&self.scales) + of(&self.offsets)
    }

    /// A value's quant.
    fn quant(&self, place: usize, lane: usize, at: usize) -> i32 {
        let (part, lines) = (at / 4, self.layout.lines());
        let byte = self.quants[place * lines + part % lines].0[lane * 4 + at % 4];
        match self.layout {
            Layout::Nibbles => i32::from((byte >> (part / 4 * 4)) & 15),
            Layout::Unsigned => i32::from(byte),
            Layout::Signed | Layout::Halves => i32::from(byte) - 128,
        }
    }

    /// A block's quants.
    pub(super) fn quants(&self, place: usize, lane: usize) -> [i32; 32] {
        std::array::from_fn(|at| self.quant(place, lane, at))
    }

    /// A block's scales, one for each half.
    pub(super) fn scales(&self, place: usize, lane: usize) -> [f32; 2] {
        match self.layout {
            Layout::Halves => [0, 1].map(|half| self.scales.get(place * 2 + half, lane)),
            _ => [self.scales.get(place, lane); 2],
        }
    }

    /// A block's offset.
    pub(super) fn offset(&self, place: usize, lane: usize) -> f32 {
        if self.layout.has_offsets() { self.offsets.get(place, lane) } else { 0.0 }
    }

    /// One row's values, into `out`.
    pub(super) fn row(&self, row: usize, out: &mut [f32]) {
        let lane = row % GROUP;
        for (block, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let place = row / GROUP * self.blocks + block;
            let (scales, offset) = (self.scales(place, lane), self.offset(place, lane));
            for (at, (out, quant)) in out.iter_mut().zip(self.quants(place, lane)).enumerate() {
                *out = (quant as f32).mul_add(scales[at / 16], offset);
            }
        }
    }
}

impl Layout {
    /// Lines of a block.
    fn lines(self) -> usize {
        if self == Self::Nibbles { 4 } else { 8 }
    }

    pub(super) fn has_offsets(self) -> bool {
        matches!(self, Self::Nibbles | Self::Unsigned)
    }
}
