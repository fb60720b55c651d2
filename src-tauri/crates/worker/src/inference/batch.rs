//! All running answers in one engine, in the order they came.

use std::collections::{BTreeMap, VecDeque};

use engine::{DeviceFault, Engine, Finish, Refused, Request, SequenceId};
use zeroize::{Zeroize, Zeroizing};

use super::prepare::Prepared;
use super::{Cancel, JobKey, Report};
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

pub(super) struct Batch {
    engine: Engine,
    waiting: VecDeque<Waiting>,
    running: BTreeMap<SequenceId, Origin>,
}

impl Batch {
    pub(super) fn new(engine: Engine) -> Self {
        Self { engine, waiting: VecDeque::new(), running: BTreeMap::new() }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Why the graphics card cannot go on. Whatever ran or waited is void.
    pub(super) fn fault(&self) -> Option<DeviceFault> {
        self.engine.fault().cloned()
    }

    pub(super) fn add(&mut self, mut job: Prepared, reports: &mut Vec<Report>) {
        reports.push(Report::Begun {
            key: job.key,
            prompt_tokens: std::mem::take(&mut job.prompt_tokens),
            echoes: std::mem::take(&mut job.echoes),
        });
        for (choice, request) in std::mem::take(&mut job.requests).into_iter().enumerate() {
            let origin = Origin { key: job.key, choice, cancel: job.cancel.clone() };
            self.waiting.push_back(Waiting { origin, request });
        }
    }

    /// Drops what was cancelled, admits what fits, and advances everything once.
    pub(super) fn step(&mut self, reports: &mut Vec<Report>) {
        self.drop_cancelled();
        self.admit(reports);
        for output in self.engine.step() {
            let Some(origin) = self.running.get(&output.sequence) else {
                continue;
            };
            let finished = output.finished.map(|finish| match finish {
                Finish::Stop => FinishReason::Stop,
                Finish::Length => FinishReason::Length,
            });
            // A chunk of a prompt is nobody's news.
            if output.token.is_some() || finished.is_some() {
                reports.push(Report::Piece {
                    key: origin.key,
                    choice: origin.choice,
                    text: Zeroizing::new(output.text),
                    completion_tokens: output.usage.completion,
                    finished,
                });
            }
            if finished.is_some() {
                self.running.remove(&output.sequence);
            }
        }
    }

    fn drop_cancelled(&mut self) {
        self.waiting.retain(|waiting| !waiting.origin.cancel.is_cancelled());
        let engine = &mut self.engine;
        self.running.retain(|sequence, origin| {
            let keep = !origin.cancel.is_cancelled();
            if !keep {
                engine.cancel(*sequence);
            }
            keep
        });
    }

    fn admit(&mut self, reports: &mut Vec<Report>) {
        while let Some(Waiting { origin, mut request }) = self.waiting.pop_front() {
            // The engine takes the request whole, and one that finds no room has to be asked again.
            match self.engine.add(request.clone()) {
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
                    self.drop_cancelled();
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
