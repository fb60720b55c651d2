//! Wrong input at the command line: a sentence that says what to do, and the documented exit code.

use std::net::TcpListener;
use system_tests::{OWNER, program, served_as, tiny_model};

#[test]
fn every_program_explains_itself() {
    for (name, words) in [
        ("chrysalis", vec!["--help"]),
        ("chrysalis", vec!["practice", "--help"]),
        ("chrysalis", vec!["headless", "--help"]),
        ("chrysalis", vec!["doctor", "--help"]),
        ("chrysalis", vec!["verify", "--help"]),
        ("chrysalis", vec!["wallet", "--help"]),
        ("chrysalis", vec!["wallet", "send", "--help"]),
        ("chrysalis", vec!["verify-release", "--help"]),
        ("chrysalis-worker", vec!["--help"]),
        ("chrysalis-worker", vec!["bench", "--help"]),
        ("chrysalis-worker", vec!["generate", "--help"]),
        ("chrysalis-network", vec!["--help"]),
        ("chrysalis-network", vec!["proxy", "--help"]),
        ("chrysalis-network", vec!["gateway", "--help"]),
        ("chrysalis-network", vec!["practice", "--help"]),
        ("chrysalis-network", vec!["registrar", "--help"]),
        ("chrysalis", vec!["identity", "--help"]),
        ("chrysalis", vec!["identity", "enrol", "--help"]),
        ("chrysalis", vec!["identity", "proof", "--help"]),
    ] {
        let (code, out, errors) = program::run(name, &words);
        assert_eq!(code, Some(0), "{name} {words:?}: {errors}");
        assert!(out.len() > 200, "{name} {words:?} says only: {out}");
    }
    for name in ["chrysalis", "chrysalis-worker", "chrysalis-network"] {
        let (_, out, _) = program::run(name, &["--help"]);
        assert!(out.to_lowercase().contains("exit code"), "{name} --help names no exit codes:\n{out}");
    }
}

#[test]
fn wrong_words_end_with_code_2() {
    for (name, words) in [
        ("chrysalis", vec!["--nonsense"]),
        ("chrysalis", vec!["practice", "--jobs", "many"]),
        ("chrysalis", vec!["headless"]),
        ("chrysalis", vec!["verify"]),
        ("chrysalis", vec!["doctor", "--network"]),
        ("chrysalis-worker", vec!["generate"]),
        ("chrysalis-network", vec!["proxy"]),
    ] {
        let (code, _, errors) = program::run(name, &words);
        assert_eq!(code, Some(2), "{name} {words:?}");
        assert!(!errors.is_empty(), "{name} {words:?} says nothing");
    }
}

#[test]
fn a_window_without_a_display_ends_with_a_sentence() {
    let mut command = std::process::Command::new(program::path("chrysalis"));
    command
        .args(["window", "--data", "."])
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .stdin(std::process::Stdio::null());
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("is there a display?") && !errors.contains("panicked"), "{errors}");
}

#[test]
fn detect_prints_one_json_object_in_which_the_unknown_is_null() {
    let (code, out, errors) = program::run("chrysalis", &["detect", "--json"]);
    assert_eq!(code, Some(0), "{errors}");
    let report: serde_json::Value = serde_json::from_str(&out).expect("one JSON object and nothing besides");
    let machine = &report["machine"];
    assert!(machine["threads"].as_u64().is_some_and(|threads| threads > 0), "{report}");
    assert!(machine["memory_total"].as_u64().is_some_and(|bytes| bytes > 1 << 28), "{report}");
    for card in report["cards"].as_array().expect("a list") {
        assert!(card["name"].is_string() || card["name"].is_null(), "{card}");
        // 0 degrees and 0 bytes are what unknown readings look like where nobody took care.
        assert_ne!(card["vram_total"], 0, "{card}");
    }
    let networks = &report["networks"];
    assert_eq!(networks["practice"], true);
    assert!(networks["cocoon_main"].is_boolean() && networks["cocoon_main_text"].is_string(), "{report}");
    let (code, text, _) = program::run("chrysalis", &["detect"]);
    assert_eq!(code, Some(0));
    assert!(text.contains("Cocoon's main network takes only machines with Intel TDX"), "{text}");
}

