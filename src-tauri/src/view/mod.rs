//! What the window shows: facts for the page, and nothing else. The types cross to the page by name (`ui/src/ipc/bindings.ts` is written
//! from them); texts are the page's own, in the owner's language.
//!
//! Amounts of money cross as text, because a number of the page's language can't hold them. What is unknown is `null`, never 0.
//!
//! - here: Home, Jobs, and what the app says by itself.
//! - [`earnings`], [`trust`], [`wallet`]: the pages of the same name.
//! - [`qr`]: a text as a picture.
//! - [`secret`]: words and passwords.

mod earnings;
mod qr;
mod secret;
pub(crate) mod trust;
mod wallet;

pub(crate) use earnings::*;
pub(crate) use qr::Qr;
pub(crate) use secret::Secret;
pub(crate) use wallet::*;

use serde::{Deserialize, Serialize};
use specta::Type;

/// A whole number of things, exact up to 2^53.
pub(crate) type Count = f64;

/// Unix time in milliseconds.
pub(crate) type UnixMs = f64;

/// What stands behind a figure. Every figure says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// This PC counted it.
    Measured,
    /// A proxy signed that it owes it.
    Signed,
    /// It is on the chain.
    Paid,
    /// A range or an "about".
    Estimate,
}

/// Money: nanotons in decimal digits, and what stands behind them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub(crate) struct Money {
    /// Decimal digits, a minus in front if it is below zero.
    pub nanoton: String,
    /// What stands behind it.
    pub kind: Kind,
}

/// Which network is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NetworkKind {
    /// On this PC, with money that is worth nothing.
    Practice,
    /// Somebody's, who accepts home PCs.
    Open,
}

/// The network that is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub(crate) struct Network {
    /// Of which kind.
    pub kind: NetworkKind,
    /// Whether what is earned there is worth nothing: practice, and networks marked as tests.
    pub pays_nothing: bool,
    /// Base name of the model that is served.
    pub model: String,
}

/// The owner's wish. What is so stands in [`Status`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Type)]
#[serde(tag = "wish", rename_all = "snake_case")]
pub(crate) enum Wish {
    /// Work.
    Work,
    /// The card is wanted back now. Work goes on by itself at a time, if one is given.
    Pause {
        /// When to go on by itself; none: when the owner says so.
        until: Option<UnixMs>,
    },
    /// Running answers are finished and their payment is waited for, then pause.
    FinishAndPause,
}

/// What happens now. The page makes one sentence of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum Status {
    /// Nothing runs, because the owner wants it so.
    Paused {
        /// When it goes on by itself.
        until: Option<UnixMs>,
        /// How long it took until the card was free the last time, milliseconds.
        freed_in_ms: Option<Count>,
    },
    /// The worker reads its model.
    Loading,
    /// No proxy is ready.
    Connecting,
    /// Ready, but nobody asks.
    Waiting {
        /// When the last job ended.
        last_job: Option<UnixMs>,
    },
    /// Questions are being answered.
    Working {
        /// How many.
        questions: Count,
    },
    /// No new questions; running answers are finished, then pause.
    Finishing {
        /// How many.
        questions: Count,
    },
    /// Running answers are ended and the card is freed.
    Freeing,
    /// The worker ended unexpectedly and is started again.
    Restarting {
        /// When.
        at: UnixMs,
        /// How often it was started in this session.
        starts: Count,
        /// Why it ended, in words of the log.
        why: Option<String>,
    },
    /// Work can't be written down, so none is taken.
    LedgerFails {
        /// What the ledger said.
        why: String,
    },
    /// It can't work, and only the owner can help.
    Failed {
        /// Why.
        why: String,
    },
}

/// Sums over a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct Sums {
    /// Jobs that got an answer.
    pub answered: Count,
    /// Jobs that got none.
    pub failed: Count,
    /// Tokens of prompts.
    pub prompt_tokens: Count,
    /// Tokens of answers.
    pub completion_tokens: Count,
    /// What was counted for money, at the fees of the time.
    pub counted: Money,
    /// What proxies signed in that time.
    pub signed: Money,
}

/// A graphics card that is being tried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct Trying {
    /// Whether it is measured already; before, its results are compared with the processor's.
    pub measuring: bool,
    /// Which way, from 1.
    pub number: u32,
    /// Of how many.
    pub of: u32,
}

/// What was found out about the graphics card in use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct Tuned {
    /// The engine's name for the way that was chosen.
    pub way: String,
    /// When.
    pub at: Option<UnixMs>,
    /// Tokens of an answer per second, measured then, for one question at a time.
    pub tokens_per_second: Option<f64>,
    /// Tokens of questions read per second, measured then.
    pub prompt_tokens_per_second: Option<f64>,
}

