//! The proxy's side: all conversations of one proxy with its workers and clients, the accounts of both, and the jobs between them.
//!
//! What is decided here differently from the genuine proxy, and why, stands in docs/protocol.md: no input aborts it, totals that a
//! worker reports are cut to what was agreed, an answer counts only from the connection that got the query, a worker that is lost
//! is noticed at once.

mod accounts;
mod answers;
mod choice;
mod client_side;
mod cost;
mod evidence;
mod jobs;
mod worker_side;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use accounting::Prices;
use accounting::signed_payment::{SignedPayment, UnsignedPayment};
use tl::Boxed as _;
use ton::{Address, Nanoton, RootConfig};

use crate::connection::{Connection, Event};
use crate::evidence::Demands;
use crate::{Error, Now, Randomness, earlier};
use accounts::Books;
use client_side::ClientPeer;
use jobs::Work;
use worker_side::WorkerPeer;

pub use accounts::{Account, AccountChange, Accounts};

/// Pause between two writes of changed accounts: at least and at most.
const PERSIST_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(2));

/// Error codes as they stand on the wire.
mod code {
    pub(super) const NONE: i32 = 0;
    pub(super) const ERROR: i32 = 602;
    pub(super) const PROTOCOL: i32 = 621;
    pub(super) const NOT_READY: i32 = 651;
    pub(super) const TIMEOUT: i32 = 652;
}

/// On which listening port a connection came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// A worker.
    Worker,
    /// A client.
    Client,
}

/// Signs payments with the proxy's key, which stays outside of this crate.
pub trait Signer: Send {
    /// Signs.
    fn sign(&mut self, payment: &UnsignedPayment) -> SignedPayment;
}

/// What stands behind every client. Without a chain all clients are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientFunds {
    /// Balance of its contract.
    pub balance: Nanoton,
    /// Its stake.
    pub stake: Nanoton,
    /// SHA-256 of its secret.
    pub secret_hash: [u8; 32],
}

/// A client's contract as the chain has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientStanding {
    /// What is left of what it put in.
    pub balance: Nanoton,
    /// Its stake.
    pub stake: Nanoton,
    /// Adjusted tokens that were charged.
    pub charged: u64,
    /// Whether it is at work, rather than on its way to its end.
    pub is_open: bool,
    /// SHA-256 of its secret.
    pub secret_hash: [u8; 32],
}

/// What a look at a client's contract showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// It is there.
    Contract(ClientStanding),
    /// It is not there.
    Absent,
    /// The chain gave no answer.
    Unknown,
}

/// What a proxy is.
#[allow(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Config {
    /// Its owner.
    pub owner: Address,
    /// Its own wallet, which gets what is left over of a payout's fee.
    pub wallet: Address,
    /// The network's parameters.
    pub root: Arc<RootConfig>,
    /// Address of the root contract.
    pub root_contract: Address,
    /// Test network?
    pub is_test: bool,
    /// Addresses in testnet form?
    pub is_testnet: bool,
    /// Public half of the signer's key.
    pub public_key: [u8; 32],
    /// Signs payments.
    pub signer: Box<dyn Signer>,
    /// Give a job to a worker again when the first one failed before a token was passed on?
    pub retry: bool,
    /// Send workers their new payment as soon as a commit is confirmed? Genuine proxies wait until they ask, every 10 to 20 s.
    pub tell_payments: bool,
    /// Demand that image hash and model hash of workers stand in the root configuration?
    pub check_worker_hashes: bool,
    /// What stands behind every client, unless a chain is asked, see [`Core::asking_a_chain`].
    pub funds: ClientFunds,
    /// Pause between two commits: at least and at most.
    pub commit_pause: (Duration, Duration),
    /// What workers must show before they get jobs. `None`: nothing; nobody is asked or told anything beyond Cocoon then.
    pub demands: Option<Demands>,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A worker completed its answer.
    Answered,
    /// It failed with this code.
    Failed {
        /// The code that the client was told.
        code: i32,
    },
}

/// A job that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedJob {
    /// The client's id of it.
    pub client_request: [u8; 32],
    /// The last worker's id of it; `None` if none had it.
    pub worker_request: Option<[u8; 32]>,
    /// Who asked.
    pub client: Address,
    /// Who answered.
    pub worker: Option<Address>,
    /// Base name of the model.
    pub model: String,
    /// Adjusted tokens charged and credited.
    pub tokens: i64,
    /// How it ended.
    pub outcome: Outcome,
    /// From query to end.
    pub took: Duration,
    /// How often it was given to a worker.
    pub attempts: u32,
}

