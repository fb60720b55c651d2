//! Bounded reader of GGUF version 3, the file format of ggml (its description: `docs/gguf.md` in the ggml repository).
//!
//! A file is read once, from front to back, and never mapped. Every count, length and offset is checked against [`Limits`]
//! and against the rest of the file before anything is allocated for it, and allocations grow with the bytes that really arrive,
//! so a short file that claims to be large costs nothing.

pub(crate) mod blocks;
mod reader;
mod value;

use std::io::Read;

pub use reader::Error;
pub use value::{Array, Value};

use reader::Source;

/// What a reader accepts before it allocates anything. The defaults admit every model of the supported kind.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the whole file. A caller that knows the file's length puts it here.
    pub file_bytes: u64,
    /// Bytes of everything before the tensor data.
    pub header_bytes: u64,
    /// Key-value pairs.
    pub pairs: u64,
    /// Tensors.
    pub tensors: u64,
    /// Bytes of main memory that there is for the weights, and for what is computed with them where the processor does; `None`: nobody
    /// knows, and it is tried.
    pub memory: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: 64 << 30, header_bytes: 64 << 20, pairs: 4096, tensors: 16_384, memory: None }
    }
}

/// How the numbers of a tensor are stored. What their bits mean stands in `blocks.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(non_camel_case_types, reason = "ggml's own names")]
pub enum TensorType {
    /// 32-bit floats.
    F32,
    /// 16-bit IEEE floats.
    F16,
    /// The upper halves of 32-bit floats.
    BF16,
    /// Blocks of 32 with a scale, 4 bits a value.
    Q4_0,
    /// Blocks of 32 with a scale and an offset, 4 bits a value.
    Q4_1,
    /// Blocks of 32 with a scale, 5 bits a value.
    Q5_0,
    /// Blocks of 32 with a scale and an offset, 5 bits a value.
    Q5_1,
    /// Blocks of 32 with a scale, 8 bits a value.
    Q8_0,
    /// Blocks of 256: eight times 32 with a scale and an offset in 6 bits each, 4 bits a value.
    Q4_K,
    /// Blocks of 256: eight times 32 with a scale and an offset in 6 bits each, 5 bits a value.
    Q5_K,
    /// Blocks of 256: sixteen times 16 with a scale in 8 bits, 6 bits a value.
    Q6_K,
}

impl TensorType {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q4_K,
        Self::Q5_K,
        Self::Q6_K,
    ];

    /// ggml's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q4_K => "Q4_K",
            Self::Q5_K => "Q5_K",
            Self::Q6_K => "Q6_K",
        }
    }

    /// ggml's number.
    pub fn id(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q5_0 => 6,
            Self::Q5_1 => 7,
            Self::Q8_0 => 8,
            Self::Q4_K => 12,
            Self::Q5_K => 13,
            Self::Q6_K => 14,
            Self::BF16 => 30,
        }
    }

    /// Values per block.
    pub fn block_values(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q4_K | Self::Q5_K | Self::Q6_K => 256,
        }
    }

    /// Bytes per block.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q4_K => 144,
            Self::Q5_K => 176,
            Self::Q6_K => 210,
        }
    }

    fn from_id(id: u32) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.id() == id)
            .ok_or_else(|| Error::UnsupportedTensorType { name: type_name(id), id })
    }
}

/// Names of ggml's other types, so that a refusal can say what the file has.
fn type_name(id: u32) -> &'static str {
    match id {
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        _ => "unknown",
    }
}

/// One tensor, with its bytes as they stand in the file.
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// How its numbers are stored.
    pub kind: TensorType,
    /// Sizes, the fastest-running dimension first. Between 1 and 4 of them, none zero.
    pub shape: Vec<u64>,
    /// Blocks in row order.
    pub bytes: Vec<u8>,
}

/// A whole file, read.
pub struct File {
    /// Key-value pairs in the file's order; no key twice.
    pub pairs: Vec<(String, Value)>,
    /// Tensors in the order of their data.
    pub tensors: Vec<Tensor>,
    /// SHA-256 of all bytes.
    pub sha256: [u8; 32],
}

/// Where tensor data start is a multiple of this unless the file says otherwise (`general.alignment`).
const DEFAULT_ALIGNMENT: u64 = 32;
const MAX_ALIGNMENT: u64 = 1 << 20;
const MAX_DIMENSIONS: u32 = 4;
const MAX_KEY_BYTES: u64 = 65_535;
const MAX_NAME_BYTES: u64 = 64;

struct Entry {
    name: String,
    kind: TensorType,
    shape: Vec<u64>,
    offset: u64,
    bytes: u64,
}

