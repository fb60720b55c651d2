//! Jobs: whether a request is taken, who gets it, what it costs, when it is given up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use accounting::Prices;
use tl::Boxed;
use ton::Address;

use super::choice::{Choice, choose};
use super::client_side::ClientFacts;
use super::cost::Asked;
use super::{Action, Core, FinishedJob, Outcome, Role, Side, code};
use crate::handshake::text;
use crate::{Now, earlier, timeout_from_wire};

/// Tokens that a client may use when they cost nothing.
const FREE_TOKENS: i128 = 1_000_000_000_000;
/// The worker gets this share of the proxy's time.
const WORKER_SHARE: f64 = 0.95;
/// How often a job is given to a worker at most.
const MOST_ATTEMPTS: u32 = 5;
/// How long a job waits before the same connection gets it again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How many names of models are remembered. Names of models that somebody serves are never forgotten.
const MOST_MODELS: usize = 1024;

/// What a client asks for.
pub(super) struct Wanted {
    model: String,
    query: Vec<u8>,
    max_coefficient: i32,
    max_tokens: i32,
    timeout: f64,
    id: [u8; 32],
    min_config_version: i32,
    debug: bool,
}

impl From<tl::client::RunQueryEx> for Wanted {
    fn from(query: tl::client::RunQueryEx) -> Self {
        Self {
            model: query.model_name,
            query: query.query,
            max_coefficient: query.max_coefficient,
            max_tokens: query.max_tokens,
            timeout: query.timeout,
            id: query.request_id,
            min_config_version: query.min_config_version,
            debug: query.enable_debug.unwrap_or(false),
        }
    }
}

impl From<tl::client::RunQuery> for Wanted {
    fn from(query: tl::client::RunQuery) -> Self {
        Self {
            model: query.model_name,
            query: query.query,
            max_coefficient: query.max_coefficient,
            max_tokens: query.max_tokens,
            timeout: query.timeout,
            id: query.request_id,
            min_config_version: query.min_config_version,
            debug: false,
        }
    }
}

/// One job with one worker.
pub(super) struct Attempt {
    pub(super) conn: u64,
    pub(super) worker: Address,
    /// The worker's when it got the job, thousandths.
    coefficient: i32,
    pub(super) id: [u8; 32],
    began: Duration,
    /// When the worker's head came, Unix seconds.
    pub(super) head_at: Option<f64>,
    /// The head, held back until something follows it, so that the job can still go elsewhere.
    pub(super) held: Option<Vec<u8>>,
}

/// A job from the client's query to its end.
pub(super) struct Job {
    /// `None`: the client is gone. The job goes on and is charged; there is no cancellation.
    pub(super) client_conn: Option<u64>,
    pub(super) client: ClientFacts,
    pub(super) client_id: [u8; 32],
    model: String,
    /// Kept only as long as it may have to be sent again.
    query: Vec<u8>,
    max_coefficient: i32,
    /// What the request asks for, as far as that has a price.
    asked: Asked,
    max_tokens: i32,
    pub(super) reserve: i64,
    /// Bytes of the answer that were passed on.
    pub(super) answer_bytes: u64,
    pub(super) debug: bool,
    pub(super) started: Now,
    deadline: Duration,
    /// The client's time-out as it came, seconds.
    timeout: f64,
    /// `None`: waits for a worker.
    pub(super) attempt: Option<Attempt>,
    attempts: u32,
    /// The connection that failed last, and when it may be tried again.
    failed: Option<(u64, Duration)>,
    /// Whether the client has seen the head.
    pub(super) answered: bool,
    last_worker: Option<(Address, [u8; 32])>,
}

impl Job {
    /// Adjusted tokens that may be charged for what has been passed on.
    pub(super) fn ceiling(&self, prices: &Prices) -> i64 {
        // The worker's own coefficient, never above what the client agreed to.
        let coefficient = self.attempt.as_ref().map_or(self.max_coefficient, |attempt| attempt.coefficient);
        self.asked.ceiling(self.max_tokens, self.answer_bytes, coefficient, prices)
    }
}

/// All jobs.
#[derive(Default)]
pub(super) struct Work {
    jobs: BTreeMap<u64, Job>,
    by_worker_id: BTreeMap<[u8; 32], u64>,
    next: u64,
    models: BTreeSet<String>,
}

impl Work {
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn job(&self, key: u64) -> Option<&Job> {
        self.jobs.get(&key)
    }

    pub(super) fn job_mut(&mut self, key: u64) -> Option<&mut Job> {
        self.jobs.get_mut(&key)
    }

    /// The job that this connection was given under this id.
    pub(super) fn find(&self, conn: u64, id: &[u8; 32]) -> Option<u64> {
        let key = *self.by_worker_id.get(id)?;
        let attempt = self.jobs.get(&key)?.attempt.as_ref()?;
        (attempt.conn == conn).then_some(key)
    }

