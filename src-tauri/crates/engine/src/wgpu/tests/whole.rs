//! The whole model.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::cpu::Cpu;
use crate::device::weights::FeedForward;
use crate::model::Architecture;
use crate::sampling::{Candidates, MAX_CANDIDATES, Sampling};
use crate::scheduler::{Device, Engine, Request};
use crate::synthetic::Stored;

/// How the kernels of an adapter may be cut: as they are for it, and as they are for the cards that owners have. Only the first for
/// SwiftShader, whose compiler takes minutes for the others.
pub(super) fn tunings(adapter: usize) -> Vec<Tuning> {
    let about = gpu::enumerate().swap_remove(adapter).1;
    let mut tunings = vec![Tuning::default()];
    if about.half_floats {
        let subgroups = if about.subgroup.is_some() { vec![false, true] } else { vec![false] };
        // Software is slow at what suits a card.
        let deadline = Duration::from_mins(5);
        // Two sizes of tiles, as compilers for processors take long for many registers.
        let cut = |subgroups| {
            let usual = Shape::of_card(subgroups);
            let tokens = usual.tokens.first().into_iter().chain(usual.tokens.last()).copied().collect();
            Tuning { shape: Some(Shape { rows: 2, tokens, ..usual }), deadline, ..Tuning::default() }
        };
        tunings.extend(subgroups.into_iter().map(cut));
    }
    tunings
}

fn logits(backend: &mut dyn Backend, tokens: &[u32]) -> Vec<Vec<f32>> {
    let pages = backend.reserve(tokens.len()).unwrap();
    let rows: Vec<Row> = (0..)
        .zip(tokens)
        .map(|(position, &token)| Row { token, position, sequence: 0, prompt: false, wanted: Wanted::Logits })
        .collect();
    let found = backend.forward(&Batch { rows: &rows, sequences: &[&pages], penalties: &[], masks: &[] }).unwrap();
    backend.release(pages);
    let only = |found| match found {
        Found::Logits(logits) => logits,
        _ => panic!("logits were wanted"),
    };
    found.into_iter().map(only).collect()
}

/// Largest difference of two lists of logits, and the divergence of the distributions they stand for.
pub(super) fn difference(a: &[f32], b: &[f32]) -> (f32, f64) {
    let shares = |logits: &[f32]| {
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - highest).exp()).collect();
        let total: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / total).collect::<Vec<f64>>()
    };
    let most = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let divergence = shares(a).iter().zip(shares(b)).map(|(p, q)| p * (p.max(1e-30) / q.max(1e-30)).ln()).sum();
    (most, divergence)
}

#[test]
fn the_tiny_models_logits_are_those_of_the_cpu() {
    let tokens: Vec<u32> = (0..70).map(|n| 3 + n * 7 % 500).collect();
    let wanted = logits(&mut Cpu::new(tiny(), 2, 128), &tokens);
    for (adapter, tuning) in adapters().into_iter().flat_map(|it| tunings(it).into_iter().map(move |cut| (it, cut))) {
        let mut card = open(tiny(), adapter, 128, &tuning);
        let got = logits(&mut card, &tokens);
        assert_eq!(got.len(), wanted.len());
        let mut worst = (0.0_f32, 0.0_f64);
        for (position, (got, wanted)) in got.iter().zip(&wanted).enumerate() {
            let (most, divergence) = difference(wanted, got);
            worst = (worst.0.max(most), worst.1.max(divergence));
            // One activation rounded to its other neighbour is soon a different number: this model exaggerates what it says.
            assert!(divergence < 3e-2, "position {position} on {}: {most}, {divergence}", card.gpu.about.describe());
        }
        println!("{}: logits differ by {} at most, divergence {:e}", card.gpu.about.name, worst.0, worst.1);
    }
}

