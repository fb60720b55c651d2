//! The shell around a wallet: looks, tries out, signs, writes down, sends.

use std::path::Path;
use std::sync::Arc;

use chain::follow::{Sought, follow};
use chain::{AccountState, AccountStatus, Chain, ChainError};
use thiserror::Error;
use ton::{
    Address, Cell, InternalMessage, Nanoton, Outgoing, SendMode, Unsigned, WalletContract, WalletData, WalletVersion,
    boc,
};

use super::transfer::{MARGIN, Seen, Trace, Verdict, judge};
use super::{KEPT, Order, Outcome, Transfer, Wallet, sum};
use crate::store::StoreError;
use crate::store::treasury::{KnownProxy, TransferStore};

/// How long a wallet takes a transfer, in seconds of the chain's clock.
const GOOD_FOR: u32 = 120;
/// Most messages of one transfer.
const MOST_ORDERS: usize = 16;

/// Why a wallet did not get on.
#[derive(Debug, Error)]
pub enum PurseError {
    /// The chain gave no answer.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// What is sent cannot be written down, and so is not sent.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A message cannot be built or read.
    #[error("a message of the wallet: {0}")]
    Message(String),
}

/// A wallet without a transfer under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Free {
    /// Its money.
    pub balance: Nanoton,
    /// The chain's time, Unix seconds.
    pub time: u32,
    /// Its count; `None` if its contract is not there yet.
    seqno: Option<u32>,
}

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// How the transfer ended that was under way.
    pub ended: Option<Outcome>,
    /// `None` while one is under way.
    pub free: Option<Free>,
}

/// A wallet with its file and its chain.
pub struct Purse {
    chain: Arc<dyn Chain>,
    wallet: Wallet,
    store: TransferStore,
    under_way: Option<(i64, Transfer)>,
    vain_looks: u32,
    most: Option<Nanoton>,
}

impl Purse {
    /// Opens or makes the wallet's file.
    pub fn open(chain: Arc<dyn Chain>, wallet: Wallet, path: &Path) -> Result<Self, StoreError> {
        let store = TransferStore::open(path, &wallet.address())?;
        let under_way = store.under_way()?;
        Ok(Self { chain, wallet, store, under_way, vain_looks: 0, most: None })
    }

    /// The same, for somebody who allows it to spend so much in all its life; `None`: as much as it has.
    #[must_use]
    pub fn allowed(mut self, most: Option<Nanoton>) -> Self {
        self.most = most;
        self
    }

    /// Where the wallet lives.
    pub fn address(&self) -> Address {
        self.wallet.address()
    }

    /// The chain that it is on.
    pub fn chain(&self) -> Arc<dyn Chain> {
        Arc::clone(&self.chain)
    }

    /// What was ever spent, what is under way included.
    pub fn spent(&self) -> Result<Nanoton, StoreError> {
        self.store.spent()
    }

    /// Keeps a proxy that money is put in at.
    pub fn remember_proxy(&self, proxy: &KnownProxy) -> Result<(), StoreError> {
        self.store.remember_proxy(proxy)
    }

    /// All of them.
    pub fn known_proxies(&self) -> Result<Vec<KnownProxy>, StoreError> {
        self.store.known_proxies()
    }

