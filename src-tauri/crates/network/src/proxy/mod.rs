//! The proxy: two ports, one deciding task, one file.

mod doors;
mod gate;
mod host;
mod shows;
mod stats;
mod treasurer;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::evidence::Terms;
use protocol::proxy::{ClientFunds, Core, Side, Signer};
use ratls::{Evidence, Policy};
use serde_json::Value;
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use ton::{Address, Nanoton};

use crate::clock::{Clock, OsRandom};
use crate::config::Network;
use crate::config::evidence;
use crate::keys::SigningKey;
use crate::misbehaviour::{Misbehaviour, Spoiler};
use crate::store::{Store, StoreError};
use crate::web::{self, PageError};
use doors::Tls;
use gate::Gate;
use host::{BookEntry, Committing, Event, Host};
use treasurer::{Books, Treasurer};

pub use doors::Limits;
pub use shows::{Guest, Shows};
pub use treasurer::{ChainTrouble, Confirm, OnChain};

/// Pause between two commits of a proxy on an open network, as genuine proxies keep it.
pub const COMMIT_PAUSE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_mins(1));

/// Without a chain nobody pays in, so every client is good for this much: more than any test network uses up, and far from where
/// 64 bits end.
const FUNDS_WITHOUT_CHAIN: Nanoton = Nanoton(1_000_000_000_000_000_000);

/// How many events may wait for the deciding task before connections are read no further.
const EVENTS: usize = 256;

/// What a proxy is and where it listens. Has no `Debug`: a key is in it.
#[expect(clippy::struct_excessive_bools, reason = "these are the genuine configuration's own switches")]
pub struct Settings {
    /// Address to listen on for workers and clients.
    pub listen: IpAddr,
    /// Port for workers; 0: any free one.
    pub workers_port: u16,
    /// Port for clients; 0: any free one.
    pub clients_port: u16,
    /// Port of the stats page, always on 127.0.0.1; `None`: no page, `Some(0)`: any free port.
    pub http_port: Option<u16>,
    /// If not empty, the stats page wants it as `access_hash=`.
    pub access_hash: String,
    /// Who owns it.
    pub owner: Address,
    /// Its own wallet, which gets what is left over of a payout's fee.
    pub wallet: Address,
    /// The network.
    pub network: Network,
    /// Test network?
    pub is_test: bool,
    /// Addresses in testnet form?
    pub is_testnet: bool,
    /// Signs payments.
    pub key: SigningKey,
    /// Demand that image and model of workers stand in the root configuration?
    pub check_worker_hashes: bool,
    /// Pause between two commits: at least and at most. Payments cover what is committed.
    pub commit_pause: (Duration, Duration),
    /// Give a job to a worker again when no token was sent yet?
    pub retry: bool,
    /// Bits of proof of work that every dialler must do.
    pub pow_difficulty: i32,
    /// Whose certificate to trust as a worker's. Clients need no attestation, as on Cocoon.
    pub policy: Policy,
    /// What workers must prove before they get jobs; `None`: nothing, and nobody is asked.
    pub demands: Option<Terms>,
    /// What its own certificate carries. A genuine client that dials directly wants [`Evidence::FakeTdx`].
    pub evidence: Evidence,
    /// What it shows to workers that ask for more than its certificate; `None`: nothing.
    pub shows: Option<Arc<dyn Shows>>,
    /// The accounts file.
    pub accounts: PathBuf,
    /// How many connections.
    pub limits: Limits,
    /// Only for tests: do wrong on purpose.
    pub misbehaviour: Option<Misbehaviour>,
    /// Is this practice? Then everything about money says so.
    pub practice: bool,
    /// Its place on a chain; without one, nobody's money is looked at.
    pub on_chain: Option<OnChain>,
}

impl Settings {
    /// A proxy on loopback with free ports and careful defaults.
    pub fn new(network: Network, owner: Address, key: SigningKey, accounts: PathBuf) -> Self {
        Self {
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            workers_port: 0,
            clients_port: 0,
            http_port: None,
            access_hash: String::new(),
            owner,
            wallet: owner,
            network,
            is_test: true,
            is_testnet: false,
            key,
            check_worker_hashes: false,
            commit_pause: COMMIT_PAUSE,
            retry: false,
            pow_difficulty: ratls::pow::DEFAULT_DIFFICULTY,
            policy: Policy::Any,
            demands: None,
            evidence: Evidence::None,
            shows: None,
            accounts,
            limits: Limits::default(),
            misbehaviour: None,
            practice: false,
            on_chain: None,
        }
    }
}

