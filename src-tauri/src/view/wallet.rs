//! The page Wallet: what is in the owner's wallet, what guards it, and everything the owner can do with it.

use serde::{Deserialize, Serialize};
use specta::Type;

use super::{Count, Money, Secret, UnixMs};

/// Which chain the money is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ChainKind {
    /// On this PC, worth nothing.
    Practice,
    /// TON's test network, worth nothing.
    Test,
    /// TON.
    Main,
}

/// An address, in every spelling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub(crate) struct AddressForms {
    /// The one to give away: 48 characters, what can't be taken stays (`UQ…`, on a test network `0Q…`).
    pub plain: String,
    /// 48 characters, what can't be taken comes back (`EQ…`, `kQ…`).
    pub bounceable: String,
    /// `0:` and 64 hex digits, without a checksum.
    pub raw: String,
}

/// What a keychain of the system has against it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(tag = "trouble", rename_all = "snake_case")]
pub(crate) enum KeychainTrouble {
    /// There is none.
    Absent {
        /// What is missing, by name.
        missing: String,
    },
    /// It is locked, or its question was dismissed.
    Locked,
    /// It did not answer in time, and may be asking something.
    NoAnswer {
        /// How long it was waited.
        seconds: u32,
    },
    /// Something of another form stands where the key should be.
    Form,
    /// Anything else.
    Failed {
        /// In its words.
        why: String,
    },
}

/// The system's keychain, asked before there is a wallet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub(crate) struct Keychain {
    /// What people call it: `GNOME Keyring`, `Windows Credential Manager`, in practice a file.
    pub name: String,
    /// What is wrong with it; none: it answers.
    pub trouble: Option<KeychainTrouble>,
}

/// What stands between the wallet's file and its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyPlace {
    /// A key in the system's keychain.
    Keychain,
    /// That, and a password.
    KeychainAndPassword,
    /// A password alone: chosen by name where no keychain answers.
    Password,
    /// A key in a file beside it: in practice only, where it guards nothing of worth.
    PracticeFile,
}

/// How the wallet stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum WalletState {
    /// It is not known yet: the app has not looked.
    Unknown,
    /// There is none: no file, and no address that payouts go to.
    None,
    /// Payouts go to an address whose key is not on this PC.
    WatchOnly,
    /// A wallet is here, and locked.
    Locked {
        /// Whether a password opens it.
        needs_password: bool,
    },
    /// It can sign.
    Unlocked {
        /// When it locks itself if nothing is done.
        locks_at: Option<UnixMs>,
    },
    /// Its file is here, and the keychain that has its key fails.
    NoKeychain {
        /// How.
        trouble: KeychainTrouble,
    },
    /// Its file is here; the keychain answers and has no such key.
    KeyGone,
    /// Its file is here; the keychain has another key in that place.
    KeyReplaced,
    /// Something that is no wallet stands where its file should be.
    Damaged {
        /// What is wrong, in words of the log.
        why: String,
    },
}

/// A payout address that will follow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct PayoutChange {
    /// The new one.
    pub to: String,
    /// From when on.
    pub from: UnixMs,
}

/// Where payouts go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct PayoutTarget {
    /// The address.
    pub address: AddressForms,
    /// Whether its key is on this PC.
    pub ours: bool,
    /// A change that is waiting.
    pub change: Option<PayoutChange>,
}

/// The wallet that pays fees where payouts go to an address without a key here. Its money is not the owner's earnings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct FeeWallet {
    /// Where it is filled up.
    pub address: AddressForms,
    /// What is in it.
    pub balance: Option<Money>,
    /// What payouts have cost so far.
    pub spent: Option<Money>,
}

/// What a transfer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FlightErrand {
    /// It fetches what a proxy signed.
    Payout,
    /// The owner sends money.
    Send,
    /// The rest of the fee wallet goes to the owner.
    TakeBack,
}

/// How far a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FlightStage {
    /// Written down and being tried; nothing is signed.
    Planned,
    /// Signed and sent; the chain has not confirmed it.
    Sent,
}

/// A transfer under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct Flight {
    /// Its number.
    pub id: String,
    /// What it is for.
    pub errand: FlightErrand,
    /// Whom it goes to: the recipient, or the contract that pays.
    pub to: String,
    /// What is sent; of a payout, what it should bring.
    pub amount: Money,
    /// How far it is.
    pub stage: FlightStage,
    /// When it was wanted.
    pub since: UnixMs,
    /// After that it can't land any more.
    pub until: Option<UnixMs>,
}

