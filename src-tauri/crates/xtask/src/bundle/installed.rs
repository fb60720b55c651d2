//! The package on this machine: installed, used by somebody without rights, removed. Afterwards nothing of it may be left but what
//! its user made with it.

use super::{Made, PROGRAMS, judge_practice};
use crate::system::{self, Who};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The package's name in Debian's books.
const NAME: &str = "chrysalis";
/// Who uses it when root runs the check: an account that every Linux has and that owns nothing.
const NOBODY: &str = "nobody";

/// Installs, uses, removes. Says so instead where that needs rights this user does not have.
pub(super) fn check(package: &Path, model: &Path) -> Result<Made> {
    let who = system::who()?;
    if who == Who::Plain {
        return Ok(Made::NotChecked(
            "installing the package, using it and removing it: needs root, or sudo without a password".to_owned(),
        ));
    }
    if is_installed()? {
        return Ok(Made::NotChecked(
            "installing the package, using it and removing it: Chrysalis is installed on this machine, and the check would remove it".to_owned(),
        ));
    }
    let installed = guest(who, package)?;
    let files = files()?;
    ensure_whole(&files)?;
    use_it(who, model)?;
    installed.leave()?;
    let left: Vec<&PathBuf> = files.iter().filter(|path| path.symlink_metadata().is_ok()).collect();
    ensure!(left.is_empty(), "removing the package left {left:?}");
    ensure!(!is_installed()?, "the package is removed, but the system still lists it");
    println!("the package was removed; none of its {} files is left", files.len());
    Ok(Made::Done)
}

/// The package on a machine that does not want to keep it: removed whatever comes of the check, and of installing too, which can fail
/// when half of it is there.
struct Guest<F: Fn() -> Result<()>> {
    /// `None` once it has been asked to leave.
    purge: Option<F>,
}

/// Installs; removes when installing fails.
fn guest(who: Who, package: &Path) -> Result<Guest<impl Fn() -> Result<()>>> {
    let purge = move || {
        // Nothing of it came: there is nothing to remove.
        if !is_installed()? {
            return Ok(());
        }
        apt(who, &["purge", "-y", "-q", NAME], None)
    };
    Guest::arrive(|| apt(who, &["install", "-y", "-q", "--no-install-recommends"], Some(package)), purge)
}

impl<F: Fn() -> Result<()>> Guest<F> {
    fn arrive(install: impl FnOnce() -> Result<()>, purge: F) -> Result<Self> {
        let guest = Self { purge: Some(purge) };
        install()?;
        Ok(guest)
    }

    /// Removes it.
    fn leave(mut self) -> Result<()> {
        self.purge.take().map_or(Ok(()), |purge| purge())
    }
}

impl<F: Fn() -> Result<()>> Drop for Guest<F> {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.purge.take().map(|purge| purge()) {
            eprintln!("xtask: the package may still be installed: {error:#}; `sudo apt-get purge {NAME}` removes it");
        }
    }
}

fn ensure_whole(files: &[PathBuf]) -> Result<()> {
    let programs = PROGRAMS.iter().map(|name| format!("/usr/bin/{name}"));
    let rest = ["/usr/share/applications/Chrysalis.desktop", "/usr/share/doc/chrysalis/copyright"];
    for wanted in programs.chain(rest.into_iter().map(str::to_owned)) {
        ensure!(files.iter().any(|file| file == Path::new(&wanted)), "the package has no {wanted}");
    }
    for file in files {
        ensure!(file.symlink_metadata().is_ok(), "{} is in the package, but was not installed", file.display());
    }
    Ok(())
}

/// A practice job with the installed program, as somebody without rights.
fn use_it(who: Who, model: &Path) -> Result<()> {
    let home = tempfile::tempdir()?;
    // The user of the check may not see into the home of whoever keeps the model.
    let model_there = home.path().join(model.file_name().context("the model has no name")?);
    std::fs::copy(model, &model_there)?;
    let mut command = if who == Who::Root {
        run("chown", &["-R".as_ref(), NOBODY.as_ref(), home.path().as_os_str()])?;
        let mut command = Command::new("runuser");
        command.args(["-u", NOBODY, "--", "/usr/bin/chrysalis"]);
        command
    } else {
        Command::new("/usr/bin/chrysalis")
    };
    let data = home.path().join("data");
    let output = command
        .args(["practice", "--jobs", "1", "--json", "--model"])
        .arg(&model_there)
        .arg("--data")
        .arg(&data)
        .env("HOME", home.path())
        .env_remove("XDG_RUNTIME_DIR")
        .current_dir("/")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start the installed program")?;
    ensure!(output.status.success(), "practice of the installed program ended with {}", output.status);
    println!("installed: {}", judge_practice(&String::from_utf8_lossy(&output.stdout))?);
    Ok(())
}

/// Every file and link of the installed package; folders may belong to others as well.
fn files() -> Result<Vec<PathBuf>> {
    let listed = Command::new("dpkg-query").args(["--listfiles", NAME]).output()?;
    ensure!(listed.status.success(), "the package is installed, but the system does not know its files");
    let paths = String::from_utf8(listed.stdout)?;
    Ok(paths.lines().map(PathBuf::from).filter(|path| !path.is_dir()).collect())
}

fn is_installed() -> Result<bool> {
    let asked = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${db:Status-Status}", NAME])
        .stderr(Stdio::null())
        .output()
        .context("cannot start dpkg-query; is this Debian or Ubuntu?")?;
    // Without the package it fails; a package that left its settings behind is listed as such.
    Ok(asked.status.success() && asked.stdout != b"not-installed")
}

fn apt(who: Who, words: &[&str], file: Option<&Path>) -> Result<()> {
    let prefix: &[&str] = if who == Who::WithSudo { &["sudo", "-n"] } else { &[] };
    let all = [prefix, &["apt-get"], words].concat();
    let mut command = Command::new(all[0]);
    command.args(&all[1..]).args(file).env("DEBIAN_FRONTEND", "noninteractive");
    let status = command.stdin(Stdio::null()).stdout(Stdio::from(std::io::stderr())).status()?;
    if !status.success() {
        bail!("`{}` failed; its reason is above", all.join(" "));
    }
    Ok(())
}

fn run(program: &str, words: &[&std::ffi::OsStr]) -> Result<()> {
    let status = Command::new(program).args(words).status().with_context(|| format!("cannot start {program}"))?;
    ensure!(status.success(), "{program} failed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_package_is_removed_once_whatever_comes_of_its_check() {
        let purged = Cell::new(0);
        let purge = || {
            purged.set(purged.get() + 1);
            Ok(())
        };
        assert!(Guest::arrive(|| bail!("half of it is there"), purge).is_err());
        assert_eq!(purged.get(), 1);
        let check = || -> Result<()> {
            let _guest = Guest::arrive(|| Ok(()), purge)?;
            bail!("it answers nothing")
        };
        assert!(check().is_err());
        assert_eq!(purged.get(), 2);
        Guest::arrive(|| Ok(()), purge).unwrap().leave().unwrap();
        assert_eq!(purged.get(), 3);
        assert!(Guest::arrive(|| Ok(()), || bail!("locked")).unwrap().leave().is_err());
    }

    #[test]
    fn a_package_without_one_of_its_programs_is_noticed() {
        let all = ["chrysalis", "chrysalis-worker"].map(|name| PathBuf::from(format!("/usr/bin/{name}")));
        let refused = ensure_whole(&all).unwrap_err().to_string();
        assert_eq!(refused, "the package has no /usr/bin/chrysalis-network");
        assert!(ensure_whole(&[]).is_err());
    }
}
