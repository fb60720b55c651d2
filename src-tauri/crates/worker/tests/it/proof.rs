//! What the worker passes on of evidence: it has the TLS, the app has the TPM.

use ed25519_dalek::{Signer as _, SigningKey};
use evidence::{Evidence as Shown, Grade, snp, tdx};
use link::message::{LaneEnd, PeerPolicy};
use link::proof::{AskedDemand, Enrolment};
use link::{BUILD, FromWorker, ToWorker};
use protocol::Now;
use protocol::enrolment::{Desk, DeskAction, introduction};
use ratls::{Evidence, Identity, Policy, ServerChannel, State, tls};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use worker::randomness::SystemRandomness;

use crate::app::{LANE, MODEL, Rig, UNIX_MS};
use crate::samples::{snp_sample, tdx_sample};

fn asked(rig: &Rig) -> Option<(u64, [u8; 32], [u8; 32])> {
    rig.said.iter().rev().find_map(|said| match said {
        FromWorker::WantEvidence { lane: LANE, ask, tls_key, nonce } => Some((*ask, *tls_key, *nonce)),
        _ => None,
    })
}

#[test]
fn the_app_is_asked_for_evidence_with_the_key_that_this_proxy_sees_and_its_answer_goes_back() {
    let mut rig = Rig::connected(|_| {});
    let nonce = rig.ask_evidence();
    rig.until("the app is asked", |rig| asked(rig).is_some());
    let (ask, tls_key, heard) = asked(&rig).unwrap();
    assert_eq!(heard, nonce);
    assert_eq!(Some(tls_key), rig.peer_key(), "the key of this connection's certificate");
    // Another number, and another lane: not an answer to this.
    rig.say(&ToWorker::Evidence { lane: LANE, ask: ask + 1, bytes: Some(vec![9]) });
    rig.say(&ToWorker::Evidence { lane: LANE, ask, bytes: Some(vec![1, 2, 3]) });
    rig.say(&ToWorker::Evidence { lane: LANE, ask, bytes: Some(vec![4]) });
    rig.until("the proxy has it", |rig| !rig.shown.is_empty());
    assert_eq!(rig.shown, [(nonce, Some(vec![1, 2, 3]))]);
    let nonce = rig.ask_evidence();
    rig.until("the app is asked again", |rig| asked(rig).is_some_and(|(_, _, heard)| heard == nonce));
    let (again, ..) = asked(&rig).unwrap();
    assert_ne!(again, ask);
    rig.say(&ToWorker::Evidence { lane: LANE, ask: again, bytes: None });
    rig.until("the proxy knows", |rig| rig.shown.len() == 2);
    assert_eq!(rig.shown[1], (nonce, None));
}

fn asking(grades: &[Grade]) -> Rig {
    let grades = grades.iter().map(|grade| grade.number()).collect();
    let mut rig = Rig::start(|configuration| {
        configuration.policy = PeerPolicy::Asked(AskedDemand { grades });
        // What runs in the samples is on the network's list.
        configuration.root.proxy_hashes = vec![
            snp::image_of(&snp_sample().report).unwrap().0,
            tdx::image_of(&tdx_sample("tdx_quote_td15ex").quote).unwrap().0,
        ];
    });
    rig.open(None);
    rig.until("the proxy is asked", |rig| !rig.asked_of_proxy.is_empty());
    rig
}

fn ended(rig: &Rig) -> Option<&LaneEnd> {
    rig.said.iter().find_map(|said| match said {
        FromWorker::LaneEnded { lane: LANE, why } => Some(why),
        _ => None,
    })
}

#[test]
fn nothing_is_done_for_a_proxy_before_it_has_shown_what_is_asked_for() {
    let mut rig = asking(&[Grade::SelfClaim]);
    // The proxy asks something, too: it waits like everything else.
    let nonce = rig.ask_evidence();
    rig.settle();
    assert!(rig.lane_ready().is_none() && asked(&rig).is_none(), "something was done before the proxy was judged");
    let (query, _) = rig.asked_of_proxy[0];
    rig.show(query, None);
    rig.until("the lane is ready", |rig| rig.lane_ready().is_some());
    rig.until("the app is asked", |rig| asked(rig).is_some_and(|(_, _, heard)| heard == nonce));
    assert_eq!(rig.asked_of_proxy.len(), 1, "asked once for a connection");
    // The proxy hears that jobs are taken now.
    let body = json!({ "model": MODEL, "messages": [{ "role": "user", "content": "hello" }], "max_tokens": 4 });
    rig.until("the client is there", |rig| rig.client_ready);
    rig.settle();
    let answered = rig.answer("/v1/chat/completions", &body);
    assert_eq!((&answered.failed, answered.status()), (&None, 200));
}

#[test]
fn a_proxy_that_shows_nothing_or_another_machines_report_is_left_and_named_with_the_reason() {
    let refused = |shown: Option<Vec<u8>>| {
        let mut rig = asking(&[Grade::ProcessorIsolated]);
        let (query, _) = rig.asked_of_proxy[0];
        rig.show(query, shown);
        rig.until("the lane ends", |rig| ended(rig).is_some());
        assert!(rig.lane_ready().is_none());
        let Some(LaneEnd::Untrusted(why)) = ended(&rig) else { panic!("{:?}", ended(&rig)) };
        why.clone()
    };
    assert_eq!(refused(None), "it proves the grade self-claim, which is not accepted here");
    // Genuine, complete, of an image that is listed, and made for somebody else's question.
    let another = "the proof was made for another question or for another connection";
    assert_eq!(refused(Some(Shown::Snp(snp_sample()).encode())), another);
    // Of the quote what Intel said is over by now; its own time is asked about where the verifiers are.
    let quote = refused(Some(Shown::Tdx(tdx_sample("tdx_quote_td15ex")).encode()));
    assert!(quote == another || quote.contains("expired"), "{quote}");
    assert!(refused(Some(b"trust me".to_vec())).contains("no evidence"));
}

