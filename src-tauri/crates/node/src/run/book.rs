//! The ledger on a thread of its own, because it waits for the disk.

use std::sync::mpsc::{Receiver, Sender, channel};

use ledger::{Ledger, LedgerError, Multipliers, NewSession, Payment, ProxyEntry, Recorded, SessionId, Tuning};
use tokio::sync::mpsc;

use super::clock::Clock;
use super::{StartError, World};
use crate::core::records::JobEntry;
use crate::core::tunings;
use crate::core::{
    EntryId, Input, KnownPayment, KnownTuning, PinnedKey, PinnedProxy, Refusal, Remembered, SignedRecord,
};
use crate::snapshot::Snapshot;

/// After this many failed tries at the very end, what is left can't be written down.
const LAST_TRIES: u32 = 5;
/// As many as a worker is given.
const MOST_TUNINGS: u32 = tunings::MOST as u32;

enum Order {
    Job(JobEntry),
    Payment(SignedRecord),
    Proxy(PinnedProxy),
    Tuning(KnownTuning),
    Refusal(Refusal),
}

/// Takes what is to be written down; answers come as inputs.
pub(super) struct Book {
    orders: Sender<(EntryId, Order)>,
    answers: mpsc::Sender<Input>,
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
                multipliers: Multipliers {
                    prompt: settings.root.prompt_tokens_price_multiplier,
                    cached: settings.root.cached_tokens_price_multiplier,
                    completion: settings.root.completion_tokens_price_multiplier,
                    reasoning: settings.root.reasoning_tokens_price_multiplier,
                },
                pays_nothing: settings.root.is_test,
            })
            .map_err(failed)?;
        let (sender, orders) = channel();
        let answers = inputs.clone();
        std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || write_all(&mut ledger, session, &orders, &inputs))
            .map_err(|error| StartError::System(error.to_string()))?;
        Ok((Self { orders: sender, answers, last_tries: 0 }, remembered))
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

    pub(super) fn tuning(&self, entry: EntryId, tuning: KnownTuning) {
        self.order(entry, Order::Tuning(tuning));
    }

    pub(super) fn refusal(&self, entry: EntryId, refusal: Refusal) {
        self.order(entry, Order::Refusal(refusal));
    }

    /// At the end: whether it has been tried often enough.
    pub(super) fn is_hopeless(&mut self, snapshot: &Snapshot) -> bool {
        if snapshot.ledger_fails.is_some() {
            self.last_tries = self.last_tries.saturating_add(1);
        }
        self.last_tries > LAST_TRIES
    }

    fn order(&self, entry: EntryId, order: Order) {
        if self.orders.send((entry, order)).is_err() {
            let why = "the thread that writes it has ended; start again".to_owned();
            // The core is busy with this very effect; a full queue has more of the kind.
            let _ = self.answers.try_send(Input::RecordFailed { entry, why, refused: false });
        }
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
    let tunings = ledger.tunings(&world.settings.model_sha256, MOST_TUNINGS)?;
    let tunings = tunings
        .into_iter()
        .map(|Tuning { card, driver, model, choice, found_unix_ms }| KnownTuning {
            card,
            driver,
            model,
            choice,
            found_unix_ms,
        })
        .collect();
    Ok(Remembered { proxies, payments, tunings })
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
        Order::Tuning(KnownTuning { card, driver, model, choice, found_unix_ms }) => {
            ledger.record_tuning(&Tuning { card, driver, model, choice, found_unix_ms })
        }
        Order::Refusal(Refusal { root, endpoint, by, reason, seen_unix_ms }) => {
            ledger.record_refusal(&root, endpoint, by, &reason, seen_unix_ms)
        }
        Order::Proxy(proxy) => ledger.record_proxy(&ProxyEntry {
            endpoint: proxy.endpoint,
            root_contract: proxy.root,
            params_version: proxy.params_version,
            public_key: proxy.key,
            proxy_contract: proxy.proxy_contract,
            worker_contract: proxy.worker_contract,
            fee_per_token: proxy.fee_per_token,
            state_init: proxy.state_init,
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
        | LedgerError::TransferGoesBack { .. }
        | LedgerError::OutOfRange { .. }
        | LedgerError::UnknownSession => true,
        LedgerError::Full
        | LedgerError::Busy
        | LedgerError::Corrupt
        | LedgerError::NotALedger
        | LedgerError::NewerVersion { .. }
        | LedgerError::OlderVersion { .. }
        | LedgerError::File(_)
        | LedgerError::Database(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV4;
    use std::path::Path;

    use accounting::{AdjustedUsage, Endpoint, JobId, JobOutcome, JobRecord, TokenUsage};
    use ton::{Address, Nanoton};

    use super::*;
    use crate::core::proxies::Session;
    use crate::run::tests::{ROOT, place, world};

    #[test]
    fn what_is_ordered_is_written_and_answered_in_that_order() {
        let room = tempfile::tempdir().unwrap();
        let (book, mut answers, remembered) = open(room.path());
        assert!(remembered.proxies.is_empty() && remembered.payments.is_empty());
        book.proxy(EntryId(0), proxy());
        book.job(EntryId(1), job(1));
        book.job(EntryId(2), job(1));
        book.payment(EntryId(3), payment(100));
        book.payment(EntryId(4), payment(100));
        let expected = [(0, true), (1, true), (2, false), (3, true), (4, false)];
        for (entry, new) in expected {
            assert_eq!(answers.blocking_recv(), Some(Input::Recorded { entry: EntryId(entry), new }));
        }
    }

    #[test]
    fn a_later_run_remembers_keys_and_highest_payments_of_its_network() {
        let room = tempfile::tempdir().unwrap();
        let elsewhere = PinnedProxy { root: Address { workchain: 0, hash: [9; 32] }, ..proxy() };
        let (book, mut answers, _) = open(room.path());
        for (entry, proxy) in [(0, proxy()), (1, elsewhere)] {
            book.proxy(EntryId(entry), proxy);
        }
        for (entry, tokens) in [(2, 100), (3, 250)] {
            book.payment(EntryId(entry), payment(tokens));
        }
        (0..4).for_each(|_| drop(answers.blocking_recv()));
        drop(book);
        let (_book, _answers, remembered) = open(room.path());
        assert_eq!(remembered.proxies, [PinnedKey { endpoint: place(), root: ROOT, key: [7; 32] }]);
        let best = KnownPayment { worker_contract: session().worker_contract, tokens: 250 };
        assert_eq!(remembered.payments, [best]);
    }

    #[test]
    fn what_the_ledger_does_not_take_is_told_apart_from_what_it_cannot_write_now() {
        let room = tempfile::tempdir().unwrap();
        let (book, mut answers, _) = open(room.path());
        let usage = TokenUsage { prompt: u64::MAX, ..TokenUsage::default() };
        let mut endless = job(1);
        endless.record.usage = usage;
        book.proxy(EntryId(0), proxy());
        book.payment(EntryId(1), payment(100));
        (0..2).for_each(|_| drop(answers.blocking_recv()));
        book.job(EntryId(2), endless);
        book.payment(EntryId(3), payment(99));
        book.payment(EntryId(4), payment(u64::MAX));
        book.proxy(EntryId(5), PinnedProxy { key: [8; 32], ..proxy() });
        for wanted in 2..=5 {
            let Some(Input::RecordFailed { entry, refused, why }) = answers.blocking_recv() else { panic!("{wanted}") };
            assert_eq!((entry, refused), (EntryId(wanted), true), "{why}");
        }
        for later in [LedgerError::Full, LedgerError::Busy, LedgerError::Corrupt] {
            assert!(!is_refusal(&later), "{later}");
        }
    }

    #[test]
    fn a_ledger_that_cannot_be_opened_is_named() {
        let room = tempfile::tempdir().unwrap();
        let (inputs, _answers) = mpsc::channel(1);
        let path = room.path().join("no/such/folder");
        let Err(error) = Book::open(&world(&path, crate::run::tests::ENDS_AT_ONCE), Clock::new(), inputs) else {
            panic!("opened")
        };
        assert!(error.to_string().contains("no/such/folder"), "{error}");
    }

    #[test]
    fn at_the_end_a_failing_ledger_is_tried_a_few_times_and_a_slow_one_for_ever() {
        let room = tempfile::tempdir().unwrap();
        let (mut book, _answers, remembered) = open(room.path());
        let settings = world(room.path(), crate::run::tests::ENDS_AT_ONCE).settings;
        let slow = crate::core::Core::new(settings, remembered, 0).snapshot();
        let failing = Snapshot { unwritten: 1, ledger_fails: Some("full".to_owned()), ..slow.clone() };
        assert!((0..100).all(|_| !book.is_hopeless(&slow)));
        assert_eq!((0..100).find(|_| book.is_hopeless(&failing)), Some(LAST_TRIES));
    }

    fn open(folder: &Path) -> (Book, mpsc::Receiver<Input>, Remembered) {
        let (inputs, answers) = mpsc::channel(16);
        let (book, remembered) =
            Book::open(&world(folder, crate::run::tests::ENDS_AT_ONCE), Clock::new(), inputs).unwrap();
        (book, answers, remembered)
    }

    fn session() -> Session {
        let contract = |number| Address { workchain: 0, hash: [number; 32] };
        let endpoint: SocketAddrV4 = place();
        Session {
            endpoint,
            key: [7; 32],
            proxy_contract: contract(1),
            worker_contract: contract(2),
            protocol_version: 2,
        }
    }

    fn proxy() -> PinnedProxy {
        let Session { endpoint, key, proxy_contract, worker_contract, .. } = session();
        PinnedProxy {
            endpoint,
            root: ROOT,
            params_version: 7,
            key,
            proxy_contract,
            worker_contract,
            fee_per_token: Nanoton(19),
            state_init: Some(vec![1]),
            seen_unix_ms: 3,
        }
    }

    fn payment(tokens: u64) -> SignedRecord {
        SignedRecord { proxy: session(), tokens, boc: vec![1; 100], received_unix_ms: 4 }
    }

    fn job(number: u8) -> JobEntry {
        let record = JobRecord {
            id: JobId([number; 32]),
            started_unix_ms: 1,
            finished_unix_ms: 2,
            outcome: JobOutcome::Answered,
            usage: TokenUsage::default(),
            coefficient: 1_000,
            adjusted: AdjustedUsage::default(),
            streamed: true,
            endpoint: Endpoint::Chat,
        };
        JobEntry { record, proxy: session() }
    }
}
