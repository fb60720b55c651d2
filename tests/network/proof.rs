//! Proxies that demand proof, a registrar, and TPMs: real programs, with TPMs in software.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evidence::{Binding, Evidence};
use network::config::Network;
use network::wire::Wire;
use protocol::evidence::Standing;
use protocol::worker::{Action, Config, Session};
use protocol::{Now, Randomness};
use ratls::{Identity, Policy};
use serde_json::{Value, json};
use system_tests::program::{self, Running};
use system_tests::tpm::Simulator;
use system_tests::{OWNER, http, listed, port, served_as, start_app, tiny_model, until};
use tpm::{Socket, Tpm};

use crate::open::OpenNetwork;

/// Long: other tests may have the processor.
const PATIENCE: Duration = Duration::from_mins(1);

/// A registrar that knows the makers of these TPMs.
struct Registrar {
    _running: Running,
    address: String,
    key: String,
}

impl Registrar {
    fn start(folder: &Path, tpms: &[&Simulator]) -> Self {
        let data = folder.join("registrar");
        let makers: Vec<String> = tpms.iter().map(|tpm| tpm.maker().to_str().unwrap().to_owned()).collect();
        let mut words = vec!["registrar", "--data", data.to_str().unwrap(), "--pow-difficulty", "8"];
        for maker in &makers {
            words.extend(["--tpm-root", maker]);
        }
        let mut running = Running::start("chrysalis-network", &words);
        let ready = running.ready();
        let address = format!("127.0.0.1:{}", port(&ready, "port"));
        Self { _running: running, address, key: ready["key"].as_str().unwrap().to_owned() }
    }

    /// Lets the owner of this folder agree to it. Gives what is printed.
    fn enrol(&self, data: &Path, tpm: &Simulator, more: &[&str]) -> Value {
        let (code, out, errors) = program::run("chrysalis", &self.words(data, tpm, more));
        assert_eq!(code, Some(0), "{errors}");
        serde_json::from_str(&out).unwrap()
    }

    fn words<'a>(&'a self, data: &'a Path, tpm: &Simulator, more: &[&'a str]) -> Vec<&'a str> {
        let place: &str = Box::leak(tpm.address().to_string().into_boxed_str());
        let words = [
            "identity",
            "enrol",
            "--data",
            data.to_str().unwrap(),
            "--registrar",
            &self.address,
            "--registrar-key",
            &self.key,
            "--tpm",
            place,
        ];
        [&words[..], more].concat()
    }
}

/// An open network whose proxy wants known machines by this registrar.
fn demanding(open: &OpenNetwork, registrar: &Registrar) {
    let path = open.folder.path().join("proxy.json");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    config["evidence"] = json!({
        "accepted": ["known-machine"],
        "registrars": [{ "endpoint": registrar.address, "key": registrar.key }],
    });
    std::fs::write(&path, config.to_string()).unwrap();
}

fn stats(ready: &Value) -> Value {
    http::get(port(ready, "stats_port"), "/jsonstats").unwrap().json()
}

