//! Writing down what happened. Each method is one transaction: when it returns, its row is on the disk or nothing of it is.

use crate::earnings::Quarter;
use crate::history::Multipliers;
use crate::row::{address_bytes, endpoint_column, outcome_columns};
use crate::{Ledger, LedgerError, earnings};
use accounting::{JobOutcome, JobRecord};
use rusqlite::{OptionalExtension as _, TransactionBehavior, named_params};
use std::net::SocketAddrV4;
use ton::cocoon::WorkerData;
use ton::{Address, Nanoton, StateInit, boc};

/// Most tokens of one count of one job. Far beyond any job; keeps the sums over millions of them within 64 bits.
pub const MAX_COUNT: i64 = 1 << 40;
const MAX_NAME: usize = 512;
const MAX_BOC: usize = 4_096;
const MAX_STATE: usize = 65_536;

/// The owner that a worker contract's first state names, a bag of cells.
fn owner_in(state_init: Option<&[u8]>) -> Option<Address> {
    let state = StateInit::from_cell(&boc::decode(state_init?).ok()?).ok()?;
    WorkerData::from_cell(&state.data).ok().map(|data| data.owner)
}

/// Names a session of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub(crate) i64);

/// What a run of the app begins with.
#[derive(Debug, Clone, Copy)]
pub struct NewSession<'a> {
    /// When, Unix time in milliseconds.
    pub started_unix_ms: i64,
    /// Which network.
    pub root_contract: Address,
    /// Version of its parameters.
    pub params_version: u32,
    /// What a worker gets for an adjusted token under these parameters.
    pub fee_per_token: Nanoton,
    /// Full name of the served model, at most 512 bytes.
    pub served_as: &'a str,
    /// What tokens count under these parameters.
    pub multipliers: Multipliers,
    /// Whether the network pays nothing: practice and tests.
    pub pays_nothing: bool,
}

/// A proxy after its handshake, its addresses recomputed by the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyEntry {
    /// Where workers dial it.
    pub endpoint: SocketAddrV4,
    /// Which network.
    pub root_contract: Address,
    /// Version of its parameters.
    pub params_version: u32,
    /// The proxy's payment key.
    pub public_key: [u8; 32],
    /// The proxy's contract.
    pub proxy_contract: Address,
    /// Our worker contract at this proxy.
    pub worker_contract: Address,
    /// What that contract pays for an adjusted token.
    pub fee_per_token: Nanoton,
    /// Its code and first data, a bag of cells of 1 to 65536 bytes; `None` where the network names the code by its hash only.
    pub state_init: Option<Vec<u8>>,
    /// When, Unix time in milliseconds; only the first time is kept.
    pub seen_unix_ms: i64,
}

/// A signed payment that the app has checked: signature, contract, and what it signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// The contract it is for.
    pub worker_contract: Address,
    /// Who signed.
    pub proxy_key: [u8; 32],
    /// Running total of adjusted tokens.
    pub tokens: u64,
    /// When it came, Unix time in milliseconds.
    pub received_unix_ms: i64,
    /// The message as it came, 1 to 4096 bytes.
    pub boc: Vec<u8>,
}

/// Whether a row was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It is new.
    New,
    /// It had been written down before; nothing changed.
    Known,
}

