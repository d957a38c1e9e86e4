//! Hostile and careless bytes, and what a server must answer to them.
//!
//! The table is data: each [`Row`] says what is sent and what must come back from us and, where Apache ZooKeeper
//! differs, from it. [`run`] plays every row against a running server.

pub mod broker;
mod table;

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::process::Kind;
use crate::raw::{Body, Connection, Hello, Next, op, parse_reply};

pub use table::table;

/// What is sent, and in which state of the connection.
#[derive(Debug, Clone)]
pub enum Input {
    /// Bytes on a fresh connection.
    First(Vec<u8>),
    /// Bytes after a session was made. Several byte strings are answered one by one.
    Later(Vec<Vec<u8>>),
}

/// What must come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The connection ends without a word.
    Closes,
    /// A session is made with this timeout.
    Session { timeout: i32 },
    /// The answer that tells a client that its session is gone: all zero.
    SessionGone,
    /// The last request is answered with this code, and the connection still works.
    Code(i32),
    /// The last request is answered with this code, then the connection ends.
    CodeThenCloses(i32),
    /// The last request gets an answer no client could read; the connection still works.
    MalformedReply,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Closes => write!(f, "closes"),
            Outcome::Session { timeout } => write!(f, "session of {timeout} ms"),
            Outcome::SessionGone => write!(f, "zero response"),
            Outcome::Code(code) => write!(f, "{code}"),
            Outcome::CodeThenCloses(code) => write!(f, "{code}, then closes"),
            Outcome::MalformedReply => write!(f, "malformed reply"),
        }
    }
}

/// One input and its answers.
#[derive(Debug, Clone)]
pub struct Row {
    /// What the input is, in words.
    pub name: String,
    /// The bytes.
    pub input: Input,
    /// What our server must do.
    pub ours: Outcome,
    /// What Apache ZooKeeper does, where that is something else.
    pub control: Option<Outcome>,
}

impl Row {
    /// What the given server must do.
    pub fn expected(&self, kind: Kind) -> &Outcome {
        match kind {
            Kind::Coordinator => &self.ours,
            Kind::Zookeeper => self.control.as_ref().unwrap_or(&self.ours),
        }
    }
}

/// Plays one row. The error says how the server's behaviour differs from the table.
pub fn run(address: SocketAddr, kind: Kind, row: &Row) -> Result<()> {
    let expected = row.expected(kind);
    let (outcome, took) = match &row.input {
        Input::First(bytes) => play_first(address, bytes),
        Input::Later(frames) => play_later(address, frames),
    }
    .with_context(|| row.name.clone())?;
    ensure!(&outcome == expected, "{}: expected {expected}, got {outcome}", row.name);
    // A connection that ends must end at once. The allowance above the promised 100 ms is for a busy machine.
    let closes = matches!(expected, Outcome::Closes | Outcome::CodeThenCloses(_));
    if kind == Kind::Coordinator && closes {
        ensure!(took < Duration::from_millis(500), "{}: closed only after {took:?}", row.name);
    }
    Ok(())
}

const PATIENCE: Duration = Duration::from_secs(5);

fn play_first(address: SocketAddr, bytes: &[u8]) -> Result<(Outcome, Duration)> {
    let mut connection = Connection::open(address)?;
    let start = Instant::now();
    // The server may close before it took everything.
    let _ = connection.send(bytes);
    let outcome = match connection.next(PATIENCE) {
        Next::Closed => Outcome::Closes,
        Next::Silence => bail!("neither an answer nor a close within {PATIENCE:?}"),
        Next::Frame(frame) => {
            let mut fields = crate::raw::Fields(&frame);
            let (_version, timeout, session) = (fields.int()?, fields.int()?, fields.long()?);
            if timeout == 0 && session == 0 {
                ensure!(
                    connection.next(PATIENCE) == Next::Closed,
                    "the connection stays open after the zero response"
                );
                Outcome::SessionGone
            } else {
                ensure!(ping(&mut connection)?, "the new session does not answer a ping");
                let _ = connection.call(op::CLOSE_SESSION, &Body::new());
                Outcome::Session { timeout }
            }
        }
    };
    Ok((outcome, start.elapsed()))
}

