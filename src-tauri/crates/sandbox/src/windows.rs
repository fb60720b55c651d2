//! The box on Windows: the pipe is standard input and output, the model a third handle whose value stands in the environment.
//!
//! - [`selftest`] finds out which walls work here, [`crate::mode`] decides; [`start`] puts a process into them: [`job`], [`mitigation`], and
//!   either [`container`] or [`token`]. What stands is asked of the system before the process makes its first step, and whenever it is shown.
//! - [`firewall`]: the one rule that an owner can ask for.
//! - [`console`]: the terminal of a program that has none of its own.
//!
//! What no real Windows has confirmed yet stands in `docs/windows.md`.
#![expect(unsafe_code, reason = "Windows' own functions are unsafe ones")]

mod console;
mod container;
pub(crate) mod firewall;
mod job;
mod mitigation;
mod program;
pub(crate) mod selftest;
mod sid;
mod start;
mod token;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::windows::ffi::OsStringExt as _;
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::os::windows::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;

use ::windows::Win32::Foundation::{HANDLE, WAIT_OBJECT_0};
use ::windows::Win32::System::Threading::{GetExitCodeProcess, INFINITE, WaitForSingleObject};

use crate::child::{Child, End};
use crate::log::Log;
use crate::mode::{Mode, Seen};
use crate::walls::{ConfineError, ListedCall, Serving, Walls};
use crate::{Channel, EnterError, Spawn, StartError};
use start::{Ends, Stopped};

pub(crate) use console::{echo_off, reach_terminal};
pub(crate) use program::{Held, hold};

/// The reading half of a channel.
pub type Reader = PipeReader;
/// The writing half.
pub type Writer = PipeWriter;
/// Open as long as anybody may want to end the process; so its meaning never changes. With the last of them the job is closed, and what
/// still runs in it ends.
pub(crate) struct Handle {
    process: OwnedHandle,
    job: job::Job,
    mode: Mode,
}

/// Where the child finds the value of the model's handle.
const MODEL: &str = "CHRYSALIS_MODEL_HANDLE";
const PROCESS_QUERY_LIMITED_INFORMATION: u32 = 0x1000;
/// What Windows' error reporting is told: not to take the heap along.
const WER_FAULT_REPORTING_FLAG_NOHEAP: u32 = 1;
/// And not to be called at all.
const SEM_NOGPFAULTERRORBOX: u32 = 2;
/// A worker may have this much memory at least, in bytes, however little is free: less is not worth starting it.
const LEAST_MEMORY: u64 = 2 << 30;

#[link(name = "kernel32")]
unsafe extern "system" {
    fn TerminateProcess(process: RawHandle, exit_code: u32) -> i32;
    fn OpenProcess(access: u32, inherit: i32, pid: u32) -> RawHandle;
    fn K32GetProcessMemoryInfo(process: RawHandle, counters: *mut ProcessMemoryCounters, size: u32) -> i32;
    fn GlobalMemoryStatusEx(status: *mut MemoryStatus) -> i32;
    fn WerSetFlags(flags: u32) -> i32;
    fn SetErrorMode(mode: u32) -> u32;
}

/// `PROCESS_MEMORY_COUNTERS` of Windows.
#[derive(Default)]
#[repr(C)]
struct ProcessMemoryCounters {
    size: u32,
    page_faults: u32,
    most_working_set: usize,
    working_set: usize,
    /// Quotas and page file, which nobody asks for here.
    rest: [usize; 6],
}

/// `MEMORYSTATUSEX` of Windows.
#[derive(Default)]
#[repr(C)]
struct MemoryStatus {
    size: u32,
    load: u32,
    total: u64,
    available: u64,
    /// Page file and address space, which nobody asks for here.
    rest: [u64; 5],
}

