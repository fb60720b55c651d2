//! Words and passwords on their way between the window and the app.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use specta::Type;
use zeroize::Zeroizing;

/// Longest secret that is taken, in bytes: a phrase with much space between its words.
const MAX: usize = 2_048;

/// A password, or words of a wallet. Can't be printed; wiped when dropped. It crosses to the page in one answer only, and in the
/// questions in which the owner typed it.
#[derive(PartialEq, Eq, Type)]
#[specta(type = String)]
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    /// A secret of its own.
    pub(crate) fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// What it is, for the wallet.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        if text.len() > MAX {
            // The message names neither the text nor its length.
            return Err(serde::de::Error::custom("a secret is too long"));
        }
        Ok(Self(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_crosses_as_text_and_one_that_is_too_long_is_refused_without_being_repeated() {
        let secret = Secret::new("abandon ability");
        let json = serde_json::to_string(&secret).unwrap();
        assert_eq!(json, "\"abandon ability\"");
        assert_eq!(serde_json::from_str::<Secret>(&json).unwrap().reveal(), "abandon ability");
        let long = serde_json::to_string(&"winner".repeat(1_000)).unwrap();
        let Err(error) = serde_json::from_str::<Secret>(&long) else { panic!("it was taken") };
        assert!(!error.to_string().contains("winner"));
    }
}
