//! Whether a transfer is worth its fee, and whether it did what it should.

use accounting::{Errand, Forecast, Outcome, Receipt, Transfer};
use ton::{Address, Nanoton};

/// What the network may keep of a payout for carrying it, at most. More is missing money, not a fee.
const CARRIAGE: Nanoton = Nanoton(10_000_000);

/// Everything that a message caused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// Whether every message in it was received by its account.
    pub complete: bool,
    /// The first step that failed; `None`: none so far.
    pub failure: Option<String>,
    /// Money that came to accounts in it.
    pub receipts: Vec<Receipt>,
    /// What all its transactions cost; `None`: not known.
    pub fees: Option<Nanoton>,
    /// What of that the wallet itself paid; `None`: not known.
    pub own_fees: Option<Nanoton>,
}

/// What a search for a message and what it caused came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sought {
    /// It landed.
    Found(Box<Trace>),
    /// The wallet's history does not have it.
    Absent,
    /// So much has happened in the wallet since that the search was given up.
    GivenUp,
}

/// What a trace says of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Some of it is still under way.
    NotYet,
    /// It is over.
    Final(Outcome),
}

/// Whether a transfer should be signed at all: it succeeds, and a payout brings at least twice what it costs, and more than it costs with
/// what the contract keeps for its rent. `balance`: what is in the paying wallet.
pub(super) fn is_worth_it(
    transfer: &Transfer,
    forecast: &Forecast,
    owner: &Address,
    balance: Nanoton,
) -> Result<(), String> {
    if let Some(why) = &forecast.failure {
        return Err(format!("it would fail: {why}"));
    }
    let Errand::Payout { expected, .. } = transfer.errand else { return Ok(()) };
    let Forecast { fees, income, .. } = *forecast;
    if !is_whole(income, expected) {
        return Err(format!("it would bring {income} of {expected}"));
    }
    if income.0 / 2 < fees.0 {
        return Err(format!("its fee of {fees} is too much for {income}"));
    }
    let kept = forecast.kept(balance, *owner == transfer.payer);
    if income.0 <= fees.0.saturating_add(kept.0) {
        return Err(format!(
            "its fee of {fees}, with {kept} that the contract keeps for its rent, is too much for {income}"
        ));
    }
    Ok(())
}

/// What the trace of its message says.
pub(super) fn judge(transfer: &Transfer, trace: &Trace, owner: &Address) -> Verdict {
    if !trace.complete {
        return Verdict::NotYet;
    }
    let fees = trace.fees;
    let Errand::Payout { proxy_contract, expected, .. } = transfer.errand else {
        let (receipts, fees) = (Vec::new(), trace.own_fees);
        return Verdict::Final(match &trace.failure {
            None => Outcome::Done { receipts, fees },
            Some(why) => Outcome::Failed { why: why.clone(), receipts, fees },
        });
    };
    // Income is what the contract paid to the owner, and nothing else: what is left of the fees comes back and is none.
    let income = |receipt: &&Receipt| receipt.is_payout && receipt.from == proxy_contract && receipt.to == *owner;
    let receipts: Vec<Receipt> = trace.receipts.iter().filter(income).copied().collect();
    let received = Nanoton(receipts.iter().map(|receipt| receipt.value.0).fold(0, u64::saturating_add));
    let why = match &trace.failure {
        Some(why) => Some(why.clone()),
        None if !is_whole(received, expected) => Some(format!("{received} came in instead of {expected}")),
        None => None,
    };
    Verdict::Final(match why {
        None => Outcome::Done { receipts, fees },
        Some(why) => Outcome::Failed { why, receipts, fees },
    })
}

/// All of it, but for what it costs to carry it.
fn is_whole(income: Nanoton, expected: Nanoton) -> bool {
    income <= expected && income.0.saturating_add(CARRIAGE.0) >= expected.0 && income.0 > 0
}
