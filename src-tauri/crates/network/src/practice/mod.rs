//! A whole practice network in one process: a chain, a proxy, a gateway that reaches it over loopback TCP with proof of work and TLS, and
//! simulated customers. The worker is not here: it is the owner's own app.
//!
//! Contracts, wallets and fees are real, prices are practice prices, and nothing here is worth anything. Who is who and who has what
//! stays the same from run to run (`identity`, `money`).

mod customers;
mod identity;
mod money;
mod questions;
mod registrar;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use accounting::ModelName;
use accounting::practice::{PRACTICE_COMMIT, PRACTICE_FEE, PRACTICE_PRICE};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::task::JoinSet;
use ton::{Address, AddressText, Code, RegisteredProxy, RootConfig, StateInit};

use crate::config::Network;
use crate::contracts::Codes;
use crate::misbehaviour::Misbehaviour;
use crate::{chain, gateway, proxy};
use customers::Diary;
use identity::Identity;
use money::Bank;

/// Bits of proof of work: about 65,000 hashes, a twentieth of a second. Enough to be real, little enough that an app which is
/// restarted again and again in tests spends its time on something else. Open networks ask for 20.
pub const POW_DIFFICULTY: i32 = 16;
/// The practice proxy commits, and so signs, every second.
pub const COMMIT_PAUSE: (Duration, Duration) = (PRACTICE_COMMIT, PRACTICE_COMMIT);
/// How many customers ask unless somebody says otherwise.
pub const CUSTOMERS: u32 = 3;
/// How long the gateway may take to reach the proxy beside it.
const MEETING_PATIENCE: Duration = Duration::from_secs(30);

/// What a practice network is like.
pub struct Settings {
    /// Folder for the network file and the proxy's accounts.
    pub data: PathBuf,
    /// How many customers ask.
    pub customers: u32,
    /// Decides who asks what when.
    pub seed: u64,
    /// The model that customers want, full name; `None`: whatever is served.
    pub model: Option<ModelName>,
    /// Port of the gateway; 0: any free one.
    pub http_port: u16,
    /// Bits of proof of work.
    pub pow_difficulty: i32,
    /// Only for tests: let the proxy do wrong to workers.
    pub misbehaviour: Option<Misbehaviour>,
    /// From block to block of the chain.
    pub block_time: Duration,
    /// Who is paid for a worker here and gets money for the fees of the first payout.
    pub owner: Option<Address>,
}

impl Settings {
    /// The usual practice network in this folder.
    pub fn new(data: PathBuf) -> Self {
        Self {
            data,
            customers: CUSTOMERS,
            seed: 1,
            model: None,
            http_port: 0,
            pow_difficulty: POW_DIFFICULTY,
            misbehaviour: None,
            block_time: money::BLOCK_TIME,
            owner: None,
        }
    }
}

