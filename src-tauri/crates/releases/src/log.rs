//! A log as a folder of static files, read. Whatever a file says is checked against the signed checkpoint before it is believed.

use crate::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
use crate::merkle::{
    Hash, Hashes, MerkleError, consistency_path, empty_root, inclusion_path, leaf_hash, node_hash, root_at,
    verify_consistency, verify_inclusion,
};
use crate::note::{MAX_NOTE_BYTES, VerifierKey};
use crate::proof::Proof;
use crate::tile::{HASHES_PER_TILE, Level, MAX_BUNDLE_BYTES, Tile, TileError, decode_bundle, decode_hashes};

/// Where the checkpoint stands.
pub const CHECKPOINT: &str = "checkpoint";

/// Where the bytes of a log come from: a folder, a web server.
pub trait Files {
    /// The bytes at a path, which is relative to the log and has slashes; `None` where nothing is there. A file longer than `most`
    /// bytes is an error, and no more than that is read of it.
    fn read(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, FileError>;
}

/// A file can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {why}")]
pub struct FileError {
    /// Its path in the log.
    pub path: String,
    /// What the system says.
    pub why: String,
}

/// What is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// A file can't be read.
    #[error("a file of the log can't be read: {0}")]
    File(#[from] FileError),
    /// A file that the checkpoint asks for is not there.
    #[error("the log has no {0}")]
    Missing(String),
    /// A tile or a bundle is not whole.
    #[error("{path} of the log is damaged: {source}")]
    Tile {
        /// Its path.
        path: String,
        /// What is wrong.
        #[source]
        source: TileError,
    },
    /// A tile or a bundle has other hashes or entries than those the log was made of.
    #[error("{0} of the log does not fit what it stands among")]
    Changed(String),
    /// The checkpoint can't be relied on.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The files do not lead to the checkpoint.
    #[error("the files of the log do not lead to its checkpoint: {0}")]
    Merkle(#[from] MerkleError),
    /// Another log's checkpoint was remembered.
    #[error("this is the log {found}, and {remembered} was remembered")]
    OtherLog {
        /// The log's name.
        found: String,
        /// The name it should have.
        remembered: String,
    },
    /// The log has fewer entries than it once had.
    #[error("the log was rolled back: it had {remembered} entries once and has {found} now")]
    RolledBack {
        /// Entries it had.
        remembered: u64,
        /// Entries it has.
        found: u64,
    },
    /// The log's beginning is not what it was.
    #[error("the log was forked: its first {0} entries are not those that were remembered")]
    Forked(u64),
}

/// Hashes of a log's tree, from its tiles. What it gives must be checked against a checkpoint.
pub(crate) struct Tiles<'a, F: ?Sized> {
    pub(crate) files: &'a F,
    /// Entries of the tree whose tiles these are.
    pub(crate) size: u64,
}

impl<F: Files + ?Sized> Hashes for Tiles<'_, F> {
    type Error = LogError;

    fn subtree(&self, level: u8, index: u64) -> Result<Hash, LogError> {
        let (tile_level, above) = (level / 8, level % 8);
        let first = index << above;
        let tile = self.hashes(tile_level, first / HASHES_PER_TILE)?;
        let first = (first % HASHES_PER_TILE) as usize;
        let part = tile.get(first..first + (1 << above));
        // Asked for whole subtrees only, and those are in the tile of a tree that has them.
        Ok(root_of(part.unwrap_or_default()))
    }
}

impl<F: Files + ?Sized> Tiles<'_, F> {
    pub(crate) fn hashes(&self, level: u8, index: u64) -> Result<Vec<Hash>, LogError> {
        let most = HASHES_PER_TILE as usize * size_of::<Hash>();
        let (tile, wanted, bytes) = self.read(Level::Hashes(level), index, most)?;
        let mut hashes = decode_hashes(&bytes, tile.width).map_err(|source| damaged(&tile, source))?;
        hashes.truncate(wanted);
        Ok(hashes)
    }

    pub(crate) fn entries(&self, index: u64) -> Result<Vec<Vec<u8>>, LogError> {
        let (tile, wanted, bytes) = self.read(Level::Entries, index, MAX_BUNDLE_BYTES)?;
        let entries = decode_bundle(&bytes, tile.width).map_err(|source| damaged(&tile, source))?;
        Ok(entries.into_iter().take(wanted).map(<[u8]>::to_vec).collect())
    }

    /// The tile as this tree has it, or the whole one that came after it; and how much of it belongs to this tree.
    fn read(&self, level: Level, index: u64, most: usize) -> Result<(Tile, usize, Vec<u8>), LogError> {
        let tile = Tile::of_tree(level, index, self.size)
            .ok_or(MerkleError::Outside { index: index.saturating_mul(HASHES_PER_TILE), size: self.size })?;
        let whole = Tile { width: HASHES_PER_TILE as u16, ..tile };
        for found in [tile, whole] {
            if let Some(bytes) = self.files.read(&found.to_string(), most)? {
                return Ok((found, usize::from(tile.width), bytes));
            }
        }
        Err(LogError::Missing(tile.to_string()))
    }
}

fn damaged(tile: &Tile, source: TileError) -> LogError {
    LogError::Tile { path: tile.to_string(), source }
}

/// The hash over these hashes, as over leaves.
pub(crate) fn root_of(hashes: &[Hash]) -> Hash {
    let mut parts = Peaks::default();
    for hash in hashes {
        parts.push(*hash);
    }
    parts.root()
}

