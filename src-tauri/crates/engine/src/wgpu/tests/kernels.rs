//! Every kernel by itself, at ragged sizes, cut in several ways, into buffers that were full of nonsense.
//!
//! The checks are the same for every backend that runs a plan: each compiles this file with a `rig` of its own.

use half::f16;
use zeroize::Zeroizing;

use super::rig::{LayerCache, POISON, Rig, everywhere, is_quick, kinds};
use crate::backend::{Mask, Masked, PAGE_TOKENS, Pages, Penalty, Row, Wanted};
use crate::device::Memory;
use crate::device::matrix::{Form, Matrix, PAIRS, Packing, Source};
use crate::device::plan::{First, Over, SLICE, Then};
use crate::device::step::{Part, RESULT_WORDS};
use crate::device::weights;
use crate::gguf::{Limits, TensorType};
use crate::model::{Model, Parameters, Rope};
use crate::sampling::Candidates;
use crate::synthetic;

pub(super) fn parameters(
    width: usize,
    heads: usize,
    kv_heads: usize,
    head_size: usize,
    vocabulary: usize,
) -> Parameters {
    Parameters {
        layers: 1,
        width,
        heads,
        kv_heads,
        head_size,
        feed_forward: width,
        vocabulary,
        context: 512,
        rope_size: head_size / 4 * 2,
        attention_scale: 1.0 / (head_size as f32).sqrt(),
        ..*Model::read(&mut synthetic::tiny().as_slice(), Limits::default()).unwrap().parameters()
    }
}

/// Values that look random, the same every time.
pub(super) fn values(seed: u64, count: usize, spread: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / 16_777_216.0 - 0.5) * 2.0 * spread
    };
    (0..count).map(|_| next()).collect()
}

/// Largest difference, relative to the size of the wanted values.
pub(super) fn error(got: &[f32], wanted: &[f64]) -> f64 {
    assert_eq!(got.len(), wanted.len());
    let size = wanted.iter().map(|value| value * value).sum::<f64>() / wanted.len() as f64;
    let worst = got.iter().zip(wanted).map(|(got, wanted)| (f64::from(*got) - wanted).abs());
    let worst = worst.fold(0.0, |worst: f64, one| if one.is_nan() { f64::INFINITY } else { worst.max(one) });
    worst / size.sqrt().max(1e-30)
}

pub(super) fn rows(count: usize, wanted: Wanted) -> Vec<Row> {
    (0..count as u32).map(|position| Row { token: 0, position, sequence: 0, prompt: false, wanted }).collect()
}

pub(super) fn part<'a>(rows: &'a [Row], sequences: &'a [&'a Pages]) -> Part<'a> {
    let wanting = (0..rows.len()).filter(|&row| rows[row].wanted != Wanted::Nothing).collect();
    Part { rows, sequences, penalties: Zeroizing::default(), masks: Vec::new(), wanting }
}

/// A matrix's bytes in the file's form, and its values.
pub(super) fn stored(kind: TensorType, columns: usize, rows: usize, seed: u64) -> (Vec<u8>, Vec<f32>) {
    let bytes = synthetic::blocks(kind, &values(seed, columns * rows, 0.5));
    let matrix = crate::cpu::Matrix::new(kind, rows, columns, &bytes);
    let mut plain = vec![0.0; columns * rows];
    for (row, out) in plain.chunks_mut(columns).enumerate() {
        matrix.row(row, out);
    }
    (bytes, plain)
}

fn columns_of(kind: TensorType) -> &'static [usize] {
    match kind.block_values() {
        1 => &[7, 64, 130],
        32 => &[32, 96, 576],
        _ => &[256, 512, 768],
    }
}

