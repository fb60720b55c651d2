//! Bags of cells: the bytes in which a tree of cells travels.
//!
//! ```text
//! b5ee9c72 | flags, size of a number | size of an offset | cells, roots, absent | bytes of all cells | root
//!          | [an offset per cell] | cells | [CRC-32C]
//! cell = d1 (references) | d2 (bits) | bits, filled up | number of each cell referred to, always a later one
//! ```
//!
//! Written without index and checksum, as the genuine programs do; both are accepted when read. Cells that stand twice in a tree
//! stand once in the bag.

use crate::cell::{Cell, CellError, MAX_BITS, MAX_REFS, descriptors, padded};
use std::collections::HashMap;

/// Most bytes of a bag.
pub const MAX_BYTES: usize = 1 << 20;
/// Most cells of a bag.
pub const MAX_CELLS: usize = 1 << 15;

const MAGIC: [u8; 4] = [0xb5, 0xee, 0x9c, 0x72];
const HAS_INDEX: u8 = 0x80;
const HAS_CHECKSUM: u8 = 0x40;
const HAS_CACHE_BITS: u8 = 0x20;
/// Bits of d1: what it has besides the number of references. Exotic cells and stored hashes are not read.
const REFERENCES: u8 = 0x07;
const CHECKSUM: usize = 4;

/// Why bytes are no bag of cells that is read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BocError {
    /// More bytes than are looked at.
    #[error("{length} bytes are more than the {MAX_BYTES} of the largest bag")]
    TooLong {
        /// Bytes given.
        length: usize,
    },
    /// The bytes end inside the bag.
    #[error("the bag is cut short at byte {at}: {wanted} bytes wanted, {left} left")]
    CutShort {
        /// Where.
        at: usize,
        /// Bytes wanted.
        wanted: usize,
        /// Bytes left.
        left: usize,
    },
    /// Bytes stand behind the bag.
    #[error("{left} bytes are left over behind the bag")]
    LeftOver {
        /// How many.
        left: usize,
    },
    /// Another format.
    #[error("{magic:#010x} is not the beginning of a bag of cells")]
    Magic {
        /// The first four bytes, big-endian.
        magic: u32,
    },
    /// Sizes of numbers or flags that no bag has.
    #[error("the head of the bag is malformed")]
    Head,
    /// Too many cells, or none.
    #[error("a bag of {cells} cells is not read")]
    Cells {
        /// How many.
        cells: u64,
    },
    /// Not exactly one root.
    #[error("{roots} roots, exactly one is wanted")]
    Roots {
        /// How many.
        roots: u64,
    },
    /// Cells of another kind than ordinary ones.
    #[error("cell {cell} is not an ordinary cell")]
    NotOrdinary {
        /// Its number.
        cell: usize,
    },
    /// Bits that are not filled up as they should be.
    #[error("the bits of cell {cell} are malformed")]
    Bits {
        /// Its number.
        cell: usize,
    },
    /// A reference to no cell or to an earlier one.
    #[error("cell {cell} refers to cell {to}, which is not a later one")]
    Reference {
        /// Its number.
        cell: usize,
        /// What it refers to.
        to: u64,
    },
    /// The checksum is wrong.
    #[error("the checksum of the bag is {found:#010x}, it should be {expected:#010x}")]
    Checksum {
        /// What the bag says.
        found: u32,
        /// What its bytes give.
        expected: u32,
    },
    /// The index or the total does not fit the cells.
    #[error("the bag's sizes contradict each other")]
    Sizes,
    /// The tree is too deep.
    #[error(transparent)]
    Cell(#[from] CellError),
}

