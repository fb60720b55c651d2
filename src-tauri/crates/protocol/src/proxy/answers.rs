//! Answers on their way from a worker to a client.

use tl::{Boxed, TokensUsed};

use super::{Action, Core, Outcome, code};
use crate::http::ResponseHead;
use crate::{Error, Now, debug_text, header_time};

/// Bits of `flags` in answers and final infos.
const IS_COMPLETE: u32 = 1;
const HAS_DEBUG: u32 = 1;
const HAS_TIMES: u32 = 2;

/// Statuses with which a worker says that another one should do it.
const TRY_ELSEWHERE: [i32; 2] = [429, 503];

/// What a worker says at the end of an answer.
#[derive(Default)]
struct Report {
    tokens: TokensUsed,
    debug: Option<String>,
    times: Option<(f64, f64)>,
}

/// A worker's message, whatever its form.
enum Said {
    Head { answer: Vec<u8>, report: Option<Report> },
    Part { answer: Vec<u8>, report: Option<Report> },
    Error { code: i32, words: String, report: Report },
}

impl From<tl::proxy::QueryFinalInfo> for Report {
    fn from(info: tl::proxy::QueryFinalInfo) -> Self {
        Self {
            tokens: info.tokens_used,
            debug: info.worker_debug,
            times: info.worker_start_time.zip(info.worker_end_time),
        }
    }
}

impl From<TokensUsed> for Report {
    fn from(tokens: TokensUsed) -> Self {
        Self { tokens, ..Self::default() }
    }
}

impl Said {
    /// `Ok(None)`: not an answer.
    fn read(data: &[u8]) -> Result<Option<([u8; 32], Self)>, Error> {
        use tl::proxy::{QueryAnswer, QueryAnswerEx, QueryAnswerPart};
        let malformed = |_| Error::Malformed { what: "an answer" };
        let said = match tl::peek_id(data) {
            Some(QueryAnswerEx::ANSWER | QueryAnswerEx::PART | QueryAnswerEx::ERROR) => {
                Self::extended(QueryAnswerEx::from_bytes(data).map_err(malformed)?)
            }
            Some(QueryAnswer::ANSWER | QueryAnswer::ERROR) => {
                Self::plain(QueryAnswer::from_bytes(data).map_err(malformed)?)
            }
            Some(QueryAnswerPart::PART | QueryAnswerPart::ERROR) => {
                Self::plain_part(QueryAnswerPart::from_bytes(data).map_err(malformed)?)
            }
            _ => return Ok(None),
        };
        Ok(Some(said))
    }

    fn extended(answer: tl::proxy::QueryAnswerEx) -> ([u8; 32], Self) {
        use tl::proxy::QueryAnswerEx as Form;
        match answer {
            Form::Answer { request_id, answer, final_info, .. } => {
                (request_id, Self::Head { answer, report: final_info.map(Report::from) })
            }
            Form::Part { request_id, answer, final_info, .. } => {
                (request_id, Self::Part { answer, report: final_info.map(Report::from) })
            }
            Form::Error { request_id, error_code, error, final_info, .. } => (
                request_id,
                Self::Error {
                    code: error_code,
                    words: error,
                    // A genuine proxy aborts when it is missing.
                    report: final_info.map(Report::from).unwrap_or_default(),
                },
            ),
        }
    }

    fn plain(answer: tl::proxy::QueryAnswer) -> ([u8; 32], Self) {
        use tl::proxy::QueryAnswer as Form;
        match answer {
            Form::Answer { answer, is_completed, request_id, tokens_used } => {
                (request_id, Self::Head { answer, report: is_completed.then(|| tokens_used.into()) })
            }
            Form::Error { error_code, error, request_id, tokens_used } => {
                (request_id, Self::Error { code: error_code, words: error, report: tokens_used.into() })
            }
        }
    }

    fn plain_part(answer: tl::proxy::QueryAnswerPart) -> ([u8; 32], Self) {
        use tl::proxy::QueryAnswerPart as Form;
        match answer {
            Form::Part { answer, is_completed, request_id, tokens_used } => {
                (request_id, Self::Part { answer, report: is_completed.then(|| tokens_used.into()) })
            }
            Form::Error { error_code, error, request_id, tokens_used } => {
                (request_id, Self::Error { code: error_code, words: error, report: tokens_used.into() })
            }
        }
    }
}

/// Head or part, for the one message that they share a shape with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Head,
    Part,
}

impl Core {
    /// A message of a worker that may be an answer. One to a query that this connection did not get is dropped: it comes too late,
    /// or it is not the worker's to answer.
    pub(super) fn worker_answer(
        &mut self,
        conn: u64,
        data: &[u8],
        now: Now,
        out: &mut Vec<Action>,
    ) -> Result<(), Error> {
        let Some((id, said)) = Said::read(data)? else {
            return Ok(());
        };
        let Some(key) = self.work.find(conn, &id) else {
            return Ok(());
        };
        let has_head =
            self.work.job(key).and_then(|job| job.attempt.as_ref()).is_some_and(|attempt| attempt.head_at.is_some());
        match said {
            Said::Head { answer, report } if !has_head => self.head(key, &answer, report, now, out),
            Said::Part { answer, report } if has_head => {
                self.release_held(key, now, out);
                self.pass_on(key, Kind::Part, answer, report, now, out);
            }
            Said::Head { .. } | Said::Part { .. } => {
                self.fail(key, code::PROTOCOL, "out of order answer parts", now, out);
            }
            Said::Error { code, words, report } => self.worker_failed(key, code, words, report, now, out),
        }
        Ok(())
    }

