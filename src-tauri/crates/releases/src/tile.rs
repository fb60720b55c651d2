//! Tiles (c2sp.org/tlog-tiles): where the hashes and the entries of a log stand, and how.

use std::fmt;

use crate::Hash;
use crate::text::decimal;

/// Hashes, or entries, of a whole tile.
pub const HASHES_PER_TILE: u64 = 256;
/// Longest bundle of entries: each with two bytes of length before it.
pub const MAX_BUNDLE_BYTES: usize = HASHES_PER_TILE as usize * (2 + u16::MAX as usize);
/// Highest level a path may name.
const MAX_LEVEL: u8 = 63;

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The entries themselves.
    Entries,
    /// Hashes over `256^n` entries each.
    Hashes(u8),
}

/// Where a tile stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tile {
    /// What it holds.
    pub level: Level,
    /// Its place among those of its level.
    pub index: u64,
    /// How many hashes or entries: 1 to 255 for one that is not yet whole, 256 for a whole one.
    pub width: u16,
}

/// What is wrong with a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// The path is not one that the format gives a tile.
    #[error("this is no path of a tile")]
    Path,
    /// Not as many bytes as it has hashes.
    #[error("a tile has another length than its hashes")]
    Hashes,
    /// The lengths in a bundle do not fit it, or it has more or fewer entries than it should.
    #[error("a bundle of entries is not whole")]
    Bundle,
    /// An entry is longer than a bundle can say.
    #[error("an entry of {0} bytes is too long")]
    Entry(usize),
}

impl Tile {
    /// Tile `index` of a level in a tree of `size` entries: whole, or as much of it as there is. `None` where nothing of it is there.
    pub fn of_tree(level: Level, index: u64, size: u64) -> Option<Self> {
        let there = match level {
            Level::Entries => size,
            Level::Hashes(level) => size.checked_shr(8 * u32::from(level)).unwrap_or(0),
        };
        let width = there.saturating_sub(index.checked_mul(HASHES_PER_TILE)?).min(HASHES_PER_TILE);
        (width > 0).then_some(Self { level, index, width: width as u16 })
    }

    /// Whether nothing will be added to it.
    pub fn is_whole(&self) -> bool {
        u64::from(self.width) == HASHES_PER_TILE
    }

    /// Reads what [`Tile`] writes as text: `tile/0/x001/234`, `tile/entries/000.p/17`.
    pub fn parse(path: &str) -> Result<Self, TileError> {
        Self::read(path).filter(|tile| tile.to_string() == path).ok_or(TileError::Path)
    }

    /// Without a look at whether it could be written otherwise.
    fn read(path: &str) -> Option<Self> {
        let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let level = match level {
            "entries" => Level::Entries,
            _ => Level::Hashes(u8::try_from(decimal(level)?).ok().filter(|level| *level <= MAX_LEVEL)?),
        };
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => {
                (index, u16::try_from(decimal(width)?).ok().filter(|width| (1..256).contains(width))?)
            }
            None => (rest, HASHES_PER_TILE as u16),
        };
        let mut number = 0_u64;
        for part in index.split('/') {
            let digits = part.strip_prefix('x').unwrap_or(part);
            if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            number = number.checked_mul(1_000)?.checked_add(digits.parse().ok()?)?;
        }
        Some(Self { level, index: number, width })
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Level::Entries => f.write_str("tile/entries/")?,
            Level::Hashes(level) => write!(f, "tile/{level}/")?,
        }
        // Three digits at a time, the last first.
        let (mut groups, mut rest) = (vec![self.index % 1_000], self.index / 1_000);
        while rest > 0 {
            groups.push(rest % 1_000);
            rest /= 1_000;
        }
        for (above, group) in groups.iter().enumerate().rev() {
            if above > 0 { write!(f, "x{group:03}/")? } else { write!(f, "{group:03}")? }
        }
        if self.is_whole() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

/// The hashes of a tile of this width.
pub fn decode_hashes(bytes: &[u8], width: u16) -> Result<Vec<Hash>, TileError> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    if rest.is_empty() && hashes.len() == usize::from(width) { Ok(hashes.to_vec()) } else { Err(TileError::Hashes) }
}

