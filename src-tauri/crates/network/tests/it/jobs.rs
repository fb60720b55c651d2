//! Whole jobs.

use std::time::Duration;

use serde_json::{Value, json};

use crate::stage::{MODEL, Stage, Step, USAGE, chat, get, post, post_bytes, send, soon, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_goes_to_a_worker_and_its_answer_comes_back() {
    let stage = Stage::start().await;
    let mut worker = stage.worker().await;
    let question = chat(false);
    let (answer, ()) = tokio::join!(stage.ask(&question), async {
        let job = worker.job().await;
        assert_eq!(job.url, "/v1/chat/completions");
        let body: Value = serde_json::from_slice(&job.body).unwrap();
        assert_eq!(body, chat(false));
        // Of the customer's own headers only the body's type is here.
        let names: Vec<&str> = job.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["Host", "Content-Type", "Content-Length"]);
        worker.answer(&job);
    });
    assert_eq!(answer.status, 200);
    assert!(answer.is_whole);
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "Good day");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    for name in ["x-cocoon-client-start", "x-cocoon-client-end", "x-cocoon-proxy-start", "x-cocoon-worker-start"] {
        assert!(answer.header(name).is_some(), "{name} is missing");
    }
    let stats = stage.gateway.stats();
    assert_eq!(stats["stats"]["success"], 1);
    assert_eq!(stats["stats"]["total_adjusted_tokens_used"], 8);
    let page = stage.proxy.stats().await.unwrap();
    assert_eq!(page["stats"]["success"], 1);
    assert_eq!(page["connections"], json!({ "workers": 1, "clients": 1 }));
    assert_eq!(get(stage.proxy.http().unwrap(), "/jsonstats").await.json()["stats"]["success"], 1);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_part_of_a_streamed_answer_reaches_the_customer_before_the_next_is_made() {
    let stage = Stage::start().await;
    let mut worker = stage.worker().await;
    let request = post_bytes("/v1/chat/completions", chat(true).to_string().as_bytes());
    let opening = tokio::spawn(send_later(stage.http(), request));
    let job = worker.job().await;
    worker.tell(Step::Head(job.id, 200, "text/event-stream"));
    worker.tell(Step::Part(job.id, b"data: 0\n\n".to_vec()));
    let mut coming = soon("the head", opening).await.unwrap();
    assert_eq!(coming.status, 200);
    for number in 0..5 {
        let chunk = soon("a chunk", coming.chunk()).await.unwrap().unwrap();
        assert_eq!(chunk, format!("data: {number}\n\n").into_bytes());
        let next = format!("data: {}\n\n", number + 1).into_bytes();
        if number < 4 {
            worker.tell(Step::Part(job.id, next));
        } else {
            worker.tell(Step::Last(job.id, next, USAGE));
        }
    }
    assert_eq!(soon("the last chunk", coming.chunk()).await.unwrap().unwrap(), b"data: 5\n\n");
    assert_eq!(soon("the end", coming.chunk()).await, Ok(None));
    stage.stop().await;
}

