//! Jobs in the event loop: from the proxy's request to the last byte and the record.

use std::time::Duration;

use accounting::{AdjustedUsage, Endpoint, JobId, JobOutcome, TokenUsage};
use link::{FromWorker, LaneId};
use protocol::http::ResponseHead;
use protocol::worker::Job;
use zeroize::{Zeroize, Zeroizing};

use super::{Server, Yielding};
use crate::completions::{self, Answer, Costs, Opening, Order, Refusal};
use crate::inference::{Cancel, JobKey, Place, Task};
use crate::job::{Ending, Facts, Running};

/// Between two reports of how far a job is.
const PROGRESS_PAUSE: Duration = Duration::from_secs(1);

impl Server {
    /// A proxy sent a job.
    pub(super) fn start(&mut self, lane: LaneId, job: Job) {
        let Job { id, mut request, coefficient, .. } = job;
        let body = Zeroizing::new(std::mem::take(&mut request.body));
        let parsed = self.admit(&request.method, &request.url, &body);
        let mut facts = Facts {
            lane,
            id,
            endpoint: if request.url.ends_with("/v1/completions") { Endpoint::Completions } else { Endpoint::Chat },
            coefficient,
            streamed: false,
            started_unix_ms: self.clock.unix_ms(),
        };
        let key = completions::conversation_key(request.headers.iter().map(|(name, value)| (&**name, &**value)));
        request.url.zeroize();
        request.headers.iter_mut().for_each(|(_, value)| value.zeroize());
        match parsed {
            Err(refusal) => self.answer_refusal(&facts, false, &refusal),
            Ok(order) => {
                facts.streamed = order.stream;
                self.run(facts, order, key.map(|key| Place { lane, key }));
            }
        }
    }

    fn admit(&self, method: &str, url: &str, body: &[u8]) -> Result<Order, Refusal> {
        if self.yielding != Yielding::No {
            return Err(Refusal::unavailable());
        }
        if self.jobs.len() >= self.configuration.max_active_requests as usize {
            return Err(Refusal::too_many());
        }
        completions::parse(method, url, body, &self.model.base)
    }

    fn run(&mut self, facts: Facts, order: Order, place: Option<Place>) {
        let key = JobKey(self.next_key);
        self.next_key += 1;
        let cancel = Cancel::new();
        let prompts = order.prompts.count();
        let n = order.n as usize;
        let answer = Answer::new(Opening {
            endpoint: facts.endpoint,
            stream: facts.streamed,
            request_id: facts.id,
            model: self.model.base.clone(),
            created: facts.started_unix_ms / 1000,
            choices: prompts * n,
        });
        let job = facts.started();
        let running = Running::new(facts, answer, cancel.clone(), prompts, n);
        self.jobs.insert(key, running);
        self.keys.insert((facts.lane, facts.id), key);
        self.pipe.say(&FromWorker::JobStarted { lane: facts.lane, job, active: self.jobs.len() as u32 });
        let task = Task { key, request_id: facts.id, order, cancel, place };
        if !self.inference.as_ref().is_some_and(|inference| inference.run(task)) {
            // Its thread is gone, and soon this process: another worker can do it.
            self.refuse(key, &Refusal::unavailable());
        }
    }

    /// Tells the app how far a job is, at most once a second.
    pub(super) fn tell_progress(&mut self, key: JobKey) {
        let now = self.clock.mono();
        let Some(job) = self.jobs.get_mut(&key) else {
            return;
        };
        if job.told.is_some_and(|told| now.saturating_sub(told) < PROGRESS_PAUSE) {
            return;
        }
        job.told = Some(now);
        let (prompt_tokens, completion_tokens) = job.progress();
        let id = JobId(job.facts.id);
        self.pipe.say(&FromWorker::JobProgress { id, prompt_tokens, completion_tokens });
    }

    /// Sends the text that has come, if the proxy reads what we send.
    pub(super) fn send_text(&mut self, key: JobKey) {
        let now = self.clock.now();
        let Some(job) = self.jobs.get_mut(&key) else {
            return;
        };
        let Some(lane) = self.lanes.get_mut(&job.facts.lane) else {
            return;
        };
        if !lane.has_room() {
            return;
        }
        let Some(events) = job.answer.events().map(Zeroizing::new) else {
            return;
        };
        let head = (!job.head_sent).then(|| head(&job.answer));
        job.head_sent = true;
        let id = job.facts.id;
        lane.say(|session, out| {
            if let Some(head) = head {
                session.answer_head(id, head, now, out);
            }
            session.answer_part(id, &events, now, out);
        });
        let lane = job.facts.lane;
        self.pump(lane);
    }

