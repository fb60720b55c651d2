//! Whether a payout is what the ledger says: everything is recomputed from what the chain has, nothing is taken from the ledger but what
//! is to be proved.
//!
//! What the chain is taken at its word for: that a transaction with this hash is its own, and that an account is as it shows it. All else
//! follows by hashes and signatures: where a contract lives says what it began with, and so whose it is, what it pays and whose key
//! signs for it. Endpoints give no proof of blocks; whoever does not trust one asks another.
//!
//! Walk-through: [`prove`] does it all: [`fetch`] asks a chain for the [`Facts`] about a [`Claimed`] payout, [`verify`] judges them and is pure.

use accounting::Receipt;
use accounting::signed_payment::is_signed_by;
use chain::{AccountState, AccountStatus, Chain, ChainError, Message, MessageKind, Transaction, TransactionId};
use ton::cocoon::{Body, ProxyData, SignedBody, SignedOperation, WorkerData};
use ton::{Address, Nanoton, RootConfig, boc};

/// Transactions of a page.
const PAGE: u32 = 100;
/// Most pages of an account's history that are searched.
const MOST_PAGES: u32 = 20;

/// What the ledger says of the running total that was cashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cashed {
    /// At which contract.
    pub worker_contract: Address,
    /// Total that had been paid before.
    pub from_tokens: u64,
    /// Total after it.
    pub to_tokens: u64,
}

/// What the ledger says of a payout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// What came in.
    pub receipt: Receipt,
    /// In which network.
    pub root_contract: Address,
    /// What was cashed by it; `None`: the ledger does not know, as after it was lost.
    pub cashed: Option<Cashed>,
    /// How many tokens this machine's own jobs for that proxy were charged with until it signed; `None`: the ledger does not know.
    pub counted: Option<u64>,
    /// Key that the proxy was known by.
    pub proxy_key: Option<[u8; 32]>,
    /// The signed payment, a bag of cells.
    pub payment: Option<Vec<u8>>,
}

/// A payout as the worker contract has it in its history: what was presented, and what it asked the proxy's contract to pay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Number by which it is followed.
    pub query_id: u64,
    /// What was presented.
    pub signed: SignedBody,
    /// Running total that is signed.
    pub to_tokens: u64,
    /// What the owner was to get.
    pub worker_part: Nanoton,
    /// Logical time of the transaction.
    pub lt: u64,
}

impl Order {
    /// What a worker contract's transaction says of a payout; `None`: it is none, or it failed.
    pub fn of(transaction: &Transaction) -> Option<Self> {
        let body = &transaction.in_message.as_ref()?.body;
        let Ok(Body::Signed(signed)) = Body::from_cell(body) else { return None };
        let (SignedOperation::WorkerPayout(to_tokens) | SignedOperation::WorkerLastPayout(to_tokens)) =
            signed.payload.operation
        else {
            return None;
        };
        let asked = transaction.out_messages.iter().find_map(|message| match Body::from_cell(&message.body) {
            Ok(Body::WorkerProxyRequest { query_id, tokens, payload: Some(payload), .. }) => {
                (query_id == signed.payload.query_id && tokens == to_tokens).then_some(payload)
            }
            _ => None,
        })?;
        transaction.succeeded().then_some(Self {
            query_id: signed.payload.query_id,
            signed,
            to_tokens,
            worker_part: asked.worker_part,
            lt: transaction.id.lt,
        })
    }
}

/// What the chain says; an `Err` says why it could not be asked.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The transaction on the owner's account; `None`: there is none of this name.
    pub transaction: Result<Option<Transaction>, String>,
    /// The account of whoever paid.
    pub proxy: Result<AccountState, String>,
    /// The worker contract's account.
    pub worker: Result<AccountState, String>,
    /// What the worker contract was presented for this payout; `None`: its history has no such thing.
    pub order: Result<Option<Order>, String>,
}

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// The owner's account has a transaction of this hash and time.
    Transaction,
    /// What it received is a payout of this contract.
    Message,
    /// The amount is the difference of the running totals times the fee, to the nanoton.
    Amount,
    /// Who paid is a proxy's contract of this network: its address follows from its code, owner, key, root contract and terms.
    Proxy,
    /// Its code and terms are those of the network.
    Terms,
    /// The worker contract's address follows from the proxy, its key, the owner and the terms.
    Worker,
    /// The proxy's key has signed the running total for that contract.
    Signature,
    /// The worker contract's own total covers it.
    Total,
    /// This machine counted as many tokens itself.
    Counted,
}

