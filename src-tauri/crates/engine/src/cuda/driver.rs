//! The little that the backend needs of a driver: memory, and kernels started one after another.
//!
//! Two implementations: NVIDIA's driver ([`super::nvidia`]), and, in tests, a card made of the processor. A driver takes any address,
//! so what it does with one is `unsafe`; whoever computes has a [`Card`], which knows how large its buffers are.

#![expect(unsafe_code, reason = "addresses of a card are numbers that anybody could make up")]

use std::sync::Arc;
use std::time::Duration;

use crate::adapter::Adapter;
use crate::device::Memory;
use crate::device::budget;
use crate::device::share::Extent;
use crate::fault::DeviceFault;

use super::launch::Shape;

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

    /// Bytes of the card's memory that nobody has, and all of them; `None` where the driver does not say.
    fn memory(&self) -> Option<(u64, u64)>;

    /// Memory, with anything in it; aligned to 256 bytes.
    fn allocate(&self, what: &'static str, bytes: u64) -> Result<u64, DeviceFault>;

    /// Gives memory back once all orders that were given are done.
    ///
    /// # Safety
    ///
    /// The address is one of [`Driver::allocate`] that was not given back yet; nobody uses it from now on.
    unsafe fn free(&self, at: u64);

    /// Brings bytes to the card; they are needed no more when this returns.
    ///
    /// # Safety
    ///
    /// So many bytes behind the address belong to one allocation.
    unsafe fn write(&self, at: u64, bytes: &[u8]) -> Result<(), DeviceFault>;

    /// Waits, and reads.
    ///
    /// # Safety
    ///
    /// As for [`Driver::write`].
    unsafe fn read(&self, at: u64, bytes: &mut [u8], deadline: Duration) -> Result<(), DeviceFault>;

    /// Copies from one place on the card to another.
    ///
    /// # Safety
    ///
    /// As for [`Driver::write`], of both; they do not overlap, and stay until it is done.
    unsafe fn copy(&self, from: u64, to: u64, bytes: u64) -> Result<(), DeviceFault>;

    /// Overwrites with zeros.
    ///
    /// # Safety
    ///
    /// As for [`Driver::write`]; the allocation stays until it is done.
    unsafe fn clear(&self, at: u64, bytes: u64) -> Result<(), DeviceFault>;

    /// Starts a kernel of `kernels.cu`.
    ///
    /// # Safety
    ///
    /// The arguments' addresses are of allocations that stay until it is done, each as large as the kernel counts on with these numbers.
    unsafe fn launch(&self, kernel: &'static str, grid: Grid, arguments: &Arguments) -> Result<(), DeviceFault>;

    /// Waits until all orders are done, but not for ever.
    fn wait(&self, deadline: Duration) -> Result<(), DeviceFault>;

    /// The card's own number, whatever place it has; `None` where the driver does not say.
    fn uuid(&self) -> Option<[u8; 16]>;

    /// Has the card note the time at this place among its orders.
    fn note(&self, moment: Moment) -> Result<(), DeviceFault>;

    /// Time from the beginning to the end that were noted last, by the card's clock. Both have been reached: it was waited for them.
    fn noted(&self) -> Result<Duration, DeviceFault>;
}

/// Which end of what is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The first.
    Begin,
    /// The last.
    End,
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
        // SAFETY: it is the allocation's own address and size, and the memory is given back after all orders are done, this one included.
        let _ = unsafe { self.driver.clear(self.at, self.bytes) };
        // SAFETY: this was the last handle.
        unsafe { self.driver.free(self.at) };
    }
}

/// A handle of a buffer.
pub(crate) type Buffer = Arc<Allocation>;

impl Extent for Buffer {
    fn extent(&self) -> u64 {
        self.bytes
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(self, other)
    }
}

/// A driver as a keeper of buffers, and how kernels are cut for it.
#[derive(Clone)]
pub(crate) struct Card {
    driver: Arc<dyn Driver>,
    shape: Shape,
}

impl Memory for Card {
    type Buffer = Buffer;

    /// Kernels see all of a buffer: addresses have 64 bits. Numbers of words in it have 32.
    fn most_bytes(&self) -> u64 {
        self.about().buffer_bytes.min(u64::from(u32::MAX))
    }

