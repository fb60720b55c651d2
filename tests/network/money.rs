//! Payouts on the embedded chain, with the real contracts, the real client of its API and a real wallet.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use accounting::signed_payment::{PaymentKind, UnsignedPayment};
use accounting::{Errand, Outcome, Stage, Transfer};
use chain::toncenter::policy::Patience;
use chain::toncenter::{Endpoint, Settings, Toncenter};
use chain::{AccountStatus, Chain};
use ed25519_dalek::{Signer as _, SigningKey};
use ledger::{Ledger, Multipliers, NewSession, Payment, ProxyEntry};
use network::chain::Running;
use network::contracts::Codes;
use node::core::payouts::{Shown, Terms};
use node::run::cashier::{self, Cashier, Signer, Till};
use ton::cocoon::{Body, ClientData, ProxyData, WorkerData};
use ton::{
    Address, Cell, InternalMessage, Nanoton, Network, Outgoing, Params, SendMode, StateInit, Transfer as Sending,
    Unsigned, WalletContract, WalletData, WalletVersion, boc,
};

pub(crate) const COIN: u64 = 1_000_000_000;
pub(crate) const FEE: u64 = 19;
pub(crate) const ROOT: Address = Address { workchain: 0, hash: [9; 32] };

/// A wallet and its key.
pub(crate) struct Purse {
    key: SigningKey,
    wallet: WalletContract,
}

impl Purse {
    pub(crate) fn new(seed: u8) -> Self {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let wallet = WalletContract::new(WalletVersion::V5R1, Network::Main, key.verifying_key().to_bytes());
        Self { key, wallet }
    }

    pub(crate) fn address(&self) -> Address {
        self.wallet.address()
    }
}

impl Signer for Purse {
    fn sign(&self, unsigned: &Unsigned) -> Result<[u8; 64], String> {
        let to_sign = self.wallet.body_to_sign(unsigned).map_err(|error| error.to_string())?;
        Ok(self.key.sign(&to_sign.hash()).to_bytes())
    }
}

pub(crate) struct Scene {
    pub(crate) chain: Running,
    pub(crate) client: Arc<Toncenter>,
    pub(crate) proxy_key: SigningKey,
    pub(crate) proxy: Address,
    pub(crate) operator: Purse,
    pub(crate) owner: Purse,
    pub(crate) worker: Address,
    worker_init: StateInit,
}

pub(crate) fn params(codes: &Codes) -> Params {
    Params {
        struct_version: 3,
        params_version: 1,
        unique_id: 13,
        is_test: true,
        price_per_token: Nanoton(20),
        worker_fee_per_token: Nanoton(FEE),
        prompt_tokens_price_multiplier: 10_000,
        cached_tokens_price_multiplier: 10_000,
        completion_tokens_price_multiplier: 10_000,
        reasoning_tokens_price_multiplier: 10_000,
        proxy_delay_before_close: 600,
        client_delay_before_close: 300,
        min_proxy_stake: Nanoton(COIN),
        min_client_stake: Nanoton(COIN),
        proxy_code: Some(codes.proxy.clone()),
        worker_code: Some(codes.worker.clone()),
        client_code: Some(codes.client.clone()),
    }
}

/// A network with a proxy that has money of a client, and a worker's owner with some of his own.
pub(crate) async fn stage(folder: &Path) -> Scene {
    stage_for(folder, Purse::new(3).address()).await
}

/// The same for an owner whose key is elsewhere.
pub(crate) async fn stage_for(folder: &Path, paid: Address) -> Scene {
    stage_at(folder, paid, 0).await
}