/// Every family, with floats, where only the order of sums differs, and with blocks. Attention windows end within the text.
#[test]
fn the_logits_of_all_families_are_those_of_the_cpu() {
    let tokens: Vec<u32> = (0..40).map(|n| 3 + n * 7 % 500).collect();
    // Mixed types in the first cut; in the others too where everything is run for long.
    let long = std::env::var_os("CHRYSALIS_MUTANTS").is_some();
    let cuts = |it| tunings(it).into_iter().enumerate().map(move |(number, cut)| (it, number == 0 || long, cut));
    for (adapter, mixed, tuning) in adapters().into_iter().flat_map(cuts) {
        for (architecture, stored) in Architecture::ALL
            .into_iter()
            .flat_map(|it| [Stored::Floats, Stored::Blocks, Stored::Mixed].map(|stored| (it, stored)))
            .filter(|(_, stored)| mixed || *stored != Stored::Mixed)
        {
            let file = synthetic::family(architecture, stored);
            let model = || Model::read(&mut file.as_slice(), Limits::default()).unwrap();
            let wanted = logits(&mut Cpu::new(model(), 2, 64), &tokens);
            // Experts in several pieces.
            let tuning = Tuning { binding_bytes: Some(600 * 1024), ..tuning.clone() };
            let mut card = open(model(), adapter, 64, &tuning);
            let got = logits(&mut card, &tokens);
            let apart: Vec<f64> = got.iter().zip(&wanted).map(|(got, wanted)| difference(wanted, got).1).collect();
            let worst = apart.iter().copied().fold(0.0, f64::max);
            println!("{}: {architecture:?} {stored:?}: divergence {worst:.1e} at most", card.gpu.about.name);
            let near = |allowed: f64| apart.iter().filter(|&&divergence| divergence < allowed).count();
            let enough = match (stored, architecture) {
                (Stored::Floats, _) => near(1e-5) == apart.len(),
                // An activation rounded to its other neighbour may be another expert, and then everything is different.
                (_, Architecture::Qwen3Moe) => near(3e-2) * 3 >= apart.len() * 2,
                (Stored::Blocks | Stored::Mixed, _) => near(3e-2) == apart.len(),
            };
            assert!(enough, "{architecture:?} {stored:?} on {}: {apart:?}", card.gpu.about.describe());
        }
    }
}

/// Bytes of a file's weights that one token has use for: of the embedding a row, unless it is the output too; of experts those asked.
fn bytes_used(file: &[u8]) -> u64 {
    let model = Model::read(&mut &*file, Limits::default()).unwrap();
    let p = *model.parameters();
    let tensors = model.into_tensors();
    let used = |name: &String, bytes: u64, ranks: usize| match p.experts {
        _ if name == "token_embd.weight" && tensors.contains_key("output.weight") => bytes / p.vocabulary as u64,
        Some(experts) if ranks == 3 => bytes * experts.used as u64 / experts.count as u64,
        _ => bytes,
    };
    tensors.iter().map(|(name, tensor)| used(name, tensor.bytes.len() as u64, tensor.shape.len())).sum()
}

/// Kernels started, orders handed over and bytes bound are counted, not timed: each kernel costs a card some microseconds in which it
/// does nothing else, and what is bound is what is read.
#[test]
fn a_token_is_decoded_with_few_kernels_one_order_and_little_more_than_its_weights() {
    let Some(&adapter) = adapters().first() else { return };
    let families = [Stored::Blocks, Stored::Mixed]
        .into_iter()
        .flat_map(|stored| Architecture::ALL.map(|architecture| synthetic::family(architecture, stored)));
    // And a model that somebody uses, if it is here.
    for file in families.into_iter().chain(smollm_file()) {
        let model = Model::read(&mut file.as_slice(), Limits::default()).unwrap();
        let p = *model.parameters();
        let (name, layers) = (p.architecture, p.layers as u64);
        let mut card = open(model, adapter, 600, &Tuning::default());
        let pages = card.reserve(600).unwrap();
        // Within one slice of attention, and beyond.
        for (position, more) in [(0, 0), (255, 0), (256, 1), (599, 1)] {
            let rows = [Row { token: 9, position, sequence: 0, prompt: false, wanted: Wanted::Likeliest }];
            let before = card.gpu.made.submissions();
            card.forward(&Batch { rows: &rows, sequences: &[&pages], penalties: &[], masks: &[] }).unwrap();
            assert_eq!(card.gpu.made.submissions() - before, 1, "one order for each token");
            let work = card.work().unwrap();
            // Norm; queries, keys, values, of whatever types; attention; its output; norm, with scores of experts; gates and ups; down.
            let of_layer = 7 + more;
            // Around the layers: the row of the embedding, the last norm, the logits, and two looks at them.
            assert!(work.dispatches <= of_layer * layers + 5, "{name:?} at {position}: {work:?}");
            let windows = (0..p.layers).map(|layer| p.window_of(layer).map_or(u64::MAX, |window| window as u64));
            let attended: u64 = windows.map(|window| window.min(u64::from(position) + 1)).sum();
            let cache = attended * (p.kv_heads * p.head_size * 2 * 2) as u64;
            let used = bytes_used(&file);
            println!("{name:?}, {layers} layers, at {position}: {work:?}, {used} bytes of weights, {cache} of cache");
            assert!(work.bytes_bound as f64 <= used as f64 * 1.1 + cache as f64, "{name:?} at {position}");
        }
        card.release(pages);
    }
}

