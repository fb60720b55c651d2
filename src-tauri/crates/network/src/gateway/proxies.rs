//! The proxies that the gateway dials: one task each, the owner of its session.

use std::collections::{BTreeMap, VecDeque};
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evidence::Grade;
use protocol::client::{Action, ClientRequest, Config, NotSent, ProxyFacts, Session, WorkerType};
use protocol::evidence::Demands;
use ratls::{Evidence, Identity, Policy};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use ton::{Address, AddressText};

use super::Settings;
use super::answer::{Answer, Piece, Sink, channel};
use crate::clock::{Clock, OsRandom, random_bytes, unix_seconds};
use crate::wire::{Outgoing, QUEUE_LIMIT, Wire, WireError, queue};

/// Pause before the next attempt to dial: doubles from the first to the second, up to a fifth more or less.
const REDIAL: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// A conversation that lasted this long makes the next pause short again.
const PROVEN_AFTER: Duration = Duration::from_secs(30);
/// Without a deadline of the session's, time passes this often.
const IDLE: Duration = Duration::from_mins(1);
/// Requests that may wait for one proxy's task.
const COMMANDS: usize = 64;
/// Pieces of plaintext that may wait for one proxy's task.
const PIECES: usize = 16;
/// How often requests of customers who left are looked for while nothing else happens.
const SWEEP: Duration = Duration::from_secs(1);

/// What a proxy's task is asked.
enum Command {
    Run(Box<ClientRequest>, Sink),
    Types(oneshot::Sender<Vec<WorkerType>>),
}

/// One proxy as everybody sees it.
struct Target {
    seqno: u32,
    address: SocketAddrV4,
    state: Mutex<TargetState>,
}

#[derive(Default)]
struct TargetState {
    /// `Some` while the proxy accepts requests.
    commands: Option<mpsc::Sender<Command>>,
    facts: Option<ProxyFacts>,
    dials: u64,
    /// Adjusted tokens: signed for, and known, as the proxy said and we verified.
    signed: u64,
    known: i64,
    /// What the proxy wants to read on the chain.
    nonce: Option<u64>,
    /// What it demands of its workers, as it says; `None`: it has not said.
    demands: Option<Demands>,
}

/// A proxy that has introduced itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Met {
    pub(super) contract: Address,
    pub(super) owner: Address,
    pub(super) key: [u8; 32],
    /// Adjusted tokens that we have used, as it said.
    pub(super) used: u64,
    /// What it wants to read on the chain.
    pub(super) nonce: Option<u64>,
}

/// All proxies.
pub(super) struct Proxies {
    targets: Vec<Arc<Target>>,
    ready: Arc<Notify>,
    meetings: Arc<Notify>,
    is_testnet: bool,
}

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoProxy;

impl Proxies {
    /// Starts dialling. Tasks end when the set is dropped.
    pub(super) fn dial(settings: Settings) -> (Arc<Self>, JoinSet<()>) {
        let most = usize::try_from(settings.proxy_connections.max(1)).unwrap_or(usize::MAX);
        let registered = settings.network.root.registered_proxies.iter().take(most);
        let targets: Vec<Arc<Target>> = registered
            .map(|proxy| {
                Arc::new(Target {
                    seqno: proxy.seqno,
                    address: proxy.client_endpoint,
                    state: Mutex::new(TargetState::default()),
                })
            })
            .collect();
        let (ready, meetings) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let proxies = Arc::new(Self { targets, ready, meetings, is_testnet: settings.is_testnet });
        let dialler = Arc::new(Dialler {
            session: Config {
                owner: settings.wallet,
                is_test: settings.is_test,
                is_testnet: settings.is_testnet,
                min_config_version: settings.network.root.version.cast_signed(),
                secret: settings.secret,
                root: settings.network.root,
                root_contract: settings.network.root_contract,
            },
            policy: settings.policy,
            evidence: settings.evidence,
            max_pow_difficulty: settings.max_pow_difficulty,
            clock: Clock::new(),
            ready: Arc::clone(&proxies.ready),
            meetings: Arc::clone(&proxies.meetings),
        });
        let mut tasks = JoinSet::new();
        for target in &proxies.targets {
            tasks.spawn(Arc::clone(&dialler).keep_dialling(Arc::clone(target)));
        }
        (proxies, tasks)
    }

