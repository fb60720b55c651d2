//! `send` and `collect`: what moves money, through the cashier, so that it is written down first and happens once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use accounting::{Errand, Outcome, Outgoing, Stage, Transfer};
use anyhow::{Context as _, Result, bail, ensure};
use chain::{AccountStatus, Chain, ChainError, MOST_TRANSACTIONS, MessageKind, Transaction};
use node::core::payouts::{Input, Shown, Terms, Wait};
use node::folder::Folder;
use node::history::History;
use node::run::cashier::{self, Cashier, Signer, Till};
use node::run::recovery::{Search, recover};
use serde_json::json;
use ton::{Address, AddressText, MAX_COMMENT, Nanoton, Network, Unsigned, WalletData, boc, comment};
use wallet::{Finding, Known, Public, Seen, Wallet, findings, read_recipient};

use super::ask::Ask;
use super::{Payee, address_text, endpoints, known_public, money, public, take, tell, vault};
use crate::cli::{ChainArguments, CollectArguments, SendArguments};
use crate::payout;
use crate::provider::{Asked, unix_ms};
use crate::report::counted;
use crate::rules::{MOST_OF_A_DAY, Rules, left_of, sent_within_a_day};

/// How long a transfer may take to begin; what is not begun by then is not sent.
const BEGINNING: Duration = Duration::from_mins(2);
/// How often the ledger is looked at for how a transfer ends.
const LOOK: Duration = Duration::from_millis(200);
/// Transactions of the wallet whose other sides are known addresses.
pub(super) const KNOWN: u32 = 100;
/// A transfer that is only tried is good for so many seconds.
const VALID_SECONDS: u32 = 120;
/// What a payout leaves in the wallet; less could not pay for the next one.
const RESERVE: Nanoton = Nanoton(50_000_000);
/// Most payouts of one run that are added up.
const MOST_PAYOUTS: usize = 10_000;
/// Most pages of the owner's account that are searched for forgotten payouts while somebody waits.
const SEARCHED_PAGES: u32 = 20;

pub(super) struct Unlocked(Wallet);

impl Signer for Unlocked {
    fn sign(&self, unsigned: &Unsigned) -> Result<[u8; 64], String> {
        self.0.signature(unsigned).map_err(|error| error.to_string())
    }
}

