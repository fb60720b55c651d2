//! One connection to a proxy, from ciphertext to conversation: credit, proof of work, TLS, session.
//!
//! Does no I/O of its own. Wire bytes are put in and taken out; what the conversation asks for comes back as [`Outcome`]s.

use std::collections::VecDeque;
use std::time::Duration;

use link::flow::{LaneReceiver, LaneSender};
use link::message::LaneEnd;
use link::{LaneId, flow};
use protocol::evidence::Standing;
use protocol::worker::{Action, Config, Job, PaymentReport, ProxyFacts, Session};
use protocol::{Now, Randomness};
use ratls::pow::{Challenge, PowError};
use ratls::{ChannelError, ClientChannel, PeerIdentity, State};

use crate::inference::Cancel;
use crate::pipe::Pipe;

/// How long a proxy may take for its challenge, and again for TLS. As long as a dialler waits for any frame.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What a proxy may ask for before it was asked what it can show. An honest one asks for nothing: it was told that we take no jobs.
const WAITING: usize = 64;

/// Ciphertext put into TLS at once.
const GULP: usize = 16 * 1024;

/// What a lane wants done.
pub enum Outcome {
    /// Work on this challenge, then call [`Lane::solved`].
    Solve(Challenge, Cancel),
    /// The handshake is done.
    Ready(Box<ProxyFacts>, PeerIdentity),
    /// Run a job.
    Start(Box<Job>),
    /// Time is nearly up for this job.
    Cancel([u8; 32]),
    /// The session gave this job up.
    Expired([u8; 32]),
    /// A payment.
    Payment(PaymentReport),
    /// The proxy asks for evidence.
    WantEvidence {
        /// Its id of the question.
        query: i64,
        /// Its nonce.
        nonce: [u8; 32],
    },
    /// How we stand with the proxy.
    Standing(Box<Standing>),
    /// Ask the proxy what it can show: nothing else is done on this lane before [`Lane::proved`].
    AskProxy,
    /// What the proxy showed; `None`: nothing.
    Shown {
        /// Our nonce.
        nonce: [u8; 32],
        /// Evidence, as it came.
        bytes: Option<Vec<u8>>,
    },
}

/// One connection to a proxy.
pub struct Lane {
    id: LaneId,
    /// The key of our certificate on this lane.
    tls_key: [u8; 32],
    channel: ClientChannel,
    /// What the session is made from, until it is.
    beginning: Option<(Config, Box<dyn Randomness>)>,
    session: Option<Session>,
    peer: Option<PeerIdentity>,
    /// What waits until the proxy has shown enough; `None`: it has, or nothing is asked of it.
    unproved: Option<Vec<Outcome>>,
    sender: LaneSender,
    receiver: LaneReceiver,
    /// Arrived, not yet put into TLS: nothing is read while the proxy does not read us.
    inbox: VecDeque<u8>,
    phase: Phase,
    /// TLS refused to send; told at the next occasion.
    broken: Option<LaneEnd>,
    /// Calls the proof of work off.
    solving: Cancel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The proxy's turn, until then.
    Waiting(Duration),
    /// Our turn: the proof of work.
    Solving,
    /// The session watches the time.
    Talking,
}

impl Lane {
    /// A lane that the app has just dialled.
    pub fn new(
        id: LaneId,
        tls_key: [u8; 32],
        channel: ClientChannel,
        config: Config,
        randomness: Box<dyn Randomness>,
        now: Now,
    ) -> Self {
        Self {
            id,
            tls_key,
            channel,
            beginning: Some((config, randomness)),
            session: None,
            peer: None,
            unproved: None,
            sender: LaneSender::new(),
            receiver: LaneReceiver::new(),
            inbox: VecDeque::new(),
            phase: Phase::Waiting(now.mono + PATIENCE),
            broken: None,
            solving: Cancel::new(),
        }
    }

    /// The same lane, on which nothing is done before the proxy was asked what it can show and [`Self::proved`] was called.
    #[must_use]
    pub fn asking_first(mut self) -> Self {
        self.unproved = Some(Vec::new());
        self
    }

    /// Is it still open whether the proxy is trusted?
    pub fn is_unproved(&self) -> bool {
        self.unproved.is_some()
    }

    /// The key of the proxy's certificate, once TLS stands.
    pub fn peer_key(&self) -> Option<[u8; 32]> {
        self.peer.map(|peer| peer.public_key)
    }

