//! The provider: decides in [`core`], does in [`run`](mod@run).
//!
//! What lives here: keeping one worker process serving proxies or out of the owner's way, relaying their bytes, recomputing what
//! the worker says about money, writing it down. What may not: the window, SQL text, TL, TLS; nothing here could open a prompt.
//!
//! Walk-through: [`start`](run::start) checks nothing and owns everything that runs: it feeds [`core::Core`] with [`core::Input`]s and
//! executes its [`core::Effect`]s. Before that, [`model_file`] checks the model against the name it is served under and
//! [`folder`] takes the data folder for this process alone. [`snapshot::Snapshot`] is what there is to show,
//! [`history`] what there was. [`earnings`] says how far the money has come, [`receipt`] proves what was paid, [`movements`] says why money
//! came and went; [`paper`] writes a month down for people. [`doctor`] says which networks would take this PC, [`proof_file`] what a proof is
//! worth. Above it all, [`owner`] decides when a provider is started and stopped.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap"))]

pub mod core;
pub mod doctor;
pub mod earnings;
pub mod folder;
pub mod history;
pub mod model_file;
pub mod movements;
pub mod owner;
pub mod paper;
pub mod proceeds;
pub mod proof_file;
pub mod receipt;
pub mod run;
pub mod snapshot;

pub use link::message::{
    BackendKind, CallList, Configuration, Confinement, EvidenceKind, ModelFacts, PeerPolicy, Trial,
};
pub use link::proof::{AskedDemand, Enrolment, TdxDemand};
