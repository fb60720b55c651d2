//! Rules about lines of source.

use crate::{code_of, read, root, tracked};

const CRATES: &str = "src-tauri/crates/";

#[test]
fn pure_code_never_touches_the_world() {
    let pure = ["tl/src", "ton/src", "accounting/src", "ratls/src", "protocol/src", "link/src", "node/src/core"];
    let world = [
        "SystemTime::now",
        "Instant::now",
        "std::fs",
        // Addresses are data; sockets and look-ups are not.
        "TcpListener",
        "ToSocketAddrs",
        "std::thread",
        "std::process",
        "std::env",
        "tokio::",
        "rusqlite",
        "File::open",
        "TcpStream",
        "UdpSocket",
        "OnceLock",
        "thread::sleep",
    ];
    assert_nowhere(&sources_under(&pure), &world);
}

#[test]
fn unsafe_code_stays_in_its_rooms() {
    let allowed = ["sandbox/", "engine/", "gpu/"];
    let files =
        rust_files().into_iter().filter(|path| !allowed.iter().any(|room| path.contains(&format!("{CRATES}{room}"))));
    let files: Vec<String> = files.filter(|path| !path.starts_with("tests/") && !path.contains("/tests/")).collect();
    assert_nowhere(&files, &["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"]);
}

#[test]
fn sql_stays_in_its_rooms() {
    let files: Vec<String> = rust_files()
        .into_iter()
        .filter(|path| !path.contains("crates/ledger/") && !path.contains("crates/network/src/store"))
        .filter(|path| !path.starts_with("tests/") && !path.contains("/tests/"))
        .collect();
    assert_nowhere(&files, &["rusqlite", "INSERT INTO", "CREATE TABLE", "DELETE FROM"]);
}

#[test]
fn there_are_no_process_wide_statics() {
    let files: Vec<String> =
        rust_files().into_iter().filter(|path| !path.contains("/tests/") && !path.starts_with("tests/")).collect();
    assert_nowhere(
        &files,
        &["static mut", "lazy_static!", "OnceLock<", "LazyLock<", "thread_local!", "static COUNTER", "once_cell"],
    );
}

#[test]
fn programs_are_started_only_where_the_map_says() {
    let allowed = ["crates/sandbox/", "crates/node/src/run", "crates/xtask/", "tests/", "src-tauri/src/"];
    let files: Vec<String> =
        rust_files().into_iter().filter(|path| !allowed.iter().any(|room| path.contains(room))).collect();
    assert_nowhere(&files, &["Command::new"]);
}

#[test]
fn nothing_is_left_unfinished() {
    let files: Vec<String> = rust_files().into_iter().filter(|path| !path.starts_with("tests/tidy/")).collect();
    assert_nowhere(&files, &["todo!(", "unimplemented!(", "#[ignore", "dbg!(", "assert!(true"]);
}

#[test]
fn no_module_has_a_name_that_says_nothing() {
    for path in tracked() {
        for part in path.split('/') {
            let stem = part.split('.').next().unwrap_or(part);
            assert!(
                !["utils", "util", "manager", "helper", "helpers", "common", "misc"].contains(&stem),
                "{path}: {stem} says nothing"
            );
        }
    }
}

#[test]
fn hand_written_files_stay_under_a_thousand_lines() {
    for path in tracked() {
        let hand_written = [".rs", ".ts", ".svelte", ".sh", ".mjs"].iter().any(|end| path.ends_with(end))
            && !path.contains("/fixtures/");
        if hand_written {
            let lines = read(&path).lines().count();
            assert!(lines < 1_000, "{path} has {lines} lines");
        }
    }
}

