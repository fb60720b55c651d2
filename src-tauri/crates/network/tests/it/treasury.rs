//! Practice, proxy and gateway with real contracts on the embedded chain.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use chain::toncenter::policy::Patience;
use chain::toncenter::{Endpoint, Settings, Toncenter};
use chain::{AccountStatus, Chain};
use network::chain::{self as embedded, Running};
use network::config::Network;
use network::contracts::Codes;
use network::keys::SigningKey;
use network::proxy::{ChainTrouble, Confirm, OnChain};
use network::treasury::{Order, Purse, Wallet, customer, operator};
use network::{gateway, practice, proxy};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use ton::cocoon::{Body, ClientData, ContractState, ProxyData, SignedBody, WorkerData};
use ton::{Address, AddressText, Code, Nanoton, RegisteredProxy, RootConfig, StateInit, boc};
use zeroize::Zeroizing;

use crate::programs::{Program, run, write};
use crate::stage::{PATIENCE, USAGE, Worker, chat, get, post, soon, until};

const COIN: u64 = 1_000_000_000;
const PRICE: u64 = 1_000_000;
const FEE: u64 = 500_000;
const BLOCK: Duration = Duration::from_millis(20);
const LOOK: Duration = Duration::from_millis(50);
const FOR_TESTS: ton::Network = ton::Network::Test;

fn seed(byte: u8) -> Zeroizing<[u8; 32]> {
    Zeroizing::new([byte; 32])
}

fn wallet(byte: u8) -> Address {
    Wallet::new(&seed(byte), FOR_TESTS).address()
}

fn client_of(chain: &Running) -> Arc<dyn Chain> {
    let endpoints = vec![Endpoint::new(&chain.endpoint(), Some(chain.token())).unwrap()];
    let patience = Patience { first_pause: Duration::from_millis(10), ..Patience::default() };
    Arc::new(Toncenter::new(Settings { endpoints, agreement: 1, patience, jitter: Arc::new(|| 500) }).unwrap())
}

/// A chain with a network's root, and wallets of an operator (1), a client (2), an owner (3) and a worker (4) that have money.
struct Scene {
    chain: Running,
    client: Arc<dyn Chain>,
    root: RootConfig,
    root_contract: Address,
    folder: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = embedded::Settings::new(folder.path().join("chain"));
        settings.block_time = BLOCK;
        let chain = embedded::start(settings).await.unwrap();
        let codes = Codes::load().unwrap();
        let code = |cell: &ton::Cell| Code::new(cell.clone()).unwrap().to_text();
        let owner = AddressText { address: wallet(3), bounceable: false, testnet: false }.to_text();
        let text = json!({
            "root_owner_address": owner, "struct_version": 3, "version": 1, "params_version": 1, "is_test": true,
            "price_per_token": PRICE, "worker_fee_per_token": FEE,
            "proxy_delay_before_close": 1, "client_delay_before_close": 0,
            "proxy_sc_code": code(&codes.proxy), "worker_sc_code": code(&codes.worker),
            "client_sc_code": code(&codes.client),
        });
        let root = RootConfig::from_json(&text.to_string()).unwrap();
        let init = StateInit { code: codes.root.clone(), data: root.to_cell().unwrap() };
        let root_contract = init.address().unwrap();
        let client = client_of(&chain);
        let scene = Self { chain, client, root, root_contract, folder };
        for byte in 1..=4 {
            scene.chain.give(wallet(byte), Nanoton(200 * COIN)).await.unwrap();
        }
        until("the faucet", || async { (scene.balance(wallet(4)).await > 0).then_some(()) }).await;
        let deploy = order(root_contract, COIN, Body::Empty, Some(init));
        scene.send(3, deploy).await;
        until("the root contract", || async {
            let account = scene.client.account(root_contract).await.unwrap();
            (account.status == AccountStatus::Active).then_some(())
        })
        .await;
        scene
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    async fn balance(&self, address: Address) -> u64 {
        self.client.account(address).await.unwrap().balance.0
    }

