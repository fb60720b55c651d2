//! The model file against the name it is served under.
//!
//! Whoever has read a file once need not read it again to know its hash, as long as the system says that it is the same, unchanged: [`Known`].
//! Nothing rests on that: the worker reads and hashes every byte it serves, and where it finds another hash than it was told, it serves nothing.

use std::fs::{File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};

use accounting::ModelName;
use sha2::{Digest as _, Sha256};

/// Why a file is not served under a name.
#[derive(Debug, thiserror::Error)]
pub enum ModelFileError {
    /// It can't be read.
    #[error("the model {} can't be read: {source}; name a GGUF file with --model", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The name names no file.
    #[error(
        "the name {name} does not say which file is meant: give NAME@COMMIT:{found}, the last part being the file's SHA-256"
    )]
    NoHash {
        /// The name.
        name: String,
        /// SHA-256 of the file.
        found: String,
    },
    /// The name names another file.
    #[error(
        "the model file has SHA-256 {found}, but the name claims {claimed}: serve it under its own hash, or take the file that is meant"
    )]
    OtherHash {
        /// SHA-256 of the file.
        found: String,
        /// What the name says.
        claimed: String,
    },
    /// A claim that is not true is for test networks.
    #[error("--test-claim is for test networks, and this network is not marked is_test")]
    NotATest,
}

/// A model file that was read once, from its first byte to its last, now or before.
pub struct ModelFile {
    file: File,
    sha256: [u8; 32],
    bytes: u64,
    known: Known,
    was_read: bool,
}

/// What was found out about a model file, and by what the file is known again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known(Option<(Marks, [u8; 32])>);

/// What the system says of a file that changes with its content.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Marks {
    path: PathBuf,
    bytes: u64,
    /// Its place and its times.
    others: [i128; 4],
}

impl Marks {
    #[cfg(unix)]
    fn of(path: &Path, facts: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let time = |seconds: i64, nanoseconds: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
        let (written, changed) = (time(facts.mtime(), facts.mtime_nsec()), time(facts.ctime(), facts.ctime_nsec()));
        // Nobody but the kernel sets the time of the last change of any kind.
        let others = [facts.dev().into(), facts.ino().into(), written, changed];
        Self { path: path.to_owned(), bytes: facts.len(), others }
    }

    #[cfg(windows)]
    fn of(path: &Path, facts: &Metadata) -> Self {
        use std::os::windows::fs::MetadataExt as _;
        let others = [facts.creation_time().into(), facts.last_write_time().into(), facts.file_attributes().into(), 0];
        Self { path: path.to_owned(), bytes: facts.len(), others }
    }
}

impl ModelFile {
    /// Opens the file for reading and hashes it. Blocks for as long as that takes.
    pub fn open(path: &Path) -> Result<Self, ModelFileError> {
        Self::open_again(path, &Known::default())
    }

