//! `create`, `import`, `address`.

use std::io::{IsTerminal as _, Write as _};

use anyhow::{Context as _, Result, bail, ensure};
use node::folder::Folder;
use serde_json::{Value, json};
use ton::{Address, Network, WalletVersion};
use wallet::{Candidate, Keychain as _, Password, Protection, Public, Quiz, Save, Scheme, VaultError, Words};

use super::ask::Ask;
use super::{Payee, address_text, endpoints, guards, keychain, must_be_empty, offer_password, take, tell, vault};
use crate::cli::{AddressArguments, CreateArguments, ImportArguments};

/// How often the three words may be got wrong.
const TRIES: usize = 3;
/// Wipes a terminal, and what can be scrolled back to.
const CLEAR: &str = "\x1b[2J\x1b[3J\x1b[H";

pub(super) fn create(arguments: &CreateArguments) -> Result<()> {
    let ask = Ask::new();
    let folder = take(&arguments.data)?;
    must_be_empty(folder.path())?;
    let protection = arguments.protect.into();
    must_answer(&folder, protection)?;
    let words = Words::generate()?;
    show(&ask, &words)?;
    must_have_written_them_down(&ask, &words)?;
    let network = network(arguments.testnet);
    // Its own scheme and today's contract come first.
    let candidate = *words.candidates(network).first().context("new words have no wallet")?;
    let public = save(&ask, &folder, &words, candidate, network, protection)?;
    guards::has_words(folder.path(), &public.address())?;
    report(arguments.json, &public)
}

/// The words, once. They go where results go, so that a file or another program can take them.
fn show(ask: &Ask, words: &Words) -> Result<()> {
    ask.say("These words are the wallet. Whoever has them has the money; without them it is lost with this computer.")?;
    ask.say("Write them on paper, in their order. Nobody from us ever asks for them. They are shown only now.")?;
    let mut out = std::io::stdout().lock();
    for (number, word) in words.reveal().enumerate() {
        writeln!(out, "{:2} {word}", number + 1)?;
    }
    out.flush()?;
    if out.is_terminal() {
        ask.line("Press Enter when they are written down; they vanish from the screen")?;
        write!(out, "{CLEAR}")?;
        out.flush()?;
    }
    Ok(())
}

fn must_have_written_them_down(ask: &Ask, words: &Words) -> Result<()> {
    for left in (0..TRIES).rev() {
        let quiz = Quiz::drawn(words)?;
        let [first, second, third] = quiz.places();
        let answers = [
            ask.secret(&format!("Word {first}"))?,
            ask.secret(&format!("Word {second}"))?,
            ask.secret(&format!("Word {third}"))?,
        ];
        if quiz.passes(words, [&answers[0], &answers[1], &answers[2]]) {
            return Ok(());
        }
        if left > 0 {
            ask.say("Not these. Look at your paper; other three are asked now.")?;
        }
    }
    bail!("the words were not the ones shown; nothing was saved, so start again and write the new words down")
}

pub(super) async fn import(arguments: &ImportArguments) -> Result<()> {
    let ask = Ask::new();
    let folder = take(&arguments.data)?;
    must_be_empty(folder.path())?;
    let protection = arguments.protect.into();
    must_answer(&folder, protection)?;
    let chain = endpoints::chain_if_named(&arguments.chain)?;
    let text = ask.secret("The words of the wallet, in one line")?;
    let words = Words::parse(&text).context("nothing was saved")?;
    let scheme = scheme(&ask, &words, arguments.bip39)?;
    let network = network(arguments.testnet);
    let version = arguments.version.map(WalletVersion::from);
    let candidates: Vec<Candidate> = words
        .candidates(network)
        .into_iter()
        .filter(|candidate| {
            candidate.scheme == scheme && version.is_none_or(|version| candidate.contract.version == version)
        })
        .collect();
    ask.say("These words have the wallets:")?;
    for (number, candidate) in candidates.iter().enumerate() {
        let balance = match &chain {
            Some(chain) => match chain.account(candidate.address).await {
                Ok(account) => format!("  {}", account.balance),
                Err(error) => format!("  balance not known: {error}"),
            },
            None => String::new(),
        };
        let address = address_text(&candidate.address, network);
        ask.say(&format!("  {}  {:?}  {address}{balance}", number + 1, candidate.contract.version))?;
    }
    let said = ask.line("Number of the one to keep on this computer")?;
    let chosen = said.trim().parse::<usize>().ok().and_then(|number| candidates.get(number.checked_sub(1)?));
    let candidate = *chosen.context("that is none of the numbers; nothing was saved")?;
    let public = save(&ask, &folder, &words, candidate, network, protection)?;
    guards::has_words(folder.path(), &public.address())?;
    report(arguments.json, &public)
}

