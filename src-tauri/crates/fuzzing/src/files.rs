//! A model file of unknown origin: the container, the vocabulary, the chat template, and the numbers it computes with; and the
//! schema that a customer wants an answer to have.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::constraint::{Grammar, Matcher, SchemaError, Vocabulary};
use engine::gguf::{File, Limits};
use engine::tune::{Choice, MAX_BYTES};
use engine::{ChatTemplate, Detokenizer, Engine, Finish, Message, Model, Options, RenderOptions, Request, Sampling};

use crate::tiny::{Kind, Tiny, byte_tokens, sentence_piece_tokens};

/// The bytes as a GGUF file. One that is a whole model is also put to work.
pub fn gguf(data: &[u8]) {
    // A caller that knows the length says so; one that does not must not be fooled either.
    let known = Limits { file_bytes: data.len() as u64, ..Limits::default() };
    let read = File::read(&mut &*data, &known);
    let reread = File::read(&mut &*data, &Limits::default());
    assert!(read.is_ok() || reread.is_err(), "a file is refused only for its known length");
    if let Ok(file) = read {
        let held: usize = file.tensors.iter().map(|tensor| tensor.bytes.len()).sum();
        assert!(held <= data.len(), "{held} bytes of weights came out of {} bytes", data.len());
    }
    let Ok(model) = Model::read(&mut &*data, Limits::default()) else { return };
    let tokenizer = model.tokenizer();
    let mut prompt = tokenizer.encode_prompt("Say the word 42.", true);
    assert!(prompt.iter().all(|token| *token < tokenizer.vocabulary_size()), "a token that is not in the vocabulary");
    prompt.truncate(6);
    if let Some(template) = model.chat_template() {
        let messages = [Message { role: "user".to_owned(), content: "Hello".to_owned() }];
        drop(template.render(&messages, true, &RenderOptions::default()));
    }
    let Ok(mut engine) = Engine::new(model, Options { threads: 1, context: 16, max_sequences: 1 }) else { return };
    let request = Request {
        prompt,
        sampling: Sampling::default(),
        stop: vec!["stop".to_owned()],
        max_tokens: 3,
        constraint: None,
    };
    if engine.add(request).is_err() {
        return;
    }
    for _ in 0..16 {
        for output in engine.step() {
            assert!(output.usage.completion <= 3, "more tokens than asked for");
            if output.finished == Some(Finish::Length) {
                assert!(output.usage.completion == 3, "cut before its length");
            }
        }
        if engine.running() == 0 {
            return;
        }
    }
    panic!("an answer of 3 tokens takes more than 16 steps");
}

/// The first byte chooses a small vocabulary; the others are a text, and token ids, for it.
pub fn tokenizer(data: &[u8]) {
    let (choice, data) = data.split_first().map_or((0, data), |(choice, data)| (*choice, data));
    let bpe = |pre| Kind::Bpe { pre, merges: &["h e", "l l", "he ll", "\u{120} t"] };
    let kind = match choice % 7 {
        0 => bpe("smollm"),
        1 => bpe("qwen2"),
        2 => bpe("llama-bpe"),
        3 => bpe("gpt-2"),
        4 => bpe("default"),
        5 => Kind::SentencePiece { space_before: false },
        _ => Kind::SentencePiece { space_before: true },
    };
    let space_before = matches!(kind, Kind::SentencePiece { space_before: true });
    let is_sentence_piece = matches!(kind, Kind::SentencePiece { .. });
    let tokens = if is_sentence_piece { sentence_piece_tokens() } else { byte_tokens() };
    let tiny = Tiny { tokens: &tokens, controls: 2, kind, template: "" };
    let model = match Model::read(&mut tiny.bytes().as_slice(), Limits::default()) {
        Ok(model) => model,
        Err(error) => panic!("the tokenizer's own model is refused: {error}"),
    };
    let tokenizer = model.tokenizer();
    let mut text = String::from_utf8_lossy(data).into_owned();
    if is_sentence_piece {
        // Its own character for a space means a space wherever it stands.
        text = text.replace('\u{2581}', " ");
    }
    let ids = tokenizer.encode(&text, false);
    assert!(tokenizer.decode(&ids) == text.as_bytes(), "text does not come back from its tokens");
    assert!(ids.len() <= text.len() + usize::from(space_before), "more tokens than bytes");
    let written = detokenized(ids.iter().map(|id| tokenizer.piece(*id)));
    let before = if space_before && !text.is_empty() { " " } else { "" };
    assert!(written.strip_prefix(before) == Some(&text), "text does not come back piece by piece");
    let special = tokenizer.encode(&text, true);
    assert!(special.len() <= ids.len(), "special tokens made a text longer");

    let ids: Vec<u32> = data.iter().map(|byte| u32::from(*byte) * 2).collect();
    let bytes = tokenizer.decode(&ids);
    let written = detokenized(ids.iter().map(|id| tokenizer.piece(*id)));
    let written = written.strip_prefix(' ').filter(|_| space_before).unwrap_or(&written);
    assert!(written == String::from_utf8_lossy(&bytes), "a stream of pieces is not the text of all of them");
}

