//! The ledger from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

/// What was earned: how far it has come, charts, payouts.
mod earnings;
/// Sums over a time, prices, and what is covered by a signature.
mod history;
/// Jobs, sums and pages.
mod jobs;
/// Files that past versions of the program wrote.
mod old_files;
/// Signed payments: only ever upwards.
mod payments;
/// Proxies and their pinned keys.
mod proxies;
/// Killed in mid-write, and files that are no ledger of ours.
mod survival;
/// Money on its way, and money that came in.
mod transfers;

use accounting::{AdjustedUsage, Endpoint, JobId, JobOutcome, JobRecord, TokenUsage};
use ledger::{Ledger, Multipliers, NewSession, SessionId};
use ton::{Address, Nanoton};

const FEE: Nanoton = Nanoton(19);
const KEY: [u8; 32] = [7; 32];
const WEIGHTS: Multipliers = Multipliers { prompt: 10_000, cached: 1_000, completion: 80_000, reasoning: 80_000 };

fn address(number: u8) -> Address {
    Address { workchain: 0, hash: [number; 32] }
}

fn begin(ledger: &mut Ledger) -> SessionId {
    let session = NewSession {
        started_unix_ms: 1_000,
        root_contract: address(1),
        params_version: 1,
        fee_per_token: FEE,
        served_as: "a/model@commit:hash",
        multipliers: WEIGHTS,
        pays_nothing: false,
    };
    ledger.begin_session(&session).unwrap()
}

fn fresh() -> (Ledger, SessionId) {
    let mut ledger = Ledger::in_memory(0).unwrap();
    let session = begin(&mut ledger);
    (ledger, session)
}

/// A job whose id holds the number.
fn job(number: u64) -> JobRecord {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    JobRecord {
        id: JobId(id),
        started_unix_ms: 10,
        finished_unix_ms: 20,
        outcome: JobOutcome::Answered,
        usage: TokenUsage { prompt: 34, cached: 11, completion: 100, reasoning: 10 },
        coefficient: 1_000,
        adjusted: AdjustedUsage { prompt: 23, cached: 11, completion: 90, reasoning: 10, total: 134 },
        streamed: true,
        endpoint: Endpoint::Chat,
    }
}