/// On the card: no buffer, binding or kernel is made. In memory of this process: of what a step allocates on its thread nothing is left
/// behind when it is over, after some steps in which the library below has filled its own pools.
#[test]
fn steps_that_only_repeat_make_nothing_on_the_card_and_leave_nothing_in_memory() {
    let Some(&adapter) = adapters().first() else { return };
    let mut card = open(tiny(), adapter, 600, &Tuning::default());
    card.warm_up().unwrap();
    let pages = card.reserve(600).unwrap();
    let mut decode = |positions: std::ops::Range<u32>| {
        for position in positions {
            let rows = [Row { token: 9, position, sequence: 0, prompt: false, wanted: Wanted::Candidates }];
            card.forward(&Batch { rows: &rows, sequences: &[&pages], penalties: &[], masks: &[] }).unwrap();
        }
        card.gpu.made.objects()
    };
    let before = decode(0..64);
    let mut after = before;
    // Before and behind the end of the first slice of attention.
    let kept = [64..128, 236..300].map(|positions| {
        let information = allocation_counter::measure(|| after = decode(positions));
        println!("{information:?}");
        (information.bytes_current, information.count_total)
    });
    assert_eq!(before, after, "buffers, bindings and kernels");
    assert!(kept.iter().all(|&(bytes, _)| bytes <= 4096), "bytes kept after 64 steps: {kept:?}");
    // Measured: 136 before and 138 behind the end of the slice, those of wgpu's orders included.
    assert!(kept.iter().all(|&(_, count)| count <= 64 * 150), "allocations of 64 steps: {kept:?}");
    card.release(pages);
}

fn bits(all: &[Vec<f32>]) -> Vec<Vec<u32>> {
    all.iter().map(|logits| logits.iter().map(|logit| logit.to_bits()).collect()).collect()
}

fn row(token: u32, position: usize, sequence: usize) -> Row {
    Row { token, position: position as u32, sequence, prompt: false, wanted: Wanted::Logits }
}

