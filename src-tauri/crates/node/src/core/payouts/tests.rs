//! Payouts against a small chain that loses, delays, doubles and lies, with a program that is killed at any moment.

mod asking;

use std::collections::{BTreeMap, VecDeque};

use accounting::Receipt;
use proptest::prelude::*;

use super::*;

const FEE: Nanoton = Nanoton(1_000);
const GAS: Nanoton = Nanoton(15_000_000);
/// What of it the wallet itself pays.
const OWN_GAS: Nanoton = Nanoton(3_000_000);
const OWNER: Address = address(1);
const PAYER: Address = address(2);
const PROXY: Address = address(3);
const FIRST: Address = address(10);
const SECOND: Address = address(11);

const fn address(number: u8) -> Address {
    Address { workchain: 0, hash: [number; 32] }
}

fn claim(worker_contract: Address, tokens: u64) -> Claim {
    let body = tokens.to_be_bytes().to_vec();
    let state_init = Some(vec![7]);
    Claim { worker_contract, proxy_contract: PROXY, owner: None, fee_per_token: FEE, tokens, body, state_init }
}

fn terms() -> Terms {
    Terms { owner: OWNER, payer: Some(PAYER), threshold: Some(Nanoton(100_000_000)), reserve: Nanoton(50_000_000) }
}

/// A chain on which a wallet and two worker contracts live.
#[derive(Clone)]
struct Chain {
    unix: u32,
    balance: u64,
    seqno: Option<u32>,
    contracts: BTreeMap<Address, (Standing, u64)>,
    proxies: BTreeMap<Address, Standing>,
    received: u64,
    /// Of which the proxy brought so much by itself.
    by_proxy: u64,
    landed: BTreeMap<[u8; 32], Trace>,
    /// Messages that were taken and are not yet in a block.
    pool: Vec<SignedMessage>,
    lt: u64,
    fails_next: bool,
}

impl Chain {
    fn new() -> Self {
        Self {
            unix: 1_790_000_000,
            balance: 2_000_000_000,
            seqno: None,
            contracts: BTreeMap::new(),
            proxies: BTreeMap::from([(PROXY, Standing::Open)]),
            received: 0,
            by_proxy: 0,
            landed: BTreeMap::new(),
            pool: Vec::new(),
            lt: 1,
            fails_next: false,
        }
    }

    fn sight(&self) -> Sight {
        let seen = |(address, (standing, tokens)): (&Address, &(Standing, u64))| {
            (*address, ContractSight { standing: *standing, tokens: *tokens, owner: None })
        };
        let mut contracts: BTreeMap<Address, ContractSight> = self.contracts.iter().map(seen).collect();
        for contract in [FIRST, SECOND] {
            contracts.entry(contract).or_default();
        }
        let payer = PayerSight { balance: Nanoton(self.balance), seqno: self.seqno, unix: self.unix };
        Sight { unix: self.unix, payer, contracts, proxies: self.proxies.clone() }
    }

    /// Makes a block of what is in the pool. Messages with a used number or past their time fall out.
    fn block(&mut self) {
        for message in std::mem::take(&mut self.pool) {
            if message.seqno != self.seqno.unwrap_or(0) || self.unix > message.valid_until {
                continue;
            }
            self.seqno = Some(message.seqno + 1);
            let (contract, tokens) = content(&message.boc);
            self.lt += 1;
            self.balance -= GAS.0;
            let entry = self.contracts.entry(contract).or_default();
            // The owner's own sending has no total.
            let is_payout = tokens > 0;
            let pays_none = tokens <= entry.1 || entry.0 == Standing::Closed;
            let fails = std::mem::take(&mut self.fails_next) || is_payout && pays_none;
            let mut receipts = Vec::new();
            if !fails && is_payout {
                entry.0 = Standing::Open;
                let value = (tokens - entry.1) * FEE.0;
                entry.1 = tokens;
                self.received += value;
                receipts.push(Receipt {
                    from: PROXY,
                    to: OWNER,
                    value: Nanoton(value),
                    is_payout: true,
                    lt: self.lt,
                    hash: message.hash,
                    unix: self.unix,
                });
            }
            // What is left of the attached money comes back, which is no income.
            receipts.push(Receipt {
                from: contract,
                to: PAYER,
                value: Nanoton(185_000_000),
                is_payout: false,
                lt: self.lt,
                hash: message.hash,
                unix: self.unix,
            });
            let failure = fails.then(|| "exit code 1000".to_owned());
            let (fees, own_fees) = (Some(GAS), Some(OWN_GAS));
            self.landed.insert(message.hash, Trace { complete: true, failure, receipts, fees, own_fees });
        }
    }
}

