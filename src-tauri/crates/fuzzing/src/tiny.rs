//! The smallest model that runs: one layer of two values, every byte a token. A few kilobytes, made on the spot, so that inputs
//! of the fuzzers can be whole models.

const TEXT: u32 = 8;
const ARRAY: u32 = 9;
const U32: u32 = 4;
const I32: u32 = 5;
const F32: u32 = 6;
const ALIGNMENT: usize = 32;

/// What a file shall contain.
pub struct Tiny<'a> {
    /// Tokens, in GPT-2's spelling of bytes.
    pub tokens: &'a [String],
    /// How many of them, counted from the end, are control tokens.
    pub controls: usize,
    /// Merges, two symbols with a space between.
    pub merges: &'a [&'a str],
    /// Jinja.
    pub template: &'a str,
}

/// GPT-2's spelling of all 256 bytes, and some longer and special tokens.
pub fn byte_tokens() -> Vec<String> {
    let mut shifted = 0;
    let mut tokens: Vec<String> = (0..=255_u8)
        .map(|byte| {
            let plain = matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
            let code = if plain {
                u32::from(byte)
            } else {
                shifted += 1;
                255 + shifted
            };
            char::from_u32(code).map(String::from).unwrap_or_default()
        })
        .collect();
    tokens.extend(["he", "ll", "hell", "\u{120}the", "<|im_start|>", "<|im_end|>"].map(str::to_owned));
    tokens
}

impl Tiny<'_> {
    /// The bytes of the file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut file = Gguf::default();
        file.text("general.architecture", "llama");
        for (key, value) in [
            ("context_length", 64),
            ("embedding_length", 2),
            ("block_count", 1),
            ("feed_forward_length", 2),
            ("attention.head_count", 1),
        ] {
            file.number(&format!("llama.{key}"), U32, value);
        }
        file.number("llama.attention.layer_norm_rms_epsilon", F32, 1e-5_f32.to_bits());
        file.text("tokenizer.ggml.model", "gpt2");
        file.text("tokenizer.ggml.pre", "smollm");
        file.texts("tokenizer.ggml.tokens", self.tokens.iter().map(String::as_str));
        file.texts("tokenizer.ggml.merges", self.merges.iter().copied());
        let ordinary = self.tokens.len().saturating_sub(self.controls);
        let kinds = (0..self.tokens.len()).map(|at| if at < ordinary { 1 } else { 3 });
        file.numbers("tokenizer.ggml.token_type", I32, kinds);
        file.number("tokenizer.ggml.eos_token_id", U32, self.tokens.len().saturating_sub(1) as u32);
        file.text("tokenizer.chat_template", self.template);
        file.tensor("token_embd.weight", &[2, self.tokens.len()]);
        file.tensor("output_norm.weight", &[2]);
        for part in ["attn_norm", "ffn_norm"] {
            file.tensor(&format!("blk.0.{part}.weight"), &[2]);
        }
        for part in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"] {
            file.tensor(&format!("blk.0.{part}.weight"), &[2, 2]);
        }
        file.finish()
    }
}

#[derive(Default)]
struct Gguf {
    pairs: Vec<u8>,
    pair_count: u64,
    tensors: Vec<u8>,
    tensor_count: u64,
    data: Vec<u8>,
}

impl Gguf {
    fn key(&mut self, key: &str, kind: u32) {
        put_text(&mut self.pairs, key);
        self.pairs.extend(kind.to_le_bytes());
        self.pair_count += 1;
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key, TEXT);
        put_text(&mut self.pairs, value);
    }

    fn number(&mut self, key: &str, kind: u32, value: u32) {
        self.key(key, kind);
        self.pairs.extend(value.to_le_bytes());
    }

    fn array(&mut self, key: &str, kind: u32, count: usize) {
        self.key(key, ARRAY);
        self.pairs.extend(kind.to_le_bytes());
        self.pairs.extend((count as u64).to_le_bytes());
    }

    fn texts<'a>(&mut self, key: &str, values: impl ExactSizeIterator<Item = &'a str>) {
        self.array(key, TEXT, values.len());
        for value in values {
            put_text(&mut self.pairs, value);
        }
    }

    fn numbers(&mut self, key: &str, kind: u32, values: impl ExactSizeIterator<Item = u32>) {
        self.array(key, kind, values.len());
        for value in values {
            self.pairs.extend(value.to_le_bytes());
        }
    }

    /// A tensor of `F32`, filled with small numbers of no meaning.
    fn tensor(&mut self, name: &str, shape: &[usize]) {
        put_text(&mut self.tensors, name);
        self.tensors.extend((shape.len() as u32).to_le_bytes());
        for size in shape {
            self.tensors.extend((*size as u64).to_le_bytes());
        }
        self.tensors.extend(0_u32.to_le_bytes());
        self.tensors.extend((self.data.len() as u64).to_le_bytes());
        for index in 0..shape.iter().product() {
            let value = ((index * 7 + shape.len()) % 11) as f32 / 8.0 - 0.5;
            self.data.extend(value.to_le_bytes());
        }
        self.data.resize(self.data.len().next_multiple_of(ALIGNMENT), 0);
        self.tensor_count += 1;
    }

    fn finish(self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(3_u32.to_le_bytes());
        file.extend(self.tensor_count.to_le_bytes());
        file.extend(self.pair_count.to_le_bytes());
        file.extend(self.pairs);
        file.extend(self.tensors);
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        file.extend(self.data);
        file
    }
}

fn put_text(to: &mut Vec<u8>, text: &str) {
    to.extend((text.len() as u64).to_le_bytes());
    to.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_model_is_one_that_the_engine_reads() {
        let tokens = byte_tokens();
        let tiny =
            Tiny { tokens: &tokens, controls: 2, merges: &["h e", "l l"], template: "{{ messages[0].content }}" };
        let model = engine::Model::read(&mut tiny.bytes().as_slice(), engine::gguf::Limits::default()).unwrap();
        assert_eq!(model.tokenizer().encode("hello", false).len(), 3);
    }
}