impl Ledger {
    /// Begins a session, to which jobs and payments belong.
    pub fn begin_session(&mut self, session: &NewSession<'_>) -> Result<SessionId, LedgerError> {
        if session.served_as.len() > MAX_NAME {
            return Err(LedgerError::OutOfRange { what: "the model's name" });
        }
        let fee = whole(session.fee_per_token.0, "the fee")?;
        let id = self.connection.query_row(
            "INSERT INTO session (started_unix_ms, root_contract, params_version, fee_nanoton, served_as,
                 prompt_multiplier, cached_multiplier, completion_multiplier, reasoning_multiplier, pays_nothing)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            (
                session.started_unix_ms,
                address_bytes(&session.root_contract),
                session.params_version,
                fee,
                session.served_as,
                session.multipliers.prompt,
                session.multipliers.cached,
                session.multipliers.completion,
                session.multipliers.reasoning,
                session.pays_nothing,
            ),
            |row| row.get(0),
        )?;
        Ok(SessionId(id))
    }

    /// Writes down a job that is over. A job that the session has already is left as it is, so a caller in doubt can say it again.
    pub fn record_job(
        &mut self,
        session: SessionId,
        proxy_key: &[u8; 32],
        job: &JobRecord,
    ) -> Result<Recorded, LedgerError> {
        let count = |tokens: u64| whole(tokens, "a count of tokens").and_then(in_range);
        let (outcome, outcome_code) = outcome_columns(job.outcome);
        let (usage, adjusted) = (&job.usage, &job.adjusted);
        let fee = self.session_fee(session)?;
        let total = in_range(adjusted.total)?;
        let writing = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let written = writing.execute(
            "INSERT INTO job (session, id, proxy_key, started_unix_ms, finished_unix_ms, outcome, outcome_code,
                 prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens, coefficient,
                 adjusted_prompt, adjusted_cached, adjusted_completion, adjusted_reasoning, adjusted_total,
                 streamed, endpoint)
             VALUES (:session, :id, :proxy_key, :started, :finished, :outcome, :outcome_code,
                 :prompt, :cached, :completion, :reasoning, :coefficient,
                 :adjusted_prompt, :adjusted_cached, :adjusted_completion, :adjusted_reasoning, :adjusted_total,
                 :streamed, :endpoint)
             ON CONFLICT (session, id) DO NOTHING",
            named_params! {
                ":session": session.0,
                ":id": job.id.0,
                ":proxy_key": proxy_key,
                ":started": job.started_unix_ms,
                ":finished": job.finished_unix_ms,
                ":outcome": outcome,
                ":outcome_code": outcome_code,
                ":prompt": count(usage.prompt)?,
                ":cached": count(usage.cached)?,
                ":completion": count(usage.completion)?,
                ":reasoning": count(usage.reasoning)?,
                ":coefficient": job.coefficient,
                ":adjusted_prompt": in_range(adjusted.prompt)?,
                ":adjusted_cached": in_range(adjusted.cached)?,
                ":adjusted_completion": in_range(adjusted.completion)?,
                ":adjusted_reasoning": in_range(adjusted.reasoning)?,
                ":adjusted_total": total,
                ":streamed": job.streamed,
                ":endpoint": endpoint_column(job.endpoint),
            },
        )?;
        if written == 0 {
            return Ok(Recorded::Known);
        }
        let running: i64 = writing.query_row(
            "INSERT INTO working (proxy_key, session, began_unix_ms, tokens) VALUES (?1, ?2, iif(?4 > 0, ?3, NULL), max(?4, 0))
             ON CONFLICT (proxy_key, session) DO UPDATE SET
                 began_unix_ms = min(coalesce(began_unix_ms, excluded.began_unix_ms), coalesce(excluded.began_unix_ms, began_unix_ms)),
                 tokens = tokens + excluded.tokens
             RETURNING tokens",
            (proxy_key, session.0, job.finished_unix_ms, total),
            |row| row.get(0),
        )?;
        writing.execute("UPDATE job SET running = ? WHERE session = ? AND id = ?", (running, session.0, job.id.0))?;
        let tokens = total.max(0);
        let answered = matches!(job.outcome, JobOutcome::Answered | JobOutcome::Stopped);
        let quarter = Quarter { answered: answered.into(), tokens, signed: 0 };
        earnings::add_to_quarter(&writing, session, job.finished_unix_ms, &quarter)?;
        let worth = fee.checked_mul(tokens.unsigned_abs()).map_or(i64::MAX, earnings::capped);
        earnings::add_unsigned(&writing, session, proxy_key, worth)?;
        writing.commit()?;
        Ok(Recorded::New)
    }

    /// Writes down a proxy. The key it is first met with at its endpoint of a network is pinned: another key is refused, whatever the
    /// version of the parameters, until [`Self::forget_proxy`]. Contracts may differ between versions, not within one.
    pub fn record_proxy(&mut self, proxy: &ProxyEntry) -> Result<Recorded, LedgerError> {
        let endpoint = proxy.endpoint;
        let (root, text) = (address_bytes(&proxy.root_contract), endpoint.to_string());
        let contracts = (address_bytes(&proxy.proxy_contract), address_bytes(&proxy.worker_contract));
        let fee = whole(proxy.fee_per_token.0, "a fee")?;
        if proxy.state_init.as_ref().is_some_and(|state| !(1..=MAX_STATE).contains(&state.len())) {
            return Err(LedgerError::OutOfRange { what: "a contract's first state" });
        }
        let writing = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let pinned: Option<[u8; 32]> = writing
            .query_row(
                "SELECT public_key FROM proxy WHERE root_contract = ? AND endpoint = ? LIMIT 1",
                (root, &text),
                |row| row.get(0),
            )
            .optional()?;
        if let Some(pinned) = pinned
            && pinned != proxy.public_key
        {
            return Err(LedgerError::ProxyKeyChanged { endpoint, pinned });
        }
        let known: Option<([u8; 33], [u8; 33])> = writing
            .query_row(
                "SELECT proxy_contract, worker_contract FROM proxy
                 WHERE root_contract = ? AND endpoint = ? AND params_version = ?",
                (root, &text, proxy.params_version),
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        let mut moved = false;
        if let Some((proxy_contract, worker_contract)) = known.filter(|known| *known != contracts) {
            // Whoever is paid on another address has another contract there; anything else is not meant.
            let state: Option<Vec<u8>> = writing
                .query_row("SELECT state_init FROM contract WHERE worker_contract = ?", [worker_contract], |row| {
                    row.get(0)
                })
                .optional()?
                .flatten();
            let owners = owner_in(state.as_deref()).zip(owner_in(proxy.state_init.as_deref()));
            moved = proxy_contract == contracts.0 && owners.is_some_and(|(before, now)| before != now);
            if !moved {
                return Err(LedgerError::ProxyContractsChanged { endpoint });
            }
        }
        // The address follows from code and data, so the same contract never has others.
        let new = writing.execute(
            "INSERT INTO contract (worker_contract, root_contract, proxy_contract, fee_nanoton, state_init)
             VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (contracts.1, root, contracts.0, fee, &proxy.state_init),
        )?;
        if known.is_none() {
            writing.execute(
                "INSERT INTO proxy (endpoint, root_contract, params_version, public_key, proxy_contract,
                     worker_contract, first_seen_unix_ms)
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
                (&text, root, proxy.params_version, proxy.public_key, contracts.0, contracts.1, proxy.seen_unix_ms),
            )?;
        }
        if moved {
            writing.execute(
                "UPDATE proxy SET worker_contract = ? WHERE root_contract = ? AND endpoint = ? AND params_version = ?",
                (contracts.1, root, &text, proxy.params_version),
            )?;
        }
        if known.is_none() || moved || new > 0 {
            writing.commit()?;
        }
        Ok(if known.is_none() || moved { Recorded::New } else { Recorded::Known })
    }

    /// Lets go of a proxy's pinned key, because its owner says that the change is meant. Its payments stay. Says whether there was one.
    pub fn forget_proxy(&mut self, endpoint: SocketAddrV4, root_contract: &Address) -> Result<bool, LedgerError> {
        let gone = self.connection.execute(
            "DELETE FROM proxy WHERE root_contract = ? AND endpoint = ?",
            (address_bytes(root_contract), endpoint.to_string()),
        )?;
        Ok(gone > 0)
    }

    /// Writes down a payment if its total is a new high of its contract. The same total again is known; a lower one is refused.
    /// What it is worth is its total times the session's fee.
    pub fn record_payment(&mut self, session: SessionId, payment: &Payment) -> Result<Recorded, LedgerError> {
        let tokens = whole(payment.tokens, "a payment's total")?;
        if payment.boc.is_empty() || payment.boc.len() > MAX_BOC {
            return Err(LedgerError::OutOfRange { what: "a payment's message" });
        }
        let fee = self.session_fee(session)?;
        let worth = fee.checked_mul(payment.tokens).ok_or(LedgerError::OutOfRange { what: "a payment's worth" })?;
        let nanoton = whole(worth.0, "a payment's worth")?;
        let contract = address_bytes(&payment.worker_contract);
        let writing = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let before: Option<(u64, i64)> = writing
            .query_row(
                "SELECT tokens, nanoton FROM payment WHERE worker_contract = ? ORDER BY tokens DESC LIMIT 1",
                [contract],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        match before {
            Some((highest, _)) if payment.tokens == highest => return Ok(Recorded::Known),
            Some((highest, _)) if payment.tokens < highest => {
                return Err(LedgerError::PaymentDecreased {
                    worker_contract: payment.worker_contract,
                    highest,
                    offered: payment.tokens,
                });
            }
            _ => {}
        }
        writing.execute(
            "INSERT INTO payment (session, worker_contract, proxy_key, tokens, nanoton, received_unix_ms, boc)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
            (session.0, contract, payment.proxy_key, tokens, nanoton, payment.received_unix_ms, &payment.boc),
        )?;
        let rise = nanoton.saturating_sub(before.map_or(0, |(_, worth)| worth)).max(0);
        let quarter = Quarter { answered: 0, tokens: 0, signed: rise };
        earnings::add_to_quarter(&writing, session, payment.received_unix_ms, &quarter)?;
        earnings::add_unsigned(&writing, session, &payment.proxy_key, rise.saturating_neg())?;
        writing.commit()?;
        Ok(Recorded::New)
    }

    fn session_fee(&self, session: SessionId) -> Result<Nanoton, LedgerError> {
        let fee = self
            .connection
            .query_row("SELECT fee_nanoton FROM session WHERE id = ?", [session.0], |row| row.get(0))
            .optional()?;
        fee.map(Nanoton).ok_or(LedgerError::UnknownSession)
    }
}

