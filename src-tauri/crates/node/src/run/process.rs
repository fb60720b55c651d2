//! A worker process and its end of the pipe: one thread reads, one writes, one waits for the end.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use link::frame::{Decoder, Frame};
use link::{FromWorker, LaneId, ToWorker, frame};
use sandbox::{BoxState, Child, Program, Reader, Spawn, Writer};
use tokio::sync::mpsc;

use super::clock::Clock;
use super::limits;
use super::relay::{self, Lanes, Order};
use crate::core::{Departure, Generation, Input};

/// How long what a worker said before its end may take to be read.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Bytes written at once when several frames wait.
const WRITE_BATCH: usize = 256 * 1024;

/// What is said to the worker, by whoever has something to say. Lane bytes are bounded by credit, the rest by what the core says.
#[derive(Clone)]
pub(super) struct Pipe(Sender<Vec<u8>>);

impl Pipe {
    /// The end that is spoken into, and the one that hands out whole frames.
    pub(super) fn new() -> (Self, Receiver<Vec<u8>>) {
        let (sender, orders) = channel();
        (Self(sender), orders)
    }

    pub(super) fn say(&self, message: &ToWorker) {
        match frame::encode_control(message) {
            Ok(bytes) => self.send(bytes),
            Err(error) => tracing::error!(%error, "a message to the worker is too long"),
        }
    }

    pub(super) fn data(&self, lane: LaneId, bytes: &[u8]) {
        if let Ok(bytes) = frame::encode_data(lane, bytes) {
            self.send(bytes);
        }
    }

    pub(super) fn credit(&self, lane: LaneId, bytes: u32) {
        self.send(frame::encode_credit(lane, bytes));
    }

    fn send(&self, bytes: Vec<u8>) {
        // Fails only when the worker is gone, which is heard elsewhere.
        let _ = self.0.send(bytes);
    }
}

/// Mesa's drivers write a line of this beginning at every start, because the worker has no such folder.
const OF_EVERY_START: &str = "error: XDG_RUNTIME_DIR ";

/// What a process is started with.
pub(super) struct Files<'a> {
    /// The program, measured.
    pub(super) program: &'a Program,
    /// Where the choice of walls is kept.
    pub(super) walls: &'a Path,
    /// The model, opened for reading only.
    pub(super) model: &'a File,
}

/// A process that was started, until it is gone.
pub(super) struct Process {
    child: Child,
    pipe: Pipe,
    before: Arc<Mutex<Departure>>,
}

impl Process {
    /// Starts the program in its box. Blocks until it runs, some milliseconds; on Windows some seconds when it has to find out first which
    /// walls work.
    pub(super) fn start(
        generation: Generation,
        files: &Files<'_>,
        clock: Clock,
        inputs: mpsc::Sender<Input>,
        lanes: &Lanes,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let mut model = files.model.try_clone()?;
        // The place in the file is shared with the worker before, which is gone.
        model.rewind()?;
        let (child, channel) =
            Spawn { program: files.program.clone(), args: Vec::new(), model }.start_remembering(files.walls)?;
        let (pipe, orders) = Pipe::new();
        let before = Arc::new(Mutex::new(Departure::default()));
        let process = Self { child: child.clone(), pipe, before: Arc::clone(&before) };
        let lanes = Arc::clone(lanes);
        let spawned = (|| {
            let (killing, hearing) = (child.clone(), inputs.clone());
            spawn("worker-write", move || write_all(channel.writer, &orders))?;
            let (heard, all) = channel_of_one::<()>();
            let (limited, group) = channel_of_one();
            let (pid, limiting) = (child.pid(), child.clone());
            spawn("worker-read", move || {
                // Before it is told anything, and so before it has anything worth limiting.
                let _ = limited.send(limits::set(&limiting));
                let _ = hearing.blocking_send(Input::WorkerStarted { generation, pid });
                if let Err(why) = read_all(channel.reader, generation, &killing, &hearing, &lanes, BoxState::of) {
                    let _ = hearing.blocking_send(Input::WorkerGarbled { generation, why });
                }
                // Whoever closed the pipe can't serve.
                killing.kill();
                drop(heard);
            })?;
            let waiting = child.clone();
            spawn("worker-wait", move || {
                let exit = waiting.wait();
                let gone_at = clock.mono();
                let departure = Departure {
                    gone_at,
                    available_after: sandbox::available_memory(),
                    ..*before.lock().unwrap_or_else(PoisonError::into_inner)
                };
                // What it said before it ended comes first. Somebody whom it started may hold its end of the pipe, and is not waited for.
                let _ = all.recv_timeout(LAST_WORDS);
                let log = last_line(&waiting.log());
                let how = if log.is_empty() { exit.to_string() } else { format!("{exit}; its last words: {log}") };
                let _ = inputs.blocking_send(Input::WorkerExited { generation, how, departure });
                // The group can go now that nobody is in it.
                drop(group.recv());
            })
        })();
        if let Err(error) = spawned {
            child.kill();
            return Err(error.into());
        }
        Ok(process)
    }

    pub(super) fn pipe(&self) -> Pipe {
        self.pipe.clone()
    }

    /// Ends it at once, having looked how much it held.
    pub(super) fn kill(&self) {
        {
            let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
            before.held = before.held.or_else(|| self.child.memory());
            before.available_before = before.available_before.or_else(sandbox::available_memory);
        }
        self.child.kill();
    }
}

/// No worker outlives its node.
impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill();
    }
}