pub(super) async fn send(arguments: &SendArguments) -> Result<()> {
    let ask = Ask::new();
    let public = public(&arguments.data)?;
    let to = read_recipient(&arguments.to, public.network)?;
    let amount =
        Nanoton::from_coins(&arguments.amount).with_context(|| format!("{} is no amount", arguments.amount))?;
    ensure!(amount > Nanoton(0), "an amount of nothing is not sent");
    let keep =
        Nanoton::from_coins(&arguments.keep).with_context(|| format!("--keep {} is no amount", arguments.keep))?;
    let memo = arguments.comment.as_deref().unwrap_or_default();
    ensure!(memo.len() <= MAX_COMMENT, "a comment has at most {MAX_COMMENT} bytes");
    let chain = endpoints::chain_of(&arguments.chain, public.network).await?;
    let folder = take(&arguments.data)?;
    let root = network_of(&folder, arguments.root)?;

    let own = public.address();
    let account = chain.account(to.address).await;
    let seen = match account.as_ref().map(|account| account.status) {
        Ok(AccountStatus::Active) => Seen::Active,
        Ok(_) => Seen::Uninitialised,
        Err(_) => Seen::No,
    };
    let known = known(&money::recent(&*chain, own, KNOWN).await?, &own);
    let found = findings(&to.address, &own, seen, &known);
    let is_known = found.iter().any(|finding| matches!(finding, Finding::UsedBefore { .. }));
    for finding in found {
        ensure!(!finding.stops(), "{finding}");
        if matches!(finding, Finding::Exchange { .. }) && !memo.is_empty() {
            continue;
        }
        if finding.asks() {
            ask.yes(&format!("Careful: {finding}."))?;
        } else {
            ask.say(&format!("{finding}."))?;
        }
    }
    if !is_known && memo.is_empty() {
        ask.say("Note: exchanges need a comment to know whose money it is; this transfer has none.")?;
    }
    let outgoing = Outgoing {
        to: to.address,
        value: amount,
        everything: false,
        // Money for an account that is not set up would come straight back.
        bounce: to.bounceable && seen == Seen::Active,
        body: if memo.is_empty() { None } else { Some(boc::encode(&comment(memo)?)?) },
        state_init: None,
    };
    let there = chain.account(own).await.context("the chain can't be asked")?.balance;
    ensure!(amount <= there, "there is {there} in the wallet, less than {amount}; it would fail, so it is not sent");
    let forecast = tried(&*chain, &public, &outgoing).await?;
    if let Some(why) = &forecast.failure {
        bail!("it would fail, so it is not sent: {why}");
    }
    if let Some(short) = keep.checked_sub(forecast.balance_after).filter(|short| *short > Nanoton(0)) {
        let most = amount.checked_sub(short).unwrap_or_default();
        bail!(
            "{} would be left, and {keep} is kept for the worker's fees: send at most {most}, or keep less with --keep",
            forecast.balance_after
        );
    }
    if let Some(limit) = Rules::of(folder.path())?.daily_limit {
        let rows = open(&folder)?.transfers_since(&root, None, MOST_OF_A_DAY)?;
        let left = left_of(limit, &sent_within_a_day(&rows, unix_ms()), payout::now());
        ensure!(
            amount <= left,
            "the limit of {limit} within 24 hours leaves {left} for now; `chrysalis wallet limit` changes it"
        );
    }
    let recipient = AddressText { address: to.address, bounceable: false, testnet: public.network == Network::Test };
    ask.say(&format!("From     {}", address_text(&own, public.network)))?;
    ask.say(&format!("To       {}", recipient.groups()))?;
    ask.say(&format!("Amount   {amount}"))?;
    ask.say(&format!("Comment  {}", if memo.is_empty() { "none" } else { memo }))?;
    ask.say(&format!(
        "Network  {}",
        if public.network == Network::Main { "TON" } else { "TON's test network, worth nothing" }
    ))?;
    ask.say(&format!("Fee      {}", forecast.fees))?;
    ask.say(&format!("Left     {}", forecast.balance_after))?;
    if arguments.chain.chain.len() < 2 {
        ask.say("One endpoint says so; a second --chain would check what the first one says.")?;
    }
    ask.yes("Send it?")?;
    let signer = unlock(&ask, arguments.data.as_path(), &public)?;
    let mut asked = Asked::listen()?;
    let till = Desk { folder: &folder, public, chain, signer, owner: own };
    till.finish_earlier(&mut asked).await?;
    let transfer = carry_out(&till, root, keep, outgoing, &mut asked).await?;
    let Stage::Ended(outcome) = &transfer.stage else { bail!("it has not ended") };
    let object = json!({
        "transfer": transfer.id.0,
        "outcome": word(outcome),
        "nanoton": amount.0,
        "fees_nanoton": fees(outcome).map(|fees| fees.0),
    });
    match outcome {
        Outcome::Done { fees, .. } => {
            let cost = fees.map_or(String::new(), |fees| format!(" It cost {fees}."));
            tell(arguments.json, &object, &[format!("{amount} arrived at {}.{cost}", recipient.to_text())])
        }
        other => {
            tell(arguments.json, &object, &[])?;
            bail!("the transfer: {other}")
        }
    }
}

