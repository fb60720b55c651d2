//! The three programs for Windows, and the setup that brings them to one user of a PC. What the setup does stands in
//! installers/windows/setup.nsi.

use super::compiler::{Compiler, TARGET};
use super::{PROGRAMS, VERSION};
use crate::system;
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What was built for Windows.
pub(super) struct Built {
    /// The setup.
    pub(super) setup: PathBuf,
}

/// Builds the programs and the setup.
pub(super) fn make(compiler: &Compiler) -> Result<Built> {
    let words = ["build", "--bins", "-p", "desktop", "-p", "worker", "-p", "network"];
    let status = release(compiler, &words).stdout(Stdio::from(std::io::stderr())).status()?;
    if !status.success() {
        bail!("the programs for Windows were not built; the reason is above");
    }
    let folder = system::target()?.join(TARGET).join("release");
    for name in PROGRAMS.map(|name| format!("{name}.exe")).iter().map(String::as_str).chain(["WebView2Loader.dll"]) {
        if !folder.join(name).is_file() {
            bail!("{name} was not built into {}", folder.display());
        }
    }
    let program = std::fs::read(folder.join("chrysalis.exe"))?;
    if subsystem(&program) != Some(WITHOUT_CONSOLE) {
        bail!("chrysalis.exe would show a console behind its window");
    }
    let worker = std::fs::read(folder.join("chrysalis-worker.exe"))?;
    if stamp(&worker) != Some(0) {
        bail!("chrysalis-worker.exe says when it was built, so that no second build can have its hash");
    }
    let setup = folder.join(format!("Chrysalis_{VERSION}_x64-setup.exe"));
    let status = Command::new("makensis")
        .args(["-V2", "-WX"])
        .args(defined(&folder, &setup))
        .arg(system::root().join(SCRIPT))
        .stdin(Stdio::null())
        .stdout(Stdio::from(std::io::stderr()))
        .status()
        .context("cannot start makensis")?;
    if !status.success() {
        bail!("makensis made no setup; its reason is above");
    }
    Ok(Built { setup })
}

/// What Windows calls a program that brings no console.
const WITHOUT_CONSOLE: u16 = 2;

/// The header of a program: twenty bytes about the file, then those about the program.
fn header(program: &[u8]) -> Option<&[u8]> {
    let header = usize::try_from(u32::from_le_bytes(program.get(0x3c..0x40)?.try_into().ok()?)).ok()?;
    program.get(header..)?.strip_prefix(b"PE\0\0")
}

/// When a program was built, as it says itself; 0: it does not say.
fn stamp(program: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(header(program)?.get(4..8)?.try_into().ok()?))
}

/// How Windows is to start a program, as its header says.
fn subsystem(program: &[u8]) -> Option<u16> {
    let rest = header(program)?;
    Some(u16::from_le_bytes(rest.get(20 + 68..20 + 70)?.try_into().ok()?))
}

/// Cargo for Windows in the profile of what is shipped.
pub(super) fn release(compiler: &Compiler, words: &[&str]) -> Command {
    let mut command = compiler.cargo();
    command.args(words).args(["--release", "--target", TARGET]);
    // A standard library that was built on the spot may be without what optimising across crates reads; the programs hardly gain by it.
    command.env("CARGO_PROFILE_RELEASE_LTO", "false");
    command
}

const SCRIPT: &str = "installers/windows/setup.nsi";