#[test]
fn embedding_rows_are_the_stored_values_also_of_a_matrix_in_pieces() {
    everywhere(|gpu, shape| {
        for kind in kinds(gpu, &shape) {
            for &columns in columns_of(kind) {
                let count = 13;
                let (bytes, plain) = stored(kind, columns, count, 1);
                let mut rig = Rig::new(gpu, shape.clone(), parameters(columns, 1, 1, 8, 16));
                let limit = 4 * (columns.div_ceil(32) * 128) as u64;
                let matrix =
                    Matrix::upload(gpu, kind, columns, &[Source { rows: count, bytes: &bytes }], PAIRS, limit).unwrap();
                assert!(matrix.pieces.len() > 1 || kind != TensorType::F32);
                let pages = Pages(vec![0]);
                let tokens = [12, 0, 5, 5, 3, 4];
                let mut rows = rows(tokens.len(), Wanted::Nothing);
                for (row, token) in rows.iter_mut().zip(tokens) {
                    row.token = token;
                }
                rig.run(&part(&rows, &[&pages]), |builder| builder.embed(&matrix));
                let got = rig.read_floats(&rig.scratch.states, tokens.len() * columns);
                for (got, token) in got.chunks(columns).zip(tokens) {
                    assert_eq!(got, &plain[token as usize * columns..][..columns], "{kind:?} {columns}");
                }
            }
        }
    });
}

/// Activations as a product will see them, from the words of a form.
pub(super) fn prepared(rig: &Rig, kind: TensorType, columns: usize, tokens: usize) -> Vec<f64> {
    let blocks = columns.div_ceil(32);
    let words = rig.read(&rig.scratch.words);
    let parts = rig.read(&rig.scratch.parts);
    let mut out = Vec::new();
    for token in 0..tokens {
        for column in 0..blocks * 32 {
            let value = if kind.block_values() == 1 {
                f64::from(f32::from_bits(words[token * blocks * 32 + column]))
            } else {
                let block = token * blocks + column / 32;
                let byte = words[block * 8 + column % 32 / 4].to_le_bytes()[column % 4].cast_signed();
                f64::from(byte) * f64::from(f32::from_bits(parts[block * 2]))
            };
            if column < columns {
                out.push(value);
            } else {
                assert!(value == 0.0, "the last block is not filled up with zeros");
            }
        }
    }
    out
}

#[test]
fn activations_are_normed_gated_and_brought_into_form() {
    everywhere(|gpu, shape| {
        for kind in [TensorType::F32, TensorType::F16, TensorType::Q8_0] {
            for &columns in columns_of(kind) {
                let tokens = 5;
                let mut rig = Rig::new(gpu, shape.clone(), parameters(columns, 1, 1, 8, 16));
                let (source, weight) = (values(2, tokens * columns * 2, 3.0), values(3, columns, 1.0));
                let buffer = rig.floats(&source);
                let weights = rig.floats(&weight);
                let pages = Pages(vec![0]);
                let all = rows(tokens, Wanted::Nothing);
                let mut some = rows(tokens, Wanted::Nothing);
                some[1].wanted = Wanted::Likeliest;
                some[4].wanted = Wanted::Likeliest;
                let value = |row: usize, column: usize| f64::from(source[row * columns + column]);
                let normed = |row: usize, column: usize| {
                    let mean = (0..columns).map(|c| value(row, c).powi(2)).sum::<f64>() / columns as f64;
                    value(row, column) / (mean + 1e-5).sqrt() * f64::from(weight[column])
                };
                let gated = |row: usize, column: usize| {
                    let gate = f64::from(source[row * 2 * columns + column]);
                    gate / (1.0 + (-gate).exp()) * f64::from(source[row * 2 * columns + columns + column])
                };
                for what in 0..4 {
                    let (batch, over) = if what == 3 { (&some, Over::Results) } else { (&all, Over::Tokens) };
                    rig.poison(&rig.scratch.words);
                    rig.poison(&rig.scratch.parts);
                    rig.run(&part(batch, &[&pages]), |builder| {
                        let first = match what {
                            0 => First::Nothing,
                            1 => First::Gate,
                            _ => First::Norm(&weights),
                        };
                        builder.prepare(first, &buffer, columns, &[Packing::of(kind)], over);
                    });
                    let from: &[usize] = if what == 3 { &[1, 4] } else { &[0, 1, 2, 3, 4] };
                    let got = prepared(&rig, kind, columns, from.len());
                    for (token, &row) in from.iter().enumerate() {
                        for block in (0..columns).collect::<Vec<usize>>().chunks(32) {
                            let wanted: Vec<f64> = block
                                .iter()
                                .map(|&column| match what {
                                    0 => value(row, column),
                                    1 => gated(row, column),
                                    _ => normed(row, column),
                                })
                                .collect();
                            let largest = wanted.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
                            let allowed = match kind {
                                TensorType::F32 => largest * 1e-5,
                                TensorType::F16 => largest * 6e-4,
                                _ => largest * 0.58 / 127.0,
                            };
                            for (&column, wanted) in block.iter().zip(&wanted) {
                                let got = got[token * columns + column];
                                assert!(
                                    (got - wanted).abs() <= allowed,
                                    "{kind:?} {columns} {what}: {got} for {wanted}"
                                );
                            }
                        }
                    }
                }
            }
        }
    });
}

