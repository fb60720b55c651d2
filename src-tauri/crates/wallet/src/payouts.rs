//! The file that says where payouts go: the address that counts, one that waits, and those that counted before.
//!
//! It is JSON: `{"version":1,"network":"main","address":"UQ…","waiting":{"address":"UQ…","from":1800000000},
//! "earlier":[{"address":"UQ…","until":1800000000}]}`. Addresses are of 48 characters with their checksum, marked where they are of the
//! test network; times are Unix seconds. No key is in it. A file that can't be read is an error and never taken for none, since money
//! would go elsewhere than its owner said.

use std::io::{ErrorKind, Read as _, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use ton::{Address, AddressText, Network};

use crate::policy::{PayoutAddress, PayoutChange};

/// Its name in the app's folder.
pub const PAYOUT_FILE: &str = "payout-address.json";
/// Longest file that is read, in bytes.
pub const MAX_PAYOUT_FILE: usize = 32 << 10;
/// Most former addresses that are kept, the newest of them.
const MOST_EARLIER: usize = 100;
const VERSION: u32 = 1;

/// An address that counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Earlier {
    /// Which.
    pub address: Address,
    /// Until when, Unix seconds.
    pub until: u64,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayoutBook {
    network: Network,
    rule: PayoutAddress,
    earlier: Vec<Earlier>,
}

/// Why a file does not say where payouts go.
#[derive(Debug, thiserror::Error)]
pub enum PayoutFileError {
    /// It is longer than any.
    #[error("it is too long")]
    Length,
    /// Another program wrote it.
    #[error("a newer Chrysalis wrote it, in version {found}; this one reads version {VERSION}")]
    Newer {
        /// Its version.
        found: u32,
    },
    /// It is no such file.
    #[error("it is damaged: {0}")]
    Form(String),
    /// The disk.
    #[error("{what}: {source}")]
    Io {
        /// What was done.
        what: &'static str,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// What was written did not come back.
    #[error("it could not be read back as it was written")]
    NotReadBack,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u32,
    network: Mark,
    address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    waiting: Option<WaitingText>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<EarlierText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitingText {
    address: String,
    from: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EarlierText {
    address: String,
    until: u64,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Mark {
    Main,
    Test,
}

impl PayoutBook {
    /// The first address, which counts at once: there was no other that money could be led away from.
    pub const fn first(address: Address, network: Network) -> Self {
        Self { network, rule: PayoutAddress::new(address), earlier: Vec::new() }
    }

    /// Which network its addresses are of.
    pub const fn network(&self) -> Network {
        self.network
    }

    /// Where payouts go now, Unix seconds.
    pub fn at(&self, now: u64) -> Address {
        self.rule.at(now)
    }

    /// The change that is waiting.
    pub fn waiting(&self, now: u64) -> Option<PayoutChange> {
        self.rule.waiting(now)
    }

    /// Addresses that counted before and are owners of contracts of that time, the latest first.
    pub fn earlier(&self) -> &[Earlier] {
        &self.earlier
    }

    /// Asks for another address, see [`PayoutAddress::change`].
    pub fn change(&mut self, to: Address, now: u64) -> Option<PayoutChange> {
        self.settle(now);
        self.rule.change(to, now)
    }

    /// Takes back a change that is waiting; it is gone at once. Gives it.
    pub fn keep(&mut self, now: u64) -> Option<PayoutChange> {
        self.settle(now);
        let waiting = self.rule.waiting(now)?;
        self.rule.change(self.rule.at(now), now);
        Some(waiting)
    }

    /// Makes a change whose time has come the present address, see [`PayoutAddress::settle`]. Whether there was one: then the file is
    /// to be written.
    pub fn settle(&mut self, now: u64) -> bool {
        let Some(address) = self.rule.settle(now) else { return false };
        self.earlier.insert(0, Earlier { address, until: now });
        self.earlier.truncate(MOST_EARLIER);
        true
    }

    /// Reads what stands in a file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PayoutFileError> {
        if bytes.len() > MAX_PAYOUT_FILE {
            return Err(PayoutFileError::Length);
        }
        let form = |error: serde_json::Error| PayoutFileError::Form(error.to_string());
        // Of another version nothing else is known.
        let VersionOnly { version } = serde_json::from_slice(bytes).map_err(form)?;
        if version > VERSION {
            return Err(PayoutFileError::Newer { found: version });
        }
        let text: Text = serde_json::from_slice(bytes).map_err(form)?;
        if text.version != VERSION || text.earlier.len() > MOST_EARLIER {
            return Err(PayoutFileError::Form("its numbers are those of no file".to_owned()));
        }
        let network = match text.network {
            Mark::Main => Network::Main,
            Mark::Test => Network::Test,
        };
        let address = |spelt: &str| read_address(spelt, network);
        let current = address(&text.address)?;
        let change = match &text.waiting {
            None => None,
            Some(waiting) => Some(PayoutChange { to: address(&waiting.address)?, from: waiting.from }),
        };
        if change.is_some_and(|change| change.to == current) {
            return Err(PayoutFileError::Form("it changes an address to itself".to_owned()));
        }
        let mut earlier = Vec::with_capacity(text.earlier.len());
        for one in &text.earlier {
            earlier.push(Earlier { address: address(&one.address)?, until: one.until });
        }
        Ok(Self { network, rule: PayoutAddress::from_parts(current, change), earlier })
    }

    /// What stands in its file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let spelt = |address: &Address| {
            AddressText { address: *address, bounceable: false, testnet: self.network == Network::Test }.to_text()
        };
        let (current, change) = self.rule.parts();
        let text = Text {
            version: VERSION,
            network: match self.network {
                Network::Main => Mark::Main,
                Network::Test => Mark::Test,
            },
            address: spelt(&current),
            waiting: change.map(|change| WaitingText { address: spelt(&change.to), from: change.from }),
            earlier: self
                .earlier
                .iter()
                .map(|one| EarlierText { address: spelt(&one.address), until: one.until })
                .collect(),
        };
        // Strings and numbers alone always become JSON.
        serde_json::to_vec_pretty(&text).unwrap_or_default()
    }

    /// The file in an app's folder; `None`: there is none, and payouts go to the wallet itself.
    pub fn read(folder: &Path) -> Result<Option<Self>, PayoutFileError> {
        let failed = |source| PayoutFileError::Io { what: "reading it", source };
        let file = match std::fs::File::open(folder.join(PAYOUT_FILE)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut bytes = Vec::new();
        file.take(MAX_PAYOUT_FILE as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        Self::from_bytes(&bytes).map(Some)
    }

    /// Writes the file whole or not at all, and reads it back.
    pub fn write(&self, folder: &Path) -> Result<(), PayoutFileError> {
        let failed = |source| PayoutFileError::Io { what: "writing it", source };
        let mut draft = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        draft.write_all(&self.to_bytes()).map_err(failed)?;
        draft.as_file().sync_all().map_err(failed)?;
        draft.persist(folder.join(PAYOUT_FILE)).map_err(|error| failed(error.error))?;
        if Self::read(folder)?.as_ref() == Some(self) { Ok(()) } else { Err(PayoutFileError::NotReadBack) }
    }
}

fn read_address(spelt: &str, network: Network) -> Result<Address, PayoutFileError> {
    let read = AddressText::parse_friendly(spelt).map_err(|error| PayoutFileError::Form(error.to_string()))?;
    if read.testnet == (network == Network::Test) {
        Ok(read.address)
    } else {
        Err(PayoutFileError::Form("an address is of another network".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::PAYOUT_CHANGE_WAITS;

    const NOW: u64 = 1_800_000_000;

    fn address(byte: u8) -> Address {
        Address { workchain: 0, hash: [byte; 32] }
    }

    #[test]
    fn the_payout_address_survives_restarts_and_a_clock_that_is_set_back() {
        let folder = tempfile::tempdir().unwrap();
        assert!(PayoutBook::read(folder.path()).unwrap().is_none());
        let reopened = |book: &PayoutBook| {
            book.write(folder.path()).unwrap();
            PayoutBook::read(folder.path()).unwrap().unwrap()
        };
        for network in [Network::Main, Network::Test] {
            let mut book = reopened(&PayoutBook::first(address(1), network));
            assert_eq!((book.network(), book.at(0), book.waiting(0)), (network, address(1), None));
            let change = book.change(address(2), NOW).unwrap();
            let mut book = reopened(&book);
            assert_eq!((book.at(NOW), book.waiting(NOW)), (address(1), Some(change)));
            // A day that is over by the clock holds even if the clock is set back after it was noticed.
            assert!(!book.settle(change.from - 1) && book.settle(change.from) && !book.settle(change.from));
            let book = reopened(&book);
            assert_eq!((book.at(0), book.waiting(0)), (address(2), None));
            assert_eq!(book.earlier(), [Earlier { address: address(1), until: change.from }]);
        }
    }

    #[test]
    fn a_change_that_is_taken_back_is_gone_at_once() {
        let mut book = PayoutBook::first(address(1), Network::Main);
        assert_eq!(book.keep(NOW), None);
        let change = book.change(address(2), NOW);
        assert_eq!(book.keep(NOW + 5), change);
        assert_eq!((book.at(NOW + 9 * PAYOUT_CHANGE_WAITS), book.earlier().len()), (address(1), 0));
        // What counts already is not taken back.
        book.change(address(2), NOW);
        assert_eq!(book.keep(NOW + PAYOUT_CHANGE_WAITS), None);
        assert_eq!(book.at(NOW), address(2));
    }

    #[test]
    fn a_file_that_is_damaged_newer_or_of_another_network_is_an_error_and_never_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut book = PayoutBook::first(address(1), Network::Main);
        book.change(address(2), NOW);
        let good = String::from_utf8(book.to_bytes()).unwrap();
        let spelt = |byte, testnet| AddressText { address: address(byte), bounceable: false, testnet }.to_text();
        let long = format!("{good}{}", " ".repeat(MAX_PAYOUT_FILE));
        for (bad, named) in [
            ("", "damaged"),
            ("null", "damaged"),
            (&*good.replace("\"version\": 1", "\"version\": 0"), "no file"),
            (&*good.replace("\"version\": 1", "\"version\": 2, \"new\": []"), "newer"),
            (&*good.replace("main", "test"), "another network"),
            (&*good.replace(&spelt(1, false), &spelt(1, true)), "another network"),
            (&*good.replace(&spelt(1, false), &spelt(2, false)), "to itself"),
            (&*good.replace(&spelt(1, false), &address(1).to_string()), "damaged"),
            (&*good.replace("UQ", "UR"), "damaged"),
            (&*good.replace("\"address\"", "\"adress\""), "damaged"),
            (&*long, "too long"),
        ] {
            std::fs::write(folder.path().join(PAYOUT_FILE), bad).unwrap();
            let said = PayoutBook::read(folder.path()).unwrap_err().to_string();
            assert!(said.contains(named), "{named}: {said}");
            assert!(folder.path().join(PAYOUT_FILE).exists());
        }
        std::fs::remove_file(folder.path().join(PAYOUT_FILE)).unwrap();
        std::fs::create_dir(folder.path().join(PAYOUT_FILE)).unwrap();
        assert!(PayoutBook::read(folder.path()).is_err() && book.write(folder.path()).is_err());
    }

    proptest! {
        /// Whatever is asked when: no address counts that did not wait its day by the clock, nothing is forgotten by a restart.
        #[test]
        fn no_other_address_counts_before_its_day_is_over(steps in proptest::collection::vec((0_u8..5, 0_u8..4, 0_u64..100_000), 0..60)) {
            let mut book = PayoutBook::first(address(0), Network::Test);
            let (mut now, mut counts, mut asked) = (NOW, address(0), None);
            for (what, which, later) in steps {
                now += later;
                if let Some((to, since)) = asked && now - since >= PAYOUT_CHANGE_WAITS {
                    (counts, asked) = (to, None);
                }
                match what {
                    0 => {
                        book.change(address(which), now);
                        asked = match asked {
                            _ if address(which) == counts => None,
                            Some((to, since)) if to == address(which) => Some((to, since)),
                            _ => Some((address(which), now)),
                        };
                    }
                    1 => {
                        book.keep(now);
                        asked = None;
                    }
                    2 => drop(book.settle(now)),
                    _ => book = PayoutBook::from_bytes(&book.to_bytes()).unwrap(),
                }
                prop_assert_eq!(book.at(now), counts);
                prop_assert_eq!(book.waiting(now).map(|change| change.to), asked.map(|(to, _)| to));
            }
        }

        #[test]
        fn no_bytes_bring_the_file_down(bytes: Vec<u8>) {
            let _ = PayoutBook::from_bytes(&bytes);
        }
    }
}
