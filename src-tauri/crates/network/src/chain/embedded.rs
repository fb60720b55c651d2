//! The chain itself: a clock, accounts, messages on their way, and blocks that are made of them. It opens no socket and reads no
//! clock; whoever drives it says how late it is.
//!
//! A block takes what is on its way when it begins; what is sent within it arrives in the next one, so a payment through three
//! contracts takes three blocks, and can be looked at half-way. Blocks without anything in them are counted, not written down.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use chain::machine::{self, Executed, Moment};
use chain::{
    AccountState, AccountStatus, ChainConfig, ConfigError, Head, Message, MessageKind, Transaction, TransactionId,
    cells,
};
use sha2::{Digest, Sha256};
use thiserror::Error;
use ton::{Address, Cell, Nanoton};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell as TychoCell, CellBuilder, HashBytes, Lazy};
use tycho_types::models::{
    self as tycho, CurrencyCollection, IntAddr, IntMsgInfo, MsgInfo, OptionalAccount, OwnedMessage, ShardAccount,
    StdAddr,
};
use tycho_types::num::Tokens;

use crate::store::StoreError;
use crate::store::chain::{AccountRow, Audit, Block, ChainStore, Passage, Standing, TransactionRow};

/// The eight parameters of TON's main network that executing needs, as of December 2025 (docs/adr/0015).
const PARAMETERS: &str = include_str!("parameters.b64");
/// The parameter in which a chain names itself.
const GLOBAL_ID: u32 = 19;
/// Who sends what the faucet gives. Nobody can have this account: no state has this hash.
const FAUCET: Address = Address { workchain: 0, hash: [0xfa; 32] };

/// Most messages from outside that wait for a block, all together.
const POOL: usize = 4096;
/// Most messages from outside that wait for one account.
const POOL_OF_ONE: usize = 16;
/// Most messages from accounts that one block takes.
const MOST_PASSAGES: u32 = 1000;
/// Most accounts that are kept in memory.
const REMEMBERED: usize = 4096;
/// Between the logical times of two blocks.
const LT_STEP: u64 = 1_000_000;
/// Most that the faucet has ever given: as much as there are Toncoins.
const MOST_MINTED: Nanoton = Nanoton(5_000_000_000_000_000_000);

/// What makes a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// What all chance is drawn from. A chain that is already there keeps its own.
    pub seed: u64,
    /// From block to block, in milliseconds; at least 1.
    pub block_ms: u32,
    /// What it calls itself; not kept in the file.
    pub global_id: i32,
}

/// Why the chain can't do something.
#[derive(Debug, Error)]
pub enum EmbeddedError {
    /// The file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The parameters that came with the program can't be read.
    #[error("the chain's parameters: {0}")]
    Config(#[from] ConfigError),
    /// What the file holds is not what a chain writes.
    #[error("the chain's file holds {0}")]
    Damaged(String),
    /// A message that no chain takes, and why.
    #[error("{0}")]
    Refused(String),
}

struct Pooled {
    to: Address,
    cell: TychoCell,
}

/// How reads of the past are answered while it is told to look back.
struct Shadow {
    head: Head,
    accounts: BTreeMap<Address, ShardAccount>,
    lt: u64,
}

/// A chain.
pub struct Embedded {
    store: ChainStore,
    config: ChainConfig,
    rules: Rules,
    standing: Standing,
    pool: VecDeque<Pooled>,
    pooled: BTreeSet<[u8; 32]>,
    accounts: BTreeMap<Address, ShardAccount>,
    on_the_way: bool,
    shadow: Option<Shadow>,
    looking_back: bool,
}

impl Embedded {
    /// Opens a chain's file, or begins a chain at this time (Unix milliseconds).
    pub fn open(path: &Path, rules: Rules, wall_ms: i64) -> Result<Self, EmbeddedError> {
        let first = Standing {
            seed: rules.seed,
            seqno: 1,
            time_ms: wall_ms,
            ahead_ms: 0,
            lt: LT_STEP,
            hash: Sha256::digest(rules.seed.to_le_bytes()).into(),
            minted: Nanoton(0),
            fees: Nanoton(0),
        };
        let (store, standing) = ChainStore::open(path, first)?;
        let on_the_way = !store.passages(1)?.is_empty();
        let rules = Rules { seed: standing.seed, block_ms: rules.block_ms.max(1), ..rules };
        let config = parameters(rules.global_id, (wall_ms / 1000) as u32)?;
        Ok(Self {
            store,
            config,
            rules,
            standing,
            pool: VecDeque::new(),
            pooled: BTreeSet::new(),
            accounts: BTreeMap::new(),
            on_the_way,
            shadow: None,
            looking_back: false,
        })
    }

