//! Our core as the proxy of a recording, with all its recorded connections at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use accounting::signed_payment::{PaymentKind, SignedPayment, UnsignedPayment};
use protocol::proxy::{Account, AccountChange, Accounts, Action, ClientFunds, Config, Core, Side, Signer};
use tl::Boxed;
use tl::client::QueryAnswerEx;
use tl::tcp::Packet;
use ton::Nanoton;

use super::{Script, compare, debug_text, framed, inner, now, packet, time_header};
use crate::recorded_network as network;
use crate::recording::Frame;

/// What stood before the recording began.
#[derive(Clone, Copy)]
pub(crate) struct Before {
    /// Tokens of both accounts, committed.
    pub(crate) committed: i64,
    /// Tokens more, written down but not committed.
    pub(crate) uncommitted: i64,
    /// Coefficient of the recorded worker, where its handshake is not in the recording.
    pub(crate) coefficient: i32,
    /// Its most requests at once.
    pub(crate) limit: i32,
}

/// Signs with the recorded network's key, and under the recorded ids.
struct RecordedSigner(BTreeMap<(bool, u64), u64>);

impl Signer for RecordedSigner {
    fn sign(&mut self, payment: &UnsignedPayment) -> SignedPayment {
        let mut payment = UnsignedPayment { ..*payment };
        if let Some(id) = self.0.get(&(payment.kind == PaymentKind::Worker, payment.tokens)) {
            payment.query_id = *id;
        }
        payment.sign(&network::key())
    }
}

/// One connection as the machine and as the recording see it.
struct Link {
    conn: u64,
    whole: bool,
    sent: VecDeque<Vec<u8>>,
    count: u32,
    received: u32,
    pings: BTreeSet<i64>,
}

/// When the recorded proxy read its clock for a request.
#[derive(Default, Clone)]
struct Told {
    start: f64,
    head: Option<f64>,
    end: Option<f64>,
}

struct Replay {
    core: Core,
    script: Script,
    links: BTreeMap<String, Link>,
    told: BTreeMap<[u8; 32], Told>,
    /// The client's id by the worker's.
    ids: BTreeMap<[u8; 32], [u8; 32]>,
    at: f64,
    commits: Arc<Mutex<Option<u64>>>,
    /// By how much our totals are below the recorded ones.
    below: i64,
}

pub(crate) fn replay(frames: &[Frame], before: Before) -> Result<(), String> {
    let mut replay = Replay::new(frames, before);
    let has_worker = replay.links.keys().any(|name| is_worker(name));
    if !has_worker {
        replay.open(MADE_UP_WORKER, false);
    }
    replay.made_up_handshakes(before);
    for (index, frame) in frames.iter().enumerate() {
        if frame.to_proxy {
            replay.feed(frame, &frames[index + 1..]);
        } else {
            replay.expect(frame)?;
        }
    }
    if let Some(link) = replay.links.get_mut(MADE_UP_WORKER) {
        link.sent.clear();
    }
    let over = replay.links.iter().find_map(|(name, link)| link.sent.front().map(|frame| (name, frame)));
    match over {
        None => Ok(()),
        Some((name, frame)) => Err(format!("sent on {name}, but not recorded: {}", hex::encode(frame))),
    }
}

/// Serves where the recording shows clients only.
const MADE_UP_WORKER: &str = "made-up-worker#1";

fn is_worker(link: &str) -> bool {
    link.contains("worker") || link.starts_with("rev-proxyw")
}

impl Replay {
    fn new(frames: &[Frame], before: Before) -> Self {
        let script = Script::default();
        let config = Config {
            owner: network::address(network::OWNER),
            wallet: network::address(network::PROXY_WALLET),
            root: Arc::new(network::root()),
            root_contract: network::address(network::ROOT),
            is_test: true,
            is_testnet: false,
            public_key: network::public_key(),
            signer: Box::new(RecordedSigner(payment_ids(frames))),
            retry: false,
            tell_payments: false,
            check_worker_hashes: false,
            funds: ClientFunds {
                balance: Nanoton(2_000_000_000_000_000),
                stake: Nanoton(1_000_000_000),
                secret_hash: network::empty_hash(),
            },
            commit_pause: (Duration::from_secs(30), Duration::from_mins(1)),
            demands: None,
        };
        let restored = [(Side::Worker, network::OWNER), (Side::Client, network::CLIENT_WALLET)];
        let accounts = restored.map(|(side, owner)| AccountChange {
            side,
            owner: network::address(owner),
            tokens: before.committed,
        });
        let core = Core::new(config, Accounts { accounts: accounts.to_vec() }, Box::new(script.clone()));
        let mut replay = Self {
            core,
            script,
            links: BTreeMap::new(),
            told: tell(frames),
            ids: BTreeMap::new(),
            at: frames[0].at,
            commits: Arc::default(),
            below: 0,
        };
        for frame in frames {
            let first = frames.iter().find(|it| it.link == frame.link && it.to_proxy);
            let whole = match first.map(|it| it.number) {
                Some(Some(number)) => number == 0,
                // The foreign worker's frames were recorded from the start, without their numbers.
                Some(None) => true,
                None => false,
            };
            replay.open(&frame.link, whole);
        }
        replay
    }

