use std::time::Duration;

use accounting::TokenUsage;
use accounting::signed_payment::PaymentKind;
use protocol::http::ResponseHead;
use protocol::worker::{Action, Config, Job, KnownProxy, PaymentReport, Session, Totals};
use protocol::{Error, HandshakeFault, Now, PaymentFault};
use tl::Boxed;
use tl::proxy::{QueryAnswerEx, SignedPayment};
use tl::tcp::Packet;
use ton::AddressText;

use crate::recorded_network as network;
use crate::replay::{framed, header};
use crate::stage::{Dice, packets, worker_config};

/// A session and a proxy that says whatever the test wants.
struct Puppet {
    session: Session,
    received: u32,
    sent: Vec<Packet>,
    started: Vec<Job>,
    ended: Vec<Ended>,
    payments: Vec<PaymentReport>,
    now: Duration,
}

#[derive(Debug, PartialEq)]
enum Ended {
    Cancel([u8; 32]),
    Expired([u8; 32]),
}

/// The answers of a proxy that does everything right.
fn good(query: &[u8]) -> Vec<u8> {
    match tl::peek_id(query).unwrap() {
        tl::worker::ConnectToProxy::ID => introduced(network::proxy_params(), network::WORKER_CONTRACT),
        tl::worker::CompareBalanceWithProxy::ID => compared(network::payment(PaymentKind::Worker, 0, 1), 0, 0, 0),
        tl::worker::ExtendedCompareBalanceWithProxy::ID => {
            tl::worker::ExtendedCompareBalanceWithProxyResult { error_code: 0 }.to_bytes()
        }
        tl::worker::ProxyHandshakeComplete::ID => tl::worker::ProxyHandshakeCompleted.to_bytes(),
        other => panic!("no answer to {other:#x}"),
    }
}

fn introduced(params: tl::proxy::Params, contract: &str) -> Vec<u8> {
    tl::worker::ConnectedToProxy { params, worker_sc_address: contract.to_owned() }.to_bytes()
}

fn compared(payment: SignedPayment, stored: i64, known: i64, error_code: i32) -> Vec<u8> {
    tl::worker::CompareBalanceWithProxyResult {
        signed_payment: payment,
        tokens_committed_to_db: stored,
        max_tokens: known,
        error_code,
    }
    .to_bytes()
}

impl Puppet {
    fn new(config: Config) -> Self {
        let mut out = Vec::new();
        let now = Duration::from_secs(100);
        let session = Session::new(config, Box::new(Dice(7)), Now { mono: now, unix: 1e9 }, &mut out);
        let mut puppet = Self {
            session,
            received: 0,
            sent: Vec::new(),
            started: Vec::new(),
            ended: Vec::new(),
            payments: Vec::new(),
            now,
        };
        puppet.take(out);
        puppet
    }

    fn take(&mut self, out: Vec<Action>) {
        for action in out {
            match action {
                Action::Send(bytes) => self.sent.extend(packets(&bytes)),
                Action::Ready(_) => {}
                Action::Start(job) => self.started.push(job),
                Action::Cancel(id) => self.ended.push(Ended::Cancel(id)),
                Action::Expired(id) => self.ended.push(Ended::Expired(id)),
                Action::Payment(report) => self.payments.push(report),
                other => {
                    panic!("{}", if matches!(other, Action::Standing(_)) { "a standing" } else { "about evidence" })
                }
            }
        }
    }

    fn now(&self) -> Now {
        Now { mono: self.now, unix: 1e9 }
    }

    fn say(&mut self, packet: &Packet) -> Result<(), Error> {
        let bytes = framed(self.received, &packet.to_bytes());
        self.received += 1;
        let (mut out, now) = (Vec::new(), self.now());
        let result = self.session.receive(&bytes, now, &mut out);
        self.take(out);
        result
    }

    fn message(&mut self, data: Vec<u8>) -> Result<(), Error> {
        self.say(&Packet::Packet { data })
    }

