//! `cargo xtask bench engine`: our engine and llama.cpp's prebuilt package, the same file, in turn.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{model, system};

/// llama.cpp v0.5.0 and its bindings, as npm has them.
const PACKAGES: [&str; 2] = ["node-llama-cpp@3.22.1", "@node-llama-cpp/linux-x64@3.22.1"];
/// Its library for servers with matrix extensions (AMX), which no home computer has.
const FOR_SERVERS: &str = "libggml-cpu-sapphirerapids.so";
const LIBRARIES: &str = "node_modules/@node-llama-cpp/linux-x64/bins/linux-x64";
const SCRIPT: &str = include_str!("../../../../../tests/bench/llama.mjs");

const THREADS: u32 = 2;
const PROMPT: u32 = 256;
const GENERATE: u32 = 64;
const PARALLEL: [u32; 3] = [1, 4, 8];

/// Who is measured.
#[derive(Clone, Copy)]
enum Peer {
    Ours,
    /// As its package chooses on this machine.
    Packaged,
    /// Without what only servers have.
    Home,
}

impl Peer {
    const ALL: [Self; 3] = [Self::Ours, Self::Packaged, Self::Home];

    fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Packaged => "llama.cpp",
            Self::Home => "llama.cpp without AMX",
        }
    }
}

/// Measures, prints a table, and writes every figure as JSON to `raw` if it is given.
pub(crate) fn engine(rounds: u32, raw: Option<&Path>) -> Result<()> {
    let model = model::fetch()?;
    let [packaged, home] = [install("llama.cpp")?, without_servers()?];
    let worker = system::program("chrysalis-worker")?;
    let mut runs: Vec<(Peer, u32, Value)> = Vec::new();
    for round in 0..rounds {
        for parallel in PARALLEL {
            for peer in Peer::ALL {
                eprintln!("round {} of {rounds}: {}, {parallel} at once", round + 1, peer.name());
                let figures = match peer {
                    Peer::Ours => ours(&worker, &model, parallel)?,
                    Peer::Packaged => theirs(&packaged, &model, parallel)?,
                    Peer::Home => theirs(&home, &model, parallel)?,
                };
                runs.push((peer, parallel, figures));
            }
        }
    }
    println!("{}", table(&runs));
    if let Some(raw) = raw {
        let all: Vec<Value> =
            runs.iter().map(|(peer, _, figures)| json!({"peer": peer.name(), "figures": figures})).collect();
        let text = serde_json::to_string_pretty(&json!({
            "prompt": PROMPT, "generate": GENERATE, "threads": THREADS, "model": model.file_name().map(|name| name.to_string_lossy()),
            "processor": processor(), "runs": all,
        }))?;
        std::fs::write(raw, text + "\n").with_context(|| format!("cannot write {}", raw.display()))?;
    }
    Ok(())
}

/// The processor's name; `None` where the system does not tell.
fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn ours(worker: &Path, model: &Path, parallel: u32) -> Result<Value> {
    let mut command = Command::new(worker);
    command.args(["bench", "--backend", "cpu", "--json", "--rounds", "2", "--model"]).arg(model);
    for (name, value) in [("threads", THREADS), ("prompt", PROMPT), ("generate", GENERATE), ("parallel", parallel)] {
        command.arg(format!("--{name}")).arg(value.to_string());
    }
    answer(&mut command)
}

fn theirs(folder: &Path, model: &Path, parallel: u32) -> Result<Value> {
    let mut command = Command::new("node");
    command.current_dir(folder).arg("llama.mjs").arg(model);
    command.args([PROMPT, GENERATE, parallel, 2, THREADS].map(|number| number.to_string()));
    answer(&mut command)
}

/// The JSON object that a program prints last.
fn answer(command: &mut Command) -> Result<Value> {
    let output = command.stderr(Stdio::inherit()).output().context("cannot start what is to be measured")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().rev().find(|line| line.starts_with('{'));
    match line.filter(|_| output.status.success()) {
        Some(line) => Ok(serde_json::from_str(line)?),
        None => bail!("what is to be measured ended with {} and gave no figures", output.status),
    }
}