    fn open(&mut self, name: &str, whole: bool) {
        if self.links.contains_key(name) {
            return;
        }
        let conn = self.links.len() as u64;
        let side = if is_worker(name) { Side::Worker } else { Side::Client };
        self.core.open(conn, side, [0; 32], now(self.at, self.at));
        let link = Link { conn, whole, sent: VecDeque::new(), count: 0, received: 0, pings: BTreeSet::new() };
        self.links.insert(name.to_owned(), link);
    }

    /// Calls the core and sorts what it sends.
    fn enter(&mut self, call: impl FnOnce(&mut Core, &mut Vec<Action>)) {
        let mut out = Vec::new();
        call(&mut self.core, &mut out);
        for action in out {
            match action {
                Action::Send { conn, bytes } => {
                    let link = self.links.values_mut().find(|it| it.conn == conn).unwrap();
                    link.sent.push_back(bytes);
                }
                Action::Persist { seq, .. } => self.core.persisted(seq, now(self.at, self.at)),
                Action::Commit { seq } => *self.commits.lock().unwrap() = Some(seq),
                Action::JobFinished(_) | Action::LookAt { .. } => {}
                Action::WorkerWaits { .. }
                | Action::EvidenceCame { .. }
                | Action::NoEvidence { .. }
                | Action::WantEvidence { .. } => panic!("nothing of the kind was recorded"),
                Action::Close { why, .. } => panic!("a recorded conversation broke: {why}"),
            }
        }
        let commit = self.commits.lock().unwrap().take();
        if let Some(seq) = commit {
            let mut out = Vec::new();
            self.core.committed(seq, now(self.at, self.at), &mut out);
            assert!(out.is_empty(), "genuine proxies tell nobody of a commit");
        }
    }

    fn push(&mut self, name: &str, payload: &[u8], unix: f64) {
        let link = self.links.get_mut(name).unwrap();
        let bytes = framed(link.received, payload);
        link.received += 1;
        let (conn, moment) = (link.conn, now(self.at, unix));
        self.enter(|core, out| core.receive(conn, &bytes, moment, out));
    }

    /// A query that is not in the recording, and the answer to it.
    fn ask(&mut self, name: &str, data: Vec<u8>) {
        self.push(name, &Packet::Query { id: 1, data }.to_bytes(), self.at);
        let answer = self.take(name);
        assert!(matches!(packet(&answer[8..]), Packet::QueryAnswer { .. }));
    }

    fn take(&mut self, name: &str) -> Vec<u8> {
        let link = self.links.get_mut(name).unwrap();
        let frame = link.sent.pop_front().unwrap();
        assert_eq!(frame[4..8], link.count.to_le_bytes());
        link.count += 1;
        frame
    }

    fn made_up_handshakes(&mut self, before: Before) {
        let names: Vec<String> = self.links.iter().filter(|(_, it)| !it.whole).map(|(name, _)| name.clone()).collect();
        for name in &names {
            self.push(name, &Packet::Connect { id: 1 }.to_bytes(), self.at);
            self.take(name);
            if is_worker(name) {
                let params = network::worker_params(before.coefficient, before.limit);
                self.ask(name, tl::worker::ConnectToProxy { params }.to_bytes());
                self.ask(name, network::no_claims().to_bytes());
                self.ask(name, tl::worker::ProxyHandshakeComplete { is_disabled: false }.to_bytes());
            } else {
                self.ask(name, network::client_connects().to_bytes());
                self.ask(name, tl::client::AuthorizeWithProxyShort { data: Vec::new() }.to_bytes());
            }
        }
        if before.uncommitted > 0 {
            let worker = names.iter().find(|it| is_worker(it)).unwrap();
            let client = names.iter().find(|it| !is_worker(it)).unwrap();
            self.made_up_job(worker, client, before.uncommitted);
            self.enter(Core::persist);
        }
    }

