//! Does what the core decides: one task owns the core, feeds it and executes its effects. It decides nothing itself.
//!
//! Walk-through: `Loop::run` waits for an input, a deadline, or nothing more to do. A worker process and its pipe live in
//! `process`, what shows proxies what this computer is behind [`attester`], connections to proxies in `relay`, the ledger on a thread of its own in `book`. Beside it, [`cashier`] fetches what is
//! signed and [`recovery`] finds what a ledger has forgotten.

pub mod attester;
mod book;
pub mod cashier;
mod clock;
pub mod enrol;
mod limits;
mod process;
pub mod recovery;
mod relay;
pub mod stats;
mod traffic;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use link::message::LogLevel;
use link::{LaneId, ToWorker};
use sandbox::Program;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use ton::Nanoton;

use crate::core::{Core, Effect, Generation, Input, Settings, Target};
use crate::snapshot::Snapshot;
use attester::{Attester, Question, Witness};
use book::Book;
use clock::Clock;
use process::{Files, Process};
use relay::Lanes;
pub use traffic::{Moved, Traffic};

/// Inputs that may wait for the core; whoever makes more of them waits too.
const WAITING_INPUTS: usize = 256;
/// Beside the ledger: which of Windows' walls work here, as they were tried. Other systems have no such file.
const WALLS: &str = "walls.txt";
/// The system's number for a file that is no program.
const NO_PROGRAM: Option<i32> = Some(if cfg!(windows) { 193 } else { 8 });
/// How long a closed lane may take to hand its last bytes to the proxy.
const LAST_BYTES: Duration = Duration::from_secs(2);

/// What a node needs besides what it decides by.
pub struct World {
    /// The core's settings.
    pub settings: Settings,
    /// The worker program, opened and measured once: every worker of this node is what was measured then.
    pub worker: Program,
    /// The model, opened for reading only and checked.
    pub model: File,
    /// The ledger's file.
    pub ledger: PathBuf,
    /// What proves to proxies what this computer is; `None`: it only says so.
    pub attester: Option<Box<dyn Attester>>,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The ledger can't be used.
    #[error("the ledger {}: {source}", path.display())]
    Ledger {
        /// Its file.
        path: PathBuf,
        /// What it says.
        #[source]
        source: ledger::LedgerError,
    },
    /// No thread, or no random bytes.
    #[error("the system lacks something: {0}")]
    System(String),
}

/// A node that runs. Dropping it kills the worker; [`Node::stop`] is the polite way.
pub struct Node {
    inputs: mpsc::Sender<Input>,
    snapshots: watch::Receiver<Snapshot>,
    traffic: Traffic,
    running: JoinHandle<()>,
}

impl Node {
    /// Changes the wish.
    pub async fn want(&self, target: Target) {
        // Fails only when the node has ended, and with it every worker.
        let _ = self.inputs.send(Input::OwnerWants(target)).await;
    }

    /// What there is to show, kept up to date.
    pub fn snapshots(&self) -> watch::Receiver<Snapshot> {
        self.snapshots.clone()
    }

    /// Counters of bytes to and from each proxy since the start. They can be read after the end too.
    pub fn traffic(&self) -> Traffic {
        self.traffic.clone()
    }

    /// Frees the card politely, writes down what is left, and ends. Gives the last facts.
    pub async fn stop(self) -> Snapshot {
        self.want(Target::Yield).await;
        drop(self.inputs);
        let _ = self.running.await;
        self.snapshots.borrow().clone()
    }
}

/// Starts a node, which goes on until it is stopped. Blocks for as long as it takes to open the ledger.
pub fn start(world: World) -> Result<Node, StartError> {
    let clock = Clock::new();
    let (own_inputs, inputs) = mpsc::channel(WAITING_INPUTS);
    let walls = world.ledger.with_file_name(WALLS);
    let (book, remembered) = Book::open(&world, clock, own_inputs.clone())?;
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(|error| StartError::System(error.to_string()))?;
    let core = Core::new(world.settings, remembered, u64::from_le_bytes(seed));
    let (publisher, snapshots) = watch::channel(core.snapshot());
    let (outside, wishes) = mpsc::channel(WAITING_INPUTS);
    let witness = Witness::start(world.attester, own_inputs.clone());
    let traffic = Traffic::default();
    let turning = Loop {
        core,
        witness,
        clock,
        book,
        inputs: own_inputs,
        publisher,
        lanes: Arc::new(Mutex::new(BTreeMap::new())),
        relays: JoinSet::new(),
        traffic: traffic.clone(),
        process: None,
        worker: world.worker,
        walls,
        model: world.model,
        stopping: false,
    };
    let running = tokio::spawn(turning.run(inputs, wishes));
    Ok(Node { inputs: outside, snapshots, traffic, running })
}

struct Loop {
    core: Core,
    witness: Witness,
    clock: Clock,
    book: Book,
    inputs: mpsc::Sender<Input>,
    publisher: watch::Sender<Snapshot>,
    lanes: Lanes,
    relays: JoinSet<()>,
    traffic: Traffic,
    process: Option<(Generation, Process)>,
    worker: Program,
    walls: PathBuf,
    model: File,
    stopping: bool,
}

