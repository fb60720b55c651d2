//! Proof of work, certificates with evidence in them, and mutual TLS 1.3: how two ends of a Cocoon connection come to trust
//! each other.
//!
//! May not: open a socket, read a clock or a file; know what flows through the channel afterwards.
//!
//! The words are RFC 9334's: an [`Identity`] carries [`Evidence`] in its certificate; the other end appraises it under a
//! [`Policy`] and ends up with a [`PeerIdentity`] or a reason to refuse.
//!
//! # A walk through
//!
//! 1. [`Identity::generate`] makes a key and a certificate that live for one day.
//! 2. [`tls::client_config`] or [`tls::server_config`] binds the identity to a policy and a clock, once for many connections.
//! 3. [`ClientChannel`] (the end that dialled) or [`ServerChannel`] (the end that accepted) is one connection. Bytes from the
//!    wire go into `receive_wire`, bytes for the wire come out of `take_wire`; the caller moves them and decides when it has
//!    waited long enough (the genuine programs wait 20 seconds for proof of work and handshake together).
//! 4. The server's first bytes are a [`pow::Challenge`]. The client's state turns to [`State::PowNeeded`]; the caller runs
//!    [`pow::solve`], which may take seconds, wherever it likes, and hands the nonce to [`ClientChannel::provide_nonce`].
//! 5. At [`State::Open`] plaintext goes in by `send_plaintext` and comes out by `take_plaintext`.
//!
//! The end is quiet in both directions: neither `close_notify` nor an alert is ever sent, and a connection that simply ends is
//! a normal end. In particular a client is told nothing when its certificate is refused: TLS 1.3 lets the client finish first,
//! so its channel is open by then and the refusal looks like an end of file.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap"))]

pub mod certificate;
mod channel;
mod der;
mod identity;
mod policy;
pub mod pow;
pub mod tls;
mod verify;

pub use channel::{BUFFER_LIMIT, ChannelError, ClientChannel, ServerChannel, State};
pub use identity::{Evidence, Identity, IdentityError};
pub use policy::{AppraisalError, Measurements, PeerIdentity, Policy};
pub use verify::{Role, VerifyError};
