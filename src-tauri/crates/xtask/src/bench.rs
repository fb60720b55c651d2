//! `cargo xtask bench`: `end-to-end` starts the measurement that stands with the system tests, on the practice model; `engine` compares
//! with llama.cpp; `ledger` opens a large file; `box` closes the worker's walls.

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
    /// The walls around the worker: how long they take, and what they cost.
    Box,
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

/// Prints one JSON object; docs/benchmarks.md says how to read it.
pub(crate) fn walls(model: &Path, rounds: u32) -> Result<ExitCode> {
    let run = |which: &str| -> Result<serde_json::Value> {
        let mut command = system::cargo();
        command.args(["run", "--quiet", "--package", "worker", "--example", "walls", "--", which]).arg(model);
        let output = command.output()?;
        if !output.status.success() {
            bail!("{which}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    let (mut outside, mut inside) = (Vec::new(), Vec::new());
    for _ in 0..rounds.max(1) {
        outside.push(run("outside")?);
        inside.push(run("inside")?);
    }
    let median = |all: &[serde_json::Value], name: &str| {
        let mut values: Vec<f64> = all.iter().filter_map(|one| one[name].as_f64()).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    let (free, boxed) = (median(&outside, "tokens_per_second"), median(&inside, "tokens_per_second"));
    let report = serde_json::json!({
        "rounds": rounds,
        "tokens_per_second_outside": free,
        "tokens_per_second_inside": boxed,
        "inside_to_outside": free.zip(boxed).map(|(free, boxed)| boxed / free),
        "first_step_ms": median(&inside, "first_step_ms"),
        "second_step_ms": median(&inside, "second_step_ms"),
        "hashing_mb_per_second": median(&inside, "hashing_mb_per_second"),
    });
    println!("{report}");
    Ok(ExitCode::SUCCESS)
}
