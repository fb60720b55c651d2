//! What a message did: the transaction that took it, and all that followed from it, as the chain has them.

use std::collections::VecDeque;

use ton::{Address, Nanoton};

use crate::Chain;
use crate::account::TransactionId;
use crate::error::ChainError;
use crate::transaction::{Message, MessageKind, Transaction};

/// Most transactions of one trace; none of ours has more than a few.
pub const MOST_FOLLOWED: usize = 64;
/// Most pages of one account's history that are searched for one message: four thousand transactions.
const MOST_PAGES: u32 = 200;
/// Transactions of a page.
const PAGE: u32 = 20;

/// What a message did so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// All transactions, each behind the one that caused it.
    pub transactions: Vec<Transaction>,
    /// Messages that went out and that no account has taken yet, or that were not found.
    pub under_way: usize,
}

impl Followed {
    /// Whether every message found its account.
    pub fn is_complete(&self) -> bool {
        self.under_way == 0
    }

    /// The first transaction that did not do what its message wanted.
    pub fn failure(&self) -> Option<&Transaction> {
        self.transactions.iter().find(|transaction| !transaction.succeeded())
    }

    /// All fees of all transactions; `None` if that is no amount.
    pub fn all_fees(&self) -> Option<Nanoton> {
        self.transactions.iter().try_fold(Nanoton(0), |sum, transaction| sum.checked_add(transaction.all_fees()?))
    }
}

/// What a search for a message came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sought {
    /// It landed, and this followed.
    Found(Followed),
    /// The account's history does not have it.
    Absent,
    /// So much has happened on the account since that the search was given up.
    GivenUp,
}

/// Finds the message from outside with this normalised hash in an account's history and follows what it caused. It can't have landed before
/// `since`, Unix seconds of the chain's clock: the history is searched back to then.
pub async fn follow<C: Chain + ?Sized>(
    chain: &C,
    account: Address,
    normalised_hash: [u8; 32],
    since: u32,
) -> Result<Sought, ChainError> {
    let ours = |message: &Message| {
        matches!(message.kind, MessageKind::ExternalIn { .. }) && message.normalised_hash == normalised_hash
    };
    // From the last transaction that as many endpoints show as must agree: one alone could hide what the account did.
    let Some(last) = chain.agreed_account(account).await?.last else { return Ok(Sought::Absent) };
    let first = match find(chain, account, Some(last), (0, since), MOST_PAGES, ours).await? {
        Found::It(first) => *first,
        Found::Nothing => return Ok(Sought::Absent),
        Found::NotYet => return Ok(Sought::GivenUp),
    };
    let mut waiting: VecDeque<Message> = first.out_messages.iter().cloned().collect();
    let mut followed = Followed { transactions: vec![first], under_way: 0 };
    while let Some(message) = waiting.pop_front() {
        // What a contract says to the outside world has no receiver.
        let MessageKind::Internal { destination, .. } = message.kind else { continue };
        let taken = if followed.transactions.len() < MOST_FOLLOWED {
            find(chain, destination, None, (message.created_lt, 0), MOST_PAGES, |taken| taken.hash == message.hash)
                .await?
        } else {
            Found::NotYet
        };
        match taken {
            Found::It(transaction) => {
                waiting.extend(transaction.out_messages.iter().cloned());
                followed.transactions.push(*transaction);
            }
            Found::Nothing | Found::NotYet => followed.under_way = followed.under_way.saturating_add(1),
        }
    }
    Ok(Sought::Found(followed))
}

/// What a search in one account's history came to.
enum Found {
    It(Box<Transaction>),
    Nothing,
    /// Not in so many pages.
    NotYet,
}

