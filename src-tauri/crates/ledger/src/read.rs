//! Reading what happened.

use crate::row::{self, address_bytes};
use crate::write::{Payment, SessionId};
use crate::{Ledger, LedgerError};
use accounting::JobRecord;
use rusqlite::{OptionalExtension as _, Row};
use std::net::SocketAddrV4;
use ton::{Address, Nanoton};

/// Most rows of one page.
const MAX_PAGE: u32 = 1_000;

/// Sums over a session, or over all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Jobs that ended with an answer, whole or stopped early: those that are paid.
    pub answered: u64,
    /// Jobs that were refused or failed.
    pub failed: u64,
    /// Tokens of prompts, as the engine counted.
    pub prompt_tokens: i64,
    /// Tokens of answers, as the engine counted.
    pub completion_tokens: i64,
    /// Tokens that were charged.
    pub adjusted_tokens: i64,
    /// Tokens for which proxies signed: of each contract the rise of its running total within the session (over all: the total itself).
    pub signed_tokens: i64,
    /// The same in money.
    pub signed_nanoton: Nanoton,
}

/// The highest running total signed for one worker contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedTotal {
    /// The contract.
    pub worker_contract: Address,
    /// Who signed.
    pub proxy_key: [u8; 32],
    /// The total.
    pub tokens: u64,
    /// What it is worth.
    pub nanoton: Nanoton,
}

/// Where a page of jobs ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobCursor(pub(crate) i64);

impl JobCursor {
    /// Its number, for a page that must hold it as text.
    pub fn number(self) -> i64 {
        self.0
    }

    /// The cursor of such a number. Any number is one; a foreign one leads to a page of other jobs, never to harm.
    pub fn from_number(number: i64) -> Self {
        Self(number)
    }
}

/// A job and where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEntry {
    /// In which session.
    pub session: SessionId,
    /// Payment key of the proxy it came from.
    pub proxy_key: [u8; 32],
    /// The job.
    pub job: JobRecord,
}

/// Some jobs, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<JobEntry>,
    /// Where the next page begins; `None` if there is none.
    pub next: Option<JobCursor>,
}

/// A payment and where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentEntry {
    /// In which session.
    pub session: SessionId,
    /// What its running total is worth.
    pub nanoton: Nanoton,
    /// The payment.
    pub payment: Payment,
}

/// The best payment for one of our contracts, with what it takes to cash it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cashable {
    /// Our contract.
    pub worker_contract: Address,
    /// The contract that pays.
    pub proxy_contract: Address,
    /// What a token is worth there.
    pub fee_per_token: Nanoton,
    /// Running total that is signed.
    pub tokens: u64,
    /// The signed payment as it came, a bag of cells.
    pub payment: Vec<u8>,
    /// The contract's code and first data, a bag of cells, if they are known.
    pub state_init: Option<Vec<u8>>,
}

impl Ledger {
    /// The session that began last.
    pub fn latest_session(&self) -> Result<Option<SessionId>, LedgerError> {
        let id: Option<i64> = self.connection.query_row("SELECT max(id) FROM session", (), |row| row.get(0))?;
        Ok(id.map(SessionId))
    }

    /// Sums over one session.
    pub fn totals(&self, session: SessionId) -> Result<Totals, LedgerError> {
        self.sums(Some(session))
    }

    /// Sums over the session that began last; nothing at all if there was none.
    pub fn totals_of_latest_session(&self) -> Result<Totals, LedgerError> {
        match self.latest_session()? {
            Some(session) => self.totals(session),
            None => Ok(Totals::default()),
        }
    }

    /// Sums over all sessions.
    pub fn all_time_totals(&self) -> Result<Totals, LedgerError> {
        self.sums(None)
    }

