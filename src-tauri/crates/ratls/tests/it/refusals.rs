//! Every rule for certificates, broken one at a time: the verdict by itself, and the same in a real handshake, which must end
//! without an alert.

use ratls::pow::MAX_DIFFICULTY;
use ratls::tls::{self, peer_identity};
use ratls::{
    AppraisalError, ChannelError, ClientChannel, Evidence, Identity, Measurements, Policy, Role, State, VerifyError,
};
use rustls::Connection;
use rustls::pki_types::CertificateDer;

use crate::fixture;
use crate::maker::{
    ALTERNATIVE_NAMES, BASIC_CONSTRAINTS, CLAIMS, EXTENDED_KEY_USAGE, KEY_USAGE, NAME_CONSTRAINTS, QUOTE, Recipe,
    STRANGE, alternative_names, client_only, extension, pkcs8, server_only, tlv,
};
use crate::pair::{
    End, FAKE, NOW, Outcome, Shown, VERSION_1_3, bare_client_with, bare_server, clock, hello_of, meet, past_pow,
    server_past_pow,
};

fn good() -> Recipe {
    Recipe::genuine(21)
}

fn shown(recipe: &Recipe) -> Shown {
    Shown { chain: vec![recipe.der()], key: pkcs8(&recipe.key) }
}

fn verdict(chain: &[Vec<u8>], policy: &Policy, role: Role) -> Result<(), VerifyError> {
    let chain: Vec<_> = chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    peer_identity(&chain, policy, role, NOW).map(drop)
}

/// Our end under this policy meets a peer of this role. Whether our end sent an alert is looked at here.
fn handshake(peer: Option<&Shown>, policy: &Policy, role: Role) -> Result<(), ChannelError> {
    let identity = Identity::generate(Evidence::FakeTdx, NOW).unwrap();
    let (outcome, open) = match role {
        Role::Client => {
            let mut server = server_past_pow(&tls::server_config(&identity, policy.clone(), clock(NOW)).unwrap());
            let provider = rustls::crypto::ring::default_provider();
            let outcome = meet(&mut server, Vec::new(), &mut bare_client_with(provider, peer, VERSION_1_3));
            (outcome, matches!(End::state(&server), State::Open(_)))
        }
        Role::Server => {
            let tls = tls::client_config(&identity, policy.clone(), clock(NOW)).unwrap();
            let mut client = past_pow(ClientChannel::new(&tls, MAX_DIFFICULTY).unwrap());
            let hello = hello_of(&mut client);
            let outcome = meet(&mut client, hello, &mut bare_server(peer.unwrap(), 2));
            (outcome, matches!(End::state(&client), State::Open(_)))
        }
    };
    assert_eq!(outcome.ours.is_ok(), open);
    assert!(!says_goodbye(&outcome), "an alert was sent");
    outcome.ours
}

/// An alert in the clear, or something of the length of an encrypted one.
fn says_goodbye(outcome: &Outcome) -> bool {
    let mut bytes = &outcome.sent[..];
    while let [kind, _, _, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if *kind == 21 || (*kind == 23 && length == 2 + 1 + 16) {
            return true;
        }
        bytes = &rest[length..];
    }
    false
}

/// The verdict on a recipe, checked twice.
fn check(name: &str, recipe: &Recipe, policy: &Policy, role: Role) -> Result<(), VerifyError> {
    let peer = shown(recipe);
    let alone = verdict(&peer.chain, policy, role);
    let together = handshake(Some(&peer), policy, role);
    match (&alone, &together) {
        (Ok(()), Ok(())) => {}
        (Err(expected), Err(ChannelError::Peer(found))) => assert_eq!(expected, found, "{name}"),
        (alone, together) => panic!("{name}: {alone:?} alone and {together:?} in a handshake"),
    }
    alone
}

fn accepted(name: &str, recipe: &Recipe, policy: &Policy, roles: &[Role]) {
    for &role in roles {
        assert_eq!(check(name, recipe, policy, role), Ok(()), "{name} as {role:?}");
    }
}

fn refused(name: &str, recipe: &Recipe, policy: &Policy, roles: &[Role], why: impl Fn(&VerifyError) -> bool) {
    for &role in roles {
        let error = check(name, recipe, policy, role).expect_err(name);
        assert!(why(&error), "{name} as {role:?}: {error:?}");
    }
}

const BOTH: &[Role] = &[Role::Client, Role::Server];
const CLIENT: &[Role] = &[Role::Client];
const SERVER: &[Role] = &[Role::Server];

