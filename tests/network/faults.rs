//! Processes killed or stopped, bytes garbled, customers gone: nothing is lost, and service goes on.

use crate::commands::network_json;
use crate::open::OpenNetwork;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;
use system_tests::books::{Books, Payer};
use system_tests::dice::Dice;
use system_tests::program::{self, is_alive, send};
use system_tests::{SetAtTheEnd, Setting, Stage, http, memory, served_as, start_app, tiny_model, until};

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
    stage.answer("and now?", 8);
    assert!(is_alive(second));
}

/// Decides about the moments of the kills.
const SEED: u64 = 2_026;
/// Customers who ask one short question after the other while the app is killed.
const CUSTOMERS: usize = 2;

/// What customers were charged for the answers that they got whole, by the first half of the proxy's id of the job.
type Answered = BTreeMap<[u8; 16], i64>;

/// Half of a job's id, as it stands in the id of the answer.
fn half(answer_id: &str) -> [u8; 16] {
    let mut id = [0; 16];
    hex::decode_to_slice(answer_id.split('-').nth(1).expect("an id behind the dash"), &mut id).unwrap();
    id
}

/// Enters an answer if it came whole. False: it broke off, or there was none.
fn enter(answered: &Mutex<Answered>, answer: &http::Answer) -> bool {
    if answer.status != 200 || !answer.body.ends_with(b"data: [DONE]\n\n") {
        return false;
    }
    let id = half(answer.events()[0]["id"].as_str().expect("an id"));
    let tokens = answer.usage()["total_tokens"].as_i64().expect("honest counts");
    assert!(tokens > 0);
    let before = answered.lock().unwrap().insert(id, tokens);
    assert!(before.is_none(), "two answers of one id");
    true
}

/// Kills the app in the middle of a long answer, while others begin and end, and starts it again. Nobody of the customers leaves.
fn kill_in_mid_answer(stage: &mut Stage, dice: &mut Dice, answered: &Mutex<Answered>, round: u32) {
    let http_port = stage.http_port;
    let question = |tokens| stage.chat("go on and on", tokens, true);
    let long = question(100_000);
    let short: Vec<Value> = (0..CUSTOMERS * 40).map(|_| question(dice.between(1, 60) as u32)).collect();
    let moment = Duration::from_micros(dice.between(0, 400_000));
    let (over, ending) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _ending = SetAtTheEnd(&ending);
        let (began, begun) = channel();
        let long = scope.spawn(move || {
            let mut coming = http::begin(http_port, "/v1/chat/completions", &long).unwrap();
            coming.piece().unwrap().expect("a first piece");
            began.send(()).unwrap();
            coming.as_far_as_it_goes()
        });
        let customers: Vec<_> = (0..CUSTOMERS)
            .map(|customer| {
                let (mine, over, ending) = (&short[customer * 40..(customer + 1) * 40], &over, &ending);
                scope.spawn(move || {
                    // Until the app is back and has answered.
                    for body in mine.iter().cycle().take_while(|_| !ending.load(Ordering::Relaxed)) {
                        let Ok(coming) = http::begin(http_port, "/v1/chat/completions", body) else { continue };
                        let (answer, _) = coming.as_far_as_it_goes();
                        if enter(answered, &answer) && over.load(Ordering::Relaxed) {
                            return;
                        }
                        if answer.status != 200 {
                            std::thread::sleep(Duration::from_millis(20));
                        }
                    }
                })
            })
            .collect();
        begun.recv().expect("the long answer begins");
        std::thread::sleep(moment);
        let before = Books::read(&stage.ledger());
        stage.app.kill();
        Books::read(&stage.ledger()).assert_keeps(&before, &format!("round {round}, killed"));
        let (answer, whole) = long.join().unwrap();
        assert!(whole.is_err() && !enter(answered, &answer), "round {round}: an answer was whole without its worker");
        stage.restart_app();
        over.store(true, Ordering::Relaxed);
        for customer in customers {
            customer.join().unwrap();
        }
    });
}

