//! Whole jobs between real processes on loopback: the app, its worker, a proxy, a gateway.
//!
//! - [`practice`]: the main job, with its report.
//! - [`processes`]: who runs where, and what the app's process never holds.
//! - [`faults`]: processes killed or stopped, bytes garbled, customers gone.
//! - [`trouble`]: a graphics card that fails.
//! - [`tuning`]: a graphics card is tried out, and lies.
//! - [`wrongdoing`]: every way in which a practice proxy can be asked to do wrong.
//! - [`flags`]: what the words of `chrysalis headless` do.
//! - [`money`]: payouts on the embedded chain.
//! - [`clocks`]: payouts while this machine's clock is wrong by a day.
//! - [`closing`]: payouts before a proxy's contract is closed.
//! - [`kills`]: payouts of an app that is killed again and again.
//! - [`earnings`]: what came of them: proofs, lost ledgers, tables.
//! - [`wallet`]: the owner's wallet at the command line.
//! - [`proof`]: proxies that demand proof, and TPMs.
//! - [`commands`]: wrong input at the command line.
//! - [`endings`]: how programs end that were told to, or can not go on.
//! - [`streams`]: what an OpenAI client sees.
//! - [`open`]: a network of two programs, for the tests that practice is too simple for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may unwrap and say what it skipped"
)]

mod clocks;
mod closing;
mod commands;
mod earnings;
mod endings;
mod faults;
mod fees;
mod flags;
mod kills;
mod money;
mod open;
mod practice;
mod processes;
mod proof;
#[path = "../../src-tauri/crates/evidence/tests/it/samples.rs"]
mod samples;
mod streams;
mod trouble;
mod tuning;
mod wallet;
mod wrongdoing;
