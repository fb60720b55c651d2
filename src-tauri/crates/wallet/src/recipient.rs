//! What is to be known about an address before money goes there: facts in, findings out.

use crate::exchanges::EXCHANGES;
use ton::{Address, AddressError, AddressText, Network};

/// Letters behind the two that say what kind of address it is, which people compare first. The first of them carries two bits only.
const FIRST: std::ops::Range<usize> = 2..6;
/// Letters that people compare last.
const LAST: usize = 3;

/// Something to know about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// Stop: it is none.
    #[error("that is no TON address")]
    NoAddress,
    /// Stop: a character is wrong or missing.
    #[error("the address is mistyped: its checksum does not fit")]
    Checksum,
    /// Stop: the raw spelling, in which a wrong character would go unnoticed.
    #[error("the raw form of an address has no checksum; use the form of 48 characters")]
    NoChecksum,
    /// Stop: it is marked for the test network, and this wallet is on the main one.
    #[error("the address is marked for the test network; coins sent there are lost")]
    OtherNetwork,
    /// Stop: it is the sending wallet itself.
    #[error("that is this wallet itself")]
    Own,
    /// Ask: it looks like one that was used before, and is another. A trick of thieves.
    #[error("the address begins and ends like {}, which you know, and is another one", AddressText { address: *known, bounceable: false, testnet: false })]
    LooksLike {
        /// The other one.
        known: Address,
    },
    /// Ask: an exchange or a service, which can't tell whose money it is without a comment.
    #[error(
        "the address belongs to {name}, which needs a comment to know whose money it is; without it the money is lost"
    )]
    Exchange {
        /// Which.
        name: &'static str,
    },
    /// Ask: it lives on the masterchain, as no ordinary wallet does.
    #[error("the address is on the masterchain, where no ordinary wallet is")]
    Masterchain,
    /// Ask: nobody has used it yet, or its owner has not.
    #[error("nobody has set up a wallet at this address yet")]
    Uninitialised,
    /// Ask: the chain could not be asked about it.
    #[error("the chain could not be asked about this address")]
    NotSeen,
    /// Good: money was sent there before.
    #[error("you have sent there before")]
    UsedBefore {
        /// When last, Unix time in seconds.
        at: u64,
    },
}

impl Finding {
    /// Whether nothing may be sent there.
    pub const fn stops(self) -> bool {
        matches!(self, Self::NoAddress | Self::Checksum | Self::NoChecksum | Self::OtherNetwork | Self::Own)
    }

    /// Whether the owner must be asked.
    pub const fn asks(self) -> bool {
        !self.stops() && !matches!(self, Self::UsedBefore { .. })
    }
}

/// What the chain says of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It could not be asked.
    No,
    /// There is no contract.
    Uninitialised,
    /// There is one.
    Active,
}

/// An address the owner has dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Which.
    pub address: Address,
    /// When money was sent there last, Unix time in seconds; `None`: never, it only came from there.
    pub sent_at: Option<u64>,
}

/// Reads what somebody typed or pasted for a wallet on this network.
pub fn read_recipient(text: &str, network: Network) -> Result<AddressText, Finding> {
    let address = AddressText::parse_friendly(text.trim()).map_err(|error| match error {
        AddressError::Form { .. } | AddressError::Tag { .. } => Finding::NoAddress,
        AddressError::Raw => Finding::NoChecksum,
        AddressError::Checksum { .. } => Finding::Checksum,
    })?;
    // The other way round nothing is lost: an address without the mark is good on both.
    if address.testnet && network == Network::Main { Err(Finding::OtherNetwork) } else { Ok(address) }
}

/// What there is to know, the gravest first. `known` are those addresses that the wallet sent to or had money from.
pub fn findings(to: &Address, own: &Address, seen: Seen, known: &[Known]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if to == own {
        findings.push(Finding::Own);
    }
    let sent_at = known.iter().filter(|known| known.address == *to).filter_map(|known| known.sent_at).max();
    if sent_at.is_none() {
        let like = known.iter().map(|known| &known.address).chain([own]).find(|known| looks_like(to, known));
        findings.extend(like.map(|known| Finding::LooksLike { known: *known }));
    }
    findings.extend(exchange(to).map(|name| Finding::Exchange { name }));
    if to.workchain != 0 {
        findings.push(Finding::Masterchain);
    }
    match seen {
        Seen::No => findings.push(Finding::NotSeen),
        Seen::Uninitialised => findings.push(Finding::Uninitialised),
        Seen::Active => {}
    }
    findings.extend(sent_at.map(|at| Finding::UsedBefore { at }));
    findings
}

/// The exchange or service that is known to receive its customers' money at this one address.
pub fn exchange(address: &Address) -> Option<&'static str> {
    let text = plain(address);
    EXCHANGES
        .iter()
        .find(|(_, addresses)| addresses.contains(&text.get(2..45).unwrap_or_default()))
        .map(|(name, _)| *name)
}

/// Whether a person who compares beginnings and ends takes one for the other.
fn looks_like(one: &Address, other: &Address) -> bool {
    let (first, second) = (plain(one), plain(other));
    let ends = |text: &str| {
        let last = text.len().checked_sub(LAST)?;
        Some((text.get(FIRST)?.to_owned(), text.get(last..)?.to_owned()))
    };
    one != other && ends(&first).is_some_and(|ends_of_first| Some(ends_of_first) == ends(&second))
}

