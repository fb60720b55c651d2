use engine::gguf::{Array, File, Value};
use engine::{Detokenizer, Tokenizer, TokenizerError};

const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;

/// A file of a vocabulary alone.
fn file(model: &str, tokens: &[(&str, i32)], more: Vec<(&str, Value)>) -> File {
    let texts = tokens.iter().map(|(text, _)| (*text).to_owned()).collect();
    let kinds = tokens.iter().map(|(_, kind)| *kind).collect();
    let pairs = [
        ("tokenizer.ggml.model", Value::Text(model.to_owned())),
        ("tokenizer.ggml.tokens", Value::Array(Array::Text(texts))),
        ("tokenizer.ggml.token_type", Value::Array(Array::I32(kinds))),
    ];
    let pairs = pairs.into_iter().chain(more).map(|(key, value)| (key.to_owned(), value)).collect();
    File { pairs, tensors: Vec::new(), sha256: [0; 32] }
}

/// SentencePiece in which the earlier token has the better score.
fn sentence_piece(tokens: &[(&str, i32)], mut more: Vec<(&str, Value)>) -> File {
    let scores = (0..tokens.len()).map(|at| -(at as f32)).collect();
    more.push(("tokenizer.ggml.scores", Value::Array(Array::F32(scores))));
    file("llama", tokens, more)
}

fn byte_level(pre: &str, tokens: &[(&str, i32)], merges: &[&str]) -> File {
    let merges = merges.iter().map(|&merge| merge.to_owned()).collect();
    let pre = ("tokenizer.ggml.pre", Value::Text(pre.to_owned()));
    file("gpt2", tokens, vec![pre, ("tokenizer.ggml.merges", Value::Array(Array::Text(merges)))])
}

fn read(file: &File) -> Tokenizer {
    Tokenizer::from_file(file).unwrap()
}

fn refused(file: &File) -> TokenizerError {
    match Tokenizer::from_file(file) {
        Ok(_) => panic!("it was accepted"),
        Err(error) => error,
    }
}

const PIECES: [(&str, i32); 14] = [
    ("<unk>", UNKNOWN),
    ("<s>", CONTROL),
    ("</s>", CONTROL),
    ("<0xC3>", BYTE),
    ("<0xA9>", BYTE),
    ("\u{2581}ab", NORMAL),
    ("ab", NORMAL),
    ("\u{2581}", NORMAL),
    ("a", NORMAL),
    ("b", NORMAL),
    ("<tool>", USER_DEFINED),
    ("<", NORMAL),
    ("s>", NORMAL),
    ("<0x1F>", UNUSED),
];

#[test]
fn sentence_piece_puts_a_space_at_the_beginning_and_behind_special_tokens() {
    let tokenizer = read(&sentence_piece(&PIECES, Vec::new()));
    assert_eq!(tokenizer.encode("ab ab", false), [5, 5]);
    assert_eq!(tokenizer.encode("ab<s>ab", true), [5, 1, 5]);
    assert_eq!(tokenizer.encode("ab<tool>ab<tool>", false), [5, 10, 5, 10]);
    assert_eq!(tokenizer.encode("<unk>", true), [0]);
    // A prompt begins with token 1 unless the file says something else, and does so once.
    assert_eq!(tokenizer.encode_prompt("ab", false), [1, 5]);
    assert_eq!(tokenizer.encode_prompt("<s>ab", true), [1, 5]);
    assert_eq!((tokenizer.bos_text(), tokenizer.eos_text()), (Some("<s>"), Some("</s>")));
    assert_eq!(tokenizer.decode(&tokenizer.encode_prompt(" ab ab", false)), b" ab ab");

    let no = |key| (key, Value::Bool(false));
    let flags = vec![
        no("tokenizer.ggml.add_space_prefix"),
        no("tokenizer.ggml.add_bos_token"),
        ("tokenizer.ggml.add_eos_token", Value::Bool(true)),
    ];
    let tokenizer = read(&sentence_piece(&PIECES, flags));
    assert_eq!(tokenizer.encode("ab ab", false), [6, 5]);
    assert_eq!(tokenizer.encode_prompt("ab", false), [6, 2]);
    assert_eq!(tokenizer.encode_prompt("ab</s>", true), [6, 2]);
    assert_eq!(tokenizer.decode(&[5, 6]), b" abab");
}

#[test]
fn what_sentence_piece_has_no_token_for_becomes_bytes_and_comes_back_whole() {
    let flags = vec![("tokenizer.ggml.unknown_token_id", Value::U32(0))];
    let tokenizer = read(&sentence_piece(&PIECES, flags));
    let tokens = tokenizer.encode("aéb", false);
    assert_eq!(tokens, [7, 8, 3, 4, 9]);
    let mut detokenizer = Detokenizer::default();
    let texts: Vec<String> = tokens.iter().map(|&token| detokenizer.push(tokenizer.piece(token))).collect();
    assert_eq!(texts, [" ", "a", "", "é", "b"]);
    // Bytes without a token are the unknown one, which says nothing; so do control tokens, unused ones, and what is none.
    assert_eq!(tokenizer.encode("\n", false), [7, 0]);
    for silent in [0, 1, 13, 99] {
        assert_eq!(tokenizer.piece(silent), b"", "{silent}");
    }
    // Without an unknown token they are left out.
    assert_eq!(read(&sentence_piece(&PIECES, Vec::new())).encode("\n", false), [7]);
}

