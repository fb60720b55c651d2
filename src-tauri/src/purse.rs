//! The wallet of practice: made by itself, with words of its own, signing what practice sends. Its money is worth nothing, so the key that
//! opens its file lies beside it, and nobody has to answer a keychain before anything can be tried.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, bail};
use node::run::cashier::Signer;
use ton::{Address, Network, Unsigned, WalletContract, WalletVersion};
use wallet::{
    FileError, Keychain, KeychainError, Protection, Save, Scheme, Vault, VaultState, Wallet, Words, WrappingKey,
};
use zeroize::Zeroizing;

/// The wallet's file in a data folder.
pub(crate) const WALLET: &str = "wallet";
const KEY: &str = "practice-wallet-key";
/// The number of the key, and the key.
const LENGTH: usize = 16 + 32;

/// A keychain of one key, in a file. For practice only.
pub(crate) struct PracticeKeychain(PathBuf);

impl PracticeKeychain {
    /// In this folder.
    pub(crate) fn of(data: &Path) -> Self {
        Self(data.join(KEY))
    }

    fn failed(what: &str, error: &std::io::Error) -> KeychainError {
        KeychainError::Failed { why: format!("{what} the practice wallet's key: {error}") }
    }
}

impl Keychain for PracticeKeychain {
    fn read(&self, id: &[u8; 16]) -> Result<Option<WrappingKey>, KeychainError> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(LENGTH + 1));
        match File::open(&self.0) {
            Ok(file) => file
                .take(LENGTH as u64 + 1)
                .read_to_end(&mut bytes)
                .map_err(|error| Self::failed("reading", &error))
                .map(drop)?,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Self::failed("opening", &error)),
        }
        match bytes.split_first_chunk::<16>() {
            Some((found, key)) if found == id => WrappingKey::from_bytes(key).map(Some).ok_or(KeychainError::Form),
            Some(_) => Ok(None),
            None => Err(KeychainError::Form),
        }
    }

    fn write(&self, id: &[u8; 16], key: &WrappingKey) -> Result<(), KeychainError> {
        let draft = self.0.with_extension("new");
        let written = private(&draft).and_then(|mut file| {
            file.write_all(id)?;
            file.write_all(key.bytes())?;
            file.sync_all()?;
            std::fs::rename(&draft, &self.0)
        });
        written.map_err(|error| Self::failed("writing", &error))
    }

    fn delete(&self, _id: &[u8; 16]) -> Result<(), KeychainError> {
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Self::failed("deleting", &error)),
            _ => Ok(()),
        }
    }
}

