//! Workers: handshake, what they announce, what they ask.

use std::collections::BTreeMap;
use std::time::Duration;

use accounting::ModelName;
use sha2::{Digest, Sha256};
use tl::Boxed;
use ton::{Address, AddressText};

use super::choice::{Candidate, Pace};
use super::{Action, Core, Refusal, Role, Side, code, refusal};
use crate::handshake::{FLAG_TEST_MODE, FLAG_VERSIONS, text};
use crate::{Error, Now, VERSIONS};

/// No coefficient reaches this.
const COEFFICIENT_LIMIT: i32 = 1_000_000_000;

const TOO_OLD: Refusal = refusal(code::ERROR, "too old worker");
const TEST_MODE: Refusal = refusal(code::ERROR, "test mode mismatch");
const WORKER_TYPE: Refusal = refusal(code::PROTOCOL, "invalid worker hash or worker type");
const COEFFICIENT: Refusal = refusal(code::PROTOCOL, "invalid coefficient value");
const MOST_REQUESTS: Refusal = refusal(code::PROTOCOL, "invalid max_active_requests value");
const PROXY_COUNT: Refusal = refusal(code::PROTOCOL, "invalid proxy_cnt value");
const VERSION: Refusal = refusal(code::PROTOCOL, "cannot choose common protocol version");
const ADDRESS: Refusal = refusal(code::NONE, "Failed to parse account address");
const MALFORMED: Refusal = refusal(code::NONE, "cannot parse the query");
const OUT_OF_TURN: Refusal = refusal(code::PROTOCOL, "query out of turn");
/// A genuine proxy aborts here.
const CLAIMS: Refusal = refusal(code::PROTOCOL, "more tokens claimed than are on record");
/// Not a reason to close.
const ALREADY_READY: &str = "connection is already ready";

/// What a worker announced of itself.
#[derive(Clone)]
pub(super) struct WorkerFacts {
    pub(super) owner: Address,
    /// Base name of the model.
    pub(super) model: String,
    pub(super) coefficient: i32,
    /// Most requests at once on this connection.
    limit: u32,
}

/// How far a worker's handshake is: each stage names what is due next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connect,
    Compare,
    CompareMore,
    Finish,
    Ready,
}

/// A worker's connection.
pub(super) struct WorkerPeer {
    image_hash: [u8; 32],
    stage: Stage,
    facts: Option<WorkerFacts>,
    enabled: bool,
    running: u32,
    pace: Pace,
    /// Whether it gets jobs, as far as evidence goes.
    accepted: bool,
    /// The nonce of the question that it has not answered.
    pub(super) asked: Option<[u8; 32]>,
    /// Its own questions for evidence that our host has not answered, and until when it may.
    pub(super) asked_of_us: BTreeMap<i64, Duration>,
}

impl WorkerPeer {
    pub(super) fn new(image_hash: [u8; 32], accepted: bool) -> Self {
        Self {
            image_hash,
            stage: Stage::Connect,
            facts: None,
            enabled: false,
            running: 0,
            pace: Pace::default(),
            accepted,
            asked: None,
            asked_of_us: BTreeMap::new(),
        }
    }

    pub(super) fn accept(&mut self, accepted: bool) {
        self.accepted = accepted;
    }

    /// When our host is too late with an answer.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.asked_of_us.values().min().copied()
    }

    /// The owner and announcements of a worker that finished its handshake.
    pub(super) fn facts(&self) -> Option<&WorkerFacts> {
        self.facts.as_ref()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    /// Whether it finished its handshake, takes jobs and may have them.
    pub(super) fn is_enabled(&self) -> bool {
        self.stage == Stage::Ready && self.enabled && self.accepted
    }

    pub(super) fn running(&self) -> u32 {
        self.running
    }

    pub(super) fn limit(&self) -> u32 {
        self.facts.as_ref().map_or(0, |facts| facts.limit)
    }

    pub(super) fn job_begins(&mut self) {
        self.running = self.running.saturating_add(1);
    }

    pub(super) fn job_ends(&mut self, took: Duration, now: Now) {
        self.running = self.running.saturating_sub(1);
        self.pace.record(took, now.mono);
    }

    pub(super) fn candidate(&self, conn: u64) -> Candidate {
        Candidate {
            conn,
            enabled: self.is_enabled(),
            coefficient: self.facts.as_ref().map_or(0, |facts| facts.coefficient),
            running: self.running,
            limit: self.limit(),
            average: self.pace.average(),
        }
    }
}