/// Bytes of a message of these tests: contract, total, number, time, and something that makes two signings differ.
fn encode(outgoing: &Outgoing, seqno: u32, valid_until: u32) -> SignedMessage {
    let mut boc = outgoing.to.hash.to_vec();
    boc.extend_from_slice(outgoing.body.as_deref().unwrap_or(&[0; 8]));
    boc.extend_from_slice(&seqno.to_be_bytes());
    boc.extend_from_slice(&valid_until.to_be_bytes());
    let mut hash = [0_u8; 32];
    for (index, byte) in boc.iter().enumerate() {
        hash[index % 32] = u8::wrapping_add(hash[index % 32].rotate_left(3), *byte);
    }
    SignedMessage { boc, hash, seqno, valid_until }
}

fn content(boc: &[u8]) -> (Address, u64) {
    let contract = Address { workchain: 0, hash: boc[..32].try_into().unwrap() };
    (contract, u64::from_be_bytes(boc[32..40].try_into().unwrap()))
}

fn sought(chain: &Chain, hash: &[u8; 32]) -> Sought {
    chain.landed.get(hash).map_or(Sought::Absent, |trace| Sought::Found(Box::new(trace.clone())))
}

fn order(number: u64) -> Input {
    let outgoing =
        Outgoing { to: SECOND, value: Nanoton(5), everything: false, bounce: false, body: None, state_init: None };
    Input::Send(Box::new(Order { number, outgoing, within: Duration::from_secs(30) }))
}

/// What the world does to one effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Good,
    /// It is not done and says so.
    Fails,
    /// It is done and says that it was not.
    DoneButFails,
    /// It says it is done and is not.
    Lost,
    /// It answers from an old block.
    Behind,
    /// The program is killed before it.
    KilledBefore,
    /// The program is killed after it.
    KilledAfter,
}

struct World {
    chain: Chain,
    old: Chain,
    rows: BTreeMap<TransferId, Transfer>,
    claims: BTreeMap<Address, Claim>,
    core: Payouts,
    effects: VecDeque<Effect>,
    mono: Duration,
    terms: Terms,
    sent: Vec<SignedMessage>,
    /// What became of the owner's orders.
    answers: Vec<Effect>,
}

impl World {
    fn new() -> Self {
        let (chain, terms) = (Chain::new(), terms());
        Self {
            old: chain.clone(),
            chain,
            rows: BTreeMap::new(),
            claims: BTreeMap::new(),
            core: Payouts::new(terms.clone(), Remembered::default()),
            effects: VecDeque::new(),
            mono: Duration::ZERO,
            terms,
            sent: Vec::new(),
            answers: Vec::new(),
        }
    }

    fn input(&mut self, input: Input) {
        let mut effects = Vec::new();
        let now = Now { mono: self.mono, unix_ms: 0 };
        self.core.handle(input, now, &mut effects);
        self.effects.extend(effects);
    }

    fn sign(&mut self, contract: Address, tokens: u64) {
        let claim = claim(contract, tokens);
        self.claims.insert(contract, claim.clone());
        self.input(Input::Signed(Box::new(claim)));
    }

    fn is_over(transfer: &Transfer) -> bool {
        matches!(transfer.stage, Stage::Ended(_))
    }

    fn kill(&mut self) {
        self.effects.clear();
        let open = self.rows.values().filter(|row| !Self::is_over(row)).cloned().collect();
        let claims = self.claims.values().cloned().collect();
        let last = self.rows.keys().max().copied();
        self.core = Payouts::new(self.terms.clone(), Remembered { claims, open, last });
        self.input(Input::Tick);
    }

    /// Does one effect as fate has it. False: there is none.
    fn step(&mut self, fate: Fate) -> bool {
        let Some(effect) = self.effects.pop_front() else { return false };
        if matches!(effect, Effect::Log { .. } | Effect::Publish) {
            return true;
        }
        if let Effect::Begun { .. } | Effect::Refused { .. } = effect {
            self.answers.push(effect);
            return true;
        }
        if fate == Fate::KilledBefore {
            self.kill();
            return true;
        }
        let answer = self.act(effect, fate);
        if fate == Fate::KilledAfter {
            self.kill();
        } else {
            self.input(answer);
        }
        true
    }

