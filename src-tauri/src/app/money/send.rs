//! Sending: what is to be known about an address, a transfer tried on a copy of the chain, and the owner's word for it.

use std::collections::BTreeMap;
use std::time::Duration;

use accounting::{Errand, Outcome, Outgoing, Stage};
use node::core::payouts::NotSent;
use ton::{Address, AddressText, MAX_COMMENT, Nanoton, Network, boc, comment};
use wallet::{Known, Seen, findings, read_recipient};

use super::{Desk, failed, seconds};
use crate::provider::unix_ms;
use crate::rules::left_of;
use crate::view::{Destination, Draft, Finding, Kind, Money, Prepared, Refusal, SendOrder, Sent};

/// A draft is good for so many seconds.
const DRAFT_LASTS: u64 = 120;
/// Of everything, so much stays behind: fees grow by some nanotons while the owner thinks.
const LEFT_BEHIND: Nanoton = Nanoton(1_000_000);
/// What trying with everything leaves for the fee, which is found out by trying.
const FIRST_GUESS: Nanoton = Nanoton(50_000_000);
/// Transfers whose recipients are known.
const KNOWN: usize = 1_000;
/// How long the cashier may take to begin; what is not begun by then is not sent.
const BEGINNING: Duration = Duration::from_secs(30);

/// A transfer that waits for the owner's word.
pub(super) struct Waiting {
    pub(super) name: String,
    pub(super) outgoing: Outgoing,
    pub(super) until: u64,
}

impl Desk {
    pub(super) async fn check_destination(&self, text: &str) -> Destination {
        let address = match read_recipient(text, Network::Test) {
            Ok(read) => read,
            Err(finding) => return Destination { address: None, findings: vec![shown(finding)], stop: true },
        };
        let found = self.findings(&address.address).await;
        let stop = found.iter().any(|finding| finding.stops());
        let used = AddressText { testnet: true, ..address };
        Destination { address: Some(used.to_text()), findings: found.into_iter().map(shown).collect(), stop }
    }

    async fn findings(&self, to: &Address) -> Vec<wallet::Finding> {
        let own = self.own();
        let seen = match self.session() {
            Ok((cashbox, _)) => cashbox.seen(*to).await,
            Err(_) => Seen::No,
        };
        let known = tokio::task::block_in_place(|| self.known());
        findings(to, &own.unwrap_or(Address { workchain: 0, hash: [0; 32] }), seen, &known)
    }

    /// Addresses that money was sent to.
    fn known(&self) -> Vec<Known> {
        let mut known: BTreeMap<Address, u64> = BTreeMap::new();
        for row in self.transfers(None, KNOWN) {
            if row.errand == Errand::Send && matches!(row.stage, Stage::Ended(Outcome::Done { .. })) {
                let at = u64::try_from(row.planned_unix_ms / 1_000).unwrap_or_default();
                let last = known.entry(row.outgoing.to).or_default();
                *last = at.max(*last);
            }
        }
        known.into_iter().map(|(address, at)| Known { address, sent_at: Some(at) }).collect()
    }

    pub(super) async fn prepare_send(&self, order: &SendOrder) -> Prepared {
        self.inner().draft = None;
        match self.prepare(order).await {
            Ok(draft) => Prepared::Ready { draft: Box::new(draft) },
            Err(refusal) => Prepared::No { refusal },
        }
    }

