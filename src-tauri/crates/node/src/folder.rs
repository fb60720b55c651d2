//! The data folder, for one app at a time.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// Why a folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another app has it.
    #[error("the folder {} is already in use by another chrysalis: stop that one, or choose another folder with --data", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// It can't be made or written.
    #[error("the folder {} can't be used: {source}; choose another one with --data", path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

/// A data folder that is ours until this is dropped, or the process ends in whatever way.
pub struct Folder {
    path: PathBuf,
    /// Held, never read: the lock lives as long as the open file.
    _lock: File,
}

impl Folder {
    /// Makes the folder if need be, and takes it. One that is made is for its owner alone, where the system knows such a thing as permissions
    /// of a folder: how much somebody earns is nobody else's business.
    pub fn take(path: &Path) -> Result<Self, FolderError> {
        let unusable = |source| FolderError::Unusable { path: path.to_owned(), source };
        let mut maker = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut maker, 0o700);
        maker.recursive(true).create(path).map_err(unusable)?;
        let lock =
            File::options().write(true).create(true).truncate(false).open(path.join("lock")).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(FolderError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(unusable(source)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The ledger's file in it.
    pub fn ledger(&self) -> PathBuf {
        self.path.join("ledger.sqlite")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_belongs_to_one_app_at_a_time() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("a").join("b");
        let first = Folder::take(&path).unwrap();
        assert!(matches!(Folder::take(&path), Err(FolderError::InUse { .. })));
        drop(first);
        assert!(Folder::take(&path).unwrap().ledger().starts_with(&path));
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_is_made_is_for_its_owner_alone_and_one_that_was_there_stays_as_it_was() {
        use std::os::unix::fs::PermissionsExt as _;
        let room = tempfile::tempdir().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (made, there) = (room.path().join("made"), room.path().join("there"));
        std::fs::create_dir(&there).unwrap();
        std::fs::set_permissions(&there, std::fs::Permissions::from_mode(0o755)).unwrap();
        for path in [&made, &there] {
            drop(Folder::take(path).unwrap());
        }
        assert_eq!((mode(&made), mode(&there)), (0o700, 0o755));
    }

    #[test]
    fn a_folder_that_cannot_be_made_says_what_to_do() {
        let Err(error) = Folder::take(Path::new("/dev/null/here")) else { panic!("taken") };
        assert!(error.to_string().contains("--data"), "{error}");
    }
}
