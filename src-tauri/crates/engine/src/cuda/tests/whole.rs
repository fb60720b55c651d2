//! The whole model, and every way in which a card can fail.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::emulator::Trouble;
use super::rig::read;
use super::*;
use crate::cpu::Cpu;
use crate::gguf::Limits;
use crate::model::Architecture;
use crate::sampling::{Candidates, Sampling};
use crate::scheduler::{Device, Engine, Refused, Request};
use crate::synthetic::{self, Stored};

fn tiny() -> Model {
    Model::read(&mut synthetic::tiny().as_slice(), Limits::default()).unwrap()
}

fn open(driver: &Arc<Emulated>, model: Model, context: u32, limit: u64) -> Cuda {
    let options = Options { threads: 1, context, max_sequences: 4 };
    Cuda::new(Card::new(Arc::<Emulated>::clone(driver)), model, &options, limit).unwrap()
}

fn trouble(driver: &Emulated, trouble: Trouble) {
    *driver.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
}

fn row(token: u32, position: usize, sequence: usize) -> Row {
    Row { token, position: position as u32, sequence, prompt: false, wanted: Wanted::Logits }
}

fn only(found: Found) -> Vec<f32> {
    match found {
        Found::Logits(logits) => logits,
        _ => panic!("logits were wanted"),
    }
}

fn logits(backend: &mut dyn Backend, tokens: &[u32]) -> Vec<Vec<f32>> {
    let pages = backend.reserve(tokens.len()).unwrap();
    let rows: Vec<Row> = tokens.iter().enumerate().map(|(position, &token)| row(token, position, 0)).collect();
    let found = backend.forward(&Batch { rows: &rows, sequences: &[&pages], penalties: &[], masks: &[] }).unwrap();
    backend.release(pages);
    found.into_iter().map(only).collect()
}

fn bits(all: &[Vec<f32>]) -> Vec<Vec<u32>> {
    all.iter().map(|logits| logits.iter().map(|logit| logit.to_bits()).collect()).collect()
}

#[test]
fn logits_of_all_families_by_cudas_kernels_are_those_of_the_cpu() {
    let Some(driver) = card() else { return };
    let tokens: Vec<u32> = (0..70).map(|n| 3 + n * 7 % 500).collect();
    let families = Architecture::ALL.into_iter().flat_map(|it| [(it, Stored::Floats), (it, Stored::Blocks)]);
    let files = families.map(|(it, stored)| (format!("{it:?} {stored:?}"), synthetic::family(it, stored)));
    for (named, file) in files.chain([("tiny".to_owned(), synthetic::tiny())]) {
        let model = || Model::read(&mut file.as_slice(), Limits::default()).unwrap();
        let wanted = logits(&mut Cpu::new(model(), 2, 128), &tokens);
        // Experts in several pieces.
        let got = logits(&mut open(&driver, model(), 128, 600 * 1024), &tokens);
        assert_eq!(got.len(), wanted.len());
        let apart: Vec<f64> = got.iter().zip(&wanted).map(|(got, wanted)| check::divergence(wanted, got)).collect();
        let worst = apart.iter().copied().fold(0.0, f64::max);
        println!("{named}: divergence {worst:.1e} at most");
        let near = |allowed: f64| apart.iter().filter(|&&divergence| divergence < allowed).count();
        let enough = match named.as_str() {
            // An activation rounded to its other neighbour may be another expert, and then everything is different.
            "Qwen3Moe Blocks" => near(3e-2) * 3 >= apart.len() * 2,
            named if named.ends_with("Floats") => near(1e-5) == apart.len(),
            _ => near(3e-2) == apart.len(),
        };
        assert!(enough, "{named}: {apart:?}");
    }
}

