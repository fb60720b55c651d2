use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::app::tiny_model;

fn worker(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_chrysalis-worker")).args(arguments).output().unwrap()
}

fn with_model(check: impl FnOnce(&str)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    std::fs::write(&path, tiny_model()).unwrap();
    check(path.to_str().unwrap());
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

fn check_fails(arguments: &[&str], code: i32, words: &str) {
    let output = worker(arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(complaint.contains(words), "{complaint}");
    assert!(output.stdout.is_empty());
}

#[test]
fn generate_continues_a_raw_text_and_repeats_itself() {
    with_model(|model| {
        let arguments =
            ["generate", "--model", model, "--prompt", "hello", "--tokens", "6", "--temperature", "0", "--json"];
        let first = json(&worker(&arguments));
        assert!(!first["prompt_tokens"].as_array().unwrap().is_empty());
        assert!((1..=6).contains(&first["tokens"].as_array().unwrap().len()));
        assert!(first["text"].is_string());
        assert_eq!(first, json(&worker(&arguments)));
        let plain = worker(&["generate", "--model", model, "--prompt", "hello", "--tokens", "6"]);
        let text = String::from_utf8(plain.stdout).unwrap();
        assert_eq!(text.strip_suffix('\n'), first["text"].as_str());
    });
}

#[test]
fn bench_reports_what_it_measured() {
    with_model(|model| {
        let figures = json(&worker(&[
            "bench",
            "--model",
            model,
            "--backend",
            "cpu",
            "--prompt",
            "8",
            "--generate",
            "4",
            "--threads",
            "1",
            "--json",
        ]));
        assert_eq!(figures["prompt_tokens"], 8);
        assert_eq!(figures["generated_tokens"], 4);
        assert!(figures["prompt_tokens_per_second"].as_f64().unwrap() > 0.0);
        assert!(figures["tokens_per_second"].as_f64().unwrap() > 0.0);
        assert_eq!(figures["backend"], "cpu");
    });
}

#[test]
fn bench_measures_several_requests_at_once_in_several_rounds() {
    with_model(|model| {
        let three = ["--parallel", "3", "--rounds", "2", "--prompt", "40", "--generate", "5", "--threads", "1"];
        let arguments = [&["bench", "--model", model], three.as_slice()].concat();
        let figures = json(&worker(&[arguments.as_slice(), &["--json"]].concat()));
        assert_eq!((&figures["parallel"], &figures["prompt_tokens"]), (&Value::from(3), &Value::from(120)));
        assert_eq!(figures["threads"], 1);
        assert_eq!(figures["generated_tokens"], 15, "answers of the given length, whatever the model thinks");
        let rounds = figures["rounds"].as_array().unwrap();
        assert_eq!(rounds.len(), 2);
        for (round, all) in rounds.iter().map(|round| (round, false)).chain([(&figures, true)]) {
            for spread in ["first_token_seconds", "request_tokens_per_second"] {
                let [least, median, most] = ["min", "median", "max"].map(|part| round[spread][part].as_f64().unwrap());
                assert!(0.0 < least && least <= median && median <= most, "{spread}: {round}");
            }
            // Those that had their first token before the last one did have generated more behind it.
            assert!(all || (4..=12).contains(&round["decoded_tokens"].as_u64().unwrap()), "{round}");
        }
        for rate in ["prompt_tokens_per_second", "tokens_per_second"] {
            let best = figures["best"][rate].as_f64().unwrap();
            let median = figures["median"][rate].as_f64().unwrap();
            assert!(best >= median && median > 0.0 && figures[rate].as_f64() == Some(median), "{rate}");
        }
        assert!(figures["ready_seconds"].as_f64().unwrap() > 0.0);
        assert_eq!(figures["peak_memory_bytes"].is_u64(), cfg!(target_os = "linux"), "unknown is null");
        let text = String::from_utf8(worker(&arguments).stdout).unwrap();
        for words in ["3 at once", "2 rounds", "first token of a request after", "each request"] {
            assert!(text.contains(words), "{text}");
        }
    });
}

#[test]
fn bench_says_how_many_threads_it_took_two_by_default_and_never_more_than_there_are() {
    with_model(|model| {
        let most = std::thread::available_parallelism().unwrap().get();
        for (asked, took) in [(&[][..], most.min(2)), (&["--threads", "60000"], most)] {
            let short = ["bench", "--model", model, "--prompt", "8", "--generate", "2", "--backend", "cpu", "--json"];
            assert_eq!(json(&worker(&[short.as_slice(), asked].concat()))["threads"], took);
            let said = String::from_utf8(worker(&[&short[..9], asked].concat()).stdout).unwrap();
            assert!(said.contains(&format!("backend cpu, threads: {took}\n")), "{said}");
        }
    });
}

#[test]
fn adapters_lists_what_there_is_and_says_which_would_be_chosen() {
    let listed = json(&worker(&["adapters", "--json"]));
    let count = listed["adapters"].as_array().unwrap().len();
    assert!(!listed["why"].as_str().unwrap().is_empty());
    assert_eq!(listed["chosen"].is_u64(), count > 0, "{listed}");
    // Either there are cards or it says why there are none.
    let through_cuda = listed["cuda"]["adapters"].as_array().unwrap().len();
    assert!(through_cuda > 0 || listed["cuda"]["why_not"].as_str().is_some_and(|why| !why.is_empty()), "{listed}");
    let none = json(&worker(&["adapters", "--adapter", "no such card", "--json"]));
    assert!(none["chosen"].is_null() && none["why"].as_str().unwrap().contains("--backend cpu"), "{none}");
    with_model(|model| {
        let wanted = ["generate", "--model", model, "--prompt", "x", "--backend", "wgpu", "--adapter", "no such card"];
        check_fails(&wanted, 3, "--backend cpu");
        if count == 0 {
            println!("skipped: no Vulkan adapter");
            return;
        }
        let arguments = ["bench", "--model", model, "--backend", "wgpu", "--prompt", "8", "--generate", "4", "--json"];
        let figures = json(&worker(&arguments));
        assert_eq!(figures["backend"], "wgpu");
        assert!(figures["adapter"].is_string());
        assert!(figures["dispatches_per_token"].as_u64().unwrap() >= 9);
        assert!(figures["bytes_bound_per_token"].as_u64().unwrap() > 0);
    });
}

#[test]
fn help_is_for_strangers_and_names_the_exit_codes() {
    let output = worker(&["--help"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    for word in ["bench", "generate", "adapters", "tune", "Exit codes", "inherited descriptors"] {
        assert!(text.contains(word), "{word}");
    }
    for command in ["bench", "generate"] {
        let output = worker(&[command, "--help"]);
        assert!(output.status.success());
        let words: Vec<String> =
            String::from_utf8(output.stdout).unwrap().split_whitespace().map(str::to_owned).collect();
        let text = words.join(" ");
        for part in ["--model", "stored is not used", "the card is not tested"] {
            assert!(text.contains(part), "{command}: {text}");
        }
    }
}

#[test]
fn wrong_usage_and_failures_have_codes_of_their_own() {
    check_fails(&["frobnicate"], 2, "frobnicate");
    check_fails(&["generate", "--prompt", "x"], 2, "--model");
    check_fails(&["bench", "--model", "x", "--backend", "abacus"], 2, "abacus");
    check_fails(&["generate", "--model", "/nowhere.gguf", "--prompt", "x"], 1, "/nowhere.gguf");
    let folder = tempfile::tempdir().unwrap();
    let complaint = worker(&["bench", "--model", folder.path().to_str().unwrap()]).stderr;
    let complaint = String::from_utf8(complaint).unwrap();
    assert_eq!(complaint.matches("os error").count(), 1, "{complaint}");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    check_fails(&["generate", "--model", manifest.to_str().unwrap(), "--prompt", "x"], 1, "cannot use the model");
    with_model(|model| {
        check_fails(&["generate", "--model", model, "--prompt", "x", "--tokens", "4000000"], 1, "context");
        check_fails(&["bench", "--model", model, "--prompt", "0"], 2, "--prompt");
        check_fails(&["bench", "--model", model, "--generate", "1"], 2, "--generate");
        check_fails(&["bench", "--model", model, "--parallel", "0"], 2, "--parallel");
        check_fails(&["bench", "--model", model, "--rounds", "0"], 2, "--rounds");
        check_fails(&["generate", "--model", model, "--prompt", "x", "--temperature", "3"], 2, "0 to 2");
        check_fails(&["generate", "--model", model, "--prompt", "x", "--threads", "0"], 2, "--threads");
    });
}

#[test]
fn without_the_app_s_pipe_it_says_where_it_belongs() {
    check_fails(&[], 2, "--help");
}
