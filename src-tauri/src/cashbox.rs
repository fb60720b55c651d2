//! The money side of a session: the chain's client, the open wallet and the cashier, together with what they work on.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use accounting::{Errand, Forecast, Outgoing, Transfer, TransferId};
use anyhow::{Context as _, Result};
use chain::toncenter::policy::Patience;
use chain::toncenter::{Endpoint, Settings, Toncenter};
use chain::{AccountStatus, Chain, MOST_TRANSACTIONS, Transaction, TransactionId};
use node::core::payouts::{Claim, Input, NotSent, Shown, Sight, Standing as ContractStanding, Terms, Wait, choose};
use node::earnings::Earnings;
use node::history::History;
use node::proceeds::{Proceeds, Standing};
use node::receipt::prove;
use node::run::cashier::{self, Cashier, Till};
use node::run::recovery::{Search, recover};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use ton::{Address, Nanoton, Network, RootConfig};
use wallet::Seen;

use crate::practice_network::ChainPlace;
use crate::provider::unix_ms;
use crate::purse::Purse;
use crate::view::Refusal;

/// Requests to a chain on this machine: as many as it likes.
const LOCAL_RATE: (u32, Duration) = (1_000, Duration::from_millis(1));
/// Pause before such a chain is asked again.
const LOCAL_PAUSE: Duration = Duration::from_millis(100);
/// Most pages of the owner's account that are searched at one start.
pub(crate) const SEARCHED_PAGES: u32 = 200;
/// A transfer that is only tried is good for so many seconds.
const TRIED_SECONDS: u32 = 120;
/// How long transfers of earlier runs may take before a run begins without them.
const EARLIER_PATIENCE: Duration = Duration::from_secs(30);
/// Most transfers of a run that are added up.
const MOST_TRANSFERS: usize = 100_000;

/// What a cashbox is made of.
pub(crate) struct Wanted {
    /// The chain on this machine.
    pub(crate) chain: ChainPlace,
    /// Who signs and pays the fees.
    pub(crate) purse: Arc<Purse>,
    /// Who is paid: this wallet, or an address whose key is elsewhere.
    pub(crate) owner: Address,
    /// Who was paid before; forgotten payouts are searched there, too.
    pub(crate) earlier: Vec<Address>,
    /// The network.
    pub(crate) root_contract: Address,
    /// What it pays today.
    pub(crate) root: Arc<RootConfig>,
    /// The ledger's file.
    pub(crate) ledger: PathBuf,
    /// From how much on a payout is made by itself.
    pub(crate) threshold: Option<Nanoton>,
    /// What stays in the wallet for fees.
    pub(crate) reserve: Nanoton,
}

/// See the module.
pub(crate) struct Cashbox {
    cashier: Cashier,
    chain: Arc<Toncenter>,
    owner: Address,
    payer: Address,
    root_contract: Address,
    terms: Terms,
    history: History,
    searching: AbortHandle,
    earnings: Earnings,
    /// The last transfer of earlier runs.
    before: Option<u64>,
}

