//! Compiles the kernels of CUDA for the crate `engine` to what is committed beside them: `kernels.ptx`, and in `kernels.json` the hash of
//! their text and what each kernel takes of a card. Nobody needs this, nor anything of NVIDIA's, to build, test or run the program.
//!
//! NVRTC, NVIDIA's compiler as a library, comes from PyPI, pinned by version and hash. Version 12.1 and no newer: it writes PTX 8.1,
//! and drivers older than a compiler do not read what it writes.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

const VERSION: &str = "12.1.105";
const WHEEL_SHA256: &str = "339b385f50c309763ca65456ec75e17bbefcbbf2893f462cb8b90584cd27a1c2";
const PTX_VERSION: &str = "8.1";

/// The oldest cards that the kernels run on, in the form that a driver compiles for the card that is there.
const VIRTUAL: &str = "compute_75";
/// Cards whose machine code is made to see that it can be, and what it costs: RTX 20, 30 and 40.
const REAL: [&str; 3] = ["sm_75", "sm_86", "sm_89"];

/// What the module is made of, in the order in which it is hashed; the first is compiled.
const SOURCES: [&str; 8] =
    ["kernels.cu", "numbers.h", "blocks.h", "activations.h", "product.h", "attention.h", "experts.h", "find.h"];

/// Compiles the files of a folder for one target and writes what was made and what the compiler said. Python, because NVRTC comes
/// with it: through its `ctypes` no part of this program has to call a library of C.
const COMPILE: &str = r#"
import ctypes, glob, os, sys
folder, target, out, names = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
found = glob.glob(os.path.join(sys.prefix, "lib", "python3*", "site-packages", "nvidia", "cuda_nvrtc", "lib", "libnvrtc.so.12"))
found += glob.glob(os.path.join(sys.prefix, "Lib", "site-packages", "nvidia", "cuda_nvrtc", "bin", "nvrtc64_120_0.dll"))
nvrtc = ctypes.CDLL(found[0])
def read(name):
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()
def made(kind):
    size = ctypes.c_size_t()
    getattr(nvrtc, "nvrtcGet" + kind + "Size")(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    getattr(nvrtc, "nvrtcGet" + kind)(program, text)
    return text.raw
main, headers = names[0], names[1:]
texts = (ctypes.c_char_p * len(headers))(*[read(name) for name in headers])
called = (ctypes.c_char_p * len(headers))(*[name.encode() for name in headers])
program = ctypes.c_void_p()
nvrtc.nvrtcCreateProgram(ctypes.byref(program), read(main), main.encode(), len(headers), texts, called)
# Sums are contracted where the text says so and nowhere else: kernels for one token and for many must round alike.
options = ["--gpu-architecture=" + target, "--fmad=false", "--std=c++17"]
if target.startswith("sm_"):
    options.append("--ptxas-options=-v")
given = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
result = nvrtc.nvrtcCompileProgram(program, len(options), given)
with open(out + ".log", "wb") as file:
    file.write(made("ProgramLog").rstrip(b"\0"))
if result != 0:
    sys.exit(1)
with open(out, "wb") as file:
    file.write(made("CUBIN") if target.startswith("sm_") else made("PTX").rstrip(b"\0"))
"#;

pub(crate) fn make() -> Result<ExitCode> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/src/cuda/kernels");
    let work = tempfile::tempdir()?;
    let Some(python) = compiler(work.path())? else { return Ok(ExitCode::from(2)) };
    let ptx = compile(&python, work.path(), &folder, VIRTUAL)?;
    let text = std::fs::read_to_string(&ptx)?;
    ensure!(
        text.contains(&format!("\n.version {PTX_VERSION}\n")),
        "NVRTC wrote another version of PTX than {PTX_VERSION}"
    );
    ensure!(!text.contains(".extern"), "something is called that is nowhere: an intrinsic that NVRTC does not know");
    let mut targets = Map::new();
    for target in REAL {
        let code = compile(&python, work.path(), &folder, target)?;
        let log = std::fs::read_to_string(code.with_extension("out.log"))?;
        let costs = costs(&log)?;
        let entries = text.matches(".visible .entry ").count();
        ensure!(costs.len() == entries, "{} of {entries} kernels were told of for {target}", costs.len());
        for (kernel, cost) in &costs {
            ensure!(cost["spilled_bytes"] == 0 && cost["stack_bytes"] == 0, "{kernel} spills on {target}: {cost}");
        }
        println!(
            "{target}: {} kernels, {} bytes of machine code, 0 spilled",
            costs.len(),
            std::fs::metadata(&code)?.len()
        );
        targets.insert(target.to_owned(), Value::Object(costs));
    }
    let record = json!({
        "nvrtc": VERSION,
        "ptx_version": PTX_VERSION,
        "source_sha256": source_hash(&folder)?,
        "ptx_sha256": hex::encode(Sha256::digest(&text)),
        "targets": targets,
    });
    std::fs::write(folder.join("kernels.ptx"), &text)?;
    std::fs::write(folder.join("kernels.json"), serde_json::to_string_pretty(&record)? + "\n")?;
    println!("{}: {} bytes", folder.join("kernels.ptx").display(), text.len());
    Ok(ExitCode::SUCCESS)
}

