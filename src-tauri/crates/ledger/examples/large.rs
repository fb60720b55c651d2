//! How long a ledger of a million jobs and ten thousand payouts takes to open and to show its first pages, and how much memory.
//! Prints one JSON object. The file is filled by SQL, because a million writes that each reach the disk would take an hour.

#![allow(clippy::print_stdout, reason = "its output is the result")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

use ledger::{JobFilter, Ledger, QUARTER_MS};
use ton::Address;

const JOBS: u32 = 1_000_000;
const PAYOUTS: u32 = 10_000;
const ROUNDS: usize = 9;
const PAGE: u32 = 50;
/// "Chry", as the ledger marks its files.
const APPLICATION_ID: i64 = 0x4368_7279;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("ledger.sqlite");
    drop(Ledger::open(&path, 0)?);
    fill(&path)?;
    let (root, owner) = (address(1), address(4));
    // What filling it took is not what is measured.
    let reset = std::fs::write("/proc/self/clear_refs", "5").is_ok();
    let before = memory().filter(|_| reset);
    let mut opened = Vec::new();
    let mut shown = Vec::new();
    let mut summed = Vec::new();
    let mut earned = Vec::new();
    // All of it in weeks: the chart that adds up most.
    let edges: Vec<i64> = (0..=50).map(|week| week * 7 * 96 * QUARTER_MS).collect();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let ledger = Ledger::open(&path, 0)?;
        let open = Instant::now();
        let jobs = ledger.priced_jobs(JobFilter::default(), None, PAGE)?;
        let transfers = ledger.transfers(&root, None, PAGE)?;
        let receipts = ledger.receipts(&owner, None, PAGE)?;
        let pages = Instant::now();
        let paid = ledger.paid(&root, &owner, None)?;
        let totals = ledger.all_time_totals()?;
        let sums = Instant::now();
        let seen = (jobs.jobs.len(), transfers.transfers.len(), receipts.receipts.len(), paid.payouts, totals.answered);
        if seen != (PAGE as usize, PAGE as usize, PAGE as usize, u64::from(PAYOUTS), u64::from(JOBS)) {
            return Err(format!("the pages are not those of a large ledger: {seen:?}").into());
        }
        drop(ledger);
        let start_of_earnings = Instant::now();
        let ledger = Ledger::open_for_reading(&path)?;
        let pipeline = ledger.pipeline(&root, &BTreeMap::new(), None)?;
        let bars = ledger.earned(&root, &edges)?;
        let drawn = ledger.energy(&root, &edges)?;
        if drawn.iter().all(std::collections::BTreeMap::is_empty) {
            return Err("nothing was drawn".into());
        }
        let payouts = ledger.payouts(&root, None, PAGE)?;
        let end_of_earnings = Instant::now();
        let answered: u64 = bars.iter().map(|bar| bar.answered).sum();
        let in_bars: u64 = bars.iter().map(|bar| bar.paid.0).sum();
        let seen = (payouts.payouts.len(), pipeline.payouts, answered, in_bars);
        if seen != (PAGE as usize, u64::from(PAYOUTS), u64::from(JOBS), pipeline.paid.0) {
            return Err(format!("the page Earnings is not that of a large ledger: {seen:?}").into());
        }
        earned.push((end_of_earnings - start_of_earnings).as_secs_f64() * 1e3);
        opened.push((open - start).as_secs_f64() * 1e3);
        shown.push((pages - start).as_secs_f64() * 1e3);
        summed.push((sums - pages).as_secs_f64() * 1e3);
    }
    let bytes = std::fs::metadata(&path)?.len();
    let memory = memory().zip(before).map(|(now, before)| now.saturating_sub(before));
    let (from_7, from_7_memory) = migrated(&path, BACK_TO_7)?;
    let old = folder.path().join("old.sqlite");
    fill_first(&old)?;
    let (from_1, from_1_memory) = migrated(&old, "")?;
    println!(
        "{{\"jobs\":{JOBS},\"payouts\":{PAYOUTS},\"file_bytes\":{bytes},\"open_ms\":{:.2},\"open_and_first_pages_ms\":{:.2},\
         \"sums_over_all_ms\":{:.2},\"open_and_earnings_ms\":{:.2},\"memory_bytes\":{},\
         \"from_version_7_ms\":{from_7:.2},\"from_version_7_memory_bytes\":{},\"from_version_1_ms\":{from_1:.2},\
         \"from_version_1_memory_bytes\":{}}}",
        median(&mut opened),
        median(&mut shown),
        median(&mut summed),
        median(&mut earned),
        or_null(memory),
        or_null(from_7_memory),
        or_null(from_1_memory),
    );
    Ok(())
}

fn or_null(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "null".to_owned(), |bytes| bytes.to_string())
}

