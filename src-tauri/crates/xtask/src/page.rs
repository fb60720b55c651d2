//! The page of the window: fetched, checked and built by npm in `ui/`, before Rust embeds what comes out.

use crate::system;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::SystemTime;

/// Builds the page, unless what is there is newer than all it is made of.
pub(crate) fn build() -> Result<()> {
    let ui = system::root().join("ui");
    let built = modified(&ui.join("dist/index.html"));
    let sources = ["src", "messages", "public", "index.html", "package-lock.json", "vite.config.ts"];
    let newest = sources.iter().filter_map(|name| newest(&ui.join(name))).max();
    if built.is_some() && built >= newest {
        return Ok(());
    }
    fetch()?;
    npm(&["run", "build"])
}

/// Everything CI asks of the page.
pub(crate) fn test() -> Result<()> {
    fetch()?;
    for words in [&["run", "lint"][..], &["run", "check"], &["test"], &["run", "build"]] {
        npm(words)?;
    }
    Ok(())
}

/// Looks at the page in a browser, in dark and light and at three widths: accessibility, overflow, keyboard.
pub(crate) fn screens() -> Result<()> {
    fetch()?;
    npm(&["run", "screens"])
}

/// Fetches the packages of the lock file, unless they are there.
pub(crate) fn fetch() -> Result<()> {
    fetch_into(&system::root().join("ui"))
}

/// The same for any folder with a lock file.
pub(crate) fn fetch_into(folder: &Path) -> Result<()> {
    let fetched = modified(&folder.join("node_modules/.package-lock.json"));
    if fetched.is_some() && fetched >= modified(&folder.join("package-lock.json")) {
        return Ok(());
    }
    npm_in(folder, &["ci", "--no-audit", "--no-fund"])
}

fn npm(words: &[&str]) -> Result<()> {
    npm_in(&system::root().join("ui"), words)
}

fn npm_in(folder: &Path, words: &[&str]) -> Result<()> {
    let status = Command::new("npm")
        .args(words)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::from(std::io::stderr()))
        .status()
        .context("cannot start npm; is Node there?")?;
    if !status.success() {
        bail!("`npm {}` in {} failed", words.join(" "), folder.display());
    }
    Ok(())
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}

fn newest(path: &Path) -> Option<SystemTime> {
    let Ok(entries) = std::fs::read_dir(path) else { return modified(path) };
    entries.filter_map(Result::ok).filter_map(|entry| newest(&entry.path())).max()
}
