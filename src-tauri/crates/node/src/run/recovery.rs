//! After a lost ledger, or one from an old copy: finds on the owner's account what was paid, and at the worker contracts how much they
//! have paid for, and writes down what is missing. Asks the chain, sends nothing.
//!
//! A payout is believed if its sender is a proxy's contract of this network, as its address proves, that was met before or keeps to the
//! network's terms, and if the worker contract that follows from it and the owner had ordered just this amount. So neither a stranger's
//! gift nor a refund nor the rest of a fee becomes income.
//!
//! Walk-through: [`recover`] looks at the worker contracts that are known, then goes through the owner's account from its newest
//! transaction to the last one that was searched before, a page at a time. How far it has come is written down with what it has found,
//! so that it goes on there after a crash, and a long history may take several calls.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use accounting::Receipt;
use chain::{AccountState, Chain, ChainError, MOST_TRANSACTIONS, Transaction, TransactionId};
use ledger::{FoundPayout, KnownProxy, KnownTotals, Ledger, LedgerError, Searched, Sweep};
use ton::cocoon::WorkerData;
use ton::{Address, Nanoton, RootConfig};

use super::clock::Clock;
use crate::receipt::{Order, is_on_terms, payout_of, proxy_of, worker_of};

/// Most pages of a worker contract's history: ten thousand payouts.
const MOST_ORDER_PAGES: u32 = 100;

/// What is searched.
#[derive(Debug, Clone)]
pub struct Search {
    /// The network.
    pub root_contract: Address,
    /// Its terms of today; `None`: they are not known, and only proxies that were met before are believed.
    pub terms: Option<Arc<RootConfig>>,
    /// Whose account.
    pub owner: Address,
    /// The ledger's file.
    pub ledger: PathBuf,
    /// Transactions that are asked for at once, at most [`MOST_TRANSACTIONS`].
    pub page: u32,
    /// Most pages of the owner's account in this call.
    pub pages: u32,
}

/// Why a search could not go on. What it had found before is written down.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The chain could not be asked.
    #[error("the chain can't be searched: {0}")]
    Chain(#[from] ChainError),
    /// The ledger can't be read or written.
    #[error("the ledger {}: {source}", path.display())]
    Ledger {
        /// Its file.
        path: PathBuf,
        /// What it says.
        #[source]
        source: LedgerError,
    },
    /// The thread that waits for the disk is gone.
    #[error("the search was interrupted")]
    Interrupted,
}

/// A worker contract that has paid for more than the ledger knew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Correction {
    /// The contract.
    pub worker_contract: Address,
    /// Running total that it has paid for.
    pub chain_tokens: u64,
    /// What the ledger knew.
    pub known: KnownTotals,
}

impl Correction {
    /// Whether the chain is ahead of everything the ledger has a signature for: then it is of an old copy, or was lost.
    pub fn is_of_an_old_ledger(&self) -> bool {
        self.known.signed.is_none_or(|signed| signed < self.chain_tokens)
    }
}

/// What came of a search.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Whether the account was searched to its beginning, or to what was searched before; else another call goes on.
    pub complete: bool,
    /// Payouts that the ledger did not know.
    pub payouts: Vec<FoundPayout>,
    /// What they come to.
    pub income: Nanoton,
    /// Contracts that have paid for more than the ledger knew.
    pub corrections: Vec<Correction>,
    /// Messages that say they are payouts and are not to be believed, or not to be told.
    pub foreign: u64,
}

/// A sender of payouts.
enum Sender {
    /// A proxy of the network, with our contract there and what that one has ordered, by number.
    Proxy { worker_contract: Address, orders: BTreeMap<u64, Order> },
    /// Somebody else.
    Foreign,
}

struct Searcher<'a> {
    chain: &'a dyn Chain,
    search: &'a Search,
    ledger: Arc<Mutex<Ledger>>,
    known: Vec<KnownProxy>,
    senders: BTreeMap<Address, Sender>,
    recovered: Recovered,
}

