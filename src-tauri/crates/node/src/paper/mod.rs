//! A month on paper: a statement that people read and keep, as PDF. A record, not tax advice.
//!
//! [`pdf`] is a pure function of what it is given: the same data and the same time make the same bytes. `layout` says what stands where
//! and begins new pages, `letters` which letters the typeface has and how wide they are, and only `page` knows the format.
//!
//! Every number says of which kind it is. What is not known is said to be so, and is never a zero.

mod layout;
mod letters;
mod page;

#[cfg(test)]
mod tests;

use accounting::statement::{
    Date, EnergyDay, Entry, EntryKind, METHOD, Month, PRACTICE_NOTE, PRACTICE_UNIT, Prices, Rate, Rates, coins,
    coins_sum, minute,
};
use ton::{Address, AddressText, Nanoton, UNIT};

use layout::{Cell, Column, Sheet};
use letters::Face;

/// The sentence that stands on every page.
pub const NO_ADVICE: &str = "This is a record, not tax advice.";

/// A month in one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The network's root contract.
    pub network: Address,
    /// Whether its money is worth nothing: practice and tests.
    pub pays_nothing: bool,
    /// Worth of jobs that ended in the month, as this machine counted.
    pub counted: Nanoton,
    /// By how much signed running totals rose in it.
    pub signed: Nanoton,
    /// Payouts and fees of it, in any order.
    pub entries: Vec<Entry>,
    /// What the card drew in it. Empty: it was not measured.
    pub drawn: Vec<EnergyDay>,
}

/// What is to be written.
#[derive(Debug, Clone, Copy)]
pub struct Statement<'a> {
    /// Which month, in UTC.
    pub month: Month,
    /// When it is written, Unix time in seconds.
    pub written_unix: i64,
    /// Each network that was served.
    pub parts: &'a [Part],
    /// What coins were worth, as the owner says.
    pub rates: &'a Rates,
    /// What electricity costs, as the owner says.
    pub prices: &'a Prices,
}

/// Places of an amount in a currency that people read.
const CURRENCY_PLACES: usize = 2;

/// The document.
pub fn pdf(statement: &Statement<'_>) -> Vec<u8> {
    let title = format!("Statement of {}", statement.month.name());
    let mut sheet = Sheet::new();
    sheet.line(Face::Bold, 17.0, &title);
    sheet.space(4.0);
    let written = format!(
        "Written by Chrysalis at {}. Days and months are those of UTC, which is the chain's.",
        minute(statement.written_unix)
    );
    sheet.prose(Face::Plain, 9.0, &written);
    sheet.prose(Face::Bold, 9.0, NO_ADVICE);
    sheet.prose(
        Face::Plain,
        9.0,
        "Kinds of numbers. paid: a transaction on the chain. signed: a proxy has signed that it owes it. measured: counted or \
         measured by this PC. estimate: computed with a rate or a price that the owner has named.",
    );
    if statement.parts.is_empty() {
        sheet.space(12.0);
        sheet.prose(Face::Plain, 10.0, "No network was served.");
    }
    for part in statement.parts {
        of_network(&mut sheet, statement, part);
    }
    if !sheet.has_every_letter() {
        sheet.space(10.0);
        sheet.prose(
            Face::Plain,
            8.0,
            "A question mark may stand for a letter that this document's typeface does not have; copied text and the tables (CSV) have it.",
        );
    }
    page::write(&title, statement.written_unix, &sheet.into_pages())
}

fn friendly(address: &Address) -> String {
    AddressText { address: *address, bounceable: true, testnet: false }.to_text()
}

