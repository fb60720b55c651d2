use std::time::Duration;

use accounting::TokenUsage;
use protocol::Error;
use protocol::http::ResponseHead;
use protocol::proxy::{Config, Outcome, Side};
use tl::Boxed;
use tl::proxy::{QueryAnswerEx, QueryFinalInfo, RunQueryEx};
use tl::tcp::Packet;
use ton::Nanoton;

use crate::recorded_network as network;
use crate::stage::{Stage, proxy_config, request, worker_config};

fn introduced(change: impl FnOnce(&mut tl::worker::Params)) -> (Stage, u64, Result<Vec<u8>, (i32, String)>) {
    introduced_to(proxy_config(false), change)
}

fn introduced_to(
    config: Config,
    change: impl FnOnce(&mut tl::worker::Params),
) -> (Stage, u64, Result<Vec<u8>, (i32, String)>) {
    let mut stage = Stage::new(1, config);
    let conn = stage.add_raw(Side::Worker);
    stage.raw_send(conn, &Packet::Connect { id: 1 });
    let mut params = network::worker_params(1000, 10);
    change(&mut params);
    let answer = stage.raw_ask(conn, tl::worker::ConnectToProxy { params }.to_bytes());
    (stage, conn, answer)
}

#[test]
fn every_refusal_of_a_worker_has_its_recorded_code_and_closes() {
    type Change = fn(&mut tl::worker::Params);
    let cases: [(Change, i32, &str); 9] = [
        (|it| it.flags = 0, 602, "too old worker"),
        (
            |it| (it.min_proto_version, it.max_proto_version) = (Some(3), Some(3)),
            621,
            "cannot choose common protocol version",
        ),
        (|it| it.is_test = Some(false), 602, "test mode mismatch"),
        (|it| it.model = String::new(), 621, "invalid worker hash or worker type"),
        (|it| it.coefficient = -1, 621, "invalid coefficient value"),
        (|it| it.coefficient = 1_000_000_000, 621, "invalid coefficient value"),
        (|it| it.max_active_requests = Some(0), 621, "invalid max_active_requests value"),
        (|it| it.proxy_cnt = Some(0), 621, "invalid proxy_cnt value"),
        (|it| it.worker_owner_address = "hello".to_owned(), 0, "Failed to parse account address"),
    ];
    for (change, code, words) in cases {
        let (stage, conn, answer) = introduced(change);
        assert_eq!(answer, Err((code, words.to_owned())));
        assert_eq!(stage.closed, [(conn, Error::TurnedAway { code, reason: words })]);
    }
}

#[test]
fn what_the_recorded_proxy_accepted_is_accepted() {
    type Change = fn(&mut tl::worker::Params);
    let cases: [Change; 4] = [
        |it| (it.min_proto_version, it.max_proto_version) = (Some(1), Some(1)),
        |it| (it.min_proto_version, it.max_proto_version) = (Some(0), Some(9)),
        |it| it.model = "No/Such@x:y".to_owned(),
        |it| it.worker_owner_address = format!("0:{}", "11".repeat(32)),
    ];
    for change in cases {
        let (stage, _, answer) = introduced(change);
        let answer = tl::worker::ConnectedToProxy::from_bytes(&answer.unwrap()).unwrap();
        assert_eq!(answer.params.proxy_sc_address, network::PROXY_CONTRACT);
        assert_eq!(stage.closed, []);
    }
}

#[test]
fn hashes_are_checked_where_the_network_demands_it() {
    let demanding = || Config { check_worker_hashes: true, ..proxy_config(false) };
    let (_, _, answer) = introduced_to(demanding(), |_| {});
    assert_eq!(answer.unwrap_err().0, 621);
}

