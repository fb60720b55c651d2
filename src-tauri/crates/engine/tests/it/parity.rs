use std::fs::File;
use std::path::{Path, PathBuf};

use engine::gguf::Limits;
use engine::{Engine, Message, Model, Options, RenderOptions, Request, Sampling};
use serde::Deserialize;

/// The model that the recordings were made with, from `$MODELS` or the user's cache; `None` prints that it is not there.
pub(crate) fn model() -> Option<Model> {
    let name = "SmolLM2-135M-Instruct.Q4_1.gguf";
    let Some(mut file) = models().find_map(|folder| File::open(folder.join(name)).ok()) else {
        println!("skipped: no model");
        return None;
    };
    let model = Model::read(&mut file, Limits::default()).unwrap();
    assert_eq!(hex(&model.sha256()), "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53");
    assert_eq!(model.quantisation(), "Q4_1");
    Some(model)
}

/// Where models are: `$MODELS`, then the user's cache.
pub(crate) fn models() -> impl Iterator<Item = PathBuf> {
    let cache = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/chrysalis/models"));
    [std::env::var_os("MODELS").map(PathBuf::from), cache].into_iter().flatten()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

pub(crate) fn recorded<T: for<'de> Deserialize<'de>>(name: &str) -> T {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/engine");
    serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
}

#[derive(Deserialize)]
struct Greedy {
    prompts: Vec<Prompt>,
}

#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names are the recording's")]
struct Prompt {
    name: String,
    text: String,
    prompt_tokens: Vec<u32>,
    tokens: Vec<u32>,
    generated: String,
}

#[derive(Deserialize)]
struct Tokenized {
    texts: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    text: String,
    plain: Vec<u32>,
    special: Vec<u32>,
}

#[test]
fn greedy_tokens_of_twenty_prompts_equal_llama_cpps() {
    let Some(model) = model() else { return };
    let recorded: Greedy = recorded("greedy_smollm2.json");
    assert_eq!(recorded.prompts.len(), 20);
    let tokenizer = model.tokenizer();
    let mut engine = Engine::new(model, Options { threads: 2, context: 512, max_sequences: 20 }).unwrap();
    // All at a time: what is in a batch must not matter.
    let mut running = Vec::new();
    for prompt in &recorded.prompts {
        assert_eq!(tokenizer.encode_prompt(&prompt.text, true), prompt.prompt_tokens, "{}", prompt.name);
        let request = Request {
            prompt: prompt.prompt_tokens.clone(),
            sampling: Sampling { temperature: 0.0, ..Sampling::default() },
            stop: Vec::new(),
            max_tokens: 48,
            constraint: None,
        };
        running.push((engine.add(request).unwrap(), prompt, Vec::new(), Vec::new()));
    }
    while engine.running() > 0 {
        for output in engine.step() {
            let (_, _, tokens, text) = running.iter_mut().find(|(id, ..)| *id == output.sequence).unwrap();
            tokens.extend(output.token.filter(|&token| !tokenizer.is_end_of_generation(token)));
            text.extend(output.text);
        }
    }
    let mut wrong = Vec::new();
    for (_, prompt, tokens, text) in &running {
        if *tokens == prompt.tokens {
            assert_eq!(
                String::from_utf8_lossy(text).trim_end_matches('\u{fffd}'),
                prompt.generated.trim_end_matches('\u{fffd}')
            );
        } else {
            let same = tokens.iter().zip(&prompt.tokens).take_while(|(ours, theirs)| ours == theirs).count();
            wrong.push(format!("{}: differs after {same} tokens", prompt.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn token_ids_of_hundreds_of_lines_equal_llama_cpps() {
    let Some(model) = model() else { return };
    let recorded: Tokenized = recorded("tokenizer_smollm2.json");
    assert!(recorded.texts.len() > 300);
    let tokenizer = model.tokenizer();
    for line in &recorded.texts {
        assert_eq!(tokenizer.encode(&line.text, false), line.plain, "{:?}", line.text);
        assert_eq!(tokenizer.encode(&line.text, true), line.special, "{:?}, special", line.text);
    }
}

#[test]
fn the_models_own_template_gives_the_prompt_that_was_recorded() {
    let Some(model) = model() else { return };
    let recorded: Greedy = recorded("greedy_smollm2.json");
    let template = model.chat_template().unwrap();
    let message = |role: &str, content: &str| Message { role: role.to_owned(), content: content.to_owned() };
    let render = |messages: &[Message]| template.render(messages, true, &RenderOptions::default()).unwrap();
    let wanted = |name: &str| &recorded.prompts.iter().find(|prompt| prompt.name == name).unwrap().text;
    // Without a system message the template puts its own there.
    let question = message("user", "Explain in a few sentences why the sky is blue.");
    assert_eq!(render(&[question]), *wanted("chat question"));
    let list = [message("system", "You answer with lists."), message("user", "Name ten animals that live in the sea.")];
    assert_eq!(render(&list), *wanted("chat list"));
    // What a customer writes can look like a special token in the text; whether it becomes one is up to `parse_special`.
    assert_eq!(model.tokenizer().encode("<|im_end|>", true), [2]);
    assert!(!model.tokenizer().encode("<|im_end|>", false).contains(&2));
}
