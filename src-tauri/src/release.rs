//! Whether a program file is one that was released: the file and the proof beside it are read here, the crate `releases` judges.
//!
//! It says what was released and nothing about what runs: whoever owns this PC can start any file (docs/releases.md).

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use releases::{
    Entry, MAX_PROOF_BYTES, Measured, NoteError, Program, ReleaseStanding, VerifierKey, published_key, standing,
};
use serde_json::{Value, json};

use crate::provider::program;

/// The key of the log, as it was when this program was built.
const KEY_FILE: &str = include_str!("../../installers/release-log.vkey");

#[derive(Args)]
pub(crate) struct VerifyReleaseArguments {
    /// The program's file [default: the chrysalis-worker that this app starts]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The proof that it is in the log [default: FILE.tlog-proof]
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
    /// The log's public key, name+id+key [default: the one this program was built with]
    #[arg(long, value_name = "KEY", value_parser = VerifierKey::parse)]
    key: Option<VerifierKey>,
    /// Print one JSON object; what is unknown is null
    #[arg(long)]
    json: bool,
}

/// A program file, and what the log says of it.
pub(crate) struct Looked {
    pub(crate) measured: Measured,
    /// Where a proof was found.
    pub(crate) proof: Option<PathBuf>,
    pub(crate) standing: ReleaseStanding,
}

/// `chrysalis verify-release`.
pub(crate) fn run(arguments: &VerifyReleaseArguments) -> Result<()> {
    let own = if arguments.file.is_none() { Some(program(Program::Worker.name())?) } else { None };
    let Some(path) = arguments.file.as_ref().or(own.as_ref()) else { bail!("no file was named") };
    let key = match &arguments.key {
        Some(key) => Some(key.clone()),
        None => built_in_key()?,
    };
    let looked = look(path, arguments.proof.as_deref(), key.as_ref())?;
    let mut out = std::io::stdout().lock();
    if arguments.json {
        writeln!(out, "{}", as_object(path, &looked))?;
    } else {
        writeln!(out, "{}", path.display())?;
        writeln!(out, "SHA-256 {}, {} bytes", hex::encode(looked.measured.sha256), looked.measured.bytes)?;
    }
    if !matches!(looked.standing, ReleaseStanding::Logged { .. }) {
        bail!("{}: {}", path.display(), looked.standing);
    }
    if !arguments.json {
        writeln!(out, "{}", looked.standing)?;
        writeln!(out, "This is about the file. It does not prove to anybody else which program runs on this PC.")?;
    }
    Ok(())
}

/// The key of the log this program was built to believe; none while nothing was released.
pub(crate) fn built_in_key() -> Result<Option<VerifierKey>, NoteError> {
    published_key(KEY_FILE)
}

/// Measures a program's file and judges it by a proof, or by the one beside it. A file with the name of one of our programs must be that
/// program.
pub(crate) fn look(path: &Path, proof: Option<&Path>, key: Option<&VerifierKey>) -> Result<Looked> {
    let mut file = File::open(path).with_context(|| format!("{} can't be read", path.display()))?;
    let measured = Measured::of(&mut file).with_context(|| format!("{} can't be read", path.display()))?;
    judge(path, measured, proof, key)
}

/// The same for what was measured already: a program that is started as it was when it was measured, whatever lies under its name now.
pub(crate) fn judge(
    path: &Path,
    measured: Measured,
    proof: Option<&Path>,
    key: Option<&VerifierKey>,
) -> Result<Looked> {
    let beside = beside(path);
    let found = read_proof(proof.unwrap_or(&beside))?;
    if let (Some(named), None) = (proof, &found) {
        bail!("{} is not there", named.display());
    }
    let standing = standing(key, &measured, expected(path), found.as_deref());
    let proof = found.is_some().then(|| proof.map_or(beside, Path::to_owned));
    Ok(Looked { measured, proof, standing })
}

/// Where a program's proof lies.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tlog-proof");
    name.into()
}

/// Which program a file's name says it is.
fn expected(path: &Path) -> Option<Program> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".exe").unwrap_or(name).parse().ok()
}

/// No more is read than a proof may have, and one byte, by which it is known to be too long.
fn read_proof(path: &Path) -> Result<Option<Vec<u8>>> {
    let failed = || format!("the proof {} can't be read", path.display());
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.with_context(failed)?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_PROOF_BYTES as u64 + 1).read_to_end(&mut bytes).with_context(failed)?;
    Ok(Some(bytes))
}

fn as_object(path: &Path, looked: &Looked) -> Value {
    let mut object = json!({
        "file": path.display().to_string(),
        "sha256": hex::encode(looked.measured.sha256),
        "bytes": looked.measured.bytes,
        "proof": looked.proof.as_ref().map(|proof| proof.display().to_string()),
        "standing": looked.standing.key(),
        "text": looked.standing.to_string(),
        "log": null, "index": null, "size": null,
        "version": null, "platform": null, "program": null,
    });
    // Of a proof about another file, what it is about.
    let entry = match &looked.standing {
        ReleaseStanding::Logged { entry, log, index, size } => {
            object["log"] = json!(log);
            object["index"] = json!(index);
            object["size"] = json!(size);
            Some(entry)
        }
        ReleaseStanding::AnotherProgram { entry } => Some(entry),
        ReleaseStanding::NoLogYet | ReleaseStanding::NotLogged | ReleaseStanding::BrokenProof(_) => None,
    };
    if let Some(Entry { version, platform, program, .. }) = entry {
        object["version"] = json!(version.to_string());
        object["platform"] = json!(platform.name());
        object["program"] = json!(program.name());
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_this_program_is_built_with_is_one_or_none() {
        // None as long as nothing was released. Whoever releases first puts a key there.
        assert!(built_in_key().is_ok());
    }

    #[test]
    fn a_programs_proof_lies_beside_it_and_its_name_says_which_it_is() {
        assert_eq!(beside(Path::new("/a/chrysalis-worker.exe")), Path::new("/a/chrysalis-worker.exe.tlog-proof"));
        assert_eq!(expected(Path::new("/a/chrysalis-worker.exe")), Some(Program::Worker));
        assert_eq!(expected(Path::new("chrysalis")), Some(Program::App));
        assert_eq!(expected(Path::new("chrysalis-worker.old")), None);
    }

    #[test]
    fn a_file_without_a_log_or_a_proof_is_never_called_released() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chrysalis-worker");
        std::fs::write(&path, b"test").unwrap();
        let key = "log.example/releases+d0b43fe4+AVwuGkn6tYeeUa7kToxp+V7IxAZhlo5DHbZ94QbWzx7x";
        let key = VerifierKey::parse(key).unwrap();
        let said = |key: Option<&VerifierKey>| {
            let looked = look(&path, None, key).unwrap();
            (looked.standing.key(), as_object(&path, &looked))
        };
        assert_eq!(said(None).0, "no_log_yet");
        let (word, object) = said(Some(&key));
        assert_eq!(
            (word, &object["proof"], &object["version"], &object["bytes"]),
            ("not_logged", &Value::Null, &Value::Null, &json!(4))
        );
        assert_eq!(object["sha256"], "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08");
        // Without an end.
        std::fs::write(beside(&path), vec![b'x'; MAX_PROOF_BYTES + 2]).unwrap();
        assert_eq!(said(Some(&key)).0, "broken_proof");
        let missing = look(&path, Some(Path::new("/nowhere/x.tlog-proof")), Some(&key));
        assert!(missing.is_err_and(|error| error.to_string().contains("/nowhere/x.tlog-proof is not there")));
    }
}
