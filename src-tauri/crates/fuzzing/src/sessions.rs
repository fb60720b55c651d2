//! The three conversations of the protocol, each of our machines against bytes of the other side. See [`crate::script`].

use std::sync::Arc;
use std::time::Duration;

use accounting::signed_payment::{SignedPayment, UnsignedPayment};
use accounting::{ModelName, TokenUsage};
use ed25519_dalek::SigningKey;
use protocol::evidence::Demands;
use protocol::http::{Request, ResponseHead};
use protocol::{client, proxy, worker};
use sha2::{Digest, Sha256};
use ton::{Address, AddressText, Nanoton, RootConfig};

use crate::script::{Clocks, Counting, Step, Wire, next};

const OWNER: &str = "UQAuz15H1ZHrZ_psVrAra7HealMIVeFq0wguqlmFno1f3B-m";
const ROOT: &str = "EQBT4hy4vMEZ9uxSCuhw_gBKh9_AwmHXLe7Wo0O4Vh-4kRjJ";
const PROXY_WALLET: &str = "UQAXGlaBPBoSyvlI0cEGKvS8Ak5e9JFcmKmcBmYsKhNTIdbG";
const CLIENT_WALLET: &str = "UQCdj43bBDyeJlfe6FVSpWLfsDMp4YHbmz5lca5-tNz-fx20";
const MODEL: &str = "Qwen/Qwen3-8B@abc123def456:0000000000000000000000000000000000000000000000000000000000000000";
const ROOT_CONFIG: &str = include_str!("recorded_root.json");
/// Seed of the proxy's key, published in the reference implementation's test configuration.
const PROXY_SEED: [u8; 32] = [
    0x9a, 0x5f, 0xbb, 0xc4, 0x42, 0xee, 0x39, 0x0b, 0x5f, 0xa7, 0xda, 0xbd, 0x99, 0x25, 0xad, 0x1e, 0x24, 0x96, 0xc7,
    0x96, 0x92, 0x05, 0x5e, 0xa9, 0xdf, 0x10, 0x9f, 0xc0, 0xf9, 0x87, 0x3b, 0x06,
];

fn root() -> Arc<RootConfig> {
    match RootConfig::from_json(ROOT_CONFIG) {
        Ok(root) => Arc::new(root),
        Err(error) => panic!("the recorded network's parameters: {error}"),
    }
}

fn address(text: &str) -> Address {
    match AddressText::parse(text) {
        Ok(parsed) => parsed.address,
        Err(error) => panic!("{text}: {error}"),
    }
}

/// How far a conversation got, for the test that the committed ones get somewhere.
#[derive(Default)]
struct Reached {
    ready: bool,
    jobs: usize,
}

/// A worker, told by a proxy.
pub fn protocol_worker(data: &[u8]) {
    worker_with(data);
}

