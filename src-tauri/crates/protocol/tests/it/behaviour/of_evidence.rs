use std::time::Duration;

use accounting::TokenUsage;
use protocol::Now;
use protocol::evidence::{Demands, EVIDENCE_PATIENCE, MAX_EVIDENCE, RegistrarPlace, Standing};
use protocol::http::ResponseHead;
use protocol::proxy::Config;
use protocol::worker::Session;
use tl::Boxed;
use tl::tcp::Packet;

use crate::recorded_network as network;
use crate::stage::{Dice, Stage, proxy_config, request, worker_config};

fn demands() -> Demands {
    Demands {
        grades: vec![2, 4],
        secure_boot: true,
        registrars: vec![RegistrarPlace { endpoint: "registrar.example:4420".to_owned(), key: [3; 32] }],
    }
}

fn demanding() -> Config {
    Config { demands: Some(demands()), ..proxy_config(false) }
}

impl Stage {
    fn asks(&mut self, conn: u64) -> [u8; 32] {
        let (mut out, now) = (Vec::new(), self.now());
        let nonce = self.core.ask_evidence(conn, now, &mut out).unwrap();
        self.core_does(out);
        self.pump();
        nonce
    }

    fn judges(&mut self, conn: u64, accepted: bool, reason: &str) {
        let (mut out, now) = (Vec::new(), self.now());
        self.core.judge(conn, accepted, 2, reason, now, &mut out);
        self.core_does(out);
        self.pump();
    }

    fn answers(&mut self, conn: u64, query: i64, bytes: Option<Vec<u8>>) {
        self.with_worker(conn, |session, _, out| session.answer_evidence(query, bytes, out));
        self.pump();
    }
}

fn lost_promise(id: i64) -> Packet {
    Packet::QueryError { id, code: 0, message: "Lost promise".to_owned() }
}

/// Whether a job of a new client gets to the worker.
fn gets_a_job(stage: &mut Stage, worker: u64) -> bool {
    let client = stage.add_client();
    stage.pump();
    let before = stage.workers[&worker].started.len();
    let id = stage.run(client, request(60));
    stage.pump();
    let jobs = &stage.workers[&worker].started;
    let Some(job) = jobs.get(before).map(|job| job.id) else {
        assert_eq!(stage.got(client, id).failed.map(|(code, _)| code), Some(651));
        return false;
    };
    stage.with_worker(worker, |session, now, out| {
        session.answer_head(job, ResponseHead::new(200, "OK", Vec::new()), now, out);
        session.answer_last(job, b"yes", TokenUsage::default(), now, out);
    });
    stage.pump();
    assert_eq!(stage.got(client, id).body, b"yes");
    true
}

#[test]
fn a_worker_gets_jobs_only_once_it_is_accepted_and_hears_why_not() {
    let mut stage = Stage::new(1, demanding());
    let worker = stage.add_worker(None);
    stage.pump();
    assert_eq!(stage.waiting, [worker]);
    assert!(!gets_a_job(&mut stage, worker), "nobody has judged it yet");

    let nonce = stage.asks(worker);
    let [(query, asked)] = stage.workers[&worker].asked[..] else { panic!("one question") };
    assert_eq!(asked, nonce);
    stage.answers(worker, query, Some(b"a proof".to_vec()));
    assert_eq!(stage.evidence, [(worker, nonce, Some(b"a proof".to_vec()))]);
    assert!(!gets_a_job(&mut stage, worker), "to have shown something is not to be accepted");

    stage.judges(worker, false, "started with\nSecure Boot off");
    let refused =
        Standing { accepted: false, grade: 2, reason: "started withSecure Boot off".to_owned(), demands: demands() };
    assert_eq!(stage.workers[&worker].standings, [refused]);
    assert!(!gets_a_job(&mut stage, worker));

    stage.judges(worker, true, "this is not said");
    let accepted = Standing { accepted: true, grade: 2, reason: String::new(), demands: demands() };
    assert_eq!(stage.workers[&worker].standings[1..], [accepted]);
    assert!(gets_a_job(&mut stage, worker));

    stage.judges(worker, false, "another day");
    assert!(!gets_a_job(&mut stage, worker), "what was accepted can be refused later");
    assert_eq!(stage.closed, []);
}

