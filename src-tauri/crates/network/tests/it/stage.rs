//! A proxy, a gateway, scripted workers and a plain HTTP customer, all in this process and over real sockets.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use accounting::TokenUsage;
use network::config::Network;
use network::keys::SigningKey;
use network::wire::Wire;
use network::{gateway, proxy};
use protocol::http::{Header, ResponseHead};
use protocol::worker::{Action, Config, PaymentReport, Session};
use protocol::{Now, Randomness};
use ratls::{Evidence, Identity, Policy};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use ton::{Address, RootConfig};
use zeroize::Zeroizing;

/// A test owner; nobody's wallet.
pub(crate) const OWNER: &str = "UQAuz15H1ZHrZ_psVrAra7HealMIVeFq0wguqlmFno1f3B-m";
/// A root contract address of a test network.
pub(crate) const ROOT: &str = "EQBT4hy4vMEZ9uxSCuhw_gBKh9_AwmHXLe7Wo0O4Vh-4kRjJ";
/// The published test key of the one-machine set-up.
pub(crate) const KEY: &str = "ml+7xELuOQtfp9q9mSWtHiSWx5aSBV6p3xCfwPmHOwY=";
/// Base name of the model that scripted workers serve.
pub(crate) const MODEL: &str = "test/tiny";
/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn address(text: &str) -> Address {
    ton::AddressText::parse(text).unwrap().address
}

pub(crate) fn network_json(workers: SocketAddr, clients: SocketAddr) -> String {
    json!({
        "proxy_hashes": [], "worker_hashes": [], "model_hashes": [], "model_types": [],
        "registered_proxies": [{ "seqno": 1, "address": format!("{workers} {clients}") }],
        "price_per_token": 2, "worker_fee_per_token": 1, "last_proxy_seqno": 1, "version": 3, "params_version": 1,
        "proxy_sc_code": "", "worker_sc_code": "", "client_sc_code": "", "root_owner_address": OWNER,
        "root_contract_address": ROOT,
    })
    .to_string()
}

pub(crate) fn network(workers: SocketAddr, clients: SocketAddr) -> Network {
    let root = RootConfig::from_json(&network_json(workers, clients)).unwrap();
    Network { root: Arc::new(root), root_contract: address(ROOT), evidence: None }
}

/// Waits for something, but not for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}"))
}

/// Waits until `done` says something.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut done: impl FnMut() -> F) -> T {
    soon(what, async {
        loop {
            if let Some(value) = done().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

/// A proxy and a gateway that is connected to it.
pub(crate) struct Stage {
    pub(crate) proxy: proxy::Running,
    pub(crate) gateway: gateway::Running,
    pub(crate) network: Network,
    pub(crate) folder: tempfile::TempDir,
}

/// The proxy of every test: little work, quick commits, retries, the same key each time.
pub(crate) fn proxy_settings(accounts: PathBuf) -> proxy::Settings {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let key = SigningKey::from_seed(&Zeroizing::new([7; 32]));
    let mut settings = proxy::Settings::new(network(nowhere, nowhere), address(OWNER), key, accounts);
    settings.pow_difficulty = 4;
    settings.commit_pause = (Duration::from_millis(20), Duration::from_millis(30));
    settings.retry = true;
    settings.http_port = Some(0);
    settings
}

impl Stage {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}, |_| {}).await
    }

    pub(crate) async fn start_with(
        of_proxy: impl FnOnce(&mut proxy::Settings),
        of_gateway: impl FnOnce(&mut gateway::Settings),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = proxy_settings(folder.path().join("proxy.sqlite"));
        of_proxy(&mut settings);
        let proxy = proxy::start(settings).await.unwrap();
        let network = network(proxy.workers(), proxy.clients());
        let wallet = Address { workchain: 0, hash: [0x77; 32] };
        let mut settings = gateway::Settings::new(network.clone(), wallet);
        of_gateway(&mut settings);
        let gateway = gateway::start(settings).await.unwrap();
        assert!(gateway.connected(PATIENCE).await, "the gateway did not reach the proxy");
        Self { proxy, gateway, network, folder }
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.gateway.http()
    }

    /// A worker that took part in the handshake and is listed.
    pub(crate) async fn worker(&self) -> Worker {
        let before = self.listed().await;
        let worker = Worker::dial(self.proxy.workers(), &self.network, 1).await;
        until("the worker to be listed", || async { (self.listed().await > before).then_some(()) }).await;
        worker
    }

    /// How many workers the gateway lists for the model.
    pub(crate) async fn listed(&self) -> usize {
        let page = get(self.http(), "/v1/models").await.json();
        let models = page["data"].as_array().cloned().unwrap_or_default();
        let ours = models.iter().find(|model| model["id"] == MODEL);
        ours.and_then(|model| model["workers"].as_array()).map_or(0, Vec::len)
    }

    pub(crate) async fn ask(&self, body: &Value) -> Answer {
        soon("an answer", post(self.http(), "/v1/chat/completions", body)).await
    }

    pub(crate) async fn stop(self) {
        self.gateway.stop().await;
        self.proxy.stop().await;
    }
}