    fn act(&mut self, effect: Effect, fate: Fate) -> Input {
        let refused = matches!(fate, Fate::Fails | Fate::DoneButFails);
        let why = "as fate has it".to_owned();
        match effect {
            Effect::Look { .. } => match fate {
                Fate::Fails => Input::NotSeen { why },
                Fate::Behind => Input::Seen(Box::new(self.old.sight())),
                _ => Input::Seen(Box::new(self.chain.sight())),
            },
            Effect::Record(row) => {
                let id = row.id;
                if fate == Fate::Fails {
                    return Input::NotRecorded { id, why };
                }
                // A write that fails after the bytes are on the disk is the same row again.
                self.rows.insert(id, *row);
                if fate == Fate::DoneButFails { Input::NotRecorded { id, why } } else { Input::Recorded { id } }
            }
            Effect::Emulate { id, outgoing, .. } => {
                let (contract, tokens) = content(&encode(&outgoing, 0, 0).boc);
                let paid = self.chain.contracts.get(&contract).map_or(0, |entry| entry.1);
                let income = Nanoton(tokens.saturating_sub(paid) * FEE.0);
                let forecast =
                    Forecast { failure: None, fees: GAS, income, balance_after: Nanoton(self.chain.balance) };
                Input::Emulated { id, forecast: if refused { Err(why) } else { Ok(forecast) } }
            }
            Effect::Sign { id, outgoing, seqno, valid_until } => {
                let message = if refused { Err(why) } else { Ok(encode(&outgoing, seqno, valid_until)) };
                Input::MessageSigned { id, message }
            }
            Effect::Send { id, boc } => {
                let row = &self.rows[&id];
                let Stage::Signed(message) = &row.stage else { panic!("sent what is not written down: {row:?}") };
                assert_eq!(message.boc, boc, "other bytes than those that are written down");
                if !self.sent.iter().any(|sent| sent.hash == message.hash) {
                    self.sent.push(message.clone());
                }
                if !matches!(fate, Fate::Fails | Fate::Lost) {
                    self.chain.pool.push(message.clone());
                }
                Input::Sent { id, refused: refused.then_some(why) }
            }
            Effect::Trace { id, hash, .. } => match fate {
                Fate::Fails => Input::Traced { id, trace: Err(why) },
                Fate::Behind => Input::Traced { id, trace: Ok(sought(&self.old, &hash)) },
                _ => Input::Traced { id, trace: Ok(sought(&self.chain, &hash)) },
            },
            Effect::Begun { .. } | Effect::Refused { .. } | Effect::Log { .. } | Effect::Publish => unreachable!(),
        }
    }

    fn pass(&mut self, seconds: u32) {
        self.old = self.chain.clone();
        self.mono += Duration::from_secs(u64::from(seconds));
        self.chain.unix += seconds;
        self.chain.block();
        self.input(Input::Tick);
    }

    /// Lets everything come to its end, undisturbed.
    fn settle(&mut self) {
        for _ in 0..3_000 {
            while self.step(Fate::Good) {}
            self.pass(5);
        }
        while self.step(Fate::Good) {}
    }

    /// What must hold at every moment.
    fn check(&self) {
        let cashed: u64 = self.chain.contracts.values().map(|entry| entry.1).sum();
        assert_eq!(self.chain.received, cashed * FEE.0, "paid exactly once");
        let known = |hash: &[u8; 32]| self.sent.iter().any(|sent: &SignedMessage| sent.hash == *hash);
        assert!(self.chain.landed.keys().all(known), "a message landed that was never written down");
        let mut alive: Vec<&Transfer> = self.rows.values().filter(|row| !Self::is_over(row)).collect();
        alive.retain(|row| matches!(row.stage, Stage::Signed(_)));
        assert!(alive.len() <= 1, "two in flight: {alive:?}");
    }

    fn receipts(&self) -> u64 {
        let of = |row: &Transfer| match &row.stage {
            Stage::Ended(Outcome::Done { receipts, .. } | Outcome::Failed { receipts, .. }) => {
                receipts.iter().map(|receipt| receipt.value.0).sum()
            }
            _ => 0,
        };
        self.rows.values().map(of).sum()
    }

    fn outcomes(&self) -> Vec<&Outcome> {
        let ended = |row: &'_ Transfer| matches!(row.stage, Stage::Ended(_));
        assert!(self.rows.values().all(ended), "{:?}", self.rows);
        self.rows
            .values()
            .map(|row| match &row.stage {
                Stage::Ended(outcome) => outcome,
                _ => unreachable!(),
            })
            .collect()
    }
}

#[test]
fn what_was_signed_is_paid_once_and_the_row_says_what_came_in() {
    let mut world = World::new();
    world.sign(FIRST, 1_000_000);
    world.settle();
    assert_eq!(world.chain.received, 1_000_000_000);
    assert!(matches!(world.outcomes()[..], [Outcome::Done { fees: Some(GAS), .. }]), "{:?}", world.rows);
    assert_eq!(world.receipts(), 1_000_000_000);
    let row = world.rows.values().next().unwrap();
    assert!(row.outgoing.state_init.is_some(), "the contract is brought along the first time");
    world.sign(FIRST, 3_000_000);
    world.settle();
    assert_eq!((world.chain.received, world.rows.len()), (3_000_000_000, 2));
    let row = world.rows.values().last().unwrap();
    assert_eq!(row.outgoing.state_init, None);
    assert_eq!(world.core.shown().unpaid, Some(Nanoton(0)));
}

