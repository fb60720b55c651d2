//! A small HTTP/1.1 customer: enough to ask a gateway, read a stream as it comes, or behave badly.

use crate::PATIENCE;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

/// A whole answer.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; `Null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The objects of an event stream, without the closing `[DONE]`.
    pub fn events(&self) -> Vec<Value> {
        let text = String::from_utf8_lossy(&self.body);
        let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
        lines.filter(|line| *line != "[DONE]").map(|line| serde_json::from_str(line).expect("a JSON event")).collect()
    }

    /// Why each of the answers ended, in the order in which they did.
    pub fn finish_reasons(&self) -> Vec<String> {
        let events = if self.body.starts_with(b"data:") { self.events() } else { vec![self.json()] };
        let choices = events.iter().flat_map(|event| event["choices"].as_array().cloned().unwrap_or_default());
        choices.filter_map(|choice| choice["finish_reason"].as_str().map(str::to_owned)).collect()
    }

    /// The text of a streamed or whole chat answer.
    pub fn text(&self) -> String {
        let events = if self.body.starts_with(b"data:") { self.events() } else { vec![self.json()] };
        let pieces = events.iter().flat_map(|event| event["choices"].as_array().cloned().unwrap_or_default());
        pieces
            .filter_map(|choice| {
                let content = [&choice["delta"]["content"], &choice["message"]["content"], &choice["text"]];
                content.iter().find_map(|value| value.as_str().map(str::to_owned))
            })
            .collect()
    }

    /// The `usage` object, wherever it stands.
    pub fn usage(&self) -> Value {
        let events = if self.body.starts_with(b"data:") { self.events() } else { vec![self.json()] };
        events.iter().rev().find(|event| event["usage"].is_object()).map_or(Value::Null, |event| event["usage"].clone())
    }
}

/// An answer that is still coming.
pub struct Coming {
    reader: BufReader<TcpStream>,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    left: Body,
}

enum Body {
    Chunked,
    Sized(usize),
    UntilEnd,
    Over,
}

/// GET.
pub fn get(port: u16, path: &str) -> io::Result<Answer> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    start(port, request.as_bytes())?.rest()
}

/// POST of JSON, whole answer.
pub fn post(port: u16, path: &str, body: &Value) -> io::Result<Answer> {
    begin(port, path, body)?.rest()
}

/// POST of JSON; the answer is read by the caller as it comes.
pub fn begin(port: u16, path: &str, body: &Value) -> io::Result<Coming> {
    start(port, &post_bytes(path, body))
}

/// The bytes of a POST.
pub fn post_bytes(path: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Sends bytes and reads the head of the answer.
pub fn start(port: u16, request: &[u8]) -> io::Result<Coming> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.write_all(request)?;
    read_head(stream)
}

/// A customer who has asked and reads nothing. The system keeps as little for him as it can.
pub struct Unread(TcpStream);

/// Asks, and leaves the answer alone.
pub fn ask_and_not_read(port: u16, path: &str, body: &Value) -> io::Result<Unread> {
    use rustix::net::{AddressFamily, SocketAddrV4, SocketType, sockopt};
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    // Must be said before the connection is made, or a larger window is agreed on.
    sockopt::set_socket_recv_buffer_size(&socket, 4096)?;
    rustix::net::connect(&socket, &SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, port))?;
    let mut stream = TcpStream::from(socket);
    stream.write_all(&post_bytes(path, body))?;
    Ok(Unread(stream))
}

impl Unread {
    /// Now reads after all, beginning with the head.
    pub fn read(self) -> io::Result<Coming> {
        read_head(self.0)
    }
}

fn read_head(stream: TcpStream) -> io::Result<Coming> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("not HTTP: {line:?}")))?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.trim_end().split_once(':') {
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    let find = |name: &str| headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
    let left = if find("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        Body::Chunked
    } else if let Some(length) = find("content-length").and_then(|value| value.parse().ok()) {
        Body::Sized(length)
    } else {
        Body::UntilEnd
    };
    Ok(Coming { reader, status, headers, left })
}

impl Coming {
    /// The next piece of the body and when it came; `None` at the end.
    pub fn piece(&mut self) -> io::Result<Option<(Vec<u8>, Instant)>> {
        let mut buffer = Vec::new();
        match self.left {
            Body::Over => return Ok(None),
            Body::Chunked => {
                let mut line = String::new();
                self.reader.read_line(&mut line)?;
                let length =
                    usize::from_str_radix(line.trim(), 16).map_err(|_| io::Error::other("the answer broke off"))?;
                buffer.resize(length, 0);
                self.reader.read_exact(&mut buffer)?;
                line.clear();
                self.reader.read_line(&mut line)?;
                if length == 0 {
                    self.left = Body::Over;
                    return Ok(None);
                }
            }
            Body::Sized(length) => {
                buffer.resize(length, 0);
                self.reader.read_exact(&mut buffer)?;
                self.left = Body::Over;
            }
            Body::UntilEnd => {
                self.reader.read_to_end(&mut buffer)?;
                self.left = Body::Over;
            }
        }
        Ok(Some((buffer, Instant::now())))
    }

    /// Everything that is still to come.
    pub fn rest(self) -> io::Result<Answer> {
        let (answer, whole) = self.as_far_as_it_goes();
        whole.map(|()| answer)
    }

    /// Everything that still comes, and whether that was all of it.
    pub fn as_far_as_it_goes(mut self) -> (Answer, io::Result<()>) {
        let mut body = Vec::new();
        let whole = loop {
            match self.piece() {
                Ok(Some((piece, _))) => body.extend(piece),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        (Answer { status: self.status, headers: self.headers, body }, whole)
    }
}
