use std::io::Read;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use accounting::{Endpoint, JobOutcome, TokenUsage};
use link::flow::WINDOW;
use link::message::{EvidenceKind, Failure, LaneEnd, PeerPolicy};
use link::{BUILD, FromWorker, LaneId, ToWorker};
use serde_json::{Value, json};
use worker::serve::Stopped;

use crate::app::{Answered, LANE, MODEL, Rig, UNIX_MS, tiny_model};

const CHAT: &str = "/v1/chat/completions";
const RAW: &str = "/v1/completions";

fn chat(text: &str, tokens: u32) -> Value {
    json!({"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": tokens, "temperature": 0})
}

fn streamed(mut body: Value) -> Value {
    body["stream"] = json!(true);
    body
}

/// The JSON of every event; the last one must be the end mark.
fn events(answer: &Answered) -> Vec<Value> {
    let body = String::from_utf8(answer.body()).unwrap();
    let mut events: Vec<&str> =
        body.trim_end().split("\n\n").map(|event| event.strip_prefix("data: ").unwrap()).collect();
    assert_eq!(events.pop(), Some("[DONE]"));
    events.into_iter().map(|event| serde_json::from_str(event).unwrap()).collect()
}

fn text_of(events: &[Value]) -> String {
    events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect()
}

fn finish_of(events: &[Value]) -> Option<String> {
    events.iter().find_map(|event| event["choices"][0]["finish_reason"].as_str().map(str::to_owned))
}

fn usage_of(value: &Value) -> TokenUsage {
    TokenUsage {
        prompt: value["usage"]["prompt_tokens"].as_u64().unwrap(),
        cached: value["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap(),
        completion: value["usage"]["completion_tokens"].as_u64().unwrap(),
        reasoning: value["usage"]["completion_tokens_details"]["reasoning_tokens"].as_u64().unwrap(),
    }
}

/// What a customer reads of a refusal.
fn check_refused(answer: &Answered, status: i32, words: &str) {
    assert!(answer.failed.is_none(), "an ordinary answer, no error message");
    assert_eq!(answer.status(), status);
    let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(words), "{message}");
}

#[test]
fn a_chat_streams_token_by_token_and_is_paid_for() {
    let mut rig = Rig::connected(|_| {});
    let answer = rig.answer(CHAT, &streamed(chat("hello", 12)));
    assert_eq!(answer.status(), 200);
    let head = answer.head.as_ref().unwrap();
    assert!(head.headers.iter().any(|(name, value)| name == "content-type" && value == "text/event-stream"));
    assert!(answer.parts.len() > 3, "{} parts: not token by token", answer.parts.len());
    let events = events(&answer);
    assert_eq!(events[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    assert!(finish_of(&events).is_some());
    let counts = events.last().unwrap();
    assert_eq!(counts["choices"], json!([]));
    let usage = usage_of(counts);
    assert!(usage.prompt > 0 && (1..=12).contains(&usage.completion));

    rig.until("the payment is there", |rig| {
        rig.said
            .iter()
            .any(|said| matches!(said, FromWorker::Payment { request: Some((_, tokens)), .. } if *tokens > 0))
    });
    let records = rig.records();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].usage, usage, "billed by the counts the customer saw");
    assert_eq!(records[0].outcome, JobOutcome::Answered);
    assert_eq!((records[0].streamed, records[0].endpoint), (true, Endpoint::Chat));
    assert_eq!(records[0].adjusted.total as u64, usage.prompt + usage.completion);
    let paid = rig.said.iter().find_map(|said| match said {
        FromWorker::Payment { request: Some(request), .. } => Some(*request),
        _ => None,
    });
    assert_eq!(paid, Some((records[0].id.0, records[0].adjusted.total)));
    let started = rig.said.iter().find_map(|said| match said {
        FromWorker::JobStarted { lane: LANE, job, active: 1 } => Some(job),
        _ => None,
    });
    let (started, record) = (started.expect("its beginning is told"), rig.records()[0]);
    assert_eq!((started.id, started.endpoint, started.streamed), (record.id, record.endpoint, record.streamed));
    assert_eq!((started.coefficient, started.started_unix_ms), (record.coefficient, record.started_unix_ms));
}

