//! The page Wallet, made of facts.

use accounting::{Errand, Outcome, Stage, Transfer};
use node::core::payouts::Shown;
use ton::{AddressText, Nanoton};
use wallet::{KeychainError, Protection, Public, VaultState};

use super::{Desk, Inner, forms, paid, seconds};
use crate::provider::unix_ms;
use crate::rules::{MOST_OF_A_DAY, left_of, sent_within_a_day};
use crate::view::{
    ChainKind, Flight, FlightErrand, FlightOutcome, FlightStage, KeyPlace, Keychain, KeychainTrouble, Kind, Landed,
    Money, Wallet, WalletState,
};

impl Desk {
    /// The page. Waits for the disk.
    pub(crate) fn wallet_page(&self) -> Wallet {
        tokio::task::block_in_place(|| self.refresh_vault());
        let shown = self.shown();
        let limited = self.inner().rules.daily_limit.is_some();
        let spent = if limited { tokio::task::block_in_place(|| self.sent_today()) } else { Vec::new() };
        let landed = tokio::task::block_in_place(|| self.landed());
        let own = self.own();
        let payee = tokio::task::block_in_place(|| self.payee(own));
        let payer = payee.fee_wallet.map(|address| tokio::task::block_in_place(|| self.fee_wallet(address)));
        let watched = payee.address.filter(|address| own != Some(*address));
        let elsewhere = watched.and_then(|address| self.on_the_address(address));
        let inner = self.inner();
        let now = seconds();
        let public = inner.vault.as_ref().and_then(public);
        let address = public.map(|public| public.address());
        let state = match state(&inner) {
            WalletState::None if watched.is_some() => WalletState::WatchOnly,
            state => state,
        };
        let written_down = address.map(|address| inner.rules.has_words_of(&address));
        let held = if watched.is_some() { elsewhere } else { inner.balance };
        let left = inner.rules.daily_limit.map(|limit| left_of(limit, &spent, now));
        let place = |protection| match protection {
            Protection::Keychain => KeyPlace::PracticeFile,
            Protection::KeychainAndPassword => KeyPlace::KeychainAndPassword,
            Protection::Password => KeyPlace::Password,
        };
        Wallet {
            at: unix_ms() as f64,
            chain: ChainKind::Practice,
            pays_nothing: true,
            explorer: None,
            keychain: Some(Keychain { name: "a file in the practice folder".to_owned(), trouble: None }),
            state,
            address: watched.or(address).as_ref().map(forms),
            balance: held.map(|(balance, _)| paid(balance)),
            balance_at: held.map(|(_, at)| at as f64),
            chain_fails: shown.as_ref().and_then(|shown| shown.chain_fails.clone()),
            reserve_nanoton: accounting::practice::PRACTICE_RESERVE.0.to_string(),
            key_place: public.map(|public| place(public.protection)),
            written_down,
            // Practice coins are worth nothing, so there is nothing to lose.
            remind: false,
            locks_after_s: inner.rules.locks_after_s.map(|after| after as f64),
            daily_limit_nanoton: inner.rules.daily_limit.map(|limit| limit.0.to_string()),
            limit_left_nanoton: left.map(|left| left.0.to_string()),
            payout: payee.target(own),
            payer,
            in_flight: shown.as_ref().and_then(|shown| shown.in_flight.as_ref()).and_then(flight),
            landed,
        }
    }

    /// What the cashier shows, while there is one.
    pub(super) fn shown(&self) -> Option<Shown> {
        self.inner().open.as_ref().map(|open| open.cashbox.shown().borrow().clone())
    }

    /// Looks at the wallet's file, unless nothing has changed since.
    pub(super) fn refresh_vault(&self) {
        if self.inner().vault.is_none() {
            match self.vault().state() {
                Ok(state) => self.inner().vault = Some(state),
                Err(error) => tracing::warn!(%error, "the wallet's file can't be looked at"),
            }
        }
    }

    /// Sendings of the last day: when, Unix seconds, and how much.
    pub(super) fn sent_today(&self) -> Vec<(u64, Nanoton)> {
        sent_within_a_day(&self.transfers(None, MOST_OF_A_DAY), unix_ms())
    }

