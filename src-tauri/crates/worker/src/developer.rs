//! The subcommands for developers. They run outside of the box and read the model by name.

mod adapters;
mod tune;

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail};
use engine::backend::Work;
use engine::gguf::Limits;
use engine::{Device, Engine, Model, Options, Request, Sampling};
use serde_json::json;
use sha2::{Digest, Sha256};

pub use adapters::adapters;
pub use tune::tune;

/// What `generate` is asked for.
pub struct Generate<'a> {
    /// The model's file.
    pub model: &'a Path,
    /// Where the model runs.
    pub device: Device,
    /// Text to continue.
    pub prompt: &'a str,
    /// Most tokens of the continuation.
    pub tokens: u32,
    /// 0 is greedy.
    pub temperature: f32,
    /// Threads; `None`: the engine's own choice.
    pub threads: Option<usize>,
    /// One JSON line instead of text.
    pub json: bool,
}

/// What `bench` is asked for.
pub struct Bench<'a> {
    /// The model's file.
    pub model: &'a Path,
    /// Where the model runs.
    pub device: Device,
    /// Tokens of the prompt, at least 1.
    pub prompt: u32,
    /// Tokens to generate, at least 2: the first one belongs to the prompt.
    pub generate: u32,
    /// Threads; `None`: the engine's own choice.
    pub threads: Option<usize>,
    /// One JSON line instead of text.
    pub json: bool,
}

/// Continues a raw text, without a template, and writes what came out.
pub fn generate(wanted: &Generate<'_>, out: &mut dyn Write) -> anyhow::Result<()> {
    let model = read(wanted.model)?;
    let tokenizer = model.tokenizer();
    let prompt = tokenizer.encode_prompt(wanted.prompt, true);
    let mut engine = start(model, &wanted.device, prompt.len(), wanted.tokens, wanted.threads)?;
    engine
        .add(Request {
            prompt: prompt.clone(),
            sampling: Sampling {
                temperature: wanted.temperature,
                // Repeatable: the same command gives the same text.
                seed: Sha256::digest(wanted.prompt.as_bytes()).into(),
                ..Sampling::default()
            },
            stop: Vec::new(),
            max_tokens: wanted.tokens,
            constraint: None,
        })
        .context("the engine refuses this request")?;
    let mut tokens = Vec::new();
    let mut text = Vec::new();
    while engine.running() > 0 {
        for output in engine.step() {
            tokens.extend(output.token.filter(|token| !tokenizer.is_end_of_generation(*token)));
            text.extend_from_slice(&output.text);
        }
    }
    check(&engine)?;
    let text = String::from_utf8_lossy(&text);
    if wanted.json {
        writeln!(
            out,
            "{}",
            json!({
                "backend": engine.backend(), "adapter": engine.adapter(),
                "prompt_tokens": prompt, "tokens": tokens, "text": text,
            })
        )?;
    } else {
        writeln!(out, "{text}")?;
    }
    Ok(())
}

