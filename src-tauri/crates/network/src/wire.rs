//! One TCP connection through proof of work and TLS, and the bounded queues on both sides of it.
//!
//! The pure half is `ratls`; here are the socket, the deadline, and the rules about who may make whom wait:
//! - what comes in is read only as fast as the receiving task takes it, so a flood ends in the sender's socket buffer;
//! - what goes out is queued up to a limit ([`Outgoing::push`] says when it is reached), because the task that decides for all
//!   connections must never wait for one of them. A peer that does not read is cut off.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ratls::tls::{ClientTls, ServerTls};
use ratls::{ChannelError, ClientChannel, PeerIdentity, ServerChannel, State, pow};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout};

use crate::clock::random_bytes;

/// Connecting, proof of work and TLS must be through after this, as with the genuine programs.
pub const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(20);
/// A peer that takes no byte for this long, while bytes wait for it, is cut off.
const STALL_PATIENCE: Duration = Duration::from_secs(30);
/// What is read from the socket at once.
const READ_SIZE: usize = 32 * 1024;
/// Bytes that may wait for a peer: several of the largest frames, since jobs that waited for a worker all go to it at once.
pub const QUEUE_LIMIT: usize = 64 * 1024 * 1024;
/// A sender who can wait waits from here on.
const ROOM: usize = 4 * 1024 * 1024;

/// Why a connection ended. None is the operator's fault; the other end may come back.
#[derive(Debug, Error)]
pub enum WireError {
    /// The socket failed.
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    /// Proof of work or TLS failed.
    #[error("{}: {}", .0, cause(.0))]
    Channel(#[from] ChannelError),
    /// The handshake took too long.
    #[error("proof of work and TLS took too long")]
    TooSlow,
    /// The other end closed during the handshake.
    #[error("closed during the handshake")]
    ClosedEarly,
    /// The other end does not read.
    #[error("the other end took no byte for 30 s")]
    Stalled,
    /// This side gave the connection up.
    #[error("cut off")]
    CutOff,
}

fn cause(error: &ChannelError) -> String {
    std::error::Error::source(error).map_or_else(|| "no further reason".to_owned(), ToString::to_string)
}

enum Channel {
    Client(Box<ClientChannel>),
    Server(Box<ServerChannel>),
}

macro_rules! both {
    ($self:expr, $channel:ident => $call:expr) => {
        match $self {
            Channel::Client($channel) => $call,
            Channel::Server($channel) => $call,
        }
    };
}

impl Channel {
    fn state(&self) -> State {
        both!(self, channel => channel.state())
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<Vec<u8>, ChannelError> {
        both!(self, channel => {
            channel.receive_wire(bytes)?;
            Ok(channel.take_plaintext())
        })
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), ChannelError> {
        both!(self, channel => channel.send_plaintext(bytes))
    }

    fn take_wire(&mut self) -> Vec<u8> {
        both!(self, channel => channel.take_wire())
    }

    fn is_closed_by_peer(&self) -> bool {
        both!(self, channel => channel.is_closed_by_peer())
    }
}

/// A connection that is through proof of work and TLS.
pub struct Wire {
    stream: TcpStream,
    channel: Channel,
    peer: PeerIdentity,
    /// Plaintext that came right behind the handshake.
    early: Vec<u8>,
}

impl Wire {
    /// Takes an accepted socket through the server's half, which must be done within `patience` ([`HANDSHAKE_PATIENCE`]).
    pub async fn accept(
        stream: TcpStream,
        tls: &ServerTls,
        difficulty: i32,
        patience: Duration,
    ) -> Result<Self, WireError> {
        let channel = ServerChannel::new(tls, difficulty, random_bytes())?;
        Self::shake(stream, Channel::Server(Box::new(channel)), 0, patience).await
    }

