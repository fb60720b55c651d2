//! Our client against our server, and both against bare rustls peers where those can do what ours never would.

use ratls::pow::{Challenge, PowError, Response};
use ratls::{
    AppraisalError, BUFFER_LIMIT, ChannelError, ClientChannel, Evidence, Identity, Measurements, Policy, ServerChannel,
    State, VerifyError, tls,
};
use rustls::Connection;

use crate::maker::{Recipe, pkcs8};
use crate::mutations::Dice;
use crate::pair::{
    EASY, End, FAKE, NOW, Shown, VERSION_1_3, bare_client, bare_client_with, bare_server, client_tls, clock, deliver,
    hello_of, join, meet, opened, past_pow, server_past_pow, server_tls,
};
use crate::record::Hello;

fn genuine_peer() -> Shown {
    let recipe = Recipe::genuine(9);
    Shown { chain: vec![recipe.der()], key: pkcs8(&recipe.key) }
}

fn is_open(end: &impl End) -> bool {
    matches!(End::state(end), State::Open(_))
}

#[test]
fn two_ends_open_and_know_each_other() {
    let (dialling, accepting) =
        (Identity::generate(Evidence::None, NOW).unwrap(), Identity::generate(Evidence::FakeTdx, NOW).unwrap());
    let client_tls = tls::client_config(&dialling, FAKE, clock(NOW)).unwrap();
    let server_tls = tls::server_config(&accepting, Policy::Any, clock(NOW)).unwrap();
    let mut client = ClientChannel::new(&client_tls, EASY).unwrap();
    let mut server = ServerChannel::new(&server_tls, EASY, [1; 16]).unwrap();
    assert_eq!((client.state(), server.state()), (State::AwaitingPow, State::AwaitingPow));
    join(&mut client, &mut server, &mut || usize::MAX).unwrap();

    let seen = client.peer().unwrap();
    assert_eq!((seen.public_key, seen.attested), (accepting.public_key(), true));
    assert_eq!(seen.image_hash, Measurements::SIMULATED.image_hash());
    let seen = server.peer().unwrap();
    assert_eq!((seen.public_key, seen.attested, seen.image_hash), (dialling.public_key(), false, [0; 32]));
}

#[test]
fn two_ends_open_when_every_byte_comes_alone() {
    let mut client = ClientChannel::new(&client_tls(Evidence::FakeTdx, FAKE), EASY).unwrap();
    let mut server = ServerChannel::new(&server_tls(Evidence::FakeTdx, FAKE), EASY, [2; 16]).unwrap();
    join(&mut client, &mut server, &mut || 1).unwrap();
    assert!(is_open(&client) && is_open(&server));
    client.send_plaintext(b"question").unwrap();
    server.send_plaintext(b"answer").unwrap();
    join(&mut client, &mut server, &mut || 1).unwrap();
    assert_eq!((client.take_plaintext(), server.take_plaintext()), (b"answer".to_vec(), b"question".to_vec()));
}

#[test]
fn two_ends_open_and_talk_however_the_bytes_are_cut() {
    for seed in 0..40 {
        let mut dice = Dice::new(seed);
        let mut client = ClientChannel::new(&client_tls(Evidence::FakeTdx, FAKE), EASY).unwrap();
        let mut server = ServerChannel::new(&server_tls(Evidence::None, Policy::Any), 4, [seed as u8; 16]).unwrap();
        let refused = join(&mut client, &mut server, &mut || dice.below(300) + 1).unwrap_err();
        assert!(matches!(refused, ChannelError::Peer(VerifyError::Appraisal(AppraisalError::NoEvidence))));

        let mut client = ClientChannel::new(&client_tls(Evidence::None, Policy::Any), EASY).unwrap();
        let mut server = ServerChannel::new(&server_tls(Evidence::None, Policy::Any), 4, [seed as u8; 16]).unwrap();
        join(&mut client, &mut server, &mut || dice.below(300) + 1).unwrap();
        let text: Vec<u8> = (0..dice.below(5_000)).map(|_| dice.below(256) as u8).collect();
        client.send_plaintext(&text).unwrap();
        join(&mut client, &mut server, &mut || dice.below(3_000) + 1).unwrap();
        assert_eq!(server.take_plaintext(), text, "seed {seed}");
    }
}

