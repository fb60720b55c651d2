use std::collections::BTreeMap;

use accounting::{
    AdjustedUsage, Errand, JobRecord, Outcome, Outgoing, Receipt, SignedMessage, Stage, Transfer, TransferId,
};
use ledger::{
    FoundPayout, Ledger, LedgerError, Multipliers, NewSession, Payment, Pipeline, QUARTER_MS, Recorded, Searched,
    SessionId, Sweep,
};
use proptest::prelude::*;
use ton::{Address, Nanoton};

use crate::{FEE, KEY, WEIGHTS, address, begin, fresh, job};

fn of_tokens(number: u64, at: i64, tokens: i64) -> JobRecord {
    let adjusted = AdjustedUsage { total: tokens, ..AdjustedUsage::default() };
    JobRecord { finished_unix_ms: at, adjusted, ..job(number) }
}

fn sign(ledger: &mut Ledger, session: SessionId, contract: u8, key: [u8; 32], tokens: u64, at: i64) {
    let payment =
        Payment { worker_contract: address(contract), proxy_key: key, tokens, received_unix_ms: at, boc: vec![1; 8] };
    ledger.record_payment(session, &payment).unwrap();
}

fn transfer(id: u64, contract: u8, tokens: (u64, u64), fee: Nanoton, stage: Stage) -> Transfer {
    Transfer {
        id: TransferId(id),
        payer: address(4),
        errand: Errand::Payout {
            worker_contract: address(contract),
            proxy_contract: address(3),
            owner: Some(address(4)),
            from_tokens: tokens.0,
            to_tokens: tokens.1,
            expected: fee.checked_mul(tokens.1 - tokens.0).unwrap(),
        },
        outgoing: Outgoing {
            to: address(contract),
            value: Nanoton(200_000_000),
            everything: false,
            bounce: true,
            body: Some(vec![1]),
            state_init: None,
        },
        forecast: None,
        stage,
        planned_unix_ms: 1_000_000,
    }
}

fn message() -> Stage {
    Stage::Signed(SignedMessage { boc: vec![1], hash: [5; 32], seqno: 1, valid_until: 9 })
}

fn receipt(lt: u64, value: Nanoton) -> Receipt {
    let hash = [lt as u8; 32];
    Receipt { from: address(3), to: address(4), value, is_payout: true, lt, hash, unix: 1_000 + lt as u32 }
}

fn pipeline(ledger: &Ledger) -> Pipeline {
    ledger.pipeline(&address(1), &BTreeMap::new(), None).unwrap()
}

#[test]
fn what_was_earned_goes_from_one_stage_to_the_next_and_is_in_one_only() {
    let (mut ledger, session) = fresh();
    let worth = |tokens| FEE.checked_mul(tokens).unwrap();
    for number in 0..3 {
        ledger.record_job(session, &KEY, &of_tokens(number, 20, 100)).unwrap();
    }
    assert_eq!(pipeline(&ledger), Pipeline { counted: worth(300), ..Pipeline::default() });
    sign(&mut ledger, session, 2, KEY, 200, 30);
    let signed = Pipeline { counted: worth(100), signed: worth(200), ..Pipeline::default() };
    assert_eq!(pipeline(&ledger), signed);
    let root = address(1);
    ledger.record_transfer(&root, &transfer(1, 2, (0, 200), FEE, Stage::Planned)).unwrap();
    assert_eq!(pipeline(&ledger), signed, "what is planned may never begin");
    ledger.record_transfer(&root, &transfer(1, 2, (0, 200), FEE, message())).unwrap();
    let away = Pipeline { counted: worth(100), on_the_way: worth(200), flights: 1, ..Pipeline::default() };
    assert_eq!(pipeline(&ledger), away);
    // The contract has paid it already, and the owner's account was not looked at yet.
    let chain = BTreeMap::from([(address(2), 200)]);
    assert_eq!(ledger.pipeline(&root, &chain, None).unwrap(), away);
    let outcome = Outcome::Done { receipts: vec![receipt(7, worth(200))], fees: Some(Nanoton(14)) };
    ledger.record_transfer(&root, &transfer(1, 2, (0, 200), FEE, Stage::Ended(outcome))).unwrap();
    let paid = Pipeline { counted: worth(100), paid: worth(200), payouts: 1, fees: Nanoton(14), ..Pipeline::default() };
    assert_eq!(pipeline(&ledger), paid);
    let later = ledger.pipeline(&root, &BTreeMap::new(), Some(1_008)).unwrap();
    assert_eq!((later.paid, later.payouts, later.counted), (Nanoton(0), 0, worth(100)));
    assert_eq!(ledger.pipeline(&address(9), &BTreeMap::new(), None).unwrap(), Pipeline::default(), "another network");
}

