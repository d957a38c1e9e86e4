//! Links to the other members: one connection for each pair, up or down, frames in order while it is up.
//!
//! Of a pair, the member with the higher id dials and the other accepts, so there is never a second connection to choose
//! between. Either of the two ports of a `server.N` line will do; a dialer tries them in turn and resolves the host anew each
//! time, because addresses change while ids do not.
//!
//! Everything before a link is up happens on a thread of its own ([`door`]): resolving names, connecting, TLS, and finding
//! out who the other side is. What comes out is a connection to a member that has proven who it is; from then on the core
//! thread reads and writes it ([`link`]) like a client's.

mod accept;
mod dial;
mod door;
mod frame;
mod greeting;
mod link;
mod secure;
mod transport;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;

use self::door::{Arrival, Door};
use self::link::{Ended, Link};
use super::tls::TlsError;
use crate::config::{LinkConfig, Member};
use crate::limits;
use crate::logging::Complaints;
use crate::zab::MemberId;

/// How long the other side may take nothing of what waits to be sent.
const WRITE_STALL: Duration = Duration::from_secs(limits::PEER_WRITE_STALL_SECONDS_MAX);

/// Looks up a host; called on a thread that may block.
pub type Resolver = Arc<dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// What links need to know beside who the members are.
#[derive(Clone)]
pub struct PeerSettings {
    /// Ports, time limits, secret and TLS.
    pub links: LinkConfig,
    /// Bytes that may wait for one member; a frame is always taken when nothing waits.
    pub queue_bytes_max: usize,
    /// Let in who is authenticated but no member (yet): somebody who wants to join must be able to catch up first.
    pub guests: bool,
    /// How hosts become addresses.
    pub resolver: Resolver,
}

impl PeerSettings {
    /// Settings with the system's resolver and the usual bounds.
    pub fn new(links: LinkConfig, guests: bool) -> PeerSettings {
        let resolver = |host: &str, port: u16| {
            std::net::ToSocketAddrs::to_socket_addrs(&(host, port)).map(Iterator::collect)
        };
        PeerSettings {
            links,
            queue_bytes_max: limits::PEER_QUEUE_BYTES_MAX,
            guests,
            resolver: Arc::new(resolver),
        }
    }
}

impl fmt::Debug for PeerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerSettings").field("links", &self.links).finish_non_exhaustive()
    }
}

/// What happened to a link. For each member, `Up` and `Down` alternate, and frames come between them only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerEvent {
    /// The other side is there and has proven who it is.
    Up(MemberId),
    /// The link is gone; what was sent and not answered may or may not have arrived.
    Down(MemberId),
    /// What the other side sent, whole and in its order.
    Frame(MemberId, Bytes),
}

/// Why links cannot be made at all.
#[derive(Debug, thiserror::Error)]
pub enum PeersError {
    /// The list does not name this server.
    #[error("there is no server.{0} line for this server")]
    NotListed(MemberId),
    /// A port for members cannot be had.
    #[error("cannot listen on {place} for other members: {error}")]
    Bind {
        /// As configured.
        place: String,
        /// Why.
        error: io::Error,
    },
    /// Key or trust store are of no use.
    #[error("TLS between members: {0}")]
    Tls(#[from] TlsError),
    /// The thread could not be started.
    #[error("the thread for links cannot be started: {0}")]
    Thread(io::Error),
}

/// The links of this member. Cheap to clone; all of them end when the last clone is dropped.
#[derive(Clone)]
pub struct Peers {
    inner: Rc<Inner>,
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").field("links", &self.inner.links.borrow().keys()).finish_non_exhaustive()
    }
}

struct Inner {
    on_event: Box<dyn Fn(PeerEvent)>,
    links: RefCell<BTreeMap<MemberId, Rc<Link>>>,
    members: RefCell<Vec<Member>>,
    queue_bytes_max: usize,
    guests: bool,
    complaints: RefCell<Complaints>,
    door: Door,
}

impl Peers {
    /// Listens and dials from now on. To be called on the core thread, within its `LocalSet`; waits until the ports are had,
    /// or were tried as often as configured.
    ///
    /// `on_event` is called by tasks of that thread only, never by a method of `Peers`, and may call these methods.
    pub fn start(
        settings: PeerSettings,
        my_id: MemberId,
        members: &[Member],
        on_event: impl Fn(PeerEvent) + 'static,
    ) -> Result<Peers, PeersError> {
        let (queue_bytes_max, guests) = (settings.queue_bytes_max, settings.guests);
        let (sender, arrivals) = mpsc::channel(limits::PEER_ARRIVALS_MAX);
        let door = Door::open(settings, my_id, members, sender)?;
        let inner = Rc::new(Inner {
            on_event: Box::new(on_event),
            links: RefCell::default(),
            members: RefCell::new(members.to_vec()),
            queue_bytes_max,
            guests,
            complaints: RefCell::new(Complaints::new(limits::COMPLAINTS_PER_SECOND_MAX)),
            door,
        });
        tokio::task::spawn_local(admit_arrivals(Rc::downgrade(&inner), arrivals));
        Ok(Peers { inner })
    }

