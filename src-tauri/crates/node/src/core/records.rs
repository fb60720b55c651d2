//! Everything that must be written down, kept until it is. While the ledger can't write, no new work is taken.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Duration;

use accounting::JobRecord;
use link::message::LogLevel;
use ton::{Address, Nanoton};

use super::backoff::Backoff;
use super::payments::Payments;
use super::proxies::Session;
use super::refusals::Refusal;
use super::tunings::KnownTuning;
use super::{Effect, Out};

/// More than this unwritten is no honest worker's doing.
const MOST_WAITING: usize = 4096;
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Names one thing to be written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub u64);

/// A job and whom it was done for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEntry {
    /// The job.
    pub record: JobRecord,
    /// The proxy it came from.
    pub proxy: Session,
}

/// A signed payment that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRecord {
    /// Who signed.
    pub proxy: Session,
    /// Running total of adjusted tokens.
    pub tokens: u64,
    /// The bag of cells as it came.
    pub boc: Vec<u8>,
    /// When it came.
    pub received_unix_ms: i64,
}

/// A proxy, and the key that it is held to from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedProxy {
    /// Where it was met.
    pub endpoint: SocketAddrV4,
    /// The network's root contract.
    pub root: Address,
    /// The network's parameters then; contracts change with them.
    pub params_version: u32,
    /// Its payment key.
    pub key: [u8; 32],
    /// Its contract.
    pub proxy_contract: Address,
    /// Our worker contract there.
    pub worker_contract: Address,
    /// What that contract pays for an adjusted token.
    pub fee_per_token: Nanoton,
    /// Its code and first data, a bag of cells; `None` where the network names the code by its hash only.
    pub state_init: Option<Vec<u8>>,
    /// When it was met.
    pub seen_unix_ms: i64,
}

/// The key that an earlier run wrote down for a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinnedKey {
    /// Where it was met.
    pub endpoint: SocketAddrV4,
    /// The network's root contract.
    pub root: Address,
    /// Its payment key.
    pub key: [u8; 32],
}

/// The best payment that an earlier run wrote down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownPayment {
    /// Which contract it is for.
    pub worker_contract: Address,
    /// Running total of adjusted tokens.
    pub tokens: u64,
}

/// Something to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A job.
    Job(JobEntry),
    /// A payment.
    Payment(SignedRecord),
    /// A proxy's key.
    Proxy(PinnedProxy),
    /// What was found out about a card.
    Tuning(KnownTuning),
    /// Who was refused.
    Refusal(Refusal),
}

struct Waiting {
    record: Record,
    under_way: bool,
}

/// See the module.
pub(super) struct Records {
    waiting: BTreeMap<EntryId, Waiting>,
    next: u64,
    backoff: Backoff,
    retry_at: Option<Duration>,
    trouble: Option<String>,
}

impl Default for Records {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            next: 0,
            backoff: Backoff::new(FIRST_RETRY, LAST_RETRY),
            retry_at: None,
            trouble: None,
        }
    }
}

impl Records {
    /// How much is not yet written down.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn overflows(&self) -> bool {
        self.waiting.len() > MOST_WAITING
    }

    /// What the ledger said last, while it can't write.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.retry_at
    }

    /// `Some`: the name under which it is being written down now. `None`: it waits until the ledger can write again.
    pub(super) fn add(&mut self, record: Record, out: &mut Out<'_>) -> Option<EntryId> {
        let entry = EntryId(self.next);
        self.next = self.next.saturating_add(1);
        // While it is known to fail, only the retries try.
        let under_way = self.trouble.is_none();
        if under_way {
            out.push(effect(entry, &record));
        }
        self.waiting.insert(entry, Waiting { record, under_way });
        under_way.then_some(entry)
    }

    /// A payment replaces lower ones of its contract that wait for another try: it says all that they say.
    pub(super) fn replace_payment(&mut self, payment: SignedRecord, out: &mut Out<'_>) {
        self.waiting.retain(|_, waiting| {
            let replaced = matches!(&waiting.record, Record::Payment(old)
                if old.proxy.worker_contract == payment.proxy.worker_contract && !waiting.under_way);
            !replaced
        });
        self.add(Record::Payment(payment), out);
    }

    /// What it was, the first time this is said of it.
    pub(super) fn recorded(&mut self, entry: EntryId) -> Option<Record> {
        self.waiting.get(&entry).filter(|waiting| waiting.under_way)?;
        let written = self.waiting.remove(&entry)?;
        self.backoff.reset();
        self.trouble = None;
        if self.waiting.values().any(|waiting| !waiting.under_way) {
            self.retry_at = Some(Duration::ZERO);
        } else {
            self.retry_at = None;
        }
        Some(written.record)
    }

    pub(super) fn failed(&mut self, entry: EntryId, why: &str, refused: bool, payments: &Payments, out: &mut Out<'_>) {
        let Some(waiting) = self.waiting.get_mut(&entry).filter(|waiting| waiting.under_way) else {
            return;
        };
        waiting.under_way = false;
        let outdone = matches!(&waiting.record, Record::Payment(payment) if payments.is_outdone(payment));
        if refused || outdone {
            self.waiting.remove(&entry);
            if !outdone {
                out.log(LogLevel::Error, format!("the ledger does not take a record: {why}"));
            }
            self.go_on_without_it(out);
            return;
        }
        if self.trouble.is_none() {
            out.log(LogLevel::Error, format!("can't write down what was earned: {why}; no new work until I can"));
        }
        self.trouble = Some(why.to_owned());
        if self.retry_at.is_none() {
            self.retry_at = Some(out.now.mono.saturating_add(self.backoff.pause()));
        }
    }

    /// What was tried is dropped: what else waits must not wait for it for ever.
    fn go_on_without_it(&mut self, out: &Out<'_>) {
        if self.waiting.is_empty() {
            self.trouble = None;
            self.retry_at = None;
        } else if self.trouble.is_some() && self.retry_at.is_none() {
            self.retry_at = Some(out.now.mono.saturating_add(self.backoff.pause()));
        }
    }

    /// Tries again what is due: one thing first, and the rest once that was written.
    pub(super) fn retry(&mut self, out: &mut Out<'_>) {
        if self.retry_at.is_none_or(|at| out.now.mono < at) {
            return;
        }
        self.retry_at = None;
        let most = if self.trouble.is_some() { 1 } else { usize::MAX };
        for (entry, waiting) in self.waiting.iter_mut().filter(|(_, waiting)| !waiting.under_way).take(most) {
            waiting.under_way = true;
            out.push(effect(*entry, &waiting.record));
        }
    }
}

fn effect(entry: EntryId, record: &Record) -> Effect {
    match record {
        Record::Job(job) => Effect::RecordJob { entry, job: Box::new(job.clone()) },
        Record::Payment(payment) => Effect::RecordPayment { entry, payment: Box::new(payment.clone()) },
        Record::Proxy(proxy) => Effect::RecordProxy { entry, proxy: Box::new(proxy.clone()) },
        Record::Tuning(tuning) => Effect::RecordTuning { entry, tuning: Box::new(tuning.clone()) },
        Record::Refusal(refusal) => Effect::RecordRefusal { entry, refusal: Box::new(refusal.clone()) },
    }
}
