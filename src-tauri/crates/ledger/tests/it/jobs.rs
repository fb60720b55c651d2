use crate::{KEY, begin, fresh, job};
use accounting::{AdjustedUsage, Endpoint, JobOutcome, JobRecord, TokenUsage};
use ledger::{Ledger, LedgerError, MAX_COUNT, Recorded, Totals};

#[test]
fn a_job_comes_back_as_it_was_written() {
    let (mut ledger, session) = fresh();
    let outcomes = [
        JobOutcome::Answered,
        JobOutcome::Refused { status: 400 },
        JobOutcome::Stopped,
        JobOutcome::Failed { code: -652 },
    ];
    let jobs: Vec<JobRecord> =
        (0..).zip(outcomes).map(|(number, outcome)| JobRecord { outcome, ..job(number) }).collect();
    let negative = AdjustedUsage { prompt: -2, cached: 3, completion: 0, reasoning: 0, total: 1 };
    let odd =
        JobRecord { adjusted: negative, streamed: false, endpoint: Endpoint::Completions, coefficient: -1, ..job(9) };
    for job in jobs.iter().chain([&odd]) {
        assert_eq!(ledger.record_job(session, &KEY, job).unwrap(), Recorded::New);
    }
    let page = ledger.jobs(None, 10).unwrap();
    let read: Vec<JobRecord> = page.jobs.into_iter().map(|entry| entry.job).rev().collect();
    assert_eq!(read[..4], jobs);
    assert_eq!(read[4], odd);
}

#[test]
fn a_job_said_twice_counts_once_within_its_session() {
    let (mut ledger, session) = fresh();
    assert_eq!(ledger.record_job(session, &KEY, &job(1)).unwrap(), Recorded::New);
    let again = JobRecord { finished_unix_ms: 99, ..job(1) };
    assert_eq!(ledger.record_job(session, &KEY, &again).unwrap(), Recorded::Known);
    assert_eq!(ledger.totals(session).unwrap().answered, 1);
    assert_eq!(ledger.jobs(None, 10).unwrap().jobs[0].job, job(1), "the first word stays");
    let later = begin(&mut ledger);
    assert_eq!(ledger.record_job(later, &KEY, &job(1)).unwrap(), Recorded::New);
}

#[test]
fn totals_are_of_one_session_or_of_all() {
    let (mut ledger, first) = fresh();
    assert_eq!(ledger.totals_of_latest_session().unwrap(), Totals::default());
    for number in 0..3 {
        ledger.record_job(first, &KEY, &job(number)).unwrap();
    }
    let second = begin(&mut ledger);
    let none = TokenUsage::default();
    let uncharged = AdjustedUsage::default();
    ledger.record_job(second, &KEY, &job(0)).unwrap();
    ledger.record_job(second, &KEY, &JobRecord { outcome: JobOutcome::Stopped, ..job(1) }).unwrap();
    for (number, outcome) in [(2, JobOutcome::Refused { status: 503 }), (3, JobOutcome::Failed { code: 652 })] {
        let record = JobRecord { outcome, usage: none, adjusted: uncharged, ..job(number) };
        ledger.record_job(second, &KEY, &record).unwrap();
    }
    let latest = ledger.totals_of_latest_session().unwrap();
    assert_eq!((latest.answered, latest.failed), (2, 2));
    assert_eq!((latest.prompt_tokens, latest.completion_tokens, latest.adjusted_tokens), (68, 200, 268));
    let all = ledger.all_time_totals().unwrap();
    assert_eq!((all.answered, all.failed, all.adjusted_tokens), (5, 2, 5 * 134));
}

#[test]
fn an_empty_ledger_has_no_session_and_empty_totals() {
    let ledger = Ledger::in_memory(0).unwrap();
    assert_eq!(ledger.latest_session().unwrap(), None);
    assert_eq!(ledger.totals_of_latest_session().unwrap(), Totals::default());
    assert_eq!(ledger.all_time_totals().unwrap(), Totals::default());
    assert_eq!(ledger.jobs(None, 10).unwrap().jobs, []);
}

#[test]
fn pages_hold_every_job_once_even_while_new_ones_come() {
    let (mut ledger, session) = fresh();
    for number in 0..25 {
        ledger.record_job(session, &KEY, &job(number)).unwrap();
    }
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = ledger.jobs(cursor, 10).unwrap();
        assert!(page.jobs.len() <= 10);
        seen.extend(page.jobs.into_iter().map(|entry| entry.job));
        // A new job must not move the others from page to page.
        ledger.record_job(session, &KEY, &job(100 + seen.len() as u64)).unwrap();
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    let expected: Vec<JobRecord> = (0..25).rev().map(job).collect();
    assert_eq!(seen, expected);
}

#[test]
fn counts_that_no_job_has_are_refused_and_leave_no_trace() {
    let (mut ledger, session) = fresh();
    let beyond = MAX_COUNT.unsigned_abs() + 1;
    for prompt in [beyond, u64::MAX] {
        let wrong = JobRecord { usage: TokenUsage { prompt, ..job(1).usage }, ..job(1) };
        let error = ledger.record_job(session, &KEY, &wrong).unwrap_err();
        assert!(matches!(error, LedgerError::OutOfRange { .. }), "{error}");
    }
    for total in [i64::MIN, i64::MAX, MAX_COUNT + 1] {
        let wrong = JobRecord { adjusted: AdjustedUsage { total, ..job(1).adjusted }, ..job(1) };
        let error = ledger.record_job(session, &KEY, &wrong).unwrap_err();
        assert!(matches!(error, LedgerError::OutOfRange { .. }), "{error}");
    }
    assert_eq!(ledger.all_time_totals().unwrap(), Totals::default());
}

#[test]
fn a_job_of_a_session_that_is_not_in_the_file_is_refused() {
    let (mut other, _) = fresh();
    let stranger = begin(&mut other);
    let (mut ledger, _) = fresh();
    let error = ledger.record_job(stranger, &KEY, &job(1)).unwrap_err();
    assert!(matches!(error, LedgerError::UnknownSession), "{error}");
}