/// Why a proxy did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A port cannot be had.
    #[error("cannot listen on {address} for {whom}: {}", web::bind_advice(source))]
    Port {
        /// Where.
        address: SocketAddr,
        /// For whom: `workers`, `clients` or `the HTTP page`.
        whom: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The accounts file cannot be used.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The chain was not asked, or knows better than the accounts.
    #[error("{0}")]
    Chain(#[from] ChainTrouble),
    /// No certificate could be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(String),
}

/// A proxy that runs. Dropping it does not stop it; [`Running::stop`] does.
pub struct Running {
    workers: SocketAddr,
    clients: SocketAddr,
    http: Option<SocketAddr>,
    public_key: [u8; 32],
    proxy_contract: Address,
    events: mpsc::Sender<Event>,
    host: JoinHandle<()>,
    others: Vec<JoinHandle<()>>,
    trouble: watch::Receiver<Option<String>>,
    on_chain: watch::Receiver<Value>,
}

/// Asks of the deciding task that may wait for the chain's side.
const ASKS: usize = 64;

/// Starts a proxy on the current tokio runtime.
pub async fn start(mut settings: Settings) -> Result<Running, StartError> {
    let public_key = settings.key.public_key();
    let root = Arc::clone(&settings.network.root);
    let proxy_contract = root.proxy_contract(&settings.owner, &public_key, &settings.network.root_contract);
    let (store, accounts) = Store::open(&settings.accounts, &proxy_contract)?;
    let (events, inbox) = mpsc::channel(EVENTS);
    let (asks, asked) = mpsc::channel(ASKS);
    let (page_of_chain, on_chain) = watch::channel(Value::Null);
    let mut committing = None;
    let mut treasurer = None;
    if let Some(on) = settings.on_chain.take() {
        committing = Some(Committing { asks, confirm: on.confirm });
        settings.wallet = on.address();
        let books = Books::Running(events.clone());
        let mut keeper = Treasurer::new(on, facts_of(&settings, proxy_contract), books, page_of_chain)?;
        // Before anybody is let in.
        keeper.compare(&accounts.accounts, store.writes()?).await?;
        treasurer = Some(keeper);
    }
    let clock = Clock::new();
    let workers_tls = Arc::new(Tls::new(settings.evidence, settings.policy.clone())?);
    let clients_tls = Arc::new(Tls::new(settings.evidence, Policy::Any)?);

    let workers = bind(settings.listen, settings.workers_port, "workers").await?;
    let clients = bind(settings.listen, settings.clients_port, "clients").await?;
    let page = match settings.http_port {
        Some(port) => Some(bind(IpAddr::V4(Ipv4Addr::LOCALHOST), port, "the HTTP page").await?),
        None => None,
    };
    let address_of = |listener: &TcpListener, port: u16| {
        listener.local_addr().unwrap_or_else(|_| SocketAddr::new(settings.listen, port))
    };

    let core = Core::new(
        protocol::proxy::Config {
            owner: settings.owner,
            wallet: settings.wallet,
            root,
            root_contract: settings.network.root_contract,
            is_test: settings.is_test,
            is_testnet: settings.is_testnet,
            public_key,
            signer: signer(settings.key, settings.misbehaviour),
            retry: settings.retry,
            tell_payments: settings.practice,
            check_worker_hashes: settings.check_worker_hashes,
            funds: ClientFunds {
                balance: FUNDS_WITHOUT_CHAIN,
                stake: FUNDS_WITHOUT_CHAIN,
                secret_hash: Sha256::digest(b"").into(),
            },
            commit_pause: settings.commit_pause,
            demands: settings.demands.as_ref().map(evidence::demands),
        },
        accounts.clone(),
        Box::new(OsRandom),
    );

    let facts = stats::Facts {
        owner: settings.owner,
        wallet: settings.wallet,
        proxy_contract,
        root_contract: settings.network.root_contract,
        root: Arc::clone(&settings.network.root),
        is_testnet: settings.is_testnet,
        check_worker_hashes: settings.check_worker_hashes,
        practice: settings.practice,
        public_key,
    };
    let running_addresses = (address_of(&workers, settings.workers_port), address_of(&clients, settings.clients_port));
    let http = page.as_ref().map(|listener| address_of(listener, 0));
    let doors = doors::Doors::new(settings.limits, settings.pow_difficulty, clock, events.clone());
    let turned_away = doors.turned_away();
    let mut others = vec![
        tokio::spawn(Arc::clone(&doors).open(workers, Side::Worker, workers_tls)),
        tokio::spawn(Arc::clone(&doors).open(clients, Side::Client, clients_tls)),
    ];
    if let Some(listener) = page {
        others.push(tokio::spawn(stats::serve(listener, settings.access_hash, events.clone())));
    }
    let stats = stats::Stats::new(facts, &accounts, turned_away, on_chain.clone());
    let core = if treasurer.is_some() { core.asking_a_chain() } else { core };
    let (troubled, trouble) = watch::channel(None);
    let gate = settings.demands.as_ref().map(|demands| Gate::new(demands, public_key));
    let host = Host::new(
        core,
        gate,
        settings.shows,
        clock,
        store,
        stats,
        settings.misbehaviour,
        &events,
        committing,
        troubled,
    );
    let host = tokio::spawn(host.run(inbox));
    others.extend(treasurer.map(|treasurer| tokio::spawn(treasurer.run(asked))));
    Ok(Running {
        workers: running_addresses.0,
        clients: running_addresses.1,
        http,
        public_key,
        proxy_contract,
        events,
        host,
        others,
        trouble,
        on_chain,
    })
}

fn facts_of(settings: &Settings, contract: Address) -> treasurer::Facts {
    treasurer::Facts {
        root: Arc::clone(&settings.network.root),
        root_contract: settings.network.root_contract,
        owner: settings.owner,
        contract,
        key: settings.key.twin(),
    }
}

/// Closes a proxy's contract for good: refunds all clients, pays all workers for the last time, and waits for the delay that the
/// network's terms ask for. May be stopped at any moment and started again.
pub async fn close(mut settings: Settings) -> Result<(), StartError> {
    let Some(on) = settings.on_chain.take() else { return Ok(()) };
    let public_key = settings.key.public_key();
    let network = &settings.network;
    let contract = network.root.proxy_contract(&settings.owner, &public_key, &network.root_contract);
    let (store, accounts) = Store::open(&settings.accounts, &contract)?;
    let entries = accounts.accounts.iter().map(|account| BookEntry {
        side: account.side,
        owner: account.owner,
        account: protocol::proxy::Account {
            known: account.tokens,
            stored: account.tokens,
            committed: account.tokens,
            reserved: 0,
        },
        is_connected: false,
    });
    let books = Books::Resting(entries.collect());
    let (page, _) = watch::channel(Value::Null);
    let mut keeper = Treasurer::new(on, facts_of(&settings, contract), books, page)?.closing();
    keeper.compare(&accounts.accounts, store.writes()?).await?;
    loop {
        let turn = keeper.turn().await?;
        if turn.closed && !turn.busy {
            return Ok(());
        }
        tokio::time::sleep(keeper.pause(turn)).await;
    }
}

fn signer(key: SigningKey, misbehaviour: Option<Misbehaviour>) -> Box<dyn Signer> {
    match misbehaviour {
        Some(how) if how.spoils_payments() => Box::new(Spoiler::new(key, SigningKey::generate(), how)),
        _ => Box::new(key),
    }
}

async fn bind(ip: IpAddr, port: u16, whom: &'static str) -> Result<TcpListener, StartError> {
    let address = SocketAddr::new(ip, port);
    TcpListener::bind(address).await.map_err(|source| StartError::Port { address, whom, source })
}

impl Running {
    /// Where workers dial.
    pub fn workers(&self) -> SocketAddr {
        self.workers
    }

    /// Where clients dial.
    pub fn clients(&self) -> SocketAddr {
        self.clients
    }

    /// Where the stats page is, if there is one.
    pub fn http(&self) -> Option<SocketAddr> {
        self.http
    }

    /// The key that payments are signed with.
    pub fn public_key(&self) -> [u8; 32] {
        self.public_key
    }

    /// The proxy's contract.
    pub fn proxy_contract(&self) -> Address {
        self.proxy_contract
    }

    /// What the chain's side shows: whether the contract is there, its money and stake. `null` without a chain, or before a look.
    pub fn on_chain(&self) -> Value {
        self.on_chain.borrow().clone()
    }

    /// Waits until the proxy's contract is on the chain. For ever, if there is no chain.
    pub async fn deployed(&self) {
        let mut page = self.on_chain.clone();
        if page.wait_for(|page| page["deployed"] == true).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the proxy must not go on, and says why. It has ended then.
    pub async fn trouble(&self) -> String {
        let mut trouble = self.trouble.clone();
        match trouble.wait_for(Option::is_some).await.map(|words| words.clone()) {
            Ok(Some(words)) => words,
            _ => std::future::pending().await,
        }
    }

    /// The stats page's content.
    pub async fn stats(&self) -> Result<serde_json::Value, PageError> {
        stats::ask(&self.events).await
    }

    /// Writes everything down, closes all connections and waits for the end.
    pub async fn stop(self) {
        for task in &self.others {
            task.abort();
        }
        let (done, wait) = oneshot::channel();
        if self.events.send(Event::Stop(done)).await.is_ok() {
            let _ = wait.await;
        }
        let _ = self.host.await;
        for task in self.others {
            // Aborted: its end frees the port.
            let _ = task.await;
        }
    }
}