/// The page Home, apart from the cards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct Home {
    /// When this was so.
    pub at: UnixMs,
    /// Which network is served.
    pub network: Network,
    /// What the owner wants.
    pub wish: Wish,
    /// What is so.
    pub status: Status,
    /// Tokens of answers per second, measured over the last ten minutes in which something ran.
    pub tokens_per_second: Option<f64>,
    /// What was signed in the last hour, if anything was served for ten minutes of it.
    pub signed_last_hour: Option<Money>,
    /// Since midnight, local time; none while the ledger can't be read.
    pub today: Option<Sums>,
    /// Since the first of the month, local time; none while the ledger can't be read.
    pub month: Option<Sums>,
    /// Where the model runs: `wgpu`, `cpu`; none while nothing runs.
    pub backend: Option<String>,
    /// The adapter, where it is not the processor.
    pub adapter: Option<String>,
    /// Why it does not run on the graphics card although it should, in words of the log.
    pub fallback: Option<String>,
    /// Why an NVIDIA card is not used through CUDA although it could be reached, in words of the log.
    pub passed_over: Option<String>,
    /// What is done with a graphics card that is being tried out, while that goes on.
    pub trying: Option<Trying>,
    /// How the model's kernels are cut for the card, if that was found out.
    pub tuned: Option<Tuned>,
    /// Claims of a worker or a proxy that did not hold, in this session.
    pub refused_reports: Count,
}

/// What sort of device a card is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CardKind {
    /// A graphics card.
    Graphics,
    /// Graphics inside the processor.
    Integrated,
    /// The processor itself.
    Processor,
}

/// One device, its readings now and a line of the last ten minutes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct Card {
    /// Stays the same while the app runs.
    pub id: String,
    /// Of which sort.
    pub kind: CardKind,
    /// What people call it.
    pub name: String,
    /// The driver's name and version.
    pub driver: Option<String>,
    /// Whether our worker runs on it.
    pub ours: bool,
    /// Whether it sleeps and is not woken to be read.
    pub asleep: bool,
    /// Bytes of its memory.
    pub memory_total: Option<Count>,
    /// Of that, in use by anybody.
    pub memory_used: Option<Count>,
    /// Of that, in use by our worker.
    pub memory_ours: Option<Count>,
    /// Degrees Celsius.
    pub celsius: Option<f64>,
    /// Watts of the whole board.
    pub watts: Option<f64>,
    /// Percent of its time in which it computed.
    pub load_percent: Option<f64>,
    /// Percent of its fan's speed.
    pub fan_percent: Option<f64>,
    /// Tokens of answers per second of our worker on it, in the last seconds.
    pub tokens_per_second: Option<f64>,
    /// Load in percent, a point every five seconds, the newest last; gaps are null.
    pub line: Vec<Option<f64>>,
}

/// How a job stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(tag = "result", rename_all = "snake_case")]
pub(crate) enum JobResult {
    /// With a whole answer.
    Done,
    /// With a part of an answer: the time was up, or the owner wanted the card.
    Stopped,
    /// Refused with an HTTP status.
    Refused {
        /// Which.
        status: u16,
    },
    /// Failed with a code of the protocol.
    Failed {
        /// Which.
        code: i32,
    },
}

/// A job that runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct RunningJob {
    /// Hex digits.
    pub id: String,
    /// Since when.
    pub started: UnixMs,
    /// Tokens of its prompt.
    pub prompt_tokens: Option<Count>,
    /// Tokens of its answer so far.
    pub completion_tokens: Option<Count>,
}

/// Tokens of one sort, and what they count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct PricedTokens {
    /// How many.
    pub count: Count,
    /// What one counts, in millionths (1,000,000: one for one); none where it was not written down.
    pub weight: Option<f64>,
    /// What they count.
    pub counted: Count,
}

/// A job that is over, with how it was priced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct Job {
    /// Its number in the ledger; the page's key.
    pub key: String,
    /// Hex digits.
    pub id: String,
    /// When it came.
    pub started: UnixMs,
    /// When it was over.
    pub finished: UnixMs,
    /// Base name of the model.
    pub model: String,
    /// How it ended.
    pub result: JobResult,
    /// New tokens of the prompt.
    pub prompt: PricedTokens,
    /// Tokens of the prompt that were not computed anew.
    pub cached: PricedTokens,
    /// Tokens of the answer, without thinking.
    pub completion: PricedTokens,
    /// Tokens of thinking.
    pub reasoning: PricedTokens,
    /// The sum of what is counted.
    pub counted_tokens: Count,
    /// Nanotons for one counted token at that time.
    pub fee_nanoton: String,
    /// What it earned, and how far that has come.
    pub earned: Money,
    /// When the signature that covers it came.
    pub signed_at: Option<UnixMs>,
    /// Whether the answer left token by token.
    pub streamed: bool,
    /// Version of the network's prices at that time.
    pub params_version: Count,
    /// Whether it was practice or a test network, and so is worth nothing.
    pub pays_nothing: bool,
}

