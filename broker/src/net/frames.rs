//! Cuts what arrives into requests. Memory is taken for what has arrived, not for what is announced.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

use super::connection::Ended;
use super::memory::{Held, RequestMemory};
use crate::limits;

/// One request, and the memory that it holds.
#[derive(Debug)]
pub(super) struct Frame {
    pub bytes: Bytes,
    pub held: Held,
}

/// What has arrived on a connection.
#[derive(Debug)]
pub(super) struct Frames {
    buffer: BytesMut,
    frame_bytes_max: usize,
    idle_max: Duration,
    memory: RequestMemory,
    /// What the request in the making has taken.
    held: Held,
}

impl Frames {
    pub(super) fn new(frame_bytes_max: usize, idle_max: Duration, memory: RequestMemory) -> Frames {
        let buffer = BytesMut::with_capacity(limits::READ_BYTES);
        Frames { buffer, frame_bytes_max, idle_max, memory, held: Held::default() }
    }

    /// Waits for the next request.
    pub(super) async fn next<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> Result<Frame, Ended> {
        let idle_until = Instant::now().checked_add(self.idle_max);
        let mut whole_until = None;
        loop {
            if let Some(frame) = self.arrived()? {
                return Ok(frame);
            }
            if !self.buffer.is_empty() && whole_until.is_none() {
                whole_until = Some(Instant::now() + limits::FRAME_ARRIVES_WITHIN);
            }
            self.make_room(&mut whole_until).await?;
            let read = stream.read_buf(&mut self.buffer);
            let count = match whole_until.or(idle_until) {
                Some(deadline) => match timeout_at(deadline, read).await {
                    Ok(count) => count?,
                    Err(_) if whole_until.is_some() => return Err(Ended::Slow(limits::FRAME_ARRIVES_WITHIN)),
                    Err(_) => return Err(Ended::Idle(self.idle_max)),
                },
                None => read.await?,
            };
            if count == 0 {
                return Err(Ended::ByClient);
            }
            // A large request has as much longer as it takes a slow line.
            whole_until = whole_until.map(|until| until + limits::time_for(count));
        }
    }

    /// Makes room for what comes next: all of a small request, and of a large one as much again as has come.
    async fn make_room(&mut self, whole_until: &mut Option<Instant>) -> Result<(), Ended> {
        let mut room = limits::READ_BYTES;
        if let Some(whole) = self.announced()?.filter(|&whole| whole > limits::READ_BYTES) {
            let wanted = (2 * self.buffer.len()).max(2 * limits::READ_BYTES).min(whole);
            let begun = Instant::now();
            self.memory.grow(&mut self.held, wanted).await;
            // The client is not the one who is slow now.
            *whole_until = whole_until.map(|until| until + begun.elapsed());
            room = wanted - self.buffer.len();
        }
        self.buffer.reserve(room);
        Ok(())
    }

    /// Ends when the client does. What it asks meanwhile is kept, as far as it is small.
    pub(super) async fn end<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> Ended {
        while self.buffer.len() < limits::READ_BYTES {
            self.buffer.reserve(limits::READ_BYTES - self.buffer.len());
            match stream.read_buf(&mut self.buffer).await {
                Ok(0) => return Ended::ByClient,
                Ok(_) => {}
                Err(error) => return Ended::Io(error),
            }
        }
        std::future::pending().await
    }

    /// The size of the request that has begun, with its length word.
    fn announced(&self) -> Result<Option<usize>, Ended> {
        let Some(length) = self.buffer.first_chunk().map(|bytes| i32::from_be_bytes(*bytes)) else {
            return Ok(None);
        };
        let size = usize::try_from(length).ok().filter(|&size| (1..=self.frame_bytes_max).contains(&size));
        size.map(|size| Some(4 + size)).ok_or(Ended::FrameSize(length, self.frame_bytes_max))
    }