    /// The chain's parameters.
    pub fn config(&self) -> &ChainConfig {
        &self.config
    }

    /// Where all money is.
    pub fn audit(&self) -> Result<Audit, EmbeddedError> {
        Ok(self.store.audit()?)
    }

    /// The chain's clock never goes back, whatever the machine's does.
    fn now_ms(&self, wall_ms: i64) -> i64 {
        wall_ms.saturating_add(self.standing.ahead_ms).max(self.standing.time_ms)
    }

    /// The newest block at this time.
    pub fn head(&self, wall_ms: i64) -> Head {
        let since = self.now_ms(wall_ms) - self.standing.time_ms;
        let blocks = since / i64::from(self.rules.block_ms);
        let time_ms = self.standing.time_ms + blocks * i64::from(self.rules.block_ms);
        Head {
            seqno: self.standing.seqno.saturating_add(u32::try_from(blocks).unwrap_or(u32::MAX)),
            time: u32::try_from(time_ms / 1000).unwrap_or(u32::MAX),
        }
    }

    /// The newest block as others are told: an older one while it is told to look back.
    pub fn shown_head(&self, wall_ms: i64) -> Head {
        self.past().map_or_else(|| self.head(wall_ms), |shadow| shadow.head)
    }

    /// When a block was made, in Unix seconds; `None` for blocks to come.
    pub fn time_of(&self, seqno: u32, wall_ms: i64) -> Result<Option<u32>, EmbeddedError> {
        if seqno == 0 || seqno > self.head(wall_ms).seqno {
            return Ok(None);
        }
        let Some((at, time_ms)) = self.store.block_before(seqno)? else { return Ok(None) };
        let time_ms = time_ms.saturating_add(i64::from(seqno - at) * i64::from(self.rules.block_ms));
        Ok(u32::try_from(time_ms.min(self.now_ms(wall_ms)) / 1000).ok())
    }

    /// Owner, logical time and hash of a block's transactions.
    pub fn transactions_in(&self, seqno: u32) -> Result<Vec<(Address, u64, [u8; 32])>, EmbeddedError> {
        Ok(self.store.transactions_in(seqno, 10_000)?)
    }

    /// Whether the next block has anything to do.
    pub fn has_work(&self) -> bool {
        self.on_the_way || !self.pool.is_empty()
    }

    /// How long until the next block can be made, in milliseconds.
    pub fn next_block_in(&self, wall_ms: i64) -> u64 {
        let since = self.now_ms(wall_ms) - self.standing.time_ms;
        u64::try_from(i64::from(self.rules.block_ms) - since).unwrap_or(0)
    }

    /// Takes a message from outside if its contract would take it now. The next block executes it, or finds that it can't.
    pub fn send(&mut self, cell: TychoCell, wall_ms: i64) -> Result<[u8; 32], EmbeddedError> {
        let refused = |why: &str| EmbeddedError::Refused(why.to_owned());
        let message = Message::from_tycho(&cell).map_err(|error| EmbeddedError::Refused(error.to_string()))?;
        let MessageKind::ExternalIn { destination } = message.kind else {
            return Err(refused("the message is none from outside"));
        };
        if destination.workchain != 0 {
            return Err(refused("this chain has a basechain only"));
        }
        if self.pooled.contains(&message.hash) {
            return Ok(message.hash);
        }
        if self.pool.len() >= POOL || self.pool.iter().filter(|one| one.to == destination).count() >= POOL_OF_ONE {
            return Err(refused("too many messages wait for a block"));
        }
        let state = self.state(&destination)?;
        let head = self.head(wall_ms);
        let moment = self.moment(head, self.standing.lt + LT_STEP);
        let tried = machine::execute(self.config.parsed(), &standard(&destination), true, cell.clone(), &state, moment);
        match tried.map_err(EmbeddedError::Refused)? {
            Executed::Done { .. } => {
                self.pooled.insert(message.hash);
                self.pool.push_back(Pooled { to: destination, cell });
                Ok(message.hash)
            }
            Executed::NotAccepted { exit_code } => {
                let code = exit_code.map_or_else(|| "no code ran".to_owned(), |code| format!("exitcode={code}"));
                Err(EmbeddedError::Refused(format!(
                    "cannot apply external message to current state : External message was not accepted: {code}"
                )))
            }
        }
    }

