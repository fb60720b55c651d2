//! What the app and its window's process say to each other: JSON, one message a line, over the window's standard input and output. Both
//! ends are one program of one build.
//!
//! Passwords and words of a wallet cross here, so none of these types can be printed, and the lines are wiped when they are dropped.

use std::io::BufRead;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::view::trust::{RuleChange, Trust};
use crate::view::{
    ApiError, Card, Destination, Done, EarnedChart, Earnings, Event, ExplorerTarget, ExportOrder, Exported, Home,
    JobPage, JobQuery, PageQuery, PayoutPage, PayoutSet, PowerOrder, Prepared, Protect, Range, RateOrder, ReadWords,
    Revealed, Secret, SendOrder, Sent, SetAside, TakeForecast, Verification, Wallet, WalletHistory, WalletRules, Wish,
};

/// Longest line that is read, in bytes.
const MAX_LINE: u64 = 8 << 20;

/// What the page asks for.
#[derive(PartialEq, Serialize, Deserialize)]
pub(crate) enum Question {
    /// The page Home.
    Home,
    /// The cards.
    Cards,
    /// Some jobs.
    Jobs(JobQuery),
    /// The owner wants something.
    SetWish(Wish),
    /// About the wallet.
    Wallet(WalletQuestion),
    /// About what was earned.
    Earnings(EarningsQuestion),
    /// About trust.
    Trust(TrustQuestion),
    /// The owner wants the app to end.
    Quit,
}

/// What the page Wallet asks for.
#[derive(PartialEq, Serialize, Deserialize)]
pub(crate) enum WalletQuestion {
    /// The page. Answer: `Page`.
    Page,
    /// What moved. Answer: `History`.
    History(PageQuery),
    /// What is to be known about an address, as it was typed. Answer: `Destination`.
    CheckDestination(String),
    /// Try a transfer on a copy of the chain. It replaces the draft before it. Answer: `Prepared`.
    PrepareSend(SendOrder),
    /// The owner's word for a draft. Answer: `Sent`.
    ConfirmSend {
        /// Which.
        draft: String,
        /// Where the draft needs it.
        password: Option<Secret>,
    },
    /// Make a wallet with new words and save it. Answer: `Done`.
    Create(Protect),
    /// Show the words of the saved wallet. Answer: `Revealed`.
    Reveal {
        /// Where the wallet has one.
        password: Option<Secret>,
    },
    /// The words at the places that the last `Reveal` named. Answer: `Done`; from then on they count as written down.
    Quiz(Vec<Secret>),
    /// What words of another wallet mean. Nothing is saved. Answer: `ReadWords`.
    ReadWords(Secret),
    /// Save one of those that `ReadWords` found. Answer: `Done`.
    SaveWords {
        /// What was read.
        draft: String,
        /// Number of the candidate.
        candidate: u32,
        /// How to keep it.
        protect: Protect,
    },
    /// Forget what `ReadWords` read. Answer: `Done`.
    ForgetWords,
    /// Let payouts go to this address. Where there is no wallet it is watched. Answer: `PayoutSet`.
    SetPayoutAddress(String),
    /// Take a waiting change back. Answer: `Done`.
    KeepPayoutAddress,
    /// Open the wallet. Answer: `Done`.
    Unlock {
        /// Where the wallet has one.
        password: Option<Secret>,
    },
    /// Close it. Answer: `Done`.
    Lock,
    /// Delete the wallet of this address (any spelling of `AddressForms`), or stop to watch it. Answer: `Done`.
    Delete(String),
    /// Move a wallet's file that does not open out of the way. Answer: `SetAside`.
    SetAside,
    /// Other rules. Answer: `Done`.
    SetRules(WalletRules),
    /// Not now. Answer: `Done`.
    DismissReminder,
    /// Try to send all that is in the fee wallet to the payout address; `ConfirmSend` gives the word. Answer: `Prepared`.
    TakeRestBack,
    /// Open a site in the owner's browser. Answer: `Done`.
    ShowOnExplorer(ExplorerTarget),
}

/// What the page Earnings asks for.
#[derive(PartialEq, Serialize, Deserialize)]
pub(crate) enum EarningsQuestion {
    /// The page. Answer: `Page`.
    Page,
    /// The chart. Answer: `Chart`.
    Chart(Range),
    /// The payouts. Answer: `Payouts`.
    Payouts(PageQuery),
    /// Compute everything about a payout anew. Answer: `Verification`.
    Verify(String),
    /// Try to fetch what is signed, on a copy of the chain. Answer: `TakeForecast`.
    ForecastTake,
    /// Fetch what is signed now. Answer: `Sent`.
    TakeNow,
    /// From how much on it is fetched by itself, nanotons; none: only when asked. Answer: `Done`.
    SetThreshold(Option<String>),
    /// What a coin is worth today. Answer: `Done`.
    SetRate(RateOrder),
    /// What electricity costs. Answer: `Done`.
    SetPowerPrice(PowerOrder),
    /// Write a file. Answer: `Exported`.
    Export(ExportOrder),
}

/// What the page Trust asks for.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TrustQuestion {
    /// The page as far as things are known. Answer: `Page`.
    Page,
    /// Look at this PC anew, and the page then. Answer: `Page`.
    Check,
    /// What can be shown to others. Answer: `Proof`.
    Proof,
    /// Have Windows ask the owner about the firewall's rule, and the page then. Answer: `Page`.
    Rule(RuleChange),
}

