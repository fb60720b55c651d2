//! Headless on a practice network, paid into a wallet of its own; and killed at any moment while it is.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use accounting::{Outcome, Receipt, Stage, Transfer};
use chain::toncenter::policy::Patience;
use chain::toncenter::{Endpoint, Settings, Toncenter};
use chain::{Chain as _, MessageKind};
use ledger::Ledger;
use system_tests::dice::Dice;
use system_tests::program::Running;
use system_tests::{headless_words, served_as, tiny_model, until};
use ton::cocoon::{Body, WorkerData};
use ton::{Address, AddressText, WalletData, WalletVersion};

use crate::money::COIN;
use crate::wallet::{PASSWORD, create_on, object};

/// Decides about the moments of the kills.
const SEED: u64 = 5;

/// A practice network that stays, and what an app needs to be paid there.
struct Scene {
    room: tempfile::TempDir,
    _network: Running,
    file: PathBuf,
    endpoint: String,
    token: String,
    own: String,
}

impl Scene {
    fn new() -> Self {
        let room = tempfile::tempdir().unwrap();
        let (_, own) = create_on("test", room.path().join("data").to_str().unwrap());
        // Practice's proxy writes addresses without the test network's mark, and a worker has to write them as its proxy does.
        let own = AddressText { testnet: false, ..AddressText::parse(&own).unwrap() }.to_text();
        let place = room.path().join("network");
        let words = ["practice", "--data", place.to_str().unwrap(), "--owner", &own, "--customers", "2"];
        let mut network = Running::start("chrysalis-network", &words);
        let ready = network.ready();
        let said = |place: &serde_json::Value| place.as_str().unwrap().to_owned();
        let (endpoint, token) = (said(&ready["chain"]["endpoint"]), said(&ready["chain"]["token"]));
        std::fs::write(room.path().join("token"), &token).unwrap();
        Self { file: said(&ready["network_file"]).into(), room, _network: network, endpoint, token, own }
    }

    fn data(&self) -> PathBuf {
        self.room.path().join("data")
    }

    fn app(&self) -> Running {
        self.app_by(Running::start)
    }

    fn app_by(&self, start: impl FnOnce(&str, &[&str]) -> Running) -> Running {
        let mut app = self.locked_app_by(start);
        app.say(PASSWORD);
        app
    }

    /// It wants the wallet's password next.
    fn locked_app_by(&self, start: impl FnOnce(&str, &[&str]) -> Running) -> Running {
        let (data, model, token) = (self.data(), tiny_model(), self.room.path().join("token"));
        let name = served_as("tiny", &model);
        let mut words = headless_words(&data, &self.file, &model, &name);
        let owner = words.iter().position(|word| *word == "--owner").unwrap() + 1;
        words[owner] = &self.own;
        words.extend(["--backend", "cpu", "--threshold", "0.05", "--keep", "0.05"]);
        words.extend(["--chain", &self.endpoint, "--chain-token-file", token.to_str().unwrap()]);
        start("chrysalis", &words)
    }

    fn ledger(&self) -> Ledger {
        Ledger::open(&self.data().join("ledger.sqlite"), 0).unwrap()
    }

    fn root(&self) -> Option<Address> {
        self.ledger().root_contracts().unwrap().first().copied()
    }

    fn rows(&self) -> Vec<Transfer> {
        let Some(root) = self.root() else { return Vec::new() };
        self.ledger().transfers(&root, None, 1_000).unwrap().transfers
    }
}

fn receipts(rows: &[Transfer]) -> Vec<Receipt> {
    let of = |row: &Transfer| match &row.stage {
        Stage::Ended(Outcome::Done { receipts, .. } | Outcome::Failed { receipts, .. }) => receipts.clone(),
        _ => Vec::new(),
    };
    rows.iter().flat_map(of).collect()
}

