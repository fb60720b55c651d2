//! One connection to a proxy: bytes between TCP and a lane of the pipe, ciphertext both ways, never more than a window of either.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use link::LaneId;
use link::flow::{FlowError, LaneReceiver, LaneSender};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::process::Pipe;
use super::traffic::Counter;
use super::{LAST_BYTES, lane_entry};
use crate::core::{Generation, Input};

/// How long a proxy may take to accept a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long the worker may take to make room for what a proxy said before it hung up.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);
const READ_AT_ONCE: usize = 64 * 1024;

/// What a lane is told.
pub(super) enum Order {
    /// The worker knows the lane; bytes may follow.
    Opened,
    /// Bytes for the proxy. Within the lane's window, which was checked.
    Data(Vec<u8>),
    /// The worker took so many bytes.
    Credit(u32),
    /// A job ended, and the bytes that end it follow: they and what comes behind them do not leave for the proxy until this was
    /// answered with [`Order::Release`]. So a proxy does not pay for a job that is not written down.
    Hold,
    /// One job that was waited for is written down, or can't be.
    Release,
    /// Write what is left, hang up. A proxy that does not take it within [`LAST_BYTES`] loses it.
    Close,
}

/// What others know of a lane.
pub(super) struct Entry {
    pub(super) orders: mpsc::UnboundedSender<Order>,
    pub(super) receiver: LaneReceiver,
}

/// All lanes there are.
pub(super) type Lanes = Arc<Mutex<BTreeMap<LaneId, Entry>>>;

/// Tells a lane something, if it is there.
pub(super) fn order(lanes: &Lanes, lane: LaneId, order: Order) {
    lane_entry(lanes, lane, |entry| {
        let _ = entry.orders.send(order);
    });
}

/// Bytes of the worker's for a lane. `Err`: it had no credit for them. A lane that is closed may still have bytes under way; they
/// are for nobody.
pub(super) fn data(lanes: &Lanes, lane: LaneId, bytes: Vec<u8>) -> Result<(), FlowError> {
    lane_entry(lanes, lane, |entry| {
        entry.receiver.arrived(bytes.len())?;
        let _ = entry.orders.send(Order::Data(bytes));
        Ok(())
    })
    .unwrap_or(Ok(()))
}

/// Enters a lane into the table; the future connects it and relays until it is over.
pub(super) fn dial(
    lane: LaneId,
    endpoint: SocketAddrV4,
    generation: Generation,
    pipe: Pipe,
    inputs: mpsc::Sender<Input>,
    lanes: &Lanes,
    moved: Counter,
) -> impl Future<Output = ()> + Send + use<> {
    let mut relay = Relay::new(lane, pipe, lanes);
    relay.moved = moved;
    async move {
        let over = match relay.connect(endpoint).await {
            Ok(stream) => {
                let _ = inputs.send(Input::LaneConnected { lane }).await;
                relay.turn(stream).await
            }
            Err(over) => over,
        };
        relay.forget();
        let input = match over {
            Over::CalledOff => return,
            Over::Unreachable(why) => Input::ConnectFailed { lane, why },
            Over::HungUp => Input::LaneClosed { lane },
            Over::Garbled(why) => Input::WorkerGarbled { generation, why },
        };
        let _ = inputs.send(input).await;
    }
}

/// How a lane ends.
#[derive(Debug, PartialEq, Eq)]
enum Over {
    /// We were told to.
    CalledOff,
    /// There was no connection, for this reason.
    Unreachable(String),
    /// The proxy hung up.
    HungUp,
    /// The worker broke the rules of the pipe, in this way.
    Garbled(String),
}

impl From<FlowError> for Over {
    fn from(error: FlowError) -> Self {
        Self::Garbled(error.to_string())
    }
}

struct Relay {
    lane: LaneId,
    pipe: Pipe,
    lanes: Lanes,
    orders: mpsc::UnboundedReceiver<Order>,
    sender: LaneSender,
    to_proxy: VecDeque<u8>,
    /// Jobs that are to be written down before more leaves.
    held: u32,
    /// Bytes at the front of `to_proxy` that came before the first of these jobs ended.
    free: usize,
    opened: bool,
    closing: bool,
    /// Counts what goes over the line.
    moved: Counter,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.forget();
    }
}

impl Relay {
    /// A lane that is in the table and has no connection.
    fn new(lane: LaneId, pipe: Pipe, lanes: &Lanes) -> Self {
        let (sender, orders) = mpsc::unbounded_channel();
        let entry = Entry { orders: sender, receiver: LaneReceiver::new() };
        lanes.lock().unwrap_or_else(PoisonError::into_inner).insert(lane, entry);
        Self {
            lane,
            pipe,
            lanes: Arc::clone(lanes),
            orders,
            sender: LaneSender::new(),
            to_proxy: VecDeque::new(),
            held: 0,
            free: 0,
            opened: false,
            closing: false,
            moved: Counter::default(),
        }
    }

