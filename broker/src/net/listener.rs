//! Who may connect, and through which door.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsAcceptor;

use super::connection::{self, Ended, Peer};
use crate::config::{ConnectionLimits, Listener};
use crate::limits;
use crate::quota::{Admission, Connections, Windows};
use crate::server::metrics::add;
use crate::server::seldom::Seldom;
use crate::server::{Broker, clock};

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
    pub async fn serve(self, broker: Arc<Broker>, mut stop: watch::Receiver<bool>) {
        let name: Arc<str> = self.listener.name.as_str().into();
        // As settings of one listener have it.
        let key: Arc<str> = self.listener.name.to_ascii_lowercase().into();
        let listeners = &broker.config.listeners;
        // Where brokers have a listener of their own, clients cannot keep them out.
        let waits = listeners.bind.len() == 1 || listeners.between_brokers != self.listener.name;
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            match accepted {
                Ok((stream, address)) => {
                    let admitted = tokio::select! {
                        admitted = admit(&broker.places, address.ip(), &key, waits) => admitted,
                        _ = stop.wait_for(|stop| *stop) => return,
                    };
                    let Ok((place, refused_after)) = admitted else {
                        tracing::debug!(client = %address, "too many connections");
                        continue;
                    };
                    let peer = Peer { address, listener: Arc::clone(&name) };
                    let tls = broker.certificates.acceptor(&name);
                    let (broker, mut stop) = (Arc::clone(&broker), stop.clone());
                    tokio::spawn(async move {
                        let _place = place;
                        let run = async {
                            match refused_after {
                                Some(wait) => tokio::time::sleep(wait).await,
                                None => run(stream, peer, broker, tls).await,
                            }
                        };
                        tokio::select! {
                            () = run => {}
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

/// Waits until a connection may be served; or says how long to wait before it is closed, because its address makes too many.
async fn admit(
    places: &Arc<Places>,
    address: IpAddr,
    listener: &Arc<str>,
    waits: bool,
) -> Result<(Place, Option<Duration>), TooMany> {
    let place = places.take(address, listener, waits).await?;
    let refused_after = match places.admit(address, waits) {
        Admission::After(wait_ms) => {
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            None
        }
        Admission::Refused(wait_ms) => Some(Duration::from_millis(wait_ms)),
    };
    Ok((place, refused_after))
}

async fn run(stream: TcpStream, peer: Peer, broker: Arc<Broker>, tls: Option<TlsAcceptor>) {
    let address = peer.address;
    // Answers are written whole, so waiting for more only delays them.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    add(&broker.metrics.connections_made, 1);
    let ended = match tls {
        None => connection::serve(stream, peer, Arc::clone(&broker)).await,
        Some(tls) => match tokio::time::timeout(limits::HANDSHAKE_WITHIN, tls.accept(stream)).await {
            Ok(Ok(stream)) => connection::serve(stream, peer, Arc::clone(&broker)).await,
            Ok(Err(error)) => Ended::Io(error),
            Err(_) => Ended::Slow(limits::HANDSHAKE_WITHIN),
        },
    };
    broker.metrics.note_end(&ended);
    let is_ordinary = matches!(ended, Ended::ByClient | Ended::Idle(_) | Ended::Io(_));
    // Whoever sends garbage does not fill the log with it.
    static COMPLAINTS: Seldom = Seldom::new(limits::COMPLAINTS_PER_SECOND, Duration::from_secs(1));
    if !is_ordinary && COMPLAINTS.may_be_said() {
        tracing::info!(client = %address, why = %ended, "connection ended");
    } else {
        tracing::debug!(client = %address, why = %ended, "connection ended");
    }
}

fn bind(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(backlog.max(limits::BACKLOG_MIN))
}

/// How many connections there may be, in all and from one address, and how fast they may come.
#[derive(Debug)]
pub struct Places {
    state: Mutex<State>,
    /// A place was given back, or the limits changed.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    limits: ConnectionLimits,
    rates: Connections,
    count: usize,
    by_address: HashMap<IpAddr, usize>,
    by_listener: BTreeMap<Arc<str>, usize>,
}

/// The right to be connected, until it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    address: IpAddr,
    listener: Arc<str>,
}

/// Its address has as many connections as it may.
#[derive(Debug)]
struct TooMany;

impl Places {
    pub fn new(limits: ConnectionLimits, windows: Windows) -> Arc<Places> {
        let rates = Connections::new(windows);
        let state = State {
            limits: ConnectionLimits::default(),
            rates,
            count: 0,
            by_address: HashMap::new(),
            by_listener: BTreeMap::new(),
        };
        let places = Arc::new(Places { state: Mutex::new(state), changed: Notify::new() });
        places.set_limits(limits);
        places
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on these limits hold; who is connected stays.
    pub fn set_limits(&self, limits: ConnectionLimits) {
        let mut state = self.lock();
        state.rates.limit_all(limits.creation_rate.map(f64::from));
        state.limits = limits;
        drop(state);
        self.changed.notify_waiters();
    }

    /// The connections a second that an address may make, or all that have no limit of their own.
    pub fn limit_address(&self, address: Option<IpAddr>, limit: Option<f64>) {
        self.lock().rates.limit_address(address, limit);
    }

    /// The same for all addresses at once.
    pub fn replace_address_limits(&self, limits: Vec<(Option<IpAddr>, Option<f64>)>) {
        let mut state = self.lock();
        state.rates.unlimit_addresses();
        for (address, limit) in limits {
            state.rates.limit_address(address, limit);
        }
    }

    fn admit(&self, address: IpAddr, waits: bool) -> Admission {
        self.lock().rates.admit(address, waits, clock::steady_ms())
    }

    /// A place, once there is one. Brokers among each other need not wait.
    async fn take(
        self: &Arc<Places>,
        address: IpAddr,
        listener: &Arc<str>,
        waits: bool,
    ) -> Result<Place, TooMany> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Before looking, so that no place is given back unseen.
            changed.as_mut().enable();
            if let Some(taken) = self.try_take(address, listener, waits) {
                return taken;
            }
            changed.await;
        }
    }

    fn try_take(
        self: &Arc<Places>,
        address: IpAddr,
        listener: &Arc<str>,
        waits: bool,
    ) -> Option<Result<Place, TooMany>> {
        let mut state = self.lock();
        if waits && state.count >= state.limits.count_max {
            return None;
        }
        let through = state.by_listener.get(listener).copied().unwrap_or(0);
        if state.limits.by_listener.get(&**listener).is_some_and(|&count_max| through >= count_max) {
            return None;
        }
        let here = state.by_address.get(&address).copied().unwrap_or(0);
        let limits = &state.limits;
        if here >= limits.overrides.get(&address).copied().unwrap_or(limits.count_per_address_max) {
            return Some(Err(TooMany));
        }
        state.count += 1;
        state.by_address.insert(address, here + 1);
        state.by_listener.insert(Arc::clone(listener), through + 1);
        Some(Ok(Place { places: Arc::clone(self), address, listener: Arc::clone(listener) }))
    }

    pub fn count(&self) -> usize {
        self.lock().count
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.lock();
        state.count -= 1;
        if let Some(through) = state.by_listener.get_mut(&self.listener) {
            *through -= 1;
        }
        if let Some(here) = state.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                state.by_address.remove(&self.address);
            }
        }
        drop(state);
        self.places.changed.notify_waiters();
    }
}
