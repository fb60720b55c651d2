//! The ledger on a thread of its own, because it waits for the disk.

use std::sync::mpsc::{Receiver, Sender, channel};

use ledger::{Ledger, LedgerError, NewSession, Payment, ProxyEntry, Recorded, SessionId};
use tokio::sync::mpsc;

use super::clock::Clock;
use super::{StartError, World};
use crate::core::records::JobEntry;
use crate::core::{EntryId, Input, KnownPayment, PinnedKey, PinnedProxy, Remembered, SignedRecord};
use crate::snapshot::Snapshot;

/// After this many failed tries at the very end, what is left can't be written down.
const LAST_TRIES: u32 = 5;

enum Order {
    Job(JobEntry),
    Payment(SignedRecord),
    Proxy(PinnedProxy),
}

/// Takes what is to be written down; answers come as inputs.
pub(super) struct Book {
    orders: Sender<(EntryId, Order)>,
    last_tries: u32,
}

impl Book {
    /// Opens the ledger, begins a session in it, and says what it remembers of this network.
    pub(super) fn open(
        world: &World,
        clock: Clock,
        inputs: mpsc::Sender<Input>,
    ) -> Result<(Self, Remembered), StartError> {
        let failed = |source| StartError::Ledger { path: world.ledger.clone(), source };
        let settings = &world.settings;
        let started_unix_ms = clock.now().unix_ms;
        let mut ledger = Ledger::open(&world.ledger, started_unix_ms).map_err(failed)?;
        let remembered = remembered(&ledger, world).map_err(failed)?;
        let session = ledger
            .begin_session(&NewSession {
                started_unix_ms,
                root_contract: settings.root_contract,
                params_version: settings.root.params_version,
                fee_per_token: settings.root.worker_fee_per_token,
                served_as: &settings.configuration.served_as,
            })
            .map_err(failed)?;
        let (sender, orders) = channel();
        std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || write_all(&mut ledger, session, &orders, &inputs))
            .map_err(|error| StartError::System(error.to_string()))?;
        Ok((Self { orders: sender, last_tries: 0 }, remembered))
    }

    pub(super) fn job(&self, entry: EntryId, job: JobEntry) {
        self.order(entry, Order::Job(job));
    }

    pub(super) fn payment(&self, entry: EntryId, payment: SignedRecord) {
        self.order(entry, Order::Payment(payment));
    }

    pub(super) fn proxy(&self, entry: EntryId, proxy: PinnedProxy) {
        self.order(entry, Order::Proxy(proxy));
    }

    /// At the end: whether it has been tried often enough.
    pub(super) fn is_hopeless(&mut self, snapshot: &Snapshot) -> bool {
        if snapshot.ledger_fails.is_some() {
            self.last_tries = self.last_tries.saturating_add(1);
        }
        self.last_tries > LAST_TRIES
    }

    fn order(&self, entry: EntryId, order: Order) {
        // The thread ends only with this value.
        let _ = self.orders.send((entry, order));
    }
}

fn remembered(ledger: &Ledger, world: &World) -> Result<Remembered, LedgerError> {
    let root = world.settings.root_contract;
    let mut proxies = Vec::new();
    for proxy in &world.settings.root.registered_proxies {
        let endpoint = proxy.worker_endpoint;
        proxies.extend(ledger.known_key(endpoint, &root)?.map(|key| PinnedKey { endpoint, root, key }));
    }
    let payments = ledger.signed_by_contract(None)?;
    let payments = payments
        .into_iter()
        .map(|total| KnownPayment { worker_contract: total.worker_contract, tokens: total.tokens })
        .collect();
    Ok(Remembered { proxies, payments })
}

fn write_all(
    ledger: &mut Ledger,
    session: SessionId,
    orders: &Receiver<(EntryId, Order)>,
    inputs: &mpsc::Sender<Input>,
) {
    while let Ok((entry, order)) = orders.recv() {
        let input = match write(ledger, session, order) {
            Ok(recorded) => Input::Recorded { entry, new: recorded == Recorded::New },
            Err(error) => Input::RecordFailed { entry, why: error.to_string(), refused: is_refusal(&error) },
        };
        if inputs.blocking_send(input).is_err() {
            return;
        }
    }
}

fn write(ledger: &mut Ledger, session: SessionId, order: Order) -> Result<Recorded, LedgerError> {
    match order {
        Order::Job(job) => ledger.record_job(session, &job.proxy.key, &job.record),
        Order::Payment(payment) => ledger.record_payment(
            session,
            &Payment {
                worker_contract: payment.proxy.worker_contract,
                proxy_key: payment.proxy.key,
                tokens: payment.tokens,
                received_unix_ms: payment.received_unix_ms,
                boc: payment.boc,
            },
        ),
        Order::Proxy(proxy) => ledger.record_proxy(&ProxyEntry {
            endpoint: proxy.endpoint,
            root_contract: proxy.root,
            params_version: proxy.params_version,
            public_key: proxy.key,
            proxy_contract: proxy.proxy_contract,
            worker_contract: proxy.worker_contract,
            seen_unix_ms: proxy.seen_unix_ms,
        }),
    }
}

/// Whether the content is at fault, so that another try is of no use.
fn is_refusal(error: &LedgerError) -> bool {
    match error {
        LedgerError::ProxyKeyChanged { .. }
        | LedgerError::ProxyContractsChanged { .. }
        | LedgerError::PaymentDecreased { .. }
        | LedgerError::OutOfRange { .. }
        | LedgerError::UnknownSession => true,
        LedgerError::Full
        | LedgerError::Busy
        | LedgerError::Corrupt
        | LedgerError::NotALedger
        | LedgerError::NewerVersion { .. }
        | LedgerError::File(_)
        | LedgerError::Database(_) => false,
    }
}
