//! The load generator: one thread, readiness events, prebuilt requests, and as little parsing as counting allows.
//!
//! Being one thread keeps it from taking the server's cores, and its own CPU time per operation is reported with
//! every result, as is its speed against a [reference](super::reference) that does no work at all.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::histogram::Histogram;
use crate::process::Usage;
use crate::raw::{Body, Connection, Hello, op};

/// How many connections, and how many requests each keeps under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Connections.
    pub connections: usize,
    /// Requests under way on each.
    pub depth: usize,
}

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As soon as earlier ones are answered.
    Closed,
    /// So many per second in all, whether or not earlier ones are answered; a request's time counts from when it
    /// should have been sent.
    PerSecond(u32),
}

/// What a run came to.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Replies within the measured time.
    pub operations: u64,
    /// Replies that carried an error.
    pub errors: u64,
    /// The measured time.
    pub elapsed: Duration,
    /// Times from request to reply.
    pub latencies: Histogram,
    /// CPU time of the server in the measured time.
    pub server_cpu: Duration,
    /// CPU time of the generator in the measured time.
    pub own_cpu: Duration,
    /// The server's resident memory at the end.
    pub resident: u64,
    /// Bytes of data in the measured time, where that is counted.
    pub bytes: u64,
}

impl Tally {
    /// Adds another run of the same kind.
    pub fn merge(&mut self, other: &Tally) {
        self.operations += other.operations;
        self.errors += other.errors;
        self.elapsed += other.elapsed;
        self.latencies.merge(&other.latencies);
        self.server_cpu += other.server_cpu;
        self.own_cpu += other.own_cpu;
        self.resident = self.resident.max(other.resident);
        self.bytes += other.bytes;
    }

    /// Operations per second.
    pub fn rate(&self) -> f64 {
        self.operations as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// CPU seconds of the server per million operations.
    pub fn server_cpu_per_million(&self) -> f64 {
        self.server_cpu.as_secs_f64() * 1e6 / (self.operations.max(1)) as f64
    }

    /// CPU seconds of the generator per million operations.
    pub fn own_cpu_per_million(&self) -> f64 {
        self.own_cpu.as_secs_f64() * 1e6 / (self.operations.max(1)) as f64
    }
}

/// What one connection says, and what it makes of the answers.
pub(super) trait Talk {
    /// Appends the frame of one request with the given number.
    fn ask(&mut self, number: i32, out: &mut Vec<u8>);
    /// What a frame from the server says, length word included.
    fn hear(&mut self, frame: &[u8]) -> Result<Heard>;
}

/// What a frame from the server says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Whether it answers a request.
    pub(super) answers: bool,
    /// Whether the answer is an error.
    pub(super) failed: bool,
    /// Operations that the answer stands for: the request itself, or records.
    pub(super) operations: u64,
    /// Bytes of data that went over with them.
    pub(super) bytes: u64,
}

/// Appends the frame of one request with the given xid.
pub(super) type NextRequest = Box<dyn FnMut(i32, &mut Vec<u8>)>;

/// A coordinator's client whose requests are one operation each.
struct Session(NextRequest);

impl Talk for Session {
    fn ask(&mut self, number: i32, out: &mut Vec<u8>) {
        (self.0)(number, out);
    }

    fn hear(&mut self, frame: &[u8]) -> Result<Heard> {
        let header = frame.get(..20).context("a reply without a header")?;
        let answers = i32::from_be_bytes(header[4..8].try_into()?) >= 0;
        Ok(Heard { answers, failed: header[16..20] != [0; 4], operations: 1, bytes: 0 })
    }
}

/// CPU time of the calling thread.
pub(super) fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// A request whose frame is built once; its xid and perhaps ten digits of its path are written in place.
#[derive(Debug, Clone)]
pub(super) struct Template {
    frame: Vec<u8>,
    digits_at: Option<usize>,
}

/// Stands for the digits in a template's path.
pub(super) const DIGITS: &str = "##########";

impl Template {
    pub(super) fn new(opcode: i32, record: &Body) -> Template {
        let frame = Body::request(0, opcode).raw(&record.0).frame();
        let digits_at = frame.windows(DIGITS.len()).position(|window| window == DIGITS.as_bytes());
        Template { frame, digits_at }
    }

