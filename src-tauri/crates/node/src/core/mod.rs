//! What the provider decides. Pure: inputs and time in, effects out; no clock, file, thread or socket.
//!
//! Walk-through: [`Core::handle`] takes one [`Input`] and appends [`Effect`]s. [`workers`] keeps one worker process running or away,
//! [`proxies`] keeps lanes to randomly drawn proxies and pins their keys, [`jobs`] counts what was done, [`payments`] recomputes
//! what the worker says was signed, [`payouts`] fetches what was signed from the chain, [`proof`] passes on what proxies want to be shown,
//! [`records`] keeps everything that must be written down until it is,
//! [`tunings`] knows what was found out about graphics cards.

pub mod backoff;
pub mod jobs;
pub mod payments;
pub mod payouts;
pub mod proof;
pub mod proxies;
pub mod records;
pub mod refusals;
pub mod tunings;
pub mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use link::message::{Configuration, LogLevel};
use link::{FromWorker, LaneId, ToWorker};
use sandbox::Measured;
use ton::{Address, RootConfig};

use crate::snapshot::Snapshot;
use jobs::Jobs;
use payments::Payments;
use proof::Proof;
use proxies::Proxies;
use records::Records;
pub use records::{EntryId, KnownPayment, PinnedKey, PinnedProxy, Record, SignedRecord};
pub use refusals::{Refusal, RefusedBy};
use tunings::Tunings;
pub use tunings::{KnownTuning, ShownTuning, Trying};
use workers::Workers;

/// How long the end of an answer waits for the ledger; a disk that wakes up takes less.
const LEDGER_PATIENCE: Duration = Duration::from_secs(8);

/// The moment an input is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since any fixed start; never goes back.
    pub mono: Duration,
    /// Unix time in milliseconds.
    pub unix_ms: i64,
}

/// What the owner wants. The wish, not the fact: that is [`workers::WorkerState`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Target {
    /// Serve.
    #[default]
    Serve,
    /// Take no more jobs, go on with those that run.
    Drain,
    /// Free the card at once.
    Yield,
}

/// Names one worker process; grows with each that is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// A worker process that is gone, in numbers. `None`: the system did not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Departure {
    /// When nothing of it was left, on the clock of [`Now::mono`].
    pub gone_at: Duration,
    /// Bytes it held before it was killed.
    pub held: Option<u64>,
    /// Bytes the machine had to give before.
    pub available_before: Option<u64>,
    /// And after.
    pub available_after: Option<u64>,
}