#[test]
fn a_whole_answer_says_the_same_as_a_streamed_one() {
    let mut rig = Rig::connected(|_| {});
    let streamed = rig.answer(CHAT, &streamed(chat("hello", 12)));
    let whole = rig.answer(CHAT, &chat("hello", 12));
    let body = whole.json();
    assert_eq!(body["object"], "chat.completion");
    let events = events(&streamed);
    assert_eq!(body["choices"][0]["message"]["content"], text_of(&events));
    assert_eq!(body["choices"][0]["finish_reason"].as_str().map(str::to_owned), finish_of(&events));
    assert_eq!(usage_of(&body), usage_of(events.last().unwrap()));
    let (prompt, completion) = (usage_of(&body).prompt, usage_of(&body).completion);
    assert_eq!(body["usage"]["total_tokens"].as_u64(), Some(prompt + completion));
    let price = rig.configuration.root.price_per_token.0;
    assert_eq!(body["usage"]["total_cost"].as_u64(), Some((prompt + completion) * price));
}

#[test]
fn completions_take_several_prompts_repetitions_and_echo() {
    let mut rig = Rig::connected(|_| {});
    let body = json!({"model": MODEL, "prompt": ["ab", "hello there"], "n": 2, "echo": true, "max_tokens": 3});
    let answer = rig.answer(RAW, &body).json();
    let choices = answer["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 4);
    for (index, choice) in choices.iter().enumerate() {
        assert_eq!(choice["index"], index);
        let prompt = ["ab", "hello there"][index / 2];
        assert!(choice["text"].as_str().unwrap().starts_with(prompt), "{choice}");
    }
    let usage = usage_of(&answer);
    assert!((4..=12).contains(&usage.completion));
    let once = |rig: &mut Rig, prompt| {
        usage_of(&rig.answer(RAW, &json!({"model": MODEL, "prompt": prompt, "max_tokens": 1})).json()).prompt
    };
    let prompts = once(&mut rig, "ab") + once(&mut rig, "hello there");
    assert_eq!(usage.prompt, prompts, "each prompt is counted once");
}

#[test]
fn a_stop_text_ends_the_answer_before_it() {
    let mut rig = Rig::connected(|_| {});
    let mut body = json!({"model": MODEL, "prompt": "hello", "max_tokens": 20, "temperature": 0});
    let whole = rig.answer(RAW, &body).json();
    let text = whole["choices"][0]["text"].as_str().unwrap().to_owned();
    let stop: String = text.chars().skip(3).take(2).collect();
    assert!(!stop.is_empty(), "the tiny model says too little: {text:?}");
    body["stop"] = json!(stop);
    let cut = rig.answer(RAW, &body).json();
    assert_eq!(cut["choices"][0]["finish_reason"], "stop");
    let cut = cut["choices"][0]["text"].as_str().unwrap().to_owned();
    assert_eq!(cut, text[..text.find(&stop).unwrap()]);
}

#[test]
fn a_seed_of_the_customer_s_own_repeats_the_answer() {
    let mut rig = Rig::connected(|_| {});
    let body = json!({"model": MODEL, "prompt": "hello", "max_tokens": 16, "temperature": 2, "seed": 11});
    let mut text = || rig.answer(RAW, &body).json()["choices"][0]["text"].clone();
    assert_eq!(text(), text());
}

#[test]
fn a_client_that_names_its_conversation_pays_less_for_what_it_said_before_and_nobody_else_does() {
    let mut rig = Rig::connected(|configuration| {
        configuration.root.cached_tokens_price_multiplier = 1_000;
        configuration.root.completion_tokens_price_multiplier = 80_000;
    });
    let with_key = |rig: &mut Rig, key: &str| {
        rig.headers = vec![("X-Conversation-Key".to_owned(), key.to_owned())];
    };
    let mut body = chat(&"what was said before ".repeat(20), 8);
    let plain = rig.answer(CHAT, &body).json();
    let (mine, other) = ("0123456789abcd5a".repeat(2), "0123456789abcd5b".repeat(2));
    with_key(&mut rig, &mine);
    let first = rig.answer(CHAT, &body).json();
    with_key(&mut rig, &other);
    let elsewhere = rig.answer(CHAT, &body).json();
    with_key(&mut rig, &mine[1..]);
    let guessable = rig.answer(CHAT, &body).json();
    for answer in [&plain, &first, &elsewhere, &guessable] {
        assert_eq!(usage_of(answer), usage_of(&plain));
        assert_eq!(usage_of(answer).cached, 0);
    }
    with_key(&mut rig, &mine);
    let again = rig.answer(CHAT, &body).json();
    assert_eq!(again["choices"], plain["choices"], "the same as without anything kept");
    let usage = usage_of(&again);
    assert!(usage.cached >= 96 && usage.cached < usage.prompt && usage.cached.is_multiple_of(32), "{usage:?}");
    assert_eq!(TokenUsage { cached: 0, ..usage }, usage_of(&plain));

    // What the customer sees, what is recorded and what is paid is one and the same.
    let count = 5;
    rig.until("all are paid", |rig| {
        rig.said.iter().filter(|said| matches!(said, FromWorker::Payment { request: Some(_), .. })).count() == count
    });
    let record = rig.records()[count - 1].clone();
    let prices = accounting::Prices::from(&rig.configuration.root);
    assert_eq!((record.usage, record.adjusted), (usage, usage.adjusted(record.coefficient, &prices)));
    assert_eq!(record.adjusted.cached as u64, usage.cached / 10);
    let price = i64::try_from(rig.configuration.root.price_per_token.0).unwrap();
    assert_eq!(again["usage"]["total_cost"].as_i64(), Some(record.adjusted.total * price));
    let paid = rig.said.iter().rev().find_map(|said| match said {
        FromWorker::Payment { request: Some(request), .. } => Some(*request),
        _ => None,
    });
    assert_eq!(paid, Some((record.id.0, record.adjusted.total)));

    // Several answers to one request share its prompt, which counts once.
    rig.headers.clear();
    body["n"] = json!(3);
    let usage = usage_of(&rig.answer(CHAT, &body).json());
    assert_eq!((usage.prompt, usage.cached), (usage_of(&plain).prompt, 0));
    let told = format!("{:?}", rig.said);
    assert!(!told.contains(&mine) && !told.contains(&other), "a key is nobody else's business");
}

fn schema(schema: &Value) -> Value {
    json!({"type": "json_schema", "json_schema": {"name": "form", "schema": schema, "strict": true}})
}

#[test]
fn an_answer_has_the_form_that_was_asked_for_streamed_and_whole() {
    let mut rig = Rig::connected(|_| {});
    let mut body = chat("hello", 400);
    body["temperature"] = json!(2);
    body["response_format"] = schema(&json!({
        "type": "object",
        "properties": {
            "yes": {"type": "boolean"},
            "word": {"enum": ["one", "two"]},
            "numbers": {"type": "array", "items": {"type": "integer"}, "maxItems": 3},
            "text": {"type": "string", "maxLength": 20}
        },
        "required": ["yes", "word", "numbers", "text"],
        "additionalProperties": false
    }));
    // Whether a map keeps the order of its making is a matter of who else is built.
    let written = body.to_string();
    let mut schema_order = ["numbers", "text", "word", "yes"];
    schema_order.sort_by_key(|name| written.find(&format!("\"{name}\":{{")));
    let answer = rig.answer(CHAT, &body).json();
    let check = |text: &str| {
        let value: Value = serde_json::from_str(text).unwrap();
        let value = value.as_object().unwrap();
        assert_eq!(value.len(), 4);
        assert!(value["yes"].is_boolean() && ["one", "two"].contains(&value["word"].as_str().unwrap()));
        assert!(value["numbers"].as_array().unwrap().iter().all(Value::is_i64));
        assert!(value["text"].as_str().unwrap().chars().count() <= 20);
        // As they stand in the body.
        let at = schema_order.each_ref().map(|name| text.find(&format!("\"{name}\"")).unwrap());
        assert!(at.is_sorted(), "another order: {text}");
    };
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    check(answer["choices"][0]["message"]["content"].as_str().unwrap());

    let events = events(&rig.answer(CHAT, &streamed(body.clone())));
    assert_eq!(finish_of(&events).as_deref(), Some("stop"));
    check(&text_of(&events));

    // Several at once, of any form, cut by their length.
    body["response_format"] = json!({"type": "json_object"});
    body["max_tokens"] = json!(4);
    body["n"] = json!(3);
    let answer = rig.answer(CHAT, &body).json();
    for choice in answer["choices"].as_array().unwrap() {
        let text = choice["message"]["content"].as_str().unwrap();
        // Four tokens may all be white.
        assert!(matches!(text.trim_start().chars().next(), None | Some('{')), "{text:?}");
        let whole = serde_json::from_str::<Value>(text).is_ok();
        assert_eq!(choice["finish_reason"], if whole { "stop" } else { "length" });
    }
}

#[test]
fn refusals_arrive_as_ordinary_answers_and_cost_nothing() {
    let mut rig = Rig::connected(|_| {});
    let with = |name: &str, value: Value| {
        let mut body = chat("hello", 5);
        body[name] = value;
        body
    };
    let long = json!({"model": MODEL, "prompt": "x ".repeat(100_000)});
    let cases = [
        (CHAT, with("frobnicate", json!(1)), 400, "unknown option 'frobnicate' in request"),
        (CHAT, json!({"model": MODEL}), 400, "missing required field 'messages'"),
        (CHAT, json!([]), 400, "expected json object"),
        (CHAT, with("model", json!("other")), 404, "model name mismatch"),
        ("/v1/embeddings", chat("x", 1), 404, "unsupported method"),
        (CHAT, with("response_format", json!({"type": "xml"})), 400, "'response_format.type' must be"),
        (CHAT, with("response_format", schema(&json!({"pattern": "x"}))), 400, "at #: 'pattern' is not supported"),
        (CHAT, with("response_format", schema(&json!({"$ref": "#"}))), 400, "satisfies the schema"),
        (CHAT, with("max_tokens", json!(0)), 400, "must be at least 1"),
        (RAW, long, 400, "maximum context length"),
        (RAW, json!({"model": MODEL, "prompt": [4_000_000_000u32]}), 400, "outside of the vocabulary"),
        (CHAT, with("stop", json!("x".repeat(1_100_000))), 413, "bytes"),
    ];
    let count = cases.len();
    for (url, body, status, words) in cases {
        check_refused(&rig.answer(url, &body), status, words);
    }
    rig.until("all are recorded", |rig| rig.records().len() == count);
    for record in rig.records() {
        assert!(matches!(record.outcome, JobOutcome::Refused { .. }));
        assert_eq!((record.usage, record.adjusted.total), (TokenUsage::default(), 0));
    }
}

#[test]
fn no_word_of_prompt_or_answer_is_told_to_the_app() {
    let mut rig = Rig::connected(|_| {});
    let canary = "canary-2a7f";
    let answer = rig.answer(RAW, &json!({"model": MODEL, "prompt": canary, "echo": true, "max_tokens": 5})).json();
    assert!(answer["choices"][0]["text"].as_str().unwrap().starts_with(canary));
    rig.answer(CHAT, &json!({"model": MODEL, "messages": [{"role": "user", "content": canary}], canary: 1}));
    rig.until("both are recorded", |rig| rig.records().len() == 2);
    assert!(!format!("{:?}", rig.said).contains("canary"));
}

#[test]
fn yield_ends_running_jobs_with_what_there_is_and_honest_counts() {
    let mut rig = Rig::connected(|_| {});
    // More than can run at once: some are in the middle, some have not begun.
    let asked: Vec<_> = (0..6).map(|_| rig.ask(RAW, &streamed(endless()))).collect();
    rig.until("text arrives", |rig| rig.answers.values().any(|answer| !answer.parts.is_empty()));
    rig.say(&ToWorker::Yield);
    rig.until("the worker has yielded", |rig| rig.said.contains(&FromWorker::Yielded));
    let position = |wanted: &FromWorker| rig.said.iter().position(|said| said == wanted).unwrap();
    assert!(position(&FromWorker::Enabled(false)) < position(&FromWorker::Yielded));
    let records = rig.records();
    assert_eq!(records.len(), 6, "nothing runs on");
    let late = &rig.said[position(&FromWorker::Yielded)..];
    assert!(!late.iter().any(|said| matches!(said, FromWorker::JobStarted { .. } | FromWorker::JobDone { .. })));

    let mut cut = 0;
    for id in asked {
        let answer = &rig.answers[&id];
        assert!(answer.over && answer.failed.is_none(), "an ordinary end");
        if answer.status() == 503 {
            check_refused(answer, 503, "going away");
            continue;
        }
        let events = events(answer);
        let usage = usage_of(events.last().unwrap());
        assert!(rig.records().iter().any(|record| record.usage == usage));
        cut += usize::from(events.iter().any(|event| event["choices"][0]["finish_reason"] == "length"));
    }
    let stopped = rig.records().iter().filter(|record| record.outcome == JobOutcome::Stopped).count();
    let unanswered =
        rig.records().iter().filter(|record| record.outcome == JobOutcome::Refused { status: 503 }).count();
    assert!(stopped + unanswered > 0, "all were done before the yield came");
    assert!(cut >= stopped);

    // Announced disabled: the proxy has nobody to ask.
    let late = rig.ask(CHAT, &chat("late", 1));
    rig.step(Duration::from_millis(50));
    assert!(rig.answers[&late].head.is_none());
}

/// Answers many times as long as what fits between worker and app.
fn endless() -> Value {
    json!({"model": MODEL, "prompt": "hello", "max_tokens": 250, "temperature": 0, "n": 4})
}

#[test]
fn yield_with_nothing_running_is_confirmed_at_once_even_before_the_model_is_there() {
    let (_keep, model) = slow_model();
    let mut rig = Rig::greeted(Box::new(model), |_| {});
    rig.say(&ToWorker::Yield);
    rig.until("the worker has yielded", |rig| rig.said.contains(&FromWorker::Yielded));
}

/// A model that never comes; dropping the sender ends it.
fn slow_model() -> (Sender<Vec<u8>>, SlowModel) {
    let (sender, receiver) = channel();
    (sender, SlowModel(receiver))
}

struct SlowModel(Receiver<Vec<u8>>);

impl Read for SlowModel {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        let _ = self.0.recv();
        Ok(0)
    }
}

