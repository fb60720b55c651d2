//! Enrolment: how a machine's TPM gets a registrar to speak for an attestation key of it. Ours; Cocoon has nothing of the kind.
//!
//! The applicant is the app's side (in the worker's process, which has the TLS), the desk is the registrar's, one for each connection. Four
//! questions go over an ordinary connection of frames:
//!
//! ```text
//! applicant                                   desk
//!   chrysalis.introduce nonce            ->
//!                                        <-   chrysalis.introduction key, signature over nonce and TLS key
//!   chrysalis.enrol EK, AK, audience     ->
//!                                        <-   chrysalis.challenge id, credential, secret
//!   chrysalis.activate id, secret        ->
//!                                        <-   chrysalis.statement data
//! ```
//!
//! An endorsement key names a machine for all its life. So nothing about it leaves before the desk has shown that it has the key that the
//! owner agreed to, on this very connection. What is in keys and statements is for the hosts to judge.

use std::time::Duration;

use ed25519_dalek::{Signature, VerifyingKey};
use tl::Boxed as _;
use tl::chrysalis as wire;

use crate::connection::{Connection, Event};
use crate::evidence::line;
use crate::{Error, Now, Randomness, earlier};

/// How long an answer may take; in between, a registrar may ask somebody.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a whole enrolment may take on a registrar's side; a slow TPM needs seconds.
const DESK_PATIENCE: Duration = Duration::from_mins(2);
/// How often a connection may ask to be enrolled.
const TRIES: u32 = 4;
/// Certificates of one endorsement key, and bytes of one.
const CERTIFICATES: (usize, usize) = (8, 8 * 1024);
/// Bytes of a public area.
const PUBLIC_LIMIT: usize = 1024;
/// Bytes of a part of a challenge, of what was in it, and of a statement.
const PART_LIMIT: usize = 1024;
/// What a registrar signs begins with this, so that it is nothing else that a key like this signs.
const DOMAIN: &[u8; 32] = b"chrysalis registrar introduction";
/// Code of every refusal of a desk.
const REFUSED: i32 = 621;

/// What is enrolled.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// X.509 in DER: that of the endorsement key first, then those between it and its vendor's root. May be empty.
    pub ek_certificates: Vec<Vec<u8>>,
    /// `TPMT_PUBLIC` of the endorsement key.
    pub ek_public: Vec<u8>,
    /// `TPMT_PUBLIC` of the attestation key.
    pub ak_public: Vec<u8>,
    /// The payment key of the proxy that the statement is for.
    pub audience: [u8; 32],
}

impl Request {
    fn is_bounded(&self) -> bool {
        self.ek_certificates.len() <= CERTIFICATES.0
            && self.ek_certificates.iter().all(|certificate| certificate.len() <= CERTIFICATES.1)
            && self.ek_public.len() <= PUBLIC_LIMIT
            && self.ak_public.len() <= PUBLIC_LIMIT
    }
}

/// What a registrar signs to show that its key is at work on this connection: a name of our own, the applicant's nonce, and the key of the
/// registrar's TLS certificate.
pub fn introduction(nonce: &[u8; 32], tls_key: &[u8; 32]) -> [u8; 96] {
    let mut text = [0; 96];
    let parts = [&DOMAIN[..], nonce, tls_key];
    for (place, part) in text.chunks_exact_mut(32).zip(parts) {
        place.copy_from_slice(part);
    }
    text
}

/// What the applicant's host must do.
pub enum ApplicantAction {
    /// Send these bytes through TLS.
    Send(Vec<u8>),
    /// Let the TPM open this, then call [`Applicant::activated`].
    Open {
        /// The content of a `TPM2B_ID_OBJECT`.
        credential: Vec<u8>,
        /// The content of a `TPM2B_ENCRYPTED_SECRET`.
        secret: Vec<u8>,
    },
    /// Done. What the statement says has not been looked at.
    Certified(Vec<u8>),
}

#[derive(Clone, Copy)]
enum Call {
    Introduce,
    Enrol,
    Activate,
}

