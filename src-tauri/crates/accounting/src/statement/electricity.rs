//! Electricity: what cards drew, and what it costs at the price the owner names. An hour that nobody measured is no hour of nothing, and
//! a day for which no price is known has no cost.

use std::collections::BTreeMap;

use super::csv::{self, Table};
use super::date::Date;
use super::rates::{PLACES, Rate, exact, is_currency, parts, rounded};
use ton::Nanoton;

/// Longest file of prices that is read, in bytes.
pub const MAX_PRICES_BYTES: usize = 1 << 20;
/// How it is measured, as a sheet for taxes names it.
pub const METHOD: &str = "measured by the graphics card's driver, card only";
/// Millijoules of a milliwatt-hour.
const MILLIJOULES: u64 = 3_600;
/// Places of what a thousandth of a watt-hour costs: six to a kilowatt-hour, and the price's nine.
const COST_PLACES: usize = 6 + PLACES;
const COLUMNS: [&str; 3] = ["from", "currency", "price_per_kwh"];

/// What was drawn in some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Energy {
    /// Millijoules.
    pub millijoules: u64,
    /// For how long it was measured, milliseconds.
    pub measured_ms: u64,
}

impl Energy {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            millijoules: self.millijoules.saturating_add(other.millijoules),
            measured_ms: self.measured_ms.saturating_add(other.measured_ms),
        }
    }

    /// Thousandths of a watt-hour, rounded down.
    pub fn milliwatt_hours(self) -> u64 {
        self.millijoules / MILLIJOULES
    }

    /// Kilowatt-hours with six places.
    pub fn kwh(self) -> String {
        exact(u128::from(self.milliwatt_hours()), 6, 6)
    }

    /// Hours for which it was measured, with two places.
    pub fn hours(self) -> String {
        rounded(u128::from(self.measured_ms).saturating_mul(1_000) / 3_600, 6, 2)
    }
}

/// What was drawn on a day of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnergyDay {
    /// Which.
    pub date: Date,
    /// How much.
    pub energy: Energy,
    /// Whether it was drawn for money that is worth nothing.
    pub pays_nothing: bool,
}

/// Why a file of prices can't be used. Lines are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PricesError {
    /// Longer than any such file.
    #[error("{length} bytes are more than a file of prices may have ({MAX_PRICES_BYTES})")]
    TooLong {
        /// Its bytes.
        length: usize,
    },
    /// The names of the columns are missing or others.
    #[error("the first line must name the columns from, currency and price_per_kwh, separated by commas")]
    Columns,
    /// A line is none.
    #[error("line {line} is no line of three fields")]
    Fields {
        /// Which.
        line: usize,
    },
    /// No day.
    #[error("line {line}: the day must be written as 2026-11-27")]
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
    /// No price.
    #[error(
        "line {line}: the price must be digits with at most one dot among them, at most nine on either side, and more than 0"
    )]
    Price {
        /// Which.
        line: usize,
    },
    /// Several currencies.
    #[error("the prices are in {one}, and one in {other}; keep one of them")]
    Mixed {
        /// The first.
        one: String,
        /// The other.
        other: String,
    },
}

/// What a kilowatt-hour costs from a day on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// In thousand-millionths of the currency; never 0.
    parts: u64,
    /// Its letters.
    pub currency: String,
}

impl Price {
    /// The price, without zeros that say nothing.
    pub fn to_text(&self) -> String {
        exact(u128::from(self.parts), PLACES, 0)
    }

    /// What this much costs.
    pub fn cost(&self, energy: Energy) -> Cost {
        // Both are below 2^64.
        Cost(u128::from(energy.milliwatt_hours()).saturating_mul(u128::from(self.parts)))
    }
}

/// What electricity costs, exactly, in parts of which 10^15 make one of the currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cost(u128);

impl Cost {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// In every digit, with at least two places.
    pub fn to_text(self) -> String {
        exact(self.0, COST_PLACES, 2)
    }

    /// With so many places, rounded down: for people to read.
    pub fn about(self, places: usize) -> String {
        rounded(self.0, COST_PLACES, places)
    }

    /// In thousand-millionths of the currency, rounded down.
    pub fn billionths(self) -> u128 {
        self.0 / 1_000_000
    }

    /// How much of the coin that is at a rate of the same currency; `None`: more than there can be.
    pub fn in_coins(self, rate: &Rate) -> Option<Nanoton> {
        rate.coins_of(self.0, COST_PLACES as u32)
    }
}

/// Prices of a kilowatt-hour, as the owner says. Before the first of them none is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prices {
    from: BTreeMap<Date, Price>,
}

