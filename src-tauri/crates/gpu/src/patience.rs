//! Asking what may never answer. A driver that hangs keeps the thread that asked it, and cannot be told to let go; so each
//! card is asked from a thread of its own, and one that has not come back is not asked again.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::Duration;

/// Questions that are out, by whom they were put to.
#[derive(Debug)]
pub(crate) struct Patience<K, T> {
    waiting: BTreeMap<K, Receiver<T>>,
    stuck: BTreeMap<K, Receiver<T>>,
    longest: Duration,
}

impl<K: Ord + Clone, T: Send + 'static> Patience<K, T> {
    /// Waits at most this long for an answer.
    pub(crate) fn new(longest: Duration) -> Self {
        Self { waiting: BTreeMap::new(), stuck: BTreeMap::new(), longest }
    }

    /// Puts a question, unless the last one to the same is still open.
    pub(crate) fn ask(&mut self, whom: &K, question: impl FnOnce() -> T + Send + 'static) {
        if let Some(open) = self.stuck.get(whom) {
            match open.try_recv() {
                Err(TryRecvError::Empty) => return,
                // It came back late. What it said is old; ask anew.
                Ok(_) | Err(TryRecvError::Disconnected) => {
                    self.stuck.remove(whom);
                }
            }
        }
        let (sender, receiver) = channel();
        let asked = std::thread::Builder::new().name("gpu-reading".to_owned()).spawn(move || {
            // Nobody may be listening any more.
            let _ = sender.send(question());
        });
        if asked.is_ok() {
            self.waiting.insert(whom.clone(), receiver);
        }
    }

    /// The answer; `None`: there is none in time, or the question could not be put.
    pub(crate) fn answer(&mut self, whom: &K) -> Option<T> {
        let open = self.waiting.remove(whom)?;
        match open.recv_timeout(self.longest) {
            Ok(answer) => Some(answer),
            Err(RecvTimeoutError::Timeout) => {
                self.stuck.insert(whom.clone(), open);
                None
            }
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_hangs_is_asked_once_and_again_when_it_is_back() {
        let mut patience: Patience<u8, u32> = Patience::new(Duration::from_millis(50));
        let (let_go, held) = channel::<()>();
        let (is_back, came_back) = channel::<()>();
        patience.ask(&1, move || {
            let _ = held.recv();
            drop(is_back);
            1
        });
        patience.ask(&2, || 2);
        assert_eq!(patience.answer(&1), None);
        assert_eq!(patience.answer(&2), Some(2));
        patience.ask(&1, || unreachable!("the first question is still open"));
        assert_eq!(patience.answer(&1), None);
        drop(let_go);
        let _ = came_back.recv();
        // The answer is sent after the channel above is dropped: give it the time.
        let mut again = None;
        for _ in 0..200 {
            patience.ask(&1, || 3);
            again = patience.answer(&1);
            if again.is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(again, Some(3));
    }

    #[test]
    fn a_question_that_panics_is_no_answer() {
        let mut patience: Patience<u8, u32> = Patience::new(Duration::from_secs(5));
        patience.ask(&1, || panic!("a driver's library gave up"));
        assert_eq!(patience.answer(&1), None);
        patience.ask(&1, || 4);
        assert_eq!(patience.answer(&1), Some(4));
    }
}
