//! Who the practice proxy, its network and its client are, from one run to the next: so what was counted when practice was paused is
//! signed when it goes on. The key is worth nothing, and is kept like one that is.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use ton::Address;
use zeroize::Zeroizing;

use crate::clock::random_bytes;
use crate::keys::SigningKey;

const NAME: &str = "practice-identity";
/// Seed of the key, and the hashes of three addresses.
const LENGTH: usize = 4 * 32;
const ACCOUNTS: &str = "practice-proxy.sqlite";

/// See the module.
pub(super) struct Identity {
    seed: Zeroizing<[u8; 32]>,
    /// Who owns the proxy.
    pub(super) owner: Address,
    /// The network's root contract.
    pub(super) root_contract: Address,
    /// Who pays.
    pub(super) client: Address,
}

impl Identity {
    /// The one of the run before, or a new one with empty accounts if there is none that can be read.
    pub(super) fn take(data: &Path) -> io::Result<Self> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(LENGTH));
        match File::open(data.join(NAME)) {
            Ok(file) => drop(file.take(LENGTH as u64 + 1).read_to_end(&mut bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut parts = bytes.as_chunks::<32>().0.iter().copied();
        match (bytes.len(), parts.next(), parts.next(), parts.next(), parts.next()) {
            (LENGTH, Some(seed), Some(owner), Some(root), Some(client)) => Ok(Self::of(seed, owner, root, client)),
            _ => Self::renew(data),
        }
    }

    /// A new one. Accounts of the one before belong to a key that is gone.
    pub(super) fn renew(data: &Path) -> io::Result<Self> {
        for suffix in ["", "-wal", "-shm"] {
            match std::fs::remove_file(data.join(format!("{ACCOUNTS}{suffix}"))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let new = Self::of(random_bytes(), random_bytes(), random_bytes(), random_bytes());
        // Whole or not at all, whenever the power goes.
        let draft = data.join(format!("{NAME}.new"));
        let mut file = private(&draft)?;
        for part in [&*new.seed, &new.owner.hash, &new.root_contract.hash, &new.client.hash] {
            file.write_all(part)?;
        }
        file.sync_all()?;
        std::fs::rename(&draft, data.join(NAME))?;
        Ok(new)
    }

    fn of(seed: [u8; 32], owner: [u8; 32], root: [u8; 32], client: [u8; 32]) -> Self {
        let address = |hash| Address { workchain: 0, hash };
        Self {
            seed: Zeroizing::new(seed),
            owner: address(owner),
            root_contract: address(root),
            client: address(client),
        }
    }

    /// The proxy's key.
    pub(super) fn key(&self) -> SigningKey {
        SigningKey::from_seed(&self.seed)
    }
}

/// Where the proxy's accounts are kept.
pub(super) fn accounts(data: &Path) -> std::path::PathBuf {
    data.join(ACCOUNTS)
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
        [identity.key().public_key(), identity.owner.hash, identity.root_contract.hash, identity.client.hash]
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
        for wrong in [0, 1, LENGTH - 1, LENGTH + 1, 1 << 20] {
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