pub(crate) fn chat(stream: bool) -> Value {
    json!({ "model": MODEL, "messages": [{ "role": "user", "content": "hello" }], "max_tokens": 16, "stream": stream })
}

/// What a scripted worker is told to do.
pub(crate) enum Step {
    Head([u8; 32], i32, &'static str),
    Part([u8; 32], Vec<u8>),
    Last([u8; 32], Vec<u8>, TokenUsage),
    Error([u8; 32], i32),
    Disable,
    /// Hang up without a word.
    Die,
    /// Neither read nor write any more, but keep the connection.
    Freeze,
}

/// A job as the worker got it.
pub(crate) struct Job {
    pub(crate) id: [u8; 32],
    pub(crate) url: String,
    pub(crate) headers: Vec<Header>,
    pub(crate) body: Vec<u8>,
}

/// A worker's half of the protocol, made of the same parts as the real one, doing as it is told.
pub(crate) struct Worker {
    jobs: mpsc::UnboundedReceiver<Job>,
    steps: mpsc::UnboundedSender<Step>,
    pub(crate) payments: Arc<Mutex<Vec<PaymentReport>>>,
    /// How its conversation ended.
    pub(crate) end: JoinHandle<Result<(), protocol::Error>>,
}

pub(crate) const USAGE: TokenUsage = TokenUsage { prompt: 3, cached: 0, completion: 5, reasoning: 0 };

impl Worker {
    pub(crate) async fn dial(to: SocketAddr, network: &Network, owner: u8) -> Self {
        let wire = soon("proof of work and TLS", Wire::dial(to, &client_tls(Evidence::None), 20)).await.unwrap();
        Self::over(wire, network, owner)
    }

    pub(crate) fn over(wire: Wire, network: &Network, owner: u8) -> Self {
        let (job_sender, jobs) = mpsc::unbounded_channel();
        let (steps, step_receiver) = mpsc::unbounded_channel();
        let payments = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&payments);
        let config = worker_config(network, owner);
        let end = tokio::spawn(async move { work(wire, config, job_sender, step_receiver, &kept).await });
        Self { jobs, steps, payments, end }
    }

    pub(crate) async fn job(&mut self) -> Job {
        soon("a job", self.next()).await
    }

    /// The next job, however long it takes.
    pub(crate) async fn next(&mut self) -> Job {
        self.jobs.recv().await.expect("the worker is gone")
    }

    pub(crate) fn tell(&self, step: Step) {
        self.steps.send(step).ok();
    }

    /// Answers one job the way the real worker does.
    pub(crate) fn answer(&self, job: &Job) {
        let body: Value = serde_json::from_slice(&job.body).unwrap();
        if body["stream"] == true {
            self.tell(Step::Head(job.id, 200, "text/event-stream"));
            for word in ["Good ", "day"] {
                let event = json!({ "choices": [{ "index": 0, "delta": { "content": word } }] });
                self.tell(Step::Part(job.id, format!("data: {event}\n\n").into_bytes()));
            }
            self.tell(Step::Last(job.id, b"data: [DONE]\n\n".to_vec(), USAGE));
        } else {
            let choice = if job.url == "/v1/completions" {
                json!({ "index": 0, "text": "Good day" })
            } else {
                json!({ "index": 0, "message": { "role": "assistant", "content": "Good day" } })
            };
            self.tell(Step::Head(job.id, 200, "application/json"));
            self.tell(Step::Last(job.id, json!({ "choices": [choice] }).to_string().into_bytes(), USAGE));
        }
    }

    /// Answers every job from now on.
    pub(crate) fn answer_all(mut self) -> JoinHandle<()> {
        tokio::spawn(async move {
            while let Some(job) = self.jobs.recv().await {
                self.answer(&job);
            }
        })
    }
}

fn worker_config(network: &Network, owner: u8) -> Config {
    let owner = Address { workchain: 0, hash: [owner; 32] };
    Config {
        owner_text: ton::AddressText { address: owner, bounceable: false, testnet: false }.to_text(),
        model: format!("{MODEL}@test:{}", "0".repeat(64)).parse().unwrap(),
        coefficient: 1000,
        is_test: true,
        is_testnet: false,
        proxy_connections: 1,
        max_active_requests: 32,
        disabled: false,
        root: Arc::clone(&network.root),
        root_contract: network.root_contract,
        known: None,
    }
}

pub(crate) struct Chance;

impl Randomness for Chance {
    fn long(&mut self) -> i64 {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).unwrap();
        i64::from_le_bytes(bytes)
    }

    fn int256(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).unwrap();
        bytes
    }
}

