//! Answers as they go out: a head, parts, a last part with the counts; or an error.

use accounting::{AdjustedUsage, TokenUsage};
use tl::Boxed;

use super::jobs::Running;
use super::{Action, Session};
use crate::http::{ResponseHead, error_body, is_hop_header};
use crate::{Now, debug_text, header_time};

/// Larger parts are split: an object above 16 MiB cannot be framed.
const MAX_PART: usize = 8 << 20;

/// Bits of `flags` in answers and final infos.
const HAS_FINAL_INFO: u32 = 1;
const HAS_DEBUG: u32 = 1;
const HAS_TIMES: u32 = 2;

impl Session {
    /// Sends status and headers. Must come first and once; later ones are ignored. Headers that describe the framing are dropped
    /// whatever their capitals, the ones that genuine workers add are added.
    pub fn answer_head(&mut self, id: [u8; 32], head: ResponseHead, now: Now, out: &mut Vec<Action>) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        if job.head.is_some() {
            return;
        }
        job.head = Some(now.unix);
        let mut head = head;
        if !head.is_sound() {
            "HTTP/1.1".clone_into(&mut head.version);
            head.status = 500;
        }
        head.headers.retain(|(name, _)| !is_hop_header(name));
        head.headers.extend([
            ("Connection".to_owned(), "Close".to_owned()),
            ("X-Cocoon-Worker-Start".to_owned(), header_time(job.started)),
            ("X-Cocoon-Worker-End".to_owned(), header_time(now.unix)),
            ("Transfer-Encoding".to_owned(), "chunked".to_owned()),
        ]);
        let message =
            tl::proxy::QueryAnswerEx::Answer { request_id: id, answer: head.encode(&[]), flags: 0, final_info: None };
        self.message(message.to_bytes(), out);
    }

    /// Sends a piece of the body at once. Pieces before the head and empty ones are not sent.
    pub fn answer_part(&mut self, id: [u8; 32], bytes: &[u8], _now: Now, out: &mut Vec<Action>) {
        if self.jobs.get(&id).is_none_or(|job| job.head.is_none()) {
            return;
        }
        for piece in bytes.chunks(MAX_PART) {
            self.part(id, piece, None, out);
        }
    }

    /// Ends the answer with its last piece (often empty) and what the engine counted; the job is over. Yields what is charged, or
    /// `None` if the job is not running any more.
    pub fn answer_last(
        &mut self,
        id: [u8; 32],
        bytes: &[u8],
        usage: TokenUsage,
        now: Now,
        out: &mut Vec<Action>,
    ) -> Option<AdjustedUsage> {
        if self.jobs.get(&id)?.head.is_none() {
            let head = ResponseHead::new(500, "Internal Server Error", Vec::new());
            self.answer_head(id, head, now, out);
        }
        let job = self.jobs.remove(&id)?;
        let adjusted = usage.adjusted(job.coefficient, &self.prices);
        let info = self.final_info(&job, &adjusted, now);
        let mut pieces = bytes.chunks(MAX_PART).peekable();
        while let Some(piece) = pieces.next() {
            if pieces.peek().is_none() {
                self.part(id, piece, Some(info), out);
                return Some(adjusted);
            }
            self.part(id, piece, None, out);
        }
        self.part(id, &[], Some(info), out);
        Some(adjusted)
    }

    /// Ends the job with an error message, uncharged. Prefer an ordinary HTTP answer: genuine clients crash on these.
    pub fn answer_error(&mut self, id: [u8; 32], code: i32, text: &str, now: Now, out: &mut Vec<Action>) {
        let Some(job) = self.jobs.remove(&id) else {
            return;
        };
        let nothing = TokenUsage::default().adjusted(job.coefficient, &self.prices);
        let message = tl::proxy::QueryAnswerEx::Error {
            request_id: id,
            error_code: code,
            error: text.to_owned(),
            // Without the final info a genuine proxy aborts.
            flags: HAS_FINAL_INFO,
            final_info: Some(self.final_info(&job, &nothing, now)),
        };
        self.message(message.to_bytes(), out);
    }

    /// A whole answer of ours, uncharged.
    pub(super) fn answer_whole(
        &mut self,
        id: &[u8; 32],
        status: i32,
        reason: &str,
        words: &str,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        self.answer_head(*id, ResponseHead::new(status, reason, headers), now, out);
        let body = error_body(status, words);
        self.answer_last(*id, &body, TokenUsage::default(), now, out);
    }

    fn part(&mut self, id: [u8; 32], bytes: &[u8], info: Option<tl::proxy::QueryFinalInfo>, out: &mut Vec<Action>) {
        let message = tl::proxy::QueryAnswerEx::Part {
            request_id: id,
            answer: bytes.to_vec(),
            flags: if info.is_some() { HAS_FINAL_INFO } else { 0 },
            final_info: info,
        };
        self.message(message.to_bytes(), out);
    }

    fn final_info(&self, job: &Running, used: &AdjustedUsage, now: Now) -> tl::proxy::QueryFinalInfo {
        let version = self.proxy.as_ref().map_or(0, |proxy| proxy.proto_version);
        let mut flags = 0;
        if job.debug {
            flags |= HAS_DEBUG;
        }
        if version >= 2 {
            flags |= HAS_TIMES;
        }
        tl::proxy::QueryFinalInfo {
            flags,
            tokens_used: crate::tokens::to_wire(used),
            worker_debug: job.debug.then(|| {
                let first = job.head.unwrap_or(now.unix);
                debug_text("worker_stats", job.started, first, now.unix)
            }),
            worker_start_time: (version >= 2).then_some(job.started),
            worker_end_time: (version >= 2).then_some(now.unix),
        }
    }
}
