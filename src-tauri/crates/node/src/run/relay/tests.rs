use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::Receiver;

use link::ToWorker;
use link::flow::WINDOW;
use link::frame::{Decoder, Frame, MAX_DATA};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::sleep;

use super::*;

const LANE: LaneId = LaneId(3);
const GENERATION: Generation = Generation(8);
const ONE_WINDOW: usize = WINDOW as usize;
/// Nothing happens any more when nothing happened for so long.
const QUIET: Duration = Duration::from_millis(300);
/// No test waits longer for anything that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// The worker's end: what was said to it, what it has credit for.
struct Worker {
    frames: Receiver<Vec<u8>>,
    decoder: Decoder<ToWorker>,
    sender: LaneSender,
    lanes: Lanes,
}

impl Worker {
    fn new() -> (Self, Pipe) {
        let (pipe, frames) = Pipe::new();
        let lanes = Lanes::default();
        (Self { frames, decoder: Decoder::new(), sender: LaneSender::new(), lanes }, pipe)
    }

    /// What it was told since it looked last.
    fn heard(&mut self) -> Vec<Frame<ToWorker>> {
        let mut heard = Vec::new();
        for bytes in self.frames.try_iter() {
            self.decoder.push(&bytes);
            while let Some(frame) = self.decoder.next().unwrap() {
                heard.push(frame);
            }
        }
        heard
    }

    /// The bytes of the proxy that it was given since it looked last; nothing else was said.
    fn bytes(&mut self) -> Vec<u8> {
        self.heard().into_iter().flat_map(bytes_of).collect()
    }

