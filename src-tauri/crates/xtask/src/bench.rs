//! `cargo xtask bench`: `end-to-end` starts the measurement that stands with the system tests, on the practice model; `engine` compares
//! with llama.cpp; `ledger` opens a large file.

pub(crate) mod engine;

use crate::system;
use anyhow::{Result, bail};
use std::path::Path;
use std::process::ExitCode;

/// What is measured.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum What {
    /// The whole way against the engine alone.
    EndToEnd,
    /// The engine against llama.cpp.
    Engine,
    /// Opening a ledger of a million jobs.
    Ledger,
}

/// Prints one JSON object; docs/benchmarks.md says how to read it.
pub(crate) fn end_to_end(model: &Path, rounds: u32) -> Result<ExitCode> {
    let mut command = system::cargo();
    command.args(["run", "--quiet", "--package", "system-tests", "--example", "end-to-end", "--"]);
    command.arg(model).arg(rounds.to_string());
    command.env("CHRYSALIS_TEST_PROGRAMS", system::program("chrysalis")?.parent().unwrap_or(Path::new(".")));
    if !command.status()?.success() {
        bail!("the measurement failed");
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints one JSON object; docs/benchmarks.md says how to read it.
pub(crate) fn ledger() -> Result<ExitCode> {
    let mut command = system::cargo();
    command.args(["run", "--quiet", "--package", "ledger", "--example", "large"]);
    if !command.status()?.success() {
        bail!("the measurement failed");
    }
    Ok(ExitCode::SUCCESS)
}