#[test]
fn a_payout_that_failed_is_owed_again_unless_the_owner_was_paid() {
    let (mut ledger, session) = fresh();
    let root = address(1);
    sign(&mut ledger, session, 2, KEY, 200, 30);
    let all = FEE.checked_mul(200).unwrap();
    for outcome in [Outcome::Expired, Outcome::Overtaken, Outcome::NotBegun { why: String::new() }] {
        let id = ledger.last_transfer().unwrap().map_or(1, |last| last.0 + 1);
        ledger.record_transfer(&root, &transfer(id, 2, (0, 200), FEE, message())).unwrap();
        ledger.record_transfer(&root, &transfer(id, 2, (0, 200), FEE, Stage::Ended(outcome))).unwrap();
        assert_eq!((pipeline(&ledger).signed, pipeline(&ledger).unknown_fees), (all, 0));
    }
    let failed = |receipts| Outcome::Failed { why: "exit code 1001".to_owned(), receipts, fees: None };
    ledger.record_transfer(&root, &transfer(8, 2, (0, 200), FEE, Stage::Ended(failed(Vec::new())))).unwrap();
    assert_eq!((pipeline(&ledger).signed, pipeline(&ledger).unknown_fees), (all, 1));
    let paid = failed(vec![receipt(3, all)]);
    ledger.record_transfer(&root, &transfer(9, 2, (0, 200), FEE, Stage::Ended(paid))).unwrap();
    assert_eq!((pipeline(&ledger).signed, pipeline(&ledger).paid), (Nanoton(0), all));
    let expenses = ledger.expenses(&root).unwrap();
    assert_eq!(expenses.iter().map(|one| (one.id.0, one.is_payout)).collect::<Vec<_>>(), [(8, true)]);
}

#[test]
fn what_the_chain_says_is_cashed_is_not_owed_and_an_older_look_changes_nothing() {
    let (mut ledger, session) = fresh();
    let (root, contract) = (address(1), address(2));
    sign(&mut ledger, session, 2, KEY, 500, 30);
    assert_eq!(ledger.record_cashed(&root, &contract, 300, 70).unwrap(), Recorded::New);
    assert_eq!(pipeline(&ledger).signed, FEE.checked_mul(200).unwrap());
    assert_eq!(ledger.record_cashed(&root, &contract, 100, 60).unwrap(), Recorded::Known);
    assert_eq!(pipeline(&ledger).signed, FEE.checked_mul(200).unwrap());
    // A payout bounced: its tokens are due again.
    assert_eq!(ledger.record_cashed(&root, &contract, 100, 80).unwrap(), Recorded::New);
    assert_eq!(pipeline(&ledger).signed, FEE.checked_mul(400).unwrap());
    // A ledger that knows less than the chain owes nothing below nothing.
    ledger.record_cashed(&root, &contract, 9_000, 90).unwrap();
    assert_eq!(pipeline(&ledger).signed, Nanoton(0));
    let totals = ledger.known_totals(&contract).unwrap();
    assert_eq!((totals.signed, totals.done), (Some(500), None));
}

#[test]
fn a_signature_for_work_that_this_file_does_not_know_takes_nothing_off_what_comes_later() {
    let (mut ledger, session) = fresh();
    // Of a ledger that was lost.
    sign(&mut ledger, session, 2, KEY, 5_000, 10);
    ledger.record_job(session, &KEY, &of_tokens(1, 20, 100)).unwrap();
    assert_eq!(pipeline(&ledger).counted, FEE.checked_mul(100).unwrap());
    sign(&mut ledger, session, 2, KEY, 5_060, 30);
    assert_eq!(pipeline(&ledger).counted, FEE.checked_mul(40).unwrap());
    assert_eq!(ledger.counted_until(&address(2), 5_060).unwrap(), Some(100));
    assert_eq!(ledger.counted_until(&address(2), 5_061).unwrap(), None);
    // Work for another proxy is not covered by it.
    ledger.record_job(session, &[8; 32], &of_tokens(2, 40, 10)).unwrap();
    sign(&mut ledger, session, 2, KEY, 6_000, 50);
    assert_eq!(pipeline(&ledger).counted, FEE.checked_mul(10).unwrap());
}

