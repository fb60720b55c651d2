//! Words: made, shown for as long as a screen is open, asked for, read in, deleted. They leave the vault in one answer only.

use tokio::sync::OwnedMutexGuard;
use ton::{Address, AddressText, Network};
use wallet::{Candidate, Protection, Quiz, Save, Scheme, Vault, VaultError, Words, WordsError};
use zeroize::Zeroizing;

use super::page::{public, trouble};
use super::{Desk, Inner, failed, forms, paid, seconds};
use crate::purse::{self, PracticeKeychain};
use crate::view::{
    ContractVersion, KeyPlace, Protect, ReadWords, Refusal, Revealed, Secret, SetAside, WalletCandidate, WordScheme,
};

/// Words that were read in are forgotten after so many seconds.
const READ_LASTS: u64 = 300;

/// Words that the owner typed and has not decided about.
pub(super) struct Read {
    name: String,
    words: Words,
    at: u64,
}

/// Forgets what the owner has left lying.
pub(super) fn forget_what_is_old(inner: &mut Inner, now: u64) {
    if inner.read.as_ref().is_some_and(|read| now.saturating_sub(read.at) > READ_LASTS) {
        inner.read = None;
    }
}

/// Work with the vault takes a moment of the processor, and with a keychain as long as its owner takes.
async fn beside<T: Send + 'static>(
    vault: Vault<PracticeKeychain>,
    work: impl FnOnce(&Vault<PracticeKeychain>) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(move || work(&vault)).await;
    done.unwrap_or_else(|_| Err(Refusal::Failed { why: "the wallet does not answer".to_owned() }))
}

impl Desk {
    /// Whether the key may be where the owner wants it.
    fn check_place(protect: &Protect) -> Result<(), Refusal> {
        if protect.place == KeyPlace::PracticeFile && protect.password.is_none() {
            return Ok(());
        }
        let why = "the practice wallet is worth nothing, so its key lies in a file; other places are for real ones";
        Err(Refusal::Failed { why: why.to_owned() })
    }

    /// The wallet's file for whoever changes it. `Err`: a session has it, from its start to its end.
    pub(super) fn nothing_runs(&self) -> Result<OwnedMutexGuard<()>, Refusal> {
        let why = "the wallet is in use; pause first";
        self.wallet_file().try_lock_owned().map_err(|_| Refusal::Failed { why: why.to_owned() })
    }

    pub(super) async fn create(&self, protect: &Protect) -> Result<(), Refusal> {
        Self::check_place(protect)?;
        let _file = self.nothing_runs()?;
        let made = beside(self.vault(), |vault| match vault.state() {
            Ok(wallet::VaultState::None) => purse::make(vault).map_err(|error| failed(&error)),
            Ok(_) => Err(Refusal::WalletExists),
            Err(error) => Err(refusal(&error)),
        });
        let made = made.await;
        self.inner().vault = None;
        made
    }

    /// The words and which of them will be asked.
    pub(super) async fn reveal(&self) -> Revealed {
        if self.inner().locked {
            return Revealed::No { refusal: Refusal::Locked };
        }
        let read = beside(self.vault(), |vault| {
            let words = vault.words(None).map_err(|error| refusal(&error))?;
            let quiz = Quiz::drawn(&words).map_err(|error| Refusal::Failed { why: error.to_string() })?;
            Ok((words.reveal().map(Secret::new).collect::<Vec<_>>(), quiz))
        });
        match read.await {
            Ok((words, quiz)) => {
                self.inner().quiz = Some(quiz);
                let places = quiz.places().iter().filter_map(|place| u32::try_from(*place).ok()).collect();
                Revealed::Words { words, places }
            }
            Err(refusal) => Revealed::No { refusal },
        }
    }

    pub(super) async fn quiz(&self, answers: &[Secret]) -> Result<(), Refusal> {
        let quiz = self.inner().quiz.ok_or(Refusal::TooLate)?;
        let [one, two, three] = answers else { return Err(Refusal::WrongWords) };
        let answers = [one, two, three].map(|answer| Zeroizing::new(answer.reveal().to_owned()));
        let address = beside(self.vault(), move |vault| {
            let words = vault.words(None).map_err(|error| refusal(&error))?;
            let [one, two, three] = &answers;
            if !quiz.passes(&words, [one, two, three]) {
                return Err(Refusal::WrongWords);
            }
            let state = vault.state().map_err(|error| refusal(&error))?;
            public(&state).map(|public| public.address()).ok_or(Refusal::NoWallet)
        });
        let address = address.await?;
        self.inner().quiz = None;
        self.change_rules(|rules| rules.written_down = Some(address.to_string()))
    }

