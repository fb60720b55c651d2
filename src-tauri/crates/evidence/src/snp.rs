//! Reports of AMD SEV-SNP: "SEV Secure Nested Paging Firmware ABI Specification", table ATTESTATION_REPORT, and "Versioned Chip Endorsement
//! Key (VCEK) Certificate and KDS Interface Specification".
//!
//! Verified here and not by the crate `sev`, see docs/adr/0025. Whether the firmware is the newest AMD does not say, so that is unknown.
//! May not: take the hash of a report for a number of anything; what stands around its signature can be changed.

use crate::appraisal::isolated;
use crate::policy::ImageHash;
use crate::reader::Reader;
use crate::roots;
use crate::x509::{Certificate, ChainError, element, follow};
use crate::{Appraisal, Facts, Policy, Refusal, SnpEvidence};
use ring::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};
use sha2::{Digest, Sha256};

/// Bytes of a report, and of its part that is signed.
const REPORT: usize = 0x4a0;
const SIGNED: usize = 0x2a0;
const INTEGER: u8 = 2;

/// Where the fields begin.
mod at {
    pub(super) const POLICY: usize = 0x08;
    pub(super) const VMPL: usize = 0x30;
    pub(super) const ALGORITHM: usize = 0x34;
    pub(super) const FLAGS: usize = 0x48;
    pub(super) const REPORT_DATA: usize = 0x50;
    pub(super) const MEASUREMENT: usize = 0x90;
    pub(super) const HOST_DATA: usize = 0xc0;
    pub(super) const REPORTED_TCB: usize = 0x180;
    pub(super) const CHIP: usize = 0x1a0;
    pub(super) const R: usize = 0x2a0;
    pub(super) const S: usize = 0x2e8;
}

/// Bits of the guest's policy.
mod guest {
    pub(super) const MIGRATE: u64 = 1 << 18;
    pub(super) const DEBUG: u64 = 1 << 19;
}

/// Extensions of a VCEK: 1.3.6.1.4.1.3704.1.…
mod extension {
    pub(super) const BOOT_LOADER: &[u8] = &[0x2b, 6, 1, 4, 1, 0x9c, 0x78, 1, 3, 1];
    pub(super) const TEE: &[u8] = &[0x2b, 6, 1, 4, 1, 0x9c, 0x78, 1, 3, 2];
    pub(super) const SNP: &[u8] = &[0x2b, 6, 1, 4, 1, 0x9c, 0x78, 1, 3, 3];
    pub(super) const MICROCODE: &[u8] = &[0x2b, 6, 1, 4, 1, 0x9c, 0x78, 1, 3, 8];
    pub(super) const FMC: &[u8] = &[0x2b, 6, 1, 4, 1, 0x9c, 0x78, 1, 3, 9];
    pub(super) const CHIP: &[u8] = &[0x2b, 6, 1, 4, 1, 0x9c, 0x78, 1, 4];
}

/// What the report proves about a machine whose report data must be these 64 bytes, see [`Binding::report_data`](crate::Binding). `now` is
/// in seconds since 1970. The policy's images are asked here, its grades by the caller.
pub fn appraise(
    evidence: &SnpEvidence,
    report_data: &[u8; 64],
    now: u64,
    policy: &Policy,
) -> Result<Appraisal, Refusal> {
    appraise_under(evidence, report_data, now, policy, &roots::AMD)
}

