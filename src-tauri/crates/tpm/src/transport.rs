//! The ways to a TPM: bytes of a command in, bytes of the answer out. May not: know what they mean, beyond the length in their head.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The most bytes of a command or an answer.
pub(crate) const LIMIT: usize = 4096;
/// Bytes of tag, length and code.
const HEAD: usize = 10;

/// A way to a TPM.
pub trait Transport {
    /// Sends a command and waits for its answer. [`io::ErrorKind::TimedOut`] if there is none in time.
    fn exchange(&mut self, command: &[u8]) -> io::Result<Vec<u8>>;
}

/// The system's device for programs, with a resource manager behind it: `/dev/tpmrm0`.
#[cfg(unix)]
#[derive(Debug)]
pub struct Device {
    file: std::fs::File,
    patience: Duration,
}

#[cfg(unix)]
impl Device {
    /// Opens it. An answer may take that long; making a key takes seconds in some.
    pub fn open(path: &std::path::Path, patience: Duration) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt as _;
        // Without this the system waits inside the writing, for as long as the TPM likes.
        let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
        let file = std::fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
        Ok(Self { file, patience })
    }
}

#[cfg(unix)]
impl Transport for Device {
    fn exchange(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        // One command is one write, one answer one read.
        if self.file.write(command)? != command.len() {
            return Err(io::Error::new(io::ErrorKind::WriteZero, "the TPM's device took half a command"));
        }
        let patience = Timespec {
            tv_sec: i64::try_from(self.patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: self.patience.subsec_nanos().into(),
        };
        let mut waiting = [PollFd::new(&self.file, PollFlags::IN)];
        if poll(&mut waiting, Some(&patience))? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut answer = vec![0; LIMIT];
        let length = self.file.read(&mut answer)?;
        answer.truncate(length);
        whole(answer)
    }
}

/// A simulator that takes commands on a TCP port, such as swtpm. For trying things out: whoever can reach the port owns that TPM.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
}

impl Socket {
    /// Connects to it.
    pub fn connect(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }
}

impl Transport for Socket {
    fn exchange(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        // A time-out is "would block" on some systems.
        let timed = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
            _ => error,
        };
        self.stream.write_all(command).map_err(timed)?;
        let mut answer = vec![0; HEAD];
        self.stream.read_exact(&mut answer).map_err(timed)?;
        let length = length(&answer).filter(|length| (HEAD..=LIMIT).contains(length)).ok_or_else(malformed)?;
        answer.resize(length, 0);
        self.stream.read_exact(answer.get_mut(HEAD..).unwrap_or_default()).map_err(timed)?;
        Ok(answer)
    }
}

#[cfg(unix)]
fn whole(answer: Vec<u8>) -> io::Result<Vec<u8>> {
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if length(&answer) == Some(answer.len()) { Ok(answer) } else { Err(malformed()) }
}

/// What the head says, tag aside.
pub(crate) fn length(answer: &[u8]) -> Option<usize> {
    let bytes = answer.get(2..6)?.first_chunk()?;
    usize::try_from(u32::from_be_bytes(*bytes)).ok()
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the TPM's answer has not the length that it says")
}
