//! What the owner types.

use zeroize::Zeroizing;

/// A password: never printed, wiped when dropped.
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes it over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    pub(crate) fn characters(&self) -> usize {
        self.0.chars().count()
    }
}
