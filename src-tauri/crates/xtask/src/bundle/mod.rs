//! `cargo xtask bundle`: what an owner installs, on either system, and with `--check` the proof that it installs, works and goes.
//!
//! - [`deb`]: the package for Debian and Ubuntu, made by Tauri's bundler; [`installed`] installs it here, uses it and removes it.
//! - [`setup`]: the three programs for Windows and the setup around them; [`wine`] tries both without Windows.
//! - [`deadline`]: programs that must end in time.
//! - [`compiler`]: who can build for Windows on this machine; `cargo xtask test` asks it too, to type-check the modules for Windows.
//!
//! Nothing here signs anything: there is no key to sign with yet.

mod compiler;
mod deadline;
mod deb;
mod installed;
mod setup;
mod wine;

use crate::{model, page, system};
use anyhow::Result;
use std::path::Path;
use std::process::ExitCode;

/// The programs that are shipped, without what a system puts behind their names.
const PROGRAMS: [&str; 3] = ["chrysalis", "chrysalis-worker", "chrysalis-network"];
/// The version of everything that is shipped.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// For whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum For {
    /// A package for Debian and Ubuntu.
    Linux,
    /// A setup for Windows, built on Linux.
    Windows,
}

/// What became of it.
pub(crate) enum Made {
    /// It is there, and was checked if that was wanted.
    Done,
    /// It is there, but could not be checked on this machine; says why.
    NotChecked(String),
    /// Something is missing that may not be installed from here; the line to run has been printed.
    Stopped(ExitCode),
}

/// Builds, wraps, and checks if wanted.
pub(crate) fn make(system: For, check: bool) -> Result<Made> {
    let mut needed: Vec<system::Needed> = system::BUILD.to_vec();
    match system {
        For::Linux => {}
        For::Windows => needed.extend(system::WINDOWS),
    }
    if check {
        needed.extend(system::MODEL);
        match system {
            For::Linux => needed.extend(system::VULKAN),
            For::Windows => needed.extend(system::WINE),
        }
    }
    if let Some(code) = system::install(&needed)? {
        return Ok(Made::Stopped(code));
    }
    page::fetch()?;
    page::build()?;
    match system {
        For::Linux => {
            let package = deb::make()?;
            tell(&package)?;
            if check { installed::check(&package, &model::fetch()?) } else { Ok(Made::Done) }
        }
        For::Windows => {
            let Some(compiler) = compiler::find()? else { return Ok(Made::Stopped(ExitCode::from(system::ASKED))) };
            let built = setup::make(&compiler)?;
            tell(&built.setup)?;
            if check {
                wine::check(&compiler, &built, &model::fetch()?)?;
            }
            Ok(Made::Done)
        }
    }
}

/// Says where the result is and how large.
fn tell(file: &Path) -> Result<()> {
    println!("{}  {:.1} MB", file.display(), std::fs::metadata(file)?.len() as f64 / 1e6);
    Ok(())
}

/// The last line of practice with `--json`: one question at least was answered and paid.
fn judge_practice(output: &str) -> Result<String> {
    let last = output.trim_end().lines().last().unwrap_or_default();
    let report: serde_json::Value = serde_json::from_str(last)
        .map_err(|error| anyhow::anyhow!("practice ended with the line {last:?}, which is no report: {error}"))?;
    let number = |name: &str| report[name].as_u64().unwrap_or(0);
    anyhow::ensure!(number("jobs") >= 1, "practice answered no question: {last}");
    anyhow::ensure!(number("signed_nanoton") >= 1, "practice was paid nothing: {last}");
    Ok(last.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_practice_counts_only_with_an_answer_and_a_payment() {
        let report =
            |jobs: u64, signed: &str| format!("Practice: …\n{{\"jobs\":{jobs},\"signed_nanoton\":{signed}}}\n");
        assert_eq!(judge_practice(&report(1, "20")).unwrap(), "{\"jobs\":1,\"signed_nanoton\":20}");
        assert!(judge_practice(&report(0, "20")).unwrap_err().to_string().contains("no question"));
        assert!(judge_practice(&report(1, "null")).unwrap_err().to_string().contains("paid nothing"));
        assert!(judge_practice("cannot start").unwrap_err().to_string().contains("no report"));
        assert!(judge_practice("").is_err());
    }

    #[test]
    fn everything_that_is_shipped_has_one_version() {
        let config = std::fs::read_to_string(system::root().join("tauri.conf.json")).unwrap();
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();
        assert_eq!(config["version"], VERSION);
    }
}
