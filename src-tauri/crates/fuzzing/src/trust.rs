//! Proof of work, certificates and TLS as a peer may send them.

use ratls::pow::{Challenge, Response, solve};
use ratls::tls::{client_config, peer_identity, server_config};
use ratls::{ChannelError, ClientChannel, Evidence, Identity, Policy, Role, ServerChannel, State};
use rustls::pki_types::CertificateDer;
use std::sync::Arc;

/// November 2026: the recorded certificates were valid then.
const NOW: u64 = 1_795_350_000;

/// A peer's certificate, read and judged in both roles under both policies.
pub fn ratls_certificate(data: &[u8]) {
    let parsed = ratls::certificate::parse(data);
    let certificates = [CertificateDer::from(data)];
    for policy in [Policy::Any, Policy::FakeTdx { image_hashes: Vec::new() }] {
        for role in [Role::Client, Role::Server] {
            if let Ok(identity) = peer_identity(&certificates, &policy, role, NOW) {
                let key = parsed.as_ref().ok().and_then(|certificate| certificate.public_key);
                assert!(key == Some(identity.public_key), "trusted for a key that is not in the certificate");
                assert!(identity.attested == (policy != Policy::Any), "attested is not what the policy asked for");
            }
        }
    }
}

/// The two messages of the proof of work. The first byte chooses: even a challenge, odd a response.
pub fn ratls_preamble(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    if choice % 2 == 0 {
        let Some(bytes) = rest.first_chunk() else { return };
        let Ok(challenge) = Challenge::decode(bytes) else { return };
        assert!(challenge.encode() == *bytes, "a challenge is not written as it was read");
        // Solved only if it costs next to nothing; harder ones must be refused before any work.
        match solve(&challenge, 6, &mut || true) {
            Ok(Some(nonce)) => assert!(challenge.verify(nonce), "an answer that does not solve its challenge"),
            Ok(None) => panic!("no answer to {} bits", challenge.difficulty),
            Err(_) => assert!(challenge.difficulty > 6, "{} bits are too much", challenge.difficulty),
        }
    } else {
        let Some(bytes) = rest.first_chunk() else { return };
        if let Ok(response) = Response::decode(bytes) {
            assert!(response.encode() == *bytes, "a response is not written as it was read");
        }
    }
}

/// What follows the proof of work, at either end, in pieces. The first byte chooses the end (even server, odd client), the
/// second the length of a piece.
pub fn ratls_channel(data: &[u8]) {
    let [choice, length, rest @ ..] = data else { return };
    let Ok(identity) = Identity::generate(Evidence::None, NOW) else { return };
    let clock = Arc::new(|| NOW);
    if choice % 2 == 0 {
        let Ok(tls) = server_config(&identity, Policy::Any, clock) else { return };
        let Ok(mut channel) = ServerChannel::new(&tls, 0, [7; 16]) else { return };
        feed(&Response { nonce: 0 }.encode(), rest, *length, |piece| {
            let received = channel.receive_wire(piece);
            drop((channel.take_wire(), channel.take_plaintext()));
            not_open(&channel.state());
            received
        });
    } else {
        let Ok(tls) = client_config(&identity, Policy::Any, clock) else { return };
        let Ok(mut channel) = ClientChannel::new(&tls, 0) else { return };
        feed(&Challenge { difficulty: 0, salt: [7; 16] }.encode(), rest, *length, |piece| {
            let mut received = channel.receive_wire(piece);
            if matches!(channel.state(), State::PowNeeded(_)) {
                received = channel.provide_nonce(0);
            }
            drop((channel.take_wire(), channel.take_plaintext()));
            not_open(&channel.state());
            received
        });
    }
}

/// Without the peer's key nobody gets through a handshake.
fn not_open(state: &State) {
    assert!(!matches!(state, State::Open(_)), "open without a handshake");
}

fn feed(first: &[u8], rest: &[u8], length: u8, mut receive: impl FnMut(&[u8]) -> Result<(), ChannelError>) {
    let pieces = std::iter::once(first).chain(rest.chunks(usize::from(length).max(1)));
    for piece in pieces {
        if receive(piece).is_err() {
            assert!(matches!(receive(b"more"), Err(ChannelError::Over)), "an error did not end the connection");
            return;
        }
    }
}
