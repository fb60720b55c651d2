//! A conversation as bytes, so that mutations of it still are conversations.
//!
//! ```text
//! step = u8 kind (low 3 bits) and connection (next bit) | u16 LE length | that many bytes, or what is left
//!   0 raw        bytes of the stream as they are
//!   1 object     payload of a frame; length and number are put in front
//!   2 packet     data of a tcp.packet
//!   3 query      data of a tcp.query
//!   4 answer     data of a tcp.queryAnswer to the machine's oldest open question
//!   5 wait       u16 LE tenths of a second pass
//!   6 act        u8: something the host does
//!   7 break off  the connection is lost
//! ```
//!
//! Ids that the machine draws are predictable ([`Counting`]), so recorded answers can be made to fit once and keep fitting.

use std::collections::VecDeque;
use std::time::Duration;

use protocol::{Now, Randomness};
use tl::Boxed;
use tl::tcp::Packet;

use crate::objects::every_type;

/// One step of a conversation.
pub(crate) enum Step<'a> {
    Bytes(Vec<u8>),
    Answer(&'a [u8]),
    Wait(Duration),
    Act(u8),
    BreakOff,
}

/// Cuts a script into steps; the `bool` is the connection.
pub(crate) fn next<'a>(script: &mut &'a [u8], wires: &mut [Wire; 2]) -> Option<(bool, Step<'a>)> {
    let (head, rest) = script.split_first_chunk::<3>()?;
    let [kind, length @ ..] = *head;
    let (content, rest) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes(length))));
    *script = rest;
    let second = kind & 8 != 0;
    let wire = &mut wires[usize::from(second)];
    let step = match kind & 7 {
        0 => Step::Bytes(content.to_vec()),
        1 => Step::Bytes(wire.frame(content)),
        2 => Step::Bytes(wire.frame(&Packet::Packet { data: content.to_vec() }.to_bytes())),
        3 => Step::Bytes(wire.frame(&Packet::Query { id: 77, data: content.to_vec() }.to_bytes())),
        4 => Step::Answer(content),
        5 => {
            let tenths = content.first_chunk().map_or(1, |tenths| u16::from_le_bytes(*tenths));
            Step::Wait(Duration::from_millis(u64::from(tenths) * 100))
        }
        6 => Step::Act(content.first().copied().unwrap_or(0)),
        _ => Step::BreakOff,
    };
    Some((second, step))
}

/// The far end of a stream: numbers what it sends, and demands that what it is sent is well formed.
#[derive(Default)]
pub(crate) struct Wire {
    sent: u32,
    received: u32,
    open_questions: VecDeque<i64>,
    waiting: Vec<u8>,
}

impl Wire {
    fn frame(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (payload.len() as u32).to_le_bytes().to_vec();
        bytes.extend(self.sent.to_le_bytes());
        bytes.extend_from_slice(payload);
        self.sent = self.sent.wrapping_add(1);
        bytes
    }

    /// The answer to the oldest open question, or to one that was never asked.
    pub(crate) fn answer(&mut self, data: &[u8]) -> Vec<u8> {
        let id = self.open_questions.pop_front().unwrap_or(0);
        self.frame(&Packet::QueryAnswer { id, data: data.to_vec() }.to_bytes())
    }

    /// Takes what the machine sent.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
        while let Some((head, rest)) = self.waiting.split_first_chunk::<8>() {
            let [l0, l1, l2, l3, n0, n1, n2, n3] = *head;
            let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
            assert!((4..=protocol::MAX_FRAME).contains(&length), "sent a frame of {length} bytes");
            let Some(payload) = rest.get(..length).map(<[u8]>::to_vec) else { break };
            assert!(u32::from_le_bytes([n0, n1, n2, n3]) == self.received, "sent a frame out of order");
            self.received += 1;
            self.waiting.drain(..8 + length);
            self.object(&payload);
        }
        assert!(self.waiting.is_empty(), "sent a part of a frame");
    }

    fn object(&mut self, payload: &[u8]) {
        match Packet::from_bytes(payload) {
            Ok(Packet::Query { id, data }) => {
                self.open_questions.push_back(id);
                known(&data);
            }
            Ok(Packet::QueryAnswer { data, .. } | Packet::Packet { data }) => known(&data),
            Ok(_) => {}
            Err(error) => panic!("sent what nobody can read: {error}"),
        }
    }
}

/// What is sent inside is an object of the schema or of ours.
fn known(data: &[u8]) {
    let id = tl::peek_id(data);
    let read = every_type().into_iter().find(|each| Some(each.id) == id).map(|each| (each.round_trip)(data));
    assert!(matches!(read, Some(Ok(_))), "sent an object that nobody can read: {id:x?}");
}

/// The clocks of a conversation.
pub(crate) struct Clocks(Duration);

impl Clocks {
    pub(crate) fn new() -> Self {
        Self(Duration::from_secs(1_000))
    }

    pub(crate) fn now(&self) -> Now {
        Now { mono: self.0, unix: 1_795_350_000.0 + self.0.as_secs_f64() }
    }

    /// Passes time, and lets `tick` work at every moment it asked for in between. A machine that asks for a moment that has
    /// gone by would keep its host spinning.
    pub(crate) fn pass(&mut self, time: Duration, mut tick: impl FnMut(Option<Now>) -> Option<Duration>) {
        let end = self.0 + time;
        for _ in 0..1_000 {
            let Some(due) = tick(None).filter(|due| *due <= end) else { break };
            self.0 = self.0.max(due);
            let next = tick(Some(self.now()));
            assert!(next.is_none_or(|next| next > self.0), "asks for a moment that has gone by");
        }
        self.0 = end;
        tick(Some(self.now()));
    }
}

/// Ids in order: 1, 2, 3 … for what the connection needs, and 32 times 1, 2, 3 … for requests.
#[derive(Default)]
pub(crate) struct Counting {
    longs: i64,
    requests: u8,
}

impl Randomness for Counting {
    fn long(&mut self) -> i64 {
        self.longs += 1;
        self.longs
    }

    fn int256(&mut self) -> [u8; 32] {
        self.requests = self.requests.wrapping_add(1);
        [self.requests; 32]
    }
}
