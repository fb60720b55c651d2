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
use wallet::Reminder;

use super::ask::Ask;
use super::{Payee, address_text, endpoints, public, tell};
use crate::cli::{BalanceArguments, HistoryArguments};
use crate::payout;
use crate::rules::Rules;

pub(super) async fn balance(arguments: &BalanceArguments) -> Result<()> {
    let payee = Payee::of(&arguments.data)?;
    let (Some(paid), Some(network)) = (payee.address(), payee.network()) else {
        return public(&arguments.data).map(drop);
    };
    let chain = endpoints::chain_of(&arguments.chain, network).await?;
    let account = chain.account(paid).await.context("the chain can't be asked")?;
    let fee = match payee.fee_wallet() {
        Some(fee) => Some(chain.account(fee.address()).await.context("the chain can't be asked")?.balance),
        None => None,
    };
    let status = match account.status {
        AccountStatus::Active => "active",
        AccountStatus::Uninitialised => "uninitialised",
        AccountStatus::Frozen => "frozen",
    };
    let address = address_text(&paid, network);
    let mut object = json!({
        "address": address,
        "nanoton": account.balance.0,
        "status": status,
        "seen_at": account.seen_at,
        "fee_wallet_nanoton": fee.map(|fee| fee.0),
    });
    if let (Value::Object(members), Value::Object(more)) = (&mut object, payee.to_json()) {
        members.extend(more);
    }
    let mut lines = match (fee, payee.fee_wallet()) {
        (Some(balance), Some(fee)) => vec![
            format!("Your payout address        {}  {address}", account.balance),
            format!("The worker's fee wallet    {balance}  {}", address_text(&fee.address(), network)),
        ],
        _ => vec![format!("{}  {address}", account.balance)],
    };
    lines.extend(payee.notice());
    if let Some(own) = payee.wallet {
        let rules = Rules::of(&arguments.data)?;
        let reminder = Reminder {
            written_down: rules.has_words_of(&own.address()),
            at_stake: Some(fee.unwrap_or(account.balance)),
            dismissed_at: rules.dismissed_at,
        };
        if reminder.is_due(payout::now()) && network == Network::Main {
            Ask::new().say("It was never checked that you have the words of this wallet: `chrysalis wallet check-words` asks for three.")?;
        }
    }
    tell(arguments.json, &object, &lines)
}

pub(super) async fn history(arguments: &HistoryArguments) -> Result<()> {
    let public = public(&arguments.data)?;
    let chain = endpoints::chain_of(&arguments.chain, public.network).await?;
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