#[test]
fn what_a_closing_proxy_has_signed_is_fetched_below_the_threshold_and_never_when_the_fee_eats_it() {
    // Two proxies owe less than the threshold; the one that owes less begins to close.
    let other = address(4);
    let mut world = World::new();
    world.input(Input::Signed(Box::new(Claim { proxy_contract: other, ..claim(FIRST, 90_000) })));
    world.sign(SECOND, 60_000);
    world.settle();
    assert!(world.rows.is_empty() && matches!(world.core.shown().waits, Some(Wait::Threshold { .. })));
    world.chain.proxies.insert(PROXY, Standing::Closing);
    let mut said = 0;
    for _ in 0..40 {
        while let Some(effect) = world.effects.front() {
            said += usize::from(matches!(effect, Effect::Log { message, .. } if message.contains("is closing")));
            world.step(Fate::Good);
        }
        world.pass(10);
    }
    assert_eq!(world.chain.received, 60_000_000, "what the other one owes waits for the threshold");
    assert_eq!(said, 1, "it is said once");
    let errands: Vec<&Errand> = world.rows.values().map(|row| &row.errand).collect();
    assert!(matches!(errands[..], [Errand::Payout { worker_contract: SECOND, .. }]), "{errands:?}");
    assert!(matches!(world.outcomes()[..], [Outcome::Done { .. }]), "{:?}", world.rows);
    // What it signs while it closes is fetched too, unless the fee eats it.
    world.sign(SECOND, 70_000);
    world.settle();
    assert_eq!(world.chain.received, 60_000_000);
    assert!(world.rows.values().skip(1).all(|row| matches!(&row.stage, Stage::Ended(Outcome::NotBegun { .. }))));
    // One that is closed pays no more: nothing is owed and nothing is tried.
    let tried = world.rows.len();
    world.chain.proxies.insert(PROXY, Standing::Closed);
    world.sign(SECOND, 90_000_000);
    world.settle();
    assert_eq!((world.rows.len(), world.core.shown().unpaid), (tried, Some(Nanoton(90_000_000))));
}

#[test]
fn a_wallet_that_cannot_pay_the_fee_is_named_and_nothing_is_begun() {
    let mut world = World::new();
    world.chain.balance = 249_999_999;
    world.sign(FIRST, 1_000_000);
    world.settle();
    assert!(world.rows.is_empty());
    let wait = Wait::Fees { balance: Nanoton(249_999_999), needed: Nanoton(250_000_000) };
    assert_eq!(world.core.shown().waits, Some(wait));
    world.terms.payer = None;
    world.input(Input::TermsAre(world.terms.clone()));
    world.settle();
    assert!(world.rows.is_empty());
}

#[test]
fn bytes_that_never_arrive_are_sent_again_unchanged_and_given_up_by_the_chains_clock_alone() {
    let mut world = World::new();
    world.sign(FIRST, 1_000_000);
    let mut sends = 0;
    for _ in 0..20 {
        while let Some(effect) = world.effects.front() {
            let fate = if matches!(effect, Effect::Send { .. }) { Fate::Lost } else { Fate::Good };
            sends += u32::from(fate == Fate::Lost);
            world.step(fate);
        }
        // This machine's clock runs on, the chain's stands still.
        world.mono += Duration::from_hours(24);
        world.input(Input::Tick);
    }
    assert!(sends > 10, "{sends}");
    assert_eq!(world.sent.len(), 1, "always the same bytes");
    world.settle();
    assert_eq!(world.chain.received, 1_000_000_000);
}

#[test]
fn one_look_at_a_time_far_ahead_gives_no_message_up_and_stops_nothing() {
    let mut world = World::new();
    world.sign(FIRST, 1_000_000);
    while world.sent.is_empty() {
        if !world.step(Fate::Lost) {
            world.pass(1);
        }
    }
    // It did not arrive; whoever got it holds it back, and says that its time is over.
    let mut lie = world.chain.sight();
    lie.unix = 4_000_000_000;
    world.input(Input::Seen(Box::new(lie.clone())));
    assert!(world.core.shown().chain_fails.is_some(), "it is said");
    while world.step(Fate::Lost) {}
    assert!(!world.rows.values().any(World::is_over), "{:?}", world.rows);
    world.settle();
    assert!(matches!(world.outcomes()[..], [Outcome::Done { .. }]), "{:?}", world.rows);
    assert_eq!((world.chain.received, world.core.shown().chain_fails), (1_000_000_000, None));

    // And as the first thing that is seen, of a message of an earlier run.
    world.sign(FIRST, 2_000_000);
    while world.sent.len() < 2 {
        if !world.step(Fate::Lost) {
            world.pass(1);
        }
    }
    world.kill();
    lie.payer = world.chain.sight().payer;
    world.input(Input::Seen(Box::new(lie)));
    world.settle();
    assert!(matches!(world.outcomes()[..], [Outcome::Done { .. }, Outcome::Done { .. }]), "{:?}", world.rows);
    assert_eq!(world.chain.received, 2_000_000_000);
    world.check();
}

