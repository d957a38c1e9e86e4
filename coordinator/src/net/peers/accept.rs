//! The side that is dialled: ports, and who is let in.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_bytes::ByteArray;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::super::{listener, tls};
use super::MemberId;
use super::door::{Desk, hear, say};
use super::greeting::{End, Exchange, Greeting, GreetingError, Refusal, judge, names_host};
use super::transport::Transport;
use crate::limits;

/// Between two attempts to have a port.
const BIND_PAUSE: Duration = Duration::from_secs(1);

/// Connections the system may queue before we accept: everybody in the ensemble at once, and some strangers.
const BACKLOG: u32 = 128;

/// A port to listen on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// `None` = all addresses.
    pub(super) host: Option<String>,
    pub(super) port: u16,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host.as_deref().unwrap_or("*"), self.port)
    }
}

/// Who knocks and has not proven who it is, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Accepting {
    knocking: RefCell<VecDeque<AbortHandle>>,
}

/// Takes a port, trying as often as `attempts` says.
pub(super) async fn bind(desk: &Desk, place: &Place, attempts: u32) -> io::Result<TcpListener> {
    let turn = Arc::new(Semaphore::new(1));
    let mut attempt = 1;
    loop {
        match bind_once(desk, &turn, place).await {
            Ok(listener) => return Ok(listener),
            Err(error) if attempt >= attempts => return Err(error),
            Err(error) => tracing::warn!(%place, %error, attempt, "cannot listen for other members yet"),
        }
        attempt += 1;
        tokio::time::sleep(BIND_PAUSE).await;
    }
}

async fn bind_once(desk: &Desk, turn: &Arc<Semaphore>, place: &Place) -> io::Result<TcpListener> {
    let everywhere = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), place.port);
    let host = place.host.as_deref().filter(|host| !matches!(*host, "0.0.0.0" | "::" | "*"));
    let Some(host) = host else { return TcpListener::from_std(listener::bind(everywhere, BACKLOG)?) };
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for address in desk.resolve(turn, host, place.port).await? {
        match listener::bind(address, BACKLOG) {
            Ok(listener) => {
                // Many distributions map a machine's own name to 127.0.1.1, where nobody else can reach it.
                if address.ip().is_loopback() && host != "localhost" && host.parse::<IpAddr>().is_err() {
                    tracing::warn!(
                        %place, %address,
                        "the host of this member's own server.N line is a loopback address here, so other machines cannot \
                         reach it; set quorumListenOnAllIPs=true"
                    );
                }
                return TcpListener::from_std(listener);
            }
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                let text = format!(
                    "{} is no address of this machine (quorumListenOnAllIPs=true listens on all)",
                    address.ip()
                );
                failure = io::Error::new(error.kind(), text);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Accepts on a port for ever, once it can be had.
pub(super) async fn serve(
    desk: Rc<Desk>,
    accepting: Rc<Accepting>,
    place: Place,
    listener: Option<TcpListener>,
) {
    let listener = match listener {
        Some(listener) => listener,
        None => match bind(&desk, &place, u32::MAX).await {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%place, %error, "cannot listen for other members"),
        },
    };
    loop {
        match listener.accept().await {
            Ok((stream, address)) => accepting.admit(&desk, stream, address),
            Err(error) => {
                tracing::warn!(%place, %error, "cannot accept a link");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

impl Accepting {
    /// Begins a greeting. When too many are under way, the oldest has to go: a member needs a moment, who only sits there
    /// has had it.
    fn admit(&self, desk: &Rc<Desk>, stream: TcpStream, address: SocketAddr) {
        let mut knocking = self.knocking.borrow_mut();
        knocking.retain(|task| !task.is_finished());
        if knocking.len() >= limits::PEER_HANDSHAKES_MAX
            && let Some(oldest) = knocking.pop_front()
        {
            oldest.abort();
        }
        let desk = Rc::clone(desk);
        let task = tokio::task::spawn_local(async move {
            let patience = desk.settings.links.handshake_timeout;
            let outcome = tokio::time::timeout(patience, desk.receive(stream)).await;
            match outcome.unwrap_or(Err(GreetingError::TimedOut(patience))) {
                Ok((peer, transport)) => {
                    // Not one of those who knock any more.
                    tokio::task::spawn_local(async move { desk.deliver(peer, transport).await });
                }
                Err(error) => desk.complain(address, &error),
            }
        });
        knocking.push_back(task.abort_handle());
    }
}

impl Desk {
    /// Finds out who has dialled.
    async fn receive(&self, stream: TcpStream) -> Result<(MemberId, Transport), GreetingError> {
        let session = match (&self.stores, &self.settings.links.tls) {
            (Some(stores), Some(tls)) if !tls.accept_plain || begins_tls(&stream).await? => {
                Some(stores.accept(&stream).await?)
            }
            _ => None,
        };
        let mut transport = Transport::new(stream, session);
        let Greeting::Hello { from, to, authenticates, challenge } = hear(&mut transport).await? else {
            return Err(GreetingError::Strange);
        };
        if let Err((reason, why)) = self.judge(&transport, from, to, authenticates) {
            say(&mut transport, &Greeting::Refused { reason }).await?;
            return Err(GreetingError::RefusedHere { claimed: format!("member {from}"), why });
        }
        let acceptors = self.random()?;
        let secret = self.settings.links.secret.as_ref();
        let exchange = Exchange { dialer: from, acceptor: self.me, dialers: *challenge, acceptors };
        let reply =
            Greeting::Challenge { authenticates: secret.is_some(), challenge: ByteArray::new(acceptors) };
        say(&mut transport, &reply).await?;
        let Greeting::Proof { proof } = hear(&mut transport).await? else {
            return Err(GreetingError::Strange);
        };
        if let Some(secret) = secret
            && !proof.is_some_and(|proof| exchange.is_proof(End::Dialer, secret, &proof))
        {
            say(&mut transport, &Greeting::Refused { reason: Refusal::WrongProof }).await?;
            return Err(GreetingError::WrongProof);
        }
        let proof = secret.map(|secret| exchange.proof(End::Acceptor, secret));
        say(&mut transport, &Greeting::Welcome { proof }).await?;
        Ok((from, transport))
    }

    fn judge(
        &self,
        transport: &Transport,
        from: MemberId,
        to: MemberId,
        authenticates: bool,
    ) -> Result<(), (Refusal, &'static str)> {
        let members = self.members();
        judge(self.me, &members, self.settings.guests, from, to).map_err(|reason| {
            let why = match reason {
                Refusal::SomebodyElse(_) => "means another member than this one",
                Refusal::WrongWay => "is dialled by this member, not the other way round",
                _ => "is not in the list of members, or this is its own id",
            };
            (reason, why)
        })?;
        if self.settings.links.secret.is_some() && !authenticates {
            return Err((Refusal::SecretWanted, "proves no secret, and one is configured here"));
        }
        let verify = self.settings.links.tls.as_ref().is_some_and(|tls| tls.verify_dialer_host);
        if let (true, Some(session), Some(member)) =
            (verify, transport.tls(), members.iter().find(|member| member.id == from.0))
            && !session.leaf().is_some_and(|leaf| names_host(leaf, member))
        {
            return Err((Refusal::WrongHost, "shows a certificate without the host of its server.N line"));
        }
        Ok(())
    }
}

/// Looks at the first bytes without taking them.
async fn begins_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0; 2];
    loop {
        match stream.peek(&mut first).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => match tls::begins_tls(&first[..count]) {
                Some(answer) => return Ok(answer),
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
}
