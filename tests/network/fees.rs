//! Payouts to an address whose key is elsewhere, fetched and paid for by a wallet here, at the command line and without a window.

use std::path::Path;

use chain::Chain as _;
use node::earnings::Earnings;
use node::receipt::prove;
use serde_json::{Value, json};
use system_tests::program::Running;
use system_tests::{headless_words, served_as, tiny_model};
use ton::{Address, AddressText, Nanoton};

use crate::money::{COIN, FEE, ROOT, Scene, stage_for};
use crate::wallet::{PASSWORD, create, object, refusal};

/// How long another address waits, in seconds.
const PAYOUT_CHANGE_WAITS: u64 = 24 * 60 * 60;
/// Where it stands, in the app's folder.
const PAYOUT_FILE: &str = "payout-address.json";
/// Addresses whose keys nobody here has.
const WATCHED: Address = Address { workchain: 0, hash: [0x71; 32] };
const OTHER: Address = Address { workchain: 0, hash: [0x72; 32] };

fn spelt(address: Address) -> String {
    AddressText { address, bounceable: false, testnet: false }.to_text()
}

fn path(folder: &Path) -> &str {
    folder.to_str().unwrap()
}

/// A command beside the chain, which goes on meanwhile.
async fn run(words: &[&str], input: &'static [&'static str]) -> Value {
    let words: Vec<String> = words.iter().map(ToString::to_string).collect();
    let work = move || object(&words.iter().map(String::as_str).collect::<Vec<_>>(), input);
    tokio::task::spawn_blocking(work).await.unwrap()
}

async fn refused(words: &[&str], input: &'static [&'static str]) -> String {
    let words: Vec<String> = words.iter().map(ToString::to_string).collect();
    let work = move || refusal(&words.iter().map(String::as_str).collect::<Vec<_>>(), input);
    tokio::task::spawn_blocking(work).await.unwrap()
}

async fn balance(scene: &Scene, address: Address) -> u64 {
    scene.client.account(address).await.unwrap().balance.0
}

