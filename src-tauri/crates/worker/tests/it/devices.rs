use engine::DeviceFault;
use engine::adapter::AdapterKind;
use link::FromWorker;
use link::message::{BackendKind, DeviceTrouble, Failure, LogLevel, ModelFacts, Tuning};
use serde_json::json;
use worker::serve::Stopped;

use crate::app::{MODEL, Rig, tiny_model};

const RAW: &str = "/v1/completions";

/// Whether this machine has a graphics card that is none of software's.
pub(crate) fn has_card() -> bool {
    engine::adapter::adapters().iter().any(|it| it.kind != AdapterKind::Software && it.unusable.is_none())
}

/// Whether this machine has a graphics card that can be used, software ones included.
pub(crate) fn has_adapter() -> bool {
    let has = !engine::adapter::adapters().is_empty();
    if !has {
        assert!(std::env::var_os("CHRYSALIS_REQUIRE_GPU").is_none(), "there must be a Vulkan adapter here");
        println!("skipped: no Vulkan adapter");
    }
    has
}

#[test]
fn a_card_that_fails_ends_running_jobs_with_an_ordinary_answer_and_is_told_by_name() {
    for (fault, kind) in [
        (DeviceFault::Hung { seconds: 20 }, DeviceTrouble::Hung),
        (DeviceFault::Lost { reason: "unplugged".to_owned() }, DeviceTrouble::Lost),
        (DeviceFault::OutOfMemory { what: "a game", wanted: Some(9), limit: None }, DeviceTrouble::OutOfMemory),
        (DeviceFault::OutOfMemory { what: "a model", wanted: Some(9), limit: Some(8) }, DeviceTrouble::NoRoom),
        (DeviceFault::Pipeline { kernel: "product".to_owned(), reason: "no".to_owned() }, DeviceTrouble::Pipeline),
    ] {
        let text = fault.to_string();
        let mut rig = Rig::connected_to_fail(7, fault);
        let long = json!({"model": MODEL, "prompt": "hello", "max_tokens": 500, "temperature": 0});
        let asked: Vec<_> = (0..6).map(|_| rig.ask(RAW, &long)).collect();
        let failure = FromWorker::Failed(Failure::Device { kind, text });
        rig.until("the fault is told", |rig| rig.said.contains(&failure));
        // On a busy machine the last of them may come when nobody is there any more.
        let started = rig.said.iter().filter(|said| matches!(said, FromWorker::JobStarted { .. })).count();
        let is_answered = |id: &&[u8; 32]| rig.answers[*id].over && rig.answers[*id].failed.is_none();
        let heard: Vec<_> = asked.iter().filter(is_answered).collect();
        assert!(started > 0);
        assert_eq!(rig.records().len(), started, "nothing runs on");
        assert_eq!(heard.len(), started, "an answer does not end");
        // Those with text get it, those without are sent elsewhere.
        let statuses: Vec<i32> = heard.iter().map(|id| rig.answers[*id].status()).collect();
        assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
        let (stopped, said) = rig.ended();
        assert!(matches!(stopped, Stopped::Failed(Failure::Device { kind: named, .. }) if named == kind));
        assert!(said.contains(&FromWorker::Enabled(false)));
    }
}

#[test]
fn a_card_that_is_not_there_is_told_and_the_processor_offered() {
    let rig = Rig::greeted(Box::new(std::io::Cursor::new(tiny_model())), |configuration| {
        configuration.backend = BackendKind::Wgpu { adapter: Some("no such card".to_owned()) };
    });
    let (stopped, _) = rig.ended();
    let Stopped::Failed(Failure::Device { kind, text }) = stopped else { panic!("{stopped}") };
    assert_eq!(kind, DeviceTrouble::NoAdapter);
    assert!(text.contains("--backend cpu"), "{text}");
}

