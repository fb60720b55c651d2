//! A stage for tests that are not replays: a core with workers and clients around it, virtual time, and wires that deliver at once or in
//! pieces.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use accounting::signed_payment::{SignedPayment, UnsignedPayment};
use protocol::evidence::{Demands, Standing};
use protocol::http::Request;
use protocol::proxy::{self, Accounts, ClientFunds, Core, FinishedJob, Side, Signer};
use protocol::worker::{Job, KnownProxy, PaymentReport, ProxyFacts};
use protocol::{Error, Now, Randomness, client, worker};
use tl::Boxed;
use tl::tcp::Packet;
use ton::Nanoton;

use crate::recorded_network as network;

/// Random enough, and the same in every run.
#[derive(Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit.max(1) as u64) as usize
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

impl Randomness for Dice {
    fn long(&mut self) -> i64 {
        self.roll().cast_signed()
    }

    fn int256(&mut self) -> [u8; 32] {
        let mut id = [0; 32];
        for part in id.chunks_mut(8) {
            part.copy_from_slice(&self.roll().to_le_bytes());
        }
        id
    }
}

struct Key;

impl Signer for Key {
    fn sign(&mut self, payment: &UnsignedPayment) -> SignedPayment {
        payment.sign(&network::key())
    }
}

pub(crate) fn proxy_config(retry: bool) -> proxy::Config {
    proxy::Config {
        owner: network::address(network::OWNER),
        wallet: network::address(network::PROXY_WALLET),
        root: Arc::new(network::root()),
        root_contract: network::address(network::ROOT),
        is_test: true,
        is_testnet: false,
        public_key: network::public_key(),
        signer: Box::new(Key),
        retry,
        tell_payments: false,
        check_worker_hashes: false,
        funds: ClientFunds {
            balance: Nanoton(2_000_000_000_000_000),
            stake: Nanoton(2_000_000_000_000_000),
            secret_hash: network::empty_hash(),
        },
        commit_pause: (Duration::from_secs(1), Duration::from_secs(1)),
        demands: None,
    }
}

pub(crate) fn worker_config() -> worker::Config {
    worker::Config {
        owner_text: network::OWNER.to_owned(),
        model: network::MODEL.parse().unwrap(),
        coefficient: 1000,
        is_test: true,
        is_testnet: false,
        proxy_connections: 1,
        max_active_requests: 4,
        disabled: false,
        root: Arc::new(network::root()),
        root_contract: network::address(network::ROOT),
        known: None,
    }
}

pub(crate) fn client_config() -> client::Config {
    client::Config {
        owner: network::address(network::CLIENT_WALLET),
        is_test: true,
        is_testnet: false,
        min_config_version: 3,
        secret: String::new(),
        root: Arc::new(network::root()),
        root_contract: network::address(network::ROOT),
    }
}

pub(crate) fn request(timeout: u64) -> client::ClientRequest {
    client::ClientRequest {
        model: network::MODEL_BASE.to_owned(),
        request: Request {
            method: "POST".to_owned(),
            url: "/v1/chat/completions".to_owned(),
            version: "HTTP/1.1".to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
        .with_body(b"{}".to_vec()),
        max_coefficient: 4000,
        max_tokens: 1000,
        timeout: Duration::from_secs(timeout),
        enable_debug: false,
    }
}

/// What a client has got of an answer.
#[derive(Default, Clone)]
pub(crate) struct Got {
    pub(crate) status: Option<i32>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) done: Option<client::FinalInfo>,
    pub(crate) failed: Option<(i32, String)>,
}

impl Got {
    pub(crate) fn is_over(&self) -> bool {
        self.done.is_some() || self.failed.is_some()
    }
}

/// Bytes under way on one connection.
#[derive(Default)]
pub(crate) struct Wires {
    pub(crate) to_core: Vec<u8>,
    pub(crate) from_core: Vec<u8>,
    /// Everything that came from the core.
    pub(crate) said: Vec<u8>,
}

pub(crate) struct WorkerSeat {
    pub(crate) session: worker::Session,
    pub(crate) wires: Wires,
    pub(crate) ready: Option<ProxyFacts>,
    pub(crate) started: Vec<Job>,
    pub(crate) cancelled: Vec<[u8; 32]>,
    pub(crate) asked: Vec<(i64, [u8; 32])>,
    pub(crate) standings: Vec<Standing>,
    pub(crate) evidence: Vec<([u8; 32], Option<Vec<u8>>)>,
    pub(crate) payments: Vec<PaymentReport>,
    pub(crate) error: Option<Error>,
}

