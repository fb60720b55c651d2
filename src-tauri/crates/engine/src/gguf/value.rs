//! Values of key-value pairs.

use super::reader::{Error, Source};

/// One value.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names are the format's own types")]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    Text(String),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// Values of one type. Types that no supported model uses are kept as bytes.
#[derive(Debug, Clone, PartialEq)]
pub enum Array {
    /// Texts, as a vocabulary.
    Text(Vec<String>),
    /// 32-bit signed numbers, as token types.
    I32(Vec<i32>),
    /// 32-bit unsigned numbers.
    U32(Vec<u32>),
    /// 32-bit floats, as token scores.
    F32(Vec<f32>),
    /// Anything else: the type's number and the little-endian bytes.
    Other(u32, Vec<u8>),
}

impl Value {
    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number that is not negative, whatever its width.
    pub fn unsigned(&self) -> Option<u64> {
        match *self {
            Self::U8(value) => Some(value.into()),
            Self::U16(value) => Some(value.into()),
            Self::U32(value) => Some(value.into()),
            Self::U64(value) => Some(value),
            Self::I8(value) => value.try_into().ok(),
            Self::I16(value) => value.try_into().ok(),
            Self::I32(value) => value.try_into().ok(),
            Self::I64(value) => value.try_into().ok(),
            _ => None,
        }
    }

    /// The float.
    pub fn float(&self) -> Option<f32> {
        match *self {
            Self::F32(value) => Some(value),
            Self::F64(value) => Some(value as f32),
            _ => None,
        }
    }

    /// The truth value.
    pub fn bool(&self) -> Option<bool> {
        match *self {
            Self::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The texts of an array of texts.
    pub fn texts(&self) -> Option<&[String]> {
        match self {
            Self::Array(Array::Text(texts)) => Some(texts),
            _ => None,
        }
    }
}

const TEXT: u32 = 8;
const ARRAY: u32 = 9;
/// One text of a file; a chat template may have some hundred kilobytes.
const MAX_TEXT_BYTES: u64 = 4 << 20;
/// Values of one array; the largest vocabularies have a quarter of a million tokens.
const MAX_ARRAY: u64 = 4 << 20;

pub(super) fn read(source: &mut Source<'_>) -> Result<Value, Error> {
    let id = source.u32()?;
    Ok(match id {
        0 => Value::U8(u8::from_le_bytes(source.array()?)),
        1 => Value::I8(i8::from_le_bytes(source.array()?)),
        2 => Value::U16(u16::from_le_bytes(source.array()?)),
        3 => Value::I16(i16::from_le_bytes(source.array()?)),
        4 => Value::U32(u32::from_le_bytes(source.array()?)),
        5 => Value::I32(i32::from_le_bytes(source.array()?)),
        6 => Value::F32(f32::from_le_bytes(source.array()?)),
        7 => match source.array::<1>()? {
            [0] => Value::Bool(false),
            [1] => Value::Bool(true),
            [value] => return Err(Error::NotBool { value }),
        },
        TEXT => Value::Text(source.text(MAX_TEXT_BYTES)?),
        ARRAY => Value::Array(read_array(source)?),
        10 => Value::U64(u64::from_le_bytes(source.array()?)),
        11 => Value::I64(i64::from_le_bytes(source.array()?)),
        12 => Value::F64(f64::from_le_bytes(source.array()?)),
        _ => return Err(Error::ValueType { id }),
    })
}

fn read_array(source: &mut Source<'_>) -> Result<Array, Error> {
    let id = source.u32()?;
    let count = source.u64()?;
    if count > MAX_ARRAY {
        return Err(Error::TooMany { what: "values of one array", count, limit: MAX_ARRAY });
    }
    let width = match id {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        10..=12 => 8,
        TEXT => {
            let mut texts = Vec::new();
            for _ in 0..count {
                texts.push(source.text(MAX_TEXT_BYTES)?);
            }
            return Ok(Array::Text(texts));
        }
        ARRAY => return Err(Error::NestedArray),
        _ => return Err(Error::ValueType { id }),
    };
    let bytes = source.bytes(count * width)?;
    let (words, _) = bytes.as_chunks::<4>();
    Ok(match id {
        4 => Array::U32(words.iter().map(|&word| u32::from_le_bytes(word)).collect()),
        5 => Array::I32(words.iter().map(|&word| i32::from_le_bytes(word)).collect()),
        6 => Array::F32(words.iter().map(|&word| f32::from_le_bytes(word)).collect()),
        _ => Array::Other(id, bytes),
    })
}