/// As if its day were over: what waits counts since the beginning of 2020.
fn a_day_passes(data: &Path) {
    let file = data.join(PAYOUT_FILE);
    let mut book: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    book["waiting"]["from"] = json!(1_577_836_800);
    std::fs::write(&file, serde_json::to_vec(&book).unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn payouts_go_to_a_watched_address_a_wallet_here_pays_and_its_rest_is_taken_back_to_the_nanoton() {
    let room = tempfile::tempdir().unwrap();
    let folder = room.path().join("data");
    let data = path(&folder);
    let address = ["payout-address", "--data", data, "--json"];
    // The first address of a folder without a wallet counts at once; what is no address of this network never does.
    let to = |to: &str| -> Vec<String> { ["payout-address", to, "--data", data, "--json"].map(str::to_owned).to_vec() };
    let marked = AddressText { address: WATCHED, bounceable: false, testnet: true }.to_text();
    for (typed, named) in
        [(WATCHED.to_string(), "no checksum"), (marked, "test network"), ("UQ".to_owned(), "no TON address")]
    {
        let words = to(&typed);
        let said = refused(&words.iter().map(String::as_str).collect::<Vec<_>>(), &["yes", "yes"]).await;
        assert!(said.contains(named), "{named}: {said}");
    }
    let set = run(&["payout-address", &spelt(WATCHED), "--data", data, "--json"], &["yes"]).await;
    assert_eq!((&set["payout_address"], &set["waiting"]), (&json!(spelt(WATCHED)), &Value::Null));
    let made = data.to_owned();
    let (_, fee_text) = tokio::task::spawn_blocking(move || create(&made)).await.unwrap();
    let fee_wallet = AddressText::parse(&fee_text).unwrap().address;
    let said = run(&["address", "--data", data, "--json"], &[]).await;
    assert_eq!((&said["payout_address"], &said["fee_wallet"]), (&json!(spelt(WATCHED)), &json!(fee_text)));

    let scene = stage_for(room.path(), WATCHED).await;
    let (url, token) = (scene.chain.endpoint(), room.path().join("token"));
    std::fs::write(&token, scene.chain.token()).unwrap();
    let chain = ["--data", data, "--chain", &url, "--chain-token-file", path(&token), "--json"];
    let on_chain =
        |words: &[&'static str]| -> Vec<String> { words.iter().copied().chain(chain).map(str::to_owned).collect() };
    let words = |owned: &[String]| -> Vec<String> { owned.to_vec() };
    scene.chain.give(fee_wallet, Nanoton(COIN)).await.unwrap();
    crate::money::soon("coins for fees", || async { (balance(&scene, fee_wallet).await > 0).then_some(()) }).await;
    let tokens = 300_000_000;
    scene.signs(&folder, tokens);
    let before = balance(&scene, WATCHED).await;
    let collect = words(&on_chain(&["collect"]));
    let collect: Vec<&str> = collect.iter().map(String::as_str).collect();
    let collected = run(&collect, &[PASSWORD]).await;
    assert_eq!((&collected["paid_nanoton"], &collected["payouts"]), (&json!(tokens * FEE), &json!(1)));
    // Rent of an account that nobody has set up falls due with the payout.
    let came = balance(&scene, WATCHED).await - before;
    assert!(came <= tokens * FEE && came + 1_000 >= tokens * FEE, "{came} of {}", tokens * FEE);
    let both = words(&on_chain(&["balance"]));
    let both = run(&both.iter().map(String::as_str).collect::<Vec<_>>(), &[]).await;
    assert_eq!(both["nanoton"], balance(&scene, WATCHED).await);
    assert_eq!(both["fee_wallet_nanoton"], balance(&scene, fee_wallet).await);

    // Another address waits; what the contract of today owes is fetched for the one it names, also after that.
    let waits = run(&["payout-address", &spelt(OTHER), "--data", data, "--json"], &["yes"]).await;
    assert_eq!(
        (&waits["payout_address"], &waits["waiting"]["address"]),
        (&json!(spelt(WATCHED)), &json!(spelt(OTHER)))
    );
    let kept = run(&["payout-address", "--cancel", "--data", data, "--json"], &[]).await;
    assert_eq!((&kept["payout_address"], &kept["waiting"]), (&json!(spelt(WATCHED)), &Value::Null));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let waits = run(&["payout-address", &spelt(OTHER), "--data", data, "--json"], &["yes"]).await;
    let from = waits["waiting"]["from"].as_u64().unwrap();
    assert!((now + PAYOUT_CHANGE_WAITS..now + PAYOUT_CHANGE_WAITS + 60).contains(&from), "{from}");
    a_day_passes(&folder);
    assert_eq!(run(&address, &[]).await["payout_address"], spelt(OTHER));
    scene.signs(&folder, 2 * tokens);
    let collected = run(&collect, &[PASSWORD]).await;
    assert_eq!((&collected["paid_nanoton"], &collected["left_nanoton"]), (&json!(tokens * FEE), &json!(0)));
    // Both receipts prove themselves, though another owner is in force.
    let earnings = Earnings::open_for_reading(&folder.join("ledger.sqlite")).unwrap();
    let page = earnings.payouts(&ROOT, None, 10).unwrap();
    assert_eq!(page.payouts.len(), 2);
    for payout in &page.payouts {
        assert_eq!(payout.receipt.to, WATCHED);
        let claimed = earnings.claimed(&ROOT, payout.receipt.lt, &payout.receipt.hash).unwrap().unwrap();
        let verdict = prove(&*scene.client, &claimed, Some(&crate::earnings::terms())).await;
        assert!(verdict.is_proved_by_the_chain(), "{verdict:#?}");
    }

    let take_back = words(&on_chain(&["take-back"]));
    let take_back: Vec<&str> = take_back.iter().map(String::as_str).collect();
    let there = balance(&scene, fee_wallet).await;
    let said = refused(&take_back, &["no"]).await;
    assert!(said.contains("did not say yes") && balance(&scene, fee_wallet).await == there, "{said}");
    let taken = run(&take_back, &["yes", PASSWORD]).await;
    assert_eq!((&taken["outcome"], &taken["from_nanoton"]), (&json!("done"), &json!(there)));
    assert_eq!(balance(&scene, fee_wallet).await, 0);
    assert_eq!(balance(&scene, OTHER).await, there - taken["fees_nanoton"].as_u64().unwrap());
    let said = refused(&take_back, &["yes", PASSWORD]).await;
    assert!(said.contains("is empty"), "{said}");
    scene.chain.stop().await;
}

#[test]
fn a_limit_holds_at_the_command_line_and_a_wallet_is_deleted_only_by_whoever_has_its_words() {
    let room = tempfile::tempdir().unwrap();
    let folder = room.path().join("data");
    let data = path(&folder);
    let (words, text) = create(data);
    assert_eq!(object(&["limit", "--data", data, "--json"], &[])["limit_nanoton"], Value::Null);
    assert_eq!(object(&["limit", "1.5", "--data", data, "--json"], &[])["limit_nanoton"], 3 * COIN / 2);
    assert!(refusal(&["limit", "much", "--data", data], &[]).contains("no amount"));
    assert_eq!(object(&["auto-lock", "5", "--data", data, "--json"], &[])["locks_after_seconds"], 300);
    assert_eq!(object(&["auto-lock", "never", "--data", data, "--json"], &[])["locks_after_seconds"], Value::Null);
    assert_eq!(object(&["limit", "none", "--data", data, "--json"], &[])["limit_nanoton"], Value::Null);

    // As if they had never been asked for.
    std::fs::remove_file(folder.join("wallet-rules.json")).unwrap();
    let delete = ["delete", "--data", data, "--json"];
    let last = &text[text.len() - 4..];
    let said = refusal(&delete, &[PASSWORD, "zebra", "zebra", "zebra", last]);
    assert!(said.contains("not the words"), "{said}");
    let said = refusal(&["delete", "--data", data, "--yes-i-have-the-words"], &["else"]);
    assert!(said.contains("nothing was deleted"), "{said}");
    assert!(folder.join("wallet").exists());
    // Whoever has the words shows it once, and is not asked again.
    let mut running = Running::start("chrysalis", &["wallet", "check-words", "--data", data, "--json"]);
    running.say(PASSWORD);
    let words: Vec<&str> = words.split(' ').collect();
    for question in 0..3 {
        running.say(words[crate::wallet::asked(&running, question) - 1]);
    }
    assert!(running.wait().0.success(), "{}", running.errors());
    assert_eq!(object(&delete, &[last])["deleted"], text.as_str());
    assert!(!folder.join("wallet").exists());
}

#[test]
fn headless_serves_for_a_payout_address_without_a_wallet_and_says_what_waits() {
    let room = tempfile::tempdir().unwrap();
    let folder = room.path().join("data");
    let data = path(&folder);
    let place = room.path().join("network");
    let own = spelt(WATCHED);
    let mut network =
        Running::start("chrysalis-network", &["practice", "--data", path(&place), "--owner", &own, "--customers", "1"]);
    let ready = network.ready();
    let (file, url) = (ready["network_file"].as_str().unwrap(), ready["chain"]["endpoint"].as_str().unwrap());
    let token = room.path().join("token");
    std::fs::write(&token, ready["chain"]["token"].as_str().unwrap()).unwrap();
    let (model, file) = (tiny_model(), Path::new(file));
    let name = served_as("tiny", &model);
    object(&["payout-address", &spelt(WATCHED), "--data", data, "--json"], &["yes"]);
    object(&["payout-address", &spelt(OTHER), "--data", data, "--json"], &["yes"]);
    let mut words = headless_words(&folder, file, &model, &name);
    words.extend(["--backend", "cpu", "--chain", url, "--chain-token-file", path(&token)]);
    // Somebody else is named than the address says.
    let mut app = Running::start("chrysalis", &words);
    assert_eq!(app.wait().0.code(), Some(1));
    assert!(app.errors().contains("--owner is not the payout address"), "{}", app.errors());
    let at = words.iter().position(|word| *word == "--owner").unwrap();
    words.drain(at..at + 2);
    let mut app = Running::start("chrysalis", &words);
    assert_eq!(app.ready()["owner"], spelt(WATCHED));
    let said = app.errors();
    assert!(said.contains("nothing is fetched by itself") && said.contains("wallet payout-address --cancel"), "{said}");
    app.terminate();
    assert!(app.wait().0.success(), "{}", app.errors());
    // The next start is after its day.
    a_day_passes(&folder);
    let mut app = Running::start("chrysalis", &words);
    assert_eq!(app.ready()["owner"], spelt(OTHER));
    app.terminate();
    assert!(app.wait().0.success(), "{}", app.errors());
}