#[test]
fn an_app_killed_and_restarted_has_lost_nothing_from_its_ledger() {
    let mut stage = Stage::start();
    let kills = std::env::var("CHRYSALIS_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(3_u32);
    let mut dice = Dice::new(SEED);
    let answered = Mutex::new(Answered::new());
    let mut book = Books::default();
    let mut in_mid_answer = 0;
    for round in 0..kills {
        for _ in 0..2 {
            let question = stage.chat("a short one", 4, true);
            let answer = http::post(stage.http_port, "/v1/chat/completions", &question).unwrap();
            assert!(enter(&answered, &answer), "round {round}: {}", String::from_utf8_lossy(&answer.body));
        }
        if round % 3 == 0 {
            // At rest: what was answered is written down and paid, and stays so.
            let owed: i64 = answered.lock().unwrap().values().sum();
            let before = until("the ledger to have the jobs and the payment", || {
                let book = Books::read(&stage.ledger());
                let written = book.jobs.len() >= 2 && book.adjusted_tokens() > 0;
                (written && book.signed_tokens() == u64::try_from(owed).unwrap()).then_some(book)
            });
            assert!(before.adjusted_tokens() >= owed, "{} of {owed}", before.adjusted_tokens());
            stage.app.kill();
            Books::read(&stage.ledger()).assert_keeps(&before, &format!("round {round}, killed"));
            stage.restart_app();
        } else {
            kill_in_mid_answer(&mut stage, &mut dice, &answered, round);
            in_mid_answer += 1;
        }
        let now = Books::read(&stage.ledger());
        now.assert_keeps(&book, &format!("round {round}, restarted"));
        book = now;
    }
    settle(&stage, &answered.into_inner().unwrap(), in_mid_answer);
}

/// What must be true of the money in the end. The proxy lived through everything and no customer left, so it credited exactly the
/// answers that customers got whole, and its last payment is for these. Every one of them is in the ledger, because the end of an
/// answer leaves only after it was written down; there may be jobs besides whose last bytes never left.
fn settle(stage: &Stage, answered: &Answered, kills: usize) {
    let owed: i64 = answered.values().sum();
    let paid = u64::try_from(owed).unwrap();
    let book = until("the last payment", || {
        let book = Books::read(&stage.ledger());
        (book.signed_tokens() >= paid).then_some(book)
    });
    let payer = Payer::of(stage);
    assert_eq!(payer.charged, owed, "the proxy's books against what customers got");
    assert_eq!(book.signed_tokens(), paid, "what is signed against what customers got");
    let payments = payer.assert_signed_all(&stage.ledger(), "after kills");
    let (mut written, mut worth, mut unpaid) = (0, 0, 0);
    for (id, job) in &book.jobs {
        match answered.get(&id[..16]) {
            Some(tokens) => {
                assert_eq!(job.adjusted.total, *tokens, "a job in the ledger against what the customer got");
                written += 1;
                worth += job.adjusted.total;
            }
            None if job.adjusted.total > 0 => unpaid += 1,
            None => {}
        }
    }
    println!(
        "{} answers came whole and are paid with {owed} tokens in {payments} payments; {written} of them, worth {worth}, are in the \
         ledger; {unpaid} jobs are there that did not reach their customer; {} kills were in mid-answer",
        answered.len(),
        kills,
    );
    for id in answered.keys() {
        assert!(book.jobs.keys().any(|job| job.starts_with(id)), "a paid answer is not in the ledger");
    }
    assert_eq!((written, worth), (answered.len(), owed), "what was answered and what is written down");
    // Each customer has one job at a time.
    assert!(unpaid <= kills * CUSTOMERS, "{unpaid} jobs are written down and not paid");
}

#[test]
fn a_proxy_that_is_gone_and_comes_back_is_served_again() {
    let network = OpenNetwork::new();
    let mut proxy = network.start_proxy(&[]);
    let _gateway = network.start_gateway(&[]);
    let model = tiny_model();
    let name = served_as("test/tiny", &model);
    let (app, _) = start_app(&network.folder.path().join("app"), &network.network_file, &model, &name, &[]);
    let ask = || {
        let body = json!({"model": "test/tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4, "timeout": 20});
        http::post(network.web, "/v1/chat/completions", &body).ok().filter(|answer| answer.status == 200)
    };
    until("a first answer", &ask);
    proxy.kill();
    let body = json!({"model": "test/tiny", "messages": [], "timeout": 2});
    let refused = http::post(network.web, "/v1/chat/completions", &body).unwrap();
    assert!(refused.status >= 500, "without a proxy: {}", refused.status);
    let _proxy = network.start_proxy(&[]);
    until("an answer after the proxy came back", &ask);
    assert!(is_alive(app.pid()));
}

/// What a stranger says instead of what a proxy would.
#[derive(Clone, Copy)]
enum Garbage {
    /// Bytes that mean nothing.
    FromTheStart,
    /// A challenge that is too hard to solve.
    TooHard,
    /// An easy challenge, then bytes that are no TLS.
    AfterTheChallenge,
}

/// Takes one connection of the app's and says this on it; comes back when the app has hung up by itself.
fn say(garbage: Garbage, listener: &TcpListener) {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let challenge = |bits: i32| [&0x418e_1291_u32.to_le_bytes()[..], &bits.to_le_bytes(), &[7; 16]].concat();
    match garbage {
        Garbage::FromTheStart => stream.write_all(&[0xff; 4096]).unwrap(),
        Garbage::TooHard => stream.write_all(&challenge(64)).unwrap(),
        Garbage::AfterTheChallenge => {
            stream.write_all(&challenge(0)).unwrap();
            let mut answer = [0_u8; 12];
            stream.read_exact(&mut answer).unwrap();
            stream.write_all(&vec![0x55; 100_000]).ok();
        }
    }
    let mut rest = [0_u8; 4096];
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
            Err(error) => panic!("the app does not hang up: {error}"),
        }
    }
}

#[test]
fn a_proxy_that_sends_garbage_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [Garbage::FromTheStart, Garbage::TooHard, Garbage::AfterTheChallenge];
    let listeners = cases.map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let mut network: Value = serde_json::from_str(&network_json(1, 1)).unwrap();
    let proxies = listeners.iter().enumerate().map(|(number, listener)| {
        let here = listener.local_addr().unwrap();
        json!({"seqno": number + 1, "address": format!("{here} {here}")})
    });
    network["registered_proxies"] = proxies.collect();
    let network_file = folder.path().join("network.json");
    std::fs::write(&network_file, network.to_string()).unwrap();
    let model = tiny_model();
    let name = served_as("test/tiny", &model);
    let words = ["--proxy-connections", "3"];
    let (app, ready) = start_app(&folder.path().join("app"), &network_file, &model, &name, &words);
    let worker = u32::try_from(ready["worker_pid"].as_u64().expect("worker_pid")).unwrap();
    std::thread::scope(|scope| {
        for (garbage, listener) in cases.into_iter().zip(&listeners) {
            scope.spawn(move || say(garbage, listener));
        }
    });
    until("the app to have said so", || (app.errors().matches("hung up on the proxy").count() == 3).then_some(()));
    assert!(is_alive(app.pid()) && is_alive(worker), "{}", app.errors());
}

