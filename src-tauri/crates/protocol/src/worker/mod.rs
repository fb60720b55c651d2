//! The worker's side of a conversation with one proxy.

mod answers;
mod evidence;
mod handshake;
mod jobs;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use accounting::signed_payment::PaymentKind;
use accounting::{ModelName, Prices};
use tl::Boxed;
use ton::{Address, RootConfig};

use crate::connection::{Connection, Event};
use crate::evidence::Standing;
use crate::handshake::{Payee, Statement};
use crate::http::Request;
use crate::{Error, Now, PaymentFault, Randomness, earlier};
use jobs::Running;

pub use crate::handshake::{PaymentReport, Totals};

/// Pause between two questions about the payment status: at least and at most.
const POLL_PAUSE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(20));
/// The first question comes sooner.
const FIRST_POLL: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(10));
/// How long an answer about the payment status may take.
const POLL_PATIENCE: Duration = Duration::from_mins(1);

/// What the worker brings into the conversation.
#[derive(Debug, Clone)]
pub struct Config {
    /// The owner's address as announced, non-bounceable.
    pub owner_text: String,
    /// Full model name as announced, `base@commit:hash`.
    pub model: ModelName,
    /// Price coefficient, thousandths.
    pub coefficient: i32,
    /// Test network?
    pub is_test: bool,
    /// Addresses in testnet form?
    pub is_testnet: bool,
    /// How many proxies the worker serves; the proxy divides `max_active_requests` by it.
    pub proxy_connections: u32,
    /// Most requests at once over all proxies.
    pub max_active_requests: u32,
    /// Announce disabled from the start?
    pub disabled: bool,
    /// The network's parameters.
    pub root: Arc<RootConfig>,
    /// Address of the root contract.
    pub root_contract: Address,
    /// What is remembered of this proxy.
    pub known: Option<KnownProxy>,
}

/// What a worker remembers of a proxy from conversation to conversation. A proxy that comes with another key or contract is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownProxy {
    /// Its payment key.
    pub public_key: [u8; 32],
    /// Its contract; `None` if only the key is remembered.
    pub proxy_contract: Option<Address>,
    /// Totals it told us. Zero is always safe; more than it told us never is, a genuine proxy aborts on that.
    pub totals: Totals,
}

/// A proxy that finished its handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyFacts {
    /// Its payment key.
    pub public_key: [u8; 32],
    /// Its owner.
    pub owner: Address,
    /// Its contract, recomputed.
    pub proxy_contract: Address,
    /// Our contract at this proxy, recomputed.
    pub worker_contract: Address,
    /// Negotiated version.
    pub proto_version: i32,
}

/// A customer's request. Holds a prompt.
pub struct Job {
    /// The proxy's id of it.
    pub id: [u8; 32],
    /// The request.
    pub request: Request,
    /// Coefficient to account with, thousandths.
    pub coefficient: i32,
    /// Time from now until the session ends the job by itself.
    pub timeout: Duration,
    /// Did the customer ask for timings?
    pub enable_debug: bool,
}

/// What the host must do.
pub enum Action {
    /// Send these bytes through TLS.
    Send(Vec<u8>),
    /// The handshake is done.
    Ready(ProxyFacts),
    /// Run this job.
    Start(Job),
    /// Time is nearly up for this job: end it now with [`Session::answer_last`] and honest counts. A twentieth of the time is left.
    Cancel([u8; 32]),
    /// The session ended this job by itself because its time was up. What is still said for it is ignored.
    Expired([u8; 32]),
    /// A verified payment.
    Payment(PaymentReport),
    /// The proxy asks for evidence: call [`Session::answer_evidence`] within 50 s.
    WantEvidence {
        /// The proxy's id of the question.
        query: i64,
        /// Its nonce.
        nonce: [u8; 32],
    },
    /// The proxy says how we stand with it.
    Standing(Standing),
    /// Answer to [`Session::ask_evidence`].
    EvidenceCame {
        /// The nonce of the question.
        nonce: [u8; 32],
        /// What the proxy shows.
        bytes: Vec<u8>,
    },
    /// Answer to [`Session::ask_evidence`]: the proxy shows nothing.
    NoEvidence {
        /// The nonce of the question.
        nonce: [u8; 32],
    },
}

