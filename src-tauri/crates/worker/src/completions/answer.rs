//! From pieces of generated text to the bytes of an answer: one JSON body, or server-sent events as OpenAI's clients read them.
//!
//! ```text
//! data: {…"choices":[{"delta":{"role":"assistant","content":""},…}],…}      one per choice, before its first text
//! data: {…"choices":[{"delta":{"content":"Hel"},…}],…}                      token by token
//! data: {…"choices":[{"delta":{},"finish_reason":"stop",…}],…}
//! data: {…"choices":[],"usage":{…}}
//! data: [DONE]
//! ```
//!
//! Text that may not leave yet (a slow reader) is kept as text and merged into one event later, so that an answer never holds
//! more than what was generated.

use accounting::{AdjustedUsage, Endpoint, Prices, TokenUsage};
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended it, or a stop string did.
    Stop,
    /// A limit did: tokens, context, time, or the owner who wants the card back.
    Length,
}

impl FinishReason {
    fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// The head of an answer that has a body of the model's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// 200.
    pub status: u16,
    /// `OK`.
    pub reason: &'static str,
    /// Name and value.
    pub headers: Vec<(&'static str, &'static str)>,
}

/// What is fixed before the first piece.
pub struct Opening {
    /// Shape of the answer.
    pub endpoint: Endpoint,
    /// Events, or one body?
    pub stream: bool,
    /// The request's id; the answer's own id is made of its first half.
    pub request_id: [u8; 32],
    /// Base name of the model.
    pub model: String,
    /// Unix time in seconds.
    pub created: i64,
    /// How many answers are written.
    pub choices: usize,
}

/// The cost fields that Cocoon workers add to `usage`, in nanoton.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Costs {
    /// Prompt and cached tokens.
    pub prompt: i64,
    /// Completion and reasoning tokens.
    pub completion: i64,
    /// All four.
    pub total: i64,
}

impl Costs {
    /// Adjusted tokens times the network's price per token.
    pub fn new(usage: &AdjustedUsage, prices: &Prices) -> Self {
        let price = i64::try_from(prices.price_per_token.0).unwrap_or(i64::MAX);
        let cost = |tokens: i64| tokens.saturating_mul(price);
        Self {
            prompt: cost(usage.prompt.saturating_add(usage.cached)),
            completion: cost(usage.completion.saturating_add(usage.reasoning)),
            total: cost(usage.total),
        }
    }
}

/// One answer being written. Holds generated text, so it can't be printed.
pub struct Answer {
    opening: Opening,
    id: String,
    choices: Vec<Choice>,
    /// Has any event left?
    begun: bool,
}

#[derive(Default)]
struct Choice {
    /// Text that has not left.
    text: Zeroizing<Vec<u8>>,
    finish: Option<FinishReason>,
    /// Has the role been said? (stream)
    introduced: bool,
    /// Has the reason been said? (stream)
    closed: bool,
}

impl Answer {
    /// An answer without text yet.
    pub fn new(opening: Opening) -> Self {
        let prefix = match opening.endpoint {
            Endpoint::Chat => "chatcmpl-",
            Endpoint::Completions => "cmpl-",
        };
        let mut id = prefix.to_owned();
        for byte in opening.request_id.iter().take(16) {
            id.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
            id.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
        }
        let choices = std::iter::repeat_with(Choice::default).take(opening.choices).collect();
        Self { opening, id, choices, begun: false }
    }

    /// The HTTP head.
    pub fn head(&self) -> Head {
        let headers = if self.opening.stream {
            vec![("content-type", "text/event-stream"), ("cache-control", "no-cache")]
        } else {
            vec![("content-type", "application/json")]
        };
        Head { status: 200, reason: "OK", headers }
    }

    /// Events or one body?
    pub fn streams(&self) -> bool {
        self.opening.stream
    }

    /// Adds text (whole UTF-8 characters) to a choice; a choice out of range is ignored.
    pub fn push(&mut self, choice: usize, text: &[u8]) {
        let Some(choice) = self.choices.get_mut(choice) else {
            return;
        };
        let length = choice.text.len() + text.len();
        if length > choice.text.capacity() {
            // A growing `Vec` leaves copies behind; the buffer replaced here is overwritten as it drops.
            let mut grown = Zeroizing::new(Vec::with_capacity(length.next_power_of_two()));
            grown.extend_from_slice(&choice.text);
            choice.text = grown;
        }
        choice.text.extend_from_slice(text);
    }

    /// Ends a choice; the first reason stands.
    pub fn finish(&mut self, choice: usize, reason: FinishReason) {
        if let Some(choice) = self.choices.get_mut(choice) {
            choice.finish.get_or_insert(reason);
        }
    }