#[test]
fn an_unknown_query_is_lost_and_a_known_one_out_of_turn_closes() {
    let mut stage = Stage::new(1, proxy_config(false));
    let conn = stage.add_raw(Side::Worker);
    stage.raw_send(conn, &Packet::Connect { id: 1 });
    let unknown = vec![0xef, 0xbe, 0xad, 0xde];
    assert_eq!(stage.raw_ask(conn, unknown.clone()), Err((0, "Lost promise".to_owned())));
    let (code, _) = stage.raw_ask(conn, network::no_claims().to_bytes()).unwrap_err();
    assert_eq!((code, stage.closed.len()), (621, 1));

    let mut stage = Stage::new(1, proxy_config(false));
    let conn = stage.add_raw_worker();
    assert_eq!(stage.raw_ask(conn, unknown), Err((0, "Lost promise".to_owned())));
    let params = network::worker_params(1000, 4);
    let again = stage.raw_ask(conn, tl::worker::ConnectToProxy { params }.to_bytes());
    assert_eq!(again, Err((0, "connection is already ready".to_owned())));
    assert_eq!(stage.closed, []);
}

#[test]
fn claims_above_the_record_are_refused_without_an_abort() {
    for (chain, stored) in [(1, 0), (0, 1), (i64::MAX, i64::MAX)] {
        let (mut stage, conn, _) = introduced(|_| {});
        let claims = tl::worker::CompareBalanceWithProxy {
            tokens_committed_to_blockchain: chain,
            tokens_committed_to_db: stored,
            max_tokens: 0,
        };
        assert_eq!(stage.raw_ask(conn, claims.to_bytes()).unwrap_err().0, 621);
        assert_eq!(stage.closed.len(), 1);
    }
}

#[test]
fn a_worker_that_knows_more_can_finish_its_handshake() {
    let (mut stage, conn, _) = introduced(|_| {});
    let claims = tl::worker::CompareBalanceWithProxy { max_tokens: 1000, ..network::no_claims() };
    let answer = stage.raw_ask(conn, claims.to_bytes()).unwrap();
    let answer = tl::worker::CompareBalanceWithProxyResult::from_bytes(&answer).unwrap();
    // With 0 a genuine worker would abort.
    assert_eq!(answer.error_code, 1);
    let more = tl::worker::ExtendedCompareBalanceWithProxy { tokens_committed_to_db: 0, other: Vec::new() };
    stage.raw_ask(conn, more.to_bytes()).unwrap();
    // Here a genuine proxy is stuck.
    stage.raw_ask(conn, tl::worker::ProxyHandshakeComplete { is_disabled: false }.to_bytes()).unwrap();
    stage.raw_ask(conn, tl::worker::UpdatePaymentStatus.to_bytes()).unwrap();
}

#[test]
fn every_refusal_of_a_client_has_its_recorded_code_and_closes() {
    type Change = fn(&mut tl::client::ConnectToProxy);
    let cases: [(Change, i32, &str); 5] = [
        (|it| it.params.flags = 0, 602, "tool old client"),
        (|it| it.params.is_test = Some(false), 602, "test mode mismatch"),
        (|it| it.min_config_version = 99, 602, "active config version is too low"),
        (|it| it.params.client_owner_address = "x".to_owned(), 0, "Failed to parse account address"),
        (|it| it.params.min_proto_version = Some(3), 621, "cannot choose common protocol version"),
    ];
    for (change, code, words) in cases {
        let mut stage = Stage::new(1, proxy_config(false));
        let conn = stage.add_raw(Side::Client);
        stage.raw_send(conn, &Packet::Connect { id: 1 });
        let mut query = network::client_connects();
        change(&mut query);
        assert_eq!(stage.raw_ask(conn, query.to_bytes()), Err((code, words.to_owned())));
        assert_eq!(stage.closed, [(conn, Error::TurnedAway { code, reason: words })]);
    }
    let mut stage = Stage::new(1, proxy_config(false));
    let conn = stage.add_raw(Side::Client);
    stage.raw_send(conn, &Packet::Connect { id: 1 });
    stage.raw_ask(conn, network::client_connects().to_bytes()).unwrap();
    let wrong = tl::client::AuthorizeWithProxyShort { data: b"wrong".to_vec() };
    assert_eq!(stage.raw_ask(conn, wrong.to_bytes()), Err((0, "sha256 mismatch".to_owned())));
    assert_eq!(stage.closed.len(), 1);
}

