//! Adjusted token counts on the wire.

use accounting::AdjustedUsage;

pub(crate) fn to_wire(used: &AdjustedUsage) -> tl::TokensUsed {
    tl::TokensUsed {
        prompt_tokens_used: used.prompt,
        cached_tokens_used: used.cached,
        completion_tokens_used: used.completion,
        reasoning_tokens_used: used.reasoning,
        total_tokens_used: used.total,
    }
}

pub(crate) fn from_wire(used: &tl::TokensUsed) -> AdjustedUsage {
    AdjustedUsage {
        prompt: used.prompt_tokens_used,
        cached: used.cached_tokens_used,
        completion: used.completion_tokens_used,
        reasoning: used.reasoning_tokens_used,
        total: used.total_tokens_used,
    }
}