#[test]
fn a_megabyte_goes_both_ways_at_once_within_the_bounds() {
    let (mut client, mut server) = opened();
    let there: Vec<u8> = (0..1_048_576_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let back: Vec<u8> = there.iter().rev().copied().collect();
    let (mut unsent_there, mut unsent_back) = (&there[..], &back[..]);
    let (mut got_there, mut got_back) = (Vec::new(), Vec::new());
    let mut dice = Dice::new(7);
    let mut most = 0;
    while got_there.len() < there.len() || got_back.len() < back.len() {
        while !unsent_there.is_empty() && !client.wants_wire_drained() {
            let (piece, rest) = unsent_there.split_at(unsent_there.len().min(dice.below(60_000) + 1));
            client.send_plaintext(piece).unwrap();
            unsent_there = rest;
        }
        while !unsent_back.is_empty() && !server.wants_wire_drained() {
            let (piece, rest) = unsent_back.split_at(unsent_back.len().min(dice.below(60_000) + 1));
            server.send_plaintext(piece).unwrap();
            unsent_back = rest;
        }
        let (out, reply) = (client.take_wire(), server.take_wire());
        most = most.max(out.len()).max(reply.len());
        for piece in out.chunks(dice.below(20_000) + 1) {
            server.receive_wire(piece).unwrap();
            got_there.extend(server.take_plaintext());
        }
        for piece in reply.chunks(dice.below(20_000) + 1) {
            client.receive_wire(piece).unwrap();
            got_back.extend(client.take_plaintext());
        }
    }
    assert!(got_there == there && got_back == back);
    assert!(most < BUFFER_LIMIT + 62_000, "{most} bytes waited for the wire");
}

#[test]
fn a_full_queue_refuses_more_until_it_is_taken() {
    let (mut client, mut server) = opened();
    let block = vec![7; BUFFER_LIMIT];
    assert!(!client.wants_wire_drained());
    client.send_plaintext(&block).unwrap();
    assert!(client.wants_wire_drained());
    assert!(matches!(client.send_plaintext(b"more"), Err(ChannelError::WireNotTaken)));
    server.receive_wire(&client.take_wire()).unwrap();
    assert!(server.wants_plaintext_drained());
    client.send_plaintext(b"more").unwrap();
    let more = client.take_wire();
    assert!(matches!(server.receive_wire(&more), Err(ChannelError::PlaintextNotTaken)));
    assert_eq!(server.take_plaintext(), block);
    server.receive_wire(&more).unwrap();
    assert_eq!(server.take_plaintext(), b"more", "nothing was lost by the refusals");
}

#[test]
fn nothing_is_sent_to_a_peer_that_is_not_known_yet() {
    let mut client = ClientChannel::new(&client_tls(Evidence::None, Policy::Any), EASY).unwrap();
    assert!(matches!(client.send_plaintext(b"early"), Err(ChannelError::NotOpen)));
    let mut client = past_pow(client);
    assert!(matches!(client.send_plaintext(b"early"), Err(ChannelError::NotOpen)));
    let mut server = server_past_pow(&server_tls(Evidence::None, Policy::Any));
    server.receive_wire(&hello_of(&mut client)).unwrap();
    assert_eq!(server.state(), State::Handshaking);
    assert!(matches!(server.send_plaintext(b"early"), Err(ChannelError::NotOpen)));
    // The refused calls did no harm.
    join(&mut client, &mut server, &mut || usize::MAX).unwrap();
    assert!(is_open(&client) && is_open(&server));
}

#[test]
fn the_answer_to_the_challenge_leaves_together_with_the_client_hello() {
    let mut client = ClientChannel::new(&client_tls(Evidence::None, Policy::Any), EASY).unwrap();
    let challenge = Challenge { difficulty: 4, salt: [5; 16] };
    client.receive_wire(&challenge.encode()).unwrap();
    assert_eq!(client.state(), State::PowNeeded(challenge));
    assert!(client.take_wire().is_empty(), "the client waits for the solution");
    let wrong = (0..1_000_000).find(|&nonce| !challenge.verify(nonce)).unwrap();
    assert!(matches!(client.provide_nonce(wrong), Err(ChannelError::Pow(PowError::WrongNonce))));
    let right = (0..1_000_000).find(|&nonce| challenge.verify(nonce)).unwrap();
    client.provide_nonce(right).unwrap();
    assert_eq!(client.state(), State::Handshaking);
    let wire = client.take_wire();
    assert_eq!(wire[..12], Response { nonce: right }.encode());
    assert_eq!((wire[12], wire[17]), (22, 1), "a handshake record with a ClientHello");
    assert!(matches!(client.provide_nonce(right), Err(ChannelError::Pow(PowError::NotAsked))));
}

#[test]
fn our_client_hello_has_what_genuine_ones_have_and_none_of_the_extras() {
    let tls = client_tls(Evidence::None, Policy::Any);
    let recorded = crate::fixture::stream("tls_any_d20.jsonl", "tls", "client>server").bytes();
    let recorded = Hello::read(&recorded[17..]);
    // The second connection is where a client that kept tickets would offer one.
    for _ in 0..2 {
        let mut client = past_pow(ClientChannel::new(&tls, EASY).unwrap());
        let first = hello_of(&mut client);
        let hello = Hello::read(&first[5..]);
        assert_eq!(hello.legacy_version, recorded.legacy_version);
        assert_eq!(hello.suites, recorded.suites[..2], "the third is only a sign for renegotiation");
        assert_eq!(hello.session.len(), 32);
        for extension in [0, 16, 41, 42] {
            assert_eq!(hello.extension(extension), None, "extension {extension}");
        }
        assert_eq!(hello.extension(43), recorded.extension(43), "TLS 1.3 only");
        assert_eq!(hello.extension(13), Some(&[0, 2, 8, 7][..]), "signatures by Ed25519 only");
        let groups = hello.extension(10).unwrap();
        assert!(
            groups[2..].chunks(2).any(|group| group == [0, 0x1d])
                && groups[2..].chunks(2).any(|group| group == [0, 0x17])
        );
        let outcome = meet(&mut client, first, &mut bare_server(&genuine_peer(), 3));
        assert!(outcome.ours.is_ok() && outcome.theirs.is_ok() && is_open(&client));
    }
}

#[test]
fn tickets_are_tolerated_and_none_are_sent() {
    let mut bare = bare_server(&genuine_peer(), 4);
    let mut client = past_pow(ClientChannel::new(&client_tls(Evidence::None, FAKE), EASY).unwrap());
    let hello = hello_of(&mut client);
    let outcome = meet(&mut client, hello, &mut bare);
    assert!(outcome.ours.is_ok() && outcome.theirs.is_ok());
    assert!(is_open(&client) && client.take_plaintext().is_empty());

    // With Finished the client has said its last; a server with tickets would answer now.
    let mut server = server_past_pow(&server_tls(Evidence::None, FAKE));
    let mut client = past_pow(ClientChannel::new(&client_tls(Evidence::FakeTdx, Policy::Any), EASY).unwrap());
    server.receive_wire(&hello_of(&mut client)).unwrap();
    client.receive_wire(&server.take_wire()).unwrap();
    server.receive_wire(&client.take_wire()).unwrap();
    assert!(is_open(&server) && server.take_wire().is_empty());
}

#[test]
fn both_suites_are_spoken() {
    use rustls::crypto::ring::{cipher_suite, default_provider};
    for (suite, code) in [
        (cipher_suite::TLS13_AES_128_GCM_SHA256, 0x1301),
        (cipher_suite::TLS13_AES_256_GCM_SHA384, 0x1302),
        (cipher_suite::TLS13_CHACHA20_POLY1305_SHA256, 0x1303),
    ] {
        let provider = rustls::crypto::CryptoProvider { cipher_suites: vec![suite], ..default_provider() };
        let mut bare = bare_client_with(provider, Some(&genuine_peer()), VERSION_1_3);
        let mut server = server_past_pow(&server_tls(Evidence::None, FAKE));
        let outcome = meet(&mut server, Vec::new(), &mut bare);
        assert_eq!(outcome.ours.is_ok(), code != 0x1303, "suite {code:x}");
        assert_eq!(is_open(&server), code != 0x1303, "suite {code:x}");
    }
}

#[test]
fn a_refused_client_believes_it_was_accepted_and_then_hears_nothing() {
    let mut client = ClientChannel::new(&client_tls(Evidence::None, FAKE), EASY).unwrap();
    let mut server = ServerChannel::new(&server_tls(Evidence::FakeTdx, FAKE), EASY, [4; 16]).unwrap();
    let refused = join(&mut client, &mut server, &mut || usize::MAX).unwrap_err();
    assert!(matches!(refused, ChannelError::Peer(VerifyError::Appraisal(AppraisalError::NoEvidence))));
    assert!(is_open(&client));
    client.send_plaintext(b"hello?").unwrap();
    assert_eq!(server.state(), State::Over);
    assert!(server.take_wire().is_empty(), "no alert");
    assert!(matches!(server.receive_wire(&client.take_wire()), Err(ChannelError::Over)));
    assert!(matches!(server.send_plaintext(b"?"), Err(ChannelError::Over)));
    assert!(server.take_wire().is_empty() && server.peer().is_none());
}

#[test]
fn a_refused_server_hears_nothing() {
    let mut client = past_pow(ClientChannel::new(&client_tls(Evidence::FakeTdx, FAKE), EASY).unwrap());
    let mut server = server_past_pow(&server_tls(Evidence::None, Policy::Any));
    server.receive_wire(&hello_of(&mut client)).unwrap();
    let refused = client.receive_wire(&server.take_wire()).unwrap_err();
    assert!(matches!(refused, ChannelError::Peer(VerifyError::Appraisal(AppraisalError::NoEvidence))));
    assert_eq!(client.state(), State::Over);
    assert!(client.take_wire().is_empty(), "neither an alert nor its own certificate");
}

#[test]
fn a_certificate_is_judged_by_the_clock_at_the_time_of_the_connection() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    let now = Arc::new(AtomicU64::new(NOW));
    let reading = Arc::clone(&now);
    let identity = Identity::generate(Evidence::None, NOW).unwrap();
    let patient = Arc::new(move || reading.load(Ordering::Relaxed));
    let server_tls = tls::server_config(&identity, Policy::Any, patient).unwrap();
    let client_tls = client_tls(Evidence::None, Policy::Any);
    for (time, accepted) in [(NOW, true), (NOW + 90_000, false), (NOW - 3_600, false)] {
        now.store(time, Ordering::Relaxed);
        let mut client = past_pow(ClientChannel::new(&client_tls, EASY).unwrap());
        let mut server = server_past_pow(&server_tls);
        server.receive_wire(&hello_of(&mut client)).unwrap();
        assert_eq!(join(&mut client, &mut server, &mut || usize::MAX).is_ok(), accepted, "at {time}");
    }
}