fn play_later(address: SocketAddr, frames: &[Vec<u8>]) -> Result<(Outcome, Duration)> {
    let mut connection = Connection::session(address, &Hello::default())?.0;
    let mut start = Instant::now();
    let mut answer = None;
    for frame in frames {
        start = Instant::now();
        let _ = connection.send(frame);
        answer = match connection.next(PATIENCE) {
            Next::Closed => return Ok((Outcome::Closes, start.elapsed())),
            Next::Silence => bail!("neither an answer nor a close within {PATIENCE:?}"),
            Next::Frame(frame) => Some(frame),
        };
    }
    let answer = answer.unwrap_or_default();
    // A ping tells an open connection from one about to close: it is answered, or the end comes.
    let open = ping(&mut connection)?;
    let took = start.elapsed();
    if open {
        let _ = connection.call(op::CLOSE_SESSION, &Body::new());
    }
    let asked = frames.last().and_then(|frame| frame.get(4..8)).unwrap_or_default();
    let outcome = match parse_reply(&answer) {
        Ok(reply) if reply.xid.to_be_bytes() != asked => Outcome::MalformedReply,
        Err(_) => Outcome::MalformedReply,
        Ok(reply) if open => Outcome::Code(reply.error),
        Ok(reply) => Outcome::CodeThenCloses(reply.error),
    };
    Ok((outcome, took))
}

/// Whether the connection still answers.
fn ping(connection: &mut Connection) -> Result<bool> {
    if connection.send(&Body::request(-2, op::PING).frame()).is_err() {
        return Ok(false);
    }
    match connection.next(PATIENCE) {
        Next::Frame(pong) => {
            let pong = parse_reply(&pong)?;
            ensure!(pong.xid == -2, "a ping was answered with {pong:?}");
            Ok(true)
        }
        Next::Closed => Ok(false),
        Next::Silence => bail!("the connection neither closes nor answers a ping within {PATIENCE:?}"),
    }
}

/// Random damage to valid requests, the same for the same seed.
#[derive(Debug)]
pub struct Mutations {
    state: u64,
}

impl Mutations {
    /// Starts at a seed.
    pub fn new(seed: u64) -> Mutations {
        Mutations { state: seed | 1 }
    }

    fn draw(&mut self, below: usize) -> usize {
        // xorshift64*: good enough to choose bytes, and needs no crate.
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % below.max(1)
    }

    /// A request to a coordinator, damaged.
    pub fn next_frame(&mut self) -> Vec<u8> {
        self.next_of(&table::valid_requests())
    }

    /// One of these with some of its bytes changed, cut off or added, in a frame whose length is mostly right.
    pub fn next_of(&mut self, samples: &[Body]) -> Vec<u8> {
        let mut body = samples[self.draw(samples.len())].0.clone();
        for _ in 0..=self.draw(3) {
            match self.draw(5) {
                0 => {
                    let at = self.draw(body.len());
                    body[at] = self.draw(256) as u8;
                }
                1 => body.truncate(self.draw(body.len())),
                2 => {
                    let at = self.draw(body.len().saturating_sub(4));
                    let value = [-1, i32::MAX, i32::MIN, 0, 1 << 20][self.draw(5)];
                    for (offset, byte) in value.to_be_bytes().into_iter().enumerate() {
                        if let Some(place) = body.get_mut(at + offset) {
                            *place = byte;
                        }
                    }
                }
                3 => body.extend_from_within(self.draw(body.len())..),
                _ => {
                    let at = self.draw(body.len());
                    body.insert(at.min(body.len()), self.draw(256) as u8);
                }
            }
            if body.is_empty() {
                body.push(0);
            }
        }
        let mut frame = Body(body).frame();
        if self.draw(20) == 0 {
            frame[3] = frame[3].wrapping_add(self.draw(9) as u8);
        }
        frame
    }
}
