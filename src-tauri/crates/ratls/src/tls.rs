//! TLS as genuine programs configure it: version 1.3 only, both ends show a certificate, AES-GCM, and none of the extras: no
//! server name, no application protocol, no early data, no resumption in either direction.
//!
//! rustls' own verification is replaced as a whole, because it refuses certificates of version 1.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::{Signer as _, SigningKey};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError, ServerConfig,
    SignatureAlgorithm, SignatureScheme,
};

use crate::certificate;
use crate::identity::Identity;
use crate::policy::{PeerIdentity, Policy};
use crate::verify::{self, Role, VerifyError};

/// Tells the time, in seconds of Unix time; asked once in each handshake.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How an end that dials does TLS. Cheap to clone, good for many connections.
#[derive(Clone)]
pub struct ClientTls {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) policy: Arc<Policy>,
}

/// How an end that accepts does TLS. Cheap to clone, good for many connections.
#[derive(Clone)]
pub struct ServerTls {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) policy: Arc<Policy>,
}

/// For connections that we dial: who we are, whom we trust, what time it is.
pub fn client_config(identity: &Identity, policy: Policy, clock: Clock) -> Result<ClientTls, Error> {
    let policy = Arc::new(policy);
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(Time(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { policy: Arc::clone(&policy) }))
        .with_client_cert_resolver(Arc::new(shown(identity)));
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(ClientTls { config: Arc::new(config), policy })
}

/// For connections that we accept: who we are, whom we trust, what time it is.
pub fn server_config(identity: &Identity, policy: Policy, clock: Clock) -> Result<ServerTls, Error> {
    let policy = Arc::new(policy);
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(Time(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(Verifier { policy: Arc::clone(&policy) }))
        .with_cert_resolver(Arc::new(shown(identity)));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(ServerTls { config: Arc::new(config), policy })
}

/// Who the peer with these certificates is, or why it is refused. `role` is the peer's end of the connection, `now` Unix time.
pub fn peer_identity(
    certificates: &[CertificateDer<'_>],
    policy: &Policy,
    role: Role,
    now: u64,
) -> Result<PeerIdentity, VerifyError> {
    verify::peer_identity(certificates.iter().map(AsRef::as_ref), policy, role, now)
}

/// The identity of a peer whose certificate has been verified in the handshake.
pub(crate) fn verified_identity(
    certificates: &[CertificateDer<'_>],
    policy: &Policy,
) -> Result<PeerIdentity, VerifyError> {
    let [only] = certificates else { return Err(VerifyError::NotOneCertificate { count: certificates.len() }) };
    let certificate = certificate::parse(only)?;
    let public_key = certificate.public_key.ok_or(VerifyError::NotAnEd25519Key)?;
    Ok(policy.identify(&certificate, public_key)?)
}

/// What the verifier below said, if that is why rustls stopped.
pub(crate) fn refusal(error: &Error) -> Option<VerifyError> {
    match error {
        Error::NoCertificatesPresented => Some(VerifyError::NotOneCertificate { count: 0 }),
        Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => inner.downcast_ref().cloned(),
        _ => None,
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256, ring::cipher_suite::TLS13_AES_256_GCM_SHA384],
        ..ring::default_provider()
    })
}

fn shown(identity: &Identity) -> SingleCertAndKey {
    let key = Arc::new(Key(identity.key()));
    SingleCertAndKey::from(CertifiedKey::new(vec![identity.certificate().clone()], key))
}

/// Signs handshakes with a key that is wiped with its last owner, which rustls' own signers do not do.
#[derive(Clone)]
struct Key(Arc<SigningKey>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl rustls::sign::SigningKey for Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn rustls::sign::Signer>> {
        offered.contains(&SignatureScheme::ED25519).then(|| Box::new(self.clone()) as _)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl rustls::sign::Signer for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.sign(message).to_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

struct Time(Clock);

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs((self.0)())))
    }
}

/// Looks at a peer's certificate in place of rustls.
#[derive(Debug)]
struct Verifier {
    policy: Arc<Policy>,
}

impl Verifier {
    fn verify(&self, first: &[u8], more: &[CertificateDer<'_>], role: Role, now: UnixTime) -> Result<(), Error> {
        if !more.is_empty() {
            return Err(refused(VerifyError::NotOneCertificate { count: more.len() + 1 }));
        }
        verify::peer_identity([first].into_iter(), &self.policy, role, now.as_secs()).map(drop).map_err(refused)
    }

    /// The peer has signed the handshake with the key of its certificate. rustls' helper for this would parse the certificate
    /// strictly.
    fn verify_handshake(
        message: &[u8],
        certificate: &[u8],
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let certificate = certificate::parse(certificate).map_err(|error| refused(error.into()))?;
        let key = certificate.public_key.ok_or_else(|| refused(VerifyError::NotAnEd25519Key))?;
        if signed.scheme != SignatureScheme::ED25519 {
            return Err(refused(VerifyError::NotAnEd25519Signature));
        }
        verify::signature_by(&key, message, signed.signature()).map_err(refused)?;
        Ok(HandshakeSignatureValid::assertion())
    }
}

fn refused(why: VerifyError) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(why))))
}

fn only_1_3() -> Error {
    Error::General("only TLS 1.3 is spoken here".into())
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity, intermediates, Role::Server, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_1_3())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::verify_handshake(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(end_entity, intermediates, Role::Client, now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_1_3())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::verify_handshake(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
