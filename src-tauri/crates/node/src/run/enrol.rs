//! One enrolment of a TPM at a registrar: a worker process that does only that, and the bytes between it and the registrar.
//!
//! The TLS ends in the worker, as everywhere. What the TPM does is the caller's. Blocks; for a thread of its own.
//!
//! Nobody makes this process keep more than a window of what they say, or wait longer than its patience: the registrar is read only as far
//! as the worker takes what it says, and whoever blocks when the time is up finds the worker ended and the connection shut.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use link::flow::{LaneReceiver, LaneSender};
use link::frame::{Decoder, Frame};
use link::greeting::Greeting;
use link::message::LaneEnd;
use link::proof::{Enrolment, MAX_PART};
use link::{BUILD, FromWorker, LaneId, ToWorker, frame};
use sandbox::{BoxState, Channel, Child, Program, Spawn};

use super::process::stands_open;

/// How long a registrar may take to accept a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long the whole may take, proof of work and a slow TPM included.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long the worker may take for what a registrar said before it hung up.
const LAST_WORDS: Duration = Duration::from_secs(5);
const READ_AT_ONCE: usize = 16 * 1024;
/// So many frames of the worker's wait at most, and one buffer of the registrar's.
const EVENTS: usize = 16;
/// There is one.
const LANE: LaneId = LaneId(0);
/// Why nothing was enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The worker program does not run.
    #[error("the worker program does not run: {0}")]
    Worker(String),
    /// The registrar can't be reached.
    #[error("the registrar {0} can't be reached: {1}")]
    Unreachable(SocketAddr, std::io::Error),
    /// The registrar hung up.
    #[error("the registrar hung up")]
    HungUp,
    /// The registrar refused, or is not the one it should be.
    #[error("{0}")]
    Refused(String),
    /// The TPM did not open the challenge.
    #[error("the TPM does not open the registrar's challenge: {0}")]
    Tpm(String),
    /// It took too long.
    #[error("enrolling took too long")]
    TooSlow,
}

/// What happens meanwhile.
enum Event {
    Worker(Frame<FromWorker>),
    WorkerGone,
    Registrar(Vec<u8>),
    RegistrarGone,
}

/// Ends the worker, whatever happens.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.kill();
    }
}

/// The TPM that opens a challenge: the content of a `TPM2B_ID_OBJECT` and of a `TPM2B_ENCRYPTED_SECRET` in, what is inside out.
pub type Opens<'a> = dyn FnMut(&[u8], &[u8]) -> Result<Vec<u8>, String> + 'a;

/// Enrols and yields the registrar's statement, which has not been looked at.
pub fn enrol(
    worker: &Program,
    registrar: SocketAddr,
    mut enrolment: Enrolment,
    opens: &mut Opens<'_>,
) -> Result<Vec<u8>, EnrolError> {
    let failed = |error: &dyn std::fmt::Display| EnrolError::Worker(error.to_string());
    let stream = TcpStream::connect_timeout(&registrar, CONNECT_PATIENCE)
        .map_err(|error| EnrolError::Unreachable(registrar, error))?;
    let _ = stream.set_nodelay(true);
    // A worker is not without a file. This one reads nothing of it, so it may be any; its own is there for sure.
    let model = File::open(worker.path()).map_err(|error| failed(&error))?;
    let spawn = Spawn { program: worker.clone(), args: Vec::new(), model };
    let (child, Channel { reader, writer }) = spawn.start().map_err(|error| failed(&error))?;
    let (pid, ending) = (child.pid(), child.clone());
    let _guard = Guard(child);
    let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    enrolment.unix_ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
    let worker =
        Worker { reader, writer, kernel: Box::new(move || BoxState::of(pid)), end: Box::new(move || ending.kill()) };
    converse(worker, stream, enrolment, PATIENCE, opens)
}

/// The worker, as a conversation has it.
struct Worker<R, W> {
    reader: R,
    writer: W,
    /// What the kernel says of its box.
    kernel: Box<dyn Fn() -> Option<BoxState>>,
    /// Ends it; for any thread.
    end: Box<dyn Fn() + Send>,
}