pub(crate) struct ClientSeat {
    pub(crate) session: client::Session,
    pub(crate) wires: Wires,
    pub(crate) got: BTreeMap<[u8; 32], Got>,
    pub(crate) payments: Vec<PaymentReport>,
    pub(crate) types: Option<Vec<client::WorkerType>>,
    pub(crate) demands: Vec<Option<Demands>>,
    pub(crate) error: Option<Error>,
}

/// A seat whose frames the test writes by itself.
#[derive(Default)]
pub(crate) struct RawSeat {
    pub(crate) wires: Wires,
    number: u32,
    unread: Vec<Packet>,
}

pub(crate) struct Stage {
    pub(crate) now: Duration,
    pub(crate) dice: Dice,
    pub(crate) core: Core,
    pub(crate) workers: BTreeMap<u64, WorkerSeat>,
    pub(crate) clients: BTreeMap<u64, ClientSeat>,
    pub(crate) raw: BTreeMap<u64, RawSeat>,
    pub(crate) finished: Vec<FinishedJob>,
    /// Clients whose contracts the core wanted to be looked at.
    pub(crate) looked_at: Vec<ton::Address>,
    /// Workers that wait to be judged.
    pub(crate) waiting: Vec<u64>,
    /// What workers showed, and to which nonce.
    pub(crate) evidence: Vec<(u64, [u8; 32], Option<Vec<u8>>)>,
    /// Questions of workers for the proxy's evidence.
    pub(crate) asked_of_core: Vec<(u64, i64, [u8; 32])>,
    pub(crate) closed: Vec<(u64, Error)>,
    /// Everything that the core heard, in order.
    pub(crate) heard: Vec<(u64, Vec<u8>)>,
    next_conn: u64,
}

impl Stage {
    pub(crate) fn new(seed: u64, config: proxy::Config) -> Self {
        Self {
            now: Duration::from_secs(1000),
            dice: Dice(seed),
            core: Core::new(config, Accounts::default(), Box::new(Dice(seed ^ 0x5555_aaaa))),
            workers: BTreeMap::new(),
            clients: BTreeMap::new(),
            raw: BTreeMap::new(),
            finished: Vec::new(),
            looked_at: Vec::new(),
            waiting: Vec::new(),
            evidence: Vec::new(),
            asked_of_core: Vec::new(),
            closed: Vec::new(),
            heard: Vec::new(),
            next_conn: 0,
        }
    }

    /// The same, its proxy on a chain.
    pub(crate) fn on_a_chain(seed: u64, config: proxy::Config) -> Self {
        let stage = Self::new(seed, config);
        Self { core: stage.core.asking_a_chain(), ..stage }
    }

    /// The core is told what the contract of the recorded client holds.
    pub(crate) fn see(&mut self, sight: proxy::Sight) {
        let (now, mut out) = (self.now(), Vec::new());
        self.core.client_seen(&network::address(network::CLIENT_WALLET), sight, now, &mut out);
        self.core_does(out);
        self.pump();
    }

    /// The contract of the recorded client has said this number.
    pub(crate) fn register(&mut self, nonce: u64) {
        let mut out = Vec::new();
        self.core.client_registered(&network::address(network::CLIENT_WALLET), nonce, &mut out);
        self.core_does(out);
        self.pump();
    }

    pub(crate) fn now(&self) -> Now {
        Now { mono: self.now, unix: 1_795_000_000.0 + self.now.as_secs_f64() }
    }

    fn open(&mut self, side: Side) -> u64 {
        self.next_conn += 1;
        let now = self.now();
        self.core.open(self.next_conn, side, [0; 32], now);
        self.next_conn
    }

    pub(crate) fn add_worker(&mut self, known: Option<KnownProxy>) -> u64 {
        self.add_worker_as(worker::Config { known, ..worker_config() })
    }

