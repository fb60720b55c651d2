//! Outside tests of `fuzzing`. This binary counts what it allocates, thread by thread.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

// The committed inputs, and seeded mutants of them, through every target.
mod replay;