    /// Makes money and sends it to an account. It arrives with the next block.
    pub fn give(&mut self, to: Address, amount: Nanoton, wall_ms: i64) -> Result<(), EmbeddedError> {
        let minted = self.standing.minted.checked_add(amount).filter(|minted| *minted <= MOST_MINTED);
        let minted = minted.ok_or_else(|| EmbeddedError::Refused("the faucet is empty".to_owned()))?;
        let damaged = |error: tycho_types::error::Error| EmbeddedError::Damaged(error.to_string());
        let info = IntMsgInfo {
            ihr_disabled: true,
            bounce: false,
            bounced: false,
            src: IntAddr::Std(standard(&FAUCET)),
            dst: IntAddr::Std(standard(&to)),
            value: CurrencyCollection::new(u128::from(amount.0)),
            extra_flags: tycho::MessageExtraFlags::default(),
            fwd_fee: Tokens::ZERO,
            created_lt: self.standing.lt,
            created_at: self.head(wall_ms).time,
        };
        let message = OwnedMessage { info: MsgInfo::Int(info), init: None, body: Default::default(), layout: None };
        let cell = CellBuilder::build_from(message).map_err(damaged)?;
        let standing = Standing { minted, lt: self.standing.lt + 1, ..self.standing };
        let departed = vec![Passage { cells: Boc::encode(&cell), carries: amount }];
        self.write(&Block { standing, accounts: vec![], transactions: vec![], arrived: vec![], departed })?;
        self.on_the_way = true;
        Ok(())
    }

    /// Lets the chain's clock jump ahead.
    pub fn travel(&mut self, by_ms: i64) -> Result<(), EmbeddedError> {
        let ahead_ms = self.standing.ahead_ms.saturating_add(by_ms.max(0));
        let standing = Standing { ahead_ms, ..self.standing };
        self.write(&Block { standing, accounts: vec![], transactions: vec![], arrived: vec![], departed: vec![] })
    }

    /// From now on remembers how everything was, for [`Self::look_back`]; a second time changes nothing.
    pub fn fall_behind(&mut self, wall_ms: i64) {
        if self.shadow.is_none() {
            self.shadow = Some(Shadow { head: self.head(wall_ms), accounts: BTreeMap::new(), lt: self.standing.lt });
        }
    }

    /// Forgets how everything was.
    pub fn catch_up(&mut self) {
        self.shadow = None;
    }

    /// Whether what is shown is how everything was when the chain fell behind.
    pub fn look_back(&mut self, back: bool) {
        self.looking_back = back;
    }

    fn past(&self) -> Option<&Shadow> {
        self.shadow.as_ref().filter(|_| self.looking_back)
    }