/// Why practice did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A file or folder cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The network file that we made does not parse.
    #[error("the practice network's configuration: {0}")]
    Network(String),
    /// The proxy did not start.
    #[error("practice proxy: {0}")]
    Proxy(#[from] proxy::StartError),
    /// The gateway did not start.
    #[error("practice gateway: {0}")]
    Gateway(#[from] gateway::StartError),
    /// The chain did not start.
    #[error("practice chain: {0}")]
    Chain(#[from] chain::StartError),
    /// The chain does not do what it is asked.
    #[error("practice chain: {0}")]
    Money(String),
    /// The contracts' codes are damaged.
    #[error("the contracts' code: {0}")]
    Codes(#[from] ton::boc::BocError),
    /// They did not find each other.
    #[error("the gateway did not reach the proxy beside it within {} s", MEETING_PATIENCE.as_secs())]
    NoMeeting,
}

/// A practice network that runs.
pub struct Running {
    bank: Bank,
    proxy: proxy::Running,
    gateway: gateway::Running,
    customers: JoinSet<()>,
    registrar: JoinSet<()>,
    diary: Arc<Diary>,
    network_file: PathBuf,
}

/// Starts a practice network on the current tokio runtime.
pub async fn start(settings: Settings) -> Result<Running, StartError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| StartError::File { path, source }
    };
    std::fs::create_dir_all(&settings.data).map_err(failed(&settings.data))?;
    let codes = Codes::load()?;
    let mut identity = Identity::take(&settings.data).map_err(failed(&settings.data))?;
    let bank = match Bank::open(&settings.data, settings.block_time).await {
        // Damaged, or made by another version of this program. It holds nothing of worth.
        Err(StartError::Chain(chain::StartError::Chain(error))) => {
            tracing::warn!(%error, "practice begins with a new chain");
            Bank::clear(&settings.data).map_err(failed(&settings.data))?;
            identity = Identity::renew(&settings.data).map_err(failed(&settings.data))?;
            Bank::open(&settings.data, settings.block_time).await?
        }
        other => other?,
    };
    let mut scene = Scene::of(&settings, &codes, identity)?;
    let started = start_proxy(&settings, &scene, &bank).await;
    let proxy = match started {
        // Made by another version of this program, damaged, or older than the chain. It holds nothing of worth.
        Err(StartError::Proxy(
            error @ (proxy::StartError::Store(_) | proxy::StartError::Chain(proxy::ChainTrouble::OldAccounts(_))),
        )) => {
            tracing::warn!(%error, "practice begins with new accounts");
            scene = Scene::of(&settings, &codes, Identity::renew(&settings.data).map_err(failed(&settings.data))?)?;
            start_proxy(&settings, &scene, &bank).await?
        }
        other => other?,
    };
    let text = scene.json(Some((proxy.workers(), proxy.clients())));
    let network_file = settings.data.join("network.json");
    std::fs::write(&network_file, format!("{text:#}\n")).map_err(failed(&network_file))?;

    let diary = Arc::new(Diary::default());
    let on_chain = bank.of_client(&settings.data, &scene.identity.client);
    let mut of_gateway = gateway::Settings::new(scene.network(&text)?, on_chain.address());
    of_gateway.http_port = settings.http_port;
    of_gateway.on_chain = Some(on_chain);
    let page = Arc::clone(&diary);
    of_gateway.practice = Some(Arc::new(move || practice_page(&page)));
    let meeting = async {
        // No money for a contract that is not there yet.
        proxy.deployed().await;
        let gateway = gateway::start(of_gateway).await?;
        gateway.connected(MEETING_PATIENCE).await;
        gateway.funded(1).await;
        Ok::<_, StartError>(gateway)
    };
    let lending = async {
        match settings.owner {
            Some(owner) => bank.give_first_money(owner).await,
            None => Ok(()),
        }
    };
    let both = async { tokio::try_join!(meeting, lending) };
    let (gateway, ()) = tokio::time::timeout(MEETING_PATIENCE, both).await.map_err(|_| StartError::NoMeeting)??;
    let registrar = start_registrar(&settings.data, &bank, &scene, &text, &proxy)?;
    let base = settings.model.as_ref().map(|model| model.base.as_str());
    let customers = customers::start(settings.customers, settings.seed, gateway.http(), base, &diary);
    Ok(Running { bank, proxy, gateway, customers, registrar, diary, network_file })
}

async fn start_proxy(settings: &Settings, scene: &Scene, bank: &Bank) -> Result<proxy::Running, StartError> {
    let identity = &scene.identity;
    bank.fill(&[&identity.proxy_wallet, &identity.client, &identity.owner]).await?;
    // Addresses of contracts do not depend on ports, so the proxy can find its ports first.
    let before = scene.network(&scene.json(None))?;
    let owner = money::address(&identity.owner);
    let mut of_proxy = proxy::Settings::new(before, owner, identity.key(), identity::accounts(&settings.data));
    of_proxy.pow_difficulty = settings.pow_difficulty;
    of_proxy.commit_pause = COMMIT_PAUSE;
    of_proxy.retry = true;
    of_proxy.practice = true;
    of_proxy.misbehaviour = settings.misbehaviour;
    of_proxy.on_chain = Some(bank.of_proxy(&settings.data, &identity.proxy_wallet));
    Ok(proxy::start(of_proxy).await?)
}

/// Enters the proxy of this run into the root contract, while everything else goes on.
fn start_registrar(
    data: &Path,
    bank: &Bank,
    scene: &Scene,
    text: &Value,
    proxy: &proxy::Running,
) -> Result<JoinSet<()>, StartError> {
    let mut task = JoinSet::new();
    let (SocketAddr::V4(worker_endpoint), SocketAddr::V4(client_endpoint)) = (proxy.workers(), proxy.clients()) else {
        return Ok(task);
    };
    let purse = bank.of_owner(data, &scene.identity.owner).map_err(|error| StartError::Money(error.to_string()))?;
    let entry = registrar::Entry {
        init: scene.root.clone(),
        root_contract: scene.root_contract,
        proxy: RegisteredProxy { seqno: 1, worker_endpoint, client_endpoint },
        models: scene.network(text)?.root.model_hashes.clone(),
    };
    task.spawn(registrar::enter(purse, entry, bank.look()));
    Ok(task)
}

/// Who plays with what terms.
struct Scene {
    identity: Identity,
    model: Option<ModelName>,
    codes: Codes,
    /// What the root contract begins as, which is where it lives.
    root: StateInit,
    root_contract: Address,
}

impl Scene {
    fn of(settings: &Settings, codes: &Codes, identity: Identity) -> Result<Self, StartError> {
        let wrong = |error: ton::CellError| StartError::Network(error.to_string());
        let empty = StateInit { code: codes.root.clone(), data: ton::Cell::empty() };
        let nowhere = empty.address().map_err(wrong)?;
        let (model, codes) = (settings.model.clone(), codes.clone());
        let mut scene = Self { identity, model: None, codes, root: empty, root_contract: nowhere };
        // It begins without proxies and models, so that it lives at the same place whatever is served where.
        let terms = RootConfig { last_proxy_seqno: 0, ..(*scene.network(&scene.json(None))?.root).clone() };
        scene.root.data = terms.to_cell().map_err(wrong)?;
        scene.root_contract = scene.root.address().map_err(wrong)?;
        scene.model = model;
        Ok(scene)
    }

    /// The root configuration in the JSON form.
    fn json(&self, ports: Option<(SocketAddr, SocketAddr)>) -> Value {
        network_json(
            self.model.as_ref(),
            &money::address(&self.identity.owner),
            &self.root_contract,
            &self.codes,
            ports,
        )
    }

    fn network(&self, json: &Value) -> Result<Network, StartError> {
        let root = RootConfig::from_json(&json.to_string()).map_err(|error| StartError::Network(error.to_string()))?;
        Ok(Network { root: Arc::new(root), root_contract: self.root_contract, evidence: None })
    }
}

fn practice_page(diary: &Diary) -> Value {
    json!({
        "note": "practice: simulated customers, practice prices, money that is worth nothing",
        "fee_nanoton_per_adjusted_token": PRACTICE_FEE.0,
        "price_nanoton_per_adjusted_token": PRACTICE_PRICE.0,
        "customers": diary.page(),
    })
}

/// The root configuration in the JSON form of networks.
fn network_json(
    model: Option<&ModelName>,
    owner: &Address,
    root_contract: &Address,
    codes: &Codes,
    ports: Option<(SocketAddr, SocketAddr)>,
) -> Value {
    let text = |address: &Address| AddressText { address: *address, bounceable: false, testnet: false }.to_text();
    let proxies: Vec<Value> = ports
        .iter()
        .map(|(workers, clients)| json!({ "seqno": 1, "address": format!("{workers} {clients}") }))
        .collect();
    let models: Vec<String> = model
        .iter()
        .map(|name| {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.encode(Sha256::digest(name.to_string()))
        })
        .collect();
    let code = |cell: &ton::Cell| Code::new(cell.clone()).map(|code| code.to_text()).unwrap_or_default();
    json!({
        "note": "practice: practice prices, a chain on this machine, money that is worth nothing",
        "proxy_hashes": [],
        "worker_hashes": [],
        "model_hashes": models,
        "model_types": [],
        "registered_proxies": proxies,
        "price_per_token": PRACTICE_PRICE.0,
        "worker_fee_per_token": PRACTICE_FEE.0,
        "last_proxy_seqno": 1,
        "version": 1,
        "params_version": 1,
        "struct_version": ton::NEWEST_STRUCT,
        "is_test": true,
        "proxy_sc_code": code(&codes.proxy),
        "worker_sc_code": code(&codes.worker),
        "client_sc_code": code(&codes.client),
        "root_owner_address": text(owner),
        "root_contract_address": text(root_contract),
    })
}

impl Running {
    /// Where workers dial.
    pub fn workers(&self) -> SocketAddr {
        self.proxy.workers()
    }

    /// Where clients dial.
    pub fn clients(&self) -> SocketAddr {
        self.proxy.clients()
    }

    /// Where the gateway's HTTP is.
    pub fn http(&self) -> SocketAddr {
        self.gateway.http()
    }

    /// The network file for apps that want to work here.
    pub fn network_file(&self) -> &Path {
        &self.network_file
    }

    /// What the customers did so far: `asked`, `answered`, `failed`, `streamed`.
    pub fn customers(&self) -> Value {
        self.diary.page()
    }

    /// The chain.
    pub fn chain(&self) -> &chain::Running {
        self.bank.chain()
    }

    /// The gateway.
    pub fn gateway(&self) -> &gateway::Running {
        &self.gateway
    }

    /// The proxy.
    pub fn proxy(&self) -> &proxy::Running {
        &self.proxy
    }

    /// Sends the customers home, closes everything and waits for the end.
    pub async fn stop(mut self) {
        self.customers.shutdown().await;
        self.registrar.shutdown().await;
        self.gateway.stop().await;
        self.proxy.stop().await;
        self.bank.close().await;
    }
}