/// The newest transaction of an account that took such a message, not older than a logical time and a time in Unix seconds.
async fn find<C: Chain + ?Sized>(
    chain: &C,
    account: Address,
    mut from: Option<TransactionId>,
    (since_lt, since): (u64, u32),
    pages: u32,
    wanted: impl Fn(&Message) -> bool,
) -> Result<Found, ChainError> {
    for _ in 0..pages {
        let page = chain.transactions(account, from, PAGE).await?;
        let Some(oldest) = page.last() else { return Ok(Found::Nothing) };
        let is_enough = oldest.now < since;
        let next =
            oldest.previous.filter(|previous| previous.lt >= since_lt && previous.lt < oldest.id.lt && !is_enough);
        if let Some(found) = page.into_iter().find(|transaction| transaction.in_message.as_ref().is_some_and(&wanted)) {
            return Ok(Found::It(Box::new(found)));
        }
        match next {
            Some(next) => from = Some(next),
            None => return Ok(Found::Nothing),
        }
    }
    Ok(Found::NotYet)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ton::Cell;

    use super::*;
    use crate::{AccountState, ActionPhase, Answer, ChainConfig, ComputePhase, Head};

    /// Histories of accounts, and whether whoever is asked alone shows none of them.
    #[derive(Default)]
    struct Histories(BTreeMap<Address, Vec<Transaction>>, bool);

    impl Histories {
        /// The account's next transaction.
        fn add(&mut self, account: Address, lt: u64, taken: Message, sent: Vec<Message>) {
            let history = self.0.entry(account).or_default();
            let previous = history.last().map(|last| last.id);
            let compute = ComputePhase::Executed { success: true, exit_code: 0, gas_used: 1, gas_fees: Nanoton(1) };
            let action = ActionPhase {
                success: true,
                result_code: 0,
                actions: 0,
                skipped: 0,
                messages: 0,
                forward_fees: Nanoton(0),
            };
            history.push(Transaction {
                account,
                id: TransactionId { lt, hash: [lt as u8; 32] },
                previous,
                now: 0,
                status_before: None,
                status_after: None,
                in_message: Some(taken),
                out_messages: sent,
                total_fees: Nanoton(10),
                storage_fees: Nanoton(0),
                storage_due: Nanoton(0),
                compute: Some(compute),
                action: Some(action),
                aborted: false,
                bounced_back: false,
                destroyed: false,
            });
        }
    }

    impl Chain for Histories {
        fn head(&self) -> Answer<'_, Head> {
            Box::pin(async { Ok(Head { seqno: 1, time: 1 }) })
        }

        fn account(&self, address: Address) -> Answer<'_, AccountState> {
            Box::pin(async move { Ok(AccountState::absent(address, 1)) })
        }

        fn agreed_account(&self, address: Address) -> Answer<'_, AccountState> {
            let last = self.0.get(&address).and_then(|history| history.last()).map(|last| last.id);
            Box::pin(async move { Ok(AccountState { last, ..AccountState::absent(address, 1) }) })
        }

        fn transactions(
            &self,
            address: Address,
            from: Option<TransactionId>,
            limit: u32,
        ) -> Answer<'_, Vec<Transaction>> {
            let hidden = from.is_none() && self.1;
            let history = if hidden { Vec::new() } else { self.0.get(&address).cloned().unwrap_or_default() };
            let newest_first = history.into_iter().rev().skip_while(move |one| from.is_some_and(|from| one.id != from));
            let page = newest_first.take(limit as usize).collect();
            Box::pin(async move { Ok(page) })
        }

        fn config(&self) -> Answer<'_, ChainConfig> {
            Box::pin(async { Err(ChainError::Question("not asked here".to_owned())) })
        }

        fn send<'a>(&'a self, _: &'a Cell) -> Answer<'a, ()> {
            Box::pin(async { Ok(()) })
        }
    }

    fn address(number: u8) -> Address {
        Address { workchain: 0, hash: [number; 32] }
    }

    fn message(number: u8, kind: MessageKind, created_lt: u64) -> Message {
        let body = ton::CellBuilder::new().build().unwrap();
        let hash = [number; 32];
        Message { hash, normalised_hash: hash, kind, created_lt, created_at: 0, brings_state: false, body }
    }

    fn outside(number: u8) -> Message {
        message(number, MessageKind::ExternalIn { destination: address(1) }, 0)
    }

    fn inside(number: u8, source: u8, destination: u8, created_lt: u64) -> Message {
        let kind = MessageKind::Internal {
            source: address(source),
            destination: address(destination),
            value: Nanoton(5),
            forward_fee: Nanoton(1),
            bounce: true,
            bounced: false,
        };
        message(number, kind, created_lt)
    }

    #[tokio::test]
    async fn a_message_is_followed_through_all_accounts_and_what_no_account_took_is_under_way() {
        let mut chain = Histories::default();
        let (to_worker, to_proxy, to_owner, left) =
            (inside(21, 1, 2, 101), inside(22, 2, 3, 201), inside(23, 3, 4, 301), inside(24, 3, 1, 302));
        for lt in 1..30 {
            chain.add(address(1), lt, outside(100 + lt as u8), Vec::new());
        }
        chain.add(address(1), 100, outside(7), vec![to_worker.clone()]);
        for lt in 110..150 {
            chain.add(address(1), lt, outside(lt as u8), Vec::new());
        }
        chain.add(address(2), 200, to_worker, vec![to_proxy.clone()]);
        let Sought::Found(followed) = follow(&chain, address(1), [7; 32], 0).await.unwrap() else {
            panic!("it was sent")
        };
        assert_eq!((followed.transactions.len(), followed.under_way), (2, 1));
        assert!(!followed.is_complete() && followed.failure().is_none());
        chain.add(address(3), 300, to_proxy, vec![to_owner.clone(), left.clone()]);
        chain.add(address(4), 400, to_owner, Vec::new());
        chain.add(address(1), 410, left, Vec::new());
        let Sought::Found(followed) = follow(&chain, address(1), [7; 32], 0).await.unwrap() else {
            panic!("it was sent")
        };
        assert!(followed.is_complete());
        let accounts: Vec<u8> = followed.transactions.iter().map(|one| one.account.hash[0]).collect();
        assert_eq!(accounts, [1, 2, 3, 4, 1]);
        // Ten for each transaction, and one for carrying each of the four messages.
        assert_eq!(followed.all_fees(), Some(Nanoton(54)));
        assert_eq!(follow(&chain, address(1), [8; 32], 0).await.unwrap(), Sought::Absent);
    }

    #[tokio::test]
    async fn one_endpoint_alone_does_not_hide_what_the_wallet_sent() {
        let mut chain = Histories::default();
        chain.add(address(1), 5, outside(7), vec![inside(8, 1, 2, 6)]);
        chain.add(address(2), 9, inside(8, 1, 2, 6), Vec::new());
        chain.1 = true;
        let Sought::Found(followed) = follow(&chain, address(1), [7; 32], 0).await.unwrap() else {
            panic!("it was sent")
        };
        assert_eq!((followed.transactions.len(), followed.under_way), (1, 1));
    }

    #[tokio::test]
    async fn dust_hides_no_message_and_a_search_that_was_given_up_says_so() {
        let mut chain = Histories::default();
        chain.add(address(1), 1, outside(7), Vec::new());
        for lt in 2..500 {
            chain.add(address(1), lt, inside(200, 2, 1, lt), Vec::new());
        }
        let found = follow(&chain, address(1), [7; 32], 0).await.unwrap();
        assert!(matches!(&found, Sought::Found(found) if found.transactions[0].id.lt == 1), "{found:?}");
        assert_eq!(follow(&chain, address(1), [8; 32], 0).await.unwrap(), Sought::Absent);
        // All of them are of time 0, so that nothing from 1 on is older than the first page.
        let calls = follow(&chain, address(1), [7; 32], 1).await.unwrap();
        assert_eq!(calls, Sought::Absent, "it can't have landed before its time");
        for lt in 500..4_100 {
            chain.add(address(1), lt, inside(200, 2, 1, lt), Vec::new());
        }
        assert_eq!(follow(&chain, address(1), [7; 32], 0).await.unwrap(), Sought::GivenUp);
    }

    #[tokio::test]
    async fn a_message_of_another_that_looks_the_same_inside_is_not_ours() {
        let mut chain = Histories::default();
        chain.add(address(1), 5, inside(7, 2, 1, 4), Vec::new());
        assert_eq!(follow(&chain, address(1), [7; 32], 0).await.unwrap(), Sought::Absent);
    }

    #[tokio::test]
    async fn a_ring_of_messages_ends() {
        let mut chain = Histories::default();
        let ring = inside(9, 1, 1, 1);
        chain.add(address(1), 5, outside(7), vec![ring.clone()]);
        chain.add(address(1), 6, ring.clone(), vec![ring]);
        let Sought::Found(followed) = follow(&chain, address(1), [7; 32], 0).await.unwrap() else {
            panic!("it was sent")
        };
        assert_eq!((followed.transactions.len(), followed.under_way), (MOST_FOLLOWED, 1));
    }
}