impl Check {
    /// All of them, in order.
    pub const ALL: [Self; 9] = [
        Self::Transaction,
        Self::Message,
        Self::Amount,
        Self::Proxy,
        Self::Terms,
        Self::Worker,
        Self::Signature,
        Self::Total,
        Self::Counted,
    ];
}

/// What came out of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It is so.
    Passed,
    /// It is not so.
    Failed,
    /// Not to be told.
    Unknown,
}

/// One check, with its numbers: amounts in nanotons, totals in tokens, addresses raw, hashes in hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub check: Check,
    /// What came out.
    pub proof: Proof,
    /// What should be.
    pub expected: Option<String>,
    /// What is.
    pub found: Option<String>,
    /// Why it can't be told, or what is wrong, in words of the log.
    pub why: Option<String>,
}

/// What came out of all checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// One finding for each of [`Check::ALL`].
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// Whether every check passed.
    pub fn is_proved(&self) -> bool {
        self.findings.iter().all(|finding| finding.proof == Proof::Passed)
    }

    /// Whether every check passed but the one that needs this machine's own jobs, which a new ledger does not have.
    pub fn is_proved_by_the_chain(&self) -> bool {
        self.findings.iter().all(|finding| finding.proof == Proof::Passed || finding.check == Check::Counted)
    }

    /// Whether a check failed.
    pub fn is_refuted(&self) -> bool {
        self.findings.iter().any(|finding| finding.proof == Proof::Failed)
    }

    /// What came out of one check.
    pub fn of(&self, check: Check) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.check == check)
    }
}

/// What a proxy's contract holds, if the account is one of this network: its address is that of what it began with.
pub fn proxy_of(account: &AccountState, root_contract: &Address) -> Result<ProxyData, String> {
    let (AccountStatus::Active, Some(code), Some(data)) = (account.status, &account.code, &account.data) else {
        return Err("there is no contract at this address".to_owned());
    };
    let data = ProxyData::from_cell(data).map_err(|error| format!("it holds no proxy's data: {error}"))?;
    if data.root != *root_contract {
        return Err(format!("it belongs to the network of {}", data.root));
    }
    let begun = ProxyData::initial(data.owner, data.proxy_key, data.root, &data.params);
    let init = begun.state_init(code.clone()).and_then(|init| init.address());
    match init {
        Ok(address) if address == account.address => Ok(data),
        Ok(address) => Err(format!("what it holds belongs to {address}")),
        Err(error) => Err(error.to_string()),
    }
}

/// Where an owner's worker contract lives at a proxy.
pub fn worker_of(proxy_contract: Address, proxy: &ProxyData, owner: Address) -> Result<Address, String> {
    let code = proxy.params.worker_code.clone().ok_or("the proxy's terms name no code of a worker")?;
    let begun = WorkerData::initial(owner, proxy_contract, proxy.proxy_key, &proxy.params);
    begun.state_init(code).and_then(|init| init.address()).map_err(|error| error.to_string())
}

/// Whether code and terms of a proxy's contract are those of the network; `None`: it is of other terms than today's, which can't be
/// compared.
pub fn is_on_terms(account: &AccountState, proxy: &ProxyData, terms: &RootConfig) -> Option<bool> {
    let now = terms.params().for_proxy();
    if proxy.params.params_version != now.params_version {
        return None;
    }
    let cells = (proxy.params.to_cell().ok()?.hash(), now.to_cell().ok()?.hash());
    let code = account.code.as_ref().map(ton::Cell::hash);
    Some(cells.0 == cells.1 && code == Some(terms.proxy_sc_code.cell().hash()))
}

/// The payout that a transaction received: who paid how much, under which number. `None`: it is no payout.
pub fn payout_of(transaction: &Transaction) -> Option<(Address, Nanoton, u64)> {
    let message = transaction.in_message.as_ref()?;
    let MessageKind::Internal { source, value, bounced: false, .. } = message.kind else { return None };
    match Body::from_cell(&message.body) {
        Ok(Body::Payout { query_id }) if !transaction.bounced_back => Some((source, value, query_id)),
        _ => None,
    }
}

