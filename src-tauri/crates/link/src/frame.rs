//! Frames: a length, a kind and a body, so that control messages and the bytes of many lanes share one pipe.
//!
//! ```text
//! u32 LE length of what follows | u8 kind | body
//!   kind 0  control   postcard of `ToWorker` or `FromWorker`, at most MAX_CONTROL bytes
//!   kind 1  data      u32 LE lane | 1 … MAX_DATA bytes
//!   kind 2  credit    u32 LE lane | u32 LE bytes taken, at least 1
//! ```
//!
//! The format is ours and has no versions: both programs ship together and [`crate::greeting`] refuses any other build.

use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};

use crate::LaneId;

/// Longest control message in bytes. Three contract codes and the allowed hashes of a network travel in one.
pub const MAX_CONTROL: usize = 4 * 1024 * 1024;

/// Most lane bytes in one frame.
pub const MAX_DATA: usize = 64 * 1024;

const LENGTH: usize = 4;
const CONTROL: u8 = 0;
const DATA: u8 = 1;
const CREDIT: u8 = 2;

/// What one frame says. `M` is the direction's enum, [`crate::ToWorker`] or [`crate::FromWorker`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame<M> {
    /// A sentence.
    Control(M),
    /// Bytes of a lane, never empty.
    Data {
        /// Which lane.
        lane: LaneId,
        /// Ciphertext, 1 to [`MAX_DATA`] bytes.
        bytes: Vec<u8>,
    },
    /// The receiver of a lane took so many bytes; the sender may send as many more.
    Credit {
        /// Which lane.
        lane: LaneId,
        /// Bytes, at least 1.
        bytes: u32,
    },
}

/// Why bytes are not frames. Every one of them ends the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The kind is none of ours.
    #[error("frame kind {0} is unknown")]
    UnknownKind(u8),
    /// The length is outside of what its kind may have.
    #[error("a frame of kind {kind} and {length} bytes is outside its limits")]
    Length {
        /// The kind byte.
        kind: u8,
        /// The claimed length of the body, or of what should be encoded.
        length: usize,
    },
    /// The length leaves no room for the kind.
    #[error("a frame must at least name its kind")]
    Empty,
    /// A control message does not decode, or bytes are left over.
    #[error("a control message is malformed")]
    Malformed,
    /// Credit of zero bytes.
    #[error("a credit of nothing")]
    NoCredit,
}

/// Encodes a control message; `Err` when it is larger than [`MAX_CONTROL`].
pub fn encode_control<M: Serialize>(message: &M) -> Result<Vec<u8>, Error> {
    let body = postcard::to_allocvec(message).map_err(|_| Error::Malformed)?;
    if body.len() > MAX_CONTROL {
        return Err(Error::Length { kind: CONTROL, length: body.len() });
    }
    Ok(frame(CONTROL, &[&body]))
}

/// Encodes lane bytes; `Err` when there are none or more than [`MAX_DATA`].
pub fn encode_data(lane: LaneId, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    if bytes.is_empty() || bytes.len() > MAX_DATA {
        return Err(Error::Length { kind: DATA, length: bytes.len() });
    }
    Ok(frame(DATA, &[&lane.0.to_le_bytes(), bytes]))
}

/// Encodes a credit of `bytes` (at least 1).
pub fn encode_credit(lane: LaneId, bytes: u32) -> Vec<u8> {
    frame(CREDIT, &[&lane.0.to_le_bytes(), &bytes.to_le_bytes()])
}

/// Encodes any frame.
pub fn encode<M: Serialize>(frame: &Frame<M>) -> Result<Vec<u8>, Error> {
    match frame {
        Frame::Control(message) => encode_control(message),
        Frame::Data { lane, bytes } => encode_data(*lane, bytes),
        Frame::Credit { bytes: 0, .. } => Err(Error::NoCredit),
        Frame::Credit { lane, bytes } => Ok(encode_credit(*lane, *bytes)),
    }
}

