//! What a child may take of the machine, as its starter has the system see to it.

use crate::Child;
use crate::system;

/// What a child may take at most, however it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Bytes of memory, what the kernel keeps for it included; `None`: no limit.
    pub memory: Option<u64>,
    /// Threads.
    pub threads: u64,
    /// Of the processor's time where others want it too: 100 is what everybody has.
    pub weight: u64,
}

/// Why a child has no control group of its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// There are no such groups.
    #[error("this system has no control groups of version 2")]
    None,
    /// They are systemd's, which is to be asked.
    #[error("systemd keeps the control groups here and has not handed this one over")]
    Systemd,
    /// The kernel refused a step.
    #[error("{what}: {why}")]
    Refused {
        /// Which.
        what: &'static str,
        /// What it said.
        why: String,
    },
}

/// A control group that was made for a child. To be dropped when the child is gone; then nothing is left of it.
pub struct Group(
    #[allow(dead_code, reason = "it ends the group when it is dropped, where there is one")] system::Group,
);

impl Child {
    /// Puts it into a control group of its own with these limits, where this program may make one. Limits that it has anyhow stay. What came
    /// of it is read from the kernel: [`crate::BoxState::of`].
    pub fn limit(&self, share: &Share) -> Result<Group, GroupError> {
        system::limit(self.pid(), share).map(Group)
    }
}
