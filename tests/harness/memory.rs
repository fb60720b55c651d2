//! Looking for bytes in a process' memory and in its files, and reading how much memory it holds.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Does any readable private or shared mapping of the process hold these bytes?
pub fn process_holds(pid: u32, needle: &[u8]) -> bool {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps of a process of ours");
    let memory = File::open(format!("/proc/{pid}/mem")).expect("memory of a process of ours");
    let mut read_any = false;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
        if !rights.starts_with('r')
            || line.ends_with("[vvar]")
            || line.ends_with("[vsyscall]")
            || line.ends_with("[vvar_vclock]")
        {
            continue;
        }
        let Some((from, to)) = range.split_once('-') else { continue };
        let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
        // In pieces that overlap by the needle's length, so that no place is missed.
        let piece = 4 << 20;
        let mut at = from;
        while at < to {
            let length = usize::try_from((to - at).min(piece + needle.len() as u64)).unwrap();
            let mut buffer = vec![0_u8; length];
            if memory.read_exact_at(&mut buffer, at).is_ok() {
                read_any = true;
                if contains(&buffer, needle) {
                    return true;
                }
            }
            at += piece;
        }
    }
    assert!(read_any, "no memory of process {pid} could be read");
    false
}

/// Does any file below the folder hold these bytes?
pub fn files_hold(folder: &Path, needle: &[u8]) -> bool {
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().filter_map(Result::ok) {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if std::fs::read(&path).is_ok_and(|bytes| contains(&bytes, needle)) {
                return true;
            }
        }
    }
    false
}

/// Proportional set size in bytes.
pub fn proportional(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find(|line| line.starts_with("Pss:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    let Some(first) = needle.first() else { return true };
    let mut rest = hay;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        if rest[at..].starts_with(needle) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}