#[test]
fn a_slow_reader_stops_the_worker_at_one_window_and_loses_nothing() {
    let mut rig = Rig::connected(|_| {});
    rig.deaf = true;
    let asked: Vec<_> = (0..8).map(|_| rig.ask(RAW, &streamed(endless()))).collect();
    // The deaf proxy takes nothing, so the worker may send one window and must then keep text, not events.
    rig.until("the jobs are through", |rig| rig.records().len() == 8 || rig.held.len() >= WINDOW as usize);
    for _ in 0..10 {
        rig.step(Duration::from_millis(20));
    }
    assert!(rig.held.len() <= WINDOW as usize);
    rig.listen();
    rig.until("all answers are over", |rig| asked.iter().all(|id| rig.answers[id].over));
    for id in asked {
        let events = events(&rig.answers[&id]);
        let usage = usage_of(events.last().unwrap());
        assert!(rig.records().iter().any(|record| record.usage == usage));
    }
}

#[test]
fn a_lost_lane_cancels_its_jobs() {
    let mut rig = Rig::connected(|_| {});
    for _ in 0..6 {
        rig.ask(RAW, &streamed(endless()));
    }
    rig.until("text arrives", |rig| rig.answers.values().any(|answer| !answer.parts.is_empty()));
    rig.say(&ToWorker::LaneClosed { lane: LANE });
    rig.until("all are recorded", |rig| rig.records().len() == 6);
    let lost = rig.records().iter().filter(|record| record.outcome == JobOutcome::Failed { code: 653 }).count();
    assert!(lost > 0, "all were done before the lane was lost");
    assert!(matches!(rig.said.last(), Some(FromWorker::JobDone { active: 0, .. })));
    rig.say(&ToWorker::Yield);
    rig.until("the worker lives", |rig| rig.said.contains(&FromWorker::Yielded));
}

