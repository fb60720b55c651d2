//! Small rules of text that several formats share.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Hash;

/// An ASCII decimal without a sign and without zeros in front.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = text == "0" || !text.starts_with('0');
    if digits && canonical { text.parse().ok() } else { None }
}

/// The standard Base 64 of RFC 4648, section 4, padded; one text for the same bytes.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// See [`from_base64`].
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// A hash in Base 64.
pub(crate) fn hash_from_base64(text: &str) -> Option<Hash> {
    // 44 characters are 32 bytes; nothing longer is decoded.
    if text.len() == 44 { from_base64(text)?.try_into().ok() } else { None }
}