/// How a transfer ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum FlightOutcome {
    /// All that was wanted is done.
    Done,
    /// It landed, and something in it failed.
    Failed {
        /// What, in words of the log.
        why: String,
    },
    /// It can't land any more; no money moved.
    Expired,
    /// Another message of the wallet took its place; no money moved by this one.
    Overtaken,
    /// It was given up before it was signed.
    NotBegun {
        /// Why, in words of the log.
        why: String,
    },
}

/// The transfer that ended last in this session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct Landed {
    /// Its number.
    pub id: String,
    /// What it was for.
    pub errand: FlightErrand,
    /// How it ended.
    pub outcome: FlightOutcome,
}

/// The page Wallet, apart from its history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct Wallet {
    /// When this was so.
    pub at: UnixMs,
    /// Which chain.
    pub chain: ChainKind,
    /// Whether money there is worth nothing.
    pub pays_nothing: bool,
    /// Name of the site that shows this chain's accounts; none in practice.
    pub explorer: Option<String>,
    /// The system's keychain; none while it was not asked.
    pub keychain: Option<Keychain>,
    /// How the wallet stands.
    pub state: WalletState,
    /// Address of the wallet, or of the watch-only account; none while there is neither.
    pub address: Option<AddressForms>,
    /// What is on it.
    pub balance: Option<Money>,
    /// When the chain said so.
    pub balance_at: Option<UnixMs>,
    /// Why the chain can't be asked, while it can't, in words of the log.
    pub chain_fails: Option<String>,
    /// What is kept in the wallet for the worker's fees, nanotons.
    pub reserve_nanoton: String,
    /// What guards the key; none where no key is here.
    pub key_place: Option<KeyPlace>,
    /// Whether the owner has shown to have the words; none where no key is here.
    pub written_down: Option<bool>,
    /// Whether it is time to remind of them.
    pub remind: bool,
    /// It locks itself after so many seconds; none: never.
    pub locks_after_s: Option<Count>,
    /// How much may leave within 24 hours, nanotons; none: no limit.
    pub daily_limit_nanoton: Option<String>,
    /// How much of that is left.
    pub limit_left_nanoton: Option<String>,
    /// Where payouts go; none while they go nowhere.
    pub payout: Option<PayoutTarget>,
    /// The wallet that pays fees, where it is another.
    pub payer: Option<FeeWallet>,
    /// What is under way.
    pub in_flight: Option<Flight>,
    /// What ended last.
    pub landed: Option<Landed>,
}

/// Why money moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MoneyReason {
    /// A proxy's contract paid.
    Payout,
    /// The owner sent it.
    Sent,
    /// Somebody sent it.
    Received,
    /// It went along with a payout to pay for it.
    Fee,
    /// What was left of that came back.
    Rest,
    /// It came back because nobody took it.
    Bounced,
    /// Something else.
    Other,
}

/// One movement of money.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct WalletEntry {
    /// The page's key.
    pub key: String,
    /// When.
    pub at: UnixMs,
    /// Why.
    pub reason: MoneyReason,
    /// How much; with a minus if it left.
    pub amount: Money,
    /// The network's fee on top; none: not known.
    pub fee: Option<Money>,
    /// The other side.
    pub peer: Option<String>,
    /// The comment the owner sent along. What strangers write is not shown.
    pub memo: Option<String>,
    /// Hash of the transaction, hex digits; none while it is not on the chain.
    pub transaction: Option<String>,
    /// How it ended, where it did not go well.
    pub trouble: Option<FlightOutcome>,
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub(crate) struct PageQuery {
    /// Where the page before ended; none: from the newest.
    pub before: Option<String>,
    /// How many, at most 200.
    pub limit: u32,
}

