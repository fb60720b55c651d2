//! Windows' programs without Windows: Wine installs the setup, runs what it brought and the ledger's tests, and removes it. What Wine
//! can't show is the window (it has no web view) and a graphics card.

use super::compiler::{Compiler, TARGET};
use super::setup::{self, Built};
use super::{PROGRAMS, judge_practice};
use crate::system;
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A Windows of its own, gone with this value.
struct Wine {
    prefix: TempDir,
}

/// Rust's programs take their random numbers from a library that Wine before version 9 does not have. This stands in for it.
const RANDOM: &str = include_str!("random.c");
/// How long the uninstaller may take after it has said that it is done: it goes on in a copy of itself.
const REMOVING: Duration = Duration::from_secs(30);
const KEY: &str = r"HKCU\Software\Microsoft\Windows\CurrentVersion\Uninstall\Chrysalis";
const PROMPT: &str = "The capital of France is";

pub(super) fn check(compiler: &Compiler, built: &Built, model: &Path) -> Result<()> {
    let wine = Wine::start()?;
    let setup = wine.run(&built.setup, &["/S"])?;
    ensure!(setup.status.success(), "the setup ended with {}", setup.status);
    let folder = wine.only("users/*/AppData/Local/Programs/Chrysalis")?;
    let shortcut = wine.only("users/*/AppData/Roaming/Microsoft/Windows/Start Menu/Programs/Chrysalis.lnk")?;
    for file in
        PROGRAMS.map(|name| format!("{name}.exe")).iter().map(String::as_str).chain(["uninstall.exe", "LICENSE.txt"])
    {
        ensure!(folder.join(file).is_file(), "the setup brought no {file}");
    }
    ensure!(wine.knows_key()?, "Windows does not list what was installed");

    same_tokens(&wine, &folder, model)?;
    let practice = practice(&wine, &folder, model)?;
    println!("under Wine: {practice}");
    refuses_while_running(&wine, &folder)?;

    let removed = wine.run(&folder.join("uninstall.exe"), &["/S"])?;
    ensure!(removed.status.success(), "the uninstaller ended with {}", removed.status);
    let since = Instant::now();
    while folder.exists() {
        ensure!(since.elapsed() < REMOVING, "uninstalling left {}", folder.display());
        std::thread::sleep(Duration::from_millis(200));
    }
    ensure!(!shortcut.exists(), "uninstalling left the shortcut");
    ensure!(!wine.knows_key()?, "uninstalling left its key in the registry");
    ensure!(wine.data().is_dir(), "uninstalling took the owner's ledger with it");
    println!("under Wine: the setup installed and uninstalled, and left only the owner's data");

    // Its examples are left out: they would be compiled by whichever rustdoc is found first.
    let mut tests = setup::release(compiler, &["test", "-p", "ledger", "--tests", "--quiet"]);
    wine.tell(&mut tests).env(format!("CARGO_TARGET_{}_RUNNER", TARGET.replace('-', "_").to_uppercase()), "wine");
    ensure!(tests.status()?.success(), "the ledger's tests failed under Wine");
    Ok(())
}

