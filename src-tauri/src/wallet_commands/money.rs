//! `balance` and `history`, both as the chain has them.

use anyhow::{Context as _, Result};
use chain::{AccountStatus, Chain, Message, MessageKind, Transaction};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use ton::cocoon::Body;
use ton::{Address, Nanoton, Network, read_comment};
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
    let chain = endpoints::chain(&arguments.chain)?;
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
        let rules = Rules::read(&arguments.data);
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

/// One movement of money, in the wallet's eyes.
struct Movement {
    at: u32,
    reason: &'static str,
    incoming: bool,
    amount: Nanoton,
    peer: Option<Address>,
    /// What the owner wrote. What strangers write is not shown: it is how they advertise and deceive.
    comment: Option<String>,
    /// Of the whole transaction, on its first line.
    fee: Option<Nanoton>,
    succeeded: bool,
    hash: [u8; 32],
}

pub(super) async fn history(arguments: &HistoryArguments) -> Result<()> {
    let public = public(&arguments.data)?;
    let chain = endpoints::chain(&arguments.chain)?;
    let transactions = recent(&*chain, public.address(), arguments.limit).await?;
    let movements: Vec<Movement> = transactions.iter().flat_map(movements).collect();
    let object = Value::Array(movements.iter().map(|movement| movement.to_json(public.network)).collect());
    let lines: Vec<String> = movements.iter().map(|movement| movement.line(public.network)).collect();
    tell(arguments.json, &object, &lines)
}

/// The newest transactions, as many as the endpoint gives at once.
pub(super) async fn recent(chain: &dyn Chain, address: Address, limit: u32) -> Result<Vec<Transaction>> {
    chain.transactions(address, None, limit).await.context("the chain can't be asked")
}

fn movements(transaction: &Transaction) -> Vec<Movement> {
    let mut movements: Vec<Movement> =
        transaction.in_message.iter().filter_map(|message| incoming(transaction, message)).collect();
    movements.extend(transaction.out_messages.iter().filter_map(|message| outgoing(transaction, message)));
    if movements.is_empty() && transaction.total_fees > Nanoton(0) {
        // It was paid for, and nothing moved.
        movements.push(Movement { reason: "fee", ..blank(transaction) });
    }
    if let (Some(first), Some(fees)) = (movements.first_mut(), transaction.all_fees()) {
        first.fee = Some(fees);
    }
    movements
}

fn incoming(transaction: &Transaction, message: &Message) -> Option<Movement> {
    let MessageKind::Internal { source, value, bounced, .. } = message.kind else { return None };
    let reason = match Body::from_cell(&message.body) {
        _ if bounced => "came back",
        Ok(Body::Payout { .. }) => "payout",
        Ok(Body::Excesses { .. }) => "rest of a fee",
        _ => "received",
    };
    Some(Movement { reason, incoming: true, amount: value, peer: Some(source), ..blank(transaction) })
}

fn outgoing(transaction: &Transaction, message: &Message) -> Option<Movement> {
    let MessageKind::Internal { destination, value, .. } = message.kind else { return None };
    let reason = match Body::from_cell(&message.body) {
        Ok(Body::Signed(_)) => "for a payout",
        _ => "sent",
    };
    let comment = read_comment(&message.body);
    Some(Movement { reason, amount: value, peer: Some(destination), comment, ..blank(transaction) })
}

fn blank(transaction: &Transaction) -> Movement {
    Movement {
        at: transaction.now,
        reason: "",
        incoming: false,
        amount: Nanoton(0),
        peer: None,
        comment: None,
        fee: None,
        succeeded: transaction.succeeded(),
        hash: transaction.id.hash,
    }
}

impl Movement {
    fn line(&self, network: Network) -> String {
        let at = DateTime::<Utc>::from_timestamp(i64::from(self.at), 0).unwrap_or_default().format("%Y-%m-%d %H:%M");
        let sign = if self.incoming { '+' } else { '-' };
        let mut line = format!("{at}  {sign}{}  {}", self.amount, self.reason);
        if let Some(peer) = &self.peer {
            let way = if self.incoming { "from" } else { "to" };
            line = format!("{line} {way} {}", address_text(peer, network));
        }
        if let Some(comment) = &self.comment {
            line = format!("{line}, {comment:?}");
        }
        if let Some(fee) = self.fee.filter(|fee| *fee > Nanoton(0)) {
            line = format!("{line}, fee {fee}");
        }
        if !self.succeeded {
            line = format!("{line}, failed");
        }
        line
    }

    fn to_json(&self, network: Network) -> Value {
        json!({
            "unix": self.at,
            "reason": self.reason,
            "incoming": self.incoming,
            "nanoton": self.amount.0,
            "peer": self.peer.as_ref().map(|peer| address_text(peer, network)),
            "comment": self.comment,
            "fee_nanoton": self.fee.map(|fee| fee.0),
            "succeeded": self.succeeded,
            "transaction": hex::encode(self.hash),
        })
    }
}
