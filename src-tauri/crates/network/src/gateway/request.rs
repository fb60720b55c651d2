//! A customer's body: what is meant for the gateway is taken out, the rest goes to the worker.

use std::time::Duration;

use serde_json::{Map, Value};
use thiserror::Error;

/// Highest coefficient that is paid unless the customer says otherwise, thousandths.
const MAX_COEFFICIENT: u64 = 4000;
/// Tokens that are held back unless the customer says otherwise. Not written into the body.
const MAX_TOKENS: u64 = 1000;
/// How long a customer waits unless he says otherwise.
const TIMEOUT: f64 = 120.0;
/// The longest wait that may be asked for.
const LONGEST_TIMEOUT: f64 = 3600.0;

/// What the gateway knows about a request.
#[derive(Clone)]
pub(super) struct Wanted {
    /// Base name of the model.
    pub(super) model: String,
    /// Most tokens to pay for.
    pub(super) max_tokens: i32,
    /// Highest coefficient to pay, thousandths.
    pub(super) max_coefficient: i32,
    /// How long the customer waits in all.
    pub(super) timeout: Duration,
    /// Does he want timings?
    pub(super) enable_debug: bool,
    /// The body for the worker: keys sorted, no spaces.
    pub(super) body: Vec<u8>,
}

/// Why a body was not taken. The words never quote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum BadBody {
    #[error("the body is not valid JSON (line {line}, column {column})")]
    NotJson { line: usize, column: usize },
    #[error("the body must be a JSON object")]
    NotAnObject,
    #[error("\"model\" must be the name of a model, as text")]
    NoModel,
    #[error("\"{field}\" must be {wanted}")]
    Field { field: &'static str, wanted: &'static str },
}

/// Reads a body.
pub(super) fn read(body: &[u8]) -> Result<Wanted, BadBody> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| BadBody::NotJson { line: error.line(), column: error.column() })?;
    let Value::Object(mut object) = value else {
        return Err(BadBody::NotAnObject);
    };
    let model = match object.get("model") {
        Some(Value::String(model)) if !model.is_empty() => model.clone(),
        _ => return Err(BadBody::NoModel),
    };
    let plain = count("max_tokens", object.get("max_tokens"))?;
    let completion = count("max_completion_tokens", object.get("max_completion_tokens"))?;
    if completion.is_some() {
        // The newer field wins; workers would refuse both.
        object.remove("max_tokens");
    }
    let max_coefficient = count("max_coefficient", object.remove("max_coefficient").as_ref())?;
    let timeout = seconds(&mut object)?;
    let enable_debug = match object.remove("enable_debug") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(wanted)) => wanted,
        Some(_) => return Err(BadBody::Field { field: "enable_debug", wanted: "true or false" }),
    };
    match object.remove("request_guid") {
        None | Some(Value::Null | Value::String(_)) => {}
        Some(_) => return Err(BadBody::Field { field: "request_guid", wanted: "text" }),
    }
    let small = |value: u64| i32::try_from(value).unwrap_or(i32::MAX);
    Ok(Wanted {
        model,
        max_tokens: small(completion.or(plain).unwrap_or(MAX_TOKENS)),
        max_coefficient: small(max_coefficient.unwrap_or(MAX_COEFFICIENT)),
        timeout,
        enable_debug,
        body: sorted(Value::Object(object)).to_string().into_bytes(),
    })
}

fn count(field: &'static str, value: Option<&Value>) -> Result<Option<u64>, BadBody> {
    let wrong = BadBody::Field { field, wanted: "a whole number from 0 to 2147483647" };
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_u64().filter(|count| i32::try_from(*count).is_ok()).map(Some).ok_or(wrong),
    }
}

fn seconds(object: &mut Map<String, Value>) -> Result<Duration, BadBody> {
    let wrong = BadBody::Field { field: "timeout", wanted: "a number of seconds, above 0 and up to 3600" };
    let seconds = match object.remove("timeout") {
        None | Some(Value::Null) => TIMEOUT,
        Some(value) => value.as_f64().ok_or(wrong)?,
    };
    if !(seconds > 0.0 && seconds <= LONGEST_TIMEOUT) {
        return Err(wrong);
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong)
}