#[test]
fn a_result_by_cudas_kernels_depends_neither_on_the_batch_nor_on_the_chunks_nor_on_the_pages_nor_on_the_pieces() {
    let Some(driver) = card() else { return };
    let tokens: Vec<u32> = (0..60).map(|n| 3 + n * 11 % 500).collect();
    for file in [synthetic::tiny(), synthetic::family(Architecture::Qwen3, Stored::Blocks)] {
        let model = || Model::read(&mut file.as_slice(), Limits::default()).unwrap();
        let mut card = open(&driver, model(), 128, u64::MAX);
        // At once: in tiles of many tokens.
        let alone = bits(&logits(&mut card, &tokens));
        // Among two others, which are elsewhere in their texts, in chunks of their own, on other pages.
        let gap = card.reserve(1).unwrap();
        let pages: Vec<Pages> = (0..3).map(|_| card.reserve(128).unwrap()).collect();
        card.release(gap);
        let sequences: Vec<&Pages> = pages.iter().collect();
        let mut together = Vec::new();
        let mut done = [0_usize; 3];
        for chunk in [[1, 0, 0], [3, 3, 2], [9, 1, 1], [1, 1, 1], [1, 1, 30], [20, 10, 1], [25, 5, 0]] {
            let mut rows = Vec::new();
            for sequence in [2, 1, 0] {
                #[allow(clippy::needless_range_loop, reason = "a position names more than an index")]
                for position in done[sequence]..done[sequence] + chunk[sequence] {
                    let token = if sequence == 0 { tokens[position] } else { 7 * position as u32 + 5 };
                    rows.push(row(token, position, sequence));
                }
                done[sequence] += chunk[sequence];
            }
            let batch = Batch { rows: &rows, sequences: &sequences, penalties: &[], masks: &[] };
            for (found, row) in card.forward(&batch).unwrap().into_iter().zip(&rows) {
                if row.sequence == 0 {
                    together.push(only(found));
                }
            }
        }
        assert!(bits(&together) == alone);
        for pages in pages {
            card.release(pages);
        }
        let mut cut = open(&driver, model(), 128, 8 * 1024);
        assert!(cut.weights.embedding.pieces.len() > 4);
        assert!(bits(&logits(&mut cut, &tokens)) == alone, "in pieces");
    }
}

#[test]
fn the_cache_of_a_cuda_card_grows_is_wiped_and_its_pages_are_used_again() {
    let Some(driver) = card() else { return };
    // Four sequences of 512 tokens, but memory for a thousand at first.
    let mut card = open(&driver, tiny(), 512, u64::MAX);
    let tokens: Vec<u32> = (0..33).map(|n| 3 + n).collect();
    let before = bits(&logits(&mut card, &tokens));
    let first = card.reserve(512).unwrap();
    let rows: Vec<Row> = tokens.iter().enumerate().map(|(position, &token)| row(token, position, 0)).collect();
    card.forward(&Batch { rows: &rows[..20], sequences: &[&first], penalties: &[], masks: &[] }).unwrap();
    let size = card.cache.layers[0].keys.bytes();
    // No memory now, but the card goes on.
    trouble(&driver, Trouble { memory: Some(driver.allocated() + 100), ..Trouble::default() });
    let second = card.reserve(512).unwrap();
    assert!(card.reserve(512).is_none(), "there was no memory");
    trouble(&driver, Trouble::default());
    let mut others: Vec<Pages> = (0..2).map(|_| card.reserve(512).unwrap()).collect();
    others.push(second);
    assert!(card.cache.layers[0].keys.bytes() > size, "it did not grow");
    assert!(card.reserve(1).is_none(), "more than all");
    // What was there before it grew is still there.
    let found = card.forward(&Batch { rows: &rows[20..], sequences: &[&first], penalties: &[], masks: &[] }).unwrap();
    let last = only(found.into_iter().next_back().unwrap());
    assert!(bits(std::slice::from_ref(&last))[0] == before[32]);
    for pages in others.into_iter().chain([first]) {
        card.release(pages);
    }
    let layer = &card.cache.layers[3];
    for buffer in [&layer.keys, &layer.values].into_iter().chain(card.scratch.all()) {
        assert!(read(&card.card, buffer).iter().all(|&word| word == 0), "something was left");
    }
    assert!(bits(&logits(&mut card, &tokens)) == before);
    // That everything is given back, and empty, the emulated card sees to.
    drop(card);
    assert_eq!(driver.allocated(), 0);
}

