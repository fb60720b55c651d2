//! What the ledger remembers, for people: read on a connection of its own, beside the one that writes.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use accounting::{Transfer, TransferId};
use ledger::Ledger;
pub use ledger::{
    Cashable, JobCursor, JobFilter, LedgerError, Multipliers, PricedJob, PricedPage, Refusal, RefusedBy, Sums,
};
use ton::Address;

const PAGE: u32 = 500;

/// A reader of the ledger. Its calls wait for the disk.
pub struct History {
    ledger: Mutex<Ledger>,
}

impl History {
    /// Opens the file, which is made if it is not there. `now_unix_ms` is noted if that happens.
    pub fn open(path: &Path, now_unix_ms: i64) -> Result<Self, LedgerError> {
        Ok(Self { ledger: Mutex::new(Ledger::open(path, now_unix_ms)?) })
    }

    /// Opens a file that is there for reading alone, while an app may be writing to it, see [`Ledger::open_for_reading`].
    pub fn open_for_reading(path: &Path) -> Result<Self, LedgerError> {
        Ok(Self { ledger: Mutex::new(Ledger::open_for_reading(path)?) })
    }

    /// Jobs from the newest to the oldest, see [`Ledger::priced_jobs`].
    pub fn jobs(&self, filter: JobFilter, before: Option<JobCursor>, limit: u32) -> Result<PricedPage, LedgerError> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).priced_jobs(filter, before, limit)
    }

    /// The best payment for each of our contracts, see [`Ledger::cashable`].
    pub fn cashable(&self, root_contract: &Address) -> Result<Vec<Cashable>, LedgerError> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).cashable(root_contract)
    }

    /// Every contract that speaks for one of the networks which this file has worked for, or is the owner's there.
    pub fn contracts(&self) -> Result<BTreeSet<Address>, LedgerError> {
        let mut all = BTreeSet::new();
        for root in self.root_contracts()? {
            all.extend(self.cashable(&root)?.iter().flat_map(|best| [best.worker_contract, best.proxy_contract]));
        }
        Ok(all)
    }

    /// One transfer, see [`Ledger::transfer`].
    pub fn transfer(&self, id: TransferId) -> Result<Option<Transfer>, LedgerError> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).transfer(id)
    }

    /// Number of the transfer that was begun last.
    pub fn last_transfer(&self) -> Result<Option<u64>, LedgerError> {
        let last = self.ledger.lock().unwrap_or_else(PoisonError::into_inner).last_transfer()?;
        Ok(last.map(|last| last.0))
    }

    /// The networks that this file has worked for, see [`Ledger::root_contracts`].
    pub fn root_contracts(&self) -> Result<Vec<Address>, LedgerError> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).root_contracts()
    }

    /// Transfers of a network that have not ended, see [`Ledger::open_transfers`].
    pub fn open_transfers(&self, root_contract: &Address) -> Result<Vec<Transfer>, LedgerError> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).open_transfers(root_contract)
    }

    /// Transfers after that of this number with all they brought, the newest first, at most so many.
    pub fn transfers_since(
        &self,
        root_contract: &Address,
        after: Option<u64>,
        most: usize,
    ) -> Result<Vec<Transfer>, LedgerError> {
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Vec::new();
        let mut before = None;
        while all.len() < most {
            let page = ledger.transfers(root_contract, before, PAGE)?;
            let new = page.transfers.into_iter().take_while(|transfer| after.is_none_or(|after| transfer.id.0 > after));
            let had = all.len();
            all.extend(new);
            before = page.next;
            if before.is_none() || all.len() == had {
                break;
            }
        }
        all.truncate(most);
        Ok(all)
    }

    /// Who was refused and why, see [`Ledger::refusals`].
    pub fn refusals(&self, limit: u32) -> Result<Vec<Refusal>, LedgerError> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).refusals(limit)
    }

    /// Sums over a time, see [`Ledger::sums_between`].
    pub fn sums(&self, from: i64, to: i64, pays_nothing: bool) -> Result<Sums, LedgerError> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).sums_between(from, to, pays_nothing)
    }
}