/// A name that makes every event of a streamed answer long, because each of them carries it.
fn long_name() -> String {
    format!("test/tiny-{}", "x".repeat(400))
}

/// Bytes that the gateway lets wait for one customer before it gives him up.
const GATEWAY_LIMIT: usize = 4 << 20;

#[test]
fn a_slow_reader_and_a_customer_who_leaves_hold_nothing_up() {
    let base = long_name();
    let stage = Setting { base: &base, ..Setting::default() }.start();
    let (app, network) = (stage.app.pid(), stage.network.pid());
    let app_before = memory::own(app).expect("the app's memory");
    let network_before = memory::own(network).expect("the network's memory");
    let question = |tokens, n| {
        let mut question = stage.chat("tell me a lot", tokens, true);
        question["n"] = json!(n);
        question
    };
    let ask_and_not_read =
        |body: &Value| http::ask_and_not_read(stage.http_port, "/v1/chat/completions", body).unwrap();
    // Some customers read nothing: one of an answer larger than what the gateway keeps for anybody and the system on the way to him,
    // the others of smaller ones. Another leaves after the head, and one breaks off in his own request.
    let (most_tokens, most_choices) = (900, 16);
    let too_much = ask_and_not_read(&question(most_tokens, most_choices));
    let bearable: Vec<http::Unread> = (0..3).map(|_| ask_and_not_read(&question(300, 1))).collect();
    let request = http::post_bytes("/v1/chat/completions", &question(300, 1));
    drop(http::start(stage.http_port, &request).unwrap());
    let mut half = TcpStream::connect(("127.0.0.1", stage.http_port)).unwrap();
    half.write_all(&request[..request.len() / 2]).unwrap();
    drop(half);
    // Others are answered meanwhile, and the app does not feel how much waits.
    let (mut app_most, mut network_most) = (0, 0);
    let mut look = || {
        app_most = app_most.max(memory::own(app).expect("the app's memory"));
        network_most = network_most.max(memory::own(network).expect("the network's memory"));
    };
    for _ in 0..3 {
        stage.answer("still there?", 6);
        look();
    }
    // The jobs themselves are done to their end and written down.
    until("all jobs in the ledger", || {
        look();
        (stage.ledger().all_time_totals().unwrap().answered >= 8).then_some(())
    });
    let done = Books::read(&stage.ledger());
    let whole = |job: &&accounting::JobRecord| job.usage.completion == u64::from(most_tokens * most_choices);
    assert_eq!(done.jobs.values().filter(whole).count(), 1, "the answer that nobody reads was made whole");
    stage.answer("and still?", 6);
    // What they find when they read at last: who was owed little, everything.
    for unread in bearable {
        let answer = unread.read().expect("a head").rest().expect("a small answer waits as long as it must");
        assert_eq!((answer.status, &answer.usage()["completion_tokens"]), (200, &json!(300)));
    }
    // Who was owed too much, what was kept for him, and then an end that is none.
    let (answer, whole) = too_much.read().expect("a head").as_far_as_it_goes();
    let kept = answer.body.len();
    println!(
        "{kept} bytes were kept for a customer who did not read; the app held at most {app_most} bytes ({app_before} before), the network \
         {network_most} ({network_before} before)"
    );
    assert!(answer.status == 200 && whole.is_err(), "an answer larger than the limit came whole: {kept} bytes");
    assert!(kept >= GATEWAY_LIMIT, "he was given up after {kept} bytes");
    assert!(app_most < app_before + (16 << 20), "the app grew from {app_before} to {app_most} bytes");
    // Twice what is kept, because a queue of many small pieces costs more than their bytes.
    let bound = network_before + 2 * GATEWAY_LIMIT as u64 + (32 << 20);
    assert!(network_most < bound, "the network grew from {network_before} to {network_most} bytes");
}