    /// The transfer that the owner asked for last in this session, once it has ended; else the one that ended last.
    fn landed(&self) -> Option<Landed> {
        let (before, asked_for) = {
            let inner = self.inner();
            (inner.open.as_ref()?.before, inner.asked_for)
        };
        let told = |row: &Transfer| {
            let Stage::Ended(ended) = &row.stage else { return None };
            Some(Landed { id: row.id.0.to_string(), errand: errand(row), outcome: outcome(ended) })
        };
        let asked_for = asked_for.and_then(|id| self.history.transfer(id).ok()?).as_ref().and_then(told);
        asked_for.or_else(|| self.transfers(before, 2).iter().find_map(told))
    }
}

/// What a vault's file says to everybody.
pub(super) fn public(state: &VaultState) -> Option<Public> {
    match state {
        VaultState::Locked(public)
        | VaultState::Orphaned(public)
        | VaultState::Replaced(public)
        | VaultState::NoKeychain(public, _) => Some(*public),
        VaultState::None | VaultState::Damaged(_) => None,
    }
}

fn state(inner: &Inner) -> WalletState {
    match &inner.vault {
        None => WalletState::Unknown,
        Some(VaultState::None) => WalletState::None,
        Some(VaultState::Locked(public)) if inner.locked => {
            WalletState::Locked { needs_password: public.protection.needs_password() }
        }
        Some(VaultState::Locked(_)) => WalletState::Unlocked {
            locks_at: inner.rules.locks_after_s.map(|after| inner.used_at.saturating_add(after) as f64 * 1_000.0),
        },
        Some(VaultState::Orphaned(_)) => WalletState::KeyGone,
        Some(VaultState::Replaced(_)) => WalletState::KeyReplaced,
        Some(VaultState::NoKeychain(_, why)) => WalletState::NoKeychain { trouble: trouble(why) },
        Some(VaultState::Damaged(why)) => WalletState::Damaged { why: why.to_string() },
    }
}

pub(super) fn trouble(error: &KeychainError) -> KeychainTrouble {
    match error {
        KeychainError::Absent { missing } => KeychainTrouble::Absent { missing: (*missing).to_owned() },
        KeychainError::Locked => KeychainTrouble::Locked,
        KeychainError::NoAnswer { seconds } => {
            KeychainTrouble::NoAnswer { seconds: u32::try_from(*seconds).unwrap_or(u32::MAX) }
        }
        KeychainError::Form => KeychainTrouble::Form,
        KeychainError::Failed { why } => KeychainTrouble::Failed { why: why.clone() },
    }
}

fn errand(transfer: &Transfer) -> FlightErrand {
    match transfer.errand {
        Errand::Payout { .. } => FlightErrand::Payout,
        Errand::Send if transfer.outgoing.everything => FlightErrand::TakeBack,
        Errand::Send => FlightErrand::Send,
    }
}

/// What is under way; a transfer that has ended is only being written down.
pub(super) fn flight(transfer: &Transfer) -> Option<Flight> {
    let (stage, until) = match &transfer.stage {
        Stage::Planned => (FlightStage::Planned, None),
        Stage::Signed(message) => (FlightStage::Sent, Some(f64::from(message.valid_until) * 1_000.0)),
        Stage::Ended(_) => return None,
    };
    let amount = match transfer.errand {
        Errand::Payout { expected, .. } => Money { nanoton: expected.0.to_string(), kind: Kind::Signed },
        Errand::Send => Money { nanoton: transfer.outgoing.value.0.to_string(), kind: Kind::Estimate },
    };
    let to = AddressText { address: transfer.outgoing.to, bounceable: transfer.outgoing.bounce, testnet: true };
    Some(Flight {
        id: transfer.id.0.to_string(),
        errand: errand(transfer),
        to: to.to_text(),
        amount,
        stage,
        since: transfer.planned_unix_ms as f64,
        until,
    })
}

pub(super) fn outcome(outcome: &Outcome) -> FlightOutcome {
    match outcome {
        Outcome::Done { .. } => FlightOutcome::Done,
        Outcome::Failed { why, .. } => FlightOutcome::Failed { why: why.clone() },
        Outcome::Expired => FlightOutcome::Expired,
        Outcome::Overtaken => FlightOutcome::Overtaken,
        Outcome::NotBegun { why } => FlightOutcome::NotBegun { why: why.clone() },
    }
}