fn worker_with(data: &[u8]) -> Reached {
    let mut reached = Reached::default();
    let mut clocks = Clocks::new();
    let mut wires = <[Wire; 2]>::default();
    let mut out = Vec::new();
    let model = match MODEL.parse::<ModelName>() {
        Ok(model) => model,
        Err(error) => panic!("the recorded model: {error}"),
    };
    let config = worker::Config {
        owner_text: OWNER.to_owned(),
        model,
        coefficient: 1_000,
        is_test: true,
        is_testnet: false,
        proxy_connections: 1,
        max_active_requests: 3,
        disabled: false,
        root: root(),
        root_contract: address(ROOT),
        known: None,
    };
    let mut session = worker::Session::new(config, Box::<Counting>::default(), clocks.now(), &mut out);
    let mut script = data;
    let mut alive = true;
    let mut asked = None;
    loop {
        for action in out.drain(..) {
            match action {
                worker::Action::Send(bytes) => wires[0].take(&bytes),
                worker::Action::Ready(_) => reached.ready = true,
                worker::Action::Start(_) => reached.jobs += 1,
                worker::Action::WantEvidence { query, nonce } => asked = Some((query, nonce)),
                _ => {}
            }
        }
        if !alive {
            break;
        }
        let Some((_, step)) = next(&mut script, &mut wires) else { break };
        let now = clocks.now();
        match step {
            Step::Bytes(bytes) => alive = session.receive(&bytes, now, &mut out).is_ok(),
            Step::Answer(content) => {
                let bytes = wires[0].answer(content);
                alive = session.receive(&bytes, now, &mut out).is_ok();
            }
            Step::Wait(time) => clocks.pass(time, |now| {
                if let Some(now) = now {
                    alive &= session.tick(now, &mut out).is_ok();
                }
                session.next_deadline()
            }),
            Step::Act(what) if what >= 192 => drop(session.ask_evidence(now, &mut out)),
            Step::Act(what) if what >= 128 => {
                let (query, nonce) = asked.take().unwrap_or((1, [1; 32]));
                session.answer_evidence(query, (what & 1 == 0).then(|| nonce.to_vec()), &mut out);
            }
            Step::Act(what) => {
                let id = session.running().first().copied().unwrap_or([0; 32]);
                let usage = TokenUsage { prompt: 20, cached: 3, completion: u64::from(what), reasoning: 1 };
                match what % 7 {
                    0 => {
                        let head = ResponseHead::new(200, "OK", vec![("Content-Length".to_owned(), "7".to_owned())]);
                        session.answer_head(id, head, now, &mut out);
                    }
                    1 => session.answer_part(id, b"data: {}\n\n", now, &mut out),
                    2 => drop(session.answer_last(id, b"", usage, now, &mut out)),
                    3 => drop(session.answer_last(id, b"[DONE]", usage, now, &mut out)),
                    4 => session.answer_error(id, 601, "no", now, &mut out),
                    5 => session.set_disabled(what & 8 != 0, now, &mut out),
                    _ => session.set_coefficient(i32::from(what) * 10, now, &mut out),
                }
            }
            Step::BreakOff => break,
        }
        assert!(session.running().len() <= 4_096, "jobs without end");
    }
    if !alive {
        assert!(session.next_deadline().is_none(), "over, and still waits for something");
        assert!(session.receive(b"more", clocks.now(), &mut out).is_err(), "over, and still listens");
    }
    reached
}

/// A client, told by a proxy.
pub fn protocol_client(data: &[u8]) {
    client_with(data);
}

fn client_with(data: &[u8]) -> Reached {
    let mut reached = Reached::default();
    let mut clocks = Clocks::new();
    let mut wires = <[Wire; 2]>::default();
    let mut out = Vec::new();
    let config = client::Config {
        owner: address(CLIENT_WALLET),
        is_test: true,
        is_testnet: false,
        min_config_version: 3,
        secret: String::new(),
        root: root(),
        root_contract: address(ROOT),
    };
    let mut session = client::Session::new(config, Box::<Counting>::default(), clocks.now(), &mut out);
    let mut script = data;
    let mut alive = true;
    // Requests that have not been reported as over.
    let mut waiting: Vec<[u8; 32]> = Vec::new();
    loop {
        for action in out.drain(..) {
            match action {
                client::Action::Send(bytes) => wires[0].take(&bytes),
                client::Action::Ready(_) => reached.ready = true,
                client::Action::Done { id, .. } | client::Action::Failed { id, .. } => {
                    reached.jobs += 1;
                    assert!(waiting.contains(&id), "the end of a request that was not under way");
                    waiting.retain(|other| *other != id);
                }
                client::Action::Head { id, .. } | client::Action::Part { id, .. } => {
                    assert!(waiting.contains(&id), "news of a request that is not under way");
                }
                _ => {}
            }
        }
        if !alive {
            break;
        }
        let Some((_, step)) = next(&mut script, &mut wires) else { break };
        let now = clocks.now();
        match step {
            Step::Bytes(bytes) => alive = session.receive(&bytes, now, &mut out).is_ok(),
            Step::Answer(content) => {
                let bytes = wires[0].answer(content);
                alive = session.receive(&bytes, now, &mut out).is_ok();
            }
            Step::Wait(time) => clocks.pass(time, |now| {
                if let Some(now) = now {
                    alive &= session.tick(now, &mut out).is_ok();
                }
                session.next_deadline()
            }),
            Step::Act(what) => match what % 4 {
                0 | 1 => {
                    if let Ok(id) = session.run(question(what), now, &mut out)
                        && !waiting.contains(&id)
                    {
                        waiting.push(id);
                    }
                }
                2 => drop(session.ask_worker_types(now, &mut out)),
                _ => {
                    if let Some(id) = waiting.pop() {
                        session.forget(&id);
                    }
                }
            },
            Step::BreakOff => {
                session.closed(&mut out);
                alive = false;
            }
        }
    }
    if !alive {
        assert!(waiting.is_empty(), "over, and {} requests were never reported", waiting.len());
        assert!(session.receive(b"more", clocks.now(), &mut out).is_err(), "over, and still listens");
    }
    reached
}