#[test]
fn a_known_machine_is_served_and_a_self_claim_is_refused_and_its_owner_told_why() {
    let tpm = Simulator::start();
    let open = OpenNetwork::new();
    let registrar = Registrar::start(open.folder.path(), &[&tpm]);
    demanding(&open, &registrar);
    let _proxy = open.start_proxy(&[]);
    let _gateway = open.start_gateway(&[]);
    let model = tiny_model();
    let start = |folder: &str, base: &str, more: &[&str]| {
        let data = open.folder.path().join(folder);
        let name = served_as(base, &model);
        start_app(&data, &open.network_file, &model, &name, &[&["--stats", "127.0.0.1:0"], more].concat())
    };

    // One that proves nothing.
    let (stranger, ready) = start("stranger", "test/stranger", &[]);
    let standing = until("the stranger to be refused", || {
        let proxy = stats(&ready)["proxies"][0].clone();
        (proxy["standing"]["accepted"] == false).then(|| proxy["standing"].clone())
    });
    assert_eq!(standing["grade"], "self-claim", "{standing}");
    assert!(standing["reason"].as_str().unwrap().contains("self-claim"), "{standing}");
    assert_eq!(standing["accepted_grades"], json!(["known-machine"]));
    assert_eq!(standing["registrars"], json!([{ "endpoint": registrar.address, "key": registrar.key }]));
    stranger.until_it_says("gives this computer no jobs");
    stranger.until_it_says("no registrar was agreed to");

    // Agreeing takes a word, and without it nothing is shown to anybody.
    let known = open.folder.path().join("known");
    let (code, _, errors) = program::run("chrysalis", &registrar.words(&known, &tpm, &[]));
    assert_eq!(code, Some(1));
    assert!(errors.contains("endorsement key") && errors.contains("--yes"), "{errors}");
    assert!(!known.join("identity").exists());

    // One whose TPM the registrar knows. The statement for this proxy is fetched when it asks.
    registrar.enrol(&known, &tpm, &["--yes"]);
    let place = tpm.address().to_string();
    let (app, ready) = start("known", "test/known", &["--tpm", &place]);
    until("the known machine to be listed", || listed(open.web, "test/known"));
    let ask = json!({"model": "test/known", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4});
    let answer = http::post(open.web, "/v1/chat/completions", &ask).unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(stats(&ready)["proxies"][0]["standing"]["accepted"], true);
    assert_eq!(stats(&ready)["proxies"][0]["standing"]["grade"], "known-machine");
    app.until_it_says("accepts this computer");

    // The stranger is there, and gets nothing.
    assert!(listed(open.web, "test/stranger").is_none());
    let ask = json!({"model": "test/stranger", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4});
    assert_ne!(http::post(open.web, "/v1/chat/completions", &ask).unwrap().status, 200);

    // Clients see what is demanded.
    let models = http::get(open.web, "/v1/models").unwrap().json();
    assert_eq!(models["demands_of_workers"]["accepted"], json!(["known-machine"]), "{models}");

    // The owner sees what was agreed to, and takes it back.
    let data = known.to_str().unwrap();
    let (_, shown, _) = program::run("chrysalis", &["identity", "show", "--data", data]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["key"], &shown["statements"][0]["certified_by_maker"]), (&json!(registrar.key), &json!(true)));
    drop(app);
    assert_eq!(program::run("chrysalis", &["identity", "forget", "--data", data]).0, Some(0));
    assert!(!known.join("identity").exists());
}

#[test]
fn the_endorsement_key_goes_to_nobody_who_lacks_the_registrars_key_and_to_no_proxy() {
    let tpm = Simulator::start();
    let folder = tempfile::tempdir().unwrap();
    let registrar = Registrar::start(folder.path(), &[&tpm]);
    let other =
        Registrar { key: "11".repeat(32), address: registrar.address.clone(), ..Registrar::start(folder.path(), &[]) };
    let data = folder.path().join("app");
    let proxy = "22".repeat(32);
    let (code, _, errors) = program::run("chrysalis", &other.words(&data, &tpm, &["--yes", "--proxy", &proxy]));
    assert_eq!(code, Some(1));
    assert!(errors.contains("does not have the key that was agreed to"), "{errors}");
    assert!(!data.join("identity").exists());
    // What a proxy is shown later holds nothing of the endorsement key.
    registrar.enrol(&data, &tpm, &["--yes", "--proxy", &proxy]);
    let mut tpm = Tpm::new(Socket::connect(tpm.address(), PATIENCE).unwrap());
    let request = tpm.request(&[0x22; 32]).unwrap();
    let statement = std::fs::read(data.join("identity").join(format!("{proxy}.statement"))).unwrap();
    let binding = Binding { nonce: [1; 32], tls_key: [2; 32] };
    let shown = Evidence::Tpm(tpm.evidence(&[0x22; 32], &binding, statement, None).unwrap()).encode();
    let certificate = request.ek_certificate.unwrap();
    for secret in [&request.ek_public[..], &certificate] {
        // Neither whole nor in parts of the key's own numbers.
        assert!(secret.windows(16).skip(64).step_by(16).all(|part| !shown.windows(16).any(|it| it == part)));
    }
    // And another proxy sees another attestation key.
    assert_ne!(tpm.request(&[0x33; 32]).unwrap().ak_public, request.ak_public);
}

