use super::*;

const NOW: Duration = Duration::ZERO;

#[test]
fn a_payment_counts_once_it_is_written_down() {
    let mut stage = Stage::ready().after_work();
    stage.check(hears(1, payment(0, signed(1, 100))), [write_payment(1, 100, NOW)]);
    check_signed(&stage, 0);
    stage.check(recorded(1), NOTHING);
    check_signed(&stage, 100);
    stage.check(hears(1, payment(0, signed(1, 832))), [write_payment(2, 832, NOW)]);
    check_signed(&stage, 100);
    stage.check(recorded(2), NOTHING);
    check_signed(&stage, 832);
    assert_eq!(stage.refused(), 0);
}

#[test]
fn payments_that_are_not_good_are_refused() {
    let ours = report(1).worker_contract;
    let other = report(2).worker_contract;
    let mut cut = signed(1, 100);
    cut.pop();
    let mut changed = signed(1, 100);
    // The last byte of the checked content, before the checksum.
    let at = changed.len() - 5;
    changed[at] ^= 1;
    for (boc, why) in [
        (Vec::new(), "not good"),
        (b"not a bag of cells".to_vec(), "not good"),
        (vec![0xb5; 10_000], "not good"),
        (cut, "not good"),
        (changed, "not good"),
        (sign(&key(2), PaymentKind::Worker, 100, ours), "signature"),
        (sign(&key(1), PaymentKind::Worker, 100, other), "another contract"),
        (signed(2, 100), "another contract"),
        (sign(&key(1), PaymentKind::Client, 100, ours), "client's"),
    ] {
        let mut stage = Stage::ready();
        stage.check(hears(1, payment(0, boc)), NOTHING);
        stage.assert_logged(LogLevel::Error, why);
        assert_eq!((stage.refused(), stage.core.snapshot().unwritten), (1, 0), "{why}");
        // One bad one does not hide the good ones.
        stage.check(hears(1, payment(0, signed(1, 7))), [write_payment(1, 7, NOW)]);
    }
}

#[test]
fn the_highest_total_is_kept_and_a_lower_one_refused() {
    let mut stage = Stage::ready().after_work();
    stage.check(hears(1, payment(0, signed(1, 0))), NOTHING);
    stage.check(hears(1, payment(0, signed(1, 100))), [write_payment(1, 100, NOW)]);
    stage.check(hears(1, payment(0, signed(1, 100))), NOTHING);
    assert_eq!(stage.refused(), 0, "the same total again says nothing new");
    for lower in [99, 0] {
        stage.check(hears(1, payment(0, signed(1, lower))), NOTHING);
    }
    stage.assert_logged(LogLevel::Warn, "the higher one is kept");
    assert_eq!(stage.refused(), 2);
    stage.check(hears(1, payment(0, signed(1, 101))), [write_payment(2, 101, NOW)]);
    // The answers may come in any order.
    stage.feed(recorded(2));
    check_signed(&stage, 101);
    stage.feed(recorded(1));
    check_signed(&stage, 101);
}

#[test]
fn what_earlier_runs_were_signed_is_not_counted_again() {
    let ours = report(1).worker_contract;
    let known = |tokens| KnownPayment { worker_contract: ours, tokens };
    let elsewhere = KnownPayment { worker_contract: report(2).worker_contract, tokens: 9_000 };
    let payments = vec![known(300), elsewhere, known(500), known(400)];
    let mut stage = Stage::ready_with(Remembered { payments, ..Remembered::default() }).after_work();
    check_signed(&stage, 0);
    stage.check(hears(1, payment(0, signed(1, 499))), NOTHING);
    assert_eq!(stage.refused(), 1, "totals do not fall between runs either");
    stage.check(hears(1, payment(0, signed(1, 500))), NOTHING);
    assert_eq!(stage.refused(), 1);
    stage.check(hears(1, payment(0, signed(1, 620))), [write_payment(1, 620, NOW)]);
    stage.feed(recorded(1));
    check_signed(&stage, 120);
}

