//! Graphics cards are tried out once: real processes, a real driver, and between both the layer of [`crate::trouble`] that lies about the
//! driver's version, its memory and what it computes.

use std::path::Path;

use serde_json::Value;
use system_tests::{Stage, until};

use crate::trouble::{arrange, prepared, stage};

const BECAUSE: &str = " was tried out: ";

/// What the app says of the card that its worker uses.
fn tuning(stage: &Stage) -> Value {
    let stats = until("a worker that says how kernels are cut", || stage.stats().filter(|it| !it["tuning"].is_null()));
    assert_eq!(stats["model"]["backend"], "wgpu", "{stats}");
    assert!(stats["trying"].is_null(), "{stats}");
    stats["tuning"].clone()
}

fn restarted(stage: &mut Stage, folder: &Path, variables: &str) {
    stage.app.terminate();
    stage.app.wait();
    arrange(folder, variables);
    stage.restart_app();
}

fn again(stage: &mut Stage, folder: &Path, variables: &str) -> Value {
    restarted(stage, folder, variables);
    tuning(stage)
}

/// Starts it anew until there is nothing left to try: on a busy machine time ends before that, and every start tries one more way.
fn finished(stage: &mut Stage, folder: &Path, variables: &str, mut found: Value) -> Value {
    const MOST_WAYS: usize = 20;
    for _ in 0..MOST_WAYS {
        let next = again(stage, folder, variables);
        let why = next["found_now_because"].as_str().map(str::to_owned);
        let Some(why) = why else {
            assert_eq!(next["found_unix_ms"], found["found_unix_ms"], "{next}");
            return found;
        };
        assert!(why.contains("ways had been tried"), "{why}");
        found = next;
    }
    panic!("a trial that comes to no end: {found}");
}