async fn work(
    mut wire: Wire,
    config: Config,
    jobs: mpsc::UnboundedSender<Job>,
    mut steps: mpsc::UnboundedReceiver<Step>,
    payments: &Mutex<Vec<PaymentReport>>,
) -> Result<(), protocol::Error> {
    let start = Instant::now();
    let now = || Now { mono: start.elapsed(), unix: 1_700_000_000.0 + start.elapsed().as_secs_f64() };
    let mut out = Vec::new();
    let mut session = Session::new(config, Box::new(Chance), now(), &mut out);
    let mut queue = VecDeque::new();
    loop {
        for action in out.drain(..) {
            match action {
                Action::Send(bytes) => queue.push_back(bytes),
                Action::Start(job) => {
                    let (id, request) = (job.id, job.request);
                    jobs.send(Job { id, url: request.url, headers: request.headers, body: request.body }).ok();
                }
                Action::Payment(report) => payments.lock().unwrap().push(report),
                _ => {}
            }
        }
        while let Some(bytes) = queue.pop_front() {
            if wire.send(&bytes).await.is_err() {
                return Ok(());
            }
        }
        let due = session.next_deadline().unwrap_or(Duration::from_mins(1)).saturating_sub(start.elapsed());
        let result = tokio::select! {
            bytes = wire.receive() => match bytes {
                Ok(Some(bytes)) => session.receive(&bytes, now(), &mut out),
                _ => return Ok(()),
            },
            () = tokio::time::sleep(due) => session.tick(now(), &mut out),
            step = steps.recv() => {
                match step {
                    None | Some(Step::Freeze) => std::future::pending().await,
                    Some(Step::Die) => return Ok(()),
                    Some(Step::Disable) => session.set_disabled(true, now(), &mut out),
                    Some(Step::Head(id, status, kind)) => {
                        let headers = vec![("Content-Type".to_owned(), kind.to_owned())];
                        session.answer_head(id, ResponseHead::new(status, "OK", headers), now(), &mut out);
                    }
                    Some(Step::Part(id, bytes)) => session.answer_part(id, &bytes, now(), &mut out),
                    Some(Step::Last(id, bytes, usage)) => {
                        session.answer_last(id, &bytes, usage, now(), &mut out);
                    }
                    Some(Step::Error(id, code)) => session.answer_error(id, code, "no", now(), &mut out),
                }
                Ok(())
            }
        };
        result?;
    }
}

pub(crate) fn client_tls(evidence: Evidence) -> ratls::tls::ClientTls {
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let identity = Identity::generate(evidence, now()).unwrap();
    ratls::tls::client_config(&identity, Policy::Any, Arc::new(now)).unwrap()
}

/// A whole HTTP answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body came to the end that its framing promised.
    pub(crate) is_whole: bool,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// An answer that is still coming.
pub(crate) struct Coming {
    reader: BufReader<TcpStream>,
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    length: Option<usize>,
    is_chunked: bool,
}

pub(crate) fn post_bytes(path: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAuthorization: Bearer secret\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) async fn post(to: SocketAddr, path: &str, body: &Value) -> Answer {
    send(to, &post_bytes(path, body.to_string().as_bytes())).await.rest().await
}

pub(crate) async fn get(to: SocketAddr, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    send(to, request.as_bytes()).await.rest().await
}

/// Sends bytes and reads the head of the answer. Status 0: there was none.
pub(crate) async fn send(to: SocketAddr, bytes: &[u8]) -> Coming {
    let mut stream = TcpStream::connect(to).await.unwrap();
    // Whoever breaks the rules may be hung up on while still writing.
    stream.write_all(bytes).await.ok();
    head(stream).await
}

pub(crate) async fn head(stream: TcpStream) -> Coming {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).await.ok();
    let status = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    let mut headers = Vec::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).await.unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.trim_end().split_once(':') {
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    let find = |name: &str| headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
    let length = find("content-length").and_then(|value| value.parse().ok());
    let is_chunked = find("transfer-encoding").is_some();
    Coming { reader, status, headers, length, is_chunked }
}

impl Coming {
    /// The next chunk; `None` at the promised end, an error when it broke off.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Vec<u8>>, ()> {
        let mut line = String::new();
        self.reader.read_line(&mut line).await.map_err(|_| ())?;
        let length = usize::from_str_radix(line.trim(), 16).map_err(|_| ())?;
        let mut bytes = vec![0; length + 2];
        self.reader.read_exact(&mut bytes).await.map_err(|_| ())?;
        bytes.truncate(length);
        Ok((length > 0).then_some(bytes))
    }

    pub(crate) async fn rest(mut self) -> Answer {
        let (mut body, mut is_whole) = (Vec::new(), false);
        if self.is_chunked {
            loop {
                match self.chunk().await {
                    Ok(Some(bytes)) => body.extend(bytes),
                    Ok(None) => {
                        is_whole = true;
                        break;
                    }
                    Err(()) => break,
                }
            }
        } else if let Some(length) = self.length {
            body.resize(length, 0);
            is_whole = self.reader.read_exact(&mut body).await.is_ok();
        }
        Answer { status: self.status, headers: self.headers, body, is_whole }
    }
}
