//! The model's own chat template: Jinja, as Hugging Face's libraries run it.
//!
//! A template comes with the model file, so it is treated as hostile: it can include nothing, knows no clock and no files, and
//! its work, depth and memory are bounded ([`guard`], [`builtins`]). What it says in an error may quote a conversation, so errors carry places only.

mod builtins;
mod guard;

use std::collections::BTreeMap;

use minijinja::machinery::{self, CodeGenerator, ast::Stmt};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind};

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

/// Steps of one rendering, counted by the engine: one for each instruction, and one for every 64 bytes of text or two places of a list
/// that a template makes, so that this bounds the memory of all values together to 32 MB. How large a single value may become
/// as text is judged by [`guard`].
const FUEL: u64 = 500_000;
/// How deep macros call each other.
const MAX_CALLS: usize = 64;
const MAX_SOURCE: usize = 128 << 10;
const MAX_OUTPUT: usize = 4 << 20;
const NAME: &str = "chat";
/// Begins the message of errors raised by templates themselves, so that they can be told from others.
const RAISED: &str = "raised by the template";

/// A chat template that parses.
pub struct ChatTemplate {
    environment: Environment<'static>,
    syntax: SyntaxConfig,
    source: String,
    bos: Option<String>,
    eos: Option<String>,
}