impl Loop {
    async fn run(mut self, mut inputs: mpsc::Receiver<Input>, mut wishes: mpsc::Receiver<Input>) {
        self.take(Input::Tick);
        while !(self.stopping && self.core.is_at_rest()) {
            let deadline = self.core.next_deadline();
            let input = tokio::select! {
                // The owner's wish goes before whatever else waits.
                biased;
                wish = wishes.recv(), if !self.stopping => wish.unwrap_or_else(|| {
                    self.stopping = true;
                    Input::OwnerWants(Target::Yield)
                }),
                Some(input) = inputs.recv() => input,
                () = self.clock.sleep_until(deadline) => Input::Tick,
                Some(_) = self.relays.join_next() => continue,
            };
            let failed = matches!(input, Input::RecordFailed { .. });
            self.take(input);
            if self.stopping && failed && self.book.is_hopeless(&self.core.snapshot()) {
                // Better an honest end than none: what is missing was logged.
                break;
            }
        }
        let all = async { while self.relays.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(LAST_BYTES, all).await;
    }

    fn take(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.core.handle(input, self.clock.now(), &mut effects);
        for effect in effects {
            self.execute(effect);
        }
    }

    fn execute(&mut self, effect: Effect) {
        match effect {
            Effect::StartWorker { generation } => self.start_worker(generation),
            Effect::KillWorker { generation } => {
                if let Some((_, process)) = self.process.as_ref().filter(|(running, _)| *running == generation) {
                    process.kill();
                }
            }
            Effect::Send(message) => self.send(&message),
            Effect::Dial { lane, endpoint } => {
                if let Some((generation, process)) = &self.process {
                    let inputs = self.inputs.clone();
                    let moved = self.traffic.of(endpoint);
                    let relay = relay::dial(lane, endpoint, *generation, process.pipe(), inputs, &self.lanes, moved);
                    self.relays.spawn(relay);
                }
            }
            Effect::CloseLane { lane } => relay::order(&self.lanes, lane, relay::Order::Close),
            Effect::ReleaseLane { lane } => relay::order(&self.lanes, lane, relay::Order::Release),
            Effect::RecordJob { entry, job } => self.book.job(entry, *job),
            Effect::RecordPayment { entry, payment } => self.book.payment(entry, *payment),
            Effect::RecordProxy { entry, proxy } => self.book.proxy(entry, *proxy),
            Effect::RecordTuning { entry, tuning } => self.book.tuning(entry, *tuning),
            Effect::RecordRefusal { entry, refusal } => self.book.refusal(entry, *refusal),
            Effect::Attest { lane, ask, audience, tls_key, nonce } => {
                self.witness.ask(lane, ask, Question { audience, tls_key, nonce });
            }
            Effect::Log { level, message } => match level {
                LogLevel::Error => tracing::error!("{message}"),
                LogLevel::Warn => tracing::warn!("{message}"),
                LogLevel::Info => tracing::info!("{message}"),
                LogLevel::Debug => tracing::debug!("{message}"),
            },
            Effect::Publish => {
                self.publisher.send_replace(self.core.snapshot());
            }
        }
    }

    fn start_worker(&mut self, generation: Generation) {
        let files = Files { program: &self.worker, walls: &self.walls, model: &self.model };
        let process = Process::start(generation, &files, self.clock, self.inputs.clone(), &self.lanes);
        match process {
            Ok(process) => self.process = Some((generation, process)),
            Err(error) => {
                let (inputs, why) = (self.inputs.clone(), not_started(&*error));
                // The core is busy with this very effect; it hears of it next.
                tokio::spawn(async move {
                    let _ = inputs.send(Input::WorkerNotStarted { generation, why }).await;
                });
            }
        }
    }

    fn send(&mut self, message: &ToWorker) {
        let Some((_, process)) = &self.process else { return };
        process.pipe().say(message);
        // What the proxy said meanwhile may follow now, in this order.
        if let ToWorker::OpenLane { lane, .. } = message {
            relay::order(&self.lanes, *lane, relay::Order::Opened);
        }
    }
}

/// Why a program was not started, and where the system names no more than a number, what that means.
fn not_started(error: &(dyn std::error::Error + 'static)) -> String {
    match error.downcast_ref::<sandbox::StartError>() {
        Some(sandbox::StartError::Program { source, .. }) if source.kind() == ErrorKind::PermissionDenied => {
            format!("{error}; the file may not be executed, or lies where nothing may be")
        }
        Some(sandbox::StartError::Program { source, .. }) if source.raw_os_error() == NO_PROGRAM => {
            format!("{error}; the file is no program")
        }
        _ => error.to_string(),
    }
}

/// The worth of so many adjusted tokens.
pub fn worth(fee: Nanoton, tokens: i64) -> Option<Nanoton> {
    fee.checked_mul(u64::try_from(tokens).ok()?)
}

/// A lane's entry in the shared table, if it is there.
fn lane_entry<T>(lanes: &Lanes, lane: LaneId, look: impl FnOnce(&mut relay::Entry) -> T) -> Option<T> {
    lanes.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&lane).map(look)
}

#[cfg(test)]
mod tests;