    pub(super) fn models(&self) -> impl Iterator<Item = &str> {
        self.models.iter().map(String::as_str)
    }

    pub(super) fn remember_model(&mut self, model: &str) {
        if self.models.len() < MOST_MODELS {
            self.models.insert(model.to_owned());
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.jobs
            .values()
            .filter_map(|job| {
                let again = job.failed.filter(|_| job.attempt.is_none()).map(|(_, when)| when);
                earlier(Some(job.deadline), again)
            })
            .min()
    }
}

impl Core {
    /// Takes a request or refuses it.
    pub(super) fn run(&mut self, conn: u64, client: ClientFacts, wanted: Wanted, now: Now, out: &mut Vec<Action>) {
        let is_repeated =
            self.work.jobs.values().any(|job| job.client_conn == Some(conn) && job.client_id == wanted.id);
        if is_repeated {
            // The answers of both could not be told apart.
            return;
        }
        match self.admit(&client, &wanted) {
            Ok((asked, reserve, worker)) => {
                let key = self.begin(conn, client, wanted, asked, reserve, now);
                self.give(key, worker, now, out);
            }
            Err((code, words)) => {
                let answer = tl::client::QueryAnswer::Error {
                    error_code: code,
                    error: words,
                    request_id: wanted.id,
                    request_tokens_used: tl::TokensUsed::default(),
                };
                self.message(conn, answer.to_bytes(), out);
            }
        }
    }

    /// What is asked for, what to hold back for it and whom to ask, or code and words of the refusal.
    fn admit(&self, client: &ClientFacts, wanted: &Wanted) -> Result<(Asked, i64, u64), (i32, String)> {
        if wanted.max_tokens < 0 || wanted.max_coefficient < 0 {
            return Err((code::PROTOCOL, "negative limits".to_owned()));
        }
        let account = self.books.account(Side::Client, &client.owner).unwrap_or_default();
        let (paid, stake) = self.funds(&client.owner)?;
        let available = paid.min(stake) - i128::from(account.reserved) - i128::from(account.known);
        if available < i128::from(wanted.max_tokens) {
            let words = format!(
                "client balance is too low: max_tokens={} tokens_payed={paid} tokens_used={} tokens_reserved={} tokens_stake={stake}",
                wanted.max_tokens, account.known, account.reserved
            );
            return Err((code::ERROR, words));
        }
        if self.asks_newer_config(wanted.min_config_version) {
            let words = "active config version is too low".to_owned();
            return Err((code::ERROR, words));
        }
        let asked = Asked::read(&wanted.query);
        let reserve = asked.reserve(wanted.max_tokens, wanted.max_coefficient, &self.prices);
        if i128::from(reserve) > available {
            return Err((code::NOT_READY, "balance is too low".to_owned()));
        }
        let model = &wanted.model;
        match self.choose(model, wanted.max_coefficient, None) {
            Choice::Take(worker) => Ok((asked, reserve, worker)),
            Choice::Nobody if self.work.models.contains(model) => {
                Err((code::NOT_READY, format!("no workers for model {model}")))
            }
            Choice::Nobody => Err((code::PROTOCOL, format!("unknown model {model}"))),
            Choice::NotReady => Err((
                code::NOT_READY,
                // The missing space is the genuine proxy's.
                format!("no ready workers for model{model}"),
            )),
            Choice::TooDear(coefficient) => {
                Err((code::NOT_READY, format!("can run this query with coefficient={coefficient}")))
            }
        }
    }

    /// Tokens that a client's balance and stake pay for, those that were charged already included; or code and words of the refusal.
    fn funds(&self, client: &ton::Address) -> Result<(i128, i128), (i32, String)> {
        let price = i128::from(self.prices.price_per_token.0);
        let tokens = |amount: ton::Nanoton| i128::from(amount.0).checked_div(price).unwrap_or(FREE_TOKENS);
        let Some(standings) = &self.standings else {
            return Ok((tokens(self.config.funds.balance), tokens(self.config.funds.stake)));
        };
        match standings.get(client) {
            None => Err((code::NOT_READY, "balance is too low".to_owned())),
            Some(standing) if !standing.is_open => Err((code::NOT_READY, "client is closing".to_owned())),
            Some(standing) => {
                let charged = i128::from(standing.charged);
                Ok((tokens(standing.balance) + charged, tokens(standing.stake) + charged))
            }
        }
    }

    fn choose(&self, model: &str, max_coefficient: i32, avoid: Option<u64>) -> Choice {
        let candidates = self.peers.iter().filter_map(|(conn, peer)| {
            let Role::Worker(worker) = &peer.role else {
                return None;
            };
            let serves_it = worker.facts().is_some_and(|facts| facts.model == model);
            (serves_it && avoid != Some(*conn)).then(|| worker.candidate(*conn))
        });
        choose(candidates, max_coefficient)
    }

