//! Connections between genuine programs, decrypted with their key logs.

use ed25519_dalek::{Signature, VerifyingKey};
use ratls::pow::{Challenge, Response};
use ratls::tls::peer_identity;
use ratls::{AppraisalError, PeerIdentity, Policy, Role, VerifyError, certificate};
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};

use crate::fixture::{self, Stream};
use crate::record::handshake::{
    CERTIFICATE, CERTIFICATE_REQUEST, CERTIFICATE_VERIFY, CLIENT_HELLO, ENCRYPTED_EXTENSIONS, FINISHED,
    NEW_SESSION_TICKET, SERVER_HELLO,
};
use crate::record::{self, Hello, Message};

const FAKE: Policy = Policy::FakeTdx { image_hashes: Vec::new() };
const SIGNATURE_ALGORITHMS: u16 = 13;
const SUPPORTED_VERSIONS: u16 = 43;
const KEY_SHARE: u16 = 51;

/// One recorded connection, decrypted.
struct Conversation {
    to_server: Stream,
    to_client: Stream,
    challenge: Challenge,
    response: Response,
    client: Vec<Message>,
    server: Vec<Message>,
}

fn conversation(name: &str, keys: &str, tap: &str, to_server: &str, to_client: &str) -> Conversation {
    let to_server = fixture::stream(name, tap, to_server);
    let to_client = fixture::stream(name, tap, to_client);
    let (from_client, from_server) = (to_server.bytes(), to_client.bytes());
    let challenge = Challenge::decode(from_server[..24].try_into().unwrap()).unwrap();
    let response = Response::decode(from_client[..12].try_into().unwrap()).unwrap();
    // Behind the preamble comes the record with the ClientHello.
    let random = Hello::read(&from_client[12 + 5..]).random;
    let log = fixture::text(keys);
    let client = record::decrypt(&from_client[12..], &record::secrets(&log, &random, "CLIENT"));
    let server = record::decrypt(&from_server[24..], &record::secrets(&log, &random, "SERVER"));
    Conversation { to_server, to_client, challenge, response, client, server }
}

fn between_routers(name: &str) -> Conversation {
    conversation(&format!("{name}.jsonl"), &format!("{name}.keys"), "tls", "client>server", "server>client")
}

impl Conversation {
    /// The verdict on one side's certificate at the time of the recording.
    fn verdict(&self, role: Role, policy: &Policy) -> Result<PeerIdentity, VerifyError> {
        let side = if role == Role::Client { &self.client } else { &self.server };
        let certificates: Vec<_> =
            record::certificates(message(side, CERTIFICATE)).into_iter().map(CertificateDer::from).collect();
        peer_identity(&certificates, policy, role, self.to_client.begun)
    }
}

fn message(side: &[Message], wanted: u8) -> &[u8] {
    side.iter()
        .find_map(|message| match message {
            Message::Handshake(kind, bytes) if *kind == wanted => Some(bytes.as_slice()),
            _ => None,
        })
        .unwrap()
}

/// A side's messages by their types; application data is 0x17, ChangeCipherSpec 0x14 and an alert 0x15, shifted out of the way
/// of the handshake's.
fn order(side: &[Message]) -> Vec<u16> {
    side.iter()
        .map(|message| match message {
            Message::Handshake(kind, _) => u16::from(*kind),
            Message::ChangeCipherSpec => CHANGE_CIPHER_SPEC,
            Message::Alert(_) => 0x1500,
            Message::Application(_) => APPLICATION,
        })
        .collect()
}

const CHANGE_CIPHER_SPEC: u16 = 0x1400;
const APPLICATION: u16 = 0x1700;
const SERVER_FLIGHT: [u16; 7] = [
    SERVER_HELLO as u16,
    CHANGE_CIPHER_SPEC,
    ENCRYPTED_EXTENSIONS as u16,
    CERTIFICATE_REQUEST as u16,
    CERTIFICATE as u16,
    CERTIFICATE_VERIFY as u16,
    FINISHED as u16,
];
const CLIENT_FLIGHT: [u16; 5] =
    [CLIENT_HELLO as u16, CHANGE_CIPHER_SPEC, CERTIFICATE as u16, CERTIFICATE_VERIFY as u16, FINISHED as u16];
