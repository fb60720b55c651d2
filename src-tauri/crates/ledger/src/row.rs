//! How values stand in columns.

use accounting::{AdjustedUsage, Endpoint, JobId, JobOutcome, JobRecord, TokenUsage};
use rusqlite::Row;
use rusqlite::types::Type;
use ton::Address;

/// Bytes of an address: its workchain, then its hash.
pub(crate) fn address_bytes(address: &Address) -> [u8; 33] {
    let mut bytes = [0; 33];
    bytes[0] = address.workchain.cast_unsigned();
    bytes[1..].copy_from_slice(&address.hash);
    bytes
}

pub(crate) fn address(row: &Row<'_>, column: &str) -> rusqlite::Result<Address> {
    let [workchain, hash @ ..] = row.get::<_, [u8; 33]>(column)?;
    Ok(Address { workchain: workchain.cast_signed(), hash })
}

/// An address, or that there is none.
pub(crate) fn address_if_any(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Address>> {
    let bytes: Option<[u8; 33]> = row.get(column)?;
    Ok(bytes.map(|[workchain, hash @ ..]| Address { workchain: workchain.cast_signed(), hash }))
}

/// What stands for an outcome: its kind and its code.
pub(crate) fn outcome_columns(outcome: JobOutcome) -> (i64, i64) {
    match outcome {
        JobOutcome::Answered => (0, 0),
        JobOutcome::Refused { status } => (1, i64::from(status)),
        JobOutcome::Stopped => (2, 0),
        JobOutcome::Failed { code } => (3, i64::from(code)),
    }
}

fn outcome(row: &Row<'_>) -> rusqlite::Result<JobOutcome> {
    Ok(match row.get::<_, i64>("outcome")? {
        0 => JobOutcome::Answered,
        1 => JobOutcome::Refused { status: row.get("outcome_code")? },
        2 => JobOutcome::Stopped,
        3 => JobOutcome::Failed { code: row.get("outcome_code")? },
        other => return Err(impossible(row, "outcome", other)),
    })
}

pub(crate) const fn endpoint_column(endpoint: Endpoint) -> i64 {
    match endpoint {
        Endpoint::Chat => 0,
        Endpoint::Completions => 1,
    }
}

fn endpoint(row: &Row<'_>) -> rusqlite::Result<Endpoint> {
    match row.get::<_, i64>("endpoint")? {
        0 => Ok(Endpoint::Chat),
        1 => Ok(Endpoint::Completions),
        other => Err(impossible(row, "endpoint", other)),
    }
}

/// The schema admits no such value, so the file is damaged.
fn impossible(row: &Row<'_>, column: &str, value: i64) -> rusqlite::Error {
    let index = row.as_ref().column_index(column).unwrap_or(0);
    rusqlite::Error::FromSqlConversionFailure(index, Type::Integer, format!("{value} in {column}").into())
}

pub(crate) fn job(row: &Row<'_>) -> rusqlite::Result<JobRecord> {
    Ok(JobRecord {
        id: JobId(row.get("id")?),
        started_unix_ms: row.get("started_unix_ms")?,
        finished_unix_ms: row.get("finished_unix_ms")?,
        outcome: outcome(row)?,
        usage: TokenUsage {
            prompt: row.get("prompt_tokens")?,
            cached: row.get("cached_tokens")?,
            completion: row.get("completion_tokens")?,
            reasoning: row.get("reasoning_tokens")?,
        },
        coefficient: row.get("coefficient")?,
        adjusted: AdjustedUsage {
            prompt: row.get("adjusted_prompt")?,
            cached: row.get("adjusted_cached")?,
            completion: row.get("adjusted_completion")?,
            reasoning: row.get("adjusted_reasoning")?,
            total: row.get("adjusted_total")?,
        },
        streamed: row.get("streamed")?,
        endpoint: endpoint(row)?,
    })
}
