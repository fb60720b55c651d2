//! Bytes in any pieces mean the same; bytes that mean nothing end the conversation and nothing else.

use proptest::prelude::*;
use protocol::proxy::{Action, Core, Side};
use protocol::{Error, Now, client, proxy, worker};
use tl::Boxed;
use tl::tcp::Packet;

use crate::recorded_network as network;
use crate::replay::framed;
use crate::stage::{Dice, Stage, client_config, proxy_config, request, worker_config};
use accounting::TokenUsage;
use protocol::http::ResponseHead;

const SEED: u64 = 99;
/// Frames from the proxy until a client is authorised.
const CLIENT_HANDSHAKE: usize = 3;
const NOW: Now = Now { mono: std::time::Duration::from_secs(1000), unix: 1_795_001_000.0 };

/// A conversation of all three with one streamed job, and what each heard in it.
struct Heard {
    core: Vec<(u64, Vec<u8>)>,
    worker: Vec<u8>,
    client: Vec<u8>,
}

fn conversation() -> Heard {
    let mut stage = Stage::new(SEED, proxy_config(false));
    let worker = stage.add_worker(None);
    let client = stage.add_client();
    stage.pump();
    let id = stage.run(client, request(100));
    stage.pump();
    let job = stage.workers[&worker].started[0].id;
    stage.with_worker(worker, |session, now, out| {
        session.answer_head(job, ResponseHead::new(200, "OK", Vec::new()), now, out);
        session.answer_part(job, b"some words", now, out);
        session.answer_last(job, b"", TokenUsage { prompt: 5, cached: 0, completion: 2, reasoning: 0 }, now, out);
    });
    stage.pump();
    assert!(stage.got(client, id).done.is_some());
    Heard {
        worker: stage.workers[&worker].wires.said.clone(),
        client: stage.clients[&client].wires.said.clone(),
        core: stage.heard,
    }
}

/// The dice that the stage gave to its first seat, then to its second.
fn seats_dice() -> (Dice, Dice) {
    let mut dice = Dice(SEED);
    (Dice(dice.roll() | 1), Dice(dice.roll() | 1))
}

/// What a machine did, comparable.
#[derive(Default, PartialEq, Debug)]
struct Did {
    sent: Vec<(u64, Vec<u8>)>,
    others: Vec<String>,
}