/// Judges a payout. `terms` are the network's as they are known; without them it can't be told whether the proxy keeps to them.
pub fn verify(claimed: &Claimed, terms: Option<&RootConfig>, facts: &Facts) -> Verdict {
    let receipt = &claimed.receipt;
    let proxy = match &facts.proxy {
        Ok(account) if account.address == receipt.from => {
            Known::of(proxy_of(account, &claimed.root_contract).map(|data| (account, data)))
        }
        Ok(account) => Known::Not(format!("the account of {} was shown instead of {}", account.address, receipt.from)),
        Err(why) => Known::Unknown(why.clone()),
    };
    let worker = match &proxy {
        Known::So((_, data)) => Known::of(worker_of(receipt.from, data, receipt.to)),
        Known::Not(why) | Known::Unknown(why) => Known::Unknown(why.clone()),
    };
    let findings = vec![
        transaction(receipt, facts),
        message(receipt, facts),
        amount(claimed, &proxy, facts),
        proxys(claimed, &proxy),
        on_terms(terms, &proxy),
        workers(claimed, &worker, facts),
        signature(claimed, &proxy, &worker, facts),
        total(claimed, &proxy, &worker, facts),
        counted(claimed),
    ];
    Verdict { findings }
}

/// Something that was recomputed.
enum Known<T> {
    So(T),
    Not(String),
    Unknown(String),
}

impl<T> Known<T> {
    fn of(result: Result<T, String>) -> Self {
        match result {
            Ok(value) => Self::So(value),
            Err(why) => Self::Not(why),
        }
    }
}

fn finding(
    check: Check,
    proof: Proof,
    expected: Option<String>,
    found: Option<String>,
    why: Option<String>,
) -> Finding {
    Finding { check, proof, expected, found, why }
}

fn compared(check: Check, expected: String, found: String) -> Finding {
    let proof = if expected == found { Proof::Passed } else { Proof::Failed };
    finding(check, proof, Some(expected), Some(found), None)
}

fn unknown(check: Check, expected: Option<String>, why: &str) -> Finding {
    finding(check, Proof::Unknown, expected, None, Some(why.to_owned()))
}

fn failed(check: Check, expected: Option<String>, found: Option<String>, why: &str) -> Finding {
    finding(check, Proof::Failed, expected, found, Some(why.to_owned()))
}

fn name(lt: u64, hash: &[u8; 32], unix: u32) -> String {
    format!("{} at logical time {lt}, {unix}", hex::encode(hash))
}

fn transaction(receipt: &Receipt, facts: &Facts) -> Finding {
    let check = Check::Transaction;
    let expected = name(receipt.lt, &receipt.hash, receipt.unix);
    match &facts.transaction {
        Err(why) => unknown(check, Some(expected), why),
        Ok(None) => failed(check, Some(expected), None, "the owner's account has no such transaction"),
        Ok(Some(seen)) if seen.account != receipt.to => {
            let (wanted, account) = (receipt.to.to_string(), seen.account.to_string());
            failed(check, Some(wanted), Some(account), "it is another account's transaction")
        }
        Ok(Some(seen)) => compared(check, expected, name(seen.id.lt, &seen.id.hash, seen.now)),
    }
}

fn message(receipt: &Receipt, facts: &Facts) -> Finding {
    let check = Check::Message;
    let expected = format!("payout of {}", receipt.from);
    match &facts.transaction {
        Err(why) => unknown(check, Some(expected), why),
        Ok(None) => unknown(check, Some(expected), "there is no transaction"),
        Ok(Some(seen)) => match payout_of(seen) {
            Some((source, ..)) => {
                let to = seen.in_message.as_ref().and_then(Message::destination);
                if to == Some(receipt.to) {
                    compared(check, expected, format!("payout of {source}"))
                } else {
                    failed(check, Some(expected), None, "the message was for another account")
                }
            }
            None => failed(check, Some(expected), None, "what came in is no payout"),
        },
    }
}

/// The running total before and after, by the ledger; or by what the worker contract was presented.
fn range(claimed: &Claimed, fee: Nanoton, facts: &Facts) -> Option<(u64, u64)> {
    if let Some(cashed) = &claimed.cashed {
        return Some((cashed.from_tokens, cashed.to_tokens));
    }
    let Ok(Some(order)) = &facts.order else { return None };
    let tokens = order.worker_part.0.checked_div(fee.0)?;
    Some((order.to_tokens.checked_sub(tokens)?, order.to_tokens))
}

