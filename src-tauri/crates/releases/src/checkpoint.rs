//! Checkpoints (c2sp.org/tlog-checkpoint): which log, how many entries, the hash of its tree; in a signed note.

use crate::Hash;
use crate::merkle::empty_root;
use crate::note::{Note, NoteError, SignerKey, VerifierKey};
use crate::text::{decimal, hash_from_base64, to_base64};

/// Most entries of a tree that is taken, as in Go's logs: room for every step of the arithmetic.
pub const MAX_TREE_SIZE: u64 = i64::MAX as u64;

/// What a log's tree was at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// Entries of the tree.
    pub size: u64,
    /// The tree's hash.
    pub root: Hash,
}

/// Why there is no checkpoint to rely on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note is none, or not signed as it should be.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The note's text is not a checkpoint's.
    #[error("this is no checkpoint: {0}")]
    Malformed(&'static str),
    /// It is of a log with another name than the key's.
    #[error("this is a checkpoint of the log {0}, which this key does not sign for")]
    OtherLog(String),
}

impl Checkpoint {
    /// Reads a note's text. Lines behind the third are an extension that nobody here understands; they are left out.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let malformed = CheckpointError::Malformed;
        let text = text.strip_suffix('\n').ok_or(malformed("its last line has no end"))?;
        let mut lines = text.split('\n');
        let (origin, size, root) = (lines.next(), lines.next(), lines.next());
        let origin = origin.filter(|origin| !origin.is_empty()).ok_or(malformed("it names no log"))?;
        let size = size.and_then(decimal).ok_or(malformed("its second line is no number of entries"))?;
        let root = root.and_then(hash_from_base64).ok_or(malformed("its third line is no hash"))?;
        if lines.any(str::is_empty) {
            return Err(malformed("it has an empty line"));
        }
        if size > MAX_TREE_SIZE {
            return Err(malformed("it has more entries than a log can have"));
        }
        if size == 0 && root != empty_root() {
            return Err(malformed("it has no entry, and the hash of a tree with some"));
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// The text of its note.
    pub fn to_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, to_base64(&self.root))
    }

    /// The checkpoint of a log whose key this is, with its note.
    pub fn sign(&self, key: &SignerKey) -> Result<SignedCheckpoint, CheckpointError> {
        let note = key.sign(&self.to_text())?;
        SignedCheckpoint::verify(note.as_bytes(), key.verifier())
    }
}

/// A checkpoint whose log's signature is good, and the note it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: String,
}

impl SignedCheckpoint {
    /// Takes a note that the log's key has signed, and whose log has the key's name.
    pub fn verify(note: &[u8], key: &VerifierKey) -> Result<Self, CheckpointError> {
        let read = Note::parse(note)?;
        let checkpoint = Checkpoint::parse(read.verify(&[key])?)?;
        if checkpoint.origin != key.name() {
            return Err(CheckpointError::OtherLog(checkpoint.origin));
        }
        // Read above, so it is text.
        let note = String::from_utf8_lossy(note).into_owned();
        Ok(Self { checkpoint, note })
    }

    /// What it says.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note, byte for byte.
    pub fn note(&self) -> &str {
        &self.note
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of c2sp.org/tlog-checkpoint. Its key is not there.
    const SOFA: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    const BY_SOFA: &str = "\n— example.com/behind-the-sofa \
        Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
    /// The key of Go's checksum database, as the `go` command has it, and a checkpoint of 23 September 2024.
    const GO: &str = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
    const BY_GO: &str = "go.sum database tree\n30055305\nmXfgRcJ0bG0j3CPdKwgGWtUzBUbX67saZGRmFuJGGsM=\n\n— sum.golang.org \
        Az3grpgEild5qw7+5dtV13Kf1C2Xurm8q4fhdxvcsDHnqNTaxL2AFjBY+2TyGKevucFcAAlWFJJYle3EJlDCrQ+y3A8=\n";

    #[test]
    fn checkpoints_of_others_are_read() {
        let read = Checkpoint::parse(SOFA).unwrap();
        assert_eq!((read.origin.as_str(), read.size), ("example.com/behind-the-sofa", 20_852_163));
        assert_eq!(read.to_text(), SOFA);
        assert_eq!(Note::parse(format!("{SOFA}{BY_SOFA}").as_bytes()).unwrap().unverified_text(), SOFA);
        assert_eq!(Checkpoint::parse(&format!("{SOFA}an extension\nand another\n")).unwrap(), read);
        let go = VerifierKey::parse(GO).unwrap();
        let note = Note::parse(BY_GO.as_bytes()).unwrap();
        assert_eq!(Checkpoint::parse(note.verify(&[&go]).unwrap()).unwrap().size, 30_055_305);
        // That log's key has another name than the log; ours may not.
        let other = CheckpointError::OtherLog("go.sum database tree".to_owned());
        assert_eq!(SignedCheckpoint::verify(BY_GO.as_bytes(), &go), Err(other));
    }

    #[test]
    fn what_is_no_checkpoint_is_refused() {
        for text in [
            "",
            "\n",
            "a\n1\n",
            "\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "a\n01\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "a\n+1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "a\n-1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "a\n1 \nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "a\n9223372036854775808\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "a\n18446744073709551616\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "a\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J=\n",
            "a\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I\n",
            "a\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=",
            "a\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\nb\n",
            "a\n0\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        ] {
            assert!(matches!(Checkpoint::parse(text), Err(CheckpointError::Malformed(_))), "{text:?}");
        }
        let empty = Checkpoint { origin: "a".to_owned(), size: 0, root: empty_root() };
        assert_eq!(Checkpoint::parse(&empty.to_text()), Ok(empty));
    }
}
