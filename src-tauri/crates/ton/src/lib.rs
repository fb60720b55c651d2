//! TON's data as far as Cocoon and an owner's wallet need it: amounts, addresses, cells, bags of cells, dictionaries, messages, wallet
//! contracts, Cocoon's contracts and what they are told, and a network's parameters.
//!
//! What lives here: reading and building. What may not: keys, signatures, sockets, files, a clock.
//!
//! Walk-through: a [`Cell`] is at most 1023 bits and 4 references to other cells; its representation hash names it. Cells travel as
//! a bag, see [`boc`]. A contract's [`Address`] is the hash of its [`StateInit`]: its code and the data it begins with. What code and
//! which parameters, a [`RootConfig`] says. A transfer is an [`InternalMessage`] (with a [`cocoon::Body`] or a [`comment`]) that a
//! [`WalletContract`] is told to send by an [`ExternalMessage`].

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap"))]

pub mod boc;
pub mod cocoon;
pub mod dictionary;

mod address;
mod cell;
mod comment;
mod message;
mod nanoton;
mod params;
mod root_config;
mod state_init;
mod wallet_contract;

pub use address::{Address, AddressError, AddressText};
pub use cell::{Cell, CellBuilder, CellError, CellSlice, MAX_BITS, MAX_DEPTH, MAX_REFS};
pub use comment::{MAX_COMMENT, comment, read_comment};
pub use message::{ExternalMessage, InternalMessage, Message, SendMode, Stamp};
pub use nanoton::{AmountError, Nanoton, UNIT};
pub use params::{NEWEST_STRUCT, Params, ParamsError};
pub use root_config::{Code, CodeError, RegisteredProxy, RootConfig, RootConfigError, RootDataError};
pub use state_init::StateInit;
pub use wallet_contract::{
    Network, Outgoing, SignedTransfer, Transfer, TransferError, Unsigned, WalletContract, WalletData, WalletVersion,
};
