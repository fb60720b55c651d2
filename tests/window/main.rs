//! The real window under a screen of the tests' own, driven by WebDriver, and the real tray icon, through its menu on the bus. Pictures
//! are kept in `target/screenshots`.
//!
//! - [`journeys`]: what an owner does in the window.
//! - [`tray`]: what an owner does in the tray, with and without a host for icons.
//! - [`figures`]: memory and times, printed and never judged tightly.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may unwrap and say what it skipped"
)]
#![cfg(target_os = "linux")]

mod figures;
mod journeys;
mod tray;

use std::path::PathBuf;

use system_tests::desk::Desk;
use system_tests::program::{children_of, descendants_of, name_of};
use system_tests::{tiny_model, until};

/// Words for the app with the tiny model and a folder of its own.
struct Setting {
    desk: Desk,
    folder: tempfile::TempDir,
    model: String,
}

impl Setting {
    fn start() -> Option<Self> {
        let desk = Desk::start()?;
        let folder = tempfile::tempdir().unwrap();
        Some(Self { desk, folder, model: tiny_model().to_string_lossy().into_owned() })
    }

    fn words<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let mut words =
            vec!["--data", self.folder.path().to_str().unwrap(), "--model", &self.model, "--backend", "cpu"];
        words.extend(more);
        words
    }

    fn ledger(&self) -> PathBuf {
        self.folder.path().join("ledger.sqlite")
    }

    /// The app's process: the one with this folder among its words that is no window.
    fn app(&self) -> u32 {
        until("the app's process", || find_app(self.folder.path().to_str().unwrap()))
    }

    fn answered(&self) -> u64 {
        ledger::Ledger::open(&self.ledger(), 0).unwrap().all_time_totals().unwrap().answered
    }
}

fn find_app(data: &str) -> Option<u32> {
    std::fs::read_dir("/proc").ok()?.filter_map(Result::ok).find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let words: Vec<&str> =
            line.split(|byte| *byte == 0).filter_map(|word| std::str::from_utf8(word).ok()).collect();
        let app = words.first()?.ends_with("/chrysalis") && words.contains(&data);
        app.then_some(pid)
    })
}

/// The worker's process under the app.
fn worker_of(app: u32) -> Option<u32> {
    children_of(app).into_iter().find(|pid| name_of(*pid).starts_with("chrysalis-worke"))
}

/// The window's process under the app: the child that is the same program.
fn window_of(app: u32) -> Option<u32> {
    children_of(app).into_iter().find(|pid| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.split(|byte| *byte == 0).nth(1) == Some(b"window"))
    })
}

/// All processes of the window: its own and the web view's.
fn window_family(app: u32) -> Vec<u32> {
    window_of(app).map(|window| [vec![window], descendants_of(window)].concat()).unwrap_or_default()
}