    fn head(&mut self, key: u64, answer: &[u8], report: Option<Report>, now: Now, out: &mut Vec<Action>) {
        let Ok((mut head, body)) = ResponseHead::decode(answer) else {
            return self.fail(key, code::PROTOCOL, "the worker's answer is not HTTP", now, out);
        };
        if !head.is_sound() {
            // It would crash a genuine client.
            return self.fail(key, code::PROTOCOL, "the worker's answer is not HTTP", now, out);
        }
        if TRY_ELSEWHERE.contains(&head.status) && self.may_retry(key, now) {
            return self.take_back(key, now, out);
        }
        let Some(job) = self.work.job_mut(key) else {
            return;
        };
        head.headers.extend([
            ("X-Cocoon-Proxy-Start".to_owned(), header_time(job.started.unix)),
            ("X-Cocoon-Proxy-End".to_owned(), header_time(now.unix)),
        ]);
        let encoded = head.encode(&body);
        if let Some(attempt) = &mut job.attempt {
            attempt.head_at = Some(now.unix);
            if self.config.retry && body.is_empty() && report.is_none() {
                attempt.held = Some(encoded);
                return;
            }
        }
        self.pass_on(key, Kind::Head, encoded, report, now, out);
    }

    /// Passes on the head that was held back.
    fn release_held(&mut self, key: u64, now: Now, out: &mut Vec<Action>) {
        let held = self.work.job_mut(key).and_then(|job| job.attempt.as_mut()).and_then(|attempt| attempt.held.take());
        if let Some(head) = held {
            self.pass_on(key, Kind::Head, head, None, now, out);
        }
    }

    /// Passes a head or a part on; the last one ends the job and is what is charged by.
    fn pass_on(
        &mut self,
        key: u64,
        kind: Kind,
        answer: Vec<u8>,
        report: Option<Report>,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let Some(job) = self.work.job_mut(key) else {
            return;
        };
        job.answer_bytes = job.answer_bytes.saturating_add(answer.len() as u64);
        let charged = match &report {
            Some(report) if report.tokens.total_tokens_used < 0 => {
                return self.fail(key, code::PROTOCOL, "negative token counts", now, out);
            }
            // The genuine proxy charges whatever the worker says.
            Some(report) => Some(report.tokens.total_tokens_used.min(job.ceiling(&self.prices))),
            None => None,
        };
        job.answered = true;
        let (conn, request_id) = (job.client_conn, job.client_id);
        let final_info = report.zip(charged).map(|(report, charged)| self.final_info(key, report, charged, now));
        let flags = if final_info.is_some() { IS_COMPLETE } else { 0 };
        let message = match kind {
            Kind::Head => tl::client::QueryAnswerEx::Answer { request_id, answer, flags, final_info },
            Kind::Part => tl::client::QueryAnswerEx::Part { request_id, answer, flags, final_info },
        };
        let fits = conn.is_none_or(|conn| self.message(conn, message.to_bytes(), out));
        if !fits {
            return self.fail(key, code::ERROR, "the answer is too large", now, out);
        }
        if let Some(tokens) = charged {
            self.finish(key, Outcome::Answered, tokens, now, out);
        }
    }

    /// An error of the worker's is passed on as such; it costs nothing.
    fn worker_failed(&mut self, key: u64, code: i32, words: String, report: Report, now: Now, out: &mut Vec<Action>) {
        // A request that one worker finds invalid is invalid everywhere.
        if code != code::PROTOCOL && self.may_retry(key, now) {
            return self.take_back(key, now, out);
        }
        let Some(job) = self.work.job(key) else {
            return;
        };
        let (conn, request_id) = (job.client_conn, job.client_id);
        let unpaid = Report { tokens: TokensUsed::default(), ..report };
        let message = tl::client::QueryAnswerEx::Error {
            request_id,
            error_code: code,
            error: words,
            flags: IS_COMPLETE,
            final_info: Some(self.final_info(key, unpaid, 0, now)),
        };
        if let Some(conn) = conn {
            self.message(conn, message.to_bytes(), out);
        }
        self.finish(key, Outcome::Failed { code }, 0, now, out);
    }

    fn final_info(&self, key: u64, report: Report, charged: i64, now: Now) -> tl::client::QueryFinalInfo {
        let job = self.work.job(key);
        let debug = job.is_some_and(|job| job.debug);
        let version = job.map_or(0, |job| job.client.version);
        let started = job.map_or(now.unix, |job| job.started.unix);
        let first = job.and_then(|job| job.attempt.as_ref()).and_then(|attempt| attempt.head_at).unwrap_or(now.unix);
        let (worker_start, worker_end) = report.times.unwrap_or_default();
        tl::client::QueryFinalInfo {
            flags: if debug { HAS_DEBUG } else { 0 } | if version >= 2 { HAS_TIMES } else { 0 },
            tokens_used: TokensUsed { total_tokens_used: charged, ..report.tokens },
            worker_debug: report.debug.filter(|_| debug),
            proxy_debug: debug.then(|| debug_text("proxy_stats", started, first, now.unix)),
            proxy_start_time: (version >= 2).then_some(started),
            proxy_end_time: (version >= 2).then_some(now.unix),
            worker_start_time: (version >= 2).then_some(worker_start),
            worker_end_time: (version >= 2).then_some(worker_end),
        }
    }
}
