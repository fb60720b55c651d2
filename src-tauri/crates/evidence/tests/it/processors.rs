//! Quotes and reports of isolated processors. Genuine ones were made for other questions than ours, so they are asked with their own report data.

use crate::samples::{sample, snp_sample, tdx_sample};
use evidence::{
    Anchors, Appraisal, Binding, Evidence, Grade, ImageHash, Policy, Refusal, SnpEvidence, TcbStatus, appraise, snp,
    tdx,
};
use rcgen::{BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};

/// 2025-07-05 and 2026-10-08, when the samples' collateral was good; and 2026-11-27.
const THEN: u64 = 1_751_673_600;
const LATER: u64 = 1_791_421_786;
pub(crate) const NOW: u64 = 1_795_780_800;

/// The report data of a quote: the last 64 bytes of a report that begins behind the head (48 bytes), in version 5 behind its kind and
/// length (6 more).
fn report_data(quote: &[u8]) -> [u8; 64] {
    let version = u16::from_le_bytes([quote[0], quote[1]]);
    let start = if version == 4 { 48 } else { 54 } + 520;
    quote[start..start + 64].try_into().unwrap()
}

pub(crate) fn listing(image: Option<ImageHash>) -> Policy {
    Policy { images: image.into_iter().collect(), ..Policy::default() }
}

#[test]
fn genuine_quotes_of_both_versions_are_an_isolated_processor_without_a_card() {
    for (name, version, then) in [("tdx_quote", 4, THEN), ("tdx_quote_td15ex", 5, LATER)] {
        let evidence = tdx_sample(name);
        assert_eq!(u16::from_le_bytes([evidence.quote[0], evidence.quote[1]]), version);
        let policy = listing(tdx::image_of(&evidence.quote));
        let data = report_data(&evidence.quote);
        let appraisal = tdx::appraise(&evidence, &data, then, &policy).unwrap();
        assert_eq!(appraisal.grade, Grade::ProcessorIsolated, "{name}");
        assert_eq!(appraisal.facts.firmware, Some(TcbStatus::UpToDate), "{name}");
        assert_eq!(appraisal.facts.vendor.as_deref(), Some("Intel"));
        assert_eq!(
            appraisal.facts.image.into_iter().collect::<Vec<_>>(),
            policy.images.iter().copied().collect::<Vec<_>>()
        );

        // It was made for another question, and an image that is not listed may be its owner's own.
        let binding = Binding { nonce: [1; 32], tls_key: [2; 32] };
        let refused = appraise(&Evidence::Tdx(evidence.clone()), &binding, then, &Anchors::default(), &policy);
        assert_eq!(refused, Err(Refusal::AnotherBinding));
        let cocoon = Binding::cocoon_report_data(&binding.tls_key);
        assert_eq!(tdx::appraise(&evidence, &cocoon, then, &policy), Err(Refusal::AnotherBinding));
        let unlisted = tdx::appraise(&evidence, &data, then, &Policy::default());
        assert_eq!(unlisted, Err(Refusal::ImageNotListed(appraisal.facts.image.unwrap())));
    }
}

#[test]
fn a_card_s_report_raises_nothing_while_nobody_verifies_it() {
    let mut evidence = tdx_sample("tdx_quote");
    let policy = listing(tdx::image_of(&evidence.quote));
    let data = report_data(&evidence.quote);
    for gpu in [&b""[..], b"NVIDIA", &[0xff; 4096]] {
        evidence.gpu = Some(gpu.to_vec());
        let appraisal = tdx::appraise(&evidence, &data, THEN, &policy).unwrap();
        assert_eq!(appraisal.grade, Grade::ProcessorIsolated);
    }
}

