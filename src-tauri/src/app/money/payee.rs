//! Where payouts go, and the fee wallet where that is another: shown, changed, and emptied.

use std::collections::BTreeMap;

use accounting::Outgoing;
use ton::{Address, AddressText, Nanoton, Network};
use wallet::read_recipient;

use super::send::{Waiting, shown};
use super::{Desk, failed, forms, page, paid, seconds};
use crate::payout::{self, Set};
use crate::provider::unix_ms;
use crate::view::{Draft, FeeWallet, Kind, Money, PayoutChange, PayoutSet, PayoutTarget, Prepared, Refusal};

/// A draft is good for so many seconds.
const DRAFT_LASTS: u64 = 120;

/// Who is paid, of one moment.
pub(super) struct Payee {
    /// Where payouts go; `None`: nowhere yet, or the file that says it can't be read.
    pub(super) address: Option<Address>,
    /// The wallet here, if it is not the one that is paid.
    pub(super) fee_wallet: Option<Address>,
    change: Option<wallet::PayoutChange>,
}

impl Payee {
    /// What the page shows of it.
    pub(super) fn target(&self, own: Option<Address>) -> Option<PayoutTarget> {
        let address = self.address?;
        let text = |address| AddressText { address, bounceable: false, testnet: true }.to_text();
        Some(PayoutTarget {
            address: forms(&address),
            ours: own == Some(address),
            change: self.change.map(|change| PayoutChange { to: text(change.to), from: change.from as f64 * 1_000.0 }),
        })
    }
}

impl Desk {
    /// Who is paid now. `own` is the wallet's address. Waits for the disk.
    pub(super) fn payee(&self, own: Option<Address>) -> Payee {
        let now = seconds();
        match payout::read(&self.data) {
            Ok(Some(book)) => {
                let address = book.at(now);
                let fee_wallet = own.filter(|own| *own != address);
                Payee { address: Some(address), fee_wallet, change: book.waiting(now) }
            }
            Ok(None) => Payee { address: own, fee_wallet: None, change: None },
            Err(error) => {
                tracing::warn!("{}", crate::sentence(&error));
                Payee { address: None, fee_wallet: None, change: None }
            }
        }
    }

    /// Looks at the clock and at what is on the address that is paid.
    pub(crate) async fn look(&self) {
        let settled = tokio::task::block_in_place(|| payout::settled(&self.data, seconds()));
        let owner = settled.ok().flatten().map(|book| book.at(seconds()));
        let cashbox = {
            let mut inner = self.inner();
            inner.owner = owner;
            inner.open.as_ref().map(|open| (open.cashbox.clone(), open.purse.address()))
        };
        let Some((cashbox, own)) = cashbox else { return };
        let owner = cashbox.owner();
        if owner != own
            && let Ok(balance) = cashbox.balance(owner).await
        {
            self.inner().paid = Some((owner, balance, unix_ms()));
        }
    }

    /// Whether what runs serves for another owner than is to be paid now.
    pub(crate) fn is_paid_elsewhere(&self) -> bool {
        let inner = self.inner();
        inner.open.as_ref().zip(inner.owner).is_some_and(|(open, owner)| open.cashbox.owner() != owner)
    }

    /// What is on the address that is paid, and when the chain said so.
    pub(super) fn on_the_address(&self, address: Address) -> Option<(Nanoton, i64)> {
        self.inner().paid.filter(|(of, _, _)| *of == address).map(|(_, balance, at)| (balance, at))
    }

    /// The fee wallet as the page shows it. Waits for the disk.
    pub(super) fn fee_wallet(&self, address: Address) -> FeeWallet {
        let spent = || {
            let network = self.served().ok()??;
            let known = self.figures.pipeline(&network.root_contract, &BTreeMap::default(), None).ok()?;
            (known.unknown_fees == 0).then(|| paid(known.fees))
        };
        let balance = self.inner().balance.map(|(balance, _)| paid(balance));
        FeeWallet { address: forms(&address), balance, spent: spent() }
    }