#[test]
fn a_contract_that_was_paid_by_somebody_else_meanwhile_is_seen_and_not_paid_again() {
    let mut world = World::new();
    world.sign(FIRST, 1_000_000);
    // The proxy itself presents the same payment just before ours lands.
    while !world.effects.iter().any(|effect| matches!(effect, Effect::Send { .. })) {
        if !world.step(Fate::Good) {
            world.pass(1);
        }
    }
    world.chain.contracts.insert(FIRST, (Standing::Open, 1_000_000));
    world.chain.received += 1_000_000_000;
    world.settle();
    world.check();
    assert!(matches!(world.outcomes()[..], [Outcome::Failed { .. }]), "{:?}", world.rows);
    assert_eq!(world.receipts(), 0);
    assert_eq!(world.core.shown().unpaid, Some(Nanoton(0)));
}

#[test]
fn a_ledger_from_an_old_copy_is_corrected_by_the_chain() {
    let mut world = World::new();
    world.sign(FIRST, 1_000_000);
    world.settle();
    let (rows, claims) = (BTreeMap::new(), world.claims.clone());
    world.sign(FIRST, 2_000_000);
    world.settle();
    assert_eq!(world.chain.received, 2_000_000_000);
    // The copy of before the first payout comes back.
    (world.rows, world.claims) = (rows, claims);
    world.kill();
    world.settle();
    assert!(world.rows.is_empty(), "{:?}", world.rows);
    assert_eq!(world.core.shown().unpaid, Some(Nanoton(0)));
    world.sign(FIRST, 2_500_000);
    world.settle();
    assert_eq!(world.chain.received, 2_500_000_000);
    world.check();
}

#[test]
fn another_message_of_the_wallet_takes_its_number_and_the_payout_is_made_with_the_next() {
    let mut world = World::new();
    world.sign(FIRST, 1_000_000);
    while world.sent.is_empty() {
        if !world.step(Fate::Lost) {
            world.pass(1);
        }
    }
    world.chain.pool.clear();
    world.chain.seqno = Some(1);
    world.settle();
    assert_eq!(world.chain.received, 1_000_000_000);
    assert!(matches!(world.outcomes()[..], [Outcome::Overtaken, Outcome::Done { .. }]), "{:?}", world.rows);
}

#[test]
fn only_one_transfer_of_a_wallet_is_on_its_way_and_the_owners_comes_first() {
    let mut world = World::new();
    world.input(order(1));
    world.sign(FIRST, 1_000_000);
    world.input(order(2));
    world.settle();
    let refused = Effect::Refused { number: 2, why: NotSent::UnderWay };
    assert_eq!(world.answers, [refused, Effect::Begun { number: 1, id: TransferId(0) }]);
    let errands: Vec<bool> = world.rows.values().map(|row| row.errand == Errand::Send).collect();
    assert_eq!(errands, [true, false]);
    assert_eq!(world.chain.received, 1_000_000_000);
    world.check();
}

#[test]
fn what_is_out_is_followed_on_the_wallet_it_left() {
    let other = address(7);
    let mut world = World::new();
    world.sign(FIRST, 1_000_000);
    while world.sent.is_empty() {
        assert!(world.step(Fate::Good));
    }
    world.terms.payer = Some(other);
    world.input(Input::TermsAre(world.terms.clone()));
    let mut looked = Vec::new();
    for _ in 0..20 {
        while let Some(effect) = world.effects.front() {
            if let Effect::Look { payer, .. } = effect {
                looked.push((*payer, world.chain.received > 0 && world.rows.values().all(World::is_over)));
            }
            world.step(Fate::Good);
        }
        world.pass(30);
    }
    assert!(looked.contains(&(PAYER, false)) && looked.contains(&(other, true)), "{looked:?}");
    assert!(looked.iter().all(|(payer, over)| (*payer == other) == *over), "{looked:?}");
    world.check();
}

#[test]
fn a_payout_pays_whom_it_was_begun_for_whoever_brings_it_to_its_end() {
    for (named, known) in [(true, true), (true, false), (false, true)] {
        let mut world = World::new();
        world.terms.owner = if named { address(8) } else { OWNER };
        world.core = Payouts::new(world.terms.clone(), Remembered::default());
        // The contract's first data name the owner, or nothing does and the terms do.
        world.claims.insert(FIRST, Claim { owner: named.then_some(OWNER), ..claim(FIRST, 1_000_000) });
        world.input(Input::Signed(Box::new(world.claims[&FIRST].clone())));
        while world.sent.is_empty() {
            assert!(world.step(Fate::Good));
        }
        // Another command ends it, for an owner of its own.
        world.terms.owner = if known { PAYER } else { OWNER };
        if !known {
            let Errand::Payout { owner, .. } = &mut world.rows.values_mut().next().unwrap().errand else { panic!() };
            *owner = None;
        }
        world.kill();
        world.settle();
        assert!(matches!(world.outcomes()[..], [Outcome::Done { .. }]), "{named} {known}: {:?}", world.rows);
        assert_eq!(world.receipts(), 1_000_000_000);
    }
}