/// A customer's patience, and what of it has passed when the worker must end the job: 95 % of 95 % of 95 % of it; at 95 % of 95 %
/// it would be too late.
const PATIENCE: Duration = Duration::from_secs(18);
const TIME_IS_UP: Duration = Duration::from_millis(15_800);

/// Far more than fits between worker and app, so a worker whose app does not read is held up in the middle of it.
fn four_thousand() -> Value {
    json!({"model": MODEL, "prompt": "hello", "max_tokens": 4000, "temperature": 0})
}

/// What an answer of `tokens` tokens to [`four_thousand`] says, and its prompt's tokens.
fn of_length(rig: &mut Rig, tokens: u64) -> (String, u64) {
    let mut body = four_thousand();
    body["max_tokens"] = json!(tokens);
    let answer = rig.answer(RAW, &body).json();
    assert_eq!(usage_of(&answer).completion, tokens);
    (answer["choices"][0]["text"].as_str().unwrap().to_owned(), usage_of(&answer).prompt)
}

/// An answer that time cut off: its text and counts are those of an answer of just so many tokens, and so is what is billed.
fn check_cut_off(rig: &mut Rig, text: &str, reason: &str, usage: TokenUsage) {
    assert_eq!(reason, "length");
    assert!((1..4000).contains(&usage.completion), "{usage:?}");
    rig.until("it is recorded", |rig| rig.records().len() == 1);
    let record = rig.records()[0].clone();
    assert_eq!((record.outcome, record.usage), (JobOutcome::Stopped, usage));
    assert_eq!(record.adjusted.total as u64, usage.prompt + usage.completion);
    assert_eq!(of_length(rig, usage.completion), (text.to_owned(), usage.prompt));
}

