//! What a vault asks of a keychain: one random key per wallet file is kept there.

use zeroize::Zeroizing;

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
