//! What there is to show of a node at one moment: facts, each replaced as a whole by the next snapshot.

use std::net::SocketAddrV4;
use std::time::Duration;

use evidence::Grade;
use link::message::{CallList, Confinement, ModelFacts, Trial};
use sandbox::Measured;
use serde_json::{Value, json};
use ton::{Address, Nanoton};

use crate::core::jobs::{Running, Totals};
use crate::core::proof::ShownStanding;
use crate::core::workers::{Freed, WorkerState};
use crate::core::{ShownTuning, Target, Trying};

/// A proxy that is connected or tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownProxy {
    /// Where.
    pub endpoint: SocketAddrV4,
    /// Whether jobs may come from it.
    pub ready: bool,
    /// Our contract there, once it is ready.
    pub worker_contract: Option<Address>,
    /// How we stand with it, if it has said so; most say nothing and give jobs to everybody.
    pub standing: Option<ShownStanding>,
    /// Why it is not trusted, if we hung up on it for that.
    pub untrusted: Option<String>,
}

impl ShownProxy {
    fn to_json(&self) -> Value {
        json!({
            "endpoint": self.endpoint.to_string(),
            "ready": self.ready,
            "worker_contract": self.worker_contract.map(|address| address.to_string()),
            "standing": self.standing.as_ref().map(|standing| json!({
                "accepted": standing.accepted,
                "grade": standing.grade.map(Grade::name),
                "reason": standing.reason,
                "accepted_grades": standing.grades.iter().map(|grade| grade.name()).collect::<Vec<_>>(),
                "secure_boot": standing.secure_boot,
                "registrars": standing.registrars.iter().map(|(endpoint, key)| json!({
                    "endpoint": endpoint,
                    "key": hex::encode(key),
                })).collect::<Vec<_>>(),
            })),
            "untrusted": self.untrusted,
        })
    }
}

/// See the module. Counts are of this session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The wish.
    pub target: Target,
    /// The fact.
    pub worker: WorkerState,
    /// Process id of the worker, while there is one.
    pub worker_pid: Option<u32>,
    /// Worker processes that were asked for.
    pub worker_starts: u64,
    /// What was measured of the worker program, before any was started. Nothing else is.
    pub program: Measured,
    /// What the worker found in the model file.
    pub model: Option<ModelFacts>,
    /// How the card was freed last.
    pub freed: Option<Freed>,
    /// Proxies.
    pub proxies: Vec<ShownProxy>,
    /// Jobs that run.
    pub active: u32,
    /// Jobs that are over and written down.
    pub totals: Totals,
    /// Adjusted tokens covered by signed payments that are written down.
    pub signed_tokens: i64,
    /// What they are worth; `None`: more than can be counted.
    pub signed_nanoton: Option<Nanoton>,
    /// Records that are not yet written down.
    pub unwritten: usize,
    /// What the ledger said, while it can't write.
    pub ledger_fails: Option<String>,
    /// Questions for evidence that went beyond a proxy's share.
    pub refused_questions: u64,
    /// Claims of the worker or a proxy that did not hold.
    pub refused_reports: u64,
    /// How long at least one job ran.
    pub busy: Duration,
    /// Jobs that run, as far as the worker has said.
    pub running: Vec<Running>,
    /// When the last job ended, Unix time in milliseconds.
    pub last_job_unix_ms: Option<i64>,
    /// When a crashed worker is started again, Unix time in milliseconds.
    pub restart_unix_ms: Option<i64>,
    /// How the worker ended the last time that nobody had asked for it.
    pub last_end: Option<String>,
    /// A worker has greeted since this was started: the program is the one it should be.
    pub worker_greeted: bool,
    /// Why the model runs on the processor although it should run on the graphics card.
    pub fallback: Option<String>,
    /// The walls around the worker as it says itself, while one runs that has closed its box. What the kernel says of the same is
    /// [`sandbox::BoxState::of`] of [`Self::worker_pid`], and that is what to believe.
    pub confinement: Option<Confinement>,
    /// What is done with a graphics card that is being tried out, while that goes on.
    pub trying: Option<Trying>,
    /// How kernels are cut for the card in use.
    pub tuning: Option<ShownTuning>,
}

