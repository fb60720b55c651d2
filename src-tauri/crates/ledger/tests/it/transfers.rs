use accounting::{Errand, Forecast, Outcome, Outgoing, Receipt, SignedMessage, Stage, Transfer, TransferId};
use ledger::{Ledger, LedgerError, Paid, Recorded};
use ton::cocoon::WorkerData;
use ton::{Address, Cell, Nanoton, Params, boc};

use crate::address;

fn payout(id: u64) -> Transfer {
    Transfer {
        id: TransferId(id),
        payer: address(9),
        errand: Errand::Payout {
            worker_contract: address(2),
            proxy_contract: address(3),
            owner: Some(address(4)),
            from_tokens: 10 * id,
            to_tokens: 10 * id + 10,
            expected: Nanoton(190),
        },
        outgoing: Outgoing {
            to: address(2),
            value: Nanoton(200_000_000),
            everything: false,
            bounce: true,
            body: Some(vec![1, 2, 3]),
            state_init: Some(vec![4; 900]),
        },
        forecast: None,
        stage: Stage::Planned,
        planned_unix_ms: 5_000,
    }
}

fn signed(mut transfer: Transfer) -> Transfer {
    transfer.forecast =
        Some(Forecast { failure: None, fees: Nanoton(15), income: Nanoton(189), balance_after: Nanoton(1_000) });
    let seqno = transfer.id.0 as u32;
    transfer.stage =
        Stage::Signed(SignedMessage { boc: vec![9; 300], hash: [8; 32], seqno, valid_until: 1_790_000_060 });
    transfer
}

fn receipt(number: u8, value: u64) -> Receipt {
    Receipt {
        from: address(3),
        to: address(4),
        value: Nanoton(value),
        is_payout: true,
        lt: u64::from(number),
        hash: [number; 32],
        unix: 1_790_000_000 + u32::from(number),
    }
}

fn ended(mut transfer: Transfer, outcome: Outcome) -> Transfer {
    transfer.stage = Stage::Ended(outcome);
    transfer
}

fn done(transfer: Transfer, receipts: Vec<Receipt>) -> Transfer {
    ended(transfer, Outcome::Done { receipts, fees: Some(Nanoton(14)) })
}

#[test]
fn a_transfer_is_read_as_it_was_written_at_every_step() {
    let mut ledger = Ledger::in_memory(0).unwrap();
    let root = address(1);
    assert_eq!(ledger.last_transfer().unwrap(), None);
    let steps = [payout(7), signed(payout(7)), done(signed(payout(7)), vec![receipt(1, 100), receipt(2, 89)])];
    for (step, transfer) in steps.iter().enumerate() {
        assert_eq!(ledger.record_transfer(&root, transfer).unwrap(), Recorded::New, "{step}");
        assert_eq!(ledger.record_transfer(&root, transfer).unwrap(), Recorded::Known, "{step}");
        assert_eq!(ledger.transfer(TransferId(7)).unwrap().as_ref(), Some(transfer));
        let open = ledger.open_transfers(&root).unwrap();
        assert_eq!(open.len(), usize::from(step < 2));
        assert!(ledger.open_transfers(&address(9)).unwrap().is_empty(), "another network");
    }
    assert_eq!(ledger.last_transfer().unwrap(), Some(TransferId(7)));
    for outcome in [
        Outcome::Expired,
        Outcome::Overtaken,
        Outcome::NotBegun { why: "locked".to_owned() },
        Outcome::Failed { why: "exit code 1000".to_owned(), receipts: Vec::new(), fees: None },
    ] {
        let id = ledger.last_transfer().unwrap().unwrap().0 + 1;
        let transfer = ended(Transfer { errand: Errand::Send, ..payout(id) }, outcome);
        ledger.record_transfer(&root, &transfer).unwrap();
        assert_eq!(ledger.transfer(TransferId(id)).unwrap(), Some(transfer));
    }
}

#[test]
fn what_is_signed_is_never_replaced_and_what_is_over_stays_over() {
    let mut ledger = Ledger::in_memory(0).unwrap();
    let root = address(1);
    let first = signed(payout(1));
    ledger.record_transfer(&root, &payout(1)).unwrap();
    ledger.record_transfer(&root, &first).unwrap();
    let mut other = first.clone();
    other.stage = Stage::Signed(SignedMessage { boc: vec![1], hash: [1; 32], seqno: 1, valid_until: 1 });
    let over = ended(first.clone(), Outcome::Expired);
    for back in [&payout(1), &other] {
        let refused = ledger.record_transfer(&root, back);
        assert!(matches!(refused, Err(LedgerError::TransferGoesBack { id: 1 })), "{refused:?}");
    }
    assert_eq!(ledger.transfer(TransferId(1)).unwrap(), Some(first.clone()));
    ledger.record_transfer(&root, &over).unwrap();
    for back in [payout(1), first.clone(), ended(first, Outcome::Overtaken)] {
        assert!(matches!(ledger.record_transfer(&root, &back), Err(LedgerError::TransferGoesBack { .. })));
    }
    assert_eq!(ledger.transfer(TransferId(1)).unwrap(), Some(over));
}

