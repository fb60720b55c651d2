//! The embedded chain by itself: fees as the reference has them, money that adds up, a file that survives, requests that make no sense.

use std::path::{Path, PathBuf};

use chain::{ComputePhase, Transaction};
use network::chain::{Embedded, EmbeddedError, Rules, call, message};
use proptest::prelude::*;
use serde_json::{Value, json};
use ton::{Address, AddressText, CellBuilder, Nanoton};

/// Before what the recorded messages are valid until.
const NOW: i64 = 1_790_000_000_000;
const BLOCK: i64 = 1000;

fn recorded() -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/chain/messages.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn open(folder: &Path, wall_ms: i64) -> Embedded {
    let rules = Rules { seed: 5, block_ms: BLOCK as u32, global_id: -3 };
    Embedded::open(&folder.join("chain.sqlite"), rules, wall_ms).unwrap()
}

/// Lets blocks be made until nothing is left to do. How late it is then.
fn settle(chain: &mut Embedded, mut wall_ms: i64) -> i64 {
    for _ in 0..100 {
        wall_ms += BLOCK;
        chain.tick(wall_ms).unwrap();
        if !chain.has_work() {
            return wall_ms;
        }
    }
    panic!("it never ends");
}

fn address(text: &str) -> Address {
    AddressText::parse(text).unwrap().address
}

fn history(chain: &Embedded, address: &Address) -> Vec<Transaction> {
    let rows = chain.transactions(address, None, 100).unwrap();
    rows.iter().rev().map(|row| Transaction::from_boc(&row.cells, *address, Some(row.hash)).unwrap()).collect()
}

#[test]
fn recorded_wallet_messages_cost_what_the_reference_charges() {
    let recorded = recorded();
    // Gas, fees, fee of the money that comes back, balance at the end: measured once on @ton/sandbox 0.41.0.
    for (wallet, gas, fees, balance, replay) in [
        ("v5r1_main", 4939, 5_664_531, 4_993_357_600, "exitcode=133"),
        ("v4r2", 3308, 5_186_931, 4_993_878_800, "exitcode=33"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut chain = open(folder.path(), NOW);
        let owner = address(recorded[wallet]["raw"].as_str().unwrap());
        chain.give(owner, Nanoton(5_000_000_000), NOW).unwrap();
        let now = settle(&mut chain, NOW);
        let first = hex::decode(recorded[wallet]["ext_boc_0"].as_str().unwrap()).unwrap();
        let hash = chain.send(message(&first).unwrap(), now).unwrap();
        assert_eq!(hex::encode(hash), recorded[wallet]["ext_hash_0"].as_str().unwrap());
        let now = settle(&mut chain, now);
        let done = history(&chain, &owner);
        let [_, sent, back] = done.as_slice() else { panic!("{} transactions", done.len()) };
        let Some(ComputePhase::Executed { gas_used, success: true, .. }) = sent.compute else { panic!("{sent:?}") };
        // A nanoton or two of storage, because here a block passes between funding and sending.
        assert_eq!((gas_used, sent.total_fees.0 - sent.storage_fees.0), (gas, fees), "{wallet}");
        let storage: u64 = done.iter().map(|one| one.storage_fees.0).sum();
        assert_eq!(chain.shown(&owner, now).unwrap().account.balance.0 + storage, balance, "{wallet}");
        let normalised = sent.in_message.as_ref().unwrap().normalised_hash;
        assert_eq!(hex::encode(normalised), recorded[wallet]["norm_hash_0"].as_str().unwrap());
        assert!(matches!(back.in_message.as_ref().unwrap().kind, chain::MessageKind::Internal { bounced: true, .. }));
        let again = chain.send(message(&first).unwrap(), now).unwrap_err();
        assert!(matches!(&again, EmbeddedError::Refused(why) if why.contains(replay)), "{again}");
        assert!(chain.audit().unwrap().adds_up());
        // What it would do is what it did.
        let seqno = call(&mut chain, "runGetMethod", &json!({ "address": owner.to_string(), "method": "seqno" }), now);
        assert_eq!(seqno.unwrap()["stack"], json!([["num", "0x1"]]));
    }
}

#[test]
fn a_year_of_storage_is_paid_for_with_the_next_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = open(folder.path(), NOW);
    let recorded = recorded();
    let owner = address(recorded["v5r1_main"]["raw"].as_str().unwrap());
    chain.give(owner, Nanoton(5_000_000_000), NOW).unwrap();
    let now = settle(&mut chain, NOW);
    let first = hex::decode(recorded["v5r1_main"]["ext_boc_0"].as_str().unwrap()).unwrap();
    chain.send(message(&first).unwrap(), now).unwrap();
    let now = settle(&mut chain, now);
    let before = chain.head(now);
    chain.travel(365 * 24 * 3600 * 1000).unwrap();
    assert_eq!(chain.head(now).time - before.time, 365 * 24 * 3600);
    chain.give(owner, Nanoton(1), now).unwrap();
    settle(&mut chain, now);
    let rent = history(&chain, &owner).pop().unwrap().storage_fees;
    assert!((7_000_000..9_000_000).contains(&rent.0), "{rent}");
    assert!(chain.audit().unwrap().adds_up());
}

