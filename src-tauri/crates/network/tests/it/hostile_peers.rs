//! Diallers that break the rules below HTTP. After each of them the proxy serves an ordinary worker.

use std::time::Duration;

use network::proxy::Limits;
use network::wire::Wire;
use ratls::pow::Challenge;
use ratls::{Evidence, Policy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stage::{Stage, Worker, chat, client_tls, soon, until};

async fn still_serves(stage: &Stage) {
    let _worker = stage.worker().await.answer_all();
    assert_eq!(stage.ask(&chat(false)).await.status, 200);
}

/// Answers the challenge as it should be answered.
async fn solve(stream: &mut TcpStream) {
    let mut challenge = [0; 24];
    stream.read_exact(&mut challenge).await.unwrap();
    let challenge = Challenge::decode(&challenge).unwrap();
    let nonce: i64 = (0..1 << 20).find(|nonce| challenge.verify(*nonce)).unwrap();
    stream.write_all(&0x0182_7319_u32.to_le_bytes()).await.unwrap();
    stream.write_all(&nonce.to_le_bytes()).await.unwrap();
}

/// What is left to read until the other end closes.
async fn rest(stream: &mut TcpStream) -> usize {
    let mut bytes = Vec::new();
    soon("the proxy to close", stream.read_to_end(&mut bytes)).await.ok();
    bytes.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_proof_of_work_ends_the_connection_without_a_word() {
    let stage = Stage::start_with(|proxy| proxy.pow_difficulty = 12, |_| {}).await;
    for to in [stage.proxy.workers(), stage.proxy.clients()] {
        let mut stream = TcpStream::connect(to).await.unwrap();
        let mut challenge = [0; 24];
        stream.read_exact(&mut challenge).await.unwrap();
        let challenge = Challenge::decode(&challenge).unwrap();
        assert_eq!(challenge.difficulty, 12);
        let wrong = (0..1 << 20).find(|nonce| !challenge.verify(*nonce)).unwrap();
        stream.write_all(&0x0182_7319_u32.to_le_bytes()).await.unwrap();
        stream.write_all(&wrong.to_le_bytes()).await.unwrap();
        assert_eq!(rest(&mut stream).await, 0);
        // Garbage instead of an answer.
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert_eq!(rest(&mut stream).await, 24, "the challenge and nothing else");
    }
    still_serves(&stage).await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_connection_gets_a_challenge_of_its_own() {
    let stage = Stage::start().await;
    let mut salts = std::collections::BTreeSet::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(stage.proxy.workers()).await.unwrap();
        let mut challenge = [0; 24];
        stream.read_exact(&mut challenge).await.unwrap();
        salts.insert(Challenge::decode(&challenge).unwrap().salt);
    }
    assert_eq!(salts.len(), 8);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_cut_and_oversized_frames_end_only_their_own_connection() {
    let stage = Stage::start().await;
    let connect = [&0xa57c_4261_u32.to_le_bytes()[..], &7_u64.to_le_bytes()].concat();
    let frame = |number: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap();
        [&length.to_le_bytes()[..], &number.to_le_bytes(), payload].concat()
    };
    let good = frame(0, &connect);
    let cases: [(&str, Vec<u8>); 6] = [
        ("garbage", vec![0x5a; 4096]),
        ("a frame larger than 16 MiB", [&0x0100_0001_u32.to_le_bytes()[..], &0_u32.to_le_bytes(), &[0; 64]].concat()),
        ("a frame shorter than any object", frame(0, &[1, 2])),
        ("a frame out of turn", frame(1, &connect)),
        ("an unknown object", frame(0, &[0xff; 16])),
        ("garbage behind a good frame", [good.clone(), vec![0x5a; 512]].concat()),
    ];
    for (what, bytes) in cases {
        for to in [stage.proxy.workers(), stage.proxy.clients()] {
            let mut wire = Wire::dial(to, &client_tls(Evidence::None), 20).await.unwrap();
            wire.send(&bytes).await.unwrap();
            soon(what, async { while let Ok(Some(_)) = wire.receive().await {} }).await;
        }
    }
    // A frame that is cut by the end of the connection.
    for to in [stage.proxy.workers(), stage.proxy.clients()] {
        let mut wire = Wire::dial(to, &client_tls(Evidence::None), 20).await.unwrap();
        wire.send(&good[..good.len() / 2]).await.unwrap();
        drop(wire);
    }
    until("all of them to be gone", || async {
        let page = stage.proxy.stats().await.unwrap();
        let left = &page["connections"];
        (left["workers"] == 0 && left["clients"] == 1).then_some(())
    })
    .await;
    still_serves(&stage).await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_after_the_proof_of_work_ends_the_connection() {
    let stage = Stage::start().await;
    let mut stream = TcpStream::connect(stage.proxy.workers()).await.unwrap();
    solve(&mut stream).await;
    stream.write_all(&vec![0x55; 70_000]).await.ok();
    assert_eq!(rest(&mut stream).await, 0);
    still_serves(&stage).await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_connections_is_bounded_and_passes() {
    let limits = Limits { total: 16, per_address: 8, ..Limits::default() };
    let stage = Stage::start_with(|proxy| proxy.limits = limits, |_| {}).await;
    let mut flood = Vec::new();
    for _ in 0..200 {
        flood.push(TcpStream::connect(stage.proxy.workers()).await.unwrap());
    }
    // Those inside get a challenge, the others the end.
    let mut inside = 0;
    for stream in &mut flood {
        let mut challenge = [0; 24];
        inside += usize::from(soon("an answer", stream.read_exact(&mut challenge)).await.is_ok());
    }
    // The gateway has one of the eight places.
    assert_eq!(inside, 7);
    let page = stage.proxy.stats().await.unwrap();
    assert_eq!(page["stats"]["connections_turned_away"], 193);
    drop(flood);
    let worker = until("a place to be free", || async {
        tokio::time::timeout(Duration::from_secs(5), Wire::dial(stage.proxy.workers(), &client_tls(Evidence::None), 20))
            .await
            .ok()?
            .ok()
    })
    .await;
    let _worker = Worker::over(worker, &stage.network, 1).answer_all();
    until("the worker to be listed", || async { (stage.listed().await == 1).then_some(()) }).await;
    assert_eq!(stage.ask(&chat(false)).await.status, 200);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_takes_too_long_is_ended_wherever_it_is() {
    assert_eq!(Limits::default().handshake, Duration::from_secs(20));
    let limits = Limits { handshake: Duration::from_millis(300), ..Limits::default() };
    let stage = Stage::start_with(|proxy| proxy.limits = limits, |_| {}).await;
    // One that never answers the challenge, and one that never goes on after it.
    let mut idle = TcpStream::connect(stage.proxy.workers()).await.unwrap();
    assert_eq!(rest(&mut idle).await, 24);
    let mut slow = TcpStream::connect(stage.proxy.clients()).await.unwrap();
    solve(&mut slow).await;
    assert_eq!(rest(&mut slow).await, 0);
    still_serves(&stage).await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_wants_evidence_serves_only_workers_that_have_it() {
    let wants = |proxy: &mut network::proxy::Settings| {
        proxy.policy = Policy::FakeTdx { image_hashes: Vec::new() };
        proxy.evidence = Evidence::FakeTdx;
    };
    let trusts =
        |gateway: &mut network::gateway::Settings| gateway.policy = Policy::FakeTdx { image_hashes: Vec::new() };
    // The gateway trusts only attested proxies, and has no evidence of its own: clients need none.
    let stage = Stage::start_with(wants, trusts).await;
    // In TLS 1.3 the dialler is through first and then finds the connection closed.
    if let Ok(mut wire) = Wire::dial(stage.proxy.workers(), &client_tls(Evidence::None), 20).await {
        assert!(!matches!(soon("the refusal", wire.receive()).await, Ok(Some(_))));
    }
    let wire = Wire::dial(stage.proxy.workers(), &client_tls(Evidence::FakeTdx), 20).await.unwrap();
    let _worker = Worker::over(wire, &stage.network, 1).answer_all();
    until("the worker to be listed", || async { (stage.listed().await == 1).then_some(()) }).await;
    assert_eq!(stage.ask(&chat(false)).await.status, 200);
    stage.stop().await;

    // And a proxy without evidence is not trusted by a gateway that wants it.
    let folder = tempfile::tempdir().unwrap();
    let proxy = network::proxy::start(crate::stage::proxy_settings(folder.path().join("p.sqlite"))).await.unwrap();
    let wallet = ton::Address { workchain: 0, hash: [1; 32] };
    let mut settings = network::gateway::Settings::new(crate::stage::network(proxy.workers(), proxy.clients()), wallet);
    trusts(&mut settings);
    let gateway = network::gateway::start(settings).await.unwrap();
    assert!(!gateway.connected(Duration::from_secs(1)).await);
    gateway.stop().await;
    proxy.stop().await;
}
