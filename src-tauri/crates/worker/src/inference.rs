//! The model at work: one thread turns requests into token ids, another batches all of them through the engine.
//!
//! They share nothing with the event loop but channels and one flag per job. A job is cancelled by its flag: whoever sees it next
//! drops the job and says nothing more about it.

mod batch;
mod conversations;
mod prepare;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, channel};
use std::time::Instant;

use engine::gguf::Limits;
use engine::tune::{self, Progress};
use engine::{Device, DeviceFault, Engine, Model, Options, StartError, TokenCounts};
use link::LaneId;
use link::message::{BackendKind, Confinement, DeviceTrouble, Failure, ModelFacts, Trial, Tuning};
use sandbox::Serving;
use zeroize::Zeroizing;

use crate::completions::{ConversationKey, FinishReason, Order, Refusal};
use crate::confinement::Seal;
use crate::event::Event;
use crate::threads;

use self::batch::Batch;
use self::prepare::{Prepared, Preparer};

/// Most answers that are computed at once, however many requests are admitted; further ones wait. What a step brings home of a card
/// has room for so many, and each has a copy of its prompt. Memory for what they attend to is taken as they are admitted.
pub const MAX_SEQUENCES: usize = 64;

/// Longest context served.
const MAX_CONTEXT: u32 = 8192;

/// Names one job inside this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKey(pub u64);

/// Shared by the event loop and the threads of this module.
#[derive(Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nobody waits for this job any more.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Is it so?
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What belongs together: requests with one key from one connection.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The connection.
    pub lane: LaneId,
    /// The client's key.
    pub key: ConversationKey,
}

/// Of what nothing may be kept any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forget {
    /// Of what came over this connection.
    Lane(LaneId),
    /// Of anything.
    Everything,
}

/// A job for the model. Holds the prompt.
pub struct Task {
    /// Comes back with every report.
    pub key: JobKey,
    /// The protocol's id, from which the seed is made.
    pub request_id: [u8; 32],
    /// What is wanted.
    pub order: Order,
    /// The job's flag.
    pub cancel: Cancel,
    /// The conversation it belongs to, if its client says so.
    pub place: Option<Place>,
}

/// What the thread of the engine is told.
enum Work {
    Job(Box<Prepared>),
    Forget(Forget),
}

/// What became of a task, or of the model. Holds generated text.
pub enum Report {
    /// A graphics card is being tried out.
    Trying {
        /// What is done.
        trial: Trial,
        /// With which way, from 1.
        number: u32,
        /// Of how many.
        of: u32,
    },
    /// How kernels are cut for the card, and why that was found out now.
    Tuned(Box<Tuning>, Option<String>),
    /// No card was found but software, and the processor computes.
    OnlySoftware,
    /// The box is closed for good.
    Confined(Box<Confinement>),
    /// The model is ready.
    Loaded(Box<ModelFacts>),
    /// The model can't be served, with the reason.
    NotLoaded(Failure),
    /// The graphics card failed while it served. Nothing runs any more; every task given so far is void.
    Broken(Failure),
    /// The prompts are understood: their tokens, and with `echo` their texts, one for each prompt.
    Begun {
        /// Which job.
        key: JobKey,
        /// Tokens of each prompt.
        prompt_tokens: Vec<u64>,
        /// Text each answer begins with; empty without `echo`.
        echoes: Vec<Zeroizing<Vec<u8>>>,
    },
    /// The task will not be run.
    Refused {
        /// Which job.
        key: JobKey,
        /// Why.
        refusal: Refusal,
    },
    /// The next piece of one answer.
    Piece {
        /// Which job.
        key: JobKey,
        /// Which of its answers: prompt number times `n` plus repetition.
        choice: usize,
        /// Whole characters; may be empty.
        text: Zeroizing<Vec<u8>>,
        /// Tokens of this answer so far.
        counts: TokenCounts,
        /// Set with the last piece.
        finished: Option<FinishReason>,
    },
}

/// Threads that compute where nobody chose: the machine is its owner's in the first place.
pub const THREADS: usize = 2;

/// Threads that compute if so many are wanted: at least one, never more than the processor has.
pub fn computing_threads(wanted: Option<usize>) -> usize {
    let most = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    wanted.unwrap_or(THREADS).clamp(1, most)
}

