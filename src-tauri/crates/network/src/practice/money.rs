//! The practice network's money: the embedded chain, and wallets that never run dry because the faucet fills them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::chain::Chain;
use ::chain::toncenter::policy::Patience;
use ::chain::toncenter::{Endpoint, Settings, Toncenter};
use tokio::task::JoinHandle;
use ton::{Address, Nanoton};

use super::StartError;
use super::identity::{self, Seed};
use crate::chain::Running;
use crate::clock::random_bytes;
use crate::store::StoreError;
use crate::treasury::{Purse, Wallet, customer, operator};
use crate::{chain, gateway, proxy};

/// From block to block: a payout through three contracts takes some two seconds.
pub(super) const BLOCK_TIME: Duration = Duration::from_millis(300);
/// Wallets of practice are those of the test network.
const NETWORK: ton::Network = ton::Network::Test;
const COIN: u64 = 1_000_000_000;
/// A wallet with less than this is filled.
const LOW: Nanoton = Nanoton(30_000 * COIN);
/// With so much.
const FILLING: Nanoton = Nanoton(100_000 * COIN);
/// A worker's owner with less than this can't pay for a first payout.
const OWNER_LOW: Nanoton = Nanoton(COIN / 2);
/// What they are given.
const OWNER_GETS: Nanoton = Nanoton(2 * COIN);
/// How often wallets are looked at.
const FILL_EVERY: Duration = Duration::from_secs(10);
/// Quarters of blocks within which it should be there.
const GIVEN_WITHIN: u32 = 40;
/// How long the faucet may take.
const FAUCET_PATIENCE: Duration = Duration::from_secs(20);
/// Customers are charged and the proxy withdraws seldom, for each leaves some kilobytes of history behind.
const OPERATOR: operator::Rules = operator::Rules { charge_at: Nanoton(100 * COIN), withdraw_at: Nanoton(1000 * COIN) };
/// The chain learns what the proxy wrote down this often.
const NOTE_EVERY: Duration = Duration::from_mins(1);

/// A day of practice: ten million adjusted tokens at practice prices. Little of it is used up before more is put in.
const TOP_UP: Nanoton = Nanoton(20_000 * COIN);

/// The chain, and who fills the wallets.
pub(super) struct Bank {
    running: Arc<Running>,
    client: Arc<Toncenter>,
    filling: std::sync::Mutex<Option<JoinHandle<()>>>,
    block_time: Duration,
}

/// Where a wallet lives.
pub(super) fn address(seed: &Seed) -> Address {
    Wallet::new(seed, NETWORK).address()
}

fn folder(data: &Path) -> PathBuf {
    data.join("chain")
}

impl Bank {
    /// Starts the chain of this practice folder; makes one if there is none.
    pub(super) async fn open(data: &Path, block_time: Duration) -> Result<Self, StartError> {
        let mut settings = chain::Settings::new(folder(data));
        settings.block_time = block_time;
        let running = chain::start(settings).await?;
        let money = |error: ::chain::toncenter::EndpointError| StartError::Money(error.to_string());
        let endpoint = Endpoint::new(&running.endpoint(), Some(running.token())).map_err(money)?;
        let patience = Patience { first_pause: Duration::from_millis(50), ..Patience::default() };
        let jitter = Arc::new(|| u16::from_le_bytes(random_bytes()) % 1000);
        let settings = Settings { endpoints: vec![endpoint], agreement: 1, patience, jitter };
        let client = Arc::new(Toncenter::new(settings).map_err(money)?);
        Ok(Self { running: Arc::new(running), client, filling: std::sync::Mutex::new(None), block_time })
    }

