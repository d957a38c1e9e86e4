//! A second, independent implementation of ZooKeeper's wire protocol, for tests only.
//!
//! It shares no code with the product: what the product's codec believes is not what it is checked against. It
//! can also say everything that a proper client never would.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Operation codes as they stand in a request header.
#[expect(missing_docs, reason = "the names are the protocol's own")]
pub mod op {
    pub const CREATE: i32 = 1;
    pub const DELETE: i32 = 2;
    pub const EXISTS: i32 = 3;
    pub const GET_DATA: i32 = 4;
    pub const SET_DATA: i32 = 5;
    pub const SET_ACL: i32 = 7;
    pub const GET_CHILDREN: i32 = 8;
    pub const SYNC: i32 = 9;
    pub const PING: i32 = 11;
    pub const GET_CHILDREN2: i32 = 12;
    pub const CHECK: i32 = 13;
    pub const MULTI: i32 = 14;
    pub const CREATE_SESSION: i32 = -10;
    pub const CLOSE_SESSION: i32 = -11;
    pub const AUTH: i32 = 100;
    pub const SET_WATCHES: i32 = 101;
    pub const ADD_WATCH: i32 = 106;
}

/// Builds a record field by field.
#[derive(Debug, Clone, Default)]
pub struct Body(pub Vec<u8>);

impl Body {
    /// An empty record.
    pub fn new() -> Body {
        Body::default()
    }

    /// A request header, before its record.
    pub fn request(xid: i32, opcode: i32) -> Body {
        Body::new().int(xid).int(opcode)
    }

    /// Appends an int.
    #[must_use]
    pub fn int(mut self, value: i32) -> Body {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Appends a long.
    #[must_use]
    pub fn long(mut self, value: i64) -> Body {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Appends a boolean.
    #[must_use]
    pub fn bool(mut self, value: bool) -> Body {
        self.0.push(u8::from(value));
        self
    }

    /// Appends a length and bytes: a buffer or a string.
    #[must_use]
    pub fn bytes(self, value: impl AsRef<[u8]>) -> Body {
        let value = value.as_ref();
        self.int(value.len() as i32).raw(value)
    }

    /// Appends the null buffer, string or vector.
    #[must_use]
    pub fn null(self) -> Body {
        self.int(-1)
    }

    /// Appends bytes as they are.
    #[must_use]
    pub fn raw(mut self, value: impl AsRef<[u8]>) -> Body {
        self.0.extend_from_slice(value.as_ref());
        self
    }

    /// Appends an ACL vector with one entry.
    #[must_use]
    pub fn acl(self, perms: i32, scheme: &str, id: &str) -> Body {
        self.int(1).int(perms).bytes(scheme).bytes(id)
    }

    /// Appends the ACL vector that lets everybody do everything.
    #[must_use]
    pub fn open_acl(self) -> Body {
        self.acl(31, "world", "anyone")
    }

    /// Appends the record of a create request.
    #[must_use]
    pub fn create(self, path: &str, data: &[u8], flags: i32) -> Body {
        self.bytes(path).bytes(data).open_acl().int(flags)
    }

    /// Appends a multi header.
    #[must_use]
    pub fn multi_header(self, opcode: i32, done: bool, error: i32) -> Body {
        self.int(opcode).bool(done).int(error)
    }

    /// The record behind its length word.
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(self.0.len() + 4);
        frame.extend_from_slice(&(self.0.len() as i32).to_be_bytes());
        frame.extend_from_slice(&self.0);
        frame
    }
}

/// Reads fields of a reply.
#[derive(Debug)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        ensure!(self.0.len() >= count, "{count} more bytes expected, {} left", self.0.len());
        let (head, tail) = self.0.split_at(count);
        self.0 = tail;
        Ok(head)
    }

    /// The next int.
    pub fn int(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into()?))
    }

    /// The next long.
    pub fn long(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.take(8)?.try_into()?))
    }

    /// The next buffer or string; `None` for null.
    pub fn bytes(&mut self) -> Result<Option<&'a [u8]>> {
        let length = self.int()?;
        if length == -1 {
            return Ok(None);
        }
        Ok(Some(self.take(usize::try_from(length).context("negative length")?)?))
    }
}

/// What a client says first.
#[derive(Debug, Clone)]
pub struct Hello {
    /// Protocol version; every client in the field sends 0.
    pub version: i32,
    /// The newest zxid the client has seen.
    pub last_zxid: i64,
    /// The session timeout it wishes, in milliseconds.
    pub timeout: i32,
    /// 0 for a new session.
    pub session: i64,
    /// Password of the session.
    pub password: Vec<u8>,
    /// The read-only flag; `None` leaves the byte out, as go-zookeeper does.
    pub read_only: Option<bool>,
}

impl Default for Hello {
    fn default() -> Hello {
        Hello {
            version: 0,
            last_zxid: 0,
            timeout: 10_000,
            session: 0,
            password: vec![0; 16],
            read_only: Some(false),
        }
    }
}

