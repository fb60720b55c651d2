//! Credit: how a slow reader of a lane stops its sender, so that neither process keeps more than a window of it.
//!
//! Both ends of one direction start with [`WINDOW`]. The sender spends credit as it sends; the receiver grants it back as the
//! bytes are *taken*, that is, handed on to where they belong (the TCP socket in the app, TLS in the worker). Nothing here does
//! I/O: frames are made by [`crate::frame`].

use std::collections::VecDeque;

use crate::frame::MAX_DATA;

/// Bytes of one direction of a lane that may be under way: sent but not yet taken.
pub const WINDOW: u32 = 256 * 1024;

/// The receiver grants credit back in lumps of at least this, so that a lane of small records does not double the frames.
const GRANT_FROM: u32 = WINDOW / 4;

/// The other end broke the rules of credit; the conversation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FlowError {
    /// The sender sent more than it had credit for.
    #[error("a lane received {excess} bytes more than its window")]
    Overrun {
        /// Bytes too many.
        excess: u32,
    },
    /// The receiver granted more than was under way.
    #[error("a lane was granted {excess} bytes more than it had sent")]
    Overgrant {
        /// Bytes too many.
        excess: u32,
    },
}

/// The sending end of one direction of a lane: a queue and the credit to empty it.
pub struct LaneSender {
    queue: VecDeque<u8>,
    credit: u32,
}

impl Default for LaneSender {
    fn default() -> Self {
        Self::new()
    }
}

impl LaneSender {
    /// An empty queue and a whole window of credit.
    pub fn new() -> Self {
        Self { queue: VecDeque::new(), credit: WINDOW }
    }

    /// Queues bytes. Never refuses: what is produced must be kept. Whoever can stop producing asks [`room`](Self::room) first
    /// and produces nothing at zero; then the queue is at most a window plus one push.
    pub fn push(&mut self, bytes: &[u8]) {
        self.queue.extend(bytes);
    }

    /// How many more bytes the producer should queue; zero: wait until credit arrives.
    pub fn room(&self) -> usize {
        (WINDOW as usize).saturating_sub(self.queue.len())
    }

    /// Bytes waiting for credit.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Bytes that may be sent now if there were any.
    pub fn credit(&self) -> u32 {
        self.credit
    }

    /// The next piece that credit allows, 1 to [`MAX_DATA`] bytes; its credit is spent.
    pub fn next_chunk(&mut self) -> Option<Vec<u8>> {
        let length = self.queue.len().min(self.credit as usize).min(MAX_DATA);
        if length == 0 {
            return None;
        }
        self.credit -= length as u32;
        let chunk = self.queue.drain(..length).collect();
        if self.queue.is_empty() {
            // A burst's memory is not kept for a quiet lane.
            self.queue.shrink_to(MAX_DATA);
        }
        Some(chunk)
    }

    /// The receiver took `bytes`.
    pub fn granted(&mut self, bytes: u32) -> Result<(), FlowError> {
        let under_way = WINDOW - self.credit;
        if bytes > under_way {
            return Err(FlowError::Overgrant { excess: bytes - under_way });
        }
        self.credit += bytes;
        Ok(())
    }
}

/// The receiving end of one direction of a lane: counts what arrived and what was taken.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct LaneReceiver {
    /// Arrived and not granted back.
    owed: u32,
    /// Taken and not granted back, part of `owed`.
    taken: u32,
}

impl LaneReceiver {
    /// Nothing has arrived.
    pub fn new() -> Self {
        Self::default()
    }

