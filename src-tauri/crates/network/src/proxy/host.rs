//! The one task that owns the proxy's core and carries out what it decides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evidence::Binding;
use protocol::Now;
use protocol::proxy::{Account, Action, Core, Side, Sight};
use ratls::PeerIdentity;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use ton::{Address, RootConfig};

use super::gate::Gate;
use super::shows::{Question, Shower, Shows};
use super::stats::Stats;
use super::treasurer::{Ask, Confirm};
use crate::clock::Clock;
use crate::misbehaviour::{Deed, Misbehaviour, is_query};
use crate::store::{Store, Writer};
use crate::wire::Outgoing;

/// How long the last write may take when the proxy stops.
const LAST_WRITE_PATIENCE: Duration = Duration::from_secs(5);
/// Without a deadline of the core's, time passes this often.
const IDLE: Duration = Duration::from_mins(1);

/// What reaches the deciding task. Holds plaintext, so it has no `Debug`.
pub(super) enum Event {
    /// A connection is through TLS, with this key in our certificate.
    Opened { conn: u64, side: Side, peer: PeerIdentity, tls_key: [u8; 32], outgoing: Outgoing, at: Now },
    /// Plaintext came in.
    Data { conn: u64, bytes: Vec<u8> },
    /// A connection is gone.
    Gone { conn: u64 },
    /// A write has reached the disk; `writes` is its number in the file.
    Persisted { seq: u64, writes: u64 },
    /// The chain has the note of this write.
    Committed { seq: u64 },
    /// The root contract was read.
    Root(Arc<RootConfig>),
    /// A client's contract was looked at.
    Seen { client: Address, sight: Sight },
    /// A client's contract has said this number.
    Registered { client: Address, nonce: u64 },
    /// What was made for a worker that asked what we can show; `None`: nothing.
    Shown { conn: u64, query: i64, bytes: Option<Vec<u8>> },
    /// Somebody wants to see all accounts.
    Books(oneshot::Sender<Vec<BookEntry>>),
    /// The proxy must not go on.
    Trouble(String),
    /// Somebody wants to see the stats.
    Stats(oneshot::Sender<serde_json::Value>),
    /// Write everything down and end.
    Stop(oneshot::Sender<()>),
}

/// An account as the chain's side of the proxy sees it.
#[derive(Debug, Clone)]
pub(super) struct BookEntry {
    pub(super) side: Side,
    pub(super) owner: Address,
    pub(super) account: Account,
    pub(super) is_connected: bool,
}

/// Where commits go when there is a chain.
pub(super) struct Committing {
    pub(super) asks: mpsc::Sender<Ask>,
    pub(super) confirm: Confirm,
}

/// One connection as this task sees it.
struct Guest {
    side: Side,
    /// The key of our certificate there.
    tls_key: [u8; 32],
    outgoing: Outgoing,
    /// Whether a query went out here, and how many messages came since: for [`Misbehaviour::DropMidAnswer`].
    answers_since_query: Option<u32>,
}

pub(super) struct Host {
    core: Core,
    /// Where something is demanded of workers.
    gate: Option<Gate>,
    /// Where there is something to show to workers.
    shower: Option<Shower>,
    clock: Clock,
    writer: Writer,
    writes_under_way: usize,
    guests: BTreeMap<u64, Guest>,
    stats: Stats,
    misbehaviour: Option<Misbehaviour>,
    committing: Option<Committing>,
    /// The file's number of the last write.
    writes: u64,
    trouble: watch::Sender<Option<String>>,
}

impl Host {
    #[expect(clippy::too_many_arguments, reason = "it is called once")]
    pub(super) fn new(
        core: Core,
        gate: Option<Gate>,
        shows: Option<Arc<dyn Shows>>,
        clock: Clock,
        store: Store,
        stats: Stats,
        misbehaviour: Option<Misbehaviour>,
        events: &mpsc::Sender<Event>,
        committing: Option<Committing>,
        trouble: watch::Sender<Option<String>>,
    ) -> Self {
        let done = events.clone();
        let persisted = move |seq, writes| done.blocking_send(Event::Persisted { seq, writes }).is_ok();
        let writer = Writer::start(store, persisted);
        Self {
            core,
            gate,
            shower: shows.map(|shows| Shower::start(shows, events.clone())),
            clock,
            writer,
            writes_under_way: 0,
            guests: BTreeMap::new(),
            stats,
            misbehaviour,
            committing,
            writes: 0,
            trouble,
        }
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Event>) {
        let mut out = Vec::new();
        let stopped = loop {
            let again = self.gate.as_ref().and_then(Gate::next_deadline);
            let due = [self.core.next_deadline(), again].into_iter().flatten().min();
            let due = due.map_or_else(|| Instant::now() + IDLE, |due| self.clock.at(due));
            tokio::select! {
                event = inbox.recv() => match event {
                    None => break None,
                    Some(Event::Stop(done)) => break Some(done),
                    Some(Event::Trouble(words)) => {
                        tracing::error!("{words}");
                        // Whatever the core would sign now rests on accounts that are wrong.
                        self.trouble.send_replace(Some(words));
                        break None;
                    }
                    Some(event) => self.handle(event, &mut out),
                },
                () = tokio::time::sleep_until(due) => {
                    let now = self.clock.now();
                    self.core.tick(now, &mut out);
                    if let Some(gate) = &mut self.gate {
                        gate.tick(&mut self.core, now, &mut out);
                    }
                }
            }
            self.perform(&mut out);
        };
        self.write_the_rest(&mut inbox, &mut out).await;
        // The thread may be waiting to report; it must find nobody.
        drop(inbox);
        let writer = self.writer;
        let _ = tokio::task::spawn_blocking(move || writer.finish()).await;
        if let Some(done) = stopped {
            let _ = done.send(());
        }
    }

