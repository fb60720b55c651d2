//! The whole model.

use super::*;
use crate::cpu::Cpu;

fn logits(backend: &mut dyn Backend, tokens: &[u32]) -> Vec<Vec<f32>> {
    let pages = backend.reserve(tokens.len()).unwrap();
    let rows: Vec<Row> = (0..)
        .zip(tokens)
        .map(|(position, &token)| Row { token, position, sequence: 0, wanted: Wanted::Logits })
        .collect();
    let found = backend.forward(&Batch { rows: &rows, sequences: &[&pages], penalties: &[] }).unwrap();
    backend.release(pages);
    let only = |found| match found {
        Found::Logits(logits) => logits,
        _ => panic!("logits were wanted"),
    };
    found.into_iter().map(only).collect()
}

/// Largest difference of two lists of logits, and the divergence of the distributions they stand for.
fn difference(a: &[f32], b: &[f32]) -> (f32, f64) {
    let shares = |logits: &[f32]| {
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - highest).exp()).collect();
        let total: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / total).collect::<Vec<f64>>()
    };
    let most = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let divergence = shares(a).iter().zip(shares(b)).map(|(p, q)| p * (p.max(1e-30) / q.max(1e-30)).ln()).sum();
    (most, divergence)
}

#[test]
fn the_tiny_models_logits_are_those_of_the_cpu() {
    let tokens: Vec<u32> = (0..70).map(|n| 3 + n * 7 % 500).collect();
    let wanted = logits(&mut Cpu::new(tiny(), 2, 128), &tokens);
    for adapter in adapters() {
        let mut card = open(tiny(), adapter, 128, &Tuning::default());
        let got = logits(&mut card, &tokens);
        assert_eq!(got.len(), wanted.len());
        let mut worst = (0.0_f32, 0.0_f64);
        for (position, (got, wanted)) in got.iter().zip(&wanted).enumerate() {
            let (most, divergence) = difference(wanted, got);
            worst = (worst.0.max(most), worst.1.max(divergence));
            assert!(divergence < 1e-2, "position {position} on {}: {most}, {divergence}", card.gpu.about.describe());
        }
        println!("{}: logits differ by {} at most, divergence {:e}", card.gpu.about.name, worst.0, worst.1);
    }
}