#[test]
fn a_job_that_runs_goes_on_when_its_worker_is_refused() {
    let mut stage = Stage::new(2, demanding());
    let (worker, client) = (stage.add_worker(None), stage.add_client());
    stage.pump();
    stage.judges(worker, true, "");
    let id = stage.run(client, request(60));
    stage.pump();
    stage.judges(worker, false, "no longer");
    let job = stage.workers[&worker].started[0].id;
    stage.with_worker(worker, |session, now, out| {
        session.answer_head(job, ResponseHead::new(200, "OK", Vec::new()), now, out);
        session.answer_last(job, b"done", TokenUsage::default(), now, out);
    });
    stage.pump();
    assert!(stage.got(client, id).done.is_some());
}

#[test]
fn where_nothing_is_demanded_nothing_of_ours_is_said_and_every_worker_is_accepted() {
    let mut stage = Stage::new(3, proxy_config(false));
    let worker = stage.add_worker(None);
    stage.pump();
    stage.judges(worker, false, "nobody demanded anything");
    assert!(stage.waiting.is_empty());
    assert!(gets_a_job(&mut stage, worker));
    let ours: Vec<u32> = tl::own_combinators().iter().map(|each| each.id).collect();
    for packet in crate::stage::packets(&stage.workers[&worker].wires.said) {
        let (Packet::Packet { data } | Packet::Query { data, .. } | Packet::QueryAnswer { data, .. }) = packet else {
            continue;
        };
        assert!(!ours.contains(&tl::peek_id(&data).unwrap()));
    }
    // Asked for its demands, such a proxy says what a genuine one says.
    let client = stage.add_client();
    stage.pump();
    let (now, mut out) = (stage.now(), Vec::new());
    stage.clients.get_mut(&client).unwrap().session.ask_demands(now, &mut out).unwrap();
    stage.client_does(client, out);
    stage.pump();
    assert_eq!(stage.clients[&client].demands, [None]);
}

#[test]
fn a_client_is_told_what_is_demanded_of_workers() {
    let mut stage = Stage::new(4, demanding());
    let client = stage.add_client();
    stage.pump();
    let (now, mut out) = (stage.now(), Vec::new());
    stage.clients.get_mut(&client).unwrap().session.ask_demands(now, &mut out).unwrap();
    stage.client_does(client, out);
    stage.pump();
    assert_eq!(stage.clients[&client].demands, [Some(demands())]);
}

#[test]
fn a_worker_that_says_lost_promise_stays_and_shows_nothing() {
    let mut stage = Stage::new(5, demanding());
    let conn = stage.add_raw_worker();
    let nonce = stage.asks(conn);
    let asked = stage.raw_read(conn);
    let Some(Packet::Query { id, data }) = asked.iter().find(|it| matches!(it, Packet::Query { .. })) else {
        panic!("a question")
    };
    assert_eq!(tl::chrysalis::GetEvidence::from_bytes(data).unwrap().nonce, nonce);
    stage.raw_send(conn, &lost_promise(*id));
    assert_eq!(stage.evidence, [(conn, nonce, None)]);
    assert_eq!(stage.closed, []);
    // A packet that it does not know is the last it hears of this; a genuine worker passes over it.
    stage.judges(conn, false, "it shows nothing");
    let [said] = &stage.raw_messages(conn)[..] else { panic!("one packet") };
    assert_eq!(tl::chrysalis::Standing::from_bytes(said).unwrap().reason, "it shows nothing");
}