struct Chance;

impl Randomness for Chance {
    fn long(&mut self) -> i64 {
        i64::from_le_bytes(self.int256()[..8].try_into().unwrap())
    }

    fn int256(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).unwrap();
        bytes
    }
}

/// A worker by hand: goes through the handshake, shows what it is told to, and says how it stands then.
fn show(workers: SocketAddr, network: &Network, shows: &mut dyn FnMut(&Binding) -> Option<Vec<u8>>) -> Standing {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let clock = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let identity = Identity::generate(ratls::Evidence::None, clock()).unwrap();
        let tls = ratls::tls::client_config(&identity, Policy::Any, Arc::new(clock)).unwrap();
        let mut wire = Wire::dial(workers, &tls, 28).await.unwrap();
        let start = Instant::now();
        let now = || Now { mono: start.elapsed(), unix: 1e9 };
        let config = Config {
            owner_text: OWNER.to_owned(),
            model: format!("test/by-hand@test:{}", "0".repeat(64)).parse().unwrap(),
            coefficient: 1000,
            is_test: true,
            is_testnet: false,
            proxy_connections: 1,
            max_active_requests: 1,
            disabled: false,
            root: Arc::clone(&network.root),
            root_contract: network.root_contract,
            known: None,
        };
        let mut out = Vec::new();
        let mut session = Session::new(config, Box::new(Chance), now(), &mut out);
        loop {
            for action in std::mem::take(&mut out) {
                match action {
                    Action::Send(bytes) => wire.send(&bytes).await.unwrap(),
                    Action::WantEvidence { query, nonce } => {
                        let binding = Binding { nonce, tls_key: identity.public_key() };
                        session.answer_evidence(query, shows(&binding), &mut out);
                    }
                    Action::Standing(standing) => return standing,
                    _ => {}
                }
            }
            if out.is_empty() {
                let bytes = tokio::time::timeout(PATIENCE, wire.receive()).await.unwrap().unwrap().unwrap();
                session.receive(&bytes, now(), &mut out).unwrap();
            }
        }
    })
}

