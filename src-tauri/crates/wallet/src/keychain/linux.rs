//! The Secret Service.

use super::KeychainError;
use keyring_core::api::CredentialStoreApi as _;
use keyring_core::{Entry, Error};
use secret_service::Error as Service;
use std::error::Error as StdError;
use zbus_secret_service_keyring_store::Store;

pub(super) const NAME: &str = "the keychain of this desktop (Secret Service)";

pub(super) fn entry(service: &str, user: &str) -> Result<Entry, KeychainError> {
    let store = Store::new().map_err(|error| why(&error))?;
    store.build(service, user, None).map_err(|error| why(&error))
}

/// What the failure means for the owner. Measured with GNOME Keyring (tests/it/secret_service.rs).
pub(super) fn why(error: &Error) -> KeychainError {
    let service = match error {
        Error::NoStorageAccess(inner) | Error::PlatformFailure(inner) => inner.downcast_ref::<Service>(),
        _ => None,
    };
    match service {
        Some(Service::Locked | Service::Prompt) => KeychainError::Locked,
        Some(Service::PromptDisconnected) => {
            KeychainError::Failed { why: "the keychain went away while it asked for its password".to_owned() }
        }
        Some(Service::NoResult) => KeychainError::Absent {
            missing: "the Secret Service has no default keyring; make one in this desktop's program for passwords",
        },
        Some(Service::Unavailable) => KeychainError::Absent { missing: NO_BUS },
        Some(Service::Zbus(error)) => of_bus(error),
        _ => KeychainError::Failed { why: whole(error) },
    }
}

const NO_BUS: &str = "there is no session bus, as there is in a desktop's session";

fn of_bus(error: &zbus::Error) -> KeychainError {
    let name = match error {
        zbus::Error::MethodError(name, ..) => name.as_str(),
        zbus::Error::FDO(error) => match **error {
            zbus::fdo::Error::ServiceUnknown(_) => "org.freedesktop.DBus.Error.ServiceUnknown",
            _ => "",
        },
        zbus::Error::Address(_) | zbus::Error::Connection(..) | zbus::Error::Handshake(_) => {
            return KeychainError::Absent { missing: NO_BUS };
        }
        _ => "",
    };
    match name {
        "org.freedesktop.DBus.Error.ServiceUnknown" | "org.freedesktop.DBus.Error.NameHasNoOwner" => {
            KeychainError::Absent { missing: "no Secret Service runs, such as GNOME Keyring, KWallet or KeePassXC" }
        }
        "org.freedesktop.Secret.Error.IsLocked" => KeychainError::Locked,
        _ => KeychainError::Failed { why: whole(error) },
    }
}

/// The error and its causes.
fn whole(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
