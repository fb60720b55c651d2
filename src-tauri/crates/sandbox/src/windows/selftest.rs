//! Finding out which walls work here: the worker program is started in them, looks around, and says what it found. What follows from that is
//! decided in [`crate::mode`]; what is found is kept until Windows, a graphics driver or the program changes.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use windows::Win32::Foundation::CloseHandle;
use windows::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};
use windows::Win32::System::Registry::{
    HKEY_LOCAL_MACHINE, RRF_RT_REG_DWORD, RRF_RT_REG_SZ, RRF_ZEROONFAILURE, RegGetValueW,
};
use windows::Win32::System::Threading::{OpenProcess, PROCESS_VM_READ};
use windows::core::{HSTRING, s, w};

use super::firewall;
use crate::mode::{self, Attempt, Basis, Card, Graphics, Kind, Look, Mode, Outcome, Trial, Verdict};
use crate::{PROBE, Program, Spawn};

/// How long the worker may take to look around; drivers of some cards take many seconds to load for the first time.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long a connection on this PC may take.
const NEAR: Duration = Duration::from_secs(3);
/// Reserved for documentation: no computer has it, and what is sent there is not sent past the first router.
const NOBODY: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);
/// What Windows calls a refusal: by rights, by the network's rules, by the job.
const REFUSALS: [i32; 4] = [5, 10_013, 1_816, 1_260];
const VERSIONS: &str = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion";
const CARDS: &str = r"SYSTEM\CurrentControlSet\Control\Class\{4d36e968-e325-11ce-bfc1-08002be10318}";
/// Numbers of graphics drivers that are asked for.
const MOST_CARDS: u32 = 32;

/// Which walls to take now. `Err`: none do. A choice that is kept in the file `kept` is taken if it still holds, and a new one put there.
pub(super) fn choose(program: &Program, kept: Option<&Path>) -> Result<Mode, String> {
    if is_wine() {
        return Ok(Mode::Wine);
    }
    let basis = basis(program);
    let known = kept.and_then(|file| mode::read(&std::fs::read_to_string(file).ok()?, &basis));
    let kind = if let Some(kind) = known {
        kind
    } else {
        let kind = try_out(program)?;
        if let Some(file) = kept {
            // Where that fails it is found out again.
            let _ = std::fs::write(file, mode::write(&basis, kind));
        }
        kind
    };
    Ok(kind.with(kind == Kind::Restricted && firewall::has_rule(program.path())))
}

/// Tries one after the other.
fn try_out(program: &Program) -> Result<Kind, String> {
    let container = trial(program, Mode::AppContainer { graphics: Graphics::Processor });
    let mut restricted = None;
    loop {
        match mode::decide(&container, restricted.as_ref()) {
            Verdict::Take { kind, .. } => return Ok(kind),
            Verdict::TryRestricted => restricted = Some(trial(program, Mode::Restricted { firewall: false })),
            Verdict::Refuse(why) => return Err(why),
        }
    }
}

/// Whether this is Wine: its own part of Windows says so, and no Windows has such a function.
pub fn is_wine() -> bool {
    // SAFETY: the library is in every process and never unloaded.
    unsafe {
        GetModuleHandleW(w!("ntdll.dll")).is_ok_and(|library| GetProcAddress(library, s!("wine_get_version")).is_some())
    }
}

/// Lets the worker look around in such walls.
pub(super) fn trial(program: &Program, mode: Mode) -> Trial {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| format!("{what}: {error}")
    };
    let canary = Canary::new().map_err(failed("no file to try with"))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed("no port to try with"))?;
    let port = listener.local_addr().map_err(failed("no port to try with"))?.port();
    let words = [PROBE.into(), canary.0.clone().into(), port.to_string().into(), std::process::id().to_string().into()];
    // Anything to read does for a model.
    let model = File::open(program.path()).map_err(failed("the program cannot be read"))?;
    let spawn = Spawn { program: program.clone(), args: words.to_vec(), model };
    let (child, channel) = super::start_in(&spawn, mode).map_err(|error| error.to_string())?;
    let (heard, report) = mpsc::channel();
    let mut reader = channel.reader;
    let reading = std::thread::Builder::new().name("box-trial".to_owned()).spawn(move || {
        let mut bytes = Vec::new();
        let most = u64::try_from(mode::LONGEST).unwrap_or(u64::MAX).saturating_add(1);
        let read = reader.by_ref().take(most).read_to_end(&mut bytes);
        // Fails only when nobody waits any more.
        let _ = heard.send(read.map(|_| bytes));
    });
    let report = match reading {
        Ok(_) => report.recv_timeout(PATIENCE).map_err(|_| "it does not answer".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    // Whatever it was about to do, its answer is all that was wanted.
    if report.is_err() {
        child.kill();
    }
    let bytes = report?.map_err(failed("its answer cannot be read"))?;
    Look::read(&bytes).map_err(|why| {
        child.kill();
        let log = child.log();
        let last = log.trim_end().lines().last().unwrap_or_default();
        format!("{why} ({}; {last})", child.wait())
    })
}

/// A file as the owner's are, gone with this value.
struct Canary(PathBuf);

impl Canary {
    fn new() -> io::Result<Self> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let path = std::env::temp_dir().join(format!("chrysalis-{}-{now}.txt", std::process::id()));
        File::create_new(&path)?.write_all(b"nobody in the box may read this")?;
        Ok(Self(path))
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What is done inside, by the worker program that was started with [`PROBE`] as its first word: tries what the walls should stop, asks for
/// `cards`, and says it on standard output. `words` are those behind the first.
pub(crate) fn look_around(words: &[OsString], cards: impl FnOnce() -> Vec<Card>) -> io::Result<()> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidInput, "a file, a port and a process are wanted");
    let [file, port, app] = words else { return Err(wrong()) };
    let number = |text: &OsString| text.to_str()?.parse::<u32>().ok();
    let port = number(port).and_then(|port| u16::try_from(port).ok()).ok_or_else(wrong)?;
    let app = number(app).ok_or_else(wrong)?;
    let outcomes = Attempt::ALL.map(|attempt| match attempt {
        Attempt::OwnersFile => near(&std::fs::read(file)),
        Attempt::NewFile => {
            let beside = Path::new(file).with_extension("new");
            let made = File::create_new(&beside);
            let _ = std::fs::remove_file(&beside);
            near(&made)
        }
        Attempt::Loopback => near(&TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), NEAR)),
        Attempt::Network => far(send_to_nobody()),
        Attempt::AppMemory => near(&open_memory(app)),
        Attempt::Program => near(&start_a_program()),
    });
    let look = Look { outcomes, cards: cards() };
    let mut out = io::stdout();
    out.write_all(look.write().as_bytes())?;
    out.flush()
}

