//! Schemas that mean no good.

use std::fmt::Write;
use std::time::{Duration, Instant};

use super::*;

fn refused(schema: &str) -> SchemaError {
    let started = Instant::now();
    let error =
        Grammar::of_schema(schema).err().unwrap_or_else(|| panic!("taken: {}", &schema[..schema.len().min(200)]));
    let message = error.message();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?} for {message}", started.elapsed());
    assert!(message.len() < 600, "{message}");
    error
}

fn check_refused(schema: &str, wanted: &SchemaError) {
    let error = refused(schema);
    assert!(
        error == *wanted,
        "{} and not {} for {}",
        error.message(),
        wanted.message(),
        &schema[..schema.len().min(200)]
    );
}

/// What a schema costs that is taken: to read, and for the masks of a few tokens.
fn taken(schema: &str) -> Arc<Grammar> {
    let started = Instant::now();
    let grammar = Arc::new(Grammar::of_schema(schema).unwrap_or_else(|error| panic!("{}", error.message())));
    let vocabulary = vocabulary();
    for seed in 0..3 {
        let _ = wander(&grammar, &vocabulary, &mut Random::new(seed), 40);
    }
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    grammar
}

#[test]
fn keywords_that_are_not_supported_are_refused_by_name() {
    for keyword in [
        "pattern",
        "format",
        "multipleOf",
        "uniqueItems",
        "contains",
        "minProperties",
        "maxProperties",
        "patternProperties",
        "propertyNames",
        "dependentRequired",
        "if",
        "then",
        "not",
        "allOf",
        "unevaluatedProperties",
        "unevaluatedItems",
        "$anchor",
        "$dynamicRef",
        "contentEncoding",
        "nullable",
        "frobnicate",
    ] {
        let schema = json!({"type": "object", "properties": {"x": {"type": "string", keyword: 1}}}).to_string();
        let place = "#/properties/x".to_owned();
        check_refused(&schema, &SchemaError::Unsupported { keyword: keyword.to_owned(), place });
    }
    let text = refused(&json!({"x".repeat(5000): 1}).to_string()).message();
    assert!(text.len() < 400 && text.contains("xxx"), "{text}");
}

#[test]
fn keywords_of_the_wrong_kind_or_beside_others_are_refused_by_name() {
    for (schema, keyword) in [
        (json!({"type": "text"}), "type"),
        (json!({"type": []}), "type"),
        (json!({"type": ["string", 1]}), "type"),
        (json!({"properties": []}), "properties"),
        (json!({"properties": {}, "required": "a"}), "required"),
        (json!({"properties": {}, "required": ["a"], "additionalProperties": false}), "required"),
        (json!({"type": "array", "items": [{}]}), "items"),
        (json!({"prefixItems": {}}), "prefixItems"),
        (json!({"minItems": -1}), "minItems"),
        (json!({"minItems": 1.5}), "minItems"),
        (json!({"maxItems": 1025}), "maxItems"),
        (json!({"minItems": 1e300}), "minItems"),
        (json!({"maxLength": "3"}), "maxLength"),
        (json!({"minLength": u64::MAX}), "minLength"),
        (json!({"type": "number", "minimum": 1}), "minimum"),
        (json!({"type": ["integer", "number"], "maximum": 1}), "maximum"),
        (json!({"exclusiveMinimum": 1}), "exclusiveMinimum"),
        (json!({"type": "integer", "maximum": "1"}), "maximum"),
        (json!({"enum": []}), "enum"),
        (json!({"enum": "a"}), "enum"),
        (json!({"anyOf": []}), "anyOf"),
        (json!({"anyOf": [{}], "type": "string"}), "type"),
        (json!({"oneOf": [{}], "anyOf": [{}]}), "oneOf"),
        (json!({"$ref": "#", "properties": {}}), "properties"),
        (json!({"enum": ["a"], "maxLength": 3}), "maxLength"),
        (json!({"$ref": 1}), "$ref"),
        (json!({"$ref": "https://example.com/schema"}), "$ref"),
        (json!({"$ref": "#/$defs/none"}), "$ref"),
        (json!({"$ref": "#name"}), "$ref"),
    ] {
        match refused(&schema.to_string()) {
            SchemaError::Invalid { keyword: named, .. } => assert_eq!(named, keyword, "{schema}"),
            other => panic!("{} for {schema}", other.message()),
        }
    }
    for no_schema in [json!(1), json!({"items": "x"}), json!({"anyOf": [null]}), json!([])] {
        assert!(matches!(refused(&no_schema.to_string()), SchemaError::NoSchema { .. }));
    }
    for no_json in ["", "{", "{\"a\":1,\"a\":2}", "{\"type\":\"string\"} x", "{\"properties\":{\"a\":{},\"a\":{}}}"] {
        check_refused(no_json, &SchemaError::NotJson);
    }
}

#[test]
fn what_nothing_satisfies_or_only_what_never_ends_is_refused() {
    for schema in [
        json!(false),
        json!({"$ref": "#"}),
        json!({"anyOf": [{"$ref": "#"}, {"$ref": "#/anyOf/0"}]}),
        json!({"type": "string", "minLength": 4, "maxLength": 3}),
        json!({"type": "array", "minItems": 2, "maxItems": 1}),
        json!({"type": "array", "minItems": 2, "prefixItems": [{}], "items": false}),
        json!({"type": "array", "minItems": 1, "items": {"$ref": "#"}}),
        json!({"properties": {"a": {"$ref": "#"}}, "required": ["a"]}),
        json!({"type": "integer", "enum": ["a"]}),
        json!({"type": "integer", "minimum": 4, "exclusiveMaximum": 4}),
        json!({"type": "integer", "minimum": 1e300}),
        json!({"type": "integer", "exclusiveMaximum": i64::MIN}),
        json!({"properties": {"a": false}, "required": ["a"]}),
    ] {
        check_refused(&schema.to_string(), &SchemaError::Impossible);
    }
    // What can end does.
    assert!(takes(&json!({"anyOf": [{"$ref": "#"}, {"type": "null"}]}), "null"));
    assert!(takes(&json!({"properties": {"a": false, "b": true}}), "{\"b\":1}"));
}

