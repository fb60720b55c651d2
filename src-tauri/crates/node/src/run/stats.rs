//! The statistics page: `GET /jsonstats` on loopback. Small on purpose: it reads one request, bounded in bytes and time, answers and hangs up. Nothing
//! can be changed through it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::snapshot::Snapshot;

const MOST_BYTES: usize = 8 * 1024;
const MOST_AT_ONCE: usize = 16;
const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no statistics page.
#[derive(Debug, thiserror::Error)]
pub enum StatsError {
    /// Anybody could read it.
    #[error("statistics are for this machine only: {address} is not a loopback address; use 127.0.0.1:PORT")]
    NotLoopback {
        /// What was asked for.
        address: SocketAddr,
    },
    /// The port is taken, or not ours to take.
    #[error("the port {} for statistics can't be used: {source}; choose another one with --stats, or 0 for any", address.port())]
    Port {
        /// What was asked for.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

/// The page, served until this is dropped, whichever node runs.
#[derive(Debug)]
pub struct Stats {
    address: SocketAddr,
    shown: Arc<Mutex<watch::Receiver<Snapshot>>>,
    serving: AbortHandle,
}

impl Stats {
    /// Begins to serve. Port 0: any free one.
    pub async fn serve(address: SocketAddr, snapshots: watch::Receiver<Snapshot>) -> Result<Self, StatsError> {
        if !address.ip().is_loopback() {
            return Err(StatsError::NotLoopback { address });
        }
        let failed = |source| StatsError::Port { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shown = Arc::new(Mutex::new(snapshots));
        let serving = tokio::spawn(accept(listener, Arc::clone(&shown))).abort_handle();
        Ok(Self { address, shown, serving })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it shows another node.
    pub fn show(&self, snapshots: watch::Receiver<Snapshot>) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = snapshots;
    }
}

impl Drop for Stats {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn accept(listener: TcpListener, shown: Arc<Mutex<watch::Receiver<Snapshot>>>) {
    let places = Arc::new(Semaphore::new(MOST_AT_ONCE));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let snapshots = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
                tokio::spawn(async move {
                    let _ = timeout(PATIENCE, answer(stream, &snapshots)).await;
                    drop(place);
                });
            }
            // Out of descriptors, perhaps; it passes.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn answer(mut stream: TcpStream, snapshots: &watch::Receiver<Snapshot>) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        let length = stream.read(&mut buffer).await?;
        if length == 0 || request.len() > MOST_BYTES {
            return Ok(());
        }
        request.extend_from_slice(buffer.get(..length).unwrap_or_default());
    }
    let (status, body) = judge(&String::from_utf8_lossy(&request), || snapshots.borrow().to_json().to_string());
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

fn judge(request: &str, page: impl FnOnce() -> String) -> (&'static str, String) {
    let mut lines = request.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let header = |wanted: &str| {
        request.lines().skip(1).find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(wanted).then_some(value.trim())
        })
    };
    let error = |text: &str| format!("{{\"error\":\"{text}\"}}");
    // A web page that made its name point here must not read along.
    let host = header("host").map(|host| host.rsplit_once(':').map_or(host, |(name, _)| name));
    if host.is_some_and(|host| !matches!(host, "127.0.0.1" | "localhost" | "[::1]")) || header("origin").is_some() {
        return ("403 Forbidden", error("only for programs on this machine"));
    }
    match (method, path) {
        ("GET", "/jsonstats") => ("200 OK", page()),
        ("GET", _) => ("404 Not Found", error("there is only /jsonstats")),
        _ => ("405 Method Not Allowed", error("only GET")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(request: &str) -> &'static str {
        judge(request, || "{}".to_owned()).0
    }

    #[test]
    fn only_one_page_is_there_to_read_and_only_from_here() {
        assert_eq!(status("GET /jsonstats HTTP/1.1\r\nHost: 127.0.0.1:5\r\n\r\n"), "200 OK");
        assert_eq!(status("GET /jsonstats HTTP/1.0\r\n\r\n"), "200 OK");
        assert_eq!(status("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"), "404 Not Found");
        assert_eq!(status("POST /jsonstats HTTP/1.1\r\n\r\n"), "405 Method Not Allowed");
        assert_eq!(status("GET /jsonstats HTTP/1.1\r\nHost: evil.example\r\n\r\n"), "403 Forbidden");
        assert_eq!(status("GET /jsonstats HTTP/1.1\r\nOrigin: http://a\r\n\r\n"), "403 Forbidden");
        assert_eq!(status(""), "405 Method Not Allowed");
    }

    #[tokio::test]
    async fn statistics_show_another_node_on_the_same_port() {
        let room = tempfile::tempdir().unwrap();
        let settings = crate::run::tests::world(room.path(), crate::run::tests::ENDS_AT_ONCE).settings;
        let first = crate::core::Core::new(settings, crate::core::Remembered::default(), 0).snapshot();
        let second = Snapshot { refused_reports: 7, ..first.clone() };
        let (_one, shown) = watch::channel(first);
        let stats = Stats::serve("127.0.0.1:0".parse().unwrap(), shown).await.unwrap();
        let read = || async {
            let mut stream = TcpStream::connect(stats.address()).await.unwrap();
            stream.write_all(b"GET /jsonstats HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            serde_json::from_str::<serde_json::Value>(text.split_once("\r\n\r\n").unwrap().1).unwrap()
        };
        let before = read().await;
        let (_two, shown) = watch::channel(second);
        stats.show(shown);
        let after = read().await;
        assert_eq!((before["refused_reports"].as_u64(), after["refused_reports"].as_u64()), (Some(0), Some(7)));
        let address = stats.address();
        drop(stats);
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}
