//! The coverage map and the promises of the documents name tests and commands that exist.

use crate::{read, root, tracked};
use std::collections::{BTreeMap, BTreeSet};

/// Every numbered item, fault and figure of the parts begun so far. A row of the map may not be missing.
const PARTS: [(&str, &[&str]); 5] = [
    (
        "1",
        &[
            "house",
            "demo",
            "test",
            "1",
            "2",
            "3",
            "4",
            "5",
            "6",
            "7",
            "8",
            "9",
            "10",
            "11",
            "fault worker killed",
            "fault app killed",
            "fault proxy gone",
            "fault frames",
            "fault gguf",
            "fault port",
            "fault disk full",
            "fault slow reader",
            "fault customer gone",
            "coverage",
            "figure end to end",
            "figure added time",
            "figure app memory",
        ],
    ),
    (
        "2",
        &[
            "1",
            "2",
            "3",
            "4",
            "5",
            "6",
            "7",
            "8",
            "demo",
            "figure engine",
            "figure dispatches",
            "figure window ready",
            "figure memory",
            "figure page change",
        ],
    ),
    ("3", &["1", "2", "3", "4", "5", "6", "7", "figures", "goal generation", "goal prompt", "goal eight"]),
    (
        "4",
        &[
            "1",
            "2",
            "3",
            "4",
            "5",
            "6",
            "7",
            "8",
            "9",
            "demo",
            "fault kills",
            "fault endpoint",
            "fault clock",
            "fault signed payments",
            "fault keychain",
            "fault old ledger",
            "fault disk full",
            "measured transfers",
            "measured ledger",
        ],
    ),
    ("5", &["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "faults", "promises", "measured"]),
];

#[test]
fn every_row_of_the_coverage_map_names_a_test_or_command_that_exists() {
    let tests = all_tests();
    let rows = rows();
    assert!(rows.len() > 20, "the coverage map was not read");
    for row in &rows {
        let references: Vec<&String> = row.shown_by.iter().collect();
        assert!(
            !references.is_empty() || row.text.contains("not done:"),
            "part {} `{}` names nothing",
            row.part,
            row.item
        );
        for reference in references {
            assert!(
                reference_exists(reference, &tests),
                "part {} `{}` names `{reference}`, which does not exist",
                row.part,
                row.item
            );
        }
    }
}

#[test]
fn no_row_of_the_coverage_map_is_missing() {
    let found: BTreeSet<(String, String)> = rows().into_iter().map(|row| (row.part, row.item)).collect();
    for (part, items) in PARTS {
        for item in items {
            assert!(found.contains(&(part.to_owned(), (*item).to_owned())), "part {part} has no row `{item}`");
        }
    }
}

/// P1 to P12, each in one row that names tests; whether these exist is asked below.
#[test]
fn twelve_promises_are_each_kept_by_a_test() {
    let text = read("src-tauri/docs/security.md");
    let promises = text.split_once("\n## Promises\n").expect("a list of promises").1;
    let rows: Vec<&str> = promises.lines().filter(|line| line.starts_with("| P")).collect();
    let numbers: Vec<&str> = rows.iter().filter_map(|row| row.split('|').nth(1)).map(str::trim).collect();
    let wanted: Vec<String> = (1..=12).map(|number| format!("P{number}")).collect();
    assert_eq!(numbers, wanted);
    for row in rows {
        assert!(row.split('|').nth(3).is_some_and(|kept| kept.contains("::")), "nothing keeps {row}");
    }
}

#[test]
fn promises_in_readme_and_docs_name_tests_that_exist() {
    let tests = all_tests();
    let mut seen = 0;
    for path in tracked().iter().filter(|path| path.ends_with(".md")) {
        for token in backticked(&read(path)) {
            if let Some((package, name)) = token.split_once("::")
                && tests.contains_key(package)
                && name.split("::").last().is_some_and(|last| last.matches('_').count() >= 2)
                && !name.contains('(')
            {
                seen += 1;
                assert!(reference_exists(&token, &tests), "{path} names `{token}`, which does not exist");
            }
        }
    }
    assert!(seen > 10, "only {seen} promises were found");
}

#[test]
fn links_between_documents_lead_somewhere() {
    for path in tracked().iter().filter(|path| path.ends_with(".md")) {
        let text = read(path);
        let folder = root().join(path).parent().unwrap().to_owned();
        for rest in text.split("](").skip(1) {
            let target = rest.split([')', '#']).next().unwrap_or("");
            if target.is_empty() || target.contains("://") || target.contains(' ') {
                continue;
            }
            assert!(folder.join(target).exists(), "{path} links to {target}, which does not exist");
        }
    }
}

/// Whether `package::test` names a test that exists.
pub(crate) fn names_a_test(reference: &str) -> bool {
    reference.contains("::") && reference_exists(reference, &all_tests())
}

struct Row {
    part: String,
    item: String,
    text: String,
    shown_by: Vec<String>,
}

fn rows() -> Vec<Row> {
    let text = read("src-tauri/docs/COVERAGE.md");
    let mut part = String::new();
    let mut rows = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("## Part ") {
            rest.split_whitespace().next().unwrap_or("").clone_into(&mut part);
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if cells.len() >= 5 && !cells[1].is_empty() && cells[1] != "item" && !cells[1].starts_with("--") {
            let shown_by = backticked(cells[3]);
            rows.push(Row { part: part.clone(), item: cells[1].to_owned(), text: line.to_owned(), shown_by });
        }
    }
    rows
}

fn backticked(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with("```")) {
        found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
    }
    found
}

fn reference_exists(reference: &str, tests: &BTreeMap<String, BTreeSet<String>>) -> bool {
    if let Some(command) = reference.strip_prefix("cargo xtask ") {
        let word = command.split_whitespace().next().unwrap_or("");
        return ["demo", "test", "bench", "bundle", "kernels", "contracts", "model", "releases"].contains(&word);
    }
    if let Some((package, path)) = reference.split_once("::") {
        let name = path.split("::").last().unwrap_or(path);
        return tests.get(package).is_some_and(|names| names.contains(name));
    }
    // Anything else must be a file of the repository.
    root().join(reference).exists() || root().join("src-tauri").join(reference).exists()
}

/// Names of all test functions, by package (`tidy`, `system` and `window` for the three test programs of the system tests).
fn all_tests() -> BTreeMap<String, BTreeSet<String>> {
    let mut tests: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in tracked().iter().filter(|path| path.ends_with(".rs")) {
        let package = if let Some(rest) = path.strip_prefix("src-tauri/crates/") {
            rest.split('/').next().unwrap_or("").to_owned()
        } else if path.starts_with("tests/tidy/") {
            "tidy".to_owned()
        } else if path.starts_with("tests/network/") {
            "system".to_owned()
        } else if path.starts_with("tests/window/") {
            "window".to_owned()
        } else if path.starts_with("src-tauri/src/") {
            "desktop".to_owned()
        } else {
            continue;
        };
        let names = tests.entry(package).or_default();
        let text = read(path);
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some(name) = line.strip_prefix("fn ").or_else(|| line.strip_prefix("async fn ")) {
                if is_test {
                    names.insert(name.split(['(', '<']).next().unwrap_or("").to_owned());
                }
                is_test = false;
            } else if !line.starts_with("#[") && !line.starts_with("//") && !line.is_empty() {
                is_test = false;
            }
        }
    }
    tests
}