/// Has a transfer written down, signed and sent, and waits for its end.
pub(super) async fn carry_out(
    desk: &Desk<'_>,
    root: Address,
    keep: Nanoton,
    outgoing: Outgoing,
    asked: &mut Asked,
) -> Result<Transfer> {
    let history = open(desk.folder)?;
    let cashier = desk.open(root, keep)?;
    let begun = tokio::select! {
        // What has begun is followed, whoever asks at the same moment.
        biased;
        begun = cashier.send(outgoing, BEGINNING) => begun.context("the transfer"),
        () = asked.wait() => Err(anyhow::anyhow!("stopped before it began; nothing was sent")),
    };
    let ended = match begun {
        Ok(id) => {
            wait(&cashier, asked, |_| Ok(history.transfer(id)?.filter(|row| matches!(row.stage, Stage::Ended(_)))))
                .await
        }
        Err(why) => Err(why),
    };
    cashier.stop().await;
    ended
}

/// Refuses to go on while a transfer of this folder has not come to its end.
pub(super) fn nothing_under_way(folder: &Folder) -> Result<()> {
    let history = open(folder)?;
    for root in history.root_contracts()? {
        if let Some(transfer) = history.open_transfers(&root)?.first() {
            bail!(
                "{} is under way; `chrysalis wallet collect` follows it to its end, then this can be done",
                transfer.name()
            );
        }
    }
    Ok(())
}

