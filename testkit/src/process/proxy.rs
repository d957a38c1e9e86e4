//! A TCP proxy that misbehaves on purpose: between members of an ensemble, and in front of clients.
//!
//! A [`Link`] listens on a port of its own and passes every connection on to one target. What travels each way has
//! [`Conditions`] of its own, which can change at any time. A blocked way is what a dropped cable is to TCP: nothing
//! arrives, and what was sent meanwhile arrives when the way is free again, unless the connection is gone by then.
//! New connections through a blocked link are accepted and stay silent.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::net::sockopt::set_socket_linger;

use super::ports::free_port;
use crate::sim::random::Random;

/// Pieces that are on their way inside one direction of one connection.
const PIECES_UNDER_WAY: usize = 64;
const PIECE_BYTES: usize = 16 << 10;

/// Which way: from whoever connected, or to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// From the side that connected.
    Forth,
    /// To the side that connected.
    Back,
}

/// How one way of a link treats what it carries. The default is to do no harm.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conditions {
    /// Nothing arrives.
    pub blocked: bool,
    /// How late everything arrives, at least.
    pub delay: Duration,
    /// How much later than that it may be; drawn for each piece. Order is kept.
    pub jitter: Duration,
    /// One piece of so many has one of its bits turned; 0 = none.
    pub corrupt_one_in: u64,
    /// Everything arrives in packets of so many bytes; 0 = as it comes.
    pub slice_bytes: usize,
}

#[derive(Debug)]
struct Connection {
    near: TcpStream,
    far: TcpStream,
    /// Ways in which everything is lost, to the end of the connection.
    deaf: Vec<Flow>,
}

#[derive(Debug, Default)]
struct State {
    forth: Conditions,
    back: Conditions,
    connections: Vec<(usize, Connection)>,
}

impl State {
    fn conditions(&mut self, flow: Flow) -> &mut Conditions {
        match flow {
            Flow::Forth => &mut self.forth,
            Flow::Back => &mut self.back,
        }
    }
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    over: AtomicBool,
    passed: AtomicUsize,
    /// A text that connections carry in their first piece, and what it is replaced by: addresses that members tell
    /// each other would lead around the proxy.
    rewrite: Option<(Vec<u8>, Vec<u8>)>,
    seed: u64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One listening port and where it leads.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Link {
    /// Begins to pass connections on to `target`. Everything random follows from the seed.
    pub fn to(target: SocketAddr, seed: u64) -> Result<Link> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        Link::between(address, target, seed, None)
    }