    fn made_up_job(&mut self, worker: &str, client: &str, tokens: i64) {
        let query = network::query([1; 32]);
        self.push(client, &Packet::Packet { data: query.to_bytes() }.to_bytes(), self.at);
        let given = inner(&self.take(worker)[8..]).unwrap();
        let given = tl::proxy::RunQueryEx::from_bytes(&given).unwrap();
        let answer = tl::proxy::QueryAnswerEx::Answer {
            request_id: given.request_id,
            answer: protocol::http::ResponseHead::new(200, "OK", Vec::new()).encode(b"{}"),
            flags: 1,
            final_info: Some(tl::proxy::QueryFinalInfo {
                tokens_used: tl::TokensUsed { total_tokens_used: tokens, ..Default::default() },
                ..Default::default()
            }),
        };
        self.push(worker, &Packet::Packet { data: answer.to_bytes() }.to_bytes(), self.at);
        self.take(worker);
        self.take(client);
        self.take(client);
    }

    fn feed(&mut self, frame: &Frame, later: &[Frame]) {
        self.at = self.at.max(frame.at);
        self.book(later);
        if let Packet::Ping { id } = packet(&frame.payload) {
            self.links.get_mut(&frame.link).unwrap().pings.insert(id);
        }
        let data = inner(&frame.payload).unwrap_or_default();
        let client_query = tl::client::RunQueryEx::from_bytes(&data).ok();
        if let Some(query) = &client_query {
            // The next query that the recorded proxy passed on has the id that it drew for this one.
            let given = later.iter().filter(|it| !it.to_proxy && it.is_worker_link());
            let id = given.filter_map(|it| given_id(&it.payload)).find(|id| !self.ids.contains_key(id));
            if let Some(id) = id {
                self.script.lines().ids = VecDeque::from([id]);
                self.ids.insert(id, query.request_id);
            }
        }
        let unix = self.unix_on_receipt(&data).unwrap_or(frame.at);
        self.push(&frame.link, &frame.payload, unix);
        self.meet_made_up_worker(client_query.as_ref());
        if let Some(query) = client_query
            && !self.script.lines().ids.is_empty()
        {
            // It was refused, so the id was meant for a later one.
            self.script.lines().ids.clear();
            self.ids.retain(|_, id| *id != query.request_id);
        }
    }

    /// The made-up worker has got the query.
    fn meet_made_up_worker(&mut self, query: Option<&tl::client::RunQueryEx>) {
        let link = self.links.get_mut(MADE_UP_WORKER);
        let given = link.and_then(|it| it.sent.back()).and_then(|it| given_id(&it[8..]));
        if let (Some(id), Some(query)) = (given, query) {
            self.ids.insert(id, query.request_id);
        }
    }

    /// The made-up worker says what the recorded one must have said for the client to get this.
    fn made_up_answer(&mut self, payload: &[u8]) {
        let Some(Ok(answer)) = inner(payload).map(|data| QueryAnswerEx::from_bytes(&data)) else {
            return;
        };
        let info = |info: Option<tl::client::QueryFinalInfo>| {
            info.map(|it| tl::proxy::QueryFinalInfo {
                flags: it.flags,
                tokens_used: it.tokens_used,
                worker_debug: it.worker_debug,
                worker_start_time: it.worker_start_time,
                worker_end_time: it.worker_end_time,
            })
        };
        let worker_id = |client: [u8; 32]| *self.ids.iter().find(|(_, id)| **id == client).unwrap().0;
        let said = match answer {
            QueryAnswerEx::Answer { request_id, answer, flags, final_info } => {
                let mut response = tl::http::Response::from_bytes(&answer).unwrap();
                response.headers.truncate(response.headers.len() - 2);
                let (request_id, answer) = (worker_id(request_id), response.to_bytes());
                tl::proxy::QueryAnswerEx::Answer { request_id, answer, flags, final_info: info(final_info) }
            }
            QueryAnswerEx::Part { request_id, answer, flags, final_info } => {
                let request_id = worker_id(request_id);
                tl::proxy::QueryAnswerEx::Part { request_id, answer, flags, final_info: info(final_info) }
            }
            QueryAnswerEx::Error { .. } => panic!("no recording without a worker has an error"),
        };
        let data = said.to_bytes();
        let unix = self.unix_on_receipt(&data).unwrap();
        self.push(MADE_UP_WORKER, &Packet::Packet { data }.to_bytes(), unix);
    }

