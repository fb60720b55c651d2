//! The conversations from outside: against recordings of genuine programs, against garbage, against each other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may unwrap")]

/// Refusals with their codes, and what we do differently from the genuine programs.
mod behaviour;
/// Garbage, cuts and chunkings.
mod hostile_bytes;
/// The network that was recorded: keys, addresses, root configuration.
mod recorded_network;
/// Reading recordings.
mod recording;
/// Each machine in its role of each recording, byte for byte.
mod replay;
/// Clocks, ids and hosts for tests that are not replays.
mod stage;
/// The table in docs/protocol.md against what is replayed.
mod table;
/// Worker, proxy and client against each other in virtual time.
mod together;
