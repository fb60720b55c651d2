//! Cells: bits and references, named by their hash.

use crate::{Address, Nanoton};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;

/// Most bits in a cell.
pub const MAX_BITS: usize = 1023;
/// Most references in a cell.
pub const MAX_REFS: usize = 4;
/// Deepest tree of cells that is built or read.
pub const MAX_DEPTH: u16 = 512;

/// Bits of an address: two of its kind, one for no anycast, eight of the workchain, 256 of the hash.
const STANDARD_ADDRESS: u64 = 0b100;
const LONGEST_AMOUNT: usize = 8;

/// Why a cell can't be built, or does not hold what is read from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CellError {
    /// More bits than fit.
    #[error("{bits} bits do not fit into a cell of {MAX_BITS}")]
    TooManyBits {
        /// Bits it would have.
        bits: usize,
    },
    /// More references than fit.
    #[error("a cell has at most {MAX_REFS} references")]
    TooManyRefs,
    /// The tree would be too deep.
    #[error("cells are nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// Fewer bits than a field needs.
    #[error("{wanted} bits are wanted, {left} are left")]
    TooFewBits {
        /// Bits of the field.
        wanted: usize,
        /// Bits that are left.
        left: usize,
    },
    /// No reference where one is needed.
    #[error("a reference is missing")]
    MissingRef,
    /// Something follows what was to be read.
    #[error("{bits} bits and {refs} references are left over")]
    LeftOver {
        /// Bits left.
        bits: usize,
        /// References left.
        refs: usize,
    },
    /// Another form of address than the standard one.
    #[error("the address is not in the standard form")]
    Address,
    /// An amount that is longer than eight bytes, or not in its shortest form.
    #[error("the amount is too long or not in its shortest form")]
    Amount,
    /// Bits that say something is of a form that is not read here.
    #[error("the {of} is in a form that is not read")]
    Form {
        /// What it is.
        of: &'static str,
    },
    /// The content of a cell that is known by its hash alone.
    #[error("the cell's content is not known")]
    Opaque,
}

struct Inner {
    /// Bits, the first one highest in the first byte; unused ones are zero.
    data: Vec<u8>,
    bits: usize,
    refs: Vec<Cell>,
    hash: [u8; 32],
    depth: u16,
    opaque: bool,
}

/// An immutable cell. Clones share it.
#[derive(Clone)]
pub struct Cell(Arc<Inner>);

impl PartialEq for Cell {
    fn eq(&self, other: &Self) -> bool {
        self.0.hash == other.0.hash
    }
}

impl Eq for Cell {}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cell({} bits, {} refs, {})", self.bits(), self.refs().len(), hex::encode(self.hash()))
    }
}

impl Cell {
    /// The cell without bits and references.
    pub fn empty() -> Self {
        Self::assemble(Vec::new(), 0, Vec::new(), 0)
    }

    /// A cell of which only hash and depth are known. It can be referred to, but not read or put into a bag.
    pub fn opaque(hash: [u8; 32], depth: u16) -> Self {
        Self(Arc::new(Inner { data: Vec::new(), bits: 0, refs: Vec::new(), hash, depth, opaque: true }))
    }

    /// The caller has checked all limits.
    pub(crate) fn new(data: Vec<u8>, bits: usize, refs: Vec<Self>) -> Result<Self, CellError> {
        let depth = match refs.iter().map(Self::depth).max() {
            Some(deepest) if deepest >= MAX_DEPTH => return Err(CellError::TooDeep),
            Some(deepest) => deepest + 1,
            None => 0,
        };
        Ok(Self::assemble(data, bits, refs, depth))
    }

    fn assemble(data: Vec<u8>, bits: usize, refs: Vec<Self>, depth: u16) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(descriptors(bits, refs.len()));
        hasher.update(padded(&data, bits));
        for cell in &refs {
            hasher.update(cell.depth().to_be_bytes());
        }
        for cell in &refs {
            hasher.update(cell.hash());
        }
        let hash = hasher.finalize().into();
        Self(Arc::new(Inner { data, bits, refs, hash, depth, opaque: false }))
    }

    /// The representation hash.
    pub fn hash(&self) -> [u8; 32] {
        self.0.hash
    }

    /// Longest way down through references; 0 without any.
    pub fn depth(&self) -> u16 {
        self.0.depth
    }

    /// How many bits it holds.
    pub fn bits(&self) -> usize {
        self.0.bits
    }

    /// The bits, the first one highest in the first byte, filled up with zeros.
    pub fn data(&self) -> &[u8] {
        &self.0.data
    }

    /// What it refers to.
    pub fn refs(&self) -> &[Self] {
        &self.0.refs
    }

    /// Whether only hash and depth are known.
    pub fn is_opaque(&self) -> bool {
        self.0.opaque
    }

    /// Reads it from the front.
    pub fn slice(&self) -> Result<CellSlice<'_>, CellError> {
        if self.0.opaque { Err(CellError::Opaque) } else { Ok(CellSlice { cell: self, bit: 0, reference: 0 }) }
    }
}

