//! What matrices are multiplied with, in the forms that they want it in.

use zeroize::Zeroize;

use super::math::{self, Level};
use super::packed::Sums;
use super::room::room;

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

/// Activations of several tokens, as they are and in other forms that were asked for. Lists are kept from batch to batch.
#[derive(Default, Zeroize)]
pub(super) struct Activations {
    columns: usize,
    tokens: usize,
    rounds: bool,
    quantises: bool,
    floats: Vec<f32>,
    halves: Vec<f32>,
    quants: Vec<i8>,
    fours: Vec<i32>,
    scales: Vec<f32>,
    rounded: Vec<f32>,
    exact: Vec<f32>,
}

/// One token's activations as blocks.
#[derive(Clone, Copy)]
pub(super) struct Quantised<'a> {
    pub(super) quants: &'a [[i8; 32]],
    /// What a weight that has 128 added gives too much, negative: -128 times the sum of each four quants.
    pub(super) fours: &'a [[i32; 8]],
    pub(super) scales: &'a [f32],
    pub(super) sums: &'a [f32],
}

/// Where one token's activations go.
pub(super) struct Place<'a> {
    /// Its number in the batch.
    pub(super) token: usize,
    /// To be filled with the values, before [`Place::bring_into_form`].
    pub(super) floats: &'a mut [f32],
    halves: &'a mut [f32],
    quants: &'a mut [i8],
    fours: &'a mut [i32],
    scales: &'a mut [f32],
    rounded: &'a mut [f32],
    exact: &'a mut [f32],
}

impl Activations {
    /// Makes room for so many tokens of `columns` values each, and gives the places to fill.
    pub(super) fn places(&mut self, forms: &[Form], columns: usize, tokens: usize) -> Vec<Place<'_>> {
        (self.columns, self.tokens) = (columns, tokens);
        (self.rounds, self.quantises) = (forms.contains(&Form::F16), forms.contains(&Form::Q8));
        let of = |wanted: bool, each: usize| if wanted { each } else { 0 };
        let (halves, quants, blocks) =
            (of(self.rounds, columns), of(self.quantises, columns), of(self.quantises, columns / 32));
        room(&mut self.floats, columns * tokens);
        room(&mut self.halves, halves * tokens);
        room(&mut self.quants, quants * tokens);
        room(&mut self.fours, blocks * 8 * tokens);
        for list in [&mut self.scales, &mut self.rounded, &mut self.exact] {
            room(list, blocks * tokens);
        }
        let mut lists = (
            each(&mut self.floats, columns),
            each(&mut self.halves, halves),
            each(&mut self.quants, quants),
            each(&mut self.fours, blocks * 8),
            each(&mut self.scales, blocks),
            each(&mut self.rounded, blocks),
            each(&mut self.exact, blocks),
        );
        let place = |token| Place {
            token,
            floats: lists.0.next().unwrap_or_default(),
            halves: lists.1.next().unwrap_or_default(),
            quants: lists.2.next().unwrap_or_default(),
            fours: lists.3.next().unwrap_or_default(),
            scales: lists.4.next().unwrap_or_default(),
            rounded: lists.5.next().unwrap_or_default(),
            exact: lists.6.next().unwrap_or_default(),
        };
        (0..tokens).map(place).collect()
    }

    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }

    /// A token's values as they are.
    pub(super) fn floats(&self, token: usize) -> &[f32] {
        &self.floats[token * self.columns..][..self.columns]
    }

    /// A token's values, rounded to 16 bits.
    pub(super) fn halves(&self, token: usize) -> &[f32] {
        &self.halves[token * self.columns..][..self.columns]
    }

    pub(super) fn quantised(&self, token: usize, sums: Sums) -> Quantised<'_> {
        let blocks = self.columns / 32;
        let range = token * blocks..(token + 1) * blocks;
        Quantised {
            quants: &self.quants.as_chunks::<32>().0[range.clone()],
            fours: &self.fours.as_chunks::<8>().0[range.clone()],
            scales: &self.scales[range.clone()],
            sums: match sums {
                Sums::Rounded => &self.rounded[range],
                Sums::Exact => &self.exact[range],
            },
        }
    }
}

/// A list's parts of one token each; none of a list without any.
fn each<T>(list: &mut [T], of_one: usize) -> std::slice::ChunksExactMut<'_, T> {
    list.chunks_exact_mut(of_one.max(1))
}

impl Place<'_> {
    /// Brings the values into the forms that were asked for.
    pub(super) fn bring_into_form(&mut self, level: Level) {
        if !self.halves.is_empty() {
            math::round_all_f16(level, self.floats, self.halves);
        }
        if !self.quants.is_empty() {
            let mut blocks = math::Blocks {
                quants: self.quants.as_chunks_mut().0,
                fours: self.fours.as_chunks_mut().0,
                scales: self.scales,
                rounded: self.rounded,
                exact: self.exact,
            };
            math::quantise(level, self.floats, &mut blocks);
        }
    }
}
