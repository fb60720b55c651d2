//! The full name under which a model is served.

use std::fmt;
use std::str::FromStr;

/// Longest name that is read, in bytes.
const MAX_NAME: usize = 512;

/// `base@commit:hash`. Requests and routing use the base name; commit and hash say which files exactly are meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelName {
    /// Everything before the first `@`.
    pub base: String,
    /// What stands between `@` and `:`.
    pub commit: Option<String>,
    /// What stands behind the `:`.
    pub hash: Option<String>,
}

/// Why a text is no model's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ModelNameError {
    /// No base name, or an empty commit or hash.
    #[error("a part of the model's name is empty: it should be BASE, BASE@COMMIT or BASE@COMMIT:HASH")]
    EmptyPart,
    /// Too long.
    #[error("the model's name has {length} bytes, at most {MAX_NAME} are admitted")]
    TooLong {
        /// Bytes of the text.
        length: usize,
    },
}

impl FromStr for ModelName {
    type Err = ModelNameError;

    fn from_str(text: &str) -> Result<Self, ModelNameError> {
        if text.len() > MAX_NAME {
            return Err(ModelNameError::TooLong { length: text.len() });
        }
        let (base, files) = match text.split_once('@') {
            Some((base, files)) => (base, Some(files)),
            None => (text, None),
        };
        let (commit, hash) = match files.map(|files| files.split_once(':').map_or((files, None), |(c, h)| (c, Some(h))))
        {
            Some((commit, hash)) => (Some(commit), hash),
            None => (None, None),
        };
        if base.is_empty() || commit.is_some_and(str::is_empty) || hash.is_some_and(str::is_empty) {
            return Err(ModelNameError::EmptyPart);
        }
        Ok(Self { base: base.to_owned(), commit: commit.map(str::to_owned), hash: hash.map(str::to_owned) })
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)?;
        if let Some(commit) = &self.commit {
            write!(f, "@{commit}")?;
            if let Some(hash) = &self.hash {
                write!(f, ":{hash}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_written_as_it_was_read() {
        for text in ["Qwen/Qwen3-8B", "a@b", "Qwen/Qwen3-8B@abc123:0011", "odd:base@c:h:i@j"] {
            assert_eq!(text.parse::<ModelName>().unwrap().to_string(), text);
        }
        let name: ModelName = "odd:base@c:h:i@j".parse().unwrap();
        assert_eq!(
            (name.base.as_str(), name.commit.as_deref(), name.hash.as_deref()),
            ("odd:base", Some("c"), Some("h:i@j"))
        );
    }

    #[test]
    fn empty_parts_and_endless_names_are_refused() {
        for text in ["", "@c:h", "b@", "b@:h", "b@c:"] {
            assert_eq!(text.parse::<ModelName>(), Err(ModelNameError::EmptyPart), "{text}");
        }
        assert_eq!("x".repeat(513).parse::<ModelName>(), Err(ModelNameError::TooLong { length: 513 }));
    }
}
