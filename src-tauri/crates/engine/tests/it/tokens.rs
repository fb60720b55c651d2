use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use engine::gguf::{Array, File, Limits, Value};
use engine::{Detokenizer, Tokenizer};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::parity::{hex, models, recorded};

/// What `record/tokens.mjs` wrote.
#[derive(Deserialize)]
struct Recorded {
    model_sha256: String,
    texts_sha256: String,
    declarations_sha256: String,
    size: u32,
    ends: Vec<u32>,
    lines: usize,
    adds_bos: bool,
    adds_eos: bool,
    bos: Option<u32>,
    pieces: String,
    texts: String,
    characters: String,
    declarations: BTreeMap<String, String>,
    examples: Vec<Example>,
}

#[derive(Deserialize)]
struct Example {
    text: String,
    plain: Vec<u32>,
    special: Vec<u32>,
}

/// A vocabulary, a change to its file, and the recording that it is held against.
type Vocabulary = (&'static str, Option<(&'static str, Value)>, &'static str);

fn vocabularies() -> [Vocabulary; 7] {
    let (smollm2, qwen3) = ("SmolLM2-135M-Instruct.Q4_1.gguf", "vocabulary-qwen3.gguf");
    let (llama3, gemma3) = ("vocabulary-llama3.gguf", "vocabulary-gemma3.gguf");
    let pre = |name: &str| Some(("tokenizer.ggml.pre", Value::Text(name.to_owned())));
    [
        (smollm2, None, "tokens_smollm2.json"),
        (qwen3, None, "tokens_qwen3.json"),
        (llama3, None, "tokens_llama3.json"),
        (gemma3, None, "tokens_gemma3.json"),
        // No real vocabulary at hand is of these kinds.
        (qwen3, pre("gpt-2"), "tokens_gpt2.json"),
        (qwen3, pre("default"), "tokens_default.json"),
        (gemma3, Some((SPACE_PREFIX, Value::Bool(true))), "tokens_space_prefix.json"),
    ]
}

const SPACE_PREFIX: &str = "tokenizer.ggml.add_space_prefix";

/// A file of the folder of models. One that is not there is skipped, unless `CHRYSALIS_REQUIRE_VOCABULARIES` says that all are.
fn find(name: &str) -> Option<PathBuf> {
    let found = models().map(|folder| folder.join(name)).find(|path| path.exists());
    if found.is_none() {
        assert!(std::env::var_os("CHRYSALIS_REQUIRE_VOCABULARIES").is_none(), "{name} is not there");
        println!("skipped: no {name}; `cargo xtask model --vocabularies` fetches it");
    }
    found
}

/// Calls back with every vocabulary that is there and with what llama.cpp made of it.
fn each(check: impl Fn(&str, &Tokenizer, &Recorded)) {
    each_file(|name, tokenizer, recorded, _| check(name, tokenizer, recorded));
}

fn each_file(check: impl Fn(&str, &Tokenizer, &Recorded, &File)) {
    for (file, change, recording) in vocabularies() {
        let Some(path) = find(file) else { continue };
        let mut file = File::read(&mut std::fs::File::open(path).unwrap(), &Limits::default()).unwrap();
        let recorded: Recorded = recorded(recording);
        assert_eq!(hex(&file.sha256), recorded.model_sha256);
        if let Some((key, value)) = change {
            file.pairs.iter_mut().find(|(name, _)| name == key).unwrap().1 = value;
        }
        check(recording, &Tokenizer::from_file(&file).unwrap(), &recorded, &file);
    }
}

/// The recording's hash: ids as little-endian numbers, each text's followed by 2^32-1.
#[derive(Default)]
struct Ids(Sha256);

impl Ids {
    fn add(&mut self, ids: &[u32]) {
        for id in ids.iter().chain(&[u32::MAX]) {
            self.0.update(id.to_le_bytes());
        }
    }

    fn both(&mut self, tokenizer: &Tokenizer, text: &str) {
        self.add(&tokenizer.encode(text, false));
        self.add(&tokenizer.encode(text, true));
    }

    fn end(self, digits: usize) -> String {
        let mut hash = hex(&self.0.finalize());
        hash.truncate(digits);
        hash
    }
}

