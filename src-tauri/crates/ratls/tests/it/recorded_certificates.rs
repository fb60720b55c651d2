//! Certificates that gen-cert and router of the genuine programs made.

use ratls::tls::peer_identity;
use ratls::{AppraisalError, Measurements, PeerIdentity, Policy, Role, VerifyError, certificate};
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha512};

use crate::fixture;

const FAKE: Policy = Policy::FakeTdx { image_hashes: Vec::new() };
/// What the recorded programs call the image of a simulated machine.
const SIMULATED_IMAGE: &str = "5c55c8f4db4010ba9203d83536d0609856af8c847ac039e37e7dde8fbd574b61";

fn verdict(name: &str, policy: &Policy, role: Role, now: u64) -> Result<PeerIdentity, VerifyError> {
    peer_identity(&[CertificateDer::from(fixture::certificate(name))], policy, role, now)
}

/// A second at which the certificate is valid.
fn time_of(name: &str) -> u64 {
    certificate::parse(&fixture::certificate(name)).unwrap().not_before as u64 + 3_600
}

#[test]
fn genuine_certificates_are_version_1_with_extensions() {
    for name in ["fake_a", "fake_b", "fakerouter_a", "fakerouter_b", "none_a", "none_b"] {
        let certificate = certificate::parse(&fixture::certificate(name)).unwrap();
        assert_eq!(certificate.version, 1, "{name}");
        assert!(certificate.extended_key_usage.is_some_and(|usage| usage.client_auth && usage.server_auth));
        assert_eq!(certificate.digital_signature, Some(true));
        assert!(certificate.has_dns_name("127.0.0.1") && certificate.has_dns_name("localhost"));
        assert!(!certificate.has_dns_name("::1"), "an address is not a DNS name");
        assert_eq!(certificate.not_after - certificate.not_before, 86_400);
        assert_eq!(certificate.unknown_critical, None);
    }
}

#[test]
fn attested_certificates_carry_quote_and_claims_and_the_others_neither() {
    for name in ["fake_a", "fake_b", "fakerouter_a", "fakerouter_b"] {
        let certificate = certificate::parse(&fixture::certificate(name)).unwrap();
        let report_data = Sha512::digest(certificate.public_key.unwrap()).to_vec();
        assert_eq!(certificate.quote, Some(report_data), "{name}");
        assert_eq!(certificate.user_claims, certificate.public_key.map(|key| key.to_vec()));
    }
    for name in ["none_a", "none_b"] {
        let certificate = certificate::parse(&fixture::certificate(name)).unwrap();
        assert_eq!((certificate.quote, certificate.user_claims), (None, None), "{name}");
    }
}

#[test]
fn recorded_certificates_verify_at_their_time_in_both_roles() {
    for role in [Role::Client, Role::Server] {
        for name in ["fake_a", "fake_b", "fakerouter_a", "fakerouter_b"] {
            let attested = verdict(name, &FAKE, role, time_of(name)).unwrap();
            assert!(attested.attested);
            assert_eq!(hex::encode(attested.image_hash), SIMULATED_IMAGE);
            let anybody = verdict(name, &Policy::Any, role, time_of(name)).unwrap();
            assert_eq!(anybody, PeerIdentity { image_hash: [0; 32], attested: false, ..attested });
        }
        for name in ["none_a", "none_b"] {
            assert!(!verdict(name, &Policy::Any, role, time_of(name)).unwrap().attested, "{name}");
        }
    }
}

#[test]
fn recorded_certificates_fail_under_the_wrong_policy() {
    for name in ["none_a", "none_b"] {
        let refused = verdict(name, &FAKE, Role::Client, time_of(name)).unwrap_err();
        assert_eq!(refused, VerifyError::Appraisal(AppraisalError::NoEvidence));
    }
    let image_hash = Measurements::SIMULATED.image_hash();
    let listed = Policy::FakeTdx { image_hashes: vec![[7; 32], image_hash] };
    assert!(verdict("fake_a", &listed, Role::Server, time_of("fake_a")).is_ok());
    let others = Policy::FakeTdx { image_hashes: vec![[7; 32]] };
    let refused = verdict("fake_a", &others, Role::Server, time_of("fake_a")).unwrap_err();
    assert_eq!(refused, VerifyError::Appraisal(AppraisalError::ImageNotAllowed { image_hash }));
}

#[test]
fn recorded_certificates_fail_outside_their_day() {
    // 2026-01-01 to 2026-01-02, as the text beside the recording says.
    let (from, to) = (1_767_225_600, 1_767_312_000);
    let at = |now| verdict("fake_a", &FAKE, Role::Client, now);
    assert!(matches!(at(from - 1), Err(VerifyError::NotYetValid { not_before, .. }) if not_before == from as i64));
    assert!(at(from).is_ok());
    assert!(at(to - 1).is_ok());
    assert!(matches!(at(to), Err(VerifyError::Expired { not_after, .. }) if not_after == to as i64));
    assert!(matches!(at(u64::MAX), Err(VerifyError::Expired { .. })));
    assert!(matches!(at(0), Err(VerifyError::NotYetValid { .. })));
}

#[test]
fn the_image_hash_of_a_simulated_machine_is_the_recorded_one() {
    assert_eq!(hex::encode(Measurements::SIMULATED.image_hash()), SIMULATED_IMAGE);
    for name in ["fake_a", "fake_b", "fakerouter_a", "fakerouter_b"] {
        let recorded = fixture::from_pem(&fixture::text(&format!("certs/{name}_image_hash.b64")));
        assert_eq!(hex::encode(recorded), SIMULATED_IMAGE, "{name}");
    }
}

#[test]
fn every_register_counts_in_the_image_hash() {
    let plain = Measurements::SIMULATED;
    let mut seen = vec![plain.image_hash()];
    let mut changed = [plain; 8];
    changed[0].mr_td[0] = 1;
    changed[1].mr_config_id[0] = 1;
    changed[2].mr_owner[0] = 1;
    changed[3].mr_owner_config[0] = 1;
    for (index, measurements) in changed[4..].iter_mut().enumerate() {
        measurements.rtmr[index][47] = 1;
    }
    for measurements in changed {
        assert!(!seen.contains(&measurements.image_hash()));
        seen.push(measurements.image_hash());
    }
}
