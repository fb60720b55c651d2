//! Decides what becomes of a transfer that was sent. Nothing is sent here.

use ton::Nanoton;

/// Longer than this after its time no block takes a message any more, in seconds: clocks of those who make blocks differ.
pub(crate) const MARGIN: u32 = 60;
/// What a transfer caused is waited for this long after its time, in seconds.
const TRACE_PATIENCE: u32 = 600;
/// An account's history may lag behind the account by so many looks.
const LAGGING_LOOKS: u32 = 8;

/// A transfer as it is written down before it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The wallet's count.
    pub seqno: u32,
    /// Unix seconds by the chain's clock after which the wallet refuses it.
    pub valid_until: u32,
    /// The message's normalised hash.
    pub hash: [u8; 32],
    /// The message from outside: a bag of cells.
    pub message: Vec<u8>,
    /// What of it may not come back.
    pub spends: Nanoton,
    /// What it is for, in words for people.
    pub what: String,
}

/// How a transfer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was never executed and can't be any more.
    Lost,
    /// It and all that followed from it succeeded.
    Done,
    /// It was executed, and something that followed failed.
    Failed,
    /// The wallet's count has passed it; what it caused was not found.
    Unseen,
}

impl Outcome {
    pub(crate) const fn code(self) -> i64 {
        match self {
            Self::Lost => 0,
            Self::Done => 1,
            Self::Failed => 2,
            Self::Unseen => 3,
        }
    }
}

/// How far what it caused has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trace {
    /// Messages are under way.
    UnderWay,
    /// All of it succeeded.
    Done,
    /// All of it is over, something failed.
    Failed,
}

/// What a look at the chain shows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// The chain's time, Unix seconds.
    pub(crate) time: u32,
    /// The wallet's count; `None` if it has no contract.
    pub(crate) seqno: Option<u32>,
    /// What the transfer caused; `None` if it is not in the wallet's history.
    pub(crate) trace: Option<Trace>,
    /// How many looks have found the count moved on and nothing in the history, this one included.
    pub(crate) vain_looks: u32,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Send the same bytes again.
    Again,
    /// Look again later.
    Wait,
    /// It is over.
    Ended(Outcome),
}

pub(crate) fn judge(transfer: &Transfer, seen: &Seen) -> Verdict {
    let Some(seqno) = seen.seqno else {
        // A wallet that was there and is not: another chain. A first transfer brings the wallet with it.
        let over = transfer.seqno > 0 || has_passed(transfer, seen.time, MARGIN);
        return if over { Verdict::Ended(Outcome::Lost) } else { Verdict::Again };
    };
    if seqno <= transfer.seqno {
        let over = has_passed(transfer, seen.time, MARGIN);
        return if over { Verdict::Ended(Outcome::Lost) } else { Verdict::Again };
    }
    match seen.trace {
        Some(Trace::Done) => Verdict::Ended(Outcome::Done),
        Some(Trace::Failed) => Verdict::Ended(Outcome::Failed),
        Some(Trace::UnderWay) if !has_passed(transfer, seen.time, TRACE_PATIENCE) => Verdict::Wait,
        None if seen.vain_looks < LAGGING_LOOKS => Verdict::Wait,
        Some(Trace::UnderWay) | None => Verdict::Ended(Outcome::Unseen),
    }
}

fn has_passed(transfer: &Transfer, time: u32, margin: u32) -> bool {
    time > transfer.valid_until.saturating_add(margin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer(seqno: u32) -> Transfer {
        let what = String::new();
        Transfer { seqno, valid_until: 1000, hash: [1; 32], message: Vec::new(), spends: Nanoton(1), what }
    }

    fn seen(seqno: Option<u32>, time: u32, trace: Option<Trace>) -> Seen {
        Seen { time, seqno, trace, vain_looks: 1 }
    }

    #[test]
    fn the_same_bytes_are_sent_until_they_land_or_cannot_any_more() {
        for at in [None, Some(0)] {
            assert_eq!(judge(&transfer(0), &seen(at, 990, None)), Verdict::Again);
            assert_eq!(judge(&transfer(0), &seen(at, 1060, None)), Verdict::Again, "clocks differ");
            assert_eq!(judge(&transfer(0), &seen(at, 1061, None)), Verdict::Ended(Outcome::Lost));
        }
        assert_eq!(judge(&transfer(5), &seen(Some(3), 990, None)), Verdict::Again, "an endpoint that is behind");
        assert_eq!(judge(&transfer(5), &seen(None, 990, None)), Verdict::Ended(Outcome::Lost), "another chain");
    }

    #[test]
    fn a_transfer_is_over_when_all_that_it_caused_is() {
        let landed = |trace, time| judge(&transfer(5), &seen(Some(6), time, trace));
        assert_eq!(landed(Some(Trace::UnderWay), 990), Verdict::Wait);
        assert_eq!(landed(Some(Trace::Done), 990), Verdict::Ended(Outcome::Done));
        assert_eq!(landed(Some(Trace::Failed), 990), Verdict::Ended(Outcome::Failed));
        assert_eq!(landed(Some(Trace::UnderWay), 1601), Verdict::Ended(Outcome::Unseen));
    }

    #[test]
    fn a_count_that_moved_without_us_is_believed_after_some_looks() {
        let look = |vain_looks| judge(&transfer(5), &Seen { time: 990, seqno: Some(6), trace: None, vain_looks });
        assert_eq!(look(7), Verdict::Wait);
        assert_eq!(look(8), Verdict::Ended(Outcome::Unseen));
    }
}
