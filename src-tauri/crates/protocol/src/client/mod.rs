//! The client's side of a conversation with one proxy.

mod answers;
mod handshake;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use accounting::AdjustedUsage;
use accounting::signed_payment::PaymentKind;
use tl::Boxed;
use ton::{Address, RootConfig};

use crate::connection::{Connection, Event};
use crate::evidence::Demands;
use crate::handshake::Payee;
use crate::http::{Request, ResponseHead};
use crate::{Error, Now, Randomness, earlier};

pub use crate::handshake::{PaymentReport, Totals};

const POLL_PAUSE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(20));
const FIRST_POLL: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(10));
const POLL_PATIENCE: Duration = Duration::from_mins(1);
const TYPES_PATIENCE: Duration = Duration::from_secs(10);

/// The proxy gets this share of the customer's time.
const PROXY_SHARE: f64 = 0.95;

/// A client's code for "not ready" and "out of time", as the protocol's error messages use them.
pub const CODE_NOT_READY: i32 = 651;
/// See [`CODE_NOT_READY`].
pub const CODE_TIMEOUT: i32 = 652;
/// A peer broke the rules.
pub const CODE_PROTOCOL: i32 = 621;

/// What the client brings into the conversation. Has no `Debug`: the secret is in it.
#[derive(Clone)]
pub struct Config {
    /// Address of the client's own wallet, under which it is known to proxies and on the chain.
    pub owner: Address,
    /// Test network?
    pub is_test: bool,
    /// Addresses in testnet form?
    pub is_testnet: bool,
    /// The proxy must know at least this version of the root configuration.
    pub min_config_version: i32,
    /// Secret that its contract knows the SHA-256 of.
    pub secret: String,
    /// The network's parameters.
    pub root: Arc<RootConfig>,
    /// Address of the root contract.
    pub root_contract: Address,
}

/// A request to run. Holds a prompt.
#[derive(Clone)]
pub struct ClientRequest {
    /// Base name of the model.
    pub model: String,
    /// The HTTP request, headers as they shall reach the worker (see [`Request::with_body`]).
    pub request: Request,
    /// Highest coefficient to pay, thousandths.
    pub max_coefficient: i32,
    /// Most tokens to pay for.
    pub max_tokens: i32,
    /// How long the customer waits in all.
    pub timeout: Duration,
    /// Ask for timings?
    pub enable_debug: bool,
}

/// A proxy that accepted us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyFacts {
    /// Its payment key.
    pub public_key: [u8; 32],
    /// Its owner.
    pub owner: Address,
    /// Its contract, recomputed.
    pub proxy_contract: Address,
    /// Our contract at this proxy, recomputed.
    pub client_contract: Address,
    /// Negotiated version.
    pub proto_version: i32,
}

/// How a request went, in the words of worker and proxy. Unknown is `None`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FinalInfo {
    /// Adjusted tokens charged, by kind.
    pub tokens: Option<AdjustedUsage>,
    /// Timings of the worker, JSON text.
    pub worker_debug: Option<String>,
    /// Timings of the proxy, JSON text.
    pub proxy_debug: Option<String>,
    /// Unix seconds at which the proxy began and ended.
    pub proxy_times: Option<(f64, f64)>,
    /// Unix seconds at which the worker began and ended.
    pub worker_times: Option<(f64, f64)>,
}

/// A model and the workers that serve it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerType {
    /// Base name of the model.
    pub name: String,
    /// Enabled workers, cheapest first.
    pub workers: Vec<WorkerInstance>,
}

/// One enabled worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerInstance {
    /// Its coefficient, thousandths.
    pub coefficient: i32,
    /// How many requests it runs.
    pub active_requests: i32,
    /// How many it would run.
    pub max_active_requests: i32,
}

/// What the host must do. Holds answers, so it has no `Debug`.
pub enum Action {
    /// Send these bytes through TLS.
    Send(Vec<u8>),
    /// Authorised: requests may be run.
    Ready(ProxyFacts),
    /// The proxy does not know our secret: register on the chain with this nonce.
    Register {
        /// What the proxy waits for.
        nonce: i64,
    },
    /// An answer begins.
    Head {
        /// The request.
        id: [u8; 32],
        /// Status line and headers.
        head: ResponseHead,
    },
    /// A piece of the body.
    Part {
        /// The request.
        id: [u8; 32],
        /// Never empty.
        bytes: Vec<u8>,
    },
    /// The answer is complete.
    Done {
        /// The request.
        id: [u8; 32],
        /// How it went.
        info: FinalInfo,
    },
    /// There will be no answer, or no more of it.
    Failed {
        /// The request.
        id: [u8; 32],
        /// 651 not ready, 652 out of time, others as they come.
        code: i32,
        /// Words of proxy or worker, or ours.
        message: String,
    },
    /// Answer to [`Session::ask_worker_types`]; `None` if none came.
    WorkerTypes(Option<Vec<WorkerType>>),
    /// Answer to [`Session::ask_demands`]; `None` if the proxy does not know the question, as genuine ones do not.
    Demands(Option<Demands>),
    /// A verified statement of what we owe.
    Payment(PaymentReport),
}

