//! Does what [`Payouts`] decides: one task that asks the chain, has the wallet sign, writes down and sends. It decides nothing itself.
//!
//! Walk-through: [`start`] opens the ledger and goes on with what it remembers; [`Cashier::payments_came`] has it read again. Questions to the chain and the wallet's signing run
//! beside the task and come back as inputs; rows are written on a thread that may wait for the disk.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use accounting::{Forecast, Outgoing, Receipt, SignedMessage, Transfer, TransferId};
use chain::follow::{self, Followed, follow};
use chain::{AccountState, AccountStatus, Chain, ChainError, MessageKind};
use ledger::{Cashable, Ledger, LedgerError};
use link::message::LogLevel;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use ton::cocoon::{Body, ContractState, ProxyData, WorkerData, exit_meaning};
use ton::{
    Address, Cell, InternalMessage, Nanoton, Network, SendMode, StateInit, Unsigned, WalletContract, WalletData,
    WalletVersion, boc,
};

use super::StartError;
use super::clock::Clock;
use crate::core::payouts::{
    Claim, ContractSight, Effect, Input, NotSent, Order, PayerSight, Payouts, Remembered, Shown, Sight, Sought,
    Standing, Terms, Trace,
};

/// Inputs that may wait; whoever makes more of them waits too.
const WAITING: usize = 64;

/// The wallet that pays: signs what it is given, or says in words for its owner why not.
pub trait Signer: Send + Sync {
    /// The signature over the hash of what [`WalletContract::body_to_sign`] makes of it.
    fn sign(&self, unsigned: &Unsigned) -> Result<[u8; 64], String>;
}

/// What a cashier works with.
pub struct Till {
    /// Where the money is.
    pub chain: Arc<dyn Chain>,
    /// Who signs.
    pub signer: Arc<dyn Signer>,
    /// The paying wallet; [`Terms::payer`] is its address.
    pub wallet: WalletContract,
    /// Where that wallet is at home. Nothing is done before the chain has said that it is of this network.
    pub network: Network,
    /// The network.
    pub root_contract: Address,
    /// What the owner wants.
    pub terms: Terms,
    /// The ledger's file: from it comes what proxies have signed, and into it what is done about it.
    pub ledger: PathBuf,
}

/// What comes from outside.
enum Wish {
    Input(Input),
    /// The owner sends money, and waits for an answer.
    Send(Outgoing, Duration, oneshot::Sender<Result<TransferId, NotSent>>),
}

/// A cashier at work.
pub struct Cashier {
    inputs: mpsc::Sender<Wish>,
    rows: std::sync::mpsc::Sender<Row>,
    shown: watch::Receiver<Shown>,
    running: JoinHandle<()>,
}

impl Cashier {
    /// Proxies have signed more: the ledger is read again.
    pub async fn payments_came(&self) {
        let (sender, read) = oneshot::channel();
        if self.rows.send(Row::Claims(sender)).is_ok()
            && let Ok(claims) = read.await
        {
            for claim in claims {
                self.tell(Input::Signed(Box::new(claim))).await;
            }
        }
    }

    /// Tells it something.
    pub async fn tell(&self, input: Input) {
        // Fails only when it has ended.
        let _ = self.inputs.send(Wish::Input(input)).await;
    }

    /// Sends money. `Ok`: it is written down under this number, and how it ends stands in its row. `Err`: it is not sent and will not be,
    /// also not later: what is not begun `within` so long is given up.
    pub async fn send(&self, outgoing: Outgoing, within: Duration) -> Result<TransferId, NotSent> {
        let (sender, answer) = oneshot::channel();
        self.inputs.send(Wish::Send(outgoing, within, sender)).await.map_err(|_| NotSent::Ended)?;
        answer.await.map_err(|_| NotSent::Ended)?
    }

    /// What there is to show, kept up to date.
    pub fn shown(&self) -> watch::Receiver<Shown> {
        self.shown.clone()
    }

    /// Ends. What is on its way is on the disk, and the next run goes on with it.
    pub async fn stop(self) {
        drop(self.inputs);
        let _ = self.running.await;
    }
}