#[test]
fn a_proof_counts_for_its_own_question_connection_machine_and_registrar() {
    let (first, second) = (Simulator::start(), Simulator::start());
    let open = OpenNetwork::new();
    let registrar = Registrar::start(open.folder.path(), &[&first, &second]);
    demanding(&open, &registrar);
    let mut proxy = open.start_proxy(&[]);
    let network = Network::read(&open.network_file, "").ok().unwrap();
    let workers = SocketAddr::V4(network.root.registered_proxies[0].worker_endpoint);
    let seed = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, crate::commands::KEY).unwrap();
    let audience = ed25519_dalek::SigningKey::from_bytes(&seed.try_into().unwrap()).verifying_key().to_bytes();
    let key = hex::encode(audience);
    let statement = |folder: &str, registrar: &Registrar, tpm: &Simulator, key: &str| {
        let data = open.folder.path().join(folder);
        registrar.enrol(&data, tpm, &["--yes", "--proxy", key]);
        std::fs::read(data.join("identity").join(format!("{key}.statement"))).unwrap()
    };
    let quoted = |tpm: &Simulator, audience: &[u8; 32], binding: &Binding, statement: &[u8]| {
        let mut tpm = Tpm::new(Socket::connect(tpm.address(), PATIENCE).unwrap());
        Evidence::Tpm(tpm.evidence(audience, binding, statement.to_vec(), None).unwrap()).encode()
    };
    let of_first = statement("first", &registrar, &first, &key);

    // As it should be; what was shown is kept for later.
    let mut kept = Vec::new();
    let honest = show(workers, &network, &mut |binding| {
        kept = quoted(&first, &audience, binding, &of_first);
        Some(kept.clone())
    });
    assert_eq!((honest.accepted, honest.grade, honest.reason.as_str()), (true, 2, ""));

    let refused = |what: &str, reason: &str, shows: &mut dyn FnMut(&Binding) -> Option<Vec<u8>>| {
        let standing = show(workers, &network, shows);
        assert!(!standing.accepted, "{what} was accepted");
        assert!(standing.reason.contains(reason), "{what}: {}", standing.reason);
        assert_eq!(standing.grade, 0, "{what}");
    };
    refused("what was shown before", "another question", &mut |_| Some(kept.clone()));
    refused("a proof for another connection", "another connection", &mut |binding| {
        Some(quoted(&first, &audience, &Binding { tls_key: [7; 32], ..*binding }, &of_first))
    });
    refused("a proof for another question", "another question", &mut |binding| {
        Some(quoted(&first, &audience, &Binding { nonce: [7; 32], ..*binding }, &of_first))
    });
    // Another machine signs, and shows what was said of the first.
    refused("another machine's quote", "another key", &mut |binding| {
        Some(quoted(&second, &audience, binding, &of_first))
    });
    // What was said for another proxy.
    let elsewhere = statement("elsewhere", &registrar, &first, &"44".repeat(32));
    refused("a statement for somebody else", "somebody else", &mut |binding| {
        Some(quoted(&first, &[0x44; 32], binding, &elsewhere))
    });
    // Somebody else's word, though the same maker's TPM.
    let folder = tempfile::tempdir().unwrap();
    let stranger = Registrar::start(folder.path(), &[&first]);
    let by_stranger = statement("stranger", &stranger, &first, &key);
    refused("a registrar that is not believed", "not trusted here", &mut |binding| {
        Some(quoted(&first, &audience, binding, &by_stranger))
    });
    // What a genuine worker says.
    refused("Lost promise", "self-claim", &mut |_| None);
    refused("garbage", "no evidence of a version", &mut |_| Some(b"trust me".to_vec()));
    refused("nothing but a name", "self-claim", &mut |_| Some(Evidence::SelfClaim.encode()));

    // After all that the proxy is there, and a good proof is good.
    let again = show(workers, &network, &mut |binding| Some(quoted(&first, &audience, binding, &of_first)));
    assert!(again.accepted, "{}", again.reason);
    proxy.terminate();
    assert_eq!(proxy.wait().0.code(), Some(0));
}

#[test]
fn a_tpm_whose_maker_nobody_certifies_is_a_lower_grade() {
    let tpm = Simulator::start();
    let open = OpenNetwork::new();
    // This registrar does not know the maker.
    let registrar = Registrar::start(open.folder.path(), &[]);
    demanding(&open, &registrar);
    let _proxy = open.start_proxy(&[]);
    let data = open.folder.path().join("app");
    registrar.enrol(&data, &tpm, &["--yes"]);
    let model = tiny_model();
    let place = tpm.address().to_string();
    let words = ["--stats", "127.0.0.1:0", "--tpm", &place];
    let (_app, ready) = start_app(&data, &open.network_file, &model, &served_as("test/tiny", &model), &words);
    let standing = until("the proxy to judge", || {
        let standing = stats(&ready)["proxies"][0]["standing"].clone();
        standing.is_object().then_some(standing)
    });
    assert_eq!((&standing["accepted"], &standing["grade"]), (&json!(false), &json!("known-machine-uncertified")));
}
