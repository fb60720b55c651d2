//! What was earned, as tables for people and for tax programs. Records, not tax advice.
//!
//! Walk-through: [`Entry`]s come from the ledger, [`Rates`] from a file the owner gives; [`write()`] makes a table of them. A rate that
//! nobody gave is no rate: the field stays empty. Amounts are exact in every digit. [`Energy`] is what cards drew, [`Prices`] what the owner
//! pays for it; [`write_electricity`] makes the sheet of it.
//!
//! Days and months are those of UTC, which is what a chain has. A table is CSV (RFC 4180) whose texts no spreadsheet takes for a
//! formula.

mod csv;
mod date;
mod electricity;
mod rates;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ton::{Address, AddressText, Nanoton, UNIT};

pub use date::{Date, DateError, Month, MonthError, instant, minute};
pub use electricity::{
    Cost, Energy, EnergyDay, MAX_PRICES_BYTES, METHOD, Price, Prices, PricesError, write_electricity,
};
pub use rates::{MAX_RATES_BYTES, Rate, Rates, RatesError};

use csv::Table;
use rates::exact;

/// The currency's name of money that is worth nothing. No exchange has one of this name.
pub const PRACTICE_UNIT: &str = "PRACTICE";
/// What stands beside money that is worth nothing.
pub const PRACTICE_NOTE: &str = "practice money, worth nothing";
const UNKNOWN_NOTE: &str = "amount not known";

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A contract paid to the owner: income.
    Payout,
    /// What it cost to have something paid, or tried.
    Fee,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When, Unix time in seconds.
    pub unix: i64,
    /// What it is about.
    pub kind: EntryKind,
    /// How much; `None`: not known.
    pub amount: Option<Nanoton>,
    /// Of a payout the transaction that received it, of a fee the message that caused it (TEP-467).
    pub hash: Option<[u8; 32]>,
    /// The chain's own time of a payout.
    pub lt: Option<u64>,
    /// Who paid.
    pub from: Option<Address>,
    /// Whom it came to.
    pub to: Option<Address>,
    /// The network's root contract.
    pub network: Address,
    /// Whether it is worth nothing: practice and tests.
    pub pays_nothing: bool,
}

/// Which table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A line for each payout and each fee, with everything that is known.
    Lines,
    /// The same for Koinly's universal import.
    Koinly,
    /// A line for each month.
    Months,
}

/// A sum of nanotons with all nine places of a coin and no unit.
pub fn coins_sum(nanotons: u128) -> String {
    exact(nanotons, 9, 9)
}

/// The table. Entries may come in any order; they are written by their time.
pub fn write(entries: &[Entry], rates: &Rates, form: Form) -> String {
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by_key(|entry| (entry.unix, entry.lt, entry.kind, entry.hash));
    match form {
        Form::Lines => lines(&sorted, rates),
        Form::Koinly => koinly(&sorted, rates),
        Form::Months => months(&sorted, rates),
    }
}

/// Whether an entry has a line, or stands in a sum, of this table. In Koinly's a line without an amount would be refused, or taken for
/// nothing.
pub fn is_written(entry: &Entry, form: Form) -> bool {
    match form {
        Form::Lines | Form::Months => true,
        Form::Koinly => entry.amount.is_some(),
    }
}

/// A rate is for real coins only.
fn rate_of<'a>(entry: &Entry, rates: &'a Rates) -> Option<&'a Rate> {
    if entry.pays_nothing { None } else { rates.on(Date::of_unix(entry.unix)) }
}

fn unit(entry: &Entry) -> &'static str {
    if entry.pays_nothing { PRACTICE_UNIT } else { UNIT }
}

fn note(entry: &Entry) -> &'static str {
    match (entry.pays_nothing, entry.amount) {
        (true, _) => PRACTICE_NOTE,
        (false, None) => UNKNOWN_NOTE,
        (false, Some(_)) => "",
    }
}

fn friendly(address: Option<Address>, bounceable: bool) -> String {
    address.map_or_else(String::new, |address| AddressText { address, bounceable, testnet: false }.to_text())
}

fn hash(hash: Option<[u8; 32]>) -> String {
    hash.map_or_else(String::new, hex::encode)
}

fn lines(entries: &[&Entry], rates: &Rates) -> String {
    let mut table = Table::new(&[
        "date",
        "kind",
        "amount",
        "currency",
        "amount_nanoton",
        "rate",
        "rate_currency",
        "value",
        "rate_source",
        "transaction",
        "logical_time",
        "from",
        "to",
        "network",
        "note",
    ]);
    for entry in entries {
        let rate = rate_of(entry, rates);
        let value = rate.zip(entry.amount).map_or_else(String::new, |(rate, amount)| rate.value(amount));
        let kind = match entry.kind {
            EntryKind::Payout => "payout",
            EntryKind::Fee => "fee",
        };
        table
            .figure(&date::instant(entry.unix))
            .figure(kind)
            .figure(&entry.amount.map_or_else(String::new, coins))
            .figure(unit(entry))
            .figure(&entry.amount.map_or_else(String::new, |amount| amount.0.to_string()))
            .figure(&rate.map_or_else(String::new, Rate::to_text))
            .text(rate.map_or("", |rate| &rate.currency))
            .figure(&value)
            .text(rate.map_or("", |rate| &rate.source))
            .figure(&hash(entry.hash))
            .figure(&entry.lt.map_or_else(String::new, |lt| lt.to_string()))
            .figure(&friendly(entry.from, true))
            .figure(&friendly(entry.to, false))
            .figure(&friendly(Some(entry.network), true))
            .text(note(entry));
        table.end();
    }
    table.into_text()
}

