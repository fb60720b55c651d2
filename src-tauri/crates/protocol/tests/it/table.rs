//! The table of recordings in docs/protocol.md says what is replayed, and no recording is missing from it.

use std::fs;
use std::path::Path;

use crate::recording;
use crate::replay::cases::{CASES, Cell};

#[test]
fn the_documented_table_is_what_is_replayed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol.md");
    let page = fs::read_to_string(path).unwrap();
    let documented: Vec<Vec<String>> = page
        .lines()
        .skip_while(|line| *line != "## Recordings")
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().replace('`', "")).collect())
        .collect();
    let replayed: Vec<Vec<String>> = CASES
        .iter()
        .map(|case| {
            let cells = [case.worker, case.proxy, case.client].map(|cell| cell.text().replace('`', ""));
            [&[case.name.to_owned()][..], &cells].concat()
        })
        .collect();
    let wanted: Vec<String> = CASES
        .iter()
        .map(|case| {
            let cells = [case.worker, case.proxy, case.client].map(Cell::text);
            format!("| `{}` | {} |", case.name, cells.join(" | "))
        })
        .collect();
    assert_eq!(documented, replayed, "the table should read\n{}", wanted.join("\n"));
}

#[test]
fn no_recording_is_missing() {
    let named: Vec<&str> = CASES.iter().map(|case| case.name).collect();
    assert_eq!(recording::names(), named);
}