/// Which of our questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Connect,
    Compare,
    CompareMore,
    Finish,
    Status,
    Evidence { nonce: [u8; 32] },
}

impl Call {
    fn name(self) -> &'static str {
        match self {
            Self::Connect => "worker.connectToProxy",
            Self::Compare => "worker.compareBalanceWithProxy",
            Self::CompareMore => "worker.extendedCompareBalanceWithProxy",
            Self::Finish => "worker.proxyHandshakeComplete",
            Self::Status => "worker.updatePaymentStatus",
            Self::Evidence { .. } => "chrysalis.getEvidence",
        }
    }
}

/// How far the handshake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Connection, introduction or comparison.
    Early,
    /// `proxyHandshakeComplete` is out: queries may come.
    Finishing,
    Ready,
}

/// One conversation with one proxy, from `tcp.connect` to its end.
pub struct Session {
    config: Config,
    random: Box<dyn Randomness>,
    connection: Connection<Call>,
    stage: Stage,
    proxy: Option<ProxyFacts>,
    totals: Totals,
    prices: Prices,
    jobs: BTreeMap<[u8; 32], Running>,
    next_poll: Option<Duration>,
    /// Questions for evidence that our host has not answered, and until when it may.
    asked_of_us: BTreeMap<i64, Duration>,
    announced_disabled: bool,
    announced_coefficient: i32,
    /// What the handshake brought, until it is complete.
    first_report: Option<PaymentReport>,
    last_report: Option<PaymentReport>,
    over: Option<Error>,
}

impl Session {
    /// Opens the conversation: the first frame goes out at once.
    pub fn new(config: Config, mut random: Box<dyn Randomness>, now: Now, out: &mut Vec<Action>) -> Self {
        let (connection, hello) = Connection::dial(&mut *random, now.mono);
        out.push(Action::Send(hello));
        Self {
            prices: Prices::from(&*config.root),
            totals: config.known.as_ref().map_or_else(Totals::default, |known| known.totals),
            announced_disabled: config.disabled,
            announced_coefficient: config.coefficient,
            config,
            random,
            connection,
            stage: Stage::Early,
            proxy: None,
            jobs: BTreeMap::new(),
            next_poll: None,
            asked_of_us: BTreeMap::new(),
            first_report: None,
            last_report: None,
            over: None,
        }
    }

    /// Takes decrypted bytes in. After an error the conversation is over: close the connection, drop its jobs.
    pub fn receive(&mut self, bytes: &[u8], now: Now, out: &mut Vec<Action>) -> Result<(), Error> {
        self.alive()?;
        let result = self.read(bytes, now, out);
        self.remember(result)
    }

    /// Lets time pass. Call it no later than [`Self::next_deadline`].
    pub fn tick(&mut self, now: Now, out: &mut Vec<Action>) -> Result<(), Error> {
        self.alive()?;
        let result = self.pass_time(now, out);
        self.remember(result)
    }