#[test]
fn a_payout_found_on_the_chain_is_counted_once_whoever_writes_it_down_first() {
    let (mut ledger, session) = fresh();
    let (root, owner) = (address(1), address(4));
    sign(&mut ledger, session, 2, KEY, 200, 30);
    let all = FEE.checked_mul(200).unwrap();
    ledger.record_transfer(&root, &transfer(1, 2, (0, 200), FEE, message())).unwrap();
    let found = FoundPayout { receipt: receipt(7, all), worker_contract: address(2), to_tokens: 200 };
    let half = Searched { floor_lt: 0, sweep: Some(Sweep { top_lt: 9, next: (5, [6; 32]) }) };
    assert_eq!(ledger.record_search(&root, &owner, &[found], &half).unwrap(), [found]);
    assert_eq!(ledger.searched(&root, &owner).unwrap(), half);
    let seen = pipeline(&ledger);
    assert_eq!((seen.signed, seen.on_the_way, seen.paid), (Nanoton(0), Nanoton(0), all));
    let whole = Searched { floor_lt: 9, sweep: None };
    assert!(ledger.record_search(&root, &owner, &[found], &whole).unwrap().is_empty());
    assert_eq!(ledger.searched(&root, &owner).unwrap(), whole);
    let outcome = Outcome::Done { receipts: vec![receipt(7, all)], fees: Some(Nanoton(14)) };
    ledger.record_transfer(&root, &transfer(1, 2, (0, 200), FEE, Stage::Ended(outcome))).unwrap();
    let seen = pipeline(&ledger);
    assert_eq!((seen.signed, seen.on_the_way, seen.paid, seen.payouts), (Nanoton(0), Nanoton(0), all, 1));
    let page = ledger.payouts(&root, None, 10).unwrap();
    assert_eq!(page.payouts[0].transfer.unwrap().fees, Some(Nanoton(14)));
    assert_eq!(ledger.searched(&address(9), &owner).unwrap(), Searched::default());
}

#[test]
fn payouts_are_listed_by_the_chains_time_and_pages_lose_none() {
    let (mut ledger, _) = fresh();
    let (root, owner) = (address(1), address(4));
    // Found out of order, as after a lost ledger.
    let found: Vec<FoundPayout> = [5, 9, 1, 7, 3]
        .map(|lt| FoundPayout { receipt: receipt(lt, Nanoton(lt)), worker_contract: address(2), to_tokens: lt })
        .to_vec();
    ledger.record_search(&root, &owner, &found, &Searched::default()).unwrap();
    let mut before = None;
    let mut seen = Vec::new();
    loop {
        let page = ledger.payouts(&root, before, 2).unwrap();
        seen.extend(page.payouts.iter().map(|payout| payout.receipt.lt));
        let Some(next) = page.next else { break };
        before = ledger::PayoutCursor::from_text(&next.to_text());
    }
    assert_eq!(seen, [9, 7, 5, 3, 1]);
    assert_eq!(ledger.payout(&root, 7, &[7; 32]).unwrap().map(|one| one.receipt.value), Some(Nanoton(7)));
    assert_eq!(ledger.payout(&root, 7, &[8; 32]).unwrap(), None);
    assert_eq!(ledger::PayoutCursor::from_text("7"), None);
}

