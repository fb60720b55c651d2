//! A tiny model made from nothing, for tests of whoever uses the engine. It has learnt nothing and says nonsense, but it is a real
//! file of the real format: every supported tensor type, a vocabulary with all bytes and some merges, a chat template.
//!
//! Nothing but whole-number arithmetic and exactly rounded float operations goes into it, so the bytes are the same everywhere.

use half::f16;

use crate::gguf::TensorType;

const LAYERS: usize = 4;
const WIDTH: usize = 128;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD_SIZE: usize = WIDTH / HEADS;
const FEED_FORWARD: usize = 192;
const VOCABULARY: usize = 512;
const CONTEXT: u32 = 4096;

const SPECIALS: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
const BOS: u32 = 1;
const EOS: u32 = 2;

const TEMPLATE: &str = "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n\
    {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// Words whose beginnings become tokens, with a space before each, in this order, until the vocabulary is full.
const WORDS: &str = "the of and to in is that for was on are with as his they be at one have this from or had by hot but some what \
    there we can out other were all your when up use word how said an each she which do their time if will way about many then \
    them would write like so these her long make thing see him two has look more day could go come did my sound no most number";

/// The bytes of a tiny GGUF file (about 1 MB): llama architecture, all supported tensor types, byte-level BPE, a chat template.
/// Always the same bytes.
pub fn tiny() -> Vec<u8> {
    let (tokens, merges) = vocabulary();
    let types = (0..tokens.len()).map(|id| if id < SPECIALS.len() { 3 } else { 1 }).collect::<Vec<i32>>();
    let mut file = Builder::default();
    file.text("general.architecture", "llama");
    file.text("general.name", "Chrysalis Tiny");
    file.number("llama.block_count", LAYERS as u32);
    file.number("llama.context_length", CONTEXT);
    file.number("llama.embedding_length", WIDTH as u32);
    file.number("llama.feed_forward_length", FEED_FORWARD as u32);
    file.number("llama.attention.head_count", HEADS as u32);
    file.number("llama.attention.head_count_kv", KV_HEADS as u32);
    file.number("llama.rope.dimension_count", HEAD_SIZE as u32);
    file.float("llama.rope.freq_base", 10_000.0);
    file.float("llama.attention.layer_norm_rms_epsilon", 1e-5);
    file.text("tokenizer.ggml.model", "gpt2");
    file.text("tokenizer.ggml.pre", "smollm");
    file.texts("tokenizer.ggml.tokens", &tokens);
    file.numbers("tokenizer.ggml.token_type", &types);
    file.texts("tokenizer.ggml.merges", &merges);
    file.number("tokenizer.ggml.bos_token_id", BOS);
    file.number("tokenizer.ggml.eos_token_id", EOS);
    file.text("tokenizer.chat_template", TEMPLATE);

    let mut noise = Noise(0x0043_6872_7973_616c);
    file.tensor("token_embd.weight", TensorType::Q8_0, &[WIDTH, VOCABULARY], &noise.values(WIDTH * VOCABULARY, 1.0));
    file.tensor("output_norm.weight", TensorType::F32, &[WIDTH], &[1.0; WIDTH]);
    let mut output = noise.values(WIDTH * VOCABULARY, 0.5);
    for (id, (row, token)) in output.chunks_exact_mut(WIDTH).zip(&tokens).enumerate() {
        // Specials and bytes beyond ASCII are unlikely, so that answers are long and readable as text.
        if id < SPECIALS.len() || !token.chars().all(|letter| letter.is_ascii() || letter == 'Ġ') {
            row.fill(0.0);
        }
    }
    file.tensor("output.weight", TensorType::F16, &[WIDTH, VOCABULARY], &output);
    for layer in 0..LAYERS {
        let kind = TensorType::ALL[layer % TensorType::ALL.len()];
        let kv = KV_HEADS * HEAD_SIZE;
        let parts = [
            ("attn_q", WIDTH, WIDTH),
            ("attn_k", WIDTH, kv),
            ("attn_v", WIDTH, kv),
            ("attn_output", WIDTH, WIDTH),
            ("ffn_gate", WIDTH, FEED_FORWARD),
            ("ffn_up", WIDTH, FEED_FORWARD),
            ("ffn_down", FEED_FORWARD, WIDTH),
        ];
        for (part, columns, rows) in parts {
            let values = noise.values(columns * rows, 0.125);
            file.tensor(&format!("blk.{layer}.{part}.weight"), kind, &[columns, rows], &values);
        }
        for part in ["attn_norm", "ffn_norm"] {
            let weight: Vec<f32> = noise.values(WIDTH, 0.125).iter().map(|value| 1.0 + value).collect();
            file.tensor(&format!("blk.{layer}.{part}.weight"), TensorType::F32, &[WIDTH], &weight);
        }
    }
    file.finish()
}