    pub(super) fn write(&self, xid: i32, mut number: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.frame);
        out[start + 4..start + 8].copy_from_slice(&xid.to_be_bytes());
        if let Some(at) = self.digits_at {
            for place in out[start + at..start + at + DIGITS.len()].iter_mut().rev() {
                *place = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
    }
}

/// One connection of the generator.
struct Lane {
    socket: TcpStream,
    talk: Box<dyn Talk>,
    number: i32,
    /// When each request under way was sent, or should have been.
    sent_at: VecDeque<Instant>,
    out: Vec<u8>,
    /// How much of `out` is written.
    written: usize,
    /// Received bytes of a frame that is not whole yet.
    partial: Vec<u8>,
    waits_to_write: bool,
}

impl Lane {
    fn request(&mut self, at: Instant) {
        self.number = if self.number == i32::MAX { 1 } else { self.number + 1 };
        self.talk.ask(self.number, &mut self.out);
        self.sent_at.push_back(at);
    }

    /// Writes what can be written.
    fn flush(&mut self) -> Result<()> {
        while self.written < self.out.len() {
            match self.socket.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("writing requests"),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }
}

/// Runs requests from many sessions, spread over the addresses, for a while and counts the replies. `probe` tells the
/// usage of whoever answers.
pub(super) fn drive(
    addresses: &[SocketAddr],
    shape: Shape,
    pace: Pace,
    seconds: f64,
    make: &mut dyn FnMut(usize) -> NextRequest,
    probe: &dyn Fn() -> Result<Usage>,
) -> Result<Tally> {
    let mut open = |index: usize| -> Result<(TcpStream, Box<dyn Talk>)> {
        let hello = Hello { timeout: 40_000, ..Hello::default() };
        let address = addresses[index % addresses.len()];
        let socket = Connection::session(address, &hello)?.0.into_socket();
        Ok((socket, Box::new(Session(make(index)))))
    };
    let (tally, sockets) = converse(shape, pace, seconds, &mut open, probe)?;
    for mut socket in sockets {
        let _ = socket.write_all(&Body::request(1, op::CLOSE_SESSION).frame());
    }
    Ok(tally)
}

/// Runs requests over connections of any protocol whose frames begin with their length, and gives the connections back.
pub(super) fn converse(
    shape: Shape,
    pace: Pace,
    seconds: f64,
    open: &mut dyn FnMut(usize) -> Result<(TcpStream, Box<dyn Talk>)>,
    probe: &dyn Fn() -> Result<Usage>,
) -> Result<(Tally, Vec<TcpStream>)> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut lanes = Vec::with_capacity(shape.connections);
    for index in 0..shape.connections {
        let (socket, talk) = open(index)?;
        socket.set_nonblocking(true)?;
        epoll::add(&poll, &socket, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
        lanes.push(Lane {
            socket,
            talk,
            number: 0,
            sent_at: VecDeque::new(),
            out: Vec::new(),
            written: 0,
            partial: Vec::new(),
            waits_to_write: false,
        });
    }
    Run { poll, lanes, shape, pace, tally: Tally::default(), turn: 0, buffer: vec![0; 256 << 10] }
        .run(seconds, probe)
}

struct Run {
    poll: OwnedFd,
    lanes: Vec<Lane>,
    shape: Shape,
    pace: Pace,
    tally: Tally,
    /// The lane that sends next at a fixed pace.
    turn: usize,
    buffer: Vec<u8>,
}

/// Whether replies are answered by new requests, and whether they count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Measured,
    Drain,
}

impl Run {
    fn run(mut self, seconds: f64, probe: &dyn Fn() -> Result<Usage>) -> Result<(Tally, Vec<TcpStream>)> {
        let warm_up = Duration::from_secs_f64((seconds / 4.0).min(1.0));
        let begin = Instant::now();
        if self.pace == Pace::Closed {
            for index in 0..self.lanes.len() {
                for _ in 0..self.shape.depth {
                    self.lanes[index].request(begin);
                }
                self.flush(index)?;
            }
        }
        self.phase(Phase::WarmUp, begin, begin + warm_up)?;
        let usage_before = probe()?;
        let cpu_before = thread_cpu();
        let start = Instant::now();
        self.phase(Phase::Measured, start, start + Duration::from_secs_f64(seconds))?;
        self.tally.elapsed = start.elapsed();
        self.tally.own_cpu = thread_cpu() - cpu_before;
        let usage_after = probe()?;
        self.tally.server_cpu = usage_after.cpu.saturating_sub(usage_before.cpu);
        self.tally.resident = usage_after.resident;
        let end = Instant::now();
        self.phase(Phase::Drain, end, end + Duration::from_secs(10))?;
        let waiting: usize = self.lanes.iter().map(|lane| lane.sent_at.len()).sum();
        ensure!(waiting == 0, "{waiting} requests were never answered");
        let sockets: Vec<TcpStream> = self.lanes.into_iter().map(|lane| lane.socket).collect();
        sockets.iter().try_for_each(|socket| socket.set_nonblocking(false))?;
        Ok((self.tally, sockets))
    }

