//! The worker from outside.
#![allow(clippy::print_stdout, reason = "a test says what it skipped")]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap"))]

/// What a request may hold, row by row, and what is said to the others.
mod requests;

/// The bytes of answers, read back as a client would.
mod answers;

/// The whole worker against an app and a proxy in this process.
mod serving;

/// Evidence and enrolment, passed on.
mod proof;

/// Genuine quotes and reports.
#[path = "../../../evidence/tests/it/samples.rs"]
mod samples;

/// The app's and the proxy's side for `serving`.
mod app;

/// Graphics cards: serving on one, having none, and one that fails.
mod devices;

/// A card of NVIDIA's behind a driver that is emulated, and lies.
mod cuda;

/// The program with its subcommands.
mod developer;
