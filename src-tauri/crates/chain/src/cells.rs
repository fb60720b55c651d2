//! Between [`ton`]'s cells and those of the virtual machine: the one place where both are known.

use std::collections::BTreeMap;

use thiserror::Error;
use ton::{Cell, CellBuilder, MAX_DEPTH};
use tycho_types::boc::{Boc, de};
use tycho_types::cell::{Cell as TychoCell, CellBuilder as TychoBuilder, HashBytes};

/// Largest bag that is read, in bytes. The main network's whole configuration takes about 120 KB.
pub const MAX_BYTES: usize = 1 << 20;
/// Most cells in a bag, and in a tree that is taken over.
pub const MAX_CELLS: usize = 1 << 16;
/// The bits of a cell's first byte that count its references.
const REFERENCES: u8 = 0b111;
/// The same bits, where hashes stand in front of the data. Nobody sends that.
const ABSENT: u8 = 0b0001_0000;

/// Why cells can't be taken over.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CellsError {
    /// More bytes than are read.
    #[error("{bytes} bytes are more than {MAX_BYTES}")]
    TooLarge {
        /// Bytes of the bag.
        bytes: usize,
    },
    /// More cells than are read.
    #[error("more than {MAX_CELLS} cells")]
    TooMany,
    /// Deeper than anything on a chain.
    #[error("cells are nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// No bag of cells with one root.
    #[error("no bag of cells: {0}")]
    Bag(String),
    /// A cell whose content is not known where it is needed.
    #[error("the content of a cell is not known")]
    Opaque,
    /// A cell that no chain would hold.
    #[error("a cell cannot be built: {0}")]
    Cell(String),
}

/// Reads a bag with one root, special cells included, without trusting its bytes.
pub fn decode(bytes: &[u8]) -> Result<TychoCell, CellsError> {
    if bytes.len() > MAX_BYTES {
        return Err(CellsError::TooLarge { bytes: bytes.len() });
    }
    let bag = |error: de::Error| CellsError::Bag(error.to_string());
    let header = de::BocHeader::decode(bytes, &de::Options::exact(1)).map_err(bag)?;
    // Before a cell is built, because a chain of a million cells is taken apart by recursion.
    check_shape(header.cells(), header.ref_size())?;
    Boc::decode(bytes).map_err(bag)
}

fn check_shape(cells: &[&[u8]], ref_size: usize) -> Result<(), CellsError> {
    if cells.len() > MAX_CELLS {
        return Err(CellsError::TooMany);
    }
    let cut = || CellsError::Bag("a cell is cut short".to_owned());
    let mut depths = vec![0_u16; cells.len()];
    for (at, cell) in cells.iter().enumerate().rev() {
        let first = *cell.first().ok_or_else(cut)?;
        if first & ABSENT != 0 {
            return Err(CellsError::Bag("hashes in front of data".to_owned()));
        }
        let refs = usize::from(first & REFERENCES);
        let tail = cell.len().checked_sub(refs * ref_size).and_then(|from| cell.get(from..)).ok_or_else(cut)?;
        let mut depth = 0;
        for index in tail.chunks(ref_size.max(1)) {
            let index = index.iter().fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
            if index <= at {
                return Err(CellsError::Bag("a cell refers to one before it".to_owned()));
            }
            depth = depth.max(depths.get(index).copied().ok_or_else(cut)? + 1);
        }
        if depth > MAX_DEPTH {
            return Err(CellsError::TooDeep);
        }
        if let Some(slot) = depths.get_mut(at) {
            *slot = depth;
        }
    }
    Ok(())
}

/// Takes a cell over for the virtual machine.
pub fn to_tycho(cell: &Cell) -> Result<TychoCell, CellsError> {
    let mut known = BTreeMap::new();
    let mut open = vec![(cell.clone(), false)];
    // Children first, without recursion.
    while let Some((cell, ready)) = open.pop() {
        if known.contains_key(&cell.hash()) {
            continue;
        }
        if cell.is_opaque() {
            return Err(CellsError::Opaque);
        }
        if !ready {
            if known.len() + open.len() > MAX_CELLS {
                return Err(CellsError::TooMany);
            }
            open.push((cell.clone(), true));
            open.extend(cell.refs().iter().map(|child| (child.clone(), false)));
            continue;
        }
        let wrong = |error: tycho_types::error::Error| CellsError::Cell(error.to_string());
        let mut builder = TychoBuilder::new();
        builder.store_raw(cell.data(), cell.bits() as u16).map_err(wrong)?;
        for child in cell.refs() {
            let child: &TychoCell = known.get(&child.hash()).ok_or(CellsError::Opaque)?;
            builder.store_reference(child.clone()).map_err(wrong)?;
        }
        known.insert(cell.hash(), builder.build().map_err(wrong)?);
    }
    known.remove(&cell.hash()).ok_or(CellsError::Opaque)
}

/// Takes a cell over from the virtual machine. Special cells (libraries, proofs) become opaque ones.
pub fn from_tycho(cell: &TychoCell) -> Result<Cell, CellsError> {
    let mut known: BTreeMap<HashBytes, Cell> = BTreeMap::new();
    let mut open = vec![(cell.clone(), false)];
    while let Some((cell, ready)) = open.pop() {
        let hash = *cell.repr_hash();
        if known.contains_key(&hash) {
            continue;
        }
        if cell.descriptor().is_exotic() {
            known.insert(hash, Cell::opaque(hash.0, cell.repr_depth()));
            continue;
        }
        if !ready {
            if known.len() + open.len() > MAX_CELLS {
                return Err(CellsError::TooMany);
            }
            open.push((cell.clone(), true));
            open.extend(cell.references().cloned().map(|child| (child, false)));
            continue;
        }
        let bits = usize::from(cell.bit_len());
        let mut builder = CellBuilder::new();
        let data = cell.data();
        for (at, byte) in data.iter().take(bits.div_ceil(8)).enumerate() {
            let left = (bits - at * 8).min(8);
            builder = builder.uint(u64::from(*byte) >> (8 - left), left);
        }
        for child in cell.references() {
            builder = builder.reference(known.get(child.repr_hash()).ok_or(CellsError::Opaque)?.clone());
        }
        let built = builder.build().map_err(|error| CellsError::Cell(error.to_string()))?;
        known.insert(hash, built);
    }
    known.remove(cell.repr_hash()).ok_or(CellsError::Opaque)
}
