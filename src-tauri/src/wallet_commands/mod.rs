//! `chrysalis wallet`: the owner's wallet without a window.
//!
//! - [`ask`]: what is asked on the terminal, or read from standard input.
//! - [`keys`]: `create`, `import`, `address`.
//! - [`endpoints`]: the chain that the command line names.
//! - [`money`]: `balance`, `history`; [`moves`]: `send`, `collect`.
//! - [`payouts`]: `payout-address`, `take-back`.
//! - [`guards`]: `limit`, `auto-lock`, `check-words`, `delete`.
//!
//! Secrets come from a prompt or from standard input, never from arguments or the environment, where other programs could read them.

mod ask;
mod endpoints;
mod guards;
mod keys;
mod money;
mod moves;
mod payouts;

pub(crate) use moves::Fees;
pub(crate) use payouts::Payee;

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use node::folder::Folder;
use serde_json::Value;
use ton::{Address, AddressText, Network};
use wallet::{Keychain, KeychainError, OsKeychain, Public, Vault, VaultState};

use crate::cli::{WalletCommand, WalletWords};
use crate::purse::{PracticeKeychain, WALLET, has_practice_wallet};

/// Where practice keeps its network in a data folder.
const PRACTICE: &str = "network";
/// A vault over whatever keychain belongs to the folder.
type AnyVault = Vault<Box<dyn Keychain + Send + Sync>>;

pub(crate) async fn run(words: WalletWords) -> Result<()> {
    // Before there is any secret in this process.
    sandbox::keep_memory_private().context("this system does not let a program keep its memory to itself")?;
    match words.command {
        WalletCommand::Create(arguments) => keys::create(&arguments),
        WalletCommand::Import(arguments) => keys::import(&arguments).await,
        WalletCommand::Address(arguments) => keys::address(&arguments),
        WalletCommand::Balance(arguments) => money::balance(&arguments).await,
        WalletCommand::History(arguments) => money::history(&arguments).await,
        WalletCommand::Send(arguments) => moves::send(&arguments).await,
        WalletCommand::Collect(arguments) => moves::collect(&arguments).await,
        WalletCommand::PayoutAddress(arguments) => payouts::payout_address(&arguments).await,
        WalletCommand::TakeBack(arguments) => payouts::take_back(&arguments).await,
        WalletCommand::Limit(arguments) => guards::limit(&arguments),
        WalletCommand::AutoLock(arguments) => guards::auto_lock(&arguments),
        WalletCommand::CheckWords(arguments) => guards::check_words(&arguments),
        WalletCommand::Delete(arguments) => guards::delete(&arguments).await,
    }
}

/// The keychain that the wallet of a data folder is kept with, and what people call it.
fn keychain(folder: &Path) -> (Box<dyn Keychain + Send + Sync>, &'static str) {
    if has_practice_wallet(folder) {
        (Box::new(PracticeKeychain::of(folder)), "a file beside it, since practice money is worth nothing")
    } else {
        (Box::new(OsKeychain::new()), OsKeychain::NAME)
    }
}

/// The vault of a data folder.
fn vault(folder: &Path) -> AnyVault {
    Vault::new(folder.join(WALLET), keychain(folder).0)
}

/// The folder for this process alone.
fn take(folder: &Path) -> Result<Folder> {
    Folder::take(folder).context("a wallet is used by one program at a time")
}

/// The same, where there need be none.
fn known_public(folder: &Path) -> Result<Option<Public>> {
    vault(folder).public().context("the wallet can't be read")
}

/// Whether practice has this folder.
fn is_practice(folder: &Path) -> bool {
    folder.join(PRACTICE).exists() || has_practice_wallet(folder)
}

/// What is known of the wallet in this folder while it is locked.
fn public(folder: &Path) -> Result<Public> {
    known_public(folder)?
        .with_context(|| format!("there is no wallet in {}; make one with `chrysalis wallet create`", folder.display()))
}

/// Refuses to go on where there is, or may be, a wallet already.
fn must_be_empty(folder: &Path) -> Result<()> {
    if is_practice(folder) {
        bail!(
            "the folder {} is practice's, which makes a wallet by itself; choose another one with --data",
            folder.display()
        );
    }
    let told = |public: &Public| address_text(&public.address(), public.network);
    match vault(folder).state()? {
        VaultState::None => Ok(()),
        VaultState::Locked(public) => bail!("there is a wallet already: {}", told(&public)),
        VaultState::NoKeychain(public, why) => bail!("there is a wallet already, {}, though {why}", told(&public)),
        VaultState::Orphaned(public) | VaultState::Replaced(public) => bail!(
            "there is a wallet already, {}, and the keychain does not have its key; its words bring it back once the file {WALLET} is \
             moved away",
            told(&public)
        ),
        VaultState::Damaged(why) => bail!("something stands where the wallet would be, and {why}; move it away first"),
    }
}

/// What a keychain's failure means for somebody who wants a new wallet.
fn offer_password(error: &KeychainError) -> anyhow::Error {
    anyhow::anyhow!(
        "{error}; nothing was saved. A password alone can protect the wallet's file without any keychain: say --protect password if that is \
         what you want"
    )
}

/// The form of an address to give away.
fn address_text(address: &Address, network: Network) -> String {
    AddressText { address: *address, bounceable: false, testnet: network == Network::Test }.to_text()
}

/// A result, on standard output: one object, or lines for a person.
fn tell(json: bool, object: &Value, lines: &[String]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{object}")?;
    } else {
        for line in lines {
            writeln!(out, "{line}")?;
        }
    }
    Ok(out.flush()?)
}
