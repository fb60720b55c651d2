//! What the chain's endpoint can be asked to do wrong, for tests of those who must bear it. Without being asked it does none of it.

use std::str::FromStr;

use serde_json::Value;
use thiserror::Error;

/// Longest pause that can be asked for, in milliseconds.
const LONGEST_MS: u64 = 600_000;

/// One way of doing wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// The request is not looked at and the connection ends.
    Drop,
    /// The request is looked at after so many milliseconds.
    Delay(u64),
    /// The request is carried out, the answer comes after so many milliseconds.
    LateAnswer(u64),
    /// The request is carried out, the connection ends without an answer.
    LostAnswer,
    /// The request is carried out twice, and a list is given twice over.
    Duplicate,
    /// Accounts are shown with so many nanotons more than they have.
    LieAboutBalance(u64),
    /// Accounts are shown as they are, at a time so many seconds ahead.
    LieAboutTime(u64),
    /// Accounts are shown with a last transaction whose logical time is so much later.
    LieAboutLt(u64),
    /// The request is answered as if it were carried out, and is not.
    Swallow,
    /// Everything is shown as it was when the first of these faults was asked for.
    Behind,
    /// The request is answered with "too many requests, come back in so many seconds".
    Busy(u64),
    /// The answer is not JSON.
    Garbage,
}

/// A way of doing wrong, for which requests, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub wrong: Wrong,
    /// For which method; all, if none is named.
    pub method: Option<String>,
    /// How many times; for ever, if no number is named.
    pub times: Option<u32>,
}

/// Why a text names no fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{0} is not KIND[=NUMBER][:METHOD[:TIMES]] with KIND one of drop, delay, late_answer, lost_answer, duplicate, lie_balance, lie_time, lie_lt, swallow, behind, busy, garbage"
)]
pub struct FaultError(String);

impl FromStr for Fault {
    type Err = FaultError;

    /// `KIND[=NUMBER][:METHOD[:TIMES]]`, as in `delay=500:sendBoc:2`. The method `*` means all.
    fn from_str(text: &str) -> Result<Self, FaultError> {
        let wrong = || FaultError(text.chars().take(60).collect());
        let mut parts = text.split(':');
        let kind = parts.next().unwrap_or_default();
        let (kind, number) = match kind.split_once('=') {
            Some((kind, number)) => (kind, Some(number.parse::<u64>().map_err(|_| wrong())?)),
            None => (kind, None),
        };
        let ms = number.unwrap_or(1000).min(LONGEST_MS);
        let kind = match kind {
            "drop" => Wrong::Drop,
            "delay" => Wrong::Delay(ms),
            "late_answer" => Wrong::LateAnswer(ms),
            "lost_answer" => Wrong::LostAnswer,
            "duplicate" => Wrong::Duplicate,
            "lie_balance" => Wrong::LieAboutBalance(number.unwrap_or(1_000_000_000)),
            "lie_time" => Wrong::LieAboutTime(number.unwrap_or(1_000_000)),
            "lie_lt" => Wrong::LieAboutLt(number.unwrap_or(1_000_000_000_000)),
            "swallow" => Wrong::Swallow,
            "behind" => Wrong::Behind,
            "busy" => Wrong::Busy(number.unwrap_or(1)),
            "garbage" => Wrong::Garbage,
            _ => return Err(wrong()),
        };
        let method = parts.next().filter(|method| *method != "*" && !method.is_empty()).map(str::to_owned);
        let times = parts.next().map(str::parse).transpose().map_err(|_| wrong())?;
        match parts.next() {
            None => Ok(Self { wrong: kind, method, times }),
            Some(_) => Err(wrong()),
        }
    }
}

/// The faults that are asked for, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// These.
    pub fn new(faults: Vec<Fault>) -> Self {
        Self(faults)
    }

    /// Those of a list of texts.
    pub fn from_json(value: &Value) -> Result<Self, FaultError> {
        let texts = value.as_array().ok_or_else(|| FaultError("faults".to_owned()))?;
        let read = |text: &Value| text.as_str().ok_or_else(|| FaultError("a fault".to_owned()))?.parse();
        texts.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Whether any of them shows the past.
    pub fn look_back(&self) -> bool {
        self.0.iter().any(|fault| fault.wrong == Wrong::Behind)
    }

    /// What to do wrong with a request for this method. Counts it.
    pub fn take(&mut self, method: &str) -> Option<Wrong> {
        let fits =
            |fault: &Fault| fault.times != Some(0) && fault.method.as_deref().is_none_or(|wanted| wanted == method);
        let fault = self.0.iter_mut().find(|fault| fits(fault))?;
        if let Some(times) = &mut fault.times {
            *times -= 1;
        }
        Some(fault.wrong)
    }
}

/// Makes the time at which an account was looked at later than it was.
pub(super) fn lie_about_time(answer: &mut Value, more: u64) {
    if let Some(time) = answer.get_mut("sync_utime")
        && let Some(told) = time.as_u64()
    {
        *time = Value::from(told.saturating_add(more));
    }
}

/// Makes an account's last transaction later than it was.
pub(super) fn lie_about_lt(answer: &mut Value, more: u64) {
    if let Some(lt) = answer.pointer_mut("/last_transaction_id/lt")
        && let Some(told) = lt.as_str().and_then(|text| text.parse::<u64>().ok())
    {
        *lt = Value::String(told.saturating_add(more).to_string());
    }
}

/// Makes an account's money look more than it is.
pub(super) fn lie(answer: &mut Value, more: u64) {
    let told = |text: &str| text.parse::<u64>().ok().map(|balance| balance.saturating_add(more).to_string());
    if let Some(lied) = answer.as_str().and_then(told) {
        *answer = Value::String(lied);
    } else if let Some(balance) = answer.get_mut("balance")
        && let Some(lied) = balance.as_str().and_then(told)
    {
        *balance = Value::String(lied);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_and_counted() {
        let mut faults = Faults::new(vec!["delay=5:sendBoc:2".parse().unwrap(), "lie_balance=7".parse().unwrap()]);
        assert_eq!(faults.take("sendBoc"), Some(Wrong::Delay(5)));
        assert_eq!(faults.take("getAddressBalance"), Some(Wrong::LieAboutBalance(7)));
        assert_eq!(faults.take("sendBoc"), Some(Wrong::Delay(5)));
        assert_eq!(faults.take("sendBoc"), Some(Wrong::LieAboutBalance(7)), "twice is twice");
    }

    #[test]
    fn what_names_no_fault_is_refused() {
        for text in ["", "explode", "delay=x", "drop:sendBoc:x", "drop:sendBoc:1:1", "drop:a:-1"] {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
    }
}