/// Some of what moved, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct WalletHistory {
    /// The movements.
    pub entries: Vec<WalletEntry>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// Something to know about an address before money goes there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub(crate) enum Finding {
    /// Stop: it is none.
    NoAddress,
    /// Stop: a character is wrong or missing.
    BadChecksum,
    /// Stop: the raw spelling, in which a wrong character would go unnoticed.
    NoChecksum,
    /// Stop: it is marked for another network.
    OtherNetwork {
        /// For the test network; otherwise for TON itself.
        test: bool,
    },
    /// Stop: it is the sending wallet itself.
    Own,
    /// Ask: nobody has used it yet, or its owner has not.
    NotInitialised,
    /// Ask: it looks like one that was used before, and is another. A trick of thieves.
    LooksLike {
        /// The other one.
        known: String,
    },
    /// Ask: an exchange, which can't tell whose money it is without a comment.
    Exchange {
        /// Which.
        name: String,
    },
    /// Ask: it lives on the masterchain, as no ordinary wallet does.
    Masterchain,
    /// Ask: the chain could not be asked about it.
    NotSeen,
    /// Good: the owner sent there before.
    UsedBefore {
        /// When last.
        at: UnixMs,
    },
}

/// What is to be known about an address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct Destination {
    /// As it will be used; none if the text is no address.
    pub address: Option<String>,
    /// What was found, the gravest first.
    pub findings: Vec<Finding>,
    /// Whether nothing may be sent there.
    pub stop: bool,
}

/// What the owner wants to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub(crate) struct SendOrder {
    /// Where, as it was typed.
    pub to: String,
    /// How much, nanotons; nothing is read here where everything is sent.
    pub nanoton: String,
    /// A comment for the recipient, in the clear for everybody.
    pub memo: String,
    /// All there is, what is kept for fees too.
    pub everything: bool,
}

/// A transfer that was tried on a copy of the chain and waits for the owner's word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct Draft {
    /// Its name, for the word to be given.
    pub id: String,
    /// Whom it goes to.
    pub to: String,
    /// How much.
    pub amount: Money,
    /// The comment.
    pub memo: Option<String>,
    /// What it costs.
    pub fee: Money,
    /// What is left in the wallet.
    pub balance_after: Money,
    /// Whether less is left than is kept for fees.
    pub below_reserve: bool,
    /// Whether a password must come with the word.
    pub needs_password: bool,
    /// After that it must be tried anew.
    pub until: UnixMs,
}

/// Why something about money was not done. Nothing moved, and nothing was changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
#[serde(tag = "refusal", rename_all = "snake_case")]
pub(crate) enum Refusal {
    /// There is no wallet.
    NoWallet,
    /// There is one already.
    WalletExists,
    /// Its key is not on this PC.
    WatchOnly,
    /// It is locked.
    Locked,
    /// It needs a password and got none.
    NoPassword,
    /// The password is wrong, or the file is damaged; that can't be told apart.
    WrongPassword,
    /// A password that would be guessed.
    WeakPassword {
        /// Least number of characters.
        least: u32,
    },
    /// The keychain fails.
    Keychain {
        /// How.
        trouble: KeychainTrouble,
    },
    /// The keychain or the disk took it and did not give it back.
    NotKept,
    /// The keychain has no such key, or another.
    KeyGone,
    /// These are not the words that were asked for.
    WrongWords,
    /// What was prepared is no longer good; it must be prepared anew.
    TooLate,
    /// The address won't do.
    Destination {
        /// What is wrong with it.
        findings: Vec<Finding>,
    },
    /// That is no amount, or nothing.
    NoAmount,
    /// There is not so much.
    NotEnough {
        /// What there is, nanotons.
        have: String,
        /// What it takes, nanotons.
        need: String,
    },
    /// It would leave less than is kept for the worker's fees.
    Reserve {
        /// What can be sent at most, nanotons.
        most: String,
    },
    /// More than may leave within 24 hours.
    DailyLimit {
        /// What may be sent now, nanotons.
        left: String,
    },
    /// The comment is too long.
    LongMemo {
        /// Most bytes.
        most: u32,
    },
    /// Another transfer is under way.
    InFlight,
    /// It was tried and fails.
    WouldFail {
        /// How, in words of the log.
        why: String,
    },
    /// Its fee would eat too much of what it brings.
    FeeTooHigh {
        /// The fee, nanotons.
        fee: String,
        /// What it would bring, nanotons.
        income: String,
    },
    /// There is nothing to fetch.
    Nothing,
    /// The chain can't be asked.
    ChainFails {
        /// Why, in words of the log.
        why: String,
    },
    /// The disk failed, or something else of this PC.
    Failed {
        /// How, in words of the log.
        why: String,
    },
}

