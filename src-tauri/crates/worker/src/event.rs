//! Everything that can happen to the event loop.

use link::frame::Frame;
use link::{LaneId, ToWorker};

use crate::inference::Report;

/// How many events may wait. Whoever produces faster than the loop works is made to wait here.
pub const QUEUE: usize = 64;

/// One thing that happened. May hold generated text.
pub enum Event {
    /// The app said something.
    App(Frame<ToWorker>),
    /// The app is gone, or speaks nonsense.
    AppGone,
    /// The model's threads said something.
    Report(Report),
    /// A proof of work ended: with the nonce, or without one because it was called off or none exists.
    Solved {
        /// Whose.
        lane: LaneId,
        /// The proof.
        nonce: Option<i64>,
    },
}
