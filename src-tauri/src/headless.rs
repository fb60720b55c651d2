//! `chrysalis headless`: serve an open network until asked to stop.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use chain::{Chain, MOST_TRANSACTIONS};
use node::core::workers::WorkerState;
use node::folder::Folder;
use node::model_file::ModelFile;
use node::run::Node;
use node::run::cashier::Cashier;
use node::run::recovery::Search;
use node::run::stats::Stats;
use node::{AskedDemand, PeerPolicy, TdxDemand};
use serde_json::json;
use tokio::task::AbortHandle;
use ton::{Address, AddressText, Network, RootConfig};
use wallet::PayoutBook;

use crate::cashbox::{SEARCHED_PAGES, search_for_the_forgotten};
use crate::cli::{HeadlessArguments, PolicyWord, ShowsWord};
use crate::guest_report::GuestReport;
use crate::identity;
use crate::named_file;
use crate::payout;
use crate::provider::{Asked, Service, check};
use crate::report;
use crate::wallet_commands::{Fees, Payee};

/// Pause before a lost proxy is dialled again, as genuine workers make it.
const REDIAL: Duration = Duration::from_secs(10);
/// Between two looks at the clock while a payout address waits: it may be set meanwhile.
const CLOCK_LOOK: Duration = Duration::from_secs(30);

/// Why serving ended well.
enum Ended {
    /// The owner has asked.
    Asked,
    /// Another payout address has come into force, so the worker registers anew.
    PaidElsewhere,
}

/// What stays when the worker registers anew.
struct Session {
    asked: Asked,
    /// Is the ready line printed?
    ready: bool,
    stats: Option<Stats>,
    /// What proxies that ask are shown, if that is no TPM.
    reports: Option<GuestReport>,
}

pub(crate) async fn run(arguments: HeadlessArguments) -> Result<()> {
    let reports = match arguments.shows {
        ShowsWord::Tpm => None,
        ShowsWord::Processor => Some(GuestReport::new(Path::new("/"), arguments.own_collateral.clone())?),
    };
    let folder = Folder::take(&arguments.data)?;
    let book = payout::settled(folder.path(), payout::now())?;
    let fees = Fees::open(&folder, &arguments.chain, book.is_some(), &arguments.threshold, &arguments.keep).await?;
    // Not before: while it asks for a password nobody would hear.
    let mut session = Session { asked: Asked::listen()?, ready: false, stats: None, reports };
    loop {
        let book = payout::settled(folder.path(), payout::now())?;
        let owner = owner(arguments.owner, book.as_ref(), &folder)?;
        if let Some(notice) = Payee::of(folder.path())?.notice() {
            tracing::warn!("{notice}");
        }
        if let Ended::Asked = once(&arguments, &folder, owner, book.as_ref(), fees.as_ref(), &mut session).await? {
            return Ok(());
        }
        tracing::warn!("payouts go to another address from now on; the worker registers anew");
    }
}

/// Who is paid: the payout address of the folder, else who is named, else the folder's wallet.
fn owner(given: Option<AddressText>, book: Option<&PayoutBook>, folder: &Folder) -> Result<AddressText> {
    let spelt =
        |address: Address, network| AddressText { address, bounceable: false, testnet: network == Network::Test };
    if let Some(book) = book {
        let owner = spelt(book.at(payout::now()), book.network());
        ensure!(
            given.is_none_or(|given| given.address == owner.address),
            "--owner is not the payout address of this folder, {}; leave --owner out, or see `chrysalis wallet payout-address`",
            owner.to_text()
        );
        // Addresses are written as the network's proxies write them, which whoever names one knows.
        return Ok(given.unwrap_or(owner));
    }
    let own = || -> Result<Option<AddressText>> {
        let wallet = Payee::of(folder.path())?.wallet;
        Ok(wallet.map(|public| spelt(public.address(), public.network)))
    };
    match given {
        Some(given) => Ok(given),
        None => own()?.context(
            "who is paid? Name them with --owner, or with `chrysalis wallet payout-address`, or make a wallet with `chrysalis wallet create`",
        ),
    }
}

/// Serves until the owner asks to end, or is paid on another address.
async fn once(
    arguments: &HeadlessArguments,
    folder: &Folder,
    owner: AddressText,
    book: Option<&PayoutBook>,
    fees: Option<&Fees>,
    session: &mut Session,
) -> Result<Ended> {
    let service = Service {
        ledger: folder.ledger(),
        network: &arguments.network,
        root_contract: arguments.root.map(|root| root.address),
        model: ModelFile::open(&arguments.model)?,
        served_as: arguments.served_as.clone(),
        test_claim: arguments.test_claim,
        owner,
        coefficient: arguments.coefficient,
        max_active: arguments.max_active,
        proxy_connections: arguments.proxy_connections,
        policy: policy(arguments)?,
        evidence: arguments.evidence.into(),
        attester: Some(match &session.reports {
            Some(reports) => Box::new(reports.clone()),
            None => identity::attester(folder.path(), identity::Place::new(arguments.tpm.clone())),
        }),
        redial: REDIAL,
        device: &arguments.device,
    };
    let (root_contract, _) = service.terms()?;
    let cashier = fees.map(|fees| fees.cashier(folder, root_contract, owner.address)).transpose()?;
    let (node, root) = service.start()?;
    let accounts =
        [owner.address].into_iter().chain(book.iter().flat_map(|book| book.earlier()).map(|one| one.address));
    let searching = fees.map(|fees| search(fees.chain(), root_contract, root, accounts.collect(), folder));
    let changes_at = book.and_then(|book| book.waiting(payout::now())).map(|change| change.from);
    let served = serve(&node, arguments, folder, owner, cashier.as_ref(), changes_at, session).await;
    if let Some(searching) = searching {
        searching.abort();
    }
    let last = node.stop().await;
    if let Some(cashier) = cashier {
        // What is on its way is written down, and the next run goes on with it.
        cashier.stop().await;
    }
    if last.unwritten > 0 {
        tracing::error!(records = last.unwritten, "some records could not be written down before the end");
    }
    served
}