impl Call {
    fn name(self) -> &'static str {
        match self {
            Self::Introduce => "chrysalis.introduce",
            Self::Enrol => "chrysalis.enrol",
            Self::Activate => "chrysalis.activate",
        }
    }
}

/// The side of the machine that is to be known.
pub struct Applicant {
    random: Box<dyn Randomness>,
    connection: Connection<Call>,
    request: Request,
    registrar: [u8; 32],
    tls_key: [u8; 32],
    nonce: [u8; 32],
    challenge: Option<[u8; 32]>,
    over: Option<Error>,
}

impl Applicant {
    /// Opens the conversation: the first frame goes out at once. `registrar` is the key that the owner agreed to, `tls_key` that of the
    /// certificate at the other end.
    pub fn new(
        request: Request,
        registrar: [u8; 32],
        tls_key: [u8; 32],
        mut random: Box<dyn Randomness>,
        now: Now,
        out: &mut Vec<ApplicantAction>,
    ) -> Self {
        let (connection, hello) = Connection::dial(&mut *random, now.mono);
        out.push(ApplicantAction::Send(hello));
        let nonce = random.int256();
        Self { random, connection, request, registrar, tls_key, nonce, challenge: None, over: None }
    }

    /// Takes decrypted bytes in. After an error the conversation is over.
    pub fn receive(&mut self, bytes: &[u8], now: Now, out: &mut Vec<ApplicantAction>) -> Result<(), Error> {
        self.over.clone().map_or(Ok(()), Err)?;
        self.connection.push(bytes);
        let result = self.read(now, out);
        self.over = result.clone().err();
        result
    }

    /// Lets time pass. Call it no later than [`Self::next_deadline`].
    pub fn tick(&mut self, now: Now, out: &mut Vec<ApplicantAction>) -> Result<(), Error> {
        self.over.clone().map_or(Ok(()), Err)?;
        let result = match self.connection.expired(now.mono) {
            Some(call) => Err(Error::NoAnswer { call: call.name() }),
            None => self.connection.tick(&mut *self.random, now.mono),
        };
        self.over = result.as_ref().err().cloned();
        out.extend(result?.map(ApplicantAction::Send));
        Ok(())
    }

    /// The moment (on the monotonic clock) at which [`Self::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Duration> {
        if self.over.is_some() { None } else { self.connection.next_deadline() }
    }

    /// What the TPM found in the challenge. Said without one, it is not sent.
    pub fn activated(&mut self, secret: Vec<u8>, now: Now, out: &mut Vec<ApplicantAction>) {
        if let Some(id) = self.challenge.take().filter(|_| self.over.is_none()) {
            self.ask(Call::Activate, wire::Activate { id, secret }.to_bytes(), now, out);
        }
    }

    fn read(&mut self, now: Now, out: &mut Vec<ApplicantAction>) -> Result<(), Error> {
        loop {
            let mut frames = Vec::new();
            let event = self.connection.next(now.mono, &mut frames);
            out.extend(frames.into_iter().map(ApplicantAction::Send));
            match event? {
                None => return Ok(()),
                Some(Event::Open) => {
                    let question = wire::Introduce { nonce: self.nonce }.to_bytes();
                    self.ask(Call::Introduce, question, now, out);
                }
                Some(Event::Answer { call, data }) => self.answered(call, &data, now, out)?,
                Some(Event::Refused { call, code, message }) => {
                    return Err(Error::Refused { call: call.name(), code, message: line(&message) });
                }
                Some(Event::Packet(_)) => {}
                Some(Event::Query { id, .. }) => {
                    out.extend(self.connection.lost_promise(id).ok().map(ApplicantAction::Send));
                }
            }
        }
    }

    fn answered(&mut self, call: Call, data: &[u8], now: Now, out: &mut Vec<ApplicantAction>) -> Result<(), Error> {
        let malformed = |_| Error::Malformed { what: "a registrar's answer" };
        match call {
            Call::Introduce => {
                let shown = wire::Introduction::from_bytes(data).map_err(malformed)?;
                self.check(&shown).ok_or(Error::NotTheRegistrar)?;
                let Request { ek_certificates, ek_public, ak_public, audience } = self.request.clone();
                let question = wire::Enrol { ek_certificates, ek_public, ak_public, audience };
                self.ask(Call::Enrol, question.to_bytes(), now, out);
            }
            Call::Enrol => {
                let wire::Challenge { id, credential, secret } =
                    wire::Challenge::from_bytes(data).map_err(malformed)?;
                if credential.len() > PART_LIMIT || secret.len() > PART_LIMIT {
                    return Err(Error::Malformed { what: "a registrar's challenge" });
                }
                self.challenge = Some(id);
                out.push(ApplicantAction::Open { credential, secret });
            }
            Call::Activate => {
                let said = wire::Statement::from_bytes(data).map_err(malformed)?;
                if said.data.len() > PART_LIMIT {
                    return Err(Error::Malformed { what: "a registrar's statement" });
                }
                out.push(ApplicantAction::Certified(said.data));
            }
        }
        Ok(())
    }

    fn check(&self, shown: &wire::Introduction) -> Option<()> {
        let key = VerifyingKey::from_bytes(&self.registrar).ok().filter(|_| shown.key == self.registrar)?;
        let signature = Signature::from_slice(&shown.signature).ok()?;
        key.verify_strict(&introduction(&self.nonce, &self.tls_key), &signature).ok()
    }

    fn ask(&mut self, call: Call, data: Vec<u8>, now: Now, out: &mut Vec<ApplicantAction>) {
        let frame = self.connection.ask(call, data, PATIENCE, &mut *self.random, now.mono);
        out.extend(frame.ok().map(ApplicantAction::Send));
    }
}

