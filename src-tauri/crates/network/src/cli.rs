//! The command line of `chrysalis-network`.

use std::io::{IsTerminal, Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use ::chain::Chain;
use accounting::ModelName;
use clap::{Args, Parser, Subcommand, ValueEnum};
use evidence::Terms;
use ratls::{Evidence, Policy};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;
use ton::{AddressText, Nanoton};
use tracing_subscriber::EnvFilter;

use crate::chain::Fault;
use crate::config::chain::read_root;
use crate::config::evidence::Showing;
use crate::config::{self, GatewayConfig, Network, ProxyConfig};
use crate::keys::{SigningKey, wallet_address};
use crate::misbehaviour::Misbehaviour;
use crate::proxy::ChainTrouble;
use crate::{chain, gateway, practice, proxy, registrar};

const EXIT_CODES: &str = "\
Exit codes:
  0  ended because it was asked to (SIGTERM, Ctrl-C, or the end of standard input in practice)
  1  could not start or go on; the last line on standard error says why and what to do
  2  wrong command line
  3  the proxy's accounts are older than the chain: nothing is signed with them

One line of JSON on standard output says when it is ready and on which ports:
  {\"ready\":{\"role\":\"gateway\",\"http_port\":10000}}
Everything else goes to standard error; the environment variable CHRYSALIS_LOG sets how much (error, warn, info, debug).";

const REGISTRAR_CODES: &str = "\
Exit codes:
  0  ended because it was asked to (SIGTERM, Ctrl-C)
  1  could not start or go on; the last line on standard error says why and what to do
  2  wrong command line

One line of JSON on standard output says when it is ready, on which port and with which key:
  {\"ready\":{\"role\":\"registrar\",\"port\":4420,\"key\":\"...\"}}
Everything else goes to standard error; the environment variable CHRYSALIS_LOG sets how much (error, warn, info, debug).";

/// The other roles of a Cocoon network.
///
/// A proxy brings workers and clients together, counts tokens and signs payments. A gateway offers HTTP as OpenAI's clients speak it and
/// passes questions to a proxy. Practice runs both with simulated customers, on this machine only.
#[derive(Parser)]
#[command(name = "chrysalis-network", version, after_help = EXIT_CODES, after_long_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Route questions from clients to workers, count, sign payments
    #[command(after_help = EXIT_CODES)]
    Proxy(ProxyArgs),
    /// Offer OpenAI's HTTP on 127.0.0.1 and pass questions to a proxy
    #[command(after_help = EXIT_CODES)]
    Gateway(GatewayArgs),
    /// Run a whole network on this machine, with simulated customers and practice money
    #[command(after_help = EXIT_CODES)]
    Practice(PracticeArgs),
    /// Run a chain of one's own on 127.0.0.1, behind toncenter's API: real wallets and contracts, money that is worth nothing
    #[command(after_help = EXIT_CODES)]
    Chain(ChainArgs),
    /// Let machines' TPMs become known: sees their endorsement keys, tells proxies only that a key belongs to some machine
    #[command(after_help = REGISTRAR_CODES)]
    Registrar(RegistrarArgs),
}

#[derive(Args)]
struct ProxyArgs {
    /// Configuration with the field names of the genuine proxy-runner (JSON): workers_rpc_port, client_rpc_port, http_port,
    /// owner_address, root_contract_address, machine_specific_private_key, is_test, …
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The network's root configuration (JSON). Not needed where the configuration names a chain and root_contract_address: then the
    /// root contract is read
    #[arg(long, value_name = "FILE")]
    network: Option<PathBuf>,
    /// Folder for the accounts (proxy.sqlite) and what the proxy's wallet sent (wallet.sqlite); made if it is not there
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Close the proxy's contract instead: refund all clients, pay all workers for the last time, wait for the delay, give the rest to the
    /// owner. Nobody may have the data folder open. May be stopped and started again
    #[arg(long)]
    close: bool,
    /// Bits of proof of work that every dialler must do
    #[arg(long, value_name = "N", default_value_t = ratls::pow::DEFAULT_DIFFICULTY, value_parser = clap::value_parser!(i32).range(0..=28))]
    pow_difficulty: i32,
    /// Which workers to trust: any, only those whose certificate carries a simulated quote, or only those whose certificate carries a quote of
    /// Intel TDX, with an image that the network lists. Clients need none
    #[arg(long, value_enum, default_value_t = PolicyWord::Any)]
    policy: PolicyWord,
    #[command(flatten)]
    collateral: CollateralArgs,
    /// What the proxy's own certificate carries; genuine clients that dial directly want fake_tdx
    #[arg(long, value_enum, default_value_t = EvidenceWord::None)]
    evidence: EvidenceWord,
    /// Address to listen on for workers and clients. Anything but loopback is open to your network
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    listen: IpAddr,
}

#[derive(Args)]
struct GatewayArgs {
    /// Configuration with the field names of the genuine client-runner (JSON): http_port, owner_address, root_contract_address,
    /// proxy_connections, secret_string, is_test, …
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The network's root configuration (JSON); its registered_proxies are dialled. Not needed where the configuration names a chain and
    /// root_contract_address: then the root contract is read
    #[arg(long, value_name = "FILE")]
    network: Option<PathBuf>,
    /// Folder for what the gateway keeps: with a chain, what its wallet sent (wallet.sqlite); made if it is not there
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Take back what was put in at proxies instead of serving; ends when all of it is back in the gateway's wallet
    #[arg(long)]
    refund: bool,
    /// Most bits of proof of work to do for a proxy
    #[arg(long, value_name = "N", default_value_t = ratls::pow::MAX_DIFFICULTY, value_parser = clap::value_parser!(i32).range(0..=28))]
    pow_difficulty: i32,
    /// Which proxies to trust: any, only those whose certificate carries a simulated quote, or only those whose certificate carries a quote of
    /// Intel TDX, with an image that the network lists
    #[arg(long, value_enum, default_value_t = PolicyWord::Any)]
    policy: PolicyWord,
    #[command(flatten)]
    collateral: CollateralArgs,
    /// What the gateway's own certificate carries
    #[arg(long, value_enum, default_value_t = EvidenceWord::None)]
    evidence: EvidenceWord,
}

#[derive(Args)]
struct PracticeArgs {
    /// Folder for the network file (network.json) and the practice accounts; made if it is not there
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The model that customers ask for; without it, whatever is served
    #[arg(long, value_name = "BASE@COMMIT:HASH")]
    model: Option<ModelName>,
    /// How many simulated customers ask questions
    #[arg(long, value_name = "N", default_value_t = practice::CUSTOMERS, value_parser = clap::value_parser!(u32).range(0..=1000))]
    customers: u32,
    /// Decides who asks what when
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Port of the gateway; 0: any free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    http_port: u16,
    /// Whose worker will serve here: this wallet is given coins for the fees of its first payout
    #[arg(long, value_name = "ADDRESS")]
    owner: Option<String>,
    /// Bits of proof of work
    #[arg(long, value_name = "N", default_value_t = practice::POW_DIFFICULTY, value_parser = clap::value_parser!(i32).range(0..=28))]
    pow_difficulty: i32,
    /// For tests: let the proxy do wrong to workers in this way
    #[arg(long, value_enum, value_name = "NAME")]
    misbehave: Option<Misbehaviour>,
}

#[derive(Args)]
struct ChainArgs {
    /// Folder for the chain's file (chain.sqlite); made if it is not there
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Port of toncenter's API; 0: any free one. The line that says it is ready names it, and the token that requests must show as
    /// X-API-Key
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    /// Decides all chance on a new chain
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// What the chain calls itself: -3 like TON's test network, -239 like the main one, or a number of its own
    #[arg(long, value_name = "N", default_value_t = chain::GLOBAL_ID, allow_negative_numbers = true)]
    global_id: i32,
    /// Milliseconds from block to block
    #[arg(long, value_name = "MS", default_value_t = chain::BLOCK_TIME.as_millis() as u32, value_parser = clap::value_parser!(u32).range(1..))]
    block_time: u32,
    /// Nanotons that the faucet gives to whoever names no amount
    #[arg(long, value_name = "N", default_value_t = chain::FAUCET.0)]
    faucet: u64,
    /// For tests: do wrong in this way; KIND[=NUMBER][:METHOD[:TIMES]], may be given several times
    #[arg(long, value_name = "FAULT")]
    fault: Vec<Fault>,
}

#[derive(Args)]
struct RegistrarArgs {
    /// Folder for its keys (registrar.keys); made if it is not there. Whoever loses them is another registrar
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Address to listen on. Anything but loopback is open to your network
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    listen: IpAddr,
    /// Port; 0: any free one. The line that says it is ready names it, and the key that proxies must be told to believe
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    /// Bits of proof of work that every dialler must do
    #[arg(long, value_name = "N", default_value_t = ratls::pow::DEFAULT_DIFFICULTY, value_parser = clap::value_parser!(i32).range(0..=28))]
    pow_difficulty: i32,
    /// For how many days a statement counts
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
    statement_days: u32,
    /// A root certificate (DER) of a maker of TPMs that counts besides those that are built in; may be given several times
    #[arg(long, value_name = "FILE")]
    tpm_root: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum PolicyWord {
    Any,
    FakeTdx,
    Tdx,
}

#[derive(Args)]
struct CollateralArgs {
    /// For --policy tdx: Intel's signed statements about the others' kind of processor, as collateral services give them (JSON). They end
    /// after some weeks
    #[arg(long, value_name = "FILE")]
    collateral: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum EvidenceWord {
    None,
    FakeTdx,
}

impl From<EvidenceWord> for Evidence {
    fn from(word: EvidenceWord) -> Self {
        match word {
            EvidenceWord::None => Self::None,
            EvidenceWord::FakeTdx => Self::FakeTdx,
        }
    }
}

/// `check`: whether images must be on the network's list where the evidence proves nothing anyway; of real evidence they always must.
fn policy(word: PolicyWord, collateral: &CollateralArgs, listed: &[[u8; 32]], check: Check) -> Result<Policy, Failure> {
    Ok(match (word, &collateral.collateral) {
        (PolicyWord::Any | PolicyWord::FakeTdx, Some(_)) => return Err("--collateral belongs to --policy tdx".into()),
        (PolicyWord::Any, None) => Policy::Any,
        (PolicyWord::FakeTdx, None) => {
            Policy::FakeTdx { image_hashes: if check == Check::Images { listed.to_vec() } else { Vec::new() } }
        }
        (PolicyWord::Tdx, None) => {
            return Err(
                "--policy tdx needs Intel's statements about the others' processor: name their file with --collateral"
                    .into(),
            );
        }
        (PolicyWord::Tdx, Some(path)) => {
            let text = config::read_file(path)?;
            serde_json::from_str::<serde::de::IgnoredAny>(&text)
                .map_err(|error| format!("the file {} is no collateral: {error}", path.display()))?;
            if listed.is_empty() {
                return Err("--policy tdx trusts only images that the network lists, and this one lists none".into());
            }
            Policy::Tdx { image_hashes: listed.to_vec(), collateral: text.as_bytes().into() }
        }
    })
}

/// Whether images are looked for on the network's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    /// They are.
    Images,
    /// They are not.
    Nothing,
}

impl Check {
    const fn images(wanted: bool) -> Self {
        if wanted { Self::Images } else { Self::Nothing }
    }
}

/// Anything that ends the program with code 1. Its words say what to do.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors.
            let code = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let filter = EnvFilter::try_from_env("CHRYSALIS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let ended = runtime.block_on(async {
        match cli.role {
            Role::Proxy(args) => run_proxy(args).await,
            Role::Gateway(args) => run_gateway(args).await,
            Role::Practice(args) => run_practice(args).await,
            Role::Chain(args) => run_chain(args).await,
            Role::Registrar(args) => run_registrar(args).await,
        }
    });
    // Somebody solving a proof of work need not finish it.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &Failure) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "chrysalis-network: {error}");
    let at_start = error.downcast_ref::<proxy::StartError>();
    let is_old = error.is::<OldAccounts>()
        || at_start.is_some_and(|error| matches!(error, proxy::StartError::Chain(ChainTrouble::OldAccounts(_))));
    ExitCode::from(if is_old { 3 } else { 1 })
}

/// A proxy that runs has found out that its accounts are old.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct OldAccounts(String);

/// The network, from its chain if there is one, else from its file.
async fn network_of(
    file: Option<&Path>,
    configured: &str,
    chain: Option<&Arc<dyn Chain>>,
    config: &Path,
    is_test: bool,
) -> Result<Network, Failure> {
    let Some(chain) = chain else {
        let file = file.ok_or("give the network's file with --network, or name a chain in the configuration")?;
        return Ok(Network::read(file, configured)?.agreeing(file, is_test)?);
    };
    let root = match (configured.trim(), file) {
        ("", Some(file)) => Network::read(file, "")?.root_contract,
        _ => config::address(config, "root_contract_address", configured)?,
    };
    Ok(read_root(&**chain, root).await?.agreeing(config, is_test)?)
}

const fn wallet_network(is_testnet: bool) -> ton::Network {
    if is_testnet { ton::Network::Test } else { ton::Network::Main }
}

fn say_ready(ready: &Value) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", json!({ "ready": ready }))?;
    out.flush()?;
    Ok(())
}

