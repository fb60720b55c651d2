//! Whole jobs between real processes on loopback: the app, its worker, a proxy, a gateway.
//!
//! - [`practice`]: the main job, with its report.
//! - [`processes`]: who runs where, and what the app's process never holds.
//! - [`faults`]: processes killed, ports taken, bytes garbled, customers gone.
//! - [`commands`]: wrong input at the command line.
//! - [`streams`]: what an OpenAI client sees.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may unwrap and say what it skipped"
)]

mod commands;
mod faults;
mod practice;
mod processes;
mod streams;
