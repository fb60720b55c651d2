use super::*;
use crate::core::workers::Freed;

const HOUR: Duration = Duration::from_hours(1);

#[test]
fn the_worker_is_shown_as_gone_only_when_nothing_of_it_is_left() {
    let mut stage = Stage::ready();
    stage.check(wants(Target::Yield), yielding());
    let shown = stage.core.snapshot();
    assert_eq!((shown.target, shown.worker), (Target::Yield, WorkerState::Yielding), "the wish is not the fact");
    stage.check(hears(1, FromWorker::Enabled(false)), NOTHING);
    assert_eq!(stage.state(), WorkerState::Yielding);
    stage.check(hears(1, FromWorker::Yielded), [kill(1)]);
    assert_eq!(stage.state(), WorkerState::Ending, "killed is not gone");
    assert!(!stage.core.is_at_rest());
    assert_eq!(stage.wait(HOUR), NOTHING, "it is waited for as long as it takes");
    assert_eq!(stage.state(), WorkerState::Ending);
    stage.check(exited(1), [close(0)]);
    assert_eq!(stage.state(), WorkerState::Gone);
    assert!(stage.core.is_at_rest());
    assert_eq!(stage.wait(HOUR), NOTHING, "nobody wants another one");
}

#[test]
fn a_worker_that_does_not_yield_in_time_is_killed_at_the_deadline() {
    let mut stage = Stage::ready();
    stage.later(HOUR).check(wants(Target::Yield), yielding());
    assert_eq!(stage.core.next_deadline(), Some(HOUR + YIELD_WITHIN));
    stage.later(just_before(YIELD_WITHIN)).check(Input::Tick, NOTHING);
    stage.later(MOMENT).check(Input::Tick, [kill(1)]);
    stage.assert_logged(LogLevel::Warn, "in time");
    stage.check(hears(1, FromWorker::Yielded), NOTHING);
    stage.check(exited(1), [close(0)]);
    assert_eq!(stage.state(), WorkerState::Gone);
}

#[test]
fn a_deadline_that_was_slept_through_still_kills() {
    let mut stage = Stage::ready();
    stage.check(wants(Target::Yield), yielding());
    // Whatever comes first after it.
    stage.later(HOUR).check(recorded(77), [kill(1)]);
}

#[test]
fn a_worker_that_ends_by_itself_while_it_yields_is_gone() {
    let mut stage = Stage::ready();
    stage.check(wants(Target::Yield), yielding());
    stage.check(exited(1), [close(0)]);
    assert_eq!(stage.state(), WorkerState::Gone);
    assert_eq!(stage.wait(HOUR), NOTHING);
}

#[test]
fn a_worker_that_says_it_yielded_unasked_goes_on() {
    let mut stage = Stage::ready();
    stage.check(hears(1, FromWorker::Yielded), NOTHING);
    assert_eq!(stage.state(), WorkerState::Serving { enabled: true });
}

#[test]
fn a_starting_worker_is_killed_at_once_when_the_card_is_wanted() {
    let mut stage = Stage::new();
    stage.check(Input::Tick, [start(1)]);
    stage.feed(started(1));
    stage.feed(hears(1, hello()));
    stage.check(wants(Target::Yield), [kill(1)]);
    assert_eq!(stage.state(), WorkerState::Ending);
    // It had just finished reading.
    stage.check(hears(1, FromWorker::Ready(facts())), NOTHING);
    stage.check(exited(1), NOTHING);
    assert_eq!(stage.state(), WorkerState::Gone);
    assert_eq!(stage.wait(HOUR), NOTHING);
}

#[test]
fn a_worker_that_never_ran_leaves_nothing_to_free() {
    let mut stage = Stage::new();
    stage.check(Input::Tick, [start(1)]);
    stage.check(wants(Target::Yield), [kill(1)]);
    stage.check(not_started(1), NOTHING);
    assert_eq!(stage.state(), WorkerState::Gone);
    assert!(stage.core.is_at_rest());
}

#[test]
fn a_restart_that_was_waited_for_is_called_off_when_the_card_is_wanted() {
    let mut stage = Stage::ready();
    stage.feed(exited(1));
    assert!(matches!(stage.state(), WorkerState::Waiting { .. }));
    stage.check(wants(Target::Yield), NOTHING);
    assert_eq!(stage.state(), WorkerState::Gone);
    assert_eq!(stage.wait(HOUR), NOTHING);
}

#[test]
fn a_worker_that_was_being_killed_anyway_is_not_started_again_when_the_card_is_wanted() {
    let mut stage = Stage::ready();
    stage.check(garbled(1), [kill(1)]);
    stage.later(MOMENT).check(wants(Target::Yield), NOTHING);
    stage.check(exited_with(1, Departure { gone_at: 5 * MOMENT, ..Departure::default() }), [close(0)]);
    assert_eq!(stage.state(), WorkerState::Gone);
    assert_eq!(stage.core.snapshot().freed.unwrap().took, 4 * MOMENT);
    assert_eq!(stage.wait(HOUR), NOTHING);
}

