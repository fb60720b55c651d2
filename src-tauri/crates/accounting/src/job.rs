//! What is remembered of a job.

use crate::{AdjustedUsage, TokenUsage};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The proxy's random id of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(pub [u8; 32]);

/// 64 hex digits.
impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Which interface the customer used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Endpoint {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Completions,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum JobOutcome {
    /// With a whole answer.
    Answered,
    /// With an HTTP answer that says why not.
    Refused {
        /// Its status.
        status: u16,
    },
    /// With a part of an answer: the time was up, or the owner wanted the card.
    Stopped,
    /// With an error message of the protocol, uncharged.
    Failed {
        /// Its code.
        code: i32,
    },
}

/// A job that is over. Counts only, never a prompt or an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// The proxy's id of it.
    pub id: JobId,
    /// When it came, Unix time in milliseconds.
    pub started_unix_ms: i64,
    /// When it was over.
    pub finished_unix_ms: i64,
    /// How it ended.
    pub outcome: JobOutcome,
    /// What the engine counted.
    pub usage: TokenUsage,
    /// The coefficient it ran under, thousandths.
    pub coefficient: i32,
    /// What was charged.
    pub adjusted: AdjustedUsage,
    /// Whether the answer left token by token.
    pub streamed: bool,
    /// Which interface the customer used.
    pub endpoint: Endpoint,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_in_hex() {
        assert_eq!(JobId([0xab; 32]).to_string(), "ab".repeat(32));
    }
}
