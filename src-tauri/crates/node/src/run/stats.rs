//! The statistics page: `GET /jsonstats` on loopback. Small on purpose: it reads one request, bounded in bytes and time, answers and hangs up. Nothing
//! can be changed through it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
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

/// Serves until the runtime ends. Gives the address it listens on.
pub async fn serve(address: SocketAddr, snapshots: watch::Receiver<Snapshot>) -> Result<SocketAddr, StatsError> {
    if !address.ip().is_loopback() {
        return Err(StatsError::NotLoopback { address });
    }
    let failed = |source| StatsError::Port { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let here = listener.local_addr().map_err(failed)?;
    let places = Arc::new(Semaphore::new(MOST_AT_ONCE));
    tokio::spawn(async move {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let snapshots = snapshots.clone();
                    tokio::spawn(async move {
                        let _ = timeout(PATIENCE, answer(stream, &snapshots)).await;
                        drop(place);
                    });
                }
                // Out of descriptors, perhaps; it passes.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    });
    Ok(here)
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
}
