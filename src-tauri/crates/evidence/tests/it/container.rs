//! The bytes in which evidence travels.

use evidence::{DecodeError, Evidence, SnpEvidence, TOTAL_LIMIT, TdxEvidence, TpmEvidence};
use std::path::PathBuf;

pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/evidence").join(name)
}

/// One of each kind, with everything in it.
pub(crate) fn one_of_each() -> [(&'static str, Evidence); 4] {
    let mut registers = [[0; 32]; 8];
    registers[7] = [0x77; 32];
    [
        ("self-claim.bin", Evidence::SelfClaim),
        (
            "tpm.bin",
            Evidence::Tpm(TpmEvidence {
                ak_public: b"attestation key".to_vec(),
                attest: b"quote".to_vec(),
                signature: b"signature".to_vec(),
                registers,
                statement: b"statement".to_vec(),
                log: Some(b"log".to_vec()),
            }),
        ),
        (
            "tdx.bin",
            Evidence::Tdx(TdxEvidence {
                quote: b"quote".to_vec(),
                collateral: b"{}".to_vec(),
                gpu: Some(b"card".to_vec()),
            }),
        ),
        (
            "snp.bin",
            Evidence::Snp(SnpEvidence {
                report: b"report".to_vec(),
                vcek: b"vcek".to_vec(),
                ask: b"ask".to_vec(),
                gpu: None,
            }),
        ),
    ]
}

#[test]
fn every_kind_of_evidence_is_written_as_its_golden_bytes_and_read_back() {
    for (name, evidence) in one_of_each() {
        let golden = std::fs::read(fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(evidence.encode(), golden, "{name}");
        assert_eq!(Evidence::decode(&golden), Ok(evidence), "{name}");
    }
}

#[test]
fn cut_lengthened_or_reordered_evidence_is_refused() {
    for (name, evidence) in one_of_each() {
        let bytes = evidence.encode();
        for length in 0..bytes.len() {
            // Optional fields can go, whole.
            if let Ok(shorter) = Evidence::decode(&bytes[..length]) {
                assert_eq!(shorter.encode(), bytes[..length], "{name}");
                assert_ne!(shorter, evidence, "{name}");
            }
        }
        assert_eq!(Evidence::decode(&[&bytes[..], &[0]].concat()), Err(DecodeError::CutOff));
        assert!(Evidence::decode(&[&bytes[..], &[200, 0, 0, 0, 0]].concat()).is_err(), "{name} takes an unknown field");
    }
    assert_eq!(Evidence::decode(b"CHEV\x02\0"), Err(DecodeError::NotEvidence));
    assert_eq!(Evidence::decode(b"CHEV\x01\x09"), Err(DecodeError::UnknownKind(9)));
    assert_eq!(Evidence::decode(b"CHEV\x01\x02\x11\0\0\0\0\x10\0\0\0\0"), Err(DecodeError::Field(0x10)));
    assert_eq!(Evidence::decode(b"CHEV\x01\x02\x11\0\0\0\0"), Err(DecodeError::Missing(0x10)));
    assert_eq!(Evidence::decode(b"CHEV\x01\x02\x10\0\0\0\0\x10\0\0\0\0"), Err(DecodeError::Field(0x10)));
    assert_eq!(Evidence::decode(b"CHEV\x01\x02\x10\xff\xff\xff\xff"), Err(DecodeError::CutOff));
}

#[test]
fn evidence_beyond_its_limits_is_refused() {
    assert_eq!(Evidence::decode(&vec![0; TOTAL_LIMIT + 1]), Err(DecodeError::TooLarge));
    let with =
        |quote: usize| Evidence::Tdx(TdxEvidence { quote: vec![0; quote], collateral: Vec::new(), gpu: None }).encode();
    assert!(Evidence::decode(&with(64 * 1024)).is_ok());
    assert_eq!(Evidence::decode(&with(64 * 1024 + 1)), Err(DecodeError::TooLarge));
}
