//! The future that every operation returns.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::driver::{Answer, Command};
use super::error::Error;
use super::session::Reply;
use crate::wire::zk::Zxid;

type Answered = (Result<Reply, Error>, OwnedSemaphorePermit);
type Decode<T> = Box<dyn FnOnce(Result<Reply, Error>) -> Result<T, Error> + Send>;

/// A request under way.
///
/// The request is sent **when the method is called**, not when this is polled, so requests reach the server in the order
/// of the calls, and many can be under way before the first answer is awaited:
///
/// ```no_run
/// # async fn example(zk: client::zk::Coordinator) -> Result<(), client::zk::Error> {
/// let under_way: Vec<_> = ["/a", "/b", "/c"].iter().map(|path| zk.get(path)).collect();
/// for answer in under_way {
///     let (data, stat) = answer.await?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// Only when as much as [`Builder::outstanding_bytes_max`](super::Builder::outstanding_bytes_max) allows is under way
/// does a request wait for room, from its first poll on.
///
/// # Cancel safety
/// Dropping this does not take the request back. Its effect happens as if it had been awaited; only the answer is lost.
#[must_use = "without awaiting it nobody learns whether the request succeeded"]
pub struct Pending<T> {
    state: State,
    decode: Option<Decode<T>>,
}

enum State {
    Failed(Option<Error>),
    ForRoom(Pin<Box<dyn Future<Output = Result<oneshot::Receiver<Answered>, Error>> + Send>>),
    ForAnswer(oneshot::Receiver<Answered>),
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}

impl<T> Pending<T> {
    pub(crate) fn failed(error: Error) -> Pending<T> {
        Pending { state: State::Failed(Some(error)), decode: None }
    }

    /// Hands a command to the driver as soon as `share` of the budget is free, which is now unless much is under way.
    pub(crate) fn send(
        commands: &mpsc::UnboundedSender<Command>,
        budget: &Arc<Semaphore>,
        share: u32,
        command: impl FnOnce(Answer) -> Command + Send + 'static,
        decode: impl FnOnce(Result<Reply, Error>) -> Result<T, Error> + Send + 'static,
    ) -> Pending<T> {
        let hand_over = |permit, commands: &mpsc::UnboundedSender<Command>| {
            let (sender, receiver) = oneshot::channel();
            // If the driver is gone, so is the sender, and the receiver says so.
            let _ = commands.send(command(Answer { sender, permit }));
            receiver
        };
        let state = match Arc::clone(budget).try_acquire_many_owned(share) {
            Ok(permit) => State::ForAnswer(hand_over(permit, commands)),
            Err(_) => {
                let (budget, commands) = (Arc::clone(budget), commands.clone());
                State::ForRoom(Box::pin(async move {
                    let permit = budget.acquire_many_owned(share).await.map_err(|_| Error::Closed)?;
                    Ok(hand_over(permit, &commands))
                }))
            }
        };
        Pending { state, decode: Some(Box::new(decode)) }
    }

    /// The same answer, and the zxid that came with it: of a write its own place in the order, of a read a place that the
    /// server had reached.
    pub fn with_zxid(self) -> Pending<(T, Zxid)>
    where
        T: 'static,
    {
        let Pending { state, decode } = self;
        let decode = decode.map(|decode| -> Decode<(T, Zxid)> {
            Box::new(move |result| {
                let zxid = result.as_ref().map_or(Zxid::ZERO, |reply| reply.zxid);
                Ok((decode(result)?, zxid))
            })
        });
        Pending { state, decode }
    }

    fn poll_reply(&mut self, context: &mut Context<'_>) -> Poll<Result<Reply, Error>> {
        loop {
            match &mut self.state {
                State::Failed(error) => return Poll::Ready(Err(error.take().unwrap_or(Error::Closed))),
                State::ForRoom(future) => match future.as_mut().poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(receiver)) => self.state = State::ForAnswer(receiver),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                },
                State::ForAnswer(receiver) => {
                    let answer = std::task::ready!(Pin::new(receiver).poll(context));
                    return Poll::Ready(answer.map_or(Err(Error::Closed), |(result, _permit)| result));
                }
            }
        }
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, Error>> {
        let reply = std::task::ready!(self.poll_reply(context));
        Poll::Ready(match self.decode.take() {
            Some(decode) => decode(reply),
            None => Err(reply.err().unwrap_or(Error::Closed)),
        })
    }
}