fn question(what: u8) -> client::ClientRequest {
    client::ClientRequest {
        model: "Qwen/Qwen3-8B".to_owned(),
        request: Request {
            method: "POST".to_owned(),
            url: "/v1/chat/completions".to_owned(),
            version: "HTTP/1.1".to_owned(),
            headers: Vec::new(),
            body: b"{}".to_vec(),
        },
        max_coefficient: 4_000,
        max_tokens: 1_000,
        timeout: Duration::from_mins(2),
        enable_debug: what & 1 == 1,
    }
}

struct Key(SigningKey);

impl proxy::Signer for Key {
    fn sign(&mut self, payment: &UnsignedPayment) -> SignedPayment {
        payment.clone().sign(&self.0)
    }
}

/// A proxy between one worker and one client. Connections of the script: the first is the worker's, the second the client's.
/// One that is closed comes back as a new one.
pub fn protocol_proxy(data: &[u8]) {
    proxy_with(data);
}

fn proxy_with(data: &[u8]) -> Reached {
    let mut reached = Reached::default();
    let mut clocks = Clocks::new();
    let mut wires = <[Wire; 2]>::default();
    let key = SigningKey::from_bytes(&PROXY_SEED);
    let config = proxy::Config {
        owner: address(OWNER),
        wallet: address(PROXY_WALLET),
        root: root(),
        root_contract: address(ROOT),
        is_test: true,
        is_testnet: false,
        public_key: key.verifying_key().to_bytes(),
        signer: Box::new(Key(key)),
        retry: true,
        tell_payments: true,
        check_worker_hashes: false,
        funds: proxy::ClientFunds {
            balance: Nanoton(100_000_000_000),
            stake: Nanoton(1_000_000_000),
            secret_hash: Sha256::digest(b"").into(),
        },
        commit_pause: (Duration::from_secs(1), Duration::from_secs(2)),
        demands: Some(Demands { grades: vec![0], secure_boot: false, registrars: Vec::new() }),
    };
    let mut core = proxy::Core::new(config, proxy::Accounts::default(), Box::<Counting>::default());
    let mut conns = [1, 2];
    let mut fresh = 3;
    core.open(1, proxy::Side::Worker, [0; 32], clocks.now());
    core.open(2, proxy::Side::Client, [0; 32], clocks.now());
    let mut out = Vec::new();
    let mut script = data;
    loop {
        let now = clocks.now();
        let mut gone = [false; 2];
        for action in std::mem::take(&mut out) {
            match action {
                proxy::Action::Send { conn, bytes } => {
                    if let Some(side) = conns.iter().position(|known| *known == conn) {
                        wires[side].take(&bytes);
                    }
                }
                proxy::Action::Close { conn, .. } => {
                    if let Some(side) = conns.iter().position(|known| *known == conn) {
                        gone[side] = true;
                    }
                }
                proxy::Action::Persist { seq, accounts } => {
                    assert!(accounts.iter().all(|change| change.tokens >= 0), "an account below zero");
                    core.persisted(seq, now);
                }
                proxy::Action::Commit { seq } => core.committed(seq, now, &mut out),
                // No chain is asked here.
                proxy::Action::LookAt { .. } => {}
                proxy::Action::WorkerWaits { conn } => core.judge(conn, true, 0, "", now, &mut out),
                proxy::Action::EvidenceCame { conn, bytes, .. } => {
                    core.judge(conn, bytes.len() % 2 == 0, 0, "odd", now, &mut out);
                }
                proxy::Action::NoEvidence { conn, .. } => core.judge(conn, false, 0, "none", now, &mut out),
                proxy::Action::WantEvidence { conn, query, nonce } => {
                    core.answer_evidence(conn, query, (nonce[0] & 1 == 0).then(|| nonce.to_vec()), &mut out);
                }
                proxy::Action::JobFinished(job) => {
                    assert!(job.tokens >= 0, "a job of {} tokens", job.tokens);
                    reached.ready = true;
                    reached.jobs += usize::from(job.outcome == proxy::Outcome::Answered);
                }
            }
        }
        for (side, role) in [proxy::Side::Worker, proxy::Side::Client].into_iter().enumerate() {
            if gone[side] {
                wires[side] = Wire::default();
                conns[side] = fresh;
                fresh += 1;
                core.open(conns[side], role, [0; 32], now);
            }
        }
        let Some((second, step)) = next(&mut script, &mut wires) else { break };
        let side = usize::from(second);
        match step {
            Step::Bytes(bytes) => core.receive(conns[side], &bytes, now, &mut out),
            Step::Answer(content) => {
                let bytes = wires[side].answer(content);
                core.receive(conns[side], &bytes, now, &mut out);
            }
            Step::Wait(time) => clocks.pass(time, |now| {
                if let Some(now) = now {
                    core.tick(now, &mut out);
                }
                core.next_deadline()
            }),
            Step::Act(what) if what >= 128 => drop(core.ask_evidence(conns[0], now, &mut out)),
            Step::Act(what) if what % 2 == 0 => core.persist(&mut out),
            Step::Act(_) => core.commit(&mut out),
            Step::BreakOff => {
                core.closed(conns[side], now, &mut out);
                wires[side] = Wire::default();
                conns[side] = fresh;
                fresh += 1;
                let role = if second { proxy::Side::Client } else { proxy::Side::Worker };
                core.open(conns[side], role, [0; 32], now);
            }
        }
        assert!(core.active_jobs() <= 4_096, "jobs without end");
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the committed conversations got through their handshake, and how many jobs they ran.
    fn reached(target: &str, run: fn(&[u8]) -> Reached) -> (usize, usize) {
        let folder = format!("{}/../../../tests/fixtures/fuzz/{target}", env!("CARGO_MANIFEST_DIR"));
        let all: Vec<Reached> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| run(&std::fs::read(entry.unwrap().path()).unwrap()))
            .collect();
        (all.iter().filter(|reached| reached.ready).count(), all.iter().map(|reached| reached.jobs).sum())
    }

    #[test]
    fn the_committed_conversations_get_through_the_handshake_and_run_jobs() {
        for (target, run) in [
            ("protocol_worker", worker_with as fn(&[u8]) -> Reached),
            ("protocol_client", client_with),
            ("protocol_proxy", proxy_with),
        ] {
            let (ready, jobs) = reached(target, run);
            assert!(
                ready >= 10 && jobs >= 10,
                "{target}: {ready} got ready, {jobs} jobs were run: the inputs are stale"
            );
        }
    }
}
