//! Kernels against plain references, and the levels against each other.

use half::f16;

use super::activations::{Activations, Form};
use super::attention::{Attention, Space};
use super::cache::List;
use super::math::{self, Level};
use super::matrix::Matrix;
use super::packed::Sums;
use super::*;
use crate::backend::{Mask, Masked, Penalty, Row};
use crate::gguf::{Limits, TensorType};
use crate::model::{Architecture, Rope};
use crate::synthetic::{self, Stored};

/// Values that look random, the same every time.
fn values(seed: u64, count: usize, spread: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / 16_777_216.0 - 0.5) * 2.0 * spread
    };
    (0..count).map(|_| next()).collect()
}

/// Activations of `columns` values each in a form.
fn prepare(level: Level, form: Form, columns: usize, values: &[f32]) -> Activations {
    let mut made = Activations::default();
    for place in &mut made.places(&[form], columns, values.len() / columns) {
        place.floats.copy_from_slice(&values[place.token * columns..][..columns]);
        place.bring_into_form(level);
    }
    made
}

/// Products of a matrix with so many activations, one activation's after another's.
fn product(level: Level, matrix: &Matrix, with: &Activations) -> Vec<f32> {
    let mut made = matrix::Made::default();
    made.shape(matrix.groups(), with.tokens());
    for (group, out) in made.values.chunks_exact_mut(with.tokens()).enumerate() {
        matrix.multiply(level, group, with, out);
    }
    let mut out = vec![0.0; matrix.rows * with.tokens()];
    out.chunks_exact_mut(matrix.rows).enumerate().for_each(|(token, out)| made.token(token, out));
    out
}

/// Largest difference, relative to the size of the wanted values.
fn error(got: &[f32], wanted: &[f64]) -> f64 {
    assert_eq!(got.len(), wanted.len());
    let size = wanted.iter().map(|value| value * value).sum::<f64>() / wanted.len() as f64;
    let worst = got.iter().zip(wanted).map(|(got, wanted)| (f64::from(*got) - wanted).abs()).fold(0.0, f64::max);
    worst / size.sqrt().max(1e-30)
}

/// Activations after the rounding of their form, which itself must cost no more than it has to.
fn as_prepared(form: Form, columns: usize, activations: &[f32]) -> Vec<f64> {
    let prepared = prepare(Level::Portable, form, columns, activations);
    let rounded: Vec<f64> = match form {
        Form::F32 => activations.iter().map(|&value| value.into()).collect(),
        Form::F16 => activations.iter().map(|&value| f16::from_f32(value).to_f64()).collect(),
        Form::Q8 => (0..activations.len() / columns)
            .flat_map(|token| {
                let blocks = prepared.quantised(token, Sums::Exact);
                let values = blocks.quants.iter().zip(blocks.scales);
                values.flat_map(|(block, scale)| block.map(|quant| f64::from(quant) * f64::from(*scale)))
            })
            .collect(),
    };
    for (block, kept) in activations.chunks(32).zip(rounded.chunks(32)) {
        let largest = block.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        for (value, kept) in block.iter().zip(kept) {
            assert!((f64::from(*value) - kept).abs() <= f64::from(largest) * 0.57 / 127.0, "{value} became {kept}");
        }
    }
    rounded
}

#[test]
fn products_of_every_type_equal_those_of_the_dequantised_values_at_ragged_shapes() {
    for kind in TensorType::ALL {
        let sizes: &[usize] = match kind.block_values() {
            1 => &[1, 7, 31, 64, 65, 130, 200],
            32 => &[32, 64, 96, 160, 576],
            _ => &[256, 512, 768, 1024],
        };
        for (&columns, rows) in sizes.iter().zip([1, 2, 5, 15, 16, 17, 37]) {
            for tokens in [1, 2, 3, 4, 5, 7, 8, 9] {
                let bytes = synthetic::blocks(kind, &values(1 + columns as u64, rows * columns, 0.3));
                let matrix = Matrix::new(kind, rows, columns, &bytes);
                let activations = values(2 + tokens as u64, tokens * columns, 2.0);
                let rounded = as_prepared(matrix.form(), columns, &activations);
                let mut wanted = Vec::new();
                for activation in rounded.chunks(columns) {
                    for row in 0..rows {
                        let mut weights = vec![0.0; columns];
                        matrix.row(row, &mut weights);
                        let product = weights.iter().zip(activation).map(|(a, b)| f64::from(*a) * b);
                        wanted.push(product.sum::<f64>());
                    }
                }
                // Blocks carry the sum of their values, for offsets, in sixteen bits only.
                let allowed = if matches!(kind, TensorType::Q4_1 | TensorType::Q5_1) { 2e-3 } else { 1e-5 };
                let mut first: Option<Vec<u32>> = None;
                for level in Level::all() {
                    let out = product(level, &matrix, &prepare(level, matrix.form(), columns, &activations));
                    let error = error(&out, &wanted);
                    assert!(error < allowed, "{kind:?} {rows}x{columns}, {tokens} tokens, {level:?}: {error}");
                    let bits: Vec<u32> = out.iter().map(|value| value.to_bits()).collect();
                    assert_eq!(
                        *first.get_or_insert(bits.clone()),
                        bits,
                        "{kind:?} {rows}x{columns}: bits differ by level"
                    );
                }
            }
        }
    }
}

