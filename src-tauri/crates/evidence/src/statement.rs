//! What a registrar says about an attestation key, signed with its Ed25519 key. It is what everybody else sees in place of the endorsement
//! key. The layout stands in `docs/attestation.md`.
//!
//! May not: decide about endorsement keys; [`registrar`](crate::registrar) does.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use thiserror::Error;

/// Name and version of the layout, and the domain of the signature.
const HEAD: &[u8; 16] = b"chrysalis stmt 1";
/// Bytes before the maker's name.
const FIXED: usize = 16 + 32 + 34 + 1 + 32 + 32 + 8 + 8 + 1;
/// The most bytes of a maker's name.
const VENDOR_LIMIT: usize = 32;
const SIGNATURE: usize = 64;

/// "The attestation key of this name belongs to this machine."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The registrar's own key.
    pub registrar: [u8; 32],
    /// The name of the attestation key in the sense of a TPM: the number of SHA-256 and the hash of its public area.
    pub ak_name: [u8; 34],
    /// Whether a maker's certificate was seen for the endorsement key.
    pub certified: bool,
    /// The machine, under a number that only this registrar can make and that is another one for another audience.
    pub machine: [u8; 32],
    /// Whom the statement is for, for instance the hash of a proxy's key. Nobody else accepts it.
    pub audience: [u8; 32],
    /// When it was made, in seconds since 1970.
    pub issued_at: u64,
    /// The first second at which it no longer counts.
    pub expires_at: u64,
    /// The TPM's maker as its certificate names it; empty where there is none. At most 32 printable ASCII characters.
    pub vendor: String,
}

/// Why bytes are no statement that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum StatementError {
    /// Not written as statements are.
    #[error("the registrar's statement is malformed")]
    Malformed,
    /// Signed by nobody, or by somebody else than it says.
    #[error("the registrar's statement is not signed by the registrar that it names")]
    Signature,
}

impl Statement {
    /// Writes and signs it with the registrar's key, whose public half replaces what [`Self::registrar`] says.
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let vendor: Vec<u8> = self.vendor.bytes().filter(|byte| printable(*byte)).take(VENDOR_LIMIT).collect();
        let mut out = Vec::with_capacity(FIXED + vendor.len() + SIGNATURE);
        out.extend_from_slice(HEAD);
        out.extend_from_slice(key.verifying_key().as_bytes());
        out.extend_from_slice(&self.ak_name);
        out.push(u8::from(self.certified));
        out.extend_from_slice(&self.machine);
        out.extend_from_slice(&self.audience);
        out.extend_from_slice(&self.issued_at.to_be_bytes());
        out.extend_from_slice(&self.expires_at.to_be_bytes());
        out.push(vendor.len() as u8);
        out.extend_from_slice(&vendor);
        let signature = key.sign(&out);
        out.extend_from_slice(&signature.to_bytes());
        out
    }

    /// Reads it and checks that the registrar it names has signed it. Whether that registrar is to be believed, and for how long, is for
    /// the caller.
    pub fn verify(bytes: &[u8]) -> Result<Self, StatementError> {
        let (said, signature) = bytes.split_last_chunk::<SIGNATURE>().ok_or(StatementError::Malformed)?;
        let statement = Self::read(said).ok_or(StatementError::Malformed)?;
        let key = VerifyingKey::from_bytes(&statement.registrar).map_err(|_| StatementError::Signature)?;
        key.verify_strict(said, &Signature::from_bytes(signature)).map_err(|_| StatementError::Signature)?;
        Ok(statement)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(HEAD)?;
        let (registrar, rest) = rest.split_first_chunk()?;
        let (ak_name, rest) = rest.split_first_chunk()?;
        let (certified, rest) = rest.split_first()?;
        let (machine, rest) = rest.split_first_chunk()?;
        let (audience, rest) = rest.split_first_chunk()?;
        let (issued_at, rest) = rest.split_first_chunk()?;
        let (expires_at, rest) = rest.split_first_chunk()?;
        let (length, vendor) = rest.split_first()?;
        let fits = *certified <= 1
            && usize::from(*length) == vendor.len()
            && vendor.len() <= VENDOR_LIMIT
            && vendor.iter().all(|byte| printable(*byte));
        fits.then(|| Self {
            registrar: *registrar,
            ak_name: *ak_name,
            certified: *certified == 1,
            machine: *machine,
            audience: *audience,
            issued_at: u64::from_be_bytes(*issued_at),
            expires_at: u64::from_be_bytes(*expires_at),
            vendor: vendor.iter().copied().map(char::from).collect(),
        })
    }
}

fn printable(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte)
}
