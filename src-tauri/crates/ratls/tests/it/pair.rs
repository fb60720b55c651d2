//! Two ends joined without a socket: two channels, or a channel and a bare rustls connection that trusts everybody and shows
//! whatever certificate it is given.

use std::sync::Arc;

use ratls::pow::{self, Challenge, Response};
use ratls::tls::{self, ClientTls, ServerTls};
use ratls::{ChannelError, ClientChannel, Evidence, Identity, Policy, ServerChannel, State};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{default_provider, sign::any_supported_type};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    ServerConnection, SignatureScheme, SupportedProtocolVersion,
};

/// 15 June 2026, a time at which the certificates of [`crate::maker`] are valid.
pub(crate) const NOW: u64 = 1_781_500_000;
pub(crate) const FAKE: Policy = Policy::FakeTdx { image_hashes: Vec::new() };
pub(crate) const EASY: i32 = 8;

pub(crate) fn clock(now: u64) -> tls::Clock {
    Arc::new(move || now)
}

pub(crate) fn client_tls(evidence: Evidence, policy: Policy) -> ClientTls {
    tls::client_config(&Identity::generate(evidence, NOW).unwrap(), policy, clock(NOW)).unwrap()
}

pub(crate) fn server_tls(evidence: Evidence, policy: Policy) -> ServerTls {
    tls::server_config(&Identity::generate(evidence, NOW).unwrap(), policy, clock(NOW)).unwrap()
}

/// What both channels have in common.
pub(crate) trait End {
    fn receive(&mut self, bytes: &[u8]) -> Result<(), ChannelError>;
    fn wire(&mut self) -> Vec<u8>;
    fn state(&self) -> State;
}

impl End for ClientChannel {
    /// Solves the challenge on the way.
    fn receive(&mut self, bytes: &[u8]) -> Result<(), ChannelError> {
        self.receive_wire(bytes)?;
        if let State::PowNeeded(challenge) = self.state() {
            let nonce = pow::solve(&challenge, 64, &mut || true)?.unwrap();
            self.provide_nonce(nonce)?;
        }
        Ok(())
    }

    fn wire(&mut self) -> Vec<u8> {
        self.take_wire()
    }

    fn state(&self) -> State {
        self.state()
    }
}

impl End for ServerChannel {
    fn receive(&mut self, bytes: &[u8]) -> Result<(), ChannelError> {
        self.receive_wire(bytes)
    }

    fn wire(&mut self) -> Vec<u8> {
        self.take_wire()
    }

    fn state(&self) -> State {
        self.state()
    }
}

/// Carries bytes both ways, in pieces as `size` says, until both ends are silent. The first error ends it.
pub(crate) fn join(
    one: &mut dyn End,
    other: &mut dyn End,
    size: &mut dyn FnMut() -> usize,
) -> Result<(), ChannelError> {
    loop {
        let (out, back) = (one.wire(), other.wire());
        if out.is_empty() && back.is_empty() {
            return Ok(());
        }
        deliver(&out, other, size)?;
        deliver(&back, one, size)?;
    }
}

pub(crate) fn deliver(mut bytes: &[u8], to: &mut dyn End, size: &mut dyn FnMut() -> usize) -> Result<(), ChannelError> {
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(size().clamp(1, bytes.len()));
        to.receive(piece)?;
        bytes = rest;
    }
    Ok(())
}

/// A pair of channels that have found each other.
pub(crate) fn opened() -> (ClientChannel, ServerChannel) {
    let mut client = ClientChannel::new(&client_tls(Evidence::FakeTdx, FAKE), EASY).unwrap();
    let mut server = ServerChannel::new(&server_tls(Evidence::FakeTdx, FAKE), EASY, [3; 16]).unwrap();
    join(&mut client, &mut server, &mut || usize::MAX).unwrap();
    assert!(matches!(client.state(), State::Open(_)) && matches!(server.state(), State::Open(_)));
    (client, server)
}