    pub(crate) fn add_worker_as(&mut self, config: worker::Config) -> u64 {
        let conn = self.open(Side::Worker);
        let mut out = Vec::new();
        let dice = Dice(self.dice.roll() | 1);
        let session = worker::Session::new(config, Box::new(dice), self.now(), &mut out);
        let seat = WorkerSeat {
            session,
            wires: Wires::default(),
            ready: None,
            started: Vec::new(),
            cancelled: Vec::new(),
            asked: Vec::new(),
            standings: Vec::new(),
            evidence: Vec::new(),
            payments: Vec::new(),
            error: None,
        };
        self.workers.insert(conn, seat);
        self.worker_does(conn, out);
        conn
    }

    pub(crate) fn add_client(&mut self) -> u64 {
        let conn = self.open(Side::Client);
        let mut out = Vec::new();
        let dice = Dice(self.dice.roll() | 1);
        let session = client::Session::new(client_config(), Box::new(dice), self.now(), &mut out);
        let seat = ClientSeat {
            session,
            wires: Wires::default(),
            got: BTreeMap::new(),
            payments: Vec::new(),
            types: None,
            demands: Vec::new(),
            error: None,
        };
        self.clients.insert(conn, seat);
        self.client_does(conn, out);
        conn
    }

    pub(crate) fn add_raw(&mut self, side: Side) -> u64 {
        let conn = self.open(side);
        self.raw.insert(conn, RawSeat::default());
        conn
    }

    /// A worker that is written by hand, through its handshake.
    pub(crate) fn add_raw_worker(&mut self) -> u64 {
        let conn = self.add_raw(Side::Worker);
        self.raw_send(conn, &Packet::Connect { id: 1 });
        let params = network::worker_params(1000, 4);
        self.raw_ask(conn, tl::worker::ConnectToProxy { params }.to_bytes()).unwrap();
        self.raw_ask(conn, network::no_claims().to_bytes()).unwrap();
        self.raw_ask(conn, tl::worker::ProxyHandshakeComplete { is_disabled: false }.to_bytes()).unwrap();
        conn
    }

    /// Sends one object from a seat that is written by hand.
    pub(crate) fn raw_send(&mut self, conn: u64, packet: &Packet) {
        let seat = self.raw.get_mut(&conn).unwrap();
        let payload = packet.to_bytes();
        let bytes = crate::replay::framed(seat.number, &payload);
        seat.number += 1;
        seat.wires.to_core.extend(bytes);
        self.pump();
    }

    /// What came for a seat that is written by hand.
    pub(crate) fn raw_read(&mut self, conn: u64) -> Vec<Packet> {
        self.pump();
        let seat = self.raw.get_mut(&conn).unwrap();
        let bytes = std::mem::take(&mut seat.wires.from_core);
        let mut unread = std::mem::take(&mut seat.unread);
        unread.extend(packets(&bytes));
        unread
    }

    /// Asks; `Err` holds code and words of a refusal.
    pub(crate) fn raw_ask(&mut self, conn: u64, data: Vec<u8>) -> Result<Vec<u8>, (i32, String)> {
        self.raw_send(conn, &Packet::Query { id: 7, data });
        let mut unread = self.raw_read(conn);
        let is_answer = |it: &Packet| matches!(it, Packet::QueryAnswer { .. } | Packet::QueryError { .. });
        let answer = unread.remove(unread.iter().position(is_answer).unwrap());
        self.raw.get_mut(&conn).unwrap().unread = unread;
        match answer {
            Packet::QueryAnswer { data, .. } => Ok(data),
            Packet::QueryError { code, message, .. } => Err((code, message)),
            _ => unreachable!(),
        }
    }

    /// Objects inside the one-way messages that came.
    pub(crate) fn raw_messages(&mut self, conn: u64) -> Vec<Vec<u8>> {
        let packets = self.raw_read(conn).into_iter();
        packets.filter_map(|it| if let Packet::Packet { data } = it { Some(data) } else { None }).collect()
    }

