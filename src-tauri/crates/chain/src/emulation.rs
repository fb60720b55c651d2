//! What a message would do: the message and all that follow from it, executed here on accounts as they are and with the chain's own
//! prices.
//!
//! [`Emulation`] is pure: it says whose account it needs next and is given it. [`run`] fetches.

use std::collections::{BTreeMap, VecDeque};

use ton::{Address, Cell, Nanoton};
use tycho_types::cell::{Cell as TychoCell, CellBuilder as TychoBuilder, CellFamily as _, HashBytes, Lazy, Store as _};
use tycho_types::models as tycho;
use tycho_types::models::{
    CurrencyCollection, IntAddr, OptionalAccount, ShardAccount, StdAddr, StorageInfo, StorageUsed,
};
use tycho_types::num::{Tokens, VarUint56};

use crate::Chain;
use crate::account::{AccountState, AccountStatus};
use crate::cells::{self, CellsError};
use crate::config::ChainConfig;
use crate::error::ChainError;
use crate::machine::{self, Executed, Moment};
use crate::transaction::{Message, MessageKind, Transaction, TransactionError, amount};

/// Most transactions that are followed; what goes on longer is shown as unresolved.
pub const MOST_HOPS: usize = 64;
/// Most cells of an account that are counted for storage fees.
const MOST_CELLS: usize = 1 << 16;
/// Between the logical times of two transactions, as blocks on the chain have it.
const LT_STEP: u64 = 1_000_000;

/// One transaction of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// The transaction that caused it, by its place in [`Trace::hops`]; `None` for the first.
    pub parent: Option<usize>,
    /// What would happen.
    pub transaction: Transaction,
    /// The account's money before.
    pub balance_before: Nanoton,
    /// The account's money after.
    pub balance_after: Nanoton,
}

/// Why it is not known what a message does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unseen {
    /// The receiver's code is in a library that is not known here.
    Library,
    /// The receiver is not in the basechain.
    Workchain,
    /// Too much followed already.
    TooLong,
}

/// A message of which it is not known what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unresolved {
    /// To whom it goes.
    pub destination: Address,
    /// With how much money.
    pub value: Nanoton,
    /// Why it is not known.
    pub why: Unseen,
}

/// What a message would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// All transactions, each behind the one that caused it.
    pub hops: Vec<Hop>,
    /// What is not known.
    pub unresolved: Vec<Unresolved>,
}

impl Trace {
    /// Whether everything did what it was meant to do, and all of it is known.
    pub fn succeeded(&self) -> bool {
        self.unresolved.is_empty() && !self.hops.is_empty() && self.hops.iter().all(|hop| hop.transaction.succeeded())
    }

    /// All fees of all transactions; `None` if that is no amount.
    pub fn all_fees(&self) -> Option<Nanoton> {
        self.hops.iter().try_fold(Nanoton(0), |sum, hop| sum.checked_add(hop.transaction.all_fees()?))
    }

    /// An account's money at the end; `None` if it does not take part.
    pub fn balance_after(&self, address: &Address) -> Option<Nanoton> {
        self.hops.iter().rev().find(|hop| hop.transaction.account == *address).map(|hop| hop.balance_after)
    }
}

/// An account and what its storage costs depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The account.
    pub account: AccountState,
    /// When it last paid for storage, in Unix seconds: the time of its last transaction. 0 if it never did.
    pub last_paid: u32,
    /// What it owes for storage.
    pub due: Nanoton,
}

/// What an emulation wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// This account, by [`Emulation::supply`].
    Needs(Address),
    /// Nothing: [`Emulation::finish`].
    Done,
}

/// A message on its way.
struct Waiting {
    parent: Option<usize>,
    destination: Address,
    value: Nanoton,
    external: bool,
    cell: TychoCell,
}

enum Place {
    Known(ShardAccount),
    /// Its code is in a library.
    Unreadable,
}

/// A message and all that follows from it, step by step.
pub struct Emulation {
    config: ChainConfig,
    now: u32,
    lt: u64,
    waiting: VecDeque<Waiting>,
    places: BTreeMap<Address, Place>,
    trace: Trace,
    unsigned: bool,
}

