//! Simulated customers against a scripted worker.

use network::config::Network;
use network::practice;

use crate::stage::{Worker, get, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn customers_ask_varied_questions_until_they_are_sent_home() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = practice::Settings::new(folder.path().join("data"));
    settings.customers = 6;
    settings.model = Some("test/tiny@test:00".parse().unwrap());
    let running = practice::start(settings).await.unwrap();
    assert_eq!(running.network_file(), folder.path().join("data/network.json"));
    // What an app does with the file: everything it needs is in it.
    let network = Network::read(running.network_file(), "").unwrap();
    let proxy = network.root.registered_proxies.first().unwrap();
    assert_eq!(std::net::SocketAddr::V4(proxy.worker_endpoint), running.workers());
    assert_eq!(std::net::SocketAddr::V4(proxy.client_endpoint), running.clients());
    assert_eq!((network.root.worker_fee_per_token.0, network.root.price_per_token.0), (1_000_000, 2_000_000));
    assert_eq!(running.customers()["asked"], 0, "nobody asks before somebody serves");

    let mut worker = Worker::dial(running.workers(), &network, 1).await;
    let (mut streamed, mut whole, mut raw, mut systems, mut languages) = (0, 0, 0, 0, 0);
    for _ in 0..30 {
        let job = worker.job().await;
        let body: serde_json::Value = serde_json::from_slice(&job.body).unwrap();
        if body["stream"] == true {
            streamed += 1;
        } else {
            whole += 1;
        }
        raw += usize::from(job.url == "/v1/completions");
        systems += usize::from(body["messages"][0]["role"] == "system");
        languages += usize::from(!body.to_string().is_ascii());
        worker.answer(&job);
    }
    assert!(
        streamed > 0 && whole > 0 && systems > 0 && languages > 0,
        "{streamed} {whole} {raw} {systems} {languages}"
    );
    let _rest = worker.answer_all();
    until("all answers to arrive", || async {
        (running.customers()["answered"].as_u64().unwrap() >= 30).then_some(())
    })
    .await;
    assert_eq!(running.customers()["failed"], 0);
    let page = get(running.http(), "/jsonstats").await.json();
    assert!(page["practice"]["note"].as_str().unwrap().contains("practice"));
    assert!(page["practice"]["customers"]["answered"].as_u64().unwrap() >= 30);
    assert_eq!(running.proxy().stats().await.unwrap()["practice"], true);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn practice_goes_on_where_it_was_and_begins_anew_where_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let start = async || {
        let mut settings = practice::Settings::new(folder.path().to_owned());
        settings.customers = 0;
        let running = practice::start(settings).await.unwrap();
        let key = running.proxy().public_key();
        running.stop().await;
        key
    };
    let first = start().await;
    assert_eq!(start().await, first);
    // Accounts of another proxy, or none at all.
    std::fs::write(folder.path().join("practice-proxy.sqlite"), b"this is no database, but long enough for one")
        .unwrap();
    let second = start().await;
    assert_ne!(second, first);
    assert_eq!(start().await, second);
}