fn pieces<'a>(mut bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut sizes = sizes.iter().cycle();
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(bytes.len().min(*sizes.next().unwrap()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

fn worker_on(heard: &[u8], sizes: &[usize]) -> (Did, Option<Error>) {
    let (mut out, mut did, mut error) = (Vec::new(), Did::default(), None);
    let mut session = worker::Session::new(worker_config(), Box::new(seats_dice().0), NOW, &mut out);
    for piece in pieces(heard, sizes) {
        error = error.or(session.receive(piece, NOW, &mut out).err());
    }
    for action in out {
        match action {
            worker::Action::Send(bytes) => did.sent.push((0, bytes)),
            worker::Action::Ready(facts) => did.others.push(format!("{facts:?}")),
            worker::Action::Start(job) => did.others.push(hex::encode(job.id)),
            worker::Action::Payment(report) => did.others.push(format!("{report:?}")),
            worker::Action::Standing(standing) => did.others.push(format!("{standing:?}")),
            worker::Action::WantEvidence { nonce, .. }
            | worker::Action::EvidenceCame { nonce, .. }
            | worker::Action::NoEvidence { nonce } => did.others.push(format!("{nonce:?}")),
            worker::Action::Cancel(id) | worker::Action::Expired(id) => did.others.push(hex::encode(id)),
        }
    }
    (did, error)
}

fn client_on(heard: &[u8], sizes: &[usize]) -> (Did, Option<Error>) {
    let (mut out, mut did, mut error) = (Vec::new(), Did::default(), None);
    let mut session = client::Session::new(client_config(), Box::new(seats_dice().1), NOW, &mut out);
    // The request goes out when the handshake is done, wherever pieces end.
    let (handshake, rest) =
        heard.split_at(frame_ends(heard).get(CLIENT_HANDSHAKE).map_or(0, |end| (*end).min(heard.len())));
    for piece in pieces(handshake, sizes) {
        error = error.or(session.receive(piece, NOW, &mut out).err());
    }
    if session.is_ready() {
        session.run(request(100), NOW, &mut out).unwrap();
    }
    for piece in pieces(rest, sizes) {
        error = error.or(session.receive(piece, NOW, &mut out).err());
    }
    for action in out {
        match action {
            client::Action::Send(bytes) => did.sent.push((0, bytes)),
            client::Action::Ready(facts) => did.others.push(format!("{facts:?}")),
            client::Action::Register { nonce } => did.others.push(nonce.to_string()),
            client::Action::Head { id, head } => did.others.push(format!("{} {}", hex::encode(id), head.status)),
            client::Action::Part { id, bytes } => did.others.push(format!("{} {bytes:?}", hex::encode(id))),
            client::Action::Done { id, info } => did.others.push(format!("{} {info:?}", hex::encode(id))),
            client::Action::Failed { id, code, message } => {
                did.others.push(format!("{} {code} {message}", hex::encode(id)));
            }
            client::Action::WorkerTypes(types) => did.others.push(format!("{types:?}")),
            client::Action::Payment(report) => did.others.push(format!("{report:?}")),
            client::Action::Demands(demands) => did.others.push(format!("{demands:?}")),
        }
    }
    (did, error)
}

fn core_on(heard: &[(u64, Vec<u8>)], sizes: &[usize]) -> Did {
    let (mut out, mut did) = (Vec::new(), Did::default());
    let mut core = fresh_core();
    for (conn, bytes) in heard {
        for piece in pieces(bytes, sizes) {
            core.receive(*conn, piece, NOW, &mut out);
        }
    }
    for action in out {
        match action {
            Action::Send { conn, bytes } => did.sent.push((conn, bytes)),
            Action::Close { conn, why } => did.others.push(format!("{conn} {why}")),
            Action::Persist { .. }
            | Action::Commit { .. }
            | Action::LookAt { .. }
            | Action::WorkerWaits { .. }
            | Action::EvidenceCame { .. }
            | Action::NoEvidence { .. }
            | Action::WantEvidence { .. } => {}
            Action::JobFinished(job) => did.others.push(format!("{job:?}")),
        }
    }
    did
}

fn fresh_core() -> Core {
    let dice = Box::new(Dice(SEED ^ 0x5555_aaaa));
    let mut core = Core::new(proxy_config(false), proxy::Accounts::default(), dice);
    core.open(1, Side::Worker, [0; 32], NOW);
    core.open(2, Side::Client, [0; 32], NOW);
    core
}

/// Where each frame of a stream ends.
fn frame_ends(bytes: &[u8]) -> Vec<usize> {
    let mut ends = vec![0];
    while let Some(length) = bytes.get(ends[ends.len() - 1]..).and_then(<[u8]>::first_chunk::<4>) {
        ends.push(ends[ends.len() - 1] + 8 + u32::from_le_bytes(*length) as usize);
    }
    ends
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_chunking_of_the_bytes_gives_the_same_actions(sizes in prop::collection::vec(1usize..400, 1..12)) {
        let heard = conversation();
        prop_assert_eq!(worker_on(&heard.worker, &sizes), worker_on(&heard.worker, &[1]));
        prop_assert_eq!(client_on(&heard.client, &sizes), client_on(&heard.client, &[1]));
        prop_assert_eq!(core_on(&heard.core, &sizes), core_on(&heard.core, &[usize::MAX]));
        prop_assert!(worker_on(&heard.worker, &[usize::MAX]).1.is_none());
        prop_assert!(core_on(&heard.core, &sizes).others.iter().any(|it| it.contains("Answered")));
    }

    #[test]
    fn garbage_at_every_state_ends_the_conversation_or_is_ignored(
        frames in 0usize..12,
        garbage in prop::collection::vec(any::<u8>(), 0..200),
        flip in any::<prop::sample::Index>(),
        with in 1u8..,
    ) {
        let heard = conversation();
        for (stream, on) in [
            (&heard.worker, worker_on as fn(&[u8], &[usize]) -> (Did, Option<Error>)),
            (&heard.client, client_on),
        ] {
            let ends = frame_ends(stream);
            let whole = &stream[..ends[frames.min(ends.len() - 1)]];
            // A frame of any content, in turn.
            let mut payload = garbage.clone();
            payload.resize(garbage.len().max(4), 0);
            let number = frames.min(ends.len() - 1) as u32;
            let _ = on(&[whole, &framed(number, &payload)].concat(), &[64]);
            // A frame too large, announced only.
            let too_large = [whole, &[1, 0, 0, 1]].concat();
            prop_assert_eq!(on(&too_large, &[64]).1, Some(Error::FrameLength { length: (1 << 24) + 1 }));
            // Bytes that were never meant to be a frame.
            let _ = on(&[whole, &garbage].concat(), &[64]);
            // One byte of the conversation changed.
            let mut flipped = stream.clone();
            let at = flip.index(flipped.len());
            flipped[at] ^= with;
            let _ = on(&flipped, &[64]);
            // A conversation cut anywhere is only one that waits.
            let cut = flip.index(stream.len());
            prop_assert!(on(&stream[..cut], &[64]).1.is_none());
        }
    }

    #[test]
    fn garbage_of_one_peer_closes_only_its_own_connection(
        garbage in prop::collection::vec(any::<u8>(), 4..200),
        ids in prop::collection::vec(0usize..12, 1..4),
        is_worker in any::<bool>(),
    ) {
        let mut stage = Stage::new(SEED, proxy_config(false));
        let good = stage.add_worker(None);
        let client = stage.add_client();
        stage.pump();
        let bad = if is_worker { stage.add_raw_worker() } else { stage.add_raw(Side::Client) };
        if !is_worker {
            stage.raw_send(bad, &Packet::Connect { id: 1 });
            stage.raw_ask(bad, network::client_connects().to_bytes()).unwrap();
            stage.raw_ask(bad, tl::client::AuthorizeWithProxyShort { data: Vec::new() }.to_bytes()).unwrap();
        }
        // Constructors that mean something here, with content that does not.
        let known = [
            tl::worker::EnabledDisabled::ID, tl::worker::NewCoefficient::ID, tl::proxy::QueryAnswerEx::ANSWER,
            tl::proxy::QueryAnswerEx::PART, tl::proxy::QueryAnswerEx::ERROR, tl::proxy::QueryAnswer::ANSWER,
            tl::proxy::QueryAnswerPart::ERROR, tl::client::RunQueryEx::ID, tl::client::RunQuery::ID,
            tl::worker::ConnectToProxy::ID, tl::client::ConnectToProxy::ID, 0xdead_beef,
        ];
        for id in ids {
            if stage.closed.is_empty() {
                let data = [&known[id].to_le_bytes()[..], &garbage].concat();
                stage.raw_send(bad, &Packet::Packet { data: data.clone() });
                if stage.closed.is_empty() {
                    stage.raw_send(bad, &Packet::Query { id: 5, data });
                }
            }
        }
        prop_assert!(stage.closed.iter().all(|(conn, _)| *conn == bad));
        // The others go on.
        stage.run(client, request(100));
        stage.pump();
        prop_assert_eq!(stage.workers[&good].started.len(), 1);
    }
}
