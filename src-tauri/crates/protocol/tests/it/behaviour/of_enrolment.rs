use std::time::Duration;

use ed25519_dalek::{Signer as _, SigningKey};
use protocol::enrolment::{Applicant, ApplicantAction, Desk, DeskAction, Request, introduction};
use protocol::{Error, Now};
use tl::Boxed;
use tl::chrysalis as wire;
use tl::tcp::Packet;

use crate::replay::framed;
use crate::stage::{Dice, packets};

const TLS_KEY: [u8; 32] = [7; 32];
const SECRET: &[u8] = b"what only this TPM can read";

fn now() -> Now {
    Now { mono: Duration::from_secs(50), unix: 1e9 }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[4; 32])
}

fn request() -> Request {
    Request {
        ek_certificates: vec![b"the endorsement key's".to_vec(), b"above it".to_vec()],
        ek_public: b"EK".to_vec(),
        ak_public: b"AK".to_vec(),
        audience: [9; 32],
    }
}

fn sign(key: &SigningKey, nonce: &[u8; 32], tls_key: &[u8; 32]) -> [u8; 64] {
    key.sign(&introduction(nonce, tls_key)).to_bytes()
}

/// A nonce in; a key and its signature out.
type Signs = fn(&[u8; 32]) -> ([u8; 32], [u8; 64]);

/// Both ends, their wires, and what their hosts see. The hosts do right unless a test says otherwise.
struct Scene {
    applicant: Applicant,
    desk: Desk,
    to_desk: Vec<u8>,
    to_applicant: Vec<u8>,
    /// Everything that the desk was sent.
    told: Vec<Packet>,
    signs: Signs,
    opens: fn(&[u8]) -> Vec<u8>,
    refuses: Option<&'static str>,
    /// Whose keys the desk looked at last.
    looked_at: Option<Request>,
    certified: Option<Vec<u8>>,
    error: Option<Error>,
}

impl Scene {
    fn new() -> Self {
        let mut out = Vec::new();
        let public = key().verifying_key().to_bytes();
        let applicant = Applicant::new(request(), public, TLS_KEY, Box::new(Dice(3)), now(), &mut out);
        let mut scene = Self {
            applicant,
            desk: Desk::new(Box::new(Dice(5)), now()),
            to_desk: Vec::new(),
            to_applicant: Vec::new(),
            told: Vec::new(),
            signs: |nonce| (key().verifying_key().to_bytes(), sign(&key(), nonce, &TLS_KEY)),
            opens: |credential| credential.to_vec(),
            refuses: None,
            looked_at: None,
            certified: None,
            error: None,
        };
        scene.applicant_does(out);
        scene
    }

    fn applicant_does(&mut self, actions: Vec<ApplicantAction>) {
        for action in actions {
            match action {
                ApplicantAction::Send(bytes) => self.to_desk.extend(bytes),
                ApplicantAction::Open { credential, .. } => {
                    let mut out = Vec::new();
                    self.applicant.activated((self.opens)(&credential), now(), &mut out);
                    self.applicant_does(out);
                }
                ApplicantAction::Certified(statement) => self.certified = Some(statement),
            }
        }
    }

    fn desk_does(&mut self, actions: Vec<DeskAction>) {
        let mut out = Vec::new();
        for action in actions {
            match action {
                DeskAction::Send(bytes) => self.to_applicant.extend(bytes),
                DeskAction::Introduce { query, nonce } => {
                    let (key, signature) = (self.signs)(&nonce);
                    self.desk.introduce(query, key, &signature, &mut out);
                }
                DeskAction::Enrol { query, request } => {
                    self.looked_at = Some(*request);
                    match self.refuses {
                        Some(words) => self.desk.refuse(query, words, &mut out),
                        // The test's TPM opens a challenge by giving its credential back.
                        None => self.desk.challenge(query, SECRET.to_vec(), vec![1], &mut out),
                    }
                }
                DeskAction::Judge { query, secret } if secret == SECRET => {
                    self.desk.certify(query, b"it is one".to_vec(), &mut out);
                }
                DeskAction::Judge { query, .. } => self.desk.refuse(query, "a wrong answer", &mut out),
            }
        }
        if !out.is_empty() {
            self.desk_does(out);
        }
    }

    fn play(&mut self) {
        while !(self.to_desk.is_empty() && self.to_applicant.is_empty()) {
            let bytes = std::mem::take(&mut self.to_desk);
            self.told.extend(packets(&bytes));
            let mut out = Vec::new();
            self.desk.receive(&bytes, now(), &mut out).unwrap();
            self.desk_does(out);
            let bytes = std::mem::take(&mut self.to_applicant);
            let mut out = Vec::new();
            if let Err(error) = self.applicant.receive(&bytes, now(), &mut out) {
                self.error = Some(error);
            }
            self.applicant_does(out);
        }
    }

