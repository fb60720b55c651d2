//! The embedded chain's door: HTTP on loopback, a thread that owns the chain, and between them the faults that were asked for.

use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper::header::{HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use ton::{AddressText, Nanoton};

use super::api::{self, Refusal};
use super::embedded::{Embedded, EmbeddedError};
use super::faults::{Faults, Wrong, lie, lie_about_lt, lie_about_time};
use crate::store::chain::Audit;
use crate::web::{self, Body, BrokenOff, Patience};

/// Largest request: a message of half a megabyte as base64.
const BODY_LIMIT: usize = 1 << 20;
/// Without anything to do, the thread looks at its clock this often.
const IDLE: Duration = Duration::from_mins(1);
/// After a failed write the next block is tried after this.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Furthest that time can be moved at once: a hundred years, in seconds.
const FURTHEST: u64 = 100 * 365 * 24 * 3600;

/// How the chain's thread reads the machine's clock, in Unix milliseconds.
pub(super) type Clock = Box<dyn Fn() -> i64 + Send>;

/// What comes of a request.
struct Outcome {
    wrong: Option<Wrong>,
    answer: Result<Value, Refusal>,
}

/// What reaches the thread.
pub(super) enum Order {
    /// What to do wrong with a request for this method.
    Meddle { method: String, reply: oneshot::Sender<Option<Wrong>> },
    /// A request.
    Call { method: String, params: Value, twice: bool, behind: bool, reply: oneshot::Sender<Result<Value, Refusal>> },
    /// A request of the chain's own.
    Admin { method: String, params: Value, reply: oneshot::Sender<Result<Value, Refusal>> },
    /// Where all money is.
    Audit(oneshot::Sender<Result<Audit, EmbeddedError>>),
    /// The end.
    Stop,
}

/// Owns the chain until it is told to stop.
pub(super) fn own(
    mut chain: Embedded,
    mut faults: Faults,
    faucet: Nanoton,
    clock: &Clock,
    orders: &mpsc::Receiver<Order>,
) {
    let mut pause = Duration::ZERO;
    if faults.look_back() {
        chain.fall_behind(clock());
    }
    loop {
        match orders.recv_timeout(pause) {
            Ok(Order::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Ok(Order::Meddle { method, reply }) => {
                let _ = reply.send(faults.take(&method));
            }
            Ok(Order::Call { method, params, twice, behind, reply }) => {
                let now = clock();
                chain.look_back(behind);
                if twice {
                    let _ = api::call(&mut chain, &method, &params, now);
                }
                let _ = reply.send(api::call(&mut chain, &method, &params, now));
                chain.look_back(false);
            }
            Ok(Order::Admin { method, params, reply }) => {
                let _ = reply.send(administer(&mut chain, &mut faults, faucet, &method, &params, clock()));
            }
            Ok(Order::Audit(reply)) => {
                let _ = reply.send(chain.audit());
            }
        }
        let now = clock();
        pause = match chain.tick(now) {
            Ok(_) if chain.has_work() => Duration::from_millis(chain.next_block_in(now)).max(Duration::from_millis(1)),
            Ok(_) => IDLE,
            Err(error) => {
                tracing::error!(%error, "the chain cannot make a block");
                AGAIN_AFTER
            }
        };
    }
}

fn administer(
    chain: &mut Embedded,
    faults: &mut Faults,
    faucet: Nanoton,
    method: &str,
    params: &Value,
    wall_ms: i64,
) -> Result<Value, Refusal> {
    match method {
        "faucet" => {
            let text = params.get("address").and_then(Value::as_str).unwrap_or_default();
            let to = AddressText::parse(text).map_err(|error| Refusal::question(format!("address: {error}")))?.address;
            let amount = match params.get("nanotons") {
                None | Some(Value::Null) => faucet,
                Some(Value::String(text)) => {
                    Nanoton(text.parse().map_err(|_| Refusal::question("nanotons is no whole number"))?)
                }
                Some(value) => Nanoton(value.as_u64().ok_or_else(|| Refusal::question("nanotons is no whole number"))?),
            };
            chain.give(to, amount, wall_ms)?;
            Ok(json!({ "nanotons": amount.0.to_string() }))
        }
        "advanceTime" => {
            let seconds = params.get("seconds").and_then(Value::as_u64).filter(|seconds| *seconds <= FURTHEST);
            let seconds = seconds.ok_or_else(|| Refusal::question("seconds is no number of up to a hundred years"))?;
            chain.travel(seconds as i64 * 1000)?;
            let head = chain.head(wall_ms);
            Ok(json!({ "seqno": head.seqno, "time": head.time }))
        }
        "setFaults" => {
            let wanted = params.get("faults").unwrap_or(&Value::Null);
            *faults = Faults::from_json(wanted).map_err(|error| Refusal::question(error.to_string()))?;
            if faults.look_back() {
                chain.fall_behind(wall_ms);
            } else {
                chain.catch_up();
            }
            Ok(json!({}))
        }
        "audit" => {
            let audit = chain.audit()?;
            Ok(json!({
                "minted": audit.minted.0.to_string(), "balances": audit.balances.0.to_string(),
                "in_flight": audit.in_flight.0.to_string(), "fees": audit.fees.0.to_string(),
                "adds_up": audit.adds_up(),
            }))
        }
        _ => Err(Refusal { status: 404, words: "faucet, advanceTime, setFaults and audit are known here".to_owned() }),
    }
}

/// Answers requests until the listener is gone.
pub(super) async fn serve(listener: tokio::net::TcpListener, token: String, orders: mpsc::Sender<Order>) {
    let handler = move |request: Request<Incoming>| {
        let (token, orders) = (token.clone(), orders.clone());
        async move { respond(request, &token, &orders).await }
    };
    web::serve(listener, Patience::default(), handler).await;
}

async fn respond(request: Request<Incoming>, token: &str, orders: &mpsc::Sender<Order>) -> Response<Body> {
    let none = Value::Null;
    if !web::is_from_here(request.headers()) {
        return failure(&Refusal { status: 403, words: "only from this machine".to_owned() }, &none);
    }
    let query = request.uri().query().unwrap_or_default().to_owned();
    let header = request.headers().get("x-api-key").and_then(|key| key.to_str().ok());
    let shown = header.or_else(|| query.split('&').find_map(|pair| pair.strip_prefix("api_key=")));
    if shown != Some(token) {
        return failure(&Refusal { status: 401, words: "the API key is missing or wrong".to_owned() }, &none);
    }
    let path = request.uri().path().trim_end_matches('/').to_owned();
    let path = path.strip_prefix("/api/v2").unwrap_or(&path).to_owned();
    if request.method() == Method::GET {
        let method = path.trim_start_matches('/').to_owned();
        return perform(method, api::from_query(&query), none, orders).await;
    }
    let admin = path == "/admin";
    if request.method() != Method::POST || !(admin || path.is_empty() || path == "/jsonRPC") {
        return failure(
            &Refusal { status: 404, words: "POST /api/v2/jsonRPC, or GET /api/v2/METHOD".to_owned() },
            &none,
        );
    }
    let body = match web::read_body(request.into_body(), BODY_LIMIT, Patience::default().body).await {
        Ok(body) => body,
        Err(error) => return failure(&Refusal { status: 413, words: error.to_string() }, &none),
    };
    let parsed: Value = match serde_json::from_slice(&body) {
        Ok(parsed) => parsed,
        Err(_) => return failure(&Refusal::question("the request is no JSON"), &none),
    };
    let Some(method) = parsed.get("method").and_then(Value::as_str).map(str::to_owned) else {
        return failure(&Refusal::question("method is missing"), &none);
    };
    let params = parsed.get("params").cloned().unwrap_or(Value::Null);
    let id = parsed.get("id").cloned().unwrap_or(Value::Null);
    if admin {
        let (reply, answer) = oneshot::channel();
        return finish(ask(orders, Order::Admin { method, params, reply }, answer).await, &id);
    }
    perform(method, params, id, orders).await
}

async fn perform(method: String, params: Value, id: Value, orders: &mpsc::Sender<Order>) -> Response<Body> {
    let (reply, wrong) = oneshot::channel();
    let _ = orders.send(Order::Meddle { method: method.clone(), reply });
    let wrong = wrong.await.ok().flatten();
    match wrong {
        Some(Wrong::Drop) => return broken(),
        Some(Wrong::Busy(seconds)) => {
            let words = "Ratelimit exceed".to_owned();
            let mut response = failure(&Refusal { status: 429, words }, &id);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            return response;
        }
        Some(Wrong::Swallow) => return finish(Ok(json!({ "@type": "ok" })), &id),
        Some(Wrong::Delay(ms)) => tokio::time::sleep(Duration::from_millis(ms)).await,
        _ => {}
    }
    let (reply, answer) = oneshot::channel();
    let twice = wrong == Some(Wrong::Duplicate);
    let behind = wrong == Some(Wrong::Behind);
    let answer = ask(orders, Order::Call { method, params, twice, behind, reply }, answer).await;
    let mut outcome = Outcome { wrong, answer };
    match (outcome.wrong, &mut outcome.answer) {
        (Some(Wrong::LateAnswer(ms)), _) => tokio::time::sleep(Duration::from_millis(ms)).await,
        (Some(Wrong::LostAnswer), _) => return broken(),
        (Some(Wrong::Garbage), _) => return web::whole(StatusCode::OK, "text/html", "<html>Just a moment...</html>"),
        (Some(Wrong::LieAboutBalance(more)), Ok(answer)) => lie(answer, more),
        (Some(Wrong::LieAboutTime(more)), Ok(answer)) => lie_about_time(answer, more),
        (Some(Wrong::LieAboutLt(more)), Ok(answer)) => lie_about_lt(answer, more),
        (Some(Wrong::Duplicate), Ok(Value::Array(items))) => items.extend(items.clone()),
        _ => {}
    }
    finish(outcome.answer, &id)
}

async fn ask(
    orders: &mpsc::Sender<Order>,
    order: Order,
    answer: oneshot::Receiver<Result<Value, Refusal>>,
) -> Result<Value, Refusal> {
    let _ = orders.send(order);
    let gone = || Err(Refusal { status: 503, words: "the chain is stopping".to_owned() });
    answer.await.unwrap_or_else(|_| gone())
}

fn finish(answer: Result<Value, Refusal>, id: &Value) -> Response<Body> {
    match answer {
        Ok(result) => web::json(StatusCode::OK, &json!({ "ok": true, "result": result, "jsonrpc": "2.0", "id": id })),
        Err(refusal) => failure(&refusal, id),
    }
}

fn failure(refusal: &Refusal, id: &Value) -> Response<Body> {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    web::json(
        status,
        &json!({ "ok": false, "error": refusal.words, "code": refusal.status, "jsonrpc": "2.0", "id": id }),
    )
}

/// An answer that ends before it has begun.
fn broken() -> Response<Body> {
    Response::new(Nothing.boxed())
}

struct Nothing;

impl hyper::body::Body for Nothing {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        Poll::Ready(Some(Err(BrokenOff)))
    }
}
