//! The box on Linux. Wants Linux 5.11 (`CLOSE_RANGE_CLOEXEC`).
#![expect(unsafe_code, reason = "descriptors change owners across exec, and only unsafe functions do that")]

mod calls;
mod confine;
mod files;
mod filter;
mod group;
mod places;
mod program;
mod rooms;
mod rules;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use rustix::fs::{FileType, OFlags};
use rustix::io::FdFlags;
use rustix::process::{DumpableBehavior, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions};
use rustix::termios::{LocalModes, OptionalActions, Termios};

use crate::child::{Child, End};
use crate::log::Log;

use crate::{BoxState, Channel, EnterError, Spawn, StartError};
pub(crate) use confine::{confine, listed_calls, seal};
pub(crate) use group::{Group, limit};
use program::Changed;
pub(crate) use program::{Held, hold};

/// The reading half of a channel.
pub type Reader = UnixStream;
/// The writing half.
pub type Writer = UnixStream;
/// Names the process and never another one, even when its number is given away again.
pub(crate) type Handle = OwnedFd;

const PIPE: i32 = 3;
const MODEL: i32 = 4;
/// First descriptor that the child does not get.
const FIRST_CLOSED: i32 = 5;
/// Away from everything that is moved about.
const ASIDE: i32 = 10;

pub(crate) fn start(spawn: Spawn) -> Result<(Child, Channel), StartError> {
    let resources = StartError::Resources;
    let (ours, theirs) = UnixStream::pair().map_err(resources)?;
    let writer = ours.try_clone().map_err(resources)?;
    let (written, log_writer) = io::pipe().map_err(resources)?;
    let (log, end) = (Log::default(), Arc::new(End::default()));
    let (started, outcome) = sync_channel(1);
    let (filled, ended) = (log.clone(), Arc::clone(&end));
    // The signal at the parent's death comes when the *thread* that forked dies. So the thread that starts the child stays for as
    // long as the child does, and waits for it.
    let keeper = std::thread::Builder::new().name("box-keeper".to_owned()).spawn(move || {
        let spawned = spawn_child(&spawn, &theirs, &log_writer);
        // Else we would never see the end of the pipe and of the log.
        drop((theirs, log_writer));
        match spawned {
            Ok(Ok((mut child, handle))) => {
                let _ = started.send(Ok((child.id(), handle)));
                end_group_with(child.id());
                let exit = loop {
                    match child.wait() {
                        Ok(status) => break status.into(),
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        // Somebody else waited for all children; it is gone.
                        Err(_) => break crate::Exit { code: None, signal: None },
                    }
                };
                ended.reached(exit);
            }
            Ok(Err(Changed((mut child, _)))) => {
                let _ = child.kill();
                let _ = child.wait();
                let program = spawn.program.path().to_owned();
                let _ = started.send(Err(StartError::Changed { program }));
            }
            Err(source) => {
                let program = spawn.program.path().to_owned();
                let _ = started.send(Err(StartError::Program { program, source }));
            }
        }
    });
    keeper.map_err(resources)?;
    std::thread::Builder::new().name("box-log".to_owned()).spawn(move || filled.fill(written)).map_err(resources)?;
    let (pid, handle) = outcome.recv().map_err(|_| resources(io::Error::other("the keeper's thread ended")))??;
    Ok((Child::new(pid, handle, end, log), Channel { reader: ours, writer }))
}

/// Waits until a child has ended, and ends whatever it has started and left in its group. What has ended and was not waited for keeps its number,
/// so the group is still the child's.
fn end_group_with(child: u32) {
    let Some(child) = rustix::process::Pid::from_raw(child.cast_signed()) else { return };
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while matches!(rustix::process::waitid(WaitId::Pid(child), ended), Err(rustix::io::Errno::INTR)) {}
    // Fails when nobody else is there, which is how it should be.
    let _ = rustix::process::kill_process_group(child, Signal::KILL);
}

/// The child as std knows it, and as the kernel names it.
type Spawned = (std::process::Child, Handle);

fn spawn_child(
    spawn: &Spawn,
    pipe: &UnixStream,
    log: &io::PipeWriter,
) -> io::Result<Result<Spawned, Changed<Spawned>>> {
    spawn.program.held.start(spawn.program.measured(), |program| spawn_file(program, spawn, pipe, log))
}

