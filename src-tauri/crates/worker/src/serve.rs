//! The event loop: the one thread that owns lanes, sessions and jobs.
//!
//! Everything that can happen arrives as an [`Event`]; the loop decides, speaks through [`Pipe`] and hands work to
//! [`Inference`]. It waits only for events and for the app to read.

mod jobs;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use accounting::{ModelName, Prices};
use engine::DeviceFault;
use evidence::Binding;
use link::frame::Frame;
use link::greeting::{Greeting, GreetingError};
use link::message::{BackendKind, Configuration, EvidenceKind, Failure, LaneEnd, LogLevel, PeerPolicy, ProxyReport};
use link::proof::{Enrolment, Standing};
use link::{BUILD, FromWorker, LaneId, ToWorker};
use protocol::worker::{KnownProxy, PaymentReport, ProxyFacts, Totals};
use ratls::pow::{self, Challenge};
use ratls::{ClientChannel, Evidence, Identity, PeerIdentity, Policy, tls};
use ton::{AddressText, RootConfig};

use sandbox::Serving;

use crate::clock::{Clock, Ticks};
use crate::confinement::Seal;
use crate::enrol;
use crate::event::{self, Event};
use crate::inference::{Cancel, Forget, Inference, JobKey, Report, Setup};
use crate::job::{Ending, Running};
use crate::lane::{Lane, Outcome};
use crate::pipe::{OnGone, Pipe};
use crate::randomness::SystemRandomness;
use crate::scrutiny;
use crate::threads;

/// What the app's log is told where a card was wanted and there is only a program that plays one.
const ONLY_SOFTWARE: &str = "there is no graphics card, only software that plays one; the processor computes, which is faster \
                             (--backend wgpu takes the software)";

/// Everything the worker has of the outside world.
pub struct World {
    /// What the app says.
    pub reader: Box<dyn Read + Send>,
    /// What we say to it.
    pub writer: Box<dyn Write + Send>,
    /// The model's bytes, from the first one on.
    pub model: Box<dyn Read + Send>,
    /// Time.
    pub ticks: Ticks,
    /// Called on any thread when the app is gone.
    pub on_gone: OnGone,
    /// The graphics card, or what stands in for it, fails in this way after so many steps: for tests.
    pub fails: Option<(u64, DeviceFault)>,
    /// Bytes of main memory that may be taken for the model, measured before it is read; `None`: nobody knows.
    pub memory: Option<u64>,
    /// Closes the box for good, once everything is open.
    pub seal: Seal,
}

