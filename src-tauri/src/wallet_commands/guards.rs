//! `limit`, `auto-lock`, `check-words` and `delete`: what guards a wallet, and how it leaves this computer.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use ton::{Address, Nanoton};
use wallet::{Quiz, Words};

use super::ask::Ask;
use super::{address_text, endpoints, moves, public, take, tell, vault};
use crate::cli::{AddressArguments, AutoLockArguments, DeleteArguments, LimitArguments};
use crate::rules::Rules;

/// How many of an address' last characters are typed before it is deleted.
const TYPED: usize = 4;

pub(super) fn limit(arguments: &LimitArguments) -> Result<()> {
    let data = arguments.data.as_path();
    public(data)?;
    if let Some(text) = &arguments.limit {
        let wanted = match text.as_str() {
            "none" => None,
            text => Some(Nanoton::from_coins(text).with_context(|| format!("{text} is no amount of TON"))?),
        };
        let folder = take(data)?;
        change(folder.path(), |rules| rules.daily_limit = wanted)?;
    }
    let limit = Rules::of(data)?.daily_limit;
    let line = match limit {
        Some(limit) => format!("At most {limit} may be sent within 24 hours."),
        None => "There is no limit on what may be sent within 24 hours.".to_owned(),
    };
    tell(arguments.json, &json!({ "limit_nanoton": limit.map(|limit| limit.0) }), &[line])
}

pub(super) fn auto_lock(arguments: &AutoLockArguments) -> Result<()> {
    let data = arguments.data.as_path();
    public(data)?;
    if let Some(text) = &arguments.after {
        let wanted = match text.as_str() {
            "never" => None,
            text => {
                let minutes = text.parse::<u64>().ok().filter(|minutes| (1..=100_000).contains(minutes));
                Some(minutes.with_context(|| format!("{text} is no number of minutes"))?.saturating_mul(60))
            }
        };
        let folder = take(data)?;
        change(folder.path(), |rules| rules.locks_after_s = wanted)?;
    }
    let after = Rules::of(data)?.locks_after_s;
    let line = match after {
        Some(after) => format!("The app locks the wallet after {} minutes without use.", after / 60),
        None => "The app does not lock the wallet by itself.".to_owned(),
    };
    tell(arguments.json, &json!({ "locks_after_seconds": after }), &[line])
}

pub(super) fn check_words(arguments: &AddressArguments) -> Result<()> {
    let ask = Ask::new();
    let public = public(&arguments.data)?;
    let folder = take(&arguments.data)?;
    must_have_the_words(&ask, folder.path(), public.protection.needs_password())?;
    has_words(folder.path(), &public.address())?;
    let object = json!({ "written_down": true });
    tell(arguments.json, &object, &["Right: these words bring the wallet back.".to_owned()])
}

pub(super) async fn delete(arguments: &DeleteArguments) -> Result<()> {
    let ask = Ask::new();
    let public = public(&arguments.data)?;
    let address = public.address();
    let text = address_text(&address, public.network);
    let chain = endpoints::chain_if_named(&arguments.chain)?;
    let folder = take(&arguments.data)?;
    moves::nothing_under_way(&folder)?;
    let balance = match &chain {
        Some(chain) => chain.account(address).await.ok().map(|account| account.balance),
        None => None,
    };
    ask.say(&format!("This deletes the wallet {text} from this computer."))?;
    ask.say(&match balance {
        Some(balance) => format!("There is {balance} in it, which stays on the chain for whoever has its words."),
        None => "What is in it is not known; it stays on the chain for whoever has its words.".to_owned(),
    })?;
    // What was signed for it and not fetched is money, too.
    let may_lose = balance != Some(Nanoton(0)) || moves::was_signed_for(&folder)?;
    let proved = Rules::of(folder.path())?.has_words_of(&address);
    if may_lose && !proved && !arguments.yes_i_have_the_words {
        ask.say("It was never checked here that you have its words, so three of them are asked.")?;
        must_have_the_words(&ask, folder.path(), public.protection.needs_password())?;
    }
    let last = text.get(text.len().saturating_sub(TYPED)..).unwrap_or_default();
    let typed = ask.line(&format!("Type the last {TYPED} characters of its address to delete it"))?;
    ensure!(typed.trim() == last, "these are not the last {TYPED} characters of {text}; nothing was deleted");
    if let Some(left) = vault(folder.path()).delete(address)? {
        ask.say(&format!("The keychain still has the key of the deleted file: {left}"))?;
    }
    tell(arguments.json, &json!({ "deleted": text }), &[format!("{text} is deleted from this computer.")])
}

/// Three words, asked once: whoever does not know them looks at the paper and comes back.
fn must_have_the_words(ask: &Ask, data: &std::path::Path, needs_password: bool) -> Result<()> {
    let password = if needs_password { Some(ask.password()?) } else { None };
    let words: Words = vault(data).words(password.as_ref()).context("the wallet stays locked")?;
    let quiz = Quiz::drawn(&words)?;
    let [first, second, third] = quiz.places();
    let answers = [
        ask.secret(&format!("Word {first}"))?,
        ask.secret(&format!("Word {second}"))?,
        ask.secret(&format!("Word {third}"))?,
    ];
    if !quiz.passes(&words, [&answers[0], &answers[1], &answers[2]]) {
        bail!("these are not the words; nothing was changed");
    }
    Ok(())
}

/// The owner has shown to have the words of this wallet.
pub(super) fn has_words(data: &std::path::Path, address: &Address) -> Result<()> {
    change(data, |rules| rules.written_down = Some(address.to_string()))
}

fn change(data: &std::path::Path, change: impl FnOnce(&mut Rules)) -> Result<()> {
    let mut rules = Rules::of(data)?;
    change(&mut rules);
    rules.write(data)
}
