//! The registrar: it sees a TPM's endorsement key, once, and binds attestation keys to it.
//!
//! 1. The attester sends a [`Request`]: the endorsement key, the maker's certificate for it if there is one, and an attestation key.
//! 2. [`challenge`] checks both and makes a [`Challenge`] that only the TPM with this endorsement key can answer, and only if this
//!    attestation key is in it too ("credential activation": "TPM 2.0 Library, Part 1", Credential Protection).
//! 3. [`Pending::finish`] compares the answer and signs a [`Statement`] about that attestation key and no other.
//!
//! One record holds all of it: the name under which the challenge was wrapped is the name in the statement, taken from the bytes whose
//! certificate was checked. Where these are kept apart, one key is certified and another one signs (PYSEC-2022-184).
//!
//! May not: keep a list, read a clock, talk. Randomness is the operating system's, as for TLS keys.

use crate::credential::wrap;
use crate::roots;
use crate::statement::Statement;
use crate::tpm::key::PublicArea;
use crate::x509::{Certificate, ChainError, follow};
use ed25519_dalek::SigningKey;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

/// Bytes of the secret that a TPM has to unwrap.
const SECRET: usize = 32;
/// The most certificates beside the endorsement key's.
pub const CARRIED: usize = 7;
/// The most bytes of each.
pub const CERTIFICATE_LIMIT: usize = 8 * 1024;

/// What an attester shows to its registrar, and to nobody else: an endorsement key is for life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The endorsement key: a `TPMT_PUBLIC`.
    pub ek_public: Vec<u8>,
    /// The maker's certificate for it, DER, if the TPM has one.
    pub ek_certificate: Option<Vec<u8>>,
    /// Certificates between that one and the maker's root, DER, in any order.
    pub carried: Vec<Vec<u8>>,
    /// The attestation key: a `TPMT_PUBLIC`.
    pub ak_public: Vec<u8>,
}

/// What only the right TPM can answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The wrapped secret: the content of a `TPM2B_ID_OBJECT`.
    pub credential: Vec<u8>,
    /// The key around it, encrypted to the endorsement key: the content of a `TPM2B_ENCRYPTED_SECRET`.
    pub secret: Vec<u8>,
}

/// What a maker says of an endorsement key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certification {
    /// This maker certifies it.
    Certified {
        /// The maker's name.
        vendor: &'static str,
    },
    /// Nobody does.
    Uncertified(WhyNot),
}

/// Why an endorsement key is not certified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WhyNot {
    /// There is none.
    #[error("the TPM holds no certificate for its endorsement key")]
    NoCertificate,
    /// It is for another key.
    #[error("the certificate is for another key")]
    AnotherKey,
    /// It is no endorsement key's.
    #[error("the certificate is not one of an endorsement key")]
    AnotherPurpose,
    /// It does not lead to a maker that is known.
    #[error("{0}")]
    Chain(#[from] ChainError),
}

/// Why a registrar refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RegistrarError {
    /// The endorsement key is none.
    #[error("this is not an endorsement key of a kind that is known here")]
    EndorsementKey,
    /// The attestation key could sign what did not happen.
    #[error("this is not an attestation key that signs only what the TPM itself says")]
    AttestationKey,
    /// The certificates are too many or too large.
    #[error("these are too many certificates, or too large ones")]
    TooLarge,
    /// The system has no randomness.
    #[error("the system gives no random numbers")]
    Random,
    /// Somebody else answered.
    #[error("the answer is not the secret: the two keys are not in one TPM")]
    WrongAnswer,
}

/// A challenge that was sent and not answered yet.
#[expect(missing_debug_implementations, reason = "it holds the answer")]
pub struct Pending {
    ak_name: [u8; 34],
    /// A hash over the endorsement key alone, whatever template it was made by.
    ek: [u8; 32],
    certification: Certification,
    secret: Zeroizing<[u8; SECRET]>,
}

/// What a registrar puts into its statements, and signs with.
#[expect(missing_debug_implementations, reason = "it holds keys")]
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    /// It signs.
    pub key: &'a SigningKey,
    /// It turns endorsement keys into numbers of machines; another one makes other numbers.
    pub machines: &'a [u8; 32],
    /// For whom the statement is.
    pub audience: [u8; 32],
    /// Now, in seconds since 1970.
    pub now: u64,
    /// Seconds for which the statement counts.
    pub lifetime: u64,
}

/// Certificates (DER) out of what stands one after the other, with zeros between them at most: at most [`CARRIED`]. What is cut, and what is none,
/// ends it. None of them is read.
pub fn certificates_in(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while found.len() < CARRIED {
        while let [0, rest @ ..] = bytes {
            bytes = rest;
        }
        let length = match bytes {
            [0x30, 0x82, high, low, ..] => 4 + usize::from(u16::from_be_bytes([*high, *low])),
            [0x30, 0x81, length, ..] => 3 + usize::from(*length),
            _ => break,
        };
        let Some((certificate, rest)) = bytes.split_at_checked(length) else { break };
        found.push(certificate.to_vec());
        bytes = rest;
    }
    found
}