/// The same on a chain whose clock is so many milliseconds ahead of this machine's.
pub(crate) async fn stage_at(folder: &Path, paid: Address, ahead_ms: i64) -> Scene {
    let mut settings = network::chain::Settings::new(folder.join("chain"));
    settings.block_time = Duration::from_millis(20);
    // Wallets are of the main network if nobody says otherwise, and are at home on a chain that calls itself so.
    settings.global_id = ton::Network::Main.global_id();
    settings.ahead_ms = ahead_ms;
    let chain = network::chain::start(settings).await.unwrap();
    let endpoint =
        Endpoint::new(&chain.endpoint(), Some(chain.token())).unwrap().with_rate(1_000, Duration::from_millis(1));
    let patience =
        Patience { answer: Duration::from_secs(5), first_pause: Duration::from_millis(10), ..Patience::default() };
    let settings = Settings { endpoints: vec![endpoint], agreement: 1, patience, jitter: Arc::new(|| 500) };
    let client = Arc::new(Toncenter::new(settings).unwrap());
    let codes = Codes::load().unwrap();
    let params = params(&codes);
    let (operator, customer, owner) = (Purse::new(1), Purse::new(2), Purse::new(3));
    let proxy_key = SigningKey::from_bytes(&[4; 32]);
    let key = proxy_key.verifying_key().to_bytes();
    let proxy_init =
        ProxyData::initial(operator.address(), key, ROOT, &params.for_proxy()).state_init(codes.proxy.clone()).unwrap();
    let proxy = proxy_init.address().unwrap();
    let inner = params.without_codes();
    let client_init =
        ClientData::initial(customer.address(), proxy, key, &inner).state_init(codes.client.clone()).unwrap();
    let worker_init = WorkerData::initial(paid, proxy, key, &inner).state_init(codes.worker.clone()).unwrap();
    let worker = worker_init.address().unwrap();
    for (address, coins) in [(operator.address(), 10), (customer.address(), 100), (paid, 2)] {
        chain.give(address, Nanoton(coins * COIN)).await.unwrap();
        balance_reaches(&client, address, COIN).await;
    }
    let nothing = Cell::empty();
    send(&client, &operator, proxy, 2 * COIN, nothing.clone(), Some(proxy_init)).await;
    let contract = client_init.address().unwrap();
    send(&client, &customer, contract, 2 * COIN, nothing, Some(client_init)).await;
    let top_up = Body::ClientTopUp { query_id: 1, amount: Nanoton(50 * COIN), excess: customer.address() };
    send(&client, &customer, contract, 51 * COIN, top_up.to_cell().unwrap(), None).await;
    balance_reaches(&client, proxy, 50 * COIN).await;
    Scene { chain, client, proxy_key, proxy, operator, owner, worker, worker_init }
}

pub(crate) async fn send(
    client: &Toncenter,
    purse: &Purse,
    to: Address,
    value: u64,
    body: Cell,
    init: Option<StateInit>,
) {
    let account = client.account(purse.address()).await.unwrap();
    let seqno = match (account.status, &account.data) {
        (AccountStatus::Active, Some(data)) => WalletData::read(WalletVersion::V5R1, data).unwrap().seqno,
        _ => 0,
    };
    let mut message = InternalMessage::new(to, true, Nanoton(value), body);
    if let Some(init) = init {
        message = message.with_init(init);
    }
    let valid_until = account.seen_at + 600;
    let messages = vec![Outgoing { mode: SendMode::TRANSFER, message }];
    let unsigned = Unsigned::Transfer(Sending { seqno, valid_until, messages });
    let body =
        purse.wallet.signed_body(&purse.wallet.body_to_sign(&unsigned).unwrap(), &purse.sign(&unsigned).unwrap());
    let message = purse.wallet.external(body.unwrap(), seqno == 0).to_cell().unwrap();
    client.send(&message).await.unwrap();
    soon("the wallet's next number", || async {
        let account = client.account(purse.address()).await.unwrap();
        let data = account.data.as_ref().and_then(|data| WalletData::read(WalletVersion::V5R1, data).ok());
        data.is_some_and(|data| data.seqno > seqno).then_some(())
    })
    .await;
}

async fn balance_reaches(client: &Toncenter, address: Address, wanted: u64) {
    soon("a balance", || async {
        let account = client.account(address).await.unwrap();
        (account.balance.0 >= wanted).then_some(())
    })
    .await;
}

pub(crate) async fn soon<T, F: Future<Output = Option<T>>>(what: &str, look: impl FnMut() -> F) -> T {
    within(Duration::from_secs(30), what, look).await
}

/// The same, for what takes its time.
pub(crate) async fn within<T, F: Future<Output = Option<T>>>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    for _ in 0..patience.as_millis() / 50 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what} did not come");
}

impl Scene {
    /// What the app does when a proxy has signed: the proxy and its payment are in the ledger.
    pub(crate) fn signs(&self, folder: &Path, tokens: u64) {
        let unsigned = UnsignedPayment {
            kind: PaymentKind::Worker,
            query_id: tokens,
            tokens,
            target: self.worker,
            excess: Address { workchain: 0, hash: [5; 32] },
        };
        let mut ledger = Ledger::open(&folder.join("ledger.sqlite"), 0).unwrap();
        let session = NewSession {
            started_unix_ms: 0,
            root_contract: ROOT,
            params_version: 1,
            fee_per_token: Nanoton(FEE),
            served_as: "a/model@commit:hash",
            multipliers: Multipliers { prompt: 10_000, cached: 10_000, completion: 10_000, reasoning: 10_000 },
            pays_nothing: false,
        };
        let session = ledger.begin_session(&session).unwrap();
        let public_key = self.proxy_key.verifying_key().to_bytes();
        ledger
            .record_proxy(&ProxyEntry {
                endpoint: "127.0.0.1:1".parse().unwrap(),
                root_contract: ROOT,
                params_version: 1,
                public_key,
                proxy_contract: self.proxy,
                worker_contract: self.worker,
                fee_per_token: Nanoton(FEE),
                state_init: Some(boc::encode(&self.worker_init.to_cell().unwrap()).unwrap()),
                seen_unix_ms: 0,
            })
            .unwrap();
        let payment = Payment {
            worker_contract: self.worker,
            proxy_key: public_key,
            tokens,
            received_unix_ms: 0,
            boc: unsigned.sign(&self.proxy_key).to_boc(),
        };
        ledger.record_payment(session, &payment).unwrap();
    }