    /// Writes and commits happen when the recorded proxy's next statement shows that they have.
    fn book(&mut self, later: &[Frame]) {
        let statements = later.iter().filter(|it| !it.to_proxy).filter_map(|it| statement(&it.payload));
        let Some((stored, signed)) = statements.map(|(db, paid)| (db - self.below, paid)).next() else {
            return;
        };
        let account = self.account();
        if stored > account.stored && account.known >= stored {
            self.enter(Core::persist);
        }
        let account = self.account();
        if signed > account.committed && account.stored >= signed {
            self.enter(Core::commit);
        }
    }

    fn account(&self) -> Account {
        self.core.account(Side::Client, &network::address(network::CLIENT_WALLET)).unwrap_or_default()
    }

    fn unix_on_receipt(&self, data: &[u8]) -> Option<f64> {
        use tl::proxy::QueryAnswerEx as Answer;
        if let Ok(query) = tl::client::RunQueryEx::from_bytes(data) {
            return self.told.get(&query.request_id).map(|it| it.start);
        }
        let (id, is_last) = match Answer::from_bytes(data).ok()? {
            Answer::Answer { request_id, final_info, .. } | Answer::Part { request_id, final_info, .. } => {
                (request_id, final_info.is_some())
            }
            Answer::Error { request_id, .. } => (request_id, true),
        };
        let told = self.told.get(self.ids.get(&id)?)?;
        if is_last { told.end } else { told.head }
    }

    fn expect(&mut self, frame: &Frame) -> Result<(), String> {
        self.at = self.at.max(frame.at);
        if let Packet::Pong { id } = packet(&frame.payload)
            && self.links.get_mut(&frame.link).unwrap().pings.insert(id)
        {
            // The recording begins, or has a gap, between ping and pong.
            self.push(&frame.link, &Packet::Ping { id }.to_bytes(), frame.at);
        }
        if self.links.contains_key(MADE_UP_WORKER) && self.links[&frame.link].sent.is_empty() {
            self.made_up_answer(&frame.payload);
        }
        if self.links[&frame.link].sent.is_empty() {
            let moment = now(self.at, frame.at);
            self.enter(|core, out| core.tick(moment, out));
        }
        let wanted = Frame { payload: self.wanted(&frame.payload), ..frame.clone() };
        let link = self.links.get_mut(&frame.link).unwrap();
        let sent = link.sent.pop_front().ok_or_else(|| {
            format!("recorded at {} on {}, but not sent: {}", frame.at, frame.link, hex::encode(&frame.payload))
        })?;
        let whole = link.whole && frame.number.is_some();
        compare(&sent, link.count, &wanted, whole)?;
        link.count += 1;
        Ok(())
    }

    /// The recorded payload as a machine with one reading of the clock per step must send it, and without tokens above what was agreed.
    fn wanted(&mut self, payload: &[u8]) -> Vec<u8> {
        let Some(data) = inner(payload) else {
            return payload.to_vec();
        };
        if let Ok(answer) = QueryAnswerEx::from_bytes(&data) {
            let data = self.wanted_answer(answer).to_bytes();
            return Packet::Packet { data }.to_bytes();
        }
        if self.below > 0
            && let Ok(mut payment) = tl::proxy::WorkerRequestPayment::from_bytes(&data)
        {
            use tl::proxy::WorkerRequestPayment as Payment;
            let (Payment::Client { db_tokens, max_tokens, request_tokens, .. }
            | Payment::Worker { db_tokens, max_tokens, request_tokens, .. }) = &mut payment;
            *max_tokens -= self.below;
            if *request_tokens > self.below {
                *request_tokens -= self.below;
            }
            if *db_tokens > self.below {
                *db_tokens -= self.below;
            }
            return Packet::Packet { data: payment.to_bytes() }.to_bytes();
        }
        if self.below > 0
            && let Packet::QueryAnswer { id, data } = packet(payload)
            && let Ok(mut status) = tl::worker::PaymentStatus::from_bytes(&data)
        {
            status.db_tokens -= self.below;
            status.max_tokens -= self.below;
            return Packet::QueryAnswer { id, data: status.to_bytes() }.to_bytes();
        }
        payload.to_vec()
    }