#[test]
fn a_cuda_card_without_room_is_refused_with_both_numbers_and_its_cache_grows_no_further_than_there_is_room() {
    let Some(driver) = card() else { return };
    let options = Options { threads: 1, context: 512, max_sequences: 4 };
    let said = |total| trouble(&driver, Trouble { said: Some(total), ..Trouble::default() });
    let opened = || Opened { card: Card::new(Arc::<Emulated>::clone(&driver)), trial: None };
    let model = tiny();
    said(100_000);
    let StartError::Device(fault) = opened().admit(&model, &options).unwrap_err() else { panic!("another error") };
    let DeviceFault::OutOfMemory { wanted: Some(wanted), limit, .. } = fault else { panic!("{fault}") };
    // A quarter of memory that is not the card's own is left to others.
    assert_eq!(limit, Some(75_000));
    let text = fault.to_string();
    println!("{text}");
    assert!(crate::scheduler::worth_telling(&fault.clone().into()).is_some_and(|told| told == text));
    // Whoever did not ask beforehand gets the same answer, and nothing was brought there.
    let error = Cuda::new(opened().card, tiny(), &options, u64::MAX).map(|_| ()).unwrap_err();
    assert!(matches!(&error, StartError::Device(again) if *again == fault), "{error}");
    assert!(wanted > 100_000);
    assert_eq!(driver.allocated(), 0);
    // Exactly enough, and one byte less.
    let total = |room: u64| (room * 4).div_ceil(3);
    said(total(wanted));
    opened().admit(&model, &options).unwrap();
    said(total(wanted) - 4);
    opened().admit(&model, &options).unwrap_err();
    // Room for the model, a cache of 64 pages while that of 32 is still there, and not for all that it wishes for.
    trouble(&driver, Trouble::default());
    let mut card = open(&driver, tiny(), 512, u64::MAX);
    let of_all_layers = 2 * card.parameters.layers as u64 * page_bytes(&card.parameters);
    let first = card.reserve(512).unwrap();
    let second = card.reserve(512).unwrap();
    assert_eq!(card.cache.table.len(), 32, "it grew without need");
    let there = driver.allocated();
    said(total(there + 47 * of_all_layers));
    assert_eq!(card.card.room().map(|room| room / of_all_layers), Some(47));
    assert!(card.reserve(512).is_none(), "it took memory of others");
    assert_eq!((card.cache.table.len(), driver.allocated()), (32, there));
    said(total(there + 48 * of_all_layers));
    let third = card.reserve(512).unwrap();
    assert_eq!(card.cache.table.len(), 48, "no more than there is room for");
    for pages in [first, second, third] {
        card.release(pages);
    }
}

/// Counted as on other cards: weights whole, of everything else what the step has use for.
#[test]
fn bytes_of_a_step_by_cudas_kernels_are_weights_and_what_is_attended_to() {
    let Some(driver) = card() else { return };
    let stored = weights::bytes(&tiny());
    let mut card = open(&driver, tiny(), 512, u64::MAX);
    let pages = card.reserve(512).unwrap();
    let p = card.parameters;
    let entry = (p.layers * p.kv_heads * p.head_size * 2 * 2) as u64;
    let bytes = |card: &mut Cuda, position| {
        let rows = [Row { token: 9, position, sequence: 0, prompt: false, wanted: Wanted::Likeliest }];
        card.forward(&Batch { rows: &rows, sequences: &[&pages], penalties: &[], masks: &[] }).unwrap();
        card.work().unwrap().bytes_bound
    };
    let first = bytes(&mut card, 0);
    println!("{first} bytes, {stored} of weights");
    assert!(first as f64 <= stored as f64 * 1.1, "{first} of {stored}");
    assert!(first as f64 >= stored as f64 * 0.8, "{first} of {stored}");
    let last = bytes(&mut card, 511);
    assert_eq!(last - first, 511 * entry);
    // A larger cache is not more to be read.
    let others: Vec<Pages> = (0..3).map(|_| card.reserve(512).unwrap()).collect();
    assert!(card.cache.table.len() > 32);
    assert_eq!(bytes(&mut card, 511), last);
    for pages in others.into_iter().chain([pages]) {
        card.release(pages);
    }
}