    /// Makes a block, if its time has come and there is anything to do. Whether one was made.
    pub fn tick(&mut self, wall_ms: i64) -> Result<bool, EmbeddedError> {
        let head = self.head(wall_ms);
        if !self.has_work() || head.seqno <= self.standing.seqno {
            return Ok(false);
        }
        let since = i64::from(head.seqno - self.standing.seqno) * i64::from(self.rules.block_ms);
        let mut standing = Standing { seqno: head.seqno, time_ms: self.standing.time_ms + since, ..self.standing };
        let mut work = Work { lt: (standing.lt / LT_STEP + 1) * LT_STEP, ..Work::default() };
        let passages = self.store.passages(MOST_PASSAGES)?;
        for (number, passage) in &passages {
            work.arrived.push(*number);
            self.deliver(passage, head, &mut work)?;
        }
        for pooled in &self.pool {
            self.admit(pooled, head, &mut work)?;
        }
        let mut hasher = Sha256::new_with_prefix(self.standing.hash);
        hasher.update(head.seqno.to_le_bytes());
        for row in &work.transactions {
            hasher.update(row.hash);
        }
        standing.hash = hasher.finalize().into();
        standing.lt = work.lt;
        standing.fees = standing
            .fees
            .checked_add(work.fees)
            .ok_or_else(|| EmbeddedError::Damaged("more fees than money".to_owned()))?;
        let on_the_way = !work.departed.is_empty() || passages.len() as u32 == MOST_PASSAGES;
        let accounts = work
            .changed
            .iter()
            .map(|(address, state)| account_row(*address, state))
            .collect::<Result<Vec<_>, EmbeddedError>>()?;
        self.shade(&work.changed)?;
        self.write(&Block {
            standing,
            accounts,
            transactions: work.transactions,
            arrived: work.arrived,
            departed: work.departed,
        })?;
        self.pool.clear();
        self.pooled.clear();
        self.on_the_way = on_the_way;
        if self.accounts.len() > REMEMBERED {
            self.accounts.clear();
        }
        self.accounts.append(&mut work.changed);
        Ok(true)
    }

    /// Keeps what accounts were, for those who are shown the past.
    fn shade(&mut self, changed: &BTreeMap<Address, ShardAccount>) -> Result<(), EmbeddedError> {
        let Some(mut shadow) = self.shadow.take() else { return Ok(()) };
        for address in changed.keys() {
            if !shadow.accounts.contains_key(address) {
                shadow.accounts.insert(*address, self.state(address)?);
            }
        }
        self.shadow = Some(shadow);
        Ok(())
    }

    fn deliver(&self, passage: &Passage, head: Head, work: &mut Work) -> Result<(), EmbeddedError> {
        let damaged = |error: &dyn std::fmt::Display| EmbeddedError::Damaged(error.to_string());
        let cell = Boc::decode(&passage.cells).map_err(|error| damaged(&error))?;
        let message = Message::from_tycho(&cell).map_err(|error| damaged(&error))?;
        let MessageKind::Internal { destination, forward_fee, .. } = message.kind else {
            return Err(EmbeddedError::Damaged("a message on its way that is none between accounts".to_owned()));
        };
        match self.execute(destination, false, cell, head, work)? {
            // What is left of the forward fee is for whoever carried the message.
            Ok(()) => work.take(forward_fee),
            Err(why) => {
                tracing::error!(%destination, why, "a message between accounts cannot be executed; its money is lost");
                work.take(passage.carries)
            }
        }
    }

    fn admit(&self, pooled: &Pooled, head: Head, work: &mut Work) -> Result<(), EmbeddedError> {
        if let Err(why) = self.execute(pooled.to, true, pooled.cell.clone(), head, work)? {
            tracing::debug!(to = %pooled.to, why, "a message from outside is not taken any more");
        }
        Ok(())
    }

    /// Executes a message. The inner error says why there was no transaction.
    fn execute(
        &self,
        to: Address,
        external: bool,
        message: TychoCell,
        head: Head,
        work: &mut Work,
    ) -> Result<Result<(), String>, EmbeddedError> {
        let state = match work.changed.get(&to) {
            Some(state) => state.clone(),
            None => self.state(&to)?,
        };
        let moment = self.moment(head, work.lt);
        let executed = machine::execute(self.config.parsed(), &standard(&to), external, message, &state, moment);
        let (state, transaction, out_messages, next_lt) = match executed {
            Ok(Executed::Done { state, transaction, out_messages, next_lt, .. }) => {
                (state, transaction, out_messages, next_lt)
            }
            Ok(Executed::NotAccepted { exit_code }) => return Ok(Err(format!("not accepted: {exit_code:?}"))),
            Err(why) => return Ok(Err(why)),
        };
        let damaged = |error: chain::TransactionError| EmbeddedError::Damaged(error.to_string());
        let read = Transaction::from_tycho(&transaction, to.workchain).map_err(damaged)?;
        work.take(read.total_fees)?;
        for (cell, message) in out_messages.iter().zip(&read.out_messages) {
            if let MessageKind::Internal { value, forward_fee, .. } = message.kind {
                let carries = value.checked_add(forward_fee);
                let carries = carries.ok_or_else(|| EmbeddedError::Damaged("too much money".to_owned()))?;
                work.departed.push(Passage { cells: Boc::encode(cell), carries });
            }
        }
        work.transactions.push(TransactionRow {
            address: to,
            lt: read.id.lt,
            hash: read.id.hash,
            seqno: head.seqno,
            cells: Boc::encode(&transaction),
        });
        work.lt = work.lt.max(next_lt);
        work.changed.insert(to, state);
        Ok(Ok(()))
    }

