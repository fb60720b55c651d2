//! The page Jobs, made of the ledger and of what runs.

use accounting::JobOutcome;
use node::history::{History, JobCursor, JobFilter, PricedJob};
use node::snapshot::Snapshot;

use crate::view::{ApiError, ErrorCode, Job, JobPage, JobQuery, JobResult, Kind, Money, PricedTokens, RunningJob};

/// Some jobs. Waits for the disk.
pub(crate) fn page(history: &History, snapshot: Option<&Snapshot>, query: &JobQuery) -> Result<JobPage, ApiError> {
    let number = |text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => text.parse::<i64>().map(Some).map_err(|_| ApiError {
            code: ErrorCode::Request,
            message: "that is no place in the list of jobs".to_owned(),
        }),
    };
    let before = number(&query.before)?.map(JobCursor::from_number);
    let filter = JobFilter { answered: query.answered, since_unix_ms: number(&query.since)? };
    let page = tokio::task::block_in_place(|| history.jobs(filter, before, query.limit))
        .map_err(|error| ApiError { code: ErrorCode::Ledger, message: error.to_string() })?;
    let running = snapshot.map(|snapshot| snapshot.running.iter().map(running).collect()).unwrap_or_default();
    Ok(JobPage {
        running,
        jobs: page.jobs.iter().map(job).collect(),
        next: page.next.map(|cursor| cursor.number().to_string()),
    })
}

fn running(job: &node::core::jobs::Running) -> RunningJob {
    RunningJob {
        id: job.id.to_string(),
        started: job.started_unix_ms as f64,
        prompt_tokens: job.prompt_tokens.map(|tokens| tokens as f64),
        completion_tokens: job.completion_tokens.map(|tokens| tokens as f64),
    }
}

fn job(entry: &PricedJob) -> Job {
    let (record, usage, adjusted) = (&entry.job, &entry.job.usage, &entry.job.adjusted);
    let priced = |count: u64, counted: i64, multiplier: Option<u32>| PricedTokens {
        count: count as f64,
        weight: multiplier.map(|multiplier| f64::from(record.coefficient) * f64::from(multiplier) / 10.0),
        counted: counted as f64,
    };
    let weights = entry.multipliers;
    let kind = if entry.signed_unix_ms.is_some() { Kind::Signed } else { Kind::Measured };
    let nanoton = i128::from(adjusted.total) * i128::from(entry.fee_per_token.0);
    Job {
        key: entry.cursor.number().to_string(),
        id: record.id.to_string(),
        started: record.started_unix_ms as f64,
        finished: record.finished_unix_ms as f64,
        model: entry.served_as.split('@').next().unwrap_or_default().to_owned(),
        result: match record.outcome {
            JobOutcome::Answered => JobResult::Done,
            JobOutcome::Stopped => JobResult::Stopped,
            JobOutcome::Refused { status } => JobResult::Refused { status },
            JobOutcome::Failed { code } => JobResult::Failed { code },
        },
        prompt: priced(usage.prompt.saturating_sub(usage.cached), adjusted.prompt, weights.map(|it| it.prompt)),
        cached: priced(usage.cached, adjusted.cached, weights.map(|it| it.cached)),
        completion: priced(
            usage.completion.saturating_sub(usage.reasoning),
            adjusted.completion,
            weights.map(|it| it.completion),
        ),
        reasoning: priced(usage.reasoning, adjusted.reasoning, weights.map(|it| it.reasoning)),
        counted_tokens: adjusted.total as f64,
        fee_nanoton: entry.fee_per_token.0.to_string(),
        earned: Money { nanoton: nanoton.to_string(), kind },
        signed_at: entry.signed_unix_ms.map(|at| at as f64),
        streamed: record.streamed,
        params_version: f64::from(entry.params_version),
        pays_nothing: entry.pays_nothing.unwrap_or(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use accounting::{AdjustedUsage, Endpoint, JobId, JobRecord, TokenUsage};
    use node::history::Multipliers;
    use ton::Nanoton;

    fn entry() -> PricedJob {
        PricedJob {
            cursor: JobCursor::from_number(7),
            job: JobRecord {
                id: JobId([0xab; 32]),
                started_unix_ms: 10,
                finished_unix_ms: 20,
                outcome: JobOutcome::Answered,
                usage: TokenUsage { prompt: 34, cached: 11, completion: 100, reasoning: 10 },
                coefficient: 500,
                adjusted: AdjustedUsage { prompt: 11, cached: 0, completion: 360, reasoning: 40, total: 411 },
                streamed: true,
                endpoint: Endpoint::Chat,
            },
            served_as: "tiny.Q4_1@practice:00".to_owned(),
            fee_per_token: Nanoton(18),
            params_version: 3,
            multipliers: Some(Multipliers { prompt: 10_000, cached: 1_000, completion: 80_000, reasoning: 80_000 }),
            pays_nothing: Some(true),
            signed_unix_ms: None,
        }
    }

    #[test]
    fn a_job_shows_counts_weights_and_what_they_come_to() {
        let shown = job(&entry());
        assert_eq!((shown.prompt.count, shown.prompt.weight), (23.0, Some(500_000.0)));
        assert_eq!((shown.completion.count, shown.completion.weight), (90.0, Some(4_000_000.0)));
        assert_eq!((shown.earned.nanoton.as_str(), shown.earned.kind), ("7398", Kind::Measured));
        assert_eq!((shown.model.as_str(), shown.key.as_str()), ("tiny.Q4_1", "7"));
        let signed = job(&PricedJob { signed_unix_ms: Some(30), ..entry() });
        assert_eq!((signed.earned.kind, signed.signed_at), (Kind::Signed, Some(30.0)));
    }

    #[test]
    fn what_was_not_written_down_is_unknown() {
        let shown = job(&PricedJob { multipliers: None, ..entry() });
        assert_eq!(shown.prompt.weight, None);
    }

    #[test]
    fn a_place_that_is_no_number_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(&folder.path().join("ledger.sqlite"), 0).unwrap();
        let query = JobQuery { before: Some("x".to_owned()), limit: 10, answered: None, since: None };
        assert_eq!(page(&history, None, &query).unwrap_err().code, ErrorCode::Request);
    }
}
