use accounting::Endpoint;
use serde_json::{Value, json};
use worker::completions::{
    COMPLETIONS_DEFAULT_TOKENS, Format, MAX_BODY, MAX_CHOICES, MAX_DEPTH, MAX_OBJECTS, MAX_STOP_BYTES, MAX_STOPS,
    Order, Prompts, Refusal, parse, seed,
};

const MODEL: &str = "practice/tiny";
const CHAT: &str = "/v1/chat/completions";
const RAW: &str = "/v1/completions";

fn base(url: &str) -> Value {
    if url == CHAT {
        json!({"model": MODEL, "messages": [{"role": "user", "content": "hello"}]})
    } else {
        json!({"model": MODEL, "prompt": "hello"})
    }
}

fn with(url: &str, name: &str, value: Value) -> Result<Order, Refusal> {
    let mut body = base(url);
    body[name] = value;
    parse("POST", url, body.to_string().as_bytes(), MODEL)
}

fn chat(name: &str, value: Value) -> Result<Order, Refusal> {
    with(CHAT, name, value)
}

fn raw(name: &str, value: Value) -> Result<Order, Refusal> {
    with(RAW, name, value)
}

fn refused(order: Result<Order, Refusal>) -> Refusal {
    order.err().expect("refused")
}

fn admitted(order: Result<Order, Refusal>) -> Order {
    order.unwrap_or_else(|refusal| panic!("refused: {}", refusal.message()))
}

/// One row of the table: what passes, and what is refused with the field named.
fn check_row(urls: &[&str], name: &str, pass: &[Value], refuse: &[Value]) {
    for url in urls {
        for value in pass {
            admitted(with(url, name, value.clone()));
        }
        for value in refuse {
            let refusal = refused(with(url, name, value.clone()));
            assert_eq!(refusal.status(), 400, "{name} {value}");
            assert!(refusal.message().contains(&format!("'{name}'")), "{name} {value}: {}", refusal.message());
            let body: Value = serde_json::from_slice(&refusal.body()).unwrap();
            assert_eq!(body["error"]["param"], *name);
            assert_eq!(body["error"]["type"], "invalid_request_error");
        }
    }
}

const BOTH: &[&str] = &[CHAT, RAW];

#[test]
fn a_body_with_broken_utf_8_is_refused() {
    for broken in [&b"\xff"[..], b"\xc3", b"\xe2\x82", b"\xf0\x9f\xa6", b"\xed\xa0\x80", b"\xc0\x80", b"\x80"] {
        for url in BOTH {
            let body = |inside: &[u8]| {
                let text = base(url).to_string();
                let (before, after) = text.split_once("hello").unwrap();
                [before.as_bytes(), inside, after.as_bytes()].concat()
            };
            admitted(parse("POST", url, &body("naïve 🦊".as_bytes()), MODEL));
            assert_eq!(refused(parse("POST", url, &body(broken), MODEL)).status(), 400, "{broken:02x?}");
        }
    }
}

#[test]
fn every_number_of_the_table_is_judged_by_type_and_range() {
    check_row(
        BOTH,
        "frequency_penalty",
        &[json!(-2), json!(2.0), json!(0)],
        &[json!(2.1), json!(-3), json!("1"), json!(null)],
    );
    check_row(BOTH, "presence_penalty", &[json!(-2), json!(1.5)], &[json!("x"), json!([]), json!(null), json!(2.5)]);
    check_row(
        BOTH,
        "temperature",
        &[json!(0), json!(2), json!(0.7)],
        &[json!("hot"), json!(true), json!(-0.1), json!(2.01)],
    );
    check_row(BOTH, "top_p", &[json!(0), json!(1), json!(0.9)], &[json!("x"), json!({}), json!(1.1), json!(-1)]);
    check_row(
        BOTH,
        "max_tokens",
        &[json!(1), json!(100_000)],
        &[json!(-1), json!(1.0), json!("5"), json!(null), json!(0)],
    );
    check_row(&[CHAT], "max_completion_tokens", &[json!(1)], &[json!(-1), json!(2.5), json!(null), json!(0)]);
    check_row(BOTH, "n", &[json!(1), json!(MAX_CHOICES)], &[json!(0), json!(-1), json!(1.5), json!(MAX_CHOICES + 1)]);
    check_row(&[CHAT], "prediction", &[json!(1), json!(0.5)], &[json!({"type": "content"}), json!("x")]);
    check_row(&[CHAT], "top_logprobs", &[json!(0)], &[json!(-1), json!(0.5), json!(5)]);
    check_row(&[RAW], "best_of", &[json!(1)], &[json!(-1), json!(2), json!("1"), json!(0)]);
    check_row(&[RAW], "seed", &[json!(-5), json!(u64::MAX)], &[json!(1.5), json!("1"), json!(null)]);
}