#[test]
fn what_the_maker_said_ends_and_is_not_believed_before_it_begins() {
    let evidence = tdx_sample("tdx_quote");
    let policy = listing(tdx::image_of(&evidence.quote));
    let data = report_data(&evidence.quote);
    assert_eq!(tdx::appraise(&evidence, &data, NOW, &policy), Err(Refusal::CollateralExpired));
    assert!(matches!(
        tdx::appraise(&evidence, &data, THEN - 60 * 86_400, &policy),
        Err(Refusal::Unverified(_) | Refusal::CollateralExpired)
    ));
    // Another kind of processor's.
    let mut other = evidence.clone();
    other.collateral = tdx_sample("tdx_quote_td15ex").collateral;
    assert!(matches!(
        tdx::appraise(&other, &data, LATER, &policy),
        Err(Refusal::Unverified(_) | Refusal::CollateralExpired)
    ));
    for collateral in [&b""[..], b"{}", b"[]", b"\xff"] {
        other.collateral = collateral.to_vec();
        assert_eq!(
            tdx::appraise(&other, &data, THEN, &policy),
            Err(Refusal::Malformed("processor maker's statements"))
        );
    }
}

#[test]
fn machines_that_can_be_looked_into_or_moved_are_refused() {
    let evidence = tdx_sample("tdx_quote");
    let policy = listing(tdx::image_of(&evidence.quote));
    let data = report_data(&evidence.quote);
    // The attributes of a TD: behind the head, 120 bytes into the report.
    let with = |byte: usize, change: fn(u8) -> u8| {
        let mut changed = evidence.clone();
        let byte = &mut changed.quote[48 + 120 + byte];
        *byte = change(*byte);
        tdx::appraise(&changed, &data, THEN, &policy).unwrap_err()
    };
    assert_eq!(with(0, |bits| bits | 1), Refusal::Debug);
    assert_eq!(with(0, |bits| bits | 0x10), Refusal::Debug);
    assert!(matches!(with(3, |bits| bits & !0x10), Refusal::UnsafeAttributes(_)));
    assert!(matches!(with(3, |bits| bits | 0x20), Refusal::UnsafeAttributes(_)));
}

#[test]
fn no_bit_of_the_signed_part_of_a_quote_can_be_changed_and_what_is_not_a_quote_of_tdx_is_refused() {
    let evidence = tdx_sample("tdx_quote");
    let policy = listing(tdx::image_of(&evidence.quote));
    let data = report_data(&evidence.quote);
    // Each would be a verification: a seventh of the bytes is tried, another bit each.
    for at in (0..632).step_by(7) {
        let mut changed = evidence.clone();
        changed.quote[at] ^= 1 << (at % 8);
        assert!(tdx::appraise(&changed, &data, THEN, &policy).is_err(), "byte {at}");
    }
    for length in (0..evidence.quote.len()).step_by(131) {
        let mut cut = evidence.clone();
        cut.quote.truncate(length);
        // Zeros stand behind what counts.
        let cut = tdx::appraise(&cut, &data, THEN, &policy);
        assert!(cut.is_err() || cut.unwrap().grade == Grade::ProcessorIsolated);
    }
    assert!(tdx::appraise(&tdx_sample("sgx_quote"), &data, THEN, &policy).is_err());
}

#[test]
fn changing_what_is_not_signed_changes_neither_machine_nor_image() {
    let evidence = tdx_sample("tdx_quote");
    let policy = listing(tdx::image_of(&evidence.quote));
    let data = report_data(&evidence.quote);
    let first = tdx::appraise(&evidence, &data, THEN, &policy).unwrap();
    let mut other = evidence.clone();
    *other.quote.last_mut().unwrap() ^= 1;
    assert_ne!(evidence.quote, other.quote);
    if let Ok(second) = tdx::appraise(&other, &data, THEN, &policy) {
        assert_eq!(first, second);
    }
}

#[test]
fn a_genuine_report_of_snp_is_an_isolated_processor_without_a_card() {
    let evidence = snp_sample();
    let policy = listing(snp::image_of(&evidence.report));
    let data: [u8; 64] = evidence.report[0x50..0x90].try_into().unwrap();
    let appraisal = snp::appraise(&evidence, &data, NOW, &policy).unwrap();
    assert_eq!(appraisal.grade, Grade::ProcessorIsolated);
    assert_eq!(appraisal.facts.vendor.as_deref(), Some("AMD Milan"));
    // AMD does not say what is current.
    assert_eq!(appraisal.facts.firmware, None);
    let binding = Binding { nonce: [1; 32], tls_key: [2; 32] };
    let refused = appraise(&Evidence::Snp(evidence.clone()), &binding, NOW, &Anchors::default(), &policy);
    assert_eq!(refused, Err(Refusal::AnotherBinding));
    // In 2031 its certificate is over.
    assert_eq!(snp::appraise(&evidence, &data, 1_925_000_000, &policy), Err(Refusal::CollateralExpired));
    for at in 0..0x2a0 {
        let mut changed = evidence.clone();
        changed.report[at] ^= 1 << (at % 8);
        assert!(snp::appraise(&changed, &data, NOW, &policy).is_err(), "byte {at:#x}");
    }
    let mut other = evidence.clone();
    other.vcek = sample("sev", "tests/certs_data/vcek_turin.der");
    assert!(snp::appraise(&other, &data, NOW, &policy).is_err());
}

