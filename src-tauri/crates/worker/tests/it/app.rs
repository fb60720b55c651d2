//! Everything around the worker, in this process: an app that relays, a proxy, a client of that proxy.

use std::collections::BTreeMap;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use accounting::JobRecord;
use accounting::signed_payment::{SignedPayment, UnsignedPayment};
use ed25519_dalek::SigningKey;
use engine::DeviceFault;
use link::flow::{LaneReceiver, LaneSender};
use link::frame::{Decoder, Frame, encode_control, encode_credit, encode_data};
use link::message::{BackendKind, Configuration, EvidenceKind, PeerPolicy, ProxyReport};
use link::{BUILD, FromWorker, LaneId, ToWorker};
use protocol::Now;
use protocol::client::{self, ClientRequest};
use protocol::http::{Request, ResponseHead};
use protocol::proxy::{self, Accounts, ClientFunds, Core, Side, Signer};
use ratls::{Evidence, Identity, Policy, ServerChannel, State, tls};
use serde_json::Value;
use ton::{Address, Nanoton, RootConfig};
use worker::clock::{Ticks, machine_ticks};
use worker::randomness::SystemRandomness;
use worker::serve::{self, Stopped, World};

/// Nothing here takes long; what does hangs.
const GUARD: Duration = Duration::from_mins(3);

/// Easy, so that the tests are about something else.
const DIFFICULTY: i32 = 4;

const WORKER: u64 = 1;
const CLIENT: u64 = 2;
/// What the app's clock shows.
pub(crate) const UNIX_MS: i64 = 1_795_000_000_000;
pub(crate) const LANE: LaneId = LaneId(7);
pub(crate) const MODEL: &str = "practice/tiny";

/// An answer as the customer got it.
#[derive(Default)]
pub(crate) struct Answered {
    pub(crate) head: Option<ResponseHead>,
    pub(crate) parts: Vec<Vec<u8>>,
    pub(crate) over: bool,
    pub(crate) failed: Option<(i32, String)>,
}

impl Answered {
    pub(crate) fn body(&self) -> Vec<u8> {
        self.parts.concat()
    }

    pub(crate) fn status(&self) -> i32 {
        self.head.as_ref().expect("a head").status
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body()).expect("a JSON body")
    }
}

/// Time that goes on only when it is told to.
#[derive(Default)]
pub(crate) struct StoppedClock(AtomicU64);

impl StoppedClock {
    pub(crate) fn goes_on(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }

