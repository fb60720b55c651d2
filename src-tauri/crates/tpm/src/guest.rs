//! Reports of a machine inside an isolated processor, by Linux's configfs-tsm: a folder is made, 64 bytes are written, the report is read.
//!
//! Source: Linux, `Documentation/ABI/testing/configfs-tsm-report`. May not: believe the report; it goes to a verifier.

use evidence::{Binding, Evidence, SnpEvidence, TdxEvidence};
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use thiserror::Error;

/// The folder in which reports are made.
pub const REPORTS: &str = "sys/kernel/config/tsm/report";
/// The most bytes of a report, and of what comes beside it.
const LIMIT: u64 = 64 * 1024;

/// Who made a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Intel TDX: the report is a quote.
    Tdx,
    /// AMD SEV-SNP: the report is 1,184 bytes, certificates may come beside it.
    Snp,
}

/// A report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Who made it.
    pub provider: Provider,
    /// The report itself.
    pub report: Vec<u8>,
    /// Certificates that the host put beside it: a table of GUIDs, offsets and lengths. `None` where there is none.
    pub beside: Option<Vec<u8>>,
}

/// Why there is no report.
#[derive(Debug, Error)]
pub enum ReportError {
    /// This is no machine that can make one.
    #[error("this computer is not a machine inside an isolated processor, or its system can't make reports")]
    NotAGuest,
    /// The kernel gives its folder to root alone.
    #[error("reports are made by root, or by whoever root has given the folder /{REPORTS} to")]
    NotAllowed,
    /// The system said no.
    #[error("the system made no report: {0}")]
    System(#[from] io::Error),
    /// Somebody else wrote into the folder meanwhile.
    #[error("the report was disturbed while it was made; it can be asked for again")]
    Disturbed,
    /// A provider that is not known.
    #[error("the report is of a kind that is not known here: {0}")]
    Unknown(String),
    /// Too large.
    #[error("the report is larger than a report may be")]
    TooLarge,
}

/// Why a report is no evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Incomplete {
    /// A quote of TDX is verified with what its maker says of the processor.
    #[error("a quote of TDX goes with its maker's statements, and there are none")]
    Collateral,
    /// A report of SEV-SNP is verified with certificates that the host puts beside it.
    #[error("the host put no certificates beside the report of SEV-SNP")]
    Certificates,
}

/// Why there is no evidence.
#[derive(Debug, Error)]
pub enum NoEvidence {
    /// There is no report.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// There is one, and not what goes with it.
    #[error(transparent)]
    Incomplete(#[from] Incomplete),
    /// What goes with it can't be read.
    #[error("{0}")]
    Collateral(String),
}

impl Report {
    /// What a verifier is shown: a quote with its maker's statements, or a report with the certificates that the host put beside it.
    pub fn into_evidence(self, collateral: Option<Vec<u8>>) -> Result<Evidence, Incomplete> {
        match self.provider {
            Provider::Tdx => {
                let collateral = collateral.ok_or(Incomplete::Collateral)?;
                Ok(Evidence::Tdx(TdxEvidence { quote: self.report, collateral, gpu: None }))
            }
            Provider::Snp => {
                let beside = self.beside.unwrap_or_default();
                let certificate =
                    |which| certificate(&beside, which).map(<[u8]>::to_vec).ok_or(Incomplete::Certificates);
                let (vcek, ask) = (certificate(&VCEK)?, certificate(&ASK)?);
                Ok(Evidence::Snp(SnpEvidence { report: self.report, vcek, ask, gpu: None }))
            }
        }
    }
}

/// GUIDs in the host's table, "SEV-ES Guest-Hypervisor Communication Block Standardization", as bytes: 63da758d-e664-4564-adc5-f4b93be8accd
/// and 4ab7b379-bbac-4fe4-a02f-05aef327c782, in the order in which they are written.
const VCEK: [u8; 16] = *b"\x63\xda\x75\x8d\xe6\x64\x45\x64\xad\xc5\xf4\xb9\x3b\xe8\xac\xcd";
const ASK: [u8; 16] = *b"\x4a\xb7\xb3\x79\xbb\xac\x4f\xe4\xa0\x2f\x05\xae\xf3\x27\xc7\x82";

/// One certificate of the host's table: lines of a GUID, an offset and a length, the last one all zeros.
fn certificate<'a>(table: &'a [u8], which: &[u8; 16]) -> Option<&'a [u8]> {
    // The GUID's first three fields are little-endian where the table is AMD's, and as written where it is Linux' own.
    let mut swapped = *which;
    swapped[..4].reverse();
    swapped[4..6].reverse();
    swapped[6..8].reverse();
    let line = table.chunks_exact(24).take_while(|line| line.iter().any(|byte| *byte != 0)).find(|line| {
        let guid = line.get(..16);
        guid == Some(which) || guid == Some(&swapped)
    })?;
    let number = |at: usize| Some(u32::from_le_bytes(*line.get(at..)?.first_chunk()?) as usize);
    let (offset, length) = (number(16)?, number(20)?);
    table.get(offset..offset.checked_add(length)?)
}

