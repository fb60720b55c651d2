//! The owner's wallet at the command line: made, brought back by its words, sent from, and paid into, on the embedded chain.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use accounting::{Errand, Outcome, Stage};
use chain::Chain as _;
use ledger::Ledger;
use node::folder::Folder;
use serde_json::Value;
use system_tests::ROOT as SOME_ROOT;
use system_tests::program::{self, Running};
use ton::cocoon::Body;
use ton::{Address, AddressText, Nanoton};

use crate::money::{self, COIN, FEE, Purse, ROOT, soon, stage_for};

pub(crate) const PASSWORD: &str = "correct horse";
/// A public phrase of no worth, its last two words in the wrong order.
const SWAPPED: &str = "clown round unhappy actual inhale cricket exhaust barrel kingdom cinnamon apple mechanic steel cabbage mercy deputy two perfect nothing when spare maple one crew";

/// `chrysalis wallet` with these words and these lines of standard input.
fn wallet(words: &[&str], input: &[&str]) -> (Option<i32>, String, String) {
    let mut child = Command::new(program::path("chrysalis"))
        .arg("wallet")
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Whoever refuses at once reads nothing.
    let _ = stdin.write_all(format!("{}\n", input.join("\n")).as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The object that a command printed as its last line.
pub(crate) fn object(words: &[&str], input: &[&str]) -> Value {
    let (code, out, errors) = wallet(words, input);
    assert_eq!(code, Some(0), "{words:?}: {out}{errors}");
    serde_json::from_str(out.lines().last().unwrap()).unwrap_or_else(|error| panic!("{words:?}: {error}: {out}"))
}

/// What a command says when it does nothing.
pub(crate) fn refusal(words: &[&str], input: &[&str]) -> String {
    let (code, out, errors) = wallet(words, input);
    assert_eq!(code, Some(1), "{words:?}: {out}{errors}");
    errors.lines().last().unwrap().to_owned()
}

/// The words that are shown.
fn shown(running: &mut Running) -> Vec<String> {
    let words = (1..=24).map(|number: usize| {
        let line = running.line();
        let (place, word) = line.trim().split_once(' ').unwrap();
        assert_eq!(place, number.to_string());
        word.to_owned()
    });
    words.collect()
}

/// The place that is asked for now, so many questions having been asked before.
pub(crate) fn asked(running: &Running, before: usize) -> usize {
    system_tests::until("a question for a word", || {
        let said = running.errors();
        let question = said.lines().filter_map(|line| line.strip_prefix("Word ")).nth(before)?;
        question.strip_suffix(':')?.parse().ok()
    })
}

/// Makes a wallet in a folder; gives its words and its address.
pub(crate) fn create(folder: &str) -> (String, String) {
    create_on("main", folder)
}

/// The same, on that network.
pub(crate) fn create_on(network: &str, folder: &str) -> (String, String) {
    let mut words = vec!["wallet", "create", "--data", folder, "--protect", "password", "--json"];
    words.extend((network == "test").then_some("--testnet"));
    let mut running = Running::start("chrysalis", &words);
    let words = shown(&mut running);
    for question in 0..3 {
        let place = asked(&running, question);
        running.say(&words[place - 1]);
    }
    running.say(PASSWORD);
    running.say(PASSWORD);
    let line: Value = serde_json::from_str(&running.line()).unwrap();
    assert!(running.wait().0.success(), "{}", running.errors());
    assert_eq!(
        (&line["network"], &line["version"], &line["protection"]),
        (&network.into(), &"v5r1".into(), &"password".into())
    );
    (words.join(" "), line["address"].as_str().unwrap().to_owned())
}

fn path(folder: &Path) -> &str {
    folder.to_str().unwrap()
}

#[test]
fn a_wallet_is_made_asked_for_and_brought_back_by_its_words() {
    let room = tempfile::tempdir().unwrap();
    let (first, second) = (room.path().join("first"), room.path().join("second"));
    let (words, address) = create(path(&first));
    assert_eq!(object(&["address", "--data", path(&first), "--json"], &[])["address"], address.as_str());
    let file = std::fs::read(first.join("wallet")).unwrap();
    assert!(
        !words
            .split(' ')
            .any(|word| word.len() > 4 && file.windows(word.len()).any(|window| window == word.as_bytes()))
    );
    for command in ["create", "import"] {
        let said = refusal(&[command, "--data", path(&first), "--protect", "password"], &[]);
        assert!(said.contains("there is a wallet already") && said.contains(&address), "{said}");
    }

    let import = ["import", "--data", path(&second), "--protect", "password", "--json"];
    for (typed, named) in [
        ("one two three", "3 words"),
        (SWAPPED, "one is wrong, or two are swapped"),
        ("abandon abandun", "word number 2 is not on the list"),
    ] {
        let said = refusal(&import, &[typed, "1", PASSWORD, PASSWORD]);
        assert!(said.contains(named) && !said.contains("clown") && !said.contains("abandun"), "{said}");
    }
    let said = refusal(&import, &[&words, "4", PASSWORD, PASSWORD]);
    assert!(said.contains("none of the numbers"), "{said}");
    let said = refusal(&import, &[&words, "1", PASSWORD, "another one"]);
    assert!(said.contains("differ"), "{said}");
    assert!(!second.join("wallet").exists(), "something was saved");
    assert_eq!(object(&import, &[&words.to_uppercase(), "1", PASSWORD, PASSWORD])["address"], address.as_str());
}

#[test]
fn words_of_bip39_are_taken_only_on_request() {
    let room = tempfile::tempdir().unwrap();
    let import = ["import", "--data", path(room.path()), "--protect", "password", "--json"];
    let words = format!("{}about", "abandon ".repeat(11));
    let said = refusal(&import, &[&words, "no"]);
    assert!(said.contains("did not say yes"), "{said}");
    let said = refusal(&[&import[..], &["--bip39"]].concat(), &["one two", "1"]);
    assert!(said.contains("2 words"), "{said}");
    let asked = object(&import, &[&words, "yes", "2", PASSWORD, PASSWORD]);
    assert_eq!(asked["version"], "v4r2");
}

#[test]
fn whoever_did_not_write_the_words_down_has_no_wallet() {
    let room = tempfile::tempdir().unwrap();
    let mut running =
        Running::start("chrysalis", &["wallet", "create", "--data", path(room.path()), "--protect", "password"]);
    let words = shown(&mut running);
    for question in 0..9 {
        let place = asked(&running, question);
        // The word before, or the last for the first.
        running.say(&words[(place + 22) % 24]);
    }
    assert_eq!(running.wait().0.code(), Some(1));
    assert!(running.errors().contains("nothing was saved"), "{}", running.errors());
    assert!(!room.path().join("wallet").exists());
}

#[test]
fn what_is_typed_on_a_terminal_is_not_shown() {
    let room = tempfile::tempdir().unwrap();
    let mut child = Command::new("script")
        .args(["-q", "-e", "-c", "exec \"$PROGRAM\" wallet import --data \"$DATA\" --protect password", "/dev/null"])
        .env("SHELL", "/bin/sh")
        .env("PROGRAM", program::path("chrysalis"))
        .env("DATA", room.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut terminal, mut said) = (child.stdout.take().unwrap(), Vec::new());
    let mut read_until = |end: &str| {
        let mut byte = [0];
        while !String::from_utf8_lossy(&said).ends_with(end) && terminal.read(&mut byte).unwrap_or(0) == 1 {
            said.push(byte[0]);
        }
        String::from_utf8_lossy(&said).into_owned()
    };
    let asked = read_until("in one line: ");
    assert!(asked.ends_with("in one line: "), "{asked}");
    writeln!(child.stdin.as_ref().unwrap(), "zebra zebra zebra").unwrap();
    let all = read_until("\u{0}");
    assert!(all.contains("3 words") && !all.contains("zebra"), "{all}");
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_signed_is_collected_and_sent_on_from_the_command_line() {
    let room = tempfile::tempdir().unwrap();
    let data = room.path().join("data");
    let (_, text) = create(path(&data));
    let own = AddressText::parse(&text).unwrap().address;
    let other = room.path().join("other");
    create_on("test", path(&other));
    let scene = stage_for(room.path(), own).await;
    let (url, token) = (scene.chain.endpoint(), room.path().join("token"));
    std::fs::write(&token, format!("{}\n", scene.chain.token())).unwrap();
    let place = ["--data", path(&data), "--chain", &url, "--chain-token-file", path(&token), "--json"];
    let with = |words: &[&str]| -> Vec<String> { words.iter().chain(&place).map(ToString::to_string).collect() };
    // The commands are processes: the chain goes on in this one while they run.
    let run = |words: Vec<String>, input: &'static [&'static str]| {
        tokio::task::spawn_blocking(move || object(&words.iter().map(String::as_str).collect::<Vec<_>>(), input))
    };
    let refused = |words: Vec<String>, input: &'static [&'static str]| {
        tokio::task::spawn_blocking(move || refusal(&words.iter().map(String::as_str).collect::<Vec<_>>(), input))
    };
    // What is signed for one network might be taken by another.
    for words in [&["balance"][..], &["history"], &["collect"], &["send", &text, "1"]] {
        let words = words.iter().chain(&["--data", path(&other)]).chain(&place[2..]).map(ToString::to_string).collect();
        let said = refused(words, &["yes", "yes", PASSWORD]).await.unwrap();
        assert!(said.contains("is of TON's main network, the wallet of"), "{said}");
    }
    let balance = run(with(&["balance"]), &[]).await.unwrap()["nanoton"].as_u64().unwrap();
    assert!((2 * COIN - 1_000..=2 * COIN).contains(&balance), "{balance}");
    let nothing = run([with(&["collect"]), vec!["--root".to_owned(), SOME_ROOT.to_owned()]].concat(), &[PASSWORD]);
    assert_eq!(nothing.await.unwrap()["payouts"], 0);

    let tokens = 300_000_000;
    scene.signs(&data, tokens);
    let said = refused(with(&["collect"]), &["wrong horse"]).await.unwrap();
    assert!(said.contains("wrong password"), "{said}");
    let (ledger, copy) = (data.join("ledger.sqlite"), room.path().join("copy"));
    std::fs::copy(&ledger, &copy).unwrap();
    let collected = run(with(&["collect"]), &[PASSWORD]).await.unwrap();
    assert_eq!((&collected["paid_nanoton"], &collected["payouts"]), (&(tokens * FEE).into(), &1.into()));
    assert_eq!(collected["left_nanoton"], 0);
    // The ledger comes back as it was before: the chain knows what was paid, and it is written down again.
    std::fs::copy(&copy, &ledger).unwrap();
    for found in [1, 0] {
        let again = run(with(&["collect"]), &[PASSWORD]).await.unwrap();
        assert_eq!((&again["paid_nanoton"], &again["payouts"]), (&0.into(), &0.into()));
        assert_eq!(again["found_payouts"], found, "{again}");
    }
    let receipts = Ledger::open(&ledger, 0).unwrap().receipts(&own, None, 10).unwrap().receipts;
    assert_eq!(receipts.iter().map(|entry| entry.receipt.value.0).collect::<Vec<_>>(), [tokens * FEE]);
    let before = scene.client.account(own).await.unwrap().balance.0;
    assert!(before > COIN + tokens * FEE, "{before}");

    let friend = Address { workchain: 0, hash: [0xf1; 32] };
    let spell = |testnet| AddressText { address: friend, bounceable: true, testnet }.to_text();
    let send = |to: &str, amount: &str, more: &[&str]| -> Vec<String> {
        ["send", to, amount].iter().chain(more).chain(&place).map(ToString::to_string).collect()
    };
    let mut mistyped = spell(false);
    mistyped.replace_range(20..21, if mistyped.as_bytes()[20] == b'A' { "B" } else { "A" });
    for (words, named) in [
        (send(&mistyped, "1", &[]), "mistyped"),
        (send(&friend.to_string(), "1", &[]), "no checksum"),
        (send(&spell(true), "1", &[]), "test network"),
        (send(&text, "1", &[]), "this wallet itself"),
        (send(&spell(false), "0", &[]), "nothing"),
        (send(&spell(false), "1,5", &[]), "is no amount"),
    ] {
        let said = refused(words, &["yes", "yes", PASSWORD]).await.unwrap();
        assert!(said.contains(named), "{named}: {said}");
    }
    let said = refused(send(&spell(false), "7.4", &[]), &["yes", "yes", PASSWORD]).await.unwrap();
    assert!(said.contains("is kept for the worker's fees: send at most"), "{said}");
    let said = refused(send(&spell(false), "9", &["--keep", "0"]), &["yes", "yes", PASSWORD]).await.unwrap();
    assert!(said.contains("in the wallet, less than") && said.contains("would fail"), "{said}");
    // What is shown before the yes is what the chain has and would have.
    let words = send(&spell(false), "1.5", &["--comment", "for tea"]);
    let asked = tokio::task::spawn_blocking(move || {
        wallet(&words.iter().map(String::as_str).collect::<Vec<_>>(), &["yes", "no"])
    });
    let (code, _, said) = asked.await.unwrap();
    assert!(code == Some(1) && said.contains("did not say yes"), "{said}");
    let line = |name: &str| {
        let found = said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {said}"));
        found.trim().to_owned()
    };
    let coins = |name: &str| ton::Nanoton::from_coins(line(name).trim_end_matches(" TON")).unwrap().0;
    assert_eq!(line("From "), text);
    let recipient = AddressText { address: friend, bounceable: false, testnet: false };
    assert_eq!(line("To "), recipient.groups());
    assert_eq!((line("Comment "), line("Network ")), ("for tea".to_owned(), "TON".to_owned()));
    assert_eq!(coins("Amount "), 3 * COIN / 2);
    assert_eq!(coins("Amount ") + coins("Fee ") + coins("Left "), before, "{said}");
    let held = Folder::take(&data).unwrap();
    let said = refused(send(&spell(false), "1.5", &[]), &["yes", "yes", PASSWORD]).await.unwrap();
    assert!(said.contains("already in use by another chrysalis"), "{said}");
    drop(held);
    assert_eq!(scene.client.account(own).await.unwrap().balance.0, before, "something was sent");

    let sent = run(send(&spell(false), "1.5", &["--comment", "for tea"]), &["yes", "yes", PASSWORD]).await.unwrap();
    assert_eq!((&sent["outcome"], &sent["nanoton"]), (&"done".into(), &(3 * COIN / 2).into()));
    let there = scene.client.account(friend).await.unwrap().balance.0;
    assert!(there > 3 * COIN / 2 - 1_000_000 && there <= 3 * COIN / 2, "{there} arrived");
    let ledger = Ledger::open(&data.join("ledger.sqlite"), 0).unwrap();
    let rows = ledger.transfers(&ROOT, None, 10).unwrap().transfers;
    assert!(matches!(rows[0].errand, Errand::Send), "{rows:?}");
    let Stage::Ended(Outcome::Done { fees: Some(cost), .. }) = &rows[0].stage else { panic!("{rows:?}") };
    let left = scene.client.account(own).await.unwrap().balance.0;
    let spent = before - 3 * COIN / 2 - left;
    assert!(spent.abs_diff(cost.0) <= 1_000, "{spent} is gone, and {cost} is said");
    assert_eq!(sent["fees_nanoton"], cost.0);
    assert!(ledger.open_transfers(&ROOT).unwrap().is_empty());

    // A stranger sends what looks like a payout.
    let fake = Body::Payout { query_id: 250_000_000 }.to_cell().unwrap();
    let before = scene.client.account(own).await.unwrap().balance;
    money::send(&scene.client, &Purse::new(2), own, COIN, fake, None).await;
    soon("the stranger's gift", || async { (scene.client.account(own).await.unwrap().balance > before).then_some(()) })
        .await;
    let history = run(with(&["history"]), &[]).await.unwrap();
    let reasons: Vec<&str> =
        history.as_array().unwrap().iter().map(|entry| entry["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons.iter().filter(|reason| **reason == "payout").count(), 1, "{history}");
    assert_eq!(reasons[0], "received", "{history}");
    let tea = history.as_array().unwrap().iter().find(|entry| entry["comment"] == "for tea").unwrap();
    assert_eq!((&tea["reason"], &tea["nanoton"]), (&"sent".into(), &(3 * COIN / 2).into()));
    scene.chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payout_for_one_owner_is_brought_to_its_end_by_a_command_of_another() {
    let room = tempfile::tempdir().unwrap();
    let data = room.path().join("data");
    let (_, text) = create(path(&data));
    let own = AddressText::parse(&text).unwrap().address;
    let paid = Purse::new(5).address();
    let scene = stage_for(room.path(), paid).await;
    scene.chain.give(own, Nanoton(2 * COIN)).await.unwrap();
    soon("money for fees", || async { (scene.client.account(own).await.unwrap().balance.0 > 0).then_some(()) }).await;
    let tokens = 300_000_000;
    scene.signs(&data, tokens);
    let (url, token) = (scene.chain.endpoint(), room.path().join("token"));
    std::fs::write(&token, format!("{}\n", scene.chain.token())).unwrap();
    let place = ["--data", path(&data), "--chain", &url, "--chain-token-file", path(&token), "--json"];
    let owner = AddressText { address: paid, bounceable: false, testnet: false }.to_text();
    // Signed, and nothing the chain says about it comes through: so it is left under way.
    scene.chain.set_faults(&["busy:sendBoc:1000"]).await.unwrap();
    let mut collect = Command::new(program::path("chrysalis"))
        .args(["wallet", "collect", "--owner", &owner])
        .args(place)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    writeln!(collect.stdin.as_ref().unwrap(), "{PASSWORD}").unwrap();
    let ledger = data.join("ledger.sqlite");
    soon("a signature", || async {
        let open = Ledger::open(&ledger, 0).unwrap().open_transfers(&ROOT).unwrap();
        open.iter().any(|row| matches!(row.stage, Stage::Signed(_))).then_some(())
    })
    .await;
    collect.kill().unwrap();
    collect.wait().unwrap();
    scene.chain.set_faults(&[]).await.unwrap();

    let friend = AddressText { address: Address { workchain: 0, hash: [0xf1; 32] }, bounceable: true, testnet: false };
    let words: Vec<String> = ["send", &friend.to_text(), "0.5"].iter().chain(&place).map(ToString::to_string).collect();
    let sent = tokio::task::spawn_blocking(move || {
        object(&words.iter().map(String::as_str).collect::<Vec<_>>(), &["yes", "yes", PASSWORD])
    });
    assert_eq!(sent.await.unwrap()["outcome"], "done");
    let ledger = Ledger::open(&ledger, 0).unwrap();
    let rows = ledger.transfers(&ROOT, None, 10).unwrap().transfers;
    let payout = rows.iter().find(|row| row.errand != Errand::Send).unwrap();
    let Stage::Ended(Outcome::Done { receipts, .. }) = &payout.stage else { panic!("{rows:?}") };
    assert_eq!(
        receipts.iter().map(|receipt| (receipt.to, receipt.value.0)).collect::<Vec<_>>(),
        [(paid, tokens * FEE)]
    );
    scene.chain.stop().await;
}