#[test]
fn what_genuine_programs_accept_is_accepted() {
    accepted("version 1 with extensions", &good(), &FAKE, BOTH);
    accepted("version 3", &good().version_3(), &FAKE, BOTH);
    let quote = good().extensions[0].value.clone();
    let claims = good().extensions[1].value.clone();
    accepted("not critical", &good().with(QUOTE, false, &quote).with(CLAIMS, false, &claims), &FAKE, BOTH);
    accepted("no claims", &good().without(CLAIMS), &FAKE, BOTH);
    accepted("wrong claims", &good().with(CLAIMS, true, b"something else"), &FAKE, BOTH);
    accepted("CA:TRUE", &good().with(BASIC_CONSTRAINTS, true, &[0x30, 3, 1, 1, 0xff]), &FAKE, BOTH);
    let long = good().change(|recipe| {
        recipe.not_before = (0x17, "700101000000Z".into());
        recipe.not_after = (0x18, "99991231235959Z".into());
    });
    accepted("eight thousand years", &long, &FAKE, BOTH);
    accepted("no key usages", &good().without(KEY_USAGE).without(EXTENDED_KEY_USAGE), &FAKE, BOTH);
    accepted("only what a client needs", &good().with(EXTENDED_KEY_USAGE, true, &client_only()), &FAKE, CLIENT);
    accepted("only what a server needs", &good().with(EXTENDED_KEY_USAGE, true, &server_only()), &FAKE, SERVER);
    accepted("another extension, not critical", &good().with(STRANGE, false, b"?"), &FAKE, BOTH);
    accepted("a client without names", &good().without(ALTERNATIVE_NAMES), &FAKE, CLIENT);
    accepted("no extension at all", &good().change(|recipe| recipe.extensions.clear()), &Policy::Any, CLIENT);
    accepted("the longest evidence", &good().with(QUOTE, true, &vec![7; 32_768]), &Policy::Any, BOTH);
}

#[test]
fn a_certificate_outside_its_time_is_refused() {
    let expired = good().change(|recipe| recipe.not_after = (0x17, "260615000000Z".into()));
    refused("expired", &expired, &FAKE, BOTH, |why| matches!(why, VerifyError::Expired { .. }));
    let early = good().change(|recipe| recipe.not_before = (0x17, "260616000000Z".into()));
    refused("not yet valid", &early, &FAKE, BOTH, |why| matches!(why, VerifyError::NotYetValid { .. }));
}

#[test]
fn a_certificate_that_does_not_vouch_for_itself_is_refused() {
    let issued = good().change(|recipe| recipe.issuer = "somebody");
    refused("another issuer", &issued, &FAKE, BOTH, |why| *why == VerifyError::NotSelfIssued);
    let spoiled = good().change(|recipe| recipe.signature_bit_flipped = true);
    refused("a broken signature", &spoiled, &FAKE, BOTH, |why| *why == VerifyError::BadSignature);
    let signed = good().change(|recipe| recipe.signer = Recipe::genuine(22).key);
    refused("signed by another key", &signed, &FAKE, BOTH, |why| *why == VerifyError::BadSignature);
    let other = |why: &VerifyError| *why == VerifyError::NotAnEd25519Signature;
    refused("another algorithm outside", &good().change(|r| r.outer_algorithm_is_another = true), &FAKE, BOTH, other);
    refused("another algorithm", &good().change(|r| r.both_algorithms_are_others = true), &FAKE, BOTH, other);
}

#[test]
fn a_key_whose_signatures_fit_everything_is_refused() {
    // The neutral element as key and as commitment, zero as response: valid for any message by the equation alone.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    let forged = good().change(|recipe| recipe.forged = Some((neutral, signature)));
    for &role in BOTH {
        assert_eq!(verdict(&[forged.der()], &Policy::Any, role), Err(VerifyError::BadSignature));
    }
}

#[test]
fn none_or_more_than_one_certificate_is_refused() {
    assert_eq!(verdict(&[], &Policy::Any, Role::Client), Err(VerifyError::NotOneCertificate { count: 0 }));
    let nobody = handshake(None, &Policy::Any, Role::Client);
    assert!(matches!(nobody, Err(ChannelError::Peer(VerifyError::NotOneCertificate { count: 0 }))));
    let twice = Shown { chain: vec![good().der(), good().der()], key: pkcs8(&good().key) };
    for &role in BOTH {
        assert_eq!(verdict(&twice.chain, &Policy::Any, role), Err(VerifyError::NotOneCertificate { count: 2 }));
        let error = handshake(Some(&twice), &Policy::Any, role).unwrap_err();
        assert!(matches!(error, ChannelError::Peer(VerifyError::NotOneCertificate { count: 2 })));
    }
}

#[test]
fn a_key_of_another_kind_is_refused() {
    let peer = p256();
    for &role in BOTH {
        assert_eq!(verdict(&peer.chain, &Policy::Any, role), Err(VerifyError::NotAnEd25519Key));
        assert!(handshake(Some(&peer), &Policy::Any, role).is_err());
    }
}

