//! How a log grows: which files are new, decided here and written elsewhere. The same log, key and entries make the same bytes.

use std::collections::BTreeMap;

use crate::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
use crate::entry::Entry;
use crate::log::{CHECKPOINT, FileError, Files, Log, LogError, Tiles, root_of};
use crate::merkle::{Hash, empty_root, leaf_hash, root_at};
use crate::note::{MAX_NOTE_BYTES, SignerKey};
use crate::tile::{HASHES_PER_TILE, Level, Tile, TileError, encode_bundle};

/// Why a log can't grow like that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The log as it is can't be relied on.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The new checkpoint can't be signed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// An entry is too long for a bundle.
    #[error(transparent)]
    Tile(#[from] TileError),
    /// Nothing was to be added.
    #[error("there is nothing to add")]
    Nothing,
    /// The log has this entry.
    #[error("the log has it already, as entry {index}: {entry}")]
    Already {
        /// Its number.
        index: u64,
        /// The entry.
        entry: String,
    },
    /// A program of a version for a system has one file; another one needs another version.
    #[error("{entry} is another file than the one of that version in the log; a version is released once")]
    OtherFile {
        /// What was to be added.
        entry: String,
    },
    /// What this key signed last is not the beginning of what it should sign now.
    #[error(
        "this key has signed a log of {remembered} entries that is not the beginning of this one; a second log under one key is what the log \
         exists to prevent. If an earlier run was cut off, give it the same programs again"
    )]
    Fork {
        /// Entries of the log it signed last.
        remembered: u64,
    },
}

/// A file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// Its path in the log.
    pub path: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// What becomes of a log. Whoever writes it keeps the checkpoint beside the key first, then writes the files, and the log's checkpoint
/// last; so whatever is cut off, the key signs no second log, and readers find every file that the checkpoint they see asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    /// Tiles and bundles, none of which was there with other bytes before.
    pub files: Vec<NewFile>,
    /// The new checkpoint.
    pub checkpoint: SignedCheckpoint,
    /// The number of the first new entry.
    pub first: u64,
}

/// Adds entries to the log in these files; begins one where there is none. `remembered` is the last checkpoint this key signed, from where
/// its owner keeps it: not from these files.
pub fn append<F: Files + ?Sized>(
    files: &F,
    key: &SignerKey,
    entries: &[Entry],
    remembered: Option<&Checkpoint>,
) -> Result<Growth, AppendError> {
    if files.read(CHECKPOINT, MAX_NOTE_BYTES).map_err(LogError::from)?.is_some() {
        let mut known = Vec::new();
        Log::open(files, key.verifier())?.audit(|index, bytes| {
            // An entry of a form that came later is none of ours.
            known.extend(Entry::parse(bytes).map(|entry| (index, entry)));
        })?;
        for entry in entries {
            judge(entry, known.iter().map(|(index, known)| (*index, known)))?;
        }
    }
    for (number, entry) in entries.iter().enumerate() {
        judge(entry, (0..).zip(&entries[..number]))?;
    }
    let entries: Vec<Vec<u8>> = entries.iter().map(|entry| entry.to_string().into_bytes()).collect();
    grow(files, key, &entries, remembered)
}

/// Whether an entry may stand behind those that are there.
fn judge<'a>(entry: &Entry, mut known: impl Iterator<Item = (u64, &'a Entry)>) -> Result<(), AppendError> {
    let same_release = |known: &Entry| {
        (&known.version, known.platform, known.program) == (&entry.version, entry.platform, entry.program)
    };
    match known.find(|(_, known)| same_release(known)) {
        None => Ok(()),
        Some((index, known)) if known == entry => Err(AppendError::Already { index, entry: entry.to_string() }),
        Some(_) => Err(AppendError::OtherFile { entry: entry.to_string() }),
    }
}