/// Starts a cashier. Blocks for as long as it takes to open the ledger.
pub fn start(till: Till) -> Result<Cashier, StartError> {
    let clock = Clock::new();
    let path = till.ledger.clone();
    let failed = |source| StartError::Ledger { path: path.clone(), source };
    let ledger = Ledger::open(&till.ledger, clock.now().unix_ms).map_err(failed)?;
    let whose = Whose { root: till.root_contract, payer: till.terms.payer.unwrap_or(till.terms.owner) };
    let (open, elsewhere) = open_transfers(&ledger, whose).map_err(failed)?;
    let remembered = Remembered {
        claims: claims(&ledger, whose).map_err(failed)?,
        open,
        last: ledger.last_transfer().map_err(failed)?,
    };
    let core = Payouts::new(till.terms.clone(), remembered);
    let (publisher, shown) = watch::channel(core.shown());
    let (inputs, outside) = mpsc::channel(WAITING);
    let (rows, orders) = std::sync::mpsc::channel();
    std::thread::Builder::new()
        .name("transfers".to_owned())
        .spawn(move || keep(ledger, whose, &elsewhere, &orders))
        .map_err(|error| StartError::System(error.to_string()))?;
    let (answers, own) = mpsc::channel(WAITING);
    let (till, orders, at_home) = (Arc::new(till), BTreeMap::new(), Arc::default());
    let turning = Loop { core, clock, till, at_home, publisher, rows: rows.clone(), answers, orders, next_order: 0 };
    let running = tokio::spawn(turning.run(outside, own));
    Ok(Cashier { inputs, rows, shown, running })
}

/// What the thread that has the ledger is asked for. Whoever no longer waits for an answer has ended.
enum Row {
    Write(Box<Transfer>, oneshot::Sender<Result<(), String>>),
    Claims(oneshot::Sender<Vec<Claim>>),
}

/// Whose claims.
#[derive(Clone, Copy)]
struct Whose {
    root: Address,
    /// Gets back what is left of a fee.
    payer: Address,
}

/// Transfers that have not ended, and the networks of those that were begun for another one: a wallet's numbers are used one after the
/// other, whatever its money was sent for.
fn open_transfers(
    ledger: &Ledger,
    whose: Whose,
) -> Result<(Vec<Transfer>, BTreeMap<TransferId, Address>), LedgerError> {
    let mut open = ledger.open_transfers(&whose.root)?;
    let mut elsewhere = BTreeMap::new();
    for root in ledger.root_contracts()?.into_iter().filter(|root| *root != whose.root) {
        for transfer in ledger.open_transfers(&root)?.into_iter().filter(|transfer| transfer.payer == whose.payer) {
            elsewhere.insert(transfer.id, root);
            open.push(transfer);
        }
    }
    Ok((open, elsewhere))
}

fn keep(
    mut ledger: Ledger,
    whose: Whose,
    elsewhere: &BTreeMap<TransferId, Address>,
    orders: &std::sync::mpsc::Receiver<Row>,
) {
    while let Ok(order) = orders.recv() {
        match order {
            Row::Write(transfer, answer) => {
                let root = elsewhere.get(&transfer.id).unwrap_or(&whose.root);
                let written = ledger.record_transfer(root, &transfer);
                let _ = answer.send(written.map(drop).map_err(|error| error.to_string()));
            }
            Row::Claims(answer) => match claims(&ledger, whose) {
                Ok(claims) => drop(answer.send(claims)),
                Err(error) => tracing::warn!("what was signed can't be read, so it is not fetched yet: {error}"),
            },
        }
    }
}

/// What is signed. A payment that can't be cashed stays in the ledger, and the log says why.
fn claims(ledger: &Ledger, whose: Whose) -> Result<Vec<Claim>, LedgerError> {
    Ok(ledger.cashable(&whose.root)?.into_iter().filter_map(|best| claim(best, whose.payer)).collect())
}

/// The claim of a payment that is written down; what is left of the fee goes back to the payer. `None`: it can't be cashed, and the log
/// says why.
pub fn claim(best: Cashable, payer: Address) -> Option<Claim> {
    let Cashable { worker_contract, proxy_contract, fee_per_token, payment, state_init, .. } = best;
    Claim::of_payment(&payment, proxy_contract, fee_per_token, payer, state_init)
        .map_err(|error| tracing::error!("what is signed for {worker_contract} can't be cashed: {error}"))
        .ok()
}

struct Loop {
    core: Payouts,
    clock: Clock,
    till: Arc<Till>,
    /// The chain has said that it is of the wallet's network.
    at_home: Arc<AtomicBool>,
    publisher: watch::Sender<Shown>,
    rows: std::sync::mpsc::Sender<Row>,
    answers: mpsc::Sender<Input>,
    /// Who waits for an answer to an order. All of them hear that it has ended when it does.
    orders: BTreeMap<u64, oneshot::Sender<Result<TransferId, NotSent>>>,
    next_order: u64,
}

