//! What get-methods take and give.

use num_bigint::{BigInt, Sign};
use ton::{Address, Cell};

/// A value on the virtual machine's stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StackValue {
    /// Nothing.
    Null,
    /// A whole number of at most 257 bits.
    Int(BigInt),
    /// A cell.
    Cell(Cell),
    /// What is left of a cell being read, as a cell of its own.
    Slice(Cell),
    /// Several values.
    Tuple(Vec<StackValue>),
}

impl StackValue {
    /// A number.
    pub fn int(value: impl Into<BigInt>) -> Self {
        Self::Int(value.into())
    }

    /// 256 bits as a number, the highest byte first.
    pub fn uint256(bytes: &[u8; 32]) -> Self {
        Self::Int(BigInt::from_bytes_be(Sign::Plus, bytes))
    }

    /// A number that fits.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Int(value) => value.try_into().ok(),
            _ => None,
        }
    }

    /// 256 bits, if it is a number from 0 to 2^256 - 1.
    pub fn as_uint256(&self) -> Option<[u8; 32]> {
        let Self::Int(value) = self else { return None };
        let (sign, bytes) = value.to_bytes_be();
        if sign == Sign::Minus || bytes.len() > 32 {
            return None;
        }
        let mut out = [0; 32];
        out.get_mut(32 - bytes.len()..)?.copy_from_slice(&bytes);
        Some(out)
    }

    /// A cell, whole or as what is left of one.
    pub fn as_cell(&self) -> Option<&Cell> {
        match self {
            Self::Cell(cell) | Self::Slice(cell) => Some(cell),
            _ => None,
        }
    }

    /// An address in the standard form.
    pub fn as_address(&self) -> Option<Address> {
        self.as_cell()?.slice().ok()?.address().ok()
    }
}
