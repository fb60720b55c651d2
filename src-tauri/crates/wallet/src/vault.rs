//! Where a wallet is kept: one encrypted file, and in the keychain the key that opens it.

use crate::file::{self, FileError, Header, MAX_FILE, Protection, Public};
use crate::{Candidate, Keychain, KeychainError, Password, Wallet, Words, WrappingKey};
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use ton::{Address, Network, WalletContract};
use zeroize::Zeroizing;

/// Least characters of a password that stands alone before a file which may be copied.
pub const LEAST_PASSWORD: usize = 8;
/// What fails when the disk does.
const WRITING: &str = "writing the wallet file";
/// How many files may be set aside.
const MOST_ASIDE: u32 = 1_000;

/// What there is. Only [`VaultState::None`] may be taken for a new owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaultState {
    /// No file.
    None,
    /// A file, and all that opens it but a password.
    Locked(Public),
    /// A file whose key the keychain does not have, though it answers.
    Orphaned(Public),
    /// A file whose key was replaced by another in the keychain.
    Replaced(Public),
    /// A file whose key can't be asked for now: no keychain, or it is locked, or a question of its was dismissed.
    NoKeychain(Public, KeychainError),
    /// Something else stands where the file should be.
    Damaged(FileError),
}

/// Why the vault did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// There is no wallet.
    #[error("there is no wallet on this machine")]
    None,
    /// There is one already; it is never overwritten.
    #[error("there is a wallet already")]
    Exists,
    /// The keychain has no such key, though it answers.
    #[error("the keychain does not have the key of the wallet file; the recovery words bring the wallet back")]
    Orphaned,
    /// The keychain failed.
    #[error("{0}")]
    Keychain(#[from] KeychainError),
    /// What was given to the keychain did not come back.
    #[error("the keychain did not keep the key")]
    NotKept,
    /// What was written did not come back.
    #[error("the wallet file could not be read back as it was written; nothing is saved")]
    NotReadBack,
    /// The file is none, or does not open.
    #[error("{0}")]
    File(#[from] FileError),
    /// A password is needed and was not given, or the other way round.
    #[error("the wallet is protected by another combination of keychain and password")]
    Combination,
    /// It would be guessed.
    #[error("a password that stands alone needs {LEAST_PASSWORD} characters")]
    WeakPassword,
    /// The words are not those of the wallet that was chosen.
    #[error("the words have no wallet of this address")]
    OtherWords,
    /// The address that was to be deleted is not that of the wallet.
    #[error("the wallet has another address")]
    OtherAddress,
    /// The disk failed.
    #[error("{what}: {why}")]
    Io {
        /// What was done.
        what: &'static str,
        /// The system's words.
        why: String,
    },
}

/// What is to be saved.
pub struct Save<'a> {
    /// The words.
    pub words: &'a Words,
    /// Which of their wallets: the owner has seen its address.
    pub candidate: Candidate,
    /// On which network.
    pub network: Network,
    /// What shall stand between the file and its words.
    pub protection: Protection,
    /// The password, if there shall be one.
    pub password: Option<&'a Password>,
}

/// The place of one wallet.
pub struct Vault<K> {
    path: PathBuf,
    keychain: K,
}

impl<K: Keychain> Vault<K> {
    /// A vault whose file is, or will be, at this path; its folder must exist.
    pub const fn new(path: PathBuf, keychain: K) -> Self {
        Self { path, keychain }
    }

    /// What there is. The keychain is asked, so it may take as long as that does.
    pub fn state(&self) -> Result<VaultState, VaultError> {
        let Some(file) = self.read()? else { return Ok(VaultState::None) };
        let header = match Header::read(&file) {
            Ok(header) => header,
            Err(error) => return Ok(VaultState::Damaged(error)),
        };
        let public = header.public;
        if !public.protection.needs_keychain() {
            return Ok(VaultState::Locked(public));
        }
        Ok(match self.keychain.read(&header.key_id) {
            Ok(Some(key)) if header.is_key(&key) => VaultState::Locked(public),
            Ok(Some(_)) | Err(KeychainError::Form) => VaultState::Replaced(public),
            Ok(None) => VaultState::Orphaned(public),
            Err(why) => VaultState::NoKeychain(public, why),
        })
    }

