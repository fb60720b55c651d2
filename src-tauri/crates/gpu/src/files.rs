//! Reading files of the system, a bounded part of each.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use crate::card::Why;

/// Longest attribute of a device that is read: a page, as sysfs writes at most.
const LONGEST: u64 = 4096;

/// Where the system's files hang. Tests hang others there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// `/sys`
    pub sys: PathBuf,
    /// `/proc`
    pub proc: PathBuf,
    /// `/usr/share`, for the lists of hardware
    pub share: PathBuf,
}

impl Roots {
    /// This machine's own.
    pub fn of_this_machine() -> Self {
        Self::under(Path::new("/"))
    }

    /// A folder that has `sys`, `proc` and `usr/share` as a machine would.
    pub fn under(folder: &Path) -> Self {
        Self { sys: folder.join("sys"), proc: folder.join("proc"), share: folder.join("usr/share") }
    }
}

/// A short text file. Bytes that are no text come as replacement signs.
pub(crate) fn text(path: &Path) -> Result<String, Why> {
    text_up_to(path, LONGEST)
}

/// A text file of at most `most` bytes; the rest is not read.
pub(crate) fn text_up_to(path: &Path, most: u64) -> Result<String, Why> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)).map_err(|error| why(error.kind()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What a failure to read says about the fact behind it.
pub(crate) fn why(kind: ErrorKind) -> Why {
    match kind {
        ErrorKind::NotFound => Why::NotTold,
        ErrorKind::PermissionDenied => Why::Refused,
        // amdgpu and xe answer so while a card falls asleep or is being reset.
        other => Why::Unreadable(other.to_string()),
    }
}
