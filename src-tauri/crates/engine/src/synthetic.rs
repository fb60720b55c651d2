//! Small models made from nothing, for tests of whoever uses the engine. They have learnt nothing and say nonsense, but they are real
//! files of the real format: a tensor type of its own in each layer, a vocabulary with all bytes and some merges, a chat template.
//!
//! Nothing but whole-number arithmetic and exactly rounded float operations goes into it, so the bytes are the same everywhere.

use half::f16;

use crate::gguf::TensorType;
use crate::model::Architecture;
#[cfg(feature = "wgpu")]
use crate::model::Parameters;

const LAYERS: usize = 4;
const WIDTH: usize = 128;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD_SIZE: usize = WIDTH / HEADS;
const FEED_FORWARD: usize = 192;
const VOCABULARY: usize = 512;
const CONTEXT: u32 = 4096;

/// Types of its layers, one after another.
const KINDS: [TensorType; LAYERS] = [TensorType::F32, TensorType::F16, TensorType::Q4_1, TensorType::Q8_0];

const SPECIALS: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
const BOS: u32 = 1;
const EOS: u32 = 2;

const TEMPLATE: &str = "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n\
    {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// Words whose beginnings become tokens, with a space before each, in this order, until the vocabulary is full.
const WORDS: &str = "the of and to in is that for was on are with as his they be at one have this from or had by hot but some what \
    there we can out other were all your when up use word how said an each she which do their time if will way about many then \
    them would write like so these her long make thing see him two has look more day could go come did my sound no most number";

/// The bytes of a tiny GGUF file (about 1 MB): llama architecture, a tensor type of its own in each layer, byte-level BPE,
/// a chat template. Always the same bytes.
pub fn tiny() -> Vec<u8> {
    let (tokens, _) = vocabulary();
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
    file.vocabulary();

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
        let kind = KINDS[layer % KINDS.len()];
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

/// Sizes of the models of [`family`].
const FAMILY_WIDTH: usize = 256;
const FAMILY_HEADS: usize = 4;
const FAMILY_KV_HEADS: usize = 2;
const FAMILY_HEAD_SIZE: usize = 32;
const FAMILY_FEED_FORWARD: usize = 256;
const FAMILY_EXPERTS: usize = 6;
const FAMILY_EXPERTS_USED: usize = 2;
const FAMILY_WINDOW: u32 = 5;
/// Of weights in layers: as small as training makes them, else a rounding in the first layer is another answer in the last.
const FAMILY_SPREAD: f32 = 0.0625;
/// One of them attends to all tokens, where the others have a window.
const FAMILY_LAYERS: usize = 7;
/// Types of its layers, one after another.
const FAMILY_KINDS: [TensorType; FAMILY_LAYERS] = [
    TensorType::Q4_K,
    TensorType::Q5_K,
    TensorType::Q6_K,
    TensorType::Q4_0,
    TensorType::Q5_0,
    TensorType::Q5_1,
    TensorType::BF16,
];

/// What weights of a [`family`] are stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// 32-bit floats, so that two implementations differ in the last bits only.
    Floats,
    /// A type of blocks in each layer.
    Blocks,
    /// Several types of blocks in a layer, as in most files of four bits: of half the layers values and what leads back have more bits.
    Mixed,
}

