//! What a coin was worth on a day, as the owner says. Nothing is invented: a day without a rate has none.

use std::collections::BTreeMap;

use ton::Nanoton;

use super::Entry;
use super::csv::{self, Table};
use super::date::Date;

const COLUMNS: [&str; 4] = ["date", "currency", "rate", "source"];

/// Longest file of rates that is read, in bytes.
pub const MAX_RATES_BYTES: usize = 4 << 20;
/// Places behind a rate's dot.
pub(super) const PLACES: usize = 9;
/// Digits before it.
const MAX_WHOLE: usize = 9;
/// Places behind the dot of what a nanoton is worth: its own nine and the rate's.
const VALUE_PLACES: usize = PLACES + 9;
const MAX_SOURCE: usize = 200;

/// Why a file of rates can't be used. Lines are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RatesError {
    /// Longer than any such file.
    #[error("{length} bytes are more than a file of rates may have ({MAX_RATES_BYTES})")]
    TooLong {
        /// Its bytes.
        length: usize,
    },
    /// The names of the columns are missing or others.
    #[error("the first line must name the columns date, currency, rate and source, separated by commas")]
    Columns,
    /// A line is none.
    #[error("line {line} has a quotation mark at the wrong place")]
    Quotes {
        /// Which.
        line: usize,
    },
    /// More or fewer fields than columns.
    #[error("line {line} has {found} fields, the first line has {expected}")]
    Fields {
        /// Which.
        line: usize,
        /// Its fields.
        found: usize,
        /// What the first line has.
        expected: usize,
    },
    /// No day.
    #[error("line {line}: the date must be a day written as 2026-11-27")]
    Date {
        /// Which.
        line: usize,
    },
    /// No currency.
    #[error("line {line}: the currency must be two to ten letters, such as EUR")]
    Currency {
        /// Which.
        line: usize,
    },
    /// No rate.
    #[error(
        "line {line}: the rate must be digits with at most one dot among them, at most nine on either side, and more than 0"
    )]
    Rate {
        /// Which.
        line: usize,
    },
    /// A rate of nobody's.
    #[error("line {line}: the source of the rate is missing or longer than {MAX_SOURCE} bytes")]
    Source {
        /// Which.
        line: usize,
    },
    /// Two rates for one day.
    #[error("line {line}: {date} has another rate before")]
    Twice {
        /// Which.
        line: usize,
        /// The day.
        date: Date,
    },
    /// Several currencies, of which a table can have one.
    #[error("line {line}: the file has rates in {one} and in {other}; keep one of them")]
    Mixed {
        /// Which.
        line: usize,
        /// The first.
        one: String,
        /// The other.
        other: String,
    },
}

/// What a coin was worth on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    /// In thousand-millionths of the currency; never 0.
    pub(super) parts: u64,
    /// Its letters.
    pub currency: String,
    /// Who says so.
    pub source: String,
}

impl Rate {
    /// The rate, without zeros that say nothing.
    pub fn to_text(&self) -> String {
        exact(u128::from(self.parts), PLACES, 0)
    }

    /// What an amount is worth, in parts of which 10^18 make one of the currency: exact.
    pub(super) fn worth(&self, amount: Nanoton) -> u128 {
        // Both are below 2^64.
        u128::from(amount.0).saturating_mul(u128::from(self.parts))
    }

    /// What an amount is worth, with so many places, rounded down: for people to read.
    pub fn about(&self, amount: Nanoton, places: usize) -> String {
        rounded(self.worth(amount), VALUE_PLACES, places)
    }

    /// How much of the coin has this worth, a number with so many places; `None`: more than there can be.
    pub(super) fn coins_of(&self, worth: u128, places: u32) -> Option<Nanoton> {
        let scale = u32::try_from(VALUE_PLACES).ok()?.checked_sub(places)?;
        let worth = worth.checked_mul(10_u128.checked_pow(scale)?)?;
        u64::try_from(worth.checked_div(u128::from(self.parts))?).ok().map(Nanoton)
    }

    /// What an amount is worth, in every digit, with at least two places.
    pub fn value(&self, amount: Nanoton) -> String {
        value_text(self.worth(amount))
    }
}

/// What [`Rate::worth`] gives, as a text.
pub(super) fn value_text(worth: u128) -> String {
    exact(worth, VALUE_PLACES, 2)
}

/// What the owner's file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rates {
    days: BTreeMap<Date, Rate>,
}