    /// The moment (on the monotonic clock) at which [`Self::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Duration> {
        if self.over.is_some() {
            return None;
        }
        let jobs = self.jobs.values().map(Running::next_deadline).min();
        let asked = self.asked_of_us.values().min().copied();
        earlier(earlier(self.connection.next_deadline(), asked), earlier(jobs, self.next_poll))
    }

    /// Ids of the jobs that run.
    pub fn running(&self) -> Vec<[u8; 32]> {
        self.jobs.keys().copied().collect()
    }

    /// What should be remembered of this proxy, once the handshake is done.
    pub fn known(&self) -> Option<KnownProxy> {
        if self.stage != Stage::Ready {
            return None;
        }
        self.proxy.as_ref().map(|proxy| KnownProxy {
            public_key: proxy.public_key,
            proxy_contract: Some(proxy.proxy_contract),
            totals: self.totals,
        })
    }

    /// Announces that the worker takes jobs or no longer does. Said during the handshake, it is repeated once that is done.
    pub fn set_disabled(&mut self, disabled: bool, _now: Now, out: &mut Vec<Action>) {
        self.config.disabled = disabled;
        if self.stage == Stage::Ready {
            self.announce(out);
        }
    }

    /// Announces a new coefficient, thousandths. It holds for what the proxy sends from then on. Negative ones are not announced.
    pub fn set_coefficient(&mut self, coefficient: i32, _now: Now, out: &mut Vec<Action>) {
        if coefficient < 0 {
            return;
        }
        self.config.coefficient = coefficient;
        if self.stage == Stage::Ready {
            self.announce(out);
        }
    }

    fn announce(&mut self, out: &mut Vec<Action>) {
        if self.announced_coefficient != self.config.coefficient {
            self.announced_coefficient = self.config.coefficient;
            let news = tl::worker::NewCoefficient { new_coefficient: self.config.coefficient };
            self.message(news.to_bytes(), out);
        }
        if self.announced_disabled != self.config.disabled {
            self.announced_disabled = self.config.disabled;
            let news = tl::worker::EnabledDisabled { disabled: i32::from(self.config.disabled) };
            self.message(news.to_bytes(), out);
        }
    }

    fn alive(&self) -> Result<(), Error> {
        self.over.clone().map_or(Ok(()), Err)
    }

    fn remember(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        if let Err(error) = &result {
            self.over = Some(error.clone());
            self.jobs.clear();
        }
        result
    }

    fn read(&mut self, bytes: &[u8], now: Now, out: &mut Vec<Action>) -> Result<(), Error> {
        self.connection.push(bytes);
        loop {
            let mut wire = Vec::new();
            let event = self.connection.next(now.mono, &mut wire);
            out.extend(wire.into_iter().map(Action::Send));
            match event? {
                Some(event) => self.handle(event, now, out)?,
                None => return Ok(()),
            }
        }
    }

    fn handle(&mut self, event: Event<Call>, now: Now, out: &mut Vec<Action>) -> Result<(), Error> {
        match event {
            Event::Open => {
                self.introduce(now, out);
                Ok(())
            }
            // The genuine worker drops what comes before the handshake is through.
            Event::Packet(_) if self.stage == Stage::Early => Ok(()),
            Event::Packet(data) => self.packet(&data, now, out),
            Event::Query { id, data } => {
                self.asked(id, &data, now, out);
                Ok(())
            }
            Event::Answer { call, data } => self.answered(call, &data, now, out),
            Event::Refused { call: Call::Status, .. } => Ok(()),
            Event::Refused { call: Call::Evidence { nonce }, .. } => {
                out.push(Action::NoEvidence { nonce });
                Ok(())
            }
            Event::Refused { call, code, message } => Err(Error::Refused { call: call.name(), code, message }),
        }
    }

    fn packet(&mut self, data: &[u8], now: Now, out: &mut Vec<Action>) -> Result<(), Error> {
        match tl::peek_id(data) {
            Some(tl::proxy::RunQueryEx::ID) => self.start_extended(data, now, out),
            Some(tl::proxy::RunQuery::ID) => self.start_plain(data, now, out),
            Some(tl::proxy::WorkerRequestPayment::WORKER) => self.request_paid(data, out),
            // What does not parse is passed over, as is everything that is not known.
            Some(tl::chrysalis::Standing::ID) => {
                out.extend(Standing::from_bytes(data).map(Action::Standing));
                Ok(())
            }
            _ => {
                if let Ok(payment) = tl::proxy::SignedPayment::from_bytes(data) {
                    self.merge_payment(payment, None, out);
                }
                Ok(())
            }
        }
    }

    /// The proxy closes a request. Unlike the other statements this one must be sound, or the conversation ends and with it begins a
    /// new comparison.
    fn request_paid(&mut self, data: &[u8], out: &mut Vec<Action>) -> Result<(), Error> {
        let Ok(tl::proxy::WorkerRequestPayment::Worker {
            request_id,
            signed_payment,
            db_tokens,
            max_tokens,
            request_tokens,
            ..
        }) = tl::proxy::WorkerRequestPayment::from_bytes(data)
        else {
            return Err(Error::Malformed { what: "proxy.workerRequestPayment" });
        };
        let statement = Statement {
            payment: signed_payment,
            stored: db_tokens,
            known: max_tokens,
            request: Some((request_id, request_tokens)),
        };
        let payee = self.payee().ok_or(PaymentFault::Invalid)?;
        let report = self.totals.advance(statement, &payee)?;
        self.last_report = Some(report.clone());
        out.push(Action::Payment(report));
        Ok(())
    }

    /// A payment that came along with something else. What is wrong with it is no reason to stop working.
    fn merge_payment(&mut self, payment: tl::proxy::SignedPayment, totals: Option<(i64, i64)>, out: &mut Vec<Action>) {
        let Some(payee) = self.payee() else {
            return;
        };
        let (stored, known) = totals.unwrap_or((self.totals.stored, self.totals.known));
        let statement = Statement {
            payment,
            stored: stored.max(self.totals.stored),
            known: known.max(self.totals.known),
            request: None,
        };
        if let Ok(report) = self.totals.advance(statement, &payee) {
            self.report(report, out);
        }
    }

    /// Passes a report on unless it says nothing new.
    fn report(&mut self, report: PaymentReport, out: &mut Vec<Action>) {
        let is_news = self.last_report.as_ref().is_none_or(|last| {
            last.boc != report.boc || last.db_tokens != report.db_tokens || last.max_tokens != report.max_tokens
        });
        if is_news {
            self.last_report = Some(report.clone());
            out.push(Action::Payment(report));
        }
    }

    fn payee(&self) -> Option<Payee> {
        self.proxy.as_ref().map(|proxy| Payee {
            kind: PaymentKind::Worker,
            proxy_key: proxy.public_key,
            contract: proxy.worker_contract,
        })
    }

    fn message(&mut self, data: Vec<u8>, out: &mut Vec<Action>) {
        if let Ok(frame) = self.connection.message(data) {
            out.push(Action::Send(frame));
        }
    }

    fn ask(&mut self, call: Call, data: Vec<u8>, patience: Duration, now: Now, out: &mut Vec<Action>) {
        let frame = self.connection.ask(call, data, patience, &mut *self.random, now.mono);
        if let Ok(frame) = frame {
            out.push(Action::Send(frame));
        }
    }

    /// Does what is due, in the order in which it fell due.
    fn pass_time(&mut self, now: Now, out: &mut Vec<Action>) -> Result<(), Error> {
        while self.next_deadline().is_some_and(|due| due <= now.mono) {
            let due = self.next_deadline();
            if let Some(call) = self.connection.expired(now.mono) {
                match call {
                    Call::Status => {}
                    Call::Evidence { nonce } => out.push(Action::NoEvidence { nonce }),
                    _ => return Err(Error::NoAnswer { call: call.name() }),
                }
            } else if self.next_poll.is_some() && self.next_poll == due {
                self.poll(now, out);
            } else if Some(self.connection.silence_deadline()) == due {
                let ping = self.connection.tick(&mut *self.random, now.mono)?;
                out.extend(ping.map(Action::Send));
            } else {
                self.give_up_questions(now, out);
                self.expire_jobs(now, out);
            }
        }
        Ok(())
    }

    fn poll(&mut self, now: Now, out: &mut Vec<Action>) {
        let question = tl::worker::UpdatePaymentStatus.to_bytes();
        self.ask(Call::Status, question, POLL_PATIENCE, now, out);
        let pause = self.random.pause(POLL_PAUSE.0, POLL_PAUSE.1);
        self.next_poll = Some(now.mono.saturating_add(pause));
    }
}
