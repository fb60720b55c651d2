//! How many bytes went to and came from each proxy, since the node was started. Contents are none of its business: it is given lengths.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of one connection or of several to the same place.
#[derive(Debug, Clone, Default)]
pub(super) struct Counter(Arc<(AtomicU64, AtomicU64)>);

impl Counter {
    /// So many bytes left.
    pub(super) fn sent(&self, length: usize) {
        self.0.0.fetch_add(length as u64, Ordering::Relaxed);
    }

    /// So many came.
    pub(super) fn received(&self, length: usize) {
        self.0.1.fetch_add(length as u64, Ordering::Relaxed);
    }
}

/// What went to and from a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Where.
    pub endpoint: SocketAddrV4,
    /// Bytes that went there.
    pub sent: u64,
    /// Bytes that came from there.
    pub received: u64,
}

/// Counters by place. A place that was dialled is in it, also if nothing moved.
#[derive(Debug, Clone, Default)]
pub struct Traffic(Arc<Mutex<BTreeMap<SocketAddrV4, Counter>>>);

impl Traffic {
    /// The counter of a place.
    pub(super) fn of(&self, endpoint: SocketAddrV4) -> Counter {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(endpoint).or_default().clone()
    }

    /// All of them as they stand.
    pub fn moved(&self) -> Vec<Moved> {
        let counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counters
            .iter()
            .map(|(endpoint, counter)| Moved {
                endpoint: *endpoint,
                sent: counter.0.0.load(Ordering::Relaxed),
                received: counter.0.1.load(Ordering::Relaxed),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_by_place_over_all_connections_to_it() {
        let traffic = Traffic::default();
        let (one, two) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.2:2".parse().unwrap());
        traffic.of(one).sent(5);
        traffic.of(one).received(7);
        traffic.of(one).sent(6);
        traffic.of(two);
        let moved = |endpoint, sent, received| Moved { endpoint, sent, received };
        assert_eq!(traffic.moved(), [moved(one, 11, 7), moved(two, 0, 0)]);
    }
}
