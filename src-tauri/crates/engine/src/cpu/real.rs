//! Real models on a real text, against what llama.cpp computes (recorded by `tests/record/real.mjs`).

use std::path::PathBuf;

use super::*;
use crate::backend::Row;
use crate::gguf::Limits;

/// Tokens computed together.
const CHUNK: usize = 16;

struct Recorded {
    tokens: Vec<u32>,
    rows: Vec<RecordedRow>,
}

struct RecordedRow {
    /// Ids and logarithms of probabilities, the highest first.
    likeliest: Vec<(usize, f64)>,
    /// The logarithm of the probability of the token that follows.
    follows: Option<f64>,
}

fn recorded(name: &str) -> Recorded {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/engine/real");
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    let list = |value: &serde_json::Value| value.as_array().unwrap().clone();
    let rows = list(&all["rows"]).into_iter().map(|row| RecordedRow {
        likeliest: list(&row["likeliest"])
            .iter()
            .zip(list(&row["logs"]))
            .map(|(id, log)| (id.as_u64().unwrap() as usize, log.as_f64().unwrap()))
            .collect(),
        follows: row["follows"].as_f64(),
    });
    Recorded {
        rows: rows.collect(),
        tokens: list(&all["tokens"]).iter().map(|token| token.as_u64().unwrap() as u32).collect(),
    }
}

/// How far ours is from theirs.
#[derive(Debug)]
struct Apart {
    /// Mean divergence (Kullback-Leibler) over their 64 likeliest tokens and all others together.
    divergence: f64,
    /// Share of places with the same likeliest token.
    agreement: f64,
    /// Our perplexity as a ratio of theirs.
    perplexity: f64,
}

fn compare(backend: &mut dyn Backend, theirs: &Recorded) -> Apart {
    let pages = backend.reserve(theirs.tokens.len()).unwrap();
    let (mut divergence, mut agree, mut loss, mut followed) = (0.0, 0_usize, 0.0, 0_usize);
    let rows: Vec<Row> = (0..)
        .zip(&theirs.tokens)
        .map(|(position, &token)| Row { token, position, sequence: 0, prompt: false, wanted: Wanted::Logits })
        .collect();
    for (index, chunk) in rows.chunks(CHUNK).enumerate() {
        let found = backend.forward(&Batch { rows: chunk, sequences: &[&pages], penalties: &[], masks: &[] }).unwrap();
        for (offset, found) in found.into_iter().enumerate() {
            let at = index * CHUNK + offset;
            let Found::Logits(logits) = found else { panic!("logits were wanted") };
            let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = logits.iter().map(|&logit| f64::from(logit - highest).exp()).sum();
            let log = |id: usize| f64::from(logits[id] - highest) - sum.ln();
            let row = &theirs.rows[at];
            let (mut rest, mut our_rest) = (1.0, 1.0);
            for &(id, wanted) in &row.likeliest {
                divergence += wanted.exp() * (wanted - log(id));
                rest -= wanted.exp();
                our_rest -= log(id).exp();
            }
            if rest > 1e-6 && our_rest > 1e-6 {
                divergence += rest * (rest / our_rest).ln();
            }
            let ours = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]).then(b.cmp(&a)));
            agree += usize::from(ours == row.likeliest.first().map(|&(id, _)| id));
            if let (Some(wanted), Some(&next)) = (row.follows, theirs.tokens.get(at + 1)) {
                loss += wanted - log(next as usize);
                followed += 1;
            }
        }
    }
    backend.release(pages);
    let count = theirs.tokens.len() as f64;
    Apart {
        divergence: divergence / count,
        agreement: agree as f64 / count,
        perplexity: (loss / followed as f64).exp(),
    }
}

/// `None` where the file is not there, unless it must be.
fn model(file: &str, must: &str) -> Option<Model> {
    let path = std::env::var_os("MODELS").map(|folder| PathBuf::from(folder).join(file)).filter(|path| path.exists());
    let Some(path) = path else {
        assert!(std::env::var_os(must).is_none(), "{file} must be in the folder MODELS");
        println!("skipped: no {file} in the folder MODELS");
        return None;
    };
    Some(Model::read(&mut std::io::BufReader::new(std::fs::File::open(path).unwrap()), Limits::default()).unwrap())
}

fn check(model: Model, name: &str, most: f64) {
    let theirs = recorded(name);
    let apart = compare(&mut Cpu::new(model, 2, theirs.tokens.len()), &theirs);
    println!("{name}, {} tokens: {apart:?}", theirs.tokens.len());
    assert!(apart.divergence <= most, "{apart:?}");
    assert!(apart.agreement >= 0.99, "{apart:?}");
    assert!((apart.perplexity - 1.0).abs() <= 0.005, "{apart:?}");
}

#[test]
fn smollm2_reads_a_text_as_llama_cpp_does() {
    let Some(model) = model("SmolLM2-135M-Instruct.Q4_1.gguf", "CHRYSALIS_REQUIRE_VOCABULARIES") else { return };
    check(model, "smollm2.json", 1e-3);
}

/// All weights of the file with their values, as floats on both sides. Where activations are rounded to bytes, this small model
/// answers to the last digit of any sum: scaled by a part in five millions, it is further from itself than from llama.cpp.
#[test]
fn gemma_reads_a_text_as_llama_cpp_does() {
    let Some(model) = model("gemma-3-270m-q4_k_m.gguf", "CHRYSALIS_REQUIRE_GEMMA") else { return };
    check(model.widened(), "gemma3.json", 1e-4);
}
