//! The proxy on a chain: a task that keeps its contract and its clients' accounts there in step with the books.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chain::{AccountState, AccountStatus, Chain, ChainError};
use protocol::proxy::{AccountChange, ClientStanding, Side, Sight};
use serde_json::{Value, json};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use ton::cocoon::{
    Body, ClientData, ClientPayload, ContractState, Note, ProxyData, SignedBody, SignedOperation, SignedPayload,
    WorkerData,
};
use ton::{Address, Cell, Nanoton, ParamsError, RootConfig};
use zeroize::Zeroizing;

use super::host::{BookEntry, Event};
use crate::clock::random_bytes;
use crate::config::chain::{RootError, read_root};
use crate::keys::SigningKey;
use crate::store::StoreError;
use crate::treasury::operator::{self, Client, Rules, View, Worker};
use crate::treasury::{Outcome, Purse, PurseError, Standing, Wallet};

/// Accounts beside those that are needed now that each look compares with the chain.
const ROUND: usize = 8;
/// Most accounts of one look.
const MOST_LOOKED_AT: usize = 50;
/// Accounts that are compared with the chain before the proxy begins; the others follow in rounds.
const AT_THE_BEGINNING: usize = 200;
/// Pages of the proxy's contract's history that are searched for its last note, and read for what was said since the last look: a
/// hundred thousand transactions. Whoever buries a note deeper than that has the proxy refuse to begin, not begin with old accounts.
const NOTE_PAGES: u32 = 1000;
const NOTE_PAGE: u32 = 100;
/// Transactions of the first page that is read for what was said since the last look: usually all of it.
const HEARD: u32 = 20;
/// Looks from one reading of the root contract to the next, about half a minute to five.
const ROOT_EVERY: u32 = 30;

/// When payments may be signed for what is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirm {
    /// When the chain has the note of it, as on Cocoon.
    OnChain,
    /// When it is on the disk. The chain gets a note now and then all the same.
    OnDisk {
        /// Least time between two notes.
        note_every: Duration,
    },
}

/// A proxy's place on a chain. Has no `Debug`: a key is in it.
pub struct OnChain {
    /// The chain.
    pub chain: Arc<dyn Chain>,
    /// Seed of the proxy's own wallet, which pays for everything.
    pub wallet: Zeroizing<[u8; 32]>,
    /// Main or test network: a wallet has another address on each.
    pub network: ton::Network,
    /// The wallet's file.
    pub file: PathBuf,
    /// Pause between two looks at the chain.
    pub look: Duration,
    /// When to charge and withdraw.
    pub rules: Rules,
    /// When payments may be signed.
    pub confirm: Confirm,
}

impl OnChain {
    /// A proxy of an open network with careful defaults.
    pub fn new(chain: Arc<dyn Chain>, wallet: Zeroizing<[u8; 32]>, network: ton::Network, file: PathBuf) -> Self {
        let (look, rules) = (Duration::from_secs(10), Rules::default());
        Self { chain, wallet, network, file, look, rules, confirm: Confirm::OnChain }
    }

    /// The wallet's address.
    pub fn address(&self) -> Address {
        Wallet::new(&self.wallet, self.network).address()
    }
}

/// Why the proxy does not go on with its chain.
#[derive(Debug, Error)]
pub enum ChainTrouble {
    /// The chain knows more than the books: they were restored from an old copy.
    #[error(
        "the accounts are older than the chain: {0}; nothing is signed with them. Put the newest copy of the --data folder in their place"
    )]
    OldAccounts(String),
    /// Whether it does is not known.
    #[error(
        "the last {searched} transactions of {contract} hold no note of the accounts, so whether these are the newest is not known; nothing is signed with them"
    )]
    NoNote {
        /// The proxy's contract.
        contract: Address,
        /// How far was searched.
        searched: u32,
    },
    /// The wallet.
    #[error(transparent)]
    Purse(#[from] PurseError),
    /// What is at a contract's address is none of this network's.
    #[error("{address}: {source}")]
    Foreign {
        /// The address.
        address: Address,
        /// What is wrong with it.
        source: ParamsError,
    },
    /// The proxy has ended.
    #[error("the proxy has ended")]
    Gone,
}