#[test]
fn a_proxy_that_stands_still_holds_answers_back_and_none_is_lost() {
    let base = long_name();
    let stage = Setting { base: &base, ..Setting::default() }.start();
    let app = stage.app.pid();
    let app_before = memory::own(app).expect("the app's memory");
    let (tokens, choices) = (1_000, 16);
    let mut question = stage.chat("tell me a lot", tokens, true);
    question["n"] = json!(choices);
    let mut coming = http::begin(stage.http_port, "/v1/chat/completions", &question).unwrap();
    coming.piece().unwrap().expect("a first piece");
    send(stage.network.pid(), rustix::process::Signal::STOP);
    // Until the worker has gone on for a while, in its own measure of time, though nothing more goes from the app to the proxy.
    let worker = stage.worker_now().expect("a worker");
    let (mut waiting, mut since, mut app_most) = (0, Duration::ZERO, 0);
    until("the way to the proxy to be full", || {
        app_most = app_most.max(memory::own(app).expect("the app's memory"));
        let (now, computed) = (unsent(app), program::computed(worker));
        if now != waiting {
            (waiting, since) = (now, computed);
        }
        (waiting > 0 && computed > since + Duration::from_millis(1_500)).then_some(())
    });
    send(stage.network.pid(), rustix::process::Signal::CONT);
    let answer = coming.rest().expect("the answer goes on and ends in an ordinary way");
    assert_eq!(answer.usage()["completion_tokens"], tokens * choices);
    let longest =
        answer.events().iter().filter_map(|event| Some(event["choices"][0]["delta"]["content"].as_str()?.len())).max();
    println!(
        "{waiting} bytes filled the way to the proxy; the longest event then held {longest:?} bytes of text; the app held at most \
         {app_most} bytes ({app_before} before)"
    );
    // One token of this model has a few bytes. What could not leave was put together, so it was really held back.
    assert!(longest.is_some_and(|longest| longest > 40), "{longest:?}");
    assert!(app_most < app_before + (16 << 20), "the app grew from {app_before} to {app_most} bytes");
    stage.answer("and now?", 6);
}

/// Bytes that a process has sent on its connections and the other side has not taken.
fn unsent(pid: u32) -> u64 {
    let inodes = program::descriptors_of(pid).unwrap();
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    let queued = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let own = inodes.contains(&format!("socket:[{}]", words.get(9)?));
        u64::from_str_radix(words.get(4)?.split(':').next()?, 16).ok().filter(|_| own)
    };
    table.lines().filter_map(queued).sum()
}
