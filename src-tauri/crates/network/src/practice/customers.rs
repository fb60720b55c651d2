//! Simulated customers: each asks over real HTTP, reads the answer as it comes, thinks for a moment and asks again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::questions::{self, Dice, Manner, Question};

/// Pause before a customer looks again whether somebody serves the model.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Pause after a question that got no answer.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// A customer thinks at least and at most this long, in milliseconds. With three customers two or three questions run at once.
const THINKS: (u64, u64) = (100, 900);
/// A request that takes longer has failed; the gateway ends it before.
const PATIENCE: Duration = Duration::from_mins(3);
/// Largest answer a customer keeps.
const ANSWER_LIMIT: usize = 4 * 1024 * 1024;

/// What customers did. Lives in memory only.
#[derive(Debug, Default)]
pub(super) struct Diary {
    asked: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    streamed: AtomicU64,
}

impl Diary {
    pub(super) fn page(&self) -> Value {
        let count = |value: &AtomicU64| value.load(Ordering::Relaxed);
        json!({
            "asked": count(&self.asked),
            "answered": count(&self.answered),
            "failed": count(&self.failed),
            "streamed": count(&self.streamed),
        })
    }
}

/// Why a question has no answer. The words never quote either.
#[derive(Debug, Error)]
enum Unanswered {
    #[error("the gateway cannot be reached: {0}")]
    Io(#[from] std::io::Error),
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("status {0}")]
    Status(StatusCode),
    #[error("the answer is not what a chat answer looks like")]
    Strange,
    #[error("no answer in {} s", PATIENCE.as_secs())]
    TooSlow,
}

/// Lets `count` customers ask for ever. They stop when the set is dropped.
pub(super) fn start(
    count: u32,
    seed: u64,
    gateway: SocketAddr,
    model: Option<&str>,
    diary: &Arc<Diary>,
) -> JoinSet<()> {
    let mut order = questions::all();
    Dice::new(seed).shuffle(&mut order);
    let order: Arc<[Question]> = order.into();
    let mut customers = JoinSet::new();
    for number in 0..count {
        let customer = Customer {
            gateway,
            model: model.map(str::to_owned),
            dice: Dice::new(seed ^ (u64::from(number) + 1).wrapping_mul(0x00c0_ffee_d15e_a5e5)),
            diary: Arc::clone(diary),
        };
        let order = Arc::clone(&order);
        customers.spawn(customer.live(order, number as usize, count as usize));
    }
    customers
}

struct Customer {
    gateway: SocketAddr,
    model: Option<String>,
    dice: Dice,
    diary: Arc<Diary>,
}

