//! One client's socket: whole frames in, whole buffers out.
//!
//! A wake-up reads what the socket holds into a buffer that all connections share, handles every whole frame in it, and
//! answers with one write. Only what is left of an incomplete frame is kept, so an idle connection owns no buffer.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::at_once;
use super::tls::{NonBlocking, TlsSession};

use crate::config::Config;
use crate::limits;
use crate::net::four_letter::Word;
use crate::server::Core;
use crate::tree::watches::ConnectionId;

thread_local! {
    /// What a wake-up reads into. Borrowed only between two awaits.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; limits::READ_CHUNK_BYTES]);
}

/// Buffers larger than this are given back when a connection falls silent.
const KEPT_BUFFER_BYTES: usize = 4096;

/// Why a connection ended, for the log.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    #[error("the client closed it")]
    ByClient,
    #[error("the server closed it")]
    ByServer,
    #[error("no handshake within {0:?}")]
    Silent(Duration),
    #[error("it was a four-letter word")]
    FourLetterWord,
    #[error("a frame of {0} bytes was announced; allowed are 1 to {1}")]
    FrameSize(i32, usize),
    #[error("connections hold too much of unfinished frames together, this one {0} bytes")]
    Crowded(usize),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The socket, with or without TLS over it.
#[derive(Debug)]
pub struct Transport {
    stream: TcpStream,
    tls: Option<TlsSession>,
}

impl Transport {
    pub fn plain(stream: TcpStream) -> Transport {
        Transport { stream, tls: None }
    }

    pub fn encrypted(stream: TcpStream, tls: TlsSession) -> Transport {
        Transport { stream, tls: Some(tls) }
    }

    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => at_once(self.stream.read(buffer)),
            Some(tls) => tls.try_read(&mut NonBlocking(&self.stream), buffer),
        }
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.stream.try_write(bytes),
            Some(tls) => tls.try_write(&mut NonBlocking(&self.stream), bytes),
        }
    }

    /// Sends what encryption holds back; false while the system does not take all of it.
    fn flush(&mut self) -> io::Result<bool> {
        match &mut self.tls {
            None => Ok(true),
            Some(tls) => match tls.try_flush(&mut NonBlocking(&self.stream)) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
                Err(error) => Err(error),
            },
        }
    }

    /// Says goodbye, as far as the system takes it.
    fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.close();
            let _ = self.flush();
        }
    }
}

/// A client's socket and what was read from or is to be written to it.
#[derive(Debug)]
pub struct Connection {
    core: Rc<RefCell<Core>>,
    id: ConnectionId,
    transport: Transport,
    wake: Rc<Notify>,
    /// Bytes that came and are not handled: the beginning of a frame, or frames that have to wait.
    rest: Vec<u8>,
    /// How many of them the core knows of.
    counted: usize,
    out: Vec<u8>,
    written: usize,
    /// Bytes read and written since other connections had their turn.
    turn: usize,
    config: Arc<Config>,
    greeted: bool,
}

impl Connection {
    pub fn new(
        core: Rc<RefCell<Core>>,
        id: ConnectionId,
        transport: Transport,
        wake: Rc<Notify>,
        config: Arc<Config>,
    ) -> Connection {
        Connection {
            core,
            id,
            transport,
            wake,
            rest: Vec::new(),
            counted: 0,
            out: Vec::new(),
            written: 0,
            turn: 0,
            config,
            greeted: false,
        }
    }

    /// Serves the client until either side has had enough.
    pub async fn serve(&mut self) -> Ended {
        let handshake_timeout = self.config.session.handshake_timeout;
        match tokio::time::timeout(handshake_timeout, self.run(true)).await {
            Err(_) => return Ended::Silent(handshake_timeout),
            Ok(Err(ended)) => return ended,
            Ok(Ok(())) => {}
        }
        match self.run(false).await {
            Err(ended) => ended,
            Ok(()) => Ended::ByServer,
        }
    }

    /// Counts why it ended.
    pub fn count(&self, ended: &Ended) {
        let mut core = self.core.borrow_mut();
        let metrics = core.service_mut().metrics_mut();
        match ended {
            Ended::Silent(_) => metrics.sessionless_connections_expired += 1,
            Ended::FrameSize(..) | Ended::Crowded(_) => metrics.connection_drop_count += 1,
            Ended::ByClient | Ended::ByServer | Ended::FourLetterWord | Ended::Io(_) => {}
        }
    }

    /// Handles what a TLS handshake left decrypted; the socket will not announce it again.
    fn read_ahead(&mut self) -> Result<(), Ended> {
        if self.transport.tls.is_some() { self.read() } else { Ok(()) }
    }

    /// Runs until the handshake is done (`greeting`), or until the end.
    async fn run(&mut self, greeting: bool) -> Result<(), Ended> {
        self.read_ahead()?;
        loop {
            self.handle_rest()?;
            self.count_rest()?;
            self.write()?;
            if let Some(word) = self.four_letter_word() {
                return self.answer_word(word).await;
            }
            if greeting && self.greeted {
                return Ok(());
            }
            let (closing, wants_more) = {
                let core = self.core.borrow();
                (core.service().is_closing(self.id), core.service().may_read(self.id))
            };
            let unwritten = self.written < self.out.len() || !self.transport.flush()?;
            if closing && !unwritten {
                return Err(Ended::ByServer);
            }
            let wants_more = wants_more && !closing && !unwritten;
            let has_work = wants_more && self.has_whole_frame()?;
            if has_work || self.turn >= limits::TURN_BYTES {
                // It did its share of this turn; others come first.
                self.turn = 0;
                tokio::task::yield_now().await;
                continue;
            }
            if self.out.capacity() > KEPT_BUFFER_BYTES && self.out.is_empty() {
                self.out = Vec::new();
            }
            tokio::select! {
                biased;
                () = self.wake.notified() => {}
                ready = self.transport.stream.writable(), if unwritten => ready?,
                ready = self.transport.stream.readable(), if wants_more => {
                    ready?;
                    self.read()?;
                }
            }
        }
    }