    fn wanted_answer(&mut self, mut answer: QueryAnswerEx) -> QueryAnswerEx {
        let (id, info) = match &mut answer {
            QueryAnswerEx::Answer { request_id, answer, final_info, .. } => {
                if let Some(info) = final_info {
                    // Head and last part in one: the recorded proxy read its clock twice.
                    let end = info.proxy_end_time.unwrap();
                    let mut response = tl::http::Response::from_bytes(answer).unwrap();
                    response.headers.last_mut().unwrap().value = format!("{end:.6}");
                    *answer = response.to_bytes();
                }
                (*request_id, final_info)
            }
            QueryAnswerEx::Part { request_id, final_info, .. }
            | QueryAnswerEx::Error { request_id, final_info, .. } => (*request_id, final_info),
        };
        if let Some(info) = info {
            if info.proxy_debug.is_some() {
                let told = &self.told[&id];
                let text = debug_text("proxy_stats", told.start, told.head.unwrap(), told.end.unwrap());
                info.proxy_debug = Some(text);
            }
            let tokens = &mut info.tokens_used.total_tokens_used;
            if *tokens == ABOVE_AGREED {
                self.below = ABOVE_AGREED - AGREED;
                *tokens = AGREED;
            }
        }
        answer
    }
}

/// Case K of recording 72b: a worker reports this many tokens ...
const ABOVE_AGREED: i64 = 2_000_000;
/// ... for a request that may cost this many: 10, the query's 296 bytes, and what a template may add, at the worker's coefficient.
const AGREED: i64 = 10 + 296 + 1024;

/// Ids of the recorded payments by kind (worker's?) and total.
fn payment_ids(frames: &[Frame]) -> BTreeMap<(bool, u64), u64> {
    const MAGIC: [u8; 4] = [0xb5, 0xee, 0x9c, 0x72];
    const LENGTH: usize = 180;
    let mut ids = BTreeMap::new();
    for frame in frames.iter().filter(|it| !it.to_proxy) {
        let Some(start) = frame.payload.windows(4).position(|it| it == MAGIC) else {
            continue;
        };
        let Some(boc) = frame.payload.get(start..start + LENGTH) else {
            continue;
        };
        let payment = SignedPayment::from_boc(boc).unwrap();
        ids.insert((payment.kind == PaymentKind::Worker, payment.tokens), payment.query_id);
    }
    ids
}

/// Tokens stored and signed for in a recorded statement.
fn statement(payload: &[u8]) -> Option<(i64, i64)> {
    let data = inner(payload)?;
    let (payment, stored) = if let Ok(status) = tl::worker::PaymentStatus::from_bytes(&data) {
        (status.signed_payment, status.db_tokens)
    } else if let Ok(status) = tl::client::PaymentStatus::from_bytes(&data) {
        (status.signed_payment, status.db_tokens)
    } else {
        use tl::proxy::WorkerRequestPayment as Payment;
        let (Payment::Client { signed_payment, db_tokens, .. } | Payment::Worker { signed_payment, db_tokens, .. }) =
            Payment::from_bytes(&data).ok()?;
        (signed_payment, db_tokens)
    };
    let tl::proxy::SignedPayment::Payment { data } = payment else {
        return Some((stored, 0));
    };
    let signed = SignedPayment::from_boc(&data).unwrap().tokens;
    Some((stored, i64::try_from(signed).unwrap()))
}

fn given_id(payload: &[u8]) -> Option<[u8; 32]> {
    tl::proxy::RunQueryEx::from_bytes(&inner(payload)?).ok().map(|it| it.request_id)
}

/// Reads clocks off the recorded answers.
fn tell(frames: &[Frame]) -> BTreeMap<[u8; 32], Told> {
    let mut told: BTreeMap<[u8; 32], Told> = BTreeMap::new();
    for data in frames.iter().filter_map(|it| inner(&it.payload)) {
        let Ok(answer) = QueryAnswerEx::from_bytes(&data) else {
            continue;
        };
        let (id, info) = match answer {
            QueryAnswerEx::Answer { request_id, answer, final_info, .. } => {
                let told = told.entry(request_id).or_default();
                told.start = time_header(&answer, "X-Cocoon-Proxy-Start").unwrap();
                told.head = time_header(&answer, "X-Cocoon-Proxy-End");
                (request_id, final_info)
            }
            QueryAnswerEx::Part { request_id, final_info, .. }
            | QueryAnswerEx::Error { request_id, final_info, .. } => (request_id, final_info),
        };
        if let Some(info) = info {
            let told = told.entry(id).or_default();
            told.start = info.proxy_start_time.unwrap();
            told.end = info.proxy_end_time;
        }
    }
    told
}