/// Starts it in the best walls that work here. A choice that was kept in a file, and by which nothing starts any more, is made anew, once.
pub(crate) fn start(spawn: &Spawn, kept: Option<&Path>) -> Result<(Child, Channel), StartError> {
    let failed = |source| StartError::Program { program: spawn.program.path().to_owned(), source };
    let choose = || selftest::choose(&spawn.program, kept).map_err(|why| StartError::Walls { why });
    let told = |stopped| match stopped {
        Stopped::Resources(error) => StartError::Resources(error),
        Stopped::Step { step: start::BEGIN, source } => failed(source),
        other => StartError::Walls { why: other.to_string() },
    };
    let first = start_in(spawn, choose()?);
    match (first, kept) {
        (Err(Stopped::Step { .. } | Stopped::Walls(_)), Some(file)) => {
            let _ = std::fs::remove_file(file);
            start_in(spawn, choose()?).map_err(told)
        }
        (first, _) => first.map_err(told),
    }
}

/// Starts it in these walls or not at all.
fn start_in(spawn: &Spawn, mode: Mode) -> Result<(Child, Channel), Stopped> {
    let resources = Stopped::Resources;
    let (reads, writer) = io::pipe().map_err(resources)?;
    let (reader, writes) = io::pipe().map_err(resources)?;
    let (written, logs) = io::pipe().map_err(resources)?;
    let memory = available_memory().unwrap_or(LEAST_MEMORY).max(LEAST_MEMORY);
    let ends = Ends { reads, writes, logs };
    let started = start::start(spawn, &ends, mode, memory)?;
    // The child's; else we would never see the end of the pipes.
    drop(ends);
    let handle = Arc::new(Handle { process: started.process, job: started.job, mode });
    let (log, end) = (Log::default(), Arc::new(End::default()));
    let (filled, ended, kept) = (log.clone(), Arc::clone(&end), Arc::clone(&handle));
    let threads = (|| {
        std::thread::Builder::new()
            .name("box-keeper".to_owned())
            .spawn(move || ended.reached(wait(&kept.process).into()))?;
        std::thread::Builder::new().name("box-log".to_owned()).spawn(move || filled.fill(written))
    })();
    if let Err(error) = threads {
        kill(&handle);
        return Err(Stopped::Resources(error));
    }
    Ok((Child::new(started.pid, handle, end, log), Channel { reader, writer }))
}

fn wait(process: &OwnedHandle) -> ExitStatus {
    let mut code = u32::MAX;
    // SAFETY: the handle is open, and the place for the result is ours.
    unsafe {
        if WaitForSingleObject(handle(process), INFINITE) == WAIT_OBJECT_0 {
            let _ = GetExitCodeProcess(handle(process), &raw mut code);
        }
    }
    ExitStatus::from_raw(code)
}

/// Windows' own folder, as Windows says: the environment is made by whoever started us.
fn system_folder() -> PathBuf {
    use ::windows::Win32::System::SystemInformation::GetSystemWindowsDirectoryW;
    let mut text = [0; 260];
    // SAFETY: the place for the result is ours, and its length goes along.
    let length = unsafe { GetSystemWindowsDirectoryW(Some(&mut text)) } as usize;
    match text.get(..length) {
        Some(found) if length > 0 => OsString::from_wide(found).into(),
        _ => "C:\\Windows".into(),
    }
}

/// For a call while the owner of the handle lives.
fn handle(object: &OwnedHandle) -> HANDLE {
    HANDLE(object.as_raw_handle())
}

/// What the system says of a process's walls.
fn seen(process: HANDLE, job: &job::Job) -> Seen {
    Seen { in_job: job.holds(process), job: job.limits(), ..facts(process) }
}

/// The same without the job.
fn facts(process: HANDLE) -> Seen {
    let token::Facts { app_container, capabilities, integrity, restricting, privileges } = token::facts(process);
    Seen {
        app_container,
        capabilities,
        integrity,
        restricting,
        privileges,
        mitigations: mitigation::of(process),
        ..Seen::default()
    }
}

/// What Windows says of the walls of a process that is known by its number alone; `None` when it is gone. Limits of its job are told only to
/// whoever made that, see [`Child::seen`].
pub fn seen_of(pid: u32) -> Option<Seen> {
    use ::windows::Win32::System::JobObjects::IsProcessInJob;
    use ::windows::Win32::System::Threading::{OpenProcess, PROCESS_QUERY_INFORMATION};
    // SAFETY: no pointer is passed. A process that is gone has no handle.
    let opened = unsafe { OpenProcess(PROCESS_QUERY_INFORMATION, false, pid) }.ok()?;
    // SAFETY: it was just opened for us, and nobody else closes it.
    let process = unsafe { OwnedHandle::from_raw_handle(opened.0) };
    let mut inside = ::windows::core::BOOL::default();
    // SAFETY: the handle is open, and the place for the result is ours.
    let told = unsafe { IsProcessInJob(handle(&process), None, &raw mut inside) };
    let job = None;
    Some(Seen { in_job: told.ok().map(|()| inside.as_bool()), job, ..facts(handle(&process)) })
}

