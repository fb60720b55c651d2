//! What a child wrote on its standard output and error: the last of it.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes kept.
const KEPT: usize = 16 * 1024;

/// The last bytes that were written. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<VecDeque<u8>>>);

impl Log {
    /// Reads until the end, keeping the last [`KEPT`] bytes, so that a child that writes a lot neither blocks nor fills memory.
    pub(crate) fn fill(&self, mut from: impl Read) {
        let mut buffer = [0; 4096];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => self.push(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    /// As text; what is no UTF-8 is replaced.
    pub(crate) fn text(&self) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = kept.iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Lets go of everything so far.
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn push(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(bytes);
        let excess = kept.len().saturating_sub(KEPT);
        kept.drain(..excess);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_of_a_long_log_is_kept() {
        let log = Log::default();
        let mut long = vec![b'a'; 10 * KEPT];
        long.extend(b"the end");
        log.fill(long.as_slice());
        let text = log.text();
        assert_eq!(text.len(), KEPT);
        assert!(text.ends_with("athe end"));
        log.forget();
        log.fill(b"more".as_slice());
        assert_eq!(log.text(), "more");
    }
}