#[test]
fn a_result_depends_neither_on_the_batch_nor_on_the_chunks_nor_on_the_pages_nor_on_the_pieces_of_matrices() {
    let tokens: Vec<u32> = (0..40).map(|n| 3 + n * 11 % 500).collect();
    for (adapter, tuning) in adapters().into_iter().flat_map(|it| tunings(it).into_iter().map(move |cut| (it, cut))) {
        let mut card = open(tiny(), adapter, 128, &tuning);
        let alone = bits(&logits(&mut card, &tokens));
        // Among two others, which are elsewhere in their texts, in chunks of their own, on other pages.
        let gap = card.reserve(1).unwrap();
        let pages: Vec<Pages> = (0..3).map(|_| card.reserve(128).unwrap()).collect();
        card.release(gap);
        let sequences: Vec<&Pages> = pages.iter().collect();
        let mut together = Vec::new();
        let mut done = [0_usize; 3];
        for chunk in [[1, 3, 2], [9, 1, 1], [1, 1, 30], [20, 10, 1], [9, 5, 0]] {
            let mut rows = Vec::new();
            for sequence in [2, 1, 0] {
                #[allow(clippy::needless_range_loop, reason = "a position names more than an index")]
                for position in done[sequence]..done[sequence] + chunk[sequence] {
                    let token = if sequence == 0 { tokens[position] } else { 7 * position as u32 + 5 };
                    rows.push(row(token, position, sequence));
                }
                done[sequence] += chunk[sequence];
            }
            let found =
                card.forward(&Batch { rows: &rows, sequences: &sequences, penalties: &[], masks: &[] }).unwrap();
            for (found, row) in found.into_iter().zip(&rows) {
                let Found::Logits(logits) = found else { panic!("logits were wanted") };
                if row.sequence == 0 {
                    together.push(logits);
                }
            }
        }
        assert!(bits(&together) == alone, "on {}", card.gpu.about.name);
        for pages in pages {
            card.release(pages);
        }
        // Matrices in many pieces.
        let tuning = Tuning { binding_bytes: Some(33 * 1024), ..tuning };
        let mut cut = open(tiny(), adapter, 128, &tuning);
        let FeedForward::Gated { gate_up, down } = &cut.weights.layers[0].feed_forward else {
            panic!("it has no experts")
        };
        assert!(cut.weights.embedding.pieces.len() > 1 && down.pieces.len() > 2 && gate_up.pieces.len() > 2);
        assert!(bits(&logits(&mut cut, &tokens)) == alone, "in pieces on {}", card.gpu.about.name);
    }
}

#[test]
fn the_cache_grows_is_wiped_and_its_pages_are_used_again() {
    for adapter in adapters() {
        // Four sequences of 512 tokens, but memory for a thousand at first.
        let mut card = open(tiny(), adapter, 512, &Tuning::default());
        let tokens: Vec<u32> = (0..33).map(|n| 3 + n).collect();
        let before = bits(&logits(&mut card, &tokens));
        let first = card.reserve(512).unwrap();
        let rows: Vec<Row> = tokens.iter().enumerate().map(|(position, &token)| row(token, position, 0)).collect();
        card.forward(&Batch { rows: &rows[..20], sequences: &[&first], penalties: &[], masks: &[] }).unwrap();
        let size = card.cache.layers[0].keys.size();
        let others: Vec<Pages> = (0..3).map(|_| card.reserve(512).unwrap()).collect();
        assert!(card.cache.layers[0].keys.size() > size, "it did not grow");
        assert!(card.reserve(1).is_none(), "more than all");
        // What was there before it grew is still there.
        let found =
            card.forward(&Batch { rows: &rows[20..], sequences: &[&first], penalties: &[], masks: &[] }).unwrap();
        let Some(Found::Logits(last)) = found.last() else { panic!("logits were wanted") };
        assert!(bits(std::slice::from_ref(last))[0] == before[32]);
        for pages in others.into_iter().chain([first]) {
            card.release(pages);
        }
        let layer = &card.cache.layers[3];
        for buffer in [&layer.keys, &layer.values].into_iter().chain(card.scratch.all()) {
            assert!(read(&card.gpu, buffer).iter().all(|&word| word == 0), "something was left");
        }
        assert!(bits(&logits(&mut card, &tokens)) == before);
    }
}

#[test]
fn candidates_and_penalties_are_those_of_the_cpu() {
    let ask = |backend: &mut dyn Backend| {
        let pages = backend.reserve(64).unwrap();
        let mut rows: Vec<Row> = (0..9).map(|position| row(3 + position as u32 * 31, position, 0)).collect();
        for row in &mut rows {
            row.wanted = Wanted::Nothing;
        }
        rows[3].wanted = Wanted::Candidates;
        rows[8].wanted = Wanted::Candidates;
        let penalties = [(3, 20, 3.0), (8, 400, -50.0)].map(|(row, token, amount)| Penalty { row, token, amount });
        let found =
            backend.forward(&Batch { rows: &rows, sequences: &[&pages], penalties: &penalties, masks: &[] }).unwrap();
        backend.release(pages);
        let only = |found| match found {
            Found::Candidates(candidates) => candidates,
            _ => panic!("candidates were wanted"),
        };
        found.into_iter().map(only).collect::<Vec<Candidates>>()
    };
    let wanted = ask(&mut Cpu::new(tiny(), 1, 128));
    for adapter in adapters() {
        let mut card = open(tiny(), adapter, 128, &Tuning::default());
        let got = ask(&mut card);
        assert_eq!(got.len(), 2);
        for (got, wanted) in got.iter().zip(&wanted) {
            assert_eq!(got.likeliest.len(), MAX_CANDIDATES);
            assert!((got.log_sum_exp - wanted.log_sum_exp).abs() < 0.3);
            let ids = |candidates: &Candidates| candidates.likeliest.iter().map(|one| one.0).collect::<BTreeSet<u32>>();
            assert!(ids(got).intersection(&ids(wanted)).count() > 55);
            assert!(got.likeliest.is_sorted_by(|a, b| a.1 >= b.1));
        }
        assert_eq!(got[1].likeliest[0].0, 400, "the bonus was not given");
        let work = card.work().unwrap();
        assert!(work.dispatches <= 4 * 9 + 7 && work.bytes_bound > 0, "{work:?}");
    }
}