    /// What is known of the wallet without its key; the keychain is not asked. `None`: there is no file.
    pub fn public(&self) -> Result<Option<Public>, VaultError> {
        let Some(file) = self.read()? else { return Ok(None) };
        Ok(Some(Header::read(&file)?.public))
    }

    /// Saves a wallet: the key to the keychain and read back, the file written whole, read back and opened. Whatever fails on the
    /// way, there is no file afterwards, and the caller still has the words.
    pub fn save(&self, save: &Save<'_>) -> Result<Public, VaultError> {
        let Save { words, candidate, network, protection, password } = save;
        if self.read()?.is_some() {
            return Err(VaultError::Exists);
        }
        if protection.needs_password() != password.is_some() {
            return Err(VaultError::Combination);
        }
        if let (Protection::Password, Some(password)) = (protection, password)
            && password.characters() < LEAST_PASSWORD
        {
            return Err(VaultError::WeakPassword);
        }
        let key = words.key(candidate.scheme);
        let contract = WalletContract::new(candidate.contract.version, *network, key.public());
        if !words.schemes().contains(&candidate.scheme) || contract.address() != candidate.address {
            return Err(VaultError::OtherWords);
        }
        let public = Public { contract, network: *network, protection: *protection };
        let id = file::random()?;
        let wrapping = if protection.needs_keychain() { Some(WrappingKey::random()?) } else { None };
        let kept = self.keep(&id, wrapping.as_ref()).and_then(|()| {
            let sealed = file::seal(words, candidate.scheme, public, id, wrapping.as_ref(), *password)?;
            self.write(&sealed)?;
            match self.comes_back(&sealed, words, *password) {
                Ok(()) => Ok(()),
                Err(error) => {
                    // It was made a moment ago by this very call, and the words are still in the caller's hands.
                    let _ = std::fs::remove_file(&self.path);
                    Err(error)
                }
            }
        });
        if let Err(error) = kept {
            // A key that opens nothing does no harm; a keychain that just failed is not asked once more.
            if wrapping.is_some() && !matches!(error, VaultError::Keychain(_)) {
                let _ = self.keychain.delete(&id);
            }
            return Err(error);
        }
        Ok(public)
    }

    /// Opens the wallet. Drop it to lock it.
    pub fn unlock(&self, password: Option<&Password>) -> Result<Wallet, VaultError> {
        let (words, scheme, header) = self.open(password)?;
        let key = words.key(scheme);
        if key.public() != header.public.contract.public_key {
            return Err(FileError::Opens.into());
        }
        Ok(Wallet::new(key, header.public.contract))
    }

    /// The words of the saved wallet, for the one screen that shows them.
    pub fn words(&self, password: Option<&Password>) -> Result<Words, VaultError> {
        self.open(password).map(|(words, ..)| words)
    }

    /// Gives the wallet another password, a first one, or none any more; it needs none where a keychain guards it. The keychain's key
    /// stays. The new file takes the old one's place in one step, after it was read back and opened, so there is always one that opens.
    pub fn change_password(&self, present: Option<&Password>, new: Option<&Password>) -> Result<Public, VaultError> {
        let (words, scheme, header) = self.open(present)?;
        let protection = match (header.public.protection, new) {
            (Protection::Password, None) => return Err(VaultError::Combination),
            (Protection::Password, Some(new)) if new.characters() < LEAST_PASSWORD => {
                return Err(VaultError::WeakPassword);
            }
            (Protection::Password, Some(_)) => Protection::Password,
            (_, Some(_)) => Protection::KeychainAndPassword,
            (_, None) => Protection::Keychain,
        };
        let key = self.wrapping_key(&header)?;
        let public = Public { protection, ..header.public };
        let sealed = file::seal(&words, scheme, public, header.key_id, key.as_ref(), new)?;
        let (back, ..) = file::open(&sealed, key.as_ref(), new)?;
        if back.text() != words.text() {
            return Err(VaultError::NotReadBack);
        }
        self.replace(&sealed)?;
        Ok(public)
    }

    /// Deletes the wallet of this address from this machine: the file, then its key. Without its words the wallet is lost.
    /// A keychain that does not answer keeps a key that opens nothing any more, and is told in the answer.
    pub fn delete(&self, address: Address) -> Result<Option<KeychainError>, VaultError> {
        let header = Header::read(&self.read()?.ok_or(VaultError::None)?)?;
        if header.public.address() != address {
            return Err(VaultError::OtherAddress);
        }
        std::fs::remove_file(&self.path).map_err(io("deleting the wallet file"))?;
        self.sync_folder()?;
        if !header.public.protection.needs_keychain() {
            return Ok(None);
        }
        Ok(self.keychain.delete(&header.key_id).err())
    }

