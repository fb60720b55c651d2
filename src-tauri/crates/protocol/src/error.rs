//! Why a conversation is over.

use thiserror::Error;

/// Why a conversation is over. The host closes the connection; a dialler may dial again later.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// A frame announced a length outside what the protocol allows.
    #[error("frame of {length} bytes, allowed are 4 to 16777216")]
    FrameLength {
        /// The length announced.
        length: u32,
    },
    /// A frame came out of turn.
    #[error("frame number {got} where {wanted} was due")]
    FrameOrder {
        /// The number that was due.
        wanted: u32,
        /// The number that came.
        got: u32,
    },
    /// Something could not be decoded.
    #[error("cannot decode {what}")]
    Malformed {
        /// What it should have been.
        what: &'static str,
    },
    /// Something came before `tcp.connect` or `tcp.connected`.
    #[error("a message before the connection was opened")]
    NotOpen,
    /// No frame came for too long.
    #[error("no frame for {seconds} s")]
    Silent {
        /// How long was waited.
        seconds: u64,
    },
    /// A query of ours was not answered in time.
    #[error("no answer to {call}")]
    NoAnswer {
        /// The query.
        call: &'static str,
    },
    /// The other side refused a query of ours.
    #[error("{call} refused with code {code}: {message}")]
    Refused {
        /// The query.
        call: &'static str,
        /// Its code.
        code: i32,
        /// Its words.
        message: String,
    },
    /// A registrar does not show the key that it should have.
    #[error("this registrar does not have the key that was agreed to")]
    NotTheRegistrar,
    /// We refused a query of the other side and so end the conversation.
    #[error("turned away with code {code}: {reason}")]
    TurnedAway {
        /// The code it was told.
        code: i32,
        /// The words it was told.
        reason: &'static str,
    },
    /// The handshake showed that we cannot work together.
    #[error("handshake: {0}")]
    Handshake(#[from] HandshakeFault),
    /// The proxy owes us a better payment.
    #[error("payment: {0}")]
    Payment(#[from] PaymentFault),
}

/// What was wrong with the other side's part of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HandshakeFault {
    /// It speaks an older dialect without the fields we need.
    #[error("the peer is too old")]
    TooOld,
    /// One side is in test mode, the other is not.
    #[error("one side is in test mode, the other is not")]
    TestMode,
    /// No protocol version in common.
    #[error("no protocol version in common")]
    Version,
    /// An address does not parse.
    #[error("an address does not parse")]
    Address,
    /// A contract's address is not the one that follows from key, owner and root parameters, or is written in another form.
    #[error("a contract address differs from the one we computed")]
    Contract,
    /// The proxy has another key or contract than last time.
    #[error("the proxy is not the one we knew")]
    Changed,
    /// The balance comparison failed.
    #[error("the balance comparison failed")]
    Comparison,
    /// The proxy did not accept us as its client.
    #[error("not authorised")]
    NotAuthorised,
}

/// What was wrong with a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PaymentFault {
    /// The empty constructor where a payment is due.
    #[error("no payment where one is due")]
    Missing,
    /// It does not parse, is meant for another contract or carries a wrong signature.
    #[error("the payment does not verify")]
    Invalid,
    /// One of the totals is below what we were told before.
    #[error("a total went down")]
    WentDown,
}
