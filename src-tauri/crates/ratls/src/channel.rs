//! One connection's proof of work and TLS: bytes from the wire in, bytes for the wire out.
//!
//! Both ends hold two queues, one of bytes for the wire and one of plaintext for the caller. A queue takes no more once it
//! holds [`BUFFER_LIMIT`] bytes; whoever fills it asks first (`wants_wire_drained`, `wants_plaintext_drained`) and waits, which
//! is how a slow reader slows the other end down. One call may run over the limit by what it was given.
//!
//! After an error the connection is over: close the socket. Nothing is said to the peer, no alert and no `close_notify`, as
//! genuine programs do it.

use std::io::{Read as _, Write as _};
use std::mem;

use rustls::pki_types::{IpAddr, Ipv4Addr, ServerName};
use rustls::{ClientConnection, Connection, ServerConnection};
use thiserror::Error;

use crate::policy::{PeerIdentity, Policy};
use crate::pow::{self, Challenge, PowError, Response};
use crate::tls::{self, ClientTls, ServerTls};
use crate::verify::VerifyError;

/// Bytes at which a queue of a channel takes no more.
pub const BUFFER_LIMIT: usize = 256 * 1024;

/// Why a connection is over, or, for the last four, why a call was not allowed.
#[derive(Debug, Error)]
pub enum ChannelError {
    /// The preamble went wrong.
    #[error("proof of work")]
    Pow(#[from] PowError),
    /// The peer's certificate was refused.
    #[error("the peer is refused")]
    Peer(#[from] VerifyError),
    /// TLS went wrong in another way.
    #[error("TLS")]
    Tls(#[source] rustls::Error),
    /// The connection was over before.
    #[error("the connection is over")]
    Over,
    /// Plaintext was given before the handshake ended; nothing is queued for a peer that is not yet known.
    #[error("the handshake is not finished")]
    NotOpen,
    /// The caller must take the bytes for the wire first.
    #[error("{BUFFER_LIMIT} bytes for the wire have not been taken")]
    WireNotTaken,
    /// The caller must take the plaintext first.
    #[error("{BUFFER_LIMIT} bytes of plaintext have not been taken")]
    PlaintextNotTaken,
}

/// How far a connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The peer's half of the proof of work has not come.
    AwaitingPow,
    /// Only at the client: the challenge must be solved, see [`pow::solve`] and [`ClientChannel::provide_nonce`].
    PowNeeded(Challenge),
    /// TLS is being set up.
    Handshaking,
    /// Plaintext may flow. To a client this does not mean that the server has accepted *it*: a refusal comes later, as the
    /// end of the connection.
    Open(PeerIdentity),
    /// An error was reported.
    Over,
}

/// The end that dialled.
pub struct ClientChannel {
    stage: ClientStage,
    tls: Tls,
    most: i32,
}

enum ClientStage {
    Challenge(Vec<u8>),
    Nonce(Challenge, Vec<u8>),
    Tls,
}

impl ClientChannel {
    /// A new connection. `max_difficulty` is the most work it is willing to do ([`pow::MAX_DIFFICULTY`]).
    pub fn new(tls: &ClientTls, max_difficulty: i32) -> Result<Self, ChannelError> {
        // An address, since a name would be sent; which one does not matter, the verifier knows what to look for.
        let name = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([127, 0, 0, 1])));
        let connection = ClientConnection::new(tls.config.clone(), name).map_err(ChannelError::Tls)?;
        Ok(Self {
            stage: ClientStage::Challenge(Vec::new()),
            tls: Tls::new(connection.into(), tls.policy.as_ref()),
            most: max_difficulty,
        })
    }

    /// How far it is.
    pub fn state(&self) -> State {
        match &self.stage {
            _ if self.tls.over => State::Over,
            ClientStage::Challenge(_) => State::AwaitingPow,
            ClientStage::Nonce(challenge, _) => State::PowNeeded(*challenge),
            ClientStage::Tls => self.tls.state(),
        }
    }

    /// Takes bytes that came from the wire, in pieces of any size.
    pub fn receive_wire(&mut self, bytes: &[u8]) -> Result<(), ChannelError> {
        self.tls.may_receive()?;
        let received = self.receive(bytes);
        self.tls.remember(received)
    }