#[test]
fn bytes_of_another_buffer_are_neither_read_nor_written_nor_overwritten() {
    let Some(driver) = card() else { return };
    let card = Card::new(Arc::<Emulated>::clone(&driver));
    let [short, long] = [16, 64].map(|bytes| card.allocate("a test", bytes).unwrap());
    card.write(&long, 0, &[7; 64]).unwrap();
    card.copy(&long, &short, 16).unwrap();
    card.clear(&long, 60, 4).unwrap();
    for refused in [
        card.copy(&long, &short, 17),
        card.copy(&short, &long, 17),
        card.clear(&long, 61, 4),
        card.clear(&long, u64::MAX, 2),
        card.write(&short, 13, &[0; 4]),
        card.read(&short, 13, &mut [0; 4], DEADLINE),
    ] {
        assert!(matches!(refused, Err(DeviceFault::Refused { .. })), "{refused:?}");
    }
    assert_eq!(read(&card, &short), [0x0707_0707; 4]);
    assert_eq!(read(&card, &long)[14..], [0x0707_0707, 0]);
}

#[test]
fn candidates_penalties_and_masks_by_cudas_kernels_are_those_of_the_cpu() {
    let Some(driver) = card() else { return };
    let mut third = Mask::nothing(512);
    (0..512).step_by(3).for_each(|token| third.admit(token));
    let ask = |backend: &mut dyn Backend| {
        let pages = backend.reserve(64).unwrap();
        let mut rows: Vec<Row> = (0..9).map(|position| row(3 + position as u32 * 31, position, 0)).collect();
        for (at, row) in rows.iter_mut().enumerate() {
            row.wanted = if [3, 5, 8].contains(&at) { Wanted::Candidates } else { Wanted::Nothing };
        }
        let penalties = [(3, 20, 3.0), (8, 399, -50.0)].map(|(row, token, amount)| Penalty { row, token, amount });
        let masks = [5, 8].map(|row| Masked { row, mask: &third });
        let batch = Batch { rows: &rows, sequences: &[&pages], penalties: &penalties, masks: &masks };
        let found = backend.forward(&batch).unwrap();
        backend.release(pages);
        let only = |found| match found {
            Found::Candidates(candidates) => candidates,
            _ => panic!("candidates were wanted"),
        };
        found.into_iter().map(only).collect::<Vec<Candidates>>()
    };
    let wanted = ask(&mut Cpu::new(tiny(), 1, 128));
    let mut card = open(&driver, tiny(), 128, u64::MAX);
    let got = ask(&mut card);
    assert_eq!(got.len(), 3);
    for (got, wanted) in got.iter().zip(&wanted) {
        assert!((got.log_sum_exp - wanted.log_sum_exp).abs() < 0.3);
        let known = |id: u32| wanted.likeliest.iter().any(|one| one.0 == id);
        assert!(got.likeliest.iter().filter(|one| known(one.0)).count() > 55);
        assert!(got.likeliest.is_sorted_by(|a, b| a.1 >= b.1));
    }
    assert!(got[1].likeliest.iter().all(|one| third.admits(one.0)));
    assert_eq!(got[2].likeliest[0].0, 399, "the bonus was not given");
    let work = card.work().unwrap();
    assert!(work.dispatches <= 4 * 9 + 7, "{work:?}");
}