const TWO_TICKETS: [u16; 2] = [NEW_SESSION_TICKET as u16; 2];

fn plaintext(side: &[Message]) -> Vec<u8> {
    side.iter()
        .flat_map(|message| match message {
            Message::Application(bytes) => bytes.clone(),
            _ => Vec::new(),
        })
        .collect()
}

/// Every recording in which the handshake came to its end on at least one side.
fn all() -> Vec<(&'static str, Conversation)> {
    let mut all: Vec<_> = ["tls_any_d20", "tls_fake_tdx_d20", "tls_fake_tdx_d8_noinfo"]
        .into_iter()
        .chain(["tls_client_without_quote", "tls_expired_or_v1", "tls_server_without_quote"])
        .map(|name| (name, between_routers(name)))
        .collect();
    all.push(("50_faketdx_worker_connect", worker_connects()));
    all.push(("60_client_direct_tls", client_connects()));
    all
}

fn worker_connects() -> Conversation {
    let (out, back) = ("workerrouter>proxyrouter", "proxyrouter>workerrouter");
    conversation("50_faketdx_worker_connect.jsonl", "50_faketdx.keys", "worker-tls", out, back)
}

fn client_connects() -> Conversation {
    let (out, back) = ("clientrouter>proxyrouter", "proxyrouter>clientrouter");
    conversation("60_client_direct_tls.jsonl", "60_direct.keys", "client-tls", out, back)
}

#[test]
fn the_server_speaks_first_and_the_answer_leaves_together_with_the_client_hello() {
    for (name, conversation) in all() {
        assert_eq!(conversation.to_client.reads[0].len(), Challenge::LENGTH, "{name}");
        assert!(conversation.challenge.verify(conversation.response.nonce), "{name}");
        let first = &conversation.to_server.reads[0];
        let hello = message(&conversation.client, CLIENT_HELLO);
        assert_eq!(first.len(), Response::LENGTH + 5 + hello.len(), "{name}: one read holds both and nothing else");
        assert!(conversation.to_client.begun <= conversation.to_server.begun);
    }
}

#[test]
fn a_challenge_beyond_the_limit_is_not_answered() {
    let asked = fixture::stream("tls_pow_too_hard.jsonl", "tls", "server>client");
    let challenge = Challenge::decode(asked.bytes().as_slice().try_into().unwrap()).unwrap();
    assert_eq!(challenge.difficulty, 30);
    let answered = fixture::stream("tls_pow_too_hard.jsonl", "tls", "client>server");
    assert!(answered.reads.is_empty() && answered.ended);
}

#[test]
fn the_client_hello_offers_two_suites_ed25519_and_none_of_the_extras() {
    for (name, conversation) in all() {
        let hello = Hello::read(message(&conversation.client, CLIENT_HELLO));
        assert_eq!(hello.legacy_version, 0x0303);
        assert_eq!(hello.suites, [0x1301, 0x1302, 0x00ff], "{name}");
        assert_eq!(hello.session.len(), 32, "{name}: what makes both sides send ChangeCipherSpec");
        for (number, what) in [(0, "server name"), (16, "application protocol"), (41, "resumption"), (42, "early data")]
        {
            assert_eq!(hello.extension(number), None, "{name}: {what}");
        }
        assert_eq!(hello.extension(SUPPORTED_VERSIONS), Some(&[2, 3, 4][..]), "{name}: TLS 1.3 and no other");
        let schemes = hello.extension(SIGNATURE_ALGORITHMS).unwrap();
        assert!(schemes[2..].chunks(2).any(|scheme| scheme == [0x08, 0x07]), "{name}: Ed25519");
    }
}