#[test]
fn a_row_is_what_was_stored_within_its_types_precision() {
    let stored = values(3, 4 * 512, 1.0);
    let precisions = [0.0, 1e-3, 8e-3, 0.2, 0.15, 0.1, 0.08, 2e-2, 0.15, 0.08, 0.05];
    for (kind, allowed) in TensorType::ALL.into_iter().zip(precisions) {
        let matrix = Matrix::new(kind, 4, 512, &synthetic::blocks(kind, &stored));
        for row in 0..4 {
            let mut out = vec![0.0; 512];
            matrix.row(row, &mut out);
            let wanted: Vec<f64> = stored[row * 512..][..512].iter().map(|&value| value.into()).collect();
            assert!(error(&out, &wanted) <= allowed, "{kind:?}: {}", error(&out, &wanted));
        }
    }
}

/// What another reader of the format makes of arbitrary bits, recorded by `tests/record/blocks.py`.
#[test]
fn blocks_are_read_as_others_read_them() {
    let recorded = include_str!("../../../../../tests/fixtures/engine/blocks.json");
    let recorded: serde_json::Value = serde_json::from_str(recorded).unwrap();
    let blocks = recorded["blocks"].as_array().unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for block in blocks {
        let kind = TensorType::ALL.into_iter().find(|kind| block["type"] == kind.name()).unwrap();
        let text = block["bytes"].as_str().unwrap();
        let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..text.len()).step_by(2).map(byte).collect();
        let wanted: Vec<f64> =
            block["values"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
        let mut got = vec![0.0; wanted.len()];
        Matrix::new(kind, 1, wanted.len(), &bytes).row(0, &mut got);
        // They round a product before they add the offset, we do not.
        assert!(error(&got, &wanted) < 1e-6, "{kind:?}: {}", error(&got, &wanted));
        seen.insert(kind);
    }
    assert_eq!(seen.len(), TensorType::ALL.len() - 2, "all but the two kinds of plain floats");
}

#[test]
fn extreme_quants_do_not_overflow() {
    let mut block = f16::ONE.to_le_bytes().to_vec();
    block.extend([0x80; 32]);
    let matrix = Matrix::new(TensorType::Q8_0, 1, 32, &block);
    for level in Level::all() {
        for sign in [1.0, -1.0] {
            let out = product(level, &matrix, &prepare(level, Form::Q8, 32, &[sign * 127.0; 32]));
            assert_eq!(out[0].to_bits(), (sign * -128.0 * 127.0 * 32.0_f32).to_bits(), "{level:?}");
        }
        // What is no number counts as nothing.
        let mut broken = [1.0; 32];
        broken[7] = f32::NAN;
        let prepared = prepare(level, Form::Q8, 32, &broken);
        let blocks = prepared.quantised(0, Sums::Exact);
        assert_eq!(
            (blocks.quants[0][7], blocks.quants[0][8], blocks.sums[0]),
            (0, 127, blocks.scales[0] * 31.0 * 127.0)
        );
        product(level, &matrix, &prepare(level, Form::Q8, 32, &[f32::NAN; 32]));
    }
}