impl Loop {
    async fn run(mut self, mut outside: mpsc::Receiver<Wish>, mut own: mpsc::Receiver<Input>) {
        self.take(Input::Tick);
        loop {
            let deadline = self.core.next_deadline();
            let input = tokio::select! {
                biased;
                wish = outside.recv() => match wish {
                    Some(Wish::Input(input)) => input,
                    Some(Wish::Send(outgoing, within, answer)) => self.order(outgoing, within, answer),
                    None => return,
                },
                Some(answer) = own.recv() => answer,
                () = self.clock.sleep_until(deadline) => Input::Tick,
            };
            self.take(input);
        }
    }

    fn take(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.core.handle(input, self.clock.now(), &mut effects);
        for effect in effects {
            self.execute(effect);
        }
    }

    fn order(
        &mut self,
        outgoing: Outgoing,
        within: Duration,
        answer: oneshot::Sender<Result<TransferId, NotSent>>,
    ) -> Input {
        let number = self.next_order;
        self.next_order = number.wrapping_add(1);
        self.orders.insert(number, answer);
        Input::Send(Box::new(Order { number, outgoing, within }))
    }

    /// Whoever no longer waits finds the transfer in the ledger.
    fn answer_order(&mut self, number: u64, answer: Result<TransferId, NotSent>) {
        if let Some(waiting) = self.orders.remove(&number) {
            let _ = waiting.send(answer);
        }
    }

    fn execute(&mut self, effect: Effect) {
        let (till, answers) = (Arc::clone(&self.till), self.answers.clone());
        match effect {
            Effect::Look { payer, contracts, proxies } => {
                let at_home = Arc::clone(&self.at_home);
                answer(answers, async move {
                    let seen = async {
                        if !at_home.load(Ordering::Relaxed) {
                            till.chain.expect_network(till.network).await?;
                            at_home.store(true, Ordering::Relaxed);
                        }
                        look(&*till.chain, payer, contracts, proxies).await
                    };
                    match seen.await {
                        Ok(sight) => Input::Seen(Box::new(sight)),
                        Err(error) => Input::NotSeen { why: error.to_string() },
                    }
                });
            }
            Effect::Record(transfer) => {
                let id = transfer.id;
                let (sender, written) = oneshot::channel();
                let sent = self.rows.send(Row::Write(transfer, sender)).is_ok();
                answer(answers, async move {
                    let gone = || Err("the thread that writes it has ended; start again".to_owned());
                    let written = if sent { written.await.unwrap_or_else(|_| gone()) } else { gone() };
                    match written {
                        Ok(()) => Input::Recorded { id },
                        Err(why) => Input::NotRecorded { id, why },
                    }
                });
            }
            Effect::Emulate { id, owner, outgoing, seqno, valid_until, .. } => answer(answers, async move {
                let forecast =
                    forecast(&*till.chain, &till.wallet, owner.as_ref(), &outgoing, seqno, valid_until).await;
                Input::Emulated { id, forecast }
            }),
            Effect::Sign { id, outgoing, seqno, valid_until } => answer(answers, async move {
                // Deriving a key takes its time; the wallet may also have to ask its keychain.
                let signing = tokio::task::spawn_blocking(move || sign(&till, &outgoing, seqno, valid_until));
                let message = signing.await.unwrap_or_else(|_| Err("the wallet does not answer".to_owned()));
                Input::MessageSigned { id, message }
            }),
            Effect::Send { id, boc } => answer(answers, async move {
                let refused = match boc::decode(&boc) {
                    Ok(message) => till.chain.send(&message).await.err().map(|error| error.to_string()),
                    Err(error) => Some(error.to_string()),
                };
                Input::Sent { id, refused }
            }),
            Effect::Trace { id, payer, since, hash } => answer(answers, async move {
                let trace = match follow(&*till.chain, payer, hash, since).await {
                    Ok(follow::Sought::Found(found)) => Ok(Sought::Found(Box::new(trace(&found, payer)))),
                    Ok(follow::Sought::Absent) => Ok(Sought::Absent),
                    Ok(follow::Sought::GivenUp) => Ok(Sought::GivenUp),
                    Err(error) => Err(error.to_string()),
                };
                Input::Traced { id, trace }
            }),
            Effect::Begun { number, id } => self.answer_order(number, Ok(id)),
            Effect::Refused { number, why } => {
                tracing::warn!("not sent: {why}");
                self.answer_order(number, Err(why));
            }
            Effect::Log { level, message } => match level {
                LogLevel::Error => tracing::error!("{message}"),
                LogLevel::Warn => tracing::warn!("{message}"),
                LogLevel::Info => tracing::info!("{message}"),
                LogLevel::Debug => tracing::debug!("{message}"),
            },
            Effect::Publish => {
                self.publisher.send_replace(self.core.shown());
            }
        }
    }
}

