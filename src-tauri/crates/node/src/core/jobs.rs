//! What was done: counted by the worker's engine, recomputed here, and part of the totals once it is written down.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use accounting::{AdjustedUsage, JobId, JobOutcome, JobRecord, Prices, TokenUsage};
use link::message::{LogLevel, StartedJob};
use ton::RootConfig;

use super::Out;
use super::proxies::Session;
use super::records::JobEntry;

/// Jobs remembered for the credit that a proxy gives for them.
const AWAITED: usize = 1024;
/// Running jobs that are shown one by one; more are only counted.
const MOST_SHOWN: usize = 256;
/// Jobs that may run at once without one being forgotten if the worker dies; far above what any owner allows.
const MOST_OPEN: usize = 4096;
/// The protocol's code with which a proxy reports jobs of a worker that was lost.
const WORKER_LOST: i32 = 651;

/// Jobs of this session that are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// That got an answer, a whole one or the part the time allowed.
    pub answered: u64,
    /// That got none.
    pub failed: u64,
    /// Prompt tokens, as the engine counted them.
    pub prompt_tokens: i64,
    /// Tokens of answers, likewise.
    pub completion_tokens: i64,
    /// What both count for money.
    pub adjusted_tokens: i64,
}

/// A job that runs, as far as the worker has said. `None`: it has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// The proxy's id of it.
    pub id: JobId,
    /// When it was first heard of, Unix time in milliseconds.
    pub started_unix_ms: i64,
    /// Tokens of its prompt.
    pub prompt_tokens: Option<u64>,
    /// Tokens of its answer so far.
    pub completion_tokens: Option<u64>,
}

/// See the module.
pub(super) struct Jobs {
    prices: Prices,
    active: u32,
    busy_since: Option<Duration>,
    busy: Duration,
    running: BTreeMap<JobId, Running>,
    /// Jobs that began and did not end, with the proxies they are for.
    open: BTreeMap<JobId, (StartedJob, Session)>,
    last_end_unix_ms: Option<i64>,
    totals: Totals,
    awaited: VecDeque<(JobId, i64)>,
    corrected: u64,
}

impl Jobs {
    pub(super) fn new(root: &RootConfig) -> Self {
        Self {
            prices: Prices::from(root),
            active: 0,
            busy_since: None,
            busy: Duration::ZERO,
            running: BTreeMap::new(),
            open: BTreeMap::new(),
            last_end_unix_ms: None,
            totals: Totals::default(),
            awaited: VecDeque::new(),
            corrected: 0,
        }
    }

    /// How many run, as the worker says.
    pub(super) fn active(&self) -> u32 {
        self.active
    }

    /// Those that run, the oldest first.
    pub(super) fn running(&self) -> Vec<Running> {
        let mut running: Vec<Running> = self.running.values().copied().collect();
        running.sort_by_key(|job| (job.started_unix_ms, job.id));
        running
    }

    /// When the last one ended, Unix time in milliseconds.
    pub(super) fn last_end_unix_ms(&self) -> Option<i64> {
        self.last_end_unix_ms
    }

    /// The worker says how far a job is.
    pub(super) fn progressed(&mut self, id: JobId, prompt_tokens: u64, completion_tokens: u64, now: super::Now) {
        let counts = (Some(prompt_tokens), Some(completion_tokens));
        if let Some(job) = self.running.get_mut(&id) {
            (job.prompt_tokens, job.completion_tokens) = counts;
        } else if self.running.len() < MOST_SHOWN {
            let (prompt_tokens, completion_tokens) = counts;
            let started_unix_ms = now.unix_ms;
            self.running.insert(id, Running { id, started_unix_ms, prompt_tokens, completion_tokens });
        }
    }

    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    /// How long at least one job ran, up to the last beginning or end of one.
    pub(super) fn busy(&self) -> Duration {
        self.busy
    }

    /// Counts of the worker or credits of a proxy that did not agree with ours.
    pub(super) fn corrected(&self) -> u64 {
        self.corrected
    }

    pub(super) fn started(&mut self, job: StartedJob, proxy: Option<&Session>, active: u32, out: &mut Out<'_>) {
        match proxy {
            None => out.log(LogLevel::Debug, "a job came from a proxy that is not connected"),
            Some(proxy) if self.open.len() < MOST_OPEN => {
                self.open.insert(job.id, (job, proxy.clone()));
            }
            Some(_) => {}
        }
        self.set_active(active, out.now.mono);
    }