impl Cashbox {
    /// Opens the ledger, asks nothing yet, and begins to cash what is worth it.
    pub(crate) fn open(wanted: Wanted) -> Result<Self> {
        let Wanted { chain: place, purse, owner, earlier, root_contract, root, ledger, threshold, reserve } = wanted;
        let endpoint = Endpoint::new(&place.endpoint, Some(&place.token)).context("the chain's address")?;
        let endpoint = endpoint.with_rate(LOCAL_RATE.0, LOCAL_RATE.1);
        let patience = Patience { first_pause: LOCAL_PAUSE, ..Patience::default() };
        // Nobody else asks a chain on this machine, so pauses need not be spread.
        let settings = Settings { endpoints: vec![endpoint], agreement: 1, patience, jitter: Arc::new(|| 500) };
        let chain = Arc::new(Toncenter::new(settings).context("the chain's address")?);
        let payer = purse.address();
        let history = History::open(&ledger, unix_ms()).context("the ledger can't be read")?;
        let earnings = Earnings::open(&ledger, unix_ms()).context("the ledger can't be read")?;
        let before = history.last_transfer().context("the ledger can't be read")?;
        let search = |owner| Search {
            root_contract,
            terms: Some(Arc::clone(&root)),
            owner,
            ledger: ledger.clone(),
            page: MOST_TRANSACTIONS,
            pages: SEARCHED_PAGES,
        };
        let searches = [owner].into_iter().chain(earlier).map(search).collect();
        let asked = Arc::clone(&chain) as Arc<dyn Chain>;
        let searching = tokio::spawn(search_for_the_forgotten(asked, searches)).abort_handle();
        let terms = Terms { owner, payer: Some(payer), threshold, reserve };
        let cashier = cashier::start(Till {
            network: Network::Test,
            chain: Arc::clone(&chain) as Arc<dyn Chain>,
            wallet: purse.contract(),
            signer: purse,
            root_contract,
            terms: terms.clone(),
            ledger,
        })?;
        Ok(Self { cashier, chain, owner, payer, root_contract, terms, history, searching, earnings, before })
    }

    /// What there is to show.
    pub(crate) fn shown(&self) -> watch::Receiver<Shown> {
        self.cashier.shown()
    }

    /// Tells the cashier something.
    pub(crate) async fn tell(&self, input: Input) {
        self.cashier.tell(input).await;
    }

    /// Who is paid.
    pub(crate) fn owner(&self) -> Address {
        self.owner
    }

    /// Sends money, or says why it is not sent, see [`Cashier::send`].
    pub(crate) async fn send(&self, outgoing: Outgoing, within: Duration) -> Result<TransferId, NotSent> {
        self.cashier.send(outgoing, within).await
    }

    /// What it began with.
    pub(crate) fn terms(&self) -> Terms {
        self.terms.clone()
    }

    /// The network.
    pub(crate) fn root_contract(&self) -> Address {
        self.root_contract
    }

    /// The chain.
    pub(crate) fn chain(&self) -> &dyn Chain {
        &*self.chain
    }

    /// What an account has now.
    pub(crate) async fn balance(&self, address: Address) -> Result<Nanoton> {
        Ok(self.chain.account(address).await.context("the chain")?.balance)
    }

    /// What the chain says of an address that money may go to.
    pub(crate) async fn seen(&self, address: Address) -> Seen {
        match self.chain.account(address).await.map(|account| account.status) {
            Ok(AccountStatus::Active) => Seen::Active,
            Ok(_) => Seen::Uninitialised,
            Err(_) => Seen::No,
        }
    }

    /// Some of an account's history, the newest first.
    pub(crate) async fn transactions(
        &self,
        address: Address,
        from: Option<TransactionId>,
        limit: u32,
    ) -> Result<Vec<Transaction>> {
        self.chain.transactions(address, from, limit).await.context("the chain")
    }

    /// Every contract that speaks for a network. Waits for the disk.
    pub(crate) fn contracts(&self) -> Result<BTreeSet<Address>> {
        self.history.contracts().context("the ledger can't be read")
    }

    /// What a transfer would do. `Err`: it can't be tried, in words for the owner.
    pub(crate) async fn forecast(&self, purse: &Purse, outgoing: Outgoing) -> Result<Forecast, String> {
        let sight = cashier::look(&*self.chain, purse.address(), Vec::new(), Vec::new())
            .await
            .map_err(|error| error.to_string())?;
        self.tried(purse, None, &outgoing, &sight).await
    }

