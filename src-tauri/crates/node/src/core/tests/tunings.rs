//! What is known of graphics cards, and who is told of it.

use link::message::{Trial, Tuning};

use super::*;
use crate::core::tunings::MOST;

fn tuning(card: &str, choice: u8) -> Tuning {
    Tuning {
        card: card.to_owned(),
        driver: "Driver 1".to_owned(),
        way: "w64-l64-r4".to_owned(),
        step_micros: 10_000,
        chunk_tokens: 64,
        chunk_micros: 32_000,
        tried: 3,
        failed: 1,
        of: 4,
        choice: vec![choice],
    }
}

fn known(card: &str, choice: u8) -> KnownTuning {
    let Tuning { card, driver, choice, .. } = tuning(card, choice);
    KnownTuning { card, driver, model: MODEL, choice, found_unix_ms: 5 }
}

fn tuned(tuning: Tuning, reason: Option<&str>) -> FromWorker {
    FromWorker::Tuned { tuning: Box::new(tuning), reason: reason.map(str::to_owned) }
}

/// What a worker that starts is given.
fn given(effects: &[Effect]) -> Vec<Vec<u8>> {
    let configured = effects.iter().find_map(|effect| match effect {
        Effect::Send(ToWorker::Configure(configuration)) => Some(configuration.tunings.clone()),
        _ => None,
    });
    configured.expect("it is configured")
}

/// Begins with what is remembered: a stage whose first worker has greeted, and what that worker was given.
fn begun(tunings: Vec<KnownTuning>, retune: bool) -> (Stage, Vec<Vec<u8>>) {
    let settings = Settings { retune, ..settings(1, 1) };
    let mut stage = Stage::with(settings, Remembered { tunings, ..Remembered::default() }, 0);
    stage.feed(Input::Tick);
    let told = stage.feed(started(1));
    stage.feed(hears(1, hello()));
    (stage, given(&told))
}

/// Ends the first worker and starts the second: what that is given.
fn again(stage: &mut Stage) -> Vec<Vec<u8>> {
    stage.feed(exited(1));
    stage.wait(RESTART_MOST);
    let told = stage.feed(started(2));
    given(&told)
}

#[test]
fn what_a_worker_finds_out_is_written_down_shown_and_given_to_the_next() {
    let (mut stage, first) = begun(Vec::new(), false);
    assert!(first.is_empty());
    stage.check(hears(1, FromWorker::Trying { trial: Trial::Testing, number: 1, of: 3 }), NOTHING);
    let trying = stage.core.snapshot().trying.unwrap();
    assert_eq!((trying.trial, trying.number, trying.of), (Trial::Testing, 1, 3));
    let found = stage.feed(hears(1, tuned(tuning("a", 1), Some("nothing was stored"))));
    let expected = KnownTuning { found_unix_ms: unix_ms(stage.now), ..known("a", 1) };
    assert_eq!(found, [Effect::RecordTuning { entry: EntryId(0), tuning: Box::new(expected) }]);
    let shown = stage.core.snapshot();
    assert_eq!(shown.trying, None);
    let shown = shown.tuning.unwrap();
    assert_eq!((shown.generated_per_second(), shown.read_per_second()), (Some(100.0), Some(2_000.0)));
    assert_eq!(shown.reason.as_deref(), Some("nothing was stored"));
    stage.check(recorded(0), NOTHING);
    assert_eq!(again(&mut stage), [vec![1]]);
    assert_eq!(stage.core.snapshot().tuning, None, "the second has not said what it uses");
}

#[test]
fn what_is_remembered_is_given_newest_first_and_used_without_writing_it_again() {
    let many: Vec<KnownTuning> = (0..12).map(|number| known(&number.to_string(), number)).collect();
    let (mut stage, first) = begun(many, false);
    assert_eq!(first.len(), MOST);
    assert_eq!((first[0].clone(), first[7].clone()), (vec![0], vec![7]));
    stage.check(hears(1, tuned(tuning("3", 3), None)), NOTHING);
    let shown = stage.core.snapshot().tuning.unwrap();
    assert_eq!((shown.found_unix_ms, shown.reason), (Some(5), None));
}

