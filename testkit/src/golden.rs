//! Conversations of foreign clients with Apache ZooKeeper, recorded once, and their replay against our server.
//!
//! A recording is a text file. Lines that start with `#` are comments; every other line is one frame without its
//! length word: the connection's number, `>` for a request or `<` for a reply, a name for the reader, and the bytes
//! in hexadecimal. Frames stand in the order in which they passed; pings are left out, as they come by the clock.
//!
//! On replay the requests are sent as they are and the replies are compared after the fields that cannot be equal
//! are replaced: times, session ids and passwords by whether they are zero, transaction ids by their distance
//! from the first one, unordered lists by their sorted form. Everything else must be the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::process::Options;
use crate::raw::{Connection, Fields, Next, op};

/// How servers are started for recording and replay.
pub fn options() -> Options {
    Options::for_tests()
        .key("tickTime", 2000)
        .key("minSessionTimeout", 4000)
        // A container that goes while a script runs would take a transaction id of its own.
        .key("znode.container.checkIntervalMs", 60_000)
}

/// Which way a frame went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    Request,
    /// From the server.
    Reply,
}

/// One recorded frame.
#[derive(Debug, Clone)]
pub struct Frame {
    connection: usize,
    direction: Direction,
    bytes: Vec<u8>,
}

/// A proxy that records what passes through it.
#[derive(Debug)]
pub struct Recorder {
    address: SocketAddr,
    frames: Arc<Mutex<Vec<Frame>>>,
}

impl Recorder {
    /// Starts a proxy to the given server.
    pub fn start(server: SocketAddr) -> Result<Recorder> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let frames = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&frames);
        std::thread::spawn(move || {
            for (index, near) in listener.incoming().flatten().enumerate() {
                let Ok(far) = TcpStream::connect(server) else { break };
                for direction in [Direction::Request, Direction::Reply] {
                    let (Ok(near), Ok(far)) = (near.try_clone(), far.try_clone()) else { break };
                    let shared = Arc::clone(&shared);
                    std::thread::spawn(move || {
                        let (from, to) =
                            if direction == Direction::Request { (near, far) } else { (far, near) };
                        let _ = pass_on(from, to, index + 1, direction, &shared);
                    });
                }
            }
        });
        Ok(Recorder { address, frames })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The recording so far as text, under the given headline.
    pub fn text(&self, headline: &str) -> String {
        let frames = self.frames.lock().expect("no holder panics");
        let mut text = format!("# {headline}\n");
        let mut names = Names::default();
        for frame in frames.iter() {
            let name = names.of(frame);
            if name == "ping" {
                continue;
            }
            let arrow = if frame.direction == Direction::Request { '>' } else { '<' };
            let _ = write!(text, "{} {arrow} {name} ", frame.connection);
            for byte in &frame.bytes {
                let _ = write!(text, "{byte:02x}");
            }
            text.push('\n');
        }
        text
    }
}

/// Copies frames one way. A request is noted before it is sent on, so that it stands before its reply.
fn pass_on(
    mut from: TcpStream,
    mut to: TcpStream,
    connection: usize,
    direction: Direction,
    frames: &Mutex<Vec<Frame>>,
) -> std::io::Result<()> {
    loop {
        let mut length = [0; 4];
        if from.read_exact(&mut length).is_err() {
            return to.shutdown(std::net::Shutdown::Write);
        }
        let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
        from.read_exact(&mut bytes)?;
        frames.lock().expect("no holder panics").push(Frame { connection, direction, bytes: bytes.clone() });
        to.write_all(&[&length[..], &bytes].concat())?;
    }
}

/// Follows each connection's requests, so that replies can be told apart.
#[derive(Debug, Default)]
struct Names {
    /// The opcodes of unanswered requests by connection and xid.
    asked: BTreeMap<(usize, i32), Vec<i32>>,
    greeted: BTreeMap<(usize, bool), ()>,
}

impl Names {
    /// The opcode of a request, or of the request that a reply answers; `None` for handshakes and events.
    fn opcode(&mut self, frame: &Frame) -> (&'static str, Option<i32>) {
        let is_request = frame.direction == Direction::Request;
        if self.greeted.insert((frame.connection, is_request), ()).is_none() {
            return ("connect", None);
        }
        let mut fields = Fields(&frame.bytes);
        let xid = fields.int().unwrap_or_default();
        if is_request {
            let opcode = fields.int().unwrap_or_default();
            self.asked.entry((frame.connection, xid)).or_default().push(opcode);
            return (opcode_name(opcode), Some(opcode));
        }
        if xid == -1 {
            return ("event", None);
        }
        let asked = self.asked.get_mut(&(frame.connection, xid)).filter(|asked| !asked.is_empty());
        match asked.map(|asked| asked.remove(0)) {
            Some(opcode) => (opcode_name(opcode), Some(opcode)),
            None => ("unasked", None),
        }
    }