#[test]
fn long_authorisation_old_model_lists_and_refunds_are_answered_as_recorded() {
    let mut stage = Stage::new(1, proxy_config(false));
    let worker = stage.add_worker(None);
    stage.pump();
    let conn = stage.add_raw(Side::Client);
    stage.raw_send(conn, &Packet::Connect { id: 1 });
    stage.raw_ask(conn, network::client_connects().to_bytes()).unwrap();
    stage.raw_ask(conn, tl::client::AuthorizeWithProxyLong.to_bytes()).unwrap();
    let types = |stage: &mut Stage| {
        let answer = stage.raw_ask(conn, tl::client::GetWorkerTypes.to_bytes()).unwrap();
        let types = tl::client::WorkerTypes::from_bytes(&answer).unwrap().types;
        let it = &types[0];
        (it.active_workers, it.coefficient_min, it.coefficient_bucket50, it.coefficient_max)
    };
    assert_eq!(types(&mut stage), (1, 1000, 1000, i32::MAX));
    stage.lose(worker);
    assert_eq!(types(&mut stage), (0, i32::MAX, i32::MAX, i32::MAX), "the model is remembered");
    let refund = stage.raw_ask(conn, tl::client::RequestRefund.to_bytes());
    assert_eq!(refund, Err((0, "Lost promise".to_owned())));
}

/// A client and a worker written by hand, with one job between them. Yields the worker's query too.
fn one_job(config: Config) -> (Stage, u64, u64, [u8; 32], RunQueryEx) {
    let mut stage = Stage::new(1, config);
    let worker = stage.add_raw_worker();
    let client = stage.add_client();
    stage.pump();
    let id = stage.run(client, request(100));
    let query = given(&mut stage, worker);
    (stage, worker, client, id, query)
}

fn given(stage: &mut Stage, worker: u64) -> RunQueryEx {
    let messages = stage.raw_messages(worker);
    messages.iter().find_map(|data| RunQueryEx::from_bytes(data).ok()).unwrap()
}

fn payment(stage: &mut Stage, worker: u64) -> (i64, i64) {
    let messages = stage.raw_messages(worker);
    let found = messages.iter().find_map(|data| tl::proxy::WorkerRequestPayment::from_bytes(data).ok());
    let Some(tl::proxy::WorkerRequestPayment::Worker { request_tokens, max_tokens, .. }) = found else {
        panic!("the request is closed");
    };
    (request_tokens, max_tokens)
}

fn say(stage: &mut Stage, worker: u64, answer: &QueryAnswerEx) {
    stage.raw_send(worker, &Packet::Packet { data: answer.to_bytes() });
}

fn info(total: i64) -> QueryFinalInfo {
    let tokens_used = tl::TokensUsed { total_tokens_used: total, ..Default::default() };
    QueryFinalInfo { tokens_used, ..Default::default() }
}

fn whole(id: [u8; 32], total: i64) -> QueryAnswerEx {
    let answer = ResponseHead::new(200, "OK", Vec::new()).encode(b"{}");
    QueryAnswerEx::Answer { request_id: id, answer, flags: 1, final_info: Some(info(total)) }
}

fn head(id: [u8; 32], status: i32) -> QueryAnswerEx {
    let answer = ResponseHead::new(status, "?", Vec::new()).encode(b"");
    QueryAnswerEx::Answer { request_id: id, answer, flags: 0, final_info: None }
}

fn part(id: [u8; 32]) -> QueryAnswerEx {
    QueryAnswerEx::Part { request_id: id, answer: b"word".to_vec(), flags: 0, final_info: None }
}

