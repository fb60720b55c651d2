//! A running program: its ready line, its standard error, its end.

use crate::PATIENCE;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Where the shipped programs were built.
pub fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("CHRYSALIS_TEST_PROGRAMS") {
        return folder.into();
    }
    // A test program stands in target/<profile>/deps, the shipped ones two folders up.
    let here = std::env::current_exe().unwrap();
    here.parent().and_then(Path::parent).unwrap().to_owned()
}

/// A shipped program's path.
pub fn path(name: &str) -> PathBuf {
    let path = folder().join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is not built; run `cargo build --workspace --bins` first", path.display());
    path
}

/// A program that was started; killed when dropped.
pub struct Running {
    name: String,
    child: Child,
    lines: Mutex<Receiver<String>>,
    errors: Arc<Mutex<String>>,
}

impl Running {
    /// Starts a shipped program with these words. Its standard input stays open as long as this value lives.
    pub fn start(name: &str, words: &[&str]) -> Self {
        Self::start_with(name, words, &[])
    }

    /// The same, with environment variables.
    pub fn start_with(name: &str, words: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(path(name));
        command.args(words).envs(environment.iter().copied());
        Self::spawn(name, command)
    }

    /// The same as the leader of a process group, as a shell starts what it runs in the foreground: [`Self::interrupt_all`] is a Ctrl-C.
    #[cfg(unix)]
    pub fn start_in_the_foreground(name: &str, words: &[&str]) -> Self {
        use std::os::unix::process::CommandExt as _;
        // Shells leave SIGINT as it is by default for what they run in the foreground; whoever runs these tests may have it ignored.
        let mut command = Command::new("env");
        command.arg("--default-signal=INT").arg(path(name)).args(words).process_group(0);
        Self::spawn(name, command)
    }

    /// What a terminal does at a Ctrl-C: SIGINT to everybody in the group.
    #[cfg(unix)]
    pub fn interrupt_all(&self) {
        let group = rustix::process::Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        rustix::process::kill_process_group(group, rustix::process::Signal::INT).unwrap();
    }

    /// The same, for [`Self::limit_files`]: a write beyond the limit is an error and not the end.
    #[cfg(target_os = "linux")]
    pub fn start_without_file_size_signal(name: &str, words: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(path(name)).args(words);
        Self::spawn(name, command)
    }

    /// From now on it writes no byte of a file behind this many; `None`: as before.
    #[cfg(target_os = "linux")]
    pub fn limit_files(&self, bytes: Option<u64>) {
        use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
        let own = getrlimit(Resource::Fsize);
        let limit = Rlimit { current: bytes.or(own.current), maximum: own.maximum };
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap());
        prlimit(pid, Resource::Fsize, limit).unwrap();
    }

    fn spawn(name: &str, mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let (sender, lines) = channel();
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let errors = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&errors);
        let mut stderr = child.stderr.take().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0_u8; 4096];
            while let Ok(count) = stderr.read(&mut buffer) {
                if count == 0 {
                    return;
                }
                kept.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        Self { name: name.to_owned(), child, lines: Mutex::new(lines), errors }
    }

    /// The `ready` object of its first line.
    pub fn ready(&mut self) -> Value {
        let line = self.line();
        let value: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{}: {error}: {line}", self.name));
        assert!(value["ready"].is_object(), "{}: not a ready line: {line}", self.name);
        value["ready"].clone()
    }

    /// The next line of its standard output.
    pub fn line(&mut self) -> String {
        let line = self.lines.lock().unwrap().recv_timeout(PATIENCE).ok();
        line.unwrap_or_else(|| panic!("{} printed no line; its standard error:\n{}", self.name, self.errors()))
    }

    /// Says a line to its standard input.
    pub fn say(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("its standard input is open");
        writeln!(stdin, "{line}").unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// Everything it wrote to standard error so far.
    pub fn errors(&self) -> String {
        self.errors.lock().unwrap().clone()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it the hard way and waits.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) {
        send(self.pid(), rustix::process::Signal::TERM);
    }

    /// Waits until it has written something to standard error that contains these words.
    pub fn until_it_says(&self, words: &str) {
        crate::until(&format!("{} to say {words:?}", self.name), || self.errors().contains(words).then_some(()));
    }

    /// Waits for its end; gives its status and the lines it still printed.
    pub fn wait(&mut self) -> (ExitStatus, Vec<String>) {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                let mut lines = Vec::new();
                while let Ok(line) = self.lines.lock().unwrap().recv_timeout(Duration::from_millis(300)) {
                    lines.push(line);
                }
                return (status, lines);
            }
            assert!(
                begin.elapsed() < PATIENCE * 4,
                "{} did not end; its standard error:\n{}",
                self.name,
                self.errors()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- standard error of {}:\n{}", self.name, self.errors());
        }
    }
}

/// Runs a shipped program to its end: exit code, standard output, standard error.
pub fn run(name: &str, words: &[&str]) -> (Option<i32>, String, String) {
    let mut running = Running::start(name, words);
    let (status, lines) = running.wait();
    // The reader of standard error may be a moment behind.
    std::thread::sleep(Duration::from_millis(50));
    (status.code(), lines.join("\n"), running.errors())
}

/// Sends a signal.
pub fn send(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, signal);
}

/// Does the process exist, other than as a zombie?
pub fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with(['Z', 'X'])))
}

/// Its short name (15 characters at most).
pub fn name_of(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

/// How long it has computed so far, all its threads together.
pub fn computed(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Behind the name, which may hold anything: user and system time are the 12th and 13th, in the hundredths that Linux shows.
    let rest = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// Its living children.
pub fn children_of(pid: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|child| is_alive(*child) && parent_of(*child) == Some(pid))
        .collect()
}

/// Its children, their children and so on.
pub fn descendants_of(pid: u32) -> Vec<u32> {
    children_of(pid).into_iter().flat_map(|child| [vec![child], descendants_of(child)].concat()).collect()
}

/// Its parent.
pub fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
}

/// What its descriptors point at. An error when this user may not look into the process.
pub fn descriptors_of(pid: u32) -> io::Result<Vec<String>> {
    let mut targets = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        // One that is closed meanwhile points at nothing.
        match std::fs::read_link(entry?.path()) {
            Ok(target) => targets.push(target.to_string_lossy().into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(targets)
}

/// What was read of the worker, or `None`, said aloud, where the system keeps it from this user: the worker hides itself from all
/// but root. Whatever else went wrong is a failure.
pub fn unless_hidden<T>(what: &str, read: io::Result<T>) -> Option<T> {
    match read {
        Ok(value) => Some(value),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !rustix::process::geteuid().is_root() => {
            println!("skipped: needs root to look into the worker ({what})");
            None
        }
        Err(error) => panic!("{what}: {error}"),
    }
}

/// First file of that name below a folder.
pub fn find_file(folder: &Path, name: &str) -> Option<PathBuf> {
    for entry in std::fs::read_dir(folder).ok()?.filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            if let Some(found) = find_file(&path, name) {
                return Some(found);
            }
        } else if path.file_name().is_some_and(|found| found == name) {
            return Some(path);
        }
    }
    None
}
