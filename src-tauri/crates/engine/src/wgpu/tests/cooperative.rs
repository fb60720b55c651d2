//! Prompts read with cooperative matrices, on the adapters that have them.

use super::kernels::{error, parameters, part, prepared, stored, values};
use super::rig::{POISON, Rig, kinds};
use super::*;
use crate::device::matrix::{Matrix, PAIRS, Source as Rows};
use crate::device::plan::{First, Over, Then};
use crate::gguf::TensorType;
use crate::model::Architecture;
use crate::prefix::Conversation;
use crate::sampling::Sampling;
use crate::scheduler::{Engine, Request, SequenceId};
use crate::synthetic::Stored;

/// The adapters that have them. `$CHRYSALIS_REQUIRE_COOPERATIVE` names a machine that must have one.
pub(super) fn adapters_with() -> Vec<(usize, u32)> {
    let all = gpu::enumerate();
    let with: Vec<(usize, u32)> =
        all.iter().enumerate().filter_map(|(at, (_, about))| Some((at, about.cooperative?))).collect();
    if with.is_empty() {
        assert!(
            std::env::var_os("CHRYSALIS_REQUIRE_COOPERATIVE").is_none(),
            "an adapter must have cooperative matrices"
        );
        println!("skipped: no adapter here has cooperative matrices of 16-bit floats with sums in 32 bits");
    }
    with
}

/// Shapes with and without, alike but for that.
pub(super) fn shapes(about: &Adapter, side: u32) -> [Shape; 2] {
    [None, Some(side)].map(|cooperative| Shape { cooperative, ..Shape::of(about) })
}

pub(super) fn opened(number: usize) -> Arc<Gpu> {
    let (adapter, about) = gpu::enumerate().swap_remove(number);
    Arc::new(Gpu::open(&adapter, about, Duration::from_mins(1)).unwrap())
}

fn prompt(count: usize) -> Vec<Row> {
    let row = |position| Row { token: 0, position, sequence: 0, prompt: true, wanted: Wanted::Nothing };
    (0..count as u32).map(row).collect()
}

