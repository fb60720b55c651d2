//! What proxies want to be shown, and how we stand with them.

use evidence::Grade;
use link::proof::Standing;

use super::*;

fn wants(ask: u64) -> Input {
    hears(1, FromWorker::WantEvidence { lane: LANE, ask, tls_key: [5; 32], nonce: [6; 32] })
}

fn attest(ask: u64) -> Effect {
    Effect::Attest { lane: LANE, ask, audience: public_key(1), tls_key: [5; 32], nonce: [6; 32] }
}

fn shown(ask: u64, bytes: Option<Vec<u8>>) -> Effect {
    say(ToWorker::Evidence { lane: LANE, ask, bytes })
}

fn standing(accepted: bool) -> Standing {
    Standing {
        accepted,
        grade: 0,
        reason: if accepted { String::new() } else { "prove\nsomething".to_owned() },
        grades: vec![2, 77, 4],
        secure_boot: true,
        registrars: vec![("registrar.example:4420".to_owned(), [3; 32])],
    }
}

fn stands(standing: Standing) -> Input {
    hears(1, FromWorker::Standing { lane: LANE, standing: Box::new(standing) })
}

#[test]
fn evidence_is_made_for_the_proxy_that_asks_and_goes_back_to_the_worker() {
    let mut stage = Stage::ready();
    stage.check(wants(4), [attest(4)]);
    stage.check(Input::Attested { lane: LANE, ask: 4, evidence: Ok(vec![1, 2]) }, [shown(4, Some(vec![1, 2]))]);
    stage.check(wants(5), [attest(5)]);
    let nothing = Err("the TPM is gone".to_owned());
    stage.check(Input::Attested { lane: LANE, ask: 5, evidence: nothing }, [shown(5, None)]);
    stage.assert_logged(LogLevel::Warn, "the TPM is gone");
}

#[test]
fn a_proxy_that_is_not_known_yet_is_shown_nothing() {
    let mut stage = Stage::serving(settings(1, 1), Remembered::default());
    stage.feed(connected(0));
    stage.check(wants(1), [shown(1, None)]);
    let elsewhere = FromWorker::WantEvidence { lane: LaneId(9), ask: 2, tls_key: [5; 32], nonce: [6; 32] };
    stage.check(hears(1, elsewhere), [say(ToWorker::Evidence { lane: LaneId(9), ask: 2, bytes: None })]);
}

#[test]
fn a_proxy_cannot_make_the_tpm_sign_without_end() {
    let mut stage = Stage::ready();
    for ask in 0..3 {
        stage.check(wants(ask), [attest(ask)]);
    }
    for ask in 3..500 {
        stage.check(wants(ask), [shown(ask, None)]);
    }
    assert_eq!(stage.core.snapshot().refused_questions, 497);
    stage.assert_logged(LogLevel::Warn, "asks for evidence too often");
    // One more in five minutes, however it asks, and a new connection does not change that.
    let mut signatures = 0;
    for ask in 500..560 {
        stage.later(Duration::from_secs(30));
        signatures += usize::from(stage.feed(wants(ask)) == [attest(ask)]);
    }
    assert_eq!(signatures, 6);
    // What was not used in a long time comes back, and not more than that.
    stage.later(Duration::from_hours(24));
    for ask in 600..603 {
        stage.check(wants(ask), [attest(ask)]);
    }
    stage.check(wants(603), [shown(603, None)]);
}

