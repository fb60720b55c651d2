//! A worker and a registrar that say what a test wants.

use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use link::message::Confinement;

use super::*;

/// Far more than the system keeps of a connection that nobody reads.
const FLOOD: usize = 256 * 1024 * 1024;

fn enrolment() -> Enrolment {
    Enrolment {
        ek_certificates: Vec::new(),
        ek_public: Vec::new(),
        ak_public: Vec::new(),
        audience: [1; 32],
        registrar: [2; 32],
        max_pow_difficulty: 28,
        unix_ms: 0,
    }
}

fn sealed() -> BoxState {
    BoxState {
        filtered: Some(true),
        filters: Some(6),
        no_new_privileges: Some(true),
        capabilities: Some(0),
        all_threads: Some(true),
        ..BoxState::default()
    }
}

/// A worker's end of its pipe.
struct Played {
    pipe: UnixStream,
    decoder: Decoder<ToWorker>,
}

impl Played {
    fn say(&mut self, message: &FromWorker) {
        self.put(&frame::encode_control(message).unwrap());
    }

    /// Whoever is gone hears nothing.
    fn put(&mut self, bytes: &[u8]) {
        let _ = self.pipe.write_all(bytes);
    }

    /// What it is told next; `None`: nothing any more.
    fn hear(&mut self) -> Option<Frame<ToWorker>> {
        let mut buffer = vec![0; READ_AT_ONCE];
        loop {
            if let Some(frame) = self.decoder.next().unwrap() {
                return Some(frame);
            }
            let length = self.pipe.read(&mut buffer).ok().filter(|length| *length > 0)?;
            self.decoder.push(&buffer[..length]);
        }
    }

    /// Greets, says that its box is closed, and waits for the lane. `false`: there is none to be had.
    fn is_let(&mut self) -> bool {
        self.say(&FromWorker::Hello { build: BUILD.to_owned() });
        self.say(&FromWorker::Confined(Box::<Confinement>::default()));
        loop {
            match self.hear() {
                Some(Frame::Control(ToWorker::OpenLane { .. })) => return true,
                Some(Frame::Control(_)) => {}
                Some(frame) => panic!("{frame:?} before the lane"),
                None => return false,
            }
        }
    }
}

/// Enrols with this worker, of which the kernel says that, at this registrar, for so long at most.
fn meet(
    state: BoxState,
    patience: Duration,
    worker: impl FnOnce(Played) + Send + 'static,
    registrar: impl FnOnce(TcpStream) + Send + 'static,
) -> Result<Vec<u8>, EnrolError> {
    meet_timed(state, patience, worker, registrar).result
}

struct Met {
    result: Result<Vec<u8>, EnrolError>,
    took: Duration,
}

fn meet_timed(
    state: BoxState,
    patience: Duration,
    worker: impl FnOnce(Played) + Send + 'static,
    registrar: impl FnOnce(TcpStream) + Send + 'static,
) -> Met {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let accepted = listener.accept().unwrap().0;
    let ending = ours.try_clone().unwrap();
    let playing = std::thread::spawn(move || worker(Played { pipe: theirs, decoder: Decoder::new() }));
    let answering = std::thread::spawn(move || registrar(accepted));
    let ended = ours.try_clone().unwrap();
    let party = Worker {
        reader: ours.try_clone().unwrap(),
        writer: ours,
        kernel: Box::new(move || Some(state.clone())),
        end: Box::new(move || drop(ending.shutdown(Shutdown::Both))),
    };
    let begin = Instant::now();
    let result = converse(party, stream, enrolment(), patience, &mut |_, _| Err("there is none".to_owned()));
    let took = begin.elapsed();
    let _ = ended.shutdown(Shutdown::Both);
    playing.join().unwrap();
    answering.join().unwrap();
    Met { result, took }
}

