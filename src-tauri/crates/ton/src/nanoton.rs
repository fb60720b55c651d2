//! Amounts of money.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The unit shown to people.
pub const UNIT: &str = "TON";

const PER_COIN: u64 = 1_000_000_000;
const PLACES: usize = 9;

/// An amount in nanotons, a thousand-millionth of a Toncoin. Arithmetic is checked; there is no rounding and no float.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nanoton(pub u64);

impl Nanoton {
    /// The sum; `None` if it is too large.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The difference; `None` if it is below zero.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(difference) => Some(Self(difference)),
            None => None,
        }
    }

    /// So many times the amount; `None` if it is too large.
    pub const fn checked_mul(self, times: u64) -> Option<Self> {
        match self.0.checked_mul(times) {
            Some(product) => Some(Self(product)),
            None => None,
        }
    }
}

/// Why a text is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Something else than digits with at most one dot among them.
    #[error("an amount is digits, with at most one dot among them")]
    Form,
    /// More than nine digits behind the dot.
    #[error("nothing smaller than a billionth can be sent")]
    TooFine,
    /// More than can be counted.
    #[error("there is not that much")]
    TooLarge,
}

impl Nanoton {
    /// Reads what a person writes, in whole coins: `12`, `0.5`, `.000000001`. Neither signs nor exponents nor separators.
    pub fn from_coins(text: &str) -> Result<Self, AmountError> {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && part.is_empty()) || !digits(whole) || !digits(part) {
            return Err(AmountError::Form);
        }
        if part.len() > PLACES {
            return Err(AmountError::TooFine);
        }
        let number =
            |text: &str| if text.is_empty() { Ok(0_u64) } else { text.parse().map_err(|_| AmountError::TooLarge) };
        let coins = number(whole)?.checked_mul(PER_COIN).ok_or(AmountError::TooLarge)?;
        coins.checked_add(number(&format!("{part:0<PLACES$}"))?).map(Self).ok_or(AmountError::TooLarge)
    }
}

/// All nine places and the unit: `1.234567890 TON`.
impl fmt::Display for Nanoton {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09} {UNIT}", self.0 / PER_COIN, self.0 % PER_COIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_written_with_all_its_places() {
        assert_eq!(Nanoton(1_234_567_890).to_string(), "1.234567890 TON");
        assert_eq!(Nanoton(5).to_string(), "0.000000005 TON");
        assert_eq!(Nanoton(u64::MAX).to_string(), "18446744073.709551615 TON");
    }

    #[test]
    fn an_amount_is_read_exactly_or_not_at_all() {
        for (text, nano) in [
            ("0", 0),
            ("1.5", 1_500_000_000),
            (".000000001", 1),
            ("7.", 7_000_000_000),
            ("18446744073.709551615", u64::MAX),
        ] {
            assert_eq!(Nanoton::from_coins(text), Ok(Nanoton(nano)), "{text}");
        }
        for text in ["", ".", "-1", "+1", "1e9", "1,5", "1.2.3", " 1", "\u{661}"] {
            assert_eq!(Nanoton::from_coins(text), Err(AmountError::Form), "{text}");
        }
        assert_eq!(Nanoton::from_coins("0.0000000001"), Err(AmountError::TooFine));
        for text in ["18446744073.709551616", "18446744074", "99999999999999999999999999"] {
            assert_eq!(Nanoton::from_coins(text), Err(AmountError::TooLarge), "{text}");
        }
    }

    #[test]
    fn arithmetic_never_wraps() {
        assert_eq!(Nanoton(2).checked_add(Nanoton(3)), Some(Nanoton(5)));
        assert_eq!(Nanoton(u64::MAX).checked_add(Nanoton(1)), None);
        assert_eq!(Nanoton(1).checked_sub(Nanoton(2)), None);
        assert_eq!(Nanoton(u64::MAX).checked_mul(2), None);
        assert_eq!(Nanoton(7).checked_mul(6), Some(Nanoton(42)));
    }
}
