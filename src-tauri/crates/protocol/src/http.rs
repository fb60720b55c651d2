//! HTTP requests and answers as they travel inside queries: `http.request` and `http.response` of the TL schema. Values only; nothing
//! here speaks HTTP on a socket. They hold prompts and answers, so none of them has a `Debug`.

use tl::Boxed;

use crate::Error;

/// One header.
pub type Header = (String, String);

/// A request of a customer.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// `POST`, usually.
    pub method: String,
    /// Path as the customer wrote it.
    pub url: String,
    /// `HTTP/1.0` or `HTTP/1.1`.
    pub version: String,
    /// Headers in order.
    pub headers: Vec<Header>,
    /// The body.
    pub body: Vec<u8>,
}

/// Status line and headers of an answer.
#[derive(Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// `HTTP/1.0` or `HTTP/1.1`; anything else would crash a genuine client.
    pub version: String,
    /// 100 to 999; anything else would crash a genuine client.
    pub status: i32,
    /// Reason phrase.
    pub reason: String,
    /// Headers in order.
    pub headers: Vec<Header>,
}

/// Headers that describe one connection or one body's framing. They are dropped whatever their capitals: a surviving `Content-Length`
/// that does not fit cuts the customer's answer short.
const HOP_HEADERS: [&str; 3] = ["content-length", "transfer-encoding", "connection"];

/// Whether a header describes one connection or the framing of one body, and so must not be passed on.
pub fn is_hop_header(name: &str) -> bool {
    HOP_HEADERS.iter().any(|hop| name.eq_ignore_ascii_case(hop))
}

impl Request {
    /// The request with a new body: headers about the old framing are dropped, `Content-Length` is appended.
    #[must_use]
    pub fn with_body(mut self, body: Vec<u8>) -> Self {
        self.headers.retain(|(name, _)| !is_hop_header(name));
        self.headers.push(("Content-Length".to_owned(), body.len().to_string()));
        self.body = body;
        self
    }

    /// The boxed `http.request`.
    pub fn encode(&self) -> Vec<u8> {
        tl::http::Request {
            method: self.method.clone(),
            url: self.url.clone(),
            http_version: self.version.clone(),
            headers: to_tl(&self.headers),
            payload: self.body.clone(),
        }
        .to_bytes()
    }

    /// Reads a boxed `http.request`. Fails with [`Error::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let request = tl::http::Request::from_bytes(bytes).map_err(|_| Error::Malformed { what: "an http.request" })?;
        Ok(Self {
            method: request.method,
            url: request.url,
            version: request.http_version,
            headers: from_tl(request.headers),
            body: request.payload,
        })
    }
}

impl ResponseHead {
    /// A head of `HTTP/1.1`.
    pub fn new(status: i32, reason: &str, headers: Vec<Header>) -> Self {
        Self { version: "HTTP/1.1".to_owned(), status, reason: reason.to_owned(), headers }
    }

    /// Whether a genuine client survives it.
    pub fn is_sound(&self) -> bool {
        matches!(self.version.as_str(), "HTTP/1.0" | "HTTP/1.1") && (100..=999).contains(&self.status)
    }

    /// The boxed `http.response`, `body` being its payload.
    pub fn encode(&self, body: &[u8]) -> Vec<u8> {
        tl::http::Response {
            http_version: self.version.clone(),
            status_code: self.status,
            reason: self.reason.clone(),
            headers: to_tl(&self.headers),
            payload: body.to_vec(),
        }
        .to_bytes()
    }

    /// Reads a boxed `http.response` into head and payload. Fails with [`Error::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<(Self, Vec<u8>), Error> {
        let response =
            tl::http::Response::from_bytes(bytes).map_err(|_| Error::Malformed { what: "an http.response" })?;
        let head = Self {
            version: response.http_version,
            status: response.status_code,
            reason: response.reason,
            headers: from_tl(response.headers),
        };
        Ok((head, response.payload))
    }
}

/// The body of an answer that reports a failure, in the shape that clients of OpenAI's API expect. `message` must be words of ours.
pub fn error_body(status: i32, message: &str) -> Vec<u8> {
    serde_json::json!({ "error": { "code": status, "message": message, "type": "server_error" } })
        .to_string()
        .into_bytes()
}

fn to_tl(headers: &[Header]) -> Vec<tl::http::Header> {
    headers.iter().map(|(name, value)| tl::http::Header { name: name.clone(), value: value.clone() }).collect()
}

fn from_tl(headers: Vec<tl::http::Header>) -> Vec<Header> {
    headers.into_iter().map(|header| (header.name, header.value)).collect()
}