/// What a registrar's host must do. Every question must be answered or refused.
pub enum DeskAction {
    /// Send these bytes through TLS.
    Send(Vec<u8>),
    /// Sign [`introduction`] of this nonce, then call [`Desk::introduce`].
    Introduce {
        /// The applicant's id of the question.
        query: i64,
        /// Its nonce.
        nonce: [u8; 32],
    },
    /// Look at the keys, then call [`Desk::challenge`] or [`Desk::refuse`]. A challenge that was made before on this connection is void.
    Enrol {
        /// The applicant's id of the question.
        query: i64,
        /// What it asks for.
        request: Box<Request>,
    },
    /// The answer to the last challenge: if it is what was in it, sign and call [`Desk::certify`], else [`Desk::refuse`]. Comes once for a
    /// challenge, which is void afterwards.
    Judge {
        /// The applicant's id of the question.
        query: i64,
        /// What the TPM found.
        secret: Vec<u8>,
    },
}

/// A registrar's side of one connection.
pub struct Desk {
    random: Box<dyn Randomness>,
    connection: Connection<std::convert::Infallible>,
    until: Duration,
    tries: u32,
    /// The question whose keys the host looks at now.
    looks_at: Option<i64>,
    /// Id of the challenge that was sent.
    challenge: Option<[u8; 32]>,
}

impl Desk {
    /// A connection has come through TLS.
    pub fn new(random: Box<dyn Randomness>, now: Now) -> Self {
        Self {
            random,
            connection: Connection::accept(now.mono),
            until: now.mono.saturating_add(DESK_PATIENCE),
            tries: 0,
            looks_at: None,
            challenge: None,
        }
    }

    /// Takes decrypted bytes in. After an error the connection is to be closed.
    pub fn receive(&mut self, bytes: &[u8], now: Now, out: &mut Vec<DeskAction>) -> Result<(), Error> {
        self.connection.push(bytes);
        loop {
            let mut frames = Vec::new();
            let event = self.connection.next(now.mono, &mut frames);
            out.extend(frames.into_iter().map(DeskAction::Send));
            match event? {
                None => return Ok(()),
                Some(Event::Open | Event::Packet(_)) => {}
                Some(Event::Answer { call, .. } | Event::Refused { call, .. }) => match call {},
                Some(Event::Query { id, data }) => self.asked(id, &data, out),
            }
        }
    }

