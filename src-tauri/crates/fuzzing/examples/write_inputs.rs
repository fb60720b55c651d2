//! Writes those inputs of the fuzzers that are made rather than recorded, over those in `tests/fixtures/fuzz`.

use std::path::Path;

use fuzzing::tiny::{Tiny, byte_tokens};

const TEMPLATE: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + \
    '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

fn main() -> std::io::Result<()> {
    let inputs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/fuzz");
    for (name, file) in models() {
        std::fs::write(inputs.join("gguf").join(name), file)?;
    }
    Ok(())
}

/// Models of few tokens, and the container alone.
fn models() -> Vec<(&'static str, Vec<u8>)> {
    let all = byte_tokens();
    // What the fuzzer's prompt is made of, a merge, and two control tokens.
    let few: Vec<String> = all
        .iter()
        .filter(|token| "\u{120}Saythewordhe<|im_start|>42.<|im_end|>".contains(token.as_str()))
        .cloned()
        .collect();
    let plain = Tiny { tokens: &few, controls: 2, merges: &["h e"], template: TEMPLATE };
    let odd = Tiny { tokens: &few[..3], controls: 1, merges: &[], template: "{{ raise_exception('no') }}" };
    let empty = Tiny { tokens: &[], controls: 0, merges: &[], template: "" };
    vec![("model", plain.bytes()), ("model_of_three_tokens", odd.bytes()), ("model_without_tokens", empty.bytes())]
}
