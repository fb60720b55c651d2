use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use link::{FromWorker, ToWorker};
use nix::sys::signal::Signal;

use crate::attempts::{ALLOWED, ATTEMPTS, Attempt, LET_PASS, NOT_OUTSIDE, Scene};
use crate::taken::{Moment, Outcome, Taken};

/// Between these lines stands the table in docs/security.md.
const BEGIN: &str = "<!-- the battery: written by worker::whatever_is_tried_in_the_worker_is_refused_or_kills_it -->\n";
const END: &str = "<!-- end of the battery -->\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Result {
    Refused,
    Killed,
    GotIn,
}

impl Result {
    fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Killed(Signal::SIGSYS) => Self::Killed,
            Outcome::Returned(value) if value < 0 => Self::Refused,
            _ => Self::GotIn,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Killed => "killed",
            // Whatever else gets in fails the test, and has no table.
            Self::GotIn => "let pass",
        }
    }
}

/// Tries them in as few processes as they leave alive.
fn try_all(scene: &Scene, moment: Moment, attempts: &[&Attempt]) -> Vec<(Outcome, Result)> {
    let mut taken: Option<Taken> = None;
    let mut results = Vec::new();
    for attempt in attempts {
        let worker = taken.get_or_insert_with(|| Taken::at(&scene.ground, moment));
        let outcome = (attempt.run)(worker, scene);
        let result = Result::of(outcome);
        // What got in may have changed what the next one finds.
        if worker.gone.is_some() || (result == Result::GotIn && moment == Moment::Outside) {
            taken = None;
        }
        results.push((outcome, result));
    }
    if let Some(mut worker) = taken.filter(|_| moment > Moment::Opening) {
        // Whatever was refused, it serves on.
        worker.let_go();
        worker.say(&ToWorker::SetEnabled(false));
        worker.hear(|said| matches!(said, FromWorker::Enabled(false)));
    }
    results
}

/// Whether a graphics card, or a program that plays one, is here.
fn has_adapter() -> bool {
    let any = !engine::adapter::adapters().is_empty();
    if !any {
        assert!(std::env::var_os("CHRYSALIS_REQUIRE_GPU").is_none(), "there must be a Vulkan adapter here");
        println!("skipped: there is no graphics card and nothing that plays one");
    }
    any
}

#[test]
fn whatever_is_tried_in_the_worker_is_refused_or_kills_it() {
    assert!(ATTEMPTS.len() >= 60, "{} attempts", ATTEMPTS.len());
    let all: Vec<&Attempt> = ATTEMPTS.iter().collect();
    let scene = Scene::new();
    let mut results = BTreeMap::new();
    for moment in [Moment::Opening, Moment::Cpu] {
        results.insert(moment, try_all(&scene, moment, &all));
    }
    if has_adapter() {
        results.insert(Moment::Wgpu, try_with_a_card(&scene, &results));
    }
    let mut inside = Vec::new();
    for (moment, results) in &results {
        for (attempt, (outcome, result)) in ATTEMPTS.iter().zip(results) {
            println!("{moment:?}: {}: {outcome:?}", attempt.name);
            let let_pass = LET_PASS.iter().any(|(name, when, _)| *name == attempt.name && when.contains(moment));
            if (*result == Result::GotIn) != let_pass {
                inside.push(format!("{moment:?}: {}: {outcome:?}", attempt.name));
            }
        }
    }
    assert!(inside.is_empty(), "got in, or did not although a driver needs it: {inside:#?}");
    if results.len() == 3 {
        compare(&table(&results));
    }
}

/// A card takes long to open, so here a few processes do for all. What killed it at both other moments is killed by a filter that is in
/// force from the first step on and is never taken back; of those one is tried, and all of them in a long run.
fn try_with_a_card(scene: &Scene, results: &BTreeMap<Moment, Vec<(Outcome, Result)>>) -> Vec<(Outcome, Result)> {
    let long = std::env::var_os("CHRYSALIS_MUTANTS").is_some();
    let kills = |index: usize| results.values().all(|results| results[index].1 == Result::Killed);
    let (deadly, survived): (Vec<usize>, Vec<usize>) = (0..ATTEMPTS.len()).partition(|index| kills(*index));
    // What the worker needs comes first, in the same process.
    let needed = ALLOWED.iter().filter(|attempt| attempt.group != "clone");
    let mut order: Vec<&Attempt> = needed.chain(survived.iter().map(|index| &ATTEMPTS[*index])).collect();
    let allowed = order.len() - survived.len();
    order.extend(deadly.iter().take(if long { usize::MAX } else { 1 }).map(|index| &ATTEMPTS[*index]));
    let tried = try_all(scene, Moment::Wgpu, &order);
    for (attempt, (outcome, _)) in order.iter().zip(&tried).take(allowed) {
        assert!(outcome.value().is_some(), "{}, {}: {outcome:?}", attempt.group, attempt.name);
    }
    let (first, last) = tried[allowed..].split_at(survived.len());
    let mut with_card = vec![(Outcome::Killed(Signal::SIGSYS), Result::Killed); ATTEMPTS.len()];
    for (index, result) in survived.iter().zip(first).chain(deadly.iter().zip(last)) {
        with_card[*index] = *result;
    }
    with_card
}