    fn of(&mut self, frame: &Frame) -> &'static str {
        self.opcode(frame).0
    }
}

fn opcode_name(opcode: i32) -> &'static str {
    match opcode {
        op::CREATE => "create",
        op::DELETE => "delete",
        op::EXISTS => "exists",
        op::GET_DATA => "getData",
        op::SET_DATA => "setData",
        6 => "getACL",
        op::SET_ACL => "setACL",
        op::GET_CHILDREN => "getChildren",
        op::SYNC => "sync",
        op::PING => "ping",
        op::GET_CHILDREN2 => "getChildren2",
        op::MULTI => "multi",
        15 => "create2",
        17 => "checkWatches",
        18 => "removeWatches",
        19 => "createContainer",
        21 => "createTTL",
        22 => "multiRead",
        op::AUTH => "auth",
        op::SET_WATCHES => "setWatches",
        103 => "getEphemerals",
        104 => "getAllChildrenNumber",
        105 => "setWatches2",
        op::ADD_WATCH => "addWatch",
        107 => "whoAmI",
        op::CLOSE_SESSION => "closeSession",
        _ => "other",
    }
}

/// Reads a recording.
pub fn parse(text: &str) -> Result<Vec<Frame>> {
    let mut frames = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        let bad = || format!("line {}", index + 1);
        let mut words = line.split(' ');
        let connection = words.next().with_context(bad)?.parse().with_context(bad)?;
        let direction = match words.next() {
            Some(">") => Direction::Request,
            Some("<") => Direction::Reply,
            _ => bail!("line {}: neither > nor <", index + 1),
        };
        let hex = words.nth(1).with_context(bad)?;
        ensure!(hex.len().is_multiple_of(2) && hex.is_ascii(), "line {}: odd bytes", index + 1);
        let bytes = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16))
            .collect::<Result<_, _>>()
            .with_context(bad)?;
        frames.push(Frame { connection, direction, bytes });
    }
    ensure!(!frames.is_empty(), "an empty recording");
    Ok(frames)
}

/// What a member of an ensemble has more to say about than the server alone that was recorded.
const CONFIG_NODE: &[u8] = b"/zookeeper/config";

/// Plays a recording against a server with fresh data and compares every reply; of a member (`in_ensemble`) all but what it
/// says about the ensemble. Returns how many there were.
pub fn replay(frames: &[Frame], server: SocketAddr, in_ensemble: bool) -> Result<usize> {
    let mut connections: BTreeMap<usize, Connection> = BTreeMap::new();
    let mut names = Names::default();
    let (mut recorded, mut live) = (Mask::default(), Mask::default());
    let mut compared = 0;
    let mut last_request = String::new();
    let mut excused = std::collections::BTreeSet::new();
    for (index, frame) in frames.iter().enumerate() {
        let (name, opcode) = names.opcode(frame);
        if frame.direction == Direction::Request {
            let connection = match connections.entry(frame.connection) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => entry.insert(Connection::open(server)?),
            };
            connection.send(&crate::raw::Body(frame.bytes.clone()).frame())?;
            last_request = name.to_owned();
            if in_ensemble && frame.bytes.windows(CONFIG_NODE.len()).any(|bytes| bytes == CONFIG_NODE) {
                excused.insert((frame.connection, frame.bytes.first_chunk::<4>().copied()));
            }
            continue;
        }
        let connection = connections.get_mut(&frame.connection).context("a reply before any request")?;
        let got = match connection.next(Duration::from_secs(20)) {
            Next::Frame(bytes) => bytes,
            other => bail!("frame {index}: {name} expected after {last_request}, got {other:?}"),
        };
        let wanted = recorded.describe(name, opcode, &frame.bytes)?;
        let got = live.describe(name, opcode, &got).with_context(|| format!("frame {index}: {name}"))?;
        if excused.remove(&(frame.connection, frame.bytes.first_chunk::<4>().copied())) {
            continue;
        }
        ensure!(wanted == got, "frame {index}, {name}:\n  recorded {wanted}\n  ours     {got}");
        compared += 1;
    }
    Ok(compared)
}

/// Turns frames into text without what differs from run to run.
#[derive(Debug, Default)]
struct Mask {
    first_zxid: Option<i64>,
}

