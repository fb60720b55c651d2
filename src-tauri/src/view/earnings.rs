//! The page Earnings: what was earned, how far it has come, and what proves it.

use serde::{Deserialize, Serialize};
use specta::Type;

use super::{Count, Flight, Money, Refusal, UnixMs};

/// How far the money has come. The four add up to all that was ever earned here, but for what is not known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct Pipeline {
    /// Counted by this PC and not signed.
    pub counted: Option<Money>,
    /// Signed by a proxy and not fetched.
    pub signed: Option<Money>,
    /// Being fetched.
    pub on_the_way: Option<Money>,
    /// How many transfers that is.
    pub flights: Count,
    /// On the chain.
    pub paid: Option<Money>,
    /// In how many payouts.
    pub payouts: Option<Count>,
    /// What fetching has cost so far.
    pub fees: Option<Money>,
}

/// Why nothing is fetched though something is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(tag = "wait", rename_all = "snake_case")]
pub(crate) enum PayoutWait {
    /// It is less than the owner wants to fetch at once.
    Threshold,
    /// The owner wants to be asked.
    OnlyWhenAsked,
    /// The paying wallet can't pay the fees.
    Fees {
        /// What is in it, nanotons.
        balance: String,
        /// What must be in it, nanotons; most of it comes back.
        needed: String,
    },
    /// There is no wallet here that can sign.
    NoWallet,
    /// It is locked.
    Locked,
    /// The chain can't be asked.
    ChainFails {
        /// Why, in words of the log.
        why: String,
    },
    /// The last attempt failed and is repeated later.
    Failed {
        /// How, in words of the log.
        why: String,
    },
}

/// What coins are worth in the owner's currency, as the owner says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(tag = "valued", rename_all = "snake_case")]
pub(crate) enum Valued {
    /// The newest rate there is.
    Known {
        /// Decimal digits with a point.
        rate: String,
        /// Letters.
        currency: String,
        /// Who says so.
        source: String,
        /// Of which day, as 2026-11-27.
        of: String,
    },
    /// Practice money has no rate.
    Worthless,
    /// The owner has named none.
    Unknown,
    /// The owner's table can't be read.
    Unreadable {
        /// Why, in words of the log.
        why: String,
    },
}

/// What electricity costs, as the owner says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(tag = "power", rename_all = "snake_case")]
pub(crate) enum PowerPrice {
    /// What a kilowatt-hour costs today.
    Known {
        /// Decimal digits with a point.
        price: String,
        /// Letters.
        currency: String,
        /// Since which day, as 2026-11-27.
        from: String,
    },
    /// The owner has named none.
    Unknown,
    /// The owner's table can't be read.
    Unreadable {
        /// Why, in words of the log.
        why: String,
    },
}

/// What the owner says a coin is worth today.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub(crate) struct RateOrder {
    /// As it was typed.
    pub rate: String,
    /// Letters.
    pub currency: String,
    /// Where it is from.
    pub source: String,
}

/// What the owner says a kilowatt-hour costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub(crate) struct PowerOrder {
    /// As it was typed.
    pub price: String,
    /// Letters.
    pub currency: String,
    /// From which day on, as 2026-11-27.
    pub from: String,
}

/// The page Earnings, apart from its chart and its list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct Earnings {
    /// When this was so.
    pub at: UnixMs,
    /// Whether what is earned is worth nothing.
    pub pays_nothing: bool,
    /// Whether the chain is on this PC.
    pub practice: bool,
    /// Name of the site that shows this chain's transactions; none in practice.
    pub explorer: Option<String>,
    /// Where the money is.
    pub pipeline: Pipeline,
    /// From how much on it is fetched by itself, nanotons; none: only when the owner asks.
    pub threshold_nanoton: Option<String>,
    /// Why nothing is fetched though something is signed.
    pub waits: Option<PayoutWait>,
    /// What fetching costs, as it was last tried.
    pub fee: Option<Money>,
    /// What is being fetched.
    pub in_flight: Option<Flight>,
    /// Where payouts go.
    pub to: Option<String>,
    /// What coins are worth.
    pub valued: Valued,
    /// What electricity costs.
    pub power: PowerPrice,
}

/// A length of time that ends now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Range {
    /// 24 hours, a bar an hour.
    Day,
    /// 7 days, a bar a day of the owner's calendar.
    Week,
    /// 30 days, a bar a day.
    Month,
    /// All there is, a bar a day, a week or a month.
    All,
}

/// How long a bar is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BarLength {
    /// An hour.
    Hour,
    /// A day of the owner's calendar.
    Day,
    /// Seven of them.
    Week,
    /// A month of the owner's calendar.
    Month,
}