    /// Answers what the session asks until it asks nothing more. Yields the queries.
    fn shake(&mut self, answer: impl Fn(&[u8]) -> Vec<u8>) -> Result<Vec<Vec<u8>>, Error> {
        let mut queries = Vec::new();
        loop {
            let asked = self.sent.iter().position(|it| matches!(it, Packet::Connect { .. } | Packet::Query { .. }));
            let Some(asked) = asked else {
                return Ok(queries);
            };
            match self.sent.remove(asked) {
                Packet::Connect { id } => self.say(&Packet::Connected { id })?,
                Packet::Query { id, data } => {
                    let answer = answer(&data);
                    queries.push(data);
                    self.say(&Packet::QueryAnswer { id, data: answer })?;
                }
                _ => unreachable!(),
            }
        }
    }

    fn ready() -> Self {
        let mut puppet = Self::new(worker_config());
        puppet.shake(good).unwrap();
        puppet
    }

    fn give(&mut self, id: [u8; 32], timeout: f64) {
        let query = tl::proxy::RunQueryEx {
            query: tl::client::RunQueryEx::from_bytes(&network::query(id).to_bytes()).unwrap().query,
            signed_payment: SignedPayment::Empty,
            coefficient: 1000,
            timeout,
            request_id: id,
            flags: 1,
            enable_debug: Some(false),
        };
        self.message(query.to_bytes()).unwrap();
    }

    fn tick(&mut self, after: Duration) {
        self.now += after;
        // The proxy shows that it is there.
        self.say(&Packet::Pong { id: 1 }).unwrap();
        let (mut out, now) = (Vec::new(), self.now());
        self.session.tick(now, &mut out).unwrap();
        self.take(out);
    }

    fn call<R>(&mut self, call: impl FnOnce(&mut Session, Now, &mut Vec<Action>) -> R) -> R {
        let (mut out, now) = (Vec::new(), self.now());
        let result = call(&mut self.session, now, &mut out);
        self.take(out);
        result
    }

    /// Answers that were sent.
    fn answers(&mut self) -> Vec<QueryAnswerEx> {
        let messages = self.sent.drain(..).filter_map(|it| match it {
            Packet::Packet { data } => QueryAnswerEx::from_bytes(&data).ok(),
            _ => None,
        });
        messages.collect()
    }
}

/// Status of a whole answer of the session's own.
fn status_of(answers: &[QueryAnswerEx]) -> i32 {
    let [QueryAnswerEx::Answer { answer, flags: 0, .. }, QueryAnswerEx::Part { answer: body, final_info, .. }] =
        answers
    else {
        panic!("a head and a last part");
    };
    assert_eq!(final_info.as_ref().unwrap().tokens_used.total_tokens_used, 0);
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    assert!(body["error"]["message"].is_string());
    tl::http::Response::from_bytes(answer).unwrap().status_code
}