    /// Answers the challenge. The answer and the first bytes of TLS leave together.
    pub fn provide_nonce(&mut self, nonce: i64) -> Result<(), ChannelError> {
        self.tls.may_receive()?;
        let ClientStage::Nonce(challenge, early) = &mut self.stage else { return Err(PowError::NotAsked.into()) };
        if !challenge.verify(nonce) {
            return Err(PowError::WrongNonce.into());
        }
        let early = mem::take(early);
        self.tls.wire.extend_from_slice(&Response { nonce }.encode());
        self.stage = ClientStage::Tls;
        let received = self.tls.receive(&early);
        self.tls.remember(received)
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), ChannelError> {
        match &mut self.stage {
            ClientStage::Challenge(have) => {
                let rest = fill(have, bytes, Challenge::LENGTH);
                if let Ok(whole) = have.as_slice().try_into() {
                    let challenge = Challenge::decode(whole)?;
                    pow::check_difficulty(&challenge, self.most)?;
                    self.stage = ClientStage::Nonce(challenge, rest.to_vec());
                }
                Ok(())
            }
            // Nothing is due from a server now. What comes is left to TLS to judge, up to a bound.
            ClientStage::Nonce(_, early) if early.len() >= BUFFER_LIMIT => Err(ChannelError::PlaintextNotTaken),
            ClientStage::Nonce(_, early) => {
                early.extend_from_slice(bytes);
                Ok(())
            }
            ClientStage::Tls => self.tls.receive(bytes),
        }
    }
}

/// The end that accepted.
pub struct ServerChannel {
    stage: ServerStage,
    tls: Tls,
}

enum ServerStage {
    Response(Challenge, Vec<u8>),
    Tls,
}

impl ServerChannel {
    /// A new connection, whose challenge lies ready for the wire. `salt` must be random for each connection.
    pub fn new(tls: &ServerTls, difficulty: i32, salt: [u8; 16]) -> Result<Self, ChannelError> {
        let connection = ServerConnection::new(tls.config.clone()).map_err(ChannelError::Tls)?;
        let mut tls = Tls::new(connection.into(), tls.policy.as_ref());
        let challenge = Challenge { difficulty, salt };
        tls.wire.extend_from_slice(&challenge.encode());
        Ok(Self { stage: ServerStage::Response(challenge, Vec::new()), tls })
    }

    /// How far it is; never [`State::PowNeeded`].
    pub fn state(&self) -> State {
        match &self.stage {
            _ if self.tls.over => State::Over,
            ServerStage::Response(..) => State::AwaitingPow,
            ServerStage::Tls => self.tls.state(),
        }
    }

    /// Takes bytes that came from the wire, in pieces of any size.
    pub fn receive_wire(&mut self, bytes: &[u8]) -> Result<(), ChannelError> {
        self.tls.may_receive()?;
        let received = self.receive(bytes);
        self.tls.remember(received)
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), ChannelError> {
        let ServerStage::Response(challenge, have) = &mut self.stage else { return self.tls.receive(bytes) };
        // The client goes straight on with TLS: what follows the answer is already part of it.
        let rest = fill(have, bytes, Response::LENGTH);
        if let Ok(whole) = have.as_slice().try_into() {
            if !challenge.verify(Response::decode(whole)?.nonce) {
                return Err(PowError::WrongNonce.into());
            }
            self.stage = ServerStage::Tls;
            self.tls.receive(rest)?;
        }
        Ok(())
    }
}

/// Moves bytes until `have` holds `length`; returns those that are left.
fn fill<'a>(have: &mut Vec<u8>, bytes: &'a [u8], length: usize) -> &'a [u8] {
    let (wanted, rest) = bytes.split_at(bytes.len().min(length.saturating_sub(have.len())));
    have.extend_from_slice(wanted);
    rest
}

