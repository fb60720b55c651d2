//! The gateway on a chain: a task that keeps money in its contracts at proxies, as much as its owner allows.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chain::{AccountStatus, Chain, ChainError};
use serde_json::{Value, json};
use thiserror::Error;
use tokio::sync::{Notify, watch};
use ton::cocoon::{Body, ClientData, ProxyData};
use ton::{Address, AddressText, Cell, Nanoton, ParamsError, RootConfig};
use zeroize::Zeroizing;

use super::proxies::{Met, Proxies};
use crate::clock::random_bytes;
use crate::store::StoreError;
use crate::store::treasury::KnownProxy;
use crate::treasury::customer::{self, Rules, View};
use crate::treasury::{Outcome, Purse, PurseError, Standing, Wallet};

/// A gateway's place on a chain. Has no `Debug`: a key is in it.
pub struct OnChain {
    /// The chain.
    pub chain: Arc<dyn Chain>,
    /// Seed of the gateway's own wallet.
    pub wallet: Zeroizing<[u8; 32]>,
    /// Main or test network: a wallet has another address on each.
    pub network: ton::Network,
    /// The wallet's file.
    pub file: PathBuf,
    /// Pause between two looks at the chain.
    pub look: Duration,
    /// What the owner allows.
    pub rules: Rules,
    /// Take everything back instead of putting money in.
    pub refund: bool,
}

impl OnChain {
    /// The wallet's address, which is what proxies know the gateway by.
    pub fn address(&self) -> Address {
        Wallet::new(&self.wallet, self.network).address()
    }
}

#[derive(Debug, Error)]
enum Trouble {
    #[error(transparent)]
    Purse(#[from] PurseError),
    #[error("{address}: {source}")]
    Foreign { address: Address, source: ParamsError },
}

impl From<ChainError> for Trouble {
    fn from(error: ChainError) -> Self {
        Self::Purse(error.into())
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Purse(error.into())
    }
}

/// What the stats page and the command line see.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown {
    pub(super) page: Value,
    /// A refund was wanted, and is over everywhere.
    pub(super) is_refunded: bool,
}

pub(super) struct Till {
    chain: Arc<dyn Chain>,
    purse: Purse,
    root: Arc<RootConfig>,
    rules: Rules,
    look: Duration,
    refund: bool,
    is_testnet: bool,
    proxies: Arc<Proxies>,
    known: BTreeMap<Address, KnownProxy>,
    /// What the transfer that is under way registers.
    registering: Vec<u64>,
    shown: watch::Sender<Shown>,
}

impl Till {
    pub(super) fn open(
        on: OnChain,
        root: Arc<RootConfig>,
        is_testnet: bool,
        proxies: Arc<Proxies>,
        shown: watch::Sender<Shown>,
    ) -> Result<Self, StoreError> {
        let wallet = Wallet::new(&on.wallet, on.network);
        // Asking for the money back is never too dear.
        let most = (!on.refund).then_some(on.rules.most);
        let purse = Purse::open(Arc::clone(&on.chain), wallet, &on.file)?.allowed(most);
        let known = purse.known_proxies()?.into_iter().map(|proxy| (proxy.contract, proxy)).collect();
        let (chain, rules, look, refund) = (on.chain, on.rules, on.look, on.refund);
        Ok(Self { chain, purse, root, rules, look, refund, is_testnet, proxies, known, registering: Vec::new(), shown })
    }

