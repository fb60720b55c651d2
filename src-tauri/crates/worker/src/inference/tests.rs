use std::collections::BTreeSet;

use engine::synthetic;
use serde_json::json;

use super::*;
use crate::completions;

fn setup(max_sequences: usize) -> Setup {
    Setup {
        backend: BackendKind::Cpu,
        tunings: Vec::new(),
        fails: None,
        threads: Some(1),
        max_sequences,
        memory: None,
        seal: None,
    }
}

/// An engine as it serves, and so many requests with prompts of their own in it.
fn serving(max_sequences: usize, requests: u64) -> (Batch, Vec<Report>) {
    let model = Model::read(&mut synthetic::tiny().as_slice(), Limits::default()).unwrap();
    let Loaded { engine, preparer, .. } =
        Loaded::new(model, setup(max_sequences), &mut |_| {}).unwrap_or_else(|failure| panic!("{failure:?}"));
    let mut batch = Batch::new(engine);
    let mut reports = Vec::new();
    for number in 0..requests {
        let body =
            json!({"model": "tiny", "prompt": format!("{number} and more"), "max_tokens": 1000, "temperature": 0});
        let body = body.to_string();
        let order = completions::parse("POST", "/v1/completions", body.as_bytes(), "tiny")
            .unwrap_or_else(|refusal| panic!("{}", refusal.message()));
        let key = JobKey(number);
        let task = Task { key, request_id: [number as u8; 32], order, cancel: Cancel::new(), place: None };
        let job = preparer.prepare(task).unwrap_or_else(|refusal| panic!("{}", refusal.message()));
        batch.take(Work::Job(Box::new(job)), Instant::now(), &mut reports);
    }
    (batch, reports)
}

/// Whose answers got a token in one step.
fn advanced(batch: &mut Batch, reports: &mut Vec<Report>) -> BTreeSet<JobKey> {
    reports.clear();
    batch.step(reports);
    let pieces = reports.iter().filter_map(|report| match report {
        Report::Piece { key, .. } => Some(*key),
        _ => None,
    });
    pieces.collect()
}

#[test]
fn as_many_requests_as_are_admitted_get_their_tokens_in_the_same_step() {
    for (allowed, asked) in [(8, 8), (3, 5), (100, 20)] {
        let (mut batch, mut reports) = serving(allowed, asked);
        let most = asked.min(allowed as u64);
        // Prompts are read in some steps; then each step has a token for everybody.
        let all = (0..200).map(|_| advanced(&mut batch, &mut reports)).find(|keys| keys.len() as u64 >= most);
        let all = all.unwrap_or_else(|| panic!("{allowed} allowed, {asked} asked: never so many in one step"));
        assert_eq!(all, (0..most).map(JobKey).collect(), "{allowed} allowed, {asked} asked");
    }
}

#[test]
fn a_model_takes_no_more_main_memory_than_was_granted() {
    let started = |memory| {
        let (events, said) = std::sync::mpsc::sync_channel(100);
        let model = Box::new(std::io::Cursor::new(synthetic::tiny()));
        let setup = Setup { memory: Some(memory), ..setup(8) };
        let _running = Inference::start(model, setup, events).unwrap();
        match said.recv() {
            Ok(Event::Report(Report::Loaded(facts))) => Ok(facts.context),
            Ok(Event::Report(Report::NotLoaded(Failure::Model(why)))) => Err(why),
            _ => panic!("neither loaded nor refused"),
        }
    };
    // Not even its weights, which are never read then; its weights alone; both, but for short sequences only; everything.
    let bytes = synthetic::tiny().len() as u64;
    for memory in [1000, bytes] {
        let Err(why) = started(memory) else { panic!("not refused") };
        assert!(why.contains(&format!("there are {memory}")) && why.contains("bytes of main memory"), "{why}");
    }
    let (some, all) = (started(bytes * 2), started(1 << 30));
    assert!(some.as_ref().is_ok_and(|context| (1024..4096).contains(context)), "{some:?}");
    assert_eq!(all, Ok(4096));
}