    pub(super) async fn read_words(&self, text: Secret) -> ReadWords {
        let words = match Words::parse(text.reveal()) {
            Ok(words) => words,
            Err(WordsError::Unknown { place }) => {
                return ReadWords::Unknown { place: u32::try_from(place).unwrap_or(u32::MAX) };
            }
            Err(WordsError::Checksum) => return ReadWords::Checksum,
            Err(WordsError::Count { count }) => {
                return ReadWords::Count { count: u32::try_from(count).unwrap_or(u32::MAX) };
            }
            Err(error) => return ReadWords::No { refusal: Refusal::Failed { why: error.to_string() } },
        };
        drop(text);
        let made = tokio::task::spawn_blocking(move || {
            let candidates = words.candidates(Network::Test);
            (words, candidates)
        });
        let Ok((words, found)) = made.await else {
            return ReadWords::No { refusal: Refusal::Failed { why: "the wallet does not answer".to_owned() } };
        };
        let mut candidates = Vec::new();
        for (number, candidate) in found.iter().enumerate() {
            candidates.push(self.shown_candidate(number, candidate).await);
        }
        let now = seconds();
        let name = format!("{now}-{}", candidates.len());
        self.inner().read = Some(Read { name: name.clone(), words, at: now });
        ReadWords::Candidates { draft: name, candidates }
    }

    async fn shown_candidate(&self, number: usize, candidate: &Candidate) -> WalletCandidate {
        let balance = match self.session() {
            Ok((cashbox, _)) => cashbox.balance(candidate.address).await.ok().map(paid),
            Err(_) => None,
        };
        WalletCandidate {
            number: u32::try_from(number).unwrap_or(u32::MAX),
            scheme: match candidate.scheme {
                Scheme::Ton => WordScheme::Ton,
                Scheme::Bip39 => WordScheme::Bip39,
            },
            version: match candidate.contract.version {
                ton::WalletVersion::V5R1 => ContractVersion::V5R1,
                ton::WalletVersion::V4R2 => ContractVersion::V4R2,
                ton::WalletVersion::V3R2 => ContractVersion::V3R2,
            },
            address: forms(&candidate.address),
            balance,
        }
    }

    pub(super) async fn save_words(&self, draft: &str, candidate: u32, protect: &Protect) -> Result<(), Refusal> {
        Self::check_place(protect)?;
        let _file = self.nothing_runs()?;
        let read = self.inner().read.take_if(|read| read.name == draft).ok_or(Refusal::TooLate)?;
        let saved = beside(self.vault(), move |vault| {
            let candidates = read.words.candidates(Network::Test);
            let chosen = candidates.get(candidate as usize).copied().ok_or(Refusal::TooLate)?;
            let save = Save {
                words: &read.words,
                candidate: chosen,
                network: Network::Test,
                protection: Protection::Keychain,
                password: None,
            };
            vault.save(&save).map(drop).map_err(|error| refusal(&error))
        });
        let saved = saved.await;
        self.inner().vault = None;
        saved
    }

    pub(super) async fn unlock(&self) -> Result<(), Refusal> {
        let opened = beside(self.vault(), |vault| vault.unlock(None).map_err(|error| refusal(&error)));
        let opened = opened.await?;
        let mut inner = self.inner();
        match &inner.open {
            Some(open) if open.purse.address() == opened.address() => open.purse.unlock(opened),
            Some(_) => return Err(Refusal::KeyGone),
            None => {}
        }
        inner.locked = false;
        Ok(())
    }

    pub(super) async fn delete(&self, address: &str) -> Result<(), Refusal> {
        let _file = self.nothing_runs()?;
        let address: Address = AddressText::parse(address).map_err(|_| Refusal::NoWallet)?.address;
        if self.own().is_none() {
            return tokio::task::block_in_place(|| self.stop_watching());
        }
        let deleted = beside(self.vault(), move |vault| vault.delete(address).map_err(|error| refusal(&error)));
        let deleted = deleted.await;
        let mut inner = self.inner();
        inner.vault = None;
        inner.balance = None;
        match deleted? {
            Some(error) => Err(Refusal::Keychain { trouble: trouble(&error) }),
            None => Ok(()),
        }
    }

    pub(super) async fn set_aside(&self) -> SetAside {
        let _file = match self.nothing_runs() {
            Ok(file) => file,
            Err(refusal) => return SetAside::No { refusal },
        };
        let aside = beside(self.vault(), |vault| vault.set_aside().map_err(|error| refusal(&error)));
        let aside = aside.await;
        self.inner().vault = None;
        match aside {
            Ok(path) => SetAside::Moved { path: path.display().to_string() },
            Err(refusal) => SetAside::No { refusal },
        }
    }
}

fn refusal(error: &VaultError) -> Refusal {
    match error {
        VaultError::None => Refusal::NoWallet,
        VaultError::Exists => Refusal::WalletExists,
        VaultError::Keychain(error) => Refusal::Keychain { trouble: trouble(error) },
        VaultError::NotKept | VaultError::NotReadBack => Refusal::NotKept,
        VaultError::Orphaned => Refusal::KeyGone,
        other => Refusal::Failed { why: other.to_string() },
    }
}