impl Snapshot {
    /// Tokens of answers for each second in which at least one job ran; `None` before the first.
    pub fn tokens_per_second(&self) -> Option<f64> {
        let seconds = self.busy.as_secs_f64();
        (seconds > 0.0 && self.totals.completion_tokens > 0).then(|| self.totals.completion_tokens as f64 / seconds)
    }

    /// For machines; unknown is null.
    pub fn to_json(&self) -> Value {
        json!({
            "target": match self.target { Target::Serve => "serve", Target::Drain => "drain", Target::Yield => "yield" },
            "worker": match &self.worker {
                WorkerState::Gone => json!({ "state": "gone" }),
                WorkerState::Starting => json!({ "state": "starting" }),
                WorkerState::Serving { enabled } => json!({ "state": "serving", "enabled": enabled }),
                WorkerState::Yielding => json!({ "state": "yielding" }),
                WorkerState::Ending => json!({ "state": "ending" }),
                WorkerState::Waiting { .. } => json!({ "state": "waiting_to_restart" }),
                WorkerState::Failed(why) => json!({ "state": "failed", "why": why }),
            },
            "worker_pid": self.worker_pid,
            "worker_starts": self.worker_starts,
            "worker_program": { "sha256": hex::encode(self.program.sha256), "bytes": self.program.bytes },
            "model": self.model.as_ref().map(|model| json!({
                "name": model.name,
                "architecture": model.architecture,
                "quantisation": model.quantisation,
                "context": model.context,
                "sha256": hex::encode(model.sha256),
                "backend": model.backend,
                "adapter": model.adapter,
                "passed_over": model.passed_over,
            })),
            "freed": self.freed.map(|freed| json!({
                "milliseconds": freed.took.as_millis() as u64,
                "worker_held_bytes": freed.departure.held,
                "available_bytes_before": freed.departure.available_before,
                "available_bytes_after": freed.departure.available_after,
            })),
            "proxies": self.proxies.iter().map(ShownProxy::to_json).collect::<Vec<_>>(),
            "jobs": {
                "active": self.active,
                "answered": self.totals.answered,
                "failed": self.totals.failed,
                "prompt_tokens": self.totals.prompt_tokens,
                "completion_tokens": self.totals.completion_tokens,
                "adjusted_tokens": self.totals.adjusted_tokens,
            },
            "signed_tokens": self.signed_tokens,
            "signed_nanoton": self.signed_nanoton.map(|amount| amount.0),
            "not_yet_written": self.unwritten,
            "ledger_fails": self.ledger_fails,
            "refused_questions": self.refused_questions,
            "refused_reports": self.refused_reports,
            "tokens_per_second": self.tokens_per_second(),
            "worker_last_end": self.last_end,
            "fallback": self.fallback,
            "box": self.confinement.as_ref().map(|walls| json!({
                "landlock": walls.landlock,
                "own_root": walls.own_root,
                "namespaces": walls.namespaces,
                "without_namespaces": walls.without_namespaces,
                "memory_bytes": walls.memory,
                "calls": match walls.calls {
                    CallList::Any => "any",
                    CallList::Opening => "opening",
                    CallList::Card => "card",
                    CallList::Processor => "processor",
                },
            })),
            "trying": self.trying.map(|trying| json!({
                "what": match trying.trial { Trial::Testing => "testing", Trial::Measuring => "measuring" },
                "number": trying.number,
                "of": trying.of,
            })),
            "tuning": self.tuning.as_ref().map(|shown| json!({
                "card": shown.tuning.card,
                "driver": shown.tuning.driver,
                "way": shown.tuning.way,
                "found_unix_ms": shown.found_unix_ms,
                "found_now_because": shown.reason,
                "measured_tokens_per_second": shown.generated_per_second(),
                "measured_prompt_tokens_per_second": shown.read_per_second(),
                "tried": shown.tuning.tried,
                "failed": shown.tuning.failed,
            })),
        })
    }
}
