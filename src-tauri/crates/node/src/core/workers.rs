//! One worker process: started, watched, started again after a pause, given up when only the owner can help, and away when
//! the owner wants the card.

use std::time::Duration;

use link::frame::Frame;
use link::greeting::{Greeting, GreetingError};
use link::message::{BackendKind, Confinement, DeviceTrouble, Failure, LogLevel, ModelFacts};
use link::{BUILD, FromWorker, ToWorker};

use super::backoff::Backoff;
use super::{Departure, Effect, Generation, Out, Settings, Target};

/// A worker that has not greeted by then never will.
const GREETING_PATIENCE: Duration = Duration::from_secs(30);
/// Longest a worker may take to read its model.
const LOADING_PATIENCE: Duration = Duration::from_mins(30);
/// A worker that served this long was no failure: the next pause is short again.
const GOOD_RUN: Duration = Duration::from_mins(1);
/// Longest sentence of the worker's that goes into the log, in characters.
const LOG_LINE: usize = 500;
/// Kinds of namespaces that there are, and letters that a kind has at most.
const MOST_NAMESPACES: usize = 8;
/// After so many failures of the graphics card in a row the processor takes over.
const DEVICE_TRIES: u32 = 3;
/// A program that has not greeted once after so many starts is not what was installed.
const FIRST_TRIES: u32 = 3;

/// What is known of the worker process. The fact; the wish is [`Target`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerState {
    /// There is no process, and nothing of it is left.
    Gone,
    /// It was asked for, or reads its model.
    Starting,
    /// It serves; `enabled` is what it says it announced.
    Serving {
        /// Whether it takes jobs.
        enabled: bool,
    },
    /// It ends its jobs and is killed at the deadline.
    Yielding,
    /// It was killed and is not yet gone.
    Ending,
    /// It crashed and is started again at this time.
    Waiting {
        /// On the clock of [`super::Now::mono`].
        until: Duration,
    },
    /// It can't serve, and trying again would not help; the text says why.
    Failed(String),
}

/// How long it took until the card was free, and what that gave back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freed {
    /// From the owner's wish until nothing of the process was left.
    pub took: Duration,
    /// The numbers.
    pub departure: Departure,
}

/// What an owner may wait for without being told why.
const SHORT: Duration = Duration::from_secs(1);

/// That the worker is ready, and where it took long, why. Opening the card is in that time.
fn has_read(bytes: u64, took: Duration) -> String {
    let said = format!("the worker has read the model in {:.1} s", took.as_secs_f64());
    if took < SHORT {
        return said;
    }
    let gigabytes = bytes as f64 / 1e9;
    format!(
        "{said}: at each start the file is read and checked from its first byte to its last, {gigabytes:.1} GB, so that nothing \
         but the checked model is ever served, and the graphics card is opened anew"
    )
}

/// See the module.
pub(super) struct Workers {
    state: WorkerState,
    /// The process that was asked for last.
    generation: Generation,
    pid: Option<u32>,
    greeting: Greeting,
    deadline: Option<Duration>,
    /// When the process that runs greeted.
    greeted_at: Option<Duration>,
    ready_at: Option<Duration>,
    asked_to_yield: Option<Duration>,
    /// Why it was ended by us, when that is no reason to try again.
    hopeless: Option<String>,
    backoff: Backoff,
    model: Option<ModelFacts>,
    freed: Option<Freed>,
    /// How it ended when nobody had asked for that.
    last_end: Option<String>,
    restart_unix_ms: Option<i64>,
    /// How often in a row the graphics card failed.
    device_failures: u32,
    /// Why the processor is used although the card was wanted.
    fallback: Option<String>,
    /// The next start is no second try of the same, so it need not wait.
    at_once: bool,
    /// The owner lets a graphics card be used.
    wants_card: bool,
    /// What stands around the process, in its own words.
    confinement: Option<Confinement>,
    /// A process has greeted since this was started: the program is the right one.
    has_greeted: bool,
    /// Starts of a program that never greeted.
    silent_starts: u32,
}