/// The value with the keys of every object in order, whatever order the map type keeps: so do genuine clients.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut pairs: Vec<(String, Value)> = object.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(pairs.into_iter().collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Wanted {
        read(text.as_bytes()).ok().unwrap()
    }

    fn refusal(text: &str) -> BadBody {
        read(text.as_bytes()).err().unwrap()
    }

    #[test]
    fn what_is_meant_for_the_gateway_is_taken_out_as_recorded() {
        // Recording 08 of the genuine client.
        let wanted = body(
            r#"{"model": "Qwen/Qwen3-8B", "messages": [{"role": "user", "content": "hello"}], "enable_debug": true, "request_guid": "guid-1", "max_tokens": 50, "max_coefficient": 3000, "timeout": 20.0, "temperature": 0.5, "top_p": 1}"#,
        );
        assert_eq!(
            String::from_utf8(wanted.body).unwrap(),
            r#"{"max_tokens":50,"messages":[{"content":"hello","role":"user"}],"model":"Qwen/Qwen3-8B","temperature":0.5,"top_p":1}"#
        );
        assert_eq!((wanted.max_tokens, wanted.max_coefficient, wanted.enable_debug), (50, 3000, true));
        assert_eq!(wanted.timeout, Duration::from_secs(20));
    }

    #[test]
    fn defaults_are_the_genuine_clients_and_do_not_reach_the_worker() {
        let wanted = body(r#"{"model":"m","messages":[]}"#);
        assert_eq!((wanted.max_tokens, wanted.max_coefficient, wanted.enable_debug), (1000, 4000, false));
        assert_eq!(wanted.timeout, Duration::from_mins(2));
        assert_eq!(wanted.body, br#"{"messages":[],"model":"m"}"#);
    }

    #[test]
    fn the_newer_token_limit_wins_and_the_older_one_goes() {
        let wanted = body(r#"{"model":"m","max_tokens":5,"max_completion_tokens":7}"#);
        assert_eq!(wanted.max_tokens, 7);
        assert_eq!(wanted.body, br#"{"max_completion_tokens":7,"model":"m"}"#);
    }

    #[test]
    fn text_in_every_language_and_doubled_keys_pass_as_the_genuine_client_passes_them() {
        let wanted = body(r#"{"model":"m","prompt":"grün 東京","model":"n"}"#);
        assert_eq!(wanted.model, "n");
        assert_eq!(String::from_utf8(wanted.body).unwrap(), r#"{"model":"n","prompt":"grün 東京"}"#);
    }

    #[test]
    fn bodies_that_cannot_be_meant_are_refused_without_quoting_them() {
        for (text, field) in [
            (r#"{"model":"m","max_tokens":-1}"#, "max_tokens"),
            (r#"{"model":"m","max_tokens":1.5}"#, "max_tokens"),
            (r#"{"model":"m","max_tokens":99999999999}"#, "max_tokens"),
            (r#"{"model":"m","max_completion_tokens":"8"}"#, "max_completion_tokens"),
            (r#"{"model":"m","max_coefficient":"8"}"#, "max_coefficient"),
            (r#"{"model":"m","timeout":0}"#, "timeout"),
            (r#"{"model":"m","timeout":1e300}"#, "timeout"),
            (r#"{"model":"m","enable_debug":"yes"}"#, "enable_debug"),
            (r#"{"model":"m","request_guid":5}"#, "request_guid"),
        ] {
            assert!(matches!(refusal(text), BadBody::Field { field: found, .. } if found == field), "{text}");
        }
        assert_eq!(refusal("[]"), BadBody::NotAnObject);
        assert_eq!(refusal(r#"{"model":5}"#), BadBody::NoModel);
        assert_eq!(refusal("{}"), BadBody::NoModel);
        assert!(matches!(refusal(r#"{"secret prompt"#), BadBody::NotJson { .. }));
        assert!(!refusal(r#"{"secret prompt"#).to_string().contains("secret"));
        assert!(matches!(read(b"{\"model\":\"\xff\"}"), Err(BadBody::NotJson { .. })));
        assert!(matches!(refusal(&"[".repeat(100_000)), BadBody::NotJson { .. }));
    }
}
