//! From an order to sequences the engine can run: template, token ids, limits.

use std::sync::Arc;

use accounting::Endpoint;
use engine::constraint::{Grammar, SchemaError};
use engine::{ChatTemplate, Message, RenderOptions, Request, Sampling, TemplateError, Tokenizer};
use zeroize::{Zeroize, Zeroizing};

use super::{Cancel, JobKey, Place, Task};
use crate::completions::{self, Format, Order, Prompts, Refusal, Turn};

/// A task in the engine's terms. Holds the prompts.
pub(super) struct Prepared {
    pub(super) key: JobKey,
    pub(super) cancel: Cancel,
    pub(super) place: Option<Place>,
    /// Tokens of each prompt.
    pub(super) prompt_tokens: Vec<u64>,
    /// Text each prompt's answers begin with.
    pub(super) echoes: Vec<Zeroizing<Vec<u8>>>,
    /// One for each answer, in the order of the answers.
    pub(super) requests: Vec<Request>,
}

impl Drop for Prepared {
    fn drop(&mut self) {
        for request in &mut self.requests {
            request.prompt.zeroize();
        }
    }
}

/// Knows the model's words but not its weights.
pub(super) struct Preparer {
    tokenizer: Arc<Tokenizer>,
    template: Option<Arc<ChatTemplate>>,
    context: u32,
}

impl Preparer {
    pub(super) fn new(tokenizer: Arc<Tokenizer>, template: Option<Arc<ChatTemplate>>, context: u32) -> Self {
        Self { tokenizer, template, context }
    }

    pub(super) fn prepare(&self, task: Task) -> Result<Prepared, Refusal> {
        let Task { key, request_id, order, cancel, place } = task;
        let prompts = self.token_ids(&order)?;
        let constraint = constraint(&order.format)?;
        let mut prepared = Prepared {
            key,
            cancel,
            place,
            prompt_tokens: prompts.iter().map(|prompt| prompt.len() as u64).collect(),
            echoes: self.echoes(&order, &prompts),
            requests: Vec::new(),
        };
        for prompt in &prompts {
            let room = self.room(prompt.len(), order.endpoint)?;
            for _ in 0..order.n {
                let choice = prepared.requests.len() as u32;
                prepared.requests.push(Request {
                    prompt: prompt.to_vec(),
                    sampling: Sampling {
                        temperature: order.sampling.temperature,
                        top_p: order.sampling.top_p,
                        frequency_penalty: order.sampling.frequency_penalty,
                        presence_penalty: order.sampling.presence_penalty,
                        seed: completions::seed(&request_id, order.seed, choice),
                    },
                    stop: order.stop.clone(),
                    max_tokens: order.max_tokens.unwrap_or(room).min(room),
                    constraint: constraint.clone(),
                });
            }
        }
        Ok(prepared)
    }

    /// Tokens left for an answer.
    fn room(&self, prompt: usize, endpoint: Endpoint) -> Result<u32, Refusal> {
        let part = part_name(endpoint);
        if prompt == 0 {
            return Err(Refusal::bad_request(format!("'{part}' has no tokens"), Some(part)));
        }
        match u32::try_from(prompt).ok().and_then(|prompt| self.context.checked_sub(prompt)) {
            Some(room) if room > 0 => Ok(room),
            _ => Err(Refusal::context_exceeded(self.context, prompt as u64, part)),
        }
    }

    fn token_ids(&self, order: &Order) -> Result<Vec<Zeroizing<Vec<u32>>>, Refusal> {
        match &order.prompts {
            Prompts::Chat(turns) => {
                let text = self.render(turns, order.enable_thinking)?;
                // The template's markers are control tokens.
                Ok(vec![Zeroizing::new(self.tokenizer.encode_prompt(&text, true))])
            }
            // A raw prompt is wholly the customer's, who may have applied a template already, as other servers allow.
            Prompts::Texts(texts) => {
                Ok(texts.iter().map(|text| Zeroizing::new(self.tokenizer.encode_prompt(text, true))).collect())
            }
            Prompts::Tokens(prompts) => {
                let size = self.tokenizer.vocabulary_size();
                if prompts.iter().any(|prompt| prompt.iter().any(|id| *id >= size)) {
                    return Err(Refusal::bad_request(
                        format!("'prompt' holds a token id outside of the vocabulary of {size}"),
                        Some("prompt"),
                    ));
                }
                Ok(prompts.clone())
            }
        }
    }

    fn render(&self, turns: &[Turn], enable_thinking: Option<bool>) -> Result<Zeroizing<String>, Refusal> {
        let fault = |text: String| Refusal::bad_request(text, Some("messages"));
        let template = self
            .template
            .as_ref()
            .ok_or_else(|| fault("this model has no chat template; use /v1/completions".to_owned()))?;
        let mut messages: Vec<Message> = turns
            .iter()
            .map(|turn| Message { role: turn.role.to_owned(), content: turn.content.to_string() })
            .collect();
        let options = RenderOptions { enable_thinking, ..RenderOptions::default() };
        let rendered = template.render(&messages, true, &options);
        for message in &mut messages {
            message.content.zeroize();
        }
        // These texts are the engine's own and quote nothing of the conversation.
        rendered.map(Zeroizing::new).map_err(|error: TemplateError| fault(error.to_string()))
    }

    fn echoes(&self, order: &Order, prompts: &[Zeroizing<Vec<u32>>]) -> Vec<Zeroizing<Vec<u8>>> {
        if !order.echo {
            return prompts.iter().map(|_| Zeroizing::default()).collect();
        }
        match &order.prompts {
            Prompts::Texts(texts) => texts.iter().map(|text| Zeroizing::new(text.as_bytes().to_vec())).collect(),
            Prompts::Chat(_) | Prompts::Tokens(_) => {
                prompts.iter().map(|prompt| Zeroizing::new(self.tokenizer.decode(prompt))).collect()
            }
        }
    }
}

/// The grammar of a form. What is refused is named by its keyword and the way to it, in the customer's own words, cut short.
fn constraint(format: &Format) -> Result<Option<Arc<Grammar>>, Refusal> {
    let grammar = match format {
        Format::Text => return Ok(None),
        Format::JsonObject => Grammar::of_any_object(),
        Format::JsonSchema(schema) => Grammar::of_schema(schema),
    };
    let refused = |error: SchemaError| {
        let text = format!("invalid schema in 'response_format': {}", error.message());
        Refusal::bad_request(text, Some("response_format"))
    };
    grammar.map(|grammar| Some(Arc::new(grammar))).map_err(refused)
}

fn part_name(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Chat => "messages",
        Endpoint::Completions => "prompt",
    }
}
