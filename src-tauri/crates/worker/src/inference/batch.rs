//! All running answers in one engine, in the order they came.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use engine::{Conversation, DeviceFault, Engine, Finish, Refused, Request, SequenceId};
use zeroize::{Zeroize, Zeroizing};

use super::conversations::Conversations;
use super::prepare::Prepared;
use super::{Cancel, Forget, JobKey, Report, Work};
use crate::completions::{FinishReason, Refusal};

/// One answer that waits for room in the engine.
struct Waiting {
    origin: Origin,
    request: Request,
}

/// Whose answer a sequence is.
struct Origin {
    key: JobKey,
    choice: usize,
    cancel: Cancel,
}

/// A job that has answers that wait or run.
struct Job {
    /// What its answers share their prompts in; `None` if there is only one and nothing to share it with.
    conversation: Option<Conversation>,
    /// Whether others may come back to the conversation.
    goes_on: bool,
    /// Answers that wait or run.
    left: usize,
}

pub(super) struct Batch {
    engine: Engine,
    waiting: VecDeque<Waiting>,
    running: BTreeMap<SequenceId, Origin>,
    jobs: BTreeMap<JobKey, Job>,
    conversations: Conversations,
}

impl Batch {
    pub(super) fn new(engine: Engine) -> Self {
        Self {
            engine,
            waiting: VecDeque::new(),
            running: BTreeMap::new(),
            jobs: BTreeMap::new(),
            conversations: Conversations::default(),
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Why the graphics card cannot go on. Whatever ran or waited is void.
    pub(super) fn fault(&self) -> Option<DeviceFault> {
        self.engine.fault().cloned()
    }

    /// When [`Self::end_silent`] has something to do, if nothing comes before.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.conversations.next_end()
    }

    /// Frees what is kept of conversations whose time is up.
    pub(super) fn end_silent(&mut self, now: Instant) {
        let ended = self.conversations.end_silent(now);
        self.forget(ended);
    }

    pub(super) fn take(&mut self, work: Work, now: Instant, reports: &mut Vec<Report>) {
        match work {
            Work::Job(job) => self.add(*job, now, reports),
            Work::Forget(what) => {
                // Nothing may be left behind by what was cancelled before.
                self.drop_cancelled(now);
                let ended = match what {
                    Forget::Lane(lane) => self.conversations.end_of_lane(lane),
                    Forget::Everything => self.conversations.end_all(),
                };
                self.forget(ended);
            }
        }
    }

    fn add(&mut self, mut job: Prepared, now: Instant, reports: &mut Vec<Report>) {
        // A connection that has ended must not leave a conversation behind.
        if job.cancel.is_cancelled() {
            return;
        }
        reports.push(Report::Begun {
            key: job.key,
            prompt_tokens: std::mem::take(&mut job.prompt_tokens),
            echoes: std::mem::take(&mut job.echoes),
        });
        let requests = std::mem::take(&mut job.requests);
        let conversation = match &job.place {
            Some(place) => {
                let (conversation, gone) = self.conversations.begin_job(place, now);
                self.forget(gone);
                Some(conversation)
            }
            None => (requests.len() > 1).then(|| self.conversations.fresh()),
        };
        self.jobs.insert(job.key, Job { conversation, goes_on: job.place.is_some(), left: requests.len() });
        for (choice, request) in requests.into_iter().enumerate() {
            let origin = Origin { key: job.key, choice, cancel: job.cancel.clone() };
            self.waiting.push_back(Waiting { origin, request });
        }
    }

    /// Drops what was cancelled, admits what fits, and advances everything once.
    pub(super) fn step(&mut self, reports: &mut Vec<Report>) {
        let now = Instant::now();
        self.drop_cancelled(now);
        self.admit(now, reports);
        for output in self.engine.step() {
            let Some(origin) = self.running.get(&output.sequence) else {
                continue;
            };
            let key = origin.key;
            let finished = output.finished.map(|finish| match finish {
                Finish::Stop => FinishReason::Stop,
                Finish::Length => FinishReason::Length,
            });
            // A chunk of a prompt is nobody's news.
            if output.token.is_some() || finished.is_some() {
                reports.push(Report::Piece {
                    key,
                    choice: origin.choice,
                    text: Zeroizing::new(output.text),
                    counts: output.usage,
                    finished,
                });
            }
            if finished.is_some() {
                self.running.remove(&output.sequence);
                self.ended(key, now);
            }
        }
    }

    /// One answer of a job neither waits nor runs any more.
    fn ended(&mut self, key: JobKey, now: Instant) {
        let Some(job) = self.jobs.get_mut(&key) else { return };
        job.left -= 1;
        let (conversation, goes_on, left) = (job.conversation, job.goes_on, job.left);
        if left == 0 {
            self.jobs.remove(&key);
            let Some(conversation) = conversation else { return };
            if !(goes_on && self.conversations.job_ended(conversation, now)) {
                self.engine.forget(conversation);
            }
        }
    }

    fn forget(&mut self, conversations: impl IntoIterator<Item = Conversation>) {
        for conversation in conversations {
            self.engine.forget(conversation);
        }
    }

    fn drop_cancelled(&mut self, now: Instant) {
        let mut dropped = Vec::new();
        self.waiting.retain(|Waiting { origin, .. }| {
            let drops = origin.cancel.is_cancelled();
            dropped.extend(drops.then_some(origin.key));
            !drops
        });
        let engine = &mut self.engine;
        self.running.retain(|sequence, origin| {
            let drops = origin.cancel.is_cancelled();
            if drops {
                engine.cancel(*sequence);
                dropped.push(origin.key);
            }
            !drops
        });
        for key in dropped {
            self.ended(key, now);
        }
    }

    fn admit(&mut self, now: Instant, reports: &mut Vec<Report>) {
        while let Some(Waiting { origin, mut request }) = self.waiting.pop_front() {
            let conversation = self.jobs.get(&origin.key).and_then(|job| job.conversation);
            // The engine takes the request whole, and one that finds no room has to be asked again.
            let admitted = match conversation {
                None => self.engine.add(request.clone()),
                // Kept at least until the last answer of the job has ended.
                Some(conversation) => self.engine.add_to(conversation, true, request.clone()),
            };
            match admitted {
                Ok(sequence) => {
                    request.prompt.zeroize();
                    self.running.insert(sequence, origin);
                }
                Err(Refused::Full) if !self.running.is_empty() || self.engine.fault().is_some() => {
                    self.waiting.push_front(Waiting { origin, request });
                    return;
                }
                Err(refused) => {
                    // The whole job goes: its other answers are of no use to a customer who gets an error.
                    origin.cancel.cancel();
                    reports.push(Report::Refused { key: origin.key, refusal: refusal(refused) });
                    self.ended(origin.key, now);
                    self.drop_cancelled(now);
                }
            }
        }
    }
}

fn refusal(refused: Refused) -> Refusal {
    match refused {
        Refused::TooLong { prompt, context, .. } => {
            Refusal::context_exceeded(u32::try_from(context).unwrap_or(u32::MAX), prompt, "prompt")
        }
        Refused::EmptyPrompt | Refused::UnknownToken | Refused::NoTokens => {
            Refusal::bad_request(refused.to_string(), Some("prompt"))
        }
        Refused::Full => Refusal::internal("the engine has no room for this request"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use engine::gguf::Limits;
    use engine::{Model, Options, Sampling, TokenCounts, synthetic};
    use link::LaneId;

    use super::super::Place;
    use super::super::conversations::KEEP_FOR;
    use super::*;
    use crate::completions::conversation_key;

    const PROMPT: u32 = 100;

    fn batch(max_sequences: usize) -> Batch {
        let model = Model::read(&mut synthetic::tiny().as_slice(), Limits::default()).unwrap();
        Batch::new(Engine::new(model, Options { threads: 1, context: 512, max_sequences }).unwrap())
    }

    fn place(lane: u32, key: &str) -> Place {
        let key = format!("01234567{}", key.repeat(24));
        let headers = [("X-Conversation-Key", key.as_str())];
        Place { lane: LaneId(lane), key: conversation_key(headers.into_iter()).unwrap() }
    }

    fn job(key: u64, place: Option<Place>, answers: usize) -> (Work, Cancel) {
        let cancel = Cancel::new();
        let request = |seed| Request {
            prompt: (0..PROMPT).map(|n| 3 + n * 7 % 400).collect(),
            sampling: Sampling { seed: [seed as u8; 32], ..Sampling::default() },
            stop: Vec::new(),
            max_tokens: 6,
            constraint: None,
        };
        let job = Prepared {
            key: JobKey(key),
            cancel: cancel.clone(),
            place,
            prompt_tokens: vec![PROMPT.into()],
            echoes: vec![Zeroizing::default()],
            requests: (0..answers).map(request).collect(),
        };
        (Work::Job(Box::new(job)), cancel)
    }

    /// Runs a job to its end; the last counts of each of its answers.
    fn run(batch: &mut Batch, (work, _): (Work, Cancel)) -> Vec<TokenCounts> {
        let mut reports = Vec::new();
        batch.take(work, Instant::now(), &mut reports);
        while !batch.is_idle() {
            batch.step(&mut reports);
        }
        let mut counts = BTreeMap::new();
        for report in reports {
            if let Report::Piece { choice, counts: so_far, .. } = report {
                counts.insert(choice, so_far);
            }
        }
        counts.into_values().collect()
    }

    fn cached(counts: &[TokenCounts]) -> Vec<u64> {
        counts.iter().map(|counts| counts.cached).collect()
    }

    #[test]
    fn the_answers_of_one_request_share_its_prompt_and_leave_nothing() {
        let mut batch = batch(2);
        // More answers than run at once: the later ones find it as well.
        let counts = run(&mut batch, job(1, None, 5));
        assert_eq!(cached(&counts), [0, 96, 96, 96, 96]);
        assert_eq!(batch.engine.kept_tokens(), 0);
        assert_eq!(cached(&run(&mut batch, job(2, None, 2))), [0, 96], "another request finds nothing");
        assert_eq!(cached(&run(&mut batch, job(3, None, 1))), [0]);
        assert!(batch.jobs.is_empty() && batch.next_end().is_none());
    }

    #[test]
    fn only_the_same_key_from_the_same_connection_finds_what_was_said() {
        let mut batch = batch(2);
        assert_eq!(cached(&run(&mut batch, job(1, Some(place(1, "a")), 1))), [0]);
        assert_eq!(cached(&run(&mut batch, job(2, Some(place(1, "b")), 1))), [0]);
        assert_eq!(cached(&run(&mut batch, job(3, Some(place(2, "a")), 1))), [0]);
        assert_eq!(cached(&run(&mut batch, job(4, None, 1))), [0]);
        assert_eq!(cached(&run(&mut batch, job(5, Some(place(1, "a")), 2))), [96, 96]);
    }

    #[test]
    fn what_is_kept_goes_with_its_time_its_connection_and_the_card() {
        let mut batch = batch(2);
        let mut reports = Vec::new();
        let keep = |batch: &mut Batch, lane| {
            run(batch, job(1, Some(place(lane, "a")), 1));
            batch.engine.kept_tokens()
        };
        let one = keep(&mut batch, 1);
        assert!(one >= 96);
        let end = batch.next_end().unwrap();
        batch.end_silent(end.checked_sub(KEEP_FOR / 2).unwrap());
        assert_eq!(batch.engine.kept_tokens(), one);
        batch.end_silent(end);
        assert_eq!(batch.engine.kept_tokens(), 0);
        assert_eq!((keep(&mut batch, 1), keep(&mut batch, 2)), (one, 2 * one));
        batch.take(Work::Forget(Forget::Lane(LaneId(1))), Instant::now(), &mut reports);
        assert_eq!(batch.engine.kept_tokens(), one);
        batch.take(Work::Forget(Forget::Everything), Instant::now(), &mut reports);
        assert_eq!(batch.engine.kept_tokens(), 0);
    }

    /// A job with a key and more answers than run at once, in the middle: some of them still wait.
    fn half_answered(batch: &mut Batch, reports: &mut Vec<Report>) {
        batch.take(job(1, Some(place(1, "a")), 5).0, Instant::now(), reports);
        while batch.waiting.len() > 2 {
            batch.step(reports);
        }
        assert!(!batch.running.is_empty());
    }

    fn run_out(batch: &mut Batch, reports: &mut Vec<Report>) {
        while !batch.is_idle() {
            batch.step(reports);
        }
        assert!(batch.jobs.is_empty() && batch.engine.running() == 0);
    }

    #[test]
    fn a_job_that_takes_longer_than_its_time_leaves_nothing_that_stays() {
        let mut batch = batch(2);
        let mut reports = Vec::new();
        half_answered(&mut batch, &mut reports);
        assert_eq!(batch.next_end(), None, "not while it is answered");
        batch.end_silent(Instant::now() + 2 * KEEP_FOR);
        run_out(&mut batch, &mut reports);
        // It is still known, so what is kept has an end.
        assert!(batch.engine.kept_tokens() >= 96);
        let end = batch.next_end().unwrap();
        batch.end_silent(end);
        assert_eq!((batch.engine.kept_tokens(), batch.next_end()), (0, None));
    }

    #[test]
    fn what_ends_in_the_middle_of_a_job_leaves_nothing_of_its_later_answers() {
        for what in [Forget::Lane(LaneId(1)), Forget::Everything] {
            let mut batch = batch(2);
            let mut reports = Vec::new();
            half_answered(&mut batch, &mut reports);
            batch.take(Work::Forget(what), Instant::now(), &mut reports);
            run_out(&mut batch, &mut reports);
            assert_eq!((batch.engine.kept_tokens(), batch.next_end()), (0, None), "{what:?}");
        }
    }

    #[test]
    fn a_connection_that_ends_while_it_is_answered_leaves_nothing() {
        let mut batch = batch(2);
        let mut reports = Vec::new();
        run(&mut batch, job(1, Some(place(1, "a")), 1));
        // One runs, one waits, and one is still being prepared.
        let jobs = [job(2, Some(place(1, "a")), 2), job(3, Some(place(1, "c")), 1), job(4, Some(place(1, "a")), 1)];
        let mut late = Vec::new();
        for (number, (work, cancel)) in jobs.into_iter().enumerate() {
            if number < 2 {
                batch.take(work, Instant::now(), &mut reports);
                batch.step(&mut reports);
            } else {
                late.push(work);
            }
            cancel.cancel();
        }
        batch.take(Work::Forget(Forget::Lane(LaneId(1))), Instant::now(), &mut reports);
        for work in late {
            batch.take(work, Instant::now(), &mut reports);
        }
        batch.step(&mut reports);
        assert!(batch.is_idle() && batch.jobs.is_empty() && batch.next_end().is_none());
        assert_eq!((batch.engine.kept_tokens(), batch.engine.running()), (0, 0));
    }
}