/// A maker of processors that exists in this test.
pub(crate) struct Maker {
    root: Vec<u8>,
    ask: Vec<u8>,
    vcek: Vec<u8>,
    key: EcdsaKeyPair,
}

const VERSIONS: [u8; 4] = [3, 0, 8, 0x73];

impl Maker {
    pub(crate) fn new() -> Self {
        Self::with_middle(IsCa::Ca(BasicConstraints::Unconstrained))
    }

    /// One whose certificate between root and chip is of this kind.
    fn with_middle(middle: IsCa) -> Self {
        let key = || KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let authority = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            params
        };
        let (ark_key, ask_key, chip_key) = (key(), key(), key());
        let (ark, mut ask) = (authority("root"), authority("between"));
        ask.is_ca = middle;
        let root = ark.self_signed(&ark_key).unwrap();
        let between = ask.signed_by(&ask_key, &Issuer::from_params(&ark, &ark_key)).unwrap();
        let mut chip = CertificateParams::default();
        chip.distinguished_name.push(DnType::CommonName, "chip");
        let mut say = |last: &[u64], content: Vec<u8>| {
            let oid = [&[1, 3, 6, 1, 4, 1, 3704, 1], last].concat();
            chip.custom_extensions.push(CustomExtension::from_oid_content(&oid, content));
        };
        for (last, version) in [1, 2, 3, 8].into_iter().zip(VERSIONS) {
            say(&[3, last], vec![2, 1, version]);
        }
        say(&[4], vec![0xc1; 64]);
        let vcek = chip.signed_by(&chip_key, &Issuer::from_params(&ask, &ask_key)).unwrap();
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &chip_key.serialize_der(), &SystemRandom::new());
        Self { root: root.der().to_vec(), ask: between.der().to_vec(), vcek: vcek.der().to_vec(), key: key.unwrap() }
    }

    /// A report over these bytes, changed before it is signed.
    pub(crate) fn evidence(&self, data: &[u8; 64], change: impl FnOnce(&mut [u8])) -> SnpEvidence {
        let mut report = vec![0; 0x4a0];
        report[0] = 3;
        report[0x0a] = 3;
        report[0x34] = 1;
        report[0x50..0x90].copy_from_slice(data);
        report[0x90..0xc0].fill(0x3e);
        for (at, version) in [0, 1, 6, 7].into_iter().zip(VERSIONS) {
            report[0x180 + at] = version;
        }
        report[0x1a0..0x1e0].fill(0xc1);
        change(&mut report);
        let signature = self.key.sign(&SystemRandom::new(), &report[..0x2a0]).unwrap();
        let (r, s) = signature.as_ref().split_at(48);
        for (number, start) in [(r, 0x2a0), (s, 0x2e8)] {
            for (at, byte) in number.iter().rev().enumerate() {
                report[start + at] = *byte;
            }
        }
        SnpEvidence { report, vcek: self.vcek.clone(), ask: self.ask.clone(), gpu: None }
    }

    pub(crate) fn judge(&self, evidence: &SnpEvidence, data: &[u8; 64], policy: &Policy) -> Result<Appraisal, Refusal> {
        snp::appraise_under(evidence, data, NOW, policy, &[("Milan", &self.root)])
    }
}

