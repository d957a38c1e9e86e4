//! The thread where links begin: ports, dialling, and what both sides have to prove.
//!
//! It hands connections over when it is known who is at the other end, so that neither slow name servers nor the arithmetic
//! of TLS nor strangers who knock can hold up the core thread.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use super::accept::{Accepting, Place};
use super::greeting::{Greeting, GreetingError};
use super::secure::Stores;
use super::transport::{Established, Transport};
use super::{MemberId, PeerSettings, PeersError, accept, dial};
use crate::config::{Member, MemberAddress};
use crate::limits;
use crate::logging::Complaints;

/// A link that came up.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) peer: MemberId,
    pub(super) established: Established,
    /// Dropped when the link has ended.
    pub(super) stands: oneshot::Sender<()>,
}

/// The core thread's end of the thread. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Door {
    members: watch::Sender<Arc<Vec<Member>>>,
}

impl Door {
    /// Starts the thread and waits until the own ports are had.
    pub(super) fn open(
        settings: PeerSettings,
        me: MemberId,
        members: &[Member],
        arrivals: mpsc::Sender<Arrival>,
    ) -> Result<Door, PeersError> {
        if !members.iter().any(|member| member.id == me.0) {
            return Err(PeersError::NotListed(me));
        }
        let stores = settings.links.tls.as_ref().map(|tls| Stores::open(&tls.tls)).transpose()?;
        let entropy = File::open("/dev/urandom").map_err(PeersError::Thread)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(PeersError::Thread)?;
        let (sender, mut changes) = watch::channel(Arc::new(members.to_vec()));
        let (opened, ports) = std::sync::mpsc::channel();
        let desk = Desk {
            settings,
            me,
            members: RefCell::new(changes.borrow_and_update().clone()),
            stores,
            entropy,
            arrivals,
            standing: RefCell::default(),
            complaints: RefCell::new(Complaints::new(limits::COMPLAINTS_PER_SECOND_MAX)),
        };
        std::thread::Builder::new()
            .name("peers".to_owned())
            .spawn(move || {
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, serve(Rc::new(desk), changes, opened));
                // A name server that does not answer must not keep the process alive.
                runtime.shutdown_background();
            })
            .map_err(PeersError::Thread)?;
        // The thread says nothing only if it panicked, which ends the process.
        ports.recv().unwrap_or(Ok(()))?;
        Ok(Door { members: sender })
    }

    pub(super) fn set_members(&self, members: &[Member]) {
        self.members.send_replace(Arc::new(members.to_vec()));
    }
}

/// What all tasks of the thread share.
pub(super) struct Desk {
    pub(super) settings: PeerSettings,
    pub(super) me: MemberId,
    members: RefCell<Arc<Vec<Member>>>,
    pub(super) stores: Option<Stores>,
    entropy: File,
    arrivals: mpsc::Sender<Arrival>,
    /// How many links to a member stand; two for a moment, while one replaces the other.
    standing: RefCell<BTreeMap<MemberId, u32>>,
    complaints: RefCell<Complaints>,
}

async fn serve(
    desk: Rc<Desk>,
    mut changes: watch::Receiver<Arc<Vec<Member>>>,
    opened: std::sync::mpsc::Sender<Result<(), PeersError>>,
) {
    let accepting = Rc::new(Accepting::default());
    let mut ports: BTreeMap<Place, Task> = BTreeMap::new();
    let mut dialers: BTreeMap<MemberId, (Vec<MemberAddress>, Task)> = BTreeMap::new();
    // The first ports are had before anybody is told that links can come; later ones whenever they can be.
    let attempts = desk.settings.links.bind_attempts_max;
    for place in desk.places() {
        let listener = match attempts {
            None => None,
            Some(attempts) => match accept::bind(&desk, &place, attempts).await {
                Ok(listener) => Some(listener),
                Err(error) => {
                    let _ = opened.send(Err(PeersError::Bind { place: place.to_string(), error }));
                    return;
                }
            },
        };
        let task = accept::serve(Rc::clone(&desk), Rc::clone(&accepting), place.clone(), listener);
        ports.insert(place, Task::spawn(task));
    }
    let _ = opened.send(Ok(()));
    loop {
        let places = desk.places();
        ports.retain(|place, _| places.contains(place));
        for place in places {
            ports.entry(place.clone()).or_insert_with(|| {
                Task::spawn(accept::serve(Rc::clone(&desk), Rc::clone(&accepting), place, None))
            });
        }
        let members = desk.members();
        let wanted = |id: &MemberId| members.iter().find(|member| member.id == id.0);
        dialers.retain(|id, (addresses, _)| wanted(id).is_some_and(|member| member.addresses == *addresses));
        for member in members.iter().filter(|member| member.id != desk.me.0) {
            dialers.entry(MemberId(member.id)).or_insert_with(|| {
                (member.addresses.clone(), Task::spawn(dial::dial_for_ever(Rc::clone(&desk), member.clone())))
            });
        }
        if changes.changed().await.is_err() {
            return;
        }
        *desk.members.borrow_mut() = changes.borrow_and_update().clone();
    }
}

