//! The public log of released programs: which files the maker of this program has released, in an order nobody can change unseen.
//!
//! What lives here: signed notes, checkpoints, the Merkle tree and its proofs, tiles, the proof file that lies beside a program, the
//! entry for one program file, a log as a folder of static files, and what all of that says about one file. What may not: files, the
//! network, a clock, a source of randomness. Bytes come in through [`Files`] and go out as a [`Growth`].
//!
//! The formats are others', and are followed to the letter so that anybody's tools read the log: RFC 6962, section 2.1 (the tree), and
//! C2SP's `signed-note`, `tlog-checkpoint`, `tlog-tiles` and `tlog-proof`. Only [`Entry`] is ours.
//!
//! A log says what was released. It does not say what runs on a PC: whoever owns that PC can run anything (docs/releases.md).
//!
//! Walk-through: [`standing`] is the question the app asks; [`Proof`] is what it reads, [`Log`] where that comes from, [`append`] how a
//! log grows.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap"))]

mod checkpoint;
mod entry;
#[cfg(test)]
mod golden;
mod log;
mod merkle;
mod note;
mod proof;
mod standing;
mod text;
mod tile;
mod write;

pub use checkpoint::{Checkpoint, CheckpointError, MAX_TREE_SIZE, SignedCheckpoint};
pub use entry::{Entry, EntryError, MAX_ENTRY_BYTES, Platform, Program, Version};
pub use log::{Audit, CHECKPOINT, FileError, Files, Log, LogError};
pub use merkle::{
    Hash, Hashes, MAX_PATH, MerkleError, consistency_path, empty_root, inclusion_path, leaf_hash, node_hash, root_at,
    verify_consistency, verify_inclusion,
};
pub use note::{MAX_NOTE_BYTES, MAX_SIGNATURES, Note, NoteError, NoteSignature, SignerKey, VerifierKey};
pub use proof::{MAX_PROOF_BYTES, Proof, ProofError, Verified};
pub use standing::{Measured, ReleaseStanding, published_key, standing};
pub use tile::{
    HASHES_PER_TILE, Level, MAX_BUNDLE_BYTES, Tile, TileError, decode_bundle, decode_hashes, encode_bundle,
};
pub use write::{AppendError, Growth, NewFile, append};