#[test]
fn a_job_whose_time_is_up_gets_what_there_is() {
    let (mut rig, clock) = Rig::connected_without_time();
    let id = rig.ask_for(RAW, &four_thousand(), PATIENCE);
    // While events of another answer come, which is behind this one, the worker is held up by whoever reads them.
    let other = rig.ask(RAW, &streamed(four_thousand()));
    rig.until("both are at work", |rig| rig.answers[&other].parts.len() > 3);
    assert!(rig.answers[&id].head.is_none(), "not over yet");
    clock.goes_on(TIME_IS_UP);
    rig.until("the answer is over", |rig| rig.answers[&id].over);
    let answer = rig.answers.remove(&id).unwrap();
    assert!(answer.failed.is_none() && !rig.answers[&other].over);
    assert_eq!(answer.status(), 200);
    let body = answer.json();
    let choice = &body["choices"][0];
    let (text, reason) = (choice["text"].as_str().unwrap(), choice["finish_reason"].as_str().unwrap());
    check_cut_off(&mut rig, text, reason, usage_of(&body));
}

#[test]
fn a_streamed_job_whose_time_is_up_ends_with_what_was_said() {
    let (mut rig, clock) = Rig::connected_without_time();
    let id = rig.ask_for(RAW, &streamed(four_thousand()), PATIENCE);
    rig.until("text arrives", |rig| rig.answers[&id].parts.len() > 3);
    clock.goes_on(TIME_IS_UP);
    rig.until("the answer is over", |rig| rig.answers[&id].over);
    let answer = rig.answers.remove(&id).unwrap();
    assert!(answer.failed.is_none());
    assert_eq!(answer.status(), 200);
    let events = events(&answer);
    let text: String = events.iter().filter_map(|event| event["choices"][0]["text"].as_str()).collect();
    let reasons: Vec<&str> = events.iter().filter_map(|event| event["choices"][0]["finish_reason"].as_str()).collect();
    assert_eq!(reasons.len(), 1);
    check_cut_off(&mut rig, &text, reasons[0], usage_of(events.last().unwrap()));
}