fn handshake(answer: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Result<Vec<Vec<u8>>, Error> {
    Puppet::new(worker_config()).shake(|query| answer(query).unwrap_or_else(|| good(query)))
}

#[test]
fn contract_addresses_must_be_ours_and_in_the_form_that_genuine_programs_write() {
    let other = AddressText { bounceable: true, ..AddressText::parse(network::WORKER_CONTRACT).unwrap() };
    let testnet = AddressText { testnet: true, bounceable: false, ..other };
    for contract in [network::OWNER, &other.to_text(), &testnet.to_text()] {
        let fault = handshake(|query| {
            let is_first = tl::peek_id(query) == Some(tl::worker::ConnectToProxy::ID);
            is_first.then(|| introduced(network::proxy_params(), contract))
        });
        assert_eq!(fault, Err(Error::Handshake(HandshakeFault::Contract)), "{contract}");
    }
}

#[test]
fn a_proxy_of_another_kind_is_refused() {
    let good = network::proxy_params;
    let cases = [
        (tl::proxy::Params { flags: 0, ..good() }, HandshakeFault::TooOld),
        (tl::proxy::Params { is_test: Some(false), ..good() }, HandshakeFault::TestMode),
        (tl::proxy::Params { proto_version: Some(3), ..good() }, HandshakeFault::Version),
        (tl::proxy::Params { flags: 1, ..good() }, HandshakeFault::Version),
        (tl::proxy::Params { proxy_owner_address: "x".to_owned(), ..good() }, HandshakeFault::Address),
        (tl::proxy::Params { proxy_sc_address: network::OWNER.to_owned(), ..good() }, HandshakeFault::Contract),
    ];
    for (params, wanted) in cases {
        let fault = handshake(|query| {
            let is_first = tl::peek_id(query) == Some(tl::worker::ConnectToProxy::ID);
            is_first.then(|| introduced(params.clone(), network::WORKER_CONTRACT))
        });
        assert_eq!(fault, Err(Error::Handshake(wanted)));
    }
}

#[test]
fn a_proxy_with_another_key_than_last_time_is_refused() {
    let known = KnownProxy { public_key: [1; 32], proxy_contract: None, totals: Totals::default() };
    let mut puppet = Puppet::new(Config { known: Some(known), ..worker_config() });
    assert_eq!(puppet.shake(good), Err(Error::Handshake(HandshakeFault::Changed)));
}

#[test]
fn the_comparison_needs_a_payment_that_verifies() {
    let stranger = ed25519_dalek::SigningKey::from_bytes(&[3; 32]);
    let target = network::address(network::WORKER_CONTRACT);
    let cases = [
        (SignedPayment::Empty, PaymentFault::Missing),
        (SignedPayment::Payment { data: b"bad".to_vec() }, PaymentFault::Invalid),
        (network::payment_to(PaymentKind::Worker, 0, 1, target, &stranger), PaymentFault::Invalid),
        (network::payment(PaymentKind::Client, 0, 1), PaymentFault::Invalid),
        (
            network::payment_to(PaymentKind::Worker, 0, 1, network::address(network::OWNER), &network::key()),
            PaymentFault::Invalid,
        ),
    ];
    for (payment, wanted) in cases {
        let fault = handshake(|query| {
            let compares = tl::peek_id(query) == Some(tl::worker::CompareBalanceWithProxy::ID);
            compares.then(|| compared(payment.clone(), 0, 0, 0))
        });
        assert_eq!(fault, Err(Error::Payment(wanted)));
    }
}

#[test]
fn the_worker_never_claims_more_than_the_proxy_stored() {
    let totals = Totals { signed: 100, stored: 250, known: 400 };
    let known = KnownProxy { public_key: network::public_key(), proxy_contract: None, totals };
    let mut puppet = Puppet::new(Config { known: Some(known), ..worker_config() });
    // The proxy was restarted and has lost what it had not stored.
    let queries = puppet
        .shake(|query| {
            let compares = tl::peek_id(query) == Some(tl::worker::CompareBalanceWithProxy::ID);
            if compares { compared(network::payment(PaymentKind::Worker, 250, 1), 250, 250, 0) } else { good(query) }
        })
        .unwrap();
    let claims = tl::worker::CompareBalanceWithProxy::from_bytes(&queries[1]).unwrap();
    assert_eq!(
        (claims.tokens_committed_to_blockchain, claims.tokens_committed_to_db, claims.max_tokens),
        (100, 250, 250)
    );
    assert_eq!(puppet.session.known().unwrap().totals, Totals { signed: 250, stored: 250, known: 250 });
}

#[test]
fn totals_below_the_remembered_ones_end_the_handshake() {
    let totals = Totals { signed: 100, stored: 250, known: 250 };
    for (signed, stored) in [(99, 250), (100, 249)] {
        let known = KnownProxy { public_key: network::public_key(), proxy_contract: None, totals };
        let mut puppet = Puppet::new(Config { known: Some(known), ..worker_config() });
        let fault = puppet.shake(|query| {
            let compares = tl::peek_id(query) == Some(tl::worker::CompareBalanceWithProxy::ID);
            let payment = network::payment(PaymentKind::Worker, signed, 1);
            if compares { compared(payment, stored, 250, 0) } else { good(query) }
        });
        assert_eq!(fault, Err(Error::Payment(PaymentFault::WentDown)));
    }
}

#[test]
fn an_extended_comparison_is_gone_through() {
    let queries = handshake(|query| {
        let compares = tl::peek_id(query) == Some(tl::worker::CompareBalanceWithProxy::ID);
        compares.then(|| compared(network::payment(PaymentKind::Worker, 0, 1), 0, 0, 1))
    });
    let ids: Vec<u32> = queries.unwrap().iter().map(|it| tl::peek_id(it).unwrap()).collect();
    assert_eq!(ids[2..], [tl::worker::ExtendedCompareBalanceWithProxy::ID, tl::worker::ProxyHandshakeComplete::ID]);
}

#[test]
fn what_changes_during_the_handshake_is_announced_after_it() {
    let mut puppet = Puppet::new(worker_config());
    puppet.call(|session, now, out| session.set_coefficient(1500, now, out));
    // The last query is out when the worker is disabled.
    let mut said = false;
    loop {
        match puppet.sent.remove(0) {
            Packet::Connect { id } => puppet.say(&Packet::Connected { id }).unwrap(),
            Packet::Query { id, data } => {
                let is_last = tl::peek_id(&data) == Some(tl::worker::ProxyHandshakeComplete::ID);
                if is_last && !said {
                    said = true;
                    puppet.call(|session, now, out| session.set_disabled(true, now, out));
                    assert!(puppet.sent.is_empty(), "not before the handshake is done");
                    let announced = tl::worker::ProxyHandshakeComplete::from_bytes(&data).unwrap();
                    assert!(!announced.is_disabled);
                }
                puppet.say(&Packet::QueryAnswer { id, data: good(&data) }).unwrap();
                if is_last {
                    break;
                }
            }
            _ => panic!("nothing else belongs into a handshake"),
        }
    }
    let messages: Vec<Vec<u8>> = puppet
        .sent
        .iter()
        .map(|it| if let Packet::Packet { data } = it { data.clone() } else { panic!("a message") })
        .collect();
    assert_eq!(messages, [tl::worker::EnabledDisabled { disabled: 1 }.to_bytes()]);
}

#[test]
fn a_query_may_come_before_the_last_answer_of_the_handshake() {
    let mut puppet = Puppet::new(worker_config());
    let mut is_open = false;
    while !matches!(&puppet.sent[..], [Packet::Query { data, .. }]
        if tl::peek_id(data) == Some(tl::worker::ProxyHandshakeComplete::ID))
    {
        match puppet.sent.remove(0) {
            Packet::Connect { id } => puppet.say(&Packet::Connected { id }).unwrap(),
            Packet::Query { id, data } => puppet.say(&Packet::QueryAnswer { id, data: good(&data) }).unwrap(),
            _ => panic!("nothing else belongs into a handshake"),
        }
        if !is_open {
            is_open = true;
            puppet.give([2; 32], 100.0);
            assert!(puppet.started.is_empty(), "too early, dropped");
        }
    }
    puppet.give([1; 32], 100.0);
    assert_eq!(puppet.started.len(), 1);
}

#[test]
fn the_payment_that_closes_a_request_must_verify_and_grow() {
    let close = |puppet: &mut Puppet, payment, stored, known| {
        let message = tl::proxy::WorkerRequestPayment::Worker {
            request_id: [1; 32],
            signed_payment: payment,
            db_tokens: stored,
            max_tokens: known,
            request_tokens: 5,
            request_client_owner: "UQ".to_owned(),
        };
        puppet.message(message.to_bytes())
    };
    let paid = |tokens| network::payment(PaymentKind::Worker, tokens, 9);
    let mut puppet = Puppet::ready();
    close(&mut puppet, paid(100), 500, 700).unwrap();
    close(&mut puppet, paid(100), 500, 700).unwrap();
    let report = puppet.payments.last().unwrap();
    assert_eq!((report.tokens, report.db_tokens, report.max_tokens), (100, 500, 700));
    assert_eq!(report.request, Some(([1; 32], 5)));
    for (payment, stored, known, wanted) in [
        (paid(99), 500, 700, PaymentFault::WentDown),
        (paid(100), 499, 700, PaymentFault::WentDown),
        (paid(100), 500, 699, PaymentFault::WentDown),
        (SignedPayment::Empty, 500, 700, PaymentFault::Missing),
        (SignedPayment::Payment { data: vec![1, 2, 3] }, 500, 700, PaymentFault::Invalid),
    ] {
        let mut puppet = Puppet::ready();
        close(&mut puppet, paid(100), 500, 700).unwrap();
        assert_eq!(close(&mut puppet, payment, stored, known), Err(Error::Payment(wanted)));
    }
}

#[test]
fn a_bad_payment_that_comes_along_is_only_not_believed() {
    let mut puppet = Puppet::ready();
    let before = puppet.payments.len();
    puppet.message(SignedPayment::Payment { data: b"bad".to_vec() }.to_bytes()).unwrap();
    puppet.message(SignedPayment::Empty.to_bytes()).unwrap();
    assert_eq!(puppet.payments.len(), before);
    puppet.message(network::payment(PaymentKind::Worker, 77, 9).to_bytes()).unwrap();
    assert_eq!(puppet.payments.last().unwrap().tokens, 77);
}

#[test]
fn a_job_out_of_time_before_its_head_is_answered_504() {
    let mut puppet = Puppet::ready();
    puppet.give([1; 32], 100.0);
    puppet.tick(Duration::from_secs(94));
    assert!(puppet.ended.is_empty());
    puppet.tick(Duration::from_secs(1));
    assert_eq!(puppet.ended, [Ended::Cancel([1; 32])], "the host has a twentieth of the time to end it by itself");
    assert!(puppet.answers().is_empty());
    puppet.tick(Duration::from_secs(5));
    assert_eq!(puppet.ended[1..], [Ended::Expired([1; 32])]);
    assert_eq!(status_of(&puppet.answers()), 504);
    let usage = TokenUsage { prompt: 1, cached: 0, completion: 1, reasoning: 0 };
    let late = puppet.call(|session, now, out| session.answer_last([1; 32], b"late", usage, now, out));
    assert!(late.is_none() && puppet.answers().is_empty());
}

#[test]
fn a_job_out_of_time_after_its_head_ends_with_652() {
    let mut puppet = Puppet::ready();
    puppet.give([1; 32], 100.0);
    puppet.call(|session, now, out| {
        session.answer_head([1; 32], ResponseHead::new(200, "OK", Vec::new()), now, out);
        session.answer_part([1; 32], b"half", now, out);
    });
    puppet.answers();
    puppet.tick(Duration::from_secs(100));
    let [QueryAnswerEx::Error { error_code: 652, flags: 1, final_info: Some(_), .. }] = &puppet.answers()[..] else {
        panic!("one error with final info");
    };
}

#[test]
fn a_job_that_is_cancelled_can_still_be_ended_with_honest_counts() {
    let mut puppet = Puppet::ready();
    puppet.give([1; 32], 100.0);
    puppet.tick(Duration::from_secs(96));
    let usage = TokenUsage { prompt: 30, cached: 10, completion: 7, reasoning: 0 };
    let used = puppet.call(|session, now, out| {
        session.answer_head([1; 32], ResponseHead::new(200, "OK", Vec::new()), now, out);
        session.answer_last([1; 32], b"[DONE]", usage, now, out).unwrap()
    });
    assert_eq!((used.prompt, used.cached, used.completion, used.total), (20, 10, 7, 37));
    let answers = puppet.answers();
    let QueryAnswerEx::Part { flags: 1, final_info: Some(info), .. } = &answers[1] else {
        panic!("the last part");
    };
    assert_eq!(info.tokens_used.total_tokens_used, 37);
}

#[test]
fn failures_of_the_session_are_ordinary_http_answers() {
    let mut puppet = Puppet::ready();
    for id in 1..=4 {
        puppet.give([id; 32], 100.0);
    }
    assert_eq!(puppet.started.len(), 4);
    puppet.give([5; 32], 100.0);
    assert_eq!(status_of(&puppet.answers()), 429, "more than max_active_requests");
    assert_eq!(puppet.started.len(), 4);

    let mut puppet = Puppet::ready();
    let query = tl::proxy::RunQueryEx {
        query: vec![1, 2, 3, 4],
        signed_payment: SignedPayment::Empty,
        coefficient: 1000,
        timeout: 10.0,
        request_id: [9; 32],
        flags: 0,
        enable_debug: None,
    };
    puppet.message(query.to_bytes()).unwrap();
    assert_eq!(status_of(&puppet.answers()), 400, "not an http.request");
    assert!(puppet.started.is_empty() && puppet.session.running().is_empty());
}

#[test]
fn a_truncated_query_ends_the_conversation_instead_of_the_process() {
    let mut puppet = Puppet::ready();
    let mut data = network::query([1; 32]).to_bytes();
    data[..4].copy_from_slice(&tl::proxy::RunQueryEx::ID.to_le_bytes());
    data.truncate(60);
    assert_eq!(puppet.message(data), Err(Error::Malformed { what: "proxy.runQueryEx" }));
}

#[test]
fn time_outs_that_are_no_numbers_are_over_at_once() {
    for timeout in [f64::NAN, -1.0, 0.0, f64::NEG_INFINITY] {
        let mut puppet = Puppet::ready();
        puppet.give([1; 32], timeout);
        puppet.tick(Duration::from_millis(1));
        assert_eq!(status_of(&puppet.answers()), 504);
    }
    let mut puppet = Puppet::ready();
    puppet.give([1; 32], f64::INFINITY);
    puppet.tick(Duration::from_mins(1));
    assert!(puppet.ended.is_empty());
}

#[test]
fn headers_about_framing_are_dropped_whatever_their_capitals() {
    let mut puppet = Puppet::ready();
    puppet.give([1; 32], 100.0);
    let names = ["Content-Length", "content-length", "CONNECTION", "Transfer-encoding", "X-Kept"];
    let headers = names.map(|name| (name.to_owned(), "1".to_owned())).to_vec();
    puppet.call(|session, now, out| session.answer_head([1; 32], ResponseHead::new(200, "OK", headers), now, out));
    let answers = puppet.answers();
    let QueryAnswerEx::Answer { answer, .. } = &answers[0] else {
        panic!("the head");
    };
    let response = tl::http::Response::from_bytes(answer).unwrap();
    let names: Vec<&str> = response.headers.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["X-Kept", "Connection", "X-Cocoon-Worker-Start", "X-Cocoon-Worker-End", "Transfer-Encoding"]);
    assert_eq!(header(&response.headers, "Transfer-Encoding"), Some("chunked"));
}

