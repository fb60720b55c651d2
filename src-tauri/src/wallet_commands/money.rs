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
    let contracts = contracts(&arguments.data)?;
    let transactions = recent(&*chain, public.address(), arguments.limit).await?;
    let movements: Vec<Movement> =
        transactions.iter().flat_map(|transaction| movements(transaction, &contracts)).collect();
    let object = Value::Array(movements.iter().map(|movement| json_of(movement, public.network)).collect());
    let lines: Vec<String> = movements.iter().map(|movement| line_of(movement, public.network)).collect();
    tell(arguments.json, &object, &lines)
}

/// The contracts of every network that this folder has worked for: only they pay out.
fn contracts(data: &Path) -> Result<BTreeSet<Address>> {
    let ledger = data.join("ledger.sqlite");
    if !ledger.is_file() {
        return Ok(BTreeSet::new());
    }
    let history = History::open_for_reading(&ledger).with_context(|| ledger.display().to_string())?;
    Ok(history.contracts()?)
}

/// The newest transactions, as many as the endpoint gives at once.
pub(super) async fn recent(chain: &dyn Chain, address: Address, limit: u32) -> Result<Vec<Transaction>> {
    chain.transactions(address, None, limit).await.context("the chain can't be asked")
}

const fn reason(movement: &Movement) -> &'static str {
    match movement.reason {
        Reason::Payout => "payout",
        Reason::Sent => "sent",
        Reason::Received => "received",
        Reason::Fee => "sent along for a payout",
        Reason::Rest => "left over, came back",
        Reason::Bounced => "came back",
        Reason::Other => "fee",
    }
}

fn line_of(movement: &Movement, network: Network) -> String {
    let at = DateTime::<Utc>::from_timestamp(i64::from(movement.unix), 0).unwrap_or_default().format("%Y-%m-%d %H:%M");
    let sign = if movement.incoming { '+' } else { '-' };
    let mut line = format!("{at}  {sign}{}  {}", movement.amount, reason(movement));
    if let Some(peer) = &movement.peer {
        let way = if movement.incoming { "from" } else { "to" };
        line = format!("{line} {way} {}", address_text(peer, network));
    }
    if let Some(memo) = &movement.memo {
        line = format!("{line}, {memo:?}");
    }
    if let Some(fee) = movement.fee.filter(|fee| *fee > Nanoton(0)) {
        line = format!("{line}, fee {fee}");
    }
    if !movement.succeeded {
        line = format!("{line}, failed");
    }
    line
}

fn json_of(movement: &Movement, network: Network) -> Value {
    json!({
        "unix": movement.unix,
        "reason": reason(movement),
        "incoming": movement.incoming,
        "nanoton": movement.amount.0,
        "peer": movement.peer.as_ref().map(|peer| address_text(peer, network)),
        "comment": movement.memo,
        "fee_nanoton": movement.fee.map(|fee| fee.0),
        "succeeded": movement.succeeded,
        "transaction": hex::encode(movement.id.hash),
    })
}
