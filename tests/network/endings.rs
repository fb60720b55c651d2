//! How programs end that were told to, or can't go on: at once, with a sentence, and nothing of them left.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use system_tests::program::{self, Running};
use system_tests::registrar::Registrar;
use system_tests::tpm::Simulator;
use system_tests::{Stage, headless_words, served_as, tiny_model, until};

use crate::open::OpenNetwork;

/// Long for what is to happen at once; other tests may have the processor.
const AT_ONCE: Duration = Duration::from_secs(20);

/// So many answers are worth fetching.
const ENOUGH: u64 = 10;

fn practice_words<'a>(data: &'a Path, model: &'a Path) -> Vec<&'a str> {
    let (data, model) = (data.to_str().unwrap(), model.to_str().unwrap());
    vec!["practice", "--json", "--backend", "cpu", "--data", data, "--model", model]
}

fn answered(data: &Path) -> Option<u64> {
    let path = program::find_file(data, "ledger.sqlite")?;
    let totals = ledger::Ledger::open(&path, 0).ok()?.all_time_totals().ok()?;
    (totals.answered >= ENOUGH).then_some(totals.answered)
}

#[test]
fn a_ctrl_c_in_the_terminal_ends_practice_with_everything_paid_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny_model();
    let mut app = Running::start_in_the_foreground("chrysalis", &practice_words(folder.path(), &model));
    until("answers in the ledger", || answered(folder.path()));
    app.interrupt_all();
    let (status, lines) = app.wait();
    assert_eq!(status.code(), Some(0), "{}", app.errors());
    let report: Value = serde_json::from_str(lines.last().expect("a report")).unwrap();
    let number = |field: &str| report[field].as_u64().unwrap_or_default();
    assert!(number("jobs") >= ENOUGH && number("paid_nanoton") > 0, "{report}");
    assert_eq!(number("signed_nanoton"), number("adjusted_tokens") * crate::practice::FEE, "{report}");
    assert_eq!(report["receipts_verified"], report["payouts"], "{report}");
    assert!(!app.errors().contains("ended by itself"), "{}", app.errors());
}

#[test]
fn a_ctrl_c_in_the_terminal_ends_headless_and_its_box_was_told_before() {
    let stage = Stage::start();
    let data = stage.folder.path().join("second");
    let (model, name) = (tiny_model(), served_as("test/second", &tiny_model()));
    let mut words = headless_words(&data, &stage.network_file, &model, &name);
    words.extend(["--backend", "cpu"]);
    let mut app = Running::start_in_the_foreground("chrysalis", &words);
    app.ready();
    app.until_it_says("the worker's box: closed by the kernel's word against");
    app.interrupt_all();
    assert_eq!(app.wait().0.code(), Some(0), "{}", app.errors());
}

/// The shipped programs in a folder of their own, with another worker. The app's path.
fn with_worker(folder: &Path, worker: &[u8], mode: u32) -> PathBuf {
    for name in ["chrysalis", "chrysalis-network"] {
        std::fs::copy(program::path(name), folder.join(name)).unwrap();
    }
    let path = folder.join("chrysalis-worker");
    std::fs::write(&path, worker).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    folder.join("chrysalis")
}

#[test]
fn a_worker_program_that_is_none_ends_practice_with_what_helps() {
    let another = std::fs::read("/bin/true").unwrap();
    for (worker, mode, said) in [
        (&another[..], 0o755, "does not answer as chrysalis-worker does"),
        (b"this is no program".as_slice(), 0o755, "started 3 times in vain"),
        (&another, 0o644, "mark it as a program (chmod +x)"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let app = with_worker(folder.path(), worker, mode);
        let (data, model) = (folder.path().join("data"), tiny_model());
        let mut words = practice_words(&data, &model);
        words.retain(|word| !["--backend", "cpu"].contains(word));
        let mut app = Running::start(app.to_str().unwrap(), &words);
        let (status, _) = app.wait();
        let errors = app.errors();
        assert_eq!(status.code(), Some(1), "{errors}");
        let last = errors.lines().last().unwrap();
        assert!(last.contains(said) && last.to_lowercase().contains("install chrysalis anew"), "{errors}");
        // Nothing was used that could have failed, and nothing ran that could have crashed.
        assert!(!errors.contains("the processor takes over") && !errors.contains("crashed"), "{errors}");
    }
}

#[test]
fn a_machine_that_is_no_guest_shows_no_report_and_does_not_start() {
    let stage = Stage::start();
    let data = stage.folder.path().join("second");
    let (model, name) = (tiny_model(), served_as("test/second", &tiny_model()));
    let words = headless_words(&data, &stage.network_file, &model, &name);
    for (more, code, said) in [
        (&["--shows", "processor"][..], 1, "not a machine inside an isolated processor"),
        (&["--own-collateral", "statements.json"], 2, "--own-collateral belongs to --shows processor"),
        (&["--shows", "processor", "--tpm", "/dev/null"], 2, "--tpm belongs to --shows tpm"),
    ] {
        if code == 1 && Path::new("/sys/kernel/config/tsm/report").is_dir() {
            continue;
        }
        let (ended, _, errors) = program::run("chrysalis", &[&words[..], more].concat());
        assert!(ended == Some(code) && errors.contains(said), "{more:?}: {errors}");
    }
}

#[test]
fn a_file_that_never_ends_or_never_begins_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let pipe = pipe.to_str().unwrap();
    for words in [
        ["doctor", "--network", "/dev/zero"],
        ["doctor", "--network", pipe],
        ["verify", pipe, "--json"],
        ["verify", "/dev/zero", "--json"],
    ] {
        let begin = Instant::now();
        let (code, _, errors) = program::run("chrysalis", &words);
        assert_eq!(code, Some(1), "{words:?}: {errors}");
        assert!(errors.contains("no ordinary file") || errors.contains("longer than"), "{errors}");
        assert!(begin.elapsed() < AT_ONCE, "{words:?}");
    }
}

