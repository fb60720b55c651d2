//! What a contract begins as, which is what its address is made of.

use crate::{Address, Cell, CellBuilder, CellError};

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

    /// Where the contract lives, in workchain 0.
    pub fn address(&self) -> Result<Address, CellError> {
        Ok(Address { workchain: 0, hash: self.to_cell()?.hash() })
    }
}
