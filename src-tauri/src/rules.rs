//! What the owner has decided about the wallet, in a file beside it. A file that can't be read is no reason to forget a limit silently:
//! it is set aside and said.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use accounting::{Errand, Outcome, Stage, Transfer};
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use ton::{Address, Nanoton};
use wallet::{DailyLimit, LimitDecision};

use crate::named_file;

const NAME: &str = "wallet-rules.json";
/// Longest file that is read, in bytes.
const MOST: u64 = 64 << 10;
/// Transfers that are looked through for what left within a day.
pub(crate) const MOST_OF_A_DAY: usize = 2_000;
const DAY_MS: i64 = 86_400_000;

/// See the module. Everything unknown is as if it was never set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Rules {
    /// The owner has shown to have the words of the wallet of this address, in its raw form.
    pub(crate) written_down: Option<String>,
    /// When the reminder of that was dismissed last, Unix seconds.
    pub(crate) dismissed_at: Option<u64>,
    /// Lock after so many seconds without use.
    pub(crate) locks_after_s: Option<u64>,
    /// How much may leave within 24 hours.
    pub(crate) daily_limit: Option<Nanoton>,
    /// From how much on it is fetched by itself; `None`: only when asked.
    pub(crate) threshold: Option<Nanoton>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            written_down: None,
            dismissed_at: None,
            locks_after_s: None,
            daily_limit: None,
            threshold: Some(accounting::practice::PRACTICE_THRESHOLD),
        }
    }
}

impl Rules {
    /// Whether the owner has shown to have the words of this wallet.
    pub(crate) fn has_words_of(&self, address: &Address) -> bool {
        self.written_down.as_deref() == Some(address.to_string().as_str())
    }

    /// Those of this folder, the usual ones if there are none. A file that can't be read is an error, and stays: a limit may be in it.
    pub(crate) fn of(data: &Path) -> Result<Self> {
        let path = data.join(NAME);
        let read = || -> Result<Option<Self>> {
            match named_file::text(&path, MOST) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                text => Ok(Some(serde_json::from_str(&text?)?)),
            }
        };
        let failed =
            || format!("the wallet's rules in {} can't be read; put them right, or move the file away", path.display());
        Ok(read().with_context(failed)?.unwrap_or_default())
    }

    /// Those of this folder, or the usual ones; a file that can't be read is set aside, and the log says so.
    pub(crate) fn read(data: &Path) -> Self {
        let path = data.join(NAME);
        match Self::of(data) {
            Ok(rules) => rules,
            Err(error) => {
                let aside = path.with_extension("json.aside");
                let moved = std::fs::rename(&path, &aside);
                tracing::error!(%error, moved = moved.is_ok(), aside = %aside.display(), "the wallet's rules can't be read: the usual ones count");
                Self::default()
            }
        }
    }

    /// Writes them down, whole or not at all.
    pub(crate) fn write(&self, data: &Path) -> Result<()> {
        let path: PathBuf = data.join(NAME);
        let draft = path.with_extension("json.new");
        let mut file = std::fs::File::create(&draft).with_context(|| format!("writing {}", draft.display()))?;
        file.write_all(serde_json::to_string_pretty(self)?.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&draft, &path).with_context(|| format!("writing {}", path.display()))
    }
}

/// Sendings of the last day among these transfers: when, Unix seconds, and how much. What goes to the owner's own payout address is none.
pub(crate) fn sent_within_a_day(rows: &[Transfer], now_unix_ms: i64) -> Vec<(u64, Nanoton)> {
    let since = now_unix_ms.saturating_sub(DAY_MS);
    let left = |row: &Transfer| match &row.stage {
        Stage::Ended(Outcome::Expired | Outcome::Overtaken | Outcome::NotBegun { .. }) => false,
        Stage::Planned | Stage::Signed(_) | Stage::Ended(_) => row.errand == Errand::Send && !row.outgoing.everything,
    };
    rows.iter()
        .filter(|row| row.planned_unix_ms >= since && left(row))
        .map(|row| (u64::try_from(row.planned_unix_ms / 1_000).unwrap_or_default(), row.outgoing.value))
        .collect()
}

/// What may still leave today. What was sent comes the newest first.
pub(crate) fn left_of(limit: Nanoton, sent: &[(u64, Nanoton)], now: u64) -> Nanoton {
    let mut rule = DailyLimit::new(limit);
    for (at, amount) in sent {
        rule.record(*amount, *at);
    }
    match rule.decide(Nanoton(0), now) {
        LimitDecision::Within { left } | LimitDecision::Above { left } => left,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_left_within_a_day_counts_against_the_limit() {
        let sent = [(90_000, Nanoton(5)), (100, Nanoton(30))];
        assert_eq!(left_of(Nanoton(50), &sent, 100_000), Nanoton(45));
        assert_eq!(left_of(Nanoton(50), &sent, 86_000), Nanoton(15));
        assert_eq!(left_of(Nanoton(4), &sent, 100_000), Nanoton(0));
    }

    #[test]
    fn rules_are_read_as_they_were_written_and_nonsense_is_kept_aside() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Rules::read(folder.path()), Rules::default());
        let rules = Rules { daily_limit: Some(Nanoton(u64::MAX)), threshold: None, ..Rules::default() };
        rules.write(folder.path()).unwrap();
        assert_eq!(Rules::read(folder.path()), rules);
        let long = vec![b' '; 70_000];
        for nonsense in [&b"{"[..], b"[1]", b"{\"daily_limit\": -1}", b"{\"other\": 1}", b"\xff", &long] {
            std::fs::write(folder.path().join(NAME), nonsense).unwrap();
            assert!(Rules::of(folder.path()).unwrap_err().to_string().contains(NAME));
            assert!(folder.path().join(NAME).exists(), "only whoever says so sets it aside");
            assert_eq!(Rules::read(folder.path()), Rules::default());
            assert!(folder.path().join("wallet-rules.json.aside").exists());
            assert!(!folder.path().join(NAME).exists());
        }
    }
}