    /// Reads what the socket holds, and handles it without copying it first if nothing was left from before.
    fn read(&mut self) -> Result<(), Ended> {
        SCRATCH.with_borrow_mut(|scratch| {
            let count = match self.transport.try_read(scratch) {
                Ok(0) => return Err(Ended::ByClient),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            self.turn += count;
            let fresh = &scratch[..count];
            if self.rest.is_empty() {
                let handled = self.handle(fresh)?;
                self.rest.extend_from_slice(&fresh[handled..]);
            } else {
                self.rest.extend_from_slice(fresh);
            }
            Ok(())
        })
    }

    fn handle_rest(&mut self) -> Result<(), Ended> {
        if self.rest.is_empty() {
            return Ok(());
        }
        let mut rest = std::mem::take(&mut self.rest);
        let handled = self.handle(&rest)?;
        rest.drain(..handled);
        if rest.is_empty() && rest.capacity() > KEPT_BUFFER_BYTES {
            rest = Vec::new();
        }
        self.rest = rest;
        Ok(())
    }

    /// Tells the core how much is kept of an unfinished frame, which counts as memory in use.
    fn count_rest(&mut self) -> Result<(), Ended> {
        let (before, now) = (self.counted, self.rest.len());
        self.counted = now;
        if before == now || self.core.borrow_mut().service_mut().incomplete(before, now) {
            return Ok(());
        }
        Err(Ended::Crowded(now))
    }

    /// Handles whole frames as long as the core takes them; returns how many bytes they were.
    fn handle(&mut self, bytes: &[u8]) -> Result<usize, Ended> {
        if !self.greeted && bytes.first_chunk().copied().is_some_and(|first| Word::parse(first).is_some()) {
            return Ok(0);
        }
        let frame_bytes_max = self.config.limits.frame_bytes_max;
        let mut core = self.core.borrow_mut();
        let now = core.now();
        let mut handled = 0;
        for _ in 0..limits::REQUESTS_PER_TURN_MAX {
            let Some(size) = frame_size(&bytes[handled..], frame_bytes_max)? else { break };
            if !core.service().may_read(self.id) {
                break;
            }
            let frame = &bytes[handled + 4..handled + 4 + size];
            core.service_mut().frame(self.id, frame, now);
            self.greeted = true;
            handled += 4 + size;
        }
        core.pump_soon();
        Ok(handled)
    }

    fn has_whole_frame(&self) -> Result<bool, Ended> {
        Ok(frame_size(&self.rest, self.config.limits.frame_bytes_max)?.is_some())
    }

    /// The word a new connection begins with instead of a handshake.
    fn four_letter_word(&self) -> Option<Word> {
        if self.greeted { None } else { Word::parse(*self.rest.first_chunk()?) }
    }

    async fn answer_word(&mut self, word: Word) -> Result<(), Ended> {
        let text = word.reply(&self.config, |query| self.core.borrow_mut().answer(query));
        let text = text.into_bytes();
        let mut written = 0;
        while written < text.len() {
            self.transport.stream.writable().await?;
            match self.transport.try_write(&text[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        // What else it sent is read, so that closing does not throw the answer away.
        let _ = self.read();
        Err(Ended::FourLetterWord)
    }

    /// Sends what there is, as far as the system takes it.
    fn write(&mut self) -> Result<(), Ended> {
        loop {
            if self.written == self.out.len() {
                self.written = 0;
                let mut core = self.core.borrow_mut();
                core.service_mut().sent(self.out.len());
                core.service_mut().take_output(self.id, &mut self.out);
                if self.out.is_empty() {
                    return Ok(());
                }
            }
            match self.transport.try_write(&self.out[self.written..]) {
                Ok(count) => {
                    self.written += count;
                    self.turn += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.transport.close();
        let mut core = self.core.borrow_mut();
        core.service_mut().sent(self.out.len());
        core.service_mut().incomplete(self.counted, 0);
        core.disconnect(self.id);
    }
}

/// The size of the frame that begins here, if all of it has come.
fn frame_size(bytes: &[u8], max: usize) -> Result<Option<usize>, Ended> {
    let Some(length) = bytes.first_chunk::<4>() else { return Ok(None) };
    let length = i32::from_be_bytes(*length);
    match usize::try_from(length) {
        Ok(size) if (1..=max).contains(&size) => Ok((bytes.len() >= 4 + size).then_some(size)),
        _ => Err(Ended::FrameSize(length, max)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_measured_before_they_are_believed() {
        let sizes = |bytes: &[u8]| frame_size(bytes, 8).ok();
        assert_eq!(sizes(&[0, 0, 0]), Some(None));
        assert_eq!(sizes(&[0, 0, 0, 2, 1]), Some(None));
        assert_eq!(sizes(&[0, 0, 0, 2, 1, 2, 3]), Some(Some(2)));
        assert_eq!(sizes(&[0, 0, 0, 9]), None);
        assert_eq!(sizes(&[0, 0, 0, 0]), None);
        assert_eq!(sizes(&[0xff, 0xff, 0xff, 0xff]), None);
    }
}
