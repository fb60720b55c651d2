//! The client of the toncenter v2 HTTP API, with one endpoint or several.
//!
//! A question goes to one endpoint, and to the next if that one is away, busy, behind or talks nonsense; when all have been asked, once more
//! after a pause. A message is offered to each until as many have taken it as must agree, and to all when it comes a second time, always
//! with the same bytes. What to do decides [`policy`], what an answer says reads [`answer`]; neither touches the network.

pub mod answer;
pub mod policy;

mod http;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;
use hyper::header::HeaderValue;
use serde_json::{Value, json};
use thiserror::Error;
use ton::{Address, AddressText, Cell, boc};

use crate::account::{AccountState, Head, TransactionId};
use crate::config::{ChainConfig, PARAMETERS};
use crate::error::ChainError;
use crate::transaction::Transaction;
use crate::{Answer, Chain, MOST_TRANSACTIONS};
use policy::{Bucket, Failure, Health, Newest, Patience, agreed, verdict_of_message, verdict_of_question};

/// How long fetched parameters are used.
const CONFIG_LASTS: Duration = Duration::from_mins(10);
/// Most accounts whose newest transaction is remembered.
const REMEMBERED: usize = 1024;
/// Messages that were offered and may be offered again.
const OFFERED: usize = 64;
/// The parameter in which a chain names itself.
const GLOBAL_ID: u32 = 19;

/// Why an endpoint can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// No address of a web server.
    #[error("{0} is no address of an endpoint; it looks like https://toncenter.com/api/v2/jsonRPC")]
    Url(String),
    /// Not encrypted, and not on this machine.
    #[error("{0} is not encrypted; only endpoints on this machine may do without https")]
    Plain(String),
    /// A key with characters that no header can have.
    #[error("the API key has characters that cannot be sent")]
    Key,
    /// TLS can't be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    /// There is none.
    #[error("no endpoint is given")]
    None,
}

/// Where a chain can be asked. It may hold an API key, so it has no `Debug`.
#[derive(Clone)]
pub struct Endpoint {
    url: Uri,
    key: Option<HeaderValue>,
    /// How many questions at once, and the pause until one more.
    rate: (u32, Duration),
}

impl Endpoint {
    /// The JSON-RPC address of an endpoint, and its API key if there is one. Asked once a second without a key and ten times with one, as
    /// toncenter allows; as often as wanted on this machine.
    pub fn new(url: &str, key: Option<&str>) -> Result<Self, EndpointError> {
        let wrong = || EndpointError::Url(url.chars().take(100).collect());
        let parsed: Uri = url.parse().map_err(|_| wrong())?;
        let host = parsed.host().ok_or_else(wrong)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let here = bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        match parsed.scheme_str() {
            Some("https") => {}
            Some("http") if here => {}
            Some("http") => return Err(EndpointError::Plain(host.to_owned())),
            _ => return Err(wrong()),
        }
        let rate = match (here, key) {
            (true, _) => (1000, Duration::from_millis(1)),
            (false, Some(_)) => (10, Duration::from_millis(100)),
            (false, None) => (1, Duration::from_millis(1100)),
        };
        let key = key
            .map(|key| {
                let mut value = HeaderValue::from_str(key).map_err(|_| EndpointError::Key)?;
                value.set_sensitive(true);
                Ok(value)
            })
            .transpose()?;
        Ok(Self { url: parsed, key, rate })
    }

    /// So many questions at once, and one more after each pause.
    #[must_use]
    pub fn with_rate(mut self, at_once: u32, pause: Duration) -> Self {
        self.rate = (at_once, pause);
        self
    }

    /// The host, for people.
    pub fn host(&self) -> &str {
        self.url.host().unwrap_or_default()
    }
}

/// Gives chance: a number from 0 to 1000.
pub type Jitter = Arc<dyn Fn() -> u16 + Send + Sync>;

/// What a client is made of.
pub struct Settings {
    /// Where to ask, in order of preference.
    pub endpoints: Vec<Endpoint>,
    /// How many of them must show an account alike before money moves. Two where endpoints are strangers; one for a chain on this machine.
    pub agreement: usize,
    /// How hard to try.
    pub patience: Patience,
    /// Spreads pauses, so that clients that failed together do not come back together.
    pub jitter: Jitter,
}

struct Place {
    endpoint: Endpoint,
    bucket: Bucket,
    health: Health,
}

