//! Where payouts go, for the command line, `headless` and the window alike: the file of the data folder, with its rule.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use ton::{Address, Network};
use wallet::{PAYOUT_FILE, PayoutBook, PayoutChange};

use crate::provider::unix_ms;
use crate::purse::Purse;

/// What came of another payout address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    /// It counts.
    Now,
    /// It counts a day later.
    Waits(PayoutChange),
}

/// The machine's clock, Unix seconds.
pub(crate) fn now() -> u64 {
    u64::try_from(unix_ms() / 1_000).unwrap_or_default()
}

/// The file as it stands; `None`: payouts go to the wallet itself.
pub(crate) fn read(data: &Path) -> Result<Option<PayoutBook>> {
    PayoutBook::read(data).with_context(|| failed(data))
}

/// The file, with a change whose time has come written down as the address that counts. For whoever has the folder.
pub(crate) fn settled(data: &Path, now: u64) -> Result<Option<PayoutBook>> {
    let mut book = read(data)?;
    if let Some(book) = &mut book
        && book.settle(now)
    {
        book.write(data).with_context(|| failed(data))?;
        tracing::warn!("a change of the payout address has come into force");
    }
    Ok(book)
}

/// Asks for another address. `own` is the wallet's of this folder, if there is one: that is where payouts go as long as nothing else was
/// said, so any other waits its day. Where there was neither, the first address counts at once.
pub(crate) fn set(data: &Path, own: Option<Address>, to: Address, network: Network, now: u64) -> Result<Set> {
    let mut book = match (settled(data, now)?, own) {
        (Some(book), _) => book,
        (None, Some(own)) if own == to => return Ok(Set::Now),
        (None, Some(own)) => PayoutBook::first(own, network),
        (None, None) => PayoutBook::first(to, network),
    };
    ensure!(book.network() == network, "the payout address of this folder is of another network");
    let change = book.change(to, now);
    book.write(data).with_context(|| failed(data))?;
    Ok(change.map_or(Set::Now, Set::Waits))
}

/// Who is paid in practice, and who was before: the practice wallet, unless the owner has named another address.
pub(crate) fn of_practice(data: &Path, purse: &Purse) -> Result<(Address, Vec<Address>)> {
    let Some(book) = settled(data, now())? else { return Ok((purse.address(), Vec::new())) };
    ensure!(
        book.network() == Network::Test,
        "{} names an address of the main network, where practice money can't go",
        data.join(PAYOUT_FILE).display()
    );
    let owner = book.at(now());
    let earlier = book.earlier().iter().map(|one| one.address).filter(|address| *address != owner).collect();
    Ok((owner, earlier))
}

/// Takes back a change that waits. Gives it, if there was one.
pub(crate) fn keep(data: &Path, now: u64) -> Result<Option<PayoutChange>> {
    let Some(mut book) = settled(data, now)? else { return Ok(None) };
    let kept = book.keep(now);
    if kept.is_some() {
        book.write(data).with_context(|| failed(data))?;
    }
    Ok(kept)
}

fn failed(data: &Path) -> String {
    format!(
        "where payouts go stands in {}, and that file can't be used; put it right, or move it away and set the address anew",
        data.join(PAYOUT_FILE).display()
    )
}

#[cfg(test)]
mod tests {
    use wallet::PAYOUT_CHANGE_WAITS;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn address(byte: u8) -> Address {
        Address { workchain: 0, hash: [byte; 32] }
    }

    #[test]
    fn the_first_address_counts_at_once_only_where_there_was_no_other() {
        let (bare, owned) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_eq!(set(bare.path(), None, address(1), Network::Test, NOW).unwrap(), Set::Now);
        assert_eq!(read(bare.path()).unwrap().unwrap().at(NOW), address(1));
        // Payouts went to the wallet before, and that is an address too.
        let own = Some(address(7));
        assert_eq!(set(owned.path(), own, address(7), Network::Test, NOW).unwrap(), Set::Now);
        assert!(read(owned.path()).unwrap().is_none());
        let Set::Waits(change) = set(owned.path(), own, address(1), Network::Test, NOW).unwrap() else {
            panic!("it does not wait")
        };
        assert_eq!(change, PayoutChange { to: address(1), from: NOW + PAYOUT_CHANGE_WAITS });
        assert_eq!(read(owned.path()).unwrap().unwrap().at(NOW), address(7));
        assert!(set(owned.path(), own, address(2), Network::Main, NOW).is_err(), "another network was taken");
    }

    #[test]
    fn a_change_is_taken_back_at_once_and_what_has_come_into_force_stays() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(keep(folder.path(), NOW).unwrap(), None);
        set(folder.path(), None, address(1), Network::Main, NOW).unwrap();
        set(folder.path(), None, address(2), Network::Main, NOW).unwrap();
        assert_eq!(keep(folder.path(), NOW + 9).unwrap().map(|change| change.to), Some(address(2)));
        assert_eq!(settled(folder.path(), NOW + 9 * PAYOUT_CHANGE_WAITS).unwrap().unwrap().at(0), address(1));
        set(folder.path(), None, address(3), Network::Main, NOW).unwrap();
        settled(folder.path(), NOW + PAYOUT_CHANGE_WAITS).unwrap();
        // The clock is set back by a year: what counted goes on to count.
        let book = settled(folder.path(), NOW - 365 * 86_400).unwrap().unwrap();
        assert_eq!((book.at(0), book.earlier()[0].address), (address(3), address(1)));
        std::fs::write(folder.path().join(PAYOUT_FILE), b"{").unwrap();
        let said = crate::sentence(&settled(folder.path(), NOW).unwrap_err());
        assert!(said.contains(PAYOUT_FILE) && said.contains("damaged"), "{said}");
        assert!(set(folder.path(), None, address(4), Network::Main, NOW).is_err());
    }
}
