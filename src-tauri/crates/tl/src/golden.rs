//! Golden vectors: what genuine programs wrote for a value, and the value as genuine programs read it from JSON.
//!
//! Each value is built from the JSON, field by field by name, and encoded; so that a reader and a writer with the same fault
//! cannot hide it from each other.

use crate::{Boxed, Combinator, combinators, own_combinators};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/fixtures/");

/// A value as the genuine JSON reader takes it: a `long` is decimal text, bytes are base64, a type of several constructors
/// names one in `@type`; what is absent is zero.
pub(crate) trait FromJson: Sized {
    fn from_json(json: &Value) -> Self;
}

impl FromJson for i32 {
    fn from_json(json: &Value) -> Self {
        i32::try_from(json.as_i64().unwrap()).unwrap()
    }
}

impl FromJson for u32 {
    fn from_json(json: &Value) -> Self {
        u32::try_from(json.as_i64().unwrap()).unwrap()
    }
}

impl FromJson for i64 {
    fn from_json(json: &Value) -> Self {
        json.as_str().unwrap().parse().unwrap()
    }
}

impl FromJson for f64 {
    fn from_json(json: &Value) -> Self {
        json.as_f64().unwrap()
    }
}

impl FromJson for bool {
    fn from_json(json: &Value) -> Self {
        json.as_bool().unwrap()
    }
}

impl FromJson for String {
    fn from_json(json: &Value) -> Self {
        json.as_str().unwrap().to_owned()
    }
}

impl FromJson for Vec<u8> {
    fn from_json(json: &Value) -> Self {
        STANDARD.decode(json.as_str().unwrap()).unwrap()
    }
}

impl FromJson for [u8; 32] {
    fn from_json(json: &Value) -> Self {
        Vec::from_json(json).try_into().unwrap()
    }
}

impl<T: FromJson> FromJson for Vec<T> {
    fn from_json(json: &Value) -> Self {
        json.as_array().unwrap().iter().map(T::from_json).collect()
    }
}

impl<T: FromJson> FromJson for Option<T> {
    fn from_json(json: &Value) -> Self {
        (!json.is_null()).then(|| T::from_json(json))
    }
}

/// The value of `json` encodes to `bytes`, and `bytes` decode to the value of `json`.
pub(crate) fn check<T: FromJson + Boxed + PartialEq>(json: &Value, bytes: &[u8]) -> Result<(), String> {
    let value = T::from_json(json);
    let encoded = value.to_bytes();
    if encoded != bytes {
        return Err(format!("encodes to {}", hex::encode(encoded)));
    }
    match T::from_bytes(bytes) {
        Ok(decoded) if decoded == value => Ok(()),
        Ok(_) => Err("decodes to another value".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn read(name: &str) -> String {
    std::fs::read_to_string(format!("{FIXTURES}{name}")).unwrap()
}

/// CRC-32 (IEEE 802.3, reflected).
fn crc32(text: &str) -> u32 {
    !text.bytes().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb88320 } else { crc >> 1 })
    })
}

#[test]
fn every_golden_vector_is_written_from_its_json_and_read_back_equal() {
    check_vectors("cocoon/golden_tl.jsonl", combinators(), 468);
}

/// The bytes of these were not written by this crate.
#[test]
fn every_golden_vector_of_ours_is_written_from_its_json_and_read_back_equal() {
    check_vectors("chrysalis/golden_tl.jsonl", own_combinators(), 17);
}

fn check_vectors(file: &str, declared: Vec<Combinator>, most: usize) {
    let known: BTreeMap<_, _> = declared.into_iter().map(|each| (each.name, each)).collect();
    let mut types = BTreeSet::new();
    let mut vectors = 0;
    for line in read(file).lines() {
        let mut vector: Value = serde_json::from_str(line).unwrap();
        let name = vector["type"].as_str().unwrap().to_owned();
        let case = vector["case"].as_str().unwrap().to_owned();
        let bytes = hex::decode(vector["hex"].as_str().unwrap()).unwrap();
        let known = &known[name.as_str()];
        assert_eq!(format!("{:08x}", known.id), vector["id"].as_str().unwrap(), "{name}");
        vector["json"]["@type"] = Value::String(name.clone());
        if let Err(difference) = (known.check_json)(&vector["json"], &bytes) {
            panic!("{name}, case {case}: {difference}");
        }
        assert_eq!((known.round_trip)(&bytes).as_ref(), Ok(&bytes), "{name}, case {case}");
        types.insert(name);
        vectors += 1;
    }
    assert_eq!(vectors, most);
    assert_eq!(types.len(), known.len(), "every type we declare has vectors");
}

#[test]
fn our_declarations_spell_the_schema_and_their_ids_are_its_checksums() {
    // The four ids that the schema gives explicitly instead.
    let explicit = ["worker.params", "proxy.params", "client.params", "client.workerInstanceV2"];
    // Builtins: these two are the values of a `Bool` field, the others never stand alone.
    let builtin = ["boolTrue", "boolFalse", "bytes", "true"];
    let mut schema: BTreeMap<String, u32> = BTreeMap::new();
    for line in read("cocoon/tl_ids.txt").lines() {
        let (id, text) = line.split_once(' ').unwrap();
        schema.insert(text.to_owned(), u32::from_str_radix(id, 16).unwrap());
    }
    for ours in combinators() {
        let text = (ours.text)();
        let id = schema.remove(&text).unwrap_or_else(|| panic!("{text} is not in the schema"));
        assert_eq!(ours.id, id, "{}", ours.name);
        assert_eq!(crc32(&text) == id, !explicit.contains(&ours.name), "{text}");
    }
    for (text, id) in &schema {
        let name = text.split(' ').next().unwrap();
        assert!(builtin.contains(&name), "{text} is not declared");
        assert_eq!(crc32(text), *id, "{text}");
    }
}

/// Whoever reads an id must know at once whose it is.
#[test]
fn our_own_ids_are_checksums_of_our_own_text_and_none_is_the_schemas() {
    let genuine: BTreeSet<String> = read("cocoon/tl_ids.txt")
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(id, _)| id.to_owned())
        .collect();
    assert!(genuine.len() > 100);
    let written: BTreeSet<String> = read("chrysalis/tl_ids.txt").lines().map(str::to_owned).collect();
    let mut declared = BTreeSet::new();
    for ours in own_combinators() {
        let text = (ours.text)();
        assert_eq!(ours.id, crc32(&text), "{text}");
        assert!(ours.name.starts_with("chrysalis."), "{text}");
        let id = format!("{:08x}", ours.id);
        assert!(!genuine.contains(&id), "{text} has the id of something in the schema");
        declared.insert(format!("{id} {text}"));
    }
    assert_eq!(declared, written);
}
