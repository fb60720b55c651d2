//! `payout-address` and `take-back`: where payouts go, and the rest of the wallet that pays for fetching them.

use accounting::{Outcome, Outgoing, Stage};
use anyhow::{Context as _, Result, bail, ensure};
use chain::AccountStatus;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use ton::{Address, AddressText, Nanoton, Network};
use wallet::{Finding, Known, PayoutBook, PayoutChange, Public, Seen, findings, read_recipient};

use super::ask::Ask;
use super::moves::{self, KNOWN};
use super::{address_text, endpoints, is_practice, known_public, money, public, take, tell};
use crate::cli::{PayoutAddressArguments, TakeBackArguments};
use crate::payout::{self, Set};
use crate::provider::Asked;

/// Where payouts of a folder go.
pub(crate) struct Payee {
    /// The wallet here, if there is one.
    pub(crate) wallet: Option<Public>,
    /// What the file says; `None`: payouts go to the wallet.
    pub(crate) book: Option<PayoutBook>,
    now: u64,
}

impl Payee {
    /// As it stands now. The folder need not be the caller's.
    pub(crate) fn of(data: &std::path::Path) -> Result<Self> {
        Ok(Self { wallet: known_public(data)?, book: payout::read(data)?, now: payout::now() })
    }

    /// Where payouts go; `None`: nowhere yet.
    pub(crate) fn address(&self) -> Option<Address> {
        let own = || self.wallet.map(|public| public.address());
        self.book.as_ref().map(|book| book.at(self.now)).or_else(own)
    }

    /// On which network.
    pub(crate) fn network(&self) -> Option<Network> {
        self.book.as_ref().map(PayoutBook::network).or_else(|| self.wallet.map(|public| public.network))
    }

    /// A change that waits.
    pub(crate) fn waiting(&self) -> Option<PayoutChange> {
        self.book.as_ref().and_then(|book| book.waiting(self.now))
    }

    /// The wallet that pays fees, where it is not the one that is paid.
    pub(crate) fn fee_wallet(&self) -> Option<Public> {
        self.wallet.filter(|public| self.address() != Some(public.address()))
    }

    /// What is to be said of a change that waits.
    pub(crate) fn notice(&self) -> Option<String> {
        let (change, address, network) = (self.waiting()?, self.address()?, self.network()?);
        Some(format!(
            "From {} on payouts go to {}; until then they go to {}. If that was not you: `chrysalis wallet payout-address --cancel`",
            moment(change.from),
            address_text(&change.to, network),
            address_text(&address, network)
        ))
    }

    /// Members of the objects that commands print.
    pub(crate) fn to_json(&self) -> Value {
        let text = |address: Address| address_text(&address, self.network().unwrap_or(Network::Main));
        json!({
            "payout_address": self.address().map(text),
            "fee_wallet": self.fee_wallet().map(|public| text(public.address())),
            "waiting": self.waiting().map(|change| json!({ "address": text(change.to), "from": change.from })),
        })
    }
}

fn moment(unix: u64) -> String {
    let at = i64::try_from(unix).ok().and_then(|unix| DateTime::<Utc>::from_timestamp(unix, 0));
    at.map_or_else(|| "a far time".to_owned(), |at| at.format("%Y-%m-%d %H:%M UTC").to_string())
}

pub(super) async fn payout_address(arguments: &PayoutAddressArguments) -> Result<()> {
    let ask = Ask::new();
    let data = arguments.data.as_path();
    if arguments.cancel {
        let _folder = take(data)?;
        if payout::keep(data, payout::now())?.is_none() {
            ask.say("No change was waiting.")?;
        }
    } else if let Some(to) = &arguments.to {
        let folder = take(data)?;
        let payee = Payee::of(folder.path())?;
        let network = match payee.network() {
            Some(network) => network,
            None if arguments.testnet || is_practice(data) => Network::Test,
            None => Network::Main,
        };
        let to = checked(&ask, arguments, &payee, to, network).await?;
        let own = payee.wallet.map(|public| public.address());
        match payout::set(data, own, to, network, payout::now())? {
            Set::Now => ask.say("It counts from now on.")?,
            Set::Waits(change) => ask.say(&format!(
                "It counts from {} on, so that nobody leads your money away unseen. Until then --cancel keeps the present one.",
                moment(change.from)
            ))?,
        }
    }
    let payee = Payee::of(data)?;
    let (Some(address), Some(network)) = (payee.address(), payee.network()) else {
        bail!("payouts go nowhere yet: name an address, or make a wallet with `chrysalis wallet create`");
    };
    let mut lines = vec![format!("Your payout address        {}", address_text(&address, network))];
    lines.push(match (payee.wallet, payee.fee_wallet()) {
        (_, Some(fee)) => format!("The worker's fee wallet    {}", address_text(&fee.address(), network)),
        (Some(_), None) => "It is the wallet on this computer, which pays the fees too.".to_owned(),
        (None, None) => "No wallet on this computer can pay fees, so nothing is fetched by itself.".to_owned(),
    });
    lines.extend(payee.notice());
    tell(arguments.json, &payee.to_json(), &lines)
}