/// What the script is told.
fn defined(folder: &Path, setup: &Path) -> [OsString; 4] {
    let told = |name: &str, value: &Path| {
        let mut word = OsString::from(format!("-D{name}="));
        word.push(value);
        word
    };
    [told("VERSION", Path::new(VERSION)), told("FROM", folder), told("TOP", &system::root()), told("OUT", setup)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn script() -> (String, String) {
        let text = std::fs::read_to_string(system::root().join(SCRIPT)).unwrap();
        let (install, remove) = text.split_once("Section \"Uninstall\"").unwrap();
        (install.to_owned(), remove.to_owned())
    }

    /// The names in quotes behind lines that begin with one of these, without their folders.
    fn names(text: &str, begins: &[&str]) -> BTreeSet<String> {
        let lines = text.lines().map(str::trim).filter(|line| begins.iter().any(|begin| line.starts_with(begin)));
        let quoted = lines.filter_map(|line| line.split('"').nth(1));
        quoted
            .filter_map(|path| path.trim_start_matches("/oname=").rsplit(['\\', '/']).next())
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn whatever_the_setup_puts_there_its_uninstaller_takes_away() {
        let (install, remove) = script();
        let put = names(&install, &["File ", "WriteUninstaller ", "CreateShortcut "]);
        assert_eq!(put, names(&remove, &["Delete "]));
        for program in PROGRAMS {
            assert!(put.contains(&format!("{program}.exe")), "the setup has no {program}.exe");
        }
        assert!(put.contains("LICENSE.txt") && put.contains("WebView2Loader.dll"));
        // Nothing is removed by what it might contain.
        assert!(!remove.contains("RMDir /r"));
    }

    #[test]
    fn what_the_setup_writes_into_the_registry_goes_as_one_key() {
        let (install, remove) = script();
        let writes = install.lines().map(str::trim).filter(|line| line.starts_with("WriteReg"));
        assert!(writes.clone().count() > 3);
        for line in writes {
            assert!(line.contains(" HKCU \"${KEY}\" "), "written elsewhere: {line}");
        }
        assert!(remove.contains("DeleteRegKey HKCU \"${KEY}\""));
    }

    #[test]
    fn the_uninstaller_takes_away_the_container_that_the_worker_ran_in() {
        let (install, remove) = script();
        let name = install.split("!define CONTAINER \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let code = std::fs::read_to_string(system::root().join("src-tauri/crates/sandbox/src/windows/container.rs"));
        assert!(code.unwrap().contains(&format!("const NAME: PCWSTR = w!(\"{name}\");")), "{name}");
        assert!(remove.contains("userenv::DeleteAppContainerProfile(w \"${CONTAINER}\")"));
    }

    #[test]
    fn no_administrator_is_asked_for_and_nothing_that_runs_is_ended() {
        let (install, remove) = script();
        assert!(install.contains("\nRequestExecutionLevel user\n"));
        assert!(install.contains("\nInstallDir \"$LOCALAPPDATA\\Programs\\${NAME}\"\n"));
        for section in [install.split("Section \"${NAME}\"").nth(1).unwrap(), &remove] {
            let first = section.lines().map(str::trim).find(|line| !line.is_empty()).unwrap();
            assert_eq!(first, "!insertmacro LeaveAloneWhatRuns");
        }
        assert!(!install.contains("taskkill") && !remove.contains("taskkill"));
        for program in PROGRAMS {
            assert!(install.contains(&format!("!insertmacro LeaveAloneWhileRunning \"{program}.exe\"")));
        }
    }

    #[test]
    fn a_web_view_that_was_removed_is_not_taken_for_one() {
        let (install, _) = script();
        let (_, check) = install.split_once("!macro DoneIfWebViewIsIn ROOT PATH\n").unwrap();
        let (check, uses) = check.split_once("!macroend").unwrap();
        let lines: Vec<&str> = check.lines().map(str::trim).collect();
        // Empty: past the next line. A version that means none: on. Anything else is a web view.
        assert_eq!(lines[1..3], ["StrCmp $0 \"\" +2", "StrCmp $0 \"0.0.0.0\" 0 webview_is_there"]);
        for place in ["HKLM \"SOFTWARE\\WOW6432Node\\${WEBVIEW}\"", "HKCU \"SOFTWARE\\${WEBVIEW}\""] {
            assert!(uses.contains(&format!("!insertmacro DoneIfWebViewIsIn {place}")), "{place}");
        }
        assert_eq!(install.matches("\"pv\"").count(), 1);
    }

    #[test]
    fn a_program_says_whether_it_brings_a_console_and_when_it_was_built() {
        let mut program = vec![0; 0x80];
        program[0x3c] = 0x60;
        program[0x60..0x64].copy_from_slice(b"PE\0\0");
        assert_eq!(subsystem(&program), None);
        program.resize(0x200, 0);
        program[0x60 + 4 + 20 + 68] = 2;
        assert_eq!(subsystem(&program), Some(WITHOUT_CONSOLE));
        assert_eq!(stamp(&program), Some(0));
        program[0x60 + 4 + 4] = 1;
        assert_eq!(stamp(&program), Some(1));
        assert_eq!(subsystem(b"MZ"), None);
        program[0x3c..0x40].fill(0xff);
        assert_eq!(subsystem(&program), None);
    }

    #[test]
    fn the_script_is_told_all_that_it_asks_for() {
        let (install, remove) = script();
        let told = defined(Path::new("/built"), Path::new("/built/setup.exe"));
        for word in &told {
            let name = word.to_str().unwrap().trim_start_matches("-D").split('=').next().unwrap().to_owned();
            assert!(install.contains(&format!("${{{name}}}")) || remove.contains(&format!("${{{name}}}")), "{name}");
        }
        assert_eq!(told[0].to_str().unwrap(), format!("-DVERSION={VERSION}"));
    }
}
