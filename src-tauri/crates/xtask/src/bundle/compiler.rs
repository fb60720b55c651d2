//! Who can build for Windows here: a compiler that has Rust's standard library for that target.

use crate::system;
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What we build for: no Windows and nothing of Microsoft's is needed to make it.
pub(super) const TARGET: &str = "x86_64-pc-windows-gnu";

/// A compiler with its cargo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Compiler {
    cargo: PathBuf,
    rustc: PathBuf,
    /// The folder that holds the target's standard library, where that is not the compiler's own.
    sysroot: Option<PathBuf>,
}

impl Compiler {
    /// Cargo for the target, in the repository's root.
    pub(super) fn cargo(&self) -> Command {
        let mut command = Command::new(&self.cargo);
        command.current_dir(system::root()).env("RUSTC", &self.rustc);
        // What the cargo that started us set for its own compiler would mislead another.
        for name in ["RUSTC_WRAPPER", "RUSTDOC", "CARGO", "LD_LIBRARY_PATH"] {
            command.env_remove(name);
        }
        command.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", self.flags());
        command
    }

    /// What the compiler is told besides, as cargo wants it. The same source is to give the same bytes wherever and whenever it is built, so
    /// neither the time nor a folder of this machine may stand in a program (docs/adr/0030).
    fn flags(&self) -> OsString {
        let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let cargo_home = cargo_home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
        let mut flags = OsString::from("-Clink-arg=-Wl,--no-insert-timestamp");
        let mut add = |name: &str, value: &Path, end: &str| {
            flags.push(SEPARATOR);
            flags.push(name);
            flags.push(value);
            flags.push(end);
        };
        add("--remap-path-prefix=", &system::root(), "=/chrysalis");
        if let Some(home) = cargo_home {
            add("--remap-path-prefix=", &home, "=/cargo");
        }
        if let Some(sysroot) = &self.sysroot {
            add("--sysroot=", sysroot, "");
        }
        flags
    }
}

/// Between two words of `CARGO_ENCODED_RUSTFLAGS`.
const SEPARATOR: &str = "\u{1f}";

/// Finds one, and lets rustup or Debian's sources help. `None`: there is none, and what to do has been printed.
pub(super) fn find() -> Result<Option<Compiler>> {
    let ours = Compiler {
        cargo: std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()).into(),
        rustc: std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()).into(),
        sysroot: None,
    };
    let systems = Compiler { cargo: "/usr/bin/cargo".into(), rustc: "/usr/bin/rustc".into(), sysroot: None };
    for compiler in [&ours, &systems] {
        if knows_windows(&compiler.rustc) {
            return Ok(Some(compiler.clone()));
        }
    }
    if add_by_rustup() && knows_windows(&ours.rustc) {
        return Ok(Some(ours));
    }
    if system::is_debian() {
        return by_debian(systems);
    }
    eprintln!(
        "xtask: Rust's standard library for {TARGET} is not here. Please run this once, online:\n  rustup target add {TARGET}"
    );
    Ok(None)
}

/// Whether this compiler has the standard library of the target.
fn knows_windows(rustc: &Path) -> bool {
    let asked =
        Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).stderr(Stdio::null()).output();
    asked.is_ok_and(|output| {
        let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success() && has_std(Path::new(&folder))
    })
}

/// Whether this folder holds a compiled standard library.
fn has_std(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.filter_map(Result::ok).any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    })
}

fn add_by_rustup() -> bool {
    eprintln!("xtask: asking rustup for Rust's standard library for Windows");
    let asked = Command::new("rustup").args(["target", "add", TARGET]).stdout(Stdio::from(std::io::stderr())).status();
    asked.is_ok_and(|status| status.success())
}

/// Builds the standard library from Debian's copy of Rust's source, with Debian's compiler of the same version, into the target
/// folder. For machines that reach Debian's packages but not rustup's server.
fn by_debian(debian: Compiler) -> Result<Option<Compiler>> {
    if system::install(&system::RUST_SOURCE)?.is_some() {
        return Ok(None);
    }
    let sysroot = sysroot_of(&system::target()?, &version(&debian.rustc)?);
    if !has_std(&libraries(&sysroot)) {
        eprintln!("xtask: building Rust's standard library for Windows from Debian's sources, once");
        build_std(&debian, &sysroot)?;
    }
    Ok(Some(Compiler { sysroot: Some(sysroot), ..debian }))
}

/// Where the standard library for a compiler is kept: no other version can read it.
fn sysroot_of(target: &Path, version: &str) -> PathBuf {
    let words =
        version.split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '.').filter(|word| !word.is_empty());
    target.join("windows-sysroot").join(words.collect::<Vec<_>>().join("-"))
}

/// What a compiler says of its version and of the source it was made from.
fn version(rustc: &Path) -> Result<String> {
    let asked = Command::new(rustc).arg("--version").output().context("cannot start Debian's compiler")?;
    anyhow::ensure!(asked.status.success(), "{} does not say which version it is", rustc.display());
    Ok(String::from_utf8_lossy(&asked.stdout).into_owned())
}

fn libraries(sysroot: &Path) -> PathBuf {
    sysroot.join("lib/rustlib").join(TARGET).join("lib")
}

