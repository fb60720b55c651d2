//! What a customer asks for, as it comes out of the protocol.

use serde_json::Value;
use worker::completions::{MAX_CHOICES, parse};

/// The first byte chooses method and path, the rest is the body.
pub fn worker_request(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else { return };
    let (method, url) = match choice % 4 {
        0 => ("POST", "/v1/chat/completions"),
        1 => ("post", "http://host/v1/completions"),
        2 => ("POST", "/v1/models"),
        _ => ("GET", "/v1/chat/completions"),
    };
    match parse(method, url, body, "Qwen/Qwen3-8B") {
        Ok(order) => {
            assert!(choice % 4 < 2, "{method} {url} was admitted");
            assert!(order.prompts.count() <= MAX_CHOICES as usize, "{} prompts", order.prompts.count());
        }
        Err(refusal) => {
            assert!((400..600).contains(&refusal.status()), "status {}", refusal.status());
            let body: Result<Value, _> = serde_json::from_slice(&refusal.body());
            assert!(body.is_ok_and(|body| body["error"].is_object()), "a refusal that clients cannot read");
        }
    }
}