    pub(crate) fn core_does(&mut self, actions: Vec<proxy::Action>) {
        for action in actions {
            match action {
                proxy::Action::Send { conn, bytes } => {
                    if let Some(wires) = self.wires(conn) {
                        wires.said.extend(&bytes);
                        wires.from_core.extend(bytes);
                    }
                }
                proxy::Action::Close { conn, why } => {
                    self.closed.push((conn, why));
                    self.lose_end(conn);
                }
                proxy::Action::Persist { seq, .. } => {
                    let now = self.now();
                    self.core.persisted(seq, now);
                }
                proxy::Action::Commit { seq } => {
                    let now = self.now();
                    let mut out = Vec::new();
                    self.core.committed(seq, now, &mut out);
                    self.core_does(out);
                }
                proxy::Action::JobFinished(job) => self.finished.push(job),
                proxy::Action::LookAt { client } => self.looked_at.push(client),
                proxy::Action::WorkerWaits { conn } => self.waiting.push(conn),
                proxy::Action::EvidenceCame { conn, nonce, bytes } => self.evidence.push((conn, nonce, Some(bytes))),
                proxy::Action::NoEvidence { conn, nonce } => self.evidence.push((conn, nonce, None)),
                proxy::Action::WantEvidence { conn, query, nonce } => self.asked_of_core.push((conn, query, nonce)),
            }
        }
    }

    pub(crate) fn wires(&mut self, conn: u64) -> Option<&mut Wires> {
        if let Some(seat) = self.workers.get_mut(&conn) {
            return Some(&mut seat.wires);
        }
        if let Some(seat) = self.clients.get_mut(&conn) {
            return Some(&mut seat.wires);
        }
        self.raw.get_mut(&conn).map(|seat| &mut seat.wires)
    }

    pub(crate) fn worker_does(&mut self, conn: u64, actions: Vec<worker::Action>) {
        let seat = self.workers.get_mut(&conn).unwrap();
        for action in actions {
            match action {
                worker::Action::Send(bytes) => seat.wires.to_core.extend(bytes),
                worker::Action::Ready(facts) => seat.ready = Some(facts),
                worker::Action::Start(job) => seat.started.push(job),
                worker::Action::Cancel(id) | worker::Action::Expired(id) => seat.cancelled.push(id),
                worker::Action::Payment(report) => {
                    assert!(seat.ready.is_some(), "a payment is reported before it is said whose it is");
                    seat.payments.push(report);
                }
                worker::Action::WantEvidence { query, nonce } => seat.asked.push((query, nonce)),
                worker::Action::Standing(standing) => seat.standings.push(standing),
                worker::Action::EvidenceCame { nonce, bytes } => seat.evidence.push((nonce, Some(bytes))),
                worker::Action::NoEvidence { nonce } => seat.evidence.push((nonce, None)),
            }
        }
    }

    pub(crate) fn client_does(&mut self, conn: u64, actions: Vec<client::Action>) {
        let seat = self.clients.get_mut(&conn).unwrap();
        for action in actions {
            match action {
                client::Action::Send(bytes) => seat.wires.to_core.extend(bytes),
                client::Action::Ready(_) | client::Action::Register { .. } => {}
                client::Action::Head { id, head } => {
                    let got = seat.got.entry(id).or_default();
                    assert!(got.status.replace(head.status).is_none(), "one head only");
                    got.headers = head.headers;
                }
                client::Action::Part { id, bytes } => seat.got.entry(id).or_default().body.extend(bytes),
                client::Action::Done { id, info } => {
                    let got = seat.got.entry(id).or_default();
                    assert!(!got.is_over(), "one end only");
                    got.done = Some(info);
                }
                client::Action::Failed { id, code, message } => {
                    let got = seat.got.entry(id).or_default();
                    assert!(!got.is_over(), "one end only");
                    got.failed = Some((code, message));
                }
                client::Action::WorkerTypes(types) => seat.types = types,
                client::Action::Demands(demands) => seat.demands.push(demands),
                client::Action::Payment(report) => seat.payments.push(report),
            }
        }
    }

    /// Delivers up to `most` bytes to the core. Yields whether there were any.
    pub(crate) fn deliver_to_core(&mut self, conn: u64, most: usize) -> bool {
        let Some(wires) = self.wires(conn) else {
            return false;
        };
        let count = wires.to_core.len().min(most);
        let bytes: Vec<u8> = wires.to_core.drain(..count).collect();
        if bytes.is_empty() {
            return false;
        }
        self.heard.push((conn, bytes.clone()));
        let (mut out, now) = (Vec::new(), self.now());
        self.core.receive(conn, &bytes, now, &mut out);
        self.core_does(out);
        true
    }