#[test]
fn bars_that_make_no_sense_are_refused_and_a_sum_that_is_too_large_is_said() {
    let (mut ledger, _) = fresh();
    for edges in [&[5][..], &[0, 0], &[QUARTER_MS, 0]] {
        assert!(matches!(ledger.earned(&address(1), edges), Err(LedgerError::OutOfRange { .. })), "{edges:?}");
    }
    assert!(ledger.earned(&address(1), &[]).unwrap().is_empty());
    // A network whose fee is out of its mind: nothing wraps, nothing is lost, and no figure is shown.
    let session = NewSession {
        started_unix_ms: 0,
        root_contract: address(6),
        params_version: 1,
        fee_per_token: Nanoton(i64::MAX as u64),
        served_as: "m",
        multipliers: WEIGHTS,
        pays_nothing: true,
    };
    let session = ledger.begin_session(&session).unwrap();
    for number in 0..3 {
        ledger.record_job(session, &KEY, &of_tokens(number, 0, 1 << 40)).unwrap();
    }
    assert!(matches!(ledger.earned(&address(6), &[0, QUARTER_MS]), Err(LedgerError::OutOfRange { .. })));
    assert_eq!(ledger.earned(&address(1), &[0, QUARTER_MS]).unwrap(), [ledger::Earned::default()]);
    let networks = ledger.networks().unwrap();
    assert_eq!(networks.iter().map(|one| one.pays_nothing).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn a_ledger_is_read_while_the_app_writes_and_is_not_changed_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    assert!(matches!(Ledger::open_for_reading(&path), Err(LedgerError::File(_))));
    let mut ledger = Ledger::open(&path, 0).unwrap();
    let session = begin(&mut ledger);
    let mut reader = Ledger::open_for_reading(&path).unwrap();
    for number in 0..20 {
        ledger.record_job(session, &KEY, &of_tokens(number, 20, 100)).unwrap();
        assert_eq!(pipeline(&reader).counted, FEE.checked_mul(100 * (number + 1)).unwrap());
    }
    assert!(reader.record_cashed(&address(1), &address(2), 1, 1).is_err());
}

/// One thing that happens: which, to whom, how much, when.
type Step = (u8, u8, u16, i64);

/// What must be so, kept beside the ledger in the simplest way.
#[derive(Default)]
struct Model {
    done: [u64; 2],
    signed: [u64; 2],
    cashed: [u64; 2],
    away: [Option<(u64, u64)>; 2],
}

fn fees() -> [Nanoton; 2] {
    [Nanoton(19), Nanoton(1_000_003)]
}

fn play(steps: &[Step]) -> Result<(), TestCaseError> {
    let mut ledger = Ledger::in_memory(0).unwrap();
    let root = address(1);
    let session = |ledger: &mut Ledger, fee: Nanoton| {
        ledger
            .begin_session(&NewSession {
                started_unix_ms: 0,
                root_contract: root,
                params_version: fee.0 as u32,
                fee_per_token: fee,
                served_as: "m",
                multipliers: Multipliers { prompt: 1, cached: 1, completion: 1, reasoning: 1 },
                pays_nothing: false,
            })
            .unwrap()
    };
    let sessions = fees().map(|fee| session(&mut ledger, fee));
    let contract = |who: usize| address(10 + who as u8);
    let mut model = Model::default();
    let mut ids = 0;
    let mut lt = 0;
    for (number, (what, who, amount, at)) in steps.iter().enumerate() {
        let (who, amount, at) = (usize::from(who % 2), u64::from(*amount) + 1, *at);
        let key = [who as u8 + 1; 32];
        match what % 5 {
            0 | 1 => {
                let job = of_tokens(number as u64, at, amount as i64);
                ledger.record_job(sessions[who], &key, &job).unwrap();
                model.done[who] += amount;
            }
            2 => {
                let total = (model.signed[who] + amount).min(model.done[who]);
                if total > model.signed[who] {
                    sign(&mut ledger, sessions[who], 10 + who as u8, key, total, at);
                    model.signed[who] = total;
                }
            }
            3 => {
                if model.away[who].is_none() && model.signed[who] > model.cashed[who] {
                    ids += 1;
                    let tokens = (model.cashed[who], model.signed[who]);
                    let row = |stage| transfer(ids * 2 + who as u64, 10 + who as u8, tokens, fees()[who], stage);
                    ledger.record_transfer(&root, &row(Stage::Planned)).unwrap();
                    ledger.record_transfer(&root, &row(message())).unwrap();
                    model.away[who] = Some((ids * 2 + who as u64, tokens.1));
                }
            }
            _ => {
                if let Some((id, to)) = model.away[who].take() {
                    let from = model.cashed[who];
                    let value = fees()[who].checked_mul(to - from).unwrap();
                    let outcome = if amount % 3 == 0 {
                        Outcome::Expired
                    } else {
                        lt += 1;
                        model.cashed[who] = to;
                        let paid = Receipt { hash: [0; 32], lt, unix: (at / 1_000) as u32, ..receipt(0, value) };
                        Outcome::Done { receipts: vec![paid], fees: Some(Nanoton(amount)) }
                    };
                    let row = transfer(id, 10 + who as u8, (from, to), fees()[who], Stage::Ended(outcome));
                    ledger.record_transfer(&root, &row).unwrap();
                }
            }
        }
        let chain: BTreeMap<Address, u64> = if number % 2 == 0 {
            BTreeMap::new()
        } else {
            (0..2).map(|who| (contract(who), model.cashed[who])).collect()
        };
        let seen = ledger.pipeline(&root, &chain, None).unwrap();
        let all = |tokens: [u64; 2]| tokens[0] * fees()[0].0 + tokens[1] * fees()[1].0;
        let unsigned = [0, 1].map(|who| model.done[who] - model.signed[who]);
        prop_assert_eq!(seen.counted.0, all(unsigned));
        prop_assert_eq!(seen.paid.0, all(model.cashed));
        let away = [0, 1].map(|who| model.away[who].map_or(0, |(_, to)| to - model.cashed[who]));
        prop_assert_eq!(seen.on_the_way.0, all(away));
        let parts = seen.counted.0 + seen.signed.0 + seen.on_the_way.0 + seen.paid.0;
        prop_assert_eq!(parts, all(model.done), "what was done is in one stage, whole");
    }
    // However the bars are cut, they sum up to the same.
    for width in [1, 4, 96, 1_000] {
        let edges: Vec<i64> = (0..=1_000_i64.div_euclid(width) + 1).map(|bar| bar * width * QUARTER_MS).collect();
        let bars = ledger.earned(&root, &edges).unwrap();
        let total = |amount: fn(&ledger::Earned) -> Nanoton| bars.iter().map(|bar| amount(bar).0).sum::<u64>();
        let all = |tokens: [u64; 2]| tokens[0] * fees()[0].0 + tokens[1] * fees()[1].0;
        prop_assert_eq!(total(|bar| bar.counted), all(model.done));
        prop_assert_eq!(total(|bar| bar.signed), all(model.signed));
        prop_assert_eq!(total(|bar| bar.paid), all(model.cashed));
        let answered = steps.iter().filter(|step| step.0 % 5 < 2).count() as u64;
        prop_assert_eq!(bars.iter().map(|bar| bar.answered).sum::<u64>(), answered);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_token_is_in_one_stage_and_bars_sum_up_to_the_totals(
        steps in proptest::collection::vec((0_u8..5, 0_u8..2, 0_u16..500, 0_i64..1_000 * QUARTER_MS), 1..60)
    ) {
        play(&steps)?;
    }
}

#[test]
fn what_was_drawn_is_added_up_by_quarters_and_what_was_not_measured_is_no_zero() {
    use accounting::statement::Energy;
    let mut ledger = Ledger::in_memory(0).unwrap();
    let (one, other) = (address(1), address(2));
    let energy = |millijoules, measured_ms| Energy { millijoules, measured_ms };
    // 1970-01-02 23:50, three times within two quarters, and once in another network.
    let night = 2 * 86_400_000 - 600_000;
    ledger.record_energy(&one, night, energy(100, 60_000)).unwrap();
    ledger.record_energy(&one, night + 60_000, energy(50, 60_000)).unwrap();
    ledger.record_energy(&one, night + 600_000, energy(7, 1_000)).unwrap();
    ledger.record_energy(&one, night + 86_400_000, energy(9, 0)).unwrap();
    ledger.record_energy(&other, night, energy(1, 1)).unwrap();
    let days = |from, until| {
        let days = ledger.energy(&one, &[from, until]).unwrap();
        days.into_iter().flatten().map(|(date, energy)| (date.to_string(), energy)).collect::<Vec<_>>()
    };
    let both = [("1970-01-02".to_owned(), energy(150, 120_000)), ("1970-01-03".to_owned(), energy(7, 1_000))];
    assert_eq!(days(0, i64::MAX), both, "a day without a reading is not there");
    assert_eq!(days(night - 300_000, night + 600_000), both[..1]);
    assert_eq!(days(night + 600_000, i64::MAX), both[1..]);
    assert_eq!(days(i64::MIN, 0), []);
    ledger.record_energy(&one, 0, energy(u64::MAX, u64::MAX)).unwrap();
    ledger.record_energy(&one, 0, energy(u64::MAX, u64::MAX)).unwrap();
    let bars = ledger.energy(&one, &[0, 1, night - 300_000, night + 600_000, i64::MAX]).unwrap();
    assert_eq!(bars.iter().map(std::collections::BTreeMap::len).collect::<Vec<_>>(), [1, 0, 1, 1], "{bars:?}");
    assert_eq!(ledger.energy(&one, &[]).unwrap().len(), 0);
    assert_eq!(
        bars[0].values().next().map(|energy| energy.millijoules),
        Some(i64::MAX as u64),
        "it stops where it must"
    );
}
