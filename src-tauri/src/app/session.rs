//! A provider with its practice network: started for work, stopped for a pause.

use std::path::PathBuf;
use std::sync::Arc;

use accounting::ModelName;
use accounting::practice::PRACTICE_RESERVE;
use anyhow::{Context as _, Result};
use node::core::Target;
use node::model_file::{Known, ModelFile};
use node::run::{Node, Traffic};
use node::snapshot::Snapshot;
use node::{EvidenceKind, PeerPolicy};
use tokio::sync::{OwnedMutexGuard, watch};
use ton::{AddressText, RootConfig};

use super::money::Desk;
use crate::cashbox::{self, Cashbox};
use crate::cli::DeviceArguments;
use crate::payout;
use crate::practice::{self, MAX_ACTIVE, REDIAL};
use crate::practice_network::PracticeNetwork;
use crate::provider::Service;
use crate::purse::Purse;
use crate::view::{Network, NetworkKind};

/// What a session is made of.
pub(crate) struct Wanted {
    /// The data folder, which is ours.
    pub(crate) data: PathBuf,
    /// The ledger in it.
    pub(crate) ledger: PathBuf,
    /// The model's file.
    pub(crate) model: PathBuf,
    /// Simulated customers.
    pub(crate) customers: u32,
    /// Decides who asks what.
    pub(crate) seed: u64,
    /// Where the model runs.
    pub(crate) device: DeviceArguments,
}

impl Wanted {
    /// The network before anything was started.
    pub(crate) fn network(&self) -> Network {
        let model = self.model.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Network { kind: NetworkKind::Practice, pays_nothing: true, model }
    }
}

/// What runs.
pub(crate) struct Session {
    node: Node,
    network: PracticeNetwork,
    root: RootConfig,
    known: Known,
    served_as: ModelName,
    cashbox: Arc<Cashbox>,
    purse: Arc<Purse>,
    /// Nobody deletes or replaces the wallet's file as long as this is held.
    _wallet: OwnedMutexGuard<()>,
}

/// Whether the app had to read the file itself, for the log.
fn how_it_was_opened(model: &ModelFile) -> String {
    let gigabytes = model.bytes() as f64 / 1e9;
    if model.was_read() {
        format!(
            "the model's file was read and checked ({gigabytes:.2} GB): it was not known, or was changed since it was read"
        )
    } else {
        format!("the model's file ({gigabytes:.2} GB) is unchanged since it was checked; only the worker reads it")
    }
}

/// Starts both. Nothing is left behind if it fails. What the owner has decided about the wallet counts from the first moment on, and nobody
/// changes its file from before it is read until the session has ended.
pub(crate) async fn start(wanted: &Wanted, desk: &Desk, known: Known) -> Result<Session> {
    let wallet = desk.wallet_file().lock_owned().await;
    let path = wanted.model.clone();
    // Hashing a model takes seconds.
    let model = tokio::task::spawn_blocking(move || ModelFile::open_again(&path, &known)).await??;
    tracing::info!("{}", how_it_was_opened(&model));
    let known = model.known();
    let served_as = practice::name_of(&wanted.model, &model)?;
    let data = wanted.data.clone();
    let purse = Arc::new(tokio::task::spawn_blocking(move || Purse::of_practice(&data)).await??);
    let (owner, earlier) = payout::of_practice(&wanted.data, &purse)?;
    let place = wanted.data.join("network");
    let network = PracticeNetwork::start(&place, &served_as, purse.address(), wanted.customers, wanted.seed).await?;
    let service = Service {
        ledger: wanted.ledger.clone(),
        network: network.file(),
        root_contract: None,
        model,
        served_as: served_as.clone(),
        test_claim: false,
        owner: AddressText { address: owner, bounceable: false, testnet: false },
        coefficient: 1000,
        max_active: MAX_ACTIVE,
        proxy_connections: 1,
        policy: PeerPolicy::Any,
        attester: None,
        evidence: EvidenceKind::None,
        redial: REDIAL,
        device: &wanted.device,
    };
    let (node, root) = match service.start() {
        Ok(started) => started,
        Err(error) => {
            network.stop().await;
            return Err(error);
        }
    };
    let opened = root.root_contract.context("the practice network names no root contract").and_then(|root_contract| {
        Cashbox::open(cashbox::Wanted {
            chain: network.chain().clone(),
            purse: Arc::clone(&purse),
            owner,
            earlier,
            root_contract,
            root: Arc::new(root.clone()),
            ledger: wanted.ledger.clone(),
            threshold: desk.begins(&purse),
            reserve: PRACTICE_RESERVE,
        })
    });
    match opened {
        Ok(cashbox) => {
            Ok(Session { node, network, root, known, served_as, cashbox: Arc::new(cashbox), purse, _wallet: wallet })
        }
        Err(error) => {
            node.stop().await;
            network.stop().await;
            Err(error)
        }
    }
}

impl Session {
    /// What the provider shows.
    pub(crate) fn snapshots(&self) -> watch::Receiver<Snapshot> {
        self.node.snapshots()
    }

    /// The network's parameters.
    pub(crate) fn root(&self) -> &RootConfig {
        &self.root
    }

    /// By what the model's file is known at the next start.
    pub(crate) fn known(&self) -> Known {
        self.known.clone()
    }

    /// What is served where.
    pub(crate) fn network(&self) -> Network {
        Network { kind: NetworkKind::Practice, pays_nothing: true, model: self.served_as.base.clone() }
    }

    /// The hash under which the model is served.
    pub(crate) fn served_hash(&self) -> Option<String> {
        self.served_as.hash.clone()
    }

    /// Counters of bytes to and from proxies.
    pub(crate) fn traffic(&self) -> Traffic {
        self.node.traffic()
    }

    /// The address of the chain's API.
    pub(crate) fn chain_endpoint(&self) -> String {
        self.network.chain().endpoint.clone()
    }

    /// Whether the practice network has ended by itself.
    pub(crate) fn network_has_ended(&mut self) -> bool {
        self.network.has_ended()
    }

    /// Proxies have signed more.
    pub(crate) async fn payments_came(&self) {
        self.cashbox.payments_came().await;
    }

    /// The money side of it.
    pub(crate) fn cashbox(&self) -> Arc<Cashbox> {
        Arc::clone(&self.cashbox)
    }

    /// The open wallet.
    pub(crate) fn purse(&self) -> Arc<Purse> {
        Arc::clone(&self.purse)
    }

    /// Changes what the provider is to do.
    pub(crate) async fn want(&self, target: Target) {
        self.node.want(target).await;
    }

    /// Frees the card politely and ends both. Gives the last facts.
    pub(crate) async fn stop(self) -> Snapshot {
        let last = self.node.stop().await;
        if last.unwritten > 0 {
            tracing::error!(records = last.unwritten, "some records could not be written down before the end");
        }
        // Whoever still answers a question of the page with it lets go of it in a moment.
        if let Some(cashbox) = Arc::into_inner(self.cashbox) {
            cashbox.stop().await;
        }
        self.network.stop().await;
        last
    }
}