    fn reads(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

struct Key(SigningKey);

impl Signer for Key {
    fn sign(&mut self, payment: &UnsignedPayment) -> SignedPayment {
        payment.sign(&self.0)
    }
}

/// The surroundings of one worker.
pub(crate) struct Rig {
    pub(crate) said: Vec<FromWorker>,
    /// What the worker showed the proxy, and to which nonce.
    pub(crate) shown: Vec<([u8; 32], Option<Vec<u8>>)>,
    /// What the worker asked of the proxy: the question and its nonce.
    pub(crate) asked_of_proxy: Vec<(i64, [u8; 32])>,
    /// The key of the proxy's certificate.
    pub(crate) proxy_tls_key: [u8; 32],
    pub(crate) answers: BTreeMap<[u8; 32], Answered>,
    /// Headers of what the customer asks.
    pub(crate) headers: Vec<(String, String)>,
    /// While set, the proxy does not read.
    pub(crate) deaf: bool,
    /// Bytes held because the proxy does not read.
    pub(crate) held: Vec<u8>,
    pub(crate) configuration: Configuration,
    to_worker: Option<PipeWriter>,
    frames: Receiver<Frame<FromWorker>>,
    worker: Option<JoinHandle<Stopped>>,
    started: Instant,
    core: Core,
    pub(crate) core_key: [u8; 32],
    tls: Option<ServerChannel>,
    evidence: Evidence,
    opened: bool,
    client: client::Session,
    pub(crate) client_ready: bool,
    sender: LaneSender,
    receiver: LaneReceiver,
}

pub(crate) fn tiny_model() -> Vec<u8> {
    engine::synthetic::tiny()
}

impl Rig {
    /// A worker that has said `Ready`.
    pub(crate) fn start(adjust: impl FnOnce(&mut Configuration)) -> Self {
        Self::greeted(Box::new(std::io::Cursor::new(tiny_model())), adjust).ready()
    }

    /// A worker that was greeted and configured.
    pub(crate) fn greeted(model: Box<dyn Read + Send>, adjust: impl FnOnce(&mut Configuration)) -> Self {
        Self::silent(model, adjust).greet()
    }

    fn greet(mut self) -> Self {
        let configuration = self.configuration.clone();
        self.say(&ToWorker::Hello { build: BUILD.to_owned() });
        self.say(&ToWorker::Configure(Box::new(configuration)));
        self
    }

    fn ready(mut self) -> Self {
        self.until("the model is ready", |rig| rig.said.iter().any(|said| matches!(said, FromWorker::Ready(_))));
        self
    }

    /// A worker that nobody has spoken to.
    pub(crate) fn silent(model: Box<dyn Read + Send>, adjust: impl FnOnce(&mut Configuration)) -> Self {
        Self::silent_by(machine_ticks(), None, model, adjust)
    }

    /// A connected worker whose device fails in this way after so many steps.
    pub(crate) fn connected_to_fail(steps: u64, fault: DeviceFault) -> Self {
        let model = Box::new(std::io::Cursor::new(tiny_model()));
        Self::silent_by(machine_ticks(), Some((steps, fault)), model, |_| {}).greet().ready().connect()
    }

    fn silent_by(
        ticks: Ticks,
        fails: Option<(u64, DeviceFault)>,
        model: Box<dyn Read + Send>,
        adjust: impl FnOnce(&mut Configuration),
    ) -> Self {
        let (worker_reads, to_worker) = std::io::pipe().unwrap();
        let (from_worker, worker_writes) = std::io::pipe().unwrap();
        let worker = std::thread::spawn(move || {
            serve::run(World {
                reader: Box::new(worker_reads),
                writer: Box::new(worker_writes),
                model,
                ticks,
                on_gone: Arc::new(|| {}),
                fails,
                memory: None,
                seal: worker::confinement::unconfined(),
            })
        });
        let root = Arc::new(root());
        let mut configuration = configuration(&root);
        adjust(&mut configuration);
        let root = Arc::new(configuration.root.clone());
        let started = Instant::now();
        let now = now(started);
        let key = SigningKey::from_bytes(&[5; 32]);
        let core_key = key.verifying_key().to_bytes();
        let core = Core::new(
            proxy::Config {
                owner: Address { workchain: 0, hash: [3; 32] },
                wallet: Address { workchain: 0, hash: [4; 32] },
                root: Arc::clone(&root),
                root_contract: configuration.root_contract,
                is_test: true,
                is_testnet: false,
                public_key: core_key,
                signer: Box::new(Key(key)),
                retry: false,
                tell_payments: false,
                check_worker_hashes: false,
                funds: ClientFunds {
                    balance: Nanoton(10_000_000_000_000_000),
                    stake: Nanoton(10_000_000_000_000_000),
                    secret_hash: <sha2::Sha256 as sha2::Digest>::digest(b"").into(),
                },
                commit_pause: (Duration::from_millis(10), Duration::from_millis(20)),
                demands: None,
            },
            Accounts::default(),
            Box::new(SystemRandomness),
        );
        let mut said_by_client = Vec::new();
        let client = client::Session::new(
            client::Config {
                owner: Address { workchain: 0, hash: [9; 32] },
                is_test: true,
                is_testnet: false,
                min_config_version: 0,
                secret: String::new(),
                root,
                root_contract: configuration.root_contract,
            },
            Box::new(SystemRandomness),
            now,
            &mut said_by_client,
        );
        let evidence = match configuration.policy {
            PeerPolicy::Any | PeerPolicy::Tdx(_) | PeerPolicy::Asked(_) => Evidence::None,
            PeerPolicy::FakeTdx => Evidence::FakeTdx,
        };
        let mut rig = Self {
            said: Vec::new(),
            shown: Vec::new(),
            asked_of_proxy: Vec::new(),
            proxy_tls_key: [0; 32],
            answers: BTreeMap::new(),
            headers: Vec::new(),
            deaf: false,
            held: Vec::new(),
            configuration,
            to_worker: Some(to_worker),
            frames: read_frames(from_worker),
            worker: Some(worker),
            started,
            core,
            core_key,
            tls: None,
            evidence,
            opened: false,
            client,
            client_ready: false,
            sender: LaneSender::new(),
            receiver: LaneReceiver::new(),
        };
        rig.core.open(CLIENT, Side::Client, [0; 32], now);
        rig.client_did(said_by_client);
        rig
    }

    /// A worker that takes jobs from the proxy.
    pub(crate) fn connected(adjust: impl FnOnce(&mut Configuration)) -> Self {
        Self::start(adjust).connect()
    }

    /// The same, with a worker whose time stands still but for what it is told.
    pub(crate) fn connected_without_time() -> (Self, Arc<StoppedClock>) {
        let clock = Arc::new(StoppedClock::default());
        let reads = Arc::clone(&clock);
        let ticks: Ticks = Arc::new(move || reads.reads());
        let model = Box::new(std::io::Cursor::new(tiny_model()));
        (Self::silent_by(ticks, None, model, |_| {}).greet().ready().connect(), clock)
    }

    fn connect(mut self) -> Self {
        self.open(None);
        self.until("the lane is ready", |rig| rig.lane_ready().is_some() && rig.client_ready);
        self
    }

    pub(crate) fn lane_ready(&self) -> Option<&ProxyReport> {
        self.said.iter().find_map(|said| match said {
            FromWorker::LaneReady { proxy, .. } => Some(proxy),
            _ => None,
        })
    }

    pub(crate) fn records(&self) -> Vec<&JobRecord> {
        let mut records = Vec::new();
        for said in &self.said {
            if let FromWorker::JobDone { record, .. } = said {
                records.push(record);
            }
        }
        records
    }

    /// Dials the proxy.
    pub(crate) fn open(&mut self, known_key: Option<[u8; 32]>) {
        self.open_with(known_key, DIFFICULTY);
    }

    pub(crate) fn open_with(&mut self, known_key: Option<[u8; 32]>, difficulty: i32) {
        let unix = unix(self.started) as u64;
        let identity = Identity::generate(self.evidence, unix).unwrap();
        self.proxy_tls_key = identity.public_key();
        let config = tls::server_config(&identity, Policy::Any, Arc::new(move || unix)).unwrap();
        self.tls = Some(ServerChannel::new(&config, difficulty, [6; 16]).unwrap());
        self.say(&ToWorker::OpenLane { lane: LANE, known_key, unix_ms: UNIX_MS });
        self.relay();
    }

    pub(crate) fn say(&mut self, message: &ToWorker) {
        self.write(&encode_control(message).unwrap());
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        if let Some(pipe) = &mut self.to_worker {
            // A worker that gave up has closed its end.
            let _ = pipe.write_all(bytes);
        }
    }

    /// Sends a customer's request through the client and the proxy.
    pub(crate) fn ask(&mut self, url: &str, body: &Value) -> [u8; 32] {
        self.ask_for(url, body, Duration::from_secs(50))
    }

    pub(crate) fn ask_for(&mut self, url: &str, body: &Value, timeout: Duration) -> [u8; 32] {
        let request = Request {
            method: "POST".to_owned(),
            url: url.to_owned(),
            version: "HTTP/1.1".to_owned(),
            headers: self.headers.clone(),
            body: Vec::new(),
        }
        .with_body(body.to_string().into_bytes());
        let wanted = ClientRequest {
            model: MODEL.to_owned(),
            request,
            max_coefficient: 4000,
            max_tokens: 1000,
            timeout,
            enable_debug: false,
        };
        let mut actions = Vec::new();
        let id = self.client.run(wanted, now(self.started), &mut actions).unwrap();
        self.answers.insert(id, Answered::default());
        self.client_did(actions);
        id
    }

    /// The proxy asks the worker for evidence; yields the nonce.
    pub(crate) fn ask_evidence(&mut self) -> [u8; 32] {
        let mut actions = Vec::new();
        let nonce = self.core.ask_evidence(WORKER, now(self.started), &mut actions).unwrap();
        self.core_did(actions);
        nonce
    }

    /// The proxy answers a question of the worker's with what it has, or nothing.
    pub(crate) fn show(&mut self, query: i64, bytes: Option<Vec<u8>>) {
        let mut actions = Vec::new();
        self.core.answer_evidence(WORKER, query, bytes, &mut actions);
        self.core_did(actions);
    }

    /// Asks and waits for the end of the answer.
    pub(crate) fn answer(&mut self, url: &str, body: &Value) -> Answered {
        let id = self.ask(url, body);
        self.until("the answer is over", |rig| rig.answers[&id].over);
        self.answers.remove(&id).unwrap()
    }

    /// Lets everything happen until `done`.
    pub(crate) fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let started = Instant::now();
        while !done(self) {
            assert!(started.elapsed() < GUARD, "waited too long until {what}");
            self.step(Duration::from_millis(20));
        }
    }

    /// Takes what the worker says for a while.
    pub(crate) fn step(&mut self, patience: Duration) {
        if let Ok(frame) = self.frames.recv_timeout(patience) {
            self.hear(frame);
        }
        let mut actions = Vec::new();
        self.core.tick(now(self.started), &mut actions);
        self.core_did(actions);
        let mut actions = Vec::new();
        self.client.tick(now(self.started), &mut actions).unwrap();
        self.client_did(actions);
    }

    /// Hears what the worker says until it has said nothing for a moment.
    pub(crate) fn settle(&mut self) {
        while let Ok(frame) = self.frames.recv_timeout(Duration::from_millis(50)) {
            self.hear(frame);
        }
    }

    /// The proxy reads again.
    pub(crate) fn listen(&mut self) {
        self.deaf = false;
        let held = std::mem::take(&mut self.held);
        self.take(&held);
    }

    /// The key of the worker's certificate, as the proxy sees it.
    pub(crate) fn peer_key(&self) -> Option<[u8; 32]> {
        match self.tls.as_ref()?.state() {
            State::Open(peer) => Some(peer.public_key),
            _ => None,
        }
    }

    /// Ciphertext for the worker, from a test that has the other end in its own hands.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.sender.push(bytes);
        let mut out = Vec::new();
        while let Some(chunk) = self.sender.next_chunk() {
            out.extend(encode_data(LANE, &chunk).unwrap());
        }
        self.write(&out);
    }

