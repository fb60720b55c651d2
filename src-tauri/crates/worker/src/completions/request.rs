//! From a request's bytes to an order for the engine.

use accounting::Endpoint;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::{Format, Refusal, fields, format, limits};

/// Most answers to one request: prompts times `n`. Each costs a sequence of its own.
pub const MAX_CHOICES: u32 = 16;

/// Most stop strings.
pub const MAX_STOPS: usize = 16;

/// Longest stop string in bytes. The engine holds back as much of an answer as might begin one.
pub const MAX_STOP_BYTES: usize = 256;

/// `max_tokens` of `/v1/completions` when the request names none, OpenAI's default.
pub const COMPLETIONS_DEFAULT_TOKENS: u32 = 16;

/// An admitted request. Holds the prompt, so it can't be printed.
pub struct Order {
    /// Which URL.
    pub endpoint: Endpoint,
    /// What to continue.
    pub prompts: Prompts,
    /// Answers per prompt, 1 to [`MAX_CHOICES`].
    pub n: u32,
    /// Server-sent events or one JSON body?
    pub stream: bool,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// The customer's own seed.
    pub seed: Option<i64>,
    /// Texts that end an answer and are not part of it.
    pub stop: Vec<String>,
    /// Most tokens of an answer; `None`: as many as the context has room for.
    pub max_tokens: Option<u32>,
    /// Begin the answer with the prompt?
    pub echo: bool,
    /// `chat_template_kwargs.enable_thinking`.
    pub enable_thinking: Option<bool>,
    /// What form each answer must have.
    pub format: Format,
}

/// What to continue. Overwritten when dropped.
pub enum Prompts {
    /// A conversation, to be rendered by the model's template.
    Chat(Vec<Turn>),
    /// Raw texts.
    Texts(Vec<Zeroizing<String>>),
    /// Raw token ids, not checked against the vocabulary.
    Tokens(Vec<Zeroizing<Vec<u32>>>),
}

impl Prompts {
    /// How many prompts.
    pub fn count(&self) -> usize {
        match self {
            Self::Chat(_) => 1,
            Self::Texts(texts) => texts.len(),
            Self::Tokens(tokens) => tokens.len(),
        }
    }
}

/// One message of a conversation.
pub struct Turn {
    /// `system`, `user` or `assistant`.
    pub role: &'static str,
    /// Its text.
    pub content: Zeroizing<String>,
}

/// How tokens are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// 0 to 2; 0 always takes the likeliest token.
    pub temperature: f32,
    /// 0 to 1.
    pub top_p: f32,
    /// -2 to 2.
    pub frequency_penalty: f32,
    /// -2 to 2.
    pub presence_penalty: f32,
}

/// The seed of one answer: SHA-256 of the request id, or of the customer's own seed when there is one, so that it repeats.
/// Further answers to the same request are seeded by SHA-256 of that and their number.
pub fn seed(request_id: &[u8; 32], own: Option<i64>, choice: u32) -> [u8; 32] {
    let first: [u8; 32] = match own {
        None => Sha256::digest(request_id).into(),
        Some(seed) => Sha256::digest(seed.to_le_bytes()).into(),
    };
    if choice == 0 {
        return first;
    }
    Sha256::new().chain_update(first).chain_update(choice.to_le_bytes()).finalize().into()
}

/// Reads a request. `model` is the base name served, without commit and hash.
pub fn parse(method: &str, url: &str, body: &[u8], model: &str) -> Result<Order, Refusal> {
    let endpoint = match url.find('/').map(|at| &url[at..]) {
        Some("/v1/chat/completions") => Endpoint::Chat,
        Some("/v1/completions") => Endpoint::Completions,
        _ => return Err(Refusal::unsupported_url()),
    };
    limits::check(body)?;
    let mut request: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| Refusal::bad_request("expected json object", None))?;
    let order = order(endpoint, method, body, &request, model);
    for (_, value) in &mut request {
        wipe(value);
    }
    order
}