/// Everything that can happen to a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Time has passed; see [`Core::next_deadline`].
    Tick,
    /// The owner changed the wish.
    OwnerWants(Target),
    /// A worker process runs.
    WorkerStarted {
        /// Which.
        generation: Generation,
        /// Its process id.
        pid: u32,
    },
    /// It could not be started.
    WorkerNotStarted {
        /// Which.
        generation: Generation,
        /// What the system said.
        why: String,
    },
    /// The worker said something.
    Worker {
        /// Which.
        generation: Generation,
        /// What.
        message: Box<FromWorker>,
    },
    /// What came out of the pipe were no frames, or broke the rules of credit.
    WorkerGarbled {
        /// Which.
        generation: Generation,
        /// What was wrong.
        why: String,
    },
    /// The process is gone and waited for; everything it said was handed in before.
    WorkerExited {
        /// Which.
        generation: Generation,
        /// How it ended, in words.
        how: String,
        /// In numbers.
        departure: Departure,
    },
    /// The proxy took the connection.
    LaneConnected {
        /// Which.
        lane: LaneId,
    },
    /// The proxy could not be reached.
    ConnectFailed {
        /// Which.
        lane: LaneId,
        /// What the system said.
        why: String,
    },
    /// The proxy's side ended the connection.
    LaneClosed {
        /// Which.
        lane: LaneId,
    },
    /// Written down, for good.
    Recorded {
        /// What.
        entry: EntryId,
        /// False: it stood there before.
        new: bool,
    },
    /// Not written down.
    RecordFailed {
        /// What.
        entry: EntryId,
        /// What the ledger said.
        why: String,
        /// Whether the ledger refused the content itself, so that trying again is of no use.
        refused: bool,
    },
    /// What came of [`Effect::Attest`].
    Attested {
        /// Which.
        lane: LaneId,
        /// The worker's number of the question.
        ask: u64,
        /// Evidence in its container, or why there is none.
        evidence: Result<Vec<u8>, String>,
    },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Start a worker process.
    StartWorker {
        /// Its name from now on.
        generation: Generation,
    },
    /// End the worker process at once.
    KillWorker {
        /// Which.
        generation: Generation,
    },
    /// Say something to the worker.
    Send(ToWorker),
    /// Connect to a proxy.
    Dial {
        /// The lane's name from now on.
        lane: LaneId,
        /// Where.
        endpoint: SocketAddrV4,
    },
    /// Write what is left of a lane to the proxy, then hang up. Also calls off a dial.
    CloseLane {
        /// Which.
        lane: LaneId,
    },
    /// One job of this lane is written down, or can't be: the bytes that end it may leave for the proxy. Comes once for every
    /// message of which [`FromWorker::ends_a_paid_job`].
    ReleaseLane {
        /// Which.
        lane: LaneId,
    },
    /// Write a job down.
    RecordJob {
        /// Its name in the answer.
        entry: EntryId,
        /// What.
        job: Box<records::JobEntry>,
    },
    /// Write a signed payment down.
    RecordPayment {
        /// Its name in the answer.
        entry: EntryId,
        /// What.
        payment: Box<SignedRecord>,
    },
    /// Write down which key a proxy has.
    RecordProxy {
        /// Its name in the answer.
        entry: EntryId,
        /// What.
        proxy: Box<PinnedProxy>,
    },
    /// Write down what was found out about a card.
    RecordTuning {
        /// Its name in the answer.
        entry: EntryId,
        /// What.
        tuning: Box<KnownTuning>,
    },
    /// Write down who was refused and why.
    RecordRefusal {
        /// Its name in the answer.
        entry: EntryId,
        /// What.
        refusal: Box<Refusal>,
    },
    /// Make evidence for a proxy, then say [`Input::Attested`].
    Attest {
        /// Which.
        lane: LaneId,
        /// The worker's number of the question.
        ask: u64,
        /// The proxy's payment key.
        audience: [u8; 32],
        /// The key of our certificate on this lane.
        tls_key: [u8; 32],
        /// The proxy's nonce.
        nonce: [u8; 32],
    },
    /// Say something to whoever reads the log.
    Log {
        /// How serious.
        level: LogLevel,
        /// What.
        message: String,
    },
    /// [`Core::snapshot`] has changed.
    Publish,
}

/// What does not change while a node runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What the worker is told; its time is filled in when it is sent.
    pub configuration: Configuration,
    /// The network's parameters.
    pub root: Arc<RootConfig>,
    /// Address of the root contract.
    pub root_contract: Address,
    /// Who is paid.
    pub owner: Address,
    /// SHA-256 of the model file as the app read it.
    pub model_sha256: [u8; 32],
    /// Length of the model file.
    pub model_bytes: u64,
    /// What was measured of the worker program that is started.
    pub program: Measured,
    /// Whether the first worker tries the graphics card out anew, whatever is known of it.
    pub retune: bool,
    /// Pause before a lost proxy is dialled again. Genuine workers: 10 s.
    pub redial: Duration,
    /// How long the worker gets to end its jobs when the card is wanted.
    pub yield_within: Duration,
    /// Pause before a crashed worker is started again the first time; doubled each time.
    pub restart_first: Duration,
    /// Longest such pause.
    pub restart_most: Duration,
}

/// What the ledger remembered of earlier runs.
#[derive(Debug, Clone, Default)]
pub struct Remembered {
    /// Keys of proxies met on this network.
    pub proxies: Vec<PinnedKey>,
    /// Best signed payment of each worker contract.
    pub payments: Vec<KnownPayment>,
    /// What was found out about graphics cards for this model, the newest first.
    pub tunings: Vec<KnownTuning>,
}

/// The provider's state. See the module.
pub struct Core {
    settings: Settings,
    target: Target,
    workers: Workers,
    proxies: Proxies,
    jobs: Jobs,
    payments: Payments,
    records: Records,
    tunings: Tunings,
    proof: Proof,
    /// Jobs that are being written down, and the lane that waits for that.
    held: BTreeMap<EntryId, Held>,
    /// Jobs whose answers left because the ledger did not answer in time.
    late: BTreeSet<EntryId>,
    /// Last value of `SetEnabled` that the worker was told; it starts enabled.
    told_enabled: bool,
}