#[test]
fn a_payout_that_brings_less_than_it_should_is_never_called_paid() {
    let transfer = Transfer {
        id: TransferId(0),
        payer: PAYER,
        errand: Errand::Payout {
            worker_contract: FIRST,
            proxy_contract: PROXY,
            owner: Some(OWNER),
            from_tokens: 0,
            to_tokens: 1_000_000,
            expected: Nanoton(1_000_000_000),
        },
        outgoing: Outgoing {
            to: FIRST,
            value: Nanoton(1),
            everything: false,
            bounce: true,
            body: None,
            state_init: None,
        },
        forecast: None,
        stage: Stage::Planned,
        planned_unix_ms: 0,
    };
    let receipt = |from, to, value, is_payout| Receipt {
        from,
        to,
        value: Nanoton(value),
        is_payout,
        lt: 1,
        hash: [1; 32],
        unix: 1,
    };
    let judge = |complete, failure: Option<&str>, receipts: &[Receipt]| {
        let failure = failure.map(str::to_owned);
        let trace = Trace { complete, failure, receipts: receipts.to_vec(), fees: None, own_fees: None };
        judge::judge(&transfer, &trace, &OWNER)
    };
    let good = receipt(PROXY, OWNER, 999_000_000, true);
    assert!(matches!(judge(true, None, &[good]), Verdict::Final(Outcome::Done { .. })));
    assert_eq!(judge(false, None, &[good]), Verdict::NotYet);
    for wrong in [
        receipt(FIRST, OWNER, 999_000_000, true),
        receipt(PROXY, PAYER, 999_000_000, true),
        receipt(PROXY, OWNER, 999_000_000, false),
        receipt(PROXY, OWNER, 989_000_000, true),
        receipt(PROXY, OWNER, 1_000_000_001, true),
    ] {
        assert!(matches!(judge(true, None, &[wrong]), Verdict::Final(Outcome::Failed { .. })), "{wrong:?}");
    }
    assert!(matches!(judge(true, Some("exit code 1007"), &[good]), Verdict::Final(Outcome::Failed { .. })));
    assert!(matches!(judge(true, None, &[]), Verdict::Final(Outcome::Failed { .. })));
}

#[test]
fn a_sending_that_a_payout_came_before_is_refused_and_never_sent() {
    let mut world = World::new();
    world.sign(FIRST, 1_000_000);
    while world.core.shown().in_flight.is_none() {
        assert!(world.step(Fate::Good));
    }
    world.input(order(7));
    world.settle();
    assert_eq!(world.answers, [Effect::Refused { number: 7, why: NotSent::UnderWay }]);
    assert!(world.rows.values().all(|row| row.errand != Errand::Send), "{:?}", world.rows);
}

#[test]
fn a_sending_that_waits_too_long_for_the_chain_is_refused_and_not_sent_when_it_answers() {
    let mut world = World::new();
    world.input(order(1));
    for _ in 0..9 {
        while let Some(effect) = world.effects.front() {
            world.step(if matches!(effect, Effect::Look { .. }) { Fate::Fails } else { Fate::Good });
        }
        world.pass(4);
    }
    let why = "as fate has it".to_owned();
    assert_eq!(world.answers, [Effect::Refused { number: 1, why: NotSent::TooLate { why } }]);
    world.settle();
    assert!(world.rows.is_empty() && !world.core.shown().busy, "{:?}", world.rows);
    // A moment less, and it is begun.
    world.input(order(2));
    world.settle();
    assert!(matches!(world.answers[1], Effect::Begun { number: 2, .. }), "{:?}", world.answers);
}

#[test]
fn a_sending_that_cant_be_written_down_in_time_is_refused() {
    let mut world = World::new();
    world.input(order(1));
    for _ in 0..40 {
        while let Some(effect) = world.effects.front() {
            world.step(if matches!(effect, Effect::Record(_)) { Fate::Fails } else { Fate::Good });
        }
        world.pass(1);
    }
    let [Effect::Refused { number: 1, why: NotSent::TooLate { why } }] = &world.answers[..] else { panic!() };
    assert!(why.contains("written down"), "{why}");
    world.settle();
    assert!(matches!(world.outcomes()[..], [Outcome::NotBegun { .. }]) && world.sent.is_empty());
}

