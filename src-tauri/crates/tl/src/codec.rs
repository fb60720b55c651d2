//! The TL binary language: how a value of each field type is written and read.
//!
//! Every read checks the bytes that are left before it allocates, and a vector's count is checked against the fewest bytes
//! its elements can take; so what is allocated stays within a small multiple of the input.

use crate::Error;

/// Most bytes an object can have: the largest payload of a frame, 16 MiB.
pub const MAX_BYTES: usize = 1 << 24;
/// Most elements in one vector. The genuine parser bounds a vector by its bytes only; no honest list comes near this.
pub const MAX_ELEMENTS: usize = 1 << 16;
/// How deep the schema's types nest. No type contains itself, so the compiler proves the bound (see `schema!`), and bytes
/// have no say in it.
pub const MAX_DEPTH: usize = 6;

const TRUE: u32 = 0x997275b5;
const FALSE: u32 = 0xbc799737;
/// A string's length stands in one byte up to this; the values above announce a longer length.
const SHORT_STRING: usize = 253;
const LENGTH_IN_3_BYTES: u8 = 254;

/// Bytes being read, and how far.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_BYTES {
            return Err(Error::TooLong { had: bytes.len(), most: MAX_BYTES });
        }
        Ok(Self { bytes, at: 0 })
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take(&mut self, wanted: u64) -> Result<&'a [u8], Error> {
        let cut = Error::CutShort { at: self.at, wanted, had: self.left() };
        let Ok(length) = usize::try_from(wanted) else { return Err(cut) };
        let Some(taken) = self.bytes[self.at..].get(..length) else { return Err(cut) };
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    pub(crate) fn word(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// The content of a `string` or `bytes`; what the padding holds does not matter, as with the genuine parser.
    fn counted(&mut self) -> Result<&'a [u8], Error> {
        let [first] = self.array()?;
        let (length, head) = match first {
            ..LENGTH_IN_3_BYTES => (u64::from(first), 1),
            LENGTH_IN_3_BYTES => (self.wide_length::<3>()?, 4),
            _ => (self.wide_length::<7>()?, 8),
        };
        let content = self.take(length)?;
        self.take((4 - (head + length) % 4) % 4)?;
        Ok(content)
    }

    fn wide_length<const N: usize>(&mut self) -> Result<u64, Error> {
        let mut word = [0; 8];
        word[..N].copy_from_slice(self.take(N as u64)?);
        Ok(u64::from_le_bytes(word))
    }

    pub(crate) fn end(&self) -> Result<(), Error> {
        match self.left() {
            0 => Ok(()),
            left => Err(Error::LeftOver { at: self.at, left }),
        }
    }
}

/// A type that can be a field: structs stand bare, without their id; enums and `Bool` stand boxed, with it.
pub(crate) trait Field: Sized {
    /// Fewest bytes a value takes.
    const LEAST: usize;
    /// Levels of records below and including this one.
    const DEPTH: usize;
    /// The type as a field of the schema names it.
    fn schema_type() -> String;
    fn store(&self, to: &mut Vec<u8>);
    fn fetch(from: &mut Reader<'_>) -> Result<Self, Error>;
}

macro_rules! little_endian {
    ($($kind:ty, $size:literal, $name:literal;)*) => { $(
        impl Field for $kind {
            const LEAST: usize = $size;
            const DEPTH: usize = 0;
            fn schema_type() -> String {
                $name.to_owned()
            }
            fn store(&self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_le_bytes());
            }
            fn fetch(from: &mut Reader<'_>) -> Result<Self, Error> {
                Ok(Self::from_le_bytes(from.array()?))
            }
        }
    )* };
}

little_endian! {
    i32, 4, "int";
    i64, 8, "long";
    f64, 8, "double";
}

/// Flags, `#` in the schema.
impl Field for u32 {
    const LEAST: usize = 4;
    const DEPTH: usize = 0;
    fn schema_type() -> String {
        "#".to_owned()
    }
    fn store(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.to_le_bytes());
    }
    fn fetch(from: &mut Reader<'_>) -> Result<Self, Error> {
        let at = from.at();
        let flags = from.word()?;
        if flags >> 31 != 0 { Err(Error::BadFlags { at, flags }) } else { Ok(flags) }
    }
}

