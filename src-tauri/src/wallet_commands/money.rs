//! `balance` and `history`, both as the chain has them.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};
use chain::{AccountStatus, Chain, Transaction};
use chrono::{DateTime, Utc};
use node::history::History;
use node::movements::{Movement, Reason, movements};
use serde_json::{Value, json};
use ton::{Address, Nanoton, Network};

use super::{address_text, endpoints, public, tell};
use crate::cli::{BalanceArguments, HistoryArguments};
use crate::provider::unix_ms;

pub(super) async fn balance(arguments: &BalanceArguments) -> Result<()> {
    let public = public(&arguments.data)?;
    let chain = endpoints::chain(&arguments.chain)?;
    let account = chain.account(public.address()).await.context("the chain can't be asked")?;
    let status = match account.status {
        AccountStatus::Active => "active",
        AccountStatus::Uninitialised => "uninitialised",
        AccountStatus::Frozen => "frozen",
    };
    let address = address_text(&public.address(), public.network);
    let object = json!({
        "address": address,
        "nanoton": account.balance.0,
        "status": status,
        "seen_at": account.seen_at,
    });
    tell(arguments.json, &object, &[format!("{}  {address}", account.balance)])
}

pub(super) async fn history(arguments: &HistoryArguments) -> Result<()> {
    let public = public(&arguments.data)?;
    let chain = endpoints::chain(&arguments.chain)?;
    let transactions = recent(&*chain, public.address(), arguments.limit).await?;
    let contracts = contracts(&arguments.data)?;
    let mut moved: Vec<Movement> = transactions.iter().flat_map(|one| movements(one, &contracts)).collect();
    // Nothing moved, and nothing was paid for it.
    moved.retain(|one| one.reason != Reason::Other || one.fee != Some(Nanoton(0)));
    let object = Value::Array(moved.iter().map(|one| to_json(one, public.network)).collect());
    let lines: Vec<String> = moved.iter().map(|one| line(one, public.network)).collect();
    tell(arguments.json, &object, &lines)
}

/// The newest transactions, as many as the endpoint gives at once.
pub(super) async fn recent(chain: &dyn Chain, address: Address, limit: u32) -> Result<Vec<Transaction>> {
    chain.transactions(address, None, limit).await.context("the chain can't be asked")
}

/// The contracts whose messages are payouts, of every network this folder worked for.
fn contracts(data: &Path) -> Result<BTreeSet<Address>> {
    let path = data.join("ledger.sqlite");
    let mut contracts = BTreeSet::new();
    if path.is_file() {
        let history = History::open(&path, unix_ms()).context("the ledger can't be read")?;
        for root in history.root_contracts()? {
            let known = history.cashable(&root)?;
            contracts.extend(known.into_iter().flat_map(|best| [best.worker_contract, best.proxy_contract]));
        }
    }
    Ok(contracts)
}

const fn word(reason: Reason) -> &'static str {
    match reason {
        Reason::Payout => "payout",
        Reason::Sent => "sent",
        Reason::Received => "received",
        Reason::Fee => "for a payout",
        Reason::Rest => "rest of a fee",
        Reason::Bounced => "came back",
        Reason::Other => "fee",
    }
}

fn line(moved: &Movement, network: Network) -> String {
    let at = DateTime::<Utc>::from_timestamp(i64::from(moved.unix), 0).unwrap_or_default().format("%Y-%m-%d %H:%M");
    let sign = if moved.incoming { '+' } else { '-' };
    let mut line = format!("{at}  {sign}{}  {}", moved.amount, word(moved.reason));
    if let Some(peer) = &moved.peer {
        let way = if moved.incoming { "from" } else { "to" };
        line = format!("{line} {way} {}", address_text(peer, network));
    }
    if let Some(comment) = &moved.memo {
        line = format!("{line}, {comment:?}");
    }
    if let Some(fee) = moved.fee.filter(|fee| *fee > Nanoton(0)) {
        line = format!("{line}, fee {fee}");
    }
    if !moved.succeeded {
        line = format!("{line}, failed");
    }
    line
}

fn to_json(moved: &Movement, network: Network) -> Value {
    json!({
        "unix": moved.unix,
        "reason": word(moved.reason),
        "incoming": moved.incoming,
        "nanoton": moved.amount.0,
        "peer": moved.peer.as_ref().map(|peer| address_text(peer, network)),
        "comment": moved.memo,
        "fee_nanoton": moved.fee.map(|fee| fee.0),
        "succeeded": moved.succeeded,
        "transaction": hex::encode(moved.id.hash),
    })
}
