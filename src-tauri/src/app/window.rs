//! The window's process, seen from the app.

use std::io::BufReader;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::Input;
use crate::wire::{self, ToApp, ToWindow};

/// Messages that may wait for a window that does not read; further ones are lost, which the next of their kind heals.
const WAITING: usize = 64;
/// How long a window may take to end after it has closed its output.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A process in a group of its own hears no Ctrl-C.
#[cfg(windows)]
const CREATE_NEW_PROCESS_GROUP: u32 = 0x0000_0200;

/// A window that is open, or opening. Dropping it closes it.
pub(crate) struct WindowProcess {
    number: u64,
    lines: SyncSender<Zeroizing<Vec<u8>>>,
}

impl WindowProcess {
    /// Starts it for the app whose folder this is. What it says comes as inputs with its number.
    pub(crate) fn start(number: u64, data: &Path, inputs: mpsc::Sender<Input>) -> Result<Self> {
        let program = std::env::current_exe().context("the system does not say where this program is")?;
        let mut command = Command::new(program);
        command.arg("window").arg("--data").arg(data).stdin(Stdio::piped()).stdout(Stdio::piped());
        // A Ctrl-C in the terminal is for the app, which closes the window itself: it ends with its standard input.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        #[cfg(windows)]
        std::os::windows::process::CommandExt::creation_flags(&mut command, CREATE_NEW_PROCESS_GROUP);
        name_a_language(&mut command);
        let mut child = command.spawn().context("its process does not start")?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let mut stdin = stdin.context("it has no standard input")?;
        let stdout = stdout.context("it has no standard output")?;
        let (lines, waiting) = sync_channel::<Zeroizing<Vec<u8>>>(WAITING);
        std::thread::Builder::new().name("window-write".to_owned()).spawn(move || {
            while let Ok(line) = waiting.recv() {
                if stdin.write_all(&line).and_then(|()| stdin.flush()).is_err() {
                    return;
                }
            }
        })?;
        std::thread::Builder::new().name("window-read".to_owned()).spawn(move || {
            let mut reader = BufReader::new(stdout);
            while let Some(message) = wire::read::<ToApp>(&mut reader) {
                if inputs.blocking_send(Input::Window(number, message)).is_err() {
                    break;
                }
            }
            let failed = end(&mut child);
            let _ = inputs.blocking_send(Input::WindowGone { number, failed });
        })?;
        Ok(Self { number, lines })
    }

    /// Its number.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Says something, unless too much waits already.
    pub(crate) fn say(&self, message: &ToWindow) {
        let _ = self.lines.try_send(wire::line(message));
    }
}

/// It has closed its output, so it is ending or does not keep to the form. Whether it failed by itself.
fn end(child: &mut Child) -> bool {
    let deadline = Instant::now() + LAST_WORDS;
    // One that fails closes its output a moment before it ends.
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(LAST_WORDS / 20),
            _ => break None,
        }
    };
    let _ = child.kill();
    let _ = child.wait();
    let failed = status.filter(|status| !status.success() && status.code().is_some());
    if let Some(status) = failed {
        tracing::warn!(%status, "the window's process failed");
    }
    failed.is_some()
}

/// Whether there is something to show a window on.
pub(crate) fn there_is_a_display() -> bool {
    let named = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !cfg!(target_os = "linux") || named("DISPLAY") || named("WAYLAND_DISPLAY")
}

/// Without a language the web view calls itself "C", which its own number formats refuse.
fn name_a_language(command: &mut Command) {
    if !cfg!(target_os = "linux") {
        return;
    }
    for name in ["LC_ALL", "LANG"] {
        let value = std::env::var(name).unwrap_or_default();
        let unnamed = value.is_empty() || value == "POSIX" || value == "C" || value.starts_with("C.");
        if name == "LC_ALL" && !value.is_empty() && unnamed {
            command.env_remove(name);
        } else if name == "LANG" && unnamed {
            command.env(name, "en_US.UTF-8");
        }
    }
}
