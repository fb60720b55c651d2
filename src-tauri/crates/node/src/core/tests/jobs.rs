use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_job_counts_once_it_is_written_down() {
    let mut stage = Stage::ready();
    stage.check(hears(1, began(LANE, 1, 1)), NOTHING);
    stage.check(hears(1, done(0, job(1))), [write_job(1, job(1))]);
    assert_eq!(stage.core.snapshot().totals, Totals::default());
    assert_eq!(stage.core.snapshot().unwritten, 1);
    stage.check(recorded(1), NOTHING);
    let once =
        Totals { answered: 1, failed: 0, prompt_tokens: 42, completion_tokens: 100, adjusted_tokens: JOB_TOKENS };
    assert_eq!((stage.core.snapshot().totals, stage.core.snapshot().unwritten), (once, 0));
    // The ledger's answer counts once, however often it comes.
    stage.check(recorded(1), NOTHING);
    assert_eq!(stage.core.snapshot().totals, once);
}

#[test]
fn jobs_are_told_apart_by_how_they_ended() {
    for (outcome, answered, failed) in [
        (JobOutcome::Answered, 1, 0),
        (JobOutcome::Stopped, 1, 0),
        (JobOutcome::Refused { status: 503 }, 0, 1),
        (JobOutcome::Failed { code: 652 }, 0, 1),
    ] {
        let mut stage = Stage::ready();
        let nothing = JobRecord { outcome, usage: TokenUsage::default(), adjusted: AdjustedUsage::default(), ..job(1) };
        stage.check(hears(1, done(0, nothing.clone())), [write_job(1, nothing)]);
        stage.feed(recorded(1));
        let totals = stage.core.snapshot().totals;
        assert_eq!((totals.answered, totals.failed, totals.adjusted_tokens), (answered, failed, 0));
        assert_eq!(stage.refused(), 0);
    }
}

#[test]
fn adjusted_tokens_that_do_not_follow_from_the_counts_are_recomputed() {
    let honest = job(1).adjusted;
    let failed = JobOutcome::Failed { code: 652 };
    let none = AdjustedUsage::default();
    let more = AdjustedUsage { total: JOB_TOKENS + 1, ..honest };
    let moved = AdjustedUsage { prompt: honest.prompt + 1, cached: honest.cached - 1, ..honest };
    let extreme = AdjustedUsage { prompt: i64::MAX, cached: i64::MIN, completion: -1, reasoning: 7, total: i64::MAX };
    let all = JobOutcome::Answered;
    for (outcome, claimed, kept, corrected) in [
        (all, honest, honest, 0),
        // The time was over before the answer left: nothing is owed, and the worker may say so.
        (all, none, none, 0),
        (all, more, honest, 1),
        (all, moved, honest, 1),
        (all, extreme, honest, 1),
        (JobOutcome::Stopped, more, honest, 1),
        (JobOutcome::Refused { status: 400 }, more, honest, 1),
        (failed, none, none, 0),
        (failed, honest, none, 1),
    ] {
        let mut stage = Stage::ready();
        let said = JobRecord { outcome, adjusted: claimed, ..job(1) };
        let kept = JobRecord { outcome, adjusted: kept, ..job(1) };
        let tokens = kept.adjusted.total;
        stage.check(hears(1, done(0, said)), [write_job(1, kept)]);
        assert_eq!(stage.refused(), corrected, "{outcome:?} {claimed:?}");
        stage.feed(recorded(1));
        assert_eq!(stage.core.snapshot().totals.adjusted_tokens, tokens);
    }
}

#[test]
fn the_coefficient_of_the_job_is_what_is_computed_with() {
    let mut stage = Stage::ready();
    let half = AdjustedUsage { prompt: 15, cached: 0, completion: 360, reasoning: 40, total: 415 };
    let record = JobRecord { coefficient: 500, adjusted: half, ..job(1) };
    stage.check(hears(1, done(0, record.clone())), [write_job(1, record)]);
    assert_eq!(stage.refused(), 0);
}

