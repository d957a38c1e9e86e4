//! How a session is opened.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use super::driver::Driver;
use super::error::Error;
use super::hosts::Hosts;
use super::ops::{BYTES_PER_UNIT, Coordinator, Shared, units};
use super::session::Settings;
use super::state::SessionState;
use super::states::{States, Writer};
use super::tls::Tls;
use super::transport::{Dialer, Transport};

/// Servers refuse frames above this unless they are told otherwise (`jute.maxbuffer`).
const REQUEST_BYTES_MAX: usize = 0xf_ffff;
const REPLY_BYTES_MAX: usize = 16 << 20;
const OUTSTANDING_BYTES_MAX: usize = 64 << 20;
const WATCH_CAPACITY: usize = 1024;

/// Options for a new session. Begin with [`Coordinator::builder`].
#[derive(Debug, Clone)]
#[must_use = "nothing happens before connect"]
pub struct Builder {
    hosts: String,
    session_timeout: Duration,
    connect_timeout: Option<Duration>,
    backoff: (Duration, Duration),
    identities: Vec<(String, Vec<u8>)>,
    sasl: Option<(String, String)>,
    tls: Option<Tls>,
    read_only: bool,
    local: Option<SocketAddr>,
    dialer: Option<Arc<dyn Dialer>>,
    request_bytes_max: usize,
    reply_bytes_max: usize,
    outstanding_bytes_max: usize,
    watch_capacity: usize,
    seed: Option<u64>,
}

impl Coordinator {
    /// Options for a session with these servers: `host:port,host:port/chroot`. The port may be left out (2181), and so may
    /// the chroot, a path that is put before every other.
    pub fn builder(hosts: impl Into<String>) -> Builder {
        Builder {
            hosts: hosts.into(),
            session_timeout: Duration::from_secs(10),
            connect_timeout: None,
            backoff: (Duration::from_millis(50), Duration::from_secs(5)),
            identities: Vec::new(),
            sasl: None,
            tls: None,
            read_only: false,
            local: None,
            dialer: None,
            request_bytes_max: REQUEST_BYTES_MAX,
            reply_bytes_max: REPLY_BYTES_MAX,
            outstanding_bytes_max: OUTSTANDING_BYTES_MAX,
            watch_capacity: WATCH_CAPACITY,
            seed: None,
        }
    }

    /// A session with these servers and nothing else to say.
    pub async fn connect(hosts: impl Into<String>) -> Result<Coordinator, Error> {
        Coordinator::builder(hosts).connect().await
    }
}

impl Builder {
    /// How long the servers keep the session when they hear nothing of it: 10 s unless said otherwise. Servers have
    /// limits of their own.
    pub fn session_timeout(self, session_timeout: Duration) -> Builder {
        Builder { session_timeout, ..self }
    }

    /// How long [`Builder::connect`] tries: as long as the session's timeout unless said otherwise.
    pub fn connect_timeout(self, connect_timeout: Duration) -> Builder {
        Builder { connect_timeout: Some(connect_timeout), ..self }
    }

    /// How long to wait after every server has refused: `first`, then twice as long each round, up to `longest`, and each
    /// time a random part of it less. 50 ms and 5 s unless said otherwise.
    pub fn backoff(self, first: Duration, longest: Duration) -> Builder {
        Builder { backoff: (first, longest), ..self }
    }

    /// Presents an identity on every connection: scheme `digest` with token `name:password`, for example. May be called
    /// several times.
    pub fn auth(mut self, scheme: &str, token: &[u8]) -> Builder {
        self.identities.push((scheme.to_owned(), token.to_vec()));
        self
    }

    /// Proves by SASL DIGEST-MD5 who we are, before the first request of every connection.
    pub fn sasl_digest_md5(self, name: &str, password: &str) -> Builder {
        Builder { sasl: Some((name.to_owned(), password.to_owned())), ..self }
    }

    /// Encrypts every connection.
    pub fn tls(self, tls: Tls) -> Builder {
        Builder { tls: Some(tls), ..self }
    }

    /// Makes do with a server that has no quorum and answers reads only, and looks for a better one meanwhile.
    pub fn read_only(self, read_only: bool) -> Builder {
        Builder { read_only, ..self }
    }

    /// Connects from this address. Port 0 means any.
    pub fn local_address(self, local: SocketAddr) -> Builder {
        Builder { local: Some(local), ..self }
    }

    /// Reaches servers in another way than by TCP. Encryption is the dialer's business then.
    pub fn dialer(self, dialer: Arc<dyn Dialer>) -> Builder {
        Builder { dialer: Some(dialer), ..self }
    }