/// The address, if the owner wants it after all that is to be known about it.
async fn checked(
    ask: &Ask,
    arguments: &PayoutAddressArguments,
    payee: &Payee,
    text: &str,
    network: Network,
) -> Result<Address> {
    let to = read_recipient(text, network)?.address;
    let chain = endpoints::chain_if_named(&arguments.chain)?;
    let mut known: Vec<Known> = payee
        .address()
        .into_iter()
        .chain(payee.book.iter().flat_map(|book| book.earlier().iter().map(|one| one.address)))
        .map(|address| Known { address, sent_at: None })
        .collect();
    let mut seen = Seen::No;
    if let Some(chain) = &chain {
        seen = match chain.account(to).await.map(|account| account.status) {
            Ok(AccountStatus::Active) => Seen::Active,
            Ok(_) => Seen::Uninitialised,
            Err(_) => Seen::No,
        };
        if let Some(public) = payee.wallet {
            let own = public.address();
            known.extend(moves::known(&money::recent(&**chain, own, KNOWN).await?, &own));
        }
    }
    let own = payee.wallet.map_or(Address { workchain: 0, hash: [0; 32] }, |public| public.address());
    for finding in findings(&to, &own, seen, &known) {
        // Being paid on the own wallet is as it should be; and that the chain was not asked is the owner's choice here.
        if matches!(finding, Finding::Own) || (chain.is_none() && matches!(finding, Finding::NotSeen)) {
            continue;
        }
        if finding.asks() {
            ask.yes(&format!("Careful: {finding}."))?;
        }
    }
    ask.say(&format!(
        "Payouts shall go to {}",
        AddressText { address: to, bounceable: false, testnet: network == Network::Test }.groups()
    ))?;
    ask.say("Only you know whether its key is yours: whoever has it has what is paid out.")?;
    ask.yes("Shall they?")?;
    Ok(to)
}

pub(super) async fn take_back(arguments: &TakeBackArguments) -> Result<()> {
    let ask = Ask::new();
    let public = public(&arguments.data)?;
    let chain = endpoints::chain_of(&arguments.chain, public.network).await?;
    let folder = take(&arguments.data)?;
    let payee = Payee::of(folder.path())?;
    let (Some(to), Some(_)) = (payee.address(), payee.fee_wallet()) else {
        bail!("payouts go to this wallet itself, so there is no separate fee wallet to take anything back from");
    };
    let root = moves::network_of(&folder, arguments.root)?;
    moves::nothing_under_way(&folder)?;
    let account = chain.agreed_account(public.address()).await.context("the chain can't be asked about this wallet")?;
    ensure!(account.balance > Nanoton(0), "the fee wallet is empty");
    // Its owner's own address: what can't be taken there stays there.
    let outgoing =
        Outgoing { to, value: account.balance, everything: true, bounce: false, body: None, state_init: None };
    let forecast = moves::tried(&*chain, &public, &outgoing).await?;
    if let Some(why) = &forecast.failure {
        bail!("it would fail, so it is not sent: {why}");
    }
    let arrives = account.balance.checked_sub(forecast.fees).unwrap_or_default();
    ensure!(arrives > Nanoton(0), "the fee wallet has {}, and its fee is {}", account.balance, forecast.fees);
    ask.say(&format!("From     the worker's fee wallet {}", address_text(&public.address(), public.network)))?;
    ask.say(&format!("To       your payout address {}", address_text(&to, public.network)))?;
    ask.say(&format!("Amount   {arrives}, everything there is"))?;
    ask.say(&format!("Fee      {}", forecast.fees))?;
    ask.say(&format!("Left     {}; payouts are fetched again when you fill it up", forecast.balance_after))?;
    if let Some(notice) = payee.notice() {
        ask.say(&notice)?;
    }
    ask.yes("Send it?")?;
    let signer = moves::unlock(&ask, &arguments.data, &public)?;
    let mut asked = Asked::listen()?;
    let desk = moves::Desk { folder: &folder, public, chain, signer, owner: to };
    let transfer = moves::carry_out(&desk, root, Nanoton(0), outgoing, &mut asked).await?;
    let Stage::Ended(outcome) = &transfer.stage else { bail!("it has not ended") };
    let fees = moves::fees(outcome);
    let object = json!({
        "transfer": transfer.id.0,
        "outcome": moves::word(outcome),
        "from_nanoton": account.balance.0,
        "fees_nanoton": fees.map(|fees| fees.0),
    });
    match outcome {
        Outcome::Done { .. } => {
            let arrived = account.balance.checked_sub(fees.unwrap_or_default()).unwrap_or_default();
            tell(arguments.json, &object, &[format!("{arrived} went back to {}.", address_text(&to, public.network))])
        }
        other => {
            tell(arguments.json, &object, &[])?;
            bail!("the transfer: {other}")
        }
    }
}