fn channel_of_one<T>() -> (Sender<T>, Receiver<T>) {
    channel()
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
}

/// What the kernel says of a process.
pub(super) type Kernel = fn(u32) -> Option<BoxState>;

/// Why a worker is not believed that says its box is closed for good. Believed is the kernel; where that tells nothing, what the worker said
/// of itself is all there is.
pub(super) fn stands_open(state: Option<&BoxState>) -> Option<&'static str> {
    let state = state?;
    if state.is_closed() == Some(false) {
        return Some("the kernel says that its box is not closed");
    }
    (state.is_sealed() == Some(false)).then_some("the kernel says that its box is not closed for good")
}

/// `Err`: what was wrong with what came.
fn read_all(
    mut reader: Reader,
    generation: Generation,
    child: &Child,
    inputs: &mpsc::Sender<Input>,
    lanes: &Lanes,
    kernel: Kernel,
) -> Result<(), String> {
    let mut decoder = Decoder::<FromWorker>::new();
    let mut buffer = vec![0; frame::MAX_DATA];
    loop {
        let length = match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => return Ok(()),
        };
        decoder.push(buffer.get(..length).unwrap_or_default());
        while let Some(frame) = decoder.next().map_err(|error| error.to_string())? {
            match frame {
                Frame::Control(message) => {
                    // Said here and not by the core, because the bytes that end the job are next in this pipe.
                    if let Some(lane) = message.ends_a_paid_job() {
                        relay::order(lanes, lane, Order::Hold);
                    }
                    if matches!(message, FromWorker::Ready(_)) {
                        if let Some(why) = stands_open(kernel(child.pid()).as_ref()) {
                            return Err(why.to_owned());
                        }
                        // What was written while it started did it no harm.
                        child.forget_log();
                    }
                    let message = Box::new(message);
                    if inputs.blocking_send(Input::Worker { generation, message }).is_err() {
                        return Ok(());
                    }
                }
                Frame::Data { lane, bytes } => relay::data(lanes, lane, bytes).map_err(|error| error.to_string())?,
                Frame::Credit { lane, bytes } => relay::order(lanes, lane, Order::Credit(bytes)),
            }
        }
    }
}

fn write_all(mut writer: Writer, orders: &Receiver<Vec<u8>>) {
    while let Ok(mut batch) = orders.recv() {
        while batch.len() < WRITE_BATCH {
            match orders.try_recv() {
                Ok(more) => batch.extend(more),
                Err(_) => break,
            }
        }
        if writer.write_all(&batch).is_err() {
            return;
        }
    }
}

fn last_line(log: &str) -> String {
    let line =
        log.lines().rev().find(|line| !line.trim().is_empty() && !line.starts_with(OF_EVERY_START)).unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel says of a process behind so many filters.
    fn behind(filters: u32) -> BoxState {
        BoxState {
            filtered: Some(true),
            filters: Some(filters),
            no_new_privileges: Some(true),
            capabilities: Some(0),
            all_threads: Some(true),
            ..BoxState::default()
        }
    }

    #[test]
    fn only_a_box_that_the_kernel_calls_closed_for_good_is_believed_in_where_it_tells() {
        assert_eq!(stands_open(None), None);
        assert_eq!(stands_open(Some(&BoxState::default())), None);
        assert_eq!(stands_open(Some(&behind(6))), None);
        assert!(stands_open(Some(&behind(3))).is_some_and(|why| why.ends_with("for good")));
        let open = BoxState { filtered: Some(false), ..behind(0) };
        assert!(stands_open(Some(&open)).is_some_and(|why| why.ends_with("not closed")));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_worker_that_is_ready_with_the_first_step_alone_behind_it_is_given_up() {
        let ready = FromWorker::Ready(link::message::ModelFacts {
            sha256: [0; 32],
            name: None,
            architecture: String::new(),
            quantisation: String::new(),
            context: 1,
            backend: "cpu".to_owned(),
            adapter: None,
            passed_over: None,
        });
        let sleeper = Path::new("/bin/sleep");
        let model = File::open(sleeper).unwrap();
        let program = Program::open(sleeper).unwrap();
        let (child, _channel) = Spawn { program, args: vec!["60".into()], model }.start().unwrap();
        let outcome = |kernel: Kernel| {
            let (reader, mut worker) = Reader::pair().unwrap();
            worker.write_all(&frame::encode_control(&ready).unwrap()).unwrap();
            drop(worker);
            let (inputs, mut heard) = mpsc::channel(4);
            let lanes = Lanes::default();
            let result = read_all(reader, Generation(1), &child, &inputs, &lanes, kernel);
            (result, heard.try_recv().is_ok())
        };
        assert_eq!(outcome(|_| Some(behind(6))), (Ok(()), true));
        let (half, told) = outcome(|_| Some(behind(3)));
        assert!(half.is_err_and(|why| why.contains("not closed for good")) && !told);
        child.kill();
    }

    #[test]
    fn the_last_words_are_one_line_without_control_characters() {
        assert_eq!(last_line("one\ntwo\x1b[31m!\n\n"), "two[31m!");
        assert_eq!(last_line(""), "");
        let always = "error: XDG_RUNTIME_DIR is invalid or not set in the environment.\n";
        assert_eq!(last_line(always), "", "that is no cause of anything");
        assert_eq!(last_line(&format!("free(): invalid pointer\n{always}")), "free(): invalid pointer");
    }
}