    /// The largest request that is sent: 1 MiB less one byte unless said otherwise, as servers have it. A server closes the
    /// connection when a request is too large for it, so this should not be more than its own limit.
    pub fn request_bytes_max(self, request_bytes_max: usize) -> Builder {
        Builder { request_bytes_max, ..self }
    }

    /// The largest reply that is held: 16 MiB unless said otherwise. A larger one fails its request with
    /// [`Error::ReplyTooLarge`], and the connection goes on.
    pub fn reply_bytes_max(self, reply_bytes_max: usize) -> Builder {
        Builder { reply_bytes_max, ..self }
    }

    /// How much may be under way: requests that are sent or wait for a connection, and answers that nobody has taken yet.
    /// Each request counts its size rounded up to the next 4 KiB. 64 MiB unless said otherwise, that is up to 16 384
    /// requests.
    pub fn outstanding_bytes_max(self, outstanding_bytes_max: usize) -> Builder {
        Builder { outstanding_bytes_max, ..self }
    }

    /// How many notices a watch holds for a slow reader before it drops some: 1024 unless said otherwise.
    pub fn watch_capacity(self, watch_capacity: usize) -> Builder {
        Builder { watch_capacity, ..self }
    }

    /// Where all chance comes from, for tests that must repeat: the order of servers, and how long pauses are.
    pub fn seed(self, seed: u64) -> Builder {
        Builder { seed: Some(seed), ..self }
    }

    fn check(&self) -> Result<(), Error> {
        let bad = |what: &str| Err(Error::BadOption(what.to_owned()));
        if self.session_timeout < Duration::from_millis(1) {
            return bad("the session timeout is zero");
        }
        if self.backoff.0.is_zero() || self.backoff.0 > self.backoff.1 {
            return bad("the first pause of the back-off is zero or longer than the longest");
        }
        if self.dialer.is_some() && (self.tls.is_some() || self.local.is_some()) {
            return bad("a dialer decides itself about encryption and the local address");
        }
        if self.reply_bytes_max < 1024 {
            return bad("replies of 1024 bytes at least must be allowed");
        }
        if self.watch_capacity == 0 {
            return bad("a watch must be able to hold one notice");
        }
        if units(self.outstanding_bytes_max) <= units(self.request_bytes_max) {
            return bad("the largest request is larger than all that may be under way");
        }
        if self.outstanding_bytes_max / BYTES_PER_UNIT > Semaphore::MAX_PERMITS.min(u32::MAX as usize) {
            return bad("more is allowed to be under way than can be counted");
        }
        Ok(())
    }

    /// Opens the session and waits until a server has confirmed it. Fails with [`Error::Unreachable`] if none does in
    /// time.
    ///
    /// Must be called inside a tokio runtime with I/O and time, where the session's task then lives.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the session.
    pub async fn connect(self) -> Result<Coordinator, Error> {
        self.check()?;
        let Hosts { hosts, chroot } = Hosts::parse(&self.hosts)?;
        let tls = self.tls.as_ref().map(Tls::config).transpose()?;
        let settings = Settings {
            hosts: hosts.len(),
            session_timeout: self.session_timeout,
            read_only: self.read_only,
            backoff: self.backoff,
            identities: self.identities,
            sasl: self.sasl,
            seed: self.seed.unwrap_or_else(random_seed),
        };
        let transport = Transport { hosts, local: self.local, tls: tls.map(Arc::new), dialer: self.dialer };
        let (commands, receiver) = mpsc::unbounded_channel();
        let (writer, board) = Writer::new();
        let mut states = States::new(Arc::clone(&board));
        let driver = Driver::new(settings, transport, self.reply_bytes_max, receiver, writer);
        tokio::spawn(driver.run());
        let shared = Shared {
            commands,
            board,
            budget: Arc::new(Semaphore::new(self.outstanding_bytes_max / BYTES_PER_UNIT)),
            request_bytes_max: self.request_bytes_max,
            watch_capacity: self.watch_capacity,
            next_watch: AtomicU64::new(0),
        };
        let coordinator = Coordinator { shared: Arc::new(shared), chroot: chroot.into() };
        let patience = self.connect_timeout.unwrap_or(self.session_timeout);
        let Ok(first) = tokio::time::timeout(patience, states.next()).await else {
            return Err(Error::Unreachable(coordinator.shared.board.current().trouble));
        };
        match first.ok_or(Error::Closed)? {
            SessionState::AuthFailed => Err(Error::AuthFailed),
            SessionState::Expired => Err(Error::SessionExpired),
            _ => Ok(coordinator),
        }
    }
}

/// The standard library seeds its hash maps unpredictably, which is enough for jitter and names.
pub(crate) fn random_seed() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
