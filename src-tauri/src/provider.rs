//! What `practice` and `headless` need to start a node.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use accounting::ModelName;
use anyhow::{Context as _, Result, bail};
use node::core::Settings;
use node::core::workers::WorkerState;
use node::model_file::ModelFile;
use node::run::attester::Attester;
use node::run::{Node, World};
use node::snapshot::Snapshot;
use node::{Configuration, EvidenceKind, PeerPolicy};
use ton::{Address, AddressText, RootConfig};

use crate::cli::DeviceArguments;
use crate::named_file;

/// The owner's promise: this long from "I want my card" to the last word of a running answer.
const YIELD_WITHIN: Duration = Duration::from_millis(300);
const RESTART_FIRST: Duration = Duration::from_secs(1);
const RESTART_MOST: Duration = Duration::from_mins(2);
/// As hard a proof of work as genuine workers solve.
pub(crate) const MAX_POW_DIFFICULTY: u32 = 28;
/// Longest network file that is read, in bytes.
const MAX_NETWORK_FILE: u64 = 4 << 20;

/// What is served, to whom, and who is paid.
pub(crate) struct Service<'a> {
    /// The ledger's file, in a data folder that is ours.
    pub(crate) ledger: PathBuf,
    /// The network's root configuration.
    pub(crate) network: &'a Path,
    /// Address of its root contract, where the file does not name it.
    pub(crate) root_contract: Option<Address>,
    /// The model, opened.
    pub(crate) model: ModelFile,
    /// The name it is served under.
    pub(crate) served_as: ModelName,
    /// Whether the name may claim another hash.
    pub(crate) test_claim: bool,
    /// Who is paid.
    pub(crate) owner: AddressText,
    /// In thousandths.
    pub(crate) coefficient: i32,
    /// Most requests at once.
    pub(crate) max_active: u32,
    /// Proxies kept connected.
    pub(crate) proxy_connections: u32,
    /// Which proxies are trusted.
    pub(crate) policy: PeerPolicy,
    /// What we show in our certificate.
    pub(crate) evidence: EvidenceKind,
    /// What proves to proxies that ask what this computer is.
    pub(crate) attester: Option<Box<dyn Attester>>,
    /// Pause before a lost proxy is dialled again.
    pub(crate) redial: Duration,
    /// Where the model runs.
    pub(crate) device: &'a DeviceArguments,
}

impl Service<'_> {
    /// Address of the network's root contract, and what the network's file says.
    pub(crate) fn terms(&self) -> Result<(Address, RootConfig)> {
        let root = read_network(self.network)?;
        Ok((self.named(&root)?, root))
    }

    fn named(&self, root: &RootConfig) -> Result<Address> {
        match (root.root_contract, self.root_contract) {
            (Some(named), Some(given)) if named != given => {
                bail!("the network file {} names another root contract than --root", self.network.display());
            }
            (Some(address), _) | (None, Some(address)) => Ok(address),
            (None, None) => bail!(
                "the network file {} names no root_contract_address; give the address of the network's root contract with --root",
                self.network.display()
            ),
        }
    }

    /// Checks what can be checked before anything runs, and starts the node.
    pub(crate) fn start(self) -> Result<(Node, RootConfig)> {
        let root = read_network(self.network)?;
        let root_contract = self.named(&root)?;
        if self.owner.testnet && !root.is_test {
            bail!(
                "the owner's address is one of TON's test network, but this network pays real coins; give a main network address"
            );
        }
        self.model.admits(&self.served_as, self.test_claim, root.is_test)?;
        if let Some(said) = self.device.too_many_threads() {
            tracing::warn!("{said}");
        }
        let owner = AddressText { bounceable: false, ..self.owner };
        let worker = worker()?;
        let settings = Settings {
            configuration: Configuration {
                served_as: self.served_as.to_string(),
                owner: owner.to_text(),
                coefficient: self.coefficient,
                max_active_requests: self.max_active,
                proxy_connections: self.proxy_connections,
                is_test: root.is_test,
                is_testnet: owner.testnet,
                root: root.clone(),
                root_contract,
                evidence: self.evidence,
                policy: self.policy,
                backend: self.device.backend(),
                threads: self.device.threads,
                tunings: Vec::new(),
                max_pow_difficulty: MAX_POW_DIFFICULTY,
                unix_ms: 0,
            },
            root: Arc::new(root.clone()),
            root_contract,
            owner: owner.address,
            model_sha256: self.model.sha256(),
            model_bytes: self.model.bytes(),
            program: worker.measured(),
            redial: self.redial,
            yield_within: YIELD_WITHIN,
            retune: self.device.retune,
            restart_first: RESTART_FIRST,
            restart_most: RESTART_MOST,
        };
        let world =
            World { settings, worker, model: self.model.into_file(), ledger: self.ledger, attester: self.attester };
        Ok((node::run::start(world)?, root))
    }
}

