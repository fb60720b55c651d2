//! Every way in which a practice proxy can be asked to do wrong, against the real app and worker: the app lives on, comes back
//! where it can, and its ledger has no more money than was signed.

use crate::practice::FEE;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use system_tests::books::{Books, Payer};
use system_tests::program::is_alive;
use system_tests::{Setting, Stage, http, program, until};

/// What becomes of a conversation with such a proxy.
#[derive(Clone, Copy)]
enum Course {
    /// It never comes about, and the app says this.
    NeverReady(&'static str),
    /// It breaks off with the first question, and the app dials again.
    BreaksOff,
    /// It goes on, and what is signed stands still.
    PayStandsStill,
    /// It breaks off when a payment is lower than one before; the app dials again, and then it goes on.
    PayFalls,
}

const WAYS: [(&str, Course); 9] = [
    ("silent", Course::NeverReady("it is silent")),
    ("replayed-payment", Course::PayStandsStill),
    ("decreasing-payment", Course::PayFalls),
    ("wrong-key", Course::NeverReady("it breaks the protocol")),
    ("wrong-address", Course::NeverReady("it breaks the protocol")),
    ("cut-frames", Course::BreaksOff),
    ("garbage-frames", Course::BreaksOff),
    ("oversized-frame", Course::BreaksOff),
    ("drop-mid-answer", Course::BreaksOff),
];

#[test]
fn whatever_a_proxy_does_wrong_the_app_lives_on_and_its_money_is_right() {
    let known: BTreeSet<&str> = WAYS.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        all_ways(),
        known.into_iter().map(str::to_owned).collect(),
        "a way of doing wrong that is not tried here"
    );
    // All at once: each of them is mostly waiting for the app to dial again.
    std::thread::scope(|scope| {
        for (name, course) in WAYS {
            let thread = std::thread::Builder::new().name(name.to_owned());
            thread.spawn_scoped(scope, move || try_out(name, course)).unwrap();
        }
    });
}

/// The values that `--misbehave` has.
fn all_ways() -> BTreeSet<String> {
    let (_, help, _) = program::run("chrysalis-network", &["practice", "-h"]);
    let rest = help.split("--misbehave").nth(1).expect("the word in the help");
    let values = rest.split("[possible values:").nth(1).expect("its values").split(']').next().unwrap();
    values.split(',').map(|value| value.trim().to_owned()).collect()
}

fn try_out(name: &str, course: Course) {
    let words = ["--misbehave", name];
    let setting = Setting { network_words: &words, app_words: &["--stats", "127.0.0.1:0"], ..Setting::default() };
    let mut trial = Trial { stage: setting.start_without_service(), name, book: Books::default(), charged: 0 };
    let worker = trial.stage.worker_now().expect("a worker");
    match course {
        Course::NeverReady(why) => {
            trial.assert_unanswered();
            trial.stage.app.until_it_says(why);
            trial.assert_unanswered();
            assert!(!trial.is_ready(), "{name}: connected");
            trial.look();
            assert!(trial.book.signed.is_empty(), "{name}: {:?} is signed", trial.book.signed);
        }
        Course::BreaksOff => {
            for time in ["first", "second"] {
                until(&format!("{name} to be connected for the {time} time"), || trial.is_ready().then_some(()));
                trial.assert_unanswered();
                until(&format!("{name} to be cut off for the {time} time"), || (!trial.is_ready()).then_some(()));
            }
            trial.look();
            assert_eq!(trial.book.signed_tokens(), 0, "{name}: nothing was answered");
            assert_eq!(trial.book.adjusted_tokens(), 0, "{name}: nothing was answered, nothing counts");
        }
        Course::PayStandsStill => {
            let first = trial.first_payment();
            for _ in 0..3 {
                trial.ask();
                // Time for the proxy to sign again.
                std::thread::sleep(Duration::from_millis(1_500));
            }
            trial.look();
            assert_eq!(trial.book.signed_tokens(), first, "{name}");
            assert!(trial.is_ready(), "{name}: cut off though nothing was lower than before");
        }
        Course::PayFalls => {
            let first = trial.first_payment();
            // What comes with the next commit is lower; it is noticed at the latest with the job after that.
            until("the app to hang up", || {
                trial.ask();
                std::thread::sleep(Duration::from_millis(500));
                trial.stage.app.errors().contains("hung up on the proxy").then_some(())
            });
            until("the app to dial again", || trial.is_ready().then_some(()));
            trial.ask();
            trial.look();
            assert_eq!(trial.book.signed_tokens(), first, "{name}: the higher one is kept");
            let refused = trial.stage.stats().unwrap()["refused_reports"].as_u64();
            assert!(refused > Some(0), "{name}: nothing was refused");
        }
    }
    trial.assert_money();
    assert!(is_alive(trial.stage.app.pid()) && is_alive(worker), "{name}: {}", trial.stage.app.errors());
    assert_eq!(trial.stage.stats().unwrap()["worker_starts"], 1, "{name}: the worker was started again");
}