/// Reads a bag with one root.
pub fn decode(bytes: &[u8]) -> Result<Cell, BocError> {
    if bytes.len() > MAX_BYTES {
        return Err(BocError::TooLong { length: bytes.len() });
    }
    let mut reader = Reader { bytes, at: 0 };
    let magic = reader.number(4)? as u32;
    if magic.to_be_bytes() != MAGIC {
        return Err(BocError::Magic { magic });
    }
    let flags = reader.number(1)? as u8;
    let size = usize::from(flags & REFERENCES);
    let offset_size = reader.number(1)? as usize;
    let with_index = flags & HAS_INDEX != 0;
    let other = flags & 0x18 != 0 || flags & HAS_CACHE_BITS != 0;
    if other || !(1..=4).contains(&size) || !(1..=8).contains(&offset_size) {
        return Err(BocError::Head);
    }
    let (cells, roots, absent) = (reader.number(size)?, reader.number(size)?, reader.number(size)?);
    let total = reader.number(offset_size)?;
    if cells == 0 || cells > MAX_CELLS as u64 {
        return Err(BocError::Cells { cells });
    }
    if roots != 1 {
        return Err(BocError::Roots { roots });
    }
    if absent != 0 {
        return Err(BocError::Head);
    }
    let root = reader.number(size)?;
    let cells = cells as usize;
    let index = if with_index { Some(reader.take(cells * offset_size)?) } else { None };
    let start = reader.at;
    let mut raw = Vec::new();
    for cell in 0..cells {
        raw.push(raw_cell(&mut reader, cell, cells, size)?);
        if let Some(index) = index {
            let stated = big_endian(&index[cell * offset_size..][..offset_size]);
            if stated != (reader.at - start) as u64 {
                return Err(BocError::Sizes);
            }
        }
    }
    if (reader.at - start) as u64 != total {
        return Err(BocError::Sizes);
    }
    if flags & HAS_CHECKSUM != 0 {
        let expected = crc32c(&bytes[..reader.at]);
        let mut found = [0; CHECKSUM];
        found.copy_from_slice(reader.take(CHECKSUM)?);
        let found = u32::from_le_bytes(found);
        if found != expected {
            return Err(BocError::Checksum { found, expected });
        }
    }
    match bytes.len() - reader.at {
        0 => {}
        left => return Err(BocError::LeftOver { left }),
    }
    // From the last to the first, since all references point to later ones.
    let mut built: Vec<Cell> = Vec::with_capacity(cells);
    for raw in raw.into_iter().rev() {
        let refs = raw.refs.iter().map(|to| built[cells - 1 - to].clone()).collect();
        built.push(Cell::new(raw.data, raw.bits, refs)?);
    }
    usize::try_from(root)
        .ok()
        .and_then(|root| (cells - 1).checked_sub(root))
        .and_then(|at| built.into_iter().nth(at))
        .ok_or(BocError::Head)
}

/// Writes a bag; `Err` if a cell of the tree is known by its hash only, or there are too many.
pub fn encode(root: &Cell) -> Result<Vec<u8>, BocError> {
    let cells = in_order(root)?;
    let numbers: HashMap<[u8; 32], usize> = cells.iter().enumerate().map(|(at, cell)| (cell.hash(), at)).collect();
    let size = bytes_for(cells.len() as u64);
    let mut body = Vec::new();
    for cell in &cells {
        body.extend(descriptors(cell.bits(), cell.refs().len()));
        body.extend(padded(cell.data(), cell.bits()));
        for to in cell.refs() {
            put(&mut body, numbers.get(&to.hash()).copied().unwrap_or(0) as u64, size);
        }
    }
    let offset_size = bytes_for(body.len() as u64);
    let mut bytes = MAGIC.to_vec();
    bytes.extend([size as u8, offset_size as u8]);
    put(&mut bytes, cells.len() as u64, size);
    put(&mut bytes, 1, size);
    put(&mut bytes, 0, size);
    put(&mut bytes, body.len() as u64, offset_size);
    put(&mut bytes, 0, size);
    bytes.extend(body);
    Ok(bytes)
}

/// Every cell of a tree once, each before those it refers to.
fn in_order(root: &Cell) -> Result<Vec<Cell>, BocError> {
    let mut done = std::collections::HashSet::new();
    let mut order = Vec::new();
    // A cell and whether what it refers to has been seen to.
    let mut waiting = vec![(root.clone(), false)];
    while let Some((cell, seen_to)) = waiting.pop() {
        if seen_to {
            order.push(cell);
            continue;
        }
        if cell.is_opaque() {
            return Err(CellError::Opaque.into());
        }
        if !done.insert(cell.hash()) {
            continue;
        }
        if done.len() > MAX_CELLS {
            return Err(BocError::Cells { cells: done.len() as u64 });
        }
        waiting.push((cell.clone(), true));
        waiting.extend(cell.refs().iter().map(|to| (to.clone(), false)));
    }
    order.reverse();
    Ok(order)
}

struct RawCell {
    data: Vec<u8>,
    bits: usize,
    refs: Vec<usize>,
}

