//! The core from outside: one input at a time, and the effects that must come of it. After every input [`Stage`] also checks what
//! holds always: a changed snapshot is published, and no deadline is left in the past.

/// What was done, recomputed.
mod jobs;
/// What was signed, checked.
mod payments;
/// What proxies want to be shown, and how we stand with them.
mod proof;
/// Lanes, draws, keys.
mod proxies;
/// Whatever comes, in whatever order.
mod random;
/// What must be written down.
mod records;
/// Graphics cards: what is known of them.
mod tunings;
/// What the owner wants, and what is.
mod wish;
/// The process: its beginning, its end, its next life.
mod worker;

use accounting::signed_payment::{PaymentKind, UnsignedPayment};
use accounting::{AdjustedUsage, Endpoint, JobId, JobOutcome, JobRecord, Prices, TokenUsage};
use ed25519_dalek::SigningKey;
use link::BUILD;
use link::message::{
    BackendKind, DeviceTrouble, EvidenceKind, Failure, LaneEnd, ModelFacts, PeerPolicy, ProxyReport, StartedJob,
};
use ton::AddressText;

use super::jobs::Totals;
use super::proxies::Session;
use super::records::JobEntry;
use super::workers::WorkerState;
use super::*;

const REDIAL: Duration = Duration::from_secs(10);
const YIELD_WITHIN: Duration = Duration::from_secs(3);
const RESTART_FIRST: Duration = Duration::from_secs(1);
const RESTART_MOST: Duration = Duration::from_secs(10);
const MODEL: [u8; 32] = [0xaa; 32];
const FEE: u64 = 19;
const ROOT: Address = Address { workchain: -1, hash: [0x70; 32] };
const OWNER: Address = Address { workchain: 0, hash: [0x0e; 32] };
const MOMENT: Duration = Duration::from_millis(1);
const LANE: LaneId = LaneId(0);
const NOTHING: [Effect; 0] = [];

/// A core and the time it is told.
struct Stage {
    core: Core,
    now: Duration,
    log: Vec<(LogLevel, String)>,
    /// Lanes whose answers may leave, since somebody looked last.
    released: Vec<LaneId>,
    /// Who was refused, as it is to be written down.
    refused: Vec<Refusal>,
}

impl Stage {
    /// Nothing runs yet; one proxy is registered.
    fn new() -> Self {
        Self::with(settings(1, 1), Remembered::default(), 0)
    }