/// The columns of Koinly's universal file. What is worth nothing has no label, because a label would make income of it.
fn koinly(entries: &[&Entry], rates: &Rates) -> String {
    let mut table = Table::new(&[
        "Date",
        "Sent Amount",
        "Sent Currency",
        "Received Amount",
        "Received Currency",
        "Fee Amount",
        "Fee Currency",
        "Net Worth Amount",
        "Net Worth Currency",
        "Label",
        "Description",
        "TxHash",
    ]);
    for entry in entries {
        let Some(amount) = entry.amount.filter(|_| is_written(entry, Form::Koinly)) else { continue };
        let rate = rate_of(entry, rates);
        let (coins, unit) = (coins(amount), unit(entry));
        let mut described = match entry.kind {
            EntryKind::Payout => format!("Payout of the proxy contract {}", friendly(entry.from, true)),
            EntryKind::Fee => "Network fees of a payout or transfer".to_owned(),
        };
        if entry.pays_nothing {
            let _ = write!(described, "; {PRACTICE_NOTE}");
        }
        if let Some(rate) = rate {
            let _ = write!(described, "; rate {} {} by {}", rate.to_text(), rate.currency, rate.source);
        }
        let (sent, received, label) = match entry.kind {
            EntryKind::Payout => (None, Some(coins.as_str()), "reward"),
            EntryKind::Fee => (Some(coins.as_str()), None, "cost"),
        };
        table
            .figure(&date::minute(entry.unix))
            .figure(sent.unwrap_or_default())
            .figure(sent.map_or("", |_| unit))
            .figure(received.unwrap_or_default())
            .figure(received.map_or("", |_| unit))
            .figure("")
            .figure("")
            .figure(&rate.map_or_else(String::new, |rate| rate.value(amount)))
            .text(rate.map_or("", |rate| &rate.currency))
            .figure(if entry.pays_nothing { "" } else { label })
            .text(&described)
            .figure(&hash(entry.hash));
        table.end();
    }
    table.into_text()
}

/// Sums of a month, of real coins or of those worth nothing.
#[derive(Default)]
struct Sums {
    payouts: u64,
    income: u128,
    fees: u128,
    unknown_fees: u64,
    /// Payouts that no rate is known for.
    unrated: u64,
    /// Worth of the income as [`Rate::worth`] has it, as far as rates are known.
    worth: u128,
}

fn months(entries: &[&Entry], rates: &Rates) -> String {
    // By year, month, and whether it is worth nothing.
    let mut months: BTreeMap<(i64, u32, bool), Sums> = BTreeMap::new();
    for entry in entries {
        let Date { year, month, .. } = Date::of_unix(entry.unix);
        let sums = months.entry((year, month, entry.pays_nothing)).or_default();
        match (entry.kind, entry.amount) {
            (EntryKind::Payout, amount) => {
                let amount = amount.unwrap_or_default();
                sums.payouts = sums.payouts.saturating_add(1);
                sums.income = sums.income.saturating_add(u128::from(amount.0));
                match rate_of(entry, rates) {
                    Some(rate) => sums.worth = sums.worth.saturating_add(rate.worth(amount)),
                    None => sums.unrated = sums.unrated.saturating_add(1),
                }
            }
            (EntryKind::Fee, Some(amount)) => sums.fees = sums.fees.saturating_add(u128::from(amount.0)),
            (EntryKind::Fee, None) => sums.unknown_fees = sums.unknown_fees.saturating_add(1),
        }
    }
    let mut table = Table::new(&[
        "month",
        "payouts",
        "income",
        "fees",
        "income_less_fees",
        "currency",
        "income_value",
        "value_currency",
        "payouts_without_rate",
        "fees_not_known",
        "note",
    ]);
    for ((year, month, pays_nothing), sums) in &months {
        // A value of a part of the income would be taken for the value of all.
        let is_valued = sums.unrated == 0 && sums.payouts > 0 && sums.worth < u128::MAX;
        // And a sum in which something is missing is not known.
        let (fees, less) = match sums.income.checked_sub(sums.fees) {
            _ if sums.unknown_fees > 0 => (String::new(), String::new()),
            Some(left) => (exact(sums.fees, 9, 9), exact(left, 9, 9)),
            None => (exact(sums.fees, 9, 9), format!("-{}", exact(sums.fees.saturating_sub(sums.income), 9, 9))),
        };
        table
            .figure(&format!("{year:04}-{month:02}"))
            .figure(&sums.payouts.to_string())
            .figure(&exact(sums.income, 9, 9))
            .figure(&fees)
            .figure(&less)
            .figure(if *pays_nothing { PRACTICE_UNIT } else { UNIT })
            .figure(&if is_valued { rates::value_text(sums.worth) } else { String::new() })
            .text(if is_valued { rates.currency() } else { "" })
            .figure(&sums.unrated.to_string())
            .figure(&sums.unknown_fees.to_string())
            .text(if *pays_nothing { PRACTICE_NOTE } else { "" });
        table.end();
    }
    table.into_text()
}

/// An amount with all nine places and no unit.
pub fn coins(amount: Nanoton) -> String {
    exact(u128::from(amount.0), 9, 9)
}