fn of_network(sheet: &mut Sheet, statement: &Statement<'_>, part: &Part) {
    let mut entries: Vec<&Entry> = part.entries.iter().collect();
    entries.sort_by_key(|entry| (entry.unix, entry.lt, entry.kind, entry.hash));
    let unit = if part.pays_nothing { PRACTICE_UNIT } else { UNIT };
    sheet.space(14.0);
    sheet.keep(120.0);
    sheet.line(Face::Bold, 12.0, "Network");
    sheet.line(Face::Fixed, 8.0, &friendly(&part.network));
    if part.pays_nothing {
        sheet.prose(Face::Plain, 9.0, &format!("This is {PRACTICE_NOTE}. It is no income and has no rate."));
    }
    sheet.space(6.0);
    sums(sheet, statement, part, &entries, unit);
    sheet.space(12.0);
    sheet.keep(60.0);
    sheet.line(Face::Bold, 11.0, "Payouts and fees");
    if entries.is_empty() {
        sheet.prose(Face::Plain, 9.0, "No payout came in this month.");
    } else {
        transactions(sheet, statement.rates, &entries, unit);
    }
    sheet.space(12.0);
    sheet.keep(60.0);
    sheet.line(Face::Bold, 11.0, "Electricity");
    if part.drawn.is_empty() {
        sheet.prose(Face::Plain, 9.0, "It was not measured in this month.");
    } else {
        electricity(sheet, statement.prices, &part.drawn);
    }
}

/// A rate is for real coins only.
fn rate_of<'a>(rates: &'a Rates, entry: &Entry) -> Option<&'a Rate> {
    if entry.pays_nothing { None } else { rates.on(Date::of_unix(entry.unix)) }
}

/// What the entries of a month come to.
#[derive(Default)]
struct Sums {
    payouts: usize,
    income: u128,
    fees: u128,
    unknown_fees: usize,
    unrated: usize,
}

fn sums(sheet: &mut Sheet, statement: &Statement<'_>, part: &Part, entries: &[&Entry], unit: &str) {
    let mut sums = Sums::default();
    for entry in entries {
        match (entry.kind, entry.amount) {
            (EntryKind::Payout, amount) => {
                sums.payouts += 1;
                sums.income = sums.income.saturating_add(u128::from(amount.unwrap_or_default().0));
                if rate_of(statement.rates, entry).is_none() {
                    sums.unrated += 1;
                }
            }
            (EntryKind::Fee, Some(fee)) => sums.fees = sums.fees.saturating_add(u128::from(fee.0)),
            (EntryKind::Fee, None) => sums.unknown_fees += 1,
        }
    }
    let columns = [
        Column::left("", "", 50.0, 210.0),
        Column::right("", "", 220.0, 210.0),
        Column::left("", "", 436.0, 52.0),
        Column::left("", "", 490.0, 55.0),
    ];
    let mut row = |label: String, amount: String, unit: &str, kind: &str| {
        sheet.row(&columns, &[Cell::plain(label), Cell::plain(amount), Cell::plain(unit), Cell::plain(kind)]);
    };
    row(format!("Payouts ({})", sums.payouts), coins_sum(sums.income), unit, "paid");
    if sums.payouts > 0 && !part.pays_nothing {
        let payouts: Vec<Entry> =
            entries.iter().filter(|entry| entry.kind == EntryKind::Payout).map(|entry| (*entry).clone()).collect();
        match statement.rates.worth_of(&payouts, CURRENCY_PLACES) {
            Some(worth) => row("Worth of the payouts".to_owned(), worth, statement.rates.currency(), "estimate"),
            None => row(
                format!("Worth of the payouts ({} of them without a rate)", sums.unrated),
                "not known".to_owned(),
                "",
                "",
            ),
        }
    }
    let missing = match sums.unknown_fees {
        0 => String::new(),
        unknown => format!(" ({unknown} more not known)"),
    };
    row(format!("Fees of payouts and attempts{missing}"), coins_sum(sums.fees), unit, "paid");
    let less = match sums.income.checked_sub(sums.fees) {
        Some(left) => coins_sum(left),
        None => format!("-{}", coins_sum(sums.fees.saturating_sub(sums.income))),
    };
    let known = if sums.unknown_fees > 0 { ", as far as fees are known" } else { "" };
    row(format!("Payouts less fees{known}"), less, unit, "paid");
    row("Done in this month, as this PC counted".to_owned(), coins(part.counted), unit, "measured");
    row("Signed by proxies in this month".to_owned(), coins(part.signed), unit, "signed");
    let total = part.drawn.iter().map(|day| day.energy).reduce(accounting::statement::Energy::plus);
    match total {
        Some(energy) => row("Electricity of the card".to_owned(), energy.kwh(), "kWh", "measured"),
        None => row("Electricity of the card".to_owned(), "not measured".to_owned(), "", ""),
    }
    match (total, statement.prices.cost(&part.drawn)) {
        (Some(_), Some(cost)) => {
            let currency = part.drawn.first().and_then(|day| statement.prices.on(day.date));
            let currency = currency.map_or("", |price| price.currency.as_str());
            row("Cost of that electricity".to_owned(), cost.about(CURRENCY_PLACES), currency, "estimate");
        }
        (Some(_), None) => {
            row("Cost of that electricity (days without a price)".to_owned(), "not known".to_owned(), "", "");
        }
        (None, _) => {}
    }
}

