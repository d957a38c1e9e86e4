//! One client's connection: its requests one after the other, each answered before the next.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use client::wire::kafka::{ApiKey, Part, Reader, RequestHeader};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

use super::send::Send;
use crate::api::{self, Answered, Reply};
use crate::limits;
use crate::quota::Who;
use crate::server::Broker;

/// Who is at the other end.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: SocketAddr,
    /// The listener it came through.
    pub listener: Arc<str>,
}

impl Peer {
    /// Whom limits see: without authentication, everybody is the same user.
    pub fn who<'a>(&self, client: &'a str) -> Who<'a> {
        Who { user: "ANONYMOUS", client }
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    #[error("closed by the client")]
    ByClient,
    #[error("nothing was asked for {0:?}")]
    Idle(Duration),
    #[error("a request did not arrive whole within {0:?}")]
    Slow(Duration),
    #[error("a request of {0} bytes; socket.request.max.bytes is {1}")]
    FrameSize(i32, usize),
    #[error("{0}")]
    Malformed(#[from] client::wire::kafka::DecodeError),
    #[error("{0}")]
    Refused(String),
    #[error("the answer could not be written: {0}")]
    Encode(#[from] client::wire::kafka::EncodeError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Serves one connection until it ends.
pub async fn serve<S>(mut stream: S, peer: Peer, broker: Arc<Broker>) -> Ended
where
    S: AsyncRead + Send + Unpin,
{
    let mut frames =
        Frames::new(broker.config.connections.request_bytes_max, broker.config.connections.idle_max);
    loop {
        let frame = match frames.next(&mut stream).await {
            Ok(frame) => frame,
            Err(ended) => return ended,
        };
        match answer(&mut stream, frame, &peer, &broker).await {
            Ok(Duration::ZERO) => {}
            Ok(muted_for) => tokio::time::sleep(muted_for).await,
            Err(ended) => return ended,
        }
    }
}

/// Answers a request, and says how long the next one must wait.
async fn answer<S: Send>(
    stream: &mut S,
    frame: Bytes,
    peer: &Peer,
    broker: &Arc<Broker>,
) -> Result<Duration, Ended> {
    let size = frame.len();
    let mut reader = Reader::new(frame);
    let header = RequestHeader::decode(&mut reader)?;
    let started = Instant::now();
    let (key, version) = (header.api_key, header.api_version);
    let Answered { reply, muted_for } = api::handle(broker, peer, &header, size, reader).await?;
    let handled = started.elapsed();
    if let Reply::Frame { parts, files } = reply {
        let mut files = files.into_iter();
        for part in parts {
            match part {
                Part::Bytes(bytes) => stream.send_bytes(bytes).await?,
                Part::Hole { length } => match files.next() {
                    Some(file) => {
                        let untouched = stream.send_file(&file, length as usize).await?;
                        broker.metrics.sendfile_bytes.fetch_add(untouched, Ordering::Relaxed);
                    }
                    None => return Err(Ended::Refused("an answer lacks its records".into())),
                },
            }
        }
        stream.flush().await?;
    }
    broker.metrics.answered(key, handled, started.elapsed());
    if handled > limits::SLOW_REQUEST && !waits_by_design(key) {
        tracing::warn!(api = key.name(), version, client = %peer.address, handled_ms = handled.as_millis(), "slow request");
    }
    Ok(muted_for)
}

/// Requests whose answer comes when something happens.
fn waits_by_design(key: ApiKey) -> bool {
    matches!(key, ApiKey::Fetch | ApiKey::JoinGroup | ApiKey::SyncGroup)
}

/// Cuts what arrives into requests. Memory is taken for what has arrived, not for what is announced.
struct Frames {
    buffer: BytesMut,
    frame_bytes_max: usize,
    idle_max: Duration,
}

impl Frames {
    fn new(frame_bytes_max: usize, idle_max: Duration) -> Frames {
        Frames { buffer: BytesMut::with_capacity(limits::READ_BYTES), frame_bytes_max, idle_max }
    }

    async fn next<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> Result<Bytes, Ended> {
        let idle_until = Instant::now().checked_add(self.idle_max);
        let mut whole_until = None;
        loop {
            if let Some(frame) = self.take_frame()? {
                return Ok(frame);
            }
            if !self.buffer.is_empty() && whole_until.is_none() {
                whole_until = Some(Instant::now() + limits::FRAME_ARRIVES_WITHIN);
            }
            self.buffer.reserve(limits::READ_BYTES);
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

    fn take_frame(&mut self) -> Result<Option<Bytes>, Ended> {
        let Some(length) = self.buffer.first_chunk().map(|bytes| i32::from_be_bytes(*bytes)) else {
            return Ok(None);
        };
        let size = usize::try_from(length).ok().filter(|&size| (1..=self.frame_bytes_max).contains(&size));
        let Some(size) = size else { return Err(Ended::FrameSize(length, self.frame_bytes_max)) };
        if self.buffer.len() < 4 + size {
            return Ok(None);
        }
        self.buffer.advance(4);
        Ok(Some(self.buffer.split_to(size).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Frames {
        Frames::new(100, Duration::from_secs(600))
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_cut_out_of_what_arrives() {
        let mut stream: &[u8] = b"\0\0\0\x02ab\0\0\0\x01c";
        let mut frames = frames();
        assert_eq!(frames.next(&mut stream).await.unwrap(), "ab");
        assert_eq!(frames.next(&mut stream).await.unwrap(), "c");
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
        tokio::io::AsyncWriteExt::write_all(&mut client, b"\0\0").await.unwrap();
        assert!(matches!(frames().next(&mut server).await, Err(Ended::Slow(_))));
        let (_client, mut server) = tokio::io::duplex(64);
        assert!(matches!(frames().next(&mut server).await, Err(Ended::Idle(_))));
    }
}