fn p256() -> Shown {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut parameters = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    parameters.subject_alt_names = vec![rcgen::SanType::DnsName("127.0.0.1".try_into().unwrap())];
    let certificate = parameters.self_signed(&key).unwrap();
    Shown { chain: vec![certificate.der().to_vec()], key: key.serialize_der() }
}

#[test]
fn an_unknown_critical_extension_is_refused() {
    let strange = |why: &VerifyError| *why == VerifyError::UnknownCriticalExtension { identifier: "1.2.3.4".into() };
    let recipe = good().with(&[0x2a, 3, 4], true, b"?");
    refused("1.2.3.4", &recipe, &FAKE, BOTH, strange);
    let constraints = good().with(NAME_CONSTRAINTS, true, &[0x30, 0]);
    refused("name constraints", &constraints, &FAKE, BOTH, |why| {
        *why == VerifyError::UnknownCriticalExtension { identifier: "2.5.29.30".into() }
    });
}

#[test]
fn a_certificate_for_another_purpose_is_refused() {
    let wrong = |why: &VerifyError| matches!(why, VerifyError::WrongPurpose { .. });
    refused("a server's as client", &good().with(EXTENDED_KEY_USAGE, true, &server_only()), &FAKE, CLIENT, wrong);
    refused("a client's as server", &good().with(EXTENDED_KEY_USAGE, true, &client_only()), &FAKE, SERVER, wrong);
    let any_purpose = tlv(0x30, &tlv(6, &[0x55, 0x1d, 0x25, 0]));
    refused("any purpose", &good().with(EXTENDED_KEY_USAGE, false, &any_purpose), &FAKE, BOTH, wrong);
    let agreement = good().with(KEY_USAGE, true, &[3, 2, 3, 0x08]);
    refused("key agreement only", &agreement, &FAKE, BOTH, |why| *why == VerifyError::NoDigitalSignature);
    let nothing = good().with(KEY_USAGE, true, &[3, 1, 0]);
    refused("no key usage bit", &nothing, &FAKE, BOTH, |why| *why == VerifyError::NoDigitalSignature);
}

#[test]
fn a_server_without_the_loopback_address_as_a_dns_name_is_refused() {
    let wrong = |why: &VerifyError| *why == VerifyError::WrongName;
    refused("no names", &good().without(ALTERNATIVE_NAMES), &FAKE, SERVER, wrong);
    for (what, names) in [
        ("another name", alternative_names(&[(0x82, b"localhost")])),
        ("the address as an address", alternative_names(&[(0x82, b"localhost"), (0x87, &[127, 0, 0, 1])])),
        ("the text as an address", alternative_names(&[(0x87, b"127.0.0.1")])),
        ("a wildcard", alternative_names(&[(0x82, b"*.0.0.1")])),
        ("the name and more", alternative_names(&[(0x82, b"127.0.0.1.example.org"), (0x82, b"127.0.0.1\0")])),
    ] {
        refused(what, &good().with(ALTERNATIVE_NAMES, false, &names), &FAKE, SERVER, wrong);
    }
    let common_name =
        good().with(ALTERNATIVE_NAMES, false, &alternative_names(&[(0x82, b"localhost")])).change(|recipe| {
            recipe.subject = "127.0.0.1";
            recipe.issuer = "127.0.0.1";
        });
    refused("only as common name", &common_name, &FAKE, SERVER, wrong);
}

#[test]
fn evidence_that_the_policy_does_not_admit_is_refused() {
    let none = |why: &VerifyError| *why == VerifyError::Appraisal(AppraisalError::NoEvidence);
    refused("no quote", &good().without(QUOTE), &FAKE, BOTH, none);
    let length = |why: &VerifyError| matches!(why, VerifyError::Appraisal(AppraisalError::NotASimulatedQuote { .. }));
    let quote = good().extensions[0].value.clone();
    refused("an empty quote", &good().with(QUOTE, true, &[]), &FAKE, BOTH, length);
    refused("a short quote", &good().with(QUOTE, true, &quote[..63]), &FAKE, BOTH, length);
    refused("a long quote", &good().with(QUOTE, true, &[&quote[..], &[0]].concat()), &FAKE, BOTH, length);
    refused("a quote in DER", &good().with(QUOTE, true, &tlv(4, &quote)), &FAKE, BOTH, length);
    let another = |why: &VerifyError| *why == VerifyError::Appraisal(AppraisalError::AnotherKey);
    let theirs = Recipe::genuine(22).extensions[0].value.clone();
    refused("somebody else's quote", &good().with(QUOTE, true, &theirs), &FAKE, BOTH, another);
    let listed = Policy::FakeTdx { image_hashes: vec![[1; 32], [2; 32]] };
    refused("an image that is not listed", &good(), &listed, BOTH, |why| {
        let image_hash = Measurements::SIMULATED.image_hash();
        *why == VerifyError::Appraisal(AppraisalError::ImageNotAllowed { image_hash })
    });
    for policy in [&FAKE, &Policy::Any] {
        let long = good().with(QUOTE, true, &vec![7; 32_769]);
        refused("too much evidence", &long, policy, BOTH, |why| *why == VerifyError::QuoteTooLong { length: 32_769 });
    }
}