/// Whether reports can be made here. `root`: where the system's files are, `/` but in tests.
pub fn is_one(root: &Path) -> bool {
    root.join(REPORTS).is_dir()
}

/// Makes evidence: a report over a question and a connection's key, with what its maker says of the processor where it goes with a report;
/// `collateral` is asked for it only then. `root` as for [`report`].
pub fn evidence(
    root: &Path,
    binding: &Binding,
    collateral: impl FnOnce() -> Result<Vec<u8>, String>,
) -> Result<Evidence, NoEvidence> {
    let data = binding.report_data();
    // A folder that nobody else has: no question and key are asked about twice.
    let number = data.first_chunk().copied().map_or(0, u128::from_be_bytes);
    with_what_belongs(report(root, &format!("chrysalis-{number:032x}"), &data)?, collateral)
}

/// The same in a folder that was made for it.
pub fn evidence_in(
    folder: &Path,
    binding: &Binding,
    collateral: impl FnOnce() -> Result<Vec<u8>, String>,
) -> Result<Evidence, NoEvidence> {
    with_what_belongs(report_in(folder, &binding.report_data())?, collateral)
}

fn with_what_belongs(
    report: Report,
    collateral: impl FnOnce() -> Result<Vec<u8>, String>,
) -> Result<Evidence, NoEvidence> {
    let collateral = match report.provider {
        Provider::Tdx => Some(collateral().map_err(NoEvidence::Collateral)?),
        Provider::Snp => None,
    };
    Ok(report.into_evidence(collateral)?)
}

/// Makes a report over these 64 bytes, under a root folder, which is `/` but in tests. `name` is that of a folder nobody else uses.
pub fn report(root: &Path, name: &str, report_data: &[u8; 64]) -> Result<Report, ReportError> {
    if !is_one(root) {
        return Err(ReportError::NotAGuest);
    }
    let folder = root.join(REPORTS).join(name);
    fs::create_dir(&folder).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => ReportError::NotAllowed,
        _ => ReportError::System(error),
    })?;
    let made = report_in(&folder, report_data);
    // The system removes what is in it by itself, and refuses to remove files one by one.
    let removed = fs::remove_dir(&folder);
    let made = made?;
    removed?;
    Ok(made)
}

/// Makes a report in a folder that was made for it.
pub fn report_in(folder: &Path, report_data: &[u8; 64]) -> Result<Report, ReportError> {
    // Each write counts up: one of ours, and none of anybody else until all is read.
    let before = generation(folder)?;
    fs::write(folder.join("inblob"), report_data)?;
    let report = read(&folder.join("outblob"))?;
    let provider = match String::from_utf8_lossy(&read(&folder.join("provider"))?).trim() {
        "tdx_guest" => Provider::Tdx,
        "sev_guest" => Provider::Snp,
        other => return Err(ReportError::Unknown(other.chars().take(40).collect())),
    };
    let beside = read(&folder.join("auxblob")).ok().filter(|beside| !beside.is_empty());
    if Some(generation(folder)?) != before.checked_add(1) {
        return Err(ReportError::Disturbed);
    }
    Ok(Report { provider, report, beside })
}

/// How many writes there were.
fn generation(folder: &Path) -> Result<u64, ReportError> {
    let text = read(&folder.join("generation"))?;
    let number = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its count of writes is no number").into())
}

fn read(path: &Path) -> Result<Vec<u8>, ReportError> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT { Err(ReportError::TooLarge) } else { Ok(bytes) }
}
