//! One running job: what is known of it, what is owed for it, how it ends.

use std::time::Duration;

use accounting::{AdjustedUsage, Endpoint, JobId, JobOutcome, JobRecord, TokenUsage};
use engine::TokenCounts;
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
    counts: Vec<TokenCounts>,
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
            counts: vec![TokenCounts::default(); prompts * n.max(1)],
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

    /// One answer grew; `counts` are those up to here.
    pub fn grew(&mut self, choice: usize, text: &[u8], counts: TokenCounts, finished: Option<FinishReason>) {
        self.answer.push(choice, text);
        if let Some(reason) = finished {
            self.answer.finish(choice, reason);
        }
        if let Some(known) = self.counts.get_mut(choice) {
            *known = counts;
        }
    }

    /// Has the model produced anything?
    pub fn has_tokens(&self) -> bool {
        self.counts.iter().any(|counts| counts.completion > 0)
    }

    /// Tokens of its prompts and of its answers so far, for whoever watches; [`Self::usage`] is what counts.
    pub fn progress(&self) -> (u64, u64) {
        (self.prompt_tokens.iter().sum(), self.counts.iter().map(|counts| counts.completion).sum())
    }

    /// The engine's own counts: every generated token, and each prompt once if any of its answers has begun. Of a prompt that is
    /// cached which the answer that had to compute the most of it found.
    pub fn usage(&self) -> TokenUsage {
        let mut usage = TokenUsage::default();
        for (answers, prompt) in self.counts.chunks(self.n).zip(&self.prompt_tokens) {
            let begun = answers.iter().filter(|counts| counts.completion > 0);
            if let Some(cached) = begun.map(|counts| counts.cached).min() {
                usage.prompt += prompt;
                usage.cached += cached.min(*prompt);
            }
        }
        usage.completion = self.counts.iter().map(|counts| counts.completion).sum();
        usage.reasoning = self.counts.iter().map(|counts| counts.reasoning).sum();
        usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::completions::Opening;

    #[test]
    fn a_prompt_counts_once_and_is_cached_as_far_as_none_of_its_answers_computed_it() {
        let opening = Opening {
            endpoint: Endpoint::Completions,
            stream: false,
            request_id: [0; 32],
            model: "practice/tiny".to_owned(),
            created: 0,
            choices: 6,
        };
        let facts = Facts {
            lane: LaneId(1),
            id: [0; 32],
            endpoint: Endpoint::Completions,
            coefficient: 1000,
            streamed: false,
            started_unix_ms: 0,
        };
        let mut job = Running::new(facts, Answer::new(opening), Cancel::new(), 3, 2);
        job.begun(vec![100, 50, 70], &[[0_u8; 0]; 3]);
        assert_eq!(job.usage(), TokenUsage::default());
        let counts = |cached, completion, reasoning| TokenCounts { prompt: 100, cached, completion, reasoning };
        // The first computed what was not there before, the second found nearly all.
        job.grew(0, b"", counts(32, 7, 5), None);
        job.grew(1, b"", counts(96, 4, 0), None);
        // Of the second prompt only one answer has begun, of the third none.
        job.grew(3, b"", counts(64, 1, 1), None);
        assert_eq!(job.usage(), TokenUsage { prompt: 150, cached: 32 + 50, completion: 12, reasoning: 6 });
    }
}