    fn allocate(&self, what: &'static str, bytes: u64) -> Result<Buffer, DeviceFault> {
        let bytes = bytes.max(16).checked_next_multiple_of(16).unwrap_or(u64::MAX);
        let limit = self.about().buffer_bytes;
        if bytes > limit {
            return Err(DeviceFault::OutOfMemory { what, wanted: Some(bytes), limit: Some(limit) });
        }
        let at = self.driver.allocate(what, bytes)?;
        let buffer = Arc::new(Allocation { driver: Arc::clone(&self.driver), at, bytes });
        self.clear(&buffer, 0, bytes)?;
        Ok(buffer)
    }

    fn write(&self, buffer: &Buffer, at: u64, bytes: &[u8]) -> Result<(), DeviceFault> {
        let at = place(buffer, at, bytes.len() as u64)?;
        // SAFETY: the place is within the buffer.
        unsafe { self.driver.write(at, bytes) }
    }

    fn settle(&self) -> Result<(), DeviceFault> {
        self.wait(DEADLINE)
    }
}

/// The address of so many bytes of a buffer, `at` bytes behind its beginning.
fn place(buffer: &Allocation, at: u64, bytes: u64) -> Result<u64, DeviceFault> {
    if at.checked_add(bytes).is_none_or(|end| end > buffer.bytes) {
        return Err(DeviceFault::Refused { reason: "bytes behind the end of a buffer".to_owned() });
    }
    Ok(buffer.at + at)
}

impl Card {
    pub(crate) fn new(driver: Arc<dyn Driver>) -> Self {
        Self { driver, shape: Shape::default() }
    }

    /// The same card with kernels cut in this way from now on.
    pub(crate) fn cut(self, shape: Shape) -> Self {
        Self { shape, ..self }
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    pub(crate) fn uuid(&self) -> Option<[u8; 16]> {
        self.driver.uuid()
    }

    /// How long what is ordered takes the card, up to where it is waited for.
    pub(crate) fn timed<T>(
        &self,
        deadline: Duration,
        orders: impl FnOnce() -> Result<T, DeviceFault>,
    ) -> Result<Duration, DeviceFault> {
        self.driver.note(Moment::Begin)?;
        orders()?;
        self.driver.note(Moment::End)?;
        self.driver.wait(deadline)?;
        self.driver.noted()
    }

    pub(crate) fn about(&self) -> &Adapter {
        self.driver.about()
    }

    /// Bytes that may still be taken of its memory; `None` where the driver does not say, and only it can refuse.
    pub(crate) fn room(&self) -> Option<u64> {
        let (free, total) = self.driver.memory()?;
        Some(budget::room(&budget::Memory { total, budget: Some(free), used: 0 }, self.about().kind))
    }

    /// Reads from the beginning of a buffer, or from so many bytes behind it.
    pub(crate) fn read(&self, buffer: &Buffer, at: u64, bytes: &mut [u8], wait: Duration) -> Result<(), DeviceFault> {
        let at = place(buffer, at, bytes.len() as u64)?;
        // SAFETY: the place is within the buffer.
        unsafe { self.driver.read(at, bytes, wait) }
    }

    /// Copies so many bytes from the beginning of one buffer to that of another.
    pub(crate) fn copy(&self, from: &Buffer, to: &Buffer, bytes: u64) -> Result<(), DeviceFault> {
        if from.is(to) {
            return Ok(());
        }
        let (from, to) = (place(from, 0, bytes)?, place(to, 0, bytes)?);
        // SAFETY: both places are within their buffers, which are two; memory is given back only after all orders are done.
        unsafe { self.driver.copy(from, to, bytes) }
    }

    /// Overwrites so many bytes with zeros, `at` bytes behind the beginning.
    pub(crate) fn clear(&self, buffer: &Buffer, at: u64, bytes: u64) -> Result<(), DeviceFault> {
        let at = place(buffer, at, bytes)?;
        // SAFETY: the place is within the buffer, whose memory is given back only after all orders are done.
        unsafe { self.driver.clear(at, bytes) }
    }

    /// Starts a kernel of `kernels.cu`.
    ///
    /// # Safety
    ///
    /// As for [`Driver::launch`]; a buffer stays until all orders are done, however early its last handle goes.
    pub(crate) unsafe fn launch(
        &self,
        kernel: &'static str,
        grid: Grid,
        arguments: &Arguments,
    ) -> Result<(), DeviceFault> {
        // SAFETY: as this function's.
        unsafe { self.driver.launch(kernel, grid, arguments) }
    }

    /// Waits until all orders are done, but not for ever.
    pub(crate) fn wait(&self, deadline: Duration) -> Result<(), DeviceFault> {
        self.driver.wait(deadline)
    }
}