async fn run_proxy(args: ProxyArgs) -> Result<(), Failure> {
    let mut asked = Asked::listen()?;
    let config = ProxyConfig::read(&args.config)?;
    let chain = config.chain.as_ref().map(|chain| chain.connect(&args.config)).transpose()?;
    let root = &config.root_contract_address;
    let network = network_of(args.network.as_deref(), root, chain.as_ref(), &args.config, config.is_test).await?;
    let key = config.machine_specific_private_key.bytes().map(SigningKey::from_seed).ok_or("no signing key")?;
    let owner = config::address(&args.config, "owner_address", &config.owner_address)?;
    let check_worker_hashes = config.check_worker_hashes || !config.is_test;
    let policy =
        policy(args.policy, &args.collateral, &network.root.worker_hashes, Check::images(check_worker_hashes))?;
    let demands = config.evidence.clone().or_else(|| network.evidence.clone());
    let mut settings = proxy::Settings::new(network, owner, key, args.data.join("proxy.sqlite"));
    tracing::info!("demands of workers: {}", demands.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string));
    if let Some(why) = demands.as_ref().and_then(Terms::shut_out) {
        tracing::warn!("{why}");
    }
    settings.demands = demands;
    if let Showing::Processor { collateral } = &config.shows {
        let guest = proxy::Guest::new(Path::new("/"), collateral.clone());
        if let Some(why) = guest.lacks() {
            return Err(format!("{} says that reports of the processor are shown: {why}", args.config.display()).into());
        }
        settings.shows = Some(Arc::new(guest));
    }
    settings.listen = args.listen;
    settings.workers_port = config.workers_rpc_port;
    settings.clients_port = config.client_rpc_port;
    settings.http_port = (config.http_port != 0).then_some(config.http_port);
    settings.access_hash.clone_from(&config.http_access_hash);
    if let Some(seed) = config.node_wallet_key.bytes() {
        settings.wallet = wallet_address(seed, &owner)?;
    }
    settings.is_test = config.is_test;
    settings.is_testnet = config.is_testnet;
    settings.check_worker_hashes = check_worker_hashes;
    settings.pow_difficulty = args.pow_difficulty;
    settings.policy = policy;
    settings.evidence = args.evidence.into();
    if let (Some(chain), Some(of_chain), Some(seed)) = (chain, &config.chain, config.node_wallet_key.bytes()) {
        let network = wallet_network(config.is_testnet);
        let mut on = proxy::OnChain::new(chain, seed.clone(), network, args.data.join("wallet.sqlite"));
        (on.look, on.rules) = (of_chain.look(), of_chain.operator());
        tracing::info!(wallet = %on.address(), "the proxy's wallet");
        settings.on_chain = Some(on);
    }
    drop(config);
    if args.close {
        if settings.on_chain.is_none() {
            return Err("without a chain in the configuration there is no contract to close".into());
        }
        tokio::select! {
            ended = proxy::close(settings) => ended?,
            () = asked.wait() => {}
        }
        return Ok(());
    }
    let running = proxy::start(settings).await?;
    say_ready(&json!({
        "role": "proxy",
        "workers_port": running.workers().port(),
        "clients_port": running.clients().port(),
        "http_port": running.http().map(|address| address.port()),
    }))?;
    let trouble = tokio::select! {
        () = asked.wait() => None,
        words = running.trouble() => Some(words),
    };
    running.stop().await;
    trouble.map_or(Ok(()), |words| Err(OldAccounts(words).into()))
}