    fn handle(&mut self, event: Event, out: &mut Vec<Action>) {
        let now = self.clock.now();
        match event {
            Event::Opened { conn, side, peer, tls_key, outgoing, at } => {
                self.guests.insert(conn, Guest { side, tls_key, outgoing, answers_since_query: None });
                self.stats.opened(conn, side);
                if let Some(gate) = self.gate.as_mut().filter(|_| side == Side::Worker) {
                    gate.opened(conn, peer.public_key);
                }
                self.core.open(conn, side, peer.image_hash, at);
            }
            Event::Data { conn, bytes } => {
                if self.hangs_up_now(conn) {
                    self.cut(conn, now, out);
                } else if self.guests.contains_key(&conn) {
                    self.core.receive(conn, &bytes, now, out);
                }
            }
            Event::Gone { conn } => {
                if self.guests.remove(&conn).is_some() {
                    self.leaves(conn);
                    self.core.closed(conn, now, out);
                }
            }
            Event::Persisted { seq, writes } => {
                self.writes_under_way = self.writes_under_way.saturating_sub(1);
                self.writes = writes;
                self.core.persisted(seq, now);
            }
            Event::Committed { seq } => self.confirm(seq, out),
            Event::Root(root) => {
                let version = root.version;
                if !self.core.renew_root(root) {
                    tracing::warn!(
                        version,
                        "the network has other terms now: start a proxy with them, and close this one with --close"
                    );
                }
            }
            Event::Seen { client, sight } => self.core.client_seen(&client, sight, now, out),
            Event::Registered { client, nonce } => self.core.client_registered(&client, nonce, out),
            Event::Shown { conn, query, bytes } => self.core.answer_evidence(conn, query, bytes, out),
            Event::Books(reply) => {
                let _ = reply.send(self.books());
            }
            Event::Stats(reply) => {
                let _ = reply.send(self.stats.page(&self.core, self.gate.as_ref(), now));
            }
            Event::Stop(_) | Event::Trouble(_) => {}
        }
    }

    fn perform(&mut self, out: &mut Vec<Action>) {
        // Cutting somebody off makes the core decide again.
        while !out.is_empty() {
            let now = self.clock.now();
            for action in std::mem::take(out) {
                match action {
                    Action::Send { conn, bytes } => self.send(conn, bytes, now, out),
                    Action::Close { conn, why } => {
                        tracing::info!(conn, %why, "connection closed");
                        // Dropping the queue's end closes once everything is sent.
                        self.guests.remove(&conn);
                        self.leaves(conn);
                    }
                    Action::Persist { seq, accounts } => {
                        self.stats.stored(&accounts);
                        self.writes_under_way += 1;
                        self.writer.write(seq, accounts);
                    }
                    Action::Commit { seq } => self.commit(seq, out),
                    Action::JobFinished(job) => self.stats.finished(&job),
                    Action::LookAt { client } => self.look_at(client, out),
                    Action::WorkerWaits { conn } => {
                        if let Some(gate) = &mut self.gate {
                            gate.ask(conn, &mut self.core, now, out);
                        }
                    }
                    Action::EvidenceCame { conn, nonce, bytes } => {
                        if let Some(gate) = &mut self.gate {
                            gate.judge(conn, nonce, Some(&bytes), &mut self.core, now, out);
                        }
                    }
                    Action::NoEvidence { conn, nonce } => {
                        if let Some(gate) = &mut self.gate {
                            gate.judge(conn, nonce, None, &mut self.core, now, out);
                        }
                    }
                    Action::WantEvidence { conn, query, nonce } => self.show(conn, query, nonce, out),
                }
            }
        }
    }

