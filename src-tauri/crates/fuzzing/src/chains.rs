//! What a chain's endpoint answers, and what is asked of the embedded one.

use ::chain::toncenter::answer;
use ::chain::{Message, Transaction, TransactionId, cells};
use network::chain::{Embedded, Rules, call};
use serde_json::Value;
use std::path::Path;
use ton::Address;

const ADDRESS: Address = Address { workchain: 0, hash: [1; 32] };

/// The first byte chooses what was asked, the rest is the answer's body.
pub fn chain_answer(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else { return };
    let status = [200, 200, 200, 200, 200, 200, 429, 500, 502][usize::from(choice % 9)];
    let Ok(value) = answer::envelope(status, body) else { return };
    match choice % 9 {
        0 => {
            if let Ok(account) = answer::account(&value, ADDRESS) {
                assert!(account.agrees_with(&account), "an account is not itself");
                assert!(account.code.is_some() || account.status != ::chain::AccountStatus::Active);
            }
        }
        1 => {
            let from = TransactionId { lt: 1, hash: [2; 32] };
            if let Ok(found) = answer::transactions(&value, ADDRESS, from, 10) {
                assert!(found.first().is_some_and(|first| first.id == from), "another transaction was taken");
            }
        }
        2 => drop(answer::newest_block(&value)),
        3 => drop(answer::block_time(&value)),
        4 => drop(answer::config(&value, 1_790_000_000).map(|config| config.network_id())),
        5 => drop(answer::network_id(&value)),
        _ => drop(answer::parameter(&value)),
    }
}

/// The bytes as a bag with a transaction or a message.
pub fn chain_transaction(data: &[u8]) {
    let Ok(cell) = cells::decode(data) else { return };
    if let Ok(read) = Transaction::from_tycho(&cell, 0) {
        let hash = cell.repr_hash().0;
        assert!(read.id.hash == hash && Transaction::from_boc(data, read.account, Some(hash)).as_ref() == Ok(&read));
        assert!(Transaction::from_boc(data, read.account, Some([3; 32])).is_err(), "a foreign transaction was taken");
    }
    if let Ok(ours) = cells::from_tycho(&cell)
        && let Ok(back) = cells::to_tycho(&ours)
    {
        assert!(back.repr_hash() == cell.repr_hash(), "a cell changed on its way");
        let read = Message::from_cell(&ours);
        assert!(read == Message::from_tycho(&cell), "a message is read in two ways");
    }
}

/// The bytes as a request to the embedded chain, a new one.
pub fn chain_request(data: &[u8]) {
    let Ok(request) = serde_json::from_slice::<Value>(data) else { return };
    let rules = Rules { seed: 1, block_ms: 1000, global_id: -3 };
    let now = 1_790_000_000_000;
    let Ok(mut chain) = Embedded::open(Path::new(":memory:"), rules, now) else { panic!("no chain begins") };
    let method = request.get("method").and_then(Value::as_str).unwrap_or_default();
    let params = request.get("params").unwrap_or(&Value::Null);
    if let Err(refusal) = call(&mut chain, method, params, now) {
        assert!([404, 422, 500].contains(&refusal.status), "status {}", refusal.status);
    }
    assert!(chain.tick(now + 1000).is_ok(), "a request stops the chain");
    assert!(chain.audit().is_ok_and(|audit| audit.adds_up()), "money appeared");
}