async fn run_gateway(args: GatewayArgs) -> Result<(), Failure> {
    let mut asked = Asked::listen()?;
    let config = GatewayConfig::read(&args.config)?;
    let chain = config.chain.as_ref().map(|chain| chain.connect(&args.config)).transpose()?;
    let root = &config.root_contract_address;
    let network = network_of(args.network.as_deref(), root, chain.as_ref(), &args.config, config.is_test).await?;
    let owner = config::address(&args.config, "owner_address", &config.owner_address)?;
    std::fs::create_dir_all(&args.data)
        .map_err(|error| format!("cannot make the folder {}: {error}", args.data.display()))?;
    // A client is known by its wallet, not by its owner.
    let wallet = match config.node_wallet_key.bytes() {
        Some(seed) => wallet_address(seed, &owner)?,
        None => owner,
    };
    let check = Check::images(config.check_proxy_hashes || !config.is_test);
    let policy = policy(args.policy, &args.collateral, &network.root.proxy_hashes, check)?;
    let mut settings = gateway::Settings::new(network, wallet);
    settings.http_port = config.http_port;
    settings.access_hash.clone_from(&config.http_access_hash);
    settings.is_test = config.is_test;
    settings.is_testnet = config.is_testnet;
    settings.proxy_connections = config.proxy_connections;
    settings.secret.clone_from(&config.secret_string);
    settings.policy = policy;
    settings.evidence = args.evidence.into();
    settings.max_pow_difficulty = args.pow_difficulty;
    if let (Some(chain), Some(of_chain), Some(seed)) = (chain, &config.chain, config.node_wallet_key.bytes()) {
        let secret_hash = Sha256::digest(config.secret_string.as_bytes()).into();
        let on = gateway::OnChain {
            chain,
            wallet: seed.clone(),
            network: wallet_network(config.is_testnet),
            file: args.data.join("wallet.sqlite"),
            look: of_chain.look(),
            rules: of_chain.customer(&args.config, &settings.network.root, secret_hash)?,
            refund: args.refund,
        };
        tracing::info!(wallet = %on.address(), most = %on.rules.most, "the gateway's wallet");
        settings.on_chain = Some(on);
    } else if args.refund {
        return Err("without a chain in the configuration there is nothing to take back".into());
    }
    let running = gateway::start(settings).await?;
    say_ready(&json!({ "role": "gateway", "http_port": running.http().port() }))?;
    tokio::select! {
        () = asked.wait() => {}
        money = running.refunded() => {
            tracing::info!("everything that was put in is back");
            let mut out = std::io::stdout().lock();
            writeln!(out, "{}", json!({ "refunded": money }))?;
            out.flush()?;
        }
    }
    running.stop().await;
    Ok(())
}