#[test]
fn a_wrong_answer_to_the_challenge_ends_the_connection_silently() {
    let tls = server_tls(Evidence::None, Policy::Any);
    let challenge = Challenge { difficulty: 12, salt: [6; 16] };
    let wrong = (0..1_000_000).find(|&nonce| !challenge.verify(nonce)).unwrap();
    let mut magic = Response { nonce: 0 }.encode();
    magic[0] ^= 1;
    for answer in [Response { nonce: wrong }.encode(), magic] {
        let mut server = ServerChannel::new(&tls, challenge.difficulty, challenge.salt).unwrap();
        assert_eq!(server.take_wire(), challenge.encode());
        server.receive_wire(&answer[..11]).unwrap();
        assert_eq!(server.state(), State::AwaitingPow);
        assert!(matches!(server.receive_wire(&answer[11..]), Err(ChannelError::Pow(_))));
        assert!(server.take_wire().is_empty() && server.state() == State::Over);
    }
}

#[test]
fn a_challenge_that_is_too_hard_or_none_is_not_answered() {
    let tls = client_tls(Evidence::None, Policy::Any);
    let mut client = ClientChannel::new(&tls, 28).unwrap();
    let hard = Challenge { difficulty: 30, salt: [0; 16] };
    let refused = client.receive_wire(&hard.encode()).unwrap_err();
    assert!(matches!(refused, ChannelError::Pow(PowError::TooHard { asked: 30, most: 28 })));
    assert!(client.take_wire().is_empty() && client.state() == State::Over);
    assert!(matches!(client.provide_nonce(0), Err(ChannelError::Over)));

    let mut client = ClientChannel::new(&tls, 28).unwrap();
    let refused = client.receive_wire(b"HTTP/1.1 400 Bad Request").unwrap_err();
    assert!(matches!(refused, ChannelError::Pow(PowError::WrongMagic { .. })));
    assert!(client.take_wire().is_empty());
}