    /// What comes back is to be written down.
    pub(super) fn done(
        &mut self,
        mut record: JobRecord,
        active: u32,
        proxy: Option<&Session>,
        out: &mut Out<'_>,
    ) -> Option<JobEntry> {
        self.set_active(active, out.now.mono);
        self.running.remove(&record.id);
        self.open.remove(&record.id);
        self.last_end_unix_ms = Some(out.now.unix_ms);
        let Some(proxy) = proxy else {
            self.corrected = self.corrected.saturating_add(1);
            out.log(LogLevel::Error, "the worker reports a job of a proxy that was never connected: not counted");
            return None;
        };
        let expected = match record.outcome {
            JobOutcome::Answered | JobOutcome::Stopped | JobOutcome::Refused { .. } => {
                record.usage.adjusted(record.coefficient, &self.prices)
            }
            JobOutcome::Failed { .. } => AdjustedUsage::default(),
        };
        // Nothing at all is right too: the time was over before the answer left, so nothing is owed.
        if record.adjusted != expected && record.adjusted != AdjustedUsage::default() {
            self.corrected = self.corrected.saturating_add(1);
            out.log(LogLevel::Error, "the worker's adjusted tokens do not follow from its counts: recomputed");
            record.adjusted = expected;
        }
        if self.awaited.len() >= AWAITED {
            self.awaited.pop_front();
        }
        self.awaited.push_back((record.id, record.adjusted.total));
        Some(JobEntry { record, proxy: proxy.clone() })
    }

    /// A proxy says what it credited for a job.
    pub(super) fn credited(&mut self, id: [u8; 32], tokens: i64, out: &mut Out<'_>) {
        let Some(index) = self.awaited.iter().position(|(awaited, _)| awaited.0 == id) else {
            return;
        };
        if let Some((id, expected)) = self.awaited.remove(index)
            && expected != tokens
        {
            self.corrected = self.corrected.saturating_add(1);
            out.log(LogLevel::Warn, format!("the proxy credits {tokens} tokens for job {id}, not {expected}"));
        }
    }

    /// It is written down: now it counts.
    pub(super) fn written(&mut self, record: &JobRecord) {
        let totals = &mut self.totals;
        match record.outcome {
            JobOutcome::Answered | JobOutcome::Stopped => totals.answered = totals.answered.saturating_add(1),
            JobOutcome::Refused { .. } | JobOutcome::Failed { .. } => totals.failed = totals.failed.saturating_add(1),
        }
        let count = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
        totals.prompt_tokens = totals.prompt_tokens.saturating_add(count(record.usage.prompt));
        totals.completion_tokens = totals.completion_tokens.saturating_add(count(record.usage.completion));
        totals.adjusted_tokens = totals.adjusted_tokens.saturating_add(record.adjusted.total);
    }

    /// The worker is gone, and its jobs with it: nothing of them was finished, so nothing is owed. What comes back is to be written
    /// down.
    pub(super) fn lose_running(&mut self, now: super::Now) -> Vec<JobEntry> {
        self.set_active(0, now.mono);
        let lost = std::mem::take(&mut self.open);
        if !lost.is_empty() {
            self.last_end_unix_ms = Some(now.unix_ms);
        }
        lost.into_values()
            .map(|(job, proxy)| JobEntry {
                record: JobRecord {
                    id: job.id,
                    started_unix_ms: job.started_unix_ms,
                    finished_unix_ms: now.unix_ms,
                    outcome: JobOutcome::Failed { code: WORKER_LOST },
                    usage: TokenUsage::default(),
                    coefficient: job.coefficient,
                    adjusted: AdjustedUsage::default(),
                    streamed: job.streamed,
                    endpoint: job.endpoint,
                },
                proxy,
            })
            .collect()
    }

    fn set_active(&mut self, active: u32, now: Duration) {
        if let Some(since) = self.busy_since.take() {
            self.busy = self.busy.saturating_add(now.saturating_sub(since));
        }
        self.active = active;
        if active == 0 {
            self.running.clear();
        }
        self.busy_since = (active > 0).then_some(now);
    }
}