    /// Lets time pass. An error is the end: nobody needs that long.
    pub fn tick(&mut self, now: Now) -> Result<(), Error> {
        if self.until <= now.mono {
            return Err(Error::Silent { seconds: DESK_PATIENCE.as_secs() });
        }
        self.connection.tick(&mut *self.random, now.mono).map(drop)
    }

    /// The moment (on the monotonic clock) at which [`Self::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Duration> {
        earlier(Some(self.until), self.connection.next_deadline())
    }

    /// Answers [`DeskAction::Introduce`].
    pub fn introduce(&mut self, query: i64, key: [u8; 32], signature: &[u8; 64], out: &mut Vec<DeskAction>) {
        self.answer(query, wire::Introduction { key, signature: signature.to_vec() }.to_bytes(), out);
    }

    /// Answers [`DeskAction::Enrol`] with a challenge.
    pub fn challenge(&mut self, query: i64, credential: Vec<u8>, secret: Vec<u8>, out: &mut Vec<DeskAction>) {
        if self.looks_at.take_if(|looked_at| *looked_at == query).is_none() {
            return;
        }
        let id = self.random.int256();
        self.challenge = Some(id);
        self.answer(query, wire::Challenge { id, credential, secret }.to_bytes(), out);
    }

    /// Answers [`DeskAction::Judge`].
    pub fn certify(&mut self, query: i64, statement: Vec<u8>, out: &mut Vec<DeskAction>) {
        self.answer(query, wire::Statement { data: statement }.to_bytes(), out);
    }

    /// Refuses a question, with words for the owner of the machine.
    pub fn refuse(&mut self, query: i64, words: &str, out: &mut Vec<DeskAction>) {
        self.looks_at.take_if(|looked_at| *looked_at == query);
        out.extend(self.connection.refuse(query, REFUSED, &line(words)).ok().map(DeskAction::Send));
    }

    fn asked(&mut self, query: i64, data: &[u8], out: &mut Vec<DeskAction>) {
        match tl::peek_id(data) {
            Some(wire::Introduce::ID) => match wire::Introduce::from_bytes(data) {
                Ok(question) => out.push(DeskAction::Introduce { query, nonce: question.nonce }),
                Err(_) => self.refuse(query, "cannot parse the query", out),
            },
            Some(wire::Enrol::ID) => self.enrol(query, data, out),
            Some(wire::Activate::ID) => self.activate(query, data, out),
            _ => out.extend(self.connection.lost_promise(query).ok().map(DeskAction::Send)),
        }
    }

    fn enrol(&mut self, query: i64, data: &[u8], out: &mut Vec<DeskAction>) {
        let Ok(wire::Enrol { ek_certificates, ek_public, ak_public, audience }) = wire::Enrol::from_bytes(data) else {
            return self.refuse(query, "cannot parse the query", out);
        };
        let request = Request { ek_certificates, ek_public, ak_public, audience };
        if !request.is_bounded() {
            return self.refuse(query, "more than keys and certificates have", out);
        }
        if self.looks_at.is_some() || self.tries >= TRIES {
            return self.refuse(query, "too many at once", out);
        }
        self.tries += 1;
        // What is certified is what was challenged: new keys, new challenge.
        self.challenge = None;
        self.looks_at = Some(query);
        out.push(DeskAction::Enrol { query, request: Box::new(request) });
    }

    fn activate(&mut self, query: i64, data: &[u8], out: &mut Vec<DeskAction>) {
        // Whatever it says, a challenge has one answer.
        let challenge = self.challenge.take();
        let Ok(said) = wire::Activate::from_bytes(data) else {
            return self.refuse(query, "cannot parse the query", out);
        };
        if challenge == Some(said.id) && said.secret.len() <= PART_LIMIT {
            out.push(DeskAction::Judge { query, secret: said.secret });
        } else {
            self.refuse(query, "this answers no challenge that is open", out);
        }
    }

    fn answer(&mut self, query: i64, data: Vec<u8>, out: &mut Vec<DeskAction>) {
        out.extend(self.connection.answer(query, data).ok().map(DeskAction::Send));
    }
}