/// The end of an answer that waits for the ledger.
struct Held {
    lane: LaneId,
    /// When it waits no longer.
    until: Duration,
}

/// Where decisions go; keeps the parts of the core from needing each other.
pub(crate) struct Out<'a> {
    effects: &'a mut Vec<Effect>,
    pub(crate) now: Now,
}

impl Out<'_> {
    pub(crate) fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(crate) fn send(&mut self, message: ToWorker) {
        self.push(Effect::Send(message));
    }

    fn release(&mut self, lane: Option<LaneId>) {
        self.effects.extend(lane.map(|lane| Effect::ReleaseLane { lane }));
    }

    pub(crate) fn log(&mut self, level: LogLevel, message: impl Into<String>) {
        self.push(Effect::Log { level, message: message.into() });
    }
}

impl Core {
    /// A provider that runs nothing yet. `seed` decides which proxies are drawn.
    pub fn new(settings: Settings, remembered: Remembered, seed: u64) -> Self {
        Self {
            workers: Workers::new(&settings),
            proxies: Proxies::new(&settings, remembered.proxies, seed),
            jobs: Jobs::new(&settings.root),
            payments: Payments::new(settings.root.worker_fee_per_token, remembered.payments),
            records: Records::default(),
            tunings: Tunings::new(remembered.tunings, settings.retune),
            proof: Proof::default(),
            held: BTreeMap::new(),
            late: BTreeSet::new(),
            target: Target::default(),
            told_enabled: true,
            settings,
        }
    }

    /// Takes one input and appends what is to be done.
    pub fn handle(&mut self, input: Input, now: Now, effects: &mut Vec<Effect>) {
        let before = effects.len();
        let mut out = Out { effects, now };
        let publish = !matches!(input, Input::Tick);
        match input {
            Input::Tick => {}
            Input::OwnerWants(target) => self.want(target, &mut out),
            Input::WorkerStarted { generation, pid } => {
                self.tunings.begins();
                self.workers.started(generation, pid, &self.settings, self.tunings.given(), &mut out);
            }
            Input::WorkerNotStarted { generation, why } => self.workers.not_started(generation, &why, &mut out),
            Input::Worker { generation, message } => self.worker_said(generation, *message, &mut out),
            Input::WorkerGarbled { generation, why } => self.workers.garbled(generation, &why, &mut out),
            Input::WorkerExited { generation, how, departure } => {
                if self.workers.exited(generation, &how, departure, &mut out) {
                    self.tunings.settled();
                    self.lose_worker(&mut out);
                }
            }
            Input::LaneConnected { lane } => self.proxies.connected(lane, &mut out),
            Input::ConnectFailed { lane, why } => self.proxies.connect_failed(lane, &why, &mut out),
            Input::LaneClosed { lane } => self.proxies.closed_by_proxy(lane, &mut out),
            Input::Recorded { entry, new } => {
                self.release(entry, &mut out);
                if let Some(record) = self.records.recorded(entry) {
                    self.written(&record, new, &mut out);
                }
            }
            Input::RecordFailed { entry, why, refused } => {
                self.release(entry, &mut out);
                self.records.failed(entry, &why, refused, &self.payments, &mut out);
            }
            Input::Attested { lane, ask, evidence } => {
                let bytes =
                    evidence.map_err(|why| out.log(LogLevel::Warn, format!("there is no evidence to show: {why}")));
                // The worker knows whether anybody still waits.
                out.send(ToWorker::Evidence { lane, ask, bytes: bytes.ok() });
            }
        }
        for refusal in self.proxies.take_refusals() {
            self.records.add(Record::Refusal(refusal), &mut out);
        }
        self.go_on(&mut out);
        if publish || effects.len() > before {
            effects.push(Effect::Publish);
        }
    }

    /// When [`Input::Tick`] is due at the latest; `None`: nothing is waited for.
    pub fn next_deadline(&self) -> Option<Duration> {
        let proxies = if self.workers.serves() { self.proxies.next_deadline() } else { None };
        let held = self.held.values().map(|held| held.until).min();
        [self.workers.next_deadline(), proxies, self.records.next_deadline(), held].into_iter().flatten().min()
    }