#[test]
fn bytes_behind_the_challenge_are_kept_within_bounds() {
    let tls = client_tls(Evidence::None, Policy::Any);
    let mut client = ClientChannel::new(&tls, EASY).unwrap();
    let mut bytes = Challenge { difficulty: 0, salt: [0; 16] }.encode().to_vec();
    bytes.extend_from_slice(b"no server says this");
    client.receive_wire(&bytes).unwrap();
    assert!(matches!(client.provide_nonce(0), Err(ChannelError::Tls(_))), "TLS has seen them");

    let mut client = ClientChannel::new(&tls, EASY).unwrap();
    client.receive_wire(&bytes[..24]).unwrap();
    let flood = (0..100).find_map(|_| client.receive_wire(&[0; 16_384]).err());
    assert!(matches!(flood, Some(ChannelError::PlaintextNotTaken)));
}

#[test]
fn garbage_in_place_of_tls_ends_the_connection_silently() {
    for seed in 0..20 {
        let mut dice = Dice::new(seed);
        let garbage: Vec<u8> = (0..2_000).map(|_| dice.below(256) as u8).collect();
        let mut server = server_past_pow(&server_tls(Evidence::None, Policy::Any));
        assert!(deliver(&garbage, &mut server, &mut || dice.below(100) + 1).is_err());
        assert!(server.take_wire().is_empty() && server.state() == State::Over);
    }
    let (mut client, mut server) = opened();
    client.send_plaintext(b"question").unwrap();
    let mut damaged = client.take_wire();
    *damaged.last_mut().unwrap() ^= 1;
    assert!(matches!(server.receive_wire(&damaged), Err(ChannelError::Tls(_))));
    assert!(server.take_plaintext().is_empty() && server.take_wire().is_empty());
}

