//! HTTP servers on loopback that can stand hostile customers: bounded heads, bounded bodies, bounded waiting, bounded connections.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep, timeout};

/// How long customers may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a request's head; a connection without a request is closed after it, too.
    pub head: Duration,
    /// For a request's body.
    pub body: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { head: Duration::from_secs(10), body: Duration::from_secs(30) }
    }
}

/// Largest head.
const HEAD_LIMIT: usize = 64 * 1024;
/// A customer who takes no byte for this long, while bytes wait for him, is cut off.
const STALL_PATIENCE: Duration = Duration::from_mins(1);
/// Connections at once; more wait in the system's queue.
const CONNECTIONS: usize = 256;
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_millis(100);

/// The answer broke off. The customer sees the connection end before the body does.
#[derive(Debug, Error)]
#[error("the answer broke off")]
pub(crate) struct BrokenOff;

/// Any answer's body.
pub(crate) type Body = BoxBody<Bytes, BrokenOff>;

/// Why the stats page has no content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the program is stopping")]
pub struct PageError;

/// Why a request's body was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum BodyError {
    #[error("the body is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the body did not come in time")]
    TooSlow,
    #[error("the body broke off")]
    BrokenOff,
}

/// What to do about a port that cannot be had.
pub(crate) fn bind_advice(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the port is in use; stop the program that holds it or configure another port".to_owned()
        }
        io::ErrorKind::PermissionDenied => "not permitted; use a port above 1023".to_owned(),
        _ => error.to_string(),
    }
}

/// Serves for ever. A handler that is dropped half-way means that its customer is gone.
pub(crate) async fn serve<F, A>(listener: TcpListener, patience: Patience, handler: F)
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut inside = tokio::task::JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let accepted = loop {
            tokio::select! {
                accepted = listener.accept() => break accepted,
                Some(_) = inside.join_next() => {}
            }
        };
        match accepted {
            Ok((stream, _)) => {
                let handler = handler.clone();
                inside.spawn(async move {
                    converse(stream, patience, handler).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept an HTTP connection");
                tokio::time::sleep(PAUSE_AFTER_REFUSAL).await;
            }
        }
    }
}

async fn converse<F, A>(stream: TcpStream, patience: Patience, handler: F)
where
    F: Fn(Request<Incoming>) -> A + Send,
    A: Future<Output = Response<Body>> + Send,
{
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(move |request| {
        let answer = handler(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let ended = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(TokioIo::new(Patient::new(stream)), service)
        .await;
    if let Err(error) = ended {
        // Hyper's words name no header and no body.
        tracing::debug!(%error, "HTTP connection ended");
    }
}

/// Reads a body, but not for ever and not without end.
pub(crate) async fn read_body(body: Incoming, limit: usize, patience: Duration) -> Result<Bytes, BodyError> {
    // What says that it is too large need not be waited for.
    if body.size_hint().lower() > limit as u64 {
        return Err(BodyError::TooLarge { limit });
    }
    match timeout(patience, Limited::new(body, limit).collect()).await {
        Err(_) => Err(BodyError::TooSlow),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge { limit }),
        Ok(Err(_)) => Err(BodyError::BrokenOff),
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
    }
}

/// A whole answer.
pub(crate) fn whole(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A whole answer of JSON.
pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    whole(status, "application/json", value.to_string())
}

/// A failure in the shape that clients of OpenAI's API read, with the network's own code beside it.
pub(crate) fn failure(status: StatusCode, code: i32, words: &str) -> Response<Body> {
    let kind = if status.is_client_error() { "invalid_request_error" } else { "server_error" };
    let body = serde_json::json!({
        "error": { "message": words, "type": kind, "code": code },
        "error_code": code,
    });
    json(status, &body)
}

/// Whether a request comes from this machine and not from a web page elsewhere that a browser here has open. `Host` must name
/// loopback (or a page could reach us under a name of its own), and so must `Origin` if there is one.
pub(crate) fn is_from_here(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).is_none_or(|host| host.to_str().is_ok_and(is_loopback_authority));
    let origin = headers.get(ORIGIN).is_none_or(|origin| {
        origin.to_str().is_ok_and(|origin| {
            let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            authority.is_some_and(is_loopback_authority)
        })
    });
    host && origin
}

fn is_loopback_authority(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a request names the access hash, if one is wanted.
pub(crate) fn may_see(query: Option<&str>, wanted: &str) -> bool {
    wanted.is_empty()
        || query.is_some_and(|query| query.split('&').any(|pair| pair.strip_prefix("access_hash=") == Some(wanted)))
}

/// A socket that gives up on a reader who takes nothing.
struct Patient {
    stream: TcpStream,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn new(stream: TcpStream) -> Self {
        Self { stream, stalled: None }
    }

    fn watch<T>(&mut self, context: &mut Context<'_>, progress: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.stalled = None;
            return progress;
        }
        let until = Instant::now() + STALL_PATIENCE;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, progress)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.watch(context, progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A TCP socket has nothing to flush, so this says nothing about progress.
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(host: &str, origin: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_names_of_this_machine_are_from_here() {
        for (host, origin) in [
            ("127.0.0.1:10000", None),
            ("localhost", None),
            ("[::1]:10000", None),
            ("localhost:1", Some("http://localhost:5173")),
            ("127.0.0.1:1", Some("http://127.0.0.1")),
        ] {
            assert!(is_from_here(&headers(host, origin)), "{host} {origin:?}");
        }
        for (host, origin) in [
            ("evil.example:10000", None),
            ("127.0.0.1.evil.example", None),
            ("localhost:1", Some("https://evil.example")),
            ("localhost:1", Some("http://localhost.evil.example")),
            ("localhost:1", Some("null")),
        ] {
            assert!(!is_from_here(&headers(host, origin)), "{host} {origin:?}");
        }
    }

    #[test]
    fn the_access_hash_is_wanted_whole() {
        assert!(may_see(None, ""));
        assert!(may_see(Some("a=1&access_hash=abc"), "abc"));
        for query in [None, Some(""), Some("access_hash=ab"), Some("access_hash=abcd"), Some("xaccess_hash=abc")] {
            assert!(!may_see(query, "abc"), "{query:?}");
        }
    }
}