fn raw_cell(reader: &mut Reader<'_>, cell: usize, cells: usize, size: usize) -> Result<RawCell, BocError> {
    let (d1, d2) = (reader.number(1)? as u8, reader.number(1)? as usize);
    let references = usize::from(d1 & REFERENCES);
    if d1 & !REFERENCES != 0 || references > MAX_REFS {
        return Err(BocError::NotOrdinary { cell });
    }
    let mut data = reader.take(d2.div_ceil(2))?.to_vec();
    let mut bits = data.len() * 8;
    if d2 % 2 == 1 {
        // The last one marks the end of the bits.
        let last = data.last_mut().filter(|last| **last != 0).ok_or(BocError::Bits { cell })?;
        let filling = last.trailing_zeros() + 1;
        *last &= last.wrapping_sub(1);
        bits -= filling as usize;
        if filling == 8 {
            return Err(BocError::Bits { cell });
        }
    }
    if bits > MAX_BITS {
        return Err(BocError::Bits { cell });
    }
    let mut refs = Vec::with_capacity(references);
    for _ in 0..references {
        let to = reader.number(size)?;
        if to <= cell as u64 || to >= cells as u64 {
            return Err(BocError::Reference { cell, to });
        }
        refs.push(to as usize);
    }
    Ok(RawCell { data, bits, refs })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, wanted: usize) -> Result<&'a [u8], BocError> {
        let left = self.bytes.len() - self.at;
        let taken = self.bytes[self.at..].get(..wanted).ok_or(BocError::CutShort { at: self.at, wanted, left })?;
        self.at += wanted;
        Ok(taken)
    }

    fn number(&mut self, size: usize) -> Result<u64, BocError> {
        Ok(big_endian(self.take(size)?))
    }
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn bytes_for(number: u64) -> usize {
    ((u64::BITS - number.leading_zeros()).div_ceil(8) as usize).max(1)
}

fn put(to: &mut Vec<u8>, number: u64, size: usize) {
    to.extend_from_slice(&number.to_be_bytes()[8 - size..]);
}

/// CRC-32C (Castagnoli).
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CellBuilder;

    /// The documented signed payment.
    const PAYMENT: &str = "b5ee9c720101020100a90001dba040ad2801020304050607088002e34ad0278342595f291a3820c55e978049cbde922b93153380ccc585426a643eeb7f84ef7d400023861f5c3415db5ce862ee043c7ce2435d4be266cd0735cc64d4aeac00fe789ce65e4dc8a89e7e26dfeade8a55a1c86f213f3fe17ed64ae19001006ba040ad280102030405060708000000000012d68780196c0d0a239b52f55c52e4b59d91980a8a42bdb333f9b44dc6ff7f6676d3079a30";

    #[test]
    fn a_recorded_bag_is_read_and_written_byte_for_byte() {
        let bytes = hex::decode(PAYMENT).unwrap();
        let outer = decode(&bytes).unwrap();
        assert_eq!((outer.bits(), outer.refs().len()), (875, 1));
        let inner = "2b1eb49b6bfe9336323b5d043df3ef76190324b350ce47511b6ba8beb356456e";
        assert_eq!(hex::encode(outer.refs()[0].hash()), inner);
        assert_eq!(encode(&outer).unwrap(), bytes);
    }

    #[test]
    fn a_bag_cut_anywhere_or_with_bytes_behind_it_is_refused() {
        let bytes = hex::decode(PAYMENT).unwrap();
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err());
        }
        assert_eq!(decode(&[bytes, vec![0]].concat()), Err(BocError::LeftOver { left: 1 }));
    }

    #[test]
    fn shared_cells_stand_once_and_a_tree_of_them_costs_no_more_than_its_cells() {
        let mut cell = CellBuilder::new().uint(1, 1).build().unwrap();
        for _ in 0..200 {
            cell = CellBuilder::new().reference(cell.clone()).reference(cell).build().unwrap();
        }
        let bytes = encode(&cell).unwrap();
        assert!(bytes.len() < 2_000, "{} bytes", bytes.len());
        assert_eq!(decode(&bytes).unwrap(), cell);
    }

    #[test]
    fn index_and_checksum_are_checked_when_they_are_there() {
        // One cell of eight bits; the eleventh byte is its entry in the index.
        let mut bytes = hex::decode("b5ee9c72c1010101000300").unwrap();
        bytes.extend([3, 0, 2, 5]);
        let with_checksum = |bytes: &[u8]| [bytes, &crc32c(bytes).to_le_bytes()].concat();
        assert_eq!(decode(&with_checksum(&bytes)).unwrap().bits(), 8);
        let wrong = [&bytes[..], &[0; 4]].concat();
        assert!(matches!(decode(&wrong), Err(BocError::Checksum { .. })));
        bytes[11] = 2;
        assert_eq!(decode(&with_checksum(&bytes)), Err(BocError::Sizes));
    }

    #[test]
    fn a_reference_back_or_to_nothing_is_refused() {
        // One cell with one reference, to itself and beyond.
        for to in [0, 1, 255] {
            let bytes = [&hex::decode("b5ee9c720101010100030001").unwrap()[..11], &[1, 0, to]].concat();
            assert_eq!(decode(&bytes), Err(BocError::Reference { cell: 0, to: u64::from(to) }));
        }
    }

    #[test]
    fn an_opaque_cell_has_no_bag() {
        let cell = CellBuilder::new().reference(Cell::opaque([1; 32], 3)).build().unwrap();
        assert_eq!(encode(&cell), Err(BocError::Cell(CellError::Opaque)));
    }
}
