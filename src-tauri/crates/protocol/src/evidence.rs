//! Asking each other for evidence, and telling what came of it: what both sides share.
//!
//! May not: read evidence, which is bytes here. None of it is in Cocoon's schema. A genuine program answers our question with
//! "Lost promise", which is what we say ourselves where there is nothing to show, and passes over what it is told.

use std::time::Duration;

use tl::Boxed as _;
use tl::chrysalis as wire;

/// The most bytes of evidence that are taken or sent.
pub const MAX_EVIDENCE: usize = 320 * 1024;
/// How long the other side may take to make its evidence. A slow TPM needs seconds for one quote.
pub const EVIDENCE_PATIENCE: Duration = Duration::from_mins(1);
/// How long our own host may take for it: the other side shall not have to wait in vain.
pub(crate) const HOST_PATIENCE: Duration = Duration::from_secs(50);
/// Questions for evidence that may be open at once on one connection.
pub(crate) const OPEN_QUESTIONS: usize = 2;
/// Grades, and registrars, in one statement of what is demanded.
const LIST_LIMIT: usize = 16;
/// Characters of a text that the other side chose.
const TEXT_LIMIT: usize = 300;

/// What a proxy demands of its workers, as it says so. Advice: what it does is another thing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Demands {
    /// Numbers of the grades that are accepted; what they mean stands in docs/protocol.md. At most 16.
    pub grades: Vec<i32>,
    /// Must Secure Boot have been on?
    pub secure_boot: bool,
    /// Whose statements about machines count. At most 16.
    pub registrars: Vec<RegistrarPlace>,
}

/// Where a registrar is, and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrarPlace {
    /// `host:port`; empty if it does not say.
    pub endpoint: String,
    /// Ed25519.
    pub key: [u8; 32],
}

/// How a worker stands with a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Does it get jobs?
    pub accepted: bool,
    /// Number of the grade that was found.
    pub grade: i32,
    /// Why not, at most 300 characters; empty if accepted.
    pub reason: String,
    /// What is demanded.
    pub demands: Demands,
}

/// Text of the other side, in one line of bounded length.
pub(crate) fn line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_LIMIT).collect()
}

impl Demands {
    pub(crate) fn from_wire(policy: wire::Policy) -> Self {
        let registrars = policy.registrars.into_iter().take(LIST_LIMIT);
        Self {
            grades: policy.grades.into_iter().take(LIST_LIMIT).collect(),
            secure_boot: policy.secure_boot,
            registrars: registrars.map(|at| RegistrarPlace { endpoint: line(&at.endpoint), key: at.key }).collect(),
        }
    }

    pub(crate) fn to_wire(&self) -> wire::Policy {
        let registrars = self.registrars.iter().take(LIST_LIMIT);
        wire::Policy {
            grades: self.grades.iter().copied().take(LIST_LIMIT).collect(),
            secure_boot: self.secure_boot,
            registrars: registrars.map(|at| wire::Registrar { endpoint: line(&at.endpoint), key: at.key }).collect(),
        }
    }
}

impl Standing {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let reason = line(&self.reason);
        wire::Standing { accepted: self.accepted, grade: self.grade, reason, policy: self.demands.to_wire() }.to_bytes()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let said = wire::Standing::from_bytes(bytes).ok()?;
        Some(Self {
            accepted: said.accepted,
            grade: said.grade,
            reason: line(&said.reason),
            demands: Demands::from_wire(said.policy),
        })
    }
}

/// The nonce of a question for evidence, if these bytes are one.
pub(crate) fn question(data: &[u8]) -> Option<[u8; 32]> {
    wire::GetEvidence::from_bytes(data).ok().map(|question| question.nonce)
}

/// The evidence of an answer; `None` if it is none, or more than may be.
pub(crate) fn answer(data: &[u8]) -> Option<Vec<u8>> {
    if data.len() > MAX_EVIDENCE + 16 {
        return None;
    }
    wire::Evidence::from_bytes(data).ok().map(|answer| answer.data).filter(|bytes| bytes.len() <= MAX_EVIDENCE)
}