#[test]
fn contracts_that_owe_nothing_are_asked_for_once_an_hour_and_a_messages_time_counts_from_the_wallet() {
    let mut world = World::new();
    world.chain.contracts.insert(FIRST, (Standing::Open, 1_000));
    world.chain.contracts.insert(SECOND, (Standing::Closed, 0));
    world.sign(FIRST, 1_000);
    world.sign(SECOND, 5_000);
    let mut looks = Vec::new();
    for _ in 0..130 {
        while let Some(effect) = world.effects.front() {
            if let Effect::Look { contracts, .. } = effect {
                looks.push(contracts.len());
            }
            world.step(Fate::Good);
        }
        world.pass(30);
    }
    // At the beginning, and after an hour.
    assert_eq!((looks.iter().filter(|asked| **asked > 0).count(), looks.len() > 50), (2, true), "{looks:?}");
    world.sign(FIRST, 1_000_000);
    let mut sight = world.chain.sight();
    sight.payer.unix = sight.unix + 77;
    world.chain.unix = sight.payer.unix;
    world.effects.clear();
    world.input(Input::Seen(Box::new(sight.clone())));
    while !world.effects.iter().any(|effect| matches!(effect, Effect::Emulate { .. })) {
        assert!(world.step(Fate::Good));
    }
    let emulated = |effect: &Effect| match effect {
        Effect::Emulate { valid_until, .. } => Some(*valid_until),
        _ => None,
    };
    assert_eq!(world.effects.iter().find_map(emulated), Some(sight.payer.unix + VALID_SECONDS));
}

#[test]
fn a_contract_that_cant_be_read_is_left_alone_and_stands_in_nobodys_way() {
    let mut world = World::new();
    world.chain.contracts.insert(SECOND, (Standing::Unreadable, 0));
    world.sign(SECOND, 9_000_000);
    world.sign(FIRST, 1_000_000);
    world.settle();
    assert_eq!(world.chain.received, 1_000_000_000);
    assert_eq!(world.rows.len(), 1, "{:?}", world.rows);
    let shown = world.core.shown();
    assert_eq!(
        (shown.unpaid, shown.cashed.contains_key(&SECOND)),
        (None, false),
        "how much of it is owed is not known"
    );
}

#[test]
fn a_first_payout_must_bring_more_than_the_contract_keeps_of_it() {
    let forecast = |income| Forecast {
        failure: None,
        fees: GAS,
        income: Nanoton(income),
        balance_after: Nanoton(2_000_000_000 - GAS.0 - 110_000_000 + income),
    };
    let errand = |expected| Errand::Payout {
        worker_contract: FIRST,
        proxy_contract: PROXY,
        owner: Some(PAYER),
        from_tokens: 0,
        to_tokens: 1,
        expected: Nanoton(expected),
    };
    let outgoing =
        Outgoing { to: FIRST, value: Nanoton(1), everything: false, bounce: true, body: None, state_init: None };
    for (income, is_worth) in [(125_000_000, false), (125_000_001, true)] {
        let transfer = Transfer {
            id: TransferId(0),
            payer: PAYER,
            errand: errand(income),
            outgoing: outgoing.clone(),
            forecast: None,
            stage: Stage::Planned,
            planned_unix_ms: 0,
        };
        let judged = judge::is_worth_it(&transfer, &forecast(income), &PAYER, Nanoton(2_000_000_000));
        assert_eq!(judged.is_ok(), is_worth, "{judged:?}");
        // What comes to another address does not show in this wallet.
        let elsewhere = Forecast { balance_after: Nanoton(1_875_000_000), ..forecast(income) };
        assert_eq!(judge::is_worth_it(&transfer, &elsewhere, &OWNER, Nanoton(2_000_000_000)), judged);
    }
}

#[test]
fn a_sending_costs_what_the_wallet_pays_and_one_that_was_not_found_is_not_said_to_have_failed_to_leave() {
    let mut world = World::new();
    world.input(order(1));
    world.settle();
    assert!(matches!(world.outcomes()[..], [Outcome::Done { fees: Some(OWN_GAS), .. }]), "{:?}", world.rows);
    world.input(order(2));
    let since = loop {
        if let Some(Effect::Trace { since, .. }) = world.effects.front() {
            break *since;
        }
        if !world.step(Fate::Good) {
            world.pass(5);
        }
    };
    let Stage::Signed(message) = &world.rows[&TransferId(1)].stage else { panic!() };
    assert_eq!(since, message.valid_until - VALID_SECONDS - MARGIN_SECONDS);
    world.effects.clear();
    world.input(Input::Traced { id: TransferId(1), trace: Ok(Sought::GivenUp) });
    world.settle();
    let Outcome::Failed { why, fees: None, .. } = world.outcomes()[1].clone() else { panic!("{:?}", world.rows) };
    assert!(why.contains("not known"), "{why}");
}