    /// Ciphertext of the worker's, if some comes in this time.
    pub(crate) fn receive_raw(&mut self, patience: Duration) -> Vec<u8> {
        match self.frames.recv_timeout(patience) {
            Ok(Frame::Data { lane: LANE, bytes }) => {
                self.receiver.arrived(bytes.len()).expect("the worker keeps to its credit");
                if let Some(credit) = self.receiver.taken(bytes.len()) {
                    self.write(&encode_credit(LANE, credit));
                }
                bytes
            }
            Ok(frame) => {
                self.hear(frame);
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    }

    /// Closes the pipe and waits for the worker's end.
    pub(crate) fn end(mut self) -> Stopped {
        self.to_worker = None;
        self.worker.take().unwrap().join().unwrap()
    }

    /// Waits for the worker to end by itself.
    pub(crate) fn ended(mut self) -> (Stopped, Vec<FromWorker>) {
        let stopped = self.worker.take().unwrap().join().unwrap();
        while let Ok(frame) = self.frames.recv() {
            self.hear(frame);
        }
        (stopped, self.said)
    }

    fn hear(&mut self, frame: Frame<FromWorker>) {
        match frame {
            Frame::Control(message) => self.said.push(message),
            Frame::Credit { lane: LANE, bytes } => {
                self.sender.granted(bytes).unwrap();
                self.relay();
            }
            Frame::Data { lane: LANE, bytes } => {
                self.receiver.arrived(bytes.len()).expect("the worker keeps to its credit");
                if self.deaf {
                    self.held.extend(bytes);
                } else {
                    self.take(&bytes);
                    // The app holds back what comes behind, so that no answer ends unwritten.
                    let whole = self.answers.values().filter(|answer| answer.over && answer.failed.is_none()).count();
                    assert!(whole <= self.records().len(), "an answer ended before its job was said to be done");
                }
            }
            Frame::Credit { .. } | Frame::Data { .. } => panic!("a lane that nobody opened"),
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        if let Some(credit) = self.receiver.taken(bytes.len()) {
            self.write(&encode_credit(LANE, credit));
        }
        let Some(tls) = &mut self.tls else { return };
        tls.receive_wire(bytes).unwrap();
        if matches!(tls.state(), State::Open(_)) && !self.opened {
            self.opened = true;
            self.core.open(WORKER, Side::Worker, [0; 32], now(self.started));
        }
        let plaintext = self.tls.as_mut().unwrap().take_plaintext();
        let mut actions = Vec::new();
        self.core.receive(WORKER, &plaintext, now(self.started), &mut actions);
        self.core_did(actions);
    }

    fn core_did(&mut self, actions: Vec<proxy::Action>) {
        for action in actions {
            match action {
                proxy::Action::Send { conn: WORKER, bytes } => {
                    self.tls.as_mut().unwrap().send_plaintext(&bytes).unwrap();
                }
                proxy::Action::Send { bytes, .. } => {
                    let mut actions = Vec::new();
                    self.client.receive(&bytes, now(self.started), &mut actions).unwrap();
                    self.client_did(actions);
                }
                proxy::Action::Persist { seq, .. } => self.core.persisted(seq, now(self.started)),
                proxy::Action::Commit { seq } => {
                    let mut more = Vec::new();
                    self.core.committed(seq, now(self.started), &mut more);
                    assert!(more.is_empty(), "this proxy waits to be asked");
                }
                proxy::Action::Close { why, .. } => panic!("the proxy closed: {why}"),
                proxy::Action::JobFinished(_) | proxy::Action::LookAt { .. } | proxy::Action::WorkerWaits { .. } => {}
                proxy::Action::WantEvidence { query, nonce, .. } => self.asked_of_proxy.push((query, nonce)),
                proxy::Action::EvidenceCame { nonce, bytes, .. } => self.shown.push((nonce, Some(bytes))),
                proxy::Action::NoEvidence { nonce, .. } => self.shown.push((nonce, None)),
            }
        }
        self.relay();
    }

    fn client_did(&mut self, actions: Vec<client::Action>) {
        for action in actions {
            match action {
                client::Action::Send(bytes) => {
                    let mut actions = Vec::new();
                    self.core.receive(CLIENT, &bytes, now(self.started), &mut actions);
                    self.core_did(actions);
                }
                client::Action::Ready(_) => self.client_ready = true,
                client::Action::Head { id, head } => self.answers.entry(id).or_default().head = Some(head),
                client::Action::Part { id, bytes } => self.answers.entry(id).or_default().parts.push(bytes),
                client::Action::Done { id, .. } => self.answers.entry(id).or_default().over = true,
                client::Action::Failed { id, code, message } => {
                    let answer = self.answers.entry(id).or_default();
                    answer.failed = Some((code, message));
                    answer.over = true;
                }
                _ => {}
            }
        }
    }

    fn relay(&mut self) {
        let Some(tls) = &mut self.tls else { return };
        self.sender.push(&tls.take_wire());
        let mut out = Vec::new();
        while let Some(chunk) = self.sender.next_chunk() {
            out.extend(encode_data(LANE, &chunk).unwrap());
        }
        self.write(&out);
    }
}

fn read_frames(mut pipe: PipeReader) -> Receiver<Frame<FromWorker>> {
    // Small, so that a worker whose app is busy is held up soon: the tests decide what happens in the middle of an answer.
    let (sender, receiver) = sync_channel(1);
    std::thread::spawn(move || {
        let mut decoder = Decoder::new();
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            decoder.push(&buffer[..length]);
            while let Some(frame) = decoder.next().expect("the worker's frames are sound") {
                if sender.send(frame).is_err() {
                    return;
                }
            }
        }
    });
    receiver
}

fn now(started: Instant) -> Now {
    Now { mono: started.elapsed(), unix: unix(started) }
}

fn unix(started: Instant) -> f64 {
    1_795_000_000.0 + started.elapsed().as_secs_f64()
}

fn configuration(root: &RootConfig) -> Configuration {
    Configuration {
        served_as: format!("{MODEL}@q8_0:{}", "0".repeat(64)),
        owner: "UQAuz15H1ZHrZ_psVrAra7HealMIVeFq0wguqlmFno1f3B-m".to_owned(),
        coefficient: 1000,
        max_active_requests: 8,
        proxy_connections: 1,
        is_test: true,
        is_testnet: false,
        root: root.clone(),
        root_contract: root.root_contract.unwrap_or(Address { workchain: 0, hash: [1; 32] }),
        evidence: EvidenceKind::None,
        policy: PeerPolicy::Any,
        backend: BackendKind::Cpu,
        threads: Some(1),
        tunings: Vec::new(),
        max_pow_difficulty: 24,
        unix_ms: UNIX_MS,
    }
}

/// A network with contracts of empty code.
fn root() -> RootConfig {
    let json = serde_json::json!({
        "proxy_hashes": [], "worker_hashes": [], "registered_proxies": [],
        "price_per_token": 2_000_000, "worker_fee_per_token": 1_000_000, "last_proxy_seqno": 0, "version": 1, "params_version": 1,
        "proxy_sc_code": "", "worker_sc_code": "", "client_sc_code": "",
        "root_owner_address": "0QBgPMq7ye2WRcudRHK_-yjHwMXjeN-UCzAuoo06TR6hmgHV",
        "root_contract_address": "EQBT4hy4vMEZ9uxSCuhw_gBKh9_AwmHXLe7Wo0O4Vh-4kRjJ",
    });
    RootConfig::from_json(&json.to_string()).expect("a sound network")
}
