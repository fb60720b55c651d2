//! `bench`: how fast a machine reads prompts and generates, and how much of that each of several requests gets.
//!
//! A round gives the engine all its requests at once and has two phases. Until the last of them has its first token, prompts are
//! read; from then on, all of them generate and nothing else happens. Both rates are those of their phase, for all requests
//! together; what a single one notices stands beside them.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use engine::backend::Work;
use engine::{Device, Engine, Request, Sampling, Tokenizer};
use serde_json::{Value, json};

use crate::inference::computing_threads;

/// What `bench` is asked for.
pub struct Bench<'a> {
    /// The model's file.
    pub model: &'a Path,
    /// Where the model runs.
    pub device: Device,
    /// Tokens of each prompt, at least 1.
    pub prompt: u32,
    /// Tokens to generate for each request, at least 2: the first one belongs to the prompt.
    pub generate: u32,
    /// Requests at once, at least 1.
    pub parallel: usize,
    /// How often all of it is measured, at least once.
    pub rounds: usize,
    /// Threads; `None`: what the worker takes by itself.
    pub threads: Option<usize>,
    /// One JSON line instead of text.
    pub json: bool,
}

/// Measures reading prompts and generating, separately, and writes the figures.
pub fn bench(wanted: &Bench<'_>, out: &mut dyn Write) -> anyhow::Result<()> {
    let before = Instant::now();
    let model = super::read(wanted.model)?;
    let (name, quantisation) = (model.name().map(str::to_owned), model.quantisation());
    let weights = model.bytes_for_a_token();
    let tokenizer = model.tokenizer();
    let lengths = (wanted.prompt as usize, wanted.generate);
    let mut engine = super::start(model, &wanted.device, lengths, wanted.parallel, wanted.threads)?;
    // Answers of a given length, whatever the model thinks of these prompts.
    engine.go_on_past_ends();
    let ready_seconds = before.elapsed().as_secs_f64();
    let prompts: Vec<Vec<u32>> = (0..wanted.parallel).map(|number| prompt(&tokenizer, wanted, number)).collect();
    let rounds = (0..wanted.rounds.max(1))
        .map(|_| round(&mut engine, &prompts, wanted.generate))
        .collect::<anyhow::Result<Vec<Round>>>()?;
    let peak_memory = peak_memory();
    let threads = computing_threads(wanted.threads);
    // A card's memory is another one.
    let read_rate = if wanted.device == Device::Cpu { engine::roofline::read_rate(weights, threads) } else { None };
    let report = Report { wanted, engine: &engine, ready_seconds, rounds: &rounds, peak_memory, weights, read_rate };
    if wanted.json {
        let mut figures = report.json();
        figures["model"] = json!(name);
        figures["quantisation"] = json!(quantisation);
        writeln!(out, "{figures}")?;
    } else {
        writeln!(out, "{}, {quantisation}", name.as_deref().unwrap_or("unnamed model"))?;
        report.write(out)?;
    }
    Ok(())
}

/// Tokens that a text could have, spread over the vocabulary by a fixed stride, so that every run reads the same; each request
/// begins somewhere else.
fn prompt(tokenizer: &Tokenizer, wanted: &Bench<'_>, number: usize) -> Vec<u32> {
    let vocabulary = u64::from(tokenizer.vocabulary_size());
    (0..vocabulary)
        .cycle()
        .skip(number * 31)
        .map(|step| (step * 7919 % vocabulary) as u32)
        .filter(|token| !tokenizer.piece(*token).is_empty())
        .take(wanted.prompt as usize)
        .collect()
}

/// What one round took.
struct Round {
    /// Until every request had its first token.
    prompt: Duration,
    /// From then to the end.
    decode: Duration,
    /// Tokens generated in that time, of all requests.
    decoded: u64,
    /// What they cost a graphics card.
    work: Work,
    /// From the beginning of the round to the first token of each request.
    firsts: Vec<Duration>,
    /// Tokens a second of each request from its first token on.
    rates: Vec<f64>,
}