    /// What fetching now would bring from the contract that owes most, and what that contract would keep for its rent.
    pub(crate) async fn forecast_payout(&self, purse: &Purse) -> Result<(Forecast, Nanoton), Refusal> {
        let failed = |why: String| Refusal::Failed { why };
        let best = tokio::task::block_in_place(|| self.history.cashable(&self.root_contract));
        let claims: Vec<Claim> = best
            .map_err(|error| failed(error.to_string()))?
            .into_iter()
            .filter_map(|best| cashier::claim(best, purse.address()))
            .collect();
        let contracts = claims.iter().map(|claim| claim.worker_contract).collect();
        let proxies: BTreeSet<Address> = claims.iter().map(|claim| claim.proxy_contract).collect();
        let asked = cashier::look(&*self.chain, purse.address(), contracts, proxies.into_iter().collect()).await;
        let sight = asked.map_err(|error| Refusal::ChainFails { why: error.to_string() })?;
        let claim = choose(claims.iter(), &sight, &self.terms, |_| true).map_err(|wait| match wait {
            Some(Wait::Fees { balance, needed }) => {
                Refusal::NotEnough { have: balance.0.to_string(), need: needed.0.to_string() }
            }
            Some(Wait::NoWallet) => Refusal::NoWallet,
            Some(Wait::Threshold { .. }) | None => Refusal::Nothing,
        })?;
        let (errand, outgoing) = claim.payout(&sight, self.terms.owner);
        let owner = match errand {
            Errand::Payout { owner, .. } => owner.unwrap_or(self.terms.owner),
            Errand::Send => self.terms.owner,
        };
        let tried = self.tried(purse, Some(&owner), &outgoing, &sight).await;
        let forecast = tried.map_err(|why| Refusal::ChainFails { why })?;
        let kept = forecast.kept(sight.payer.balance, owner == purse.address());
        Ok((forecast, kept))
    }

    async fn tried(
        &self,
        purse: &Purse,
        owner: Option<&Address>,
        outgoing: &Outgoing,
        sight: &Sight,
    ) -> Result<Forecast, String> {
        let valid_until = sight.payer.unix.saturating_add(TRIED_SECONDS);
        let seqno = sight.payer.next_seqno();
        cashier::forecast(&*self.chain, &purse.contract(), owner, outgoing, seqno, valid_until).await
    }

    /// Proxies have signed more.
    pub(crate) async fn payments_came(&self) {
        self.cashier.payments_came().await;
    }

    /// Lets what earlier runs have sent come to its end, says how things stand then, and from there on fetches by itself from a
    /// threshold on. For a cashbox that was opened without one.
    pub(crate) async fn begin(&mut self, threshold: Option<Nanoton>) -> Result<Standing> {
        let mut shown = self.cashier.shown();
        let settled = tokio::time::timeout(EARLIER_PATIENCE, shown.wait_for(|shown| !shown.busy)).await;
        self.before = self.history.last_transfer().context("the ledger can't be read")?;
        let standing = self.standing().await;
        self.cashier.tell(Input::TermsAre(Terms { threshold, ..self.terms.clone() })).await;
        settled.context("a transfer of an earlier run has not come to its end")?.context("the cashier has ended")?;
        standing
    }

    /// Fetches what is worth its fee, whatever the threshold, and waits until it is there.
    pub(crate) async fn take_all(&self, patience: Duration) -> Result<()> {
        let mut shown = self.cashier.shown();
        let asked = shown.borrow().asked;
        self.cashier.payments_came().await;
        self.cashier.tell(Input::TakeNow).await;
        let over = async {
            let settled = |shown: &Shown| shown.asked > asked && !shown.busy;
            shown.wait_for(settled).await.map(drop).context("the cashier has ended by itself")
        };
        if let Ok(over) = tokio::time::timeout(patience, over).await {
            return over;
        }
        let why = shown.borrow().chain_fails.clone();
        let why = why.unwrap_or_else(|| "the chain has not confirmed it".to_owned());
        anyhow::bail!(
            "what is signed did not come into the wallet within {} s: {why}; what is on its way is written down, and the next run goes on with it",
            patience.as_secs()
        )
    }

