//! Customers that break the rules of HTTP. After each of them the gateway serves an ordinary one.

use std::time::Duration;

use network::gateway::Patience;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stage::{Stage, chat, get, head, post_bytes, send, soon};

async fn still_serves(stage: &Stage) {
    assert_eq!(soon("the list of models", get(stage.http(), "/v1/models")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_no_requests_are_refused_with_400() {
    let stage = Stage::start().await;
    for body in [
        &b"not json"[..],
        b"",
        b"[]",
        b"{\"model\":5}",
        b"{\"messages\":[]}",
        b"\xff\xfe\xfd",
        b"{\"model\":\"m\",\"timeout\":\"soon\"}",
        "[".repeat(50_000).as_bytes(),
    ] {
        let answer = send(stage.http(), &post_bytes("/v1/chat/completions", body)).await.rest().await;
        assert_eq!(answer.status, 400);
        assert!(answer.json()["error"]["message"].is_string(), "{}", answer.text());
    }
    assert_eq!(stage.gateway.stats()["stats"]["rejected"], 8);
    assert_eq!(stage.gateway.stats()["stats"]["queries"], 0);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let stage = Stage::start().await;
    let head_only = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n";
    let answer = soon("a refusal", async { send(stage.http(), head_only.as_bytes()).await.rest().await }).await;
    assert_eq!(answer.status, 413, "{}", answer.text());
    // The same without a length, in chunks without end.
    let mut stream = TcpStream::connect(stage.http()).await.unwrap();
    let begin = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(begin.as_bytes()).await.unwrap();
    let chunk = [b"10000\r\n".to_vec(), vec![b'x'; 0x10000], b"\r\n".to_vec()].concat();
    let (mut reader, mut writer) = stream.into_split();
    let writing = tokio::spawn(async move { while writer.write_all(&chunk).await.is_ok() {} });
    let mut first = [0; 12];
    soon("a refusal", reader.read_exact(&mut first)).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 413");
    drop(reader);
    writing.abort();
    still_serves(&stage).await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_are_too_large_or_garbage_are_refused() {
    let stage = Stage::start().await;
    let long = format!("GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n", "x".repeat(200_000));
    let many = "X-Many: 1\r\n".repeat(5_000);
    let many = format!("GET /v1/models HTTP/1.1\r\nHost: localhost\r\n{many}\r\n");
    for bytes in
        [long.as_bytes(), many.as_bytes(), b"\x16\x03\x01\x02\x00\x01\x00garbage\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
    {
        let answer = soon("an end", async { send(stage.http(), bytes).await.rest().await }).await;
        assert!(answer.status == 0 || (400..500).contains(&answer.status), "{}", answer.status);
        assert_ne!(answer.status, 200);
    }
    still_serves(&stage).await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_behind_a_request_harms_nobody() {
    let stage = Stage::start().await;
    let _worker = stage.worker().await.answer_all();
    let body = chat(false).to_string();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}\x01\x02garbage\r\n\r\nGET /v1/models HTTP/1.1\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(stage.http()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut everything = Vec::new();
    soon("the end", stream.read_to_end(&mut everything)).await.ok();
    let text = String::from_utf8_lossy(&everything);
    assert!(text.starts_with("HTTP/1.1 200"), "the first request is a good one: {text}");
    assert_eq!(text.matches("HTTP/1.1 200").count(), 1, "nothing behind garbage is served: {text}");
    still_serves(&stage).await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_heads_slow_bodies_and_open_connections_hold_nobody_up_and_are_ended() {
    let usual = Patience::default();
    assert_eq!((usual.head, usual.body), (Duration::from_secs(10), Duration::from_secs(30)));
    let short = Patience { head: Duration::from_millis(700), body: Duration::from_millis(700) };
    let stage = Stage::start_with(|_| {}, |gateway| gateway.patience = short).await;
    let _worker = stage.worker().await.answer_all();
    let begin = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{";
    let mut slow = Vec::new();
    for number in 0..90 {
        let mut stream = TcpStream::connect(stage.http()).await.unwrap();
        let bytes = [begin, "GET /v1/models HTTP/1.1\r\nHost: loc", ""][number % 3];
        stream.write_all(bytes.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    assert_eq!(stage.ask(&chat(false)).await.status, 200);
    for (number, stream) in slow.into_iter().enumerate() {
        let answer = soon("the end", head(stream)).await;
        match number % 3 {
            0 => assert_eq!(answer.status, 408, "a slow body"),
            _ => assert!(answer.status == 0 || answer.status == 408, "a slow head: {}", answer.status),
        }
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_from_elsewhere_cannot_spend_the_owners_money() {
    let stage = Stage::start().await;
    let ask = async |headers: &str| {
        let body = chat(false).to_string();
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\n{headers}Content-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        send(stage.http(), request.as_bytes()).await.rest().await
    };
    assert_eq!(ask("Host: localhost\r\nOrigin: https://evil.example\r\n").await.status, 403);
    assert_eq!(ask("Host: evil.example\r\n").await.status, 403);
    let local = ask("Host: localhost\r\nOrigin: http://localhost:5173\r\n").await;
    assert_eq!(local.header("access-control-allow-origin"), Some("http://localhost:5173"));
    assert_eq!(local.status, 500, "nobody serves the model here, but the page was let in");

    let options = |origin: &str| {
        let request = format!(
            "OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\nConnection: close\r\n\r\n"
        );
        let to = stage.http();
        async move { send(to, request.as_bytes()).await.rest().await }
    };
    let allowed = options("http://127.0.0.1:3000").await;
    assert_eq!((allowed.status, allowed.header("access-control-allow-origin")), (200, Some("http://127.0.0.1:3000")));
    assert!(allowed.header("access-control-allow-headers").is_some_and(|names| names.contains("content-type")));
    let refused = options("https://evil.example").await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (403, None));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_paths_and_methods_are_told_apart_and_change_nothing() {
    let stage = Stage::start_with(
        |proxy| proxy.access_hash = "abc".to_owned(),
        |gateway| gateway.access_hash = "abc".to_owned(),
    )
    .await;
    for (request, status) in [
        ("GET /v1/chat/completions", 405),
        ("DELETE /v1/models", 405),
        ("POST /jsonstats", 405),
        ("GET /request/withdraw?proxy=x", 404),
        ("GET /../etc/passwd", 404),
        ("GET /jsonstats", 403),
        ("GET /jsonstats?access_hash=abc", 200),
    ] {
        let bytes = format!("{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = soon(request, async { send(stage.http(), bytes.as_bytes()).await.rest().await }).await;
        assert_eq!(answer.status, status, "{request}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{request}");
    }
    let page = stage.proxy.http().unwrap();
    for (request, status) in [
        ("GET /request/disable", 404),
        ("POST /jsonstats", 405),
        ("GET /jsonstats", 403),
        ("GET /jsonstats?access_hash=abc", 200),
    ] {
        let bytes = format!("{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = soon(request, async { send(page, bytes.as_bytes()).await.rest().await }).await;
        assert_eq!(answer.status, status, "{request}");
    }
    assert_eq!(stage.gateway.stats()["practice"], json!(false));
    tokio::time::sleep(Duration::from_millis(1)).await;
    stage.stop().await;
}