/// How long opening such a file takes that a program before this one wrote, in milliseconds, and how much memory.
fn migrated(path: &Path, sql: &str) -> Result<(f64, Option<u64>), Box<dyn Error>> {
    rusqlite::Connection::open(path)?.execute_batch(sql)?;
    let reset = std::fs::write("/proc/self/clear_refs", "5").is_ok();
    let before = memory().filter(|_| reset);
    let start = Instant::now();
    let ledger = Ledger::open(path, 0)?;
    let took = start.elapsed().as_secs_f64() * 1e3;
    let memory = memory().zip(before).map(|(now, before)| now.saturating_sub(before));
    let jobs = ledger.all_time_totals()?.answered;
    if jobs != u64::from(JOBS) {
        return Err(format!("{jobs} jobs are left").into());
    }
    Ok((took, memory))
}

/// Makes a file of version 7 of the newest one.
const BACK_TO_7: &str = "DROP TABLE energy; ALTER TABLE transfer DROP COLUMN everything;
    ALTER TABLE transfer DROP COLUMN owner; DELETE FROM migration WHERE version > 7; PRAGMA user_version = 7;";

/// A file of version 1, the oldest there is.
fn fill_first(path: &Path) -> Result<(), Box<dyn Error>> {
    let connection = rusqlite::Connection::open(path)?;
    connection.execute_batch(include_str!("../migrations/0001_jobs_and_payments.sql"))?;
    connection.execute_batch(&format!(
        "BEGIN;
         INSERT INTO migration VALUES (1, 0);
         PRAGMA application_id = {APPLICATION_ID};
         PRAGMA user_version = 1;
         INSERT INTO session VALUES (1, 0, x'00{root}', 1, 19, 'a/model@commit:hash');
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {JOBS})
         INSERT INTO job SELECT i, 1, randomblob(32), x'{key}', i * 30000, i * 30000 + 4000, 0, 0, 300, 0, 200, 0, 1000,
             300, 0, 1600, 0, 1900, 1, 0 FROM n;
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {PAYOUTS})
         INSERT INTO payment SELECT i, 1, x'00{worker}', x'{key}', i * 190000, i * 3610000, i * 3000000, randomblob(200) FROM n;
         COMMIT;",
        root = "01".repeat(32),
        worker = "02".repeat(32),
        key = "07".repeat(32),
    ))?;
    Ok(())
}

const fn address(number: u8) -> Address {
    Address { workchain: 0, hash: [number; 32] }
}

fn fill(path: &Path) -> Result<(), Box<dyn Error>> {
    let connection = rusqlite::Connection::open(path)?;
    connection.execute_batch(&format!(
        "BEGIN;
         INSERT INTO session (id, started_unix_ms, root_contract, params_version, fee_nanoton, served_as, prompt_multiplier,
             cached_multiplier, completion_multiplier, reasoning_multiplier, pays_nothing)
         VALUES (1, 0, x'00{root}', 1, 19, 'a/model@commit:hash', 10000, 1000, 80000, 80000, 0);
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {JOBS})
         INSERT INTO job SELECT i, 1, randomblob(32), x'{key}', i * 30000, i * 30000 + 4000, 0, 0, 300, 0, 200, 0, 1000,
             300, 0, 1600, 0, 1900, 1, 0, i * 1900 FROM n;
         INSERT INTO working VALUES (x'{key}', 1, 34000, {JOBS} * 1900);
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {PAYOUTS})
         INSERT INTO payment SELECT i, 1, x'00{worker}', x'{key}', i * 190000, i * 3610000, i * 3000000, randomblob(200) FROM n;
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {PAYOUTS})
         INSERT INTO transfer (id, root_contract, planned_unix_ms, recipient, nanoton, bounce, body, state_init, worker_contract,
             proxy_contract, from_tokens, to_tokens, expected, forecast_fees, forecast_income, forecast_balance, stage, message,
             message_hash, seqno, valid_until, outcome, why, fees, payer, everything, owner)
         SELECT i, x'00{root}', i * 3000000, x'00{worker}', 200000000, 1, randomblob(300), NULL,
             x'00{worker}', x'00{proxy}', (i - 1) * 190000, i * 190000, 3610000, 15000000, 3610000, 900000000, 2,
             randomblob(500), randomblob(32), i, i * 3000, 0, NULL, 15000000, x'00{owner}', 0, x'00{owner}' FROM n;
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {PAYOUTS})
         INSERT INTO receipt SELECT i, x'00{root}', x'00{owner}', x'00{proxy}', 3610000, 1, i, randomblob(32), i * 3000, i FROM n;
         INSERT INTO quarter SELECT at, 1, sum(answered), sum(tokens), sum(signed) FROM (
             SELECT finished_unix_ms / 900000 AS at, 1 AS answered, adjusted_total AS tokens, 0 AS signed FROM job
             UNION ALL SELECT received_unix_ms / 900000, 0, 0, 3610000 FROM payment) GROUP BY at;
         INSERT INTO energy SELECT x'00{root}', at, 135000000, 900000 FROM quarter;
         INSERT INTO unsigned VALUES (x'00{root}', x'{key}', 19);
         INSERT INTO cashed VALUES (x'00{worker}', x'00{root}', {PAYOUTS} * 190000, 1);
         COMMIT;",
        root = "01".repeat(32),
        worker = "02".repeat(32),
        proxy = "03".repeat(32),
        owner = "04".repeat(32),
        key = "07".repeat(32),
    ))?;
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Bytes of memory at most so far, where the system says.
fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1_024)
}
