//! The subcommands for developers. They run outside of the box and read the model by name.

mod adapters;
mod bench;
mod tune;

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;

use anyhow::{Context, bail};
use engine::backend::PAGE_TOKENS;
use engine::gguf::Limits;
use engine::{Device, Engine, Model, Options, Request, Sampling};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::inference::computing_threads;

pub use adapters::adapters;
#[cfg(windows)]
pub use adapters::cards_in_walls;
pub use bench::{Bench, bench};
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

/// Continues a raw text, without a template, and writes what came out.
pub fn generate(wanted: &Generate<'_>, out: &mut dyn Write) -> anyhow::Result<()> {
    let model = read(wanted.model)?;
    let tokenizer = model.tokenizer();
    let prompt = tokenizer.encode_prompt(wanted.prompt, true);
    let mut engine = start(model, &wanted.device, (prompt.len(), wanted.tokens), 1, wanted.threads)?;
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

fn read(path: &Path) -> anyhow::Result<Model> {
    let file = File::open(path).with_context(|| format!("cannot open the model {}", path.display()))?;
    let limits = Limits { memory: crate::memory::room_now(), ..Limits::default() };
    Model::read(&mut BufReader::with_capacity(1024 * 1024, file), limits)
        .with_context(|| format!("cannot use the model {}", path.display()))
}

fn check(engine: &Engine) -> anyhow::Result<()> {
    match engine.fault() {
        None => Ok(()),
        Some(fault) => Err(fault.clone().into()),
    }
}

/// An engine for so many sequences at a time of (prompt, answer) tokens.
fn start(
    model: Model,
    device: &Device,
    (prompt, answer): (usize, u32),
    sequences: usize,
    threads: Option<usize>,
) -> anyhow::Result<Engine> {
    let needed = u32::try_from(prompt).unwrap_or(u32::MAX).saturating_add(answer);
    let most = model.context_length();
    if needed > most {
        bail!("{prompt} tokens of prompt and {answer} to generate exceed the model's context of {most}");
    }
    if *device == Device::Cpu {
        // All of them at once, and before any of it is taken. Of a card its driver is asked.
        let pages = (needed as usize).div_ceil(PAGE_TOKENS).saturating_mul(sequences);
        model.admit_on_processor(pages.saturating_mul(PAGE_TOKENS)).context("cannot start the engine")?;
    }
    let options = Options { threads: computing_threads(threads), context: needed.max(1), max_sequences: sequences };
    Engine::on(device, model, options).context("cannot start the engine")
}