fn fates() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Good),
        1 => Just(Fate::Fails),
        1 => Just(Fate::DoneButFails),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Behind),
        1 => Just(Fate::KilledBefore),
        1 => Just(Fate::KilledAfter),
    ]
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Step(Fate),
    Pass(u32),
    Signed { second: bool, more: u64 },
    TakeNow,
    FailsOnChain,
    PaidByProxy,
    ProxyCloses,
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => fates().prop_map(Event::Step),
        4 => (1_u32..40).prop_map(Event::Pass),
        1 => (80_u32..400).prop_map(Event::Pass),
        1 => (any::<bool>(), 1_u64..2_000_000).prop_map(|(second, more)| Event::Signed { second, more }),
        1 => Just(Event::TakeNow),
        1 => Just(Event::FailsOnChain),
        1 => Just(Event::PaidByProxy),
        1 => Just(Event::ProxyCloses),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_everything_is_paid_exactly_once_and_nothing_is_forgotten(
        happenings in prop::collection::vec(events(), 1..160),
    ) {
        let mut world = World::new();
        world.chain.balance = 1_000_000_000_000;
        world.sign(FIRST, 500_000);
        for event in happenings {
            match event {
                Event::Step(fate) => {
                    world.step(fate);
                }
                Event::Pass(seconds) => world.pass(seconds),
                Event::Signed { second, more } => {
                    let contract = if second { SECOND } else { FIRST };
                    let before = world.claims.get(&contract).map_or(0, |claim| claim.tokens);
                    world.sign(contract, before + more);
                }
                Event::TakeNow => world.input(Input::TakeNow),
                Event::ProxyCloses => {
                    world.chain.proxies.insert(PROXY, Standing::Closing);
                }
                Event::FailsOnChain => world.chain.fails_next = true,
                Event::PaidByProxy => {
                    let entry = world.chain.contracts.entry(FIRST).or_default();
                    let signed = world.claims[&FIRST].tokens;
                    let brought = (signed - entry.1) * FEE.0;
                    world.chain.received += brought;
                    world.chain.by_proxy += brought;
                    *entry = (Standing::Open, signed);
                }
            }
            world.check();
        }
        world.chain.fails_next = false;
        world.settle();
        world.check();
        // Nothing that is worth fetching is left, and every row has its end.
        for (contract, claim) in &world.claims {
            let paid = world.chain.contracts.get(contract).map_or(0, |entry| entry.1);
            let owed = (claim.tokens - paid) * FEE.0;
            prop_assert!(owed < 100_000_000, "{owed} of {contract} was forgotten");
        }
        world.outcomes();
        prop_assert_eq!(world.receipts() + world.chain.by_proxy, world.chain.received, "the rows know all that came in");
    }
}

#[test]
fn a_contract_pays_the_owner_it_names_whoever_is_the_owner_today() {
    const EARLIER: Address = address(9);
    let claims = vec![Claim { owner: Some(EARLIER), ..claim(FIRST, 200_000) }];
    let mut core = Payouts::new(terms(), Remembered { claims, ..Remembered::default() });
    let now = Now { mono: Duration::ZERO, unix_ms: 0 };
    let mut handle = |input| {
        let mut effects = Vec::new();
        core.handle(input, now, &mut effects);
        effects
    };
    let mut chain = Chain::new();
    handle(Input::Tick);
    handle(Input::Seen(Box::new(chain.sight())));
    let id = TransferId(0);
    let effects = handle(Input::Recorded { id });
    let Some(Effect::Emulate { owner, outgoing, .. }) = effects.first() else { panic!("{effects:?}") };
    assert_eq!((*owner, outgoing.everything), (Some(EARLIER), false));
    let worth = Nanoton(200_000 * FEE.0);
    let forecast = Forecast { failure: None, fees: GAS, income: worth, balance_after: Nanoton(chain.balance - GAS.0) };
    handle(Input::Emulated { id, forecast: Ok(forecast) });
    let message = SignedMessage { boc: vec![1], hash: [1; 32], seqno: 0, valid_until: chain.unix + 60 };
    handle(Input::MessageSigned { id, message: Ok(message) });
    handle(Input::Recorded { id });
    chain.seqno = Some(1);
    handle(Input::Seen(Box::new(chain.sight())));
    let receipt = |to| Receipt { from: PROXY, to, value: worth, is_payout: true, lt: 1, hash: [1; 32], unix: 1 };
    let trace =
        Trace { complete: true, failure: None, receipts: vec![receipt(EARLIER)], fees: Some(GAS), own_fees: Some(GAS) };
    let effects = handle(Input::Traced { id, trace: Ok(Sought::Found(Box::new(trace))) });
    let row = effects.iter().find_map(|effect| if let Effect::Record(row) = effect { Some(row) } else { None });
    let Some(Stage::Ended(Outcome::Done { receipts, .. })) = row.map(|row| &row.stage) else { panic!("{effects:?}") };
    assert_eq!(receipts.as_slice(), [receipt(EARLIER)]);
}
