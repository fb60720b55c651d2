//! What this computer can show of itself: its TPM, how it was started, and whether it is a machine inside an isolated processor.
//!
//! What lives here: a small client of a TPM 2.0 over the system's resource manager, the readers of what the system says about TPM, Secure
//! Boot and isolated processors, and the making of reports where a guest can make them. What may not: judge any of it; the crate
//! `evidence` does, on the other side. Nothing here keeps a file. On Linux no key is kept either: an attestation key is made anew, the same
//! one for the same proxy, each time it is needed. On Windows the system's key provider keeps them, [`Kept`] says under which names.
//!
//! # A walk through
//!
//! 1. [`system::presence`] says whether there is a TPM and whether this user may open it, and if not, what to do; [`system::open`] opens it.
//! 2. [`Chip::request`] shows endorsement key and attestation key to a registrar that the owner agreed to, and [`Chip::answer`] solves its
//!    challenge. The statement that comes back is kept by the caller.
//! 3. [`Chip::evidence`] answers a verifier: a quote over its nonce and the connection's key.
//! 4. [`system::machine`] and [`guest`] are about Secure Boot and isolated processors.
//!
//! `Tpm` is the chip whose keys are made anew, [`Kept`] the one whose keys the system keeps; both speak to it by the same commands.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap"))]

mod chip;
mod client;
pub mod guest;
mod kept;
mod machine;
mod presence;
pub mod system;
mod templates;
mod transport;
#[cfg(windows)]
mod windows;

pub use chip::Chip;
pub use client::{About, Tpm, TpmError};
pub use kept::{Keeper, Kept, Refusal};
pub use machine::{Machine, boot_log};
pub use presence::Presence;
#[cfg(unix)]
pub use transport::Device;
pub use transport::{Socket, Transport};
