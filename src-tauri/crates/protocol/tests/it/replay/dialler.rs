//! What worker and client have in common: one connection that they opened.

use std::collections::VecDeque;
use std::time::Duration;

use protocol::Now;
use tl::Boxed;
use tl::tcp::Packet;

use super::{Script, compare, framed, inner, mono, now, packet};
use crate::recording::Frame;

/// The recorded program got what the recorder saw a little later.
const ON_THE_WAY: f64 = 0.005;

/// A dialler pings when it has heard nothing for this long, in seconds.
const PINGS_AFTER: f64 = 10.0;

/// A machine with one connection.
pub(crate) trait Machine {
    /// Creates it; yields what it sends.
    fn start(&mut self, script: Script, now: Now) -> Vec<Vec<u8>>;
    fn receive(&mut self, bytes: &[u8], now: Now) -> Vec<Vec<u8>>;
    fn tick(&mut self, now: Now) -> Vec<Vec<u8>>;
    fn next_deadline(&self) -> Option<Duration>;
    /// What a made-up proxy answers to a query of the handshake.
    fn made_up_answer(&self, query: &[u8]) -> Vec<u8>;
    /// What the machine's clock says when it gets this object; `None`: nothing that it writes down.
    fn unix_on_receipt(&self, object: &[u8]) -> Option<f64>;
    /// Does what made the recorded program send this object. `None`: time did.
    fn act(&mut self, object: &[u8], at: Duration) -> Option<Vec<Vec<u8>>>;
    /// The recorded payload as a machine with one reading of the clock per step must send it.
    fn wanted(&self, payload: &[u8]) -> Vec<u8>;
}

pub(crate) fn replay(machine: &mut dyn Machine, frames: &[Frame]) -> Result<(), String> {
    let script = Script::default();
    let first = frames[0].at;
    // A ping says when the last frame before it came.
    let begins_with_ping = matches!(packet(&frames[0].payload), Packet::Ping { .. });
    let first = if begins_with_ping { first - PINGS_AFTER } else { first };
    let whole = frames.iter().find(|it| it.to_proxy).is_some_and(|it| it.number == Some(0));
    script.lines().polls = frames.iter().filter(|it| is_poll(it)).map(|it| mono(it.at)).collect();
    let mut driver = Driver { machine, script, sent: VecDeque::new(), count: 0, received: 0, at: first };
    if whole {
        driver.script.lines().longs = own_ids(frames);
    }
    driver.enter(|machine, script, now| machine.start(script, now), first, first);
    if !whole {
        driver.made_up_handshake();
        driver.script.lines().longs = own_ids(frames);
    }
    for frame in frames {
        if frame.to_proxy {
            driver.expect(frame, whole)?;
        } else {
            driver.feed(frame);
        }
    }
    match driver.sent.pop_front() {
        None => Ok(()),
        Some(frame) => Err(format!("sent, but not recorded: {}", hex::encode(frame))),
    }
}

/// Ids that the recorded program drew, in order.
fn own_ids(frames: &[Frame]) -> VecDeque<i64> {
    let own = frames.iter().filter(|it| it.to_proxy);
    own.filter_map(|it| match packet(&it.payload) {
        Packet::Connect { id } | Packet::Ping { id } | Packet::Query { id, .. } => Some(id),
        _ => None,
    })
    .collect()
}

fn is_poll(frame: &Frame) -> bool {
    let status = [tl::worker::UpdatePaymentStatus.to_bytes(), tl::client::UpdatePaymentStatus.to_bytes()];
    frame.to_proxy && inner(&frame.payload).is_some_and(|data| status.contains(&data))
}

struct Driver<'a> {
    machine: &'a mut dyn Machine,
    script: Script,
    sent: VecDeque<Vec<u8>>,
    count: u32,
    received: u32,
    at: f64,
}

impl Driver<'_> {
    /// Calls the machine. Time does not go back.
    fn enter(&mut self, call: impl FnOnce(&mut dyn Machine, Script, Now) -> Vec<Vec<u8>>, at: f64, unix: f64) {
        self.at = self.at.max(at);
        self.script.lines().now = mono(self.at);
        let sent = call(self.machine, self.script.clone(), now(self.at, unix));
        self.sent.extend(sent);
    }

    fn push(&mut self, payload: &[u8], at: f64, unix: f64) {
        let bytes = framed(self.received, payload);
        self.received += 1;
        self.enter(|machine, _, now| machine.receive(&bytes, now), at, unix);
    }

    fn feed(&mut self, frame: &Frame) {
        let unix = inner(&frame.payload).and_then(|data| self.machine.unix_on_receipt(&data));
        self.push(&frame.payload, frame.at + ON_THE_WAY, unix.unwrap_or(frame.at));
    }

    fn made_up_handshake(&mut self) {
        while let Some(bytes) = self.sent.pop_front() {
            assert_eq!(bytes[4..8], self.count.to_le_bytes());
            self.count += 1;
            let answer = match packet(&bytes[8..]) {
                Packet::Connect { id } => Packet::Connected { id },
                Packet::Query { id, data } => Packet::QueryAnswer { id, data: self.machine.made_up_answer(&data) },
                _ => panic!("nothing else belongs into a handshake"),
            };
            self.push(&answer.to_bytes(), self.at, self.at);
        }
    }

    fn expect(&mut self, frame: &Frame, whole: bool) -> Result<(), String> {
        if self.sent.is_empty() {
            self.provoke(frame);
        }
        let sent = self
            .sent
            .pop_front()
            .ok_or_else(|| format!("recorded at {}, but not sent: {}", frame.at, hex::encode(&frame.payload)))?;
        let wanted = Frame { payload: self.machine.wanted(&frame.payload), ..frame.clone() };
        compare(&sent, self.count, &wanted, whole)?;
        self.count += 1;
        Ok(())
    }

    /// Makes the machine send what the recorded program sent by itself.
    fn provoke(&mut self, frame: &Frame) {
        if let Some(data) = inner(&frame.payload) {
            self.at = self.at.max(frame.at);
            self.script.lines().now = mono(self.at);
            if let Some(sent) = self.machine.act(&data, mono(self.at)) {
                self.sent.extend(sent);
                return;
            }
        }
        let unix = inner(&frame.payload).and_then(|data| self.machine.unix_on_receipt(&data));
        let unix = unix.unwrap_or(frame.at);
        self.enter(|machine, _, now| machine.tick(now), frame.at, unix);
        if self.sent.is_empty()
            && let Some(due) = self.machine.next_deadline()
        {
            // The recorder's clock and the program's timer are milliseconds apart.
            let late = due.saturating_sub(mono(frame.at));
            if late < Duration::from_millis(50) {
                let at = frame.at + late.as_secs_f64() + 1e-6;
                self.enter(|machine, _, now| machine.tick(now), at, unix);
            }
        }
    }
}