fn transactions(sheet: &mut Sheet, rates: &Rates, entries: &[&Entry], unit: &str) {
    let worth = match rates.currency() {
        "" => "Worth".to_owned(),
        currency => format!("Worth, {currency}"),
    };
    let amount = format!("Amount, {unit}");
    let columns = [
        Column::left("Time, UTC", "", 50.0, 84.0),
        Column::left("What", "", 136.0, 44.0),
        Column::right(&amount, "paid", 182.0, 108.0),
        Column::right(&worth, "estimate", 296.0, 108.0),
        Column::left("Rate and its source", "", 412.0, 133.0),
    ];
    sheet.begin_table(&columns);
    for entry in entries {
        let rate = rate_of(rates, entry);
        let what = match entry.kind {
            EntryKind::Payout => "payout",
            EntryKind::Fee => "fee",
        };
        let time = minute(entry.unix);
        let worth = rate.zip(entry.amount).map(|(rate, amount)| rate.about(amount, CURRENCY_PLACES));
        let source = rate.map_or_else(
            || if entry.pays_nothing { "worth nothing".to_owned() } else { "no rate is known".to_owned() },
            |rate| format!("{} by {}", rate.to_text(), rate.source),
        );
        let cells = [
            Cell::plain(time.trim_end_matches(" UTC")),
            Cell::plain(what),
            Cell::plain(entry.amount.map_or_else(|| "not known".to_owned(), coins)),
            Cell::plain(worth.unwrap_or_default()),
            Cell::plain(source),
        ];
        let mut notes = Vec::new();
        if let Some(hash) = entry.hash {
            let name = if entry.kind == EntryKind::Payout { "transaction" } else { "message" };
            notes.push(format!("{name} {}", hex::encode(hash)));
        }
        if let Some(from) = &entry.from {
            notes.push(format!("from {}", friendly(from)));
        }
        sheet.row_with_notes(&columns, &cells, &notes);
    }
    sheet.end_table();
}

fn electricity(sheet: &mut Sheet, prices: &Prices, drawn: &[EnergyDay]) {
    let columns = [
        Column::left("Day, UTC", "", 50.0, 80.0),
        Column::right("kWh", "measured", 132.0, 110.0),
        Column::right("Hours measured", "measured", 250.0, 80.0),
        Column::right("Price of a kWh", "", 338.0, 100.0),
        Column::right("Cost", "estimate", 440.0, 105.0),
    ];
    sheet.prose(Face::Plain, 9.0, &format!("Method: {METHOD}. Hours that were not measured are not in it."));
    sheet.begin_table(&columns);
    for day in drawn {
        let price = prices.on(day.date);
        let cells = [
            Cell::plain(day.date.to_string()),
            Cell::plain(day.energy.kwh()),
            Cell::plain(day.energy.hours()),
            Cell::plain(
                price.map_or_else(|| "not known".to_owned(), |price| format!("{} {}", price.to_text(), price.currency)),
            ),
            Cell::plain(
                price.map_or_else(String::new, |price| {
                    format!("{} {}", price.cost(day.energy).about(4), price.currency)
                }),
            ),
        ];
        sheet.row(&columns, &cells);
    }
    sheet.end_table();
}