#[test]
fn depth_and_size_are_bounded() {
    let deep = |levels: usize| "{\"items\":".repeat(levels) + "{}" + &"}".repeat(levels);
    check_refused(&deep(64), &SchemaError::TooDeep);
    check_refused(&deep(100_000), &SchemaError::TooLong { bytes: 1_000_002 });
    check_refused(&deep(20_000), &SchemaError::TooDeep);
    check_refused(&"[".repeat(200_000), &SchemaError::TooDeep);
    taken(&deep(63));
    check_refused(&format!("{{\"const\":\"{}\"}}", "x".repeat(300_000)), &SchemaError::TooLong { bytes: 300_012 });
    check_refused(&format!("{{\"const\":\"{}\"}}", "x".repeat(200_000)), &SchemaError::TooLarge);
    taken(&format!("{{\"const\":\"{}\"}}", "x".repeat(100_000)));
    // Items of items of items.
    let list = |inside: Value| json!({"type": "array", "minItems": 1000, "maxItems": 1024, "items": inside});
    let many: Vec<Value> = (0..60).map(|_| list(json!({"type": "null"}))).collect();
    check_refused(&json!({"anyOf": many}).to_string(), &SchemaError::TooLarge);
    taken(&list(list(list(json!({})))).to_string());
    let names: serde_json::Map<String, Value> = (0..4000).map(|n| (format!("n{n}"), json!({}))).collect();
    check_refused(&json!({"properties": names}).to_string(), &SchemaError::TooLarge);
    let words: Vec<usize> = (0..20_000).collect();
    taken(&json!({"enum": words}).to_string());
    let names: Vec<String> = (0..20_000).map(|n| format!("n{n}")).collect();
    check_refused(&json!({"required": names}).to_string(), &SchemaError::TooLarge);
}

#[test]
fn references_that_multiply_cost_no_more_than_their_text() {
    // Each asks for the next twice, in choices and in members.
    let mut choices = String::from("{\"$ref\":\"#/$defs/0\",\"$defs\":{");
    let mut members = choices.clone();
    for n in 0..60 {
        let next = n + 1;
        write!(choices, "\"{n}\":{{\"anyOf\":[{{\"$ref\":\"#/$defs/{next}\"}},{{\"$ref\":\"#/$defs/{next}\"}}]}},")
            .unwrap();
        write!(
            members,
            "\"{n}\":{{\"properties\":{{\"a\":{{\"$ref\":\"#/$defs/{next}\"}},\"b\":{{\"$ref\":\"#/$defs/{next}\"}}}},\"required\":[\"a\",\"b\"]}},"
        )
        .unwrap();
    }
    for schema in [&mut choices, &mut members] {
        schema.push_str("\"60\":{\"type\":\"null\"}}}");
        taken(schema);
    }
    // A long chain, and one that goes round.
    let chain = |last: &str| {
        let links: Vec<String> = (0..3000).map(|n| format!("\"{n}\":{{\"$ref\":\"#/$defs/{}\"}}", n + 1)).collect();
        format!("{{\"$ref\":\"#/$defs/0\",\"$defs\":{{{},\"3000\":{last}}}}}", links.join(","))
    };
    check_refused(&chain("{\"type\":\"null\"}"), &SchemaError::TooLarge);
    check_refused(&chain("{\"$ref\":\"#/$defs/7\"}"), &SchemaError::Impossible);
    // Many ways to the same few places.
    let odd: Vec<Value> = (0..3000).map(|n| json!({"$ref": format!("#/$defs/{}", n % 7)})).collect();
    let lists: serde_json::Map<String, Value> =
        (0..7).map(|n| (n.to_string(), json!({"type": "array", "items": {"$ref": "#"}}))).collect();
    taken(&json!({"anyOf": odd, "$defs": lists}).to_string());
}

#[test]
fn a_crowd_of_ways_is_cut_and_still_ends() {
    // After n brackets there are 5 to the power of n ways.
    let lists: Vec<Value> = (0..5)
        .map(|n| json!({"type": "array", "prefixItems": [{"$ref": "#"}, {"const": n}], "items": false}))
        .chain([json!({"type": "null"})])
        .collect();
    let schema = json!({"anyOf": lists});
    let grammar = taken(&schema.to_string());
    let vocabulary = vocabulary();
    let mut ended = 0;
    for seed in 0..50 {
        if let Some(answer) = wander(&grammar, &vocabulary, &mut Random::new(seed), 600) {
            let value: Value = serde_json::from_slice(&answer).unwrap();
            assert!(satisfies(&schema, &schema, &value), "{value}");
            ended += 1;
        }
    }
    assert!(ended > 25, "{ended}");
    // Texts that differ in their lengths alone, none of which can be told from the others.
    let texts: Vec<Value> = (0..2000).map(|n| json!({"type": "string", "minLength": n})).collect();
    taken(&json!({"anyOf": texts}).to_string());
}
