//! How much of a card's memory may be taken: what its driver grants, without what the desktop is left.
//!
//! Beyond its budget a driver does not refuse: it moves weights to the machine's memory, and every token waits for them. So it is asked
//! before anything large is brought to a card, and what does not fit is refused with both numbers.

use crate::adapter::AdapterKind;
use crate::fault::DeviceFault;

/// A card's own memory, in bytes. What a driver does not tell is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// All of it.
    pub(crate) total: u64,
    /// What this process may have of it now, what it has included.
    pub(crate) budget: Option<u64>,
    /// What this process has of it.
    pub(crate) used: u64,
}

/// Least that is left to the desktop on a card with memory of its own.
const LEAST_LEFT: u64 = 512 << 20;

/// What is left to the desktop and its programs.
///
/// A card of its own: a tenth, at least 512 MB. Where the card lives on the machine's memory, a quarter of what it may have: the same
/// bytes are everything else's too.
pub(crate) fn left(total: u64, kind: AdapterKind) -> u64 {
    match kind {
        AdapterKind::Discrete | AdapterKind::Virtual | AdapterKind::Other => (total / 10).max(LEAST_LEFT),
        AdapterKind::Integrated | AdapterKind::Software => total / 4,
    }
}

/// Bytes that may still be taken. Without a budget the whole card counts as ours, but for what the desktop is left.
pub(crate) fn room(memory: &Memory, kind: AdapterKind) -> u64 {
    let budget = memory.budget.unwrap_or(memory.total).min(memory.total);
    budget.saturating_sub(memory.used).saturating_sub(left(memory.total, kind))
}

/// Whether so many bytes may be taken where there is room for `room`, before any of them is. Where nobody knows, it is tried.
pub(crate) fn admit(needed: u64, room: Option<u64>) -> Result<(), DeviceFault> {
    match room.filter(|&room| needed > room) {
        Some(limit) => {
            let what = "the model, beside what the desktop is left";
            Err(DeviceFault::OutOfMemory { what, wanted: Some(needed), limit: Some(limit) })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const MIB: u64 = 1 << 20;

    #[test]
    fn a_tenth_of_a_card_or_half_a_gigabyte_stays_with_the_desktop() {
        assert_eq!(left(24 * GIB, AdapterKind::Discrete), 24 * GIB / 10);
        assert_eq!(left(4 * GIB, AdapterKind::Discrete), 512 * MIB);
        assert_eq!(left(16 * GIB, AdapterKind::Integrated), 4 * GIB);
        assert_eq!(left(0, AdapterKind::Software), 0);
    }

    #[test]
    fn what_may_be_taken_is_the_budget_without_what_is_taken_and_what_is_left() {
        let card = Memory { total: 8 * GIB, budget: Some(6 * GIB), used: 2 * GIB };
        let left = 8 * GIB / 10;
        assert_eq!(room(&card, AdapterKind::Discrete), 4 * GIB - left);
        // A game took the rest.
        assert_eq!(room(&Memory { budget: Some(GIB), ..card }, AdapterKind::Discrete), 0);
        // A driver that grants more than there is.
        assert_eq!(room(&Memory { budget: Some(u64::MAX), ..card }, AdapterKind::Discrete), 6 * GIB - left);
        // One that does not say.
        assert_eq!(room(&Memory { budget: None, ..card }, AdapterKind::Discrete), 6 * GIB - left);
        let nothing = Memory { total: 0, budget: None, used: 0 };
        assert_eq!(room(&nothing, AdapterKind::Discrete), 0);
    }
}
