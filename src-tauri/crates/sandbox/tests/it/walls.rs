//! Run under Wine by `cargo xtask bundle windows --check`, and on a real Windows like any test.
#![expect(unsafe_code, reason = "hands a handle on that must not arrive")]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::windows::io::{AsRawHandle as _, RawHandle};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sandbox::mode::Mode;
use sandbox::{Channel, Child, Program, Spawn, StartError};

#[link(name = "kernel32")]
unsafe extern "system" {
    fn SetHandleInformation(object: RawHandle, mask: u32, flags: u32) -> i32;
    fn OpenProcess(access: u32, inherit: i32, pid: u32) -> RawHandle;
    fn TerminateProcess(process: RawHandle, exit_code: u32) -> i32;
    fn WaitForSingleObject(object: RawHandle, milliseconds: u32) -> u32;
}

/// To wait for a process, and to end it.
const SYNCHRONIZE_AND_TERMINATE: u32 = 0x0010_0001;

/// Cargo puts the probe, a test without harness, beside this program.
fn probe() -> Program {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let newest = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "exe"))
        .filter(|path| path.file_name().unwrap().to_str().is_some_and(|name| name.starts_with("probe-")))
        .max_by_key(|path| path.metadata().unwrap().modified().unwrap());
    Program::open(&newest.expect("the probe is built with the tests")).unwrap()
}

fn model() -> File {
    File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap()
}

fn start(words: &[&str]) -> (Child, Channel) {
    let args = words.iter().map(Into::into).collect();
    Spawn { program: probe(), args, model: model() }.start().unwrap()
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_mins(1), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_boxed_process_on_windows_has_the_pipe_and_the_model_and_no_other_handle() {
    let leak = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
    // SAFETY: the handle is open; no memory is touched.
    assert_ne!(unsafe { SetHandleInformation(leak.as_raw_handle(), 1, 1) }, 0);
    let (child, mut channel) = start(&["handles", &(leak.as_raw_handle() as usize).to_string()]);
    let mut report = String::new();
    channel.reader.read_to_string(&mut report).unwrap();
    assert_eq!(child.wait().code, Some(0), "{}", child.log());
    assert!(report.contains("model=true\n"), "{report}");
    assert!(report.contains("writable=false\n"), "{report}");
    assert!(report.contains("leaked=false\n"), "an inheritable handle that was not listed arrived: {report}");
    assert!(report.contains("again=false\n"), "what was taken is not taken twice: {report}");
    // The handle's number was there until it was taken.
    assert!(report.contains("environment=SystemDrive,SystemRoot"), "{report}");
    for theirs in ["CHRYSALIS_MODEL_HANDLE", "PATH", "USERNAME", "APPDATA", "TEMP"] {
        assert!(!report.contains(&format!(",{theirs},")), "{theirs} is in the environment: {report}");
    }
}

#[test]
fn what_is_said_into_the_pipe_on_windows_comes_out_at_the_other_end() {
    let (child, mut channel) = start(&["echo"]);
    channel.writer.write_all(b"hello").unwrap();
    let mut heard = [0; 5];
    channel.reader.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
    assert_eq!(child.ended(), None);
    assert_eq!(child.seen().lacks(child.mode()), []);
    let by_number = sandbox::seen_of(child.pid()).unwrap();
    assert_eq!((by_number.in_job, by_number.integrity), (Some(true), child.seen().integrity));
    drop(channel);
    assert_eq!(child.wait().code, Some(0), "it ends when the pipe does");
}

#[test]
fn a_process_that_is_killed_on_windows_is_gone() {
    let (child, mut channel) = start(&["sleep"]);
    wait_until("its memory is known", || child.memory().is_some_and(|bytes| bytes > 0));
    child.kill();
    assert_eq!(child.wait().code, Some(1));
    assert_eq!(channel.reader.read(&mut [0; 1]).unwrap_or(0), 0, "nobody holds its end of the pipe");
    assert_eq!(child.memory(), None);
    child.kill();
}

#[test]
fn a_child_on_windows_that_writes_a_lot_neither_blocks_nor_fills_memory() {
    let (child, _channel) = start(&["shout"]);
    assert_eq!(child.wait().code, Some(3));
    wait_until("its last words are kept", || child.log().ends_with("last words\n"));
    assert!(child.log().len() <= 16 * 1024);
}

#[test]
fn a_boxed_process_on_windows_ends_with_the_app() {
    let mut app = Command::new(probe().path()).arg("app").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(app.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let sleeper: u32 = line.trim().parse().unwrap();
    // SAFETY: no pointer is passed.
    let process = unsafe { OpenProcess(SYNCHRONIZE_AND_TERMINATE, 0, sleeper) };
    assert!(!process.is_null(), "the sleeper runs");
    // SAFETY: the handle is open until the end of this test.
    let ended = |milliseconds| unsafe { WaitForSingleObject(process, milliseconds) } == 0;
    assert!(!ended(0));
    // Not asked to end anything: it is just gone.
    app.kill().unwrap();
    app.wait().unwrap();
    let with_the_app = ended(60_000);
    // SAFETY: as above. Whoever outlives the app would also outlive this test.
    let _ = unsafe { TerminateProcess(process, 1) };
    assert!(with_the_app, "the sleeper outlived the app");
}

#[test]
fn a_program_that_is_not_there_is_named_on_windows() {
    let Err(error) = Program::open(Path::new("C:\\no\\such\\program.exe")) else { panic!("opened") };
    assert!(matches!(error, StartError::Program { .. }));
    assert!(error.to_string().contains("no\\such"), "{error}");
}

#[test]
fn the_walls_that_were_taken_are_the_ones_that_are_told() {
    let (child, channel) = start(&["echo"]);
    let mode = child.mode();
    assert!(child.seen().lacks(mode).is_empty());
    // Wine has no walls, and is never called anything else.
    let seen = child.seen();
    if seen.app_container != Some(true) && seen.restricting.is_none_or(|names| names == 0) {
        assert_eq!(mode, Mode::Wine);
    }
    drop(channel);
    child.wait();
}
