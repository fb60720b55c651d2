use super::*;

const HALF: Duration = Duration::from_millis(500);
const HOUR: Duration = Duration::from_hours(1);
const NOW: Duration = Duration::ZERO;

#[test]
fn a_worker_takes_no_jobs_while_the_ledger_cannot_write() {
    let mut stage = Stage::ready();
    stage.check(hears(1, done(0, job(1))), [write_job(1, job(1))]);
    stage.check(not_recorded(1), [enable(false)]);
    stage.assert_logged(LogLevel::Error, "the disk is full");
    let shown = stage.core.snapshot();
    assert_eq!((shown.unwritten, shown.ledger_fails.as_deref()), (1, Some("the disk is full")));
    assert_eq!(shown.totals.answered, 0);
    // It is tried again, and once it is written the worker goes on.
    assert_eq!(stage.wait(just_before(HALF)), NOTHING);
    assert_eq!(stage.wait(MOMENT), [write_job(1, job(1))]);
    stage.check(recorded(1), [enable(true)]);
    let shown = stage.core.snapshot();
    assert_eq!((shown.unwritten, shown.ledger_fails, shown.totals.answered), (0, None, 1));
}

#[test]
fn the_end_of_an_answer_leaves_when_its_job_is_written_down_or_cannot_be() {
    let released = |stage: &mut Stage| std::mem::take(&mut stage.released);
    let mut stage = Stage::ready();
    stage.feed(hears(1, done(0, job(1))));
    assert_eq!(released(&mut stage), []);
    stage.feed(recorded(1));
    assert_eq!(released(&mut stage), [LANE]);
    stage.feed(recorded(1));
    assert_eq!(released(&mut stage), [], "once");
    // A job that the ledger has already, or will never have.
    for answer in [known as fn(u64) -> Input, refused] {
        let mut stage = Stage::ready();
        stage.feed(hears(1, done(0, job(2))));
        stage.feed(answer(1));
        assert_eq!(released(&mut stage), [LANE]);
    }
    // The disk is full: no new jobs, but the customers who wait get what they are owed.
    stage.feed(hears(1, done(0, job(3))));
    stage.feed(hears(1, done(0, job(4))));
    stage.feed(not_recorded(2));
    assert_eq!(released(&mut stage), [LANE]);
    stage.feed(not_recorded(3));
    stage.feed(hears(1, done(0, job(5))));
    assert_eq!(released(&mut stage), [LANE; 2]);
    stage.wait(HALF);
    stage.feed(recorded(2));
    stage.feed(recorded(3));
    stage.feed(recorded(4));
    assert_eq!(released(&mut stage), [], "they left before");
    // Whoever is not believed is not held up either.
    stage.feed(hears(1, done(9, job(6))));
    stage.feed(hears(0, done(7, job(6))));
    assert_eq!(released(&mut stage), [LaneId(9), LaneId(7)]);
}

#[test]
fn a_ledger_that_says_nothing_does_not_hold_an_answer_for_ever() {
    let mut stage = Stage::ready();
    stage.check(hears(1, done(0, job(1))), [write_job(1, job(1))]);
    stage.check(hears(1, done(0, job(2))), [write_job(2, job(2))]);
    assert_eq!(stage.wait(just_before(LEDGER_PATIENCE)), NOTHING);
    assert_eq!(stage.released, []);
    assert_eq!(stage.wait(MOMENT), [enable(false)]);
    assert_eq!(std::mem::take(&mut stage.released), [LANE; 2]);
    stage.assert_logged(LogLevel::Error, "does not answer");
    assert_eq!(stage.core.snapshot().ledger_fails.as_deref(), Some("it does not answer"));
    // It was only slow.
    stage.check(recorded(1), NOTHING);
    stage.check(recorded(2), [enable(true)]);
    assert_eq!((stage.released.len(), stage.core.snapshot().totals.answered), (0, 2));
    assert_eq!(stage.core.snapshot().ledger_fails, None);
}

#[test]
fn an_answer_that_costs_nothing_waits_for_nothing() {
    let mut stage = Stage::ready();
    let free = JobRecord {
        outcome: JobOutcome::Refused { status: 400 },
        usage: TokenUsage::default(),
        adjusted: AdjustedUsage::default(),
        ..job(1)
    };
    stage.check(hears(1, done(0, free.clone())), [write_job(1, free)]);
    stage.check(recorded(1), NOTHING);
    assert_eq!(stage.released, []);
}

#[test]
fn what_could_not_be_written_is_tried_again_after_a_doubling_pause() {
    let mut stage = Stage::ready();
    stage.check(hears(1, done(0, job(1))), [write_job(1, job(1))]);
    stage.check(not_recorded(1), [enable(false)]);
    for halves in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(stage.wait(just_before(halves * HALF)), NOTHING);
        assert_eq!(stage.wait(MOMENT), [write_job(1, job(1))]);
        stage.check(not_recorded(1), NOTHING);
    }
    stage.wait(60 * HALF);
    stage.check(recorded(1), [enable(true)]);
    // Good again: the next pause is short again.
    stage.check(hears(1, done(0, job(2))), [write_job(2, job(2))]);
    stage.check(not_recorded(2), [enable(false)]);
    assert_eq!(stage.wait(HALF), [write_job(2, job(2))]);
}

