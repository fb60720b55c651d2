//! What every device that computes with kernels has in common: how a model lies in its memory, which kernels a step starts in which
//! order, what a step tells them, and how its results are read.
//!
//! Nothing here talks to a driver. A backend says how it keeps memory ([`Memory`]) and gets a [`plan::Plan`]: operations by the name
//! of their kernel, with the model's values, numbers and buffers. It compiles them, binds or launches them, and adds what depends on
//! how it cuts its kernels: threads of a workgroup, rows and tokens of a tile. So two backends differ in kernels, and in what
//! these can do at once ([`Abilities`]), and in nothing else.

pub(crate) mod budget;
pub(crate) mod matrix;
pub(crate) mod narrow;
pub(crate) mod pages;
pub(crate) mod plan;
pub(crate) mod share;
pub(crate) mod step;
pub(crate) mod weights;

use std::sync::Arc;

use crate::fault::DeviceFault;

/// What a device's kernels can do beyond what all can. A plan for a device without them takes more kernels for the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Abilities {
    /// The kernel that computes gates and ups also lets through and brings into form: they lie by turns, [`GATES`] rows of each.
    pub(crate) gated: bool,
    /// Attention goes slice by slice of so many positions, in as many workgroups if there is one token of each sequence.
    pub(crate) slice: Option<u32>,
    /// The kernel of products takes matrices of several types on top of each other.
    pub(crate) mixed: bool,
    /// One kernel norms states and computes experts' scores, and the kernels of their products choose by these and add answers up.
    pub(crate) routed: bool,
}

/// Rows of gates, and of ups, that lie together for a kernel that computes both.
pub(crate) const GATES: usize = 32;

/// Memory of a device, in buffers.
pub(crate) trait Memory {
    /// A handle of a buffer; a copy of it is the same buffer.
    type Buffer: Clone;

    /// The most bytes that a kernel sees of one buffer.
    fn most_bytes(&self) -> u64;

    /// What its kernels can do.
    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    /// A buffer of at least so many bytes, all zero. `what` is for whoever reads that it did not fit.
    fn allocate(&self, what: &'static str, bytes: u64) -> Result<Self::Buffer, DeviceFault>;

    /// Brings bytes into a buffer, behind so many others. Both are whole words.
    fn write(&self, buffer: &Self::Buffer, at: u64, bytes: &[u8]) -> Result<(), DeviceFault>;

    /// Waits until everything has arrived.
    fn settle(&self) -> Result<(), DeviceFault>;
}

impl<M: Memory> Memory for Arc<M> {
    type Buffer = M::Buffer;

    fn most_bytes(&self) -> u64 {
        (**self).most_bytes()
    }

    fn abilities(&self) -> Abilities {
        (**self).abilities()
    }

    fn allocate(&self, what: &'static str, bytes: u64) -> Result<Self::Buffer, DeviceFault> {
        (**self).allocate(what, bytes)
    }

    fn write(&self, buffer: &Self::Buffer, at: u64, bytes: &[u8]) -> Result<(), DeviceFault> {
        (**self).write(buffer, at, bytes)
    }

    fn settle(&self) -> Result<(), DeviceFault> {
        (**self).settle()
    }
}
