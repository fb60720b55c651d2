//! From logits to one token.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// How the next token is chosen. The fields are those of the OpenAI-like interfaces.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// 0 picks the likeliest token; 1 samples from the model's own distribution.
    pub temperature: f32,
    /// Keep the likeliest tokens that together have this probability; 1 keeps all.
    pub top_p: f32,
    /// Taken off a logit once for every time that its token was already generated.
    pub frequency_penalty: f32,
    /// Taken off a logit if its token was already generated.
    pub presence_penalty: f32,
    /// Where the randomness comes from: SHA-256 of the request id.
    pub seed: [u8; 32],
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 1.0, top_p: 1.0, frequency_penalty: 0.0, presence_penalty: 0.0, seed: [0; 32] }
    }
}

/// Chooses a token: a pure function of its arguments, so that an answer can be replayed. `position` is the index of the token
/// in the answer, `history` what was generated before it (the prompt is not penalised).
///
/// Penalties come first, then temperature, then `top_p`. Of equally likely tokens the lowest id wins. Logits that are not
/// numbers count as impossible; if all are, or there are none, the result is 0.
pub fn sample(logits: &[f32], sampling: &Sampling, position: u64, history: &[u32]) -> u32 {
    let penalties = penalties(sampling, history);
    let logit = |id: usize, raw: f32| {
        let logit = penalties.get(&(id as u32)).map_or(raw, |penalty| raw - penalty);
        if logit.is_nan() { f32::NEG_INFINITY } else { logit }
    };
    let mut best = (0, f32::NEG_INFINITY);
    for (id, &raw) in logits.iter().enumerate() {
        let logit = logit(id, raw);
        if logit > best.1 {
            best = (id, logit);
        }
    }
    let (best, highest) = best;
    // Written so that a temperature that is no number is greedy as well.
    if !(sampling.temperature > 0.0 && highest.is_finite()) {
        return best as u32;
    }
    let temperature = f64::from(sampling.temperature);
    let weights: Vec<f64> =
        logits.iter().enumerate().map(|(id, &raw)| (f64::from(logit(id, raw) - highest) / temperature).exp()).collect();
    let total: f64 = weights.iter().sum();
    let draw = uniform(&sampling.seed, position);
    if sampling.top_p < 1.0 {
        choose(&nucleus(&weights, total, f64::from(sampling.top_p)), draw).unwrap_or(best as u32)
    } else {
        let all: Vec<(f64, u32)> = weights.into_iter().zip(0..).collect();
        choose(&all, draw).unwrap_or(best as u32)
    }
}

fn penalties(sampling: &Sampling, history: &[u32]) -> BTreeMap<u32, f32> {
    let mut penalties = BTreeMap::new();
    if sampling.frequency_penalty != 0.0 || sampling.presence_penalty != 0.0 {
        for &token in history {
            *penalties.entry(token).or_insert(sampling.presence_penalty) += sampling.frequency_penalty;
        }
    }
    penalties
}

/// The likeliest tokens, in falling order, until their share of the total reaches `top_p`; at least one.
fn nucleus(weights: &[f64], total: f64, top_p: f64) -> Vec<(f64, u32)> {
    // Tokens below this line have less than `1 - top_p` together, so none of them is needed: far fewer are left to sort.
    let line = total * (1.0 - top_p) / weights.len() as f64;
    let mut likely: Vec<(f64, u32)> = weights.iter().copied().zip(0..).filter(|&(weight, _)| weight >= line).collect();
    likely.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut share = 0.0;
    let mut kept = 0;
    for (weight, _) in &likely {
        share += weight / total;
        kept += 1;
        if share >= top_p {
            break;
        }
    }
    likely.truncate(kept);
    likely
}

fn choose(candidates: &[(f64, u32)], draw: f64) -> Option<u32> {
    let total: f64 = candidates.iter().map(|(weight, _)| weight).sum();
    let mut left = draw * total;
    for &(weight, token) in candidates {
        left -= weight;
        if left < 0.0 {
            return Some(token);
        }
    }
    candidates.iter().rev().find(|(weight, _)| *weight > 0.0).map(|&(_, token)| token)
}

