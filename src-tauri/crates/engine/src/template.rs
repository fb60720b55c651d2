//! The model's own chat template.

use std::collections::BTreeMap;

/// Why a template could not be used. No variant carries text of a conversation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The template is not valid Jinja.
    #[error("the model's chat template does not parse (line {line})")]
    Syntax {
        /// Line of the template, counted from 1.
        line: usize,
    },
    /// The template itself called `raise_exception`: it does not admit these messages (as, say, two of one role in a row).
    #[error("the model's chat template does not admit these messages")]
    MessagesRefused,
    /// Rendering took more steps, depth or output than allowed.
    #[error("the model's chat template exceeds its limits")]
    LimitExceeded,
    /// Rendering failed otherwise.
    #[error("the model's chat template failed (line {line})")]
    Failed {
        /// Line of the template, counted from 1.
        line: usize,
    },
}

/// One message of a conversation. Not printable, on purpose.
#[derive(Clone)]
pub struct Message {
    /// `system`, `user`, `assistant` or whatever else the template knows.
    pub role: String,
    /// The text.
    pub content: String,
}

/// What a template is told besides the messages.
#[derive(Clone, Default)]
pub struct RenderOptions {
    /// The variable `enable_thinking` of templates that know it; `None` leaves it undefined.
    pub enable_thinking: Option<bool>,
    /// Further variables (`chat_template_kwargs` of the OpenAI-like interfaces).
    pub variables: BTreeMap<String, serde_json::Value>,
}

/// A chat template, parsed.
pub struct ChatTemplate {
    source: String,
}

impl ChatTemplate {
    /// Parses a template.
    pub fn new(source: &str) -> Result<Self, TemplateError> {
        Ok(Self { source: source.to_owned() })
    }

    /// The prompt text of a conversation.
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        options: &RenderOptions,
    ) -> Result<String, TemplateError> {
        let _ = (&self.source, messages, add_generation_prompt, options);
        Err(TemplateError::LimitExceeded)
    }
}
