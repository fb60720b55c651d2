//! The gateway: HTTP as OpenAI's clients speak it on one side, the client's side of the protocol to one or more proxies on the other.

mod answer;
mod pages;
mod proxies;
mod request;
mod till;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ratls::{Evidence, Policy};
use serde_json::Value;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use ton::Address;

use crate::config::Network;
use crate::store::StoreError;
use crate::web;
pub use crate::web::Patience;
use pages::{Counters, Desk};
use proxies::Proxies;
use till::{Shown, Till};

pub use till::OnChain;

/// What a gateway is and where it listens. Has no `Debug`: a secret is in it.
pub struct Settings {
    /// Port of the HTTP server, always on 127.0.0.1; 0: any free one.
    pub http_port: u16,
    /// If not empty, the stats page wants it as `access_hash=`.
    pub access_hash: String,
    /// The wallet that proxies know this client by.
    pub wallet: Address,
    /// The network, with the proxies to dial.
    pub network: Network,
    /// Test network?
    pub is_test: bool,
    /// Addresses in testnet form?
    pub is_testnet: bool,
    /// How many proxies to stay connected to; at least one.
    pub proxy_connections: u32,
    /// Secret that the client contract knows the SHA-256 of.
    pub secret: String,
    /// Whom to trust as a proxy.
    pub policy: Policy,
    /// What our own certificate carries.
    pub evidence: Evidence,
    /// Most bits of proof of work to do for a proxy.
    pub max_pow_difficulty: i32,
    /// How long customers may take to ask.
    pub patience: Patience,
    /// Is this practice? Then the stats page says so, with what this yields.
    pub practice: Option<PracticePage>,
    /// Its place on a chain; its wallet is then what proxies know it by.
    pub on_chain: Option<OnChain>,
}

/// Yields what the stats page shows under `practice`.
pub type PracticePage = Arc<dyn Fn() -> Value + Send + Sync>;

impl Settings {
    /// A gateway on a free port with careful defaults.
    pub fn new(network: Network, wallet: Address) -> Self {
        Self {
            http_port: 0,
            access_hash: String::new(),
            wallet,
            network,
            is_test: true,
            is_testnet: false,
            proxy_connections: 1,
            secret: String::new(),
            policy: Policy::Any,
            evidence: Evidence::None,
            max_pow_difficulty: ratls::pow::MAX_DIFFICULTY,
            patience: Patience::default(),
            practice: None,
            on_chain: None,
        }
    }
}

/// Why a gateway did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The port cannot be had.
    #[error("cannot listen on {address} for HTTP: {}", web::bind_advice(source))]
    Port {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The network file lists nobody to dial.
    #[error(
        "the network file lists no proxy (registered_proxies is empty); add one with its \"workers clients\" addresses"
    )]
    NoProxy,
    /// The wallet's file cannot be used.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// A gateway that runs. Dropping it does not stop it; [`Running::stop`] does.
pub struct Running {
    http: SocketAddr,
    proxies: Arc<Proxies>,
    counters: Arc<Counters>,
    practice: Option<PracticePage>,
    server: JoinHandle<()>,
    dialling: JoinSet<()>,
    shown: watch::Receiver<Shown>,
}

/// Starts a gateway on the current tokio runtime. It dials at once and for ever.
pub async fn start(mut settings: Settings) -> Result<Running, StartError> {
    if settings.network.root.registered_proxies.is_empty() {
        return Err(StartError::NoProxy);
    }
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), settings.http_port);
    let listener = TcpListener::bind(address).await.map_err(|source| StartError::Port { address, source })?;
    let http = listener.local_addr().unwrap_or(address);
    let counters = Arc::new(Counters::default());
    let on_chain = settings.on_chain.take();
    if let Some(on) = &on_chain {
        settings.wallet = on.address();
    }
    let (root, is_testnet) = (Arc::clone(&settings.network.root), settings.is_testnet);
    let (shows, shown) = watch::channel(Shown::default());
    let practice = settings.practice.clone();
    let desk = Arc::new(Desk {
        access_hash: settings.access_hash.clone(),
        patience: settings.patience,
        practice: practice.clone(),
        counters: Arc::clone(&counters),
        shown: shown.clone(),
    });
    let (proxies, mut dialling) = Proxies::dial(settings);
    if let Some(on) = on_chain {
        let till = Till::open(on, root, is_testnet, Arc::clone(&proxies), shows)?;
        dialling.spawn(till.run(proxies.meetings()));
    }
    let server = tokio::spawn(pages::serve(listener, Arc::clone(&proxies), desk));
    Ok(Running { http, proxies, counters, practice, server, dialling, shown })
}

impl Running {
    /// Where the HTTP server is.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Waits until a proxy has accepted us.
    pub async fn connected(&self, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.proxies.any_ready()).await.is_ok()
    }

    /// The stats page's content.
    pub fn stats(&self) -> Value {
        pages::stats(&self.proxies, &self.counters, self.practice.as_ref(), &self.shown)
    }

    /// Waits until at least so much may be used up at some proxy. For ever, if there is no chain.
    pub async fn funded(&self, nanotons: u64) {
        let has = |row: &Value| row["left"].as_u64().is_some_and(|left| left >= nanotons);
        let enough = |shown: &Shown| shown.page["proxies"].as_array().is_some_and(|rows| rows.iter().any(has));
        if self.shown.clone().wait_for(enough).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until everything that was put in is back, where that is wanted. For ever, where it is not.
    pub async fn refunded(&self) -> Value {
        match self.shown.clone().wait_for(|shown| shown.is_refunded).await {
            Ok(shown) => shown.page.clone(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Closes everything and waits for the end.
    pub async fn stop(mut self) {
        self.server.abort();
        self.dialling.shutdown().await;
        let _ = self.server.await;
    }
}