#[test]
fn a_job_whose_time_is_up_before_its_first_token_is_refused_and_costs_nothing() {
    let (mut rig, clock) = Rig::connected_without_time();
    // One request for as many answers as may be computed at once.
    let mut many = streamed(four_thousand());
    many["n"] = json!(rig.configuration.max_active_requests);
    let other = rig.ask(RAW, &many);
    rig.until("all its answers are at work", |rig| rig.answers[&other].parts.len() > 3);
    let id = rig.ask_for(RAW, &four_thousand(), PATIENCE);
    let active = 2;
    rig.until("it waits", |rig| {
        rig.said
            .iter()
            .any(|said| matches!(said, FromWorker::JobStarted { lane: LANE, active: now, .. } if *now == active))
    });
    clock.goes_on(TIME_IS_UP);
    rig.until("it is over", |rig| rig.answers[&id].over);
    check_refused(&rig.answers[&id], 504, "time");
    rig.until("it is recorded", |rig| rig.records().len() == 1);
    let record = rig.records()[0];
    assert_eq!((record.outcome, record.usage), (JobOutcome::Refused { status: 504 }, TokenUsage::default()));
    assert_eq!(record.adjusted.total, 0);
    assert!(!rig.answers[&other].over, "the others go on");
}

#[test]
fn a_disabled_worker_is_not_asked_until_it_is_enabled_again() {
    let mut rig = Rig::connected(|_| {});
    rig.say(&ToWorker::SetEnabled(false));
    rig.until("the worker is disabled", |rig| rig.said.contains(&FromWorker::Enabled(false)));
    rig.step(Duration::from_millis(50));
    let answer = rig.answer(CHAT, &chat("hello", 2));
    assert!(answer.failed.is_some() || answer.status() != 200);
    assert!(rig.records().is_empty());
    rig.say(&ToWorker::SetEnabled(true));
    rig.until("the worker is enabled", |rig| rig.said.contains(&FromWorker::Enabled(true)));
    rig.step(Duration::from_millis(50));
    assert_eq!(rig.answer(CHAT, &chat("hello", 2)).status(), 200);
}

