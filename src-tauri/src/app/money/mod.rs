//! What stands behind the pages Wallet and Earnings: the wallet's file and its rules, and while a session runs its chain and cashier.
//!
//! - [`page`]: the page Wallet, made of facts.
//! - [`keys`]: making, showing, reading in and deleting words; locking.
//! - [`send`]: whom money may go to, trying a transfer, giving the word.
//! - [`payee`]: where payouts go, and the fee wallet where that is another.
//! - [`moved`]: what moved, and why; [`earnings`] the page Earnings.
//!
//! Questions are answered beside the app's loop, because the chain and the disk take their time.

mod earnings;
mod keys;
mod moved;
mod page;
mod payee;
mod send;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use accounting::{Transfer, TransferId};
use anyhow::Result;
use node::core::payouts::{Input, Terms};
use node::earnings::Earnings as Figures;
use node::history::History;
use ton::{Address, AddressText, Nanoton, RootConfig};
use wallet::{AutoLock, Quiz, VaultState};

use crate::cashbox::Cashbox;
use crate::provider::unix_ms;
use crate::purse::{PracticeKeychain, Purse, practice_vault};
use crate::rules::Rules;
use crate::view::{AddressForms, ApiError, Done, Kind, Money, Refusal, WalletRules};
use crate::wire::{Answer, WalletAnswer, WalletQuestion};

/// What a running session has.
struct Open {
    cashbox: Arc<Cashbox>,
    purse: Arc<Purse>,
    /// What the network pays.
    terms: Arc<RootConfig>,
    /// The transfer that was begun last before it.
    before: Option<u64>,
}

/// What changes.
struct Inner {
    rules: Rules,
    open: Option<Open>,
    /// The wallet's file as it was last looked at.
    vault: Option<VaultState>,
    /// The owner has locked the wallet, or time has.
    locked: bool,
    /// Unix seconds of the last use.
    used_at: u64,
    draft: Option<send::Waiting>,
    /// The transfer that the owner asked for last in this session.
    asked_for: Option<TransferId>,
    read: Option<keys::Read>,
    quiz: Option<Quiz>,
    /// What the chain said last of the wallet, and when, Unix milliseconds.
    balance: Option<(Nanoton, i64)>,
    /// The same of the address that is paid, where it is another.
    paid: Option<(Address, Nanoton, i64)>,
    /// Who is to be paid, if the owner has named an address.
    owner: Option<Address>,
}

/// See the module.
pub(crate) struct Desk {
    data: PathBuf,
    history: History,
    figures: Figures,
    inner: Mutex<Inner>,
    /// Held by whoever makes, replaces or deletes the wallet's file, and by a session from before its start until after its end.
    file: Arc<tokio::sync::Mutex<()>>,
}

impl Desk {
    /// The desk of this data folder.
    pub(crate) fn new(data: PathBuf, ledger: &std::path::Path) -> Result<Self> {
        let history = History::open(ledger, unix_ms())?;
        let figures = Figures::open(ledger, unix_ms())?;
        let inner = Inner {
            rules: Rules::read(&data),
            open: None,
            vault: None,
            locked: false,
            used_at: seconds(),
            draft: None,
            asked_for: None,
            read: None,
            quiz: None,
            balance: None,
            paid: None,
            owner: None,
        };
        Ok(Self { data, history, figures, inner: Mutex::new(inner), file: Arc::default() })
    }