    /// Waits until some proxy accepts requests.
    pub(super) async fn any_ready(&self) {
        loop {
            let changed = self.ready.notified();
            if self.first_ready().is_some() {
                return;
            }
            changed.await;
        }
    }

    /// Proxies that have introduced themselves.
    pub(super) fn met(&self) -> Vec<Met> {
        let seen = self.targets.iter().filter_map(|target| {
            let state = target.state();
            let facts = state.facts.as_ref()?;
            Some(Met {
                contract: facts.proxy_contract,
                owner: facts.owner,
                key: facts.public_key,
                used: u64::try_from(state.known).unwrap_or(0).max(state.signed),
                nonce: state.nonce,
            })
        });
        seen.collect()
    }

    /// What proxies wanted to read on the chain is there.
    pub(super) fn registered(&self, nonces: &[u64]) {
        for target in &self.targets {
            let mut state = target.state();
            state.nonce = state.nonce.filter(|nonce| !nonces.contains(nonce));
        }
    }

    /// Told whenever a proxy introduces itself or wants something on the chain.
    pub(super) fn meetings(&self) -> Arc<Notify> {
        Arc::clone(&self.meetings)
    }

    fn first_ready(&self) -> Option<mpsc::Sender<Command>> {
        self.targets.iter().find_map(|target| target.state().commands.clone())
    }

    /// Gives a request to the first proxy that accepts requests. Whatever happens, the answer ends.
    pub(super) async fn run(&self, request: ClientRequest) -> Result<Answer, NoProxy> {
        let commands = self.first_ready().ok_or(NoProxy)?;
        let (sink, answer) = channel();
        commands.send(Command::Run(Box::new(request), sink)).await.map_err(|_| NoProxy)?;
        Ok(answer)
    }

    /// The models that the first proxy that accepts requests knows workers for.
    pub(super) async fn types(&self) -> Result<Vec<WorkerType>, NoProxy> {
        let commands = self.first_ready().ok_or(NoProxy)?;
        let (reply, answer) = oneshot::channel();
        commands.send(Command::Types(reply)).await.map_err(|_| NoProxy)?;
        answer.await.map_err(|_| NoProxy)
    }

    /// What the first proxy that accepts requests demands of its workers, in its words.
    pub(super) fn demands(&self) -> Value {
        let ready = self.targets.iter().find(|target| target.state().commands.is_some());
        ready.and_then(|target| target.state().demands.as_ref().map(said)).unwrap_or(Value::Null)
    }

    /// How the proxies stand, for the stats page.
    pub(super) fn stats(&self) -> Vec<Value> {
        let text = |address| AddressText { address, bounceable: false, testnet: self.is_testnet }.to_text();
        let rows = self.targets.iter().map(|target| {
            let state = target.state();
            json!({
                "seqno": target.seqno,
                "address": target.address.to_string(),
                "is_ready": state.commands.is_some(),
                "dials": state.dials,
                "proxy_sc_address": state.facts.as_ref().map(|facts| text(facts.proxy_contract)),
                "sc_address": state.facts.as_ref().map(|facts| text(facts.client_contract)),
                "proxy_public_key": state.facts.as_ref().map(|facts| hex::encode(facts.public_key)),
                "tokens_used_proxy_committed_to_blockchain": state.signed,
                "tokens_used_proxy_max": state.known,
                "demands_of_workers": state.demands.as_ref().map(said),
            })
        });
        rows.collect()
    }
}