impl Workers {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            state: WorkerState::Gone,
            generation: Generation(0),
            pid: None,
            greeting: Greeting::new(),
            deadline: None,
            greeted_at: None,
            ready_at: None,
            asked_to_yield: None,
            hopeless: None,
            backoff: Backoff::new(settings.restart_first, settings.restart_most),
            model: None,
            freed: None,
            last_end: None,
            restart_unix_ms: None,
            device_failures: 0,
            fallback: None,
            at_once: false,
            wants_card: settings.configuration.backend != BackendKind::Cpu,
            confinement: None,
            has_greeted: false,
            silent_starts: 0,
        }
    }

    pub(super) fn state(&self) -> &WorkerState {
        &self.state
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// How many processes were asked for.
    pub(super) fn starts(&self) -> u64 {
        self.generation.0
    }

    pub(super) fn model(&self) -> Option<&ModelFacts> {
        self.model.as_ref()
    }

    /// What stands around the process that runs, in its own words.
    pub(super) fn confinement(&self) -> Option<&Confinement> {
        self.confinement.as_ref()
    }

    pub(super) fn freed(&self) -> Option<&Freed> {
        self.freed.as_ref()
    }

    /// Why the process ended the last time that nobody had asked for it.
    pub(super) fn last_end(&self) -> Option<&str> {
        self.last_end.as_deref()
    }

    /// Why the processor is used although the card was wanted.
    pub(super) fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }

    /// When it is started again, Unix time in milliseconds, while that is waited for.
    pub(super) fn restart_unix_ms(&self) -> Option<i64> {
        self.restart_unix_ms.filter(|_| matches!(self.state, WorkerState::Waiting { .. }))
    }

    /// A program that never greeted since this was started does not even begin to work.
    pub(super) fn has_greeted(&self) -> bool {
        self.has_greeted
    }

    pub(super) fn serves(&self) -> bool {
        matches!(self.state, WorkerState::Serving { .. })
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, WorkerState::Starting | WorkerState::Serving { .. } | WorkerState::Yielding)
    }

    /// There is no process.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.state, WorkerState::Gone | WorkerState::Waiting { .. } | WorkerState::Failed(_))
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        match self.state {
            WorkerState::Waiting { until } => Some(until),
            _ => self.deadline,
        }
    }

    /// Starts a worker if one is wanted and due, gives up on one that is late. True: a new one was asked for.
    pub(super) fn run(&mut self, target: Target, out: &mut Out<'_>) -> bool {
        if self.deadline.is_some_and(|deadline| out.now.mono >= deadline) {
            match self.state {
                WorkerState::Starting => {
                    out.log(LogLevel::Error, "the worker takes too long to start");
                    // A driver that hangs says nothing.
                    self.suspect_device("the worker takes too long to start", out);
                }
                WorkerState::Yielding => out.log(LogLevel::Warn, "the worker did not end its jobs in time"),
                _ => {}
            }
            self.kill_now(out);
        }
        let due = match self.state {
            WorkerState::Gone => true,
            WorkerState::Waiting { until } => out.now.mono >= until,
            _ => false,
        };
        if target == Target::Yield {
            if matches!(self.state, WorkerState::Waiting { .. }) {
                self.state = WorkerState::Gone;
            }
            return false;
        }
        if !due {
            return false;
        }
        self.generation = Generation(self.generation.0.saturating_add(1));
        self.state = WorkerState::Starting;
        self.greeting = Greeting::new();
        self.deadline = Some(out.now.mono.saturating_add(GREETING_PATIENCE));
        self.asked_to_yield = None;
        self.ready_at = None;
        self.greeted_at = None;
        out.push(Effect::StartWorker { generation: self.generation });
        true
    }

    pub(super) fn started(
        &mut self,
        generation: Generation,
        pid: u32,
        settings: &Settings,
        tunings: Vec<Vec<u8>>,
        out: &mut Out<'_>,
    ) {
        if generation != self.generation || self.is_gone() {
            return;
        }
        self.pid = Some(pid);
        if self.state == WorkerState::Starting {
            out.send(ToWorker::Hello { build: BUILD.to_owned() });
            let mut configuration =
                link::message::Configuration { tunings, unix_ms: out.now.unix_ms, ..settings.configuration.clone() };
            if self.fallback.is_some() {
                configuration.backend = BackendKind::Cpu;
            }
            out.send(ToWorker::Configure(Box::new(configuration)));
        } else {
            // Killed before it ran; there was nothing to kill then.
            out.push(Effect::KillWorker { generation });
        }
    }

    pub(super) fn not_started(&mut self, generation: Generation, why: &str, out: &mut Out<'_>) {
        if generation != self.generation || self.is_gone() {
            return;
        }
        out.log(LogLevel::Error, format!("the worker program does not start: {why}"));
        self.judge_program(why);
        self.rest(Departure { gone_at: out.now.mono, ..Departure::default() }, out);
    }

    pub(super) fn garbled(&mut self, generation: Generation, why: &str, out: &mut Out<'_>) {
        if generation == self.generation && self.is_running() {
            out.log(LogLevel::Error, format!("the worker does not keep to the pipe's rules: {why}"));
            self.kill_now(out);
        }
    }

    /// True: it was ours, and is gone.
    pub(super) fn exited(
        &mut self,
        generation: Generation,
        how: &str,
        departure: Departure,
        out: &mut Out<'_>,
    ) -> bool {
        if generation != self.generation || self.is_gone() {
            return false;
        }
        if !matches!(self.state, WorkerState::Ending | WorkerState::Yielding) {
            out.log(LogLevel::Warn, format!("the worker ended by itself: {how}"));
            // A driver that crashes takes the process with it.
            self.suspect_device(how, out);
            self.last_end = Some(how.to_owned());
        }
        if self.greeted_at.is_none() {
            self.judge_program(&format!("it does not answer as chrysalis-worker does, and ended: {how}"));
        }
        self.rest(departure, out);
        true
    }

    /// The owner wants the card. True: the worker was asked to end its jobs.
    pub(super) fn yields(&mut self, within: Duration, out: &mut Out<'_>) -> bool {
        match self.state {
            WorkerState::Serving { .. } => {
                self.asked_to_yield = Some(out.now.mono);
                self.state = WorkerState::Yielding;
                self.deadline = Some(out.now.mono.saturating_add(within));
                out.send(ToWorker::SetEnabled(false));
                out.send(ToWorker::Yield);
                true
            }
            WorkerState::Starting => {
                self.asked_to_yield = Some(out.now.mono);
                self.kill_now(out);
                false
            }
            WorkerState::Ending => {
                self.asked_to_yield.get_or_insert(out.now.mono);
                false
            }
            // A second wish changes nothing, and `run` calls the waiting off.
            WorkerState::Yielding | WorkerState::Gone | WorkerState::Waiting { .. } | WorkerState::Failed(_) => false,
        }
    }

    pub(super) fn kill_now(&mut self, out: &mut Out<'_>) {
        self.deadline = None;
        if self.is_running() {
            self.state = WorkerState::Ending;
            out.push(Effect::KillWorker { generation: self.generation });
        }
    }

    /// Deals with what concerns the process itself; what concerns others comes back.
    pub(super) fn heard(
        &mut self,
        generation: Generation,
        message: FromWorker,
        settings: &Settings,
        out: &mut Out<'_>,
    ) -> Option<FromWorker> {
        if generation != self.generation || self.is_gone() {
            return None;
        }
        let message = self.greeted(message, out)?;
        match message {
            FromWorker::Ready(mut facts) if self.state == WorkerState::Starting => {
                if facts.sha256 == settings.model_sha256 {
                    self.state = WorkerState::Serving { enabled: true };
                    self.deadline = None;
                    self.ready_at = Some(out.now.mono);
                    let took = self.greeted_at.map(|since| out.now.mono.saturating_sub(since));
                    out.log(LogLevel::Info, has_read(settings.model_bytes, took.unwrap_or_default()));
                    facts.passed_over = facts.passed_over.map(|why| line(&why));
                    if let Some(why) = &facts.passed_over {
                        out.log(LogLevel::Warn, format!("an NVIDIA card is not used through CUDA: {why}"));
                    }
                    self.model = Some(facts);
                } else {
                    self.give_up("the model file changed after it was checked; start again".to_owned(), out);
                }
            }
            FromWorker::Ready(_) if self.serves() => {
                out.log(LogLevel::Error, "the worker reads a model twice");
                self.kill_now(out);
            }
            FromWorker::Failed(Failure::Device { kind, text })
                if self.is_running() && kind != DeviceTrouble::NoAdapter =>
            {
                self.device_failed(kind, text, out);
            }
            FromWorker::Failed(failure) if self.is_running() => self.give_up(sentence(&failure), out),
            FromWorker::Enabled(enabled) => {
                if let WorkerState::Serving { enabled: fact } = &mut self.state {
                    *fact = enabled;
                }
            }
            FromWorker::Yielded if self.state == WorkerState::Yielding => self.kill_now(out),
            FromWorker::Confined(said) if self.state == WorkerState::Starting => {
                self.confinement = Some(bounded(*said));
            }
            FromWorker::Log { level, message } => {
                out.log(level, format!("worker: {}", line(&message)));
            }
            FromWorker::Ready(_) | FromWorker::Failed(_) | FromWorker::Yielded | FromWorker::Confined(_) => {}
            // While it is being killed, what it still says of jobs and money counts.
            other => return Some(other),
        }
        None
    }

    fn greeted(&mut self, message: FromWorker, out: &mut Out<'_>) -> Option<FromWorker> {
        let frame = Frame::Control(message);
        match self.greeting.admit(&frame) {
            Ok(true) => {
                self.has_greeted = true;
                if self.state == WorkerState::Starting {
                    self.greeted_at = Some(out.now.mono);
                    self.deadline = Some(out.now.mono.saturating_add(LOADING_PATIENCE));
                }
                None
            }
            Ok(false) => match frame {
                Frame::Control(message) => Some(message),
                Frame::Data { .. } | Frame::Credit { .. } => None,
            },
            Err(GreetingError::DifferentBuild { theirs, .. }) => {
                self.give_up(format!("chrysalis-worker is of another build ({theirs}); install both anew"), out);
                None
            }
            Err(_) => {
                if self.is_running() {
                    out.log(LogLevel::Error, "the worker does not greet as it should");
                    self.kill_now(out);
                }
                None
            }
        }
    }

    /// The card failed. It is tried again after a pause; after the third time in a row the processor takes over. Where another start
    /// would end in the same way, that is at once.
    fn device_failed(&mut self, kind: DeviceTrouble, text: String, out: &mut Out<'_>) {
        if matches!(kind, DeviceTrouble::Wrong | DeviceTrouble::NoRoom) {
            out.log(LogLevel::Error, format!("the graphics card is not used: {text}"));
            self.take_over(&text, out);
            self.at_once = true;
        } else {
            self.device_failures = self.device_failures.saturating_add(1);
            out.log(LogLevel::Error, format!("the graphics card failed ({} in a row): {text}", self.device_failures));
            self.judge_device(&text, out);
        }
        self.last_end = Some(text);
        self.kill_now(out);
    }

    /// Another start of a program that never greeted. Pauses help against what passes; a file that is not the worker stays what it is.
    fn judge_program(&mut self, why: &str) {
        if self.has_greeted || self.asked_to_yield.is_some() {
            return;
        }
        self.silent_starts = self.silent_starts.saturating_add(1);
        if self.silent_starts >= FIRST_TRIES {
            self.hopeless.get_or_insert_with(|| {
                let why = line(why);
                format!("the worker program was started {FIRST_TRIES} times in vain: {why}. Install Chrysalis anew")
            });
        }
    }

    /// A worker that may have used a card ended without a word, so that may have been the card's doing. Cards are opened after the greeting.
    fn suspect_device(&mut self, how: &str, out: &mut Out<'_>) {
        if self.greeted_at.is_none() {
            return;
        }
        let used_card = self.model.as_ref().is_none_or(|model| model.backend != "cpu");
        if self.wants_card && used_card {
            self.device_failures = self.device_failures.saturating_add(1);
            self.judge_device(how, out);
        }
    }

    fn judge_device(&mut self, why: &str, out: &mut Out<'_>) {
        if self.device_failures >= DEVICE_TRIES {
            self.take_over(why, out);
        }
    }

    /// From now on the model runs on the processor.
    fn take_over(&mut self, why: &str, out: &mut Out<'_>) {
        if self.fallback.is_none() {
            out.log(LogLevel::Error, "the processor takes over until this is started anew");
            self.fallback = Some(why.to_owned());
        }
    }

    /// Only the owner can help.
    fn give_up(&mut self, why: String, out: &mut Out<'_>) {
        out.log(LogLevel::Error, why.clone());
        self.hopeless = Some(why);
        self.kill_now(out);
    }

    /// The process is gone: what next?
    fn rest(&mut self, departure: Departure, out: &mut Out<'_>) {
        let now = out.now.mono;
        self.pid = None;
        self.confinement = None;
        self.deadline = None;
        if self.ready_at.take().is_some_and(|ready| now.saturating_sub(ready) >= GOOD_RUN) {
            self.backoff.reset();
            self.device_failures = 0;
        }
        let asked = self.asked_to_yield.take();
        let at_once = std::mem::take(&mut self.at_once);
        let hopeless = self.hopeless.take();
        if let Some(why) = hopeless.as_ref().filter(|_| !self.has_greeted && self.silent_starts >= FIRST_TRIES) {
            out.log(LogLevel::Error, why.clone());
        }
        if let Some(asked) = asked {
            let took = departure.gone_at.saturating_sub(asked);
            self.freed = Some(Freed { took, departure });
            out.log(LogLevel::Info, format!("freed in {} ms", took.as_millis()));
        }
        self.state = match (hopeless, asked) {
            (Some(why), _) => WorkerState::Failed(why),
            (None, Some(_)) => WorkerState::Gone,
            (None, None) => {
                // The processor has failed at nothing.
                let pause = if at_once { Duration::ZERO } else { self.backoff.pause() };
                let pause_ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
                self.restart_unix_ms = Some(out.now.unix_ms.saturating_add(pause_ms));
                WorkerState::Waiting { until: now.saturating_add(pause) }
            }
        };
    }
}

/// What the worker says, as one line of bounded length.
fn line(said: &str) -> String {
    said.chars().filter(|c| !c.is_control()).take(LOG_LINE).collect()
}

/// What it says of its walls, no longer than it can truly be.
fn bounded(mut said: Confinement) -> Confinement {
    said.namespaces.truncate(MOST_NAMESPACES);
    for name in &mut said.namespaces {
        *name = name.chars().filter(char::is_ascii_lowercase).take(MOST_NAMESPACES).collect();
    }
    said.without_namespaces = said.without_namespaces.map(|why| line(&why));
    said
}

fn sentence(failure: &Failure) -> String {
    match failure {
        Failure::Model(text) => {
            format!("the model file can't be served: {text}; fetch it again, or name another one with --model")
        }
        Failure::Device { text, .. } => text.clone(),
        Failure::Configuration(text) => format!("the worker does not accept its configuration: {text}"),
        Failure::Build { worker, .. } => {
            format!("chrysalis-worker is of another build ({worker}); install both anew")
        }
        Failure::Box(text) => format!("the worker was not started: {}", line(text)),
    }
}