impl Field for bool {
    const LEAST: usize = 4;
    const DEPTH: usize = 0;
    fn schema_type() -> String {
        "Bool".to_owned()
    }
    fn store(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&(if *self { TRUE } else { FALSE }).to_le_bytes());
    }
    fn fetch(from: &mut Reader<'_>) -> Result<Self, Error> {
        let at = from.at();
        match from.word()? {
            TRUE => Ok(true),
            FALSE => Ok(false),
            id => Err(Error::NotBool { at, id }),
        }
    }
}

impl Field for [u8; 32] {
    const LEAST: usize = 32;
    const DEPTH: usize = 0;
    fn schema_type() -> String {
        "int256".to_owned()
    }
    fn store(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(self);
    }
    fn fetch(from: &mut Reader<'_>) -> Result<Self, Error> {
        from.array()
    }
}

impl Field for Vec<u8> {
    const LEAST: usize = 4;
    const DEPTH: usize = 0;
    fn schema_type() -> String {
        "bytes".to_owned()
    }
    fn store(&self, to: &mut Vec<u8>) {
        store_counted(self, to);
    }
    fn fetch(from: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(from.counted()?.to_vec())
    }
}

impl Field for String {
    const LEAST: usize = 4;
    const DEPTH: usize = 0;
    fn schema_type() -> String {
        "string".to_owned()
    }
    fn store(&self, to: &mut Vec<u8>) {
        store_counted(self.as_bytes(), to);
    }
    fn fetch(from: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(sanitised(from.counted()?))
    }
}

/// A bare vector: its count, then its elements.
impl<T: Field> Field for Vec<T> {
    const LEAST: usize = 4;
    const DEPTH: usize = T::DEPTH;
    fn schema_type() -> String {
        format!("vector {}", T::schema_type())
    }
    fn store(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&(self.len() as u32).to_le_bytes());
        for element in self {
            element.store(to);
        }
    }
    fn fetch(from: &mut Reader<'_>) -> Result<Self, Error> {
        let at = from.at();
        let count = from.word()?;
        let most = (from.left() / T::LEAST).min(MAX_ELEMENTS);
        if count as usize > most {
            return Err(Error::TooManyElements { at, count, most });
        }
        let mut elements = Self::with_capacity(count as usize);
        for _ in 0..count {
            elements.push(T::fetch(from)?);
        }
        Ok(elements)
    }
}

fn store_counted(content: &[u8], to: &mut Vec<u8>) {
    let length = content.len() as u64;
    let head = if content.len() <= SHORT_STRING {
        to.push(length as u8);
        1
    } else if content.len() < MAX_BYTES {
        to.extend_from_slice(&(u64::from(LENGTH_IN_3_BYTES) | length << 8).to_le_bytes()[..4]);
        4
    } else {
        to.extend_from_slice(&(0xff | length << 8).to_le_bytes());
        8
    };
    to.extend_from_slice(content);
    to.resize(to.len() + (4 - (head + content.len()) % 4) % 4, 0);
}