fn error(id: [u8; 32], code: i32) -> QueryAnswerEx {
    QueryAnswerEx::Error { request_id: id, error_code: code, error: "no".to_owned(), flags: 0, final_info: None }
}

/// What one answer to [`request`] may cost at a worker of coefficient 1,000: its limit, the bytes, and what a template adds.
fn agreed(query: &RunQueryEx) -> i64 {
    1_000 + query.query.len() as i64 + 1_024
}

#[test]
fn a_total_above_what_was_agreed_is_cut_to_it() {
    let (mut stage, worker, client, id, query) = one_job(proxy_config(false));
    assert!(stage.account(Side::Client).reserved > 0);
    let agreed = agreed(&query);
    say(&mut stage, worker, &whole(query.request_id, 2_000_000));
    assert_eq!(payment(&mut stage, worker), (agreed, agreed));
    assert_eq!(stage.got(client, id).done.unwrap().tokens.unwrap().total, agreed);
    let account = stage.account(Side::Client);
    assert_eq!((account.known, account.reserved), (agreed, 0));
    assert_eq!(stage.finished[0].tokens, agreed);
}

#[test]
fn an_answer_without_a_limit_may_cost_a_token_for_every_byte_and_no_more() {
    for (said, paid) in [(4_000, Some(4_000)), (9_000_000, None)] {
        let (mut stage, worker, _, _, query) = one_job(proxy_config(false));
        say(&mut stage, worker, &head(query.request_id, 200));
        for _ in 0..1_000 {
            say(&mut stage, worker, &part(query.request_id));
        }
        let last = QueryAnswerEx::Part {
            request_id: query.request_id,
            answer: Vec::new(),
            flags: 1,
            final_info: Some(info(said)),
        };
        say(&mut stage, worker, &last);
        let (tokens, _) = payment(&mut stage, worker);
        // The head counts as well, with what the proxy adds to it.
        let most = 4_000 + query.query.len() as i64 + 1_024;
        match paid {
            Some(paid) => assert_eq!(tokens, paid),
            None => assert!((most..most + 300).contains(&tokens), "{tokens} of {most}"),
        }
        assert_eq!(stage.account(Side::Client).reserved, 0);
    }
}

#[test]
fn a_negative_total_is_refused() {
    let (mut stage, worker, client, id, query) = one_job(proxy_config(false));
    say(&mut stage, worker, &whole(query.request_id, -5));
    assert_eq!(payment(&mut stage, worker), (0, 0));
    assert_eq!(stage.got(client, id).failed.unwrap().0, 621);
    assert_eq!((stage.account(Side::Client).reserved, stage.closed.len()), (0, 0));
}

#[test]
fn an_answer_counts_only_from_the_connection_that_got_the_query() {
    let (mut stage, worker, client, id, query) = one_job(proxy_config(false));
    let thief = stage.add_raw_worker();
    say(&mut stage, thief, &whole(query.request_id, 100));
    assert!(!stage.got(client, id).is_over());
    assert_eq!(stage.account(Side::Worker).known, 0);
    say(&mut stage, worker, &whole(query.request_id, 100));
    assert!(stage.got(client, id).done.is_some());
    assert_eq!(stage.account(Side::Worker).known, 100);
}

