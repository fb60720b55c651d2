//! An answer on its way to a customer: a bounded queue between the task that speaks with the proxy and the HTTP connection.
//!
//! The protocol cannot slow a proxy down for one customer without slowing all others, so a customer who does not read is given up
//! once [`LIMIT`] bytes wait for him.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use protocol::client::FinalInfo;
use protocol::http::ResponseHead;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::clock::unix_seconds;
use crate::web::BrokenOff;

/// Bytes that may wait for one customer before the next piece is not taken.
pub(super) const LIMIT: usize = 4 * 1024 * 1024;

/// What comes of a request, in order: a head, parts, and one of the last two. Holds an answer, so it has no `Debug`.
pub(super) enum Piece {
    Head(ResponseHead),
    Part(Vec<u8>),
    Done(Box<FinalInfo>),
    Failed { code: i32, words: String },
}

/// The proxy task's end.
pub(super) struct Sink {
    sender: mpsc::UnboundedSender<Piece>,
    waiting: Arc<AtomicUsize>,
}

/// The HTTP side's end.
pub(super) struct Answer {
    receiver: mpsc::UnboundedReceiver<Piece>,
    waiting: Arc<AtomicUsize>,
}

/// The customer is gone, or does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unwanted;

pub(super) fn channel() -> (Sink, Answer) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    (Sink { sender, waiting: Arc::clone(&waiting) }, Answer { receiver, waiting })
}

impl Sink {
    /// Passes a piece on.
    pub(super) fn push(&self, piece: Piece) -> Result<(), Unwanted> {
        if let Piece::Part(bytes) = &piece {
            if self.waiting.load(Ordering::Relaxed) >= LIMIT {
                return Err(Unwanted);
            }
            self.waiting.fetch_add(bytes.len(), Ordering::Relaxed);
        }
        self.sender.send(piece).map_err(|_| Unwanted)
    }

    /// Whether the customer is gone.
    pub(super) fn is_unwanted(&self) -> bool {
        self.sender.is_closed()
    }
}

impl Answer {
    /// The next piece; `None` when the task that should have ended it is gone.
    pub(super) async fn next(&mut self) -> Option<Piece> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Piece>> {
        let piece = self.receiver.poll_recv(context);
        if let Poll::Ready(Some(Piece::Part(bytes))) = &piece {
            self.waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
        }
        piece
    }
}

/// What is appended for a customer who asked for timings.
pub(super) struct Timings {
    started: f64,
    first: f64,
    style: Style,
    /// The last piece, held back so that the timings can be put into it.
    held: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Json,
    Events,
}

impl Timings {
    pub(super) fn new(started: f64, head: &ResponseHead) -> Self {
        let is_stream = head.headers.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case("content-type") && value.trim_start().starts_with("text/event-stream")
        });
        let style = if is_stream { Style::Events } else { Style::Json };
        Self { started, first: unix_seconds(), style, held: None }
    }

    /// What to send when a part comes.
    fn part(&mut self, bytes: Vec<u8>) -> Option<Vec<u8>> {
        match self.style {
            Style::Events => Some(bytes),
            Style::Json => self.held.replace(bytes),
        }
    }

    /// What to send at the end: the last JSON value with a member `debug` more, or a line of its own.
    fn last(&mut self, info: &FinalInfo) -> Vec<u8> {
        let parse = |text: &Option<String>| text.as_ref().and_then(|text| serde_json::from_str::<Value>(text).ok());
        let debug = json!({
            "client": {
                "answer_receive_end_at": unix_seconds(),
                "answer_receive_start_at": self.first,
                "start_time": self.started,
                "type": "client_stats",
            },
            "proxy": parse(&info.proxy_debug),
            "worker": parse(&info.worker_debug),
        });
        if self.style == Style::Events {
            return format!("data: {}\n\n", json!({ "debug": debug })).into_bytes();
        }
        let held = self.held.take().unwrap_or_default();
        if let Ok(Value::Object(mut object)) = serde_json::from_slice(&held) {
            object.insert("debug".to_owned(), debug);
            return format!("{}\n", Value::Object(object)).into_bytes();
        }
        let mut text = held;
        text.extend_from_slice(format!("{}\n", json!({ "debug": debug })).as_bytes());
        text
    }
}

/// What a finished answer is reported to.
pub(super) type Ended = Box<dyn FnOnce(Outcome) + Send + Sync>;

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Whole, with this many adjusted tokens if that was said.
    Whole(Option<i64>),
    /// It broke off.
    Broken,
    /// The customer left first.
    Left,
}