impl Target {
    fn state(&self) -> std::sync::MutexGuard<'_, TargetState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all dialling tasks share.
struct Dialler {
    session: Config,
    policy: Policy,
    evidence: Evidence,
    max_pow_difficulty: i32,
    clock: Clock,
    ready: Arc<Notify>,
    meetings: Arc<Notify>,
}

impl Dialler {
    async fn keep_dialling(self: Arc<Self>, target: Arc<Target>) {
        let mut pause = REDIAL.0;
        loop {
            let began = Instant::now();
            target.state().dials += 1;
            match self.connect(&target).await {
                Ok(wire) => {
                    self.converse(wire, &target).await;
                    let mut state = target.state();
                    state.commands = None;
                }
                Err(error) => tracing::info!(proxy = %target.address, %error, "cannot reach the proxy; trying again"),
            }
            if began.elapsed() >= PROVEN_AFTER {
                pause = REDIAL.0;
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(REDIAL.1);
        }
    }

    async fn connect(&self, target: &Target) -> Result<Wire, WireError> {
        let now = unix_seconds() as u64;
        let refused = |words: String| WireError::Io(std::io::Error::other(words));
        let identity = Identity::generate(self.evidence, now).map_err(|error| refused(error.to_string()))?;
        let clock = Arc::new(|| unix_seconds() as u64);
        let tls = ratls::tls::client_config(&identity, self.policy.clone(), clock)
            .map_err(|error| refused(error.to_string()))?;
        Wire::dial(SocketAddr::V4(target.address), &tls, self.max_pow_difficulty).await
    }

    async fn converse(&self, wire: Wire, target: &Target) {
        let (outgoing, rest) = queue(QUEUE_LIMIT);
        let (pieces, mut incoming) = mpsc::channel(PIECES);
        let mut pump = JoinSet::new();
        pump.spawn(wire.pump(rest, pieces, |bytes| bytes));
        let (commands, mut asked) = mpsc::channel(COMMANDS);
        let mut out = Vec::new();
        let session = Session::new(self.session.clone(), Box::new(OsRandom), self.clock.now(), &mut out);
        let mut talk = Talk {
            session,
            outgoing,
            target,
            commands: Some(commands),
            answers: BTreeMap::new(),
            curious: VecDeque::new(),
            ready: &self.ready,
            meetings: &self.meetings,
        };
        talk.perform(&mut out);
        let mut wonders = true;
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            let due = talk.session.next_deadline().map_or_else(|| Instant::now() + IDLE, |due| self.clock.at(due));
            let result = tokio::select! {
                bytes = incoming.recv() => {
                    let Some(bytes) = bytes else {
                        talk.session.closed(&mut out);
                        talk.perform(&mut out);
                        tracing::info!(proxy = %target.address, "the connection to the proxy ended");
                        return;
                    };
                    talk.session.receive(&bytes, self.clock.now(), &mut out)
                }
                () = talk.outgoing.drained(), if !talk.outgoing.has_room() => Ok(()),
                // Requests wait while the proxy has not taken earlier ones.
                Some(command) = asked.recv(), if talk.outgoing.has_room() => {
                    talk.command(command, self.clock, &mut out);
                    Ok(())
                }
                () = tokio::time::sleep_until(due) => talk.session.tick(self.clock.now(), &mut out),
                _ = sweep.tick() => {
                    talk.forget_those_who_left();
                    Ok(())
                }
            };
            if wonders && talk.session.ask_demands(self.clock.now(), &mut out).is_ok() {
                wonders = false;
            }
            let cut = talk.perform(&mut out);
            if let Err(error) = result {
                tracing::warn!(proxy = %target.address, %error, "the conversation with the proxy ended");
                return;
            }
            if cut {
                talk.session.closed(&mut out);
                talk.perform(&mut out);
                tracing::warn!(proxy = %target.address, "cut off: the proxy does not read");
                return;
            }
        }
    }
}

/// One conversation.
struct Talk<'a> {
    session: Session,
    outgoing: Outgoing,
    target: &'a Target,
    /// Handed out once the proxy accepts requests.
    commands: Option<mpsc::Sender<Command>>,
    answers: BTreeMap<[u8; 32], Sink>,
    curious: VecDeque<oneshot::Sender<Vec<WorkerType>>>,
    ready: &'a Notify,
    meetings: &'a Notify,
}

