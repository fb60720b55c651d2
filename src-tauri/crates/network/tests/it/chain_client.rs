//! The client of crate `chain` against the embedded chain over real HTTP, with an endpoint that does wrong.

use std::sync::Arc;
use std::time::Duration;

use chain::toncenter::policy::Patience;
use chain::toncenter::{Endpoint, EndpointError, Settings, Toncenter};
use chain::{AccountStatus, Chain, ChainError, StackValue, TransactionId};
use ed25519_dalek::{Signer, SigningKey};
use network::chain::{self as embedded, Running};
use ton::{Address, Cell, CellBuilder, Nanoton, Network, StateInit, boc};

use crate::stage::soon;

const COIN: u64 = 1_000_000_000;

async fn start(folder: &std::path::Path) -> Running {
    let mut settings = embedded::Settings::new(folder.to_owned());
    settings.block_time = Duration::from_millis(20);
    embedded::start(settings).await.unwrap()
}

fn client(chains: &[&Running], agreement: usize) -> Toncenter {
    let endpoints = chains.iter().map(|one| Endpoint::new(&one.endpoint(), Some(one.token())).unwrap()).collect();
    let patience =
        Patience { answer: Duration::from_secs(2), first_pause: Duration::from_millis(10), ..Patience::default() };
    Toncenter::new(Settings { endpoints, agreement, patience, jitter: Arc::new(|| 500) }).unwrap()
}

/// A wallet of version 4: its code is taken from a recorded message.
struct Wallet {
    key: SigningKey,
    init: StateInit,
    address: Address,
}

impl Wallet {
    fn new(seed: u8) -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/fixtures/chain/messages.json");
        let recorded: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let first = boc::decode(&hex::decode(recorded["v4r2"]["ext_boc_0"].as_str().unwrap()).unwrap()).unwrap();
        let code = find_code(&first).expect("the wallet's code");
        let key = SigningKey::from_bytes(&[seed; 32]);
        let data =
            CellBuilder::new().uint(0, 32).uint(0x29a9_a317, 32).bytes(key.verifying_key().as_bytes()).uint(0, 1);
        let init = StateInit { code, data: data.build().unwrap() };
        let address = init.address().unwrap();
        Self { key, init, address }
    }

    fn transfer(&self, seqno: u64, to: &Address, amount: u64, bounce: bool) -> Cell {
        let sent = CellBuilder::new()
            .uint(0b01, 2)
            .uint(bounce.into(), 1)
            .uint(0, 3)
            .address(to)
            .amount(Nanoton(amount))
            .uint(0, 1)
            .amount(Nanoton(0))
            .amount(Nanoton(0))
            .uint(0, 64)
            .uint(0, 32)
            .uint(0, 2)
            .build()
            .unwrap();
        let unsigned = |builder: CellBuilder| {
            builder
                .uint(0x29a9_a317, 32)
                .uint(0xffff_ffff, 32)
                .uint(seqno, 32)
                .uint(0, 8)
                .uint(3, 8)
                .reference(sent.clone())
        };
        let signature = self.key.sign(&unsigned(CellBuilder::new()).build().unwrap().hash()).to_bytes();
        let body = unsigned(CellBuilder::new().bytes(&signature)).build().unwrap();
        let outside = CellBuilder::new().uint(0b1000, 4).address(&self.address).amount(Nanoton(0));
        let outside =
            if seqno == 0 { outside.uint(0b11, 2).reference(self.init.to_cell().unwrap()) } else { outside.uint(0, 1) };
        outside.uint(1, 1).reference(body).build().unwrap()
    }
}

/// The largest cell of code in a wallet's first message: the one that begins as all contracts of these compilers do.
fn find_code(cell: &Cell) -> Option<Cell> {
    if cell.data().starts_with(&[0xff, 0x00, 0xf4, 0xa4, 0x13, 0xf4, 0xbc, 0xf2, 0xc8, 0x0b]) {
        return Some(cell.clone());
    }
    cell.refs().iter().find_map(find_code)
}