    /// The proxy reads again: sends what waited.
    pub(super) fn send_waiting_text(&mut self, lane: LaneId) {
        let waiting: Vec<JobKey> =
            self.jobs.iter().filter(|(_, job)| job.facts.lane == lane).map(|(key, _)| *key).collect();
        for key in waiting {
            self.send_text(key);
        }
    }

    /// Ends a job with an ordinary answer: what there is and honest counts, or a refusal if there is nothing.
    pub(super) fn end(&mut self, key: JobKey, ending: Ending) {
        let refusal = match ending {
            Ending::Complete => None,
            Ending::Yield => Some(Refusal::unavailable()),
            Ending::Deadline => Some(Refusal::timed_out()),
        };
        if let Some(refusal) = refusal
            && self.jobs.get(&key).is_some_and(|job| !job.has_tokens() && !job.head_sent)
        {
            self.refuse(key, &refusal);
            return;
        }
        let Some(mut job) = self.forget(key) else {
            return;
        };
        let usage = job.usage();
        let adjusted = usage.adjusted(job.facts.coefficient, &self.prices);
        let costs = Costs::new(&adjusted, &self.prices);
        let head = (!job.head_sent).then(|| head(&job.answer));
        let rest = Zeroizing::new(job.answer.end(&usage, Some(&costs)));
        let outcome = match ending {
            Ending::Complete => JobOutcome::Answered,
            Ending::Yield | Ending::Deadline => JobOutcome::Stopped,
        };
        self.finish(&job.facts, head, &rest, usage, outcome);
    }

    /// Ends a running job with a refusal.
    pub(super) fn refuse(&mut self, key: JobKey, refusal: &Refusal) {
        if let Some(job) = self.forget(key) {
            self.answer_refusal(&job.facts, job.head_sent, refusal);
        }
    }

    /// Drops a job that nobody waits for any more.
    pub(super) fn lose(&mut self, key: JobKey, code: i32) {
        if let Some(job) = self.forget(key) {
            self.done(&job.facts, JobOutcome::Failed { code }, TokenUsage::default(), self.nothing(&job.facts));
        }
    }

    fn answer_refusal(&mut self, facts: &Facts, head_sent: bool, refusal: &Refusal) {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        let head = (!head_sent).then(|| ResponseHead::new(i32::from(refusal.status()), refusal.reason(), headers));
        let outcome = JobOutcome::Refused { status: refusal.status() };
        self.finish(facts, head, &refusal.body(), TokenUsage::default(), outcome);
    }

    fn finish(
        &mut self,
        facts: &Facts,
        head: Option<ResponseHead>,
        rest: &[u8],
        usage: TokenUsage,
        outcome: JobOutcome,
    ) {
        let now = self.clock.now();
        let id = facts.id;
        let adjusted = self.lanes.get_mut(&facts.lane).and_then(|lane| {
            lane.say(|session, out| {
                if let Some(head) = head {
                    session.answer_head(id, head, now, out);
                }
                session.answer_last(id, rest, usage, now, out)
            })
            .flatten()
        });
        let adjusted = adjusted.unwrap_or_else(|| self.nothing(facts));
        // In this order: the app writes the job down before it lets these bytes pass.
        self.done(facts, outcome, usage, adjusted);
        self.pump(facts.lane);
    }

    fn done(&mut self, facts: &Facts, outcome: JobOutcome, usage: TokenUsage, adjusted: AdjustedUsage) {
        let record = facts.record(self.clock.unix_ms(), outcome, usage, adjusted);
        self.pipe.say(&FromWorker::JobDone { lane: facts.lane, record, active: self.jobs.len() as u32 });
    }

    fn nothing(&self, facts: &Facts) -> AdjustedUsage {
        TokenUsage::default().adjusted(facts.coefficient, &self.prices)
    }

    fn forget(&mut self, key: JobKey) -> Option<Running> {
        let job = self.jobs.remove(&key)?;
        self.keys.remove(&(job.facts.lane, job.facts.id));
        job.cancel.cancel();
        Some(job)
    }
}

fn head(answer: &Answer) -> ResponseHead {
    let head = answer.head();
    let headers = head.headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    ResponseHead::new(i32::from(head.status), head.reason, headers)
}