#[test]
fn a_report_that_was_signed_and_says_the_wrong_thing_is_refused() {
    let maker = Maker::new();
    let data = Binding { nonce: [1; 32], tls_key: [2; 32] }.report_data();
    let good = maker.evidence(&data, |_| ());
    let policy = listing(snp::image_of(&good.report));
    assert_eq!(maker.judge(&good, &data, &policy).unwrap().grade, Grade::ProcessorIsolated);
    // AMD never heard of this maker.
    assert!(matches!(snp::appraise(&good, &data, NOW, &policy), Err(Refusal::Unverified(_))));
    let signed = |change: fn(&mut [u8])| maker.judge(&maker.evidence(&data, change), &data, &policy).unwrap_err();
    assert_eq!(signed(|report| report[0x0a] |= 8), Refusal::Debug);
    assert!(matches!(signed(|report| report[0x0a] |= 4), Refusal::UnsafeAttributes(_)));
    assert!(matches!(signed(|report| report[0x30] = 1), Refusal::UnsafeAttributes(_)));
    assert!(matches!(signed(|report| report[0x48] = 4), Refusal::Unverified(_)));
    assert!(matches!(signed(|report| report[0x187] = 0x72), Refusal::Unverified(_)));
    assert!(matches!(signed(|report| report[0x1a0] = 0), Refusal::Unverified(_)));
    assert!(matches!(signed(|report| report[0] = 1), Refusal::Unverified(_)));
    assert_eq!(signed(|report| report[0x50] ^= 1), Refusal::AnotherBinding);
    assert!(matches!(signed(|report| report[0x90] ^= 1), Refusal::ImageNotListed(_)));
    assert_eq!(
        maker.judge(&good, &data, &Policy::default()).unwrap_err(),
        Refusal::ImageNotListed(snp::image_of(&good.report).unwrap())
    );
}

#[test]
fn a_chain_whose_middle_may_not_sign_is_refused() {
    let (maker, other) = (Maker::new(), Maker::new());
    let data = [7; 64];
    let good = maker.evidence(&data, |_| ());
    let policy = listing(snp::image_of(&good.report));
    // All signatures fit: what is in the middle is some chip's, and signed another chip's.
    for middle in [IsCa::NoCa, IsCa::ExplicitNoCa] {
        let forger = Maker::with_middle(middle);
        let forged = forger.evidence(&data, |_| ());
        let refused = forger.judge(&forged, &data, &policy).unwrap_err();
        assert!(matches!(&refused, Refusal::Unverified(why) if why.contains("may not sign")), "{refused:?}");
    }
    let with = |vcek: &[u8], ask: &[u8]| {
        maker.judge(&SnpEvidence { vcek: vcek.to_vec(), ask: ask.to_vec(), ..good.clone() }, &data, &policy)
    };
    with(&maker.vcek, &maker.ask).unwrap();
    assert!(with(&maker.vcek, &other.ask).is_err());
    assert!(with(&other.vcek, &maker.ask).is_err());
    assert!(with(&maker.vcek, &maker.vcek).is_err());
    assert!(with(&maker.ask, &maker.ask).is_err(), "an authority's own key signed a report");
}

#[test]
fn a_processor_whose_state_its_maker_does_not_list_is_refused() {
    let evidence = tdx_sample("tdx_quote_outdated");
    let policy = listing(tdx::image_of(&evidence.quote));
    let refused = tdx::appraise(&evidence, &report_data(&evidence.quote), 1_771_415_931, &policy).unwrap_err();
    assert!(matches!(&refused, Refusal::Unverified(why) if why.contains("TCB level")), "{refused:?}");
}

/// Prints figures; `docs/benchmarks.md` has them. Nothing is asserted about time.
#[test]
fn how_long_the_appraisal_of_a_processor_takes() {
    let quote = tdx_sample("tdx_quote");
    let policy = listing(tdx::image_of(&quote.quote));
    let data = report_data(&quote.quote);
    let times = 10;
    let began = std::time::Instant::now();
    for _ in 0..times {
        tdx::appraise(&quote, &data, THEN, &policy).unwrap();
    }
    let by_intel = began.elapsed() / times;
    let report = snp_sample();
    let policy = listing(snp::image_of(&report.report));
    let data: [u8; 64] = report.report[0x50..0x90].try_into().unwrap();
    let began = std::time::Instant::now();
    for _ in 0..times {
        snp::appraise(&report, &data, NOW, &policy).unwrap();
    }
    println!("TDX quote appraised in {by_intel:?}, SNP report in {:?}", began.elapsed() / times);
}