#[test]
fn nonces_are_drawn_anew_and_answers_count_once_in_time_and_for_the_last_question() {
    let mut stage = Stage::new(6, demanding());
    let conn = stage.add_raw_worker();
    let question = |stage: &mut Stage| {
        let nonce = stage.asks(conn);
        let id = stage.raw_read(conn).into_iter().find_map(|it| match it {
            Packet::Query { id, .. } => Some(id),
            _ => None,
        });
        (nonce, id.unwrap())
    };
    let answer = |id, data: &[u8]| {
        let data = tl::chrysalis::Evidence { data: data.to_vec() }.to_bytes();
        Packet::QueryAnswer { id, data }
    };
    let (first, first_id) = question(&mut stage);
    let (second, second_id) = question(&mut stage);
    assert_ne!(first, second);
    stage.raw_send(conn, &answer(first_id, b"for the first"));
    assert_eq!(stage.evidence, [], "a newer question is open");
    stage.raw_send(conn, &answer(second_id, b"for the second"));
    stage.raw_send(conn, &answer(second_id, b"once more"));
    assert_eq!(stage.evidence, [(conn, second, Some(b"for the second".to_vec()))]);

    let (third, third_id) = question(&mut stage);
    for _ in 0..5 {
        stage.raw_send(conn, &Packet::Ping { id: 1 });
        stage.pass(EVIDENCE_PATIENCE / 4);
    }
    assert_eq!(stage.evidence[1..], [(conn, third, None)], "silence is no evidence");
    stage.raw_send(conn, &answer(third_id, b"too late"));
    assert_eq!(stage.evidence.len(), 2);

    for wrong in [b"garbage".to_vec(), tl::chrysalis::Evidence { data: vec![0; MAX_EVIDENCE + 1] }.to_bytes()] {
        let (nonce, id) = question(&mut stage);
        stage.raw_send(conn, &Packet::QueryAnswer { id, data: wrong });
        assert_eq!(stage.evidence.last(), Some(&(conn, nonce, None)));
    }
    assert_eq!(stage.closed, []);
}

#[test]
fn nobody_is_asked_or_judged_before_its_handshake_is_done() {
    let mut stage = Stage::new(7, demanding());
    let conn = stage.add_raw(protocol::proxy::Side::Worker);
    let (now, mut out) = (stage.now(), Vec::new());
    assert_eq!(stage.core.ask_evidence(conn, now, &mut out), None);
    assert_eq!(stage.core.ask_evidence(conn + 9, now, &mut out), None);
    stage.core.judge(conn, true, 2, "", now, &mut out);
    assert!(out.is_empty());
    let client = stage.add_client();
    stage.pump();
    assert_eq!(stage.core.ask_evidence(client, now, &mut Vec::new()), None);
}

/// A session and the frames it sends, without a core.
fn lone() -> (Session, Vec<Packet>) {
    let mut out = Vec::new();
    let now = Now { mono: Duration::from_secs(100), unix: 1e9 };
    let session = Session::new(worker_config(), Box::new(Dice(7)), now, &mut out);
    (session, Vec::new())
}

#[test]
fn a_question_before_the_handshake_gets_lost_promise() {
    let (mut session, _) = lone();
    let now = Now { mono: Duration::from_secs(100), unix: 1e9 };
    let mut out = Vec::new();
    let question = tl::chrysalis::GetEvidence { nonce: [1; 32] }.to_bytes();
    let frames = [Packet::Connected { id: 1 }, Packet::Query { id: 5, data: question }];
    for (number, packet) in frames.iter().enumerate() {
        session.receive(&crate::replay::framed(number as u32, &packet.to_bytes()), now, &mut out).unwrap();
    }
    let mut sent = Vec::new();
    for action in out {
        match action {
            protocol::worker::Action::Send(bytes) => sent.extend(crate::stage::packets(&bytes)),
            _ => panic!("it has asked its host"),
        }
    }
    assert!(sent.contains(&lost_promise(5)));
    assert_eq!(session.ask_evidence(now, &mut Vec::new()), None);
}

