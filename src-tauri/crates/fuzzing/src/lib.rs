//! Every place where bytes from outside are read, as a function of bytes; for libFuzzer (`src-tauri/fuzz`) and for plain
//! `cargo test`, which replays the committed inputs and a bounded number of mutants of them.
//!
//! What lives here: one thin function per decoder, and [`mutate`], the seeded mutations of the tests. What may not: anything
//! the product links. A function returns when all is well, whatever it makes of the bytes; it panics when an invariant of the
//! decoder is broken, such as "what was taken is written as something that is taken again".
//!
//! Walk-through: [`TARGETS`] is the list. Inputs stand in `tests/fixtures/fuzz/<target>/`: cut from recordings and golden
//! vectors, and whatever a fuzzer found, made small.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap"))]

pub mod mutate;
pub mod tiny;

mod chains;
mod contracts;
mod enrolments;
mod files;
mod money;
mod objects;
mod pipe;
mod proofs;
mod released;
mod requests;
mod script;
mod sessions;
mod trust;
mod wallets;

pub use chains::{chain_answer, chain_request, chain_transaction};
pub use contracts::{contract_body, contract_data, wallet_contract};
pub use enrolments::{REGISTRAR_SEED, REGISTRAR_TLS, protocol_applicant, protocol_desk};
pub use files::{card_choice, chat_template, constraint, gguf, tokenizer};
pub use money::{owner_rates, root_config, signed_payment, ton_address, ton_boc};
pub use objects::tl_objects;
pub use pipe::link_frames;
pub use proofs::{
    evidence_boot_log, evidence_certificate, evidence_container, evidence_quote, evidence_snp, evidence_statement,
    evidence_tdx,
};
pub use released::{release_entry, signed_note, tlog_proof, tlog_tile};
pub use requests::worker_request;
pub use sessions::{protocol_client, protocol_proxy, protocol_worker};
pub use trust::{ratls_certificate, ratls_channel, ratls_preamble};
pub use wallets::{payout_address, wallet_file, wallet_words};

/// A decoder under test.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: of the function, of the fuzzer, of the folder with inputs.
    pub name: &'static str,
    /// Reads the bytes. Panics on a fault of the decoder.
    pub run: fn(&[u8]),
    /// How much memory it may hold at once.
    pub memory: Memory,
}

/// A bound on memory, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Whatever the input.
    pub fixed: u64,
    /// For each byte of input.
    pub per_byte: u64,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    target("tl_objects", tl_objects, 128 * 1024, 16),
    target("ton_boc", ton_boc, 64 * 1024, 1024),
    target("ton_address", ton_address, 16 * 1024, 0),
    target("root_config", root_config, 64 * 1024, 512),
    target("contract_data", contract_data, 64 * 1024, 2048),
    target("contract_body", contract_body, 64 * 1024, 2048),
    target("wallet_contract", wallet_contract, 64 * 1024, 2048),
    target("signed_payment", signed_payment, 64 * 1024, 1024),
    target("owner_rates", owner_rates, 64 * 1024, 512),
    target("wallet_file", wallet_file, 16 * 1024, 8),
    target("wallet_words", wallet_words, 64 * 1024, 64),
    target("payout_address", payout_address, 64 * 1024, 64),
    target("chain_answer", chain_answer, 4 << 20, 1024),
    target("chain_transaction", chain_transaction, 1 << 20, 1024),
    target("chain_request", chain_request, 16 << 20, 1024),
    target("link_frames", link_frames, 1024 * 1024, 64),
    target("protocol_worker", protocol_worker, 1024 * 1024, 256),
    target("protocol_client", protocol_client, 1024 * 1024, 256),
    target("protocol_proxy", protocol_proxy, 1024 * 1024, 256),
    target("protocol_applicant", protocol_applicant, 256 * 1024, 256),
    target("protocol_desk", protocol_desk, 256 * 1024, 256),
    target("worker_request", worker_request, 256 * 1024, 256),
    target("gguf", gguf, 128 << 20, 256),
    target("tokenizer", tokenizer, 4 << 20, 256),
    target("constraint", constraint, 64 << 20, 1024),
    target("chat_template", chat_template, 128 << 20, 256),
    target("card_choice", card_choice, 64 * 1024, 16),
    target("ratls_certificate", ratls_certificate, 64 * 1024, 32),
    target("ratls_preamble", ratls_preamble, 4 * 1024, 0),
    target("ratls_channel", ratls_channel, 1024 * 1024, 64),
    target("evidence_container", evidence_container, 16 * 1024, 10),
    target("evidence_quote", evidence_quote, 16 * 1024, 10),
    target("evidence_boot_log", evidence_boot_log, 16 * 1024, 10),
    target("evidence_certificate", evidence_certificate, 16 * 1024, 10),
    target("evidence_statement", evidence_statement, 16 * 1024, 10),
    target("evidence_tdx", evidence_tdx, 16 * 1024, 10),
    target("evidence_snp", evidence_snp, 16 * 1024, 10),
    target("signed_note", signed_note, 64 * 1024, 64),
    target("tlog_proof", tlog_proof, 64 * 1024, 64),
    target("release_entry", release_entry, 16 * 1024, 8),
    target("tlog_tile", tlog_tile, 64 * 1024, 16),
];

const fn target(name: &'static str, run: fn(&[u8]), fixed: u64, per_byte: u64) -> Target {
    Target { name, run, memory: Memory { fixed, per_byte } }
}
