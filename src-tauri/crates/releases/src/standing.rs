//! What the log says about a file on this PC.

use std::fmt;
use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use crate::entry::{Entry, Program};
use crate::merkle::Hash;
use crate::note::{NoteError, VerifierKey};
use crate::proof::{Proof, ProofError};

/// A program file as it was read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Its SHA-256.
    pub sha256: Hash,
    /// Its length.
    pub bytes: u64,
}

impl Measured {
    /// Reads a program to its end. Where it matters which file that is, the caller opened it once and started what it opened.
    pub fn of(program: &mut impl Read) -> io::Result<Self> {
        let mut hash = Sha256::new();
        let bytes = io::copy(program, &mut hash)?;
        Ok(Self { sha256: hash.finalize().into(), bytes })
    }
}

/// The key in the file `installers/release-log.vkey`: none while nothing was released. Lines that begin with `#` are for people.
pub fn published_key(file: &str) -> Result<Option<VerifierKey>, NoteError> {
    let mut lines = file.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    match (lines.next(), lines.next()) {
        (None, _) => Ok(None),
        (Some(key), None) => VerifierKey::parse(key).map(Some),
        _ => Err(NoteError::Key("there is more than one in the file")),
    }
}

/// Whether a file is one that was released. Only [`ReleaseStanding::Logged`] says that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleaseStanding {
    /// No log is known whose word would count: nothing was released yet.
    NoLogYet,
    /// No proof lies beside the file: built from source, or not released.
    NotLogged,
    /// The file is in the log.
    Logged {
        /// What the log says of it.
        entry: Entry,
        /// The log's name.
        log: String,
        /// The entry's number in the log.
        index: u64,
        /// Entries of the log when the proof was made.
        size: u64,
    },
    /// The proof is good, and about another file.
    AnotherProgram {
        /// What the proof is about.
        entry: Entry,
    },
    /// A proof lies there and proves nothing.
    BrokenProof(ProofError),
}

/// What the log with this key says about a file. `expected` is which program the file is used as, where that is known: a genuine app in
/// the worker's place is not a genuine worker.
pub fn standing(
    key: Option<&VerifierKey>,
    file: &Measured,
    expected: Option<Program>,
    proof: Option<&[u8]>,
) -> ReleaseStanding {
    let Some(key) = key else { return ReleaseStanding::NoLogYet };
    let Some(proof) = proof else { return ReleaseStanding::NotLogged };
    let verified = match Proof::parse(proof).and_then(|proof| proof.verify(key)) {
        Ok(verified) => verified,
        Err(error) => return ReleaseStanding::BrokenProof(error),
    };
    let entry = verified.entry;
    let same = entry.sha256 == file.sha256 && entry.bytes == file.bytes;
    if !same || expected.is_some_and(|program| program != entry.program) {
        return ReleaseStanding::AnotherProgram { entry };
    }
    let tree = verified.checkpoint.checkpoint();
    ReleaseStanding::Logged { entry, log: tree.origin.clone(), index: verified.index, size: tree.size }
}

impl ReleaseStanding {
    /// A word for programs: `no_log_yet`, `not_logged`, `logged`, `another_program`, `broken_proof`.
    pub fn key(&self) -> &'static str {
        match self {
            Self::NoLogYet => "no_log_yet",
            Self::NotLogged => "not_logged",
            Self::Logged { .. } => "logged",
            Self::AnotherProgram { .. } => "another_program",
            Self::BrokenProof(_) => "broken_proof",
        }
    }
}

/// A sentence for the owner. It says no more than the log does.
impl fmt::Display for ReleaseStanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLogYet => f.write_str("there is no log of released programs yet, so no file can be found in it"),
            Self::NotLogged => {
                f.write_str("built from source or not released: no proof that it is in the log lies beside it")
            }
            Self::Logged { entry, log, index, size } => {
                let Entry { version, platform, program, .. } = entry;
                write!(f, "released: {program} {version} for {platform}, entry {index} of {size} in the log {log}")
            }
            Self::AnotherProgram { entry } => {
                let Entry { version, platform, program, .. } = entry;
                write!(f, "not this file: its proof is about {program} {version} for {platform}")
            }
            Self::BrokenProof(error) => write!(f, "its proof proves nothing: {error}"),
        }
    }
}