#[test]
fn products_of_every_type_equal_those_of_the_dequantised_values() {
    everywhere(|gpu, shape| {
        for kind in kinds(gpu, &shape) {
            for (&columns, count) in columns_of(kind).iter().zip([1, 37, 70]) {
                let (bytes, plain) = stored(kind, columns, count, 4);
                let mut rig = Rig::new(gpu, shape.clone(), parameters(columns.max(count), 1, 1, 8, 128));
                // Once whole, once in pieces.
                let limit = if count > 40 { (columns.div_ceil(32) * 128 * 16) as u64 } else { u64::MAX };
                let matrix =
                    Matrix::upload(gpu, kind, columns, &[Source { rows: count, bytes: &bytes }], PAIRS, limit).unwrap();
                let mut alone: Option<Vec<f32>> = None;
                for tokens in [1_usize, 3, 8, 9] {
                    let source = values(5, 9 * columns, 2.0);
                    let buffer = rig.floats(&source);
                    let pages = Pages(vec![0]);
                    let rows = rows(tokens, Wanted::Nothing);
                    rig.poison(&rig.scratch.hidden);
                    let hidden = rig.scratch.hidden.clone();
                    let (behind, stride) = (3, count as u32 + 5);
                    rig.run(&part(&rows, &[&pages]), |builder| {
                        builder.prepare(First::Nothing, &buffer, columns, &[Packing::of(kind)], Over::Tokens);
                        builder.product(&matrix, &Then::Store(&hidden, behind, stride), Over::Tokens);
                    });
                    let activations = prepared(&rig, kind, columns, tokens);
                    let words = rig.read(&rig.scratch.hidden);
                    let mut got = Vec::new();
                    for (at, &word) in words[..tokens * stride as usize].iter().enumerate() {
                        if (3..3 + count).contains(&(at % stride as usize)) {
                            got.push(f32::from_bits(word));
                        } else {
                            assert_eq!(word, POISON, "written beside its place");
                        }
                    }
                    let end = tokens * stride as usize;
                    assert!(words[end..].iter().all(|&word| word == POISON), "written behind the last token");
                    let mut wanted = Vec::new();
                    for activation in activations.chunks(columns) {
                        for row in plain.chunks(columns) {
                            wanted.push(row.iter().zip(activation).map(|(a, b)| f64::from(*a) * b).sum::<f64>());
                        }
                    }
                    let error = error(&got, &wanted);
                    // Blocks of activations carry the sum of their values, for offsets, in sixteen bits only.
                    let exact = kind.block_values() == 1
                        || matches!(kind, TensorType::Q5_0 | TensorType::Q8_0 | TensorType::Q6_K);
                    let allowed = if exact { 1e-5 } else { 2e-3 };
                    assert!(error < allowed, "{kind:?} {count}x{columns}, {tokens} tokens: {error}, {shape:?}");
                    let first = alone.get_or_insert_with(|| got[..count].to_vec());
                    assert_eq!(*first, got[..count], "{kind:?}: bits depend on the number of tokens, {shape:?}");
                    // The same, added to what is there, bit for bit, and nothing besides.
                    let width = columns.max(count);
                    rig.poison(&rig.scratch.states);
                    let before = values(6, tokens * width, 2.0);
                    rig.write_floats(&rig.scratch.states, &before);
                    rig.run(&part(&rows, &[&pages]), |builder| {
                        builder.prepare(First::Nothing, &buffer, columns, &[Packing::of(kind)], Over::Tokens);
                        builder.product(&matrix, &Then::Add, Over::Tokens);
                    });
                    let states = rig.read(&rig.scratch.states);
                    for (at, (&word, before)) in states.iter().zip(&before).enumerate() {
                        let (token, row) = (at / width, at % width);
                        let more = if row < count { got[token * count + row] } else { 0.0 };
                        assert_eq!(word, (before + more).to_bits(), "{kind:?} {count}x{columns}, {tokens} tokens");
                    }
                    assert!(states[before.len()..].iter().all(|&word| word == POISON), "added behind the last token");
                }
            }
        }
    });
}

