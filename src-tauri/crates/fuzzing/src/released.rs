//! The log of released programs: what lies beside a program on this PC, and what a log's server answers.

use releases::{
    Checkpoint, Entry, Level, Measured, Note, NoteError, Proof, ReleaseStanding, SignedCheckpoint, Tile, VerifierKey,
    decode_bundle, decode_hashes, encode_bundle, standing,
};

/// A key whose owner threw it away.
const KEY: &str = "log.example/releases+d0b43fe4+AVwuGkn6tYeeUa7kToxp+V7IxAZhlo5DHbZ94QbWzx7x";
/// The entries it signed a checkpoint for.
const SIZE: u64 = 70_000;

/// The bytes as a signed note, as a checkpoint, and as a key.
pub fn signed_note(data: &[u8]) {
    let Ok(key) = VerifierKey::parse(KEY) else { panic!("the key is none") };
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(read) = VerifierKey::parse(text) {
            assert!(read.to_text() == text, "a key has two spellings");
        }
        if let Ok(read) = Checkpoint::parse(text) {
            assert!(text.starts_with(&read.to_text()), "a checkpoint is not read as it was written");
        }
    }
    let Ok(note) = Note::parse(data) else {
        assert!(SignedCheckpoint::verify(data, &key).is_err(), "what is no note is a checkpoint");
        return;
    };
    assert!(note.to_text().as_bytes() == data, "a note has two spellings");
    assert!(note.verify(&[]) == Err(NoteError::UnknownSigners), "nobody's signature is good");
    if let Ok(signed) = SignedCheckpoint::verify(data, &key) {
        let checkpoint = signed.checkpoint();
        // The key signed one checkpoint and no other.
        assert!(checkpoint.origin == key.name() && checkpoint.size == SIZE, "a checkpoint that nobody signed is good");
    }
}

/// The bytes as the file beside a program.
pub fn tlog_proof(data: &[u8]) {
    let Ok(key) = VerifierKey::parse(KEY) else { panic!("the key is none") };
    let file = Measured { sha256: [7; 32], bytes: 4 };
    let found = standing(Some(&key), &file, None, Some(data));
    let proves = matches!(found, ReleaseStanding::Logged { .. } | ReleaseStanding::AnotherProgram { .. });
    assert!(!proves, "a program that was never released is in a log");
    assert!(!found.to_string().is_empty());
    if let Ok(proof) = Proof::parse(data) {
        assert!(proof.to_text().as_bytes() == data, "a proof has two spellings");
    }
}

/// The bytes as an entry.
pub fn release_entry(data: &[u8]) {
    if let Ok(entry) = Entry::parse(data) {
        assert!(entry.to_string().as_bytes() == data, "an entry has two spellings");
    }
}

/// The bytes as the path of a tile; and behind the first two, which say how wide, as a bundle of entries and as hashes.
pub fn tlog_tile(data: &[u8]) {
    if let Ok(path) = std::str::from_utf8(data)
        && let Ok(tile) = Tile::parse(path)
    {
        assert!(tile.to_string() == path && !path.contains(".."), "a tile has two places");
        let there = Tile::of_tree(tile.level, tile.index, u64::MAX);
        assert!(there.is_none_or(|there| there.index == tile.index && there.level == tile.level));
        assert!(tile.level != Level::Entries || path.starts_with("tile/entries/"));
    }
    let Some((width, bytes)) = data.split_first_chunk::<2>() else { return };
    let width = u16::from_le_bytes(*width);
    if let Ok(entries) = decode_bundle(bytes, width) {
        assert!(entries.len() == usize::from(width), "a bundle has another width");
        assert!(encode_bundle(&entries).is_ok_and(|again| again == bytes), "a bundle has two spellings");
    }
    if let Ok(hashes) = decode_hashes(bytes, width) {
        assert!(hashes.concat() == bytes, "a tile has two spellings");
    }
}