async fn run_practice(args: PracticeArgs) -> Result<(), Failure> {
    let mut asked = Asked::listen()?;
    let mut settings = practice::Settings::new(args.data);
    settings.customers = args.customers;
    settings.seed = args.seed;
    settings.model = args.model;
    settings.http_port = args.http_port;
    settings.pow_difficulty = args.pow_difficulty;
    settings.misbehaviour = args.misbehave;
    settings.owner = match &args.owner {
        Some(text) => Some(AddressText::parse(text).map_err(|error| format!("--owner {text}: {error}"))?.address),
        None => None,
    };
    let running = practice::start(settings).await?;
    tracing::info!(file = %running.network_file().display(), "practice network: simulated customers, practice prices, money that is worth nothing");
    say_ready(&json!({
        "role": "practice",
        "workers_port": running.workers().port(),
        "clients_port": running.clients().port(),
        "http_port": running.http().port(),
        "network_file": running.network_file(),
        "chain": { "endpoint": running.chain().base(), "token": running.chain().token() },
    }))?;
    let trouble = tokio::select! {
        () = asked.wait() => None,
        () = parent_gone() => None,
        words = running.proxy().trouble() => Some(words),
    };
    running.stop().await;
    trouble.map_or(Ok(()), |words| Err(OldAccounts(words).into()))
}

