//! Windows' programs without Windows: Wine installs the setup, runs what it brought and the tests of ledger, sandbox, tpm and wallet, and removes it. What Wine
//! can't show is the window (it has no web view) and a graphics card.

use super::compiler::{Compiler, TARGET};
use super::deadline::{self, Running};
use super::setup::{self, Built};
use super::{PROGRAMS, VERSION, judge_practice};
use crate::system;
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A Windows of its own, gone with this value.
struct Wine {
    prefix: TempDir,
}

/// Rust's programs take their random numbers from a library that Wine before version 9 does not have. This stands in for it.
const RANDOM: &str = include_str!("random.c");
/// Starts a program without standard handles.
const STARTER: &str = include_str!("starter.c");
/// How long anything may take that does nothing much.
const QUICK: Duration = Duration::from_mins(3);
/// How long anything may take that answers questions or runs tests.
const LONG: Duration = Duration::from_mins(10);
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

    speaks_in_a_console(&wine, &folder)?;
    same_tokens(&wine, &folder, model)?;
    let data = practice(&wine, &folder, model)?;
    refuse_while_running(&wine, &folder, &built.setup)?;

    let removed = wine.run(&folder.join("uninstall.exe"), &["/S"])?;
    ensure!(removed.status.success(), "the uninstaller ended with {}", removed.status);
    let since = Instant::now();
    while folder.exists() {
        ensure!(since.elapsed() < REMOVING, "uninstalling left {}", folder.display());
        std::thread::sleep(Duration::from_millis(200));
    }
    ensure!(!shortcut.exists(), "uninstalling left the shortcut");
    ensure!(!wine.knows_key()?, "uninstalling left its key in the registry");
    for file in &data {
        ensure!(file.is_file(), "uninstalling took {} with it, which is the owner's", file.display());
    }
    println!("under Wine: the setup installed and uninstalled, and left only the owner's data");

    // Its examples are left out: they would be compiled by whichever rustdoc is found first.
    let tests = ["test", "-p", "ledger", "-p", "sandbox", "-p", "tpm", "-p", "wallet", "--tests", "--quiet"];
    let built = setup::release(compiler, &[&tests[..], &["--no-run"]].concat()).status()?;
    ensure!(built.success(), "the tests of ledger, sandbox, tpm and wallet for Windows were not built");
    let mut tests = setup::release(compiler, &tests);
    wine.tell(&mut tests).env(format!("CARGO_TARGET_{}_RUNNER", TARGET.replace('-', "_").to_uppercase()), "wine");
    let passed =
        deadline::status(&mut tests, "the run of the tests of ledger, sandbox, tpm and wallet under Wine", LONG)?;
    ensure!(passed.success(), "the tests of ledger, sandbox, tpm or wallet failed under Wine");
    Ok(())
}