fn both(tokenizer: &Tokenizer, text: &str) -> String {
    let mut ids = Ids::default();
    ids.both(tokenizer, text);
    ids.end(8)
}

fn chunks(hashes: &str) -> impl Iterator<Item = &str> {
    (0..hashes.len() / 8).map(|at| &hashes[at * 8..at * 8 + 8])
}

#[test]
fn ids_of_two_thousand_texts_equal_llama_cpps_with_every_vocabulary() {
    let texts: Vec<String> = recorded("texts.json");
    assert!(texts.len() > 2000);
    each(|name, tokenizer, recorded| {
        assert_eq!(hash_of("texts.json"), recorded.texts_sha256);
        for Example { text, plain, special } in &recorded.examples {
            assert_eq!(tokenizer.encode(text, false), *plain, "{name}: {text:?}");
            assert_eq!(tokenizer.encode(text, true), *special, "{name}: {text:?}, special");
        }
        assert_eq!(chunks(&recorded.texts).count(), texts.len());
        let wrong = texts.iter().zip(chunks(&recorded.texts)).filter(|(text, hash)| both(tokenizer, text) != *hash);
        let wrong: Vec<&String> = wrong.map(|(text, _)| text).collect();
        assert!(wrong.is_empty(), "{name}: {} texts differ: {wrong:#?}", wrong.len());
    });
}

#[test]
fn ids_of_the_declaration_of_human_rights_in_five_hundred_languages_equal_llama_cpps() {
    let Some(path) = find("declarations.txt") else { return };
    let whole = std::fs::read_to_string(path).unwrap();
    let hash = hex(&Sha256::digest(&whole));
    let whole = format!("\n{whole}");
    each(|name, tokenizer, recorded| {
        assert_eq!(hash, recorded.declarations_sha256);
        let mut lines = 0;
        let mut wrong = Vec::new();
        let mut declarations = 0;
        for declaration in whole.split("\n=").skip(1) {
            let mut texts = declaration.lines();
            let language = texts.next().unwrap();
            let mut ids = Ids::default();
            for text in texts {
                ids.both(tokenizer, text);
                lines += 1;
            }
            declarations += 1;
            if ids.end(8) != recorded.declarations[language] {
                wrong.push(language);
            }
        }
        assert_eq!((declarations, lines), (532, recorded.lines));
        assert!(lines > 45_000);
        assert!(wrong.is_empty(), "{name}: {} declarations differ: {wrong:?}", wrong.len());
    });
}

#[test]
fn ids_of_nearly_all_characters_equal_llama_cpps() {
    each(|name, tokenizer, recorded| {
        // All planes with characters, without surrogates.
        let planes = (0..0xd800_u32).chain(0xe000..0x4_0000).chain(0xe_0000..0xe_1000);
        let blocks = planes.step_by(256);
        let mut wrong = Vec::new();
        let mut hashes = chunks(&recorded.characters);
        for block in blocks {
            let mut text = String::new();
            for character in (block..block + 256).filter_map(char::from_u32) {
                writeln!(text, "a{character} {character}b{character}1").unwrap();
            }
            if both(tokenizer, &text) != hashes.next().unwrap() {
                wrong.push(format!("{block:#x}"));
            }
        }
        assert!(hashes.next().is_none());
        assert!(wrong.is_empty(), "{name}: {} blocks differ: {wrong:?}", wrong.len());
    });
}

#[test]
fn pieces_ends_and_additions_equal_llama_cpps() {
    each(|name, tokenizer, recorded| {
        assert_eq!(tokenizer.vocabulary_size(), recorded.size, "{name}");
        let ends: Vec<u32> = (0..recorded.size).filter(|&token| tokenizer.is_end_of_generation(token)).collect();
        assert_eq!(ends, recorded.ends, "{name}");
        let mut pieces = Sha256::new();
        for token in 0..recorded.size {
            let piece = String::from_utf8_lossy(tokenizer.piece(token));
            // As in tokens.mjs, where each token is a text of its own.
            if !piece.match_indices(' ').any(|(at, _)| piece[at + 1..].starts_with(['?', '!', '.', ',', '\''])) {
                pieces.update(String::from_utf8_lossy(&tokenizer.decode(&[token])).as_bytes());
            }
            pieces.update([0]);
        }
        assert_eq!(hex(&pieces.finalize())[..16], recorded.pieces, "{name}");
        let prompt = tokenizer.encode_prompt("x", true);
        assert_eq!(prompt.first() == recorded.bos.as_ref(), recorded.adds_bos, "{name}");
        assert!(!recorded.adds_eos && prompt.len() == 1 + usize::from(recorded.adds_bos), "{name}");
    });
}

