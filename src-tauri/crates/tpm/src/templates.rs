//! The keys that are asked for, as a TPM's `TPMT_PUBLIC`. May not: hold a secret; a TPM makes each key out of its own seed and these bytes.

use sha2::{Digest, Sha256};

/// "The holder of the endorsement hierarchy's password may use it": the policy of every endorsement key of "TCG EK Credential Profile",
/// templates L-1 and L-2.
const ENDORSEMENT_POLICY: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd, 0x52, 0xd7,
    0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];
/// The same or what the maker's index says, as of template H-3 ("PolicyB" by SHA-384).
const ENDORSEMENT_POLICY_384: [u8; 48] = [
    0xb2, 0x6e, 0x7d, 0x28, 0xd1, 0x1a, 0x50, 0xbc, 0x53, 0xd8, 0x82, 0xbc, 0xf5, 0xfd, 0x3a, 0x1a, 0x07, 0x41, 0x48,
    0xbb, 0x35, 0xd3, 0xb4, 0xe4, 0xcb, 0x1c, 0x0a, 0xd9, 0xbd, 0xe4, 0x19, 0xca, 0xcb, 0x47, 0xba, 0x09, 0x69, 0x96,
    0x46, 0x15, 0x0f, 0x9f, 0xc0, 0x00, 0xf3, 0xf8, 0x0e, 0x12,
];
/// Fixed to this TPM and its parent, born inside, used by policy, restricted, decrypts.
const ENDORSEMENT: u32 = 0x0003_00b2;
/// The same, and used without a password.
const ENDORSEMENT_HIGH: u32 = 0x0003_00f2;
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
    /// P-384, template H-3: named by SHA-384, wraps with AES-256, and its policy is another one.
    P384,
}

impl Endorsement {
    /// The index of the maker's certificate.
    pub(crate) const fn certificate(self) -> u32 {
        match self {
            Self::Rsa => 0x01c0_0002,
            Self::P256 => 0x01c0_000a,
            Self::P384 => 0x01c0_0016,
        }
    }

    /// Whether the key is used in a session in which the endorsement hierarchy's holder has agreed; else with the empty password.
    pub(crate) const fn by_policy(self) -> bool {
        match self {
            Self::Rsa | Self::P256 => true,
            Self::P384 => false,
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
            Self::P384 => {
                let head = head_by(0x0c, 0x23, ENDORSEMENT_HIGH, &ENDORSEMENT_POLICY_384);
                // AES-256 in CFB; no scheme; P-384; no derivation; an empty point.
                let rest = [0, 6, 1, 0, 0, 0x43, 0, 0x10, 0, 4, 0, 0x10, 0, 0, 0, 0];
                [&head[..], &rest].concat()
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
    head_by(0x0b, kind, attributes, policy)
}

fn head_by(hash: u8, kind: u16, attributes: u32, policy: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &[0, hash], &attributes.to_be_bytes(), &sized(policy)].concat()
}

/// Bytes with their length before them.
pub(crate) fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes(), bytes].concat()
}
