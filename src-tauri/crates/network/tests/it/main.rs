//! Proxy, gateway and practice over real sockets, with a scripted worker in place of the real program.
//!
//! - [`stage`]: a proxy, a gateway, scripted workers and a plain HTTP customer.
//! - [`jobs`]: whole jobs: streamed or not, their headers, errors, timings and payments.
//! - [`faults`]: workers, proxies and customers that go away or do not read.
//! - [`hostile_peers`]: diallers that break the rules below HTTP.
//! - [`hostile_http`]: customers that break the rules of HTTP.
//! - [`wrongdoing`]: each misbehaviour that the practice proxy can be asked for.
//! - [`practice`]: simulated customers.
//! - [`programs`]: the program itself: its ready line, its exit codes, its end.
//! - [`chain`]: the embedded chain: fees, money, its file, requests that make no sense.
//! - [`chain_client`]: the client of crate `chain` against it, with an endpoint that does wrong.
//! - [`treasury`]: practice, proxy and gateway with real contracts on the embedded chain.
//! - [`ton_client`]: an unmodified TonClient and the reference sandbox against it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

mod chain;
mod chain_client;
mod faults;
mod hostile_http;
mod hostile_peers;
mod jobs;
mod practice;
mod programs;
mod stage;
mod ton_client;
mod treasury;
mod wrongdoing;