/// A worker contract of this owner, and its code and first data.
fn contract_of(owner: Address) -> (Address, Vec<u8>) {
    let params = Params {
        struct_version: 3,
        params_version: 1,
        unique_id: 13,
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
    let data = WorkerData::initial(owner, address(3), [5; 32], &params);
    let init = data.state_init(Cell::empty()).unwrap();
    (init.address().unwrap(), boc::encode(&init.to_cell().unwrap()).unwrap())
}

#[test]
fn a_row_without_an_owner_has_the_one_whom_its_contracts_first_state_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let root = address(1);
    let (contract, init) = contract_of(address(44));
    let with = |id: u64, along: Option<&Vec<u8>>| {
        let mut transfer = signed(payout(id));
        let Errand::Payout { worker_contract, owner, .. } = &mut transfer.errand else { panic!() };
        (*worker_contract, *owner) = (contract, None);
        transfer.outgoing.state_init = along.cloned();
        transfer
    };
    let owner = |ledger: &Ledger, id: u64| match ledger.transfer(TransferId(id)).unwrap().unwrap().errand {
        Errand::Payout { owner, .. } => owner,
        Errand::Send => panic!(),
    };
    let mut ledger = Ledger::open(&path, 0).unwrap();
    ledger.record_transfer(&root, &with(1, Some(&init))).unwrap();
    ledger.record_transfer(&root, &with(2, None)).unwrap();
    ledger.record_transfer(&root, &with(3, Some(&contract_of(address(45)).1))).unwrap();
    assert_eq!([1, 2, 3].map(|id| owner(&ledger, id)), [Some(address(44)), None, None]);
    assert!(matches!(ledger.open_transfers(&root).unwrap()[0].errand, Errand::Payout { owner: Some(_), .. }));
    let beside = rusqlite::Connection::open(&path).unwrap();
    let bytes = |address: Address| [&[0_u8][..], &address.hash].concat();
    let row = (bytes(contract), bytes(root), bytes(address(3)), 19, &init);
    beside.execute("INSERT INTO contract VALUES (?, ?, ?, ?, ?)", row).unwrap();
    assert_eq!([1, 2].map(|id| owner(&ledger, id)), [Some(address(44)); 2]);
}

#[test]
fn money_that_came_in_is_counted_once_whoever_found_it_first() {
    let mut ledger = Ledger::in_memory(0).unwrap();
    let (root, owner) = (address(1), address(4));
    let found = receipt(1, 100);
    assert_eq!(ledger.record_receipt(&root, &found).unwrap(), Recorded::New);
    assert_eq!(ledger.record_receipt(&root, &found).unwrap(), Recorded::Known);
    assert_eq!(ledger.receipts(&owner, None, 10).unwrap().receipts[0].transfer, None);
    ledger.record_transfer(&root, &done(payout(1), vec![found, receipt(2, 89)])).unwrap();
    // It is known whose it is now, and nothing takes that back.
    assert_eq!(ledger.record_receipt(&root, &found).unwrap(), Recorded::Known);
    let left = Receipt { is_payout: false, ..receipt(3, 185) };
    ledger.record_receipt(&root, &left).unwrap();
    let page = ledger.receipts(&owner, None, 2).unwrap();
    let values: Vec<u64> = page.receipts.iter().map(|entry| entry.receipt.value.0).collect();
    assert_eq!(values, [185, 89]);
    let last = ledger.receipts(&owner, page.next, 2).unwrap();
    assert_eq!((last.receipts[0].receipt, last.receipts[0].transfer), (found, Some(TransferId(1))));
    assert_eq!(last.next, None);
    let paid = Paid { payouts: 2, income: Nanoton(189), fees: Nanoton(14) };
    assert_eq!(ledger.paid(&root, &owner, None).unwrap(), paid);
    assert_eq!(ledger.paid(&root, &owner, Some(1_790_000_002)).unwrap().income, Nanoton(89));
    assert_eq!(ledger.paid(&address(9), &owner, None).unwrap(), Paid::default());
}

#[test]
fn pages_go_from_the_newest_to_the_oldest() {
    let mut ledger = Ledger::in_memory(0).unwrap();
    let root = address(1);
    for id in 0..5 {
        ledger.record_transfer(&root, &done(signed(payout(id)), vec![receipt(id as u8, 1)])).unwrap();
    }
    let (mut before, mut seen) = (None, Vec::new());
    loop {
        let page = ledger.transfers(&root, before, 2).unwrap();
        seen.extend(page.transfers.iter().map(|transfer| transfer.id.0));
        assert!(page.transfers.iter().all(|transfer| matches!(&transfer.stage,
            Stage::Ended(Outcome::Done { receipts, .. }) if receipts.len() == 1)));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen, [4, 3, 2, 1, 0]);
}

#[test]
fn numbers_and_bags_beyond_all_bounds_are_refused_and_nothing_is_written() {
    let mut ledger = Ledger::in_memory(0).unwrap();
    let root = address(1);
    let mut wrong = vec![Transfer { id: TransferId(u64::MAX), ..payout(1) }];
    for body in [vec![], vec![0; 65_537]] {
        let mut transfer = payout(1);
        transfer.outgoing.body = Some(body);
        wrong.push(transfer);
    }
    let mut transfer = payout(1);
    transfer.outgoing.value = Nanoton(u64::MAX);
    wrong.push(transfer);
    wrong.push(done(payout(1), vec![Receipt { lt: u64::MAX, ..receipt(1, 1) }]));
    for transfer in wrong {
        let refused = ledger.record_transfer(&root, &transfer);
        assert!(matches!(refused, Err(LedgerError::OutOfRange { .. })), "{refused:?}");
    }
    assert_eq!(ledger.last_transfer().unwrap(), None);
    assert!(ledger.receipts(&address(4), None, 10).unwrap().receipts.is_empty());
    // A long reason is cut, not refused: a transfer must be able to end.
    let transfer = ended(payout(1), Outcome::NotBegun { why: "x".repeat(5_000) });
    ledger.record_transfer(&root, &transfer).unwrap();
    let Some(Stage::Ended(Outcome::NotBegun { why })) = ledger.transfer(TransferId(1)).unwrap().map(|row| row.stage)
    else {
        panic!("not ended")
    };
    assert_eq!(why.len(), 400);
}
