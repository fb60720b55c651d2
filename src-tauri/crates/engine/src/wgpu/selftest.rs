//! Whether a card computes what the processor computes: a small model with the heads, the family and the tensor types of the one that
//! is to run, so that the same kernels are tried, for a second or two. Whoever was tried out before is compared again at every start.
//!
//! Products come first and by themselves: with activations that are whole numbers nothing is rounded but the sums, so a row that a
//! driver leaves out or reads from the wrong place is seen at once, in a model it would drown in everything else.

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use crate::backend::{Backend, Batch, Found, Mask, Masked, Pages, Penalty, Row, Wanted};
use crate::cpu::{Cpu, Matrix as Plain};
use crate::device::matrix::{Matrix, PAIRS, Packing, Source};
use crate::device::plan::{Builder, First, Over, Then};
use crate::device::share::Shares;
use crate::device::step::Size;
use crate::fault::DeviceFault;
use crate::gguf::{Limits, TensorType};
use crate::model::{Model, Parameters, Part};
use crate::sampling::{Candidates, likeliest};
use crate::synthetic;

use super::graph::Graph;
use super::kernels::Kernels;
use super::{Options, Part as Step, Tuning, Wgpu};

/// What of a model decides which kernels it needs.
#[derive(Clone)]
pub(super) struct Likeness {
    parameters: Parameters,
    kinds: Vec<TensorType>,
    file: Vec<u8>,
}

/// Tokens of the text that is read, in batches of these sizes: every tile, full and not.
const BATCHES: [usize; 5] = [1, 2, 5, 9, 17];
const CONTEXT: u32 = 64;
/// How far the distribution over the next token may be from the processor's: an activation rounded to its other neighbour moves it by
/// less in a model of this size.
const DIVERGENCE: f64 = 3e-2;
/// Of products, relative to their size: only the order of sums differs.
const PRODUCTS: f64 = 1e-4;
/// The same where weights are rounded to 16 bits.
const ROUNDED_PRODUCTS: f64 = 4e-3;

impl Likeness {
    pub(super) fn of(model: &Model) -> Self {
        let parameters = *model.parameters();
        let matrices = || model.tensors().filter(|tensor| tensor.shape.len() > 1);
        let kind_of = |name: &str| matrices().find(|tensor| tensor.name == name).map(|tensor| tensor.kind);
        let in_layers = matrices().filter(|tensor| tensor.name.starts_with("blk."));
        let found: Vec<TensorType> = in_layers.map(|tensor| tensor.kind).collect();
        let kinds: Vec<TensorType> = TensorType::ALL.into_iter().filter(|kind| found.contains(kind)).collect();
        let embedding = kind_of("token_embd.weight").unwrap_or(TensorType::F32);
        let output = kind_of("output.weight");
        let mut mixed = Vec::new();
        for layer in 0..parameters.layers {
            let heads = [Part::Query, Part::Key, Part::Value].map(|part| kind_of(&part.of(layer)));
            let [Some(query), Some(key), Some(value)] = heads else { continue };
            if (query != key || key != value) && !mixed.contains(&[query, key, value]) {
                mixed.push([query, key, value]);
            }
        }
        let file = synthetic::likeness(&parameters, &kinds, &mixed, embedding, output);
        let mut all = kinds;
        for kind in [Some(embedding), output].into_iter().flatten() {
            if !all.contains(&kind) {
                all.push(kind);
            }
        }
        Self { parameters, kinds: all, file }
    }

    fn model(&self) -> Result<Model, DeviceFault> {
        let model = Model::read(&mut self.file.as_slice(), Limits::default());
        // A model that the processor runs has a likeness that can be read; were it not so, nothing could be said of the card.
        model.map_err(|error| DeviceFault::Refused { reason: format!("nothing to compare with: {error}") })
    }

    /// Compares. The kernels come back, compiled.
    pub(super) fn test(&self, kernels: Kernels, tuning: &Tuning) -> Result<Kernels, DeviceFault> {
        let options = Options { threads: 1, context: CONTEXT, max_sequences: 1 };
        let mut card = Wgpu::load(kernels, self.model()?, &options, tuning)?;
        card.gpu.set_deadline(super::WARM_UP);
        let mut kinds = BTreeSet::new();
        for &kind in &self.kinds {
            // Types that lie on the card in the same way have one kernel.
            if kinds.insert(Packing::of(kind).name()) {
                card.products(kind)?;
            }
        }
        let mut processor = Cpu::new(self.model()?, 1, CONTEXT as usize);
        let experts = self.parameters.experts.is_some();
        compare(&mut card, &mut processor, experts, false)?;
        if card.reads_otherwise() {
            compare(&mut card, &mut processor, experts, true)?;
        }
        card.gpu.set_deadline(tuning.deadline);
        Ok(card.kernels)
    }
}

fn wrong(what: &str) -> DeviceFault {
    DeviceFault::Wrong { what: what.to_owned() }
}