    /// The address of the wallet here.
    pub(super) fn own(&self) -> Option<Address> {
        tokio::task::block_in_place(|| self.refresh_vault());
        self.inner().vault.as_ref().and_then(page::public).map(|public| public.address())
    }

    pub(super) async fn set_payout_address(&self, text: &str) -> PayoutSet {
        let no = |refusal| PayoutSet::No { refusal };
        let to = match read_recipient(text, Network::Test) {
            Ok(read) => read.address,
            Err(finding) => return no(Refusal::Destination { findings: vec![shown(finding)] }),
        };
        let own = self.own();
        let set = tokio::task::block_in_place(|| payout::set(&self.data, own, to, Network::Test, seconds()));
        self.look().await;
        match set {
            Ok(Set::Now) => PayoutSet::Now,
            Ok(Set::Waits(change)) => PayoutSet::Waits { from: change.from as f64 * 1_000.0 },
            Err(error) => no(failed(&error)),
        }
    }

    pub(super) async fn keep_payout_address(&self) -> Result<(), Refusal> {
        let kept = tokio::task::block_in_place(|| payout::keep(&self.data, seconds()));
        self.look().await;
        kept.map(drop).map_err(|error| failed(&error))
    }

    /// No longer pays to an address without a key here. Only as long as nothing was earned: afterwards another address takes its place,
    /// a day later.
    pub(super) fn stop_watching(&self) -> Result<(), Refusal> {
        if self.served().map_err(|error| Refusal::Failed { why: error.message })?.is_some() {
            let why = "something was earned for this address already; change it instead, which counts after 24 hours";
            return Err(Refusal::Failed { why: why.to_owned() });
        }
        std::fs::remove_file(self.data.join(wallet::PAYOUT_FILE)).map_err(|error| failed(&error.into()))
    }

    pub(super) async fn prepare_take_back(&self) -> Prepared {
        self.inner().draft = None;
        match self.try_take_back().await {
            Ok(draft) => Prepared::Ready { draft: Box::new(draft) },
            Err(refusal) => Prepared::No { refusal },
        }
    }

    async fn try_take_back(&self) -> Result<Draft, Refusal> {
        let (cashbox, purse) = self.session()?;
        if purse.is_locked() {
            return Err(Refusal::Locked);
        }
        if cashbox.shown().borrow().busy {
            return Err(Refusal::InFlight);
        }
        let to = cashbox.owner();
        if to == purse.address() {
            let why = "payouts go to this wallet itself, so there is no separate fee wallet";
            return Err(Refusal::Failed { why: why.to_owned() });
        }
        let chain_fails = |error: anyhow::Error| Refusal::ChainFails { why: crate::sentence(&error) };
        let balance = cashbox.balance(purse.address()).await.map_err(chain_fails)?;
        if balance == Nanoton(0) {
            return Err(Refusal::NoAmount);
        }
        // Its owner's own address: what can't be taken there stays there.
        let outgoing = Outgoing { to, value: balance, everything: true, bounce: false, body: None, state_init: None };
        let tried = cashbox.forecast(&purse, outgoing.clone()).await.map_err(|why| Refusal::ChainFails { why })?;
        if let Some(why) = tried.failure {
            return Err(Refusal::WouldFail { why });
        }
        let arrives = balance.checked_sub(tried.fees).unwrap_or_default();
        let until = seconds().saturating_add(DRAFT_LASTS);
        let name = format!("{}-rest", unix_ms());
        let estimate = |amount: Nanoton| Money { nanoton: amount.0.to_string(), kind: Kind::Estimate };
        let draft = Draft {
            id: name.clone(),
            to: AddressText { address: to, bounceable: false, testnet: true }.to_text(),
            amount: estimate(arrives),
            memo: None,
            fee: estimate(tried.fees),
            balance_after: estimate(tried.balance_after),
            below_reserve: false,
            needs_password: false,
            until: until as f64 * 1_000.0,
        };
        self.inner().draft = Some(Waiting { name, outgoing, until });
        Ok(draft)
    }
}
