//! DECODE and REPLY: sockets, and what is spoken on them.

pub mod admin;
pub mod connection;
pub mod four_letter;
pub mod listener;
pub mod peers;
pub mod tls;

use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// What a read gives at once, or `WouldBlock`.
///
/// Unlike the runtime's own `try_read`, a read that did not fill its buffer tells the runtime that the socket is empty. So
/// the next wait is for more to come, without another read that finds nothing: a third of all calls for small requests.
fn at_once<T>(read: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    // Whose turn is over is decided by the connections themselves.
    let read = pin!(tokio::task::unconstrained(read));
    match read.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}
