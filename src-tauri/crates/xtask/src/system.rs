//! What must be on the machine, and how it gets there.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Something that must be there, and the Debian and Ubuntu package that brings it. `program` is a program's name, the path of a file, or
/// `lib:NAME` for a library that pkg-config knows.
#[derive(Clone, Copy)]
pub(crate) struct Needed {
    program: &'static str,
    package: &'static str,
}

/// For building: SQLite and the cryptography are compiled from C, the window stands on the system's web view.
pub(crate) const BUILD: [Needed; 4] = [
    Needed { program: "cc", package: "gcc" },
    Needed { program: "make", package: "make" },
    Needed { program: "pkg-config", package: "pkg-config" },
    Needed { program: "lib:webkit2gtk-4.1", package: "libwebkit2gtk-4.1-dev" },
];

/// For running on graphics cards: the loader of Vulkan, and the drivers of Mesa, its software one included.
pub(crate) const VULKAN: [Needed; 2] = [
    Needed { program: "/usr/lib/x86_64-linux-gnu/libvulkan.so.1", package: "libvulkan1" },
    Needed { program: "/usr/share/vulkan/icd.d", package: "mesa-vulkan-drivers" },
];

/// For fetching the practice model.
pub(crate) const MODEL: [Needed; 3] = [
    Needed { program: "curl", package: "curl" },
    Needed { program: "python3", package: "python3" },
    Needed { program: "pip3", package: "python3-pip" },
];

/// For the tests: our TLS is tried against a real OpenSSL, the window on a screen of the tests' own, the wallet against a
/// real keychain, kernels of CUDA as C++, evidence by a TPM that is a program.
pub(crate) const TEST: [Needed; 16] = [
    Needed { program: "g++", package: "g++" },
    Needed { program: "openssl", package: "openssl" },
    Needed { program: "Xvfb", package: "xvfb" },
    Needed { program: "dbus-daemon", package: "dbus-daemon" },
    Needed { program: "gnome-keyring-daemon", package: "gnome-keyring" },
    Needed { program: "openbox", package: "openbox" },
    Needed { program: "WebKitWebDriver", package: "webkit2gtk-driver" },
    Needed { program: "import", package: "imagemagick" },
    Needed { program: "xwininfo", package: "x11-utils" },
    Needed { program: "xdotool", package: "xdotool" },
    Needed { program: "wmctrl", package: "wmctrl" },
    Needed { program: "/usr/share/fonts/truetype/dejavu", package: "fonts-dejavu-core" },
    Needed { program: "/usr/share/icons/Adwaita", package: "adwaita-icon-theme" },
    Needed { program: "ps", package: "procps" },
    Needed { program: "swtpm", package: "swtpm" },
    Needed { program: "swtpm_setup", package: "swtpm-tools" },
];

/// A second software card for the tests, out of Debian's browser. Ubuntu packs its browser in another way, so there it is done without.
pub(crate) const SECOND_CARD: Needed =
    Needed { program: "/usr/lib/chromium/vk_swiftshader_icd.json", package: "chromium" };

/// For building for Windows: its linker and headers, and what makes a setup.
pub(crate) const WINDOWS: [Needed; 2] = [
    Needed { program: "x86_64-w64-mingw32-gcc", package: "gcc-mingw-w64-x86-64" },
    Needed { program: "makensis", package: "nsis" },
];

/// For trying what was built for Windows.
pub(crate) const WINE: [Needed; 2] =
    [Needed { program: "wine", package: "wine" }, Needed { program: "/usr/lib/wine/wine64", package: "wine64" }];

/// Rust's standard library as source with the compiler of just its version, where rustup can't fetch the compiled one for Windows.
pub(crate) const RUST_SOURCE: [Needed; 3] = [
    Needed { program: "/usr/bin/rustc", package: "rustc-web" },
    Needed { program: "/usr/bin/cargo", package: "cargo-web" },
    Needed { program: "/usr/lib/rustlib/src/rust", package: "rust-web-src" },
];

/// Whether this is Debian itself.
pub(crate) fn is_debian() -> bool {
    std::fs::read_to_string("/etc/os-release").is_ok_and(|text| text.lines().any(|line| line == "ID=debian"))
}

/// Exit code: something is missing that this program may not install by itself.
pub(crate) const ASKED: u8 = 2;

/// Who runs this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Root itself.
    Root,
    /// `sudo` works without a password.
    WithSudo,
    /// Nobody who may install.
    Plain,
}

/// What to do about missing packages.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    Nothing,
    /// Run these, one after the other.
    Install(Vec<Vec<&'static str>>),
    /// Print this, and end.
    Ask(String),
}

/// Decides by what is missing (Debian's names), whether there is `apt-get`, and who runs this.
fn plan(missing: &[&'static str], has_apt: bool, who: impl FnOnce() -> Result<Who>) -> Result<Plan> {
    let list = missing.join(" ");
    if missing.is_empty() {
        return Ok(Plan::Nothing);
    }
    if !has_apt {
        return Ok(Plan::Ask(format!("please install these first (names of Debian's packages): {list}")));
    }
    let prefix: &[&str] = match who()? {
        Who::Root => &[],
        Who::WithSudo => &["sudo", "-n"],
        Who::Plain => {
            return Ok(Plan::Ask(format!(
                "please run this once, then again what you ran:\n  sudo apt-get update && sudo apt-get install -y {list}"
            )));
        }
    };
    let update = [prefix, &["apt-get", "update", "-q"]].concat();
    let install = [prefix, &["apt-get", "install", "-y", "-q", "--no-install-recommends"], missing].concat();
    Ok(Plan::Install(vec![update, install]))
}

fn missing(needed: &[Needed], is_there: impl Fn(&str) -> bool) -> Vec<&'static str> {
    needed.iter().filter(|one| !is_there(one.program)).map(|one| one.package).collect()
}