impl From<ChainError> for ChainTrouble {
    fn from(error: ChainError) -> Self {
        Self::Purse(error.into())
    }
}

impl From<StoreError> for ChainTrouble {
    fn from(error: StoreError) -> Self {
        Self::Purse(error.into())
    }
}

/// What the deciding task asks.
#[derive(Debug)]
pub(super) enum Ask {
    /// All that was written down up to this number of a write may be committed.
    Commit {
        /// The core's number.
        seq: u64,
        /// The file's number, which goes on from run to run.
        writes: u64,
    },
    /// Look at a client's contract.
    LookAt {
        /// The client's owner.
        client: Address,
    },
}

/// Where the books are.
pub(super) enum Books {
    /// With a proxy that runs.
    Running(mpsc::Sender<Event>),
    /// In a file that nobody else has open.
    Resting(Vec<BookEntry>),
}

/// What does not change.
pub(super) struct Facts {
    pub(super) root: Arc<RootConfig>,
    pub(super) root_contract: Address,
    pub(super) owner: Address,
    pub(super) contract: Address,
    pub(super) key: SigningKey,
}

/// A note that is wanted.
#[derive(Debug, Clone, Copy)]
struct Save {
    seq: u64,
    writes: u64,
}

pub(super) struct Treasurer {
    facts: Facts,
    public_key: [u8; 32],
    chain: Arc<dyn Chain>,
    purse: Purse,
    books: Books,
    look: Duration,
    rules: Rules,
    confirm: Confirm,
    session: [u8; 32],
    save: Option<Save>,
    /// Part of the transfer that is under way.
    saving: Option<Save>,
    noted_at: Option<tokio::time::Instant>,
    /// Where the next round begins.
    round: usize,
    closing: bool,
    /// Number of the last write before this run: whoever leaves a note of a newer one is not we.
    writes: u64,
    /// Looks until the root contract is read again.
    root_in: u32,
    /// Clients that came when their contracts were closing.
    leaving: BTreeSet<Address>,
    /// Logical time up to which our contract's history was read for what clients' contracts said.
    heard_until: Option<u64>,
    page: watch::Sender<Value>,
}

/// How a look left things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    /// A transfer is under way.
    pub(super) busy: bool,
    /// The contract is closed, or was never there.
    pub(super) closed: bool,
}

impl Treasurer {
    pub(super) fn new(on: OnChain, facts: Facts, books: Books, page: watch::Sender<Value>) -> Result<Self, StoreError> {
        let wallet = Wallet::new(&on.wallet, on.network);
        let purse = Purse::open(Arc::clone(&on.chain), wallet, &on.file)?;
        Ok(Self {
            public_key: facts.key.public_key(),
            facts,
            chain: on.chain,
            purse,
            books,
            look: on.look,
            rules: on.rules,
            confirm: on.confirm,
            session: random_bytes(),
            save: None,
            saving: None,
            noted_at: None,
            round: 0,
            closing: false,
            writes: 0,
            root_in: 0,
            leaving: BTreeSet::new(),
            heard_until: None,
            page,
        })
    }

    /// The same, to close the contract.
    pub(super) fn closing(mut self) -> Self {
        self.closing = true;
        self
    }

    /// Pause until the next look.
    pub(super) fn pause(&self, turn: Turn) -> Duration {
        if turn.busy { self.look / 4 } else { self.look }
    }

