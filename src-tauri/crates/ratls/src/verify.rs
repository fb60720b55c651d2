//! Whether a peer's certificate is in order, by the rules that genuine programs apply.
//!
//! They let OpenSSL verify a chain without any trusted authority, overlook only that the certificate vouches for itself and
//! that two critical extensions are unknown to OpenSSL, and then look at the evidence. What follows says the same in one list.
//! In two places it is stricter than OpenSSL, at no cost to any genuine certificate: names are compared byte by byte, and
//! critical extensions that OpenSSL would know but that mean nothing here (name constraints, policies) are refused.

use ed25519_dalek::{Signature, VerifyingKey};
use thiserror::Error;

use crate::certificate::{self, Certificate, ParseError};
use crate::policy::{AppraisalError, PeerIdentity, Policy};

/// The longest evidence that is looked at, in bytes.
const MAX_QUOTE: usize = 32_768;
/// The DNS name that every server's certificate must hold. Dialling programs pass this text to OpenSSL as the name to expect,
/// whatever address they dial.
pub(crate) const SERVER_NAME: &str = "127.0.0.1";

/// Which end of the connection a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The peer dialled us.
    Client,
    /// We dialled the peer.
    Server,
}

/// Why a peer is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VerifyError {
    /// None, or a chain; there must be exactly one certificate.
    #[error("one certificate is expected, {count} came")]
    NotOneCertificate {
        /// Certificates that came.
        count: usize,
    },
    /// It can't be read.
    #[error("the certificate can't be read")]
    Unreadable(#[from] ParseError),
    /// Its time has not come; often a sign of a wrong clock at either end.
    #[error("the certificate is not valid before {not_before}, it is {now} (Unix time)")]
    NotYetValid {
        /// First second of its validity.
        not_before: i64,
        /// What our clock says.
        now: i64,
    },
    /// Its time is over.
    #[error("the certificate was valid until {not_after}, it is {now} (Unix time)")]
    Expired {
        /// End of its validity.
        not_after: i64,
        /// What our clock says.
        now: i64,
    },
    /// Somebody else is named as issuer.
    #[error("the certificate's issuer is not its subject")]
    NotSelfIssued,
    /// Only Ed25519 keys are admitted.
    #[error("the certificate's key is not an Ed25519 key")]
    NotAnEd25519Key,
    /// The certificate was signed by another algorithm than Ed25519.
    #[error("the certificate is not signed with Ed25519")]
    NotAnEd25519Signature,
    /// A signature does not belong to the key and the bytes it should cover.
    #[error("a signature by the certificate's key is wrong")]
    BadSignature,
    /// It carries an extension that must be understood and is not.
    #[error("the certificate has an unknown critical extension, {identifier}")]
    UnknownCriticalExtension {
        /// The extension's object identifier, dotted.
        identifier: String,
    },
    /// It was not made for this end of a connection.
    #[error("the certificate's extended key usage does not admit a TLS {}", role_name(*role))]
    WrongPurpose {
        /// The end of the connection the peer is.
        role: Role,
    },
    /// Its key may not sign handshakes.
    #[error("the certificate's key usage does not admit digital signatures")]
    NoDigitalSignature,
    /// A server's certificate lacks the name that every server's certificate has.
    #[error("the certificate does not hold the DNS name {SERVER_NAME}")]
    WrongName,
    /// More evidence than is looked at.
    #[error("{length} bytes of evidence are too many")]
    QuoteTooLong {
        /// Bytes of the evidence.
        length: usize,
    },
    /// The certificate is in order, the policy refuses it.
    #[error(transparent)]
    Appraisal(#[from] AppraisalError),
}

/// Everything at once: one certificate, in order, and to the policy's liking.
pub(crate) fn peer_identity<'a>(
    mut certificates: impl ExactSizeIterator<Item = &'a [u8]>,
    policy: &Policy,
    role: Role,
    now: u64,
) -> Result<PeerIdentity, VerifyError> {
    let count = certificates.len();
    let Some(bytes) = certificates.next().filter(|_| count == 1) else {
        return Err(VerifyError::NotOneCertificate { count });
    };
    let certificate = certificate::parse(bytes)?;
    let public_key = verify(&certificate, role, now)?;
    Ok(policy.appraise(&certificate, public_key, now)?)
}

/// Whether the certificate is in order for a peer of this role at this time; its key if so.
fn verify(certificate: &Certificate, role: Role, now: u64) -> Result<[u8; 32], VerifyError> {
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let Certificate { not_before, not_after, .. } = *certificate;
    if now < not_before {
        return Err(VerifyError::NotYetValid { not_before, now });
    }
    // The last second counts as expired, as it does for OpenSSL.
    if now >= not_after {
        return Err(VerifyError::Expired { not_after, now });
    }
    if certificate.issuer != certificate.subject {
        return Err(VerifyError::NotSelfIssued);
    }
    let public_key = certificate.public_key.ok_or(VerifyError::NotAnEd25519Key)?;
    if !certificate.signed_with_ed25519 {
        return Err(VerifyError::NotAnEd25519Signature);
    }
    signature_by(&public_key, &certificate.signed_part, &certificate.signature)?;
    if let Some(identifier) = certificate.unknown_critical.clone() {
        return Err(VerifyError::UnknownCriticalExtension { identifier });
    }
    let admitted = certificate.extended_key_usage.is_none_or(|usage| match role {
        Role::Client => usage.client_auth,
        Role::Server => usage.server_auth,
    });
    if !admitted {
        return Err(VerifyError::WrongPurpose { role });
    }
    if certificate.digital_signature == Some(false) {
        return Err(VerifyError::NoDigitalSignature);
    }
    if role == Role::Server && !certificate.has_dns_name(SERVER_NAME) {
        return Err(VerifyError::WrongName);
    }
    match certificate.quote.as_deref().map(<[u8]>::len) {
        Some(length) if length > MAX_QUOTE => Err(VerifyError::QuoteTooLong { length }),
        _ => Ok(public_key),
    }
}

/// Checks an Ed25519 signature. Keys of small order, whose signatures fit any message, are refused.
pub(crate) fn signature_by(public_key: &[u8; 32], message: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
    let key = VerifyingKey::from_bytes(public_key).map_err(|_| VerifyError::BadSignature)?;
    let signature = Signature::from_slice(signature).map_err(|_| VerifyError::BadSignature)?;
    key.verify_strict(message, &signature).map_err(|_| VerifyError::BadSignature)
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Client => "client",
        Role::Server => "server",
    }
}