    fn told_of_keys(&self) -> bool {
        self.told
            .iter()
            .any(|it| matches!(it, Packet::Query { data, .. } if tl::peek_id(data) == Some(wire::Enrol::ID)))
    }
}

#[test]
fn a_machine_that_opens_its_challenge_gets_its_statement() {
    let mut scene = Scene::new();
    scene.play();
    assert_eq!(scene.error, None);
    assert_eq!(scene.certified.as_deref(), Some(&b"it is one"[..]));
    assert!(scene.looked_at == Some(request()));
}

#[test]
fn nothing_about_the_machine_leaves_before_the_registrar_has_shown_its_key_on_this_connection() {
    type Signs = fn(&[u8; 32]) -> ([u8; 32], [u8; 64]);
    let liars: [(&str, Signs); 4] = [
        ("another key that signs well", |nonce| {
            let other = SigningKey::from_bytes(&[5; 32]);
            (other.verifying_key().to_bytes(), sign(&other, nonce, &TLS_KEY))
        }),
        ("the right key's name and another's signature", |nonce| {
            (key().verifying_key().to_bytes(), sign(&SigningKey::from_bytes(&[5; 32]), nonce, &TLS_KEY))
        }),
        ("a signature for another connection, passed on", |nonce| {
            (key().verifying_key().to_bytes(), sign(&key(), nonce, &[8; 32]))
        }),
        ("an old signature", |_| (key().verifying_key().to_bytes(), sign(&key(), &[0; 32], &TLS_KEY))),
    ];
    for (who, signs) in liars {
        let mut scene = Scene::new();
        scene.signs = signs;
        scene.play();
        assert_eq!(scene.error, Some(Error::NotTheRegistrar), "{who}");
        assert!(!scene.told_of_keys(), "{who}");
        assert!(scene.applicant.receive(b"", now(), &mut Vec::new()).is_err());
    }
}

#[test]
fn a_machine_that_cannot_open_its_challenge_is_refused() {
    let mut scene = Scene::new();
    scene.opens = |_| b"a guess".to_vec();
    scene.play();
    assert!(matches!(&scene.error, Some(Error::Refused { code: 621, .. })), "{:?}", scene.error);
    assert!(scene.certified.is_none());
}

#[test]
fn a_refusal_reaches_the_owner_in_one_line() {
    let mut scene = Scene::new();
    scene.refuses = Some("this maker is\nnot known here");
    scene.play();
    let Some(Error::Refused { message, .. }) = scene.error else { panic!("no refusal") };
    assert_eq!(message, "this maker isnot known here");
}

/// A desk and an applicant that is written by hand.
struct ByHand {
    desk: Desk,
    number: u32,
}

impl ByHand {
    fn new() -> Self {
        let mut by_hand = Self { desk: Desk::new(Box::new(Dice(5)), now()), number: 0 };
        by_hand.send(&Packet::Connect { id: 1 });
        by_hand
    }

    fn send(&mut self, packet: &Packet) -> Vec<DeskAction> {
        let bytes = framed(self.number, &packet.to_bytes());
        self.number += 1;
        let mut out = Vec::new();
        self.desk.receive(&bytes, now(), &mut out).unwrap();
        out
    }

    fn ask(&mut self, id: i64, data: Vec<u8>) -> Vec<DeskAction> {
        self.send(&Packet::Query { id, data })
    }

    /// The id of a challenge for these keys.
    fn challenged(&mut self, query: i64, request: &Request) -> [u8; 32] {
        let asked = self.ask(query, enrol(request));
        assert!(matches!(asked[..], [DeskAction::Enrol { query: it, .. }] if it == query));
        let mut out = Vec::new();
        self.desk.challenge(query, vec![1], vec![2], &mut out);
        self.desk.challenge(query, vec![1], vec![2], &mut Vec::new());
        let [Packet::QueryAnswer { data, .. }] = &sent(&out)[..] else { panic!("a challenge") };
        wire::Challenge::from_bytes(data).unwrap().id
    }
}

fn sent(actions: &[DeskAction]) -> Vec<Packet> {
    actions
        .iter()
        .flat_map(|action| if let DeskAction::Send(bytes) = action { packets(bytes) } else { Vec::new() })
        .collect()
}

fn is_refused(actions: &[DeskAction]) -> bool {
    matches!(sent(actions)[..], [Packet::QueryError { code: 621, .. }]) && actions.len() == 1
}

fn enrol(request: &Request) -> Vec<u8> {
    let Request { ek_certificates, ek_public, ak_public, audience } = request.clone();
    wire::Enrol { ek_certificates, ek_public, ak_public, audience }.to_bytes()
}