#[derive(Default)]
struct Memory {
    /// Newest transaction seen of each account.
    newest: BTreeMap<Address, Newest>,
    head: u32,
    config: Option<(Duration, ChainConfig)>,
    /// The network that every endpoint is of.
    network: Option<i32>,
    /// Hashes of messages that were offered, the last one last.
    offered: VecDeque<[u8; 32]>,
}

impl Memory {
    fn newest(&mut self, address: Address) -> &mut Newest {
        if self.newest.len() >= REMEMBERED && !self.newest.contains_key(&address) {
            self.newest.pop_first();
        }
        self.newest.entry(address).or_default()
    }

    /// Whether this message was offered before. From now on it was.
    fn offers_again(&mut self, hash: [u8; 32]) -> bool {
        if self.offered.contains(&hash) {
            return true;
        }
        if self.offered.len() >= OFFERED {
            self.offered.pop_front();
        }
        self.offered.push_back(hash);
        false
    }
}

/// The client.
pub struct Toncenter {
    connection: http::Connection,
    places: Vec<Mutex<Place>>,
    memory: Mutex<Memory>,
    agreement: usize,
    patience: Patience,
    jitter: Jitter,
    begun: Instant,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole after every line.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Toncenter {
    /// A client. Nothing is asked yet.
    pub fn new(settings: Settings) -> Result<Self, EndpointError> {
        if settings.endpoints.is_empty() {
            return Err(EndpointError::None);
        }
        let place = |endpoint: Endpoint| {
            let (size, refill) = endpoint.rate;
            let bucket = Bucket::new(size, refill, Duration::ZERO);
            Mutex::new(Place { endpoint, bucket, health: Health::default() })
        };
        Ok(Self {
            connection: http::connection().map_err(EndpointError::Tls)?,
            places: settings.endpoints.into_iter().map(place).collect(),
            memory: Mutex::new(Memory::default()),
            agreement: settings.agreement.max(1),
            patience: settings.patience,
            jitter: settings.jitter,
            begun: Instant::now(),
        })
    }

    /// Asks one endpoint, when its turn has come.
    async fn ask_one(&self, at: usize, method: &str, params: &Value) -> Result<Value, Failure> {
        let Some(place) = self.places.get(at) else {
            return Err(Failure::NotReached("there is no such endpoint".to_owned()));
        };
        let (endpoint, wait) = {
            let now = self.begun.elapsed();
            let mut place = locked(place);
            let rest = place.health.wish(now);
            if rest > self.patience.longest_wish {
                return Err(Failure::Busy(Some(rest)));
            }
            (place.endpoint.clone(), rest.max(place.bucket.take(now)))
        };
        tokio::time::sleep(wait).await;
        http::ask(&self.connection, &endpoint, method, params, self.patience.answer).await
    }

    /// Remembers how an endpoint did.
    fn note(&self, at: usize, failure: Option<&Failure>) {
        let Some(place) = self.places.get(at) else { return };
        let now = self.begun.elapsed();
        let mut place = locked(place);
        match failure {
            None => place.health.answered(),
            Some(failure) => {
                place.health.failed(failure, now);
                tracing::debug!(endpoint = place.endpoint.host(), ?failure, "an endpoint gave no answer");
            }
        }
    }

    /// All endpoints, those that failed of late last.
    fn order(&self) -> Vec<usize> {
        let now = self.begun.elapsed();
        let mut order: Vec<usize> = (0..self.places.len()).collect();
        order.sort_by_key(|at| self.places.get(*at).is_some_and(|place| locked(place).health.avoided(now)));
        order
    }

    /// Asks until somebody gives an answer that can be read.
    async fn ask<T>(
        &self,
        method: &str,
        params: Value,
        read: impl Fn(&Value) -> Result<T, Failure>,
    ) -> Result<T, ChainError> {
        let mut failures = Vec::new();
        for round in 0..self.patience.rounds.max(1) {
            tokio::time::sleep(self.patience.pause(round, (self.jitter)())).await;
            failures.clear();
            for at in self.order() {
                match self.ask_one(at, method, &params).await.and_then(|value| read(&value)) {
                    Ok(answer) => {
                        self.note(at, None);
                        return Ok(answer);
                    }
                    Err(failure) => {
                        self.note(at, Some(&failure));
                        failures.push(failure);
                    }
                }
            }
            // Those who know the question and all say no will not change their minds.
            if failures.iter().all(|failure| matches!(failure, Failure::Denied(_) | Failure::Refused(_))) {
                break;
            }
        }
        Err(verdict_of_question(&failures))
    }

    /// An account cannot be younger than it was.
    fn not_behind(&self, account: AccountState) -> Result<AccountState, Failure> {
        locked(&self.memory).newest(account.address).told(account.last_lt())?;
        Ok(account)
    }

    async fn agreed(&self, address: Address) -> Result<AccountState, ChainError> {
        let params = address_params(&address);
        let mut last = ChainError::Disagreement { agreeing: 0, needed: self.agreement };
        let rounds = self.patience.rounds.max(1);
        for round in 0..rounds {
            tokio::time::sleep(self.patience.pause(round, (self.jitter)())).await;
            let mut answers = Vec::new();
            let order = self.order();
            for (turn, at) in order.iter().copied().enumerate() {
                let is_last = turn + 1 == order.len();
                let asked = self.ask_one(at, "getAddressInformation", &params).await;
                match asked.and_then(|value| answer::account(&value, address)) {
                    Ok(account) => {
                        self.note(at, None);
                        answers.push(account);
                    }
                    Err(failure) => self.note(at, Some(&failure)),
                }
                if let Ok(found) = agreed(&answers, self.agreement)
                    && (is_last || !found.clocks_differ)
                {
                    // Those who agree are behind, or one who was believed before lied about the future: time tells.
                    let given_up = is_last && round + 1 == rounds;
                    let shown = found.account.last_lt();
                    match locked(&self.memory).newest(address).agreed(shown, given_up) {
                        Ok(()) => return Ok(found.account),
                        Err(failure) => last = verdict_of_question(&[failure]),
                    }
                }
            }
            if let Err(error) = agreed(&answers, self.agreement) {
                last = error;
            }
        }
        Err(last)
    }

    async fn offer(&self, message: &Cell) -> Result<(), ChainError> {
        let bytes = boc::encode(message).map_err(|error| ChainError::Question(error.to_string()))?;
        let params = json!({ "boc": STANDARD.encode(bytes) });
        // One that says yes and keeps it to itself must not be the only one that has it. What comes again has not landed so far.
        let wanted = if locked(&self.memory).offers_again(message.hash()) { self.places.len() } else { self.agreement };
        let (mut taken, mut failures) = (0, Vec::new());
        for at in self.order() {
            match self.ask_one(at, "sendBoc", &params).await {
                Ok(_) => {
                    self.note(at, None);
                    taken += 1;
                    if taken >= wanted {
                        break;
                    }
                }
                Err(failure) => {
                    self.note(at, Some(&failure));
                    failures.push(failure);
                }
            }
        }
        if taken > 0 { Ok(()) } else { Err(verdict_of_message(&failures)) }
    }

    /// The network's id, if all who answer say the same and are as many as must agree.
    async fn network(&self) -> Result<i32, ChainError> {
        if let Some(id) = locked(&self.memory).network {
            return Ok(id);
        }
        let params = json!({ "config_id": GLOBAL_ID, "param": GLOBAL_ID });
        let mut last = ChainError::Disagreement { agreeing: 0, needed: self.agreement };
        for round in 0..self.patience.rounds.max(1) {
            tokio::time::sleep(self.patience.pause(round, (self.jitter)())).await;
            let (mut ids, mut failures) = (Vec::new(), Vec::new());
            for at in self.order() {
                let asked = self.ask_one(at, "getConfigParam", &params).await;
                match asked.and_then(|value| answer::network_id(&value)) {
                    Ok(id) => {
                        self.note(at, None);
                        ids.push(id);
                    }
                    Err(failure) => {
                        self.note(at, Some(&failure));
                        failures.push(failure);
                    }
                }
            }
            let agreeing = ids.iter().filter(|id| Some(*id) == ids.first()).count();
            match ids.first() {
                Some(id) if agreeing == ids.len() && agreeing >= self.agreement => {
                    if failures.is_empty() {
                        locked(&self.memory).network = Some(*id);
                    }
                    return Ok(*id);
                }
                Some(_) => last = ChainError::Disagreement { agreeing, needed: self.agreement.max(ids.len()) },
                None => last = verdict_of_question(&failures),
            }
        }
        Err(last)
    }

    async fn newest_block(&self) -> Result<u32, ChainError> {
        let ask = || {
            self.ask("getMasterchainInfo", json!({}), |value| {
                let seqno = answer::newest_block(value)?;
                let mut memory = locked(&self.memory);
                // Endpoints are servers behind one name, some blocks apart.
                if u64::from(seqno) + 100 < u64::from(memory.head) {
                    return Err(Failure::Behind { shown: seqno.into(), seen: memory.head.into() });
                }
                memory.head = memory.head.max(seqno);
                Ok(seqno)
            })
        };
        match ask().await {
            // One said more than all of them say now.
            Err(ChainError::Behind { .. }) => {
                locked(&self.memory).head = 0;
                ask().await
            }
            answered => answered,
        }
    }

    async fn parameters(&self) -> Result<ChainConfig, ChainError> {
        if let Some((until, config)) = &locked(&self.memory).config
            && *until > self.begun.elapsed()
        {
            return Ok(config.clone());
        }
        // Some prices are good from a time on, and that is the chain's: this machine's clock may be wrong.
        let now = self.head().await?.time;
        let config = match self.ask("getConfigAll", json!({}), |value| answer::config(value, now)).await {
            Ok(config) => config,
            // Not every endpoint gives them all at once.
            Err(ChainError::Unreachable(_) | ChainError::Refused(_) | ChainError::Nonsense(_)) => {
                let mut parameters = BTreeMap::new();
                for number in PARAMETERS {
                    let params = json!({ "config_id": number, "param": number });
                    parameters.insert(number, self.ask("getConfigParam", params, answer::parameter).await?);
                }
                answer::config_of(&parameters, now).map_err(|failure| verdict_of_question(&[failure]))?
            }
            Err(error) => return Err(error),
        };
        locked(&self.memory).config = Some((self.begun.elapsed() + CONFIG_LASTS, config.clone()));
        Ok(config)
    }
}

fn address_params(address: &Address) -> Value {
    let text = AddressText { address: *address, bounceable: true, testnet: false }.to_text();
    json!({ "address": text })
}

impl Chain for Toncenter {
    fn head(&self) -> Answer<'_, Head> {
        Box::pin(async move {
            let seqno = self.newest_block().await?;
            let params = json!({ "workchain": -1, "shard": "-9223372036854775808", "seqno": seqno });
            let time = self.ask("getBlockHeader", params, answer::block_time).await?;
            Ok(Head { seqno, time })
        })
    }