/// A log that is not there yet.
struct Nothing;

impl releases::Files for Nothing {
    fn read(&self, _: &str, _: usize) -> Result<Option<Vec<u8>>, releases::FileError> {
        Ok(None)
    }
}

/// The log that a first release makes, in memory.
struct Released(releases::Growth);

impl releases::Files for Released {
    fn read(&self, path: &str, _: usize) -> Result<Option<Vec<u8>>, releases::FileError> {
        if path == releases::CHECKPOINT {
            return Ok(Some(self.0.checkpoint.note().as_bytes().to_vec()));
        }
        Ok(self.0.files.iter().find(|file| file.path == path).map(|file| file.bytes.clone()))
    }
}

#[test]
fn a_released_program_is_known_by_the_proof_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let worker = folder.path().join(format!("chrysalis-worker{}", std::env::consts::EXE_SUFFIX));
    std::fs::copy(program::path("chrysalis-worker"), &worker).unwrap();
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).unwrap();
    let signer = releases::SignerKey::from_seed("log.example/chrysalis", &seed).unwrap();
    let measured = releases::Measured::of(&mut std::fs::File::open(&worker).unwrap()).unwrap();
    let entry = releases::Entry {
        version: "0.1.0".parse().unwrap(),
        platform: releases::Platform::Linux,
        program: releases::Program::Worker,
        bytes: measured.bytes,
        sha256: measured.sha256,
    };
    let log = Released(releases::append(&Nothing, &signer, &[entry], None).unwrap());
    let proof = releases::Log::open(&log, signer.verifier()).unwrap().proof(0).unwrap().to_text();
    let key = signer.verifier().to_text();
    let asked = |more: &[&str]| {
        let words = [&["verify-release", worker.to_str().unwrap(), "--json"], more].concat();
        let (code, out, errors) = program::run("chrysalis", &words);
        let said: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("no JSON: {out} {errors}"));
        assert_eq!(said["sha256"], hex::encode(measured.sha256), "{said}");
        assert!(code == Some(0) || errors.contains(said["text"].as_str().unwrap()), "{errors}");
        (code, said["standing"].as_str().unwrap().to_owned(), said)
    };
    let (code, standing, _) = asked(&["--key", &key]);
    assert_eq!((code, standing.as_str()), (Some(1), "not_logged"));
    let mut beside = worker.clone().into_os_string();
    beside.push(".tlog-proof");
    std::fs::write(&beside, &proof).unwrap();
    let (code, standing, said) = asked(&["--key", &key]);
    assert_eq!((code, standing.as_str()), (Some(0), "logged"), "{said}");
    assert_eq!(
        (&said["log"], &said["version"], &said["size"]),
        (&"log.example/chrysalis".into(), &"0.1.0".into(), &1.into())
    );
    // Nobody's word counts but the named key's, or that of the key that is built in as soon as there is one.
    let (code, standing, said) = asked(&[]);
    assert!(code == Some(1) && ["no_log_yet", "broken_proof"].contains(&standing.as_str()), "{said}");
    assert!(said["version"].is_null() && said["log"].is_null(), "{said}");
    let other = "log.example/releases+d0b43fe4+AVwuGkn6tYeeUa7kToxp+V7IxAZhlo5DHbZ94QbWzx7x";
    let (code, standing, _) = asked(&["--key", other]);
    assert_eq!((code, standing.as_str()), (Some(1), "broken_proof"));
    let (code, _, errors) = program::run("chrysalis", &["verify-release", "--key", "nonsense"]);
    assert!(code == Some(2) && errors.contains("name+id+key"), "{errors}");
    // The genuine worker goes by in plain words; the app in its place does not.
    let (code, out, _) = program::run("chrysalis", &["verify-release", worker.to_str().unwrap(), "--key", &key]);
    assert!(code == Some(0) && out.contains("released: chrysalis-worker 0.1.0"), "{out}");
    let app = folder.path().join(format!("chrysalis{}", std::env::consts::EXE_SUFFIX));
    std::fs::rename(&worker, &app).unwrap();
    let words = ["verify-release", app.to_str().unwrap(), "--proof", beside.to_str().unwrap(), "--key", &key];
    let (code, _, errors) = program::run("chrysalis", &words);
    assert!(code == Some(1) && errors.contains("not this file: its proof is about chrysalis-worker"), "{errors}");
}