fn frame(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut out = Vec::with_capacity(LENGTH + length);
    // Callers have checked their limits, all far below 4 GiB.
    out.extend_from_slice(&(length as u32).to_le_bytes());
    out.push(kind);
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// Cuts a stream of bytes into frames.
///
/// After each [`push`](Decoder::push) call [`next`](Decoder::next) until it says `None`: then no more than one incomplete
/// frame is kept. A length is judged as soon as it and the kind are there, before anything is allocated for it. After an
/// error the decoder repeats that error.
pub struct Decoder<M> {
    buffer: Vec<u8>,
    /// Start of what has not been handed out.
    at: usize,
    failed: Option<Error>,
    message: PhantomData<fn() -> M>,
}

impl<M> Default for Decoder<M> {
    fn default() -> Self {
        Self { buffer: Vec::new(), at: 0, failed: None, message: PhantomData }
    }
}

impl<M: DeserializeOwned> Decoder<M> {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the stream, in cuts of any size.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame; `None`: more bytes are needed.
    // Not an `Iterator`: `None` here means "not yet".
    #[expect(clippy::should_implement_trait, reason = "an iterator may not resume after None; this does")]
    pub fn next(&mut self) -> Result<Option<Frame<M>>, Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.advance().inspect_err(|error| {
            self.failed = Some(*error);
            self.buffer = Vec::new();
            self.at = 0;
        })
    }

    /// Bytes kept because their frame is not complete.
    pub fn buffered(&self) -> usize {
        self.buffer.len() - self.at
    }

    fn advance(&mut self) -> Result<Option<Frame<M>>, Error> {
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        let Some((header, rest)) = rest.split_first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*header) as usize;
        if length == 0 {
            return Err(Error::Empty);
        }
        let Some(&kind) = rest.first() else {
            return Ok(None);
        };
        let body_length = length - 1;
        let fits = match kind {
            CONTROL => (1..=MAX_CONTROL).contains(&body_length),
            DATA => (5..=4 + MAX_DATA).contains(&body_length),
            CREDIT => body_length == 8,
            _ => return Err(Error::UnknownKind(kind)),
        };
        if !fits {
            return Err(Error::Length { kind, length: body_length });
        }
        let Some(body) = rest.get(1..length) else {
            return Ok(None);
        };
        let frame = if kind == CONTROL {
            match postcard::take_from_bytes(body) {
                Ok((message, [])) => Frame::Control(message),
                _ => return Err(Error::Malformed),
            }
        } else {
            let (lane, payload) = body.split_first_chunk::<4>().ok_or(Error::Malformed)?;
            let lane = LaneId(u32::from_le_bytes(*lane));
            if kind == DATA {
                Frame::Data { lane, bytes: payload.to_vec() }
            } else {
                let bytes = payload.try_into().map_err(|_| Error::Malformed)?;
                match u32::from_le_bytes(bytes) {
                    0 => return Err(Error::NoCredit),
                    bytes => Frame::Credit { lane, bytes },
                }
            }
        };
        self.at += LENGTH + length;
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{FromWorker, ToWorker};

    fn frames() -> Vec<Frame<ToWorker>> {
        vec![
            Frame::Control(ToWorker::Hello { build: "1".to_owned() }),
            Frame::Data { lane: LaneId(7), bytes: vec![9; MAX_DATA] },
            Frame::Credit { lane: LaneId(u32::MAX), bytes: 1 },
            Frame::Control(ToWorker::Yield),
            Frame::Data { lane: LaneId(0), bytes: vec![0] },
        ]
    }

    fn drain(decoder: &mut Decoder<ToWorker>) -> Result<Vec<Frame<ToWorker>>, Error> {
        let mut out = Vec::new();
        while let Some(frame) = decoder.next()? {
            out.push(frame);
        }
        Ok(out)
    }

    fn raw(kind: u8, length: u32, body: &[u8]) -> Vec<u8> {
        let mut out = length.to_le_bytes().to_vec();
        out.push(kind);
        out.extend_from_slice(body);
        out
    }

    fn check_refused(bytes: &[u8], expected: Error) {
        let mut decoder = Decoder::<ToWorker>::new();
        decoder.push(bytes);
        assert_eq!(drain(&mut decoder), Err(expected));
        decoder.push(&encode(&frames()[0]).unwrap());
        assert_eq!(decoder.next(), Err(expected), "an error is final");
    }

    #[test]
    fn frames_survive_any_cut_of_the_stream() {
        let expected = frames();
        let wire: Vec<u8> = expected.iter().flat_map(|frame| encode(frame).unwrap()).collect();
        for size in [1, 2, 3, 5, 1000, wire.len()] {
            let mut decoder = Decoder::new();
            let mut seen = Vec::new();
            for cut in wire.chunks(size) {
                decoder.push(cut);
                seen.extend(drain(&mut decoder).unwrap());
            }
            assert_eq!(seen, expected, "cut into {size}");
            assert_eq!(decoder.buffered(), 0);
        }
    }

    #[test]
    fn oversized_frames_are_refused_by_their_header_alone() {
        check_refused(&raw(CONTROL, u32::MAX, &[]), Error::Length { kind: CONTROL, length: u32::MAX as usize - 1 });
        let length = MAX_DATA + 5;
        check_refused(&raw(DATA, length as u32 + 1, &[]), Error::Length { kind: DATA, length });
        check_refused(&raw(CREDIT, 8, &[]), Error::Length { kind: CREDIT, length: 7 });
        check_refused(&raw(DATA, 5, &[0; 4]), Error::Length { kind: DATA, length: 4 });
    }

    #[test]
    fn garbage_is_refused() {
        check_refused(&[0; 4], Error::Empty);
        check_refused(&raw(3, 9, &[0; 8]), Error::UnknownKind(3));
        check_refused(&raw(CONTROL, 2, &[0xff]), Error::Malformed);
        check_refused(&raw(CREDIT, 9, &[0; 8]), Error::NoCredit);
        let mut longer = encode(&frames()[0]).unwrap();
        longer[0] += 1;
        longer.push(0);
        check_refused(&longer, Error::Malformed);
    }

    #[test]
    fn a_cut_frame_waits_for_its_rest() {
        let wire = encode(&frames()[3]).unwrap();
        for cut in 0..wire.len() {
            let mut decoder = Decoder::<ToWorker>::new();
            decoder.push(&wire[..cut]);
            assert_eq!(decoder.next(), Ok(None));
            assert_eq!(decoder.buffered(), cut);
        }
    }

    #[test]
    fn what_does_not_fit_is_not_encoded() {
        let text = "x".repeat(MAX_CONTROL);
        assert!(matches!(encode_control(&FromWorker::Hello { build: text }), Err(Error::Length { kind: CONTROL, .. })));
        assert!(encode_data(LaneId(0), &[]).is_err());
        assert!(encode_data(LaneId(0), &vec![0; MAX_DATA + 1]).is_err());
        assert_eq!(encode(&Frame::<ToWorker>::Credit { lane: LaneId(0), bytes: 0 }), Err(Error::NoCredit));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic_nor_pile_up(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20)) {
            let mut decoder = Decoder::<ToWorker>::new();
            for piece in pieces {
                decoder.push(&piece);
                while let Ok(Some(_)) = decoder.next() {}
                prop_assert!(decoder.buffered() <= LENGTH + 1 + MAX_CONTROL);
            }
        }

        #[test]
        fn any_data_and_credit_survive_the_way(lane: u32, bytes in proptest::collection::vec(any::<u8>(), 1..2000), credit in 1..u32::MAX) {
            let mut decoder = Decoder::<ToWorker>::new();
            let lane = LaneId(lane);
            decoder.push(&encode_data(lane, &bytes).unwrap());
            decoder.push(&encode_credit(lane, credit));
            prop_assert_eq!(drain(&mut decoder).unwrap(), vec![Frame::Data { lane, bytes }, Frame::Credit { lane, bytes: credit }]);
        }
    }
}