impl File {
    /// Reads a file to its end.
    pub fn read(reader: &mut dyn Read, limits: &Limits) -> Result<Self, Error> {
        let mut source = Source::new(reader, limits);
        source.section("header");
        let magic = source.array::<4>()?;
        if magic != *b"GGUF" {
            return Err(Error::NotGguf { magic });
        }
        let version = source.u32()?;
        if version != 3 {
            return Err(Error::Version { version });
        }
        let tensor_count = source.u64()?;
        let pair_count = source.u64()?;
        if tensor_count > limits.tensors {
            return Err(Error::TooMany { what: "tensors", count: tensor_count, limit: limits.tensors });
        }
        if pair_count > limits.pairs {
            return Err(Error::TooMany { what: "key-value pairs", count: pair_count, limit: limits.pairs });
        }

        source.section("key-value pairs");
        let mut pairs: Vec<(String, Value)> = Vec::new();
        let mut keys = std::collections::BTreeSet::new();
        for _ in 0..pair_count {
            let key = source.text(MAX_KEY_BYTES)?;
            let value = value::read(&mut source)?;
            if !keys.insert(key.clone()) {
                return Err(Error::DuplicateKey { key });
            }
            pairs.push((key, value));
        }
        let alignment = match pairs.iter().find(|(key, _)| key == "general.alignment") {
            None => DEFAULT_ALIGNMENT,
            Some((_, Value::U32(alignment))) => u64::from(*alignment),
            Some(_) => return Err(Error::Alignment { alignment: 0 }),
        };
        if !alignment.is_power_of_two() || !(8..=MAX_ALIGNMENT).contains(&alignment) {
            return Err(Error::Alignment { alignment });
        }

        source.section("tensor infos");
        let mut entries = Vec::new();
        let mut names = std::collections::BTreeSet::new();
        for _ in 0..tensor_count {
            let entry = tensor_entry(&mut source, alignment)?;
            if !names.insert(entry.name.clone()) {
                return Err(Error::DuplicateTensor { name: entry.name });
            }
            entries.push(entry);
        }

        source.section("tensor data");
        source.leave_header();
        entries.sort_by_key(|entry| entry.offset);
        let start = source.position().next_multiple_of(alignment);
        check_layout(&entries, start, limits.file_bytes)?;
        // A system that promises more memory than it has refuses nothing: it ends programs later.
        let bytes = entries.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.bytes));
        if let Some(room) = limits.memory.filter(|&room| bytes > room) {
            return Err(Error::NoRoom { bytes, room });
        }
        let mut tensors = Vec::new();
        for entry in entries {
            source.skip_to(start + entry.offset)?;
            let bytes = source.bytes(entry.bytes)?;
            tensors.push(Tensor { name: entry.name, kind: entry.kind, shape: entry.shape, bytes });
        }
        let sha256 = source.finish()?;
        Ok(Self { pairs, tensors, sha256 })
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }
}

fn tensor_entry(source: &mut Source<'_>, alignment: u64) -> Result<Entry, Error> {
    let name = source.text(MAX_NAME_BYTES)?;
    let dimensions = source.u32()?;
    if dimensions == 0 || dimensions > MAX_DIMENSIONS {
        return Err(Error::Shape { name });
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        shape.push(source.u64()?);
    }
    let kind = TensorType::from_id(source.u32()?)?;
    let offset = source.u64()?;
    if offset % alignment != 0 {
        return Err(Error::Misaligned { name, offset });
    }
    let values = shape.iter().try_fold(1_u64, |product, &size| product.checked_mul(size));
    let whole_rows = shape.first().is_some_and(|row| row % kind.block_values() as u64 == 0);
    let bytes = values
        .filter(|&values| values > 0 && whole_rows)
        .and_then(|values| (values / kind.block_values() as u64).checked_mul(kind.block_bytes() as u64));
    match bytes {
        Some(bytes) if usize::try_from(bytes).is_ok_and(|bytes| bytes < usize::MAX / 2) => {
            Ok(Entry { name, kind, shape, offset, bytes })
        }
        _ => Err(Error::Shape { name }),
    }
}

/// Tensors, sorted by offset, must lie one after another inside of what a file may hold.
fn check_layout(entries: &[Entry], start: u64, file_bytes: u64) -> Result<(), Error> {
    let mut free = 0_u64;
    for entry in entries {
        if entry.offset < free {
            return Err(Error::Overlap { name: entry.name.clone() });
        }
        let end = entry.offset.checked_add(entry.bytes);
        match end.filter(|&end| end.checked_add(start).is_some_and(|end| end <= file_bytes)) {
            Some(end) => free = end,
            None => return Err(Error::OutOfRange { name: entry.name.clone() }),
        }
    }
    Ok(())
}