    /// Throws a chain away that can't be used.
    pub(super) fn clear(data: &Path) -> io::Result<()> {
        match std::fs::remove_dir_all(folder(data)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) fn chain(&self) -> &Running {
        &self.running
    }

    /// Fills these wallets now, and from now on whenever they run low.
    pub(super) async fn fill(&self, seeds: &[&Seed]) -> Result<(), StartError> {
        let wallets: Vec<Address> = seeds.iter().map(|seed| address(seed)).collect();
        let filled = async {
            loop {
                let given = fill(&self.running, &self.client, &wallets).await.map_err(StartError::Money)?;
                if given == 0 {
                    return Ok::<(), StartError>(());
                }
                // What was given arrives with the next block.
                for _ in 0..GIVEN_WITHIN {
                    tokio::time::sleep(self.block_time / 4).await;
                    if lacking(&self.client, &wallets).await.map_err(StartError::Money)?.is_empty() {
                        return Ok::<(), StartError>(());
                    }
                }
            }
        };
        let late = |_| StartError::Money("the faucet gives nothing".to_owned());
        tokio::time::timeout(FAUCET_PATIENCE, filled).await.map_err(late)??;
        let (running, client) = (Arc::clone(&self.running), Arc::clone(&self.client));
        let filling = tokio::spawn(async move {
            loop {
                tokio::time::sleep(FILL_EVERY).await;
                if let Err(error) = fill(&running, &client, &wallets).await {
                    tracing::warn!(%error, "practice: a wallet cannot be filled");
                }
            }
        });
        let mut before = self.filling.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(before) = before.replace(filling) {
            before.abort();
        }
        Ok(())
    }

    /// Gives a worker's owner, who has nothing at first, what payouts cost until they have brought something.
    pub(super) async fn give_first_money(&self, owner: Address) -> Result<(), StartError> {
        let given = async {
            let mut asked = false;
            loop {
                let account = self.client.account(owner).await.map_err(|error| StartError::Money(error.to_string()))?;
                if account.balance >= OWNER_LOW {
                    return Ok(());
                }
                if !asked {
                    self.running.give(owner, OWNER_GETS).await.map_err(|refusal| StartError::Money(refusal.words))?;
                    asked = true;
                }
                tokio::time::sleep(self.block_time).await;
            }
        };
        let late = |_| StartError::Money("the faucet gives nothing".to_owned());
        tokio::time::timeout(FAUCET_PATIENCE, given).await.map_err(late)?
    }

    /// The proxy's place on the chain.
    pub(super) fn of_proxy(&self, data: &Path, seed: &Seed) -> proxy::OnChain {
        proxy::OnChain {
            chain: Arc::clone(&self.client) as Arc<dyn Chain>,
            wallet: seed.clone(),
            network: NETWORK,
            file: identity::proxy_wallet(data),
            look: self.look(),
            rules: OPERATOR,
            confirm: proxy::Confirm::OnDisk { note_every: NOTE_EVERY },
        }
    }

    /// The wallet of the network's owner.
    pub(super) fn of_owner(&self, data: &Path, seed: &Seed) -> Result<Purse, StoreError> {
        let chain = Arc::clone(&self.client) as Arc<dyn Chain>;
        Purse::open(chain, Wallet::new(seed, NETWORK), &identity::owner_wallet(data))
    }

    /// Pause between two looks.
    pub(super) fn look(&self) -> Duration {
        (3 * self.block_time).min(Duration::from_secs(1))
    }

    /// The customers' place on the chain.
    pub(super) fn of_client(&self, data: &Path, seed: &Seed) -> gateway::OnChain {
        gateway::OnChain {
            chain: Arc::clone(&self.client) as Arc<dyn Chain>,
            wallet: seed.clone(),
            network: NETWORK,
            file: identity::client_wallet(data),
            look: self.look(),
            rules: customer::Rules {
                low: Nanoton(TOP_UP.0 / 2),
                top_up: TOP_UP,
                stake: Nanoton(TOP_UP.0 / 4),
                most: Nanoton(u64::MAX),
                secret_hash: sha2_of_nothing(),
            },
            refund: false,
        }
    }

    /// Ends the chain, the last of all.
    pub(super) async fn close(self) {
        let filling = self.filling.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(filling) = filling {
            filling.abort();
            let _ = filling.await;
        }
        if let Ok(running) = Arc::try_unwrap(self.running) {
            running.stop().await;
        }
    }
}

/// The secret of practice is the empty one.
fn sha2_of_nothing() -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(b"").into()
}

/// Who has little.
async fn lacking(client: &Toncenter, wallets: &[Address]) -> Result<Vec<Address>, String> {
    let mut lacking = Vec::new();
    for wallet in wallets {
        let account = client.account(*wallet).await.map_err(|error| error.to_string())?;
        if account.balance < LOW {
            lacking.push(*wallet);
        }
    }
    Ok(lacking)
}

/// Gives to those who have little; says how many.
async fn fill(running: &Running, client: &Toncenter, wallets: &[Address]) -> Result<usize, String> {
    let lacking = lacking(client, wallets).await?;
    for wallet in &lacking {
        running.give(*wallet, FILLING).await.map_err(|refusal| refusal.words)?;
    }
    Ok(lacking.len())
}