/// From the first word to the worker to the statement. `patience`: how long all of it may take.
fn converse<R: Read + Send + 'static, W: Write>(
    worker: Worker<R, W>,
    stream: TcpStream,
    enrolment: Enrolment,
    patience: Duration,
    opens: &mut Opens<'_>,
) -> Result<Vec<u8>, EnrolError> {
    let failed = |error: &dyn std::fmt::Display| EnrolError::Worker(error.to_string());
    let Worker { reader, mut writer, kernel, end } = worker;
    let until = Instant::now() + patience;
    let (events, happened) = sync_channel(EVENTS);
    let (from_worker, from_registrar) = (events.clone(), events);
    let (reads, permitted) = channel();
    let copy = || stream.try_clone().map_err(|error| failed(&error));
    let (reading, watching) = (copy()?, copy()?);
    thread("enrol-worker", move || hear_worker(reader, &from_worker)).map_err(|error| failed(&error))?;
    thread("enrol-registrar", move || hear_registrar(reading, &permitted, &from_registrar))
        .map_err(|error| failed(&error))?;
    let (over, watched) = channel::<()>();
    let watch = move || {
        if watched.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            end();
            let _ = watching.shutdown(Shutdown::Both);
        }
    };
    thread("enrol-watch", watch).map_err(|error| failed(&error))?;

    let mut visit = Visit {
        stream,
        reads,
        reading: false,
        unix_ms: enrolment.unix_ms,
        open: false,
        sender: LaneSender::new(),
        receiver: LaneReceiver::new(),
        greeting: Greeting::new(),
        kernel,
    };
    let mut say = |bytes: Vec<u8>| writer.write_all(&bytes).map_err(|error| EnrolError::Worker(error.to_string()));
    let first = [ToWorker::Hello { build: BUILD.to_owned() }, ToWorker::Enrol(Box::new(enrolment))];
    let result = first
        .iter()
        .try_for_each(|message| say_control(message, &mut say))
        .and_then(|()| visit.run(&happened, until, &mut say, opens));
    drop(over);
    // Ends the thread that reads.
    let _ = visit.stream.shutdown(Shutdown::Both);
    // What failed only because it was ended took too long.
    if result.is_err() && Instant::now() >= until { Err(EnrolError::TooSlow) } else { result }
}

type Say<'a> = dyn FnMut(Vec<u8>) -> Result<(), EnrolError> + 'a;

fn say_control(message: &ToWorker, say: &mut Say<'_>) -> Result<(), EnrolError> {
    say(frame::encode_control(message).map_err(|error| EnrolError::Worker(error.to_string()))?)
}

struct Visit {
    stream: TcpStream,
    /// Each lets the thread that hears the registrar read so many bytes, once.
    reads: Sender<usize>,
    /// Whether it was let, and has said nothing since.
    reading: bool,
    unix_ms: i64,
    /// Whether the worker has closed its box and may speak to the registrar.
    open: bool,
    sender: LaneSender,
    receiver: LaneReceiver,
    greeting: Greeting,
    kernel: Box<dyn Fn() -> Option<BoxState>>,
}