/// Searches, see the module. Nothing is written down twice, however often it is called.
pub async fn recover(chain: &dyn Chain, search: &Search) -> Result<Recovered, RecoveryError> {
    let path = search.ledger.clone();
    let failed = |source| RecoveryError::Ledger { path: search.ledger.clone(), source };
    let opened = tokio::task::spawn_blocking(move || Ledger::open(&path, Clock::new().now().unix_ms)).await;
    let ledger = opened.map_err(|_| RecoveryError::Interrupted)?.map_err(failed)?;
    let ledger = Arc::new(Mutex::new(ledger));
    let root = search.root_contract;
    let known = with(search, &ledger, move |ledger| ledger.known_proxies(&root)).await?;
    let mut searcher =
        Searcher { chain, search, ledger, known, senders: BTreeMap::new(), recovered: Recovered::default() };
    for contract in searcher.known.clone() {
        searcher.look_at(contract.worker_contract).await?;
    }
    searcher.sweep().await?;
    let Recovered { payouts, income, corrections, .. } = &searcher.recovered;
    if !payouts.is_empty() {
        tracing::warn!("found {} payouts on the chain that the ledger did not have, {income} in all", payouts.len());
    }
    for correction in corrections.iter().filter(|correction| correction.is_of_an_old_ledger()) {
        tracing::warn!(
            "{} has paid for {} tokens, more than the ledger has signatures for: it is of an old copy, and goes by the chain now",
            correction.worker_contract,
            correction.chain_tokens
        );
    }
    Ok(searcher.recovered)
}

/// Does something with the ledger on a thread that may wait for the disk.
async fn with<T: Send + 'static>(
    search: &Search,
    ledger: &Arc<Mutex<Ledger>>,
    work: impl FnOnce(&mut Ledger) -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, RecoveryError> {
    let ledger = Arc::clone(ledger);
    let done =
        tokio::task::spawn_blocking(move || work(&mut ledger.lock().unwrap_or_else(PoisonError::into_inner))).await;
    done.map_err(|_| RecoveryError::Interrupted)?
        .map_err(|source| RecoveryError::Ledger { path: search.ledger.clone(), source })
}

