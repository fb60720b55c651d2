//! Starting, watching, asking and cleaning up the real programs. Everything runs on loopback and in a throw-away folder, and
//! every program started here dies with the value that holds it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "support of tests, which may unwrap, say what they skip and show what a program said before it failed"
)]

pub mod books;
#[cfg(target_os = "linux")]
pub mod desk;
pub mod dice;
pub mod http;
pub mod memory;
pub mod program;
#[cfg(unix)]
pub mod registrar;
#[cfg(unix)]
pub mod tpm;

use program::Running;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
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

/// Is set when this goes out of scope, by a panic too, so that threads that watch it end.
pub struct SetAtTheEnd<'a>(pub &'a AtomicBool);

impl Drop for SetAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

const APP: &str = "chrysalis";

/// What a [`Stage`] is made of.
pub struct Setting<'a> {
    pub model: PathBuf,
    /// The name that customers use.
    pub base: &'a str,
    /// The full name; `None`: the base with the file's own hash.
    pub served_as: Option<String>,
    /// More words for `chrysalis-network practice`.
    pub network_words: &'a [&'a str],
    /// More words for `chrysalis headless`.
    pub app_words: &'a [&'a str],
    /// The app: the shipped one, or the path of another.
    pub app: &'a str,
}

impl Default for Setting<'_> {
    fn default() -> Self {
        Self { model: tiny_model(), base: "test/tiny", served_as: None, network_words: &[], app_words: &[], app: APP }
    }
}

impl Setting<'_> {
    /// Starts both programs and waits until the gateway lists the model.
    pub fn start(self) -> Stage {
        let stage = self.start_without_service();
        stage.wait_for_model();
        stage
    }

    /// Starts both and waits only until each says that it is ready: whether they come together is another question.
    pub fn start_without_service(self) -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let name = self.served_as.unwrap_or_else(|| served_as(self.base, &self.model));
        let data = folder.path().join("network");
        let mut words =
            vec!["practice", "--customers", "0", "--data", data.to_str().unwrap(), "--model", name.as_str()];
        words.extend(self.network_words);
        let mut network = Running::start("chrysalis-network", &words);
        let ready = network.ready();
        let http_port = port(&ready, "http_port");
        let network_file = PathBuf::from(ready["network_file"].as_str().expect("network_file"));
        let app_words: Vec<String> = self.app_words.iter().map(|word| (*word).to_owned()).collect();
        let app_folder = folder.path().join("app");
        let (app, app_ready) = start_program(self.app, &app_folder, &network_file, &self.model, &name, self.app_words);
        Stage {
            network,
            app,
            app_ready,
            folder,
            http_port,
            base: self.base.to_owned(),
            network_file,
            model: self.model,
            name,
            program: self.app.to_owned(),
            app_words,
        }
    }
}

/// A practice network without customers of its own, and one app serving it: three processes.
pub struct Stage {
    pub network: Running,
    pub app: Running,
    /// What the app said when it was ready.
    pub app_ready: Value,
    pub folder: tempfile::TempDir,
    pub http_port: u16,
    pub base: String,
    pub network_file: PathBuf,
    model: PathBuf,
    name: String,
    program: String,
    app_words: Vec<String>,
}

impl Stage {
    /// Starts both with the tiny model and waits until the gateway lists it.
    pub fn start() -> Self {
        Setting::default().start()
    }

    /// The same with another model and more words for `chrysalis-network practice` and for `chrysalis headless`.
    pub fn start_with(model: &Path, network_words: &[&str], app_words: &[&str]) -> Self {
        Setting { model: model.to_owned(), network_words, app_words, ..Setting::default() }.start()
    }

    /// Starts the app again, which must be gone, with the same words in the same folder, and waits until it serves.
    pub fn restart_app(&mut self) {
        let words: Vec<&str> = self.app_words.iter().map(String::as_str).collect();
        let data = self.folder.path().join("app");
        (self.app, self.app_ready) =
            start_program(&self.program, &data, &self.network_file, &self.model, &self.name, &words);
        self.wait_for_model();
    }

