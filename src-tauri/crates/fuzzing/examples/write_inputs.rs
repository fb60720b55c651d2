//! Writes those inputs of the fuzzers that are made rather than recorded, over those in `tests/fixtures/fuzz`.

use std::path::Path;

use accounting::{Endpoint, JobId};
use fuzzing::tiny::{Kind, Tiny, byte_tokens, sentence_piece_tokens};
use link::frame::{encode_control, encode_credit, encode_data};
use link::message::StartedJob;
use link::{FromWorker, LaneId, ToWorker};

const TEMPLATE: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + \
    '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

fn main() -> std::io::Result<()> {
    let inputs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/fuzz");
    for (name, file) in models() {
        std::fs::write(inputs.join("gguf").join(name), file)?;
    }
    for (name, pieces, bytes) in pipes() {
        // The first byte is the length of the pieces in which the rest arrives.
        std::fs::write(inputs.join("link_frames").join(name), [&[pieces], &bytes[..]].concat())?;
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
    let bpe = |pre| Kind::Bpe { pre, merges: &["h e"] };
    let plain = Tiny { tokens: &few, controls: 2, kind: bpe("smollm"), template: TEMPLATE };
    let odd = Tiny { tokens: &few[..3], controls: 1, kind: Kind::PLAIN, template: "{{ raise_exception('no') }}" };
    let empty = Tiny { tokens: &[], controls: 0, kind: Kind::PLAIN, template: "" };
    let llama3 = Tiny { kind: bpe("llama-bpe"), template: "", ..plain };
    // Few bytes, and all that is longer.
    let pieces: Vec<String> = sentence_piece_tokens()
        .into_iter()
        .filter(|token| !token.starts_with("<0x") || token.ends_with("0>"))
        .collect();
    let kind = Kind::SentencePiece { space_before: true };
    let pieces = Tiny { tokens: &pieces, controls: 2, kind, template: "" };
    vec![
        ("model", plain.bytes()),
        ("model_of_three_tokens", odd.bytes()),
        ("model_without_tokens", empty.bytes()),
        ("model_with_words_of_llama_3", llama3.bytes()),
        ("model_with_sentence_piece", pieces.bytes()),
    ]
}

/// Both directions of the pipe.
fn pipes() -> Vec<(&'static str, u8, Vec<u8>)> {
    let lane = LaneId(3);
    let to = [
        ToWorker::Hello { build: link::BUILD.to_owned() },
        ToWorker::OpenLane { lane, known_key: Some([7; 32]), unix_ms: 1_795_000_000_000 },
        ToWorker::OpenLane { lane: LaneId(u32::MAX), known_key: None, unix_ms: i64::MIN },
        ToWorker::SetEnabled(true),
        ToWorker::SetCoefficient(-1),
        ToWorker::LaneClosed { lane },
        ToWorker::Yield,
    ];
    let started = StartedJob {
        id: JobId([2; 32]),
        endpoint: Endpoint::Chat,
        streamed: true,
        coefficient: 1_000,
        started_unix_ms: 1_795_000_000_000,
    };
    let from = [
        FromWorker::Hello { build: link::BUILD.to_owned() },
        FromWorker::Enabled(false),
        FromWorker::JobStarted { lane, job: started, active: 1 },
        FromWorker::Payment { lane, boc: vec![1; 180], db_tokens: -5, max_tokens: 9, request: Some(([2; 32], 134)) },
        FromWorker::Yielded,
    ];
    let control = |frames: Vec<Result<Vec<u8>, _>>| frames.into_iter().flatten().flatten().collect::<Vec<u8>>();
    let mut lanes = encode_data(lane, b"ciphertext").unwrap_or_default();
    lanes.extend(encode_credit(lane, 65_536));
    lanes.extend(encode_data(lane, &[0x17; 700]).unwrap_or_default());
    let mut mixed = control(to.iter().map(encode_control).collect());
    mixed.extend(&lanes);
    vec![
        ("to_worker", 64, control(to.iter().map(encode_control).collect())),
        ("from_worker", 7, control(from.iter().map(encode_control).collect())),
        ("lanes", 255, lanes),
        ("mixed_byte_by_byte", 1, mixed),
        ("too_long", 255, vec![0xff, 0xff, 0xff, 0xff, 0]),
        ("empty_frame", 255, vec![0, 0, 0, 0, 0]),
        ("no_credit", 255, vec![9, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0]),
    ]
}
