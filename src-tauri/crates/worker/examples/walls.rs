//! What the box costs: how long it takes to close, how fast a model's file is hashed, and how fast it generates inside or outside: `walls inside MODEL`, `walls outside
//! MODEL`. Prints one JSON object. Walls cannot be left again, so each is a process; `cargo xtask bench box` starts them in turn.
#![allow(clippy::print_stdout, reason = "a program for a terminal")]

use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _};
use std::time::Instant;

use anyhow::{Context, bail};
use engine::gguf::Limits;
use engine::{Device, Engine, Model, Options, Request, Sampling};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// Tokens that are generated in a round.
const TOKENS: u32 = 128;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["outside", model] => one(model, false),
        ["inside", model] => one(model, true),
        _ => bail!("wanted: inside or outside, and the model's file"),
    }
}

/// Of the file as it lies in the system's memory, read once before.
fn hashing(mut file: &File) -> anyhow::Result<f64> {
    let mut buffer = vec![0; 1 << 20];
    let mut best = 0.0_f64;
    for _ in 0..3 {
        let (mut hash, begin, mut bytes) = (Sha256::new(), Instant::now(), 0_usize);
        loop {
            let length = file.read(&mut buffer)?;
            if length == 0 {
                break;
            }
            bytes += length;
            hash.update(buffer.get(..length).unwrap_or_default());
        }
        std::hint::black_box(hash.finalize());
        best = best.max(bytes as f64 / 1e6 / begin.elapsed().as_secs_f64());
        file.rewind()?;
    }
    Ok(best)
}

/// One process: closes its walls if it shall, reads the model, generates.
fn one(model: &str, inside: bool) -> anyhow::Result<()> {
    let file = File::open(model)?;
    let hashed = hashing(&file)?;
    // The first thing opened has the number of the pipe, so it is not taken for something left open.
    let begin = Instant::now();
    let mut walls = if inside { Some(sandbox::confine(sandbox::available_memory())?) } else { None };
    let first_step = begin.elapsed();
    let begin = Instant::now();
    if let Some(walls) = &mut walls {
        sandbox::seal(walls, sandbox::Serving::Processor)?;
    }
    let second_step = begin.elapsed();
    let model = Model::read(&mut BufReader::with_capacity(1 << 20, file), Limits::default())?;
    let prompt = model.tokenizer().encode_prompt("The capital of France is", true);
    let mut engine = Engine::on(&Device::Cpu, model, Options { threads: 1, context: 512, max_sequences: 1 })?;
    engine.go_on_past_ends();
    engine.add(Request {
        prompt,
        sampling: Sampling { temperature: 0.0, ..Sampling::default() },
        stop: Vec::new(),
        max_tokens: TOKENS,
        constraint: None,
    })?;
    let mut first = None;
    while engine.running() > 0 {
        if engine.step().iter().any(|output| output.token.is_some()) {
            first.get_or_insert_with(Instant::now);
        }
    }
    let took = first.context("no token")?.elapsed().as_secs_f64();
    println!(
        "{}",
        json!({
            "tokens_per_second": f64::from(TOKENS - 1) / took,
            "first_step_ms": first_step.as_secs_f64() * 1e3,
            "second_step_ms": second_step.as_secs_f64() * 1e3,
            "hashing_mb_per_second": hashed,
        })
    );
    Ok(())
}