    /// The next request, if it is there.
    pub(super) fn arrived(&mut self) -> Result<Option<Frame>, Ended> {
        let Some(whole) = self.announced()?.filter(|&whole| whole <= self.buffer.len()) else {
            return Ok(None);
        };
        let mut bytes = self.buffer.split_to(whole);
        if whole > limits::READ_BYTES {
            // Its memory goes with it, not into the next reads.
            let behind = std::mem::take(&mut self.buffer);
            self.buffer.extend_from_slice(&behind);
        }
        bytes.advance(4);
        Ok(Some(Frame { bytes: bytes.freeze(), held: std::mem::take(&mut self.held) }))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn frames_in(memory: &RequestMemory) -> Frames {
        Frames::new(100 << 20, Duration::from_secs(600), memory.clone())
    }

    fn frames() -> Frames {
        Frames::new(100, Duration::from_secs(600), RequestMemory::new(0))
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_cut_out_of_what_arrives() {
        let mut stream: &[u8] = b"\0\0\0\x02ab\0\0\0\x01c";
        let mut frames = frames();
        assert_eq!(frames.next(&mut stream).await.unwrap().bytes, "ab");
        assert_eq!(frames.arrived().unwrap().unwrap().bytes, "c", "it came with the one before");
        assert!(frames.arrived().unwrap().is_none());
        assert!(matches!(frames.next(&mut stream).await, Err(Ended::ByClient)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_request_ends_the_connection() {
        for start in [&b"GET / HTTP/1.1"[..], b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\x65"] {
            let mut stream = start;
            assert!(matches!(frames().next(&mut stream).await, Err(Ended::FrameSize(..))), "{start:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_request_is_not_waited_for_as_long_as_silence() {
        let (mut client, mut server) = tokio::io::duplex(64);
        client.write_all(b"\0\0").await.unwrap();
        assert!(matches!(frames().next(&mut server).await, Err(Ended::Slow(_))));
        let (_client, mut server) = tokio::io::duplex(64);
        assert!(matches!(frames().next(&mut server).await, Err(Ended::Idle(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_a_second_is_too_slow() {
        let (mut client, mut server) = tokio::io::duplex(64);
        let sending = tokio::spawn(async move {
            while client.write_all(b"\0").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let begun = Instant::now();
        let mut frames = Frames::new(100 << 20, Duration::from_secs(600), RequestMemory::new(1 << 20));
        frames.buffer.extend_from_slice(&1000i32.to_be_bytes());
        assert!(matches!(frames.next(&mut server).await, Err(Ended::Slow(_))));
        assert!(begun.elapsed() < Duration::from_secs(32), "{:?}", begun.elapsed());
        drop(server);
        sending.await.unwrap();
    }

    /// Memory is charged for what came, at most twice, and given back with the request.
    #[tokio::test(start_paused = true)]
    async fn a_large_request_is_charged_as_it_comes() {
        let memory = RequestMemory::new(10 << 20);
        let (mut client, mut server) = tokio::io::duplex(64 << 10);
        let size = 1 << 20;
        let reading = tokio::spawn({
            let memory = memory.clone();
            async move { frames_in(&memory).next(&mut server).await.unwrap() }
        });
        client.write_all(&(size as i32).to_be_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(memory.taken() <= 2 * limits::READ_BYTES, "{}", memory.taken());
        client.write_all(&vec![7; size / 2]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!((size / 2..=size + 4).contains(&memory.taken()), "{}", memory.taken());
        client.write_all(&vec![7; size / 2]).await.unwrap();
        let frame = reading.await.unwrap();
        assert_eq!((frame.bytes.len(), memory.taken()), (size, size + 4));
        drop(frame);
        assert_eq!(memory.taken(), 0);
    }

    /// Large requests wait for each other, small ones for nobody, and waiting is not held against the client.
    #[tokio::test(start_paused = true)]
    async fn large_requests_wait_for_memory() {
        let memory = RequestMemory::new(200 << 10);
        let mut large = (150i32 << 10).to_be_bytes().to_vec();
        large.resize(4 + (150 << 10), 7);
        let first = frames_in(&memory).next(&mut &large[..]).await.unwrap();
        let beyond = frames_in(&memory).next(&mut &large[..]).await.unwrap();
        let waiting = tokio::spawn({
            let (memory, large) = (memory.clone(), large.clone());
            async move { frames_in(&memory).next(&mut &large[..]).await.map(|frame| frame.bytes.len()) }
        });
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert!(!waiting.is_finished());
        let small = frames_in(&memory).next(&mut &b"\0\0\0\x02ab"[..]).await.unwrap();
        assert_eq!(small.bytes, "ab");
        drop((first, beyond));
        assert_eq!(waiting.await.unwrap().unwrap(), 150 << 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_leaves_is_noticed_and_what_it_asked_is_kept() {
        let (mut client, mut server) = tokio::io::duplex(64);
        let mut frames = frames();
        client.write_all(b"\0\0\0\x02ab").await.unwrap();
        let waits = tokio::time::timeout(Duration::from_secs(5), frames.end(&mut server));
        assert!(waits.await.is_err());
        assert_eq!(frames.arrived().unwrap().unwrap().bytes, "ab");
        drop(client);
        assert!(matches!(frames.end(&mut server).await, Ended::ByClient));
    }
}
