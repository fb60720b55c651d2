//! Masks against an oracle, whole answers against a validator, and schemas that mean no good.

mod hostile;
mod oracle;
mod schemas;

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::backend::{Backend, Batch, Found, Mask, Pages, Wanted};
use crate::fault::DeviceFault;
use crate::gguf::{File, Limits};
use crate::tokenizer::Tokenizer;
use crate::{Candidates, Engine, Finish, Model, Options, Request, Sampling, synthetic};
use oracle::Oracle;
use schemas::{Random, satisfies, schema};

/// Tokens as models have them: across the borders of values, and half characters.
const TOKENS: [&[u8]; 52] = [
    b"{\"",
    b"\":",
    b"\": ",
    b"\": \"",
    b"\",",
    b"\", \"",
    b"\"}",
    b"\"]",
    b"},",
    b"}}",
    b"[{\"",
    b" {",
    b"\n  ",
    b"\n\n",
    b"    ",
    b"\"a\":1",
    b"\\\"",
    b"\\\\",
    b"\\u",
    b"\\ud83d",
    b"\\ude00\"",
    b"00",
    b"12",
    b"-1",
    b"0.5",
    b"1e",
    b"e+9",
    b"true",
    b"tr",
    b"null,",
    b"null}",
    b"ab\"",
    b"\"ab\"",
    b"a\",\"b\":",
    b"hello world",
    b"one\"",
    b"[]",
    b"{}",
    b"[[",
    b"]]",
    b",\n",
    b":\n",
    b"\xf0\x9f",
    b"\xa6\x8a\"",
    b"\xc3",
    b"\xed\xa0",
    b"\"\xe2\x82",
    b"name\": ",
    b"}\n",
    b"\t",
    b"z\\n\"",
    b"3}",
];

fn tokenizer() -> Arc<Tokenizer> {
    let file = File::read(&mut synthetic::vocabulary_with(&TOKENS).as_slice(), &Limits::default()).unwrap();
    Arc::new(Tokenizer::from_file(&file).unwrap())
}

fn vocabulary() -> Arc<Vocabulary> {
    Arc::new(Vocabulary::new(tokenizer()))
}

fn grammar(schema: &Value) -> Arc<Grammar> {
    Arc::new(Grammar::of_schema(&schema.to_string()).unwrap_or_else(|error| panic!("{}: {schema}", error.message())))
}

fn admitted(mask: &Mask, size: u32) -> Vec<u32> {
    (0..size).filter(|&token| mask.admits(token)).collect()
}

/// Follows a text token by token of one byte; `None` if it does not fit.
fn follow(grammar: &Arc<Grammar>, vocabulary: &Arc<Vocabulary>, text: &[u8]) -> Option<Matcher> {
    let mut matcher = Matcher::new(Arc::clone(grammar), Arc::clone(vocabulary));
    for &byte in text {
        let token = (0..vocabulary.size() as u32).find(|&token| vocabulary.piece(token) == [byte]).unwrap();
        let admits = matcher.mask().admits(token);
        assert_eq!(admits, matcher.advance(token), "{}", String::from_utf8_lossy(text));
        if !admits {
            return None;
        }
    }
    Some(matcher)
}

/// Whether a text is a whole value of a schema's form.
fn takes(schema: &Value, text: &str) -> bool {
    follow(&grammar(schema), &vocabulary(), text.as_bytes()).is_some_and(|matcher| matcher.is_complete())
}

