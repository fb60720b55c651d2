//! What happened, in one SQLite file: runs of the app, proxies met, jobs done, payments signed for us, money moved,
//! graphics cards tried out, who was refused.
//!
//! What lives here: the schema, its migrations, and all SQL of the desktop half. What may not: rules of business (whether a payment
//! is genuine is decided before it comes here), keys that earn, and any text of a prompt or an answer: there is no column for it.
//!
//! # The file
//!
//! STRICT tables, write-ahead log, `synchronous = FULL`: what a method has returned `Ok` for survives a power cut. Money is INTEGER
//! nanotons, time INTEGER Unix milliseconds, ids and addresses are BLOBs (an address: its workchain in one byte, then 32 of its hash).
//!
//! | table | one row is | unique by |
//! |---|---|---|
//! | `session` | a run of the app in one network at one set of prices | `id` |
//! | `proxy` | a proxy as it named itself under one version of the parameters | root contract, endpoint, `params_version` |
//! | `job` | a job that is over: counts, never text | session, job id |
//! | `working` | how much was done for a proxy in a session | proxy key, session |
//! | `payment` | a new high of the running total signed for one worker contract | worker contract, tokens |
//! | `contract` | our contract at a proxy, and what it takes to bring it onto the chain | worker contract |
//! | `quarter` | what was earned in a quarter of an hour of a session | quarter, session |
//! | `unsigned` | what was done for a proxy and is not signed yet | root contract, proxy key |
//! | `cashed` | how much of its running total a worker contract had paid when it was last looked at | worker contract |
//! | `search` | how far the owner's account was searched for payouts | owner, root contract |
//! | `tuning` | how the model's kernels are cut for a graphics card | card, driver, model |
//! | `refusal` | who was refused, by whom and why; the newest of each proxy | root contract, endpoint, by whom, reason |
//! | `transfer` | money that left a wallet on this machine, with the bytes that were signed | `id` |
//! | `receipt` | money that came to the owner's address | owner, logical time, hash |
//! | `migration` | when the file came to a version of the schema | version |
//!
//! `PRAGMA user_version` counts the migrations in `migrations/`, each applied in one transaction; `PRAGMA application_id` tells our
//! files from other SQLite files. Changes only add; a file of a newer program is refused and left as it is.
//!
//! # Walk-through
//!
//! ```
//! use ledger::{Ledger, Multipliers, NewSession, Payment, Recorded};
//! use ton::{Address, Nanoton};
//!
//! let mut ledger = Ledger::in_memory(0)?;
//! let root_contract = Address { workchain: 0, hash: [1; 32] };
//! let session = ledger.begin_session(&NewSession {
//!     started_unix_ms: 0,
//!     root_contract,
//!     params_version: 1,
//!     fee_per_token: Nanoton(19),
//!     served_as: "some/model@commit:hash",
//!     multipliers: Multipliers { prompt: 10_000, cached: 10_000, completion: 10_000, reasoning: 10_000 },
//!     pays_nothing: false,
//! })?;
//! let payment = Payment {
//!     worker_contract: Address { workchain: 0, hash: [2; 32] },
//!     proxy_key: [3; 32],
//!     tokens: 100,
//!     received_unix_ms: 5,
//!     boc: vec![0xb5],
//! };
//! assert_eq!(ledger.record_payment(session, &payment)?, Recorded::New);
//! assert_eq!(ledger.totals(session)?.signed_nanoton, Nanoton(1_900));
//! # Ok::<(), ledger::LedgerError>(())
//! ```
//!
//! A [`Ledger`] is synchronous; one thread owns it. Other processes may have the same file open.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap"))]

mod earnings;
mod energy;
mod error;
mod history;
mod open;
mod read;
mod refusal;
mod row;
mod search;
mod transfer;
mod tuning;
mod write;

pub use earnings::{
    Earned, Expense, KnownNetwork, PayoutCursor, PayoutEntry, PayoutPage, PayoutTransfer, Pipeline, QUARTER_MS,
};
pub use error::LedgerError;
pub use history::{JobFilter, Multipliers, PricedJob, PricedPage, Sums};
pub use open::Ledger;
pub use read::{Cashable, JobCursor, JobEntry, JobPage, PaymentEntry, SignedTotal, Totals};
pub use refusal::{Refusal, RefusedBy};
pub use search::{FoundPayout, KnownProxy, KnownTotals, Searched, Sweep};
pub use transfer::{MoneyCursor, Paid, ReceiptEntry, ReceiptPage, TransferPage};
pub use tuning::Tuning;
pub use write::{MAX_COUNT, NewSession, Payment, ProxyEntry, Recorded, SessionId};
