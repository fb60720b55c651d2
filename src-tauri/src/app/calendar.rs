//! Days as the owner's clock counts them.

use chrono::{DateTime, Datelike as _, Days, Local, NaiveDate, NaiveTime, TimeZone as _};

/// The hour at which "until tomorrow" ends.
const MORNING: u32 = 8;

/// The next eight o'clock in the morning that is not of today, Unix milliseconds. `None`: the machine's calendar is out of its mind.
pub(crate) fn tomorrow_at_eight(unix_ms: i64) -> Option<i64> {
    let tomorrow = local(unix_ms)?.date_naive().checked_add_days(Days::new(1))?;
    at(tomorrow, NaiveTime::from_hms_opt(MORNING, 0, 0)?)
}

/// The beginning of this day.
pub(crate) fn midnight(unix_ms: i64) -> Option<i64> {
    at(local(unix_ms)?.date_naive(), NaiveTime::MIN)
}

/// The beginning of this month.
pub(crate) fn first_of_month(unix_ms: i64) -> Option<i64> {
    at(local(unix_ms)?.date_naive().with_day(1)?, NaiveTime::MIN)
}

/// By how much the owner's clock is ahead of UTC at that time; 0 where the machine's calendar is out of its mind.
pub(crate) fn ahead_of_utc_ms(unix_ms: i64) -> i64 {
    local(unix_ms).map_or(0, |at| i64::from(at.offset().local_minus_utc()) * 1_000)
}

fn local(unix_ms: i64) -> Option<DateTime<Local>> {
    Local.timestamp_millis_opt(unix_ms).single()
}

/// The earliest moment that the clock shows this; if it never does, because it was set forward, an hour later.
fn at(date: NaiveDate, time: NaiveTime) -> Option<i64> {
    let wanted = date.and_time(time);
    let later = wanted.checked_add_signed(chrono::TimeDelta::hours(1))?;
    let moment = Local.from_local_datetime(&wanted).earliest().or_else(|| Local.from_local_datetime(&later).earliest());
    Some(moment?.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn days_and_months_begin_before_now_and_tomorrow_comes_after() {
        for now in (0..400).map(|day| 1_795_000_000_000 + day * 17 * HOUR) {
            let (midnight, month) = (midnight(now).unwrap(), first_of_month(now).unwrap());
            assert!(month <= midnight && midnight <= now && now - midnight <= 25 * HOUR);
            assert!(now - month <= 32 * 24 * HOUR);
            let tomorrow = tomorrow_at_eight(now).unwrap();
            assert!(tomorrow > now + 7 * HOUR && tomorrow <= now + 33 * HOUR);
        }
    }
}