    /// Has made what a worker asks for. Who has nothing to show, or too many who ask at once, says so now.
    fn show(&mut self, conn: u64, query: i64, nonce: [u8; 32], out: &mut Vec<Action>) {
        let asked = self.shower.as_ref().zip(self.guests.get(&conn)).is_some_and(|(shower, guest)| {
            shower.ask(Question { conn, query, binding: Binding { nonce, tls_key: guest.tls_key } })
        });
        if !asked {
            self.core.answer_evidence(conn, query, None, out);
        }
    }

    fn commit(&mut self, seq: u64, out: &mut Vec<Action>) {
        let Some(committing) = &self.committing else {
            // Without a chain a commit is confirmed as soon as it is written down.
            return self.confirm(seq, out);
        };
        let is_on_disk = committing.confirm != Confirm::OnChain;
        // A newer commit covers one that finds no room.
        let _ = committing.asks.try_send(Ask::Commit { seq, writes: self.writes });
        if is_on_disk {
            self.confirm(seq, out);
        }
    }

    fn look_at(&mut self, client: Address, out: &mut Vec<Action>) {
        let asked = self.committing.as_ref().is_some_and(|side| side.asks.try_send(Ask::LookAt { client }).is_ok());
        if !asked {
            // Too many at once: this one has to come again.
            self.core.client_seen(&client, Sight::Unknown, self.clock.now(), out);
        }
    }

    fn confirm(&mut self, seq: u64, out: &mut Vec<Action>) {
        self.core.committed(seq, self.clock.now(), out);
        self.stats.committed(seq);
    }

    fn books(&self) -> Vec<BookEntry> {
        let here = self.core.connected();
        let accounts = self.core.accounts();
        accounts
            .map(|(side, owner, account)| BookEntry {
                side,
                owner,
                account,
                is_connected: here.contains(&(side, owner)),
            })
            .collect()
    }

    fn send(&mut self, conn: u64, bytes: Vec<u8>, now: Now, out: &mut Vec<Action>) {
        let Some(guest) = self.guests.get_mut(&conn) else {
            return;
        };
        let wrong = self.misbehaviour.filter(|_| guest.side == Side::Worker);
        if wrong.is_some_and(|how| how.answers_before_hanging_up().is_some()) && is_query(&bytes) {
            guest.answers_since_query.get_or_insert(0);
        }
        let deed = match wrong {
            None => Deed::Send(bytes),
            Some(how) => how.distort(bytes),
        };
        let (bytes, ends) = match deed {
            Deed::Send(bytes) => (bytes, false),
            Deed::SendAndClose(bytes) => (bytes, true),
            Deed::Nothing => return,
        };
        if guest.outgoing.push(bytes).is_err() {
            tracing::warn!(conn, "cut off: it does not read what it is sent");
            self.cut(conn, now, out);
        } else if ends {
            self.guests.remove(&conn);
            self.leaves(conn);
            self.core.closed(conn, now, out);
        }
    }

    fn leaves(&mut self, conn: u64) {
        self.stats.gone(conn);
        if let Some(gate) = &mut self.gate {
            gate.gone(conn);
        }
    }

    /// Ends a connection without waiting for what is queued.
    fn cut(&mut self, conn: u64, now: Now, out: &mut Vec<Action>) {
        if let Some(guest) = self.guests.remove(&conn) {
            guest.outgoing.cut();
            self.leaves(conn);
            self.core.closed(conn, now, out);
        }
    }

    fn hangs_up_now(&mut self, conn: u64) -> bool {
        let Some(most) = self.misbehaviour.and_then(Misbehaviour::answers_before_hanging_up) else {
            return false;
        };
        let Some(count) = self.guests.get_mut(&conn).and_then(|guest| guest.answers_since_query.as_mut()) else {
            return false;
        };
        *count += 1;
        *count > most
    }

    /// Writes down what is not written yet; what cannot be written in time stays unsigned and so unowed.
    async fn write_the_rest(&mut self, inbox: &mut mpsc::Receiver<Event>, out: &mut Vec<Action>) {
        self.guests.clear();
        let deadline = Instant::now() + LAST_WRITE_PATIENCE;
        loop {
            if self.writes_under_way == 0 {
                self.core.persist(out);
                self.perform(out);
                if self.writes_under_way == 0 {
                    return;
                }
            }
            match tokio::time::timeout_at(deadline, inbox.recv()).await {
                Ok(Some(event @ Event::Persisted { .. })) => self.handle(event, out),
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(_) => {
                    tracing::error!("the last accounts could not be written down in time");
                    return;
                }
            }
        }
    }
}