/// The bytes of a small GGUF file (a few MB) of any architecture, with random weights, as [`tiny`]'s; other readers of the format load
/// it too. Always the same bytes.
pub fn family(architecture: Architecture, stored: Stored) -> Vec<u8> {
    let own_size = matches!(architecture, Architecture::Qwen3 | Architecture::Qwen3Moe | Architecture::Gemma3);
    let (embedding, output, kinds) = match stored {
        Stored::Floats => (TensorType::F32, TensorType::F32, [TensorType::F32; FAMILY_LAYERS]),
        Stored::Blocks => (TensorType::Q6_K, TensorType::Q8_0, FAMILY_KINDS),
        Stored::Mixed => (TensorType::Q4_K, TensorType::Q6_K, [TensorType::Q4_K; FAMILY_LAYERS]),
    };
    let heads_of = |(layer, &kind): (usize, &TensorType)| match (stored, layer % 4) {
        (Stored::Mixed, 0) => [kind, kind, TensorType::Q6_K],
        (Stored::Mixed, 2) => [TensorType::Q5_K, kind, TensorType::Q8_0],
        (Stored::Mixed, 3) => [kind, TensorType::Q4_0, TensorType::Q4_0],
        _ => [kind; 3],
    };
    Family {
        architecture,
        heads: FAMILY_HEADS,
        kv_heads: FAMILY_KV_HEADS,
        head_size: if own_size { FAMILY_HEAD_SIZE } else { FAMILY_WIDTH / FAMILY_HEADS },
        rope_size: None,
        caps: [None, None],
        experts: FAMILY_EXPERTS,
        experts_used: FAMILY_EXPERTS_USED,
        embedding,
        output: Some(output),
        of_heads: kinds.iter().enumerate().map(heads_of).collect(),
        kinds: kinds.to_vec(),
        // Heads together may be narrower than a block of 256.
        heads_in_floats: true,
    }
    .file()
}

/// The bytes of a small model whose heads, families and tensor types are those of another, so that the same kernels compute it: for a
/// comparison with the processor that takes a moment. `mixed`: types of queries, keys and values where they are several. Always the same
/// bytes for the same numbers.
#[cfg(feature = "wgpu")]
pub(crate) fn likeness(
    p: &Parameters,
    kinds: &[TensorType],
    mixed: &[[TensorType; 3]],
    embedding: TensorType,
    output: Option<TensorType>,
) -> Vec<u8> {
    let experts_used = p.experts.map_or(FAMILY_EXPERTS_USED, |experts| experts.used);
    // One layer at least that attends to all tokens, and one that does not.
    let layers = p.window.map_or(2, |window| window.every.clamp(2, FAMILY_LAYERS)).max(kinds.len());
    let layers = kinds.iter().copied().cycle().take(layers).chain(mixed.iter().map(|&[kind, ..]| kind));
    let of_heads =
        layers.clone().map(|kind| [kind; 3]).take(layers.clone().count() - mixed.len()).chain(mixed.iter().copied());
    Family {
        architecture: p.architecture,
        heads: p.heads,
        kv_heads: p.kv_heads,
        head_size: p.head_size,
        rope_size: Some(p.rope_size),
        caps: [p.attention_cap, p.logit_cap],
        experts: experts_used + 3,
        experts_used,
        embedding,
        output,
        of_heads: of_heads.collect(),
        kinds: layers.collect(),
        heads_in_floats: false,
    }
    .file()
}

/// What a small model of a family is made of.
struct Family {
    architecture: Architecture,
    heads: usize,
    kv_heads: usize,
    head_size: usize,
    /// `None`: the file does not say, and all of a head is rotated.
    rope_size: Option<usize>,
    /// Of products of queries and keys, and of logits.
    caps: [Option<f32>; 2],
    experts: usize,
    experts_used: usize,
    embedding: TensorType,
    /// `None`: the embedding serves as output too.
    output: Option<TensorType>,
    /// Of each layer's matrices.
    kinds: Vec<TensorType>,
    /// Of each layer's queries, keys and values.
    of_heads: Vec<[TensorType; 3]>,
    heads_in_floats: bool,
}