#[test]
fn a_healthy_card_passes_its_test_and_a_kernel_that_computes_nothing_fails_it() {
    let Some(driver) = card() else { return };
    let on_card = || Card::new(Arc::<Emulated>::clone(&driver));
    // What plays the card is slow.
    let tested = || check::self_test(&on_card(), Duration::from_mins(10));
    tested().unwrap();
    let mut started = std::mem::take(&mut *driver.started.lock().unwrap());
    started.sort_unstable();
    started.dedup();
    let mut all = launch::KERNELS;
    all.sort_unstable();
    assert_eq!(started, all, "a kernel was not tested");
    for idle in all {
        trouble(&driver, Trouble { idle: Some(idle), ..Trouble::default() });
        let fault = tested().unwrap_err();
        let by_name = matches!(&fault, SelfTestFault::Kernel { .. } | SelfTestFault::Answer { .. });
        assert!(by_name, "{idle}: {fault}");
    }
    trouble(&driver, Trouble::default());
    let slow = check::self_test(&on_card(), Duration::ZERO);
    assert!(matches!(slow, Err(SelfTestFault::TooSlow { .. })), "{slow:?}");
    trouble(&driver, Trouble { fault: Some(DeviceFault::Hung { seconds: 9 }), ..Trouble::default() });
    assert_eq!(tested(), Err(SelfTestFault::Device(DeviceFault::Hung { seconds: 9 })));
}

#[test]
fn a_failure_of_a_cuda_card_is_named_and_stays() {
    let Some(driver) = card() else { return };
    let forward = |card: &mut Cuda, pages: &Pages| {
        let rows = [Row { token: 9, position: 0, sequence: 0, prompt: false, wanted: Wanted::Likeliest }];
        card.forward(&Batch { rows: &rows, sequences: &[pages], penalties: &[], masks: &[] }).map(|_| ())
    };
    for fault in
        [DeviceFault::Lost { reason: "unplugged".to_owned() }, DeviceFault::Refused { reason: "no".to_owned() }]
    {
        let mut card = open(&driver, tiny(), 64, u64::MAX);
        let pages = card.reserve(64).unwrap();
        forward(&mut card, &pages).unwrap();
        trouble(&driver, Trouble { fault: Some(fault.clone()), ..Trouble::default() });
        assert_eq!(forward(&mut card, &pages), Err(fault.clone()));
        trouble(&driver, Trouble::default());
        assert_eq!(forward(&mut card, &pages), Err(fault));
        assert!(card.reserve(1).is_none());
        card.release(pages);
    }
    let mut card = open(&driver, tiny(), 64, u64::MAX);
    let pages = card.reserve(64).unwrap();
    card.deadline = Duration::ZERO;
    assert!(matches!(forward(&mut card, &pages), Err(DeviceFault::Hung { .. })));
    card.deadline = DEADLINE;
    card.release(pages);
    // Too little memory is named before anything is loaded, and while it is.
    drop(card);
    trouble(&driver, Trouble { memory: Some(100_000), ..Trouble::default() });
    let options = Options { threads: 1, context: 64, max_sequences: 1 };
    let shared = Card::new(Arc::<Emulated>::clone(&driver));
    let error = Cuda::new(shared, tiny(), &options, u64::MAX).map(|_| ()).unwrap_err();
    assert!(matches!(error, StartError::Device(DeviceFault::OutOfMemory { .. })), "{error}");
    trouble(&driver, Trouble::default());
}

#[test]
fn where_there_is_no_nvidia_driver_it_is_said_and_another_way_offered() {
    if let Ok(cards) = list() {
        println!("skipped: there are {} cards", cards.len());
        return;
    }
    let options = Options { threads: 1, context: 16, max_sequences: 1 };
    let error = Engine::on(&Device::Cuda { adapter: None }, tiny(), options).map(|_| ()).unwrap_err();
    assert!(matches!(&error, StartError::NoAdapter(NoAdapter::NoCuda { .. })), "{error}");
    assert!(error.to_string().contains("NVIDIA") && error.to_string().contains("--backend cpu"), "{error}");
    // A card that is there and computes something else is told of.
    let fault = SelfTestFault::Kernel { kernel: "product".to_owned() };
    let told = crate::scheduler::worth_telling(&StartError::Differs { fault }).unwrap();
    assert!(told.contains("product") && told.contains("--backend wgpu"), "{told}");
    assert_eq!(crate::scheduler::worth_telling(&error), None);
    // Which is nothing that whoever takes any device has to hear of.
    let engine = Engine::on(&Device::Auto, tiny(), options).unwrap();
    assert!(engine.backend() != "cuda" && engine.passed_over().is_none());
}