#[test]
fn a_registrar_that_floods_is_read_only_as_far_as_the_worker_takes_what_it_says() {
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    // It works on its proof and grants nothing.
    let worker = |mut played: Played| {
        assert!(played.is_let());
        while played.hear().is_some() {}
    };
    let registrar = move |mut stream: TcpStream| {
        let buffer = vec![7; 1024 * 1024];
        while counted.load(Ordering::Relaxed) < FLOOD {
            match stream.write(&buffer) {
                Ok(length) => counted.fetch_add(length, Ordering::Relaxed),
                Err(_) => return,
            };
        }
    };
    let result = meet(sealed(), Duration::from_secs(3), worker, registrar);
    assert!(matches!(result, Err(EnrolError::TooSlow)), "{result:?}");
    let taken = taken.load(Ordering::Relaxed);
    assert!(taken < FLOOD / 8, "{taken} bytes are in this process and in the system's buffers");
}

#[test]
fn a_registrar_that_reads_nothing_costs_no_more_than_the_patience() {
    let worker = |mut played: Played| {
        assert!(played.is_let());
        let data = frame::encode_data(LANE, &[3; 16 * 1024]).unwrap();
        let mut credit = link::flow::WINDOW;
        loop {
            while credit < 16 * 1024 {
                match played.hear() {
                    Some(Frame::Credit { bytes, .. }) => credit += bytes,
                    Some(_) => {}
                    None => return,
                }
            }
            if played.pipe.write_all(&data).is_err() {
                return;
            }
            credit -= 16 * 1024;
        }
    };
    let begin = Instant::now();
    let registrar = |stream: TcpStream| {
        std::thread::sleep(Duration::from_secs(8));
        drop(stream);
    };
    let Met { result, took } = meet_timed(sealed(), Duration::from_secs(2), worker, registrar);
    assert!(matches!(result, Err(EnrolError::TooSlow)), "{result:?}");
    assert!(took < Duration::from_secs(6), "{took:?} of {:?}", begin.elapsed());
}

#[test]
fn a_worker_whose_box_the_kernel_calls_open_is_told_of_no_registrar() {
    let half = BoxState { filters: Some(3), ..sealed() };
    let told = Arc::new(AtomicBool::new(false));
    let was_told = Arc::clone(&told);
    let worker = move |mut played: Played| was_told.store(played.is_let(), Ordering::Relaxed);
    let registrar = |mut stream: TcpStream| assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0);
    let result = meet(half, Duration::from_secs(20), worker, registrar);
    assert!(matches!(&result, Err(EnrolError::Worker(why)) if why.contains("not closed for good")), "{result:?}");
    assert!(!told.load(Ordering::Relaxed));
}

#[test]
fn a_worker_that_speaks_to_the_registrar_before_its_box_is_closed_is_given_up() {
    let worker = |mut played: Played| {
        played.say(&FromWorker::Hello { build: BUILD.to_owned() });
        played.put(&frame::encode_data(LANE, b"let me out").unwrap());
        while played.hear().is_some() {}
    };
    let registrar = |mut stream: TcpStream| assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0);
    let result = meet(sealed(), Duration::from_secs(20), worker, registrar);
    assert!(matches!(&result, Err(EnrolError::Worker(why)) if why.contains("before its box is closed")), "{result:?}");
}

#[test]
fn what_the_registrar_says_reaches_the_worker_whole_and_the_statement_comes_back() {
    let said: Vec<u8> = (0..600_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let sent = said.clone();
    let worker = move |mut played: Played| {
        assert!(played.is_let());
        let mut heard = Vec::new();
        while heard.len() < said.len() {
            match played.hear() {
                Some(Frame::Data { bytes, .. }) => {
                    played.put(&frame::encode_credit(LANE, u32::try_from(bytes.len()).unwrap()));
                    heard.extend(bytes);
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(heard == said);
        played.put(&frame::encode_data(LANE, b"thanks").unwrap());
        // The registrar has hung up by then.
        std::thread::sleep(Duration::from_millis(300));
        played.say(&FromWorker::Enrolled { statement: vec![9; 10] });
        while played.hear().is_some() {}
    };
    let registrar = move |mut stream: TcpStream| {
        stream.write_all(&sent).unwrap();
        let mut thanks = [0; 6];
        stream.read_exact(&mut thanks).unwrap();
        assert_eq!(&thanks, b"thanks");
    };
    assert_eq!(meet(sealed(), Duration::from_mins(1), worker, registrar).unwrap(), [9; 10]);
}
