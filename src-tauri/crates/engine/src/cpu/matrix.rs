//! Weight matrices as the CPU reads them, and products of their rows with activations.

use half::f16;

use super::math::{self, Level};
use super::product;
use crate::gguf::{TensorType, blocks};

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
    Bf16(Vec<u16>),
    /// Two values in a byte: Q4_0, Q4_1, Q4_K.
    Nibbles {
        quants: Vec<[u8; 16]>,
        scales: Vec<f32>,
        offsets: Vec<f32>,
        sums: Sums,
    },
    /// Unsigned values in a byte each: Q5_1, Q5_K.
    Unsigned {
        quants: Vec<[i8; 32]>,
        scales: Vec<f32>,
        offsets: Vec<f32>,
        sums: Sums,
    },
    /// Signed values: Q5_0, Q8_0.
    Signed {
        quants: Vec<[i8; 32]>,
        scales: Vec<f32>,
    },
    /// Signed values with a scale for each half of a block: Q6_K.
    Halves {
        quants: Vec<[i8; 32]>,
        scales: Vec<[f32; 2]>,
    },
}

impl Matrix {
    /// Arranges a tensor's bytes, which must be as long as the type and the sizes say.
    pub(crate) fn new(kind: TensorType, rows: usize, columns: usize, bytes: &[u8]) -> Self {
        let count = rows * columns / 32;
        let halves = || bytes.as_chunks().0.iter().map(|&value| u16::from_le_bytes(value)).collect();
        let weights = match kind {
            TensorType::F32 => {
                Weights::F32(bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect())
            }
            TensorType::F16 => Weights::F16(halves()),
            TensorType::BF16 => Weights::Bf16(halves()),
            TensorType::Q4_0 | TensorType::Q4_1 | TensorType::Q4_K => {
                let (mut quants, mut scales, mut offsets) = room(count);
                blocks::each(kind, bytes, |block| {
                    let [low, high] = [0, 16].map(|from| move |at: usize| block.quants[from + at].cast_unsigned());
                    quants.push(std::array::from_fn(|at| low(at) | (high(at) << 4)));
                    scales.push(block.scales[0]);
                    offsets.push(block.offset);
                });
                Weights::Nibbles { quants, scales, offsets, sums: Sums::of(kind) }
            }
            TensorType::Q5_1 | TensorType::Q5_K => {
                let (mut quants, mut scales, mut offsets) = room(count);
                blocks::each(kind, bytes, |block| {
                    quants.push(block.quants);
                    scales.push(block.scales[0]);
                    offsets.push(block.offset);
                });
                Weights::Unsigned { quants, scales, offsets, sums: Sums::of(kind) }
            }
            TensorType::Q5_0 | TensorType::Q8_0 => {
                let (mut quants, mut scales, _): (_, _, Vec<f32>) = room(count);
                blocks::each(kind, bytes, |block| {
                    quants.push(block.quants);
                    scales.push(block.scales[0]);
                });
                Weights::Signed { quants, scales }
            }
            TensorType::Q6_K => {
                let (mut quants, mut scales) = (Vec::with_capacity(count), Vec::with_capacity(count));
                blocks::each(kind, bytes, |block| {
                    quants.push(block.quants);
                    scales.push(block.scales);
                });
                Weights::Halves { quants, scales }
            }
        };
        Self { rows, columns, weights }
    }

    /// The form of activations that rows of this matrix are multiplied with.
    pub(super) fn form(&self) -> Form {
        match self.weights {
            Weights::F32(_) | Weights::Bf16(_) => Form::F32,
            Weights::F16(_) => Form::F16,
            Weights::Nibbles { .. } | Weights::Unsigned { .. } | Weights::Signed { .. } | Weights::Halves { .. } => {
                Form::Q8
            }
        }
    }