fn order(
    endpoint: Endpoint,
    method: &str,
    body: &[u8],
    request: &Map<String, Value>,
    model: &str,
) -> Result<Order, Refusal> {
    fields::check(endpoint, request)?;
    if request.get("model").and_then(Value::as_str) != Some(model) {
        return Err(Refusal::wrong_model());
    }
    if !method.eq_ignore_ascii_case("post") {
        return Err(Refusal::wrong_method());
    }
    refuse_what_we_cannot(request)?;
    let prompts = match endpoint {
        Endpoint::Chat => conversation(request)?,
        Endpoint::Completions => raw_prompts(request)?,
    };
    let n = count(request, "n").unwrap_or(1);
    // Without the likelihood of whole answers there is no best one to choose.
    if let Some(best_of) = count(request, "best_of")
        && best_of != n
    {
        return Err(Refusal::unsupported("best_of", "it must equal n"));
    }
    let choices = u32::try_from(prompts.count()).unwrap_or(u32::MAX).saturating_mul(n);
    if choices > MAX_CHOICES {
        return Err(Refusal::unsupported("n", &format!("{choices} answers were asked for, {MAX_CHOICES} are allowed")));
    }
    Ok(Order {
        endpoint,
        prompts,
        n,
        stream: stream(request)?,
        sampling: Sampling {
            temperature: number(request, "temperature", 1.0, 0.0..=2.0)?,
            top_p: number(request, "top_p", 1.0, 0.0..=1.0)?,
            frequency_penalty: number(request, "frequency_penalty", 0.0, -2.0..=2.0)?,
            presence_penalty: number(request, "presence_penalty", 0.0, -2.0..=2.0)?,
        },
        // A seed beyond i64 is still a seed.
        seed: request.get("seed").and_then(|seed| seed.as_i64().or_else(|| seed.as_u64().map(u64::cast_signed))),
        stop: stops(request)?,
        max_tokens: max_tokens(endpoint, request)?,
        echo: flag(request, "echo").unwrap_or(false),
        enable_thinking: request
            .get("chat_template_kwargs")
            .and_then(|options| options.get("enable_thinking"))
            .and_then(Value::as_bool),
        format: format::read(body, request)?,
    })
}

/// Fields the whitelist admits whose meaning this engine has not got. `parallel_tool_calls`, `prediction`, `reasoning_effort`
/// and `verbosity` are hints that change no promise and pass.
fn refuse_what_we_cannot(request: &Map<String, Value>) -> Result<(), Refusal> {
    if count(request, "top_logprobs").is_some_and(|top| top > 0) {
        return Err(Refusal::unsupported("top_logprobs", "no probabilities are reported"));
    }
    if flag(request, "suffix") == Some(true) {
        return Err(Refusal::unsupported("suffix", "text is only ever continued at its end"));
    }
    if flag(request, "skip_special_tokens") == Some(false) {
        return Err(Refusal::unsupported("skip_special_tokens", "special tokens are never written out"));
    }
    Ok(())
}

fn conversation(request: &Map<String, Value>) -> Result<Prompts, Refusal> {
    let messages = request.get("messages").and_then(Value::as_array);
    let messages = messages.map(Vec::as_slice).unwrap_or_default();
    if messages.is_empty() {
        return Err(Refusal::bad_request("'messages' must not be empty", Some("messages")));
    }
    messages.iter().map(turn).collect::<Result<_, _>>().map(Prompts::Chat)
}

fn turn(message: &Value) -> Result<Turn, Refusal> {
    let fault = |text: &str| Refusal::bad_request(text, Some("messages"));
    let message = message.as_object().ok_or_else(|| fault("every message must be an object"))?;
    let role = match message.get("role").and_then(Value::as_str) {
        Some("system" | "developer") => "system",
        Some("user") => "user",
        Some("assistant") => "assistant",
        Some("tool" | "function") => return Err(Refusal::unsupported("messages", "tools are not served")),
        _ => return Err(fault("every message needs a role: system, user or assistant")),
    };
    let calls_tools = |name| match message.get(name) {
        None | Some(Value::Null) => false,
        Some(Value::Array(calls)) => !calls.is_empty(),
        Some(_) => true,
    };
    if calls_tools("tool_calls") || calls_tools("function_call") {
        return Err(Refusal::unsupported("messages", "tools are not served"));
    }
    let content = match message.get("content") {
        Some(Value::String(text)) => Zeroizing::new(text.clone()),
        Some(Value::Array(parts)) => text_of_parts(parts)?,
        _ => return Err(fault("every message needs a content: a string or an array of text parts")),
    };
    Ok(Turn { role, content })
}

fn text_of_parts(parts: &[Value]) -> Result<Zeroizing<String>, Refusal> {
    let mut text = Zeroizing::new(String::with_capacity(
        parts.iter().filter_map(|part| Some(part.get("text")?.as_str()?.len() + 1)).sum(),
    ));
    for (index, part) in parts.iter().enumerate() {
        match (part.get("type").and_then(Value::as_str), part.get("text").and_then(Value::as_str)) {
            (Some("text"), Some(part)) => {
                if index > 0 {
                    text.push('\n');
                }
                text.push_str(part);
            }
            _ => return Err(Refusal::unsupported("messages", "a content part may only be a text")),
        }
    }
    Ok(text)
}

