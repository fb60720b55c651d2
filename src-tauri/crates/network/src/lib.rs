//! The other roles of a Cocoon network: a proxy that routes, counts and signs, a gateway that turns HTTP as OpenAI's clients speak it
//! into questions to a proxy, and a practice network with simulated customers.
//!
//! What lives here: sockets, files, SQLite, HTTP and the tasks around the pure machines of `protocol`. What may not: inference (this
//! crate never reaches `engine`), the window, decisions that belong into a pure machine.
//!
//! A walk-through. [`proxy::start`] binds two ports, one for workers and one for clients. Each accepted socket gets a task
//! ([`wire`]) that takes it through proof of work and TLS within 20 seconds and then moves plaintext both ways with bounded buffers.
//! All plaintext meets in one task that owns the `protocol::proxy::Core`: no lock, one owner. Accounts reach the disk ([`store`])
//! before anything is signed for them. [`gateway::start`] keeps one task per proxy, each the owner of a `protocol::client::Session`,
//! and an HTTP server whose requests meet those tasks through channels. [`practice::start`] puts both into one process and lets
//! simulated customers ask questions over real HTTP. [`chain::start`] is a chain on this machine for those who want real wallets and contracts
//! without real money. [`registrar::start`] lets machines' TPMs become known, for proxies that demand that.
//!
//! Prompts and answers pass through here in clear, because proxy and gateway must see them; none is ever logged or stored.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap"))]

pub mod chain;
pub mod cli;
mod clock;
pub mod config;
pub mod contracts;
pub mod gateway;
pub mod keys;
pub mod misbehaviour;
pub mod practice;
pub mod proxy;
pub mod registrar;
pub mod store;
pub mod treasury;
mod web;
pub mod wire;