#[test]
fn masked_tokens_are_never_found_and_other_logits_keep_their_bits() {
    let mut third = Mask::nothing(512);
    (0..512).step_by(3).for_each(|token| third.admit(token));
    let nothing = Mask::nothing(512);
    for adapter in adapters() {
        let mut card = open(tiny(), adapter, 128, &Tuning::default());
        let mut ask = |wanted: Wanted, masks: &[Masked<'_>]| {
            let pages = card.reserve(16).unwrap();
            let mut rows: Vec<Row> = (0..9).map(|position| row(3 + position as u32 * 31, position, 0)).collect();
            for (at, row) in rows.iter_mut().enumerate() {
                // More rows that want something than one step takes.
                row.wanted = if at == 4 { Wanted::Nothing } else { wanted };
            }
            let batch = Batch { rows: &rows, sequences: &[&pages], penalties: &[], masks };
            let found = card.forward(&batch).unwrap();
            card.release(pages);
            found
        };
        let masks = [(1, &third), (5, &nothing), (8, &third)].map(|(row, mask)| Masked { row, mask });
        let (free, masked) = (ask(Wanted::Logits, &[]), ask(Wanted::Logits, &masks));
        let (candidates, likeliest) = (ask(Wanted::Candidates, &masks), ask(Wanted::Likeliest, &masks));
        // The row that wants nothing has no result.
        for (at, row) in [0, 1, 2, 3, 5, 6, 7, 8].into_iter().enumerate() {
            let (Found::Logits(free), Found::Logits(masked)) = (&free[at], &masked[at]) else { panic!("not logits") };
            let mask = masks.iter().find(|masked| masked.row == row).map(|masked| masked.mask);
            for ((token, logit), free) in (0..).zip(masked).zip(free) {
                let wanted = if mask.is_none_or(|mask| mask.admits(token)) { *free } else { f32::NEG_INFINITY };
                assert_eq!(logit.to_bits(), wanted.to_bits(), "row {row}, token {token}");
            }
            let logits = || masked.iter().copied();
            let Found::Candidates(found) = &candidates[at] else { panic!("not candidates") };
            let wanted = Candidates::of(logits());
            assert!(found.likeliest == wanted.likeliest, "row {row}");
            assert!(wanted.likeliest.is_empty() || (found.log_sum_exp - wanted.log_sum_exp).abs() < 1e-4);
            let Found::Likeliest(found) = &likeliest[at] else { panic!("not the likeliest") };
            assert_eq!(*found, crate::sampling::likeliest(logits()), "row {row}");
        }
    }
}

