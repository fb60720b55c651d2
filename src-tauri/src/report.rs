//! What practice prints: while it runs, and at its end.

use std::path::Path;
use std::time::Duration;

use accounting::ModelName;
use node::Trial;
use node::core::Trying;
use node::core::workers::WorkerState;
use node::proceeds::Proceeds;
use node::snapshot::Snapshot;
use serde_json::{Value, json};
use ton::{Nanoton, RootConfig};

use crate::app::walls;
use crate::view::trust::{Wall, WallKind, Witness};

/// What signed payments must be worth: adjusted tokens times the network's fee. `None`: more than can be counted, or less than nothing.
pub(crate) fn owed(snapshot: &Snapshot, root: &RootConfig) -> Option<Nanoton> {
    let tokens = u64::try_from(snapshot.totals.adjusted_tokens).ok()?;
    root.worker_fee_per_token.checked_mul(tokens)
}

/// Whether every job that is written down is covered by a signed payment that is written down, to the nanoton.
pub(crate) fn is_covered(snapshot: &Snapshot, root: &RootConfig) -> bool {
    snapshot.unwritten == 0 && snapshot.signed_nanoton.is_some() && snapshot.signed_nanoton == owed(snapshot, root)
}

/// The last line of `practice --json`. Amounts and counts are integers; what is unknown is null.
pub(crate) fn json(
    snapshot: &Snapshot,
    proceeds: Option<&Proceeds>,
    verified: Option<u64>,
    served_as: &ModelName,
    ledger: &Path,
) -> Value {
    let model = snapshot.model.as_ref();
    json!({
        "jobs": snapshot.totals.answered,
        "failed": snapshot.totals.failed,
        "prompt_tokens": snapshot.totals.prompt_tokens,
        "completion_tokens": snapshot.totals.completion_tokens,
        "adjusted_tokens": snapshot.totals.adjusted_tokens,
        "signed_nanoton": snapshot.signed_nanoton.map(|amount| amount.0),
        "tokens_per_second": snapshot.tokens_per_second(),
        "backend": model.map(|model| model.backend.clone()),
        "adapter": model.and_then(|model| model.adapter.clone()),
        "model": served_as.base,
        "ledger": ledger,
        "paid_nanoton": proceeds.map(|proceeds| proceeds.paid.0),
        "payouts": proceeds.map(|proceeds| proceeds.payouts),
        "fees_nanoton": proceeds.and_then(|proceeds| proceeds.fees).map(|fees| fees.0),
        "reserve_nanoton": proceeds.map(|proceeds| i128::from(proceeds.after.reserve.0) - i128::from(proceeds.before.reserve.0)),
        "wallet_before": proceeds.map(|proceeds| proceeds.before.wallet.0),
        "wallet_after": proceeds.map(|proceeds| proceeds.after.wallet.0),
        "receipts_verified": verified,
    })
}