/// A long chain of cells must not be dropped by recursion.
impl Drop for Inner {
    fn drop(&mut self) {
        let mut waiting = std::mem::take(&mut self.refs);
        while let Some(cell) = waiting.pop() {
            if let Ok(mut inner) = Arc::try_unwrap(cell.0) {
                waiting.append(&mut inner.refs);
            }
        }
    }
}

/// The two bytes in front of a cell's bits, for ordinary cells.
pub(crate) fn descriptors(bits: usize, refs: usize) -> [u8; 2] {
    [refs as u8, (bits / 8 + bits.div_ceil(8)) as u8]
}

/// The bits in whole bytes: where they do not fill the last one, a one and zeros follow.
pub(crate) fn padded(data: &[u8], bits: usize) -> Vec<u8> {
    let mut bytes = data.to_vec();
    if !bits.is_multiple_of(8)
        && let Some(last) = bytes.last_mut()
    {
        *last |= 0x80 >> (bits % 8);
    }
    bytes
}

/// Builds a cell from the front. A fault shows at [`Self::build`], so that fields can be strung together.
#[derive(Default)]
pub struct CellBuilder {
    data: Vec<u8>,
    bits: usize,
    refs: Vec<Cell>,
    fault: Option<CellError>,
}

impl CellBuilder {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The lowest `bits` bits of a number, the highest of them first.
    #[must_use]
    pub fn uint(mut self, value: u64, bits: usize) -> Self {
        for bit in (0..bits).rev() {
            self.bit(value.checked_shr(bit as u32).unwrap_or(0) & 1 == 1);
        }
        self
    }

    /// Whole bytes.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            self = self.uint(u64::from(*byte), 8);
        }
        self
    }

    /// An amount: how many bytes, then those bytes.
    #[must_use]
    pub fn amount(self, amount: Nanoton) -> Self {
        let bytes = (u64::BITS - amount.0.leading_zeros()).div_ceil(8) as usize;
        self.uint(bytes as u64, 4).uint(amount.0, bytes * 8)
    }

    /// A standard address.
    #[must_use]
    pub fn address(self, address: &Address) -> Self {
        let workchain = u64::from(address.workchain.cast_unsigned());
        self.uint(STANDARD_ADDRESS, 3).uint(workchain, 8).bytes(&address.hash)
    }

    /// A reference.
    #[must_use]
    pub fn reference(mut self, cell: Cell) -> Self {
        if self.refs.len() == MAX_REFS {
            self.fault.get_or_insert(CellError::TooManyRefs);
        } else {
            self.refs.push(cell);
        }
        self
    }

    /// A bit that says whether a reference follows, and that reference.
    #[must_use]
    pub fn maybe_reference(self, cell: Option<Cell>) -> Self {
        match cell {
            Some(cell) => self.uint(1, 1).reference(cell),
            None => self.uint(0, 1),
        }
    }

    /// An address, or none: two zero bits.
    #[must_use]
    pub fn maybe_address(self, address: Option<&Address>) -> Self {
        match address {
            Some(address) => self.address(address),
            None => self.uint(0, 2),
        }
    }

    /// All bits and references of another cell, in place.
    #[must_use]
    pub fn inline(mut self, cell: &Cell) -> Self {
        if cell.is_opaque() {
            self.fault.get_or_insert(CellError::Opaque);
            return self;
        }
        for bit in 0..cell.bits() {
            self.bit(bit_of(cell.data(), bit));
        }
        cell.refs().iter().fold(self, |builder, to| builder.reference(to.clone()))
    }

    /// How many bits still fit.
    pub fn bits_left(&self) -> usize {
        MAX_BITS - self.bits
    }

    /// How many references still fit.
    pub fn refs_left(&self) -> usize {
        MAX_REFS - self.refs.len()
    }

    /// The cell.
    pub fn build(self) -> Result<Cell, CellError> {
        match self.fault {
            Some(fault) => Err(fault),
            None => Cell::new(self.data, self.bits, self.refs),
        }
    }

    pub(crate) fn bit(&mut self, one: bool) {
        if self.bits == MAX_BITS {
            self.fault.get_or_insert(CellError::TooManyBits { bits: MAX_BITS + 1 });
            return;
        }
        if self.bits.is_multiple_of(8) {
            self.data.push(0);
        }
        if one && let Some(last) = self.data.last_mut() {
            *last |= 0x80 >> (self.bits % 8);
        }
        self.bits += 1;
    }
}

