//! Logs of our own making, held against what Go's `golang.org/x/mod/sumdb` makes of the same entries
//! (`tests/fixtures/releases/golden.json`), and against whoever changes, cuts or forks them.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::log::Tiles;
use crate::merkle::{consistency_path, inclusion_path, root_at, verify_consistency, verify_inclusion};
use crate::text::hash_from_base64;
use crate::write::grow;
use crate::{
    AppendError, Audit, CHECKPOINT, Checkpoint, Entry, FileError, Files, Growth, Hash, Log, LogError, Measured,
    MerkleError, NoteError, Program, Proof, ProofError, ReleaseStanding, SignedCheckpoint, SignerKey, Tile,
    VerifierKey, append, leaf_hash, published_key, standing,
};

/// A log in memory. It remembers what was read.
#[derive(Default, Clone)]
struct Folder {
    files: BTreeMap<String, Vec<u8>>,
    read: RefCell<Vec<String>>,
}

impl Files for Folder {
    fn read(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, FileError> {
        self.read.borrow_mut().push(path.to_owned());
        let bytes = self.files.get(path).cloned();
        assert!(bytes.as_ref().is_none_or(|bytes| bytes.len() <= most), "{path}");
        Ok(bytes)
    }
}

impl Folder {
    /// As whoever keeps the log does it: what is there is never written again with other bytes.
    fn write(&mut self, growth: &Growth) {
        for file in &growth.files {
            Tile::parse(&file.path).unwrap();
            let there = self.files.insert(file.path.clone(), file.bytes.clone());
            assert!(there.is_none_or(|there| there == file.bytes), "{} was rewritten", file.path);
        }
        self.files.insert(CHECKPOINT.to_owned(), growth.checkpoint.note().as_bytes().to_vec());
    }

    fn checkpoint(&self, key: &VerifierKey) -> Checkpoint {
        Log::open(self, key).unwrap().checkpoint().checkpoint().clone()
    }
}

fn new_key() -> SignerKey {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).unwrap();
    SignerKey::from_seed("log.example/releases", &seed).unwrap()
}

fn records(range: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    range.map(|number| format!("record {number}").into_bytes()).collect()
}

/// A log of so many records, grown in steps.
fn log_of(key: &SignerKey, steps: &[u64]) -> Folder {
    let mut folder = Folder::default();
    let mut size = 0;
    for &step in steps {
        folder.write(&grow(&folder, key, &records(size..step), None).unwrap());
        size = step;
    }
    folder
}