/// The half that both ends share.
macro_rules! queues {
    ($channel:ty) => {
        impl $channel {
            /// The bytes that must go to the wire, in this order, before any that are taken later.
            pub fn take_wire(&mut self) -> Vec<u8> {
                mem::take(&mut self.tls.wire)
            }

            /// The plaintext that has come since the last call.
            pub fn take_plaintext(&mut self) -> Vec<u8> {
                mem::take(&mut self.tls.plaintext)
            }

            /// Encrypts plaintext for the peer, all of it or nothing.
            pub fn send_plaintext(&mut self, bytes: &[u8]) -> Result<(), ChannelError> {
                self.tls.may_send()?;
                let sent = self.tls.send(bytes);
                self.tls.remember(sent)
            }

            /// Whether bytes for the wire must be taken before more plaintext can be sent.
            pub fn wants_wire_drained(&self) -> bool {
                self.tls.wire.len() >= BUFFER_LIMIT
            }

            /// Whether plaintext must be taken before more can be received from the wire.
            pub fn wants_plaintext_drained(&self) -> bool {
                self.tls.plaintext.len() >= BUFFER_LIMIT
            }

            /// Who is at the other end, once that is known.
            pub fn peer(&self) -> Option<&PeerIdentity> {
                self.tls.peer.as_ref()
            }

            /// Whether the peer has announced the end with `close_notify`. Genuine programs never do: the connection just ends.
            pub fn is_closed_by_peer(&self) -> bool {
                self.tls.closed_by_peer
            }
        }
    };
}

queues!(ClientChannel);
queues!(ServerChannel);

struct Tls {
    connection: Connection,
    policy: Policy,
    peer: Option<PeerIdentity>,
    wire: Vec<u8>,
    plaintext: Vec<u8>,
    closed_by_peer: bool,
    over: bool,
}

impl Tls {
    fn new(connection: Connection, policy: &Policy) -> Self {
        Self {
            connection,
            policy: policy.clone(),
            peer: None,
            wire: Vec::new(),
            plaintext: Vec::new(),
            closed_by_peer: false,
            over: false,
        }
    }

    fn state(&self) -> State {
        self.peer.map_or(State::Handshaking, State::Open)
    }

    fn may_receive(&self) -> Result<(), ChannelError> {
        if self.over {
            return Err(ChannelError::Over);
        }
        if self.plaintext.len() >= BUFFER_LIMIT {
            return Err(ChannelError::PlaintextNotTaken);
        }
        Ok(())
    }

    fn may_send(&self) -> Result<(), ChannelError> {
        if self.over {
            return Err(ChannelError::Over);
        }
        if self.peer.is_none() {
            return Err(ChannelError::NotOpen);
        }
        if self.wire.len() >= BUFFER_LIMIT {
            return Err(ChannelError::WireNotTaken);
        }
        Ok(())
    }

    fn remember<T>(&mut self, result: Result<T, ChannelError>) -> Result<T, ChannelError> {
        self.over |= result.is_err();
        result
    }

    fn receive(&mut self, mut bytes: &[u8]) -> Result<(), ChannelError> {
        // Also without bytes: the client's first message waits to be taken.
        self.collect()?;
        while !bytes.is_empty() && !self.closed_by_peer {
            if self.connection.read_tls(&mut bytes).map_err(|error| broken(&error))? == 0 {
                break;
            }
            // On error rustls has an alert ready, which is not collected and so never sent.
            let progress = self.connection.process_new_packets().map_err(refused_or_broken)?;
            self.closed_by_peer = progress.peer_has_closed();
            let length = progress.plaintext_bytes_to_read();
            if length > 0 {
                let start = self.plaintext.len();
                self.plaintext.resize(start + length, 0);
                let target = self.plaintext.get_mut(start..).unwrap_or_default();
                self.connection.reader().read_exact(target).map_err(|error| broken(&error))?;
            }
            self.collect()?;
        }
        if self.peer.is_none() && !self.connection.is_handshaking() {
            let certificates = self.connection.peer_certificates().unwrap_or_default();
            self.peer = Some(tls::verified_identity(certificates, &self.policy)?);
        }
        Ok(())
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<(), ChannelError> {
        while !bytes.is_empty() {
            let written = self.connection.writer().write(bytes).map_err(|error| broken(&error))?;
            bytes = bytes.get(written..).unwrap_or_default();
            self.collect()?;
            if written == 0 {
                return Err(ChannelError::Over);
            }
        }
        Ok(())
    }

    fn collect(&mut self) -> Result<(), ChannelError> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.wire).map_err(|error| broken(&error))?;
        }
        Ok(())
    }
}

fn refused_or_broken(error: rustls::Error) -> ChannelError {
    tls::refusal(&error).map_or(ChannelError::Tls(error), ChannelError::Peer)
}

fn broken(error: &std::io::Error) -> ChannelError {
    ChannelError::Tls(rustls::Error::General(error.to_string()))
}