fn answer(answers: mpsc::Sender<Input>, work: impl Future<Output = Input> + Send + 'static) {
    tokio::spawn(async move {
        // Fails only when the cashier has ended.
        let _ = answers.send(work.await).await;
    });
}

/// How things stand on the chain: contracts of workers, contracts of their proxies, and the paying wallet. The wallet is asked last: its
/// time is the one that a message's own time is counted from, and there may be many contracts.
pub async fn look(
    chain: &dyn Chain,
    payer: Address,
    contracts: Vec<Address>,
    proxies: Vec<Address>,
) -> Result<Sight, ChainError> {
    let (mut unix, mut seen, mut standings) = (u32::MAX, BTreeMap::new(), BTreeMap::new());
    for contract in contracts {
        let account = chain.agreed_account(contract).await?;
        unix = unix.min(account.seen_at);
        seen.insert(contract, contract_sight(&account));
    }
    for proxy in proxies {
        let account = chain.agreed_account(proxy).await?;
        unix = unix.min(account.seen_at);
        // A contract of another layout says nothing of its end; what it has signed is worth what it is.
        if let Some(data) = account.data.as_ref().and_then(|data| ProxyData::from_cell(data).ok()) {
            standings.insert(proxy, standing(data.state));
        }
    }
    let account = chain.agreed_account(payer).await?;
    let seqno = match (account.status, &account.code, &account.data) {
        (AccountStatus::Active, Some(code), Some(data)) => {
            let version = WalletVersion::with_code(&code.hash())
                .ok_or_else(|| ChainError::Nonsense(format!("{payer} has the code of no wallet that is known")))?;
            Some(WalletData::read(version, data).map_err(|error| ChainError::Nonsense(error.to_string()))?.seqno)
        }
        _ => None,
    };
    let payer = PayerSight { balance: account.balance, seqno, unix: account.seen_at };
    Ok(Sight { unix: unix.min(account.seen_at), payer, contracts: seen, proxies: standings })
}

/// What a worker contract says of itself. One that can't be read stands in no other's way.
pub fn contract_sight(account: &AccountState) -> ContractSight {
    if account.status == AccountStatus::Uninitialised {
        return ContractSight::default();
    }
    // What is frozen is known by a hash alone.
    let Some(data) = account.data.as_ref().and_then(|data| WorkerData::from_cell(data).ok()) else {
        return ContractSight { standing: Standing::Unreadable, ..ContractSight::default() };
    };
    ContractSight { standing: standing(data.state), tokens: data.tokens, owner: Some(data.owner) }
}

const fn standing(state: ContractState) -> Standing {
    match state {
        ContractState::Normal => Standing::Open,
        ContractState::Closing => Standing::Closing,
        ContractState::Closed => Standing::Closed,
    }
}

/// The transfer as the wallet's contract wants it.
fn unsigned(outgoing: &Outgoing, seqno: u32, valid_until: u32) -> Result<Unsigned, String> {
    let bag =
        |bytes: &Option<Vec<u8>>| bytes.as_deref().map(boc::decode).transpose().map_err(|error| error.to_string());
    let body = bag(&outgoing.body)?.unwrap_or_else(Cell::empty);
    let mut message = InternalMessage::new(outgoing.to, outgoing.bounce, outgoing.value, body);
    if let Some(init) = bag(&outgoing.state_init)? {
        message = message.with_init(StateInit::from_cell(&init).map_err(|error| error.to_string())?);
    }
    let mode = if outgoing.everything { SendMode::SEND_ALL } else { SendMode::TRANSFER };
    let messages = vec![ton::Outgoing { mode, message }];
    Ok(Unsigned::Transfer(ton::Transfer { seqno, valid_until, messages }))
}

/// The whole message from outside, with this signature.
fn external(
    wallet: &WalletContract,
    unsigned: &Unsigned,
    signature: &[u8; 64],
    seqno: u32,
) -> Result<(Cell, [u8; 32]), String> {
    let to_sign = wallet.body_to_sign(unsigned).map_err(|error| error.to_string())?;
    let body = wallet.signed_body(&to_sign, signature).map_err(|error| error.to_string())?;
    let message = wallet.external(body, seqno == 0);
    let hash = message.normalized_hash().map_err(|error| error.to_string())?;
    Ok((message.to_cell().map_err(|error| error.to_string())?, hash))
}