impl Hello {
    /// The frame to send.
    pub fn frame(&self) -> Vec<u8> {
        let body = Body::new()
            .int(self.version)
            .long(self.last_zxid)
            .int(self.timeout)
            .long(self.session)
            .bytes(&self.password);
        match self.read_only {
            Some(flag) => body.bool(flag).frame(),
            None => body.frame(),
        }
    }
}

/// What the server answers to a [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The negotiated timeout; 0 means that the session is gone.
    pub timeout: i32,
    /// The session's id.
    pub session: i64,
    /// The session's password.
    pub password: Vec<u8>,
    /// Length of the whole answer, which tells the old form (36) from the new one (37).
    pub length: usize,
}

/// A reply frame taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The request's xid, or one of the special ones.
    pub xid: i32,
    /// The zxid in the header.
    pub zxid: i64,
    /// The error code, 0 if none.
    pub error: i32,
    /// The record.
    pub body: Vec<u8>,
}

/// What came next on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// A whole frame, without its length word.
    Frame(Vec<u8>),
    /// The server ended the connection, politely or not.
    Closed,
    /// Nothing within the time given.
    Silence,
}

/// One TCP connection to a server.
#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    xid: i32,
}

impl Connection {
    /// Connects without saying anything.
    pub fn open(address: SocketAddr) -> io::Result<Connection> {
        let socket = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        socket.set_nodelay(true)?;
        Ok(Connection { socket, xid: 0 })
    }

    /// Connects and makes or re-attaches a session.
    pub fn session(address: SocketAddr, hello: &Hello) -> Result<(Connection, Welcome)> {
        let mut connection = Connection::open(address)?;
        connection.send(&hello.frame())?;
        let welcome = connection.welcome()?;
        Ok((connection, welcome))
    }

    /// Connects with a new session of the default timeout.
    pub fn new_session(address: SocketAddr) -> Result<Connection> {
        Ok(Connection::session(address, &Hello::default())?.0)
    }

    /// Reads the answer to a [`Hello`].
    pub fn welcome(&mut self) -> Result<Welcome> {
        self.welcome_within(Duration::from_secs(20))
    }

    /// The same with less patience.
    pub fn welcome_within(&mut self, patience: Duration) -> Result<Welcome> {
        match self.next(patience) {
            Next::Frame(frame) => {
                let mut fields = Fields(&frame);
                let _version = fields.int()?;
                let timeout = fields.int()?;
                let session = fields.long()?;
                let password = fields.bytes()?.unwrap_or_default().to_vec();
                Ok(Welcome { timeout, session, password, length: frame.len() })
            }
            other => bail!("no answer to the connect request: {other:?}"),
        }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// The socket itself, for those who drive it another way.
    pub fn into_socket(self) -> TcpStream {
        self.socket
    }

    /// Reads one frame, or learns that there is none.
    pub fn next(&mut self, patience: Duration) -> Next {
        let deadline = Instant::now() + patience;
        let mut length = [0; 4];
        match self.read_until(&mut length, deadline) {
            Next::Frame(_) => {}
            other => return other,
        }
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap_or(0)];
        match self.read_until(&mut frame, deadline) {
            Next::Frame(_) => Next::Frame(frame),
            other => other,
        }
    }

    /// Fills `buffer`; the frame in the answer is empty and only says that it worked.
    fn read_until(&mut self, buffer: &mut [u8], deadline: Instant) -> Next {
        let mut filled = 0;
        while filled < buffer.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Next::Silence;
            }
            if self.socket.set_read_timeout(Some(left)).is_err() {
                return Next::Closed;
            }
            match self.socket.read(&mut buffer[filled..]) {
                Ok(0) => return Next::Closed,
                Ok(count) => filled += count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Next::Silence;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Next::Closed,
            }
        }
        Next::Frame(Vec::new())
    }

    /// Reads one reply.
    pub fn reply(&mut self, patience: Duration) -> Result<Reply> {
        match self.next(patience) {
            Next::Frame(frame) => parse_reply(&frame),
            other => bail!("no reply: {other:?}"),
        }
    }

    /// Sends a request with the next xid and reads its reply; notifications in between are dropped.
    pub fn call(&mut self, opcode: i32, record: &Body) -> Result<Reply> {
        self.xid += 1;
        let xid = self.xid;
        self.send(&Body::request(xid, opcode).raw(&record.0).frame())?;
        loop {
            let reply = self.reply(Duration::from_secs(20))?;
            if reply.xid == xid {
                return Ok(reply);
            }
            ensure!(reply.xid == -1, "reply to {xid} expected, got {reply:?}");
        }
    }

    /// Like [`Connection::call`], but an error code is an error.
    pub fn call_ok(&mut self, opcode: i32, record: &Body) -> Result<Reply> {
        let reply = self.call(opcode, record)?;
        ensure!(reply.error == 0, "opcode {opcode} failed with {}", reply.error);
        Ok(reply)
    }
}

/// Takes a reply frame apart.
pub fn parse_reply(frame: &[u8]) -> Result<Reply> {
    let mut fields = Fields(frame);
    let (xid, zxid, error) = (fields.int()?, fields.long()?, fields.int()?);
    Ok(Reply { xid, zxid, error, body: fields.0.to_vec() })
}