#[test]
fn the_card_wanted_twice_is_asked_for_once() {
    let mut stage = Stage::ready();
    stage.check(wants(Target::Yield), yielding());
    stage.later(MOMENT).check(wants(Target::Yield), NOTHING);
    assert_eq!(stage.core.next_deadline(), Some(YIELD_WITHIN), "and not later");
    stage.check(hears(1, FromWorker::Yielded), [kill(1)]);
    stage.check(wants(Target::Yield), NOTHING);
    stage.check(exited(1), [close(0)]);
    stage.check(wants(Target::Yield), NOTHING);
}

#[test]
fn serving_again_after_a_yield_starts_another_worker_that_is_enabled() {
    let mut stage = Stage::ready();
    stage.check(wants(Target::Yield), yielding());
    stage.check(hears(1, FromWorker::Yielded), [kill(1)]);
    stage.check(exited(1), [close(0)]);
    stage.check(wants(Target::Serve), [start(2)]);
    stage.feed(started(2));
    stage.feed(hears(2, hello()));
    // It starts enabled: nothing needs to be said.
    stage.check(hears(2, FromWorker::Ready(facts())), [dial(1, 1)]);
}

#[test]
fn a_change_of_mind_starts_another_worker_once_the_old_one_is_gone() {
    let mut stage = Stage::ready();
    stage.check(wants(Target::Yield), yielding());
    stage.check(wants(Target::Serve), NOTHING);
    assert_eq!(stage.state(), WorkerState::Yielding, "it was told, and does it");
    stage.check(hears(1, FromWorker::Yielded), [kill(1)]);
    stage.check(exited(1), [close(0), start(2)]);
    assert_eq!(stage.state(), WorkerState::Starting);
}

#[test]
fn draining_announces_disabled_and_goes_on() {
    let mut stage = Stage::ready();
    stage.feed(hears(1, began(LANE, 1, 1)));
    stage.check(wants(Target::Drain), [enable(false)]);
    assert_eq!(stage.state(), WorkerState::Serving { enabled: true }, "not announced yet");
    stage.check(hears(1, FromWorker::Enabled(false)), NOTHING);
    assert_eq!(stage.state(), WorkerState::Serving { enabled: false });
    stage.check(wants(Target::Drain), NOTHING);
    stage.check(hears(1, done(0, job(1))), [write_job(1, job(1))]);
    stage.check(recorded(1), NOTHING);
    assert_eq!(stage.wait(HOUR), NOTHING, "the lane stays");
    assert!(stage.core.snapshot().proxies[0].ready);
    stage.check(wants(Target::Serve), [enable(true)]);
    stage.check(hears(1, FromWorker::Enabled(true)), NOTHING);
    assert_eq!(stage.state(), WorkerState::Serving { enabled: true });
}

#[test]
fn a_draining_worker_yields_when_the_card_is_wanted() {
    let mut stage = Stage::ready();
    stage.check(wants(Target::Drain), [enable(false)]);
    stage.check(wants(Target::Yield), yielding());
    stage.check(hears(1, FromWorker::Yielded), [kill(1)]);
}

#[test]
fn a_worker_that_starts_while_draining_is_told_so_before_a_lane_is_dialled() {
    let mut stage = Stage::new();
    stage.check(Input::Tick, [start(1)]);
    stage.check(wants(Target::Drain), NOTHING);
    stage.feed(started(1));
    stage.feed(hears(1, hello()));
    stage.check(hears(1, FromWorker::Ready(facts())), [enable(false), dial(0, 1)]);
}

#[test]
fn how_long_it_took_to_free_the_card_is_measured_from_the_wish() {
    let mut stage = Stage::ready();
    assert_eq!(stage.core.snapshot().freed, None);
    stage.later(HOUR).check(wants(Target::Yield), yielding());
    stage.later(Duration::from_millis(200)).check(hears(1, FromWorker::Yielded), [kill(1)]);
    let departure = Departure {
        gone_at: HOUR + Duration::from_millis(340),
        held: Some(2_000_000_000),
        available_before: Some(1_000_000_000),
        available_after: Some(3_000_000_000),
    };
    // The news may be late; the measure is not.
    stage.later(Duration::from_millis(900)).check(exited_with(1, departure), [close(0)]);
    let freed = Freed { took: Duration::from_millis(340), departure };
    assert_eq!(stage.core.snapshot().freed, Some(freed));
    // A crash frees nothing that was wanted.
    stage.check(wants(Target::Serve), [start(2)]);
    stage.check(exited_with(2, Departure { gone_at: 2 * HOUR, ..departure }), NOTHING);
    assert_eq!(stage.core.snapshot().freed, Some(freed));
}

#[test]
fn a_worker_that_failed_stays_failed_whatever_is_wanted() {
    let mut stage = Stage::ready();
    stage.check(hears(1, FromWorker::Failed(Failure::Model("lost".to_owned()))), [kill(1)]);
    stage.check(wants(Target::Yield), NOTHING);
    stage.check(exited(1), [close(0)]);
    for target in [Target::Serve, Target::Yield, Target::Drain, Target::Serve] {
        stage.check(wants(target), NOTHING);
        assert!(matches!(stage.state(), WorkerState::Failed(_)));
        assert_eq!(stage.core.snapshot().target, target);
    }
}

fn yielding() -> [Effect; 2] {
    [enable(false), say(ToWorker::Yield)]
}
