use crate::{FEE, KEY, address, begin, fresh};
use ledger::{LedgerError, Payment, Recorded};
use ton::Nanoton;

fn payment(contract: u8, tokens: u64) -> Payment {
    Payment {
        worker_contract: address(contract),
        proxy_key: KEY,
        tokens,
        received_unix_ms: tokens as i64,
        boc: format!("signed {tokens}").into_bytes(),
    }
}

#[test]
fn every_new_high_is_kept_and_the_highest_is_the_one_to_present() {
    let (mut ledger, session) = fresh();
    for tokens in [0, 5, 134, 1_000] {
        assert_eq!(ledger.record_payment(session, &payment(2, tokens)).unwrap(), Recorded::New);
    }
    let kept = ledger.payments(&address(2), 10).unwrap();
    assert_eq!(kept.iter().map(|entry| entry.payment.tokens).collect::<Vec<_>>(), [1_000, 134, 5, 0]);
    let highest = ledger.highest_payment(&address(2)).unwrap().unwrap();
    assert_eq!(highest.payment, payment(2, 1_000));
    assert_eq!(highest.nanoton, FEE.checked_mul(1_000).unwrap());
    assert_eq!(ledger.highest_payment(&address(3)).unwrap(), None);
}

#[test]
fn a_lower_total_is_refused_and_the_same_again_changes_nothing() {
    let (mut ledger, session) = fresh();
    ledger.record_payment(session, &payment(2, 10)).unwrap();
    let again = Payment { boc: b"another signature".to_vec(), ..payment(2, 10) };
    assert_eq!(ledger.record_payment(session, &again).unwrap(), Recorded::Known);
    for tokens in [9, 0] {
        match ledger.record_payment(session, &payment(2, tokens)) {
            Err(LedgerError::PaymentDecreased { worker_contract, highest: 10, offered }) => {
                assert_eq!((worker_contract, offered), (address(2), tokens));
            }
            other => panic!("{other:?}"),
        }
    }
    let later = begin(&mut ledger);
    assert!(ledger.record_payment(later, &payment(2, 9)).is_err(), "a new session does not make it good");
    assert_eq!(ledger.record_payment(later, &payment(3, 9)).unwrap(), Recorded::New, "each contract for itself");
    assert_eq!(ledger.payments(&address(2), 10).unwrap().len(), 1);
    assert_eq!(ledger.highest_payment(&address(2)).unwrap().unwrap().payment, payment(2, 10));
}

#[test]
fn what_was_signed_in_a_session_is_how_far_the_totals_rose_in_it() {
    let (mut ledger, first) = fresh();
    ledger.record_payment(first, &payment(2, 100)).unwrap();
    ledger.record_payment(first, &payment(3, 40)).unwrap();
    let second = begin(&mut ledger);
    ledger.record_payment(second, &payment(2, 150)).unwrap();
    ledger.record_payment(second, &payment(2, 170)).unwrap();
    ledger.record_payment(second, &payment(4, 5)).unwrap();
    let signed = |tokens: u64| (tokens as i64, FEE.checked_mul(tokens).unwrap());
    let of = |totals: ledger::Totals| (totals.signed_tokens, totals.signed_nanoton);
    assert_eq!(of(ledger.totals(first).unwrap()), signed(140));
    assert_eq!(of(ledger.totals_of_latest_session().unwrap()), signed(75));
    assert_eq!(of(ledger.all_time_totals().unwrap()), signed(215));
    let contracts = ledger.signed_by_contract(None).unwrap();
    assert_eq!(contracts.iter().map(|total| total.tokens).collect::<Vec<_>>(), [170, 40, 5]);
    assert_eq!(contracts.iter().map(|total| total.nanoton.0).sum::<u64>(), 215 * FEE.0);
    assert_eq!(ledger.signed_by_contract(Some(first)).unwrap().len(), 2);
}

#[test]
fn money_beyond_sixty_three_bits_is_refused() {
    let (mut ledger, session) = fresh();
    for tokens in [u64::MAX, i64::MAX as u64, u64::MAX / FEE.0 + 1] {
        let error = ledger.record_payment(session, &payment(2, tokens)).unwrap_err();
        assert!(matches!(error, LedgerError::OutOfRange { .. }), "{error}");
    }
    let most = i64::MAX as u64 / FEE.0;
    assert_eq!(ledger.record_payment(session, &payment(2, most)).unwrap(), Recorded::New);
    assert_eq!(ledger.all_time_totals().unwrap().signed_nanoton, Nanoton(most * FEE.0));
}

#[test]
fn a_message_that_is_empty_or_endless_is_refused() {
    let (mut ledger, session) = fresh();
    for boc in [Vec::new(), vec![0; 4_097]] {
        let error = ledger.record_payment(session, &Payment { boc, ..payment(2, 1) }).unwrap_err();
        assert!(matches!(error, LedgerError::OutOfRange { .. }), "{error}");
    }
    assert_eq!(ledger.highest_payment(&address(2)).unwrap(), None);
}
