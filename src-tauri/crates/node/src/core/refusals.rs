//! Who was refused and why, to be written down: news at once, the same again now and then.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Duration;

pub use ledger::RefusedBy;
use ton::Address;

use super::Out;

/// The same refusal is written down again after this long: proxies are dialled every few seconds.
const AGAIN: Duration = Duration::from_mins(10);
/// Most characters of a reason.
const MAX_REASON: usize = 300;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The network's root contract.
    pub root: Address,
    /// Where the proxy is.
    pub endpoint: SocketAddrV4,
    /// By whom.
    pub by: RefusedBy,
    /// Why, in one line of 1 to 300 characters.
    pub reason: String,
    /// When.
    pub seen_unix_ms: i64,
}

/// See the module.
pub(super) struct Refusals {
    root: Address,
    noted: BTreeMap<SocketAddrV4, (RefusedBy, String, Duration)>,
    news: Vec<Refusal>,
}

impl Refusals {
    pub(super) fn new(root: Address) -> Self {
        Self { root, noted: BTreeMap::new(), news: Vec::new() }
    }

    /// Somebody was refused.
    pub(super) fn note(&mut self, endpoint: SocketAddrV4, by: RefusedBy, reason: &str, out: &Out<'_>) {
        let mut reason: String = reason.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
        if reason.is_empty() {
            "no reason was given".clone_into(&mut reason);
        }
        let now = out.now.mono;
        let known = self.noted.get(&endpoint);
        if known.is_some_and(|(who, why, at)| *who == by && *why == reason && now.saturating_sub(*at) < AGAIN) {
            return;
        }
        self.noted.insert(endpoint, (by, reason.clone(), now));
        self.news.push(Refusal { root: self.root, endpoint, by, reason, seen_unix_ms: out.now.unix_ms });
    }

    /// What is to be written down now.
    pub(super) fn take(&mut self) -> Vec<Refusal> {
        std::mem::take(&mut self.news)
    }
}
