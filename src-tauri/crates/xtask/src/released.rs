//! The public log of released programs, kept by whoever releases them. What a log is and how it grows is the crate `releases`'; here are
//! the files. The private key is made where its owner says, outside the repository, and nothing here ever prints it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use releases::{
    CHECKPOINT, Checkpoint, Entry, FileError, Files, Growth, Log, MAX_NOTE_BYTES, Measured, Platform, Program,
    ReleaseStanding, SignedCheckpoint, SignerKey, VerifierKey, Version, append, published_key, standing,
};
use zeroize::Zeroizing;

use crate::system;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Make the log's pair of keys. The private one goes to a new file that only you may read; the public one is printed.
    Key {
        /// The log's name, best the address it is served at, without `https://`.
        #[arg(long)]
        name: String,
        /// Where the private key goes: outside the repository.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Add the programs of a release to the log, and sign it.
    Append {
        /// The log's folder, which a web server serves as it is; a new one is begun.
        #[arg(long, value_name = "DIR")]
        log: PathBuf,
        /// The private key's file. What it signed last is kept beside it, in FILE.checkpoint: keep both.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The release's version.
        #[arg(long)]
        version: Version,
        /// For which system: linux-x86_64 or windows-x86_64.
        #[arg(long)]
        platform: Platform,
        /// The programs' files, named as they are installed.
        #[arg(required = true, value_name = "PROGRAM")]
        programs: Vec<PathBuf>,
    },
    /// Write PROGRAM.tlog-proof beside a program that is in the log.
    Prove {
        /// The log's folder.
        #[arg(long, value_name = "DIR")]
        log: PathBuf,
        /// The log's public key [default: the one in installers/release-log.vkey].
        #[arg(long)]
        vkey: Option<String>,
        /// The programs' files.
        #[arg(required = true, value_name = "PROGRAM")]
        programs: Vec<PathBuf>,
    },
    /// Read every file of the log and check it against its checkpoint; print the programs in it.
    Check {
        /// The log's folder.
        #[arg(long, value_name = "DIR")]
        log: PathBuf,
        /// The log's public key [default: the one in installers/release-log.vkey].
        #[arg(long)]
        vkey: Option<String>,
        /// A checkpoint from earlier: the log must have grown from it.
        #[arg(long, value_name = "FILE")]
        remembered: Option<PathBuf>,
    },
}

pub(crate) fn run(command: Command) -> Result<()> {
    match command {
        Command::Key { name, out } => {
            println!("{}", make_key(&name, &out, &system::root())?);
            Ok(())
        }
        Command::Append { log, key, version, platform, programs } => {
            let growth = add(&Folder(log), &key, &version, platform, &programs)?;
            eprintln!("xtask: entries {} to {} of the log", growth.first, growth.checkpoint.checkpoint().size - 1);
            Ok(())
        }
        Command::Prove { log, vkey, programs } => {
            for path in prove(&Folder(log), &verifier(vkey.as_deref())?, &programs)? {
                println!("{}", path.display());
            }
            Ok(())
        }
        Command::Check { log, vkey, remembered } => {
            for entry in check(&Folder(log), &verifier(vkey.as_deref())?, remembered.as_deref())? {
                println!("{entry}");
            }
            Ok(())
        }
    }
}

/// A log as a folder.
struct Folder(PathBuf);