fn plain(address: &Address) -> String {
    AddressText { address: *address, bounceable: false, testnet: false }.to_text()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Address = Address { workchain: 0, hash: [1; 32] };

    fn text(address: Address, testnet: bool) -> String {
        AddressText { address, bounceable: false, testnet }.to_text()
    }

    #[test]
    fn what_is_mistyped_raw_or_meant_for_the_test_network_is_a_stop() {
        let address = Address { workchain: 0, hash: [7; 32] };
        let good = text(address, false);
        assert_eq!(read_recipient(&format!(" {good}\n"), Network::Main).map(|read| read.address), Ok(address));
        for at in 2..good.len() {
            let mut mistyped = good.clone().into_bytes();
            mistyped[at] = if mistyped[at] == b'A' { b'B' } else { b'A' };
            let mistyped = String::from_utf8(mistyped).unwrap();
            assert_eq!(read_recipient(&mistyped, Network::Main), Err(Finding::Checksum), "{mistyped}");
        }
        assert_eq!(read_recipient(&address.to_string(), Network::Main), Err(Finding::NoChecksum));
        assert_eq!(read_recipient(&good[1..], Network::Main), Err(Finding::NoAddress));
        let test = text(address, true);
        assert_eq!(read_recipient(&test, Network::Main), Err(Finding::OtherNetwork));
        assert!(read_recipient(&test, Network::Test).is_ok() && read_recipient(&good, Network::Test).is_ok());
        for finding in [Finding::NoAddress, Finding::Checksum, Finding::NoChecksum, Finding::OtherNetwork, Finding::Own]
        {
            assert!(finding.stops() && !finding.asks());
        }
    }

    #[test]
    fn an_address_that_only_looks_like_a_known_one_is_told() {
        let known = Address { workchain: 0, hash: [7; 32] };
        let friend = Known { address: known, sent_at: Some(9) };
        // The same first letters, another middle, and the same last ones: found by trying, as thieves do, with what stands in the middle.
        let wanted = text(known, false);
        let mut twin = known;
        let found = (0_u32..).find_map(|number| {
            twin.hash[12..16].copy_from_slice(&number.to_be_bytes());
            (twin != known && text(twin, false).ends_with(&wanted[45..])).then_some(twin)
        });
        let twin = found.unwrap();
        assert_eq!(findings(&twin, &OWN, Seen::Active, &[friend]), [Finding::LooksLike { known }]);
        assert_eq!(findings(&twin, &known, Seen::Active, &[]), [Finding::LooksLike { known }]);
        // Whoever was sent to before is who it was.
        let sent = Known { address: twin, sent_at: Some(5) };
        assert_eq!(findings(&twin, &OWN, Seen::Active, &[friend, sent]), [Finding::UsedBefore { at: 5 }]);
        // Having had a few coins from a thief does not make him a friend.
        let dust = Known { address: twin, sent_at: None };
        assert_eq!(findings(&twin, &OWN, Seen::Active, &[friend, dust]), [Finding::LooksLike { known }]);
        let other = Address { workchain: 0, hash: [8; 32] };
        assert!(findings(&other, &OWN, Seen::Active, &[friend]).is_empty());
    }

    #[test]
    fn what_the_chain_does_not_know_and_where_no_wallet_is_are_asked_about() {
        let to = Address { workchain: -1, hash: [3; 32] };
        let found = findings(&to, &OWN, Seen::Uninitialised, &[]);
        assert_eq!(found, [Finding::Masterchain, Finding::Uninitialised]);
        assert!(found.iter().all(|finding| finding.asks()));
        let to = Address { workchain: 0, ..to };
        assert_eq!(findings(&to, &OWN, Seen::No, &[]), [Finding::NotSeen]);
        assert_eq!(findings(&OWN, &OWN, Seen::Active, &[]), [Finding::Own]);
        let used = [Known { address: to, sent_at: Some(4) }];
        assert_eq!(findings(&to, &OWN, Seen::Active, &used), [Finding::UsedBefore { at: 4 }]);
        assert!(!Finding::UsedBefore { at: 4 }.asks());
    }

    #[test]
    fn exchanges_are_known_by_either_form_of_their_address() {
        for text in
            ["EQBfAN7LfaUYgXZNw5Wc7GBgkEX2yhuJ5ka95J1JJwXXf4a8", "UQBfAN7LfaUYgXZNw5Wc7GBgkEX2yhuJ5ka95J1JJwXXf9t5"]
        {
            let address = read_recipient(text, Network::Main).unwrap().address;
            assert_eq!(findings(&address, &OWN, Seen::Active, &[]), [Finding::Exchange { name: "OKX" }]);
        }
        let mut all: Vec<&str> = EXCHANGES.iter().flat_map(|(_, addresses)| *addresses).copied().collect();
        all.sort_unstable();
        let count = all.len();
        all.dedup();
        assert_eq!(all.len(), count, "an address stands twice");
        assert!(all.iter().all(|middle| middle.len() == 43 && middle.starts_with(['A', 'B', 'C', 'D'])));
    }
}