/// An answer at random: any token that is admitted, later those that are likely to end it. `None` if it takes too long.
fn wander(grammar: &Arc<Grammar>, vocabulary: &Arc<Vocabulary>, random: &mut Random, most: usize) -> Option<Vec<u8>> {
    let mut matcher = Matcher::new(Arc::clone(grammar), Arc::clone(vocabulary));
    let mut answer = Vec::new();
    for count in 0..most {
        if matcher.is_finished() {
            return Some(answer);
        }
        let mask = matcher.mask();
        let mut tokens = admitted(&mask, vocabulary.size() as u32);
        assert!(!tokens.is_empty(), "a dead end behind {}", String::from_utf8_lossy(&answer));
        if count > 12 {
            let closing = |token: &u32| {
                let piece = vocabulary.piece(*token);
                piece.is_empty() || piece.starts_with(b"\"") || piece.starts_with(b"}") || piece.starts_with(b"]")
            };
            let some: Vec<u32> = tokens.iter().copied().filter(closing).collect();
            if !some.is_empty() {
                tokens = some;
            }
        }
        let token = random.pick(&tokens);
        if vocabulary.piece(token).is_empty() {
            assert!(matcher.is_complete(), "ended in the middle");
            return Some(answer);
        }
        assert!(matcher.advance(token), "a token that was admitted does not fit");
        answer.extend_from_slice(vocabulary.piece(token));
    }
    None
}

#[test]
fn masks_are_what_reading_the_whole_answer_again_gives() {
    let vocabulary = vocabulary();
    let size = vocabulary.size() as u32;
    let mut compared = 0;
    for seed in 0..120 {
        let random = &mut Random::new(seed);
        let schema = if seed == 0 { json!({}) } else { schema(random) };
        let grammar = grammar(&schema);
        let oracle = Oracle { root: &schema };
        let mut matcher = Matcher::new(Arc::clone(&grammar), Arc::clone(&vocabulary));
        let mut answer: Vec<u8> = Vec::new();
        for _ in 0..25 {
            let mask = matcher.mask();
            let verdict = oracle.judge(&answer);
            let here = || format!("behind {} in {schema}", String::from_utf8_lossy(&answer));
            assert!(verdict.begins, "{}", here());
            assert_eq!(verdict.ends, matcher.is_complete(), "{}", here());
            for token in 0..size {
                let piece = vocabulary.piece(token);
                let wanted = if piece.is_empty() {
                    verdict.ends && vocabulary.ends().any(|end| end == token)
                } else {
                    oracle.judge(&[&answer, piece].concat()).begins
                };
                let piece = String::from_utf8_lossy(piece);
                assert_eq!(mask.admits(token), wanted, "{piece:?} {}", here());
                compared += 1;
            }
            if matcher.is_finished() {
                assert_eq!(admitted(&mask, size), [0, 2], "nothing but ends behind the end");
                break;
            }
            let tokens: Vec<u32> =
                admitted(&mask, size).into_iter().filter(|&token| !vocabulary.piece(token).is_empty()).collect();
            // Tokens of several bytes are few among many, and more is to be seen with them.
            let long: Vec<u32> = tokens.iter().copied().filter(|&token| token >= 512).collect();
            let token = if long.is_empty() || random.below(2) == 0 { random.pick(&tokens) } else { random.pick(&long) };
            assert!(matcher.advance(token));
            answer.extend_from_slice(vocabulary.piece(token));
        }
    }
    assert!(compared > 500_000, "{compared}");
}

#[test]
fn what_ends_is_json_that_satisfies_its_schema() {
    let vocabulary = vocabulary();
    let mut ended = 0;
    for seed in 0..1500 {
        let random = &mut Random::new(seed);
        let schema = schema(random);
        let grammar = grammar(&schema);
        for _ in 0..4 {
            let Some(answer) = wander(&grammar, &vocabulary, random, 300) else { continue };
            let value: Value = serde_json::from_slice(&answer)
                .unwrap_or_else(|error| panic!("{error}: {} of {schema}", String::from_utf8_lossy(&answer)));
            assert!(satisfies(&schema, &schema, &value), "{value} does not satisfy {schema}");
            ended += 1;
        }
    }
    assert!(ended > 5000, "only {ended} answers ended");
}

