use accounting::{AdjustedUsage, Endpoint, TokenUsage};
use serde_json::{Value, json};
use worker::completions::{Answer, Costs, FinishReason, Opening};

fn answer(endpoint: Endpoint, stream: bool, choices: usize) -> Answer {
    let mut request_id = [0; 32];
    request_id[0] = 0xab;
    Answer::new(Opening {
        endpoint,
        stream,
        request_id,
        model: "practice/tiny".to_owned(),
        created: 1_700_000_000,
        choices,
    })
}

fn usage() -> TokenUsage {
    TokenUsage { prompt: 34, cached: 11, completion: 100, reasoning: 10 }
}

/// Reads events as a client does: every event one `data:` line and an empty one.
fn events(bytes: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(text.ends_with("\n\n"));
    text.trim_end_matches('\n')
        .split("\n\n")
        .map(|event| {
            assert!(!event.contains('\n'), "an event is one line: {event}");
            event.strip_prefix("data: ").expect("a data line").to_owned()
        })
        .collect()
}

fn json_events(bytes: &[u8]) -> Vec<Value> {
    events(bytes).iter().filter(|event| *event != "[DONE]").map(|event| serde_json::from_str(event).unwrap()).collect()
}

#[test]
fn a_streamed_chat_is_what_openai_clients_expect() {
    let mut answer = answer(Endpoint::Chat, true, 1);
    assert_eq!(answer.head().headers[0], ("content-type", "text/event-stream"));
    assert!(answer.events().is_none(), "nothing leaves before there is text");
    let mut bytes = Vec::new();
    for piece in ["Hel", "lo\n", "\"w\u{f6}rld\""] {
        answer.push(0, piece.as_bytes());
        bytes.extend(answer.events().expect("token by token"));
        assert!(answer.events().is_none());
    }
    answer.push(0, b"");
    assert!(answer.events().is_none(), "a token without text is no event");
    answer.finish(0, FinishReason::Stop);
    bytes.extend(answer.end(&usage(), None));

    assert_eq!(events(&bytes).last().unwrap(), "[DONE]");
    let seen = json_events(&bytes);
    for event in &seen {
        assert_eq!(event["id"], "chatcmpl-ab000000000000000000000000000000");
        assert_eq!(event["object"], "chat.completion.chunk");
        assert_eq!(event["created"], 1_700_000_000);
        assert_eq!(event["model"], "practice/tiny");
    }
    let choice = |index: usize| &seen[index]["choices"][0];
    assert_eq!(choice(0)["delta"], json!({"role": "assistant", "content": ""}));
    assert_eq!(choice(0)["finish_reason"], Value::Null);
    assert_eq!(choice(1)["delta"], json!({"content": "Hel"}));
    assert_eq!(choice(2)["delta"], json!({"content": "lo\n"}));
    assert_eq!(choice(3)["delta"], json!({"content": "\"w\u{f6}rld\""}));
    assert_eq!(choice(4)["delta"], json!({}));
    assert_eq!(choice(4)["finish_reason"], "stop");
    assert_eq!(seen[4]["usage"], Value::Null);
    assert_eq!(seen[5]["choices"], json!([]));
    assert_eq!(seen[5]["usage"]["total_tokens"], 134);
    assert_eq!(seen.len(), 6);
}

#[test]
fn text_that_waited_leaves_as_one_event() {
    let mut answer = answer(Endpoint::Chat, true, 1);
    for _ in 0..1000 {
        answer.push(0, b"ab");
    }
    let seen = json_events(&answer.events().unwrap());
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1]["choices"][0]["delta"]["content"], "ab".repeat(1000));
}