fn golden() -> Value {
    serde_json::from_str(include_str!("../../../../tests/fixtures/releases/golden.json")).unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn hash(value: &Value) -> Hash {
    hash_from_base64(value.as_str().unwrap()).unwrap()
}

fn path(value: &Value) -> Vec<Hash> {
    value.as_array().unwrap().iter().map(hash).collect()
}

#[test]
fn our_tiles_roots_and_proofs_are_those_of_gos_log() {
    let golden = golden();
    let key = VerifierKey::parse(golden["vkey"].as_str().unwrap()).unwrap();
    let theirs = SignedCheckpoint::verify(golden["checkpoint"].as_str().unwrap().as_bytes(), &key).unwrap();
    let folder = log_of(&new_key(), &[1, 255, 256, 257, 70_000]);
    let tiles = Tiles { files: &folder, size: 70_000 };
    assert_eq!(root_at(&tiles, 70_000).unwrap(), theirs.checkpoint().root);
    for tile in golden["tiles"].as_array().unwrap() {
        let path = tile["path"].as_str().unwrap();
        assert_eq!(hex::encode(Sha256::digest(&folder.files[path])), tile["sha256"], "{path}");
    }
    let root = |size: u64| root_at(&tiles, size).unwrap();
    for known in golden["roots"].as_array().unwrap() {
        assert_eq!(root(number(&known["size"])), hash(&known["root"]), "{known}");
    }
    for known in golden["inclusion"].as_array().unwrap() {
        let (size, index, path) = (number(&known["size"]), number(&known["index"]), path(&known["path"]));
        assert_eq!(inclusion_path(&tiles, index, size).unwrap().unwrap(), path, "{index} of {size}");
        let leaf = leaf_hash(&records(index..index + 1)[0]);
        assert_eq!(verify_inclusion(&leaf, index, size, &path, &root(size)), Ok(()));
    }
    for known in golden["consistency"].as_array().unwrap() {
        let (older, newer, path) = (number(&known["older"]), number(&known["newer"]), path(&known["path"]));
        assert_eq!(consistency_path(&tiles, older, newer).unwrap().unwrap(), path, "{older} of {newer}");
        assert_eq!(verify_consistency((older, &root(older)), (newer, &root(newer)), &path), Ok(()));
    }
    // Their checkpoint over our tiles is a log like any other.
    let mut folder = folder;
    folder.files.insert(CHECKPOINT.to_owned(), theirs.note().as_bytes().to_vec());
    let log = Log::open(&folder, &key).unwrap();
    assert_eq!(log.audit(|_, _| ()).unwrap(), Audit { entries: 70_000, tiles: 274 + 2 + 1 });
    let proof = log.proof(12_345).unwrap();
    assert_eq!(proof.extra.as_deref(), Some(&b"record 12345"[..]));
}

#[test]
fn a_proof_needs_few_files() {
    let key = new_key();
    let folder = log_of(&key, &[70_000]);
    let log = Log::open(&folder, key.verifier()).unwrap();
    for index in [0, 12_345, 65_535, 65_536, 69_999] {
        folder.read.borrow_mut().clear();
        let proof = log.proof(index).unwrap();
        let read: std::collections::BTreeSet<String> = folder.read.borrow().iter().cloned().collect();
        assert!(read.len() <= 6 && proof.path.len() <= 17, "{read:?}");
    }
}

#[test]
fn a_log_grown_in_steps_is_the_log_grown_at_once() {
    let key = new_key();
    let at_once = log_of(&key, &[600]);
    let in_steps = log_of(&key, &[1, 2, 100, 255, 256, 300, 511, 513, 600]);
    for (path, bytes) in &at_once.files {
        assert_eq!(in_steps.files.get(path), Some(bytes), "{path}");
    }
    // And has besides what its earlier checkpoints ask for.
    for size in [1, 100, 255, 513] {
        assert!(in_steps.files.contains_key(&format!("tile/0/{:03}.p/{}", size / 256, size % 256)), "{size}");
    }
    let key = key.verifier();
    assert_eq!(Log::open(&in_steps, key).unwrap().audit(|_, _| ()).unwrap().entries, 600);
    // Partial tiles may go once the whole ones are there, and an older checkpoint still holds.
    let mut tidied = in_steps.clone();
    tidied.files.retain(|path, _| !path.contains("/000.p/") || path.starts_with("tile/1/"));
    let early = log_of(&new_key(), &[100]);
    assert_eq!(root_at(&Tiles { files: &tidied, size: 100 }, 100), root_at(&Tiles { files: &early, size: 100 }, 100));
}

#[test]
fn every_entry_of_a_log_is_proved_from_its_tiles_alone() {
    let key = new_key();
    for size in [1, 2, 255, 256, 257, 515] {
        let folder = log_of(&key, &[size]);
        let log = Log::open(&folder, key.verifier()).unwrap();
        for index in 0..size {
            let proof = log.proof(index).unwrap();
            let tree = log.checkpoint().checkpoint();
            let leaf = leaf_hash(&records(index..index + 1)[0]);
            assert_eq!(verify_inclusion(&leaf, index, size, &proof.path, &tree.root), Ok(()));
            assert_eq!(Proof::parse(proof.to_text().as_bytes()).unwrap(), proof);
        }
        assert_eq!(log.proof(size), Err(LogError::Merkle(MerkleError::Outside { index: size, size })));
    }
}

#[test]
fn a_changed_cut_or_missing_file_anywhere_is_found() {
    let key = new_key();
    let good = log_of(&key, &[300]);
    for path in good.files.keys() {
        let audit = |folder: &Folder| Log::open(folder, key.verifier()).and_then(|log| log.audit(|_, _| ()));
        for at in [0, good.files[path].len() / 2, good.files[path].len() - 1] {
            let mut changed = good.clone();
            changed.files.get_mut(path).unwrap()[at] ^= 1;
            assert!(audit(&changed).is_err(), "{path}, byte {at}");
            let mut cut = good.clone();
            cut.files.get_mut(path).unwrap().truncate(at);
            assert!(audit(&cut).is_err(), "{path} of {at} bytes");
        }
        let mut missing = good.clone();
        missing.files.remove(path);
        assert_eq!(audit(&missing), Err(LogError::Missing(path.clone())));
        // What may be made of it for one entry is right or refused.
        let mut changed = good.clone();
        changed.files.get_mut(path).unwrap()[2] ^= 1;
        for index in [0, 255, 256, 299] {
            if let Ok(proof) = Log::open(&changed, key.verifier()).and_then(|log| log.proof(index)) {
                assert_eq!(proof.extra, Some(format!("record {index}").into_bytes()), "{path}");
            }
            assert!(grow(&changed, &key, &records(300..301), None).is_err() || !path.contains(".p/"), "{path}");
        }
    }
}

#[test]
fn files_that_fit_each_other_but_not_the_checkpoint_are_found() {
    let key = new_key();
    for size in [1, 255, 256, 300] {
        let mut entries = records(0..size);
        entries[0] = b"exchanged".to_vec();
        let mut fork = Folder::default();
        fork.write(&grow(&fork, &key, &entries, None).unwrap());
        assert!(Log::open(&fork, key.verifier()).unwrap().audit(|_, _| ()).is_ok());
        let signed = log_of(&key, &[size]).files[CHECKPOINT].clone();
        fork.files.insert(CHECKPOINT.to_owned(), signed);
        let log = Log::open(&fork, key.verifier()).unwrap();
        let elsewhere = LogError::Merkle(MerkleError::OtherTree);
        assert_eq!(log.audit(|_, _| ()), Err(elsewhere.clone()));
        assert_eq!(log.proof(size - 1), Err(elsewhere.clone()));
        assert_eq!(grow(&fork, &key, &records(size..size + 1), None), Err(AppendError::Log(elsewhere)));
    }
}

#[test]
fn a_log_that_was_rolled_back_or_forked_is_refused_by_who_remembers() {
    let key = new_key();
    for (before, after) in [(1, 2), (3, 300), (255, 256), (256, 600), (300, 300), (300, 600)] {
        let (early, late) = (log_of(&key, &[before]), log_of(&key, &[before.min(after - 1), after]));
        let remembered = early.checkpoint(key.verifier());
        let log = Log::open(&late, key.verifier()).unwrap();
        assert_eq!(log.grew_from(&remembered), Ok(()));
        assert_eq!(log.grew_from(log.checkpoint().checkpoint()), Ok(()));
        if before < after {
            let newest = log.checkpoint().checkpoint();
            let back = LogError::RolledBack { remembered: after, found: before };
            assert_eq!(Log::open(&early, key.verifier()).unwrap().grew_from(newest), Err(back));
        }
        // The same key, another first entry.
        let mut fork = Folder::default();
        let mut entries = records(0..after);
        entries[0] = b"exchanged".to_vec();
        fork.write(&grow(&fork, &key, &entries, None).unwrap());
        let forked = Log::open(&fork, key.verifier()).unwrap();
        assert_eq!(forked.grew_from(&remembered), Err(LogError::Forked(before)));
        // Its owner's own memory keeps him from signing it.
        let refused = grow(&Folder::default(), &key, &entries, Some(&remembered));
        assert_eq!(refused, Err(AppendError::Fork { remembered: before }));
        // Another name is another log, however alike.
        let other = Checkpoint { origin: "other.example".to_owned(), ..remembered.clone() };
        assert!(matches!(log.grew_from(&other), Err(LogError::OtherLog { .. })));
    }
    // A tile that lies is told from a log that was forked.
    let mut damaged = log_of(&key, &[600]);
    let remembered = log_of(&key, &[300]).checkpoint(key.verifier());
    damaged.files.get_mut("tile/0/001").unwrap()[0] ^= 1;
    let log = Log::open(&damaged, key.verifier()).unwrap();
    assert_eq!(log.grew_from(&remembered), Err(LogError::Merkle(MerkleError::OtherTree)));
}

#[test]
fn a_run_that_was_cut_off_goes_on_with_the_same_entries_and_no_others() {
    let key = new_key();
    let folder = log_of(&key, &[250]);
    let growth = grow(&folder, &key, &records(250..260), None).unwrap();
    // The checkpoint was kept beside the key, and half of the files were written.
    let remembered = growth.checkpoint.checkpoint();
    for written in 0..=growth.files.len() {
        let mut half = folder.clone();
        for file in &growth.files[..written] {
            half.files.insert(file.path.clone(), file.bytes.clone());
        }
        let other = grow(&half, &key, &records(1250..1260), Some(remembered));
        assert_eq!(other, Err(AppendError::Fork { remembered: 260 }));
        let again = grow(&half, &key, &records(250..260), Some(remembered)).unwrap();
        assert_eq!(again, growth);
        half.write(&again);
        assert_eq!(half.checkpoint(key.verifier()), *remembered);
    }
}

const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn entry(version: &str, program: &str, hash: &str) -> Entry {
    Entry::parse(format!("release/1 chrysalis {version} linux-x86_64 {program} 4 {hash}").as_bytes()).unwrap()
}

fn released(key: &SignerKey) -> Folder {
    let mut folder = Folder::default();
    let first: Vec<Entry> =
        Program::ALL.iter().map(|program| entry("0.1.0", program.name(), &HASH.replace('9', "7"))).collect();
    folder.write(&append(&folder, key, &first, None).unwrap());
    folder.write(&append(&folder, key, &[entry("0.1.1", "chrysalis-worker", HASH)], None).unwrap());
    folder
}

#[test]
fn a_version_of_a_program_is_released_once() {
    let key = new_key();
    let folder = released(&key);
    let add = |entries: &[Entry]| append(&folder, &key, entries, None);
    let known = entry("0.1.1", "chrysalis-worker", HASH);
    assert!(matches!(add(std::slice::from_ref(&known)), Err(AppendError::Already { index: 3, .. })));
    let other = entry("0.1.1", "chrysalis-worker", &HASH.replace('9', "8"));
    assert!(matches!(add(std::slice::from_ref(&other)), Err(AppendError::OtherFile { .. })));
    let next = entry("0.1.2", "chrysalis-worker", HASH);
    assert!(matches!(add(&[next.clone(), next.clone()]), Err(AppendError::Already { index: 0, .. })));
    assert_eq!(add(&[]), Err(AppendError::Nothing));
    let growth = add(&[next]).unwrap();
    assert_eq!((growth.first, growth.checkpoint.checkpoint().size), (4, 5));
    // Somebody else's key does not go on with this log.
    let stranger = append(&folder, &new_key(), &[entry("0.1.3", "chrysalis", HASH)], None);
    let unknown = LogError::Checkpoint(NoteError::UnknownSigners.into());
    assert_eq!(stranger, Err(AppendError::Log(unknown)));
}

#[test]
fn a_released_file_is_told_from_every_other() {
    let key = new_key();
    let folder = released(&key);
    let log = Log::open(&folder, key.verifier()).unwrap();
    let proof = log.proof(3).unwrap();
    let text = proof.to_text();
    let file = Measured::of(&mut &b"test"[..]).unwrap();
    let asked =
        |file: &Measured, program, proof: &str| standing(Some(key.verifier()), file, program, Some(proof.as_bytes()));
    let logged = asked(&file, Some(Program::Worker), &text);
    let ReleaseStanding::Logged { entry: found, log: name, index: 3, size: 4 } = &logged else { panic!("{logged:?}") };
    assert_eq!((found, name.as_str()), (&entry("0.1.1", "chrysalis-worker", HASH), "log.example/releases"));
    assert_eq!(
        logged.to_string(),
        "released: chrysalis-worker 0.1.1 for linux-x86_64, entry 3 of 4 in the log log.example/releases"
    );
    assert_eq!(asked(&file, None, &text), logged);
    // Nothing known, nothing said.
    assert_eq!(standing(None, &file, None, Some(text.as_bytes())), ReleaseStanding::NoLogYet);
    let none = standing(Some(key.verifier()), &file, None, None);
    assert!(none == ReleaseStanding::NotLogged && none.to_string().contains("built from source or not released"));
    // Another file, another length, a genuine program in another's place.
    let worker = Some(Program::Worker);
    for other in [Measured { sha256: [0; 32], ..file }, Measured { bytes: 5, ..file }] {
        assert!(matches!(asked(&other, worker, &text), ReleaseStanding::AnotherProgram { .. }));
    }
    assert!(matches!(asked(&file, Some(Program::App), &text), ReleaseStanding::AnotherProgram { .. }));
    // A proof with anything changed in it.
    let broken = |proof: &Proof| match asked(&file, worker, &proof.to_text()) {
        ReleaseStanding::BrokenProof(error) => error,
        other => panic!("{other:?}"),
    };
    let other_entry = entry("0.1.1", "chrysalis-worker", &HASH.replace('9', "8")).to_string().into_bytes();
    let forged = Proof { extra: Some(other_entry), ..proof.clone() };
    assert_eq!(broken(&forged), ProofError::Merkle(MerkleError::OtherTree));
    let no_entry = Proof { extra: None, ..proof.clone() };
    assert!(matches!(broken(&no_entry), ProofError::Malformed(_)));
    let elsewhere = Proof { index: 2, ..proof.clone() };
    assert_eq!(broken(&elsewhere), ProofError::Merkle(MerkleError::OtherTree));
    let by_another = Proof { checkpoint: new_key().sign("log.example/releases\n").unwrap(), ..proof.clone() };
    assert_eq!(broken(&by_another), ProofError::Checkpoint(NoteError::UnknownSigners.into()));
    for at in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[at] ^= 1;
        let said = standing(Some(key.verifier()), &file, worker, Some(&changed));
        assert!(matches!(said, ReleaseStanding::BrokenProof(_)), "byte {at}: {said:?}");
        let cut = standing(Some(key.verifier()), &file, worker, Some(&text.as_bytes()[..at]));
        assert!(matches!(cut, ReleaseStanding::BrokenProof(_)), "{at} bytes: {cut:?}");
    }
    // What is in a log but is no program of ours is no release.
    let records = log_of(&key, &[3]);
    let proof = Log::open(&records, key.verifier()).unwrap().proof(1).unwrap();
    assert!(matches!(broken(&proof), ProofError::Entry(_)));
}

