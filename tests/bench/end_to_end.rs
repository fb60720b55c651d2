//! What the way through gateway, proxy, relay and worker costs, against the engine alone, both on one thread, in one run.
//!
//! Each round asks one streamed completion through the gateway and lets `chrysalis-worker bench` run the same numbers of
//! tokens, so that both meet the same machine. Rates count from the first token to the last, so the prompt is in neither.
//! Prints one JSON object. Run it with `cargo xtask bench end-to-end`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a measurement, run by developers")]

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;
use system_tests::{Stage, http, memory, program};

const GENERATE: u32 = 96;
const PROMPT: &str = "The following is a long and careful account of how a lighthouse keeper spends a winter day on a small island, \
                      from the first light in the morning to the last entry in the log at night.";

fn main() {
    let mut arguments = std::env::args().skip(1);
    let model = PathBuf::from(arguments.next().expect("path of a model"));
    let rounds: u32 = arguments.next().map_or(5, |text| text.parse().expect("a number of rounds"));
    let stage = Stage::start_with(&model, &[], &["--threads", "1"]);
    let app_before = memory::proportional(stage.app.pid());
    let (mut whole, mut alone, mut first) = (Vec::new(), Vec::new(), Vec::new());
    let mut prompt_tokens = 32;
    for round in 0..=rounds {
        let through = through_the_gateway(&stage);
        prompt_tokens = through.prompt_tokens;
        let engine = engine_alone(&model, prompt_tokens);
        if round > 0 {
            // Round 0 warms caches and pages on both sides.
            whole.push(through.tokens_per_second);
            first.push(through.first_token_seconds);
            alone.push(engine);
        }
    }
    let (whole, alone, first) = (median(&mut whole), median(&mut alone), median(&mut first));
    let report = json!({
        "end_to_end_tokens_per_second": whole,
        "engine_alone_tokens_per_second": alone,
        "ratio": whole / alone,
        "added_milliseconds_per_token": 1000.0 / whole - 1000.0 / alone,
        "first_token_seconds": first,
        "prompt_tokens": prompt_tokens,
        "generated_tokens": GENERATE,
        "rounds": rounds,
        "app_pss_bytes_idle": app_before,
        "app_pss_bytes_after": memory::proportional(stage.app.pid()),
        "network_pss_bytes": memory::proportional(stage.network.pid()),
        "worker_pss_bytes": stage.worker_now().and_then(memory::proportional),
    });
    println!("{report}");
}

struct Through {
    tokens_per_second: f64,
    first_token_seconds: f64,
    prompt_tokens: u64,
}

fn through_the_gateway(stage: &Stage) -> Through {
    let body = json!({"model": stage.base, "prompt": PROMPT, "max_tokens": GENERATE, "temperature": 0, "stream": true});
    let begin = Instant::now();
    let mut coming = http::begin(stage.http_port, "/v1/completions", &body).expect("an answer");
    assert_eq!(coming.status, 200);
    let (mut text, mut times) = (Vec::new(), Vec::new());
    while let Some((piece, at)) = coming.piece().expect("a piece of the answer") {
        times.push(at);
        text.extend(piece);
    }
    let answer = http::Answer { status: 200, headers: Vec::new(), body: text };
    let usage = answer.usage();
    let count = |key: &str| usage[key].as_u64().expect("a count");
    let tokens = count("completion_tokens");
    assert!(
        tokens >= u64::from(GENERATE) / 2,
        "the model stopped after {tokens} tokens; the measurement needs a longer answer"
    );
    // The first piece holds the first token; the last pieces are the usage and the end mark, in the same instant as the last token.
    let (first, last) = (times[0], *times.last().unwrap());
    Through {
        tokens_per_second: (tokens - 1) as f64 / (last - first).as_secs_f64(),
        first_token_seconds: (first - begin).as_secs_f64(),
        prompt_tokens: count("prompt_tokens"),
    }
}

fn engine_alone(model: &Path, prompt_tokens: u64) -> f64 {
    let (prompt, generate) = (prompt_tokens.to_string(), GENERATE.to_string());
    let words = [
        "bench",
        "--model",
        model.to_str().unwrap(),
        "--backend",
        "cpu",
        "--prompt",
        &prompt,
        "--generate",
        &generate,
        "--threads",
        "1",
        "--json",
    ];
    let (code, out, errors) = program::run("chrysalis-worker", &words);
    assert_eq!(code, Some(0), "{errors}");
    let report: Value = serde_json::from_str(out.lines().last().unwrap_or("")).expect("a JSON report");
    report["tokens_per_second"].as_f64().expect("tokens_per_second")
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