    /// Looks at the wallet, and sends what is under way again where it has not landed.
    pub async fn look(&mut self) -> Result<Look, PurseError> {
        let (chain, address) = (Arc::clone(&self.chain), self.wallet.address());
        let account = chain.agreed_account(address).await?;
        let seqno = seqno_of(&account)?;
        let free = Free { balance: account.balance, time: account.seen_at, seqno };
        let Some((number, transfer)) = self.under_way.clone() else {
            return Ok(Look { ended: None, free: Some(free) });
        };
        let mut trace = None;
        if seqno.is_some_and(|seqno| seqno > transfer.seqno) {
            // It was made when its time began, and clocks of those who make blocks differ.
            let since = transfer.valid_until.saturating_sub(GOOD_FOR).saturating_sub(MARGIN);
            trace = match follow(&*chain, address, transfer.hash, since).await? {
                Sought::Absent | Sought::GivenUp => None,
                Sought::Found(followed) => Some(match (followed.is_complete(), followed.failure()) {
                    (false, _) => Trace::UnderWay,
                    (true, None) => Trace::Done,
                    (true, Some(failed)) => {
                        tracing::warn!(account = %failed.account, exit_code = failed.exit_code(), what = %transfer.what, "a transfer failed on its way");
                        Trace::Failed
                    }
                }),
            };
            self.vain_looks = if trace.is_none() { self.vain_looks.saturating_add(1) } else { 0 };
        }
        match judge(&transfer, &Seen { time: account.seen_at, seqno, trace, vain_looks: self.vain_looks }) {
            Verdict::Wait => Ok(Look { ended: None, free: None }),
            Verdict::Again => {
                let message = boc::decode(&transfer.message).map_err(|error| PurseError::Message(error.to_string()))?;
                // It lands or it does not: the next look sees.
                if let Err(error) = chain.send(&message).await {
                    tracing::debug!(%error, what = %transfer.what, "a transfer was not taken this time");
                }
                Ok(Look { ended: None, free: None })
            }
            Verdict::Ended(outcome) => {
                self.store.end(number, outcome)?;
                self.under_way = None;
                self.vain_looks = 0;
                tracing::info!(?outcome, what = %transfer.what, "a transfer has ended");
                Ok(Look { ended: Some(outcome), free: Some(free) })
            }
        }
    }

    /// Sends what can be paid for, is allowed and succeeds on a copy of the chain, in one transfer; gives the places of those orders.
    /// Nothing may be under way.
    pub async fn send(&mut self, free: Free, orders: &[Order]) -> Result<Vec<usize>, PurseError> {
        let spent = self.spent()?;
        let allowed = self.most.map(|most| most.checked_sub(spent).unwrap_or(Nanoton(0)));
        let affordable = affordable(free.balance, allowed, orders);
        if self.under_way.is_some() || affordable == 0 {
            return Ok(Vec::new());
        }
        let all: Vec<usize> = (0..affordable).collect();
        let mut attempts = vec![all];
        if affordable > 1 {
            // One that fails must not hold up the others.
            attempts.extend((0..affordable).map(|one| vec![one]));
        }
        for places in attempts {
            let chosen: Vec<&Order> = places.iter().filter_map(|at| orders.get(*at)).collect();
            let (unsigned, valid_until) = unsigned(&chosen, free)?;
            let tried = external(&self.wallet.contract, &unsigned, &[0; 64], free)?.0;
            let trace = self.chain.emulate_unsigned(&tried).await?;
            let what = chosen.iter().map(|order| order.what).collect::<Vec<_>>().join(", ");
            if !trace.succeeded() {
                let failed = trace.hops.iter().find(|hop| !hop.transaction.succeeded());
                let account = failed.map(|hop| hop.transaction.account.to_string());
                let exit_code = failed.and_then(|hop| hop.transaction.exit_code());
                tracing::debug!(account, exit_code, what, "not sent: it would fail");
                continue;
            }
            let to_sign = self.wallet.contract.body_to_sign(&unsigned).map_err(words)?;
            let signature = self.wallet.key.sign_hash(&to_sign.hash());
            let (message, hash) = external(&self.wallet.contract, &unsigned, &signature, free)?;
            let transfer = Transfer {
                seqno: free.seqno.unwrap_or(0),
                valid_until,
                hash,
                message: boc::encode(&message).map_err(words)?,
                spends: chosen.iter().map(|order| order.spends).fold(Nanoton(0), sum),
                what,
            };
            let number = self.store.record(&transfer)?;
            tracing::info!(what = %transfer.what, spends = %transfer.spends, "sending");
            self.under_way = Some((number, transfer));
            if let Err(error) = self.chain.send(&message).await {
                tracing::debug!(%error, "a transfer was not taken this time");
            }
            return Ok(places);
        }
        Ok(Vec::new())
    }
}