fn build_std(debian: &Compiler, sysroot: &Path) -> Result<()> {
    let package = tempfile::tempdir()?;
    let manifest =
        "[package]\nname = \"empty\"\nedition = \"2024\"\n[workspace]\n[profile.release]\npanic = \"unwind\"\n";
    std::fs::write(package.path().join("Cargo.toml"), manifest)?;
    std::fs::create_dir(package.path().join("src"))?;
    std::fs::write(package.path().join("src/lib.rs"), "")?;
    let built = package.path().join("built");
    let status = debian
        .cargo()
        .args(["build", "--release", "-Zbuild-std=std,panic_abort,panic_unwind,test", "--target", TARGET])
        .current_dir(package.path())
        .env("CARGO_TARGET_DIR", &built)
        // A stable compiler that may do what only nightly ones offer, for this one package.
        .env("RUSTC_BOOTSTRAP", "1")
        .stdout(Stdio::from(std::io::stderr()))
        .status()
        .context("cannot start Debian's cargo")?;
    if !status.success() {
        bail!(
            "Rust's standard library for Windows could not be built; `rustup target add {TARGET}` on a machine that is online brings it"
        );
    }
    keep(&built.join(TARGET).join("release/deps"), sysroot)
}

/// Copies what was compiled to where it is kept. It gets its name when all of it is there, so a copy that was cut short is never used.
fn keep(built: &Path, sysroot: &Path) -> Result<()> {
    let beside = sysroot.parent().context("a standard library has a folder around it")?;
    std::fs::create_dir_all(beside)?;
    let copy = tempfile::Builder::new().prefix("unfinished-").tempdir_in(beside)?;
    let libraries_there = libraries(copy.path());
    std::fs::create_dir_all(&libraries_there)?;
    for entry in std::fs::read_dir(built)? {
        let path = entry?.path();
        if let (Some(name), true) = (path.file_name(), path.extension().is_some_and(|end| end == "rlib")) {
            std::fs::copy(&path, libraries_there.join(name))?;
        }
    }
    anyhow::ensure!(
        has_std(&libraries_there),
        "the standard library for Windows was built, but is not where it should be"
    );
    if let Err(error) = std::fs::rename(copy.path(), sysroot) {
        // Somebody else was faster, with the same.
        anyhow::ensure!(has_std(&libraries(sysroot)), "{} can't be made: {error}", sysroot.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_a_compiled_standard_library_is_none() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!has_std(folder.path()));
        assert!(!has_std(&folder.path().join("nowhere")));
        std::fs::write(folder.path().join("libstd_detect-1.rlib"), "").unwrap();
        assert!(!has_std(folder.path()));
        std::fs::write(folder.path().join("libstd-1.rlib"), "").unwrap();
        assert!(has_std(folder.path()));
    }

    #[test]
    fn a_standard_library_is_kept_whole_or_not_at_all_and_for_one_version() {
        let folder = tempfile::tempdir().unwrap();
        let built = folder.path().join("built");
        std::fs::create_dir(&built).unwrap();
        std::fs::write(built.join("libcore-1.rlib"), "").unwrap();
        let sysroot = sysroot_of(folder.path(), "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\n");
        assert!(sysroot.ends_with("windows-sysroot/rustc-1.96.0-ac68faa20-2026-05-25-built-from-a-source-tarball"));
        assert_ne!(sysroot, sysroot_of(folder.path(), "rustc 1.96.0 (ac68faa20 2026-05-25)\n"));
        assert!(keep(&built, &sysroot).is_err());
        assert!(!sysroot.exists());
        std::fs::write(built.join("libstd-1.rlib"), "").unwrap();
        std::fs::write(built.join("std.d"), "").unwrap();
        // The second finds it there.
        for _ in 0..2 {
            keep(&built, &sysroot).unwrap();
        }
        assert!(has_std(&libraries(&sysroot)) && !libraries(&sysroot).join("std.d").exists());
        assert_eq!(std::fs::read_dir(sysroot.parent().unwrap()).unwrap().count(), 1, "nothing unfinished is left");
    }

    #[test]
    fn a_compiler_that_is_not_there_builds_nothing() {
        assert!(!knows_windows(Path::new("no-such-compiler")));
    }

    #[test]
    fn the_compiler_named_is_the_one_that_compiles() {
        let compiler = Compiler { cargo: "/c/cargo".into(), rustc: "/c/rustc".into(), sysroot: Some("/std".into()) };
        let command = compiler.cargo();
        let told = |name: &str| command.get_envs().find(|(known, _)| *known == name).and_then(|(_, value)| value);
        assert_eq!(command.get_program(), "/c/cargo");
        assert_eq!(told("RUSTC").unwrap(), "/c/rustc");
        let flags = told("CARGO_ENCODED_RUSTFLAGS").unwrap().to_str().unwrap();
        let flags: Vec<&str> = flags.split(SEPARATOR).collect();
        assert!(flags.contains(&"--sysroot=/std"), "{flags:?}");
        // Neither when nor where it was built stands in a program.
        assert!(flags.contains(&"-Clink-arg=-Wl,--no-insert-timestamp"), "{flags:?}");
        assert!(flags.contains(&format!("--remap-path-prefix={}=/chrysalis", system::root().display()).as_str()));
        assert!(command.get_envs().any(|(name, value)| name == "LD_LIBRARY_PATH" && value.is_none()));
    }
}
