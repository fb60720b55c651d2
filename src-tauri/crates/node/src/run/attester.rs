//! What shows a proxy what this computer is: asked here, made elsewhere.
//!
//! May not: know how evidence is made. It runs on a thread of its own, because a TPM takes its time.

use std::sync::mpsc::{SyncSender, sync_channel};

use link::LaneId;
use tokio::sync::mpsc;

use crate::core::Input;

/// Questions that may wait for the attester. More are answered with nothing.
const WAITING: usize = 16;

/// What evidence is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// The proxy's payment key.
    pub audience: [u8; 32],
    /// The key of our certificate on this connection.
    pub tls_key: [u8; 32],
    /// The proxy's nonce.
    pub nonce: [u8; 32],
}

/// Makes evidence. May block.
pub trait Attester: Send {
    /// Evidence in its container, or why there is none, in words for the owner.
    fn attest(&mut self, question: &Question) -> Result<Vec<u8>, String>;
}

/// The attester's thread, which ends with this.
pub(super) struct Witness {
    questions: Option<SyncSender<(LaneId, u64, Question)>>,
    inputs: mpsc::Sender<Input>,
}

impl Witness {
    /// Without an attester, or a thread, there is never anything to show.
    pub(super) fn start(attester: Option<Box<dyn Attester>>, inputs: mpsc::Sender<Input>) -> Self {
        let questions = attester.and_then(|mut attester| {
            let (sender, receiver) = sync_channel::<(LaneId, u64, Question)>(WAITING);
            let answers = inputs.clone();
            let thread = std::thread::Builder::new().name("attester".to_owned()).spawn(move || {
                for (lane, ask, question) in receiver {
                    let evidence = attester.attest(&question);
                    if answers.blocking_send(Input::Attested { lane, ask, evidence }).is_err() {
                        return;
                    }
                }
            });
            thread.is_ok().then_some(sender)
        });
        Self { questions, inputs }
    }

    pub(super) fn ask(&self, lane: LaneId, ask: u64, question: Question) {
        let why = match &self.questions {
            None => "this computer is not set up to prove anything",
            Some(questions) => match questions.try_send((lane, ask, question)) {
                Ok(()) => return,
                Err(_) => "too many ask at once",
            },
        };
        let inputs = self.inputs.clone();
        // The core is busy with this very effect; it hears of it next.
        tokio::spawn(async move {
            let _ = inputs.send(Input::Attested { lane, ask, evidence: Err(why.to_owned()) }).await;
        });
    }
}
