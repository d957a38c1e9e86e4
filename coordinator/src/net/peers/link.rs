//! A link that is up: frames from the socket to the core, queued frames to the socket.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::frame::{self, FrameError, HEADER_BYTES};
use super::transport::Transport;
use crate::limits;

/// Pieces of one gathered write; a frame is two.
const PIECES_PER_WRITE_MAX: usize = 256;

/// Bytes written before the others get their turn.
const WRITE_BYTES_PER_TURN: usize = 1 << 20;

/// Why a link ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Ended {
    #[error("the other side closed it")]
    Closed,
    #[error("{0}")]
    Io(String),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("more waited to be sent than is allowed")]
    Overflow,
    #[error("for too long nothing was taken of what waited to be sent")]
    Stalled,
    #[error("the other side is silent")]
    Silent,
    #[error("the member was removed, or has another address now")]
    Removed,
    #[error("a new link took its place")]
    Replaced,
    #[error("this server stops")]
    Stopped,
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Ended {
        Ended::Io(error.to_string())
    }
}

/// The side of a link that the core sees.
#[derive(Debug, Default)]
pub(super) struct Link {
    queue: RefCell<Queue>,
    /// Set by whoever ends the link from outside; nothing is queued or delivered afterwards.
    closed: RefCell<Option<Ended>>,
    wake: Notify,
    /// Whether the task was woken for what is queued, so that a burst wakes it once.
    woken: Cell<bool>,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<([u8; HEADER_BYTES], Bytes)>,
    /// How much of the first frame is written, its header included.
    written: usize,
    /// Bytes of all frames that are not written.
    bytes: usize,
}

impl Link {
    /// Queues a frame, or ends the link when too much waits.
    pub(super) fn push(&self, body: Bytes, queue_bytes_max: usize) -> bool {
        if self.closed.borrow().is_some() {
            return false;
        }
        let mut queue = self.queue.borrow_mut();
        let size = HEADER_BYTES + body.len();
        if queue.bytes > 0 && queue.bytes + size > queue_bytes_max {
            drop(queue);
            self.close(Ended::Overflow);
            return false;
        }
        queue.bytes += size;
        queue.frames.push_back((frame::header(&body), body));
        if !self.woken.replace(true) {
            self.wake.notify_one();
        }
        true
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.queue.borrow().bytes
    }

    /// Ends the link; the task that runs it notices at its next turn. The first reason stays.
    pub(super) fn close(&self, ended: Ended) {
        self.closed.borrow_mut().get_or_insert(ended);
        // What waits is not going to be sent.
        *self.queue.borrow_mut() = Queue::default();
        self.wake.notify_one();
    }

    fn check_open(&self) -> Result<(), Ended> {
        match &*self.closed.borrow() {
            Some(ended) => Err(ended.clone()),
            None => Ok(()),
        }
    }

    /// Reads and writes until the end; `patience` is how long the other side may take nothing of what waits.
    pub(super) async fn run(
        &self,
        mut transport: Transport,
        patience: Duration,
        deliver: impl Fn(Bytes),
    ) -> Ended {
        let Err(ended) = self.serve(&mut transport, patience, deliver).await;
        transport.close();
        ended
    }

    async fn serve(
        &self,
        transport: &mut Transport,
        patience: Duration,
        deliver: impl Fn(Bytes),
    ) -> Result<std::convert::Infallible, Ended> {
        let mut progress = Instant::now();
        let mut read = false;
        loop {
            if read && self.read(transport)? == 0 {
                return Err(Ended::Closed);
            }
            let more_to_deliver = self.deliver(transport, &deliver)?;
            self.woken.set(false);
            let (written, more_to_write) = self.write(transport)?;
            self.check_open()?;
            if written > 0 {
                progress = Instant::now();
            }
            if more_to_deliver || more_to_write {
                read = false;
                tokio::task::yield_now().await;
                continue;
            }
            let unsent = self.queue.borrow().bytes > 0 || !transport.flush()?;
            if !unsent {
                progress = Instant::now();
            }
            read = tokio::select! {
                biased;
                () = self.wake.notified() => false,
                ready = transport.writable(), if unsent => { ready?; false }
                ready = transport.readable() => { ready?; true }
                () = tokio::time::sleep_until(progress + patience), if unsent => return Err(Ended::Stalled),
            };
        }
    }

