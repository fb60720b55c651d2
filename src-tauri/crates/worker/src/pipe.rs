//! The two threads at the pipe to the app: one reads frames into the event loop, one writes what the loop says.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use link::FromWorker;
use link::LaneId;
use link::frame::{self, Decoder};

use crate::event::Event;
use crate::threads;

/// Frames that may wait for the app to read them. Lane bytes among them are bounded by credit; this bounds the rest.
const WAITING_FRAMES: usize = 256;

/// Bytes written at once when several frames wait.
const WRITE_BATCH: usize = 256 * 1024;

/// What is done, on whatever thread notices first, when the pipe is gone. In the box: end the process.
pub type OnGone = Arc<dyn Fn() + Send + Sync>;

/// The loop's end of the pipe.
pub struct Pipe {
    orders: SyncSender<Order>,
}

/// What the writing thread is told.
enum Order {
    /// Write this frame.
    Write(Vec<u8>),
    /// All before is written: say so.
    Flushed(SyncSender<()>),
}

impl Pipe {
    /// Starts both threads.
    pub fn start(
        reader: Box<dyn Read + Send>,
        writer: Box<dyn Write + Send>,
        events: SyncSender<Event>,
        on_gone: OnGone,
    ) -> std::io::Result<Self> {
        let (orders, outgoing) = sync_channel(WAITING_FRAMES);
        let gone = Arc::clone(&on_gone);
        threads::spawn("pipe-write", move || write_all(writer, &outgoing, &gone))?;
        threads::spawn("pipe-read", move || read_all(reader, &events, &on_gone))?;
        Ok(Self { orders })
    }

    /// Says something to the app. A sentence too long for a frame is dropped; none of ours can be.
    pub fn say(&self, message: &FromWorker) {
        if let Ok(frame) = frame::encode_control(message) {
            self.send(frame);
        }
    }

    /// Passes on bytes of a lane, at most [`frame::MAX_DATA`].
    pub fn data(&self, lane: LaneId, bytes: &[u8]) {
        if let Ok(frame) = frame::encode_data(lane, bytes) {
            self.send(frame);
        }
    }

    /// Grants credit.
    pub fn credit(&self, lane: LaneId, bytes: u32) {
        self.send(frame::encode_credit(lane, bytes));
    }

    fn send(&self, frame: Vec<u8>) {
        // Fails only when the writing thread has ended, which has told `on_gone`.
        let _ = self.orders.send(Order::Write(frame));
    }

    /// Waits until all that was said is written, or the pipe is gone.
    pub fn flush(&self) {
        let (flushed, done) = sync_channel(1);
        if self.orders.send(Order::Flushed(flushed)).is_ok() {
            let _ = done.recv();
        }
    }
}

fn read_all(mut reader: Box<dyn Read + Send>, events: &SyncSender<Event>, on_gone: &OnGone) {
    let mut decoder = Decoder::new();
    let mut buffer = vec![0; frame::MAX_DATA];
    'pipe: loop {
        let length = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        decoder.push(buffer.get(..length).unwrap_or_default());
        loop {
            match decoder.next() {
                Ok(Some(frame)) => {
                    if events.send(Event::App(frame)).is_err() {
                        break 'pipe;
                    }
                }
                Ok(None) => break,
                Err(_) => break 'pipe,
            }
        }
    }
    on_gone();
    let _ = events.send(Event::AppGone);
}

fn write_all(mut writer: Box<dyn Write + Send>, orders: &Receiver<Order>, on_gone: &OnGone) {
    while let Ok(order) = orders.recv() {
        let mut batch = Vec::new();
        let mut waiting = Vec::new();
        let mut next = Some(order);
        while let Some(order) = next.take() {
            match order {
                Order::Write(frame) => batch.extend_from_slice(&frame),
                Order::Flushed(flushed) => waiting.push(flushed),
            }
            if batch.len() < WRITE_BATCH {
                next = orders.try_recv().ok();
            }
        }
        if writer.write_all(&batch).and_then(|()| writer.flush()).is_err() {
            on_gone();
            return;
        }
        for flushed in waiting {
            let _ = flushed.send(());
        }
    }
}
