use std::collections::BTreeSet;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn nobody_is_dialled_before_the_worker_serves() {
    let mut stage = Stage::new();
    stage.check(Input::Tick, [start(1)]);
    stage.feed(started(1));
    stage.feed(hears(1, hello()));
    assert_eq!(stage.wait(10 * MINUTE), NOTHING);
    stage.check(hears(1, FromWorker::Ready(facts())), [dial(0, 1)]);
}

#[test]
fn one_proxy_is_drawn_each_second_until_there_are_enough() {
    let mut drawn = BTreeSet::new();
    for seed in 0..20 {
        let mut stage = Stage::with(settings(4, 2), Remembered::default(), seed);
        stage.feed(Input::Tick);
        stage.feed(started(1));
        stage.feed(hears(1, hello()));
        let first = dialled(&stage.feed(hears(1, FromWorker::Ready(facts()))));
        assert_eq!(first.len(), 1, "the first one at once");
        let mut all = first;
        for second in 1..60 {
            let before = stage.wait(just_before(SECOND));
            assert_eq!(before, NOTHING, "no draw between seconds");
            let more = dialled(&stage.wait(MOMENT));
            assert!(more.len() <= 1, "one draw at second {second}: {more:?}");
            all.extend(more);
        }
        assert_eq!(all.iter().map(|(lane, _)| *lane).collect::<Vec<_>>(), [0, 1]);
        assert_ne!(all[0].1, all[1].1, "nobody is dialled twice");
        assert_eq!(stage.core.snapshot().proxies.len(), 2);
        drawn.extend(all.iter().map(|(_, endpoint)| *endpoint));
    }
    assert_eq!(drawn, (1..=4).map(endpoint).collect(), "each gets its turn");
}

#[test]
fn a_network_of_few_proxies_is_no_reason_to_draw_for_ever() {
    for registered in [0, 1, 2] {
        let mut stage = Stage::serving(settings(registered, 8), Remembered::default());
        stage.wait(MINUTE);
        assert_eq!(stage.core.snapshot().proxies.len(), usize::from(registered));
        for lane in 0..u32::from(registered) {
            stage.feed(connected(lane));
            let number = number_at(&stage, lane);
            stage.feed(hears(1, FromWorker::LaneReady { lane: LaneId(lane), proxy: report(number) }));
            stage.feed(recorded(u64::from(lane)));
        }
        assert_eq!(stage.core.next_deadline(), None);
    }
}

#[test]
fn a_proxy_that_cannot_be_reached_is_dialled_again_after_a_pause() {
    let mut stage = Stage::serving(settings(1, 1), Remembered::default());
    for lane in 0..3 {
        stage.check(unreachable(lane), NOTHING);
        stage.assert_logged(LogLevel::Warn, "connection refused");
        assert_eq!(stage.wait(just_before(REDIAL)), NOTHING);
        assert_eq!(stage.wait(MOMENT), [dial(lane + 1, 1)]);
    }
}

#[test]
fn a_proxy_that_hangs_up_is_told_to_the_worker_and_dialled_again_after_a_pause() {
    let mut stage = Stage::ready();
    stage.check(hung_up(0), [tell_closed(0)]);
    stage.check(hung_up(0), NOTHING);
    assert!(!stage.core.snapshot().proxies[0].ready);
    assert_eq!(stage.wait(just_before(REDIAL)), NOTHING);
    assert_eq!(stage.wait(MOMENT), [dial(1, 1)]);
    stage.check(connected(1), [open(1, Some(public_key(1)), stage.now)]);
    let at = stage.now;
    let again = FromWorker::LaneReady { lane: LaneId(1), proxy: report(1) };
    stage.check(hears(1, again), [write_proxy(1, pinned(1, at))]);
    assert!(stage.core.snapshot().proxies[0].ready);
}

#[test]
fn a_lane_that_the_worker_gives_up_is_hung_up_and_dialled_again_after_a_pause() {
    for (why, text) in [
        (LaneEnd::ProofOfWorkTooHard { asked: 40 }, "40 bits"),
        (LaneEnd::Untrusted("no evidence\n".to_owned()), "no evidence;"),
        (LaneEnd::Protocol("version 9".to_owned()), "version 9"),
        (LaneEnd::Silent, "silent"),
    ] {
        let mut stage = Stage::serving(settings(1, 1), Remembered::default());
        stage.check(connected(0), [open(0, None, stage.now)]);
        let end = FromWorker::LaneEnded { lane: LANE, why };
        stage.check(hears(1, end.clone()), [close(0)]);
        stage.assert_logged(LogLevel::Warn, text);
        stage.check(hears(1, end), NOTHING);
        assert_eq!(stage.wait(REDIAL), [dial(1, 1)]);
    }
}