#[test]
fn several_streamed_answers_keep_apart() {
    let mut answer = answer(Endpoint::Completions, true, 2);
    answer.push(1, b"one");
    answer.push(0, b"zero");
    answer.finish(0, FinishReason::Length);
    assert!(!answer.is_finished());
    let first = json_events(&answer.events().unwrap());
    let texts: Vec<_> = first
        .iter()
        .map(|event| {
            (&event["choices"][0]["index"], &event["choices"][0]["text"], &event["choices"][0]["finish_reason"])
        })
        .collect();
    assert_eq!(texts, [(&json!(0), &json!("zero"), &json!("length")), (&json!(1), &json!("one"), &Value::Null)]);
    assert_eq!(first[0]["object"], "text_completion");
    answer.finish(1, FinishReason::Stop);
    assert!(answer.is_finished());
    let rest = json_events(&answer.end(&usage(), None));
    assert_eq!(rest.len(), 2, "the second reason and the counts");
    assert_eq!(rest[0]["choices"][0]["index"], 1);
    assert_eq!(rest[0]["choices"][0]["finish_reason"], "stop");
}

#[test]
fn a_whole_chat_is_one_json_body() {
    let mut answer = answer(Endpoint::Chat, false, 2);
    assert_eq!(answer.head().headers, [("content-type", "application/json")]);
    answer.push(0, "Gr\u{fc}\u{df}".as_bytes());
    answer.push(0, b" Gott");
    assert!(answer.events().is_none());
    answer.finish(0, FinishReason::Stop);
    answer.push(1, b"cut");
    let bytes = answer.end(&usage(), None);
    let body: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["choices"][0]["message"], json!({"role": "assistant", "content": "Gr\u{fc}\u{df} Gott"}));
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    assert_eq!(body["choices"][1]["finish_reason"], "length", "an answer without an end was cut");
    assert_eq!(
        body["usage"],
        json!({
            "prompt_tokens": 34, "completion_tokens": 100, "total_tokens": 134,
            "prompt_tokens_details": {"cached_tokens": 11}, "completion_tokens_details": {"reasoning_tokens": 10},
        })
    );
}

#[test]
fn a_whole_completion_has_texts() {
    let mut answer = answer(Endpoint::Completions, false, 1);
    answer.push(0, b"abc");
    answer.finish(0, FinishReason::Stop);
    let body: Value = serde_json::from_slice(&answer.end(&usage(), None)).unwrap();
    assert_eq!(body["object"], "text_completion");
    assert_eq!(body["id"], "cmpl-ab000000000000000000000000000000");
    assert_eq!(body["choices"][0]["text"], "abc");
}

#[test]
fn costs_stand_where_existing_workers_put_them() {
    // The document's example: 34 prompt tokens (11 cached), 100 completion tokens (10 reasoning), all multipliers 1, price 2.
    let adjusted = AdjustedUsage { prompt: 23, cached: 11, completion: 90, reasoning: 10, total: 134 };
    let costs = Costs::new(&adjusted, &prices(2));
    assert_eq!((costs.prompt, costs.completion, costs.total), (68, 200, 268));
    let mut answer = answer(Endpoint::Chat, false, 1);
    answer.finish(0, FinishReason::Stop);
    let body: Value = serde_json::from_slice(&answer.end(&usage(), Some(&costs))).unwrap();
    assert_eq!(body["usage"]["prompt_total_cost"], 68);
    assert_eq!(body["usage"]["completion_total_cost"], 200);
    assert_eq!(body["usage"]["total_cost"], 268);
}

#[test]
fn absurd_costs_do_not_overflow() {
    let adjusted = AdjustedUsage { prompt: i64::MAX, cached: i64::MAX, completion: 0, reasoning: 0, total: i64::MAX };
    assert_eq!(Costs::new(&adjusted, &prices(u64::MAX)).total, i64::MAX);
}

fn prices(price: u64) -> accounting::Prices {
    accounting::Prices {
        fee_per_token: ton::Nanoton(1),
        price_per_token: ton::Nanoton(price),
        prompt_multiplier: 10_000,
        cached_multiplier: 10_000,
        completion_multiplier: 10_000,
        reasoning_multiplier: 10_000,
    }
}

#[test]
fn text_for_a_choice_that_does_not_exist_is_dropped() {
    let mut answer = answer(Endpoint::Chat, true, 1);
    answer.push(7, b"x");
    answer.finish(7, FinishReason::Stop);
    assert!(answer.events().is_none());
    assert!(!answer.is_finished());
}
