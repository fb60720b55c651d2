//! Proxies that demand proof, a registrar, and TPMs: real programs, with TPMs in software.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evidence::{Binding, Evidence};
use network::config::Network;
use network::keys::SigningKey;
use network::proxy::{self, Shows};
use network::wire::Wire;
use protocol::evidence::Standing;
use protocol::worker::{Action, Config, Session};
use protocol::{Now, Randomness};
use ratls::{Identity, Policy};
use serde_json::{Value, json};
use system_tests::program;
use system_tests::registrar::Registrar;
use system_tests::tpm::Simulator;
use system_tests::{OWNER, http, listed, port, served_as, start_app, tiny_model, until};

use crate::open::OpenNetwork;
use crate::samples::{snp_sample, tdx_sample};

/// Long: other tests may have the processor.
const PATIENCE: Duration = Duration::from_mins(1);

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

fn run(words: &[String]) -> (Option<i32>, String, String) {
    program::run("chrysalis", &words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Who was refused, as it was written down in this folder.
fn refusals(data: &Path) -> Value {
    let (code, out, errors) = program::run("chrysalis", &["doctor", "--json", "--data", data.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{errors}");
    serde_json::from_str::<Value>(&out).unwrap()["refusals"].clone()
}

fn stats(ready: &Value) -> Value {
    http::get(port(ready, "stats_port"), "/jsonstats").unwrap().json()
}

#[test]
fn a_proof_made_anew_for_a_question_is_taken_and_one_by_an_expired_statement_is_not() {
    use ed25519_dalek::SigningKey;
    use evidence::{Grade, Statement};
    use node::proof_file::{ProofFile, ShownEvidence};

    let tpm = Simulator::certified();
    let folder = tempfile::tempdir().unwrap();
    let registrar = Registrar::start(folder.path(), &[&tpm]);
    let data = folder.path().join("app");
    let (place, nonce) = (tpm.address().to_string(), "0b".repeat(32));
    let asked = ["identity", "proof", "--data", data.to_str().unwrap(), "--tpm", &place, "--nonce", &nonce];
    // Registered nowhere, it has nothing to show.
    let (code, out, errors) = program::run("chrysalis", &asked);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{errors}");
    assert!(errors.contains("no registrar has said"), "{errors}");

    registrar.enrol(&data, &tpm, &["--yes", "--proxy", &"07".repeat(32)]);
    let (code, out, errors) = program::run("chrysalis", &asked);
    assert_eq!(code, Some(0), "{errors}");
    let made = ProofFile::read(out.as_bytes()).unwrap();
    assert_eq!(made.claimed, Grade::KnownMachine);
    assert!(made.files.iter().all(|file| file.measured.is_some()), "{:?}", made.files);
    let file = folder.path().join("proof.json");
    let verify = |proof: &ProofFile, registrar: &str, more: &[&str]| {
        std::fs::write(&file, proof.to_json()).unwrap();
        let words = ["verify", file.to_str().unwrap(), "--registrar", registrar];
        program::run("chrysalis", &[&words[..], more].concat())
    };
    let (code, out, errors) = verify(&made, &registrar.key, &["--nonce", &nonce, "--json"]);
    assert_eq!(code, Some(0), "{out}{errors}");
    let (code, _, errors) = verify(&made, &registrar.key, &["--nonce", &"0c".repeat(32)]);
    assert_eq!(code, Some(1), "{errors}");
    let another = "08".repeat(32);
    let of_another = [&asked[..], &["--proxy", &another]].concat();
    assert_eq!(program::run("chrysalis", &of_another).0, Some(1), "there is no statement for that one");

    // The same quote with a statement of ours. When it was made the file says, and whoever made the file may lie.
    let shown = made.shown.clone().unwrap();
    let Evidence::Tpm(quote) = Evidence::decode(&shown.evidence).unwrap() else { panic!("{shown:?}") };
    let said = Statement::verify(&quote.statement).unwrap();
    let key = SigningKey::from_bytes(&[5; 32]);
    let ours = hex::encode(key.verifying_key().to_bytes());
    let with = |issued_at, expires_at| {
        let statement = Statement { registrar: key.verifying_key().to_bytes(), issued_at, expires_at, ..said.clone() };
        let evidence = Evidence::Tpm(evidence::TpmEvidence { statement: statement.sign(&key), ..quote.clone() });
        let shown = ShownEvidence { evidence: evidence.encode(), at: expires_at - 10, ..shown.clone() };
        ProofFile { made_at: shown.at, shown: Some(shown), ..made.clone() }
    };
    let good = with(shown.at - 100, shown.at + 200);
    assert_eq!(verify(&good, &ours, &["--nonce", &nonce]).0, Some(0));
    let over = with(shown.at - 2_000, shown.at - 1_000);
    let (code, _, errors) = verify(&over, &ours, &["--nonce", &nonce]);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("the registrar's statement has expired"), "{errors}");
    // Without a nonce it held at the time that it names, and counts no more.
    let (code, _, errors) = verify(&over, &ours, &[]);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("does not count any more"), "{errors}");
}

#[test]
fn a_known_machine_is_served_and_a_self_claim_is_refused_and_its_owner_told_why() {
    let tpm = Simulator::certified();
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
    stranger.until_it_says(&format!("--registrar {} --registrar-key {}", registrar.address, registrar.key));

    // Agreeing takes a word, and without it nothing is shown to anybody.
    let known = open.folder.path().join("known");
    let (code, _, errors) = run(&registrar.words(&known, &tpm, &[]));
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

    // Who refused this computer and why is known after the app has ended.
    drop(stranger);
    let kept = refusals(&open.folder.path().join("stranger"));
    assert_eq!((&kept[0]["refused_by"], &kept[1]), (&json!("proxy"), &Value::Null), "{kept}");
    assert!(kept[0]["reason"].as_str().unwrap().contains("self-claim"), "{kept}");
}

#[test]
fn the_endorsement_key_goes_to_nobody_who_lacks_the_registrars_key_and_to_no_proxy() {
    let tpm = Simulator::certified();
    let folder = tempfile::tempdir().unwrap();
    let registrar = Registrar::start(folder.path(), &[&tpm]);
    let other = Registrar::start(folder.path(), &[]).called(&registrar.address, &"11".repeat(32));
    let data = folder.path().join("app");
    let proxy = "22".repeat(32);
    let (code, _, errors) = run(&other.words(&data, &tpm, &["--yes", "--proxy", &proxy]));
    assert_eq!(code, Some(1));
    assert!(errors.contains("does not have the key that was agreed to"), "{errors}");
    assert!(!data.join("identity").exists());
    // What a proxy is shown later holds nothing of the endorsement key.
    registrar.enrol(&data, &tpm, &["--yes", "--proxy", &proxy]);
    let mut tpm = tpm.tpm();
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
    let (first, second) = (Simulator::certified(), Simulator::certified());
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
        let mut tpm = tpm.tpm();
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
    let tpm = Simulator::certified();
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

/// A proxy that shows another machine's recorded evidence, whatever it is asked.
struct Recorded(Vec<u8>);

impl Shows for Recorded {
    fn show(&self, _: &Binding) -> Result<Vec<u8>, String> {
        Ok(self.0.clone())
    }
}

/// Starts such a proxy in this process, at the place of the network's own.
fn showing(
    runtime: &tokio::runtime::Runtime,
    open: &OpenNetwork,
    shown: Option<Evidence>,
    name: &str,
) -> proxy::Running {
    let network = Network::read(&open.network_file, "").ok().unwrap();
    let places = &network.root.registered_proxies[0];
    let (workers, clients) = (places.worker_endpoint.port(), places.client_endpoint.port());
    let owner = ton::AddressText::parse(OWNER).unwrap().address;
    let key = SigningKey::generate();
    let mut settings = proxy::Settings::new(network, owner, key, open.folder.path().join(format!("{name}.sqlite")));
    (settings.workers_port, settings.clients_port, settings.pow_difficulty) = (workers, clients, 8);
    settings.shows = shown.map(|shown| Arc::new(Recorded(shown.encode())) as Arc<dyn Shows>);
    runtime.block_on(proxy::start(settings)).ok().unwrap()
}

#[test]
fn an_app_that_asks_its_proxy_works_for_none_that_shows_less_and_remembers_who_that_was() {
    let open = OpenNetwork::new();
    let mut file: Value = serde_json::from_str(&std::fs::read_to_string(&open.network_file).unwrap()).unwrap();
    let list = |image: Option<evidence::ImageHash>| {
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, image.unwrap().0)
    };
    file["proxy_hashes"] = json!([
        list(evidence::snp::image_of(&snp_sample().report)),
        list(evidence::tdx::image_of(&tdx_sample("tdx_quote").quote))
    ]);
    std::fs::write(&open.network_file, file.to_string()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let model = tiny_model();
    let start = |folder: &str, grade: &str| {
        let words = ["--stats", "127.0.0.1:0", "--policy", "asked", "--proxy-grade", grade];
        start_app(&open.folder.path().join(folder), &open.network_file, &model, &served_as("test/tiny", &model), &words)
    };
    // Nothing; a genuine report that is complete and over another question and key; a genuine quote, of which what Intel said is over.
    let isolated = "processor-isolated";
    for (folder, shown, why) in [
        ("nothing", None, "it proves the grade self-claim, which is not accepted here"),
        (
            "report",
            Some(Evidence::Snp(snp_sample())),
            "the proof was made for another question or for another connection",
        ),
        ("quote", Some(Evidence::Tdx(tdx_sample("tdx_quote"))), "the processor maker's statements have expired"),
    ] {
        let proxy = showing(&runtime, &open, shown, folder);
        let (app, ready) = start(folder, isolated);
        app.until_it_says(why);
        assert_eq!(stats(&ready)["proxies"][0]["ready"], false, "{folder}");
        let untrusted = stats(&ready)["proxies"][0]["untrusted"].clone();
        assert!(untrusted.as_str().is_some_and(|text| text.contains(why)), "{untrusted}");
        drop(app);
        let kept = refusals(&open.folder.path().join(folder));
        assert_eq!((&kept[0]["refused_by"], &kept[1]), (&json!("this-pc"), &Value::Null), "{kept}");
        assert!(kept[0]["reason"].as_str().unwrap().contains(why), "{kept}");
        runtime.block_on(proxy.stop());
    }
    // One for which nothing is enough is asked, judged and worked for.
    let proxy = showing(&runtime, &open, Some(Evidence::SelfClaim), "enough");
    let (_app, ready) = start("enough", "self-claim");
    let _gateway = open.start_gateway(&[]);
    until("the worker to be listed", || listed(open.web, "test/tiny"));
    let ask = json!({"model": "test/tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4});
    assert_eq!(http::post(open.web, "/v1/chat/completions", &ask).unwrap().status, 200);
    assert_eq!(stats(&ready)["proxies"][0]["ready"], true);
    assert_eq!(refusals(&open.folder.path().join("enough")), json!([]));
    runtime.block_on(proxy.stop());
}

#[test]
fn a_gateway_goes_through_no_proxy_that_does_not_show_what_it_asks_for() {
    let open = OpenNetwork::new();
    let collateral = open.folder.path().join("intel.json");
    std::fs::write(&collateral, tdx_sample("tdx_quote").collateral).unwrap();
    let intel = collateral.to_str().unwrap();
    let stats = || http::get(open.web, "/jsonstats").unwrap().json();
    let start = |role: &str, file: &str, more: &[&str]| {
        let path = |name: &str| open.folder.path().join(name).to_str().unwrap().to_owned();
        let (config, data) = (path(file), path(role));
        let network = open.network_file.to_str().unwrap();
        let words = [role, "--config", &config, "--network", network, "--data", &data];
        program::run("chrysalis-network", &[&words[..], more].concat())
    };
    // What is misspelt, or can't be kept, is no policy at all.
    let (code, _, errors) = start("gateway", "client.json", &["--policy", "tdxx"]);
    assert!(code == Some(2) && errors.contains("tdxx") && errors.contains("fake_tdx"), "{errors}");
    for (words, why) in [
        (&["--policy", "tdx"][..], "needs Intel's statements"),
        (&["--policy", "tdx", "--collateral", "/nowhere/intel.json"], "/nowhere/intel.json"),
        (&["--policy", "tdx", "--collateral", intel], "this one lists none"),
        (&["--policy", "any", "--collateral", intel], "--collateral belongs to --policy tdx"),
    ] {
        let (code, _, errors) = start("gateway", "client.json", words);
        assert!(code == Some(1) && errors.contains(why), "{errors}");
    }
    // A proxy that says that it shows its processor's reports, and is no guest.
    let path = open.folder.path().join("guest.json");
    let mut config: Value =
        serde_json::from_str(&std::fs::read_to_string(open.folder.path().join("proxy.json")).unwrap()).unwrap();
    config["shows"] = json!({ "processor": { "collateral": intel } });
    std::fs::write(path, config.to_string()).unwrap();
    let (code, _, errors) = start("proxy", "guest.json", &[]);
    assert!(code == Some(1) && errors.contains("not a machine inside an isolated processor"), "{errors}");

    let proxy = open.start_proxy(&[]);
    let gateway = open.start_gateway(&["--policy", "fake_tdx"]);
    gateway.until_it_says("the policy demands evidence and the certificate carries none");
    assert_eq!(stats()["proxies"][0]["is_ready"], false);
    drop((proxy, gateway));
    let _proxy = open.start_proxy(&["--evidence", "fake_tdx"]);
    let gateway = open.start_gateway(&["--policy", "fake_tdx"]);
    gateway.until_it_says("connected to the proxy");
    assert_eq!(stats()["proxies"][0]["is_ready"], true);
    drop(gateway);
    // With an image on the list, real evidence is asked for, and what everybody can compute is none.
    let mut file: Value = serde_json::from_str(&std::fs::read_to_string(&open.network_file).unwrap()).unwrap();
    file["proxy_hashes"] = json!(["ProxyProxyProxyProxyProxyProxyProxyProxyPro="]);
    std::fs::write(&open.network_file, file.to_string()).unwrap();
    let gateway = open.start_gateway(&["--policy", "tdx", "--collateral", intel]);
    gateway.until_it_says("the processor's quote can't be read");
    assert_eq!(stats()["proxies"][0]["is_ready"], false);
}