impl Searcher<'_> {
    /// Writes down how much a worker contract has paid for.
    async fn look_at(&mut self, worker_contract: Address) -> Result<(), RecoveryError> {
        let account = self.chain.agreed_account(worker_contract).await?;
        let Some(held) = account.data.as_ref().and_then(|data| WorkerData::from_cell(data).ok()) else { return Ok(()) };
        let (root, tokens, lt) = (self.search.root_contract, held.tokens, account.last_lt());
        let known = with(self.search, &self.ledger, move |ledger| {
            ledger.record_cashed(&root, &worker_contract, tokens, lt)?;
            ledger.known_totals(&worker_contract)
        })
        .await?;
        let is_listed = self.recovered.corrections.iter().any(|one| one.worker_contract == worker_contract);
        if tokens > known.done.unwrap_or(0) && !is_listed {
            self.recovered.corrections.push(Correction { worker_contract, chain_tokens: tokens, known });
        }
        Ok(())
    }

    async fn sweep(&mut self) -> Result<(), RecoveryError> {
        let (root, owner) = (self.search.root_contract, self.search.owner);
        let mut searched = with(self.search, &self.ledger, move |ledger| ledger.searched(&root, &owner)).await?;
        for _ in 0..self.search.pages {
            let page = match self.page(&searched).await {
                // The chain does not know any more where the search stood: from the top.
                Err(RecoveryError::Chain(ChainError::Nonsense(_) | ChainError::Refused(_)))
                    if searched.sweep.is_some() =>
                {
                    searched.sweep = None;
                    self.page(&searched).await?
                }
                page => page?,
            };
            let top = searched.sweep.map(|sweep| sweep.top_lt).or_else(|| page.first().map(|newest| newest.id.lt));
            let Some(top_lt) = top else {
                self.recovered.complete = true;
                return Ok(());
            };
            let floor = searched.floor_lt;
            let mut found = Vec::new();
            for transaction in page.iter().filter(|transaction| transaction.id.lt > floor) {
                found.extend(self.judge(transaction).await?);
            }
            let next = page.last().and_then(|oldest| oldest.previous).filter(|previous| previous.lt > floor);
            searched = match next {
                Some(next) => Searched { floor_lt: floor, sweep: Some(Sweep { top_lt, next: (next.lt, next.hash) }) },
                None => Searched { floor_lt: floor.max(top_lt), sweep: None },
            };
            let new =
                with(self.search, &self.ledger, move |ledger| ledger.record_search(&root, &owner, &found, &searched))
                    .await?;
            for payout in &new {
                let sum = self.recovered.income.0.saturating_add(payout.receipt.value.0);
                self.recovered.income = Nanoton(sum);
            }
            self.recovered.payouts.extend(new);
            if next.is_none() {
                self.recovered.complete = true;
                return Ok(());
            }
        }
        Ok(())
    }

    async fn page(&self, searched: &Searched) -> Result<Vec<Transaction>, RecoveryError> {
        let from = searched.sweep.map(|sweep| TransactionId { lt: sweep.next.0, hash: sweep.next.1 });
        Ok(self.chain.transactions(self.search.owner, from, self.search.page.max(1)).await?)
    }

    /// The payout that a transaction received, if it is one.
    async fn judge(&mut self, transaction: &Transaction) -> Result<Option<FoundPayout>, RecoveryError> {
        let Some((from, value, query_id)) = payout_of(transaction) else { return Ok(None) };
        if !self.senders.contains_key(&from) {
            let sender = self.sender(from).await?;
            self.senders.insert(from, sender);
        }
        let ordered = match self.senders.get(&from) {
            Some(Sender::Proxy { worker_contract, orders }) => orders
                .get(&query_id)
                .filter(|order| order.worker_part == value && order.lt < transaction.id.lt)
                .map(|order| (*worker_contract, order.to_tokens)),
            Some(Sender::Foreign) | None => None,
        };
        let Some((worker_contract, to_tokens)) = ordered else {
            self.recovered.foreign = self.recovered.foreign.saturating_add(1);
            return Ok(None);
        };
        let receipt = Receipt {
            from,
            to: transaction.account,
            value,
            is_payout: true,
            lt: transaction.id.lt,
            hash: transaction.id.hash,
            unix: transaction.now,
        };
        Ok(Some(FoundPayout { receipt, worker_contract, to_tokens }))
    }

    async fn sender(&mut self, address: Address) -> Result<Sender, RecoveryError> {
        let account: AccountState = self.chain.account(address).await?;
        let Ok(proxy) = proxy_of(&account, &self.search.root_contract) else { return Ok(Sender::Foreign) };
        let was_met = self.known.iter().any(|known| known.proxy_contract == address);
        let on_terms = |terms: &RootConfig| is_on_terms(&account, &proxy, terms) == Some(true);
        if !was_met && !self.search.terms.as_deref().is_some_and(on_terms) {
            return Ok(Sender::Foreign);
        }
        let Ok(worker_contract) = worker_of(address, &proxy, self.search.owner) else { return Ok(Sender::Foreign) };
        // First how much is cashed, then what came in: a crash between the two must not count it twice.
        self.look_at(worker_contract).await?;
        let mut orders = BTreeMap::new();
        let mut from = None;
        for _ in 0..MOST_ORDER_PAGES {
            let page = self.chain.transactions(worker_contract, from, MOST_TRANSACTIONS).await?;
            orders.extend(page.iter().filter_map(Order::of).map(|order| (order.query_id, order)));
            from = page.last().and_then(|oldest| oldest.previous);
            if from.is_none() {
                break;
            }
        }
        Ok(Sender::Proxy { worker_contract, orders })
    }
}
