use std::path::{Path, PathBuf};

use super::*;
use crate::gguf::Limits as FileLimits;
use crate::model::Architecture;
use crate::synthetic::{self, Stored};
use crate::tune::Reason;
use crate::wgpu::gpu;
use crate::wgpu::shape::STAGED;

fn card(kind: AdapterKind, subgroup: Option<(u32, u32)>, half_floats: bool) -> Adapter {
    Adapter {
        name: "a card".to_owned(),
        driver: "Driver 1.0".to_owned(),
        api: "Vulkan",
        kind,
        vendor: 1,
        device: Some(2),
        pci: None,
        binding_bytes: 1 << 31,
        buffer_bytes: 1 << 40,
        half_floats,
        subgroup,
        cooperative: None,
        unusable: None,
    }
}

fn names(about: &Adapter) -> Vec<String> {
    candidates(about).into_iter().map(|candidate| candidate.name).collect()
}

#[test]
fn candidates_follow_from_what_a_card_is() {
    let discrete = |subgroup| card(AdapterKind::Discrete, subgroup, true);
    let with = names(&discrete(Some((32, 32))));
    assert_eq!(with[0], "w64-l16-r4");
    assert!(with.contains(&"w64-l64-r4-subgroups".to_owned()) && with.contains(&"w64-l16-r4-floats".to_owned()));
    let without = names(&discrete(None));
    assert_eq!(without[0], "w64-l16-r4");
    assert!(without.iter().all(|name| !name.contains("subgroups")), "{without:?}");
    let cooperative = |kind| names(&Adapter { cooperative: Some(16), ..card(kind, Some((32, 32)), true) });
    let cards = cooperative(AdapterKind::Discrete);
    assert_eq!(
        cards[..2],
        ["w64-l16-r4", "w64-l16-r4-cooperative16"],
        "beside what adds whole numbers, never instead of it"
    );
    assert!(
        cards.contains(&"w64-l64-r4-subgroups-cooperative16".to_owned())
            && with.iter().all(|name| cards.contains(name))
    );
    assert_eq!(cooperative(AdapterKind::Software)[..2], ["w32-l1-r2", "w32-l1-r2-cooperative16"]);
    assert!(with.iter().all(|name| !name.contains("cooperative")), "{with:?}");
    let software = |half_floats| names(&card(AdapterKind::Software, Some((8, 8)), half_floats));
    assert_eq!(software(true), ["w32-l1-r2", "w32-l1-r4", "w32-l1-r2-floats"]);
    assert_eq!(software(false).len(), 1);
    for about in [discrete(Some((32, 32))), discrete(Some((8, 32))), discrete(Some((64, 64))), discrete(None)] {
        let all = candidates(&about);
        assert_eq!(all[0].setup, Shape::of(&about), "what was judged best without a measurement comes first");
        let mut names = names(&about);
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all.len(), "two of one name");
        for Candidate { setup, .. } in all {
            let Shape { workgroup, lanes, rows, ref tokens, subgroups, .. } = setup;
            assert!(workgroup % lanes == 0 && rows % 2 == 0);
            let partials = if subgroups { workgroup / about.subgroup.unwrap().0 } else { workgroup };
            // Larger tiles have shared memory of another kind, and less of it.
            let most = tokens.iter().filter(|&&tokens| tokens < STAGED).max().unwrap();
            let shared = rows * most * partials.max(1) * 4;
            assert!(shared <= 16 * 1024, "{setup:?} shares {shared} bytes");
        }
    }
}

/// Sources in a folder and those below it, but for tests and what there is of graphics cards in a program without them.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let named = |name| path.file_name().is_some_and(|it| it == name);
        if named("tests") || named("tests.rs") || named("disabled.rs") {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "wgsl" || ending == "rs") {
            found.push(path);
        }
    }
}

/// What is not among them could change without a new trial.
#[test]
fn all_kernels_are_part_of_what_a_choice_depends_on() {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src/wgpu", "src/device"] {
        sources(&crate_folder.join(folder), &mut files);
    }
    files.push(crate_folder.join("src/tune/measure.rs"));
    assert!(files.len() > 30);
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        assert!(SOURCES.contains(&text.as_str()), "{} is not in SOURCES", file.display());
    }
    assert_eq!(files.len(), SOURCES.len());
    // A library that is new is tried out anew.
    let lock = std::fs::read_to_string(crate_folder.join("../../../Cargo.lock")).unwrap();
    for (name, version) in LIBRARIES {
        let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
        assert!(lock.contains(&entry), "{name} is not {version} in Cargo.lock");
        assert_eq!(lock.matches(&format!("name = \"{name}\"\n")).count(), 1, "{name} is there twice");
    }
}

