//! Accepting clients: how many, and how many from one address.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::wire::zk::Identity;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

use super::connection::{Connection, Transport};
use super::tls::{self, Established, TlsGate};
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

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Plain,
    Tls,
    /// Told apart by the first bytes.
    Either,
}

/// Sockets in the hands of the handshake thread.
#[derive(Debug, Default)]
struct Handshaking {
    places: BTreeMap<SocketAddr, (Place, Instant)>,
    swept: Option<Instant>,
}

/// What every listener needs to let clients in.
#[derive(Debug, Clone)]
pub struct Doorkeeper {
    core: Rc<RefCell<Core>>,
    counts: Rc<RefCell<Counts>>,
    config: Arc<Config>,
    gate: Option<TlsGate>,
    handshaking: Rc<RefCell<Handshaking>>,
}

impl Doorkeeper {
    pub fn new(core: Rc<RefCell<Core>>, config: Arc<Config>, gate: Option<TlsGate>) -> Doorkeeper {
        Doorkeeper { core, counts: Rc::default(), config, gate, handshaking: Rc::default() }
    }

    /// Accepts for ever.
    pub async fn accept(&self, listener: std::net::TcpListener, kind: Kind) -> io::Result<()> {
        let listener = TcpListener::from_std(listener)?;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.admit(stream, peer, kind),
                Err(error) => {
                    // Out of files, most likely: what is open goes on, and closing some makes room.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr, kind: Kind) {
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
        match kind {
            Kind::Plain => self.serve(Transport::plain(stream), peer, Vec::new(), place),
            Kind::Tls => self.encrypt(stream, peer, place),
            Kind::Either => {
                let this = self.clone();
                tokio::task::spawn_local(async move {
                    let patience = this.config.session.handshake_timeout;
                    match tokio::time::timeout(patience, begins_tls(&stream)).await {
                        Ok(Ok(true)) => this.encrypt(stream, peer, place),
                        Ok(Ok(false)) => this.serve(Transport::plain(stream), peer, Vec::new(), place),
                        Ok(Err(_)) | Err(_) => {}
                    }
                });
            }
        }
    }

    /// Sends a socket through the handshake thread. Its place is kept until it comes back or is closed there.
    fn encrypt(&self, stream: TcpStream, peer: SocketAddr, place: Place) {
        let (Some(gate), Ok(stream)) = (&self.gate, stream.into_std()) else { return };
        let mut handshaking = self.handshaking.borrow_mut();
        handshaking.places.insert(peer, (place, Instant::now()));
        // What failed over there does not report back: its place is free again after the longest a handshake may take.
        let longest = self.config.tls.as_ref().map_or(Duration::ZERO, |tls| tls.handshake_timeout) * 2;
        if handshaking.swept.is_none_or(|swept| swept.elapsed() > Duration::from_secs(1)) {
            handshaking.swept = Some(Instant::now());
            handshaking.places.retain(|_, (_, since)| since.elapsed() <= longest);
        }
        drop(handshaking);
        gate.accept(stream, peer, &[]);
    }

    /// Serves a client whose TLS handshake is done.
    pub fn established(&self, established: Established) {
        let Established { stream, tls, peer, identities } = established;
        let place = self.handshaking.borrow_mut().places.remove(&peer).map(|(place, _)| place);
        let Some(place) = place.or_else(|| self.place(peer.ip().to_canonical())) else { return };
        let Ok(stream) = TcpStream::from_std(stream) else { return };
        let mut identities: Vec<Identity<'static>> =
            identities.into_iter().map(|(scheme, id)| Identity::new(scheme, id)).collect();
        if let Some(super_user) = &self.config.auth.x509_super_user
            && identities.iter().any(|identity| identity.scheme == "x509" && identity.id == *super_user)
        {
            identities.push(Identity::new("super", ""));
        }
        self.serve(Transport::encrypted(stream, tls), peer, identities, place);
    }

    fn serve(
        &self,
        transport: Transport,
        peer: SocketAddr,
        identities: Vec<Identity<'static>>,
        place: Place,
    ) {
        let secure = transport.is_encrypted();
        let (id, wake) = self.core.borrow_mut().connect(peer, secure, identities);
        let mut connection =
            Connection::new(Rc::clone(&self.core), id, transport, wake, Arc::clone(&self.config));
        tokio::task::spawn_local(async move {
            let _place = place;
            let ended = connection.serve().await;
            connection.count(&ended);
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

/// Looks at the first bytes without taking them.
async fn begins_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0; 2];
    loop {
        match stream.peek(&mut first).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                if let Some(answer) = tls::begins_tls(&first[..count]) {
                    return Ok(answer);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

#[derive(Debug)]
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