fn amount(claimed: &Claimed, proxy: &Known<(&AccountState, ProxyData)>, facts: &Facts) -> Finding {
    let check = Check::Amount;
    let written = claimed.receipt.value;
    let Ok(Some(seen)) = &facts.transaction else {
        return unknown(check, Some(written.0.to_string()), "the transaction was not seen");
    };
    let Some((_, value, query_id)) = payout_of(seen) else {
        return unknown(check, Some(written.0.to_string()), "what came in is no payout");
    };
    if value != written {
        return failed(check, Some(written.0.to_string()), Some(value.0.to_string()), "another amount came in");
    }
    let Known::So((_, data)) = proxy else {
        return unknown(check, Some(written.0.to_string()), "the fee is not known, because the proxy is not");
    };
    let fee = data.params.worker_fee_per_token;
    let Some((from, to)) = range(claimed, fee, facts) else {
        return unknown(check, Some(written.0.to_string()), "the running totals are not known");
    };
    let words = format!("totals {from} to {to}, {} nanotons a token", fee.0);
    let Some(worth) = to.checked_sub(from).and_then(|tokens| fee.checked_mul(tokens)) else {
        return failed(check, None, Some(value.0.to_string()), &format!("{words}: no amount at all"));
    };
    if let Ok(Some(order)) = &facts.order {
        if order.query_id != query_id {
            return failed(
                check,
                Some(query_id.to_string()),
                Some(order.query_id.to_string()),
                "another payout's order",
            );
        }
        if (order.worker_part, order.to_tokens) != (worth, to) {
            let ordered = format!("{} up to total {}", order.worker_part.0, order.to_tokens);
            return failed(check, Some(worth.0.to_string()), Some(ordered), &words);
        }
    }
    let mut compared = compared(check, worth.0.to_string(), value.0.to_string());
    compared.why = Some(words);
    compared
}

fn proxys(claimed: &Claimed, proxy: &Known<(&AccountState, ProxyData)>) -> Finding {
    let check = Check::Proxy;
    let expected = Some(claimed.receipt.from.to_string());
    match proxy {
        Known::Unknown(why) => unknown(check, expected, why),
        Known::Not(why) => failed(check, expected, None, why),
        Known::So((account, data)) => match claimed.proxy_key {
            Some(key) if key != data.proxy_key => failed(
                check,
                Some(hex::encode(key)),
                Some(hex::encode(data.proxy_key)),
                "it has another key than the proxy had that was served",
            ),
            _ => finding(check, Proof::Passed, expected, Some(account.address.to_string()), None),
        },
    }
}

fn on_terms(terms: Option<&RootConfig>, proxy: &Known<(&AccountState, ProxyData)>) -> Finding {
    let check = Check::Terms;
    let Some(terms) = terms else { return unknown(check, None, "the network's terms are not known here") };
    let expected = Some(format!("version {}", terms.params_version));
    match proxy {
        Known::Unknown(why) | Known::Not(why) => unknown(check, expected, why),
        Known::So((account, data)) => {
            let found = Some(format!("version {}", data.params.params_version));
            match is_on_terms(account, data, terms) {
                Some(true) => finding(check, Proof::Passed, expected, found, None),
                Some(false) => failed(check, expected, found, "its code or its terms are not the network's"),
                None => finding(
                    check,
                    Proof::Unknown,
                    expected,
                    found,
                    Some("the network has other terms by now, which can't be compared".to_owned()),
                ),
            }
        }
    }
}

fn workers(claimed: &Claimed, worker: &Known<Address>, facts: &Facts) -> Finding {
    let check = Check::Worker;
    let written = claimed.cashed.map(|cashed| cashed.worker_contract);
    let address = match worker {
        Known::Unknown(why) => return unknown(check, written.map(|address| address.to_string()), why),
        Known::Not(why) => return failed(check, written.map(|address| address.to_string()), None, why),
        Known::So(address) => *address,
    };
    if let Some(written) = written.filter(|written| *written != address) {
        return compared(check, address.to_string(), written.to_string());
    }
    match &facts.worker {
        Err(why) => unknown(check, Some(address.to_string()), why),
        Ok(account) if account.status != AccountStatus::Active => {
            failed(check, Some(address.to_string()), None, "there is no contract at this address")
        }
        Ok(account) => compared(check, address.to_string(), account.address.to_string()),
    }
}