#[test]
fn an_engine_on_a_card_answers_and_says_where() {
    for adapter in adapters() {
        let options = Options { threads: 1, context: 256, max_sequences: 2 };
        let device = Device::Wgpu { adapter: Some(adapter.to_string()) };
        let mut engine = Engine::on(&device, tiny(), options).unwrap();
        assert_eq!(engine.backend(), "wgpu");
        let named = engine.adapter().unwrap();
        assert!(list()[adapter].describe() == named && !named.is_empty());
        let sampling = Sampling { temperature: 0.8, presence_penalty: 0.5, seed: [3; 32], ..Sampling::default() };
        let ask =
            |max_tokens| Request { prompt: vec![5; 50], sampling, stop: Vec::new(), max_tokens, constraint: None };
        let mut answers = Vec::new();
        for _ in 0..2 {
            engine.add(ask(12)).unwrap();
            let mut answer = Vec::new();
            while engine.running() > 0 {
                answer.extend(engine.step().into_iter().filter_map(|output| output.token));
            }
            answers.push(answer);
        }
        assert!(answers[0].len() == 12 && answers[0] == answers[1], "the same seed did not replay the answer");
    }
    let none = Device::Wgpu { adapter: Some("no such card".to_owned()) };
    let options = Options { threads: 1, context: 16, max_sequences: 1 };
    let error = Engine::on(&none, tiny(), options).map(|_| ()).unwrap_err();
    assert!(matches!(error, StartError::NoAdapter(_)) && error.to_string().contains("--backend cpu"), "{error}");
}

/// The model that the recordings were made with, from `$MODELS` or the user's cache.
fn smollm_file() -> Option<Vec<u8>> {
    let cache = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/chrysalis/models"));
    let folders = [std::env::var_os("MODELS").map(PathBuf::from), cache];
    let name = "SmolLM2-135M-Instruct.Q4_1.gguf";
    let file = folders.into_iter().flatten().find_map(|folder| std::fs::read(folder.join(name)).ok());
    if file.is_none() {
        println!("skipped: no model");
    }
    file
}

fn smollm() -> Option<Model> {
    Some(Model::read(&mut smollm_file()?.as_slice(), Limits::default()).unwrap())
}

#[test]
fn the_recorded_answers_are_what_a_card_would_say_too() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/engine/greedy_smollm2.json");
    let recorded: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let ids = |list: &serde_json::Value| -> Vec<u32> {
        list.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
    };
    for adapter in adapters() {
        if !list()[adapter].half_floats {
            println!("skipped: this adapter would take minutes");
            continue;
        }
        let (Some(model), Some(again)) = (smollm(), smollm()) else { return };
        let mut card = open(model, adapter, 256, &Tuning::default());
        let mut cpu = Cpu::new(again, 2, 256);
        let (mut same, mut all, mut worst, mut divergences) = (0, 0, 0.0_f32, Vec::new());
        for prompt in recorded["prompts"].as_array().unwrap().iter().step_by(7) {
            // What was said is read as if it were the prompt: every place shows what would come next.
            let (prompt, answer) = (ids(&prompt["prompt_tokens"]), ids(&prompt["tokens"]));
            let tokens: Vec<u32> = prompt.iter().chain(&answer).copied().collect();
            if tokens.len() > 160 {
                continue;
            }
            let mut rows: Vec<Row> = tokens.iter().enumerate().map(|(at, &token)| row(token, at, 0)).collect();
            for row in &mut rows[..prompt.len() - 1] {
                row.wanted = Wanted::Nothing;
            }
            let ask = |backend: &mut dyn Backend| {
                let pages = backend.reserve(tokens.len()).unwrap();
                let found =
                    backend.forward(&Batch { rows: &rows, sequences: &[&pages], penalties: &[], masks: &[] }).unwrap();
                backend.release(pages);
                found
            };
            for ((card, cpu), next) in ask(&mut card).iter().zip(&ask(&mut cpu)).zip(&answer) {
                let (Found::Logits(card), Found::Logits(cpu)) = (card, cpu) else { panic!("logits were wanted") };
                assert_eq!(crate::sampling::likeliest(cpu.iter().copied()), *next, "the CPU is the oracle");
                all += 1;
                same += u32::from(crate::sampling::likeliest(card.iter().copied()) == *next);
                let (most, one) = difference(cpu, card);
                worst = worst.max(most);
                divergences.push(one);
            }
        }
        let (mean, most) = (
            divergences.iter().sum::<f64>() / divergences.len() as f64,
            divergences.iter().copied().fold(0.0, f64::max),
        );
        println!("{same} of {all} tokens, logits differ by {worst} at most, divergence {mean:e}, at most {most:e}");
        assert!(all > 100 && same * 100 >= all * 97, "{same} of {all}");
        assert!(mean < 0.01 && most < 0.2, "divergence {mean}, at most {most}");
    }
}
