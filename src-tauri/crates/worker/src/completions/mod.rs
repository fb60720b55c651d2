//! The OpenAI-style interface that customers speak through the proxy: a request's bytes in, an [`Order`] or a [`Refusal`] out,
//! and the answer's bytes from pieces of text.
//!
//! Pure: no engine, no clock, no socket. What may stand in a request is what Cocoon's worker admits (its whitelist of fields and
//! their types, section "Accepted URLs and JSON" of the protocol); what this engine cannot do although the whitelist admits it is
//! refused by name. Every failure is an ordinary HTTP answer with an OpenAI-style JSON body, because the protocol's error
//! messages make existing client programs crash.
//!
//! Walk-through: [`parse`] (`request.rs` says what each field means here, `format.rs` what form an answer must have,
//! `fields.rs` is the whitelist, `limits.rs` looks at bytes before anything is parsed, `conversation.rs` says
//! which requests belong together), [`Answer`] (`answer.rs`: one JSON body or server-sent events), [`Refusal`].
//!
//! Prompts and answers can't be printed: the types that hold them have no `Debug`, and they are overwritten when dropped.

mod answer;
mod conversation;
mod fields;
mod format;
mod limits;
mod refusal;
mod request;

pub use answer::{Answer, Costs, FinishReason, Head, Opening};
pub use conversation::{
    CONVERSATION_HEADER, ConversationKey, MAX_CONVERSATION_KEY, MIN_CONVERSATION_KEY, conversation_key,
};
pub use format::Format;
pub use limits::{MAX_BODY, MAX_DEPTH, MAX_OBJECTS};
pub use refusal::Refusal;
pub use request::{
    COMPLETIONS_DEFAULT_TOKENS, MAX_CHOICES, MAX_STOP_BYTES, MAX_STOPS, Order, Prompts, Sampling, Turn, parse, seed,
};
