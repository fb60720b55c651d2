//! The form that an answer must have: `response_format`.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::Refusal;

/// Longest name of a schema.
const MAX_NAME: usize = 64;
/// Of an unknown name, what goes back to the customer.
const MAX_TOLD: usize = 64;

/// The form of an answer. Holds the customer's schema, so it can't be printed.
pub enum Format {
    /// Any text.
    Text,
    /// Any JSON object.
    JsonObject,
    /// What a schema admits; its text as it stood in the request, so that its members keep their order. Not judged yet.
    JsonSchema(Zeroizing<String>),
}

/// The way to the schema in a body, without a copy of anything.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    response_format: Outer<'a>,
}

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow)]
    json_schema: Inner<'a>,
}

#[derive(Deserialize)]
struct Inner<'a> {
    #[serde(borrow)]
    schema: &'a RawValue,
}

/// Reads `response_format` of a request, whose bytes are `body`.
pub(super) fn read(body: &[u8], request: &Map<String, Value>) -> Result<Format, Refusal> {
    let format = match request.get("response_format") {
        None | Some(Value::Null) => return Ok(Format::Text),
        Some(Value::Object(format)) => format,
        Some(_) => return fault("'response_format' must be an object"),
    };
    match format.get("type").and_then(Value::as_str) {
        Some("text") => only(format, &["type"], "response_format").map(|()| Format::Text),
        Some("json_object") => only(format, &["type"], "response_format").map(|()| Format::JsonObject),
        Some("json_schema") => {
            only(format, &["type", "json_schema"], "response_format")?;
            schema(format.get("json_schema"))?;
            // A field that comes twice means its last here, and nothing to a reader that looks for it by name.
            match serde_json::from_slice::<Body<'_>>(body) {
                Ok(body) => {
                    let schema = body.response_format.json_schema.schema.get();
                    Ok(Format::JsonSchema(Zeroizing::new(schema.to_owned())))
                }
                Err(_) => fault("'response_format' has a field that comes twice"),
            }
        }
        _ => fault("'response_format.type' must be \"text\", \"json_object\" or \"json_schema\""),
    }
}

/// What stands around a schema.
fn schema(wanted: Option<&Value>) -> Result<(), Refusal> {
    let Some(Value::Object(wanted)) = wanted else {
        return fault("'response_format.json_schema' must be an object");
    };
    only(wanted, &["name", "description", "schema", "strict"], "response_format.json_schema")?;
    let named = |name: &str| {
        let admitted = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(admitted)
    };
    if !wanted.get("name").and_then(Value::as_str).is_some_and(named) {
        return fault(format!(
            "'response_format.json_schema.name' must have 1 to {MAX_NAME} letters, digits, underscores or dashes"
        ));
    }
    if wanted.get("description").is_some_and(|text| !text.is_string() && !text.is_null()) {
        return fault("'response_format.json_schema.description' must be a string");
    }
    // Every answer keeps to its schema, asked for or not.
    if wanted.get("strict").is_some_and(|strict| !strict.is_boolean() && !strict.is_null()) {
        return fault("'response_format.json_schema.strict' must be a boolean");
    }
    if !wanted.get("schema").is_some_and(Value::is_object) {
        return fault("'response_format.json_schema.schema' must be an object");
    }
    Ok(())
}

/// Whether there are no other fields than these.
fn only(fields: &Map<String, Value>, known: &[&str], place: &str) -> Result<(), Refusal> {
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let name: String = name.chars().take(MAX_TOLD).collect();
            fault(format!("unknown option '{name}' in '{place}'"))
        }
    }
}

fn fault<T>(text: impl Into<String>) -> Result<T, Refusal> {
    let text: String = text.into();
    // The field is named in every message.
    let text = if text.contains("'response_format'") { text } else { format!("'response_format': {text}") };
    Err(Refusal::bad_request(text, Some("response_format")))
}
