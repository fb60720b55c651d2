//! A TON chain as the product needs it: accounts, get-methods, sending, history, and what a message would do.
//!
//! What lives here: one trait, [`Chain`], its types, and the client of the toncenter v2 HTTP API ([`toncenter`]). What may not: keys
//! and signatures (crate `wallet`), what is owed to whom (crate `node`), a chain of our own (crate `network`).
//!
//! Walk-through. Whoever asks holds a `dyn Chain`. Data comes in [`ton`]'s cells and addresses; the cells of the virtual machine stay
//! behind [`cells`]. Whatever an endpoint says is checked as far as one party's word can be: a transaction is read from its own bag of
//! cells, whose hash must be the one that was asked for ([`Transaction::from_boc`]); get-methods run here on the fetched state
//! ([`getter`]); what a message would do is found out here with the chain's own prices ([`emulation`]). An endpoint can still show an
//! account that never was: for what matters, [`Chain::agreed_account`] wants a second opinion.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap"))]

pub mod cells;
pub mod emulation;
pub mod follow;
pub mod getter;
pub mod machine;
pub mod toncenter;

mod account;
mod config;
mod error;
mod stack;
mod transaction;

use std::future::Future;
use std::pin::Pin;

use ton::{Address, Cell, Network};

pub use account::{AccountState, AccountStatus, Head, TransactionId};
pub use config::{ChainConfig, ConfigError, PARAMETERS};
pub use emulation::{Hop, Trace, Unresolved, Unseen};
pub use error::ChainError;
pub use getter::GetMethodResult;
pub use stack::StackValue;
pub use transaction::{ActionPhase, ComputePhase, Message, MessageKind, SkipReason, Transaction, TransactionError};

/// An answer that is on its way.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ChainError>> + Send + 'a>>;

/// Most transactions that are asked for at once; what is above is cut.
pub const MOST_TRANSACTIONS: u32 = 100;

/// A chain, wherever it is. Every answer may fail, be late by some blocks, and be given again; none of them waits for ever.
pub trait Chain: Send + Sync {
    /// The newest block that is known.
    fn head(&self) -> Answer<'_, Head>;

    /// An account as one endpoint shows it. One that never was is [`AccountStatus::Uninitialised`] with nothing in it.
    fn account(&self, address: Address) -> Answer<'_, AccountState>;

    /// An account as as many endpoints show it as the chain's settings ask for before money moves. [`ChainError::Disagreement`] if
    /// they differ.
    fn agreed_account(&self, address: Address) -> Answer<'_, AccountState>;

    /// Transactions of an account, newest first. `from` is the newest of them, its own included; `None` begins with the last one.
    /// At most [`MOST_TRANSACTIONS`]; fewer than `limit` only where the account's history ends or the endpoint gives no more at once.
    fn transactions(&self, address: Address, from: Option<TransactionId>, limit: u32) -> Answer<'_, Vec<Transaction>>;

    /// The chain's current parameters that executing needs.
    fn config(&self) -> Answer<'_, ChainConfig>;

    /// The id of the network that the endpoints are of, as many of them as must agree and all that answer: -239 for the main network,
    /// -3 for the test network. [`ChainError::Disagreement`] if they are of several.
    fn network_id(&self) -> Answer<'_, i32> {
        Box::pin(async move { Ok(self.config().await?.network_id()) })
    }

    /// Nothing, if the chain is of this network; [`ChainError::OtherNetwork`] if not. Older wallets have one address on both networks,
    /// so what is signed for the one may be taken by the other: to be asked before anything is.
    fn expect_network(&self, network: Network) -> Answer<'_, ()> {
        Box::pin(async move {
            let found = self.network_id().await?;
            if found == network.global_id() { Ok(()) } else { Err(ChainError::OtherNetwork { found, wanted: network }) }
        })
    }

    /// Hands in an external message. `Ok` means that an endpoint took it, not that it was executed. The same message may be handed in
    /// as often as one likes. [`ChainError::Refused`] means that nobody took it, [`ChainError::Uncertain`] that somebody may have.
    fn send<'a>(&'a self, message: &'a Cell) -> Answer<'a, ()>;

    /// Runs a get-method here, on the account as [`Self::account`] gives it.
    fn get_method<'a>(
        &'a self,
        address: Address,
        method: &'a str,
        arguments: &'a [StackValue],
    ) -> Answer<'a, GetMethodResult> {
        Box::pin(async move {
            let account = self.account(address).await?;
            let config = self.config().await?;
            getter::run(&account, &config, account.seen_at, method, arguments)
        })
    }

    /// Runs an external message and all that follows from it here, on accounts as they are now and with the chain's own prices.
    /// Nothing is sent.
    fn emulate<'a>(&'a self, message: &'a Cell) -> Answer<'a, Trace> {
        Box::pin(emulation::run(self, message))
    }

    /// The same with a message whose signature is still missing: any 64 bytes in its place.
    fn emulate_unsigned<'a>(&'a self, message: &'a Cell) -> Answer<'a, Trace> {
        Box::pin(emulation::run_unsigned(self, message))
    }
}