    async fn prepare(&self, order: &SendOrder) -> Result<Draft, Refusal> {
        let (cashbox, purse) = self.session()?;
        if purse.is_locked() {
            return Err(Refusal::Locked);
        }
        if cashbox.owner() != purse.address() {
            // What is in the wallet here is for fees; it goes back as a whole, to its owner.
            return Err(Refusal::WatchOnly);
        }
        if cashbox.shown().borrow().busy {
            return Err(Refusal::InFlight);
        }
        let refused = |finding| Refusal::Destination { findings: vec![shown(finding)] };
        let read = read_recipient(&order.to, Network::Test).map_err(refused)?;
        let to = read.address;
        let found = self.findings(&to).await;
        if found.iter().any(|finding| finding.stops()) {
            return Err(Refusal::Destination { findings: found.into_iter().map(shown).collect() });
        }
        let memo = order.memo.trim();
        if memo.len() > MAX_COMMENT {
            return Err(Refusal::LongMemo { most: u32::try_from(MAX_COMMENT).unwrap_or(u32::MAX) });
        }
        let body = if memo.is_empty() {
            None
        } else {
            let cell = comment(memo).map_err(|error| failed(&error.into()))?;
            Some(boc::encode(&cell).map_err(|error| failed(&error.into()))?)
        };
        let chain_fails = |error: anyhow::Error| Refusal::ChainFails { why: crate::sentence(&error) };
        let balance = cashbox.balance(purse.address()).await.map_err(chain_fails)?;
        let wanted = if order.everything {
            balance
                .checked_sub(FIRST_GUESS)
                .filter(|left| *left > Nanoton(0))
                .ok_or_else(|| Refusal::NotEnough { have: balance.0.to_string(), need: FIRST_GUESS.0.to_string() })?
        } else {
            order.nanoton.parse().map(Nanoton).ok().filter(|amount| *amount > Nanoton(0)).ok_or(Refusal::NoAmount)?
        };
        let not_enough = |need: Nanoton| Refusal::NotEnough { have: balance.0.to_string(), need: need.0.to_string() };
        if wanted >= balance {
            return Err(not_enough(wanted));
        }
        // Money for an account that is not set up would come straight back.
        let bounce = read.bounceable && cashbox.seen(to).await == Seen::Active;
        let mut outgoing = Outgoing { to, value: wanted, everything: false, bounce, body, state_init: None };
        let forecast = |outgoing: &Outgoing| cashbox.forecast(&purse, outgoing.clone());
        let mut tried = forecast(&outgoing).await.map_err(|why| Refusal::ChainFails { why })?;
        if order.everything && tried.failure.is_none() {
            let rest = tried.balance_after.checked_sub(LEFT_BEHIND).unwrap_or_default();
            outgoing.value = wanted.checked_add(rest).ok_or(Refusal::NoAmount)?;
            tried = forecast(&outgoing).await.map_err(|why| Refusal::ChainFails { why })?;
        }
        if let Some(why) = tried.failure {
            return Err(Refusal::WouldFail { why });
        }
        let reserve = accounting::practice::PRACTICE_RESERVE;
        let below_reserve = tried.balance_after < reserve;
        if below_reserve && !order.everything {
            let short = reserve.checked_sub(tried.balance_after).unwrap_or_default();
            let most = outgoing.value.checked_sub(short).unwrap_or_default();
            return Err(Refusal::Reserve { most: most.0.to_string() });
        }
        let limit = self.inner().rules.daily_limit;
        if let Some(limit) = limit {
            let left = left_of(limit, &tokio::task::block_in_place(|| self.sent_today()), seconds());
            if outgoing.value > left {
                return Err(Refusal::DailyLimit { left: left.0.to_string() });
            }
        }
        let until = seconds().saturating_add(DRAFT_LASTS);
        let name = format!("{}-{}", unix_ms(), outgoing.value.0);
        let estimate = |amount: Nanoton| Money { nanoton: amount.0.to_string(), kind: Kind::Estimate };
        let draft = Draft {
            id: name.clone(),
            to: AddressText { address: to, bounceable: bounce, testnet: true }.to_text(),
            amount: estimate(outgoing.value),
            memo: Some(memo.to_owned()).filter(|memo| !memo.is_empty()),
            fee: estimate(tried.fees),
            balance_after: estimate(tried.balance_after),
            below_reserve,
            needs_password: false,
            until: until as f64 * 1_000.0,
        };
        self.inner().draft = Some(Waiting { name, outgoing, until });
        Ok(draft)
    }

    pub(super) async fn confirm_send(&self, name: &str) -> Sent {
        match self.confirm(name).await {
            Ok(id) => Sent::Begun { id },
            Err(refusal) => Sent::No { refusal },
        }
    }

    async fn confirm(&self, name: &str) -> Result<String, Refusal> {
        let (cashbox, purse) = self.session()?;
        if purse.is_locked() {
            return Err(Refusal::Locked);
        }
        if cashbox.shown().borrow().busy {
            return Err(Refusal::InFlight);
        }
        let waiting = self.inner().draft.take_if(|draft| draft.name == name).ok_or(Refusal::TooLate)?;
        if seconds() > waiting.until {
            return Err(Refusal::TooLate);
        }
        match cashbox.send(waiting.outgoing.clone(), BEGINNING).await {
            Ok(id) => {
                self.inner().asked_for = Some(id);
                Ok(id.0.to_string())
            }
            Err(why) => {
                if matches!(why, NotSent::UnderWay) {
                    // It may be tried again when the other one has ended.
                    self.inner().draft.get_or_insert(waiting);
                }
                Err(not_sent(&why))
            }
        }
    }
}

/// Why nothing was sent, for the page.
fn not_sent(why: &NotSent) -> Refusal {
    match why {
        NotSent::NoWallet => Refusal::NoWallet,
        NotSent::UnderWay => Refusal::InFlight,
        NotSent::TooLate { .. } => Refusal::ChainFails { why: why.to_string() },
        NotSent::Ended => Refusal::Failed { why: why.to_string() },
    }
}

pub(super) fn shown(finding: wallet::Finding) -> Finding {
    let text = |address: Address| AddressText { address, bounceable: false, testnet: true }.to_text();
    match finding {
        wallet::Finding::NoAddress => Finding::NoAddress,
        wallet::Finding::Checksum => Finding::BadChecksum,
        wallet::Finding::NoChecksum => Finding::NoChecksum,
        wallet::Finding::OtherNetwork => Finding::OtherNetwork { test: true },
        wallet::Finding::Own => Finding::Own,
        wallet::Finding::LooksLike { known } => Finding::LooksLike { known: text(known) },
        wallet::Finding::Exchange { name } => Finding::Exchange { name: name.to_owned() },
        wallet::Finding::Masterchain => Finding::Masterchain,
        wallet::Finding::Uninitialised => Finding::NotInitialised,
        wallet::Finding::NotSeen => Finding::NotSeen,
        wallet::Finding::UsedBefore { at } => Finding::UsedBefore { at: at as f64 * 1_000.0 },
    }
}
