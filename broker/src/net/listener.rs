//! Who may connect, and through which door.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::connection::{self, Ended, Peer};
use crate::config::{ConnectionsConfig, Listener};
use crate::limits;
use crate::server::Broker;

/// A door that is open.
#[derive(Debug)]
pub struct Door {
    pub listener: Listener,
    socket: TcpListener,
}

impl Door {
    /// Binds, and does not accept yet.
    pub async fn open(listener: &Listener, backlog: u32) -> io::Result<Door> {
        let host = if listener.host.is_empty() { "0.0.0.0" } else { &listener.host };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in tokio::net::lookup_host((host, listener.port)).await? {
            match bind(address, backlog) {
                Ok(socket) => return Ok(Door { listener: listener.clone(), socket }),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Where it is, with the port that was bound.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts connections until `stop` says so.
    pub async fn serve(self, broker: Arc<Broker>, tls: Option<TlsAcceptor>, mut stop: watch::Receiver<bool>) {
        let name: Arc<str> = self.listener.name.as_str().into();
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            match accepted {
                Ok((stream, address)) => {
                    let Some(place) = broker.places.take(address.ip()) else {
                        tracing::debug!(client = %address, "too many connections");
                        continue;
                    };
                    let peer = Peer { address, listener: Arc::clone(&name) };
                    let (broker, tls, mut stop) = (Arc::clone(&broker), tls.clone(), stop.clone());
                    tokio::spawn(async move {
                        let _place = place;
                        tokio::select! {
                            ended = run(stream, peer, broker, tls) => ended,
                            _ = stop.wait_for(|stop| *stop) => {}
                        }
                    });
                }
                Err(error) => {
                    // Out of file descriptors, most likely: others must end first.
                    tracing::warn!(%error, listener = %name, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn run(stream: TcpStream, peer: Peer, broker: Arc<Broker>, tls: Option<TlsAcceptor>) {
    let address = peer.address;
    // Answers are written whole, so waiting for more only delays them.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let ended = match tls {
        None => connection::serve(stream, peer, broker).await,
        Some(tls) => match tokio::time::timeout(limits::HANDSHAKE_WITHIN, tls.accept(stream)).await {
            Ok(Ok(stream)) => connection::serve(stream, peer, broker).await,
            Ok(Err(error)) => Ended::Io(error),
            Err(_) => Ended::Slow(limits::HANDSHAKE_WITHIN),
        },
    };
    match ended {
        Ended::ByClient | Ended::Idle(_) | Ended::Io(_) => {
            tracing::debug!(client = %address, why = %ended, "connection ended")
        }
        _ => tracing::info!(client = %address, why = %ended, "connection ended"),
    }
}

fn bind(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(backlog)
}

/// How many connections there may be, in all and from one address.
#[derive(Debug)]
pub struct Places {
    limits: ConnectionsConfig,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    count: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// The right to be connected, until it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Places {
    pub fn new(limits: ConnectionsConfig) -> Arc<Places> {
        Arc::new(Places { limits, taken: Mutex::default() })
    }

    fn take(self: &Arc<Places>, address: IpAddr) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let here = taken.by_address.get(&address).copied().unwrap_or(0);
        if taken.count >= self.limits.count_max || here >= self.limits.count_per_address_max {
            return None;
        }
        taken.count += 1;
        taken.by_address.insert(address, here + 1);
        Some(Place { places: Arc::clone(self), address })
    }

    pub fn count(&self) -> usize {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).count
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.count -= 1;
        if let Some(here) = taken.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}
