//! What a computer can prove about itself to somebody far away, and what that proof is worth.
//!
//! What lives here: pure verifiers in RFC 9334's words. An attester's [`Evidence`] goes in with the [`Binding`] it was asked for, the time,
//! the [`Anchors`] that are trusted and the [`Policy`] of who asks; an [`Appraisal`] with its [`Grade`] comes out, or a [`Refusal`] in plain
//! words. Both halves of the app, the network program and `chrysalis verify` use the same ones. What may not: open, read a clock, talk to
//! anybody; that is what the crate `tpm` does on the attester's side.
//!
//! # A walk through
//!
//! 1. The verifier draws a nonce and knows the TLS key of the connection: [`Binding`]. What a TPM signs and what a processor puts into its
//!    report is computed from both, so that a proof is good for one question on one connection.
//! 2. The attester answers with bytes: [`Evidence::decode`] reads them within limits.
//! 3. [`appraise`] finds the highest grade that the evidence proves and then asks the policy. No grade is ever guessed upwards.
//! 4. A TPM is known through a registrar: it saw the endorsement key once, bound an attestation key to it ([`registrar`]) and says so in a
//!    signed [`Statement`]. Everybody else sees the statement and the attestation key, which is another one for every proxy.
//!
//! The layouts stand in `docs/attestation.md` with golden bytes.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap"))]

mod appraisal;
mod binding;
mod bootlog;
mod container;
mod credential;
mod grade;
pub mod inspect;
mod policy;
mod reader;
pub mod registrar;
mod roots;
pub mod snp;
mod statement;
pub mod tdx;
mod terms;
pub mod tpm;
mod x509;

pub use appraisal::{Anchors, Appraisal, Facts, GpuProof, NotShown, Refusal, appraise, appraise_shown, judge};
pub use binding::Binding;
pub use container::{DecodeError, Evidence, LOG_LIMIT, SnpEvidence, TOTAL_LIMIT, TcbStatus, TdxEvidence, TpmEvidence};
pub use grade::{Grade, Wording};
pub use policy::{ImageHash, Policy};
pub use statement::{Statement, StatementError};
pub use terms::{Registrar, Terms, TermsError, is_place};
pub use x509::ChainError;

/// The makers of TPMs whose root certificates are built in: name and certificate, DER.
pub fn tpm_roots() -> Vec<(&'static str, &'static [u8])> {
    roots::TPM.to_vec()
}