/// One bar.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct Bar {
    /// When it begins; it ends where the next one begins.
    pub from: UnixMs,
    /// What was earned in it; none: not known.
    pub earned: Option<Money>,
    /// Jobs that were answered in it.
    pub jobs: Option<Count>,
    /// What the card drew in it, kilowatt-hours with six places; none: not measured.
    pub kwh: Option<String>,
    /// What that costs, in thousand-millionths of the price's currency; none: not measured, or no price is known.
    pub cost: Option<String>,
}

/// The chart of a length of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct EarnedChart {
    /// Of which.
    pub range: Range,
    /// How long a bar is.
    pub length: BarLength,
    /// Oldest first, at most 400. Empty: nothing was ever earned.
    pub bars: Vec<Bar>,
    /// When the last bar ends.
    pub to: UnixMs,
    /// Their sum; none: not known.
    pub total: Option<Money>,
    /// What the card drew in all of them; none: not measured.
    pub kwh: Option<String>,
}

/// How much of a payout was proved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct Proved {
    /// Facts that hold.
    pub holds: Count,
    /// Facts that were looked at.
    pub of: Count,
    /// When.
    pub at: UnixMs,
}

/// What something was worth, with who said so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub(crate) struct Worth {
    /// Decimal digits with a point.
    pub amount: String,
    /// Three letters.
    pub currency: String,
    /// Whose rate.
    pub source: String,
}

/// Money that came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct Payout {
    /// The page's key.
    pub key: String,
    /// When.
    pub at: UnixMs,
    /// How much.
    pub amount: Money,
    /// What fetching it cost; none: not known.
    pub fee: Option<Money>,
    /// The contract that paid.
    pub from: String,
    /// Hash of the transaction on the owner's account, hex digits.
    pub transaction: String,
    /// What it was worth then; none where no rate is known.
    pub worth: Option<Worth>,
    /// What was proved about it in this session.
    pub proved: Option<Proved>,
}

/// Some payouts, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct PayoutPage {
    /// The payouts.
    pub payouts: Vec<Payout>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// Something that must be so if a payout is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fact {
    /// The chain has this transaction on the owner's account.
    Transaction,
    /// Its message is a payout, and no rest of a fee.
    Message,
    /// The amount is the tokens times their price.
    Amount,
    /// A contract of a proxy of this network sent it.
    Proxy,
    /// That contract's code and terms are those of the network.
    Terms,
    /// The worker contract is the owner's own.
    Worker,
    /// The proxy's key has signed for these tokens.
    Signature,
    /// The worker contract's running total covers them.
    Total,
    /// This PC counted these tokens itself.
    Counted,
}

/// One fact, looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub(crate) struct FactCheck {
    /// Which.
    pub fact: Fact,
    /// Whether it holds; none: could not be looked at.
    pub holds: Option<bool>,
    /// What was found, as text of the chain's or the ledger's.
    pub found: Option<String>,
    /// What should be there.
    pub expected: Option<String>,
    /// Why it can't be told, or what is wrong, in words of the log.
    pub why: Option<String>,
}

/// Everything about a payout, computed anew from the chain's data and the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct Verification {
    /// Of which payout.
    pub key: String,
    /// When.
    pub at: UnixMs,
    /// The facts.
    pub checks: Vec<FactCheck>,
    /// Why the chain could not be asked, in words of the log.
    pub chain_fails: Option<String>,
}

/// What fetching now would bring, tried on a copy of the chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
#[serde(tag = "take", rename_all = "snake_case")]
pub(crate) enum TakeForecast {
    /// It would work.
    Ready {
        /// What comes in.
        income: Money,
        /// What it costs.
        fee: Money,
        /// What the contract keeps for its rent and gives back with its last payout; `None`: nothing.
        kept: Option<Money>,
    },
    /// It would not.
    No {
        /// Why.
        refusal: Refusal,
    },
}

/// What is to be written for the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ExportKind {
    /// A statement of a month to read, as PDF.
    Statement,
    /// A line for each month.
    Months,
    /// A line for each day of electricity.
    Electricity,
    /// All of it as a table.
    Csv,
    /// The columns that Koinly reads.
    Koinly,
}

/// Which file is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub(crate) struct ExportOrder {
    /// What.
    pub kind: ExportKind,
    /// Of a statement the month, in UTC, as 2026-11.
    pub month: Option<String>,
    /// Payouts since then, whole Unix milliseconds in digits; none: from the first.
    pub from: Option<String>,
    /// Payouts before then; none: to the last.
    pub to: Option<String>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
#[serde(tag = "exported", rename_all = "snake_case")]
pub(crate) enum Exported {
    /// The file is written.
    Written {
        /// Where.
        path: String,
        /// How many payouts are in it.
        payouts: Count,
        /// How many of them have no rate.
        without_rate: Count,
    },
    /// It is not.
    No {
        /// Why.
        refusal: Refusal,
    },
}
