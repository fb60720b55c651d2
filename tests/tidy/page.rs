//! Rules about the page of the window: who talks to Tauri, and what is never shipped.

use crate::{read, root, tracked};

/// The word by which the stand-in for the app, which only tests and designers may see, can be found in a build.
const FAKE: &str = "chrysalis-fake-transport";

#[test]
fn one_file_imports_tauri() {
    let mut importing = Vec::new();
    for path in tracked().into_iter().filter(|path| path.starts_with("ui/src/")) {
        if path.ends_with(".ts") || path.ends_with(".svelte") {
            let text = read(&path);
            let imports = text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains("@tauri-apps"));
            importing.extend(imports.then_some(path));
        }
    }
    assert_eq!(importing, ["ui/src/ipc/bindings.ts"]);
}

/// The folder that Rust embeds: it is there once the app was built.
#[test]
fn no_second_transport_is_in_what_is_shipped() {
    let dist = root().join("ui/dist");
    let (mut files, mut folders) = (0, vec![dist.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let bytes = std::fs::read(&path).unwrap();
            assert!(!contains(&bytes, FAKE), "{} holds the stand-in for the app", path.display());
        }
    }
    assert!(files > 2, "{} holds no page; run `cargo xtask demo` or `cargo xtask test` once", dist.display());
    // The word is the right one.
    assert!(read("ui/src/ipc/fake.ts").contains(FAKE));
}

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}
