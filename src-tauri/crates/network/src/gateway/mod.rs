//! The gateway: HTTP as OpenAI's clients speak it on one side, the client's side of the protocol to one or more proxies on the other.

mod answer;
mod pages;
mod proxies;
mod request;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ratls::{Evidence, Policy};
use serde_json::Value;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use ton::Address;

use crate::config::Network;
use crate::web;
pub use crate::web::Patience;
use pages::{Counters, Desk};
use proxies::Proxies;

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
}

/// A gateway that runs. Dropping it does not stop it; [`Running::stop`] does.
pub struct Running {
    http: SocketAddr,
    proxies: Arc<Proxies>,
    counters: Arc<Counters>,
    practice: Option<PracticePage>,
    server: JoinHandle<()>,
    dialling: JoinSet<()>,
}

/// Starts a gateway on the current tokio runtime. It dials at once and for ever.
pub async fn start(settings: Settings) -> Result<Running, StartError> {
    if settings.network.root.registered_proxies.is_empty() {
        return Err(StartError::NoProxy);
    }
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), settings.http_port);
    let listener = TcpListener::bind(address).await.map_err(|source| StartError::Port { address, source })?;
    let http = listener.local_addr().unwrap_or(address);
    let counters = Arc::new(Counters::default());
    let practice = settings.practice.clone();
    let desk = Arc::new(Desk {
        access_hash: settings.access_hash.clone(),
        patience: settings.patience,
        practice: practice.clone(),
        counters: Arc::clone(&counters),
    });
    let (proxies, dialling) = Proxies::dial(settings);
    let server = tokio::spawn(pages::serve(listener, Arc::clone(&proxies), desk));
    Ok(Running { http, proxies, counters, practice, server, dialling })
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
        pages::stats(&self.proxies, &self.counters, self.practice.as_ref())
    }

    /// Closes everything and waits for the end.
    pub async fn stop(mut self) {
        self.server.abort();
        self.dialling.shutdown().await;
        let _ = self.server.await;
    }
}