#[test]
fn what_is_no_proof_file_is_refused() {
    let hash = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
    let good = format!("c2sp.org/tlog-proof@v1\nextra YWdl\nindex 73894\n{hash}\n{hash}\n\nnote\n\n\u{2014} a b\n");
    let read = Proof::parse(good.as_bytes()).unwrap();
    assert_eq!((read.index, read.path.len(), read.extra.as_deref()), (73_894, 2, Some(&b"age"[..])));
    assert_eq!((read.checkpoint.as_str(), read.to_text()), ("note\n\n\u{2014} a b\n", good.clone()));
    let none = Proof::parse(b"c2sp.org/tlog-proof@v1\nindex 0\n\nnote").unwrap();
    assert_eq!((none.extra, none.path.len()), (None, 0));
    for bad in [
        good.replace("@v1", "@v2"),
        good.replace("extra YWdl\nindex 73894", "index 73894\nextra YWdl"),
        good.replace("extra YWdl", "extra YWd"),
        good.replace("extra YWdl", &format!("extra {}", "YWdl".repeat(100))),
        good.replace("index 73894", "index 073894"),
        good.replace("index 73894", "index -1"),
        good.replace("index 73894\n", ""),
        good.replace(hash, &hash[1..]),
        good.replace(hash, &hash.repeat(2)),
        good.replace(&format!("{hash}\n{hash}"), &format!("{hash}\n").repeat(65)),
        good.replace("\n\n", "\n"),
        good.replace('\n', "\r\n"),
        String::new(),
        "x".repeat(crate::MAX_PROOF_BYTES + 1),
    ] {
        assert!(matches!(Proof::parse(bad.as_bytes()), Err(ProofError::Malformed(_))), "{bad:?}");
    }
}

#[test]
fn the_file_with_the_published_key_has_one_or_none() {
    let key = new_key().verifier().to_text();
    assert_eq!(published_key("# none yet\n\n"), Ok(None));
    assert_eq!(published_key(&format!("# since 1.0\n{key}\n")).unwrap().unwrap().to_text(), key);
    for file in ["none yet", &format!("{key}\n{key}\n"), &format!(" {key}\n")] {
        assert!(matches!(published_key(file), Err(NoteError::Key(_))), "{file:?}");
    }
}