#[test]
fn sixteen_bit_rounding_is_that_of_the_half_crate() {
    let mut samples = values(4, 2000, 70_000.0);
    samples.extend(values(5, 2000, 1e-6));
    samples.extend(values(6, 2000, 1.0));
    samples.extend([0.0, -0.0, 65504.0, 65519.9, 65520.0, 5.9e-8, 2.98e-8, 2.99e-8, 6.1e-5, f32::INFINITY]);
    for value in samples {
        let wanted = f16::from_f32(value);
        assert_eq!(math::round_f16(value).to_bits(), wanted.to_f32().to_bits(), "{value}");
        if wanted.is_finite() {
            assert_eq!(math::widen_f16(wanted.to_bits()).to_bits(), wanted.to_f32().to_bits(), "{value}");
        }
    }
    assert!(math::round_f16(f32::NAN).is_nan());
}

#[test]
fn norm_swiglu_and_softmax_equal_plain_ones() {
    for size in [1, 5, 64, 577] {
        let (x, weight) = (values(7, size, 3.0), values(8, size, 1.0));
        let mean = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>() / size as f64;
        let wanted: Vec<f64> =
            x.iter().zip(&weight).map(|(&x, &w)| f64::from(x) / (mean + 1e-5).sqrt() * f64::from(w)).collect();
        for level in Level::all() {
            let mut out = vec![0.0; size];
            math::rms_norm(level, &x, &weight, 1e-5, &mut out);
            assert!(error(&out, &wanted) < 1e-6);

            let mut gate = values(9, size, 12.0);
            let wanted: Vec<f64> = gate
                .iter()
                .zip(&x)
                .map(|(&gate, &up)| f64::from(gate) / (1.0 + (-f64::from(gate)).exp()) * f64::from(up))
                .collect();
            math::swiglu(level, &mut gate, &x);
            assert!(error(&gate, &wanted) < 1e-6);
        }
    }
    for count in [1_usize, 15, 16, 17, 100] {
        let scores = values(10, count, 30.0);
        let highest = scores.iter().copied().fold(f32::MIN, f32::max);
        let exponentials: Vec<f64> = scores.iter().map(|&score| (f64::from(score - highest) * 0.25).exp()).collect();
        let total: f64 = exponentials.iter().sum();
        let wanted: Vec<f64> = exponentials.iter().map(|value| value / total).collect();
        let mut bits = Vec::new();
        for level in Level::all() {
            let mut padded = scores.clone();
            padded.resize(count.next_multiple_of(16), f32::NEG_INFINITY);
            math::softmax(level, &mut padded, 0.25);
            assert!(error(&padded[..count], &wanted) < 2e-3, "within sixteen bits");
            assert!(padded[count..].iter().all(|&share| share == 0.0));
            bits.push(padded.iter().map(|share| share.to_bits()).collect::<Vec<_>>());
        }
        assert!(bits.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

#[test]
fn rotation_turns_each_pair_by_its_own_angle() {
    for position in [0_u32, 1, 7, 1000] {
        let mut turns = Vec::new();
        Rope::plain(32, 10_000.0).turns(position, &mut turns);
        let before = values(11, 48, 1.0);
        let mut head = before.clone();
        math::rotate(Level::detect(), &mut head, &turns);
        for pair in 0..16 {
            let angle = f64::from(position) * 10_000_f64.powf(-(pair as f64) / 16.0);
            let (a, b) = (f64::from(before[2 * pair]), f64::from(before[2 * pair + 1]));
            let wanted = [a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()];
            for (got, wanted) in head[2 * pair..].iter().zip(wanted) {
                assert!((f64::from(*got) - wanted).abs() < 2e-3 * (1.0 + angle / 100.0), "{position} {pair}");
            }
        }
        assert_eq!(head[32..], before[32..], "what is not rotated stays");
    }
}

fn tiny() -> Model {
    Model::read(&mut synthetic::tiny().as_slice(), Limits::default()).unwrap()
}

#[test]
fn attention_equals_a_plain_one() {
    let cpu = Cpu::new(tiny(), 1, 200);
    let Parameters { heads, kv_heads, head_size, .. } = cpu.parameters;
    let mut cache = Cache::new(&cpu.parameters, 10);
    // A sequence whose pages are not the first ones, nor side by side.
    let gap = cache.reserve(2).unwrap();
    let mut pages = cache.reserve(5).unwrap();
    cache.release(gap);
    pages.0.reverse();
    let count = 130;
    let (keys, stored) = (values(12, count * kv_heads * head_size, 1.0), values(13, count * kv_heads * head_size, 1.0));
    let rows: Vec<Row> = (0..count)
        .map(|position| Row {
            token: 0,
            position: position as u32,
            sequence: 0,
            prompt: false,
            wanted: Wanted::Nothing,
        })
        .collect();
    let batch = Batch { rows: &rows, sequences: &[&pages], penalties: &[], masks: &[] };
    cache.write(1, &batch, &keys, &stored);
    for position in [0, 1, 31, 32, 63, 64, 65, 129] {
        let queries = values(14 + position as u64, heads * head_size, 1.0);
        let row = [rows[position]];
        let batch = Batch { rows: &row, sequences: &[&pages], penalties: &[], masks: &[] };
        let mut first: Option<Vec<u32>> = None;
        for level in Level::all() {
            let attention = Attention { parameters: &cpu.parameters, level, cache: &cache, layer: 1, batch: &batch };
            let mut asked = queries.clone();
            let mut got = vec![0.0; queries.len()];
            for heads in &mut attention.split(&row, &mut asked, &mut got) {
                attention.attend(&mut Space::default(), heads);
            }
            let mut wanted = Vec::new();
            for head in 0..heads {
                let at = |list: &[f32], position: usize, value: usize| {
                    f64::from(list[(position * kv_heads + head / (heads / kv_heads)) * head_size + value])
                };
                let query = &queries[head * head_size..][..head_size];
                let scores: Vec<f64> = (0..=position)
                    .map(|position| {
                        let products = query.iter().enumerate().map(|(n, &q)| f64::from(q) * at(&keys, position, n));
                        (products.sum::<f64>() / (head_size as f64).sqrt()).exp()
                    })
                    .collect();
                let total: f64 = scores.iter().sum();
                for value in 0..head_size {
                    let sum =
                        scores.iter().enumerate().map(|(at_position, score)| score * at(&stored, at_position, value));
                    wanted.push(sum.sum::<f64>() / total);
                }
            }
            assert!(error(&got, &wanted) < 1e-2, "{position} {level:?}: {}", error(&got, &wanted));
            let bits: Vec<u32> = got.iter().map(|value| value.to_bits()).collect();
            assert_eq!(*first.get_or_insert_with(|| bits.clone()), bits, "{position} {level:?}");
        }
    }
}

#[test]
fn every_level_and_number_of_threads_computes_the_same_bits() {
    let rows: Vec<Row> = (0..40)
        .map(|position| {
            let wanted = if position % 13 == 0 { Wanted::Logits } else { Wanted::Nothing };
            Row { token: 3 + position * 7, position, sequence: 0, prompt: false, wanted }
        })
        .collect();
    let mut seen: Option<Vec<u32>> = None;
    for level in Level::all() {
        for threads in [1, 2, 5] {
            let mut cpu = Cpu::at_level(level, tiny(), threads, 64);
            let pages = cpu.reserve(40).unwrap();
            let batch = Batch { rows: &rows, sequences: &[&pages], penalties: &[], masks: &[] };
            let mut logits: Vec<u32> = Vec::new();
            for found in cpu.forward(&batch).unwrap() {
                let Found::Logits(row) = found else { panic!("logits were wanted") };
                logits.extend(row.iter().map(|logit| logit.to_bits()));
            }
            assert_eq!(logits.len(), 4 * 512);
            assert_eq!(*seen.get_or_insert(logits.clone()), logits, "{level:?}, {threads} threads");
        }
    }
}

#[test]
fn pages_run_out_are_wiped_and_come_back() {
    let mut cpu = Cpu::new(tiny(), 1, 3 * PAGE_TOKENS);
    let first = cpu.reserve(2 * PAGE_TOKENS).unwrap();
    assert!(cpu.reserve(PAGE_TOKENS + 1).is_none(), "one page is left");
    let second = cpu.reserve(PAGE_TOKENS).unwrap();
    assert!(cpu.reserve(1).is_none());
    let rows: Vec<Row> = (0..40)
        .map(|position| Row { token: 9, position, sequence: 0, prompt: true, wanted: Wanted::Nothing })
        .collect();
    cpu.forward(&Batch { rows: &rows, sequences: &[&first], penalties: &[], masks: &[] }).unwrap();
    let written = |page: &[u16]| page.iter().any(|&bits| bits != 0);
    for &index in &first.0 {
        assert!(written(cpu.cache.pages[index as usize].as_deref().unwrap()), "both pages hold something");
        // What releasing a page does, with its memory still in hand.
        let memory = cpu.cache.wiped(index).unwrap();
        assert!(!written(&memory), "overwritten before it is given back");
        cpu.cache.pages[index as usize] = Some(memory);
    }
    cpu.forward(&Batch { rows: &rows, sequences: &[&first], penalties: &[], masks: &[] }).unwrap();
    cpu.release(first);
    let third = cpu.reserve(2 * PAGE_TOKENS).unwrap();
    for layer in 0..cpu.cache.layers {
        for list in [List::Key, List::Value] {
            assert!(
                !written(cpu.cache.page(&third, 0, layer, list, 0))
                    && !written(cpu.cache.page(&third, 1, layer, list, 0))
            );
        }
    }
    cpu.release(second);
    cpu.release(third);
    assert!(cpu.cache.pages.iter().all(Option::is_none), "memory is given back");
}

#[test]
fn what_weights_and_pages_take_is_known_before_they_are_there() {
    for kind in TensorType::ALL {
        for (rows, columns) in [(1, 256), (16, 512), (37, 768)] {
            let blocks = synthetic::blocks(kind, &values(1, rows * columns, 0.3));
            let Some(packed) = super::packed::Packed::new(kind, rows, columns, &blocks) else {
                assert_eq!(super::packed::bytes(kind, rows as u64, columns as u64), None);
                continue;
            };
            let wanted = super::packed::bytes(kind, rows as u64, columns as u64).unwrap();
            assert_eq!(packed.taken() as u64, wanted, "{kind:?} {rows}x{columns}");
        }
    }
    let mut cpu = Cpu::new(tiny(), 1, 100);
    let pages = cpu.reserve(100).unwrap();
    let taken: usize = cpu.cache.pages.iter().flatten().map(|page| size_of_val(&**page)).sum();
    assert_eq!(cache_bytes(&cpu.parameters, 100), taken as u64);
    cpu.release(pages);
}

/// What llama.cpp computes, recorded by `tests/record/families.mjs`: logarithms of all probabilities behind each token.
fn recorded(name: &str) -> (Vec<u32>, Vec<Vec<f64>>) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/engine");
    let facts: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("families.json")).unwrap()).unwrap();
    let tokens: Vec<u32> = facts["tokens"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
    let bytes = std::fs::read(folder.join(format!("families/{name}.bin"))).unwrap();
    let values: Vec<f64> = bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value).into()).collect();
    let rows: Vec<Vec<f64>> = values.chunks(values.len() / tokens.len()).map(<[f64]>::to_vec).collect();
    (tokens, rows)
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - highest).exp()).sum();
    logits.iter().map(|&logit| f64::from(logit - highest) - sum.ln()).collect()
}