#[test]
fn one_record_tries_for_all_and_the_rest_follows_at_once() {
    let mut stage = Stage::ready();
    stage.check(hears(1, done(0, job(1))), [write_job(1, job(1))]);
    stage.check(hears(1, done(0, job(2))), [write_job(2, job(2))]);
    stage.check(not_recorded(1), [enable(false)]);
    stage.check(not_recorded(2), NOTHING);
    stage.check(hears(1, done(0, job(3))), NOTHING);
    assert_eq!(stage.core.snapshot().unwritten, 3);
    assert_eq!(stage.wait(HALF), [write_job(1, job(1))]);
    stage.check(not_recorded(1), NOTHING);
    assert_eq!(stage.wait(2 * HALF), [write_job(1, job(1))]);
    stage.check(recorded(1), [write_job(2, job(2)), write_job(3, job(3)), enable(true)]);
    stage.check(recorded(3), NOTHING);
    stage.check(recorded(2), NOTHING);
    assert_eq!(stage.core.snapshot().totals.answered, 3);
    assert_eq!(stage.core.next_deadline(), None);
}

#[test]
fn what_the_ledger_refuses_is_dropped_and_no_reason_to_stop() {
    let mut stage = Stage::ready();
    stage.check(hears(1, done(0, job(1))), [write_job(1, job(1))]);
    stage.check(refused(1), NOTHING);
    stage.assert_logged(LogLevel::Error, "out of range");
    let shown = stage.core.snapshot();
    assert_eq!((shown.unwritten, shown.ledger_fails, shown.totals.answered), (0, None, 0));
    assert_eq!(stage.wait(HOUR), NOTHING);
    stage.check(recorded(1), NOTHING);
    assert_eq!(stage.core.snapshot().totals.answered, 0);
}

#[test]
fn what_the_ledger_refuses_in_the_end_does_not_hold_up_the_rest() {
    let mut stage = Stage::ready();
    stage.check(hears(1, done(0, job(1))), [write_job(1, job(1))]);
    stage.check(not_recorded(1), [enable(false)]);
    stage.check(hears(1, done(0, job(2))), NOTHING);
    assert_eq!(stage.wait(HALF), [write_job(1, job(1))]);
    stage.check(refused(1), NOTHING);
    assert_eq!(stage.wait(2 * HALF), [write_job(2, job(2))]);
    stage.check(recorded(2), [enable(true)]);
    // And if it was the only one, there is nothing left that could not be written.
    stage.check(hears(1, done(0, job(3))), [write_job(3, job(3))]);
    stage.check(not_recorded(3), [enable(false)]);
    assert_eq!(stage.wait(HALF), [write_job(3, job(3))]);
    stage.check(refused(3), [enable(true)]);
    assert_eq!(stage.core.snapshot().ledger_fails, None);
}

#[test]
fn a_ledger_that_refuses_all_that_was_left_is_in_no_trouble_any_more() {
    let mut stage = Stage::ready();
    stage.check(hears(1, done(0, job(1))), [write_job(1, job(1))]);
    stage.check(hears(1, done(0, job(2))), [write_job(2, job(2))]);
    stage.check(not_recorded(1), [enable(false)]);
    assert_eq!(stage.wait(HALF), [write_job(1, job(1))]);
    // Both are under way now, and neither is taken.
    stage.check(refused(2), NOTHING);
    stage.check(refused(1), [enable(true)]);
    assert_eq!(stage.core.snapshot().ledger_fails, None);
    assert_eq!(stage.core.next_deadline(), None);
}

#[test]
fn a_payment_that_waits_is_replaced_by_a_higher_one() {
    let mut stage = Stage::ready().after_work();
    stage.check(hears(1, payment(0, signed(1, 10))), [write_payment(1, 10, NOW)]);
    stage.check(not_recorded(1), [enable(false)]);
    stage.check(hears(1, payment(0, signed(1, 12))), NOTHING);
    assert_eq!(stage.core.snapshot().unwritten, 1);
    assert_eq!(stage.wait(HALF), [write_payment(2, 12, NOW)]);
    stage.check(recorded(2), [enable(true)]);
    assert_eq!(stage.core.snapshot().signed_tokens, 12);
}