    fn forget(&self) {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.lane);
    }

    async fn connect(&mut self, endpoint: SocketAddrV4) -> Result<TcpStream, Over> {
        let connecting = timeout(CONNECT_PATIENCE, TcpStream::connect(endpoint));
        let unreachable = |error: std::io::Error| Over::Unreachable(error.to_string());
        let stream = tokio::select! {
            biased;
            order = self.orders.recv() => return Err(match order {
                Some(Order::Close) | None => Over::CalledOff,
                Some(Order::Opened | Order::Data(_) | Order::Credit(_) | Order::Hold | Order::Release) => {
                    Over::Garbled("it speaks on a lane that is not open".to_owned())
                }
            }),
            done = connecting => done
                .map_err(|_| Over::Unreachable("it does not answer".to_owned()))?
                .map_err(unreachable)?,
        };
        // Answers leave token by token.
        stream.set_nodelay(true).map_err(unreachable)?;
        Ok(stream)
    }

    /// Relays until one side has enough.
    async fn turn(&mut self, stream: TcpStream) -> Over {
        let (mut reading, mut writing) = stream.into_split();
        let mut buffer = vec![0; READ_AT_ONCE];
        while !self.closing {
            // Without credit nothing is read: TCP makes the proxy wait.
            let room = (self.sender.credit() as usize).saturating_sub(self.sender.queued()).min(READ_AT_ONCE);
            let (front, _) = self.to_proxy.as_slices();
            let front = if self.held == 0 { front } else { front.get(..self.free).unwrap_or(front) };
            tokio::select! {
                order = self.orders.recv() => match order.map(|order| self.obey(order)) {
                    Some(Ok(())) => {}
                    Some(Err(broken)) => return broken.into(),
                    None => return Over::CalledOff,
                },
                written = writing.write(front), if !front.is_empty() => match written {
                    Ok(length) if length > 0 => {
                        self.moved.sent(length);
                        self.to_proxy.drain(..length);
                        self.free = self.free.saturating_sub(length);
                        self.took(length);
                    }
                    _ => return Over::HungUp,
                },
                read = reading.read(buffer.get_mut(..room).unwrap_or_default()), if room > 0 => match read {
                    Ok(length) if length > 0 => {
                        self.moved.received(length);
                        self.sender.push(buffer.get(..length).unwrap_or_default());
                        self.pass_on();
                    }
                    _ => return timeout(DRAIN_PATIENCE, self.drain()).await.unwrap_or(Over::HungUp),
                },
            }
        }
        let end = Instant::now() + LAST_BYTES;
        // The last answers wait for the ledger too; what is not written down by then is not sent.
        if timeout_at(end, self.released()).await.is_err() {
            return Over::CalledOff;
        }
        // What the worker may still say is for nobody.
        self.forget();
        let moved = self.moved.clone();
        let front = self.to_proxy.make_contiguous();
        let last = async {
            if writing.write_all(front).await.is_ok() {
                moved.sent(front.len());
                let _ = writing.shutdown().await;
            }
        };
        // What the proxy still says is read away: to close with bytes unread would reset the connection, and the proxy might lose
        // the last we said.
        let rest = async { while reading.read(&mut buffer).await.is_ok_and(|length| length > 0) {} };
        let _ = timeout_at(end, async { tokio::join!(last, rest) }).await;
        Over::CalledOff
    }

    /// Waits until all jobs that ended are written down. Bytes that came before the end were taken in already.
    async fn released(&mut self) {
        while self.held > 0 {
            match self.orders.recv().await {
                Some(Order::Hold) => self.held = self.held.saturating_add(1),
                Some(Order::Release) => self.held -= 1,
                Some(Order::Opened | Order::Data(_) | Order::Credit(_) | Order::Close) => {}
                None => return,
            }
        }
    }

    /// The proxy hung up: hands over what it said before.
    async fn drain(&mut self) -> Over {
        while self.sender.queued() > 0 && !self.closing {
            match self.orders.recv().await {
                // There is nobody left to write it to.
                Some(Order::Data(bytes)) => self.took(bytes.len()),
                Some(order) => {
                    if let Err(broken) = self.obey(order) {
                        return broken.into();
                    }
                }
                None => return Over::CalledOff,
            }
        }
        if self.closing { Over::CalledOff } else { Over::HungUp }
    }

    /// `Err`: the worker broke the rules of credit.
    fn obey(&mut self, order: Order) -> Result<(), FlowError> {
        match order {
            Order::Opened => self.opened = true,
            Order::Data(bytes) => self.to_proxy.extend(bytes),
            Order::Credit(bytes) => self.sender.granted(bytes)?,
            Order::Close => self.closing = true,
            Order::Hold => {
                if self.held == 0 {
                    self.free = self.to_proxy.len();
                }
                self.held = self.held.saturating_add(1);
            }
            Order::Release => self.held = self.held.saturating_sub(1),
        }
        self.pass_on();
        Ok(())
    }

    fn pass_on(&mut self) {
        if !self.opened || self.closing {
            return;
        }
        while let Some(chunk) = self.sender.next_chunk() {
            self.pipe.data(self.lane, &chunk);
        }
    }

    fn took(&self, length: usize) {
        if let Some(Some(grant)) = lane_entry(&self.lanes, self.lane, |entry| entry.receiver.taken(length)) {
            self.pipe.credit(self.lane, grant);
        }
    }
}

#[cfg(test)]
mod tests;
