//! The main job: questions answered, every answer covered by a signed payment.

use accounting::{Errand, Outgoing, SignedMessage, Stage, Transfer, TransferId};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use system_tests::{practice_model, program, tiny_model, until};

/// Set by `cargo xtask test`, which installs a driver: then there must be a graphics card, if only a software one.
const GPU_REQUIRED: &str = "CHRYSALIS_REQUIRE_GPU";

/// The practice network's fee in nanotons for one adjusted token, as README says it.
pub(crate) const FEE: u64 = 1_000_000;

#[test]
fn every_answered_job_is_covered_by_a_signed_payment() {
    check(&tiny_model(), 3, "cpu");
}

#[test]
fn practice_runs_on_a_graphics_card_where_there_is_one_and_says_which() {
    let found = program::run("chrysalis-worker", &["adapters", "--json"]);
    let listed: Value = serde_json::from_str(&found.1).unwrap_or_default();
    let adapters = listed["adapters"].as_array().cloned().unwrap_or_default();
    let on_card = |report: &Value| {
        assert!(["wgpu", "cuda"].contains(&report["backend"].as_str().unwrap_or_default()), "{report}");
        assert!(report["adapter"].as_str().is_some_and(|name| !name.is_empty()), "{report}");
    };
    let report = check(&tiny_model(), 3, "auto");
    if adapters.iter().any(|it| it["kind"] != "software" && it["unusable"].is_null()) {
        on_card(&report);
        return;
    }
    // Software that plays a card is slower than the processor, so it is taken only by whoever asks for it.
    if report["backend"] == "cpu" {
        assert!(report["adapter"].is_null(), "{report}");
    } else {
        assert_eq!(report["backend"], "cuda", "{report}");
    }
    if adapters.is_empty() {
        assert!(std::env::var_os(GPU_REQUIRED).is_none(), "no graphics card was found: {report}");
        println!("skipped: no Vulkan adapter; practice ran on the processor and said so");
        return;
    }
    on_card(&check(&tiny_model(), 3, "wgpu"));
}

#[test]
fn the_practice_model_answers_real_questions_and_every_answer_is_paid() {
    match practice_model() {
        Some(model) => drop(check(&model, 3, "cpu")),
        None => println!("skipped: no practice model (run `cargo xtask model`)"),
    }
}

/// Ended in the middle, again and again on the same folder: the exit code says whether everything was signed, the next run begins
/// where the last one ended, and in the end everything is.
#[test]
fn the_exit_code_says_whether_everything_is_signed_and_the_next_run_makes_it_so() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny_model();
    let words = [
        "practice",
        "--json",
        "--backend",
        "cpu",
        "--data",
        folder.path().to_str().unwrap(),
        "--model",
        model.to_str().unwrap(),
    ];
    let answered = || {
        let ledger = ledger::Ledger::open(&folder.path().join("ledger.sqlite"), 0).ok()?;
        Some(ledger.all_time_totals().ok()?.answered)
    };
    for pause in [0, 150, 400] {
        let before = answered().unwrap_or(0);
        let mut app = program::Running::start("chrysalis", &words);
        until("answers", || answered().filter(|now| *now > before + 1));
        app.terminate();
        std::thread::sleep(std::time::Duration::from_millis(pause));
        app.terminate();
        let (status, lines) = app.wait();
        let report: Value = serde_json::from_str(&lines.join("")).expect("one JSON object");
        let owed = report["adjusted_tokens"].as_u64().unwrap() * FEE;
        let signed = report["signed_nanoton"].as_u64().unwrap();
        assert_eq!(status.code(), Some(i32::from(signed != owed)), "{report}\n{}", app.errors());
        assert!(signed <= owed, "{report}");
    }
    let (code, out, errors) = program::run("chrysalis", &[&words[..], &["--jobs", "2"]].concat());
    assert_eq!(code, Some(0), "{out}\n{errors}");
    let answers = ledger::Ledger::open(&folder.path().join("ledger.sqlite"), 0).unwrap();
    let page =
        answers.priced_jobs(ledger::JobFilter { answered: Some(true), ..Default::default() }, None, 200).unwrap();
    let unsigned = page.jobs.iter().filter(|job| job.job.adjusted.total > 0 && job.signed_unix_ms.is_none()).count();
    // Only what was cut off with its network in the middle of a second can be left.
    assert!(unsigned < page.jobs.len() / 2, "{unsigned} of {} are not signed", page.jobs.len());
}

