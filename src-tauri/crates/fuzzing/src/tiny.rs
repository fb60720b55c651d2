//! The smallest model that runs: one layer of two values, every byte a token. A few kilobytes, made on the spot, so that inputs
//! of the fuzzers can be whole models.

const TEXT: u32 = 8;
const ARRAY: u32 = 9;
const U32: u32 = 4;
const I32: u32 = 5;
const F32: u32 = 6;
const BOOL: u32 = 7;
const ALIGNMENT: usize = 32;

/// What a file shall contain.
pub struct Tiny<'a> {
    /// Tokens; of byte-level BPE in GPT-2's spelling of bytes.
    pub tokens: &'a [String],
    /// How many of them, counted from the end, are control tokens. Those that look like bytes of SentencePiece are such.
    pub controls: usize,
    /// What makes a text into tokens.
    pub kind: Kind<'a>,
    /// Jinja.
    pub template: &'a str,
}

/// Kinds of tokenizers.
#[derive(Clone, Copy)]
pub enum Kind<'a> {
    /// Byte-level BPE over words.
    Bpe {
        /// The way of cutting a text into words.
        pre: &'a str,
        /// Merges, two symbols with a space between.
        merges: &'a [&'a str],
    },
    /// SentencePiece. A longer token has a better score, of two of the same length the earlier one.
    SentencePiece {
        /// Whether a space is put before a text.
        space_before: bool,
    },
}

impl Kind<'_> {
    /// The words of the practice model, without merges.
    pub const PLAIN: Self = Self::Bpe { pre: "smollm", merges: &[] };
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

/// Bytes as SentencePiece has them, some characters and what they make together, and special tokens.
pub fn sentence_piece_tokens() -> Vec<String> {
    let mut tokens: Vec<String> = (0..=255_u8).map(|byte| format!("<0x{byte:02X}>")).collect();
    let longer = "\u{2581} h e l o t é 🦊 he ll \u{2581}h hell \u{2581}hell hello \u{2581}\u{2581} \u{2581}t th the \u{2581}the éé 🦊🦊";
    tokens.extend(longer.split(' ').map(str::to_owned));
    tokens.extend(["<s>", "</s>"].map(str::to_owned));
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
        let (model, pre) = match self.kind {
            Kind::Bpe { pre, .. } => ("gpt2", pre),
            Kind::SentencePiece { .. } => ("llama", "default"),
        };
        file.text("tokenizer.ggml.model", model);
        file.text("tokenizer.ggml.pre", pre);
        file.texts("tokenizer.ggml.tokens", self.tokens.iter().map(String::as_str));
        let is_byte = |token: &String| model == "llama" && token.len() == 6 && token.starts_with("<0x");
        match self.kind {
            Kind::Bpe { merges, .. } => file.texts("tokenizer.ggml.merges", merges.iter().copied()),
            Kind::SentencePiece { space_before } => {
                let count = self.tokens.len();
                let scores = self.tokens.iter().enumerate().map(|(at, token)| {
                    let later = at as f32 / count as f32;
                    (token.chars().count() as f32 - later - 1_000.0).to_bits()
                });
                file.numbers("tokenizer.ggml.scores", F32, scores);
                file.key("tokenizer.ggml.add_space_prefix", BOOL);
                file.pairs.push(u8::from(space_before));
            }
        }
        let ordinary = self.tokens.len().saturating_sub(self.controls);
        let kinds = self.tokens.iter().enumerate().map(|(at, token)| {
            if at >= ordinary {
                3
            } else if is_byte(token) {
                6
            } else {
                1
            }
        });
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
        let kind = Kind::Bpe { pre: "smollm", merges: &["h e", "l l"] };
        let tiny = Tiny { tokens: &tokens, controls: 2, kind, template: "{{ messages[0].content }}" };
        let model = engine::Model::read(&mut tiny.bytes().as_slice(), engine::gguf::Limits::default()).unwrap();
        assert_eq!(model.tokenizer().encode("hello", false).len(), 3);

        let tokens = sentence_piece_tokens();
        let kind = Kind::SentencePiece { space_before: true };
        let tiny = Tiny { tokens: &tokens, controls: 2, kind, template: "" };
        let model = engine::Model::read(&mut tiny.bytes().as_slice(), engine::gguf::Limits::default()).unwrap();
        let hello: Vec<u32> = model.tokenizer().encode("hello\n", false);
        let spelt: Vec<&str> = hello.iter().map(|&token| tokens[token as usize].as_str()).collect();
        assert_eq!(spelt, ["\u{2581}hell", "o", "<0x0A>"]);
    }
}