/// Which jobs are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub(crate) struct JobQuery {
    /// Where the page before ended; none: from the newest.
    pub before: Option<String>,
    /// How many, at most 200.
    pub limit: u32,
    /// Only those that ended well (true) or did not (false).
    pub answered: Option<bool>,
    /// Only those that ended since then, whole Unix milliseconds in digits.
    pub since: Option<String>,
}

/// Some jobs, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct JobPage {
    /// What runs now.
    pub running: Vec<RunningJob>,
    /// What is over.
    pub jobs: Vec<Job>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// Why a call failed, for the page to choose its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ErrorCode {
    /// The app behind the window is gone.
    AppGone,
    /// The ledger can't be read.
    Ledger,
    /// The page asked for something that makes no sense.
    Request,
    /// There is nothing yet that could answer: what it is asked of does not run.
    NotRunning,
    /// The system, or the owner when it asked, said no. The message is a sentence that says so.
    Refused,
}

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub(crate) struct ApiError {
    /// Why.
    pub code: ErrorCode,
    /// In words of the log.
    pub message: String,
}

/// What the app tells the page by itself: whole slices, never differences, so that a lost one heals with the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type, tauri_specta::Event)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub(crate) enum Event {
    /// The page Home is so now.
    Home(Box<Home>),
    /// The cards are so now.
    Cards(Vec<Card>),
    /// Other jobs run, or one is over: ask again.
    JobsChanged,
    /// The page Wallet is so now.
    Wallet(Box<Wallet>),
    /// Money moved: ask for the history again.
    WalletHistoryChanged,
    /// The page Earnings is so now.
    Earnings(Box<Earnings>),
    /// A payout came or was proved: ask for the list and the chart again.
    PayoutsChanged,
    /// Show the page: the owner asked for it in the tray.
    Show {
        /// Which.
        page: Page,
    },
}

/// The pages there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Page {
    /// What happens now.
    Home,
    /// Jobs that run and ran.
    Jobs,
    /// What was earned and how far it has come.
    Earnings,
    /// What is in the wallet and what guards it.
    Wallet,
    /// What runs here, who accepts it, what guards the questions, what leaves.
    Trust,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn sums() -> Sums {
        Sums {
            answered: 12.0,
            failed: 1.0,
            prompt_tokens: 340.0,
            completion_tokens: 1_000.0,
            counted: Money { nanoton: "1340000".to_owned(), kind: Kind::Measured },
            signed: Money { nanoton: "1200000".to_owned(), kind: Kind::Signed },
        }
    }

    /// Practice, waiting.
    pub(crate) fn home() -> Home {
        Home {
            at: 1_000.0,
            network: Network { kind: NetworkKind::Practice, pays_nothing: true, model: "tiny".to_owned() },
            wish: Wish::Work,
            status: Status::Waiting { last_job: None },
            tokens_per_second: Some(40.0),
            signed_last_hour: None,
            today: Some(sums()),
            month: Some(sums()),
            backend: Some("cpu".to_owned()),
            adapter: None,
            fallback: None,
            passed_over: None,
            trying: None,
            tuned: None,
            refused_reports: 0.0,
        }
    }

    /// A card at work.
    pub(crate) fn card() -> Card {
        Card {
            id: "0".to_owned(),
            kind: CardKind::Graphics,
            name: "Test card".to_owned(),
            driver: Some("1.2".to_owned()),
            ours: true,
            asleep: false,
            memory_total: Some(8e9),
            memory_used: Some(3e9),
            memory_ours: Some(2e9),
            celsius: Some(61.0),
            watts: Some(170.4),
            load_percent: Some(80.0),
            fan_percent: None,
            tokens_per_second: None,
            line: vec![None, Some(80.0)],
        }
    }

    #[test]
    fn what_is_unknown_crosses_as_null_and_money_as_text() {
        let json = serde_json::to_value(card()).unwrap();
        assert!(json["fan_percent"].is_null() && json["line"][0].is_null());
        let json = serde_json::to_value(home()).unwrap();
        assert_eq!(json["today"]["signed"]["nanoton"], "1200000");
        assert_eq!(json["status"]["state"], "waiting");
    }
}