/// What the host must do. Holds prompts and answers, so it has no `Debug`.
pub enum Action {
    /// Send these bytes on this connection.
    Send {
        /// The host's number of it.
        conn: u64,
        /// Bytes to go through TLS.
        bytes: Vec<u8>,
    },
    /// Close this connection once everything is sent. It is already forgotten here.
    Close {
        /// The host's number of it.
        conn: u64,
        /// Why.
        why: Error,
    },
    /// Write these accounts down, then call [`Core::persisted`].
    Persist {
        /// Number of this write.
        seq: u64,
        /// The accounts that changed.
        accounts: Vec<AccountChange>,
    },
    /// Commit all writes up to this one, then call [`Core::committed`].
    Commit {
        /// Number of the last write to commit.
        seq: u64,
    },
    /// A job is over.
    JobFinished(FinishedJob),
    /// Look at a client's contract, then call [`Core::client_seen`]. Only where a chain is asked.
    LookAt {
        /// The client's owner.
        client: Address,
    },
    /// A worker is through its handshake and gets no jobs before [`Core::judge`]. Only where something is demanded.
    WorkerWaits {
        /// The host's number of its connection.
        conn: u64,
    },
    /// Answer to [`Core::ask_evidence`].
    EvidenceCame {
        /// The host's number of the connection.
        conn: u64,
        /// The nonce of the question.
        nonce: [u8; 32],
        /// What the worker shows.
        bytes: Vec<u8>,
    },
    /// Answer to [`Core::ask_evidence`]: the worker does not know the question, says nothing that can be read, or nothing at all.
    NoEvidence {
        /// The host's number of the connection.
        conn: u64,
        /// The nonce of the question.
        nonce: [u8; 32],
    },
    /// A worker asks for our evidence: call [`Core::answer_evidence`].
    WantEvidence {
        /// The host's number of the connection.
        conn: u64,
        /// The worker's id of the question.
        query: i64,
        /// Its nonce.
        nonce: [u8; 32],
    },
}

/// What a proxy asks: one thing.
#[derive(Debug, Clone, Copy)]
struct EvidenceCall {
    nonce: [u8; 32],
}

/// One connection.
struct Peer {
    wire: Connection<EvidenceCall>,
    role: Role,
}

enum Role {
    Worker(WorkerPeer),
    Client(ClientPeer),
}

impl Peer {
    fn next_deadline(&self) -> Option<Duration> {
        let asked = if let Role::Worker(worker) = &self.role { worker.next_deadline() } else { None };
        earlier(self.wire.next_deadline(), asked)
    }

    /// Whose account it uses, once it has said so.
    fn owner(&self) -> Option<(Side, Address)> {
        match &self.role {
            Role::Worker(worker) => worker.facts().map(|facts| (Side::Worker, facts.owner)),
            Role::Client(client) => client.facts().map(|facts| (Side::Client, facts.owner)),
        }
    }
}

/// One proxy.
pub struct Core {
    config: Config,
    random: Box<dyn Randomness>,
    prices: Prices,
    proxy_contract: Address,
    peers: BTreeMap<u64, Peer>,
    books: Books,
    work: Work,
    next_persist: Option<Duration>,
    next_commit: Option<Duration>,
    /// Contracts of clients as they were seen last; `None` where no chain is asked.
    standings: Option<BTreeMap<Address, ClientStanding>>,
}

impl Core {
    /// A proxy without connections. `accounts` is what was written down before, see [`Action::Persist`].
    pub fn new(config: Config, accounts: Accounts, random: Box<dyn Randomness>) -> Self {
        let proxy_contract = config.root.proxy_contract(&config.owner, &config.public_key, &config.root_contract);
        let mut core = Self {
            prices: Prices::from(&*config.root),
            proxy_contract,
            config,
            random,
            peers: BTreeMap::new(),
            books: Books::default(),
            work: Work::default(),
            next_persist: None,
            next_commit: None,
            standings: None,
        };
        core.restore(accounts);
        core
    }

    /// The same on a chain: each client is good for what its own contract holds, and shows who it is by its secret there or by a message
    /// through its contract.
    #[must_use]
    pub fn asking_a_chain(mut self) -> Self {
        self.standings = Some(BTreeMap::new());
        self
    }

    /// A connection has come through TLS. `conn` must be new and larger than all before. `image_hash` comes from its evidence,
    /// zeros without.
    pub fn open(&mut self, conn: u64, side: Side, image_hash: [u8; 32], now: Now) {
        let role = match side {
            Side::Worker => Role::Worker(WorkerPeer::new(image_hash, self.config.demands.is_none())),
            Side::Client => Role::Client(ClientPeer::default()),
        };
        let wire = Connection::accept(now.mono);
        self.peers.insert(conn, Peer { wire, role });
    }