/// Why the worker stopped.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// The app closed the pipe. The ordinary end.
    #[error("the app closed the pipe")]
    AppGone,
    /// It can't serve; the app was told.
    #[error("cannot serve: {0:?}")]
    Failed(Failure),
    /// The app spoke before it greeted, or nonsense.
    #[error("the app does not keep to the protocol of the pipe: {0}")]
    Confused(&'static str),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// Serves until the app is gone or the worker cannot go on.
pub fn run(world: World) -> Stopped {
    match serve(world) {
        Ok(never) => match never {},
        Err(stopped) => stopped,
    }
}

fn serve(world: World) -> Result<std::convert::Infallible, Stopped> {
    let (sender, events) = sync_channel(event::QUEUE);
    let pipe = Pipe::start(world.reader, world.writer, sender.clone(), world.on_gone)?;
    pipe.say(&FromWorker::Hello { build: BUILD.to_owned() });
    let mut greeting = Greeting::new();
    let configuration = match told_to(&events, &mut greeting, &pipe)? {
        Task::Serve(configuration) => configuration,
        Task::Enrol(enrolment) => {
            // A registrar is a stranger like any other, and nothing is opened for it.
            close_for_good(&pipe, world.seal)?;
            return enrol::run(*enrolment, &events, &sender, &mut greeting, &pipe, world.ticks);
        }
    };
    let mut server = match Server::new(configuration, world.ticks, pipe, sender) {
        Ok(server) => server,
        Err((pipe, failure)) => return Err(fail(&pipe, failure)),
    };
    let mut seal = Some(world.seal);
    if server.configuration.backend == BackendKind::Cpu {
        // The processor opens nothing, so not a byte of the model is read before.
        if let Some(seal) = seal.take() {
            close_for_good(&server.pipe, seal)?;
        }
    }
    let setup = server.setup(world.fails, world.memory, seal);
    server.inference = Some(Inference::start(world.model, setup, server.events.clone())?);
    loop {
        let event = match server.next_deadline() {
            None => events.recv().map_err(|_| Stopped::AppGone)?,
            Some(deadline) => match events.recv_timeout(deadline.saturating_sub(server.clock.mono())) {
                Ok(event) => event,
                Err(RecvTimeoutError::Timeout) => {
                    server.tick();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return Err(Stopped::AppGone),
            },
        };
        server.handle(event, &mut greeting)?;
        server.tick();
        server.say_yielded();
    }
}

/// Where nothing is opened any more, and not even a card is there. The app is told what stands.
fn close_for_good(pipe: &Pipe, seal: Seal) -> Result<(), Stopped> {
    let walls = seal(Serving::Processor).map_err(|failure| fail(pipe, failure))?;
    pipe.say(&FromWorker::Confined(Box::new(walls)));
    Ok(())
}

/// What this process is for.
enum Task {
    Serve(Box<Configuration>),
    Enrol(Box<Enrolment>),
}

/// Waits for greeting and configuration.
fn told_to(events: &Receiver<Event>, greeting: &mut Greeting, pipe: &Pipe) -> Result<Task, Stopped> {
    loop {
        let Event::App(frame) = events.recv().map_err(|_| Stopped::AppGone)? else {
            return Err(Stopped::AppGone);
        };
        match greeting.admit(&frame) {
            Ok(true) => continue,
            Ok(false) => {}
            Err(GreetingError::DifferentBuild { ours, theirs }) => {
                return Err(fail(pipe, Failure::Build { worker: ours, app: theirs }));
            }
            Err(_) => return Err(Stopped::Confused("no greeting")),
        }
        match frame {
            Frame::Control(ToWorker::Configure(configuration)) => return Ok(Task::Serve(configuration)),
            Frame::Control(ToWorker::Enrol(enrolment)) => return Ok(Task::Enrol(enrolment)),
            _ => return Err(Stopped::Confused("no configuration")),
        }
    }
}

fn fail(pipe: &Pipe, failure: Failure) -> Stopped {
    pipe.say(&FromWorker::Failed(failure.clone()));
    // The process ends next, and this must not end with it.
    pipe.flush();
    Stopped::Failed(failure)
}

/// The loop's state.
pub(crate) struct Server {
    pub(crate) configuration: Configuration,
    pub(crate) model: ModelName,
    pub(crate) prices: Prices,
    root: Arc<RootConfig>,
    pub(crate) clock: Clock,
    pub(crate) pipe: Pipe,
    events: SyncSender<Event>,
    pub(crate) inference: Option<Inference>,
    loaded: bool,
    enabled: bool,
    pub(crate) yielding: Yielding,
    pub(crate) lanes: BTreeMap<LaneId, Lane>,
    pub(crate) jobs: BTreeMap<JobKey, Running>,
    pub(crate) keys: BTreeMap<(LaneId, [u8; 32]), JobKey>,
    pub(crate) next_key: u64,
    /// Questions for evidence that the app has not answered: whose, and the proxy's id of it.
    asks: BTreeMap<u64, (LaneId, i64)>,
    next_ask: u64,
}

/// How far giving up the card is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Yielding {
    /// Nobody asked.
    No,
    /// Asked; something is still to be flushed.
    Asked,
    /// Said so.
    Said,
}

impl Server {
    fn new(
        configuration: Box<Configuration>,
        ticks: Ticks,
        pipe: Pipe,
        events: SyncSender<Event>,
    ) -> Result<Self, (Pipe, Failure)> {
        let configuration = *configuration;
        let model = match check(&configuration) {
            Ok(model) => model,
            Err(text) => return Err((pipe, Failure::Configuration(text.to_owned()))),
        };
        Ok(Self {
            prices: Prices::from(&configuration.root),
            root: Arc::new(configuration.root.clone()),
            clock: Clock::new(ticks, configuration.unix_ms),
            configuration,
            model,
            pipe,
            events,
            inference: None,
            loaded: false,
            enabled: true,
            yielding: Yielding::No,
            lanes: BTreeMap::new(),
            jobs: BTreeMap::new(),
            keys: BTreeMap::new(),
            next_key: 0,
            asks: BTreeMap::new(),
            next_ask: 0,
        })
    }

    fn setup(&self, fails: Option<(u64, DeviceFault)>, memory: Option<u64>, seal: Option<Seal>) -> Setup {
        Setup {
            backend: self.configuration.backend.clone(),
            tunings: self.configuration.tunings.clone(),
            fails,
            threads: self.configuration.threads.map(|threads| threads as usize),
            max_sequences: self.configuration.max_active_requests as usize,
            memory,
            seal,
        }
    }

    fn next_deadline(&self) -> Option<Duration> {
        self.lanes.values().filter_map(Lane::next_deadline).min()
    }

    fn handle(&mut self, event: Event, greeting: &mut Greeting) -> Result<(), Stopped> {
        match event {
            Event::AppGone => Err(Stopped::AppGone),
            Event::App(frame) => match greeting.admit(&frame) {
                Ok(_) => self.hear(frame),
                Err(_) => Err(Stopped::Confused("greeted twice")),
            },
            Event::Report(report) => self.model_said(report),
            Event::Solved { lane, nonce } => {
                let now = self.clock.now();
                if let Some(open) = self.lanes.get_mut(&lane) {
                    let result = open.solved(nonce, now);
                    self.after(lane, Vec::new(), result);
                    self.pump(lane);
                }
                Ok(())
            }
        }
    }

    fn hear(&mut self, frame: Frame<ToWorker>) -> Result<(), Stopped> {
        match frame {
            Frame::Data { lane, bytes } => {
                // A lane that we gave up may still have bytes under way.
                let Some(open) = self.lanes.get_mut(&lane) else {
                    return Ok(());
                };
                open.arrived(&bytes).map_err(|_| Stopped::Confused("a lane overran its window"))?;
                self.pump(lane);
            }
            Frame::Credit { lane, bytes } => {
                let Some(open) = self.lanes.get_mut(&lane) else {
                    return Ok(());
                };
                open.granted(bytes).map_err(|_| Stopped::Confused("a lane was granted too much"))?;
                self.pump(lane);
                self.send_waiting_text(lane);
            }
            Frame::Control(message) => match message {
                ToWorker::Hello { .. } | ToWorker::Configure(_) => {
                    return Err(Stopped::Confused("a second configuration"));
                }
                ToWorker::OpenLane { lane, known_key, unix_ms } => {
                    self.clock.set(unix_ms);
                    self.open(lane, known_key)?;
                }
                ToWorker::LaneClosed { lane } => self.close(lane),
                ToWorker::SetEnabled(enabled) => {
                    self.enabled = enabled;
                    self.announce();
                    self.pipe.say(&FromWorker::Enabled(!self.is_disabled()));
                }
                ToWorker::SetCoefficient(coefficient) => self.set_coefficient(coefficient),
                ToWorker::Yield => self.give_up_the_card(),
                ToWorker::Evidence { lane, ask, bytes } => self.show(lane, ask, bytes),
                ToWorker::Enrol(_) | ToWorker::Activated { .. } => {
                    return Err(Stopped::Confused("this worker serves"));
                }
            },
        }
        Ok(())
    }

    fn model_said(&mut self, report: Report) -> Result<(), Stopped> {
        match report {
            Report::Loaded(facts) => {
                self.loaded = true;
                self.announce();
                self.pipe.say(&FromWorker::Ready(*facts));
                Ok(())
            }
            Report::Trying { trial, number, of } => {
                self.pipe.say(&FromWorker::Trying { trial, number, of });
                Ok(())
            }
            Report::Tuned(tuning, reason) => {
                self.pipe.say(&FromWorker::Tuned { tuning, reason });
                Ok(())
            }
            Report::Confined(walls) => {
                self.pipe.say(&FromWorker::Confined(walls));
                Ok(())
            }
            Report::OnlySoftware => {
                self.log(LogLevel::Info, ONLY_SOFTWARE);
                Ok(())
            }
            Report::NotLoaded(failure) => Err(fail(&self.pipe, failure)),
            Report::Broken(failure) => Err(self.broken(failure)),
            Report::Begun { key, prompt_tokens, echoes } => {
                if let Some(job) = self.jobs.get_mut(&key) {
                    job.begun(prompt_tokens, &echoes);
                }
                self.tell_progress(key);
                Ok(())
            }
            Report::Refused { key, refusal } => {
                self.refuse(key, &refusal);
                Ok(())
            }
            Report::Piece { key, choice, text, counts, finished } => {
                let Some(job) = self.jobs.get_mut(&key) else {
                    return Ok(());
                };
                job.grew(choice, &text, counts, finished);
                if job.answer.is_finished() {
                    self.end(key, Ending::Complete);
                } else {
                    self.send_text(key);
                    self.tell_progress(key);
                }
                Ok(())
            }
        }
    }

    /// Takes no jobs: switched off, not loaded yet, or going.
    pub(crate) fn is_disabled(&self) -> bool {
        !self.enabled || !self.loaded || self.yielding != Yielding::No
    }

    fn announce(&mut self) {
        let now = self.clock.now();
        let disabled = self.is_disabled();
        self.tell_all(|lane| {
            let disabled = disabled || lane.is_unproved();
            lane.say(|session, out| session.set_disabled(disabled, now, out));
        });
    }

    fn set_coefficient(&mut self, coefficient: i32) {
        if coefficient < 0 {
            self.log(LogLevel::Warn, "a negative coefficient is not announced");
            return;
        }
        self.configuration.coefficient = coefficient;
        let now = self.clock.now();
        self.tell_all(|lane| {
            lane.say(|session, out| session.set_coefficient(coefficient, now, out));
        });
    }

    fn tell_all(&mut self, tell: impl Fn(&mut Lane)) {
        for lane in self.lanes.values_mut() {
            tell(lane);
        }
        for id in self.lanes.keys().copied().collect::<Vec<_>>() {
            self.pump(id);
        }
    }

    fn give_up_the_card(&mut self) {
        if self.yielding != Yielding::No {
            return;
        }
        self.yielding = Yielding::Asked;
        self.announce();
        self.pipe.say(&FromWorker::Enabled(false));
        for key in self.jobs.keys().copied().collect::<Vec<_>>() {
            self.end(key, Ending::Yield);
        }
        self.forget_kept(Forget::Everything);
    }

    /// The card failed. Whoever waits for an answer gets one: what there is by now, or that another worker should be asked.
    fn broken(&mut self, failure: Failure) -> Stopped {
        self.loaded = false;
        self.announce();
        self.pipe.say(&FromWorker::Enabled(false));
        for key in self.jobs.keys().copied().collect::<Vec<_>>() {
            self.end(key, Ending::Yield);
        }
        fail(&self.pipe, failure)
    }

    fn say_yielded(&mut self) {
        if self.yielding == Yielding::Asked && self.lanes.values().all(Lane::is_flushed) {
            self.yielding = Yielding::Said;
            self.pipe.say(&FromWorker::Yielded);
        }
    }

    fn open(&mut self, id: LaneId, known_key: Option<[u8; 32]>) -> Result<(), Stopped> {
        if self.lanes.contains_key(&id) {
            return Err(Stopped::Confused("a lane was opened twice"));
        }
        match self.dial(id, known_key) {
            Ok(lane) => {
                self.lanes.insert(id, lane);
            }
            Err(why) => self.pipe.say(&FromWorker::LaneEnded { lane: id, why }),
        }
        Ok(())
    }

    fn dial(&self, id: LaneId, known_key: Option<[u8; 32]>) -> Result<Lane, LaneEnd> {
        let evidence = match self.configuration.evidence {
            EvidenceKind::None => Evidence::None,
            EvidenceKind::FakeTdx => Evidence::FakeTdx,
        };
        let policy = match &self.configuration.policy {
            PeerPolicy::Any | PeerPolicy::Asked(_) => Policy::Any,
            PeerPolicy::FakeTdx => Policy::FakeTdx { image_hashes: self.configuration.root.proxy_hashes.clone() },
            PeerPolicy::Tdx(demand) => Policy::Tdx {
                image_hashes: self.configuration.root.proxy_hashes.clone(),
                collateral: demand.collateral.clone().into(),
            },
        };
        let asks_first = matches!(self.configuration.policy, PeerPolicy::Asked(_));
        let untrusted = |text: String| LaneEnd::Untrusted(text);
        let clock = self.clock.clone();
        // A key of its own for every lane: it lives as long as the connection.
        let identity =
            Identity::generate(evidence, self.clock.unix_seconds()).map_err(|error| untrusted(error.to_string()))?;
        let config = tls::client_config(&identity, policy, Arc::new(move || clock.unix_seconds()))
            .map_err(|error| untrusted(error.to_string()))?;
        let channel =
            ClientChannel::new(&config, self.hardest_proof()).map_err(|error| untrusted(error.to_string()))?;
        let configuration = protocol::worker::Config {
            owner_text: self.configuration.owner.clone(),
            model: self.model.clone(),
            coefficient: self.configuration.coefficient,
            is_test: self.configuration.is_test,
            is_testnet: self.configuration.is_testnet,
            proxy_connections: self.configuration.proxy_connections,
            max_active_requests: self.configuration.max_active_requests,
            disabled: asks_first || self.is_disabled(),
            root: Arc::clone(&self.root),
            root_contract: self.configuration.root_contract,
            known: known_key.map(|public_key| KnownProxy {
                public_key,
                proxy_contract: None,
                totals: Totals::default(),
            }),
        };
        let tls_key = identity.public_key();
        let lane = Lane::new(id, tls_key, channel, configuration, Box::new(SystemRandomness), self.clock.now());
        Ok(if asks_first { lane.asking_first() } else { lane })
    }

    fn close(&mut self, id: LaneId) {
        if self.lanes.remove(&id).is_some() {
            self.lose_jobs(id);
        }
    }

    /// Lets a lane work off what waits, and does what it asks for.
    pub(crate) fn pump(&mut self, id: LaneId) {
        let now = self.clock.now();
        let Some(lane) = self.lanes.get_mut(&id) else {
            return;
        };
        let mut outcomes = Vec::new();
        let result = lane.pump(now, &self.pipe, &mut outcomes);
        self.after(id, outcomes, result);
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        let due: Vec<LaneId> = self
            .lanes
            .iter()
            .filter(|(_, lane)| lane.next_deadline().is_some_and(|deadline| deadline <= now.mono))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            if let Some(lane) = self.lanes.get_mut(&id) {
                let mut outcomes = Vec::new();
                let result = lane.tick(now, &mut outcomes);
                self.after(id, outcomes, result);
                self.pump(id);
            }
        }
    }

    fn after(&mut self, id: LaneId, outcomes: Vec<Outcome>, result: Result<(), LaneEnd>) {
        for outcome in outcomes {
            match outcome {
                Outcome::Solve(challenge, cancel) => self.solve(id, challenge, cancel),
                Outcome::Ready(facts, peer) => self.pipe.say(&ready(id, &facts, peer)),
                Outcome::Start(job) => self.start(id, *job),
                Outcome::Cancel(job) => {
                    if let Some(key) = self.keys.get(&(id, job)).copied() {
                        self.end(key, Ending::Deadline);
                    }
                }
                Outcome::Expired(job) => {
                    if let Some(key) = self.keys.get(&(id, job)).copied() {
                        self.lose(key, protocol_code::TIMEOUT);
                    }
                }
                Outcome::Payment(report) => self.pipe.say(&payment(id, report)),
                Outcome::WantEvidence { query, nonce } => self.want_evidence(id, query, nonce),
                Outcome::Standing(said) => {
                    self.pipe.say(&FromWorker::Standing { lane: id, standing: Box::new(standing(*said)) });
                }
                Outcome::AskProxy => {
                    let now = self.clock.now();
                    if let Some(lane) = self.lanes.get_mut(&id) {
                        lane.say(|session, out| session.ask_evidence(now, out));
                    }
                    self.pump(id);
                }
                Outcome::Shown { nonce, bytes } => self.judge(id, nonce, bytes.as_deref()),
            }
        }
        if let Err(why) = result {
            self.hang_up(id, why);
        }
    }

    fn hang_up(&mut self, id: LaneId, why: LaneEnd) {
        if self.lanes.remove(&id).is_some() {
            self.pipe.say(&FromWorker::LaneEnded { lane: id, why });
            self.lose_jobs(id);
        }
    }

    /// A proxy has shown what it can, or nothing. Only now work for it begins, or nothing does.
    fn judge(&mut self, id: LaneId, nonce: [u8; 32], shown: Option<&[u8]>) {
        let PeerPolicy::Asked(demand) = &self.configuration.policy else { return };
        let Some(lane) = self.lanes.get_mut(&id).filter(|lane| lane.is_unproved()) else { return };
        let Some(tls_key) = lane.peer_key() else { return };
        let binding = Binding { nonce, tls_key };
        let images = &self.configuration.root.proxy_hashes;
        match scrutiny::judge(shown, &binding, self.clock.unix_seconds(), demand, images) {
            Ok(image) => {
                let waited = lane.proved(image);
                let (now, disabled) = (self.clock.now(), self.is_disabled());
                self.after(id, waited, Ok(()));
                if let Some(lane) = self.lanes.get_mut(&id) {
                    lane.say(|session, out| session.set_disabled(disabled, now, out));
                }
                self.pump(id);
            }
            Err(why) => self.hang_up(id, LaneEnd::Untrusted(why)),
        }
    }

    /// The app has the TPM; the key is this lane's.
    fn want_evidence(&mut self, lane: LaneId, query: i64, nonce: [u8; 32]) {
        let Some(tls_key) = self.lanes.get(&lane).map(Lane::tls_key) else { return };
        let ask = self.next_ask;
        self.next_ask = ask.wrapping_add(1);
        self.asks.insert(ask, (lane, query));
        self.pipe.say(&FromWorker::WantEvidence { lane, ask, tls_key, nonce });
    }

    fn show(&mut self, lane: LaneId, ask: u64, bytes: Option<Vec<u8>>) {
        let Some((asked, query)) = self.asks.remove(&ask) else { return };
        if asked == lane
            && let Some(open) = self.lanes.get_mut(&lane)
        {
            open.say(|session, out| session.answer_evidence(query, bytes, out));
            self.pump(lane);
        }
    }

    fn lose_jobs(&mut self, id: LaneId) {
        self.asks.retain(|_, (lane, _)| *lane != id);
        let lost: Vec<JobKey> = self.jobs.iter().filter(|(_, job)| job.facts.lane == id).map(|(key, _)| *key).collect();
        for key in lost {
            self.lose(key, protocol_code::CANCELLED);
        }
        self.forget_kept(Forget::Lane(id));
    }

    fn forget_kept(&self, what: Forget) {
        if let Some(inference) = &self.inference {
            inference.forget(what);
        }
    }

    fn solve(&self, lane: LaneId, challenge: Challenge, cancel: Cancel) {
        let most = self.hardest_proof();
        let events = self.events.clone();
        let started = threads::spawn("proof-of-work", move || {
            let solution = pow::solve(&challenge, most, &mut || !cancel.is_cancelled());
            let nonce = solution.ok().flatten();
            let _ = events.send(Event::Solved { lane, nonce });
        });
        if started.is_err() {
            self.log(LogLevel::Error, "no thread for a proof of work");
        }
    }

    fn hardest_proof(&self) -> i32 {
        i32::try_from(self.configuration.max_pow_difficulty).unwrap_or(i32::MAX)
    }

    pub(crate) fn log(&self, level: LogLevel, message: &'static str) {
        self.pipe.say(&FromWorker::Log { level, message: message.to_owned() });
    }
}