    /// Queues a frame; false when there is no link, or too much waits for that member already: then its link is dropped.
    pub fn send(&self, to: MemberId, frame: Bytes) -> bool {
        assert!(frame.len() <= limits::PEER_FRAME_BYTES_MAX, "a frame of {} bytes is too long", frame.len());
        match self.inner.links.borrow().get(&to) {
            Some(link) => link.push(frame, self.inner.queue_bytes_max),
            None => false,
        }
    }

    /// Bytes that wait to be sent to a member.
    pub fn queued_bytes(&self, to: MemberId) -> usize {
        self.inner.links.borrow().get(&to).map_or(0, |link| link.queued_bytes())
    }

    /// Gives up a link whose other end is silent, so that a new one can take its place; `Down` follows.
    pub fn reset(&self, peer: MemberId) {
        if let Some(link) = self.inner.links.borrow().get(&peer) {
            link.close(Ended::Silent);
        }
    }

    /// Adds to the list of members, or gives them other addresses.
    pub fn add_members(&self, members: &[Member]) {
        let known = self.inner.members.borrow().clone();
        let others = known.into_iter().filter(|known| members.iter().all(|member| member.id != known.id));
        let all: Vec<Member> = others.chain(members.iter().cloned()).collect();
        self.set_members(&all);
    }

    /// Replaces the list of members: links to those who left, or whose addresses are others now, go down; those who came are
    /// dialled.
    pub fn set_members(&self, members: &[Member]) {
        let old = self.inner.members.replace(members.to_vec());
        for member in &old {
            let same = members.iter().any(|new| new.id == member.id && new.addresses == member.addresses);
            if let (false, Some(link)) = (same, self.inner.links.borrow().get(&MemberId(member.id))) {
                link.close(Ended::Removed);
            }
        }
        self.inner.door.set_members(members);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for link in self.links.get_mut().values() {
            link.close(Ended::Stopped);
        }
    }
}

async fn admit_arrivals(inner: Weak<Inner>, mut arrivals: mpsc::Receiver<Arrival>) {
    while let Some(arrival) = arrivals.recv().await {
        let Some(inner) = inner.upgrade() else { return };
        Inner::admit(&inner, arrival);
    }
}

impl Inner {
    fn admit(this: &Rc<Inner>, arrival: Arrival) {
        let Arrival { peer, established, stands } = arrival;
        let known = this.members.borrow().iter().any(|member| member.id == peer.0);
        if !known && !this.guests {
            // It was removed while its link came up.
            return;
        }
        let how = established.to_string();
        let transport = match established.adopt() {
            Ok(transport) => transport,
            Err(error) => {
                tracing::warn!(%peer, %error, "a link to a member came up and cannot be used");
                return;
            }
        };
        let old = this.links.borrow_mut().remove(&peer);
        if let Some(old) = old {
            old.close(Ended::Replaced);
            tracing::info!(%peer, "a new link to a member replaces the one before");
            (this.on_event)(PeerEvent::Down(peer));
        }
        let link = Rc::new(Link::default());
        this.links.borrow_mut().insert(peer, Rc::clone(&link));
        tracing::info!(%peer, link = how, "a link to a member is up");
        (this.on_event)(PeerEvent::Up(peer));
        let weak = Rc::downgrade(this);
        tokio::task::spawn_local(async move {
            let deliver = |frame| {
                if let Some(inner) = weak.upgrade() {
                    (inner.on_event)(PeerEvent::Frame(peer, frame));
                }
            };
            let ended = link.run(transport, WRITE_STALL, deliver).await;
            // The dialer, if it was us, may try again.
            drop(stands);
            if let Some(inner) = weak.upgrade() {
                inner.down(peer, &link, &ended);
            }
        });
    }

    /// Reports that a link has ended, unless it was replaced, which was reported then.
    fn down(&self, peer: MemberId, link: &Rc<Link>, ended: &Ended) {
        let current = self.links.borrow().get(&peer).is_some_and(|other| Rc::ptr_eq(other, link));
        if !current {
            return;
        }
        self.links.borrow_mut().remove(&peer);
        if let Some(withheld) = self.complaints.borrow_mut().admit(Instant::now()) {
            tracing::warn!(%peer, reason = %ended, withheld, "a link to a member is down");
        }
        (self.on_event)(PeerEvent::Down(peer));
    }
}

#[cfg(test)]
mod tests;