fn raw_prompts(request: &Map<String, Value>) -> Result<Prompts, Refusal> {
    let fault = |text: &str| Refusal::bad_request(text, Some("prompt"));
    let mixed =
        || fault("'prompt' must be a string, an array of strings, an array of token ids or an array of such arrays");
    match request.get("prompt") {
        Some(Value::String(text)) => Ok(Prompts::Texts(vec![Zeroizing::new(text.clone())])),
        Some(Value::Array(items)) => match items.first() {
            None => Err(fault("'prompt' must not be empty")),
            Some(Value::String(_)) => items
                .iter()
                .map(|item| item.as_str().map(|text| Zeroizing::new(text.to_owned())))
                .collect::<Option<_>>()
                .map(Prompts::Texts)
                .ok_or_else(mixed),
            Some(Value::Array(_)) => items
                .iter()
                .map(|item| item.as_array().and_then(|ids| token_ids(ids)))
                .collect::<Option<_>>()
                .map(Prompts::Tokens)
                .ok_or_else(mixed),
            Some(_) => token_ids(items).map(|ids| Prompts::Tokens(vec![ids])).ok_or_else(mixed),
        },
        _ => Err(mixed()),
    }
}

fn token_ids(ids: &[Value]) -> Option<Zeroizing<Vec<u32>>> {
    ids.iter()
        .map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok()))
        .collect::<Option<Vec<_>>>()
        .map(Zeroizing::new)
}

/// `stream_options` alone turns streaming on; `include_usage` is forced, so its value is not looked at.
fn stream(request: &Map<String, Value>) -> Result<bool, Refusal> {
    match (flag(request, "stream"), request.contains_key("stream_options")) {
        (None, options) => Ok(options),
        (Some(false), true) => {
            Err(Refusal::bad_request("'stream_options' is only allowed when 'stream' is true", Some("stream_options")))
        }
        (Some(stream), _) => Ok(stream),
    }
}

fn stops(request: &Map<String, Value>) -> Result<Vec<String>, Refusal> {
    let fault = |text: String| Refusal::bad_request(text, Some("stop"));
    let stops: Vec<String> = match request.get("stop") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) if items.len() <= MAX_STOPS => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or_else(|| fault("'stop' may only hold strings".to_owned()))?,
        Some(Value::Array(_)) => return Err(fault(format!("'stop' may hold at most {MAX_STOPS} strings"))),
        Some(_) => return Err(fault("'stop' must be a string or an array of strings".to_owned())),
    };
    if stops.iter().any(String::is_empty) {
        return Err(fault("'stop' must not hold an empty string".to_owned()));
    }
    if stops.iter().any(|stop| stop.len() > MAX_STOP_BYTES) {
        return Err(fault(format!("a stop string may have at most {MAX_STOP_BYTES} bytes")));
    }
    Ok(stops)
}

/// `max_completion_tokens` beats its older name. More than the context has room for is not an error: the answer ends earlier.
fn max_tokens(endpoint: Endpoint, request: &Map<String, Value>) -> Result<Option<u32>, Refusal> {
    let (name, tokens) = match count(request, "max_completion_tokens") {
        Some(tokens) => ("max_completion_tokens", Some(tokens)),
        None => ("max_tokens", count(request, "max_tokens")),
    };
    match (tokens, endpoint) {
        (Some(0), _) => Err(Refusal::bad_request(format!("'{name}' must be at least 1"), Some(name))),
        (Some(tokens), _) => Ok(Some(tokens)),
        (None, Endpoint::Chat) => Ok(None),
        (None, Endpoint::Completions) => Ok(Some(COMPLETIONS_DEFAULT_TOKENS)),
    }
}

fn number(
    request: &Map<String, Value>,
    name: &str,
    default: f32,
    range: std::ops::RangeInclusive<f64>,
) -> Result<f32, Refusal> {
    match request.get(name).and_then(Value::as_f64) {
        None => Ok(default),
        Some(number) if range.contains(&number) => Ok(number as f32),
        Some(_) => Err(Refusal::bad_request(
            format!("option '{name}' in request must be a number from {} to {}", range.start(), range.end()),
            Some(name),
        )),
    }
}

/// An unsigned integer, cut to 32 bits from above.
fn count(request: &Map<String, Value>, name: &str) -> Option<u32> {
    let number = request.get(name)?.as_u64()?;
    Some(u32::try_from(number).unwrap_or(u32::MAX))
}

fn flag(request: &Map<String, Value>, name: &str) -> Option<bool> {
    request.get(name)?.as_bool()
}

/// Overwrites every text and number of a parsed body. The keys stay: the whitelist has only let known names pass.
fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Number(_) => *value = Value::Null,
        Value::Null | Value::Bool(_) => {}
    }
}