/// Logarithms of all probabilities behind each token.
fn computed(model: Model, tokens: &[u32]) -> Vec<Vec<f64>> {
    let mut cpu = Cpu::new(model, 2, 64);
    let pages = cpu.reserve(tokens.len()).unwrap();
    let row =
        |(position, &token): (u32, &u32)| Row { token, position, sequence: 0, prompt: false, wanted: Wanted::Logits };
    let rows: Vec<Row> = (0..).zip(tokens).map(row).collect();
    let found = cpu.forward(&Batch { rows: &rows, sequences: &[&pages], penalties: &[], masks: &[] }).unwrap();
    let logits = |found: &Found| match found {
        Found::Logits(logits) => log_softmax(logits),
        _ => panic!("logits were wanted"),
    };
    found.iter().map(logits).collect()
}

/// Mean divergence (Kullback-Leibler) of `got` from `wanted`, and how many of a hundred likeliest tokens are the same.
fn compared(wanted: &[Vec<f64>], got: &[Vec<f64>]) -> (f64, usize) {
    let likeliest = |row: &[f64]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]));
    let (mut divergence, mut agree) = (0.0, 0);
    for (wanted, got) in wanted.iter().zip(got) {
        agree += usize::from(likeliest(got) == likeliest(wanted));
        divergence += wanted.iter().zip(got).map(|(wanted, got)| wanted.exp() * (wanted - got)).sum::<f64>();
    }
    (divergence / wanted.len() as f64, agree * 100 / wanted.len())
}