    fn moment(&self, head: Head, lt: u64) -> Moment {
        let mut hasher = Sha256::new_with_prefix(self.rules.seed.to_le_bytes());
        hasher.update(head.seqno.to_le_bytes());
        Moment { now: head.time, lt, seed: hasher.finalize().into(), ignore_signatures: false }
    }

    fn write(&mut self, block: &Block) -> Result<(), EmbeddedError> {
        self.store.write(block)?;
        self.standing = block.standing;
        Ok(())
    }

    /// An account in the executor's form.
    pub fn state(&self, address: &Address) -> Result<ShardAccount, EmbeddedError> {
        if let Some(state) = self.accounts.get(address) {
            return Ok(state.clone());
        }
        let damaged = |error: &dyn std::fmt::Display| EmbeddedError::Damaged(error.to_string());
        let Some(row) = self.store.account(address)? else {
            let account = Lazy::new(&OptionalAccount::EMPTY).map_err(|error| damaged(&error))?;
            return Ok(ShardAccount { account, last_trans_hash: HashBytes::ZERO, last_trans_lt: 0 });
        };
        let cell = Boc::decode(&row.state).map_err(|error| damaged(&error))?;
        Ok(ShardAccount {
            account: Lazy::from_raw(cell).map_err(|error| damaged(&error))?,
            last_trans_hash: HashBytes(row.last_hash),
            last_trans_lt: row.last_lt,
        })
    }

    /// An account as others are told: an older one while it is told to look back. With its code and data as bags.
    pub fn shown(&self, address: &Address, wall_ms: i64) -> Result<Shown, EmbeddedError> {
        let state = match self.past().and_then(|shadow| shadow.accounts.get(address)) {
            Some(state) => state.clone(),
            None => self.state(address)?,
        };
        shown(*address, &state, self.shown_head(wall_ms))
    }

    /// Transactions of an account, newest first, from a logical time on.
    pub fn transactions(
        &self,
        address: &Address,
        from: Option<u64>,
        limit: u32,
    ) -> Result<Vec<TransactionRow>, EmbeddedError> {
        let newest = self.past().map_or(u64::MAX, |shadow| shadow.lt);
        Ok(self.store.transactions(address, from.unwrap_or(u64::MAX).min(newest), limit)?)
    }

    /// What a message from outside would cost, without its signature being looked at.
    pub fn estimate(&self, cell: TychoCell, wall_ms: i64) -> Result<Transaction, EmbeddedError> {
        let message = Message::from_tycho(&cell).map_err(|error| EmbeddedError::Refused(error.to_string()))?;
        let destination =
            message.destination().ok_or_else(|| EmbeddedError::Refused("the message goes nowhere".to_owned()))?;
        let moment = Moment { ignore_signatures: true, ..self.moment(self.head(wall_ms), self.standing.lt + LT_STEP) };
        let state = self.state(&destination)?;
        let tried = machine::execute(self.config.parsed(), &standard(&destination), true, cell, &state, moment);
        match tried.map_err(EmbeddedError::Refused)? {
            Executed::Done { transaction, .. } => Transaction::from_tycho(&transaction, destination.workchain)
                .map_err(|error| EmbeddedError::Damaged(error.to_string())),
            Executed::NotAccepted { exit_code } => {
                Err(EmbeddedError::Refused(format!("External message was not accepted: exitcode={exit_code:?}")))
            }
        }
    }
}

/// What a block under way has done.
#[derive(Default)]
struct Work {
    lt: u64,
    fees: Nanoton,
    changed: BTreeMap<Address, ShardAccount>,
    transactions: Vec<TransactionRow>,
    arrived: Vec<i64>,
    departed: Vec<Passage>,
}

impl Work {
    fn take(&mut self, fee: Nanoton) -> Result<(), EmbeddedError> {
        self.fees =
            self.fees.checked_add(fee).ok_or_else(|| EmbeddedError::Damaged("more fees than money".to_owned()))?;
        Ok(())
    }
}

/// An account as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The account.
    pub account: AccountState,
    /// Its code as a bag; empty without any.
    pub code: Vec<u8>,
    /// Its data as a bag; empty without any.
    pub data: Vec<u8>,
    /// Whether there is anything at all.
    pub exists: bool,
}