/// SQLite's integers end at 63 bits.
pub(crate) fn whole(number: u64, what: &'static str) -> Result<i64, LedgerError> {
    i64::try_from(number).map_err(|_| LedgerError::OutOfRange { what })
}

fn in_range(tokens: i64) -> Result<i64, LedgerError> {
    if (-MAX_COUNT..=MAX_COUNT).contains(&tokens) {
        Ok(tokens)
    } else {
        Err(LedgerError::OutOfRange { what: "a count of tokens" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use accounting::{AdjustedUsage, Endpoint, JobId, TokenUsage};

    fn job(number: u16) -> JobRecord {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&number.to_be_bytes());
        JobRecord {
            id: JobId(id),
            started_unix_ms: 0,
            finished_unix_ms: 0,
            outcome: JobOutcome::Answered,
            usage: TokenUsage::default(),
            coefficient: 1_000,
            adjusted: AdjustedUsage::default(),
            streamed: false,
            endpoint: Endpoint::Chat,
        }
    }

    #[test]
    fn a_full_disk_loses_nothing_and_writing_goes_on_when_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        let mut ledger = Ledger::open(&path, 0).unwrap();
        let address = Address { workchain: 0, hash: [1; 32] };
        let session = NewSession {
            started_unix_ms: 0,
            root_contract: address,
            params_version: 1,
            fee_per_token: Nanoton(1),
            served_as: "model",
            multipliers: Multipliers { prompt: 10_000, cached: 10_000, completion: 10_000, reasoning: 10_000 },
            pays_nothing: false,
        };
        let session = ledger.begin_session(&session).unwrap();
        let payment = |tokens| Payment {
            worker_contract: address,
            proxy_key: [2; 32],
            tokens,
            received_unix_ms: 0,
            boc: vec![9; 4_000],
        };
        let key = [2; 32];
        let pages: i64 = ledger.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        ledger.connection.pragma_update(None, "max_page_count", pages + 4).unwrap();
        let (mut jobs, mut tokens) = (0, 0);
        let (mut jobs_full, mut payments_full) = (false, false);
        while !(jobs_full && payments_full) {
            assert!(jobs < 10_000, "the disk never filled");
            match ledger.record_payment(session, &payment(tokens + 1)) {
                Ok(_) => tokens += 1,
                Err(LedgerError::Full) => payments_full = true,
                Err(other) => panic!("{other}"),
            }
            match ledger.record_job(session, &key, &job(jobs)) {
                Ok(_) => jobs += 1,
                Err(LedgerError::Full) => jobs_full = true,
                Err(other) => panic!("{other}"),
            }
        }
        // It stays readable, and again and again refuses without harm.
        assert!(matches!(ledger.record_payment(session, &payment(tokens + 1)), Err(LedgerError::Full)));
        assert_eq!(ledger.all_time_totals().unwrap().answered, u64::from(jobs));
        assert_eq!(ledger.highest_payment(&address).unwrap().unwrap().payment, payment(tokens));
        // Killed or closed now, everything acknowledged is in the file.
        drop(ledger);
        let mut ledger = Ledger::open(&path, 0).unwrap();
        assert_eq!(ledger.all_time_totals().unwrap().answered, u64::from(jobs));
        assert_eq!(ledger.highest_payment(&address).unwrap().unwrap().payment, payment(tokens));
        // There is room again.
        assert_eq!(ledger.record_job(session, &key, &job(jobs)).unwrap(), Recorded::New);
        assert_eq!(ledger.record_payment(session, &payment(tokens + 1)).unwrap(), Recorded::New);
        let sound: String = ledger.connection.pragma_query_value(None, "integrity_check", |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok");
    }

    #[test]
    fn a_writer_that_finds_the_file_locked_says_busy_and_can_try_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        let mut ledger = Ledger::open(&path, 0).unwrap();
        ledger.connection.busy_timeout(std::time::Duration::from_millis(20)).unwrap();
        let proxy = ProxyEntry {
            endpoint: "127.0.0.1:1".parse().unwrap(),
            root_contract: Address { workchain: 0, hash: [1; 32] },
            params_version: 1,
            public_key: [2; 32],
            proxy_contract: Address { workchain: 0, hash: [3; 32] },
            worker_contract: Address { workchain: -1, hash: [4; 32] },
            fee_per_token: Nanoton(19),
            state_init: None,
            seen_unix_ms: 0,
        };
        let mut other = Ledger::open(&path, 0).unwrap();
        let lock = other.connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        assert!(matches!(ledger.record_proxy(&proxy), Err(LedgerError::Busy)));
        drop(lock);
        assert_eq!(ledger.record_proxy(&proxy).unwrap(), Recorded::New);
    }
}