#[test]
fn practice_hears_that_it_should_end_while_it_waits_for_an_earlier_transfer() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny_model();
    let (data, model) = (folder.path().to_str().unwrap(), model.to_str().unwrap());
    let words = ["practice", "--json", "--backend", "cpu", "--data", data, "--model", model];
    let (code, _, errors) = program::run("chrysalis", &[&words[..], &["--jobs", "1"]].concat());
    assert_eq!(code, Some(0), "{errors}");
    // As if a transfer of that run were still under way: nobody takes these bytes, and the chain's clock does not end them.
    let mut ledger = ledger::Ledger::open(&folder.path().join("ledger.sqlite"), 0).unwrap();
    let root = ledger.root_contracts().unwrap()[0];
    let other = ton::Address { workchain: 0, hash: [7; 32] };
    let planned = Transfer {
        id: TransferId(ledger.last_transfer().unwrap().map_or(0, |last| last.0 + 1)),
        payer: other,
        errand: Errand::Send,
        outgoing: Outgoing {
            to: other,
            value: ton::Nanoton(1),
            everything: false,
            bounce: false,
            body: None,
            state_init: None,
        },
        forecast: None,
        stage: Stage::Planned,
        planned_unix_ms: 0,
    };
    ledger.record_transfer(&root, &planned).unwrap();
    let message = SignedMessage { boc: vec![1], hash: [1; 32], seqno: 0, valid_until: u32::MAX - 100 };
    ledger.record_transfer(&root, &Transfer { stage: Stage::Signed(message), ..planned }).unwrap();
    drop(ledger);
    let mut app = program::Running::start("chrysalis", &words);
    app.until_it_says("the chain did not take");
    app.terminate();
    app.until_it_says("Ending:");
    app.terminate();
    app.wait();
    assert!(!app.errors().contains("has not come to its end"), "it waited for the transfer: {}", app.errors());
}

fn check(model: &Path, jobs: i64, backend: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let (data, jobs_text) = (folder.path().to_str().unwrap(), jobs.to_string());
    let model = model.to_str().unwrap();
    let words = ["practice", "--jobs", &jobs_text, "--json", "--data", data, "--model", model, "--backend", backend];
    let (code, out, errors) = program::run("chrysalis", &words);
    assert_eq!(code, Some(0), "{errors}");
    // Everything else goes to standard error.
    let report: Value = serde_json::from_str(&out).expect("one JSON object and nothing besides");
    let keys: BTreeSet<&str> = report.as_object().expect("an object").keys().map(String::as_str).collect();
    let expected = [
        "jobs",
        "failed",
        "prompt_tokens",
        "completion_tokens",
        "adjusted_tokens",
        "signed_nanoton",
        "tokens_per_second",
        "backend",
        "adapter",
        "model",
        "ledger",
        "paid_nanoton",
        "payouts",
        "fees_nanoton",
        "reserve_nanoton",
        "wallet_before",
        "wallet_after",
        "receipts_verified",
    ];
    assert_eq!(keys, BTreeSet::from(expected));
    let number = |key: &str| report[key].as_i64().unwrap_or_else(|| panic!("{key} is not a JSON integer in {report}"));
    assert!(number("jobs") >= jobs, "{report}");
    assert_eq!(number("failed"), 0, "{report}");
    assert!(number("prompt_tokens") > 0 && number("completion_tokens") > 0, "{report}");
    assert_eq!(number("signed_nanoton"), number("adjusted_tokens") * i64::try_from(FEE).unwrap(), "{report}");
    // What came in explains what is in the wallet, to the nanoton, and each payout is proved.
    let has = number("wallet_before") + number("paid_nanoton") - number("fees_nanoton") - number("reserve_nanoton");
    assert_eq!(number("wallet_after"), has, "{report}");
    assert_eq!(number("receipts_verified"), number("payouts"), "{report}");
    // A payout is made if it brings twice what it costs; what is not worth it stays signed.
    if number("signed_nanoton") > 100_000_000 {
        assert_eq!(number("paid_nanoton"), number("signed_nanoton"), "{report}");
    }
    // Practice multipliers and coefficient are 1, so the adjusted count is the plain sum.
    assert_eq!(number("adjusted_tokens"), number("prompt_tokens") + number("completion_tokens"), "{report}");
    assert!(report["tokens_per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{report}");
    if backend == "cpu" {
        assert_eq!(report["backend"], "cpu");
        assert!(report["adapter"].is_null());
    }
    let ledger = report["ledger"].as_str().expect("the ledger's path");
    assert!(Path::new(ledger).exists(), "{ledger}");
    // The ledger says the same as the report.
    let connection = ledger::Ledger::open(Path::new(ledger), 0).expect("the ledger opens");
    let totals = connection.totals_of_latest_session().expect("totals");
    assert_eq!(i64::try_from(totals.answered).unwrap(), number("jobs"));
    assert_eq!(totals.adjusted_tokens, number("adjusted_tokens"));
    report
}