#[test]
fn a_proxy_that_is_not_ready_for_five_minutes_is_given_up_and_another_may_be_drawn() {
    // Dialled without an answer; connected, but never through with its greeting.
    for (greets, goodbye) in [(false, vec![close(0)]), (true, vec![close(0), tell_closed(0)])] {
        let mut stage = Stage::serving(settings(1, 1), Remembered::default());
        if greets {
            stage.later(SECOND).feed(connected(0));
            stage.later(just_before(4 * MINUTE + 59 * SECOND)).check(Input::Tick, NOTHING);
        } else {
            stage.later(just_before(5 * MINUTE)).check(Input::Tick, NOTHING);
        }
        // Only one is registered, so it is drawn again.
        let expected: Vec<Effect> = goodbye.into_iter().chain([dial(1, 1)]).collect();
        stage.later(MOMENT).check(Input::Tick, expected);
        stage.assert_logged(LogLevel::Warn, "given up");
    }
}

#[test]
fn a_proxy_that_only_ever_refuses_makes_room_for_another() {
    for seed in 0..10 {
        let mut stage = Stage::with(settings(2, 1), Remembered::default(), seed);
        stage.feed(Input::Tick);
        stage.serve(1);
        let bad = stage.core.snapshot().proxies[0].endpoint;
        let mut lane = 0;
        let mut minutes = 0;
        // Whenever the bad one is dialled it refuses.
        while stage.core.snapshot().proxies.first().is_some_and(|shown| shown.endpoint == bad) {
            stage.feed(unreachable(lane));
            lane += u32::try_from(dialled(&stage.wait(10 * SECOND)).len()).unwrap();
            minutes += 1;
            assert!(minutes < 1_000, "it keeps its place for ever");
        }
        assert!(stage.now >= 5 * MINUTE, "it had its five minutes");
    }
}

#[test]
fn a_ready_proxy_keeps_its_place_however_quiet_it_is() {
    let mut stage = Stage::ready();
    assert_eq!(stage.wait(1_000 * MINUTE), NOTHING);
    assert!(stage.core.snapshot().proxies[0].ready);
    // Its five minutes begin when it is lost.
    stage.check(hung_up(0), [tell_closed(0)]);
    assert_eq!(stage.wait(REDIAL), [dial(1, 1)]);
    assert_eq!(stage.wait(just_before(4 * MINUTE + 50 * SECOND)), NOTHING);
    assert_eq!(stage.wait(MOMENT), [close(1), dial(2, 1)]);
}

#[test]
fn a_lost_worker_closes_every_lane_and_the_next_one_dials_them_at_once() {
    let mut stage = Stage::serving(settings(3, 3), Remembered::default());
    stage.wait(MINUTE);
    // One ready, one greeting, one dialling.
    stage.feed(connected(0));
    let number = number_at(&stage, 0);
    stage.feed(hears(1, FromWorker::LaneReady { lane: LANE, proxy: report(number) }));
    stage.feed(recorded(0));
    stage.feed(connected(1));
    stage.check(exited(1), [close(0), close(1), close(2)]);
    assert!(stage.core.snapshot().proxies.iter().all(|shown| !shown.ready));
    // A connection that comes now is for nobody.
    stage.check(connected(2), [close(2)]);
    stage.wait(RESTART_FIRST);
    stage.feed(started(2));
    stage.feed(hears(2, hello()));
    let dials = dialled(&stage.feed(hears(2, FromWorker::Ready(facts()))));
    assert_eq!(dials.iter().map(|(lane, _)| *lane).collect::<Vec<_>>(), [3, 4, 5], "names are not used again");
}

#[test]
fn a_pause_before_a_redial_outlives_the_worker() {
    let mut stage = Stage::serving(settings(1, 1), Remembered::default());
    stage.check(unreachable(0), NOTHING);
    stage.check(exited(1), NOTHING);
    assert_eq!(stage.wait(RESTART_FIRST), [start(2)]);
    stage.serve(2);
    assert_eq!(stage.wait(just_before(9 * SECOND)), NOTHING);
    assert_eq!(stage.wait(MOMENT), [dial(1, 1)]);
}