impl Child {
    /// Which walls it was put into.
    pub fn mode(&self) -> Mode {
        self.handle().mode
    }

    /// What Windows says of its walls now; of a process that is gone that is little.
    pub fn seen(&self) -> Seen {
        let known = self.handle();
        seen(handle(&known.process), &known.job)
    }
}

pub(crate) fn inherited() -> Result<(Channel, File), EnterError> {
    let missing = EnterError::Missing { what: "the model" };
    let value: usize = std::env::var(MODEL).ok().and_then(|text| text.parse().ok()).ok_or(missing)?;
    // Whoever asks again must not become another owner of the same handle.
    // SAFETY: this is called before there is another thread, see `crate::inherited`.
    unsafe { std::env::remove_var(MODEL) };
    let reader = io::stdin().as_handle().try_clone_to_owned().map_err(EnterError::System)?;
    let writer = io::stdout().as_handle().try_clone_to_owned().map_err(EnterError::System)?;
    // SAFETY: our parent made this handle inheritable for us and named it to us alone.
    let model = unsafe { File::from_raw_handle(value as RawHandle) };
    if model.metadata().is_ok_and(|facts| facts.is_file()) {
        Ok((Channel { reader: reader.into(), writer: writer.into() }, model))
    } else {
        // Whatever the number means, it is not ours to close.
        std::mem::forget(model);
        Err(EnterError::Missing { what: "the model" })
    }
}

/// Windows' walls stand around a process from its first instruction on; there is nothing to close from inside.
#[expect(clippy::unnecessary_wraps, reason = "the interface of both systems")]
pub(crate) fn confine(_: Option<u64>) -> Result<Walls, ConfineError> {
    Ok(Walls::default())
}

/// There are none on Windows: the job has the limits.
pub(crate) struct Group;

/// See [`Group`].
pub(crate) fn limit(_: u32, _: &crate::Share) -> Result<Group, crate::GroupError> {
    Err(crate::GroupError::None)
}

/// What Windows says of them is asked by other words, see `seen_of`.
pub(crate) fn box_state(_: u32) -> Option<crate::BoxState> {
    None
}

/// There is no such list.
pub(crate) fn listed_calls() -> Vec<ListedCall> {
    Vec::new()
}

/// Nor to narrow.
#[expect(clippy::unnecessary_wraps, reason = "the interface of both systems")]
pub(crate) fn seal(_: &mut Walls, _: Serving) -> Result<(), ConfineError> {
    Ok(())
}

pub(crate) fn kill(handle: &Handle) {
    handle.job.end();
    terminate(&handle.process);
}

fn terminate(process: &OwnedHandle) {
    // SAFETY: the handle is open. Fails when the process is gone already, which is what is wanted.
    let _ = unsafe { TerminateProcess(process.as_raw_handle(), 1) };
}

pub(crate) fn signal(_: ExitStatus) -> Option<i32> {
    None
}

/// What of it is in the machine's memory now.
pub(crate) fn memory(pid: u32) -> Option<u64> {
    // SAFETY: no pointer is passed. A process that is gone has no handle.
    let process = unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, pid) };
    if process.is_null() {
        return None;
    }
    // SAFETY: it was just opened for us, and nobody else closes it.
    let process = unsafe { OwnedHandle::from_raw_handle(process) };
    let size = u32::try_from(size_of::<ProcessMemoryCounters>()).ok()?;
    let mut counters = ProcessMemoryCounters { size, ..ProcessMemoryCounters::default() };
    // SAFETY: the handle is open, and the call writes no more than the size it is told.
    let known = unsafe { K32GetProcessMemoryInfo(process.as_raw_handle(), &raw mut counters, size) };
    (known != 0).then_some(counters.working_set as u64)
}

