//! Reading for people: sums over a time, and jobs with how they were priced and how far their money has come.

use std::collections::BTreeMap;

use accounting::JobRecord;
use rusqlite::{Connection, Row};
use ton::Nanoton;

use crate::read::JobCursor;
use crate::row;
use crate::{Ledger, LedgerError};

/// Most rows of one page.
const MAX_PAGE: u32 = 200;

/// What a token of each sort counts, ten-thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Multipliers {
    /// One of the prompt.
    pub prompt: u32,
    /// One of the prompt that was not computed anew.
    pub cached: u32,
    /// One of the answer.
    pub completion: u32,
    /// One of thinking.
    pub reasoning: u32,
}

/// Sums over a time. Jobs belong to the time in which they ended, signatures to that in which they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// Jobs that ended with an answer, whole or stopped early.
    pub answered: u64,
    /// Jobs that were refused or failed.
    pub failed: u64,
    /// Tokens of prompts.
    pub prompt_tokens: i64,
    /// Tokens of answers.
    pub completion_tokens: i64,
    /// What was counted, at the fees of the time.
    pub counted: Nanoton,
    /// By how much signed running totals rose.
    pub signed: Nanoton,
}

/// Which jobs are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobFilter {
    /// Only those with an answer, or only those without.
    pub answered: Option<bool>,
    /// Only those that ended then or later, Unix time in milliseconds.
    pub since_unix_ms: Option<i64>,
}

/// A job, its price, and how far its money has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PricedJob {
    /// Its place in the ledger.
    pub cursor: JobCursor,
    /// The job.
    pub job: JobRecord,
    /// Full name of the model.
    pub served_as: String,
    /// What a counted token was worth.
    pub fee_per_token: Nanoton,
    /// Version of the prices.
    pub params_version: u32,
    /// What tokens counted; `None`: not written down then.
    pub multipliers: Option<Multipliers>,
    /// Whether the network pays nothing; `None`: not written down then.
    pub pays_nothing: Option<bool>,
    /// When the first signature came whose running total covers this job and all of the same proxy before it.
    pub signed_unix_ms: Option<i64>,
}

/// Some jobs, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PricedPage {
    /// The jobs.
    pub jobs: Vec<PricedJob>,
    /// Where the next page begins; `None` if there is none.
    pub next: Option<JobCursor>,
}

impl Ledger {
    /// Sums from one moment to the one before another, Unix time in milliseconds. `pays_nothing` chooses the networks: practice and
    /// tests, or those that pay; sessions of which this is not known count as the latter.
    pub fn sums_between(&self, from: i64, to: i64, pays_nothing: bool) -> Result<Sums, LedgerError> {
        // One transaction, so that jobs and payments are of the same moment.
        let reading = self.connection.unchecked_transaction()?;
        let mut sums = reading.query_row(
            "SELECT count(*) FILTER (WHERE outcome IN (0, 2)), count(*) FILTER (WHERE outcome IN (1, 3)),
                 coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0),
                 coalesce(sum(max(adjusted_total, 0) * fee_nanoton), 0)
             FROM job JOIN session ON session.id = job.session
             WHERE finished_unix_ms >= ?1 AND finished_unix_ms < ?2 AND coalesce(pays_nothing, 0) = ?3",
            (from, to, pays_nothing),
            |row| {
                Ok(Sums {
                    answered: row.get(0)?,
                    failed: row.get(1)?,
                    prompt_tokens: row.get(2)?,
                    completion_tokens: row.get(3)?,
                    counted: Nanoton(row.get(4)?),
                    signed: Nanoton(0),
                })
            },
        )?;
        sums.signed = Nanoton(reading.query_row(
            "SELECT coalesce(sum(max(most - before, 0)), 0) FROM (
                 SELECT max(own.nanoton) AS most,
                     coalesce((SELECT max(nanoton) FROM payment AS earlier
                               WHERE earlier.worker_contract = own.worker_contract AND earlier.received_unix_ms < ?1), 0) AS before
                 FROM payment AS own JOIN session ON session.id = own.session
                 WHERE own.received_unix_ms >= ?1 AND own.received_unix_ms < ?2 AND coalesce(session.pays_nothing, 0) = ?3
                 GROUP BY own.worker_contract)",
            (from, to, pays_nothing),
            |row| row.get(0),
        )?);
        Ok(sums)
    }

    /// Jobs from the newest to the oldest, with their prices; `before` is where the page before ended. At most 200 at once.
    pub fn priced_jobs(
        &self,
        filter: JobFilter,
        before: Option<JobCursor>,
        limit: u32,
    ) -> Result<PricedPage, LedgerError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let reading = self.connection.unchecked_transaction()?;
        let mut query = reading.prepare_cached(
            "SELECT job.*, session.served_as, session.fee_nanoton, session.params_version, session.pays_nothing,
                 prompt_multiplier, cached_multiplier, completion_multiplier, reasoning_multiplier
             FROM job JOIN session ON session.id = job.session
             WHERE seq < ?1 AND (?2 IS NULL OR (outcome IN (0, 2)) = ?2) AND finished_unix_ms >= ?3
             ORDER BY seq DESC LIMIT ?4",
        )?;
        // One more than asked for says whether there is another page.
        let parameters = (
            before.map_or(i64::MAX, |cursor| cursor.0),
            filter.answered,
            filter.since_unix_ms.unwrap_or(i64::MIN),
            limit + 1,
        );
        let rows = query.query_map(parameters, |row| {
            let payer = Payer { session: row.get("session")?, proxy_key: row.get("proxy_key")? };
            Ok((payer, row.get::<_, Option<i64>>("running")?.unwrap_or(i64::MAX), priced(row)?))
        })?;
        let mut rows: Vec<(Payer, i64, PricedJob)> = rows.collect::<Result<_, _>>()?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        sign(&reading, &mut rows)?;
        let next = rows.last().filter(|_| more).map(|(_, _, job)| job.cursor);
        Ok(PricedPage { jobs: rows.into_iter().map(|(_, _, job)| job).collect(), next })
    }
}

