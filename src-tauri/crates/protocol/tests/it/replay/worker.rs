//! Our session as the worker of a recording. The backend's heads and parts are taken from what the recorded worker made of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use accounting::TokenUsage;
use accounting::signed_payment::PaymentKind;
use protocol::Now;
use protocol::http::ResponseHead;
use protocol::worker::{Action, Config, KnownProxy, Session, Totals};
use tl::Boxed;
use tl::proxy::{QueryAnswerEx, QueryFinalInfo, RunQueryEx};

use super::dialler::Machine;
use super::{Script, debug_text, header, inner, time_header};
use crate::recorded_network as network;
use crate::recording::Frame;

/// What the recording tells about a job.
#[derive(Default, Clone)]
struct Told {
    start: f64,
    head: f64,
    end: f64,
    usage: TokenUsage,
}

pub(crate) struct Worker {
    config: Config,
    session: Option<Session>,
    told: BTreeMap<[u8; 32], Told>,
}

impl Worker {
    /// `remembered`: tokens that the worker knows from an earlier conversation.
    pub(crate) fn new(frames: &[Frame], coefficient: i32, remembered: u64) -> Self {
        let total = i64::try_from(remembered).unwrap();
        let config = Config {
            owner_text: network::OWNER.to_owned(),
            model: network::MODEL.parse().unwrap(),
            coefficient,
            is_test: true,
            is_testnet: false,
            proxy_connections: 1,
            max_active_requests: 60,
            disabled: false,
            root: Arc::new(network::root()),
            root_contract: network::address(network::ROOT),
            known: (remembered > 0).then(|| KnownProxy {
                public_key: network::public_key(),
                proxy_contract: None,
                totals: Totals { signed: remembered, stored: total, known: total },
            }),
        };
        Self { config, session: None, told: tell(frames) }
    }

    fn session(&mut self) -> &mut Session {
        self.session.as_mut().unwrap()
    }

    fn told(&self, id: &[u8; 32]) -> Told {
        self.told.get(id).cloned().unwrap_or_default()
    }
}

fn sent(actions: Vec<Action>) -> Vec<Vec<u8>> {
    let sends = actions.into_iter();
    sends.filter_map(|it| if let Action::Send(bytes) = it { Some(bytes) } else { None }).collect()
}

/// Reads clocks and counts off the recorded answers.
fn tell(frames: &[Frame]) -> BTreeMap<[u8; 32], Told> {
    let mut told: BTreeMap<[u8; 32], Told> = BTreeMap::new();
    let mut coefficients = BTreeMap::new();
    for data in frames.iter().filter_map(|it| inner(&it.payload)) {
        if let Ok(query) = RunQueryEx::from_bytes(&data) {
            coefficients.insert(query.request_id, query.coefficient);
        }
        let Ok(answer) = QueryAnswerEx::from_bytes(&data) else {
            continue;
        };
        let (id, info) = match &answer {
            QueryAnswerEx::Answer { request_id, answer, final_info, .. } => {
                let told = told.entry(*request_id).or_default();
                if let Some(start) = time_header(answer, "X-Cocoon-Worker-Start") {
                    told.start = start;
                    told.head = time_header(answer, "X-Cocoon-Worker-End").unwrap();
                }
                (request_id, final_info)
            }
            QueryAnswerEx::Part { request_id, answer, final_info, .. } => {
                let told = told.entry(*request_id).or_default();
                told.usage = usage_in(answer).unwrap_or(told.usage);
                (request_id, final_info)
            }
            QueryAnswerEx::Error { request_id, final_info, .. } => (request_id, final_info),
        };
        if let Some(info) = info {
            let told = told.entry(*id).or_default();
            told.start = info.worker_start_time.unwrap();
            told.end = info.worker_end_time.unwrap();
        }
    }
    told
}

/// What the backend counted, if the recorded worker could read it.
fn usage_in(part: &[u8]) -> Option<TokenUsage> {
    let lines = std::str::from_utf8(part).ok()?.lines();
    let mut found = lines.filter_map(|line| {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        let usage = value.get("usage")?;
        let count = |path: &str| usage.pointer(path).and_then(serde_json::Value::as_u64).unwrap_or(0);
        Some(TokenUsage {
            prompt: count("/prompt_tokens"),
            cached: count("/prompt_tokens_details/cached_tokens"),
            completion: count("/completion_tokens"),
            reasoning: count("/completion_tokens_details/reasoning_tokens"),
        })
    });
    found.next_back()
}

