//! The conversations of Cocoon as pure state machines: the worker's side ([`worker::Session`]), the proxy's ([`proxy::Core`]) and the
//! client's ([`client::Session`]), protocol version 2 (and 1, which differs by one flag). Beyond Cocoon: questions for evidence
//! ([`evidence`]) and the enrolment of a TPM at a registrar ([`enrolment`]).
//!
//! What lives here: frames, the `tcp.*` connection layer, handshakes, balance comparison, requests and their streamed answers,
//! reservations, charges, signed payments, time-outs. What may not: sockets, TLS, clocks, files, keys, an engine.
//!
//! Bytes and time go in, actions come out. Each machine is fed with what TLS delivered and with [`Now`], and pushes what must be done
//! onto a list; nothing ever waits. Ids come from [`Randomness`]. So a test is a list, and recordings of the genuine programs are the
//! judge: `tests/it/replay` puts each machine into each role of each recording and compares the bytes.
//!
//! A walk-through, worker's side: the host opens a socket, gets through proof of work and TLS, creates a [`worker::Session`] (which
//! at once says `tcp.connect`) and passes every decrypted byte to `receive`. After `Action::Ready` jobs arrive as `Action::Start`; the
//! host answers with `answer_head`, `answer_part` and `answer_last`. It calls `tick` no later than `next_deadline` says. An `Err`
//! means that this conversation is over.
//!
//! Values that hold prompts or answers have no `Debug`, and no error text quotes them.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap"))]

pub mod client;
mod connection;
pub mod enrolment;
mod error;
pub mod evidence;
mod frame;
mod handshake;
pub mod http;
pub mod proxy;
mod tokens;
pub mod worker;

use std::time::Duration;

pub use error::{Error, HandshakeFault, PaymentFault};
pub use frame::MAX_FRAME;

/// The protocol versions that we speak, lowest and highest.
pub const VERSIONS: (i32, i32) = (1, 2);

/// The moment at which something happens, on two clocks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Now {
    /// Time since any fixed start; never goes back. All deadlines are counted on it.
    pub mono: Duration,
    /// Unix time in seconds. Only written into messages, never compared.
    pub unix: f64,
}

/// Where ids come from. Real ones must be unpredictable.
pub trait Randomness: Send {
    /// A random id of a query, a ping, a connection or a payment.
    fn long(&mut self) -> i64;

    /// A random id of a request.
    fn int256(&mut self) -> [u8; 32];

    /// A random pause, at least `least` and less than `most`.
    fn pause(&mut self, least: Duration, most: Duration) -> Duration {
        let span = u64::try_from(most.saturating_sub(least).as_millis()).unwrap_or(u64::MAX);
        let part = u64::from_ne_bytes(self.long().to_ne_bytes()) % span.max(1);
        least.saturating_add(Duration::from_millis(part))
    }
}

/// The first of two moments, `None` meaning never.
fn earlier(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

/// A time-out as it stands on the wire, made safe: nonsense becomes zero, and nothing waits longer than a day.
fn timeout_from_wire(seconds: f64) -> Duration {
    const LONGEST: Duration = Duration::from_hours(24);
    if seconds.is_nan() || seconds <= 0.0 {
        return Duration::ZERO;
    }
    Duration::try_from_secs_f64(seconds).map_or(LONGEST, |wanted| wanted.min(LONGEST))
}

/// Timings of one side for a customer who asked for them, Unix seconds.
fn debug_text(kind: &str, started: f64, first: f64, last: f64) -> String {
    serde_json::json!({
        "answer_receive_end_at": last,
        "answer_receive_start_at": first,
        "start_time": started,
        "type": kind,
    })
    .to_string()
}

/// Unix time as the `X-Cocoon-*` headers write it.
fn header_time(unix: f64) -> String {
    format!("{unix:.6}")
}
