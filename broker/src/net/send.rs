//! How answers get to a socket, from memory or straight from a file.

use std::future::Future;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;

use crate::limits;
use crate::log::segment::FileRange;

/// Something that answers are written to.
pub trait Send: std::marker::Send {
    fn send_bytes(&mut self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> + std::marker::Send;
    /// `length` bytes from the beginning of the range. Says how many of them this process did not touch.
    fn send_file(
        &mut self,
        range: &FileRange,
        length: usize,
    ) -> impl Future<Output = io::Result<u64>> + std::marker::Send;
    fn flush(&mut self) -> impl Future<Output = io::Result<()>> + std::marker::Send;
}

/// Answers on their way: small ones wait for each other and go out with one write.
#[derive(Debug, Default)]
pub struct Outgoing {
    waiting: BytesMut,
    /// Something was given to the stream, which may still keep it.
    is_begun: bool,
}

impl Outgoing {
    /// Sends bytes, or keeps them until [`Outgoing::flush`].
    pub async fn push<S: Send>(&mut self, bytes: Bytes, stream: &mut S) -> io::Result<()> {
        if self.waiting.len() + bytes.len() <= limits::ANSWERS_BYTES {
            self.waiting.extend_from_slice(&bytes);
            return Ok(());
        }
        self.begin(stream).await?;
        stream.send_bytes(&bytes).await
    }

    /// Sends a part of a file. Says how many of its bytes this process did not touch.
    pub async fn push_file<S: Send>(
        &mut self,
        range: &FileRange,
        length: usize,
        stream: &mut S,
    ) -> io::Result<u64> {
        self.begin(stream).await?;
        stream.send_file(range, length).await
    }

    /// Gives the stream what waits.
    async fn begin<S: Send>(&mut self, stream: &mut S) -> io::Result<()> {
        self.is_begun = true;
        if !self.waiting.is_empty() {
            stream.send_bytes(&self.waiting).await?;
            self.waiting.clear();
        }
        Ok(())
    }

    /// Afterwards everything is on its way.
    pub async fn flush<S: Send>(&mut self, stream: &mut S) -> io::Result<()> {
        if self.waiting.is_empty() && !self.is_begun {
            return Ok(());
        }
        self.begin(stream).await?;
        self.is_begun = false;
        stream.flush().await
    }
}

/// Without encryption the kernel moves records from the file to the socket.
impl Send for TcpStream {
    async fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes).await
    }

    async fn send_file(&mut self, range: &FileRange, length: usize) -> io::Result<u64> {
        let Some(file) = range.file().as_file() else {
            self.write_all(&read_some(range, 0, length)?).await?;
            return Ok(0);
        };
        let mut offset = range.position;
        let end = range.position + length as u64;
        while offset < end {
            self.writable().await?;
            let left = (end - offset) as usize;
            let sent = self.try_io(Interest::WRITABLE, || {
                rustix::fs::sendfile(&*self, file, Some(&mut offset), left).map_err(io::Error::from)
            });
            match sent {
                // The file was cut short beneath the reader: the client gets no half batch for a whole one.
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(length as u64)
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Encrypted, records pass through a buffer.
impl Send for tokio_rustls::server::TlsStream<TcpStream> {
    async fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes).await
    }

    async fn send_file(&mut self, range: &FileRange, length: usize) -> io::Result<u64> {
        let mut sent = 0;
        while sent < length {
            let piece = (length - sent).min(limits::SEND_BYTES);
            let range = range.clone();
            let read = tokio::task::spawn_blocking(move || read_some(&range, sent, piece));
            let bytes = read.await.map_err(io::Error::other)??;
            self.write_all(&bytes).await?;
            sent += piece;
        }
        Ok(0)
    }

    async fn flush(&mut self) -> io::Result<()> {
        AsyncWriteExt::flush(self).await
    }
}

fn read_some(range: &FileRange, from: usize, length: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; length];
    let file: &Arc<dyn crate::log::DiskFile> = range.file();
    file.read_exact_at(&mut buffer, range.position + from as u64)?;
    Ok(buffer)
}