/// The first adapter that is quick at compiling.
fn adapter() -> Option<usize> {
    let found = gpu::enumerate();
    if found.is_empty() {
        assert!(std::env::var_os("CHRYSALIS_REQUIRE_GPU").is_none(), "there must be a Vulkan adapter here");
        println!("skipped: no Vulkan adapter");
    }
    found.iter().position(|(_, about)| about.half_floats)
}

fn model(file: &[u8]) -> Model {
    Model::read(&mut { file }, FileLimits::default()).unwrap()
}

const OPTIONS: Options = Options { threads: 1, context: 64, max_sequences: 2 };

/// A start with what is stored: what came of it, and what was said meanwhile.
fn begin(
    adapter: usize,
    file: &[u8],
    stored: &[Vec<u8>],
    tuning: &Tuning,
) -> (Result<(Wgpu, Outcome), StartError>, Vec<Progress>) {
    let mut said = Vec::new();
    let wish = Wish { adapter: Some(adapter.to_string()), software: true };
    let mut progress = |now| said.push(now);
    let mut session = Session { stored, progress: &mut progress };
    let started = start(model(file), &OPTIONS, &wish, tuning, &mut session);
    (started, said)
}

#[test]
fn a_card_is_tried_out_once_and_again_when_something_changed() {
    let Some(adapter) = adapter() else { return };
    let file = synthetic::tiny();
    let hour = Duration::from_hours(1);
    let generous = Tuning { limits: Some(Limits { test: hour, measure: hour }), ..Tuning::default() };
    let (started, said) = begin(adapter, &file, &[], &generous);
    let (card, Outcome { choice, reason }) = started.unwrap();
    assert_eq!(reason, Some(Reason::First));
    assert!(matches!(said[0], Progress::Testing { number: 1, .. }), "{said:?}");
    assert!(matches!(said.last(), Some(Progress::Measuring { .. })), "{said:?}");
    assert!(choice.measured.generated_per_second().is_some() && choice.tried >= 1);
    assert_eq!(name(&card.kernels.shape), choice.candidate);
    let ways = candidates(&card.gpu.about).len() as u32;
    assert_eq!((choice.tried, choice.failed, choice.of), (ways, 0, ways), "with enough time every way is tried");
    println!("{choice:?}");
    drop(card);

    let stored = [choice.to_bytes()];
    let begun = Instant::now();
    let (started, said) = begin(adapter, &file, &stored, &Tuning::default());
    println!("a start with a stored choice, compared with the processor again: {:?}", begun.elapsed());
    let (card, outcome) = started.unwrap();
    assert_eq!(outcome, Outcome { choice: choice.clone(), reason: None });
    assert_eq!(said, []);
    assert_eq!(name(&card.kernels.shape), choice.candidate);
    drop(card);

    let mut other = choice.clone();
    other.key.driver = "Driver 0.9".to_owned();
    let (started, said) = begin(adapter, &file, &[other.to_bytes()], &Tuning::default());
    let (_, outcome) = started.unwrap();
    assert!(!said.is_empty());
    assert_eq!(outcome.reason, Some(Reason::Driver { was: "Driver 0.9".to_owned(), is: choice.key.driver.clone() }));
    assert_eq!(outcome.choice.key, choice.key);
}

#[test]
fn a_trial_that_time_ended_goes_on_at_the_next_start_until_every_way_was_tried() {
    let Some(adapter) = adapter() else { return };
    let file = synthetic::tiny();
    let hurried =
        Tuning { limits: Some(Limits { test: Duration::ZERO, measure: Duration::ZERO }), ..Tuning::default() };
    let (started, _) = begin(adapter, &file, &[], &hurried);
    let (card, Outcome { mut choice, .. }) = started.unwrap();
    let ways = candidates(&card.gpu.about);
    drop(card);
    let of = ways.len() as u32;
    assert_eq!((choice.tried, choice.failed, choice.of), (1, 0, of));
    assert_eq!(choice.candidate, ways[0].name);
    for seen in 1..of {
        let (started, said) = begin(adapter, &file, &[choice.to_bytes()], &hurried);
        let (card, outcome) = started.unwrap();
        assert_eq!(outcome.reason, Some(Reason::Unfinished { seen, of }));
        assert_eq!(said[0], Progress::Testing { number: seen + 1, of }, "it goes on, and does not begin again");
        assert_eq!((outcome.choice.tried, outcome.choice.failed, outcome.choice.of), (seen + 1, 0, of));
        assert_eq!(name(&card.kernels.shape), outcome.choice.candidate);
        let new = &ways[seen as usize].name;
        assert!([&choice.candidate, new].contains(&&outcome.choice.candidate), "{:?}", outcome.choice);
        choice = outcome.choice;
    }
    let (started, said) = begin(adapter, &file, &[choice.to_bytes()], &hurried);
    let (_, outcome) = started.unwrap();
    assert_eq!((outcome, said), (Outcome { choice, reason: None }, Vec::new()));
}