#[test]
fn an_announced_end_is_tolerated_and_never_announced_by_us() {
    let mut bare = bare_client(Some(&genuine_peer()));
    let mut server = server_past_pow(&server_tls(Evidence::None, FAKE));
    let outcome = meet(&mut server, Vec::new(), &mut bare);
    assert!(outcome.ours.is_ok() && !server.is_closed_by_peer());
    let Connection::Client(connection) = &mut bare else { panic!("a client") };
    std::io::Write::write_all(&mut connection.writer(), b"last words").unwrap();
    connection.send_close_notify();
    let outcome = meet(&mut server, Vec::new(), &mut bare);
    assert!(outcome.ours.is_ok() && outcome.sent.is_empty());
    assert_eq!(server.take_plaintext(), b"last words");
    assert!(server.is_closed_by_peer());
    server.receive_wire(b"whatever follows").unwrap();
    assert!(server.take_plaintext().is_empty() && server.take_wire().is_empty());
}

#[test]
fn a_peer_that_signs_with_another_key_than_its_certificate_holds_is_refused() {
    let certificate = Recipe::genuine(9).der();
    let thief = Shown { chain: vec![certificate], key: pkcs8(&Recipe::genuine(10).key) };
    let mut server = server_past_pow(&server_tls(Evidence::None, FAKE));
    let outcome = meet(&mut server, Vec::new(), &mut bare_client(Some(&thief)));
    assert!(matches!(outcome.ours, Err(ChannelError::Peer(VerifyError::BadSignature))));

    let mut client = past_pow(ClientChannel::new(&client_tls(Evidence::None, FAKE), EASY).unwrap());
    let hello = hello_of(&mut client);
    let outcome = meet(&mut client, hello, &mut bare_server(&thief, 0));
    assert!(matches!(outcome.ours, Err(ChannelError::Peer(VerifyError::BadSignature))));
}
