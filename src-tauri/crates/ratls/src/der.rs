//! Reading DER, as much of it as a certificate needs: definite lengths, one-byte tags, no recursion.
//! May not: know what a certificate is.

use thiserror::Error;

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;

/// Why bytes are not the DER that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DerError {
    /// An element promises more bytes than there are.
    #[error("an element is cut short")]
    CutShort,
    /// Indefinite, not minimal, or more than three bytes long.
    #[error("a length is not DER, or far too large")]
    BadLength,
    /// A tag of more than one byte.
    #[error("a tag of several bytes is not supported")]
    LongTag,
    /// Another element was due.
    #[error("expected an element with tag {expected:#04x}, found {found:#04x}")]
    WrongTag {
        /// Tag of the element that was due.
        expected: u8,
        /// Tag of the element that stood there.
        found: u8,
    },
    /// Bytes follow where none may.
    #[error("bytes are left over after the last element")]
    LeftOver,
    /// The content of an element is not what its type says.
    #[error("the content of an element does not fit its type")]
    BadContent,
}

/// One element: its tag, its content, and all its bytes with tag and length.
#[derive(Clone, Copy)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    pub(crate) whole: &'a [u8],
}

/// Elements one after the other. Each step consumes at least two bytes, so every walk ends.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Refuses bytes that are left over.
    pub(crate) fn end(&self) -> Result<(), DerError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DerError::LeftOver) }
    }

    /// The next element, whatever it is.
    pub(crate) fn element(&mut self) -> Result<Element<'a>, DerError> {
        let (&tag, after_tag) = self.rest.split_first().ok_or(DerError::CutShort)?;
        if tag & 0x1f == 0x1f {
            return Err(DerError::LongTag);
        }
        let (&first, mut after) = after_tag.split_first().ok_or(DerError::CutShort)?;
        let mut length = usize::from(first);
        if first & 0x80 != 0 {
            let count = usize::from(first & 0x7f);
            if !(1..=3).contains(&count) {
                return Err(DerError::BadLength);
            }
            let (digits, rest) = after.split_at_checked(count).ok_or(DerError::CutShort)?;
            length = digits.iter().fold(0, |value, &digit| (value << 8) | usize::from(digit));
            if length < 0x80 || digits.first() == Some(&0) {
                return Err(DerError::BadLength);
            }
            after = rest;
        }
        let (content, rest) = after.split_at_checked(length).ok_or(DerError::CutShort)?;
        let (whole, _) = self.rest.split_at_checked(self.rest.len() - rest.len()).ok_or(DerError::CutShort)?;
        self.rest = rest;
        Ok(Element { tag, content, whole })
    }

    /// The next element, which must have this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Result<Element<'a>, DerError> {
        let element = self.element()?;
        if element.tag == tag { Ok(element) } else { Err(DerError::WrongTag { expected: tag, found: element.tag }) }
    }

    /// The next element if it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, DerError> {
        if self.rest.first() == Some(&tag) { self.element().map(Some) } else { Ok(None) }
    }

    /// A reader over the content of the next element, which must have this tag.
    pub(crate) fn inside(&mut self, tag: u8) -> Result<Reader<'a>, DerError> {
        Ok(Reader::new(self.expect(tag)?.content))
    }
}

/// The only element of `bytes`, which must have this tag.
pub(crate) fn only(bytes: &[u8], tag: u8) -> Result<Element<'_>, DerError> {
    let mut reader = Reader::new(bytes);
    let element = reader.expect(tag)?;
    reader.end()?;
    Ok(element)
}

/// The content of a BOOLEAN.
pub(crate) fn boolean(element: Element<'_>) -> Result<bool, DerError> {
    match element.content {
        [0x00] => Ok(false),
        [0xff] => Ok(true),
        _ => Err(DerError::BadContent),
    }
}

/// The content of a BIT STRING and the number of bits at its end that do not count.
pub(crate) fn bits(element: Element<'_>) -> Result<(&[u8], u8), DerError> {
    match element.content {
        [0] => Ok((&[], 0)),
        [unused @ 0..=7, bytes @ ..] if !bytes.is_empty() => Ok((bytes, *unused)),
        _ => Err(DerError::BadContent),
    }
}

/// An object identifier in dotted form, for messages.
pub(crate) fn dotted(identifier: &[u8]) -> String {
    let mut text = String::new();
    let mut number = 0_u64;
    for &byte in identifier.iter().take(64) {
        number = (number << 7) | u64::from(byte & 0x7f);
        if number >> 56 != 0 {
            text.push_str(".…");
            return text;
        }
        if byte & 0x80 == 0 {
            if text.is_empty() {
                let first = (number / 40).min(2);
                text = format!("{first}.{}", number - first * 40);
            } else {
                text = format!("{text}.{number}");
            }
            number = 0;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> DerError {
        Reader::new(bytes).element().err().unwrap()
    }

    #[test]
    fn an_element_is_split_into_tag_content_and_rest() {
        let mut reader = Reader::new(&[0x04, 0x02, 0xaa, 0xbb, 0x05, 0x00]);
        let element = reader.expect(OCTET_STRING).unwrap();
        assert_eq!(
            (element.tag, element.content, element.whole),
            (4, &[0xaa, 0xbb][..], &[0x04, 0x02, 0xaa, 0xbb][..])
        );
        assert_eq!(reader.end(), Err(DerError::LeftOver));
        assert_eq!(reader.element().unwrap().tag, 5);
        assert!(reader.is_at_end());
    }

    #[test]
    fn lengths_of_two_and_three_bytes_are_read() {
        for (head, length) in [
            (&[0x04, 0x81, 0x80][..], 0x80),
            (&[0x04, 0x82, 0x01, 0x00][..], 0x100),
            (&[0x04, 0x83, 1, 0, 0][..], 0x10000),
        ] {
            let mut bytes = head.to_vec();
            bytes.resize(head.len() + length, 7);
            assert_eq!(only(&bytes, OCTET_STRING).unwrap().content.len(), length);
        }
    }

    #[test]
    fn what_is_not_der_is_refused() {
        assert_eq!(refused(&[]), DerError::CutShort);
        assert_eq!(refused(&[0x30]), DerError::CutShort);
        assert_eq!(refused(&[0x30, 0x01]), DerError::CutShort);
        assert_eq!(refused(&[0x30, 0x80, 0x00, 0x00]), DerError::BadLength, "an indefinite length");
        assert_eq!(refused(&[0x04, 0x81, 0x01, 0x00]), DerError::BadLength, "a length that is not minimal");
        assert_eq!(refused(&[0x04, 0x82, 0x00, 0x80]), DerError::BadLength, "a length with a leading zero");
        assert_eq!(refused(&[0x04, 0x84, 0xff, 0xff, 0xff, 0xff]), DerError::BadLength, "a length of four bytes");
        assert_eq!(refused(&[0x1f, 0x81, 0x01, 0x00]), DerError::LongTag);
    }

    #[test]
    fn an_object_identifier_is_written_in_dotted_form() {
        assert_eq!(dotted(&[0x2b, 0x06, 0x01, 0x04, 0x01, 0xe0, 0x39, 0x01]), "1.3.6.1.4.1.12345.1");
        assert_eq!(dotted(&[0x55, 0x1d, 0x0f]), "2.5.29.15");
        assert_eq!(dotted(&[0xff; 40]), ".…");
    }
}
