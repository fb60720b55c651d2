//! HTTP messages as they are carried inside queries and answers.

use crate::schema::schema;

schema! {
    /// One header. Names may repeat; order is kept.
    struct Header = 0x8e9be511, "http.header" => "http.Header" {
        name: String,
        value: String,
    }

    /// A customer's request, opaque to the proxy.
    struct Request = 0x47492de5, "http.request" => "http.Response" {
        method: String,
        url: String,
        http_version: String,
        headers: Vec<Header>,
        payload: Vec<u8>,
    }

    /// The head of an answer, with the first bytes of its body.
    struct Response = 0x1cd0c42b, "http.response" => "http.Response" {
        http_version: String,
        status_code: i32,
        reason: String,
        headers: Vec<Header>,
        payload: Vec<u8>,
    }
}
