//! The keys that are asked for, as a TPM's `TPMT_PUBLIC`. May not: hold a secret; a TPM makes each key out of its own seed and these bytes.

use sha2::{Digest, Sha256};

/// "The holder of the endorsement hierarchy's password may use it": the policy of every endorsement key of "TCG EK Credential Profile",
/// templates L-1 and L-2.
const ENDORSEMENT_POLICY: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd, 0x52, 0xd7,
    0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];
/// Fixed to this TPM and its parent, born inside, used by policy, restricted, decrypts.
const ENDORSEMENT: u32 = 0x0003_00b2;
/// Fixed to this TPM and its parent, born inside, used without a password, restricted, signs, not locked by wrong passwords elsewhere.
const ATTESTATION: u32 = 0x0005_0472;
const DOMAIN: &[u8] = b"chrysalis attestation key 1\0";

/// An endorsement key, and where its certificate stands in the TPM's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endorsement {
    /// RSA with 2,048 bits, template L-1.
    Rsa,
    /// P-256, template L-2.
    P256,
}

impl Endorsement {
    /// The index of the maker's certificate.
    pub(crate) const fn certificate(self) -> u32 {
        match self {
            Self::Rsa => 0x01c0_0002,
            Self::P256 => 0x01c0_000a,
        }
    }

    /// The template.
    pub(crate) fn template(self) -> Vec<u8> {
        // AES-128 in CFB for what it wraps; no scheme.
        let storage = [0, 6, 0, 128, 0, 0x43, 0, 0x10];
        match self {
            Self::Rsa => {
                let size_and_exponent = [8, 0, 0, 0, 0, 0];
                [&head(1, ENDORSEMENT, &ENDORSEMENT_POLICY)[..], &storage, &size_and_exponent, &sized(&[0; 256])]
                    .concat()
            }
            Self::P256 => {
                let curve = [0, 3, 0, 0x10];
                let point = [sized(&[0; 32]), sized(&[0; 32])].concat();
                [&head(0x23, ENDORSEMENT, &ENDORSEMENT_POLICY)[..], &storage, &curve, &point].concat()
            }
        }
    }
}

/// The attestation key for one verifier: P-256, ECDSA with SHA-256. Another audience is another key, and nobody can tell that two of them
/// are of one TPM.
pub(crate) fn attestation(audience: &[u8; 32]) -> Vec<u8> {
    let own = Sha256::new().chain_update(DOMAIN).chain_update(audience).finalize();
    // No wrapping; ECDSA with SHA-256; P-256; no derivation.
    let kind = [0, 0x10, 0, 0x18, 0, 0x0b, 0, 3, 0, 0x10];
    [&head(0x23, ATTESTATION, &[])[..], &kind, &sized(&own), &sized(&[0; 32])].concat()
}

fn head(kind: u16, attributes: u32, policy: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &[0, 0x0b], &attributes.to_be_bytes(), &sized(policy)].concat()
}

/// Bytes with their length before them.
pub(crate) fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes(), bytes].concat()
}
