//! The file that lies beside a released program (c2sp.org/tlog-proof): a checkpoint, the number of the program's entry, the hashes that
//! lead from one to the other. The entry itself is its `extra` data, which means nothing until the hashes lead to the checkpoint.

use crate::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::entry::{Entry, EntryError, MAX_ENTRY_BYTES};
use crate::merkle::{Hash, MAX_PATH, MerkleError, leaf_hash, verify_inclusion};
use crate::note::{MAX_NOTE_BYTES, VerifierKey};
use crate::text::{decimal, from_base64, hash_from_base64, to_base64};

/// Longest file that is read: the longest note, and what stands before it.
pub const MAX_PROOF_BYTES: usize = MAX_NOTE_BYTES + 8 * 1024;

const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// Longest extra data in Base 64; more than an entry is not for us.
const MAX_EXTRA_TEXT: usize = MAX_ENTRY_BYTES.div_ceil(3) * 4;

/// Why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// No file of this form.
    #[error("this is no proof of a log: {0}")]
    Malformed(&'static str),
    /// The checkpoint can't be relied on.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The hashes do not lead to the checkpoint.
    #[error(transparent)]
    Merkle(#[from] MerkleError),
    /// What is in the log is no entry about a program.
    #[error(transparent)]
    Entry(#[from] EntryError),
}

/// A proof as it was read or made. It says nothing before [`Proof::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The entry's bytes, if they are told.
    pub extra: Option<Vec<u8>>,
    /// The entry's number.
    pub index: u64,
    /// From the leaf's neighbour up.
    pub path: Vec<Hash>,
    /// The checkpoint's note.
    pub checkpoint: String,
}

/// What a good proof says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The entry that is in the log.
    pub entry: Entry,
    /// Its number there.
    pub index: u64,
    /// The log, at the time of the proof.
    pub checkpoint: SignedCheckpoint,
}

impl Proof {
    /// Reads the file.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofError> {
        let malformed = ProofError::Malformed;
        if bytes.len() > MAX_PROOF_BYTES {
            return Err(malformed("it is too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| malformed("it is no text"))?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(malformed("it has no empty line"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(malformed("it begins with another line"));
        }
        let extra = match lines.next_if(|line| line.starts_with("extra ")) {
            Some(line) if line.len() > MAX_EXTRA_TEXT + 6 => return Err(malformed("its extra data are too long")),
            Some(line) => Some(from_base64(&line[6..]).ok_or(malformed("its extra data are not Base 64"))?),
            None => None,
        };
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).and_then(decimal);
        let index = index.ok_or(malformed("it has no number of an entry"))?;
        let mut path = Vec::new();
        for line in lines {
            if path.len() == MAX_PATH {
                return Err(malformed("it has too many hashes"));
            }
            path.push(hash_from_base64(line).ok_or(malformed("a line of it is no hash"))?);
        }
        Ok(Self { extra, index, path, checkpoint: checkpoint.to_owned() })
    }

    /// The file.
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEADER}\n");
        if let Some(extra) = &self.extra {
            text.extend(["extra ", &to_base64(extra), "\n"]);
        }
        text.extend(["index ", &self.index.to_string(), "\n"]);
        for hash in &self.path {
            text.extend([&to_base64(hash), "\n"]);
        }
        text.extend(["\n", &self.checkpoint]);
        text
    }

    /// What it says, if the log's key signed the checkpoint and the entry is in the log.
    pub fn verify(&self, key: &VerifierKey) -> Result<Verified, ProofError> {
        let checkpoint = SignedCheckpoint::verify(self.checkpoint.as_bytes(), key)?;
        let entry = self.extra.as_deref().ok_or(ProofError::Malformed("it does not tell its entry"))?;
        let tree = checkpoint.checkpoint();
        verify_inclusion(&leaf_hash(entry), self.index, tree.size, &self.path, &tree.root)?;
        Ok(Verified { entry: Entry::parse(entry)?, index: self.index, checkpoint })
    }
}