/// Whether proxies have ever signed something for this folder.
pub(super) fn was_signed_for(folder: &Folder) -> Result<bool> {
    let history = open(folder)?;
    for root in history.root_contracts()? {
        if !history.cashable(&root)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) async fn collect(arguments: &CollectArguments) -> Result<()> {
    let ask = Ask::new();
    let public = public(&arguments.data)?;
    let chain = endpoints::chain_of(&arguments.chain, public.network).await?;
    let folder = take(&arguments.data)?;
    let root = network_of(&folder, arguments.root)?;
    let owner = match arguments.owner {
        Some(named) => named.address,
        None => Payee::of(folder.path())?.address().unwrap_or_else(|| public.address()),
    };
    let signer = unlock(&ask, arguments.data.as_path(), &public)?;
    let mut asked = Asked::listen()?;
    let till = Desk { folder: &folder, public, chain, signer, owner };
    till.finish_earlier(&mut asked).await?;
    // Whoever knows only the root contract's address believes proxies that were met before.
    let (ledger, page) = (folder.ledger(), MOST_TRANSACTIONS);
    let search = Search { root_contract: root, terms: None, owner, ledger, page, pages: SEARCHED_PAGES };
    let found = tokio::select! {
        found = remember(&*till.chain, &search) => found,
        () = asked.wait() => bail!("stopped before anything was fetched"),
    };
    let history = open(&folder)?;
    let before = history.last_transfer()?;
    let cashier = till.open(root, RESERVE)?;
    cashier.tell(Input::TakeNow).await;
    // All there is, as long as it is worth its fee: one payout after the other.
    let settled = wait(&cashier, &mut asked, |shown| Ok((shown.asked > 0 && !shown.busy).then(|| shown.clone()))).await;
    cashier.stop().await;
    let shown = settled?;
    let rows = history.transfers_since(&root, before, MOST_PAYOUTS)?;
    let mut sums = Sums { paid: Nanoton(0), fees: Some(Nanoton(0)), payouts: 0, trouble: None };
    for row in &rows {
        sums.add(row);
    }
    let object = json!({
        "paid_nanoton": sums.paid.0,
        "payouts": sums.payouts,
        "fees_nanoton": sums.fees.map(|fees| fees.0),
        "found_payouts": found,
        "left_nanoton": shown.unpaid.map(|left| left.0),
        "waits": shown.waits.as_ref().map(ToString::to_string),
    });
    let cost = sums.fees.map_or_else(|| "not known".to_owned(), |fees| fees.to_string());
    let mut lines = vec![format!("{} came in, in {}; fees {cost}", sums.paid, counted(sums.payouts, "payout"))];
    if let Some(found) = found.filter(|found| *found > 0) {
        lines.push(format!(
            "Written down from the chain: {} that the ledger did not have",
            counted(found as u64, "earlier payout")
        ));
    }
    lines.extend(shown.waits.as_ref().map(|waits| format!("Not fetched: {waits}")));
    tell(arguments.json, &object, &lines)?;
    match (sums.trouble, shown.waits) {
        (Some(why), _) => bail!("a payout: {why}"),
        (None, Some(waits @ (Wait::NoWallet | Wait::Fees { .. }))) => bail!("not everything was fetched: {waits}"),
        (None, _) => Ok(()),
    }
}

/// The wallet that pays the fees of a network that is being served, opened once. What a proxy owes is fetched by itself from the
/// threshold on.
pub(crate) struct Fees {
    chain: Arc<dyn Chain>,
    signer: Arc<Unlocked>,
    public: Public,
    threshold: Nanoton,
    reserve: Nanoton,
}

impl Fees {
    /// Opens it. `None`: no chain is named, or there is no wallet here though it is known who is paid, so nothing is fetched by itself;
    /// the log says so. The folder is the caller's already.
    pub(crate) async fn open(
        folder: &Folder,
        named: &ChainArguments,
        has_payout_address: bool,
        threshold: &str,
        keep: &str,
    ) -> Result<Option<Self>> {
        let Some(chain) = endpoints::chain_if_named(named)? else { return Ok(None) };
        let coins = |word: &str, text: &str| {
            Nanoton::from_coins(text).with_context(|| format!("{word} {text} is no amount of TON"))
        };
        let (threshold, reserve) = (coins("--threshold", threshold)?, coins("--keep", keep)?);
        if has_payout_address && known_public(folder.path())?.is_none() {
            tracing::warn!(
                "no wallet in {} can pay the fees, so nothing is fetched by itself; what is signed is kept. `chrysalis wallet create` makes one",
                folder.path().display()
            );
            return Ok(None);
        }
        // Before there is any secret in this process.
        sandbox::keep_memory_private().context("this system does not let a program keep its memory to itself")?;
        let public = public(folder.path())
            .context("with --chain what is signed is fetched, which takes a wallet; or leave --chain out")?;
        // A chain that does not answer yet is asked again before anything is signed.
        if let Err(error @ ChainError::OtherNetwork { .. }) = chain.expect_network(public.network).await {
            return Err(error).context("--chain");
        }
        let signer = unlock(&Ask::new(), folder.path(), &public)?;
        let payer = address_text(&public.address(), public.network);
        tracing::info!("what is signed is fetched from {threshold} on; {payer} pays the fees");
        Ok(Some(Self { chain, signer, public, threshold, reserve }))
    }

    /// The chain.
    pub(crate) fn chain(&self) -> Arc<dyn Chain> {
        Arc::clone(&self.chain)
    }

    /// A cashier for this network and whoever is paid there.
    pub(crate) fn cashier(&self, folder: &Folder, root_contract: Address, owner: Address) -> Result<Cashier> {
        Ok(cashier::start(Till {
            chain: self.chain(),
            signer: Arc::clone(&self.signer) as Arc<dyn Signer>,
            wallet: self.public.contract,
            network: self.public.network,
            root_contract,
            terms: Terms {
                owner,
                payer: Some(self.public.address()),
                threshold: Some(self.threshold),
                reserve: self.reserve,
            },
            ledger: folder.ledger(),
        })?)
    }
}

/// Writes down payouts that the chain has and the ledger does not, after it was lost or restored from an old copy. How many; `None`: not
/// all could be searched, which is made up for the next time.
async fn remember(chain: &dyn Chain, search: &Search) -> Option<usize> {
    match recover(chain, search).await {
        Ok(found) => Some(found.payouts.len()),
        Err(error) => {
            tracing::warn!("{error}; it is tried again the next time");
            None
        }
    }
}

struct Sums {
    paid: Nanoton,
    /// `None`: not known of every payout.
    fees: Option<Nanoton>,
    payouts: u64,
    trouble: Option<String>,
}

impl Sums {
    fn add(&mut self, row: &Transfer) {
        let (Errand::Payout { .. }, Stage::Ended(outcome)) = (&row.errand, &row.stage) else { return };
        if let Outcome::Done { receipts, .. } | Outcome::Failed { receipts, .. } = outcome {
            let paid = receipts.iter().map(|receipt| receipt.value.0).fold(0, u64::saturating_add);
            self.paid = Nanoton(self.paid.0.saturating_add(paid));
        }
        let cost = match outcome {
            Outcome::Done { fees, .. } | Outcome::Failed { fees, .. } => *fees,
            // No money moved.
            Outcome::Expired | Outcome::Overtaken | Outcome::NotBegun { .. } => Some(Nanoton(0)),
        };
        self.fees = self.fees.zip(cost).map(|(sum, cost)| Nanoton(sum.0.saturating_add(cost.0)));
        if matches!(outcome, Outcome::Done { .. }) {
            self.payouts += 1;
        } else {
            self.trouble = Some(outcome.to_string());
        }
    }
}

/// What it takes to run a cashier over this folder.
pub(super) struct Desk<'a> {
    pub(super) folder: &'a Folder,
    pub(super) public: Public,
    pub(super) chain: Arc<dyn Chain>,
    pub(super) signer: Arc<Unlocked>,
    /// Who is paid.
    pub(super) owner: Address,
}