fn round(engine: &mut Engine, prompts: &[Vec<u32>], generate: u32) -> anyhow::Result<Round> {
    let begin = Instant::now();
    let mut requests = Vec::with_capacity(prompts.len());
    for prompt in prompts {
        let id = engine
            .add(Request {
                prompt: prompt.clone(),
                sampling: Sampling { temperature: 0.0, ..Sampling::default() },
                stop: Vec::new(),
                max_tokens: generate,
                constraint: None,
            })
            .context("the engine refuses this request")?;
        requests.push((id, None, Duration::ZERO));
    }
    let mut decoded = 0;
    let mut work = Work::default();
    while engine.running() > 0 {
        let decodes = requests.iter().all(|(_, first, _)| first.is_some());
        let outputs = engine.step();
        let now = begin.elapsed();
        for output in outputs.iter().filter(|output| output.token.is_some()) {
            let Some((_, first, last)) = requests.iter_mut().find(|(id, ..)| *id == output.sequence) else { continue };
            first.get_or_insert(now);
            *last = now;
            decoded += u64::from(decodes);
        }
        if let Some(step) = engine.work().filter(|_| decodes) {
            work.dispatches += step.dispatches;
            work.bytes_bound += step.bytes_bound;
        }
    }
    super::check(engine)?;
    let whole = begin.elapsed();
    let firsts: Vec<Duration> = requests.iter().filter_map(|(_, first, _)| *first).collect();
    let prompt = firsts.iter().max().copied().context("the engine gave no token")?;
    let behind_first = f64::from(generate) - 1.0;
    let rates = requests
        .iter()
        .zip(&firsts)
        .map(|((_, _, last), first)| behind_first / last.saturating_sub(*first).as_secs_f64());
    Ok(Round { prompt, decode: whole.saturating_sub(prompt), decoded, work, rates: rates.collect(), firsts })
}

/// The least, the middle and the most of some figures.
#[derive(Debug, PartialEq)]
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    /// `None` if there are no figures. Of an even number of figures the median is the mean of the two in the middle.
    fn of(figures: impl Iterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_by(f64::total_cmp);
        let (least, most) = (*figures.first()?, *figures.last()?);
        let (lower, upper) = (figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
        Some(Self { least, median: f64::midpoint(lower, upper), most })
    }

    fn json(&self) -> Value {
        json!({"min": self.least, "median": self.median, "max": self.most})
    }
}

struct Report<'a> {
    wanted: &'a Bench<'a>,
    engine: &'a Engine,
    ready_seconds: f64,
    rounds: &'a [Round],
    peak_memory: Option<u64>,
    /// Bytes of weights that a token takes.
    weights: u64,
    /// Bytes a second that main memory gives, measured behind the rounds.
    read_rate: Option<f64>,
}

