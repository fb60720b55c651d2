//! A program's file: opened once, measured, and started as what was measured, whatever happens to its name and its bytes meanwhile.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::{StartError, system};

/// What was measured of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// How many these are.
    pub bytes: u64,
}

impl Measured {
    /// Of whatever comes until the end.
    pub(crate) fn of(from: &mut impl Read) -> io::Result<Self> {
        let mut hash = Sha256::new();
        let bytes = io::copy(from, &mut hash)?;
        Ok(Self { sha256: hash.finalize().into(), bytes })
    }
}

/// A program that can be started, any number of times, as the bytes that were measured. Clones mean the same one.
///
/// Linux: what is started is a copy in memory that was sealed before it was measured, so nobody can change it any more; where a system
/// starts no such copies, it is the file that was opened, measured once more after the start. Windows: the file is kept open in a way in
/// which nobody writes, renames or removes it as long as a clone lives.
#[derive(Clone)]
pub struct Program {
    path: PathBuf,
    measured: Measured,
    #[cfg_attr(windows, expect(dead_code, reason = "it is there to be open"))]
    pub(crate) held: Arc<system::Held>,
}

impl Program {
    /// Opens and measures it. Blocks for as long as reading it takes.
    pub fn open(path: &Path) -> Result<Self, StartError> {
        let (held, measured) =
            system::hold(path).map_err(|source| StartError::Program { program: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), measured, held: Arc::new(held) })
    }

    /// The name it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is started.
    pub fn measured(&self) -> Measured {
        self.measured
    }
}