#[test]
fn the_owner_sees_how_this_computer_stands_and_is_told_when_that_changes() {
    let mut stage = Stage::ready();
    assert_eq!(stage.core.snapshot().proxies[0].standing, None);
    stage.check(stands(standing(false)), NOTHING);
    let noted = stage.refused.pop().unwrap();
    assert_eq!((noted.endpoint, noted.by, noted.reason.as_str()), (endpoint(1), RefusedBy::Proxy, "provesomething"));
    assert_eq!(noted.root, ROOT);
    let seen = stage.core.snapshot().proxies[0].standing.clone().unwrap();
    assert!(!seen.accepted && seen.secure_boot);
    assert_eq!((seen.grade, seen.reason.as_str()), (Some(Grade::SelfClaim), "provesomething"));
    assert_eq!(seen.grades, [Grade::KnownMachine, Grade::HardwareIsolated]);
    stage.assert_logged(LogLevel::Warn, "gives this computer no jobs: provesomething");
    stage.assert_logged(LogLevel::Warn, "It accepts known-machine or hardware-isolated, with Secure Boot");
    let key = "03".repeat(32);
    let place = format!("`chrysalis identity enrol` with --registrar registrar.example:4420 --registrar-key {key}");
    stage.assert_logged(LogLevel::Warn, &place);
    let lines = stage.log.len();
    stage.check(stands(standing(false)), NOTHING);
    assert_eq!(stage.log.len(), lines, "the same again is no news");
    stage.check(stands(standing(true)), NOTHING);
    stage.assert_logged(LogLevel::Info, "accepts this computer");
    // It ends with the connection.
    stage.feed(Input::LaneClosed { lane: LANE });
    assert_eq!(stage.core.snapshot().proxies[0].standing, None);
    stage.check(stands(standing(true)), NOTHING);
}

#[test]
fn what_a_refused_owner_is_told_fits_what_the_proxy_wants_and_is_nobodys_command() {
    let said = |grades: Vec<i32>, registrars: Vec<(String, [u8; 32])>| {
        let mut stage = Stage::ready();
        stage.feed(stands(Standing { grades, registrars, ..standing(false) }));
        stage.log.last().unwrap().1.clone()
    };
    // Becoming known helps nobody who must be isolated.
    let isolated = said(vec![3], vec![("registrar.example:4420".to_owned(), [3; 32])]);
    assert!(isolated.contains("It accepts processor-isolated") && !isolated.contains("enrol"), "{isolated}");
    assert!(said(vec![2], Vec::new()).contains("names no registrar"));
    // What is no place is a stranger's sentence, and not to be copied into a terminal.
    let wrong = said(vec![2], vec![("x; rm -rf ~".to_owned(), [3; 32])]);
    assert!(wrong.contains("--registrar PLACE (ask its operator)") && !wrong.contains("rm"), "{wrong}");
}

#[test]
fn a_proxy_that_is_not_trusted_is_named_with_the_reason_until_it_is() {
    let mut stage = Stage::serving(settings(1, 1), Remembered::default());
    stage.feed(connected(0));
    let why = LaneEnd::Untrusted("the isolated machine runs in debug mode".to_owned());
    stage.feed(hears(1, FromWorker::LaneEnded { lane: LANE, why }));
    let noted = stage.refused.pop().unwrap();
    assert_eq!((noted.endpoint, noted.by), (endpoint(1), RefusedBy::ThisPc));
    assert!(noted.reason.contains("debug mode"), "{}", noted.reason);
    let untrusted = stage.core.snapshot().proxies[0].untrusted.clone().unwrap();
    assert!(untrusted.contains("debug mode"), "{untrusted}");
    let json = stage.core.snapshot().to_json();
    assert!(json["proxies"][0]["untrusted"].as_str().unwrap().contains("debug mode"), "{json}");
    stage.wait(REDIAL);
    stage.feed(connected(1));
    stage.feed(hears(1, FromWorker::LaneReady { lane: LaneId(1), proxy: report(1) }));
    assert_eq!(stage.core.snapshot().proxies[0].untrusted, None);
    // To hang up for another reason says nothing about trust.
    stage.feed(hears(1, FromWorker::LaneEnded { lane: LaneId(1), why: LaneEnd::Silent }));
    assert_eq!(stage.core.snapshot().proxies[0].untrusted, None);
}

#[test]
fn the_same_refusal_is_written_down_again_only_after_a_while_and_another_at_once() {
    let mut stage = Stage::serving(settings(1, 1), Remembered::default());
    let mut lane = 0;
    let mut ended = |stage: &mut Stage, why: &str| {
        stage.feed(connected(lane));
        let why = LaneEnd::Untrusted(why.to_owned());
        stage.feed(hears(1, FromWorker::LaneEnded { lane: LaneId(lane), why }));
        lane += 1;
        stage.wait(REDIAL);
        stage.refused.pop().is_some()
    };
    assert!(ended(&mut stage, "debug mode"));
    assert!(!ended(&mut stage, "debug mode") && !ended(&mut stage, "debug mode"));
    assert!(ended(&mut stage, "another image"));
    assert!(ended(&mut stage, "debug mode"), "it was another one meanwhile");
}