    /// Compares the accounts with the chain before anything is signed for them. `writes` is the number of the last write.
    pub(super) async fn compare(&mut self, accounts: &[AccountChange], writes: u64) -> Result<(), ChainTrouble> {
        self.writes = writes;
        if let Some(noted) = self.last_note().await?
            && u64::from(noted.cast_unsigned()) > writes
        {
            let words = format!("the chain has note {noted} of them, they are at {writes}");
            return Err(ChainTrouble::OldAccounts(words));
        }
        for account in accounts.iter().take(AT_THE_BEGINNING) {
            let tokens = u64::try_from(account.tokens).unwrap_or(0);
            match account.side {
                Side::Worker => drop(self.worker(&account.owner, tokens).await?),
                Side::Client => drop(self.client(&account.owner, tokens).await?),
            }
        }
        Ok(())
    }

    /// Number of the newest note that our wallet left with our contract, from its whole history.
    async fn last_note(&mut self) -> Result<Option<i32>, ChainTrouble> {
        let contract = self.facts.contract;
        // Each transaction names the one before it: with the last one agreed upon, no endpoint alone can add a note or leave one out.
        let mut from = self.chain.agreed_account(contract).await?.last;
        self.heard_until = from.map(|last| last.lt);
        for _ in 0..NOTE_PAGES {
            if from.is_none() {
                return Ok(None);
            }
            let page = self.chain.transactions(contract, from, NOTE_PAGE).await?;
            let Some(oldest) = page.last() else { return Ok(None) };
            let next = oldest.previous;
            let found = page.iter().filter_map(|transaction| transaction.in_message.as_ref()).find_map(|message| {
                let ours = message.source() == Some(self.purse.address());
                match Body::from_cell(&message.body) {
                    Ok(Body::DoNotProcess { note: Note::ProxySaveState { seqno, .. }, .. }) if ours => Some(seqno),
                    _ => None,
                }
            });
            if found.is_some() || next.is_none() {
                return Ok(found);
            }
            from = next;
        }
        Err(ChainTrouble::NoNote { contract, searched: NOTE_PAGES.saturating_mul(NOTE_PAGE) })
    }