    /// Delivers up to `most` bytes from the core. Yields whether there were any.
    pub(crate) fn deliver_from_core(&mut self, conn: u64, most: usize) -> bool {
        let now = self.now();
        let Some(wires) = self.wires(conn) else {
            return false;
        };
        let count = wires.from_core.len().min(most);
        if count == 0 {
            return false;
        }
        if let Some(seat) = self.workers.get_mut(&conn) {
            let bytes: Vec<u8> = seat.wires.from_core.drain(..count).collect();
            let mut out = Vec::new();
            seat.error = seat.session.receive(&bytes, now, &mut out).err();
            self.worker_does(conn, out);
        } else if let Some(seat) = self.clients.get_mut(&conn) {
            let bytes: Vec<u8> = seat.wires.from_core.drain(..count).collect();
            let mut out = Vec::new();
            seat.error = seat.session.receive(&bytes, now, &mut out).err();
            self.client_does(conn, out);
        } else {
            return false;
        }
        true
    }

    /// Delivers everything, until nothing moves.
    pub(crate) fn pump(&mut self) {
        let mut moved = true;
        while moved {
            moved = false;
            for conn in 1..=self.next_conn {
                moved |= self.deliver_to_core(conn, usize::MAX);
                moved |= self.deliver_from_core(conn, usize::MAX);
            }
        }
    }

    /// Lets time pass for everybody, in steps no longer than half a second, delivering everything.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = end.min(self.now + Duration::from_millis(500));
            self.tick();
            self.pump();
        }
    }

    pub(crate) fn tick(&mut self) {
        let (mut out, now) = (Vec::new(), self.now());
        self.core.tick(now, &mut out);
        self.core_does(out);
        for conn in self.workers.keys().copied().collect::<Vec<_>>() {
            let mut out = Vec::new();
            let seat = self.workers.get_mut(&conn).unwrap();
            if let Err(error) = seat.session.tick(now, &mut out) {
                seat.error = Some(error);
            }
            self.worker_does(conn, out);
        }
        for conn in self.clients.keys().copied().collect::<Vec<_>>() {
            let mut out = Vec::new();
            let seat = self.clients.get_mut(&conn).unwrap();
            if let Err(error) = seat.session.tick(now, &mut out) {
                seat.error = Some(error);
            }
            self.client_does(conn, out);
        }
    }

    /// Cuts a connection; the core learns of it.
    pub(crate) fn lose(&mut self, conn: u64) {
        let (mut out, now) = (Vec::new(), self.now());
        self.core.closed(conn, now, &mut out);
        self.core_does(out);
        self.lose_end(conn);
    }

    /// The far end learns that its connection is gone. A client's seat stays, for what it got.
    fn lose_end(&mut self, conn: u64) {
        self.workers.remove(&conn);
        if let Some(seat) = self.clients.get_mut(&conn) {
            seat.wires = Wires::default();
            let mut out = Vec::new();
            seat.session.closed(&mut out);
            self.client_does(conn, out);
        }
    }

    /// A client runs a request.
    pub(crate) fn run(&mut self, conn: u64, request: client::ClientRequest) -> [u8; 32] {
        let (mut out, now) = (Vec::new(), self.now());
        let id = self.clients.get_mut(&conn).unwrap().session.run(request, now, &mut out).unwrap();
        self.clients.get_mut(&conn).unwrap().got.entry(id).or_default();
        self.client_does(conn, out);
        id
    }

    pub(crate) fn got(&self, conn: u64, id: [u8; 32]) -> Got {
        self.clients[&conn].got[&id].clone()
    }

    /// Calls a worker's session.
    pub(crate) fn with_worker<R>(
        &mut self,
        conn: u64,
        call: impl FnOnce(&mut worker::Session, Now, &mut Vec<worker::Action>) -> R,
    ) -> R {
        let (mut out, now) = (Vec::new(), self.now());
        let result = call(&mut self.workers.get_mut(&conn).unwrap().session, now, &mut out);
        self.worker_does(conn, out);
        result
    }

    pub(crate) fn account(&self, side: Side) -> proxy::Account {
        let owner = match side {
            Side::Worker => network::OWNER,
            Side::Client => network::CLIENT_WALLET,
        };
        self.core.account(side, &network::address(owner)).unwrap_or_default()
    }
}

/// The objects in a stream of whole frames.
pub(crate) fn packets(mut bytes: &[u8]) -> Vec<Packet> {
    let mut packets = Vec::new();
    while !bytes.is_empty() {
        let length = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
        packets.push(Packet::from_bytes(&bytes[8..8 + length]).unwrap());
        bytes = &bytes[8 + length..];
    }
    packets
}