    /// How things stand on the chain now.
    pub(crate) async fn standing(&self) -> Result<Standing> {
        let too_much = "more money than there is";
        let mut wallet = Nanoton(0);
        for account in self.owners()?.into_iter().chain([self.payer]).collect::<BTreeSet<_>>() {
            let balance = self.chain.account(account).await.context("the chain")?.balance;
            wallet = wallet.checked_add(balance).context(too_much)?;
        }
        let (mut reserve, mut signed, mut unpaid) = (Nanoton(0), Nanoton(0), Nanoton(0));
        for best in self.history.cashable(&self.root_contract).context("the ledger can't be read")? {
            let account = self.chain.account(best.worker_contract).await.context("the chain")?;
            reserve = reserve.checked_add(account.balance).context(too_much)?;
            let seen = cashier::contract_sight(&account);
            anyhow::ensure!(seen.standing != ContractStanding::Unreadable, "{} can't be read", best.worker_contract);
            let paid = seen.tokens;
            let owed = best.fee_per_token.checked_mul(best.tokens.saturating_sub(paid)).context(too_much)?;
            unpaid = unpaid.checked_add(owed).context(too_much)?;
            let all = best.fee_per_token.checked_mul(best.tokens).context(too_much)?;
            signed = signed.checked_add(all).context(too_much)?;
        }
        Ok(Standing { wallet, reserve, signed, unpaid })
    }

    /// What this run brought.
    pub(crate) fn proceeds(&self, before: Standing, after: Standing) -> Result<Proceeds> {
        let transfers: Vec<Transfer> = self
            .history
            .transfers_since(&self.root_contract, self.before, MOST_TRANSFERS)
            .context("the ledger can't be read")?;
        Ok(Proceeds::of(&transfers, &self.owners()?, before, after)?)
    }

    /// Whom the worker contracts pay: the owner of today, and those of contracts that were made before.
    fn owners(&self) -> Result<BTreeSet<Address>> {
        let known = self.history.cashable(&self.root_contract).context("the ledger can't be read")?;
        let claims = known.into_iter().filter_map(|best| cashier::claim(best, self.payer));
        Ok(claims.filter_map(|claim| claim.owner).chain([self.owner]).collect())
    }

    /// How many of the newest payouts are proved by the chain's own data; what refutes one is logged.
    pub(crate) async fn verified(&self, terms: &RootConfig, newest: u64) -> Result<u64> {
        let root = &self.root_contract;
        let mut proved = 0_u64;
        let (mut left, mut before) = (newest, None);
        while left > 0 {
            let limit = u32::try_from(left).unwrap_or(u32::MAX);
            let page = self.earnings.payouts(root, before, limit).context("the ledger can't be read")?;
            for payout in &page.payouts {
                let receipt = &payout.receipt;
                let claimed =
                    self.earnings.claimed(root, receipt.lt, &receipt.hash).context("the ledger can't be read")?;
                let Some(claimed) = claimed else { continue };
                let verdict = prove(&*self.chain, &claimed, Some(terms)).await;
                if verdict.is_proved_by_the_chain() {
                    proved = proved.saturating_add(1);
                } else {
                    tracing::error!(?verdict, "a payout of {} is not proved", receipt.value);
                }
            }
            left = left.saturating_sub(page.payouts.len() as u64);
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        Ok(proved)
    }

    /// Ends. What is on its way is on the disk, and the next run goes on with it.
    pub(crate) async fn stop(self) {
        self.searching.abort();
        self.cashier.stop().await;
    }
}

/// Payouts that the chain has and the ledger does not, after it was lost or restored from an old copy. What is found is in the ledger;
/// a search that is cut off goes on at the next start.
pub(crate) async fn search_for_the_forgotten(chain: Arc<dyn Chain>, searches: Vec<Search>) {
    for search in searches {
        if let Err(error) = recover(&*chain, &search).await {
            tracing::warn!("{error}; it is tried again at the next start");
        }
    }
}