    fn begin(&mut self, conn: u64, client: ClientFacts, wanted: Wanted, asked: Asked, reserve: i64, now: Now) -> u64 {
        self.books.reserve(&client.owner, reserve);
        let key = self.work.next;
        self.work.next += 1;
        let timeout = timeout_from_wire(wanted.timeout);
        self.work.jobs.insert(
            key,
            Job {
                client_conn: Some(conn),
                client,
                client_id: wanted.id,
                model: wanted.model,
                query: wanted.query,
                max_coefficient: wanted.max_coefficient,
                asked,
                max_tokens: wanted.max_tokens,
                reserve,
                answer_bytes: 0,
                debug: wanted.debug,
                started: now,
                deadline: now.mono.saturating_add(timeout),
                timeout: if timeout.is_zero() { 0.0 } else { wanted.timeout },
                attempt: None,
                attempts: 0,
                failed: None,
                answered: false,
                last_worker: None,
            },
        );
        key
    }

    /// Gives a job to a worker.
    fn give(&mut self, key: u64, conn: u64, now: Now, out: &mut Vec<Action>) {
        let Some(facts) = self.worker(conn).and_then(|peer| peer.facts().cloned()) else {
            return;
        };
        let id = self.random.int256();
        let keep = self.config.retry;
        let payment = self.books.payment(Side::Worker, &facts.owner);
        let Some(job) = self.work.jobs.get_mut(&key) else {
            return;
        };
        let query = if keep { job.query.clone() } else { std::mem::take(&mut job.query) };
        let left = if job.attempts == 0 { job.timeout } else { job.deadline.saturating_sub(now.mono).as_secs_f64() };
        let message = tl::proxy::RunQueryEx {
            query,
            signed_payment: payment,
            coefficient: i64::from(facts.coefficient),
            timeout: left * WORKER_SHARE,
            request_id: id,
            flags: 1,
            enable_debug: Some(job.debug),
        };
        job.attempts += 1;
        job.last_worker = Some((facts.owner, id));
        job.attempt = Some(Attempt {
            conn,
            worker: facts.owner,
            coefficient: facts.coefficient,
            id,
            began: now.mono,
            head_at: None,
            held: None,
        });
        self.work.by_worker_id.insert(id, key);
        if let Some(worker) = self.worker_mut(conn) {
            worker.job_begins();
        }
        if !self.message(conn, message.to_bytes(), out) {
            self.fail(key, code::ERROR, "the query is too large", now, out);
        }
    }

    /// Gives jobs that lost their worker to others that have become free.
    pub(super) fn give_out_waiting(&mut self, now: Now, out: &mut Vec<Action>) {
        let waiting: Vec<u64> = self
            .work
            .jobs
            .iter()
            .filter(|(_, job)| job.attempt.is_none() && job.deadline > now.mono)
            .map(|(key, _)| *key)
            .collect();
        for key in waiting {
            let Some(job) = self.work.jobs.get(&key) else {
                continue;
            };
            let avoid = job.failed.filter(|(_, when)| *when > now.mono).map(|(conn, _)| conn);
            // Elsewhere if possible, else again.
            let last = job.failed.map(|(conn, _)| conn);
            let elsewhere = self.choose(&job.model, job.max_coefficient, last);
            let choice = match elsewhere {
                Choice::Take(_) => elsewhere,
                _ => self.choose(&job.model, job.max_coefficient, avoid),
            };
            if let Choice::Take(conn) = choice {
                self.give(key, conn, now, out);
            } else if let Some(job) = self.work.jobs.get_mut(&key) {
                // Nobody can take it now; whoever comes or becomes free will.
                job.failed = job.failed.filter(|(_, when)| *when > now.mono);
            }
        }
    }

    /// Whether a job may be given to a worker once more.
    pub(super) fn may_retry(&self, key: u64, now: Now) -> bool {
        self.config.retry
            && self.work.job(key).is_some_and(|job| {
                !job.answered && job.client_conn.is_some() && job.attempts < MOST_ATTEMPTS && job.deadline > now.mono
            })
    }

    /// Takes a job away from its worker. It waits for another one, and this attempt costs nothing.
    pub(super) fn take_back(&mut self, key: u64, now: Now, out: &mut Vec<Action>) {
        let Some(job) = self.work.jobs.get_mut(&key) else {
            return;
        };
        let Some(attempt) = job.attempt.take() else {
            return;
        };
        job.failed = Some((attempt.conn, now.mono.saturating_add(AGAIN_AFTER)));
        let client = job.client.owner;
        self.end_attempt(&attempt, now);
        self.pay_worker(&attempt, &client, 0, out);
    }

