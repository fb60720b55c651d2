//! From logits to one token.

use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

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

/// The most tokens that sampling chooses from: the likeliest, as with `top_k` of the usual engines.
///
/// A graphics card then has to hand out 64 numbers and not the logits of a whole vocabulary; and every backend draws from the same
/// set, so an answer does not depend on where it was computed but for the last bits of its logits. What is cut off is unlikely:
/// less than one in sixty-five each, and nonsense for the most part.
pub const MAX_CANDIDATES: usize = 64;

/// The likeliest tokens of one place in an answer. Not printable, and overwritten at its end: it is what the answer is made of.
#[derive(Clone, Default, PartialEq)]
pub struct Candidates {
    /// Id and logit after penalties, in falling order, of equals the lower id first. At most [`MAX_CANDIDATES`]; none whose logit
    /// is negative infinity or no number.
    pub likeliest: Vec<(u32, f32)>,
    /// Logarithm of the sum of the exponentials of all logits, those that are no candidates included: a candidate's probability
    /// at temperature 1 is `exp(logit - log_sum_exp)`.
    pub log_sum_exp: f32,
}

impl Zeroize for Candidates {
    fn zeroize(&mut self) {
        self.likeliest.zeroize();
        self.log_sum_exp.zeroize();
    }
}

impl Drop for Candidates {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl Candidates {
    /// Finds them among the logits of a whole vocabulary.
    pub fn of(logits: impl Iterator<Item = f32> + Clone) -> Self {
        let mut likeliest: Vec<(u32, f32)> = Vec::with_capacity(MAX_CANDIDATES + 1);
        let mut line = f32::NEG_INFINITY;
        for (id, logit) in (0..).zip(logits.clone()) {
            // Written so that a logit that is no number falls out.
            let above = logit > line;
            if !above {
                continue;
            }
            let at = likeliest.partition_point(|&(_, other)| other >= logit);
            likeliest.insert(at, (id, logit));
            if likeliest.len() > MAX_CANDIDATES {
                likeliest.pop();
            }
            if likeliest.len() == MAX_CANDIDATES {
                line = likeliest.last().map_or(line, |&(_, logit)| logit);
            }
        }
        let highest = likeliest.first().map_or(f32::NEG_INFINITY, |&(_, logit)| logit);
        let sum: f64 = logits.filter(|logit| !logit.is_nan()).map(|logit| f64::from(logit - highest).exp()).sum();
        let log_sum_exp = if highest.is_finite() { highest + sum.ln() as f32 } else { highest };
        Self { likeliest, log_sum_exp }
    }
}

/// The likeliest token of a whole vocabulary; of equals the lowest id, and 0 if there is none.
pub(crate) fn likeliest(logits: impl Iterator<Item = f32>) -> u32 {
    let mut best = (0, f32::NEG_INFINITY);
    for (id, logit) in (0..).zip(logits) {
        if logit > best.1 {
            best = (id, logit);
        }
    }
    best.0
}

impl Sampling {
    /// Whether the likeliest token is always the one, so that nothing else need be known.
    pub fn is_greedy(&self) -> bool {
        // Written so that a temperature that is no number is greedy as well.
        let random = self.temperature > 0.0;
        !random
    }

    /// What to take off which logit, given what was generated so far, in the order of tokens. No token comes twice.
    pub fn penalties(&self, history: &[u32]) -> Zeroizing<Vec<(u32, f32)>> {
        if self.frequency_penalty == 0.0 && self.presence_penalty == 0.0 {
            return Zeroizing::default();
        }
        let mut sorted = Zeroizing::new(history.to_vec());
        sorted.sort_unstable();
        // Room for all: a list that grows would leave copies behind.
        let mut penalties: Zeroizing<Vec<(u32, f32)>> = Zeroizing::new(Vec::with_capacity(sorted.len()));
        for &token in sorted.iter() {
            match penalties.last_mut() {
                Some((last, amount)) if *last == token => *amount += self.frequency_penalty,
                _ => penalties.push((token, self.presence_penalty + self.frequency_penalty)),
            }
        }
        penalties
    }

    /// Chooses a token: a pure function of its arguments, so that an answer can be replayed. `position` is the index of the token
    /// in the answer.
    ///
    /// Penalties came first, in the candidates' logits (the prompt is not penalised); then the 64 likeliest were taken; now comes
    /// temperature, and `top_p` last, as a share of what the candidates have together. If there is no candidate the result is 0.
    pub fn choose(&self, candidates: &Candidates, position: u64) -> u32 {
        let Some(&(best, highest)) = candidates.likeliest.first() else { return 0 };
        if self.is_greedy() || !highest.is_finite() {
            return best;
        }
        let temperature = f64::from(self.temperature);
        let weight = |&(token, logit): &(u32, f32)| ((f64::from(logit - highest) / temperature).exp(), token);
        let mut weights: Zeroizing<Vec<(f64, u32)>> = Zeroizing::new(candidates.likeliest.iter().map(weight).collect());
        if self.top_p < 1.0 {
            cut(&mut weights, f64::from(self.top_p));
        }
        draw(&weights, uniform(&self.seed, position)).unwrap_or(best)
    }
}

/// Chooses a token from the logits of a whole vocabulary: penalties for what was generated before, then
/// [`Candidates::of`] and [`Sampling::choose`]. Logits that are not numbers count as impossible; if all are, or there are none, the
/// result is 0.
pub fn sample(logits: &[f32], sampling: &Sampling, position: u64, history: &[u32]) -> u32 {
    let mut logits = logits.to_vec();
    for &(token, amount) in sampling.penalties(history).iter() {
        if let Some(logit) = logits.get_mut(token as usize) {
            *logit -= amount;
        }
    }
    let logits = logits.into_iter();
    if sampling.is_greedy() { likeliest(logits) } else { sampling.choose(&Candidates::of(logits), position) }
}

/// Keeps the likeliest, which come first, until their share of the total reaches `top_p`; at least one.
fn cut(weights: &mut Vec<(f64, u32)>, top_p: f64) {
    let total: f64 = weights.iter().map(|(weight, _)| weight).sum();
    let mut share = 0.0;
    let mut kept = 0;
    for (weight, _) in weights.iter() {
        share += weight / total;
        kept += 1;
        if share >= top_p {
            break;
        }
    }
    weights.truncate(kept);
}

fn draw(weights: &[(f64, u32)], draw: f64) -> Option<u32> {
    let total: f64 = weights.iter().map(|(weight, _)| weight).sum();
    let mut left = draw * total;
    for &(weight, token) in weights {
        left -= weight;
        if left < 0.0 {
            return Some(token);
        }
    }
    weights.iter().rev().find(|(weight, _)| *weight > 0.0).map(|&(_, token)| token)
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