/// Tokens and merges: the specials, the bytes, then the beginnings of words, letter by letter.
fn vocabulary() -> (Vec<String>, Vec<String>) {
    let mut tokens: Vec<String> = SPECIALS.iter().map(|&text| text.to_owned()).collect();
    // Bytes that are not printable are spelt with characters from U+0100 on, in order; the space is Ġ.
    let mut others = '\u{100}'..;
    for byte in 0..=255_u8 {
        let letter = match byte {
            33..=126 | 161..=172 | 174..=255 => char::from(byte),
            _ => others.next().unwrap_or_default(),
        };
        tokens.push(letter.to_string());
    }
    let mut merges = Vec::new();
    for word in WORDS.split_whitespace() {
        let mut begun = String::from("Ġ");
        for letter in word.chars() {
            let longer = format!("{begun}{letter}");
            if !tokens.contains(&longer) && tokens.len() < VOCABULARY {
                merges.push(format!("{begun} {letter}"));
                tokens.push(longer.clone());
            }
            begun = longer;
        }
    }
    // Pairs of letters fill what the words left over.
    for left in 'a'..='z' {
        for right in 'a'..='z' {
            if tokens.len() < VOCABULARY {
                merges.push(format!("{left} {right}"));
                tokens.push(format!("{left}{right}"));
            }
        }
    }
    (tokens, merges)
}

/// SplitMix64.
struct Noise(u64);

impl Noise {
    /// Values around 0 with about this spread: sums of four draws, all exact in 32-bit floats.
    fn values(&mut self, count: usize, spread: f32) -> Vec<f32> {
        (0..count)
            .map(|_| {
                let bits = self.next();
                let sum: i64 = (0..4).map(|part| ((bits >> (16 * part)) & 0xfff) as i64 - 2048).sum();
                sum as f32 / 2048.0 * spread
            })
            .collect()
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Puts a GGUF file together.
#[derive(Default)]
struct Builder {
    pair_count: u64,
    pairs: Vec<u8>,
    tensor_count: u64,
    infos: Vec<u8>,
    data: Vec<u8>,
}

const ALIGNMENT: usize = 32;

impl Builder {
    fn text(&mut self, key: &str, value: &str) {
        self.pair(key, 8);
        push_text(&mut self.pairs, value);
    }

    fn number(&mut self, key: &str, value: u32) {
        self.pair(key, 4);
        self.pairs.extend(value.to_le_bytes());
    }

    fn float(&mut self, key: &str, value: f32) {
        self.pair(key, 6);
        self.pairs.extend(value.to_le_bytes());
    }

    fn texts(&mut self, key: &str, values: &[String]) {
        self.array(key, 8, values.len());
        for value in values {
            push_text(&mut self.pairs, value);
        }
    }

    fn numbers(&mut self, key: &str, values: &[i32]) {
        self.array(key, 5, values.len());
        self.pairs.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    fn array(&mut self, key: &str, kind: u32, count: usize) {
        self.pair(key, 9);
        self.pairs.extend(kind.to_le_bytes());
        self.pairs.extend((count as u64).to_le_bytes());
    }

    fn pair(&mut self, key: &str, kind: u32) {
        self.pair_count += 1;
        push_text(&mut self.pairs, key);
        self.pairs.extend(kind.to_le_bytes());
    }

    fn tensor(&mut self, name: &str, kind: TensorType, shape: &[usize], values: &[f32]) {
        self.tensor_count += 1;
        push_text(&mut self.infos, name);
        self.infos.extend((shape.len() as u32).to_le_bytes());
        self.infos.extend(shape.iter().flat_map(|&size| (size as u64).to_le_bytes()));
        self.infos.extend(kind.id().to_le_bytes());
        self.infos.extend((self.data.len() as u64).to_le_bytes());
        self.data.extend(blocks(kind, values));
        self.data.resize(self.data.len().next_multiple_of(ALIGNMENT), 0);
    }

    fn finish(self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(3_u32.to_le_bytes());
        file.extend(self.tensor_count.to_le_bytes());
        file.extend(self.pair_count.to_le_bytes());
        file.extend(self.pairs);
        file.extend(self.infos);
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        file.extend(self.data);
        file
    }
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// Values in a tensor type's form. Those of blocks are rounded to the nearest that the block can hold.
pub(crate) fn blocks(kind: TensorType, values: &[f32]) -> Vec<u8> {
    let mut out = Vec::new();
    match kind {
        TensorType::F32 => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        TensorType::F16 => out.extend(values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes())),
        TensorType::Q8_0 => {
            for block in values.as_chunks::<32>().0 {
                let largest = block.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
                let scale = f16::from_f32(largest / 127.0);
                out.extend(scale.to_le_bytes());
                out.extend(block.map(|value| quant(value, scale.to_f32(), -127.0, 127.0) as u8));
            }
        }
        TensorType::Q4_1 => {
            for block in values.as_chunks::<32>().0 {
                let lowest = block.iter().copied().fold(f32::INFINITY, f32::min);
                let highest = block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let (scale, offset) = (f16::from_f32((highest - lowest) / 15.0), f16::from_f32(lowest));
                out.extend(scale.to_le_bytes());
                out.extend(offset.to_le_bytes());
                let quants = block.map(|value| quant(value - offset.to_f32(), scale.to_f32(), 0.0, 15.0) as u8);
                out.extend((0..16).map(|at| quants[at] | (quants[at + 16] << 4)));
            }
        }
    }
    out
}

fn quant(value: f32, scale: f32, lowest: f32, highest: f32) -> i32 {
    if scale == 0.0 { 0 } else { (value / scale).round_ties_even().clamp(lowest, highest) as i32 }
}