/// Of something that is there for certain: whatever keeps it away is a wall.
fn near<T>(done: &io::Result<T>) -> Outcome {
    if done.is_ok() { Outcome::Reached } else { Outcome::Refused }
}

/// Of something that may not be there at all.
fn far(done: io::Result<()>) -> Outcome {
    match done {
        Ok(()) => Outcome::Reached,
        Err(error) if error.raw_os_error().is_some_and(|code| REFUSALS.contains(&code)) => Outcome::Refused,
        Err(_) => Outcome::Unknown,
    }
}

fn send_to_nobody() -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_ttl(1)?;
    socket.send_to(b"?", NOBODY).map(drop)
}

fn open_memory(process: u32) -> io::Result<()> {
    // SAFETY: no pointer is passed.
    let opened = unsafe { OpenProcess(PROCESS_VM_READ, false, process) }?;
    // SAFETY: it was just opened for us.
    unsafe { CloseHandle(opened) }?;
    Ok(())
}

fn start_a_program() -> io::Result<()> {
    let mut child = std::process::Command::new(std::env::current_exe()?).arg("--version").spawn()?;
    let _ = child.kill();
    child.wait().map(drop)
}

/// What a choice holds for, as it is now.
pub(super) fn basis(program: &Program) -> Basis {
    let number = text(VERSIONS, "CurrentBuildNumber").unwrap_or_default();
    let update = dword(VERSIONS, "UBR").map_or_else(String::new, |update| format!(".{update}"));
    let drivers = (0..MOST_CARDS).filter_map(|at| {
        let key = format!("{CARDS}\\{at:04}");
        let version = text(&key, "DriverVersion")?;
        Some(format!("{} {version}", text(&key, "DriverDesc").unwrap_or_default()))
    });
    let program = program.measured().sha256;
    Basis { build: format!("{number}{update}"), drivers: drivers.collect(), program }
}

/// A text of the registry; longer than this there is none of those asked for.
fn text(key: &str, name: &str) -> Option<String> {
    let mut value = [0_u16; 512];
    let mut length = u32::try_from(size_of_val(&value)).ok()?;
    let (key, name) = (HSTRING::from(key), HSTRING::from(name));
    let how = RRF_RT_REG_SZ | RRF_ZEROONFAILURE;
    let place = Some(value.as_mut_ptr().cast());
    // SAFETY: there is room for so many bytes.
    unsafe { RegGetValueW(HKEY_LOCAL_MACHINE, &key, &name, how, None, place, Some(&raw mut length)) }.ok().ok()?;
    let end = value.iter().position(|unit| *unit == 0)?;
    Some(String::from_utf16_lossy(value.get(..end)?))
}

fn dword(key: &str, name: &str) -> Option<u32> {
    let (mut value, mut length) = (0_u32, 4);
    let (key, name) = (HSTRING::from(key), HSTRING::from(name));
    let place = Some((&raw mut value).cast());
    // SAFETY: there is room for four bytes.
    let told =
        unsafe { RegGetValueW(HKEY_LOCAL_MACHINE, &key, &name, RRF_RT_REG_DWORD, None, place, Some(&raw mut length)) };
    told.is_ok().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_holds_for_this_windows_and_this_program() {
        let program = Program::open(&std::env::current_exe().unwrap()).unwrap();
        let now = basis(&program);
        assert!(now.build.chars().next().is_some_and(|digit| digit.is_ascii_digit()), "{now:?}");
        assert_eq!(now, basis(&program));
        let other = std::env::temp_dir().join(format!("other-{}.exe", std::process::id()));
        std::fs::write(&other, b"another").unwrap();
        assert_ne!(now.program, basis(&Program::open(&other).unwrap()).program);
        std::fs::remove_file(other).unwrap();
    }
}