/// What the app's commands print reaches the console that started them, though the app brings none and is given no other place.
fn speaks_in_a_console(wine: &Wine, folder: &Path) -> Result<()> {
    let starter = wine.compile("starter.exe", STARTER, &[])?;
    // A terminal of this system is a console to Wine.
    let mut command = Command::new("script");
    wine.tell(&mut command).args(["-q", "-e", "-c", "exec wine \"$STARTER\" \"$PROGRAM\" --version", "/dev/null"]);
    command.env("SHELL", "/bin/sh").env("STARTER", windows_path(&starter)?);
    command.env("PROGRAM", windows_path(&folder.join("chrysalis.exe"))?);
    let said = deadline::output(&mut command, "chrysalis.exe --version in a console under Wine", QUICK)?;
    let text = String::from_utf8_lossy(&said.stdout);
    ensure!(said.status.success(), "chrysalis.exe --version ended with {} in a console under Wine", said.status);
    ensure!(text.contains(&format!("chrysalis {VERSION}")), "in a console under Wine, chrysalis.exe says {text:?}");
    println!("under Wine: chrysalis.exe brings no console and speaks in the one that started it");
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

/// Three processes, as on a PC: the app, its worker, the network. Everything is where an owner has it, so no folder is named. Gives the
/// files that are the owner's.
fn practice(wine: &Wine, folder: &Path, model: &Path) -> Result<[PathBuf; 2]> {
    let data = folder.join("../../chrysalis");
    let model_there = data.join("models").join(model.file_name().context("the model has no name")?);
    std::fs::create_dir_all(data.join("models"))?;
    std::fs::copy(model, &model_there)?;
    let output = wine.run(&folder.join("chrysalis.exe"), &["practice", "--jobs", "1", "--json", "--backend", "cpu"])?;
    ensure!(output.status.success(), "practice under Wine ended with {}", output.status);
    println!("under Wine: {}", judge_practice(&String::from_utf8_lossy(&output.stdout))?);
    let ledger = data.join("practice/ledger.sqlite");
    ensure!(ledger.is_file(), "practice kept no ledger in {}", ledger.display());
    // Seen from its own folder these paths would end with the programs.
    Ok([ledger.canonicalize()?, model_there.canonicalize()?])
}

/// Neither setup nor uninstaller touches a program at work; once it has ended, the setup puts everything there anew.
fn refuse_while_running(wine: &Wine, folder: &Path, setup: &Path) -> Result<()> {
    const CHANGED: &str = "changed by the check";
    let data = tempfile::tempdir()?;
    let data_there = windows_path(data.path())?;
    let mut command = wine.command(&folder.join("chrysalis-network.exe"));
    command.args(["practice", "--customers", "0", "--model", "none", "--data", &data_there]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = Running::start(&mut command, "the network under Wine", LONG)?;
    let line = running.first_line()?;
    ensure!(line.contains("ready"), "the network did not start under Wine: {line:?}");

    let licence = folder.join("LICENSE.txt");
    std::fs::write(&licence, CHANGED)?;
    let refused = wine.run(setup, &["/S"])?;
    ensure!(refused.status.code() == Some(2), "the setup over a running program ended with {}", refused.status);
    ensure!(std::fs::read_to_string(&licence)? == CHANGED, "the setup replaced files while one of three programs ran");
    // In its own folder it does not go on in a copy of itself, so its code is the one that counts.
    let stay = format!("_?={}", windows_path(folder)?);
    let refused = wine.run(&folder.join("uninstall.exe"), &["/S", &stay])?;
    ensure!(refused.status.code() == Some(2), "the uninstaller of a running program ended with {}", refused.status);
    for name in PROGRAMS {
        ensure!(folder.join(format!("{name}.exe")).is_file(), "the uninstaller removed {name} while one of three ran");
    }

    // That asks it to end.
    running.close_input();
    let status = running.end()?;
    ensure!(status.success(), "the network ended with {status} under Wine");
    let again = wine.run(setup, &["/S"])?;
    ensure!(again.status.success(), "the setup over an older one ended with {}", again.status);
    ensure!(std::fs::read_to_string(&licence)? != CHANGED, "the setup left a file of the older one");
    println!(
        "under Wine: setup and uninstaller refuse while a program runs; afterwards the setup renews what is there"
    );
    Ok(())
}

impl Wine {
    fn start() -> Result<Self> {
        let wine = Self { prefix: tempfile::tempdir()? };
        let mut boot = Command::new("wineboot");
        wine.tell(&mut boot).arg("-i").stdout(Stdio::null()).stderr(Stdio::null());
        let status = deadline::status(&mut boot, "wineboot", QUICK)?;
        ensure!(status.success(), "Wine made no Windows of its own");
        wine.server("-w", QUICK)?;
        let random = wine.drive().join("windows/system32/bcryptprimitives.dll");
        if !random.exists() {
            let made = wine.compile("bcryptprimitives.dll", RANDOM, &["-shared", "-ladvapi32"])?;
            std::fs::copy(made, random)?;
        }
        Ok(wine)
    }

    /// Compiles a small program or library for the check, into the folder of this Windows.
    fn compile(&self, name: &str, text: &str, words: &[&str]) -> Result<PathBuf> {
        let (source, made) = (self.prefix.path().join(format!("{name}.c")), self.prefix.path().join(name));
        std::fs::write(&source, text)?;
        let mut command = Command::new("x86_64-w64-mingw32-gcc");
        let status = command.args(["-O2", "-o"]).arg(&made).arg(&source).args(words).status();
        ensure!(status.context("cannot start the C compiler for Windows")?.success(), "{name} for Wine does not build");
        Ok(made)
    }

    /// The disk C:.
    fn drive(&self) -> PathBuf {
        self.prefix.path().join("drive_c")
    }

    fn run(&self, program: &Path, words: &[&str]) -> Result<Output> {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{name} {} under Wine", words.first().unwrap_or(&""));
        deadline::output(self.command(program).args(words), &name, LONG)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("wine");
        self.tell(&mut command).arg(program);
        command
    }

    fn tell<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("WINEPREFIX", self.prefix.path()).env("WINEDEBUG", "-all");
        // Nothing is shown, and models are where an owner has them.
        command.env_remove("DISPLAY").env_remove("MODELS")
    }

    fn server(&self, word: &str, longest: Duration) -> Result<()> {
        let mut command = Command::new("wineserver");
        deadline::status(self.tell(&mut command).arg(word), "wineserver", longest).map(|_| ())
    }

    fn knows_key(&self) -> Result<bool> {
        let mut command = Command::new("wine");
        self.tell(&mut command).args(["reg", "query", KEY]).stderr(Stdio::null());
        Ok(deadline::output(&mut command, "reg query under Wine", QUICK)?.status.success())
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
        let _ = self.server("-k", REMOVING);
        let _ = self.server("-w", REMOVING);
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