    /// Reads once: how many bytes, or 0 at the end.
    fn read(&self, transport: &mut Transport) -> Result<usize, Ended> {
        match transport.try_read(usize::MAX) {
            Ok(count) => Ok(count),
            // Nothing yet is no end.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(usize::MAX),
            Err(error) => Err(error.into()),
        }
    }

    /// Hands on whole frames; true when some are left for the next turn.
    fn deliver(&self, transport: &mut Transport, deliver: &impl Fn(Bytes)) -> Result<bool, Ended> {
        for _ in 0..limits::PEER_FRAMES_PER_TURN_MAX {
            self.check_open()?;
            match transport.buffer.next(limits::PEER_FRAME_BYTES_MAX)? {
                Some(body) => deliver(body),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Writes what is queued, as far as the system takes it: how many bytes, and whether there is more it would take.
    fn write(&self, transport: &mut Transport) -> Result<(usize, bool), Ended> {
        let mut queue = self.queue.borrow_mut();
        let mut total = 0;
        while queue.bytes > 0 {
            if total >= WRITE_BYTES_PER_TURN {
                return Ok((total, true));
            }
            let mut pieces = [IoSlice::new(&[]); PIECES_PER_WRITE_MAX];
            let count = queue.gather(&mut pieces);
            match transport.try_write(&pieces[..count]) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(written) => {
                    queue.advance(written);
                    total += written;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok((total, false))
    }
}

impl Queue {
    /// Points at what is not written; returns how many pieces there are.
    fn gather<'a>(&'a self, pieces: &mut [IoSlice<'a>]) -> usize {
        let mut skip = self.written;
        let all = self.frames.iter().flat_map(|(header, body)| [&header[..], &body[..]]);
        let left = all.filter_map(|piece| {
            let skipped = skip.min(piece.len());
            skip -= skipped;
            (skipped < piece.len()).then(|| IoSlice::new(&piece[skipped..]))
        });
        pieces.iter_mut().zip(left).map(|(slot, piece)| *slot = piece).count()
    }

    fn advance(&mut self, count: usize) {
        self.bytes -= count;
        self.written += count;
        while let Some((_, body)) = self.frames.front() {
            let size = HEADER_BYTES + body.len();
            if self.written < size {
                break;
            }
            self.written -= size;
            self.frames.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_goes_on_where_a_short_write_stopped() {
        let link = Link::default();
        let bodies = ["", "a", "long enough", "z"];
        bodies.iter().for_each(|body| assert!(link.push(Bytes::from_static(body.as_bytes()), 1000)));
        let whole: Vec<u8> = bodies
            .iter()
            .flat_map(|body| [&frame::header(body.as_bytes())[..], body.as_bytes()].concat())
            .collect();
        let mut queue = link.queue.borrow_mut();
        let mut sent = Vec::new();
        while queue.bytes > 0 {
            let step = {
                let mut pieces = [IoSlice::new(&[]); 3];
                let count = queue.gather(&mut pieces);
                let bytes: Vec<u8> = pieces[..count].iter().flat_map(|piece| piece.to_vec()).collect();
                let step = bytes.len().min(5);
                sent.extend_from_slice(&bytes[..step]);
                step
            };
            queue.advance(step);
        }
        assert_eq!(sent, whole);
        assert!(queue.frames.is_empty() && queue.written == 0);
    }

    #[test]
    fn too_much_ends_the_link_but_one_frame_always_fits() {
        let link = Link::default();
        assert!(link.push(Bytes::from(vec![0; 100]), 50));
        assert_eq!(link.queued_bytes(), 108);
        assert!(!link.push(Bytes::new(), 50));
        assert_eq!(link.queued_bytes(), 0);
        assert!(!link.push(Bytes::new(), 50), "it stays closed");
        assert_eq!(link.check_open(), Err(Ended::Overflow));
    }
}