impl Files for Folder {
    fn read(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, FileError> {
        let why = |error: std::io::Error| FileError { path: path.to_owned(), why: error.to_string() };
        let file = match File::open(self.0.join(path)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(why)?,
        };
        let mut bytes = Vec::new();
        file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(why)?;
        if bytes.len() > most {
            return Err(why(std::io::Error::other("it is too long")));
        }
        Ok(Some(bytes))
    }
}

/// Makes the pair; returns the public key.
fn make_key(name: &str, out: &Path, repository: &Path) -> Result<String> {
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.canonicalize().with_context(|| format!("{}", folder.display()))?;
    let inside = repository.canonicalize().is_ok_and(|repository| folder.starts_with(repository));
    ensure!(!inside, "{} is in the repository; a private key belongs elsewhere", out.display());
    let mut seed = Zeroizing::new([0_u8; 32]);
    getrandom::fill(seed.as_mut()).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    let key = SignerKey::from_seed(name, &seed)?;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(out).with_context(|| format!("{}", out.display()))?;
    file.write_all(key.to_text().as_bytes()).and_then(|()| file.write_all(b"\n")).and_then(|()| file.sync_all())?;
    Ok(key.verifier().to_text())
}

fn add(log: &Folder, key: &Path, version: &Version, platform: Platform, programs: &[PathBuf]) -> Result<Growth> {
    let failed = || format!("the key {}", key.display());
    let text = Zeroizing::new(std::fs::read_to_string(key).with_context(failed)?);
    let signer = SignerKey::parse(text.trim_end_matches('\n')).with_context(failed)?;
    let mut kept = key.as_os_str().to_owned();
    kept.push(".checkpoint");
    let kept = PathBuf::from(kept);
    let remembered = if kept.exists() { Some(checkpoint(&kept, signer.verifier())?) } else { None };
    // A log without the memory of what was signed for it may be a copy that was rolled back.
    let begun = log.read(CHECKPOINT, MAX_NOTE_BYTES)?.is_some();
    ensure!(
        remembered.is_some() || !begun,
        "the log is there, and {} is not: without it nobody knows what the key has signed. If this log is the newest there is, copy \
         its `{CHECKPOINT}` there",
        kept.display()
    );
    let entries: Vec<Entry> = programs.iter().map(|path| entry(path, version, platform)).collect::<Result<_>>()?;
    let growth = append(log, &signer, &entries, remembered.as_ref())?;
    // First what was signed, so that nothing else is signed if this is cut off; the log's checkpoint last.
    write(&kept, growth.checkpoint.note().as_bytes())?;
    for file in &growth.files {
        let path = log.0.join(&file.path);
        match log.read(&file.path, file.bytes.len())? {
            Some(there) => ensure!(there == file.bytes, "{} is there with other bytes", path.display()),
            None => write(&path, &file.bytes)?,
        }
    }
    write(&log.0.join(CHECKPOINT), growth.checkpoint.note().as_bytes())?;
    Ok(growth)
}

fn prove(log: &Folder, key: &VerifierKey, programs: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let log = Log::open(log, key)?;
    let mut known = Vec::new();
    log.audit(|index, bytes| known.extend(Entry::parse(bytes).map(|entry| (index, entry))))?;
    let mut written = Vec::new();
    for path in programs {
        let (program, file) = (program_of(path)?, measure(path)?);
        let same = |entry: &Entry| entry.sha256 == file.sha256 && entry.bytes == file.bytes && entry.program == program;
        // The newest, should a later version have the same file.
        let Some((index, _)) = known.iter().rev().find(|(_, entry)| same(entry)) else {
            bail!("{} is not in the log", path.display());
        };
        let proof = log.proof(*index)?.to_text();
        let said = standing(Some(key), &file, Some(program), Some(proof.as_bytes()));
        ensure!(matches!(said, ReleaseStanding::Logged { .. }), "{}: {said}", path.display());
        let mut beside = path.as_os_str().to_owned();
        beside.push(".tlog-proof");
        write(Path::new(&beside), proof.as_bytes())?;
        written.push(beside.into());
    }
    Ok(written)
}

/// The entries, those of other forms as they stand.
fn check(log: &Folder, key: &VerifierKey, remembered: Option<&Path>) -> Result<Vec<String>> {
    let log = Log::open(log, key)?;
    if let Some(path) = remembered {
        log.grew_from(&checkpoint(path, key)?)?;
    }
    let mut entries = Vec::new();
    log.audit(|_, bytes| {
        entries.push(
            Entry::parse(bytes).map_or_else(|_| format!("unknown: {}", hex::encode(bytes)), |entry| entry.to_string()),
        );
    })?;
    Ok(entries)
}

fn verifier(vkey: Option<&str>) -> Result<VerifierKey> {
    if let Some(vkey) = vkey {
        return Ok(VerifierKey::parse(vkey)?);
    }
    let path = system::root().join("installers/release-log.vkey");
    let text = std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    published_key(&text)?.context("no key is published in installers/release-log.vkey yet; name one with --vkey")
}

fn checkpoint(path: &Path, key: &VerifierKey) -> Result<Checkpoint> {
    let failed = || format!("the checkpoint {}", path.display());
    let note = std::fs::read(path).with_context(failed)?;
    Ok(SignedCheckpoint::verify(&note, key).with_context(failed)?.checkpoint().clone())
}

fn program_of(path: &Path) -> Result<Program> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.strip_suffix(".exe").unwrap_or(name).parse().with_context(|| format!("{}", path.display()))
}

fn entry(path: &Path, version: &Version, platform: Platform) -> Result<Entry> {
    let Measured { sha256, bytes } = measure(path)?;
    Ok(Entry { version: version.clone(), platform, program: program_of(path)?, bytes, sha256 })
}

fn measure(path: &Path) -> Result<Measured> {
    let failed = || format!("{}", path.display());
    Measured::of(&mut File::open(path).with_context(failed)?).with_context(failed)
}

/// Whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = || format!("writing {}", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(failed)?;
    let mut draft = tempfile::NamedTempFile::new_in(folder).with_context(failed)?;
    draft.write_all(bytes).and_then(|()| draft.as_file().sync_all()).with_context(failed)?;
    // A web server, and whoever installs, is somebody else.
    #[cfg(unix)]
    draft.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644)).with_context(failed)?;
    draft.persist(path).with_context(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Maker {
        folder: tempfile::TempDir,
        key: PathBuf,
        vkey: VerifierKey,
        log: Folder,
    }

    fn maker() -> Maker {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("log.key");
        let vkey = VerifierKey::parse(&make_key("log.example", &key, &system::root()).unwrap()).unwrap();
        let log = Folder(folder.path().join("log"));
        Maker { folder, key, vkey, log }
    }

    impl Maker {
        fn program(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        }

        fn add(&self, version: &str, programs: &[PathBuf]) -> Result<Growth> {
            add(&self.log, &self.key, &version.parse().unwrap(), Platform::Linux, programs)
        }

        fn copy_of_the_log(&self) -> Folder {
            let copy = Folder(self.folder.path().join("copy"));
            let copied = std::process::Command::new("cp").arg("-r").arg(&self.log.0).arg(&copy.0).status();
            assert!(copied.unwrap().success());
            copy
        }
    }

    #[test]
    fn a_release_is_added_and_its_programs_are_proved_by_the_files_beside_them() {
        let maker = maker();
        let programs = [maker.program("chrysalis-worker", b"worker 1"), maker.program("chrysalis.exe", b"app 1")];
        let growth = maker.add("0.1.0", &programs).unwrap();
        assert_eq!((growth.first, growth.checkpoint.checkpoint().size), (0, 2));
        let proofs = prove(&maker.log, &maker.vkey, &programs).unwrap();
        assert!(proofs[1].ends_with("chrysalis.exe.tlog-proof"));
        let proof = std::fs::read(&proofs[0]).unwrap();
        let said = |bytes: &[u8]| {
            let path = maker.program("chrysalis-worker", bytes);
            standing(Some(&maker.vkey), &measure(&path).unwrap(), Some(Program::Worker), Some(&proof)).key()
        };
        assert_eq!((said(b"worker 1"), said(b"worker 2")), ("logged", "another_program"));
        assert!(prove(&maker.log, &maker.vkey, &programs[..1]).unwrap_err().to_string().contains("is not in the log"));
        let listed = check(&maker.log, &maker.vkey, None).unwrap();
        assert!(
            listed.len() == 2 && listed[0].starts_with("release/1 chrysalis 0.1.0 linux-x86_64 chrysalis-worker 8 ")
        );
        assert!(maker.add("0.1.0", &programs).unwrap_err().to_string().contains("a version is released once"));
    }

    #[cfg(unix)]
    #[test]
    fn the_private_key_is_its_owners_alone_and_never_in_the_repository() {
        use std::os::unix::fs::PermissionsExt as _;
        let maker = maker();
        assert_eq!(std::fs::metadata(&maker.key).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(make_key("log.example", &maker.key, &system::root()).is_err(), "a key was written over");
        for place in ["log.key", "src-tauri/log.key", "target/../log.key"] {
            let place = system::root().join(place);
            assert!(make_key("log.example", &place, &system::root()).is_err() && !place.exists());
        }
        let text = std::fs::read_to_string(&maker.key).unwrap();
        assert!(!maker.vkey.to_text().contains(text.trim_end().rsplit('+').next().unwrap()));
    }

    #[test]
    fn a_log_that_was_rolled_back_is_not_gone_on_with() {
        let maker = maker();
        maker.add("0.1.0", &[maker.program("chrysalis", b"app 1")]).unwrap();
        let early = maker.copy_of_the_log();
        maker.add("0.1.1", &[maker.program("chrysalis", b"app 2")]).unwrap();
        let newest = maker.log.0.join(CHECKPOINT);
        check(&maker.log, &maker.vkey, Some(&early.0.join(CHECKPOINT))).unwrap();
        let refused = check(&early, &maker.vkey, Some(&newest)).unwrap_err();
        assert!(refused.to_string().contains("rolled back: it had 2 entries once and has 1 now"), "{refused}");
        // Another release on the old copy would be a second log; the same one is what was signed already.
        let version = "0.1.1".parse().unwrap();
        let again = |bytes| add(&early, &maker.key, &version, Platform::Linux, &[maker.program("chrysalis", bytes)]);
        assert!(again(b"app 3").unwrap_err().to_string().contains("a second log under one key"));
        again(b"app 2").unwrap();
        assert_eq!(std::fs::read(early.0.join(CHECKPOINT)).unwrap(), std::fs::read(newest).unwrap());
        // Nor is anything signed where nobody knows what was signed before.
        std::fs::remove_file(maker.folder.path().join("log.key.checkpoint")).unwrap();
        let refused = maker.add("0.1.2", &[maker.program("chrysalis", b"app 3")]).unwrap_err();
        assert!(refused.to_string().contains("nobody knows what the key has signed"), "{refused}");
    }
}
