//! The client against swtpm, a TPM 2.0 that is a program: each test starts its own. What it says is judged by the crate `evidence`.

// swtpm and files that describe a Linux; the tests that run on Windows stand beside the code.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

#[path = "../../../evidence/tests/it/log.rs"]
mod log;

mod attest;
mod kept;
mod readers;
mod simulator;
mod trouble;
