//! Which pages of an attention cache belong to somebody, and how many there should be.
//!
//! A card's memory is the owner's desktop's too, so a cache begins small and doubles when sequences need more.

use crate::backend::{PAGE_TOKENS, Pages};
use crate::model::Parameters;

/// Pages that there is memory for at first: a thousand tokens.
const FIRST: usize = 32;

/// Who has which page.
pub(crate) struct PageTable {
    /// Whose page is in use. As long as there is memory for.
    used: Vec<bool>,
    /// Most pages ever.
    most: usize,
}

impl PageTable {
    /// A table that can grow to so many pages.
    pub(crate) fn new(most: usize) -> Self {
        Self { used: vec![false; most.min(FIRST)], most }
    }

    /// Pages that there is memory for.
    pub(crate) fn len(&self) -> usize {
        self.used.len()
    }

    /// The lowest free pages, so that those of one sequence lie side by side for the most part.
    pub(crate) fn take(&mut self, count: usize) -> Option<Pages> {
        let free: Vec<usize> = (0..self.used.len()).filter(|&page| !self.used[page]).take(count).collect();
        if free.len() < count {
            return None;
        }
        for &page in &free {
            self.used[page] = true;
        }
        Some(Pages(free.into_iter().map(|page| page as u32).collect()))
    }

    /// How many pages there should be so that so many can be taken, while there is room for `room` of them (`None`: nobody knows); `None`
    /// if that is more than there may be. For a moment the old cache is there besides, so there must be room for all of the new one.
    pub(crate) fn size_for(&self, count: usize, room: Option<u64>) -> Option<usize> {
        let needed = self.used.iter().filter(|used| **used).count() + count;
        if needed > self.most {
            return None;
        }
        let wished = needed.max(self.used.len() * 2).min(self.most);
        [wished, needed].into_iter().find(|&pages| room.is_none_or(|room| pages as u64 <= room))
    }

    /// There is memory for so many pages now.
    pub(crate) fn grown_to(&mut self, size: usize) {
        self.used.resize(size, false);
    }

    pub(crate) fn give_back(&mut self, pages: Pages) {
        for page in pages.0 {
            if let Some(used) = self.used.get_mut(page as usize) {
                *used = false;
            }
        }
    }
}

/// Bytes of a page's keys, or values, of one layer: 16-bit floats, head by head, of a head token by token.
pub(crate) fn page_bytes(p: &Parameters) -> u64 {
    (PAGE_TOKENS * p.kv_heads * p.head_size * 2) as u64
}

/// Bytes that a cache of so many pages at most begins with.
pub(crate) fn first_bytes(p: &Parameters, most: usize) -> u64 {
    page_bytes(p) * 2 * (p.layers * most.min(FIRST)) as u64
}

/// Pages that lie side by side, as the first one and how many there are.
pub(crate) fn runs(pages: &Pages) -> Vec<(u64, u64)> {
    let mut sorted = pages.0.clone();
    sorted.sort_unstable();
    let runs = sorted.chunk_by(|a, b| a + 1 == *b);
    runs.filter_map(|run| Some((u64::from(*run.first()?), run.len() as u64))).collect()
}

/// Pages of all layers that there is room for in so many bytes; `None` if that is not known.
pub(crate) fn pages_in(room: Option<u64>, p: &Parameters) -> Option<u64> {
    room.map(|room| room / (page_bytes(p) * 2 * p.layers as u64).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_grows_by_what_there_is_room_for_or_not_at_all() {
        let mut table = PageTable::new(100);
        let taken = table.take(30).map(|pages| pages.0.len());
        assert_eq!((taken, table.len()), (Some(30), 32));
        for (room, size) in [(None, Some(64)), (Some(64), Some(64)), (Some(63), Some(40)), (Some(39), None)] {
            assert_eq!(table.size_for(10, room), size, "{room:?}");
        }
        assert_eq!(table.size_for(71, None), None, "more than there may be");
    }
}