/// TON's own scheme where its checksum fits, unless the other is asked for by name; the other never without a word of the owner's.
fn scheme(ask: &Ask, words: &Words, bip39: bool) -> Result<Scheme> {
    let fits = |scheme| words.schemes().contains(&scheme);
    if bip39 {
        ensure!(fits(Scheme::Bip39), "these words fit TON's own scheme and not BIP39; leave out --bip39");
        return Ok(Scheme::Bip39);
    }
    if fits(Scheme::Ton) {
        return Ok(Scheme::Ton);
    }
    ask.yes("These words do not fit TON's own scheme. They fit BIP39, as hardware wallets and some others have it.")?;
    Ok(Scheme::Bip39)
}

pub(super) fn address(arguments: &AddressArguments) -> Result<()> {
    let payee = Payee::of(&arguments.data)?;
    let (Some(address), Some(network)) = (payee.address(), payee.network()) else {
        return super::public(&arguments.data).map(drop);
    };
    let text = |address: &Address| address_text(address, network);
    let Some(public) = payee.wallet else {
        let lines = [format!("Your payout address        {}", text(&address))];
        return tell(arguments.json, &payee.to_json(), &lines);
    };
    let mut object = described(&public);
    if let (Value::Object(members), Value::Object(more)) = (&mut object, payee.to_json()) {
        members.extend(more);
    }
    let mut lines = match payee.fee_wallet() {
        None => vec![text(&address)],
        Some(fee) => vec![
            format!("Your payout address        {}", text(&address)),
            format!("The worker's fee wallet    {}", text(&fee.address())),
        ],
    };
    lines.extend(remark(&public));
    lines.extend(payee.notice());
    tell(arguments.json, &object, &lines)
}

fn save(
    ask: &Ask,
    folder: &Folder,
    words: &Words,
    candidate: Candidate,
    network: Network,
    protection: Protection,
) -> Result<Public> {
    let password: Option<Password> = if protection.needs_password() { Some(ask.new_password()?) } else { None };
    let save = Save { words, candidate, network, protection, password: password.as_ref() };
    let public = vault(folder.path()).save(&save).map_err(|error| match error {
        VaultError::Keychain(error) => offer_password(&error),
        error => anyhow::Error::new(error).context("the wallet was not saved"),
    })?;
    ask.say(&format!("Saved, read back and compared; the key is in {}.", place(folder, protection)))?;
    Ok(public)
}

/// Asks the keychain before anything is shown or typed, so that nobody writes words down for nothing.
fn must_answer(folder: &Folder, protection: Protection) -> Result<()> {
    if protection.needs_keychain() {
        keychain(folder.path()).0.read(&[0; 16]).map(drop).map_err(|error| offer_password(&error))?;
    }
    Ok(())
}

fn place(folder: &Folder, protection: Protection) -> String {
    let name = keychain(folder.path()).1;
    match protection {
        Protection::Keychain => name.to_owned(),
        Protection::KeychainAndPassword => format!("{name} and behind the password"),
        Protection::Password => "the wallet's file, which the password alone protects".to_owned(),
    }
}

fn network(testnet: bool) -> Network {
    if testnet { Network::Test } else { Network::Main }
}

fn report(json: bool, public: &Public) -> Result<()> {
    let mut lines = vec![address_text(&public.address(), public.network)];
    lines.extend(remark(public));
    tell(json, &described(public), &lines)
}

fn remark(public: &Public) -> Option<String> {
    (public.network == Network::Test).then(|| "on the test network, where coins are worth nothing".to_owned())
}

fn described(public: &Public) -> Value {
    let (address, network) = (public.address(), public.network);
    json!({
        "address": address_text(&address, network),
        "raw": address.to_string(),
        "version": format!("{:?}", public.contract.version).to_lowercase(),
        "network": if network == Network::Main { "main" } else { "test" },
        "protection": match public.protection {
            Protection::Keychain => "keychain",
            Protection::KeychainAndPassword => "keychain_and_password",
            Protection::Password => "password",
        },
    })
}