/// What the event loop decides about the threads.
pub struct Setup {
    /// Where the model runs.
    pub backend: BackendKind,
    /// What was found out about cards at earlier starts.
    pub tunings: Vec<Vec<u8>>,
    /// Fails in this way after so many steps: for tests of what happens then.
    pub fails: Option<(u64, DeviceFault)>,
    /// Threads that compute; `None`: [`THREADS`], as far as the processor has them. See [`computing_threads`].
    pub threads: Option<usize>,
    /// Most answers computed at once: as many as requests are admitted, never more than [`MAX_SEQUENCES`].
    pub max_sequences: usize,
    /// Bytes of main memory that may be taken; `None`: nobody knows.
    pub memory: Option<u64>,
    /// Closes the box for good; `None`: that was done.
    pub seal: Option<Seal>,
}

/// Where the event loop puts tasks.
pub struct Inference {
    tasks: Sender<Task>,
    work: Sender<Work>,
}

impl Inference {
    /// Starts the threads. The model is read from `model`; the first report says how that went. Tasks given before wait.
    pub fn start(model: Box<dyn Read + Send>, setup: Setup, events: SyncSender<Event>) -> std::io::Result<Self> {
        let (tasks, incoming) = channel();
        let (work, to_do) = channel();
        let prepared = work.clone();
        threads::spawn("engine", move || {
            // A send fails only when the event loop is gone, and then nobody is left to tell.
            let _ = serve(model, setup, incoming, (prepared, to_do), &events);
        })?;
        Ok(Self { tasks, work })
    }

    /// Frees and wipes what is kept. Jobs of which nothing may be kept are cancelled before.
    pub fn forget(&self, what: Forget) {
        // Where the threads are gone nothing is kept.
        let _ = self.work.send(Work::Forget(what));
    }

    /// Hands over a task. `false`: the threads are gone.
    pub fn run(&self, task: Task) -> bool {
        self.tasks.send(task).is_ok()
    }
}

/// The event loop is gone.
struct Gone;

fn serve(
    mut model: Box<dyn Read + Send>,
    setup: Setup,
    tasks: Receiver<Task>,
    (prepared, to_do): (Sender<Work>, Receiver<Work>),
    events: &SyncSender<Event>,
) -> Result<(), Gone> {
    let send = |report| events.send(Event::Report(report)).map_err(|_| Gone);
    let limits = Limits { memory: setup.memory, ..Limits::default() };
    let loaded = Model::read(&mut *model, limits)
        .map_err(|error| Failure::Model(error.to_string()))
        .and_then(|model| Loaded::new(model, setup, &mut |report| drop(send(report))));
    // The descriptor is closed: weights stay in memory, the file is not needed again.
    drop(model);
    let Loaded { facts, engine, preparer } = match loaded {
        Ok(loaded) => loaded,
        Err(failure) => return send(Report::NotLoaded(failure)),
    };
    let refusals = events.clone();
    let started = threads::spawn("prepare", move || prepare_all(&preparer, &tasks, &prepared, &refusals));
    if let Err(error) = started {
        return send(Report::NotLoaded(Failure::Model(error.to_string())));
    }
    send(Report::Loaded(Box::new(facts)))?;
    generate_all(Batch::new(engine), &to_do, events)
}

fn prepare_all(preparer: &Preparer, tasks: &Receiver<Task>, prepared: &Sender<Work>, events: &SyncSender<Event>) {
    for task in tasks {
        if task.cancel.is_cancelled() {
            continue;
        }
        let key = task.key;
        let sent = match preparer.prepare(task) {
            Ok(job) => prepared.send(Work::Job(Box::new(job))).is_ok(),
            Err(refusal) => events.send(Event::Report(Report::Refused { key, refusal })).is_ok(),
        };
        if !sent {
            return;
        }
    }
}