/// A tree while it is read from left to right: its whole subtrees, the largest first.
#[derive(Default)]
struct Peaks(Vec<(u32, Hash)>);

impl Peaks {
    fn push(&mut self, leaf: Hash) {
        let mut peak = (0, leaf);
        while let Some((level, left)) = self.0.pop_if(|(level, _)| *level == peak.0) {
            peak = (level + 1, node_hash(&left, &peak.1));
        }
        self.0.push(peak);
    }

    fn root(&self) -> Hash {
        let whole = self.0.iter().rev().map(|(_, hash)| *hash).reduce(|right, left| node_hash(&left, &right));
        whole.unwrap_or_else(empty_root)
    }
}

/// What a look at every file of a log found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audit {
    /// Entries.
    pub entries: u64,
    /// Tiles of hashes.
    pub tiles: u64,
}

/// A log under a checkpoint that its key has signed.
pub struct Log<'a, F: ?Sized> {
    files: &'a F,
    checkpoint: SignedCheckpoint,
}

impl<'a, F: Files + ?Sized> Log<'a, F> {
    /// The log as its own checkpoint says.
    pub fn open(files: &'a F, key: &VerifierKey) -> Result<Self, LogError> {
        let note = files.read(CHECKPOINT, MAX_NOTE_BYTES)?.ok_or_else(|| LogError::Missing(CHECKPOINT.to_owned()))?;
        Ok(Self { files, checkpoint: SignedCheckpoint::verify(&note, key)? })
    }

    /// The checkpoint.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    fn tree(&self) -> &Checkpoint {
        self.checkpoint.checkpoint()
    }

    fn tiles(&self) -> Tiles<'a, F> {
        Tiles { files: self.files, size: self.tree().size }
    }

    /// The proof that entry `index` is in the log, with the entry itself. It was checked.
    pub fn proof(&self, index: u64) -> Result<Proof, LogError> {
        let (tiles, tree) = (self.tiles(), self.tree());
        let outside = MerkleError::Outside { index, size: tree.size };
        let path = inclusion_path(&tiles, index, tree.size)?.ok_or(outside)?;
        let mut bundle = tiles.entries(index / HASHES_PER_TILE)?;
        let entry = bundle.swap_remove((index % HASHES_PER_TILE) as usize);
        verify_inclusion(&leaf_hash(&entry), index, tree.size, &path, &tree.root)?;
        Ok(Proof { extra: Some(entry), index, path, checkpoint: self.checkpoint.note().to_owned() })
    }

    /// Checks that the log has grown from the checkpoint that was remembered: nothing was taken away, exchanged or put between.
    pub fn grew_from(&self, remembered: &Checkpoint) -> Result<(), LogError> {
        let (tiles, tree) = (self.tiles(), self.tree());
        if remembered.origin != tree.origin {
            let (found, remembered) = (tree.origin.clone(), remembered.origin.clone());
            return Err(LogError::OtherLog { found, remembered });
        }
        let rolled_back = LogError::RolledBack { remembered: remembered.size, found: tree.size };
        let path = consistency_path(&tiles, remembered.size, tree.size)?.ok_or(rolled_back)?;
        // What the files say the log once was; the proof says whether they may be believed. Only then is it known who lies.
        let once = if remembered.size == tree.size { tree.root } else { root_at(&tiles, remembered.size)? };
        verify_consistency((remembered.size, &once), (tree.size, &tree.root), &path)?;
        if once == remembered.root { Ok(()) } else { Err(LogError::Forked(remembered.size)) }
    }

    /// Reads every entry and every tile and checks that they are what the checkpoint was signed for. `visit` is given each entry with its
    /// number; what it was given holds only if this ends well.
    pub fn audit(&self, mut visit: impl FnMut(u64, &[u8])) -> Result<Audit, LogError> {
        let (tiles, tree) = (self.tiles(), self.tree());
        let (mut peaks, mut counted) = (Peaks::default(), Audit { entries: 0, tiles: 0 });
        // Of each level, the hashes of the tile that is not whole yet, and that tile's number.
        let mut levels: Vec<(Vec<Hash>, u64)> = vec![(Vec::new(), 0)];
        let mut compare = |level: usize, index: u64, hashes: &[Hash]| {
            counted.tiles += 1;
            if tiles.hashes(level as u8, index)? == hashes {
                return Ok(());
            }
            let tile = Tile::of_tree(Level::Hashes(level as u8), index, tree.size);
            Err(LogError::Changed(tile.map(|tile| tile.to_string()).unwrap_or_default()))
        };
        for bundle in 0..tree.size.div_ceil(HASHES_PER_TILE) {
            for entry in tiles.entries(bundle)? {
                visit(counted.entries, &entry);
                counted.entries += 1;
                let leaf = leaf_hash(&entry);
                peaks.push(leaf);
                levels[0].0.push(leaf);
            }
            // Tiles that are whole now, from below.
            for level in 0.. {
                if levels[level].0.len() < HASHES_PER_TILE as usize {
                    break;
                }
                let (hashes, index) = std::mem::take(&mut levels[level]);
                compare(level, index, &hashes)?;
                levels[level].1 = index + 1;
                if levels.len() == level + 1 {
                    levels.push((Vec::new(), 0));
                }
                levels[level + 1].0.push(root_of(&hashes));
            }
        }
        for (level, (hashes, index)) in levels.iter().enumerate().filter(|(_, (hashes, _))| !hashes.is_empty()) {
            compare(level, *index, hashes)?;
        }
        if peaks.root() == tree.root { Ok(counted) } else { Err(MerkleError::OtherTree.into()) }
    }
}
