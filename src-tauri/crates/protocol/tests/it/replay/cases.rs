//! Which recording is replayed in which role, what stood before it, and what is left out for which reason.

use super::client::Client;
use super::proxy::Before;
use super::worker::Worker;
use super::{dialler, proxy};
use crate::recording::{self, Frame};

/// What becomes of one role of one recording. The texts stand in docs/protocol.md.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell {
    Replayed,
    /// Replayed, with a remark.
    With(&'static str),
    Omitted(&'static str),
}

impl Cell {
    pub(crate) fn text(self) -> String {
        match self {
            Self::Replayed => "replayed".to_owned(),
            Self::With(remark) => format!("replayed; {remark}"),
            Self::Omitted(reason) => format!("omitted: {reason}"),
        }
    }
}

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) worker: Cell,
    pub(crate) proxy: Cell,
    pub(crate) client: Cell,
    before: Before,
    /// Tokens that the worker remembers.
    remembered: u64,
    /// Recordings right before it, whose jobs reach into it.
    after: &'static [&'static str],
}

use Cell::{Omitted, Replayed, With};

const NO_WORKER: Cell = Omitted("no worker in it");
const NO_CLIENT: Cell = Omitted("no client in it");
const FRAMELESS: Cell = Omitted("no frames: the genuine client refused its user's body by itself");
const LENGTH_DROPPED: Cell =
    With("less the surviving `Content-Length` header, which does not fit the body that follows");
const ONE_READING: Cell = With("times inside the debug text are the step's one reading of the clock");
const WITH_MADE_UP_WORKER: Cell = With("a worker is made up, it is not in the recording");

const fn before(committed: i64, uncommitted: i64, coefficient: i32) -> Before {
    Before { committed, uncommitted, coefficient, limit: 60 }
}

const fn case(name: &'static str, cells: [Cell; 3], before: Before) -> Case {
    let [worker, proxy, client] = cells;
    Case { name, worker, proxy, client, before, remembered: 0, after: &[] }
}

const ALL: [Cell; 3] = [Replayed; 3];

pub(crate) const CASES: [Case; 41] = [
    case("01_worker_connect", [Replayed, Replayed, NO_CLIENT], before(0, 0, 0)),
    case("02_client_connect", ALL, before(0, 0, 0)),
    case("03_models", [NO_WORKER, WITH_MADE_UP_WORKER, Replayed], before(0, 0, 0)),
    case("04_chat_nonstream", ALL, before(0, 0, 0)),
    case("04b_chat_nonstream_caps", [LENGTH_DROPPED, Replayed, Replayed], before(0, 0, 0)),
    case("05_chat_stream_sse", ALL, before(0, 0, 0)),
    case("06_chat_stream_ndjson", ALL, before(0, 0, 0)),
    case("07_completions", ALL, before(0, 0, 0)),
    case("08_debug", [ONE_READING, ONE_READING, Replayed], before(0, 0, 0)),
    case("10_client_disconnect", ALL, before(0, 0, 0)),
    case("11_coefficient_and_disable", [Replayed, With("nothing is sent"), NO_CLIENT], before(0, 0, 0)),
    case("12_models_after_coefficient", [NO_WORKER, WITH_MADE_UP_WORKER, Replayed], before(0, 0, 1500)),
    case("14_idle_pings", ALL, before(0, 200, 1500)),
    case("20_unknown_field", ALL, before(200, 0, 1500)),
    case("21_wrong_model", ALL, before(200, 0, 1500)),
    case("22_backend_500", ALL, before(200, 0, 1500)),
    case("23_backend_404", ALL, before(200, 0, 1500)),
    case("24_backend_reset", ALL, before(200, 0, 1500)),
    case("25_backend_break_midstream", ALL, before(200, 0, 1500)),
    case("26_timeout", [LENGTH_DROPPED, Replayed, Replayed], before(200, 0, 1500)),
    Case {
        after: &["25_backend_break_midstream", "26_timeout"],
        ..case("27_max_tokens_too_big", ALL, before(200, 0, 1500))
    },
    Case {
        after: &["25_backend_break_midstream", "26_timeout", "27_max_tokens_too_big"],
        ..case("28_coefficient_too_high", ALL, before(200, 0, 1500))
    },
    case("29_bad_json", [FRAMELESS; 3], before(200, 0, 1500)),
    case("30_no_messages", ALL, before(200, 0, 1500)),
    case("31_empty_text_answer", ALL, before(200, 0, 1500)),
    case("32_no_usage", ALL, before(200, 0, 1500)),
    case("34_unsupported_path", ALL, before(200, 0, 1500)),
    case("35_backend_down", ALL, before(200, 0, 1500)),
    case(
        "36_worker_dies_midstream",
        [Replayed, With("the core is not told of the loss; told, it fails the job at once"), Replayed],
        before(200, 0, 1500),
    ),
    case("37_worker_reconnect", ALL, before(200, 0, 1500)),
    Case { remembered: 200, ..case("38_proxy_restart", ALL, before(200, 0, 0)) },
    case("39_chat_after_restart", ALL, before(200, 0, 0)),
    case("50_faketdx_worker_connect", [Replayed, Replayed, NO_CLIENT], before(0, 0, 1000)),
    case("51_faketdx_client_connect", [NO_WORKER, WITH_MADE_UP_WORKER, Replayed], before(0, 0, 1000)),
    case("52_coef1000_nonstream", ALL, before(0, 0, 1000)),
    case("54_coef1000_stream_sse", ALL, before(0, 268, 1000)),
    case("55_payment_status", ALL, before(0, 268, 1000)),
    case("56_payouts", ALL, before(268, 0, 1000)),
    case("57_client_reconnect", ALL, before(402, 0, 1000)),
    case("60_client_direct_tls", [NO_WORKER, WITH_MADE_UP_WORKER, Replayed], before(0, 0, 1000)),
    case(
        "72b_foreign_worker_client_side",
        [
            NO_WORKER,
            With(
                "worker's frames from recording 72; one reading of the clock where head and last part are one message; \
                 case K with its total cut to what was agreed",
            ),
            Replayed,
        ],
        before(0, 0, 1000),
    ),
];

