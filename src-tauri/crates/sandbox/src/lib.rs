//! The box a worker runs in: spawn a process into it, and enter it.
//!
//! What lives here: starting a child that inherits nothing but one pipe and one model file, its end, its log, its memory;
//! besides, the terminal of a program that has none of its own, and
//! keeping a process's memory to itself. What may not: anything about Cocoon, or about what the two processes say.
//!
//! What is started is a [`Program`]: a file that was opened once and measured, and is started as what was measured.
//!
//! A child is started with an empty environment, no descriptor but the pipe (3) and the model (4), no new privileges, no core dumps, in a
//! process group of its own, to die with its parent. The rest it does to itself, because only it knows when it has opened its graphics
//! card: [`confine`] takes everything else away, [`seal`] then what opening took. What is left is a list of system calls
//! (`linux/calls.rs`) that is reviewed line by line. Why so: `docs/adr/0023-the-box-closes-from-inside.md`.
//!
//! Walk-through: the app opens a [`Program`], fills a [`Spawn`] and calls [`Spawn::start`]; it gets a [`Child`] to watch and kill and a [`Channel`] to
//! talk through. The child calls [`confine`] first thing, then [`inherited`], and [`seal`] when all is open. If one of them fails it ends.
//! Each system has its own file behind this interface.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap"))]

mod child;
mod log;
pub mod mode;
mod program;
mod share;
mod state;
mod walls;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(windows)]
use windows as system;

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

pub use child::{Child, Exit};
pub use program::{Measured, Program};
pub use share::{Group, GroupError, Share};
pub use state::{BoxState, GroupLimits};
pub use system::{Reader, Writer};
pub use walls::{Calls, ConfineError, ListedCall, Serving, Walls};
#[cfg(windows)]
pub use windows::firewall::{RuleError, ask_for_rule, ask_to_remove_rule, has_rule};
#[cfg(windows)]
pub use windows::seen_of;
#[cfg(windows)]
pub use windows::selftest::is_wine;

/// A way to talk in both directions. On Linux one socket pair, on Windows two anonymous pipes. Dropping both halves ends the
/// conversation for the other end.
pub struct Channel {
    /// What the other end says.
    pub reader: Reader,
    /// What is said to it.
    pub writer: Writer,
}

/// What is to be started.
pub struct Spawn {
    /// The program, opened and measured.
    pub program: Program,
    /// Its arguments, without its name.
    pub args: Vec<OsString>,
    /// The model, opened for reading only. The child reads the same open file, so a file exchanged under this name later changes nothing.
    pub model: File,
}

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No pipe, or no thread.
    #[error("the system has no room for another process: {0}")]
    Resources(#[source] std::io::Error),
    /// The program can't be started or not be boxed.
    #[error("cannot start {}: {source}", program.display())]
    Program {
        /// Its file.
        program: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// What came to run is not what was measured. It was ended before anything was said to it.
    #[error("{} was changed while it was started, and what ran is not what was measured; it was ended", program.display())]
    Changed {
        /// Its file.
        program: PathBuf,
    },
    /// Nothing on this system would keep it from what is the owner's. Windows only: on Linux the process itself finds out.
    #[error("the worker is not started, because nothing would keep it from this PC: {why}")]
    Walls {
        /// What was tried and what became of it.
        why: String,
    },
}

/// Why a process was not started by [`Spawn`].
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// A descriptor is not there or is not what it should be.
    #[error("{what} was not handed over")]
    Missing {
        /// Which one.
        what: &'static str,
    },
    /// The system refused to close the box from inside.
    #[error("the box cannot be closed: {0}")]
    System(#[source] std::io::Error),
}

/// The first word that the program of a [`Spawn`] is started with to look around in its walls (Windows only, see `look_around`).
pub const PROBE: &str = "look-around";

impl Spawn {
    /// Starts it. Blocks until the program runs or can't. On Windows it takes two starts more to find out which walls work.
    pub fn start(self) -> Result<(Child, Channel), StartError> {
        self.begin(None)
    }

    /// The same, and on Windows what was found out is kept in a file, and holds until Windows, a graphics driver or the program changes.
    /// Nothing is kept on other systems.
    pub fn start_remembering(self, file: &Path) -> Result<(Child, Channel), StartError> {
        self.begin(Some(file))
    }

    #[cfg(windows)]
    fn begin(self, kept: Option<&Path>) -> Result<(Child, Channel), StartError> {
        system::start(&self, kept)
    }

    #[cfg(not(windows))]
    fn begin(self, _: Option<&Path>) -> Result<(Child, Channel), StartError> {
        system::start(self)
    }
}

/// What the program of a [`Spawn`] does when its first word is [`PROBE`]: it tries what its walls should stop, asks for the graphics `cards`
/// that it can use, and says on standard output what it found. `words` are those behind the first.
#[cfg(windows)]
pub fn look_around(words: &[OsString], cards: impl FnOnce() -> Vec<mode::Card>) -> std::io::Result<()> {
    windows::selftest::look_around(words, cards)
}

/// What this process was handed by [`Spawn`]: the pipe and the model. To be called once, right after [`confine`]; a second call fails.
pub fn inherited() -> Result<(Channel, File), EnterError> {
    system::inherited()
}

/// Closes the box from inside, as far as drivers of graphics cards can still be opened: step 1 of 2. To be called in `main` before
/// anything else, while there is one thread: before a byte of the pipe or the model is read. From then on there are no privileges, no
/// capabilities, no descriptor but the standard ones, pipe and model, no environment but a few words to drivers, no file but theirs, no
/// network, no other process.
///
/// Linux only. On Windows no walls stand yet, and the answer says so.
pub fn confine(memory: Option<u64>) -> Result<Walls, ConfineError> {
    system::confine(memory)
}

/// Closes it for good, for all threads, once everything is open: step 2. Nothing is opened from now on.
pub fn seal(walls: &mut Walls, serving: Serving) -> Result<(), ConfineError> {
    system::seal(walls, serving)
}

/// The system calls that a boxed process may make under some condition, or that fail politely. Any other kills it. Empty where
/// the system knows no such list.
pub fn listed_calls() -> Vec<ListedCall> {
    system::listed_calls()
}

/// Keeps what is in this process's memory out of files and other programs from now on, for a program that holds a key. Linux: no core
/// dump, and no other program of the same user may read the memory or trace. Windows: no report of a failure is made of it, neither with
/// what is on the heap nor at all. What it starts afterwards is not covered.
pub fn keep_memory_private() -> std::io::Result<()> {
    system::keep_memory_private()
}

/// Does something, as a rule reading a line, while the terminal that standard input comes from does not show what is typed. Fails where
/// it comes from something else.
pub fn without_echo<T>(read: impl FnOnce() -> T) -> std::io::Result<T> {
    let _quiet = system::echo_off()?;
    Ok(read())
}

/// Memory of the machine that a new process could have, in bytes; `None` where that is unknown.
pub fn available_memory() -> Option<u64> {
    system::available_memory()
}

/// Lets what this process prints from now on reach the terminal it was started from. On Windows a program without a console of its own
/// gets that of whoever started it, for those of its standard handles that lead nowhere; pipes and files stay what they are, and where
/// there is no console nothing changes. Elsewhere it is so anyhow.
///
/// Such a process ends when that console is closed, so it is for commands that end, and for last words.
pub fn reach_terminal() {
    system::reach_terminal();
}