/// A new file for its owner alone; on Windows the folder sees to that.
fn private(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Whether practice has made its wallet in this folder.
pub(crate) fn has_practice_wallet(data: &Path) -> bool {
    data.join(KEY).exists()
}

/// The vault of practice in this folder.
pub(crate) fn practice_vault(data: &Path) -> Vault<PracticeKeychain> {
    Vault::new(data.join(WALLET), PracticeKeychain::of(data))
}

/// A wallet that signs while it is open.
pub(crate) struct Purse {
    contract: WalletContract,
    wallet: Mutex<Option<Wallet>>,
}

impl Purse {
    /// The wallet of practice in this folder, made if there is none. Takes a moment of the processor.
    pub(crate) fn of_practice(data: &Path) -> Result<Self> {
        let vault = practice_vault(data);
        match vault.state().context("the practice wallet")? {
            VaultState::None => make(&vault).context("the practice wallet can't be made")?,
            VaultState::Locked(_) => {}
            VaultState::Orphaned(public) | VaultState::Replaced(public) if public.network == Network::Main => bail!(
                "the folder {} has a wallet of the main network, so it is not practice's; choose another one with --data",
                data.display()
            ),
            VaultState::Damaged(error @ FileError::Newer { .. }) => {
                bail!(
                    "the practice wallet does not open: {error}; a newer Chrysalis made it, or choose another folder with --data"
                )
            }
            VaultState::Damaged(_) | VaultState::Orphaned(_) | VaultState::Replaced(_) => {
                // Worth nothing, and kept all the same.
                let aside = vault.set_aside().context("the practice wallet")?;
                tracing::warn!(aside = %aside.display(), "the practice wallet does not open; practice begins with a new one");
                make(&vault).context("the practice wallet can't be made")?;
            }
            VaultState::NoKeychain(_, why) => bail!("the practice wallet does not open: {why}"),
        }
        let wallet = vault.unlock(None).context("the practice wallet does not open")?;
        Ok(Self { contract: wallet.contract(), wallet: Mutex::new(Some(wallet)) })
    }

    /// Its contract.
    pub(crate) fn contract(&self) -> WalletContract {
        self.contract
    }

    /// Where it lives.
    pub(crate) fn address(&self) -> Address {
        self.contract.address()
    }

    /// Forgets the key.
    pub(crate) fn lock(&self) {
        *self.opened() = None;
    }

    /// Takes the key again; another wallet's is not taken.
    pub(crate) fn unlock(&self, wallet: Wallet) {
        if wallet.contract() == self.contract {
            *self.opened() = Some(wallet);
        }
    }

    /// Whether it signs nothing now.
    pub(crate) fn is_locked(&self) -> bool {
        self.opened().is_none()
    }

    fn opened(&self) -> MutexGuard<'_, Option<Wallet>> {
        self.wallet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Signer for Purse {
    fn sign(&self, unsigned: &Unsigned) -> Result<[u8; 64], String> {
        let opened = self.opened();
        let wallet = opened.as_ref().ok_or("the wallet is locked")?;
        wallet.signature(unsigned).map_err(|error| error.to_string())
    }
}

/// Makes new words and saves them.
pub(crate) fn make(vault: &Vault<PracticeKeychain>) -> Result<()> {
    let words = Words::generate()?;
    let candidates = words.candidates(Network::Test);
    let chosen = candidates
        .into_iter()
        .find(|candidate| candidate.scheme == Scheme::Ton && candidate.contract.version == WalletVersion::V5R1)
        .context("the words have no wallet of today")?;
    let save = Save {
        words: &words,
        candidate: chosen,
        network: Network::Test,
        protection: Protection::Keychain,
        password: None,
    };
    vault.save(&save)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_practice_wallet_is_made_once_and_one_that_does_not_open_is_kept_aside() {
        let folder = tempfile::tempdir().unwrap();
        let first = Purse::of_practice(folder.path()).unwrap().address();
        assert_eq!(Purse::of_practice(folder.path()).unwrap().address(), first);
        std::fs::remove_file(folder.path().join(KEY)).unwrap();
        let second = Purse::of_practice(folder.path()).unwrap().address();
        assert_ne!(second, first);
        for damaged in [&b""[..], &[7; 9], &[7; LENGTH], &[7; LENGTH + 1]] {
            std::fs::write(folder.path().join(KEY), damaged).unwrap();
            assert_ne!(Purse::of_practice(folder.path()).unwrap().address(), second);
        }
        let asides = std::fs::read_dir(folder.path()).unwrap().flatten();
        assert_eq!(asides.filter(|entry| entry.file_name().to_string_lossy().contains("aside")).count(), 5);
    }

    #[test]
    fn practice_never_moves_a_wallet_of_the_main_network() {
        let folder = tempfile::tempdir().unwrap();
        let vault = practice_vault(folder.path());
        let words = Words::generate().unwrap();
        let candidate = words.candidates(Network::Main).remove(0);
        let save =
            Save { words: &words, candidate, network: Network::Main, protection: Protection::Keychain, password: None };
        vault.save(&save).unwrap();
        // As if its key were in the system's keychain.
        std::fs::remove_file(folder.path().join(KEY)).unwrap();
        let before = std::fs::read(folder.path().join(WALLET)).unwrap();
        let Err(error) = Purse::of_practice(folder.path()) else { panic!("practice took it") };
        assert!(error.to_string().contains("choose another one"), "{error}");
        assert_eq!(std::fs::read(folder.path().join(WALLET)).unwrap(), before);
    }

    #[test]
    fn practice_never_moves_a_wallet_of_a_newer_program() {
        let folder = tempfile::tempdir().unwrap();
        drop(Purse::of_practice(folder.path()).unwrap());
        let path = folder.path().join(WALLET);
        let mut newer = std::fs::read(&path).unwrap();
        // The byte after the eight that say what kind of file it is.
        newer[8] = 200;
        std::fs::write(&path, &newer).unwrap();
        let Err(error) = Purse::of_practice(folder.path()) else { panic!("practice took it") };
        assert!(error.to_string().contains("newer"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), newer);
    }

    #[cfg(unix)]
    #[test]
    fn its_key_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        drop(Purse::of_practice(folder.path()).unwrap());
        for name in [KEY, WALLET] {
            let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{name}");
        }
    }
}