#[test]
fn any_object_is_an_object_of_anything() {
    let vocabulary = vocabulary();
    let grammar = Arc::new(Grammar::of_any_object().unwrap_or_else(|error| panic!("{}", error.message())));
    let mut ended = 0;
    for seed in 0..1000 {
        if let Some(answer) = wander(&grammar, &vocabulary, &mut Random::new(seed), 400) {
            assert!(serde_json::from_slice::<Value>(&answer).unwrap().is_object());
            ended += 1;
        }
    }
    assert!(ended > 800, "only {ended} answers ended");
    let fits = |text: &str| follow(&grammar, &vocabulary, text.as_bytes()).is_some_and(|matcher| matcher.is_finished());
    assert!(fits("{}") && fits(r#"{"a": [1, -0.5e3, {"b\n\ud83e\udd8a": null}], "ü": "🦊"}"#));
    assert!(fits("{\n  \"a\": true,\n  \"b\": []\n}"));
    for bad in [
        "[]",
        "1",
        "{}}",
        "{,}",
        "{\"a\" \"b\"}",
        "{\"a\":01}",
        "{\"a\":1,}",
        "{  }",
        "{\"a\":\"\u{1}\"}",
        "{\"a\":\"\\x\"}",
    ] {
        assert!(!fits(bad), "{bad}");
    }
}

#[test]
fn a_model_at_a_high_temperature_answers_in_form_and_ends_with_the_value() {
    let model = Model::read(&mut synthetic::tiny().as_slice(), Limits::default()).unwrap();
    let mut engine = Engine::new(model, Options { threads: 1, context: 512, max_sequences: 8 }).unwrap();
    let (mut stopped, mut cut) = (0, 0);
    for round in 0..12_u8 {
        let mut running = Vec::new();
        for number in 0..8_u8 {
            let random = &mut Random::new(u64::from(round) * 8 + u64::from(number));
            let schema = schema(random);
            let prompt = engine.tokenizer().encode("the answer", false);
            let sampling = Sampling { temperature: 2.0, seed: [round * 8 + number; 32], ..Sampling::default() };
            let constraint = Some(grammar(&schema));
            let request = Request { prompt, sampling, stop: Vec::new(), max_tokens: 300, constraint };
            running.push((engine.add(request).unwrap(), schema, Vec::new()));
        }
        while engine.running() > 0 {
            for output in engine.step() {
                let (_, schema, answer) = running.iter_mut().find(|(id, ..)| *id == output.sequence).unwrap();
                answer.extend_from_slice(&output.text);
                match output.finished {
                    None => {}
                    Some(Finish::Stop) => {
                        let value: Value = serde_json::from_slice(answer).unwrap();
                        assert!(satisfies(schema, schema, &value), "{value} does not satisfy {schema}");
                        stopped += 1;
                    }
                    Some(Finish::Length) => {
                        assert_eq!(output.usage.completion, 300, "cut before its length");
                        cut += 1;
                    }
                }
            }
        }
    }
    assert_eq!(stopped + cut, 96);
    assert!(stopped > 40, "{stopped} ended, {cut} were cut");
}

#[test]
fn an_answer_without_a_constraint_is_not_touched_by_one_beside_it() {
    let model = || Model::read(&mut synthetic::tiny().as_slice(), Limits::default()).unwrap();
    let ask = |constraint| Request {
        prompt: vec![70, 71, 72],
        sampling: Sampling { temperature: 1.0, seed: [3; 32], ..Sampling::default() },
        stop: Vec::new(),
        max_tokens: 40,
        constraint,
    };
    let run = |beside: bool| {
        let mut engine = Engine::new(model(), Options { threads: 1, context: 256, max_sequences: 2 }).unwrap();
        if beside {
            engine.add(ask(Some(grammar(&json!({"type": "array", "items": {"type": "string"}}))))).unwrap();
        }
        let id = engine.add(ask(None)).unwrap();
        let mut tokens = Vec::new();
        while engine.running() > 0 {
            let outputs = engine.step();
            tokens.extend(outputs.iter().filter(|output| output.sequence == id).filter_map(|output| output.token));
        }
        tokens
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn lengths_count_characters_however_they_are_spelt() {
    let schema = json!({"type": "string", "minLength": 2, "maxLength": 3});
    for good in ["\"ab\"", "\"abc\"", "\"é🦊\"", r#""\n\\""#, r#""\ud83e\udd8a\u00e9a""#] {
        assert!(takes(&schema, good), "{good}");
    }
    for bad in ["\"\"", "\"a\"", "\"abcd\"", r#""\ud83e\udd8a""#, r#""\ud83e""#, r#""\u00e9""#] {
        assert!(!takes(&schema, bad), "{bad}");
    }
    // Tokens of several characters, where only one is left.
    let vocabulary = vocabulary();
    let mut matcher = follow(&grammar(&schema), &vocabulary, b"\"ab").unwrap();
    let mask = matcher.mask();
    let words = admitted(&mask, vocabulary.size() as u32).into_iter().map(|token| vocabulary.piece(token));
    let spelt = words.filter(|piece| !piece.contains(&b'\\'));
    let longest = spelt.map(|piece| String::from_utf8_lossy(piece).chars().count()).max();
    assert_eq!(longest, Some(2), "a character and the quote, and no more");
}

#[test]
fn members_come_in_the_order_of_the_schema_and_others_behind_them() {
    let schema = r#"{"type":"object","properties":{"z":{"type":"integer"},"a":{"type":"integer"}},"required":["a"],
        "additionalProperties":{"type":"boolean"}}"#;
    let grammar = Arc::new(Grammar::of_schema(schema).unwrap_or_else(|error| panic!("{}", error.message())));
    let vocabulary = vocabulary();
    let fits = |text: &str| follow(&grammar, &vocabulary, text.as_bytes()).is_some_and(|matcher| matcher.is_finished());
    for good in
        [r#"{"a":1}"#, r#"{"z":1,"a":2}"#, r#"{"a":1,"aa":true,"":false}"#, r#"{"z":0,"a":-1,"b":true,"b":false}"#]
    {
        assert!(fits(good), "{good}");
    }
    for bad in [
        "{}",
        r#"{"z":1}"#,
        r#"{"a":1,"z":2}"#,
        r#"{"a":1,"a":true}"#,
        r#"{"a":1,"\u0061":true}"#,
        r#"{"b":true,"a":1}"#,
    ] {
        assert!(!fits(bad), "{bad}");
    }
}

#[test]
fn numbers_are_such_as_readers_can_hold() {
    for good in ["0", "-0", "-0.0", "10", "1e5", "1.25E-07", "9999999999999999.9999999999999999e99"] {
        assert!(takes(&json!({"type": "number"}), good), "{good}");
        assert!(serde_json::from_str::<f64>(good).unwrap().is_finite());
    }
    for bad in ["", "-", "01", "1.", ".5", "+1", "1e", "1e100", "12345678901234567", "1.12345678901234567", "0x1"] {
        assert!(!takes(&json!({"type": "number"}), bad), "{bad}");
    }
    for (text, good) in
        [("0", true), ("-7", true), ("120", true), ("-0", false), ("1.0", false), ("1e2", false), ("00", false)]
    {
        assert_eq!(takes(&json!({"type": "integer"}), text), good, "{text}");
    }
}

#[test]
fn integers_keep_to_their_bounds() {
    for (schema, low, high) in [
        (json!({"minimum": -12, "maximum": 305}), -12, 305),
        (json!({"exclusiveMinimum": -0.5, "exclusiveMaximum": 10}), 0, 9),
        (json!({"minimum": 1, "maximum": 1}), 1, 1),
        (json!({"minimum": -105, "maximum": -99.5}), -105, -100),
        (json!({"exclusiveMinimum": 99, "maximum": 1e3}), 100, 1000),
        (json!({"minimum": -1e30, "maximum": 5}), -1000, 5),
        (json!({"minimum": u64::MAX / 2, "maximum": u64::MAX}), 1, 0),
    ] {
        let mut schema = schema;
        schema["type"] = json!(["integer", "null"]);
        let (grammar, vocabulary) = (grammar(&schema), vocabulary());
        for number in -1000..=1100 {
            let text = i64::to_string(&number);
            let taken = follow(&grammar, &vocabulary, text.as_bytes()).is_some_and(|matcher| matcher.is_complete());
            assert_eq!(taken, (low..=high).contains(&number), "{number} of {schema}");
        }
    }
}

#[test]
fn words_of_an_enumeration_are_kept_to_the_types_beside_it() {
    let schema = json!({"type": ["string", "integer"], "enum": ["a", 1, 1.5, null, 2.0]});
    for (text, good) in [("\"a\"", true), ("1", true), ("2.0", true), ("1.5", false), ("null", false)] {
        assert_eq!(takes(&schema, text), good, "{text}");
    }
}

#[test]
fn tokens_that_fit_nowhere_are_not_taken_and_change_nothing() {
    let mut matcher = Matcher::new(grammar(&json!({"const": "x"})), vocabulary());
    let before = matcher.mask();
    for token in [0, 1, 2, 80, u32::MAX] {
        assert!(!matcher.advance(token), "{token}");
    }
    assert!(matcher.mask() == before && !before.is_empty());
    assert!(!matcher.is_finished() && !matcher.is_complete());
}

/// A device that finds nothing, as if every token that a mask admits were impossible.
struct Nothing {
    masks: Arc<Mutex<Vec<usize>>>,
}

impl Backend for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }

    fn adapter(&self) -> Option<String> {
        None
    }

    fn prompt_chunk(&self) -> usize {
        1
    }

    fn reserve(&mut self, _tokens: usize) -> Option<Pages> {
        Some(Pages(Vec::new()))
    }

    fn release(&mut self, _pages: Pages) {}

    fn forward(&mut self, batch: &Batch<'_>) -> Result<Vec<Found>, DeviceFault> {
        self.masks.lock().unwrap().push(batch.masks.len());
        let wanting = batch.rows.iter().filter(|row| row.wanted != Wanted::Nothing);
        Ok(wanting.map(|_| Found::Candidates(Candidates::default())).collect())
    }
}

#[test]
fn an_answer_that_no_token_can_go_on_with_is_cut_and_not_called_whole() {
    let masks = Arc::new(Mutex::new(Vec::new()));
    let backend = Box::new(Nothing { masks: Arc::clone(&masks) });
    let options = Options { threads: 1, context: 64, max_sequences: 1 };
    let mut engine = Engine::with_backend(backend, tokenizer(), options).unwrap();
    let constraint = Some(grammar(&json!({"type": "object"})));
    let sampling = Sampling::default();
    engine.add(Request { prompt: vec![70, 71], sampling, stop: Vec::new(), max_tokens: 9, constraint }).unwrap();
    let mut outputs = engine.step();
    outputs.extend(engine.step());
    let last = outputs.pop().unwrap();
    assert!(last.finished == Some(Finish::Length) && last.text.is_empty() && last.usage.completion == 1);
    assert_eq!(engine.running(), 0);
    assert_eq!(*masks.lock().unwrap(), [0, 1], "a mask for what wants something, none for the middle of a prompt");
}

#[test]
fn nesting_stops_where_readers_stop() {
    let vocabulary = vocabulary();
    let grammar = grammar(&json!({}));
    let text = "[".repeat(200);
    let mut matcher = Matcher::new(Arc::clone(&grammar), Arc::clone(&vocabulary));
    let open = (0..512).find(|&token| vocabulary.piece(token) == b"[").unwrap();
    let depth = text.bytes().take_while(|_| matcher.advance(open)).count();
    assert_eq!(depth, usize::from(MAX_NESTING) + 1);
    let answer = "[".repeat(depth) + &"]".repeat(depth);
    assert!(follow(&grammar, &vocabulary, answer.as_bytes()).is_some_and(|matcher| matcher.is_finished()));
    assert!(serde_json::from_str::<Value>(&answer).is_ok());
}