/// With floats only the order of sums differs. With blocks both round activations, each in a way of its own, and random weights make
/// much of it; so it is asked who comes nearer to what comes out without rounding.
#[test]
fn families_compute_what_llama_cpp_computes() {
    for architecture in Architecture::ALL {
        for stored in [Stored::Floats, Stored::Blocks] {
            let file = synthetic::family(architecture, stored);
            let name = format!("{}-{}", architecture.name(), format!("{stored:?}").to_lowercase());
            if let Some(folder) = std::env::var_os("WRITE_FAMILIES") {
                std::fs::write(std::path::Path::new(&folder).join(format!("{name}.gguf")), &file).unwrap();
                continue;
            }
            let model = || Model::read(&mut file.as_slice(), Limits::default()).unwrap();
            let (tokens, theirs) = recorded(&name);
            let ours = computed(model(), &tokens);
            let exact = computed(model().widened(), &tokens);
            let (divergence, agree) = compared(&theirs, &ours);
            let (our_error, their_error) = (compared(&exact, &ours).0, compared(&exact, &theirs).0);
            println!(
                "{name}: mean KL {divergence:.1e}, {agree} % agree; from the exact: {our_error:.1e}, theirs {their_error:.1e}"
            );
            if stored == Stored::Floats {
                assert!(divergence < 1e-5 && agree == 100, "{name}: {divergence}, {agree} % agree");
            } else {
                assert!(our_error <= their_error, "{name}: {our_error} is more than llama.cpp's {their_error}");
            }
        }
    }
}