/// Why a request was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The handshake is not done or the conversation is over.
    #[error("not connected to a proxy")]
    NotReady,
    /// It does not fit into a frame.
    #[error("the request is larger than 16 MiB")]
    TooLarge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Connect,
    Authorise,
    Status,
    Types,
    Demands,
}

impl Call {
    fn name(self) -> &'static str {
        match self {
            Self::Connect => "client.connectToProxy",
            Self::Authorise => "client.authorizeWithProxy",
            Self::Status => "client.updatePaymentStatus",
            Self::Types => "client.getWorkerTypesV2",
            Self::Demands => "chrysalis.getPolicy",
        }
    }
}

/// A request under way.
struct Waiting {
    deadline: Duration,
    has_head: bool,
}

/// One conversation with one proxy, from `tcp.connect` to its end.
pub struct Session {
    config: Config,
    random: Box<dyn Randomness>,
    connection: Connection<Call>,
    proxy: Option<ProxyFacts>,
    ready: bool,
    totals: Totals,
    waiting: BTreeMap<[u8; 32], Waiting>,
    next_poll: Option<Duration>,
    over: Option<Error>,
}

impl Session {
    /// Opens the conversation: the first frame goes out at once.
    pub fn new(config: Config, mut random: Box<dyn Randomness>, now: Now, out: &mut Vec<Action>) -> Self {
        let (connection, hello) = Connection::dial(&mut *random, now.mono);
        out.push(Action::Send(hello));
        Self {
            config,
            random,
            connection,
            proxy: None,
            ready: false,
            totals: Totals::default(),
            waiting: BTreeMap::new(),
            next_poll: None,
            over: None,
        }
    }

    /// Takes decrypted bytes in. After an error the conversation is over; every request under way has then been reported failed.
    pub fn receive(&mut self, bytes: &[u8], now: Now, out: &mut Vec<Action>) -> Result<(), Error> {
        self.alive()?;
        let result = self.read(bytes, now, out);
        self.remember(result, out)
    }

    /// Lets time pass. Call it no later than [`Self::next_deadline`].
    pub fn tick(&mut self, now: Now, out: &mut Vec<Action>) -> Result<(), Error> {
        self.alive()?;
        let result = self.pass_time(now, out);
        self.remember(result, out)
    }

