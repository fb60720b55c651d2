//! What a certificate's evidence is worth to us.
//! May not: care whether the certificate itself is in order; that has been verified before.

use std::sync::Arc;

use evidence::{ImageHash, Refusal, TdxEvidence, tdx};
use sha2::{Digest, Sha256, Sha512};
use thiserror::Error;

use crate::certificate::Certificate;

/// Bytes of one measurement register.
const REGISTER: usize = 48;
/// Length of SHA-512, which is all that a simulated quote consists of.
const REPORT_DATA: usize = 64;

/// Whom to trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// Anybody with a certificate in order; evidence is not looked at.
    Any,
    /// Only peers with a simulated quote that names their key. It shows that the handling of evidence works, and nothing
    /// about the machine: everybody can make one.
    FakeTdx {
        /// Image hashes that are let in; all of them if the list is empty.
        image_hashes: Vec<[u8; 32]>,
    },
    /// Only peers whose certificate holds a quote of Intel TDX over their key, as genuine programs make it, verified with what Intel
    /// signed. Debugging of the machine inside is refused, which the genuine programs do not.
    Tdx {
        /// Image hashes that are let in; nobody is if the list is empty.
        image_hashes: Vec<[u8; 32]>,
        /// Intel's signed statements about the peer's kind of processor, as the JSON in which collateral services answer.
        collateral: Arc<[u8]>,
    },
}

impl Policy {
    /// Turns verified certificate and evidence into an identity, or says why the policy refuses. `now` is Unix time in seconds.
    pub fn appraise(
        &self,
        certificate: &Certificate,
        public_key: [u8; 32],
        now: u64,
    ) -> Result<PeerIdentity, AppraisalError> {
        match self {
            Self::Tdx { image_hashes, collateral } => {
                let quote = certificate.quote.clone().ok_or(AppraisalError::NoEvidence)?;
                let shown = TdxEvidence { quote, collateral: collateral.to_vec(), gpu: None };
                let images = image_hashes.iter().copied().map(ImageHash).collect();
                let wanted = evidence::Policy { images, ..evidence::Policy::default() };
                let report_data = evidence::Binding::cocoon_report_data(&public_key);
                let found = tdx::appraise(&shown, &report_data, now, &wanted)?;
                let image_hash = found.facts.image.map_or([0; 32], |image| image.0);
                Ok(PeerIdentity { public_key, image_hash, attested: true })
            }
            Self::Any | Self::FakeTdx { .. } => self.identify(certificate, public_key),
        }
    }

    /// The identity of a peer that [`Self::appraise`] has let in before.
    pub(crate) fn identify(
        &self,
        certificate: &Certificate,
        public_key: [u8; 32],
    ) -> Result<PeerIdentity, AppraisalError> {
        match self {
            Self::Tdx { .. } => {
                let image = certificate.quote.as_deref().and_then(tdx::image_of).ok_or(AppraisalError::NoEvidence)?;
                Ok(PeerIdentity { public_key, image_hash: image.0, attested: true })
            }
            Self::Any => Ok(PeerIdentity { public_key, image_hash: [0; 32], attested: false }),
            Self::FakeTdx { image_hashes } => {
                let quote = certificate.quote.as_deref().ok_or(AppraisalError::NoEvidence)?;
                if quote.len() != REPORT_DATA {
                    return Err(AppraisalError::NotASimulatedQuote { length: quote.len() });
                }
                if quote != report_data(&public_key) {
                    return Err(AppraisalError::AnotherKey);
                }
                let image_hash = Measurements::SIMULATED.image_hash();
                if !image_hashes.is_empty() && !image_hashes.contains(&image_hash) {
                    return Err(AppraisalError::ImageNotAllowed { image_hash });
                }
                Ok(PeerIdentity { public_key, image_hash, attested: true })
            }
        }
    }
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The Ed25519 key of the peer's certificate, whose possession it has shown.
    pub public_key: [u8; 32],
    /// What software runs there, see [`Measurements::image_hash`]; all zero if nothing was attested.
    pub image_hash: [u8; 32],
    /// Whether the policy looked at evidence and found it good.
    pub attested: bool,
}

/// Why evidence does not satisfy the policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AppraisalError {
    /// The policy wants evidence and the certificate has none.
    #[error("the policy demands evidence and the certificate carries none")]
    NoEvidence,
    /// The evidence is something else than a simulated quote.
    #[error("a simulated quote has 64 bytes, this evidence has {length}")]
    NotASimulatedQuote {
        /// Bytes of the evidence.
        length: usize,
    },
    /// The evidence was made for somebody else's key.
    #[error("the evidence names another key than the certificate's")]
    AnotherKey,
    /// The quote of a processor does not hold, or not what the policy wants.
    #[error("{0}")]
    Tdx(#[from] Refusal),
    /// The software is not on the policy's list.
    #[error("the image {} is not on the list of allowed images", Hexadecimal(image_hash))]
    ImageNotAllowed {
        /// Hash of the software that runs there.
        image_hash: [u8; 32],
    },
}

/// The measurement registers of a TDX machine, each 48 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measurements {
    /// What the machine was started with.
    pub mr_td: [u8; REGISTER],
    /// Software-defined identity of the configuration.
    pub mr_config_id: [u8; REGISTER],
    /// Software-defined identity of the owner.
    pub mr_owner: [u8; REGISTER],
    /// Software-defined configuration by the owner.
    pub mr_owner_config: [u8; REGISTER],
    /// What was measured while it ran.
    pub rtmr: [[u8; REGISTER]; 4],
}

impl Measurements {
    /// What a simulated quote stands for: nothing was measured.
    pub const SIMULATED: Self = Self {
        mr_td: [0; REGISTER],
        mr_config_id: [0; REGISTER],
        mr_owner: [0; REGISTER],
        mr_owner_config: [0; REGISTER],
        rtmr: [[0; REGISTER]; 4],
    };

    /// The number under which networks list the software that may run: SHA-256 over all registers and, where a report has its
    /// 64 bytes of report data, zeros; so that it says what runs and not whose key it holds.
    pub fn image_hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for register in
            [&self.mr_td, &self.mr_config_id, &self.mr_owner, &self.mr_owner_config].into_iter().chain(&self.rtmr)
        {
            hash.update(register);
        }
        hash.update([0; REPORT_DATA]);
        hash.finalize().into()
    }
}

/// What binds evidence to a key: the report data is the SHA-512 of the public key.
pub(crate) fn report_data(public_key: &[u8; 32]) -> [u8; REPORT_DATA] {
    Sha512::digest(public_key).into()
}

struct Hexadecimal<'a>(&'a [u8]);

impl std::fmt::Display for Hexadecimal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