/// The queries a worker may send.
enum Query {
    Connect(tl::worker::Params),
    Compare(tl::worker::CompareBalanceWithProxy),
    CompareMore,
    Finish { is_disabled: bool },
    Status,
}

impl Query {
    /// `None`: not a query of a worker at all.
    fn read(data: &[u8]) -> Option<Result<Self, Refusal>> {
        use tl::worker as w;
        let query = match tl::peek_id(data)? {
            w::ConnectToProxy::ID => w::ConnectToProxy::from_bytes(data).map(|query| Self::Connect(query.params)),
            w::CompareBalanceWithProxy::ID => w::CompareBalanceWithProxy::from_bytes(data).map(Self::Compare),
            w::ExtendedCompareBalanceWithProxy::ID => {
                w::ExtendedCompareBalanceWithProxy::from_bytes(data).map(|_| Self::CompareMore)
            }
            w::ProxyHandshakeComplete::ID => {
                w::ProxyHandshakeComplete::from_bytes(data).map(|query| Self::Finish { is_disabled: query.is_disabled })
            }
            w::UpdatePaymentStatus::ID => w::UpdatePaymentStatus::from_bytes(data).map(|_| Self::Status),
            _ => return None,
        };
        Some(query.map_err(|_| MALFORMED))
    }
}

impl Core {
    pub(super) fn worker_query(
        &mut self,
        conn: u64,
        id: i64,
        data: &[u8],
        now: Now,
        out: &mut Vec<Action>,
    ) -> Result<(), Error> {
        let Some(query) = Query::read(data) else {
            self.worker_asks(conn, id, data, now, out);
            return Ok(());
        };
        let result = match (self.worker_stage(conn), query) {
            (_, Err(refusal)) => Err(refusal),
            (Stage::Connect, Ok(Query::Connect(params))) => self.worker_connects(conn, id, &params, out),
            (Stage::Compare, Ok(Query::Compare(claims))) => self.worker_compares(conn, id, &claims, out),
            (Stage::CompareMore, Ok(Query::CompareMore)) => {
                let answer = tl::worker::ExtendedCompareBalanceWithProxyResult { error_code: 0 };
                self.answer(conn, id, answer.to_bytes(), out);
                // A genuine proxy forgets to go on here, so that the worker can never finish.
                self.set_worker_stage(conn, Stage::Finish);
                Ok(())
            }
            (Stage::Finish, Ok(Query::Finish { is_disabled })) => {
                self.answer(conn, id, tl::worker::ProxyHandshakeCompleted.to_bytes(), out);
                self.set_worker_stage(conn, Stage::Ready);
                if let Some(worker) = self.worker_mut(conn) {
                    worker.enabled = !is_disabled;
                }
                if self.config.demands.is_some() {
                    out.push(Action::WorkerWaits { conn });
                }
                Ok(())
            }
            (Stage::Ready, Ok(Query::Status)) => {
                self.worker_status(conn, id, out);
                Ok(())
            }
            (Stage::Ready, Ok(_)) => {
                self.refuse(conn, id, code::NONE, ALREADY_READY, out);
                Ok(())
            }
            (_, Ok(_)) => Err(OUT_OF_TURN),
        };
        result.map_err(|refusal| {
            self.refuse(conn, id, refusal.code, refusal.reason, out);
            refusal.into()
        })
    }

