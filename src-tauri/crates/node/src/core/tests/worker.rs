use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn a_worker_is_started_greeted_configured_and_opens_its_lane() {
    let mut stage = Stage::new();
    assert_eq!(stage.state(), WorkerState::Gone);
    stage.check(Input::Tick, [start(1)]);
    assert_eq!(stage.state(), WorkerState::Starting);
    let at = Duration::from_millis(40);
    let configuration = Configuration { unix_ms: unix_ms(at), ..settings(1, 1).configuration };
    stage.later(at).check(
        started(1),
        [say(ToWorker::Hello { build: BUILD.to_owned() }), say(ToWorker::Configure(Box::new(configuration)))],
    );
    stage.check(hears(1, hello()), NOTHING);
    assert_eq!(stage.state(), WorkerState::Starting, "a greeting is no model");
    stage.check(hears(1, FromWorker::Ready(facts())), [dial(0, 1)]);
    assert_eq!(stage.state(), WorkerState::Serving { enabled: true });
    assert_eq!(stage.core.snapshot().model, Some(facts()));
    stage.check(connected(0), [open(0, None, at)]);
    assert!(!stage.core.snapshot().proxies[0].ready);
    let ready = FromWorker::LaneReady { lane: LANE, proxy: report(1) };
    stage.check(hears(1, ready), [write_proxy(0, pinned(1, at))]);
    let shown = stage.core.snapshot().proxies;
    assert_eq!((shown[0].ready, shown[0].worker_contract), (true, Some(report(1).worker_contract)));
    stage.check(recorded(0), NOTHING);
    assert_eq!(stage.core.next_deadline(), None, "nothing is left to wait for");
}

#[test]
fn a_card_that_is_passed_over_is_told_once_in_one_line() {
    let mut stage = starting();
    let why = format!("the graphics card cannot be trusted:\nit adds wrongly{}", "!".repeat(1_000));
    stage.feed(hears(1, FromWorker::Ready(ModelFacts { passed_over: Some(why), ..facts() })));
    stage.assert_logged(LogLevel::Warn, "not used through CUDA: the graphics card cannot be trusted:it adds wrongly");
    assert_eq!(stage.log.iter().filter(|(_, message)| message.contains("CUDA")).count(), 1);
    let shown = stage.core.snapshot().model.and_then(|model| model.passed_over).unwrap();
    assert_eq!(shown.chars().count(), 500);
    // Nothing is said where nothing was passed over.
    let mut stage = starting();
    stage.feed(hears(1, FromWorker::Ready(facts())));
    assert!(!stage.log.iter().any(|(_, message)| message.contains("CUDA")));
}

#[test]
fn a_worker_of_another_build_is_refused_and_not_tried_again() {
    let mut stage = Stage::new();
    stage.check(Input::Tick, [start(1)]);
    stage.feed(started(1));
    stage.check(hears(1, FromWorker::Hello { build: "9.9.9+other".to_owned() }), [kill(1)]);
    assert_eq!(stage.state(), WorkerState::Ending, "it is not gone yet");
    check_given_up(stage, "9.9.9+other");
}

#[test]
fn a_worker_that_says_it_cannot_serve_is_not_tried_again() {
    let build = Failure::Build { worker: "9.9.9+other".to_owned(), app: BUILD.to_owned() };
    for (failure, why) in [
        (Failure::Model("no tokenizer in it".to_owned()), "no tokenizer in it"),
        (Failure::Configuration("the coefficient is negative".to_owned()), "the coefficient is negative"),
        (build, "9.9.9+other"),
    ] {
        let mut stage = starting();
        stage.check(hears(1, FromWorker::Failed(failure)), [kill(1)]);
        check_given_up(stage, why);
    }
}

#[test]
fn a_start_that_takes_longer_than_a_second_says_why() {
    let mut stage = starting();
    stage.later(Duration::from_millis(6_400)).feed(hears(1, FromWorker::Ready(facts())));
    stage.assert_logged(LogLevel::Info, "read the model in 6.4 s: at each start the file is read and checked");
    stage.assert_logged(LogLevel::Info, "5.0 GB");
    let mut stage = starting();
    stage.later(Duration::from_millis(400)).feed(hears(1, FromWorker::Ready(facts())));
    stage.assert_logged(LogLevel::Info, "read the model in 0.4 s");
    assert!(!stage.log.iter().any(|(_, message)| message.contains("first byte")), "{:?}", stage.log);
}