/// A fixed sequence of numbers below `most`.
fn numbers(most: u32) -> impl Iterator<Item = u32> {
    std::iter::successors(Some(1_u32), |last| Some(last.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)))
        .map(move |number| (number >> 8) % most)
}

impl Wgpu {
    /// Products with a matrix of this type, for every size of tiles and one token more, at a ragged number of rows.
    fn products(&mut self, kind: TensorType) -> Result<(), DeviceFault> {
        let columns = match kind.block_values() {
            1 => 70,
            32 => 96,
            _ => 256,
        };
        let rows = 37;
        let (behind, stride) = (3, rows as u32 + 5);
        let weights: Vec<f32> = numbers(2001).take(columns * rows).map(|n| (n as f32 - 1000.0) / 4000.0).collect();
        let bytes = synthetic::blocks(kind, &weights);
        let plain = Plain::new(kind, rows, columns, &bytes);
        let matrix = Matrix::upload(&*self.gpu, kind, columns, &[Source { rows, bytes: &bytes }], PAIRS, u64::MAX)?;
        let tokens = &self.kernels.shape.tokens;
        let answers = tokens.iter().copied().chain(tokens.last().map(|most| most + 1));
        let mut sizes: Vec<(u32, bool)> = answers.map(|tokens| (tokens, false)).collect();
        if let Some(tile) = self.kernels.shape.cooperative_tokens() {
            sizes.extend([(1, true), (tile + 1, true)]);
        }
        let largest = sizes.iter().map(|&(size, _)| size as usize).max().unwrap_or(1);
        // Small whole numbers, and one in each block that makes its scale 1.
        let activations: Vec<f32> = numbers(31)
            .take(largest * columns)
            .enumerate()
            .map(|(at, number)| if at % columns % 32 == 5 { 127.0 } else { number as f32 - 15.0 })
            .collect();
        let to_bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let source = self.gpu.storage("activations of a test", activations.len() as u64 * 4)?;
        self.gpu.queue.write_buffer(&source, 0, &to_bytes(&activations));
        let words = largest * stride as usize;
        let out = self.gpu.storage("products of a test", words as u64 * 4)?;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let back = self.gpu.buffer("products of a test", out.size(), usage)?;
        let mut row = vec![0.0; columns];
        let mut wanted = Vec::new();
        for number in 0..rows {
            plain.row(number, &mut row);
            let product =
                |token: &[f32]| token.iter().zip(&row).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
            wanted.push(activations.chunks_exact(columns).map(product).collect::<Vec<f64>>());
        }
        let size = wanted.iter().flatten().map(|value| value * value).sum::<f64>() / (rows * largest) as f64;
        let pages = Pages(vec![0]);
        for (tokens, prompt) in sizes {
            let allowed = size.sqrt() * if prompt { ROUNDED_PRODUCTS } else { PRODUCTS };
            let batch: Vec<Row> = (0..tokens)
                .map(|position| Row { token: 0, position, sequence: 0, prompt, wanted: Wanted::Nothing })
                .collect();
            let part = Step {
                rows: &batch,
                sequences: &[&pages],
                penalties: Zeroizing::default(),
                masks: Vec::new(),
                wanting: Vec::new(),
            };
            let step: Vec<u8> = part.words().iter().flat_map(|word| word.to_le_bytes()).collect();
            self.gpu.queue.write_buffer(&self.scratch.step, 0, &step);
            // What is not written is no number.
            self.gpu.queue.write_buffer(&out, 0, &to_bytes(&vec![f32::NAN; words]));
            let mut builder = Builder::new(&self.parameters, &self.scratch, self.results);
            builder.prepare(First::Nothing, &source, columns, &[matrix.packing], Over::Tokens);
            builder.product(&matrix, &Then::Store(&out, behind, stride), Over::Tokens);
            let graph = Graph::bind(&self.gpu, &mut self.kernels, builder.finish(usize::MAX), &Shares::default())?;
            let mut encoder = self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            graph.encode(&mut encoder, Size { find: true, ..part.size() });
            encoder.copy_buffer_to_buffer(&out, 0, &back, 0, out.size());
            let submission = self.gpu.queue.submit([encoder.finish()]);
            back.map_async(wgpu::MapMode::Read, .., |_| {});
            self.gpu.wait(submission)?;
            let view = back.get_mapped_range(..).map_err(|error| DeviceFault::Refused { reason: error.to_string() })?;
            let got: Vec<f32> = view.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect();
            drop(view);
            back.unmap();
            let failed = || wrong(&format!("products with {} for {tokens} tokens", kind.name()));
            for (token, got) in got.chunks_exact(stride as usize).take(tokens as usize).enumerate() {
                for (at, value) in got.iter().enumerate() {
                    let inside = (at as u32).checked_sub(behind).and_then(|row| wanted.get(row as usize));
                    let right = match inside.and_then(|of_row| of_row.get(token)) {
                        Some(wanted) => (f64::from(*value) - wanted).abs() <= allowed,
                        None => value.is_nan(),
                    };
                    if !right {
                        return Err(failed());
                    }
                }
            }
        }
        self.gpu.check()
    }
}