/// Adds entries of any form.
pub(crate) fn grow<F: Files + ?Sized>(
    files: &F,
    key: &SignerKey,
    entries: &[Vec<u8>],
    remembered: Option<&Checkpoint>,
) -> Result<Growth, AppendError> {
    if entries.is_empty() {
        return Err(AppendError::Nothing);
    }
    let old = match files.read(CHECKPOINT, MAX_NOTE_BYTES).map_err(LogError::from)? {
        Some(note) => SignedCheckpoint::verify(&note, key.verifier())?.checkpoint().clone(),
        None => Checkpoint { origin: key.verifier().name().to_owned(), size: 0, root: empty_root() },
    };
    let size = old.size + entries.len() as u64;
    let new = with_new_files(files, &old, entries)?;
    let grown = Tiles { files: &new, size };
    // Every hash that the new tiles begin with is in one of these two.
    if root_at(&grown, old.size)? != old.root {
        return Err(LogError::Merkle(crate::MerkleError::OtherTree).into());
    }
    let fits = |remembered: &Checkpoint| -> Result<bool, LogError> {
        Ok(remembered.size <= size && root_at(&grown, remembered.size)? == remembered.root)
    };
    if let Some(remembered) = remembered
        && !fits(remembered)?
    {
        return Err(AppendError::Fork { remembered: remembered.size });
    }
    let checkpoint = Checkpoint { origin: old.origin, size, root: root_at(&grown, size)? }.sign(key)?;
    let files = new.added.into_iter().map(|(path, bytes)| NewFile { path, bytes }).collect();
    Ok(Growth { files, checkpoint, first: old.size })
}

/// A log's files with those that are to be added.
struct WithNew<'a, F: ?Sized> {
    there: &'a F,
    added: BTreeMap<String, Vec<u8>>,
}

impl<F: Files + ?Sized> Files for WithNew<'_, F> {
    fn read(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, FileError> {
        match self.added.get(path) {
            Some(bytes) => Ok(Some(bytes.clone())),
            None => self.there.read(path, most),
        }
    }
}

fn with_new_files<'a, F: Files + ?Sized>(
    files: &'a F,
    old: &Checkpoint,
    entries: &[Vec<u8>],
) -> Result<WithNew<'a, F>, AppendError> {
    let before = Tiles { files, size: old.size };
    let (size, mut added) = (old.size + entries.len() as u64, BTreeMap::new());
    let path = |level, index| Tile::of_tree(level, index, size).map(|tile| tile.to_string()).unwrap_or_default();
    let begun = !old.size.is_multiple_of(HASHES_PER_TILE);
    let first = old.size / HASHES_PER_TILE;
    let mut bundled = if begun { before.entries(first)? } else { Vec::new() };
    let mut leaves: Vec<Hash> = bundled.iter().map(|entry| leaf_hash(entry)).collect();
    if begun && before.hashes(0, first)? != leaves {
        return Err(LogError::Changed(
            Tile::of_tree(Level::Entries, first, old.size).map_or_else(String::new, |tile| tile.to_string()),
        )
        .into());
    }
    bundled.extend_from_slice(entries);
    for (index, bundle) in (first..).zip(bundled.chunks(HASHES_PER_TILE as usize)) {
        added.insert(path(Level::Entries, index), encode_bundle(bundle)?);
    }
    leaves.extend(entries.iter().map(|entry| leaf_hash(entry)));
    // From below: the hashes of the tiles that grow, those that were there in front.
    let (mut hashes, mut first) = (leaves, first);
    for level in 0_u8.. {
        let mut above = Vec::new();
        for (index, tile) in (first..).zip(hashes.chunks(HASHES_PER_TILE as usize)) {
            added.insert(path(Level::Hashes(level), index), tile.concat());
            if tile.len() == HASHES_PER_TILE as usize {
                above.push(root_of(tile));
            }
        }
        if above.is_empty() {
            break;
        }
        // The first of them is the hash of tile `first`.
        let (next, there) = (first / HASHES_PER_TILE, first % HASHES_PER_TILE);
        hashes = if there == 0 { Vec::new() } else { before.hashes(level + 1, next)? };
        hashes.extend(above);
        first = next;
    }
    Ok(WithNew { there: files, added })
}