#[test]
fn queries_keys_and_values_are_turned_and_put_into_their_pages_and_attended_to() {
    everywhere(|gpu, shape| {
        let sizes = [(6, 3, 64), (4, 2, 20), (2, 1, 128), (1, 1, 6)];
        // A driver that compiles slowly gets one of each way to read keys: by fours and one by one.
        let sizes = if is_quick(gpu) { &sizes[..] } else { &sizes[..2] };
        for &(heads, kv_heads, head_size) in sizes {
            let columns = 64;
            let p = parameters(columns, heads, kv_heads, head_size, 16);
            let (query_rows, kv_rows) = (heads * head_size, kv_heads * head_size);
            let count = query_rows + 2 * kv_rows;
            let (bytes, plain) = stored(TensorType::F32, columns, count, 6);
            let mut rig = Rig::new(gpu, shape.clone(), p);
            let limit = (columns * 4 * 90) as u64;
            let matrix =
                Matrix::upload(gpu, TensorType::F32, columns, &[Source { rows: count, bytes: &bytes }], PAIRS, limit);
            let matrix = matrix.unwrap();
            let rope = Rope::plain(p.rope_size, p.rope_base);
            let turns = weights::turn_table(gpu, &rope, 512).unwrap();
            let bytes = (5 * PAGE_TOKENS * kv_rows * 2) as u64;
            let cache = LayerCache {
                keys: gpu.allocate("a test", bytes).unwrap(),
                values: gpu.allocate("a test", bytes).unwrap(),
            };
            rig.poison(&cache.keys);
            rig.poison(&cache.values);
            let (first, second) = (Pages(vec![4, 0]), Pages(vec![2]));
            // Two sequences, whose pages lie anyhow; one of them beyond a page.
            let mut rows: Vec<Row> = Vec::new();
            for (sequence, length) in [(0, 45), (1, 7)] {
                rows.extend((0..length).map(|position| Row {
                    token: 0,
                    position,
                    sequence,
                    prompt: false,
                    wanted: Wanted::Nothing,
                }));
            }
            let source = values(7, rows.len() * columns, 1.0);
            let buffer = rig.floats(&source);
            rig.run(&part(&rows, &[&first, &second]), |builder| {
                builder.prepare(First::Nothing, &buffer, columns, &[Packing::F32], Over::Tokens);
                builder.product(&matrix, &Then::Cache(&cache, &turns, 0), Over::Tokens);
                builder.attention(&cache, None, None, None);
            });
            let got = rig.read_floats(&rig.scratch.attended, rows.len() * query_rows);
            // Plainly, in double precision but for what is rounded to 16 bits.
            let mut made: Vec<Vec<f64>> = Vec::new();
            for (row, activation) in rows.iter().zip(source.chunks(columns)) {
                let product = |weights: &[f32]| {
                    weights.iter().zip(activation).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
                };
                let mut all: Vec<f64> = plain.chunks(columns).map(product).collect();
                for head in all[..query_rows + kv_rows].chunks_mut(head_size) {
                    let mut turn = Vec::new();
                    rope.turns(row.position, &mut turn);
                    for (pair, (cosine, sine)) in head.chunks_mut(2).zip(turn) {
                        let (a, b) = (pair[0], pair[1]);
                        pair[0] = a * f64::from(cosine) - b * f64::from(sine);
                        pair[1] = a * f64::from(sine) + b * f64::from(cosine);
                    }
                }
                made.push(all.iter().map(|&value| f16::from_f64(value).to_f64()).collect());
            }
            // Every key and value is in its place, and the pages of others and the places behind the last token are as they were.
            let half = head_size / 2;
            let mut kept = vec![None; 5 * PAGE_TOKENS * kv_heads * half];
            for (index, row) in rows.iter().enumerate() {
                let pages = [&first, &second][row.sequence];
                let position = row.position as usize;
                for head in 0..kv_heads {
                    let page = pages.0[position / PAGE_TOKENS] as usize;
                    let entry = (page * kv_heads + head) * PAGE_TOKENS + position % PAGE_TOKENS;
                    for pair in 0..half {
                        kept[entry * half + pair] = Some((index, head * head_size + 2 * pair));
                    }
                }
            }
            for (list, buffer) in [&cache.keys, &cache.values].into_iter().enumerate() {
                let words = rig.read(buffer);
                assert_eq!(words.len(), kept.len());
                for (&word, place) in words.iter().zip(&kept) {
                    let Some((index, at)) = *place else {
                        assert_eq!(word, POISON, "written into a page of another, {shape:?}");
                        continue;
                    };
                    for (got, at) in [(word as u16, at), ((word >> 16) as u16, at + 1)] {
                        let got = f16::from_bits(got).to_f64();
                        let wanted = made[index][query_rows + list * kv_rows + at];
                        assert!((got - wanted).abs() <= 2e-3 * wanted.abs().max(1.0), "{got} for {wanted}, {shape:?}");
                    }
                }
            }
            let mut wanted = Vec::new();
            for (index, row) in rows.iter().enumerate() {
                let begin = index - row.position as usize;
                for head in 0..heads {
                    let of = |list: usize, at: usize| {
                        query_rows + list * kv_rows + head / (heads / kv_heads) * head_size + at
                    };
                    let scores: Vec<f64> = (begin..=index)
                        .map(|other| {
                            let products =
                                (0..head_size).map(|at| made[index][head * head_size + at] * made[other][of(0, at)]);
                            (products.sum::<f64>() / (head_size as f64).sqrt()).exp()
                        })
                        .collect();
                    let total: f64 = scores.iter().sum();
                    for at in 0..head_size {
                        let sum = scores.iter().zip(begin..).map(|(score, other)| score * made[other][of(1, at)]);
                        wanted.push(sum.sum::<f64>() / total);
                    }
                }
            }
            // At once in a form: the same bits as in two steps.
            if head_size.is_multiple_of(32) {
                for packing in [Packing::F32, Packing::F16, Packing::Bytes] {
                    let both = [false, true].map(|fused| {
                        rig.poison(&rig.scratch.words);
                        rig.poison(&rig.scratch.parts);
                        let attended = rig.scratch.attended.clone();
                        rig.run(&part(&rows, &[&first, &second]), |builder| {
                            builder.attention(&cache, None, fused.then_some(Form::of(packing)), None);
                            if !fused {
                                builder.prepare(First::Nothing, &attended, query_rows, &[packing], Over::Tokens);
                            }
                        });
                        (rig.read(&rig.scratch.words), rig.read(&rig.scratch.parts))
                    });
                    assert!(both[0] == both[1], "{packing:?}, {heads}/{kv_heads} heads of {head_size}, {shape:?}");
                }
            }
            let error = error(&got, &wanted);
            assert!(error < 1e-2, "{heads}/{kv_heads} heads of {head_size}: {error}, {shape:?}");
        }
    });
}

