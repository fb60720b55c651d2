//! A wallet that a program of the network keeps: the proxy's, which deploys its contract and charges clients, and the gateway's, which
//! puts money in for its owner.
//!
//! What lives here: what to send next, decided from what the contracts say ([`operator`], [`customer`]); how a transfer ends
//! (module `transfer`); and the shell that signs, writes down and sends ([`Purse`]). What may not: tokens and prices of jobs (crate
//! `protocol`), SQL (`store`), the owner's own wallet (crates `wallet` and `node`).
//!
//! A walk-through. Each look at the chain reads the contracts anew. If no transfer is under way, `operator::plan` or `customer::plan` says
//! what is missing: a contract, stake, a charge, money. [`Purse::send`] tries it on a copy of the chain, signs one transfer for all of
//! it, writes it down and sends it. While it is under way nothing else is decided, and the same bytes are sent again until the wallet's
//! count moves, or the chain's clock is past the transfer's time. So a kill at any moment forgets nothing and repeats nothing, and a
//! look at a chain that begins anew begins anew.

pub mod customer;
pub mod operator;

mod purse;
mod transfer;

use ton::cocoon::{ClientData, ProxyData, WorkerData};
use ton::{Address, Nanoton, Network, StateInit, WalletContract, WalletVersion};
use zeroize::Zeroizing;

use crate::keys::SigningKey;

pub use purse::{Free, Purse, PurseError};
pub use transfer::{Outcome, Transfer};

/// Money for a message's own way; nearly all of it comes back.
pub(crate) const FOR_THE_WAY: Nanoton = Nanoton(300_000_000);
/// The most of it that may stay on the way, fees of the wallet included.
pub(crate) const STAYS_AT_MOST: Nanoton = Nanoton(50_000_000);
/// What a wallet keeps for its own storage and for fees.
pub(crate) const KEPT: Nanoton = Nanoton(100_000_000);

/// A wallet and its key. Wiped when dropped; cannot be printed.
pub struct Wallet {
    key: SigningKey,
    contract: WalletContract,
}

impl Wallet {
    /// The first wallet V5R1 of this seed.
    pub fn new(seed: &Zeroizing<[u8; 32]>, network: Network) -> Self {
        let key = SigningKey::from_seed(seed);
        let contract = WalletContract::new(WalletVersion::V5R1, network, key.public_key());
        Self { key, contract }
    }

    /// Where it lives.
    pub fn address(&self) -> Address {
        self.contract.address()
    }
}

/// A message that a wallet is to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// To whom.
    pub to: Address,
    /// With how much money.
    pub value: Nanoton,
    /// What it says.
    pub body: ton::cocoon::Body,
    /// What the receiver begins as, if it is not there yet.
    pub init: Option<StateInit>,
    /// What of the money may not come back.
    pub spends: Nanoton,
    /// What it is for, in words for people.
    pub what: &'static str,
}

/// A contract as it stands on the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing<T> {
    /// All its money.
    pub account: Nanoton,
    /// What it remembers; `None` while it is not there.
    pub data: Option<T>,
}

/// A proxy's contract.
pub type ProxyStanding = Standing<ProxyData>;
/// A client's contract.
pub type ClientStanding = Standing<ClientData>;
/// A worker's contract.
pub type WorkerStanding = Standing<WorkerData>;

impl<T> Standing<T> {
    /// One that is not there.
    #[must_use]
    pub const fn absent() -> Self {
        Self { account: Nanoton(0), data: None }
    }
}

/// What so many tokens cost; as much as there can be where that is no amount.
pub(crate) fn cost(tokens: u64, price: Nanoton) -> Nanoton {
    price.checked_mul(tokens).unwrap_or(Nanoton(u64::MAX))
}

/// The sum; as much as there can be where that is no amount.
pub(crate) fn sum(a: Nanoton, b: Nanoton) -> Nanoton {
    a.checked_add(b).unwrap_or(Nanoton(u64::MAX))
}