impl Family {
    fn file(&self) -> Vec<u8> {
        let &Self { architecture, heads, kv_heads, head_size, .. } = self;
        let width = FAMILY_WIDTH;
        let normed = architecture.norms_heads();
        let (query, kv) = (heads * head_size, kv_heads * head_size);
        // Sums of many columns stay as small as those of few.
        let spread = |shape: &[usize]| match shape.first() {
            Some(&columns) if columns > width => FAMILY_SPREAD * (width as f32 / columns as f32).sqrt(),
            _ => FAMILY_SPREAD,
        };
        let mut file = Builder::default();
        let name = architecture.name();
        let key = |key: &str| format!("{name}.{key}");
        file.text("general.architecture", name);
        file.text("general.name", &format!("Chrysalis {name}"));
        file.number(&key("block_count"), self.kinds.len() as u32);
        file.number(&key("context_length"), CONTEXT);
        file.number(&key("embedding_length"), width as u32);
        file.number(&key("feed_forward_length"), FAMILY_FEED_FORWARD as u32);
        file.number(&key("attention.head_count"), heads as u32);
        file.number(&key("attention.head_count_kv"), kv_heads as u32);
        if head_size * heads != width || normed {
            file.number(&key("attention.key_length"), head_size as u32);
            file.number(&key("attention.value_length"), head_size as u32);
        }
        for (name, cap) in ["attn_logit_softcapping", "final_logit_softcapping"].into_iter().zip(self.caps) {
            if let Some(cap) = cap {
                file.float(&key(name), cap);
            }
        }
        if let Some(size) = self.rope_size {
            file.number(&key("rope.dimension_count"), size as u32);
        }
        file.float(&key("rope.freq_base"), if architecture == Architecture::Llama { 10_000.0 } else { 1_000_000.0 });
        file.float(&key("attention.layer_norm_rms_epsilon"), 1e-6);
        if architecture == Architecture::Qwen3Moe {
            file.number(&key("expert_count"), self.experts as u32);
            file.number(&key("expert_used_count"), self.experts_used as u32);
            file.number(&key("expert_feed_forward_length"), FAMILY_FEED_FORWARD as u32);
        }
        if architecture == Architecture::Gemma3 {
            file.number(&key("attention.sliding_window"), FAMILY_WINDOW);
        }
        file.vocabulary();

        let mut noise = Noise(0x6661_6d69_6c79);
        file.tensor("token_embd.weight", self.embedding, &[width, VOCABULARY], &noise.values(width * VOCABULARY, 1.0));
        file.tensor("output_norm.weight", TensorType::F32, &[width], &[1.0; FAMILY_WIDTH]);
        if let Some(kind) = self.output {
            let output = noise.values(width * VOCABULARY, 0.25);
            file.tensor("output.weight", kind, &[width, VOCABULARY], &output);
        }
        for (layer, &kind) in self.kinds.iter().enumerate() {
            let name = |part: &str| format!("blk.{layer}.{part}");
            let (inner, experts) = (FAMILY_FEED_FORWARD, self.experts);
            let [of_query, of_key, of_value] = self.of_heads.get(layer).copied().unwrap_or([kind; 3]);
            let of_down = if of_value == TensorType::Q6_K { of_value } else { kind };
            let mut matrices = vec![
                ("attn_q.weight", of_query, vec![width, query]),
                ("attn_k.weight", of_key, vec![width, kv]),
                ("attn_v.weight", of_value, vec![width, kv]),
            ];
            let of_heads = match kind {
                _ if self.heads_in_floats => TensorType::F32,
                kind if query.is_multiple_of(kind.block_values()) => kind,
                _ if query.is_multiple_of(32) => TensorType::Q8_0,
                _ => TensorType::F32,
            };
            let mut narrow = vec![("attn_output.weight", of_heads, vec![query, width])];
            let mut vectors = vec![("attn_norm.weight", width, 1.0), ("ffn_norm.weight", width, 1.0)];
            match architecture {
                Architecture::Qwen3Moe => {
                    matrices.extend([
                        ("ffn_gate_exps.weight", kind, vec![width, inner, experts]),
                        ("ffn_up_exps.weight", kind, vec![width, inner, experts]),
                        ("ffn_down_exps.weight", of_down, vec![inner, width, experts]),
                    ]);
                    narrow.push(("ffn_gate_inp.weight", TensorType::F32, vec![width, experts]));
                }
                _ => matrices.extend([
                    ("ffn_gate.weight", kind, vec![width, inner]),
                    ("ffn_up.weight", kind, vec![width, inner]),
                    ("ffn_down.weight", of_down, vec![inner, width]),
                ]),
            }
            if architecture == Architecture::Qwen2 {
                vectors.extend([("attn_q.bias", query, 0.0), ("attn_k.bias", kv, 0.0), ("attn_v.bias", kv, 0.0)]);
            }
            if normed {
                vectors.extend([("attn_q_norm.weight", head_size, 1.0), ("attn_k_norm.weight", head_size, 1.0)]);
            }
            if architecture == Architecture::Gemma3 {
                vectors.extend([("post_attention_norm.weight", width, 1.0), ("post_ffw_norm.weight", width, 1.0)]);
            }
            for (part, kind, shape) in matrices {
                let values = noise.values(shape.iter().product(), spread(&shape));
                file.tensor(&name(part), kind, &shape, &values);
            }
            for (part, kind, shape) in narrow {
                let values = noise.values(shape.iter().product(), spread(&shape));
                file.tensor(&name(part), kind, &shape, &values);
            }
            for (part, size, middle) in vectors {
                let values: Vec<f32> = noise.values(size, 0.25).iter().map(|value| middle + value).collect();
                file.tensor(&name(part), TensorType::F32, &[size], &values);
            }
        }
        file.finish()
    }
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

/// A file of nothing but the tiny model's vocabulary, with further tokens behind it.
#[cfg(test)]
pub(crate) fn vocabulary_with(more: &[&[u8]]) -> Vec<u8> {
    let (mut tokens, merges) = vocabulary();
    let spelt = |text: &&[u8]| text.iter().map(|&byte| tokens[SPECIALS.len() + usize::from(byte)].as_str()).collect();
    let more: Vec<String> = more.iter().map(spelt).collect();
    tokens.extend(more);
    let mut file = Builder::default();
    file.tokens(&tokens, &merges);
    file.finish()
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

    /// Everything of the tokenizer and the chat template.
    fn vocabulary(&mut self) {
        let (tokens, merges) = vocabulary();
        self.tokens(&tokens, &merges);
        self.text("tokenizer.chat_template", TEMPLATE);
    }

    fn tokens(&mut self, tokens: &[String], merges: &[String]) {
        let types = (0..tokens.len()).map(|id| if id < SPECIALS.len() { 3 } else { 1 }).collect::<Vec<i32>>();
        self.text("tokenizer.ggml.model", "gpt2");
        self.text("tokenizer.ggml.pre", "smollm");
        self.texts("tokenizer.ggml.tokens", tokens);
        self.numbers("tokenizer.ggml.token_type", &types);
        self.texts("tokenizer.ggml.merges", merges);
        self.number("tokenizer.ggml.bos_token_id", BOS);
        self.number("tokenizer.ggml.eos_token_id", EOS);
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
        TensorType::BF16 => {
            // Ties go up: no value of ours is one.
            let upper = |value: f32| (value.to_bits().saturating_add(0x8000) >> 16) as u16;
            out.extend(values.iter().flat_map(|&value| upper(value).to_le_bytes()));
        }
        TensorType::Q4_0 => {
            for block in values.as_chunks::<32>().0 {
                let scale = f16::from_f32(largest(block) / 7.0);
                let quants = block.map(|value| (quant(value, scale.to_f32(), -8.0, 7.0) + 8) as u8);
                out.extend(scale.to_le_bytes());
                out.extend((0..16).map(|at| quants[at] | (quants[at + 16] << 4)));
            }
        }
        TensorType::Q5_0 => {
            for block in values.as_chunks::<32>().0 {
                let scale = f16::from_f32(largest(block) / 15.0);
                let quants = block.map(|value| (quant(value, scale.to_f32(), -16.0, 15.0) + 16) as u8);
                out.extend(scale.to_le_bytes());
                out.extend(fives(&quants));
            }
        }
        TensorType::Q5_1 => {
            for block in values.as_chunks::<32>().0 {
                let (lowest, highest) = range(block);
                let (scale, offset) = (f16::from_f32((highest - lowest) / 31.0), f16::from_f32(lowest));
                let quants = block.map(|value| quant(value - offset.to_f32(), scale.to_f32(), 0.0, 31.0) as u8);
                out.extend(scale.to_le_bytes());
                out.extend(offset.to_le_bytes());
                out.extend(fives(&quants));
            }
        }
        TensorType::Q4_K => values.as_chunks::<256>().0.iter().for_each(|block| with_six_bits(block, 15, &mut out)),
        TensorType::Q5_K => values.as_chunks::<256>().0.iter().for_each(|block| with_six_bits(block, 31, &mut out)),
        TensorType::Q6_K => values.as_chunks::<256>().0.iter().for_each(|block| sixes(block, &mut out)),
    }
    out
}

fn quant(value: f32, scale: f32, lowest: f32, highest: f32) -> i32 {
    if scale == 0.0 { 0 } else { (value / scale).round_ties_even().clamp(lowest, highest) as i32 }
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()))
}