    /// From one coin on.
    pub(crate) fn terms(&self) -> Terms {
        let owner = self.owner.address();
        Terms { owner, payer: Some(owner), threshold: Some(Nanoton(COIN)), reserve: Nanoton(50_000_000) }
    }

    /// Payouts that came to the owner's account.
    pub(crate) async fn payouts(&self) -> Vec<u64> {
        let history = self.client.transactions(self.owner.address(), None, 100).await.unwrap();
        let messages = history.iter().filter_map(|transaction| transaction.in_message.as_ref());
        let payouts = messages.filter(|message| matches!(Body::from_cell(&message.body), Ok(Body::Payout { .. })));
        payouts.map(|message| message.value().0).collect()
    }

    pub(crate) fn cashier(&self, folder: &Path) -> Cashier {
        cashier::start(Till {
            network: ton::Network::Main,
            chain: Arc::clone(&self.client) as Arc<dyn Chain>,
            signer: Arc::new(Purse::new(3)),
            wallet: self.owner.wallet,
            root_contract: ROOT,
            terms: self.terms(),
            ledger: folder.join("ledger.sqlite"),
        })
        .unwrap()
    }

    pub(crate) async fn balance(&self) -> u64 {
        self.client.account(self.owner.address()).await.unwrap().balance.0
    }
}

pub(crate) fn rows(folder: &Path) -> Vec<Transfer> {
    let ledger = Ledger::open(&folder.join("ledger.sqlite"), 0).unwrap();
    ledger.transfers(&ROOT, None, 100).unwrap().transfers
}