async fn send_later(to: std::net::SocketAddr, bytes: Vec<u8>) -> crate::stage::Coming {
    send(to, &bytes).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_customers_at_once_all_get_their_own_answers() {
    let stage = Stage::start().await;
    let _first = stage.worker().await.answer_all();
    let _second = stage.worker().await.answer_all();
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..12 {
        let to = stage.http();
        asking.spawn(async move { post(to, "/v1/chat/completions", &chat(number % 2 == 0)).await });
    }
    while let Some(answer) = soon("an answer", asking.join_next()).await {
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.is_whole), (200, true), "{}", answer.text());
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn completions_and_timings_work_as_with_the_genuine_client() {
    let stage = Stage::start().await;
    let _worker = stage.worker().await.answer_all();
    let body = json!({ "model": MODEL, "prompt": "Once", "enable_debug": true, "request_guid": "g", "timeout": 30 });
    let answer = soon("an answer", post(stage.http(), "/v1/completions", &body)).await;
    assert_eq!(answer.status, 200);
    let page = answer.json();
    assert_eq!(page["choices"][0]["text"], "Good day");
    assert_eq!(page["debug"]["worker"]["type"], "worker_stats");
    assert_eq!(page["debug"]["proxy"]["type"], "proxy_stats");
    assert_eq!(page["debug"]["client"]["type"], "client_stats");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_workers_own_refusals_pass_as_they_are() {
    let stage = Stage::start().await;
    let mut worker = stage.worker().await;
    let question = chat(false);
    let (answer, ()) = tokio::join!(stage.ask(&question), async {
        let job = worker.job().await;
        worker.tell(Step::Head(job.id, 400, "application/json"));
        worker.tell(Step::Last(job.id, br#"{"error":{"message":"unknown option 'tools'"}}"#.to_vec(), USAGE));
    });
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("tools"));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_of_the_network_become_statuses_with_a_json_body() {
    let stage = Stage::start_with(|proxy| proxy.retry = false, |_| {}).await;
    let ask = async |body: Value| stage.ask(&body).await;
    // Nobody ever served this model: code 621.
    let unknown = ask(chat(false)).await;
    assert_eq!((unknown.status, unknown.json()["error_code"].as_i64()), (500, Some(621)));
    assert!(unknown.json()["error"]["message"].is_string());
    assert_eq!(unknown.header("content-type"), Some("application/json"));

    let mut worker = stage.worker().await;
    // Dearer than the customer pays: code 651.
    let mut cheap = chat(false);
    cheap["max_coefficient"] = json!(999);
    let dear = ask(cheap).await;
    assert_eq!((dear.status, dear.json()["error_code"].as_i64()), (502, Some(651)));
    // The worker fails with a code of its own.
    let (question, code) = (chat(false), 602);
    let (failed, ()) = tokio::join!(stage.ask(&question), async {
        let job = worker.job().await;
        worker.tell(Step::Error(job.id, code));
    });
    assert_eq!((failed.status, failed.json()["error_code"].as_i64()), (500, Some(602)));
    // Nobody answers in time: code 652. The session of the worker ends the job by itself at its own time with an ordinary
    // answer, so this one must not be told.
    let mut hurried = chat(false);
    hurried["timeout"] = json!(0.001);
    let late = ask(hurried).await;
    assert_eq!(late.status, 504, "{}", late.text());
    // A worker that announced itself disabled is not asked: code 651.
    worker.tell(Step::Disable);
    until("the worker to be taken off the list", || async { (stage.listed().await == 0).then_some(()) }).await;
    let off = ask(chat(false)).await;
    assert_eq!((off.status, off.json()["error_code"].as_i64()), (502, Some(651)));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_are_listed_as_json_with_their_workers() {
    let stage = Stage::start().await;
    let _worker = stage.worker().await;
    let answer = get(stage.http(), "/v1/models").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let page = answer.json();
    assert_eq!(page["object"], "list");
    let wanted = json!([{ "id": MODEL, "object": "model", "created": 0, "owned_by": "cocoon",
        "workers": [{ "coefficient": 1000, "running_requests": 0, "max_running_requests": 32 }] }]);
    assert_eq!(page["data"], wanted);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_covered_by_a_payment_that_verifies() {
    let stage = Stage::start().await;
    let mut worker = stage.worker().await;
    let one_job = async |worker: &mut crate::stage::Worker| {
        let question = chat(false);
        let (answer, ()) = tokio::join!(stage.ask(&question), async {
            let job = worker.job().await;
            worker.answer(&job);
        });
        assert_eq!(answer.status, 200);
    };
    one_job(&mut worker).await;
    // Written down after one to two seconds, committed at once after that; the next job's payment covers the first.
    until("the accounts to be committed", || async {
        let page = stage.proxy.stats().await.unwrap();
        (page["workers"][0]["committed_tokens"] == 8).then_some(())
    })
    .await;
    one_job(&mut worker).await;
    let last = until("a payment for the first job", || async {
        let payments = worker.payments.lock().unwrap();
        payments.last().filter(|report| report.tokens == 8).cloned()
    })
    .await;
    assert_eq!((last.max_tokens, last.db_tokens), (16, 8));
    let signed = accounting::signed_payment::SignedPayment::from_boc(&last.boc).unwrap();
    let owner = ton::Address { workchain: 0, hash: [1; 32] };
    let root = &stage.network.root;
    let contract = root.worker_contract(&owner, &stage.proxy.proxy_contract(), &stage.proxy.public_key());
    assert_eq!(signed.verify(&stage.proxy.public_key(), &contract).unwrap(), 8);
    tokio::time::sleep(Duration::from_millis(1)).await;
    stage.stop().await;
}