#[test]
fn a_chain_that_is_cut_off_between_blocks_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let owner = Address { workchain: 0, hash: [3; 32] };
    let mut chain = open(folder.path(), NOW);
    chain.give(owner, Nanoton(7), NOW).unwrap();
    // Dropped with the money on its way, and the clock set back by a day.
    let head = chain.head(NOW + 5 * BLOCK);
    drop(chain);
    let mut chain = open(folder.path(), NOW - 86_400_000);
    assert!(chain.has_work(), "what was on its way still is");
    assert!(chain.audit().unwrap().adds_up());
    let later = NOW + 6 * BLOCK;
    assert!(chain.head(later).seqno > head.seqno);
    assert!(chain.tick(later).unwrap());
    assert_eq!(chain.shown(&owner, later).unwrap().account.balance, Nanoton(7));
    assert!(chain.audit().unwrap().adds_up());
}

#[test]
fn the_same_seed_and_the_same_messages_make_the_same_chain() {
    let run = || {
        let folder = tempfile::tempdir().unwrap();
        let mut chain = open(folder.path(), NOW);
        let owner = Address { workchain: 0, hash: [3; 32] };
        for amount in 1..4 {
            chain.give(owner, Nanoton(amount), NOW).unwrap();
        }
        settle(&mut chain, NOW);
        chain.transactions(&owner, None, 10).unwrap()
    };
    let first = run();
    assert_eq!(first.len(), 3);
    assert_eq!(first, run());
}

/// A contract that does with a message from outside what it says: accepts it and takes it as the list of what it shall do.
fn obedient(number: u8) -> (ton::StateInit, Address) {
    // ACCEPT; the message's body becomes the list of actions (c5).
    let code = CellBuilder::new().bytes(&[0xf8, 0x00, 0xd4, 0x30, 0xed, 0x55]).build().unwrap();
    let data = CellBuilder::new().uint(number.into(), 8).build().unwrap();
    let init = ton::StateInit { code, data };
    let address = init.address().unwrap();
    (init, address)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_sent_no_money_appears_or_vanishes(
        orders in prop::collection::vec((0_u8..4, 0_u8..6, 0_u64..3_000_000_000, prop::bool::ANY, 0_u8..4), 1..12),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut chain = open(folder.path(), NOW);
        for number in 0..4 {
            chain.give(obedient(number).1, Nanoton(2_000_000_000), NOW).unwrap();
        }
        let mut now = settle(&mut chain, NOW);
        for (from, to, amount, bounce, mode) in orders {
            let (init, owner) = obedient(from);
            let target = obedient(to).1;
            let sent = CellBuilder::new()
                .uint(0, 1).uint(1, 1).uint(bounce.into(), 1).uint(0, 1).uint(0, 2).address(&target)
                .amount(Nanoton(amount)).uint(0, 1).amount(Nanoton(0)).amount(Nanoton(0)).uint(0, 64).uint(0, 32)
                .uint(0, 2).build().unwrap();
            let mode = [0, 1, 2, 128][usize::from(mode)];
            let actions = CellBuilder::new()
                .uint(0x0ec3_c86d, 32).uint(mode, 8).reference(ton::Cell::empty()).reference(sent).build().unwrap();
            let outside = CellBuilder::new()
                .uint(0b1000, 4).address(&owner).amount(Nanoton(0)).uint(0b11, 2).reference(init.to_cell().unwrap())
                .uint(1, 1).reference(CellBuilder::new().reference(actions).build().unwrap()).build().unwrap();
            // It may be refused: without money, for instance.
            let _ = chain.send(network::chain::message_of(&outside).unwrap(), now);
            chain.tick(now + BLOCK).unwrap();
            prop_assert!(chain.audit().unwrap().adds_up(), "half-way");
            now = settle(&mut chain, now + BLOCK);
            let audit = chain.audit().unwrap();
            prop_assert!(audit.adds_up() && audit.in_flight == Nanoton(0), "{audit:?}");
            prop_assert_eq!(audit.minted, Nanoton(8_000_000_000));
        }
    }

    #[test]
    fn requests_that_make_no_sense_are_refused_in_words(
        method in prop::sample::select(vec![
            "getAddressInformation", "getTransactions", "runGetMethod", "sendBoc", "sendBocReturnHash", "estimateFee",
            "getConfigParam", "getBlockHeader", "shards", "getBlockTransactions", "\u{0}",
        ]),
        name in prop::sample::select(vec!["address", "boc", "seqno", "limit", "lt", "hash", "stack", "method", "config_id", "body"]),
        text in ".{0,60}",
        number in any::<i64>(),
        which in 0_u8..4,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut chain = open(folder.path(), NOW);
        let value = match which {
            0 => json!(text),
            1 => json!(number),
            2 => json!([[text, number], [], {}, null]),
            _ => json!({ "bytes": text }),
        };
        let good = Address { workchain: 0, hash: [1; 32] }.to_string();
        for params in [json!({ name: value.clone() }), json!({ "address": good, "method": text, name: value }), json!(text)] {
            if let Err(refusal) = call(&mut chain, method, &params, NOW) {
                prop_assert!([404, 422, 500].contains(&refusal.status) && !refusal.words.is_empty());
            }
        }
    }
}