/// What a wallet's transfer would do, tried on a copy of the chain under its present configuration; nothing is signed or sent. Income is
/// what contracts would pay to this owner; `None`: it is no payout, brings nothing, and costs what the wallet itself pays. `Err`: it can't
/// be tried, in words for the owner.
pub async fn forecast(
    chain: &dyn Chain,
    wallet: &WalletContract,
    owner: Option<&Address>,
    outgoing: &Outgoing,
    seqno: u32,
    valid_until: u32,
) -> Result<Forecast, String> {
    let unsigned = unsigned(outgoing, seqno, valid_until)?;
    let (message, _) = external(wallet, &unsigned, &[0; 64], seqno)?;
    let tried = chain.emulate_unsigned(&message).await.map_err(|error| error.to_string())?;
    let payer = wallet.address();
    let failure = if let Some(unseen) = tried.unresolved.first() {
        Some(format!("it is not known what {} would do", unseen.destination))
    } else {
        let failed = tried.hops.iter().find(|hop| !hop.transaction.succeeded());
        failed.map(|hop| failure_of(&hop.transaction))
    };
    let income: u64 = tried
        .hops
        .iter()
        .filter_map(|hop| receipt(&hop.transaction))
        .filter(|receipt| receipt.is_payout && owner == Some(&receipt.to))
        .map(|receipt| receipt.value.0)
        .fold(0, u64::saturating_add);
    let fees = match owner {
        Some(_) => tried.all_fees(),
        None => own_fees(tried.hops.iter().map(|hop| &hop.transaction), payer),
    };
    let fees = fees.ok_or("its fees are no amount")?;
    let balance_after = tried.balance_after(&payer).ok_or("the wallet would take no part in it")?;
    Ok(Forecast { failure, fees, income: Nanoton(income), balance_after })
}

fn sign(till: &Till, outgoing: &Outgoing, seqno: u32, valid_until: u32) -> Result<SignedMessage, String> {
    let unsigned = unsigned(outgoing, seqno, valid_until)?;
    let signature = till.signer.sign(&unsigned)?;
    let (message, hash) = external(&till.wallet, &unsigned, &signature, seqno)?;
    let boc = boc::encode(&message).map_err(|error| error.to_string())?;
    Ok(SignedMessage { boc, hash, seqno, valid_until })
}

fn trace(followed: &Followed, payer: Address) -> Trace {
    // The rent of others' contracts falls due with their transactions and is paid out of what they have, not out of what was sent. Of
    // the owner's own they are the wallet and the contract it speaks to, which is the second transaction.
    let others = followed.transactions.iter().skip(2).filter(|transaction| transaction.account != payer);
    let rent = others.map(|transaction| transaction.storage_fees.0).fold(0, u64::saturating_add);
    Trace {
        complete: followed.is_complete(),
        failure: followed.failure().map(failure_of),
        receipts: followed.transactions.iter().filter_map(receipt).collect(),
        fees: followed.all_fees().and_then(|fees| fees.checked_sub(Nanoton(rent))),
        own_fees: own_fees(followed.transactions.iter(), payer),
    }
}

/// What the wallet's own transactions cost. What a recipient's account pays for its rent and its code comes out of what it has.
fn own_fees<'a>(transactions: impl Iterator<Item = &'a chain::Transaction>, payer: Address) -> Option<Nanoton> {
    let mut own = transactions.filter(|transaction| transaction.account == payer);
    own.try_fold(Nanoton(0), |sum, transaction| sum.checked_add(transaction.all_fees()?))
}

fn failure_of(transaction: &chain::Transaction) -> String {
    let account = &transaction.account;
    match transaction.exit_code() {
        Some(code) => match exit_meaning(code) {
            Some(meaning) => format!("the contract refused: {meaning} ({account}, exit code {code})"),
            None => format!("the contract refused ({account}, exit code {code})"),
        },
        None => format!("the contract did not do it ({account})"),
    }
}

/// Money that a transaction brought to its account.
fn receipt(transaction: &chain::Transaction) -> Option<Receipt> {
    let message = transaction.in_message.as_ref()?;
    let MessageKind::Internal { source, value, bounced, .. } = message.kind else { return None };
    let is_payout = !bounced && matches!(Body::from_cell(&message.body), Ok(Body::Payout { .. }));
    Some(Receipt {
        from: source,
        to: transaction.account,
        value,
        is_payout,
        lt: transaction.id.lt,
        hash: transaction.id.hash,
        unix: transaction.now,
    })
}
