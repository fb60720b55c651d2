//! The proxy's books: what every worker has earned and every client has used, in adjusted tokens.
//!
//! Three totals per account, each trailing the one before it: known, stored in the database, committed. Only what is committed is
//! ever signed for.

use std::collections::BTreeMap;

use accounting::signed_payment::{PaymentKind, UnsignedPayment};
use ton::Address;

use super::{Side, Signer};
use crate::Randomness;

/// How many writes an account remembers until they are committed. Older ones are forgotten first; the newest one covers them.
const MOST_SNAPSHOTS: usize = 256;

/// The accounts a proxy starts with.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    /// In any order, each owner at most once per side.
    pub accounts: Vec<AccountChange>,
}

/// One account as it is written down. After a restart its total counts as known, stored and committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountChange {
    /// Whose.
    pub side: Side,
    /// The owner.
    pub owner: Address,
    /// The total, adjusted tokens.
    pub tokens: i64,
}

/// One account as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Account {
    /// Ever credited (worker) or used (client).
    pub known: i64,
    /// Of that, written down.
    pub stored: i64,
    /// Of that, committed and so covered by payments.
    pub committed: i64,
    /// Held back for jobs that run (client).
    pub reserved: i64,
}

/// An account with what belongs to it.
struct Entry {
    account: Account,
    contract: Address,
    /// Writes that are not committed yet, oldest first.
    snapshots: Vec<(u64, i64)>,
    /// Signed for `committed`; `None` until somebody asks.
    payment: Option<Vec<u8>>,
}

/// A write under way.
struct Write {
    seq: u64,
    totals: Vec<((Side, Address), i64)>,
}

/// All accounts.
#[derive(Default)]
pub(super) struct Books {
    entries: BTreeMap<(Side, Address), Entry>,
    last_seq: u64,
    under_way: Option<Write>,
    stored_seq: u64,
    commit_asked: u64,
}

impl Books {
    pub(super) fn restore(&mut self, stored: &AccountChange, contract: Address) {
        let total = stored.tokens.max(0);
        let entry = self.entry(stored.side, &stored.owner, contract);
        entry.account.known = total;
        entry.account.stored = total;
        entry.account.committed = total;
    }

    /// Makes sure that there is an account.
    pub(super) fn ensure(&mut self, side: Side, owner: &Address, contract: Address) {
        self.entry(side, owner, contract);
    }

    /// Drops an account that was never used.
    pub(super) fn forget_unused(&mut self, side: Side, owner: &Address) {
        let key = (side, *owner);
        if self.entries.get(&key).is_some_and(|entry| entry.account == Account::default()) {
            self.entries.remove(&key);
        }
    }

    fn entry(&mut self, side: Side, owner: &Address, contract: Address) -> &mut Entry {
        self.entries.entry((side, *owner)).or_insert_with(|| Entry {
            account: Account::default(),
            contract,
            snapshots: Vec::new(),
            payment: None,
        })
    }

    pub(super) fn account(&self, side: Side, owner: &Address) -> Option<Account> {
        self.entries.get(&(side, *owner)).map(|entry| entry.account)
    }

    pub(super) fn accounts(&self) -> impl Iterator<Item = (Side, Address, Account)> {
        self.entries.iter().map(|((side, owner), entry)| (*side, *owner, entry.account))
    }

    /// Credits a worker or charges a client. `tokens` is not negative.
    pub(super) fn add(&mut self, side: Side, owner: &Address, tokens: i64) {
        if let Some(entry) = self.entries.get_mut(&(side, *owner)) {
            entry.account.known = entry.account.known.saturating_add(tokens.max(0));
        }
    }

    /// Holds tokens of a client back, or lets them go again (negative).
    pub(super) fn reserve(&mut self, client: &Address, tokens: i64) {
        if let Some(entry) = self.entries.get_mut(&(Side::Client, *client)) {
            entry.account.reserved = entry.account.reserved.saturating_add(tokens);
        }
    }

    /// The payment that covers what is committed, if one was signed already.
    pub(super) fn payment(&self, side: Side, owner: &Address) -> tl::proxy::SignedPayment {
        self.entries
            .get(&(side, *owner))
            .and_then(|entry| entry.payment.clone())
            .map_or(tl::proxy::SignedPayment::Empty, |data| tl::proxy::SignedPayment::Payment { data })
    }

    /// The payment that covers what is committed, signed now if need be, even for nothing.
    pub(super) fn signed_payment(
        &mut self,
        side: Side,
        owner: &Address,
        wallet: &Address,
        signer: &mut dyn Signer,
        random: &mut dyn Randomness,
    ) -> tl::proxy::SignedPayment {
        if let Some(entry) = self.entries.get_mut(&(side, *owner))
            && entry.payment.is_none()
        {
            let unsigned = UnsignedPayment {
                kind: match side {
                    Side::Worker => PaymentKind::Worker,
                    Side::Client => PaymentKind::Client,
                },
                query_id: u64::from_ne_bytes(random.long().to_ne_bytes()),
                tokens: u64::try_from(entry.account.committed).unwrap_or(0),
                target: entry.contract,
                excess: *wallet,
            };
            entry.payment = Some(signer.sign(&unsigned).to_boc());
        }
        self.payment(side, owner)
    }

    /// Whether something waits to be written down and may be.
    pub(super) fn is_dirty(&self) -> bool {
        self.under_way.is_none() && self.entries.values().any(|entry| entry.account.known > entry.account.stored)
    }

    /// Whether something is written down but not asked to be committed.
    pub(super) fn is_uncommitted(&self) -> bool {
        self.stored_seq > self.commit_asked
    }

    /// Starts a write of everything that changed. One at a time.
    pub(super) fn write(&mut self) -> Option<(u64, Vec<AccountChange>)> {
        if !self.is_dirty() {
            return None;
        }
        self.last_seq += 1;
        let totals: Vec<((Side, Address), i64)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.account.known > entry.account.stored)
            .map(|(key, entry)| (*key, entry.account.known))
            .collect();
        let changes = totals
            .iter()
            .map(|((side, owner), tokens)| AccountChange { side: *side, owner: *owner, tokens: *tokens })
            .collect();
        self.under_way = Some(Write { seq: self.last_seq, totals });
        Some((self.last_seq, changes))
    }

    /// The write has reached the disk.
    pub(super) fn persisted(&mut self, seq: u64) {
        let Some(write) = self.under_way.take_if(|write| write.seq == seq) else {
            return;
        };
        for (key, total) in write.totals {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.account.stored = total;
                if entry.snapshots.len() >= MOST_SNAPSHOTS {
                    entry.snapshots.remove(0);
                }
                entry.snapshots.push((seq, total));
            }
        }
        self.stored_seq = seq;
    }

    /// What to commit now.
    pub(super) fn commit(&mut self) -> Option<u64> {
        self.is_uncommitted().then(|| {
            self.commit_asked = self.stored_seq;
            self.stored_seq
        })
    }

    /// Everything written up to `seq` is committed; payments for less are thrown away.
    pub(super) fn committed(&mut self, seq: u64) {
        for entry in self.entries.values_mut() {
            let covered = entry.snapshots.partition_point(|(at, _)| *at <= seq);
            if let Some((_, total)) = entry.snapshots.drain(..covered).next_back()
                && total > entry.account.committed
            {
                entry.account.committed = total;
                entry.payment = None;
            }
        }
    }
}