#[test]
fn what_aborts_a_genuine_proxy_fails_one_job_or_closes_one_connection() {
    let sound = ResponseHead::new(200, "OK", Vec::new());
    let crashing =
        [ResponseHead { version: "HTTP/3".to_owned(), ..sound.clone() }, ResponseHead { status: 7, ..sound }];
    let answers = crashing.iter().map(|head| head.encode(b"")).chain([b"not http".to_vec()]);
    for answer in answers {
        let (mut stage, worker, client, id, query) = one_job(proxy_config(false));
        let answer = QueryAnswerEx::Answer { request_id: query.request_id, answer, flags: 0, final_info: None };
        say(&mut stage, worker, &answer);
        assert_eq!(stage.got(client, id).failed.unwrap().0, 621);
        assert_eq!(stage.closed, []);
    }
    // An error without final info.
    let (mut stage, worker, client, id, query) = one_job(proxy_config(false));
    say(&mut stage, worker, &error(query.request_id, 602));
    assert_eq!(stage.got(client, id).failed, Some((602, "no".to_owned())));
    // A cut message.
    let (mut stage, worker, client, id, query) = one_job(proxy_config(false));
    let mut data = whole(query.request_id, 1).to_bytes();
    data.truncate(50);
    stage.raw_send(worker, &Packet::Packet { data });
    assert_eq!(stage.closed, [(worker, Error::Malformed { what: "an answer" })]);
    assert_eq!(stage.got(client, id).failed.unwrap().0, 651, "its job fails with the connection");
    // A negative coefficient.
    let mut stage = Stage::new(1, proxy_config(false));
    let worker = stage.add_raw_worker();
    let news = tl::worker::NewCoefficient { new_coefficient: -5 }.to_bytes();
    stage.raw_send(worker, &Packet::Packet { data: news });
    assert_eq!(stage.closed.len(), 1);
}

#[test]
fn a_lost_worker_fails_its_jobs_at_once_and_lets_the_reservation_go() {
    let (mut stage, worker, client, id, query) = one_job(proxy_config(false));
    say(&mut stage, worker, &head(query.request_id, 200));
    stage.lose(worker);
    stage.pump();
    let failed = stage.got(client, id).failed.unwrap();
    assert_eq!(failed.0, 651);
    assert_eq!((stage.account(Side::Client).reserved, stage.core.active_jobs()), (0, 0));
}

#[test]
fn a_client_that_leaves_is_charged_all_the_same() {
    let (mut stage, worker, client, _, query) = one_job(proxy_config(false));
    stage.lose(client);
    say(&mut stage, worker, &whole(query.request_id, 100));
    assert_eq!(payment(&mut stage, worker), (100, 100));
    assert_eq!(stage.account(Side::Client).known, 100);
}

#[test]
fn with_retry_a_job_goes_elsewhere_when_no_token_was_passed_on() {
    type Trouble = fn(&mut Stage, u64, [u8; 32]);
    let troubles: [Trouble; 4] = [
        |stage, worker, _| stage.lose(worker),
        |stage, worker, id| say(stage, worker, &error(id, 602)),
        |stage, worker, id| say(stage, worker, &head(id, 503)),
        |stage, worker, id| {
            // The head came, but nothing after it.
            say(stage, worker, &head(id, 200));
            stage.lose(worker);
        },
    ];
    for trouble in troubles {
        let (mut stage, first, client, id, query) = one_job(proxy_config(true));
        let second = stage.add_raw_worker();
        trouble(&mut stage, first, query.request_id);
        let again = given(&mut stage, second);
        assert_eq!(again.query, query.query);
        assert_ne!(again.request_id, query.request_id);
        say(&mut stage, second, &whole(again.request_id, 100));
        let got = stage.got(client, id);
        assert_eq!((got.status, got.done.unwrap().tokens.unwrap().total), (Some(200), 100));
        assert_eq!((stage.account(Side::Client).known, stage.account(Side::Client).reserved), (100, 0));
        assert_eq!(stage.finished[0].attempts, 2);
    }
}

#[test]
fn with_retry_a_job_waits_for_its_only_worker_to_come_back() {
    let (mut stage, first, client, id, _) = one_job(proxy_config(true));
    stage.lose(first);
    stage.pass(Duration::from_secs(5));
    assert!(!stage.got(client, id).is_over());
    let back = stage.add_raw_worker();
    let again = given(&mut stage, back);
    say(&mut stage, back, &whole(again.request_id, 100));
    assert!(stage.got(client, id).done.is_some());

    let (mut stage, only, client, id, query) = one_job(proxy_config(true));
    say(&mut stage, only, &error(query.request_id, 602));
    stage.raw_read(only);
    stage.pass(Duration::from_secs(2));
    let again = given(&mut stage, only);
    say(&mut stage, only, &whole(again.request_id, 100));
    assert!(stage.got(client, id).done.is_some(), "the same one again, after a while");

    let (mut stage, only, client, id, _) = one_job(proxy_config(true));
    stage.lose(only);
    stage.pass(Duration::from_mins(2));
    assert_eq!(stage.got(client, id).failed.unwrap().0, 652, "but not for ever");
}

