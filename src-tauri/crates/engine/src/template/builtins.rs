//! Filters and methods that the template engine brings but does not bound, with a bound or taken away.

use std::borrow::Cow;

use minijinja::value::{Kwargs, StringInput, Value};
use minijinja::{Environment, Error, ErrorKind, State, filters};

/// Widest indentation of JSON.
const MAX_INDENT: u64 = 16;
/// Most pieces of a text.
const MAX_PIECES: usize = 1 << 16;
/// Most characters to strip; each of the text's is compared with all of them.
const MAX_STRIPPED: usize = 256;
/// Widths, precisions, counts and repetitions are taken as they come, lists are added up one by one, or the filter is none of Jinja's.
const UNBOUNDED: [&str; 6] = ["format", "batch", "slice", "sum", "zip", "chain"];

pub(super) fn install(environment: &mut Environment<'_>) {
    environment.set_unknown_method_callback(method);
    environment.add_filter("tojson", to_json);
    environment.add_filter("trim", trim);
    environment.add_filter("split", split);
    environment.add_filter("lines", lines);
    for name in UNBOUNDED {
        environment.remove_filter(name);
    }
    // It prints the conversation.
    environment.remove_global("debug");
}

fn too_large() -> Error {
    Error::new(ErrorKind::OutOfFuel, "a value is too large")
}

/// Python's methods.
fn method(state: &mut State<'_, '_>, value: &Value, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    match (method, value.as_str()) {
        ("format", Some(_)) => return Err(Error::from(ErrorKind::UnknownMethod)),
        ("split", Some(text)) => check_pieces(text, arguments.first())?,
        ("splitlines", Some(text)) => check_lines(text)?,
        ("strip" | "lstrip" | "rstrip", Some(_)) => check_stripped(arguments.first().and_then(Value::as_str))?,
        _ => {}
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, method, arguments)
}

fn to_json(value: &Value, indent: Option<Value>, options: Kwargs) -> Result<Value, Error> {
    let indent = match indent {
        Some(indent) => Some(indent),
        None => options.get("indent")?,
    };
    let too_wide = |indent: &Value| u64::try_from(indent.clone()).is_ok_and(|indent| indent > MAX_INDENT);
    if indent.as_ref().is_some_and(too_wide) {
        return Err(too_large());
    }
    filters::tojson(value, indent, options)
}

fn trim(value: StringInput<'_>, characters: Option<Cow<'_, str>>) -> Result<Value, Error> {
    check_stripped(characters.as_deref())?;
    Ok(filters::trim(value, characters))
}

fn split(value: &Value, separator: Option<&Value>, most: Option<i64>) -> Result<Value, Error> {
    check_pieces(value.as_str().unwrap_or_default(), separator)?;
    filters::split(value, text_of(separator).map(Into::into), most)
}

fn lines(value: &Value) -> Result<Value, Error> {
    check_lines(value.as_str().unwrap_or_default())?;
    filters::lines(value)
}

fn check_stripped(characters: Option<&str>) -> Result<(), Error> {
    if characters.is_some_and(|characters| characters.len() > MAX_STRIPPED) { Err(too_large()) } else { Ok(()) }
}

fn check_pieces(text: &str, separator: Option<&Value>) -> Result<(), Error> {
    let pieces = match text_of(separator) {
        Some(separator) => text.matches(&*separator).take(MAX_PIECES).count(),
        None => text.split_whitespace().take(MAX_PIECES).count(),
    };
    if pieces < MAX_PIECES { Ok(()) } else { Err(too_large()) }
}

/// What is written there, unless it is nothing.
fn text_of(value: Option<&Value>) -> Option<String> {
    value.filter(|value| !value.is_none() && !value.is_undefined()).map(ToString::to_string)
}

fn check_lines(text: &str) -> Result<(), Error> {
    if text.lines().take(MAX_PIECES).count() < MAX_PIECES { Ok(()) } else { Err(too_large()) }
}