    /// Sends from a wallet and waits until all that follows is over.
    async fn send(&self, byte: u8, order: Order) {
        let path = self.path(&format!("purse-{byte}.sqlite"));
        send(&self.client, byte, &path, order).await;
    }

    fn network(&self, proxy: Option<(SocketAddr, SocketAddr)>) -> Network {
        let mut root = self.root.clone();
        if let Some((SocketAddr::V4(worker_endpoint), SocketAddr::V4(client_endpoint))) = proxy {
            root.registered_proxies = vec![RegisteredProxy { seqno: 1, worker_endpoint, client_endpoint }];
        }
        Network { root: Arc::new(root), root_contract: self.root_contract, evidence: None }
    }

    fn proxy_settings(&self) -> proxy::Settings {
        let key = SigningKey::from_seed(&seed(9));
        let mut settings = proxy::Settings::new(self.network(None), wallet(3), key, self.path("proxy.sqlite"));
        settings.pow_difficulty = 4;
        settings.commit_pause = (Duration::from_millis(20), Duration::from_millis(30));
        let mut on = OnChain::new(Arc::clone(&self.client), seed(1), FOR_TESTS, self.path("wallet.sqlite"));
        on.look = LOOK;
        on.rules = operator::Rules { charge_at: Nanoton(PRICE), withdraw_at: Nanoton(1000 * COIN) };
        on.confirm = Confirm::OnChain;
        settings.on_chain = Some(on);
        settings
    }

    async fn proxy(&self) -> proxy::Running {
        let proxy = proxy::start(self.proxy_settings()).await.unwrap();
        soon("the proxy's contract", proxy.deployed()).await;
        proxy
    }

    fn rules() -> customer::Rules {
        customer::Rules {
            // Any use at all makes it low.
            low: Nanoton(5 * COIN),
            top_up: Nanoton(5 * COIN),
            stake: Nanoton(2 * COIN),
            most: Nanoton(12 * COIN),
            secret_hash: Sha256::digest(b"secret").into(),
        }
    }

    async fn gateway(&self, proxy: &proxy::Running, refund: bool) -> gateway::Running {
        let network = self.network(Some((proxy.workers(), proxy.clients())));
        let on = gateway::OnChain {
            chain: Arc::clone(&self.client),
            wallet: seed(2),
            network: FOR_TESTS,
            file: self.path("gateway.sqlite"),
            look: LOOK,
            rules: Self::rules(),
            refund,
        };
        let mut settings = gateway::Settings::new(network, on.address());
        "secret".clone_into(&mut settings.secret);
        settings.on_chain = Some(on);
        gateway::start(settings).await.unwrap()
    }

    fn proxy_contract(&self) -> Address {
        self.root.proxy_contract(&wallet(3), &SigningKey::from_seed(&seed(9)).public_key(), &self.root_contract)
    }

    async fn client_data(&self) -> ClientData {
        let key = SigningKey::from_seed(&seed(9)).public_key();
        let contract = self.root.client_contract(&wallet(2), &self.proxy_contract(), &key);
        ClientData::from_cell(&self.client.account(contract).await.unwrap().data.unwrap()).unwrap()
    }

    async fn assert_money_adds_up(&self) {
        assert!(self.chain.audit().await.unwrap().unwrap().adds_up());
    }
}

