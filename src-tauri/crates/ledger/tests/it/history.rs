use crate::{FEE, KEY, WEIGHTS, address, begin, fresh, job};
use accounting::{JobOutcome, JobRecord};
use ledger::{JobFilter, Ledger, Payment, SessionId};
use ton::Nanoton;

/// Ended at that time.
fn ended(number: u64, at: i64) -> JobRecord {
    JobRecord { finished_unix_ms: at, ..job(number) }
}

fn sign(ledger: &mut Ledger, session: SessionId, tokens: u64, at: i64) {
    let payment = Payment {
        worker_contract: address(2),
        proxy_key: KEY,
        tokens,
        received_unix_ms: at,
        boc: vec![tokens as u8; 8],
    };
    ledger.record_payment(session, &payment).unwrap();
}

#[test]
fn jobs_belong_to_the_day_they_ended_in_and_signatures_to_that_they_came_in() {
    let (mut ledger, session) = fresh();
    for (number, at) in [(0, 99), (1, 100), (2, 199), (3, 200)] {
        ledger.record_job(session, &KEY, &ended(number, at)).unwrap();
    }
    let refused = JobRecord { outcome: JobOutcome::Refused { status: 400 }, ..ended(4, 150) };
    ledger.record_job(session, &KEY, &refused).unwrap();
    sign(&mut ledger, session, 134, 99);
    sign(&mut ledger, session, 402, 180);
    sign(&mut ledger, session, 536, 230);
    let day = ledger.sums_between(100, 200, false).unwrap();
    assert_eq!((day.answered, day.failed), (2, 1));
    assert_eq!((day.prompt_tokens, day.completion_tokens), (3 * 34, 3 * 100));
    assert_eq!(day.counted, FEE.checked_mul(3 * 134).unwrap());
    assert_eq!(day.signed, FEE.checked_mul(402 - 134).unwrap());
    assert_eq!(ledger.sums_between(300, 400, false).unwrap(), ledger::Sums::default());
    assert_eq!(ledger.sums_between(100, 200, true).unwrap(), ledger::Sums::default(), "this network pays");
}

#[test]
fn a_job_is_signed_once_a_running_total_covers_it_and_all_before_it() {
    let (mut ledger, session) = fresh();
    for number in 0..4 {
        ledger.record_job(session, &KEY, &job(number)).unwrap();
    }
    ledger.record_job(session, &[8; 32], &job(9)).unwrap();
    sign(&mut ledger, session, 134, 1_000);
    sign(&mut ledger, session, 3 * 134, 2_000);
    let signed = |filter, limit| -> Vec<Option<i64>> {
        let page = ledger.priced_jobs(filter, None, limit).unwrap();
        page.jobs.iter().map(|job| job.signed_unix_ms).collect()
    };
    let all = [None, None, Some(2_000), Some(2_000), Some(1_000)];
    assert_eq!(signed(JobFilter::default(), 10), all);
    assert_eq!(signed(JobFilter::default(), 3), all[..3]);
    assert!(signed(JobFilter { answered: Some(false), ..JobFilter::default() }, 10).is_empty());
}

#[test]
fn what_was_signed_before_a_session_or_after_it_does_not_cover_its_jobs() {
    let (mut ledger, session) = fresh();
    // Another ledger's work, or that of an app long ago.
    sign(&mut ledger, session, 5_000, 10);
    for number in 0..3 {
        ledger.record_job(session, &KEY, &ended(number, 100 + number as i64)).unwrap();
    }
    let signed = |ledger: &Ledger| -> Vec<Option<i64>> {
        let page = ledger.priced_jobs(JobFilter::default(), None, 10).unwrap();
        page.jobs.iter().map(|job| job.signed_unix_ms).collect()
    };
    assert_eq!(signed(&ledger), [None; 3]);
    sign(&mut ledger, session, 5_000 + 2 * 134, 200);
    assert_eq!(signed(&ledger), [None, Some(200), Some(200)], "the third never left: the app was killed");
    // The next session's jobs are signed, and that says nothing about the one that was lost.
    let next = begin(&mut ledger);
    ledger.record_job(next, &KEY, &ended(3, 300)).unwrap();
    assert_eq!(signed(&ledger), [None, None, Some(200), Some(200)]);
    sign(&mut ledger, next, 5_000 + 3 * 134, 310);
    assert_eq!(signed(&ledger), [Some(310), None, Some(200), Some(200)]);
    // What an earlier session is still owed comes before the next one has done a job.
    let last = begin(&mut ledger);
    ledger.record_job(next, &KEY, &ended(4, 320)).unwrap();
    sign(&mut ledger, last, 5_000 + 4 * 134, 330);
    ledger.record_job(last, &KEY, &ended(5, 340)).unwrap();
    assert_eq!(signed(&ledger)[..2], [None, Some(330)]);
}

#[test]
fn pages_go_down_to_the_first_job_and_carry_prices() {
    let (mut ledger, session) = fresh();
    let other = begin(&mut ledger);
    for number in 0..5 {
        ledger.record_job(if number < 3 { session } else { other }, &KEY, &ended(number, number as i64)).unwrap();
    }
    let first = ledger.priced_jobs(JobFilter::default(), None, 3).unwrap();
    let rest = ledger.priced_jobs(JobFilter::default(), first.next, 3).unwrap();
    assert_eq!((first.jobs.len(), rest.jobs.len(), rest.next), (3, 2, None));
    assert!(first.jobs.iter().chain(&rest.jobs).map(|job| job.cursor).is_sorted_by(|a, b| a > b));
    let job = &first.jobs[0];
    assert_eq!((job.fee_per_token, job.params_version, job.multipliers), (FEE, 1, Some(WEIGHTS)));
    assert_eq!((job.pays_nothing, job.served_as.as_str()), (Some(false), "a/model@commit:hash"));
    let late = JobFilter { since_unix_ms: Some(3), ..JobFilter::default() };
    assert_eq!(ledger.priced_jobs(late, None, 10).unwrap().jobs.len(), 2);
}

#[test]
fn an_amount_beyond_all_money_is_an_error_and_no_panic() {
    let mut ledger = Ledger::in_memory(0).unwrap();
    let session = ledger
        .begin_session(&ledger::NewSession {
            started_unix_ms: 0,
            root_contract: address(1),
            params_version: 1,
            fee_per_token: Nanoton(i64::MAX as u64),
            served_as: "a",
            multipliers: WEIGHTS,
            pays_nothing: true,
        })
        .unwrap();
    ledger.record_job(session, &KEY, &job(0)).unwrap();
    assert!(ledger.sums_between(0, 100, true).is_err());
    assert!(ledger.sums_between(0, 100, false).is_ok());
}