/// A folder with the package, fetched if need be.
fn install(name: &str) -> Result<PathBuf> {
    let models = model::folder()?;
    let folder = models.parent().unwrap_or(&models).join("bench").join(name);
    std::fs::create_dir_all(&folder)?;
    if !folder.join(LIBRARIES).is_dir() {
        std::fs::write(folder.join("package.json"), r#"{"type":"module","private":true}"#)?;
        let mut npm = Command::new("npm");
        npm.current_dir(&folder).args(["install", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund"]);
        if !npm.args(PACKAGES).stdout(Stdio::null()).status().context("cannot start npm")?.success() {
            bail!("npm could not fetch {}", PACKAGES.join(" and "));
        }
    }
    std::fs::write(folder.join("llama.mjs"), SCRIPT)?;
    Ok(folder)
}

fn without_servers() -> Result<PathBuf> {
    let folder = install("llama.cpp-home")?;
    let library = folder.join(LIBRARIES).join(FOR_SERVERS);
    if library.exists() {
        std::fs::remove_file(library)?;
    }
    Ok(folder)
}

/// The median of a figure, over all runs of a peer.
fn median(runs: &[(Peer, u32, Value)], peer: Peer, parallel: u32, figure: &str) -> Option<f64> {
    let of = |(by, at, figures): &(Peer, u32, Value)| {
        (by.name() == peer.name() && *at == parallel).then(|| figures.pointer(figure).and_then(Value::as_f64)).flatten()
    };
    let mut all: Vec<f64> = runs.iter().filter_map(of).collect();
    all.sort_by(f64::total_cmp);
    let last = all.len().checked_sub(1)?;
    Some(f64::midpoint(*all.get(last / 2)?, *all.get(all.len() / 2)?))
}

/// The least and the most of a figure, over all rounds of all runs of a peer.
fn spread(runs: &[(Peer, u32, Value)], peer: Peer, parallel: u32, figure: &str) -> Option<(f64, f64)> {
    let of = runs.iter().filter(|(by, at, _)| by.name() == peer.name() && *at == parallel);
    let rounds = of.flat_map(|(_, _, figures)| figures["rounds"].as_array().into_iter().flatten());
    let all = rounds.filter_map(|round| round.pointer(figure).and_then(Value::as_f64));
    all.fold(None, |ends, rate| {
        let (least, most) = ends.unwrap_or((rate, rate));
        Some((f64::min(least, rate), f64::max(most, rate)))
    })
}

fn table(runs: &[(Peer, u32, Value)]) -> String {
    let mut text = String::from(
        "| at once | engine | prompt tokens/s (least to most) | tokens/s (least to most) | ours / theirs: prompt, generating | first token, median and last | share of memory | peak memory | ready |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for parallel in PARALLEL {
        let rate = |peer, figure: &str| median(runs, peer, parallel, figure);
        let (prompt, generating) = ("/prompt_tokens_per_second", "/tokens_per_second");
        // What memory allows one request; several share what is read.
        let most = rate(Peer::Ours, "/memory_read_bytes_per_second")
            .zip(rate(Peer::Ours, "/weights_bytes_per_token"))
            .map(|(read, weights)| read / weights);
        for peer in Peer::ALL {
            let figure = |name: &str, digits: usize| {
                rate(peer, name).map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
            };
            let between = |name: &str, digits: usize| {
                spread(runs, peer, parallel, name)
                    .map_or_else(String::new, |(least, most)| format!(" ({least:.digits$} to {most:.digits$})"))
            };
            let ratio = |name: &str| {
                let pair = rate(Peer::Ours, name).zip(rate(peer, name));
                pair.map_or_else(|| "–".to_owned(), |(ours, theirs)| format!("{:.2}", ours / theirs))
            };
            let share = most.zip(rate(peer, generating)).map(|(most, rate)| format!("{:.0} %", rate / most * 100.0));
            let memory = rate(peer, "/peak_memory_bytes").map(|bytes| format!("{:.0} MB", bytes / 1e6));
            let unknown = || "–".to_owned();
            let _ = writeln!(
                text,
                "| {parallel} | {} | {}{} | {}{} | {}, {} | {} s, {} s | {} | {} | {} s |",
                peer.name(),
                figure(prompt, 0),
                between(prompt, 0),
                figure(generating, 1),
                between(generating, 1),
                ratio(prompt),
                ratio(generating),
                figure("/first_token_seconds/median", 2),
                figure("/first_token_seconds/max", 2),
                share.unwrap_or_else(unknown),
                memory.unwrap_or_else(unknown),
                figure("/ready_seconds", 2),
            );
        }
    }
    let alone = median(runs, Peer::Ours, 1, "/tokens_per_second");
    let eight = median(runs, Peer::Ours, 8, "/tokens_per_second");
    if let Some((alone, eight)) = alone.zip(eight) {
        let _ = writeln!(text, "\nEight at once give {:.2} times the tokens of one.", eight / alone);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(peer: Peer, parallel: u32, rate: f64) -> (Peer, u32, Value) {
        let round = |rate: f64| json!({"tokens_per_second": rate, "prompt_tokens_per_second": rate * 10.0});
        let mut figures = round(rate);
        figures["rounds"] = json!([round(rate + 2.0), round(rate - 1.0)]);
        (peer, parallel, figures)
    }

    #[test]
    fn ratios_are_those_of_medians() {
        let runs: Vec<_> = [40.0, 90.0, 60.0]
            .into_iter()
            .flat_map(|rate| [run(Peer::Ours, 1, rate), run(Peer::Home, 1, rate / 2.0), run(Peer::Ours, 8, rate * 3.0)])
            .collect();
        assert_eq!(median(&runs, Peer::Ours, 1, "/tokens_per_second"), Some(60.0));
        assert_eq!(median(&runs, Peer::Packaged, 1, "/tokens_per_second"), None);
        let text = table(&runs);
        assert!(
            text.contains("| 1 | llama.cpp without AMX | 300 (190 to 470) | 30.0 (19.0 to 47.0) | 2.00, 2.00 |"),
            "{text}"
        );
        assert!(text.contains("Eight at once give 3.00 times"), "{text}");
        assert!(text.contains("| 4 | ours | – | – |"), "{text}");
    }
}