fn shown(address: Address, state: &ShardAccount, head: Head) -> Result<Shown, EmbeddedError> {
    let damaged = |error: &dyn std::fmt::Display| EmbeddedError::Damaged(error.to_string());
    let last =
        (state.last_trans_lt != 0).then_some(TransactionId { lt: state.last_trans_lt, hash: state.last_trans_hash.0 });
    let mut account = AccountState { last, ..AccountState::absent(address, head.time) };
    let Some(found) = state.load_account().map_err(|error| damaged(&error))? else {
        return Ok(Shown { account, code: Vec::new(), data: Vec::new(), exists: false });
    };
    account.balance = money(&found)?;
    let (mut code, mut data) = (Vec::new(), Vec::new());
    match &found.state {
        tycho::AccountState::Uninit => {}
        tycho::AccountState::Frozen(hash) => {
            account.status = AccountStatus::Frozen;
            account.frozen = Some(hash.0);
        }
        tycho::AccountState::Active(init) => {
            account.status = AccountStatus::Active;
            let ours = |cell: &TychoCell| cells::from_tycho(cell).map_err(|error| damaged(&error));
            account.code = init.code.as_ref().map(ours).transpose()?;
            account.data = init.data.as_ref().map(ours).transpose()?;
            code = init.code.as_ref().map(Boc::encode).unwrap_or_default();
            data = init.data.as_ref().map(Boc::encode).unwrap_or_default();
        }
    }
    Ok(Shown { account, code, data, exists: true })
}

fn money(account: &tycho::Account) -> Result<Nanoton, EmbeddedError> {
    let tokens = account.balance.tokens.into_inner();
    u64::try_from(tokens).map(Nanoton).map_err(|_| EmbeddedError::Damaged(format!("{tokens} nanotons")))
}

fn account_row(address: Address, state: &ShardAccount) -> Result<AccountRow, EmbeddedError> {
    let account = state.load_account().map_err(|error| EmbeddedError::Damaged(error.to_string()))?;
    Ok(AccountRow {
        address,
        state: Boc::encode(state.account.inner()),
        last_lt: state.last_trans_lt,
        last_hash: state.last_trans_hash.0,
        balance: account.as_ref().map(money).transpose()?.unwrap_or_default(),
    })
}

fn standard(address: &Address) -> StdAddr {
    StdAddr::new(address.workchain, HashBytes(address.hash))
}

fn parameters(global_id: i32, now: u32) -> Result<ChainConfig, EmbeddedError> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(PARAMETERS.trim())
        .map_err(|error| EmbeddedError::Damaged(error.to_string()))?;
    let mut parameters = ChainConfig::from_dictionary(&bytes, now)?.parameters()?;
    let own_name = ton::CellBuilder::new().uint(global_id.cast_unsigned().into(), 32).build();
    parameters.insert(GLOBAL_ID, own_name.map_err(|error| EmbeddedError::Damaged(error.to_string()))?);
    Ok(ChainConfig::from_parameters(&parameters, now)?)
}

/// A message as it came, for [`Embedded::send`] and [`Embedded::estimate`].
pub fn message(bytes: &[u8]) -> Result<TychoCell, EmbeddedError> {
    cells::decode(bytes).map_err(|error| EmbeddedError::Refused(error.to_string()))
}

/// The same, from a cell of ours.
pub fn message_of(cell: &Cell) -> Result<TychoCell, EmbeddedError> {
    cells::to_tycho(cell).map_err(|error| EmbeddedError::Refused(error.to_string()))
}