impl Desk<'_> {
    /// A cashier that does what it is told and nothing by itself.
    fn open(&self, root_contract: Address, reserve: Nanoton) -> Result<Cashier> {
        Ok(cashier::start(Till {
            chain: Arc::clone(&self.chain),
            signer: Arc::clone(&self.signer) as Arc<dyn Signer>,
            wallet: self.public.contract,
            network: self.public.network,
            root_contract,
            terms: Terms { owner: self.owner, payer: Some(self.public.address()), threshold: None, reserve },
            ledger: self.folder.ledger(),
        })?)
    }

    /// Follows to their end what an earlier run had sent: the wallet's numbers are used one after the other.
    async fn finish_earlier(&self, asked: &mut Asked) -> Result<()> {
        let history = open(self.folder)?;
        for root in history.root_contracts()? {
            if history.open_transfers(&root)?.is_empty() {
                continue;
            }
            tracing::info!("a transfer of an earlier run is still under way; it is finished first");
            let cashier = self.open(root, RESERVE)?;
            let done = wait(&cashier, asked, |_| Ok(history.open_transfers(&root)?.is_empty().then_some(()))).await;
            cashier.stop().await;
            done?;
        }
        Ok(())
    }
}

/// Looks until something is so. The chain's own clock ends every transfer, so this ends as long as the chain answers.
async fn wait<T>(cashier: &Cashier, asked: &mut Asked, look: impl Fn(&Shown) -> Result<Option<T>>) -> Result<T> {
    let shown = cashier.shown();
    let mut told = None;
    loop {
        let now = shown.borrow().clone();
        if let Some(found) = look(&now)? {
            return Ok(found);
        }
        if now.chain_fails != told {
            if let Some(why) = &now.chain_fails {
                tracing::warn!("the chain can't be asked, and is asked again: {why}");
            }
            told = now.chain_fails;
        }
        tokio::select! {
            () = asked.wait() => bail!(
                "stopped before the end is known; what was signed is written down, and the next `chrysalis wallet send` or `collect`, or \
                 the app, goes on with it"
            ),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

fn open(folder: &Folder) -> Result<History> {
    Ok(History::open(&folder.ledger(), unix_ms())?)
}

/// The network a transfer is written down under: the one that is named, or the one this folder worked for last.
pub(super) fn network_of(folder: &Folder, named: Option<AddressText>) -> Result<Address> {
    if let Some(named) = named {
        return Ok(named.address);
    }
    let known = open(folder)?.root_contracts()?;
    known
        .first()
        .copied()
        .context("this folder has not worked for any network yet; name one's root contract with --root")
}

pub(super) fn unlock(ask: &Ask, data: &Path, public: &Public) -> Result<Arc<Unlocked>> {
    let password = if public.protection.needs_password() { Some(ask.password()?) } else { None };
    let wallet = vault(data).unlock(password.as_ref()).context("the wallet stays locked")?;
    Ok(Arc::new(Unlocked(wallet)))
}

/// What the transfer would do, on a copy of the chain.
pub(super) async fn tried(chain: &dyn Chain, public: &Public, outgoing: &Outgoing) -> Result<accounting::Forecast> {
    let account = chain.agreed_account(public.address()).await.context("the chain can't be asked about this wallet")?;
    let seqno = match (account.status, &account.data) {
        (AccountStatus::Active, Some(data)) => WalletData::read(public.contract.version, data)?.seqno,
        _ => 0,
    };
    let valid_until = account.seen_at.saturating_add(VALID_SECONDS);
    let forecast = cashier::forecast(chain, &public.contract, None, outgoing, seqno, valid_until).await;
    forecast.map_err(|why| anyhow::anyhow!("it can't be tried out, so it is not sent: {why}"))
}

/// The other sides of the wallet's last transactions.
pub(super) fn known(transactions: &[Transaction], own: &Address) -> Vec<Known> {
    let mut known: BTreeMap<Address, Option<u64>> = BTreeMap::new();
    for transaction in transactions {
        for message in transaction.in_message.iter().chain(&transaction.out_messages) {
            let MessageKind::Internal { source, destination, .. } = message.kind else { continue };
            let (peer, sent) =
                if source == *own { (destination, Some(u64::from(transaction.now))) } else { (source, None) };
            if peer != *own {
                let last = known.entry(peer).or_default();
                *last = (*last).max(sent);
            }
        }
    }
    known.into_iter().map(|(address, sent_at)| Known { address, sent_at }).collect()
}

pub(super) fn fees(outcome: &Outcome) -> Option<Nanoton> {
    match outcome {
        Outcome::Done { fees, .. } | Outcome::Failed { fees, .. } => *fees,
        Outcome::Expired | Outcome::Overtaken | Outcome::NotBegun { .. } => None,
    }
}

pub(super) fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done { .. } => "done",
        Outcome::Failed { .. } => "failed",
        Outcome::Expired => "expired",
        Outcome::Overtaken => "overtaken",
        Outcome::NotBegun { .. } => "not_begun",
    }
}

#[cfg(test)]
mod tests {
    use accounting::TransferId;

    use super::*;

    #[test]
    fn a_fee_that_is_not_known_makes_the_sum_unknown_and_one_that_was_not_paid_does_not() {
        let here = Address { workchain: 0, hash: [1; 32] };
        let row = |outcome| Transfer {
            id: TransferId(1),
            payer: here,
            errand: Errand::Payout {
                worker_contract: here,
                proxy_contract: here,
                owner: Some(here),
                from_tokens: 0,
                to_tokens: 1,
                expected: Nanoton(1),
            },
            outgoing: Outgoing {
                to: here,
                value: Nanoton(1),
                everything: false,
                bounce: true,
                body: None,
                state_init: None,
            },
            forecast: None,
            stage: Stage::Ended(outcome),
            planned_unix_ms: 0,
        };
        let of = |outcomes: Vec<Outcome>| {
            let mut sums = Sums { paid: Nanoton(0), fees: Some(Nanoton(0)), payouts: 0, trouble: None };
            for outcome in outcomes {
                sums.add(&row(outcome));
            }
            sums.fees
        };
        let done = |fees: Option<u64>| Outcome::Done { receipts: Vec::new(), fees: fees.map(Nanoton) };
        assert_eq!(of(vec![done(Some(5)), Outcome::Expired]), Some(Nanoton(5)));
        assert_eq!(of(vec![done(Some(5)), done(None), done(Some(7))]), None);
    }
}
