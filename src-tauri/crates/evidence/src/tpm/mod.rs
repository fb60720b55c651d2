//! What a TPM writes and signs, read and verified without one.
//!
//! Structures and numbers are those of "Trusted Platform Module 2.0 Library, Part 2: Structures". May not: believe an attestation key
//! because it signed something; only a registrar's statement says whose it is.

pub(crate) mod attest;
pub mod key;
pub(crate) mod signature;

use crate::bootlog;
use crate::{Anchors, Appraisal, Binding, Facts, Grade, Refusal, Statement, TpmEvidence};
use attest::Quote;
use key::PublicArea;

/// The number of SHA-256 among a TPM's algorithms.
pub(crate) const SHA256: u16 = 0x000b;
/// That of SHA-384.
pub(crate) const SHA384: u16 = 0x000c;

/// How far a verifier's clock may be behind a registrar's, seconds: a statement is shown as soon as it is made. That a proof is new is
/// known by the nonce in its quote.
const CLOCKS_DIFFER: u64 = 300;

/// What the evidence proves, before any policy.
pub(crate) fn appraise(
    evidence: &TpmEvidence,
    binding: &Binding,
    now: u64,
    anchors: &Anchors,
) -> Result<Appraisal, Refusal> {
    // Who the key belongs to. The statement's name must be the name of the very bytes whose key checks the signature below.
    let statement = Statement::verify(&evidence.statement)?;
    if !anchors.registrars.contains(&statement.registrar) {
        return Err(Refusal::UnknownRegistrar);
    }
    if statement.audience != anchors.audience {
        return Err(Refusal::AnotherAudience);
    }
    if now.saturating_add(CLOCKS_DIFFER) < statement.issued_at {
        return Err(Refusal::StatementTooEarly);
    }
    if now >= statement.expires_at {
        return Err(Refusal::StatementExpired);
    }
    let ak = PublicArea::read(&evidence.ak_public).ok_or(Refusal::Malformed("attestation key"))?;
    if ak.name() != statement.ak_name {
        return Err(Refusal::AnotherKey);
    }
    if !ak.signs_only_what_the_tpm_says() {
        return Err(Refusal::UnfitKey);
    }

    // What it signed.
    if !signature::verify(&ak, &evidence.attest, &evidence.signature).ok_or(Refusal::Malformed("quote's signature"))? {
        return Err(Refusal::WrongSignature("quote"));
    }
    let quote = Quote::read(&evidence.attest).ok_or(Refusal::Malformed("quote"))?;
    if quote.extra_data != binding.qualifying_data() {
        return Err(Refusal::AnotherBinding);
    }
    if !quote.covers(&evidence.registers) {
        return Err(Refusal::RegistersDiffer);
    }

    // How it was started: nothing in the log is looked at before the whole of it leads to the registers that were signed.
    let secure_boot = match &evidence.log {
        Some(log) => bootlog::secure_boot(log, &evidence.registers)?,
        None => None,
    };
    let grade = if statement.certified { Grade::KnownMachine } else { Grade::KnownMachineUncertified };
    Ok(Appraisal {
        grade,
        facts: Facts {
            machine: Some(hex::encode(statement.machine)),
            vendor: Some(statement.vendor).filter(|vendor| !vendor.is_empty()),
            secure_boot,
            resets: Some(quote.resets),
            ..Facts::default()
        },
    })
}