#[test]
fn counts_of_any_size_do_no_harm() {
    let mut stage = Stage::ready();
    let most = TokenUsage { prompt: u64::MAX, cached: u64::MAX, completion: u64::MAX, reasoning: 1 };
    for (entry, coefficient) in [(1, i32::MAX), (2, i32::MIN), (3, 0)] {
        let record = JobRecord { usage: most, coefficient, ..job(entry as u8) };
        stage.feed(hears(1, FromWorker::JobDone { lane: LANE, record, active: u32::MAX }));
        stage.feed(recorded(entry));
    }
    let totals = stage.core.snapshot().totals;
    assert_eq!((totals.answered, totals.prompt_tokens, totals.completion_tokens), (3, i64::MAX, i64::MAX));
}

#[test]
fn a_job_of_a_lane_that_was_never_ready_is_not_counted() {
    let mut stage = Stage::serving(settings(1, 1), Remembered::default());
    stage.feed(connected(0));
    for lane in [0, 1, u32::MAX] {
        stage.check(hears(1, done(lane, job(1))), NOTHING);
    }
    stage.assert_logged(LogLevel::Error, "never connected");
    assert_eq!((stage.refused(), stage.core.snapshot().unwritten), (3, 0));
}

#[test]
fn a_job_that_ends_after_its_lane_still_counts() {
    for end in [hung_up(0), hears(1, FromWorker::LaneEnded { lane: LANE, why: LaneEnd::Silent })] {
        let mut stage = Stage::ready();
        stage.feed(end);
        stage.check(hears(1, done(0, job(1))), [write_job(1, job(1))]);
        assert_eq!(stage.refused(), 0);
    }
}

#[test]
fn a_worker_that_reports_about_lanes_of_the_one_before_is_not_believed() {
    let mut stage = Stage::ready();
    stage.feed(hung_up(0));
    stage.wait(REDIAL);
    stage.feed(connected(1));
    stage.feed(hears(1, FromWorker::LaneReady { lane: LaneId(1), proxy: report(1) }));
    stage.feed(recorded(1));
    stage.feed(exited(1));
    stage.wait(RESTART_FIRST);
    stage.serve(2);
    for lane in [0, 1] {
        stage.check(hears(2, done(lane, job(1))), NOTHING);
        stage.check(hears(2, payment(lane, signed(1, 100))), NOTHING);
    }
    assert_eq!(stage.refused(), 4);
}

#[test]
fn what_a_worker_says_while_it_is_ended_still_counts() {
    let mut stage = Stage::ready();
    stage.feed(wants(Target::Yield));
    stage.check(hears(1, done(0, job(1))), [write_job(1, job(1))]);
    stage.check(hears(1, FromWorker::Yielded), [kill(1)]);
    stage.check(hears(1, done(0, job(2))), [write_job(2, job(2))]);
    stage.check(hears(1, payment(0, signed(1, 5))), [write_payment(3, 5, Duration::ZERO)]);
    stage.check(exited(1), [close(0)]);
    for entry in 1..=3 {
        stage.feed(recorded(entry));
    }
    let shown = stage.core.snapshot();
    assert_eq!((shown.totals.answered, shown.signed_tokens), (2, 5));
}

#[test]
fn a_job_that_the_ledger_has_already_is_not_counted_twice() {
    let mut stage = Stage::ready();
    stage.check(hears(1, done(0, job(1))), [write_job(1, job(1))]);
    stage.check(hears(1, done(0, job(1))), [write_job(2, job(1))]);
    stage.check(recorded(1), NOTHING);
    stage.check(known(2), NOTHING);
    assert_eq!(stage.core.snapshot().totals.answered, 1);
    assert_eq!(stage.core.snapshot().totals.adjusted_tokens, JOB_TOKENS);
    stage.assert_logged(LogLevel::Warn, "not counted twice");
}

#[test]
fn a_proxy_that_credits_another_number_than_was_counted_is_noticed() {
    for (credited, noticed) in [(JOB_TOKENS, 0), (JOB_TOKENS - 1, 1), (0, 1), (i64::MAX, 1)] {
        let mut stage = Stage::ready();
        stage.feed(hears(1, done(0, job(1))));
        stage.feed(recorded(1));
        let closing = |number: u8| FromWorker::Payment {
            lane: LANE,
            boc: signed(1, 0),
            db_tokens: 0,
            max_tokens: 0,
            request: Some(([number; 32], credited)),
        };
        // Of a job that nobody did here.
        stage.check(hears(1, closing(2)), NOTHING);
        assert_eq!(stage.refused(), 0);
        stage.check(hears(1, closing(1)), NOTHING);
        assert_eq!(stage.refused(), noticed, "{credited}");
        // It is said once of each job.
        stage.check(hears(1, closing(1)), NOTHING);
        assert_eq!(stage.refused(), noticed);
    }
}

