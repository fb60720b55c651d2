//! The whitelist: which fields a request may have and of which type. The tables are Cocoon's, oddities included (`prediction`
//! and `suffix` have types no OpenAI client sends): a request that passes here passes an existing worker and the other way round.

use accounting::Endpoint;
use serde_json::{Map, Value};

use super::Refusal;

/// What a field may hold.
#[derive(Clone, Copy)]
enum Kind {
    Anything,
    Array,
    ArrayOrString,
    Text,
    Boolean,
    Number,
    NumberWithin(f64, f64),
    Integer,
    IntegerFrom(i64),
    Unsigned,
    /// An object of only these booleans.
    Booleans(&'static [&'static str]),
}

struct Field {
    name: &'static str,
    kind: Kind,
    required: bool,
}

const fn required(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, required: true }
}

const fn optional(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, required: false }
}

const STREAM_OPTIONS: Kind = Kind::Booleans(&["include_usage", "include_obfuscation"]);

const CHAT: &[Field] = &[
    required("messages", Kind::Array),
    required("model", Kind::Text),
    optional("frequency_penalty", Kind::NumberWithin(-2.0, 2.0)),
    optional("max_completion_tokens", Kind::IntegerFrom(0)),
    optional("max_tokens", Kind::IntegerFrom(0)),
    optional("n", Kind::IntegerFrom(1)),
    optional("presence_penalty", Kind::Number),
    optional("stop", Kind::Anything),
    optional("stream", Kind::Boolean),
    optional("stream_options", STREAM_OPTIONS),
    optional("temperature", Kind::Number),
    optional("top_p", Kind::Number),
    optional("parallel_tool_calls", Kind::Boolean),
    optional("prediction", Kind::Number),
    optional("reasoning_effort", Kind::Text),
    optional("verbosity", Kind::Text),
    optional("response_format", Kind::Anything),
    optional("top_logprobs", Kind::Unsigned),
    optional("chat_template_kwargs", Kind::Booleans(&["enable_thinking"])),
];

const COMPLETIONS: &[Field] = &[
    required("prompt", Kind::ArrayOrString),
    required("model", Kind::Text),
    optional("frequency_penalty", Kind::NumberWithin(-2.0, 2.0)),
    optional("max_tokens", Kind::IntegerFrom(0)),
    optional("n", Kind::IntegerFrom(1)),
    optional("presence_penalty", Kind::Number),
    optional("stop", Kind::Anything),
    optional("stream", Kind::Boolean),
    optional("stream_options", STREAM_OPTIONS),
    optional("temperature", Kind::Number),
    optional("top_p", Kind::Number),
    optional("best_of", Kind::Unsigned),
    optional("echo", Kind::Boolean),
    optional("suffix", Kind::Boolean),
    optional("skip_special_tokens", Kind::Boolean),
    optional("seed", Kind::Integer),
];

/// Judges every field of a request: unknown ones first, then types, then what is missing.
pub(super) fn check(endpoint: Endpoint, request: &Map<String, Value>) -> Result<(), Refusal> {
    let table = match endpoint {
        Endpoint::Chat => CHAT,
        Endpoint::Completions => COMPLETIONS,
    };
    for (name, value) in request {
        let field = table.iter().find(|field| field.name == name).ok_or_else(|| unknown(name, "request"))?;
        check_value(field, value)?;
    }
    match table.iter().find(|field| field.required && !request.contains_key(field.name)) {
        None => Ok(()),
        Some(field) => Err(Refusal::bad_request(format!("missing required field '{}'", field.name), Some(field.name))),
    }
}

fn check_value(field: &Field, value: &Value) -> Result<(), Refusal> {
    let fits = match field.kind {
        Kind::Anything => true,
        Kind::Array => value.is_array(),
        Kind::ArrayOrString => value.is_array() || value.is_string(),
        Kind::Text => value.is_string(),
        Kind::Boolean => value.is_boolean(),
        Kind::Number => value.is_number(),
        Kind::NumberWithin(least, most) => value.as_f64().is_some_and(|number| (least..=most).contains(&number)),
        Kind::Integer => value.is_i64() || value.is_u64(),
        Kind::IntegerFrom(least) => value.is_u64() && value.as_u64() >= u64::try_from(least).ok(),
        Kind::Unsigned => value.is_u64(),
        Kind::Booleans(names) => return check_booleans(field.name, names, value),
    };
    if fits {
        return Ok(());
    }
    let wanted = match field.kind {
        Kind::Anything => "anything".to_owned(),
        Kind::Array => "an array".to_owned(),
        Kind::ArrayOrString => "an array or a string".to_owned(),
        Kind::Text => "a string".to_owned(),
        Kind::Boolean => "a boolean".to_owned(),
        Kind::Number => "a number".to_owned(),
        Kind::NumberWithin(least, most) => format!("a number from {least} to {most}"),
        Kind::Integer => "an integer".to_owned(),
        Kind::IntegerFrom(least) => format!("an integer of at least {least}"),
        Kind::Unsigned => "an unsigned integer".to_owned(),
        Kind::Booleans(_) => "an object".to_owned(),
    };
    Err(Refusal::bad_request(format!("option '{}' in request must be {wanted}", field.name), Some(field.name)))
}

fn check_booleans(field: &str, names: &[&str], value: &Value) -> Result<(), Refusal> {
    let Value::Object(object) = value else {
        return Err(Refusal::bad_request(format!("option '{field}' in request must be an object"), Some(field)));
    };
    for (name, value) in object {
        if !names.contains(&name.as_str()) {
            return Err(unknown(name, field));
        }
        if !value.is_boolean() {
            return Err(Refusal::bad_request(format!("option '{name}' in {field} must be a boolean"), Some(field)));
        }
    }
    Ok(())
}

fn unknown(name: &str, place: &str) -> Refusal {
    // The name is the customer's and goes back to the customer; a long one would be an amplifier.
    let name: String = name.chars().take(64).collect();
    Refusal::bad_request(format!("unknown option '{name}' in {place}"), Some(&name))
}