async fn run_chain(args: ChainArgs) -> Result<(), Failure> {
    let mut asked = Asked::listen()?;
    let mut settings = chain::Settings::new(args.data);
    settings.port = args.port;
    settings.seed = args.seed;
    settings.global_id = args.global_id;
    settings.block_time = std::time::Duration::from_millis(u64::from(args.block_time));
    settings.faucet = Nanoton(args.faucet);
    settings.faults = args.fault;
    let running = chain::start(settings).await?;
    say_ready(&json!({
        "role": "chain",
        "http_port": running.address().port(),
        "endpoint": running.endpoint(),
        "token": running.token(),
    }))?;
    asked.wait().await;
    running.stop().await;
    Ok(())
}

async fn run_registrar(args: RegistrarArgs) -> Result<(), Failure> {
    let mut asked = Asked::listen()?;
    let running = registrar::start(registrar::Settings {
        data: args.data,
        listen: args.listen,
        port: args.port,
        pow_difficulty: args.pow_difficulty,
        days: args.statement_days,
        roots: args.tpm_root,
    })
    .await?;
    say_ready(&json!({
        "role": "registrar",
        "port": running.address().port(),
        "key": hex::encode(running.key()),
    }))?;
    asked.wait().await;
    running.stop().await;
    Ok(())
}