/// The entries of a bundle of this width.
pub fn decode_bundle(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, TileError> {
    // Each entry has a length.
    if bytes.len() < 2 * usize::from(width) {
        return Err(TileError::Bundle);
    }
    let (mut entries, mut rest) = (Vec::with_capacity(usize::from(width)), bytes);
    for _ in 0..width {
        let (length, behind) = rest.split_first_chunk::<2>().ok_or(TileError::Bundle)?;
        let (entry, behind) =
            behind.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(TileError::Bundle)?;
        entries.push(entry);
        rest = behind;
    }
    if rest.is_empty() { Ok(entries) } else { Err(TileError::Bundle) }
}

/// A bundle of these entries.
pub fn encode_bundle<E: AsRef<[u8]>>(entries: &[E]) -> Result<Vec<u8>, TileError> {
    let mut bundle = Vec::new();
    for entry in entries {
        let entry = entry.as_ref();
        let length = u16::try_from(entry.len()).map_err(|_| TileError::Entry(entry.len()))?;
        bundle.extend(length.to_be_bytes());
        bundle.extend(entry);
    }
    Ok(bundle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_stand_where_the_format_says() {
        let tile = |level, index, width| Tile { level, index, width };
        for (path, expected) in [
            ("tile/0/000", tile(Level::Hashes(0), 0, 256)),
            ("tile/0/x001/x234/067", tile(Level::Hashes(0), 1_234_067, 256)),
            ("tile/0/x001/000", tile(Level::Hashes(0), 1_000, 256)),
            ("tile/entries/000.p/1", tile(Level::Entries, 0, 1)),
            ("tile/entries/x123/456", tile(Level::Entries, 123_456, 256)),
            ("tile/63/999.p/255", tile(Level::Hashes(63), 999, 255)),
            ("tile/1/x018/x446/x744/x073/x709/x551/615", tile(Level::Hashes(1), u64::MAX, 256)),
        ] {
            assert_eq!(Tile::parse(path), Ok(expected), "{path}");
            assert_eq!(expected.to_string(), path);
        }
    }

    #[test]
    fn a_path_that_no_tile_has_is_refused() {
        for path in [
            "",
            "tile",
            "tile/0",
            "tile/0/",
            "tile/0/0",
            "tile/0/00",
            "tile/0/0000",
            "tile/00/000",
            "tile/64/000",
            "tile/-1/000",
            "tile/data/000",
            "tile/0/x000",
            "tile/0/x000/001",
            "tile/0/001/234",
            "tile/0/x001/x234",
            "tile/0/xx01",
            "tile/0/+01",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/0/000.p",
            "tile/0/000/",
            "/tile/0/000",
            "tile/0/../../checkpoint",
            "tile/1/x018/x446/x744/x073/x709/x551/616",
            "tile/1/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(Tile::parse(path), Err(TileError::Path), "{path}");
        }
    }

    #[test]
    fn a_tree_has_the_tiles_of_the_formats_own_example() {
        // c2sp.org/tlog-tiles, "Partial Tiles": a tree of 70,000.
        let tile = |level, index| Tile::of_tree(level, index, 70_000).map(|tile| tile.width);
        for level in [Level::Hashes(0), Level::Entries] {
            assert_eq!((tile(level, 272), tile(level, 273), tile(level, 274)), (Some(256), Some(112), None));
        }
        assert_eq!((tile(Level::Hashes(1), 0), tile(Level::Hashes(1), 1)), (Some(256), Some(17)));
        assert_eq!((tile(Level::Hashes(2), 0), tile(Level::Hashes(2), 1)), (Some(1), None));
        assert_eq!(tile(Level::Hashes(3), 0), None);
        let of_256 = |level| Tile::of_tree(Level::Hashes(level), 0, 256).map(|tile| tile.width);
        assert_eq!((of_256(0), of_256(1), of_256(2)), (Some(256), Some(1), None));
        for level in 8..=63 {
            assert_eq!(Tile::of_tree(Level::Hashes(level), 0, u64::MAX), None);
        }
        assert_eq!(Tile::of_tree(Level::Entries, u64::MAX, u64::MAX), None);
    }

    #[test]
    fn bundles_are_read_as_they_were_written_and_a_cut_one_is_not() {
        let long = vec![7; 65_535];
        let entries: [&[u8]; 3] = [b"one", b"", &long];
        let bundle = encode_bundle(&entries).unwrap();
        assert_eq!(&bundle[..7], b"\0\x03one\0\0");
        assert_eq!(decode_bundle(&bundle, 3).unwrap(), entries);
        for width in [0, 1, 2, 4, 256] {
            assert_eq!(decode_bundle(&bundle, width), Err(TileError::Bundle));
        }
        for length in [0, 1, 4, 6, bundle.len() - 1] {
            assert_eq!(decode_bundle(&bundle[..length], 3), Err(TileError::Bundle));
        }
        assert_eq!(encode_bundle(&[vec![0; 65_536]]), Err(TileError::Entry(65_536)));
        assert_eq!(decode_hashes(&[1; 64], 2).unwrap(), [[1; 32]; 2]);
        for (length, width) in [(64, 1), (64, 3), (63, 2), (0, 1)] {
            assert_eq!(decode_hashes(&vec![1; length], width), Err(TileError::Hashes));
        }
    }
}