async fn balance_is(client: &Toncenter, address: Address, wanted: impl Fn(u64) -> bool) -> u64 {
    soon("a balance", async {
        loop {
            if let Ok(account) = client.account(address).await
                && wanted(account.balance.0)
            {
                return account.balance.0;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// Up to some nanotons of storage for the seconds between two blocks.
fn about(balance: u64, wanted: u64) -> bool {
    balance <= wanted && wanted - balance < 1000
}

async fn seqno(client: &Toncenter, address: Address) -> Option<u64> {
    let answer = client.get_method(address, "seqno", &[]).await.ok()?;
    answer.stack.first().and_then(StackValue::as_u64)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_emulated_is_what_happens() {
    let folder = tempfile::tempdir().unwrap();
    let chain = start(folder.path()).await;
    let client = client(&[&chain], 1);
    let (payer, receiver) = (Wallet::new(1), Wallet::new(2));
    assert_eq!(client.account(payer.address).await.unwrap().status, AccountStatus::Uninitialised);
    assert_eq!(client.transactions(payer.address, None, 5).await.unwrap(), []);
    assert_eq!(client.get_method(payer.address, "seqno", &[]).await, Err(ChainError::NoCode));
    chain.give(payer.address, Nanoton(5 * COIN)).await.unwrap();
    balance_is(&client, payer.address, |balance| balance == 5 * COIN).await;

    // A first transfer that deploys, to somebody without a contract; then one to nobody that comes back.
    for (number, bounce) in [(0, false), (1, true)] {
        let to = if bounce { Address { workchain: 0, hash: [0xee; 32] } } else { receiver.address };
        let message = payer.transfer(number, &to, COIN, bounce);
        let trace = client.emulate(&message).await.unwrap();
        assert_eq!(trace.succeeded(), !bounce, "{trace:?}");
        assert_eq!(trace.hops.len(), if bounce { 3 } else { 2 });
        let expected = trace.balance_after(&payer.address).unwrap().0;
        client.send(&message).await.unwrap();
        let there = balance_is(&client, payer.address, |balance| balance.abs_diff(expected) < 1000).await;
        // Storage for the blocks in between, some nanotons.
        assert!(there <= expected && expected - there < 1000, "{there} {expected}");
        soon("its number", async {
            while seqno(&client, payer.address).await != Some(number + 1) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        let done = client.transactions(payer.address, None, 10).await.unwrap();
        let sent = done.iter().find(|one| one.exit_code().is_some() && one.out_messages.len() == 1).unwrap();
        let told = &trace.hops[0].transaction;
        assert_eq!(sent.compute, told.compute);
        assert_eq!(sent.action, told.action);
        assert_eq!(sent.all_fees().unwrap().0 - sent.storage_fees.0, told.all_fees().unwrap().0 - told.storage_fees.0);
    }
    let replayed = client.emulate(&payer.transfer(0, &receiver.address, COIN, false)).await;
    assert!(matches!(replayed, Err(ChainError::Refused(_))), "{replayed:?}");
    let replayed = client.send(&payer.transfer(0, &receiver.address, COIN, false)).await;
    assert!(matches!(replayed, Err(ChainError::Refused(_))), "{replayed:?}");

    // Page by page, newest first, each linked to the one before it.
    let all = client.transactions(payer.address, None, 100).await.unwrap();
    assert_eq!(all.last().unwrap().previous, None);
    let mut cursor: Option<TransactionId> = None;
    for one in &all {
        let page = client.transactions(payer.address, cursor, 1).await.unwrap();
        assert_eq!(page, std::slice::from_ref(one));
        cursor = one.previous;
    }
    let foreign = TransactionId { lt: all[0].id.lt, hash: [9; 32] };
    assert!(client.transactions(payer.address, Some(foreign), 1).await.is_err());
    let head = client.head().await.unwrap();
    assert!(head.seqno > 0 && head.time > 1_700_000_000);
    assert!(chain.audit().await.unwrap().unwrap().adds_up());
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_survive_an_endpoint_that_does_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let chain = start(folder.path()).await;
    let client = client(&[&chain], 1);
    let owner = Address { workchain: 0, hash: [4; 32] };
    chain.give(owner, Nanoton(COIN)).await.unwrap();
    chain.give(owner, Nanoton(COIN)).await.unwrap();
    let balance = balance_is(&client, owner, |balance| about(balance, 2 * COIN)).await;
    for fault in ["drop:*:2", "lost_answer:*:2", "garbage:*:2", "late_answer=60000:*:1", "busy=0:*:2", "delay=200:*:1"]
    {
        chain.set_faults(&[fault]).await.unwrap();
        let account = client.account(owner).await;
        assert_eq!(account.map(|account| account.balance.0), Ok(balance), "{fault}");
        chain.set_faults(&[]).await.unwrap();
    }
    chain.set_faults(&["duplicate:getTransactions"]).await.unwrap();
    assert_eq!(client.transactions(owner, None, 10).await.unwrap().len(), 2, "what comes twice is taken once");
    chain.set_faults(&["drop"]).await.unwrap();
    assert!(matches!(client.account(owner).await, Err(ChainError::Unreachable(_))));
    chain.set_faults(&["garbage"]).await.unwrap();
    assert!(matches!(client.account(owner).await, Err(ChainError::Nonsense(_))));
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_answer_is_lost_is_uncertain_and_happens_once() {
    let folder = tempfile::tempdir().unwrap();
    let chain = start(folder.path()).await;
    let client = client(&[&chain], 1);
    let (payer, receiver) = (Wallet::new(1), Address { workchain: 0, hash: [5; 32] });
    chain.give(payer.address, Nanoton(20 * COIN)).await.unwrap();
    balance_is(&client, payer.address, |balance| balance == 20 * COIN).await;
    let mut paid = 0;
    for (number, (fault, certain)) in
        [("lost_answer:sendBoc:1", false), ("duplicate:sendBoc:1", true), ("late_answer=5000:sendBoc:1", false)]
            .into_iter()
            .enumerate()
    {
        chain.set_faults(&[fault]).await.unwrap();
        let message = payer.transfer(number as u64, &receiver, COIN, false);
        let sent = client.send(&message).await;
        assert_eq!(sent.is_ok(), certain, "{fault}: {sent:?}");
        assert!(sent.is_ok() || matches!(sent, Err(ChainError::Uncertain(_))), "{sent:?}");
        paid += COIN;
        balance_is(&client, receiver, |balance| about(balance, paid)).await;
        // The same bytes again do nothing, and are told to do nothing.
        assert!(matches!(client.send(&message).await, Err(ChainError::Refused(_))));
    }
    chain.set_faults(&["drop:sendBoc:1"]).await.unwrap();
    let message = payer.transfer(3, &receiver, COIN, false);
    assert!(matches!(client.send(&message).await, Err(ChainError::Uncertain(_))));
    client.send(&message).await.unwrap();
    balance_is(&client, receiver, |balance| about(balance, paid + COIN)).await;
    assert_eq!(client.transactions(receiver, None, 100).await.unwrap().len(), 4);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_endpoints_must_agree_and_one_that_lies_or_is_behind_is_found_out() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let chain = start(folders[0].path()).await;
    let alone = client(&[&chain], 2);
    let owner = Address { workchain: 0, hash: [6; 32] };
    chain.give(owner, Nanoton(COIN)).await.unwrap();
    balance_is(&alone, owner, |balance| balance == COIN).await;
    let lonely = alone.agreed_account(owner).await;
    assert_eq!(lonely, Err(ChainError::Disagreement { agreeing: 1, needed: 2 }), "one word is no agreement");

    // Two doors to the same chain, as two endpoints of one network are.
    let two = client(&[&chain, &chain], 2);
    assert_eq!(two.agreed_account(owner).await.unwrap().balance.0, COIN);
    chain.set_faults(&["lie_balance=5:getAddressInformation:1"]).await.unwrap();
    assert_eq!(two.agreed_account(owner).await.unwrap().balance.0, COIN, "asked again, both tell the truth");
    // Another network is not the same chain.
    let other = start(folders[1].path()).await;
    let mixed = client(&[&chain, &other], 2);
    assert!(matches!(mixed.agreed_account(owner).await, Err(ChainError::Disagreement { needed: 2, .. })));

    // Behind: what was seen before is not there any more.
    chain.set_faults(&["behind:getAddressState"]).await.unwrap();
    chain.give(owner, Nanoton(COIN)).await.unwrap();
    let balance = balance_is(&two, owner, |balance| about(balance, 2 * COIN)).await;
    two.agreed_account(owner).await.unwrap();
    chain.set_faults(&["behind:getAddressInformation"]).await.unwrap();
    assert!(matches!(two.account(owner).await, Err(ChainError::Behind { .. })));
    assert!(matches!(two.agreed_account(owner).await, Err(ChainError::Behind { .. })));
    chain.set_faults(&["behind:getAddressInformation:1"]).await.unwrap();
    assert_eq!(two.account(owner).await.unwrap().balance.0, balance, "the other endpoint is not behind");
    chain.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_endpoint_that_lies_about_time_sets_no_clock_and_shuts_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let chain = start(folder.path()).await;
    let two = client(&[&chain, &chain], 2);
    let owner = Address { workchain: 0, hash: [6; 32] };
    chain.give(owner, Nanoton(COIN)).await.unwrap();
    let balance = balance_is(&two, owner, |balance| balance == COIN).await;
    let now = two.agreed_account(owner).await.unwrap().seen_at;
    chain.set_faults(&["lie_time=4000000:getAddressInformation:1"]).await.unwrap();
    let told = two.agreed_account(owner).await.unwrap().seen_at;
    assert!(told >= now && told < now + 1_000, "{told} instead of {now}");

    // A logical time that never comes, said by one alone.
    chain.set_faults(&["lie_lt:getAddressInformation:1"]).await.unwrap();
    assert!(two.account(owner).await.unwrap().last_lt() > 1_000_000_000_000, "one alone is believed for now");
    assert_eq!(two.account(owner).await.map(|account| account.balance.0), Ok(balance), "two know better");
    chain.set_faults(&["lie_lt:getAddressInformation:1"]).await.unwrap();
    two.account(owner).await.unwrap();
    assert_eq!(two.agreed_account(owner).await.map(|account| account.balance.0), Ok(balance));
    assert_eq!(two.transactions(owner, None, 5).await.unwrap().len(), 1);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_one_endpoint_keeps_to_itself_reaches_the_chain_through_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let chain = start(folder.path()).await;
    let (payer, receiver) = (Wallet::new(1), Address { workchain: 0, hash: [5; 32] });
    let two = client(&[&chain, &chain], 2);
    chain.give(payer.address, Nanoton(20 * COIN)).await.unwrap();
    balance_is(&two, payer.address, |balance| balance == 20 * COIN).await;
    // Where two must agree, two get it at once.
    chain.set_faults(&["swallow:sendBoc:1"]).await.unwrap();
    two.send(&payer.transfer(0, &receiver, COIN, false)).await.unwrap();
    balance_is(&two, receiver, |balance| about(balance, COIN)).await;
    // Where one is enough, the others get it when it comes again.
    let one = client(&[&chain, &chain], 1);
    chain.set_faults(&["swallow:sendBoc:2"]).await.unwrap();
    let message = payer.transfer(1, &receiver, COIN, false);
    one.send(&message).await.unwrap();
    one.send(&message).await.unwrap();
    balance_is(&one, receiver, |balance| about(balance, 2 * COIN)).await;
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_says_of_which_network_it_is_and_a_wallet_of_another_is_refused() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let test = start(folders[0].path()).await;
    let mut settings = embedded::Settings::new(folders[1].path().to_owned());
    settings.global_id = Network::Main.global_id();
    let main = embedded::start(settings).await.unwrap();
    for (chain, network, other) in [(&test, Network::Test, Network::Main), (&main, Network::Main, Network::Test)] {
        let client = client(&[chain, chain], 2);
        assert_eq!(client.network_id().await, Ok(network.global_id()));
        assert_eq!(client.config().await.unwrap().network_id(), network.global_id());
        client.expect_network(network).await.unwrap();
        let refused = client.expect_network(other).await.unwrap_err();
        assert_eq!(refused, ChainError::OtherNetwork { found: network.global_id(), wanted: other });
        assert!(refused.to_string().contains("test network") && refused.to_string().contains("main network"));
    }
    // One of each is neither, also where one is enough for the rest.
    for agreement in [1, 2] {
        let mixed = client(&[&test, &main], agreement);
        assert_eq!(mixed.expect_network(Network::Test).await, Err(ChainError::Disagreement { agreeing: 1, needed: 2 }));
    }
    test.stop().await;
    main.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_opens_to_the_token_only() {
    let folder = tempfile::tempdir().unwrap();
    let chain = start(folder.path()).await;
    let endpoint = Endpoint::new(&chain.endpoint(), Some("wrong")).unwrap();
    let settings =
        Settings { endpoints: vec![endpoint], agreement: 1, patience: Patience::default(), jitter: Arc::new(|| 0) };
    let stranger = Toncenter::new(settings).unwrap();
    let asked = stranger.account(Address { workchain: 0, hash: [1; 32] }).await;
    assert!(matches!(&asked, Err(ChainError::Unreachable(why)) if why.contains("401")), "{asked:?}");
    chain.stop().await;
    assert!(matches!(Endpoint::new("http://toncenter.com/api", None), Err(EndpointError::Plain(_))));
    assert!(matches!(Endpoint::new("ftp://127.0.0.1/", None), Err(EndpointError::Url(_))));
    assert!(Endpoint::new("https://toncenter.com/api/v2/jsonRPC", None).is_ok());
}