fn generate_all(mut batch: Batch, to_do: &Receiver<Work>, events: &SyncSender<Event>) -> Result<(), Gone> {
    let mut reports = Vec::new();
    loop {
        if batch.is_idle() {
            let work = match batch.next_end() {
                None => to_do.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(end) => to_do.recv_timeout(end.saturating_duration_since(Instant::now())),
            };
            match work {
                Ok(work) => batch.take(work, Instant::now(), &mut reports),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
        loop {
            match to_do.try_recv() {
                Ok(work) => batch.take(work, Instant::now(), &mut reports),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
        }
        batch.end_silent(Instant::now());
        batch.step(&mut reports);
        for report in reports.drain(..) {
            events.send(Event::Report(report)).map_err(|_| Gone)?;
        }
        if let Some(fault) = batch.fault() {
            let failure = device_failure(&fault);
            events.send(Event::Report(Report::Broken(failure))).map_err(|_| Gone)?;
            // Dropping a hung card means waiting for it. The process ends soon, and that frees everything.
            std::mem::forget(batch);
            return Ok(());
        }
    }
}

/// A choice in the words of the pipe.
fn tuning(choice: &tune::Choice) -> Tuning {
    Tuning {
        card: choice.key.adapter.clone(),
        driver: choice.key.driver.clone(),
        way: choice.candidate.clone(),
        step_micros: choice.measured.step_micros,
        chunk_tokens: choice.measured.chunk_tokens,
        chunk_micros: choice.measured.chunk_micros,
        tried: choice.tried,
        failed: choice.failed,
        of: choice.of,
        choice: choice.to_bytes(),
    }
}

/// What to tell the app of a card that cannot go on.
fn device_failure(fault: &DeviceFault) -> Failure {
    let kind = match fault {
        DeviceFault::Lost { .. } => DeviceTrouble::Lost,
        // Known beforehand, out of what the card says of itself: asking again changes nothing.
        DeviceFault::OutOfMemory { limit: Some(_), .. } => DeviceTrouble::NoRoom,
        DeviceFault::OutOfMemory { .. } => DeviceTrouble::OutOfMemory,
        DeviceFault::Pipeline { .. } => DeviceTrouble::Pipeline,
        DeviceFault::Hung { .. } => DeviceTrouble::Hung,
        DeviceFault::Wrong { .. } => DeviceTrouble::Wrong,
        _ => DeviceTrouble::Refused,
    };
    Failure::Device { kind, text: fault.to_string() }
}

fn start_failure(error: &StartError) -> Failure {
    match error {
        StartError::Device(fault) => device_failure(fault),
        StartError::NoAdapter(none) => Failure::Device { kind: DeviceTrouble::NoAdapter, text: none.to_string() },
        error => Failure::Model(error.to_string()),
    }
}

/// A model that can serve.
struct Loaded {
    facts: ModelFacts,
    engine: Engine,
    preparer: Preparer,
}

impl Loaded {
    fn new(model: Model, setup: Setup, report: &mut dyn FnMut(Report)) -> Result<Self, Failure> {
        let context = model.context_length().min(MAX_CONTEXT);
        let tokenizer = model.tokenizer();
        let template = model.chat_template();
        let mut facts = ModelFacts {
            sha256: model.sha256(),
            name: model.name().map(str::to_owned),
            architecture: model.architecture().to_owned(),
            quantisation: model.quantisation().to_owned(),
            context,
            backend: String::new(),
            adapter: None,
            passed_over: None,
        };
        let options = Options {
            threads: computing_threads(setup.threads),
            context,
            max_sequences: setup.max_sequences.clamp(1, MAX_SEQUENCES),
        };
        let device = match setup.backend {
            BackendKind::Cpu => Device::Cpu,
            BackendKind::Wgpu { adapter } => Device::Wgpu { adapter },
            BackendKind::Cuda { adapter } => Device::Cuda { adapter },
            BackendKind::Auto => Device::Auto,
        };
        let mut progress = |now| {
            let (trial, number, of) = match now {
                Progress::Testing { number, of } => (Trial::Testing, number, of),
                Progress::Measuring { number, of } => (Trial::Measuring, number, of),
            };
            report(Report::Trying { trial, number, of });
        };
        let mut session = tune::Session { stored: &setup.tunings, progress: &mut progress };
        let started = Engine::tuned(&device, model, options, &mut session);
        let (mut engine, outcome) = started.map_err(|error| start_failure(&error))?;
        if let Some(tune::Outcome { choice, reason }) = outcome {
            report(Report::Tuned(Box::new(tuning(&choice)), reason.map(|reason| reason.to_string())));
        }
        if engine.only_software() {
            report(Report::OnlySoftware);
        }
        if let Some((steps, fault)) = setup.fails {
            engine.fail_after(steps, fault);
        }
        facts.context = engine.context();
        engine.backend().clone_into(&mut facts.backend);
        facts.adapter = engine.adapter();
        facts.passed_over = engine.passed_over().map(str::to_owned);
        if let Some(seal) = setup.seal {
            // Nothing was asked of the model yet by anybody, and from now on nothing is opened.
            let serving = if facts.backend == "cpu" { Serving::Processor } else { Serving::Card };
            report(Report::Confined(Box::new(seal(serving)?)));
        }
        let preparer = Preparer::new(tokenizer, template, facts.context);
        Ok(Self { facts, engine, preparer })
    }
}

#[cfg(test)]
mod tests;