/// What the backend must have said for the recorded worker to say this. Headers about framing are put in: they must not come out.
fn backend_head(answer: &[u8]) -> ResponseHead {
    let response = tl::http::Response::from_bytes(answer).unwrap();
    let own = ["Connection", "X-Cocoon-Worker-Start", "X-Cocoon-Worker-End", "Transfer-Encoding"];
    let mut headers: Vec<(String, String)> = vec![("Content-Length".to_owned(), "408".to_owned())];
    let others = response.headers.iter().filter(|it| !own.contains(&it.name.as_str()));
    headers.extend(others.map(|it| (it.name.clone(), it.value.clone())));
    assert_eq!(header(&response.headers, "Connection"), Some("Close"));
    ResponseHead { version: response.http_version, status: response.status_code, reason: response.reason, headers }
}

impl Machine for Worker {
    fn start(&mut self, script: Script, now: Now) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        self.session = Some(Session::new(self.config.clone(), Box::new(script), now, &mut out));
        sent(out)
    }

    fn receive(&mut self, bytes: &[u8], now: Now) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        self.session().receive(bytes, now, &mut out).unwrap();
        sent(out)
    }

    fn tick(&mut self, now: Now) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        self.session().tick(now, &mut out).unwrap();
        sent(out)
    }

    fn next_deadline(&self) -> Option<Duration> {
        self.session.as_ref().unwrap().next_deadline()
    }

    fn made_up_answer(&self, query: &[u8]) -> Vec<u8> {
        match tl::peek_id(query).unwrap() {
            tl::worker::ConnectToProxy::ID => tl::worker::ConnectedToProxy {
                params: network::proxy_params(),
                worker_sc_address: network::WORKER_CONTRACT.to_owned(),
            }
            .to_bytes(),
            tl::worker::CompareBalanceWithProxy::ID => tl::worker::CompareBalanceWithProxyResult {
                signed_payment: network::payment(PaymentKind::Worker, 0, 1),
                tokens_committed_to_db: 0,
                max_tokens: 0,
                error_code: 0,
            }
            .to_bytes(),
            tl::worker::ProxyHandshakeComplete::ID => tl::worker::ProxyHandshakeCompleted.to_bytes(),
            other => panic!("no answer to {other:#x}"),
        }
    }

    fn unix_on_receipt(&self, object: &[u8]) -> Option<f64> {
        if let Ok(query) = RunQueryEx::from_bytes(object) {
            return Some(self.told(&query.request_id).start);
        }
        match QueryAnswerEx::from_bytes(object) {
            Ok(QueryAnswerEx::Error { request_id, .. }) => Some(self.told(&request_id).end),
            _ => None,
        }
    }

    fn act(&mut self, object: &[u8], at: Duration) -> Option<Vec<Vec<u8>>> {
        let mut out = Vec::new();
        let now = |unix| Now { mono: at, unix };
        if let Ok(news) = tl::worker::EnabledDisabled::from_bytes(object) {
            self.session().set_disabled(news.disabled != 0, now(0.0), &mut out);
        } else if let Ok(news) = tl::worker::NewCoefficient::from_bytes(object) {
            self.session().set_coefficient(news.new_coefficient, now(0.0), &mut out);
        } else {
            match QueryAnswerEx::from_bytes(object).ok()? {
                QueryAnswerEx::Answer { request_id, answer, .. } => {
                    let now = now(self.told(&request_id).head);
                    self.session().answer_head(request_id, backend_head(&answer), now, &mut out);
                }
                QueryAnswerEx::Part { request_id, answer, final_info: None, .. } => {
                    self.session().answer_part(request_id, &answer, now(0.0), &mut out);
                }
                QueryAnswerEx::Part { request_id, answer, .. } => {
                    let told = self.told(&request_id);
                    let session = self.session();
                    session.answer_last(request_id, &answer, told.usage, now(told.end), &mut out).unwrap();
                }
                QueryAnswerEx::Error { error_code: 652, .. } => return None,
                QueryAnswerEx::Error { request_id, error_code, error, .. } => {
                    let now = now(self.told(&request_id).end);
                    self.session().answer_error(request_id, error_code, &error, now, &mut out);
                }
            }
        }
        Some(sent(out))
    }

    fn wanted(&self, payload: &[u8]) -> Vec<u8> {
        let Some(Ok(mut answer)) = inner(payload).map(|data| QueryAnswerEx::from_bytes(&data)) else {
            return payload.to_vec();
        };
        if let QueryAnswerEx::Answer { answer, .. } = &mut answer {
            // It describes a body that the recorded worker then changed. Ours drops it, whatever its capitals.
            let mut response = tl::http::Response::from_bytes(answer).unwrap();
            response.headers.retain(|it| it.name != "Content-Length");
            *answer = response.to_bytes();
        }
        if let QueryAnswerEx::Part { request_id, final_info: Some(QueryFinalInfo { worker_debug, .. }), .. } =
            &mut answer
            && worker_debug.is_some()
        {
            let told = self.told(request_id);
            *worker_debug = Some(debug_text("worker_stats", told.start, told.head, told.end));
        }
        tl::tcp::Packet::Packet { data: answer.to_bytes() }.to_bytes()
    }
}
