//! The boxed process: prompts and the model, nothing that earns and nothing that opens.
//!
//! What lives here: glue between the app's pipe ([`link`]), proof of work and TLS ([`ratls`]), the conversation with a proxy
//! ([`protocol`]), the OpenAI-style interface ([`completions`]) and the model ([`engine`]). What may not: files by name (but for
//! the developer's subcommands), sockets, the environment, keys that earn. The only key is the one of a TLS certificate, made
//! anew for each connection.
//!
//! A walk-through: [`serve::run`] is the event loop. It greets the app over [`pipe`], lets [`inference`] read the model from an
//! inherited descriptor, and says `Ready`. For each connection the app dials it opens a [`lane`]: ciphertext in, proof of work
//! on a thread of its own, TLS, session. A job's request goes through [`completions::parse`] to [`inference`]; pieces of text
//! come back as events, become an [`completions::Answer`] and leave through session, TLS and lane, token by token. What is said
//! to the app about a job are counts. A worker that is told to enrol a TPM does only that (module `enrol`).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap"))]

pub mod clock;
pub mod completions;
pub mod confinement;
pub mod developer;
mod enrol;
pub mod event;
pub mod inference;
pub mod job;
pub mod lane;
pub mod memory;
pub mod pipe;
pub mod randomness;
mod scrutiny;
pub mod serve;
pub mod threads;
