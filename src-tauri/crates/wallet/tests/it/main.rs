//! Outside tests of `wallet`: real keychains, which are processes of their own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

#[cfg(windows)]
mod credential_manager;
#[cfg(target_os = "linux")]
mod secret_service;
