//! The committed inputs, and seeded mutants of them, through every target.

use allocation_counter::measure;
use fuzzing::mutate::{Random, mutant};
use fuzzing::{TARGETS, Target};
use std::collections::BTreeSet;
use std::fs::read_dir;
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A single input that takes longer is as good as a hang.
const HANG: Duration = Duration::from_secs(20);
/// Committed inputs stay small, so that a clone does.
const MOST_FILES: usize = 60;
const MOST_BYTES: usize = 4 * 1024;

#[test]
fn every_committed_input_is_survived_within_its_memory() {
    for target in TARGETS {
        for (name, input) in corpus(target) {
            run(target, &input, &name);
        }
    }
}

#[test]
fn mutants_of_the_committed_inputs_are_survived_within_their_memory() {
    let mutants = std::env::var("CHRYSALIS_MUTANTS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000_u32);
    // What is counted and timed belongs to one thread, so targets can run beside each other.
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(target) = TARGETS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run_mutants(target, mutants);
                }
            });
        }
    });
}

fn run_mutants(target: &Target, mutants: u32) {
    let seeds: Vec<Vec<u8>> = corpus(target).into_iter().map(|(_, input)| input).collect();
    let seed = target
        .name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mut random = Random::new(seed);
    for number in 0..mutants {
        let input = mutant(&seeds, MOST_BYTES, &mut random);
        run(target, &input, &format!("mutant {number}"));
    }
}

#[test]
fn every_target_has_inputs_and_every_folder_of_inputs_a_target() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let folders: BTreeSet<String> =
        read_dir(folder("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(targets, folders);
    for target in TARGETS {
        let files = corpus(target);
        assert!((3..=MOST_FILES).contains(&files.len()), "{} has {} inputs", target.name, files.len());
        for (name, input) in files {
            assert!(input.len() <= MOST_BYTES, "{name} has {} bytes", input.len());
        }
    }
}

#[test]
fn every_target_has_a_fuzzer_of_its_name() {
    let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/Cargo.toml")).unwrap();
    for target in TARGETS {
        assert!(manifest.contains(&format!("name = \"{}\"", target.name)), "{} is not fuzzed", target.name);
        let source = format!("{}/../../fuzz/fuzz_targets/{}.rs", env!("CARGO_MANIFEST_DIR"), target.name);
        let source = std::fs::read_to_string(source).unwrap();
        assert!(source.contains(&format!("fuzzing::{}(data)", target.name)), "{} calls another target", target.name);
    }
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
}

fn run(target: &Target, input: &[u8], name: &str) {
    let started = Instant::now();
    let mut outcome = Ok(());
    let used = measure(|| outcome = catch_unwind(|| (target.run)(input)));
    let what = || format!("{}, {name}, {} bytes: {}", target.name, input.len(), hex::encode(input));
    assert!(outcome.is_ok(), "a panic in {}", what());
    let most = target.memory.fixed + target.memory.per_byte * input.len() as u64;
    assert!(used.bytes_max <= most, "{} bytes held, {most} expected at most, in {}", used.bytes_max, what());
    assert!(started.elapsed() < HANG, "{:?} in {}", started.elapsed(), what());
}

/// The committed inputs of a target with their names, in order of name.
fn corpus(target: &Target) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = read_dir(folder(target.name))
        .unwrap_or_else(|error| panic!("inputs of {}: {error}", target.name))
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

fn folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/fuzz").join(target)
}