async fn send(chain: &Arc<dyn Chain>, byte: u8, path: &Path, order: Order) {
    let mut purse = Purse::open(Arc::clone(chain), Wallet::new(&seed(byte), FOR_TESTS), path).unwrap();
    let free = purse.look().await.unwrap().free.unwrap();
    assert_eq!(purse.send(free, &[order]).await.unwrap(), [0], "it would fail");
    soon("a transfer to end", async {
        while purse.look().await.unwrap().free.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

fn order(to: Address, value: u64, body: Body, init: Option<StateInit>) -> Order {
    Order { to, value: Nanoton(value), body, init, spends: Nanoton(value), what: "a test" }
}

/// Brings a worker's newest payment to its contract, as its owner's app does.
async fn collect(
    chain: &Arc<dyn Chain>,
    path: &Path,
    root: &RootConfig,
    worker: &Worker,
    of: (Address, [u8; 32]),
) -> u64 {
    let report = until("a payment", || async {
        worker.payments.lock().unwrap().last().filter(|report| report.tokens > 0).cloned()
    })
    .await;
    let init = root.worker_init(&Address { workchain: 0, hash: [1; 32] }, &of.0, &of.1);
    let signed = SignedBody::from_cell(&boc::decode(&report.boc).unwrap()).unwrap().repack(wallet(4));
    let to = init.address().unwrap();
    send(chain, 4, path, order(to, COIN, Body::Signed(signed), Some(init))).await;
    let data = WorkerData::from_cell(&chain.account(to).await.unwrap().data.unwrap()).unwrap();
    assert_eq!(data.tokens, report.tokens);
    report.tokens
}

fn money(stats: &Value, field: &str) -> u64 {
    stats["money"]["proxies"][0][field].as_u64().unwrap_or(0)
}

async fn ask(gateway: &gateway::Running) -> u16 {
    soon("an answer", post(gateway.http(), "/v1/chat/completions", &chat(false))).await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn practice_deploys_its_contracts_pays_a_worker_and_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let start = async |customers| {
        let mut settings = practice::Settings::new(folder.path().to_owned());
        (settings.customers, settings.block_time) = (customers, BLOCK);
        practice::start(settings).await.unwrap()
    };
    let running = start(2).await;
    let network = Network::read(running.network_file(), "").unwrap();
    let key = running.proxy().public_key();
    let contract = running.proxy().proxy_contract();
    let root = network.root;
    assert_eq!(
        root.proxy_contract(&root.root_owner_address, &key, &network.root_contract),
        contract,
        "as an app finds it"
    );
    let client = client_of(running.chain());
    let account = client.account(contract).await.unwrap();
    let data = ProxyData::from_cell(account.data.as_ref().unwrap()).unwrap();
    assert_eq!((data.stake, data.state), (root.min_proxy_stake, ContractState::Normal));
    assert!(account.balance.0 > 10_000 * COIN, "customers have put money in");

    let mut worker = Worker::dial(running.workers(), &Network { root: Arc::clone(&root), ..network }, 1).await;
    let job = worker.job().await;
    worker.answer(&job);
    running.chain().give(wallet(4), Nanoton(10 * COIN)).await.unwrap();
    until("the faucet", || async { (client.account(wallet(4)).await.unwrap().balance.0 > 0).then_some(()) }).await;
    let tokens = collect(&client, &folder.path().join("purse.sqlite"), &root, &worker, (contract, key)).await;
    let owner = client.account(Address { workchain: 0, hash: [1; 32] }).await.unwrap();
    assert_eq!(owner.balance.0, tokens * root.worker_fee_per_token.0, "to the nanoton");
    let spent = running.gateway().stats()["money"]["spent"].clone();
    let (root_contract, workers) = (network.root_contract, running.workers());
    until("the root contract to name the proxy", || async {
        let read = network::config::chain::read_root(&*client, root_contract).await.ok()?;
        let there = read.root.registered_proxies.iter().any(|proxy| SocketAddr::V4(proxy.worker_endpoint) == workers);
        (there && read.root.params() == root.params()).then_some(())
    })
    .await;
    running.stop().await;

    let running = start(0).await;
    assert_eq!(running.proxy().proxy_contract(), contract);
    let client = client_of(running.chain());
    let owner = client.account(Address { workchain: 0, hash: [1; 32] }).await.unwrap();
    assert_eq!(owner.balance.0, tokens * root.worker_fee_per_token.0, "the chain is still there");
    assert_eq!(running.gateway().stats()["money"]["spent"], spent, "nothing is put in again");
    assert!(running.chain().audit().await.unwrap().unwrap().adds_up());
    running.stop().await;
}

#[test]
fn practice_that_is_killed_while_it_starts_goes_on_and_puts_money_in_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let words = ["practice", "--data", data, "--customers", "0"];
    for pause in [150, 500, 900, 1400, 2000] {
        let killed = Program::spawn(&words);
        std::thread::sleep(Duration::from_millis(pause));
        drop(killed);
    }
    let ready = Program::start(&words);
    let port = ready.ready["http_port"].as_u64().unwrap();
    let token = ready.ready["chain"]["token"].as_str().unwrap();
    assert!(ready.ready["chain"]["endpoint"].as_str().unwrap().ends_with("/api/v2") && token.len() == 32);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let stats = runtime.block_on(async {
        let address = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap()));
        get(address, "/jsonstats").await.json()
    });
    assert_eq!(money(&stats, "balance"), 20_000 * COIN, "{stats}");
    let spent = stats["money"]["spent"].as_u64().unwrap();
    assert_eq!(spent / (1000 * COIN), 20, "once out of the wallet: {stats}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_registers_is_charged_puts_in_no_more_than_allowed_and_gets_the_rest_back() {
    let scene = Scene::new().await;
    let proxy = scene.proxy().await;
    // Lost answers and messages that come twice: still each is done once.
    let faults = ["lost_answer:sendBoc:1", "duplicate:sendBoc:2"];
    scene.chain.set_faults(&faults).await.unwrap();
    let gateway = scene.gateway(&proxy, false).await;
    assert!(gateway.connected(PATIENCE).await, "it registered on the chain");
    soon("money", gateway.funded(1)).await;
    let worker = Worker::dial(proxy.workers(), &scene.network(None), 1).await;
    let payments = Arc::clone(&worker.payments);
    let _answering = worker.answer_all();
    until("the worker to be listed", || async { (ask(&gateway).await == 200).then_some(()) }).await;
    for _ in 0..10 {
        assert_eq!(ask(&gateway).await, 200);
    }
    let used = until("charges to reach the contract", || async {
        let stats = gateway.stats();
        let (charged, used) = (money(&stats, "tokens_charged"), money(&stats, "tokens_used"));
        (charged > 0 && charged == used).then_some(used)
    })
    .await;
    assert!(used >= 11 * (USAGE.prompt + USAGE.completion), "{used}");
    let stats = gateway.stats();
    let spent = stats["money"]["spent"].as_u64().unwrap();
    assert!(spent > 10 * COIN && spent <= 12 * COIN, "it was topped up once, and no more was allowed: {stats}");
    let data = scene.client_data().await;
    assert_eq!((data.tokens_used, data.stake.0), (used, 2 * COIN));
    assert_eq!(data.balance.0, 10 * COIN - used * PRICE, "what was put in less what was used");
    let signed = until("a payment", || async { payments.lock().unwrap().last().map(|report| report.tokens) }).await;
    assert!(signed <= used);
    gateway.stop().await;

    let before = scene.balance(wallet(2)).await;
    let gateway = scene.gateway(&proxy, true).await;
    soon("the refund", gateway.refunded()).await;
    gateway.stop().await;
    assert_eq!(scene.client_data().await.state, ContractState::Closed);
    let back = until("the money", || async {
        let back = scene.balance(wallet(2)).await.saturating_sub(before);
        (back > 9 * COIN).then_some(back)
    })
    .await;
    assert!(back > data.balance.0 - COIN / 5 && back < data.balance.0 + COIN / 5, "{back} of {}", data.balance.0);
    proxy.stop().await;

    // The worker never came for its money: the closing pays it.
    soon("the closing", proxy::close(scene.proxy_settings())).await.unwrap();
    let owner = scene.balance(Address { workchain: 0, hash: [1; 32] }).await;
    assert!(owner >= used * FEE, "{owner}");
    let account = scene.client.account(scene.proxy_contract()).await.unwrap();
    assert_eq!(ProxyData::from_cell(&account.data.unwrap()).unwrap().state, ContractState::Closed);
    assert!(account.balance.0 < COIN / 10, "the rest is with the owner");
    scene.assert_money_adds_up().await;
    scene.chain.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_from_an_old_copy_are_refused() {
    let scene = Scene::new().await;
    let serve = async |times| {
        let proxy = scene.proxy().await;
        let gateway = scene.gateway(&proxy, false).await;
        assert!(gateway.connected(PATIENCE).await);
        let worker = Worker::dial(proxy.workers(), &scene.network(None), 1).await;
        let payments = Arc::clone(&worker.payments);
        let _answering = worker.answer_all();
        for _ in 0..times {
            until("an answer", || async { (ask(&gateway).await == 200).then_some(()) }).await;
        }
        until("a payment that the chain has a note of", || async {
            ask(&gateway).await;
            payments.lock().unwrap().iter().any(|report| report.tokens > 0).then_some(())
        })
        .await;
        let before = scene.client_data().await.tokens_used;
        until("a charge", || async {
            ask(&gateway).await;
            (scene.client_data().await.tokens_used > before).then_some(())
        })
        .await;
        gateway.stop().await;
        proxy.stop().await;
    };
    serve(1).await;
    std::fs::copy(scene.path("proxy.sqlite"), scene.path("old.sqlite")).unwrap();
    // Somebody runs the same proxy once more, from a copy that is still the newest.
    std::fs::copy(scene.path("proxy.sqlite"), scene.path("twin.sqlite")).unwrap();
    let mut twin = scene.proxy_settings();
    twin.accounts = scene.path("twin.sqlite");
    if let Some(on) = &mut twin.on_chain {
        on.file = scene.path("twin-wallet.sqlite");
    }
    let twin = proxy::start(twin).await.unwrap();
    serve(3).await;
    let words = soon("the twin to find out", twin.trouble()).await;
    assert!(words.contains("older than the chain"), "{words}");
    twin.stop().await;

    // The newest accounts are taken.
    let proxy = scene.proxy().await;
    proxy.stop().await;
    // Strangers bury the notes beneath hundreds of payments to the contract.
    for _ in 0..450 {
        scene.chain.give(scene.proxy_contract(), Nanoton(1)).await.unwrap();
    }
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(scene.path(&format!("proxy.sqlite{suffix}")));
    }
    std::fs::copy(scene.path("old.sqlite"), scene.path("proxy.sqlite")).unwrap();
    let error = proxy::start(scene.proxy_settings()).await.err().unwrap();
    assert!(matches!(error, proxy::StartError::Chain(ChainTrouble::OldAccounts(_))), "{error}");
    assert!(error.to_string().contains("the chain has note"), "{error}");

    // The program says so with an exit code of its own. It reads the network's terms from the chain.
    let key_file = write(scene.folder.path(), "key", scene.chain.token());
    let text = |address| AddressText { address, bounceable: true, testnet: false }.to_text();
    let base64 = |byte: u8| base64::engine::general_purpose::STANDARD.encode([byte; 32]);
    let config = json!({
        "is_test": true, "is_testnet": true, "owner_address": text(wallet(3)),
        "root_contract_address": text(scene.root_contract),
        "machine_specific_private_key": base64(9), "node_wallet_key": base64(1),
        "chain": { "endpoints": [{ "url": scene.chain.endpoint(), "key_file": key_file }] },
    });
    let config = write(scene.folder.path(), "proxy.json", &config.to_string());
    let data = scene.folder.path().to_str().unwrap().to_owned();
    let words = move || run(&["proxy", "--config", &config, "--data", &data]);
    let (code, said) = tokio::task::spawn_blocking(words).await.unwrap();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("older than the chain"), "{said}");
    scene.chain.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_decides_nothing_on_one_endpoints_word() {
    let scene = Scene::new().await;
    scene.proxy().await.stop().await;
    // One of two endpoints knows nothing of the proxy's contract.
    let other = embedded::start(embedded::Settings::new(scene.path("other"))).await.unwrap();
    let endpoint = |chain: &Running| Endpoint::new(&chain.endpoint(), Some(chain.token())).unwrap();
    for endpoints in [[endpoint(&scene.chain), endpoint(&other)], [endpoint(&other), endpoint(&scene.chain)]] {
        let patience = Patience { rounds: 1, ..Patience::default() };
        let settings = Settings { endpoints: endpoints.to_vec(), agreement: 2, patience, jitter: Arc::new(|| 500) };
        let mut proxy = scene.proxy_settings();
        if let Some(on) = &mut proxy.on_chain {
            on.chain = Arc::new(Toncenter::new(settings).unwrap());
        }
        let error = proxy::start(proxy).await.err().expect("it begins with one endpoint's word");
        assert!(error.to_string().contains("1 of 2 endpoints"), "{error}");
    }
    other.stop().await;
    scene.chain.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_joins_a_network_that_it_knows_from_the_chain_alone_and_leaves_with_its_money() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = practice::Settings::new(folder.path().join("practice"));
    (settings.customers, settings.block_time) = (0, BLOCK);
    let running = practice::start(settings).await.unwrap();
    let root_contract = Network::read(running.network_file(), "").unwrap().root_contract;
    let client = client_of(running.chain());
    until("the root contract to name the proxy", || async {
        let read = network::config::chain::read_root(&*client, root_contract).await.ok()?;
        (!read.root.registered_proxies.is_empty()).then_some(())
    })
    .await;
    let wallet = Wallet::new(&seed(5), ton::Network::Main).address();
    running.chain().give(wallet, Nanoton(100 * COIN)).await.unwrap();
    let text = |address| AddressText { address, bounceable: true, testnet: false }.to_text();
    let key_file = write(folder.path(), "key", running.chain().token());
    let config = json!({
        "is_test": true, "owner_address": text(wallet), "root_contract_address": text(root_contract),
        "node_wallet_key": base64::engine::general_purpose::STANDARD.encode([5; 32]),
        "chain": {
            "endpoints": [{ "url": running.chain().endpoint(), "key_file": key_file }],
            "look_seconds": 1, "most": 50 * COIN, "top_up": (20 * COIN).to_string(),
        },
    });
    let config = write(folder.path(), "gateway.json", &config.to_string());
    let data = folder.path().join("gateway").to_str().unwrap().to_owned();
    let gateway = {
        let (config, data) = (config.clone(), data.clone());
        let start = move || Program::start(&["gateway", "--config", &config, "--data", &data]);
        tokio::task::spawn_blocking(start).await.unwrap()
    };
    let port = u16::try_from(gateway.ready["http_port"].as_u64().unwrap()).unwrap();
    let http = SocketAddr::from(([127, 0, 0, 1], port));
    until("the gateway to be let in with its money", || async {
        let stats = get(http, "/jsonstats").await.json();
        (stats["proxies"][0]["is_ready"] == true && money(&stats, "left") == 20 * COIN).then_some(())
    })
    .await;
    drop(gateway);
    assert!(client.account(wallet).await.unwrap().balance.0 < 80 * COIN);

    let leave = move || {
        let program = env!("CARGO_BIN_EXE_chrysalis-network");
        let words = ["gateway", "--config", &config, "--data", &data, "--refund"];
        std::process::Command::new(program).args(words).output().unwrap()
    };
    let output = soon("the refund", tokio::task::spawn_blocking(leave)).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("refunded"));
    until("the money", || async { (client.account(wallet).await.unwrap().balance.0 > 99 * COIN).then_some(()) }).await;
    running.stop().await;
}