/// Whether this is one certificate (DER), of which nothing else is said.
pub fn is_certificate(bytes: &[u8]) -> bool {
    Certificate::read(bytes).is_some()
}

/// Checks what the attester shows and makes the challenge. `now` is in seconds since 1970.
pub fn challenge(request: &Request, now: u64) -> Result<(Pending, Challenge), RegistrarError> {
    challenge_under(request, now, &roots::TPM)
}

/// As [`challenge`], with these makers' roots in place of those that are built in; for a network whose machines have TPMs of its own.
pub fn challenge_under(
    request: &Request,
    now: u64,
    roots: &[(&'static str, &[u8])],
) -> Result<(Pending, Challenge), RegistrarError> {
    let certificates = request.ek_certificate.iter().chain(&request.carried);
    if request.carried.len() > CARRIED || certificates.into_iter().any(|one| one.len() > CERTIFICATE_LIMIT) {
        return Err(RegistrarError::TooLarge);
    }
    let ek = PublicArea::read(&request.ek_public).filter(PublicArea::is_an_endorsement_key);
    let ek = ek.ok_or(RegistrarError::EndorsementKey)?;
    let ak = PublicArea::read(&request.ak_public).filter(PublicArea::signs_only_what_the_tpm_says);
    let ak = ak.ok_or(RegistrarError::AttestationKey)?;
    let key = ek.key().as_in_certificates();
    let certification = match certified(request, &key, now, roots) {
        Ok(vendor) => Certification::Certified { vendor },
        Err(why_not) => Certification::Uncertified(why_not),
    };
    let mut secret = Zeroizing::new([0; SECRET]);
    SystemRandom::new().fill(&mut *secret).map_err(|_| RegistrarError::Random)?;
    let challenge = wrap(ek.key(), &ak.name(), &*secret)?;
    Ok((Pending { ak_name: ak.name(), ek: Sha256::digest(&key).into(), certification, secret }, challenge))
}

fn certified(request: &Request, key: &[u8], now: u64, roots: &[(&'static str, &[u8])]) -> Result<&'static str, WhyNot> {
    let leaf = request.ek_certificate.as_deref().ok_or(WhyNot::NoCertificate)?;
    let leaf = Certificate::read(leaf).ok_or(ChainError::Malformed)?;
    if leaf.key() != key {
        return Err(WhyNot::AnotherKey);
    }
    if !leaf.may_be_an_endorsement_keys() {
        return Err(WhyNot::AnotherPurpose);
    }
    let mut carried = Vec::with_capacity(request.carried.len());
    for one in &request.carried {
        carried.push(Certificate::read(one).ok_or(ChainError::Malformed)?);
    }
    let known: Vec<(&'static str, Certificate<'_>)> =
        roots.iter().filter_map(|(vendor, root)| Some((*vendor, Certificate::read(root)?))).collect();
    let certificates: Vec<Certificate<'_>> = known.iter().map(|(_, root)| *root).collect();
    let at = follow(&leaf, &carried, &certificates, now)?;
    known.get(at).map(|(vendor, _)| *vendor).ok_or(WhyNot::Chain(ChainError::UnknownIssuer))
}

impl Pending {
    /// What the maker says of the endorsement key.
    pub fn certification(&self) -> &Certification {
        &self.certification
    }

    /// Compares the answer and, if it is the secret, signs the statement. A wrong answer ends the matter.
    pub fn finish(self, answer: &[u8], desk: &Desk<'_>) -> Result<Vec<u8>, RegistrarError> {
        equal(&*self.secret, answer).then_some(()).ok_or(RegistrarError::WrongAnswer)?;
        let machines = hmac::Key::new(hmac::HMAC_SHA256, desk.machines);
        let mut machine = hmac::Context::with_key(&machines);
        machine.update(b"chrysalis machine 1\0");
        machine.update(&desk.audience);
        machine.update(&self.ek);
        let mut number = [0; 32];
        number.copy_from_slice(machine.sign().as_ref());
        let (certified, vendor) = match self.certification {
            Certification::Certified { vendor } => (true, vendor),
            Certification::Uncertified(_) => (false, ""),
        };
        let statement = Statement {
            registrar: desk.key.verifying_key().to_bytes(),
            ak_name: self.ak_name,
            certified,
            machine: number,
            audience: desk.audience,
            issued_at: desk.now,
            expires_at: desk.now.saturating_add(desk.lifetime),
            vendor: vendor.to_owned(),
        };
        Ok(statement.sign(desk.key))
    }
}

/// In a time that says nothing about where they differ.
fn equal(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |sum, (left, right)| sum | (left ^ right)) == 0
}