    /// Waits until the gateway lists the model: the worker is connected and enabled.
    pub fn wait_for_model(&self) {
        until("the gateway to list the model", || self.listed());
    }

    /// The first of the workers that the gateway lists for this stage's model.
    pub fn listed(&self) -> Option<Value> {
        listed(self.http_port, &self.base)
    }

    /// A chat request to this stage's model.
    pub fn chat(&self, content: &str, max_tokens: u32, stream: bool) -> Value {
        json!({"model": self.base, "messages": [{"role": "user", "content": content}], "max_tokens": max_tokens,
               "temperature": 0, "stream": stream})
    }

    /// The whole answer to a short question, which must come.
    pub fn answer(&self, content: &str, max_tokens: u32) -> http::Answer {
        let answer =
            http::post(self.http_port, "/v1/chat/completions", &self.chat(content, max_tokens, false)).unwrap();
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        answer
    }

    /// Process id of the worker that serves now.
    pub fn worker_now(&self) -> Option<u32> {
        program::children_of(self.app.pid())
            .into_iter()
            .find(|pid| program::name_of(*pid).starts_with("chrysalis-worke"))
    }

    /// The app's folder.
    pub fn app_folder(&self) -> PathBuf {
        self.folder.path().join("app")
    }

    /// The app's ledger.
    pub fn ledger_path(&self) -> PathBuf {
        program::find_file(&self.app_folder(), "ledger.sqlite").expect("a ledger")
    }

    /// The same, opened beside the app.
    pub fn ledger(&self) -> ledger::Ledger {
        ledger::Ledger::open(&self.ledger_path(), 0).expect("the ledger opens")
    }

    /// The app's statistics, for which it must have been started with `--stats`; `None` when it does not answer.
    pub fn stats(&self) -> Option<Value> {
        let answer = http::get(port(&self.app_ready, "stats_port"), "/jsonstats").ok()?;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        Some(answer.json())
    }

    /// The gateway's page of counts.
    pub fn gateway_stats(&self) -> Value {
        http::get(self.http_port, "/jsonstats").expect("the gateway's page").json()
    }
}

/// The first of the workers that a gateway lists for a model.
pub fn listed(http_port: u16, base: &str) -> Option<Value> {
    let answer = http::get(http_port, "/v1/models").ok()?.json();
    let model = answer["data"].as_array()?.iter().find(|model| model["id"] == base)?.clone();
    model["workers"].as_array()?.first().cloned()
}

/// The words of `chrysalis headless` that every start needs.
pub fn headless_words<'a>(data: &'a Path, network_file: &'a Path, model: &'a Path, name: &'a str) -> Vec<&'a str> {
    vec![
        "headless",
        "--data",
        data.to_str().unwrap(),
        "--network",
        network_file.to_str().unwrap(),
        "--model",
        model.to_str().unwrap(),
        "--served-as",
        name,
        "--owner",
        OWNER,
    ]
}

/// Starts `chrysalis headless` and waits until it is ready; gives what it says then, too.
pub fn start_app(data: &Path, network_file: &Path, model: &Path, name: &str, more: &[&str]) -> (Running, Value) {
    start_program(APP, data, network_file, model, name, more)
}

fn start_program(
    program: &str,
    data: &Path,
    network_file: &Path,
    model: &Path,
    name: &str,
    more: &[&str],
) -> (Running, Value) {
    let mut words = headless_words(data, network_file, model, name);
    words.extend(more);
    if !more.contains(&"--backend") {
        // The oracle, unless a test is about something else: it is the same on every machine.
        words.extend(["--backend", "cpu"]);
    }
    let mut app = Running::start(program, &words);
    let ready = app.ready();
    (app, ready)
}

/// A port out of a ready line.
pub fn port(ready: &Value, key: &str) -> u16 {
    ready[key].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or_else(|| panic!("no {key} in {ready}"))
}

/// A port nobody uses at this moment.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