impl Emulation {
    /// Begins with a message from outside.
    pub fn new(message: &Cell, config: ChainConfig) -> Result<Self, ChainError> {
        let question = |error: TransactionError| ChainError::Question(error.to_string());
        let cell = cells::to_tycho(message).map_err(|error| ChainError::Question(error.to_string()))?;
        let MessageKind::ExternalIn { destination } = Message::from_tycho(&cell).map_err(question)?.kind else {
            return Err(ChainError::Question("the message is none from outside".to_owned()));
        };
        let first = Waiting { parent: None, destination, value: Nanoton(0), external: true, cell };
        Ok(Self {
            config,
            now: 0,
            lt: 0,
            waiting: VecDeque::from([first]),
            places: BTreeMap::new(),
            trace: Trace { hops: Vec::new(), unresolved: Vec::new() },
            unsigned: false,
        })
    }

    /// Of the first message only: what a wallet is asked to sign is tried out before it is signed.
    #[must_use]
    pub fn unsigned(mut self) -> Self {
        self.unsigned = true;
        self
    }

    /// Gives an account that was asked for. The chain's time is that of the newest account.
    pub fn supply(&mut self, known: &Known) -> Result<(), ChainError> {
        let account = &known.account;
        self.now = self.now.max(account.seen_at);
        self.lt = self.lt.max(account.last_lt());
        let place = match shard_account(known) {
            Ok(state) => Place::Known(state),
            Err(CellsError::Opaque) => Place::Unreadable,
            Err(error) => return Err(ChainError::Nonsense(error.to_string())),
        };
        self.places.insert(account.address, place);
        Ok(())
    }

    /// Executes what can be executed.
    pub fn advance(&mut self) -> Result<Step, ChainError> {
        while let Some(next) = self.waiting.front() {
            let why = if next.destination.workchain != 0 {
                Some(Unseen::Workchain)
            } else if self.trace.hops.len() >= MOST_HOPS {
                Some(Unseen::TooLong)
            } else {
                match self.places.get(&next.destination) {
                    None => return Ok(Step::Needs(next.destination)),
                    Some(Place::Unreadable) => Some(Unseen::Library),
                    Some(Place::Known(_)) => None,
                }
            };
            let Some(next) = self.waiting.pop_front() else { break };
            match why {
                Some(why) => {
                    self.trace.unresolved.push(Unresolved { destination: next.destination, value: next.value, why });
                }
                None => self.execute(next)?,
            }
        }
        Ok(Step::Done)
    }

    fn execute(&mut self, next: Waiting) -> Result<(), ChainError> {
        let Some(Place::Known(before)) = self.places.get(&next.destination) else { return Ok(()) };
        self.lt = self.lt.saturating_add(LT_STEP);
        let address = StdAddr::new(next.destination.workchain, HashBytes(next.destination.hash));
        // Contracts that the message causes to run check what they are shown as they do on the chain.
        let ignore_signatures = next.external && self.unsigned;
        let moment = Moment { now: self.now, lt: self.lt, seed: [0; 32], ignore_signatures };
        let executed = machine::execute(self.config.parsed(), &address, next.external, next.cell, before, moment)
            .map_err(|error| if next.external { ChainError::Refused(error) } else { ChainError::Nonsense(error) })?;
        let nonsense = |error: TransactionError| ChainError::Nonsense(error.to_string());
        match executed {
            Executed::NotAccepted { exit_code } => Err(ChainError::Refused(match exit_code {
                Some(code) => format!("the contract ends with exit code {code}"),
                None => "there is no contract that could take it".to_owned(),
            })),
            Executed::Done { missing_library: true, .. } => {
                let why = Unseen::Library;
                self.trace.unresolved.push(Unresolved { destination: next.destination, value: next.value, why });
                Ok(())
            }
            Executed::Done { state, transaction, out_messages, next_lt, .. } => {
                let hop = Hop {
                    parent: next.parent,
                    transaction: Transaction::from_tycho(&transaction, next.destination.workchain).map_err(nonsense)?,
                    balance_before: balance(before).map_err(nonsense)?,
                    balance_after: balance(&state).map_err(nonsense)?,
                };
                let parent = Some(self.trace.hops.len());
                for cell in out_messages {
                    let kind = Message::from_tycho(&cell).map_err(nonsense)?.kind;
                    if let MessageKind::Internal { destination, value, .. } = kind {
                        self.waiting.push_back(Waiting { parent, destination, value, external: false, cell });
                    }
                }
                self.trace.hops.push(hop);
                self.lt = self.lt.max(next_lt);
                self.places.insert(next.destination, Place::Known(state));
                Ok(())
            }
        }
    }

    /// What was found out.
    pub fn finish(self) -> Trace {
        self.trace
    }
}

/// Runs a message on a chain's accounts as they are now.
pub async fn run<C: Chain + ?Sized>(chain: &C, message: &Cell) -> Result<Trace, ChainError> {
    finish(chain, Emulation::new(message, chain.config().await?)?).await
}

