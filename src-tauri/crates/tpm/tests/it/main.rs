//! The client against swtpm, a TPM 2.0 that is a program: each test starts its own. What it says is judged by the crate `evidence`.

// swtpm and files that describe a Linux; the tests that run on Windows stand beside the code.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

#[path = "../../../evidence/tests/it/log.rs"]
mod log;

#[allow(dead_code, unreachable_pub, reason = "the system's tests take the same file")]
#[path = "../../../../../tests/harness/tpm.rs"]
mod simulator;

mod attest;
mod kept;
mod readers;
mod trouble;
