//! Amounts of money.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The unit shown to people.
pub const UNIT: &str = "TON";

const PER_COIN: u64 = 1_000_000_000;

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
    fn arithmetic_never_wraps() {
        assert_eq!(Nanoton(2).checked_add(Nanoton(3)), Some(Nanoton(5)));
        assert_eq!(Nanoton(u64::MAX).checked_add(Nanoton(1)), None);
        assert_eq!(Nanoton(1).checked_sub(Nanoton(2)), None);
        assert_eq!(Nanoton(u64::MAX).checked_mul(2), None);
        assert_eq!(Nanoton(7).checked_mul(6), Some(Nanoton(42)));
    }
}