/// A number from 0 up to, not including, 1: the first 53 bits of SHA-256 over the seed and the position.
fn uniform(seed: &[u8; 32], position: u64) -> f64 {
    let digest = Sha256::new().chain_update(seed).chain_update(position.to_le_bytes()).finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    (u64::from_be_bytes(first) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeded(byte: u8) -> Sampling {
        Sampling { seed: [byte; 32], ..Sampling::default() }
    }

    fn shares(sampling: &Sampling, logits: &[f32]) -> Vec<f64> {
        let mut counts = vec![0.0; logits.len()];
        for position in 0..20_000 {
            counts[sample(logits, sampling, position, &[]) as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    #[test]
    fn temperature_zero_takes_the_likeliest_and_of_equals_the_first() {
        let greedy = Sampling { temperature: 0.0, ..Sampling::default() };
        assert_eq!(sample(&[0.5, 3.0, 3.0, -1.0], &greedy, 7, &[1, 1, 1]), 1);
        assert_eq!(sample(&[f32::NAN, -5.0, f32::NEG_INFINITY], &greedy, 0, &[]), 1);
        assert_eq!(sample(&[f32::NAN, f32::NAN], &Sampling::default(), 0, &[]), 0);
        assert_eq!(sample(&[], &Sampling::default(), 0, &[]), 0);
    }

    #[test]
    fn the_same_seed_and_position_give_the_same_token_and_others_differ() {
        let logits: Vec<f32> = (0..100).map(|id| (id % 7) as f32 * 0.1).collect();
        let run = |seed| (0..32).map(|at| sample(&logits, &seeded(seed), at, &[])).collect::<Vec<_>>();
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        assert!(run(1).iter().any(|token| *token != run(1)[0]));
    }

    #[test]
    fn tokens_are_drawn_as_often_as_the_distribution_says() {
        let logits = [0.5_f32.ln(), 0.3_f32.ln(), 0.2_f32.ln()];
        for (share, wanted) in shares(&seeded(3), &logits).iter().zip([0.5, 0.3, 0.2]) {
            assert!((share - wanted).abs() < 0.015, "{share} instead of {wanted}");
        }
        let sharper = Sampling { temperature: 0.5, ..seeded(4) };
        for (share, wanted) in shares(&sharper, &logits).iter().zip([25.0 / 38.0, 9.0 / 38.0, 4.0 / 38.0]) {
            assert!((share - wanted).abs() < 0.015, "{share} instead of {wanted}");
        }
    }

    #[test]
    fn top_p_keeps_the_token_that_crosses_the_line_and_never_none() {
        let logits = [0.2_f32.ln(), 0.5_f32.ln(), 0.3_f32.ln()];
        let kept = |top_p| {
            let counts = shares(&Sampling { top_p, ..seeded(5) }, &logits);
            counts.iter().map(|share| *share > 0.0).collect::<Vec<_>>()
        };
        assert_eq!(kept(0.0), [false, true, false]);
        assert_eq!(kept(-1.0), [false, true, false]);
        assert_eq!(kept(0.4), [false, true, false]);
        assert_eq!(kept(0.6), [false, true, true]);
        assert_eq!(kept(0.9), [true, true, true]);
        assert_eq!(kept(1.0), [true, true, true]);
        assert_eq!(sample(&[0.0; 4], &Sampling { top_p: 0.01, ..seeded(6) }, 0, &[]), 0, "of equals the first");
    }

    #[test]
    fn frequency_counts_every_time_and_presence_counts_once() {
        let greedy = Sampling { temperature: 0.0, ..Sampling::default() };
        let frequency = Sampling { frequency_penalty: 0.6, ..greedy };
        assert_eq!(sample(&[1.0, 0.0], &frequency, 0, &[0]), 0);
        assert_eq!(sample(&[1.0, 0.0], &frequency, 0, &[0, 0]), 1);
        let presence = Sampling { presence_penalty: 0.6, ..greedy };
        assert_eq!(sample(&[1.0, 0.0], &presence, 0, &[0, 0, 0]), 0);
        assert_eq!(sample(&[0.5, 0.0], &presence, 0, &[0]), 1);
        let bonus = Sampling { presence_penalty: -1.0, ..greedy };
        assert_eq!(sample(&[0.5, 0.0], &bonus, 0, &[1]), 1);
    }
}