    fn between(
        address: SocketAddr,
        target: SocketAddr,
        seed: u64,
        rewrite: Option<(String, String)>,
    ) -> Result<Link> {
        let listener = TcpListener::bind(address).with_context(|| format!("a proxy at {address}"))?;
        let rewrite = rewrite.map(|(from, to)| (from.into_bytes(), to.into_bytes()));
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            over: AtomicBool::new(false),
            passed: AtomicUsize::new(0),
            rewrite,
            seed,
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for (number, near) in listener.incoming().flatten().enumerate() {
                if accepting.over.load(Ordering::Relaxed) {
                    break;
                }
                match TcpStream::connect_timeout(&target, Duration::from_secs(1)) {
                    Ok(far) => drop(carry(&accepting, number, near, far)),
                    // As near as an accepted connection can come to one that is refused: it is reset.
                    Err(_) => drop(set_socket_linger(&near, Some(Duration::ZERO))),
                }
            }
        });
        Ok(Link { address, shared })
    }

    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes how one way treats what it carries.
    pub fn set(&self, flow: Flow, change: impl FnOnce(&mut Conditions)) {
        change(self.shared.state().conditions(flow));
        self.shared.changed.notify_all();
    }

    /// Does no harm any more, either way.
    pub fn heal(&self) {
        for flow in [Flow::Forth, Flow::Back] {
            self.set(flow, |conditions| *conditions = Conditions::default());
        }
    }

    /// Resets every connection, both ways.
    pub fn reset(&self) {
        for (_, Connection { near, far, .. }) in self.shared.state().connections.drain(..) {
            for socket in [near, far] {
                // Without a linger time the other side gets a reset instead of an orderly end.
                let _ = set_socket_linger(&socket, Some(Duration::ZERO));
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
        self.shared.changed.notify_all();
    }

    /// Ends one way of every connection in an orderly manner; the other way goes on.
    pub fn half_close(&self, flow: Flow) {
        for (_, Connection { near, far, .. }) in &self.shared.state().connections {
            let _ = match flow {
                Flow::Forth => far.shutdown(Shutdown::Write),
                Flow::Back => near.shutdown(Shutdown::Write),
            };
        }
    }

    /// Loses all that the connections there are now carry one way. Neither end is told.
    pub fn deafen(&self, flow: Flow) {
        self.shared.state().connections.iter_mut().for_each(|(_, connection)| connection.deaf.push(flow));
    }

    /// Bytes that went through, both ways.
    pub fn bytes_passed(&self) -> usize {
        self.shared.passed.load(Ordering::Relaxed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        self.reset();
        // Wakes the accepting thread, so that it sees that it is over.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_millis(200));
    }
}

/// Carries one connection on threads of its own: a reader and a writer each way.
fn carry(shared: &Arc<Shared>, number: usize, near: TcpStream, far: TcpStream) -> std::io::Result<()> {
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let ways = [
        (Flow::Forth, near.try_clone()?, far.try_clone()?),
        (Flow::Back, far.try_clone()?, near.try_clone()?),
    ];
    shared.state().connections.push((number, Connection { near, far, deaf: Vec::new() }));
    for (flow, from, to) in ways {
        let (sender, receiver) = sync_channel(PIECES_UNDER_WAY);
        let random = Random::new(shared.seed ^ ((number as u64) << 1) ^ u64::from(flow == Flow::Back));
        let reading = Arc::clone(shared);
        std::thread::spawn(move || receive(&reading, flow, from, random, &sender));
        let writing = Arc::clone(shared);
        std::thread::spawn(move || {
            deliver(&writing, number, flow, to, &receiver);
            writing.state().connections.retain(|(other, _)| *other != number);
        });
    }
    Ok(())
}

/// A piece of a stream and when it may arrive.
struct Piece {
    due: Instant,
    bytes: Vec<u8>,
}

fn receive(shared: &Shared, flow: Flow, mut from: TcpStream, mut random: Random, pieces: &SyncSender<Piece>) {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut due = Instant::now();
    let mut is_first = true;
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 {
            break;
        }
        let conditions = shared.state().conditions(flow).clone();
        let mut bytes = buffer[..count].to_vec();
        if std::mem::take(&mut is_first)
            && let Some((old, new)) = &shared.rewrite
        {
            replace(&mut bytes, old, new);
        }
        if conditions.corrupt_one_in > 0 && random.below(conditions.corrupt_one_in) == 0 {
            let at = random.below(count as u64) as usize;
            bytes[at] ^= 1 << random.below(8);
        }
        let jitter_us = conditions.jitter.as_micros() as u64;
        let late = conditions.delay + Duration::from_micros(random.below(jitter_us + 1));
        due = due.max(Instant::now() + late);
        if pieces.send(Piece { due, bytes }).is_err() {
            break;
        }
    }
}

fn deliver(shared: &Shared, number: usize, flow: Flow, mut to: TcpStream, pieces: &Receiver<Piece>) {
    for Piece { due, bytes } in pieces {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let (slice_bytes, is_lost) = {
            let mut state = shared.state();
            while state.conditions(flow).blocked && !shared.over.load(Ordering::Relaxed) {
                // A time limit, because a reset ends the wait without a change of conditions.
                let wait = shared.changed.wait_timeout(state, Duration::from_millis(100));
                state = wait.unwrap_or_else(PoisonError::into_inner).0;
            }
            let own = state.connections.iter().find(|(other, _)| *other == number);
            let is_lost = own.is_some_and(|(_, connection)| connection.deaf.contains(&flow));
            (state.conditions(flow).slice_bytes, is_lost)
        };
        if is_lost {
            continue;
        }
        let step = if slice_bytes == 0 { bytes.len() } else { slice_bytes };
        if bytes.chunks(step).any(|packet| to.write_all(packet).is_err()) {
            break;
        }
        shared.passed.fetch_add(bytes.len(), Ordering::Relaxed);
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Replaces the first occurrence, if both texts are equally long: lengths around it stay true.
fn replace(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    if old.len() == new.len()
        && let Some(at) = bytes.windows(old.len()).position(|window| window == old)
    {
        bytes[at..at + new.len()].copy_from_slice(new);
    }
}

/// What one member connects to in order to reach another.
#[derive(Debug)]
pub(crate) struct Passage {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) quorum: Link,
    pub(crate) election: Link,
}

/// All links of an ensemble: between every two members, each way to connect, and in front of each member's clients.
#[derive(Debug)]
pub struct Links {
    pub(crate) passages: Vec<Passage>,
    pub(crate) clients: Vec<Link>,
}

/// Where a member really listens for others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerPorts {
    pub(crate) host: Ipv4Addr,
    pub(crate) quorum: u16,
    pub(crate) election: u16,
}

impl Links {
    pub(crate) fn start(members: &[PeerPorts], clients: &[SocketAddr], seed: u64) -> Result<Links> {
        let mut random = Random::new(seed);
        let mut ports = Vec::new();
        for from in 0..members.len() {
            for to in (0..members.len()).filter(|to| *to != from) {
                let host = members[to].host;
                ports.push((from, to, PeerPorts { host, quorum: free_port(), election: free_port() }));
            }
        }
        let mut passages = Vec::new();
        for &(from, to, at) in &ports {
            let real = members[to];
            // Who is dialled for an election is told where to dial back, which must be a proxy, too.
            let (own, back) = (members[from], ports.iter().find(|(a, b, _)| (*a, *b) == (to, from)));
            let back = back.map(|(.., back)| {
                let text = |ports: &PeerPorts| format!("{}:{}", ports.host, ports.election);
                (text(&own), text(back))
            });
            let link = |near: u16, far: u16, seed: u64, rewrite| {
                Link::between((at.host, near).into(), (real.host, far).into(), seed, rewrite)
            };
            passages.push(Passage {
                from,
                to,
                quorum: link(at.quorum, real.quorum, random.next_u64(), None)?,
                election: link(at.election, real.election, random.next_u64(), back)?,
            });
        }
        let clients =
            clients.iter().map(|&target| Link::to(target, random.next_u64())).collect::<Result<_>>()?;
        Ok(Links { passages, clients })
    }

    /// What carries anything from one to the other, and which way.
    fn between(&self, from: usize, to: usize) -> impl Iterator<Item = (&Link, Flow)> {
        let way = move |passage: &Passage| match (passage.from, passage.to) {
            ends if ends == (from, to) => Some(Flow::Forth),
            ends if ends == (to, from) => Some(Flow::Back),
            _ => None,
        };
        let passages = self.passages.iter().filter_map(move |passage| Some((passage, way(passage)?)));
        passages.flat_map(|(passage, flow)| [(&passage.quorum, flow), (&passage.election, flow)])
    }

    /// Changes what happens to everything that `from` sends to `to`, over whichever connection.
    pub fn set(&self, from: usize, to: usize, change: impl Fn(&mut Conditions)) {
        self.between(from, to).for_each(|(link, flow)| link.set(flow, &change));
    }

    /// Nothing that `from` sends arrives at `to`.
    pub fn block(&self, from: usize, to: usize) {
        self.set(from, to, |conditions| conditions.blocked = true);
    }

    /// Nothing passes between the two.
    pub fn cut(&self, one: usize, other: usize) {
        self.block(one, other);
        self.block(other, one);
    }

    /// Nothing more that `from` sends over the present connections arrives at `to`, and neither is told.
    pub fn deafen(&self, from: usize, to: usize) {
        self.between(from, to).for_each(|(link, flow)| link.deafen(flow));
    }

    /// Every link between members.
    pub fn peers(&self) -> impl Iterator<Item = &Link> {
        self.passages.iter().flat_map(|passage| [&passage.quorum, &passage.election])
    }

    /// The link in front of a member's clients.
    pub fn client(&self, member: usize) -> &Link {
        &self.clients[member]
    }

    /// No link does harm any more.
    pub fn heal(&self) {
        self.peers().chain(&self.clients).for_each(Link::heal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A target that sends back what it gets.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            for mut socket in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut buffer = [0; 1024];
                    while let Ok(count @ 1..) = socket.read(&mut buffer) {
                        if socket.write_all(&buffer[..count]).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        address
    }

    fn connect(link: &Link) -> TcpStream {
        let socket = TcpStream::connect(link.address()).expect("the proxy listens");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a time limit");
        socket
    }

    fn ask(socket: &mut TcpStream, text: &[u8]) -> Vec<u8> {
        socket.write_all(text).expect("sent");
        let mut answer = vec![0; text.len()];
        socket.read_exact(&mut answer).expect("answered");
        answer
    }

    #[test]
    fn a_blocked_way_delivers_later_and_a_reset_ends_it() {
        let link = Link::to(echo(), 1).expect("a link");
        let mut socket = connect(&link);
        assert_eq!(ask(&mut socket, b"free"), b"free");
        link.set(Flow::Back, |conditions| conditions.blocked = true);
        socket.write_all(b"held").expect("sent");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a time limit");
        assert!(socket.read(&mut [0; 4]).is_err(), "the way back is blocked");
        link.heal();
        let mut answer = [0; 4];
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a time limit");
        socket.read_exact(&mut answer).expect("delivered after all");
        assert_eq!(&answer, b"held");
        link.reset();
        assert!(matches!(socket.read(&mut answer), Ok(0) | Err(_)), "the connection is gone");
    }

    #[test]
    fn a_deaf_connection_stays_deaf_and_the_next_one_is_not() {
        let link = Link::to(echo(), 1).expect("a link");
        let mut socket = connect(&link);
        assert_eq!(ask(&mut socket, b"heard"), b"heard");
        link.deafen(Flow::Forth);
        link.heal();
        socket.write_all(b"lost").expect("sent");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a time limit");
        assert!(socket.read(&mut [0; 4]).is_err(), "nothing arrives");
        assert_eq!(ask(&mut connect(&link), b"heard"), b"heard");
    }

    #[test]
    fn delay_slices_and_turned_bits() {
        let link = Link::to(echo(), 7).expect("a link");
        let mut socket = connect(&link);
        link.set(Flow::Forth, |conditions| {
            conditions.delay = Duration::from_millis(80);
            conditions.slice_bytes = 1;
        });
        let start = Instant::now();
        assert_eq!(ask(&mut socket, b"in pieces"), b"in pieces");
        assert!(start.elapsed() >= Duration::from_millis(80));
        link.heal();
        link.set(Flow::Forth, |conditions| conditions.corrupt_one_in = 1);
        let answer = ask(&mut socket, b"clean");
        let turned: u32 = answer.iter().zip(b"clean").map(|(a, b)| (a ^ b).count_ones()).sum();
        assert_eq!(turned, 1);
    }

    #[test]
    fn addresses_are_rewritten_only_in_place() {
        let mut bytes = *b"..127.0.1.1:10000..";
        replace(&mut bytes, b"127.0.1.1:10000", b"127.0.1.1:20000");
        assert_eq!(&bytes, b"..127.0.1.1:20000..");
        replace(&mut bytes, b"127.0.1.1:20000", b"127.0.1.1:9");
        assert_eq!(&bytes, b"..127.0.1.1:20000..");
    }
}
