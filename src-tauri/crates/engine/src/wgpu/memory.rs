//! What drivers say of a card's memory; what follows from it is [`crate::device::budget`]'s.

#[cfg(windows)]
mod windows;

mod vulkan;

use crate::device::budget::Memory;

/// What a driver says of a card's memory now; `None`: nothing, or not how much of it is taken.
///
/// `own` is what the library counts as taken by us, for drivers that don't; `None` if it does not count either.
pub(super) fn ask(adapter: &wgpu::Adapter, own: Option<u64>) -> Option<Memory> {
    #[cfg(windows)]
    if let Some(memory) = windows::ask(adapter) {
        return Some(memory);
    }
    vulkan::ask(adapter, own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::budget::room;

    const MIB: u64 = 1 << 20;

    #[test]
    fn every_adapter_here_says_how_much_memory_it_has() {
        for (adapter, about) in super::super::gpu::enumerate() {
            let memory = ask(&adapter, Some(0)).unwrap();
            assert!(memory.total > 64 * MIB, "{}: {memory:?}", about.describe());
            assert!(memory.budget.is_none_or(|budget| budget > 0), "{memory:?}");
            let with = ask(&adapter, Some(5 * MIB)).unwrap();
            assert!(memory.budget.is_some() || with.used == 5 * MIB, "{with:?}");
            // What nobody has counted is not taken for nothing.
            assert_eq!(ask(&adapter, None).is_some(), memory.budget.is_some());
            println!("{}: {memory:?}, room for {}", about.describe(), room(&memory, about.kind));
        }
    }
}