#[test]
fn every_text_and_flag_of_the_table_is_judged_by_type() {
    let flag = [json!(true), json!(false)];
    check_row(&[CHAT], "reasoning_effort", &[json!("low")], &[json!(1), json!(null)]);
    check_row(&[CHAT], "verbosity", &[json!("high")], &[json!(true)]);
    check_row(&[CHAT], "parallel_tool_calls", &flag, &[json!(0), json!("true")]);
    check_row(BOTH, "stream", &flag, &[json!(1), json!("true"), json!(null)]);
    check_row(&[RAW], "echo", &flag, &[json!(1)]);
    check_row(&[RAW], "suffix", &[json!(false)], &[json!(true), json!("after"), json!(null)]);
    check_row(&[RAW], "skip_special_tokens", &[json!(true)], &[json!(false), json!(1)]);
    check_row(
        &[CHAT],
        "response_format",
        &[
            json!(null),
            json!({"type": "text"}),
            json!({"type": "json_object"}),
            json!({"type": "json_schema", "json_schema": {"name": "a_B-9", "schema": {}}}),
            json!({"type": "json_schema", "json_schema": {"name": "x", "description": "y", "schema": {}, "strict": true}}),
            json!({"type": "json_schema", "json_schema": {"name": "x", "schema": {"x": 1}, "strict": null}}),
        ],
        &[
            json!("text"),
            json!([]),
            json!({}),
            json!({"type": "xml"}),
            json!({"type": ["text"]}),
            json!({"type": "text", "x": 1}),
            json!({"type": "json_object", "schema": {}}),
            json!({"type": "json_object", "json_schema": {"name": "x", "schema": {}}}),
            json!({"type": "json_schema"}),
            json!({"type": "json_schema", "json_schema": []}),
            json!({"type": "json_schema", "json_schema": {}}),
            json!({"type": "json_schema", "json_schema": {"schema": {}}}),
            json!({"type": "json_schema", "json_schema": {"name": "x"}}),
            json!({"type": "json_schema", "json_schema": {"name": "", "schema": {}}}),
            json!({"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}),
            json!({"type": "json_schema", "json_schema": {"name": "x".repeat(65), "schema": {}}}),
            json!({"type": "json_schema", "json_schema": {"name": "x", "schema": true}}),
            json!({"type": "json_schema", "json_schema": {"name": "x", "schema": {}, "strict": "yes"}}),
            json!({"type": "json_schema", "json_schema": {"name": "x", "schema": {}, "description": 1}}),
            json!({"type": "json_schema", "json_schema": {"name": "x", "schema": {}, "more": 1}}),
            json!({"type": "json_schema", "json_schema": {"name": "x", "schema": {}}, "x".repeat(5000): 1}),
        ],
    );
}

#[test]
fn a_schema_is_kept_as_it_was_written_and_its_members_in_their_order() {
    let read = |format: &str| {
        let body = format!(
            "{{\"model\":\"{MODEL}\",\"messages\":[{{\"role\":\"user\",\"content\":\"x\"}}],\"response_format\":{format}}}"
        );
        parse("POST", CHAT, body.as_bytes(), MODEL)
    };
    let schema = "{ \"properties\": {\"z\":{}, \"a\":{\"\\u0074ype\":\"string\"}} }";
    let format = format!("{{\"json_schema\":{{\"schema\":{schema},\"name\":\"x\"}},\"type\":\"json_schema\"}}");
    let Format::JsonSchema(kept) = admitted(read(&format)).format else { panic!("a schema was asked for") };
    assert_eq!(kept.as_str(), schema);
    assert!(matches!(admitted(read("{\"type\":\"json_object\"}")).format, Format::JsonObject));
    assert!(matches!(admitted(read("null")).format, Format::Text));
    let twice =
        format!("{{\"type\":\"json_schema\",\"json_schema\":{{\"name\":\"x\",\"schema\":{{}},\"schema\":{schema}}}}}");
    let refusal = refused(read(&twice));
    assert_eq!((refusal.status(), refusal.message()), (400, "'response_format' has a field that comes twice"));
    let deep = "{\"items\":".repeat(40) + "{}" + &"}".repeat(40);
    let deep = format!("{{\"type\":\"json_schema\",\"json_schema\":{{\"name\":\"x\",\"schema\":{deep}}}}}");
    assert_eq!(refused(read(&deep)).status(), 400);
}

#[test]
fn options_inside_options_are_whitelisted_too() {
    check_row(
        BOTH,
        "stream_options",
        &[json!({}), json!({"include_usage": false}), json!({"include_usage": true, "include_obfuscation": false})],
        &[json!(true), json!([])],
    );
    let refusal = refused(chat("stream_options", json!({"x": true})));
    assert_eq!(refusal.message(), "unknown option 'x' in stream_options");
    assert_eq!(refused(chat("stream_options", json!({"include_usage": 1}))).status(), 400);
    check_row(&[CHAT], "chat_template_kwargs", &[json!({})], &[json!("x")]);
    let order = admitted(chat("chat_template_kwargs", json!({"enable_thinking": false})));
    assert_eq!(order.enable_thinking, Some(false));
    assert_eq!(refused(chat("chat_template_kwargs", json!({"enable_thinking": "no"}))).status(), 400);
    let refusal = refused(chat("chat_template_kwargs", json!({"tools": true})));
    assert_eq!(refusal.message(), "unknown option 'tools' in chat_template_kwargs");
}

#[test]
fn fields_outside_of_the_table_are_refused_in_the_known_words() {
    for name in ["frobnicate", "tools", "tool_choice", "logit_bias", "logprobs", "user", "metadata", "store", "top_k"] {
        for url in BOTH {
            let refusal = refused(with(url, name, json!(1)));
            assert_eq!(refusal.status(), 400);
            assert_eq!(refusal.message(), format!("unknown option '{name}' in request"));
        }
    }
    for name in ["seed", "best_of", "echo", "suffix", "skip_special_tokens", "prompt"] {
        assert_eq!(refused(chat(name, json!(1))).message(), format!("unknown option '{name}' in request"));
    }
    let only_chat = [
        "messages",
        "max_completion_tokens",
        "parallel_tool_calls",
        "prediction",
        "reasoning_effort",
        "verbosity",
        "response_format",
        "top_logprobs",
        "chat_template_kwargs",
    ];
    for name in only_chat {
        assert_eq!(refused(raw(name, json!(1))).message(), format!("unknown option '{name}' in request"));
    }
}

#[test]
fn a_long_unknown_name_is_cut_before_it_goes_back() {
    let refusal = refused(chat(&"x".repeat(5000), json!(1)));
    assert!(refusal.body().len() < 400);
}

#[test]
fn what_is_required_must_be_there_and_of_its_type() {
    for (url, field) in [(CHAT, "messages"), (CHAT, "model"), (RAW, "prompt"), (RAW, "model")] {
        let mut body = base(url);
        body.as_object_mut().unwrap().remove(field);
        let refusal = refused(parse("POST", url, body.to_string().as_bytes(), MODEL));
        assert_eq!(refusal.message(), format!("missing required field '{field}'"));
        assert_eq!(refusal.status(), 400);
    }
    check_row(&[CHAT], "messages", &[], &[json!("hello"), json!({}), json!(null), json!([])]);
    check_row(BOTH, "model", &[], &[json!(1), json!(null)]);
    check_row(
        &[RAW],
        "prompt",
        &[],
        &[
            json!(1),
            json!({}),
            json!(null),
            json!([]),
            json!([1, "x"]),
            json!(["x", 1]),
            json!([[1], 2]),
            json!([-1]),
            json!([1.5]),
        ],
    );
}

#[test]
fn only_the_base_name_of_the_model_is_answered() {
    for other in ["other", "practice/tiny@abc:00", "", "Practice/tiny"] {
        let refusal = refused(chat("model", json!(other)));
        assert_eq!(refusal.message(), "model name mismatch");
        assert_eq!(refusal.status(), 404);
    }
}

#[test]
fn urls_are_cut_at_their_first_slash_and_then_exact() {
    let body = base(CHAT).to_string();
    let ask = |url| parse("POST", url, body.as_bytes(), MODEL);
    admitted(ask(CHAT));
    admitted(ask("x/v1/chat/completions"));
    for url in [
        "",
        "v1",
        "/",
        "/v1/chat/completions/",
        "/v1/chat/completions?x=1",
        "http://host/v1/chat/completions",
        "/v1/embeddings",
        "/v1/models",
        "/V1/chat/completions",
        "//v1/chat/completions",
    ] {
        let refusal = refused(ask(url));
        assert_eq!((refusal.status(), refusal.message()), (404, "unsupported method"), "{url}");
    }
}

#[test]
fn only_posts_are_answered() {
    let body = base(CHAT).to_string();
    admitted(parse("post", CHAT, body.as_bytes(), MODEL));
    assert_eq!(refused(parse("GET", CHAT, body.as_bytes(), MODEL)).status(), 405);
}

#[test]
fn anything_but_a_json_object_is_refused_in_the_known_words() {
    for body in ["", "[]", "1", "null", "\"x\"", "{", "{}x", "{\"a\":1,}", "// comment\n{}", "{\"model\":1e999}"] {
        let refusal = refused(parse("POST", CHAT, body.as_bytes(), MODEL));
        assert_eq!((refusal.status(), refusal.message()), (400, "expected json object"), "{body}");
    }
    assert_eq!(refused(parse("POST", CHAT, b"{\"model\":\"\xff\"}", MODEL)).message(), "expected json object");
}

#[test]
fn of_a_field_given_twice_the_last_counts() {
    let body = format!(r#"{{"model":"x","model":"{MODEL}","prompt":"a","n":0,"n":2}}"#);
    assert_eq!(admitted(parse("POST", RAW, body.as_bytes(), MODEL)).n, 2);
}

#[test]
fn size_and_nesting_are_judged_before_parsing() {
    let long = format!("{{\"model\":\"{}\"}}", "x".repeat(MAX_BODY));
    assert_eq!(refused(parse("POST", CHAT, long.as_bytes(), MODEL)).status(), 413);
    let deep = format!("{{\"stop\":{}", "[".repeat(MAX_DEPTH as usize));
    let refusal = refused(parse("POST", CHAT, deep.as_bytes(), MODEL));
    assert_eq!(refusal.status(), 400);
    assert!(refusal.message().contains("nested"));
    let many = format!("{{\"stop\":[{}]}}", "{},".repeat(MAX_OBJECTS as usize + 1));
    assert_eq!(refused(parse("POST", CHAT, many.as_bytes(), MODEL)).status(), 413);
    let text = "[{\\\"".repeat(1000);
    let quoted = json!({"model": MODEL, "prompt": text}).to_string();
    admitted(parse("POST", RAW, quoted.as_bytes(), MODEL));
}

#[test]
fn streaming_follows_the_rules_of_stream_options() {
    assert!(!admitted(chat("stream", json!(false))).stream);
    assert!(admitted(chat("stream", json!(true))).stream);
    assert!(admitted(chat("stream_options", json!({"include_usage": false}))).stream, "options alone turn it on");
    let mut body = base(CHAT);
    body["stream"] = json!(false);
    body["stream_options"] = json!({});
    let refusal = refused(parse("POST", CHAT, body.to_string().as_bytes(), MODEL));
    assert!(refusal.message().contains("stream_options"));
}

#[test]
fn defaults_are_openai_s() {
    let order = admitted(chat("stream", json!(false)));
    assert_eq!(order.endpoint, Endpoint::Chat);
    assert_eq!((order.n, order.max_tokens, order.seed, order.echo), (1, None, None, false));
    assert!(order.stop.is_empty() && order.enable_thinking.is_none());
    let sampling = order.sampling;
    assert!((sampling.temperature - 1.0).abs() < f32::EPSILON && (sampling.top_p - 1.0).abs() < f32::EPSILON);
    assert!(sampling.frequency_penalty.abs() + sampling.presence_penalty.abs() < f32::EPSILON);
    let order = admitted(raw("stream", json!(false)));
    assert_eq!(order.endpoint, Endpoint::Completions);
    assert_eq!(order.max_tokens, Some(COMPLETIONS_DEFAULT_TOKENS));
}

#[test]
fn max_completion_tokens_beats_max_tokens() {
    let mut body = base(CHAT);
    body["max_tokens"] = json!(5);
    body["max_completion_tokens"] = json!(7);
    assert_eq!(admitted(parse("POST", CHAT, body.to_string().as_bytes(), MODEL)).max_tokens, Some(7));
    assert_eq!(admitted(chat("max_tokens", json!(u64::MAX))).max_tokens, Some(u32::MAX));
}

#[test]
fn stop_is_a_string_or_a_few_and_bounded() {
    assert_eq!(admitted(chat("stop", json!("."))).stop, ["."]);
    assert_eq!(admitted(chat("stop", json!(["a", "b"]))).stop, ["a", "b"]);
    assert!(admitted(chat("stop", json!(null))).stop.is_empty());
    assert!(admitted(chat("stop", json!([]))).stop.is_empty());
    let many: Vec<String> = (0..=MAX_STOPS).map(|i| i.to_string()).collect();
    for value in [
        json!(""),
        json!(["a", ""]),
        json!(1),
        json!([1]),
        json!({}),
        json!("x".repeat(MAX_STOP_BYTES + 1)),
        json!(many),
    ] {
        let refusal = refused(chat("stop", value));
        assert_eq!(refusal.status(), 400);
        assert!(refusal.message().contains("stop"));
    }
}

#[test]
fn messages_are_texts_of_three_roles() {
    let turns = |messages: Value| match admitted(chat("messages", messages)).prompts {
        Prompts::Chat(turns) => turns.iter().map(|turn| (turn.role, turn.content.to_string())).collect::<Vec<_>>(),
        _ => panic!("not a conversation"),
    };
    let seen = turns(json!([
        {"role": "developer", "content": "a"},
        {"role": "assistant", "content": "b", "tool_calls": []},
        {"role": "user", "content": [{"type": "text", "text": "c"}, {"type": "text", "text": "d"}], "name": "me"},
    ]));
    let expected = [("system", "a"), ("assistant", "b"), ("user", "c\nd")];
    assert_eq!(seen, expected.map(|(role, text)| (role, text.to_owned())));
    for message in [
        json!("hello"),
        json!({"content": "x"}),
        json!({"role": "user"}),
        json!({"role": "user", "content": null}),
        json!({"role": "user", "content": 5}),
        json!({"role": "robot", "content": "x"}),
        json!({"role": "tool", "content": "x"}),
        json!({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}),
        json!({"role": "user", "content": ["x"]}),
        json!({"role": "assistant", "content": "x", "tool_calls": [{}]}),
        json!({"role": "assistant", "content": "x", "function_call": {}}),
    ] {
        let refusal = refused(chat("messages", json!([message])));
        assert_eq!(refusal.status(), 400);
    }
}

#[test]
fn prompts_come_in_four_shapes() {
    let prompts = |value: Value| admitted(raw("prompt", value)).prompts;
    assert!(matches!(prompts(json!("a")), Prompts::Texts(texts) if texts.len() == 1 && texts[0].as_str() == "a"));
    assert!(matches!(prompts(json!(["a", "b"])), Prompts::Texts(texts) if texts.len() == 2));
    assert!(matches!(prompts(json!([1, 2])), Prompts::Tokens(tokens) if tokens.len() == 1 && *tokens[0] == [1, 2]));
    assert!(
        matches!(prompts(json!([[1], [2, 3]])), Prompts::Tokens(tokens) if tokens.len() == 2 && *tokens[1] == [2, 3])
    );
}

#[test]
fn answers_are_counted_over_prompts_and_repetitions() {
    let mut body = base(RAW);
    body["prompt"] = json!(vec!["a"; MAX_CHOICES as usize / 2]);
    body["n"] = json!(2);
    admitted(parse("POST", RAW, body.to_string().as_bytes(), MODEL));
    body["n"] = json!(3);
    assert_eq!(refused(parse("POST", RAW, body.to_string().as_bytes(), MODEL)).status(), 400);
}

#[test]
fn the_seed_is_the_hash_of_the_request_id_unless_the_customer_brings_one() {
    let hash = [
        0x66, 0x68, 0x7a, 0xad, 0xf8, 0x62, 0xbd, 0x77, 0x6c, 0x8f, 0xc1, 0x8b, 0x8e, 0x9f, 0x8e, 0x20, 0x08, 0x97,
        0x14, 0x85, 0x6e, 0xe2, 0x33, 0xb3, 0x90, 0x2a, 0x59, 0x1d, 0x0d, 0x5f, 0x29, 0x25,
    ];
    assert_eq!(seed(&[0; 32], None, 0), hash, "SHA-256 of 32 zero bytes");
    assert_ne!(seed(&[0; 32], None, 1), hash);
    assert_ne!(seed(&[0; 32], None, 1), seed(&[0; 32], None, 2));
    assert_eq!(seed(&[0; 32], Some(7), 0), seed(&[1; 32], Some(7), 0));
    assert_ne!(seed(&[0; 32], Some(7), 0), seed(&[0; 32], Some(8), 0));
    assert_eq!(admitted(raw("seed", json!(-5))).seed, Some(-5));
}

#[test]
fn refusals_are_the_bodies_that_openai_clients_know() {
    let cases = [
        (Refusal::bad_request("x", None), 400, "Bad Request", "invalid_request_error"),
        (Refusal::unsupported_url(), 404, "Not Found", "invalid_request_error"),
        (Refusal::wrong_method(), 405, "Method Not Allowed", "invalid_request_error"),
        (Refusal::too_large("x"), 413, "Content Too Large", "invalid_request_error"),
        (Refusal::too_many(), 429, "Too Many Requests", "requests"),
        (Refusal::internal("x"), 500, "Internal Server Error", "server_error"),
        (Refusal::unavailable(), 503, "Service Unavailable", "server_error"),
        (Refusal::timed_out(), 504, "Gateway Timeout", "server_error"),
    ];
    for (refusal, status, reason, kind) in cases {
        assert_eq!((refusal.status(), refusal.reason()), (status, reason));
        let body: Value = serde_json::from_slice(&refusal.body()).unwrap();
        assert_eq!(body["error"]["message"], refusal.message());
        assert_eq!(body["error"]["type"], kind);
        assert!(body["error"].as_object().unwrap().contains_key("code"));
    }
    let refusal = Refusal::context_exceeded(2048, 3000, "messages");
    assert_eq!(
        refusal.message(),
        "This model's maximum context length is 2048 tokens. However, your messages resulted in 3000 tokens. Please reduce the \
         length of the messages."
    );
    let body: Value = serde_json::from_slice(&refusal.body()).unwrap();
    assert_eq!(body["error"]["code"], "context_length_exceeded");
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
        let _ = parse("POST", CHAT, &body, MODEL);
        let _ = parse("POST", RAW, &body, MODEL);
    }

    #[test]
    fn no_field_of_any_value_makes_the_reader_panic(field in 0usize..24, number in proptest::prelude::any::<f64>(), text in ".{0,20}") {
        let names = ["messages", "prompt", "model", "frequency_penalty", "max_completion_tokens", "max_tokens", "n", "presence_penalty",
            "stop", "stream", "stream_options", "temperature", "top_p", "parallel_tool_calls", "prediction", "reasoning_effort", "verbosity",
            "response_format", "top_logprobs", "chat_template_kwargs", "best_of", "echo", "suffix", "seed"];
        for value in [json!(number), json!(text), json!([text]), json!({"type": text}), json!([{"role": text, "content": number}])] {
            let _ = with(CHAT, names[field], value.clone());
            let _ = with(RAW, names[field], value);
        }
    }
}