/// How many of the first orders the wallet can pay for and may, if there is a limit.
fn affordable(balance: Nanoton, allowed: Option<Nanoton>, orders: &[Order]) -> usize {
    let mut left = balance.checked_sub(KEPT).unwrap_or(Nanoton(0));
    let mut allowed = allowed.unwrap_or(Nanoton(u64::MAX));
    let mut count = 0;
    for order in orders.iter().take(MOST_ORDERS) {
        let (Some(rest), Some(more)) = (left.checked_sub(order.value), allowed.checked_sub(order.spends)) else {
            break;
        };
        (left, allowed) = (rest, more);
        count += 1;
    }
    count
}

fn words(error: impl std::fmt::Display) -> PurseError {
    PurseError::Message(error.to_string())
}

fn seqno_of(account: &AccountState) -> Result<Option<u32>, PurseError> {
    match (account.status, &account.data) {
        (AccountStatus::Active, Some(data)) => {
            WalletData::read(WalletVersion::V5R1, data).map(|data| Some(data.seqno)).map_err(words)
        }
        _ => Ok(None),
    }
}

fn unsigned(orders: &[&Order], free: Free) -> Result<(Unsigned, u32), PurseError> {
    let mut messages = Vec::with_capacity(orders.len());
    for order in orders {
        // What brings its receiver with it, or only tells something, stays where it went.
        let bounce = order.init.is_none() && order.value.0 > 1;
        let mut message = InternalMessage::new(order.to, bounce, order.value, order.body.to_cell().map_err(words)?);
        message.init.clone_from(&order.init);
        messages.push(Outgoing { mode: SendMode::TRANSFER, message });
    }
    let valid_until = free.time.saturating_add(GOOD_FOR);
    let transfer = ton::Transfer { seqno: free.seqno.unwrap_or(0), valid_until, messages };
    Ok((Unsigned::Transfer(transfer), valid_until))
}

/// The whole message from outside with this signature, and its normalised hash.
fn external(
    wallet: &WalletContract,
    unsigned: &Unsigned,
    signature: &[u8; 64],
    free: Free,
) -> Result<(Cell, [u8; 32]), PurseError> {
    let to_sign = wallet.body_to_sign(unsigned).map_err(words)?;
    let body = wallet.signed_body(&to_sign, signature).map_err(words)?;
    let message = wallet.external(body, free.seqno.is_none());
    Ok((message.to_cell().map_err(words)?, message.normalized_hash().map_err(words)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(value: u64) -> Order {
        let to = Address { workchain: 0, hash: [1; 32] };
        let body = ton::cocoon::Body::Empty;
        Order { to, value: Nanoton(value), body, init: None, spends: Nanoton(value), what: "a test" }
    }

    #[test]
    fn a_wallet_never_sends_more_than_it_has_and_keeps_something_for_fees() {
        let orders: Vec<Order> = [5, 7, 1].map(order).to_vec();
        assert_eq!(affordable(Nanoton(KEPT.0 + 13), None, &orders), 3);
        assert_eq!(affordable(Nanoton(KEPT.0 + 12), None, &orders), 2, "in their order");
        assert_eq!(affordable(Nanoton(KEPT.0 + 4), None, &orders), 0);
        assert_eq!(affordable(Nanoton(0), None, &orders), 0);
    }

    #[test]
    fn a_wallet_with_a_limit_never_sends_more_than_is_left_of_it() {
        let rich = Nanoton(KEPT.0 + 100);
        // Of each order's value half comes back.
        let orders: Vec<Order> = [10, 14, 2].map(|value| Order { spends: Nanoton(value / 2), ..order(value) }).to_vec();
        for (allowed, count) in [(13, 3), (12, 2), (11, 1), (5, 1), (4, 0), (0, 0)] {
            assert_eq!(affordable(rich, Some(Nanoton(allowed)), &orders), count, "{allowed}");
        }
        assert_eq!(affordable(rich, None, &orders), 3);
    }
}
