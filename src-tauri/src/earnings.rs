//! `chrysalis earnings` and `chrysalis export`: what was earned, read from the ledger while the app may be at work.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use node::earnings::statement::{self, Date, Entry, EntryKind, Form, MAX_RATES_BYTES, Month, Rates};
use node::earnings::{Earnings, KnownNetwork, Pipeline, stages};
use node::paper::{self, Statement};
use serde_json::{Value, json};
use ton::{Address, AddressText};

use crate::named_file;
use crate::practice::own_folder;
use crate::prices;
use crate::provider::unix_ms;
use crate::report::counted;

#[derive(Args)]
pub(crate) struct EarningsArguments {
    /// Folder of the ledger [default: chrysalis/practice in your data folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Print one JSON object: integers of nanotons, null where something is not known
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct ExportArguments {
    /// Folder of the ledger [default: chrysalis/practice in your data folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// csv: a line for each payout and each fee; koinly: the same in the columns of Koinly's universal import; months: a line for each
    /// month; electricity: a line for each day on which the card's power was measured; pdf: a statement of one month to read
    #[arg(long, value_enum)]
    pub(crate) format: FormatWord,
    /// Rates of your own, a CSV file with the columns date (2026-11-27), currency, rate, source; a day that is not in it stays blank
    /// [default: those of `chrysalis price ton`]
    #[arg(long, value_name = "FILE")]
    pub(crate) rates: Option<PathBuf>,
    /// A month, in UTC, as 2026-11
    #[arg(long, value_name = "MONTH", conflicts_with_all = ["from", "to"], required_if_eq("format", "pdf"))]
    pub(crate) month: Option<Month>,
    /// First day, in UTC, as 2026-01-01
    #[arg(long, value_name = "DATE")]
    pub(crate) from: Option<Date>,
    /// Last day, in UTC
    #[arg(long, value_name = "DATE")]
    pub(crate) to: Option<Date>,
    /// Write to this file, which must not be there yet, instead of standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Write money of practice and test networks too, marked as worth nothing; without this it is left out
    #[arg(long)]
    pub(crate) practice: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatWord {
    Csv,
    Koinly,
    Months,
    Electricity,
    Pdf,
}

/// `chrysalis earnings`.
pub(crate) fn earnings(arguments: &EarningsArguments) -> Result<()> {
    let (path, earnings) = open(arguments.data.as_deref())?;
    let mut networks = Vec::new();
    for network in earnings.networks()? {
        let pipeline = earnings.pipeline(&network.root_contract, &BTreeMap::new(), None)?;
        networks.push((network, pipeline));
    }
    let text = if arguments.json { format!("{}\n", json_of(&path, &networks)) } else { words_of(&path, &networks) };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// `chrysalis export`.
pub(crate) fn export(arguments: &ExportArguments) -> Result<()> {
    let (path, earnings) = open(arguments.data.as_deref())?;
    if let (Some(from), Some(to)) = (arguments.from, arguments.to) {
        anyhow::ensure!(from <= to, "--from {from} is after --to {to}");
    }
    let month = arguments.month;
    let from = month.map(Month::begins_unix).or(arguments.from.map(Date::begins_unix)).unwrap_or(i64::MIN);
    let to = month.map(Month::ends_unix).or(arguments.to.map(Date::ends_unix)).unwrap_or(i64::MAX);
    let folder = path.parent().unwrap_or(Path::new("."));
    let rates = match &arguments.rates {
        Some(path) => read_rates(path)?,
        None => prices::read_rates(folder)?,
    };
    let (wanted, left_out): (Vec<_>, Vec<_>) =
        earnings.networks()?.into_iter().partition(|network| arguments.practice || !network.pays_nothing);
    let left_out = has_any(&earnings, &left_out, from, to)?;
    let nothing = |what: &str| -> Result<()> {
        let why = if left_out {
            "there is only practice money, which is worth nothing and no income; --practice writes it, marked"
        } else {
            what
        };
        bail!("{}: {why}", path.display())
    };
    let (text, mut said) = match (arguments.format, month) {
        (FormatWord::Pdf, Some(month)) => {
            if wanted.is_empty() {
                return nothing("no network was served yet");
            }
            let parts = wanted.iter().map(|network| earnings.month(network, month)).collect::<Result<Vec<_>, _>>()?;
            let prices = prices::read_prices(folder)?;
            let written_unix = unix_ms().div_euclid(1_000);
            let statement = Statement { month, written_unix, parts: &parts, rates: &rates, prices: &prices };
            (paper::pdf(&statement), format!("Statement of {}.", month.name()))
        }
        (FormatWord::Pdf, None) => bail!("a statement is of one month; name it with --month 2026-11"),
        (FormatWord::Electricity, _) => {
            let mut days = Vec::new();
            for network in &wanted {
                days.extend(earnings.energy_days(network, from, to)?);
            }
            if days.is_empty() {
                return nothing("no card's power was measured in that time");
            }
            let table = statement::write_electricity(&days, &prices::read_prices(folder)?);
            (table.into_bytes(), format!("{} days of electricity.", days.len()))
        }
        (word @ (FormatWord::Csv | FormatWord::Koinly | FormatWord::Months), _) => {
            let form = match word {
                FormatWord::Koinly => Form::Koinly,
                FormatWord::Months => Form::Months,
                _ => Form::Lines,
            };
            let mut entries = Vec::new();
            for network in &wanted {
                entries.extend(earnings.entries(network, from, to)?);
            }
            if entries.is_empty() {
                return nothing("no payout was made in that time");
            }
            let table = statement::write(&entries, &rates, form);
            (table.into_bytes(), said_of(&entries, form))
        }
    };
    if let Some(out) = &arguments.out {
        let failed = || format!("{} can't be written; it must not be there yet", out.display());
        let mut file = std::fs::File::options().write(true).create_new(true).open(out).with_context(failed)?;
        file.write_all(&text).and_then(|()| file.sync_all()).with_context(failed)?;
    } else {
        let mut out = std::io::stdout().lock();
        if arguments.format == FormatWord::Pdf && out.is_terminal() {
            bail!("a PDF is no text for a terminal; name a file with --out");
        }
        out.write_all(&text)?;
        out.flush()?;
    }
    let _ = write!(said, " {}", paper::NO_ADVICE);
    if left_out {
        let _ = write!(said, " Practice money was left out.");
    }
    writeln!(std::io::stderr(), "{said}")?;
    Ok(())
}

/// Whether these networks have a payout, a fee or a reading in that time.
fn has_any(earnings: &Earnings, networks: &[KnownNetwork], from: i64, to: i64) -> Result<bool> {
    for network in networks {
        if !earnings.entries(network, from, to)?.is_empty() || !earnings.energy_days(network, from, to)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What was written, and what was not.
fn said_of(entries: &[Entry], form: Form) -> String {
    let (written, left): (Vec<&Entry>, Vec<&Entry>) =
        entries.iter().partition(|entry| statement::is_written(entry, form));
    let payouts = written.iter().filter(|entry| entry.kind == EntryKind::Payout).count();
    let many = |number: usize, what: &str| counted(number as u64, what);
    let mut said = format!("{} and {}.", many(payouts, "payout"), many(written.len() - payouts, "fee"));
    if !left.is_empty() {
        let _ = write!(said, " {} more whose amounts are not known were left out.", left.len());
    }
    said
}

fn open(data: Option<&Path>) -> Result<(PathBuf, Earnings)> {
    let folder = match data {
        Some(folder) => folder.to_owned(),
        None => own_folder()?,
    };
    let path = folder.join("ledger.sqlite");
    if !path.is_file() {
        bail!("there is no ledger at {}; name the app's folder with --data", path.display());
    }
    let earnings = Earnings::open_for_reading(&path).with_context(|| path.display().to_string())?;
    Ok((path, earnings))
}

fn read_rates(path: &Path) -> Result<Rates> {
    let failed = || format!("the rates in {} can't be read", path.display());
    let text = named_file::text(path, MAX_RATES_BYTES as u64).with_context(failed)?;
    Rates::from_csv(&text).with_context(failed)
}

fn friendly(address: &Address) -> String {
    AddressText { address: *address, bounceable: true, testnet: false }.to_text()
}

fn json_of(path: &Path, networks: &[(KnownNetwork, Pipeline)]) -> Value {
    let networks: Vec<Value> = networks
        .iter()
        .map(|(network, pipeline)| {
            json!({
                "root_contract": friendly(&network.root_contract),
                "pays_nothing": network.pays_nothing,
                "counted_nanoton": pipeline.counted.0,
                "signed_nanoton": pipeline.signed.0,
                "on_the_way_nanoton": pipeline.on_the_way.0,
                "paid_nanoton": pipeline.paid.0,
                "payouts": pipeline.payouts,
                // A sum in which something is missing is not known.
                "fees_nanoton": (pipeline.unknown_fees == 0).then_some(pipeline.fees.0),
            })
        })
        .collect();
    json!({ "ledger": path, "networks": networks })
}

fn words_of(path: &Path, networks: &[(KnownNetwork, Pipeline)]) -> String {
    let mut text = format!("{}\n", path.display());
    if networks.is_empty() {
        text.push_str("No network was served yet.\n");
    }
    for (network, pipeline) in networks {
        let worthless = if network.pays_nothing { " (practice or test: worth nothing)" } else { "" };
        let _ = writeln!(text, "\nNetwork {}{worthless}", friendly(&network.root_contract));
        for (stage, amount) in stages(pipeline) {
            let (name, means) = stage.words();
            let amount = amount.to_string();
            let _ = writeln!(text, "  {name:<12}{amount:>28}   {means}");
        }
        let unknown = match pipeline.unknown_fees {
            0 => String::new(),
            missing => format!(", without those of {missing} that are not known"),
        };
        let _ = writeln!(text, "  {} cost {} in fees{unknown}", counted(pipeline.payouts, "payout"), pipeline.fees);
    }
    text
}

#[cfg(test)]
mod tests {
    use ton::Nanoton;

    use super::*;

    fn one(unknown_fees: u64) -> Vec<(KnownNetwork, Pipeline)> {
        let root_contract = Address { workchain: 0, hash: [1; 32] };
        let network = KnownNetwork { root_contract, pays_nothing: true, first_unix_ms: 0, last_unix_ms: 0 };
        let pipeline = Pipeline {
            counted: Nanoton(1),
            signed: Nanoton(2),
            paid: Nanoton(u64::MAX),
            payouts: 3,
            fees: Nanoton(5),
            unknown_fees,
            ..Pipeline::default()
        };
        vec![(network, pipeline)]
    }

    #[test]
    fn json_has_integers_and_null_where_something_is_missing() {
        let path = Path::new("/a/ledger.sqlite");
        let json = json_of(path, &one(0));
        let network = &json["networks"][0];
        assert_eq!(network["paid_nanoton"].as_u64(), Some(u64::MAX));
        assert_eq!((network["fees_nanoton"].as_u64(), network["on_the_way_nanoton"].as_u64()), (Some(5), Some(0)));
        assert!(json_of(path, &one(1))["networks"][0]["fees_nanoton"].is_null());
    }

    #[test]
    fn only_what_was_written_is_counted() {
        let entry = |kind, amount: Option<u64>| Entry {
            unix: 0,
            kind,
            amount: amount.map(Nanoton),
            hash: None,
            lt: None,
            from: None,
            to: None,
            network: Address { workchain: 0, hash: [1; 32] },
            pays_nothing: false,
        };
        let entries = [entry(EntryKind::Payout, Some(9)), entry(EntryKind::Fee, Some(1)), entry(EntryKind::Fee, None)];
        assert_eq!(said_of(&entries, Form::Lines), "1 payout and 2 fees.");
        let koinly = said_of(&entries, Form::Koinly);
        assert!(koinly.starts_with("1 payout and 1 fee. 1 more whose amounts are not known"), "{koinly}");
    }

    #[test]
    fn words_name_each_stage_its_meaning_and_money_that_is_worth_nothing() {
        let text = words_of(Path::new("/a/ledger.sqlite"), &one(2));
        for wanted in
            ["counted", "signed", "on the way", "paid", "worth nothing", "0.000000002 TON", "2 that are not known"]
        {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
        assert!(words_of(Path::new("/x"), &[]).contains("No network was served yet"));
    }
}
