//! How many tokens a job used.

use crate::schema::schema;

schema! {
    /// Tokens of one job as they are billed.
    #[derive(Debug, Default)]
    struct TokensUsed = 0x70c5b15c, "tokensUsed" => "TokensUsed" {
        prompt_tokens_used: i64,
        cached_tokens_used: i64,
        completion_tokens_used: i64,
        reasoning_tokens_used: i64,
        total_tokens_used: i64,
    }
}