pub(crate) fn keep_memory_private() -> io::Result<()> {
    // SAFETY: numbers go in and come out.
    unsafe {
        // Modes add up: what was set before stays.
        let before = SetErrorMode(SEM_NOGPFAULTERRORBOX);
        SetErrorMode(before | SEM_NOGPFAULTERRORBOX);
    }
    // SAFETY: a number goes in and comes out.
    let result = unsafe { WerSetFlags(WER_FAULT_REPORTING_FLAG_NOHEAP) };
    if result < 0 { Err(io::Error::other(format!("error reporting answered {result:#x}"))) } else { Ok(()) }
}

pub(crate) fn available_memory() -> Option<u64> {
    let size = u32::try_from(size_of::<MemoryStatus>()).ok()?;
    let mut status = MemoryStatus { size, ..MemoryStatus::default() };
    // SAFETY: the call writes no more than the size it is told.
    let known = unsafe { GlobalMemoryStatusEx(&raw mut status) };
    (known != 0).then_some(status.available)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Program;
    use crate::mode::{Attempt, Graphics, Lack, Outcome};

    /// The probe of the tests beside this program.
    fn probe() -> Program {
        let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let programs = files.filter(|path| path.extension().is_some_and(|end| end == "exe"));
        let named = programs.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("probe-"));
        let newest = named.max_by_key(|path| path.metadata().unwrap().modified().unwrap());
        Program::open(&newest.expect("the probe is built with the tests")).unwrap()
    }

    fn sleeper() -> Spawn {
        let program = probe();
        Spawn { model: File::open(program.path()).unwrap(), program, args: vec!["sleep".into()] }
    }

    /// Wine lets a restricted token be made and then knows nothing of it: just what must not be believed.
    #[test]
    fn walls_that_the_system_does_not_confirm_start_nothing() {
        let mode = Mode::Restricted { firewall: false };
        match start_in(&sleeper(), mode) {
            Ok((child, _channel)) => {
                assert!(!selftest::is_wine(), "Wine has no such walls");
                assert_eq!(child.seen().lacks(mode), []);
                child.kill();
            }
            Err(Stopped::Walls(lacks)) => {
                assert!(lacks.contains(&Lack::LowIntegrity) && !lacks.contains(&Lack::Job), "{lacks:?}");
                assert!(selftest::is_wine(), "Windows does not confirm what it was asked for: {lacks:?}");
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_system_without_app_containers_says_so() {
        match start_in(&sleeper(), Mode::AppContainer { graphics: Graphics::Processor }) {
            Ok((child, _channel)) => {
                assert!(!selftest::is_wine());
                child.kill();
            }
            Err(error) => assert!(error.to_string().contains("this system has no AppContainers"), "{error}"),
        }
    }

    /// What looks around must be able to get through where nothing stops it, or its "refused" would mean nothing.
    #[test]
    fn where_there_are_no_walls_everything_is_reached() {
        let look = selftest::trial(&probe(), Mode::Wine).unwrap();
        for attempt in Attempt::ALL {
            let outcome = look.outcome(attempt);
            assert!(outcome == Outcome::Reached || attempt == Attempt::Network, "{attempt:?} was {outcome:?}");
        }
        assert_eq!(look.cards.len(), 1);
        let nothing = selftest::trial(&Program::open(&std::env::current_exe().unwrap()).unwrap(), Mode::Wine);
        assert!(nothing.unwrap_err().contains("what the worker says"), "another program's output is no report");
    }

    #[test]
    fn a_job_is_made_with_its_limits() {
        let job = job::Job::new(3 << 30).unwrap();
        let limits = job.limits().unwrap();
        // Wine takes the limits and does not tell them.
        if !selftest::is_wine() {
            assert_eq!((limits.kill_on_close, limits.memory, limits.processes), (true, Some(3 << 30), Some(1)));
            assert!(limits.closed_desktop);
        }
        // SAFETY: no pointer is passed.
        let own = unsafe { ::windows::Win32::System::Threading::GetCurrentProcess() };
        assert_eq!(job.holds(own), Some(false));
    }
}
