//! The engine from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]
#![allow(clippy::print_stdout, reason = "a test says what it skipped")]

/// Requests, batches, stops, counts, cancellation.
mod answers;
/// Files that mean no good.
mod hostile;
/// The same tokens as llama.cpp.
mod parity;
/// Templates out to exhaust the machine.
mod templates;
/// The tiny model made from nothing.
mod tiny;
/// Vocabularies of several families, token by token as llama.cpp.
mod tokens;
/// Vocabularies made up for the purpose.
mod vocabularies;