#[test]
fn doctor_says_what_is_wrong_with_what_it_was_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let (code, _, errors) = program::run("chrysalis", &["doctor", "--data", "/nonexistent"]);
    assert!(code == Some(1) && errors.contains("there is no folder /nonexistent"), "{errors}");
    std::fs::create_dir(folder.path().join("identity")).unwrap();
    std::fs::write(folder.path().join("identity/registrar.json"), "nonsense").unwrap();
    let (code, _, errors) = program::run("chrysalis", &["doctor", "--data", data]);
    assert!(code == Some(1) && errors.contains("identity forget"), "{errors}");
    let file = folder.path().join("net\u{1b}[2Jwork.json");
    for (said, why) in [
        ("{}", "no network's file"),
        (r#"{"root_contract_address":"x","evidense":{"accepted":["known-machine"]}}"#, "is evidence meant?"),
        (r#"{"evidence":null}"#, "evidence is null"),
        (r#"{"evidence":{"accepted":[]}}"#, "accepted is empty"),
    ] {
        std::fs::write(&file, said).unwrap();
        let (code, _, errors) = program::run("chrysalis", &["doctor", "--network", file.to_str().unwrap()]);
        assert!(code == Some(1) && errors.contains(why) && !errors.contains('\u{1b}'), "{errors}");
    }
    std::fs::write(&file, r#"{"evidence":{"accepted":["self-claim"]}}"#).unwrap();
    let (code, out, errors) = program::run("chrysalis", &["doctor", "--network", file.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(out.contains("net[2Jwork.json") && !out.contains('\u{1b}'), "{out}");
}

#[test]
fn whoever_has_read_enough_of_what_a_command_prints_is_told_nothing_more() {
    let mut command = Command::new(program::path("chrysalis"));
    let mut child = command.arg("doctor").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn practice_whose_report_nobody_reads_any_more_ends_as_when_it_is_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny_model();
    let app = program::path("chrysalis");
    let mut words = vec!["-c", "set -o pipefail; \"$@\" | head -n 1", "bash", app.to_str().unwrap()];
    words.extend(practice_words(folder.path(), &model).into_iter().filter(|word| *word != "--json"));
    let mut app = Running::start("/bin/bash", &words);
    let (status, lines) = app.wait();
    assert_eq!(status.code(), Some(0), "{}", app.errors());
    assert!(lines.len() == 1 && lines[0].contains("The money is worth nothing"), "{lines:?}");
    assert!(!app.errors().contains("pipe"), "{}", app.errors());
}

#[test]
fn an_address_that_is_none_is_named_before_anything_begins() {
    for (words, option) in [
        (&["wallet", "collect", "--data", "/nonexistent", "--owner", "EQwrong"][..], "--owner"),
        (&["wallet", "take-back", "--data", "/nonexistent", "--root", "0:12"], "--root"),
    ] {
        let (code, _, errors) = program::run("chrysalis", words);
        assert!(code == Some(2) && errors.contains(option) && errors.contains("no TON address"), "{errors}");
    }
}

#[test]
fn a_proxy_says_what_it_demands_and_does_not_start_with_what_nobody_can_mean() {
    let open = OpenNetwork::new();
    open.start_proxy(&[]).until_it_says("demands of workers: none");
    let write = |name: &str, said: Value| {
        let path = open.folder.path().join("proxy.json");
        let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let fields = config.as_object_mut().unwrap();
        fields.retain(|field, _| !field.to_lowercase().starts_with("eviden"));
        fields.insert(name.to_owned(), said);
        std::fs::write(&path, config.to_string()).unwrap();
    };
    let key = "0b".repeat(32);
    let known = json!({"accepted": ["known-machine"], "registrars": [{"endpoint": "a.example:1", "key": key}]});
    write("evidence", known.clone());
    let words = format!("demands of workers: known-machine, by the registrar a.example:1 with the key {key}");
    open.start_proxy(&[]).until_it_says(&words);
    write("evidence", json!({"accepted": ["hardware-isolated"]}));
    open.start_proxy(&[]).until_it_says("so nobody gets a job");
    let path = |name: &str| open.folder.path().join(name).to_str().unwrap().to_owned();
    let (config, data, network) = (path("proxy.json"), path("proxy"), path("network.json"));
    for (name, said, why) in [
        ("Evidence", known.clone(), "is evidence meant?"),
        ("evidense", known, "is evidence meant?"),
        ("evidence", Value::Null, "evidence is null"),
        ("evidence", json!({"accepted": []}), "accepted is empty"),
        (
            "evidence",
            json!({"accepted": ["known-machine"], "registrars": [{"endpoint": "x", "key": key}]}),
            "HOST:PORT",
        ),
    ] {
        write(name, said);
        let words = ["proxy", "--config", &config, "--network", &network, "--data", &data];
        let (code, _, errors) = program::run("chrysalis-network", &words);
        assert!(code == Some(1) && errors.contains(why) && errors.contains("proxy.json"), "{errors}");
    }
}

#[test]
fn the_network_file_of_the_manual_is_taken_as_it_stands_there() {
    let manual = std::fs::read_to_string(system_tests::root().join("src-tauri/docs/networks.md")).unwrap();
    let (_, after) = manual.split_once("## A network's file").unwrap();
    let (_, example) = after.split_once("```json\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.json");
    std::fs::write(&path, example).unwrap();
    let network = network::config::Network::read(&path, "").ok().unwrap();
    assert_eq!(network.root.registered_proxies.len(), 1);
    assert_eq!(network.evidence.unwrap().shut_out(), None);
    let (code, out, errors) = program::run("chrysalis", &["doctor", "--network", path.to_str().unwrap()]);
    assert!(code == Some(0) && out.contains("The network of"), "{errors}");
}

#[test]
fn a_registrar_does_not_start_with_a_root_that_is_no_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root.pem");
    let data = folder.path().join("registrar");
    for said in ["garbage", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"] {
        std::fs::write(&root, said).unwrap();
        let words = ["registrar", "--data", data.to_str().unwrap(), "--tpm-root", root.to_str().unwrap()];
        let (code, _, errors) = program::run("chrysalis-network", &words);
        assert!(code == Some(1) && errors.contains("root.pem is no certificate in DER"), "{errors}");
    }
}

#[test]
fn an_agreement_says_whether_anybody_was_asked_and_keeps_nothing_of_another_registrars() {
    let tpm = Simulator::certified();
    let folder = tempfile::tempdir().unwrap();
    let registrar = Registrar::start(folder.path(), &[&tpm]);
    let data = folder.path().join("app");
    let proxy = "22".repeat(32);
    let run = |registrar: &Registrar, more: &[&str]| {
        let words = registrar.words(&data, &tpm, more);
        program::run("chrysalis", &words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let shown = || {
        let (_, out, _) = program::run("chrysalis", &["identity", "show", "--data", data.to_str().unwrap()]);
        serde_json::from_str::<Value>(&out).unwrap()
    };
    let said = registrar.enrol(&data, &tpm, &["--yes", "--proxy", &proxy]);
    assert_eq!((&said["contacted"], shown()["statements"].as_array().unwrap().len()), (&json!(true), 1));
    // Another one, who is not asked for anything yet.
    let address = registrar.address.clone();
    let other = registrar.called("registrar.example:4420", &"11".repeat(32));
    let (code, out, errors) = run(&other, &["--yes"]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(
        errors.contains("Nobody was contacted") && errors.contains(&format!("agreement with {address}")),
        "{errors}"
    );
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["contacted"], false);
    assert_eq!((&shown()["registrar"], &shown()["statements"]), (&json!("registrar.example:4420"), &json!([])));
    // What names nobody is not agreed to.
    let (code, _, errors) = run(&other.called("nohost", &"11".repeat(32)), &["--yes"]);
    assert!(code == Some(2) && errors.contains("HOST:PORT"), "{errors}");
    assert_eq!(shown()["registrar"], "registrar.example:4420");
    let forget = || program::run("chrysalis", &["identity", "forget", "--data", data.to_str().unwrap()]);
    assert!(forget().1.contains("Forgotten"));
    assert!(forget().1.contains("nothing to forget"));
}
