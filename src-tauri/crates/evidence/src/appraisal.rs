//! The one way from evidence to a grade.
//!
//! May not: grant a grade anywhere else, or two grades for one kind of evidence in any way but the ones written here.

use crate::container::DecodeError;
use crate::policy::ImageHash;
use crate::{Binding, Evidence, Grade, Policy, StatementError, TcbStatus, snp, tdx, tpm};
use serde::Serialize;
use thiserror::Error;

/// What a verifier trusts, besides the makers' roots that are built in.
#[derive(Debug, Clone, Default)]
pub struct Anchors {
    /// The keys of registrars that are believed.
    pub registrars: Vec<[u8; 32]>,
    /// Who verifies: statements for somebody else do not count.
    pub audience: [u8; 32],
}

/// What evidence proves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Appraisal {
    /// How much.
    pub grade: Grade,
    /// What besides.
    pub facts: Facts,
}

/// What was learned on the way. Unknown is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// The machine: the registrar's number for it, or a hash of what the processor's maker certified. The same machine has the same number
    /// at the same verifier; never a hash of evidence or of a signature, which can be changed without becoming wrong.
    pub machine: Option<String>,
    /// Who made the TPM or the processor.
    pub vendor: Option<String>,
    /// Whether Secure Boot was on when the machine was started.
    pub secure_boot: Option<bool>,
    /// How often the TPM was reset: a lower number than before is another machine or a cleared one.
    pub resets: Option<u32>,
    /// How current the processor's firmware is.
    pub firmware: Option<TcbStatus>,
    /// What the maker has published about that firmware.
    pub advisories: Vec<String>,
    /// What runs inside the isolated processor.
    pub image: Option<ImageHash>,
}

/// A graphics card's report that was verified. Nobody can make one: there is no verifier of them here yet, so
/// [`Grade::HardwareIsolated`] is granted to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpuProof {}

