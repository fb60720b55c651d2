//! Files that somebody named on the command line, read without trusting what they say of themselves: a file that never ends is cut off, and what
//! is no file (a device, a pipe that nobody writes to) is refused before it can make anybody wait.

use std::fs::File;
use std::io::{Error, ErrorKind, Read as _, Result};
use std::path::Path;

/// Everything in a file, if that is no more than `most` bytes.
pub(crate) fn bytes(path: &Path, most: u64) -> Result<Vec<u8>> {
    // Looked at before it is opened: opening a pipe waits for whoever writes.
    if !std::fs::metadata(path)?.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "it is no ordinary file"));
    }
    up_to(File::open(path)?, most)
}

/// The same as text.
pub(crate) fn text(path: &Path, most: u64) -> Result<String> {
    as_text(bytes(path, most)?)
}

/// As [`bytes`], but what is handed over by the shell may be a pipe: `/dev/stdin`, or what `<(…)` makes.
pub(crate) fn bytes_or_pipe(path: &Path, most: u64) -> Result<Vec<u8>> {
    if path.starts_with("/dev") || path.starts_with("/proc") {
        up_to(File::open(path)?, most)
    } else {
        bytes(path, most)
    }
}

/// The same as text.
pub(crate) fn text_or_pipe(path: &Path, most: u64) -> Result<String> {
    as_text(bytes_or_pipe(path, most)?)
}

fn as_text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| Error::new(ErrorKind::InvalidData, "it is no text in UTF-8"))
}

/// One byte more than allowed says that it is too long. Its length, as the system says it, is not asked: it may be a device, or grow.
fn up_to(file: File, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(Error::new(
            ErrorKind::FileTooLarge,
            format!("it is longer than {most} bytes, which is the most there can be"),
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_to_its_end_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(bytes(&path, 3).unwrap(), b"abc");
        assert_eq!(text(&path, 3).unwrap(), "abc");
        assert!(bytes(&path, 2).unwrap_err().to_string().contains("longer than 2 bytes"));
        std::fs::write(&path, [0xff]).unwrap();
        assert!(text(&path, 3).unwrap_err().to_string().contains("no text"));
        assert_eq!(bytes(&folder.path().join("none"), 3).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(bytes(folder.path(), 3).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn what_never_ends_or_never_begins_is_refused_at_once() {
        let zero = Path::new("/dev/zero");
        assert!(bytes(zero, 1 << 20).unwrap_err().to_string().contains("no ordinary file"));
        assert!(bytes_or_pipe(zero, 1 << 20).unwrap_err().to_string().contains("longer than"));
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for refused in [bytes(&pipe, 9), bytes_or_pipe(&pipe, 9)] {
            assert!(refused.unwrap_err().to_string().contains("no ordinary file"));
        }
    }
}