impl Customer {
    /// Asks every `step`th question, beginning with its own.
    async fn live(mut self, order: Arc<[Question]>, first: usize, step: usize) {
        for question in order.iter().cycle().skip(first).step_by(step) {
            self.think().await;
            let model = self.wait_for_model().await;
            if let Err(error) = self.talk(&model, question).await {
                self.diary.failed.fetch_add(1, Ordering::Relaxed);
                // Whoever served was free to leave, as it does at the end of each practice.
                if matches!(self.served_model().await, Ok(None)) {
                    tracing::info!(%error, "practice: nobody serves the model any more, so a question is put off");
                } else {
                    tracing::warn!(%error, "practice: a question got no answer");
                }
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }

    async fn think(&mut self) {
        tokio::time::sleep(Duration::from_millis(self.dice.between(THINKS.0, THINKS.1))).await;
    }

    /// Waits until somebody serves the model (any model, if none was named).
    async fn wait_for_model(&self) -> String {
        loop {
            if let Ok(found) = self.served_model().await
                && let Some(model) = found
            {
                return model;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn served_model(&self) -> Result<Option<String>, Unanswered> {
        let body = self.http(Method::GET, "/v1/models", None).await?;
        let page: Value = serde_json::from_slice(&body).map_err(|_| Unanswered::Strange)?;
        let models = page["data"].as_array().ok_or(Unanswered::Strange)?;
        let served = models.iter().filter(|model| model["workers"].as_array().is_some_and(|them| !them.is_empty()));
        let mut names = served.filter_map(|model| model["id"].as_str());
        Ok(names.find(|name| self.model.as_ref().is_none_or(|wanted| wanted == name)).map(str::to_owned))
    }

    async fn talk(&mut self, model: &str, question: &Question) -> Result<(), Unanswered> {
        let manner = Manner::choose(question.kind, &mut self.dice);
        let mut before: Vec<(String, String)> = Vec::new();
        for turn in &question.turns {
            if !before.is_empty() {
                self.think().await;
                self.wait_for_model().await;
            }
            let (path, body) = questions::request(model, question, turn, &before, &manner);
            self.diary.asked.fetch_add(1, Ordering::Relaxed);
            let answer = self.http(Method::POST, path, Some(&body)).await?;
            let text = if manner.streams { text_of_stream(&answer) } else { text_of_whole(&answer) };
            before.push(((*turn).to_owned(), text.ok_or(Unanswered::Strange)?));
            self.diary.answered.fetch_add(1, Ordering::Relaxed);
            self.diary.streamed.fetch_add(u64::from(manner.streams), Ordering::Relaxed);
            tracing::debug!(language = question.language, "practice: a question was answered");
        }
        Ok(())
    }

    async fn http(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Vec<u8>, Unanswered> {
        tokio::time::timeout(PATIENCE, self.http_for_ever(method, path, body)).await.map_err(|_| Unanswered::TooSlow)?
    }

    async fn http_for_ever(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Vec<u8>, Unanswered> {
        let stream = TcpStream::connect(self.gateway).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // The connection ends with this question.
        let mut task = JoinSet::new();
        task.spawn(connection);
        let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.gateway.to_string())
            .header(ACCEPT, "*/*")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(bytes))
            .map_err(|_| Unanswered::Strange)?;
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(Unanswered::Status(response.status()));
        }
        let mut body = response.into_body();
        let mut whole = Vec::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                whole.extend_from_slice(&data);
                if whole.len() > ANSWER_LIMIT {
                    return Err(Unanswered::Strange);
                }
            }
        }
        Ok(whole)
    }
}

fn text_of_choice(choice: &Value) -> Option<&str> {
    let places = [&choice["delta"]["content"], &choice["message"]["content"], &choice["text"]];
    places.into_iter().find_map(Value::as_str)
}

fn text_of_whole(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    text_of_choice(answer["choices"].get(0)?).map(str::to_owned)
}

/// The text of an event stream; `None` unless it ended as it should.
fn text_of_stream(body: &[u8]) -> Option<String> {
    let mut text = String::new();
    let mut is_done = false;
    for line in std::str::from_utf8(body).ok()?.lines() {
        match line.strip_prefix("data:").map(str::trim) {
            None => {}
            Some("[DONE]") => is_done = true,
            Some(event) => {
                let event: Value = serde_json::from_str(event).ok()?;
                let choices = event["choices"].as_array().map(Vec::as_slice).unwrap_or_default();
                text.extend(choices.iter().filter_map(text_of_choice));
            }
        }
    }
    is_done.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_an_answer_only_when_it_came_to_its_end() {
        let events = "data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"lo\"}}]}\n\ndata: {\"choices\":[],\"usage\":{}}\n\n";
        assert_eq!(text_of_stream(events.as_bytes()), None);
        assert_eq!(text_of_stream(format!("{events}data: [DONE]\n\n").as_bytes()).unwrap(), "Hello");
        assert_eq!(text_of_stream(b"data: broken\n\ndata: [DONE]\n\n"), None);
        assert_eq!(text_of_stream(b"data: [DONE]\n\n").unwrap(), "");
    }

    #[test]
    fn a_whole_answer_is_read_from_chat_and_from_completions() {
        assert_eq!(text_of_whole(br#"{"choices":[{"message":{"content":"a"}}]}"#).unwrap(), "a");
        assert_eq!(text_of_whole(br#"{"choices":[{"text":"b"}]}"#).unwrap(), "b");
        assert_eq!(text_of_whole(br#"{"error":{}}"#), None);
    }
}