fn signature(
    claimed: &Claimed,
    proxy: &Known<(&AccountState, ProxyData)>,
    worker: &Known<Address>,
    facts: &Facts,
) -> Finding {
    let check = Check::Signature;
    let (Known::So((_, data)), Known::So(target)) = (proxy, worker) else {
        return unknown(check, None, "the proxy's key or the worker contract is not known");
    };
    let wanted = range(claimed, data.params.worker_fee_per_token, facts).map(|(_, to)| to);
    let kept = match &claimed.payment {
        Some(bytes) => {
            let read = boc::decode(bytes).map_err(|error| error.to_string());
            let read = read.and_then(|cell| SignedBody::from_cell(&cell).map_err(|error| error.to_string()));
            match read {
                Ok(signed) => Some(signed),
                Err(why) => return failed(check, wanted.map(|total| total.to_string()), None, &why),
            }
        }
        None => None,
    };
    // What is kept here was checked when it came; what the worker contract was presented says the same, and is all there is if the
    // ledger was lost.
    let presented = facts.order.as_ref().ok().and_then(|order| order.as_ref()).map(|order| order.signed);
    let Some(signed) = kept.or(presented) else {
        return match &facts.order {
            Err(why) => unknown(check, wanted.map(|total| total.to_string()), why),
            Ok(_) => unknown(check, wanted.map(|total| total.to_string()), "neither the ledger nor the chain has it"),
        };
    };
    let (SignedOperation::WorkerPayout(tokens) | SignedOperation::WorkerLastPayout(tokens)) = signed.payload.operation
    else {
        return failed(check, wanted.map(|total| total.to_string()), None, "it is no payment to a worker");
    };
    if signed.payload.target != *target {
        let (target, signed) = (target.to_string(), signed.payload.target.to_string());
        return failed(check, Some(target), Some(signed), "it is signed for another contract");
    }
    let hash = match signed.payload.to_cell() {
        Ok(cell) => cell.hash(),
        Err(error) => return failed(check, wanted.map(|total| total.to_string()), None, &error.to_string()),
    };
    if !is_signed_by(&hash, &signed.signature, &data.proxy_key) {
        let key = hex::encode(data.proxy_key);
        return failed(check, Some(key), None, "the proxy's key has not signed it");
    }
    match wanted {
        Some(wanted) => compared(check, wanted.to_string(), tokens.to_string()),
        None => finding(
            check,
            Proof::Unknown,
            None,
            Some(tokens.to_string()),
            Some("the running totals are not known".into()),
        ),
    }
}

fn total(
    claimed: &Claimed,
    proxy: &Known<(&AccountState, ProxyData)>,
    worker: &Known<Address>,
    facts: &Facts,
) -> Finding {
    let check = Check::Total;
    let (Known::So((_, data)), Known::So(address)) = (proxy, worker) else {
        return unknown(check, None, "the worker contract is not known");
    };
    let Some((_, wanted)) = range(claimed, data.params.worker_fee_per_token, facts) else {
        return unknown(check, None, "the running totals are not known");
    };
    let expected = Some(wanted.to_string());
    let account = match &facts.worker {
        Err(why) => return unknown(check, expected, why),
        Ok(account) => account,
    };
    if account.address != *address {
        return unknown(check, expected, "another account was shown");
    }
    let held = account.data.as_ref().map(WorkerData::from_cell);
    match held {
        Some(Ok(held)) => {
            let is_ours =
                (held.owner, held.proxy, held.proxy_key) == (claimed.receipt.to, claimed.receipt.from, data.proxy_key);
            let found = Some(held.tokens.to_string());
            if !is_ours {
                failed(check, expected, found, "the contract belongs to somebody else")
            } else if held.tokens >= wanted {
                finding(check, Proof::Passed, expected, found, None)
            } else {
                failed(check, expected, found, "the contract has paid less than that")
            }
        }
        Some(Err(error)) => failed(check, expected, None, &error.to_string()),
        None => failed(check, expected, None, "there is no contract at this address"),
    }
}