#[test]
fn letters_never_come_to_a_control_token() {
    // "<" and "s>" are tokens, and so is what they make together.
    let tokenizer = read(&sentence_piece(&PIECES, Vec::new()));
    let tokens = tokenizer.encode("<s>", false);
    assert!(!tokens.contains(&1), "{tokens:?}");
    // A whole word of Llama 3's.
    let tokenizer = read(&byte_level("llama-bpe", &[("a", NORMAL), ("b", NORMAL), ("ab", CONTROL)], &[]));
    assert_eq!(tokenizer.encode("ab", false), [0, 1]);
    assert_eq!(tokenizer.encode("ab", true), [2]);
}

#[test]
fn words_that_are_tokens_are_taken_whole_where_the_vocabulary_wants_that() {
    let tokens = [("a", NORMAL), ("b", NORMAL), ("\u{120}", NORMAL), ("\u{120}ab", NORMAL), ("é", NORMAL)];
    let llama3 = read(&byte_level("llama-bpe", &tokens, &[]));
    assert_eq!(llama3.encode("ab ab", false), [0, 1, 3]);
    let qwen = read(&byte_level("qwen2", &tokens, &[]));
    assert_eq!(qwen.encode("ab ab", false), [0, 1, 2, 0, 1]);
    // In GPT-2's spelling the token é is the byte 0xe9, not the letter.
    assert!(llama3.encode("é", false).is_empty());
    assert_eq!(llama3.piece(4), [0xe9]);
}

#[test]
fn tokens_that_are_known_by_their_text_are_control_tokens_whatever_the_file_says() {
    let tokens = [
        ("<|im_end|>", NORMAL),
        ("<|fim_prefix|>", USER_DEFINED),
        ("<|file_sep|>", USER_DEFINED),
        ("<x>", USER_DEFINED),
    ];
    let tokenizer = read(&byte_level("qwen2", &tokens, &[]));
    let text = "<|im_end|><|fim_prefix|><|file_sep|><x>";
    assert_eq!(tokenizer.encode(text, true), [0, 1, 2, 3]);
    assert_eq!(tokenizer.encode(text, false), [3]);
    assert_eq!([0, 1, 2, 3].map(|token| tokenizer.is_end_of_generation(token)), [true, false, true, false]);
    assert_eq!(tokenizer.decode(&[0, 1, 2, 3]), b"<x>");
    // A file that names another token knows better.
    let mut file = byte_level("qwen2", &tokens, &[]);
    file.pairs.push(("tokenizer.ggml.fim_pre_token_id".to_owned(), Value::U32(3)));
    assert_eq!(read(&file).encode("<|fim_prefix|>", false), [1]);
}

#[test]
fn other_kinds_and_ways_are_refused_by_name() {
    let tokens = [("a", NORMAL)];
    for kind in ["bert", "t5", "rwkv", "gemma4", ""] {
        assert!(
            matches!(refused(&file(kind, &tokens, Vec::new())), TokenizerError::UnsupportedKind { kind: named } if named == kind)
        );
    }
    for pre in ["gpt-4o", "deepseek-v3", "tekken", "Qwen2", ""] {
        let error = refused(&byte_level(pre, &tokens, &[]));
        assert!(matches!(error, TokenizerError::UnsupportedPreTokenizer { ref name } if name == pre), "{error}");
    }
    for pre in ["smollm", "qwen2", "llama-bpe", "llama3", "llama-v3", "gpt-2", "default"] {
        assert_eq!(read(&byte_level(pre, &tokens, &[])).encode("a", false), [0]);
    }
}

#[test]
fn vocabularies_that_contradict_themselves_or_cost_too_much_are_refused() {
    let long = "x".repeat(2000);
    let error = refused(&sentence_piece(&[("a", NORMAL), (&long, NORMAL)], Vec::new()));
    assert!(matches!(error, TokenizerError::TooLong { token: 1, bytes: 2000 }), "{error}");
    let error = refused(&byte_level("qwen2", &[("a", NORMAL), (&long, USER_DEFINED)], &[]));
    assert!(matches!(error, TokenizerError::TooLong { token: 1, bytes: 2000 }), "{error}");
    // As a token of many bytes that is not looked for it does no harm.
    assert_eq!(read(&byte_level("qwen2", &[("x", NORMAL), (&long, NORMAL)], &[])).encode(&long, true).len(), 2000);

    let names: Vec<String> = (0..70_000).map(|number| format!("<{number}>")).collect();
    let many: Vec<(&str, i32)> = names.iter().map(|name| (name.as_str(), CONTROL)).collect();
    assert!(matches!(refused(&byte_level("qwen2", &many, &[])), TokenizerError::TooManySpecial { count: 70_000 }));

    let error = refused(&file("llama", &PIECES, Vec::new()));
    assert!(matches!(error, TokenizerError::Missing { key: "tokenizer.ggml.scores" }), "{error}");
    let scores = Value::Array(Array::F32(vec![0.0; 3]));
    let error = refused(&file("llama", &PIECES, vec![("tokenizer.ggml.scores", scores)]));
    assert!(matches!(error, TokenizerError::ScoreCount { tokens: 14, scores: 3 }), "{error}");
    let error = refused(&sentence_piece(&PIECES, vec![("tokenizer.ggml.bos_token_id", Value::U32(14))]));
    assert!(matches!(error, TokenizerError::OutOfRange { key: "tokenizer.ggml.bos_token_id" }), "{error}");
    assert!(matches!(refused(&byte_level("qwen2", &[], &[])), TokenizerError::Size { count: 0 }));
    // So small that the usual numbers of special tokens are not in it.
    assert_eq!(read(&sentence_piece(&[("a", NORMAL)], Vec::new())).encode_prompt("a", true), [0]);
}
