//! Looking for bytes in a process' memory and in its files, and reading how much memory it holds.

use std::fs::File;
use std::io::{self, BufRead};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What is read of a process' memory at once.
const PIECE: usize = 4 << 20;
/// No system that this runs on has smaller pages.
const PAGE: usize = 4096;

/// For each of the needles: does any readable private or shared mapping of the process hold these bytes? An error when this user may
/// not look into the process, or when there was nothing to read.
pub fn process_holds<const N: usize>(pid: u32, needles: [&[u8]; N]) -> io::Result<[bool; N]> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let mut search = Search::new(needles);
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
        search.mapping(from..to, |at, buffer| memory.read_exact_at(buffer, at).is_ok());
    }
    if search.bytes == 0 {
        return Err(io::Error::other(format!("no memory of process {pid} could be read")));
    }
    Ok(search.found)
}

/// A search that is fed one readable stretch after the other.
struct Search<'a, const N: usize> {
    needles: [&'a [u8]; N],
    found: [bool; N],
    /// The last bytes before what comes next, in case a needle lies across.
    tail: Vec<u8>,
    longest: usize,
    bytes: u64,
}

impl<'a, const N: usize> Search<'a, N> {
    fn new(needles: [&'a [u8]; N]) -> Self {
        let longest = needles.iter().map(|needle| needle.len()).max().unwrap_or(0);
        Self { needles, found: [false; N], tail: Vec::new(), longest, bytes: 0 }
    }

    /// Reads a mapping in large pieces, and page by page where some page of a piece can't be read.
    fn mapping(&mut self, range: std::ops::Range<u64>, read: impl Fn(u64, &mut [u8]) -> bool) {
        self.tail.clear();
        let mut at = range.start;
        while at < range.end {
            let length = usize::try_from(range.end - at).unwrap_or(PIECE).min(PIECE);
            let mut buffer = vec![0_u8; length];
            if read(at, &mut buffer) {
                self.feed(&buffer);
            } else {
                let mut page_at = at;
                for page in buffer.chunks_mut(PAGE) {
                    if read(page_at, page) {
                        self.feed(page);
                    } else {
                        // What lies on both sides of a gap is not one text.
                        self.tail.clear();
                    }
                    page_at += page.len() as u64;
                }
            }
            at += length as u64;
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let mut whole = std::mem::take(&mut self.tail);
        whole.extend_from_slice(bytes);
        for (needle, found) in self.needles.iter().zip(&mut self.found) {
            *found = *found || contains(&whole, needle);
        }
        let keep = whole.len().min(self.longest.saturating_sub(1));
        self.tail = whole.split_off(whole.len() - keep);
    }
}

/// Does any file below the folder hold these bytes?
pub fn files_hold(folder: &Path, needle: &[u8]) -> bool {
    let mut seen = 0;
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().filter_map(Result::ok) {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                seen += 1;
                if contains(&bytes, needle) {
                    return true;
                }
            }
        }
    }
    assert!(seen > 0, "no file below {} could be read", folder.display());
    false
}

/// Proportional set size in bytes; `None` when the process is gone or this user may not look into it.
pub fn proportional(pid: u32) -> Option<u64> {
    kilobytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

/// Resident set size in bytes, which everybody may know; `None` when the process is gone.
pub fn resident(pid: u32) -> Option<u64> {
    kilobytes(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// What it holds for itself alone, in bytes: the programs and libraries that it shares with others, who come and go, are left out.
/// `None` when it is gone.
pub fn own(pid: u32) -> Option<u64> {
    kilobytes(&format!("/proc/{pid}/status"), "RssAnon:")
}

/// What the machine has in all, in bytes.
pub fn installed() -> u64 {
    kilobytes("/proc/meminfo", "MemTotal:").expect("MemTotal")
}

/// The line `NAME   123 kB` of a file, in bytes.
fn kilobytes(path: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Leaps from one possible beginning to the next: much of what is searched is large and without any.
fn contains(hay: &[u8], needle: &[u8]) -> bool {
    let Some(first) = needle.first() else { return true };
    let mut rest = hay;
    loop {
        let before = rest;
        let passed = rest.skip_until(*first).unwrap_or(0);
        match passed.checked_sub(1).and_then(|at| before.get(at..)) {
            Some(here) if here.starts_with(needle) => return true,
            Some(here) if here.first() == Some(first) => {}
            // The end, and not at a beginning.
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDLE: &[u8] = b"needle";

    /// Whether the needle is found when it lies at `place` of a memory of three pieces in which the pages `holes` can't be read.
    fn is_found(place: usize, holes: &[usize]) -> bool {
        let mut memory = vec![b'-'; 3 * PIECE];
        memory[place..place + NEEDLE.len()].copy_from_slice(NEEDLE);
        let start = 7 * PAGE as u64;
        let mut search = Search::new([NEEDLE, b"absent"]);
        search.mapping(start..start + memory.len() as u64, |at, buffer| {
            let from = usize::try_from(at - start).unwrap();
            let to = from + buffer.len();
            let readable = !holes.iter().any(|hole| hole * PAGE < to && from < (hole + 1) * PAGE);
            if readable {
                buffer.copy_from_slice(&memory[from..to]);
            }
            readable
        });
        assert!(!search.found[1]);
        assert_eq!(search.bytes, (memory.len() - holes.len() * PAGE) as u64, "all that can be read was read");
        search.found[0]
    }

    #[test]
    fn bytes_are_found_wherever_they_are() {
        for (hay, needle, found) in [
            ("", "", true),
            ("", "a", false),
            ("a", "a", true),
            ("b", "a", false),
            ("aab", "ab", true),
            ("xxaa", "ab", false),
            ("xxab", "ab", true),
            ("abx", "ab", true),
            ("axaxab", "ab", true),
            ("a", "ab", false),
        ] {
            assert_eq!(contains(hay.as_bytes(), needle.as_bytes()), found, "{needle} in {hay}");
        }
    }

    #[test]
    fn a_page_that_cannot_be_read_hides_nothing_beside_it() {
        for place in [0, PAGE - 3, PIECE - 3, PIECE, 2 * PIECE - 3, 3 * PIECE - NEEDLE.len()] {
            assert!(is_found(place, &[]), "{place}");
            assert!(is_found(place, &[5, PIECE / PAGE + 5]), "{place} beside holes");
        }
        assert!(is_found(4 * PAGE, &[3, 5]), "between two holes");
        assert!(is_found(5 * PAGE - NEEDLE.len(), &[5]), "right before a hole");
        assert!(!is_found(5 * PAGE + 10, &[5]), "in a hole");
        assert!(!is_found(5 * PAGE - 3, &[5]), "half in a hole");
    }
}