    async fn until_bytes(&mut self, count: usize) -> Vec<u8> {
        let mut got = Vec::new();
        let all = async {
            while got.len() < count {
                got.extend(self.bytes());
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, all).await.unwrap();
        got
    }

    /// Says bytes to the proxy as fast as credit allows, until none came for a while.
    async fn says_what_it_may(&mut self, bytes: &[u8]) {
        self.sender.push(bytes);
        let mut quiet = Duration::ZERO;
        while quiet < QUIET {
            while let Some(chunk) = self.sender.next_chunk() {
                quiet = Duration::ZERO;
                data(&self.lanes, LANE, chunk).unwrap();
            }
            sleep(Duration::from_millis(10)).await;
            quiet += Duration::from_millis(10);
            for frame in self.heard() {
                match frame {
                    Frame::Credit { lane: LANE, bytes } => self.sender.granted(bytes).unwrap(),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn order(&self, what: Order) {
        order(&self.lanes, LANE, what);
    }

    fn knows_the_lane(&self) -> bool {
        lane_entry(&self.lanes, LANE, |_| ()).is_some()
    }

    /// The lane is there, and the system keeps little of what is written to the proxy, whose end this also gives.
    async fn connected(&self, pipe: Pipe) -> (Relay, TcpStream, TcpStream) {
        let relay = Relay::new(LANE, pipe, &self.lanes);
        let listening = TcpSocket::new_v4().unwrap();
        listening.set_recv_buffer_size(16 * 1024).unwrap();
        listening.set_send_buffer_size(16 * 1024).unwrap();
        listening.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let listener = listening.listen(1).unwrap();
        let ours = TcpSocket::new_v4().unwrap();
        ours.set_recv_buffer_size(16 * 1024).unwrap();
        ours.set_send_buffer_size(16 * 1024).unwrap();
        let ours = ours.connect(listener.local_addr().unwrap()).await.unwrap();
        let (proxy, _) = listener.accept().await.unwrap();
        (relay, ours, proxy)
    }
}

fn bytes_of(frame: Frame<ToWorker>) -> Vec<u8> {
    match frame {
        Frame::Data { lane: LANE, bytes } => bytes,
        other => panic!("{other:?}"),
    }
}

/// Lets the lane run for as long as the script takes; it must not end meanwhile.
async fn during<T>(relay: &mut Relay, stream: TcpStream, script: impl Future<Output = T>) -> T {
    tokio::select! {
        over = relay.turn(stream) => panic!("the lane ended: {over:?}"),
        got = timeout(PATIENCE, script) => got.unwrap(),
    }
}

/// Writes more than a window, until the other side takes no more for a while.
async fn flood(proxy: &mut TcpStream) {
    let mut said = 0;
    let chunk: Vec<u8> = (0..=255).cycle().take(64 * 1024).collect();
    loop {
        match timeout(QUIET, proxy.write(&chunk[said % 256..])).await {
            Ok(length) => said += length.unwrap(),
            Err(_) if said > ONE_WINDOW => return,
            Err(_) => {}
        }
    }
}

fn is_the_flood(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().all(|(at, byte)| *byte == at as u8)
}

async fn listener() -> (TcpListener, SocketAddrV4) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    match listener.local_addr().unwrap() {
        SocketAddr::V4(address) => (listener, address),
        SocketAddr::V6(address) => panic!("{address}"),
    }
}

#[tokio::test]
async fn a_proxy_that_floods_is_read_by_one_window_while_the_worker_gives_no_credit() {
    let (mut worker, pipe) = Worker::new();
    let (mut relay, stream, mut proxy) = worker.connected(pipe).await;
    let got = during(&mut relay, stream, async {
        worker.order(Order::Opened);
        flood(&mut proxy).await;
        let mut got = worker.until_bytes(ONE_WINDOW).await;
        sleep(QUIET).await;
        assert!(worker.bytes().is_empty());
        // Exactly as much more as the worker took.
        worker.order(Order::Credit(1000));
        got.extend(worker.until_bytes(1000).await);
        sleep(QUIET).await;
        assert!(worker.bytes().is_empty());
        got
    })
    .await;
    assert_eq!(got.len(), ONE_WINDOW + 1000);
    assert!(is_the_flood(&got));
    assert_eq!(relay.sender.queued(), 0, "what the worker can't take stays with the proxy");
}

#[tokio::test]
async fn a_proxy_that_floods_before_the_worker_knows_the_lane_is_read_by_one_window() {
    let (mut worker, pipe) = Worker::new();
    let (mut relay, stream, mut proxy) = worker.connected(pipe).await;
    during(&mut relay, stream, async {
        flood(&mut proxy).await;
        sleep(QUIET).await;
    })
    .await;
    assert_eq!(worker.heard(), []);
    assert_eq!(relay.sender.queued(), ONE_WINDOW);
}

#[tokio::test]
async fn a_proxy_that_does_not_read_makes_the_app_hold_one_window_at_most() {
    let (mut worker, pipe) = Worker::new();
    let (mut relay, stream, proxy) = worker.connected(pipe).await;
    let much: Vec<u8> = (0..=255).cycle().take(64 * ONE_WINDOW).collect();
    during(&mut relay, stream, async {
        worker.order(Order::Opened);
        worker.says_what_it_may(&much).await;
    })
    .await;
    assert!(worker.sender.queued() > 0, "the system took it all: this proves nothing");
    assert!(relay.to_proxy.len() <= ONE_WINDOW, "{} bytes are kept", relay.to_proxy.len());
    assert_eq!(worker.sender.credit(), 0);
    // One who goes on without credit is found out before anything of it is kept.
    assert_eq!(data(&worker.lanes, LANE, vec![0]), Err(FlowError::Overrun { excess: 1 }));
    drop(proxy);
}

#[tokio::test]
async fn what_a_slow_proxy_reads_late_is_whole_and_in_order() {
    let (mut worker, pipe) = Worker::new();
    let (mut relay, stream, mut proxy) = worker.connected(pipe).await;
    let much: Vec<u8> = (0..=255).cycle().take(8 * ONE_WINDOW).collect();
    during(&mut relay, stream, async {
        worker.order(Order::Opened);
        worker.says_what_it_may(&much).await;
        let mut got = vec![0; much.len()];
        let (read, ()) = tokio::join!(proxy.read_exact(&mut got), worker.says_what_it_may(&[]));
        read.unwrap();
        assert!(is_the_flood(&got));
    })
    .await;
    assert_eq!((relay.to_proxy.len(), worker.sender.queued()), (0, 0));
}

#[tokio::test]
async fn a_closed_lane_writes_what_was_queued_before_it_hangs_up() {
    let (worker, pipe) = Worker::new();
    let (mut relay, stream, mut proxy) = worker.connected(pipe).await;
    let last: Vec<u8> = (0..=255).cycle().take(ONE_WINDOW).collect();
    for chunk in last.chunks(MAX_DATA) {
        data(&worker.lanes, LANE, chunk.to_vec()).unwrap();
    }
    worker.order(Order::Close);
    // The proxy still talks: with that unread, hanging up would tear down what it has not read yet.
    proxy.write_all(&[1; 1000]).await.unwrap();
    let mut got = Vec::new();
    let (over, read) = tokio::join!(relay.turn(stream), async {
        sleep(Duration::from_millis(50)).await;
        let read = proxy.read_to_end(&mut got).await;
        drop(proxy);
        read
    });
    assert_eq!(read.unwrap(), last.len(), "whole, and an ordinary end");
    assert!(is_the_flood(&got));
    assert_eq!(over, Over::CalledOff);
}

#[tokio::test]
async fn what_ends_a_job_waits_until_it_is_written_down() {
    let (worker, pipe) = Worker::new();
    let (mut relay, stream, mut proxy) = worker.connected(pipe).await;
    let mut byte = [0; 1];
    during(&mut relay, stream, async {
        for order in [Order::Data(vec![1]), Order::Hold, Order::Data(vec![2]), Order::Hold] {
            worker.order(order);
        }
        worker.order(Order::Release);
        assert_eq!(proxy.read_exact(&mut byte).await.unwrap(), 1);
        assert_eq!(byte, [1]);
        assert!(timeout(QUIET, proxy.read_exact(&mut byte)).await.is_err(), "one of two is not written down");
        worker.order(Order::Release);
        proxy.read_exact(&mut byte).await.unwrap();
        assert_eq!(byte, [2]);
        // One word too many is no debt.
        worker.order(Order::Release);
        worker.order(Order::Hold);
        worker.order(Order::Data(vec![3]));
        assert!(timeout(QUIET, proxy.read_exact(&mut byte)).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_closed_lane_waits_for_the_ledger_too_and_sends_nothing_that_is_not_written_down() {
    for released in [true, false] {
        let (worker, pipe) = Worker::new();
        let (mut relay, stream, mut proxy) = worker.connected(pipe).await;
        for order in [Order::Hold, Order::Data(vec![7; 10]), Order::Close] {
            worker.order(order);
        }
        let mut got = Vec::new();
        let (over, ()) = tokio::join!(relay.turn(stream), async {
            sleep(QUIET).await;
            assert!(worker.knows_the_lane(), "or the word would not reach it");
            if released {
                worker.order(Order::Release);
            }
            let _ = proxy.read_to_end(&mut got).await;
            drop(proxy);
        });
        assert_eq!(over, Over::CalledOff);
        assert_eq!(got, if released { vec![7; 10] } else { Vec::new() });
    }
}

#[tokio::test]
async fn a_closed_lane_to_a_proxy_that_does_not_read_is_over_in_time() {
    let (worker, pipe) = Worker::new();
    let (mut relay, stream, proxy) = worker.connected(pipe).await;
    for _ in 0..ONE_WINDOW / MAX_DATA {
        data(&worker.lanes, LANE, vec![0; MAX_DATA]).unwrap();
    }
    worker.order(Order::Close);
    assert_eq!(timeout(PATIENCE, relay.turn(stream)).await.unwrap(), Over::CalledOff);
    assert!(!worker.knows_the_lane());
    drop(proxy);
}

#[tokio::test]
async fn what_the_proxy_says_before_the_worker_knows_the_lane_follows_after() {
    let (mut worker, pipe) = Worker::new();
    let (mut relay, stream, mut proxy) = worker.connected(pipe.clone()).await;
    during(&mut relay, stream, async {
        proxy.write_all(b"a riddle").await.unwrap();
        sleep(QUIET).await;
        assert_eq!(worker.heard(), [], "the worker does not know the lane yet");
        let opened = ToWorker::OpenLane { lane: LANE, known_key: None, unix_ms: 1 };
        pipe.say(&opened);
        worker.order(Order::Opened);
        proxy.write_all(b", then more").await.unwrap();
        let mut heard = Vec::new();
        while heard.is_empty() {
            heard = worker.heard();
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(heard.remove(0), Frame::Control(opened));
        let mut got: Vec<u8> = heard.into_iter().flat_map(bytes_of).collect();
        got.extend(worker.until_bytes(19 - got.len()).await);
        assert_eq!(got, b"a riddle, then more");
    })
    .await;
}

#[tokio::test]
async fn what_the_proxy_said_before_it_hung_up_reaches_a_worker_that_learns_of_the_lane_later() {
    let (mut worker, pipe) = Worker::new();
    let (listener, endpoint) = listener().await;
    let (inputs, mut said) = mpsc::channel(4);
    let traffic = crate::run::traffic::Traffic::default();
    let lane = tokio::spawn(dial(LANE, endpoint, GENERATION, pipe, inputs, &worker.lanes, traffic.of(endpoint)));
    let (mut proxy, _) = listener.accept().await.unwrap();
    assert_eq!(said.recv().await, Some(Input::LaneConnected { lane: LANE }));
    proxy.write_all(b"go away").await.unwrap();
    drop(proxy);
    sleep(QUIET).await;
    assert!(said.try_recv().is_err(), "bytes still have to follow");
    worker.order(Order::Opened);
    assert_eq!(timeout(PATIENCE, said.recv()).await.unwrap(), Some(Input::LaneClosed { lane: LANE }));
    assert_eq!(worker.bytes(), b"go away");
    assert!(!worker.knows_the_lane());
    lane.await.unwrap();
    let moved = traffic.moved();
    assert_eq!((moved[0].sent, moved[0].received), (0, 7), "what went over the line is counted");
}

#[tokio::test]
async fn a_dial_that_is_called_off_says_nothing_and_leaves_nothing() {
    let (worker, pipe) = Worker::new();
    let (listener, endpoint) = listener().await;
    let (inputs, mut said) = mpsc::channel(4);
    let lane = dial(LANE, endpoint, GENERATION, pipe, inputs, &worker.lanes, Counter::default());
    assert!(worker.knows_the_lane());
    worker.order(Order::Close);
    timeout(PATIENCE, lane).await.unwrap();
    assert_eq!(said.recv().await, None, "neither connected nor failed nor closed");
    assert!(!worker.knows_the_lane());
    drop(listener);
}

#[tokio::test]
async fn a_connection_that_is_called_off_is_hung_up_without_a_word() {
    let (worker, pipe) = Worker::new();
    let (listener, endpoint) = listener().await;
    let (inputs, mut said) = mpsc::channel(4);
    let lane = tokio::spawn(dial(LANE, endpoint, GENERATION, pipe, inputs, &worker.lanes, Counter::default()));
    let (mut proxy, _) = listener.accept().await.unwrap();
    assert_eq!(said.recv().await, Some(Input::LaneConnected { lane: LANE }));
    worker.order(Order::Close);
    assert_eq!(timeout(PATIENCE, proxy.read(&mut [0; 8])).await.unwrap().unwrap(), 0);
    drop(proxy);
    lane.await.unwrap();
    assert_eq!(said.recv().await, None);
    assert!(!worker.knows_the_lane());
}

#[tokio::test]
async fn a_proxy_that_takes_no_connection_is_reported_and_its_lane_forgotten() {
    let (worker, pipe) = Worker::new();
    let (listener, endpoint) = listener().await;
    drop(listener);
    let (inputs, mut said) = mpsc::channel(4);
    timeout(PATIENCE, dial(LANE, endpoint, GENERATION, pipe, inputs, &worker.lanes, Counter::default())).await.unwrap();
    assert!(matches!(said.recv().await, Some(Input::ConnectFailed { lane: LANE, why }) if !why.is_empty()));
    assert_eq!(said.recv().await, None);
    assert!(!worker.knows_the_lane());
}

/// The lane of a connected proxy ends by the worker's fault, and the proxy is not blamed.
async fn check_garbled(proxy_says: &[u8], proxy_leaves: bool, orders: impl FnOnce(&Worker), expected: &str) {
    let (worker, pipe) = Worker::new();
    let (listener, endpoint) = listener().await;
    let (inputs, mut said) = mpsc::channel(4);
    let lane = tokio::spawn(dial(LANE, endpoint, GENERATION, pipe, inputs, &worker.lanes, Counter::default()));
    let (mut proxy, _) = listener.accept().await.unwrap();
    assert_eq!(said.recv().await, Some(Input::LaneConnected { lane: LANE }));
    proxy.write_all(proxy_says).await.unwrap();
    let proxy = (!proxy_leaves).then_some(proxy);
    sleep(QUIET).await;
    orders(&worker);
    let expected = Input::WorkerGarbled { generation: GENERATION, why: expected.to_owned() };
    assert_eq!(timeout(PATIENCE, said.recv()).await.unwrap(), Some(expected));
    lane.await.unwrap();
    assert_eq!(said.recv().await, None, "it is said once");
    assert!(!worker.knows_the_lane());
    drop(proxy);
}

#[tokio::test]
async fn credit_for_what_was_never_sent_is_the_workers_fault_and_not_the_proxys() {
    let overgrant = "a lane was granted 5 bytes more than it had sent";
    check_garbled(&[], false, |worker| worker.order(Order::Credit(5)), overgrant).await;
    let later = |worker: &Worker| {
        worker.order(Order::Opened);
        worker.order(Order::Credit(15));
    };
    check_garbled(&[7; 10], false, later, overgrant).await;
    // Also while the last words of a proxy that has hung up wait for the worker.
    check_garbled(&[7; 10], true, |worker| worker.order(Order::Credit(5)), overgrant).await;
}

#[tokio::test]
async fn a_worker_that_speaks_on_a_lane_that_is_still_dialled_breaks_the_rules() {
    let (worker, pipe) = Worker::new();
    let (listener, endpoint) = listener().await;
    let (inputs, mut said) = mpsc::channel(4);
    let lane = dial(LANE, endpoint, GENERATION, pipe, inputs, &worker.lanes, Counter::default());
    data(&worker.lanes, LANE, vec![1]).unwrap();
    lane.await;
    assert!(matches!(said.recv().await, Some(Input::WorkerGarbled { generation: GENERATION, .. })));
    assert_eq!(said.recv().await, None);
    drop(listener);
}

#[test]
fn bytes_for_a_lane_that_is_gone_are_for_nobody() {
    let (worker, _pipe) = Worker::new();
    data(&worker.lanes, LANE, vec![0; 2 * ONE_WINDOW]).unwrap();
    worker.order(Order::Credit(9));
}
