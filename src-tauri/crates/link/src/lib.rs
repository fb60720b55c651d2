//! The pipe between the desktop half and the boxed worker: every sentence the two say, and the byte lanes beside them.
//!
//! May not: know what either side does with a message; open, spawn or block. Both programs ship together, so the pipe has no
//! compatibility story: the first message each way names the build, and any difference ends the conversation.
//!
//! A *lane* carries the bytes of one TCP connection to a proxy, ciphertext from the first byte. Each direction of a lane has
//! credit: a sender may have at most [`flow::WINDOW`] bytes under way that the receiver has not yet taken.
//!
//! Walk-through: [`message`] holds the two closed enums, [`proof`] what they say about evidence, [`frame`] turns them and lane bytes into frames and back, [`flow`]
//! counts credit, [`greeting`] judges the first message.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap"))]

pub mod flow;
pub mod frame;
pub mod greeting;
pub mod message;
pub mod proof;

pub use greeting::BUILD;
pub use message::{FromWorker, LaneId, ToWorker};