#[test]
fn without_retry_or_after_a_token_a_job_is_not_given_again() {
    for retry in [false, true] {
        let (mut stage, first, client, id, query) = one_job(proxy_config(retry));
        let second = stage.add_raw_worker();
        if retry {
            say(&mut stage, first, &head(query.request_id, 200));
            say(&mut stage, first, &part(query.request_id));
        }
        stage.lose(first);
        assert!(stage.raw_messages(second).is_empty());
        assert_eq!(stage.got(client, id).failed.unwrap().0, 651);
    }
    let (mut stage, first, client, id, query) = one_job(proxy_config(true));
    stage.add_raw_worker();
    say(&mut stage, first, &error(query.request_id, 621));
    assert_eq!(stage.got(client, id).failed.unwrap().0, 621, "an invalid request is invalid everywhere");
}

#[test]
fn reservations_bound_what_runs_at_once() {
    let stake = Nanoton(2 * 12_000);
    let config = proxy_config(false);
    let funds = protocol::proxy::ClientFunds { stake, ..config.funds };
    let (mut stage, _, client, _, _) = one_job(Config { funds, ..config });
    let reserved = stage.account(Side::Client).reserved;
    assert!((4_000..8_000).contains(&reserved), "{reserved}");
    let second = stage.run(client, request(100));
    stage.pump();
    assert!(!stage.got(client, second).is_over(), "there is room for two");
    let third = stage.run(client, request(100));
    stage.pump();
    let (code, words) = stage.got(client, third).failed.unwrap();
    assert!([602, 651].contains(&code) && words.contains("balance is too low"), "{words}");
    let free = client_request_with(|it| it.max_tokens = i32::MAX);
    let fourth = stage.run(client, free);
    stage.pump();
    assert_eq!(stage.got(client, fourth).failed.unwrap().0, 602);
    let negative = stage.run(client, client_request_with(|it| it.max_tokens = -1));
    stage.pump();
    assert_eq!(stage.got(client, negative).failed.unwrap().0, 621);
}

fn client_request_with(change: fn(&mut protocol::client::ClientRequest)) -> protocol::client::ClientRequest {
    let mut request = request(100);
    change(&mut request);
    request
}

#[test]
fn a_query_that_grows_out_of_its_frame_on_the_way_fails_alone() {
    let mut stage = Stage::new(1, proxy_config(false));
    let worker = stage.add_worker(None);
    let client = stage.add_client();
    stage.pump();
    let mut large = request(100);
    // It fits as the client sends it; with the payment that the proxy adds it does not.
    large.request.body = vec![b' '; protocol::MAX_FRAME - 300];
    let id = stage.run(client, large);
    stage.pump();
    assert_eq!(stage.got(client, id).failed, Some((602, "the query is too large".to_owned())));
    assert_eq!((stage.account(Side::Client).reserved, stage.closed.len()), (0, 0));
    stage.run(client, request(100));
    stage.pump();
    assert_eq!(stage.workers[&worker].started.len(), 1);
}

#[test]
fn a_worker_gets_no_more_than_its_limit() {
    let mut stage = Stage::new(1, proxy_config(false));
    // Five over two proxies is three here.
    let config = protocol::worker::Config { max_active_requests: 5, proxy_connections: 2, ..worker_config() };
    let worker = stage.add_worker_as(config);
    let client = stage.add_client();
    stage.pump();
    let ids: Vec<[u8; 32]> = (0..4).map(|_| stage.run(client, request(100))).collect();
    stage.pump();
    assert_eq!(stage.workers[&worker].started.len(), 3);
    let refused = stage.got(client, ids[3]).failed.unwrap();
    assert_eq!(refused, (651, format!("no ready workers for model{}", network::MODEL_BASE)));
}