    fn sums(&self, session: Option<SessionId>) -> Result<Totals, LedgerError> {
        let session = session.map(|session| session.0);
        // One transaction, so that jobs and payments are of the same moment.
        let reading = self.connection.unchecked_transaction()?;
        let mut totals = reading.query_row(
            "SELECT count(*) FILTER (WHERE outcome IN (0, 2)), count(*) FILTER (WHERE outcome IN (1, 3)),
                 coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0), coalesce(sum(adjusted_total), 0)
             FROM job WHERE ?1 IS NULL OR session = ?1",
            [session],
            |row| {
                Ok(Totals {
                    answered: row.get(0)?,
                    failed: row.get(1)?,
                    prompt_tokens: row.get(2)?,
                    completion_tokens: row.get(3)?,
                    adjusted_tokens: row.get(4)?,
                    ..Totals::default()
                })
            },
        )?;
        // Running totals only grow, so what stood before the session is the highest of the sessions before it.
        let (tokens, nanoton) = reading.query_row(
            "SELECT coalesce(sum(tokens - tokens_before), 0), coalesce(sum(max(nanoton - nanoton_before, 0)), 0) FROM (
                 SELECT max(own.tokens) AS tokens, max(own.nanoton) AS nanoton,
                     coalesce((SELECT max(tokens) FROM payment
                               WHERE worker_contract = own.worker_contract AND session < ?1), 0) AS tokens_before,
                     coalesce((SELECT max(nanoton) FROM payment
                               WHERE worker_contract = own.worker_contract AND session < ?1), 0) AS nanoton_before
                 FROM payment AS own WHERE ?1 IS NULL OR own.session = ?1 GROUP BY own.worker_contract)",
            [session],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        (totals.signed_tokens, totals.signed_nanoton) = (tokens, Nanoton(nanoton));
        Ok(totals)
    }

    /// The highest running total of every worker contract; with a session, of those it had payments for.
    pub fn signed_by_contract(&self, session: Option<SessionId>) -> Result<Vec<SignedTotal>, LedgerError> {
        let mut query = self.connection.prepare_cached(
            "SELECT worker_contract, proxy_key, max(tokens) AS tokens, nanoton FROM payment
             WHERE ?1 IS NULL OR session = ?1 GROUP BY worker_contract ORDER BY worker_contract",
        )?;
        let rows = query.query_map([session.map(|session| session.0)], |row| {
            Ok(SignedTotal {
                worker_contract: row::address(row, "worker_contract")?,
                proxy_key: row.get("proxy_key")?,
                tokens: row.get("tokens")?,
                nanoton: Nanoton(row.get("nanoton")?),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Root contracts of the networks that this file has worked for, the latest one first, and then of those it has transfers of that
    /// have not ended.
    pub fn root_contracts(&self) -> Result<Vec<Address>, LedgerError> {
        let mut query = self.connection.prepare_cached(
            "SELECT root_contract FROM (SELECT root_contract, id FROM session
                 UNION ALL SELECT root_contract, 0 FROM transfer WHERE stage < 2)
             GROUP BY root_contract ORDER BY max(id) DESC, root_contract",
        )?;
        let rows = query.query_map((), |row| row::address(row, "root_contract"))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The best payment for each of our contracts in this network.
    pub fn cashable(&self, root_contract: &Address) -> Result<Vec<Cashable>, LedgerError> {
        let mut query = self.connection.prepare_cached(
            "SELECT contract.*, best.tokens, best.boc FROM contract JOIN payment AS best USING (worker_contract)
             WHERE root_contract = ?
                 AND best.tokens = (SELECT max(tokens) FROM payment WHERE worker_contract = contract.worker_contract)
             ORDER BY worker_contract",
        )?;
        let rows = query.query_map([address_bytes(root_contract)], |row| {
            Ok(Cashable {
                worker_contract: row::address(row, "worker_contract")?,
                proxy_contract: row::address(row, "proxy_contract")?,
                fee_per_token: Nanoton(row.get("fee_nanoton")?),
                tokens: row.get("tokens")?,
                payment: row.get("boc")?,
                state_init: row.get("state_init")?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Jobs from the newest to the oldest; `before` is where the page before ended. At most 1,000 at once.
    pub fn jobs(&self, before: Option<JobCursor>, limit: u32) -> Result<JobPage, LedgerError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let mut query = self.connection.prepare_cached("SELECT * FROM job WHERE seq < ? ORDER BY seq DESC LIMIT ?")?;
        // One more than asked for says whether there is another page.
        let rows = query.query_map((before.map_or(i64::MAX, |cursor| cursor.0), limit + 1), |row| {
            let entry = JobEntry {
                session: SessionId(row.get("session")?),
                proxy_key: row.get("proxy_key")?,
                job: row::job(row)?,
            };
            Ok((JobCursor(row.get("seq")?), entry))
        })?;
        let mut rows: Vec<(JobCursor, JobEntry)> = rows.collect::<Result<_, _>>()?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| more).map(|(cursor, _)| *cursor);
        Ok(JobPage { jobs: rows.into_iter().map(|(_, entry)| entry).collect(), next })
    }

    /// Every payment that was kept for a worker contract, the newest first, at most `limit` (1,000).
    pub fn payments(&self, worker_contract: &Address, limit: u32) -> Result<Vec<PaymentEntry>, LedgerError> {
        let mut query = self
            .connection
            .prepare_cached("SELECT * FROM payment WHERE worker_contract = ? ORDER BY tokens DESC LIMIT ?")?;
        let rows = query.query_map((address_bytes(worker_contract), limit.clamp(1, MAX_PAGE)), payment)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The payment to present for a worker contract: the one with the highest total.
    pub fn highest_payment(&self, worker_contract: &Address) -> Result<Option<PaymentEntry>, LedgerError> {
        Ok(self.payments(worker_contract, 1)?.pop())
    }

    /// The key that is pinned for a proxy.
    pub fn known_key(&self, endpoint: SocketAddrV4, root_contract: &Address) -> Result<Option<[u8; 32]>, LedgerError> {
        let key = self.connection.query_row(
            "SELECT public_key FROM proxy WHERE root_contract = ? AND endpoint = ? LIMIT 1",
            (address_bytes(root_contract), endpoint.to_string()),
            |row| row.get(0),
        );
        Ok(key.optional()?)
    }
}

pub(crate) fn payment(row: &Row<'_>) -> rusqlite::Result<PaymentEntry> {
    Ok(PaymentEntry {
        session: SessionId(row.get("session")?),
        nanoton: Nanoton(row.get("nanoton")?),
        payment: Payment {
            worker_contract: row::address(row, "worker_contract")?,
            proxy_key: row.get("proxy_key")?,
            tokens: row.get("tokens")?,
            received_unix_ms: row.get("received_unix_ms")?,
            boc: row.get("boc")?,
        },
    })
}
