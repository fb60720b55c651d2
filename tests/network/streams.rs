//! What an OpenAI client sees.

use serde_json::json;
use system_tests::books::Books;
use system_tests::{Stage, http, until};

#[test]
fn a_streamed_answer_arrives_token_by_token_as_events() {
    let stage = Stage::start();
    let mut coming =
        http::begin(stage.http_port, "/v1/chat/completions", &stage.chat("Name a colour.", 24, true)).unwrap();
    assert_eq!(coming.status, 200);
    let kind = coming.headers.iter().find(|(name, _)| name == "content-type").map(|(_, value)| value.clone());
    assert!(kind.is_some_and(|kind| kind.starts_with("text/event-stream")));
    let (mut pieces, mut body) = (0, Vec::new());
    while let Some((piece, _)) = coming.piece().unwrap() {
        pieces += 1;
        body.extend(piece);
    }
    let answer = http::Answer { status: 200, headers: Vec::new(), body };
    let tokens = answer.usage()["completion_tokens"].as_u64().unwrap();
    assert!(pieces as u64 >= tokens / 2, "{tokens} tokens came in {pieces} pieces: not a stream");
    assert!(answer.body.ends_with(b"data: [DONE]\n\n"));
    let events = answer.events();
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert!(events.iter().any(|event| event["choices"][0]["finish_reason"].is_string()));
}

#[test]
fn the_same_question_streamed_and_whole_gives_the_same_text_and_counts() {
    let stage = Stage::start();
    let whole = http::post(stage.http_port, "/v1/chat/completions", &stage.chat("Say something.", 20, false)).unwrap();
    let stream = http::post(stage.http_port, "/v1/chat/completions", &stage.chat("Say something.", 20, true)).unwrap();
    assert_eq!((whole.status, stream.status), (200, 200));
    assert_eq!(whole.text(), stream.text());
    for key in ["prompt_tokens", "completion_tokens", "total_tokens"] {
        assert!(whole.usage()[key].as_u64().is_some_and(|count| count > 0));
        assert_eq!(whole.usage()[key], stream.usage()[key]);
    }
}

#[test]
fn what_the_network_does_not_offer_is_an_ordinary_http_answer() {
    let stage = Stage::start();
    let ask = |body| http::post(stage.http_port, "/v1/chat/completions", &body).unwrap();
    let unknown_model = ask(json!({"model": "no/such", "messages": [], "max_tokens": 4}));
    assert!(unknown_model.status >= 400 && unknown_model.json().is_object());
    let unknown_field =
        ask(json!({"model": stage.base, "messages": [{"role": "user", "content": "x"}], "max_tokens": 4, "tools": []}));
    assert!((400..500).contains(&unknown_field.status), "{}", unknown_field.status);
    assert!(String::from_utf8_lossy(&unknown_field.body).contains("tools"));
    let models = http::get(stage.http_port, "/v1/models").unwrap();
    assert_eq!(models.json()["object"], "list");
}

#[test]
fn several_answers_to_one_request_are_paid_for_to_the_last_token() {
    let stage = Stage::start();
    let body = json!({"model": stage.base, "prompt": ["Once upon", "Name a"], "n": 8, "max_tokens": 60, "seed": 4});
    let answer = http::post(stage.http_port, "/v1/completions", &body).unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.json()["choices"].as_array().map(Vec::len), Some(16));
    let count = answer.usage()["total_tokens"].as_i64().unwrap();
    let (agreed_for_one, bytes) = (60, 400);
    assert!(count > agreed_for_one + bytes, "{count} tokens are no more than one answer may cost");
    until("a payment for all of it", || {
        let totals = stage.ledger().all_time_totals().unwrap();
        assert!(totals.adjusted_tokens <= count);
        (totals.adjusted_tokens == count && Books::read(&stage.ledger()).signed_tokens() == count as u64).then_some(())
    });
    // And without a word about length an answer goes on until the model has said all, or has no room; that is paid too.
    let body = json!({"model": stage.base, "messages": [{"role": "user", "content": "Go on."}]});
    let answer = http::post(stage.http_port, "/v1/chat/completions", &body).unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let more = answer.usage()["total_tokens"].as_i64().unwrap();
    let (held_back, template) = (1_000 + bytes, 1_024);
    assert!(more > held_back + template, "{more} tokens are no more than is held back");
    let count = count + more;
    until("a payment for that too", || (Books::read(&stage.ledger()).signed_tokens() == count as u64).then_some(()));
}