/// Installs what is missing. `Some(code)` means: it may not, the line to run has been printed, end with that code.
pub(crate) fn install(needed: &[Needed]) -> Result<Option<ExitCode>> {
    let missing = missing(needed, is_there);
    let commands = match plan(&missing, on_path("apt-get"), who)? {
        Plan::Nothing => return Ok(None),
        Plan::Install(commands) => commands,
        Plan::Ask(text) => {
            eprintln!("xtask: {text}");
            return Ok(Some(ExitCode::from(ASKED)));
        }
    };
    eprintln!("xtask: installing {}", missing.join(" "));
    for words in commands {
        let status = Command::new(words[0])
            .args(&words[1..])
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::from(std::io::stderr()))
            .stdin(Stdio::null())
            .status()?;
        if !status.success() {
            bail!("`{}` failed; please run it by hand and look at what it says", words.join(" "));
        }
    }
    Ok(None)
}

/// Builds the three shipped programs in the one profile.
pub(crate) fn build_programs() -> Result<()> {
    run_cargo(&["build", "--bins", "-p", "desktop", "-p", "worker", "-p", "network"])
}

/// Runs cargo in the repository's root, its output on standard error.
pub(crate) fn run_cargo(words: &[&str]) -> Result<()> {
    let status = cargo().args(words).stdout(Stdio::from(std::io::stderr())).status().context("cannot start cargo")?;
    if !status.success() {
        bail!("`cargo {}` failed", words.join(" "));
    }
    Ok(())
}

/// Cargo, in the repository's root.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The same, with the lints that it would take a second build of everything to run by themselves: the compiler of our own packages is
/// clippy's, which compiles as well. Whatever is built so has to be run so, or it is built anew.
pub(crate) fn linting_cargo() -> Command {
    let mut command = cargo();
    // As `cargo clippy -- -D warnings` starts it.
    command.env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver");
    command.env("CLIPPY_ARGS", "-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__");
    command
}

/// Where a built program stands: beside this one.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let path = here.with_file_name(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if !path.exists() {
        bail!("{} is not there; was it built?", path.display());
    }
    Ok(path)
}

/// The folder cargo builds into: two above this program.
pub(crate) fn target() -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    here.ancestors().nth(2).map(Path::to_owned).context("this program is not where cargo puts it")
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3).map_or_else(PathBuf::new, Path::to_owned)
}

fn is_there(wanted: &str) -> bool {
    if let Some(library) = wanted.strip_prefix("lib:") {
        let known = Command::new("pkg-config").args(["--exists", library]).stderr(Stdio::null()).status();
        return known.is_ok_and(|status| status.success());
    }
    if wanted.starts_with('/') { Path::new(wanted).exists() } else { on_path(wanted) }
}

fn on_path(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else { return false };
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Asks the system who runs this.
pub(crate) fn who() -> Result<Who> {
    let out = Command::new("id").arg("-u").output().context("cannot ask who runs this (`id -u`)")?;
    Ok(match out.stdout.trim_ascii() {
        b"0" => Who::Root,
        _ if sudo_works() => Who::WithSudo,
        _ => Who::Plain,
    })
}

fn sudo_works() -> bool {
    on_path("sudo")
        && Command::new("sudo")
            .args(["-n", "true"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(missing: &[&'static str], has_apt: bool, who: Who) -> Plan {
        plan(missing, has_apt, || Ok(who)).unwrap()
    }

    #[test]
    fn what_is_missing_is_named_by_its_package() {
        let needed: Vec<Needed> = BUILD.into_iter().chain(MODEL).chain(TEST).collect();
        assert_eq!(missing(&needed, |_| true), Vec::<&str>::new());
        assert_eq!(missing(&needed, |program| !["cc", "pip3"].contains(&program)), ["gcc", "python3-pip"]);
    }

    #[test]
    fn nothing_missing_asks_for_nothing_and_nobody() {
        let plan = plan(&[], false, || bail!("nobody is asked who they are")).unwrap();
        assert_eq!(plan, Plan::Nothing);
    }

    #[test]
    fn root_installs_and_so_does_who_has_sudo_without_a_password() {
        let install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "gcc", "curl"];
        let update = ["apt-get", "update", "-q"];
        let as_root = Plan::Install(vec![update.to_vec(), install.to_vec()]);
        assert_eq!(planned(&["gcc", "curl"], true, Who::Root), as_root);
        let sudo = |words: &[&'static str]| [&["sudo", "-n"], words].concat();
        let with_sudo = Plan::Install(vec![sudo(&update), sudo(&install)]);
        assert_eq!(planned(&["gcc", "curl"], true, Who::WithSudo), with_sudo);
    }

    #[test]
    fn others_are_given_the_line_to_run() {
        let Plan::Ask(text) = planned(&["gcc", "python3-pip"], true, Who::Plain) else { panic!("it would install") };
        let line = text.lines().last().unwrap().trim();
        assert_eq!(line, "sudo apt-get update && sudo apt-get install -y gcc python3-pip");
    }

    #[test]
    fn without_apt_the_packages_are_named() {
        for who in [Who::Root, Who::WithSudo, Who::Plain] {
            let Plan::Ask(text) = planned(&["gcc", "make"], false, who) else { panic!("it would install") };
            assert!(text.ends_with(": gcc make"), "{text}");
        }
    }
}