/// A bit, the first one highest in the first byte; zero beyond the end.
pub(crate) fn bit_of(data: &[u8], bit: usize) -> bool {
    data.get(bit / 8).is_some_and(|byte| byte >> (7 - bit % 8) & 1 == 1)
}

/// What is left of a cell being read.
#[derive(Clone)]
pub struct CellSlice<'a> {
    cell: &'a Cell,
    bit: usize,
    reference: usize,
}

impl<'a> CellSlice<'a> {
    /// Bits left.
    pub fn bits_left(&self) -> usize {
        self.cell.bits() - self.bit
    }

    /// References left.
    pub fn refs_left(&self) -> usize {
        self.cell.refs().len() - self.reference
    }

    /// A number of at most 64 bits.
    pub fn uint(&mut self, bits: usize) -> Result<u64, CellError> {
        let left = self.bits_left();
        if bits > left || bits > 64 {
            return Err(CellError::TooFewBits { wanted: bits, left });
        }
        let mut value = 0;
        for bit in self.bit..self.bit + bits {
            value = value << 1 | u64::from(bit_of(self.cell.data(), bit));
        }
        self.bit += bits;
        Ok(value)
    }

    /// Whole bytes.
    pub fn bytes<const N: usize>(&mut self) -> Result<[u8; N], CellError> {
        let left = self.bits_left();
        if N * 8 > left {
            return Err(CellError::TooFewBits { wanted: N * 8, left });
        }
        let mut bytes = [0; N];
        for byte in &mut bytes {
            *byte = self.uint(8)? as u8;
        }
        Ok(bytes)
    }

    /// An amount of at most eight bytes, in its shortest form.
    pub fn amount(&mut self) -> Result<Nanoton, CellError> {
        let bytes = self.uint(4)? as usize;
        if bytes > LONGEST_AMOUNT {
            return Err(CellError::Amount);
        }
        let amount = self.uint(bytes * 8)?;
        if bytes > 0 && amount >> (bytes * 8 - 8) == 0 { Err(CellError::Amount) } else { Ok(Nanoton(amount)) }
    }

    /// A standard address.
    pub fn address(&mut self) -> Result<Address, CellError> {
        if self.uint(3)? != STANDARD_ADDRESS {
            return Err(CellError::Address);
        }
        let workchain = (self.uint(8)? as u8).cast_signed();
        Ok(Address { workchain, hash: self.bytes()? })
    }

    /// One bit.
    pub fn bit(&mut self) -> Result<bool, CellError> {
        Ok(self.uint(1)? == 1)
    }

    /// A standard address, or `None` where two zero bits say that there is none.
    pub fn maybe_address(&mut self) -> Result<Option<Address>, CellError> {
        if self.clone().uint(2)? == 0 {
            self.uint(2)?;
            return Ok(None);
        }
        self.address().map(Some)
    }

