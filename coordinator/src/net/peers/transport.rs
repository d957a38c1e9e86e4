//! A socket between two members, with or without TLS over it.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;

use bytes::BytesMut;
use bytes::buf::BufMut;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::super::at_once;
use super::super::tls::{NonBlocking, TlsSession};
use super::frame::FrameBuffer;
use crate::limits::{PEER_READ_CHUNK_BYTES, PEER_WRITE_STALL_SECONDS_MAX};

thread_local! {
    /// What TLS decrypts into.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; PEER_READ_CHUNK_BYTES]);
}

/// A connection that can be read and written without waiting.
#[derive(Debug)]
pub(super) struct Transport {
    stream: TcpStream,
    tls: Option<TlsSession>,
    /// What was read and not taken yet.
    pub(super) buffer: FrameBuffer,
    /// The last read took all it was allowed to: decrypted bytes may be left that the socket does not announce again.
    more: bool,
}

impl Transport {
    pub(super) fn new(stream: TcpStream, tls: Option<TlsSession>) -> Transport {
        // Frames are written whole; waiting for more would only delay them.
        let _ = stream.set_nodelay(true);
        // A machine that is gone acknowledges nothing; a small frame would fit the system's buffer and look sent for long.
        let _ =
            rustix::net::sockopt::set_tcp_user_timeout(&stream, PEER_WRITE_STALL_SECONDS_MAX as u32 * 1000);
        Transport { stream, tls, buffer: FrameBuffer::default(), more: false }
    }

    pub(super) fn tls(&self) -> Option<&TlsSession> {
        self.tls.as_ref()
    }

    /// Waits until reading may bring something.
    pub(super) async fn readable(&self) -> io::Result<()> {
        if self.more { Ok(()) } else { self.stream.readable().await }
    }

    pub(super) async fn writable(&self) -> io::Result<()> {
        self.stream.writable().await
    }

    /// Reads what there is, `max` bytes at most; `Ok(0)` is the end, `WouldBlock` nothing for now.
    pub(super) fn try_read(&mut self, max: usize) -> io::Result<usize> {
        let (bytes, room) = self.buffer.room();
        let max = max.min(room);
        let read = match &mut self.tls {
            None => at_once(self.stream.read_buf(&mut bytes.limit(max))),
            Some(tls) => decrypt(tls, &self.stream, bytes, max),
        };
        self.more = read.as_ref().is_ok_and(|count| *count > 0) && self.tls.is_some();
        read
    }

    /// Writes as much as is taken: how many bytes, or `WouldBlock`.
    pub(super) fn try_write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.stream.try_write_vectored(parts) };
        let mut taken = 0;
        for part in parts.iter().filter(|part| !part.is_empty()) {
            match tls.try_write(&mut NonBlocking(&self.stream), part) {
                Ok(count) => {
                    taken += count;
                    if count < part.len() {
                        break;
                    }
                }
                Err(error) if taken > 0 && error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }

    /// Sends what encryption holds back; true when nothing is left.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else { return Ok(true) };
        match tls.try_flush(&mut NonBlocking(&self.stream)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Says goodbye, as far as the system takes it.
    pub(super) fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.close();
            let _ = tls.try_flush(&mut NonBlocking(&self.stream));
        }
    }

    /// Takes it out of this thread's runtime.
    pub(super) fn establish(self) -> io::Result<Established> {
        let address = self.stream.peer_addr()?;
        let encryption = self.tls.as_ref().map(TlsSession::description);
        let stream = self.stream.into_std()?;
        Ok(Established { stream, tls: self.tls, buffer: self.buffer, address, encryption })
    }
}

fn decrypt(tls: &mut TlsSession, stream: &TcpStream, bytes: &mut BytesMut, max: usize) -> io::Result<usize> {
    SCRATCH.with_borrow_mut(|scratch| {
        let max = max.min(scratch.len());
        let count = tls.try_read(&mut NonBlocking(stream), &mut scratch[..max])?;
        bytes.extend_from_slice(&scratch[..count]);
        Ok(count)
    })
}

/// A connection whose two ends know each other, on its way to the core thread.
#[derive(Debug)]
pub(super) struct Established {
    stream: std::net::TcpStream,
    tls: Option<TlsSession>,
    buffer: FrameBuffer,
    address: SocketAddr,
    encryption: Option<String>,
}

impl Established {
    /// Continues in this thread's runtime.
    pub(super) fn adopt(self) -> io::Result<Transport> {
        let stream = TcpStream::from_std(self.stream)?;
        Ok(Transport { stream, tls: self.tls, buffer: self.buffer, more: true })
    }
}

impl fmt::Display for Established {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        match &self.encryption {
            Some(encryption) => write!(f, ", {encryption}"),
            None => f.write_str(", not encrypted"),
        }
    }
}