/// An answer's body. Each part becomes a chunk of its own.
pub(super) struct AnswerBody {
    answer: Answer,
    timings: Option<Timings>,
    ended: Option<Ended>,
    broken: Broken,
}

/// How far a broken answer is. An error makes the HTTP connection forget what it has not flushed yet, so the customer gets a moment to
/// be sent what there is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Broken {
    No,
    Flushing,
}

impl AnswerBody {
    pub(super) fn new(answer: Answer, timings: Option<Timings>, ended: Ended) -> Self {
        Self { answer, timings, ended: Some(ended), broken: Broken::No }
    }

    fn end(&mut self, outcome: Outcome) {
        if let Some(ended) = self.ended.take() {
            ended(outcome);
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if self.ended.is_none() {
            return Poll::Ready(None);
        }
        if self.broken == Broken::Flushing {
            self.end(Outcome::Broken);
            return Poll::Ready(Some(Err(BrokenOff)));
        }
        loop {
            let data = match self.answer.poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Piece::Part(bytes))) => match &mut self.timings {
                    Some(timings) => timings.part(bytes),
                    None => Some(bytes),
                },
                Poll::Ready(Some(Piece::Head(_))) => None,
                Poll::Ready(Some(Piece::Done(info))) => {
                    self.end(Outcome::Whole(info.tokens.as_ref().map(|tokens| tokens.total)));
                    let Some(timings) = &mut self.timings else {
                        return Poll::Ready(None);
                    };
                    Some(timings.last(&info))
                }
                Poll::Ready(Some(Piece::Failed { .. }) | None) => {
                    self.broken = Broken::Flushing;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
            };
            if let Some(data) = data {
                return Poll::Ready(Some(Ok(Frame::data(data.into()))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended.is_none()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.end(Outcome::Left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn head(kind: &str) -> ResponseHead {
        ResponseHead::new(200, "OK", vec![("Content-Type".to_owned(), kind.to_owned())])
    }

    fn info() -> FinalInfo {
        FinalInfo { worker_debug: Some(r#"{"type":"worker_stats"}"#.to_owned()), ..FinalInfo::default() }
    }

    #[tokio::test]
    async fn a_customer_who_does_not_read_is_given_up_at_the_limit() {
        let (sink, mut answer) = channel();
        sink.push(Piece::Part(vec![0; LIMIT])).unwrap();
        assert_eq!(sink.push(Piece::Part(vec![0; 1])), Err(Unwanted));
        assert!(matches!(answer.next().await, Some(Piece::Part(bytes)) if bytes.len() == LIMIT));
        assert_eq!(sink.push(Piece::Part(vec![0; 1])), Ok(()));
        drop(answer);
        assert!(sink.is_unwanted());
        assert_eq!(sink.push(Piece::Part(vec![0; 1])), Err(Unwanted));
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_ends_in_an_error_and_not_in_an_end() {
        let (sink, answer) = channel();
        sink.push(Piece::Part(b"half".to_vec())).unwrap();
        drop(sink);
        let (report, outcome) = tokio::sync::oneshot::channel();
        let body = AnswerBody::new(answer, None, Box::new(|outcome| report.send(outcome).unwrap()));
        assert!(body.collect().await.is_err());
        assert_eq!(outcome.await, Ok(Outcome::Broken));
    }

    async fn with_timings(kind: &str, parts: &[&str]) -> String {
        let (sink, answer) = channel();
        for part in parts {
            sink.push(Piece::Part(part.as_bytes().to_vec())).unwrap();
        }
        sink.push(Piece::Done(Box::new(info()))).unwrap();
        let timings = Timings::new(1.5, &head(kind));
        let whole = AnswerBody::new(answer, Some(timings), Box::new(|_| {})).collect().await.unwrap();
        String::from_utf8(whole.to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn timings_go_into_the_last_json_value_or_stand_on_their_own() {
        let merged: Value = serde_json::from_str(&with_timings("application/json", &[r#"{"a":1}"#]).await).unwrap();
        assert_eq!((&merged["a"], &merged["debug"]["worker"]["type"]), (&json!(1), &json!("worker_stats")));
        let lines = with_timings("application/json", &["{\"a\":1}\n", "rest"]).await;
        assert!(lines.starts_with("{\"a\":1}\nrest{\"debug\":"), "{lines}");
        let events = with_timings("text/event-stream", &["data: [DONE]\n\n"]).await;
        assert!(events.starts_with("data: [DONE]\n\ndata: {\"debug\":"), "{events}");
    }
}