    /// One row's values, into `out`.
    pub(crate) fn row(&self, row: usize, out: &mut [f32]) {
        let from = row * self.columns;
        let blocks = from / 32..(from + self.columns) / 32;
        let out32 = |out: &mut [f32], block: &mut dyn FnMut(usize, &mut [f32; 32])| {
            blocks.clone().zip(out.as_chunks_mut::<32>().0).for_each(|(index, out)| block(index, out));
        };
        match &self.weights {
            Weights::F32(values) => out.copy_from_slice(&values[from..from + self.columns]),
            Weights::F16(values) => {
                for (out, &bits) in out.iter_mut().zip(&values[from..]) {
                    *out = f16::from_bits(bits).to_f32();
                }
            }
            Weights::Bf16(values) => {
                for (out, &bits) in out.iter_mut().zip(&values[from..]) {
                    *out = math::widen_bf16(bits);
                }
            }
            Weights::Nibbles { quants, scales, offsets, .. } => out32(out, &mut |block, out| {
                for (at, &byte) in quants[block].iter().enumerate() {
                    out[at] = f32::from(byte & 15).mul_add(scales[block], offsets[block]);
                    out[at + 16] = f32::from(byte >> 4).mul_add(scales[block], offsets[block]);
                }
            }),
            Weights::Unsigned { quants, scales, offsets, .. } => out32(out, &mut |block, out| {
                for (out, &quant) in out.iter_mut().zip(&quants[block]) {
                    *out = f32::from(quant).mul_add(scales[block], offsets[block]);
                }
            }),
            Weights::Signed { quants, scales } => out32(out, &mut |block, out| {
                for (out, &quant) in out.iter_mut().zip(&quants[block]) {
                    *out = f32::from(quant) * scales[block];
                }
            }),
            Weights::Halves { quants, scales } => out32(out, &mut |block, out| {
                for (at, (out, &quant)) in out.iter_mut().zip(&quants[block]).enumerate() {
                    *out = f32::from(quant) * scales[block][at / 16];
                }
            }),
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
                Weights::Bf16(weights) => {
                    for (n, out) in out.iter_mut().enumerate() {
                        out[at] = math::dot_bf16(level, &weights[values.clone()], activations.floats(n));
                    }
                }
                Weights::Nibbles { quants, scales, offsets, sums } => {
                    let weights = product::Nibbles {
                        quants: &quants[row.clone()],
                        scales: &scales[row.clone()],
                        offsets: &offsets[row],
                    };
                    product::each(level, out, activations, *sums, at, weights);
                }
                Weights::Unsigned { quants, scales, offsets, sums } => {
                    let weights = product::Unsigned {
                        quants: &quants[row.clone()],
                        scales: &scales[row.clone()],
                        offsets: &offsets[row],
                    };
                    product::each(level, out, activations, *sums, at, weights);
                }
                Weights::Signed { quants, scales } => {
                    let weights = product::Signed { quants: &quants[row.clone()], scales: &scales[row] };
                    product::each(level, out, activations, Sums::Exact, at, weights);
                }
                Weights::Halves { quants, scales } => {
                    let weights = product::Halves { quants: &quants[row.clone()], scales: &scales[row] };
                    product::each(level, out, activations, Sums::Exact, at, weights);
                }
            }
        }
    }
}

/// Lists with room for so many blocks.
fn room<A, B, C>(count: usize) -> (Vec<A>, Vec<B>, Vec<C>) {
    (Vec::with_capacity(count), Vec::with_capacity(count), Vec::with_capacity(count))
}

/// Which sums of an activation's blocks offsets are multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sums {
    /// In 16 bits, as ggml's Q8_1 has them.
    Rounded,
    /// As they are, as in ggml's Q8_K.
    Exact,
}

impl Sums {
    fn of(kind: TensorType) -> Self {
        match kind {
            TensorType::Q4_1 | TensorType::Q5_1 => Self::Rounded,
            _ => Self::Exact,
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
    rounded: Vec<f32>,
    exact: Vec<f32>,
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
        let mut made = Self {
            columns,
            floats: Vec::new(),
            quants: Vec::new(),
            scales: Vec::new(),
            rounded: Vec::new(),
            exact: Vec::new(),
        };
        match form {
            Form::F32 => made.floats = values.to_vec(),
            Form::F16 => {
                made.floats = vec![0.0; values.len()];
                math::round_all_f16(level, values, &mut made.floats);
            }
            Form::Q8 => {
                made.quants = vec![0; values.len()];
                made.scales = vec![0.0; values.len() / 32];
                made.rounded = vec![0.0; values.len() / 32];
                made.exact = vec![0.0; values.len() / 32];
                let sums = (&mut made.rounded[..], &mut made.exact[..]);
                math::quantise(level, values, &mut made.quants, &mut made.scales, sums);
            }
        }
        made
    }

    fn floats(&self, token: usize) -> &[f32] {
        &self.floats[token * self.columns..][..self.columns]
    }

    pub(super) fn quantised(&self, token: usize, sums: Sums) -> Quantised<'_> {
        let blocks = self.columns / 32;
        let range = token * blocks..(token + 1) * blocks;
        Quantised {
            quants: &self.quants.as_chunks::<32>().0[range.clone()],
            scales: &self.scales[range.clone()],
            sums: match sums {
                Sums::Rounded => &self.rounded[range],
                Sums::Exact => &self.exact[range],
            },
        }
    }
}
