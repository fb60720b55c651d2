//! Requests that get no answer from the model: an HTTP status and the JSON body OpenAI's clients know.

use serde_json::json;

/// Why a request is refused or failed, as the customer sees it. May hold names of fields that the customer chose, so it can't be
/// printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Refusal {
    status: u16,
    message: String,
    param: Option<String>,
    code: Option<&'static str>,
}

impl Refusal {
    /// 400: the request is at fault; `param` names the field.
    pub fn bad_request(message: impl Into<String>, param: Option<&str>) -> Self {
        Self::new(400, message, param, None)
    }

    /// 400: the whitelist admits the field, this engine does not do it.
    pub fn unsupported(field: &str, what: &str) -> Self {
        Self::new(
            400,
            format!("'{field}' is not supported by this worker: {what}"),
            Some(field),
            Some("unsupported_parameter"),
        )
    }

    /// 400 in OpenAI's words: the prompt alone leaves no room for an answer. `part` is `messages` or `prompt`.
    pub fn context_exceeded(context: u32, prompt_tokens: u64, part: &str) -> Self {
        Self::new(
            400,
            format!(
                "This model's maximum context length is {context} tokens. However, your {part} resulted in {prompt_tokens} \
                 tokens. Please reduce the length of the {part}."
            ),
            Some(part),
            Some("context_length_exceeded"),
        )
    }

    /// 404: the URL is not served.
    pub fn unsupported_url() -> Self {
        Self::new(404, "unsupported method", None, Some("unknown_url"))
    }

    /// 404: another model was asked for.
    pub fn wrong_model() -> Self {
        Self::new(404, "model name mismatch", Some("model"), Some("model_not_found"))
    }

    /// 405: not a POST.
    pub fn wrong_method() -> Self {
        Self::new(405, "only POST is served here", None, None)
    }

    /// 413: the body is over a limit.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(413, message, None, None)
    }

    /// 429: as many requests run as may.
    pub fn too_many() -> Self {
        Self::new(429, "too many active queries", None, Some("rate_limit_exceeded"))
    }

    /// 500: our fault.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(500, message, None, None)
    }

    /// 503: this worker stops serving; another may serve.
    pub fn unavailable() -> Self {
        Self::new(503, "the worker is going away, ask again", None, None)
    }

    /// 504: the time allowed passed before there was anything to answer with.
    pub fn timed_out() -> Self {
        Self::new(504, "worker: timeout", None, None)
    }

    /// HTTP status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// HTTP reason phrase.
    pub fn reason(&self) -> &'static str {
        match self.status {
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            413 => "Content Too Large",
            429 => "Too Many Requests",
            503 => "Service Unavailable",
            504 => "Gateway Timeout",
            _ => "Internal Server Error",
        }
    }

    /// What is wrong, in one sentence; may hold field names the customer chose.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The JSON body.
    pub fn body(&self) -> Vec<u8> {
        let kind = match self.status {
            429 => "requests",
            500.. => "server_error",
            _ => "invalid_request_error",
        };
        json!({"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}})
            .to_string()
            .into_bytes()
    }

    fn new(status: u16, message: impl Into<String>, param: Option<&str>, code: Option<&'static str>) -> Self {
        Self { status, message: message.into(), param: param.map(str::to_owned), code }
    }
}