impl Prices {
    /// Reads a table with the columns from, currency and price_per_kwh, in any order; others are left alone. Of two prices for one day
    /// the later one counts.
    pub fn from_csv(text: &str) -> Result<Self, PricesError> {
        if text.len() > MAX_PRICES_BYTES {
            return Err(PricesError::TooLong { length: text.len() });
        }
        let mut lines = csv::read(text);
        let Some((_, Ok(head))) = lines.next() else { return Err(PricesError::Columns) };
        let column = |name: &str| head.iter().position(|field| field.trim().eq_ignore_ascii_case(name));
        let [Some(from), Some(currency), Some(price)] = COLUMNS.map(column) else { return Err(PricesError::Columns) };
        let mut prices = Self::default();
        for (line, fields) in lines {
            let fields = fields.ok().filter(|fields| fields.len() == head.len()).ok_or(PricesError::Fields { line })?;
            let field = |at: usize| fields.get(at).map_or("", |field| field.trim());
            let date: Date = field(from).parse().map_err(|_| PricesError::Date { line })?;
            prices.put(date, field(price), field(currency), line)?;
        }
        Ok(prices)
    }

    /// Says what a kilowatt-hour costs from a day on, until the next day that has a price of its own.
    pub fn set(&mut self, from: Date, price: &str, currency: &str) -> Result<(), PricesError> {
        self.put(from, price.trim(), currency.trim(), 2)
    }

    fn put(&mut self, from: Date, price: &str, currency: &str, line: usize) -> Result<(), PricesError> {
        if !is_currency(currency) {
            return Err(PricesError::Currency { line });
        }
        let parts = parts(price).ok_or(PricesError::Price { line })?;
        let price = Price { parts, currency: currency.to_ascii_uppercase() };
        if let Some((_, known)) =
            self.from.iter().find(|(date, known)| **date != from && known.currency != price.currency)
        {
            return Err(PricesError::Mixed { one: known.currency.clone(), other: price.currency });
        }
        self.from.insert(from, price);
        Ok(())
    }

    /// The file that [`Prices::from_csv`] reads back.
    pub fn to_csv(&self) -> String {
        let mut table = Table::new(&COLUMNS);
        for (from, price) in &self.from {
            table.figure(&from.to_string()).figure(&price.currency).figure(&price.to_text()).end();
        }
        table.into_text()
    }

    /// The price of a day.
    pub fn on(&self, date: Date) -> Option<&Price> {
        self.newest(date).map(|(_, price)| price)
    }

    /// The price of a day, with the day it holds from.
    pub fn newest(&self, date: Date) -> Option<(Date, &Price)> {
        self.from.range(..=date).next_back().map(|(from, price)| (*from, price))
    }

    /// The cost of days; `None`: there are none, or one of them has no price.
    pub fn cost(&self, days: &[EnergyDay]) -> Option<Cost> {
        if days.is_empty() {
            return None;
        }
        days.iter().try_fold(Cost::default(), |sum, day| Some(sum.plus(self.on(day.date)?.cost(day.energy))))
    }
}

