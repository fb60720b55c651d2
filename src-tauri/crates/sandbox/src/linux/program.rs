//! The file of a program on Linux, held so that what was measured is what runs.
//!
//! A file that is open or runs can still be written by its owner: the kernel refuses that while it runs, and some releases (6.11 and 6.12)
//! did not even then. So what is measured and started is a copy in memory with the kernel's seals on it, which nobody takes off. Systems can
//! forbid to start such copies (`vm.memfd_noexec`, rules of SELinux); there it is the file that was opened, and after the start, when the
//! kernel refuses to have it written, it is measured again.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;

use super::ASIDE;
use crate::program::Measured;

/// What the copy is called in `/proc`.
const NAME: &CStr = c"chrysalis-worker";

/// See the module.
pub(crate) struct Held {
    file: File,
    /// The sealed copy, where the system makes such.
    copy: Option<File>,
}

/// Opens, copies and measures.
pub(crate) fn hold(path: &Path) -> io::Result<(Held, Measured)> {
    hold_as(path, sealed)
}

fn hold_as(path: &Path, copy: impl FnOnce(&mut File) -> io::Result<Option<File>>) -> io::Result<(Held, Measured)> {
    let mut file = File::open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    if facts.permissions().mode() & 0o111 == 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the file is not marked as a program"));
    }
    let copy = copy(&mut file)?;
    let measured = match &copy {
        Some(copy) => measure(copy)?,
        None => measure(&file)?,
    };
    Ok((Held { file, copy }, measured))
}

/// A copy that can't be changed any more; `None`: this system makes none.
fn sealed(file: &mut File) -> io::Result<Option<File>> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let made = match rustix::fs::memfd_create(NAME, flags | MemfdFlags::EXEC) {
        // Before Linux 6.3 there was no such mark, and none was needed.
        Err(Errno::INVAL) => rustix::fs::memfd_create(NAME, flags),
        made => made,
    };
    let Ok(made) = made else { return Ok(None) };
    let mut made = File::from(made);
    io::copy(file, &mut made)?;
    rustix::fs::fcntl_add_seals(&made, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    // A file that is open for writing is not started.
    Ok(File::open(at(&made)).ok())
}

/// By descriptor, so that nobody's place in the file matters.
fn measure(file: &File) -> io::Result<Measured> {
    Measured::of(&mut FromStart { file, at: 0 })
}

struct FromStart<'a> {
    file: &'a File,
    at: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.at)?;
        self.at = self.at.saturating_add(length as u64);
        Ok(length)
    }
}

/// The name of an open file, for this process and for what it forks.
fn at(file: &impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()))
}

impl Held {
    /// Starts it by `begin`, which is given a name for it that holds until it returns. `changed`: what runs is not what was measured.
    pub(super) fn start<T>(
        &self,
        measured: Measured,
        mut begin: impl FnMut(&Path) -> io::Result<T>,
    ) -> io::Result<Result<T, Changed<T>>> {
        if let Some(copy) = &self.copy {
            match begin(&at(&aside(copy)?)) {
                // Rules of this system keep copies in memory from being started, not this program.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                begun => return begun.map(Ok),
            }
        }
        let begun = begin(&at(&aside(&self.file)?))?;
        // From now on the kernel refuses whoever wants to write it.
        match measure(&self.file) {
            Ok(now) if now == measured => Ok(Ok(begun)),
            _ => Ok(Err(Changed(begun))),
        }
    }
}

/// What was started and is to be ended.
pub(super) struct Changed<T>(pub(super) T);

/// A descriptor that keeps its number while the child arranges its own.
fn aside(file: &File) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(file, ASIDE)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(folder: &Path) -> PathBuf {
        let path = folder.join("sleep");
        std::fs::copy("/bin/sleep", &path).unwrap();
        path
    }

    fn begin(path: &Path) -> io::Result<std::process::Child> {
        std::process::Command::new(path).arg("60").spawn()
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("sandbox-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_copy_that_was_measured_cannot_be_changed_by_anybody() {
        let folder = folder("sealed");
        let (held, measured) = hold(&program(&folder)).unwrap();
        let copy = held.copy.as_ref().expect("this system makes copies in memory");
        assert_eq!(measured, measure(&held.file).unwrap());
        assert_eq!(rustix::fs::fcntl_get_seals(copy).unwrap().bits() & 0xf, 0xf);
        let writer = File::options().write(true).open(at(copy));
        assert!(writer.and_then(|file| file.write_at(b"x", 0)).is_err());
        assert!(File::options().write(true).open(at(copy)).and_then(|file| file.set_len(0)).is_err());
        assert_eq!(measure(copy).unwrap(), measured);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn where_no_copy_is_made_a_program_that_was_changed_is_found_out_when_it_starts() {
        let folder = folder("opened");
        let path = program(&folder);
        let (held, measured) = hold_as(&path, |_| Ok(None)).unwrap();
        let Ok(Ok(mut child)) = held.start(measured, begin) else { panic!("it is as it was") };
        // The kernel's own part of the bargain, on releases that keep it.
        let written = File::options().write(true).open(&path);
        assert!(written.is_err(), "a program that runs is not written");
        child.kill().unwrap();
        child.wait().unwrap();
        // The same file, another byte.
        let file = File::options().write(true).open(&path).unwrap();
        file.write_at(b"y", file.metadata().unwrap().len()).unwrap();
        drop(file);
        let Ok(Err(Changed(mut child))) = held.start(measured, begin) else { panic!("nobody noticed") };
        child.kill().unwrap();
        child.wait().unwrap();
        // Another file of that name is not even looked at.
        let (held, measured) = hold_as(&path, |_| Ok(None)).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "another").unwrap();
        let Ok(Ok(mut child)) = held.start(measured, begin) else { panic!("it is the one that was opened") };
        child.kill().unwrap();
        child.wait().unwrap();
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_no_program_is_not_held() {
        let folder = folder("none");
        let path = folder.join("text");
        std::fs::write(&path, "text").unwrap();
        assert!(hold(&path).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied));
        assert!(hold(&folder).is_err());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
