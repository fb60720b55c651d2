use crate::{KEY, address, begin, job};
use ledger::{Ledger, LedgerError, Payment};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Says to the child process, which is this test program again, where to write.
const CHILD: &str = "CHRYSALIS_LEDGER_CHILD";

fn payment(tokens: u64) -> Payment {
    Payment { worker_contract: address(2), proxy_key: KEY, tokens, received_unix_ms: 0, boc: vec![1; 300] }
}

/// In the child: writes for ever, and says each row only after it was acknowledged.
fn write_until_killed(path: &Path) {
    let mut ledger = Ledger::open(path, 0).unwrap();
    let session = begin(&mut ledger);
    let from = ledger.highest_payment(&address(2)).unwrap().map_or(1, |entry| entry.payment.tokens + 1);
    let mut out = std::io::stderr();
    // The test ends the process long before the last one; it is there in case the test itself dies.
    for number in from..from + 1_000_000 {
        ledger.record_job(session, &KEY, &job(number)).unwrap();
        ledger.record_payment(session, &payment(number)).unwrap();
        writeln!(out, "wrote {number}").unwrap();
    }
}

#[test]
fn a_process_killed_in_mid_write_loses_nothing_it_acknowledged() {
    if let Some(path) = std::env::var_os(CHILD) {
        write_until_killed(Path::new(&path));
        return;
    }
    let kills = std::env::var("CHRYSALIS_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(4_u64);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let mut acknowledged = 0;
    for round in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "survival::a_process_killed_in_mid_write_loses_nothing_it_acknowledged", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut wrote = 0;
        while wrote < 20 + round * 7 {
            let line = lines.next().expect("the child ended by itself").unwrap();
            if let Some(number) = line.strip_prefix("wrote ") {
                acknowledged = number.parse().unwrap();
                wrote += 1;
            }
        }
        // At another moment of its work each time.
        std::thread::sleep(Duration::from_micros(round * 911 % 5_000));
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said between the last line read and its end counts too.
        for line in lines.map_while(Result::ok) {
            if let Some(number) = line.strip_prefix("wrote ").and_then(|number| number.parse().ok()) {
                acknowledged = number;
            }
        }
        let ledger = Ledger::open(&path, 0).unwrap();
        let kept = ledger.highest_payment(&address(2)).unwrap().unwrap().payment.tokens;
        // At most the row that was being written when it died is there besides.
        assert!((acknowledged..=acknowledged + 1).contains(&kept), "round {round}: {kept}, said {acknowledged}");
        // Every payment's job was written before it; each kill may leave one job that has no payment yet.
        let jobs = ledger.all_time_totals().unwrap().answered;
        assert!((kept..=kept + round + 1).contains(&jobs), "round {round}: {jobs} jobs, {kept} payments");
        acknowledged = kept;
    }
}

#[test]
fn a_file_of_a_newer_program_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    drop(Ledger::open(&path, 0).unwrap());
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    let before = std::fs::read(&path).unwrap();
    match Ledger::open(&path, 0) {
        Err(LedgerError::NewerVersion { found: 99, known: 8 }) => {}
        other => panic!("{:?}", other.err()),
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_that_is_no_ledger_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let garbage = folder.path().join("garbage");
    std::fs::write(&garbage, vec![0xa5; 9_000]).unwrap();
    let foreign = folder.path().join("foreign");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE diary (page TEXT)").unwrap();
    for path in [garbage, foreign] {
        let before = std::fs::read(&path).unwrap();
        let error = Ledger::open(&path, 0).err().unwrap();
        assert!(matches!(error, LedgerError::NotALedger), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}

#[test]
fn a_damaged_ledger_is_an_error_and_never_a_wrong_sum() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let mut ledger = Ledger::open(&path, 0).unwrap();
    let session = begin(&mut ledger);
    for number in 0..200 {
        ledger.record_job(session, &KEY, &job(number)).unwrap();
    }
    drop(ledger);
    let mut bytes = std::fs::read(&path).unwrap();
    // Everything behind the first page: the schema is still there, the rows are not.
    bytes[4_096..].fill(0x5a);
    std::fs::write(&path, &bytes).unwrap();
    let error = Ledger::open(&path, 0).and_then(|ledger| ledger.all_time_totals()).unwrap_err();
    assert!(matches!(error, LedgerError::Corrupt), "{error}");
}

#[test]
fn a_folder_that_is_not_there_is_said_to_be_the_trouble() {
    let error = Ledger::open(&PathBuf::from("/no/such/folder/ledger.sqlite"), 0).err().unwrap();
    assert!(matches!(error, LedgerError::File(_)), "{error}");
}

#[test]
fn a_second_process_reads_while_the_first_one_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let mut writer = Ledger::open(&path, 0).unwrap();
    let session = begin(&mut writer);
    let reader = Ledger::open(&path, 0).unwrap();
    for number in 1..=20 {
        writer.record_job(session, &KEY, &job(number)).unwrap();
        assert_eq!(reader.totals_of_latest_session().unwrap().answered, number);
    }
}

#[test]
fn two_who_make_the_same_file_at_once_both_get_it() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..8 {
        let path = folder.path().join(format!("{round}.sqlite"));
        std::thread::scope(|scope| {
            let opening: Vec<_> = (0..3).map(|_| scope.spawn(|| Ledger::open(&path, 0))).collect();
            for opened in opening {
                begin(&mut opened.join().unwrap().unwrap());
            }
        });
    }
}