/// A proxy signs what it counted; whoever computed the answers counted too. A ledger that was lost can't tell.
fn counted(claimed: &Claimed) -> Finding {
    let check = Check::Counted;
    let Some(cashed) = &claimed.cashed else { return unknown(check, None, "the running totals are not known") };
    let expected = Some(cashed.to_tokens.to_string());
    match claimed.counted {
        None => unknown(check, expected, "the ledger does not have the signature"),
        Some(tokens) => {
            let found = Some(tokens.to_string());
            if tokens >= cashed.to_tokens {
                finding(check, Proof::Passed, expected, found, None)
            } else {
                finding(
                    check,
                    Proof::Unknown,
                    expected,
                    found,
                    Some("the ledger does not have all of the jobs".to_owned()),
                )
            }
        }
    }
}

/// Asks a chain about a payout and judges it.
pub async fn prove(chain: &dyn Chain, claimed: &Claimed, terms: Option<&RootConfig>) -> Verdict {
    verify(claimed, terms, &fetch(chain, claimed).await)
}

/// Asks a chain for everything that [`verify`] judges.
pub async fn fetch(chain: &dyn Chain, claimed: &Claimed) -> Facts {
    let receipt = &claimed.receipt;
    let transaction = named(chain, receipt).await.map_err(|error| error.to_string());
    let proxy = chain.account(receipt.from).await.map_err(|error| error.to_string());
    // Where the proxy says it is, whatever the ledger says: that is what is to be proved.
    let recomputed = proxy
        .as_ref()
        .ok()
        .and_then(|account| proxy_of(account, &claimed.root_contract).ok())
        .and_then(|data| worker_of(receipt.from, &data, receipt.to).ok());
    let address = recomputed.or(claimed.cashed.map(|cashed| cashed.worker_contract));
    let gone = || "the worker contract is not known".to_owned();
    let worker = match address {
        Some(address) => chain.account(address).await.map_err(|error| error.to_string()),
        None => Err(gone()),
    };
    let query_id =
        transaction.as_ref().ok().and_then(|seen| payout_of(seen.as_ref()?)).map(|(_, _, query_id)| query_id);
    let order = match (address, query_id) {
        (Some(address), Some(query_id)) => order(chain, address, query_id).await.map_err(|error| error.to_string()),
        (None, _) => Err(gone()),
        (_, None) => Err("no payout came in".to_owned()),
    };
    Facts { transaction, proxy, worker, order }
}

/// The transaction of this name on the owner's account.
async fn named(chain: &dyn Chain, receipt: &Receipt) -> Result<Option<Transaction>, ChainError> {
    let id = TransactionId { lt: receipt.lt, hash: receipt.hash };
    let refused = match chain.transactions(receipt.to, Some(id), 1).await {
        Ok(found) => return Ok(found.into_iter().find(|seen| seen.id == id)),
        Err(error @ (ChainError::Refused(_) | ChainError::Nonsense(_))) => error,
        Err(error) => return Err(error),
    };
    // Not there, or not kept by the endpoint: the account's own history tells, as far back as it is read.
    let mut from = None;
    for _ in 0..MOST_PAGES {
        let page = chain.transactions(receipt.to, from, PAGE).await?;
        if let Some(found) = page.iter().find(|seen| seen.id == id) {
            return Ok(Some(found.clone()));
        }
        match page.last() {
            Some(oldest) if oldest.id.lt > receipt.lt => match oldest.previous {
                Some(previous) => from = Some(previous),
                None => return Ok(None),
            },
            _ => return Ok(None),
        }
    }
    Err(refused)
}

/// What a worker contract was presented under this number.
async fn order(chain: &dyn Chain, worker: Address, query_id: u64) -> Result<Option<Order>, ChainError> {
    let mut from = None;
    for _ in 0..MOST_PAGES {
        let page = chain.transactions(worker, from, PAGE).await?;
        let found = page.iter().filter_map(Order::of).find(|order| order.query_id == query_id);
        if found.is_some() {
            return Ok(found);
        }
        match page.last().and_then(|oldest| oldest.previous) {
            Some(previous) => from = Some(previous),
            None => return Ok(None),
        }
    }
    Err(ChainError::Unreachable("the worker contract's history is too long".to_owned()))
}

#[cfg(test)]
mod tests;
