//! The `tcp.*` layer that all three roles share: opening, pings, liveness, queries with time-outs.

use std::collections::BTreeMap;
use std::time::Duration;

use tl::Boxed;
use tl::tcp::Packet;

use crate::frame::{FrameReader, FrameWriter, TooLarge};
use crate::{Error, Randomness, earlier};

/// A dialler gives up after this long without a frame.
const DIALLER_PATIENCE: Duration = Duration::from_secs(20);
/// A dialler pings after this long without a frame.
const PING_AFTER: Duration = Duration::from_secs(10);
/// An acceptor gives up after this long without a frame.
const ACCEPTOR_PATIENCE: Duration = Duration::from_mins(1);
/// What an unknown query is answered with, word for word as the genuine programs do.
const LOST_PROMISE: &str = "Lost promise";

/// Who opened the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// We did: worker and client.
    Dialler,
    /// The other side did: proxy.
    Acceptor,
}

/// What a frame meant. Has no `Debug`: it may hold a prompt.
pub(crate) enum Event<K> {
    /// The connection is open in both directions.
    Open,
    /// A one-way message.
    Packet(Vec<u8>),
    /// A question to us.
    Query { id: i64, data: Vec<u8> },
    /// The answer to a question of ours.
    Answer { call: K, data: Vec<u8> },
    /// A question of ours was refused.
    Refused { call: K, code: i32, message: String },
}

/// One connection above TLS. `K` says which of our questions is meant.
pub(crate) struct Connection<K> {
    end: End,
    reader: FrameReader,
    writer: FrameWriter,
    open: bool,
    last_frame: Duration,
    pinged: bool,
    asked: BTreeMap<i64, (K, Duration)>,
}

impl<K: Copy> Connection<K> {
    /// Our end of a connection that we dialled, and the frame that opens it.
    pub(crate) fn dial(random: &mut dyn Randomness, now: Duration) -> (Self, Vec<u8>) {
        let mut connection = Self::new(End::Dialler, now);
        let hello = connection.wrap(&Packet::Connect { id: random.long() });
        (connection, hello.unwrap_or_default())
    }

    /// Our end of a connection that was opened to us.
    pub(crate) fn accept(now: Duration) -> Self {
        Self::new(End::Acceptor, now)
    }

    fn new(end: End, now: Duration) -> Self {
        Self {
            end,
            reader: FrameReader::default(),
            writer: FrameWriter::default(),
            open: false,
            last_frame: now,
            pinged: false,
            asked: BTreeMap::new(),
        }
    }

    /// Takes bytes in; then call [`Self::next`] until it says `None`.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.reader.push(bytes);
    }

    /// The next thing that happened. Frames that this layer answers by itself go to `wire`.
    pub(crate) fn next(&mut self, now: Duration, wire: &mut Vec<Vec<u8>>) -> Result<Option<Event<K>>, Error> {
        while let Some(payload) = self.reader.next()? {
            self.last_frame = now;
            self.pinged = false;
            let packet = Packet::from_bytes(&payload).map_err(|_| Error::Malformed { what: "a transport packet" })?;
            if !self.open {
                match (self.end, packet) {
                    (End::Dialler, Packet::Connected { .. }) => {}
                    (End::Acceptor, Packet::Connect { id }) => {
                        self.push_frame(&Packet::Connected { id }, wire);
                    }
                    _ => return Err(Error::NotOpen),
                }
                self.open = true;
                return Ok(Some(Event::Open));
            }
            match packet {
                // The genuine programs never compare these ids and ignore what comes twice.
                Packet::Connect { .. } | Packet::Connected { .. } | Packet::Pong { .. } => {}
                Packet::Ping { id } => self.push_frame(&Packet::Pong { id }, wire),
                Packet::Packet { data } => return Ok(Some(Event::Packet(data))),
                Packet::Query { id, data } => return Ok(Some(Event::Query { id, data })),
                Packet::QueryAnswer { id, data } => {
                    if let Some((call, _)) = self.asked.remove(&id) {
                        return Ok(Some(Event::Answer { call, data }));
                    }
                }
                Packet::QueryError { id, code, message } => {
                    if let Some((call, _)) = self.asked.remove(&id) {
                        return Ok(Some(Event::Refused { call, code, message }));
                    }
                }
            }
        }
        Ok(None)
    }

    fn push_frame(&mut self, packet: &Packet, wire: &mut Vec<Vec<u8>>) {
        if let Ok(frame) = self.wrap(packet) {
            wire.push(frame);
        }
    }

    fn wrap(&mut self, packet: &Packet) -> Result<Vec<u8>, TooLarge> {
        self.writer.wrap(&packet.to_bytes())
    }

    /// Frames a one-way message.
    pub(crate) fn message(&mut self, data: Vec<u8>) -> Result<Vec<u8>, TooLarge> {
        self.wrap(&Packet::Packet { data })
    }

    /// Frames a question, whose answer or silence is later reported as `call`.
    pub(crate) fn ask(
        &mut self,
        call: K,
        data: Vec<u8>,
        patience: Duration,
        random: &mut dyn Randomness,
        now: Duration,
    ) -> Result<Vec<u8>, TooLarge> {
        let id = random.long();
        let frame = self.wrap(&Packet::Query { id, data })?;
        self.asked.insert(id, (call, now.saturating_add(patience)));
        Ok(frame)
    }

    /// Frames the answer to a question.
    pub(crate) fn answer(&mut self, id: i64, data: Vec<u8>) -> Result<Vec<u8>, TooLarge> {
        self.wrap(&Packet::QueryAnswer { id, data })
    }

    /// Frames the refusal of a question.
    pub(crate) fn refuse(&mut self, id: i64, code: i32, message: &str) -> Result<Vec<u8>, TooLarge> {
        self.wrap(&Packet::QueryError { id, code, message: message.to_owned() })
    }

    /// Frames the answer to a question that nobody knows.
    pub(crate) fn lost_promise(&mut self, id: i64) -> Result<Vec<u8>, TooLarge> {
        self.refuse(id, 0, LOST_PROMISE)
    }

    /// When [`Self::tick`] or [`Self::expired`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let unanswered = self.asked.values().map(|(_, until)| *until).min();
        earlier(Some(self.silence_deadline()), unanswered)
    }

    /// When silence becomes a ping or an end.
    pub(crate) fn silence_deadline(&self) -> Duration {
        let patience = if self.end == End::Dialler && self.open && !self.pinged { PING_AFTER } else { self.patience() };
        self.last_frame.saturating_add(patience)
    }

    fn patience(&self) -> Duration {
        match self.end {
            End::Dialler => DIALLER_PATIENCE,
            End::Acceptor => ACCEPTOR_PATIENCE,
        }
    }

    /// Pings or gives up when nothing has come for long enough.
    pub(crate) fn tick(&mut self, random: &mut dyn Randomness, now: Duration) -> Result<Option<Vec<u8>>, Error> {
        let silent = now.saturating_sub(self.last_frame);
        if silent >= self.patience() {
            return Err(Error::Silent { seconds: self.patience().as_secs() });
        }
        if self.end == End::Dialler && self.open && !self.pinged && silent >= PING_AFTER {
            self.pinged = true;
            return Ok(self.wrap(&Packet::Ping { id: random.long() }).ok());
        }
        Ok(None)
    }

    /// The next question of ours whose time has run out.
    pub(crate) fn expired(&mut self, now: Duration) -> Option<K> {
        let id = *self.asked.iter().find(|(_, (_, until))| *until <= now)?.0;
        self.asked.remove(&id).map(|(call, _)| call)
    }
}