    /// The same, but a file that is known and unchanged is not read.
    pub fn open_again(path: &Path, known: &Known) -> Result<Self, ModelFileError> {
        let unreadable = |source| ModelFileError::Unreadable { path: path.to_owned(), source };
        // Looked at before it is opened: opening a pipe waits for whoever writes.
        if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(unreadable(std::io::Error::other("it is not a file")));
        }
        let mut file = File::open(path).map_err(unreadable)?;
        let facts = file.metadata().map_err(unreadable)?;
        if !facts.is_file() {
            return Err(unreadable(std::io::Error::other("it is not a file")));
        }
        let (before, bytes) = (Marks::of(path, &facts), facts.len());
        if let Known(Some((marks, sha256))) = known
            && *marks == before
        {
            return Ok(Self { file, sha256: *sha256, bytes, known: known.clone(), was_read: false });
        }
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => hasher.update(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(unreadable(source)),
            }
        }
        let sha256 = hasher.finalize().into();
        // What was written meanwhile may be in the hash or not.
        let unchanged = Marks::of(path, &file.metadata().map_err(unreadable)?) == before;
        let known = Known(unchanged.then_some((before, sha256)));
        Ok(Self { file, sha256, bytes, known, was_read: true })
    }

    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// By what it is known the next time.
    pub fn known(&self) -> Known {
        self.known.clone()
    }

    /// Whether it had to be read just now.
    pub fn was_read(&self) -> bool {
        self.was_read
    }

    /// SHA-256 of its bytes.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// Whether it may be served under this name. `test_claim`: the owner wants another name all the same, which only a network that
    /// calls itself a test allows.
    pub fn admits(&self, name: &ModelName, test_claim: bool, network_is_test: bool) -> Result<(), ModelFileError> {
        if test_claim {
            return if network_is_test { Ok(()) } else { Err(ModelFileError::NotATest) };
        }
        let found = hex::encode(self.sha256);
        match &name.hash {
            None => Err(ModelFileError::NoHash { name: name.to_string(), found }),
            Some(claimed) if *claimed == found => Ok(()),
            Some(claimed) => Err(ModelFileError::OtherHash { found, claimed: claimed.clone() }),
        }
    }

    /// The open file.
    pub fn into_file(self) -> File {
        self.file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of `abc`, out of FIPS 180-2.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn abc() -> ModelFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, b"abc").unwrap();
        ModelFile::open(file.path()).unwrap()
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_that_nobody_writes_to_is_no_model_and_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe.gguf");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [&pipe, Path::new("/dev/zero"), folder.path()] {
            let error = ModelFile::open(path).err().unwrap().to_string();
            assert!(error.contains("it is not a file"), "{error}");
        }
    }

    #[test]
    fn a_file_is_served_under_its_own_hash_only() {
        let model = abc();
        assert_eq!(hex::encode(model.sha256()), ABC);
        let name = |text: &str| text.parse::<ModelName>().unwrap();
        assert!(model.admits(&name(&format!("a@b:{ABC}")), false, false).is_ok());
        let other = name(&format!("a@b:{}", "0".repeat(64)));
        let error = model.admits(&other, false, true).unwrap_err();
        assert!(matches!(error, ModelFileError::OtherHash { .. }));
        assert!(error.to_string().contains(ABC));
        assert!(matches!(model.admits(&name("a@b"), false, true), Err(ModelFileError::NoHash { .. })));
    }

    #[test]
    fn other_claims_are_for_test_networks() {
        let model = abc();
        let other: ModelName = "Qwen/Qwen3-8B@1:2".parse().unwrap();
        assert!(model.admits(&other, true, true).is_ok());
        assert!(matches!(model.admits(&other, true, false), Err(ModelFileError::NotATest)));
    }

    #[test]
    fn an_unchanged_file_is_not_read_again_and_whatever_was_touched_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        std::fs::write(&path, b"abc").unwrap();
        let first = ModelFile::open(&path).unwrap();
        assert!(first.was_read() && first.bytes() == 3);
        let again = ModelFile::open_again(&path, &first.known()).unwrap();
        assert!(!again.was_read());
        assert_eq!((hex::encode(again.sha256()), again.known()), (ABC.to_owned(), first.known()));
        let mut text = String::new();
        again.into_file().read_to_string(&mut text).unwrap();
        assert_eq!(text, "abc", "it is open all the same");
        // As many bytes, and the time of writing set back to what it was.
        let written = path.metadata().unwrap().modified().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        std::fs::write(&path, b"abd").unwrap();
        if cfg!(unix) {
            File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
        }
        let other = ModelFile::open_again(&path, &first.known()).unwrap();
        assert!(other.was_read() && other.sha256() != first.sha256());
        // Another file of that name, and another name.
        let beside = folder.path().join("beside");
        std::fs::write(&beside, b"abc").unwrap();
        std::fs::rename(&beside, &path).unwrap();
        assert!(ModelFile::open_again(&path, &first.known()).unwrap().was_read());
        assert!(ModelFile::open_again(&path, &Known::default()).unwrap().was_read());
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let Err(error) = ModelFile::open(Path::new("/no/such/model.gguf")) else { panic!("opened") };
        assert!(error.to_string().contains("/no/such/model.gguf") && error.to_string().contains("--model"));
        assert!(ModelFile::open(Path::new("/")).is_err());
    }
}
