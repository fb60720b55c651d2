//! Why a contract refused, in words.

/// What an exit code of a contract of Cocoon's networks, or of TON's machine itself, means; `None`: that is not known.
///
/// Source: the table of exit codes in docs/contracts.md for those from 1000 on, TON's documentation of its virtual machine for the others.
pub const fn exit_meaning(code: i32) -> Option<&'static str> {
    Some(match code {
        // The machine turns its sign where a contract did not end by itself.
        13 | -14 => "what was sent along is not enough for its work",
        9 => "what it was sent is cut off",
        37 => "it has too little to send on",
        1000 => "it has seen this total, or a newer one, before",
        1001 => "it has too little",
        1003 => "too little came along",
        1004 => "what it was sent is malformed",
        1005 => "what was signed is for something else",
        1006 => "it is closed, or is being closed",
        1007 => "the signature is not the network's",
        1008 => "it does not know these terms",
        1009 | 1010 => "only its owner may do that",
        1011 => "it is too early",
        1012 | 1013 => "it does not know what it was asked to do",
        1014 => "the asking contract is not what it says",
        1015 => "what was signed is for another contract",
        2000 => "it knows no such proxy",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_the_networks_contracts_have_words_and_others_have_none() {
        for code in (1003..=1015).chain([9, 13, -14, 37, 1000, 1001, 2000]) {
            assert!(exit_meaning(code).is_some(), "{code}");
        }
        for code in [0, 1, -1, 999, 1002, 1016, 1999, i32::MAX, i32::MIN] {
            assert_eq!(exit_meaning(code), None, "{code}");
        }
    }
}