#[test]
fn the_server_picks_aes_128_and_x25519() {
    for (name, conversation) in all() {
        let hello = Hello::read(message(&conversation.server, SERVER_HELLO));
        assert_eq!(hello.suites, [0x1301], "{name}");
        assert_eq!(hello.session, Hello::read(message(&conversation.client, CLIENT_HELLO)).session);
        assert_eq!(hello.extension(KEY_SHARE).unwrap()[..4], [0, 0x1d, 0, 32]);
        assert_eq!(hello.extension(SUPPORTED_VERSIONS), Some(&[3, 4][..]));
        // No application protocol, no server name: the encrypted extensions hold at most the groups.
        let mut encrypted = record::Fields(&message(&conversation.server, ENCRYPTED_EXTENSIONS)[4..]);
        assert!(encrypted.vector(2).is_empty(), "{name}");
    }
}

#[test]
fn a_handshake_that_succeeds_has_this_order_two_tickets_and_no_alert() {
    for (name, conversation) in all() {
        if ["tls_client_without_quote", "tls_expired_or_v1", "tls_server_without_quote"].contains(&name) {
            continue;
        }
        let client = order(&conversation.client);
        assert_eq!(client[..5], CLIENT_FLIGHT, "{name}");
        assert!(client.len() > 5 && client[5..].iter().all(|&kind| kind == APPLICATION), "{name}: no close_notify");
        let server = order(&conversation.server);
        assert_eq!(server[..7], SERVER_FLIGHT, "{name}");
        assert_eq!(server[7..9], TWO_TICKETS, "{name}");
        assert!(server.len() > 9 && server[9..].iter().all(|&kind| kind == APPLICATION), "{name}: no close_notify");
    }
}

#[test]
fn a_refused_client_hears_nothing_and_goes_on_as_if_accepted() {
    let refusals = [
        ("tls_client_without_quote", VerifyError::Appraisal(AppraisalError::NoEvidence)),
        ("tls_expired_or_v1", VerifyError::Expired { not_after: 1_767_312_000, now: 0 }),
    ];
    for (name, expected) in refusals {
        let conversation = between_routers(name);
        let verdict = conversation.verdict(Role::Client, &FAKE).unwrap_err();
        match (&verdict, &expected) {
            (VerifyError::Expired { not_after: found, .. }, VerifyError::Expired { not_after: due, .. }) => {
                assert_eq!(found, due);
            }
            _ => assert_eq!(verdict, expected, "{name}"),
        }
        assert!(conversation.verdict(Role::Server, &FAKE).is_ok(), "{name}: the client was content");
        assert_eq!(order(&conversation.server), SERVER_FLIGHT, "{name}: no ticket, no alert, no close_notify");
        assert!(conversation.to_client.ended, "{name}");
        assert_eq!(order(&conversation.client), [&CLIENT_FLIGHT[..], &[APPLICATION]].concat(), "{name}");
        assert_eq!(plaintext(&conversation.client), b"PING-FROM-CLIENT");
    }
}

#[test]
fn a_refused_server_hears_nothing_either() {
    let conversation = between_routers("tls_server_without_quote");
    let verdict = conversation.verdict(Role::Server, &FAKE).unwrap_err();
    assert_eq!(verdict, VerifyError::Appraisal(AppraisalError::NoEvidence));
    assert!(conversation.verdict(Role::Server, &Policy::Any).is_ok());
    assert_eq!(order(&conversation.client), [u16::from(CLIENT_HELLO)], "nothing after the hello");
    assert!(conversation.to_server.ended);
    assert_eq!(order(&conversation.server), SERVER_FLIGHT);
}

#[test]
fn certificates_in_recorded_handshakes_verify_under_the_policy_of_the_day() {
    for (name, client, server) in [
        ("tls_any_d20", &Policy::Any, &Policy::Any),
        ("tls_fake_tdx_d20", &FAKE, &FAKE),
        ("tls_fake_tdx_d8_noinfo", &FAKE, &FAKE),
    ] {
        let conversation = between_routers(name);
        assert!(conversation.verdict(Role::Client, client).is_ok(), "{name}");
        assert!(conversation.verdict(Role::Server, server).is_ok(), "{name}");
    }
    let plain = between_routers("tls_any_d20");
    for role in [Role::Client, Role::Server] {
        let refused = plain.verdict(role, &FAKE).unwrap_err();
        assert_eq!(refused, VerifyError::Appraisal(AppraisalError::NoEvidence));
    }
    let client = client_connects();
    assert!(client.verdict(Role::Client, &Policy::Any).is_ok());
    assert!(client.verdict(Role::Server, &FAKE).is_ok(), "a client with TLS of its own wants an attested server");
}

