//! Dictionaries: trees of cells with keys of one length (HashmapE).
//!
//! ```text
//! dictionary = 0 | 1, reference to an edge
//! edge = label, then the value if the key is complete, else references to the edges for 0 and for 1
//! label, of the m bits that a key still has = 0, length in ones, 0, bits | 10, length, bits | 11, the bit, length
//! ```
//!
//! A length takes as many bits as m does; of the forms of a label the shortest is written, and any is read.
//! Source of the layout: TON's `block.tlb`, and `Dictionary` of `@ton/core`.

use crate::cell::bit_of;
use crate::{Cell, CellBuilder, CellError, CellSlice};
use std::collections::BTreeMap;

/// Most entries that are read.
pub const MAX_ENTRIES: usize = 1 << 12;
/// Bits of the longest key.
const MAX_KEY_BITS: usize = 256;

/// Why a cell is no dictionary that is read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DictionaryError {
    /// A cell does not hold what it should.
    #[error(transparent)]
    Cell(#[from] CellError),
    /// A label is longer than what a key has left.
    #[error("a label is longer than the key")]
    Label,
    /// More entries than are read.
    #[error("more than {MAX_ENTRIES} entries")]
    TooMany,
}

/// The tree for these keys of `N` bytes and their values, of which each must fit beside its key; `None` if there are none.
pub fn write<const N: usize>(entries: &BTreeMap<[u8; N], Cell>) -> Result<Option<Cell>, CellError> {
    let entries: Vec<(&[u8], &Cell)> = entries.iter().map(|(key, value)| (key.as_slice(), value)).collect();
    if entries.is_empty() { Ok(None) } else { edge(&entries, 0, N * 8).map(Some) }
}

/// The entries of the tree that a dictionary refers to, each value as a cell of its own.
pub fn read<const N: usize>(root: Option<&Cell>) -> Result<BTreeMap<[u8; N], Cell>, DictionaryError> {
    let mut found = BTreeMap::new();
    let Some(root) = root else { return Ok(found) };
    if N * 8 > MAX_KEY_BITS {
        return Err(DictionaryError::Label);
    }
    // Edges that wait, with the beginning of their keys.
    let mut waiting = vec![(root, [0; N], 0_usize)];
    while let Some((cell, mut key, mut bits)) = waiting.pop() {
        let mut slice = cell.slice()?;
        for bit in label(&mut slice, N * 8 - bits)? {
            set(&mut key, bits, bit);
            bits += 1;
        }
        if bits == N * 8 {
            if found.len() == MAX_ENTRIES {
                return Err(DictionaryError::TooMany);
            }
            found.insert(key, slice.rest()?);
            continue;
        }
        let (left, right) = (slice.reference()?, slice.reference()?);
        slice.end()?;
        // Leaves are counted, and a way down to each is no longer than a key: that bounds the work.
        let mut above = key;
        set(&mut above, bits, true);
        waiting.push((right, above, bits + 1));
        waiting.push((left, key, bits + 1));
    }
    Ok(found)
}

fn set<const N: usize>(key: &mut [u8; N], bit: usize, one: bool) {
    if let Some(byte) = key.get_mut(bit / 8) {
        let mask = 0x80 >> (bit % 8);
        *byte = if one { *byte | mask } else { *byte & !mask };
    }
}

/// The edge for keys that agree in their first `from` bits. The keys are in order and there is at least one.
fn edge(entries: &[(&[u8], &Cell)], from: usize, bits: usize) -> Result<Cell, CellError> {
    let (Some((first, value)), Some((last, _))) = (entries.first(), entries.last()) else {
        return Err(CellError::MissingRef);
    };
    // In order, what the first and the last have in common all have.
    let differ = (from..bits).find(|bit| bit_of(first, *bit) != bit_of(last, *bit)).unwrap_or(bits);
    let builder = write_label(CellBuilder::new(), first, from..differ, bits - from);
    if differ == bits {
        return builder.inline(value).build();
    }
    let ones = entries.partition_point(|(key, _)| !bit_of(key, differ));
    let (left, right) = entries.split_at(ones);
    builder.reference(edge(left, differ + 1, bits)?).reference(edge(right, differ + 1, bits)?).build()
}