/// What became of something the owner wanted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
#[serde(tag = "done", rename_all = "snake_case")]
pub(crate) enum Done {
    /// It is done; what takes time is begun.
    Yes,
    /// It is not.
    No {
        /// Why.
        refusal: Refusal,
    },
}

/// What became of the preparation of a transfer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
#[serde(tag = "prepared", rename_all = "snake_case")]
pub(crate) enum Prepared {
    /// It waits for the owner's word.
    Ready {
        /// It.
        draft: Box<Draft>,
    },
    /// It can't be.
    No {
        /// Why.
        refusal: Refusal,
    },
}

/// What became of the word given for a transfer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
#[serde(tag = "sent", rename_all = "snake_case")]
pub(crate) enum Sent {
    /// It is under way; the page's slice follows it.
    Begun {
        /// Its number.
        id: String,
    },
    /// It is not.
    No {
        /// Why.
        refusal: Refusal,
    },
}

/// How a new wallet shall be kept. Can't be printed.
#[derive(PartialEq, Eq, Serialize, Deserialize, Type)]
pub(crate) struct Protect {
    /// What shall guard the key.
    pub place: KeyPlace,
    /// The password, where there shall be one.
    pub password: Option<Secret>,
}

/// The words, for the one screen that shows them. Can't be printed.
#[derive(PartialEq, Serialize, Deserialize, Type)]
#[serde(tag = "revealed", rename_all = "snake_case")]
pub(crate) enum Revealed {
    /// The words and which of them will be asked.
    Words {
        /// In their order.
        words: Vec<Secret>,
        /// Counted from 1.
        places: Vec<u32>,
    },
    /// They can't be shown.
    No {
        /// Why.
        refusal: Refusal,
    },
}

/// How words become a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WordScheme {
    /// TON's own.
    Ton,
    /// BIP39, as hardware wallets have it.
    Bip39,
}

/// Versions of the wallet's contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ContractVersion {
    /// W5, of today.
    V5R1,
    /// Of 2021.
    V4R2,
    /// Of 2019.
    V3R2,
}

/// A wallet that words could be meant for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct WalletCandidate {
    /// Its number among the candidates, from 0.
    pub number: u32,
    /// How the words become its key.
    pub scheme: WordScheme,
    /// The contract.
    pub version: ContractVersion,
    /// Where it lives.
    pub address: AddressForms,
    /// What is there; none: not known.
    pub balance: Option<Money>,
}

/// What words that the owner typed could mean. Nothing is saved by asking.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
#[serde(tag = "read", rename_all = "snake_case")]
pub(crate) enum ReadWords {
    /// One of these wallets.
    Candidates {
        /// Name of what was read, for one of them to be saved; the app forgets it after a few minutes.
        draft: String,
        /// The one that is most likely first.
        candidates: Vec<WalletCandidate>,
    },
    /// Another number of words than any scheme has.
    Count {
        /// How many.
        count: u32,
    },
    /// A word that is not on the list.
    Unknown {
        /// Which, counted from 1.
        place: u32,
    },
    /// One is wrong, or two are swapped.
    Checksum,
    /// They can't be read now.
    No {
        /// Why.
        refusal: Refusal,
    },
}

/// What became of a payout address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
#[serde(tag = "payout", rename_all = "snake_case")]
pub(crate) enum PayoutSet {
    /// It counts now.
    Now,
    /// It counts from then on; until then it can be taken back.
    Waits {
        /// When.
        from: UnixMs,
    },
    /// It is not taken.
    No {
        /// Why.
        refusal: Refusal,
    },
}

/// What became of the file that does not open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
#[serde(tag = "aside", rename_all = "snake_case")]
pub(crate) enum SetAside {
    /// It is out of the way; nothing was deleted.
    Moved {
        /// Where it is now.
        path: String,
    },
    /// It is where it was.
    No {
        /// Why.
        refusal: Refusal,
    },
}

/// What the owner may set about the wallet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct WalletRules {
    /// Lock after so many seconds without use; none: never.
    pub locks_after_s: Option<Count>,
    /// How much may leave within 24 hours, nanotons; none: no limit.
    pub daily_limit_nanoton: Option<String>,
}

/// What a site that shows the chain is to show. The app makes the address: the page can open nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(tag = "show", rename_all = "snake_case")]
pub(crate) enum ExplorerTarget {
    /// The wallet.
    Wallet,
    /// A transaction.
    Transaction {
        /// Its hash, hex digits.
        hash: String,
    },
}
