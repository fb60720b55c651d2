//! The Merkle tree of RFC 6962, section 2.1, with SHA-256: hashes, and proofs that an entry is in a tree or that one tree is the
//! beginning of another. The proofs are checked as RFC 9162, sections 2.1.3.2 and 2.1.4.2, says.

use sha2::{Digest as _, Sha256};

/// The hash of a leaf, of a node or of a whole tree.
pub type Hash = [u8; 32];

/// Most hashes in a proof: one for each level of the tree, and one more in a proof of consistency.
pub const MAX_PATH: usize = 64;

/// Why a proof holds not, or can't be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MerkleError {
    /// No entry has this number.
    #[error("there is no entry {index} in a tree of {size}")]
    Outside {
        /// The entry asked for.
        index: u64,
        /// Entries of the tree.
        size: u64,
    },
    /// The tree that should be older has more entries.
    #[error("a tree of {older} entries is not older than one of {newer}")]
    Shrunk {
        /// Entries of the tree that should be older.
        older: u64,
        /// Entries of the other.
        newer: u64,
    },
    /// Too few or too many hashes for a tree of this size.
    #[error("the proof has {0} hashes, which is not what the tree's size asks for")]
    Length(usize),
    /// The hashes lead elsewhere.
    #[error("the proof leads to another tree")]
    OtherTree,
}

/// Hashes of whole subtrees: what a log keeps.
pub trait Hashes {
    /// Why there is none.
    type Error;

    /// The hash over the `2^level` entries that begin with number `index * 2^level`. Asked only for subtrees that the tree has whole.
    fn subtree(&self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

/// Of one entry.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(entry).finalize().into()
}

/// Of two subtrees beside each other.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// Of the tree without an entry.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// The tree's hash when it had `size` entries.
pub fn root_at<H: Hashes>(hashes: &H, size: u64) -> Result<Hash, H::Error> {
    range(hashes, 0, size)
}

/// The proof that entry `index` is in the tree of `size` entries: its neighbours from the leaf up. `None` where there is no such entry.
pub fn inclusion_path<H: Hashes>(hashes: &H, index: u64, size: u64) -> Result<Option<Vec<Hash>>, H::Error> {
    if index >= size {
        return Ok(None);
    }
    let mut path = Vec::new();
    let (mut from, mut to) = (0, size);
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            path.push(range(hashes, middle, to)?);
            to = middle;
        } else {
            path.push(range(hashes, from, middle)?);
            from = middle;
        }
    }
    path.reverse();
    Ok(Some(path))
}

/// The proof that the tree of `older` entries is the beginning of that of `newer`. `None` where it is the longer one.
pub fn consistency_path<H: Hashes>(hashes: &H, older: u64, newer: u64) -> Result<Option<Vec<Hash>>, H::Error> {
    if older > newer {
        return Ok(None);
    }
    let mut path = Vec::new();
    if older == 0 || older == newer {
        return Ok(Some(path));
    }
    let (mut from, mut to) = (0, newer);
    while to != older {
        let middle = from + split(to - from);
        if older <= middle {
            path.push(range(hashes, middle, to)?);
            to = middle;
        } else {
            path.push(range(hashes, from, middle)?);
            from = middle;
        }
    }
    // The older tree's own hash is known to whoever checks.
    if from > 0 {
        path.push(range(hashes, from, to)?);
    }
    path.reverse();
    Ok(Some(path))
}

