//! What a contract begins as, which is what its address is made of.

use crate::{Address, Cell, CellBuilder, CellError, CellSlice};

/// Code and first data of a contract. The code may be known by its hash alone ([`Cell::opaque`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateInit {
    /// The code.
    pub code: Cell,
    /// The data.
    pub data: Cell,
}

impl StateInit {
    /// No split depth, not special, code, data, no library.
    const FORM: u64 = 0b00110;

    /// The cell.
    pub fn to_cell(&self) -> Result<Cell, CellError> {
        CellBuilder::new().uint(Self::FORM, 5).reference(self.code.clone()).reference(self.data.clone()).build()
    }

    /// Reads the cell. Contracts with a split depth, special ones and such with libraries are refused as a form that is not read.
    pub fn from_cell(cell: &Cell) -> Result<Self, CellError> {
        let mut slice = cell.slice()?;
        let init = Self::read(&mut slice)?;
        slice.end()?;
        Ok(init)
    }

    /// Reads it from the front of what is left.
    pub(crate) fn read(slice: &mut CellSlice<'_>) -> Result<Self, CellError> {
        if slice.uint(5)? != Self::FORM {
            return Err(CellError::Form { of: "initial state" });
        }
        Ok(Self { code: slice.reference()?.clone(), data: slice.reference()?.clone() })
    }

    /// Where the contract lives, in workchain 0.
    pub fn address(&self) -> Result<Address, CellError> {
        Ok(Address { workchain: 0, hash: self.to_cell()?.hash() })
    }
}
