//! Connections as both ends see them: bytes that arrive when the world lets them.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use client::zk::{Dialer, Streams};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One connection, shared by its client and the world.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// What the client has written and the world has not taken yet.
    pub(super) written: Vec<u8>,
    /// What has arrived and the client has not read yet.
    arrived: Vec<u8>,
    /// The connection is broken, or the server has closed it.
    closed: bool,
    /// The client has hung up.
    pub(super) left: bool,
    reader: Option<Waker>,
}

pub(super) type SharedLine = Arc<Mutex<Line>>;

pub(super) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    pub(super) fn deliver(&mut self, bytes: &[u8]) {
        self.arrived.extend_from_slice(bytes);
        self.reader.take().into_iter().for_each(Waker::wake);
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        self.reader.take().into_iter().for_each(Waker::wake);
    }
}

struct Reader(SharedLine);

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut line = lock(&self.0);
        if line.arrived.is_empty() && !line.closed {
            line.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = buffer.remaining().min(line.arrived.len());
        buffer.put_slice(&line.arrived[..count]);
        line.arrived.drain(..count);
        Poll::Ready(Ok(()))
    }
}

struct Writer(SharedLine);

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut line = lock(&self.0);
        if line.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        line.written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        lock(&self.0).left = true;
    }
}

/// How one process reaches the server.
#[derive(Debug, Default)]
pub(super) struct Network {
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    refuses: bool,
    dialed: Vec<SharedLine>,
}

impl Network {
    /// From now on nobody answers, or somebody does.
    pub(super) fn refuse(&self, refuses: bool) {
        lock(&self.inside).refuses = refuses;
    }

    pub(super) fn take_dialed(&self) -> Vec<SharedLine> {
        std::mem::take(&mut lock(&self.inside).dialed)
    }
}

impl Dialer for Network {
    fn dial(
        &self,
        _host: &str,
        _port: u16,
    ) -> Pin<Box<dyn Future<Output = io::Result<Streams>> + Send + '_>> {
        let mut inside = lock(&self.inside);
        if inside.refuses {
            return Box::pin(std::future::ready(Err(io::ErrorKind::ConnectionRefused.into())));
        }
        let line = SharedLine::default();
        inside.dialed.push(Arc::clone(&line));
        let streams = Streams { reader: Box::new(Reader(Arc::clone(&line))), writer: Box::new(Writer(line)) };
        Box::pin(std::future::ready(Ok(streams)))
    }
}
