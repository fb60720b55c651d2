//! Machines that were never here: each is one text file under `tests/fixtures/gpu` that a test turns into a folder with `sys`,
//! `proc` and `usr/share`.
//!
//! - [`machine`]: those files, and NVIDIA's library as they record it.
//! - [`expected`]: every machine gives exactly the facts written beside it.
//! - [`behaviour`]: sleeping cards are not woken, hung ones hide nobody, and what else a single answer does not show.
//! - [`garbage`]: whatever stands in a file, nothing panics.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

mod behaviour;
mod expected;
mod garbage;
mod machine;