    /// The proxy has shown enough, and that this image runs there. Gives what has waited for it.
    pub fn proved(&mut self, image: Option<[u8; 32]>) -> Vec<Outcome> {
        let mut waited = self.unproved.take().unwrap_or_default();
        for outcome in &mut waited {
            if let (Outcome::Ready(_, peer), Some(image)) = (outcome, image) {
                peer.image_hash = image;
                peer.attested = true;
            }
        }
        waited
    }

    /// Ciphertext came. `Err`: more than there was credit for.
    pub fn arrived(&mut self, bytes: &[u8]) -> Result<(), flow::FlowError> {
        self.receiver.arrived(bytes.len())?;
        self.inbox.extend(bytes);
        Ok(())
    }

    /// The app took `bytes` of ours.
    pub fn granted(&mut self, bytes: u32) -> Result<(), flow::FlowError> {
        self.sender.granted(bytes)
    }

    /// The key of our certificate on this lane.
    pub fn tls_key(&self) -> [u8; 32] {
        self.tls_key
    }

    /// May more be said to the proxy? If not, keep it: the proxy does not read.
    pub fn has_room(&self) -> bool {
        self.sender.room() > 0
    }

    /// Has all that was said left for the app?
    pub fn is_flushed(&self) -> bool {
        self.sender.queued() == 0
    }

    /// The proof of work ended.
    pub fn solved(&mut self, nonce: Option<i64>, now: Now) -> Result<(), LaneEnd> {
        if self.phase != Phase::Solving {
            return Ok(());
        }
        let nonce = nonce.ok_or_else(|| LaneEnd::Protocol("the proof of work has no solution".to_owned()))?;
        self.channel.provide_nonce(nonce).map_err(|error| channel_end(&error))?;
        self.phase = Phase::Waiting(now.mono + PATIENCE);
        Ok(())
    }

    /// Puts what arrived through TLS and the session, as far as the proxy reads what comes of it. Outcomes count even if the
    /// lane ends with an error.
    pub fn pump(&mut self, now: Now, pipe: &Pipe, outcomes: &mut Vec<Outcome>) -> Result<(), LaneEnd> {
        loop {
            self.advance(now, outcomes)?;
            if let Some(broken) = self.broken.take() {
                return Err(broken);
            }
            self.flush(pipe);
            if self.inbox.is_empty() || !self.has_room() || self.phase == Phase::Solving {
                return Ok(());
            }
            let gulp: Vec<u8> = self.inbox.drain(..self.inbox.len().min(GULP)).collect();
            if let Some(credit) = self.receiver.taken(gulp.len()) {
                pipe.credit(self.id, credit);
            }
            self.channel.receive_wire(&gulp).map_err(|error| channel_end(&error))?;
        }
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Now, outcomes: &mut Vec<Outcome>) -> Result<(), LaneEnd> {
        if let Phase::Waiting(until) = self.phase
            && until <= now.mono
        {
            return Err(LaneEnd::Silent);
        }
        let mut actions = Vec::new();
        let result = match &mut self.session {
            Some(session) => session.tick(now, &mut actions),
            None => Ok(()),
        };
        self.absorb(actions, outcomes);
        result.map_err(|error| protocol_end(&error))
    }

    /// When [`tick`](Self::tick) has something to do.
    pub fn next_deadline(&self) -> Option<Duration> {
        match self.phase {
            Phase::Waiting(until) => Some(until),
            Phase::Solving => None,
            Phase::Talking => self.session.as_ref().and_then(Session::next_deadline),
        }
    }

    /// Says something in the session, if there is one; afterwards call [`pump`](Self::pump).
    pub fn say<T>(&mut self, speak: impl FnOnce(&mut Session, &mut Vec<Action>) -> T) -> Option<T> {
        let mut actions = Vec::new();
        let result = speak(self.session.as_mut()?, &mut actions);
        // Speaking only ever sends.
        self.absorb(actions, &mut Vec::new());
        Some(result)
    }

    fn advance(&mut self, now: Now, outcomes: &mut Vec<Outcome>) -> Result<(), LaneEnd> {
        match self.channel.state() {
            State::AwaitingPow | State::Handshaking | State::Over => Ok(()),
            State::PowNeeded(challenge) => {
                if self.phase != Phase::Solving {
                    self.phase = Phase::Solving;
                    outcomes.push(Outcome::Solve(challenge, self.solving.clone()));
                }
                Ok(())
            }
            State::Open(peer) => {
                self.peer.get_or_insert(peer);
                self.converse(now, outcomes)
            }
        }
    }

