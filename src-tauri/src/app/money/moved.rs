//! What moved on the wallet's account, as the chain has it, and why.

use chain::TransactionId;
use node::movements::{Movement, Reason, movements};
use ton::{Address, AddressText};

use super::{Desk, paid};
use crate::view::{ApiError, ErrorCode, FlightOutcome, MoneyReason, PageQuery, WalletEntry, WalletHistory};

/// Most transactions of a page.
const MOST: u32 = 100;

impl Desk {
    /// Some of it, the newest first.
    pub(super) async fn moved(&self, query: &PageQuery) -> Result<WalletHistory, ApiError> {
        let unknown = |message: String| ApiError { code: ErrorCode::NotRunning, message };
        let (cashbox, _) =
            self.session().map_err(|_| unknown("practice is paused, and its chain with it".to_owned()))?;
        let from = match &query.before {
            None => None,
            Some(text) => Some(place(text).ok_or_else(|| ApiError {
                code: ErrorCode::Request,
                message: "that is no place in the list of movements".to_owned(),
            })?),
        };
        let limit = query.limit.clamp(1, MOST);
        let own = cashbox.owner();
        let read = cashbox.transactions(own, from, limit).await.map_err(|error| unknown(crate::sentence(&error)))?;
        let contracts = tokio::task::block_in_place(|| cashbox.contracts())
            .map_err(|error| ApiError { code: ErrorCode::Ledger, message: crate::sentence(&error) })?;
        let entries = read.iter().flat_map(|transaction| entries(&movements(transaction, &contracts))).collect();
        let full = read.len() == limit as usize;
        let next = read.last().and_then(|oldest| oldest.previous).filter(|_| full);
        Ok(WalletHistory { entries, next: next.map(|id| format!("{}.{}", id.lt, hex::encode(id.hash))) })
    }
}

/// A place in the list, as it was given out.
fn place(text: &str) -> Option<TransactionId> {
    let (lt, hash) = text.split_once('.')?;
    Some(TransactionId { lt: lt.parse().ok()?, hash: hex::decode(hash).ok()?.try_into().ok()? })
}

fn entries(moved: &[Movement]) -> Vec<WalletEntry> {
    // The newest first, as the list goes.
    moved.iter().enumerate().rev().map(|(number, movement)| entry(number, movement)).collect()
}

fn entry(number: usize, movement: &Movement) -> WalletEntry {
    let text = |address: Address| AddressText { address, bounceable: false, testnet: true }.to_text();
    let mut amount = paid(movement.amount);
    if !movement.incoming && movement.amount.0 > 0 {
        amount.nanoton.insert(0, '-');
    }
    WalletEntry {
        key: format!("{}.{number}", movement.id.lt),
        at: f64::from(movement.unix) * 1_000.0,
        reason: match movement.reason {
            Reason::Payout => MoneyReason::Payout,
            Reason::Sent => MoneyReason::Sent,
            Reason::Received => MoneyReason::Received,
            Reason::Fee => MoneyReason::Fee,
            Reason::Rest => MoneyReason::Rest,
            Reason::Bounced => MoneyReason::Bounced,
            Reason::Other => MoneyReason::Other,
        },
        amount,
        fee: movement.fee.map(paid),
        peer: movement.peer.map(text),
        memo: movement.memo.clone(),
        transaction: Some(hex::encode(movement.id.hash)),
        trouble: (!movement.succeeded)
            .then(|| FlightOutcome::Failed { why: "the wallet's code did not do all of it".to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use ton::Nanoton;

    use super::*;
    use crate::view::Kind;

    #[test]
    fn what_left_has_a_minus_and_the_places_of_a_list_survive() {
        let id = TransactionId { lt: 7, hash: [9; 32] };
        let movement = |incoming| Movement {
            id,
            unix: 5,
            reason: Reason::Sent,
            incoming,
            amount: Nanoton(12),
            fee: None,
            peer: None,
            memo: None,
            succeeded: true,
        };
        let shown = entries(&[movement(true), movement(false)]);
        assert_eq!((shown[0].amount.nanoton.as_str(), shown[1].amount.nanoton.as_str()), ("-12", "12"));
        assert_ne!(shown[0].key, shown[1].key);
        assert_eq!(place(&format!("7.{}", hex::encode([9; 32]))), Some(id));
        for nonsense in ["", ".", "7", "7.xx", "-1.00", "7.0909"] {
            assert_eq!(place(nonsense), None, "{nonsense}");
        }
        assert_eq!(shown[0].amount.kind, Kind::Paid);
    }
}
