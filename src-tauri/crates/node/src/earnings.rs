//! What was earned, for people: how far it has come, charts, lists of payouts, tables to take away. Read from the ledger on a
//! connection of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use accounting::statement::{Date, Energy, EnergyDay, Entry, EntryKind, Month};
use ledger::{Ledger, LedgerError, QUARTER_MS};
use ton::{Address, Nanoton};

use crate::paper::Part;
use crate::receipt::{Cashed, Claimed};

pub use accounting::statement;
pub use ledger::{Earned, KnownNetwork, PayoutCursor, PayoutEntry, PayoutPage, Pipeline};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Most days, or weeks, of a chart over all time that are a bar each.
const MOST_BARS: i64 = 92;
/// Most months.
const MOST_MONTHS: i64 = 400;
/// Payouts that are read at once.
const PAGE: u32 = 1_000;

/// How far an amount has come. Each token is in one of these, or in none if it was never earned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Done, as this machine counted, and no signature has covered it yet.
    Counted,
    /// A proxy has signed that it owes it. It is neither cashed, as far as ledger and chain say, nor in a transfer that is out.
    Signed,
    /// In a transfer for a payout that is out and has not ended.
    OnTheWay,
    /// Paid to the owner by a proxy's contract, in a transaction that the chain has.
    Paid,
}

impl Stage {
    /// Its name, and what is in it.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Counted => ("counted", "done, and not signed yet"),
            Self::Signed => ("signed", "a proxy owes it, and it was not fetched"),
            Self::OnTheWay => ("on the way", "being fetched"),
            Self::Paid => ("paid", "came to the owner's address"),
        }
    }
}

/// The amount of each stage, from the first to the last.
pub fn stages(pipeline: &Pipeline) -> [(Stage, Nanoton); 4] {
    [
        (Stage::Counted, pipeline.counted),
        (Stage::Signed, pipeline.signed),
        (Stage::OnTheWay, pipeline.on_the_way),
        (Stage::Paid, pipeline.paid),
    ]
}

/// Over which time a chart goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// The last 24 hours, a bar for each.
    Day,
    /// The last 7 days, a bar for each.
    Week,
    /// The last 30 days, a bar for each.
    Month,
    /// All that is known, a bar for each day, week or month, so that there are not too many.
    All,
}

/// How long a bar is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BarLength {
    /// An hour.
    Hour,
    /// A day of the owner's calendar.
    Day,
    /// Seven of them, the last one with today.
    Week,
    /// A month of the owner's calendar.
    Month,
}

/// One bar of a chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    /// When it begins, Unix time in milliseconds.
    pub from_unix_ms: i64,
    /// When the next one begins.
    pub until_unix_ms: i64,
    /// What was earned in it.
    pub earned: Earned,
    /// What was drawn in it, by days of UTC. Empty: it was not measured.
    pub drawn: Vec<EnergyDay>,
}

/// A chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chart {
    /// How long a bar is.
    pub length: BarLength,
    /// Its bars, the oldest first.
    pub bars: Vec<Bar>,
    /// All of them together.
    pub total: Earned,
}

/// Where the bars of a chart begin, and where the last one ends. `span` is from when to when something was earned; `offset` says how
/// many milliseconds the owner's clock is ahead of UTC at a time.
pub fn edges(
    range: Range,
    span: Option<(i64, i64)>,
    now_unix_ms: i64,
    offset: impl Fn(i64) -> i64,
) -> (BarLength, Vec<i64>) {
    let now = now_unix_ms;
    // No time zone is so far off, and no bar begins between two quarters.
    let offset = |at: i64| offset(at).clamp(-DAY_MS, DAY_MS);
    let moment = |local: i64| {
        let about = local.saturating_sub(offset(local));
        let exact = local.saturating_sub(offset(about));
        exact.div_euclid(QUARTER_MS).saturating_mul(QUARTER_MS)
    };
    let local = |at: i64| at.saturating_add(offset(at));
    let day = |at: i64| local(at).div_euclid(DAY_MS);
    let midnight = |day: i64| moment(day.saturating_mul(DAY_MS));
    let today = day(now);
    let days = |first: i64, last: i64, width: i64| -> Vec<i64> {
        let bars = last.saturating_sub(first).div_euclid(width).saturating_add(1);
        // The last bar is a whole one.
        let first = last.saturating_add(1).saturating_sub(bars.saturating_mul(width));
        (0..=bars).map(|bar| midnight(first.saturating_add(bar * width))).collect()
    };
    let (length, edges) = match range {
        Range::Day => {
            let hour = local(now).div_euclid(HOUR_MS).saturating_mul(HOUR_MS);
            let begin = moment(hour).saturating_sub(23 * HOUR_MS);
            (BarLength::Hour, (0..=24).map(|bar| begin.saturating_add(bar * HOUR_MS)).collect())
        }
        Range::Week => (BarLength::Day, days(today.saturating_sub(6), today, 1)),
        Range::Month => (BarLength::Day, days(today.saturating_sub(29), today, 1)),
        Range::All => {
            let (first, last) = match span {
                Some((first, end)) => (day(first).min(today), day(end.saturating_sub(1)).max(today)),
                None => (today, today),
            };
            match last.saturating_sub(first).saturating_add(1) {
                count if count <= MOST_BARS => (BarLength::Day, days(first, last, 1)),
                count if count <= 7 * MOST_BARS => (BarLength::Week, days(first, last, 7)),
                _ => (BarLength::Month, months(first, last).into_iter().map(midnight).collect()),
            }
        }
    };
    // A clock that is set so that a bar would have no length has it left out.
    let mut rising: Vec<i64> = Vec::with_capacity(edges.len());
    for edge in edges {
        if rising.last().is_none_or(|last| *last < edge) {
            rising.push(edge);
        }
    }
    (length, rising)
}