/// The machine's clock, Unix time in milliseconds; 0 when it stands before 1970.
pub(crate) fn unix_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Reads a root configuration, bounded.
fn read_network(path: &Path) -> Result<RootConfig> {
    let text = read_network_text(path)?;
    RootConfig::from_json(&text).with_context(|| unusable(path))
}

fn unusable(path: &Path) -> String {
    format!("the network file {} can't be used; name a root configuration with --network", path.display())
}

/// Reads a network file, bounded. What is in it was not looked at.
pub(crate) fn read_network_text(path: &Path) -> Result<String> {
    named_file::text(path, MAX_NETWORK_FILE).with_context(|| unusable(path))
}

/// A shipped program: it stands beside this one.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe().context("the system does not say where this program is")?;
    let path = here.with_file_name(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if !path.is_file() {
        bail!("{} is missing; install Chrysalis anew", path.display());
    }
    Ok(path)
}

/// The worker program, opened and measured: what is started of it is what was measured.
pub(crate) fn worker() -> Result<sandbox::Program> {
    let path = program("chrysalis-worker")?;
    sandbox::Program::open(&path).with_context(|| {
        format!(
            "the worker program {} can't be used; mark it as a program (chmod +x), or install Chrysalis anew",
            path.display()
        )
    })
}

/// `Err` when the worker can't serve and only the owner can help.
pub(crate) fn check(snapshot: &Snapshot) -> Result<()> {
    match &snapshot.worker {
        WorkerState::Failed(why) => bail!("{why}"),
        _ => Ok(()),
    }
}

/// Completes when the program is asked to end: Ctrl-C anywhere, SIGTERM on Linux. May be awaited again for a second request. One
/// that comes while nobody waits is not lost; several of them count as one.
pub(crate) struct Asked {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(windows)]
    ctrl_c: tokio::signal::windows::CtrlC,
}

impl Asked {
    /// Listens from now on.
    #[cfg(unix)]
    pub(crate) fn listen() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Listens from now on.
    #[cfg(windows)]
    pub(crate) fn listen() -> Result<Self> {
        Ok(Self { ctrl_c: tokio::signal::windows::ctrl_c()? })
    }

    /// Waits for the next request.
    #[cfg(unix)]
    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Waits for the next request.
    #[cfg(windows)]
    pub(crate) async fn wait(&mut self) {
        self.ctrl_c.recv().await;
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};
    use tokio::signal::unix::{SignalKind, signal};

    use super::*;

    #[tokio::test]
    async fn a_request_to_end_that_comes_while_nobody_waits_is_heard_at_the_next_wait() {
        let mut asked = Asked::listen().unwrap();
        for (number, kind) in [(Signal::INT, SignalKind::interrupt()), (Signal::TERM, SignalKind::terminate())] {
            let nothing = tokio::time::timeout(Duration::from_millis(10), asked.wait()).await;
            assert!(nothing.is_err(), "nothing was asked yet");
            // Who listens from now on does not hear what was there before: so the request has come and gone once this one has it.
            let mut witness = signal(kind).unwrap();
            kill_process(getpid(), number).unwrap();
            witness.recv().await.unwrap();
            let heard = tokio::time::timeout(Duration::from_secs(20), asked.wait()).await;
            assert!(heard.is_ok(), "{number:?} was lost");
        }
    }
}