#[test]
fn the_time_without_a_worker_is_no_fault_of_the_proxies() {
    for seed in 0..10 {
        let mut stage = Stage::with(settings(9, 1), Remembered::default(), seed);
        stage.feed(Input::Tick);
        stage.serve(1);
        let before = stage.core.snapshot().proxies;
        stage.feed(wants(Target::Yield));
        stage.feed(hears(1, FromWorker::Yielded));
        stage.feed(exited(1));
        // A long game.
        stage.wait(180 * MINUTE);
        stage.check(wants(Target::Serve), [start(2)]);
        stage.feed(started(2));
        stage.feed(hears(2, hello()));
        let dials = dialled(&stage.later(MINUTE).feed(hears(2, FromWorker::Ready(facts()))));
        assert_eq!(dials, [(1, before[0].endpoint)]);
        assert_eq!(stage.core.snapshot().proxies, before);
    }
}

#[test]
fn a_connection_that_was_called_off_is_closed() {
    let mut stage = Stage::serving(settings(1, 1), Remembered::default());
    stage.check(unreachable(0), NOTHING);
    stage.check(connected(0), [close(0)]);
    stage.check(connected(99), [close(99)]);
}

#[test]
fn the_worker_is_told_the_key_that_an_earlier_run_wrote_down() {
    let elsewhere = Address { workchain: -1, hash: [0x79; 32] };
    for (pin, told) in [
        (known_key(1), Some(public_key(1))),
        (PinnedKey { root: elsewhere, ..known_key(1) }, None),
        (known_key(2), None),
    ] {
        let remembered = Remembered { proxies: vec![pin], ..Remembered::default() };
        let mut stage = Stage::serving(settings(1, 1), remembered);
        stage.check(connected(0), [open(0, told, stage.now)]);
    }
}

#[test]
fn a_proxy_whose_key_changed_is_refused() {
    // In an earlier run.
    let pin = PinnedKey { key: public_key(9), ..known_key(1) };
    let remembered = Remembered { proxies: vec![pin], ..Remembered::default() };
    check_refused(Stage::serving(settings(1, 1), remembered), report(1), "not the one it had before");
    // In this one.
    let mut stage = Stage::ready();
    stage.feed(hung_up(0));
    stage.wait(REDIAL);
    stage.check(connected(1), [open(1, Some(public_key(1)), stage.now)]);
    let changed = report_of(public_key(9), report(1).owner);
    let ready = FromWorker::LaneReady { lane: LaneId(1), proxy: changed };
    stage.check(hears(1, ready), [close(1), tell_closed(1)]);
    stage.assert_logged(LogLevel::Error, "not the one it had before");
    // With its old key it is welcome again.
    assert_eq!(stage.wait(REDIAL), [dial(2, 1)]);
    stage.feed(connected(2));
    let ready = FromWorker::LaneReady { lane: LaneId(2), proxy: report(1) };
    let at = stage.now;
    // What was written down between is that it was refused.
    stage.check(hears(1, ready), [write_proxy(2, pinned(1, at))]);
    let noted = stage.refused.pop().unwrap();
    assert_eq!((noted.endpoint, noted.by), (endpoint(1), RefusedBy::ThisPc));
    assert!(noted.reason.contains("not the one it had before"), "{}", noted.reason);
}

#[test]
fn a_worker_that_reports_the_key_of_another_proxy_is_not_believed() {
    // Two are registered, the second one is known, and the first one is drawn.
    let mut stages = (0..100).map(|seed| {
        let remembered = Remembered { proxies: vec![known_key(2)], ..Remembered::default() };
        let mut stage = Stage::with(settings(2, 1), remembered, seed);
        stage.feed(Input::Tick);
        stage.serve(1);
        stage
    });
    let first = |stage: &Stage| stage.core.snapshot().proxies[0].endpoint == endpoint(1);
    check_refused(stages.find(first).unwrap(), report(2), "10.0.0.2:11001");
}

