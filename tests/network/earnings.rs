//! What came of payouts on the embedded chain: proved from the chain's data, found again after a lost ledger, written as tables.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use accounting::{AdjustedUsage, Endpoint, JobId, JobOutcome, JobRecord, TokenUsage};
use chain::{Chain, Transaction};
use ledger::{Ledger, Multipliers, NewSession};
use network::contracts::Codes;
use node::earnings::{Earnings, Pipeline};
use node::movements::{Reason, movements};
use node::receipt::{Check, Proof, prove};
use node::run::recovery::{Recovered, Search, recover};
use serde_json::json;
use system_tests::{OWNER, program};
use ton::cocoon::Body;
use ton::{Nanoton, RootConfig};

use crate::money::{COIN, FEE, Purse, ROOT, Scene, params, send, settled, soon, stage};

/// The network's terms as its file would have them.
pub(crate) fn terms() -> RootConfig {
    let codes = Codes::load().unwrap();
    let params = params(&codes);
    let code = |cell: &ton::Cell| ton::Code::new(cell.clone()).unwrap().to_text();
    let text = json!({
        "root_owner_address": OWNER,
        "struct_version": params.struct_version,
        "params_version": params.params_version,
        "unique_id": params.unique_id,
        "is_test": params.is_test,
        "price_per_token": params.price_per_token.0,
        "worker_fee_per_token": params.worker_fee_per_token.0,
        "proxy_delay_before_close": params.proxy_delay_before_close,
        "client_delay_before_close": params.client_delay_before_close,
        "min_proxy_stake": params.min_proxy_stake.0,
        "min_client_stake": params.min_client_stake.0,
        "proxy_sc_code": code(&codes.proxy),
        "worker_sc_code": code(&codes.worker),
        "client_sc_code": code(&codes.client),
    });
    RootConfig::from_json(&text.to_string()).unwrap()
}

fn session(pays_nothing: bool) -> NewSession<'static> {
    NewSession {
        started_unix_ms: 0,
        root_contract: ROOT,
        params_version: 1,
        fee_per_token: Nanoton(FEE),
        served_as: "a/model@commit:hash",
        multipliers: Multipliers { prompt: 10_000, cached: 10_000, completion: 10_000, reasoning: 10_000 },
        pays_nothing,
    }
}

fn job(tokens: i64) -> JobRecord {
    JobRecord {
        id: JobId([tokens as u8; 32]),
        started_unix_ms: 0,
        finished_unix_ms: 0,
        outcome: JobOutcome::Answered,
        usage: TokenUsage::default(),
        coefficient: 1_000,
        adjusted: AdjustedUsage { total: tokens, ..AdjustedUsage::default() },
        streamed: false,
        endpoint: Endpoint::Chat,
    }
}

fn ledger_in(folder: &Path) -> PathBuf {
    folder.join("ledger.sqlite")
}

/// One payout up to this running total.
async fn pay(scene: &Scene, folder: &Path, tokens: u64) {
    scene.signs(folder, tokens);
    let cashier = scene.cashier(folder);
    settled(&cashier).await;
    cashier.stop().await;
}

fn pipeline(folder: &Path) -> Pipeline {
    Earnings::open_for_reading(&ledger_in(folder)).unwrap().pipeline(&ROOT, &BTreeMap::new(), None).unwrap()
}

async fn found(scene: &Scene, folder: &Path, page: u32, pages: u32) -> Recovered {
    let search = Search {
        root_contract: ROOT,
        terms: Some(Arc::new(terms())),
        owner: scene.owner.address(),
        ledger: ledger_in(folder),
        page,
        pages,
    };
    recover(&*scene.client, &search).await.unwrap()
}

