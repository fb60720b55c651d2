//! The money side of a session: the chain's client, the open wallet and the cashier, together with what they work on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use accounting::Transfer;
use anyhow::{Context as _, Result};
use chain::Chain;
use chain::toncenter::policy::Patience;
use chain::toncenter::{Endpoint, Settings, Toncenter};
use node::core::payouts::{Input, Shown, Terms};
use node::history::History;
use node::proceeds::{Proceeds, Standing};
use node::run::cashier::{self, Cashier, Till};
use tokio::sync::watch;
use ton::{Address, Nanoton};

use crate::practice_network::ChainPlace;
use crate::provider::unix_ms;
use crate::purse::Purse;

/// Requests to a chain on this machine: as many as it likes.
const LOCAL_RATE: (u32, Duration) = (1_000, Duration::from_millis(1));
/// Pause before such a chain is asked again.
const LOCAL_PAUSE: Duration = Duration::from_millis(100);
/// Most transfers of a run that are added up.
const MOST_TRANSFERS: usize = 100_000;

/// What a cashbox is made of.
pub(crate) struct Wanted {
    /// The chain on this machine.
    pub(crate) chain: ChainPlace,
    /// Who signs and is paid.
    pub(crate) purse: Arc<Purse>,
    /// The network.
    pub(crate) root_contract: Address,
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
    root_contract: Address,
    history: History,
    /// The last transfer of earlier runs.
    before: Option<u64>,
}

impl Cashbox {
    /// Opens the ledger, asks nothing yet, and begins to cash what is worth it.
    pub(crate) fn open(wanted: Wanted) -> Result<Self> {
        let Wanted { chain: place, purse, root_contract, ledger, threshold, reserve } = wanted;
        let endpoint = Endpoint::new(&place.endpoint, Some(&place.token)).context("the chain's address")?;
        let endpoint = endpoint.with_rate(LOCAL_RATE.0, LOCAL_RATE.1);
        let patience = Patience { first_pause: LOCAL_PAUSE, ..Patience::default() };
        // Nobody else asks a chain on this machine, so pauses need not be spread.
        let settings = Settings { endpoints: vec![endpoint], agreement: 1, patience, jitter: Arc::new(|| 500) };
        let chain = Arc::new(Toncenter::new(settings).context("the chain's address")?);
        let owner = purse.address();
        let history = History::open(&ledger, unix_ms()).context("the ledger can't be read")?;
        let before = history.last_transfer().context("the ledger can't be read")?;
        let cashier = cashier::start(Till {
            chain: Arc::clone(&chain) as Arc<dyn Chain>,
            wallet: purse.contract(),
            signer: purse,
            root_contract,
            terms: Terms { owner, payer: Some(owner), threshold, reserve },
            ledger,
        })?;
        Ok(Self { cashier, chain, owner, root_contract, history, before })
    }

    /// What there is to show.
    pub(crate) fn shown(&self) -> watch::Receiver<Shown> {
        self.cashier.shown()
    }

    /// Proxies have signed more.
    pub(crate) async fn payments_came(&self) {
        self.cashier.payments_came().await;
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
        let wallet = self.chain.account(self.owner).await.context("the chain")?.balance;
        let (mut reserve, mut unpaid) = (Nanoton(0), Nanoton(0));
        let too_much = "more money than there is";
        for best in self.history.cashable(&self.root_contract).context("the ledger can't be read")? {
            let account = self.chain.account(best.worker_contract).await.context("the chain")?;
            reserve = reserve.checked_add(account.balance).context(too_much)?;
            let paid = cashier::contract_sight(&account)?.tokens;
            let owed = best.fee_per_token.checked_mul(best.tokens.saturating_sub(paid)).context(too_much)?;
            unpaid = unpaid.checked_add(owed).context(too_much)?;
        }
        Ok(Standing { wallet, reserve, unpaid })
    }

    /// What this run brought.
    pub(crate) fn proceeds(&self, signed: Nanoton, before: Standing, after: Standing) -> Result<Proceeds> {
        let transfers: Vec<Transfer> = self
            .history
            .transfers_since(&self.root_contract, self.before, MOST_TRANSFERS)
            .context("the ledger can't be read")?;
        Ok(Proceeds::of(&transfers, &self.owner, signed, before, after)?)
    }

    /// Ends. What is on its way is on the disk, and the next run goes on with it.
    pub(crate) async fn stop(self) {
        self.cashier.stop().await;
    }
}
