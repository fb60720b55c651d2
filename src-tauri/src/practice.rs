//! `chrysalis practice`: a whole network on this machine, and the app serving it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use accounting::ModelName;
use accounting::practice::{PRACTICE_RESERVE, PRACTICE_THRESHOLD};
use anyhow::{Context as _, Result, bail};
use node::core::Target;
use node::folder::Folder;
use node::model_file::ModelFile;
use node::proceeds::{Proceeds, Standing};
use node::run::Node;
use node::snapshot::Snapshot;
use node::{EvidenceKind, PeerPolicy};
use ton::{AddressText, RootConfig};

use crate::cashbox::{self, Cashbox};
use crate::cli::PracticeArguments;
use crate::payout;
use crate::practice_network::PracticeNetwork;
use crate::provider::{Asked, Service, check};
use crate::purse::Purse;
use crate::report;

/// The practice model's file, where `cargo xtask model` keeps it.
const PRACTICE_MODEL: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
/// Names the folder in which models are kept, instead of the user's cache folder.
const MODELS_VARIABLE: &str = "MODELS";
/// As many as `headless` admits where its owner says nothing else.
pub(crate) const MAX_ACTIVE: u32 = 8;
/// The practice proxy is on this machine; nobody is spared by waiting longer.
pub(crate) const REDIAL: Duration = Duration::from_secs(1);
/// How long running answers and the last signed payment may take at the end.
const ENDING_PATIENCE: Duration = Duration::from_mins(3);
/// How long the last payout may take.
const PAYOUT_PATIENCE: Duration = Duration::from_mins(2);
const REPORT_EVERY: Duration = Duration::from_secs(2);

pub(crate) async fn run(arguments: PracticeArguments) -> Result<()> {
    anyhow::ensure!(
        arguments.jobs.is_none() || arguments.customers > 0,
        "without customers nobody asks, so --jobs would wait for ever: leave out --customers 0, or --jobs"
    );
    let mut asked = Asked::listen()?;
    let path = match &arguments.model {
        Some(path) => path.clone(),
        None => practice_model()?,
    };
    let folder = Folder::take(&match &arguments.data {
        Some(path) => path.clone(),
        None => own_folder()?,
    })?;
    let model = ModelFile::open(&path)?;
    let served_as = name_of(&path, &model)?;
    let say = |text: &str| say(arguments.json, text);
    say("Practice: simulated customers and practice prices, all on this machine. The money is worth nothing.")?;
    let data = folder.path().to_owned();
    let purse = Arc::new(tokio::task::spawn_blocking(move || Purse::of_practice(&data)).await??);
    let (owner, earlier) = payout::of_practice(folder.path(), &purse)?;
    let place = folder.path().join("network");
    let starting = PracticeNetwork::start(&place, &served_as, purse.address(), arguments.customers, arguments.seed);
    let mut network = tokio::select! {
        network = starting => network?,
        () = asked.wait() => bail!("stopped before it began; nothing was answered"),
    };
    let service = Service {
        ledger: folder.ledger(),
        network: network.file(),
        root_contract: None,
        model,
        served_as: served_as.clone(),
        test_claim: false,
        owner: AddressText { address: owner, bounceable: false, testnet: false },
        coefficient: 1000,
        max_active: MAX_ACTIVE,
        proxy_connections: 1,
        policy: PeerPolicy::Any,
        attester: None,
        evidence: EvidenceKind::None,
        redial: REDIAL,
        device: &arguments.device,
    };
    let (node, root) = service.start()?;
    let root_contract = root.root_contract.context("the practice network names no root contract")?;
    let mut cashbox = Cashbox::open(cashbox::Wanted {
        chain: network.chain().clone(),
        purse,
        owner,
        earlier,
        root_contract,
        root: Arc::new(root.clone()),
        ledger: folder.ledger(),
        threshold: None,
        reserve: PRACTICE_RESERVE,
    })?;
    // What an earlier run has sent may take its time; whoever asks to end meanwhile is heard, and nothing is fetched then.
    let before = tokio::select! {
        before = cashbox.begin(Some(PRACTICE_THRESHOLD)) => Some(before),
        () = asked.wait() => None,
    };
    let ending = before.is_none();
    let outcome = serve(&node, &root, &arguments, &mut network, &cashbox, &mut asked, ending).await;
    let last = node.stop().await;
    let money = match (&outcome, before) {
        (Ok(Ended::Paid), Some(before)) => Some(collect(&cashbox, &root, before, arguments.json, &mut asked).await),
        _ => None,
    };
    cashbox.stop().await;
    network.stop().await;
    outcome?;
    finish(&last, money, &root, &arguments, &served_as, &folder.ledger())
}

