//! A worker that enrols a TPM at a registrar, and then ends. It reads no model and serves nobody.
//!
//! It is here because this process has TLS and the app has none: the app gives it the keys' public halves and what its TPM found in the
//! challenge, and gets the registrar's statement.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use link::flow::{LaneReceiver, LaneSender};
use link::frame::Frame;
use link::greeting::Greeting;
use link::message::LaneEnd;
use link::proof::Enrolment;
use link::{FromWorker, LaneId, ToWorker};
use protocol::enrolment::{Applicant, ApplicantAction, Request};
use ratls::{ClientChannel, Evidence, Identity, Policy, State, pow, tls};

use crate::clock::{Clock, Ticks};
use crate::event::Event;
use crate::inference::Cancel;
use crate::lane::{PATIENCE, channel_end, protocol_end};
use crate::pipe::Pipe;
use crate::randomness::SystemRandomness;
use crate::serve::Stopped;
use crate::threads;

/// The connection to the registrar, and how far it is.
struct Visit {
    lane: LaneId,
    channel: ClientChannel,
    applicant: Option<Applicant>,
    sender: LaneSender,
    receiver: LaneReceiver,
    inbox: VecDeque<u8>,
    /// Calls the proof of work off; `None` before it was asked for.
    solving: Option<Cancel>,
    /// When proof of work and TLS must be through.
    until: Duration,
}

/// Enrols, until the app closes the pipe.
pub(crate) fn run(
    enrolment: Enrolment,
    events: &Receiver<Event>,
    sender: &SyncSender<Event>,
    greeting: &mut Greeting,
    pipe: &Pipe,
    ticks: Ticks,
) -> Result<Infallible, Stopped> {
    let clock = Clock::new(ticks, enrolment.unix_ms);
    let mut office = Office { enrolment, clock, pipe, events: sender.clone(), visit: None };
    loop {
        let due = office.next_deadline();
        let event = match due {
            None => events.recv().map_err(|_| Stopped::AppGone)?,
            Some(due) => match events.recv_timeout(due.saturating_sub(office.clock.mono())) {
                Ok(event) => event,
                Err(RecvTimeoutError::Timeout) => {
                    office.tick();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return Err(Stopped::AppGone),
            },
        };
        office.handle(event, greeting)?;
        office.tick();
    }
}

struct Office<'a> {
    enrolment: Enrolment,
    clock: Clock,
    pipe: &'a Pipe,
    events: SyncSender<Event>,
    visit: Option<Visit>,
}

