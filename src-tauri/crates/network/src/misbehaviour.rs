//! What a proxy can be asked to do wrong, for tests of those who must bear it.
//!
//! Each of these is something that a hostile or broken proxy could do to a worker. Clients are served correctly, so that jobs keep
//! coming. Without being asked a proxy does none of it.

use std::collections::BTreeMap;

use accounting::signed_payment::{SignedPayment, UnsignedPayment};
use clap::ValueEnum;
use protocol::proxy::Signer;
use tl::Boxed;

use crate::clock::random_bytes;

/// One way of doing wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "kebab-case")]
pub enum Misbehaviour {
    /// Says nothing after TLS.
    Silent,
    /// Sends the first payment again and again instead of newer ones.
    ReplayedPayment,
    /// Signs for less than it signed for before.
    DecreasingPayment,
    /// Signs payments with a key that is not the one it announced.
    WrongKey,
    /// Names a contract of the worker's that does not follow from key, owner and network.
    WrongAddress,
    /// Ends the first query in the middle of its frame.
    CutFrames,
    /// Sends random bytes instead of the first query.
    GarbageFrames,
    /// Announces a frame larger than the protocol allows.
    OversizedFrame,
    /// Hangs up after the first pieces of an answer.
    DropMidAnswer,
}

/// What to do with bytes for a worker.
pub(crate) enum Deed {
    /// Send these.
    Send(Vec<u8>),
    /// Send these and hang up.
    SendAndClose(Vec<u8>),
    /// Send nothing.
    Nothing,
}

impl Misbehaviour {
    /// What becomes of a frame on its way to a worker.
    pub(crate) fn distort(self, mut frame: Vec<u8>) -> Deed {
        match self {
            Self::Silent => Deed::Nothing,
            Self::WrongAddress => Deed::Send(with_wrong_address(&frame).unwrap_or(frame)),
            Self::CutFrames if is_query(&frame) => {
                frame.truncate(frame.len() / 2);
                Deed::SendAndClose(frame)
            }
            Self::GarbageFrames if is_query(&frame) => Deed::Send(random_bytes::<512>().to_vec()),
            Self::OversizedFrame if is_query(&frame) => {
                let length = u32::try_from(protocol::MAX_FRAME).unwrap_or(u32::MAX).saturating_add(1);
                for (byte, wrong) in frame.iter_mut().zip(length.to_le_bytes()) {
                    *byte = wrong;
                }
                Deed::Send(frame)
            }
            _ => Deed::Send(frame),
        }
    }

    /// After how many messages of a worker that answers its first query the proxy hangs up.
    pub(crate) fn answers_before_hanging_up(self) -> Option<u32> {
        (self == Self::DropMidAnswer).then_some(3)
    }

    /// Whether payments are signed wrongly.
    pub(crate) fn spoils_payments(self) -> bool {
        matches!(self, Self::ReplayedPayment | Self::DecreasingPayment | Self::WrongKey)
    }
}

/// The proxy's introduction to a worker with another contract of the worker's in it; `None` if the frame is no introduction.
fn with_wrong_address(frame: &[u8]) -> Option<Vec<u8>> {
    let (header, payload) = frame.split_at_checked(8)?;
    let tl::tcp::Packet::QueryAnswer { id, data } = tl::tcp::Packet::from_bytes(payload).ok()? else {
        return None;
    };
    let mut answer = tl::worker::ConnectedToProxy::from_bytes(&data).ok()?;
    answer.worker_sc_address.clone_from(&answer.params.proxy_sc_address);
    let payload = tl::tcp::Packet::QueryAnswer { id, data: answer.to_bytes() }.to_bytes();
    let length = u32::try_from(payload.len()).ok()?;
    Some([&length.to_le_bytes()[..], header.get(4..)?, &payload].concat())
}

/// Whether this frame gives a worker a query.
pub(crate) fn is_query(frame: &[u8]) -> bool {
    let Some(payload) = frame.get(8..) else {
        return false;
    };
    match tl::tcp::Packet::from_bytes(payload) {
        Ok(tl::tcp::Packet::Packet { data }) => {
            matches!(tl::peek_id(&data), Some(tl::proxy::RunQueryEx::ID | tl::proxy::RunQuery::ID))
        }
        _ => false,
    }
}

/// A signer that signs wrongly.
pub(crate) struct Spoiler<S> {
    honest: S,
    other: S,
    how: Misbehaviour,
    /// By contract: the first payment worth anything.
    first: BTreeMap<[u8; 32], SignedPayment>,
}

impl<S> Spoiler<S> {
    pub(crate) fn new(honest: S, other: S, how: Misbehaviour) -> Self {
        Self { honest, other, how, first: BTreeMap::new() }
    }
}

impl<S: Signer> Signer for Spoiler<S> {
    fn sign(&mut self, payment: &UnsignedPayment) -> SignedPayment {
        if self.how == Misbehaviour::WrongKey {
            return self.other.sign(payment);
        }
        let Some(first) = self.first.get(&payment.target.hash) else {
            let signed = self.honest.sign(payment);
            if payment.tokens > 0 {
                self.first.insert(payment.target.hash, signed);
            }
            return signed;
        };
        match self.how {
            Misbehaviour::ReplayedPayment => *first,
            Misbehaviour::DecreasingPayment => {
                let less = UnsignedPayment { tokens: first.tokens / 2, ..*payment };
                self.honest.sign(&less)
            }
            _ => self.honest.sign(payment),
        }
    }
}