impl Talk<'_> {
    fn command(&mut self, command: Command, clock: Clock, out: &mut Vec<Action>) {
        match command {
            Command::Run(request, sink) => {
                if sink.is_unwanted() {
                    return;
                }
                match self.session.run(*request, clock.now(), out) {
                    Ok(id) => {
                        self.answers.insert(id, sink);
                    }
                    Err(why) => {
                        let code = match why {
                            NotSent::NotReady => protocol::client::CODE_NOT_READY,
                            NotSent::TooLarge => protocol::client::CODE_PROTOCOL,
                        };
                        let _ = sink.push(Piece::Failed { code, words: why.to_string() });
                    }
                }
            }
            Command::Types(reply) => {
                // One question under way answers everybody who asks meanwhile.
                let is_first = self.curious.is_empty();
                if !is_first || self.session.ask_worker_types(clock.now(), out).is_ok() {
                    self.curious.push_back(reply);
                }
            }
        }
    }

    /// Does what the session decided; says whether the proxy must be given up.
    fn perform(&mut self, out: &mut Vec<Action>) -> bool {
        let mut cut = false;
        for action in std::mem::take(out) {
            match action {
                Action::Send(bytes) => cut |= self.outgoing.push(bytes).is_err(),
                Action::Ready(facts) => {
                    let mut state = self.target.state();
                    state.facts = Some(facts);
                    state.commands = self.commands.take();
                    state.nonce = None;
                    state.demands = None;
                    drop(state);
                    self.ready.notify_waiters();
                    self.meetings.notify_one();
                    tracing::info!(proxy = %self.target.address, "connected to the proxy");
                }
                Action::Register { nonce } => {
                    let mut state = self.target.state();
                    state.facts = self.session.proxy().cloned();
                    state.nonce = Some(nonce.cast_unsigned());
                    drop(state);
                    self.meetings.notify_one();
                    tracing::info!(proxy = %self.target.address, "the proxy wants to read on the chain who this is");
                }
                Action::Head { id, head } => self.pass(id, Piece::Head(head)),
                Action::Part { id, bytes } => self.pass(id, Piece::Part(bytes)),
                Action::Done { id, info } => {
                    self.pass(id, Piece::Done(Box::new(info)));
                    self.answers.remove(&id);
                }
                Action::Failed { id, code, message } => {
                    self.pass(id, Piece::Failed { code, words: message });
                    self.answers.remove(&id);
                }
                Action::WorkerTypes(types) => {
                    let waiting = std::mem::take(&mut self.curious);
                    if let Some(types) = types {
                        for reply in waiting {
                            let _ = reply.send(types.clone());
                        }
                    }
                }
                Action::Demands(demands) => self.target.state().demands = demands,
                Action::Payment(report) => {
                    let mut state = self.target.state();
                    state.signed = report.tokens;
                    state.known = report.max_tokens;
                }
            }
        }
        cut
    }

    fn pass(&mut self, id: [u8; 32], piece: Piece) {
        if let Some(sink) = self.answers.get(&id)
            && sink.push(piece).is_err()
        {
            self.answers.remove(&id);
            self.session.forget(&id);
        }
    }

    fn forget_those_who_left(&mut self) {
        let session = &mut self.session;
        self.answers.retain(|id, sink| {
            let left = sink.is_unwanted();
            if left {
                session.forget(id);
            }
            !left
        });
    }
}

/// What a proxy demands, in the words of its configuration. Grades that are not known here are left out.
fn said(demands: &Demands) -> Value {
    let registrars = demands.registrars.iter();
    json!({
        "accepted": demands.grades.iter().filter_map(|number| Grade::from_number(*number)).collect::<Vec<_>>(),
        "require_secure_boot": demands.secure_boot,
        "registrars": registrars.map(|at| json!({ "endpoint": at.endpoint, "key": hex::encode(at.key) })).collect::<Vec<_>>(),
    })
}

fn jittered(pause: Duration) -> Duration {
    let share = u32::from(random_bytes::<1>()[0]);
    pause * (205 + share / 3) / 256
}