    /// Runs until it is dropped. Looks at once when somebody is met.
    pub(super) async fn run(mut self, met: Arc<Notify>) {
        loop {
            let changed = met.notified();
            let pause = match self.turn().await {
                Ok(true) => self.look / 4,
                Ok(false) => self.look,
                Err(error) => {
                    tracing::warn!(%error, "the chain: trying again");
                    self.look
                }
            };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One look; says whether a transfer is under way.
    async fn turn(&mut self) -> Result<bool, Trouble> {
        let mut met: BTreeMap<Address, Met> = BTreeMap::new();
        for one in self.proxies.met() {
            let proxy = KnownProxy { contract: one.contract, owner: one.owner, key: one.key };
            if self.known.get(&one.contract) != Some(&proxy) {
                self.purse.remember_proxy(&proxy)?;
                self.known.insert(one.contract, proxy);
            }
            met.insert(one.contract, one);
        }
        let look = self.purse.look().await?;
        if let Some(outcome) = look.ended {
            let registered = std::mem::take(&mut self.registering);
            if outcome == Outcome::Done {
                self.proxies.registered(&registered);
                for met in met.values_mut() {
                    met.nonce = met.nonce.filter(|nonce| !registered.contains(nonce));
                }
            }
        }
        let Some(free) = look.free else { return Ok(true) };
        let (mut views, mut rows, mut is_refunded) = (Vec::new(), Vec::new(), self.refund);
        for (contract, proxy) in &self.known {
            let met = met.get(contract);
            if met.is_none() && !self.refund {
                continue;
            }
            let view = self.view(proxy, met, free.time).await?;
            is_refunded &= customer::is_refunded(&view);
            rows.push(self.row(&view, contract));
            views.push(view);
        }
        let orders = customer::plan_all(&self.rules, &views, || u64::from_le_bytes(random_bytes()));
        let shown = Shown { page: self.page(free.balance, &rows)?, is_refunded };
        self.shown.send_replace(shown);
        let sent = self.purse.send(free, &orders).await?;
        let bodies = sent.iter().filter_map(|at| orders.get(*at)).map(|order| &order.body);
        self.registering.extend(bodies.filter_map(|body| match body {
            Body::OwnerClientRegister { nonce, .. } => Some(*nonce),
            _ => None,
        }));
        if sent.is_empty() && !orders.is_empty() {
            let (wallet, what) = (self.purse.address(), orders.first().map_or("", |order| order.what));
            tracing::warn!(%wallet, balance = %free.balance, what, "not sent: the wallet needs money, or the chain is not ready for it");
        }
        Ok(!sent.is_empty())
    }

    async fn view(&self, proxy: &KnownProxy, met: Option<&Met>, now: u32) -> Result<View, Trouble> {
        let wallet = self.purse.address();
        let init = self.root.client_init(&wallet, &proxy.contract, &proxy.key);
        let contract = self.root.client_contract(&wallet, &proxy.contract, &proxy.key);
        Ok(View {
            wallet,
            contract,
            init,
            client: self.standing(contract, ClientData::from_cell).await?,
            proxy: self.standing(proxy.contract, ProxyData::from_cell).await?,
            least_proxy_stake: self.root.min_proxy_stake,
            price: self.root.price_per_token,
            used: met.map_or(0, |met| met.used),
            spent: self.purse.spent()?,
            nonce: met.and_then(|met| met.nonce),
            refund: self.refund,
            now,
        })
    }

    async fn standing<T>(
        &self,
        address: Address,
        read: impl Fn(&Cell) -> Result<T, ParamsError>,
    ) -> Result<Standing<T>, Trouble> {
        let account = self.chain.agreed_account(address).await?;
        let data = match (account.status, &account.data) {
            (AccountStatus::Active, Some(data)) => {
                Some(read(data).map_err(|source| Trouble::Foreign { address, source })?)
            }
            _ => None,
        };
        Ok(Standing { account: account.balance, data })
    }

    fn text(&self, address: &Address) -> String {
        AddressText { address: *address, bounceable: false, testnet: self.is_testnet }.to_text()
    }

    fn row(&self, view: &View, proxy: &Address) -> Value {
        let data = view.client.data.as_ref();
        json!({
            "proxy_sc_address": self.text(proxy),
            "sc_address": self.text(&view.contract),
            "state": data.map(|data| data.state.code()),
            "balance": data.map(|data| data.balance.0),
            "stake": data.map(|data| data.stake.0),
            "left": customer::left(view).0,
            "tokens_charged": data.map(|data| data.tokens_used),
            "tokens_used": view.used,
            "unlocks_at": data.map(|data| data.unlock_ts),
        })
    }

    fn page(&self, balance: Nanoton, proxies: &[Value]) -> Result<Value, Trouble> {
        Ok(json!({
            "wallet": { "address": self.text(&self.purse.address()), "balance": balance.0 },
            "spent": self.purse.spent()?.0,
            "most": self.rules.most.0,
            "proxies": proxies,
        }))
    }
}