    /// Dials and goes through the client's half, doing at most `max_difficulty` of work.
    pub async fn dial(address: SocketAddr, tls: &ClientTls, max_difficulty: i32) -> Result<Self, WireError> {
        let stream =
            timeout(HANDSHAKE_PATIENCE, TcpStream::connect(address)).await.map_err(|_| WireError::TooSlow)??;
        let channel = ClientChannel::new(tls, max_difficulty)?;
        Self::shake(stream, Channel::Client(Box::new(channel)), max_difficulty, HANDSHAKE_PATIENCE).await
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &PeerIdentity {
        &self.peer
    }

    async fn shake(stream: TcpStream, channel: Channel, most: i32, patience: Duration) -> Result<Self, WireError> {
        stream.set_nodelay(true)?;
        timeout(patience, handshake(stream, channel, most)).await.unwrap_or(Err(WireError::TooSlow))
    }

    /// Sends plaintext and waits until the socket has it.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        self.channel.send(bytes)?;
        let wire = self.channel.take_wire();
        self.stream.write_all(&wire).await?;
        Ok(())
    }

    /// Waits for plaintext; `None` at the end of the connection.
    pub async fn receive(&mut self) -> Result<Option<Vec<u8>>, WireError> {
        if !self.early.is_empty() {
            return Ok(Some(std::mem::take(&mut self.early)));
        }
        let mut buffer = vec![0; READ_SIZE];
        while !self.channel.is_closed_by_peer() {
            let length = self.stream.read(&mut buffer).await?;
            if length == 0 {
                return Ok(None);
            }
            let plaintext = self.channel.receive(buffer.get(..length).unwrap_or_default())?;
            let reply = self.channel.take_wire();
            self.stream.write_all(&reply).await?;
            if !plaintext.is_empty() {
                return Ok(Some(plaintext));
            }
        }
        Ok(None)
    }

    /// Moves plaintext both ways until one end has enough: what comes in goes to `incoming` as `wrap` says, what `outgoing` yields
    /// goes out. Returns `Ok` when either side closed in an ordinary way.
    pub async fn pump<T>(
        mut self,
        outgoing: OutgoingQueue,
        incoming: mpsc::Sender<T>,
        wrap: impl Fn(Vec<u8>) -> T,
    ) -> Result<(), WireError> {
        let OutgoingQueue { mut receiver, shared } = outgoing;
        let (mut reader, mut writer) = self.stream.split();
        let mut buffer = vec![0; READ_SIZE];
        let mut arrived = std::mem::take(&mut self.early);
        let mut pending: Vec<u8> = Vec::new();
        let mut written = 0;
        let mut moved = Instant::now();
        let mut is_open = true;
        loop {
            if written == pending.len() {
                written = 0;
                pending = self.channel.take_wire();
                moved = Instant::now();
                if pending.is_empty() && !is_open {
                    return Ok(());
                }
            }
            let waits = written < pending.len();
            tokio::select! {
                () = shared.cut.notified() => return Err(WireError::CutOff),
                permit = incoming.reserve(), if !arrived.is_empty() => match permit {
                    Ok(permit) => permit.send(wrap(std::mem::take(&mut arrived))),
                    Err(_) => return Ok(()),
                },
                length = reader.read(&mut buffer), if arrived.is_empty() && is_open => {
                    let length = length?;
                    if length == 0 {
                        return Ok(());
                    }
                    arrived = self.channel.receive(buffer.get(..length).unwrap_or_default())?;
                    if self.channel.is_closed_by_peer() && arrived.is_empty() {
                        return Ok(());
                    }
                }
                length = writer.write(pending.get(written..).unwrap_or_default()), if waits => {
                    written += length?;
                    moved = Instant::now();
                }
                () = tokio::time::sleep_until(moved + STALL_PATIENCE), if waits => return Err(WireError::Stalled),
                bytes = receiver.recv(), if !waits && is_open => match bytes {
                    Some(bytes) => {
                        shared.queued.fetch_sub(bytes.len(), Ordering::Relaxed);
                        shared.drained.notify_one();
                        self.channel.send(&bytes)?;
                    }
                    // What is encrypted already still leaves.
                    None => is_open = false,
                },
            }
        }
    }
}

async fn handshake(mut stream: TcpStream, mut channel: Channel, most: i32) -> Result<Wire, WireError> {
    let mut buffer = vec![0; READ_SIZE];
    let mut early = Vec::new();
    loop {
        if let (State::PowNeeded(challenge), Channel::Client(client)) = (channel.state(), &mut channel) {
            client.provide_nonce(solve(challenge, most).await?)?;
        }
        let wire = channel.take_wire();
        stream.write_all(&wire).await?;
        if let State::Open(peer) = channel.state() {
            return Ok(Wire { stream, channel, peer, early });
        }
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Err(WireError::ClosedEarly);
        }
        early.extend(channel.receive(buffer.get(..length).unwrap_or_default())?);
    }
}

/// Solves on a thread that may be busy. The thread stops when nobody waits any longer.
async fn solve(challenge: pow::Challenge, most: i32) -> Result<i64, WireError> {
    let wanted = Arc::new(AtomicBool::new(true));
    let guard = StopOnDrop(Arc::clone(&wanted));
    let solved =
        tokio::task::spawn_blocking(move || pow::solve(&challenge, most, &mut || wanted.load(Ordering::Relaxed))).await;
    drop(guard);
    match solved {
        Ok(Ok(Some(nonce))) => Ok(nonce),
        Ok(Err(error)) => Err(ChannelError::from(error).into()),
        Ok(Ok(None)) | Err(_) => Err(WireError::TooSlow),
    }
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct Shared {
    queued: AtomicUsize,
    cut: Notify,
    drained: Notify,
}

/// The deciding task's end of a connection's outgoing queue. Dropping it closes the connection once everything is sent.
pub struct Outgoing {
    sender: mpsc::UnboundedSender<Vec<u8>>,
    shared: Arc<Shared>,
    limit: usize,
}

/// The connection's end of its outgoing queue.
pub struct OutgoingQueue {
    receiver: mpsc::UnboundedReceiver<Vec<u8>>,
    shared: Arc<Shared>,
}

/// More bytes wait for this peer than may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("too many bytes wait for a peer that does not read")]
pub struct QueueFull;

/// Both ends of a connection's outgoing queue, which holds `limit` bytes ([`QUEUE_LIMIT`]).
pub fn queue(limit: usize) -> (Outgoing, OutgoingQueue) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared::default());
    (Outgoing { sender, shared: Arc::clone(&shared), limit }, OutgoingQueue { receiver, shared })
}

