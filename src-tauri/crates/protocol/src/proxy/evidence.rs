//! Workers that must show something before they get jobs.
//!
//! Where nothing is demanded, nothing here happens: no byte leaves that would not leave without it.

use tl::Boxed as _;

use super::{Action, Core, EvidenceCall, Role};
use crate::Now;
use crate::evidence::{EVIDENCE_PATIENCE, HOST_PATIENCE, MAX_EVIDENCE, OPEN_QUESTIONS, Standing, question};

impl Core {
    /// Asks a worker for evidence and yields the nonce, which was never used before. [`Action::EvidenceCame`] or [`Action::NoEvidence`] comes
    /// within a minute, once; a second question takes the place of one that is open. `None`: there is no such worker, or it is not through
    /// its handshake.
    pub fn ask_evidence(&mut self, conn: u64, now: Now, out: &mut Vec<Action>) -> Option<[u8; 32]> {
        let peer = self.peers.get_mut(&conn)?;
        let Role::Worker(worker) = &mut peer.role else { return None };
        if !worker.is_ready() {
            return None;
        }
        let nonce = self.random.int256();
        let data = tl::chrysalis::GetEvidence { nonce }.to_bytes();
        let call = EvidenceCall { nonce };
        let bytes = peer.wire.ask(call, data, EVIDENCE_PATIENCE, &mut *self.random, now.mono).ok()?;
        worker.asked = Some(nonce);
        out.push(Action::Send { conn, bytes });
        Some(nonce)
    }

    /// Decides whether a worker gets jobs, and tells it how it stands. Jobs that it has already go on.
    pub fn judge(&mut self, conn: u64, accepted: bool, grade: i32, reason: &str, now: Now, out: &mut Vec<Action>) {
        let Some(demands) = self.config.demands.clone() else { return };
        let Some(worker) = self.worker_mut(conn).filter(|worker| worker.is_ready()) else { return };
        worker.accept(accepted);
        let reason = if accepted { String::new() } else { reason.to_owned() };
        let standing = Standing { accepted, grade, reason, demands };
        self.message(conn, standing.to_bytes(), out);
        if accepted {
            self.give_out_waiting(now, out);
        }
    }

    /// Answers [`Action::WantEvidence`]. With nothing to show, or more than fits, we say what a genuine proxy says.
    pub fn answer_evidence(&mut self, conn: u64, query: i64, bytes: Option<Vec<u8>>, out: &mut Vec<Action>) {
        if self.worker_mut(conn).and_then(|worker| worker.asked_of_us.remove(&query)).is_none() {
            return;
        }
        match bytes.filter(|bytes| bytes.len() <= MAX_EVIDENCE) {
            Some(data) => self.answer(conn, query, tl::chrysalis::Evidence { data }.to_bytes(), out),
            None => self.lost_promise(conn, query, out),
        }
    }

    /// An answer counts if its question is the last one asked.
    pub(super) fn evidence_came(&mut self, conn: u64, nonce: [u8; 32], bytes: Option<Vec<u8>>, out: &mut Vec<Action>) {
        let Some(worker) = self.worker_mut(conn).filter(|worker| worker.asked == Some(nonce)) else { return };
        worker.asked = None;
        out.push(match bytes {
            Some(bytes) => Action::EvidenceCame { conn, nonce, bytes },
            None => Action::NoEvidence { conn, nonce },
        });
    }

    /// A question of a worker's that is not Cocoon's.
    pub(super) fn worker_asks(&mut self, conn: u64, id: i64, data: &[u8], now: Now, out: &mut Vec<Action>) {
        if self.tells_demands(conn, id, data, out) {
            return;
        }
        let ready = self.worker_mut(conn).filter(|worker| worker.is_ready());
        let room = ready.filter(|it| it.asked_of_us.len() < OPEN_QUESTIONS && !it.asked_of_us.contains_key(&id));
        match (question(data), room) {
            (Some(nonce), Some(worker)) => {
                worker.asked_of_us.insert(id, now.mono.saturating_add(HOST_PATIENCE));
                out.push(Action::WantEvidence { conn, query: id, nonce });
            }
            _ => self.lost_promise(conn, id, out),
        }
    }

    /// A question of a client's that is not Cocoon's.
    pub(super) fn tell_demands(&mut self, conn: u64, id: i64, data: &[u8], out: &mut Vec<Action>) {
        if !self.tells_demands(conn, id, data, out) {
            self.lost_promise(conn, id, out);
        }
    }

    fn tells_demands(&mut self, conn: u64, id: i64, data: &[u8], out: &mut Vec<Action>) -> bool {
        let is_asked = tl::peek_id(data) == Some(tl::chrysalis::GetPolicy::ID);
        let Some(demands) = self.config.demands.as_ref().filter(|_| is_asked) else { return false };
        let answer = demands.to_wire().to_bytes();
        self.answer(conn, id, answer, out);
        true
    }

    /// Whoever was asked and says nothing shows nothing; whoever asked us and gets nothing from our host is told.
    pub(super) fn expire_questions(&mut self, now: Now, out: &mut Vec<Action>) {
        let mut silent = Vec::new();
        let mut late = Vec::new();
        for (conn, peer) in &mut self.peers {
            while let Some(call) = peer.wire.expired(now.mono) {
                silent.push((*conn, call.nonce));
            }
            if let Role::Worker(worker) = &mut peer.role {
                late.extend(
                    worker.asked_of_us.extract_if(.., |_, until| *until <= now.mono).map(|(id, _)| (*conn, id)),
                );
            }
        }
        for (conn, nonce) in silent {
            self.evidence_came(conn, nonce, None, out);
        }
        for (conn, id) in late {
            self.lost_promise(conn, id, out);
        }
    }
}
