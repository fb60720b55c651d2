//! The file of a program on Windows, held so that what was measured is what runs.
//!
//! As long as it is open here nobody else opens it to write, rename or remove it, so its name means what was measured. A folder above it that is
//! exchanged for a link is not noticed; who can do that can also change the app.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt as _;
use std::path::Path;

use windows::Win32::Storage::FileSystem::FILE_SHARE_READ;

use crate::program::Measured;

/// Open for as long as the program may be started.
pub(crate) struct Held(#[expect(dead_code, reason = "it is there to be open")] File);

/// Opens and measures.
pub(crate) fn hold(path: &Path) -> io::Result<(Held, Measured)> {
    let mut file = OpenOptions::new().read(true).share_mode(FILE_SHARE_READ.0).open(path)?;
    let measured = Measured::of(&mut file)?;
    Ok((Held(file), measured))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_held_is_neither_written_nor_renamed_nor_removed() {
        let path = std::env::temp_dir().join(format!("held-{}.exe", std::process::id()));
        std::fs::write(&path, b"program").unwrap();
        let (held, measured) = hold(&path).unwrap();
        assert_eq!(measured.bytes, 7);
        assert!(OpenOptions::new().write(true).open(&path).is_err());
        assert!(std::fs::rename(&path, path.with_extension("old")).is_err());
        assert!(std::fs::remove_file(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"program");
        drop(held);
        std::fs::remove_file(path).unwrap();
    }
}
