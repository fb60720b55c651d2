//! Programs that must end in time: one that hangs fails the check with a sentence instead of holding it up for ever.

use anyhow::{Context, Result, bail};
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Between two looks at a program that runs.
const LOOK: Duration = Duration::from_millis(50);

/// A program that was started, and must have ended at a time. Dropped, it is ended.
pub(super) struct Running {
    child: Child,
    /// What it is called in a sentence.
    name: String,
    longest: Duration,
    until: Instant,
}

impl Running {
    /// Starts it; from now on its time runs.
    pub(super) fn start(command: &mut Command, name: &str, longest: Duration) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, name: name.to_owned(), longest, until: Instant::now() + longest })
    }

    /// Waits for its end.
    pub(super) fn end(&mut self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= self.until {
                return self.too_late();
            }
            std::thread::sleep(LOOK);
        }
    }

    /// The first line it writes, without its end.
    pub(super) fn first_line(&mut self) -> Result<String> {
        let out = self.child.stdout.take().context("its output goes elsewhere")?;
        let line = aside(move || {
            let mut line = String::new();
            std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).map(|_| line)
        });
        Ok(self.wait_for(&line)?.trim_end().to_owned())
    }

    /// Closes its input.
    pub(super) fn close_input(&mut self) {
        drop(self.child.stdin.take());
    }

    fn wait_for<T>(&mut self, told: &Receiver<std::io::Result<T>>) -> Result<T> {
        match told.recv_timeout(self.until.saturating_duration_since(Instant::now())) {
            Ok(told) => Ok(told?),
            Err(RecvTimeoutError::Timeout) => self.too_late(),
            Err(RecvTimeoutError::Disconnected) => bail!("nobody listens to {} any more", self.name),
        }
    }

    fn too_late<T>(&mut self) -> Result<T> {
        let _ = self.child.kill();
        let _ = self.child.wait();
        bail!(
            "{} has not ended after {} s; it hangs, or this machine is too slow for it",
            self.name,
            self.longest.as_secs()
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs it to its end.
pub(super) fn status(command: &mut Command, name: &str, longest: Duration) -> Result<ExitStatus> {
    Running::start(command.stdin(Stdio::null()), name, longest)?.end()
}

/// Runs it to its end and takes what it writes on standard output; errors go where ours go.
pub(super) fn output(command: &mut Command, name: &str, longest: Duration) -> Result<Output> {
    let mut running = Running::start(command.stdin(Stdio::null()).stdout(Stdio::piped()), name, longest)?;
    let mut out = running.child.stdout.take().context("its output goes elsewhere")?;
    let told = aside(move || {
        let mut all = Vec::new();
        out.read_to_end(&mut all).map(|_| all)
    });
    let status = running.end()?;
    // Whoever it started and left behind may hold its output open: that has the same time.
    Ok(Output { status, stdout: running.wait_for(&told)?, stderr: Vec::new() })
}

/// Reads on a thread of its own, which ends with what it reads.
fn aside<T: Send + 'static>(
    read: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Receiver<std::io::Result<T>> {
    let (sender, told) = channel();
    std::thread::spawn(move || sender.send(read()));
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(words: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", words]);
        command
    }

    const LONG: Duration = Duration::from_mins(1);
    const SHORT: Duration = Duration::from_secs(1);

    #[test]
    fn a_program_that_hangs_fails_with_a_sentence() {
        let began = Instant::now();
        let refused = status(&mut shell("exec sleep 50"), "the sleeper", SHORT).unwrap_err().to_string();
        assert!(refused.starts_with("the sleeper has not ended after 1 s"), "{refused}");
        // What it left behind holds its output, which is no reason to wait either.
        let refused = output(&mut shell("sleep 50 & echo word"), "its child", SHORT).unwrap_err().to_string();
        assert!(refused.starts_with("its child has not ended after 1 s"), "{refused}");
        let mut mute = Running::start(shell("exec sleep 50").stdout(Stdio::piped()), "the mute", SHORT).unwrap();
        assert!(mute.first_line().unwrap_err().to_string().starts_with("the mute has not ended after 1 s"));
        assert!(began.elapsed() < Duration::from_secs(40));
    }

    #[test]
    fn a_program_in_time_is_heard() {
        let output = output(&mut shell("echo word; exit 3"), "the speaker", LONG).unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), &b"word\n"[..]));
        let mut reader = shell("echo ready; read line; exit 4");
        let mut reader =
            Running::start(reader.stdin(Stdio::piped()).stdout(Stdio::piped()), "the reader", LONG).unwrap();
        assert_eq!(reader.first_line().unwrap(), "ready");
        reader.close_input();
        assert_eq!(reader.end().unwrap().code(), Some(4));
    }
}
