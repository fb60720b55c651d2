//! The proxy's stats page: a subset of what the genuine proxy shows at `/jsonstats`, without the pages that do something on GET.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::{Method, Request, StatusCode};
use protocol::Now;
use protocol::proxy::{AccountChange, Accounts, Core, FinishedJob, Outcome, Side};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use ton::{Address, AddressText, RootConfig};

use super::gate::Gate;
use super::host::Event;
use crate::web::{self, PageError, Patience};

/// Owners whose accounts are listed, at most, per side.
const MOST_LISTED: usize = 1000;

/// What does not change while the proxy runs.
pub(super) struct Facts {
    pub(super) owner: Address,
    pub(super) wallet: Address,
    pub(super) proxy_contract: Address,
    pub(super) root_contract: Address,
    pub(super) root: Arc<RootConfig>,
    pub(super) is_testnet: bool,
    pub(super) check_worker_hashes: bool,
    pub(super) practice: bool,
    pub(super) public_key: [u8; 32],
}

/// Counts since the start, and which accounts there are.
pub(super) struct Stats {
    facts: Facts,
    connections: BTreeMap<u64, Side>,
    owners: BTreeSet<(Side, Address)>,
    queries: u64,
    success: u64,
    failed: u64,
    attempts: u64,
    tokens: i64,
    seconds: f64,
    turned_away: Arc<AtomicU64>,
    last_commit: u64,
    on_chain: watch::Receiver<Value>,
}

impl Stats {
    pub(super) fn new(
        facts: Facts,
        accounts: &Accounts,
        turned_away: Arc<AtomicU64>,
        on_chain: watch::Receiver<Value>,
    ) -> Self {
        let owners = accounts.accounts.iter().map(|account| (account.side, account.owner)).collect();
        Self {
            facts,
            connections: BTreeMap::new(),
            owners,
            queries: 0,
            success: 0,
            failed: 0,
            attempts: 0,
            tokens: 0,
            seconds: 0.0,
            turned_away,
            last_commit: 0,
            on_chain,
        }
    }

    pub(super) fn opened(&mut self, conn: u64, side: Side) {
        self.connections.insert(conn, side);
    }

    pub(super) fn gone(&mut self, conn: u64) {
        self.connections.remove(&conn);
    }

    pub(super) fn stored(&mut self, changes: &[AccountChange]) {
        self.owners.extend(changes.iter().map(|change| (change.side, change.owner)));
    }

    pub(super) fn committed(&mut self, seq: u64) {
        self.last_commit = seq;
    }

    pub(super) fn finished(&mut self, job: &FinishedJob) {
        self.queries += 1;
        match job.outcome {
            Outcome::Answered => self.success += 1,
            Outcome::Failed { code } => {
                self.failed += 1;
                tracing::info!(code, attempts = job.attempts, "job failed");
            }
        }
        self.attempts += u64::from(job.attempts);
        self.tokens = self.tokens.saturating_add(job.tokens);
        self.seconds += job.took.as_secs_f64();
        tracing::debug!(tokens = job.tokens, took = ?job.took, attempts = job.attempts, "job over");
    }

    fn text(&self, address: &Address) -> String {
        AddressText { address: *address, bounceable: false, testnet: self.facts.is_testnet }.to_text()
    }

    fn connections(&self, side: Side) -> usize {
        self.connections.values().filter(|its| **its == side).count()
    }

    fn accounts(&self, core: &Core, side: Side) -> Vec<Value> {
        let ours = self.owners.iter().filter(|(its, _)| *its == side).take(MOST_LISTED);
        ours.filter_map(|(_, owner)| {
            let account = core.account(side, owner)?;
            let root = &self.facts.root;
            let (key, proxy) = (&self.facts.public_key, &self.facts.proxy_contract);
            Some(match side {
                Side::Worker => json!({
                    "owner_address": self.text(owner),
                    "sc_address": self.text(&root.worker_contract(owner, proxy, key)),
                    "earned_tokens": account.known,
                    "committed_tokens": account.committed,
                }),
                Side::Client => json!({
                    "owner_address": self.text(owner),
                    "sc_address": self.text(&root.client_contract(owner, proxy, key)),
                    "used_tokens": account.known,
                    "reserved_tokens": account.reserved,
                }),
            })
        })
        .collect()
    }

    /// The page.
    pub(super) fn page(&self, core: &Core, gate: Option<&Gate>, now: Now) -> Value {
        let facts = &self.facts;
        json!({
            "practice": facts.practice,
            "status": { "enabled": true, "uptime": now.mono.as_secs() },
            "stats": {
                "queries": self.queries,
                "success": self.success,
                "failed": self.failed,
                "attempts": self.attempts,
                "running": core.active_jobs(),
                "time": self.seconds,
                "total_adjusted_tokens_used": self.tokens,
                "connections_turned_away": self.turned_away.load(Ordering::Relaxed),
                "last_commit": self.last_commit,
            },
            "localconfig": {
                "root_address": self.text(&facts.root_contract),
                "owner_address": self.text(&facts.owner),
                "check_worker_hashes": facts.check_worker_hashes,
            },
            "wallet": { "address": self.text(&facts.wallet) },
            "smartcontract": { "address": self.text(&facts.proxy_contract), "on_chain": self.on_chain.borrow().clone() },
            "proxy_public_key": hex::encode(facts.public_key),
            "root_contract_config": {
                "version": facts.root.version,
                "params_version": facts.root.params_version,
                "price_per_token": facts.root.price_per_token.0,
                "worker_fee_per_token": facts.root.worker_fee_per_token.0,
            },
            "connections": {
                "workers": self.connections(Side::Worker),
                "clients": self.connections(Side::Client),
            },
            "evidence": gate.map(Gate::page),
            "workers": self.accounts(core, Side::Worker),
            "clients": self.accounts(core, Side::Client),
        })
    }
}

/// Asks the deciding task for the page.
pub(super) async fn ask(events: &mpsc::Sender<Event>) -> Result<Value, PageError> {
    let (reply, answer) = oneshot::channel();
    events.send(Event::Stats(reply)).await.map_err(|_| PageError)?;
    answer.await.map_err(|_| PageError)
}

/// Serves the page on loopback.
pub(super) async fn serve(listener: TcpListener, access_hash: String, events: mpsc::Sender<Event>) {
    let access_hash: Arc<str> = access_hash.into();
    web::serve(listener, Patience::default(), move |request: Request<_>| {
        let (events, access_hash) = (events.clone(), Arc::clone(&access_hash));
        async move {
            if !web::is_from_here(request.headers()) {
                return web::failure(StatusCode::FORBIDDEN, 0, "only this machine may ask");
            }
            match (request.method(), request.uri().path()) {
                (&Method::GET, "/jsonstats") if !web::may_see(request.uri().query(), &access_hash) => {
                    web::failure(StatusCode::FORBIDDEN, 0, "the access_hash is missing or wrong")
                }
                (&Method::GET, "/jsonstats") => match ask(&events).await {
                    Ok(page) => web::json(StatusCode::OK, &page),
                    Err(error) => web::failure(StatusCode::SERVICE_UNAVAILABLE, 0, &error.to_string()),
                },
                (_, "/jsonstats") => web::failure(StatusCode::METHOD_NOT_ALLOWED, 0, "only GET"),
                _ => web::failure(StatusCode::NOT_FOUND, 0, "there is only /jsonstats here"),
            }
        }
    })
    .await;
}
