//! `cargo xtask test`: the parts in their order, stopping at the first failure, with the minutes each took.

use crate::{bundle, contracts, declarations, lavapipe, model, page, system, vocabularies};
use anyhow::{Result, bail};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How much longer the seeded loops of the tests run with `--full`: mutants per decoder, and real kills of the app.
const FULL_MUTANTS: &str = "200000";
const FULL_KILLS: &str = "200";

struct Part {
    name: &'static str,
    took: Duration,
}

/// Runs everything; `Some` exit code other than success only where something may not be installed.
pub(crate) fn test(full: bool) -> Result<ExitCode> {
    let needed: Vec<system::Needed> = system::BUILD
        .into_iter()
        .chain(system::VULKAN)
        .chain(system::MODEL)
        .chain(system::TEST)
        .chain(system::is_debian().then_some(system::SECOND_CARD))
        .collect();
    let mut parts = Vec::new();
    let mut code = None;
    part(&mut parts, "packages", || {
        code = system::install(&needed)?;
        Ok(())
    })?;
    if let Some(code) = code {
        return Ok(code);
    }
    let mut folder = None;
    part(&mut parts, "practice model", || {
        folder = model::fetch()?.parent().map(std::path::Path::to_owned);
        Ok(())
    })?;
    part(&mut parts, "vocabularies", || {
        vocabularies::fetch()?;
        declarations::fetch()?;
        if full {
            model::fetch_gemma()?;
        }
        Ok(())
    })?;
    part(&mut parts, "page", page::test)?;
    part(&mut parts, "contracts", || contracts::test(full))?;
    part(&mut parts, "format", || system::run_cargo(&["fmt", "--all", "--check"]))?;
    // Programs and tests in one go: on their own, the programs would be built with fewer features, and so twice.
    part(&mut parts, "build and lints", || {
        let mut command = system::linting_cargo();
        command.args(["build", "--workspace", "--all-targets", "--quiet"]);
        if !command.status()?.success() {
            bail!("it does not build without a warning; the first is above");
        }
        Ok(())
    })?;
    part(&mut parts, "tests", || {
        let mut command = system::linting_cargo();
        command.args(["test", "--workspace", "--no-fail-fast"]).env("CHRYSALIS_TEST_PROGRAMS", programs()?);
        // What was installed above must be used: nothing is skipped.
        command.env("CHRYSALIS_REQUIRE_DISPLAY", "1").env("CHRYSALIS_REQUIRE_GPU", "1");
        command.env("CHRYSALIS_REQUIRE_VOCABULARIES", "1").env("CHRYSALIS_REQUIRE_NODE", "1");
        command.env("CHRYSALIS_REQUIRE_KEYCHAIN", "1");
        if system::is_debian() {
            command.env("CHRYSALIS_REQUIRE_SECOND_GPU", "1");
        }
        if let Some(folder) = &folder {
            command.env("MODELS", folder);
        }
        if full {
            command.env("CHRYSALIS_REQUIRE_GEMMA", "1");
            command.env("CHRYSALIS_MUTANTS", FULL_MUTANTS).env("CHRYSALIS_KILLS", FULL_KILLS);
        }
        if !command.status()?.success() {
            bail!("a test failed; its output is above");
        }
        Ok(())
    })?;
    part(&mut parts, "documentation", || {
        let mut command = system::cargo();
        command.args(["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings");
        if !command.status()?.success() {
            bail!("the documentation does not build");
        }
        Ok(())
    })?;
    let mut not_run = Vec::new();
    if full {
        part(&mut parts, "newer Mesa", || {
            not_run.extend(lavapipe::test()?);
            Ok(())
        })?;
        // The browser came with the second graphics card.
        if system::is_debian() {
            part(&mut parts, "screens", page::screens)?;
        } else {
            not_run.push("the page in a browser: needs Debian's chromium".to_owned());
        }
        for (name, system) in [("linux package", bundle::For::Linux), ("windows setup", bundle::For::Windows)] {
            part(&mut parts, name, || {
                match bundle::make(system, true)? {
                    bundle::Made::Done => {}
                    bundle::Made::NotChecked(why) => not_run.push(why),
                    bundle::Made::Stopped(_) => bail!("what this part needs is missing; the line to run is above"),
                }
                Ok(())
            })?;
        }
    }
    let total: Duration = parts.iter().map(|part| part.took).sum();
    for part in &parts {
        println!("{:>16}  {:5.1} min", part.name, part.took.as_secs_f64() / 60.0);
    }
    println!("{:>16}  {:5.1} min", "all", total.as_secs_f64() / 60.0);
    for why in &not_run {
        println!("not run: {why}");
    }
    Ok(ExitCode::SUCCESS)
}

fn part(parts: &mut Vec<Part>, name: &'static str, run: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("== {name}");
    let begin = Instant::now();
    let outcome = run();
    let took = begin.elapsed();
    println!("== {name}: {:.1} min", took.as_secs_f64() / 60.0);
    parts.push(Part { name, took });
    outcome
}

fn programs() -> Result<std::path::PathBuf> {
    Ok(system::program("chrysalis")?.parent().map_or_else(Default::default, std::path::Path::to_owned))
}