/// What proxies must show.
fn policy(arguments: &HeadlessArguments) -> Result<PeerPolicy> {
    let asks = arguments.policy == PolicyWord::Asked;
    ensure!(
        asks != arguments.proxy_grade.is_empty(),
        "--policy asked and --proxy-grade belong together: one says that proxies are asked, the other what is enough"
    );
    ensure!(
        arguments.policy == PolicyWord::Tdx || arguments.collateral.is_none(),
        "--collateral belongs to --policy tdx; proxies that are asked show it themselves"
    );
    Ok(match (arguments.policy, &arguments.collateral) {
        (PolicyWord::Asked, _) => PeerPolicy::Asked(AskedDemand {
            grades: arguments.proxy_grade.iter().map(|grade| grade.number()).collect(),
        }),
        (PolicyWord::Any, _) => PeerPolicy::Any,
        (PolicyWord::FakeTdx, _) => PeerPolicy::FakeTdx,
        (PolicyWord::Tdx, None) => bail!(
            "--policy tdx needs Intel's statements about the proxy's processor: name their file with --collateral"
        ),
        (PolicyWord::Tdx, Some(path)) => {
            let failed = || format!("the file {} can't be used", path.display());
            let collateral = named_file::bytes(path, TdxDemand::MAX_COLLATERAL as u64).with_context(failed)?;
            PeerPolicy::Tdx(TdxDemand { collateral })
        }
    })
}

/// Looks on the accounts that are and were paid for payouts that the ledger does not have.
fn search(
    chain: Arc<dyn Chain>,
    root_contract: Address,
    root: RootConfig,
    accounts: Vec<Address>,
    folder: &Folder,
) -> AbortHandle {
    let (terms, ledger) = (Some(Arc::new(root)), folder.ledger());
    let of = |owner| {
        let (terms, ledger) = (terms.clone(), ledger.clone());
        Search { root_contract, terms, owner, ledger, page: MOST_TRANSACTIONS, pages: SEARCHED_PAGES }
    };
    let searches = accounts.into_iter().map(of).collect();
    tokio::spawn(search_for_the_forgotten(chain, searches)).abort_handle()
}

/// Until this machine's clock shows that time, Unix seconds.
async fn until(unix: Option<u64>) {
    let Some(unix) = unix else { return std::future::pending().await };
    while let Some(left) = unix.checked_sub(payout::now()).filter(|left| *left > 0) {
        tokio::time::sleep(Duration::from_secs(left).min(CLOCK_LOOK)).await;
    }
}

async fn serve(
    node: &Node,
    arguments: &HeadlessArguments,
    folder: &Folder,
    owner: AddressText,
    cashier: Option<&Cashier>,
    changes_at: Option<u64>,
    session: &mut Session,
) -> Result<Ended> {
    match (&session.stats, arguments.stats) {
        (Some(stats), _) => stats.show(node.snapshots()),
        (None, Some(address)) => session.stats = Some(Stats::serve(address, node.snapshots()).await?),
        (None, None) => {}
    }
    let stats_port = session.stats.as_ref().map(|stats| stats.address().port());
    let mut snapshots = node.snapshots();
    let changed_owner = until(changes_at);
    tokio::pin!(changed_owner);
    let mut boxed = report::BoxReport::default();
    let mut signed = 0;
    loop {
        let snapshot = snapshots.borrow_and_update().clone();
        if let Some(cashier) = cashier.filter(|_| snapshot.signed_tokens != signed) {
            signed = snapshot.signed_tokens;
            cashier.payments_came().await;
        }
        check(&snapshot)?;
        if let Some(line) = boxed.news(&snapshot) {
            tracing::info!("{line}");
        }
        if !session.ready && matches!(snapshot.worker, WorkerState::Serving { .. }) {
            session.ready = true;
            let line = json!({ "ready": {
                "role": "worker",
                "worker_pid": snapshot.worker_pid,
                "owner": owner.to_text(),
                "served_as": arguments.served_as.to_string(),
                "stats_port": stats_port,
                "backend": snapshot.model.as_ref().map(|model| model.backend.clone()),
                "adapter": snapshot.model.as_ref().and_then(|model| model.adapter.clone()),
                "ledger": folder.ledger(),
            }});
            let mut out = std::io::stdout().lock();
            writeln!(out, "{line}")?;
            out.flush()?;
        }
        tokio::select! {
            () = session.asked.wait() => return Ok(Ended::Asked),
            () = &mut changed_owner => return Ok(Ended::PaidElsewhere),
            changed = snapshots.changed() => changed.context("the node ended by itself")?,
        }
    }
}
