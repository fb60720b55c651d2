//! One movement of money out of a wallet on this machine, as it is written down at every step, and what came of it.

use std::fmt;

use ton::{Address, Nanoton};

/// Names a transfer; grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(pub u64);

/// What it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Errand {
    /// To cash what a proxy signed.
    Payout {
        /// At which contract.
        worker_contract: Address,
        /// Who pays.
        proxy_contract: Address,
        /// Who is paid: whom the worker contract names, whoever begins the transfer or brings it to its end. `None`: a row of a
        /// program that did not write it down.
        owner: Option<Address>,
        /// Running total that was paid before.
        from_tokens: u64,
        /// Running total after it.
        to_tokens: u64,
        /// What the difference is worth.
        expected: Nanoton,
    },
    /// The owner sends money.
    Send,
}

/// The internal message that the wallet is to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Where.
    pub to: Address,
    /// How much.
    pub value: Nanoton,
    /// All the wallet has leaves, fees taken from it; the amount above is what it had when that was wanted.
    pub everything: bool,
    /// Whether it comes back if it is not wanted.
    pub bounce: bool,
    /// Its body, a bag of cells.
    pub body: Option<Vec<u8>>,
    /// Code and data to go along, a bag of cells.
    pub state_init: Option<Vec<u8>>,
}

/// What was signed. These bytes and no others are sent, again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedMessage {
    /// The external message, a bag of cells.
    pub boc: Vec<u8>,
    /// Its normalised hash (TEP-467), by which it is found again.
    pub hash: [u8; 32],
    /// The wallet's sequence number it is good for.
    pub seqno: u32,
    /// Until when, Unix time in seconds of the chain's clock.
    pub valid_until: u32,
}

/// What a transfer would do, tried on a copy of the chain under its present configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forecast {
    /// Why it would fail; `None`: all of it succeeds.
    pub failure: Option<String>,
    /// What it costs: of a payout all that contracts and the network keep of what the wallet sends, of a sending what the wallet itself
    /// pays. What the recipient's own account pays is not the sender's.
    pub fees: Nanoton,
    /// What the owner would get from the proxy's contract.
    pub income: Nanoton,
    /// What would be in the wallet afterwards.
    pub balance_after: Nanoton,
}

impl Forecast {
    /// What contracts keep for their own rent and give back with their last payout: what the wallet would have less that is no fee.
    /// `before`: what is in it; `comes_here`: whether the income would come to this wallet too.
    pub fn kept(&self, before: Nanoton, comes_here: bool) -> Nanoton {
        let income = if comes_here { self.income.0 } else { 0 };
        let spent = before.0.saturating_add(income).saturating_sub(self.balance_after.0);
        Nanoton(spent.saturating_sub(self.fees.0))
    }
}

/// Money that came to the owner's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Who sent it.
    pub from: Address,
    /// Whom it came to.
    pub to: Address,
    /// How much.
    pub value: Nanoton,
    /// Whether it is a contract's payout; what is left of a fee is not income.
    pub is_payout: bool,
    /// Logical time of the transaction on the receiving account.
    pub lt: u64,
    /// Its hash.
    pub hash: [u8; 32],
    /// When, Unix time in seconds.
    pub unix: u32,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Wanted; nothing is signed.
    Planned,
    /// Signed; may be on its way.
    Signed(SignedMessage),
    /// Over.
    Ended(Outcome),
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Everything it caused succeeded.
    Done {
        /// What the owner received by it.
        receipts: Vec<Receipt>,
        /// What it cost; `None`: not to be told from what else happened.
        fees: Option<Nanoton>,
    },
    /// It landed, and something it caused failed, or the owner did not get what was expected.
    Failed {
        /// What.
        why: String,
        /// What the owner received all the same.
        receipts: Vec<Receipt>,
        /// What it cost.
        fees: Option<Nanoton>,
    },
    /// It can't land any more; no money moved.
    Expired,
    /// Another message of the same wallet took its number; no money moved by this one.
    Overtaken,
    /// It was given up before it was signed.
    NotBegun {
        /// Why.
        why: String,
    },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done { receipts, .. } if receipts.is_empty() => write!(f, "done"),
            Self::Done { receipts, .. } => {
                let sum = receipts.iter().map(|receipt| receipt.value.0).fold(0, u64::saturating_add);
                write!(f, "{} came in", Nanoton(sum))
            }
            Self::Failed { why, .. } => write!(f, "failed: {why}"),
            Self::Expired => write!(f, "did not land in time; no money moved"),
            Self::Overtaken => write!(f, "another message of the wallet took its place; no money moved by this one"),
            Self::NotBegun { why } => write!(f, "not begun: {why}"),
        }
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Its name.
    pub id: TransferId,
    /// The wallet that sends and pays.
    pub payer: Address,
    /// What it is for.
    pub errand: Errand,
    /// What the wallet sends.
    pub outgoing: Outgoing,
    /// What it would do, as it was tried before it was signed.
    pub forecast: Option<Forecast>,
    /// How far it is.
    pub stage: Stage,
    /// When it was wanted, Unix time in milliseconds of this machine.
    pub planned_unix_ms: i64,
}

impl Transfer {
    /// Its name in a log.
    pub fn name(&self) -> String {
        match self.errand {
            Errand::Payout { from_tokens, to_tokens, .. } => {
                format!("payout {} of tokens {from_tokens} to {to_tokens}", self.id.0)
            }
            Errand::Send => format!("transfer {}", self.id.0),
        }
    }
}
