//! A key and the certificate that goes with it.

use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::{Signer as _, SigningKey};
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, IsCa, KeyUsagePurpose, PKCS_ED25519,
    PublicKeyData, SanType, SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::policy::report_data;
use crate::verify::SERVER_NAME;

const DAY: u64 = 86_400;
/// A certificate begins to be valid this long before it is made, for peers whose clocks are a little behind.
const CLOCK_SLACK: u64 = 300;
/// The beginning of the year 9999, after which a certificate can express hardly anything.
const LAST_TIME: u64 = 253_370_764_800;
const IPV6_LOOPBACK: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const QUOTE: &[u64] = &[1, 3, 6, 1, 4, 1, 12345, 1];
const USER_CLAIMS: &[u64] = &[1, 3, 6, 1, 4, 1, 12345, 2];
const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];
/// Server and client authentication, in DER.
const BOTH_PURPOSES: [u8; 22] = [
    0x30, 0x14, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05,
    0x07, 0x03, 0x02,
];

/// What a certificate says about the machine that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// Nothing.
    None,
    /// A simulated quote: the report data that a real one would have, and nothing else. For networks under test.
    FakeTdx,
}

/// Why no identity could be made.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The system has no random numbers.
    #[error("the system has no random numbers: {0}")]
    Random(getrandom::Error),
    /// The certificate can't be written.
    #[error("the certificate can't be written")]
    Certificate(#[from] rcgen::Error),
    /// The time given is beyond what a certificate can say.
    #[error("Unix time {0} can't be written in a certificate")]
    Time(u64),
}

/// A key pair of Ed25519 and a certificate signed by itself, valid for one day. The secret half is wiped from memory with the
/// last clone, the configurations made of it included.
#[derive(Clone)]
pub struct Identity {
    key: Arc<SigningKey>,
    certificate: CertificateDer<'static>,
    public_key: [u8; 32],
    not_before: u64,
    not_after: u64,
}

impl Identity {
    /// A new key and its certificate. The certificate is version 3 and otherwise has what genuine ones have.
    pub fn generate(evidence: Evidence, now_unix: u64) -> Result<Self, IdentityError> {
        let mut secret = Zeroizing::new([0_u8; 32]);
        getrandom::fill(secret.as_mut()).map_err(IdentityError::Random)?;
        let key = CertificateKey::new(SigningKey::from_bytes(&secret));
        let mut serial = [0_u8; 16];
        getrandom::fill(&mut serial).map_err(IdentityError::Random)?;
        // Never zero, and the same length for everybody.
        serial[0] |= 0x80;

        let not_before = now_unix.saturating_sub(CLOCK_SLACK);
        let not_after = not_before.saturating_add(DAY);
        if not_after > LAST_TIME {
            return Err(IdentityError::Time(now_unix));
        }
        let certificate = parameters(evidence, &key.public, &serial, not_before, not_after)?.self_signed(&key)?;
        Ok(Self {
            certificate: certificate.der().clone(),
            public_key: key.public,
            key: key.secret,
            not_before,
            not_after,
        })
    }

    /// The public half of the key, which is also what peers know this identity by.
    pub fn public_key(&self) -> [u8; 32] {
        self.public_key
    }

    /// The certificate in DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Unix time at which the certificate ends.
    pub fn not_after(&self) -> u64 {
        self.not_after
    }

    /// Whether it is time to generate another identity and make new connections with it: from the half of the day on, or when
    /// the clock was set back to before its beginning. Open connections are not affected, for a certificate is only looked at
    /// while a connection begins.
    pub fn is_due_for_renewal(&self, now_unix: u64) -> bool {
        now_unix < self.not_before || now_unix >= self.not_after - DAY / 2
    }

    pub(crate) fn key(&self) -> Arc<SigningKey> {
        Arc::clone(&self.key)
    }
}

fn parameters(
    evidence: Evidence,
    public_key: &[u8; 32],
    serial: &[u8],
    not_before: u64,
    not_after: u64,
) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = CertificateParams::default();
    parameters.serial_number = Some(SerialNumber::from_slice(serial));
    parameters.not_before = date_time_ymd(1970, 1, 1) + Duration::from_secs(not_before);
    parameters.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(not_after);
    parameters.distinguished_name = subject()?;
    // Dialling programs look for the text of the loopback address among the *DNS* names.
    parameters.subject_alt_names = vec![
        SanType::DnsName("localhost".try_into()?),
        SanType::DnsName(SERVER_NAME.try_into()?),
        SanType::IpAddress(IPV6_LOOPBACK.into()),
    ];
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // Written by hand, because rcgen has no critical extended key usage.
    parameters.custom_extensions = vec![critical(EXTENDED_KEY_USAGE, &BOTH_PURPOSES)];
    if evidence == Evidence::FakeTdx {
        parameters.custom_extensions.push(critical(QUOTE, &report_data(public_key)));
        parameters.custom_extensions.push(critical(USER_CLAIMS, public_key));
    }
    Ok(parameters)
}

/// The name that every genuine certificate bears, as subject and as issuer.
fn subject() -> Result<DistinguishedName, rcgen::Error> {
    let mut name = DistinguishedName::new();
    name.push(DnType::CountryName, DnValue::PrintableString("AE".try_into()?));
    name.push(DnType::StateOrProvinceName, "DUBAI");
    name.push(DnType::OrganizationName, "TDLib Development");
    name.push(DnType::OrganizationalUnitName, "Security");
    name.push(DnType::CommonName, "localhost");
    Ok(name)
}

fn critical(identifier: &[u64], content: &[u8]) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(identifier, content.to_vec());
    extension.set_criticality(true);
    extension
}

struct CertificateKey {
    secret: Arc<SigningKey>,
    public: [u8; 32],
}

impl CertificateKey {
    fn new(secret: SigningKey) -> Self {
        Self { public: secret.verifying_key().to_bytes(), secret: Arc::new(secret) }
    }
}

impl PublicKeyData for CertificateKey {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl rcgen::SigningKey for CertificateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.secret.sign(message).to_bytes().to_vec())
    }
}