#[test]
fn a_worker_answers_each_question_once_and_says_lost_promise_to_the_rest() {
    let mut stage = Stage::new(8, demanding());
    let worker = stage.add_worker(None);
    stage.pump();
    let sees = |stage: &Stage| stage.evidence.clone();

    let nonce = stage.asks(worker);
    let (query, _) = stage.workers[&worker].asked[0];
    stage.answers(worker, query, None);
    assert_eq!(sees(&stage), [(worker, nonce, None)], "nothing to show");
    stage.answers(worker, query, Some(b"after all".to_vec()));
    assert_eq!(sees(&stage).len(), 1);

    let nonce = stage.asks(worker);
    let (query, _) = stage.workers[&worker].asked[1];
    stage.answers(worker, query, Some(vec![0; MAX_EVIDENCE + 1]));
    assert_eq!(sees(&stage)[1..], [(worker, nonce, None)], "more than may be sent");

    // Two may be open; the third is not put to the host.
    stage.asks(worker);
    stage.asks(worker);
    let third = stage.asks(worker);
    assert_eq!(stage.workers[&worker].asked.len(), 4);
    assert_eq!(sees(&stage)[2..], [(worker, third, None)]);

    // The host is too slow: the proxy need not wait any longer than that.
    let (query, nonce) = (stage.workers[&worker].asked[3].0, stage.workers[&worker].asked[3].1);
    stage.pass(Duration::from_secs(51));
    stage.answers(worker, query, Some(b"too late".to_vec()));
    assert!(sees(&stage).iter().all(|(_, _, bytes)| bytes.is_none()));
    assert!(!sees(&stage).iter().any(|(_, asked, _)| *asked == nonce), "it was not the last question any more");
    assert!(stage.workers[&worker].error.is_none());
}

#[test]
fn a_worker_may_ask_the_proxy_too() {
    let mut stage = Stage::new(9, proxy_config(false));
    let worker = stage.add_worker(None);
    stage.pump();
    for shown in [Some(b"of the proxy".to_vec()), None] {
        let nonce = stage.with_worker(worker, Session::ask_evidence).unwrap();
        stage.pump();
        let (conn, query, asked) = stage.asked_of_core.pop().unwrap();
        assert_eq!((conn, asked), (worker, nonce));
        let mut out = Vec::new();
        stage.core.answer_evidence(conn, query, shown.clone(), &mut out);
        stage.core.answer_evidence(conn, query, Some(b"twice".to_vec()), &mut out);
        stage.core_does(out);
        stage.pump();
        assert_eq!(stage.workers.get_mut(&worker).unwrap().evidence.pop(), Some((nonce, shown)));
    }
    // A host that says nothing.
    let nonce = stage.with_worker(worker, Session::ask_evidence).unwrap();
    stage.pass(Duration::from_secs(61));
    assert_eq!(stage.workers[&worker].evidence, [(nonce, None)]);
    assert!(stage.workers[&worker].error.is_none());
}

#[test]
fn what_the_other_side_says_of_itself_is_bounded() {
    let mut stage = Stage::new(10, demanding());
    let conn = stage.add_raw_worker();
    let places = vec![RegistrarPlace { endpoint: "x".repeat(5_000), key: [1; 32] }; 40];
    let long = Demands { grades: vec![1; 500], secure_boot: false, registrars: places };
    let mut stage_of_long = Stage::new(11, Config { demands: Some(long), ..proxy_config(false) });
    let worker = stage_of_long.add_worker(None);
    stage_of_long.pump();
    stage_of_long.judges(worker, false, &"y".repeat(5_000));
    let heard = &stage_of_long.workers[&worker].standings[0];
    assert_eq!((heard.reason.len(), heard.demands.grades.len(), heard.demands.registrars.len()), (300, 16, 16));
    assert_eq!(heard.demands.registrars[0].endpoint.len(), 300);
    // A question that is cut short is a question that nobody knows.
    let whole = tl::chrysalis::GetEvidence { nonce: [1; 32] }.to_bytes();
    for length in 0..whole.len() {
        let refused = stage.raw_ask(conn, whole[..length].to_vec());
        assert_eq!(refused, Err((0, "Lost promise".to_owned())));
    }
    assert_eq!(network::public_key().len(), 32);
}
