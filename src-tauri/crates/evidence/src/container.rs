//! The bytes in which evidence travels: a head, a kind, and fields with tag and length. The layout stands in `docs/attestation.md`.
//!
//! May not: judge what is in a field. It says only that the bytes are whole, within limits and written in the one way there is.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The first bytes: name and version of the layout.
const HEAD: [u8; 5] = *b"CHEV\x01";
/// The most bytes of a measured-boot log.
pub const LOG_LIMIT: usize = 256 * 1024;
/// The most bytes of everything else together.
const REST_LIMIT: usize = 64 * 1024;
/// The most bytes of evidence.
pub const TOTAL_LIMIT: usize = LOG_LIMIT + REST_LIMIT;
/// Bytes of the eight registers that are quoted.
const REGISTERS: usize = 8 * 32;

/// What an attester shows.
#[expect(clippy::large_enum_variant, reason = "one is held at a time, and not for long")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// Nothing.
    SelfClaim,
    /// A TPM's quote, and who says what TPM it is.
    Tpm(TpmEvidence),
    /// A quote of Intel TDX.
    Tdx(TdxEvidence),
    /// A report of AMD SEV-SNP.
    Snp(SnpEvidence),
}

/// What a TPM says about this computer. Structures are the bytes of "TPM 2.0 Library, Part 2" without a length before them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TpmEvidence {
    /// The attestation key: a `TPMT_PUBLIC`.
    pub ak_public: Vec<u8>,
    /// What it signed: a `TPMS_ATTEST` of a quote.
    pub attest: Vec<u8>,
    /// The signature: a `TPMT_SIGNATURE`.
    pub signature: Vec<u8>,
    /// The registers 0 to 7 of the SHA-256 bank.
    pub registers: [[u8; 32]; 8],
    /// The registrar's [`Statement`](crate::Statement) about the attestation key.
    pub statement: Vec<u8>,
    /// The measured-boot log in TCG's crypto-agile form, if the system shows one.
    pub log: Option<Vec<u8>>,
}

/// What a machine inside Intel TDX says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TdxEvidence {
    /// The quote, version 4 or 5.
    pub quote: Vec<u8>,
    /// Intel's signed statements about this kind of processor, as the JSON in which collateral services answer.
    pub collateral: Vec<u8>,
    /// A graphics card's own report. Carried, and worth nothing yet.
    pub gpu: Option<Vec<u8>>,
}

/// What a machine inside AMD SEV-SNP says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnpEvidence {
    /// The attestation report, 1,184 bytes.
    pub report: Vec<u8>,
    /// The certificate of the key that signed it (VCEK), DER.
    pub vcek: Vec<u8>,
    /// The certificate above it (ASK), DER.
    pub ask: Vec<u8>,
    /// A graphics card's own report. Carried, and worth nothing yet.
    pub gpu: Option<Vec<u8>>,
}

/// How current the firmware is, as the processor's maker says; Intel's words, and [`Self::UpToDate`] for AMD where what runs is what the
/// certificate names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TcbStatus {
    /// Nothing is missing.
    UpToDate,
    /// Software has to guard itself against something that the firmware does not.
    SwHardeningNeeded,
    /// The computer's settings leave something open.
    ConfigurationNeeded,
    /// Both of these.
    ConfigurationAndSwHardeningNeeded,
    /// The machine was started before the firmware became what it is.
    RelaunchAdvised,
    /// That, and settings leave something open.
    RelaunchAdvisedConfigurationNeeded,
    /// There is newer firmware that closes something.
    OutOfDate,
    /// That, and settings leave something open.
    OutOfDateConfigurationNeeded,
    /// Its keys are no longer to be believed.
    Revoked,
}

impl TcbStatus {
    /// Whether nothing known is open, or only what software guards itself against.
    pub fn is_current(self) -> bool {
        self <= Self::SwHardeningNeeded
    }
}

/// Why bytes are no evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// More than [`TOTAL_LIMIT`], or a part of more than its own limit.
    #[error("the evidence is larger than evidence may be")]
    TooLarge,
    /// It does not begin as evidence of this version does.
    #[error("these bytes are no evidence of a version that is known here")]
    NotEvidence,
    /// A kind of evidence that is not known.
    #[error("evidence of the unknown kind {0}")]
    UnknownKind(u8),
    /// The bytes end inside a field.
    #[error("the evidence is cut off")]
    CutOff,
    /// A field that does not belong there, or not at that place.
    #[error("field {0} of the evidence stands where it may not")]
    Field(u8),
    /// A field that must be there and is not.
    #[error("field {0} of the evidence is missing")]
    Missing(u8),
    /// A field of another length than it must have.
    #[error("field {0} of the evidence has a wrong length")]
    Length(u8),
}

mod kind {
    pub(super) const SELF_CLAIM: u8 = 0;
    pub(super) const TPM: u8 = 1;
    pub(super) const TDX: u8 = 2;
    pub(super) const SNP: u8 = 3;
}

mod tag {
    pub(super) const AK_PUBLIC: u8 = 1;
    pub(super) const ATTEST: u8 = 2;
    pub(super) const SIGNATURE: u8 = 3;
    pub(super) const REGISTERS: u8 = 4;
    pub(super) const STATEMENT: u8 = 5;
    pub(super) const LOG: u8 = 6;
    pub(super) const QUOTE: u8 = 16;
    pub(super) const COLLATERAL: u8 = 17;
    pub(super) const REPORT: u8 = 18;
    pub(super) const VCEK: u8 = 19;
    pub(super) const ASK: u8 = 20;
    pub(super) const GPU: u8 = 32;
}