#[test]
fn a_worker_that_read_another_model_than_was_checked_is_given_up() {
    let mut stage = starting();
    let other = ModelFacts { sha256: [0xab; 32], ..facts() };
    stage.check(hears(1, FromWorker::Ready(other)), [kill(1)]);
    assert_eq!(stage.core.snapshot().model, None);
    check_given_up(stage, "changed");
}

#[test]
fn a_worker_that_does_not_greet_in_time_is_killed_and_another_one_started() {
    let mut stage = Stage::new();
    stage.check(Input::Tick, [start(1)]);
    stage.feed(started(1));
    stage.later(just_before(30 * SECOND)).check(Input::Tick, NOTHING);
    assert_eq!(stage.core.next_deadline(), Some(30 * SECOND));
    stage.later(MOMENT).check(Input::Tick, [kill(1)]);
    stage.assert_logged(LogLevel::Error, "too long");
    stage.check(exited(1), NOTHING);
    assert_eq!(stage.wait(RESTART_FIRST), [start(2)]);
}

#[test]
fn a_worker_that_does_not_load_its_model_in_time_is_killed_and_another_one_started() {
    let mut stage = Stage::new();
    stage.check(Input::Tick, [start(1)]);
    stage.feed(started(1));
    stage.later(29 * SECOND).check(hears(1, hello()), NOTHING);
    stage.later(just_before(30 * MINUTE)).check(Input::Tick, NOTHING);
    stage.later(MOMENT).check(Input::Tick, [kill(1)]);
    // It was just too late.
    stage.check(hears(1, FromWorker::Ready(facts())), NOTHING);
    assert_eq!(stage.state(), WorkerState::Ending);
    stage.check(exited(1), NOTHING);
    assert_eq!(stage.wait(RESTART_FIRST), [start(2)]);
}

#[test]
fn a_worker_that_breaks_the_rules_of_the_pipe_is_killed_and_another_one_started() {
    let early = || {
        let mut stage = Stage::new();
        stage.check(Input::Tick, [start(1)]);
        stage.feed(started(1));
        stage
    };
    let cases = vec![
        (early(), hears(1, FromWorker::Ready(facts())), "greet"),
        (early(), hears(1, FromWorker::Enabled(true)), "greet"),
        (early(), garbled(1), "a frame of no kind"),
        (starting(), hears(1, hello()), "greet"),
        (starting(), garbled(1), "a frame of no kind"),
        (Stage::ready(), hears(1, hello()), "greet"),
        (Stage::ready(), hears(1, FromWorker::Ready(facts())), "twice"),
        (Stage::ready(), garbled(1), "a frame of no kind"),
    ];
    for (mut stage, input, why) in cases {
        stage.check(input, [kill(1)]);
        stage.assert_logged(LogLevel::Error, why);
        assert_eq!(stage.state(), WorkerState::Ending);
        stage.check(garbled(1), NOTHING);
        stage.feed(exited(1));
        assert_eq!(stage.wait(RESTART_FIRST), [start(2)], "after {why}");
    }
}

#[test]
fn a_worker_that_crashes_is_started_again_after_a_doubling_pause() {
    let mut stage = Stage::new();
    stage.check(Input::Tick, [start(1)]);
    for (generation, seconds) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (6, 10)] {
        stage.feed(started(generation));
        stage.feed(hears(generation, hello()));
        stage.check(exited(generation), NOTHING);
        let pause = seconds * SECOND;
        assert_eq!(stage.state(), WorkerState::Waiting { until: stage.now + pause });
        stage.later(just_before(pause)).check(Input::Tick, NOTHING);
        stage.later(MOMENT).check(Input::Tick, [start(generation + 1)]);
    }
    stage.assert_logged(LogLevel::Warn, "signal 9");
    assert_eq!(stage.core.snapshot().worker_starts, 7);
}