/// A task that ends with its handle.
struct Task(AbortHandle);

impl Task {
    fn spawn(work: impl Future<Output = ()> + 'static) -> Task {
        Task(tokio::task::spawn_local(work).abort_handle())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Desk {
    pub(super) fn members(&self) -> Arc<Vec<Member>> {
        Arc::clone(&self.members.borrow())
    }

    /// Where other members find this one.
    fn places(&self) -> Vec<Place> {
        let members = self.members();
        let me = members.iter().find(|member| member.id == self.me.0);
        let addresses = me.map_or(&[][..], |member| &member.addresses);
        let everywhere = self.settings.links.listen_everywhere;
        let host = |address: &MemberAddress| (!everywhere).then(|| address.host.clone());
        let mut places: Vec<_> = addresses
            .iter()
            .flat_map(|at| [at.quorum_port, at.election_port].map(|port| Place { host: host(at), port }))
            .collect();
        places.sort();
        places.dedup();
        places
    }

    /// Looks up a host without waiting for it on this thread. One look-up at a time for each `turn`, however long it takes:
    /// threads that wait for a dead name server must not pile up.
    pub(super) async fn resolve(
        &self,
        turn: &Arc<Semaphore>,
        host: &str,
        port: u16,
    ) -> io::Result<Vec<SocketAddr>> {
        let bare = host.split('%').next().unwrap_or(host);
        if bare.len() == host.len()
            && let Ok(address) = host.parse()
        {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let turn = Arc::clone(turn).acquire_owned().await.map_err(io::Error::other)?;
        let (resolver, host) = (Arc::clone(&self.settings.resolver), host.to_owned());
        let lookup = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            resolver(&host, port)
        });
        match lookup.await.map_err(io::Error::other)? {
            Ok(addresses) if addresses.is_empty() => Err(io::ErrorKind::NotFound.into()),
            other => other,
        }
    }

    pub(super) fn random<const N: usize>(&self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        (&self.entropy).read_exact(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn is_standing(&self, peer: MemberId) -> bool {
        self.standing.borrow().contains_key(&peer)
    }

    /// Hands a link to the core thread and waits until it has ended.
    pub(super) async fn deliver(&self, peer: MemberId, transport: Transport) -> io::Result<()> {
        let established = transport.establish()?;
        let (stands, ended) = oneshot::channel();
        if self.arrivals.send(Arrival { peer, established, stands }).await.is_err() {
            return Ok(());
        }
        *self.standing.borrow_mut().entry(peer).or_default() += 1;
        let _counted = Standing { desk: self, peer };
        let _ = ended.await;
        Ok(())
    }

    /// Logs what went wrong with somebody unknown, as long as it is not too often.
    pub(super) fn complain(&self, address: SocketAddr, error: &GreetingError) {
        if let Some(withheld) = self.complaints.borrow_mut().admit(Instant::now()) {
            tracing::warn!(%address, %error, withheld, "somebody who dialled a port for members was not let in");
        }
    }
}

struct Standing<'a> {
    desk: &'a Desk,
    peer: MemberId,
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        let mut standing = self.desk.standing.borrow_mut();
        if let Some(count) = standing.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                standing.remove(&self.peer);
            }
        }
    }
}

// ---- Messages of the greeting ----

/// Sends one message.
pub(super) async fn say(transport: &mut Transport, greeting: &Greeting) -> Result<(), GreetingError> {
    let body = greeting.encode();
    let frame = [&super::frame::header(&body)[..], &body].concat();
    let mut written = 0;
    loop {
        if written == frame.len() && transport.flush()? {
            return Ok(());
        }
        if written < frame.len() {
            match transport.try_write(&[io::IoSlice::new(&frame[written..])]) {
                Ok(count) => {
                    written += count;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        transport.writable().await?;
    }
}

/// Receives one message.
pub(super) async fn hear(transport: &mut Transport) -> Result<Greeting, GreetingError> {
    loop {
        if let Some(body) = transport.buffer.next(limits::PEER_GREETING_BYTES_MAX)? {
            return Greeting::decode(&body);
        }
        match transport.try_read(limits::PEER_GREETING_BYTES_MAX) {
            Ok(0) => return Err(GreetingError::Ended),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => transport.readable().await?,
            Err(error) => return Err(error.into()),
        }
    }
}