#[test]
fn doctor_says_what_this_pc_can_prove_and_what_each_network_misses() {
    let folder = tempfile::tempdir().unwrap();
    let strict = folder.path().join("strict.json");
    let key = "0b".repeat(32);
    let text = format!(
        r#"{{"evidence":{{"accepted":["known-machine"],"require_secure_boot":true,"registrars":[{{"key":"{key}"}}]}}}}"#
    );
    std::fs::write(&strict, text).unwrap();
    let strict = strict.to_str().unwrap();
    let (code, out, errors) = program::run("chrysalis", &["doctor", "--json", "--network", strict]);
    assert_eq!(code, Some(0), "{errors}");
    let report: serde_json::Value = serde_json::from_str(&out).expect("one JSON object and nothing besides");
    // What it found out has the form in which the described PCs are written down, so it could be one of them.
    let facts: node::doctor::Facts =
        serde_json::from_value(report["facts"].clone()).expect("the form of the described PCs");
    let networks = report["networks"].as_array().expect("a list");
    let names: Vec<_> = networks.iter().map(|network| network["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["practice", "open_anybody", "open_known", "open_certified", "cocoon_main", strict]);
    let terms = node::doctor::stated(&std::fs::read_to_string(strict).unwrap()).unwrap().unwrap();
    let demand = node::doctor::demand(&terms);
    let (answer, missing) = node::doctor::examine(&facts, &demand);
    assert_eq!(networks[5]["answer"], answer.name(), "{report}");
    assert_eq!(networks[5]["missing"].as_str(), missing.map(node::doctor::Missing::name), "{report}");
    // No PC is registered at a registrar that is nobody's.
    assert_ne!(networks[5]["answer"], "yes");
    assert_ne!(networks[4]["answer"], "yes", "{report}");
    let (code, text, _) = program::run("chrysalis", &["doctor"]);
    assert_eq!(code, Some(0));
    for expected in
        ["security chip", "Secure Boot", "Not verified", "Which networks would take it", "Cocoon's main network: no"]
    {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    let wrong = folder.path().join("wrong.json");
    std::fs::write(&wrong, r#"{"evidence":{"accepted":["measured-image"]}}"#).unwrap();
    for path in [wrong.to_str().unwrap(), "/nowhere/network.json"] {
        let (code, out, errors) = program::run("chrysalis", &["doctor", "--network", path]);
        assert_eq!(code, Some(1), "{errors}");
        assert!(errors.contains(path) && out.is_empty(), "{errors}");
    }
}

#[test]
fn verify_says_what_a_proof_proves_and_ends_with_its_code() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proof.json");
    let path = file.to_str().unwrap();
    let proof = |claimed: &str| {
        // Evidence that claims nothing: its head, version and kind.
        format!(
            r#"{{"chrysalis_proof":1,"made_at":1790000000,"app":"0.1.0","claimed":"{claimed}","shown":{{"evidence":"{}","nonce":"{}","tls_key":"{}","audience":"{}","at":1790000000}},"files":[{{"what":"worker","name":"0.1.0\\u001b[2J","measured":"ab","expected":null}}],"walls":null}}"#,
            hex::encode(evidence::Evidence::SelfClaim.encode()),
            "01".repeat(32),
            "02".repeat(32),
            "03".repeat(32),
        )
    };
    std::fs::write(&file, proof("self-claim")).unwrap();
    let (code, out, errors) = program::run("chrysalis", &["verify", path]);
    assert_eq!(code, Some(0), "{errors}");
    for expected in [
        "It claims: Not verified",
        "The owner of this computer can read and change everything",
        "a file can be shown again later",
    ] {
        assert!(out.contains(expected), "{expected} is not in\n{out}");
    }
    assert!(!out.contains('\u{1b}'), "a stranger's words reach the terminal as they are");
    let (code, out, _) = program::run("chrysalis", &["verify", path, "--json", "--nonce", &"01".repeat(32)]);
    let found: serde_json::Value = serde_json::from_str(&out).expect("one JSON object and nothing besides");
    assert_eq!(
        (code, &found["as_claimed"], &found["proved"], &found["fresh"]),
        (Some(0), &true.into(), &"self-claim".into(), &true.into())
    );
    let (code, _, errors) = program::run("chrysalis", &["verify", path, "--nonce", &"09".repeat(32)]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("another question"), "{errors}");
    // The same evidence under a name it does not deserve.
    std::fs::write(&file, proof("known-machine")).unwrap();
    let (code, out, errors) = program::run("chrysalis", &["verify", path]);
    assert_eq!(code, Some(1), "{out}");
    assert!(errors.contains("the proof claims known-machine and proves self-claim"), "{errors}");
    assert!(!errors.contains("struct") && out.contains("What it proves"), "{errors}\n{out}");
    for (text, expected) in [
        ("", "no proof of Chrysalis"),
        ("[[[[[", "no proof of Chrysalis"),
        (&*proof("measured-image"), "measured-image"),
    ] {
        std::fs::write(&file, text).unwrap();
        let (code, out, errors) = program::run("chrysalis", &["verify", path]);
        assert_eq!(code, Some(1), "{errors}");
        assert!(errors.contains(expected) && out.is_empty() && !errors.contains("panicked"), "{errors}");
    }
    std::fs::write(&file, vec![b' '; 4 << 20]).unwrap();
    let (code, _, errors) = program::run("chrysalis", &["verify", path]);
    assert!(code == Some(1) && errors.contains("longer than"), "{errors}");
    let (code, _, errors) = program::run("chrysalis", &["verify", "/nowhere/proof.json"]);
    assert!(code == Some(1) && errors.contains("/nowhere/proof.json"), "{errors}");
    let (code, _, errors) = program::run("chrysalis", &["verify", path, "--registrar", "abc"]);
    assert!(code == Some(2) && errors.contains("64 hexadecimal digits"), "{errors}");
}

#[test]
fn a_model_file_with_another_hash_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let network = network_file(folder.path(), 1);
    let model = tiny_model();
    let wrong = format!("test/tiny@test:{}", "0".repeat(64));
    let (code, errors) = headless(folder.path(), &network, model.to_str().unwrap(), &wrong, OWNER);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("SHA-256") || errors.contains("hash"), "{errors}");
}

#[test]
fn a_file_that_is_no_model_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let network = network_file(folder.path(), 1);
    let fake = folder.path().join("fake.gguf");
    std::fs::write(&fake, b"this is not a model").unwrap();
    let name = served_as("test/fake", &fake);
    let (code, errors) = headless(folder.path(), &network, fake.to_str().unwrap(), &name, OWNER);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.to_lowercase().contains("gguf") || errors.contains("model"), "{errors}");
}

