//! What the ledger remembers, for people: read on a connection of its own, beside the one that writes.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

pub use ledger::{JobCursor, JobFilter, Multipliers, PricedJob, PricedPage, Sums};
use ledger::{Ledger, LedgerError};

/// A reader of the ledger. Its calls wait for the disk.
pub struct History {
    ledger: Mutex<Ledger>,
}

impl History {
    /// Opens the file, which is made if it is not there. `now_unix_ms` is noted if that happens.
    pub fn open(path: &Path, now_unix_ms: i64) -> Result<Self, LedgerError> {
        Ok(Self { ledger: Mutex::new(Ledger::open(path, now_unix_ms)?) })
    }

    /// Jobs from the newest to the oldest, see [`Ledger::priced_jobs`].
    pub fn jobs(&self, filter: JobFilter, before: Option<JobCursor>, limit: u32) -> Result<PricedPage, LedgerError> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).priced_jobs(filter, before, limit)
    }

    /// Sums over a time, see [`Ledger::sums_between`].
    pub fn sums(&self, from: i64, to: i64, pays_nothing: bool) -> Result<Sums, LedgerError> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).sums_between(from, to, pays_nothing)
    }
}