/// The days since 1970 with which months begin, from the month of the first day to the one after the last day's. Where there are too
/// many, the first bar has all that is before the others.
fn months(first: i64, last: i64) -> Vec<i64> {
    let month = |day: i64| {
        let Date { year, month, .. } = Date::of_unix(day.saturating_mul(DAY_MS / 1_000));
        year.saturating_mul(12).saturating_add(i64::from(month)).saturating_sub(1)
    };
    let begins = |month: i64| {
        let date = Date { year: month.div_euclid(12), month: month.rem_euclid(12) as u32 + 1, day: 1 };
        date.begins_unix().div_euclid(DAY_MS / 1_000)
    };
    let (begin, end) = (month(first), month(last).saturating_add(1));
    let kept = begin.max(end.saturating_sub(MOST_MONTHS));
    let mut edges: Vec<i64> = (kept..=end).map(begins).collect();
    if let Some(edge) = edges.first_mut() {
        *edge = (*edge).min(begins(begin));
    }
    edges
}

/// A reader of the ledger. Its calls wait for the disk.
pub struct Earnings {
    ledger: Mutex<Ledger>,
}

impl Earnings {
    /// Opens the file, which is made if it is not there. `now_unix_ms` is noted if that happens.
    pub fn open(path: &Path, now_unix_ms: i64) -> Result<Self, LedgerError> {
        Ok(Self { ledger: Mutex::new(Ledger::open(path, now_unix_ms)?) })
    }