#[test]
fn a_missing_model_network_file_or_owner_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let network = network_file(folder.path(), 1);
    let model = tiny_model();
    let name = served_as("test/tiny", &model);
    let (code, errors) = headless(folder.path(), &network, "/nowhere/model.gguf", &name, OWNER);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("/nowhere/model.gguf"), "{errors}");
    let (code, errors) = headless(folder.path(), "/nowhere/network.json", model.to_str().unwrap(), &name, OWNER);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("/nowhere/network.json"), "{errors}");
    let (code, errors) = headless(folder.path(), &network, model.to_str().unwrap(), &name, "not-an-address");
    assert!(code == Some(1) || code == Some(2), "{errors}");
    assert!(errors.to_lowercase().contains("address"), "{errors}");
}

#[test]
fn a_port_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let network = network_file(folder.path(), port);
    let config = folder.path().join("proxy.json");
    std::fs::write(&config, proxy_config(port)).unwrap();
    let data = folder.path().join("proxy-data");
    let words =
        ["proxy", "--config", config.to_str().unwrap(), "--network", &network, "--data", data.to_str().unwrap()];
    let (code, _, errors) = program::run("chrysalis-network", &words);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains(&port.to_string()), "{errors}");
    assert!(errors.contains("in use"), "{errors}");
}