impl ChatTemplate {
    /// Parses a template. `bos` and `eos` become its variables `bos_token` and `eos_token`.
    pub fn new(source: &str, bos: Option<&str>, eos: Option<&str>) -> Result<Self, TemplateError> {
        if source.len() > MAX_SOURCE {
            return Err(TemplateError::LimitExceeded);
        }
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(MAX_CALLS);
        environment.add_function("raise_exception", |_message: Value| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, RAISED))
        });
        builtins::install(&mut environment);
        guard::install(&mut environment);
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        let syntax = syntax.map_err(|_| TemplateError::LimitExceeded)?;
        if !guard::is_shallow(source, syntax.clone()) {
            return Err(TemplateError::LimitExceeded);
        }
        machinery::parse(source, NAME, syntax.clone()).map_err(|error| match error.kind() {
            ErrorKind::SyntaxError => TemplateError::Syntax { line: error.line().unwrap_or(0) },
            _ => TemplateError::Failed { line: error.line().unwrap_or(0) },
        })?;
        Ok(Self {
            environment,
            syntax,
            source: source.to_owned(),
            bos: bos.map(str::to_owned),
            eos: eos.map(str::to_owned),
        })
    }

    /// The prompt text of a conversation.
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        options: &RenderOptions,
    ) -> Result<String, TemplateError> {
        let failed = |error: Error| {
            // An error inside of a macro or loop carries the first one as its cause.
            let mut cause = Some(&error as &dyn std::error::Error);
            while let Some(link) = cause {
                if let Some(error) = link.downcast_ref::<Error>() {
                    if error.detail() == Some(RAISED) {
                        return TemplateError::MessagesRefused;
                    }
                    if error.kind() == ErrorKind::OutOfFuel
                        || error.detail().is_some_and(|detail| detail.starts_with("recursion limit"))
                    {
                        return TemplateError::LimitExceeded;
                    }
                }
                cause = link.source();
            }
            TemplateError::Failed { line: error.line().unwrap_or(0) }
        };
        let variables = self.variables(messages, add_generation_prompt, options);
        let text = self.run(variables).map_err(failed)?;
        if text.len() > MAX_OUTPUT { Err(TemplateError::LimitExceeded) } else { Ok(text) }
    }

    fn variables(&self, messages: &[Message], add_generation_prompt: bool, options: &RenderOptions) -> Value {
        let messages: Value = messages
            .iter()
            .map(|message| {
                let fields = [("role", &message.role), ("content", &message.content)];
                let fields: BTreeMap<Value, Value> =
                    fields.map(|(name, text)| (Value::from(name), Value::from(text.as_str()))).into();
                // The kind of dictionary that templates make too.
                Value::from_object(fields)
            })
            .collect::<Vec<Value>>()
            .into();
        let mut variables: BTreeMap<String, Value> =
            options.variables.iter().map(|(name, value)| (name.clone(), Value::from(Serde(value)))).collect();
        let mut set = |name: &str, value: Value| variables.insert(name.to_owned(), value);
        set("messages", messages);
        set("add_generation_prompt", add_generation_prompt.into());
        if let Some(bos) = &self.bos {
            set("bos_token", bos.as_str().into());
        }
        if let Some(eos) = &self.eos {
            set("eos_token", eos.as_str().into());
        }
        if let Some(thinking) = options.enable_thinking {
            set("enable_thinking", thinking.into());
        }
        Value::from(variables)
    }

    /// Parsed anew each time: what is compiled borrows from the source, and a template is short.
    fn run(&self, variables: Value) -> Result<String, Error> {
        let template = machinery::parse(&self.source, NAME, self.syntax.clone())?;
        self.evaluate(&guard::guarded(&template), variables)
    }

    fn evaluate(&self, template: &Stmt<'_>, variables: Value) -> Result<String, Error> {
        let mut compiler = CodeGenerator::new(NAME, &self.source);
        compiler.compile_stmt(template);
        let (instructions, blocks) = compiler.finish();
        let mut text = String::new();
        let mut output = machinery::make_string_output(&mut text);
        machinery::eval(&self.environment, &instructions, variables, &blocks, &mut output, AutoEscape::None)?;
        drop(output);
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(list: &[(&str, &str)]) -> Vec<Message> {
        list.iter().map(|(role, content)| Message { role: (*role).into(), content: (*content).into() }).collect()
    }

    fn render(source: &str, list: &[(&str, &str)]) -> Result<String, TemplateError> {
        ChatTemplate::new(source, Some("<s>"), Some("</s>"))?.render(&messages(list), true, &RenderOptions::default())
    }

    #[test]
    fn blocks_are_trimmed_and_python_methods_work_as_in_the_libraries_that_templates_are_written_for() {
        let source = "{% for message in messages %}\n  {% if message.content.strip().startswith('a') %}\n\
            [{{ message['role'].upper() }}:{{ message.content.strip() }}]\n  {% endif %}\n{% endfor %}\n\
            {{ bos_token ~ eos_token }}{% if tools %}never{% endif %}{% if add_generation_prompt %}>{% endif %}";
        let text = render(source, &[("user", " abc "), ("assistant", "b")]).ok();
        assert_eq!(text.as_deref(), Some("[USER:abc]\n<s></s>>"));
    }

    #[test]
    fn a_template_can_refuse_messages() {
        let refused = render(
            "{% if messages|length > 1 %}{{ raise_exception('no: ' ~ messages[0].content) }}{% endif %}ok",
            &[("user", "secret"), ("user", "b")],
        );
        let Err(error) = refused else { panic!("it was admitted") };
        assert!(matches!(error, TemplateError::MessagesRefused));
        assert!(!error.to_string().contains("secret"));
        let inside = "{% macro f() %}{{ raise_exception('x') }}{% endmacro %}{{ f() }}";
        assert!(matches!(render(inside, &[]), Err(TemplateError::MessagesRefused)));
    }

    #[test]
    fn options_reach_the_template() {
        let template =
            ChatTemplate::new("{{ enable_thinking is defined }}/{{ enable_thinking }}/{{ tone }}", None, None);
        let template = template.unwrap();
        let options = RenderOptions {
            enable_thinking: Some(false),
            variables: [("tone".to_owned(), serde_json::json!("calm"))].into(),
        };
        assert_eq!(template.render(&[], true, &options).unwrap(), "True/False/calm");
        assert_eq!(template.render(&[], true, &RenderOptions::default()).unwrap(), "False//");
    }

    #[test]
    fn hostile_templates_run_into_limits() {
        for source in [
            "{% for a in range(10000) %}{% for b in range(10000) %}{{ b }}{% endfor %}{% endfor %}",
            "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
            "{{ 'a' * 1000000000 }}",
            "{{ 'aaaaaaaaaaaaaaaa'.replace('a', 'a' * 10000000) }}",
            "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
            "{{ range(100000)|list|join('x' * 100000) }}",
        ] {
            let result = render(source, &[("user", "hello")]);
            let limited = matches!(result, Err(TemplateError::LimitExceeded | TemplateError::Failed { .. }));
            assert!(limited, "{source} was rendered");
        }
    }

    #[test]
    fn what_does_not_parse_or_reaches_outside_is_refused() {
        assert!(matches!(render("a\n{% for %}", &[]), Err(TemplateError::Syntax { line: 2 })));
        assert!(
            render(&format!("{}1{}", "{{ ".to_owned() + &"(".repeat(5000), ")".repeat(5000) + " }}"), &[]).is_err()
        );
        assert!(render("{% include 'x' %}", &[]).is_err());
        assert!(matches!(render(&" ".repeat(MAX_SOURCE + 1), &[]), Err(TemplateError::LimitExceeded)));
    }
}
