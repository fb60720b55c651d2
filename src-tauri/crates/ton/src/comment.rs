//! Texts in the body of a transfer: the comment that wallets show, and that exchanges use to know whom the money is for.
//!
//! ```text
//! 0 u32 | text in UTF-8, as much as fits | reference to a cell with what follows, and so on
//! ```

use crate::{Cell, CellBuilder, CellError, MAX_DEPTH};

/// Bytes of a text in the first cell, behind the zero, and in each further one.
const FIRST: usize = 123;
const FURTHER: usize = 127;
/// Longest comment that is written or read, in bytes: as long as a chain of cells may be.
pub const MAX_COMMENT: usize = FIRST + FURTHER * (MAX_DEPTH as usize - 4);

/// A body that says this text. `Err` if it is longer than [`MAX_COMMENT`].
pub fn comment(text: &str) -> Result<Cell, CellError> {
    let bytes = text.as_bytes();
    if bytes.len() > MAX_COMMENT {
        return Err(CellError::TooDeep);
    }
    let (first, further) = bytes.split_at_checked(FIRST).unwrap_or((bytes, &[]));
    let mut rest = None;
    for chunk in further.chunks(FURTHER).rev() {
        rest = Some(link(CellBuilder::new().bytes(chunk), rest)?);
    }
    link(CellBuilder::new().uint(0, 32).bytes(first), rest)
}

/// The text that a body says; `None` if it says something else, or in other than UTF-8.
pub fn read_comment(body: &Cell) -> Option<String> {
    let mut slice = body.slice().ok()?;
    if slice.uint(32).ok()? != 0 {
        return None;
    }
    let mut bytes = Vec::new();
    loop {
        if slice.bits_left() % 8 != 0 {
            return None;
        }
        while slice.bits_left() > 0 {
            bytes.push(slice.uint(8).ok()? as u8);
        }
        if bytes.len() > MAX_COMMENT {
            return None;
        }
        match slice.refs_left() {
            0 => break,
            1 => slice = slice.reference().ok()?.slice().ok()?,
            _ => return None,
        }
    }
    String::from_utf8(bytes).ok()
}

fn link(builder: CellBuilder, rest: Option<Cell>) -> Result<Cell, CellError> {
    match rest {
        Some(rest) => builder.reference(rest).build(),
        None => builder.build(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_of_every_length_come_back() {
        for length in [0, 1, FIRST - 1, FIRST, FIRST + 1, FIRST + FURTHER, FIRST + FURTHER + 1, 5_000, MAX_COMMENT] {
            // Three bytes a letter, so that letters are cut by the ends of cells.
            let text: String = "\u{20ac}".repeat(length / 3) + &"x".repeat(length % 3);
            let cell = comment(&text).unwrap();
            assert_eq!(read_comment(&cell), Some(text));
            // It can still be put into a message and that into a bag.
            assert!(usize::from(cell.depth()) < usize::from(MAX_DEPTH) - 3);
        }
        assert_eq!(comment(&"x".repeat(MAX_COMMENT + 1)), Err(CellError::TooDeep));
    }

    #[test]
    fn what_is_no_text_is_none() {
        let with = |builder: CellBuilder| read_comment(&builder.build().unwrap());
        assert_eq!(with(CellBuilder::new()), None);
        assert_eq!(with(CellBuilder::new().uint(1, 32)), None);
        assert_eq!(with(CellBuilder::new().uint(0, 33)), None);
        assert_eq!(with(CellBuilder::new().uint(0, 32).uint(0xff, 8)), None);
        let two = CellBuilder::new().uint(0, 32).reference(Cell::empty()).reference(Cell::empty());
        assert_eq!(with(two), None);
    }
}