#[test]
fn a_new_driver_of_a_card_is_kept_beside_the_old_one_and_a_new_choice_in_its_place() {
    let (mut stage, _) = begun(vec![known("a", 1), known("b", 2)], false);
    let newer = Tuning { driver: "Driver 2".to_owned(), ..tuning("a", 3) };
    stage.feed(hears(1, tuned(newer, Some("the driver changed"))));
    assert_eq!(again(&mut stage), [vec![3], vec![1], vec![2]]);
    let (mut stage, _) = begun(vec![known("a", 1), known("b", 2)], false);
    stage.feed(hears(1, tuned(tuning("b", 3), Some("the kernels changed"))));
    assert_eq!(again(&mut stage), [vec![3], vec![1]]);
}

#[test]
fn an_owner_who_wants_a_card_tried_out_anew_gets_that_once() {
    let (mut stage, first) = begun(vec![known("a", 1)], true);
    assert!(first.is_empty());
    stage.feed(hears(1, tuned(tuning("a", 2), Some("nothing was stored"))));
    // Something was, and it was not given to the worker.
    let reason = stage.core.snapshot().tuning.unwrap().reason;
    assert_eq!(reason.as_deref(), Some("the owner asked for it"));
    stage.assert_logged(LogLevel::Info, "because the owner asked for it");
    assert_eq!(again(&mut stage), [vec![2]]);
    stage.feed(hears(2, hello()));
    stage.feed(hears(2, tuned(tuning("a", 3), Some("the driver changed"))));
    assert_eq!(stage.core.snapshot().tuning.unwrap().reason.as_deref(), Some("the driver changed"));
}

#[test]
fn what_cannot_be_kept_or_comes_late_or_twice_is_left_alone() {
    let (mut stage, _) = begun(Vec::new(), false);
    let long = Tuning { choice: vec![0; Tuning::MAX_CHOICE + 1], ..tuning("a", 1) };
    stage.check(hears(1, tuned(long, Some("because"))), NOTHING);
    assert_eq!(stage.core.snapshot().tuning, None);
    stage.feed(hears(1, tuned(tuning("a", 1), Some("bell \u{7}"))));
    assert_eq!(stage.core.snapshot().tuning.unwrap().reason.as_deref(), Some("bell "));
    stage.check(hears(1, tuned(tuning("a", 2), Some("again"))), NOTHING);
    stage.feed(hears(1, FromWorker::Ready(facts())));
    stage.check(hears(1, tuned(tuning("b", 3), Some("late"))), NOTHING);
    stage.check(hears(1, FromWorker::Trying { trial: Trial::Testing, number: 1, of: 1 }), NOTHING);
    assert_eq!(stage.core.snapshot().trying, None);
}

#[test]
fn a_card_that_computes_something_else_is_not_tried_three_times() {
    check_given_up_at_once(DeviceTrouble::Wrong);
}

#[test]
fn a_model_that_does_not_fit_on_the_card_is_not_tried_three_times() {
    check_given_up_at_once(DeviceTrouble::NoRoom);
}

/// The processor takes over after the first time, without a pause, and the reason is told before that.
#[track_caller]
fn check_given_up_at_once(kind: DeviceTrouble) {
    let mut settings = settings(1, 1);
    settings.configuration.backend = BackendKind::Auto;
    let mut stage = Stage::with(settings, Remembered::default(), 0);
    stage.feed(Input::Tick);
    stage.feed(started(1));
    stage.feed(hears(1, hello()));
    let failure = Failure::Device { kind, text: "in its own words".to_owned() };
    stage.check(hears(1, FromWorker::Failed(failure)), [kill(1)]);
    assert_eq!(stage.core.snapshot().fallback.as_deref(), Some("in its own words"));
    let errors = stage.log.iter().filter(|(level, _)| *level == LogLevel::Error).map(|(_, line)| line.as_str());
    let expected =
        ["the graphics card is not used: in its own words", "the processor takes over until this is started anew"];
    assert_eq!(errors.collect::<Vec<_>>(), expected);
    stage.check(exited(1), [start(2)]);
    let told = stage.feed(started(2));
    let on_processor =
        |effect: &Effect| matches!(effect, Effect::Send(ToWorker::Configure(it)) if it.backend == BackendKind::Cpu);
    assert!(told.iter().any(on_processor));
}

#[test]
fn a_trial_that_is_not_at_its_end_says_what_is_left() {
    let (mut stage, _) = begun(Vec::new(), false);
    stage.feed(hears(1, tuned(Tuning { of: 6, ..tuning("a", 1) }, Some("because"))));
    stage.assert_logged(LogLevel::Info, "is the best of 3, 1 failed, 2 of 6 were not reached in time; because because");
}
