//! Evidence that proxies ask for, and how we stand with them. What evidence is made of, this does not know.
//!
//! A TPM that signs for whoever asks wears out its secrets: some give their key away after a thousand signatures. So a proxy gets one for
//! a session and now and then another, never one for each question, whatever it asks.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Duration;

use evidence::Grade;
use link::message::LogLevel;
use link::proof::Standing;
use link::{LaneId, ToWorker};

use super::{Effect, Out};

/// Registrars that are told in one line.
const SHOWN_REGISTRARS: usize = 3;
/// Signatures that a proxy gets at once.
const BURST: u32 = 3;
/// A proxy gets another one after this long.
const REFILL: Duration = Duration::from_mins(5);

/// How we stand with a proxy, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownStanding {
    /// Does it give us jobs?
    pub accepted: bool,
    /// What it found our evidence to prove; `None`: a grade that is not known here.
    pub grade: Option<Grade>,
    /// Why it does not, in its own words, one line; empty if it does.
    pub reason: String,
    /// The grades it accepts, as far as they are known here.
    pub grades: Vec<Grade>,
    /// Does it ask for Secure Boot?
    pub secure_boot: bool,
    /// Registrars it believes: `host:port`, which may be empty, and key.
    pub registrars: Vec<(String, [u8; 32])>,
}

impl ShownStanding {
    /// What it wants to be shown and where one becomes known, as it says itself.
    pub(super) fn wants(&self) -> String {
        let grades: Vec<&str> = self.grades.iter().map(|grade| grade.name()).collect();
        let grades = if grades.is_empty() { "no grade that is known here".to_owned() } else { grades.join(" or ") };
        let boot = if self.secure_boot { ", with Secure Boot" } else { "" };
        let known = |grade: &Grade| matches!(grade, Grade::KnownMachine | Grade::KnownMachineUncertified);
        if !self.grades.iter().any(known) {
            return format!("It accepts {grades}{boot}");
        }
        let places: Vec<String> = self
            .registrars
            .iter()
            .take(SHOWN_REGISTRARS)
            .map(|(endpoint, key)| {
                let place = if evidence::is_place(endpoint) { endpoint } else { "PLACE (ask its operator)" };
                format!("--registrar {place} --registrar-key {}", hex::encode(key))
            })
            .collect();
        if places.is_empty() {
            return format!("It accepts {grades}{boot}, and names no registrar; ask its operator");
        }
        format!(
            "It accepts {grades}{boot}; `chrysalis identity enrol` with {} makes this computer known there",
            places.join(" or ")
        )
    }
}

impl From<Standing> for ShownStanding {
    fn from(said: Standing) -> Self {
        Self {
            accepted: said.accepted,
            grade: Grade::from_number(said.grade),
            // The worker may be anybody's.
            reason: said.reason.chars().filter(|c| !c.is_control()).take(300).collect(),
            grades: said.grades.into_iter().take(Grade::ALL.len()).filter_map(Grade::from_number).collect(),
            secure_boot: said.secure_boot,
            registrars: said
                .registrars
                .into_iter()
                .take(16)
                .map(|(at, key)| (at.chars().take(300).collect(), key))
                .collect(),
        }
    }
}

/// How many signatures a proxy may still have.
struct Budget {
    left: u32,
    counted_at: Duration,
}

/// See the module.
#[derive(Default)]
pub(super) struct Proof {
    budgets: BTreeMap<SocketAddrV4, Budget>,
    refused: u64,
}

impl Proof {
    /// Questions for evidence that went beyond a proxy's share.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// A proxy asks. `proxy`: where it is and its payment key, if it is one that works with us now.
    pub(super) fn asked(
        &mut self,
        proxy: Option<(SocketAddrV4, [u8; 32])>,
        (lane, ask): (LaneId, u64),
        tls_key: [u8; 32],
        nonce: [u8; 32],
        out: &mut Out<'_>,
    ) {
        match proxy {
            Some((endpoint, audience)) if self.spend(endpoint, out.now.mono) => {
                out.log(LogLevel::Info, format!("the proxy {endpoint} asks for evidence"));
                out.push(Effect::Attest { lane, ask, audience, tls_key, nonce });
            }
            Some((endpoint, _)) => {
                self.refused = self.refused.saturating_add(1);
                out.log(LogLevel::Warn, format!("the proxy {endpoint} asks for evidence too often: it gets none"));
                out.send(ToWorker::Evidence { lane, ask, bytes: None });
            }
            None => out.send(ToWorker::Evidence { lane, ask, bytes: None }),
        }
    }

    fn spend(&mut self, endpoint: SocketAddrV4, now: Duration) -> bool {
        let budget = self.budgets.entry(endpoint).or_insert(Budget { left: BURST, counted_at: now });
        while budget.left < BURST && now.saturating_sub(budget.counted_at) >= REFILL {
            budget.left += 1;
            budget.counted_at = budget.counted_at.saturating_add(REFILL);
        }
        if budget.left == BURST {
            budget.counted_at = now;
        }
        let enough = budget.left > 0;
        budget.left = budget.left.saturating_sub(1);
        enough
    }
}