impl Outgoing {
    /// Queues bytes. When the limit is reached nothing is queued; the caller cuts the connection off.
    pub fn push(&self, bytes: Vec<u8>) -> Result<(), QueueFull> {
        let length = bytes.len();
        if self.shared.queued.load(Ordering::Relaxed).saturating_add(length) > self.limit {
            return Err(QueueFull);
        }
        self.shared.queued.fetch_add(length, Ordering::Relaxed);
        // A closed queue is a connection that is going; its end is reported on its own.
        let _ = self.sender.send(bytes);
        Ok(())
    }

    /// Whether a sender who can wait should go on. When not, [`Self::drained`] says when to ask again.
    pub fn has_room(&self) -> bool {
        self.shared.queued.load(Ordering::Relaxed) < ROOM
    }

    /// Waits until something of the queue has left.
    pub async fn drained(&self) {
        self.shared.drained.notified().await;
    }

    /// Ends the connection at once, whatever still waits.
    pub fn cut(&self) {
        self.shared.cut.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_takes_nothing_more() {
        let (outgoing, mut rest) = queue(10);
        outgoing.push(vec![0; 10]).unwrap();
        assert_eq!(outgoing.push(vec![0; 1]), Err(QueueFull));
        assert_eq!(rest.receiver.try_recv().unwrap().len(), 10);
        assert!(rest.receiver.try_recv().is_err(), "what did not fit is not queued");
        // Only what has left makes room, and the other end says so.
        assert_eq!(outgoing.push(vec![0; 1]), Err(QueueFull));
        rest.shared.queued.store(0, Ordering::Relaxed);
        assert_eq!(outgoing.push(vec![0; 1]), Ok(()));
        assert!(outgoing.has_room());
    }

    #[tokio::test]
    async fn more_work_than_agreed_is_not_done() {
        let hard = pow::Challenge { difficulty: 24, salt: [3; 16] };
        assert!(matches!(solve(hard, 20).await, Err(WireError::Channel(_))));
        let easy = pow::Challenge { difficulty: 4, salt: [3; 16] };
        assert!(easy.verify(solve(easy, 20).await.unwrap()));
    }
}