/// How it came to an end.
enum Ended {
    /// Everything is answered and signed for.
    Paid,
    /// The owner did not want to wait.
    AtOnce,
}

/// What came into the wallet.
struct Collected {
    proceeds: Proceeds,
    /// Payouts of it that the chain's own data prove.
    verified: u64,
}

/// Brings what is signed into the wallet, and says what came of it.
async fn collect(
    cashbox: &Cashbox,
    root: &RootConfig,
    before: Result<Standing>,
    json: bool,
    asked: &mut Asked,
) -> Result<Collected> {
    let before = before?;
    say(json, "Fetching what is signed from the practice chain.")?;
    tokio::select! {
        taken = cashbox.take_all(PAYOUT_PATIENCE) => taken?,
        () = asked.wait() => {
            bail!("ended before it was fetched; what is on its way is written down, and the next run goes on with it")
        }
    }
    let after = cashbox.standing().await?;
    let proceeds = cashbox.proceeds(before, after)?;
    let verified = cashbox.verified(root, proceeds.payouts).await?;
    Ok(Collected { proceeds, verified })
}

/// Until enough is answered and paid, or the owner has enough. `already`: the owner has asked for the end.
async fn serve(
    node: &Node,
    root: &RootConfig,
    arguments: &PracticeArguments,
    network: &mut PracticeNetwork,
    cashbox: &Cashbox,
    asked: &mut Asked,
    already: bool,
) -> Result<Ended> {
    let begin = Instant::now();
    let mut snapshots = node.snapshots();
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + REPORT_EVERY, REPORT_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ending: Option<Instant> = None;
    if already {
        end(node, arguments, &mut ending).await?;
    }
    let mut printed = String::new();
    let mut boxed = report::BoxReport::default();
    let mut signed = 0;
    loop {
        let snapshot = snapshots.borrow_and_update().clone();
        check(&snapshot)?;
        if let Some(line) = boxed.news(&snapshot) {
            tracing::info!("{line}");
        }
        if snapshot.signed_tokens != signed {
            signed = snapshot.signed_tokens;
            cashbox.payments_came().await;
        }
        match ending {
            None if arguments.jobs.is_some_and(|jobs| snapshot.totals.answered >= jobs) => {
                ending = Some(Instant::now());
                node.want(Target::Drain).await;
            }
            Some(_) if snapshot.active == 0 && report::is_covered(&snapshot, root) => return Ok(Ended::Paid),
            Some(since) if since.elapsed() > ENDING_PATIENCE => {
                bail!(
                    "signed payments do not cover the answers within {} s of the last one",
                    ENDING_PATIENCE.as_secs()
                );
            }
            _ => {}
        }
        tokio::select! {
            () = asked.wait() => {
                if ending.is_some() {
                    return Ok(Ended::AtOnce);
                }
                end(node, arguments, &mut ending).await?;
            }
            changed = snapshots.changed() => changed.context("the node ended by itself")?,
            status = network.ended() => bail!("the practice network ended by itself: {}", status?),
            _ = ticks.tick() => {
                let line = report::line(&snapshot, begin.elapsed());
                // The time alone is no news.
                let news = line.split_once(']').map(|(_, news)| news.to_owned()).unwrap_or_default();
                if news != printed {
                    // Who has read enough has seen enough: it ends as when it is asked to.
                    if !say(arguments.json, &line)? && ending.is_none() {
                        end(node, arguments, &mut ending).await?;
                    }
                    printed = news;
                }
            }
        }
    }
}

