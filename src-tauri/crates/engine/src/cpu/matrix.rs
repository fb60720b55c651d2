//! Weight matrices as the CPU reads them, and products of their rows with activations.

use half::f16;

use super::math::{self, Level};
use super::product;
use crate::gguf::TensorType;

/// A matrix of `rows * columns`, its rows one after another.
pub(crate) struct Matrix {
    pub(super) rows: usize,
    pub(super) columns: usize,
    weights: Weights,
}

/// Numbers of a matrix. Of blocks, quants and scales lie apart, and scales are widened, so that no 16-bit float is decoded while
/// answering.
enum Weights {
    F32(Vec<f32>),
    F16(Vec<u16>),
    Q4_1 { quants: Vec<[u8; 16]>, scales: Vec<f32>, offsets: Vec<f32> },
    Q8_0 { quants: Vec<[i8; 32]>, scales: Vec<f32> },
}

impl Matrix {
    /// Arranges a tensor's bytes, which must be as long as the type and the sizes say.
    pub(crate) fn new(kind: TensorType, rows: usize, columns: usize, bytes: &[u8]) -> Self {
        let half = |low: u8, high: u8| f16::from_le_bytes([low, high]).to_f32();
        let weights = match kind {
            TensorType::F32 => {
                Weights::F32(bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect())
            }
            TensorType::F16 => {
                Weights::F16(bytes.as_chunks().0.iter().map(|&value| u16::from_le_bytes(value)).collect())
            }
            TensorType::Q4_1 => {
                let blocks = bytes.as_chunks::<20>().0;
                Weights::Q4_1 {
                    quants: blocks.iter().map(|block| std::array::from_fn(|at| block[4 + at])).collect(),
                    scales: blocks.iter().map(|block| half(block[0], block[1])).collect(),
                    offsets: blocks.iter().map(|block| half(block[2], block[3])).collect(),
                }
            }
            TensorType::Q8_0 => {
                let blocks = bytes.as_chunks::<34>().0;
                Weights::Q8_0 {
                    quants: blocks.iter().map(|block| std::array::from_fn(|at| block[2 + at].cast_signed())).collect(),
                    scales: blocks.iter().map(|block| half(block[0], block[1])).collect(),
                }
            }
        };
        Self { rows, columns, weights }
    }

    /// The form of activations that rows of this matrix are multiplied with.
    pub(super) fn form(&self) -> Form {
        match self.weights {
            Weights::F32(_) => Form::F32,
            Weights::F16(_) => Form::F16,
            Weights::Q4_1 { .. } | Weights::Q8_0 { .. } => Form::Q8,
        }
    }

    /// One row's values, into `out`.
    pub(crate) fn row(&self, row: usize, out: &mut [f32]) {
        let from = row * self.columns;
        let blocks = from / 32..(from + self.columns) / 32;
        match &self.weights {
            Weights::F32(values) => out.copy_from_slice(&values[from..from + self.columns]),
            Weights::F16(values) => {
                for (out, &bits) in out.iter_mut().zip(&values[from..]) {
                    *out = f16::from_bits(bits).to_f32();
                }
            }
            Weights::Q4_1 { quants, scales, offsets } => {
                for (block, out) in blocks.zip(out.as_chunks_mut::<32>().0) {
                    for (at, &byte) in quants[block].iter().enumerate() {
                        out[at] = f32::from(byte & 15).mul_add(scales[block], offsets[block]);
                        out[at + 16] = f32::from(byte >> 4).mul_add(scales[block], offsets[block]);
                    }
                }
            }
            Weights::Q8_0 { quants, scales } => {
                for (block, out) in blocks.zip(out.as_chunks_mut::<32>().0) {
                    for (out, &quant) in out.iter_mut().zip(&quants[block]) {
                        *out = f32::from(quant) * scales[block];
                    }
                }
            }
        }
    }

    /// Products of the rows from `first` on with every activation: `out[n]` receives those with the n-th, as many rows as it has
    /// room for.
    pub(super) fn multiply(&self, level: Level, first: usize, activations: &Activations, out: &mut [&mut [f32]]) {
        let count = out.first().map_or(0, |out| out.len());
        let blocks = self.columns / 32;
        for at in 0..count {
            let row = first + at;
            let values = row * self.columns..(row + 1) * self.columns;
            let row = row * blocks..(row + 1) * blocks;
            match &self.weights {
                Weights::F32(weights) => {
                    for (n, out) in out.iter_mut().enumerate() {
                        out[at] = math::dot(level, &weights[values.clone()], activations.floats(n));
                    }
                }
                Weights::F16(weights) => {
                    for (n, out) in out.iter_mut().enumerate() {
                        out[at] = math::dot_f16(level, &weights[values.clone()], activations.floats(n));
                    }
                }
                Weights::Q4_1 { quants, scales, offsets } => {
                    let (quants, scales) = (&quants[row.clone()], &scales[row.clone()]);
                    product::each(
                        out,
                        activations,
                        at,
                        |activation| product::q4_1(level, quants, scales, &offsets[row.clone()], activation),
                        |activations| product::q4_1_by_four(level, quants, scales, &offsets[row.clone()], activations),
                    );
                }
                Weights::Q8_0 { quants, scales } => {
                    let (quants, scales) = (&quants[row.clone()], &scales[row.clone()]);
                    product::each(
                        out,
                        activations,
                        at,
                        |activation| product::q8_0(level, quants, scales, activation),
                        |activations| product::q8_0_by_four(level, quants, scales, activations),
                    );
                }
            }
        }
    }
}

/// A form that activations are brought into before a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As they are.
    F32,
    /// Rounded to 16-bit floats.
    F16,
    /// Blocks of 32 signed bytes.
    Q8,
}

/// Activations of several tokens in one form.
pub(super) struct Activations {
    columns: usize,
    floats: Vec<f32>,
    quants: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<f32>,
}

/// One token's activations as blocks.
#[derive(Clone, Copy)]
pub(super) struct Quantised<'a> {
    pub(super) quants: &'a [[i8; 32]],
    pub(super) scales: &'a [f32],
    pub(super) sums: &'a [f32],
}

impl Activations {
    /// Brings activations of `columns` values each into a form.
    pub(super) fn new(level: Level, form: Form, columns: usize, values: &[f32]) -> Self {
        let mut made = Self { columns, floats: Vec::new(), quants: Vec::new(), scales: Vec::new(), sums: Vec::new() };
        match form {
            Form::F32 => made.floats = values.to_vec(),
            Form::F16 => {
                made.floats = vec![0.0; values.len()];
                math::round_all_f16(level, values, &mut made.floats);
            }
            Form::Q8 => {
                made.quants = vec![0; values.len()];
                made.scales = vec![0.0; values.len() / 32];
                made.sums = vec![0.0; values.len() / 32];
                math::quantise(level, values, &mut made.quants, &mut made.scales, &mut made.sums);
            }
        }
        made
    }

    fn floats(&self, token: usize) -> &[f32] {
        &self.floats[token * self.columns..][..self.columns]
    }

    pub(super) fn quantised(&self, token: usize) -> Quantised<'_> {
        let blocks = self.columns / 32;
        let range = token * blocks..(token + 1) * blocks;
        Quantised {
            quants: &self.quants.as_chunks::<32>().0[range.clone()],
            scales: &self.scales[range.clone()],
            sums: &self.sums[range],
        }
    }
}
