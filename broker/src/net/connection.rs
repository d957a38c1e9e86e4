//! One client's connection: its requests in order, and their answers in the same.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use client::wire::kafka::{ApiKey, Part, Reader, RequestHeader};
use tokio::io::AsyncRead;
use tokio::time::Instant;

use super::frames::{Frame, Frames};
use super::send::{Outgoing, Send};
use crate::api::{self, Answered, Reply};
use crate::limits;
use crate::quota::Who;
use crate::server::Broker;
use crate::server::metrics::{Took, add};

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

impl Ended {
    /// What [`Ended::reason`] can be.
    pub const REASONS: [&str; 7] = ["client", "error", "idle", "malformed", "refused", "size", "slow"];

    /// The reason in a word, to count it.
    pub fn reason(&self) -> &'static str {
        match self {
            Ended::ByClient => "client",
            Ended::Idle(_) => "idle",
            Ended::Slow(_) => "slow",
            Ended::FrameSize(..) => "size",
            Ended::Malformed(_) => "malformed",
            Ended::Refused(_) => "refused",
            Ended::Encode(_) | Ended::Io(_) => "error",
        }
    }
}

/// One connection, while it lasts.
struct Connection<S> {
    stream: S,
    frames: Frames,
    out: Outgoing,
    peer: Peer,
    broker: Arc<Broker>,
}

/// Serves one connection until it ends.
pub async fn serve<S>(stream: S, peer: Peer, broker: Arc<Broker>) -> Ended
where
    S: AsyncRead + Send + Unpin,
{
    let limits = &broker.config.connections;
    let frames = Frames::new(limits.request_bytes_max, limits.idle_max, broker.request_memory.clone());
    let mut connection = Connection { stream, frames, out: Outgoing::default(), peer, broker };
    let Err(ended) = connection.run().await;
    // Whoever asked before that gets his answer.
    let _ = connection.out.flush(&mut connection.stream).await;
    ended
}

impl<S: AsyncRead + Send + Unpin> Connection<S> {
    async fn run(&mut self) -> Result<std::convert::Infallible, Ended> {
        let mut turn_bytes = 0;
        loop {
            // What has arrived at once is answered at once, with one write, unless it is much: then others have their turn.
            if turn_bytes >= limits::TURN_BYTES {
                turn_bytes = 0;
                self.out.flush(&mut self.stream).await?;
                tokio::task::yield_now().await;
            }
            let frame = match self.frames.arrived()? {
                Some(frame) => frame,
                None => {
                    self.out.flush(&mut self.stream).await?;
                    self.frames.next(&mut self.stream).await?
                }
            };
            turn_bytes += frame.bytes.len();
            let muted_for = self.answer(frame).await?;
            if !muted_for.is_zero() {
                self.out.flush(&mut self.stream).await?;
                tokio::time::sleep(muted_for).await;
            }
        }
    }

    /// Answers a request, and says how long the next one must wait.
    async fn answer(&mut self, frame: Frame) -> Result<Duration, Ended> {
        let Frame { bytes, held: _held } = frame;
        let size = bytes.len();
        let mut reader = Reader::of_request(bytes);
        let header = RequestHeader::decode(&mut reader)?;
        let started = Instant::now();
        let Answered { reply, muted_for } = self.handle(&header, size, reader).await?;
        let handled = started.elapsed();
        if let Reply::Frame { parts, files } = reply {
            let mut files = files.into_iter();
            for part in parts {
                match part {
                    Part::Bytes(bytes) => self.out.push(bytes, &mut self.stream).await?,
                    Part::Hole { length } => match files.next() {
                        Some(file) => {
                            let sent = self.out.push_file(&file, length as usize, &mut self.stream).await?;
                            add(&self.broker.metrics.sendfile_bytes, sent);
                        }
                        None => return Err(Ended::Refused("an answer lacks its records".into())),
                    },
                }
            }
        }
        let (key, version) = (header.api_key, header.api_version);
        let took = Took { bytes: size, handled, total: started.elapsed(), throttled: muted_for };
        self.broker.metrics.answered(key, took);
        if handled > limits::SLOW_REQUEST && !waits_by_design(key) {
            let (client, handled_ms) = (self.peer.address, handled.as_millis());
            tracing::warn!(api = key.name(), version, %client, handled_ms, "slow request");
        }
        Ok(muted_for)
    }

    /// What the request comes to. If that must be waited for, answers that are ready go out first.
    async fn handle(
        &mut self,
        header: &RequestHeader,
        size: usize,
        reader: Reader,
    ) -> Result<Answered, Ended> {
        let mut handling = pin!(api::handle(&self.broker, &self.peer, header, size, reader));
        if let Some(answered) = at_once(handling.as_mut()).await {
            return answered;
        }
        self.out.flush(&mut self.stream).await?;
        if !waits_by_design(header.api_key) {
            return handling.await;
        }
        // Nobody waits for somebody who has left. Other requests are not left half done.
        tokio::select! {
            answered = handling => answered,
            ended = self.frames.end(&mut self.stream) => Err(ended),
        }
    }
}

/// What the future has already.
async fn at_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|task| {
        Poll::Ready(match future.as_mut().poll(task) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

/// Requests whose answer comes when something happens.
fn waits_by_design(key: ApiKey) -> bool {
    matches!(key, ApiKey::Fetch | ApiKey::JoinGroup | ApiKey::SyncGroup)
}