#[test]
fn every_text_comes_back_from_its_tokens() {
    let texts: Vec<String> = recorded("texts.json");
    each(|name, tokenizer, _| {
        for text in &texts {
            // Behind what Gemma looks for in any text, a space that was put there is not told from one that was not.
            if name == "tokens_space_prefix.json" && (text.contains("  ") || text.contains(['\n', '\t', '<', '['])) {
                continue;
            }
            let tokens = tokenizer.encode(text, false);
            // SentencePiece has a character for the space, and takes it for one where a text has it.
            let is_sentence_piece = ["tokens_gemma3.json", "tokens_space_prefix.json"].contains(&name);
            let wanted = if is_sentence_piece { text.replace('\u{2581}', " ") } else { text.clone() };
            assert_eq!(String::from_utf8_lossy(&tokenizer.decode(&tokens)), wanted, "{name}");
            // The same token by token, where nothing precedes it.
            let mut detokenizer = Detokenizer::default();
            let mut streamed: String = tokens.iter().map(|&token| detokenizer.push(tokenizer.piece(token))).collect();
            streamed.push_str(&detokenizer.finish());
            let before = if name == "tokens_space_prefix.json" { " " } else { "" };
            assert_eq!(streamed.strip_prefix(before), Some(wanted.as_str()), "{name}");
        }
    });
}

#[test]
fn no_text_becomes_a_control_token_unless_that_is_asked_for() {
    const CONTROL: i32 = 3;
    each_file(|name, tokenizer, _, file| {
        let Some(Value::Array(Array::I32(kinds))) = file.get("tokenizer.ggml.token_type") else { panic!("{name}") };
        let texts = file.get("tokenizer.ggml.tokens").and_then(Value::texts).unwrap();
        let mut controls = 0;
        for (text, token) in texts.iter().zip(0_u32..).filter(|&(_, token)| kinds[token as usize] == CONTROL) {
            assert_eq!(tokenizer.encode(text, true), [token], "{name}: {text}");
            for text in [text.clone(), format!("{text}{text}"), format!("x{text} ")] {
                let tokens = tokenizer.encode(&text, false);
                assert!(tokens.iter().all(|&token| kinds[token as usize] != CONTROL), "{name}: {text}");
            }
            controls += 1;
        }
        assert!(controls > 10, "{name}: {controls}");
    });
}

#[test]
fn a_megabyte_of_any_kind_takes_seconds_at_most() {
    let texts: Vec<String> = recorded("texts.json");
    each(|name, tokenizer, recorded| {
        // Those that are changed have no examples.
        if recorded.examples.is_empty() {
            return;
        }
        let mixed: String = texts.iter().cycle().take(20_000).map(String::as_str).collect();
        let mut long = vec![mixed[..mixed.floor_char_boundary(1 << 20)].to_owned()];
        for unit in ["a", " ", "\n", "!", "<unused", "\u{2581}", "the "] {
            long.push(unit.repeat((1 << 20) / unit.len()));
        }
        for text in long {
            let started = std::time::Instant::now();
            let tokens = tokenizer.encode(&text, true);
            let took = started.elapsed();
            println!("{name}: {:?}…: {took:?}, {} tokens", text.chars().take(8).collect::<String>(), tokens.len());
            // Quadratic time would be an hour.
            assert!(took.as_secs() < 30, "{name}: {took:?}");
        }
    });
}

fn hash_of(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/engine");
    hex(&Sha256::digest(std::fs::read(folder.join(name)).unwrap()))
}
