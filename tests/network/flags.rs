//! What the words of `chrysalis headless` do, seen from outside.

use crate::open::OpenNetwork;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::Path;
use system_tests::books::{Books, Payer};
use system_tests::program::{self, Running};
use system_tests::{ROOT, Setting, Stage, headless_words, http, listed, port, served_as, start_app, tiny_model, until};

#[test]
fn the_coefficient_scales_what_is_announced_billed_and_signed() {
    let coefficient = 2_500;
    let stage = Setting { app_words: &["--coefficient", "2500"], ..Setting::default() }.start();
    assert_eq!(stage.listed().expect("a worker")["coefficient"], coefficient);
    // A customer who does not want to pay as much is told what it costs.
    let mut cheap = stage.chat("hello", 5, false);
    cheap["max_coefficient"] = json!(2_499);
    let refused = http::post(stage.http_port, "/v1/chat/completions", &cheap).unwrap();
    let words = String::from_utf8_lossy(&refused.body).into_owned();
    assert!(refused.status >= 400 && words.contains("2500"), "{}: {words}", refused.status);
    // Odd numbers, so that halves are cut off.
    let answers = [stage.answer("hello", 5), stage.answer("hello again", 7)];
    let count = |answer: &http::Answer, key: &str| answer.usage()[key].as_i64().expect("honest counts");
    let billed = |answer: &http::Answer| {
        count(answer, "prompt_tokens") * coefficient / 1_000 + count(answer, "completion_tokens") * coefficient / 1_000
    };
    let owed: i64 = answers.iter().map(billed).sum();
    let plain: i64 = answers.iter().map(|answer| count(answer, "total_tokens")).sum();
    assert!(owed > 2 * plain, "{owed} for {plain}");
    let book = until("the payment", || {
        let book = Books::read(&stage.ledger());
        (book.signed_tokens() > 0 && book.signed_tokens() == u64::try_from(owed).unwrap()).then_some(book)
    });
    assert_eq!(book.adjusted_tokens(), owed);
    assert!(book.jobs.values().all(|job| i64::from(job.coefficient) == coefficient));
    let payer = Payer::of(&stage);
    assert_eq!(payer.charged, owed);
    assert!(payer.assert_signed_all(&stage.ledger(), "with a coefficient") > 0);
}

#[test]
fn more_jobs_at_once_than_the_owner_allows_are_refused_at_once() {
    let stage = Setting { app_words: &["--max-active", "2"], ..Setting::default() }.start();
    assert_eq!(stage.listed().expect("a worker")["max_running_requests"], 2);
    // Long enough to be under way while a third customer asks, who is told at once.
    let begun = || {
        let body = stage.chat("go on and on", 1_500, true);
        let mut coming = http::begin(stage.http_port, "/v1/chat/completions", &body).unwrap();
        assert_eq!(coming.status, 200);
        coming.piece().unwrap().expect("a first piece");
        coming
    };
    let running = (begun(), begun());
    assert_eq!(stage.listed().expect("a worker")["running_requests"], 2);
    let third = http::post(stage.http_port, "/v1/chat/completions", &stage.chat("me too", 4, false)).unwrap();
    assert_eq!(third.status, 502, "{}", String::from_utf8_lossy(&third.body));
    assert!(third.json()["error"]["message"].as_str().is_some_and(|words| words.contains("no ready workers")));
    // When one of them is over there is room again.
    drop(running);
    until("an answer", || {
        let body = stage.chat("me too", 4, false);
        http::post(stage.http_port, "/v1/chat/completions", &body).ok().filter(|answer| answer.status == 200)
    });
}

/// Starts an app for an open network, with its statistics.
fn start_for(network: &OpenNetwork, folder: &str, more: &[&str]) -> (Running, Value) {
    let model = tiny_model();
    let data = network.folder.path().join(folder);
    let words = [&["--stats", "127.0.0.1:0"], more].concat();
    start_app(&data, &network.network_file, &model, &served_as("test/tiny", &model), &words)
}

/// What the statistics page says about the proxies.
fn ready_proxies(ready: &Value) -> usize {
    let stats = http::get(port(ready, "stats_port"), "/jsonstats").unwrap().json();
    stats["proxies"].as_array().expect("proxies").iter().filter(|proxy| proxy["ready"] == true).count()
}

