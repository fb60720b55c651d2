//! Evidence as it would come from attesters, honest and not. What needs a TPM's own answers is tried in the crate `tpm`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

mod boots;
mod confusion;
mod container;
mod kept_keys;
mod log;
mod processors;
mod roots;
mod samples;
mod software;
mod statements;