    /// Runs until the proxy has ended.
    pub(super) async fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        let mut due = tokio::time::Instant::now();
        loop {
            tokio::select! {
                ask = asks.recv() => match ask {
                    None => return,
                    Some(Ask::Commit { seq, writes }) => self.save = Some(Save { seq, writes }),
                    Some(Ask::LookAt { client }) => self.show(client).await,
                },
                () = tokio::time::sleep_until(due) => {
                    let pause = match self.turn().await {
                        Ok(turn) => self.pause(turn),
                        Err(ChainTrouble::Gone) => return,
                        Err(trouble @ ChainTrouble::OldAccounts(_)) => {
                            self.tell(Event::Trouble(trouble.to_string())).await;
                            return;
                        }
                        Err(error) => {
                            tracing::warn!(%error, "the chain: trying again");
                            self.look
                        }
                    };
                    due = tokio::time::Instant::now() + pause;
                }
            }
        }
    }

    /// Tells the deciding task what a client's contract holds.
    async fn show(&mut self, client: Address) {
        let facts = &self.facts;
        let contract = facts.root.client_contract(&client, &facts.contract, &self.public_key);
        let sight = match self.standing(contract, ClientData::from_cell).await {
            Ok(standing) => {
                // It comes to leave, perhaps without ever having used anything.
                let leaves = standing.data.as_ref().is_some_and(|data| data.state == ContractState::Closing);
                if leaves && self.leaving.len() < MOST_LOOKED_AT {
                    self.leaving.insert(client);
                }
                sight(&standing)
            }
            Err(error) => {
                tracing::warn!(%error, "a client's contract cannot be looked at");
                Sight::Unknown
            }
        };
        self.tell(Event::Seen { client, sight }).await;
    }

    /// Tells the deciding task what the root contract says; without one, as some practice networks are, the file's word stands.
    async fn read_root(&self) -> Result<(), ChainTrouble> {
        match read_root(&*self.chain, self.facts.root_contract).await {
            Ok(network) => self.tell(Event::Root(network.root)).await,
            Err(RootError::Chain(error)) => return Err(error.into()),
            Err(RootError::Absent { .. }) => {}
            Err(error) => tracing::warn!(%error, "the root contract cannot be read"),
        }
        Ok(())
    }

    /// Clients whose contracts have told ours a number since the last look.
    async fn hear(&mut self) -> Result<(), ChainTrouble> {
        let mut from = self.chain.agreed_account(self.facts.contract).await?.last;
        let newest = from.map(|last| last.lt);
        let mut heard = Vec::new();
        'pages: for page in 0..NOTE_PAGES {
            if from.is_none() || newest <= self.heard_until {
                break;
            }
            let limit = if page == 0 { HEARD } else { NOTE_PAGE };
            let page = self.chain.transactions(self.facts.contract, from, limit).await?;
            let Some(oldest) = page.last() else { break };
            from = oldest.previous;
            for transaction in &page {
                if Some(transaction.id.lt) <= self.heard_until {
                    break 'pages;
                }
                let Some(message) = &transaction.in_message else { continue };
                let body = Body::from_cell(&message.body);
                if let Ok(Body::DoNotProcess { note: Note::ProxySaveState { seqno, session }, .. }) = &body
                    && message.source() == Some(self.purse.address())
                    && *session != self.session
                    && u64::from(seqno.cast_unsigned()) > self.writes
                {
                    let words = format!(
                        "another program has left note {seqno} of them there, this one began at {}",
                        self.writes
                    );
                    return Err(ChainTrouble::OldAccounts(words));
                }
                if let Ok(Body::ClientProxyRequest {
                    owner,
                    payload: Some(ClientPayload::Register { nonce: Some(nonce) }),
                    ..
                }) = body
                {
                    let facts = &self.facts;
                    let contract = facts.root.client_contract(&owner, &facts.contract, &self.public_key);
                    // The contract is made for its owner, and takes the number from nobody else.
                    if message.source() == Some(contract) {
                        heard.push((owner, nonce));
                    }
                }
            }
        }
        self.heard_until = self.heard_until.max(newest);
        for (client, nonce) in heard {
            self.tell(Event::Registered { client, nonce }).await;
        }
        Ok(())
    }

    async fn tell(&self, event: Event) {
        if let Books::Running(events) = &self.books {
            let _ = events.send(event).await;
        }
    }

    /// One look at the chain and what follows from it.
    pub(super) async fn turn(&mut self) -> Result<Turn, ChainTrouble> {
        let entries = self.entries().await?;
        let look = self.purse.look().await?;
        if let Some(outcome) = look.ended
            && let Some(saved) = self.saving.take()
        {
            if outcome == Outcome::Done {
                self.noted_at = Some(tokio::time::Instant::now());
                if self.confirm == Confirm::OnChain {
                    self.tell(Event::Committed { seq: saved.seq }).await;
                }
            } else if self.save.is_none() {
                self.save = Some(saved);
            }
        }
        let view = self.view(&entries, look.free.map_or(0, |free| free.time)).await?;
        let mut busy = look.free.is_none();
        if let Some(free) = look.free {
            let signer = (&self.facts.key, self.purse.address());
            let sign = |operation, target| signed(signer.0, signer.1, operation, target);
            let query_id = u64::from_le_bytes(random_bytes());
            let orders = operator::plan(&self.rules, &view, query_id, &sign);
            let sent = self.purse.send(free, &orders).await?;
            let saves =
                |at: &usize| orders.get(*at).is_some_and(|order| matches!(order.body, Body::DoNotProcess { .. }));
            if sent.iter().any(saves) {
                self.saving = self.save.take();
            }
            busy = !sent.is_empty();
            if sent.is_empty() && !orders.is_empty() {
                let (wallet, what) = (self.purse.address(), orders.first().map_or("", |order| order.what));
                tracing::warn!(%wallet, balance = %free.balance, what, "not sent: the wallet needs money, or the chain is not ready for it");
            }
            self.page.send_replace(describe(&view, free.balance));
        }
        if !self.closing && view.proxy.data.is_some() {
            self.hear().await?;
            if let Some(rest) = self.root_in.checked_sub(1) {
                self.root_in = rest;
            } else {
                self.read_root().await?;
                self.root_in = ROOT_EVERY;
            }
        }
        let closed = operator::is_closed(&view);
        Ok(Turn { busy, closed })
    }

    async fn entries(&self) -> Result<Vec<BookEntry>, ChainTrouble> {
        match &self.books {
            Books::Resting(entries) => Ok(entries.clone()),
            Books::Running(events) => {
                let (reply, answer) = oneshot::channel();
                events.send(Event::Books(reply)).await.map_err(|_| ChainTrouble::Gone)?;
                answer.await.map_err(|_| ChainTrouble::Gone)
            }
        }
    }

    async fn view(&mut self, entries: &[BookEntry], now: u32) -> Result<View, ChainTrouble> {
        let facts = &self.facts;
        let init = facts.root.proxy_init(&facts.owner, &self.public_key, &facts.root_contract);
        let proxy = self.standing(facts.contract, ProxyData::from_cell).await?;
        let chosen = self.choose(entries);
        let (mut clients, mut workers) = (Vec::new(), Vec::new());
        let nobody = |owner: &Address| !entries.iter().any(|one| one.side == Side::Client && one.owner == *owner);
        let unused: Vec<Address> = self.leaving.iter().filter(|owner| nobody(owner)).copied().collect();
        for owner in unused {
            let (contract, standing) = self.client(&owner, 0).await?;
            if standing.data.as_ref().is_none_or(|data| data.state == ContractState::Closed) {
                self.leaving.remove(&owner);
            } else {
                clients.push(Client { contract, standing, committed: 0, is_idle: true });
            }
        }
        for entry in chosen.into_iter().filter_map(|at| entries.get(at)) {
            let (known, committed) = (to_tokens(entry.account.known), to_tokens(entry.account.committed));
            let owner = &entry.owner;
            match entry.side {
                Side::Client => {
                    let (contract, standing) = self.client(owner, known).await?;
                    let is_idle = entry.account.reserved <= 0 && known == committed;
                    self.tell(Event::Seen { client: *owner, sight: sight(&standing) }).await;
                    clients.push(Client { contract, standing, committed, is_idle });
                }
                Side::Worker => {
                    let (contract, standing) = self.worker(owner, known).await?;
                    let init = self.facts.root.worker_init(owner, &self.facts.contract, &self.public_key);
                    workers.push(Worker { contract, init, standing, committed });
                }
            }
        }
        let note_is_due = match self.confirm {
            Confirm::OnChain => true,
            Confirm::OnDisk { note_every } => self.noted_at.is_none_or(|at| at.elapsed() >= note_every),
        };
        let save = self
            .save
            .filter(|_| note_is_due && !self.closing)
            .map(|save| Note::ProxySaveState { seqno: (save.writes as u32).cast_signed(), session: self.session });
        Ok(View {
            wallet: self.purse.address(),
            contract: self.facts.contract,
            init,
            proxy,
            clients,
            workers,
            price: self.facts.root.price_per_token,
            stake: self.facts.root.min_proxy_stake,
            save,
            closing: self.closing,
            now,
        })
    }

    /// Which accounts to look at: clients that are here, and some of all others in turn.
    fn choose(&mut self, entries: &[BookEntry]) -> BTreeSet<usize> {
        if self.closing {
            return (0..entries.len()).collect();
        }
        let here = |entry: &BookEntry| entry.side == Side::Client && entry.is_connected;
        let mut chosen: BTreeSet<usize> =
            (0..entries.len()).filter(|at| entries.get(*at).is_some_and(here)).take(MOST_LOOKED_AT).collect();
        for _ in 0..ROUND.min(entries.len()) {
            self.round = self.round.wrapping_add(1) % entries.len().max(1);
            chosen.insert(self.round);
        }
        chosen
    }

    async fn standing<T>(
        &self,
        address: Address,
        read: impl Fn(&Cell) -> Result<T, ParamsError>,
    ) -> Result<Standing<T>, ChainTrouble> {
        let account = self.chain.agreed_account(address).await?;
        standing(&account, read)
    }

    async fn client(&self, owner: &Address, known: u64) -> Result<(Address, Standing<ClientData>), ChainTrouble> {
        let facts = &self.facts;
        let contract = facts.root.client_contract(owner, &facts.contract, &self.public_key);
        let standing = self.standing(contract, ClientData::from_cell).await?;
        let charged = standing.data.as_ref().map_or(0, |data| data.tokens_used);
        not_behind("client", owner, known, charged)?;
        Ok((contract, standing))
    }

    async fn worker(&self, owner: &Address, known: u64) -> Result<(Address, Standing<WorkerData>), ChainTrouble> {
        let facts = &self.facts;
        let contract = facts.root.worker_contract(owner, &facts.contract, &self.public_key);
        let standing = self.standing(contract, WorkerData::from_cell).await?;
        let paid = standing.data.as_ref().map_or(0, |data| data.tokens);
        not_behind("worker", owner, known, paid)?;
        Ok((contract, standing))
    }
}

