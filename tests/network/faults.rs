//! Processes killed, bytes garbled, customers gone: nothing is lost, and service goes on.

use crate::commands::{network_json, proxy_config};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use system_tests::program::{Running, is_alive, send};
use system_tests::{OWNER, ROOT, Stage, free_port, http, memory, port, served_as, start_app, tiny_model, until};

#[test]
fn a_worker_killed_in_mid_answer_is_replaced_and_the_next_question_is_answered() {
    let stage = Stage::start();
    let first = stage.worker_now().expect("a worker");
    let mut coming =
        http::begin(stage.http_port, "/v1/chat/completions", &stage.chat("go on and on", 8000, true)).unwrap();
    coming.piece().unwrap().expect("a first piece");
    send(first, rustix::process::Signal::KILL);
    // The stream may break off or end with an error event; it must not hang.
    drop(coming.rest());
    let second = until("a new worker", || stage.worker_now().filter(|pid| *pid != first));
    assert!(!is_alive(first));
    stage.wait_for_model();
    let answer = http::post(stage.http_port, "/v1/chat/completions", &stage.chat("and now?", 8, false)).unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert!(is_alive(second));
}

#[test]
fn an_app_killed_and_restarted_has_lost_nothing_from_its_ledger() {
    let mut stage = Stage::start();
    let kills = std::env::var("CHRYSALIS_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(3_u32);
    let (data, model) = (stage.folder.path().join("app"), tiny_model());
    let network = system_tests::program::find_file(&stage.folder.path().join("network"), "network.json").unwrap();
    let name = served_as("test/tiny", &model);
    let mut answered = 0;
    for round in 0..kills {
        for _ in 0..2 {
            let answer =
                http::post(stage.http_port, "/v1/chat/completions", &stage.chat("a short one", 4, false)).unwrap();
            assert_eq!(answer.status, 200, "round {round}: {}", String::from_utf8_lossy(&answer.body));
            answered += 1;
        }
        // A job that ended is in the ledger as soon as the statistics count it; kill the app right then.
        until("the ledger to have the jobs", || {
            let ledger = ledger::Ledger::open(&stage.ledger_path(), 0).ok()?;
            (ledger.all_time_totals().ok()?.answered >= answered).then_some(())
        });
        stage.app.kill();
        let ledger = ledger::Ledger::open(&stage.ledger_path(), 0).unwrap();
        assert_eq!(ledger.all_time_totals().unwrap().answered, answered, "round {round}");
        drop(ledger);
        let (app, worker_pid) = start_app(&data, network.to_str().unwrap(), &model, &name, &[]);
        stage.app = app;
        stage.worker_pid = worker_pid;
        stage.wait_for_model();
    }
}

#[test]
fn a_proxy_that_is_gone_and_comes_back_is_served_again() {
    let folder = tempfile::tempdir().unwrap();
    let (workers, clients, web) = (free_port(), free_port(), free_port());
    let network = folder.path().join("network.json");
    std::fs::write(&network, network_json(workers, clients)).unwrap();
    let config = folder.path().join("proxy.json");
    std::fs::write(
        &config,
        proxy_config(workers).replace(r#""client_rpc_port":"0""#, &format!(r#""client_rpc_port":"{clients}""#)),
    )
    .unwrap();
    let gateway_config = folder.path().join("client.json");
    std::fs::write(
        &gateway_config,
        json!({"is_test": true, "is_testnet": false, "http_port": web, "proxy_connections": 1, "owner_address": OWNER,
               "root_contract_address": ROOT, "node_wallet_key": "gaEatwGNgLGOeFI/TRGfPdJG/K4G8picYHQkDHpLQ9w="})
        .to_string(),
    )
    .unwrap();
    let proxy_data = folder.path().join("proxy-data");
    let start_proxy = || {
        let words = [
            "proxy",
            "--config",
            config.to_str().unwrap(),
            "--network",
            network.to_str().unwrap(),
            "--data",
            proxy_data.to_str().unwrap(),
            "--pow-difficulty",
            "8",
        ];
        let mut proxy = Running::start("chrysalis-network", &words);
        let ready = proxy.ready();
        assert_eq!((port(&ready, "workers_port"), port(&ready, "clients_port")), (workers, clients));
        proxy
    };
    let mut proxy = start_proxy();
    let gateway_data = folder.path().join("gateway-data");
    let words = [
        "gateway",
        "--config",
        gateway_config.to_str().unwrap(),
        "--network",
        network.to_str().unwrap(),
        "--data",
        gateway_data.to_str().unwrap(),
    ];
    let mut gateway = Running::start("chrysalis-network", &words);
    assert_eq!(port(&gateway.ready(), "http_port"), web);
    let model = tiny_model();
    let name = served_as("test/tiny", &model);
    let (app, _) = start_app(&folder.path().join("app"), network.to_str().unwrap(), &model, &name, &[]);
    let ask = || {
        let body = json!({"model": "test/tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4, "timeout": 20});
        http::post(web, "/v1/chat/completions", &body).ok().filter(|answer| answer.status == 200)
    };
    until("a first answer", &ask);
    proxy.kill();
    let refused =
        http::post(web, "/v1/chat/completions", &json!({"model": "test/tiny", "messages": [], "timeout": 2})).unwrap();
    assert!(refused.status >= 500, "without a proxy: {}", refused.status);
    let _proxy = start_proxy();
    until("an answer after the proxy came back", &ask);
    assert!(is_alive(app.pid()));
}

#[test]
fn a_proxy_that_sends_garbage_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let network = folder.path().join("network.json");
    let here = listener.local_addr().unwrap().port();
    std::fs::write(&network, network_json(here, here)).unwrap();
    let model = tiny_model();
    let name = served_as("test/tiny", &model);
    let (app, worker) = start_app(&folder.path().join("app"), network.to_str().unwrap(), &model, &name, &[]);
    for case in 0..3 {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        match case {
            0 => stream.write_all(&[0xff; 4096]).unwrap(),
            // A challenge that is too hard to solve.
            1 => stream
                .write_all(&[&0x418e_1291_u32.to_le_bytes()[..], &64_i32.to_le_bytes(), &[7; 16]].concat())
                .unwrap(),
            // An easy one, then garbage in place of TLS.
            _ => {
                stream
                    .write_all(&[&0x418e_1291_u32.to_le_bytes()[..], &0_i32.to_le_bytes(), &[7; 16]].concat())
                    .unwrap();
                let mut answer = [0_u8; 12];
                stream.read_exact(&mut answer).unwrap();
                stream.write_all(&vec![0x55; 100_000]).ok();
            }
        }
        let mut rest = [0_u8; 4096];
        // The app must hang up by itself.
        while stream.read(&mut rest).is_ok_and(|count| count > 0) {}
    }
    assert!(is_alive(app.pid()) && is_alive(worker), "{}", app.errors());
}

#[test]
fn a_slow_reader_and_a_customer_who_leaves_hold_nothing_up() {
    let stage = Stage::start();
    let request = |tokens| http::post_bytes("/v1/chat/completions", &stage.chat("tell me a lot", tokens, true));
    // One customer never reads, another leaves after the head, a third breaks off in his own request.
    let mut slow = TcpStream::connect(("127.0.0.1", stage.http_port)).unwrap();
    slow.write_all(&request(4000)).unwrap();
    let gone = http::start(stage.http_port, &request(4000)).unwrap();
    drop(gone);
    let mut half = TcpStream::connect(("127.0.0.1", stage.http_port)).unwrap();
    let bytes = request(100);
    half.write_all(&bytes[..bytes.len() / 2]).unwrap();
    drop(half);
    for _ in 0..3 {
        let answer =
            http::post(stage.http_port, "/v1/chat/completions", &stage.chat("still there?", 6, false)).unwrap();
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    }
    let app = memory::proportional(stage.app.pid()).expect("the app's memory");
    assert!(app < 200 << 20, "the app holds {app} bytes");
    drop(slow);
}
