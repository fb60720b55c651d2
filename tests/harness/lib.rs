//! Starting, watching, asking and cleaning up the real programs. Everything runs on loopback and in a throw-away folder, and
//! every program started here dies with the value that holds it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    missing_docs,
    reason = "support of tests, which may unwrap and show what a program said before it failed"
)]

pub mod http;
pub mod memory;
pub mod program;

use program::Running;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A test owner; nobody's wallet.
pub const OWNER: &str = "UQAuz15H1ZHrZ_psVrAra7HealMIVeFq0wguqlmFno1f3B-m";
/// A root contract address of a test network.
pub const ROOT: &str = "EQBT4hy4vMEZ9uxSCuhw_gBKh9_AwmHXLe7Wo0O4Vh-4kRjJ";
/// How long anything may take before a test gives up; generous, because machines are slow and nothing is timed here.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The tiny committed model: real format, real arithmetic, random weights.
pub fn tiny_model() -> PathBuf {
    root().join("tests/fixtures/models/tiny.gguf")
}

/// The practice model, where `cargo xtask model` puts it; `None` when it is not on this machine.
pub fn practice_model() -> Option<PathBuf> {
    let folder = std::env::var_os("MODELS")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/chrysalis/models")))?;
    let path = folder.join("SmolLM2-135M-Instruct.Q4_1.gguf");
    path.exists().then_some(path)
}

/// Full name a model file is served under on networks of ours.
pub fn served_as(base: &str, model: &Path) -> String {
    format!("{base}@test:{}", hex::encode(Sha256::digest(std::fs::read(model).unwrap())))
}

/// Waits until `done` says something, or panics with `what`.
pub fn until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(begin.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A practice network without customers of its own, and one app serving it: three processes.
pub struct Stage {
    pub network: Running,
    pub app: Running,
    pub folder: tempfile::TempDir,
    pub http_port: u16,
    pub worker_pid: u32,
    pub base: String,
}

impl Stage {
    /// Starts both with the tiny model and waits until the gateway lists it.
    pub fn start() -> Self {
        Self::start_with(&tiny_model(), &[], &[])
    }

    /// The same with more words for `chrysalis-network practice` and for `chrysalis headless`.
    pub fn start_with(model: &Path, network_words: &[&str], app_words: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let base = "test/tiny".to_owned();
        let name = served_as(&base, model);
        let data = folder.path().join("network");
        let mut words =
            vec!["practice", "--customers", "0", "--data", data.to_str().unwrap(), "--model", name.as_str()];
        words.extend(network_words);
        let mut network = Running::start("chrysalis-network", &words);
        let ready = network.ready();
        let http_port = port(&ready, "http_port");
        let network_file = ready["network_file"].as_str().expect("network_file").to_owned();
        let (app, worker_pid) = start_app(&folder.path().join("app"), &network_file, model, &name, app_words);
        let stage = Self { network, app, folder, http_port, worker_pid, base };
        stage.wait_for_model();
        stage
    }

    /// Waits until the gateway lists the model: the worker is connected and enabled.
    pub fn wait_for_model(&self) {
        until("the gateway to list the model", || {
            let answer = http::get(self.http_port, "/v1/models").ok()?;
            answer.json()["data"]
                .as_array()?
                .iter()
                .any(|model| {
                    model["id"] == self.base.as_str()
                        && model["workers"].as_array().is_some_and(|workers| !workers.is_empty())
                })
                .then_some(())
        });
    }

    /// A chat request to this stage's model.
    pub fn chat(&self, content: &str, max_tokens: u32, stream: bool) -> Value {
        json!({"model": self.base, "messages": [{"role": "user", "content": content}], "max_tokens": max_tokens,
               "temperature": 0, "stream": stream})
    }

    /// Process id of the worker that serves now.
    pub fn worker_now(&self) -> Option<u32> {
        program::children_of(self.app.pid())
            .into_iter()
            .find(|pid| program::name_of(*pid).starts_with("chrysalis-worke"))
    }

    /// The app's ledger.
    pub fn ledger_path(&self) -> PathBuf {
        program::find_file(&self.folder.path().join("app"), "ledger.sqlite").expect("a ledger")
    }
}

/// Starts `chrysalis headless` and waits until it is ready; gives the worker's process id too.
pub fn start_app(data: &Path, network_file: &str, model: &Path, name: &str, more: &[&str]) -> (Running, u32) {
    let mut words = vec![
        "headless",
        "--data",
        data.to_str().unwrap(),
        "--network",
        network_file,
        "--model",
        model.to_str().unwrap(),
        "--served-as",
        name,
        "--owner",
        OWNER,
    ];
    words.extend(more);
    let mut app = Running::start("chrysalis", &words);
    let ready = app.ready();
    let worker_pid = ready["worker_pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("worker_pid");
    (app, worker_pid)
}

/// A port out of a ready line.
pub fn port(ready: &Value, key: &str) -> u16 {
    ready[key].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or_else(|| panic!("no {key} in {ready}"))
}

/// A port nobody uses at this moment.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
