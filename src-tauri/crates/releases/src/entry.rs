//! What the log says of one released program file: a line of ASCII without an end, with one spelling for what it says.
//!
//! `release/1 chrysalis 0.1.0 linux-x86_64 chrysalis-worker 20971520 9f86d081…`: the form, the product, its version, for which system,
//! which of its programs, the file's bytes, its SHA-256 in hex.

use std::fmt;
use std::str::FromStr;

use crate::Hash;
use crate::text::decimal;

/// Longest entry that is read, in bytes.
pub const MAX_ENTRY_BYTES: usize = 256;

const FORM: &str = "release/1";
const PRODUCT: &str = "chrysalis";

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Not a line of this form.
    #[error("this is no entry about a released program: {0}")]
    Malformed(&'static str),
}

/// One of the product's programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// `chrysalis-worker`, the boxed process.
    Worker,
    /// `chrysalis`, the app.
    App,
    /// `chrysalis-network`, proxy and gateway.
    Network,
}

/// For which system a program was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Platform {
    /// Linux on x86-64.
    Linux,
    /// Windows on x86-64.
    Windows,
}

/// A version: three numbers, and perhaps letters, digits, dots and hyphens behind a hyphen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(String);

/// A released program file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The product's version.
    pub version: Version,
    /// The system it was made for.
    pub platform: Platform,
    /// Which program.
    pub program: Program,
    /// The file's length.
    pub bytes: u64,
    /// The file's SHA-256.
    pub sha256: Hash,
}

impl Entry {
    /// Reads an entry that fills these bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryError> {
        let malformed = EntryError::Malformed;
        if bytes.len() > MAX_ENTRY_BYTES {
            return Err(malformed("it is too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| malformed("it is no text"))?;
        let parts: Vec<&str> = text.split(' ').collect();
        let [form, product, version, platform, program, length, sha256] = parts[..] else {
            return Err(malformed("it has not seven words"));
        };
        if form != FORM || product != PRODUCT {
            return Err(malformed("it is about something else"));
        }
        // Lower case, so that there is one spelling.
        let is_hash = sha256.len() == 64 && !sha256.bytes().any(|byte| byte.is_ascii_uppercase());
        let sha256 = if is_hash { hex::decode(sha256).ok() } else { None };
        Ok(Self {
            version: version.parse()?,
            platform: platform.parse()?,
            program: program.parse()?,
            bytes: decimal(length).ok_or(malformed("its length is no number"))?,
            sha256: sha256.and_then(|hash| hash.try_into().ok()).ok_or(malformed("its hash is none"))?,
        })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, platform, program, bytes, sha256 } = self;
        write!(f, "{FORM} {PRODUCT} {version} {platform} {program} {bytes} {}", hex::encode(sha256))
    }
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Worker, Self::App, Self::Network];

    /// Its file's name, without the ending of a system.
    pub fn name(self) -> &'static str {
        match self {
            Self::Worker => "chrysalis-worker",
            Self::App => "chrysalis",
            Self::Network => "chrysalis-network",
        }
    }
}

impl Platform {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Linux, Self::Windows];

    /// As it stands in an entry.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux-x86_64",
            Self::Windows => "windows-x86_64",
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Program {
    type Err = EntryError;

    fn from_str(name: &str) -> Result<Self, EntryError> {
        Self::ALL.into_iter().find(|one| one.name() == name).ok_or(EntryError::Malformed("no program has this name"))
    }
}

impl FromStr for Platform {
    type Err = EntryError;

    fn from_str(name: &str) -> Result<Self, EntryError> {
        Self::ALL.into_iter().find(|one| one.name() == name).ok_or(EntryError::Malformed("no system has this name"))
    }
}

impl FromStr for Version {
    type Err = EntryError;

    fn from_str(text: &str) -> Result<Self, EntryError> {
        let (numbers, behind) = text.split_once('-').map_or((text, None), |(numbers, behind)| (numbers, Some(behind)));
        let three = numbers.split('.').count() == 3
            && numbers.split('.').all(|number| number.len() <= 5 && decimal(number).is_some());
        let allowed =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let ending = behind.is_none_or(|behind| behind.len() <= 32 && behind.split('.').all(allowed));
        if three && ending { Ok(Self(text.to_owned())) } else { Err(EntryError::Malformed("its version is none")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn entry(words: &str) -> Result<Entry, EntryError> {
        Entry::parse(format!("{words} {HASH}").as_bytes())
    }

    #[test]
    fn an_entry_is_read_as_it_is_written() {
        for words in [
            "release/1 chrysalis 0.1.0 linux-x86_64 chrysalis-worker 20971520",
            "release/1 chrysalis 12.0.3-rc.1 windows-x86_64 chrysalis 0",
            "release/1 chrysalis 1.2.3-a-b linux-x86_64 chrysalis-network 18446744073709551615",
        ] {
            let read = entry(words).unwrap();
            assert_eq!(read.to_string(), format!("{words} {HASH}"));
            assert_eq!(read.sha256[..2], [0x9f, 0x86]);
            assert!(read.to_string().len() <= MAX_ENTRY_BYTES);
        }
    }

    #[test]
    fn an_entry_has_one_spelling() {
        for words in [
            "release/2 chrysalis 0.1.0 linux-x86_64 chrysalis-worker 1",
            "release/1 another 0.1.0 linux-x86_64 chrysalis-worker 1",
            "release/1 chrysalis 0.1 linux-x86_64 chrysalis-worker 1",
            "release/1 chrysalis 0.01.0 linux-x86_64 chrysalis-worker 1",
            "release/1 chrysalis v0.1.0 linux-x86_64 chrysalis-worker 1",
            "release/1 chrysalis 0.1.0- linux-x86_64 chrysalis-worker 1",
            "release/1 chrysalis 0.1.0-a..b linux-x86_64 chrysalis-worker 1",
            "release/1 chrysalis 0.1.0-é linux-x86_64 chrysalis-worker 1",
            "release/1 chrysalis 0.1.0 plan9 chrysalis-worker 1",
            "release/1 chrysalis 0.1.0 linux-x86_64 chrysalis-worker.exe 1",
            "release/1 chrysalis 0.1.0 linux-x86_64 chrysalis-worker 01",
            "release/1 chrysalis 0.1.0 linux-x86_64 chrysalis-worker 18446744073709551616",
            "release/1  chrysalis 0.1.0 linux-x86_64 chrysalis-worker 1",
            " release/1 chrysalis 0.1.0 linux-x86_64 chrysalis-worker 1",
            "release/1 chrysalis 0.1.0 linux-x86_64 chrysalis-worker",
            "release/1 chrysalis 0.1.0 linux-x86_64 chrysalis-worker 1 1",
        ] {
            assert!(entry(words).is_err(), "{words}");
        }
        let good = "release/1 chrysalis 0.1.0 linux-x86_64 chrysalis-worker 1";
        for hash in [&HASH.to_uppercase(), &HASH[1..], &format!("{HASH}0"), &format!("{HASH}\n"), ""] {
            assert!(Entry::parse(format!("{good} {hash}").as_bytes()).is_err(), "{hash:?}");
        }
        assert!(Entry::parse(&[b' '; MAX_ENTRY_BYTES + 1]).is_err() && Entry::parse(b"\xff").is_err());
    }
}
