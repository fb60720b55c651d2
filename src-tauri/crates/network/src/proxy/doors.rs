//! The two ports: who is let in, and how many.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::proxy::Side;
use ratls::tls::ServerTls;
use ratls::{Evidence, Identity, Policy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::StartError;
use super::host::Event;
use crate::clock::{Clock, unix_seconds};
use crate::wire::{HANDSHAKE_PATIENCE, QUEUE_LIMIT, Wire, queue};

/// Pause after the system refused to accept a connection (too many open files, most likely).
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_millis(100);

/// How many connections a proxy holds, handshakes included, and how long a handshake may take. What comes beyond is closed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// On both ports together.
    pub total: usize,
    /// From one IP address.
    pub per_address: usize,
    /// How long proof of work and TLS may take together.
    pub handshake: Duration,
    /// Bytes that may wait for one peer. Who lets more wait is cut off.
    pub queue: usize,
}

impl Default for Limits {
    /// With buffers at their usual fill, the total stays below a gigabyte.
    fn default() -> Self {
        Self { total: 1024, per_address: 128, handshake: HANDSHAKE_PATIENCE, queue: QUEUE_LIMIT }
    }
}

/// The certificate shown to diallers, renewed when half of its day is over.
pub(super) struct Tls {
    evidence: Evidence,
    policy: Policy,
    current: Mutex<(Identity, ServerTls)>,
}

impl Tls {
    pub(super) fn new(evidence: Evidence, policy: Policy) -> Result<Self, StartError> {
        let current = make(evidence, &policy)?;
        Ok(Self { evidence, policy, current: Mutex::new(current) })
    }

    /// The certificate of now, and the key in it.
    fn current(&self) -> (ServerTls, [u8; 32]) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0.is_due_for_renewal(unix_seconds() as u64) {
            match make(self.evidence, &self.policy) {
                Ok(fresh) => *current = fresh,
                Err(error) => tracing::error!(%error, "the certificate cannot be renewed"),
            }
        }
        (current.1.clone(), current.0.public_key())
    }
}

fn make(evidence: Evidence, policy: &Policy) -> Result<(Identity, ServerTls), StartError> {
    let failed = |error: &dyn std::error::Error| StartError::Certificate(error.to_string());
    let identity = Identity::generate(evidence, unix_seconds() as u64).map_err(|error| failed(&error))?;
    let clock = Arc::new(|| unix_seconds() as u64);
    let tls = ratls::tls::server_config(&identity, policy.clone(), clock).map_err(|error| failed(&error))?;
    Ok((identity, tls))
}

#[derive(Default)]
struct Guests {
    total: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

/// What both ports share.
pub(super) struct Doors {
    limits: Limits,
    difficulty: i32,
    clock: Clock,
    guests: Mutex<Guests>,
    next: AtomicU64,
    turned_away: Arc<AtomicU64>,
    events: mpsc::Sender<Event>,
}

/// A place among the connections, free again when dropped.
struct Place {
    doors: Arc<Doors>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut guests = self.doors.guests.lock().unwrap_or_else(PoisonError::into_inner);
        guests.total = guests.total.saturating_sub(1);
        if let Some(count) = guests.by_address.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                guests.by_address.remove(&self.address);
            }
        }
    }
}

impl Doors {
    pub(super) fn new(limits: Limits, difficulty: i32, clock: Clock, events: mpsc::Sender<Event>) -> Arc<Self> {
        let guests = Mutex::new(Guests::default());
        Arc::new(Self {
            limits,
            difficulty,
            clock,
            guests,
            next: AtomicU64::new(1),
            turned_away: Arc::default(),
            events,
        })
    }

    /// Counts those who were turned away.
    pub(super) fn turned_away(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.turned_away)
    }

    fn place(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        let here = guests.by_address.get(&address).copied().unwrap_or(0);
        if guests.total >= self.limits.total || here >= self.limits.per_address {
            return None;
        }
        guests.total += 1;
        *guests.by_address.entry(address).or_default() += 1;
        Some(Place { doors: Arc::clone(self), address })
    }

    /// Lets diallers in for ever.
    pub(super) async fn open(self: Arc<Self>, listener: TcpListener, side: Side, tls: Arc<Tls>) {
        // Whoever is inside leaves when this task ends.
        let mut inside = tokio::task::JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = inside.join_next() => continue,
            };
            match accepted {
                Ok((stream, address)) => {
                    if let Some(place) = self.place(address.ip()) {
                        inside.spawn(self.clone().host(stream, address, side, tls.current(), place));
                    } else {
                        self.turned_away.fetch_add(1, Ordering::Relaxed);
                        tracing::debug!(%address, "turned away: too many connections");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(PAUSE_AFTER_REFUSAL).await;
                }
            }
        }
    }

    async fn host(
        self: Arc<Self>,
        stream: TcpStream,
        address: SocketAddr,
        side: Side,
        (tls, tls_key): (ServerTls, [u8; 32]),
        place: Place,
    ) {
        let wire = match Wire::accept(stream, &tls, self.difficulty, self.limits.handshake).await {
            Ok(wire) => wire,
            Err(error) => {
                tracing::debug!(%address, %error, "not let in");
                return;
            }
        };
        let conn = self.next.fetch_add(1, Ordering::Relaxed);
        let (outgoing, rest) = queue(self.limits.queue);
        let opened = Event::Opened { conn, side, peer: *wire.peer(), tls_key, outgoing, at: self.clock.now() };
        if self.events.send(opened).await.is_err() {
            return;
        }
        let ended = wire.pump(rest, self.events.clone(), |bytes| Event::Data { conn, bytes }).await;
        if let Err(error) = ended {
            tracing::debug!(conn, %error, "connection ended");
        }
        let _ = self.events.send(Event::Gone { conn }).await;
        drop(place);
    }
}
