//! The box seen from both sides, with the program of `tests/probe` inside.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

#[cfg(target_os = "linux")]
mod boxed; // what a boxed process has, how it ends, what is heard of it
#[cfg(windows)]
mod walls; // the same on Windows, as far as Wine has it
