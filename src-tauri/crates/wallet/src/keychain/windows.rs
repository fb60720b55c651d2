//! The Credential Manager, with entries that stay on this machine.

use super::KeychainError;
use keyring_core::api::CredentialStoreApi as _;
use keyring_core::{Entry, Error};
use std::collections::HashMap;
use windows_native_keyring_store::Store;

pub(super) const NAME: &str = "Windows Credential Manager";

pub(super) fn entry(service: &str, user: &str) -> Result<Entry, KeychainError> {
    let store = Store::new().map_err(|error| why(&error))?;
    // Unless told so, entries would roam with the owner's domain profile.
    let local = HashMap::from([("persistence", "Local")]);
    store.build(service, user, Some(&local)).map_err(|error| why(&error))
}

pub(super) fn why(error: &Error) -> KeychainError {
    match error {
        Error::NoStorageAccess(_) => {
            KeychainError::Absent { missing: "Windows gives this session no Credential Manager" }
        }
        _ => KeychainError::Failed { why: error.to_string() },
    }
}