/// Measures reading a prompt and generating, separately, and writes the figures.
pub fn bench(wanted: &Bench<'_>, out: &mut dyn Write) -> anyhow::Result<()> {
    let before = Instant::now();
    let model = read(wanted.model)?;
    let (name, quantisation) = (model.name().map(str::to_owned), model.quantisation());
    let tokenizer = model.tokenizer();
    let vocabulary = tokenizer.vocabulary_size();
    let mut engine = start(model, &wanted.device, wanted.prompt as usize, wanted.generate, wanted.threads)?;
    let load_seconds = before.elapsed().as_secs_f64();

    // Tokens that a text could have, spread over the vocabulary by a fixed stride, so that every run reads the same.
    let prompt: Vec<u32> = (0..u64::from(vocabulary))
        .cycle()
        .map(|step| (step * 7919 % u64::from(vocabulary)) as u32)
        .filter(|token| !tokenizer.piece(*token).is_empty())
        .take(wanted.prompt as usize)
        .collect();
    let mut generated = 0u64;
    let mut decoded = 0u64;
    let mut decode_seconds = 0.0;
    let mut prompt_seconds = None;
    let mut work = Work::default();
    // A model that ends its answer early is asked again; only the first prompt is counted.
    while generated < u64::from(wanted.generate) {
        engine
            .add(Request {
                prompt: prompt.clone(),
                sampling: Sampling { temperature: 0.0, ..Sampling::default() },
                stop: Vec::new(),
                max_tokens: wanted.generate - generated as u32,
                constraint: None,
            })
            .context("the engine refuses this request")?;
        let started = Instant::now();
        let mut first = None;
        let mut tokens = 0u64;
        while engine.running() > 0 {
            let decodes = first.is_some();
            for output in engine.step() {
                if output.token.is_some() {
                    tokens += 1;
                    first.get_or_insert_with(Instant::now);
                }
            }
            if let Some(step) = engine.work().filter(|_| decodes) {
                work.dispatches += step.dispatches;
                work.bytes_bound += step.bytes_bound;
            }
        }
        check(&engine)?;
        let Some(first) = first else {
            bail!("the engine gave no token");
        };
        prompt_seconds.get_or_insert((first - started).as_secs_f64());
        decode_seconds += first.elapsed().as_secs_f64();
        decoded += tokens - 1;
        generated += tokens;
    }
    let prompt_seconds = prompt_seconds.unwrap_or(f64::NAN);
    let prompt_rate = f64::from(wanted.prompt) / prompt_seconds;
    let rate = (decoded > 0).then(|| decoded as f64 / decode_seconds);
    // What each token cost a graphics card; nothing on the processor.
    let work = engine.work().is_some().then_some(work).filter(|_| decoded > 0);
    let per_token = |count: fn(Work) -> u64| work.map(|work| count(work) / decoded);
    let (dispatches, bytes) = (per_token(|work| work.dispatches), per_token(|work| work.bytes_bound));
    if wanted.json {
        let figures = json!({
            "model": name, "quantisation": quantisation, "backend": engine.backend(), "adapter": engine.adapter(),
            "threads": wanted.threads, "load_seconds": load_seconds,
            "prompt_tokens": wanted.prompt, "prompt_seconds": prompt_seconds, "prompt_tokens_per_second": prompt_rate,
            "generated_tokens": generated, "decoded_tokens": decoded, "decode_seconds": decode_seconds,
            "tokens_per_second": rate, "dispatches_per_token": dispatches, "bytes_bound_per_token": bytes,
        });
        writeln!(out, "{figures}")?;
    } else {
        let name = name.as_deref().unwrap_or("unnamed model");
        let adapter = engine.adapter().map_or_else(String::new, |adapter| format!(" on {adapter}"));
        writeln!(out, "{name}, {quantisation}, backend {}{adapter}", engine.backend())?;
        writeln!(out, "loading: {load_seconds:.2} s")?;
        writeln!(out, "prompt: {} tokens in {prompt_seconds:.3} s, {prompt_rate:.1} tokens/s", wanted.prompt)?;
        match rate {
            Some(rate) => writeln!(out, "generating: {decoded} tokens in {decode_seconds:.3} s, {rate:.1} tokens/s")?,
            None => writeln!(out, "generating: every answer ended at its first token, so there is no rate")?,
        }
        if let (Some(dispatches), Some(bytes)) = (dispatches, bytes) {
            writeln!(out, "each token: {dispatches} dispatches, {bytes} bytes bound")?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Model> {
    let file = File::open(path).with_context(|| format!("cannot open the model {}", path.display()))?;
    Model::read(&mut BufReader::with_capacity(1024 * 1024, file), Limits::default())
        .with_context(|| format!("cannot use the model {}", path.display()))
}

fn check(engine: &Engine) -> anyhow::Result<()> {
    match engine.fault() {
        None => Ok(()),
        Some(fault) => Err(fault.clone().into()),
    }
}

fn start(
    model: Model,
    device: &Device,
    prompt: usize,
    generate: u32,
    threads: Option<usize>,
) -> anyhow::Result<Engine> {
    let needed = u32::try_from(prompt).unwrap_or(u32::MAX).saturating_add(generate);
    let most = model.context_length();
    if needed > most {
        bail!("{prompt} tokens of prompt and {generate} to generate exceed the model's context of {most}");
    }
    let threads = threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from));
    let options = Options { threads: threads.unwrap_or(1), context: needed.max(1), max_sequences: 1 };
    Engine::on(device, model, options).context("cannot start the engine")
}