    /// Takes decrypted bytes in. What is wrong with them ends in an [`Action::Close`] of this connection.
    pub fn receive(&mut self, conn: u64, bytes: &[u8], now: Now, out: &mut Vec<Action>) {
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.wire.push(bytes);
        }
        // Handling an event may close the connection.
        while let Some(peer) = self.peers.get_mut(&conn) {
            let mut wire = Vec::new();
            let event = peer.wire.next(now.mono, &mut wire);
            out.extend(wire.into_iter().map(|bytes| Action::Send { conn, bytes }));
            let result = match event {
                Ok(None) => break,
                Ok(Some(event)) => self.handle(conn, event, now, out),
                Err(error) => Err(error),
            };
            if let Err(why) = result {
                self.close(conn, why, now, out);
            }
        }
        self.give_out_waiting(now, out);
        self.schedule_books(now);
    }

    /// The other side is gone.
    pub fn closed(&mut self, conn: u64, now: Now, out: &mut Vec<Action>) {
        if let Some(peer) = self.peers.remove(&conn) {
            let owner = peer.owner();
            match peer.role {
                Role::Worker(_) => self.worker_lost(conn, now, out),
                Role::Client(_) => self.client_lost(conn),
            }
            // Whoever comes and goes without a job leaves nothing behind.
            if let Some((side, owner)) = owner
                && !self.peers.values().any(|other| other.owner() == Some((side, owner)))
            {
                self.books.forget_unused(side, &owner);
                if let Some(standings) = self.standings.as_mut().filter(|_| side == Side::Client) {
                    standings.remove(&owner);
                }
            }
        }
        self.give_out_waiting(now, out);
        self.schedule_books(now);
    }

    /// Lets time pass. Call it no later than [`Self::next_deadline`].
    pub fn tick(&mut self, now: Now, out: &mut Vec<Action>) {
        self.expire_questions(now, out);
        let silent: Vec<(u64, Error)> = self
            .peers
            .iter_mut()
            .filter_map(|(conn, peer)| {
                let result = peer.wire.tick(&mut *self.random, now.mono);
                result.err().map(|why| (*conn, why))
            })
            .collect();
        for (conn, why) in silent {
            self.close(conn, why, now, out);
        }
        self.expire_jobs(now, out);
        self.give_out_waiting(now, out);
        if self.next_persist.is_some_and(|due| due <= now.mono) {
            self.persist(out);
            self.next_persist = None;
        }
        if self.next_commit.is_some_and(|due| due <= now.mono) {
            self.commit(out);
            self.next_commit = None;
        }
        self.schedule_books(now);
    }

    /// The moment (on the monotonic clock) at which [`Self::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Duration> {
        let peers = self.peers.values().filter_map(Peer::next_deadline).min();
        earlier(earlier(peers, self.work.next_deadline()), earlier(self.next_persist, self.next_commit))
    }

    /// Writes changed accounts down now rather than at the next occasion: before a shutdown.
    pub fn persist(&mut self, out: &mut Vec<Action>) {
        if let Some((seq, accounts)) = self.books.write() {
            out.push(Action::Persist { seq, accounts });
        }
    }

    /// Commits what is written down now rather than at the next occasion: before a shutdown.
    pub fn commit(&mut self, out: &mut Vec<Action>) {
        out.extend(self.books.commit().map(|seq| Action::Commit { seq }));
    }

    /// A write has reached the disk.
    pub fn persisted(&mut self, seq: u64, now: Now) {
        self.books.persisted(seq);
        self.schedule_books(now);
    }

    /// A commit is confirmed. From now on payments cover it.
    pub fn committed(&mut self, seq: u64, now: Now, out: &mut Vec<Action>) {
        self.books.committed(seq);
        self.schedule_books(now);
        if self.config.tell_payments {
            self.tell_payments(out);
        }
    }

    /// Sends every worker that is ready what it has not been sent yet.
    fn tell_payments(&mut self, out: &mut Vec<Action>) {
        let ready: Vec<(u64, Address)> = self
            .peers
            .iter()
            .filter_map(|(conn, peer)| match &peer.role {
                Role::Worker(worker) if worker.is_ready() => worker.facts().map(|facts| (*conn, facts.owner)),
                Role::Worker(_) | Role::Client(_) => None,
            })
            .collect();
        for (conn, owner) in ready {
            // Signed already: it was sent or asked for when that happened.
            if !matches!(self.books.payment(Side::Worker, &owner), tl::proxy::SignedPayment::Empty) {
                continue;
            }
            let (wallet, signer) = (&self.config.wallet, &mut *self.config.signer);
            let payment = self.books.signed_payment(Side::Worker, &owner, wallet, signer, &mut *self.random);
            self.message(conn, payment.to_bytes(), out);
        }
    }

    /// An account as it stands.
    pub fn account(&self, side: Side, owner: &Address) -> Option<Account> {
        self.books.account(side, owner)
    }

    /// All accounts as they stand.
    pub fn accounts(&self) -> impl Iterator<Item = (Side, Address, Account)> {
        self.books.accounts()
    }

    /// Whose connections are open, as far as they have said.
    pub fn connected(&self) -> BTreeSet<(Side, Address)> {
        self.peers.values().filter_map(Peer::owner).collect()
    }

    /// The network's lists have changed: its version, and who and what is admitted from now on. Says whether that was taken; other terms
    /// make other contracts, and so another proxy.
    pub fn renew_root(&mut self, root: Arc<RootConfig>) -> bool {
        let fits = root.version >= self.config.root.version && root.params() == self.config.root.params();
        if fits {
            self.config.root = root;
        }
        fits
    }

    /// How many jobs run or wait for another worker.
    pub fn active_jobs(&self) -> usize {
        self.work.len()
    }

    fn schedule_books(&mut self, now: Now) {
        if self.next_persist.is_none() && self.books.is_dirty() {
            let pause = self.random.pause(PERSIST_PAUSE.0, PERSIST_PAUSE.1);
            self.next_persist = Some(now.mono.saturating_add(pause));
        }
        if self.next_commit.is_none() && self.books.is_uncommitted() {
            let (least, most) = self.config.commit_pause;
            let pause = self.random.pause(least, most);
            self.next_commit = Some(now.mono.saturating_add(pause));
        }
    }

    fn restore(&mut self, accounts: Accounts) {
        for stored in accounts.accounts {
            let contract = self.contract_of(stored.side, &stored.owner);
            self.books.restore(&stored, contract);
        }
    }

    fn contract_of(&self, side: Side, owner: &Address) -> Address {
        let (root, key) = (&self.config.root, &self.config.public_key);
        match side {
            Side::Worker => root.worker_contract(owner, &self.proxy_contract, key),
            Side::Client => root.client_contract(owner, &self.proxy_contract, key),
        }
    }

    fn handle(&mut self, conn: u64, event: Event<EvidenceCall>, now: Now, out: &mut Vec<Action>) -> Result<(), Error> {
        let Some(peer) = self.peers.get(&conn) else {
            return Ok(());
        };
        let is_worker = matches!(peer.role, Role::Worker(_));
        match event {
            Event::Open => Ok(()),
            Event::Answer { call, data } => {
                self.evidence_came(conn, call.nonce, crate::evidence::answer(&data), out);
                Ok(())
            }
            Event::Refused { call, .. } => {
                self.evidence_came(conn, call.nonce, None, out);
                Ok(())
            }
            Event::Query { id, data } if is_worker => self.worker_query(conn, id, &data, now, out),
            Event::Query { id, data } => self.client_query(conn, id, &data, out),
            Event::Packet(data) if is_worker => self.worker_packet(conn, &data, now, out),
            Event::Packet(data) => self.client_packet(conn, &data, now, out),
        }
    }

    fn close(&mut self, conn: u64, why: Error, now: Now, out: &mut Vec<Action>) {
        out.push(Action::Close { conn, why });
        self.closed(conn, now, out);
    }

    fn answer(&mut self, conn: u64, id: i64, data: Vec<u8>, out: &mut Vec<Action>) {
        if let Some(peer) = self.peers.get_mut(&conn)
            && let Ok(bytes) = peer.wire.answer(id, data)
        {
            out.push(Action::Send { conn, bytes });
        }
    }

    /// Refuses a query; the connection stays.
    fn refuse(&mut self, conn: u64, id: i64, code: i32, words: &str, out: &mut Vec<Action>) {
        if let Some(peer) = self.peers.get_mut(&conn)
            && let Ok(bytes) = peer.wire.refuse(id, code, words)
        {
            out.push(Action::Send { conn, bytes });
        }
    }

    fn lost_promise(&mut self, conn: u64, id: i64, out: &mut Vec<Action>) {
        if let Some(peer) = self.peers.get_mut(&conn)
            && let Ok(bytes) = peer.wire.lost_promise(id)
        {
            out.push(Action::Send { conn, bytes });
        }
    }

    /// Sends a message; `false` if it fits into no frame. To a connection that is gone everything fits.
    fn message(&mut self, conn: u64, data: Vec<u8>, out: &mut Vec<Action>) -> bool {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return true;
        };
        match peer.wire.message(data) {
            Ok(bytes) => {
                out.push(Action::Send { conn, bytes });
                true
            }
            Err(_) => false,
        }
    }
}

/// Why a query is refused. The connection ends with it.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    code: i32,
    reason: &'static str,
}

const fn refusal(code: i32, reason: &'static str) -> Refusal {
    Refusal { code, reason }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::TurnedAway { code: refusal.code, reason: refusal.reason }
    }
}