/// A Python that has NVRTC, in an environment of its own; `None` if there is no Python that could make one.
fn compiler(work: &Path) -> Result<Option<PathBuf>> {
    let environment = work.join("python");
    let made = Command::new("python3").args(["-m", "venv"]).arg(&environment).status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("xtask: python3 with venv and pip is missing; on Debian and Ubuntu: sudo apt install python3-venv");
        return Ok(None);
    }
    let python = environment.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let wanted = work.join("requirements.txt");
    std::fs::write(&wanted, format!("nvidia-cuda-nvrtc-cu12=={VERSION} --hash=sha256:{WHEEL_SHA256}\n"))?;
    let status = Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "-r"])
        .arg(&wanted)
        .status()
        .context("pip does not start")?;
    ensure!(status.success(), "pip did not bring NVRTC {VERSION} with the expected hash");
    Ok(Some(python))
}

fn compile(python: &Path, work: &Path, folder: &Path, target: &str) -> Result<PathBuf> {
    let out = work.join(format!("{target}.out"));
    let status = Command::new(python).args(["-c", COMPILE]).arg(folder).arg(target).arg(&out).args(SOURCES).status()?;
    let log = std::fs::read_to_string(work.join(format!("{target}.out.log"))).unwrap_or_default();
    ensure!(status.success(), "NVRTC does not compile the kernels for {target}:\n{log}");
    Ok(out)
}

/// Of every kernel what the assembler says that it takes.
fn costs(log: &str) -> Result<Map<String, Value>> {
    let mut found = Map::new();
    let mut kernel = None;
    let (mut stack, mut spilled) = (None, None);
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            kernel = rest.split('\'').next().map(str::to_owned);
            (stack, spilled) = (None, None);
        } else if line.contains("bytes stack frame") {
            stack = before(line, "bytes stack frame");
            spilled = before(line, "bytes spill stores").zip(before(line, "bytes spill loads")).map(|(a, b)| a + b);
        } else if line.contains("Used ") && line.contains(" registers") {
            let name = kernel.take().context("registers of no kernel")?;
            let registers = before(line, "registers").context("no number of registers")?;
            let cost = json!({
                "registers": registers,
                // The assembler leaves it out where there is none.
                "shared_bytes": before(line, "bytes smem").unwrap_or(0),
                "stack_bytes": stack.with_context(|| format!("no stack of {name}"))?,
                "spilled_bytes": spilled.with_context(|| format!("no spills of {name}"))?,
            });
            found.insert(name, cost);
        }
    }
    Ok(found)
}

/// The number before these words.
fn before(line: &str, words: &str) -> Option<u64> {
    let (rest, _) = line.split_once(words)?;
    rest.split_whitespace().next_back()?.parse().ok()
}

/// Of all files, each behind its length.
fn source_hash(folder: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    for name in SOURCES {
        let text = std::fs::read(folder.join(name))?;
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    Ok(hex::encode(hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_of_kernels_are_read_from_the_assemblers_words() {
        let log = "ptxas info    : 0 bytes gmem\n\
            ptxas info    : Compiling entry function 'one' for 'sm_75'\n\
            ptxas info    : Function properties for one\n\
            ptxas         .     16 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads\n\
            ptxas info    : Used 40 registers, 128 bytes smem, 496 bytes cmem[0]\n\
            ptxas info    : Compiling entry function 'two' for 'sm_75'\n\
            ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n\
            ptxas info    : Used 7 registers, 496 bytes cmem[0]\n";
        let found = costs(log).unwrap();
        assert_eq!(found["one"], json!({"registers": 40, "shared_bytes": 128, "stack_bytes": 16, "spilled_bytes": 12}));
        assert_eq!(found["two"], json!({"registers": 7, "shared_bytes": 0, "stack_bytes": 0, "spilled_bytes": 0}));
        assert!(costs("Used 7 registers").is_err());
    }
}
