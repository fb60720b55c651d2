//! Why money came and went: what a transaction of the owner's wallet did, in reasons for people.
//!
//! Everything a wallet gained and lost is in exactly one [`Movement`] or in the fee that is noted with one, so they add up to its balance.

use std::collections::BTreeSet;

use chain::{Message, MessageKind, Transaction, TransactionId};
use ton::cocoon::Body;
use ton::{Address, Nanoton};

/// Why money moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A proxy's contract paid what was earned.
    Payout,
    /// The owner sent it.
    Sent,
    /// Somebody sent it.
    Received,
    /// It went along with a payout to pay for it.
    Fee,
    /// What was left of such money came back.
    Rest,
    /// It came back, or was sent back, because it could not be taken.
    Bounced,
    /// The network's fee alone.
    Other,
}

/// One movement of money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// The transaction.
    pub id: TransactionId,
    /// When, Unix time in seconds by the chain's clock.
    pub unix: u32,
    /// Why.
    pub reason: Reason,
    /// Whether it came; else it went.
    pub incoming: bool,
    /// How much.
    pub amount: Nanoton,
    /// What the network took for the whole transaction, noted with its last movement; `None` with the others, or if it is no amount.
    pub fee: Option<Nanoton>,
    /// The other side.
    pub peer: Option<Address>,
    /// The comment that the owner sent along. What others write is left out: it may be there to deceive.
    pub memo: Option<String>,
    /// Whether the wallet's code did what it was told; what is sent by it is sent in full or not at all.
    pub succeeded: bool,
}

/// What a transaction of the wallet moved: what came first, then what went. `contracts` are the network's proxies and the owner's worker
/// contracts.
pub fn movements(transaction: &Transaction, contracts: &BTreeSet<Address>) -> Vec<Movement> {
    let movement = |reason, incoming, amount, peer, memo| Movement {
        id: transaction.id,
        unix: transaction.now,
        reason,
        incoming,
        amount,
        fee: None,
        peer,
        memo,
        succeeded: transaction.succeeded(),
    };
    let mut all = Vec::new();
    if let Some(Message { kind: MessageKind::Internal { source, value, bounced, .. }, body, .. }) =
        &transaction.in_message
    {
        let reason = match Body::from_cell(body) {
            _ if *bounced => Reason::Bounced,
            Ok(Body::Payout { .. }) if contracts.contains(source) => Reason::Payout,
            Ok(Body::Excesses { .. }) => Reason::Rest,
            _ => Reason::Received,
        };
        all.push(movement(reason, true, *value, Some(*source), None));
    }
    for message in &transaction.out_messages {
        let MessageKind::Internal { destination, value, bounced, .. } = message.kind else { continue };
        let (reason, memo) = match Body::from_cell(&message.body) {
            _ if bounced => (Reason::Bounced, None),
            Ok(Body::Signed(_)) => (Reason::Fee, None),
            Ok(Body::Comment(text)) => (Reason::Sent, Some(text)),
            _ => (Reason::Sent, None),
        };
        all.push(movement(reason, false, value, Some(destination), memo));
    }
    if all.is_empty() {
        all.push(movement(Reason::Other, false, Nanoton(0), None, None));
    }
    if let Some(last) = all.last_mut() {
        last.fee = transaction.all_fees();
    }
    all
}

#[cfg(test)]
mod tests {
    use chain::{ActionPhase, ComputePhase};
    use ton::cocoon::{SignedBody, SignedOperation, SignedPayload};

    use super::*;

    fn address(number: u8) -> Address {
        Address { workchain: 0, hash: [number; 32] }
    }

    fn message(kind: MessageKind, body: &Body) -> Message {
        let body = body.to_cell().unwrap();
        Message {
            hash: [1; 32],
            normalised_hash: [1; 32],
            kind,
            created_lt: 1,
            created_at: 1,
            brings_state: false,
            body,
        }
    }

    fn from(source: u8, value: u64, bounced: bool, body: &Body) -> Message {
        let (source, destination, value) = (address(source), address(1), Nanoton(value));
        message(
            MessageKind::Internal { source, destination, value, forward_fee: Nanoton(2), bounce: false, bounced },
            body,
        )
    }

    fn to(destination: u8, value: u64, body: &Body) -> Message {
        let (source, destination, value) = (address(1), address(destination), Nanoton(value));
        message(
            MessageKind::Internal { source, destination, value, forward_fee: Nanoton(2), bounce: true, bounced: false },
            body,
        )
    }

    fn transaction(taken: Message, sent: Vec<Message>) -> Transaction {
        Transaction {
            account: address(1),
            id: TransactionId { lt: 5, hash: [5; 32] },
            previous: None,
            now: 9,
            status_before: None,
            status_after: None,
            in_message: Some(taken),
            out_messages: sent,
            total_fees: Nanoton(10),
            storage_fees: Nanoton(0),
            storage_due: Nanoton(0),
            compute: Some(ComputePhase::Executed { success: true, exit_code: 0, gas_used: 1, gas_fees: Nanoton(1) }),
            action: Some(ActionPhase {
                success: true,
                result_code: 0,
                actions: 0,
                skipped: 0,
                messages: 0,
                forward_fees: Nanoton(0),
            }),
            aborted: false,
            bounced_back: false,
            destroyed: false,
        }
    }

    #[test]
    fn every_movement_has_its_reason_and_only_a_contract_of_the_network_pays() {
        let contracts = BTreeSet::from([address(3), address(2)]);
        let payout = Body::Payout { query_id: 1 };
        let seen = |taken| {
            let moved = movements(&transaction(taken, Vec::new()), &contracts);
            (moved[0].reason, moved[0].incoming, moved[0].amount.0, moved[0].fee, moved[0].memo.clone())
        };
        let fee = Some(Nanoton(10));
        assert_eq!(seen(from(3, 7, false, &payout)), (Reason::Payout, true, 7, fee, None));
        assert_eq!(seen(from(8, 7, false, &payout)), (Reason::Received, true, 7, fee, None), "a stranger says so");
        assert_eq!(seen(from(3, 6, false, &Body::Excesses { query_id: 1 })), (Reason::Rest, true, 6, fee, None));
        let letter = Body::Comment("claim your prize".to_owned());
        assert_eq!(seen(from(8, 1, false, &letter)), (Reason::Received, true, 1, fee, None));
        assert_eq!(seen(from(8, 5, true, &payout)), (Reason::Bounced, true, 5, fee, None));
        let outside = message(MessageKind::ExternalIn { destination: address(1) }, &Body::Empty);
        assert_eq!(seen(outside.clone()), (Reason::Other, false, 0, fee, None));
        let payload = SignedPayload { operation: SignedOperation::WorkerPayout(7), query_id: 0, target: address(2) };
        let payment = Body::Signed(SignedBody { payload, excess: address(1), signature: [0; 64] });
        // What the owner sends to a contract is a sending like any other.
        let sent = vec![
            to(2, 200, &payment),
            to(2, 3, &Body::Empty),
            to(9, 50, &Body::Comment("rent".to_owned())),
            to(8, 1, &Body::Empty),
        ];
        let moved = movements(&transaction(outside, sent), &contracts);
        let told: Vec<_> = moved.iter().map(|one| (one.reason, one.amount.0, one.memo.as_deref(), one.fee)).collect();
        let all = [
            (Reason::Fee, 200, None, None),
            (Reason::Sent, 3, None, None),
            (Reason::Sent, 50, Some("rent"), None),
            (Reason::Sent, 1, None, Some(Nanoton(18))),
        ];
        assert_eq!(told, all);
    }
}
