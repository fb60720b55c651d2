//! What an owner's wallet is read from: its file, the file that says where payouts go, and the words that somebody types.

use wallet::{Header, MAX_FILE, PayoutBook, Words};

/// The bytes as a wallet's file; only what stands in front of the ciphertext is looked at, since no key opens it.
pub fn wallet_file(data: &[u8]) {
    let Ok(header) = Header::read(data) else { return };
    assert!(data.len() == MAX_FILE, "a file of another length was taken");
    // What a file asks of this machine before anybody is known to have made it.
    assert!(header.memory_bytes() <= 256 << 20, "a file may have {} bytes of memory", header.memory_bytes());
    assert!(header.public.address() == header.public.contract.address(), "one wallet has two addresses");
    let mut again = header.to_bytes();
    assert!(data.starts_with(&again), "a header is not written as it was read");
    again.resize(MAX_FILE, 0);
    assert!(Header::read(&again) == Ok(header), "a header is not read as it was written");
}

/// The bytes as the file that says where payouts go.
pub fn payout_address(data: &[u8]) {
    let Ok(book) = PayoutBook::from_bytes(data) else { return };
    let again = PayoutBook::from_bytes(&book.to_bytes());
    assert!(again.is_ok_and(|again| again == book), "a payout address is not read as it was written");
    // A change never counts before its time.
    if let Some(change) = book.waiting(0) {
        assert!(book.at(change.from.saturating_sub(1)) != change.to, "a change counts too early");
        assert!(book.at(change.from) == change.to, "a change does not count when its time has come");
    }
}

/// The bytes as words in whatever scheme.
pub fn wallet_words(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(words) = Words::parse(text) else { return };
    assert!(!words.schemes().is_empty(), "words of no scheme were taken");
    let listed: Vec<&str> = words.reveal().collect();
    assert!([12, 15, 18, 21, 24].contains(&listed.len()), "{} words were taken", listed.len());
    let again = Words::parse(&listed.join(" "));
    assert!(again.is_ok_and(|again| again.schemes() == words.schemes()), "words mean something else when typed again");
}