/// What the stats page shows.
fn describe(view: &View, balance: Nanoton) -> Value {
    let data = view.proxy.data.as_ref();
    json!({
        "wallet_balance": balance.0,
        "deployed": data.is_some(),
        "balance": view.proxy.account.0,
        "stake": data.map(|data| data.stake.0),
        "ready_for_withdraw": data.map(|data| data.balance.0),
        "state": data.map(|data| data.state.code()),
        "params_version": data.map(|data| data.params.params_version),
    })
}

/// What the deciding task must know of a client's contract.
fn sight(standing: &Standing<ClientData>) -> Sight {
    standing.data.as_ref().map_or(Sight::Absent, |data| {
        Sight::Contract(ClientStanding {
            balance: data.balance,
            stake: data.stake,
            charged: data.tokens_used,
            is_open: data.state == ContractState::Normal,
            secret_hash: data.secret_hash,
        })
    })
}

/// Nobody but we can have signed for what the chain has.
fn not_behind(whose: &str, owner: &Address, ours: u64, chains: u64) -> Result<(), ChainTrouble> {
    if chains <= ours {
        return Ok(());
    }
    let words = format!("the contract of the {whose} {owner} is at {chains} tokens, they are at {ours}");
    Err(ChainTrouble::OldAccounts(words))
}

fn standing<T>(
    account: &AccountState,
    read: impl Fn(&Cell) -> Result<T, ParamsError>,
) -> Result<Standing<T>, ChainTrouble> {
    let data = match (account.status, &account.data) {
        (AccountStatus::Active, Some(data)) => {
            let foreign = |source| ChainTrouble::Foreign { address: account.address, source };
            Some(read(data).map_err(foreign)?)
        }
        _ => None,
    };
    Ok(Standing { account: account.balance, data })
}

fn to_tokens(tokens: i64) -> u64 {
    u64::try_from(tokens).unwrap_or(0)
}

fn signed(key: &SigningKey, excess: Address, operation: SignedOperation, target: Address) -> Body {
    let query_id = u64::from_le_bytes(random_bytes());
    let payload = SignedPayload { operation, query_id, target };
    // Fits by construction.
    let hash = payload.to_cell().map(|cell| cell.hash()).unwrap_or_default();
    Body::Signed(SignedBody { payload, excess, signature: key.sign_hash(&hash) })
}