    /// A reference, or `None` where a zero bit says that there is none.
    pub fn maybe_reference(&mut self) -> Result<Option<&'a Cell>, CellError> {
        if self.bit()? { self.reference().map(Some) } else { Ok(None) }
    }

    /// All that is left, as a cell of its own; nothing is left then.
    pub fn rest(&mut self) -> Result<Cell, CellError> {
        let mut builder = CellBuilder::new();
        for bit in self.bit..self.cell.bits() {
            builder.bit(bit_of(self.cell.data(), bit));
        }
        self.bit = self.cell.bits();
        while self.refs_left() > 0 {
            builder = builder.reference(self.reference()?.clone());
        }
        builder.build()
    }

    /// The next reference.
    pub fn reference(&mut self) -> Result<&'a Cell, CellError> {
        let cell = self.cell.refs().get(self.reference).ok_or(CellError::MissingRef)?;
        self.reference += 1;
        Ok(cell)
    }

    /// Nothing may be left.
    pub fn end(&self) -> Result<(), CellError> {
        match (self.bits_left(), self.refs_left()) {
            (0, 0) => Ok(()),
            (bits, refs) => Err(CellError::LeftOver { bits, refs }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_cell_has_the_hash_that_all_of_ton_knows() {
        let known = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
        assert_eq!(hex::encode(Cell::empty().hash()), known);
        assert_eq!(CellBuilder::new().build().unwrap(), Cell::empty());
    }

    #[test]
    fn fields_come_back_as_they_were_written() {
        let address = Address { workchain: -1, hash: [7; 32] };
        let inner = CellBuilder::new().uint(5, 3).build().unwrap();
        let cell = CellBuilder::new()
            .uint(0xdead_beef, 32)
            .uint(1, 1)
            .amount(Nanoton(0))
            .amount(Nanoton(255))
            .amount(Nanoton(u64::MAX))
            .address(&address)
            .bytes(b"ab")
            .maybe_reference(None)
            .maybe_reference(Some(inner.clone()))
            .build()
            .unwrap();
        assert_eq!(cell.depth(), 1);
        let mut slice = cell.slice().unwrap();
        assert_eq!(slice.uint(32), Ok(0xdead_beef));
        assert_eq!(slice.uint(1), Ok(1));
        assert_eq!(slice.amount(), Ok(Nanoton(0)));
        assert_eq!(slice.amount(), Ok(Nanoton(255)));
        assert_eq!(slice.amount(), Ok(Nanoton(u64::MAX)));
        assert_eq!(slice.address(), Ok(address));
        assert_eq!(slice.bytes(), Ok(*b"ab"));
        assert_eq!(slice.end(), Err(CellError::LeftOver { bits: 2, refs: 1 }));
        assert_eq!((slice.uint(1), slice.uint(1)), (Ok(0), Ok(1)));
        assert_eq!(slice.reference(), Ok(&inner));
        assert_eq!(slice.end(), Ok(()));
        assert_eq!(slice.uint(1), Err(CellError::TooFewBits { wanted: 1, left: 0 }));
        assert_eq!(slice.reference(), Err(CellError::MissingRef));
    }

    #[test]
    fn what_may_be_absent_and_what_is_left_come_back() {
        let inner = CellBuilder::new().uint(5, 3).reference(Cell::empty()).build().unwrap();
        let address = Address { workchain: 0, hash: [9; 32] };
        let cell = CellBuilder::new()
            .maybe_address(None)
            .maybe_address(Some(&address))
            .maybe_reference(None)
            .maybe_reference(Some(inner.clone()))
            .inline(&inner)
            .build()
            .unwrap();
        let mut slice = cell.slice().unwrap();
        assert_eq!((slice.maybe_address(), slice.maybe_address()), (Ok(None), Ok(Some(address))));
        assert_eq!((slice.maybe_reference(), slice.maybe_reference()), (Ok(None), Ok(Some(&inner))));
        assert_eq!(slice.rest(), Ok(inner.clone()));
        assert_eq!(slice.end(), Ok(()));
        let opaque = CellBuilder::new().inline(&Cell::opaque([1; 32], 1));
        assert_eq!(opaque.build(), Err(CellError::Opaque));
        let many = (0..5).fold(CellBuilder::new(), |builder, _| builder.inline(&inner));
        assert_eq!(many.build(), Err(CellError::TooManyRefs));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let full = CellBuilder::new().bytes(&[0; 127]).uint(0, 7);
        assert_eq!(full.build().unwrap().bits(), MAX_BITS);
        let more = CellBuilder::new().bytes(&[0; 128]);
        assert_eq!(more.build(), Err(CellError::TooManyBits { bits: 1024 }));
        let refs = (0..5).fold(CellBuilder::new(), |builder, _| builder.reference(Cell::empty()));
        assert_eq!(refs.build(), Err(CellError::TooManyRefs));
        let mut cell = Cell::empty();
        for _ in 0..MAX_DEPTH {
            cell = CellBuilder::new().reference(cell).build().unwrap();
        }
        assert_eq!(CellBuilder::new().reference(cell).build(), Err(CellError::TooDeep));
    }

    #[test]
    fn amounts_and_addresses_in_other_forms_are_refused() {
        let read = |builder: CellBuilder| builder.build().unwrap().slice().unwrap().amount();
        assert_eq!(read(CellBuilder::new().uint(9, 4).bytes(&[1; 9])), Err(CellError::Amount));
        assert_eq!(read(CellBuilder::new().uint(2, 4).bytes(&[0, 1])), Err(CellError::Amount));
        let none = CellBuilder::new().uint(0, 2).uint(0, 300).build().unwrap();
        assert_eq!(none.slice().unwrap().address(), Err(CellError::Address));
    }

    #[test]
    fn an_opaque_cell_can_be_referred_to_and_nothing_else() {
        let known = CellBuilder::new().uint(3, 9).build().unwrap();
        let opaque = Cell::opaque(known.hash(), known.depth());
        let over = |cell: &Cell| CellBuilder::new().reference(cell.clone()).build().unwrap().hash();
        assert_eq!(over(&known), over(&opaque));
        assert_eq!(opaque.slice().err(), Some(CellError::Opaque));
    }
}