    /// What a session holds, so that nobody takes the wallet's file away under it.
    pub(crate) fn wallet_file(&self) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(&self.file)
    }

    /// From how much on a session that begins fetches by itself, with the wallet as open as the owner wants it.
    pub(crate) fn begins(&self, purse: &Purse) -> Option<Nanoton> {
        let inner = self.inner();
        if inner.locked {
            purse.lock();
        }
        inner.rules.threshold
    }

    /// A session runs: its cashier does what the owner has decided.
    pub(crate) async fn opened(&self, cashbox: Arc<Cashbox>, purse: Arc<Purse>, root: Arc<RootConfig>) {
        let before = tokio::task::block_in_place(|| self.history.last_transfer()).unwrap_or_default();
        let wanted = {
            let mut inner = self.inner();
            if inner.locked {
                purse.lock();
            }
            // It was unlocked while the session began, which has not heard of it.
            inner.locked = purse.is_locked();
            inner.vault = None;
            let terms = Terms { threshold: inner.rules.threshold, ..cashbox.terms() };
            inner.open = Some(Open { cashbox: Arc::clone(&cashbox), purse, terms: root, before });
            terms
        };
        cashbox.tell(Input::TermsAre(wanted)).await;
    }

    /// It ends. Nobody holds on to its cashier but questions that are being answered.
    pub(crate) fn closed(&self) {
        let mut inner = self.inner();
        inner.open = None;
        inner.draft = None;
        inner.asked_for = None;
    }

    /// Time has passed.
    pub(crate) fn beat(&self) {
        let now = seconds();
        let mut inner = self.inner();
        if let Some(after) = inner.rules.locks_after_s
            && !inner.locked
            && AutoLock::new(after, inner.used_at).is_due(now)
        {
            inner.locked = true;
            if let Some(open) = &inner.open {
                open.purse.lock();
            }
        }
        keys::forget_what_is_old(&mut inner, now);
        if let Some(shown) = inner.open.as_ref().map(|open| open.cashbox.shown().borrow().clone())
            && let Some(balance) = shown.balance
        {
            inner.balance = Some((balance, unix_ms()));
        }
    }

    /// Answers the page.
    pub(crate) async fn wallet(&self, question: WalletQuestion) -> Result<Answer, ApiError> {
        if !matches!(question, WalletQuestion::Page | WalletQuestion::History(_)) {
            self.inner().used_at = seconds();
        }
        let done = |refused: Result<(), Refusal>| {
            WalletAnswer::Done(match refused {
                Ok(()) => Done::Yes,
                Err(refusal) => Done::No { refusal },
            })
        };
        Ok(Answer::Wallet(match question {
            WalletQuestion::Page => {
                self.look().await;
                WalletAnswer::Page(Box::new(self.wallet_page()))
            }
            WalletQuestion::History(query) => WalletAnswer::History(self.moved(&query).await?),
            WalletQuestion::CheckDestination(text) => WalletAnswer::Destination(self.check_destination(&text).await),
            WalletQuestion::PrepareSend(order) => WalletAnswer::Prepared(self.prepare_send(&order).await),
            WalletQuestion::ConfirmSend { draft, .. } => WalletAnswer::Sent(self.confirm_send(&draft).await),
            WalletQuestion::Create(protect) => done(self.create(&protect).await),
            WalletQuestion::Reveal { .. } => WalletAnswer::Revealed(self.reveal().await),
            WalletQuestion::Quiz(answers) => done(self.quiz(&answers).await),
            WalletQuestion::ReadWords(text) => WalletAnswer::ReadWords(self.read_words(text).await),
            WalletQuestion::SaveWords { draft, candidate, protect } => {
                done(self.save_words(&draft, candidate, &protect).await)
            }
            WalletQuestion::ForgetWords => {
                self.inner().read = None;
                done(Ok(()))
            }
            WalletQuestion::Unlock { .. } => done(self.unlock().await),
            WalletQuestion::Lock => {
                let mut inner = self.inner();
                inner.locked = true;
                if let Some(open) = &inner.open {
                    open.purse.lock();
                }
                done(Ok(()))
            }
            WalletQuestion::Delete(address) => done(self.delete(&address).await),
            WalletQuestion::SetAside => WalletAnswer::SetAside(self.set_aside().await),
            WalletQuestion::SetRules(rules) => done(self.set_rules(&rules)),
            WalletQuestion::DismissReminder => done(self.change_rules(|rules| rules.dismissed_at = Some(seconds()))),
            WalletQuestion::SetPayoutAddress(text) => WalletAnswer::PayoutSet(self.set_payout_address(&text).await),
            WalletQuestion::KeepPayoutAddress => done(self.keep_payout_address().await),
            WalletQuestion::TakeRestBack => WalletAnswer::Prepared(self.prepare_take_back().await),
            WalletQuestion::ShowOnExplorer(_) => done(Err(no_site())),
        }))
    }

    /// Changes what the owner has decided and writes it down.
    fn change_rules(&self, change: impl FnOnce(&mut Rules)) -> Result<(), Refusal> {
        let mut inner = self.inner();
        let mut rules = inner.rules.clone();
        change(&mut rules);
        tokio::task::block_in_place(|| rules.write(&self.data)).map_err(|error| failed(&error))?;
        inner.rules = rules;
        Ok(())
    }

    fn set_rules(&self, wanted: &WalletRules) -> Result<(), Refusal> {
        let limit = wanted.daily_limit_nanoton.as_deref().map(str::parse::<u64>).transpose();
        let limit = limit.map_err(|_| Refusal::NoAmount)?;
        let locks = match wanted.locks_after_s {
            None => None,
            Some(after) if after.is_finite() && (60.0..=1e7).contains(&after) => Some(after as u64),
            Some(_) => return Err(Refusal::Failed { why: "it locks after a minute at the earliest".to_owned() }),
        };
        self.change_rules(|rules| {
            rules.daily_limit = limit.map(Nanoton);
            rules.locks_after_s = locks;
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // What is behind the lock is whole after every line.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the running session has.
    fn session(&self) -> Result<(Arc<Cashbox>, Arc<Purse>), Refusal> {
        let inner = self.inner();
        let open = inner.open.as_ref().ok_or_else(paused)?;
        Ok((Arc::clone(&open.cashbox), Arc::clone(&open.purse)))
    }

    /// Transfers in the network that is or was served last, after one, the newest first.
    fn transfers(&self, after: Option<u64>, most: usize) -> Vec<Transfer> {
        let root = self.inner().open.as_ref().map(|open| open.cashbox.root_contract());
        let last = || self.figures.networks().ok()?.first().map(|network| network.root_contract);
        let Some(root) = root.or_else(last) else { return Vec::new() };
        self.history.transfers_since(&root, after, most).unwrap_or_else(|error| {
            tracing::warn!(%error, "transfers can't be read");
            Vec::new()
        })
    }

    fn vault(&self) -> wallet::Vault<PracticeKeychain> {
        practice_vault(&self.data)
    }
}

fn paused() -> Refusal {
    Refusal::ChainFails { why: "practice is paused, and its chain with it; start it first".to_owned() }
}

fn no_site() -> Refusal {
    Refusal::Failed { why: "no site shows the chain of practice, which is on this PC".to_owned() }
}

fn failed(error: &anyhow::Error) -> Refusal {
    Refusal::Failed { why: crate::sentence(error) }
}

fn seconds() -> u64 {
    u64::try_from(unix_ms() / 1_000).unwrap_or_default()
}

/// Practice addresses are marked for the test network, so that nobody sends coins of worth there.
fn forms(address: &Address) -> AddressForms {
    let text = |bounceable| AddressText { address: *address, bounceable, testnet: true }.to_text();
    AddressForms { plain: text(false), bounceable: text(true), raw: address.to_string() }
}

fn paid(amount: Nanoton) -> Money {
    Money { nanoton: amount.0.to_string(), kind: Kind::Paid }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::purse::has_practice_wallet;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_wallet_is_not_taken_away_under_a_session_that_starts_or_ends() {
        let folder = tempfile::tempdir().unwrap();
        let desk = Desk::new(folder.path().to_owned(), &folder.path().join("ledger.sqlite")).unwrap();
        let address = Purse::of_practice(folder.path()).unwrap().address();
        let text = AddressText { address, bounceable: false, testnet: true }.to_text();
        // A session that starts has it before its desk knows of the session, and one that ends has it after.
        let session = desk.wallet_file().lock_owned().await;
        assert!(desk.inner().open.is_none());
        assert!(matches!(desk.delete(&text).await, Err(Refusal::Failed { why }) if why.contains("pause first")));
        assert!(matches!(desk.set_aside().await, crate::view::SetAside::No { .. }));
        assert!(has_practice_wallet(folder.path()));
        drop(session);
        assert!(desk.delete(&text).await.is_ok());
        assert!(!has_practice_wallet(folder.path()));
        // And a session waits for whoever deletes.
        let deleting = desk.nothing_runs().unwrap();
        let starting = tokio::spawn(desk.wallet_file().lock_owned());
        tokio::task::yield_now().await;
        assert!(!starting.is_finished());
        drop(deleting);
        drop(starting.await.unwrap());
    }
}