/// Else a refusal would say nothing.
#[test]
fn the_same_attempts_get_in_where_there_is_no_box() {
    let scene = Scene::new();
    let results = try_all(&scene, Moment::Outside, &ATTEMPTS.iter().collect::<Vec<_>>());
    let mut refused = Vec::new();
    for (attempt, (outcome, result)) in ATTEMPTS.iter().zip(&results) {
        println!("{}: {outcome:?}", attempt.name);
        if *result != Result::GotIn && NOT_OUTSIDE.iter().all(|(name, _)| *name != attempt.name) {
            refused.push(format!("{}: {outcome:?}", attempt.name));
        }
    }
    assert!(refused.is_empty(), "a row that can't fail, without a reason: {refused:#?}");
}

#[test]
fn whatever_is_said_of_attempts_is_said_of_some_that_there_are() {
    let names = LET_PASS.iter().map(|(name, ..)| name).chain(NOT_OUTSIDE.iter().map(|(name, _)| name));
    for name in names {
        assert_eq!(ATTEMPTS.iter().filter(|attempt| attempt.name == *name).count(), 1, "{name}");
    }
    assert!(NOT_OUTSIDE.iter().all(|(_, why)| !why.is_empty()) && LET_PASS.iter().all(|(.., who)| !who.is_empty()));
}

#[test]
fn what_the_worker_needs_is_allowed_in_the_box() {
    let scene = Scene::new();
    let all: Vec<&Attempt> = ALLOWED.iter().collect();
    for moment in [Moment::Opening, Moment::Cpu] {
        for (attempt, (outcome, _)) in ALLOWED.iter().zip(try_all(&scene, moment, &all)) {
            assert!(outcome.value().is_some(), "{moment:?}: {}, {}: {outcome:?}", attempt.group, attempt.name);
        }
    }
}

#[test]
fn threads_without_end_are_refused_and_it_can_still_be_killed() {
    let scene = Scene::new();
    let mut worker = Taken::at(&scene.ground, Moment::Cpu);
    if worker.status(None, "NSpid").split_whitespace().count() == 0 || !worker.has_namespaces() {
        println!("skipped: without namespaces the threads of one process are not counted");
        return;
    }
    let thread = ALLOWED.iter().find(|attempt| attempt.group == "clone").unwrap();
    let mut made = 0;
    while made < 5000 && (thread.run)(&mut worker, &scene).value().is_some() {
        made += 1;
    }
    assert!((1..5000).contains(&made), "{made} threads");
    worker.end();
}

/// Numbers that look random; the same at every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[test]
fn random_system_calls_harm_nobody_outside() {
    let most: u64 = match std::env::var("CHRYSALIS_MUTANTS") {
        Ok(_) => 1_000_000,
        Err(_) => 10_000,
    };
    let scene = Scene::new();
    let before = std::fs::read(&scene.ground.secret).unwrap();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut deaths = 0_u64;
    let mut made = 0;
    // One that would be killed is still a call; so that not each of them costs a process, most are of those that have a line.
    let listed: Vec<i64> = sandbox::listed_calls().iter().map(|call| call.number).collect();
    while made < most {
        let mut worker = Taken::at(&scene.ground, Moment::Cpu);
        let harmless = worker.put(0, &[0; 64]);
        while made < most && worker.gone.is_none() {
            let roll = dice.roll();
            let number = if roll.is_multiple_of(2000) {
                (dice.roll() % 600).cast_signed()
            } else {
                listed[(roll >> 16) as usize % listed.len()]
            };
            let arguments: [u64; 6] = std::array::from_fn(|_| match dice.roll() % 6 {
                0 => 0,
                1 => dice.roll() % 16,
                2 => harmless,
                3 => u64::MAX - dice.roll() % 4,
                4 => dice.roll() % (1 << 20),
                _ => dice.roll(),
            });
            made += 1;
            if crate::walls::waits_or_ends(number) {
                continue;
            }
            if matches!(worker.call(number, &arguments), Outcome::Split) {
                panic!("call {number} {arguments:x?} made a process");
            }
        }
        deaths += u64::from(worker.gone.is_some());
    }
    println!("{made} calls, {deaths} processes that died of them");
    assert_eq!(std::fs::read(&scene.ground.secret).unwrap(), before);
    assert_eq!(std::fs::read(&scene.ground.model).unwrap(), engine::synthetic::tiny());
    let left = std::fs::read_dir(scene.ground.folder.path().join("home")).unwrap().count();
    assert_eq!(left, 3, "something was made, or is gone");
    std::thread::sleep(Duration::from_millis(1));
}

fn table(results: &BTreeMap<Moment, Vec<(Outcome, Result)>>) -> String {
    let mut text = String::from(
        "| what is tried | while a card is opened | serving, processor | serving, card |\n|---|---|---|---|\n",
    );
    let mut group = "";
    for (index, attempt) in ATTEMPTS.iter().enumerate() {
        if attempt.group != group {
            group = attempt.group;
            let _ = writeln!(text, "| **{group}** | | | |");
        }
        let word = |moment: Moment| results[&moment][index].1.word();
        let (opening, cpu, wgpu) = (word(Moment::Opening), word(Moment::Cpu), word(Moment::Wgpu));
        let _ = writeln!(text, "| {} | {opening} | {cpu} | {wgpu} |", attempt.name);
    }
    text
}

fn compare(table: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/security.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("a place for the table in docs/security.md");
    let (written, after) = rest.split_once(END).expect("an end of the table");
    if std::env::var_os("CHRYSALIS_WRITE_BATTERY").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(written, table, "docs/security.md is not what came out; CHRYSALIS_WRITE_BATTERY=1 writes it anew");
}