/// So many of something that is called so when it is one.
pub(crate) fn counted(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// What came into the wallet, in a line. Every amount says what kind it is.
pub(crate) fn proceeds(proceeds: &Proceeds) -> String {
    let times = counted(proceeds.payouts, "payout");
    let fees = proceeds.fees.map_or_else(|| "unknown".to_owned(), |fees| fees.to_string());
    let kept = proceeds.after.reserve.checked_sub(proceeds.before.reserve).filter(|kept| *kept > Nanoton(0));
    let kept = kept.map_or_else(String::new, |kept| format!(", {kept} kept by the worker contract until it closes"));
    format!(
        "Paid {} in {times}, fees {fees}{kept} (all on the practice chain, worth nothing); the wallet had {} and has {}",
        proceeds.paid, proceeds.before.wallet, proceeds.after.wallet
    )
}

/// The box of the worker that runs, told once and again when it is another.
#[derive(Default)]
pub(crate) struct BoxReport {
    /// The process that was looked at last.
    pid: Option<u32>,
    said: String,
}

impl BoxReport {
    /// A line, if there is something new.
    pub(crate) fn news(&mut self, snapshot: &Snapshot) -> Option<String> {
        let serves = matches!(snapshot.worker, WorkerState::Serving { .. });
        let pid = snapshot.worker_pid.filter(|pid| serves && self.pid != Some(*pid))?;
        let seen = walls::Read::of(pid, snapshot.confinement.as_ref(), 0)?.walls(None);
        self.pid = Some(pid);
        let line = box_line(&seen.walls);
        (self.said != line).then(|| self.said.clone_from(&line))?;
        Some(line)
    }
}

/// What stands around the worker, by whose word.
fn box_line(walls: &[Wall]) -> String {
    let word = |kind| match kind {
        WallKind::Network => "network",
        WallKind::Files => "files",
        WallKind::Programs => "starting programs",
        WallKind::Others => "other programs",
        WallKind::Rights => "administrator's rights",
        WallKind::Calls => "system calls",
        WallKind::Memory => "all the memory",
    };
    let those = |closed: Option<bool>, by: Option<Witness>| {
        let kinds = walls.iter().filter(|wall| wall.closed == closed && (by == Some(wall.by) || by.is_none()));
        let words: Vec<&str> = kinds.map(|wall| word(wall.kind)).collect();
        if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
    };
    format!(
        "the worker's box: closed by the kernel's word against {}; by its own word against {}; open to {}; not known of {}",
        those(Some(true), Some(Witness::Kernel)),
        those(Some(true), Some(Witness::Worker)),
        those(Some(false), None),
        those(None, None),
    )
}

/// One line of the live report. Every amount says what kind it is.
pub(crate) fn line(snapshot: &Snapshot, since: Duration) -> String {
    let seconds = since.as_secs();
    let trying = snapshot.trying.map(|Trying { trial, number, of }| match trial {
        Trial::Testing => format!("comparing the graphics card with the processor, way {number} of {of}"),
        Trial::Measuring => format!("measuring the graphics card, way {number} of {of}"),
    });
    let state = match &snapshot.worker {
        WorkerState::Gone => "no worker",
        WorkerState::Starting => trying.as_deref().unwrap_or("reading the model"),
        WorkerState::Serving { .. } if !snapshot.proxies.iter().any(|proxy| proxy.ready) => {
            "connecting to the practice proxy"
        }
        WorkerState::Serving { enabled: true } if snapshot.active > 0 => "answering",
        WorkerState::Serving { enabled: true } => "waiting for questions",
        WorkerState::Serving { enabled: false } => "taking no new questions",
        WorkerState::Yielding => "ending running answers",
        WorkerState::Ending => "freeing the card",
        WorkerState::Waiting { .. } if !snapshot.worker_greeted => "the worker did not start and is tried again soon",
        WorkerState::Waiting { .. } => "the worker crashed and starts again soon",
        WorkerState::Failed(_) => "the worker can't serve",
    };
    let totals = &snapshot.totals;
    let speed = snapshot.tokens_per_second().map_or_else(|| "-".to_owned(), |speed| format!("{speed:.1}"));
    let signed = snapshot.signed_nanoton.map_or_else(|| "unknown".to_owned(), |amount| amount.to_string());
    format!(
        "[{:02}:{:02}] {state}; answered {}, failed {}, running {}; {} tokens in, {} out (counted); {speed} tokens/s (measured); \
         {signed} signed (practice money, worth nothing)",
        seconds / 60,
        seconds % 60,
        totals.answered,
        totals.failed,
        snapshot.active,
        totals.prompt_tokens,
        totals.completion_tokens,
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use node::core::Target;
    use node::core::jobs::Totals;

    pub(crate) fn snapshot(adjusted_tokens: i64, signed: Option<Nanoton>) -> Snapshot {
        Snapshot {
            target: Target::Serve,
            worker: WorkerState::Gone,
            worker_pid: None,
            worker_starts: 1,
            program: sandbox::Measured { sha256: [9; 32], bytes: 9 },
            model: None,
            freed: None,
            proxies: Vec::new(),
            active: 0,
            totals: Totals { answered: 2, failed: 0, prompt_tokens: 10, completion_tokens: 20, adjusted_tokens },
            signed_tokens: 30,
            signed_nanoton: signed,
            unwritten: 0,
            ledger_fails: None,
            refused_reports: 0,
            refused_questions: 0,
            busy: Duration::from_secs(4),
            running: Vec::new(),
            last_job_unix_ms: None,
            restart_unix_ms: None,
            last_end: None,
            worker_greeted: true,
            fallback: None,
            confinement: None,
            trying: None,
            tuning: None,
        }
    }

    #[test]
    fn while_a_card_is_tried_out_the_line_says_how_far_that_is() {
        let mut starting = snapshot(0, None);
        starting.worker = WorkerState::Starting;
        let said = |snapshot: &Snapshot| line(snapshot, Duration::ZERO);
        assert!(said(&starting).contains("] reading the model;"), "{}", said(&starting));
        starting.trying = Some(Trying { trial: Trial::Testing, number: 2, of: 9 });
        let text = said(&starting);
        assert!(text.contains("] comparing the graphics card with the processor, way 2 of 9;"), "{text}");
        starting.trying = Some(Trying { trial: Trial::Measuring, number: 3, of: 4 });
        let text = said(&starting);
        assert!(text.contains("] measuring the graphics card, way 3 of 4;"), "{text}");
    }

    #[test]
    fn a_worker_that_never_started_is_not_said_to_have_crashed() {
        let mut waiting = snapshot(0, None);
        waiting.worker = WorkerState::Waiting { until: Duration::ZERO };
        let said = |snapshot: &Snapshot| line(snapshot, Duration::ZERO);
        assert!(said(&waiting).contains("] the worker crashed"), "{}", said(&waiting));
        waiting.worker_greeted = false;
        assert!(said(&waiting).contains("] the worker did not start"), "{}", said(&waiting));
    }

    #[test]
    fn the_box_is_told_wall_by_wall_and_by_whose_word() {
        let wall = |kind, closed, by| Wall { kind, closed, by, found: None, limit: None, partly: false };
        let line = box_line(&[
            wall(WallKind::Network, Some(true), Witness::Kernel),
            wall(WallKind::Calls, Some(true), Witness::Kernel),
            wall(WallKind::Files, Some(true), Witness::Worker),
            wall(WallKind::Memory, None, Witness::Kernel),
        ]);
        assert_eq!(
            line,
            "the worker's box: closed by the kernel's word against network, system calls; by its own word against files; open to nothing; \
             not known of all the memory"
        );
        // Nothing is said of a box before there is one.
        assert_eq!(BoxReport::default().news(&snapshot(0, None)), None);
    }

    fn root() -> RootConfig {
        RootConfig::from_json(
            r#"{"root_owner_address":"UQAuz15H1ZHrZ_psVrAra7HealMIVeFq0wguqlmFno1f3B-m","worker_fee_per_token":1000000}"#,
        )
        .unwrap()
    }

    #[test]
    fn covered_means_signed_to_the_nanoton_and_written_down() {
        let root = root();
        assert!(is_covered(&snapshot(30, Some(Nanoton(30_000_000))), &root));
        assert!(!is_covered(&snapshot(30, Some(Nanoton(29_999_999))), &root));
        assert!(!is_covered(&snapshot(30, Some(Nanoton(30_000_001))), &root));
        assert!(!is_covered(&snapshot(30, None), &root));
        assert!(!is_covered(&snapshot(-1, Some(Nanoton(0))), &root));
        let mut waiting = snapshot(30, Some(Nanoton(30_000_000)));
        waiting.unwritten = 1;
        assert!(!is_covered(&waiting, &root));
    }

    #[test]
    fn what_is_unknown_is_null_and_what_is_counted_is_an_integer() {
        let name = "a.Q8_0@practice:1".parse().unwrap();
        let json = json(&snapshot(30, Some(Nanoton(7))), None, None, &name, Path::new("/a/ledger.sqlite"));
        assert_eq!(json["signed_nanoton"], 7);
        assert!(json["adjusted_tokens"].is_i64() && json["adapter"].is_null() && json["backend"].is_null());
        assert_eq!(json["model"], "a.Q8_0");
        assert_eq!(json["tokens_per_second"], 5.0);
    }

    #[test]
    fn a_line_says_what_kind_of_money_it_shows() {
        let line = line(&snapshot(30, Some(Nanoton(30_000_000))), Duration::from_secs(75));
        assert!(line.starts_with("[01:15] no worker"), "{line}");
        assert!(line.contains("0.030000000 TON signed (practice money, worth nothing)"), "{line}");
    }
}