#[test]
fn generate_prints_the_tokens_of_a_raw_completion() {
    let model = tiny_model();
    let words = [
        "generate",
        "--model",
        model.to_str().unwrap(),
        "--prompt",
        "hello",
        "--tokens",
        "5",
        "--temperature",
        "0",
        "--json",
    ];
    let (code, out, errors) = program::run("chrysalis-worker", &words);
    assert_eq!(code, Some(0), "{errors}");
    let report: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert!(report["prompt_tokens"].as_array().is_some_and(|tokens| !tokens.is_empty()), "{report}");
    assert!(report["tokens"].as_array().is_some_and(|tokens| !tokens.is_empty() && tokens.len() <= 5), "{report}");
    assert!(report["text"].is_string());
    let again = program::run("chrysalis-worker", &words).1;
    assert_eq!(out, again, "greedy tokens are the same every time");
}

fn headless(folder: &std::path::Path, network: &str, model: &str, name: &str, owner: &str) -> (Option<i32>, String) {
    let data = folder.join("data");
    let words = [
        "headless",
        "--data",
        data.to_str().unwrap(),
        "--network",
        network,
        "--model",
        model,
        "--served-as",
        name,
        "--owner",
        owner,
    ];
    let (code, _, errors) = program::run("chrysalis", &words);
    (code, errors)
}

/// A proxy's configuration with the field names of the genuine programs.
pub(crate) fn proxy_config(workers_port: u16) -> String {
    format!(
        r#"{{"is_test":1,"is_testnet":false,"http_port":0,"workers_rpc_port":{workers_port},"client_rpc_port":"0",
            "owner_address":"{OWNER}","root_contract_address":"{}","machine_specific_private_key":"{KEY}","node_wallet_key":"{KEY}",
            "image_hash":"ProxyProxyProxyProxyProxyProxyProxyProxyPro="}}"#,
        system_tests::ROOT
    )
}

/// The published test key of the one-machine set-up.
pub(crate) const KEY: &str = "ml+7xELuOQtfp9q9mSWtHiSWx5aSBV6p3xCfwPmHOwY=";

fn network_file(folder: &std::path::Path, workers_port: u16) -> String {
    let path = folder.join("network.json");
    std::fs::write(&path, network_json(workers_port, workers_port)).unwrap();
    path.to_string_lossy().into_owned()
}

/// A network's root configuration in its JSON form.
pub(crate) fn network_json(workers_port: u16, clients_port: u16) -> String {
    format!(
        r#"{{"proxy_hashes":[],"worker_hashes":[],"model_hashes":[],"model_types":[],
            "registered_proxies":[{{"seqno":1,"address":"127.0.0.1:{workers_port} 127.0.0.1:{clients_port}"}}],
            "price_per_token":2,"worker_fee_per_token":1,"last_proxy_seqno":1,"version":3,"params_version":1,
            "proxy_sc_code":"","worker_sc_code":"","client_sc_code":"","root_owner_address":"{OWNER}",
            "root_contract_address":"{}"}}"#,
        system_tests::ROOT
    )
}
