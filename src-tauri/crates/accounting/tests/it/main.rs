//! The crate from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

/// Random counts, payments and names.
mod random;
/// Payments that a genuine proxy signed.
mod recorded;