/// The same with a message that is not signed yet.
pub async fn run_unsigned<C: Chain + ?Sized>(chain: &C, message: &Cell) -> Result<Trace, ChainError> {
    finish(chain, Emulation::new(message, chain.config().await?)?.unsigned()).await
}

async fn finish<C: Chain + ?Sized>(chain: &C, mut emulation: Emulation) -> Result<Trace, ChainError> {
    loop {
        // It computes, and a state that somebody made up must not take the program down.
        let (back, step) = tokio::task::spawn_blocking(move || {
            let step = emulation.advance();
            (emulation, step)
        })
        .await
        .map_err(|_| ChainError::Nonsense("the accounts cannot be executed".to_owned()))?;
        emulation = back;
        match step? {
            Step::Done => return Ok(emulation.finish()),
            Step::Needs(address) => emulation.supply(&fetch(chain, address).await?)?,
        }
    }
}

/// An account together with when it last paid for its storage.
async fn fetch<C: Chain + ?Sized>(chain: &C, address: Address) -> Result<Known, ChainError> {
    let account = chain.account(address).await?;
    let Some(last) = account.last else { return Ok(Known { account, last_paid: 0, due: Nanoton(0) }) };
    let newest = chain.transactions(address, Some(last), 1).await?;
    match newest.first().filter(|newest| newest.id == last) {
        Some(newest) => Ok(Known { last_paid: newest.now, due: newest.storage_due, account }),
        None => Err(ChainError::Nonsense("an account's last transaction is not in its history".to_owned())),
    }
}

fn balance(state: &ShardAccount) -> Result<Nanoton, TransactionError> {
    match state.load_account()? {
        Some(account) => amount(account.balance.tokens),
        None => Ok(Nanoton(0)),
    }
}

fn shard_account(known: &Known) -> Result<ShardAccount, CellsError> {
    let wrong = |error: tycho_types::error::Error| CellsError::Cell(error.to_string());
    let state = state_of(&known.account, known.last_paid, known.due)?;
    Ok(ShardAccount {
        account: Lazy::new(&OptionalAccount(state)).map_err(wrong)?,
        last_trans_hash: HashBytes(known.account.last.map_or([0; 32], |last| last.hash)),
        last_trans_lt: known.account.last_lt(),
    })
}

/// An account in the executor's form; `None` if it never was.
pub(crate) fn state_of(
    account: &AccountState,
    last_paid: u32,
    due: Nanoton,
) -> Result<Option<tycho::Account>, CellsError> {
    let state = match account.status {
        AccountStatus::Uninitialised if account.last.is_none() && account.balance == Nanoton(0) => return Ok(None),
        AccountStatus::Uninitialised => tycho::AccountState::Uninit,
        AccountStatus::Frozen => tycho::AccountState::Frozen(HashBytes(account.frozen.unwrap_or_default())),
        AccountStatus::Active => tycho::AccountState::Active(tycho::StateInit {
            code: account.code.as_ref().map(cells::to_tycho).transpose()?,
            data: account.data.as_ref().map(cells::to_tycho).transpose()?,
            ..tycho::StateInit::default()
        }),
    };
    let address = StdAddr::new(account.address.workchain, HashBytes(account.address.hash));
    let mut built = tycho::Account {
        address: IntAddr::Std(address),
        storage_stat: StorageInfo {
            last_paid,
            due_payment: (due != Nanoton(0)).then_some(Tokens::new(u128::from(due.0))),
            ..StorageInfo::default()
        },
        last_trans_lt: account.last_lt().saturating_add(1),
        balance: CurrencyCollection::new(u128::from(account.balance.0)),
        state,
    };
    built.storage_stat.used = storage_used(&built)?;
    Ok(Some(built))
}

/// How many different cells and bits an account takes: what storage fees are for.
fn storage_used(account: &tycho::Account) -> Result<StorageUsed, CellsError> {
    let wrong = |error: tycho_types::error::Error| CellsError::Cell(error.to_string());
    let mut storage = TychoBuilder::new();
    storage.store_u64(account.last_trans_lt).map_err(wrong)?;
    account.balance.store_into(&mut storage, TychoCell::empty_context()).map_err(wrong)?;
    account.state.store_into(&mut storage, TychoCell::empty_context()).map_err(wrong)?;
    let size = storage.build().map_err(wrong)?.compute_unique_stats(MOST_CELLS).ok_or(CellsError::TooMany)?;
    Ok(StorageUsed { cells: VarUint56::new(size.cell_count), bits: VarUint56::new(size.bit_count) })
}
