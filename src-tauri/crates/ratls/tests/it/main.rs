//! The crate from outside: against recordings, against itself, against OpenSSL, against everything that must be refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may unwrap and say what it skipped"
)]

// What tests are made of.
mod fixture; // the recordings under tests/fixtures/cocoon
mod maker; // certificates, good and bad, written byte by byte
mod pair; // two channels, or a channel and a bare rustls peer, joined without a socket
#[expect(dead_code, reason = "only quotes of TDX stand in certificates")]
#[path = "../../../evidence/tests/it/samples.rs"]
mod samples; // genuine quotes

mod record; // TLS 1.3 decrypted with a key log

// The tests.
mod identities; // what our own certificates look like
mod mutations; // certificates and preambles with damage
mod openssl; // a real process at the other end
mod processors; // real quotes of Intel TDX
mod recorded_certificates; // genuine certificates under all policies
mod recorded_handshakes; // genuine connections, decrypted
mod refusals; // every bad certificate there is a rule for
mod two_ends; // our client against our server
