//! `tune`: a graphics card tried out, as at the first start of the app; nothing is stored.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use engine::tune::{Outcome, Progress, Session};
use engine::{Device, Engine, Options};
use serde_json::json;

/// Tries a card out with a model, says meanwhile what is done, and writes what came of it.
pub fn tune(
    model: &Path,
    adapter: Option<String>,
    context: u32,
    as_json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let model = super::read(model)?;
    let started = Instant::now();
    let mut said = Vec::new();
    let mut progress = |now| said.push((now, started.elapsed().as_secs_f64()));
    let mut session = Session { stored: &[], progress: &mut progress };
    let options = Options { threads: 1, context, max_sequences: 1 };
    let (_, outcome) =
        Engine::tuned(&Device::Wgpu { adapter }, model, options, &mut session).context("cannot start the engine")?;
    let seconds = started.elapsed().as_secs_f64();
    let Outcome { choice, .. } = outcome.context("the engine says nothing of the card")?;
    let measured = choice.measured;
    let (generated, read) = (measured.generated_per_second(), measured.read_per_second());
    if as_json {
        let step = |(now, at): &(Progress, f64)| json!({"what": format!("{now:?}"), "at_seconds": at});
        let figures = json!({
            "adapter": choice.key.adapter, "driver": choice.key.driver, "api": choice.key.api,
            "way": choice.candidate, "tried": choice.tried, "failed": choice.failed,
            "measured_tokens_per_second": generated, "measured_prompt_tokens_per_second": read,
            "chunk_tokens": measured.chunk_tokens, "seconds": seconds,
            "steps": said.iter().map(step).collect::<Vec<_>>(),
        });
        writeln!(out, "{figures}")?;
        return Ok(());
    }
    writeln!(out, "{}, {}: {}", choice.key.adapter, choice.key.driver, choice.candidate)?;
    writeln!(out, "the best of {}, {} failed, in {seconds:.1} s", choice.tried, choice.failed)?;
    if let (Some(generated), Some(read)) = (generated, read) {
        writeln!(out, "measured: {generated:.1} tokens/s for one answer, {read:.1} tokens/s of prompts")?;
    }
    Ok(())
}