#[test]
fn a_head_that_would_crash_a_genuine_client_becomes_a_500() {
    for (version, status) in [("HTTP/2", 200), ("HTTP/1.1", 99), ("HTTP/1.1", 1000)] {
        let mut puppet = Puppet::ready();
        puppet.give([1; 32], 100.0);
        let head = ResponseHead { version: version.to_owned(), ..ResponseHead::new(status, "?", Vec::new()) };
        puppet.call(|session, now, out| session.answer_head([1; 32], head, now, out));
        let answers = puppet.answers();
        let QueryAnswerEx::Answer { answer, .. } = &answers[0] else {
            panic!("the head");
        };
        let response = tl::http::Response::from_bytes(answer).unwrap();
        assert_eq!((response.http_version.as_str(), response.status_code), ("HTTP/1.1", 500));
    }
}

#[test]
fn parts_above_a_frame_are_split() {
    let mut puppet = Puppet::ready();
    puppet.give([1; 32], 100.0);
    let large = vec![7; 17 << 20];
    puppet.call(|session, now, out| {
        session.answer_head([1; 32], ResponseHead::new(200, "OK", Vec::new()), now, out);
        session.answer_part([1; 32], &large, now, out);
        session.answer_last([1; 32], &large, TokenUsage::default(), now, out).unwrap();
    });
    let (mut length, mut lasts) = (0, 0);
    for answer in &puppet.answers()[1..] {
        let QueryAnswerEx::Part { answer, final_info, .. } = answer else {
            panic!("parts only");
        };
        length += answer.len();
        lasts += usize::from(final_info.is_some());
    }
    assert_eq!((length, lasts), (2 * large.len(), 1));
}

#[test]
fn the_payment_status_is_asked_for_every_ten_to_twenty_seconds() {
    let mut puppet = Puppet::ready();
    let mut asked = Vec::new();
    for _ in 0..1000 {
        puppet.tick(Duration::from_millis(100));
        for packet in std::mem::take(&mut puppet.sent) {
            if let Packet::Query { data, .. } = packet {
                assert_eq!(data, tl::worker::UpdatePaymentStatus.to_bytes());
                asked.push(puppet.now);
            }
        }
    }
    assert!((5..=11).contains(&asked.len()), "{asked:?}");
    let pauses = asked.windows(2).map(|it| it[1].saturating_sub(it[0]));
    let allowed = Duration::from_millis(9_900)..=Duration::from_millis(20_100);
    assert!(pauses.into_iter().all(|pause| allowed.contains(&pause)), "{asked:?}");
}