#[test]
fn payments_of_several_proxies_wait_beside_each_other() {
    let mut stage = Stage::serving(settings(2, 2), Remembered::default()).after_work();
    stage.wait(Duration::from_mins(1));
    for (lane, shown) in (0_u32..).zip(stage.core.snapshot().proxies) {
        let number = if shown.endpoint == endpoint(1) { 1 } else { 2 };
        stage.feed(connected(lane));
        stage.feed(hears(1, FromWorker::LaneReady { lane: LaneId(lane), proxy: report(number) }));
        // The first record that fails is a proxy's.
        stage.feed(not_recorded(0));
        stage.feed(hears(1, payment(lane, signed(number, 10))));
        stage.feed(hears(1, payment(lane, signed(number, 12))));
    }
    // Of each proxy its key and its higher payment.
    assert_eq!(stage.core.snapshot().unwritten, 4);
    assert_eq!(stage.wait(HALF).len(), 1);
    assert_eq!(stage.feed(recorded(0)).len(), 4, "three more, and the worker is enabled");
    (1..10).for_each(|entry| drop(stage.feed(recorded(entry))));
    assert_eq!(stage.core.snapshot().signed_tokens, 24);
}

#[test]
fn a_payment_that_fails_after_a_higher_one_came_is_dropped_and_the_higher_one_written() {
    let mut stage = Stage::ready().after_work();
    stage.check(hears(1, payment(0, signed(1, 10))), [write_payment(1, 10, NOW)]);
    stage.check(not_recorded(1), [enable(false)]);
    assert_eq!(stage.wait(HALF), [write_payment(1, 10, NOW)]);
    stage.check(hears(1, payment(0, signed(1, 12))), NOTHING);
    assert_eq!(stage.core.snapshot().unwritten, 2);
    let came = stage.now;
    stage.check(not_recorded(1), NOTHING);
    assert_eq!(stage.core.snapshot().unwritten, 1);
    assert_eq!(stage.wait(2 * HALF), [write_payment(2, 12, came)]);
    stage.check(recorded(2), [enable(true)]);
    assert_eq!(stage.core.snapshot().signed_tokens, 12);
}

#[test]
fn a_worker_that_reports_more_than_can_be_kept_is_stopped() {
    let mut stage = Stage::ready();
    stage.check(hears(1, done(0, job(1))), [write_job(1, job(1))]);
    stage.check(not_recorded(1), [enable(false)]);
    for _ in 1..4_096 {
        stage.check(hears(1, done(0, job(1))), NOTHING);
    }
    stage.check(hears(1, done(0, job(1))), [kill(1)]);
    stage.assert_logged(LogLevel::Error, "the worker is stopped");
    assert_eq!(stage.core.snapshot().unwritten, 4_097, "what is kept is kept");
    assert_eq!(stage.state(), WorkerState::Ending);
    // No other one is started until there is room.
    stage.check(exited(1), [close(0)]);
    assert_eq!(stage.wait(HALF), [write_job(1, job(1))]);
    assert_eq!(stage.wait(HOUR), NOTHING);
    assert_eq!(stage.state(), WorkerState::Gone);
    let rest = stage.feed(recorded(1));
    assert_eq!((rest.len(), rest.last()), (4_097, Some(&start(2))));
}

#[test]
fn a_node_is_at_rest_only_when_everything_is_written_down() {
    let mut stage = Stage::ready();
    stage.check(hears(1, done(0, job(1))), [write_job(1, job(1))]);
    stage.feed(wants(Target::Yield));
    stage.feed(hears(1, FromWorker::Yielded));
    stage.check(exited(1), [close(0)]);
    assert!(!stage.core.is_at_rest());
    // The ledger is slow, then full, then well: it goes on being tried without a worker.
    stage.check(not_recorded(1), NOTHING);
    assert!(!stage.core.is_at_rest());
    assert_eq!(stage.wait(HALF), [write_job(1, job(1))]);
    assert!(!stage.core.is_at_rest());
    stage.check(recorded(1), NOTHING);
    assert!(stage.core.is_at_rest());
}

#[test]
fn a_worker_that_starts_while_the_ledger_cannot_write_is_disabled_before_a_lane_is_dialled() {
    let mut stage = Stage::ready();
    stage.check(hears(1, done(0, job(1))), [write_job(1, job(1))]);
    stage.check(not_recorded(1), [enable(false)]);
    stage.check(exited(1), [close(0)]);
    let retries = stage.wait(RESTART_FIRST);
    assert_eq!(retries, [write_job(1, job(1)), start(2)]);
    stage.feed(started(2));
    stage.feed(hears(2, hello()));
    stage.check(hears(2, FromWorker::Ready(facts())), [enable(false), dial(1, 1)]);
    stage.check(recorded(1), [enable(true)]);
}

#[test]
fn answers_of_the_ledger_that_nobody_asked_for_change_nothing() {
    let mut stage = Stage::ready();
    stage.check(hears(1, done(0, job(1))), [write_job(1, job(1))]);
    stage.check(not_recorded(1), [enable(false)]);
    let before = stage.core.snapshot();
    // Nothing is under way now.
    for input in [recorded(1), known(1), not_recorded(1), refused(1), recorded(0), not_recorded(99), refused(99)] {
        stage.check(input, NOTHING);
    }
    assert_eq!(stage.core.snapshot(), before);
    assert_eq!(stage.wait(HALF), [write_job(1, job(1))]);
    stage.check(recorded(1), [enable(true)]);
}
