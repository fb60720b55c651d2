//! What proxies signed: read out of the bytes, checked against the contract and key that were recomputed, and part of the
//! totals once it is written down. A proxy signs a running total, so the highest one says everything.

use std::collections::BTreeMap;

use accounting::signed_payment::{PaymentKind, SignedPayment};
use link::message::LogLevel;
use ton::{Address, Nanoton};

use super::Out;
use super::proxies::Session;
use super::records::{KnownPayment, SignedRecord};

#[derive(Default)]
struct Account {
    /// Signed for what was done before this session.
    before: u64,
    /// A job of this session was done for it.
    worked: bool,
    /// Highest total that was checked.
    best: u64,
    /// Highest total that is written down.
    written: u64,
}

/// See the module.
pub(super) struct Payments {
    fee: Nanoton,
    accounts: BTreeMap<Address, Account>,
    refused: u64,
}

impl Payments {
    pub(super) fn new(fee: Nanoton, remembered: Vec<KnownPayment>) -> Self {
        let mut accounts: BTreeMap<Address, Account> = BTreeMap::new();
        for payment in remembered {
            let account = accounts.entry(payment.worker_contract).or_default();
            let best = account.best.max(payment.tokens);
            *account = Account { before: best, best, written: best, worked: false };
        }
        Self { fee, accounts, refused: 0 }
    }

    /// Payments that were not believed.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// Adjusted tokens that signed and written payments of this session cover.
    pub(super) fn signed_this_session(&self) -> i64 {
        let tokens = self.accounts.values().map(|account| account.written.saturating_sub(account.before));
        i64::try_from(tokens.fold(0, u64::saturating_add)).unwrap_or(i64::MAX)
    }

    /// What they are worth.
    pub(super) fn earned_this_session(&self) -> Option<Nanoton> {
        self.fee.checked_mul(u64::try_from(self.signed_this_session()).ok()?)
    }

    pub(super) fn unknown_lane(&mut self, out: &mut Out<'_>) {
        self.refused = self.refused.saturating_add(1);
        out.log(LogLevel::Error, "the worker reports a payment of a proxy that was never connected: not counted");
    }

    /// A job was done for this proxy.
    pub(super) fn worked_for(&mut self, session: &Session) {
        self.accounts.entry(session.worker_contract).or_default().worked = true;
    }

    /// A payment, the worker says. What comes back is good, higher than all before, and to be written down.
    pub(super) fn received(&mut self, session: &Session, boc: Vec<u8>, out: &mut Out<'_>) -> Option<SignedRecord> {
        let tokens = match check(session, &boc) {
            Ok(tokens) => tokens,
            Err(why) => {
                self.refused = self.refused.saturating_add(1);
                out.log(LogLevel::Error, format!("a payment of the proxy {} is not good: {why}", session.endpoint));
                return None;
            }
        };
        let account = self.accounts.entry(session.worker_contract).or_default();
        if tokens < account.best {
            self.refused = self.refused.saturating_add(1);
            out.log(
                LogLevel::Warn,
                format!(
                    "the proxy {} signed {tokens} tokens after {}: the higher one is kept",
                    session.endpoint, account.best
                ),
            );
            return None;
        }
        if tokens == account.best {
            return None;
        }
        account.best = tokens;
        if !account.worked {
            // For jobs of earlier sessions, though it comes only now: the app was killed before the proxy's last word reached it.
            account.before = tokens;
        }
        Some(SignedRecord { proxy: session.clone(), tokens, boc, received_unix_ms: out.now.unix_ms })
    }

    /// Whether a higher payment of this contract is already known.
    pub(super) fn is_outdone(&self, payment: &SignedRecord) -> bool {
        self.accounts.get(&payment.proxy.worker_contract).is_some_and(|account| account.best > payment.tokens)
    }

    pub(super) fn written(&mut self, payment: &SignedRecord) {
        let account = self.accounts.entry(payment.proxy.worker_contract).or_default();
        account.written = account.written.max(payment.tokens);
    }
}

fn check(session: &Session, boc: &[u8]) -> Result<u64, String> {
    let payment = SignedPayment::from_boc(boc).map_err(|error| error.to_string())?;
    if payment.kind != PaymentKind::Worker {
        return Err("it is a client's".to_owned());
    }
    payment.verify(&session.key, &session.worker_contract).map_err(|error| error.to_string())
}
