//! Days of the Gregorian calendar, in UTC.

use std::fmt;
use std::str::FromStr;

const DAY: i64 = 86_400;

/// A day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    /// As people count them.
    pub year: i64,
    /// From 1.
    pub month: u32,
    /// From 1.
    pub day: u32,
}

/// Why a text is no day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a day is written as 2026-11-27, and must be one of the calendar between 1970 and 9999")]
pub struct DateError;

impl Date {
    /// The day of a moment, Unix time in seconds.
    pub fn of_unix(unix: i64) -> Self {
        civil(unix.div_euclid(DAY))
    }

    /// When it begins, Unix time in seconds.
    pub fn begins_unix(self) -> i64 {
        days(self).saturating_mul(DAY)
    }

    /// When the day after it begins.
    pub fn ends_unix(self) -> i64 {
        self.begins_unix().saturating_add(DAY)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl FromStr for Date {
    type Err = DateError;

    fn from_str(text: &str) -> Result<Self, DateError> {
        let bytes = text.as_bytes();
        let is_form = bytes.len() == 10
            && bytes.iter().enumerate().all(|(at, byte)| match at {
                4 | 7 => *byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        let mut parts = text.split('-').map(str::parse::<u32>);
        let (true, Some(Ok(year)), Some(Ok(month)), Some(Ok(day))) =
            (is_form, parts.next(), parts.next(), parts.next())
        else {
            return Err(DateError);
        };
        let date = Self { year: year.into(), month, day };
        // What is no day of the calendar becomes another one on the way there and back.
        if year >= 1_970 && (1..=12).contains(&month) && (1..=31).contains(&day) && civil(days(date)) == date {
            Ok(date)
        } else {
            Err(DateError)
        }
    }
}

/// A month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    /// As people count them.
    pub year: i64,
    /// From 1.
    pub month: u32,
}

/// Why a text is no month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a month is written as 2026-11, and must be one between 1970 and 9999")]
pub struct MonthError;

impl Month {
    /// The month of a moment, Unix time in seconds.
    pub fn of_unix(unix: i64) -> Self {
        let Date { year, month, .. } = Date::of_unix(unix);
        Self { year, month }
    }

    /// When it begins, Unix time in seconds.
    pub fn begins_unix(self) -> i64 {
        Date { year: self.year, month: self.month, day: 1 }.begins_unix()
    }

    /// When the month after it begins.
    pub fn ends_unix(self) -> i64 {
        let next = match self.month {
            12 => Self { year: self.year.saturating_add(1), month: 1 },
            month => Self { month: month.saturating_add(1), ..self },
        };
        next.begins_unix()
    }

    /// Its English name with its year.
    pub fn name(self) -> String {
        let names = [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ];
        let name = names.get((self.month as usize).saturating_sub(1)).copied().unwrap_or("Month");
        format!("{name} {}", self.year)
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl FromStr for Month {
    type Err = MonthError;

    fn from_str(text: &str) -> Result<Self, MonthError> {
        if text.len() != 7 || !text.is_ascii() {
            return Err(MonthError);
        }
        let Date { year, month, .. } = format!("{text}-01").parse().map_err(|DateError| MonthError)?;
        Ok(Self { year, month })
    }
}

/// `2026-11-27T10:05:09Z` (RFC 3339).
pub fn instant(unix: i64) -> String {
    let (hours, minutes, seconds) = clock(unix);
    format!("{}T{hours:02}:{minutes:02}:{seconds:02}Z", Date::of_unix(unix))
}

/// `2026-11-27 10:05 UTC`.
pub fn minute(unix: i64) -> String {
    let (hours, minutes, _) = clock(unix);
    format!("{} {hours:02}:{minutes:02} UTC", Date::of_unix(unix))
}

fn clock(unix: i64) -> (i64, i64, i64) {
    let seconds = unix.rem_euclid(DAY);
    (seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// Days of four centuries, after which the calendar repeats.
const ERA: i64 = 146_097;
/// Days from the first of March of the year 0 to 1970.
const EPOCH: i64 = 719_468;

/// Years are counted from March, so that the day that is left out now and then is a year's last.
fn days(date: Date) -> i64 {
    let year = if date.month > 2 { date.year } else { date.year - 1 };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month = i64::from((date.month + 9) % 12);
    let of_year = (153 * month + 2) / 5 + i64::from(date.day) - 1;
    era * ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year - EPOCH
}

fn civil(days: i64) -> Date {
    let days = days.saturating_add(EPOCH);
    let (era, of_era) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    Date { year, month: month as u32, day: day as u32 }
}
