//! The crate from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

/// Random cells, addresses and bytes.
mod random;
/// Addresses that a genuine proxy derived.
mod recorded;
