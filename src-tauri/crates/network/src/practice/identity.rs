//! Who the practice proxy, its operator and its client are, from one run to the next: so what was counted when practice was paused is
//! signed when it goes on, and money on the embedded chain stays theirs. The keys are worth nothing, and are kept like ones that are.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::clock::random_bytes;
use crate::keys::SigningKey;

const NAME: &str = "practice-identity";
/// First byte of the file. Files of before the chain have none, and another length.
const FORM: u8 = 2;
/// Form, and the seeds of four keys.
const LENGTH: usize = 1 + 4 * 32;
const ACCOUNTS: &str = "practice-proxy.sqlite";
const PROXY_WALLET: &str = "practice-proxy-wallet.sqlite";
const CLIENT_WALLET: &str = "practice-client-wallet.sqlite";
const OWNER_WALLET: &str = "practice-owner-wallet.sqlite";

/// A key's seed. Wiped when dropped.
pub(super) type Seed = Zeroizing<[u8; 32]>;

/// See the module.
pub(super) struct Identity {
    seed: Seed,
    /// Of the wallet that the proxy pays with.
    pub(super) proxy_wallet: Seed,
    /// Of the wallet that owns the proxy and the network's root contract.
    pub(super) owner: Seed,
    /// Of the wallet that customers pay with.
    pub(super) client: Seed,
}

impl Identity {
    /// The one of the run before, or a new one with empty accounts if there is none that can be read.
    pub(super) fn take(data: &Path) -> io::Result<Self> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(LENGTH + 1));
        match File::open(data.join(NAME)) {
            Ok(file) => drop(file.take(LENGTH as u64 + 1).read_to_end(&mut bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let Some((FORM, seeds)) =
            bytes.split_first().filter(|_| bytes.len() == LENGTH).map(|(form, rest)| (*form, rest))
        else {
            return Self::renew(data);
        };
        let mut seeds = seeds.as_chunks::<32>().0.iter().copied().map(Zeroizing::new);
        match (seeds.next(), seeds.next(), seeds.next(), seeds.next()) {
            (Some(seed), Some(proxy_wallet), Some(owner), Some(client)) => {
                Ok(Self { seed, proxy_wallet, owner, client })
            }
            _ => Self::renew(data),
        }
    }

    /// A new one. Accounts of the one before belong to a key that is gone.
    pub(super) fn renew(data: &Path) -> io::Result<Self> {
        for file in [ACCOUNTS, PROXY_WALLET, CLIENT_WALLET, OWNER_WALLET] {
            for suffix in ["", "-wal", "-shm"] {
                match std::fs::remove_file(data.join(format!("{file}{suffix}"))) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        let new = || Zeroizing::new(random_bytes());
        let new = Self { seed: new(), proxy_wallet: new(), owner: new(), client: new() };
        // Whole or not at all, whenever the power goes.
        let draft = data.join(format!("{NAME}.new"));
        let mut file = private(&draft)?;
        file.write_all(&[FORM])?;
        for seed in [&new.seed, &new.proxy_wallet, &new.owner, &new.client] {
            file.write_all(&**seed)?;
        }
        file.sync_all()?;
        std::fs::rename(&draft, data.join(NAME))?;
        Ok(new)
    }

    /// The proxy's key.
    pub(super) fn key(&self) -> SigningKey {
        SigningKey::from_seed(&self.seed)
    }
}

/// Where the proxy's accounts are kept.
pub(super) fn accounts(data: &Path) -> PathBuf {
    data.join(ACCOUNTS)
}

/// Where the transfers of the proxy's wallet are kept.
pub(super) fn proxy_wallet(data: &Path) -> PathBuf {
    data.join(PROXY_WALLET)
}

/// Where the transfers of the customers' wallet are kept.
pub(super) fn client_wallet(data: &Path) -> PathBuf {
    data.join(CLIENT_WALLET)
}

/// Where the transfers of the owner's wallet are kept.
pub(super) fn owner_wallet(data: &Path) -> PathBuf {
    data.join(OWNER_WALLET)
}

/// A new file for its owner alone; on Windows the folder sees to that.
fn private(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(identity: &Identity) -> [[u8; 32]; 4] {
        [identity.key().public_key(), *identity.proxy_wallet, *identity.owner, *identity.client]
    }

    #[test]
    fn it_stays_until_it_is_renewed_or_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let first = facts(&Identity::take(folder.path()).unwrap());
        std::fs::write(accounts(folder.path()), b"owed").unwrap();
        assert_eq!(facts(&Identity::take(folder.path()).unwrap()), first);
        assert!(accounts(folder.path()).exists());
        let second = facts(&Identity::renew(folder.path()).unwrap());
        assert!(second.iter().all(|part| !first.contains(part)) && !accounts(folder.path()).exists());
        for wrong in [0, 1, 4 * 32, LENGTH - 1, LENGTH, LENGTH + 1, 1 << 20] {
            std::fs::write(folder.path().join(NAME), vec![7; wrong]).unwrap();
            let new = facts(&Identity::take(folder.path()).unwrap());
            assert_eq!(facts(&Identity::take(folder.path()).unwrap()), new, "{wrong}");
            assert!(new.iter().all(|part| *part != [7; 32]));
        }
    }

    #[cfg(unix)]
    #[test]
    fn its_file_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        drop(Identity::take(folder.path()).unwrap());
        let permissions = std::fs::metadata(folder.path().join(NAME)).unwrap().permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&permissions) & 0o777, 0o600);
    }
}