impl Office<'_> {
    fn next_deadline(&self) -> Option<Duration> {
        let visit = self.visit.as_ref()?;
        visit.applicant.as_ref().map_or(Some(visit.until), Applicant::next_deadline)
    }

    fn handle(&mut self, event: Event, greeting: &mut Greeting) -> Result<(), Stopped> {
        match event {
            Event::AppGone => Err(Stopped::AppGone),
            // No model is read here.
            Event::Report(_) => Ok(()),
            Event::App(frame) => match greeting.admit(&frame) {
                Ok(_) => self.hear(frame),
                Err(_) => Err(Stopped::Confused("greeted twice")),
            },
            Event::Solved { lane, nonce } => {
                let ended = match self.visit.as_mut().filter(|visit| visit.lane == lane) {
                    None => return Ok(()),
                    Some(visit) => match nonce {
                        None => Some(LaneEnd::Protocol("the proof of work has no solution".to_owned())),
                        Some(nonce) => visit.channel.provide_nonce(nonce).err().map(|error| channel_end(&error)),
                    },
                };
                self.go_on(ended);
                Ok(())
            }
        }
    }

    fn hear(&mut self, frame: Frame<ToWorker>) -> Result<(), Stopped> {
        match frame {
            Frame::Data { lane, bytes } => {
                if let Some(visit) = self.visit.as_mut().filter(|visit| visit.lane == lane) {
                    visit.receiver.arrived(bytes.len()).map_err(|_| Stopped::Confused("a lane overran its window"))?;
                    visit.inbox.extend(bytes);
                    self.go_on(None);
                }
            }
            Frame::Credit { lane, bytes } => {
                if let Some(visit) = self.visit.as_mut().filter(|visit| visit.lane == lane) {
                    visit.sender.granted(bytes).map_err(|_| Stopped::Confused("a lane was granted too much"))?;
                    self.go_on(None);
                }
            }
            Frame::Control(ToWorker::OpenLane { lane, unix_ms, .. }) => {
                self.clock.set(unix_ms);
                match self.dial(lane) {
                    Ok(visit) => self.visit = Some(visit),
                    Err(why) => self.pipe.say(&FromWorker::LaneEnded { lane, why }),
                }
            }
            Frame::Control(ToWorker::LaneClosed { lane }) => {
                self.visit.take_if(|visit| visit.lane == lane);
            }
            Frame::Control(ToWorker::Activated { secret }) => {
                let (now, mut out) = (self.clock.now(), Vec::new());
                if let Some(applicant) = self.visit.as_mut().and_then(|visit| visit.applicant.as_mut()) {
                    applicant.activated(secret, now, &mut out);
                }
                let ended = self.perform(out).err();
                self.go_on(ended);
            }
            Frame::Control(_) => return Err(Stopped::Confused("this worker only enrols")),
        }
        Ok(())
    }

    fn dial(&self, lane: LaneId) -> Result<Visit, LaneEnd> {
        let untrusted = |error: &dyn std::fmt::Display| LaneEnd::Untrusted(error.to_string());
        let clock = self.clock.clone();
        let identity = Identity::generate(Evidence::None, clock.unix_seconds()).map_err(|error| untrusted(&error))?;
        // Who it is is shown inside: it signs this connection's key.
        let config = tls::client_config(&identity, Policy::Any, Arc::new(move || clock.unix_seconds()))
            .map_err(|error| untrusted(&error))?;
        let channel = ClientChannel::new(&config, self.hardest_proof()).map_err(|error| untrusted(&error))?;
        Ok(Visit {
            lane,
            channel,
            applicant: None,
            sender: LaneSender::new(),
            receiver: LaneReceiver::new(),
            inbox: VecDeque::new(),
            solving: None,
            until: self.clock.mono().saturating_add(PATIENCE),
        })
    }

    fn hardest_proof(&self) -> i32 {
        i32::try_from(self.enrolment.max_pow_difficulty).unwrap_or(i32::MAX)
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        let mut out = Vec::new();
        let ended = match &mut self.visit {
            Some(Visit { applicant: Some(applicant), .. })
                if applicant.next_deadline().is_some_and(|it| it <= now.mono) =>
            {
                applicant.tick(now, &mut out).err().map(|error| told(&error))
            }
            Some(Visit { applicant: None, until, .. }) if *until <= now.mono => Some(LaneEnd::Silent),
            None | Some(_) => return,
        };
        let ended = self.perform(out).err().or(ended);
        self.go_on(ended);
    }

    /// Puts what waits through TLS and the conversation; ends the visit if something is wrong.
    fn go_on(&mut self, ended: Option<LaneEnd>) {
        let result = ended.map_or_else(|| self.pump(), Err);
        if let Err(why) = result
            && let Some(visit) = self.visit.take()
        {
            if let Some(solving) = visit.solving {
                solving.cancel();
            }
            self.pipe.say(&FromWorker::LaneEnded { lane: visit.lane, why });
        }
    }

    fn pump(&mut self) -> Result<(), LaneEnd> {
        let now = self.clock.now();
        let most = self.hardest_proof();
        let Some(visit) = &mut self.visit else { return Ok(()) };
        if !visit.inbox.is_empty() && !matches!(visit.channel.state(), State::PowNeeded(_)) {
            let bytes: Vec<u8> = visit.inbox.drain(..).collect();
            if let Some(credit) = visit.receiver.taken(bytes.len()) {
                self.pipe.credit(visit.lane, credit);
            }
            visit.channel.receive_wire(&bytes).map_err(|error| channel_end(&error))?;
        }
        let mut out = Vec::new();
        let mut result = Ok(());
        match visit.channel.state() {
            State::PowNeeded(challenge) if visit.solving.is_none() => {
                let (lane, events, cancel) = (visit.lane, self.events.clone(), Cancel::new());
                visit.solving = Some(cancel.clone());
                let started = threads::spawn("proof-of-work", move || {
                    let solution = pow::solve(&challenge, most, &mut || !cancel.is_cancelled());
                    let _ = events.send(Event::Solved { lane, nonce: solution.ok().flatten() });
                });
                started.map_err(|_| LaneEnd::Protocol("no thread for a proof of work".to_owned()))?;
            }
            State::Open(peer) => {
                let Enrolment { ek_certificates, ek_public, ak_public, audience, registrar, .. } = &self.enrolment;
                let applicant = visit.applicant.get_or_insert_with(|| {
                    let request = Request {
                        ek_certificates: ek_certificates.clone(),
                        ek_public: ek_public.clone(),
                        ak_public: ak_public.clone(),
                        audience: *audience,
                    };
                    Applicant::new(request, *registrar, peer.public_key, Box::new(SystemRandomness), now, &mut out)
                });
                let plaintext = visit.channel.take_plaintext();
                result = applicant.receive(&plaintext, now, &mut out);
            }
            State::AwaitingPow | State::PowNeeded(_) | State::Handshaking | State::Over => {}
        }
        self.perform(out)?;
        self.flush();
        result.map_err(|error| told(&error))
    }

    fn perform(&mut self, actions: Vec<ApplicantAction>) -> Result<(), LaneEnd> {
        for action in actions {
            match action {
                ApplicantAction::Send(bytes) => {
                    if let Some(visit) = &mut self.visit {
                        visit.channel.send_plaintext(&bytes).map_err(|error| channel_end(&error))?;
                    }
                }
                ApplicantAction::Open { credential, secret } => {
                    self.pipe.say(&FromWorker::Challenge { credential, secret });
                }
                ApplicantAction::Certified(statement) => self.pipe.say(&FromWorker::Enrolled { statement }),
            }
        }
        self.flush();
        Ok(())
    }

    fn flush(&mut self) {
        let Some(visit) = &mut self.visit else { return };
        let wire = visit.channel.take_wire();
        visit.sender.push(&wire);
        while let Some(chunk) = visit.sender.next_chunk() {
            self.pipe.data(visit.lane, &chunk);
        }
    }
}

/// A registrar's reasons are for the owner to read: it is one that the owner chose.
fn told(error: &protocol::Error) -> LaneEnd {
    match error {
        protocol::Error::Refused { message, .. } => LaneEnd::Protocol(format!("the registrar refuses: {message}")),
        protocol::Error::NotTheRegistrar => LaneEnd::Untrusted(error.to_string()),
        error => protocol_end(error),
    }
}
