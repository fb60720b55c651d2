//! The embedded chain: TON's executor behind the HTTP API of toncenter, version 2, on loopback. Wallets, contracts and fees are real; blocks,
//! validators and proofs are not there (docs/adr/0015).
//!
//! [`start`] opens the file, gives the chain a thread of its own and binds a port. Every request needs the token, as an API key in
//! `X-API-Key`. `POST /api/v2/jsonRPC` and `GET /api/v2/METHOD` are toncenter's; `POST /admin` with the same form of body has what no real
//! chain has: `faucet`, `advanceTime`, `setFaults`, `audit`.

mod api;
mod door;
mod embedded;
mod faults;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use ton::{Address, Nanoton, Network};

use crate::clock::random_bytes;
use crate::store::chain::Audit;
use crate::web::bind_advice;

pub use api::{Refusal, call};
pub use embedded::{Embedded, EmbeddedError, Rules, Shown, message, message_of};
pub use faults::{Fault, FaultError, Faults, Wrong};

/// Time from block to block when nobody says otherwise.
pub const BLOCK_TIME: Duration = Duration::from_secs(1);
/// What a chain calls itself when nobody says otherwise: wallets of the test network are at home on it, others are not.
pub const GLOBAL_ID: i32 = Network::Test.global_id();
/// What the faucet gives when nobody says otherwise.
pub const FAUCET: Nanoton = Nanoton(100_000_000_000);
/// The chain's file within its folder.
const FILE: &str = "chain.sqlite";

/// What an embedded chain is like. It may hold the token, so it has no `Debug`.
#[derive(Clone)]
pub struct Settings {
    /// Folder of its file; made if it is not there.
    pub data: PathBuf,
    /// Its port; 0 for any free one.
    pub port: u16,
    /// What all chance is drawn from. A chain that is already there keeps its own.
    pub seed: u64,
    /// What it calls itself in its parameter 19: usually what TON's test network does, for its money is worth nothing either.
    pub global_id: i32,
    /// From block to block.
    pub block_time: Duration,
    /// What the faucet gives to whoever names no amount.
    pub faucet: Nanoton,
    /// What to do wrong.
    pub faults: Vec<Fault>,
    /// The token that requests must show; drawn if there is none.
    pub token: Option<String>,
    /// So many milliseconds its clock is ahead of this machine's; behind it, if less than 0.
    pub ahead_ms: i64,
}

impl Settings {
    /// The usual chain in this folder.
    pub fn new(data: PathBuf) -> Self {
        Self {
            data,
            port: 0,
            seed: 1,
            global_id: GLOBAL_ID,
            block_time: BLOCK_TIME,
            faucet: FAUCET,
            faults: Vec::new(),
            token: None,
            ahead_ms: 0,
        }
    }
}

/// Why a chain does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The chain.
    #[error("the embedded chain: {0}")]
    Chain(#[from] EmbeddedError),
    /// The port.
    #[error("the embedded chain cannot listen on port {port}: {}", bind_advice(source))]
    Bind {
        /// The port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The thread.
    #[error("the embedded chain gets no thread: {0}")]
    Thread(io::Error),
}

/// A chain that runs.
pub struct Running {
    address: SocketAddr,
    token: String,
    orders: mpsc::Sender<door::Order>,
    thread: JoinHandle<()>,
    listening: AbortHandle,
}

/// Starts a chain on the current tokio runtime.
pub async fn start(settings: Settings) -> Result<Running, StartError> {
    let block_ms = u32::try_from(settings.block_time.as_millis()).unwrap_or(u32::MAX);
    let rules = Rules { seed: settings.seed, block_ms, global_id: settings.global_id };
    let ahead_ms = settings.ahead_ms;
    let clock: door::Clock = Box::new(move || wall_ms().saturating_add(ahead_ms));
    let chain = Embedded::open(&settings.data.join(FILE), rules, clock())?;
    let port = settings.port;
    let bound = |source| StartError::Bind { port, source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(bound)?;
    let address = listener.local_addr().map_err(bound)?;
    let token = settings.token.unwrap_or_else(|| hex::encode(random_bytes::<16>()));
    let (orders, inbox) = mpsc::channel();
    let (faults, faucet) = (Faults::new(settings.faults), settings.faucet);
    let thread = std::thread::Builder::new()
        .name("chain".to_owned())
        .spawn(move || door::own(chain, faults, faucet, &clock, &inbox))
        .map_err(StartError::Thread)?;
    let listening = tokio::spawn(door::serve(listener, token.clone(), orders.clone())).abort_handle();
    Ok(Running { address, token, orders, thread, listening })
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The JSON-RPC endpoint, as clients of toncenter want it.
    pub fn endpoint(&self) -> String {
        format!("http://{}/api/v2/jsonRPC", self.address)
    }

    /// Where toncenter's API is: the same without the name of its door, which takes JSON-RPC too.
    pub fn base(&self) -> String {
        format!("http://{}/api/v2", self.address)
    }

    /// What requests must show as their API key.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Makes money and sends it to an account. It arrives with the next block.
    pub async fn give(&self, to: Address, amount: Nanoton) -> Result<(), Refusal> {
        let params = serde_json::json!({ "address": to.to_string(), "nanotons": amount.0.to_string() });
        self.administer("faucet", params).await.map(|_| ())
    }

    /// Lets the chain's clock jump ahead.
    pub async fn advance(&self, by: Duration) -> Result<(), Refusal> {
        self.administer("advanceTime", serde_json::json!({ "seconds": by.as_secs() })).await.map(|_| ())
    }

    /// Does wrong in these ways from now on, and in no others.
    pub async fn set_faults(&self, faults: &[&str]) -> Result<(), Refusal> {
        self.administer("setFaults", serde_json::json!({ "faults": faults })).await.map(|_| ())
    }

    async fn administer(&self, method: &str, params: Value) -> Result<Value, Refusal> {
        let (reply, answer) = oneshot::channel();
        let _ = self.orders.send(door::Order::Admin { method: method.to_owned(), params, reply });
        let gone = || Err(Refusal { status: 503, words: "the chain has stopped".to_owned() });
        answer.await.unwrap_or_else(|_| gone())
    }

    /// Where all money is; `None` if the chain has stopped.
    pub async fn audit(&self) -> Option<Result<Audit, EmbeddedError>> {
        let (reply, answer) = oneshot::channel();
        let _ = self.orders.send(door::Order::Audit(reply));
        answer.await.ok()
    }

    /// Ends it and waits until its file is closed.
    pub async fn stop(self) {
        self.listening.abort();
        let _ = self.orders.send(door::Order::Stop);
        let _ = tokio::task::spawn_blocking(move || self.thread.join()).await;
    }
}

/// The machine's clock, in Unix milliseconds; 0 before 1970.
fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