    /// The moment (on the monotonic clock) at which [`Self::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Duration> {
        if self.over.is_some() {
            return None;
        }
        let requests = self.waiting.values().map(|waiting| waiting.deadline).min();
        earlier(self.connection.next_deadline(), earlier(requests, self.next_poll))
    }

    /// The connection is gone: reports every request under way as failed.
    pub fn closed(&mut self, out: &mut Vec<Action>) {
        self.fail_all("the connection to the proxy was lost", out);
        self.over.get_or_insert(Error::NotOpen);
        self.ready = false;
    }

    /// The proxy, once it has introduced itself.
    pub fn proxy(&self) -> Option<&ProxyFacts> {
        self.proxy.as_ref()
    }

    /// Whether requests may be run.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Sends a request and yields its id. Whatever happens, [`Action::Done`] or [`Action::Failed`] ends it within its time.
    pub fn run(&mut self, request: ClientRequest, now: Now, out: &mut Vec<Action>) -> Result<[u8; 32], NotSent> {
        if !self.ready {
            return Err(NotSent::NotReady);
        }
        let id = self.random.int256();
        let message = tl::client::RunQueryEx {
            model_name: request.model,
            query: request.request.encode(),
            max_coefficient: request.max_coefficient,
            max_tokens: request.max_tokens,
            timeout: request.timeout.as_secs_f64() * PROXY_SHARE,
            request_id: id,
            min_config_version: self.config.min_config_version,
            flags: 1,
            enable_debug: Some(request.enable_debug),
        };
        let frame = self.connection.message(message.to_bytes()).map_err(|_| NotSent::TooLarge)?;
        out.push(Action::Send(frame));
        self.waiting.insert(id, Waiting { deadline: now.mono.saturating_add(request.timeout), has_head: false });
        Ok(id)
    }

    /// Stops waiting for a request: the customer left. The protocol has no cancellation, so it is charged all the same.
    pub fn forget(&mut self, id: &[u8; 32]) {
        self.waiting.remove(id);
    }

    /// Asks which models are served; [`Action::WorkerTypes`] answers within 10 s.
    pub fn ask_worker_types(&mut self, now: Now, out: &mut Vec<Action>) -> Result<(), NotSent> {
        if !self.ready {
            return Err(NotSent::NotReady);
        }
        let question = tl::client::GetWorkerTypesV2.to_bytes();
        self.ask(Call::Types, question, TYPES_PATIENCE, now, out);
        Ok(())
    }

    /// Asks what the proxy demands of its workers; [`Action::Demands`] answers within 10 s.
    pub fn ask_demands(&mut self, now: Now, out: &mut Vec<Action>) -> Result<(), NotSent> {
        if !self.ready {
            return Err(NotSent::NotReady);
        }
        self.ask(Call::Demands, tl::chrysalis::GetPolicy.to_bytes(), TYPES_PATIENCE, now, out);
        Ok(())
    }

    fn alive(&self) -> Result<(), Error> {
        self.over.clone().map_or(Ok(()), Err)
    }

    fn remember(&mut self, result: Result<(), Error>, out: &mut Vec<Action>) -> Result<(), Error> {
        if let Err(error) = &result {
            self.over = Some(error.clone());
            self.ready = false;
            self.fail_all("the conversation with the proxy broke off", out);
        }
        result
    }

    fn fail_all(&mut self, words: &str, out: &mut Vec<Action>) {
        for id in std::mem::take(&mut self.waiting).into_keys() {
            out.push(Action::Failed { id, code: CODE_NOT_READY, message: words.to_owned() });
        }
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
            Event::Packet(data) => self.packet(&data, out),
            Event::Query { id, .. } => {
                if let Ok(frame) = self.connection.lost_promise(id) {
                    out.push(Action::Send(frame));
                }
                Ok(())
            }
            Event::Answer { call, data } => self.answered(call, &data, now, out),
            Event::Refused { call: Call::Status, .. } => Ok(()),
            Event::Refused { call: Call::Types, .. } => {
                out.push(Action::WorkerTypes(None));
                Ok(())
            }
            Event::Refused { call: Call::Demands, .. } => {
                out.push(Action::Demands(None));
                Ok(())
            }
            Event::Refused { call, code, message } => Err(Error::Refused { call: call.name(), code, message }),
        }
    }

    fn payee(&self) -> Option<Payee> {
        self.proxy.as_ref().map(|proxy| Payee {
            kind: PaymentKind::Client,
            proxy_key: proxy.public_key,
            contract: proxy.client_contract,
        })
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
                    Call::Types => out.push(Action::WorkerTypes(None)),
                    Call::Demands => out.push(Action::Demands(None)),
                    Call::Connect | Call::Authorise => {
                        return Err(Error::NoAnswer { call: call.name() });
                    }
                }
            } else if self.next_poll.is_some() && self.next_poll == due {
                let question = tl::client::UpdatePaymentStatus.to_bytes();
                self.ask(Call::Status, question, POLL_PATIENCE, now, out);
                let pause = self.random.pause(POLL_PAUSE.0, POLL_PAUSE.1);
                self.next_poll = Some(now.mono.saturating_add(pause));
            } else if Some(self.connection.silence_deadline()) == due {
                let ping = self.connection.tick(&mut *self.random, now.mono)?;
                out.extend(ping.map(Action::Send));
            } else {
                self.waiting.retain(|id, waiting| {
                    let in_time = waiting.deadline > now.mono;
                    if !in_time {
                        out.push(Action::Failed {
                            id: *id,
                            code: CODE_TIMEOUT,
                            message: "no answer in time".to_owned(),
                        });
                    }
                    in_time
                });
            }
        }
        Ok(())
    }

    fn schedule_first_poll(&mut self, now: Now) {
        let pause = self.random.pause(FIRST_POLL.0, FIRST_POLL.1);
        self.next_poll = Some(now.mono.saturating_add(pause));
    }
}