#[test]
fn a_new_coefficient_is_billed() {
    let mut rig = Rig::connected(|_| {});
    rig.say(&ToWorker::SetCoefficient(2000));
    rig.settle();
    let usage = usage_of(&rig.answer(CHAT, &chat("hello", 4)).json());
    rig.until("it is recorded", |rig| rig.records().len() == 1);
    assert_eq!(rig.records()[0].coefficient, 2000);
    assert_eq!(rig.records()[0].adjusted.total as u64, 2 * (usage.prompt + usage.completion));
}

#[test]
fn a_proxy_with_another_key_than_we_knew_is_refused() {
    let mut rig = Rig::start(|_| {});
    rig.open(Some([1; 32]));
    rig.until("the lane is given up", |rig| rig.said.iter().any(|said| matches!(said, FromWorker::LaneEnded { .. })));
    assert!(rig.lane_ready().is_none());
    let mut rig = Rig::start(|_| {});
    rig.open(Some(rig.core_key));
    rig.until("the lane is ready", |rig| rig.lane_ready().is_some());
    assert_eq!(rig.lane_ready().unwrap().public_key, rig.core_key);
    assert_eq!(rig.lane_ready().unwrap().image_hash, None);
}

#[test]
fn a_proof_of_work_that_is_too_hard_ends_the_lane_with_its_bits() {
    let mut rig = Rig::start(|_| {});
    rig.open_with(None, 25);
    let ended = FromWorker::LaneEnded { lane: LANE, why: LaneEnd::ProofOfWorkTooHard { asked: 25 } };
    rig.until("the lane is given up", |rig| rig.said.contains(&ended));
}

#[test]
fn evidence_is_shown_and_demanded_as_configured() {
    let mut rig = Rig::start(|configuration| {
        configuration.policy = PeerPolicy::FakeTdx;
        configuration.evidence = EvidenceKind::FakeTdx;
        configuration.root.proxy_hashes.clear();
    });
    rig.open(None);
    rig.until("the lane is ready or given up", |rig| {
        rig.lane_ready().is_some() || rig.said.iter().any(|said| matches!(said, FromWorker::LaneEnded { .. }))
    });
    let proxy = rig.lane_ready().expect("fake evidence is accepted where no image is listed");
    assert!(proxy.image_hash.is_some());
}

