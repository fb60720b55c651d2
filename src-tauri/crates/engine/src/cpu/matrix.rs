//! Weight matrices as the CPU reads them, and products of their rows with activations.

use half::f16;
use zeroize::Zeroize;

use super::activations::{Activations, Form};
use super::math::{self, Level};
use super::packed::{GROUP, Packed};
use super::product;
use super::room::room;
use crate::gguf::TensorType;

/// A matrix of `rows * columns`.
pub(crate) struct Matrix {
    pub(super) rows: usize,
    pub(super) columns: usize,
    weights: Weights,
}

/// Numbers of a matrix: floats row after row, blocks in groups of rows.
enum Weights {
    F32(Vec<f32>),
    F16(Vec<u16>),
    Bf16(Vec<u16>),
    Blocks(Packed),
}

impl Matrix {
    /// Arranges a tensor's bytes, which must be as long as the type and the sizes say.
    pub(crate) fn new(kind: TensorType, rows: usize, columns: usize, bytes: &[u8]) -> Self {
        let halves = || bytes.as_chunks().0.iter().map(|&value| u16::from_le_bytes(value)).collect();
        let weights = match kind {
            TensorType::F16 => Weights::F16(halves()),
            TensorType::BF16 => Weights::Bf16(halves()),
            _ => match Packed::new(kind, rows, columns, bytes) {
                Some(blocks) => Weights::Blocks(blocks),
                None => Weights::F32(bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect()),
            },
        };
        Self { rows, columns, weights }
    }

    /// The form of activations that rows of this matrix are multiplied with.
    pub(super) fn form(&self) -> Form {
        match self.weights {
            Weights::F32(_) | Weights::Bf16(_) => Form::F32,
            Weights::F16(_) => Form::F16,
            Weights::Blocks(_) => Form::Q8,
        }
    }

    /// How many groups of [`GROUP`] rows there are; the last may have fewer.
    pub(super) fn groups(&self) -> usize {
        self.rows.div_ceil(GROUP)
    }

    /// One row's values, into `out`.
    pub(crate) fn row(&self, row: usize, out: &mut [f32]) {
        let from = row * self.columns;
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
            Weights::Blocks(blocks) => blocks.row(row, out),
        }
    }

    /// Products of a group's rows with every activation, into `out`: one for each token.
    pub(super) fn multiply(&self, level: Level, group: usize, activations: &Activations, out: &mut [[f32; GROUP]]) {
        let rows = group * GROUP..self.rows.min((group + 1) * GROUP);
        let each = |out: &mut [[f32; GROUP]], dot: &dyn Fn(std::ops::Range<usize>, usize) -> f32| {
            for (lane, row) in rows.clone().enumerate() {
                for (token, out) in out.iter_mut().enumerate() {
                    out[lane] = dot(row * self.columns..(row + 1) * self.columns, token);
                }
            }
        };
        match &self.weights {
            Weights::F32(values) => {
                each(out, &|row, token| math::dot(level, &values[row], activations.floats(token)));
            }
            Weights::F16(values) => {
                each(out, &|row, token| math::dot_f16(level, &values[row], activations.halves(token)));
            }
            Weights::Bf16(values) => {
                each(out, &|row, token| math::dot_bf16(level, &values[row], activations.floats(token)));
            }
            Weights::Blocks(blocks) => product::group(level, blocks, group, activations, out),
        }
    }
}

/// Products of a matrix with several tokens' activations: of each group of rows, of each token. Kept from batch to batch.
#[derive(Default, Zeroize)]
pub(super) struct Made {
    pub(super) values: Vec<[f32; GROUP]>,
    tokens: usize,
}

impl Made {
    /// Makes room for so many groups and tokens; what is in it is to be overwritten.
    pub(super) fn shape(&mut self, groups: usize, tokens: usize) {
        room(&mut self.values, groups * tokens);
        self.tokens = tokens;
    }

    /// One token's values, into `out`.
    pub(super) fn token(&self, token: usize, out: &mut [f32]) {
        for (group, out) in out.chunks_mut(GROUP).enumerate() {
            out.copy_from_slice(&self.values[group * self.tokens + token][..out.len()]);
        }
    }
}