    fn account(&self, address: Address) -> Answer<'_, AccountState> {
        Box::pin(async move {
            let params = address_params(&address);
            let asked = self.ask("getAddressInformation", params, |value| {
                answer::account(value, address).and_then(|account| self.not_behind(account))
            });
            match asked.await {
                // One alone may have shown a future that never comes: as many decide as must agree.
                Err(ChainError::Behind { .. }) if self.agreement > 1 => self.agreed(address).await,
                answered => answered,
            }
        })
    }

    fn agreed_account(&self, address: Address) -> Answer<'_, AccountState> {
        Box::pin(self.agreed(address))
    }

    fn transactions(&self, address: Address, from: Option<TransactionId>, limit: u32) -> Answer<'_, Vec<Transaction>> {
        Box::pin(async move {
            let limit = limit.min(MOST_TRANSACTIONS);
            let from = match from {
                Some(from) => from,
                // With the name of the last one, nothing can be left out in front.
                None => match self.account(address).await?.last {
                    Some(last) => last,
                    None => return Ok(Vec::new()),
                },
            };
            if limit == 0 {
                return Ok(Vec::new());
            }
            let mut params = address_params(&address);
            if let Some(fields) = params.as_object_mut() {
                fields.insert("limit".to_owned(), json!(limit));
                fields.insert("lt".to_owned(), json!(from.lt.to_string()));
                fields.insert("hash".to_owned(), json!(hex::encode(from.hash)));
                fields.insert("archival".to_owned(), json!(true));
            }
            self.ask("getTransactions", params, |value| answer::transactions(value, address, from, limit as usize))
                .await
        })
    }

    fn config(&self) -> Answer<'_, ChainConfig> {
        Box::pin(self.parameters())
    }

    fn network_id(&self) -> Answer<'_, i32> {
        Box::pin(self.network())
    }

    fn send<'a>(&'a self, message: &'a Cell) -> Answer<'a, ()> {
        Box::pin(self.offer(message))
    }
}
