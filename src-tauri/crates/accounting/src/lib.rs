//! Jobs, token usage, prices and signed payments: the arithmetic of being paid.
//! May not: touch a socket, a file or a clock; know SQL, TL or the window.
//!
//! Walk-through: an engine counts a [`TokenUsage`]; with the job's coefficient and the network's [`Prices`] it becomes an
//! [`AdjustedUsage`], whose total is what is charged and credited. A proxy signs the running total of a worker or client:
//! [`signed_payment`]. A [`JobRecord`] is what is remembered of a job; it holds counts, never text. A [`Transfer`] is what is remembered
//! of money that is on its way; [`statement`] makes tables of what came of it.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap"))]

pub mod practice;
pub mod signed_payment;
pub mod statement;

mod job;
mod model_name;
mod transfer;
mod usage;

pub use job::{Endpoint, JobId, JobOutcome, JobRecord};
pub use model_name::{ModelName, ModelNameError};
pub use transfer::{Errand, Forecast, Outcome, Outgoing, Receipt, SignedMessage, Stage, Transfer, TransferId};
pub use usage::{AdjustedUsage, Prices, TokenUsage, adjusted};
