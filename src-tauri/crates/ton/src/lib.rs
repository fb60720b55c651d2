//! TON's data as far as Cocoon needs it: amounts, addresses, cells, bags of cells, contract addresses, and a network's parameters.
//!
//! What lives here: reading and building. What may not: keys, signatures, sockets, files, a clock.
//!
//! Walk-through: a [`Cell`] is at most 1023 bits and 4 references to other cells; its representation hash names it. Cells travel as
//! a bag, see [`boc`]. A contract's [`Address`] is the hash of its [`StateInit`]: its code and the data it begins with. What code and
//! which parameters, a [`RootConfig`] says.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap"))]

pub mod boc;

mod address;
mod cell;
mod nanoton;
mod root_config;
mod state_init;

pub use address::{Address, AddressError, AddressText};
pub use cell::{Cell, CellBuilder, CellError, CellSlice, MAX_BITS, MAX_DEPTH, MAX_REFS};
pub use nanoton::{Nanoton, UNIT};
pub use root_config::{Code, CodeError, RegisteredProxy, RootConfig, RootConfigError};
pub use state_init::StateInit;