    /// Moves a file that does not open out of the way and says where to. Nothing is deleted, neither file nor key.
    pub fn set_aside(&self) -> Result<PathBuf, VaultError> {
        if self.read()?.is_none() {
            return Err(VaultError::None);
        }
        for number in 1..=MOST_ASIDE {
            let mut name = self.path.as_os_str().to_owned();
            name.push(format!(".aside-{number}"));
            let aside = PathBuf::from(name);
            match aside.symlink_metadata() {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    std::fs::rename(&self.path, &aside).map_err(io("setting the wallet file aside"))?;
                    self.sync_folder()?;
                    return Ok(aside);
                }
                _ => {}
            }
        }
        Err(VaultError::Io {
            what: "setting the wallet file aside",
            why: format!("{MOST_ASIDE} others stand there already"),
        })
    }

    fn open(&self, password: Option<&Password>) -> Result<(Words, crate::Scheme, Header), VaultError> {
        let file = self.read()?.ok_or(VaultError::None)?;
        self.open_file(&file, password)
    }

    fn open_file(
        &self,
        file: &[u8],
        password: Option<&Password>,
    ) -> Result<(Words, crate::Scheme, Header), VaultError> {
        let header = Header::read(file)?;
        if header.public.protection.needs_password() != password.is_some() {
            return Err(VaultError::Combination);
        }
        let key = self.wrapping_key(&header)?;
        Ok(file::open(file, key.as_ref(), password)?)
    }

    /// The keychain's part of what opens a file, if it has one.
    fn wrapping_key(&self, header: &Header) -> Result<Option<WrappingKey>, VaultError> {
        if !header.public.protection.needs_keychain() {
            return Ok(None);
        }
        match self.keychain.read(&header.key_id) {
            Ok(Some(key)) => Ok(Some(key)),
            Ok(None) => Err(VaultError::Orphaned),
            Err(KeychainError::Form) => Err(FileError::OtherKey.into()),
            Err(error) => Err(error.into()),
        }
    }

    fn keep(&self, id: &[u8; 16], key: Option<&WrappingKey>) -> Result<(), VaultError> {
        let Some(key) = key else { return Ok(()) };
        self.keychain.write(id, key)?;
        match self.keychain.read(id)? {
            Some(kept) if kept.bytes() == key.bytes() => Ok(()),
            _ => Err(VaultError::NotKept),
        }
    }

    fn comes_back(&self, sealed: &[u8], words: &Words, password: Option<&Password>) -> Result<(), VaultError> {
        let file = self.read()?.ok_or(VaultError::NotReadBack)?;
        if file.as_slice() != sealed {
            return Err(VaultError::NotReadBack);
        }
        let (back, ..) = self.open_file(&file, password)?;
        if back.text() == words.text() { Ok(()) } else { Err(VaultError::NotReadBack) }
    }

    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    /// The file, or one byte more than such a file has of a longer one.
    fn read(&self) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let what = "reading the wallet file";
        match self.path.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(what)(error)),
            // A pipe would never end.
            Ok(metadata) if !metadata.is_file() => {
                return Err(VaultError::Io { what, why: "something else than a file stands there".to_owned() });
            }
            Ok(_) => {}
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE + 1));
        let file = File::open(&self.path).map_err(io(what))?;
        file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes).map_err(io(what))?;
        Ok(Some(bytes))
    }

    /// Writes beside and to the disk.
    fn beside(&self, bytes: &[u8]) -> Result<tempfile::NamedTempFile, VaultError> {
        let mut beside = tempfile::NamedTempFile::new_in(self.folder()).map_err(io(WRITING))?;
        beside.write_all(bytes).map_err(io(WRITING))?;
        beside.as_file().sync_all().map_err(io(WRITING))?;
        Ok(beside)
    }

    /// Puts another file in the place of the one that is there.
    fn replace(&self, bytes: &[u8]) -> Result<(), VaultError> {
        let beside = self.beside(bytes)?;
        if std::fs::read(beside.path()).map_err(io(WRITING))? != bytes {
            return Err(VaultError::NotReadBack);
        }
        beside.persist(&self.path).map_err(|error| io(WRITING)(error.error))?;
        self.sync_folder()
    }

    /// Under its name only where there is none yet.
    fn write(&self, bytes: &[u8]) -> Result<(), VaultError> {
        match self.beside(bytes)?.persist_noclobber(&self.path) {
            Ok(_) => self.sync_folder().inspect_err(|_| {
                // Made a moment ago by this very call.
                let _ = std::fs::remove_file(&self.path);
            }),
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Err(VaultError::Exists),
            Err(error) => Err(io(WRITING)(error.error)),
        }
    }

    /// So that the name survives a power cut. Windows has no such call for folders.
    fn sync_folder(&self) -> Result<(), VaultError> {
        if cfg!(unix) {
            let folder = File::open(self.folder()).map_err(io("opening the wallet's folder"))?;
            folder.sync_all().map_err(io("writing the wallet's folder"))?;
        }
        Ok(())
    }
}