    /// What there is to show.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            target: self.target,
            worker: self.workers.state().clone(),
            worker_pid: self.workers.pid(),
            worker_starts: self.workers.starts(),
            program: self.settings.program,
            model: self.workers.model().cloned(),
            freed: self.workers.freed().copied(),
            proxies: self.proxies.shown(),
            active: self.jobs.active(),
            totals: self.jobs.totals(),
            signed_tokens: self.payments.signed_this_session(),
            signed_nanoton: self.payments.earned_this_session(),
            unwritten: self.records.waiting(),
            ledger_fails: self.ledger_fails(),
            refused_questions: self.proof.refused(),
            refused_reports: self.payments.refused() + self.jobs.corrected() + self.proxies.refused(),
            busy: self.jobs.busy(),
            running: self.jobs.running(),
            last_job_unix_ms: self.jobs.last_end_unix_ms(),
            restart_unix_ms: self.workers.restart_unix_ms(),
            last_end: self.workers.last_end().map(str::to_owned),
            worker_greeted: self.workers.has_greeted(),
            fallback: self.workers.fallback().map(str::to_owned),
            confinement: self.workers.confinement().cloned(),
            trying: self.tunings.trying(),
            tuning: self.tunings.shown().cloned(),
        }
    }

    fn ledger_fails(&self) -> Option<String> {
        let silent = || (!self.late.is_empty()).then_some("it does not answer");
        self.records.trouble().or_else(silent).map(str::to_owned)
    }

    /// Whether nothing is left to do: no worker, nothing unwritten.
    pub fn is_at_rest(&self) -> bool {
        self.workers.is_gone() && self.records.waiting() == 0
    }

    fn want(&mut self, target: Target, out: &mut Out<'_>) {
        self.target = target;
        if target == Target::Yield && self.workers.yields(self.settings.yield_within, out) {
            self.told_enabled = false;
        }
    }

    /// What time and state ask for, after every input.
    fn go_on(&mut self, out: &mut Out<'_>) {
        self.records.retry(out);
        self.release_late(out);
        let mut target = self.target;
        if self.records.overflows() {
            if self.workers.is_running() {
                out.log(LogLevel::Error, "too much could not be written down: the worker is stopped");
                self.workers.kill_now(out);
            }
            // Another one would only be stopped again.
            target = Target::Yield;
        }
        if self.workers.run(target, out) {
            self.told_enabled = true;
        }
        if !self.workers.serves() {
            return;
        }
        // Work that can't be written down is not taken.
        let enabled = self.target == Target::Serve && self.records.trouble().is_none() && self.late.is_empty();
        if enabled != self.told_enabled {
            self.told_enabled = enabled;
            out.send(ToWorker::SetEnabled(enabled));
        }
        self.proxies.go_on(out);
    }

    fn worker_said(&mut self, generation: Generation, message: FromWorker, out: &mut Out<'_>) {
        let served = self.workers.serves();
        let waiting = message.ends_a_paid_job();
        let message = self.workers.heard(generation, message, &self.settings, out);
        if self.workers.serves() && !served {
            self.tunings.settled();
            self.proxies.worker_serves(out.now.mono);
        }
        let Some(message) = message else {
            out.release(waiting);
            return;
        };
        // Of cards a worker has something to say before it serves, and only then.
        let early = !self.workers.serves();
        match message {
            FromWorker::Trying { trial, number, of } if early => {
                self.tunings.tries(Trying { trial, number, of }, out);
            }
            FromWorker::Tuned { tuning, reason } if early => {
                let model = self.settings.model_sha256;
                if let Some(found) = self.tunings.tuned(*tuning, reason, model, out) {
                    self.records.add(Record::Tuning(found), out);
                }
            }
            FromWorker::LaneReady { lane, proxy } => {
                if let Some((pin, payment)) = self.proxies.ready(lane, &proxy, &self.settings, out) {
                    self.records.add(Record::Proxy(pin), out);
                    if let Some(boc) = payment {
                        self.paid(lane, boc, None, out);
                    }
                }
            }
            FromWorker::LaneEnded { lane, why } => self.proxies.ended_by_worker(lane, &why, out),
            FromWorker::JobStarted { lane, job, active } => {
                self.jobs.started(job, self.proxies.session_of(lane), active, out);
            }
            FromWorker::JobProgress { id, prompt_tokens, completion_tokens } => {
                self.jobs.progressed(id, prompt_tokens, completion_tokens, out.now);
            }
            FromWorker::JobDone { lane, record, active } => {
                // A lane that closed a moment ago may still have jobs that end.
                let proxy = self.proxies.last_session_of(lane).cloned();
                let job = self.jobs.done(record, active, proxy.as_ref(), out);
                if let Some(job) = job.as_ref().filter(|job| job.record.adjusted.total > 0) {
                    self.payments.worked_for(&job.proxy);
                }
                let entry = job.and_then(|job| self.records.add(Record::Job(job), out));
                match (entry, waiting) {
                    (Some(entry), Some(lane)) => {
                        let until = out.now.mono.saturating_add(LEDGER_PATIENCE);
                        self.held.insert(entry, Held { lane, until });
                    }
                    // Nothing to write, or nothing can be written now; the customer is not to suffer for that.
                    (None, waiting) => out.release(waiting),
                    (Some(_), None) => {}
                }
            }
            FromWorker::Payment { lane, boc, request, .. } => match self.proxies.presented(lane) {
                Some(early) => *early = Some(boc),
                None => self.paid(lane, boc, request, out),
            },
            FromWorker::WantEvidence { lane, ask, tls_key, nonce } => {
                let proxy = self.proxies.session_of(lane).map(|session| (session.endpoint, session.key));
                self.proof.asked(proxy, (lane, ask), tls_key, nonce, out);
            }
            FromWorker::Standing { lane, standing } => self.proxies.stands(lane, (*standing).into(), out),
            // Other parts keep these to themselves, and a worker that serves enrols nothing.
            FromWorker::Challenge { .. }
            | FromWorker::Enrolled { .. }
            | FromWorker::Hello { .. }
            | FromWorker::Trying { .. }
            | FromWorker::Tuned { .. }
            | FromWorker::Ready(_)
            | FromWorker::Failed(_)
            | FromWorker::Enabled(_)
            | FromWorker::Yielded
            | FromWorker::Log { .. }
            | FromWorker::Confined(_) => {}
        }
    }

    fn paid(&mut self, lane: LaneId, boc: Vec<u8>, request: Option<([u8; 32], i64)>, out: &mut Out<'_>) {
        let Some(session) = self.proxies.last_session_of(lane) else {
            self.payments.unknown_lane(out);
            return;
        };
        if let Some((id, credited)) = request {
            self.jobs.credited(id, credited, out);
        }
        if let Some(payment) = self.payments.received(session, boc, out) {
            self.records.replace_payment(payment, out);
        }
    }

    /// The worker is gone, and with it every TLS conversation.
    fn lose_worker(&mut self, out: &mut Out<'_>) {
        self.proxies.lose_all(out);
        for job in self.jobs.lose_running(out.now) {
            self.records.add(Record::Job(job), out);
        }
    }

    /// The ledger has dealt with something: an answer that waited for it may leave.
    fn release(&mut self, entry: EntryId, out: &mut Out<'_>) {
        self.late.remove(&entry);
        out.release(self.held.remove(&entry).map(|held| held.lane));
    }

    /// Lets go what the ledger keeps waiting too long; until it has dealt with that, no new work is taken.
    fn release_late(&mut self, out: &mut Out<'_>) {
        let now = out.now.mono;
        for (entry, held) in self.held.extract_if(.., |_, held| held.until <= now) {
            if self.late.is_empty() {
                out.log(LogLevel::Error, "the ledger does not answer: no new work until it does");
            }
            self.late.insert(entry);
            out.release(Some(held.lane));
        }
    }

    fn written(&mut self, record: &Record, new: bool, out: &mut Out<'_>) {
        match record {
            Record::Job(job) if new => self.jobs.written(&job.record),
            Record::Job(job) => {
                out.log(LogLevel::Warn, format!("job {} was done before: not counted twice", job.record.id));
            }
            Record::Payment(payment) => self.payments.written(payment),
            Record::Proxy(_) | Record::Tuning(_) | Record::Refusal(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