#[test]
fn the_likeliest_are_found_in_order_with_penalties_masks_and_odd_numbers_among_them() {
    everywhere(|gpu, shape| {
        for vocabulary in [1_usize, 50, 64, 3000, SLICE as usize + 1, 3 * SLICE as usize - 5] {
            let mut rig = Rig::new(gpu, shape.clone(), parameters(32, 1, 1, 8, vocabulary));
            let mut logits: Vec<f32> = values(8, 3 * vocabulary, 20.0);
            // Equal ones, and no numbers.
            for at in (0..logits.len()).step_by(7) {
                logits[at] = logits[at].round();
            }
            for at in (0..logits.len()).step_by(11) {
                logits[at] = if at % 2 == 0 { f32::NAN } else { f32::NEG_INFINITY };
            }
            let pages = Pages(vec![0]);
            let mut rows = rows(4, Wanted::Candidates);
            rows[1].wanted = Wanted::Nothing;
            rows[2].wanted = Wanted::Likeliest;
            let sequences = [&pages];
            let mut part = part(&rows, &sequences);
            let plain = |row: usize| logits[row * vocabulary..][..vocabulary].iter().copied();
            // What would be found without them.
            let penalised =
                [(0, 0, crate::sampling::likeliest(plain(0))), (3, 2, crate::sampling::likeliest(plain(2)))];
            part.penalties = penalised.map(|(row, _, token)| Penalty { row, token, amount: 15.5 }).to_vec().into();
            // Every second token of the last two, and of these none at all in some slices.
            let mut second = Mask::nothing(vocabulary);
            (0..vocabulary as u32).skip(1).step_by(2).filter(|at| at / SLICE != 1).for_each(|at| second.admit(at));
            let masked = [(2, 1), (3, 2)];
            part.masks = masked.map(|(row, _)| Masked { row, mask: &second }).to_vec();
            rig.write_floats(&rig.scratch.logits, &logits);
            rig.run(&part, |builder| {
                builder.find();
            });
            let results = rig.read(&rig.scratch.results);
            for (_, row, token) in penalised {
                logits[row * vocabulary + token as usize] -= 15.5;
            }
            for (_, row) in masked {
                let of_row = &mut logits[row * vocabulary..][..vocabulary];
                let others = (0..).zip(of_row).filter(|(token, _)| !second.admits(*token));
                others.for_each(|(_, logit)| *logit = f32::NEG_INFINITY);
            }
            for row in 0..3 {
                let logits = || logits[row * vocabulary..][..vocabulary].iter().copied();
                assert_eq!(results[row], crate::sampling::likeliest(logits()), "{vocabulary}, row {row}, {shape:?}");
                if row == 1 {
                    continue;
                }
                let wanted = Candidates::of(logits());
                let at = rig.results as usize + row * RESULT_WORDS;
                let got: Vec<(u32, f32)> = results[at + 1..at + RESULT_WORDS]
                    .chunks(2)
                    .take_while(|pair| pair[0] != u32::MAX)
                    .map(|pair| (pair[0], f32::from_bits(pair[1])))
                    .collect();
                assert!(got == wanted.likeliest, "{vocabulary}, row {row}, {shape:?}");
                if !got.is_empty() {
                    let sum = f32::from_bits(results[at]);
                    assert!((sum - wanted.log_sum_exp).abs() < 1e-4, "{sum} for {}", wanted.log_sum_exp);
                }
            }
        }
    });
}