    fn converse(&mut self, now: Now, outcomes: &mut Vec<Outcome>) -> Result<(), LaneEnd> {
        let mut actions = Vec::new();
        if let Some((config, randomness)) = self.beginning.take() {
            self.session = Some(Session::new(config, randomness, now, &mut actions));
            self.phase = Phase::Talking;
        }
        let plaintext = self.channel.take_plaintext();
        let result = match &mut self.session {
            Some(session) if !plaintext.is_empty() => session.receive(&plaintext, now, &mut actions),
            _ => Ok(()),
        };
        self.absorb(actions, outcomes);
        result.map_err(|error| protocol_end(&error))
    }

    fn absorb(&mut self, actions: Vec<Action>, outcomes: &mut Vec<Outcome>) {
        let mut wanted = Vec::new();
        self.perform(actions, &mut wanted);
        for outcome in wanted {
            match (&mut self.unproved, outcome) {
                (None, outcome) | (_, outcome @ Outcome::Shown { .. }) => outcomes.push(outcome),
                (Some(waiting), _) if waiting.len() >= WAITING => {
                    let why = "it does not wait until it is trusted".to_owned();
                    self.broken.get_or_insert(LaneEnd::Protocol(why));
                }
                (Some(waiting), outcome) => {
                    if matches!(outcome, Outcome::Ready(..)) {
                        outcomes.push(Outcome::AskProxy);
                    }
                    waiting.push(outcome);
                }
            }
        }
    }

    fn perform(&mut self, actions: Vec<Action>, outcomes: &mut Vec<Outcome>) {
        for action in actions {
            match action {
                Action::Send(bytes) => {
                    if let Err(error) = self.channel.send_plaintext(&bytes) {
                        self.broken.get_or_insert(channel_end(&error));
                    }
                    // TLS keeps no more than it must, and the queue before the pipe is watched in `has_room`.
                    let wire = self.channel.take_wire();
                    self.sender.push(&wire);
                }
                Action::Start(job) => outcomes.push(Outcome::Start(Box::new(job))),
                Action::Cancel(id) => outcomes.push(Outcome::Cancel(id)),
                Action::Expired(id) => outcomes.push(Outcome::Expired(id)),
                Action::Payment(report) => outcomes.push(Outcome::Payment(report)),
                Action::WantEvidence { query, nonce } => outcomes.push(Outcome::WantEvidence { query, nonce }),
                Action::Standing(standing) => outcomes.push(Outcome::Standing(Box::new(standing))),
                Action::EvidenceCame { nonce, bytes } => outcomes.push(Outcome::Shown { nonce, bytes: Some(bytes) }),
                Action::NoEvidence { nonce } => outcomes.push(Outcome::Shown { nonce, bytes: None }),
                // A session that talks has a peer.
                Action::Ready(facts) => {
                    outcomes.extend(self.peer.map(|peer| Outcome::Ready(Box::new(facts), peer)));
                }
            }
        }
    }

    fn flush(&mut self, pipe: &Pipe) {
        let wire = self.channel.take_wire();
        self.sender.push(&wire);
        while let Some(chunk) = self.sender.next_chunk() {
            pipe.data(self.id, &chunk);
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.solving.cancel();
    }
}

pub(crate) fn protocol_end(error: &protocol::Error) -> LaneEnd {
    match error {
        protocol::Error::Silent { .. } | protocol::Error::NoAnswer { .. } => LaneEnd::Silent,
        // The proxy's own words stay out of our log.
        protocol::Error::Refused { call, code, .. } => {
            LaneEnd::Protocol(format!("{call} was refused with code {code}"))
        }
        error => LaneEnd::Protocol(error.to_string()),
    }
}

pub(crate) fn channel_end(error: &ChannelError) -> LaneEnd {
    match error {
        ChannelError::Pow(PowError::TooHard { asked, .. }) => {
            LaneEnd::ProofOfWorkTooHard { asked: asked.unsigned_abs() }
        }
        ChannelError::Pow(error) => LaneEnd::Protocol(error.to_string()),
        ChannelError::Peer(error) => LaneEnd::Untrusted(error.to_string()),
        ChannelError::Tls(error) => LaneEnd::Untrusted(format!("TLS: {error}")),
        error => LaneEnd::Untrusted(error.to_string()),
    }
}