/// The driver says that there is room, and refuses in the middle of what the cache would grow by.
#[test]
fn a_cuda_card_whose_driver_promises_more_memory_than_it_has_takes_no_more_requests_and_loses_none() {
    const STEPS: usize = 5;
    let Some(driver) = card() else { return };
    let engine = || {
        let options = Options { threads: 1, context: 512, max_sequences: 4 };
        let model = tiny();
        let tokenizer = model.tokenizer();
        let backend = Cuda::new(Card::new(Arc::<Emulated>::clone(&driver)), model, &options, u64::MAX).unwrap();
        Engine::with_backend(Box::new(backend), tokenizer, options).unwrap()
    };
    let request = |first: u32| Request {
        prompt: (0..9).map(|n| first + n * 5).collect(),
        sampling: Sampling { temperature: 0.0, ..Sampling::default() },
        stop: Vec::new(),
        max_tokens: 400,
        constraint: None,
    };
    let tokens = |engine: &mut Engine, steps: usize| {
        let mut of_each: BTreeMap<_, Vec<u32>> = BTreeMap::new();
        for _ in 0..steps {
            for output in engine.step() {
                of_each.entry(output.sequence).or_default().extend(output.token);
            }
        }
        assert_eq!(engine.fault(), None);
        of_each
    };
    // What each of them is answered on a card that keeps its word.
    let wanted: Vec<Vec<u32>> = (0..4)
        .map(|n| {
            let mut engine = engine();
            engine.go_on_past_ends();
            engine.add(request(3 + n)).unwrap();
            tokens(&mut engine, 2 * STEPS).into_values().next().unwrap()
        })
        .collect();
    let mut engine = engine();
    engine.go_on_past_ends();
    let ids: Vec<_> = (0..2).map(|n| engine.add(request(3 + n)).unwrap()).collect();
    let mut heard = tokens(&mut engine, STEPS);
    // Enough for the first of the new buffers.
    let there = driver.allocated();
    let page = page_bytes(tiny().parameters());
    trouble(&driver, Trouble { said: Some(1 << 40), memory: Some(there + 150 * page), ..Trouble::default() });
    for _ in 0..3 {
        assert!(matches!(engine.add(request(5)), Err(Refused::Full)));
        assert_eq!(driver.allocated(), there, "what was taken in vain was not given back");
    }
    for (id, more) in tokens(&mut engine, STEPS) {
        heard.get_mut(&id).unwrap().extend(more);
    }
    for (id, wanted) in ids.iter().zip(&wanted) {
        let same = heard[id].len().min(wanted.len());
        assert!(same >= 2 * STEPS - 2 && heard[id][..same] == wanted[..same], "an answer that runs is disturbed");
    }
    // Room comes with an answer that ends, or when the driver has what it promised.
    engine.cancel(ids[0]);
    let third = engine.add(request(5)).unwrap();
    trouble(&driver, Trouble::default());
    let fourth = engine.add(request(6)).unwrap();
    let heard = tokens(&mut engine, 2 * STEPS);
    for (id, wanted) in [(third, &wanted[2]), (fourth, &wanted[3])] {
        let same = heard[&id].len().min(wanted.len());
        // Fewer than steps: prompts are read by turns.
        assert!(same >= STEPS && heard[&id][..same] == wanted[..same], "it is answered otherwise: {:?}", heard[&id]);
    }
}
