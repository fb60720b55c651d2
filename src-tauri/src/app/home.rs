//! What the page Home shows, made of facts.

use node::Trial;
use node::core::workers::WorkerState;
use node::history::{History, Sums};
use node::owner::{Moment, Owner, Stage, Wish};
use node::snapshot::Snapshot;

use super::calendar;
use super::session::Wanted;
use crate::view::{self, Home, Kind, Money, Network, Status};

const HOUR_MS: i64 = 3_600_000;

/// What is remembered between two looks.
#[derive(Default)]
pub(crate) struct Facts {
    /// What is served where, once something was.
    pub(crate) network: Option<Network>,
    /// How long it took to free the card the last time.
    pub(crate) freed_in_ms: Option<f64>,
    sums: Option<Remembered>,
}

struct Remembered {
    /// Sums are of this day and these totals; other ones are read anew.
    of: (i64, u64, u64, i64),
    today: Sums,
    month: Sums,
    last_hour: Sums,
    read_at: i64,
}

/// How old the sum of the last hour may be.
const HOUR_AGE_MS: i64 = 30_000;

impl Facts {
    /// Reads sums anew if something has changed. Waits for the disk.
    pub(crate) fn refresh(&mut self, history: &History, snapshot: Option<&Snapshot>, now: Moment) {
        let (Some(midnight), Some(month)) = (calendar::midnight(now.unix_ms), calendar::first_of_month(now.unix_ms))
        else {
            return;
        };
        let of = snapshot
            .map_or((midnight, 0, 0, 0), |it| (midnight, it.totals.answered, it.totals.failed, it.signed_tokens));
        let fresh = |known: &Remembered| {
            (known.of == of || (snapshot.is_none() && known.of.0 == midnight))
                && now.unix_ms.saturating_sub(known.read_at) < HOUR_AGE_MS
        };
        if self.sums.as_ref().is_some_and(fresh) {
            return;
        }
        let pays_nothing = self.network.as_ref().is_none_or(|network| network.pays_nothing);
        let sums = |from| history.sums(from, i64::MAX, pays_nothing);
        let read = tokio::task::block_in_place(|| {
            Ok::<_, Box<dyn std::error::Error>>(Remembered {
                of,
                today: sums(midnight)?,
                month: sums(month)?,
                last_hour: sums(now.unix_ms - HOUR_MS)?,
                read_at: now.unix_ms,
            })
        });
        match read {
            Ok(read) => self.sums = Some(read),
            Err(error) => tracing::warn!(%error, "the ledger's sums can't be read"),
        }
    }
}

/// The page.
pub(crate) fn home(
    facts: &Facts,
    owner: &Owner,
    snapshot: Option<&Snapshot>,
    wanted: &Wanted,
    tokens_per_second: Option<f64>,
    now: Moment,
) -> Home {
    let remembered = facts.sums.as_ref();
    let model = snapshot.and_then(|snapshot| snapshot.model.as_ref());
    Home {
        at: now.unix_ms as f64,
        network: facts.network.clone().unwrap_or_else(|| wanted.network()),
        wish: match owner.wish() {
            Wish::Work => view::Wish::Work,
            Wish::FinishAndPause => view::Wish::FinishAndPause,
            Wish::Pause { until_unix_ms } => view::Wish::Pause { until: until_unix_ms.map(|until| until as f64) },
        },
        status: status(facts, owner, snapshot),
        tokens_per_second,
        signed_last_hour: remembered.map(|it| money(it.last_hour.signed.0, Kind::Signed)),
        today: remembered.map(|it| sums(it.today)),
        month: remembered.map(|it| sums(it.month)),
        backend: model.map(|model| model.backend.clone()),
        adapter: model.and_then(|model| model.adapter.clone()),
        fallback: snapshot.and_then(|snapshot| snapshot.fallback.clone()),
        passed_over: model.and_then(|model| model.passed_over.clone()),
        trying: snapshot.and_then(|snapshot| snapshot.trying).map(|trying| view::Trying {
            measuring: trying.trial == Trial::Measuring,
            number: trying.number,
            of: trying.of,
        }),
        tuned: snapshot.and_then(|snapshot| snapshot.tuning.as_ref()).map(|shown| view::Tuned {
            way: shown.tuning.way.clone(),
            at: shown.found_unix_ms.map(|at| at as f64),
            tokens_per_second: shown.generated_per_second(),
            prompt_tokens_per_second: shown.read_per_second(),
        }),
        refused_reports: snapshot.map_or(0.0, |snapshot| snapshot.refused_reports as f64),
    }
}

fn money(nanoton: u64, kind: Kind) -> Money {
    Money { nanoton: nanoton.to_string(), kind }
}

fn sums(sums: Sums) -> view::Sums {
    view::Sums {
        answered: sums.answered as f64,
        failed: sums.failed as f64,
        prompt_tokens: sums.prompt_tokens as f64,
        completion_tokens: sums.completion_tokens as f64,
        counted: money(sums.counted.0, Kind::Measured),
        signed: money(sums.signed.0, Kind::Signed),
    }
}

fn status(facts: &Facts, owner: &Owner, snapshot: Option<&Snapshot>) -> Status {
    let provider = match owner.stage() {
        Stage::Resting => {
            return match owner.trouble() {
                Some(why) => Status::Failed { why: why.to_owned() },
                None => Status::Paused {
                    until: owner.next_wake_unix_ms().map(|until| until as f64),
                    freed_in_ms: facts.freed_in_ms,
                },
            };
        }
        Stage::Stopping => return Status::Freeing,
        Stage::Starting => return Status::Loading,
        Stage::Running | Stage::Finishing | Stage::Stuck => snapshot,
    };
    let Some(snapshot) = provider else { return Status::Loading };
    if let WorkerState::Failed(why) = &snapshot.worker {
        return Status::Failed { why: why.clone() };
    }
    if let Some(why) = &snapshot.ledger_fails {
        return Status::LedgerFails { why: why.clone() };
    }
    match &snapshot.worker {
        WorkerState::Gone | WorkerState::Starting | WorkerState::Failed(_) => Status::Loading,
        WorkerState::Waiting { .. } => Status::Restarting {
            at: snapshot.restart_unix_ms.unwrap_or_default() as f64,
            starts: snapshot.worker_starts as f64,
            why: snapshot.last_end.clone(),
        },
        WorkerState::Yielding | WorkerState::Ending => Status::Freeing,
        WorkerState::Serving { .. } => {
            let questions = f64::from(snapshot.active);
            if owner.stage() == Stage::Finishing {
                Status::Finishing { questions }
            } else if snapshot.active > 0 {
                Status::Working { questions }
            } else if snapshot.proxies.iter().any(|proxy| proxy.ready) {
                Status::Waiting { last_job: snapshot.last_job_unix_ms.map(|at| at as f64) }
            } else {
                Status::Connecting
            }
        }
    }
}
