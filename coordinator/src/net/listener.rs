//! Accepting clients: how many, and how many from one address.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

use super::connection::Connection;
use crate::config::Config;
use crate::server::Core;

/// Binds a port. `[::]` means all addresses; where there is no IPv6, all of IPv4.
pub fn bind(address: SocketAddr, backlog: u32) -> io::Result<std::net::TcpListener> {
    let bound = bind_exactly(address, backlog);
    match (&bound, address) {
        (Err(error), SocketAddr::V6(v6))
            if v6.ip().is_unspecified() && error.kind() != io::ErrorKind::AddrInUse =>
        {
            bind_exactly(SocketAddr::from(([0, 0, 0, 0], v6.port())), backlog)
        }
        _ => bound,
    }
}

fn bind_exactly(address: SocketAddr, backlog: u32) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let SocketAddr::V6(v6) = address {
        socket.set_only_v6(!v6.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// How many connections there are, in all and by address.
#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: BTreeMap<IpAddr, u32>,
}

/// What every listener needs to let clients in.
#[derive(Debug)]
pub struct Doorkeeper {
    core: Rc<RefCell<Core>>,
    counts: Rc<RefCell<Counts>>,
    config: Rc<Config>,
}

impl Doorkeeper {
    pub fn new(core: Rc<RefCell<Core>>, config: Rc<Config>) -> Doorkeeper {
        Doorkeeper { core, counts: Rc::default(), config }
    }

    /// Accepts for ever.
    pub async fn accept(&self, listener: std::net::TcpListener) -> io::Result<()> {
        let listener = TcpListener::from_std(listener)?;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) => {
                    // Out of files, most likely: what is open goes on, and closing some makes room.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let address = peer.ip().to_canonical();
        let Some(place) = self.place(address) else {
            self.core.borrow_mut().count_rejected();
            return;
        };
        let _ = stream.set_nodelay(true);
        if self.config.listen.keep_alive {
            let keep_alive = TcpKeepalive::new().with_time(Duration::from_secs(60));
            let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&keep_alive);
        }
        let (id, wake) = self.core.borrow_mut().connect(peer, false, Vec::new());
        let mut connection =
            Connection::new(Rc::clone(&self.core), id, stream, wake, Rc::clone(&self.config));
        tokio::task::spawn_local(async move {
            let _place = place;
            let ended = connection.serve().await;
            tracing::debug!(%peer, %ended, "connection ended");
        });
    }

    /// A place for one more connection, given back when it is dropped.
    fn place(&self, address: IpAddr) -> Option<Place> {
        let mut counts = self.counts.borrow_mut();
        if counts.all >= self.config.limits.connections_max as usize {
            return None;
        }
        let here = counts.by_address.entry(address).or_default();
        if self.config.limits.connections_per_address.is_some_and(|max| *here >= max) {
            return None;
        }
        *here += 1;
        counts.all += 1;
        Some(Place { counts: Rc::clone(&self.counts), address })
    }
}

struct Place {
    counts: Rc<RefCell<Counts>>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.counts.borrow_mut();
        counts.all -= 1;
        if let Some(here) = counts.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}
