//! One running job: what is known of it, what is owed for it, how it ends.

use std::time::Duration;

use accounting::{AdjustedUsage, Endpoint, JobId, JobOutcome, JobRecord, TokenUsage};
use link::LaneId;
use link::message::StartedJob;

use crate::completions::{Answer, FinishReason};
use crate::inference::Cancel;

/// How a job came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All answers are complete.
    Complete,
    /// The owner wants the card back.
    Yield,
    /// Its time is up.
    Deadline,
}

/// What is fixed when a job comes in.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Whose.
    pub lane: LaneId,
    /// The proxy's id of it.
    pub id: [u8; 32],
    /// Which URL.
    pub endpoint: Endpoint,
    /// Coefficient to account with, thousandths.
    pub coefficient: i32,
    /// Events, or one body?
    pub streamed: bool,
    /// When it came, on the app's clock.
    pub started_unix_ms: i64,
}

impl Facts {
    /// What the app is told when it begins.
    pub fn started(&self) -> StartedJob {
        StartedJob {
            id: JobId(self.id),
            endpoint: self.endpoint,
            streamed: self.streamed,
            coefficient: self.coefficient,
            started_unix_ms: self.started_unix_ms,
        }
    }

    /// What the ledger keeps of it. Holds no text.
    pub fn record(
        &self,
        finished_unix_ms: i64,
        outcome: JobOutcome,
        usage: TokenUsage,
        adjusted: AdjustedUsage,
    ) -> JobRecord {
        JobRecord {
            id: JobId(self.id),
            started_unix_ms: self.started_unix_ms,
            finished_unix_ms,
            outcome,
            usage,
            coefficient: self.coefficient,
            adjusted,
            streamed: self.streamed,
            endpoint: self.endpoint,
        }
    }
}

/// A job that the model works on. Holds generated text.
pub struct Running {
    /// What is fixed.
    pub facts: Facts,
    /// The answer so far.
    pub answer: Answer,
    /// Has the HTTP head gone out?
    pub head_sent: bool,
    /// Tells the model's threads to stop.
    pub cancel: Cancel,
    /// When the app was told how far it is.
    pub told: Option<Duration>,
    n: usize,
    prompt_tokens: Vec<u64>,
    completion_tokens: Vec<u64>,
}

impl Running {
    /// A job whose prompts are not read yet: `prompts` of them with `n` answers each.
    pub fn new(facts: Facts, answer: Answer, cancel: Cancel, prompts: usize, n: usize) -> Self {
        Self {
            facts,
            answer,
            head_sent: false,
            cancel,
            told: None,
            n: n.max(1),
            prompt_tokens: vec![0; prompts],
            completion_tokens: vec![0; prompts * n.max(1)],
        }
    }

    /// The prompts are read.
    pub fn begun(&mut self, prompt_tokens: Vec<u64>, echoes: &[impl AsRef<[u8]>]) {
        for (prompt, echo) in echoes.iter().enumerate() {
            for repetition in 0..self.n {
                self.answer.push(prompt * self.n + repetition, echo.as_ref());
            }
        }
        self.prompt_tokens = prompt_tokens;
    }

    /// One answer grew to `completion_tokens`.
    pub fn grew(&mut self, choice: usize, text: &[u8], completion_tokens: u64, finished: Option<FinishReason>) {
        self.answer.push(choice, text);
        if let Some(reason) = finished {
            self.answer.finish(choice, reason);
        }
        if let Some(count) = self.completion_tokens.get_mut(choice) {
            *count = completion_tokens;
        }
    }

    /// Has the model produced anything?
    pub fn has_tokens(&self) -> bool {
        self.completion_tokens.iter().any(|count| *count > 0)
    }

    /// Tokens of its prompts and of its answers so far, for whoever watches; [`Self::usage`] is what counts.
    pub fn progress(&self) -> (u64, u64) {
        (self.prompt_tokens.iter().sum(), self.completion_tokens.iter().sum())
    }

    /// The engine's own counts: every generated token, and each prompt once if any of its answers has begun.
    pub fn usage(&self) -> TokenUsage {
        let prompt = self
            .completion_tokens
            .chunks(self.n)
            .zip(&self.prompt_tokens)
            .filter(|(answers, _)| answers.iter().any(|count| *count > 0))
            .map(|(_, tokens)| tokens)
            .sum();
        TokenUsage { prompt, cached: 0, completion: self.completion_tokens.iter().sum(), reasoning: 0 }
    }
}
