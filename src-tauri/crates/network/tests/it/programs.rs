//! The program itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::stage::{KEY, PATIENCE, Worker, chat, network, network_json, post, soon, until};

/// A program that was started; killed when dropped.
pub(crate) struct Program {
    child: Child,
    pub(crate) ready: Value,
}

impl Program {
    pub(crate) fn start(words: &[&str]) -> Self {
        let mut program = Self::spawn(words);
        let mut line = String::new();
        BufReader::new(program.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let value: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        program.ready = value["ready"].clone();
        program
    }

    /// Does not wait until it is ready.
    pub(crate) fn spawn(words: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_chrysalis-network"))
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, ready: Value::Null }
    }

    fn wait(&mut self) -> Option<i32> {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begin.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the program to its end: exit code and standard error.
pub(crate) fn run(words: &[&str]) -> (Option<i32>, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_chrysalis-network")).args(words).stdin(Stdio::null()).output().unwrap();
    assert!(output.stdout.is_empty(), "{:?}", String::from_utf8_lossy(&output.stdout));
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

pub(crate) fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A configuration as the genuine programs' own set-up for one machine renders it.
fn fixture(name: &str) -> String {
    format!("{}/../../../tests/fixtures/network/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn proxy_config(folder: &Path, workers_port: u16) -> String {
    let text = std::fs::read_to_string(fixture("proxy-config.json")).unwrap();
    let text = text.replace(r#""workers_rpc_port": "0""#, &format!(r#""workers_rpc_port": "{workers_port}""#));
    write(folder, "proxy.json", &text)
}

#[test]
fn proxy_and_gateway_start_from_genuine_configurations_say_they_are_ready_and_end_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let nowhere = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let network = write(here, "network.json", &network_json(nowhere, nowhere));
    let (config, data) = (fixture("proxy-config.json"), here.join("proxy").to_str().unwrap().to_owned());
    let words = ["proxy", "--config", &config, "--network", &network, "--data", &data, "--pow-difficulty", "4"];
    let mut proxy = Program::start(&words);
    assert_eq!(proxy.ready["role"], "proxy");
    assert!(proxy.ready["http_port"].is_null(), "port 0 means no page");
    let port = |name: &str| {
        std::net::SocketAddr::from(([127, 0, 0, 1], u16::try_from(proxy.ready[name].as_u64().unwrap()).unwrap()))
    };
    let network = write(here, "network.json", &network_json(port("workers_port"), port("clients_port")));
    let config = fixture("client-config.json");
    let data = here.join("gateway").to_str().unwrap().to_owned();
    let mut gateway = Program::start(&["gateway", "--config", &config, "--network", &network, "--data", &data]);
    assert_eq!(gateway.ready["role"], "gateway");
    let http = u16::try_from(gateway.ready["http_port"].as_u64().unwrap()).unwrap();
    let begin = Instant::now();
    loop {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", http)).unwrap();
        stream.write_all(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        if answer.starts_with("HTTP/1.1 200") {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "the gateway did not reach the proxy: {answer}");
        std::thread::sleep(Duration::from_millis(20));
    }
    for program in [&mut proxy, &mut gateway] {
        terminate(program.child.id());
        assert_eq!(program.wait(), Some(0));
    }
    assert!(here.join("proxy/proxy.sqlite").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_is_killed_still_owes_everything_it_said_it_had_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (workers, clients) = (free(), free());
    let network_file = write(here, "network.json", &network_json(workers, clients));
    let text = std::fs::read_to_string(fixture("proxy-config.json")).unwrap();
    let text = text.replace(r#""workers_rpc_port": "0""#, &format!(r#""workers_rpc_port": {}"#, workers.port()));
    let text = text.replace(r#""client_rpc_port": 0"#, &format!(r#""client_rpc_port": {}"#, clients.port()));
    let config = write(here, "proxy.json", &text);
    let data = here.join("data").to_str().unwrap().to_owned();
    let words = ["proxy", "--config", &config, "--network", &network_file, "--data", &data, "--pow-difficulty", "4"];
    let mut proxy = Program::start(&words);
    let network = network(workers, clients);
    let wallet = ton::Address { workchain: 0, hash: [0x77; 32] };
    let gateway = network::gateway::start(network::gateway::Settings::new(network.clone(), wallet)).await.unwrap();

    let mut worker = Worker::dial(workers, &network, 1).await;
    // Jobs until the proxy says that some of what they earned is written down.
    let told = soon("a total that is written down", async {
        loop {
            let asking = tokio::spawn(post_chat(gateway.http()));
            // While the gateway is not connected, or the worker not listed, there is no job.
            if let Ok(job) = tokio::time::timeout(Duration::from_millis(500), worker.next()).await {
                worker.answer(&job);
            }
            asking.await.unwrap();
            let payments = worker.payments.lock().unwrap();
            if let Some(stored) = payments.iter().map(|report| report.db_tokens).find(|stored| *stored > 0) {
                break stored;
            }
        }
    })
    .await;
    proxy.child.kill().unwrap();
    proxy.wait();
    let _again = Program::start(&words);
    let back = Worker::dial(workers, &network, 1).await;
    let first = until("a payment", || async { back.payments.lock().unwrap().first().cloned() }).await;
    // After a restart everything written down counts as committed, so it is signed for at once.
    assert!(i64::try_from(first.tokens).unwrap() >= told, "{} signed, {told} were told", first.tokens);
    gateway.stop().await;
}

async fn post_chat(to: std::net::SocketAddr) {
    post(to, "/v1/chat/completions", &chat(false)).await;
}

#[test]
fn practice_ends_with_its_parent_and_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let words = ["practice", "--data", data, "--customers", "0", "--pow-difficulty", "4"];
    let mut practice = Program::start(&words);
    assert_eq!(practice.ready["role"], "practice");
    let keys: Vec<&String> = practice.ready.as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 6, "{keys:?}");
    assert!(Path::new(practice.ready["network_file"].as_str().unwrap()).ends_with("network.json"));
    let mut input = practice.stdin();
    input.write_all(b"what is written does not matter\n").unwrap();
    assert!(practice.child.try_wait().unwrap().is_none());
    drop(input);
    assert_eq!(practice.wait(), Some(0));
    let mut practice = Program::start(&words);
    terminate(practice.child.id());
    assert_eq!(practice.wait(), Some(0));
}

#[test]
fn what_cannot_start_says_why_and_ends_with_code_1() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let nowhere = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let network = write(here, "network.json", &network_json(nowhere, nowhere));
    let data = here.join("data").to_str().unwrap().to_owned();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let good = proxy_config(here, port);
    let (code, words) = run(&["proxy", "--config", &good, "--network", &network, "--data", &data]);
    assert_eq!(code, Some(1));
    assert!(words.contains(&port.to_string()) && words.contains("in use"), "{words}");
    let config = |text: &str| write(here, "other.json", text);
    for (config, network, wanted) in [
        ("/nowhere/proxy.json".to_owned(), network.clone(), "/nowhere/proxy.json"),
        (good.clone(), "/nowhere/network.json".to_owned(), "/nowhere/network.json"),
        (
            write(
                here,
                "real.json",
                &std::fs::read_to_string(&good).unwrap().replace(r#""is_test": 1"#, r#""is_test": 0"#),
            ),
            network.clone(),
            "is_test",
        ),
        (config("{"), network.clone(), "other.json"),
        (good.clone(), write(here, "broken.json", "{\"registered_proxies\":"), "broken.json"),
    ] {
        let (code, words) = run(&["proxy", "--config", &config, "--network", &network, "--data", &data]);
        assert_eq!(code, Some(1), "{words}");
        assert!(words.contains(wanted), "{words}");
        assert!(!words.contains(KEY), "a key was printed");
    }
    let (code, words) = run(&["proxy"]);
    assert_eq!(code, Some(2));
    assert!(words.contains("--config"), "{words}");
}

/// Asks a process to end.
fn terminate(pid: u32) {
    let status = Command::new("kill").args(["-TERM", &pid.to_string()]).status().unwrap();
    assert!(status.success());
}
