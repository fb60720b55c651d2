//! Addresses of accounts, and their three spellings.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest text that can be an address: `-128:` and 64 hex digits, with room to spare.
const MAX_TEXT: usize = 80;
const FRIENDLY_TEXT: usize = 48;
const FRIENDLY_BYTES: usize = 36;
const GROUP: usize = 4;
const BOUNCEABLE: u8 = 0x11;
const NON_BOUNCEABLE: u8 = 0x51;
const TESTNET: u8 = 0x80;

/// Where an account lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address {
    /// 0 for ordinary contracts, -1 for the masterchain's.
    pub workchain: i8,
    /// Hash of the account's initial state.
    pub hash: [u8; 32],
}

/// The raw spelling, `0:…`, which says nothing about bouncing or networks.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.workchain, hex::encode(self.hash))
    }
}

/// An address as a text gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressText {
    /// The address.
    pub address: Address,
    /// Whether money that the account can't take shall come back.
    pub bounceable: bool,
    /// Whether it is meant for the test network only.
    pub testnet: bool,
}

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither 48 characters of base64 nor a workchain, a colon and 64 hex digits.
    #[error("{length} characters are neither base64 nor the raw form of an address")]
    Form {
        /// Bytes of the text.
        length: usize,
    },
    /// The first byte says neither bounceable nor non-bounceable.
    #[error("tag {tag:#04x} is none of an address")]
    Tag {
        /// The byte.
        tag: u8,
    },
    /// The raw form, which has no checksum, where somebody may have mistyped it.
    #[error("the raw form has no checksum; the form of 48 characters is wanted")]
    Raw,
    /// A character is wrong or missing.
    #[error("the checksum is {found:#06x}, it should be {expected:#06x}: a character is wrong")]
    Checksum {
        /// What the text says.
        found: u16,
        /// What its content asks for.
        expected: u16,
    },
}

