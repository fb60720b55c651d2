//! The TL binary language and the types of Cocoon's schema, byte for byte.
//!
//! May not: know what a message means or when it is sent; touch a socket, a file or a clock.
//!
//! Modules are named like the schema's: what the schema calls `worker.connectToProxy` is [`worker::ConnectToProxy`]. A schema
//! type with one constructor is a struct, one with several is an enum, a function is a struct. [`Boxed`] reads and writes a
//! value with its constructor id in front, as the payload of a frame, the `data` of a query or the blob inside a message
//! stands. Bytes that come back from [`Boxed::from_bytes`] were all consumed, and nothing was allocated that the input does
//! not account for.
//!
//! A conditional field is an [`Option`] beside the raw `flags`: it is written if its bit is set (as zero when it is `None`)
//! and left out otherwise, and unknown bits stay as they came.
//!
//! Types that can hold a prompt, an answer or a key have no `Debug`.
//!
//! Walk-through: `codec` has one rule per field type, `schema` turns a declaration into a type, the modules are the
//! declarations. [`combinators`] lists them all, with the schema text whose CRC-32 each id is. [`chrysalis`] is ours and no part of the
//! schema; [`own_combinators`] lists it.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap"))]
#![allow(clippy::unreadable_literal, reason = "an id is searched for in the spelling the schema's tools give it")]

mod codec;
mod error;
#[cfg(test)]
mod golden;
mod schema;

pub mod chrysalis;
pub mod client;
pub mod client_runner;
pub mod http;
pub mod key_manager;
pub mod key_manager_db;
pub mod key_storage_runner;
pub mod proxy;
pub mod proxy_db;
pub mod proxy_runner;
pub mod root_config;
pub mod tcp;
pub mod test;
pub mod ton;
pub mod worker;
pub mod worker_runner;

mod tokens;

pub use codec::{MAX_BYTES, MAX_DEPTH, MAX_ELEMENTS};
pub use error::Error;
pub use schema::Combinator;
pub use tokens::TokensUsed;

/// An object that stands for itself, its constructor id in front.
pub trait Boxed: Sized {
    /// The id and the fields.
    fn to_bytes(&self) -> Vec<u8>;

    /// The value that fills `bytes` to the end. Text is sanitised as the genuine parser does with text from a network: zero
    /// bytes become spaces, text that is not UTF-8 is cut or dropped.
    fn from_bytes(bytes: &[u8]) -> Result<Self, Error>;
}

/// The constructor id that `bytes` begin with, if they are long enough to have one.
pub fn peek_id(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|id| u32::from_le_bytes(*id))
}

/// Every constructor and function of ours, beyond the schema.
pub fn own_combinators() -> Vec<Combinator> {
    chrysalis::combinators()
}

/// Every constructor and function of the schema.
pub fn combinators() -> Vec<Combinator> {
    [
        tcp::combinators(),
        tokens::combinators(),
        http::combinators(),
        worker::combinators(),
        proxy::combinators(),
        client::combinators(),
        worker_runner::combinators(),
        proxy_runner::combinators(),
        client_runner::combinators(),
        key_storage_runner::combinators(),
        root_config::combinators(),
        ton::combinators(),
        proxy_db::combinators(),
        key_manager::combinators(),
        key_manager_db::combinators(),
        test::combinators(),
    ]
    .concat()
}
