//! One connection to a proxy: bytes between TCP and a lane of the pipe, ciphertext both ways, never more than a window of either.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use link::LaneId;
use link::flow::{LaneReceiver, LaneSender};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::process::Pipe;
use super::{LAST_BYTES, lane_entry};
use crate::core::Input;

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
    /// Write what is left, hang up.
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

/// Enters a lane into the table; the future connects it and relays until it is over.
pub(super) fn dial(
    lane: LaneId,
    endpoint: SocketAddrV4,
    pipe: Pipe,
    inputs: mpsc::Sender<Input>,
    lanes: &Lanes,
) -> impl Future<Output = ()> + Send + use<> {
    let (sender, orders) = mpsc::unbounded_channel();
    let entry = Entry { orders: sender, receiver: LaneReceiver::new() };
    lanes.lock().unwrap_or_else(PoisonError::into_inner).insert(lane, entry);
    let mut relay = Relay {
        lane,
        pipe,
        lanes: Arc::clone(lanes),
        orders,
        sender: LaneSender::new(),
        to_proxy: VecDeque::new(),
        opened: false,
        closing: false,
    };
    async move {
        match relay.connect(endpoint).await {
            Ok(Some(stream)) => {
                let _ = inputs.send(Input::LaneConnected { lane }).await;
                if relay.turn(stream).await {
                    relay.forget();
                    let _ = inputs.send(Input::LaneClosed { lane }).await;
                }
            }
            Ok(None) => {}
            Err(why) => {
                relay.forget();
                let _ = inputs.send(Input::ConnectFailed { lane, why }).await;
            }
        }
    }
}

struct Relay {
    lane: LaneId,
    pipe: Pipe,
    lanes: Lanes,
    orders: mpsc::UnboundedReceiver<Order>,
    sender: LaneSender,
    to_proxy: VecDeque<u8>,
    opened: bool,
    closing: bool,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.forget();
    }
}

impl Relay {
    fn forget(&self) {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.lane);
    }

    /// `None`: it was called off.
    async fn connect(&mut self, endpoint: SocketAddrV4) -> Result<Option<TcpStream>, String> {
        let connecting = timeout(CONNECT_PATIENCE, TcpStream::connect(endpoint));
        let stream = tokio::select! {
            done = connecting => done.map_err(|_| "it does not answer".to_owned())?.map_err(|error| error.to_string())?,
            // Nothing else can be meant before there is a connection.
            _ = self.orders.recv() => return Ok(None),
        };
        // Answers leave token by token.
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(Some(stream))
    }

    /// Relays until one side has enough. True: it was the proxy's.
    async fn turn(&mut self, stream: TcpStream) -> bool {
        let (mut reading, mut writing) = stream.into_split();
        let mut buffer = vec![0; READ_AT_ONCE];
        loop {
            if self.closing && self.to_proxy.is_empty() {
                let _ = writing.shutdown().await;
                // What the proxy still says is read away: to close with bytes unread would reset the connection, and the
                // proxy might lose the last we said.
                let rest = async { while reading.read(&mut buffer).await.is_ok_and(|length| length > 0) {} };
                let _ = timeout(LAST_BYTES, rest).await;
                return false;
            }
            let room = if self.closing { 0 } else { self.sender.room().min(READ_AT_ONCE) };
            let (front, _) = self.to_proxy.as_slices();
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => if !self.obey(order) { return true },
                    None => return false,
                },
                written = writing.write(front), if !front.is_empty() => match written {
                    Ok(length) if length > 0 => {
                        self.to_proxy.drain(..length);
                        self.took(length);
                    }
                    _ => return !self.closing,
                },
                // Without credit nothing is read: TCP makes the proxy wait.
                read = reading.read(buffer.get_mut(..room).unwrap_or_default()), if room > 0 => match read {
                    Ok(length) if length > 0 => {
                        self.sender.push(buffer.get(..length).unwrap_or_default());
                        self.pass_on();
                    }
                    _ => {
                        let _ = timeout(DRAIN_PATIENCE, self.drain()).await;
                        return !self.closing;
                    }
                },
            }
        }
    }

    /// The proxy hung up: hands over what it said before.
    async fn drain(&mut self) {
        while self.sender.queued() > 0 && !self.closing {
            match self.orders.recv().await {
                // There is nobody left to write it to.
                Some(Order::Data(bytes)) => self.took(bytes.len()),
                Some(order) => {
                    if !self.obey(order) {
                        return;
                    }
                }
                None => return,
            }
        }
    }

    /// False: the worker broke the rules of credit.
    fn obey(&mut self, order: Order) -> bool {
        match order {
            Order::Opened => self.opened = true,
            Order::Data(bytes) => self.to_proxy.extend(bytes),
            Order::Credit(bytes) => {
                if self.sender.granted(bytes).is_err() {
                    return false;
                }
            }
            Order::Close => self.closing = true,
        }
        self.pass_on();
        true
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