/// Why evidence is refused, in plain words.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize)]
#[serde(rename_all = "kebab-case", tag = "reason", content = "what")]
pub enum Refusal {
    /// All is in order, and it is not enough or not the right thing.
    #[error("this computer proves the grade {0}, which is not accepted here")]
    GradeNotAccepted(Grade),
    /// The policy asks for Secure Boot. What is proved all the same is this grade.
    #[error("this computer was started with Secure Boot off, and it is asked for")]
    SecureBootOff(Grade),
    /// The policy asks for Secure Boot, and nothing shows whether it was on. What is proved all the same is this grade.
    #[error("this computer does not show whether it was started with Secure Boot, and it is asked for")]
    SecureBootUnknown(Grade),
    /// An old proof, or one of another connection.
    #[error("the proof was made for another question or for another connection")]
    AnotherBinding,
    /// Bytes that can't be read.
    #[error("the {0} can't be read")]
    Malformed(&'static str),
    /// A signature that does not fit.
    #[error("the {0} is not signed as it should be")]
    WrongSignature(&'static str),
    /// The statement is by somebody who is not trusted here.
    #[error("the registrar that vouches for this computer is not trusted here")]
    UnknownRegistrar,
    /// The statement was made for another verifier.
    #[error("the registrar's statement was made for somebody else")]
    AnotherAudience,
    /// The statement is about another key than the one that signed the quote.
    #[error("the registrar's statement is about another key than the one that signed")]
    AnotherKey,
    /// The statement is from the future.
    #[error("the registrar's statement is not valid yet; is a clock wrong?")]
    StatementTooEarly,
    /// The statement is over.
    #[error("the registrar's statement has expired")]
    StatementExpired,
    /// A key that signs more than what the TPM itself has to say.
    #[error("the attestation key is not one that signs only what the TPM itself says")]
    UnfitKey,
    /// The registers shown are not those that were signed.
    #[error("the registers shown are not the ones that the TPM signed")]
    RegistersDiffer,
    /// The log, replayed, ends elsewhere than the register of this number.
    #[error("the boot log does not lead to register {0}, so nothing in it is believed")]
    LogDoesNotFit(u8),
    /// The log contradicts itself about Secure Boot.
    #[error("the boot log says two things about Secure Boot")]
    LogContradictsItself,
    /// The machine inside can be looked into.
    #[error("the isolated machine runs in debug mode: its owner can read it")]
    Debug,
    /// An attribute of the isolated machine is not as it must be.
    #[error("the isolated machine is set up in a way that is not safe: {0}")]
    UnsafeAttributes(&'static str),
    /// The maker's statements about the firmware are over.
    #[error("the processor maker's statements have expired")]
    CollateralExpired,
    /// Whatever else is wrong with a processor's quote, in the verifier's words.
    #[error("the processor's proof does not hold: {0}")]
    Unverified(String),
    /// The firmware is not current enough.
    #[error("the processor's firmware is not accepted here: it is {0:?}")]
    Firmware(TcbStatus),
    /// What runs inside is not on the list.
    #[error("what runs inside the isolated machine is not on the list of accepted images: {0}")]
    ImageNotListed(ImageHash),
}

/// Why what was shown is not enough.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotShown {
    /// Bytes that are no evidence.
    #[error("{0}")]
    Decode(#[from] DecodeError),
    /// Evidence that is refused.
    #[error("{0}")]
    Refused(#[from] Refusal),
}

impl NotShown {
    /// What is proved all the same.
    pub const fn proved(&self) -> Grade {
        match self {
            Self::Refused(
                Refusal::GradeNotAccepted(grade) | Refusal::SecureBootOff(grade) | Refusal::SecureBootUnknown(grade),
            ) => *grade,
            Self::Decode(_) | Self::Refused(_) => Grade::SelfClaim,
        }
    }
}

impl From<StatementError> for Refusal {
    fn from(error: StatementError) -> Self {
        match error {
            StatementError::Malformed => Self::Malformed("registrar's statement"),
            StatementError::Signature => Self::WrongSignature("registrar's statement"),
        }
    }
}

/// Judges evidence: what it proves, and whether that is enough. `now` is in seconds since 1970.
pub fn appraise(
    evidence: &Evidence,
    binding: &Binding,
    now: u64,
    anchors: &Anchors,
    policy: &Policy,
) -> Result<Appraisal, Refusal> {
    let appraisal = match evidence {
        Evidence::SelfClaim => Appraisal { grade: Grade::SelfClaim, facts: Facts::default() },
        Evidence::Tpm(tpm) => tpm::appraise(tpm, binding, now, anchors)?,
        Evidence::Tdx(tdx) => tdx::appraise(tdx, &binding.report_data(), now, policy)?,
        Evidence::Snp(snp) => snp::appraise(snp, &binding.report_data(), now, policy)?,
    };
    judge(appraisal, policy)
}

/// Judges what somebody has shown: bytes of [`Evidence`], or nothing, which is a self-claim.
pub fn appraise_shown(
    shown: Option<&[u8]>,
    binding: &Binding,
    now: u64,
    anchors: &Anchors,
    policy: &Policy,
) -> Result<Appraisal, NotShown> {
    let evidence = shown.map_or(Ok(Evidence::SelfClaim), Evidence::decode)?;
    Ok(appraise(&evidence, binding, now, anchors, policy)?)
}

/// Asks the policy about what is proved.
pub fn judge(appraisal: Appraisal, policy: &Policy) -> Result<Appraisal, Refusal> {
    if !policy.accepted.contains(&appraisal.grade) {
        return Err(Refusal::GradeNotAccepted(appraisal.grade));
    }
    let known = matches!(appraisal.grade, Grade::KnownMachine | Grade::KnownMachineUncertified);
    match appraisal.facts.secure_boot {
        Some(false) if known && policy.require_secure_boot => Err(Refusal::SecureBootOff(appraisal.grade)),
        None if known && policy.require_secure_boot => Err(Refusal::SecureBootUnknown(appraisal.grade)),
        _ => Ok(appraisal),
    }
}

/// The grade of a machine whose processor's report is good: what runs there and its firmware must be accepted, and the card proved.
pub(crate) fn isolated(facts: Facts, gpu: Option<&[u8]>, policy: &Policy) -> Result<Appraisal, Refusal> {
    if let Some(status) = facts.firmware
        && !policy.takes_firmware(status)
    {
        return Err(Refusal::Firmware(status));
    }
    match facts.image {
        Some(image) if policy.images.contains(&image) => {}
        Some(image) => return Err(Refusal::ImageNotListed(image)),
        None => return Err(Refusal::Malformed("processor's measurements")),
    }
    let grade = match gpu.and_then(verify_gpu) {
        Some(_proof) => Grade::HardwareIsolated,
        None => Grade::ProcessorIsolated,
    };
    Ok(Appraisal { grade, facts })
}

/// Verifies a graphics card's report. No verifier exists here, so none is good.
fn verify_gpu(_report: &[u8]) -> Option<GpuProof> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firmware_that_is_not_current_is_refused_by_name_unless_the_policy_names_it() {
        let image = ImageHash([1; 32]);
        let mut policy = Policy { images: [image].into(), ..Policy::default() };
        let facts = |firmware| Facts { firmware: Some(firmware), image: Some(image), ..Facts::default() };
        for status in [TcbStatus::OutOfDate, TcbStatus::ConfigurationNeeded, TcbStatus::Revoked] {
            assert_eq!(isolated(facts(status), None, &policy), Err(Refusal::Firmware(status)));
        }
        policy.also_accepted_firmware = [TcbStatus::OutOfDate, TcbStatus::Revoked].into();
        assert_eq!(isolated(facts(TcbStatus::OutOfDate), None, &policy).unwrap().grade, Grade::ProcessorIsolated);
        assert_eq!(isolated(facts(TcbStatus::Revoked), None, &policy), Err(Refusal::Firmware(TcbStatus::Revoked)));
        // Nothing measured is no image.
        let nothing = Facts { image: None, ..facts(TcbStatus::UpToDate) };
        assert!(matches!(isolated(nothing, None, &policy), Err(Refusal::Malformed(_))));
    }
}
