//! What bytes say, without believing them: for showing a proof's parts to people, and for trying the decoders one by one.
//!
//! May not: be taken for an appraisal. Nothing here checks a signature.

use crate::Refusal;
use crate::bootlog;
use crate::tpm::attest;
use crate::tpm::key::PublicArea;
use crate::tpm::signature;
use crate::x509::Certificate;

/// What a TPM's quote says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// What the caller had signed with it.
    pub extra_data: Vec<u8>,
    /// How often the TPM was reset.
    pub resets: u32,
}

/// Reads a `TPMS_ATTEST` of a quote.
pub fn quote(bytes: &[u8]) -> Option<Quote> {
    let quote = attest::Quote::read(bytes)?;
    Some(Quote { extra_data: quote.extra_data.to_vec(), resets: quote.resets })
}

/// Whether the bytes are a public area, and a signature in whose form that key signs; `Some(true)` if it even fits the message.
pub fn signed(public: &[u8], message: &[u8], bytes: &[u8]) -> Option<bool> {
    signature::verify(&PublicArea::read(public)?, message, bytes)
}

/// Replays a boot log towards registers and reads what it says of Secure Boot.
pub fn boot_log(log: &[u8], registers: &[[u8; 32]; 8]) -> Result<Option<bool>, Refusal> {
    bootlog::secure_boot(log, registers)
}

/// The registers to which a boot log leads.
pub fn replayed(log: &[u8]) -> Result<[[u8; 32]; 8], Refusal> {
    bootlog::replayed(log)
}

/// What of a chip's certificate counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSays {
    /// Whether it may sign others.
    pub authority: bool,
    /// How many authorities may stand below it, if it says so.
    pub room_below: Option<usize>,
    /// Whether it may be an endorsement key's.
    pub endorsement: bool,
    /// The key, as certificates carry it.
    pub key: Vec<u8>,
}

/// Reads a certificate, DER.
pub fn certificate(bytes: &[u8]) -> Option<CertificateSays> {
    let certificate = Certificate::read(bytes)?;
    Some(CertificateSays {
        authority: certificate.may_sign(),
        room_below: certificate.room_below(),
        endorsement: certificate.may_be_an_endorsement_keys(),
        key: certificate.key().to_vec(),
    })
}