async fn history(scene: &Scene) -> Vec<Transaction> {
    let mut all = Vec::new();
    let mut from = None;
    loop {
        let page = scene.client.transactions(scene.owner.address(), from, 100).await.unwrap();
        from = page.last().and_then(|oldest| oldest.previous);
        all.extend(page);
        if from.is_none() {
            return all;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payout_is_proved_from_the_chains_data_and_lies_about_it_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let scene = stage(folder.path()).await;
    let tokens = 300_000_000;
    let mut ledger = Ledger::open(&ledger_in(folder.path()), 0).unwrap();
    let own = ledger.begin_session(&session(false)).unwrap();
    ledger.record_job(own, &scene.proxy_key.verifying_key().to_bytes(), &job(tokens as i64)).unwrap();
    drop(ledger);
    pay(&scene, folder.path(), tokens).await;
    let earnings = Earnings::open_for_reading(&ledger_in(folder.path())).unwrap();
    let page = earnings.payouts(&ROOT, None, 10).unwrap();
    let [payout] = page.payouts.as_slice() else { panic!("{page:?}") };
    assert!(payout.transfer.is_some_and(|transfer| transfer.fees.is_some_and(|fees| fees.0 > 0)), "{payout:?}");
    let claimed = earnings.claimed(&ROOT, payout.receipt.lt, &payout.receipt.hash).unwrap().unwrap();
    let terms = terms();
    let verdict = prove(&*scene.client, &claimed, Some(&terms)).await;
    assert!(verdict.is_proved(), "{verdict:#?}");
    // The ledger is lost: the chain alone proves all but what this machine counted.
    let lost =
        node::receipt::Claimed { cashed: None, counted: None, proxy_key: None, payment: None, ..claimed.clone() };
    let verdict = prove(&*scene.client, &lost, Some(&terms)).await;
    for finding in &verdict.findings {
        assert!((finding.proof == Proof::Passed) == (finding.check != Check::Counted), "{finding:?}");
    }
    let lie = |change: fn(&mut node::receipt::Claimed)| {
        let mut claimed = claimed.clone();
        change(&mut claimed);
        claimed
    };
    for (claimed, check) in [
        (lie(|claimed| claimed.receipt.hash = [1; 32]), Check::Transaction),
        (lie(|claimed| claimed.receipt.lt -= 1), Check::Transaction),
        (lie(|claimed| claimed.receipt.value.0 += 1), Check::Amount),
        (lie(|claimed| claimed.cashed.as_mut().unwrap().to_tokens += 1), Check::Amount),
        (lie(|claimed| claimed.receipt.from = claimed.receipt.to), Check::Proxy),
        (lie(|claimed| claimed.proxy_key = Some([1; 32])), Check::Proxy),
        (lie(|claimed| claimed.cashed.as_mut().unwrap().worker_contract = ROOT), Check::Worker),
        (lie(|claimed| claimed.payment.as_mut().unwrap()[60] ^= 1), Check::Signature),
    ] {
        let verdict = prove(&*scene.client, &claimed, Some(&terms)).await;
        assert_eq!(verdict.of(check).unwrap().proof, Proof::Failed, "{check:?}: {verdict:#?}");
    }
    // What moved adds up to what is in the wallet.
    let contracts = BTreeSet::from([scene.proxy, scene.worker]);
    let moved: Vec<_> = history(&scene).await.iter().flat_map(|one| movements(one, &contracts)).collect();
    let sum: i128 = moved
        .iter()
        .map(|one| {
            let amount = i128::from(one.amount.0);
            (if one.incoming { amount } else { -amount }) - i128::from(one.fee.unwrap_or_default().0)
        })
        .sum();
    assert_eq!(sum, i128::from(scene.balance().await), "{moved:#?}");
    for reason in [Reason::Received, Reason::Fee, Reason::Rest, Reason::Payout] {
        assert!(moved.iter().any(|one| one.reason == reason), "{reason:?}: {moved:#?}");
    }
    scene.chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_or_old_ledger_has_forgotten_is_found_on_the_chain_and_nothing_is_counted_or_paid_twice() {
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let [current, old, empty] = [0, 1, 2].map(|at: usize| folders[at].path());
    let scene = stage(current).await;
    let worth = |tokens: u64| Nanoton(tokens * FEE);
    pay(&scene, current, 100_000_000).await;
    // What SQLite has not yet brought into the file itself stands in a log beside it.
    std::fs::copy(ledger_in(current), ledger_in(old)).unwrap();
    let log = |folder: &Path| folder.join("ledger.sqlite-wal");
    if log(current).exists() {
        std::fs::copy(log(current), log(old)).unwrap();
    }
    pay(&scene, current, 250_000_000).await;
    // A stranger sends what looks like a payout.
    let fake = Body::Payout { query_id: 250_000_000 }.to_cell().unwrap();
    let before = scene.balance().await;
    send(&scene.client, &Purse::new(2), scene.owner.address(), COIN, fake, None).await;
    soon("the stranger's gift", || async { (scene.balance().await > before).then_some(()) }).await;

    // The ledger that saw all of it learns nothing.
    let nothing = found(&scene, current, 100, 10).await;
    assert!(nothing.complete && nothing.payouts.is_empty() && nothing.corrections.is_empty(), "{nothing:?}");
    assert_eq!(nothing.foreign, 1);
    let whole = pipeline(current);
    assert_eq!((whole.paid, whole.payouts, whole.signed), (worth(250_000_000), 2, Nanoton(0)));

    // A new one finds both, two transactions at a time, interrupted after each.
    let mut calls = 0;
    let mut payouts = Vec::new();
    loop {
        let part = found(&scene, empty, 2, 1).await;
        payouts.extend(part.payouts);
        calls += 1;
        assert!(calls < 100, "the search does not end");
        if part.complete {
            break;
        }
    }
    assert!(calls > 2, "{calls}");
    assert_eq!(payouts.iter().map(|one| one.to_tokens).collect::<Vec<_>>(), [250_000_000, 100_000_000]);
    assert_eq!((pipeline(empty).paid, pipeline(empty).payouts), (worth(250_000_000), 2));
    let again = found(&scene, empty, 2, 100).await;
    assert!(again.complete && again.payouts.is_empty(), "{again:?}");

    // An old copy is found out, and corrected.
    assert_eq!(pipeline(old).paid, worth(100_000_000));
    let corrected = found(&scene, old, 100, 10).await;
    assert_eq!((corrected.payouts.len(), corrected.income), (1, worth(150_000_000)));
    assert!(corrected.corrections.iter().any(|one| one.is_of_an_old_ledger() && one.chain_tokens == 250_000_000));
    let seen = pipeline(old);
    assert_eq!((seen.paid, seen.signed, seen.on_the_way), (worth(250_000_000), Nanoton(0), Nanoton(0)));
    // Its cashier has nothing to fetch, and of what is signed next only what is new.
    let cashier = scene.cashier(old);
    settled(&cashier).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    cashier.stop().await;
    pay(&scene, old, 400_000_000).await;
    let seen = pipeline(old);
    assert_eq!((seen.paid, seen.payouts, seen.signed), (worth(400_000_000), 3, Nanoton(0)));
    let received = history(&scene).await;
    let received = received.iter().filter_map(node::receipt::payout_of).filter(|(from, ..)| *from == scene.proxy);
    assert_eq!(received.map(|(_, value, _)| value.0).sum::<u64>(), worth(400_000_000).0);
    // The first ledger is the old one by now.
    assert_eq!(found(&scene, current, 100, 10).await.income, worth(150_000_000));
    assert_eq!(pipeline(current).paid, worth(400_000_000));
    scene.chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_fails_while_it_is_searched_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let empty = tempfile::tempdir().unwrap();
    let scene = stage(folder.path()).await;
    pay(&scene, folder.path(), 100_000_000).await;
    scene
        .chain
        .set_faults(&["drop:getTransactions:1", "busy:getTransactions:2", "garbage:getAddressInformation:2"])
        .await
        .unwrap();
    let mut complete = false;
    for _ in 0..20 {
        let search = Search {
            root_contract: ROOT,
            terms: Some(Arc::new(terms())),
            owner: scene.owner.address(),
            ledger: ledger_in(empty.path()),
            page: 2,
            pages: 100,
        };
        if recover(&*scene.client, &search).await.is_ok_and(|found| found.complete) {
            complete = true;
            break;
        }
    }
    assert!(complete);
    assert_eq!((pipeline(empty.path()).paid.0, pipeline(empty.path()).payouts), (100_000_000 * FEE, 1));
    scene.chain.stop().await;
}

#[test]
fn earnings_and_tables_are_printed_from_the_ledger_while_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let (code, _, errors) = program::run("chrysalis", &["earnings", "--data", data]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("there is no ledger at"), "{errors}");
    // It stays open, as the app's does.
    let mut ledger = Ledger::open(&ledger_in(folder.path()), 0).unwrap();
    let own = ledger.begin_session(&session(true)).unwrap();
    ledger.record_job(own, &[7; 32], &job(1_000)).unwrap();
    let (code, out, errors) = program::run("chrysalis", &["earnings", "--data", data, "--json"]);
    assert_eq!(code, Some(0), "{errors}");
    let report: serde_json::Value = serde_json::from_str(&out).expect("one JSON object and nothing besides");
    let network = &report["networks"][0];
    assert_eq!((network["counted_nanoton"].as_u64(), network["paid_nanoton"].as_u64()), (Some(1_000 * FEE), Some(0)));
    assert_eq!(network["pays_nothing"], true);
    let (_, out, _) = program::run("chrysalis", &["earnings", "--data", data]);
    assert!(out.contains("worth nothing") && out.contains("on the way"), "{out}");

    let found = ledger::FoundPayout {
        receipt: accounting::Receipt {
            from: ton::Address { workchain: 0, hash: [3; 32] },
            to: ton::Address { workchain: 0, hash: [4; 32] },
            value: Nanoton(2 * COIN),
            is_payout: true,
            lt: 9,
            hash: [0xcd; 32],
            unix: 1_795_773_600,
        },
        worker_contract: ton::Address { workchain: 0, hash: [2; 32] },
        to_tokens: 5,
    };
    ledger.record_search(&ROOT, &found.receipt.to, &[found], &ledger::Searched::default()).unwrap();
    let (code, out, errors) = program::run("chrysalis", &["export", "--data", data, "--format", "koinly"]);
    assert_eq!((code, out.as_str()), (Some(1), ""), "practice money is no income");
    assert!(errors.contains("--practice"), "{errors}");
    let rates = folder.path().join("rates.csv");
    std::fs::write(&rates, "date,currency,rate,source\n2026-11-27,EUR,1.5,A bank\n").unwrap();
    let words = ["export", "--data", data, "--format", "koinly", "--practice", "--rates", rates.to_str().unwrap()];
    let (code, out, errors) = program::run("chrysalis", &words);
    assert_eq!(code, Some(0), "{errors}");
    assert!(out.contains("PRACTICE") && !out.contains("reward") && !out.contains("EUR"), "{out}");
    assert!(errors.contains("not tax advice"), "{errors}");

    // The same in a network that pays.
    let other = ton::Address { workchain: 0, hash: [8; 32] };
    ledger.begin_session(&NewSession { root_contract: other, ..session(false) }).unwrap();
    let paid = ledger::FoundPayout { receipt: accounting::Receipt { lt: 10, ..found.receipt }, ..found };
    ledger.record_search(&other, &paid.receipt.to, &[paid], &ledger::Searched::default()).unwrap();
    let table = folder.path().join("table.csv");
    let table = table.to_str().unwrap();
    let words = ["export", "--data", data, "--format", "csv", "--out", table, "--rates", rates.to_str().unwrap()];
    let (code, out, errors) = program::run("chrysalis", &words);
    assert_eq!((code, out.as_str()), (Some(0), ""), "{errors}");
    assert!(errors.contains("1 payout and 1 fee") && errors.contains("Practice money was left out"), "{errors}");
    let text = std::fs::read_to_string(table).unwrap();
    assert!(text.contains("2.000000000,TON,2000000000,1.5,EUR,3.00,A bank"), "{text}");
    let (code, _, errors) = program::run("chrysalis", &words);
    assert_eq!(code, Some(1), "a file that is there is not written over");
    assert!(errors.contains("must not be there yet"), "{errors}");
    let words = ["export", "--data", data, "--format", "months", "--from", "2026-11-28"];
    let (code, _, errors) = program::run("chrysalis", &words);
    assert_eq!(code, Some(1));
    assert!(errors.contains("no payout"), "{errors}");
    for words in [
        vec!["export", "--data", data, "--format", "pdf"],
        vec!["export", "--data", data, "--format", "pdf", "--month", "November"],
        vec!["export", "--data", data, "--format", "csv", "--month", "2026-11", "--from", "2026-11-01"],
        vec!["export", "--data", data, "--format", "csv", "--from", "27.11.2026"],
    ] {
        assert_eq!(program::run("chrysalis", &words).0, Some(2), "{words:?}");
    }
    std::fs::write(&rates, "date,currency,rate,source\n2026-11-27,EUR,one,A\n").unwrap();
    let words = ["export", "--data", data, "--format", "csv", "--rates", rates.to_str().unwrap()];
    let (code, _, errors) = program::run("chrysalis", &words);
    assert_eq!(code, Some(1));
    assert!(errors.contains("line 2") && errors.contains("rate"), "{errors}");
}

#[test]
fn statement_and_electricity_are_written_with_the_owners_own_rates_and_prices() {
    use accounting::statement::Energy;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let mut ledger = Ledger::open(&ledger_in(folder.path()), 0).unwrap();
    let own = ledger.begin_session(&session(false)).unwrap();
    // 2026-11-27 10:00 UTC.
    let unix = 1_795_773_600;
    let at = JobRecord { finished_unix_ms: unix * 1_000, ..job(1_000) };
    ledger.record_job(own, &[7; 32], &at).unwrap();
    let run = |words: &[&str]| program::run("chrysalis", words);
    let electricity = ["export", "--data", data, "--format", "electricity"];
    let (code, _, errors) = run(&electricity);
    assert_eq!(code, Some(1));
    assert!(errors.contains("no card's power was measured"), "{errors}");
    ledger.record_energy(&ROOT, unix * 1_000, Energy { millijoules: 3_600_000_000, measured_ms: 900_000 }).unwrap();
    ledger.record_energy(&ROOT, (unix - 86_400) * 1_000, Energy { millijoules: 1, measured_ms: 1 }).unwrap();
    let owner = ton::Address { workchain: 0, hash: [4; 32] };
    let found = ledger::FoundPayout {
        receipt: accounting::Receipt {
            from: ton::Address { workchain: 0, hash: [3; 32] },
            to: owner,
            value: Nanoton(2 * COIN),
            is_payout: true,
            lt: 9,
            hash: [0xcd; 32],
            unix: unix as u32,
        },
        worker_contract: ton::Address { workchain: 0, hash: [2; 32] },
        to_tokens: 5,
    };
    ledger.record_search(&ROOT, &owner, &[found], &ledger::Searched::default()).unwrap();

    // Nothing is known of rates and prices, and nothing is made up.
    let (code, out, errors) = run(&electricity);
    assert_eq!(code, Some(0), "{errors}");
    let method = "\"measured by the graphics card's driver, card only\"";
    assert!(out.contains(&format!("2026-11-27,1.000000,,,,{method},0.25,")), "{out}");
    assert!(out.contains("2026-11-26,0.000000,,,,"), "{out}");
    let statement = ["export", "--data", data, "--format", "pdf", "--month", "2026-11"];
    let paper = |name: &str| {
        let path = folder.path().join(name);
        let (code, _, errors) = run(&[&statement[..], &["--out", path.to_str().unwrap()]].concat());
        assert_eq!(code, Some(0), "{errors}");
        assert!(errors.contains("This is a record, not tax advice."), "{errors}");
        String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
    };
    let blank = paper("blank.pdf");
    assert!(blank.starts_with("%PDF-") && blank.contains("(2.000000000)") && blank.contains("(paid)"), "{blank}");
    assert!(blank.contains("This is a record, not tax advice.") && !blank.contains("EUR"), "{blank}");

    for words in [
        &["price", "ton", "1.5", "--currency", "EUR", "--source", "A bank", "--on", "2026-11-27", "--data", data][..],
        &["price", "electricity", "0.31", "--currency", "eur", "--from", "2026-11-27", "--data", data],
    ] {
        assert_eq!(run(words).0, Some(0), "{words:?}");
    }
    let (_, said, _) = run(&["price", "show", "--data", data]);
    assert!(said.contains("2026-11-27,EUR,1.5,A bank") && said.contains("2026-11-27,EUR,0.31"), "{said}");
    for words in [
        &["price", "ton", "1,5", "--currency", "EUR", "--source", "A bank", "--data", data][..],
        &["price", "ton", "1.5", "--currency", "USD", "--source", "A bank", "--on", "2026-11-28", "--data", data],
        &["price", "electricity", "-1", "--currency", "EUR", "--data", data],
    ] {
        assert!(run(words).0.is_some_and(|code| code != 0), "{words:?}");
    }
    assert_eq!(run(&["price", "show", "--data", data]).1, said, "what is refused changes nothing");
    let (_, out, _) = run(&electricity);
    assert!(out.contains(&format!("2026-11-27,1.000000,0.31,0.31,EUR,{method}")), "{out}");
    assert!(out.contains("2026-11-26,0.000000,,,,"), "no price is known before it holds: {out}");
    let valued = paper("valued.pdf");
    for wanted in ["(3.00)", "(1.5 by A bank)", "(estimate)", "(measured)", "(0.31 EUR)", "(Page 1 of 1)"] {
        assert!(valued.contains(wanted), "{wanted}: {valued}");
    }
    let (_, out, _) = run(&["export", "--data", data, "--format", "csv", "--month", "2026-11"]);
    assert!(out.contains("2.000000000,TON,2000000000,1.5,EUR,3.00,A bank"), "the same rates: {out}");
    let (code, _, errors) = run(&["export", "--data", data, "--format", "csv", "--month", "2026-12"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("no payout was made in that time"), "{errors}");
    // A month without anything is a statement too.
    let out = folder.path().join("empty.pdf");
    let (code, _, _) =
        run(&["export", "--data", data, "--format", "pdf", "--month", "2025-01", "--out", out.to_str().unwrap()]);
    assert_eq!(code, Some(0));
    assert!(String::from_utf8_lossy(&std::fs::read(out).unwrap()).contains("No payout came in this month."));
    // Practice alone is no income.
    let other = tempfile::tempdir().unwrap();
    let mut practice = Ledger::open(&ledger_in(other.path()), 0).unwrap();
    practice.begin_session(&session(true)).unwrap();
    practice.record_energy(&ROOT, unix * 1_000, Energy { millijoules: 1, measured_ms: 1 }).unwrap();
    let data = other.path().to_str().unwrap();
    for format in ["electricity", "pdf"] {
        let words = ["export", "--data", data, "--format", format, "--month", "2026-11"];
        let (code, _, errors) = run(&words);
        assert_eq!(code, Some(1), "{format}");
        assert!(errors.contains("--practice"), "{errors}");
        let out = other.path().join(format);
        let (code, _, errors) = run(&[&words[..], &["--practice", "--out", out.to_str().unwrap()]].concat());
        assert_eq!(code, Some(0), "{errors}");
        assert!(String::from_utf8_lossy(&std::fs::read(out).unwrap()).contains("practice"), "{format}");
    }
}