    /// `bytes` arrived; `Err` when the sender had no credit for them.
    pub fn arrived(&mut self, bytes: usize) -> Result<(), FlowError> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        match self.owed.checked_add(bytes) {
            Some(owed) if owed <= WINDOW => {
                self.owed = owed;
                Ok(())
            }
            sum => Err(FlowError::Overrun { excess: sum.unwrap_or(u32::MAX) - WINDOW }),
        }
    }

    /// `bytes` of what arrived were handed on. `Some`: grant this much to the sender now.
    pub fn taken(&mut self, bytes: usize) -> Option<u32> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        // More than arrived cannot be taken; granting it would be an overgrant at the other end.
        self.taken = self.taken.saturating_add(bytes).min(self.owed);
        if self.taken < GRANT_FROM {
            return None;
        }
        let grant = self.taken;
        self.owed -= grant;
        self.taken = 0;
        Some(grant)
    }

    /// Bytes that arrived and were not yet taken.
    pub fn waiting(&self) -> u32 {
        self.owed - self.taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_reader_that_never_takes_stops_the_sender_at_one_window() {
        let mut sender = LaneSender::new();
        sender.push(&vec![1; WINDOW as usize * 3]);
        let mut sent = 0;
        while let Some(chunk) = sender.next_chunk() {
            assert!(chunk.len() <= MAX_DATA);
            sent += chunk.len();
        }
        assert_eq!(sent, WINDOW as usize);
        assert_eq!(sender.credit(), 0);
        assert_eq!(sender.room(), 0);
        sender.granted(10).unwrap();
        assert_eq!(sender.next_chunk().unwrap().len(), 10);
        assert_eq!(sender.next_chunk(), None);
    }

    #[test]
    fn credit_for_what_was_never_sent_is_refused() {
        let mut sender = LaneSender::new();
        assert_eq!(sender.granted(1), Err(FlowError::Overgrant { excess: 1 }));
        sender.push(&[0; 5]);
        sender.next_chunk();
        assert_eq!(sender.granted(6), Err(FlowError::Overgrant { excess: 1 }));
        sender.granted(5).unwrap();
        assert_eq!(sender.credit(), WINDOW);
    }

    #[test]
    fn bytes_beyond_the_window_are_refused() {
        let mut receiver = LaneReceiver::new();
        receiver.arrived(WINDOW as usize).unwrap();
        assert_eq!(receiver.arrived(1), Err(FlowError::Overrun { excess: 1 }));
        assert!(receiver.arrived(usize::MAX).is_err());
    }

    #[test]
    fn more_cannot_be_taken_than_arrived() {
        let mut receiver = LaneReceiver::new();
        receiver.arrived(GRANT_FROM as usize).unwrap();
        assert_eq!(receiver.taken(usize::MAX), Some(GRANT_FROM));
        assert_eq!(receiver.waiting(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Any order of queueing, sending, taking: every byte arrives in order, never more than a window is under way, no end
        /// ever sees a broken rule, and a reader that takes everything never leaves the sender stuck.
        #[test]
        fn credit_is_neither_lost_nor_invented(steps in proptest::collection::vec((0u8..3, 1usize..100_000), 1..200)) {
            let mut sender = LaneSender::new();
            let mut receiver = LaneReceiver::new();
            let mut pushed = 0u64;
            let mut arrived = 0u64;
            let mut untaken = 0usize;
            for (kind, amount) in steps {
                match kind {
                    0 => {
                        let amount = amount.min(sender.room());
                        let bytes: Vec<u8> = (0..amount as u64).map(|i| (pushed + i) as u8).collect();
                        pushed += amount as u64;
                        sender.push(&bytes);
                    }
                    1 => if let Some(chunk) = sender.next_chunk() {
                        receiver.arrived(chunk.len()).unwrap();
                        for byte in &chunk {
                            prop_assert_eq!(*byte, arrived as u8);
                            arrived += 1;
                        }
                        untaken += chunk.len();
                    },
                    _ => {
                        let amount = amount.min(untaken);
                        untaken -= amount;
                        if let Some(grant) = receiver.taken(amount) {
                            sender.granted(grant).unwrap();
                        }
                    }
                }
                prop_assert!(untaken <= WINDOW as usize);
                prop_assert!(sender.queued() <= WINDOW as usize);
                prop_assert_eq!(sender.credit() + receiver.owed, WINDOW);
                prop_assert_eq!(receiver.waiting() as usize, untaken);
            }
            while arrived < pushed {
                if let Some(grant) = receiver.taken(untaken) {
                    sender.granted(grant).unwrap();
                }
                let chunk = sender.next_chunk();
                prop_assert!(chunk.is_some(), "stuck with {} of {}", arrived, pushed);
                let chunk = chunk.unwrap();
                receiver.arrived(chunk.len()).unwrap();
                arrived += chunk.len() as u64;
                untaken = chunk.len();
            }
        }
    }
}
