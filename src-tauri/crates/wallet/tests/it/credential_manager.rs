//! Windows' Credential Manager, a real one or Wine's.

use ton::Network;
use wallet::{Keychain as _, OsKeychain, Protection, Save, Vault, VaultError, VaultState, Words, WrappingKey};

#[test]
fn credential_manager_keeps_a_key_and_forgets_it() {
    let (keychain, id) = (OsKeychain::new(), [0xc1; 16]);
    keychain.delete(&id).unwrap();
    assert!(keychain.read(&id).unwrap().is_none());
    for byte in [7, 8] {
        keychain.write(&id, &WrappingKey::from_bytes(&[byte; 32]).unwrap()).unwrap();
        assert_eq!(keychain.read(&id).unwrap().unwrap().bytes(), [byte; 32]);
    }
    keychain.delete(&id).unwrap();
    keychain.delete(&id).unwrap();
    assert!(keychain.read(&id).unwrap().is_none());
}

#[test]
fn a_wallet_lives_in_credential_manager() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::new(folder.path().join("wallet"), OsKeychain::new());
    let words = Words::generate().unwrap();
    let candidate = words.candidates(Network::Main)[0];
    let save =
        Save { words: &words, candidate, network: Network::Main, protection: Protection::Keychain, password: None };
    let public = vault.save(&save).unwrap();
    assert_eq!(vault.state(), Ok(VaultState::Locked(public)));
    assert_eq!(vault.unlock(None).ok().unwrap().address(), candidate.address);
    assert_eq!(vault.save(&save), Err(VaultError::Exists));
    assert_eq!(vault.delete(public.address()), Ok(None));
    assert_eq!(vault.state(), Ok(VaultState::None));
}