/// Gives a client's channel its proof of work, so that only TLS is left; for peers that know of none.
pub(crate) fn past_pow(mut client: ClientChannel) -> ClientChannel {
    client.receive_wire(&Challenge { difficulty: 0, salt: [0; 16] }.encode()).unwrap();
    client.provide_nonce(0).unwrap();
    client
}

/// The client's first bytes for a peer that knows of no proof of work.
pub(crate) fn hello_of(client: &mut ClientChannel) -> Vec<u8> {
    let wire = client.take_wire();
    assert_eq!(wire[..Response::LENGTH], Response { nonce: 0 }.encode());
    wire[Response::LENGTH..].to_vec()
}

/// A server's channel of which only TLS is left.
pub(crate) fn server_past_pow(tls: &ServerTls) -> ServerChannel {
    let mut server = ServerChannel::new(tls, 0, [0; 16]).unwrap();
    assert_eq!(server.take_wire().len(), Challenge::LENGTH);
    server.receive_wire(&Response { nonce: 0 }.encode()).unwrap();
    server
}

/// How a connection between a channel and a bare peer went.
pub(crate) struct Outcome {
    pub(crate) ours: Result<(), ChannelError>,
    pub(crate) theirs: Result<(), Error>,
    /// Everything that the channel sent.
    pub(crate) sent: Vec<u8>,
}

/// Carries bytes between a channel and a bare peer until both are silent or one refuses.
pub(crate) fn meet(channel: &mut dyn End, first: Vec<u8>, bare: &mut Connection) -> Outcome {
    let mut outcome = Outcome { ours: Ok(()), theirs: Ok(()), sent: Vec::new() };
    let mut out = first;
    loop {
        out.extend(channel.wire());
        outcome.sent.extend_from_slice(&out);
        let mut moved = !out.is_empty();
        let mut unread = &out[..];
        while !unread.is_empty() && outcome.theirs.is_ok() {
            bare.read_tls(&mut unread).unwrap();
            outcome.theirs = bare.process_new_packets().map(drop);
        }
        out.clear();
        let mut back = Vec::new();
        while bare.wants_write() {
            bare.write_tls(&mut back).unwrap();
        }
        moved |= !back.is_empty();
        if outcome.ours.is_ok() && !back.is_empty() {
            outcome.ours = channel.receive(&back);
        }
        if !moved {
            return outcome;
        }
    }
}

pub(crate) struct Shown {
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key: Vec<u8>,
}

impl Shown {
    fn resolver(&self) -> Arc<SingleCertAndKey> {
        let key = PrivateKeyDer::try_from(self.key.clone()).unwrap();
        let chain = self.chain.iter().cloned().map(CertificateDer::from).collect();
        Arc::new(CertifiedKey::new(chain, any_supported_type(&key).unwrap()).into())
    }
}

pub(crate) const VERSION_1_3: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

pub(crate) fn bare_client(shown: Option<&Shown>) -> Connection {
    bare_client_with(default_provider(), shown, VERSION_1_3)
}

pub(crate) fn bare_client_with(
    provider: CryptoProvider,
    shown: Option<&Shown>,
    versions: &[&'static SupportedProtocolVersion],
) -> Connection {
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting));
    let config = match shown {
        Some(shown) => builder.with_client_cert_resolver(shown.resolver()),
        None => builder.with_no_client_auth(),
    };
    let name = ServerName::try_from("127.0.0.1").unwrap();
    ClientConnection::new(Arc::new(config), name).unwrap().into()
}

/// Sends as many session tickets as it is told, once the handshake is over.
pub(crate) fn bare_server(shown: &Shown, tickets: usize) -> Connection {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(VERSION_1_3)
        .unwrap()
        .with_client_cert_verifier(Arc::new(Trusting))
        .with_cert_resolver(shown.resolver());
    config.send_tls13_tickets = tickets;
    ServerConnection::new(Arc::new(config)).unwrap().into()
}

#[derive(Debug)]
struct Trusting;

fn schemes() -> Vec<SignatureScheme> {
    default_provider().signature_verification_algorithms.supported_schemes()
}

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

impl ClientCertVerifier for Trusting {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}