/// Frames of a recording with those of the recordings that reach into it.
fn frames(case: &Case) -> Vec<Frame> {
    let names = case.after.iter().chain([&case.name]);
    names.flat_map(|name| recording::frames(name)).collect()
}

fn worker(case: &Case) -> Result<(), String> {
    let mut frames = frames(case);
    frames.retain(|it| it.link.starts_with("worker-socks"));
    let coefficient = if case.name.starts_with("50") { 1000 } else { 0 };
    dialler::replay(&mut Worker::new(&frames, coefficient, case.remembered), &frames)
}

fn client(case: &Case) -> Result<(), String> {
    let mut frames = frames(case);
    let direct = frames.iter().all(|it| it.link.starts_with("rev-"));
    frames.retain(|it| it.link.starts_with("client-socks") || direct);
    dialler::replay(&mut Client::new(), &frames)
}

fn proxy(case: &Case) -> Result<(), String> {
    let mut frames = frames(case);
    // Two recordings show the same frames before and behind the router.
    if frames.iter().any(|it| it.link.starts_with("rev-")) {
        frames.retain(|it| it.link.starts_with("rev-"));
    }
    if case.name.starts_with("72b") {
        let first = frames.iter().find(|it| it.to_proxy && it.number == Some(4)).unwrap().at;
        frames.extend(recording::foreign_worker(first + 0.0015));
        frames.sort_by(|a, b| a.at.total_cmp(&b.at));
    }
    proxy::replay(&frames, case.before)
}

fn check(role: &str, cell: impl Fn(&Case) -> Cell, replay: impl Fn(&Case) -> Result<(), String>) {
    let replayed = CASES.iter().filter(|case| !matches!(cell(case), Omitted(_)));
    let faults: Vec<String> = replayed
        .filter_map(|case| replay(case).err().map(|fault| format!("{} as {role}: {fault}", case.name)))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_worker_sends_the_recorded_bytes() {
    check("worker", |case| case.worker, worker);
}

#[test]
fn the_proxy_sends_the_recorded_bytes() {
    check("proxy", |case| case.proxy, proxy);
}

#[test]
fn the_client_sends_the_recorded_bytes() {
    check("client", |case| case.client, client);
}