/// What was right when it was tried out need not be so today.
#[test]
fn a_card_with_a_stored_choice_that_computes_something_else_now_is_noticed() {
    let Some(adapter) = adapter() else { return };
    let file = synthetic::tiny();
    let (started, _) = begin(adapter, &file, &[], &Tuning::default());
    let (_, Outcome { choice, .. }) = started.unwrap();
    let lies = Tuning { preamble: "fn exp(x: f32) -> f32 { return 1.0 + x; }\n", ..Tuning::default() };
    let of = choice.of;
    for stored in [Choice { tried: of, failed: 0, ..choice.clone() }, Choice { tried: 1, failed: 0, ..choice }] {
        let (started, said) = begin(adapter, &file, &[stored.to_bytes()], &lies);
        let error = started.map(drop).unwrap_err();
        assert!(matches!(error, StartError::Device(DeviceFault::Wrong { .. })), "{error}");
        assert_eq!(said, []);
    }
}

#[test]
fn every_candidate_of_software_and_of_cards_computes_what_the_processor_does() {
    let Some(adapter) = adapter() else { return };
    let (adapter, about) = gpu::enumerate().swap_remove(adapter);
    let gpu = Arc::new(Gpu::open(&adapter, about.clone(), Duration::from_mins(3)).unwrap());
    let mut all = candidates(&about);
    // Of those for cards one is enough here: software takes half a minute for each, and `kernels` tries more of them.
    let of_cards = candidates(&Adapter { kind: AdapterKind::Discrete, subgroup: None, ..about.clone() });
    all.extend(of_cards.into_iter().nth(2));
    let likeness = Likeness::of(&model(&synthetic::tiny()));
    for Candidate { name, setup } in all {
        let tested = likeness.test(kernels(&gpu, Some(setup), &Tuning::default()), &Tuning::default());
        assert_eq!(tested.map(drop), Ok(()), "{name}");
    }
}

#[test]
fn every_family_has_a_likeness_that_cards_compute_as_the_processor_does() {
    let Some(adapter) = adapter() else { return };
    let (adapter, about) = gpu::enumerate().swap_remove(adapter);
    let gpu = Arc::new(Gpu::open(&adapter, about, Duration::from_mins(3)).unwrap());
    for architecture in Architecture::ALL {
        for stored in [Stored::Blocks, Stored::Mixed] {
            let likeness = Likeness::of(&model(&synthetic::family(architecture, stored)));
            let tested = likeness.test(kernels(&gpu, None, &Tuning::default()), &Tuning::default());
            assert_eq!(tested.map(drop), Ok(()), "{architecture:?} {stored:?}");
        }
    }
}

/// Drivers that miscompile: a function of the language does something else than it should.
#[test]
fn kernels_that_compute_something_else_are_noticed_and_named() {
    let Some(adapter) = adapter() else { return };
    let (adapter, about) = gpu::enumerate().swap_remove(adapter);
    let gpu = Arc::new(Gpu::open(&adapter, about, Duration::from_mins(3)).unwrap());
    let likeness = Likeness::of(&model(&synthetic::tiny()));
    for (lie, what) in [
        ("fn dot4I8Packed(a: u32, b: u32) -> i32 { return i32(a & b); }\n", "products with"),
        ("fn exp(x: f32) -> f32 { return 1.0 + x; }\n", "a small model's answers"),
    ] {
        let tuning = Tuning { preamble: lie, ..Tuning::default() };
        let fault = likeness.test(kernels(&gpu, None, &tuning), &tuning).map(drop).unwrap_err();
        assert!(matches!(&fault, DeviceFault::Wrong { what: named } if named.starts_with(what)), "{fault}");
    }
}

#[test]
fn a_card_on_which_nothing_computes_right_is_not_used() {
    let Some(adapter) = adapter() else { return };
    let tuning = Tuning { preamble: "fn exp(x: f32) -> f32 { return 1.0 + x; }\n", ..Tuning::default() };
    let (started, said) = begin(adapter, &synthetic::tiny(), &[], &tuning);
    let error = started.map(drop).unwrap_err();
    assert!(matches!(error, StartError::Device(DeviceFault::Wrong { .. })), "{error}");
    assert!(said.iter().all(|now| matches!(now, Progress::Testing { .. })) && said.len() == 3, "{said:?}");
}

#[test]
fn a_model_without_room_is_refused_before_anything_is_tried() {
    let Some(adapter) = adapter() else { return };
    let tuning = Tuning { memory_bytes: Some(100_000), ..Tuning::default() };
    let (started, said) = begin(adapter, &synthetic::tiny(), &[], &tuning);
    let error = started.map(drop).unwrap_err();
    let StartError::Device(fault @ DeviceFault::OutOfMemory { limit: Some(100_000), .. }) = error else {
        panic!("{error}");
    };
    let text = fault.to_string();
    assert!(text.contains("beside what the desktop is left") && text.ends_with("there are 100000"), "{text}");
    assert_eq!(said, []);
}