fn range(values: &[f32]) -> (f32, f32) {
    let lowest = values.iter().copied().fold(f32::INFINITY, f32::min);
    (lowest, values.iter().copied().fold(f32::NEG_INFINITY, f32::max))
}

/// 32 quants of 5 bits: the fifth bits, then the others.
fn fives(quants: &[u8; 32]) -> Vec<u8> {
    let fifth: u32 = quants.iter().enumerate().map(|(at, quant)| u32::from(quant >> 4) << at).sum();
    let low = (0..16).map(|at| (quants[at] & 15) | ((quants[at + 16] & 15) << 4));
    fifth.to_le_bytes().into_iter().chain(low).collect()
}

/// A block of Q4_K (`most` is 15) or Q5_K (31).
fn with_six_bits(values: &[f32; 256], most: u8, out: &mut Vec<u8>) {
    let runs = values.as_chunks::<32>().0;
    // Offsets are only ever taken off.
    let ranges: Vec<(f32, f32)> = runs.iter().map(|run| (range(run).0.min(0.0), range(run).1)).collect();
    let steps: Vec<f32> = ranges.iter().map(|(lowest, highest)| (highest - lowest) / f32::from(most)).collect();
    let lows: Vec<f32> = ranges.iter().map(|(lowest, _)| -lowest).collect();
    let (d, m) = (f16::from_f32(largest(&steps) / 63.0), f16::from_f32(largest(&lows) / 63.0));
    let scales: Vec<u8> = steps.iter().map(|&step| quant(step, d.to_f32(), 0.0, 63.0) as u8).collect();
    let offsets: Vec<u8> = lows.iter().map(|&low| quant(low, m.to_f32(), 0.0, 63.0) as u8).collect();
    out.extend(d.to_le_bytes());
    out.extend(m.to_le_bytes());
    out.extend((0..4).map(|at| scales[at] | (scales[at + 4] >> 4 << 6)));
    out.extend((0..4).map(|at| offsets[at] | (offsets[at + 4] >> 4 << 6)));
    out.extend((4..8).map(|at| (scales[at] & 15) | (offsets[at] << 4)));
    let mut quants = [0_u8; 256];
    for (at, value) in values.iter().enumerate() {
        let run = at / 32;
        let (scale, offset) = (d.to_f32() * f32::from(scales[run]), m.to_f32() * f32::from(offsets[run]));
        quants[at] = quant(value + offset, scale, 0.0, most.into()) as u8;
    }
    if most > 15 {
        out.extend((0..32).map(|at| (0..8).map(|run| quants[run * 32 + at] >> 4 << run).sum::<u8>()));
    }
    out.extend((0..128).map(|at| {
        let low = at / 32 * 64 + at % 32;
        (quants[low] & 15) | ((quants[low + 32] & 15) << 4)
    }));
}

/// A block of Q6_K.
fn sixes(values: &[f32; 256], out: &mut Vec<u8>) {
    let steps: Vec<f32> = values.as_chunks::<16>().0.iter().map(|run| largest(run) / 31.0).collect();
    let d = f16::from_f32(largest(&steps) / 127.0);
    let scales: Vec<i32> = steps.iter().map(|&step| quant(step, d.to_f32(), 0.0, 127.0)).collect();
    let mut quants = [0_u8; 256];
    for (at, &value) in values.iter().enumerate() {
        quants[at] = (quant(value, d.to_f32() * scales[at / 16] as f32, -32.0, 31.0) + 32) as u8;
    }
    let at = |half: usize, part: usize, n: usize| quants[half * 128 + part * 32 + n];
    for half in 0..2 {
        out.extend((0..64).map(|n| (at(half, n / 32, n % 32) & 15) | ((at(half, n / 32 + 2, n % 32) & 15) << 4)));
    }
    for half in 0..2 {
        out.extend((0..32).map(|n| (0..4).map(|part| at(half, part, n) >> 4 << (part * 2)).sum::<u8>()));
    }
    out.extend(scales.iter().map(|&scale| scale as u8));
    out.extend(d.to_le_bytes());
}