#[test]
fn what_several_proxies_signed_adds_up() {
    let mut stage = Stage::serving(settings(2, 2), Remembered::default()).after_work();
    stage.wait(Duration::from_mins(1));
    let shown = stage.core.snapshot().proxies;
    for (lane, shown) in (0_u32..).zip(&shown) {
        let number = if shown.endpoint == endpoint(1) { 1 } else { 2 };
        stage.feed(connected(lane));
        stage.feed(hears(1, FromWorker::LaneReady { lane: LaneId(lane), proxy: report(number) }));
        stage.feed(recorded(u64::from(2 * lane)));
        stage.feed(hears(1, payment(lane, signed(number, 100 + u64::from(number)))));
        stage.feed(recorded(u64::from(2 * lane + 1)));
    }
    check_signed(&stage, 203);
    assert_eq!(stage.refused(), 0);
}

#[test]
fn a_payment_of_a_lane_that_was_never_there_is_refused() {
    let mut stage = Stage::ready();
    stage.check(hears(1, payment(1, signed(1, 100))), NOTHING);
    stage.assert_logged(LogLevel::Error, "never connected");
    assert_eq!(stage.refused(), 1);
}

#[test]
fn a_payment_that_arrives_after_its_lane_ended_counts() {
    let mut stage = Stage::ready();
    stage.feed(hung_up(0));
    stage.check(hears(1, payment(0, signed(1, 100))), [write_payment(1, 100, NOW)]);
}

#[test]
fn what_a_proxy_presents_in_its_handshake_counts_for_earlier_sessions_once_it_is_known_who_it_is() {
    let mut stage = Stage::serving(settings(1, 1), Remembered::default());
    stage.feed(connected(0));
    stage.check(hears(1, payment(0, signed(1, 90))), NOTHING);
    stage.check(hears(1, payment(0, signed(1, 100))), NOTHING);
    let ready = FromWorker::LaneReady { lane: LANE, proxy: report(1) };
    stage.check(hears(1, ready), [write_proxy(0, pinned(1, NOW)), write_payment(1, 100, NOW)]);
    assert_eq!(stage.refused(), 0);
    stage.feed(recorded(1));
    // It pays for jobs of earlier sessions, whose last payment was lost with the app that did them, and so does what follows
    // before a job was done.
    check_signed(&stage, 0);
    stage.check(hears(1, payment(0, signed(1, 120))), [write_payment(2, 120, NOW)]);
    stage.feed(recorded(2));
    check_signed(&stage, 0);
    stage.feed(hears(1, done(0, job(1))));
    stage.feed(recorded(3));
    stage.feed(hears(1, payment(0, signed(1, 120 + JOB_TOKENS as u64))));
    stage.feed(recorded(4));
    check_signed(&stage, JOB_TOKENS);
    // Another handshake with the same proxy changes nothing of that.
    stage.feed(hung_up(0));
    stage.later(Duration::from_hours(1)).feed(Input::Tick);
    stage.feed(connected(1));
    stage.feed(hears(1, payment(1, signed(1, 150 + JOB_TOKENS as u64))));
    stage.feed(hears(1, FromWorker::LaneReady { lane: LaneId(1), proxy: report(1) }));
    (5..8).for_each(|entry| drop(stage.feed(recorded(entry))));
    check_signed(&stage, 30 + JOB_TOKENS);
}

#[test]
fn what_is_presented_in_a_handshake_is_checked_all_the_same() {
    // The proxy is not who it was: what it presented goes with it.
    let mut stage = Stage::serving(settings(1, 1), Remembered::default());
    stage.feed(connected(0));
    stage.feed(hears(1, payment(0, signed(1, 100))));
    let lie = ProxyReport { worker_contract: report(2).worker_contract, ..report(1) };
    stage.check(hears(1, FromWorker::LaneReady { lane: LANE, proxy: lie }), [close(0), tell_closed(0)]);
    assert_eq!(stage.core.snapshot().unwritten, 0);
    // The proxy is who it was, but the payment is another's.
    let mut stage = Stage::serving(settings(1, 1), Remembered::default());
    stage.feed(connected(0));
    stage.feed(hears(1, payment(0, signed(2, 100))));
    let ready = FromWorker::LaneReady { lane: LANE, proxy: report(1) };
    stage.check(hears(1, ready), [write_proxy(0, pinned(1, NOW))]);
    assert_eq!(stage.refused(), 1);
}

#[track_caller]
fn check_signed(stage: &Stage, tokens: i64) {
    let shown = stage.core.snapshot();
    assert_eq!(shown.signed_tokens, tokens);
    assert_eq!(shown.signed_nanoton.map(|amount| amount.0), Some(tokens as u64 * FEE));
}
