//! Recordings: frames in the order of their time, cut to what a machine sees.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

/// One recorded frame.
#[derive(Clone)]
pub(crate) struct Frame {
    /// Unix seconds.
    pub(crate) at: f64,
    /// `worker-socks#1`, for example.
    pub(crate) link: String,
    /// Towards the proxy?
    pub(crate) to_proxy: bool,
    /// Number in the stream; `None` where it was not recorded.
    pub(crate) number: Option<u32>,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn is_worker_link(&self) -> bool {
        self.link.contains("worker") || self.link.starts_with("rev-proxyw")
    }
}

pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/cocoon")
}

/// Names of all recordings of frames, `01_worker_connect` for example.
pub(crate) fn names() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".frames.jsonl").map(str::to_owned)
        })
        .collect();
    names.sort();
    names
}

/// The frames of a recording in order of time.
pub(crate) fn frames(name: &str) -> Vec<Frame> {
    let text = fs::read_to_string(folder().join(format!("{name}.frames.jsonl"))).unwrap();
    let mut frames: Vec<Frame> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["kind"] == "frame")
        .map(|line| Frame {
            at: line["t"].as_f64().unwrap(),
            link: format!("{}#{}", line["tap"].as_str().unwrap(), line["conn"]),
            to_proxy: line["dir"].as_str().unwrap().ends_with(">proxy"),
            number: Some(u32::try_from(line["seqno"].as_u64().unwrap()).unwrap()),
            payload: hex::decode(line["payload"].as_str().unwrap()).unwrap(),
        })
        .collect();
    frames.sort_by(|a, b| a.at.total_cmp(&b.at));
    frames
}

/// The worker's side of recording 72b, which was written by another tool: times from zero, no numbers. `start` is the time at which
/// its first query arrived.
pub(crate) fn foreign_worker(start: f64) -> Vec<Frame> {
    let text = fs::read_to_string(folder().join("72_foreign_worker.jsonl")).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| !line["payload"].as_str().unwrap_or_default().is_empty())
        .collect();
    let offset = start - 10.548;
    lines
        .iter()
        .map(|line| Frame {
            at: line["t"].as_f64().unwrap() + offset,
            link: "foreign-worker#1".to_owned(),
            to_proxy: line["dir"] == "us>genuine",
            number: None,
            payload: hex::decode(line["payload"].as_str().unwrap()).unwrap(),
        })
        .collect()
}
