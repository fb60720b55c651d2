//! The little that the backend needs of a driver: memory, and kernels started one after another.
//!
//! Two implementations: NVIDIA's driver ([`super::nvidia`]), and, in tests, a card made of the processor.

use std::sync::Arc;
use std::time::Duration;

use crate::adapter::Adapter;
use crate::device::Memory;
use crate::fault::DeviceFault;

/// Buffers that a kernel is given at most, by the numbers of the plan; the first is not used.
pub(crate) const BUFFERS: usize = 10;

/// What every kernel is given: `Arguments` of `kernels/numbers.h`, field by field.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Arguments {
    pub(crate) numbers: [u32; 8],
    pub(crate) head: u32,
    pub(crate) heads: u32,
    pub(crate) kv_heads: u32,
    pub(crate) turned: u32,
    pub(crate) used: u32,
    pub(crate) shared_by: u32,
    pub(crate) flags: u32,
    pub(crate) count: u32,
    /// Addresses on the card.
    pub(crate) buffers: [u64; BUFFERS],
}

/// How much of a kernel is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) across: u32,
    pub(crate) down: u32,
    /// Threads of a block, whole warps.
    pub(crate) threads: u32,
}

/// A card. Orders are done in the order in which they are given; only [`Driver::read`] and [`Driver::wait`] wait for them.
///
/// Addresses are those of [`Driver::allocate`], with less than its bytes added.
pub(crate) trait Driver: Send + Sync {
    fn about(&self) -> &Adapter;

    /// Memory, with anything in it; aligned to 256 bytes.
    fn allocate(&self, what: &'static str, bytes: u64) -> Result<u64, DeviceFault>;

    /// Gives memory back once all orders that were given are done.
    fn free(&self, at: u64);

    fn write(&self, at: u64, bytes: &[u8]) -> Result<(), DeviceFault>;

    fn read(&self, at: u64, bytes: &mut [u8], deadline: Duration) -> Result<(), DeviceFault>;

    fn copy(&self, from: u64, to: u64, bytes: u64) -> Result<(), DeviceFault>;

    /// Overwrites with zeros.
    fn clear(&self, at: u64, bytes: u64) -> Result<(), DeviceFault>;

    /// Starts a kernel of `kernels.cu`.
    fn launch(&self, kernel: &'static str, grid: Grid, arguments: &Arguments) -> Result<(), DeviceFault>;

    /// Waits until all orders are done, but not for ever.
    fn wait(&self, deadline: Duration) -> Result<(), DeviceFault>;
}

/// After this long without an answer a card counts as hung. Windows resets a card after two seconds by itself.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Memory of a card that goes back when its last handle does, overwritten: prompts may be in it.
pub(crate) struct Allocation {
    driver: Arc<dyn Driver>,
    at: u64,
    bytes: u64,
}

impl Allocation {
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        // A card that takes no more orders keeps nothing either: its driver has ended all it had.
        let _ = self.driver.clear(self.at, self.bytes);
        self.driver.free(self.at);
    }
}

/// A handle of a buffer.
pub(crate) type Buffer = Arc<Allocation>;

/// A driver as a keeper of buffers.
#[derive(Clone)]
pub(crate) struct Card(pub(crate) Arc<dyn Driver>);

impl Memory for Card {
    type Buffer = Buffer;

    /// Kernels see all of a buffer: addresses have 64 bits. Numbers of words in it have 32.
    fn most_bytes(&self) -> u64 {
        self.0.about().buffer_bytes.min(u64::from(u32::MAX))
    }

    fn allocate(&self, what: &'static str, bytes: u64) -> Result<Buffer, DeviceFault> {
        let bytes = bytes.max(16).checked_next_multiple_of(16).unwrap_or(u64::MAX);
        let limit = self.0.about().buffer_bytes;
        if bytes > limit {
            return Err(DeviceFault::OutOfMemory { what, wanted: Some(bytes), limit: Some(limit) });
        }
        let buffer = Arc::new(Allocation { driver: Arc::clone(&self.0), at: self.0.allocate(what, bytes)?, bytes });
        self.0.clear(buffer.at, bytes)?;
        Ok(buffer)
    }

    fn write(&self, buffer: &Buffer, at: u64, bytes: &[u8]) -> Result<(), DeviceFault> {
        if at.checked_add(bytes.len() as u64).is_none_or(|end| end > buffer.bytes) {
            return Err(DeviceFault::Refused { reason: "bytes behind the end of a buffer".to_owned() });
        }
        self.0.write(buffer.at + at, bytes)
    }

    fn settle(&self) -> Result<(), DeviceFault> {
        self.0.wait(DEADLINE)
    }
}

impl Card {
    /// Reads from the beginning of a buffer, or from so many bytes behind it.
    pub(crate) fn read(&self, buffer: &Buffer, at: u64, bytes: &mut [u8], wait: Duration) -> Result<(), DeviceFault> {
        if at.checked_add(bytes.len() as u64).is_none_or(|end| end > buffer.bytes) {
            return Err(DeviceFault::Refused { reason: "bytes behind the end of a buffer".to_owned() });
        }
        self.0.read(buffer.at + at, bytes, wait)
    }
}