/// The sheet of electricity: a line for each day that was measured. Days without a price have no cost.
pub fn write_electricity(days: &[EnergyDay], prices: &Prices) -> String {
    let mut sorted = days.to_vec();
    sorted.sort_by_key(|day| (day.date, day.pays_nothing));
    let mut table =
        Table::new(&["date", "kwh", "price_per_kwh", "cost", "currency", "method", "hours_measured", "note"]);
    for day in sorted {
        let price = prices.on(day.date);
        table
            .figure(&day.date.to_string())
            .figure(&day.energy.kwh())
            .figure(&price.map_or_else(String::new, Price::to_text))
            .figure(&price.map_or_else(String::new, |price| price.cost(day.energy).to_text()))
            .figure(price.map_or("", |price| &price.currency))
            .text(METHOD)
            .figure(&day.energy.hours())
            .text(if day.pays_nothing { "practice, which earns nothing" } else { "" })
            .end();
    }
    table.into_text()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(date: &str, millijoules: u64) -> EnergyDay {
        let energy = Energy { millijoules, measured_ms: 5_400_000 };
        EnergyDay { date: date.parse().unwrap(), energy, pays_nothing: false }
    }

    #[test]
    fn a_price_holds_from_its_day_on_and_no_day_before_has_one() {
        let mut prices = Prices::from_csv("from,currency,price_per_kwh\n2026-11-10,eur,0.31\n").unwrap();
        prices.set("2026-12-01".parse().unwrap(), "0.29", "EUR").unwrap();
        let on = |date: &str| prices.on(date.parse().unwrap()).map(Price::to_text);
        assert_eq!(
            [on("2026-11-09"), on("2026-11-10"), on("2026-11-30"), on("2027-01-01")],
            [None, Some("0.31".to_owned()), Some("0.31".to_owned()), Some("0.29".to_owned())]
        );
        assert_eq!(Prices::from_csv(&prices.to_csv()), Ok(prices.clone()));
        assert_eq!(prices.cost(&[]), None, "nothing measured is no cost of nothing");
        assert_eq!(prices.cost(&[day("2026-11-09", 1), day("2026-11-10", 1)]), None);
        let cost = prices.cost(&[day("2026-11-10", 3_600_000_000), day("2026-12-01", 1_800_000_000)]);
        assert_eq!(cost.map(Cost::to_text).as_deref(), Some("0.455"));
    }

    #[test]
    fn the_sheet_has_days_energy_price_cost_and_how_it_was_measured() {
        let mut prices = Prices::default();
        prices.set("2026-11-27".parse().unwrap(), "0.31", "EUR").unwrap();
        let practice = EnergyDay { pays_nothing: true, ..day("2026-11-28", 0) };
        let text =
            write_electricity(&[practice, day("2026-11-27", 1_234_567_890), day("2026-11-26", 3_600_000_000)], &prices);
        assert_eq!(
            text,
            "date,kwh,price_per_kwh,cost,currency,method,hours_measured,note\r\n\
             2026-11-26,1.000000,,,,\"measured by the graphics card's driver, card only\",1.50,\r\n\
             2026-11-27,0.342935,0.31,0.10630985,EUR,\"measured by the graphics card's driver, card only\",1.50,\r\n\
             2026-11-28,0.000000,0.31,0.00,EUR,\"measured by the graphics card's driver, card only\",1.50,\"practice, which earns nothing\"\r\n"
        );
    }

    #[test]
    fn what_is_no_price_is_named_by_its_line() {
        let line = |line: &str| Prices::from_csv(&format!("from,currency,price_per_kwh\n{line}\n")).unwrap_err();
        assert_eq!(line("27.11.2026,EUR,1"), PricesError::Date { line: 2 });
        assert_eq!(line("2026-11-27,=1,1"), PricesError::Currency { line: 2 });
        for price in ["0", "-1", "1e3", "", "1.0000000001"] {
            assert_eq!(line(&format!("2026-11-27,EUR,{price}")), PricesError::Price { line: 2 }, "{price}");
        }
        assert_eq!(line("2026-11-27,EUR"), PricesError::Fields { line: 2 });
        assert_eq!(line("2026-11-27,EUR,\"1"), PricesError::Fields { line: 2 });
        assert!(matches!(line("2026-11-27,EUR,1\n2026-11-28,USD,1"), PricesError::Mixed { .. }));
        assert_eq!(Prices::from_csv("date,rate\n"), Err(PricesError::Columns));
        assert!(matches!(Prices::from_csv(&"x".repeat(MAX_PRICES_BYTES + 1)), Err(PricesError::TooLong { .. })));
        // The only price may change its currency.
        let mut prices = Prices::default();
        prices.set("2026-11-27".parse().unwrap(), "0.31", "EUR").unwrap();
        prices.set("2026-11-27".parse().unwrap(), "0.31", "USD").unwrap();
        assert!(prices.set("2026-11-28".parse().unwrap(), "0.31", "EUR").is_err());
    }

    proptest! {
        #[test]
        fn a_cost_in_coins_and_back_is_never_more(millijoules in any::<u64>(), price in 1_u64..10_000_000_000, rate in 1_u64..1_000_000_000_000) {
            let price = Price { parts: price, currency: "EUR".to_owned() };
            let cost = price.cost(Energy { millijoules, measured_ms: 1 });
            let rate = Rate { parts: rate, currency: "EUR".to_owned(), source: "A".to_owned() };
            if let Some(coins) = cost.in_coins(&rate) {
                prop_assert!(rate.worth(coins) <= cost.0 * 1_000);
                prop_assert!(rate.worth(Nanoton(coins.0.saturating_add(1))) > cost.0 * 1_000 || coins.0 == u64::MAX);
            }
        }

        #[test]
        fn no_file_of_prices_brings_the_reader_down(text in ".{0,200}") {
            let _ = Prices::from_csv(&text);
            let _ = Prices::from_csv(&format!("from,currency,price_per_kwh\n{text}"));
        }
    }
}