#[test]
fn handshakes_are_signed_with_the_key_that_the_lenient_parser_finds() {
    for (name, conversation) in all() {
        // Both hellos and the server's messages up to its certificate.
        let mut transcript = Sha256::new();
        transcript.update(message(&conversation.client, CLIENT_HELLO));
        for wanted in [SERVER_HELLO, ENCRYPTED_EXTENSIONS, CERTIFICATE_REQUEST, CERTIFICATE] {
            transcript.update(message(&conversation.server, wanted));
        }
        check_signature(&conversation.server, "server", &transcript, name);
        if name == "tls_server_without_quote" {
            continue;
        }
        for wanted in [CERTIFICATE_VERIFY, FINISHED] {
            transcript.update(message(&conversation.server, wanted));
        }
        transcript.update(message(&conversation.client, CERTIFICATE));
        check_signature(&conversation.client, "client", &transcript, name);
    }
}

fn check_signature(side: &[Message], who: &str, transcript: &Sha256, name: &str) {
    let certificates = record::certificates(message(side, CERTIFICATE));
    assert_eq!(certificates.len(), 1, "{name}: {who}");
    let key = certificate::parse(&certificates[0]).unwrap().public_key.unwrap();
    let mut fields = record::Fields(&message(side, CERTIFICATE_VERIFY)[4..]);
    assert_eq!(fields.number(), 0x0807, "{name}: {who} signs with Ed25519");
    let signature = Signature::from_slice(fields.vector(2)).unwrap();
    let hash = transcript.clone().finalize();
    let context = format!("TLS 1.3, {who} CertificateVerify");
    let signed = [&[b' '; 64][..], context.as_bytes(), &[0], &hash].concat();
    VerifyingKey::from_bytes(&key).unwrap().verify_strict(&signed, &signature).unwrap();
}

#[test]
fn the_decrypted_conversation_is_what_the_programs_behind_the_routers_said() {
    for name in ["tls_any_d20", "tls_fake_tdx_d20", "tls_fake_tdx_d8_noinfo"] {
        let conversation = between_routers(name);
        assert_eq!(plaintext(&conversation.client), b"PING-FROM-CLIENT", "{name}");
        assert_eq!(plaintext(&conversation.server), b"PONG-FROM-SERVER", "{name}");
    }
    for (name, conversation, tap, out, back, peer_info) in [
        ("50_faketdx_worker_connect.jsonl", worker_connects(), "rev-proxyw", "worker>proxy", "proxy>worker", 576),
        ("60_client_direct_tls.jsonl", client_connects(), "rev-proxyc", "client>proxy", "proxy>client", 124),
    ] {
        let said = fixture::stream(name, tap, out).bytes();
        assert_eq!(
            plaintext(&conversation.client),
            said[peer_info..],
            "{name}: the router adds what it knows of the peer"
        );
        assert_eq!(plaintext(&conversation.server), fixture::stream(name, tap, back).bytes(), "{name}");
    }
}

#[test]
fn what_the_router_told_about_its_peer_is_what_we_find() {
    // Length, two words, eight registers, report data, a root key's hash, then the key behind one byte of length.
    let conversation = worker_connects();
    let identity = conversation.verdict(Role::Client, &FAKE).unwrap();
    let told = fixture::stream("50_faketdx_worker_connect.jsonl", "rev-proxyw", "worker>proxy").bytes();
    let report_data = 12 + 8 * 48;
    let key = report_data + 64 + 48;
    assert_eq!(told[key..=key + 32], [&[32][..], &identity.public_key].concat());
    let certificate = certificate::parse(&record::certificates(message(&conversation.client, CERTIFICATE))[0]).unwrap();
    assert_eq!(told[report_data..report_data + 64], certificate.quote.unwrap());
}
