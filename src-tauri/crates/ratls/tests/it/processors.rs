//! Real quotes of Intel TDX in certificates. Nobody here has the keys that genuine ones were made for, so what can be shown is how each part of the policy refuses.

use std::sync::Arc;

use evidence::{Refusal, TdxEvidence, tdx};
use ratls::certificate::{self, Certificate};

use crate::samples::tdx_sample;
use ratls::{AppraisalError, Evidence, Identity, Policy};

/// 2025-07-05, when the sample's statements were good.
const THEN: u64 = 1_751_673_600;
/// 2026-11-27.
const NOW: u64 = 1_795_780_800;

/// The quote and what Intel signed.
fn samples() -> (Vec<u8>, Vec<u8>) {
    let sample = tdx_sample("tdx_quote");
    (sample.quote, sample.collateral)
}

/// Somebody's certificate with this quote in it, and the key.
fn with_quote(quote: Option<Vec<u8>>) -> (Certificate, [u8; 32]) {
    let identity = Identity::generate(Evidence::FakeTdx, NOW).unwrap();
    let mut certificate = certificate::parse(identity.certificate()).unwrap();
    certificate.quote = quote;
    (certificate, identity.public_key())
}

fn policy(images: Vec<[u8; 32]>, collateral: &[u8]) -> Policy {
    Policy::Tdx { image_hashes: images, collateral: Arc::from(collateral) }
}

#[test]
fn a_real_quote_over_another_key_is_refused_and_nothing_else_is_a_quote() {
    let (quote, collateral) = samples();
    let image = tdx::image_of(&quote).unwrap().0;
    let policy = policy(vec![image], &collateral);
    let refused = |quote: Option<Vec<u8>>, now| {
        let (certificate, key) = with_quote(quote);
        policy.appraise(&certificate, key, now).unwrap_err()
    };
    // Signatures, chain, firmware and attributes are in order: only the key is another.
    assert_eq!(refused(Some(quote.clone()), THEN), AppraisalError::Tdx(Refusal::AnotherBinding));
    assert_eq!(refused(Some(quote.clone()), NOW), AppraisalError::Tdx(Refusal::CollateralExpired));
    assert_eq!(refused(None, THEN), AppraisalError::NoEvidence);
    // What the reference programs' test form is.
    let (mut certificate, key) = with_quote(None);
    let fake = evidence::Binding::cocoon_report_data(&key).to_vec();
    certificate.quote = Some(fake);
    let found = policy.appraise(&certificate, key, THEN);
    assert!(matches!(found, Err(AppraisalError::Tdx(Refusal::Malformed(_)))), "{found:?}");
    for at in [8, 100, 300, 600] {
        let mut changed = quote.clone();
        changed[at] ^= 1;
        let found = refused(Some(changed), THEN);
        assert!(
            matches!(found, AppraisalError::Tdx(_)) && found != AppraisalError::Tdx(Refusal::AnotherBinding),
            "byte {at}: {found:?}"
        );
    }
}

#[test]
fn a_machine_that_can_be_debugged_is_refused_whatever_it_proves() {
    let (mut quote, collateral) = samples();
    // The attributes stand 120 bytes into the report, which stands 48 bytes into the quote; their lowest bit is DEBUG.
    quote[48 + 120] |= 1;
    let (certificate, key) = with_quote(Some(quote));
    let found = policy(Vec::new(), &collateral).appraise(&certificate, key, THEN);
    assert_eq!(found, Err(AppraisalError::Tdx(Refusal::Debug)));
}

#[test]
fn the_image_comes_out_of_the_quote_as_networks_list_it_and_an_empty_list_lets_nobody_in() {
    let (quote, collateral) = samples();
    // The very quote with its own report data: what a certificate with its key would come to.
    let data: [u8; 64] = quote[48 + 520..48 + 584].try_into().unwrap();
    let image = tdx::image_of(&quote).unwrap();
    let shown = TdxEvidence { quote, collateral, gpu: None };
    let listed = evidence::Policy { images: [image].into(), ..evidence::Policy::default() };
    assert_eq!(tdx::appraise(&shown, &data, THEN, &listed).unwrap().facts.image, Some(image));
    let nobody = tdx::appraise(&shown, &data, THEN, &evidence::Policy::default());
    assert_eq!(nobody, Err(Refusal::ImageNotListed(image)));
}