/// Hears when the program is asked to end. Made before the ready line, so that nobody's request comes too early.
#[cfg(unix)]
struct Asked {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Asked {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Hears when the program is asked to end.
#[cfg(windows)]
struct Asked {
    ctrl_c: tokio::signal::windows::CtrlC,
}

#[cfg(windows)]
impl Asked {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { ctrl_c: tokio::signal::windows::ctrl_c()? })
    }

    async fn wait(&mut self) {
        self.ctrl_c.recv().await;
    }
}

/// Waits until whoever started us has closed our standard input, so that practice never outlives the app. When standard input is no
/// pipe (a terminal, a file, nothing at all), it says nothing about anybody.
async fn parent_gone() {
    if !is_pipe() {
        return std::future::pending().await;
    }
    let (gone, wait) = oneshot::channel();
    // A thread of its own: a read cannot be called off, and must hold up nothing else.
    std::thread::spawn(move || {
        let mut buffer = [0; 256];
        let mut input = std::io::stdin().lock();
        while input.read(&mut buffer).is_ok_and(|length| length > 0) {}
        let _ = gone.send(());
    });
    let _ = wait.await;
}

#[cfg(unix)]
fn is_pipe() -> bool {
    use std::os::unix::fs::FileTypeExt;
    !std::io::stdin().is_terminal()
        && std::fs::metadata("/dev/stdin").is_ok_and(|it| it.file_type().is_fifo() || it.file_type().is_socket())
}

#[cfg(not(unix))]
fn is_pipe() -> bool {
    !std::io::stdin().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound_and_its_help_names_the_exit_codes() {
        let mut command = Cli::command();
        command.clone().debug_assert();
        assert!(command.render_help().to_string().contains("Exit codes:"));
        for role in ["proxy", "gateway", "practice", "chain", "registrar"] {
            let help = command.find_subcommand_mut(role).unwrap().render_help().to_string();
            assert!(help.contains("--data") && help.contains("Exit codes:"), "{help}");
        }
    }

    #[test]
    fn words_of_the_genuine_programs_are_understood() {
        let words = [
            "x",
            "proxy",
            "--config",
            "c",
            "--network",
            "n",
            "--data",
            "d",
            "--policy",
            "fake_tdx",
            "--evidence",
            "fake_tdx",
        ];
        let Role::Proxy(args) = Cli::try_parse_from(words).ok().unwrap().role else {
            panic!("not a proxy");
        };
        assert_eq!((args.policy, args.evidence), (PolicyWord::FakeTdx, EvidenceWord::FakeTdx));
        assert_eq!(args.pow_difficulty, 20);
        assert!(args.listen.is_loopback());
        let words = ["x", "practice", "--data", "d", "--misbehave", "decreasing-payment", "--customers", "0"];
        let Role::Practice(args) = Cli::try_parse_from(words).ok().unwrap().role else {
            panic!("not practice");
        };
        assert_eq!(args.misbehave, Some(Misbehaviour::DecreasingPayment));
    }

    #[test]
    fn wrong_words_are_refused() {
        for words in [
            vec!["x"],
            vec!["x", "proxy"],
            vec!["x", "practice", "--data", "d", "--model", ""],
            vec!["x", "practice", "--data", "d", "--pow-difficulty", "64"],
            vec!["x", "gateway", "--config", "c", "--network", "n", "--data", "d", "--policy", "all"],
        ] {
            assert!(Cli::try_parse_from(&words).is_err(), "{words:?}");
        }
    }
}