pub(crate) async fn settled(cashier: &Cashier) -> Shown {
    let mut shown = cashier.shown();
    let seen = shown.wait_for(|shown| shown.in_flight.is_none() && shown.unpaid == Some(Nanoton(0)));
    tokio::time::timeout(Duration::from_mins(2), seen).await.expect("the payout settles").unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_signed_comes_into_the_owners_wallet_to_the_nanoton() {
    let folder = tempfile::tempdir().unwrap();
    let stage = stage(folder.path()).await;
    let before = stage.balance().await;
    let (first, second) = (300_000_000, 400_000_000);
    stage.signs(folder.path(), first);
    let cashier = stage.cashier(folder.path());
    settled(&cashier).await;
    stage.signs(folder.path(), second);
    cashier.payments_came().await;
    soon("the second payout", || async { (rows(folder.path()).len() == 2).then_some(()) }).await;
    settled(&cashier).await;
    cashier.stop().await;
    let rows = rows(folder.path());
    let mut income = 0;
    let mut fees = 0;
    for (row, tokens) in rows.iter().rev().zip([first, second - first]) {
        let Errand::Payout { expected, .. } = row.errand else { panic!("{row:?}") };
        assert_eq!(expected.0, tokens * FEE);
        let Stage::Ended(Outcome::Done { receipts, fees: Some(cost) }) = &row.stage else { panic!("{row:?}") };
        assert_eq!(receipts.len(), 1, "{receipts:?}");
        assert_eq!(receipts[0].value, expected, "signed is what came in");
        assert_eq!(row.forecast.as_ref().map(|forecast| forecast.income), Some(expected), "as it was tried before");
        income += receipts[0].value.0;
        fees += cost.0;
    }
    assert_eq!(income, second * FEE);
    // What the contract keeps as its reserve is not spent: it comes back with the last payout.
    let kept = stage.client.account(stage.worker).await.unwrap().balance.0;
    let after = stage.balance().await;
    let explained = before + income - fees - kept;
    assert!(after.abs_diff(explained) <= STORAGE, "{after} instead of {explained}");
    println!("income {income}, fees {fees}, reserve {kept}, unexplained {}", after.abs_diff(explained));
    stage.chain.stop().await;
}

/// Nanotons of rent that accounts pay for the seconds between: no part of what a transfer costs.
const STORAGE: u64 = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_cashier_that_is_stopped_at_any_moment_pays_once() {
    let folder = tempfile::tempdir().unwrap();
    let stage = stage(folder.path()).await;
    stage.signs(folder.path(), 200_000_000);
    // Ever a little later: before the look, after the plan, after the signature, after the sending, after the landing.
    for pause in [0, 5, 10, 20, 30, 40, 60, 80, 120, 200, 400, 800] {
        let cashier = stage.cashier(folder.path());
        tokio::time::sleep(Duration::from_millis(pause)).await;
        cashier.stop().await;
    }
    let cashier = stage.cashier(folder.path());
    settled(&cashier).await;
    cashier.stop().await;
    assert_eq!(stage.payouts().await, [200_000_000 * FEE]);
    let rows = rows(folder.path());
    let done = |row: &&Transfer| matches!(row.stage, Stage::Ended(Outcome::Done { .. }));
    assert_eq!(rows.iter().filter(done).count(), 1, "{rows:?}");
    assert!(rows.iter().all(|row| matches!(row.stage, Stage::Ended(_))), "{rows:?}");
    stage.chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_loses_doubles_and_delays_leads_to_one_payout() {
    let folder = tempfile::tempdir().unwrap();
    let stage = stage(folder.path()).await;
    stage
        .chain
        .set_faults(&["lost_answer:sendBoc:1", "duplicate:sendBoc:2", "behind=2:getAddressInformation:6"])
        .await
        .unwrap();
    stage.signs(folder.path(), 100_000_000);
    let cashier = stage.cashier(folder.path());
    settled(&cashier).await;
    cashier.stop().await;
    let rows = rows(folder.path());
    assert!(rows.iter().any(|row| matches!(row.stage, Stage::Ended(Outcome::Done { .. }))), "{rows:?}");
    let paid = rows.iter().map(|row| match &row.stage {
        Stage::Ended(Outcome::Done { receipts, .. } | Outcome::Failed { receipts, .. }) => receipts.len(),
        _ => 0,
    });
    assert_eq!(paid.sum::<usize>(), 1);
    stage.chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_wallet_began_for_another_network_is_ended_first_and_stays_in_its_row() {
    let folder = tempfile::tempdir().unwrap();
    let stage = stage(folder.path()).await;
    let (elsewhere, friend) = (Address { workchain: 0, hash: [8; 32] }, Address { workchain: 0, hash: [7; 32] });
    let value = Nanoton(COIN / 10);
    stage.signs(folder.path(), 100_000_000);
    // Signed and written down, and then the program was killed.
    let valid_until = stage.client.head().await.unwrap().time + 600;
    let message = InternalMessage::new(friend, false, value, Cell::empty());
    let messages = vec![Outgoing { mode: SendMode::TRANSFER, message }];
    let unsigned = Unsigned::Transfer(Sending { seqno: 0, valid_until, messages });
    let (wallet, signature) = (stage.owner.wallet, stage.owner.sign(&unsigned).unwrap());
    let body = wallet.signed_body(&wallet.body_to_sign(&unsigned).unwrap(), &signature).unwrap();
    let external = wallet.external(body, true);
    let signed = accounting::SignedMessage {
        boc: boc::encode(&external.to_cell().unwrap()).unwrap(),
        hash: external.normalized_hash().unwrap(),
        seqno: 0,
        valid_until,
    };
    let outgoing =
        accounting::Outgoing { to: friend, value, everything: false, bounce: false, body: None, state_init: None };
    let planned = Transfer {
        id: accounting::TransferId(0),
        payer: stage.owner.address(),
        errand: Errand::Send,
        outgoing,
        forecast: None,
        stage: Stage::Planned,
        planned_unix_ms: 0,
    };
    {
        let mut ledger = Ledger::open(&folder.path().join("ledger.sqlite"), 0).unwrap();
        ledger.record_transfer(&elsewhere, &planned).unwrap();
        ledger.record_transfer(&elsewhere, &Transfer { stage: Stage::Signed(signed), ..planned }).unwrap();
    }
    let cashier = stage.cashier(folder.path());
    soon("the payout", || async { (!stage.payouts().await.is_empty()).then_some(()) }).await;
    settled(&cashier).await;
    cashier.stop().await;
    assert!(stage.client.account(friend).await.unwrap().balance.0 > value.0 - 1_000_000);
    let of = |root: &Address| {
        let ledger = Ledger::open(&folder.path().join("ledger.sqlite"), 0).unwrap();
        ledger.transfers(root, None, 10).unwrap().transfers
    };
    let (there, here) = (of(&elsewhere), of(&ROOT));
    for (rows, id) in [(&there, 0), (&here, 1)] {
        let [row] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!(row.id.0, id, "{row:?}");
        assert!(matches!(row.stage, Stage::Ended(Outcome::Done { .. })), "{row:?}");
    }
    stage.chain.stop().await;
}
