//! Quotes of Intel TDX, versions 4 and 5, verified offline with what Intel signed about that kind of processor.
//!
//! The chain, the signatures and the state of the firmware are checked by the crate `dcap-qvl` (docs/adr/0025); who may read the machine
//! inside, what it is bound to and what runs there is checked here. May not: fetch anything; take the hash of a quote for a number of
//! anything, because bytes behind the signed part can be changed without breaking it.

use crate::appraisal::isolated;
use crate::policy::ImageHash;
use crate::reader::Reader;
use crate::{Appraisal, Facts, Policy, Refusal, TcbStatus, TdxEvidence};
use dcap_qvl::QuoteCollateralV3;
use dcap_qvl::configs::RingConfig;
use dcap_qvl::quote::{Quote, Report, TDReport10};
use dcap_qvl::verify::QuoteVerifier;
use sha2::{Digest, Sha256};

const TDX: u32 = 0x81;
/// Attributes of a TD, "Intel TDX Module ABI Specification": who can look in, and what the owner's side could do to its memory.
mod attribute {
    /// Anything that lets somebody look in: debugging and measuring.
    pub(super) const UNDER_DEBUG: u64 = 0xff;
    pub(super) const SEPT_VE_DISABLE: u64 = 1 << 28;
    pub(super) const MIGRATABLE: u64 = 1 << 29;
}

/// What the quote proves about a machine whose report data must be these 64 bytes: of [`Binding::report_data`](crate::Binding), or of
/// [`Binding::cocoon_report_data`](crate::Binding::cocoon_report_data) where a genuine program speaks. `now` is in seconds since 1970.
/// The policy's images and firmware are asked here, its grades by the caller.
pub fn appraise(
    evidence: &TdxEvidence,
    report_data: &[u8; 64],
    now: u64,
    policy: &Policy,
) -> Result<Appraisal, Refusal> {
    let quote = parse(&evidence.quote).ok_or(Refusal::Malformed("processor's quote"))?;
    if quote.header.tee_type != TDX || !matches!(quote.header.version, 4 | 5) {
        return Err(Refusal::Unverified("it is no quote of Intel TDX of version 4 or 5".to_owned()));
    }
    let report = base(&quote.report).ok_or(Refusal::Malformed("processor's quote"))?;
    check_attributes(u64::from_le_bytes(report.td_attributes))?;
    let collateral: QuoteCollateralV3 =
        serde_json::from_slice(&evidence.collateral).map_err(|_| Refusal::Malformed("processor maker's statements"))?;
    let verified = QuoteVerifier::new_prod()
        .with_config::<RingConfig>()
        .verify(&evidence.quote, &collateral, now)
        .map_err(|error| unverified(&format!("{error:#}")))?;

    // From here on only what was verified counts.
    let report = base(&verified.report).ok_or(Refusal::Malformed("processor's quote"))?;
    check_attributes(u64::from_le_bytes(report.td_attributes))?;
    if report.report_data != *report_data {
        return Err(Refusal::AnotherBinding);
    }
    let firmware = status(&verified.status).ok_or_else(|| Refusal::Unverified(verified.status.clone()))?;
    let facts = Facts {
        machine: Some(machine(&verified.ppid)),
        vendor: Some("Intel".to_owned()),
        firmware: Some(firmware),
        advisories: verified.advisory_ids.clone(),
        image: Some(image(report)),
        ..Facts::default()
    };
    isolated(facts, evidence.gpu.as_deref(), policy)
}

/// What runs inside, in the form in which the genuine programs list it: SHA-256 over all registers and 64 zeros.
pub fn image_of(quote: &[u8]) -> Option<ImageHash> {
    parse(quote).and_then(|quote| base(&quote.report).map(image))
}

/// Reads a quote whose lengths are what is there. The library allocates what a length says, up to a megabyte, before it looks.
fn parse(quote: &[u8]) -> Option<Quote> {
    lengths_fit(quote)?;
    Quote::parse(quote).ok()
}

/// "Intel TDX DCAP Quoting Library API", Quote Format: head, body, and in the signature's data certification data within each other.
fn lengths_fit(quote: &[u8]) -> Option<()> {
    let mut reader = Reader(quote);
    let version = reader.le16()?;
    reader.take(46)?;
    let body = if version == 5 {
        let _kind = reader.le16()?;
        reader.le32()?
    } else {
        584
    };
    reader.take(body as usize)?;
    let mut data = sized(&mut reader)?;
    let _signature_and_key = data.take(128)?;
    let _kind = data.le16()?;
    let mut inner = sized(&mut data)?;
    let _report_and_signature = inner.take(384 + 64)?;
    let length = inner.le16()?;
    inner.take(usize::from(length))?;
    let _kind = inner.le16()?;
    sized(&mut inner).map(|_| ())
}

fn sized<'a>(reader: &mut Reader<'a>) -> Option<Reader<'a>> {
    let length = reader.le32()?;
    reader.take(length as usize).map(Reader)
}

fn image(report: &TDReport10) -> ImageHash {
    let mut hash = Sha256::new();
    for register in [
        &report.mr_td,
        &report.mr_config_id,
        &report.mr_owner,
        &report.mr_owner_config,
        &report.rt_mr0,
        &report.rt_mr1,
        &report.rt_mr2,
        &report.rt_mr3,
    ] {
        hash.update(register);
    }
    ImageHash(hash.chain_update([0; 64]).finalize().into())
}

fn machine(ppid: &[u8]) -> String {
    hex::encode(Sha256::new().chain_update(b"chrysalis tdx machine 1\0").chain_update(ppid).finalize())
}

fn base(report: &Report) -> Option<&TDReport10> {
    match report {
        Report::TD10(report) => Some(report),
        Report::TD15(report) => Some(&report.base),
        Report::TD15Ex(report) => Some(&report.base.base),
        Report::SgxEnclave(_) => None,
    }
}

fn check_attributes(attributes: u64) -> Result<(), Refusal> {
    if attributes & attribute::UNDER_DEBUG != 0 {
        return Err(Refusal::Debug);
    }
    if attributes & attribute::SEPT_VE_DISABLE == 0 {
        return Err(Refusal::UnsafeAttributes("its owner can make it stumble over its own memory"));
    }
    if attributes & attribute::MIGRATABLE != 0 {
        return Err(Refusal::UnsafeAttributes("it can be moved to another computer"));
    }
    Ok(())
}

fn unverified(said: &str) -> Refusal {
    // The library says it in words only; a test holds it to them.
    if said.to_lowercase().contains("expired") {
        Refusal::CollateralExpired
    } else {
        Refusal::Unverified(said.chars().filter(|letter| !letter.is_control()).take(200).collect())
    }
}

fn status(name: &str) -> Option<TcbStatus> {
    Some(match name {
        "UpToDate" => TcbStatus::UpToDate,
        "SWHardeningNeeded" => TcbStatus::SwHardeningNeeded,
        "ConfigurationNeeded" => TcbStatus::ConfigurationNeeded,
        "ConfigurationAndSWHardeningNeeded" => TcbStatus::ConfigurationAndSwHardeningNeeded,
        "TDRelaunchAdvised" => TcbStatus::RelaunchAdvised,
        "TDRelaunchAdvisedConfigurationNeeded" => TcbStatus::RelaunchAdvisedConfigurationNeeded,
        "OutOfDate" => TcbStatus::OutOfDate,
        "OutOfDateConfigurationNeeded" => TcbStatus::OutOfDateConfigurationNeeded,
        "Revoked" => TcbStatus::Revoked,
        _ => return None,
    })
}
