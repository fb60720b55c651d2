//! The model file against the name it is served under.

use std::fs::File;
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

/// A model file that was read once, from its first byte to its last.
pub struct ModelFile {
    file: File,
    sha256: [u8; 32],
}

impl ModelFile {
    /// Opens the file for reading and hashes it. Blocks for as long as that takes.
    pub fn open(path: &Path) -> Result<Self, ModelFileError> {
        let unreadable = |source| ModelFileError::Unreadable { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(unreadable)?;
        if !file.metadata().map_err(unreadable)?.is_file() {
            return Err(unreadable(std::io::Error::other("it is not a file")));
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
        Ok(Self { file, sha256: hasher.finalize().into() })
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
    fn a_file_that_is_not_there_is_named() {
        let Err(error) = ModelFile::open(Path::new("/no/such/model.gguf")) else { panic!("opened") };
        assert!(error.to_string().contains("/no/such/model.gguf") && error.to_string().contains("--model"));
        assert!(ModelFile::open(Path::new("/")).is_err());
    }
}
