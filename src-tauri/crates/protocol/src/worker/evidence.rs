//! Evidence asked of us, and what the proxy made of it.

use tl::Boxed as _;

use super::{Action, Call, Session, Stage};
use crate::Now;
use crate::evidence::{EVIDENCE_PATIENCE, HOST_PATIENCE, MAX_EVIDENCE, OPEN_QUESTIONS, question};

impl Session {
    /// A question of the proxy. Only one is known, and that only after the handshake.
    pub(super) fn asked(&mut self, id: i64, data: &[u8], now: Now, out: &mut Vec<Action>) {
        let is_answered = self.stage == Stage::Ready
            && self.asked_of_us.len() < OPEN_QUESTIONS
            && !self.asked_of_us.contains_key(&id);
        match question(data) {
            Some(nonce) if is_answered => {
                self.asked_of_us.insert(id, now.mono.saturating_add(HOST_PATIENCE));
                out.push(Action::WantEvidence { query: id, nonce });
            }
            _ => self.lost_promise(id, out),
        }
    }

    /// Answers [`Action::WantEvidence`]. With nothing to show, or more than fits, we say what a genuine worker says. An answer that nobody
    /// waits for any more is not sent.
    pub fn answer_evidence(&mut self, query: i64, bytes: Option<Vec<u8>>, out: &mut Vec<Action>) {
        if self.over.is_some() || self.asked_of_us.remove(&query).is_none() {
            return;
        }
        match bytes.filter(|bytes| bytes.len() <= MAX_EVIDENCE) {
            Some(data) => {
                let answer = tl::chrysalis::Evidence { data };
                if let Ok(frame) = self.connection.answer(query, answer.to_bytes()) {
                    out.push(Action::Send(frame));
                }
            }
            None => self.lost_promise(query, out),
        }
    }

    /// Asks the proxy for its own evidence. Yields the nonce, which [`Action::EvidenceCame`] or [`Action::NoEvidence`] repeats; `None` before the
    /// handshake is done.
    pub fn ask_evidence(&mut self, now: Now, out: &mut Vec<Action>) -> Option<[u8; 32]> {
        if self.over.is_some() || self.stage != Stage::Ready {
            return None;
        }
        let nonce = self.random.int256();
        let question = tl::chrysalis::GetEvidence { nonce };
        self.ask(Call::Evidence { nonce }, question.to_bytes(), EVIDENCE_PATIENCE, now, out);
        Some(nonce)
    }

    /// Tells the proxy that our host was too slow.
    pub(super) fn give_up_questions(&mut self, now: Now, out: &mut Vec<Action>) {
        let late: Vec<i64> = self.asked_of_us.extract_if(.., |_, until| *until <= now.mono).map(|(id, _)| id).collect();
        for id in late {
            self.lost_promise(id, out);
        }
    }

    fn lost_promise(&mut self, id: i64, out: &mut Vec<Action>) {
        if let Ok(frame) = self.connection.lost_promise(id) {
            out.push(Action::Send(frame));
        }
    }
}