    fn end_attempt(&mut self, attempt: &Attempt, now: Now) {
        self.work.by_worker_id.remove(&attempt.id);
        if let Some(worker) = self.worker_mut(attempt.conn) {
            worker.job_ends(now.mono.saturating_sub(attempt.began), now);
        }
    }

    /// A worker's connection is gone: its jobs go elsewhere or fail at once.
    pub(super) fn worker_lost(&mut self, conn: u64, now: Now, out: &mut Vec<Action>) {
        let lost: Vec<u64> = self
            .work
            .jobs
            .iter()
            .filter(|(_, job)| job.attempt.as_ref().is_some_and(|it| it.conn == conn))
            .map(|(key, _)| *key)
            .collect();
        for key in lost {
            if self.may_retry(key, now) {
                self.take_back(key, now, out);
            } else {
                self.fail(key, code::NOT_READY, "the worker was lost", now, out);
            }
        }
    }

    /// A client's connection is gone: its jobs run on and are charged, their answers are dropped.
    pub(super) fn client_lost(&mut self, conn: u64) {
        for job in self.work.jobs.values_mut() {
            if job.client_conn == Some(conn) {
                job.client_conn = None;
            }
        }
    }

    pub(super) fn expire_jobs(&mut self, now: Now, out: &mut Vec<Action>) {
        let expired: Vec<u64> =
            self.work.jobs.iter().filter(|(_, job)| job.deadline <= now.mono).map(|(key, _)| *key).collect();
        for key in expired {
            self.fail(key, code::TIMEOUT, "timeout in proxy", now, out);
        }
    }

    /// Ends a job with an error of ours. The client is told in the form of version 0, as genuine proxies do whatever the version is:
    /// genuine clients do not understand it, but the newer form would crash them.
    pub(super) fn fail(&mut self, key: u64, code: i32, words: &str, now: Now, out: &mut Vec<Action>) {
        let Some(job) = self.work.job(key) else {
            return;
        };
        let (error, request_id) = (words.to_owned(), job.client_id);
        let request_tokens_used = tl::TokensUsed::default();
        let data = if job.answered {
            tl::client::QueryAnswerPart::Error { error_code: code, error, request_id, request_tokens_used }.to_bytes()
        } else {
            tl::client::QueryAnswer::Error { error_code: code, error, request_id, request_tokens_used }.to_bytes()
        };
        if let Some(conn) = job.client_conn {
            self.message(conn, data, out);
        }
        self.finish(key, Outcome::Failed { code }, 0, now, out);
    }

    /// Ends a job: lets the reservation go, charges, credits, and tells both sides where they stand.
    pub(super) fn finish(&mut self, key: u64, outcome: Outcome, tokens: i64, now: Now, out: &mut Vec<Action>) {
        let Some(job) = self.work.jobs.remove(&key) else {
            return;
        };
        let client = job.client.owner;
        self.books.reserve(&client, -job.reserve);
        self.books.add(Side::Client, &client, tokens);
        if let Some(attempt) = &job.attempt {
            self.books.add(Side::Worker, &attempt.worker, tokens);
            self.end_attempt(attempt, now);
        }
        if let Some(conn) = job.client_conn {
            let account = self.books.account(Side::Client, &client).unwrap_or_default();
            let message = tl::proxy::WorkerRequestPayment::Client {
                request_id: job.client_id,
                signed_payment: self.sign(Side::Client, &client),
                db_tokens: account.stored,
                max_tokens: account.known,
                request_tokens: tokens,
            };
            self.message(conn, message.to_bytes(), out);
        }
        if let Some(attempt) = &job.attempt {
            self.pay_worker(attempt, &client, tokens, out);
        }
        out.push(Action::JobFinished(FinishedJob {
            client_request: job.client_id,
            worker_request: job.last_worker.map(|(_, id)| id),
            client,
            worker: job.last_worker.map(|(worker, _)| worker),
            model: job.model,
            tokens,
            outcome,
            took: now.mono.saturating_sub(job.started.mono),
            attempts: job.attempts,
        }));
    }

    fn pay_worker(&mut self, attempt: &Attempt, client: &Address, tokens: i64, out: &mut Vec<Action>) {
        if self.worker(attempt.conn).is_none() {
            return;
        }
        let account = self.books.account(Side::Worker, &attempt.worker).unwrap_or_default();
        let message = tl::proxy::WorkerRequestPayment::Worker {
            request_id: attempt.id,
            signed_payment: self.sign(Side::Worker, &attempt.worker),
            db_tokens: account.stored,
            max_tokens: account.known,
            request_tokens: tokens,
            request_client_owner: text(client, self.config.is_testnet),
        };
        self.message(attempt.conn, message.to_bytes(), out);
    }
}