/// What was said of a card before the model was ready: how often it was tried, and what came of that.
pub(crate) fn of_the_card(rig: &Rig) -> (usize, Tuning, Option<String>) {
    let tries = rig.said.iter().filter(|said| matches!(said, FromWorker::Trying { .. })).count();
    let ready = rig.said.iter().position(|said| matches!(said, FromWorker::Ready(_))).unwrap();
    let found: Vec<_> = rig.said[..ready]
        .iter()
        .filter_map(|said| match said {
            FromWorker::Tuned { tuning, reason } => Some(((**tuning).clone(), reason.clone())),
            _ => None,
        })
        .collect();
    let [(tuning, reason)] = found.as_slice() else { panic!("it is said once: {found:?}") };
    (tries, tuning.clone(), reason.clone())
}

#[test]
fn a_card_of_nvidias_that_is_not_there_is_told_and_others_offered() {
    let rig = Rig::greeted(Box::new(std::io::Cursor::new(tiny_model())), |configuration| {
        configuration.backend = BackendKind::Cuda { adapter: Some("no such card".to_owned()) };
    });
    let (stopped, _) = rig.ended();
    let Stopped::Failed(Failure::Device { kind, text }) = stopped else { panic!("{stopped}") };
    assert_eq!(kind, DeviceTrouble::NoAdapter);
    assert!(text.contains("--backend cpu"), "{text}");
}

#[test]
fn a_card_serves_and_ready_names_it_and_it_is_tried_out_once() {
    if !has_adapter() {
        return;
    }
    let mut known: Vec<Vec<u8>> = Vec::new();
    // Where time ends the first trial, later starts bring it to its end.
    let mut is_finished = false;
    for start in 0.. {
        let tunings = known.clone();
        let mut rig = Rig::connected(|configuration| {
            configuration.backend = BackendKind::Wgpu { adapter: None };
            configuration.tunings = tunings;
        });
        let facts = ready(&rig);
        assert_eq!(facts.backend, "wgpu");
        assert_eq!(facts.passed_over, None);
        assert!(facts.adapter.is_some_and(|adapter| !adapter.is_empty()));
        let (tries, tuning, reason) = of_the_card(&rig);
        assert!(tuning.is_bounded() && tuning.step_micros > 0 && tuning.chunk_micros > 0);
        assert_eq!((tries > 0, reason.is_some()), (!is_finished, !is_finished), "{reason:?}");
        assert!((1..=tuning.of).contains(&(tuning.tried + tuning.failed)), "{tuning:?}");
        if is_finished {
            break;
        }
        assert_eq!(reason.unwrap().contains("nothing was stored"), start == 0);
        is_finished = tuning.tried + tuning.failed == tuning.of;
        assert!(start < tuning.of, "every start tries at least one");
        // The second time among what means nothing and what is another's.
        known = vec![vec![0xff; 9], b"{\"version\":1}".to_vec(), tuning.choice];
        let answer = rig.answer(RAW, &json!({"model": MODEL, "prompt": "hello", "max_tokens": 4, "temperature": 0}));
        assert_eq!(answer.json()["usage"]["completion_tokens"], 4);
    }
}

fn ready(rig: &Rig) -> ModelFacts {
    let found = rig.said.iter().find_map(|said| match said {
        FromWorker::Ready(facts) => Some(facts.clone()),
        _ => None,
    });
    found.unwrap()
}

#[test]
fn left_to_choose_the_processor_computes_where_only_software_plays_a_card_and_that_is_said_once() {
    let rig = Rig::connected(|configuration| configuration.backend = BackendKind::Auto);
    let facts = ready(&rig);
    let told = rig.said.iter().filter(
        |said| matches!(said, FromWorker::Log { level: LogLevel::Info, message } if message.contains("only software")),
    );
    let told = told.count();
    if has_card() {
        assert_eq!((facts.backend != "cpu", told), (true, 0), "{facts:?}");
    } else {
        let said = usize::from(has_adapter());
        assert_eq!((facts.backend.as_str(), facts.adapter.as_deref(), told), ("cpu", None, said), "{facts:?}");
    }
}

#[test]
fn the_processor_is_not_tried_out() {
    let rig = Rig::connected(|configuration| configuration.tunings = vec![vec![1]]);
    let of_cards = |said: &&FromWorker| matches!(said, FromWorker::Trying { .. } | FromWorker::Tuned { .. });
    assert_eq!(rig.said.iter().filter(of_cards).count(), 0);
}