fn detokenized<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> String {
    let mut detokenizer = Detokenizer::default();
    let mut text: String = pieces.map(|piece| detokenizer.push(piece)).collect();
    text.push_str(&detokenizer.finish());
    text
}

/// The bytes as a chat template and a conversation: up to the first zero byte the template, then one message after each
/// further zero byte.
pub fn chat_template(data: &[u8]) {
    let mut parts = data.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let source = parts.next().unwrap_or_default();
    let Ok(template) = ChatTemplate::new(&source, Some("<s>"), Some("</s>")) else { return };
    let roles = ["system", "user", "assistant"].into_iter().cycle();
    let messages: Vec<Message> = parts
        .zip(roles)
        .map(|(content, role)| Message { role: role.to_owned(), content: content.into_owned() })
        .collect();
    let variables = BTreeMap::from([("tools".to_owned(), serde_json::json!([{"name": "f"}, null, 1.5]))]);
    for (prompt, options) in
        [(true, RenderOptions::default()), (false, RenderOptions { enable_thinking: Some(false), variables })]
    {
        drop(template.render(&messages, prompt, &options));
    }
}

/// Most tokens of an answer.
const MOST_TOKENS: usize = 200;

/// The bytes as a schema, up to the first zero byte, and behind it as an answer: each byte chooses one of the tokens that may come.
pub fn constraint(data: &[u8]) {
    let (schema, choices) = data.split_at(data.iter().position(|byte| *byte == 0).unwrap_or(data.len()));
    let schema = String::from_utf8_lossy(schema);
    let grammar = match Grammar::of_schema(&schema) {
        Ok(grammar) => Arc::new(grammar),
        Err(error) => {
            assert!(error.message().len() < 1024, "a refusal longer than need be");
            let valid = serde_json::from_str::<serde_json::Value>(&schema).is_ok();
            assert!(valid || !matches!(error, SchemaError::Unsupported { .. }), "a keyword in what is no JSON");
            return;
        }
    };
    let tokens = byte_tokens();
    let tiny = Tiny { tokens: &tokens, controls: 2, kind: Kind::Bpe { pre: "smollm", merges: &[] }, template: "" };
    let Ok(model) = Model::read(&mut tiny.bytes().as_slice(), Limits::default()) else { return };
    let tokenizer = model.tokenizer();
    let mut matcher = Matcher::new(grammar, Arc::new(Vocabulary::new(Arc::clone(&tokenizer))));
    let mut answer = Vec::new();
    for choice in choices.iter().skip(1).take(MOST_TOKENS) {
        if matcher.is_finished() {
            break;
        }
        let mask = matcher.mask();
        let admitted: Vec<u32> = (0..tokenizer.vocabulary_size()).filter(|token| mask.admits(*token)).collect();
        let Some(&token) = admitted.get(usize::from(*choice) % admitted.len().max(1)) else {
            panic!("no token may follow, though every byte is one");
        };
        if tokenizer.is_end_of_generation(token) {
            assert!(matcher.is_complete(), "an end before the end");
            break;
        }
        assert!(matcher.advance(token), "a token that was admitted is not taken");
        answer.extend_from_slice(tokenizer.piece(token));
    }
    if matcher.is_complete() {
        let value = serde_json::from_slice::<serde_json::Value>(&answer);
        assert!(value.is_ok(), "what is complete is no JSON");
    }
}

/// What an earlier start found out about a graphics card. What is taken is written as something that is taken again.
pub fn card_choice(bytes: &[u8]) {
    let Ok(choice) = Choice::from_bytes(bytes) else { return };
    let written = choice.to_bytes();
    // Characters that JSON spells out may make it longer than it may be.
    if written.len() <= MAX_BYTES {
        assert_eq!(Choice::from_bytes(&written), Ok(choice));
    }
}