/// Checks that the leaf is entry `index` of the tree of `size` entries with this root.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> Result<(), MerkleError> {
    if index >= size {
        return Err(MerkleError::Outside { index, size });
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for neighbour in path {
        if last == 0 {
            return Err(MerkleError::Length(path.len()));
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(neighbour, &hash);
            let up = if node == 0 { 0 } else { node.trailing_zeros() };
            (node, last) = (node >> up, last >> up);
        } else {
            hash = node_hash(&hash, neighbour);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    match (last, hash == *root) {
        (0, true) => Ok(()),
        (0, false) => Err(MerkleError::OtherTree),
        _ => Err(MerkleError::Length(path.len())),
    }
}

/// Checks that the tree of `older` entries is the beginning of that of `newer`; each comes with its root.
pub fn verify_consistency(older: (u64, &Hash), newer: (u64, &Hash), path: &[Hash]) -> Result<(), MerkleError> {
    let ((old_size, old_root), (new_size, new_root)) = (older, newer);
    if old_size > new_size {
        return Err(MerkleError::Shrunk { older: old_size, newer: new_size });
    }
    if old_size == 0 || old_size == new_size {
        let expected = if old_size == new_size { *new_root } else { empty_root() };
        return match (path.is_empty(), *old_root == expected) {
            (true, true) => Ok(()),
            (true, false) => Err(MerkleError::OtherTree),
            (false, _) => Err(MerkleError::Length(path.len())),
        };
    }
    let (mut node, mut last) = (old_size - 1, new_size - 1);
    let up = node.trailing_ones();
    (node, last) = (node >> up, last >> up);
    let mut hashes = path.iter();
    // A tree whose size is a power of two is a subtree of the newer one, and its hash is not repeated.
    let first = if node == 0 { Some(old_root) } else { hashes.next() };
    let Some(first) = first else { return Err(MerkleError::Length(0)) };
    let (mut old, mut new) = (*first, *first);
    for hash in hashes {
        if last == 0 {
            return Err(MerkleError::Length(path.len()));
        }
        if node & 1 == 1 || node == last {
            old = node_hash(hash, &old);
            new = node_hash(hash, &new);
            let up = if node == 0 { 0 } else { node.trailing_zeros() };
            (node, last) = (node >> up, last >> up);
        } else {
            new = node_hash(&new, hash);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    match (last, old == *old_root && new == *new_root) {
        (0, true) => Ok(()),
        (0, false) => Err(MerkleError::OtherTree),
        _ => Err(MerkleError::Length(path.len())),
    }
}

/// The largest power of two below `entries`, which are two or more.
fn split(entries: u64) -> u64 {
    1 << (entries - 1).ilog2()
}

/// The hash over entries `from` to `to`, a range whose beginning is a multiple of the power of two it is split at.
fn range<H: Hashes>(hashes: &H, from: u64, to: u64) -> Result<Hash, H::Error> {
    if from == to {
        return Ok(empty_root());
    }
    // Whole subtrees from left to right, each smaller than the one before.
    let (mut parts, mut at) = (Vec::new(), from);
    while at < to {
        let level = (to - at).ilog2();
        parts.push(hashes.subtree(level as u8, at >> level)?);
        at += 1 << level;
    }
    let mut whole = None;
    for part in parts.iter().rev() {
        whole = Some(whole.map_or(*part, |right| node_hash(part, &right)));
    }
    Ok(whole.unwrap_or_else(empty_root))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The entries of Certificate Transparency's own tests (`merkle_tree_test`), and the hashes of their trees.
    const ENTRIES: [&str; 8] =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    /// Leaves, whose subtrees are computed as the definition says.
    struct Leaves(Vec<Hash>);

    impl Hashes for Leaves {
        type Error = std::convert::Infallible;

        fn subtree(&self, level: u8, index: u64) -> Result<Hash, Self::Error> {
            if level == 0 {
                return Ok(self.0[index as usize]);
            }
            Ok(node_hash(&self.subtree(level - 1, 2 * index)?, &self.subtree(level - 1, 2 * index + 1)?))
        }
    }

    /// Straight from RFC 6962, section 2.1.
    fn by_definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(split(leaves.len() as u64) as usize);
                node_hash(&by_definition(left), &by_definition(right))
            }
        }
    }

    fn leaves(count: usize) -> Leaves {
        Leaves((0..count).map(|number| leaf_hash(format!("leaf {number}").as_bytes())).collect())
    }

    fn hash(text: &str) -> Hash {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    #[test]
    fn trees_have_the_hashes_of_certificate_transparencys_vectors() {
        let leaves = Leaves(ENTRIES.iter().map(|entry| leaf_hash(&hex::decode(entry).unwrap())).collect());
        for (size, root) in ROOTS.iter().enumerate() {
            assert_eq!(root_at(&leaves, size as u64).unwrap(), hash(root), "{size}");
            assert_eq!(by_definition(&leaves.0[..size]), hash(root), "{size}");
        }
        let inclusion = |index| inclusion_path(&leaves, index, 8).unwrap().unwrap().map_hex();
        assert_eq!(
            inclusion(0),
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ]
        );
        assert_eq!(
            inclusion(5),
            [
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ]
        );
        assert_eq!(
            consistency_path(&leaves, 6, 8).unwrap().unwrap().map_hex(),
            [
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ]
        );
    }

    trait MapHex {
        fn map_hex(&self) -> Vec<String>;
    }

    impl MapHex for Vec<Hash> {
        fn map_hex(&self) -> Vec<String> {
            self.iter().map(hex::encode).collect()
        }
    }

    #[test]
    fn every_entry_of_every_small_tree_is_proved_and_nothing_else_is() {
        let all = leaves(40);
        for size in 1..=40_u64 {
            let root = by_definition(&all.0[..size as usize]);
            assert_eq!(root_at(&all, size).unwrap(), root);
            for index in 0..size {
                let path = inclusion_path(&all, index, size).unwrap().unwrap();
                let leaf = &all.0[index as usize];
                assert_eq!(verify_inclusion(leaf, index, size, &path, &root), Ok(()), "{index} of {size}");
                for other in (0..size).filter(|other| *other != index) {
                    assert!(
                        verify_inclusion(leaf, other, size, &path, &root).is_err(),
                        "{other} for {index} of {size}"
                    );
                }
                for at in 0..path.len() {
                    let mut changed = path.clone();
                    changed[at][31] ^= 1;
                    assert_eq!(verify_inclusion(leaf, index, size, &changed, &root), Err(MerkleError::OtherTree));
                }
                let longer = [path.as_slice(), &[root]].concat();
                assert_eq!(
                    verify_inclusion(leaf, index, size, &longer, &root),
                    Err(MerkleError::Length(path.len() + 1))
                );
                if let Some((_, shorter)) = path.split_last() {
                    assert!(verify_inclusion(leaf, index, size, shorter, &root).is_err());
                }
            }
            let outside = MerkleError::Outside { index: size, size };
            assert_eq!(verify_inclusion(&all.0[0], size, size, &[], &root), Err(outside));
            assert_eq!(inclusion_path(&all, size, size).unwrap(), None);
        }
    }

    #[test]
    fn every_small_tree_is_proved_to_be_the_beginning_of_every_longer_one_and_no_other() {
        let (all, mut fork) = (leaves(40), leaves(40));
        fork.0[0][0] ^= 1;
        for newer in 0..=40_u64 {
            let new_root = root_at(&all, newer).unwrap();
            for older in 0..=newer {
                let old_root = root_at(&all, older).unwrap();
                let path = consistency_path(&all, older, newer).unwrap().unwrap();
                let check = |old_root: &Hash, new_root: &Hash, path: &[Hash]| {
                    verify_consistency((older, old_root), (newer, new_root), path)
                };
                assert_eq!(check(&old_root, &new_root, &path), Ok(()), "{older} of {newer}");
                assert!(check(&old_root, &new_root, &[path.as_slice(), &[new_root]].concat()).is_err());
                for at in 0..path.len() {
                    let mut changed = path.clone();
                    changed[at][0] ^= 1;
                    assert!(check(&old_root, &new_root, &changed).is_err());
                }
                if older > 0 {
                    // One whose first entry was exchanged, in the older tree or in the newer.
                    let (forked_old, forked_new) = (root_at(&fork, older).unwrap(), root_at(&fork, newer).unwrap());
                    let forked = consistency_path(&fork, older, newer).unwrap().unwrap();
                    for path in [&path, &forked] {
                        assert_eq!(check(&forked_old, &new_root, path), Err(MerkleError::OtherTree));
                        assert_eq!(check(&old_root, &forked_new, path), Err(MerkleError::OtherTree));
                    }
                }
            }
            let shrunk = MerkleError::Shrunk { older: newer + 1, newer };
            assert_eq!(verify_consistency((newer + 1, &new_root), (newer, &new_root), &[]), Err(shrunk));
        }
    }

    #[test]
    fn a_tree_as_large_as_can_be_said_is_judged_without_a_fault() {
        let (hash, size) = (empty_root(), u64::MAX);
        for length in [0, 1, 63, 64, 65] {
            let path = vec![hash; length];
            for index in [1, size / 2, size - 1] {
                assert!(verify_inclusion(&hash, index, size, &path, &hash).is_err());
                assert!(verify_consistency((index, &hash), (size, &hash), &path).is_err());
            }
        }
    }
}