#[test]
fn headless_fetches_by_itself_what_a_network_owes_once_it_is_given_a_chain_and_a_wallet() {
    let scene = Scene::new();
    let mut app = scene.app();
    app.ready();
    let paid = until("a payout", || receipts(&scene.rows()).first().copied());
    assert!(paid.value.0 >= COIN / 20, "{paid:?}");
    app.terminate();
    assert!(app.wait().0.success(), "{}", app.errors());
}

#[test]
fn a_ctrl_c_where_a_password_is_asked_ends_headless_at_once() {
    let scene = Scene::new();
    let mut app = scene.locked_app_by(Running::start_in_the_foreground);
    app.until_it_says("Password:");
    app.interrupt_all();
    // As any program ends that a shell has started: by the signal, before anything began.
    let (status, lines) = app.wait();
    assert_eq!((status.signal(), lines.len()), (Some(2), 0), "{}", app.errors());
}

#[test]
fn an_app_that_is_killed_while_it_is_paid_is_paid_exactly_once_and_forgets_nothing() {
    let kills = std::env::var("CHRYSALIS_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(20_u32);
    let scene = Scene::new();
    let mut dice = Dice::new(SEED);
    for _ in 0..kills {
        let mut app = scene.app();
        // Reading the model and opening the wallet take about a second; a payout about five.
        std::thread::sleep(Duration::from_millis(dice.between(300, 6_000)));
        app.kill();
    }
    let mut app = scene.app();
    app.ready();
    let payouts = receipts(&scene.rows()).len();
    until("one more payout", || (receipts(&scene.rows()).len() > payouts).then_some(()));
    app.terminate();
    assert!(app.wait().0.success(), "{}", app.errors());
    let (payouts, sum, transfers) = adds_up(&scene);
    println!("{kills} kills, {payouts} payouts of {sum} nanotons in all, {transfers} transfers");
}

#[cfg(target_os = "linux")]
#[test]
fn an_app_whose_disk_is_full_sends_nothing_unwritten_and_is_paid_once_when_there_is_room_again() {
    let scene = Scene::new();
    // A file may not grow beyond its limit: the system refuses to write, as it does when no block is left.
    let mut app = scene.app_by(Running::start_without_file_size_signal);
    app.ready();
    until("a payout", || receipts(&scene.rows()).first().copied());
    let refusals = |app: &Running| app.errors().matches("nothing is sent until I can").count();
    // While one is on its way, so that what came of it can't be written down.
    until("a transfer on its way", || {
        scene.rows().iter().any(|row| matches!(row.stage, Stage::Signed(_))).then_some(())
    });
    app.limit_files(Some(0));
    until("the app to say so", || (refusals(&app) > 0).then_some(()));
    let said = app.errors();
    let line = said.lines().find(|line| line.contains("nothing is sent until I can")).unwrap().to_owned();
    assert!(line.contains("can't write down") && line.contains("ledger"), "{line}");
    app.limit_files(None);
    let payouts = receipts(&scene.rows()).len();
    until("one more payout", || (receipts(&scene.rows()).len() > payouts).then_some(()));
    // And at any moment.
    let mut dice = Dice::new(SEED);
    for _ in 0..8 {
        app.limit_files(Some(0));
        std::thread::sleep(Duration::from_millis(dice.between(100, 1_500)));
        let (sent, rows) = (sent_by_the_wallet(&scene), scene.rows());
        let unsigned = |row: &&Transfer| matches!(row.stage, Stage::Planned | Stage::Ended(Outcome::NotBegun { .. }));
        let written = rows.len() - rows.iter().filter(unsigned).count();
        assert!(sent <= written, "{sent} messages were sent and {written} are written down");
        app.limit_files(None);
        std::thread::sleep(Duration::from_millis(dice.between(100, 1_500)));
    }
    let payouts = receipts(&scene.rows()).len();
    until("a payout after it", || (receipts(&scene.rows()).len() > payouts).then_some(()));
    app.terminate();
    assert!(app.wait().0.success(), "{}", app.errors());
    let (payouts, sum, transfers) = adds_up(&scene);
    println!("{payouts} payouts of {sum} nanotons in all, {transfers} transfers, {} refused writes", refusals(&app));
}

/// Fetches what is still owed by hand, as nobody works any more, and checks that chain, contract and ledger say the same. Gives the number
/// of payouts, their sum, and the number of transfers.
fn adds_up(scene: &Scene) -> (usize, u64, usize) {
    let (data, token) = (scene.data(), scene.room.path().join("token"));
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let words =
        ["collect", "--data", &path(&data), "--chain", &scene.endpoint, "--chain-token-file", &path(&token), "--json"];
    object(&words, &[PASSWORD]);

    let rows = scene.rows();
    assert!(rows.iter().all(|row| matches!(row.stage, Stage::Ended(_))), "{rows:?}");
    let known = receipts(&rows);
    let root = scene.root().unwrap();
    let best = scene.ledger().cashable(&root).unwrap().remove(0);
    let (paid, total) = on_the_chain(scene, best.worker_contract);
    let sum = |values: &[u64]| values.iter().sum::<u64>();
    // The chain, the contract's own total, and the ledger say the same: each payout once, and none is missing.
    assert_eq!(sum(&paid), total * best.fee_per_token.0, "{paid:?}");
    assert_eq!(known.len(), paid.len());
    assert_eq!(known.iter().map(|receipt| receipt.value.0).sum::<u64>(), sum(&paid));
    assert!(total <= best.tokens, "more was fetched than was signed");
    let left = (best.tokens - total) * best.fee_per_token.0;
    assert!(left < COIN / 20, "{left} nanotons that are worth their fee were left");
    (paid.len(), sum(&paid), rows.len())
}

fn client(scene: &Scene) -> (tokio::runtime::Runtime, Toncenter) {
    let endpoint = Endpoint::new(&scene.endpoint, Some(&scene.token)).unwrap();
    let endpoint = endpoint.with_rate(1_000, Duration::from_millis(1));
    let patience = Patience::default();
    let settings = Settings { endpoints: vec![endpoint], agreement: 1, patience, jitter: Arc::new(|| 500) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    (runtime, Toncenter::new(settings).unwrap())
}

/// How many messages of the owner's wallet have landed.
#[cfg(target_os = "linux")]
fn sent_by_the_wallet(scene: &Scene) -> usize {
    let (runtime, client) = client(scene);
    let owner = AddressText::parse(&scene.own).unwrap().address;
    let data = runtime.block_on(client.account(owner)).unwrap().data;
    data.map_or(0, |data| WalletData::read(WalletVersion::V5R1, &data).unwrap().seqno as usize)
}

/// Payouts that came to the owner's account, and the total that the worker contract has paid for.
fn on_the_chain(scene: &Scene, worker: Address) -> (Vec<u64>, u64) {
    let (runtime, client) = client(scene);
    runtime.block_on(async {
        let owner = AddressText::parse(&scene.own).unwrap().address;
        let (mut paid, mut from) = (Vec::new(), None);
        loop {
            let page = client.transactions(owner, from, 100).await.unwrap();
            let messages = page.iter().filter_map(|transaction| transaction.in_message.as_ref());
            let payouts = messages.filter(|message| {
                matches!(message.kind, MessageKind::Internal { .. })
                    && matches!(Body::from_cell(&message.body), Ok(Body::Payout { .. }))
            });
            paid.extend(payouts.map(|message| message.value().0));
            from = page.last().and_then(|oldest| oldest.previous);
            if from.is_none_or(|previous| previous.lt == 0) || page.is_empty() {
                break;
            }
        }
        let account = client.account(worker).await.unwrap();
        (paid, WorkerData::from_cell(account.data.as_ref().unwrap()).unwrap().tokens)
    })
}