#[test]
fn a_program_that_once_worked_and_does_not_start_is_tried_again_after_the_same_pauses() {
    let mut stage = starting();
    stage.check(exited(1), NOTHING);
    assert_eq!(stage.wait(SECOND), [start(2)]);
    for (generation, seconds) in [(2, 2), (3, 4), (4, 8), (5, 10)] {
        stage.check(not_started(generation), NOTHING);
        stage.check(not_started(generation), NOTHING);
        assert_eq!(stage.wait(just_before(seconds * SECOND)), NOTHING);
        assert_eq!(stage.wait(MOMENT), [start(generation + 1)]);
    }
    stage.assert_logged(LogLevel::Error, "no such file");
}

/// What becomes of a start.
type Fails<'a> = dyn Fn(&mut Stage, u64) -> Vec<Effect> + 'a;

#[test]
fn a_program_that_never_greets_is_given_up_after_three_starts_and_the_owner_told_what_helps() {
    let never_started = |stage: &mut Stage, generation| stage.feed(not_started(generation));
    // What runs in the worker's place and ends, as any other program does.
    let another = |stage: &mut Stage, generation| {
        stage.feed(started(generation));
        stage.feed(exited(generation))
    };
    // One that says nothing.
    let silent = |stage: &mut Stage, generation| {
        stage.feed(started(generation));
        assert_eq!(stage.wait(30 * SECOND), [kill(generation)]);
        stage.feed(exited(generation))
    };
    // One that says something else.
    let babbling = |stage: &mut Stage, generation| {
        stage.feed(started(generation));
        assert_eq!(stage.feed(garbled(generation)), [kill(generation)]);
        stage.feed(exited(generation))
    };
    let cases: [(&str, &Fails<'_>); 4] = [
        ("no such file", &never_started),
        ("signal 9", &another),
        ("does not answer as chrysalis-worker does", &silent),
        ("does not answer as chrysalis-worker does", &babbling),
    ];
    for (why, fails) in cases {
        let mut settings = settings(1, 1);
        settings.configuration.backend = BackendKind::Auto;
        let mut stage = Stage::with(settings, Remembered::default(), 0);
        stage.check(Input::Tick, [start(1)]);
        for generation in 1..=3 {
            assert!(!stage.core.snapshot().worker_greeted);
            fails(&mut stage, generation);
            if generation < 3 {
                assert!(matches!(stage.state(), WorkerState::Waiting { .. }), "{:?}", stage.state());
                assert_eq!(stage.wait(RESTART_MOST), [start(generation + 1)]);
            }
        }
        let WorkerState::Failed(text) = stage.state() else { panic!("{:?}", stage.state()) };
        assert!(text.contains(why) && text.contains("Install Chrysalis anew"), "{text}");
        stage.assert_logged(LogLevel::Error, "started 3 times in vain");
        // No card was opened, so none is to blame.
        assert_eq!(stage.core.snapshot().fallback, None);
        assert_eq!(stage.wait(1_000 * MINUTE), NOTHING);
        assert!(stage.core.is_at_rest());
    }
}

#[test]
fn the_owners_wish_for_the_card_is_no_fault_of_the_program() {
    let mut stage = Stage::new();
    stage.check(Input::Tick, [start(1)]);
    for generation in 1..=5 {
        stage.feed(started(generation));
        stage.check(wants(Target::Yield), [kill(generation)]);
        stage.feed(exited(generation));
        assert_eq!(stage.state(), WorkerState::Gone);
        stage.check(wants(Target::Serve), [start(generation + 1)]);
    }
}

#[test]
fn only_a_worker_that_served_for_a_minute_makes_the_next_pause_short_again() {
    for (served, pause) in [(just_before(MINUTE), 4 * SECOND), (MINUTE, SECOND)] {
        let mut stage = Stage::new();
        stage.check(Input::Tick, [start(1)]);
        stage.check(exited(1), NOTHING);
        stage.wait(SECOND);
        stage.check(exited(2), NOTHING);
        stage.wait(2 * SECOND);
        // Reading the model for long is no service.
        stage.feed(started(3));
        stage.feed(hears(3, hello()));
        stage.later(10 * MINUTE).feed(hears(3, FromWorker::Ready(facts())));
        stage.later(served).feed(exited(3));
        assert_eq!(stage.state(), WorkerState::Waiting { until: stage.now + pause });
    }
}

#[test]
fn what_an_old_worker_left_behind_is_ignored() {
    let mut stage = Stage::ready();
    stage.feed(exited(1));
    assert_eq!(stage.wait(RESTART_FIRST), [start(2)]);
    stage.serve(2);
    stage.feed(connected(1));
    stage.feed(hears(2, FromWorker::LaneReady { lane: LaneId(1), proxy: report(1) }));
    stage.feed(recorded(1));
    let before = stage.core.snapshot();
    for input in [
        started(1),
        not_started(1),
        garbled(1),
        exited(1),
        exited(0),
        started(3),
        exited(3),
        hears(1, hello()),
        hears(1, FromWorker::Ready(facts())),
        hears(1, FromWorker::Failed(Failure::Model("it is old".to_owned()))),
        hears(1, FromWorker::Enabled(false)),
        hears(1, FromWorker::Yielded),
        hears(1, FromWorker::LaneEnded { lane: LaneId(1), why: LaneEnd::Silent }),
        hears(1, began(LaneId(1), 1, 1)),
        hears(1, done(1, job(1))),
        hears(1, payment(1, signed(1, 100))),
        hears(3, FromWorker::Yielded),
    ] {
        stage.check(input, NOTHING);
    }
    assert_eq!(stage.core.snapshot(), before);
}

#[test]
fn what_a_worker_says_after_its_end_is_ignored() {
    let mut stage = Stage::ready();
    stage.feed(exited(1));
    let before = stage.core.snapshot();
    for input in [
        started(1),
        exited(1),
        garbled(1),
        hears(1, done(0, job(1))),
        hears(1, payment(0, signed(1, 5))),
        hears(1, FromWorker::Ready(facts())),
        hears(1, FromWorker::Failed(Failure::Model("too late".to_owned()))),
    ] {
        stage.check(input, NOTHING);
    }
    assert_eq!(stage.core.snapshot(), before);
}

#[test]
fn a_worker_killed_before_it_ran_is_killed_again_once_it_runs() {
    let mut stage = Stage::new();
    stage.check(Input::Tick, [start(1)]);
    stage.check(wants(Target::Yield), [kill(1)]);
    stage.check(started(1), [kill(1)]);
    stage.check(exited(1), NOTHING);
    assert_eq!(stage.state(), WorkerState::Gone);
}

#[test]
fn how_it_ended_unasked_and_when_it_is_started_again_is_shown() {
    let mut stage = Stage::ready();
    let shown = |stage: &Stage| (stage.core.snapshot().last_end, stage.core.snapshot().restart_unix_ms);
    assert_eq!(shown(&stage), (None, None));
    stage.later(MINUTE).feed(exited(1));
    let end = Some("signal 9".to_owned());
    assert_eq!(shown(&stage), (end.clone(), Some(unix_ms(MINUTE + RESTART_FIRST))));
    stage.wait(RESTART_FIRST);
    assert_eq!(shown(&stage), (end, None), "it was started again");
    // That it ends when it is asked to is no news.
    let mut stage = Stage::ready();
    stage.feed(wants(Target::Yield));
    stage.feed(exited(1));
    assert_eq!(shown(&stage), (None, None));
}

#[test]
fn the_process_id_is_shown_while_there_is_a_process() {
    let mut stage = Stage::new();
    stage.check(Input::Tick, [start(1)]);
    assert_eq!(stage.core.snapshot().worker_pid, None, "it was only asked for");
    stage.feed(started(1));
    assert_eq!(stage.core.snapshot().worker_pid, Some(1_001));
    stage.feed(garbled(1));
    assert_eq!(stage.core.snapshot().worker_pid, Some(1_001), "a killed one is not gone yet");
    stage.feed(exited(1));
    assert_eq!(stage.core.snapshot().worker_pid, None);
}

#[test]
fn lines_of_the_worker_are_cut_and_cleaned_before_they_are_logged() {
    let mut stage = starting();
    let message = format!("one\n\x1b[31mtwo{}", "x".repeat(5_000));
    stage.check(hears(1, FromWorker::Log { level: LogLevel::Warn, message }), NOTHING);
    stage.assert_logged(LogLevel::Warn, "worker: one[31mtwoxxx");
    let (_, line) = stage.log.last().unwrap();
    assert_eq!(line.chars().count(), "worker: ".len() + 500);
    assert!(!line.chars().any(char::is_control));
}

/// The first worker has greeted and reads its model.
fn starting() -> Stage {
    let mut stage = Stage::new();
    stage.check(Input::Tick, [start(1)]);
    stage.feed(started(1));
    stage.feed(hears(1, hello()));
    stage
}

/// The first worker was killed for good: it is shown as failed once it is gone, and stays so.
#[track_caller]
fn check_given_up(mut stage: Stage, why: &str) {
    stage.assert_logged(LogLevel::Error, why);
    assert_eq!(stage.state(), WorkerState::Ending);
    stage.check(exited(1), NOTHING);
    let WorkerState::Failed(text) = stage.state() else { panic!("{:?}", stage.state()) };
    assert!(text.contains(why), "{text}");
    assert_eq!(stage.core.next_deadline(), None);
    assert_eq!(stage.wait(1_000 * MINUTE), NOTHING);
    assert!(stage.core.is_at_rest());
}

#[test]
fn a_driver_that_crashes_or_hangs_counts_as_a_failure_of_the_card() {
    for (backend, falls_back) in [(BackendKind::Auto, true), (BackendKind::Cpu, false)] {
        let mut settings = settings(1, 1);
        settings.configuration.backend = backend;
        let mut stage = Stage::with(settings, Remembered::default(), 0);
        stage.feed(Input::Tick);
        // One that crashes, one that never says that it is ready, and again one that crashes.
        for generation in 1..=3 {
            stage.feed(started(generation));
            stage.feed(hears(generation, hello()));
            if generation == 2 {
                assert!(stage.wait(Duration::from_hours(1)).contains(&kill(2)));
            }
            assert_eq!(stage.core.snapshot().fallback, None);
            stage.feed(exited(generation));
            stage.wait(RESTART_MOST);
        }
        let fallback = stage.core.snapshot().fallback;
        assert_eq!(fallback.as_deref(), falls_back.then_some("signal 9"), "{fallback:?}");
    }
}

#[test]
fn after_three_failures_of_the_card_in_a_row_the_processor_takes_over() {
    let mut settings = settings(1, 1);
    settings.configuration.backend = BackendKind::Auto;
    let mut stage = Stage::with(settings, Remembered::default(), 0);
    stage.feed(Input::Tick);
    for generation in 1..=4 {
        let told = stage.feed(started(generation));
        let backend = told.iter().find_map(|effect| match effect {
            Effect::Send(ToWorker::Configure(configuration)) => Some(configuration.backend.clone()),
            _ => None,
        });
        assert_eq!(
            backend,
            Some(if generation < 4 { BackendKind::Auto } else { BackendKind::Cpu }),
            "start {generation}"
        );
        stage.feed(hears(generation, hello()));
        if generation < 4 {
            let failure = Failure::Device { kind: DeviceTrouble::Lost, text: "the card is gone".to_owned() };
            stage.check(hears(generation, FromWorker::Failed(failure)), [kill(generation)]);
            stage.feed(exited(generation));
            assert!(matches!(stage.state(), WorkerState::Waiting { .. }));
            stage.wait(RESTART_MOST);
        }
    }
    assert_eq!(stage.core.snapshot().fallback.as_deref(), Some("the card is gone"));
}

#[test]
fn a_card_that_is_not_there_is_no_reason_to_try_again() {
    let mut stage = Stage::new();
    stage.feed(Input::Tick);
    stage.feed(started(1));
    stage.feed(hears(1, hello()));
    let text = "there is no such card; use --backend cpu".to_owned();
    stage.check(
        hears(1, FromWorker::Failed(Failure::Device { kind: DeviceTrouble::NoAdapter, text: text.clone() })),
        [kill(1)],
    );
    stage.feed(exited(1));
    assert_eq!(stage.state(), WorkerState::Failed(text));
}
