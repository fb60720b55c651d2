//! A text as a picture that a phone can read (QR code, ISO/IEC 18004).

use qrcodegen::{QrCode, QrCodeEcc};
use serde::{Deserialize, Serialize};
use specta::Type;

use super::{ApiError, ErrorCode};

/// Longest text, in bytes: an address with a scheme in front and room to spare.
const MAX_TEXT: usize = 200;

/// Squares, dark and light, without the quiet zone that must be around them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub(crate) struct Qr {
    /// Rows from top to bottom; in each a letter for a square, `1` dark and `0` light. As many rows as letters.
    pub rows: Vec<String>,
}

impl Qr {
    /// The picture of a text, readable with a seventh of it hidden.
    pub(crate) fn of(text: &str) -> Result<Self, ApiError> {
        let refused = |message: &str| ApiError { code: ErrorCode::Request, message: message.to_owned() };
        if text.is_empty() || text.len() > MAX_TEXT {
            return Err(refused("only a text of 1 to 200 bytes becomes a picture"));
        }
        let code = QrCode::encode_text(text, QrCodeEcc::Medium).map_err(|_| refused("the text is too long"))?;
        let row = |y| (0..code.size()).map(|x| if code.get_module(x, y) { '1' } else { '0' }).collect();
        Ok(Self { rows: (0..code.size()).map(row).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_becomes_a_square_with_its_three_marks() {
        let rows = Qr::of("ton://transfer/UQDyibNJwwW_94zrdABK4bxTrWseZiaszywJH3Iu2OM52FL0").unwrap().rows;
        assert!(rows.len() >= 29 && rows.iter().all(|row| row.len() == rows.len()));
        let last = rows.len() - 7;
        for (x, y) in [(0, 0), (last, 0), (0, last)] {
            let mark: Vec<&str> = rows[y..y + 7].iter().map(|row| &row[x..x + 7]).collect();
            assert_eq!(mark, ["1111111", "1000001", "1011101", "1011101", "1011101", "1000001", "1111111"]);
        }
        assert_ne!(Qr::of("a").unwrap(), Qr::of("b").unwrap());
    }

    #[test]
    fn no_text_or_too_much_of_it_is_refused() {
        for text in [String::new(), "a".repeat(MAX_TEXT + 1)] {
            assert_eq!(Qr::of(&text).unwrap_err().code, ErrorCode::Request);
        }
        assert!(Qr::of(&"ä".repeat(MAX_TEXT / 2)).is_ok());
    }
}