#[test]
fn a_proxy_may_move_to_another_place_once_its_old_one_is_not_registered() {
    let moved = PinnedKey { endpoint: endpoint(9), ..known_key(1) };
    let mut stage = Stage::ready_with(Remembered { proxies: vec![moved], ..Remembered::default() });
    assert!(stage.core.snapshot().proxies[0].ready);
    stage.check(hears(1, payment(0, signed(1, 5))), [write_payment(1, 5, Duration::ZERO)]);
}

#[test]
fn a_worker_that_reports_other_contracts_than_follow_is_not_believed() {
    let other = report(2);
    for (lie, why) in [
        (ProxyReport { public_key: other.public_key, ..report(1) }, "its contract does not follow"),
        (ProxyReport { owner: other.owner, ..report(1) }, "its contract does not follow"),
        (ProxyReport { proxy_contract: other.proxy_contract, ..report(1) }, "its contract does not follow"),
        (ProxyReport { worker_contract: other.worker_contract, ..report(1) }, "our contract there does not follow"),
        (
            ProxyReport { proxy_contract: other.proxy_contract, worker_contract: other.worker_contract, ..report(1) },
            "its contract does not follow",
        ),
    ] {
        check_refused(Stage::serving(settings(1, 1), Remembered::default()), lie, why);
    }
}

#[test]
fn a_report_about_a_lane_that_is_not_greeting_changes_nothing() {
    // Not yet connected.
    let mut stage = Stage::serving(settings(1, 1), Remembered::default());
    let before = stage.core.snapshot();
    for lane in [0, 1, u32::MAX] {
        let ready = FromWorker::LaneReady { lane: LaneId(lane), proxy: report(1) };
        stage.check(hears(1, ready), NOTHING);
    }
    assert_eq!(stage.core.snapshot(), before);
    // Ready before, and now said to be somebody else.
    let mut stage = Stage::ready();
    let before = stage.core.snapshot();
    stage.check(hears(1, FromWorker::LaneReady { lane: LANE, proxy: report(2) }), NOTHING);
    assert_eq!(stage.core.snapshot(), before);
    stage.check(hears(1, payment(0, signed(2, 50))), NOTHING);
    assert_eq!(stage.refused(), 1, "what the other one signed is not good here");
}

/// The first worker says this of the proxy on its first lane: nothing of it is written down or counted, and the lane is closed.
#[track_caller]
fn check_refused(mut stage: Stage, lie: ProxyReport, why: &str) {
    stage.feed(connected(0));
    let key = lie.public_key;
    let contract = lie.worker_contract;
    stage.check(hears(1, FromWorker::LaneReady { lane: LANE, proxy: lie }), [close(0), tell_closed(0)]);
    stage.assert_logged(LogLevel::Error, why);
    assert_eq!(stage.refused(), 1);
    let shown = stage.core.snapshot();
    assert_eq!((shown.proxies[0].ready, shown.proxies[0].worker_contract), (false, None));
    // Jobs and payments of that lane are nobody's.
    stage.check(hears(1, done(0, job(1))), NOTHING);
    let number = (0..=u8::MAX).find(|number| public_key(*number) == key).unwrap();
    let boc = sign(&self::key(number), PaymentKind::Worker, 500, contract);
    stage.check(hears(1, payment(0, boc)), NOTHING);
    assert_eq!(stage.refused(), 3);
    let shown = stage.core.snapshot();
    assert_eq!((shown.unwritten, shown.signed_tokens, shown.totals), (0, 0, Totals::default()));
    // It is dialled again, and the key it lied with is not remembered.
    let dials = dialled(&stage.wait(REDIAL));
    assert_eq!(dials, [(1, shown.proxies[0].endpoint)]);
    let opened = stage.feed(connected(1));
    assert!(!opened.contains(&open(1, Some(key), stage.now)), "{opened:?}");
}

fn dialled(effects: &[Effect]) -> Vec<(u32, SocketAddrV4)> {
    let dial = |effect: &Effect| match effect {
        Effect::Dial { lane, endpoint } => (lane.0, *endpoint),
        other => panic!("{other:?}"),
    };
    effects.iter().map(dial).collect()
}

/// Which proxy has the place of this lane, when the lanes were dialled in order.
fn number_at(stage: &Stage, lane: u32) -> u8 {
    let endpoint = stage.core.snapshot().proxies[lane as usize].endpoint;
    (1..=u8::MAX).find(|number| super::endpoint(*number) == endpoint).unwrap()
}
