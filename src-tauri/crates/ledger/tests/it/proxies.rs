use crate::{KEY, address, fresh};
use ledger::{Cashable, LedgerError, Payment, ProxyEntry, Recorded};
use ton::cocoon::WorkerData;
use ton::{Address, Cell, Nanoton, Params, boc};

fn proxy() -> ProxyEntry {
    ProxyEntry {
        endpoint: "127.0.0.1:11001".parse().unwrap(),
        root_contract: address(1),
        params_version: 1,
        public_key: KEY,
        proxy_contract: address(2),
        worker_contract: address(3),
        fee_per_token: Nanoton(19),
        state_init: Some(vec![7, 8]),
        seen_unix_ms: 5,
    }
}

#[test]
fn the_key_a_proxy_is_first_met_with_stays_its_key() {
    let (mut ledger, _) = fresh();
    let known = |ledger: &ledger::Ledger| ledger.known_key(proxy().endpoint, &address(1)).unwrap();
    assert_eq!(known(&ledger), None);
    assert_eq!(ledger.record_proxy(&proxy()).unwrap(), Recorded::New);
    assert_eq!(ledger.record_proxy(&ProxyEntry { seen_unix_ms: 6, ..proxy() }).unwrap(), Recorded::Known);
    for params_version in [1, 2] {
        let changed = ProxyEntry { public_key: [8; 32], params_version, ..proxy() };
        match ledger.record_proxy(&changed) {
            Err(LedgerError::ProxyKeyChanged { endpoint, pinned }) => {
                assert_eq!((endpoint, pinned), (proxy().endpoint, KEY));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(known(&ledger), Some(KEY));
}

#[test]
fn contracts_may_change_with_the_parameters_only() {
    let (mut ledger, _) = fresh();
    ledger.record_proxy(&proxy()).unwrap();
    let moved = ProxyEntry { worker_contract: address(4), ..proxy() };
    let error = ledger.record_proxy(&moved).unwrap_err();
    assert!(matches!(error, LedgerError::ProxyContractsChanged { .. }), "{error}");
    let redeployed = ProxyEntry { params_version: 2, ..moved };
    assert_eq!(ledger.record_proxy(&redeployed).unwrap(), Recorded::New);
    assert_eq!(ledger.record_proxy(&proxy()).unwrap(), Recorded::Known, "the old ones are still known");
}

#[test]
fn another_endpoint_or_network_has_a_key_of_its_own() {
    let (mut ledger, _) = fresh();
    ledger.record_proxy(&proxy()).unwrap();
    let elsewhere = ProxyEntry { endpoint: "127.0.0.1:11003".parse().unwrap(), public_key: [8; 32], ..proxy() };
    let other_network = ProxyEntry { root_contract: address(9), public_key: [9; 32], ..proxy() };
    assert_eq!(ledger.record_proxy(&elsewhere).unwrap(), Recorded::New);
    assert_eq!(ledger.record_proxy(&other_network).unwrap(), Recorded::New);
    assert_eq!(ledger.known_key(proxy().endpoint, &address(9)).unwrap(), Some([9; 32]));
}

#[test]
fn a_new_key_is_taken_once_the_owner_lets_go_of_the_old_one() {
    let (mut ledger, _) = fresh();
    ledger.record_proxy(&proxy()).unwrap();
    assert!(ledger.forget_proxy(proxy().endpoint, &address(1)).unwrap());
    assert!(!ledger.forget_proxy(proxy().endpoint, &address(1)).unwrap());
    let changed = ProxyEntry { public_key: [8; 32], ..proxy() };
    assert_eq!(ledger.record_proxy(&changed).unwrap(), Recorded::New);
}

#[test]
fn the_best_payment_of_a_contract_can_be_cashed_even_when_its_proxy_is_let_go_of() {
    let (mut ledger, session) = fresh();
    let pay = |ledger: &mut ledger::Ledger, contract, tokens| {
        let payment = Payment {
            worker_contract: contract,
            proxy_key: KEY,
            tokens,
            received_unix_ms: 1,
            boc: tokens.to_be_bytes().to_vec(),
        };
        ledger.record_payment(session, &payment).unwrap();
    };
    // Signed for a contract that no proxy of this ledger has: nothing that could be sent.
    pay(&mut ledger, address(8), 7);
    ledger.record_proxy(&proxy()).unwrap();
    assert_eq!(ledger.cashable(&address(1)).unwrap(), []);
    pay(&mut ledger, address(3), 10);
    pay(&mut ledger, address(3), 30);
    let best = |fee, state_init| Cashable {
        worker_contract: address(3),
        proxy_contract: address(2),
        fee_per_token: Nanoton(fee),
        tokens: 30,
        payment: 30_u64.to_be_bytes().to_vec(),
        state_init,
    };
    assert_eq!(ledger.cashable(&address(1)).unwrap(), [best(19, Some(vec![7, 8]))]);
    assert_eq!(ledger.cashable(&address(9)).unwrap(), [], "another network");
    ledger.forget_proxy(proxy().endpoint, &address(1)).unwrap();
    // What the contract was made with stays, whatever the network pays by now.
    ledger.record_proxy(&ProxyEntry { fee_per_token: Nanoton(5), state_init: None, ..proxy() }).unwrap();
    assert_eq!(ledger.cashable(&address(1)).unwrap(), [best(19, Some(vec![7, 8]))]);
    for state in [Vec::new(), vec![0; 65_537]] {
        let wrong = ProxyEntry { worker_contract: address(5), params_version: 3, state_init: Some(state), ..proxy() };
        assert!(matches!(ledger.record_proxy(&wrong), Err(LedgerError::OutOfRange { .. })));
    }
}

/// The first state of a worker contract at the proxy, for an owner.
fn state_of(owner: u8) -> (Address, Vec<u8>) {
    let params = Params {
        struct_version: 3,
        params_version: 1,
        unique_id: 1,
        is_test: true,
        price_per_token: Nanoton(20),
        worker_fee_per_token: Nanoton(19),
        prompt_tokens_price_multiplier: 10_000,
        cached_tokens_price_multiplier: 10_000,
        completion_tokens_price_multiplier: 10_000,
        reasoning_tokens_price_multiplier: 10_000,
        proxy_delay_before_close: 600,
        client_delay_before_close: 300,
        min_proxy_stake: Nanoton(1),
        min_client_stake: Nanoton(1),
        proxy_code: None,
        worker_code: None,
        client_code: None,
    };
    let state = WorkerData::initial(address(owner), address(2), KEY, &params).state_init(Cell::empty()).unwrap();
    (state.address().unwrap(), boc::encode(&state.to_cell().unwrap()).unwrap())
}

#[test]
fn who_is_paid_on_another_address_has_another_contract_at_the_same_proxy() {
    let (mut ledger, _) = fresh();
    let of = |owner| {
        let (worker_contract, state) = state_of(owner);
        ProxyEntry { worker_contract, state_init: Some(state), ..proxy() }
    };
    for (owner, recorded) in [(20, Recorded::New), (21, Recorded::New), (21, Recorded::Known), (20, Recorded::New)] {
        assert_eq!(ledger.record_proxy(&of(owner)).unwrap(), recorded, "{owner}");
    }
    let known = ledger.known_proxies(&address(1)).unwrap();
    assert_eq!(known.len(), 2, "what the earlier one owes is not forgotten: {known:?}");
    // The same owner never has another one, and the proxy's own contract never changes.
    let same = ProxyEntry { worker_contract: address(4), ..of(20) };
    let other = ProxyEntry { proxy_contract: address(5), ..of(21) };
    let unknown = ProxyEntry { state_init: None, ..of(21) };
    for refused in [same, other, unknown] {
        let error = ledger.record_proxy(&refused).unwrap_err();
        assert!(matches!(error, LedgerError::ProxyContractsChanged { .. }), "{error}");
    }
}