/// As [`appraise`], with these root keys in place of AMD's: for tests, which have no key of AMD's to sign with.
pub fn appraise_under(
    evidence: &SnpEvidence,
    report_data: &[u8; 64],
    now: u64,
    policy: &Policy,
    roots: &[(&str, &[u8])],
) -> Result<Appraisal, Refusal> {
    let report: &[u8; REPORT] =
        evidence.report.as_slice().try_into().map_err(|_| Refusal::Malformed("processor's report"))?;
    let vcek = Certificate::read(&evidence.vcek).ok_or(Refusal::Malformed("processor's certificate"))?;
    let ask = Certificate::read(&evidence.ask).ok_or(Refusal::Malformed("processor's certificate"))?;
    let known: Vec<(&str, Certificate<'_>)> =
        roots.iter().filter_map(|(line, root)| Some((*line, Certificate::read(root)?))).collect();
    let certificates: Vec<Certificate<'_>> = known.iter().map(|(_, root)| *root).collect();
    let root = follow(&vcek, &[ask], &certificates, now).map_err(chain)?;
    let line = known.get(root).map_or("", |(line, _)| line);

    let version = u32_at(report, 0);
    if !(2..=5).contains(&version) || u32_at(report, at::ALGORITHM) != 1 {
        return Err(Refusal::Unverified("it is a report of a version that is not known here".to_owned()));
    }
    // Two numbers of 72 bytes, the lowest byte first.
    let mut signature = [0; 96];
    for (number, start) in signature.chunks_mut(48).zip([at::R, at::S]) {
        for (byte, from) in number.iter_mut().rev().zip(report.iter().skip(start)) {
            *byte = *from;
        }
    }
    UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, vcek.key())
        .verify(&report[..SIGNED], &signature)
        .map_err(|_| Refusal::WrongSignature("processor's report"))?;

    let guest_policy = u64_at(report, at::POLICY);
    if guest_policy & guest::DEBUG != 0 {
        return Err(Refusal::Debug);
    }
    if guest_policy & guest::MIGRATE != 0 {
        return Err(Refusal::UnsafeAttributes("it can be moved to another computer"));
    }
    if u32_at(report, at::VMPL) != 0 {
        return Err(Refusal::UnsafeAttributes("the report was not asked for by what runs inside at the highest level"));
    }
    // Bits 2 to 4: the key that signed; 0 is the chip's own.
    if (u32_at(report, at::FLAGS) >> 2) & 7 != 0 {
        return Err(Refusal::Unverified("it is signed by another key than the chip's own".to_owned()));
    }
    if !is_what_the_certificate_names(report, &vcek, line) {
        return Err(Refusal::Unverified("chip or firmware are others than the certificate names".to_owned()));
    }
    if report[at::REPORT_DATA..at::REPORT_DATA + 64] != *report_data {
        return Err(Refusal::AnotherBinding);
    }
    let chip = &report[at::CHIP..at::CHIP + 64];
    let machine = Sha256::new().chain_update(b"chrysalis snp machine 1\0").chain_update(chip).finalize();
    let facts = Facts {
        machine: chip.iter().any(|byte| *byte != 0).then(|| hex::encode(machine)),
        vendor: Some(format!("AMD {line}")),
        image: Some(image(report)),
        ..Facts::default()
    };
    isolated(facts, evidence.gpu.as_deref(), policy)
}

/// What runs inside: SHA-256 over a domain, what was loaded at the start, and what the host said about it then.
pub fn image_of(report: &[u8]) -> Option<ImageHash> {
    report.try_into().ok().map(image)
}

fn image(report: &[u8; REPORT]) -> ImageHash {
    let hash = Sha256::new()
        .chain_update(b"chrysalis snp image 1\0")
        .chain_update(&report[at::MEASUREMENT..at::MEASUREMENT + 48])
        .chain_update(&report[at::HOST_DATA..at::HOST_DATA + 32]);
    ImageHash(hash.finalize().into())
}

/// The key is derived from the versions of the firmware: older firmware has another key.
fn is_what_the_certificate_names(report: &[u8; REPORT], vcek: &Certificate<'_>, line: &str) -> bool {
    use extension::{BOOT_LOADER, CHIP, FMC, MICROCODE, SNP, TEE};
    let parts: &[(usize, &[u8])] = if line == "Turin" {
        &[(0, FMC), (1, BOOT_LOADER), (2, TEE), (3, SNP), (7, MICROCODE)]
    } else {
        &[(0, BOOT_LOADER), (1, TEE), (6, SNP), (7, MICROCODE)]
    };
    let versions = parts.iter().all(|(offset, name)| {
        let said = vcek.extension(name).and_then(|content| {
            let number = element(&mut Reader(content), INTEGER)?.0;
            // One byte, with a zero before it where its first bit is set.
            match number {
                [number] | [0, number] => Some(*number),
                _ => None,
            }
        });
        said == report.get(at::REPORTED_TCB + offset).copied()
    });
    let chip = &report[at::CHIP..at::CHIP + 64];
    let masked = chip.iter().all(|byte| *byte == 0);
    let named = vcek.extension(CHIP).is_some_and(|named| !named.is_empty() && chip.starts_with(named));
    versions && (masked || named)
}

fn chain(error: ChainError) -> Refusal {
    match error {
        ChainError::Malformed => Refusal::Malformed("processor's certificate"),
        ChainError::Signature => Refusal::WrongSignature("processor's certificate"),
        ChainError::Time => Refusal::CollateralExpired,
        other => Refusal::Unverified(other.to_string()),
    }
}

fn u32_at(report: &[u8; REPORT], at: usize) -> u32 {
    report.get(at..).and_then(|bytes| Reader(bytes).le32()).unwrap_or(u32::MAX)
}

fn u64_at(report: &[u8; REPORT], at: usize) -> u64 {
    report.get(at..).and_then(|bytes| Reader(bytes).le64()).unwrap_or(u64::MAX)
}
