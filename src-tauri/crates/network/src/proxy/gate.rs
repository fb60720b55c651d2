//! What becomes of workers where something is demanded of them: asked for evidence, judged, asked again after a while.
//!
//! Verifies with the crate `evidence` and tells the core; which worker gets jobs is the core's.

use std::collections::BTreeMap;
use std::time::Duration;

use evidence::{Anchors, Binding, Grade, Policy, Terms, appraise_shown};
use protocol::Now;
use protocol::proxy::{Action, Core};
use serde_json::{Value, json};

use crate::clock::unix_seconds;

/// A worker is asked again after this long, accepted or not: it may have been enrolled meanwhile, or its statement may be over.
const AGAIN: Duration = Duration::from_mins(15);

/// A worker as it was judged last.
struct Seen {
    tls_key: [u8; 32],
    asked_at: Option<Duration>,
    verdict: Option<Verdict>,
}

/// What was found.
struct Verdict {
    accepted: bool,
    grade: Grade,
    reason: String,
    machine: Option<String>,
    secure_boot: Option<bool>,
}

/// See the module.
pub(super) struct Gate {
    policy: Policy,
    anchors: Anchors,
    seen: BTreeMap<u64, Seen>,
}

impl Gate {
    /// `audience`: the proxy's payment key, which statements about machines must name.
    pub(super) fn new(terms: &Terms, audience: [u8; 32]) -> Self {
        let registrars = terms.registrars.iter().map(|one| one.key).collect();
        Self { policy: terms.policy.clone(), anchors: Anchors { registrars, audience }, seen: BTreeMap::new() }
    }

    /// A connection of a worker came, with this key in its certificate.
    pub(super) fn opened(&mut self, conn: u64, tls_key: [u8; 32]) {
        self.seen.insert(conn, Seen { tls_key, asked_at: None, verdict: None });
    }

    /// It is gone.
    pub(super) fn gone(&mut self, conn: u64) {
        self.seen.remove(&conn);
    }

    /// Asks a worker that is through its handshake.
    pub(super) fn ask(&mut self, conn: u64, core: &mut Core, now: Now, out: &mut Vec<Action>) {
        if let Some(seen) = self.seen.get_mut(&conn)
            && core.ask_evidence(conn, now, out).is_some()
        {
            seen.asked_at = Some(now.mono);
        }
    }

    /// When somebody is to be asked again.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.seen.values().filter_map(|seen| seen.asked_at).min().map(|asked_at| asked_at.saturating_add(AGAIN))
    }

    /// Asks those again whose time has come.
    pub(super) fn tick(&mut self, core: &mut Core, now: Now, out: &mut Vec<Action>) {
        let due = |seen: &Seen| seen.asked_at.is_some_and(|at| at.saturating_add(AGAIN) <= now.mono);
        let due: Vec<u64> = self.seen.iter().filter(|(_, seen)| due(seen)).map(|(conn, _)| *conn).collect();
        for conn in due {
            if let Some(seen) = self.seen.get_mut(&conn) {
                seen.asked_at = None;
            }
            self.ask(conn, core, now, out);
        }
    }

    /// Judges what a worker showed in answer to this nonce; `None`: nothing.
    pub(super) fn judge(
        &mut self,
        conn: u64,
        nonce: [u8; 32],
        shown: Option<&[u8]>,
        core: &mut Core,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let Some(seen) = self.seen.get_mut(&conn) else { return };
        let binding = Binding { nonce, tls_key: seen.tls_key };
        let verdict = verdict(shown, &binding, &self.anchors, &self.policy);
        let (grade, reason) = (verdict.grade, &verdict.reason);
        if verdict.accepted {
            tracing::info!(conn, %grade, "the worker is accepted");
        } else {
            tracing::info!(conn, %grade, %reason, "the worker gets no jobs");
        }
        core.judge(conn, verdict.accepted, grade.number(), reason, now, out);
        seen.verdict = Some(verdict);
    }

    /// For the stats page.
    pub(super) fn page(&self) -> Value {
        let workers = self.seen.iter().filter_map(|(conn, seen)| {
            let verdict = seen.verdict.as_ref()?;
            Some(json!({
                "connection": conn,
                "accepted": verdict.accepted,
                "grade": verdict.grade,
                "reason": verdict.reason,
                "machine": verdict.machine,
                "secure_boot": verdict.secure_boot,
            }))
        });
        json!({ "policy": self.policy, "workers": workers.collect::<Vec<_>>() })
    }
}

fn verdict(shown: Option<&[u8]>, binding: &Binding, anchors: &Anchors, policy: &Policy) -> Verdict {
    match appraise_shown(shown, binding, unix_seconds() as u64, anchors, policy) {
        Ok(found) => Verdict {
            accepted: true,
            grade: found.grade,
            reason: String::new(),
            machine: found.facts.machine,
            secure_boot: found.facts.secure_boot,
        },
        Err(refused) => Verdict {
            accepted: false,
            grade: refused.proved(),
            reason: refused.to_string(),
            machine: None,
            secure_boot: None,
        },
    }
}