/// A worker that is told to enrol, and a registrar that says what the test wants.
struct Office {
    rig: Rig,
    tls: ServerChannel,
    tls_key: [u8; 32],
    desk: Option<Desk>,
    key: SigningKey,
    started: Instant,
    /// What it was asked to certify.
    looked_at: Option<protocol::enrolment::Request>,
    answered: Option<Vec<u8>>,
}

impl Office {
    fn new(registrar: [u8; 32]) -> Self {
        let mut rig = Rig::silent(Box::new(std::io::empty()), |_| {});
        rig.say(&ToWorker::Hello { build: BUILD.to_owned() });
        let enrolment = Enrolment {
            ek_certificates: vec![vec![1; 90]],
            ek_public: vec![2; 60],
            ak_public: vec![3; 60],
            audience: [4; 32],
            registrar,
            max_pow_difficulty: 20,
            unix_ms: UNIX_MS,
        };
        rig.say(&ToWorker::Enrol(Box::new(enrolment)));
        rig.say(&ToWorker::OpenLane { lane: LANE, known_key: None, unix_ms: UNIX_MS });
        let seconds = (UNIX_MS / 1000) as u64;
        let identity = Identity::generate(Evidence::None, seconds).unwrap();
        let config = tls::server_config(&identity, Policy::Any, Arc::new(move || seconds)).unwrap();
        let tls = ServerChannel::new(&config, 4, [7; 16]).unwrap();
        Self {
            rig,
            tls,
            tls_key: identity.public_key(),
            desk: None,
            key: SigningKey::from_bytes(&[4; 32]),
            started: Instant::now(),
            looked_at: None,
            answered: None,
        }
    }

    fn now(&self) -> Now {
        Now { mono: self.started.elapsed(), unix: 1e9 }
    }

    /// Lets both work until the worker has said something that ends it.
    fn until(&mut self, what: &str, done: impl Fn(&FromWorker) -> bool) {
        let begun = Instant::now();
        while !self.rig.said.iter().any(&done) {
            assert!(begun.elapsed() < Duration::from_mins(3), "waited for {what}: {:?}", self.rig.said);
            let wire = self.tls.take_wire();
            self.rig.send_raw(&wire);
            let bytes = self.rig.receive_raw(Duration::from_millis(100));
            if !bytes.is_empty() {
                self.tls.receive_wire(&bytes).unwrap();
            }
            if matches!(self.tls.state(), State::Open(_)) {
                let plaintext = self.tls.take_plaintext();
                let now = self.now();
                let desk = self.desk.get_or_insert_with(|| Desk::new(Box::new(SystemRandomness), now));
                let mut out = Vec::new();
                desk.receive(&plaintext, now, &mut out).unwrap();
                self.does(out);
            }
        }
    }

    fn does(&mut self, actions: Vec<DeskAction>) {
        let mut out = Vec::new();
        let desk = self.desk.as_mut().unwrap();
        for action in actions {
            match action {
                DeskAction::Send(bytes) => self.tls.send_plaintext(&bytes).unwrap(),
                DeskAction::Introduce { query, nonce } => {
                    let signature = self.key.sign(&introduction(&nonce, &self.tls_key)).to_bytes();
                    desk.introduce(query, self.key.verifying_key().to_bytes(), &signature, &mut out);
                }
                DeskAction::Enrol { query, request } => {
                    self.looked_at = Some(*request);
                    desk.challenge(query, vec![5; 60], vec![6; 60], &mut out);
                }
                DeskAction::Judge { query, secret } => {
                    self.answered = Some(secret);
                    desk.certify(query, b"it is one".to_vec(), &mut out);
                }
            }
        }
        if !out.is_empty() {
            self.does(out);
        }
    }
}

#[test]
fn a_worker_that_is_told_to_enrol_reads_no_model_and_brings_the_statement() {
    let mut office = Office::new(SigningKey::from_bytes(&[4; 32]).verifying_key().to_bytes());
    office.until("the challenge", |said| {
        matches!(said, FromWorker::Challenge { credential, secret } if credential == &[5; 60] && secret == &[6; 60])
    });
    office.rig.say(&ToWorker::Activated { secret: b"found".to_vec() });
    office
        .until("the statement", |said| matches!(said, FromWorker::Enrolled { statement } if statement == b"it is one"));
    assert_eq!(office.answered.as_deref(), Some(&b"found"[..]));
    let looked_at = office.looked_at.unwrap();
    assert_eq!((looked_at.audience, looked_at.ak_public), ([4; 32], vec![3; 60]));
    assert!(!office.rig.said.iter().any(|said| matches!(said, FromWorker::Ready(_) | FromWorker::Failed(_))));
    let first = office.rig.said.iter().find(|said| !matches!(said, FromWorker::Hello { .. }));
    assert!(
        matches!(first, Some(FromWorker::Confined(_))),
        "its box is closed before it hears the registrar: {first:?}"
    );
}

#[test]
fn a_worker_shows_no_key_to_a_registrar_that_is_another_one() {
    let mut office = Office::new([9; 32]);
    office.until("the end", |said| {
        matches!(said, FromWorker::LaneEnded { why: LaneEnd::Untrusted(text), .. } if text.contains("does not have the key"))
    });
    assert!(office.looked_at.is_none());
}
