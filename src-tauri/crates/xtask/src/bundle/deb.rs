//! The package for Debian and Ubuntu. Tauri's bundler writes it; what it can't know is told here: where the other two programs are,
//! and how new a C library all three need.

use super::{PROGRAMS, VERSION};
use crate::system;
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Builds the three programs and the package.
pub(super) fn make() -> Result<PathBuf> {
    system::run_cargo(&["build", "--release", "--bins", "-p", "desktop", "-p", "worker", "-p", "network"])?;
    let built = system::target()?.join("release");
    let told = told(&built, oldest_libc(&built)?).to_string();
    let status = Command::new(system::root().join("ui/node_modules/.bin/tauri"))
        .args(["bundle", "--bundles", "deb", "--config", "installers/bundle.conf.json", "--config", &told])
        .current_dir(system::root())
        .stdin(Stdio::null())
        .stdout(Stdio::from(std::io::stderr()))
        .status()
        .context("cannot start Tauri's bundler; does `npm ci` work in ui/?")?;
    if !status.success() {
        bail!("Tauri's bundler made no package; its reason is above");
    }
    let package = built.join(format!("bundle/deb/Chrysalis_{VERSION}_{}.deb", architecture()));
    if !package.is_file() {
        bail!("Tauri's bundler says it is done, but {} is not there", package.display());
    }
    Ok(package)
}

/// Debian's word for the machine this is built for.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// What is added to installers/bundle.conf.json.
fn told(built: &Path, libc: (u32, u32)) -> serde_json::Value {
    let others = PROGRAMS.iter().skip(1).map(|name| (format!("/usr/bin/{name}"), json!(built.join(name))));
    let files: serde_json::Map<String, serde_json::Value> = others.collect();
    let depends = format!("libc6 (>= {}.{})", libc.0, libc.1);
    json!({ "bundle": { "linux": { "deb": { "files": files, "depends": [depends] } } } })
}

/// The oldest C library with which all three programs start.
fn oldest_libc(built: &Path) -> Result<(u32, u32)> {
    let mut oldest = (0, 0);
    for name in PROGRAMS {
        let path = built.join(name);
        let program = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        oldest = oldest.max(newest_named(&program));
    }
    if oldest == (0, 0) {
        bail!("the programs in {} name no version of the C library", built.display());
    }
    Ok(oldest)
}

/// The newest version of the C library a program names: each symbol it wants carries one, as GLIBC_2.34.
fn newest_named(program: &[u8]) -> (u32, u32) {
    const SIGN: &[u8] = b"GLIBC_";
    let mut newest = (0, 0);
    for (at, _) in program.windows(SIGN.len()).enumerate().filter(|(_, window)| *window == SIGN) {
        let rest = program.get(at + SIGN.len()..).unwrap_or_default();
        // Only a whole string is a symbol's version; others are parts of a message.
        let Some(end) = rest.iter().take(12).position(|byte| *byte == 0) else { continue };
        let version = std::str::from_utf8(rest.get(..end).unwrap_or_default()).unwrap_or_default();
        let mut numbers = version.split('.').map(str::parse::<u32>);
        if let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) {
            newest = newest.max((major, minor));
        }
    }
    newest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_asks_for_the_c_library_its_programs_name() {
        assert_eq!(newest_named(b"\0GLIBC_2.4\0GLIBC_2.34\0GLIBC_2.3.4\0"), (2, 34));
        assert_eq!(newest_named(b"\0needs GLIBC_2.99 or so\0GLIBC_PRIVATE\0GLIBC_"), (0, 0));
        let told = told(Path::new("/built"), (2, 34));
        let deb = &told["bundle"]["linux"]["deb"];
        assert_eq!(deb["depends"], json!(["libc6 (>= 2.34)"]));
    }

    #[test]
    fn all_three_programs_are_in_the_package() {
        let told = told(Path::new("/built"), (2, 34));
        let files = &told["bundle"]["linux"]["deb"]["files"];
        assert_eq!(files["/usr/bin/chrysalis-worker"], "/built/chrysalis-worker");
        assert_eq!(files["/usr/bin/chrysalis-network"], "/built/chrysalis-network");
        // The first is the program of Tauri's own package.
        assert!(files.get("/usr/bin/chrysalis").is_none());
        let manifest = std::fs::read_to_string(system::root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("\n[[bin]]\nname = \"chrysalis\"\n"));
    }

    #[test]
    fn the_licence_comes_with_the_package_and_the_menu_entry_is_filled_in() {
        let config = std::fs::read_to_string(system::root().join("installers/bundle.conf.json")).unwrap();
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();
        let deb = &config["bundle"]["linux"]["deb"];
        assert_eq!(deb["files"]["/usr/share/doc/chrysalis/copyright"], "LICENSE");
        let entry = deb["desktopTemplate"].as_str().unwrap();
        let entry = std::fs::read_to_string(system::root().join(entry)).unwrap();
        for line in ["Type=Application", "Name={{name}}", "Exec={{exec}}", "Icon={{icon}}"] {
            assert!(entry.lines().any(|found| found == line), "the menu entry has no line {line}");
        }
    }
}