impl Visit {
    /// Until there is a statement, or none to be had.
    fn run(
        &mut self,
        happened: &Receiver<Event>,
        until: Instant,
        say: &mut Say<'_>,
        opens: &mut Opens<'_>,
    ) -> Result<Vec<u8>, EnrolError> {
        let (mut end, mut hung_up) = (until, false);
        loop {
            match happened.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Timeout) if hung_up => return Err(EnrolError::HungUp),
                Err(RecvTimeoutError::Timeout) => return Err(EnrolError::TooSlow),
                Err(RecvTimeoutError::Disconnected) | Ok(Event::WorkerGone) => {
                    return Err(EnrolError::Worker("it ended by itself".to_owned()));
                }
                // The statement may have been the last it said.
                Ok(Event::RegistrarGone) => {
                    hung_up = true;
                    end = end.min(Instant::now() + LAST_WORDS);
                }
                Ok(Event::Registrar(bytes)) => {
                    self.reading = false;
                    self.sender.push(&bytes);
                    self.pass_on(say)?;
                }
                Ok(Event::Worker(frame)) => {
                    if let Some(statement) = self.heard(frame, say, opens)? {
                        return Ok(statement);
                    }
                }
            }
        }
    }

    /// Lets as many bytes of the registrar's through as the worker takes, and has as many more read as there is room for.
    fn pass_on(&mut self, say: &mut Say<'_>) -> Result<(), EnrolError> {
        while let Some(chunk) = self.sender.next_chunk() {
            if let Ok(bytes) = frame::encode_data(LANE, &chunk) {
                say(bytes)?;
            }
        }
        let room = self.sender.room().min(READ_AT_ONCE);
        if self.open && !self.reading && room > 0 {
            // Fails when that thread has ended, and then it has said so.
            self.reading = self.reads.send(room).is_ok();
        }
        Ok(())
    }

    /// `Some`: the statement.
    fn heard(
        &mut self,
        frame: Frame<FromWorker>,
        say: &mut Say<'_>,
        opens: &mut Opens<'_>,
    ) -> Result<Option<Vec<u8>>, EnrolError> {
        let confused = |error: &dyn std::fmt::Display| EnrolError::Worker(error.to_string());
        if self.greeting.admit(&frame).map_err(|error| confused(&error))? {
            return Ok(None);
        }
        let message = match frame {
            Frame::Data { .. } | Frame::Credit { .. } if !self.open => {
                return Err(EnrolError::Worker("it speaks before its box is closed".to_owned()));
            }
            Frame::Data { bytes, .. } => {
                self.receiver.arrived(bytes.len()).map_err(|error| confused(&error))?;
                self.stream.write_all(&bytes).map_err(|_| EnrolError::HungUp)?;
                if let Some(credit) = self.receiver.taken(bytes.len()) {
                    say(frame::encode_credit(LANE, credit))?;
                }
                return Ok(None);
            }
            Frame::Credit { bytes, .. } => {
                self.sender.granted(bytes).map_err(|error| confused(&error))?;
                self.pass_on(say)?;
                return Ok(None);
            }
            Frame::Control(message) => message,
        };
        match message {
            FromWorker::Confined(_) if !self.open => {
                if let Some(why) = stands_open((self.kernel)().as_ref()) {
                    return Err(EnrolError::Worker(why.to_owned()));
                }
                self.open = true;
                say_control(&ToWorker::OpenLane { lane: LANE, known_key: None, unix_ms: self.unix_ms }, say)?;
                self.pass_on(say)?;
                Ok(None)
            }
            FromWorker::Challenge { credential, secret } => {
                let secret = opens(&credential, &secret).map_err(EnrolError::Tpm)?;
                say_control(&ToWorker::Activated { secret }, say)?;
                Ok(None)
            }
            FromWorker::Enrolled { statement } if statement.len() <= MAX_PART => Ok(Some(statement)),
            FromWorker::LaneEnded { why, .. } => Err(EnrolError::Refused(words(why))),
            FromWorker::Failed(failure) => Err(EnrolError::Worker(format!("{failure:?}"))),
            _ => Ok(None),
        }
    }
}

fn words(why: LaneEnd) -> String {
    let text = match why {
        LaneEnd::ProofOfWorkTooHard { asked } => format!("the registrar asks for a proof of work of {asked} bits"),
        LaneEnd::Untrusted(text) | LaneEnd::Protocol(text) => text,
        LaneEnd::Silent => "the registrar is silent".to_owned(),
    };
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
}

fn hear_worker(mut reader: impl Read, events: &SyncSender<Event>) {
    let mut decoder = Decoder::<FromWorker>::new();
    let mut buffer = vec![0; READ_AT_ONCE];
    loop {
        match reader.read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Ok(length) if length > 0 => decoder.push(buffer.get(..length).unwrap_or_default()),
            _ => break,
        }
        loop {
            match decoder.next() {
                Ok(Some(frame)) => {
                    if events.send(Event::Worker(frame)).is_err() {
                        return;
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    let _ = events.send(Event::WorkerGone);
                    return;
                }
            }
        }
    }
    let _ = events.send(Event::WorkerGone);
}

/// Reads once for each number that comes, and no more than that.
fn hear_registrar(mut stream: TcpStream, permitted: &Receiver<usize>, events: &SyncSender<Event>) {
    let mut buffer = vec![0; READ_AT_ONCE];
    for room in permitted {
        let Ok(length) = stream.read(buffer.get_mut(..room).unwrap_or_default()) else { break };
        let bytes = buffer.get(..length).unwrap_or_default().to_vec();
        if length == 0 || events.send(Event::Registrar(bytes)).is_err() {
            break;
        }
    }
    let _ = events.send(Event::RegistrarGone);
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
