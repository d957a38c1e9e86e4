//! [shell] The standard input, for commands that read it.

use std::io::{self, IsTerminal};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::{JoinHandle, spawn_blocking};

/// How long it may take to see that nobody waits for the terminal any more: less than it takes to type something else.
const GLANCE: Duration = Duration::from_millis(50);
const BYTES_AT_ONCE: usize = 8192;

/// Our standard input, read without holding up the session.
///
/// Of a terminal nothing is read that nobody waits for: after an interrupt, what is typed is for the shell.
pub(super) fn stdin() -> Box<dyn AsyncRead + Unpin> {
    if io::stdin().is_terminal() {
        Box::new(Terminal { reading: None, rest: Bytes::new(), is_dropped: Arc::default() })
    } else {
        Box::new(tokio::io::stdin())
    }
}

struct Terminal {
    reading: Option<JoinHandle<io::Result<Vec<u8>>>>,
    /// What did not fit.
    rest: Bytes,
    is_dropped: Arc<AtomicBool>,
}

impl AsyncRead for Terminal {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            let is_dropped = Arc::clone(&self.is_dropped);
            let reading = self.reading.get_or_insert_with(|| spawn_blocking(move || read_some(&is_dropped)));
            let bytes = ready!(Pin::new(reading).poll(context)).map_err(io::Error::other);
            self.reading = None;
            self.rest = bytes??.into();
        }
        let count = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.is_dropped.store(true, Ordering::Relaxed);
    }
}

/// Waits for some bytes, for as long as somebody wants them. None are the end.
fn read_some(is_dropped: &AtomicBool) -> io::Result<Vec<u8>> {
    let stdin = io::stdin();
    let glance = Timespec::try_from(GLANCE).map_err(io::Error::other)?;
    while !is_dropped.load(Ordering::Relaxed) {
        match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&glance)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) if is_dropped.load(Ordering::Relaxed) => break,
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut bytes = vec![0; BYTES_AT_ONCE];
        let count = rustix::io::read(&stdin, &mut bytes)?;
        bytes.truncate(count);
        return Ok(bytes);
    }
    Ok(Vec::new())
}
