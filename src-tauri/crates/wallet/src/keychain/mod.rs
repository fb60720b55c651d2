//! Where one random key per wallet file is kept: what a vault asks of a keychain, and the keychain of this system.
//!
//! Linux: the Secret Service (GNOME Keyring, KWallet, KeePassXC) over D-Bus, without C. Windows: the Credential Manager, on this
//! machine only. Whatever asks the owner, to unlock or to allow, may take as long as the owner does, so every call has a deadline.

use std::sync::mpsc;
use std::time::Duration;
use zeroize::Zeroizing;

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(windows, path = "windows.rs")]
mod system;

/// What the entries belong to.
const SERVICE: &str = "Chrysalis wallet";
/// How long a call may take: there may be a password to be typed.
const PATIENCE: Duration = Duration::from_mins(2);

/// The random key that wraps a wallet file: never printed, wiped when dropped.
pub struct WrappingKey(Zeroizing<[u8; 32]>);

impl WrappingKey {
    pub(crate) fn random() -> Result<Self, KeychainError> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut_slice())
            .map_err(|_| KeychainError::Failed { why: "the system gives no random numbers".to_owned() })?;
        Ok(Self(bytes))
    }

    /// A key as a keychain gives it: 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; 32] = bytes.try_into().ok()?;
        Some(Self(Zeroizing::new(bytes)))
    }

    /// The bytes, for a keychain to keep.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// Why a keychain does not give or keep.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeychainError {
    /// There is none.
    #[error("no keychain answers: {missing}")]
    Absent {
        /// What is missing.
        missing: &'static str,
    },
    /// It is locked, and unlocking it was not possible or was refused.
    #[error("the keychain is locked, or the question whether to open it was dismissed")]
    Locked,
    /// Nobody answered in time, neither the keychain nor the owner it may have asked.
    #[error("the keychain did not answer within {seconds} seconds; it may be asking something")]
    NoAnswer {
        /// How long it was waited.
        seconds: u64,
    },
    /// Something of another form stands where the key should be.
    #[error("the keychain's entry is no key of this program")]
    Form,
    /// Anything else.
    #[error("the keychain failed: {why}")]
    Failed {
        /// In its words.
        why: String,
    },
}

/// Keeps wrapping keys under numbers.
pub trait Keychain {
    /// The key under this number; `None` if the keychain answers and has none.
    fn read(&self, id: &[u8; 16]) -> Result<Option<WrappingKey>, KeychainError>;
    /// Keeps a key.
    fn write(&self, id: &[u8; 16], key: &WrappingKey) -> Result<(), KeychainError>;
    /// Forgets a key; fine if there is none.
    fn delete(&self, id: &[u8; 16]) -> Result<(), KeychainError>;
}

impl<K: Keychain + ?Sized> Keychain for Box<K> {
    fn read(&self, id: &[u8; 16]) -> Result<Option<WrappingKey>, KeychainError> {
        (**self).read(id)
    }

    fn write(&self, id: &[u8; 16], key: &WrappingKey) -> Result<(), KeychainError> {
        (**self).write(id, key)
    }

    fn delete(&self, id: &[u8; 16]) -> Result<(), KeychainError> {
        (**self).delete(id)
    }
}

/// The keychain of this system.
#[derive(Debug, Clone, Copy)]
pub struct OsKeychain {
    patience: Duration,
}

impl OsKeychain {
    /// What people call it.
    pub const NAME: &str = system::NAME;

    /// Waits two minutes for an answer.
    pub const fn new() -> Self {
        Self::with_patience(PATIENCE)
    }

    /// Waits this long for an answer, the owner's included.
    pub const fn with_patience(patience: Duration) -> Self {
        Self { patience }
    }

    /// Runs what may block in a thread of its own, which goes on alone when it was waited long enough: nobody can end a question
    /// that the system asks.
    fn within<T: Send + 'static>(
        self,
        task: impl FnOnce() -> Result<T, KeychainError> + Send + 'static,
    ) -> Result<T, KeychainError> {
        let (sender, receiver) = mpsc::channel();
        std::thread::Builder::new()
            .name("keychain".to_owned())
            .spawn(move || {
                // Fails when nobody waits any more.
                let _ = sender.send(task());
            })
            .map_err(|error| KeychainError::Failed { why: error.to_string() })?;
        match receiver.recv_timeout(self.patience) {
            Ok(answer) => answer,
            Err(mpsc::RecvTimeoutError::Timeout) => Err(KeychainError::NoAnswer { seconds: self.patience.as_secs() }),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                Err(KeychainError::Failed { why: "what asks it broke down".to_owned() })
            }
        }
    }
}

impl Default for OsKeychain {
    fn default() -> Self {
        Self::new()
    }
}

impl Keychain for OsKeychain {
    fn read(&self, id: &[u8; 16]) -> Result<Option<WrappingKey>, KeychainError> {
        let user = name(id);
        self.within(move || match system::entry(SERVICE, &user)?.get_secret() {
            Ok(secret) => {
                let secret = Zeroizing::new(secret);
                WrappingKey::from_bytes(&secret).map(Some).ok_or(KeychainError::Form)
            }
            Err(keyring_core::Error::NoEntry) => Ok(None),
            Err(error) => Err(system::why(&error)),
        })
    }

    fn write(&self, id: &[u8; 16], key: &WrappingKey) -> Result<(), KeychainError> {
        let user = name(id);
        let secret = key.0.clone();
        self.within(move || {
            system::entry(SERVICE, &user)?.set_secret(secret.as_slice()).map_err(|error| system::why(&error))
        })
    }

    fn delete(&self, id: &[u8; 16]) -> Result<(), KeychainError> {
        let user = name(id);
        self.within(move || match system::entry(SERVICE, &user)?.delete_credential() {
            Ok(()) | Err(keyring_core::Error::NoEntry) => Ok(()),
            Err(error) => Err(system::why(&error)),
        })
    }
}

/// The number in hex, as the system's own program for passwords shows it.
fn name(id: &[u8; 16]) -> String {
    id.iter().fold(String::with_capacity(32), |mut name, byte| {
        for nibble in [byte >> 4, byte & 15] {
            name.extend(char::from_digit(u32::from(nibble), 16));
        }
        name
    })
}