impl Evidence {
    /// Writes it. What is larger than the limits is written all the same, and refused when it is read.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer(HEAD.to_vec());
        match self {
            Self::SelfClaim => out.0.push(kind::SELF_CLAIM),
            Self::Tpm(tpm) => {
                out.0.push(kind::TPM);
                out.field(tag::AK_PUBLIC, &tpm.ak_public);
                out.field(tag::ATTEST, &tpm.attest);
                out.field(tag::SIGNATURE, &tpm.signature);
                out.field(tag::REGISTERS, tpm.registers.as_flattened());
                out.field(tag::STATEMENT, &tpm.statement);
                out.optional(tag::LOG, tpm.log.as_deref());
            }
            Self::Tdx(tdx) => {
                out.0.push(kind::TDX);
                out.field(tag::QUOTE, &tdx.quote);
                out.field(tag::COLLATERAL, &tdx.collateral);
                out.optional(tag::GPU, tdx.gpu.as_deref());
            }
            Self::Snp(snp) => {
                out.0.push(kind::SNP);
                out.field(tag::REPORT, &snp.report);
                out.field(tag::VCEK, &snp.vcek);
                out.field(tag::ASK, &snp.ask);
                out.optional(tag::GPU, snp.gpu.as_deref());
            }
        }
        out.0
    }

    /// Reads it, within the limits and with nothing behind it. What is read is written as the same bytes again.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > TOTAL_LIMIT {
            return Err(DecodeError::TooLarge);
        }
        let (kind, mut rest) =
            bytes.strip_prefix(&HEAD).and_then(<[u8]>::split_first).ok_or(DecodeError::NotEvidence)?;
        // Fields are kept as slices until all are there.
        let mut fields: Vec<(u8, &[u8])> = Vec::new();
        let mut size = 0;
        while let Some((tag, after)) = rest.split_first() {
            let (length, after) = after.split_first_chunk().ok_or(DecodeError::CutOff)?;
            let (value, after) =
                after.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or(DecodeError::CutOff)?;
            if fields.last().is_some_and(|(last, _)| last >= tag) || fields.len() == 8 {
                return Err(DecodeError::Field(*tag));
            }
            if *tag == tag::LOG {
                if value.len() > LOG_LIMIT {
                    return Err(DecodeError::TooLarge);
                }
            } else {
                size += value.len();
            }
            fields.push((*tag, value));
            rest = after;
        }
        if size > REST_LIMIT {
            return Err(DecodeError::TooLarge);
        }
        let mut fields = Fields(fields.into_iter().peekable());
        let evidence = match *kind {
            kind::SELF_CLAIM => Self::SelfClaim,
            kind::TPM => Self::Tpm(TpmEvidence {
                ak_public: fields.take(tag::AK_PUBLIC)?,
                attest: fields.take(tag::ATTEST)?,
                signature: fields.take(tag::SIGNATURE)?,
                registers: registers(&fields.take(tag::REGISTERS)?)?,
                statement: fields.take(tag::STATEMENT)?,
                log: fields.take_if_there(tag::LOG),
            }),
            kind::TDX => Self::Tdx(TdxEvidence {
                quote: fields.take(tag::QUOTE)?,
                collateral: fields.take(tag::COLLATERAL)?,
                gpu: fields.take_if_there(tag::GPU),
            }),
            kind::SNP => Self::Snp(SnpEvidence {
                report: fields.take(tag::REPORT)?,
                vcek: fields.take(tag::VCEK)?,
                ask: fields.take(tag::ASK)?,
                gpu: fields.take_if_there(tag::GPU),
            }),
            other => return Err(DecodeError::UnknownKind(other)),
        };
        match fields.0.next() {
            Some((tag, _)) => Err(DecodeError::Field(tag)),
            None => Ok(evidence),
        }
    }
}

fn registers(bytes: &[u8]) -> Result<[[u8; 32]; 8], DecodeError> {
    let mut registers = [[0; 32]; 8];
    if bytes.len() != REGISTERS {
        return Err(DecodeError::Length(tag::REGISTERS));
    }
    registers.as_flattened_mut().copy_from_slice(bytes);
    Ok(registers)
}

struct Writer(Vec<u8>);

impl Writer {
    fn field(&mut self, tag: u8, value: &[u8]) {
        self.0.push(tag);
        self.0.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.0.extend_from_slice(value);
    }

    fn optional(&mut self, tag: u8, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.field(tag, value);
        }
    }
}

struct Fields<'a>(std::iter::Peekable<std::vec::IntoIter<(u8, &'a [u8])>>);

impl Fields<'_> {
    fn take_if_there(&mut self, tag: u8) -> Option<Vec<u8>> {
        self.0.next_if(|(found, _)| *found == tag).map(|(_, value)| value.to_vec())
    }

    fn take(&mut self, tag: u8) -> Result<Vec<u8>, DecodeError> {
        match self.0.peek() {
            // A field with a lower tag stands where none may: the wanted one can still come.
            Some((found, _)) if *found < tag => Err(DecodeError::Field(*found)),
            _ => self.take_if_there(tag).ok_or(DecodeError::Missing(tag)),
        }
    }
}