    /// Have all choices ended?
    pub fn is_finished(&self) -> bool {
        self.choices.iter().all(|choice| choice.finish.is_some())
    }

    /// Has any byte of the body been handed out?
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// The events that can leave now; `None` when there are none or the answer does not stream.
    pub fn events(&mut self) -> Option<Vec<u8>> {
        if !self.opening.stream {
            return None;
        }
        let mut out = Vec::new();
        for index in 0..self.choices.len() {
            self.choice_events(index, &mut out);
        }
        self.begun |= !out.is_empty();
        (!out.is_empty()).then_some(out)
    }

    /// The rest of the answer: what has not left, the reasons (`length` where there is none yet), and the counts.
    pub fn end(&mut self, usage: &TokenUsage, costs: Option<&Costs>) -> Vec<u8> {
        for index in 0..self.choices.len() {
            self.finish(index, FinishReason::Length);
        }
        let usage = usage_json(usage, costs);
        if self.opening.stream {
            let mut out = self.events().unwrap_or_default();
            self.begun = true;
            event(&mut out, &self.envelope(true, &json!([]), &usage));
            out.extend_from_slice(b"data: [DONE]\n\n");
            return out;
        }
        self.begun = true;
        let choices: Vec<Value> = (0..self.choices.len()).map(|index| self.whole_choice(index)).collect();
        let mut body = self.envelope(false, &Value::Array(choices), &usage).to_string().into_bytes();
        body.push(b'\n');
        body
    }

    fn choice_events(&mut self, index: usize, out: &mut Vec<u8>) {
        let chat = self.opening.endpoint == Endpoint::Chat;
        let Some(choice) = self.choices.get_mut(index) else {
            return;
        };
        let text = std::mem::take(&mut choice.text);
        let finish = choice.finish.filter(|_| !choice.closed);
        if text.is_empty() && finish.is_none() {
            return;
        }
        let introduce = chat && !choice.introduced;
        choice.introduced = true;
        choice.closed |= finish.is_some();
        if introduce {
            let delta = json!({"role": "assistant", "content": ""});
            self.chunk(out, &json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": null}));
        }
        let text = String::from_utf8_lossy(&text);
        if chat {
            if !text.is_empty() {
                let delta = json!({"content": text});
                self.chunk(out, &json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": null}));
            }
            if let Some(finish) = finish {
                self.chunk(
                    out,
                    &json!({"index": index, "delta": {}, "logprobs": null, "finish_reason": finish.name()}),
                );
            }
        } else {
            let finish = finish.map(FinishReason::name);
            self.chunk(out, &json!({"index": index, "text": text, "logprobs": null, "finish_reason": finish}));
        }
    }

    fn chunk(&self, out: &mut Vec<u8>, choice: &Value) {
        event(out, &self.envelope(true, &json!([choice]), &Value::Null));
    }

    fn whole_choice(&mut self, index: usize) -> Value {
        let chat = self.opening.endpoint == Endpoint::Chat;
        let Some(choice) = self.choices.get_mut(index) else {
            return Value::Null;
        };
        let bytes = std::mem::take(&mut choice.text);
        let text = String::from_utf8_lossy(&bytes);
        let finish = choice.finish.map(FinishReason::name);
        if chat {
            let message = json!({"role": "assistant", "content": text});
            json!({"index": index, "message": message, "logprobs": null, "finish_reason": finish})
        } else {
            json!({"index": index, "text": text, "logprobs": null, "finish_reason": finish})
        }
    }

    fn envelope(&self, chunk: bool, choices: &Value, usage: &Value) -> Value {
        let object = match (self.opening.endpoint, chunk) {
            (Endpoint::Chat, true) => "chat.completion.chunk",
            (Endpoint::Chat, false) => "chat.completion",
            (Endpoint::Completions, _) => "text_completion",
        };
        json!({
            "id": self.id, "object": object, "created": self.opening.created, "model": self.opening.model,
            "choices": choices, "usage": usage,
        })
    }
}

fn event(out: &mut Vec<u8>, value: &Value) {
    out.extend_from_slice(b"data: ");
    // JSON text has no line breaks outside of strings and escapes those inside, so an event is one line.
    out.extend_from_slice(value.to_string().as_bytes());
    out.extend_from_slice(b"\n\n");
}

fn usage_json(usage: &TokenUsage, costs: Option<&Costs>) -> Value {
    let mut json = json!({
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt.saturating_add(usage.completion),
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    });
    if let (Some(costs), Some(fields)) = (costs, json.as_object_mut()) {
        fields.insert("prompt_total_cost".to_owned(), costs.prompt.into());
        fields.insert("completion_total_cost".to_owned(), costs.completion.into());
        fields.insert("total_cost".to_owned(), costs.total.into());
    }
    json
}