/// Who pays for a job: a proxy, for one session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Payer {
    session: i64,
    proxy_key: [u8; 32],
}

/// Says of every job when it was signed, newest first.
///
/// A proxy signs running totals, and what it had signed before the first job of a session is for others: for earlier sessions, for
/// another ledger. So a session's jobs are covered by what comes on top of that, and by nothing that is signed once the next session
/// has done a job.
fn sign(reading: &Connection, rows: &mut [(Payer, i64, PricedJob)]) -> Result<(), LedgerError> {
    let mut bounds = reading.prepare_cached(
        "SELECT coalesce((SELECT max(tokens) FROM payment WHERE proxy_key = ?1
                          AND received_unix_ms < (SELECT began_unix_ms FROM working WHERE proxy_key = ?1 AND session = ?2)), 0),
                coalesce((SELECT min(began_unix_ms) FROM working WHERE proxy_key = ?1 AND session > ?2), 9223372036854775807)",
    )?;
    let mut covered = reading.prepare_cached(
        "SELECT min(received_unix_ms) FROM payment WHERE proxy_key = ? AND tokens >= ? AND received_unix_ms < ?",
    )?;
    // What was signed before, and until when a signature counts.
    let mut known: BTreeMap<Payer, (i64, i64)> = BTreeMap::new();
    for (payer, running, job) in rows {
        let (key, session) = (&payer.proxy_key, payer.session);
        let (before, end) = match known.get(payer) {
            Some(bounds) => *bounds,
            None => bounds.query_row((key, session), |row| Ok((row.get(0)?, row.get(1)?)))?,
        };
        known.insert(*payer, (before, end));
        if job.job.adjusted.total > 0 {
            let total = before.saturating_add(*running);
            job.signed_unix_ms = covered.query_row((key, total, end), |row| row.get(0))?;
        }
    }
    Ok(())
}

fn priced(row: &Row<'_>) -> rusqlite::Result<PricedJob> {
    let multipliers = (
        row.get::<_, Option<u32>>("prompt_multiplier")?,
        row.get::<_, Option<u32>>("cached_multiplier")?,
        row.get::<_, Option<u32>>("completion_multiplier")?,
        row.get::<_, Option<u32>>("reasoning_multiplier")?,
    );
    Ok(PricedJob {
        cursor: JobCursor(row.get("seq")?),
        job: row::job(row)?,
        served_as: row.get("served_as")?,
        fee_per_token: Nanoton(row.get("fee_nanoton")?),
        params_version: row.get("params_version")?,
        multipliers: match multipliers {
            (Some(prompt), Some(cached), Some(completion), Some(reasoning)) => {
                Some(Multipliers { prompt, cached, completion, reasoning })
            }
            _ => None,
        },
        pays_nothing: row.get("pays_nothing")?,
        signed_unix_ms: None,
    })
}