impl Report<'_> {
    /// Threads that computed; a card computes without them.
    fn threads(&self) -> Option<usize> {
        (self.engine.backend() == "cpu").then(|| computing_threads(self.wanted.threads))
    }

    fn prompt_tokens(&self) -> u64 {
        u64::from(self.wanted.prompt) * self.wanted.parallel as u64
    }

    fn prompt_rate(&self, round: &Round) -> f64 {
        self.prompt_tokens() as f64 / round.prompt.as_secs_f64()
    }

    fn decode_rate(round: &Round) -> Option<f64> {
        (round.decoded > 0).then(|| round.decoded as f64 / round.decode.as_secs_f64())
    }

    fn prompt_rates(&self) -> Option<Spread> {
        Spread::of(self.rounds.iter().map(|round| self.prompt_rate(round)))
    }

    fn decode_rates(&self) -> Option<Spread> {
        Spread::of(self.rounds.iter().filter_map(Self::decode_rate))
    }

    fn firsts(rounds: &[Round]) -> Option<Spread> {
        Spread::of(rounds.iter().flat_map(|round| &round.firsts).map(Duration::as_secs_f64))
    }

    fn own_rates(rounds: &[Round]) -> Option<Spread> {
        Spread::of(rounds.iter().flat_map(|round| &round.rates).copied())
    }

    /// What each token cost a graphics card; nothing on the processor.
    fn for_each_token(&self, count: fn(&Work) -> u64) -> Option<u64> {
        self.engine.work()?;
        let decoded: u64 = self.rounds.iter().map(|round| round.decoded).sum();
        self.rounds.iter().map(|round| count(&round.work)).sum::<u64>().checked_div(decoded)
    }

    fn json(&self) -> Value {
        let spread = |spread: Option<Spread>| spread.map(|spread| spread.json());
        let rates = |pick: fn(&Spread) -> f64| {
            json!({
                "prompt_tokens_per_second": self.prompt_rates().as_ref().map(pick),
                "tokens_per_second": self.decode_rates().as_ref().map(pick),
            })
        };
        let one = |round: &Round| {
            let alone = std::slice::from_ref(round);
            json!({
                "prompt_seconds": round.prompt.as_secs_f64(),
                "prompt_tokens_per_second": self.prompt_rate(round),
                "decoded_tokens": round.decoded,
                "decode_seconds": round.decode.as_secs_f64(),
                "tokens_per_second": Self::decode_rate(round),
                "first_token_seconds": spread(Self::firsts(alone)),
                "request_tokens_per_second": spread(Self::own_rates(alone)),
            })
        };
        let median = |figures: fn(&Round) -> f64| Spread::of(self.rounds.iter().map(figures)).map(|all| all.median);
        json!({
            "backend": self.engine.backend(),
            "adapter": self.engine.adapter(),
            "threads": self.threads(),
            "parallel": self.wanted.parallel,
            "ready_seconds": self.ready_seconds,
            "peak_memory_bytes": self.peak_memory,
            "weights_bytes_per_token": self.weights,
            "memory_read_bytes_per_second": self.read_rate,
            // Of one round, all requests together.
            "prompt_tokens": self.prompt_tokens(),
            "generated_tokens": u64::from(self.wanted.generate) * self.wanted.parallel as u64,
            // The medians of all rounds.
            "prompt_seconds": median(|round| round.prompt.as_secs_f64()),
            "prompt_tokens_per_second": self.prompt_rates().map(|all| all.median),
            "decode_seconds": median(|round| round.decode.as_secs_f64()),
            "tokens_per_second": self.decode_rates().map(|all| all.median),
            // Over all requests of all rounds.
            "first_token_seconds": spread(Self::firsts(self.rounds)),
            "request_tokens_per_second": spread(Self::own_rates(self.rounds)),
            "best": rates(|all| all.most),
            "median": rates(|all| all.median),
            "dispatches_per_token": self.for_each_token(|work| work.dispatches),
            "bytes_bound_per_token": self.for_each_token(|work| work.bytes_bound),
            "rounds": self.rounds.iter().map(one).collect::<Vec<_>>(),
        })
    }

    fn write(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let Bench { prompt, generate, parallel, .. } = *self.wanted;
        let adapter = self.engine.adapter().map_or_else(String::new, |adapter| format!(" on {adapter}"));
        let threads = self.threads().map_or_else(String::new, |threads| format!(", threads: {threads}"));
        writeln!(out, "backend {}{adapter}{threads}", self.engine.backend())?;
        let memory = self.peak_memory.map_or_else(String::new, |bytes| format!(", {} MB at most", bytes / 1_000_000));
        writeln!(out, "ready after {:.2} s{memory}", self.ready_seconds)?;
        writeln!(
            out,
            "{parallel} at once, each a prompt of {prompt} tokens and {generate} to generate; {} rounds",
            self.rounds.len()
        )?;
        for (what, rates) in [("prompts", self.prompt_rates()), ("generating", self.decode_rates())] {
            if let Some(Spread { median, most, .. }) = rates {
                writeln!(out, "{what}: {median:.1} tokens/s, at best {most:.1}")?;
            }
        }
        if let Some(Spread { least, median, most }) = Self::firsts(self.rounds) {
            writeln!(out, "first token of a request after {median:.3} s ({least:.3} to {most:.3})")?;
        }
        if let Some(Spread { least, median, most }) = Self::own_rates(self.rounds) {
            writeln!(out, "each request: {median:.1} tokens/s ({least:.1} to {most:.1})")?;
        }
        if let (Some(read), Some(rates)) = (self.read_rate, self.decode_rates()) {
            let most = read / self.weights.max(1) as f64;
            writeln!(
                out,
                "memory gives {:.1} GB/s, which is {most:.1} tokens/s for one request; {:.0} % of that",
                read / 1e9,
                rates.median / most * 100.0
            )?;
        }
        let dispatches = self.for_each_token(|work| work.dispatches);
        if let Some((dispatches, bytes)) = dispatches.zip(self.for_each_token(|work| work.bytes_bound)) {
            writeln!(out, "each token: {dispatches} dispatches, {bytes} bytes bound")?;
        }
        Ok(())
    }
}

/// The most memory that this process ever had, in bytes; `None` where the system does not tell.
fn peak_memory() -> Option<u64> {
    // See proc(5): kilobytes of 1,024.
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_ends_and_a_middle() {
        let of = |figures: &[f64]| Spread::of(figures.iter().copied());
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some(Spread { least: 1.0, median: 2.0, most: 3.0 }));
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]), Some(Spread { least: 1.0, median: 2.5, most: 4.0 }));
        assert_eq!(of(&[5.0]), Some(Spread { least: 5.0, median: 5.0, most: 5.0 }));
        assert_eq!(of(&[]), None);
    }
}