#[test]
fn jobs_that_run_are_shown_with_what_is_known_of_them() {
    let mut stage = Stage::ready();
    let progress = |number, prompt_tokens, completion_tokens| {
        hears(1, FromWorker::JobProgress { id: JobId([number; 32]), prompt_tokens, completion_tokens })
    };
    let shown = |stage: &Stage| {
        let running = stage.core.snapshot().running;
        running.iter().map(|job| (job.id.0[0], job.prompt_tokens, job.completion_tokens)).collect::<Vec<_>>()
    };
    stage.feed(hears(1, began(LANE, 9, 2)));
    stage.check(progress(9, 42, 0), NOTHING);
    stage.later(SECOND).check(progress(3, 7, 0), NOTHING);
    stage.later(SECOND).check(progress(9, 42, 30), NOTHING);
    assert_eq!(shown(&stage), [(9, Some(42), Some(30)), (3, Some(7), Some(0))], "the oldest first");
    assert_eq!(stage.core.snapshot().last_job_unix_ms, None);
    stage.feed(hears(1, FromWorker::JobDone { lane: LANE, record: job(9), active: 1 }));
    assert_eq!(shown(&stage), [(3, Some(7), Some(0))]);
    assert_eq!(stage.core.snapshot().last_job_unix_ms, Some(unix_ms(2 * SECOND)));
    // Without the worker nothing runs.
    stage.feed(exited(1));
    assert_eq!(shown(&stage), []);
}

#[test]
fn the_time_in_which_at_least_one_job_ran_is_measured() {
    let mut stage = Stage::ready();
    let began = |active| hears(1, began(LANE, active as u8, active));
    let over = |number, active| hears(1, FromWorker::JobDone { lane: LANE, record: job(number), active });
    stage.feed(began(1));
    stage.later(2 * SECOND).feed(began(2));
    assert_eq!(stage.core.snapshot().active, 2);
    stage.later(3 * SECOND).feed(over(1, 1));
    stage.later(SECOND).feed(over(2, 0));
    assert_eq!(stage.core.snapshot().busy, 6 * SECOND);
    stage.later(100 * SECOND).feed(began(1));
    assert_eq!(stage.core.snapshot().busy, 6 * SECOND, "idle time does not count");
    // The worker dies, and its job with it.
    stage.later(SECOND).feed(exited(1));
    let shown = stage.core.snapshot();
    assert_eq!((shown.active, shown.busy), (0, 7 * SECOND));
    stage.feed(recorded(1));
    stage.feed(recorded(2));
    let speed = stage.core.snapshot().tokens_per_second().unwrap();
    assert!((speed - 200.0 / 7.0).abs() < 1e-9, "{speed}");
}

#[test]
fn jobs_that_die_with_the_worker_are_written_down_as_failed() {
    let mut stage = Stage::ready();
    stage.feed(hears(1, began(LANE, 1, 1)));
    stage.feed(hears(1, began(LANE, 2, 2)));
    stage.feed(hears(1, done(0, job(1))));
    stage.feed(recorded(1));
    stage.later(SECOND);
    let lost = JobRecord {
        outcome: JobOutcome::Failed { code: 651 },
        finished_unix_ms: unix_ms(SECOND),
        usage: TokenUsage::default(),
        adjusted: AdjustedUsage::default(),
        ..job(2)
    };
    assert!(stage.feed(exited(1)).contains(&write_job(2, lost)));
    stage.feed(recorded(2));
    let totals = stage.core.snapshot().totals;
    assert_eq!((totals.answered, totals.failed, totals.adjusted_tokens), (1, 1, JOB_TOKENS));
    // Once.
    assert_eq!(stage.feed(exited(1)), NOTHING);
    assert_eq!(stage.core.snapshot().unwritten, 0);
}