    fn worker_connects(
        &mut self,
        conn: u64,
        id: i64,
        params: &tl::worker::Params,
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        let image_hash = self.worker_mut(conn).map_or([0; 32], |peer| peer.image_hash);
        let root = &self.config.root;
        if self.config.check_worker_hashes && !root.worker_hashes.contains(&image_hash) {
            return Err(WORKER_TYPE);
        }
        if params.flags & FLAG_TEST_MODE == 0 {
            return Err(TOO_OLD);
        }
        if params.is_test.unwrap_or(false) != self.config.is_test {
            return Err(TEST_MODE);
        }
        if params.model.is_empty() {
            return Err(WORKER_TYPE);
        }
        if !(0..COEFFICIENT_LIMIT).contains(&params.coefficient) {
            return Err(COEFFICIENT);
        }
        let most = positive(params.max_active_requests).ok_or(MOST_REQUESTS)?;
        let proxies = positive(params.proxy_cnt).ok_or(PROXY_COUNT)?;
        let model_hash: [u8; 32] = Sha256::digest(params.model.as_bytes()).into();
        if self.config.check_worker_hashes && !root.model_hashes.contains(&model_hash) {
            return Err(WORKER_TYPE);
        }
        let version =
            common_version(params.flags, params.min_proto_version, params.max_proto_version).ok_or(VERSION)?;
        let owner = AddressText::parse(&params.worker_owner_address).map_err(|_| ADDRESS)?.address;
        let contract = self.contract_of(Side::Worker, &owner);
        self.books.ensure(Side::Worker, &owner, contract);
        let model = base_name(&params.model);
        self.work.remember_model(&model);
        let facts = WorkerFacts { owner, model, coefficient: params.coefficient, limit: most.div_ceil(proxies) };
        let answer = tl::worker::ConnectedToProxy {
            params: self.introduction(version),
            worker_sc_address: text(&contract, self.config.is_testnet),
        };
        self.answer(conn, id, answer.to_bytes(), out);
        self.set_worker_stage(conn, Stage::Compare);
        if let Some(worker) = self.worker_mut(conn) {
            worker.facts = Some(facts);
        }
        Ok(())
    }

    fn worker_compares(
        &mut self,
        conn: u64,
        id: i64,
        claims: &tl::worker::CompareBalanceWithProxy,
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        let owner = self.worker_owner(conn).ok_or(OUT_OF_TURN)?;
        let account = self.books.account(Side::Worker, &owner).unwrap_or_default();
        if claims.tokens_committed_to_blockchain > account.committed || claims.tokens_committed_to_db > account.stored {
            return Err(CLAIMS);
        }
        let knows_more = claims.max_tokens > account.known;
        let answer = tl::worker::CompareBalanceWithProxyResult {
            signed_payment: self.sign(Side::Worker, &owner),
            tokens_committed_to_db: account.stored,
            max_tokens: account.known,
            // With 0 a genuine worker that knows more than we do would abort.
            error_code: i32::from(knows_more),
        };
        self.answer(conn, id, answer.to_bytes(), out);
        let next = if knows_more { Stage::CompareMore } else { Stage::Finish };
        self.set_worker_stage(conn, next);
        Ok(())
    }

    fn worker_status(&mut self, conn: u64, id: i64, out: &mut Vec<Action>) {
        let Some(owner) = self.worker_owner(conn) else {
            return;
        };
        let account = self.books.account(Side::Worker, &owner).unwrap_or_default();
        let answer = tl::worker::PaymentStatus {
            signed_payment: self.sign(Side::Worker, &owner),
            db_tokens: account.stored,
            max_tokens: account.known,
        };
        self.answer(conn, id, answer.to_bytes(), out);
    }

