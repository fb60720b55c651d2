//! Cocoon's contracts: what they remember, what they are told, and what they say.
//!
//! [`ProxyData`], [`WorkerData`] and [`ClientData`] are their data; [`Body`] is what a message says, in the words of [`Op`].

mod body;
mod data;
mod exit;
mod op;
mod root_operation;
mod signed;

pub use body::{Body, BodyError, ClientPayload, ClientSummary, Note, WorkerPayout};
pub use data::{ClientData, ContractState, ProxyData, WorkerData};
pub use exit::exit_meaning;
pub use op::Op;
pub use root_operation::RootOperation;
pub use signed::{SignedBody, SignedOperation, SignedPayload};
