//! Outside tests of `wallet`: real keychains, which are processes of their own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may unwrap and say what it skipped"
)]

#[cfg(windows)]
mod credential_manager;
#[cfg(target_os = "linux")]
mod secret_service;