/// The owner has asked for the end.
async fn end(node: &Node, arguments: &PracticeArguments, ending: &mut Option<Instant>) -> Result<()> {
    *ending = Some(Instant::now());
    say(arguments.json, "Ending: running answers are finished and paid first. Press Ctrl-C again to end at once.")?;
    node.want(Target::Drain).await;
    Ok(())
}

fn finish(
    last: &Snapshot,
    money: Option<Result<Collected>>,
    root: &RootConfig,
    arguments: &PracticeArguments,
    served_as: &ModelName,
    ledger: &Path,
) -> Result<()> {
    let signed = last.signed_nanoton.map_or_else(|| "unknown".to_owned(), |amount| amount.to_string());
    say(
        arguments.json,
        &format!(
            "Answered {} questions; {} adjusted tokens (counted), {signed} signed (practice money). The ledger is {}",
            last.totals.answered,
            last.totals.adjusted_tokens,
            ledger.display()
        ),
    )?;
    let (collected, trouble) = match money {
        Some(Ok(Collected { proceeds, verified })) => {
            let missing = proceeds.payouts.saturating_sub(verified);
            let unproved =
                (missing > 0).then(|| anyhow::anyhow!("{missing} payouts are not proved by the chain's data"));
            let trouble = proceeds.check().err().map(anyhow::Error::from).or(unproved);
            (Some((proceeds, verified)), trouble)
        }
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    let (proceeds, verified) = collected.unzip();
    if let Some(proceeds) = &proceeds {
        say(arguments.json, &report::proceeds(proceeds))?;
    }
    if arguments.json {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", report::json(last, proceeds.as_ref(), verified, served_as, ledger))?;
        out.flush()?;
    }
    if !report::is_covered(last, root) {
        let owed = report::owed(last, root).map_or_else(|| "unknown".to_owned(), |amount| amount.to_string());
        bail!(
            "{signed} is signed, but adjusted tokens times the fee is {owed}: it was ended before the proxy had signed the rest, \
             which it does when practice begins again"
        );
    }
    match trouble {
        Some(error) => Err(error.context("not every nanoton is explained")),
        None => Ok(()),
    }
}

/// Standard output belongs to the report, unless that is JSON. Whether anybody reads it: nobody does behind `head`, for instance. What
/// goes to standard error beside JSON may go unread.
fn say(json: bool, text: &str) -> Result<bool> {
    if json {
        let _ = writeln!(std::io::stderr(), "{text}");
        return Ok(true);
    }
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        other => Ok(other.map(|()| true)?),
    }
}

pub(crate) fn practice_model() -> Result<PathBuf> {
    let folder = match std::env::var_os(MODELS_VARIABLE).filter(|value| !value.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => directories::BaseDirs::new()
            .context("this user has no home folder; name a model with --model")?
            .cache_dir()
            .join("chrysalis")
            .join("models"),
    };
    let path = folder.join(PRACTICE_MODEL);
    if !path.is_file() {
        bail!(
            "the practice model {} is not there; README says where to download it (`cargo xtask model` does, where the sources are), \
             or name a GGUF file with --model",
            path.display()
        );
    }
    Ok(path)
}

pub(crate) fn own_folder() -> Result<PathBuf> {
    let folders = directories::BaseDirs::new().context("this user has no home folder; name a folder with --data")?;
    Ok(folders.data_local_dir().join("chrysalis").join("practice"))
}

/// On networks of ours the name carries the quantisation, which the file's name does, and the file's hash.
pub(crate) fn name_of(path: &Path, model: &ModelFile) -> Result<ModelName> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().replace(['@', ':'], "-");
    Ok(format!("{stem}@practice:{}", hex::encode(model.sha256())).parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_practice_name_carries_the_quantisation_and_the_hash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("A@B.Q4_1.gguf");
        std::fs::write(&path, b"abc").unwrap();
        let model = ModelFile::open(&path).unwrap();
        let name = name_of(&path, &model).unwrap();
        assert_eq!(name.base, "A-B.Q4_1");
        assert!(model.admits(&name, false, false).is_ok());
    }
}