#[test]
fn a_proxy_that_talks_nonsense_loses_its_lane_only() {
    let mut rig = Rig::connected(|_| {});
    let other = LaneId(9);
    rig.say(&ToWorker::OpenLane { lane: other, known_key: None, unix_ms: UNIX_MS });
    rig.write(&link::frame::encode_data(other, &[0xee; 200]).unwrap());
    rig.until("the lane is given up", |rig| {
        rig.said.iter().any(|said| matches!(said, FromWorker::LaneEnded { lane, .. } if *lane == other))
    });
    assert_eq!(rig.answer(CHAT, &chat("hello", 2)).status(), 200);
}

#[test]
fn a_closed_pipe_ends_the_worker_in_the_middle_of_everything() {
    let mut rig = Rig::connected(|_| {});
    rig.ask(RAW, &streamed(endless()));
    rig.until("text arrives", |rig| rig.answers.values().any(|answer| !answer.parts.is_empty()));
    assert!(matches!(rig.end(), Stopped::AppGone));
}

#[test]
fn garbage_from_the_app_ends_the_worker() {
    for garbage in [vec![0xff; 64], vec![0, 0, 0, 0], vec![1, 0, 0, 0, 9]] {
        let mut rig = Rig::silent(Box::new(std::io::empty()), |_| {});
        rig.write(&garbage);
        let (stopped, _) = rig.ended();
        assert!(matches!(stopped, Stopped::AppGone));
    }
}

#[test]
fn another_build_is_told_and_left() {
    let mut rig = Rig::silent(Box::new(std::io::empty()), |_| {});
    rig.say(&ToWorker::Hello { build: "0.0.1+other".to_owned() });
    let (stopped, said) = rig.ended();
    assert!(matches!(stopped, Stopped::Failed(Failure::Build { .. })));
    let failure = Failure::Build { worker: BUILD.to_owned(), app: "0.0.1+other".to_owned() };
    assert!(said.contains(&FromWorker::Failed(failure)));
}

#[test]
fn an_app_that_does_not_greet_is_left() {
    let mut rig = Rig::silent(Box::new(std::io::empty()), |_| {});
    rig.say(&ToWorker::SetEnabled(true));
    assert!(matches!(rig.ended().0, Stopped::Confused(_)));
}

#[test]
fn a_cut_model_is_told_with_the_reason() {
    let mut cut = tiny_model();
    cut.truncate(cut.len() / 2);
    for model in [cut, b"not a model at all".to_vec(), Vec::new()] {
        let rig = Rig::greeted(Box::new(std::io::Cursor::new(model)), |_| {});
        let (stopped, said) = rig.ended();
        assert!(matches!(stopped, Stopped::Failed(Failure::Model(_))));
        assert!(said.iter().any(|said| matches!(said, FromWorker::Failed(Failure::Model(text)) if !text.is_empty())));
    }
}

#[test]
fn a_configuration_that_contradicts_itself_is_told() {
    let broken: [fn(&mut link::message::Configuration); 5] = [
        |configuration| configuration.served_as.clear(),
        |configuration| configuration.owner = "nobody".to_owned(),
        |configuration| configuration.coefficient = -1,
        |configuration| configuration.max_active_requests = 0,
        |configuration| configuration.threads = Some(0),
    ];
    for adjust in broken {
        let rig = Rig::greeted(Box::new(std::io::empty()), adjust);
        assert!(matches!(rig.ended().0, Stopped::Failed(Failure::Configuration(_))));
    }
}

#[test]
fn ready_names_the_model_that_was_read() {
    let rig = Rig::start(|_| {});
    let facts = rig.said.iter().find_map(|said| match said {
        FromWorker::Ready(facts) => Some(facts.clone()),
        _ => None,
    });
    let facts = facts.unwrap();
    let expected: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(tiny_model()).into();
    assert_eq!(facts.sha256, expected);
    assert_eq!((facts.architecture.as_str(), facts.backend.as_str()), ("llama", "cpu"));
    assert!(facts.context > 0 && facts.adapter.is_none());
}