impl Mask {
    fn zxid(&mut self, zxid: i64) -> String {
        if zxid <= 0 {
            return zxid.to_string();
        }
        format!("+{}", zxid - *self.first_zxid.get_or_insert(zxid))
    }

    fn describe(&mut self, name: &str, opcode: Option<i32>, bytes: &[u8]) -> Result<String> {
        let mut fields = Fields(bytes);
        let mut text = name.to_owned();
        if name == "connect" {
            let (version, timeout, session) = (fields.int()?, fields.int()?, fields.long()?);
            let password = fields.bytes()?.unwrap_or_default();
            let _ = write!(text, " version {version} timeout {timeout} session {}", nonzero(session));
            let _ = write!(text, " password of {} rest {:?}", password.len(), fields.0);
            return Ok(text);
        }
        let (xid, zxid, error) = (fields.int()?, fields.long()?, fields.int()?);
        let _ = write!(text, " xid {xid} zxid {} error {error}", self.zxid(zxid));
        match opcode {
            Some(op::MULTI | 22) if error == 0 => self.multi(&mut fields, &mut text)?,
            Some(opcode) if error == 0 => self.record(opcode, &mut fields, &mut text)?,
            _ => {}
        }
        let _ = write!(text, " rest {:?}", fields.0);
        Ok(text)
    }

    fn multi(&mut self, fields: &mut Fields<'_>, text: &mut String) -> Result<()> {
        loop {
            let opcode = fields.int()?;
            let (done, rest) = fields.0.split_first().context("cut inside a multi")?;
            fields.0 = rest;
            let error = fields.int()?;
            let _ = write!(text, " [{opcode} {done} {error}");
            if *done != 0 {
                text.push(']');
                return Ok(());
            }
            if opcode == -1 {
                let _ = write!(text, " {}", fields.int()?);
            } else {
                self.record(opcode, fields, text)?;
            }
            text.push(']');
        }
    }

    fn record(&mut self, opcode: i32, fields: &mut Fields<'_>, text: &mut String) -> Result<()> {
        match opcode {
            op::CREATE | op::SYNC => string(fields, text)?,
            15 | 19 | 21 => {
                string(fields, text)?;
                self.stat(fields, text)?;
            }
            op::EXISTS | op::SET_DATA | op::SET_ACL => self.stat(fields, text)?,
            op::GET_DATA => {
                string(fields, text)?;
                self.stat(fields, text)?;
            }
            6 => {
                for _ in 0..fields.int()? {
                    let _ = write!(text, " acl {}", fields.int()?);
                    string(fields, text)?;
                    string(fields, text)?;
                }
                self.stat(fields, text)?;
            }
            op::GET_CHILDREN | 103 => list(fields, text, 1)?,
            op::GET_CHILDREN2 => {
                list(fields, text, 1)?;
                self.stat(fields, text)?;
            }
            107 => list(fields, text, 2)?,
            _ => {}
        }
        Ok(())
    }

    fn stat(&mut self, fields: &mut Fields<'_>, text: &mut String) -> Result<()> {
        let (created, modified) = (fields.long()?, fields.long()?);
        let _ = write!(text, " stat {} {}", self.zxid(created), self.zxid(modified));
        let (created_at, modified_at) = (fields.long()?, fields.long()?);
        let _ = write!(text, " times {} {}", nonzero(created_at), nonzero(modified_at));
        let versions = (fields.int()?, fields.int()?, fields.int()?);
        let _ = write!(text, " versions {versions:?} owner {}", nonzero(fields.long()?));
        let _ = write!(text, " length {} children {}", fields.int()?, fields.int()?);
        let _ = write!(text, " {}", self.zxid(fields.long()?));
        Ok(())
    }
}

fn nonzero(value: i64) -> &'static str {
    if value == 0 { "0" } else { "some" }
}

fn string(fields: &mut Fields<'_>, text: &mut String) -> Result<()> {
    match fields.bytes()? {
        None => text.push_str(" null"),
        Some(bytes) => {
            let _ = write!(text, " \"{}\"", bytes.escape_ascii());
        }
    }
    Ok(())
}

/// A list of entries of some strings each, whose order means nothing.
fn list(fields: &mut Fields<'_>, text: &mut String, strings: usize) -> Result<()> {
    let count = fields.int()?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let mut entry = String::new();
        for _ in 0..strings {
            string(fields, &mut entry)?;
        }
        entries.push(entry);
    }
    entries.sort();
    let _ = write!(text, " {count}:{}", entries.concat());
    Ok(())
}
