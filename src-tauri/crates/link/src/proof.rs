//! What the two processes say about proof: evidence that a proxy asks for, how we stand with it, and enrolment at a registrar.
//!
//! May not: say what evidence means. The worker has the TLS and no TPM, the app has the TPM and no TLS; bytes go from one to the other.

use serde::{Deserialize, Serialize};

/// The most bytes of evidence.
pub const MAX_EVIDENCE: usize = 320 * 1024;
/// The most bytes of a part of a challenge, of what was in it, or of a registrar's statement.
pub const MAX_PART: usize = 1024;

/// How we stand with a proxy, in its words. Advice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Do we get jobs?
    pub accepted: bool,
    /// Number of the grade that it found.
    pub grade: i32,
    /// Why not, one line of at most 300 characters; empty if accepted.
    pub reason: String,
    /// Numbers of the grades it accepts.
    pub grades: Vec<i32>,
    /// Must Secure Boot have been on?
    pub secure_boot: bool,
    /// Registrars it believes: `host:port`, which may be empty, and key.
    pub registrars: Vec<(String, [u8; 32])>,
}

/// Everything a worker must know that enrols a TPM and does nothing else. It reads no model and serves nobody.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// X.509 in DER: that of the endorsement key first, then those between it and its vendor's root.
    pub ek_certificates: Vec<Vec<u8>>,
    /// `TPMT_PUBLIC` of the endorsement key.
    pub ek_public: Vec<u8>,
    /// `TPMT_PUBLIC` of the attestation key.
    pub ak_public: Vec<u8>,
    /// The payment key of the proxy that the statement is for.
    pub audience: [u8; 32],
    /// The registrar's key, which the owner agreed to.
    pub registrar: [u8; 32],
    /// The hardest proof of work the worker solves, in bits.
    pub max_pow_difficulty: u32,
    /// Unix time in milliseconds on the app's clock.
    pub unix_ms: i64,
}

impl std::fmt::Debug for Enrolment {
    /// Without the keys: an endorsement key names a machine for life.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Enrolment")
    }
}

/// The demand that a proxy, asked over the connection, proves one of these grades.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedDemand {
    /// Numbers of the grades that are accepted, as on the wire; see docs/protocol.md.
    pub grades: Vec<i32>,
}

/// The demand that a proxy shows real Intel TDX.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TdxDemand {
    /// Intel's signed statements about the proxy's kind of processor, as the JSON in which collateral services answer: the owner's file.
    pub collateral: Vec<u8>,
}

impl TdxDemand {
    /// The most bytes of collateral.
    pub const MAX_COLLATERAL: usize = 256 * 1024;
}
