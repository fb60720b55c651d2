//! The owner of the practice network: keeps its root contract on the chain, with the proxy at the ports of this run and the model that is
//! asked for, so that whoever reads the chain finds what the network file says.

use std::time::Duration;

use ::chain::AccountStatus;
use ton::cocoon::{Body, RootOperation};
use ton::{Address, Nanoton, RegisteredProxy, RootConfig, StateInit};

use crate::clock::random_bytes;
use crate::treasury::{Order, Purse, PurseError};

/// What the contract begins with.
const DEPLOYMENT: Nanoton = Nanoton(1_000_000_000);
/// What an operation brings; the rest comes back.
const FOR_THE_WAY: Nanoton = Nanoton(100_000_000);

/// What shall stand on the chain.
pub(super) struct Entry {
    /// What the root contract begins as.
    pub(super) init: StateInit,
    /// Where it lives.
    pub(super) root_contract: Address,
    /// The one proxy.
    pub(super) proxy: RegisteredProxy,
    /// SHA-256 of full names of models.
    pub(super) models: Vec<[u8; 32]>,
}

/// Enters what is lacking and ends when nothing is.
pub(super) async fn enter(mut purse: Purse, entry: Entry, look: Duration) {
    loop {
        match turn(&mut purse, &entry).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "practice: the root contract is not up to date yet"),
        }
        tokio::time::sleep(look).await;
    }
}

/// One look; says whether all is there.
async fn turn(purse: &mut Purse, entry: &Entry) -> Result<bool, PurseError> {
    let Some(free) = purse.look().await?.free else { return Ok(false) };
    let account = purse.chain().account(entry.root_contract).await?;
    let standing = match (account.status, &account.data) {
        (AccountStatus::Active, Some(data)) => {
            Some(RootConfig::from_cell(data, None).map_err(|error| PurseError::Message(error.to_string()))?)
        }
        _ => None,
    };
    let orders = plan(entry, standing.as_ref())?;
    purse.send(free, &orders).await?;
    Ok(orders.is_empty())
}

fn plan(entry: &Entry, standing: Option<&RootConfig>) -> Result<Vec<Order>, PurseError> {
    let order = |value, body, init, what| Order { to: entry.root_contract, value, body, init, spends: value, what };
    let tell = |operation, what| {
        let body = Body::Root { query_id: u64::from_le_bytes(random_bytes()), operation };
        order(FOR_THE_WAY, body, None, what)
    };
    let mut orders = Vec::new();
    if standing.is_none() {
        orders.push(order(DEPLOYMENT, Body::Empty, Some(entry.init.clone()), "deploy the root contract"));
    }
    let text = entry.proxy.to_entry().map_err(|error| PurseError::Message(error.to_string()))?;
    match standing.and_then(|root| root.registered_proxies.last()) {
        Some(there) if *there == (RegisteredProxy { seqno: there.seqno, ..entry.proxy }) => {}
        Some(there) => {
            let operation = RootOperation::UpdateProxy { seqno: there.seqno, entry: text };
            orders.push(tell(operation, "update the proxy"));
        }
        None => orders.push(tell(RootOperation::RegisterProxy(text), "register the proxy")),
    }
    for model in &entry.models {
        if !standing.is_some_and(|root| root.model_hashes.contains(model)) {
            orders.push(tell(RootOperation::AddModelType(*model), "add the model"));
        }
    }
    Ok(orders)
}
