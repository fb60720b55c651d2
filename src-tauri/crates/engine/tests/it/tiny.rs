use std::path::Path;

use engine::gguf::Limits;
use engine::{Model, synthetic};

pub(crate) fn tiny() -> Model {
    Model::read(&mut synthetic::tiny().as_slice(), Limits::default()).unwrap()
}

/// When the generator is changed on purpose, run with `WRITE_FIXTURES=1` and commit what it wrote.
#[test]
fn the_generator_still_makes_the_committed_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/models/tiny.gguf");
    let made = synthetic::tiny();
    if std::env::var_os("WRITE_FIXTURES").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    assert!(std::fs::read(&path).unwrap() == made, "{} differs from what the generator makes", path.display());
    assert!((500_000..1_500_000).contains(&made.len()), "{} bytes", made.len());
}

#[test]
fn the_tiny_model_has_what_a_model_has() {
    let model = tiny();
    assert_eq!(model.name(), Some("Chrysalis Tiny"));
    assert_eq!(model.architecture(), "llama");
    assert_eq!(model.context_length(), 4096);
    assert_eq!(model.quantisation(), "F32", "most bytes of its layers");
    let tokenizer = model.tokenizer();
    assert_eq!(tokenizer.vocabulary_size(), 512);
    assert!(
        tokenizer.is_end_of_generation(2) && tokenizer.is_end_of_generation(0) && !tokenizer.is_end_of_generation(1)
    );
    assert_eq!(tokenizer.bos_text(), Some("<|im_start|>"));
    let text = "the word of the day: naïve 🦊 123\n\n  and\ttabs";
    let tokens = tokenizer.encode(text, false);
    assert_eq!(tokenizer.decode(&tokens), text.as_bytes());
    assert!(tokens.len() < text.len(), "merges are used");
    assert_eq!(tokenizer.encode("<|im_start|>", true), [1]);
    assert!(tokenizer.encode("<|im_start|>", false).len() > 1);
}

#[test]
fn long_words_and_deserts_of_spaces_take_no_more_than_their_share_of_time() {
    let tokenizer = tiny().tokenizer();
    for text in
        ["a".repeat(300_000), " ".repeat(300_000), "the ".repeat(75_000), "🦊".repeat(75_000), "1".repeat(300_000)]
    {
        // Quadratic time would be hours.
        let tokens = tokenizer.encode(&text, true);
        assert_eq!(tokenizer.decode(&tokens), text.as_bytes());
    }
}

#[test]
fn any_text_comes_back_from_its_tokens() {
    let tokenizer = tiny().tokenizer();
    for text in [
        "",
        " ",
        "\0",
        "a\u{300}",
        "\r\n\r\n",
        "  x  ",
        "don't I'LL",
        "\u{feff}bom",
        "<|im_start|",
        "½Ⅷ٣",
        "\u{a0}\u{3000}x",
    ] {
        for parse_special in [false, true] {
            assert_eq!(tokenizer.decode(&tokenizer.encode(text, parse_special)), text.as_bytes(), "{text:?}");
        }
    }
}