#[test]
fn what_holds_secrets_cannot_be_printed() {
    // Types whose values hold a prompt, an answer or a key. None may derive or implement Debug or Display.
    let secret = [
        ("protocol/src", "HttpRequest"),
        ("protocol/src", "Job"),
        ("ratls/src", "Identity"),
        ("engine/src", "Request"),
        ("engine/src", "Message"),
        ("engine/src", "Engine"),
        ("network/src", "SigningKey"),
    ];
    let mut seen = 0;
    for (folder, name) in secret {
        for path in sources_under(&[folder]) {
            let text = read(&path);
            for (at, _) in text.match_indices(&format!("pub struct {name} {{")) {
                seen += 1;
                let head = &text[text[..at].rfind("\n\n").unwrap_or(0)..at];
                assert!(!head.contains("Debug"), "{path}: {name} derives Debug");
            }
            for wrong in [format!("Debug for {name} "), format!("Display for {name} ")] {
                assert!(!text.contains(&wrong), "{path}: {wrong}");
            }
        }
    }
    assert!(seen >= 5, "only {seen} of the types that hold secrets were found: the list is stale");
}

#[test]
fn nothing_names_a_place_of_some_workshop() {
    // Paths of the machine a file was written on, and hosts of package registries, say nothing to a reader elsewhere.
    let workshop = ["/work/", "/ro", "ot/"];
    let signs = [
        format!("{}{}", workshop[0], "main"),
        format!("{}{}", workshop[0], "shared"),
        format!("{}{}", workshop[1], workshop[2]),
        ["..", "shared"].join("/"),
        ["crates", "io/api"].join("."),
        ["registry", "npmjs"].join("."),
        ["pypi", "org"].join("."),
        ["deb", "debian.org"].join("."),
    ];
    for path in tracked() {
        let text_like = [".rs", ".md", ".toml", ".sh", ".json", ".yml", ".sql", ".mjs", ".ts"]
            .iter()
            .any(|end| path.ends_with(end));
        if !text_like
            || path.contains("tests/fixtures/cocoon/")
            || path == "Cargo.lock"
            || path.ends_with("package-lock.json")
        {
            continue;
        }
        let text = read(&path);
        for sign in &signs {
            assert!(!text.contains(sign.as_str()), "{path} names {sign}");
        }
    }
}

fn rust_files() -> Vec<String> {
    tracked().into_iter().filter(|path| path.ends_with(".rs")).collect()
}

/// Rust files under folders given relative to the crates folder; a folder `x/y` also covers the file `x/y.rs`.
fn sources_under(folders: &[&str]) -> Vec<String> {
    let found: Vec<String> = rust_files()
        .into_iter()
        .filter(|path| {
            folders.iter().any(|folder| {
                path.starts_with(&format!("{CRATES}{folder}/")) || *path == format!("{CRATES}{folder}.rs")
            })
        })
        .filter(|path| !is_for_tests_only(path))
        .collect();
    assert!(!found.is_empty(), "no source under {folders:?}");
    found
}

/// Whether the module above declares this file, or the folder it stands in, under `#[cfg(test)]`.
fn is_for_tests_only(path: &str) -> bool {
    let (folder, file) = path.rsplit_once('/').expect("a folder");
    let declared = |folder: &str, module: &str| {
        let above = ["lib.rs", "mod.rs"].map(|name| format!("{folder}/{name}"));
        let line = format!("#[cfg(test)]\nmod {module};");
        above.iter().any(|above| root().join(above).exists() && read(above).contains(&line))
    };
    let inside = folder.rsplit_once('/').is_some_and(|(above, module)| declared(above, module));
    inside || declared(folder, file.trim_end_matches(".rs"))
}

fn assert_nowhere(files: &[String], signs: &[&str]) {
    let mut broken = Vec::new();
    for path in files {
        // A lifetime is no static.
        let code = code_of(path).replace("'static mut", "'static  mut");
        for (number, line) in code.lines().enumerate() {
            for sign in signs {
                if line.contains(sign) {
                    broken.push(format!("{path}:{}: {sign}", number + 1));
                }
            }
        }
    }
    assert!(!files.is_empty(), "no file to look at");
    assert!(broken.is_empty(), "{broken:#?}");
}