    fn phase(&mut self, phase: Phase, begin: Instant, end: Instant) -> Result<()> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
        let mut paced = 0u64;
        loop {
            let now = Instant::now();
            if now >= end || phase == Phase::Drain && self.lanes.iter().all(|lane| lane.sent_at.is_empty()) {
                return Ok(());
            }
            let mut wait = end - now;
            if let (Pace::PerSecond(rate), true) = (self.pace, phase != Phase::Drain) {
                let due = |number: u64| begin + Duration::from_secs_f64(number as f64 / f64::from(rate));
                while due(paced) <= now {
                    let lane = self.turn % self.lanes.len();
                    self.turn += 1;
                    self.lanes[lane].request(due(paced));
                    self.flush(lane)?;
                    paced += 1;
                }
                wait = wait.min(due(paced).saturating_duration_since(now));
            }
            let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
            epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), Some(&timeout))?;
            for event in events.drain(..) {
                // The kernel's struct is packed: its fields are copied, not borrowed.
                let (data, flags) = (event.data, event.flags);
                let index = data.u64() as usize;
                if flags.intersects(epoll::EventFlags::OUT) {
                    self.flush(index)?;
                }
                if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP) {
                    self.receive(index, phase)?;
                }
            }
        }
    }

    fn flush(&mut self, index: usize) -> Result<()> {
        let lane = &mut self.lanes[index];
        lane.flush()?;
        let waits = !lane.out.is_empty();
        if waits != lane.waits_to_write {
            lane.waits_to_write = waits;
            let mut flags = epoll::EventFlags::IN;
            flags.set(epoll::EventFlags::OUT, waits);
            epoll::modify(&self.poll, &lane.socket, epoll::EventData::new_u64(index as u64), flags)?;
        }
        Ok(())
    }

    /// Takes what has come, counts the replies in it, and sends as many new requests.
    fn receive(&mut self, index: usize, phase: Phase) -> Result<()> {
        let lane = &mut self.lanes[index];
        let count = match lane.socket.read(&mut self.buffer) {
            Ok(0) => bail!("the server closed a connection under load"),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(error) => return Err(error).context("reading replies"),
        };
        let now = Instant::now();
        let mut replies = 0;
        let mut visit = |frame: &[u8]| -> Result<()> {
            let heard = lane.talk.hear(frame)?;
            if !heard.answers {
                return Ok(());
            }
            let sent = lane.sent_at.pop_front().context("a reply too many")?;
            replies += 1;
            if phase == Phase::Measured {
                self.tally.operations += heard.operations;
                self.tally.bytes += heard.bytes;
                self.tally.errors += u64::from(heard.failed);
                self.tally.latencies.add(now.saturating_duration_since(sent));
            }
            Ok(())
        };
        if lane.partial.is_empty() {
            let rest = split_frames(&self.buffer[..count], &mut visit)?;
            lane.partial.extend_from_slice(&self.buffer[count - rest..count]);
        } else {
            lane.partial.extend_from_slice(&self.buffer[..count]);
            let rest = split_frames(&lane.partial, &mut visit)?;
            let used = lane.partial.len() - rest;
            lane.partial.drain(..used);
        }
        if self.pace == Pace::Closed && phase != Phase::Drain && replies > 0 {
            for _ in 0..replies {
                lane.request(now);
            }
            self.flush(index)?;
        }
        Ok(())
    }
}

/// Hands out whole frames, length word included, and tells how many bytes are left over.
pub(super) fn split_frames(mut bytes: &[u8], visit: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<usize> {
    while let Some(head) = bytes.first_chunk::<4>() {
        let length = 4 + u32::from_be_bytes(*head) as usize;
        ensure!(length >= 8, "a reply without a header");
        if bytes.len() < length {
            break;
        }
        visit(&bytes[..length])?;
        bytes = &bytes[length..];
    }
    Ok(bytes.len())
}