#[test]
fn what_is_not_quite_a_certificate_is_refused() {
    let unreadable = |why: &VerifyError| matches!(why, VerifyError::Unreadable(_));
    let time = |tag, digits: &str| good().change(|recipe| recipe.not_before = (tag, digits.into()));
    for (what, recipe) in [
        ("version 4", good().change(|recipe| recipe.version = Some(3))),
        ("the 13th month", time(0x17, "261301000000Z")),
        ("the 30th of February", time(0x17, "260230000000Z")),
        ("the 29th of February 2025", time(0x17, "250229000000Z")),
        ("24 hours", time(0x17, "260101240000Z")),
        ("no seconds", time(0x17, "2601010000Z")),
        ("a time zone", time(0x17, "260101000000+0100")),
        ("letters for digits", time(0x17, "26o101000000Z")),
        ("a time that is text", time(0x0c, "260101000000Z")),
        ("an extension twice", good().change(|recipe| recipe.extensions.push(extension(QUOTE, false, &[0; 64])))),
        ("a key usage that is no bit string", good().with(KEY_USAGE, true, &[4, 1, 0x80])),
        ("a purpose that is no list", good().with(EXTENDED_KEY_USAGE, true, &[6, 1, 1])),
        ("names that are no list", good().with(ALTERNATIVE_NAMES, false, b"127.0.0.1")),
        ("names cut short", good().with(ALTERNATIVE_NAMES, false, &[0x30, 4, 0x82, 9, b'1', b'2'])),
        ("constraints with more", good().with(BASIC_CONSTRAINTS, true, &[0x30, 2, 5, 0])),
    ] {
        refused(what, &recipe, &FAKE, BOTH, unreadable);
    }
}

#[test]
fn our_verdicts_are_those_recorded_from_the_genuine_router() {
    let mut rows = 0;
    for row in fixture::text("75_foreign_certificates.tsv").lines().filter(|line| !line.starts_with('#')) {
        let (what, recorded) = row.split_once('\t').unwrap();
        let quote = good().extensions[0].value.clone();
        let claims = good().extensions[1].value.clone();
        let recipe = match what {
            "v3, critical quote and claims, Ed25519" => good().version_3(),
            "v3, quote and claims not critical" => {
                good().version_3().with(QUOTE, false, &quote).with(CLAIMS, false, &claims)
            }
            "v3, no claims" => good().version_3().without(CLAIMS),
            "v3, quote is not SHA-512 of the public key" => good().version_3().with(QUOTE, true, &[0; 64]),
            "v3, another critical unknown extension" => good().version_3().with(STRANGE, true, b"?"),
            "v3, CA:TRUE" => good().version_3().with(BASIC_CONSTRAINTS, true, &[0x30, 3, 1, 1, 0xff]),
            "v3, extendedKeyUsage serverAuth only" => good().version_3().with(EXTENDED_KEY_USAGE, true, &server_only()),
            "v3, validity of 3650 days" => good().version_3().change(|recipe| {
                recipe.not_after = (0x17, "351230000000Z".into());
            }),
            "v1 with extensions, from gen-cert" => good(),
            "v3, P-256 key" | "no client certificate" | "TLS 1.2" => {
                assert_eq!(recorded, "refused");
                assert!(odd_one(what).is_err(), "{what}");
                rows += 1;
                continue;
            }
            other => panic!("no recipe for {other}"),
        };
        let verdict = check(what, &recipe, &FAKE, Role::Client);
        assert_eq!(if verdict.is_ok() { "accepted" } else { "refused" }, recorded, "{what}: {verdict:?}");
        rows += 1;
    }
    assert_eq!(rows, 12);
}

/// The recorded cases in which the certificate is not ours to write.
fn odd_one(what: &str) -> Result<(), ChannelError> {
    match what {
        "v3, P-256 key" => handshake(Some(&p256()), &FAKE, Role::Client),
        "no client certificate" => handshake(None, &FAKE, Role::Client),
        _ => {
            let identity = Identity::generate(Evidence::FakeTdx, NOW).unwrap();
            let mut server = server_past_pow(&tls::server_config(&identity, FAKE, clock(NOW)).unwrap());
            let provider = rustls::crypto::ring::default_provider();
            let mut old: Connection = bare_client_with(provider, Some(&shown(&good())), &[&rustls::version::TLS12]);
            let outcome = meet(&mut server, Vec::new(), &mut old);
            assert!(outcome.sent.is_empty(), "no alert");
            outcome.ours
        }
    }
}