/// Bits that a number up to this one takes.
fn width(most: usize) -> usize {
    (usize::BITS - most.leading_zeros()) as usize
}

fn write_label(builder: CellBuilder, key: &[u8], range: std::ops::Range<usize>, most: usize) -> CellBuilder {
    let (length, width) = (range.len(), width(most));
    let first = bit_of(key, range.start);
    let same = length > 0 && range.clone().all(|bit| bit_of(key, bit) == first);
    let (short, long) = (2 + 2 * length, 2 + width + length);
    if same && 3 + width < short.min(long) {
        return builder.uint(0b11, 2).uint(u64::from(first), 1).uint(length as u64, width);
    }
    let mut builder = if long < short {
        builder.uint(0b10, 2).uint(length as u64, width)
    } else {
        (0..length).fold(builder.uint(0, 1), |builder, _| builder.uint(1, 1)).uint(0, 1)
    };
    for bit in range {
        builder.bit(bit_of(key, bit));
    }
    builder
}

/// Reads a label of at most so many bits.
fn label(slice: &mut CellSlice<'_>, most: usize) -> Result<Vec<bool>, DictionaryError> {
    let checked = |length: usize| if length > most { Err(DictionaryError::Label) } else { Ok(length) };
    let mut length = 0;
    if !slice.bit()? {
        while slice.bit()? {
            length = checked(length + 1)?;
        }
    } else if slice.bit()? {
        let bit = slice.bit()?;
        return Ok(vec![bit; checked(slice.uint(width(most))? as usize)?]);
    } else {
        length = checked(slice.uint(width(most))? as usize)?;
    }
    (0..length).map(|_| Ok(slice.bit()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(number: u64) -> Cell {
        CellBuilder::new().uint(number, 16).build().unwrap()
    }

    #[test]
    fn nothing_is_no_tree() {
        assert_eq!(write::<4>(&BTreeMap::new()), Ok(None));
        assert_eq!(read::<4>(None), Ok(BTreeMap::new()));
    }

    #[test]
    fn what_is_no_dictionary_is_refused() {
        assert!(matches!(read::<4>(Some(&Cell::empty())), Err(DictionaryError::Cell(_))));
        let long = CellBuilder::new().uint(0b10, 2).uint(33, 6).build().unwrap();
        assert_eq!(read::<4>(Some(&long)), Err(DictionaryError::Label));
        let same = CellBuilder::new().uint(0b110, 3).uint(63, 6).build().unwrap();
        assert_eq!(read::<4>(Some(&same)), Err(DictionaryError::Label));
        let ones = CellBuilder::new().uint(0, 1).uint(u64::MAX, 40).build().unwrap();
        assert_eq!(read::<4>(Some(&ones)), Err(DictionaryError::Label));
    }

    #[test]
    fn a_tree_that_refers_to_itself_over_and_over_ends_at_the_most_entries() {
        // Thirty-two forks deep, both sides the same cell: four thousand million leaves in a few cells.
        let mut cell = CellBuilder::new().uint(0, 2).build().unwrap();
        for _ in 0..32 {
            cell = CellBuilder::new().uint(0, 2).reference(cell.clone()).reference(cell).build().unwrap();
        }
        assert_eq!(read::<4>(Some(&cell)), Err(DictionaryError::TooMany));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(keys in proptest::collection::btree_set(0_u32..5_000, 0..60), spread in 1_u32..800_000) {
            let entries: BTreeMap<[u8; 4], Cell> = keys
                .iter()
                .map(|key| (key.wrapping_mul(spread).to_be_bytes(), value(u64::from(*key))))
                .collect();
            let tree = write(&entries).unwrap();
            prop_assert_eq!(read::<4>(tree.as_ref()), Ok(entries));
        }

        #[test]
        fn long_keys_too(keys in proptest::collection::btree_set(any::<[u8; 32]>(), 0..20)) {
            let entries: BTreeMap<[u8; 32], Cell> = keys.iter().map(|key| (*key, value(u64::from(key[0])))).collect();
            let tree = write(&entries).unwrap();
            prop_assert_eq!(read::<32>(tree.as_ref()), Ok(entries));
        }
    }
}
