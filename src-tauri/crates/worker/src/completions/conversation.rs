//! Whose conversation a request belongs to, as far as that can be known.
//!
//! Nothing in the protocol tells a worker who asks: the proxy hides its clients, ids are drawn anew for every request, and the
//! whitelist admits no field for a user. So two requests belong together only if the client says so, in a header that other workers
//! pass over, with a key that nobody else can know.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use zeroize::Zeroize;

/// The header, in any capitals.
pub const CONVERSATION_HEADER: &str = "x-conversation-key";

/// Shortest key in bytes: a random one of hexadecimal digits cannot be guessed then.
pub const MIN_CONVERSATION_KEY: usize = 32;

/// Longest key in bytes.
pub const MAX_CONVERSATION_KEY: usize = 128;

/// Fewest different characters of a key: less is not drawn at random, and others may come to the same. Of ten million random keys
/// of 32 hexadecimal digits less than one has so few.
const MIN_CONVERSATION_CHARACTERS: usize = 8;

/// A key, hashed. Whoever has it can find out by timing what was said, so it can't be printed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConversationKey([u8; 32]);

impl Drop for ConversationKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// The key among a request's headers. One that is too short, too long, of too few different characters or not of visible ASCII
/// characters is none, nor are two.
pub fn conversation_key<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> Option<ConversationKey> {
    let mut keys = headers.filter(|(name, _)| name.eq_ignore_ascii_case(CONVERSATION_HEADER));
    let (_, key) = keys.next()?;
    let key = key.trim();
    let fits = (MIN_CONVERSATION_KEY..=MAX_CONVERSATION_KEY).contains(&key.len());
    if keys.next().is_some() || !fits || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    if key.bytes().collect::<BTreeSet<u8>>().len() < MIN_CONVERSATION_CHARACTERS {
        return None;
    }
    Some(ConversationKey(Sha256::digest(key).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_long_enough_visible_and_the_only_one() {
        let key = "0123456789abcdef0123456789abcdef";
        let of = |headers: &[(&'static str, &'static str)]| conversation_key(headers.iter().copied());
        let found = of(&[("content-type", "x"), ("X-Conversation-Key", key)]);
        assert!(found.is_some() && found == of(&[("x-conversation-key", key)]));
        assert!(found != of(&[("x-conversation-key", "0123456789abcdef0123456789abcdeF")]));
        assert!(of(&[("authorization", key)]).is_none());
        assert!(of(&[("x-conversation-key", &key[1..])]).is_none(), "too short");
        assert!(of(&[("x-conversation-key", key), ("x-conversation-key", key)]).is_none());
        assert!(of(&[("x-conversation-key", "0123456789abcdef 0123456789abcdef")]).is_none());
        assert!(of(&[("x-conversation-key", "00000000000000000000000000000000")]).is_none());
        assert!(of(&[("x-conversation-key", "0123456012345601234560123456012345")]).is_none(), "seven are too few");
        assert!(of(&[("x-conversation-key", "0123456701234567012345670123456701")]).is_some());
        let long: &'static str = Box::leak(format!("abcdefgh{}", "x".repeat(121)).into_boxed_str());
        assert!(of(&[("x-conversation-key", long)]).is_none() && of(&[("x-conversation-key", &long[1..])]).is_some());
    }
}
