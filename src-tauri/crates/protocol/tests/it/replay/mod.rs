//! Replays. A machine is put into a role of a recording, fed with what the other side was recorded to send, driven with the local
//! inputs that the recording shows (a customer's request, a backend's answer, the passing of time), and must emit the recorded bytes.
//!
//! Many recordings are cut out of a longer conversation. Then a made-up handshake comes first, the numbers of the machine's frames
//! count on from there, and only payloads are compared with the recording. Where a recording starts with a conversation, the frames are
//! compared with their numbers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use protocol::{Now, Randomness};
use tl::Boxed;
use tl::tcp::Packet;

use crate::recording::Frame;

pub(crate) mod cases;
mod client;
mod dialler;
mod proxy;
mod worker;

/// Randomness that says what the recording says.
#[derive(Clone, Default)]
pub(crate) struct Script(Arc<Mutex<Lines>>);

#[derive(Default)]
pub(crate) struct Lines {
    /// The machine's present.
    pub(crate) now: Duration,
    pub(crate) longs: VecDeque<i64>,
    pub(crate) ids: VecDeque<[u8; 32]>,
    /// When the recorded program asked about payments.
    pub(crate) polls: VecDeque<Duration>,
    made_up: i64,
}

impl Script {
    pub(crate) fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap()
    }
}

impl Randomness for Script {
    fn long(&mut self) -> i64 {
        let mut lines = self.lines();
        lines.made_up += 1;
        let made_up = lines.made_up;
        lines.longs.pop_front().unwrap_or(made_up)
    }

    fn int256(&mut self) -> [u8; 32] {
        let mut lines = self.lines();
        lines.made_up += 1;
        let made_up = lines.made_up.to_le_bytes()[0];
        lines.ids.pop_front().unwrap_or([made_up; 32])
    }

    fn pause(&mut self, _least: Duration, _most: Duration) -> Duration {
        let mut lines = self.lines();
        let next = lines.polls.pop_front();
        let never = Duration::from_secs(1_000_000);
        next.map_or(never, |at| at.saturating_sub(lines.now))
    }
}

/// The machine's monotonic clock at a recorded time.
pub(crate) fn mono(at: f64) -> Duration {
    Duration::from_secs_f64(at - 1_795_000_000.0)
}

pub(crate) fn now(at: f64, unix: f64) -> Now {
    Now { mono: mono(at), unix }
}

/// Frames as they would stand in the stream.
pub(crate) fn framed(number: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_le_bytes().to_vec();
    frame.extend_from_slice(&number.to_le_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Compares what a machine sent, the `count`th frame of its own, with what was recorded.
pub(crate) fn compare(sent: &[u8], count: u32, wanted: &Frame, whole: bool) -> Result<(), String> {
    if sent == framed(count, &wanted.payload) && (!whole || wanted.number.is_none_or(|it| it == count)) {
        return Ok(());
    }
    let ours = &sent[8..];
    let same = ours.iter().zip(&wanted.payload).take_while(|(a, b)| a == b).count();
    Err(format!(
        "at {} on {}: frame {count} differs from number {:?} after {same} bytes of payload\n  ours   {}\n  wanted {}",
        wanted.at,
        wanted.link,
        wanted.number,
        hex::encode(ours),
        hex::encode(&wanted.payload),
    ))
}

pub(crate) fn packet(payload: &[u8]) -> Packet {
    Packet::from_bytes(payload).unwrap()
}

/// The object inside a one-way message, a query or an answer.
pub(crate) fn inner(payload: &[u8]) -> Option<Vec<u8>> {
    match packet(payload) {
        Packet::Packet { data } | Packet::Query { data, .. } | Packet::QueryAnswer { data, .. } => Some(data),
        _ => None,
    }
}

pub(crate) fn header<'a>(headers: &'a [tl::http::Header], name: &str) -> Option<&'a str> {
    headers.iter().find(|it| it.name == name).map(|it| it.value.as_str())
}

/// Value of an `X-Cocoon-*` header in a boxed `http.response`.
pub(crate) fn time_header(answer: &[u8], name: &str) -> Option<f64> {
    let response = tl::http::Response::from_bytes(answer).unwrap();
    header(&response.headers, name).map(|it| it.parse().unwrap())
}

/// Timings for a customer, with the two readings of the clock that ours takes.
pub(crate) fn debug_text(kind: &str, start: f64, first: f64, last: f64) -> String {
    serde_json::json!({
        "answer_receive_end_at": last, "answer_receive_start_at": first, "start_time": start, "type": kind,
    })
    .to_string()
}