impl Rates {
    /// Reads a table with the columns date, currency, rate and source, in any order; others are left alone. A day may stand there
    /// twice with the same rate.
    pub fn from_csv(text: &str) -> Result<Self, RatesError> {
        if text.len() > MAX_RATES_BYTES {
            return Err(RatesError::TooLong { length: text.len() });
        }
        let mut lines = csv::read(text);
        let Some((_, Ok(head))) = lines.next() else { return Err(RatesError::Columns) };
        let column = |name: &str| head.iter().position(|field| field.trim().eq_ignore_ascii_case(name));
        let (Some(date), Some(currency), Some(rate), Some(source)) =
            (column("date"), column("currency"), column("rate"), column("source"))
        else {
            return Err(RatesError::Columns);
        };
        let mut rates = Self::default();
        for (line, fields) in lines {
            let fields = fields.map_err(|csv::LineFault::Quotes| RatesError::Quotes { line })?;
            if fields.len() != head.len() {
                return Err(RatesError::Fields { line, found: fields.len(), expected: head.len() });
            }
            let field = |at: usize| fields.get(at).map_or("", |field| field.trim());
            let date: Date = field(date).parse().map_err(|_| RatesError::Date { line })?;
            let currency = field(currency);
            if !is_currency(currency) {
                return Err(RatesError::Currency { line });
            }
            let parts = parts(field(rate)).ok_or(RatesError::Rate { line })?;
            let source = field(source);
            if source.is_empty() || source.len() > MAX_SOURCE {
                return Err(RatesError::Source { line });
            }
            let rate = Rate { parts, currency: currency.to_ascii_uppercase(), source: source.to_owned() };
            if let Some((_, known)) = rates.days.first_key_value()
                && known.currency != rate.currency
            {
                return Err(RatesError::Mixed { line, one: known.currency.clone(), other: rate.currency });
            }
            if rates.days.get(&date).is_some_and(|known| known.parts != rate.parts) {
                return Err(RatesError::Twice { line, date });
            }
            rates.days.entry(date).or_insert(rate);
        }
        Ok(rates)
    }

    /// Takes a rate in, for a day that has none or the place of the one it has. The others stay as they are.
    pub fn set(&mut self, date: Date, rate: &str, currency: &str, source: &str) -> Result<(), RatesError> {
        let mut alone = Table::new(&COLUMNS);
        alone.figure(&date.to_string()).figure(currency).figure(rate).figure(source.trim()).end();
        // One line is checked as a file of one line is.
        let new = Self::from_csv(&alone.into_text())?;
        let Some((_, rate)) = new.days.into_iter().next() else { return Err(RatesError::Columns) };
        let others = self.days.iter().find(|(day, known)| **day != date && known.currency != rate.currency);
        if let Some((_, known)) = others {
            return Err(RatesError::Mixed { line: 2, one: known.currency.clone(), other: rate.currency });
        }
        self.days.insert(date, rate);
        Ok(())
    }

    /// The file that [`Rates::from_csv`] reads back.
    pub fn to_csv(&self) -> String {
        let mut table = Table::new(&COLUMNS);
        for (date, rate) in &self.days {
            // A source is written as it was read: nothing is put before it, or it would grow with every writing.
            table.figure(&date.to_string()).figure(&rate.currency).figure(&rate.to_text()).figure(&rate.source).end();
        }
        table.into_text()
    }

    /// The newest rate that is not of a day after this one.
    pub fn newest(&self, until: Date) -> Option<(Date, &Rate)> {
        self.days.range(..=until).next_back().map(|(date, rate)| (*date, rate))
    }

    /// What payouts were worth on their days, all together, rounded down; `None`: one of them has no rate, or no amount.
    pub fn worth_of(&self, payouts: &[Entry], places: usize) -> Option<String> {
        let worth = payouts.iter().try_fold(0_u128, |sum, payout| {
            let rate = self.on(Date::of_unix(payout.unix)).filter(|_| !payout.pays_nothing)?;
            sum.checked_add(rate.worth(payout.amount?))
        })?;
        Some(rounded(worth, VALUE_PLACES, places))
    }

    /// The rate of a day.
    pub fn on(&self, date: Date) -> Option<&Rate> {
        self.days.get(&date)
    }

    /// Their currency; empty if there are none.
    pub fn currency(&self) -> &str {
        self.days.first_key_value().map_or("", |(_, rate)| &rate.currency)
    }
}

/// Digits with at most one dot among them, in thousand-millionths; more than 0.
pub(super) fn parts(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && part.is_empty())
        || whole.len() > MAX_WHOLE
        || part.len() > PLACES
        || !digits(whole)
        || !digits(part)
    {
        return None;
    }
    format!("{whole}{part:0<PLACES$}").parse().ok().filter(|parts| *parts > 0)
}

/// Two to ten letters.
pub(super) fn is_currency(text: &str) -> bool {
    (2..=10).contains(&text.len()) && text.bytes().all(|letter| letter.is_ascii_alphabetic())
}

/// A number with so many places behind its dot, cut to fewer of them.
pub(super) fn rounded(number: u128, places: usize, kept: usize) -> String {
    let cut = places.saturating_sub(kept);
    let divisor = 10_u128.saturating_pow(u32::try_from(cut).unwrap_or(u32::MAX));
    exact(number / divisor.max(1), places - cut, kept)
}

/// A number with so many places behind its dot, without the zeros at its end beyond the least number of places.
pub(super) fn exact(number: u128, places: usize, least: usize) -> String {
    let digits = format!("{number:0>width$}", width = places + 1);
    let (whole, part) = digits.split_at(digits.len() - places);
    let kept = part.trim_end_matches('0').len().max(least.min(places));
    match part.get(..kept) {
        Some(part) if !part.is_empty() => format!("{whole}.{part}"),
        _ => whole.to_owned(),
    }
}