#[test]
fn a_card_is_tried_out_at_the_first_start_and_again_only_when_its_driver_or_what_was_stored_changed() {
    const FIRST: &str = "TROUBLE_DRIVER=1.0";
    let Some((folder, app)) = prepared(FIRST) else { return };
    let mut stage = stage(&app);
    let first = tuning(&stage);
    assert_eq!(first["driver"], "1.0", "{first}");
    assert!(first["found_now_because"].as_str().is_some_and(|why| why.contains("nothing was stored")), "{first}");
    assert!(first["measured_tokens_per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{first}");
    assert!(first["measured_prompt_tokens_per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{first}");
    stage.answer("hello", 4);
    stage.app.until_it_says(BECAUSE);

    // Nothing changed: the same way, found when it was found.
    let first = finished(&mut stage, folder.path(), FIRST, first);
    let second = again(&mut stage, folder.path(), FIRST);
    assert!(second["found_now_because"].is_null(), "{second}");
    for same in ["way", "driver", "found_unix_ms", "measured_tokens_per_second"] {
        assert_eq!(second[same], first[same], "{same}");
    }
    assert!(!stage.app.errors().contains(BECAUSE));
    stage.answer("hello", 4);

    // Another driver.
    let third = again(&mut stage, folder.path(), "TROUBLE_DRIVER=2.0");
    let why = third["found_now_because"].as_str().unwrap_or_default();
    assert!(why.contains("\"1.0\"") && why.contains("\"2.0\""), "{third}");
    assert!(third["found_unix_ms"].as_i64() > first["found_unix_ms"].as_i64(), "{third}");

    finished(&mut stage, folder.path(), "TROUBLE_DRIVER=2.0", third);

    // The old driver again: what was found out then is still there.
    let fourth = again(&mut stage, folder.path(), FIRST);
    assert_eq!((&fourth["found_now_because"], &fourth["found_unix_ms"]), (&Value::Null, &first["found_unix_ms"]));

    // Bytes that mean nothing, in the place of what was stored.
    stage.app.terminate();
    stage.app.wait();
    {
        let mut ledger = stage.ledger();
        let model = hex::decode(stage_model(&stage)).unwrap().try_into().unwrap();
        let stored = ledger.tunings(&model, 9).unwrap();
        assert_eq!(stored.len(), 2, "one for each driver");
        for one in stored {
            ledger.record_tuning(&ledger::Tuning { choice: b"{\"version\":1}".to_vec(), ..one }).unwrap();
        }
    }
    stage.restart_app();
    let fifth = tuning(&stage);
    let why = fifth["found_now_because"].as_str().unwrap_or_default();
    assert!(why.contains("the stored choice cannot be used"), "{fifth}");
    stage.answer("hello", 4);
}

/// Hash of the served file, out of the name that it is served under.
fn stage_model(stage: &Stage) -> String {
    let name = system_tests::served_as(&stage.base, &system_tests::tiny_model());
    name.rsplit_once(':').map(|(_, hash)| hash.to_owned()).unwrap()
}

#[test]
fn a_driver_that_leaves_work_out_is_caught_and_the_processor_takes_over() {
    let Some((_folder, app)) = prepared("TROUBLE=wrong") else { return };
    let stage = stage(&app);
    the_processor_took_over(&stage, "computes wrong results");
}

/// At the second start, and no later.
fn the_processor_took_over(stage: &Stage, why: &str) {
    let stats = until("the processor", || {
        stage.stats().filter(|stats| stats["model"]["backend"] == "cpu" && stats["worker_starts"] == 2)
    });
    assert!(stats["fallback"].as_str().is_some_and(|told| told.contains(why)), "{stats}");
    assert!(stats["tuning"].is_null(), "{stats}");
    let log = stage.app.errors();
    let (reason, taken) = (log.find("the graphics card is not used: "), log.find("the processor takes over"));
    assert!(reason.is_some() && reason < taken, "the reason comes first: {log}");
    stage.wait_for_model();
    stage.answer("and now?", 4);
}

/// A driver that was right when the card was tried out, and is not any more.
#[test]
fn a_card_that_was_tried_out_and_computes_something_else_today_is_caught_at_its_next_start() {
    let Some((folder, app)) = prepared("TROUBLE_DRIVER=1.0") else { return };
    let mut stage = stage(&app);
    let first = tuning(&stage);
    finished(&mut stage, folder.path(), "TROUBLE_DRIVER=1.0", first);
    stage.answer("hello", 4);
    restarted(&mut stage, folder.path(), "TROUBLE_DRIVER=1.0 TROUBLE=wrong");
    the_processor_took_over(&stage, "computes wrong results");
}

#[test]
fn in_the_app_the_processor_takes_over_at_once_where_a_model_does_not_fit_on_the_card() {
    let Some((_folder, app)) = prepared("TROUBLE_BUDGET=100000") else { return };
    the_processor_took_over(&stage(&app), "not enough memory for the model, beside what the desktop is left: ");
}

/// What a graphics library writes at every start is no cause of an end long after.
#[test]
fn a_worker_that_was_killed_while_it_served_has_no_last_words_of_its_start() {
    let Some((_folder, app)) = prepared("TROUBLE_DRIVER=1.0") else { return };
    let stage = stage(&app);
    let worker = stage.worker_now().expect("a worker");
    assert!(std::process::Command::new("kill").args(["-9", &worker.to_string()]).status().unwrap().success());
    let ended = until("its end", || stage.stats().filter(|stats| !stats["worker_last_end"].is_null()));
    assert_eq!(ended["worker_last_end"], "it was killed (signal 9)", "{ended}");
}

#[test]
fn a_model_that_does_not_fit_beside_the_desktop_is_refused_with_both_numbers() {
    let Some((folder, _)) = prepared("TROUBLE_BUDGET=100000") else { return };
    // Of a budget this small nothing is left; the model is refused before anything of it is brought to the card.
    let output = std::process::Command::new(folder.path().join("chrysalis-worker"))
        .args(["generate", "--backend", "wgpu", "--prompt", "hello", "--tokens", "1", "--model"])
        .arg(system_tests::tiny_model())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "it fits");
    let refused = "not enough memory for the model, beside what the desktop is left: ";
    assert!(said.contains(refused) && said.contains("bytes were wanted, there are 0"), "{said}");
    // With a budget that suffices the same driver takes it.
    arrange(folder.path(), "TROUBLE_BUDGET=1000000000000");
    let output = std::process::Command::new(folder.path().join("chrysalis-worker"))
        .args(["generate", "--backend", "wgpu", "--prompt", "hello", "--tokens", "1", "--model"])
        .arg(system_tests::tiny_model())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