/// What it gets.
#[derive(PartialEq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The page Home.
    Home(Box<Home>),
    /// The cards.
    Cards(Vec<Card>),
    /// Some jobs.
    Jobs(JobPage),
    /// About the wallet.
    Wallet(WalletAnswer),
    /// About what was earned.
    Earnings(EarningsAnswer),
    /// About trust.
    Trust(TrustAnswer),
    /// It was heard.
    Done,
}

/// What the page Wallet gets.
#[derive(PartialEq, Serialize, Deserialize)]
pub(crate) enum WalletAnswer {
    /// The page.
    Page(Box<Wallet>),
    /// What moved.
    History(WalletHistory),
    /// What is to be known about an address.
    Destination(Destination),
    /// A transfer that was tried.
    Prepared(Prepared),
    /// A transfer that is under way.
    Sent(Sent),
    /// Something that was done.
    Done(Done),
    /// The words.
    Revealed(Revealed),
    /// What words mean.
    ReadWords(ReadWords),
    /// Another payout address.
    PayoutSet(PayoutSet),
    /// A file out of the way.
    SetAside(SetAside),
}

/// What the page Earnings gets.
#[derive(PartialEq, Serialize, Deserialize)]
pub(crate) enum EarningsAnswer {
    /// The page.
    Page(Box<Earnings>),
    /// The chart.
    Chart(EarnedChart),
    /// The payouts.
    Payouts(PayoutPage),
    /// A payout, proved or not.
    Verification(Verification),
    /// What fetching would bring.
    TakeForecast(TakeForecast),
    /// A payout that is under way.
    Sent(Sent),
    /// Something that was done.
    Done(Done),
    /// A file that was written.
    Exported(Exported),
}

/// What the page Trust gets.
#[derive(PartialEq, Serialize, Deserialize)]
pub(crate) enum TrustAnswer {
    /// The page.
    Page(Box<Trust>),
    /// A proof, as JSON.
    Proof(String),
}

/// What the window says.
#[derive(PartialEq, Serialize, Deserialize)]
pub(crate) enum ToApp {
    /// The page asks.
    Ask {
        /// Its number, for the answer.
        id: u64,
        /// What.
        question: Question,
    },
}

/// What the app says.
#[derive(PartialEq, Serialize, Deserialize)]
pub(crate) enum ToWindow {
    /// Something changed.
    Event(Event),
    /// The answer to a question.
    Answer {
        /// The question's number.
        id: u64,
        /// What.
        answer: Result<Answer, ApiError>,
    },
    /// Come to the front.
    Raise,
}

/// Reads the next message. `None`: the other end is gone, or does not keep to the form.
pub(crate) fn read<M: for<'de> Deserialize<'de>>(reader: &mut impl BufRead) -> Option<M> {
    let mut line = Zeroizing::new(Vec::new());
    let length = std::io::Read::take(reader.by_ref(), MAX_LINE).read_until(b'\n', &mut line).ok()?;
    if length == 0 || line.last() != Some(&b'\n') {
        return None;
    }
    serde_json::from_slice(&line).ok()
}

/// Writes a message down as a line.
pub(crate) fn line(message: &impl Serialize) -> Zeroizing<Vec<u8>> {
    // Our own types always serialise: they have no maps with keys that are no text.
    let mut line = Zeroizing::new(serde_json::to_vec(message).unwrap_or_default());
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{ErrorCode, Page};

    #[test]
    fn messages_survive_the_line() {
        let said = [
            ToWindow::Event(Event::Show { page: Page::Jobs }),
            ToWindow::Answer { id: 7, answer: Ok(Answer::Done) },
            ToWindow::Answer {
                id: 8,
                answer: Err(ApiError { code: ErrorCode::Ledger, message: "two\nlines".to_owned() }),
            },
            ToWindow::Raise,
        ];
        let bytes: Vec<u8> = said.iter().flat_map(|message| line(message).to_vec()).collect();
        let mut reader = bytes.as_slice();
        for message in said {
            assert!(read::<ToWindow>(&mut reader) == Some(message));
        }
        assert!(read::<ToWindow>(&mut reader).is_none());
        let asked = ToApp::Ask { id: 1, question: Question::SetWish(Wish::Pause { until: Some(5.0) }) };
        assert!(read::<ToApp>(&mut line(&asked).as_slice()) == Some(asked));
        let word = || vec![Secret::new("abandon")];
        let secret = ToWindow::Answer {
            id: 9,
            answer: Ok(Answer::Wallet(WalletAnswer::Revealed(Revealed::Words { words: word(), places: vec![1] }))),
        };
        assert!(read::<ToWindow>(&mut line(&secret).as_slice()) == Some(secret));
        let quiz = ToApp::Ask { id: 2, question: Question::Wallet(WalletQuestion::Quiz(word())) };
        assert!(read::<ToApp>(&mut line(&quiz).as_slice()) == Some(quiz));
    }

    #[test]
    fn garbage_cut_and_endless_lines_end_the_conversation() {
        for bytes in [&b"nonsense\n"[..], b"{\"Ask\":{\"id\":1", b"\xff\xfe\n", b"\n"] {
            assert!(read::<ToApp>(&mut &*bytes).is_none());
        }
        let endless = vec![b'['; MAX_LINE as usize + 10];
        assert!(read::<ToApp>(&mut endless.as_slice()).is_none());
    }
}
