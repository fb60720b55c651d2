//! `chrysalis headless`: serve an open network until asked to stop.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use node::core::workers::WorkerState;
use node::folder::Folder;
use node::model_file::ModelFile;
use node::run::cashier::Cashier;
use node::run::{Node, stats};
use serde_json::json;
use ton::AddressText;

use crate::cli::HeadlessArguments;
use crate::provider::{Asked, Service, check};
use crate::wallet_commands;

/// Pause before a lost proxy is dialled again, as genuine workers make it.
const REDIAL: Duration = Duration::from_secs(10);

pub(crate) async fn run(arguments: HeadlessArguments) -> Result<()> {
    let mut asked = Asked::listen()?;
    let owner = AddressText::parse(&arguments.owner)
        .with_context(|| format!("--owner {} is no TON address", arguments.owner))?;
    let root_contract = match &arguments.root {
        Some(text) => {
            Some(AddressText::parse(text).with_context(|| format!("--root {text} is no TON address"))?.address)
        }
        None => None,
    };
    let folder = Folder::take(&arguments.data)?;
    let model = ModelFile::open(&arguments.model)?;
    let service = Service {
        ledger: folder.ledger(),
        network: &arguments.network,
        root_contract,
        model,
        served_as: arguments.served_as.clone(),
        test_claim: arguments.test_claim,
        owner,
        coefficient: arguments.coefficient,
        max_active: arguments.max_active,
        proxy_connections: arguments.proxy_connections,
        policy: arguments.policy.into(),
        evidence: arguments.evidence.into(),
        redial: REDIAL,
        device: &arguments.device,
    };
    let cashier = wallet_commands::serve(
        &folder,
        &arguments.chain,
        service.terms()?,
        owner.address,
        &arguments.threshold,
        &arguments.keep,
    )?;
    let (node, _) = service.start()?;
    let served = serve(&node, &arguments, &folder, cashier.as_ref(), &mut asked).await;
    let last = node.stop().await;
    if let Some(cashier) = cashier {
        // What is on its way is written down, and the next run goes on with it.
        cashier.stop().await;
    }
    if last.unwritten > 0 {
        tracing::error!(records = last.unwritten, "some records could not be written down before the end");
    }
    served
}

async fn serve(
    node: &Node,
    arguments: &HeadlessArguments,
    folder: &Folder,
    cashier: Option<&Cashier>,
    asked: &mut Asked,
) -> Result<()> {
    let stats_port = match arguments.stats {
        Some(address) => Some(stats::serve(address, node.snapshots()).await?.port()),
        None => None,
    };
    let mut snapshots = node.snapshots();
    let mut ready = false;
    let mut signed = 0;
    loop {
        let now = snapshots.borrow().signed_tokens;
        if let Some(cashier) = cashier.filter(|_| now != signed) {
            signed = now;
            cashier.payments_came().await;
        }
        {
            let snapshot = snapshots.borrow_and_update().clone();
            check(&snapshot)?;
            if !ready && matches!(snapshot.worker, WorkerState::Serving { .. }) {
                ready = true;
                let line = json!({ "ready": {
                    "role": "worker",
                    "worker_pid": snapshot.worker_pid,
                    "served_as": arguments.served_as.to_string(),
                    "stats_port": stats_port,
                    "backend": snapshot.model.as_ref().map(|model| model.backend.clone()),
                    "adapter": snapshot.model.as_ref().and_then(|model| model.adapter.clone()),
                    "ledger": folder.ledger(),
                }});
                let mut out = std::io::stdout().lock();
                writeln!(out, "{line}")?;
                out.flush()?;
            }
        }
        tokio::select! {
            () = asked.wait() => return Ok(()),
            changed = snapshots.changed() => changed.context("the node ended by itself")?,
        }
    }
}