/// Error codes of the protocol, as the ledger keeps them.
pub(crate) mod protocol_code {
    /// Time is up.
    pub(crate) const TIMEOUT: i32 = 652;
    /// Nobody waits any more.
    pub(crate) const CANCELLED: i32 = 653;
}

/// The model's name, or what contradicts itself.
fn check(configuration: &Configuration) -> Result<ModelName, &'static str> {
    let model = configuration
        .served_as
        .parse::<ModelName>()
        .map_err(|_| "the model's name is not of the form base@commit:hash")?;
    AddressText::parse(&configuration.owner).map_err(|_| "the owner's address does not parse")?;
    if configuration.coefficient < 0 {
        return Err("the coefficient is negative");
    }
    if configuration.max_active_requests == 0 || configuration.proxy_connections == 0 {
        return Err("at least one request and one proxy must be allowed");
    }
    if configuration.threads == Some(0) {
        return Err("at least one thread is needed");
    }
    Ok(model)
}

fn ready(lane: LaneId, facts: &ProxyFacts, peer: PeerIdentity) -> FromWorker {
    FromWorker::LaneReady {
        lane,
        proxy: ProxyReport {
            public_key: facts.public_key,
            owner: facts.owner,
            proxy_contract: facts.proxy_contract,
            worker_contract: facts.worker_contract,
            protocol_version: facts.proto_version,
            image_hash: peer.attested.then_some(peer.image_hash),
            tls_key: peer.public_key,
        },
    }
}

fn standing(said: protocol::evidence::Standing) -> Standing {
    let registrars = said.demands.registrars.into_iter().map(|at| (at.endpoint, at.key)).collect();
    Standing {
        accepted: said.accepted,
        grade: said.grade,
        reason: said.reason,
        grades: said.demands.grades,
        secure_boot: said.demands.secure_boot,
        registrars,
    }
}

fn payment(lane: LaneId, report: PaymentReport) -> FromWorker {
    FromWorker::Payment {
        lane,
        boc: report.boc,
        db_tokens: report.db_tokens,
        max_tokens: report.max_tokens,
        request: report.request,
    }
}