/// `file` names what is started; what the process is told of its name is the program's.
fn spawn_file(file: &Path, spawn: &Spawn, pipe: &UnixStream, log: &io::PipeWriter) -> io::Result<Spawned> {
    let mut command = Command::new(file);
    command
        .arg0(spawn.program.path())
        .args(&spawn.args)
        .env_clear()
        .current_dir("/")
        // A Ctrl-C in the terminal is for the app, which ends the worker politely.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?);
    // std reports a failed exec through a pipe of its own. Were that one of the numbers taken below, the report would be lost; so
    // they are in use while it is made.
    let mut reserved = Vec::new();
    while reserved.last().is_none_or(|file: &File| file.as_raw_fd() < FIRST_CLOSED) {
        reserved.push(File::open("/dev/null")?);
    }
    let parent = rustix::process::getpid();
    let (pipe, model) = (pipe.as_raw_fd(), spawn.model.as_raw_fd());
    let prepare = move || {
        // SAFETY: both descriptors are open in the parent until after the fork, and nothing closed them in the child.
        let (pipe, model) = unsafe { (BorrowedFd::borrow_raw(pipe), BorrowedFd::borrow_raw(model)) };
        enter(parent, pipe, model)
    };
    // SAFETY: `prepare` runs between fork and exec and makes system calls only: no allocation, no lock.
    unsafe { command.pre_exec(prepare) };
    let mut child = command.spawn()?;
    drop(reserved);
    // Not yet waited for, so the number still means our child.
    let handle = rustix::process::Pid::from_raw(child.id().cast_signed())
        .ok_or(rustix::io::Errno::SRCH)
        .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()));
    match handle {
        Ok(handle) => Ok((child, handle)),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error.into())
        }
    }
}

/// In the child, before the program.
fn enter(parent: rustix::process::Pid, pipe: BorrowedFd<'_>, model: BorrowedFd<'_>) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() != Some(parent) {
        // It died before the line above.
        return Err(rustix::io::Errno::SRCH.into());
    }
    rustix::thread::set_no_new_privs(true)?;
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    // Either may have the number that the other is to get.
    let pipe = rustix::io::fcntl_dupfd_cloexec(pipe, ASIDE)?;
    let model = rustix::io::fcntl_dupfd_cloexec(model, ASIDE)?;
    replace(&pipe, PIPE)?;
    replace(&model, MODEL)?;
    // Marked instead of closed, because std still has to report a failed exec.
    close_rest_on_exec()
}

fn replace(from: &OwnedFd, number: i32) -> io::Result<()> {
    // SAFETY: in the child between fork and exec nobody else looks at this number; it is forgotten below, so never closed.
    let mut target = unsafe { OwnedFd::from_raw_fd(number) };
    let outcome = rustix::io::dup2(from, &mut target);
    std::mem::forget(target);
    Ok(outcome?)
}