/// Text as the genuine parser takes it from a network: zero bytes become spaces; text that is no UTF-8 loses its last
/// character, and is dropped altogether if that does not help.
fn sanitised(content: &[u8]) -> String {
    let mut text = content.to_vec();
    for byte in &mut text {
        if *byte == 0 {
            *byte = b' ';
        }
    }
    String::from_utf8(text).unwrap_or_else(|error| {
        let mut text = error.into_bytes();
        let last_character = text.iter().rposition(|byte| byte & 0xc0 != 0x80).unwrap_or(0);
        text.truncate(last_character);
        String::from_utf8(text).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(field: &impl Field) -> Vec<u8> {
        let mut bytes = Vec::new();
        field.store(&mut bytes);
        bytes
    }

    fn fetched<T: Field>(bytes: &[u8]) -> Result<T, Error> {
        let mut reader = Reader::new(bytes)?;
        let value = T::fetch(&mut reader)?;
        reader.end()?;
        Ok(value)
    }

    #[test]
    fn a_string_is_padded_to_whole_words_counted_from_its_length() {
        assert_eq!(stored(&"POST".to_owned()), b"\x04POST\0\0\0");
        assert_eq!(stored(&"27".to_owned()), b"\x0227\0");
        assert_eq!(stored(&Vec::<u8>::new()), b"\0\0\0\0");
        assert_eq!(stored(&vec![7_u8; 253])[..2], [253, 7]);
        assert_eq!(stored(&vec![7_u8; 254])[..5], [254, 254, 0, 0, 7]);
    }

    #[test]
    fn a_string_of_sixteen_mebibytes_takes_the_longest_form_of_length() {
        let bytes = stored(&vec![1_u8; MAX_BYTES]);
        assert_eq!(bytes[..9], [255, 0, 0, 0, 1, 0, 0, 0, 1]);
        assert_eq!(bytes.len(), MAX_BYTES + 8);
        assert_eq!(fetched::<Vec<u8>>(&bytes), Err(Error::TooLong { had: MAX_BYTES + 8, most: MAX_BYTES }));
    }

    #[test]
    fn every_form_of_length_is_read_and_padding_does_not_matter() {
        assert_eq!(fetched::<Vec<u8>>(&[2, 8, 9, 77]).unwrap(), [8, 9]);
        assert_eq!(fetched::<Vec<u8>>(&[254, 1, 0, 0, 9, 1, 2, 3]).unwrap(), [9]);
        assert_eq!(fetched::<Vec<u8>>(&[255, 1, 0, 0, 0, 0, 0, 0, 9, 1, 2, 3]).unwrap(), [9]);
    }

    #[test]
    fn a_length_beyond_the_input_says_both_numbers() {
        assert_eq!(fetched::<Vec<u8>>(&[9, 1, 2, 3]), Err(Error::CutShort { at: 1, wanted: 9, had: 3 }));
        assert_eq!(fetched::<Vec<u8>>(&[1, 1]), Err(Error::CutShort { at: 2, wanted: 2, had: 0 }));
        assert_eq!(
            fetched::<Vec<u8>>(&[255; 12]),
            Err(Error::CutShort { at: 8, wanted: 0x00ff_ffff_ffff_ffff, had: 4 })
        );
    }

    #[test]
    fn a_vector_counts_no_more_elements_than_its_bytes_can_hold() {
        let many = |count: u32, bytes: usize| [&count.to_le_bytes()[..], &vec![0; bytes]].concat();
        assert_eq!(fetched::<Vec<i64>>(&many(2, 16)).unwrap(), [0, 0]);
        assert_eq!(fetched::<Vec<i64>>(&many(3, 16)), Err(Error::TooManyElements { at: 0, count: 3, most: 2 }));
        assert_eq!(
            fetched::<Vec<i32>>(&many(u32::MAX, 400_000)),
            Err(Error::TooManyElements { at: 0, count: u32::MAX, most: MAX_ELEMENTS })
        );
    }

    #[test]
    fn only_the_two_ids_of_bool_are_bool() {
        assert_eq!(fetched::<bool>(&stored(&true)), Ok(true));
        assert_eq!(fetched::<bool>(&stored(&false)), Ok(false));
        assert_eq!(fetched::<bool>(&[1, 0, 0, 0]), Err(Error::NotBool { at: 0, id: 1 }));
    }

    #[test]
    fn flags_with_the_highest_bit_are_refused_and_other_unknown_bits_are_kept() {
        assert_eq!(fetched::<u32>(&[1, 0, 0, 0x40]), Ok(0x4000_0001));
        assert_eq!(fetched::<u32>(&[1, 0, 0, 0x80]), Err(Error::BadFlags { at: 0, flags: 0x8000_0001 }));
    }

    #[test]
    fn text_from_the_network_is_sanitised_as_the_genuine_parser_does() {
        assert_eq!(sanitised(b"a\0b"), "a b");
        assert_eq!(sanitised("na\u{ef}ve".as_bytes()), "na\u{ef}ve");
        assert_eq!(sanitised(b"ab\xc3"), "ab", "a cut last character goes");
        assert_eq!(sanitised(b"ab\xe2\x82"), "ab", "with all the bytes it had");
        assert_eq!(sanitised(b"a\xffb\0"), "", "a fault further in drops all");
        assert_eq!(sanitised(b"\x80\x80"), "");
        assert_eq!(sanitised(b"\xff"), "");
    }
}