#[test]
fn masked_tokens_are_never_found_and_the_logits_of_others_keep_their_bits() {
    let model = || crate::Model::read(&mut synthetic::tiny().as_slice(), Limits::default()).unwrap();
    let vocabulary = model().parameters().vocabulary;
    let mut third = Mask::nothing(vocabulary);
    (0..vocabulary as u32).step_by(3).for_each(|token| third.admit(token));
    let mut few = Mask::nothing(vocabulary);
    for token in [7, 300, 511] {
        few.admit(token);
    }
    let nothing = Mask::nothing(vocabulary);
    let ask = |wanted: Wanted, masks: &[Masked<'_>]| {
        let mut cpu = Cpu::new(model(), 1, 64);
        let pages = cpu.reserve(8).unwrap();
        let rows: Vec<Row> =
            (0..5).map(|position| Row { token: 9 + position, position, sequence: 0, prompt: false, wanted }).collect();
        // What a penalty makes likely stays masked all the same.
        let penalties = [Penalty { row: 1, token: 1, amount: -1e6 }];
        cpu.forward(&Batch { rows: &rows, sequences: &[&pages], penalties: &penalties, masks }).unwrap()
    };
    let masks = [(1, &third), (2, &few), (4, &nothing)].map(|(row, mask)| Masked { row, mask });
    let logits = |found: &Found| match found {
        Found::Logits(logits) => logits.clone(),
        _ => panic!("logits were wanted"),
    };
    let free = ask(Wanted::Logits, &[]);
    let mut expected = Vec::new();
    for (row, (found, free)) in ask(Wanted::Logits, &masks).iter().zip(&free).enumerate() {
        let mask = masks.iter().find(|masked| masked.row == row).map(|masked| masked.mask);
        for ((token, logit), free) in (0..).zip(logits(found)).zip(logits(free)) {
            let wanted = if mask.is_none_or(|mask| mask.admits(token)) { free } else { f32::NEG_INFINITY };
            assert_eq!(logit.to_bits(), wanted.to_bits(), "row {row}, token {token}");
        }
        expected.push(logits(found));
    }
    for (found, logits) in ask(Wanted::Candidates, &masks).iter().zip(&expected) {
        let Found::Candidates(candidates) = found else { panic!("candidates were wanted") };
        assert!(*candidates == Candidates::of(logits.iter().copied()));
    }
    for (found, logits) in ask(Wanted::Likeliest, &masks).iter().zip(&expected) {
        let Found::Likeliest(token) = found else { panic!("the likeliest was wanted") };
        assert_eq!(*token, sampling::likeliest(logits.iter().copied()));
    }
    let Found::Candidates(of_nothing) = &ask(Wanted::Candidates, &masks)[4] else { panic!("candidates were wanted") };
    assert!(of_nothing.likeliest.is_empty());
}
