//! The certificates that we make ourselves.

use ratls::tls::peer_identity;
use ratls::{Evidence, Identity, IdentityError, Policy, Role, certificate};

use crate::fixture;
use crate::pair::{FAKE, NOW};

#[test]
fn our_certificates_have_what_genuine_ones_have() {
    for (evidence, name) in [(Evidence::FakeTdx, "fake_a"), (Evidence::None, "none_a")] {
        let identity = Identity::generate(evidence, NOW).unwrap();
        let ours = certificate::parse(identity.certificate()).unwrap();
        let genuine = certificate::parse(&fixture::certificate(name)).unwrap();
        assert_eq!(ours.version, 3, "a proper one, since nobody looks");
        assert_eq!((&ours.subject, &ours.issuer), (&genuine.subject, &genuine.issuer), "the same name, byte for byte");
        assert_eq!(ours.not_after - ours.not_before, 86_400);
        assert_eq!(ours.extended_key_usage, genuine.extended_key_usage);
        assert_eq!(ours.digital_signature, genuine.digital_signature);
        assert_eq!(ours.unknown_critical, None);
        assert_eq!(ours.public_key, Some(identity.public_key()));
        assert_eq!(ours.quote.as_ref().map(Vec::len), genuine.quote.as_ref().map(Vec::len));
        assert_eq!(ours.user_claims, genuine.user_claims.map(|_| identity.public_key().to_vec()));
    }
}

#[test]
fn our_extensions_are_those_of_genuine_certificates_bit_for_bit() {
    // Everything but the extensions that depend on the key: the key usages, the constraints and the names.
    let genuine = fixture::certificate("fake_a");
    let identity = Identity::generate(Evidence::FakeTdx, NOW).unwrap();
    for extension in [
        "300c0603551d130101ff04023000",
        "300e0603551d0f0101ff040403020780",
        "30200603551d250101ff0416301406082b0601050507030106082b06010505070302",
        "30310603551d11042a302882096c6f63616c686f737482093132372e302e302e31871000000000000000000000000000000001",
    ] {
        let extension = hex::decode(extension).unwrap();
        for certificate in [&genuine[..], identity.certificate()] {
            assert!(
                certificate.windows(extension.len()).any(|window| window == extension),
                "{}",
                hex::encode(&extension)
            );
        }
    }
}

#[test]
fn every_identity_has_a_key_and_a_serial_number_of_its_own() {
    let [one, other] = [(); 2].map(|()| Identity::generate(Evidence::None, NOW).unwrap());
    assert_ne!(one.public_key(), other.public_key());
    let serial = |identity: &Identity| identity.certificate().windows(17).position(|window| window[..2] == [2, 17]);
    assert!(serial(&one).is_some() && serial(&one) == serial(&other));
    assert_ne!(one.certificate(), other.certificate());
}

#[test]
fn an_identity_is_good_for_its_day_and_due_for_renewal_at_half_of_it() {
    let identity = Identity::generate(Evidence::FakeTdx, NOW).unwrap();
    let verdict = |now| {
        let chain = [identity.certificate().clone()];
        [Role::Client, Role::Server].into_iter().all(|role| peer_identity(&chain, &FAKE, role, now).is_ok())
    };
    assert!(verdict(NOW) && verdict(NOW - 299) && verdict(identity.not_after() - 1));
    assert!(!verdict(NOW - 301) && !verdict(identity.not_after()));
    assert!(identity.not_after() > NOW + 86_000);
    assert!(!identity.is_due_for_renewal(NOW) && !identity.is_due_for_renewal(NOW + 42_000));
    assert!(identity.is_due_for_renewal(NOW + 43_200) && identity.is_due_for_renewal(u64::MAX));
    assert!(identity.is_due_for_renewal(NOW - 3_600), "the clock was set back");
}

#[test]
fn a_time_that_no_certificate_can_express_is_refused() {
    assert!(Identity::generate(Evidence::None, 0).is_ok());
    assert!(Identity::generate(Evidence::None, 4_000_000_000).is_ok(), "the year 2096 needs the longer form of time");
    for time in [300_000_000_000, u64::MAX] {
        assert!(matches!(Identity::generate(Evidence::None, time), Err(IdentityError::Time(_))));
    }
}

#[test]
fn a_certificate_of_the_longer_form_of_time_verifies() {
    let later = 4_000_000_000;
    let identity = Identity::generate(Evidence::None, later).unwrap();
    let verdict = peer_identity(&[identity.certificate().clone()], &Policy::Any, Role::Server, later);
    assert_eq!(verdict.unwrap().public_key, identity.public_key());
}
