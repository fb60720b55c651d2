//! One enrolment of a TPM at a registrar: a worker process that does only that, and the bytes between it and the registrar.
//!
//! The TLS ends in the worker, as everywhere. What the TPM does is the caller's. Blocks; for a thread of its own.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use link::flow::{LaneReceiver, LaneSender};
use link::frame::{Decoder, Frame};
use link::greeting::Greeting;
use link::message::LaneEnd;
use link::proof::{Enrolment, MAX_PART};
use link::{BUILD, FromWorker, LaneId, ToWorker, frame};
use sandbox::{Channel, Child, Program, Reader, Spawn};

/// How long a registrar may take to accept a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long the whole may take, proof of work and a slow TPM included.
const PATIENCE: Duration = Duration::from_mins(2);
const READ_AT_ONCE: usize = 16 * 1024;
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
    let mut stream = TcpStream::connect_timeout(&registrar, CONNECT_PATIENCE)
        .map_err(|error| EnrolError::Unreachable(registrar, error))?;
    let _ = stream.set_nodelay(true);
    // A worker is not without a file. This one reads nothing of it, so it may be any; its own is there for sure.
    let model = File::open(worker.path()).map_err(|error| failed(&error))?;
    let spawn = Spawn { program: worker.clone(), args: Vec::new(), model };
    let (child, channel_of_worker) = spawn.start().map_err(|error| failed(&error))?;
    let _guard = Guard(child);
    let Channel { reader, mut writer } = channel_of_worker;
    let (events, happened) = channel();
    let (from_worker, from_registrar) = (events.clone(), events);
    let reading = stream.try_clone().map_err(|error| failed(&error))?;
    thread("enrol-worker", move || hear_worker(reader, &from_worker)).map_err(|error| failed(&error))?;
    thread("enrol-registrar", move || hear_registrar(reading, &from_registrar)).map_err(|error| failed(&error))?;

    let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    enrolment.unix_ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
    let unix_ms = enrolment.unix_ms;
    let first = [
        ToWorker::Hello { build: BUILD.to_owned() },
        ToWorker::Enrol(Box::new(enrolment)),
        ToWorker::OpenLane { lane: LANE, known_key: None, unix_ms },
    ];
    let mut visit = Visit { sender: LaneSender::new(), receiver: LaneReceiver::new(), greeting: Greeting::new() };
    let mut say = |bytes: Vec<u8>| writer.write_all(&bytes).map_err(|error| EnrolError::Worker(error.to_string()));
    for message in &first {
        say(frame::encode_control(message).map_err(|error| EnrolError::Worker(error.to_string()))?)?;
    }
    let until = Instant::now() + PATIENCE;
    let result = loop {
        match happened.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Err(RecvTimeoutError::Timeout) => break Err(EnrolError::TooSlow),
            Err(RecvTimeoutError::Disconnected) | Ok(Event::WorkerGone) => {
                break Err(EnrolError::Worker("it ended by itself".to_owned()));
            }
            Ok(Event::RegistrarGone) => break Err(EnrolError::HungUp),
            Ok(Event::Registrar(bytes)) => {
                visit.sender.push(&bytes);
                visit.pass_on(&mut say)?;
            }
            Ok(Event::Worker(frame)) => {
                if let Some(result) = visit.heard(frame, &mut stream, &mut say, opens)? {
                    break result;
                }
            }
        }
    };
    // Ends the thread that reads.
    let _ = stream.shutdown(Shutdown::Both);
    result
}

type Say<'a> = dyn FnMut(Vec<u8>) -> Result<(), EnrolError> + 'a;

struct Visit {
    sender: LaneSender,
    receiver: LaneReceiver,
    greeting: Greeting,
}

impl Visit {
    /// Lets as many bytes of the registrar's through as the worker takes.
    fn pass_on(&mut self, say: &mut Say<'_>) -> Result<(), EnrolError> {
        while let Some(chunk) = self.sender.next_chunk() {
            if let Ok(bytes) = frame::encode_data(LANE, &chunk) {
                say(bytes)?;
            }
        }
        Ok(())
    }

    /// `Some`: it is over.
    fn heard(
        &mut self,
        frame: Frame<FromWorker>,
        stream: &mut TcpStream,
        say: &mut Say<'_>,
        opens: &mut Opens<'_>,
    ) -> Result<Option<Result<Vec<u8>, EnrolError>>, EnrolError> {
        let confused = |error: &dyn std::fmt::Display| EnrolError::Worker(error.to_string());
        if self.greeting.admit(&frame).map_err(|error| confused(&error))? {
            return Ok(None);
        }
        let message = match frame {
            Frame::Data { bytes, .. } => {
                self.receiver.arrived(bytes.len()).map_err(|error| confused(&error))?;
                if stream.write_all(&bytes).is_err() {
                    return Ok(Some(Err(EnrolError::HungUp)));
                }
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
        Ok(match message {
            FromWorker::Challenge { credential, secret } => match opens(&credential, &secret) {
                Ok(secret) => {
                    let answer = ToWorker::Activated { secret };
                    say(frame::encode_control(&answer).map_err(|error| confused(&error))?)?;
                    None
                }
                Err(why) => Some(Err(EnrolError::Tpm(why))),
            },
            FromWorker::Enrolled { statement } if statement.len() <= MAX_PART => Some(Ok(statement)),
            FromWorker::LaneEnded { why, .. } => Some(Err(EnrolError::Refused(words(why)))),
            FromWorker::Failed(failure) => Some(Err(EnrolError::Worker(format!("{failure:?}")))),
            _ => None,
        })
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

fn hear_worker(mut reader: Reader, events: &Sender<Event>) {
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

fn hear_registrar(mut stream: TcpStream, events: &Sender<Event>) {
    let mut buffer = vec![0; READ_AT_ONCE];
    while let Ok(length) = stream.read(&mut buffer) {
        let bytes = buffer.get(..length).unwrap_or_default().to_vec();
        if length == 0 || events.send(Event::Registrar(bytes)).is_err() {
            break;
        }
    }
    let _ = events.send(Event::RegistrarGone);
}