fn activate(id: [u8; 32], secret: &[u8]) -> Vec<u8> {
    wire::Activate { id, secret: secret.to_vec() }.to_bytes()
}

#[test]
fn a_challenge_is_answered_once_and_counts_for_the_keys_it_was_made_for() {
    // The right answer, after a wrong one.
    let mut by_hand = ByHand::new();
    let id = by_hand.challenged(1, &request());
    let judged = by_hand.ask(2, activate(id, b"a guess"));
    assert!(matches!(&judged[..], [DeskAction::Judge { query: 2, secret }] if secret == b"a guess"));
    assert!(is_refused(&by_hand.ask(3, activate(id, SECRET))));
    // Another id.
    by_hand.challenged(4, &request());
    assert!(is_refused(&by_hand.ask(5, activate([0; 32], SECRET))));
    // Another attestation key comes up between challenge and answer.
    let id = by_hand.challenged(6, &request());
    let swapped = Request { ak_public: b"another".to_vec(), ..request() };
    let other = by_hand.challenged(7, &swapped);
    assert!(is_refused(&by_hand.ask(8, activate(id, SECRET))));
    assert!(is_refused(&by_hand.ask(9, activate(other, SECRET))), "spent by the try before");
    // And with nothing asked before.
    let mut fresh = ByHand::new();
    assert!(is_refused(&fresh.ask(1, activate([0; 32], SECRET))));
    // While the host looks at keys, no older challenge is open.
    let id = fresh.challenged(2, &request());
    assert_eq!(fresh.ask(3, enrol(&swapped)).len(), 1);
    assert!(is_refused(&fresh.ask(4, activate(id, SECRET))));
}

#[test]
fn a_desk_takes_no_more_than_keys_have_and_not_for_ever() {
    let mut by_hand = ByHand::new();
    let wrong = [
        Request { ek_public: vec![0; 1025], ..request() },
        Request { ak_public: vec![0; 1025], ..request() },
        Request { ek_certificates: vec![Vec::new(); 9], ..request() },
        Request { ek_certificates: vec![vec![0; 8193]], ..request() },
    ];
    for (query, request) in (1..).zip(&wrong) {
        assert!(is_refused(&by_hand.ask(query, enrol(request))));
    }
    let whole = enrol(&request());
    for length in (4..whole.len()).step_by(4) {
        assert!(is_refused(&by_hand.ask(7, whole[..length].to_vec())));
    }
    // Two at once, and then the fifth try.
    for query in [20, 21, 22, 23] {
        by_hand.challenged(query, &request());
    }
    assert!(is_refused(&by_hand.ask(24, enrol(&request()))));
    let mut by_hand = ByHand::new();
    assert_eq!(by_hand.ask(1, enrol(&request())).len(), 1);
    assert!(is_refused(&by_hand.ask(2, enrol(&request()))));
    // An unknown question is answered as everywhere.
    let lost = sent(&by_hand.ask(3, vec![1, 2, 3, 4]));
    assert!(matches!(&lost[..], [Packet::QueryError { code: 0, message, .. }] if message == "Lost promise"));
    let late = Now { mono: now().mono + Duration::from_mins(2), unix: 1e9 };
    assert_eq!(by_hand.desk.next_deadline(), Some(now().mono + Duration::from_mins(1)));
    assert!(by_hand.desk.tick(late).is_err());
}

#[test]
fn a_registrar_that_is_silent_or_babbles_ends_the_enrolment() {
    let fresh = || {
        let mut out = Vec::new();
        let public = key().verifying_key().to_bytes();
        Applicant::new(request(), public, TLS_KEY, Box::new(Dice(3)), now(), &mut out)
    };
    let mut silent = fresh();
    let late = Now { mono: now().mono + Duration::from_mins(1), unix: 1e9 };
    assert!(silent.next_deadline().unwrap() <= late.mono);
    assert!(silent.tick(late, &mut Vec::new()).is_err());
    assert_eq!(silent.next_deadline(), None);
    // What was not asked for is not answered.
    let mut early = fresh();
    let mut out = Vec::new();
    early.activated(b"out of turn".to_vec(), now(), &mut out);
    assert!(out.is_empty());
    let mut dice = Dice(9);
    for _ in 0..500 {
        let mut babbled_at = fresh();
        let garbage: Vec<u8> = (0..dice.below(200)).map(|_| dice.roll() as u8).collect();
        let _ = babbled_at.receive(&garbage, now(), &mut Vec::new());
        let mut desk = Desk::new(Box::new(Dice(5)), now());
        let _ = desk.receive(&garbage, now(), &mut Vec::new());
    }
}
