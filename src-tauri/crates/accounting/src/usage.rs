//! Tokens, and what they count.

use serde::{Deserialize, Serialize};
use ton::{Nanoton, RootConfig};

/// Tokens of one job, as an engine counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
pub struct TokenUsage {
    /// Of the prompt, cached ones included.
    pub prompt: u64,
    /// Of the prompt, those that were not computed anew.
    pub cached: u64,
    /// Of the answer, reasoning included.
    pub completion: u64,
    /// Of the answer, those of reasoning.
    pub reasoning: u64,
}

/// Tokens of one job, as they are charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
pub struct AdjustedUsage {
    /// Of the prompt, without cached ones.
    pub prompt: i64,
    /// Cached ones.
    pub cached: i64,
    /// Of the answer, without reasoning.
    pub completion: i64,
    /// Of reasoning.
    pub reasoning: i64,
    /// The sum.
    pub total: i64,
}

/// What tokens cost in a network. Multipliers are ten-thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Prices {
    /// What a worker gets for an adjusted token.
    pub fee_per_token: Nanoton,
    /// What a client pays for one.
    pub price_per_token: Nanoton,
    /// What a token of the prompt counts.
    pub prompt_multiplier: u32,
    /// What a cached one counts.
    pub cached_multiplier: u32,
    /// What a token of the answer counts.
    pub completion_multiplier: u32,
    /// What one of reasoning counts.
    pub reasoning_multiplier: u32,
}

impl From<&RootConfig> for Prices {
    fn from(root: &RootConfig) -> Self {
        Self {
            fee_per_token: root.worker_fee_per_token,
            price_per_token: root.price_per_token,
            prompt_multiplier: root.prompt_tokens_price_multiplier,
            cached_multiplier: root.cached_tokens_price_multiplier,
            completion_multiplier: root.completion_tokens_price_multiplier,
            reasoning_multiplier: root.reasoning_tokens_price_multiplier,
        }
    }
}

/// Tokens adjusted by a coefficient (thousandths) and a multiplier (ten-thousandths), towards zero.
///
/// The genuine programs compute in doubles, from left to right. It is done here in the same steps, because another order rounds
/// differently and both sides must come to the same number.
pub fn adjusted(tokens: i64, coefficient: i32, multiplier: u32) -> i64 {
    (tokens as f64 * (f64::from(coefficient) * 0.001) * f64::from(multiplier) * 0.0001) as i64
}

impl TokenUsage {
    /// What is charged for it.
    pub fn adjusted(&self, coefficient: i32, prices: &Prices) -> AdjustedUsage {
        let tokens = |all: u64, part: u64| {
            let count = |tokens| i64::try_from(tokens).unwrap_or(i64::MAX);
            count(all).saturating_sub(count(part))
        };
        let prompt = adjusted(tokens(self.prompt, self.cached), coefficient, prices.prompt_multiplier);
        let cached = adjusted(tokens(self.cached, 0), coefficient, prices.cached_multiplier);
        let completion = adjusted(tokens(self.completion, self.reasoning), coefficient, prices.completion_multiplier);
        let reasoning = adjusted(tokens(self.reasoning, 0), coefficient, prices.reasoning_multiplier);
        // Exact, then held within the range: what is above must not hide what is below, in whatever order they come.
        let sum: i128 = [prompt, cached, completion, reasoning].map(i128::from).iter().sum();
        let total = sum.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
        AdjustedUsage { prompt, cached, completion, reasoning, total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICES: Prices = Prices {
        fee_per_token: Nanoton(1),
        price_per_token: Nanoton(2),
        prompt_multiplier: 10_000,
        cached_multiplier: 10_000,
        completion_multiplier: 10_000,
        reasoning_multiplier: 10_000,
    };

    #[test]
    fn the_documented_example_comes_out() {
        let usage = TokenUsage { prompt: 34, cached: 11, completion: 100, reasoning: 10 };
        let expected = AdjustedUsage { prompt: 23, cached: 11, completion: 90, reasoning: 10, total: 134 };
        assert_eq!(usage.adjusted(1_000, &PRICES), expected);
    }

    #[test]
    fn usual_coefficients_and_multipliers_round_as_whole_numbers_do() {
        for coefficient in [1_i32, 100, 500, 900, 1_000, 1_100, 1_500, 3_000, 4_000] {
            for tokens in 0..20_000_i64 {
                assert_eq!(adjusted(tokens, coefficient, 10_000), tokens * i64::from(coefficient) / 1_000);
            }
        }
        for multiplier in [1_000_u32, 2_500, 5_000, 20_000, 80_000] {
            for tokens in 0..20_000_i64 {
                assert_eq!(adjusted(tokens, 1_000, multiplier), tokens * i64::from(multiplier) / 10_000);
            }
        }
    }

    #[test]
    fn more_cached_than_prompt_counts_below_zero_and_extremes_do_not_wrap() {
        let usage = TokenUsage { prompt: 1, cached: 3, completion: 0, reasoning: 0 };
        assert_eq!(usage.adjusted(1_000, &PRICES).prompt, -2);
        let most = TokenUsage { prompt: u64::MAX, cached: 0, completion: u64::MAX, reasoning: 0 };
        assert_eq!(most.adjusted(i32::MAX, &PRICES).total, i64::MAX);
        assert_eq!(most.adjusted(i32::MIN, &PRICES).total, i64::MIN);
    }
}