/// The same answer to the same text, token for token, as the worker of this system gives.
fn same_tokens(wine: &Wine, folder: &Path, model: &Path) -> Result<()> {
    let words = ["--prompt", PROMPT, "--tokens", "24", "--temperature", "0", "--backend", "cpu", "--json"];
    // Built anew only where there is none: by itself it would be built with fewer features than with the tests, and so twice.
    if system::program("chrysalis-worker").is_err() {
        system::run_cargo(&["build", "--bins", "-p", "worker"])?;
    }
    let here = Command::new(system::program("chrysalis-worker")?)
        .args(["generate", "--model"])
        .arg(model)
        .args(words)
        .stderr(Stdio::inherit())
        .output()?;
    let model = windows_path(model)?;
    let there =
        wine.run(&folder.join("chrysalis-worker.exe"), &[&["generate", "--model", &model], &words[..]].concat())?;
    let read = |output: &Output| -> Result<serde_json::Value> {
        ensure!(output.status.success(), "generate ended with {}", output.status);
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    let (here, there) = (read(&here)?, read(&there)?);
    ensure!(here["tokens"].as_array().is_some_and(|tokens| !tokens.is_empty()), "nothing was generated: {here}");
    ensure!(here == there, "this system generates {here}, Windows {there}");
    println!("under Wine: the same tokens as here: {}", here["text"]);
    Ok(())
}

/// Three processes, as on a PC: the app, its worker, the network.
fn practice(wine: &Wine, folder: &Path, model: &Path) -> Result<String> {
    let (model, data) = (windows_path(model)?, windows_path(&wine.data())?);
    let words = ["practice", "--jobs", "1", "--json", "--backend", "cpu", "--model", &model, "--data", &data];
    let output = wine.run(&folder.join("chrysalis.exe"), &words)?;
    ensure!(output.status.success(), "practice under Wine ended with {}", output.status);
    judge_practice(&String::from_utf8_lossy(&output.stdout))
}

/// Neither setup nor uninstaller touches a program at work.
fn refuses_while_running(wine: &Wine, folder: &Path) -> Result<()> {
    let data = tempfile::tempdir()?;
    let program = folder.join("chrysalis-network.exe");
    let data_there = windows_path(data.path())?;
    let mut command = wine.command(&program);
    command.args(["practice", "--customers", "0", "--model", "none", "--data", &data_there]);
    let mut running = Ended(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
    let mut line = String::new();
    let out = running.0.stdout.take().context("it has no standard output")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line)?;
    ensure!(line.contains("ready"), "the network did not start under Wine: {line:?}");
    // In its own folder it does not go on in a copy of itself, so its code is the one that counts.
    let stay = format!("_?={}", windows_path(folder)?);
    let refused = wine.run(&folder.join("uninstall.exe"), &["/S", &stay])?;
    ensure!(refused.status.code() == Some(2), "the uninstaller of a running program ended with {}", refused.status);
    for name in PROGRAMS {
        ensure!(folder.join(format!("{name}.exe")).is_file(), "the uninstaller removed {name} while one of three ran");
    }
    // Closing its input asks it to end.
    drop(running.0.stdin.take());
    let status = running.0.wait()?;
    ensure!(status.success(), "the network ended with {status} under Wine");
    Ok(())
}

/// A process that does not outlive a check that failed.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

impl Wine {
    fn start() -> Result<Self> {
        let wine = Self { prefix: tempfile::tempdir()? };
        let mut boot = Command::new("wineboot");
        let status = wine.tell(&mut boot).arg("-i").stdout(Stdio::null()).stderr(Stdio::null()).status();
        ensure!(status.context("cannot start wineboot")?.success(), "Wine made no Windows of its own");
        wine.server("-w")?;
        let random = wine.drive().join("windows/system32/bcryptprimitives.dll");
        if !random.exists() {
            let source = wine.prefix.path().join("random.c");
            std::fs::write(&source, RANDOM)?;
            let status = Command::new("x86_64-w64-mingw32-gcc")
                .args(["-shared", "-O2", "-o"])
                .arg(&random)
                .arg(&source)
                .arg("-ladvapi32")
                .status()
                .context("cannot start the C compiler for Windows")?;
            ensure!(status.success(), "the library of random numbers for Wine does not build");
        }
        Ok(wine)
    }

    /// The disk C:.
    fn drive(&self) -> PathBuf {
        self.prefix.path().join("drive_c")
    }

    /// Where practice keeps what it must not lose.
    fn data(&self) -> PathBuf {
        self.drive().join("chrysalis-data")
    }

    fn run(&self, program: &Path, words: &[&str]) -> Result<Output> {
        let mut command = self.command(program);
        Ok(command.args(words).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("wine");
        self.tell(&mut command).arg(program);
        command
    }

    fn tell<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("WINEPREFIX", self.prefix.path()).env("WINEDEBUG", "-all").env_remove("DISPLAY")
    }

    fn server(&self, word: &str) -> Result<()> {
        let mut command = Command::new("wineserver");
        self.tell(&mut command).arg(word).status().context("cannot start wineserver")?;
        Ok(())
    }

    fn knows_key(&self) -> Result<bool> {
        let mut command = Command::new("wine");
        let asked = self.tell(&mut command).args(["reg", "query", KEY]).stdin(Stdio::null()).output()?;
        Ok(asked.status.success())
    }

    /// The one path under C: of this form, in which one part may be `*`.
    fn only(&self, form: &str) -> Result<PathBuf> {
        let Some((before, after)) = form.split_once("*/") else { bail!("{form} has no part to find") };
        let folder = self.drive().join(before);
        let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let found = entries.filter_map(Result::ok).map(|entry| entry.path().join(after)).find(|path| path.exists());
        found.with_context(|| format!("the setup made no {form}"))
    }
}

impl Drop for Wine {
    fn drop(&mut self) {
        // Ends whatever still runs in this Windows, and in no other.
        let _ = self.server("-k");
        let _ = self.server("-w");
    }
}

/// A path of this system as Wine's programs name it: the whole of it is their disk Z:.
fn windows_path(path: &Path) -> Result<String> {
    let path = path.canonicalize().or_else(|_| std::path::absolute(path))?;
    let text = path.to_str().with_context(|| format!("{} is no text", path.display()))?;
    Ok(format!("Z:{}", text.replace('/', "\\")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_this_system_is_one_of_the_disk_z() {
        let folder = tempfile::tempdir().unwrap();
        let there = windows_path(&folder.path().join("not there.gguf")).unwrap();
        assert!(there.starts_with("Z:\\") && there.ends_with("\\not there.gguf"), "{there}");
        assert!(!there.contains('/'));
    }
}
