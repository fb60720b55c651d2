//! The box on Windows: the pipe is standard input and output, the model a third handle whose value stands in the environment.
#![expect(unsafe_code, reason = "a handle is handed on by value, and only unsafe functions take that")]

mod console;

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::os::windows::process::CommandExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use crate::child::{Child, End};
use crate::log::Log;
use crate::walls::{ConfineError, ListedCall, Serving, Walls};
use crate::{Channel, EnterError, Exit, Spawn, StartError};

pub(crate) use console::{echo_off, reach_terminal};

/// The reading half of a channel.
pub type Reader = PipeReader;
/// The writing half.
pub type Writer = PipeWriter;
/// Open as long as anybody may want to end the process; so its meaning never changes.
pub(crate) struct Handle(Mutex<OwnedHandle>);

/// Where the child finds the value of the model's handle.
const MODEL: &str = "CHRYSALIS_MODEL_HANDLE";
/// Without these, parts of Windows do not load into a process.
const NEEDED: [&str; 2] = ["SystemRoot", "SystemDrive"];
const HANDLE_FLAG_INHERIT: u32 = 1;
const PROCESS_QUERY_LIMITED_INFORMATION: u32 = 0x1000;
/// What Windows' error reporting is told: not to take the heap along.
const WER_FAULT_REPORTING_FLAG_NOHEAP: u32 = 1;
/// And not to be called at all.
const SEM_NOGPFAULTERRORBOX: u32 = 2;
const CREATE_NO_WINDOW: u32 = 0x0800_0000;
const CREATE_NEW_PROCESS_GROUP: u32 = 0x0000_0200;

#[link(name = "kernel32")]
unsafe extern "system" {
    fn SetHandleInformation(object: RawHandle, mask: u32, flags: u32) -> i32;
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

pub(crate) fn start(spawn: Spawn) -> Result<(Child, Channel), StartError> {
    let resources = StartError::Resources;
    let (child_reads, writer) = io::pipe().map_err(resources)?;
    let (reader, child_writes) = io::pipe().map_err(resources)?;
    let (written, child_logs) = io::pipe().map_err(resources)?;
    inherit(&spawn.model, true).map_err(resources)?;
    let mut command = Command::new(&spawn.program);
    command
        .args(&spawn.args)
        .env_clear()
        .envs(NEEDED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .env(MODEL, (spawn.model.as_raw_handle() as usize).to_string())
        .creation_flags(CREATE_NO_WINDOW | CREATE_NEW_PROCESS_GROUP)
        .stdin(Stdio::from(child_reads))
        .stdout(Stdio::from(child_writes))
        .stderr(Stdio::from(child_logs));
    let spawned = command.spawn();
    // The child's ends; else we would never see the end of the pipes.
    drop(command);
    // Another program of ours started meanwhile would have got it too, to read; no longer.
    let _ = inherit(&spawn.model, false);
    let mut child = spawned.map_err(|source| StartError::Program { program: spawn.program.clone(), source })?;
    let handle = child.as_handle().try_clone_to_owned().map_err(resources)?;
    let (log, end) = (Log::default(), Arc::new(End::default()));
    let (filled, ended, pid) = (log.clone(), Arc::clone(&end), child.id());
    std::thread::Builder::new()
        .name("box-keeper".to_owned())
        .spawn(move || ended.reached(child.wait().map_or(Exit { code: None, signal: None }, Exit::from)))
        .map_err(resources)?;
    std::thread::Builder::new().name("box-log".to_owned()).spawn(move || filled.fill(written)).map_err(resources)?;
    Ok((Child::new(pid, Handle(Mutex::new(handle)), end, log), Channel { reader, writer }))
}

fn inherit(file: &File, inheritable: bool) -> io::Result<()> {
    let flags = if inheritable { HANDLE_FLAG_INHERIT } else { 0 };
    // SAFETY: the handle is open for as long as `file` is borrowed; the call touches no memory of ours.
    let done = unsafe { SetHandleInformation(file.as_raw_handle(), HANDLE_FLAG_INHERIT, flags) };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

pub(crate) fn inherited() -> Result<(Channel, File), EnterError> {
    let missing = EnterError::Missing { what: "the model" };
    let value: usize = std::env::var(MODEL).ok().and_then(|text| text.parse().ok()).ok_or(missing)?;
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

/// No walls yet.
pub(crate) fn confine(_: Option<u64>) -> Result<Walls, ConfineError> {
    Ok(Walls::default())
}

/// There are no walls to be told of.
pub(crate) fn box_state(_: u32) -> Option<crate::BoxState> {
    None
}

/// There is no such list.
pub(crate) fn listed_calls() -> Vec<ListedCall> {
    Vec::new()
}

/// Nothing to narrow.
pub(crate) fn seal(_: &mut Walls, _: Serving) -> Result<(), ConfineError> {
    Ok(())
}

pub(crate) fn kill(handle: &Handle) {
    let handle = handle.0.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the handle is open. Fails when the process is gone already, which is what is wanted.
    let _ = unsafe { TerminateProcess(handle.as_raw_handle(), 1) };
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