fn io(what: &'static str) -> impl Fn(std::io::Error) -> VaultError {
    move |error| VaultError::Io { what, why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scheme;
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;

    const KNOWN: &str = "clown round unhappy actual inhale cricket exhaust barrel kingdom cinnamon apple mechanic steel cabbage mercy deputy two perfect nothing when spare maple crew one";

    /// A keychain in memory that fails on demand.
    #[derive(Default)]
    struct Memory {
        keys: RefCell<BTreeMap<[u8; 16], Vec<u8>>>,
        away: RefCell<Option<KeychainError>>,
        forgets: Cell<bool>,
    }

    impl Keychain for &Memory {
        fn read(&self, id: &[u8; 16]) -> Result<Option<WrappingKey>, KeychainError> {
            if let Some(error) = self.away.borrow().clone() {
                return Err(error);
            }
            match self.keys.borrow().get(id) {
                None => Ok(None),
                Some(bytes) => WrappingKey::from_bytes(bytes).map(Some).ok_or(KeychainError::Form),
            }
        }

        fn write(&self, id: &[u8; 16], key: &WrappingKey) -> Result<(), KeychainError> {
            if let Some(error) = self.away.borrow().clone() {
                return Err(error);
            }
            if !self.forgets.get() {
                self.keys.borrow_mut().insert(*id, key.bytes().to_vec());
            }
            Ok(())
        }

        fn delete(&self, id: &[u8; 16]) -> Result<(), KeychainError> {
            if let Some(error) = self.away.borrow().clone() {
                return Err(error);
            }
            self.keys.borrow_mut().remove(id);
            Ok(())
        }
    }

    fn save<'a>(words: &'a Words, protection: Protection, password: Option<&'a Password>) -> Save<'a> {
        let candidate = words.candidates(Network::Main)[0];
        Save { words, candidate, network: Network::Main, protection, password }
    }

    fn file_names(folder: &Path) -> Vec<String> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_wallet_is_saved_unlocked_shown_and_deleted_under_every_protection() {
        let words = Words::parse(KNOWN).unwrap();
        let password = Password::new("correct horse".to_owned());
        for protection in [Protection::Keychain, Protection::KeychainAndPassword, Protection::Password] {
            let (folder, memory) = (tempfile::tempdir().unwrap(), Memory::default());
            let vault = Vault::new(folder.path().join("wallet"), &memory);
            assert_eq!(vault.state(), Ok(VaultState::None));
            assert_eq!(vault.unlock(None).err(), Some(VaultError::None));
            let given = protection.needs_password().then_some(&password);
            let public = vault.save(&save(&words, protection, given)).unwrap();
            assert_eq!((vault.state(), vault.public()), (Ok(VaultState::Locked(public)), Ok(Some(public))));
            assert_eq!(memory.keys.borrow().len(), usize::from(protection.needs_keychain()));
            assert_eq!(file_names(folder.path()), ["wallet"], "something is left beside the file");
            let wallet = vault.unlock(given).ok().unwrap();
            assert_eq!(wallet.address(), words.candidates(Network::Main)[0].address);
            assert!(vault.words(given).ok().unwrap().text() == KNOWN);
            let other = Password::new("correct horsf".to_owned());
            if protection.needs_password() {
                assert_eq!(vault.unlock(Some(&other)).err(), Some(VaultError::File(FileError::Opens)));
                assert_eq!(vault.unlock(None).err(), Some(VaultError::Combination));
            } else {
                assert_eq!(vault.unlock(Some(&other)).err(), Some(VaultError::Combination));
            }
            assert_eq!(vault.save(&save(&words, protection, given)).err(), Some(VaultError::Exists));
            assert_eq!(vault.delete(Address { workchain: 0, hash: [1; 32] }), Err(VaultError::OtherAddress));
            assert_eq!(vault.delete(public.address()), Ok(None));
            assert_eq!(vault.state(), Ok(VaultState::None));
            assert!(memory.keys.borrow().is_empty() && file_names(folder.path()).is_empty());
        }
    }

    #[test]
    fn an_address_that_was_not_shown_or_a_password_that_guards_nothing_is_not_saved() {
        let (folder, memory) = (tempfile::tempdir().unwrap(), Memory::default());
        let vault = Vault::new(folder.path().join("wallet"), &memory);
        let words = Words::parse(KNOWN).unwrap();
        let mut other = save(&words, Protection::Keychain, None);
        other.network = Network::Test;
        assert_eq!(vault.save(&other), Err(VaultError::OtherWords));
        other.network = Network::Main;
        other.candidate.scheme = Scheme::Bip39;
        assert_eq!(vault.save(&other), Err(VaultError::OtherWords));
        let short = Password::new("seven77".to_owned());
        assert_eq!(vault.save(&save(&words, Protection::Password, Some(&short))), Err(VaultError::WeakPassword));
        assert_eq!(vault.save(&save(&words, Protection::Password, None)), Err(VaultError::Combination));
        assert_eq!(vault.save(&save(&words, Protection::Keychain, Some(&short))), Err(VaultError::Combination));
        assert!(memory.keys.borrow().is_empty() && file_names(folder.path()).is_empty());
    }

    #[test]
    fn a_password_is_changed_added_and_taken_away_and_the_wallet_stays() {
        type Step<'a> = (Protection, Option<&'a Password>, Option<&'a Password>, Result<Protection, VaultError>);
        let words = Words::parse(KNOWN).unwrap();
        let [first, second, short] =
            ["correct horse", "battery staple", "seven77"].map(|text| Password::new(text.to_owned()));
        let steps: [Step<'_>; 7] = [
            (Protection::Keychain, None, Some(&short), Ok(Protection::KeychainAndPassword)),
            (Protection::Keychain, None, None, Ok(Protection::Keychain)),
            (Protection::KeychainAndPassword, Some(&first), Some(&second), Ok(Protection::KeychainAndPassword)),
            (Protection::KeychainAndPassword, Some(&first), None, Ok(Protection::Keychain)),
            (Protection::Password, Some(&first), Some(&second), Ok(Protection::Password)),
            (Protection::Password, Some(&first), None, Err(VaultError::Combination)),
            (Protection::Password, Some(&first), Some(&short), Err(VaultError::WeakPassword)),
        ];
        for (protection, present, new, expected) in steps {
            let (folder, memory) = (tempfile::tempdir().unwrap(), Memory::default());
            let path = folder.path().join("wallet");
            let vault = Vault::new(path.clone(), &memory);
            let address = vault.save(&save(&words, protection, present)).unwrap().address();
            let before = std::fs::read(&path).unwrap();
            let wrong = Password::new("correct hors".to_owned());
            if present.is_some() {
                let refused = vault.change_password(Some(&wrong), new);
                assert_eq!(refused, Err(VaultError::File(FileError::Opens)));
                assert_eq!(vault.change_password(None, new), Err(VaultError::Combination));
            }
            assert_eq!(std::fs::read(&path).unwrap(), before);
            let changed = vault.change_password(present, new);
            assert_eq!(changed.as_ref().map(|public| public.protection), expected.as_ref().copied());
            let opens = if changed.is_ok() { new } else { present };
            assert_eq!(vault.unlock(opens).ok().unwrap().address(), address);
            if changed.is_ok() && new.is_some() {
                assert!(vault.unlock(present).is_err(), "the old one still opens it");
            }
            assert_eq!(file_names(folder.path()), ["wallet"], "something is left beside the file");
            assert_eq!(memory.keys.borrow().len(), usize::from(protection.needs_keychain()));
        }
    }

    #[test]
    fn where_the_keychain_does_not_keep_nothing_is_saved_and_nothing_else_is_tried() {
        let words = Words::parse(KNOWN).unwrap();
        let (folder, memory) = (tempfile::tempdir().unwrap(), Memory::default());
        let vault = Vault::new(folder.path().join("wallet"), &memory);
        memory.forgets.set(true);
        assert_eq!(vault.save(&save(&words, Protection::Keychain, None)), Err(VaultError::NotKept));
        for error in [KeychainError::Absent { missing: "a keychain" }, KeychainError::Locked] {
            memory.away.replace(Some(error.clone()));
            assert_eq!(vault.save(&save(&words, Protection::Keychain, None)), Err(VaultError::Keychain(error)));
        }
        assert!(memory.keys.borrow().is_empty() && file_names(folder.path()).is_empty());
        // The file with a password needs none.
        let password = Password::new("correct horse".to_owned());
        let public = vault.save(&save(&words, Protection::Password, Some(&password))).unwrap();
        assert_eq!(vault.state(), Ok(VaultState::Locked(public)));
    }

    #[test]
    fn a_file_without_its_key_is_never_taken_for_a_new_owner() {
        let words = Words::parse(KNOWN).unwrap();
        let (folder, memory) = (tempfile::tempdir().unwrap(), Memory::default());
        let vault = Vault::new(folder.path().join("wallet"), &memory);
        let public = vault.save(&save(&words, Protection::Keychain, None)).unwrap();
        let kept = memory.keys.take();
        assert_eq!(vault.state(), Ok(VaultState::Orphaned(public)));
        assert_eq!(vault.unlock(None).err(), Some(VaultError::Orphaned));
        assert_eq!(vault.save(&save(&words, Protection::Keychain, None)), Err(VaultError::Exists));
        for bytes in [vec![9; 32], vec![9; 31]] {
            memory.keys.replace(kept.keys().map(|id| (*id, bytes.clone())).collect());
            assert_eq!(vault.state(), Ok(VaultState::Replaced(public)));
            assert_eq!(vault.unlock(None).err(), Some(VaultError::File(FileError::OtherKey)));
        }
        memory.keys.replace(kept);
        for error in [
            KeychainError::Absent { missing: "a keychain" },
            KeychainError::Locked,
            KeychainError::NoAnswer { seconds: 1 },
        ] {
            memory.away.replace(Some(error.clone()));
            assert_eq!(vault.state(), Ok(VaultState::NoKeychain(public, error.clone())));
            assert_eq!(vault.unlock(None).err(), Some(VaultError::Keychain(error)));
        }
        memory.away.replace(None);
        assert_eq!(vault.unlock(None).ok().unwrap().address(), public.address());
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_not_deleted() {
        let words = Words::parse(KNOWN).unwrap();
        let (folder, memory) = (tempfile::tempdir().unwrap(), Memory::default());
        let path = folder.path().join("wallet");
        let vault = Vault::new(path.clone(), &memory);
        assert_eq!(vault.set_aside(), Err(VaultError::None));
        vault.save(&save(&words, Protection::Keychain, None)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in [0, 1, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(vault.state(), Ok(VaultState::Damaged(FileError::Length { length })));
            assert_eq!(vault.save(&save(&words, Protection::Keychain, None)), Err(VaultError::Exists));
            let aside = vault.set_aside().unwrap();
            assert_eq!(std::fs::read(aside).unwrap(), &whole[..length]);
            assert_eq!(vault.state(), Ok(VaultState::None));
        }
        std::fs::write(&path, vec![0; 1 << 20]).unwrap();
        assert_eq!(vault.state(), Ok(VaultState::Damaged(FileError::Length { length: MAX_FILE + 1 })));
        vault.set_aside().unwrap();
        // The words bring the wallet back, and the key of what was set aside is still there.
        vault.save(&save(&words, Protection::Keychain, None)).unwrap();
        assert_eq!(memory.keys.borrow().len(), 2);
        assert_eq!(file_names(folder.path()).len(), 5);
    }

    #[test]
    fn a_folder_in_the_files_place_is_said_and_left_alone() {
        let (folder, memory) = (tempfile::tempdir().unwrap(), Memory::default());
        let vault = Vault::new(folder.path().to_owned(), &memory);
        assert!(matches!(vault.state(), Err(VaultError::Io { .. })));
        let vault = Vault::new(folder.path().join("missing/wallet"), &memory);
        let words = Words::parse(KNOWN).unwrap();
        assert!(matches!(vault.save(&save(&words, Protection::Keychain, None)), Err(VaultError::Io { .. })));
        assert!(memory.keys.borrow().is_empty());
    }
}
