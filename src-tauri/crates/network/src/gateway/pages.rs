//! The gateway's HTTP: two endpoints that ask, one that lists models, one that counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CONNECTION,
    HeaderName, HeaderValue, ORIGIN, VARY,
};
use hyper::{Method, Request, Response, StatusCode};
use protocol::client::{ClientRequest, WorkerType};
use protocol::http::{ResponseHead, is_hop_header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::PracticePage;
use super::answer::{Answer, AnswerBody, Outcome, Piece, Timings};
use super::proxies::Proxies;
use super::request;
use super::till::Shown;
use crate::clock::unix_seconds;
use crate::web::{self, Body, BodyError, Patience};

/// Largest body of a request. A frame holds 16 MiB; no model of today reads four.
const BODY_LIMIT: usize = 4 * 1024 * 1024;
/// The session ends every request in its time; this only guards against its task being gone.
const GRACE: Duration = Duration::from_secs(5);

const CODE_PROTOCOL: i32 = protocol::client::CODE_PROTOCOL;
const CODE_NOT_READY: i32 = protocol::client::CODE_NOT_READY;
const CODE_TIMEOUT: i32 = protocol::client::CODE_TIMEOUT;

/// Counts since the start.
#[derive(Default)]
pub(super) struct Counters {
    queries: AtomicU64,
    success: AtomicU64,
    failed: AtomicU64,
    rejected: AtomicU64,
    left: AtomicU64,
    running: AtomicI64,
    tokens: AtomicI64,
}

impl Counters {
    fn begin(&self) {
        self.queries.fetch_add(1, Ordering::Relaxed);
        self.running.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self, outcome: Outcome) {
        self.running.fetch_sub(1, Ordering::Relaxed);
        match outcome {
            Outcome::Whole(tokens) => {
                self.success.fetch_add(1, Ordering::Relaxed);
                self.tokens.fetch_add(tokens.unwrap_or(0), Ordering::Relaxed);
            }
            Outcome::Broken => {
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Left => {
                self.left.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// A query under way; counted as left by its customer when nothing else is said.
struct Counted {
    counters: Arc<Counters>,
    is_open: bool,
}

impl Counted {
    fn begin(counters: &Arc<Counters>) -> Self {
        counters.begin();
        Self { counters: Arc::clone(counters), is_open: true }
    }

    fn end(mut self, outcome: Outcome) {
        self.is_open = false;
        self.counters.end(outcome);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.is_open {
            self.counters.end(Outcome::Left);
        }
    }
}

/// What every request needs.
pub(super) struct Desk {
    pub(super) counters: Arc<Counters>,
    pub(super) access_hash: String,
    pub(super) patience: Patience,
    pub(super) practice: Option<PracticePage>,
    pub(super) shown: watch::Receiver<Shown>,
}

/// Serves for ever.
pub(super) async fn serve(listener: TcpListener, proxies: Arc<Proxies>, desk: Arc<Desk>) {
    web::serve(listener, desk.patience, move |request| {
        let (desk, proxies) = (Arc::clone(&desk), Arc::clone(&proxies));
        async move { desk.receive(&proxies, request).await }
    })
    .await;
}

/// The stats page.
pub(super) fn stats(
    proxies: &Proxies,
    counters: &Counters,
    practice: Option<&PracticePage>,
    shown: &watch::Receiver<Shown>,
) -> Value {
    let count = |value: &AtomicU64| value.load(Ordering::Relaxed);
    json!({
        "practice": practice.map_or(Value::Bool(false), |page| page()),
        "stats": {
            "queries": count(&counters.queries),
            "success": count(&counters.success),
            "failed": count(&counters.failed),
            "rejected": count(&counters.rejected),
            "customers_gone": count(&counters.left),
            "running": counters.running.load(Ordering::Relaxed),
            "total_adjusted_tokens_used": counters.tokens.load(Ordering::Relaxed),
        },
        "proxies": proxies.stats(),
        "money": shown.borrow().page.clone(),
    })
}

impl Desk {
    async fn receive(&self, proxies: &Proxies, request: Request<Incoming>) -> Response<Body> {
        if !web::is_from_here(request.headers()) {
            // A page elsewhere must not spend the money of whoever opened it.
            return web::failure(
                StatusCode::FORBIDDEN,
                CODE_PROTOCOL,
                "only programs and pages of this machine may ask",
            );
        }
        let origin = request.headers().get(ORIGIN).cloned();
        let mut response = self.answer(proxies, request).await;
        if let Some(origin) = origin {
            response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            response.headers_mut().insert(VARY, HeaderValue::from_static("Origin"));
        }
        response
    }

    async fn answer(&self, proxies: &Proxies, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        match (request.method(), path) {
            (&Method::OPTIONS, _) => options(),
            (&Method::GET, "/v1/models") => models(proxies).await,
            (&Method::GET, "/jsonstats") if !web::may_see(request.uri().query(), &self.access_hash) => {
                web::failure(StatusCode::FORBIDDEN, CODE_PROTOCOL, "the access_hash is missing or wrong")
            }
            (&Method::GET, "/jsonstats") => {
                web::json(StatusCode::OK, &stats(proxies, &self.counters, self.practice.as_ref(), &self.shown))
            }
            (&Method::POST, "/v1/chat/completions" | "/v1/completions") => {
                let url = path.to_owned();
                self.ask(proxies, url, request).await
            }
            (_, "/v1/chat/completions" | "/v1/completions" | "/v1/models" | "/jsonstats") => {
                web::failure(StatusCode::METHOD_NOT_ALLOWED, CODE_PROTOCOL, "this path does not take this method")
            }
            _ => web::failure(
                StatusCode::NOT_FOUND,
                CODE_PROTOCOL,
                "no such path; there are POST /v1/chat/completions, POST /v1/completions, GET /v1/models, GET /jsonstats",
            ),
        }
    }

    async fn ask(&self, proxies: &Proxies, url: String, request: Request<Incoming>) -> Response<Body> {
        let started = unix_seconds();
        let (head, body) = request.into_parts();
        let body = match web::read_body(body, BODY_LIMIT, self.patience.body).await {
            Ok(body) => body,
            Err(error) => {
                self.counters.rejected.fetch_add(1, Ordering::Relaxed);
                let status = match error {
                    BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
                    BodyError::TooSlow => StatusCode::REQUEST_TIMEOUT,
                    BodyError::BrokenOff => StatusCode::BAD_REQUEST,
                };
                let mut response = web::failure(status, CODE_PROTOCOL, &error.to_string());
                // The rest of the body is not worth reading.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                return response;
            }
        };
        let wanted = match request::read(&body) {
            Ok(wanted) => wanted,
            Err(error) => {
                self.counters.rejected.fetch_add(1, Ordering::Relaxed);
                return web::failure(StatusCode::BAD_REQUEST, CODE_PROTOCOL, &error.to_string());
            }
        };
        drop(body);
        let counted = Counted::begin(&self.counters);
        let patience = wanted.timeout + GRACE;
        let debug = wanted.enable_debug;
        let request = ClientRequest {
            model: wanted.model,
            request: for_the_worker(url, &head.headers, wanted.body),
            max_coefficient: wanted.max_coefficient,
            max_tokens: wanted.max_tokens,
            timeout: wanted.timeout,
            enable_debug: debug,
        };
        let Ok(mut answer) = proxies.run(request).await else {
            counted.end(Outcome::Broken);
            return no_proxy();
        };
        match tokio::time::timeout(patience, answer.next()).await {
            Ok(Some(Piece::Head(head))) => {
                pass_on(&head, answer, debug.then(|| Timings::new(started, &head)), started, counted)
            }
            Ok(Some(Piece::Failed { code, words })) => {
                counted.end(Outcome::Broken);
                web::failure(status_of(code), code, &readable(&words))
            }
            Ok(Some(Piece::Part(_) | Piece::Done(_))) => {
                counted.end(Outcome::Broken);
                web::failure(StatusCode::BAD_GATEWAY, CODE_PROTOCOL, "the proxy answered out of order")
            }
            Ok(None) => {
                counted.end(Outcome::Broken);
                web::failure(StatusCode::BAD_GATEWAY, CODE_NOT_READY, "the connection to the proxy was lost")
            }
            Err(_) => {
                counted.end(Outcome::Broken);
                web::failure(StatusCode::GATEWAY_TIMEOUT, CODE_TIMEOUT, "no answer in time")
            }
        }
    }
}

async fn models(proxies: &Proxies) -> Response<Body> {
    match proxies.types().await {
        Ok(types) => {
            let data: Vec<Value> = types.iter().map(model).collect();
            // Clients of OpenAI's pass over what they do not know.
            let page = json!({ "object": "list", "data": data, "demands_of_workers": proxies.demands() });
            web::json(StatusCode::OK, &page)
        }
        Err(_) => no_proxy(),
    }
}

fn pass_on(
    head: &ResponseHead,
    answer: Answer,
    timings: Option<Timings>,
    started: f64,
    counted: Counted,
) -> Response<Body> {
    let body = AnswerBody::new(answer, timings, Box::new(move |outcome| counted.end(outcome)));
    let mut response = Response::new(body.boxed());
    let status = u16::try_from(head.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    // Interim and bodiless statuses would leave the customer waiting for another answer.
    *response.status_mut() = status.filter(|status| status.as_u16() >= 200).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = response.headers_mut();
    for (name, value) in &head.headers {
        if is_hop_header(name) || is_ours_to_say(name) {
            continue;
        }
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    }
    for (name, time) in [("x-cocoon-client-start", started), ("x-cocoon-client-end", unix_seconds())] {
        if let Ok(value) = HeaderValue::from_str(&format!("{time:.6}")) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// Headers that a worker must not decide for the customer's browser.
fn is_ours_to_say(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("access-control-")
        || matches!(name.as_str(), "set-cookie" | "keep-alive" | "upgrade" | "trailer" | "te" | "date" | "location")
}

/// The request as the worker gets it. Of the customer's headers only the types of bodies travel, and the key with which he links his
/// own requests, if he does: the others say who he is.
fn for_the_worker(url: String, headers: &hyper::HeaderMap, body: Vec<u8>) -> protocol::http::Request {
    let mut kept = vec![("Host".to_owned(), "localhost".to_owned())];
    for name in ["Accept", "Content-Type", "X-Conversation-Key"] {
        if let Some(value) = headers.get(name).and_then(|value| value.to_str().ok()) {
            kept.push((name.to_owned(), value.to_owned()));
        }
    }
    protocol::http::Request {
        method: "POST".to_owned(),
        url,
        version: "HTTP/1.1".to_owned(),
        headers: kept,
        body: Vec::new(),
    }
    .with_body(body)
}

fn status_of(code: i32) -> StatusCode {
    match code {
        CODE_TIMEOUT => StatusCode::GATEWAY_TIMEOUT,
        CODE_NOT_READY => StatusCode::BAD_GATEWAY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn no_proxy() -> Response<Body> {
    web::failure(StatusCode::BAD_GATEWAY, CODE_NOT_READY, "not connected to a proxy; try again in a moment")
}

fn options() -> Response<Body> {
    let mut response = web::json(StatusCode::OK, &json!({}));
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static("GET, POST, OPTIONS"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("content-type, authorization, x-conversation-key"),
    );
    response
}

fn model(kind: &WorkerType) -> Value {
    let workers: Vec<Value> = kind
        .workers
        .iter()
        .map(|worker| {
            json!({
                "coefficient": worker.coefficient,
                "running_requests": worker.active_requests,
                "max_running_requests": worker.max_active_requests,
            })
        })
        .collect();
    json!({ "id": kind.name, "object": "model", "created": 0, "owned_by": "cocoon", "workers": workers })
}

/// A proxy's words for people. Genuine ones, and ours after them, leave out a space.
fn readable(words: &str) -> String {
    const CUT: &str = "no ready workers for model";
    match words.strip_prefix(CUT) {
        Some(model) if !model.starts_with(' ') => format!("{CUT} {model}"),
        _ => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_network_become_the_statuses_of_the_genuine_client() {
        assert_eq!(status_of(652), StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(status_of(651), StatusCode::BAD_GATEWAY);
        for code in [0, 602, 621, -1] {
            assert_eq!(status_of(code), StatusCode::INTERNAL_SERVER_ERROR, "{code}");
        }
    }

    #[test]
    fn of_a_customers_headers_only_the_types_of_bodies_and_a_conversations_key_travel() {
        let mut headers = hyper::HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer secret"),
            ("cookie", "who=me"),
            ("user-agent", "me/1"),
            ("content-type", "application/json"),
            ("x-conversation-key", "0123456789abcdef0123456789abcdef"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let request = for_the_worker("/v1/completions".to_owned(), &headers, b"{}".to_vec());
        let names: Vec<&str> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["Host", "Content-Type", "X-Conversation-Key", "Content-Length"]);
    }

    #[test]
    fn what_a_proxy_says_of_workers_is_readable() {
        assert_eq!(readable("no ready workers for modelA/B"), "no ready workers for model A/B");
        assert_eq!(readable("no ready workers for model A/B"), "no ready workers for model A/B");
        assert_eq!(readable("unknown model A/B"), "unknown model A/B");
    }
}
