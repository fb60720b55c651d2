//! For `test --full`: a software graphics card with cooperative matrices. The one of Mesa has them since a version newer than Debian's
//! release brings, so packages of Debian's next one are unpacked into the user's cache folder, and tests are started through that
//! folder's loader of libraries. Nothing is installed, and the system stays as it is.

use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::system;

/// The release whose Mesa has them.
const SUITE: &str = "sid";
/// What is unpacked, with all that it needs, down to the C library.
const PACKAGES: [&str; 2] = ["mesa-vulkan-drivers", "libvulkan1"];
const LIBRARIES: &str = "root/usr/lib/x86_64-linux-gnu";
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Runs the tests of the engine that need such a card. `Some`: why they were not run.
pub(crate) fn test() -> Result<Option<String>> {
    if !system::is_debian() || std::env::consts::ARCH != "x86_64" {
        return Ok(Some("prompts with cooperative matrices: needs Debian's packages".to_owned()));
    }
    let folder = match fetch() {
        Ok(folder) => folder,
        // What is fetched changes from day to day and is nothing of ours.
        Err(error) => {
            return Ok(Some(format!("prompts with cooperative matrices: no newer Mesa to be had ({error:#})")));
        }
    };
    let libraries = folder.join(LIBRARIES);
    let driver = folder.join("driver.json");
    let runner = format!("{} --library-path {}", libraries.join("ld-linux-x86-64.so.2").display(), libraries.display());
    let mut command = system::linting_cargo();
    command.args(["test", "-p", "engine", "--lib", "--"]);
    command.args(["wgpu::tests::cooperative::", "every_candidate_of_software_and_of_cards"]);
    command.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", runner);
    command.env("VK_DRIVER_FILES", &driver).env("VK_ICD_FILENAMES", &driver).env("CHRYSALIS_REQUIRE_COOPERATIVE", "1");
    if !command.status()?.success() {
        bail!("a test with cooperative matrices failed; its output is above");
    }
    Ok(None)
}

/// Where it is unpacked, after fetching it if need be.
fn fetch() -> Result<PathBuf> {
    let folders = directories::BaseDirs::new().context("this user has no home folder")?;
    let folder = folders.cache_dir().join("chrysalis").join("newer-mesa");
    // Written last.
    if folder.join("driver.json").is_file() {
        return Ok(folder);
    }
    let sources = sources_here()?;
    let mirror = mirror(&sources).context("this system names no source of Debian's packages")?;
    eprintln!("xtask: fetching a newer Mesa from {mirror} (about 70 MB)");
    ensure!(Path::new(KEYS).is_file(), "{KEYS} is missing");
    // What an earlier attempt left behind.
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    for inside in ["parts", "lists/partial", "cache/archives/partial", "packages", "root"] {
        fs::create_dir_all(folder.join(inside))?;
    }
    fs::write(folder.join("status"), "")?;
    let source = format!("Types: deb\nURIs: {mirror}\nSuites: {SUITE}\nComponents: main\nSigned-By: {KEYS}\n");
    fs::write(folder.join("parts/mesa.sources"), source)?;
    apt(&folder, &["update"])?;
    let planned = apt(&folder, &[&["-s", "--no-install-recommends", "install"], &PACKAGES[..]].concat())?;
    let names = installed(&planned);
    ensure!(!names.is_empty(), "apt-get plans to install nothing");
    apt(&folder, &[vec!["download"], names].concat())?;
    for package in fs::read_dir(folder.join("packages"))? {
        let status = Command::new("dpkg-deb").arg("-x").arg(package?.path()).arg(folder.join("root")).status()?;
        ensure!(status.success(), "dpkg-deb could not unpack a package");
    }
    let library = folder.join(LIBRARIES).join("libvulkan_lvp.so");
    ensure!(library.is_file(), "no driver was unpacked");
    let driver = serde_json::json!({
        "file_format_version": "1.0.1",
        "ICD": { "library_path": library, "api_version": "1.4.0" },
    });
    fs::write(folder.join("driver.json"), driver.to_string())?;
    Ok(folder)
}

/// Runs apt-get with everything it knows and keeps inside the folder, and gives what it said.
fn apt(folder: &Path, words: &[&str]) -> Result<String> {
    let inside = |name: &str, path: &str| format!("{name}={}", folder.join(path).display());
    let settings = [
        "Dir::Etc::sourcelist=/dev/null".to_owned(),
        inside("Dir::Etc::sourceparts", "parts"),
        inside("Dir::State::lists", "lists"),
        inside("Dir::State::status", "status"),
        inside("Dir::Cache", "cache"),
        "Debug::NoLocking=1".to_owned(),
        // The folder is this user's.
        "APT::Sandbox::User=root".to_owned(),
    ];
    let mut command = Command::new("apt-get");
    for setting in &settings {
        command.args(["-o", setting]);
    }
    let out = command
        .args(words)
        .current_dir(folder.join("packages"))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start apt-get")?;
    ensure!(out.status.success(), "`apt-get {}` failed", words.first().copied().unwrap_or_default());
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// All sources of packages of this system, in both ways of writing them.
fn sources_here() -> Result<String> {
    let mut all = fs::read_to_string("/etc/apt/sources.list").unwrap_or_default();
    for entry in fs::read_dir("/etc/apt/sources.list.d")? {
        all.push('\n');
        all.push_str(&fs::read_to_string(entry?.path()).unwrap_or_default());
    }
    Ok(all)
}

/// The mirror of Debian's archive that these sources name first.
fn mirror(sources: &str) -> Option<&str> {
    let lines = sources.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let mut words = lines.flat_map(str::split_whitespace);
    words.find(|word| word.starts_with("http") && word.trim_end_matches('/').ends_with("/debian"))
}

/// Packages that apt-get says it would install.
fn installed(planned: &str) -> Vec<&str> {
    planned.lines().filter_map(|line| line.strip_prefix("Inst ")?.split_whitespace().next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_of_this_system_is_found_however_its_sources_are_written() {
        let old = "# deb http://other.example/debian sid main\ndeb http://security.example/debian-security stable main\n\
                   deb [signed-by=/k] https://mirror.example/debian/ stable main\n";
        assert_eq!(mirror(old), Some("https://mirror.example/debian/"));
        assert_eq!(
            mirror("Types: deb\nURIs: http://mirror.example/debian\nSuites: stable\n"),
            Some("http://mirror.example/debian")
        );
        assert_eq!(mirror("deb http://archive.example/ubuntu noble main"), None);
    }

    #[test]
    fn what_apt_plans_is_read_from_its_words() {
        let planned = "Reading package lists...\nInst libc6 (2.42-1 Debian:unstable [amd64])\nConf libc6 (2.42-1)\n\
                       Inst mesa-vulkan-drivers (26.2 Debian:unstable [amd64]) []\n";
        assert_eq!(installed(planned), ["libc6", "mesa-vulkan-drivers"]);
        assert_eq!(installed("0 upgraded, 0 newly installed"), Vec::<&str>::new());
    }
}