    /// Opens a file that is there for reading alone, while an app may be writing to it, see [`Ledger::open_for_reading`].
    pub fn open_for_reading(path: &Path) -> Result<Self, LedgerError> {
        Ok(Self { ledger: Mutex::new(Ledger::open_for_reading(path)?) })
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every network that was served, the last one first.
    pub fn networks(&self) -> Result<Vec<KnownNetwork>, LedgerError> {
        self.ledger().networks()
    }

    /// How far what was earned has come, see [`Ledger::pipeline`].
    pub fn pipeline(
        &self,
        root_contract: &Address,
        chain: &BTreeMap<Address, u64>,
        since_unix: Option<u32>,
    ) -> Result<Pipeline, LedgerError> {
        self.ledger().pipeline(root_contract, chain, since_unix)
    }

    /// A chart of what was earned, see [`edges`].
    pub fn chart(
        &self,
        root_contract: &Address,
        range: Range,
        now_unix_ms: i64,
        offset: impl Fn(i64) -> i64,
    ) -> Result<Chart, LedgerError> {
        let ledger = self.ledger();
        let span = if range == Range::All { ledger.earned_span(root_contract)? } else { None };
        let (length, edges) = edges(range, span, now_unix_ms, offset);
        let mut total = Earned::default();
        let mut bars = Vec::with_capacity(edges.len());
        let drawn = ledger.energy(root_contract, &edges)?;
        let earned = ledger.earned(root_contract, &edges)?;
        for ((earned, drawn), pair) in earned.into_iter().zip(drawn).zip(edges.windows(2)) {
            let &[from_unix_ms, until_unix_ms] = pair else { continue };
            let add = |sum: Nanoton, one: Nanoton| {
                sum.checked_add(one).ok_or(LedgerError::OutOfRange { what: "a sum of money" })
            };
            total = Earned {
                answered: total.answered.saturating_add(earned.answered),
                counted: add(total.counted, earned.counted)?,
                signed: add(total.signed, earned.signed)?,
                paid: add(total.paid, earned.paid)?,
            };
            bars.push(Bar { from_unix_ms, until_unix_ms, earned, drawn: days(drawn, false) });
        }
        Ok(Chart { length, bars, total })
    }

    /// Adds what a card drew while a network was served, see [`Ledger::record_energy`].
    pub fn record_energy(&self, root_contract: &Address, unix_ms: i64, energy: Energy) -> Result<(), LedgerError> {
        self.ledger().record_energy(root_contract, unix_ms, energy)
    }

    /// What was drawn while a network was served, from one moment to the one before another, Unix time in seconds.
    pub fn energy_days(
        &self,
        network: &KnownNetwork,
        from_unix: i64,
        to_unix: i64,
    ) -> Result<Vec<EnergyDay>, LedgerError> {
        let edges = [from_unix.saturating_mul(1_000), to_unix.saturating_mul(1_000)];
        let drawn = self.ledger().energy(&network.root_contract, &edges)?;
        Ok(drawn.into_iter().flat_map(|drawn| days(drawn, network.pays_nothing)).collect())
    }

    /// A month in a network, for [`crate::paper::pdf`].
    pub fn month(&self, network: &KnownNetwork, month: Month) -> Result<Part, LedgerError> {
        let (from, to) = (month.begins_unix(), month.ends_unix());
        let edges = [from.saturating_mul(1_000), to.saturating_mul(1_000)];
        let earned = self.ledger().earned(&network.root_contract, &edges)?.into_iter().next().unwrap_or_default();
        Ok(Part {
            network: network.root_contract,
            pays_nothing: network.pays_nothing,
            counted: earned.counted,
            signed: earned.signed,
            entries: self.entries(network, from, to)?,
            drawn: self.energy_days(network, from, to)?,
        })
    }

    /// Payouts from the newest to the oldest, see [`Ledger::payouts`].
    pub fn payouts(
        &self,
        root_contract: &Address,
        before: Option<PayoutCursor>,
        limit: u32,
    ) -> Result<PayoutPage, LedgerError> {
        self.ledger().payouts(root_contract, before, limit)
    }

    /// What the ledger says of a payout, for [`crate::receipt::verify`]; `None`: it has no such payout.
    pub fn claimed(&self, root_contract: &Address, lt: u64, hash: &[u8; 32]) -> Result<Option<Claimed>, LedgerError> {
        let ledger = self.ledger();
        let Some(payout) = ledger.payout(root_contract, lt, hash)? else { return Ok(None) };
        let cashed = payout.transfer.map(|transfer| Cashed {
            worker_contract: transfer.worker_contract,
            from_tokens: transfer.from_tokens,
            to_tokens: transfer.to_tokens,
        });
        let (payment, counted) = match &cashed {
            Some(Cashed { worker_contract, to_tokens, .. }) => {
                (ledger.payment_of(worker_contract, *to_tokens)?, ledger.counted_until(worker_contract, *to_tokens)?)
            }
            None => (None, None),
        };
        Ok(Some(Claimed {
            receipt: payout.receipt,
            root_contract: *root_contract,
            cashed,
            counted,
            proxy_key: payment.as_ref().map(|entry| entry.payment.proxy_key),
            payment: payment.map(|entry| entry.payment.boc),
        }))
    }

    /// Payouts of a network and what they cost, from one moment to the one before another, Unix time in seconds, for
    /// [`statement::write`].
    pub fn entries(&self, network: &KnownNetwork, from_unix: i64, to_unix: i64) -> Result<Vec<Entry>, LedgerError> {
        let ledger = self.ledger();
        let (root, pays_nothing) = (network.root_contract, network.pays_nothing);
        let within = |unix: i64| (from_unix..to_unix).contains(&unix);
        let mut entries = Vec::new();
        let mut charged = BTreeSet::new();
        let mut before = None;
        loop {
            let page = ledger.payouts(&root, before, PAGE)?;
            for payout in page.payouts.iter().filter(|payout| within(payout.receipt.unix.into())) {
                let receipt = &payout.receipt;
                let entry = Entry {
                    unix: receipt.unix.into(),
                    kind: EntryKind::Payout,
                    amount: Some(receipt.value),
                    hash: Some(receipt.hash),
                    lt: Some(receipt.lt),
                    from: Some(receipt.from),
                    to: Some(receipt.to),
                    network: root,
                    pays_nothing,
                };
                // A transfer costs once, however many payouts it brought; one that was found on the chain costs nobody knows what.
                let fee = match &payout.transfer {
                    Some(transfer) => charged.insert(transfer.id).then_some(transfer.fees),
                    None => Some(None),
                };
                // Which of its transactions took the fee is not one answer, so none is named.
                if let Some(amount) = fee {
                    entries.push(Entry {
                        kind: EntryKind::Fee,
                        amount,
                        hash: None,
                        lt: None,
                        from: None,
                        to: None,
                        ..entry.clone()
                    });
                }
                entries.push(entry);
            }
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        for expense in ledger.expenses(&root)? {
            let unix = expense.planned_unix_ms.div_euclid(1_000);
            if expense.is_payout && within(unix) {
                entries.push(Entry {
                    unix,
                    kind: EntryKind::Fee,
                    amount: expense.fees,
                    hash: None,
                    lt: None,
                    from: None,
                    to: None,
                    network: root,
                    pays_nothing,
                });
            }
        }
        Ok(entries)
    }
}

fn days(drawn: BTreeMap<Date, Energy>, pays_nothing: bool) -> Vec<EnergyDay> {
    drawn.into_iter().map(|(date, energy)| EnergyDay { date, energy, pays_nothing }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-27 10:00 UTC.
    const NOW: i64 = 1_795_773_600_000;

    fn widths(edges: &[i64]) -> Vec<i64> {
        edges.windows(2).map(|pair| (pair[1] - pair[0]) / HOUR_MS).collect()
    }

    #[test]
    fn a_day_has_24_hours_and_a_week_7_days_that_begin_at_the_owners_midnight() {
        let berlin = |_| HOUR_MS;
        let (length, day) = edges(Range::Day, None, NOW + 5, berlin);
        assert_eq!((length, widths(&day), day.last()), (BarLength::Hour, vec![1; 24], Some(&(NOW + HOUR_MS))));
        let (length, week) = edges(Range::Week, None, NOW, berlin);
        assert_eq!((length, widths(&week)), (BarLength::Day, vec![24; 7]));
        assert!(week.iter().all(|edge| (edge + HOUR_MS) % DAY_MS == 0));
        assert!(week[6] <= NOW && NOW < week[7]);
        assert_eq!(widths(&edges(Range::Month, None, NOW, berlin).1), [24; 30]);
        // India is half an hour off, Nepal three quarters.
        for minutes in [330, 345, -570] {
            let offset = |_| minutes * 60_000;
            for edge in edges(Range::Week, None, NOW, offset).1 {
                assert_eq!((edge + minutes * 60_000) % DAY_MS, 0);
            }
            let (_, day) = edges(Range::Day, None, NOW, offset);
            assert!(day[23] <= NOW && NOW < day[24]);
        }
    }

    #[test]
    fn a_day_on_which_the_clock_is_set_has_23_or_25_hours() {
        let change = NOW - 3 * DAY_MS + 3 * HOUR_MS;
        for (before, after, odd) in [(2, 1, 25), (1, 2, 23)] {
            let offset = |at: i64| if at < change { before * HOUR_MS } else { after * HOUR_MS };
            let hours = widths(&edges(Range::Week, None, NOW, offset).1);
            assert_eq!(hours.iter().filter(|hours| **hours == odd).count(), 1, "{hours:?}");
            assert_eq!(hours.iter().filter(|hours| **hours == 24).count(), 6, "{hours:?}");
        }
    }

    #[test]
    fn all_time_is_days_weeks_or_months_and_covers_everything_even_if_the_clock_was_wrong() {
        let all = |span| edges(Range::All, span, NOW, |_| 0);
        assert_eq!(widths(&all(None).1), [24]);
        let (length, weeks) = all(Some((NOW - 200 * DAY_MS, NOW + 3 * DAY_MS)));
        assert_eq!((length, widths(&weeks)), (BarLength::Week, vec![7 * 24; 30]));
        assert!(weeks[0] <= NOW - 200 * DAY_MS && *weeks.last().unwrap() >= NOW + 3 * DAY_MS);
        let (length, months) = all(Some((NOW - 1_000 * DAY_MS, NOW)));
        assert_eq!((length, months.len()), (BarLength::Month, 34));
        assert!(widths(&months).iter().all(|hours| (28 * 24..=31 * 24).contains(hours)));
        let (_, wild) = all(Some((0, NOW)));
        assert!(wild.len() <= 401 && wild[0] == 0, "{}", wild.len());
    }

    proptest! {
        #[test]
        fn edges_rise_and_hold_now_and_the_whole_span(
            first in 0_i64..NOW, length in 1_i64..NOW, ahead in -56_i64..57, range in 0_u8..4
        ) {
            let range = [Range::Day, Range::Week, Range::Month, Range::All][usize::from(range)];
            let span = Some((first, first + length));
            let (_, edges) = edges(range, span, NOW, |_| ahead * QUARTER_MS);
            prop_assert!(edges.windows(2).all(|pair| pair[0] < pair[1]) && edges.len() >= 2 && edges.len() <= 401);
            prop_assert!(edges.iter().all(|edge| edge % QUARTER_MS == 0));
            prop_assert!(edges[0] <= NOW && NOW < *edges.last().unwrap());
            if range == Range::All {
                prop_assert!(edges[0] <= first && first + length <= *edges.last().unwrap());
            }
        }
    }
}
