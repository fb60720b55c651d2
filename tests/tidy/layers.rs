//! Who may depend on whom, what stands at the top, what licences we ship.

use crate::{read, root, tracked};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};
use std::collections::{BTreeMap, BTreeSet};

type Layers = BTreeMap<String, BTreeSet<String>>;

/// Packages that are not part of the product and may look at everything.
const OUTSIDE: [&str; 1] = ["system-tests"];

#[test]
fn crates_depend_only_as_the_layers_block_says() {
    assert_eq!(built(), drawn(), "left: the manifests; right: the `layers` block of ARCHITECTURE.md");
}

#[test]
fn no_half_links_what_it_must_not_have() {
    let layers = built();
    let desktop = reach(&layers, "desktop");
    let worker = reach(&layers, "worker");
    let network = reach(&layers, "network");
    for sealed in ["ratls", "protocol", "engine", "tl", "worker", "network"] {
        assert!(!desktop.contains(sealed), "the desktop half links {sealed}");
    }
    for sealed in ["chain", "ledger", "node", "desktop", "network"] {
        assert!(!worker.contains(sealed), "the worker half links {sealed}");
    }
    for sealed in ["engine", "worker", "node", "ledger", "desktop"] {
        assert!(!network.contains(sealed), "proxy or gateway links {sealed}");
    }
    assert!(worker.contains("engine") && desktop.contains("ledger"), "the walk over the layers finds nothing at all");
}

#[test]
fn the_top_level_is_exactly_what_the_map_says() {
    let expected: BTreeSet<&str> = [
        "Cargo.toml",
        "Cargo.lock",
        "LICENSE",
        "README.md",
        "tauri.conf.json",
        "icons",
        "installers",
        "src-tauri",
        "tests",
        "ui",
    ]
    .into();
    let files = tracked();
    let found: BTreeSet<&str> =
        files.iter().map(|path| path.split('/').next().unwrap()).filter(|name| !name.starts_with('.')).collect();
    assert_eq!(found, expected);
}

#[test]
fn every_licence_we_link_is_on_the_list() {
    let allowed: BTreeSet<String> = allowed_licences();
    let metadata = metadata(true);
    let mut refused = Vec::new();
    for package in &metadata.packages {
        let Some(licence) = &package.license else {
            refused.push(format!("{} names no licence", package.name));
            continue;
        };
        let licence = licence.replace('/', " OR ").replace(['(', ')'], " ");
        let fits = licence.split(" AND ").all(|part| part.split(" OR ").any(|one| allowed.contains(one.trim())));
        if !fits {
            refused.push(format!("{} is under {licence}", package.name));
        }
    }
    assert!(refused.is_empty(), "not on .deny.toml's list: {refused:#?}");
    assert!(metadata.packages.len() > 50, "the dependency tree was not read");
}

#[test]
fn no_banned_crate_is_in_the_tree() {
    let metadata = metadata(true);
    let names: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    for banned in ["openssl-sys", "openssl", "native-tls", "async-std", "nacl"] {
        assert!(!names.contains(banned), "{banned} is in the dependency tree");
    }
    assert!(names.contains("rustls"), "the dependency tree was not read");
}

fn allowed_licences() -> BTreeSet<String> {
    let deny = read(".deny.toml");
    let line = deny.lines().find(|line| line.starts_with("allow")).expect("a list of licences in .deny.toml");
    line.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

fn metadata(with_dependencies: bool) -> Metadata {
    let mut command = MetadataCommand::new();
    command.manifest_path(root().join("Cargo.toml")).other_options(vec!["--locked".to_owned()]);
    if !with_dependencies {
        command.no_deps();
    }
    command.exec().expect("cargo metadata")
}

fn built() -> Layers {
    let metadata = metadata(false);
    let ours: BTreeSet<String> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let mut layers = Layers::new();
    for package in &metadata.packages {
        if OUTSIDE.contains(&package.name.as_str()) {
            continue;
        }
        let normal = package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
        let below = normal.map(|dependency| dependency.name.clone()).filter(|name| ours.contains(name)).collect();
        layers.insert(package.name.to_string(), below);
    }
    layers
}

fn drawn() -> Layers {
    let text = read("src-tauri/ARCHITECTURE.md");
    let block = text.split("```layers").nth(1).and_then(|rest| rest.split("```").next()).expect("a `layers` block");
    block
        .lines()
        .filter_map(|line| line.split_once("->"))
        .map(|(upper, below)| (upper.trim().to_owned(), below.split_whitespace().map(str::to_owned).collect()))
        .collect()
}

fn reach(layers: &Layers, from: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from.to_owned()];
    while let Some(name) = open.pop() {
        for below in layers.get(&name).into_iter().flatten() {
            if reached.insert(below.clone()) {
                open.push(below.clone());
            }
        }
    }
    reached
}
