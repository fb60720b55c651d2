//! Rules about the house itself. Each test reads the repository as it is tracked and says where a rule is broken.
//!
//! - [`claims`]: no sentence about secrecy or income is stronger than what is proved.
//! - [`layers`]: who may depend on whom, top-level files, licences.
//! - [`source`]: rules about lines of source: purity, unsafe, SQL, statics, names, length, secrets.
//! - [`page`]: who talks to Tauri, and what is never shipped.
//! - [`documents`]: the coverage map and the promises in README and docs name tests that exist.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::case_sensitive_file_extension_comparisons,
    reason = "a test may unwrap, and the names of this repository's files are in lower case"
)]

mod claims;
mod documents;
mod layers;
mod page;
mod source;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's root folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Paths git tracks or would track (not ignored), relative to the root, with forward slashes.
pub(crate) fn tracked() -> Vec<String> {
    let out = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the repository's files");
    assert!(out.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines().filter(|path| root().join(path).is_file()).map(str::to_owned).collect()
}

/// Text of one tracked file.
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Text of one tracked Rust file without comments, string contents and test modules: what the rules of `source` look at.
pub(crate) fn code_of(path: &str) -> String {
    let text = read(path);
    let end = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
    text[..end].lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}