/// Every type that they read, whole and in pieces, at ragged sizes: products near those of the values, with the same bits for a token
/// whichever its place in a tile is and whoever its neighbours are, and nothing written beside them.
#[test]
fn products_of_prompts_are_those_of_the_values_wherever_a_token_is() {
    for (number, side) in adapters_with() {
        let gpu = opened(number);
        let shape = shapes(&gpu.about, side)[1].clone();
        for kind in kinds(&gpu, &Shape::of(&gpu.about)) {
            if matches!(kind, TensorType::F32 | TensorType::BF16) {
                continue;
            }
            let block = kind.block_values().max(32);
            for (columns, count) in [(block, 1), (block * 3, 130)] {
                let (bytes, plain) = stored(kind, columns, count, 4);
                let mut rig = Rig::new(&gpu, shape.clone(), parameters(columns.max(count), 1, 1, 8, 128));
                let limit = if count > 40 { (columns.div_ceil(32) * 128 * 16) as u64 } else { u64::MAX };
                let rows = [Rows { rows: count, bytes: &bytes }];
                let matrix = Matrix::upload(&gpu, kind, columns, &rows, PAIRS, limit).unwrap();
                let mut alone: Option<Vec<f32>> = None;
                for tokens in [1_usize, 32, 39] {
                    // The first token's activations again at the last place.
                    let mut source = values(5, tokens * columns, 2.0);
                    let first = source[..columns].to_vec();
                    source[(tokens - 1) * columns..].copy_from_slice(&first);
                    let buffer = rig.floats(&source);
                    let pages = Pages(vec![0, 1]);
                    let rows = prompt(tokens);
                    rig.poison(&rig.scratch.hidden);
                    let hidden = rig.scratch.hidden.clone();
                    let (behind, stride) = (3, count + 5);
                    rig.run(&part(&rows, &[&pages]), |builder| {
                        builder.prepare(First::Nothing, &buffer, columns, &[matrix.packing], Over::Tokens);
                        builder.product(&matrix, &Then::Store(&hidden, behind, stride as u32), Over::Tokens);
                    });
                    let activations = prepared(&rig, kind, columns, tokens);
                    let words = rig.read(&hidden);
                    let mut got = Vec::new();
                    for (at, &word) in words.iter().enumerate() {
                        if at < tokens * stride && (3..3 + count).contains(&(at % stride)) {
                            got.push(f32::from_bits(word));
                        } else {
                            assert_eq!(word, POISON, "{kind:?}: written beside its place");
                        }
                    }
                    let product = |activation: &[f64], row: &[f32]| {
                        row.iter().zip(activation).map(|(a, b)| f64::from(*a) * b).sum::<f64>()
                    };
                    let wanted: Vec<f64> = activations
                        .chunks(columns)
                        .flat_map(|activation| {
                            plain.chunks(columns).map(|row| product(activation, row)).collect::<Vec<f64>>()
                        })
                        .collect();
                    let error = error(&got, &wanted);
                    // Weights and activations are rounded to 11 bits each.
                    assert!(error < 4e-3, "{kind:?} {count}x{columns}, {tokens} tokens: {error}");
                    let same = alone.get_or_insert_with(|| got[..count].to_vec());
                    assert_eq!(*same, got[..count], "{kind:?}: bits depend on the number of tokens");
                    assert_eq!(*same, got[(tokens - 1) * count..], "{kind:?}: bits depend on the place in a tile");
                    // The same, added to what is there, bit for bit, and nothing besides.
                    let width = columns.max(count);
                    rig.poison(&rig.scratch.states);
                    let before = values(6, tokens * width, 2.0);
                    rig.write_floats(&rig.scratch.states, &before);
                    rig.run(&part(&rows, &[&pages]), |builder| {
                        builder.prepare(First::Nothing, &buffer, columns, &[matrix.packing], Over::Tokens);
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
    }
}

/// A model on an adapter that reads prompts with them, or the same without.
fn model_on(number: usize, side: Option<u32>, model: Model, context: u32) -> Wgpu {
    let about = gpu::enumerate().swap_remove(number).1;
    let shape = Shape { cooperative: side, ..Shape::of(&about) };
    // The first steps compile.
    let deadline = Duration::from_mins(5);
    open(model, number, context, &Tuning { shape: Some(shape), deadline, ..Tuning::default() })
}

/// Logits behind every token of a text of which so many are the prompt, read in chunks of so many.
fn logits(backend: &mut dyn Backend, tokens: &[u32], prompt: usize, chunk: usize) -> Vec<Vec<f32>> {
    let pages = backend.reserve(tokens.len()).unwrap();
    let row = |(at, &token): (usize, &u32)| Row {
        token,
        position: at as u32,
        sequence: 0,
        prompt: at < prompt,
        wanted: Wanted::Logits,
    };
    let rows: Vec<Row> = tokens.iter().enumerate().map(row).collect();
    let mut all = Vec::new();
    for rows in rows.chunks(chunk) {
        let batch = Batch { rows, sequences: &[&pages], penalties: &[], masks: &[] };
        all.extend(backend.forward(&batch).unwrap().into_iter().map(|found| match found {
            Found::Logits(logits) => logits,
            _ => panic!("logits were wanted"),
        }));
    }
    backend.release(pages);
    all
}

fn bits(all: &[Vec<f32>]) -> Vec<Vec<u32>> {
    all.iter().map(|logits| logits.iter().map(|logit| logit.to_bits()).collect()).collect()
}

/// Activations take the same eight bits as everywhere before they become 16-bit floats, so distributions are as near to the
/// processor's as they are without: 3e-2 nats at most.
#[test]
fn logits_of_prompts_of_all_families_are_those_of_the_cpu() {
    let tokens: Vec<u32> = (0..40).map(|n| 3 + n * 7 % 500).collect();
    for (number, side) in adapters_with() {
        for architecture in Architecture::ALL {
            let file = synthetic::family(architecture, Stored::Blocks);
            let model = || Model::read(&mut file.as_slice(), Limits::default()).unwrap();
            let wanted = logits(&mut crate::cpu::Cpu::new(model(), 2, 64), &tokens, 40, 40);
            let apart = |side| {
                let got = logits(&mut model_on(number, side, model(), 64), &tokens, 40, 40);
                wanted.iter().zip(&got).map(|(wanted, got)| whole::difference(wanted, got).1).collect::<Vec<f64>>()
            };
            let (with, without) = (apart(Some(side)), apart(None));
            let worst = |all: &[f64]| all.iter().copied().fold(0.0, f64::max);
            println!("{architecture:?}: divergence {:.1e} at most, without {:.1e}", worst(&with), worst(&without));
            let near = |allowed: f64| with.iter().filter(|&&divergence| divergence < allowed).count();
            // An activation rounded to its other neighbour may be another expert, and then everything is different.
            let least = if architecture == Architecture::Qwen3Moe { with.len() * 2 / 3 } else { with.len() };
            assert!(near(3e-2) >= least, "{architecture:?}: {with:?}");
        }
    }
}

/// A prompt's tokens have the bits that they have alone, and so have an answer's, whatever else is in a step and however the prompt is
/// cut; which of the two a token is does matter.
#[test]
fn a_result_depends_neither_on_the_batch_nor_on_the_chunks_of_its_prompt_but_on_what_is_prompt() {
    let tokens: Vec<u32> = (0..60).map(|n| 3 + n * 11 % 500).collect();
    let prompt = 45;
    for (number, side) in adapters_with() {
        let mut card = model_on(number, Some(side), tiny(), 128);
        assert!(card.reads_otherwise());
        let alone = bits(&logits(&mut card, &tokens, prompt, 1));
        for chunk in [2, 7, 33, 60] {
            assert!(bits(&logits(&mut card, &tokens, prompt, chunk)) == alone, "in chunks of {chunk}");
        }
        let said = bits(&logits(&mut card, &tokens, 1, 1));
        assert!(said[20..45] != alone[20..45], "prompts were not read with cooperative matrices");
        let mut without = model_on(number, None, tiny(), 128);
        assert!(bits(&logits(&mut without, &tokens, 0, 7)) == bits(&logits(&mut card, &tokens, 0, 7)), "answers");
        // Among two others, one in its answer and one in its prompt, in chunks of their own.
        let pages: Vec<Pages> = (0..3).map(|_| card.reserve(128).unwrap()).collect();
        let sequences: Vec<&Pages> = pages.iter().collect();
        let mut together = Vec::new();
        let mut done = [0_usize; 3];
        for chunk in [[1, 3, 2], [39, 1, 1], [5, 1, 30], [1, 10, 1], [14, 5, 9]] {
            let mut rows = Vec::new();
            for sequence in [2, 0, 1] {
                #[allow(clippy::needless_range_loop, reason = "a position names more than an index")]
                for position in done[sequence]..done[sequence] + chunk[sequence] {
                    rows.push(Row {
                        token: if sequence == 0 { tokens[position] } else { 7 * position as u32 + 5 },
                        position: position as u32,
                        sequence,
                        prompt: [position < prompt, position < 3, true][sequence],
                        wanted: Wanted::Logits,
                    });
                }
                done[sequence] += chunk[sequence];
            }
            let found =
                card.forward(&Batch { rows: &rows, sequences: &sequences, penalties: &[], masks: &[] }).unwrap();
            assert_eq!(found.len(), rows.len());
            for (found, row) in found.into_iter().zip(&rows) {
                let Found::Logits(logits) = found else { panic!("logits were wanted") };
                if row.sequence == 0 {
                    together.push(logits);
                }
            }
        }
        assert!(bits(&together) == alone, "among others");
    }
}

/// An engine on such a card: the same answers with what is kept of a conversation as without, turn by turn, in chunks that fit no page.
#[test]
fn what_is_reused_changes_no_token_where_prompts_are_read_with_cooperative_matrices() {
    for (number, side) in adapters_with() {
        let card = model_on(number, Some(side), tiny(), 512);
        let options = Options { threads: 1, context: 512, max_sequences: 4 };
        let mut engine = Engine::with_backend(Box::new(card), tiny().tokenizer(), options).unwrap();
        let mut said: Vec<u32> = (0..70).map(|n| 3 + n * 13 % 480).collect();
        let mut known = 0;
        for turn in 0..3 {
            let ask = || Request {
                prompt: said.clone(),
                sampling: Sampling { seed: [turn; 32], ..Sampling::default() },
                stop: Vec::new(),
                max_tokens: 24,
                constraint: None,
            };
            let run = |engine: &mut Engine, id: SequenceId| {
                let (mut tokens, mut cached) = (Vec::new(), 0);
                while engine.running() > 0 {
                    for output in engine.step().into_iter().filter(|output| output.sequence == id) {
                        tokens.extend(output.token);
                        cached = output.usage.cached;
                    }
                }
                assert_eq!(engine.fault().map(ToString::to_string), None);
                (tokens, cached)
            };
            let id = engine.add(ask()).unwrap();
            let (alone, _) = run(&mut engine, id);
            engine.read_in_chunks_of(7);
            let id = engine.add_to(Conversation { quota: 1, number: 1 }, true, ask()).unwrap();
            engine.add(ask()).unwrap();
            let (again, cached) = run(&mut engine, id);
            assert!(again == alone, "turn {turn}");
            assert_eq!(cached, known, "turn {turn}");
            known = said.len() as u64 / 32 * 32;
            said.extend(&alone);
            said.extend((0..20).map(|n| 5 + n * 17 % 470));
        }
    }
}