    fn with(settings: Settings, remembered: Remembered, seed: u64) -> Self {
        Self {
            core: Core::new(settings, remembered, seed),
            now: Duration::ZERO,
            log: Vec::new(),
            released: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// The first worker serves, and the lanes to all registered proxies are dialled.
    fn serving(settings: Settings, remembered: Remembered) -> Self {
        let mut stage = Self::with(settings, remembered, 0);
        stage.feed(Input::Tick);
        stage.serve(1);
        stage
    }

    /// The first worker serves the first proxy, on [`LANE`], and everything is written down.
    fn ready() -> Self {
        Self::ready_with(Remembered::default())
    }

    fn ready_with(remembered: Remembered) -> Self {
        let mut stage = Self::serving(settings(1, 1), remembered);
        stage.feed(connected(0));
        stage.feed(hears(1, FromWorker::LaneReady { lane: LANE, proxy: report(1) }));
        stage.check(recorded(0), NOTHING);
        stage
    }

    /// A job of this session was done for the first two proxies, so that what they sign pays this session.
    fn after_work(mut self) -> Self {
        for number in [1, 2] {
            self.core.payments.worked_for(&session(number));
        }
        self
    }

    /// This worker, which was asked for, starts and serves.
    fn serve(&mut self, generation: u64) {
        self.feed(started(generation));
        self.feed(hears(generation, hello()));
        self.feed(hears(generation, FromWorker::Ready(facts())));
        assert_eq!(self.state(), WorkerState::Serving { enabled: true });
    }

    fn later(&mut self, pause: Duration) -> &mut Self {
        self.now += pause;
        self
    }

    /// Effects of one input, less the log, the note that there is something to publish, which lanes may go on, and who was refused.
    #[track_caller]
    fn feed(&mut self, input: Input) -> Vec<Effect> {
        let what = format!("{input:?}");
        let before = self.core.snapshot();
        let mut effects = Vec::new();
        let now = Now { mono: self.now, unix_ms: unix_ms(self.now) };
        self.core.handle(input, now, &mut effects);
        let published = effects.iter().filter(|effect| **effect == Effect::Publish).count();
        assert!(published <= 1, "{what} is published {published} times");
        assert!(published == 1 || self.core.snapshot() == before, "{what} changes the snapshot in silence");
        assert!(self.core.next_deadline().is_none_or(|due| due > self.now), "{what} leaves a deadline in the past");
        let mut written = Vec::new();
        effects.retain(|effect| match effect {
            Effect::Log { level, message } => {
                self.log.push((*level, message.clone()));
                false
            }
            Effect::Publish => false,
            Effect::RecordRefusal { entry, refusal } => {
                self.refused.push((**refusal).clone());
                written.push(*entry);
                false
            }
            Effect::ReleaseLane { lane } => {
                self.released.push(*lane);
                false
            }
            _ => true,
        });
        // The ledger has it at once; tests that are about more say so.
        for entry in written {
            self.core.handle(Input::Recorded { entry, new: true }, now, &mut Vec::new());
        }
        effects
    }

    #[track_caller]
    fn check(&mut self, input: Input, expected: impl IntoIterator<Item = Effect>) -> &mut Self {
        let what = format!("{input:?}");
        assert_eq!(self.feed(input), expected.into_iter().collect::<Vec<_>>(), "of {what}");
        self
    }

    /// Time passes, and the core is woken whenever it wants to be.
    #[track_caller]
    fn wait(&mut self, pause: Duration) -> Vec<Effect> {
        let end = self.now + pause;
        let mut effects = Vec::new();
        for _ in 0..10_000 {
            let due = self.core.next_deadline().filter(|due| *due <= end);
            self.now = due.unwrap_or(end).max(self.now);
            effects.extend(self.feed(Input::Tick));
            if due.is_none() {
                return effects;
            }
        }
        panic!("the core wants to be woken without end");
    }

    fn state(&self) -> WorkerState {
        self.core.snapshot().worker
    }

    fn refused(&self) -> u64 {
        self.core.snapshot().refused_reports
    }

    #[track_caller]
    fn assert_logged(&self, level: LogLevel, part: &str) {
        let found = self.log.iter().any(|(at, message)| *at == level && message.contains(part));
        assert!(found, "{level:?} {part:?} is not in {:#?}", self.log);
    }
}

fn just_before(end: Duration) -> Duration {
    end.saturating_sub(MOMENT)
}

/// A network of so many proxies, so many of which are kept connected.
fn settings(registered: u8, connections: u32) -> Settings {
    let root = root(registered);
    Settings {
        configuration: Configuration {
            served_as: "some/model@commit:hash".to_owned(),
            owner: AddressText { address: OWNER, bounceable: false, testnet: false }.to_text(),
            coefficient: 1_000,
            max_active_requests: 2,
            proxy_connections: connections,
            is_test: true,
            is_testnet: false,
            root: root.clone(),
            root_contract: ROOT,
            evidence: EvidenceKind::None,
            policy: PeerPolicy::Any,
            backend: BackendKind::Cpu,
            threads: None,
            tunings: Vec::new(),
            max_pow_difficulty: 20,
            unix_ms: 0,
        },
        root: Arc::new(root),
        root_contract: ROOT,
        owner: OWNER,
        model_sha256: MODEL,
        model_bytes: 5_000_000_000,
        program: sandbox::Measured { sha256: [9; 32], bytes: 9 },
        redial: REDIAL,
        yield_within: YIELD_WITHIN,
        retune: false,
        restart_first: RESTART_FIRST,
        restart_most: RESTART_MOST,
    }
}

fn root(registered: u8) -> RootConfig {
    let owner = AddressText { address: ROOT, bounceable: true, testnet: false }.to_text();
    let proxies: Vec<String> = (1..=registered)
        .map(|number| format!(r#"{{ "seqno": {number}, "address": "{}" }}"#, endpoint(number)))
        .collect();
    let text = format!(
        r#"{{ "root_owner_address": "{owner}", "registered_proxies": [{}], "params_version": 7, "struct_version": 3,
            "price_per_token": 20, "worker_fee_per_token": {FEE}, "cached_tokens_price_multiplier": 1000,
            "completion_tokens_price_multiplier": 80000, "reasoning_tokens_price_multiplier": 80000,
            "proxy_sc_code": "{}:4", "worker_sc_code": "{}:2" }}"#,
        proxies.join(", "),
        "53".repeat(32),
        "65".repeat(32),
    );
    RootConfig::from_json(&text).unwrap()
}

/// Where this proxy stands.
fn endpoint(number: u8) -> SocketAddrV4 {
    format!("10.0.0.{number}:11001").parse().unwrap()
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn public_key(number: u8) -> [u8; 32] {
    key(number).verifying_key().to_bytes()
}

fn unix_ms(now: Duration) -> i64 {
    1_700_000_000_000 + now.as_millis() as i64
}

/// What a worker truly says of this proxy.
fn report(number: u8) -> ProxyReport {
    report_of(public_key(number), Address { workchain: 0, hash: [number; 32] })
}

/// A report whose contracts follow from key and owner.
fn report_of(public_key: [u8; 32], owner: Address) -> ProxyReport {
    let root = root(1);
    let proxy_contract = root.proxy_contract(&owner, &public_key, &ROOT);
    ProxyReport {
        public_key,
        owner,
        proxy_contract,
        worker_contract: root.worker_contract(&OWNER, &proxy_contract, &public_key),
        protocol_version: 2,
        image_hash: None,
        tls_key: [0x71; 32],
    }
}

/// This proxy as the core has recomputed it.
fn session(number: u8) -> Session {
    let report = report(number);
    Session {
        endpoint: endpoint(number),
        key: report.public_key,
        proxy_contract: report.proxy_contract,
        worker_contract: report.worker_contract,
        protocol_version: report.protocol_version,
    }
}

/// What is written down when this proxy is ready.
fn pinned(number: u8, at: Duration) -> PinnedProxy {
    let report = report(number);
    PinnedProxy {
        endpoint: endpoint(number),
        root: ROOT,
        params_version: 7,
        key: report.public_key,
        proxy_contract: report.proxy_contract,
        worker_contract: report.worker_contract,
        fee_per_token: ton::Nanoton(FEE),
        // Its code is known by its hash.
        state_init: None,
        seen_unix_ms: unix_ms(at),
    }
}

/// The key that an earlier run wrote down for this proxy.
fn known_key(number: u8) -> PinnedKey {
    PinnedKey { endpoint: endpoint(number), root: ROOT, key: public_key(number) }
}

/// A payment by this proxy for our contract there.
fn signed(number: u8, tokens: u64) -> Vec<u8> {
    sign(&key(number), PaymentKind::Worker, tokens, report(number).worker_contract)
}

fn sign(key: &SigningKey, kind: PaymentKind, tokens: u64, target: Address) -> Vec<u8> {
    UnsignedPayment { kind, query_id: tokens, tokens, target, excess: OWNER }.sign(key).to_boc()
}

fn payment(lane: u32, boc: Vec<u8>) -> FromWorker {
    FromWorker::Payment { lane: LaneId(lane), boc, db_tokens: 0, max_tokens: 0, request: None }
}

/// An honest job of 31 + 1 + 720 + 80 adjusted tokens.
fn job(number: u8) -> JobRecord {
    let usage = TokenUsage { prompt: 42, cached: 11, completion: 100, reasoning: 10 };
    JobRecord {
        id: JobId([number; 32]),
        started_unix_ms: 10,
        finished_unix_ms: 20,
        outcome: JobOutcome::Answered,
        usage,
        coefficient: 1_000,
        adjusted: usage.adjusted(1_000, &Prices::from(&root(1))),
        streamed: true,
        endpoint: Endpoint::Chat,
    }
}

/// What [`job`] counts for money.
const JOB_TOKENS: i64 = 832;

/// [`job`] begins, and so many run now.
fn began(lane: LaneId, number: u8, active: u32) -> FromWorker {
    let JobRecord { id, endpoint, streamed, coefficient, started_unix_ms, .. } = job(number);
    FromWorker::JobStarted { lane, job: StartedJob { id, endpoint, streamed, coefficient, started_unix_ms }, active }
}

fn done(lane: u32, record: JobRecord) -> FromWorker {
    FromWorker::JobDone { lane: LaneId(lane), record, active: 0 }
}

fn facts() -> ModelFacts {
    ModelFacts {
        sha256: MODEL,
        name: None,
        architecture: "llama".to_owned(),
        quantisation: "Q8_0".to_owned(),
        context: 2_048,
        backend: "cpu".to_owned(),
        adapter: None,
        passed_over: None,
    }
}

fn hello() -> FromWorker {
    FromWorker::Hello { build: BUILD.to_owned() }
}

// Inputs.

fn started(generation: u64) -> Input {
    Input::WorkerStarted { generation: Generation(generation), pid: 1_000 + generation as u32 }
}

fn not_started(generation: u64) -> Input {
    Input::WorkerNotStarted { generation: Generation(generation), why: "no such file".to_owned() }
}

fn hears(generation: u64, message: FromWorker) -> Input {
    Input::Worker { generation: Generation(generation), message: Box::new(message) }
}

fn exited(generation: u64) -> Input {
    exited_with(generation, Departure::default())
}

fn exited_with(generation: u64, departure: Departure) -> Input {
    Input::WorkerExited { generation: Generation(generation), how: "signal 9".to_owned(), departure }
}

fn garbled(generation: u64) -> Input {
    Input::WorkerGarbled { generation: Generation(generation), why: "a frame of no kind".to_owned() }
}

fn wants(target: Target) -> Input {
    Input::OwnerWants(target)
}

fn connected(lane: u32) -> Input {
    Input::LaneConnected { lane: LaneId(lane) }
}

fn unreachable(lane: u32) -> Input {
    Input::ConnectFailed { lane: LaneId(lane), why: "connection refused".to_owned() }
}

fn hung_up(lane: u32) -> Input {
    Input::LaneClosed { lane: LaneId(lane) }
}

fn recorded(entry: u64) -> Input {
    Input::Recorded { entry: EntryId(entry), new: true }
}

fn known(entry: u64) -> Input {
    Input::Recorded { entry: EntryId(entry), new: false }
}

fn not_recorded(entry: u64) -> Input {
    Input::RecordFailed { entry: EntryId(entry), why: "the disk is full".to_owned(), refused: false }
}

fn refused(entry: u64) -> Input {
    Input::RecordFailed { entry: EntryId(entry), why: "out of range".to_owned(), refused: true }
}

// Effects.

fn start(generation: u64) -> Effect {
    Effect::StartWorker { generation: Generation(generation) }
}

fn kill(generation: u64) -> Effect {
    Effect::KillWorker { generation: Generation(generation) }
}

fn say(message: ToWorker) -> Effect {
    Effect::Send(message)
}

fn enable(enabled: bool) -> Effect {
    say(ToWorker::SetEnabled(enabled))
}

fn open(lane: u32, known_key: Option<[u8; 32]>, at: Duration) -> Effect {
    say(ToWorker::OpenLane { lane: LaneId(lane), known_key, unix_ms: unix_ms(at) })
}

fn tell_closed(lane: u32) -> Effect {
    say(ToWorker::LaneClosed { lane: LaneId(lane) })
}

fn dial(lane: u32, number: u8) -> Effect {
    Effect::Dial { lane: LaneId(lane), endpoint: endpoint(number) }
}

fn close(lane: u32) -> Effect {
    Effect::CloseLane { lane: LaneId(lane) }
}

fn write_job(entry: u64, record: JobRecord) -> Effect {
    Effect::RecordJob { entry: EntryId(entry), job: Box::new(JobEntry { record, proxy: session(1) }) }
}

/// Of the first proxy.
fn write_payment(entry: u64, tokens: u64, at: Duration) -> Effect {
    let payment = SignedRecord { proxy: session(1), tokens, boc: signed(1, tokens), received_unix_ms: unix_ms(at) };
    Effect::RecordPayment { entry: EntryId(entry), payment: Box::new(payment) }
}

fn write_proxy(entry: u64, proxy: PinnedProxy) -> Effect {
    Effect::RecordProxy { entry: EntryId(entry), proxy: Box::new(proxy) }
}
