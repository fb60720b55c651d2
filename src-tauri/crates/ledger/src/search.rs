//! How far the chain was searched, and what was found there.

use accounting::Receipt;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};
use ton::Address;

use crate::read::{PaymentEntry, payment};
use crate::row::{self, address_bytes};
use crate::transfer::insert_receipt;
use crate::write::whole;
use crate::{Ledger, LedgerError, Recorded};

/// What of the owner's account is still to be searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sweep {
    /// Logical time of the newest transaction there was when it began.
    pub top_lt: u64,
    /// The transaction to go on with: all between it and the newest were searched.
    pub next: (u64, [u8; 32]),
}

/// How far the owner's account was searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Searched {
    /// Everything up to this logical time was searched.
    pub floor_lt: u64,
    /// What is under way above it.
    pub sweep: Option<Sweep>,
}

/// A payout that was found on the owner's account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundPayout {
    /// What the chain has.
    pub receipt: Receipt,
    /// The contract that had it paid.
    pub worker_contract: Address,
    /// That contract's running total after it.
    pub to_tokens: u64,
}

/// A proxy that was met, with our contract there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownProxy {
    /// Its contract.
    pub proxy_contract: Address,
    /// Our contract there.
    pub worker_contract: Address,
}

/// What this file knows of one of our contracts' totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KnownTotals {
    /// Highest running total that is signed; `None`: none.
    pub signed: Option<u64>,
    /// Running total up to which it was paid for, by transfers that are done; `None`: none.
    pub done: Option<u64>,
}

impl Ledger {
    /// How far an owner's account was searched for payouts of a network.
    pub fn searched(&self, root_contract: &Address, owner: &Address) -> Result<Searched, LedgerError> {
        let found = self.connection.query_row(
            "SELECT floor_lt, top_lt, next_lt, next_hash FROM search WHERE owner = ? AND root_contract = ?",
            (address_bytes(owner), address_bytes(root_contract)),
            |row| {
                let parts: (Option<u64>, Option<u64>, Option<[u8; 32]>) = (row.get(1)?, row.get(2)?, row.get(3)?);
                let sweep = match parts {
                    (Some(top_lt), Some(lt), Some(hash)) => Some(Sweep { top_lt, next: (lt, hash) }),
                    _ => None,
                };
                Ok(Searched { floor_lt: row.get(0)?, sweep })
            },
        );
        Ok(found.optional()?.unwrap_or_default())
    }

    /// Writes down what a part of the search has found, and how far it has come, both or neither. Gives the payouts that were not known.
    ///
    /// A payout of a transfer that is out is noted as brought by it.
    pub fn record_search(
        &mut self,
        root_contract: &Address,
        owner: &Address,
        found: &[FoundPayout],
        searched: &Searched,
    ) -> Result<Vec<FoundPayout>, LedgerError> {
        let (root, owner) = (address_bytes(root_contract), address_bytes(owner));
        let time = |lt: u64| whole(lt, "a logical time");
        let writing = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut new = Vec::new();
        for payout in found {
            let transfer: Option<i64> = writing
                .query_row(
                    "SELECT id FROM transfer WHERE worker_contract = ? AND outcome IS NULL AND stage = 1 AND to_tokens = ?
                     AND root_contract = ? LIMIT 1",
                    (address_bytes(&payout.worker_contract), whole(payout.to_tokens, "a running total")?, root),
                    |row| row.get(0),
                )
                .optional()?;
            if !is_known(&writing, &payout.receipt)? {
                new.push(*payout);
            }
            insert_receipt(&writing, &root, &payout.receipt, transfer)?;
        }
        let sweep = match &searched.sweep {
            Some(sweep) => Some((time(sweep.top_lt)?, time(sweep.next.0)?, sweep.next.1)),
            None => None,
        };
        writing.execute(
            "INSERT INTO search (owner, root_contract, floor_lt, top_lt, next_lt, next_hash) VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (owner, root_contract) DO UPDATE SET floor_lt = excluded.floor_lt, top_lt = excluded.top_lt,
                 next_lt = excluded.next_lt, next_hash = excluded.next_hash",
            (
                owner,
                root,
                time(searched.floor_lt)?,
                sweep.map(|sweep| sweep.0),
                sweep.map(|sweep| sweep.1),
                sweep.map(|sweep| sweep.2),
            ),
        )?;
        writing.commit()?;
        Ok(new)
    }

    /// Writes down how much of its running total a worker contract has paid. `lt` is its last transaction: what is seen of an older
    /// one says nothing new.
    pub fn record_cashed(
        &mut self,
        root_contract: &Address,
        worker_contract: &Address,
        tokens: u64,
        lt: u64,
    ) -> Result<Recorded, LedgerError> {
        let written = self.connection.execute(
            "INSERT INTO cashed (worker_contract, root_contract, tokens, lt) VALUES (?, ?, ?, ?)
             ON CONFLICT (worker_contract) DO UPDATE SET tokens = excluded.tokens, lt = excluded.lt WHERE excluded.lt > lt",
            (
                address_bytes(worker_contract),
                address_bytes(root_contract),
                whole(tokens, "a running total")?,
                whole(lt, "a logical time")?,
            ),
        )?;
        Ok(if written == 0 { Recorded::Known } else { Recorded::New })
    }

    /// What is known of a worker contract's totals.
    pub fn known_totals(&self, worker_contract: &Address) -> Result<KnownTotals, LedgerError> {
        let contract = address_bytes(worker_contract);
        let signed = self.connection.query_row(
            "SELECT max(tokens) FROM payment WHERE worker_contract = ?",
            [contract],
            |row| row.get(0),
        )?;
        let done = self.connection.query_row(
            "SELECT max(to_tokens) FROM transfer WHERE worker_contract = ? AND outcome = 0",
            [contract],
            |row| row.get(0),
        )?;
        Ok(KnownTotals { signed, done })
    }

    /// Every proxy that was met in a network, under whatever version of its parameters.
    pub fn known_proxies(&self, root_contract: &Address) -> Result<Vec<KnownProxy>, LedgerError> {
        let mut query = self.connection.prepare_cached(
            "SELECT proxy_contract, worker_contract FROM proxy WHERE root_contract = ?1
             UNION SELECT proxy_contract, worker_contract FROM contract WHERE root_contract = ?1",
        )?;
        let rows = query.query_map([address_bytes(root_contract)], |row| {
            Ok(KnownProxy {
                proxy_contract: row::address(row, "proxy_contract")?,
                worker_contract: row::address(row, "worker_contract")?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The signed payment of exactly this running total.
    pub fn payment_of(&self, worker_contract: &Address, tokens: u64) -> Result<Option<PaymentEntry>, LedgerError> {
        let found = self.connection.query_row(
            "SELECT * FROM payment WHERE worker_contract = ? AND tokens = ?",
            (address_bytes(worker_contract), whole(tokens, "a running total")?),
            payment,
        );
        Ok(found.optional()?)
    }
}

fn is_known(connection: &Connection, receipt: &Receipt) -> Result<bool, LedgerError> {
    let known = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM receipt WHERE owner = ? AND lt = ? AND hash = ?)",
        (address_bytes(&receipt.to), whole(receipt.lt, "a logical time")?, receipt.hash),
        |row| row.get(0),
    )?;
    Ok(known)
}
