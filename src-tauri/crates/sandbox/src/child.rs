//! A child from outside: alive or gone, its memory, its last words.

use std::process::ExitStatus;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::log::Log;
use crate::system;

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// What it returned; `None` when it was killed.
    pub code: Option<i32>,
    /// The signal that ended it, on systems that have signals.
    pub signal: Option<i32>,
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        Self { code: status.code(), signal: system::signal(status) }
    }
}

/// Says what happened in a few words.
impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exit code {code}"),
            (None, Some(signal)) => write!(f, "it was killed (signal {signal})"),
            (None, None) => f.write_str("an unknown cause"),
        }
    }
}

/// A started process. Clones mean the same one. Dropping it neither kills nor forgets: somebody always waits for it.
#[derive(Clone)]
pub struct Child {
    pid: u32,
    handle: Arc<system::Handle>,
    end: Arc<End>,
    log: Log,
}

#[derive(Default)]
pub(crate) struct End {
    exit: Mutex<Option<Exit>>,
    changed: Condvar,
}

impl End {
    /// It was waited for: from now on its process id may mean another process.
    pub(crate) fn reached(&self, exit: Exit) {
        *self.exit.lock().unwrap_or_else(PoisonError::into_inner) = Some(exit);
        self.changed.notify_all();
    }
}

impl Child {
    pub(crate) fn new(pid: u32, handle: impl Into<Arc<system::Handle>>, end: Arc<End>, log: Log) -> Self {
        Self { pid, handle: handle.into(), end, log }
    }

    #[cfg(windows)]
    pub(crate) fn handle(&self) -> &system::Handle {
        &self.handle
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Ends it at once. Nothing happens if it is gone.
    pub fn kill(&self) {
        system::kill(&self.handle);
    }

    /// Blocks until it is gone: ended and waited for, nothing of it left in the system's table of processes.
    pub fn wait(&self) -> Exit {
        let mut exit = self.end.exit.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(exit) = *exit {
                return exit;
            }
            exit = self.end.changed.wait(exit).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// How it ended; `None`: it has not.
    pub fn ended(&self) -> Option<Exit> {
        *self.end.exit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of memory it holds; `None` when it is gone or the system does not say.
    pub fn memory(&self) -> Option<u64> {
        self.ended().is_none().then(|| system::memory(self.pid)).flatten()
    }

    /// The last of what it wrote on standard output and error.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Nothing of what it wrote so far is of interest any more.
    pub fn forget_log(&self) {
        self.log.forget();
    }
}
