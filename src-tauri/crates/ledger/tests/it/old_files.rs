use crate::{FEE, KEY, address, job};
use ledger::Ledger;

/// Where the files of past versions are, each named after its version. They were made by the program of their time and never change.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/fixtures/ledger");

#[test]
fn a_file_of_version_1_opens_with_all_that_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    std::fs::copy(format!("{FOLDER}/version-1.sqlite"), &path).unwrap();
    let ledger = Ledger::open(&path, 0).unwrap();
    let totals = ledger.totals_of_latest_session().unwrap();
    assert_eq!((totals.answered, totals.failed, totals.adjusted_tokens), (3, 0, 402));
    assert_eq!((totals.signed_tokens, totals.signed_nanoton), (402, FEE.checked_mul(402).unwrap()));
    let jobs = ledger.jobs(None, 10).unwrap();
    assert_eq!(jobs.jobs.iter().map(|entry| entry.job.clone()).collect::<Vec<_>>(), [job(2), job(1), job(0)]);
    assert_eq!(ledger.payments(&address(2), 10).unwrap().len(), 3);
    assert_eq!(ledger.known_key("127.0.0.1:11001".parse().unwrap(), &address(1)).unwrap(), Some(KEY));
    // What that version did not write down is written down from now on.
    drop(ledger);
    let mut ledger = Ledger::open(&path, 0).unwrap();
    assert_eq!(ledger.refusals(10).unwrap(), []);
    let place = "127.0.0.1:11001".parse().unwrap();
    ledger.record_refusal(&address(1), place, ledger::RefusedBy::Proxy, "no proof", 7).unwrap();
    drop(ledger);
    let kept = Ledger::open_for_reading(&path).unwrap().refusals(10).unwrap();
    assert_eq!((kept.len(), kept[0].reason.as_str(), kept[0].seen_unix_ms), (1, "no proof", (7, 7)));
}

#[test]
fn what_a_file_of_version_1_did_not_write_down_is_unknown_and_not_zero() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    std::fs::copy(format!("{FOLDER}/version-1.sqlite"), &path).unwrap();
    let page = Ledger::open(&path, 0).unwrap().priced_jobs(ledger::JobFilter::default(), None, 10).unwrap();
    assert_eq!(page.jobs.len(), 3);
    assert!(page.jobs.iter().all(|job| job.multipliers.is_none() && job.pays_nothing.is_none()));
    assert!(page.jobs.iter().all(|job| job.signed_unix_ms.is_some()));
}

#[test]
fn what_was_earned_before_charts_were_kept_stands_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    std::fs::copy(format!("{FOLDER}/version-1.sqlite"), &path).unwrap();
    assert!(matches!(Ledger::open_for_reading(&path), Err(ledger::LedgerError::OlderVersion { found: 1, .. })));
    let ledger = Ledger::open(&path, 0).unwrap();
    let all = FEE.checked_mul(402).unwrap();
    let (first, end) = ledger.earned_span(&address(1)).unwrap().unwrap();
    assert_eq!(ledger.earned_span(&address(9)).unwrap(), None);
    let edges = [first, end];
    let bars = ledger.earned(&address(1), &edges).unwrap();
    assert_eq!((bars[0].counted, bars[0].signed), (all, all));
    let pipeline = ledger.pipeline(&address(1), &std::collections::BTreeMap::new(), None).unwrap();
    assert_eq!((pipeline.counted, pipeline.signed), (ton::Nanoton(0), all));
    drop(ledger);
    assert!(Ledger::open_for_reading(&path).is_ok());
}
