//! Why a chain gave no answer.

use std::time::Duration;
use thiserror::Error;
use ton::Network;

/// Why a chain gave no answer, by what a caller does about it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChainError {
    /// No endpoint could be reached, or none answered in time. Nothing was sent, or only a question. Try again later.
    #[error("no endpoint answers: {0}")]
    Unreachable(String),
    /// Too many questions. Try again after the time, if one is named.
    #[error("the endpoint wants fewer questions")]
    Busy {
        /// What the endpoint asks for.
        retry_after: Option<Duration>,
    },
    /// A message was handed over and no answer came: it may be on its way. Send the same bytes again, never others.
    #[error("the message may have been taken, the endpoint did not say: {0}")]
    Uncertain(String),
    /// The chain, or its endpoint, does not take the message: wrong signature, number or time, no money, or no such contract.
    #[error("the message was not accepted: {0}")]
    Refused(String),
    /// An endpoint said what cannot be: another transaction than asked for, cells that are none, numbers out of range.
    #[error("the endpoint's answer does not hold together: {0}")]
    Nonsense(String),
    /// An endpoint shows an older state than was seen before.
    #[error("the endpoint is behind: it shows transaction {shown}, {seen} was seen before")]
    Behind {
        /// Logical time of the last transaction it shows.
        shown: u64,
        /// Logical time of the last transaction that was seen.
        seen: u64,
    },
    /// Endpoints that should agree do not, or too few answered. No money may move on this.
    #[error("{agreeing} of {needed} endpoints say the same of the chain")]
    Disagreement {
        /// How many said the same.
        agreeing: usize,
        /// How many are wanted.
        needed: usize,
    },
    /// The endpoints are of another network than the wallet. Nothing may be signed for them.
    #[error("{}", other_network(*found, *wanted))]
    OtherNetwork {
        /// What the chain calls itself.
        found: i32,
        /// The wallet's network.
        wanted: Network,
    },
    /// What was asked cannot be asked: no external message, an address that is none, cells that are too large.
    #[error("this cannot be asked of a chain: {0}")]
    Question(String),
    /// The account has no code, or code that is not known here.
    #[error("the account has no code that can be run")]
    NoCode,
}

fn other_network(found: i32, wanted: Network) -> String {
    let name = |id: i32| match [Network::Main, Network::Test].into_iter().find(|network| network.global_id() == id) {
        Some(Network::Main) => "TON's main network".to_owned(),
        Some(Network::Test) => "TON's test network".to_owned(),
        None => format!("a network of its own ({id})"),
    };
    format!("the endpoint is of {}, the wallet of {}", name(found), name(wanted.global_id()))
}