/// One app against one such proxy.
struct Trial<'a> {
    stage: Stage,
    name: &'a str,
    /// As it was when it was last looked at.
    book: Books,
    /// Tokens of answers that came whole.
    charged: u64,
}

impl Trial<'_> {
    /// Whether the app says that it is connected.
    fn is_ready(&self) -> bool {
        let stats = self.stage.stats().expect("the app answers");
        stats["proxies"].as_array().is_some_and(|proxies| proxies.iter().any(|proxy| proxy["ready"] == true))
    }

    /// Looks whether anything was lost from the ledger.
    fn look(&mut self) {
        let now = Books::read(&self.stage.ledger());
        now.assert_keeps(&self.book, self.name);
        self.book = now;
    }

    /// Asks for an answer, which must come whole.
    fn ask(&mut self) {
        self.stage.wait_for_model();
        let answer = self.stage.answer("a question", 8);
        self.charged += answer.usage()["total_tokens"].as_u64().expect("honest counts");
        self.look();
    }

    /// Asks something and waits until something is signed. Gives for how much.
    fn first_payment(&mut self) -> u64 {
        self.ask();
        let first = until(&format!("{}: a first payment", self.name), || {
            self.look();
            Some(self.book.signed_tokens()).filter(|tokens| *tokens > 0)
        });
        assert_eq!(first, self.charged, "{}: the first payment is an honest one", self.name);
        first
    }

    /// Asks something that gets no whole answer.
    fn assert_unanswered(&self) {
        let body = json!({"model": self.stage.base, "messages": [{"role": "user", "content": "a question"}],
                          "max_tokens": 200, "stream": true, "timeout": 2});
        let coming = http::begin(self.stage.http_port, "/v1/chat/completions", &body).unwrap();
        let (answer, whole) = coming.as_far_as_it_goes();
        assert!(answer.status >= 400 || whole.is_err(), "{}: an answer came whole", self.name);
    }

    /// Whatever is signed was signed by this proxy's key for the owner's contract, for no more than customers were charged for, and the
    /// statistics say the same as the ledger.
    fn assert_money(&mut self) {
        let charged = i64::try_from(self.charged).unwrap();
        until(&format!("{}: all jobs in the ledger", self.name), || {
            self.look();
            (self.book.adjusted_tokens() >= charged).then_some(())
        });
        assert_eq!(self.book.adjusted_tokens(), charged, "{}: the jobs", self.name);
        let ledger = self.stage.ledger();
        Payer::of(&self.stage).assert_signed_all(&ledger, self.name);
        let signed = self.book.signed_tokens();
        assert!(signed <= self.charged, "{}: {signed} signed for {} charged", self.name, self.charged);
        let stats = self.stage.stats().unwrap();
        assert_eq!(stats["signed_tokens"], signed, "{}: {stats}", self.name);
        assert_eq!(stats["signed_nanoton"], signed * FEE, "{}: {stats}", self.name);
        assert_eq!(ledger.all_time_totals().unwrap().signed_nanoton.0, signed * FEE, "{}", self.name);
    }
}