#[test]
fn with_test_evidence_on_both_sides_jobs_are_served_and_without_it_nobody_is() {
    let both = ["--policy", "fake_tdx", "--evidence", "fake_tdx"];
    let strict = OpenNetwork::new();
    let _proxy = strict.start_proxy(&both);
    let _gateway = strict.start_gateway(&[]);
    // Without evidence the proxy does not let it in; nobody serves the model.
    let (bare, bare_ready) = start_for(&strict, "bare", &["--policy", "fake_tdx"]);
    bare.until_it_says("hung up");
    assert_eq!(ready_proxies(&bare_ready), 0, "{}", bare.errors());
    assert!(listed(strict.web, "test/tiny").is_none(), "a worker without evidence is listed");
    drop(bare);
    // With it, jobs are served.
    let (_app, ready) = start_for(&strict, "app", &both);
    until("a listed worker", || listed(strict.web, "test/tiny"));
    let body = json!({"model": "test/tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4});
    let answer = http::post(strict.web, "/v1/chat/completions", &body).unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(ready_proxies(&ready), 1);

    // The other way round: an app that wants evidence does not work for a proxy that shows none.
    let open = OpenNetwork::new();
    let _proxy = open.start_proxy(&[]);
    let (suspicious, ready) = start_for(&open, "app", &both);
    suspicious.until_it_says("it is not trusted");
    assert_eq!(ready_proxies(&ready), 0, "{}", suspicious.errors());
}

#[test]
fn statistics_are_json_for_this_machine_only() {
    let stage = Stage::start_with(&tiny_model(), &[], &["--stats", "127.0.0.1:0"]);
    stage.answer("hello", 4);
    let stats = until("the job in the statistics", || stage.stats().filter(|stats| stats["jobs"]["answered"] == 1));
    assert_eq!(stats["worker_pid"], json!(stage.worker_now()), "{stats}");
    assert_eq!(stats["worker"], json!({"state": "serving", "enabled": true}), "{stats}");
    assert_eq!(stats["jobs"]["completion_tokens"], 4, "{stats}");
    assert_eq!(stats["model"]["backend"], stage.app_ready["backend"], "{stats}");
    assert_eq!(stats["proxies"][0]["ready"], true, "{stats}");
    let worker_contract = Payer::of(&stage).worker_contract.to_string();
    assert_eq!(stats["proxies"][0]["worker_contract"], worker_contract.as_str(), "{stats}");
    let here = port(&stage.app_ready, "stats_port");
    assert_eq!(http::get(here, "/").unwrap().status, 404);
    assert_eq!(http::post(here, "/jsonstats", &json!({})).unwrap().status, 405);
    let elsewhere = b"GET /jsonstats HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\n\r\n";
    assert_eq!(http::start(here, elsewhere).unwrap().status, 403);
}

#[test]
fn a_statistics_address_that_cannot_be_had_is_refused_by_name() {
    let network = OpenNetwork::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let in_use = taken.local_addr().unwrap();
    let (code, errors) =
        run_headless(&network, &served_as("test/tiny", &tiny_model()), &["--stats", &in_use.to_string()]);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains(&in_use.port().to_string()) && errors.contains("--stats"), "{errors}");
    let (code, errors) = run_headless(&network, &served_as("test/tiny", &tiny_model()), &["--stats", "0.0.0.0:0"]);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("0.0.0.0") && errors.contains("loopback"), "{errors}");
}

/// Runs `chrysalis headless` to its end, which these words must bring.
fn run_headless(network: &OpenNetwork, name: &str, more: &[&str]) -> (Option<i32>, String) {
    let (data, model) = (network.folder.path().join("app"), tiny_model());
    let mut words = headless_words(&data, &network.network_file, &model, name);
    words.extend(more);
    let (code, _, errors) = program::run("chrysalis", &words);
    (code, errors)
}

#[test]
fn a_claim_of_another_hash_is_served_on_test_networks_only() {
    let claim = format!("test/tiny@test:{}", "c".repeat(64));
    // On a test network, and said so.
    let stage = Setting { served_as: Some(claim.clone()), app_words: &["--test-claim"], ..Setting::default() }.start();
    stage.answer("hello", 4);
    assert_eq!(stage.app_ready["served_as"], claim.as_str());
    // There, but not said so.
    let network = OpenNetwork::new();
    let (code, errors) = run_headless(&network, &claim, &[]);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("SHA-256"), "{errors}");
    // Said so, on a network that pays.
    set_is_test(&network.network_file, false);
    let (code, errors) = run_headless(&network, &claim, &["--test-claim"]);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("--test-claim") && errors.contains("is_test"), "{errors}");
}

#[test]
fn a_network_file_without_its_root_needs_the_word_for_it() {
    let network = OpenNetwork::new();
    let _proxy = network.start_proxy(&[]);
    let name = served_as("test/tiny", &tiny_model());
    // The file names its root; another one is a mistake.
    let other = format!("0:{}", "7".repeat(64));
    let (code, errors) = run_headless(&network, &name, &["--root", &other]);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("another root contract"), "{errors}");
    // The file is silent.
    let mut file: Value = serde_json::from_str(&std::fs::read_to_string(&network.network_file).unwrap()).unwrap();
    file.as_object_mut().unwrap().remove("root_contract_address");
    std::fs::write(&network.network_file, file.to_string()).unwrap();
    let (code, errors) = run_headless(&network, &name, &[]);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("--root"), "{errors}");
    let (code, errors) = run_headless(&network, &name, &["--root", "nonsense"]);
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("nonsense") && errors.contains("address"), "{errors}");
    // With the right word the contracts are computed as the proxy computes them, or it would not be connected.
    let (_app, ready) = start_for(&network, "app", &["--root", ROOT]);
    until("the proxy to be connected", || (ready_proxies(&ready) == 1).then_some(()));
}

fn set_is_test(network_file: &Path, is_test: bool) {
    let mut network: Value = serde_json::from_str(&std::fs::read_to_string(network_file).unwrap()).unwrap();
    network["is_test"] = json!(is_test);
    std::fs::write(network_file, network.to_string()).unwrap();
}
