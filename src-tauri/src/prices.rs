//! What the owner says a coin is worth and electricity costs: two tables in the data folder, which the page and `chrysalis price` write and
//! whoever likes a spreadsheet better may write too. Nobody else is asked.

use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use node::earnings::statement::{Date, MAX_PRICES_BYTES, MAX_RATES_BYTES, Prices, Rates};

use crate::practice::own_folder;
use crate::provider::unix_ms;

const RATES: &str = "rates.csv";
const PRICES: &str = "electricity.csv";

#[derive(Args)]
pub(crate) struct PriceWords {
    #[command(subcommand)]
    pub(crate) command: PriceCommand,
}

#[derive(Subcommand)]
pub(crate) enum PriceCommand {
    /// Say what a kilowatt-hour costs you from a day on
    Electricity {
        /// Digits with at most one dot, such as 0.31
        price: String,
        /// Two to ten letters, such as EUR
        #[arg(long, value_name = "LETTERS")]
        currency: String,
        /// The first day it holds, as 2026-01-01, in UTC [default: today]
        #[arg(long, value_name = "DATE")]
        from: Option<Date>,
        /// Folder of the ledger [default: chrysalis/practice in your data folder]
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
    },
    /// Say what a TON was worth on a day, and who says so
    Ton {
        /// Digits with at most one dot, such as 1.41
        rate: String,
        /// Two to ten letters, such as EUR
        #[arg(long, value_name = "LETTERS")]
        currency: String,
        /// Where the rate is from; it stands beside every number that is made with it
        #[arg(long, value_name = "NAME")]
        source: String,
        /// The day, as 2026-01-01, in UTC [default: today]
        #[arg(long, value_name = "DATE")]
        on: Option<Date>,
        /// Folder of the ledger [default: chrysalis/practice in your data folder]
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
    },
    /// Print what you have said
    Show {
        /// Folder of the ledger [default: chrysalis/practice in your data folder]
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
    },
}

/// `chrysalis price`.
pub(crate) fn run(words: &PriceWords) -> Result<()> {
    let folder = |data: &Option<PathBuf>| data.clone().map_or_else(own_folder, Ok);
    match &words.command {
        PriceCommand::Electricity { price, currency, from, data } => {
            let (folder, from) = (folder(data)?, from.unwrap_or_else(today));
            set_price(&folder, from, price, currency)?;
            say(&format!(
                "A kilowatt-hour costs {price} {currency} from {from} on, in {}",
                folder.join(PRICES).display()
            ))
        }
        PriceCommand::Ton { rate, currency, source, on, data } => {
            let (folder, on) = (folder(data)?, on.unwrap_or_else(today));
            set_rate(&folder, on, rate, currency, source)?;
            say(&format!("A TON was worth {rate} {currency} on {on} ({source}), in {}", folder.join(RATES).display()))
        }
        PriceCommand::Show { data } => {
            let folder = folder(data)?;
            let text = format!("{}\n{}", read_rates(&folder)?.to_csv(), read_prices(&folder)?.to_csv());
            say(text.trim_end())
        }
    }
}

fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Today, in UTC.
pub(crate) fn today() -> Date {
    Date::of_unix(unix_ms().div_euclid(1_000))
}

/// The owner's rates; none if nothing was ever said.
pub(crate) fn read_rates(folder: &Path) -> Result<Rates> {
    let path = folder.join(RATES);
    let failed = || format!("the rates in {} can't be read", path.display());
    match read(&path, MAX_RATES_BYTES).with_context(failed)? {
        Some(text) => Rates::from_csv(&text).with_context(failed),
        None => Ok(Rates::default()),
    }
}

/// The owner's prices of electricity; none if nothing was ever said.
pub(crate) fn read_prices(folder: &Path) -> Result<Prices> {
    let path = folder.join(PRICES);
    let failed = || format!("the prices in {} can't be read", path.display());
    match read(&path, MAX_PRICES_BYTES).with_context(failed)? {
        Some(text) => Prices::from_csv(&text).with_context(failed),
        None => Ok(Prices::default()),
    }
}

/// Writes down what a coin was worth on a day.
pub(crate) fn set_rate(folder: &Path, on: Date, rate: &str, currency: &str, source: &str) -> Result<()> {
    let mut rates = read_rates(folder)?;
    rates.set(on, rate.trim(), currency.trim(), source)?;
    write(&folder.join(RATES), &rates.to_csv())
}

/// Writes down what a kilowatt-hour costs from a day on.
pub(crate) fn set_price(folder: &Path, from: Date, price: &str, currency: &str) -> Result<()> {
    let mut prices = read_prices(folder)?;
    prices.set(from, price, currency)?;
    write(&folder.join(PRICES), &prices.to_csv())
}

/// A file's text, of which no more is read than such a file may have, and one byte, which says that it is too long.
fn read(path: &Path, most: usize) -> Result<Option<String>> {
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut text = String::new();
    file.take(most as u64 + 1).read_to_string(&mut text)?;
    Ok(Some(text))
}

/// Whole or not at all.
fn write(path: &Path, text: &str) -> Result<()> {
    let failed = || format!("writing {}", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(failed)?;
    }
    let draft = path.with_extension("csv.new");
    let mut file = std::fs::File::create(&draft).with_context(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(failed)?;
    std::fs::rename(&draft, path).with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_owner_said_is_kept_and_a_file_that_is_none_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let day: Date = "2026-11-27".parse().unwrap();
        assert_eq!((read_rates(folder).unwrap(), read_prices(folder).unwrap()), Default::default());
        set_rate(folder, day, " 1.41 ", "eur", "A bank").unwrap();
        set_price(folder, day, "0.31", "EUR").unwrap();
        assert_eq!(read_rates(folder).unwrap().on(day).unwrap().to_text(), "1.41");
        assert_eq!(read_prices(folder).unwrap().on(day).unwrap().to_text(), "0.31");
        assert!(set_rate(folder, day, "-1", "EUR", "A").is_err() && set_price(folder, day, "", "EUR").is_err());
        assert_eq!(read_rates(folder).unwrap().on(day).unwrap().to_text(), "1.41");
        std::fs::write(folder.join(RATES), "nonsense").unwrap();
        assert!(set_rate(folder, day, "1.5", "EUR", "A").is_err());
        assert_eq!(std::fs::read_to_string(folder.join(RATES)).unwrap(), "nonsense");
    }
}
