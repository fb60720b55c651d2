//! Workers, proxies and customers that go away or do not read.

use std::time::Duration;

use network::proxy;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::stage::{Stage, Step, USAGE, Worker, chat, get, network, post, post_bytes, proxy_settings, soon, until};

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    for choose in [
        (|settings: &mut proxy::Settings, port| settings.workers_port = port) as fn(&mut proxy::Settings, u16),
        |settings, port| settings.clients_port = port,
        |settings, port| settings.http_port = Some(port),
    ] {
        let mut settings = proxy_settings(folder.path().join("proxy.sqlite"));
        choose(&mut settings, port);
        let error = proxy::start(settings).await.err().unwrap().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("in use"), "{error}");
    }
    let nowhere = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let wallet = ton::Address { workchain: 0, hash: [1; 32] };
    let mut settings = network::gateway::Settings::new(network(nowhere, nowhere), wallet);
    settings.http_port = port;
    let error = network::gateway::start(settings).await.err().unwrap().to_string();
    assert!(error.contains(&port.to_string()) && error.contains("in use"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_worker_is_lost_before_a_token_goes_to_another() {
    let stage = Stage::start().await;
    let mut first = stage.worker().await;
    let question = chat(false);
    let (answer, ()) = tokio::join!(stage.ask(&question), async {
        let job = first.job().await;
        // A head alone is no token yet.
        first.tell(Step::Head(job.id, 200, "application/json"));
        let mut second = stage.worker().await;
        first.tell(Step::Die);
        let job = second.job().await;
        second.answer(&job);
        soon("the first one's end", &mut first.end).await.unwrap().unwrap();
    });
    assert_eq!((answer.status, answer.is_whole), (200, true), "{}", answer.text());
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_in_mid_answer_breaks_it_off_and_is_asked_again_when_it_is_back() {
    let stage = Stage::start().await;
    let mut worker = stage.worker().await;
    let question = chat(true);
    let (answer, ()) = tokio::join!(stage.ask(&question), async {
        let job = worker.job().await;
        worker.tell(Step::Head(job.id, 200, "text/event-stream"));
        worker.tell(Step::Part(job.id, b"data: half\n\n".to_vec()));
        worker.tell(Step::Die);
    });
    assert_eq!(answer.status, 200);
    assert!(!answer.is_whole, "a broken answer must not look whole");
    assert_eq!(answer.text(), "data: half\n\n");
    assert_eq!(stage.gateway.stats()["stats"]["failed"], 1);
    // Nothing is charged for it.
    let page = stage.proxy.stats().await.unwrap();
    assert_eq!((&page["stats"]["failed"], &page["stats"]["total_adjusted_tokens_used"]), (&1.into(), &0.into()));
    let _back = stage.worker().await.answer_all();
    assert_eq!(stage.ask(&chat(true)).await.status, 200);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_proxy_knows_its_accounts_and_the_gateway_dials_again() {
    let stage = Stage::start().await;
    let worker = stage.worker().await.answer_all();
    assert_eq!(stage.ask(&chat(false)).await.status, 200);
    let (workers, clients) = (stage.proxy.workers(), stage.proxy.clients());
    stage.proxy.stop().await;
    soon("the worker's end", worker).await.unwrap();
    until("the gateway to notice", || async {
        let answer = post(stage.gateway.http(), "/v1/chat/completions", &chat(false)).await;
        (answer.status == 502 && answer.json()["error_code"] == 651).then_some(())
    })
    .await;

    let mut settings = proxy_settings(stage.folder.path().join("proxy.sqlite"));
    (settings.workers_port, settings.clients_port) = (workers.port(), clients.port());
    let proxy = proxy::start(settings).await.unwrap();
    let page = proxy.stats().await.unwrap();
    // Known, stored and committed are all what was written down, for worker and client.
    assert_eq!((&page["workers"][0]["earned_tokens"], &page["workers"][0]["committed_tokens"]), (&8.into(), &8.into()));
    assert_eq!(page["clients"][0]["used_tokens"], 8);
    // The worker that comes back gets a payment for what it earned before.
    let back = Worker::dial(workers, &stage.network, 1).await;
    until("a payment for the job before the restart", || async {
        back.payments.lock().unwrap().iter().any(|report| report.tokens == 8).then_some(())
    })
    .await;
    let _back = back.answer_all();
    until("an answer after the restart", || async {
        let answer = post(stage.gateway.http(), "/v1/chat/completions", &chat(false)).await;
        (answer.status == 200).then_some(())
    })
    .await;
    stage.gateway.stop().await;
    proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_who_leaves_is_counted_and_his_job_still_paid() {
    let stage = Stage::start().await;
    let mut worker = stage.worker().await;
    let request = post_bytes("/v1/chat/completions", chat(true).to_string().as_bytes());
    let mut stream = TcpStream::connect(stage.http()).await.unwrap();
    stream.write_all(&request).await.unwrap();
    let job = worker.job().await;
    worker.tell(Step::Head(job.id, 200, "text/event-stream"));
    worker.tell(Step::Part(job.id, b"data: 1\n\n".to_vec()));
    drop(crate::stage::head(stream).await);
    until("the gateway to notice", || async { (stage.gateway.stats()["stats"]["customers_gone"] == 1).then_some(()) })
        .await;
    worker.tell(Step::Last(job.id, b"data: 2\n\n".to_vec(), USAGE));
    until("the job's end", || async {
        let page = stage.proxy.stats().await.unwrap();
        (page["stats"]["total_adjusted_tokens_used"] == 8).then_some(())
    })
    .await;
    // One who leaves before the head is noticed, too.
    let mut stream = TcpStream::connect(stage.http()).await.unwrap();
    stream.write_all(&request).await.unwrap();
    let job = worker.job().await;
    drop(stream);
    until("the gateway to notice the second", || async {
        (stage.gateway.stats()["stats"]["customers_gone"] == 2).then_some(())
    })
    .await;
    worker.answer(&job);
    assert_eq!(stage.gateway.stats()["stats"]["running"], 0);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_who_does_not_read_is_given_up_and_holds_nobody_up() {
    let stage = Stage::start().await;
    let mut worker = stage.worker().await;
    let request = post_bytes("/v1/chat/completions", chat(true).to_string().as_bytes());
    let mut slow = TcpStream::connect(stage.http()).await.unwrap();
    slow.write_all(&request).await.unwrap();
    let job = worker.job().await;
    worker.tell(Step::Head(job.id, 200, "text/event-stream"));
    // More than any socket buffer and the gateway's queue hold together.
    for _ in 0..96 {
        worker.tell(Step::Part(job.id, vec![b'x'; 256 * 1024]));
    }
    worker.tell(Step::Last(job.id, b"end".to_vec(), USAGE));
    // Another customer is served meanwhile.
    let question = chat(false);
    let (answer, ()) = tokio::join!(stage.ask(&question), async {
        let job = worker.job().await;
        worker.answer(&job);
    });
    assert_eq!(answer.status, 200);
    // What he can still read ends without the end that a whole answer has.
    let broken = soon("the broken answer", crate::stage::head(slow)).await;
    let answer = soon("its end", broken.rest()).await;
    assert!(!answer.is_whole && answer.body.len() < 24 * 1024 * 1024, "{} bytes", answer.body.len());
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_does_not_read_is_cut_off() {
    let limits = network::proxy::Limits { queue: 4 * 1024 * 1024, ..Default::default() };
    let stage = Stage::start_with(
        |proxy| {
            proxy.limits = limits;
            proxy.retry = false;
        },
        |_| {},
    )
    .await;
    let deaf = stage.worker().await;
    deaf.tell(Step::Freeze);
    // More than the proxy's queue for it and all socket buffers hold together.
    let mut question = chat(false);
    question["messages"][0]["content"] = "x".repeat(2_000_000).into();
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (to, question) = (stage.http(), question.clone());
        asking.spawn(async move { post(to, "/v1/chat/completions", &question).await.status });
    }
    // Its jobs fail at once instead of waiting for their time.
    while let Some(status) = soon("a refusal", asking.join_next()).await {
        assert_eq!(status.unwrap(), 502);
    }
    let page = stage.proxy.stats().await.unwrap();
    assert_eq!(page["connections"], serde_json::json!({ "workers": 0, "clients": 1 }));
    assert!(!deaf.end.is_finished(), "its own end of the connection is still open");
    let _other = stage.worker().await.answer_all();
    assert_eq!(stage.ask(&chat(false)).await.status, 200);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_proxy_the_gateway_says_so_at_once_and_keeps_dialling() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let wallet = ton::Address { workchain: 0, hash: [1; 32] };
    let settings = network::gateway::Settings::new(network(port, port), wallet);
    let gateway = network::gateway::start(settings).await.unwrap();
    for answer in [
        soon("an answer", post(gateway.http(), "/v1/chat/completions", &chat(false))).await,
        soon("an answer", get(gateway.http(), "/v1/models")).await,
    ] {
        assert_eq!((answer.status, answer.json()["error_code"].as_i64()), (502, Some(651)));
    }
    until("more attempts", || async { (gateway.stats()["proxies"][0]["dials"].as_u64().unwrap() >= 3).then_some(()) })
        .await;
    assert!(!gateway.connected(Duration::from_millis(1)).await);
    gateway.stop().await;
}
