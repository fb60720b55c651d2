//! The contracts of open and practice networks: compiled, priced and tested by what npm brings, in `tests/contracts`. What is compiled is
//! committed, so nobody needs Node to build or run the program.

use crate::{page, system};
use anyhow::{Context, Result, bail, ensure};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The oldest Node that the packages and the test runner take.
const NODE: u32 = 20;

/// Steps of the random sequences in the long run.
const FULL_STEPS: &str = "5000";

/// Compiles anew and writes down what each operation costs; or only says whether what is committed is what the sources give.
pub(crate) fn make(check: bool) -> Result<()> {
    fetch()?;
    if check {
        return node(&["compile.mjs", "--check"], &[]);
    }
    node(&["compile.mjs"], &[])?;
    node(&["costs.mjs"], &[])
}

/// Compares the committed code with its sources, and runs the tests on the sandbox; needs no network once its packages are there.
pub(crate) fn test(full: bool) -> Result<()> {
    make(true)?;
    let steps = [("CHRYSALIS_CONTRACT_STEPS", FULL_STEPS)];
    node(&["--test"], if full { &steps } else { &[] })
}

fn folder() -> PathBuf {
    system::root().join("tests/contracts")
}

fn fetch() -> Result<()> {
    let out = Command::new("node").arg("--version").output().context("cannot start node; is Node there?")?;
    let version = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    let major = major(&version).with_context(|| format!("node says its version is `{version}`"))?;
    ensure!(major >= NODE, "Node {version} is too old, {NODE} is needed");
    page::fetch_into(&folder())
}

fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

fn node(words: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    let status = Command::new("node")
        .args(words)
        .current_dir(folder())
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::from(std::io::stderr()))
        .status()
        .context("cannot start node; is Node there?")?;
    if !status.success() {
        bail!("`node {}` in tests/contracts failed", words.join(" "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_node_are_read() {
        assert_eq!(major("v20.20.2"), Some(20));
        assert_eq!(major("v8.0.0"), Some(8));
        assert_eq!(major("20.1.0"), None);
        assert_eq!(major(""), None);
    }
}