    pub(super) fn worker_packet(
        &mut self,
        conn: u64,
        data: &[u8],
        now: Now,
        out: &mut Vec<Action>,
    ) -> Result<(), Error> {
        if self.worker_stage(conn) != Stage::Ready {
            return Ok(());
        }
        match tl::peek_id(data) {
            Some(tl::worker::EnabledDisabled::ID) => {
                let news = tl::worker::EnabledDisabled::from_bytes(data)
                    .map_err(|_| Error::Malformed { what: "worker.enabledDisabled" })?;
                if let Some(worker) = self.worker_mut(conn) {
                    worker.enabled = news.disabled == 0;
                }
            }
            Some(tl::worker::NewCoefficient::ID) => {
                let news = tl::worker::NewCoefficient::from_bytes(data)
                    .map_err(|_| Error::Malformed { what: "worker.newCoefficient" })?;
                if !(0..COEFFICIENT_LIMIT).contains(&news.new_coefficient) {
                    return Err(COEFFICIENT.into());
                }
                if let Some(facts) = self.worker_mut(conn).and_then(|peer| peer.facts.as_mut()) {
                    facts.coefficient = news.new_coefficient;
                }
            }
            _ => return self.worker_answer(conn, data, now, out),
        }
        Ok(())
    }

    /// What we say of ourselves.
    pub(super) fn introduction(&self, version: i32) -> tl::proxy::Params {
        let is_testnet = self.config.is_testnet;
        tl::proxy::Params {
            flags: FLAG_TEST_MODE | if version > 0 { FLAG_VERSIONS } else { 0 },
            proxy_public_key: self.config.public_key,
            proxy_owner_address: text(&self.config.owner, is_testnet),
            proxy_sc_address: text(&self.proxy_contract, is_testnet),
            is_test: Some(self.config.is_test),
            proto_version: (version > 0).then_some(version),
        }
    }

    /// The payment of an account, signed if need be.
    pub(super) fn sign(&mut self, side: Side, owner: &Address) -> tl::proxy::SignedPayment {
        self.books.signed_payment(side, owner, &self.config.wallet, &mut *self.config.signer, &mut *self.random)
    }

    fn worker_owner(&self, conn: u64) -> Option<Address> {
        self.worker(conn)?.facts.as_ref().map(|facts| facts.owner)
    }

    pub(super) fn worker(&self, conn: u64) -> Option<&WorkerPeer> {
        match &self.peers.get(&conn)?.role {
            Role::Worker(worker) => Some(worker),
            Role::Client(_) => None,
        }
    }

    pub(super) fn worker_mut(&mut self, conn: u64) -> Option<&mut WorkerPeer> {
        match &mut self.peers.get_mut(&conn)?.role {
            Role::Worker(worker) => Some(worker),
            Role::Client(_) => None,
        }
    }

    fn worker_stage(&self, conn: u64) -> Stage {
        self.worker(conn).map_or(Stage::Connect, |peer| peer.stage)
    }

    fn set_worker_stage(&mut self, conn: u64, stage: Stage) {
        if let Some(worker) = self.worker_mut(conn) {
            worker.stage = stage;
        }
    }
}

/// The part of a model's name that requests use.
fn base_name(full: &str) -> String {
    full.parse::<ModelName>().map_or_else(|_| full.split('@').next().unwrap_or(full).to_owned(), |name| name.base)
}

fn positive(count: Option<i32>) -> Option<u32> {
    count.and_then(|count| u32::try_from(count).ok()).filter(|count| *count > 0)
}

/// The version to speak with a peer of this range.
pub(super) fn common_version(flags: u32, least: Option<i32>, most: Option<i32>) -> Option<i32> {
    let (least, most) = if flags & FLAG_VERSIONS == 0 { (0, 0) } else { (least.unwrap_or(0), most.unwrap_or(0)) };
    let chosen = most.min(VERSIONS.1);
    (chosen >= least && chosen >= VERSIONS.0).then_some(chosen)
}