impl AddressText {
    /// Reads any of the three spellings: raw (taken as bounceable and not for the test network), and both alphabets of base64.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let wrong = AddressError::Form { length: text.len() };
        if text.len() > MAX_TEXT {
            return Err(wrong);
        }
        if let Some((workchain, hash)) = text.split_once(':') {
            let digits = workchain.strip_prefix('-').unwrap_or(workchain);
            if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
                return Err(wrong);
            }
            let workchain = workchain.parse().map_err(|_| wrong)?;
            let mut bytes = [0; 32];
            hex::decode_to_slice(hash, &mut bytes).map_err(|_| wrong)?;
            return Ok(Self { address: Address { workchain, hash: bytes }, bounceable: true, testnet: false });
        }
        if text.len() != FRIENDLY_TEXT {
            return Err(wrong);
        }
        let decoded = URL_SAFE_NO_PAD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).map_err(|_| wrong)?;
        let bytes: [u8; FRIENDLY_BYTES] = decoded.try_into().map_err(|_| wrong)?;
        let [tag, workchain, hash @ .., high, low] = bytes;
        let (found, expected) = (u16::from_be_bytes([high, low]), crc16(&bytes[..FRIENDLY_BYTES - 2]));
        if found != expected {
            return Err(AddressError::Checksum { found, expected });
        }
        let bounceable = match tag & !TESTNET {
            BOUNCEABLE => true,
            NON_BOUNCEABLE => false,
            _ => return Err(AddressError::Tag { tag }),
        };
        let address = Address { workchain: i8::from_be_bytes([workchain]), hash };
        Ok(Self { address, bounceable, testnet: tag & TESTNET != 0 })
    }

    /// Reads the form of 48 characters only: what a person types or pastes needs the checksum and the flags.
    pub fn parse_friendly(text: &str) -> Result<Self, AddressError> {
        match Self::parse(text) {
            Ok(_) if text.contains(':') => Err(AddressError::Raw),
            parsed => parsed,
        }
    }

    /// The 48 characters in twelve groups of four, to be compared by eye.
    pub fn groups(&self) -> String {
        let mut text = String::with_capacity(FRIENDLY_TEXT + FRIENDLY_TEXT / GROUP);
        for (at, letter) in self.to_text().chars().enumerate() {
            if at > 0 && at % GROUP == 0 {
                text.push(' ');
            }
            text.push(letter);
        }
        text
    }

    /// 48 characters of URL-safe base64, as the genuine programs write addresses.
    pub fn to_text(&self) -> String {
        let tag = if self.bounceable { BOUNCEABLE } else { NON_BOUNCEABLE };
        let mut bytes = vec![tag | if self.testnet { TESTNET } else { 0 }];
        bytes.extend(self.address.workchain.to_be_bytes());
        bytes.extend(self.address.hash);
        bytes.extend(crc16(&bytes).to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

impl fmt::Display for AddressText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: &str = "UQAuz15H1ZHrZ_psVrAra7HealMIVeFq0wguqlmFno1f3B-m";
    const ROOT: &str = "EQBT4hy4vMEZ9uxSCuhw_gBKh9_AwmHXLe7Wo0O4Vh-4kRjJ";

    #[test]
    fn every_spelling_names_the_same_account() {
        let friendly = AddressText::parse(ROOT).unwrap();
        assert!(friendly.bounceable && !friendly.testnet);
        assert_eq!(friendly.to_text(), ROOT);
        let standard = ROOT.replace('_', "/").replace('-', "+");
        assert_eq!(AddressText::parse(&standard), Ok(friendly));
        let raw = AddressText::parse(&friendly.address.to_string()).unwrap();
        assert_eq!(raw, friendly, "the raw form is taken as bounceable");
        assert_eq!(AddressText::parse(&friendly.address.to_string().to_uppercase()), Ok(friendly));
    }

    #[test]
    fn the_first_character_says_what_the_address_is_for() {
        let owner = AddressText::parse(OWNER).unwrap();
        assert!(!owner.bounceable && !owner.testnet);
        let testnet = AddressText { testnet: true, ..owner };
        assert!(testnet.to_text().starts_with("0Q"));
        assert_eq!(AddressText::parse(&testnet.to_text()), Ok(testnet));
        let masterchain = AddressText { address: Address { workchain: -1, ..owner.address }, ..owner };
        assert_eq!(AddressText::parse(&masterchain.to_text()), Ok(masterchain));
        assert_eq!(AddressText::parse(&masterchain.address.to_string()).unwrap().address, masterchain.address);
    }

    #[test]
    fn a_wrong_character_is_noticed() {
        for at in 0..OWNER.len() {
            let mut text = OWNER.to_owned();
            let other = if &text[at..=at] == "A" { "B" } else { "A" };
            text.replace_range(at..=at, other);
            assert!(AddressText::parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_a_person_types_must_have_a_checksum() {
        let root = AddressText::parse(ROOT).unwrap();
        assert_eq!(AddressText::parse_friendly(ROOT), Ok(root));
        assert_eq!(AddressText::parse_friendly(&root.address.to_string()), Err(AddressError::Raw));
        assert_eq!(AddressText::parse_friendly("0:1"), Err(AddressError::Form { length: 3 }));
    }

    #[test]
    fn groups_of_four_are_the_same_text() {
        let groups = AddressText::parse(ROOT).unwrap().groups();
        assert_eq!(groups, "EQBT 4hy4 vMEZ 9uxS Cuhw _gBK h9_A wmHX Le7W o0O4 Vh-4 kRjJ");
        assert_eq!(groups.replace(' ', ""), ROOT);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let hash = "00".repeat(32);
        let raw = |workchain: &str| format!("{workchain}:{hash}");
        for text in [
            "",
            ":",
            "0:",
            &raw(""),
            &raw("+0"),
            &raw("--1"),
            &raw("128"),
            &raw("-129"),
            &raw("0")[..65],
            &format!("0:{hash}0"),
            &OWNER[..47],
            &format!(" {OWNER}"),
            &"\u{e9}".repeat(24),
        ] {
            assert!(matches!(AddressText::parse(text), Err(AddressError::Form { .. })), "{text}");
        }
    }
}