fn forward(backend: &mut dyn Backend, rows: &[Row], pages: &Pages) -> Result<Vec<Found>, DeviceFault> {
    backend.forward(&Batch { rows, sequences: &[pages], penalties: &[], masks: &[] })
}

fn logits(found: Vec<Found>) -> Vec<Vec<f32>> {
    found.into_iter().filter_map(|found| if let Found::Logits(logits) = found { Some(logits) } else { None }).collect()
}

/// Reads a text on both, as a prompt or as if it were said, and chooses tokens on the card.
fn compare(
    card: &mut dyn Backend,
    processor: &mut dyn Backend,
    experts: bool,
    prompt: bool,
) -> Result<(), DeviceFault> {
    let tokens: usize = BATCHES.iter().sum();
    let no_pages = || DeviceFault::Refused { reason: "no memory for a test".to_owned() };
    let (pages, others) = (card.reserve(tokens).ok_or_else(no_pages)?, processor.reserve(tokens).ok_or_else(no_pages)?);
    let rows: Vec<Row> = (0..)
        .zip(numbers(500))
        .map(|(position, token)| Row { token: token + 3, position, sequence: 0, prompt, wanted: Wanted::Logits })
        .take(tokens)
        .collect();
    let wanted = logits(forward(processor, &rows, &others)?);
    let mut got = Vec::new();
    let mut rest = rows.as_slice();
    for size in BATCHES {
        let (batch, behind) = rest.split_at(size.min(rest.len()));
        got.extend(logits(forward(card, batch, &pages)?));
        rest = behind;
    }
    if got.len() != wanted.len() {
        return Err(wrong("the number of results"));
    }
    let apart: Vec<f64> = wanted.iter().zip(&got).map(|(wanted, got)| divergence(wanted, got)).collect();
    let near = apart.iter().filter(|&&apart| apart < DIVERGENCE).count();
    // An activation rounded to its other neighbour may be another expert, and then everything is different.
    let least = if experts { apart.len() / 2 } else { apart.len() };
    if near < least {
        return Err(wrong("a small model's answers"));
    }
    if let (Some(last), Some(logits)) = (rows.last(), got.last()) {
        choose(card, *last, logits, &pages)?;
    }
    if prompt {
        // In one piece, so that tokens are elsewhere in their tiles.
        let bits = |all: &[Vec<f32>]| all.iter().flatten().map(|logit| logit.to_bits()).collect::<Vec<u32>>();
        let whole = logits(forward(card, &rows, &pages)?);
        if bits(&whole) != bits(&got) {
            return Err(wrong("a prompt in other chunks"));
        }
    }
    card.release(pages);
    processor.release(others);
    Ok(())
}

/// Computes the last token anew: what the card finds among its logits must be there, bit for bit.
fn choose(card: &mut dyn Backend, row: Row, logits: &[f32], pages: &Pages) -> Result<(), DeviceFault> {
    let best = likeliest(logits.iter().copied());
    let rows = |wanted| [Row { wanted, ..row }];
    match forward(card, &rows(Wanted::Likeliest), pages)?.as_slice() {
        [Found::Likeliest(found)] if *found == best => {}
        _ => return Err(wrong("the likeliest token")),
    }
    let same = |found: &Candidates, logits: &[f32]| found.likeliest == Candidates::of(logits.iter().copied()).likeliest;
    match forward(card, &rows(Wanted::Candidates), pages)?.as_slice() {
        [Found::Candidates(found)] if same(found, logits) => {}
        _ => return Err(wrong("the likeliest tokens")),
    }
    // Without the best one, and with the second taken down.
    let mut mask = Mask::nothing(logits.len());
    (0..logits.len() as u32).filter(|&token| token != best).for_each(|token| mask.admit(token));
    let mut left = logits.to_vec();
    left[best as usize] = f32::NEG_INFINITY;
    let second = likeliest(left.iter().copied());
    left[second as usize] -= 100.0;
    let penalties = [Penalty { row: 0, token: second, amount: 100.0 }];
    let masks = [Masked { row: 0, mask: &mask }];
    let rows = rows(Wanted::Candidates);
    let batch = Batch { rows: &rows, sequences: &[pages], penalties: &penalties, masks: &masks };
    match card.forward(&batch)?.as_slice() {
        [Found::Candidates(found)] if same(found, &left) => Ok(()),
        _ => Err(wrong("the likeliest tokens among some")),
    }
}

/// How far one distribution over tokens is from another (Kullback and Leibler's), in nats. Infinite for what is no number.
fn divergence(wanted: &[f32], got: &[f32]) -> f64 {
    let shares = |logits: &[f32]| {
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - highest).exp()).collect();
        let total: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / total).collect::<Vec<f64>>()
    };
    let terms = shares(wanted).into_iter().zip(shares(got));
    let sum: f64 = terms.map(|(p, q)| p * (p.max(1e-30) / q.max(1e-30)).ln()).sum();
    if wanted.len() == got.len() && got.iter().all(|logit| logit.is_finite()) { sum } else { f64::INFINITY }
}