fn close_rest_on_exec() -> io::Result<()> {
    // SAFETY: takes three numbers and touches no memory.
    let outcome =
        unsafe { libc::syscall(libc::SYS_close_range, FIRST_CLOSED, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

pub(crate) fn inherited() -> Result<(Channel, File), EnterError> {
    let pipe = take(PIPE, FileType::Socket).ok_or(EnterError::Missing { what: "the pipe (descriptor 3)" })?;
    let model = take(MODEL, FileType::RegularFile).ok_or(EnterError::Missing { what: "the model (descriptor 4)" })?;
    let reader = UnixStream::from(pipe);
    let writer = reader.try_clone().map_err(EnterError::System)?;
    Ok((Channel { reader, writer }, File::from(model)))
}

pub(crate) fn keep_memory_private() -> io::Result<()> {
    // Also true of a program that was started with other permissions than its starter's; here against other processes of the user.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // A program that is given every core dump asks for no size, so this alone would not do.
    Ok(rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?)
}

/// Takes a descriptor that came through exec, if it is of this type and, being a file, can't be written.
fn take(number: i32, expected: FileType) -> Option<OwnedFd> {
    // SAFETY: used for questions only, which the system answers with an error if the number means nothing.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    // What this process opened itself has the mark, and so has what was taken by an earlier call. What came through exec can't have it.
    if rustix::io::fcntl_getfd(borrowed).ok()?.contains(FdFlags::CLOEXEC) {
        return None;
    }
    if FileType::from_raw_mode(rustix::fs::fstat(borrowed).ok()?.st_mode) != expected {
        return None;
    }
    let mode = rustix::fs::fcntl_getfl(borrowed).ok()? & OFlags::RWMODE;
    if expected == FileType::RegularFile && mode != OFlags::RDONLY {
        return None;
    }
    rustix::io::fcntl_setfd(borrowed, FdFlags::CLOEXEC).ok()?;
    // SAFETY: it came from our parent for us, and by the mark just set nobody takes it again.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

pub(crate) fn kill(handle: &Handle) {
    // Fails when it is gone already, which is what is wanted.
    let _ = rustix::process::pidfd_send_signal(handle.as_fd(), Signal::KILL);
}

pub(crate) fn signal(status: ExitStatus) -> Option<i32> {
    status.signal()
}

pub(crate) fn memory(pid: u32) -> Option<u64> {
    kilobytes(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS:")
}

/// The kinds of namespaces that a box may have of its own, by the names in `/proc/PID/ns`.
const NAMESPACES: [&str; 5] = ["user", "mnt", "net", "ipc", "uts"];

pub(crate) fn box_state(pid: u32) -> Option<BoxState> {
    let process = std::path::PathBuf::from(format!("/proc/{pid}"));
    let state = BoxState::read(&std::fs::read_to_string(process.join("status")).ok()?);
    // A thread may end while it is looked at.
    let threads = std::fs::read_dir(process.join("task")).ok()?;
    let all_threads = threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("status")).ok())
        .all(|status| BoxState::read(&status) == state);
    let own = |name: &str| std::fs::read_link(format!("/proc/self/ns/{name}")).ok();
    let theirs = |name: &str| std::fs::read_link(process.join("ns").join(name)).ok();
    let mut namespaces = Some(Vec::new());
    for name in NAMESPACES {
        match (own(name), theirs(name)) {
            (Some(own), Some(theirs)) if own == theirs => {}
            (Some(_), Some(_)) => namespaces.iter_mut().for_each(|names| names.push(name)),
            _ => namespaces = None,
        }
    }
    let ours = std::fs::read_to_string("/proc/thread-self/status").map(|status| BoxState::read(&status).filters);
    let limits = std::fs::read_to_string(process.join("limits")).unwrap_or_default();
    let memory = limits.lines().find_map(|line| line.strip_prefix("Max data size"));
    let memory = memory.and_then(|line| line.split_whitespace().next()?.parse().ok());
    Some(BoxState {
        inherited_filters: ours.ok().flatten(),
        all_threads: Some(all_threads),
        namespaces,
        memory,
        group: group::limits_of(pid),
        ..state
    })
}

/// A terminal as it was before; so again when this is dropped.
pub(crate) struct Quiet(Termios);

pub(crate) fn echo_off() -> io::Result<Quiet> {
    let before = rustix::termios::tcgetattr(io::stdin())?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    // The end of the line is still to be seen.
    quiet.local_modes.insert(LocalModes::ECHONL);
    rustix::termios::tcsetattr(io::stdin(), OptionalActions::Now, &quiet)?;
    Ok(Quiet(before))
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing.
        let _ = rustix::termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Who starts a program decides here where its words go.
pub(crate) fn reach_terminal() {}

/// `MemAvailable` and what lies free in the lists of the processors: since Linux 6.7 these keep hundreds of megabytes of a process
/// that has just ended, and the system does not count them as free.
pub(crate) fn available_memory() -> Option<u64> {
    let available = kilobytes(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")?;
    let lists = pages_in_lists(&std::fs::read_to_string("/proc/zoneinfo").ok()?);
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    lists.checked_mul(page)?.checked_add(available)
}

/// The sum of the lines `count: 123` of `/proc/zoneinfo`, in pages.
fn pages_in_lists(zones: &str) -> u64 {
    zones
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("count:")?.trim().parse::<u64>().ok())
        .fold(0, u64::saturating_add)
}

/// The line `NAME   123 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_memory_are_read_in_kilobytes() {
        assert_eq!(kilobytes("A:\t 1 kB\nVmRSS:\t   12 kB\n", "VmRSS:"), Some(12 * 1024));
        assert_eq!(kilobytes("VmRSS:\tmany\n", "VmRSS:"), None);
        assert!(available_memory().unwrap() > 1 << 20);
        assert!(memory(std::process::id()).unwrap() > 1 << 16);
    }

    #[test]
    fn pages_that_wait_in_the_lists_of_processors_are_free_too() {
        let zones = "Node 0, zone   Normal\n  pages free     9\n  pagesets\n    cpu: 0\n              count:    1358\n              \
                     high:     1444\n    cpu: 1\n              count:    18\n              count: many\n";
        assert_eq!(pages_in_lists(zones), 1376);
        assert_eq!(pages_in_lists(""), 0);
    }

    #[test]
    fn a_process_that_nobody_boxed_inherits_nothing() {
        assert!(matches!(inherited(), Err(EnterError::Missing { .. })));
    }
}
