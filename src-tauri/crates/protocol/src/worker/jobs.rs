//! Jobs as they come in, and their deadlines.

use std::time::Duration;

use tl::Boxed;

use super::{Action, Job, Session};
use crate::http::Request;
use crate::{Error, Now, timeout_from_wire};

/// The share of a job's time after which the host is told to end it.
const SOFT_SHARE: f64 = 0.95;

/// What is known of a job while it runs. The prompt is not among it.
pub(super) struct Running {
    pub(super) coefficient: i32,
    pub(super) debug: bool,
    pub(super) started: f64,
    /// When the head went out.
    pub(super) head: Option<f64>,
    soft: Option<Duration>,
    hard: Duration,
}

impl Running {
    pub(super) fn next_deadline(&self) -> Duration {
        self.soft.unwrap_or(self.hard)
    }
}

/// A query of either form.
struct Query {
    request: Vec<u8>,
    payment: tl::proxy::SignedPayment,
    coefficient: i64,
    timeout: f64,
    id: [u8; 32],
    debug: bool,
}

impl Session {
    pub(super) fn start_extended(&mut self, data: &[u8], now: Now, out: &mut Vec<Action>) -> Result<(), Error> {
        let query =
            tl::proxy::RunQueryEx::from_bytes(data).map_err(|_| Error::Malformed { what: "proxy.runQueryEx" })?;
        self.start(
            Query {
                request: query.query,
                payment: query.signed_payment,
                coefficient: query.coefficient,
                timeout: query.timeout,
                id: query.request_id,
                debug: query.enable_debug.unwrap_or(false),
            },
            now,
            out,
        );
        Ok(())
    }

    pub(super) fn start_plain(&mut self, data: &[u8], now: Now, out: &mut Vec<Action>) -> Result<(), Error> {
        let query = tl::proxy::RunQuery::from_bytes(data).map_err(|_| Error::Malformed { what: "proxy.runQuery" })?;
        self.start(
            Query {
                request: query.query,
                payment: query.signed_payment,
                coefficient: query.coefficient,
                timeout: query.timeout,
                id: query.request_id,
                debug: false,
            },
            now,
            out,
        );
        Ok(())
    }

    fn start(&mut self, query: Query, now: Now, out: &mut Vec<Action>) {
        self.merge_payment(query.payment, None, out);
        if self.jobs.contains_key(&query.id) {
            // An id is an id of one request; the second one could not be told from the first.
            return;
        }
        let full = self.jobs.len() >= self.config.max_active_requests as usize;
        let timeout = timeout_from_wire(query.timeout);
        let running = Running {
            // The field is 64 bits wide, its meaning is 32. Nobody works for less than nothing.
            coefficient: (query.coefficient as i32).max(0),
            debug: query.debug,
            started: now.unix,
            head: None,
            soft: Some(now.mono.saturating_add(timeout.mul_f64(SOFT_SHARE))),
            hard: now.mono.saturating_add(timeout),
        };
        let coefficient = running.coefficient;
        self.jobs.insert(query.id, running);
        if full {
            self.answer_whole(&query.id, 429, "Too Many Requests", "the worker has too many active requests", now, out);
            return;
        }
        let Ok(request) = Request::decode(&query.request) else {
            self.answer_whole(&query.id, 400, "Bad Request", "the request could not be read", now, out);
            return;
        };
        out.push(Action::Start(Job { id: query.id, request, coefficient, timeout, enable_debug: query.debug }));
    }

    /// Jobs whose first or second deadline has passed.
    pub(super) fn expire_jobs(&mut self, now: Now, out: &mut Vec<Action>) {
        let mut ended = Vec::new();
        for (id, job) in &mut self.jobs {
            if job.hard <= now.mono {
                ended.push((*id, job.head.is_some()));
            } else if job.soft.is_some_and(|soft| soft <= now.mono) {
                job.soft = None;
                out.push(Action::Cancel(*id));
            }
        }
        for (id, has_head) in ended {
            if has_head {
                self.answer_error(id, 652, "worker: timeout", now, out);
            } else {
                // An error message would crash a genuine client, so before a head the failure is an ordinary answer.
                let words = "the worker ran out of time";
                self.answer_whole(&id, 504, "Gateway Timeout", words, now, out);
            }
            out.push(Action::Expired(id));
        }
    }
}