#[test]
fn what_was_earned_is_due_to_be_written_within_two_seconds() {
    let (mut stage, worker, _, _, query) = one_job(proxy_config(false));
    say(&mut stage, worker, &whole(query.request_id, 100));
    let due = stage.core.next_deadline().unwrap();
    assert!(due <= stage.now + Duration::from_secs(2), "without anybody ticking in between");
}

#[test]
fn who_leaves_without_a_job_leaves_no_account_behind() {
    let (mut stage, worker, client, _, query) = one_job(proxy_config(false));
    say(&mut stage, worker, &whole(query.request_id, 100));
    stage.lose(worker);
    stage.lose(client);
    assert_eq!(stage.account(Side::Worker).known, 100);
    assert_eq!(stage.account(Side::Client).known, 100);
    let (mut stage, conn, _) = introduced(|it| it.worker_owner_address = network::CLIENT_WALLET.to_owned());
    let stranger = network::address(network::CLIENT_WALLET);
    assert!(stage.core.account(Side::Worker, &stranger).is_some());
    stage.lose(conn);
    assert_eq!(stage.core.account(Side::Worker, &stranger), None);
}

#[test]
fn nothing_is_signed_before_it_is_committed() {
    let mut stage = Stage::new(
        1,
        Config { commit_pause: (Duration::from_secs(30), Duration::from_secs(30)), ..proxy_config(false) },
    );
    let worker = stage.add_worker(None);
    let client = stage.add_client();
    stage.pump();
    stage.run(client, request(100));
    stage.pump();
    let job = stage.workers[&worker].started[0].id;
    stage.with_worker(worker, |session, now, out| {
        let usage = TokenUsage { prompt: 34, cached: 11, completion: 100, reasoning: 10 };
        session.answer_head(job, ResponseHead::new(200, "OK", Vec::new()), now, out);
        session.answer_last(job, b"{}", usage, now, out);
    });
    stage.pump();
    let report = stage.workers[&worker].payments.last().unwrap().clone();
    assert_eq!((report.tokens, report.db_tokens, report.max_tokens, report.request), (0, 0, 134, Some((job, 134))));
    stage.pass(Duration::from_secs(25));
    let report = stage.workers[&worker].payments.last().unwrap();
    assert_eq!((report.tokens, report.db_tokens), (0, 134), "written down, not committed");
    stage.pass(Duration::from_secs(40));
    assert_eq!(stage.workers[&worker].payments.last().unwrap().tokens, 134);
    assert_eq!(stage.clients[&client].payments.last().unwrap().tokens, 134);
    assert_eq!(stage.finished[0].outcome, Outcome::Answered);
}

#[test]
fn a_proxy_that_tells_payments_sends_each_as_soon_as_it_is_committed() {
    let config = Config { tell_payments: true, ..proxy_config(false) };
    let (mut stage, worker, _, _, query) = one_job(config);
    say(&mut stage, worker, &whole(query.request_id, 500));
    assert!(payment(&mut stage, worker).0 > 0);
    let told = |stage: &mut Stage| -> Vec<tl::proxy::SignedPayment> {
        let messages = stage.raw_messages(worker);
        messages.iter().filter_map(|data| tl::proxy::SignedPayment::from_bytes(data).ok()).collect()
    };
    assert!(told(&mut stage).is_empty(), "nothing is committed yet");
    stage.pass(Duration::from_secs(5));
    assert!(matches!(told(&mut stage).as_slice(), [tl::proxy::SignedPayment::Payment { .. }]));
    stage.pass(Duration::from_secs(5));
    assert!(told(&mut stage).is_empty(), "the same payment is not told twice");
}
